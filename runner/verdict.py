"""The verdict of a replay: does a journal say what this program does, are its bytes intact, are its laws kept?"""

from pathlib import Path

import msgspec
import numpy as np

from core.errors import BadInput, BadTape
from models.statement import verify_bundle
from runner.compare import Difference, Fault
from runner.home import Run
from runner.invariants import Invariants
from runner.ledger import LedgerBroken
from runner.paper import read_about
from runner.plan import header_instruments, header_ledger, make_stream
from runner.reader import Reader, open_run, verify
from runner.replay import replay, replay_model


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found. ``parity`` is the conjunction of everything below it."""

    run: str
    parity: bool
    records: int
    head: str | None  # None if the stored bytes do not give the stored head
    integrity: str | None  # what is wrong with the stored bytes
    divergence: dict[str, str | int] | None
    broken_laws: tuple[str, ...]
    model_checked: bool

    def lines(self) -> list[str]:
        """For people."""
        out = [f"REPLAY PARITY: {'TRUE' if self.parity else 'FALSE'}"]
        if self.integrity:
            out.append(f"{Fault.HASH.value}: {self.integrity}")
        if self.divergence:
            at = self.divergence
            out.append(
                f"first divergence: record {at['record']} ({at['kind']}), field {at['field']}: expected "
                f"{at['expected']}, actual {at['actual']} [{at['fault']}]"
            )
        out += [f"broken law: {law}" for law in self.broken_laws]
        if self.parity:
            checked = "core and model" if self.model_checked else "core"
            out.append(f"{self.records} records of run {self.run} through the {checked}, head {self.head}")
        return out


def judge(run: Run, trust: Path, *, model: bool, bundle: Path | None) -> Judgement:
    """Replay ``run``. With ``model``, kernel and model too, from ``bundle`` or the folder the run was made with.

    Raises BadTape if there is no readable journal, Refused if the bundle is not trusted or not the run's.
    """
    with open_run(run) as reader:
        head, integrity = None, None
        try:
            head = verify(reader).head
        except (BadTape, LedgerBroken) as error:
            integrity = str(error)
        again = replay(reader.header, reader.batches())
        difference = again.difference
        laws: list[str] = []
        if difference is None:
            laws = _broken_laws(reader, again.state)
            if model:
                difference = _model_difference(reader, run, trust, bundle)
        return Judgement(
            run=run.name,
            parity=not (integrity or difference or laws),
            records=again.records,
            head=head,
            integrity=integrity,
            divergence=_plain(difference) if difference else None,
            broken_laws=tuple(laws),
            model_checked=model,
        )


def _broken_laws(reader: Reader, state: np.ndarray) -> list[str]:
    ledger = header_ledger(reader.header)
    ledger.start(reader.start)
    laws = Invariants(header_instruments(reader.header), ledger)
    for records in reader.batches():
        laws.add(records)
    laws.check_state(state)
    return laws.broken


def _model_difference(reader: Reader, run: Run, trust: Path, bundle: Path | None) -> Difference | None:
    folder = bundle or read_about(run).get("bundle")
    if folder is None:
        raise BadInput(f"{run.about}: does not say where the bundle lay; give --bundle")
    loaded, _ = verify_bundle(folder, trust)
    if loaded.id != reader.header["bundle_id"]:
        raise BadInput(
            f"{folder}: is the bundle {loaded.id[:16]}, the run was made with {reader.header['bundle_id'][:16]}"
        )
    execution = reader.header["trading"]["execution"]
    stream = make_stream(
        loaded, len(reader.header["instruments"]), execution["decision_latency_ns"], reader.header["trade_from_ns"]
    )
    return replay_model(stream, reader.batches()) if stream else None


def _plain(found: Difference) -> dict[str, str | int]:
    return {
        "record": found.record,
        "kind": found.kind,
        "field": found.field,
        "expected": found.expected,
        "actual": found.actual,
        "fault": found.fault.value,
    }
