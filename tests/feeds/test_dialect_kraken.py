"""Kraken frames to records: the venue's own worked checksums, depth, and everything that must not get through."""

import json
from decimal import Decimal
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadConfig
from core.instruments import Instrument
from core.records import LEVEL, TRADE, Kind, MarketFlag, MarketStatus, Reason, Side
from feeds.dialects import AHEAD_MAX_NS, Rule
from feeds.dialects.frames import recorded
from feeds.dialects.kraken import Normaliser, _text
from tests.core.recorded import SHARED, needs

BTC = Instrument(symbol="BTC/USD", base="BTC", quote="USD", tick="0.1", lot="0.00000001")
PAYLOADS = SHARED / "market-data/payloads/nautilus/kraken"
NOW = 1_700_000_000_000_000_000  # ns
STAMP = "2023-11-14T22:13:20Z"  # the same
Side_ = dict[str, str]

# The venue's own examples: prices and quantities as it writes them, and the checksum it says they have.
GUIDE_BIDS = {
    "45283.5": "0.10000000", "45283.4": "1.54582015", "45282.1": "0.10000000", "45281.0": "0.10000000",
    "45280.3": "1.54592586", "45279.0": "0.07990000", "45277.6": "0.03310103", "45277.5": "0.30000000",
    "45277.3": "1.54602737", "45276.6": "0.15445238",
}  # fmt: skip
GUIDE_ASKS = {
    "45285.2": "0.00100000", "45286.4": "1.54571953", "45286.6": "1.54571109", "45289.6": "1.54560911",
    "45290.2": "0.15890660", "45291.8": "1.54553491", "45294.7": "0.04454749", "45296.1": "0.35380000",
    "45297.5": "0.09945542", "45299.5": "0.18772827",
}  # fmt: skip
GUIDE_CHECKSUM = 3_310_070_434
MATIC_BIDS = {
    "0.5666": "4831.75496356", "0.5665": "6658.22734739", "0.5664": "18724.91513344", "0.5663": "11563.92544914",
    "0.5662": "14006.65365711", "0.5661": "17454.85679807", "0.566": "18097.1547", "0.5659": "33644.89175666",
    "0.5658": "148.3464", "0.5657": "606.70854372",
}  # fmt: skip
MATIC_ASKS = {
    "0.5668": "4410.79769741", "0.5669": "4655.40412487", "0.567": "49844.89424998", "0.5671": "24306.41678",
    "0.5672": "29783.25223475", "0.5673": "57234.71239278", "0.5674": "45065.04744", "0.5675": "5912.76380354",
    "0.5676": "42514.92434778", "0.5677": "36304.0847022",
}  # fmt: skip


def checksum(bids: Side_, asks: Side_, price_digits: int = 1, qty_digits: int = 8) -> int:
    """What the venue's guide says, step by step; no code of the dialect."""

    def digits(text: str, places: int) -> str:
        return f"{Decimal(text):.{places}f}".replace(".", "").lstrip("0")

    def first(side: Side_, best_first: list[str]) -> str:
        return "".join(digits(price, price_digits) + digits(side[price], qty_digits) for price in best_first[:10])

    lowest, highest = sorted(asks, key=Decimal), sorted(bids, key=Decimal, reverse=True)
    return crc32((first(asks, lowest) + first(bids, highest)).encode())


def levels(side: Side_ | list[tuple[str, str]]) -> str:
    pairs = side.items() if isinstance(side, dict) else side
    return "[" + ", ".join(f'{{"price": {price}, "qty": {qty}}}' for price, qty in pairs) + "]"


def book(kind: str, bids: Any, asks: Any, crc: int, symbol: str = "BTC/USD", stamp: str = STAMP) -> bytes:
    """A book frame; numbers stand in it as they are given."""
    return (
        f'{{"channel": "book", "type": "{kind}", "data": [{{"symbol": "{symbol}", "bids": {levels(bids)}, '
        f'"asks": {levels(asks)}, "checksum": {crc}, "timestamp": "{stamp}"}}]}}'
    ).encode()


