"""The verdict of a replay: does a journal say what this program does, are its bytes intact, are its laws kept?"""

from pathlib import Path

import msgspec
import numpy as np

from core.errors import BadInput, BadTape
from models.statement import verify_bundle
from runner.compare import Difference, Fault
from runner.home import Run
from runner.invariants import Invariants
from runner.ledger import Ledger, LedgerBroken
from runner.paper import read_about
from runner.plan import header_instruments, make_stream
from runner.reader import Reader, open_run, replay_run, verify
from runner.replay import replay_model


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


def judge(run: Run, trust: Path, *, model: bool, bundle: Path | None, any_code: bool = False) -> Judgement:
    """Replay ``run``. With ``model``, kernel and model too, from ``bundle`` or the folder the run was made with.

    Raises BadTape if there is no readable journal, Refused if another program wrote it (unless ``any_code``), if the
    bundle is not trusted or not the run's.
    """
    with open_run(run) as reader:
        head, integrity, ledger = None, None, None
        try:
            verified = verify(reader)
            head, ledger = verified.head, verified.ledger
        except (BadTape, LedgerBroken) as error:
            integrity = str(error)
        laws = Invariants(reader.kept[0].lineage, reader.snapshot(reader.first) if reader.first else None)
        again = replay_run(reader, any_code=any_code, watch=laws.add)
        difference, broken = again.difference, []
        if difference is None:
            laws.check_state(again.state)
            broken = laws.broken + (_ledger_differences(reader, ledger, again.state) if ledger else [])
            if model:
                difference = _model_difference(reader, run, trust, bundle)
        return Judgement(
            run=run.name,
            parity=not (integrity or difference or broken),
            records=again.records,
            head=head,
            integrity=integrity,
            divergence=_plain(difference) if difference else None,
            broken_laws=tuple(broken),
            model_checked=model,
        )


def _ledger_differences(reader: Reader, ledger: Ledger, state: np.ndarray) -> list[str]:
    """The core's cash and positions are the ledger's, to the unit."""
    quote = reader.header["trading"]["account"]["quote"]
    pairs = [(quote, int(state["account"]["cash"][0]))] + [
        (item.base, int(position["base_units"]))
        for item, position in zip(header_instruments(reader.header), state["positions"][0], strict=False)
    ]
    return [
        f"{asset}: the core holds {held} units, the ledger {ledger.balances.get(('holdings', asset), 0)}"
        for asset, held in pairs
        if held != ledger.balances.get(("holdings", asset), 0)
    ]


def _model_difference(reader: Reader, run: Run, trust: Path, bundle: Path | None) -> Difference | None:
    if reader.first:
        raise BadInput(f"{run.journal}: its first segment has expired: the model starts at the first bar")
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
