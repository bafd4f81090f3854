"""Questions about ingested data, answered by DuckDB over the Parquet files, and the check that holds them to the tape.

Every function takes the folder that ingest wrote (``artifacts/data``) and returns plain rows: lists of dictionaries.
"""

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import duckdb
import plotly.graph_objects as go
import pyarrow.parquet as pq
from plotly.subplots import make_subplots

from core.errors import BadInput, BadTape
from core.records import DAY_NS, MINUTE_NS
from data import store
from data.build_events import COUNTED
from data.schema import check_bars
from feeds.tape import Tape

Row = dict[str, Any]
CLOCKS: Final = ("delay_ms", "offset_ms")

_COMPLETENESS = """
with bars as (select epoch_ns(time) as ns from read_parquet($path)),
     span as (select min(ns) as first, max(ns) as last from bars),
     days as (select unnest(generate_series(first // $day, last // $day)) as day from span),
     present as (select ns // $day as day, count(*) as bars from bars group by all)
select make_date(day::integer)::varchar as day, coalesce(bars, 0) as bars,
       (least((day + 1) * $day - $step, last) - greatest(day * $day, first)) // $step + 1 as expected
from days left join present using (day), span order by day
"""
_DESCRIBE_EVENTS = """
with minutes as (from read_parquet($path))
select count(*) as minutes, min(epoch_ns(time)) as first_ns, max(epoch_ns(time)) as last_ns,
       sum(levels)::bigint as levels, sum(trades)::bigint as trades, sum(quotes)::bigint as quotes,
       sum(clears)::bigint as clears, median(delay_ms) as delay_ms
from minutes
"""
_DELAYS = """
with minutes as (select delay_ms, epoch_ns(time) // $day as day, levels + trades + clears + quotes as n
                 from read_parquet($path))
select make_date(day::integer)::varchar as day, round(sum(delay_ms * n) / sum(n), 3) as delay_ms
from minutes group by all
"""
_DESCRIBE = """
with bars as (from read_parquet($path))
select count(*) as rows, min(epoch_ns(time)) as first_ns, max(epoch_ns(time)) as last_ns,
       min(low) as low, max(high) as high, avg(volume) as volume, count(*) filter (volume = 0) as without_volume
from bars
"""
_SCALE_MIN: Final = 0.01  # the least share missing that is drawn in the darkest colour
_DAYS_NAMED: Final = 14  # so many days are named one by one


def files(folder: Path) -> list[Row]:
    """The data files with their rows and sizes."""
    rows: list[Row] = [
        {
            "file": f"{path.parent.name}/{path.name}",
            "rows": pq.read_metadata(path).num_rows,
            "bytes": path.stat().st_size,
        }
        for path in _files(folder)
    ]
    for path in sorted(folder.glob("*.tape")):
        rows.append(
            {"file": path.name, "rows": len(Tape.open(path, verify=False).records), "bytes": path.stat().st_size}
        )
    return rows


def describe(folder: Path) -> list[Row]:
    """Per instrument: rows, first and last bar, bars missing between them, price range and mean volume in decimals.

    Of books and quotes: the records by kind, the minutes without any, and the median delay of a record.
    """
    if _has_events(folder):
        return [_describe_events(path) for path in _files(folder)]
    table = []
    for path in _files(folder):
        about = _about(path)
        found = _query(_DESCRIBE, path=str(path))[0]
        expected = (found["last_ns"] - found["first_ns"]) // about["interval_ns"] + 1
        table.append(
            {
                "symbol": about["symbol"],
                "rows": found["rows"],
                "first": store.iso(found["first_ns"]),
                "last": store.iso(found["last_ns"]),
                "missing": expected - found["rows"],
                "low": float(found["low"] * Fraction(about["tick"])),
                "high": float(found["high"] * Fraction(about["tick"])),
                "mean_volume": round(found["volume"] * float(about["lot"]), 6),
                "without_volume": found["without_volume"],
            }
        )
    return table


def _describe_events(path: Path) -> Row:
    found = _query(_DESCRIBE_EVENTS, path=str(path))[0]
    first, last = found.pop("first_ns"), found.pop("last_ns")
    silent = (last - first) // MINUTE_NS + 1 - found["minutes"]
    delay_ms = round(found.pop("delay_ms"), 3)
    span = {"symbol": path.stem, "first": store.iso(first), "last": store.iso(last)}
    return span | found | {"minutes_silent": silent, "delay_ms": delay_ms}


def completeness(folder: Path) -> list[Row]:
    """Per instrument and UTC day, first to last bar: bars present, expected and missing.

    Of books and quotes a minute with a record counts as a bar, and two columns are added: ``delay_ms``, the mean of
    ts_known - ts_event on the tape, and ``offset_ms``, the mean of receipt - event as the recorder had it, below
    0 where that was slow. None where there is nothing to tell.
    """
    table = []
    for path in _files(folder):
        about = _about(path)
        clocks = _clocks(folder, path, about["symbol"]) if _has_events(folder) else {}
        for row in _query(_COMPLETENESS, path=str(path), day=DAY_NS, step=about["interval_ns"]):
            row = {"symbol": about["symbol"], **row, "missing": row["expected"] - row["bars"]}
            table.append(row | clocks.get(row["day"], dict.fromkeys(CLOCKS) if _has_events(folder) else {}))
    return table


