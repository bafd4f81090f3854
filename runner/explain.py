"""Why a fill happened: from the ledger entry back to the raw record, every element with its record number and hash.

The journal holds the whole chain; nothing is guessed, and nothing is told before all of the run is verified. What is
not in it is recomputed and said to be: the features, by the bundle's own kernel over the journaled bars, if the bundle
is at hand.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.canonical import sha256_hex
from core.errors import BadInput, PortcullisError
from core.instruments import Instrument
from core.marks import BOOK_KINDS
from core.records import (
    ACTION_MASK,
    BAR,
    PREDICTION,
    RECORD,
    TYPED,
    Action,
    FeeAsset,
    Kind,
    Metric,
    OrderState,
    Reason,
    RiskState,
    Side,
    Verdict,
)
from features import bars as kernel
from models.statement import verify_bundle
from runner.database import DAMAGED, sqlite_errors
from runner.paper import read_about
from runner.plan import feature_spec, header_instruments
from runner.reader import Reader, verify
from runner.segments import stored_batches
from runner.summary import money, strategies

_OF_ORDER: Final = (Kind.INTENT, Kind.ORDER, Kind.FILL, Kind.CHECK)
_FIRST_OUTPUT: Final = int(Kind.DECISION)
_WINDOW: Final = 8_192  # records before an intent among which its cause lies
_WHICH: Final = re.compile(r"[0-9]+(:-?[0-9]+)?")

Element = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Numbered:
    """Records of a journal with their numbers."""

    numbers: np.ndarray  # int64
    records: np.ndarray  # dtype RECORD

    def of(self, kind: Kind) -> "_Numbered":
        keep = self.records["kind"] == kind
        return _Numbered(self.numbers[keep], self.records[keep])

    def __len__(self) -> int:
        return len(self.records)


def explain(reader: Reader, which: str, trust: Path, bundle: Path | None = None) -> dict[str, Any]:
    """Everything that led to a fill and followed from it, in the order of cause and effect.

    ``which``: the fill's place among the run's fills, from 1 on, or ``ORDER:EXECUTION``. Raises BadInput if there is no
    such fill, BadTape or LedgerBroken, naming the place, if journal or ledger are not what was written: every byte of
    both is hashed first, and what is read afterwards is the same state of the database.
    """
    with sqlite_errors(reader.run.journal, DAMAGED):
        reader.connection.execute("BEGIN")
        try:
            verify(reader)
            return _explained(reader, which, trust, bundle)
        finally:
            reader.connection.rollback()


def _explained(reader: Reader, which: str, trust: Path, bundle: Path | None) -> dict[str, Any]:
    number, fill = _find(reader, which)
    instruments = header_instruments(reader.header)
    of_order = _select(reader, lambda r: np.isin(r["kind"], _OF_ORDER) & (r["a"] == fill["a"][0]), number + 1)
    chain: list[Element] = []
    submits = of_order.of(Kind.INTENT)
    submits = _where(submits, submits.records["flags"] & ACTION_MASK != Action.CANCEL)
    if len(submits):
        chain += _causes(reader, int(submits.numbers[0]), instruments, trust, bundle)
        checks = of_order.of(Kind.CHECK)
        chain += [_element("check", *item, instruments) for item in _pairs(checks)]
        chain.append(_element("intent", int(submits.numbers[0]), submits.records[:1], instruments))
    chain += [_element("report", *item, instruments) for item in _pairs(of_order.of(Kind.ORDER))]
    chain.append(_element("fill", number, fill, instruments))
    places = {id(item): item["record"] for item in chain if "record" in item}
    last = 0
    for item in chain:  # the features have no record: they stay behind the bar they were made from
        last = places.setdefault(id(item), last)
    chain.sort(key=lambda item: places[id(item)])
    return {
        "run": reader.run.name,
        "run_id": reader.header["run_id"],
        "fill": {"record": number, "order_id": int(fill["a"][0]), "exec_id": int(fill["e"][0])},
        "bundle": _bundle(reader),
        "chain": chain,
        "ledger": _ledger(reader, number, int(fill["a"][0])),
        "missing": [] if len(submits) else [_gone(reader, int(fill["a"][0]))],
    }


def _gone(reader: Reader, order_id: int) -> str:
    return f"no intent of order {order_id} before it: " + (
        "its segment has expired" if reader.first else "the order was not sent by this run"
    )


def _find(reader: Reader, which: str) -> tuple[int, np.ndarray]:
    """Number and record, shape (1,), of the fill."""
    order, _, execution = which.partition(":")
    if not _WHICH.fullmatch(which):
        raise BadInput(f"fill {which!r}: give its place among the run's fills, from 1 on, or ORDER:EXECUTION")
    fills = _select(reader, lambda r: r["kind"] == Kind.FILL)
    if ":" in which:
        rows = np.flatnonzero((fills.records["a"] == int(order)) & (fills.records["e"] == int(execution)))
    else:
        rows = np.arange(len(fills))[int(order) - 1 : int(order)] if int(order) else np.arange(0)
    if not len(rows):
        raise BadInput(f"fill {which!r}: the run has {len(fills)} fills and none of that name")
    row = int(rows[0])
    return int(fills.numbers[row]), fills.records[row : row + 1]


def _select(reader: Reader, wanted: Any, end: int | None = None) -> _Numbered:
    """The records before number ``end`` for which ``wanted(records)`` is true."""
    numbers, kept, at = [np.zeros(0, np.int64)], [np.zeros(0, RECORD)], reader.first
    for records in reader.batches():
        part = records if end is None else records[: max(0, end - at)]
        rows = np.flatnonzero(wanted(part))
        numbers.append(at + rows)
        kept.append(part[rows])
        at += len(records)
        if end is not None and at >= end:
            break
    return _Numbered(np.concatenate(numbers), np.concatenate(kept))


def _where(items: _Numbered, keep: np.ndarray) -> _Numbered:
    return _Numbered(items.numbers[keep], items.records[keep])


def _pairs(items: _Numbered) -> Iterator[tuple[int, np.ndarray]]:
    for row, number in enumerate(items.numbers.tolist()):
        yield number, items.records[row : row + 1]


def _before(reader: Reader, number: int) -> _Numbered:
    """The records right before ``number``."""
    segment = next(item for item in reversed(reader.kept) if item.first <= number)
    low = max(segment.first, number - _WINDOW)
    numbers, kept = [np.zeros(0, np.int64)], [np.zeros(0, RECORD)]
    for first, data, _ in stored_batches(reader.connection, reader.run.journal, segment, low):
        records = np.frombuffer(data, RECORD)[: max(0, number - first)]
        numbers.append(first + np.arange(len(records)))
        kept.append(records)
        if first + len(records) >= number:
            break
    return _Numbered(np.concatenate(numbers), np.concatenate(kept))


def _causes(
    reader: Reader, number: int, instruments: tuple[Instrument, ...], trust: Path, bundle: Path | None
) -> list[Element]:
    """What led to the intent ``number``: raw record, features, prediction, risk state, decision."""
    before = _before(reader, number)
    inputs = _where(before, before.records["kind"] < _FIRST_OUTPUT)
    if not len(inputs):
        return []
    index = int(_one(reader, number)["instrument"][0])
    trigger, at = inputs.records[-1:], int(inputs.numbers[-1])
    chain: list[Element] = []
    if trigger["kind"][0] == Kind.PREDICTION:
        bar_ts = int(trigger.view(PREDICTION)["bar_ts"][0])
        bars = _select(reader, lambda r: (r["kind"] == Kind.BAR) & (r["instrument"] == index), at)
        made_from = _where(bars, bars.records["ts_event"] == bar_ts)
        chain += [_element("bar", *item, instruments) for item in _pairs(made_from)]
        chain.append(_features(reader, bars, bar_ts, trust, bundle))
        chain.append(_element("prediction", at, trigger, instruments))
    else:
        if trigger["kind"][0] == Kind.TIMER:  # says when; what was seen of the instrument by then says why
            seen = _where(inputs, np.isin(inputs.records["kind"], BOOK_KINDS) & (inputs.records["instrument"] == index))
            chain += [_named(*item, instruments) for item in list(_pairs(seen))[-1:]]
        chain.append(_named(at, trigger, instruments))
    after = _where(before, before.numbers > at)
    for name, kind in (("risk", Kind.RISK), ("decision", Kind.DECISION)):
        of_kind = after.of(kind)
        chosen = _where(of_kind, (of_kind.records["instrument"] == index) | (of_kind.records["kind"] == Kind.RISK))
        chain += [_element(name, *item, instruments) for item in list(_pairs(chosen))[-1:]]
    return chain


def _named(number: int, record: np.ndarray, instruments: tuple[Instrument, ...]) -> Element:
    return _element(Kind(int(record["kind"][0])).name.lower(), number, record, instruments)


def _one(reader: Reader, number: int) -> np.ndarray:
    return _before(reader, number + 1).records[-1:]


def _features(reader: Reader, bars: _Numbered, bar_ts: int, trust: Path, bundle: Path | None) -> Element:
    """The feature vector of the bar, by the bundle's kernel over every bar of the instrument up to it."""
    folder = bundle or read_about(reader.run).get("bundle")
    said = "recomputed by the bundle's kernel from the journaled bars"
    if reader.first or folder is None:
        why = "the first bars have expired" if reader.first else "no bundle is named: give --bundle"
        return {"element": "features", "said": f"not recomputed: {why}"}
    try:
        loaded, _ = verify_bundle(Path(folder), trust)
        if loaded.id != reader.header["bundle_id"]:
            raise BadInput(f"{folder} is another bundle, {loaded.id[:16]}")
        spec = feature_spec(loaded.manifest)
    except (PortcullisError, OSError) as error:
        return {"element": "features", "said": f"not recomputed: {error}"}
    state = kernel.new_state(spec, len(reader.header["instruments"]))
    out, ready = np.zeros((1, spec.n_features), np.float32), False
    one = np.zeros(1, BAR)
    for row in range(len(bars)):
        one[:] = bars.records[row : row + 1].view(BAR)
        ready = bool(kernel.update(state, one, out))
        if one["ts_event"][0] == bar_ts:
            break
    values = dict(zip(spec.names, (float(value) for value in out[0]), strict=True))
    digest = sha256_hex(out.tobytes())
    return {"element": "features", "said": said, "spec": spec.hash, "ready": ready, "sha256": digest, "values": values}


