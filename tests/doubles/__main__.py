"""An exchange on this machine: one venue's dialect, a seeded market and a demo key. Nothing in it is real.

``make paper-exchange`` starts one; stop it with Ctrl-C.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from tests.doubles.clock import Clock
from tests.doubles.faults import FAULTS, Fault, FaultPlan
from tests.doubles.market import Walk
from tests.doubles.server import served
from tests.doubles.venues import NAMES, build
from tests.doubles.wire import Double


def fault(text: str) -> Fault:
    """NAME:KIND:PPM as a rule."""
    name, kind, ppm = text.split(":")
    return Fault(name, kind, ppm=int(ppm))


async def run(double: Double, options: argparse.Namespace) -> None:
    """Serve until interrupted."""
    (symbol,) = double.exchange.markets
    key = next(iter(double.keys.values()))
    async with served(double, options.port) as host:
        Walk(double, symbol, options.seed).start()
        if options.settings:
            from tests.doubles.clients import config  # ccxt takes a second to import

            options.settings.write_text(json.dumps(config(double, host), indent=1))
        for name, value in {
            "venue": f"{double.name}, {symbol}, a market of seed {options.seed}",
            "REST": f"http://{host}",
            "WebSocket": f"ws://{host}",
            "key": key.api,
            "secret": key.secret.strip(),
            "account": f"100,000 {symbol.split('/')[1]} and 1 {symbol.split('/')[0]}, none of it real",
        }.items():
            sys.stdout.write(f"{name:<10} {value}\n")
        sys.stdout.write("stop it with Ctrl-C\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.doubles", description=__doc__)
    parser.add_argument("--venue", choices=NAMES, default="kraken", help="whose dialect it speaks")
    parser.add_argument("--port", type=int, default=8100, help="of 127.0.0.1; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="of the market and the faults")
    parser.add_argument("--settings", type=Path, help="write what ccxt needs to reach it, as JSON")
    parser.add_argument(
        "--fault", type=fault, action="append", default=[], metavar="NAME:KIND:PPM",
        help=f"what goes wrong, of which requests or messages, how often: timeout:create:20000; {', '.join(FAULTS)}",
    )  # fmt: skip
    options = parser.parse_args()
    double = build(options.venue, Clock(time.time_ns), FaultPlan(options.fault, options.seed))
    try:
        asyncio.run(run(double, options))
    except KeyboardInterrupt:
        double.exchange.check()
    for what in double.unexpected:
        sys.stdout.write(f"asked what it does not know: {what}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