def trades(*said: tuple[int, str, str, str], kind: str = "update", **more: Any) -> bytes:
    """A trade frame of (id, side, price, qty)."""
    data = [
        f'{{"symbol": "{more.get("symbol", "BTC/USD")}", "side": "{side}", "price": {price}, "qty": {qty}, '
        f'"ord_type": "market", "trade_id": {number}, "timestamp": "{more.get("stamp", STAMP)}"}}'
        for number, side, price, qty in said
    ]
    return f'{{"channel": "trade", "type": "{kind}", "data": [{", ".join(data)}]}}'.encode()


def instrument(status: str = "online", price: int = 1, qty: int = 8, symbol: str = "BTC/USD") -> bytes:
    pair = {"symbol": symbol, "status": status, "price_precision": price, "qty_precision": qty, "qty_min": 0.0001}
    return json.dumps({"channel": "instrument", "type": "update", "data": {"assets": [], "pairs": [pair]}}).encode()


def system(name: str) -> bytes:
    return json.dumps({"channel": "status", "type": "update", "data": [{"system": name, "api_version": "v2"}]}).encode()


def normaliser(**more: Any) -> Normaliser:
    return Normaliser(BTC, price_digits=1, qty_digits=8, **more)


BIDS, ASKS = {"100.0": "0.5", "99.9": "1.0"}, {"100.1": "0.25"}


def with_book(**more: Any) -> Normaliser:
    """A normaliser whose book is BIDS and ASKS; its records are taken."""
    made = normaliser(**more)
    made.on_frame(NOW, book("snapshot", BIDS, ASKS, checksum(BIDS, ASKS)))
    assert made.book_id == 1 and len(made.take()) == 5 and not made.findings.counts
    return made


def rows(records: np.ndarray, *names: str) -> list[tuple[int, ...]]:
    return [tuple(int(record[name]) for name in names) for record in records]


def rules(made: Normaliser) -> dict[Rule, int]:
    return dict(made.findings.counts)


def test_a_session_becomes_these_records() -> None:
    made = normaliser(index=3, clock_offset_ns=7)
    made.on_frame(NOW, book("snapshot", BIDS, ASKS, checksum(BIDS, ASKS)))
    after = {"100.1": "0.125", "100.2": "2e-8"}
    changes = [("100.1", "0.125"), ("100.2", "2e-8")]
    made.on_frame(NOW + 1, book("update", [("99.9", "0.00000000")], changes, checksum({"100.0": "0.5"}, after)))
    made.on_frame(NOW + 2, trades((8, "sell", "100.0", "0.00000005"), (7, "buy", "100.1", "1")))
    last, taken = int(MarketFlag.LAST), int(MarketFlag.SNAPSHOT)
    records = made.take()
    assert rows(records, "kind", "side", "a", "b", "c", "flags") == [
        (Kind.CLEAR, Side.BUY, 0, 0, 1, taken),
        (Kind.CLEAR, Side.SELL, 0, 0, 1, taken),
        (Kind.LEVEL, Side.BUY, 1000, 50_000_000, 1, taken),
        (Kind.LEVEL, Side.BUY, 999, 100_000_000, 1, taken),
        (Kind.LEVEL, Side.SELL, 1001, 25_000_000, 1, taken | last),
        (Kind.LEVEL, Side.BUY, 999, 0, 2, 0),
        (Kind.LEVEL, Side.SELL, 1001, 12_500_000, 2, 0),
        (Kind.LEVEL, Side.SELL, 1002, 2, 2, last),
        (Kind.TRADE, Side.BUY, 1001, 100_000_000, 7, 0),  # by id, whatever the order in the frame
        (Kind.TRADE, Side.SELL, 1000, 5, 8, last),
    ]
    assert (records["ts_event"] == NOW).all() and (records["instrument"] == 3).all() and (records["reason"] == 0).all()
    assert records["ts_known"].tolist() == [NOW + 7] * 5 + [NOW + 8] * 3 + [NOW + 9] * 2
    assert records.view(LEVEL)["update_id"][5] == 2 and records.view(TRADE)["trade_id"][9] == 8
    assert not made.findings.counts and made.book_id == 2