def _element(name: str, number: int, record: np.ndarray, instruments: tuple[Instrument, ...]) -> Element:
    """One record: its number, the hash of its bytes, its fields, and how they read."""
    kind = Kind(int(record["kind"][0]))
    typed = record.view(TYPED[kind])
    fields = {field: int(typed[field][0]) for field in typed.dtype.names or ()}
    return {
        "element": name,
        "record": number,
        "kind": kind.name,
        "sha256": sha256_hex(record.tobytes()),
        "fields": fields,
        "reads": _reads(kind, fields, instruments),
    }


def _reads(kind: Kind, fields: dict[str, int], instruments: tuple[Instrument, ...]) -> dict[str, str]:
    """Names and decimals for a record's numbers."""
    item = instruments[fields["instrument"]] if fields["instrument"] < len(instruments) else None
    said: dict[str, str] = {"symbol": item.symbol} if item else {}
    if fields["side"]:
        said["side"] = Side(fields["side"]).name
    if fields["reason"]:
        said["reason"] = Reason(fields["reason"]).name
    if item is not None:
        for field in ("open", "high", "low", "close", "price", "bid", "ask"):
            if fields.get(field):
                said[field] = money(fields[field], item.tick)
        for field in ("qty", "volume", "filled", "remaining", "target_lots", "size_lots"):
            if field in fields:
                said[field] = money(fields[field], item.lot)
    if kind == Kind.CHECK:
        said["verdict"] = Verdict(fields["flags"]).name
    if kind == Kind.ORDER:
        said["state"] = OrderState(fields["state"]).name
    if kind == Kind.INTENT:
        said["action"] = Action(fields["flags"] & ACTION_MASK).name
    if kind == Kind.RISK:
        said["change"] = f"{RiskState(fields['state_from']).name} -> {RiskState(fields['state_to']).name}"
        said["metric"] = Metric(fields["metric"]).name
    if kind == Kind.FILL and item is not None:
        in_base = fields["flags"] == FeeAsset.BASE
        said["fee"] = f"{money(fields['fee'], item.base_unit if in_base else item.quote_unit)} " + (
            item.base if in_base else item.quote
        )
    return said


