"""``runner paper``: play one market against one bundle, to the end or on from where an earlier process stopped."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from core.errors import BadInput, Refused
from models.atomic import write_atomic
from models.lineage import program
from models.statement import Statement
from runner.book_session import BookSession
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.home import Run
from runner.journal import Journal, Policy, differing_keys
from runner.lease import lease
from runner.ledger import Ledger
from runner.plan import Plan, header_ledger, make_stream
from runner.reader import open_run, replay_run, verify
from runner.seal import Seal, file_sha256, read_seal, write_seal
from runner.session import Session
from runner.summary import summary, tally

Follow = Callable[[Iterator[np.ndarray], int | None], Iterable[np.ndarray]]  # shows progress over rows, of a total


def play(
    plan: Plan,
    statement: Statement,
    folder: Path,
    run: Run,
    pacer: Pacer,
    follow: Follow,
    policy: Policy | None = None,
) -> dict[str, Any]:
    """Play ``plan`` in ``run`` and return its summary. A finished run is verified and summarised, not played again.

    ``folder`` is where the bundle was loaded from; ``follow`` hands the bars through; ``policy`` says when there is a
    snapshot and a new segment. The first SIGINT or SIGTERM stops the session between two bars, with a snapshot.

    Raises KeyboardInterrupt after that, Refused if ``run`` belongs to another session or process, BadTape if its
    journal is altered or cannot be written, LedgerBroken if its ledger is.
    """
    with lease(run.folder):
        if read_seal(run.seal) is None:
            _play(plan, statement, folder, run, pacer, follow, policy)
        return describe(run, expect=plan.header)


def _play(
    plan: Plan,
    statement: Statement,
    folder: Path,
    run: Run,
    pacer: Pacer,
    follow: Follow,
    policy: Policy | None,
) -> None:
    about = read_about(run) | {
        "program": program(),
        "bundle": str(folder.resolve()),
        "verdict": statement.verdict,
        "key_id": statement.key_id,
        "trust": statement.trust,
    }
    _write_about(run, about)
    failpoints = Failpoints.from_environment()
    started = monotonic()
    stream = make_stream(
        plan.bundle, len(plan.feed.instruments), plan.trading.execution.decision_latency_ns, plan.feed.trade_from_ns
    )
    with Journal(run.journal, plan.header, header_ledger(plan.header), failpoints, policy) as journal:
        session: Session | BookSession
        if plan.feed.interval_ns == 0:
            session = BookSession(plan, journal, pacer=pacer, failpoints=failpoints)
        else:
            session = Session(plan, stream, journal, pacer=pacer, failpoints=failpoints)
        with _stopped_by_signals(session):
            for _ in follow(session.play(), plan.feed.rows):
                pass
        if session.stopping:
            raise KeyboardInterrupt
        sealed = (journal.count, journal.head(), journal.ledger)
    latency = {stage: histogram.as_json() for stage, histogram in session.latency.items()}
    _write_about(run, about | session.about() | {"latency": latency, "seconds": round(monotonic() - started, 3)})
    _seal(run, plan, *sealed)


def close_segment(run: Run) -> int:
    """Close the last segment of ``run``, which was stopped; its number.

    Raises Refused if the run is finished, being written, or was killed.
    """
    with lease(run.folder):
        if read_seal(run.seal) is not None:
            raise Refused(f"{run.folder}: the run is finished: its last segment is closed by its seal")
        with open_run(run) as reader:
            header = reader.header
        with Journal(run.journal, header, header_ledger(header), Failpoints.from_environment()) as journal:
            return journal.close_segment()


@contextmanager
def _stopped_by_signals(session: Session | BookSession) -> Iterator[None]:
    """The first SIGINT or SIGTERM stops ``session`` where it can go on from; the second stops the process."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        signal.signal(number, signal.default_int_handler)
        session.stop()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _seal(run: Run, plan: Plan, records: int, head: str, ledger: Ledger) -> None:
    seal = Seal(
        run_id=plan.header["run_id"],
        records=records,
        head=head,
        ledger_head=ledger.head(),
        file_sha256=file_sha256(run.journal),
    )
    write_seal(run.seal, seal)


def describe(run: Run, expect: dict[str, Any] | None = None) -> dict[str, Any]:
    """The summary of ``run`` from its journal alone, everything in it verified.

    Raises BadTape or LedgerBroken if anything was altered, Refused if the header is not ``expect`` or the journal does
    not replay.
    """
    with open_run(run) as reader:
        if expect is not None and (changed := differing_keys(expect, reader.header)):
            raise Refused(f"{run.folder}: belongs to a session with another {', '.join(changed)}; choose another --run")
        verified = verify(reader)
        again = replay_run(reader)
        if again.difference is not None:
            raise Refused(f"{run.journal}: does not replay: {again.difference}; `runner replay` tells more")
        found = summary(reader.header, tally(reader.batches()), again.state, again.drawdown_max_ppm, verified.ledger)
        return (
            {"run": run.name, "finished": reader.seal is not None}
            | found
            | {"records": verified.records, "head": verified.head, "ledger_head": verified.ledger.head()}
            | {key: value for key, value in read_about(run).items() if key != "bundle"}
        )


def read_about(run: Run) -> dict[str, Any]:
    """What is local to this machine and run; empty if nothing was written yet. Raises BadInput if it is damaged."""
    if not run.about.exists():
        return {}
    try:
        return msgspec.json.decode(run.about.read_bytes(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadInput(f"{run.about}: not readable ({error}); remove it, no result depends on it") from None


def _write_about(run: Run, about: dict[str, Any]) -> None:
    write_atomic(run.about, msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")
