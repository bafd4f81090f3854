"""Trials: counted once each, by the machine, and never lost with a temporary checkout."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from gates.metrics import as_metrics
from gates.trials import Trial, daily_sharpe, read_trials, record_trial, trial_of, trials_folder
from gates.workspace import Workspace, open_case
from tests.gates.checkout import PASSING, judged, manifest, put_candidate


def trial(**changes: Any) -> Trial:
    fields = {"params_hash": "p", "data_hash": "d", "feature_spec_hash": "f", "code_hash": "c"}
    return Trial(**{**fields, "sharpe": "0.1", "n": 30, **changes})


def test_the_same_trial_counts_once_whatever_it_measured(tmp_path: Path) -> None:
    assert record_trial(tmp_path, trial())
    assert not record_trial(tmp_path, trial())
    assert record_trial(tmp_path, trial(sharpe="0.2"))  # measured anew: replaced, not added
    assert list(read_trials(tmp_path)) == [trial().id]
    assert read_trials(tmp_path)[trial().id].sharpe == "0.2"


@pytest.mark.parametrize("name", ["params_hash", "data_hash", "feature_spec_hash", "code_hash"])
def test_whatever_made_it_different_makes_it_another_trial(tmp_path: Path, name: str) -> None:
    record_trial(tmp_path, trial())
    record_trial(tmp_path, trial(**{name: "other"}))
    assert len(read_trials(tmp_path)) == 2


def test_a_trial_is_made_from_manifest_and_sharpe() -> None:
    made = trial_of(manifest(), as_metrics(PASSING))
    assert (made.data_hash, made.code_hash, made.sharpe, made.n) == ("a" * 64, "c" * 64, "0.4", 120)
    assert daily_sharpe(made) == 0.4
    never_traded = trial_of(manifest(), {})
    assert never_traded.sharpe is None and daily_sharpe(never_traded) == 0.0
    assert never_traded.id == made.id


@pytest.mark.parametrize("inside", [".dvc/tmp/exps/standalone/tmpab12", ".dvc/tmp/exps/tmpcd34"])
def test_a_temporary_experiment_writes_to_the_real_checkout(tmp_path: Path, inside: str) -> None:
    assert trials_folder(tmp_path) == tmp_path / "trials"
    assert trials_folder(tmp_path / inside) == tmp_path / "trials"
    assert trials_folder(tmp_path / inside).is_relative_to(tmp_path)


def test_an_experiment_in_a_copy_raises_the_count_of_the_checkout(work: Workspace) -> None:
    judged(work, b"first")
    copy = Workspace(work.root / ".dvc" / "tmp" / "exps" / "tmpx")
    (copy.root / "gates").mkdir(parents=True)
    (copy.root / "gates" / "gates.yaml").write_bytes(work.gate_file.read_bytes())
    judged(copy, b"second")
    assert not (copy.root / "trials").exists()
    assert open_case(work).verdict.trials == 2


def test_a_candidate_counts_itself_before_it_is_recorded(work: Workspace) -> None:
    put_candidate(work, b"first")
    assert open_case(work).verdict.trials == 1
    assert not work.trials.exists()
    judged(work, b"first")
    assert open_case(work).verdict.trials == 1


@pytest.mark.parametrize(
    "content", ["", "{}", "<<<<<<< HEAD", '{"version":1}', json.dumps({"version": 1, "sharpe": 0.1}), b"\xff"]
)
def test_a_damaged_trial_is_named(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / f"{'0' * 64}.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match="0" * 64):
        read_trials(tmp_path)


def test_an_edited_or_renamed_trial_is_named(tmp_path: Path) -> None:
    record_trial(tmp_path, trial())
    path = tmp_path / f"{trial().id}.json"
    path.rename(tmp_path / "ab.json")
    with pytest.raises(BadInput, match=r"ab\.json"):
        read_trials(tmp_path)
    (tmp_path / "ab.json").unlink()
    record_trial(tmp_path, trial(sharpe="much"))
    with pytest.raises(BadInput, match=trial().id):
        read_trials(tmp_path)
