"""Promotion and rollback: the only ways in which ``models/promoted`` changes. Outside the DVC graph, on purpose.

A promotion judges again with the trials counted now. What passes is copied to ``models/store/<id>`` with a signed
statement, checked there as a runner would check it, and only then decided on: the decision log is written, and registry
and pointer follow (``gates.state``). A crash between any two writes is finished or undone by the next command. What
does not pass changes nothing but the log: the previous model stays.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.errors import BadInput, Refused, require
from gates.judge import Outcome, Verdict
from gates.keys import SigningKey, signing_key, trust_folder
from gates.log import next_decision, write_log
from gates.state import State, finish, points_to, read_state
from gates.trials import record_trial
from gates.workspace import Case, Workspace, open_case
from models.atomic import partial_name, rename, write_atomic
from models.bundle import write_bundle
from models.registry import Entry
from models.statement import SIGNATURE, STATEMENT, GateResult, Statement, sign, verify_bundle


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did. ``changed``: whether another bundle is in use now."""

    changed: bool
    active: str | None
    message: str
    verdict: Verdict | None = None


def promote(work: Workspace, now: str) -> Result:
    """Judge the candidate again and promote it if it passes; ``now`` is an ISO 8601 time.

    Raises BadInput, BadConfig or Refused; then nothing was promoted.
    """
    with work.lock():
        state = read_state(work)
        finish(work, state)
        case = open_case(work)
        _same_as_judged(work, case)
        record_trial(work.trials, case.trial)
        if case.verdict.outcome is not Outcome.PASS:
            return _reject(work, state, case, now)
        tag = state.registry.tag_of(case.bundle.id)
        if tag and (reason := state.registry.models[tag].rollback_reason):
            message = f"{tag} was rolled back ({reason}): nothing done; `python -m gates rollback {tag}` reinstates it"
            return Result(False, state.registry.active, message, case.verdict)
        if tag is not None and tag == state.registry.active and _in_use(work, state):
            return Result(False, tag, f"nothing new: {tag} is this candidate already", case.verdict)
        return _deploy(work, state, case, tag or state.registry.next_tag(), now)


def rollback(work: Workspace, tag: str | None, reason: str, now: str) -> Result:
    """Put ``tag`` (None: the version in use before this one) back into use, after verifying its bundle.

    Raises BadInput for a tag that does not exist, Refused if its bundle does not verify; then nothing changed.
    """
    with work.lock():
        state = read_state(work)
        finish(work, state)
        target = tag or state.previous_tag()
        if target is None or target not in state.registry.models:
            have = ", ".join(state.registry.models) or "none"
            raise BadInput(f"cannot roll back to {target or 'an earlier version'}: versions are {have}")
        entry = state.registry.models[target]
        if target == state.registry.active and points_to(work, entry):
            return Result(False, target, f"nothing to do: {target} is in use")
        if not work.stored(entry.bundle_id).is_dir():
            raise Refused(f"{work.stored(entry.bundle_id)}: {target} is not on this machine; reproduce and promote it")
        _, statement = verify_bundle(work.stored(entry.bundle_id), trust_folder())
        decision = next_decision(
            state.decisions,
            at=now,
            action="rollback",
            bundle_id=entry.bundle_id,
            tag=target,
            reason=reason,
            verdict=statement.verdict,
            metrics_sha256=statement.metrics_sha256,
            gates_sha256=statement.gates_sha256,
            trials=statement.trials,
        )
        write_log(work.log, [*state.decisions, decision])
        _settle(work, entry.bundle_id)
        return Result(True, target, f"{target} is in use again (was {state.registry.active}); verified")


