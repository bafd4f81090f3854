"""From a source to a tape: read, judge, keep, cut, plant, merge. Bounded by a chunk, whatever the number of rows.

Written into a folder (``data``) and, for the last ``holdout`` days, into a second one that no later stage reads::

    market.tape  bars/<symbol>.parquet  findings.json  quarantine.parquet  summary.json

The second one holds its tape and summary only.

Days are UTC days counted back from the midnight at or after the last bar.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa

from core.errors import BadInput
from core.records import DAY_NS, PPM
from data import store
from data.clean import FINDINGS, GAP, QUARANTINE, Cleaned, clean
from data.resample import PARTIAL, Resampler
from data.settings import DataParams
from data.sources.protocol import Source
from feeds import injection
from feeds.market import Listing, Market
from feeds.tape import write_tape

QUARANTINE_MAX_PPM: Final = 10_000  # of an instrument's rows: beyond it the file is not this market's
EXAMPLES: Final = 3  # shown in an error
_QUARANTINE: Final = pa.schema(
    [("symbol", pa.string()), ("file", pa.string()), ("row", pa.int64()), ("time", pa.timestamp("ns", "UTC"))]
    + [(name, pa.float64()) for name in store.BAR_COLUMNS[1:]]
)


@dataclass(slots=True)
class _Tally:
    """What one instrument's rows came to."""

    rows: int = 0
    quarantined: int = 0
    missing: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    first_ns: int = 0  # open times of the bars kept
    last_ns: int | None = None

    def add(self, cleaned: Cleaned) -> None:
        if self.last_ns is None and len(cleaned.bars):
            self.first_ns = int(cleaned.bars["time"].dt.epoch("ns")[0])
        self.rows += len(cleaned.bars) + len(cleaned.quarantine)
        self.quarantined += len(cleaned.quarantine)
        self.missing += cleaned.missing
        self.last_ns = cleaned.last_ns
        self.rules.update(cleaned.findings["rule"])
        bad = cleaned.findings.filter(pl.col("rule") != GAP)
        self.examples += bad.head(EXAMPLES - len(self.examples)).to_dicts()

    def as_json(self) -> dict[str, int]:
        return {"read": self.rows, "quarantined": self.quarantined, "missing": self.missing}


