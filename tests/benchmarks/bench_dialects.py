"""How fast raw frames become records: ``python -m tests.benchmarks.bench_dialects --recording FILE [--repeats 7]``.

``FILE`` is a gzip recording as ``feeds.dialects.frames.recorded`` reads it (``--spot``: spot). It is unpacked first, so
what is measured is one core from bytes to records, in processor time: messages a second of the whole recording, of its
messages kind by kind, and of the path that judges every frame, without compiled code (``judged``). ``one by one`` hands
over single frames, as of a live connection, and takes the records after each: microseconds a call by the clock, half of
the calls and 99 of 100 of them within it. ``decode`` is the JSON library alone, envelope by envelope.

Each figure is the median of the repeats with the lowest and the highest, one JSON line.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.instruments import Instrument
from feeds.dialects import binance
from feeds.dialects.frames import Follower, recorded

TICKS = {binance.Market.FUTURES: ("0.1", "0.001"), binance.Market.SPOT: ("0.01", "0.00001")}
KINDS = ("depth", "bookTicker", "trade")
SNAPSHOT = b'{"lastUpdateId"'


def spread(values: list[float], digits: int = 0) -> list[float]:
    """Median, lowest and highest."""
    return [round(float(value), digits) for value in (np.median(values), min(values), max(values))]


def rate(call: Callable[[], object], count: int, repeats: int) -> list[float]:
    """``count`` by the processor seconds of ``call``."""
    rates = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        rates.append(count / (time.process_time() - start))
    return spread(rates)


def decode(frames: list[bytes]) -> None:
    for frame in frames:
        if not frame.startswith(SNAPSHOT):
            binance._FRAME.decode(frame)


def judge(lines: list[bytes], follower: Follower) -> None:
    for line in lines:
        follower.on_line(line)
    follower.take()


def calls_us(frames: list[tuple[int, bytes]], follower: Follower) -> dict[str, list[float]]:
    """Microseconds of each call with one frame, by kind."""
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for received_ns, frame in frames:
        if frame.startswith(SNAPSHOT):
            follower.on_recorded(received_ns, frame)
            continue
        start = time.perf_counter_ns()
        follower.on_frame(received_ns, frame)
        follower.take()
        taken[kind_of(frame)].append((time.perf_counter_ns() - start) / 1000)
    return taken


def kind_of(frame: bytes) -> str:
    return next((kind for kind in KINDS if f"@{kind}".encode() in frame[:48]), "")


def one_by_one(frames: list[tuple[int, bytes]], make: Callable[[], Follower], repeats: int) -> dict[str, Any]:
    """p50 and p99 of the calls, of all kinds and of each."""
    times = [calls_us(frames, make()) for _ in range(repeats)]
    told = {}
    for kind in ("all", *KINDS):
        each = [np.concatenate([run[name] for name in (KINDS if kind == "all" else (kind,))]) for run in times]
        told[kind] = {f"p{q}_us": spread([np.percentile(run, q) for run in each], 1) for q in (50, 99) if len(each[0])}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--spot", action="store_true", help="the recording is of the spot market")
    parser.add_argument("--tops", action="store_true", help="make records of bookTicker frames as well")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    market = binance.Market.SPOT if options.spot else binance.Market.FUTURES
    tick, lot = TICKS[market]
    instrument = Instrument(symbol="BTC-USDT", base="BTC", quote="USDT", tick=tick, lot=lot)
    lines = gzip.decompress(options.recording.read_bytes()).splitlines()
    parts = [line.partition(b" ") for line in lines]
    frames = [(int(stamp), frame) for stamp, _, frame in parts]

    def make() -> Follower:
        return binance.Normaliser(instrument, market, symbol="BTCUSDT", tops=options.tops)

    def play(some: list[bytes]) -> int:
        return sum(len(chunk) for chunk in recorded(some, make()))

    def rate_of(kind: str) -> list[float]:
        some = [line for line, (_, frame) in zip(lines, frames, strict=True) if kind_of(frame) in (kind, "")]
        return rate(lambda: play(some), len(some), options.repeats)

    records = play(lines)  # the first time the kernels are compiled or loaded
    figures = {
        "messages": len(lines),
        "records": records,
        "messages_per_s": rate(lambda: play(lines), len(lines), options.repeats),
        "messages_per_s_by_kind": {kind: rate_of(kind) for kind in KINDS},
        "judged_per_s": rate(lambda: judge(lines, make()), len(lines), options.repeats),
        "decode_per_s": rate(lambda: decode([frame for _, frame in frames]), len(lines), options.repeats),
        "one_by_one": one_by_one(frames, make, min(3, options.repeats)),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
