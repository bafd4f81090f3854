"""How fast raw frames become records: ``python -m tests.benchmarks.bench_dialects --recording FILE [--repeats 5]``.

``FILE`` is a gzip recording as ``feeds.dialects.frames.recorded`` reads it (``--spot``: spot). It is unpacked first,
so what is measured is one core from bytes to records: messages and records a second of processor time, best of several,
by kind of message as well. ``decode_per_s`` is the floor: the JSON library alone, envelope by envelope.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

from core.instruments import Instrument
from feeds.dialects import binance
from feeds.dialects.frames import recorded

TICKS = {binance.Market.FUTURES: ("0.1", "0.001"), binance.Market.SPOT: ("0.01", "0.00001")}


def best_s(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def decode(lines: list[bytes]) -> None:
    for line in lines:
        body = line.partition(b" ")[2]
        if not body.startswith(b'{"lastUpdateId"'):
            binance._FRAME.decode(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--spot", action="store_true", help="the recording is of the spot market")
    parser.add_argument("--tops", action="store_true", help="make records of bookTicker frames as well")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    market = binance.Market.SPOT if options.spot else binance.Market.FUTURES
    tick, lot = TICKS[market]
    instrument = Instrument(symbol="BTC-USDT", base="BTC", quote="USDT", tick=tick, lot=lot)
    lines = gzip.decompress(options.recording.read_bytes()).splitlines()

    def play(some: list[bytes]) -> int:
        normaliser = binance.Normaliser(instrument, market, symbol="BTCUSDT", tops=options.tops)
        return sum(len(chunk) for chunk in recorded(some, normaliser))

    taken = best_s(lambda: play(lines), options.repeats)
    kinds = {}
    for name in ("depth", "bookTicker", "trade"):
        some = [line for line in lines if f"@{name}".encode() in line[:80] or b"lastUpdateId" in line[:60]]
        kinds[name] = int(len(some) / best_s(lambda some=some: play(some), options.repeats))
    figures = {
        "messages": len(lines),
        "records": play(lines),
        "messages_per_s": int(len(lines) / taken),
        "records_per_s": int(play(lines) / taken),
        "messages_per_s_by_kind": kinds,
        "decode_per_s": int(len(lines) / best_s(lambda: decode(lines), options.repeats)),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
