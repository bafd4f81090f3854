"""A gate must be able to fail: with a planted signal the graph promotes, without one it refuses, seed after seed."""

import json

import pytest

from tests.pipelines import reduced


def verdict(folder: object, strength: str, seed: int) -> tuple[str, int]:
    checkout = reduced.make(folder / "checkout", {**reduced.SMALL, "data.strength": strength, "seed": seed})
    checkout.stages()
    found = json.loads((checkout.path / "artifacts/gate/verdict.json").read_text())["verdict"]
    checkout.python("-m", "gates", "check", code={"PASS": 0, "FAIL": 10, "INSUFFICIENT": 20}[found])
    promoted = checkout.path / "models/promoted"
    checkout.python("-m", "gates", "promote", code=None)
    return found, promoted.exists()


@pytest.mark.parametrize("seed", [101, 102])
def test_a_market_with_a_signal_passes(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    assert verdict(tmp_path_factory.mktemp(f"signal{seed}"), "3", seed) == ("PASS", True)


@pytest.mark.parametrize("seed", [201, 202, 203])
def test_a_market_without_a_signal_is_refused(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    found, promoted = verdict(tmp_path_factory.mktemp(f"null{seed}"), "0", seed)
    assert found in ("FAIL", "INSUFFICIENT")
    assert not promoted
