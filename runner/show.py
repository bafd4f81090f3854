"""How results look on a terminal. Everything here is a view of plain data that ``--json`` prints as it is."""

from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

PARITY_LOST = "not the configuration that was judged: parity with the backtest does not apply"


def console(*, stderr: bool = False) -> Console:
    """A console that never wraps words it did not write: lines stay greppable."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False)


def time_text(ts_ns: int) -> str:
    """A UTC time to the second."""
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def summary_table(found: dict[str, Any]) -> Table:
    """A session's summary, as ``runner.summary.summary`` and the paper command make it."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    quote = found["quote"]
    rows: list[tuple[str, str]] = [
        ("run", f"{found['run']}  ({found['mode']}, {'finished' if found['finished'] else 'interrupted'})"),
        ("bundle", _bundle(found)),
        ("configuration", "as judged" if found["parity"] else f"{', '.join(found['changed'])}: {PARITY_LOST}"),
        ("bars", f"{found['bars']:,} to {time_text(found['last_ts_ns'])}"),
        ("predictions", f"{found['predictions']:,}"),
        ("decisions", _counts(found["decisions"])),
        ("orders", f"{found['intents']:,} intents; {_counts(found['order_ends'])}"),
        ("fills", f"{found['fills']:,}; {_counts(found['fills_by_side'])}"),
        ("fees", _amounts(found["fees"])),
        ("net result", f"{found['net_result']} {quote}  ({found['opening']} -> {found['equity']})"),
        ("drawdown", f"{found['drawdown_max_ppm'] / 10_000:.2f} % at most"),
        ("risk state", found["risk_state"] + (", stopped for the day" if found["day_stopped"] else "")),
        ("holdings", _amounts(found["holdings"])),
        ("journal", f"{found['records']:,} records, head {found['head']}"),
        ("ledger", f"head {found['ledger_head']}"),
    ]
    for stage, figures in found.get("latency", {}).items():
        rows.append((f"{stage} latency", f"p50 {figures['p50_us']:.1f} µs, p99 {figures['p99_us']:.1f} µs a bar"))
    if "program" in found:
        rows.append(("program", found["program"]))
    if "seconds" in found:
        rows.append(("took", f"{found['seconds']:.1f} s"))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _bundle(found: dict[str, Any]) -> str:
    verdict = found.get("verdict")
    return f"{found['bundle_id'][:16]}  {found['strategy']}" + (f"  {verdict}, key {found['trust']}" if verdict else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _amounts(amounts: dict[str, str]) -> str:
    return ", ".join(f"{amount} {asset}" for asset, amount in amounts.items()) or "none"


def rows_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Rows of equal keys as a table."""
    table = Table(*(rows[0] if rows else ()), box=box.SIMPLE, title=title, title_justify="left", pad_edge=False)
    for row in rows:
        cells = (time_text(value) if name.endswith("_ns") else str(value) for name, value in row.items())
        table.add_row(*cells)
    return table
