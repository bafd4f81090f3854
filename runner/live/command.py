"""``runner record``: options to settings, a line of progress, a table at the end."""

import asyncio
import time
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from runner.live import recorder
from runner.live.recorder import Found
from runner.live.settings import load


def run(
    to: Path,
    venue: str | None,
    symbols: list[str],
    seconds: float | None,
    config: Path | None,
    console: Console,
    *,
    with_tape: bool,
    quiet: bool,
) -> Found:
    """Record; what was recorded. Raises BadConfig for settings that do not fit, else as ``recorder.record`` does."""
    given: dict[str, Any] = {"venue": venue} if venue else {}
    given |= {"symbols": symbols} if symbols else {}
    settings = load(config, given)
    if quiet:
        return asyncio.run(recorder.record(settings, to, seconds=seconds, with_tape=with_tape))
    with console.status(f"connecting to {settings.venue}") as line:
        rate = _Rate()

        def show(found: Found) -> None:
            line.update(rate.line(found))

        return asyncio.run(recorder.record(settings, to, seconds=seconds, with_tape=with_tape, progress=show))


class _Rate:
    """What happened since the last line."""

    def __init__(self) -> None:
        self._at_s, self._messages, self._records = time.monotonic(), 0, 0

    def line(self, found: Found) -> str:
        now_s = time.monotonic()
        passed_s = max(now_s - self._at_s, 1e-3)
        messages, records = found["messages"] - self._messages, found["records"] - self._records
        self._at_s, self._messages, self._records = now_s, found["messages"], found["records"]
        down = [symbol for symbol, told in found["symbols"].items() if not told["has_book"]]
        return (
            f"{messages / passed_s:,.0f} messages/s  {records / passed_s:,.0f} records/s  gaps {found['gaps']}  "
            f"breaks {found['breaks']}  delay {found['delay_ms']:.0f} ms  {found['bytes'] / 1e6:,.1f} MB"
            + (f"  no book: {', '.join(down)}" if down else "")
        )


def table(found: Found) -> Table:
    """A summary for people."""
    made = Table(box=box.SIMPLE, title=f"{found['venue']} in {found['folder']}, {found['bytes'] / 1e6:,.1f} MB")
    for name in ("symbol", "messages", "records", "breaks", "snapshots", "findings"):
        made.add_column(name, overflow="fold")
    for symbol, told in found["symbols"].items():
        findings = ", ".join(f"{rule} {n:,}" for rule, n in told["findings"].items()) or "none"
        made.add_row(
            symbol,
            f"{told['messages']:,}",
            f"{told['records']:,}",
            str(told["breaks"]),
            str(told["snapshots"]),
            findings,
        )
    return made
