"""Features as Parquet for people: per instrument and UTC day one file, as ``data.frames`` shows them.

    <symbol>/<2024-08-08>.parquet  SHA256SUMS

Zstd; the file's metadata holds the specification and its hash, the labels' hash and the tape's id, so no file is ever
read as one of another specification. The folder appears whole or not at all.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import BadConfig, BadInput
from data import frames, lanes
from feeds.tape import Tape
from models.output import output_folder


def export(artifacts: Path, to: Path, symbols: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Write the features and labels in ``artifacts``/features into ``to``; a row of symbol, day, rows for each file.

    Memory is that of one instrument's bars, or of one day of its books. Raises BadConfig for a symbol that is not
    there, BadInput without features.
    """
    spec = frames.read_spec(artifacts / "features")
    written = []
    with output_folder(to) as folder:
        for symbol, day, frame in _by_day(artifacts, spec, symbols):
            path = folder / symbol / f"{day}.parquet"
            path.parent.mkdir(exist_ok=True)
            frame.write_parquet(path, compression="zstd", metadata=_metadata(spec, symbol))
            written.append({"symbol": symbol, "day": day, "rows": len(frame), "bytes": path.stat().st_size})
    return written


def _by_day(artifacts: Path, spec: dict[str, Any], symbols: tuple[str, ...]) -> Iterator[tuple[str, str, pl.DataFrame]]:
    days = [(lane.symbol, lane.day) for lane in lanes.read(artifacts / "features/lanes")]
    there = list(dict.fromkeys(symbol for symbol, _ in days))
    if not days:
        tape = Tape.open(artifacts / "data/market.tape", verify=False)
        if tape.tape_id != spec["tape_id"]:
            raise BadInput(f"{artifacts}/features was made from tape {spec['tape_id'][:16]}: run `dvc repro`")
        there = [instrument.symbol for instrument in tape.instruments]
    if unknown := [symbol for symbol in symbols if symbol not in there]:
        raise BadConfig(f"symbol is {unknown[0]!r}; the features have {', '.join(there)}")
    for symbol in symbols or there:
        for _, day in (pair for pair in days if pair[0] == symbol):
            yield symbol, day, frames.states(artifacts, symbol=symbol, day=day)
        if not days:
            frame = frames.features(artifacts, symbol=symbol)
            for (day,), part in frame.group_by(pl.col("ts_event").dt.date(), maintain_order=True):
                yield symbol, str(day), part


def _metadata(spec: dict[str, Any], symbol: str) -> dict[str, str]:
    """What the file was made with; of books each instrument has a specification of its own."""
    own = spec["features"].get(symbol, spec["features"])
    own_hash = spec["features_hash"][symbol] if isinstance(spec["features_hash"], dict) else spec["features_hash"]
    named = {"features": json.dumps(own, sort_keys=True), "features_hash": own_hash}
    return named | {name: str(spec[name]) for name in ("label_hash", "tape_id")}