def build(
    source: Source, market: Market, params: DataParams, *, seed: int, feed_latency_ns: int, out: Path, holdout: Path
) -> None:
    """Ingest ``market``'s instruments from ``source`` into the empty folders ``out`` and ``holdout``.

    The same inputs give the same bytes. Raises BadInput with the thing, the value, the limit and the remedy; then the
    folders are not to be used.
    """
    tallies = _clean_all(source, market, params, out)
    end = max(_midnight_after(tally.last_ns) for tally in tallies.values() if tally.last_ns is not None)
    cut = end - params.holdout * DAY_NS
    start = end - params.days * DAY_NS if params.days else min(tally.first_ns for tally in tallies.values())
    folders = (out, holdout) if params.holdout else (out,)
    kept = {
        symbol: _slice(params, market, index, (start, cut), out / "staged", folders)
        for index, symbol in enumerate(tallies)
    }
    shutil.rmtree(out / "staged")
    ids = [
        write_tape(
            folder / "market.tape",
            store.merged([_bars(folder, symbol) for symbol in tallies], params.interval_ns, feed_latency_ns),
            instruments=market.instruments(),
            interval_ns=params.interval_ns,
            meta=_meta(params, seed) | ({"holdout": True} if folder == holdout else {}),
        )
        for folder in folders
    ]
    shutil.rmtree(holdout / "bars", ignore_errors=True)  # its tape alone knows that it is not to be read
    _write_json(
        out / "summary.json",
        {
            "tape_id": ids[0],
            "rows": sum(spans[0]["rows"] for spans in kept.values()),
            "days": -(-(cut - max(start, min(tally.first_ns for tally in tallies.values()))) // DAY_NS),
            "findings": dict(sorted(sum((tally.rules for tally in tallies.values()), Counter()).items())),
            "symbols": {symbol: tallies[symbol].as_json() | kept[symbol][0] for symbol in tallies},
        },
    )
    late = (
        {"tape_id": ids[1], "symbols": {symbol: spans[1] for symbol, spans in kept.items()}} if params.holdout else {}
    )
    _write_json(holdout / "summary.json", {"days": params.holdout} | late)


def _clean_all(source: Source, market: Market, params: DataParams, out: Path) -> dict[str, _Tally]:
    """Judge every row; good ones go to ``out``/staged, findings and quarantine to their files."""
    tallies: dict[str, _Tally] = {}
    with (
        store.FrameWriter(out / "quarantine.parquet", _QUARANTINE) as quarantine,
        open(out / "findings.json", "w", encoding="utf-8") as findings,
    ):
        findings.write("[")
        separator = "\n"
        for listing, instrument in zip(market.listings, market.instruments(), strict=True):
            tally = tallies[listing.symbol] = _Tally()
            staged = out / "staged" / f"{listing.symbol}.parquet"
            with store.bar_writer(staged, instrument, params.interval_ns) as writer:
                for bars, found, refused in _cleaned(source, listing, params, tally):
                    writer.write(bars)
                    quarantine.write(refused.select(pl.lit(listing.symbol).alias("symbol"), *QUARANTINE))
                    for finding in found:
                        findings.write(separator + json.dumps({"symbol": listing.symbol} | finding))
                        separator = ",\n"
            _check_tally(listing.symbol, tally)
        findings.write("\n]\n")
    return tallies


def _cleaned(
    source: Source, listing: Listing, params: DataParams, tally: _Tally
) -> Iterator[tuple[pl.DataFrame, list[dict[str, Any]], pl.DataFrame]]:
    """Per chunk of ``listing``'s rows its bars of the wanted length, the findings and the rows set aside."""
    resampler, file = Resampler(params.file_ns, params.interval_ns), ""
    for chunk in source.chunks(listing):
        cleaned = clean(chunk, listing, params.file_ns, tally.last_ns)
        tally.add(cleaned)
        tally.rules.update(rule for _, rule, _ in chunk.notes)
        file = chunk.file
        found = [{"file": file, "row": row, "rule": rule, "value": value} for row, rule, value in chunk.notes]
        found += cleaned.findings.select(*FINDINGS).to_dicts()
        bars = cleaned.bars
        if params.file_ns != params.interval_ns:
            bars = resampler.push(bars)
            found += _partial(resampler, file, tally)
        yield bars, found, cleaned.quarantine
    if len(rest := resampler.flush()):
        yield rest, _partial(resampler, file, tally), pl.DataFrame(schema=QUARANTINE)


def _partial(resampler: Resampler, file: str, tally: _Tally) -> list[dict[str, Any]]:
    """Findings of longer bars that lack some of their parts; their row is no row of the file."""
    partial = resampler.take_partial()
    tally.rules[PARTIAL] += len(partial)
    return [
        {"file": file, "row": -1, "rule": PARTIAL, "value": f"{store.iso(opened)} lacks {missing}"}
        for opened, missing in partial
    ]


def _check_tally(symbol: str, tally: _Tally) -> None:
    kept = tally.rows - tally.quarantined
    if not tally.rows:
        raise BadInput(f"{symbol}: no rows; check data.path or leave the symbol out with data.symbols")
    if tally.quarantined * PPM > tally.rows * QUARANTINE_MAX_PPM:
        raise BadInput(
            f"{symbol}: {tally.quarantined} of {tally.rows} rows break rules ({dict(tally.rules)}), "
            f"{QUARANTINE_MAX_PPM / PPM:.0%} may; for example {tally.examples}; "
            f"check the files, data.interval_minutes and the market's grid"
        )
    if tally.missing > kept:
        raise BadInput(
            f"{symbol}: {tally.missing} bars are missing between {kept} present ones; "
            f"data.interval_minutes does not fit the files"
        )


def _slice(
    params: DataParams, market: Market, index: int, window: tuple[int, int], staged: Path, folders: tuple[Path, ...]
) -> list[dict[str, Any]]:
    """Copy one instrument's staged bars from ``window`` [start, cut) to the first folder, those after it to the second.

    Returns rows, first and last open time for each folder.
    """
    start, cut = window
    instrument = market.instruments()[index]
    strength, state = float(params.inject_strength), injection.new_state(len(market.listings))
    spans: list[dict[str, Any]] = [{"rows": 0} for _ in folders]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(store.bar_writer(_bars(folder, instrument.symbol), instrument, params.interval_ns))
            for folder in folders
        ]
        for frame in store.read_bars(staged / f"{instrument.symbol}.parquet"):
            bars = store.records(frame, index, params.interval_ns, 0)
            bars = bars[bars["ts_event"] > start]
            if strength:
                bars = injection.inject(state, bars, interval_ns=params.interval_ns, strength=strength)
            early = bars["ts_event"] <= cut
            for writer, part, span in zip(writers, (bars[early], bars[~early]), spans, strict=False):
                if len(part):
                    writer.write(store.frame_of(part, params.interval_ns))
                    span["rows"] += len(part)
                    span.setdefault("first", store.iso(int(part["ts_event"][0]) - params.interval_ns))
                    span["last"] = store.iso(int(part["ts_event"][-1]) - params.interval_ns)
    if not spans[0]["rows"]:
        raise BadInput(f"{instrument.symbol}: no rows in the days kept; raise data.days or lower data.holdout")
    return spans


def _bars(folder: Path, symbol: str) -> Path:
    return folder / "bars" / f"{symbol}.parquet"


def _midnight_after(open_ns: int) -> int:
    return (open_ns // DAY_NS + 1) * DAY_NS


def _meta(params: DataParams, seed: int) -> dict[str, Any]:
    synthetic = params.source == "synthetic"
    return {
        "source": params.source,
        "seed": seed if synthetic else None,  # recorded data has none: the tape must not change with it
        "strength": params.strength if synthetic else params.inject_strength,
        "injected": not synthetic and float(params.inject_strength) > 0,
    }


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
