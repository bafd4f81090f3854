"""How a run's standing looks on a terminal, 100 columns wide: what matters most is on top and has a colour."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from runner.home import Run
from runner.ops.board import Follower
from runner.show import PARITY_LOST, time_text

WIDTH: Final = 100
_RED: Final = "bold white on red"
_RISK: Final = {"NORMAL": "bold green", "CAUTION": "bold yellow", "HALT": _RED, "FLATTEN": _RED}
_STOPS: Final = (("day_stopped", "day"), ("week_stopped", "week"), ("total_stopped", "account"))
_SEVERITY: Final = {"page": _RED, "warn": "yellow", "problem": "magenta"}
_QUIET: Final = ("WARMUP", "NO_EDGE", "HOLD", "ALREADY_LONG", "ALREADY_FLAT", "ALREADY_SHORT", "ORDER_IN_FLIGHT")


def board_console() -> Console:
    """A console for boards: as wide as they are where no terminal says otherwise."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=WIDTH)


def follow_board(run: Run, every_s: float, *, as_data: bool) -> None:
    """Show ``run`` again and again until it is finished or the operator stops; as lines of JSON with ``as_data``."""
    follower, console = Follower(run), board_console()
    with suppress(KeyboardInterrupt):
        if as_data:
            for found in _looks(follower, every_s):
                sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
                sys.stdout.flush()
            return
        with Live(console=console, auto_refresh=False) as live:
            for found in _looks(follower, every_s):
                live.update(Constrain(board(found, verified=False), WIDTH), refresh=True)


def _looks(follower: Follower, every_s: float) -> Iterator[dict[str, Any]]:
    while True:
        found = follower.refresh()
        yield found
        if found["finished"]:
            return
        time.sleep(every_s)


def board(found: dict[str, Any], *, verified: bool) -> RenderableType:
    """``found``: what ``runner.paper.describe`` or ``runner.ops.board.Follower`` gave."""
    parts: list[RenderableType] = [_head(found), Columns([_account(found), _risk(found)], padding=(0, 2))]
    if found["positions"]:
        parts.append(_positions(found))
    if found["open_orders"]:
        parts.append(_rows(found["open_orders"], "open orders", {"side": _side}))
    if found["last_decisions"]:
        parts.append(_decisions(found))
    if found.get("alerts"):
        parts.append(_alerts(found["alerts"]))
    parts.append(_foot(found, verified))
    return Group(*parts)


def _head(found: dict[str, Any]) -> Panel:
    style = _RISK[found["risk_state"]]
    line = Text()
    line.append(f" {found['risk_state']} ", style)
    for key, span in _STOPS:
        if found[key]:
            line.append(f" stopped for the {span} ", _RED)
    line.append(f"  {found['mode']} ", "bold reverse" if found["mode"] != "live" else _RED)
    line.append(f"  {found['run']}", "bold")
    line.append(f"   {_state(found)}")
    line.append(f"\nbundle {found['bundle_id'][:16]}  {found['strategy']}", "dim")
    if "verdict" in found:
        line.append(f"  {found['verdict']}", "green" if found["verdict"] == "PASS" else "red")
        line.append(f"  key {found['trust']}", "dim" if found["trust"] != "dev" else "yellow")
    if not found["parity"]:
        line.append(f"\n{', '.join(found['changed'])}: {PARITY_LOST}", "yellow")
    return Panel(line, box=box.ROUNDED, border_style="red" if found["risk_state"] in ("HALT", "FLATTEN") else "cyan")


def _state(found: dict[str, Any]) -> str:
    if found["finished"]:
        return "finished"
    return f"running, process {found['writer']}" if found.get("writer") else "interrupted"


def _account(found: dict[str, Any]) -> Table:
    quote = found["quote"]
    table = _pairs()
    for name, key, signed in (
        ("equity", "equity", False),
        ("net result", "net_result", True),
        ("realised", "realised", True),
        ("unrealised", "unrealised", True),
        ("cash", "cash", False),
        ("exposure", "exposure", False),
    ):
        table.add_row(name, _amount(found[key], quote, signed=signed))
    return table


def _risk(found: dict[str, Any]) -> Table:
    table = _pairs()
    now, worst = found["drawdown_ppm"] / 10_000, found["drawdown_max_ppm"] / 10_000
    table.add_row("drawdown", Text(f"{now:.2f} %", "red" if now >= 1 else "") + Text(f"  worst {worst:.2f} %", "dim"))
    table.add_row("market time", time_text(found["last_ts_ns"]))
    table.add_row("bars", f"{found['bars']:,}")
    table.add_row("orders", f"{found['intents']:,} intents, {found['fills']:,} fills")
    rejected = found["order_ends"].get("REJECTED", 0)
    table.add_row("rejected", Text(f"{rejected:,}", "bold red" if rejected else "green"))
    table.add_row("fees", ", ".join(f"{_short(amount)} {asset}" for asset, amount in found["fees"].items()) or "none")
    return table


def _pairs() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True, min_width=12)
    table.add_column(justify="right", no_wrap=True, min_width=30)
    return table


def _amount(text: str, quote: str, *, signed: bool) -> Text:
    style = ""
    if signed:
        style = "green" if float(text) > 0 else "red" if float(text) < 0 else ""
    return Text(f"{float(text):+,.2f} {quote}" if signed else f"{float(text):,.2f} {quote}", style)


def _short(text: str) -> str:
    return f"{float(text):,.8g}"


def _positions(found: dict[str, Any]) -> Table:
    quote = found["quote"]
    return _rows(found["positions"], "positions", {"unrealised": lambda text: _amount(text, quote, signed=True)})


def _side(text: str) -> Text:
    return Text(text, "green" if text == "BUY" else "red")


def _decisions(found: dict[str, Any]) -> Table:
    table = Table(title="last decisions", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("market time", "symbol", "reason"):
        table.add_column(name, no_wrap=True)
    for name in ("edge", "cost", "unit", "lots"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found["last_decisions"]:
        reason = Text(row["reason"], "dim" if row["reason"] in _QUIET else "bold yellow")
        cells = (f"{row['edge']:,}", f"{row['cost']:,}", row["unit"], f"{row['size_lots']:,}")
        table.add_row(time_text(row["ts_ns"])[5:], row["symbol"], reason, *cells)
    return table


def _rows(rows: list[dict[str, Any]], title: str, styled: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in ("symbol", "side", "state") else "right")
    for row in rows:
        table.add_row(*(styled[name](value) if name in styled else str(value) for name, value in row.items()))
    return table


def _alerts(alerts: list[dict[str, Any]]) -> Table:
    table = Table(title="last alerts", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("at (UTC)", "severity", "what"):
        table.add_column(name, no_wrap=True)
    table.add_column("text", overflow="fold")
    for row in alerts:
        table.add_row(row["at"], Text(row["severity"], _SEVERITY[row["severity"]]), row["what"], row["text"])
    return table


def _foot(found: dict[str, Any], verified: bool) -> Text:
    now = datetime.now(UTC).strftime("%H:%M:%S")
    said = f"head {found['head'][:16]}, verified" if verified else "as committed, not verified"
    return Text(f"journal {found['records']:,} records, {said}   seen at {now} UTC", "dim")