def test_the_checksum_of_the_venues_guide() -> None:
    made = normaliser()
    assert checksum(GUIDE_BIDS, GUIDE_ASKS) == GUIDE_CHECKSUM
    made.on_frame(NOW, book("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM))
    assert made.book_id == 1 and len(made.take()) == 22 and not made.findings.counts


def test_the_checksums_of_the_venues_reference_hold_whatever_the_lot() -> None:
    """Zeros are missing at the ends of these numbers, and an update changes the last level; lots are coarser."""
    matic = Instrument(symbol="MATIC/USD", base="MATIC", quote="USD", tick="0.0001", lot="0.0001")
    made = Normaliser(matic, price_digits=4, qty_digits=8)
    made.on_frame(NOW, book("snapshot", MATIC_BIDS, MATIC_ASKS, 2_439_117_997, "MATIC/USD"))
    made.on_frame(NOW, book("update", {"0.5657": "1098.3947558"}, {}, 2_114_181_697, "MATIC/USD"))
    assert made.book_id == 2 and rules(made) == {Rule.PART_LOT: 19}
    assert rows(made.take()[-1:], "a", "b") == [(5657, 10_983_947)]


@pytest.mark.parametrize("kind", ["snapshot", "update"])
def test_a_wrong_checksum_leaves_no_book_until_a_snapshot(kind: str) -> None:
    made = with_book()
    made.on_frame(NOW + 1, book(kind, {"99.8": "1"}, {}, 5))
    assert rows(made.take(), "kind", "side", "a", "reason", "flags") == [
        (Kind.CLEAR, Side.BUY, 0, Reason.BOOK_INVALID, 0),
        (Kind.CLEAR, Side.SELL, 0, Reason.BOOK_INVALID, MarketFlag.LAST),
    ]
    assert made.book_id == -1 and rules(made) == {Rule.CHECKSUM: 1}
    made.on_frame(NOW + 2, book("update", {}, {}, checksum(BIDS, ASKS)))  # however right it is
    assert len(made.take()) == 0 and rules(made) == {Rule.CHECKSUM: 1, Rule.NO_SNAPSHOT: 1}
    made.on_frame(NOW + 3, book("snapshot", BIDS, ASKS, checksum(BIDS, ASKS)))
    assert len(made.take()) == 5 and made.book_id == 4


def test_a_missed_update_is_noticed_by_the_next_one() -> None:
    made = with_book()
    now = BIDS | {"99.8": "1"}
    made.on_frame(NOW, book("update", {"99.8": "1"}, {}, checksum(now, ASKS)))
    now["99.7"] = "1"  # its message was lost
    made.on_frame(NOW, book("update", {"99.6": "1"}, {}, checksum(now | {"99.6": "1"}, ASKS)))
    assert made.book_id == -1 and rules(made) == {Rule.CHECKSUM: 1}


def test_what_leaves_the_depth_is_gone() -> None:
    bids = {f"{100 - k}.0": "1" for k in range(10)}
    made = normaliser()
    made.on_frame(NOW, book("snapshot", bids, ASKS, checksum(bids, ASKS)))
    made.take()
    now = {"100.05": "2", "99.5": "2"} | bids
    now.pop("100.05")
    now = dict(sorted(now.items(), key=lambda level: -Decimal(level[0]))[:10])  # 91.0 falls out
    made.on_frame(NOW, book("update", {"99.5": "2"}, {}, checksum(now, ASKS)))
    assert rows(made.take(), "a", "b") == [(995, 200_000_000), (910, 0)]
    now.pop("100.0")  # the eleventh is not said again: nine are left
    made.on_frame(NOW, book("update", {"100.0": "0"}, {}, checksum(now, ASKS)))
    assert made.book_id == 3 and not made.findings.counts
    made.on_frame(NOW, book("update", {"91.0": "1"}, {}, checksum(now | {"91.0": "1"}, ASKS)))
    assert made.book_id == 4 and rows(made.take(), "a", "b") == [(1000, 0), (910, 100_000_000)]


def test_a_level_beyond_the_depth_never_comes_in() -> None:
    bids = {f"{100 - k}.0": "1" for k in range(10)}
    made = normaliser()
    made.on_frame(NOW, book("snapshot", bids, ASKS, checksum(bids, ASKS)))
    made.take()
    made.on_frame(NOW, book("update", {"50.0": "2"}, {}, checksum(bids, ASKS)))
    assert rows(made.take(), "a", "b") == [(500, 0)] and made.book_id == 2


def test_the_checksum_is_of_ten_levels_whatever_the_depth() -> None:
    bids = {f"{100 - k}.0": "1" for k in range(12)}
    made = normaliser(depth=25)
    made.on_frame(NOW, book("snapshot", bids, ASKS, checksum(bids, ASKS)))
    made.on_frame(NOW, book("update", {"88.0": "1"}, {}, checksum(bids, ASKS)))
    assert made.book_id == 2 and not made.findings.counts


def test_a_price_may_change_twice_in_an_update() -> None:
    made = with_book()
    changes = [("100.0", "0"), ("100.0", "3"), ("99.8", "1"), ("99.8", "0")]
    made.on_frame(NOW, book("update", changes, {}, checksum(BIDS | {"100.0": "3"}, ASKS)))
    assert rows(made.take(), "a", "b") == [(1000, 300_000_000), (998, 0)] and made.book_id == 2


def test_a_lost_connection_invalidates_the_book() -> None:
    made = with_book()
    made.on_break(NOW + 5)
    assert rows(made.take(), "kind", "ts_known") == [(Kind.CLEAR, NOW + 5)] * 2 and made.book_id == -1


ELEVEN = {f"{100 - k}.0": "1" for k in range(11)}
CROSSING = {"100.1": "1"}
TWO = json.dumps(
    {"channel": "book", "type": "update", "data": 2 * json.loads(book("update", {}, {}, 0))["data"]}
).encode()
BAD_BOOKS = [
    (book("update", {"99.85": "1"}, {}, 0), Rule.OFF_GRID),
    (book("update", {"99.8": "0.000000001"}, {}, 0), Rule.PART_LOT),  # finer than the venue writes
    (book("update", {"-99.8": "1"}, {}, 0), Rule.NEGATIVE),
    (book("update", {"99.8": "-1"}, {}, 0), Rule.NEGATIVE),
    (book("update", {'"99.8"': "1"}, {}, 0), Rule.NOT_FINITE),  # the venue sends numbers
    (book("update", {"99.8": "null"}, {}, 0), Rule.NOT_FINITE),
    (book("update", {"99.8": "1e31"}, {}, 0), Rule.NOT_FINITE),
    (book("update", {"99.8": "1e99999999999"}, {}, 0), Rule.NOT_FINITE),
    (book("update", {"0.0": "1"}, {}, 0), Rule.NOT_POSITIVE),
    (book("update", {"9" * 30: "1"}, {}, 0), Rule.TOO_LARGE),
    (book("update", {"99.8": "9" * 30}, {}, 0), Rule.TOO_LARGE),
    (book("update", {"99.8": "NaN"}, {}, 0), Rule.GARBAGE),
    (book("update", {"100.2": "1"}, {}, checksum(BIDS | {"100.2": "1"}, ASKS)), Rule.CROSSED),  # with what stands
    (book("update", CROSSING, {}, checksum(BIDS | CROSSING, ASKS)), Rule.LOCKED),
    (book("update", {"99.8": "1"}, {}, 2**32), Rule.GARBAGE),
    (book("update", {}, {}, checksum(BIDS, ASKS), stamp="2023-13-14T22:13:20Z"), Rule.BAD_TIME),
    (book("update", {}, {}, checksum(BIDS, ASKS), stamp="yesterday"), Rule.BAD_TIME),
    (book("update", {}, {}, checksum(BIDS, ASKS), stamp="2033-11-14T22:13:20Z"), Rule.BAD_TIME),  # ten years ahead
    (book("update", {}, {}, 0, symbol="ETH/USD"), Rule.FOREIGN),  # ours, damaged?
    (book("other", {}, {}, 0), Rule.GARBAGE),
    (book("snapshot", ELEVEN, {}, checksum(ELEVEN, {})), Rule.TOO_LARGE),
    (book("snapshot", [("99.8", "1"), ("99.80", "1")], {}, checksum({"99.8": "1"}, {})), Rule.DUPLICATE_LEVEL),
    (b'{"channel": "book", "type": "update", "data": []}', Rule.GARBAGE),
    (TWO, Rule.GARBAGE),
    (b'{"channel": "b\\u0000ok", "data": []}', Rule.FOREIGN),
    (b'{"channel": "level3", "method": "subscribe"}', Rule.FOREIGN),
    (b'{"chanel": "book"}', Rule.FOREIGN),
    (b"", Rule.GARBAGE),
    (b"null", Rule.GARBAGE),
    (b'{"channel": "\x80"}', Rule.GARBAGE),
    (b'{"x":' + b"[" * 100_000, Rule.GARBAGE),
]


@pytest.mark.parametrize(("frame", "rule"), BAD_BOOKS, ids=[f"{k}-{row[1]}" for k, row in enumerate(BAD_BOOKS)])
def test_what_may_have_been_about_the_book_and_cannot_be_used_leaves_none(frame: bytes, rule: Rule) -> None:
    made = with_book()
    made.on_frame(NOW, frame)
    assert rows(made.take(), "kind", "reason") == [(Kind.CLEAR, Reason.BOOK_INVALID)] * 2
    assert made.book_id == -1 and rule in rules(made) and made.findings.examples[-1].row == 1


BAD_FRAMES = [
    (trades((5, "buy", "100.0", "1")), Rule.DUPLICATE),
    (trades((4, "buy", "100.0", "1")), Rule.BACKWARD),
    (trades((6, "buy", "100.0", "1"), (6, "buy", "100.0", "1")), Rule.DUPLICATE),
    (trades((6, "buy", "100.0", "1"), (7, "buy", "100.0", "0")), Rule.NOT_POSITIVE),
    (trades((6, "buy", "0", "1")), Rule.NOT_POSITIVE),
    (trades((6, "up", "100.0", "1")), Rule.GARBAGE),
    (trades((6, "buy", "100.0", "1"), symbol="ETH/USD"), Rule.FOREIGN),
    (trades((6, "buy", "100.0", "1"), stamp="2023-11-14 22:13:20"), Rule.BAD_TIME),
    (trades(), Rule.GARBAGE),
    (instrument("frozen"), Rule.GARBAGE),
    (instrument(price=2), Rule.DISAGREES),
    (instrument(qty=7), Rule.DISAGREES),
    (system("away"), Rule.GARBAGE),
    (b'{"error": "Currency pair not supported", "method": "subscribe", "success": false}', Rule.VENUE_ERROR),
]


@pytest.mark.parametrize(("frame", "rule"), BAD_FRAMES, ids=[f"{k}-{row[1]}" for k, row in enumerate(BAD_FRAMES)])
def test_a_bad_frame_of_another_channel_becomes_nothing_and_is_counted(frame: bytes, rule: Rule) -> None:
    made = with_book()
    made.on_frame(NOW, trades((5, "buy", "100.0", "1")))
    made.take()
    made.on_frame(NOW, frame)
    assert len(made.take()) == 0 and rules(made) == {rule: 1} and made.book_id == 1


def test_what_is_no_records_matter_is_passed_over_and_counted() -> None:
    made = with_book(others=["ETH/USD"])
    made.on_frame(NOW, b'{"channel": "heartbeat"}')
    made.on_frame(NOW, b'{"method": "pong", "req_id": 42}')
    made.on_frame(NOW, b'{"method": "subscribe", "result": {"channel": "book"}, "success": true, "error": null}')
    made.on_frame(NOW, b'{"channel": "ticker", "type": "update", "data": [{"symbol": "BTC/USD"}]}')
    made.on_frame(NOW, book("update", {}, {}, 0, symbol="ETH/USD"))
    made.on_frame(NOW, trades((1, "buy", "100.0", "1"), kind="snapshot"))  # of before the subscription
    made.on_frame(NOW, trades((1, "buy", "100.0", "1"), symbol="ETH/USD"))
    made.on_frame(NOW, instrument())
    made.on_frame(NOW, system("online"))
    assert len(made.take()) == 0 and not made.findings.counts and made.book_id == 1
    assert made.findings.passed == {
        "heartbeat": 1, "answer": 2, "ticker": 1, "ETH/USD": 2, "trade": 2, "instrument": 1, "status": 1
    }  # fmt: skip


def test_what_the_market_lets_do_becomes_status_records() -> None:
    made = with_book()
    for frame in (
        instrument("cancel_only"),
        instrument("cancel_only"),
        instrument("maintenance", symbol="ETH/USD"),
        system("maintenance"),
        instrument("online"),  # the venue is still away
        system("online"),
        instrument("post_only"),
    ):
        made.on_frame(NOW, frame)
    records = made.take()
    assert rows(records, "kind", "a", "flags") == [
        (Kind.STATUS, MarketStatus.CANCEL_ONLY, MarketFlag.LAST),
        (Kind.STATUS, MarketStatus.HALT, MarketFlag.LAST),
        (Kind.STATUS, MarketStatus.TRADING, MarketFlag.LAST),
        (Kind.STATUS, MarketStatus.AUCTION, MarketFlag.LAST),
    ]


def test_trades_that_are_missing_are_said_and_the_next_are_used() -> None:
    made = normaliser()
    made.on_frame(NOW, trades((5, "buy", "100.0", "1")))
    made.on_frame(NOW, trades((8, "buy", "100.0", "1"), (10, "buy", "100.0", "1")))
    assert len(made.take()) == 3
    assert [finding.value for finding in made.findings.examples] == ["trades 6 to 7", "trades 9 to 9"]


def test_no_damaged_time_carries_the_records_into_the_future() -> None:
    made = normaliser()
    ahead = AHEAD_MAX_NS // 10**9 // 3600
    made.on_frame(NOW, trades((1, "buy", "100.0", "1"), stamp=f"2023-11-14T{22 + ahead}:13:20.000000000Z"))
    made.on_frame(NOW, trades((2, "buy", "100.0", "1"), stamp=f"2023-11-14T{22 + ahead}:13:20.000000001Z"))
    made.on_frame(2**62, trades((2, "buy", "100.0", "1")))
    made.on_break(2**62)
    made.on_frame(NOW, trades((2, "buy", "100.0", "1")))
    assert made.take()["ts_known"].tolist() == [NOW + AHEAD_MAX_NS] * 2
    assert rules(made) == {Rule.CLOCK_BEHIND: 1, Rule.BAD_TIME: 2}


@pytest.mark.parametrize(
    "wrong", [{"depth": 11}, {"price_digits": 0}, {"price_digits": 19}, {"qty_digits": 7}, {"qty_digits": -1}], ids=str
)
def test_what_cannot_be_the_pairs_terms_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadConfig, match=r"levels|precision"):
        Normaliser(BTC, **({"price_digits": 1, "qty_digits": 8} | wrong))


@given(st.integers(0, 10**12), st.integers(0, 20), st.integers(-30, 30), st.sampled_from("eE"))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_an_exponent_moves_the_point_exactly(digits: int, places: int, power: int, letter: str) -> None:
    text = f"{Decimal(digits).scaleb(-places):f}{letter}{power}"
    assert Decimal(_text(text.encode())) == Decimal(text)


def test_a_recording_is_its_lines() -> None:
    frame = book("snapshot", BIDS, ASKS, checksum(BIDS, ASKS))
    made = normaliser()
    records = np.concatenate(list(recorded([b"%d %s\n" % (NOW, frame), b"x"], made)))
    assert len(records) == 5 and rules(made) == {Rule.GARBAGE: 1}


@given(st.lists(st.dictionaries(st.integers(0, 29), st.integers(0, 3), max_size=6), max_size=25), st.data())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_records_make_the_venues_book(changes: list[dict[int, int]], data: st.DataObject) -> None:
    """A venue of ten levels a side; some messages are lost: the records' book is the venue's or there is none."""
    made, mine, truth = normaliser(), dict[tuple[int, int], int](), {Side.BUY: {}, Side.SELL: {}}
    for k, change in enumerate([{}, *changes]):
        said = {Side.BUY: {}, Side.SELL: {}}
        for place, qty in change.items():
            side = Side.BUY if place < 15 else Side.SELL
            said[side][f"{100 + place}.0"] = truth[side][f"{100 + place}.0"] = str(qty)
        for side, sign in ((Side.BUY, -1), (Side.SELL, 1)):
            kept = sorted((p for p, q in truth[side].items() if q != "0"), key=lambda p, s=sign: s * Decimal(p))[:10]
            truth[side] = {price: truth[side][price] for price in kept}
        is_snapshot = k == 0 or data.draw(st.integers(0, 5)) == 0
        bids, asks = (truth if is_snapshot else said)[Side.BUY], (truth if is_snapshot else said)[Side.SELL]
        frame = book("snapshot" if is_snapshot else "update", bids, asks, checksum(truth[Side.BUY], truth[Side.SELL]))
        if is_snapshot or data.draw(st.integers(0, 9)):
            made.on_frame(NOW, frame)
        else:
            continue
        for record in made.take():
            if record["kind"] == Kind.CLEAR:
                mine = {key: lots for key, lots in mine.items() if key[0] != record["side"]}
            else:
                mine[int(record["side"]), int(record["a"])] = int(record["b"])
        shown = {key: lots for key, lots in mine.items() if lots}
        whole = {
            (int(side), int(Decimal(price) * 10)): int(qty) * 10**8
            for side in truth
            for price, qty in truth[side].items()
        }
        assert shown == (whole if made.book_id >= 0 else {})


@needs(PAYLOADS)
def test_recorded_payloads_are_read_as_they_are() -> None:
    """Their books are shortened documentation, so their checksums are of another book: that must be said."""
    made = normaliser()
    for name in ("subscribe_response", "book_snapshot", "book_update", "trade_update", "ticker_snapshot", "pong"):
        made.on_frame(NOW, (PAYLOADS / f"ws_{name}.json").read_bytes())
    records = made.take()
    assert rows(records, "kind", "side", "a", "b", "c") == [
        (Kind.TRADE, Side.BUY, 1_059_442, 27_625, 10_218_208),
        (Kind.TRADE, Side.SELL, 1_059_105, 12_460, 10_218_209),
    ]
    assert records["ts_event"].tolist() == [1_696_613_755_440_295_000, 1_696_613_756_123_456_000]
    assert rules(made) == {Rule.CHECKSUM: 1, Rule.NO_SNAPSHOT: 1}
    assert made.findings.passed == {"answer": 2, "ticker": 1}


@needs(PAYLOADS)
def test_a_recorded_book_with_its_true_checksum_is_used() -> None:
    snapshot = json.loads((PAYLOADS / "ws_book_snapshot.json").read_bytes(), parse_float=str)["data"][0]
    sides = [{level["price"]: level["qty"] for level in snapshot[side]} for side in ("bids", "asks")]
    made = normaliser()
    made.on_frame(NOW, book("snapshot", *sides, checksum(*sides)))
    assert made.book_id == 1 and len(made.take()) == 8 and not made.findings.counts
