"""The command ``python -m data download``: its options, progress bars and what it prints."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from core.errors import BadInput
from data.show import show
from feeds import market as markets
from feeds.market import Market

PERPETUAL = "crypto_perp"  # an asset class of market files; ccxt calls such a pair BTC/USDT:USDT


class What(StrEnum):
    """What is downloaded."""

    CANDLES = "candles"
    TRADES = "trades"


def download(
    what: Annotated[What, typer.Argument(help="Candles, or every trade.")] = What.CANDLES,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the BASE_QUOTE.parquet files: a new one, or one to refresh.")],
    venue: Annotated[
        str | None, typer.Option(help="The exchange as ccxt calls it, such as binance. Default: --market's.")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="BTC-USDT,ETH-USDT. BTC/USDT:USDT is a perpetual. Default: --market's.")
    ] = None,
    market: Annotated[
        Path | None, typer.Option(help="A market file, such as data/markets/binance_spot.yaml, for both of these.")
    ] = None,
    timeframe: Annotated[str, typer.Option(help="Length of a candle: 1m, 5m, 1h, ... as the venue has it.")] = "1m",
    since: Annotated[
        str | None, typer.Option(help="First open time, UTC: 2020-01-01. A refresh takes it from the files.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Open times end before this, UTC. Default: now.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time; changes no result.")] = 4,
    tries: Annotated[int, typer.Option(min=1, max=100, help="How often a request is tried before giving up.")] = 8,
    url: Annotated[
        str | None, typer.Option(help="A mirror: https://HOST that serves the venue's own REST paths.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Download candle history of an exchange for data.source: parquet, or trades. No keys are needed.

    Symbols are fetched side by side, within the venue's rate limit. Run the same command again after an
    interruption: it goes on where it was. Run it again later, without --since: it appends what is new, and
    nothing twice. A candle that is still open is never kept. Gaps of the venue stay gaps; ingest judges them.

    A refresh asks for the last candles of each file again. If the venue now tells them differently, the stored
    ones stay, the difference is printed, and the exit code is 30.

    Example: python -m data download --market data/markets/binance_spot.yaml --symbols BTC-USDT,ETH-USDT
    --since 2020-01-01 --out ../candles
    """
    from data.download import candles  # here: only this command needs ccxt, which takes a second to import
    from data.download.venue import Patience, open_venue

    listed = _read(market) if market else None
    wanted = _symbols(symbols, listed)
    is_trades = what is What.TRADES
    request = candles.Request(
        wanted, candles.TRADES if is_trades else timeframe, _ms("--since", since), _ms("--until", until), out
    )

    async def run() -> dict[str, Any]:
        is_spot = not any(":" in symbol for symbol in wanted)
        opened = open_venue(
            _venue(venue, listed),
            url=url,
            is_spot=is_spot,
            concurrency=concurrency,
            patience=Patience(tries=tries),
            wants="fetchTrades" if is_trades else "fetchOHLCV",
        )
        async with opened:
            with _bars() as progress:
                return await candles.download(opened, request, _reporter(progress))

    found = asyncio.run(run())
    changed = [line for row in found["symbols"].values() for line in row.get("changed", ())]
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        rows = [{"file": f"{stem}.parquet"} | row for stem, row in found["symbols"].items()]
        show([row | {"changed": len(row.get("changed", ()))} for row in rows], False)
    if changed:
        raise BadInput(
            f"{out}: {len(changed)} stored {what} are no longer what the venue says; they were kept: "
            + "; ".join(changed)
            + "; delete a file to download it anew"
        )


def _read(path: Path) -> Market:
    return markets.from_yaml(path.read_text(encoding="utf-8"), where=str(path))


def _venue(venue: str | None, listed: Market | None) -> str:
    if venue is None and listed is None:
        raise BadInput("no venue; name one with --venue or a market file with --market")
    return venue or (listed.venue if listed else "")


def _symbols(text: str | None, listed: Market | None) -> list[str]:
    """The symbols asked for, in ccxt's spelling."""
    given = [name.strip() for name in (text or "").split(",") if name.strip()]
    if listed is None:
        if not given:
            raise BadInput("no symbols; name some with --symbols BTC-USDT,ETH-USDT or a market file with --market")
        return given
    settled = {
        entry.symbol: f"{entry.base}/{entry.quote}" + (f":{entry.quote}" if listed.asset_class == PERPETUAL else "")
        for entry in listed.listings
    }
    if unknown := [name for name in given if name not in settled]:
        raise BadInput(f"--market does not list {unknown[0]!r}; it lists {', '.join(settled)}")
    return [settled[name] for name in given or settled]


def _ms(option: str, text: str | None) -> int | None:
    """An ISO date or time, UTC unless it says otherwise, in ms since 1970."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} is {text!r}; a date such as 2020-01-01 or 2020-01-01T12:00 is expected") from None
    ms = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    if ms < 0:
        raise BadInput(f"{option} is {text!r}; 1970 is the earliest")
    return ms


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _reporter(progress: Progress) -> Callable[[str, int, int], None]:
    bars: dict[str, TaskID] = {}

    def report(symbol: str, done: int, total: int) -> None:
        if symbol not in bars:
            bars[symbol] = progress.add_task(symbol, total=total)
        progress.update(bars[symbol], completed=min(done, total), total=total)

    return report