def _bundle(reader: Reader) -> dict[str, Any]:
    """What the session ran by: bundle and verdict; the signature was checked when it started."""
    about = read_about(reader.run)
    return {
        "id": reader.header["bundle_id"],
        "strategy": "+".join(strategies(reader.header["trading"])),
        "config_hash": reader.header["config_hash"],
        **{key: about[key] for key in ("verdict", "key_id", "trust") if key in about},
    }


def _ledger(reader: Reader, number: int, order_id: int) -> dict[str, Any]:
    """The rows of the ledger that the fill caused, and the approval its order was sent under."""

    def rows(query: str, *values: object) -> list[dict[str, Any]]:
        cursor = reader.connection.execute(query, values)
        names = [item[0] for item in cursor.description]
        return [
            {key: value.hex() if isinstance(value, bytes) else value for key, value in zip(names, row, strict=True)}
            for row in cursor.fetchall()
        ]

    transactions = rows("SELECT id, seq, cause, sha256 FROM txn WHERE seq = ?", number)
    if not transactions:
        return {"said": "nothing was booked: the fill was booked before, when it was first delivered"}
    txn = transactions[0]["id"]
    return {
        "transaction": transactions[0],
        "entries": rows("SELECT id, account, asset, delta, balance_after FROM entry WHERE txn = ? ORDER BY id", txn),
        "lots": rows("SELECT id, units, cost FROM lot WHERE txn = ? ORDER BY id", txn),
        "trades": rows("SELECT id, lot, units, cost, proceeds, realised FROM trade WHERE txn = ? ORDER BY id", txn),
        "approval": rows("SELECT * FROM approval WHERE order_id = ?", order_id),
    }
