"""Binance's plain frames: compiled code makes the records that the judging path makes, and takes what is plain."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.instruments import Instrument
from core.records import Kind
from feeds.dialects import EXAMPLES_MAX, Rule
from feeds.dialects.binance import Market, Normaliser
from feeds.dialects.binance_kernel import ROWS_MAX
from feeds.dialects.frames import recorded
from feeds.dialects.templates import LEVELS_MAX
from tests.core.recorded import SHARED, needs

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = [
    (Market.FUTURES, "0.1", "0.001", SHARED / "market-data/lob/binance-ws/usdm-btcusdt-20240808.gz"),
    (Market.SPOT, "0.01", "0.00001", SHARED / "market-data/lob/binance-ws/spot-btcusdt-20240808.gz"),
]
NOW = 1_700_000_000_000_000_000  # ns
MS = NOW // 1_000_000
SPOT, FUTURES = Market.SPOT, Market.FUTURES
Pairs = list[tuple[str, str]]


def framed(stream: str, event: str) -> bytes:
    return f'{{"stream":"btcusdt@{stream}","data":{event}}}'.encode()


def side(levels: Pairs) -> str:
    return ",".join(f'["{price}","{qty}"]' for price, qty in levels)


def depth(market: Market, before: int, last: int, bids: Pairs, asks: Pairs, ms: int = MS) -> bytes:
    times, link = (f'"E":{ms},"T":{ms}', f'"pu":{before},') if market is FUTURES else (f'"E":{ms}', "")
    ids = f'"s":"BTCUSDT","U":{before + 1},"u":{last},{link}'
    event = f'{{"e":"depthUpdate",{times},{ids}"b":[{side(bids)}],"a":[{side(asks)}]}}'
    return framed("depth@100ms" if market is SPOT else "depth", event)


def trade(market: Market, number: int, price: str, qty: str, ms: int = MS, maker: str = "true") -> bytes:
    early, late = (f'"T":{ms},', '"X":"MARKET",') if market is FUTURES else ("", f'"T":{ms},')
    end = "" if market is FUTURES else ',"M":true'
    said = f'"s":"BTCUSDT","t":{number},"p":"{price}","q":"{qty}"'
    return framed("trade", f'{{"e":"trade","E":{ms},{early}{said},{late}"m":{maker}{end}}}')


def top(market: Market, update: int, bid: Pairs, ask: Pairs, ms: int = MS) -> bytes:
    (b, b_qty), (a, a_qty) = bid[0], ask[0]
    said = f'"u":{update},"s":"BTCUSDT","b":"{b}","B":"{b_qty}","a":"{a}","A":"{a_qty}"'
    event = f'{{"e":"bookTicker",{said},"T":{ms},"E":{ms}}}' if market is FUTURES else f"{{{said}}}"
    return framed("bookTicker", event)


def snapshot(update: int) -> bytes:
    return b'{"lastUpdateId":%d,"bids":[["100.0","2"]],"asks":[["200.0","3"]]}' % update


def normaliser(market: Market, tick: str = "0.1", lot: str = "0.001", **more: bool | int) -> Normaliser:
    pair = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=tick, lot=lot)
    return Normaliser(pair, market, **{"tops": True, "index": 3, **more})


def made_alike(
    frames: list[tuple[int, bytes]], market: Market, tick: str = "0.1", lot: str = "0.001", **more: bool | int
) -> np.ndarray:
    """The records of ``frames``, the same judged one by one, live, and as a recording."""
    judged, live, by_line, lines = (normaliser(market, tick, lot, **more) for _ in range(4))
    recording = [b"%d %s\n" % frame for frame in frames]
    for line, (received_ns, frame) in zip(recording, frames, strict=True):
        judged.on_recorded(received_ns, frame)
        (live.on_snapshot if frame.startswith(b'{"lastUpdateId"') else live.on_frame)(received_ns, frame)
        by_line.on_line(line)  # as a recording, but asking no compiled code
    by_line.on_end()
    records = judged.take()
    together = np.concatenate(list(recorded(recording, lines)))
    assert live.take().tobytes() == records.tobytes() and by_line.take().tobytes() == together.tobytes()
    assert judged.findings == live.findings and by_line.findings == lines.findings
    assert judged.offsets == live.offsets and by_line.offsets == lines.offsets
    assert judged.book_id == live.book_id and by_line.book_id == lines.book_id
    return records


@pytest.mark.parametrize("market", list(Market))
def test_each_kind_of_frame_is_taken(market: Market) -> None:
    frames = [
        depth(market, 10, 12, [("99.9", "1.000"), ("100.0", "0.000")], [("200.1", "0.5")]),
        depth(market, 12, 13, [], []),
        depth(market, 13, 14, [], [("200.3", "0"), ("200.2", "7.0000000")]),
        trade(market, 5, "150.0", "0.007"),
        trade(market, 6, "150.1", "0.001", maker="false"),
        top(market, 14, [("99.9", "1.000")], [("200.1", "0.000")]),
    ]
    made = normaliser(market)
    made.on_snapshot(NOW, snapshot(10))
    assert all(made._plain.frame(NOW, frame) for frame in frames)
    assert made.book_id == 14 and len(made.take()) == 4 + 5 + 2 + 1
    made_alike([(NOW + k, frame) for k, frame in enumerate([snapshot(10), *frames])], market)
    unwanted = normaliser(market, tops=False)
    unwanted.on_lines([b"%d %s" % (NOW, frames[-1])])
    unwanted.on_frame(NOW, frames[-1])
    assert unwanted.findings.passed == {"bookTicker": 2} and not unwanted.findings.counts


@pytest.mark.parametrize(
    "frame",
    [
        depth(SPOT, 11, 12, [("99.9", "1")], []),  # a gap
        depth(SPOT, 9, 12, [("99.9", "1")], []),  # an overlap
        depth(SPOT, 10, 12, [("99.95", "1")], []),
        depth(SPOT, 10, 12, [("0.0", "1")], []),
        depth(SPOT, 10, 12, [("99.9", "0.0001")], []),
        depth(SPOT, 10, 12, [("99.9", "1"), ("99.90", "2")], []),
        depth(SPOT, 10, 12, [("99.9", "1"), ("99.7", "2"), ("99.8", "2")], []),
        depth(SPOT, 10, 12, [("99.9", "1")], [("99.9", "1")]),
        depth(SPOT, 10, 12, [("99.9", "1")], [("99.8", "1"), ("99.9", "1")]),
        depth(SPOT, 10, 12, [("99.9", "1")], []).replace(b'"u":12', b'"u":012'),
        depth(SPOT, 10, 12, [("99.9", "1")], []).replace(b'"]]', b'"],]'),
        depth(SPOT, 10, 12, [("99.9", "1")], [])[:-1],
        depth(SPOT, 10, 12, [("99.9", "1")], []) + b" ",
        depth(SPOT, 10, 12, [("99.9", "1")], [], ms=10**17),
        depth(SPOT, 10, 12, [("99.9", "1")], [], ms=MS + 1),  # received before it happened
        depth(SPOT, 10, 12, [("1" * 19, "1")], []),
        depth(SPOT, 10, 12, [("1844674407370955262.6", "1")], []),  # in 64 bits the same as 101.0
        depth(SPOT, 10, 12, [("99." + 45 * "0", "1")], []),  # more digits than are judged to be a number
        depth(SPOT, 10, 12, [("5000000000000.0", "1")], []),
        depth(SPOT, 10, 12, [("99.9", "5000000000")], []),
        depth(SPOT, 10, 12, [("-1", "1")], []),
        depth(SPOT, 10, 12, [(".5", "1")], []),
        depth(SPOT, 10, 12, [("1.1.1", "1")], []),
        depth(SPOT, 10, 12, [("", "1")], []),
        depth(SPOT, 10, 2**62, [("99.9", "1")], []),
        depth(FUTURES, 10, 12, [("99.9", "1")], []),
        trade(SPOT, 7, "150.0", "0.001"),  # 6 is missing
        trade(SPOT, 5, "150.0", "0.001"),
        trade(SPOT, 6, "150.0", "0.000"),
        trade(SPOT, 6, "150.0", "0.001", maker="True"),
        trade(SPOT, 6, "150.0", "0.001", maker="truefalse"),
        top(SPOT, 3, [("99.9", "1")], [("100.0", "1")]),
        top(SPOT, 4, [("99.9", "1")], [("99.9", "1")]),
        top(SPOT, 4, [("0.0", "0")], [("99.9", "1")]),
        top(SPOT, 4, [("99.9", "1")], [("100.0", "1")]).replace(b"BTCUSDT", b"ETHUSDT"),
        top(SPOT, 4, [("99.9", "1")], [("100.0", "1")]).replace(b"btcusdt@", b"BTC\xff@"),
        b"{",
    ],
)
def test_a_frame_that_is_not_plain_is_left_to_be_judged(frame: bytes) -> None:
    before = [snapshot(10), trade(SPOT, 5, "150.0", "0.001"), top(SPOT, 3, [("99.9", "1")], [("100.0", "1")])]
    made = normaliser(SPOT)
    for one in before:
        made.on_recorded(NOW, one)
    assert not made._plain.frame(NOW, frame) and len(made.take()) == 6
    made_alike([(NOW, one) for one in [*before, frame, frame]], SPOT)


def test_a_clock_that_is_behind_is_named_first_and_then_counted() -> None:
    frames = [(NOW, trade(SPOT, k, "150.0", "0.001", ms=MS + 1)) for k in range(EXAMPLES_MAX + 5)]
    made_alike(frames, SPOT)
    made = normaliser(SPOT)
    taken = []
    for received_ns, frame in frames:
        taken.append(made._plain.frame(received_ns, frame))
        if not taken[-1]:
            made.on_frame(received_ns, frame)
    assert taken == [False] * EXAMPLES_MAX + [True] * 5
    assert made.findings.counts == {Rule.CLOCK_BEHIND: EXAMPLES_MAX + 5}


def test_more_levels_than_there_is_room_for() -> None:
    """One message at and above the most that is taken, and more of them than one call has room for."""
    ladder = [(f"{1000 + k}.0", "1") for k in range(LEVELS_MAX + 1)]
    half = LEVELS_MAX // 2
    frames = [snapshot(10)]
    for k in range(3 * ROWS_MAX // LEVELS_MAX):
        frames.append(depth(SPOT, 10 + k, 11 + k, [], ladder[:LEVELS_MAX]))
    frames += [depth(SPOT, 10 + len(frames) - 1, 10 + len(frames), [], ladder)]
    records = made_alike([(NOW, frame) for frame in frames], SPOT)
    assert len(records) == 4 + 3 * ROWS_MAX + LEVELS_MAX + 1
    made = normaliser(SPOT)
    made.on_snapshot(NOW, snapshot(10))
    low = [(f"{1 + k}.0", "0") for k in range(LEVELS_MAX)]
    assert not made._plain.frame(NOW, depth(SPOT, 10, 11, [], ladder))
    assert not made._plain.frame(NOW, depth(SPOT, 10, 11, low, ladder[:1]))
    assert made._plain.frame(NOW, depth(SPOT, 10, 11, low[:half], ladder[:half]))


DECIMALS = st.one_of(
    st.builds(lambda n, places: f"{n / 10**places:.{places}f}", st.integers(0, 3000), st.integers(0, 4)),
    st.builds(lambda n, zeros: f"{n}.{'0' * zeros}", st.integers(0, 300), st.integers(0, 24)),
    st.from_regex(r"[0-9]{0,20}\.?[0-9]{0,20}", fullmatch=True),
    st.text("0123456789.-+eE_\u0661 ", max_size=6),
)
TIMES = st.sampled_from([0, 0, MS, MS, MS + 1, MS - 5, MS * 1000, MS * 1000 + 2, 10**14, 10**17, 2**61, 2**62 + 1])


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Market, str, str, list[tuple[int, bytes]]]:
    """A market, its grid, and frames of which most go on from one another."""
    market = draw(st.sampled_from(list(Market)))
    tick, lot = (draw(st.sampled_from(["0.1", "0.05", "1", "5", "0.00000001", "0.25", "1e-3", "30"])) for _ in "pq")
    places, unit = 8, round(float(tick) * 10**8)

    def number() -> str:
        if draw(st.integers(0, 9)) == 0:
            return draw(DECIMALS)
        units = draw(st.integers(0, 60)) * unit
        return f"{units // 10**8}.{units % 10**8:0{places}}"

    def levels() -> Pairs:
        made = [(number(), number()) for _ in range(draw(st.integers(0, 4)))]
        return sorted(made, reverse=draw(st.booleans())) if draw(st.integers(0, 4)) else made

    frames, update, number_of = [(NOW, snapshot(10))], 10, 5
    for k in range(draw(st.integers(1, 15))):
        step, ms = draw(st.sampled_from([1, 1, 1, 1, 0, 2])), draw(TIMES)
        what = draw(st.integers(0, 3))
        if what == 0:
            number_of += step
            frame = trade(market, number_of, number(), number(), ms, draw(st.sampled_from(["true", "false", "null"])))
        elif what == 1:
            frame = top(market, 5 + k * step, [(number(), number())], [(number(), number())], ms)
        elif what == 2:
            frame = depth(market, update, update + step, levels(), levels(), ms)
            update += step
        else:
            frame = snapshot(update)
        frames.append((NOW + draw(st.sampled_from([0, 1, 1000, -1000, 2**61, 10**6])), frame))
    return market, tick, lot, frames


@given(sessions(), st.booleans(), st.integers(0, 2))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_plain_or_judged_the_records_are_the_same(
    session: tuple[Market, str, str, list[tuple[int, bytes]]], tops: bool, offset: int
) -> None:
    market, tick, lot, frames = session
    made_alike(frames, market, tick, lot, tops=tops, clock_offset_ns=(0, -(10**9), 2**70)[offset])


@pytest.mark.parametrize("symbol", ["BTC$USDT", "BTC\nUSDT", "BTC<USDT", "", "\u0661"])
def test_a_symbol_that_is_no_word_is_never_plain(symbol: str) -> None:
    pair = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick="0.1", lot="0.001")
    made = Normaliser(pair, SPOT, symbol=symbol)
    assert made._plain.frame(NOW, trade(SPOT, 1, "1.0", "1.0")) == (symbol == "")  # then it is the instrument's


def digest_of_a_session() -> str:
    """Records of plain and other frames, for the test below."""
    frames = [(NOW, snapshot(10))]
    for k in range(40):
        frames.append(
            (NOW + k, depth(FUTURES, 10 + k, 11 + k, [("99.9", f"{k}.1"), ("99.8", "0.3")], [("100.1", "1")]))
        )
        frames.append((NOW + k, trade(FUTURES, k, "100.0", "0.0105" if k % 7 == 0 else "0.010")))
        frames.append((NOW + k, top(FUTURES, k, [("99.9", "1")], [("100.0", "1")], MS + k % 2)))
    records = made_alike(frames, FUTURES)
    assert len(records) == 4 + 40 * 5
    return records.tobytes().hex()


def test_without_the_compiler_the_records_are_the_same() -> None:
    program = "from tests.feeds.test_dialect_plain import digest_of_a_session as d; print(d())"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == digest_of_a_session()


@needs(*(row[-1] for row in RECORDINGS))
@pytest.mark.parametrize(("market", "tick", "lot", "path"), RECORDINGS, ids=["futures", "spot"])
def test_a_recording_is_the_same_judged_line_by_line(market: Market, tick: str, lot: str, path: Path) -> None:
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    fast, slow = (normaliser(market, tick, lot, symbol="BTCUSDT") for _ in range(2))
    records = np.concatenate(list(recorded(lines, fast)))
    for line in lines:
        slow.on_line(line)
    assert records.tobytes() == slow.take().tobytes() and fast.findings == slow.findings
    assert (records["kind"] == Kind.LEVEL).sum() > 100_000


@pytest.mark.parametrize("market", list(Market))
def test_a_time_of_receipt_beyond_all_times_or_back_is_judged_and_what_follows_is_plain(market: Market) -> None:
    frames = [depth(market, 10 + k, 11 + k, [("99.9", f"{k + 1}")], []) for k in range(6)]
    stamps = [NOW, NOW + 1, NOW + 2, 9_999_999_999_999_999_999, NOW - 5, NOW - 4, NOW - 3]
    made_alike(list(zip(stamps, [snapshot(10), *frames], strict=True)), market)
    follower = normaliser(market)
    list(recorded([b"%d %s\n" % pair for pair in zip(stamps, [snapshot(10), *frames], strict=True)], follower))
    assert follower.findings.counts[Rule.BACKWARD] == 1