def _clocks(folder: Path, path: Path, symbol: str) -> dict[str, Row]:
    """By day: delay_ms from the minutes, offset_ms from the summary."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    offsets = summary["symbols"].get(symbol, {}).get("offset_ms", {})
    delays = _query(_DELAYS, path=str(path), day=DAY_NS)
    return {row["day"]: {"delay_ms": row["delay_ms"], "offset_ms": offsets.get(row["day"])} for row in delays}


def check(folder: Path) -> Row:
    """Read everything again: the tape's hash, each bar's schema, and that the tape holds exactly the Parquet's bars.

    Raises BadTape for an altered tape or one that differs from the bars, BrokenInvariant for a bar that no rule allows.
    Of books and quotes the minutes are counted again.
    """
    tape = Tape.open(folder / "market.tape")
    if _has_events(folder):
        return _check_events(folder, tape)
    paths = [folder / "bars" / f"{instrument.symbol}.parquet" for instrument in tape.instruments]
    for path in paths:
        for frame in store.read_bars(path):
            check_bars(frame, where=path.name)
    latency_ns = int(tape.records["ts_known"][0] - tape.records["ts_event"][0])
    digest = hashlib.sha256()
    for chunk in store.merged(paths, tape.interval_ns, latency_ns):
        digest.update(chunk.tobytes())
    if digest.hexdigest() != tape.records_sha256:
        raise BadTape(f"{tape.path}: its bars are not those of {folder / 'bars'}; make both with `dvc repro ingest`")
    return {"tape_id": tape.tape_id, "rows": len(tape.records), "instruments": len(paths), "ok": True}


def _check_events(folder: Path, tape: Tape) -> Row:
    for index, instrument in enumerate(tape.instruments):
        path = folder / "minutes" / f"{instrument.symbol}.parquet"
        found, own = _query(_DESCRIBE_EVENTS, path=str(path))[0], tape.records[tape.records["instrument"] == index]
        for name, kind in COUNTED.items():
            if found[name] != (count := int((own["kind"] == kind).sum())):
                raise BadTape(
                    f"{path}: {found[name]} {name}, the tape holds {count}; make both with `dvc repro ingest`"
                )
    return {"tape_id": tape.tape_id, "rows": len(tape.records), "instruments": len(tape.instruments), "ok": True}


def plot(folder: Path, out: Path) -> None:
    """Draw the share of bars (or minutes) missing, instrument by day, as one self-contained HTML page.

    Of books and quotes the clocks are drawn below: delay_ms and offset_ms of ``completeness``.
    """
    rows = completeness(folder)
    kind = _files(folder)[0].parent.name
    drawn = {f"Share of {kind} missing per day": lambda row: row["missing"] / row["expected"]}
    if _has_events(folder):
        drawn |= {
            "Mean delay on the tape, ms": lambda row: row["delay_ms"],
            "Mean offset of receipt against event as recorded, ms": lambda row: row["offset_ms"],
        }
    symbols, days = sorted({row["symbol"] for row in rows}), sorted({row["day"] for row in rows})
    figure = make_subplots(rows=len(drawn), cols=1, subplot_titles=list(drawn), shared_xaxes=True)
    for place, (name, value) in enumerate(drawn.items()):
        cells = {(row["symbol"], row["day"]): value(row) for row in rows}
        # With nothing missing a scale of its own would begin below 0.
        most = max([_SCALE_MIN, *(cell for cell in cells.values() if cell is not None)])
        colours = {"colorscale": "RdBu", "zmid": 0} if place else {"colorscale": "Reds", "zmin": 0, "zmax": most}
        figure.add_trace(
            go.Heatmap(
                x=days,
                y=symbols,
                z=[[cells.get((symbol, day)) for day in days] for symbol in symbols],
                name=name,
                texttemplate="%{z:.1f}" if place else None,
                showscale=not place,
                **colours,
                colorbar={"title": "missing", "tickformat": ".1%"},
            ),
            row=place + 1,
            col=1,
        )
    figure.update_layout(height=(160 + 60 * len(symbols)) * len(drawn))
    if len(days) <= _DAYS_NAMED:
        figure.update_xaxes(tickvals=days, ticktext=[str(day) for day in days])
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(out, include_plotlyjs=True, div_id="completeness")


def _has_events(folder: Path) -> bool:
    return (folder / "minutes").is_dir()


def _files(folder: Path) -> list[Path]:
    """The Parquet files of bars, or of minutes."""
    kind = "minutes" if _has_events(folder) else "bars"
    if not (paths := sorted((folder / kind).glob("*.parquet"))):
        raise BadInput(f"{folder}/{kind}: no Parquet file; make it with `dvc repro ingest`")
    return paths


def _about(path: Path) -> Row:
    about = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
    return about | {"interval_ns": int(about["interval_ns"])}


def _query(sql: str, **values: Any) -> list[Row]:
    with duckdb.connect() as connection:
        result = connection.execute(sql, values)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
