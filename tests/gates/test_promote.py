"""Promotion and rollback: only a PASS gets in, nothing happens twice, and a crash anywhere leaves a whole state."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BadConfig, BadInput, PortcullisError, Refused
from gates.keys import KEY_FILE, export_key, trust_folder
from gates.log import read_log
from gates.promote import promote, rollback
from gates.state import read_state
from gates.workspace import Workspace, open_case
from models import atomic
from models.bundle import MANIFEST, ONNX
from models.registry import load_registry
from models.statement import SIGNATURE, STATEMENT, sign, verify_bundle
from tests.gates.checkout import NOW, PASSING, changed, judged, make_workspace, put_candidate

LATER = "2026-02-01T00:00:00+00:00"
FAILING = changed("max_drawdown", value=0.5)


def in_use(work: Workspace) -> str:
    """The id of the bundle a runner would load now."""
    return verify_bundle(work.pointer, trust_folder())[0].id


def everything(work: Workspace) -> dict[str, bytes]:
    """All files that a promotion may touch, with links as their targets."""
    found = {}
    for folder in ("models", "gates", "trials"):
        for path in sorted((work.root / folder).rglob("*")):
            name = str(path.relative_to(work.root))
            if path.is_symlink():
                found[name] = str(path.readlink()).encode()
            elif path.is_file():
                found[name] = path.read_bytes()
    return found


def test_a_passing_candidate_is_stored_signed_registered_and_pointed_to(work: Workspace) -> None:
    identity = judged(work, b"a")
    result = promote(work, NOW)
    assert result.changed and result.active == "v1.0.0" and result.verdict.exit_code == 0
    bundle, statement = verify_bundle(work.pointer, trust_folder())
    assert bundle.id == identity and bundle.onnx_bytes == b"a"
    assert (statement.verdict, statement.trust, statement.trials, statement.created) == ("PASS", "dev", 1, NOW)
    assert statement.gates["skill_over_climatology_min"].value == "0.01"
    registry = load_registry(work.registry)
    entry = registry.models["v1.0.0"]
    assert registry.active == "v1.0.0" and entry.approved_default and entry.bundle_id == identity
    assert (entry.data_hash, entry.hyperparameters_hash) == ("a" * 64, bundle.manifest.params_hash)
    assert entry.metrics["max_drawdown_max"] == "0.02" and entry.deployed_at == NOW
    assert entry.metrics_sha256 == statement.metrics_sha256 and entry.gates_sha256 == statement.gates_sha256
    assert work.pointer.readlink() == Path("store") / identity
    assert [item.action for item in read_log(work.log)] == ["promote"]


def test_a_second_promotion_does_nothing_and_says_so(work: Workspace) -> None:
    judged(work, b"a")
    promote(work, NOW)
    before = everything(work)
    result = promote(work, LATER)
    assert not result.changed and "nothing new" in result.message and result.verdict.exit_code == 0
    assert everything(work) == before


def test_versions_count_up(work: Workspace) -> None:
    for number, onnx in enumerate((b"a", b"b", b"c")):
        identity = judged(work, onnx)
        assert promote(work, NOW).active == f"v1.{number}.0"
        assert in_use(work) == identity
    registry = load_registry(work.registry)
    assert [tag for tag, entry in registry.models.items() if entry.approved_default] == ["v1.2.0"]


@pytest.mark.parametrize(
    ("metrics", "code"), [(FAILING, 10), (changed("expectancy_bps", n=5), 20), (changed("paper_parity", value=0), 10)]
)
def test_what_does_not_pass_leaves_the_previous_model(work: Workspace, metrics: dict[str, Any], code: int) -> None:
    first = judged(work, b"a")
    promote(work, NOW)
    registry = work.registry.read_bytes()
    second = judged(work, b"b", metrics)
    result = promote(work, LATER)
    assert not result.changed and result.verdict.exit_code == code and "v1.0.0 stays" in result.message
    assert in_use(work) == first and work.registry.read_bytes() == registry
    assert not work.stored(second).exists()
    rejection = read_log(work.log)[-1]
    assert (rejection.action, rejection.bundle_id, rejection.tag) == ("reject", second, None)
    assert rejection.reason == "; ".join(result.verdict.obstacles()) != ""
    promote(work, LATER)
    assert len(read_log(work.log)) == 2  # the same rejection is logged once


def test_more_trials_can_turn_a_pass_into_a_rejection(work: Workspace) -> None:
    """Judged before the search grew, refused after it: the count is taken at the promotion."""
    table = changed("sharpe_daily", value=0.2)
    judged(work, b"a", table)
    assert open_case(work).verdict.exit_code == 0
    for number, sharpe in enumerate((-0.5, 0.6, -0.4, 0.5, 0.1)):
        judged(work, b"try %d" % number, changed("sharpe_daily", value=sharpe))
    judged(work, b"a", table)
    result = promote(work, NOW)
    assert result.verdict.trials == 6 and result.verdict.exit_code == 10
    assert not work.pointer.exists()


@pytest.mark.parametrize("metrics", [PASSING, FAILING])
def test_a_promotion_records_a_trial_that_is_missing(work: Workspace, metrics: dict[str, Any]) -> None:
    judged(work, b"a", metrics)
    shutil.rmtree(work.trials)
    promote(work, NOW)
    assert len(list(work.trials.iterdir())) == 1


def test_what_a_runner_would_refuse_is_not_decided_on(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = judged(work, b"a")
    promote(work, NOW)
    judged(work, b"b")
    before = work.log.read_bytes(), work.registry.read_bytes()
    monkeypatch.setattr("gates.promote.sign", lambda statement, private: (sign(statement, private)[0], bytes(64)))
    with pytest.raises(Refused, match="does not hold"):
        promote(work, LATER)
    assert (work.log.read_bytes(), work.registry.read_bytes()) == before and in_use(work) == first


def test_metrics_of_another_candidate_are_refused(work: Workspace) -> None:
    judged(work, b"a")
    put_candidate(work, b"b")  # trained anew, not backtested
    with pytest.raises(BadInput, match="another candidate"):
        promote(work, NOW)
    judged(work, b"b")
    work.metrics.write_text(work.metrics.read_text().replace("0.02", "0.03"))
    with pytest.raises(BadInput, match="dvc repro"):
        promote(work, NOW)
    work.verdict.write_text("[]")
    with pytest.raises(BadInput, match="no verdict"):
        promote(work, NOW)
    assert not work.pointer.exists() and not work.log.exists()


def test_an_unmeasured_metric_promotes_nothing(work: Workspace) -> None:
    judged(work, b"a", {name: value for name, value in PASSING.items() if name != "paper_parity"})
    assert json.loads(work.verdict.read_text())["verdict"] == "ERROR"  # written, for people to look at
    assert promote(work, NOW).verdict.exit_code == 30
    assert not work.pointer.exists()


metric_changes = st.dictionaries(
    st.sampled_from(list(PASSING)),
    st.fixed_dictionaries(
        {},
        optional={
            "value": st.none() | st.sampled_from([-1.0, 0.0, 1e-6, 0.02, 1.0, 5.0]),
            "lower": st.none() | st.sampled_from([-1.0, 0.0, 0.01]),
            "upper": st.none() | st.sampled_from([0.0, 0.02, 1.0]),
            "n": st.sampled_from([0, 29, 99, 5_000, 20_000]),
        },
    ),
    max_size=2,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(metric_changes, st.lists(st.sampled_from(list(PASSING)), max_size=1))
def test_nothing_whose_verdict_is_not_pass_is_ever_promoted(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, dict[str, Any]], dropped: list[str]
) -> None:
    work = make_workspace(tmp_path_factory.mktemp("property") / "checkout")
    table = {name: value | changes.get(name, {}) for name, value in PASSING.items() if name not in dropped}
    judged(work, b"a", table)
    passed = open_case(work).verdict.exit_code == 0
    result = promote(work, NOW)
    assert result.changed == passed == work.pointer.exists() == (read_state(work).active is not None)
    if passed:
        assert verify_bundle(work.pointer, trust_folder())[1].verdict == "PASS"
    else:
        assert not list((work.root / "models").rglob(STATEMENT))


def test_the_rollback_drill(work: Workspace) -> None:
    """Deploy v1.1.0, go back to v1.0.0: a runner loads v1.0.0, and the registry says why and when."""
    first = judged(work, b"a")
    promote(work, NOW)
    second = judged(work, b"b")
    promote(work, NOW)
    result = rollback(work, None, "accuracy drop", LATER)
    assert result.changed and result.active == "v1.0.0" and in_use(work) == first
    registry = load_registry(work.registry)
    left = registry.models["v1.1.0"]
    assert (left.rolled_back_at, left.rollback_reason, left.approved_default) == (LATER, "accuracy drop", False)
    assert registry.active == "v1.0.0" and registry.models["v1.0.0"].approved_default
    promoted_again = promote(work, LATER)  # the next `make repro` must not undo a rollback
    assert not promoted_again.changed and "rolled back (accuracy drop)" in promoted_again.message
    assert in_use(work) == first
    assert rollback(work, "v1.1.0", "it was the feed", LATER).changed and in_use(work) == second
    assert load_registry(work.registry).models["v1.1.0"].rollback_reason is None
    assert not rollback(work, "v1.1.0", "again", LATER).changed
    assert [item.action for item in read_log(work.log)] == ["promote", "promote", "rollback", "rollback"]


def test_rolling_back_twice_goes_back_two_versions(work: Workspace) -> None:
    for onnx in (b"a", b"b", b"c"):
        judged(work, onnx)
        promote(work, NOW)
    assert rollback(work, None, "r", NOW).active == "v1.1.0"
    assert rollback(work, None, "r", NOW).active == "v1.0.0"
    with pytest.raises(BadInput, match=r"v1\.0\.0"):
        rollback(work, None, "r", NOW)


def test_a_rollback_to_nothing_or_to_an_altered_bundle_changes_nothing(work: Workspace) -> None:
    with pytest.raises(BadInput, match="none"):
        rollback(work, "v1.0.0", "r", NOW)
    first, second = judged(work, b"a"), ""
    promote(work, NOW)
    second = judged(work, b"b")
    promote(work, NOW)
    (work.stored(first) / ONNX).write_bytes(b"x")
    before = everything(work)
    with pytest.raises(Refused, match=r"step\.onnx"):
        rollback(work, "v1.0.0", "r", NOW)
    with pytest.raises(BadInput, match=r"v9\.9\.9"):
        rollback(work, "v9.9.9", "r", NOW)
    assert everything(work) == before and in_use(work) == second
    shutil.rmtree(work.stored(first))
    with pytest.raises(Refused, match="not on this machine"):
        rollback(work, "v1.0.0", "r", NOW)


def test_a_fresh_clone_promotes_the_same_bundle_under_its_tag(work: Workspace) -> None:
    """Git carries log and registry, not the store: reproducing the bundle puts it into use again."""
    identity = judged(work, b"a")
    promote(work, NOW)
    shutil.rmtree(work.root / "models" / "store")
    work.pointer.unlink()
    result = promote(work, LATER)
    assert result.changed and result.active == "v1.0.0" and in_use(work) == identity
    assert list(load_registry(work.registry).models) == ["v1.0.0"]


def test_an_earlier_version_that_passes_again_keeps_tag_and_statement(work: Workspace) -> None:
    first = judged(work, b"a")
    promote(work, NOW)
    statement = (work.stored(first) / STATEMENT).read_bytes()
    judged(work, b"b")
    promote(work, NOW)
    judged(work, b"a")
    assert promote(work, LATER).active == "v1.0.0" and in_use(work) == first
    assert (work.stored(first) / STATEMENT).read_bytes() == statement


@pytest.mark.parametrize("name", [ONNX, MANIFEST, STATEMENT, SIGNATURE])
def test_an_altered_bundle_in_use_is_replaced_by_the_candidate_it_was(work: Workspace, name: str) -> None:
    identity = judged(work, b"a")
    promote(work, NOW)
    path = work.stored(identity) / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Refused):
        in_use(work)
    assert promote(work, LATER).changed and in_use(work) == identity


def test_an_altered_log_or_registry_stops_every_command(work: Workspace) -> None:
    judged(work, b"a")
    promote(work, NOW)
    log, registry = work.log.read_bytes(), work.registry.read_bytes()
    for path, content in (
        (work.log, log.replace(b"passed every gate", b"passed every goat")),
        (work.log, b""),  # cut off: the chain holds, the registry knows better
        (work.registry, registry.replace(b"v1.0.0", b"v2.0.0")),
        (work.registry, registry.replace(b'"trials": 1', b'"trials": 9')),
    ):
        work.log.write_bytes(log), work.registry.write_bytes(registry)
        path.write_bytes(content)
        for command in (
            lambda: promote(work, LATER),
            lambda: rollback(work, None, "r", LATER),
            lambda: read_state(work),
        ):
            with pytest.raises(Refused, match=path.name):
                command()
        assert path.read_bytes() == content


def test_an_unsafe_key_promotes_nothing(work: Workspace, keys: Path) -> None:
    judged(work, b"a")
    export_key(keys)
    (keys / KEY_FILE).chmod(0o644)
    with pytest.raises(Refused, match="0644"):
        promote(work, NOW)
    assert not work.pointer.exists() and not work.log.exists()


class Crash(BaseException):
    """The power went out: no handler of the program may see it."""


def crashing(at: int, before: bool) -> tuple[Callable[[Path, Path], None], list[int]]:
    """``atomic.rename`` that dies before or after its ``at``-th call."""
    rename, calls = atomic.rename, [0]

    def crash(source: Path, target: Path) -> None:
        calls[0] += 1
        if calls[0] == at and before:
            raise Crash
        rename(source, target)
        if calls[0] == at:
            raise Crash

    return crash, calls


def patch_rename(monkeypatch: pytest.MonkeyPatch, function: Callable[[Path, Path], None]) -> None:
    monkeypatch.setattr("models.atomic.rename", function)
    monkeypatch.setattr("gates.promote.rename", function)


def after_two(work: Workspace) -> tuple[str, str]:
    first = judged(work, b"a")
    promote(work, NOW)
    return first, judged(work, b"b")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_a_crash_at_any_write_leaves_old_or_new_and_is_finished_by_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, before: bool
) -> None:
    def act(work: Workspace) -> None:
        promote(work, NOW) if command == "promote" else rollback(work, "v1.0.0", "drill", NOW)

    template = make_workspace(tmp_path / "template")
    first, second = after_two(template)
    if command == "rollback":
        promote(template, NOW)
        first, second = second, first

    def prepared(name: str) -> Workspace:
        shutil.copytree(template.root, tmp_path / name, symlinks=True)
        return Workspace(tmp_path / name)

    undisturbed = prepared("undisturbed")
    count, calls = crashing(0, True)
    with monkeypatch.context() as patch:
        patch_rename(patch, count)
        act(undisturbed)
    crashes = 0
    for at in range(1, calls[0] + 1):
        work = prepared(f"crash {at}")
        crash, _ = crashing(at, before)
        with monkeypatch.context() as patch:
            patch_rename(patch, crash)
            try:
                act(work)
            except Crash:
                crashes += 1
        assert in_use(work) in (first, second)
        act(work)
        assert in_use(work) == second
        assert everything(work) == everything(undisturbed)
    assert crashes == calls[0] >= 3  # log, registry, pointer; a promotion stores four files and a folder before
    assert not list(tmp_path.rglob("*.partial"))


def test_a_failing_disk_promotes_nothing(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(work, b"a")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    patch_rename(monkeypatch, full)
    with pytest.raises(OSError, match="No space"):
        promote(work, NOW)
    assert not work.pointer.exists() and not work.log.exists()


@pytest.mark.parametrize("missing", ["candidate", "metrics", "gate_file"])
def test_missing_inputs_are_named(work: Workspace, missing: str) -> None:
    judged(work, b"a")
    path: Path = getattr(work, missing)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises((BadInput, BadConfig), match=path.name) as caught:
        promote(work, NOW)
    assert isinstance(caught.value, PortcullisError)


def test_results_of_another_bundle_cannot_be_judged(tmp_path: Path) -> None:
    work = make_workspace(tmp_path)
    judged(work, b"first")
    kept = work.metrics.read_bytes()
    put_candidate(work, b"second")
    work.metrics.write_bytes(kept)
    with pytest.raises(Refused, match=r"measured bundle .* the candidate is"):
        open_case(work)
