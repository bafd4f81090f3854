"""Binance frames to records: literal sessions, the venue's sequence rules, and everything that must not get through."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.instruments import Instrument
from core.records import CLEAR, LEVEL, RECORD, TOP, TRADE, Kind, MarketFlag, Reason, Side
from feeds.dialects import AHEAD_MAX_NS, EXAMPLES_MAX, Rule
from feeds.dialects.binance import Market, Normaliser
from feeds.dialects.frames import recorded
from feeds.dialects.sequence import WAITING_MAX

BTC = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick="0.1", lot="0.001")
NOW = 1_700_000_000_000_000_000  # ns
MS = NOW // 1_000_000
Pairs = list[tuple[str, str]]


def depth(before: int, last: int, bids: Pairs = (), asks: Pairs = (), **more: Any) -> bytes:
    """A futures update from ``before`` to ``last``."""
    data = {"e": "depthUpdate", "E": MS, "T": MS, "s": "BTCUSDT", "U": before + 1, "u": last, "pu": before}
    return json.dumps({"stream": "btcusdt@depth@0ms", "data": data | {"b": bids, "a": asks} | more}).encode()


def trade(number: int, price: str = "100.0", qty: str = "0.005", **more: Any) -> bytes:
    data = {"e": "trade", "E": MS, "T": MS, "s": "BTCUSDT", "t": number, "p": price, "q": qty, "X": "MARKET", "m": True}
    return json.dumps({"stream": "btcusdt@trade", "data": data | more}).encode()


def top(update: int, bid: str = "100.0", ask: str = "100.1", **more: Any) -> bytes:
    data = {"e": "bookTicker", "u": update, "s": "BTCUSDT", "b": bid, "B": "0.002", "a": ask, "A": "0.003", "T": MS}
    return json.dumps({"stream": "btcusdt@bookTicker", "data": data | more}).encode()


def snapshot(
    update: int, bids: Pairs = (("100.0", "0.002"),), asks: Pairs = (("100.1", "0.003"),), **more: Any
) -> bytes:
    return json.dumps({"lastUpdateId": update, "E": MS, "T": MS, "bids": bids, "asks": asks} | more).encode()


def normaliser(market: Market = Market.FUTURES, **more: Any) -> Normaliser:
    return Normaliser(BTC, market, tops=True, **more)


def with_book(at: int = 10) -> Normaliser:
    """A normaliser whose book is valid and at ``at``; its records are taken."""
    made = normaliser()
    made.on_snapshot(NOW, snapshot(at))
    assert made.book_id == at and len(made.take()) == 4
    return made


def rows(records: np.ndarray, *names: str) -> list[tuple[int, ...]]:
    return [tuple(int(record[name]) for name in names) for record in records]


def rules(made: Normaliser) -> dict[Rule, int]:
    return dict(made.findings.counts)


def test_a_session_becomes_these_records() -> None:
    made = normaliser(index=3, clock_offset_ns=7)
    made.on_snapshot(NOW, snapshot(10))
    made.on_frame(NOW + 1, depth(10, 12, [("100.0", "0.000"), ("99.9", "1.000")], [("100.1", "0.004")]))
    made.on_frame(NOW + 2, trade(5))
    made.on_frame(NOW + 3, trade(6, "100.1", "0.001", m=False))
    made.on_frame(NOW + 4, top(12))
    records = made.take()
    last, taken = int(MarketFlag.LAST), int(MarketFlag.SNAPSHOT)
    assert rows(records, "kind", "side", "a", "b", "c", "flags") == [
        (Kind.CLEAR, Side.BUY, 0, 0, 10, taken),
        (Kind.CLEAR, Side.SELL, 0, 0, 10, taken),
        (Kind.LEVEL, Side.BUY, 1000, 2, 10, taken),
        (Kind.LEVEL, Side.SELL, 1001, 3, 10, taken | last),
        (Kind.LEVEL, Side.BUY, 1000, 0, 12, 0),
        (Kind.LEVEL, Side.BUY, 999, 1000, 12, 0),
        (Kind.LEVEL, Side.SELL, 1001, 4, 12, last),
        (Kind.TRADE, Side.SELL, 1000, 5, 5, last),
        (Kind.TRADE, Side.BUY, 1001, 1, 6, last),
        (Kind.TOP, Side.NONE, 1000, 2, 1001, last),
    ]
    assert (records["ts_event"] == NOW).all() and (records["instrument"] == 3).all() and (records["reason"] == 0).all()
    assert records["ts_known"].tolist() == [NOW + 7] * 4 + [NOW + 8] * 3 + [NOW + 9, NOW + 10, NOW + 11]
    assert records.view(LEVEL)["update_id"][6] == records.view(CLEAR)["update_id"][0] + 2 == 12
    assert records.view(TRADE)["trade_id"][7] == 5 and records.view(TOP)["update_id"][9] == 12
    assert not made.findings.counts and len(made.take()) == 0


def test_spot_updates_follow_one_another_by_number_and_need_no_event_time() -> None:
    made = normaliser(Market.SPOT)
    made.on_frame(NOW, depth(7, 9, [("100.0", "9.000")], pu=0))  # ends before the snapshot
    made.on_frame(NOW + 1, depth(9, 12, [("100.0", "0.007")], pu=0, T=0))  # 10 to 12 holds 11
    made.on_snapshot(NOW + 2, snapshot(10, T=0))
    made.on_frame(NOW + 3, depth(12, 13, [], [("100.1", "0.009")], pu=0))
    records = made.take()
    assert rows(records[4:], "a", "b", "c") == [(1000, 7, 12), (1001, 9, 13)]
    assert records["ts_event"][0] == NOW + 2  # a snapshot without a time of its own
    assert made.book_id == 13 and rules(made) == {Rule.STALE: 1}


def test_a_gap_invalidates_the_book_until_a_snapshot() -> None:
    made = with_book(10)
    made.on_frame(NOW + 1, depth(11, 12, [("99.9", "1.000")]))  # 11 is missing
    made.on_frame(NOW + 2, depth(12, 13, [("99.8", "1.000")]))
    records = made.take()
    assert rows(records, "kind", "side", "a", "reason", "flags") == [
        (Kind.CLEAR, Side.BUY, 0, Reason.BOOK_INVALID, 0),
        (Kind.CLEAR, Side.SELL, 0, Reason.BOOK_INVALID, MarketFlag.LAST),
    ]
    assert made.book_id == -1 and rules(made) == {Rule.GAP: 1}
    made.on_snapshot(NOW + 3, snapshot(12))
    records = made.take()
    assert rows(records, "kind", "a", "c")[-1] == (Kind.LEVEL, 998, 13)
    assert len(records) == 5 and made.book_id == 13
    assert (records["ts_known"] == NOW + 3).all()  # what waited is known with the snapshot, not before


def test_a_snapshot_too_old_for_what_waits_leaves_no_book() -> None:
    made = normaliser()
    made.on_frame(NOW, depth(20, 21, [("99.9", "1.000")]))
    made.on_snapshot(NOW, snapshot(15))
    assert made.book_id == -1 and rules(made) == {Rule.GAP: 1}
    assert rows(made.take()[-2:], "kind", "reason") == [(Kind.CLEAR, Reason.BOOK_INVALID)] * 2
    made.on_snapshot(NOW, snapshot(20))
    assert made.book_id == 21


@pytest.mark.parametrize(("before", "last", "rule"), [(9, 10, Rule.DUPLICATE), (7, 9, Rule.BACKWARD)])
def test_an_update_that_was_seen_changes_nothing(before: int, last: int, rule: Rule) -> None:
    made = with_book(9)
    made.on_frame(NOW, depth(9, 10))
    made.on_frame(NOW, depth(before, last, [("99.0", "1.000")]))
    assert len(made.take()) == 0 and made.book_id == 10 and rules(made) == {rule: 1}
    made.on_frame(NOW, depth(10, 11, [("99.0", "1.000")]))
    assert len(made.take()) == 1


def test_an_update_from_long_ago_changes_nothing() -> None:
    made = with_book(9)
    for last in (10, 11, 12, 10):
        made.on_frame(NOW, depth(last - 1, last))
    assert made.book_id == 12 and rules(made) == {Rule.BACKWARD: 1}


def test_an_update_that_waits_twice_is_used_once() -> None:
    made = normaliser()
    for last in (11, 11, 12):
        made.on_frame(NOW, depth(last - 1, last, [("99.9", "1.000")]))
    made.on_snapshot(NOW, snapshot(10))
    assert made.book_id == 12 and len(made.take()) == 6 and rules(made) == {Rule.DUPLICATE: 1}


def test_an_overlap_is_used_and_said() -> None:
    made = with_book(9)
    made.on_frame(NOW, depth(9, 12))
    made.on_frame(NOW, depth(11, 14, [("99.0", "1.000")]))
    assert made.book_id == 14 and len(made.take()) == 1 and rules(made) == {Rule.OVERLAP: 1}


def test_a_lost_connection_invalidates_the_book() -> None:
    made = with_book()
    made.on_break(NOW + 5)
    assert rows(made.take(), "kind", "ts_known") == [(Kind.CLEAR, NOW + 5)] * 2 and made.book_id == -1
    made.on_break(NOW + 6)
    assert len(made.take()) == 0


BAD_LEVELS = [
    ([("100.05", "1.000")], [], Rule.OFF_GRID),
    ([("-100.0", "1.000")], [], Rule.NEGATIVE),
    ([("100.0", "-1.000")], [], Rule.NEGATIVE),
    ([("NaN", "1.000")], [], Rule.NOT_FINITE),
    ([("100.0", "inf")], [], Rule.NOT_FINITE),
    ([("1e2", "1.000")], [], Rule.NOT_FINITE),
    ([("", "1.000")], [], Rule.NOT_FINITE),
    ([(".5", "1.000")], [], Rule.NOT_FINITE),
    ([("\u0661.0", "1.000")], [], Rule.NOT_FINITE),  # a digit, but not one of ours
    ([("0.0", "1.000")], [], Rule.NOT_POSITIVE),
    ([("9" * 30, "1.000")], [], Rule.TOO_LARGE),
    ([("100.0", "9" * 30)], [], Rule.TOO_LARGE),
    ([("100.0", "1.000"), ("100.00", "2.000")], [], Rule.DUPLICATE_LEVEL),
    ([("100.2", "1.000")], [("100.1", "1.000")], Rule.CROSSED),
    ([("100.1", "1.000")], [("100.1", "1.000")], Rule.LOCKED),
    ([("100.0", 1.0)], [], Rule.GARBAGE),
    ([("100.0",)], [], Rule.GARBAGE),
]


@pytest.mark.parametrize(
    ("bids", "asks", "rule"), BAD_LEVELS, ids=[f"{k}-{row[2]}" for k, row in enumerate(BAD_LEVELS)]
)
def test_a_bad_update_becomes_no_level_and_invalidates_the_book(bids: Pairs, asks: Pairs, rule: Rule) -> None:
    made = with_book(10)
    made.on_frame(NOW, depth(10, 11, [("99.9", "1.000"), *bids], asks))
    assert rows(made.take(), "kind", "reason") == [(Kind.CLEAR, Reason.BOOK_INVALID)] * 2
    assert made.book_id == -1 and rules(made) == {rule: 1} and made.findings.examples[0].row == 1


@pytest.mark.parametrize(
    ("bids", "asks", "rule"), BAD_LEVELS, ids=[f"{k}-{row[2]}" for k, row in enumerate(BAD_LEVELS)]
)
def test_a_bad_snapshot_is_not_used(bids: Pairs, asks: Pairs, rule: Rule) -> None:
    made = normaliser()
    made.on_snapshot(NOW, snapshot(10, bids, asks))
    assert made.book_id == -1 and len(made.take()) == 0 and rules(made) == {rule: 1}


def test_other_faults_of_snapshots() -> None:
    made = with_book(10)
    ladder = [("99.0", "1.000"), ("99.5", "1.000")]
    for body in (snapshot(11, ladder), snapshot(11, (), ladder[::-1])):
        made.on_snapshot(NOW, body)
    for body in (snapshot(-1), b'{"lastUpdateId": 11}', b"[]", b"\xff\xfe", b""):
        made.on_snapshot(NOW, body)
    made.on_snapshot(NOW, snapshot(9))
    made.on_snapshot(NOW, snapshot(11, T=-5))
    made.on_snapshot(NOW, snapshot(11, T=10**17))
    assert made.book_id == 10 and len(made.take()) == 0
    assert rules(made) == {Rule.UNORDERED: 2, Rule.GARBAGE: 6, Rule.SNAPSHOT_OLD: 1, Rule.BAD_TIME: 1}


BAD_FRAMES = [
    (trade(4), Rule.BACKWARD),
    (trade(5), Rule.DUPLICATE),
    (trade(6, "100.05"), Rule.OFF_GRID),
    (trade(6, "0.0"), Rule.NOT_POSITIVE),
    (trade(6, qty="0.000"), Rule.NOT_POSITIVE),
    (trade(6, "-1.0"), Rule.NEGATIVE),
    (trade(6, X="INSURANCE_FUND"), Rule.NOT_A_TRADE),
    (trade(6, s="ETHUSDT"), Rule.FOREIGN),
    (trade(6, T=10**20), Rule.GARBAGE),
    (trade(6, T=10**17), Rule.BAD_TIME),
    (trade(6, m="true"), Rule.GARBAGE),
    (trade(2**63), Rule.GARBAGE),
    (top(2**63), Rule.GARBAGE),
    (top(7, "100.1", "100.0"), Rule.CROSSED),
    (top(7, "100.1", "100.1"), Rule.LOCKED),
    (top(7, "0.0"), Rule.NOT_POSITIVE),
    (top(6), Rule.DUPLICATE),
    (top(5), Rule.BACKWARD),
    (depth(10, 11, s="ETHUSDT"), Rule.FOREIGN),
    (b'{"stream": "btcusdt@depth20", "data": {}}', Rule.FOREIGN),
    (b'{"stream": "btcusdt@aggTrade", "data": {}}', Rule.FOREIGN),
    (b"", Rule.GARBAGE),
    (b"[1, 2", Rule.GARBAGE),
    (b"null", Rule.GARBAGE),
    (b'{"stream": 5}', Rule.GARBAGE),
    (b"\x00\xff", Rule.GARBAGE),
    (b'{"stream": "\x80"}', Rule.GARBAGE),
    (b'{"x":' + b"[" * 100_000, Rule.GARBAGE),
]


@pytest.mark.parametrize(("frame", "rule"), BAD_FRAMES, ids=[f"{k}-{row[1]}" for k, row in enumerate(BAD_FRAMES)])
def test_a_bad_frame_becomes_nothing_and_is_counted(frame: bytes, rule: Rule) -> None:
    made = with_book(10)
    made.on_frame(NOW, trade(5))
    made.on_frame(NOW, top(6))
    made.take()
    made.on_frame(NOW, frame)
    assert len(made.take()) == 0 and rules(made) == {rule: 1}
    assert made.findings.examples[0].row == 3 and made.book_id == 10


@pytest.mark.parametrize(
    "ids", [{"U": 12}, {"pu": 11}, {"u": 5}, {"pu": -1}, {"U": -3, "pu": -4}, {"u": 2**63}], ids=str
)
def test_ids_that_contradict_one_another_are_garbage(ids: dict[str, int]) -> None:
    made = with_book(10)
    made.on_frame(NOW, depth(10, 11, **ids))
    assert made.book_id == -1 and rules(made) == {Rule.GARBAGE: 1}


def test_trades_that_are_missing_are_said_and_the_next_is_used() -> None:
    made = normaliser()
    made.on_frame(NOW, trade(5))
    made.on_frame(NOW, trade(8))
    assert len(made.take()) == 2 and made.findings.examples[0].value == "trades 6 to 7"


def test_a_part_of_a_lot_is_rounded_down_and_said() -> None:
    made = with_book(10)
    for update in (10, 11):  # the second time as well
        made.on_frame(NOW, depth(update, update + 1, [("99.9", "0.0019"), ("99.8", "0.0009")]))
    assert rows(made.take(), "a", "b") == [(999, 1), (998, 0)] * 2
    assert rules(made) == {Rule.PART_LOT: 4} and made.book_id == 12


def test_nothing_is_known_before_it_happened_or_out_of_order() -> None:
    made = normaliser()
    made.on_frame(NOW - 5, trade(1))
    made.on_frame(NOW + 9, trade(2))
    made.on_frame(NOW + 2, trade(3))
    records = made.take()
    assert records["ts_known"].tolist() == [NOW, NOW + 9, NOW + 9] and rules(made) == {Rule.CLOCK_BEHIND: 1}


def test_answers_and_unwanted_tops_are_passed_over() -> None:
    made = Normaliser(BTC, Market.FUTURES)
    made.on_frame(NOW, top(1))
    made.on_frame(NOW, b'{"result": null, "id": 1}')
    made.on_frame(NOW, json.dumps(json.loads(trade(1))["data"]).encode())  # a bare event names itself
    assert rows(made.take(), "kind") == [(Kind.TRADE,)] and not made.findings.counts
    assert made.findings.passed == {"bookTicker": 1, "answer": 1}


def test_what_waits_for_a_snapshot_is_bounded() -> None:
    made = normaliser()
    for update in range(1, WAITING_MAX + 4):
        made.on_frame(NOW, depth(update, update + 1))
    assert rules(made) == {Rule.NO_SNAPSHOT: 3} and made.findings.examples[0].row == 0
    made.on_snapshot(NOW, snapshot(2))  # what followed it was dropped
    assert made.book_id == -1
    made.on_snapshot(NOW, snapshot(4))
    assert made.book_id == WAITING_MAX + 4


def test_ids_damaged_upward_do_not_keep_the_book_from_coming_back() -> None:
    made = with_book(10)
    made.on_frame(NOW, depth(10**15, 10**15 + 1))  # a gap, so it waits
    made.on_frame(NOW, depth(10, 11))
    made.on_snapshot(NOW, snapshot(10))
    assert made.book_id == 11 and rules(made) == {Rule.GAP: 1, Rule.BACKWARD: 1}


def test_an_update_that_ends_within_the_last_one_contradicts_it() -> None:
    made = with_book(10)
    made.on_frame(NOW, depth(10, 10**15))  # its end is damaged: what follows lies within it
    made.on_frame(NOW, depth(12, 14))
    assert made.book_id == -1 and rules(made) == {Rule.GAP: 1}
    made.on_snapshot(NOW, snapshot(13))
    assert made.book_id == 14


def test_no_damaged_time_carries_the_records_into_the_future() -> None:
    made = with_book(10)
    made.on_frame(NOW, trade(1, T=MS + AHEAD_MAX_NS // 10**6 + 1))
    made.on_frame(2**62, depth(10, 11))
    made.on_frame(NOW, trade(1))
    assert (made.take()["ts_known"] == NOW).all() and rules(made) == {Rule.BAD_TIME: 2}


def test_findings_name_the_first_and_count_all() -> None:
    made = normaliser()
    for _ in range(EXAMPLES_MAX + 5):
        made.on_frame(NOW, b"?" * 1000)
    assert rules(made) == {Rule.GARBAGE: EXAMPLES_MAX + 5}
    assert [finding.row for finding in made.findings.examples] == list(range(EXAMPLES_MAX))


def test_a_recording_is_its_lines() -> None:
    stamp = str(NOW).encode()
    lines = [stamp + b" " + snapshot(10).replace(b": ", b":"), b"", b"x y\n", stamp, stamp + b" " + trade(1) + b"\n"]
    lines.append(b"9" * 5000 + b" " + trade(2))  # more digits than Python reads
    made = normaliser()
    records = np.concatenate(list(recorded(lines, made)))
    assert rows(records, "kind") == [(Kind.CLEAR,)] * 2 + [(Kind.LEVEL,)] * 2 + [(Kind.TRADE,)]
    assert [(finding.row, finding.rule) for finding in made.findings.examples] == [
        (1, Rule.GARBAGE),
        (2, Rule.GARBAGE),
        (3, Rule.GARBAGE),
        (5, Rule.GARBAGE),
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10**6), st.binary(max_size=6)), max_size=12))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_damaged_frames_never_raise_and_never_leave_half_a_frame(damage: list[tuple[int, int, bytes]]) -> None:
    """Bytes of good frames overwritten anywhere: each frame is used whole, as another one, or not at all."""
    good = [depth(10, 11, [("99.9", "1.000")]), depth(11, 12), trade(1), top(3), snapshot(12)]
    made = with_book(10)
    for which, place, data in damage:
        frame = bytearray(good[which])
        frame[place % len(frame) : place % len(frame) + len(data)] = data
        (made.on_snapshot if which == 4 else made.on_frame)(NOW, bytes(frame))
        records = made.take()
        assert records.dtype == RECORD
        assert len(records) == 0 or records["flags"][-1] & MarketFlag.LAST
        levels = records[records["kind"] == Kind.LEVEL]
        assert (levels["a"] > 0).all() and (levels["b"] >= 0).all()


@st.composite
def feeds(draw: st.DrawFn) -> tuple[Market, list[tuple[str, int]]]:
    """What happens to a feed: ("event" or "snapshot", which update) in the order it is delivered."""
    market = draw(st.sampled_from(list(Market)))
    order, at = [], 0
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 0, -1, -2]))  # in order, or one lost, twice, back
        at = min(max(at, 0), 29)
        order.append(("event", at))
        if draw(st.integers(0, 3)) == 0:
            order.append(("snapshot", min(max(at + draw(st.integers(-4, 4)), 0), 29)))
    return market, order


@given(feeds(), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_valid_book_is_the_true_book(feed: tuple[Market, list[tuple[str, int]]], seed: int) -> None:
    """However updates are lost, repeated and sent back, however old a snapshot: the book is right or there is none."""
    market, order = feed
    rng = np.random.default_rng(seed)
    ids = np.cumsum(rng.integers(1, 4, 30)) + 100
    truth: dict[int, dict[str, str]] = {}
    book: dict[str, str] = {}
    frames = []
    for k, last in enumerate(ids.tolist()):
        changes = {f"{100 - n}.0": f"{rng.integers(0, 4)}.000" for n in rng.permutation(12)[: rng.integers(1, 5)]}
        book = {price: qty for price, qty in (book | changes).items() if float(qty)}
        truth[last] = dict(book)
        frames.append(depth(int(ids[k - 1]) if k else 100, last, list(changes.items())))
    made, mine = normaliser(market), dict[int, int]()
    valid = 0
    for what, k in order:
        if what == "event":
            made.on_frame(NOW, frames[k])
        else:
            levels = sorted(truth[int(ids[k])].items(), key=lambda level: -float(level[0]))
            made.on_snapshot(NOW, snapshot(int(ids[k]), levels, ()))
        for record in made.take():
            if record["kind"] == Kind.CLEAR:
                mine = mine if record["side"] == Side.SELL else {}
            else:
                mine[int(record["a"])] = int(record["b"])
        shown = {price: lots for price, lots in mine.items() if lots}
        expected = truth[made.book_id] if made.book_id >= 0 else {}
        assert shown == {int(float(price) * 10): int(float(qty) * 1000) for price, qty in expected.items()}
        valid += made.book_id >= 0
    assert valid > 0 or not any(what == "snapshot" for what, _ in order[:1])