def _same_as_judged(work: Workspace, case: Case) -> None:
    """The gate stage is what ties metrics to a candidate: both must be the ones it saw."""
    try:
        judged = msgspec.json.decode(work.verdict.read_bytes())
        seen = (judged["bundle_id"], judged["metrics_sha256"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        raise BadInput(f"{work.verdict}: no verdict of the gate stage; run `dvc repro` first") from None
    if seen != (case.bundle.id, case.metrics_sha256):
        raise BadInput(f"{work.verdict}: about another candidate or other metrics; run `dvc repro` first")


def _reject(work: Workspace, state: State, case: Case, now: str) -> Result:
    """Log it once; the previous model stays."""
    verdict = case.verdict
    facts = (case.bundle.id, verdict.outcome.value, case.metrics_sha256, case.gate_file.sha256, verdict.trials)
    logged = {
        (item.bundle_id, item.verdict, item.metrics_sha256, item.gates_sha256, item.trials)
        for item in state.decisions
        if item.action == "reject"
    }
    if facts not in logged:
        decision = next_decision(
            state.decisions,
            at=now,
            action="reject",
            bundle_id=case.bundle.id,
            tag=None,
            reason="; ".join(verdict.obstacles()),
            verdict=verdict.outcome.value,
            metrics_sha256=case.metrics_sha256,
            gates_sha256=case.gate_file.sha256,
            trials=verdict.trials,
        )
        write_log(work.log, [*state.decisions, decision])
    stays = f"{state.registry.active} stays in use" if state.registry.active else "no model is in use"
    return Result(False, state.registry.active, f"not promoted ({verdict.outcome.value}): {stays}", verdict)


def _deploy(work: Workspace, state: State, case: Case, tag: str, now: str) -> Result:
    key = signing_key()
    trust = trust_folder()
    _store(work, case, key, now)
    verify_bundle(work.stored(case.bundle.id), trust)
    decision = next_decision(
        state.decisions,
        at=now,
        action="promote",
        bundle_id=case.bundle.id,
        tag=tag,
        reason="passed every gate",
        verdict=case.verdict.outcome.value,
        metrics_sha256=case.metrics_sha256,
        gates_sha256=case.gate_file.sha256,
        trials=case.verdict.trials,
        entry=_entry(case, key, now),
    )
    write_log(work.log, [*state.decisions, decision])
    _settle(work, case.bundle.id)
    return Result(True, tag, f"{tag} promoted: bundle {case.bundle.id[:16]}, signed by {key.public.id}", case.verdict)


def _store(work: Workspace, case: Case, key: SigningKey, now: str) -> None:
    """Make ``models/store/<id>`` whole in one step. A bundle that is there and verifies keeps its statement."""
    folder = work.stored(case.bundle.id)
    if _verifies(folder):
        return
    data, signature = sign(_statement(case, key, now), key.private)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(".*.partial"):  # of a killed attempt; the lock is ours
        shutil.rmtree(leftover)
    partial = partial_name(folder)
    write_bundle(partial, case.bundle.onnx_bytes, case.bundle.manifest)
    write_atomic(partial / STATEMENT, data)
    write_atomic(partial / SIGNATURE, signature)
    if folder.exists():
        shutil.rmtree(folder)
    rename(partial, folder)


def _settle(work: Workspace, bundle_id: str) -> None:
    """Bring registry and pointer up to the log just written and check the result as a runner would."""
    finish(work, read_state(work))
    bundle, _ = verify_bundle(work.pointer, trust_folder())
    require(bundle.id == bundle_id, f"{work.pointer} leads to {bundle.id}, {bundle_id} was decided on")


def _in_use(work: Workspace, state: State) -> bool:
    """Whether the active bundle is here and verifies: in a fresh clone only log and registry are."""
    return state.active is not None and points_to(work, state.active) and _verifies(work.pointer)


def _verifies(folder: Path) -> bool:
    try:
        verify_bundle(folder, trust_folder())
    except (BadInput, Refused):
        return False
    return True


def _statement(case: Case, key: SigningKey, now: str) -> Statement:
    rows = case.verdict.rows
    return Statement(
        bundle_id=case.bundle.id,
        onnx_sha256=case.bundle.onnx_sha256,
        manifest_sha256=case.bundle.manifest_sha256,
        verdict=case.verdict.outcome.value,
        profile=case.verdict.profile,
        gates={
            row.gate.name: GateResult(
                value=_decimal(row.decided_on),
                bound=row.gate.bound,
                limit=_decimal(row.gate.limit),
                n=row.metric.n if row.metric else 0,
                min_n=row.gate.min_n,
                result=row.result.value,
            )
            for row in rows
        },
        metrics_sha256=case.metrics_sha256,
        gates_sha256=case.gate_file.sha256,
        trials=case.verdict.trials,
        created=now,
        trust=key.trust,
        key_id=key.public.id,
    )


def _entry(case: Case, key: SigningKey, now: str) -> Entry:
    manifest = case.bundle.manifest
    return Entry(
        path=str(Path("store") / case.bundle.id),
        bundle_id=case.bundle.id,
        onnx_sha256=case.bundle.onnx_sha256,
        manifest_sha256=case.bundle.manifest_sha256,
        data_hash=manifest.data_hash,
        hyperparameters_hash=manifest.params_hash,
        feature_spec_hash=manifest.feature_spec_hash,
        code_hash=manifest.code_hash,
        metrics={row.gate.name: _decimal(row.metric.value if row.metric else None) for row in case.verdict.rows},
        metrics_sha256=case.metrics_sha256,
        gates_sha256=case.gate_file.sha256,
        trials=case.verdict.trials,
        key_id=key.public.id,
        deployed_at=now,
    )


def _decimal(number: float | None) -> str | None:
    return None if number is None else repr(number)
