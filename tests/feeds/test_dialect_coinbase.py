"""Coinbase frames to records: literal sessions, the connection's count, and everything that must not get through."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.instruments import Instrument
from core.records import CLEAR, TRADE, Kind, MarketFlag, Reason, Side
from feeds.dialects import Rule
from feeds.dialects.coinbase import Normaliser
from feeds.dialects.frames import recorded
from tests.core.recorded import SHARED, needs

BTC = Instrument(symbol="BTC/USD", base="BTC", quote="USD", tick="0.01", lot="0.00000001")
PAYLOADS = SHARED / "market-data/payloads/nautilus/coinbase"
NOW = 1_700_000_000_000_000_000  # ns
STAMP = "2023-11-14T22:13:20Z"  # the same
Pairs = list[tuple[str, str]]


def message(number: int, name: str, events: list[Any], **more: Any) -> bytes:
    outer = {"channel": name, "client_id": "", "timestamp": STAMP, "sequence_num": number, "events": events}
    return json.dumps(outer | more).encode()


def event(kind: str, bids: Pairs, asks: Pairs, **more: Any) -> dict[str, Any]:
    sides = [("bid", *level) for level in bids] + [("offer", *level) for level in asks]
    updates = [
        {"side": side, "event_time": STAMP, "price_level": price, "new_quantity": qty} for side, price, qty in sides
    ]
    return {"type": kind, "product_id": "BTC-USD", "updates": updates} | more


def snapshot(number: int, bids: Pairs = (("100.00", "0.5"),), asks: Pairs = (("100.01", "0.25"),)) -> bytes:
    return message(number, "l2_data", [event("snapshot", bids, asks)])


def update(number: int, bids: Pairs = (), asks: Pairs = (), **more: Any) -> bytes:
    return message(number, "l2_data", [event("update", bids, asks)], **more)


def trade(number: int, price: str = "100.00", size: str = "0.5", side: str = "BUY", **more: Any) -> dict[str, Any]:
    said = {"trade_id": str(number), "product_id": "BTC-USD", "price": price, "size": size, "side": side}
    return said | {"time": STAMP} | more


def trades(number: int, *said: dict[str, Any], kind: str = "update") -> bytes:
    return message(number, "market_trades", [{"type": kind, "trades": list(said)}])


def heartbeat(number: int) -> bytes:
    return message(number, "heartbeats", [{"current_time": "2023-11-14 22:13:20 +0000 UTC", "heartbeat_counter": 9}])


def with_book(at: int = 10, **more: Any) -> Normaliser:
    """A normaliser whose book is valid and at message ``at``; its records are taken."""
    made = Normaliser(BTC, **more)
    made.on_frame(NOW, snapshot(at))
    assert made.book_id == at and len(made.take()) == 4 and not made.findings.counts
    return made


def rows(records: np.ndarray, *names: str) -> list[tuple[int, ...]]:
    return [tuple(int(record[name]) for name in names) for record in records]


def rules(made: Normaliser) -> dict[Rule, int]:
    return dict(made.findings.counts)


def test_a_session_becomes_these_records() -> None:
    made = Normaliser(BTC, index=3, clock_offset_ns=7)
    made.on_frame(NOW, snapshot(0))
    made.on_frame(NOW, message(1, "subscriptions", [{"subscriptions": {"level2": ["BTC-USD"]}}]))
    made.on_frame(NOW + 1, update(2, [("100.00", "0"), ("99.99", "1"), ("99.99", "2")], [("100.01", "0.00000001")]))
    made.on_frame(NOW + 2, trades(3, trade(8, side="SELL"), trade(7)))  # newest first, as the venue may send them
    records = made.take()
    last, taken = int(MarketFlag.LAST), int(MarketFlag.SNAPSHOT)
    assert rows(records, "kind", "side", "a", "b", "c", "flags") == [
        (Kind.CLEAR, Side.BUY, 0, 0, 0, taken),
        (Kind.CLEAR, Side.SELL, 0, 0, 0, taken),
        (Kind.LEVEL, Side.BUY, 10_000, 50_000_000, 0, taken),
        (Kind.LEVEL, Side.SELL, 10_001, 25_000_000, 0, taken | last),
        (Kind.LEVEL, Side.BUY, 10_000, 0, 2, 0),
        (Kind.LEVEL, Side.BUY, 9_999, 200_000_000, 2, 0),  # twice in the message: the last counts
        (Kind.LEVEL, Side.SELL, 10_001, 1, 2, last),
        (Kind.TRADE, Side.SELL, 10_000, 50_000_000, 7, 0),  # the resting order bought
        (Kind.TRADE, Side.BUY, 10_000, 50_000_000, 8, last),
    ]
    assert (records["ts_event"] == NOW).all() and (records["instrument"] == 3).all() and (records["reason"] == 0).all()
    assert records["ts_known"].tolist() == [NOW + 7] * 4 + [NOW + 8] * 3 + [NOW + 9] * 2
    assert records.view(CLEAR)["update_id"][0] == 0 and records.view(TRADE)["trade_id"][8] == 8
    assert not made.findings.counts and made.findings.passed == {"subscriptions": 1}


@pytest.mark.parametrize("number", [12, 9, 0])
def test_a_count_that_does_not_go_on_leaves_no_book_until_a_snapshot(number: int) -> None:
    made = with_book(10)
    made.on_frame(NOW + 1, heartbeat(number))  # whatever the channel: what was missed may have been of the book
    assert rows(made.take(), "kind", "side", "a", "reason", "flags") == [
        (Kind.CLEAR, Side.BUY, 0, Reason.BOOK_INVALID, 0),
        (Kind.CLEAR, Side.SELL, 0, Reason.BOOK_INVALID, MarketFlag.LAST),
    ]
    expected = {Rule.GAP if number > 10 else Rule.BACKWARD: 1}
    assert made.book_id == -1 and rules(made) == expected
    made.on_frame(NOW + 2, update(number + 1, [("99.99", "1")]))
    assert len(made.take()) == 0 and rules(made) == expected | {Rule.NO_SNAPSHOT: 1}
    made.on_frame(NOW + 3, snapshot(number + 2))
    made.on_frame(NOW + 4, update(number + 3, [("99.99", "1")]))
    assert len(made.take()) == 5 and made.book_id == number + 3


def test_a_snapshot_after_a_hole_is_a_book() -> None:
    made = with_book(10)
    made.on_frame(NOW, snapshot(15))
    assert made.book_id == 15 and rules(made) == {Rule.GAP: 1} and len(made.take()) == 6


def test_the_same_message_again_changes_nothing() -> None:
    made = with_book(10)
    made.on_frame(NOW, update(11, [("99.99", "1")]))
    made.on_frame(NOW, update(11, [("99.99", "2")]))
    assert len(made.take()) == 1 and made.book_id == 11 and rules(made) == {Rule.DUPLICATE: 1}


def test_a_lost_connection_invalidates_the_book_and_the_next_counts_anew() -> None:
    made = with_book(10)
    made.on_break(NOW + 5)
    assert rows(made.take(), "kind", "ts_known") == [(Kind.CLEAR, NOW + 5)] * 2 and made.book_id == -1
    made.on_frame(NOW + 6, snapshot(0))
    assert made.book_id == 0 and not made.findings.counts


BAD_BOOKS = [
    (update(11, [("100.005", "1")]), Rule.OFF_GRID),
    (update(11, [("-100.00", "1")]), Rule.NEGATIVE),
    (update(11, [("100.00", "NaN")]), Rule.NOT_FINITE),
    (update(11, [("0.00", "1")]), Rule.NOT_POSITIVE),
    (update(11, [("9" * 30, "1")]), Rule.TOO_LARGE),
    (update(11, [("100.01", "1")], [("100.00", "1")]), Rule.CROSSED),
    (update(11, [("100.00", 1)]), Rule.GARBAGE),
    (update(11, timestamp="soon"), Rule.BAD_TIME),
    (update(11, timestamp="2033-11-14T22:13:20Z"), Rule.BAD_TIME),
    (update(11, sequence_num=None), Rule.GARBAGE),
    (update(11, sequence_num=-1), Rule.GARBAGE),
    (update(11, sequence_num=2**63), Rule.GARBAGE),
    (update(11, channel="l3_data"), Rule.FOREIGN),
    (update(11, channel=""), Rule.FOREIGN),
    (snapshot(11, [("100.00", "1"), ("100.0", "1")]), Rule.DUPLICATE_LEVEL),
    (message(11, "l2_data", []), Rule.GARBAGE),
    (message(11, "l2_data", [event("update", [], [], product_id="BTC-USE")]), Rule.FOREIGN),  # ours, damaged?
    (message(11, "l2_data", [event("l2update", [], [])]), Rule.GARBAGE),
    (message(11, "l2_data", [event("snapshot", [], []), event("update", [], [])]), Rule.GARBAGE),
    (b"", Rule.GARBAGE),
    (b"null", Rule.GARBAGE),
    (b'{"channel": "\x80"}', Rule.GARBAGE),
    (b'{"x":' + b"[" * 100_000, Rule.GARBAGE),
]


@pytest.mark.parametrize(("frame", "rule"), BAD_BOOKS, ids=[f"{k}-{row[1]}" for k, row in enumerate(BAD_BOOKS)])
def test_what_may_have_been_about_the_book_and_cannot_be_used_leaves_none(frame: bytes, rule: Rule) -> None:
    made = with_book(10)
    made.on_frame(NOW, frame)
    assert rows(made.take(), "kind", "reason") == [(Kind.CLEAR, Reason.BOOK_INVALID)] * 2
    assert made.book_id == -1 and rules(made) == {rule: 1} and made.findings.examples[0].row == 1


BAD_FRAMES = [
    (trades(12, trade(5)), Rule.DUPLICATE),
    (trades(12, trade(4)), Rule.BACKWARD),
    (trades(12, trade(7), trade(6, size="0")), Rule.NOT_POSITIVE),
    (trades(12, trade(6, side="UNKNOWN")), Rule.GARBAGE),
    (trades(12, trade(6, trade_id="6a")), Rule.GARBAGE),
    (trades(12, trade(6, trade_id="\u0666")), Rule.GARBAGE),  # a digit, but not one of ours
    (trades(12, trade(6, trade_id="9" * 30)), Rule.GARBAGE),
    (trades(12, trade(6, product_id="ETH-USD")), Rule.FOREIGN),
    (trades(12, trade(6, time="2023-11-14T24:13:20Z")), Rule.BAD_TIME),
    (b'{"type": "error", "message": "authentication failure"}', Rule.VENUE_ERROR),
]


@pytest.mark.parametrize(("frame", "rule"), BAD_FRAMES, ids=[f"{k}-{row[1]}" for k, row in enumerate(BAD_FRAMES)])
def test_a_bad_frame_of_another_channel_becomes_nothing_and_is_counted(frame: bytes, rule: Rule) -> None:
    made = with_book(10)
    made.on_frame(NOW, trades(11, trade(5)))
    made.take()
    made.on_frame(NOW, frame)
    assert len(made.take()) == 0 and rules(made) == {rule: 1} and made.book_id == 10
    made.on_frame(NOW, heartbeat(13 if rule is not Rule.VENUE_ERROR else 12))
    assert made.book_id == 10  # an error has no number; all others are counted


def test_what_is_no_records_matter_is_passed_over_and_counted() -> None:
    made = with_book(10, others=["ETH-USD"])
    for k, frame in enumerate((
        heartbeat(11),
        message(12, "ticker", [{"type": "update"}]),
        message(13, "l2_data", [event("update", [("1.00", "1")], [], product_id="ETH-USD")]),
        trades(14, trade(1), trade(2), kind="snapshot"),  # of before the subscription
        trades(15, trade(1, product_id="ETH-USD")),
    )):  # fmt: skip
        made.on_frame(NOW + k, frame)
    assert len(made.take()) == 0 and not made.findings.counts and made.book_id == 10
    assert made.findings.passed == {"heartbeats": 1, "ticker": 1, "ETH-USD": 2, "market_trades": 2}


def test_two_events_of_one_message_are_one_update() -> None:
    made = with_book(10)
    made.on_frame(
        NOW, message(11, "l2_data", [event("update", [("99.98", "1")], []), event("update", [("99.98", "2")], [])])
    )
    assert rows(made.take(), "a", "b", "flags") == [(9_998, 200_000_000, MarketFlag.LAST)]


def test_trades_that_are_missing_are_said_and_the_next_are_used() -> None:
    made = Normaliser(BTC)
    made.on_frame(NOW, trades(0, trade(5)))
    made.on_frame(NOW, trades(1, trade(8)))
    assert len(made.take()) == 2 and made.findings.examples[0].value == "trades 6 to 7"


def test_a_recording_is_its_lines() -> None:
    made = Normaliser(BTC)
    records = np.concatenate(list(recorded([b"%d %s\n" % (NOW, snapshot(0)), b"x"], made)))
    assert len(records) == 4 and rules(made) == {Rule.GARBAGE: 1}


@given(
    st.lists(st.tuples(st.dictionaries(st.integers(0, 29), st.integers(0, 3), max_size=5), st.integers(0, 9))),
    st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 0, -1, -3]), max_size=40),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_valid_book_is_the_true_book(changes: list[tuple[dict[int, int], int]], steps: list[int]) -> None:
    """However messages are lost, repeated and sent back: the book is the one of the last message or there is none."""
    truth, frames, states = dict[int, int](), [], []
    for k, (change, kind) in enumerate([({}, 0), *changes]):
        truth = {place: qty for place, qty in (truth | change).items() if qty}
        bids, asks = (
            [
                (f"{100 + place}.00", str(qty))
                for place, qty in (truth if kind == 0 else change).items()
                if wanted(place)
            ]
            for wanted in (lambda place: place < 15, lambda place: place >= 15)
        )
        frames.append(heartbeat(k) if kind == 9 and not change else (snapshot if kind == 0 else update)(k, bids, asks))
        states.append({(10_000 + 100 * place, qty * 10**8) for place, qty in truth.items()})
    made, mine, at = Normaliser(BTC), dict[int, int](), 0
    for step in [0, *steps]:
        at = min(max(at + step, 0), len(frames) - 1)
        made.on_frame(NOW, frames[at])
        for record in made.take():
            if record["kind"] == Kind.CLEAR:
                mine = {}
            else:
                mine[int(record["a"])] = int(record["b"])
        shown = {(price, lots) for price, lots in mine.items() if lots}
        assert shown == (states[at] if made.book_id >= 0 else set())


@needs(PAYLOADS)
def test_recorded_payloads_are_read_as_they_are() -> None:
    """They are of several connections, so their numbers do not follow one another: that is said."""
    made, received_ns = Normaliser(BTC), 1_775_572_210_000_000_000
    for name in ("l2_data_snapshot", "l2_data_update", "market_trades"):
        made.on_frame(received_ns, (PAYLOADS / f"ws_{name}.json").read_bytes())
    records = made.take()
    assert rows(records[:4], "kind", "side", "a", "b") == [
        (Kind.CLEAR, Side.BUY, 0, 0),
        (Kind.CLEAR, Side.SELL, 0, 0),
        (Kind.LEVEL, Side.BUY, 6_890_000, 150_000_000),
        (Kind.LEVEL, Side.BUY, 6_889_950, 75_000_000),
    ]
    assert rows(records[8:], "kind", "side", "a", "b", "c") == [
        (Kind.LEVEL, Side.BUY, 6_890_000, 200_000_000, 1),
        (Kind.LEVEL, Side.SELL, 6_890_100, 0, 1),
        (Kind.CLEAR, Side.BUY, 0, 0, 1),
        (Kind.CLEAR, Side.SELL, 0, 0, 1),
        (Kind.TRADE, Side.SELL, 6_890_050, 150_000, 995_098_700),
        (Kind.TRADE, Side.BUY, 6_890_000, 5_000_000, 995_098_701),
    ]
    assert records["ts_event"][[0, 8, 12, 13]].tolist() == [
        1_775_572_200_123_456_000,
        1_775_572_201_456_789_000,
        1_775_572_202_789_012_000,
        1_775_572_202_800_000_000,
    ]
    assert rules(made) == {Rule.GAP: 1}
    for name in ("heartbeats", "subscriptions", "ticker", "candles", "user"):
        made.on_frame(received_ns, (PAYLOADS / f"ws_{name}.json").read_bytes())
    assert len(made.take()) == 0 and made.findings.counts[Rule.FOREIGN] == 1  # of user: not a market's
    assert made.findings.passed.keys() == {"heartbeats", "ticker", "candles"}
