"""No waiting for the disk in the tests of files that are written durably."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing to the platters would only be slow."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
