"""Fixtures: a minimal checkout, keys that never touch the user's own, and no waiting for the disk."""

import os
from pathlib import Path

import pytest

from gates.workspace import Workspace
from tests.gates.checkout import make_workspace


@pytest.fixture(autouse=True)
def keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key folder of this test's own."""
    folder = tmp_path_factory.mktemp("keys")
    monkeypatch.setenv("PORTCULLIS_KEYS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests simulate a crash of the process, not of the power: flushing to the platters would only be slow."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    """A minimal checkout."""
    return make_workspace(tmp_path / "checkout")
