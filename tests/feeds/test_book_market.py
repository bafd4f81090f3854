"""The built-in market of order books: its bytes, the laws of a book, its day, its martingale and its signal."""

import hashlib
import math
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core import book as books
from core.cast import as_clear, as_level
from core.errors import BadConfig, BadInput
from core.jit import entry
from core.records import DAY_NS, HOUR_NS, MINUTE_NS, PPM, RECORD, Kind, MarketFlag, MarketStatus, Side
from feeds import book_kernel, book_market
from feeds.book_market import BUILTIN_BOOK
from feeds.book_settings import Flow, Period
from feeds.market import Market, from_yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "data/markets/builtin_book.yaml").read_text()
SEEDS = (1, 2, 3, 7)
IS_LEVEL, IS_TRADE, IS_CLEAR, IS_STATUS = (int(k) for k in (Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.STATUS))
BUY, LAST = int(Side.BUY), int(MarketFlag.LAST)
TRADING, HALT, AUCTION = (int(s) for s in (MarketStatus.TRADING, MarketStatus.HALT, MarketStatus.AUCTION))


def changed(**changes: object) -> Market:
    """The built-in market that trades from 7 to 9, with ``changes`` in its book section."""
    changes = {"sessions": (Period(name="day", start=7, end=9, rate_ppm=PPM),)} | changes
    return msgspec.structs.replace(BUILTIN_BOOK, book=msgspec.structs.replace(BUILTIN_BOOK.book, **changes))


def paced(messages_per_minute: int) -> dict[str, Flow]:
    """The built-in instruments, that much slower."""
    flows = BUILTIN_BOOK.book.flows
    return {
        symbol: msgspec.structs.replace(flow, messages_per_minute=messages_per_minute) for symbol, flow in flows.items()
    }


SHORT = changed()
EVENTFUL = changed(halt_chance_ppm=PPM, jump_chance_ppm=50_000)


def records_of(spec: Market = SHORT, **arguments: object) -> np.ndarray:
    return np.concatenate(list(book_market.market(spec, **({"days": 1, "seed": 7} | arguments))))


def digest(records: np.ndarray) -> str:
    return hashlib.sha256(records.tobytes()).hexdigest()


def own(records: np.ndarray, index: int) -> np.ndarray:
    return records[records["instrument"] == index]


# --- bytes


def test_the_market_in_code_is_the_one_in_the_file() -> None:
    assert from_yaml(TEXT, where="builtin_book.yaml") == BUILTIN_BOOK


def test_same_seed_same_bytes_in_another_process_and_without_the_compiler() -> None:
    program = (
        "import hashlib, sys, numpy as np; from feeds import book_market as m; from feeds.market import from_yaml;"
        "made = m.market(from_yaml(sys.stdin.read(), where='test'), days=2, seed=7);"
        "print(hashlib.sha256(np.concatenate(list(made)).tobytes()).hexdigest())"
    )
    spec = changed(flows=paced(4))
    here = digest(records_of(spec, days=2))
    for disable in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
            cwd=ROOT,
            env=os.environ | {"NUMBA_DISABLE_JIT": disable},
            input=msgspec.json.encode(spec).decode(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == here, f"NUMBA_DISABLE_JIT={disable}"


def test_bytes_are_the_ones_of_the_day_they_were_pinned() -> None:
    """Whoever changes the model changes every result that was made with it: say so in the changelog."""
    assert digest(records_of(EVENTFUL))[:16] == PINNED


PINNED = "4b73ecb3e1eea85e"


@pytest.mark.parametrize("chunk_rows", [book_kernel.ROOM, 999, 10**6])
def test_chunks_of_any_size_hold_the_same_bytes(chunk_rows: int) -> None:
    spec = changed(halt_chance_ppm=PPM, jump_chance_ppm=50_000, flows=paced(12))
    expected = records_of(spec, days=2)
    chunks = list(book_market.market(spec, days=2, seed=7, chunk_rows=chunk_rows))
    assert digest(np.concatenate(chunks)) == digest(expected)
    alone = list(book_market.instrument(spec, "ETH-USDT", days=2, seed=7, chunk_rows=chunk_rows))
    assert max(map(len, alone)) <= chunk_rows and all(
        chunk["flags"][-1] & LAST or chunk["kind"][-1] == IS_STATUS for chunk in alone
    )
    assert digest(np.concatenate(alone)) == digest(own(expected, 1))


def test_another_seed_or_strength_is_another_market_and_a_longer_one_begins_alike() -> None:
    assert len({digest(records_of(seed=seed)) for seed in (0, 1, 7, 2**63, 2**64 - 1)}) == 5
    assert digest(records_of(strength=0.0)) != digest(records_of())
    one, two = records_of(), records_of(days=2)
    assert np.array_equal(one, two[: len(one)]) and len(two) > len(one)


def test_selecting_an_instrument_does_not_change_it() -> None:
    alone = records_of(SHORT.select(("SOL-USDT",)))
    among = own(records_of(), 2).copy()
    among["instrument"] = 0
    assert np.array_equal(alone, among)


def test_memory_does_not_grow_with_days() -> None:
    def peak(days: int) -> int:
        tracemalloc.start()
        for _ in book_market.market(SHORT, days=days, seed=1, chunk_rows=4_096):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(6) < 1.2 * peak(1)


# --- the laws of a book


@entry
def first_broken(records: np.ndarray, held: np.ndarray, mids: np.ndarray, depth: int) -> int:
    """The first row that breaks a law, -1: none. ``mids``: bid + ask after each row, 0 without a book."""
    book, status, before = held[0], HALT, 0
    for row in range(len(records)):
        record = records[row]
        if record["ts_event"] < before:
            return row
        before = record["ts_event"]
        if record["kind"] == IS_STATUS:
            status = record["a"]
        elif status == HALT:
            return row
        elif record["kind"] == IS_LEVEL:
            level = as_level(record)
            is_bid, price, qty = level["side"] == BUY, level["price"], level["qty"]
            if price < 1 or qty < 0 or (qty == 0 and books.qty_at(book, is_bid, price) == 0):
                return row
            if qty > 0 and is_bid and 0 < book["ask"] <= price:
                return row
            if qty > 0 and not is_bid and price <= book["bid"]:
                return row
            books.set_level(book, is_bid, price, qty)
        elif record["kind"] == IS_TRADE and status == TRADING:
            is_buy = record["side"] == BUY
            best = book["ask"] if is_buy else book["bid"]
            if record["a"] != best or not 1 <= record["b"] <= books.qty_at(book, not is_buy, best):
                return row
        elif record["kind"] == IS_CLEAR:
            clear = as_clear(record)
            books.clear(book, clear["side"] == BUY, clear["price"])
        if status == TRADING and (record["kind"] == IS_STATUS or record["flags"] & LAST != 0):
            if book["n_bids"] != depth or book["n_asks"] != depth or book["bid"] < 1 or book["ask"] <= book["bid"]:
                return row
            for level in range(depth):
                if (
                    books.qty_at(book, True, book["bid"] - level) < 1
                    or books.qty_at(book, False, book["ask"] + level) < 1
                ):
                    return row
        mids[row] = book["bid"] + book["ask"] if book["bid"] > 0 and book["ask"] > 0 else 0
    return -1


def replayed(records: np.ndarray) -> np.ndarray:
    """bid + ask after each record of one instrument, in ticks; 0 without a book. Fails where a law is broken."""
    mids = np.zeros(len(records), np.int64)
    row = first_broken(records, books.new_books(1), mids, 10)
    assert row < 0, f"record {row}: {records[row]}"
    return mids


@pytest.mark.parametrize("strength", [0.0, 1.0, 4.0])
def test_every_record_obeys_the_laws_of_a_book(strength: float) -> None:
    records = records_of(EVENTFUL, days=4, strength=strength)
    assert records.dtype == RECORD and set(records["kind"]) == {IS_LEVEL, IS_TRADE, IS_CLEAR, IS_STATUS}
    assert (records["ts_known"] - records["ts_event"] == book_market.FEED_LATENCY_NS).all()
    assert (np.diff(records["ts_known"]) >= 0).all()
    assert not records["reason"].any() and not records["d"].any() and not records["e"].any()
    for index in range(3):
        mine = own(records, index)
        replayed(mine)
        trades, numbered = mine[mine["kind"] == IS_TRADE], mine[np.isin(mine["kind"], (IS_LEVEL, IS_CLEAR))]
        assert np.array_equal(trades["c"], np.arange(1, len(trades) + 1))
        ends = (numbered["flags"] & LAST) != 0
        assert (np.diff(numbered["c"])[ends[:-1]] > 0).all() and (np.diff(numbered["c"])[~ends[:-1]] == 0).all()


def test_a_broken_law_is_seen() -> None:
    records = own(records_of(), 0)
    for field, value in (("a", 2**20), ("b", -1), ("ts_event", 0)):
        broken = records.copy()
        row = len(broken) // 2 + int(np.argmax(broken["kind"][len(broken) // 2 :] == IS_LEVEL))
        broken[field][row] = value
        assert first_broken(broken, books.new_books(1), np.zeros(len(broken), np.int64), 10) >= row


# --- the day


def test_a_day_has_auctions_and_a_halt_and_its_statuses_say_until_when() -> None:
    for index in range(3):
        mine = own(records_of(EVENTFUL, days=5), index)
        told = mine[mine["kind"] == IS_STATUS]
        assert told["a"].tolist() == [HALT, AUCTION, TRADING, HALT, AUCTION, TRADING, AUCTION, HALT] * 5
        timed = told["b"] > 0
        midnight = told["ts_event"] % DAY_NS == 0
        follows = np.append(told["ts_event"][1:], 0)
        assert np.array_equal(timed, told["a"] != TRADING)
        closing = np.append(midnight[1:], True)  # until the next auction: midnight says it again
        assert np.array_equal(told["b"][timed & ~closing], follows[timed & ~closing])
        assert (told["b"][closing] % DAY_NS == 7 * HOUR_NS - 5 * MINUTE_NS).all()
        length = (follows - told["ts_event"])[told["a"] == AUCTION]
        assert (length == 5 * MINUTE_NS).all()
        halts = told[3::8]["b"] - told[3::8]["ts_event"]
        assert (halts >= 5 * MINUTE_NS).all() and (halts <= 30 * MINUTE_NS).all()
        prints = mine[np.flatnonzero(mine["kind"] == IS_TRADE)]
        assert sum(prints["b"] == 8 * SHORT.book.flows[SHORT.listings[index].symbol].level_lots) >= 3 * 5


def test_halts_come_as_often_as_stated_and_at_any_time() -> None:
    days = [book_market.phases(BUILTIN_BOOK.book, "BTC-USDT", 7, day) for day in range(3_000)]
    halted = [plan["start_ns"][3] % DAY_NS / HOUR_NS for plan in days if len(plan) == 8]
    assert 0.08 < len(halted) / len(days) < 0.12
    assert min(halted) < 7.5 and max(halted) > 19.5 and np.mean(halted) == pytest.approx(13.8, abs=0.8)
    assert all((np.diff(plan["start_ns"]) > 0).all() for plan in days)


def test_an_auction_s_gap_is_fair_and_bounded() -> None:
    gaps = []
    for index in range(3):
        mine = own(records_of(EVENTFUL, days=12), index)
        mids = replayed(mine)
        opened = np.flatnonzero((mine["kind"] == IS_STATUS) & (mine["a"] == TRADING))
        reopened = opened[(mine["ts_event"][opened] % DAY_NS) > 7 * HOUR_NS]  # after a halt: one auction, not two
        last = [int(np.flatnonzero(mids[: row - 21])[-1]) for row in reopened]
        gaps += ((mids[reopened] - mids[last]) / 2).tolist()
    assert np.abs(gaps).max() <= 20 and np.abs(gaps).mean() > 5 and len(gaps) == 36
    assert 9 <= np.sum(np.array(gaps) > 0) <= 27


def news(records: np.ndarray) -> np.ndarray:
    """Rows of the first CLEAR of each message that replaces the book while trading goes on."""
    status = np.zeros(len(records), np.int64)
    at = np.flatnonzero(records["kind"] == IS_STATUS)
    status[at] = np.diff(np.concatenate([[0], records["a"][at]]))
    first = (records["kind"] == IS_CLEAR) & (records["side"] == BUY)
    return np.flatnonzero(first & (np.cumsum(status) == TRADING))


def test_news_moves_the_book_in_one_message_and_brings_a_burst() -> None:
    mine = own(records_of(EVENTFUL, days=8), 0)
    mids, rows = replayed(mine), news(mine)
    assert 0.03 < len(rows) / (8 * 100) < 0.07  # stated: 5 % of trading minutes
    after = rows + 2 + 2 * 10 - 1
    assert (mine["flags"][after] & LAST != 0).all() and (mine["ts_event"][after] == mine["ts_event"][rows]).all()
    ticks = (mids[after] - mids[rows - 1]) / 2
    assert (np.abs(ticks) >= 10).all() and (np.abs(ticks) <= 40).all() and (ticks > 0).any() and (ticks < 0).any()
    time = mine["ts_event"]
    near = [np.searchsorted(time, time[row] + sign * 2_000_000_000) - row for row in rows for sign in (1, -1)]
    assert np.sum(near[::2]) > 1.5 * -np.sum(near[1::2])


def test_arrivals_cluster_and_follow_the_hours_and_regimes() -> None:
    def counts(spec: Market) -> np.ndarray:
        mine = own(records_of(spec), 0)
        ends = mine["ts_event"][(mine["flags"] & LAST) != 0]
        return np.bincount((ends - (7 * HOUR_NS + ends[0] // DAY_NS * DAY_NS)).clip(0) // 1_000_000_000)[60:6_000]

    still = {"regimes": (msgspec.structs.replace(BUILTIN_BOOK.book.regimes[1], next_ppm=(PPM,)),), "jump_chance_ppm": 0}
    poisson, clustered = counts(changed(branching_ppm=0, **still)), counts(changed(**still))
    assert poisson.mean() == pytest.approx(4.0, rel=0.03) and poisson.var() / poisson.mean() == pytest.approx(
        1, abs=0.1
    )
    assert clustered.mean() == pytest.approx(10.0, rel=0.1) and clustered.var() / clustered.mean() > 2.0
    whole = own(records_of(BUILTIN_BOOK, days=2), 0)
    hour = whole["ts_event"] // HOUR_NS % 24
    assert set(hour) <= {0, 6, *range(7, 22)}
    assert np.isin(hour, (7, 8)).sum() / 2 > 1.4 * np.isin(hour, range(17, 21)).sum() / 4
    minutes = np.bincount((whole["ts_event"] // MINUTE_NS) % 1440)[9 * 60 : 13 * 60]
    assert np.corrcoef(minutes[1:], minutes[:-1])[0, 1] > 0.3  # regimes outlast a minute


# --- the martingale at strength 0, and the signal


def changes(strength: float, seed: int, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """By message that changes the mid in trading: the mean sign of the trades before it, the change in half ticks.

    The mean is made here, in plain floats, from TRADE records alone.
    """
    mine = own(records_of(days=3, seed=seed, strength=strength), index)
    mids, flow, value = replayed(mine), np.zeros(len(mine)), 0.0
    for row in np.flatnonzero(mine["kind"] == IS_TRADE).tolist():
        value += ((1.0 if mine["side"][row] == BUY else -1.0) - value) / 32
        flow[row] = value
    rows = np.where(mine["kind"] == IS_TRADE, np.arange(len(mine)), 0)
    flow = flow[np.maximum.accumulate(rows)]
    whole = np.flatnonzero(((mine["flags"] & LAST) != 0) & (mids > 0))
    moved = np.diff(mids[whole])
    far = np.abs(moved) > 2 * book_kernel.MOVE_TICKS_MAX
    return flow[whole[:-1]][(moved != 0) & ~far], moved[(moved != 0) & ~far]


def z_of(flow: np.ndarray, moved: np.ndarray) -> float:
    product = flow * moved
    return float(product.sum() / math.sqrt((product * product).sum()))


@pytest.mark.parametrize("seed", SEEDS)
def test_signed_flow_predicts_nothing_at_strength_zero_and_the_next_change_at_one(seed: int) -> None:
    for index in range(3):
        assert abs(z_of(*changes(0.0, seed, index))) < 4
        assert z_of(*changes(1.0, seed, index)) > 8  # stated in the docs: above 8 within 6 hours of trading
        assert z_of(*changes(0.5, seed, index)) > 4


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_known_predicts_the_mid_at_strength_zero(seed: int) -> None:
    mine = own(records_of(days=4, seed=seed, strength=0.0), 0)
    mids = replayed(mine)
    whole = np.flatnonzero(((mine["flags"] & LAST) != 0) & (mids > 0))
    target, past = np.diff(mids[whole])[1:], whole[1:-1]
    levels = mine["kind"][past] == IS_LEVEL
    known = {
        "mean": np.ones(len(target)),
        "last change": np.sign(np.diff(mids[whole])[:-1]),
        "last side": np.where(levels, np.where(mine["side"][past] == BUY, 1.0, -1.0), 0.0),
        "lots": np.log1p(mine["b"][past]) * np.where(mine["side"][past] == BUY, 1.0, -1.0),
        "hour": np.sin(mine["ts_event"][past] / DAY_NS * 2 * np.pi),
        "wait": np.minimum(np.diff(mine["ts_event"][whole])[:-1] / 1e9, 5.0),
    }
    for name, column in known.items():
        assert abs(z_of(column, target)) < 4.5, name


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 4.0])
def test_foresight_is_the_conditional_mean_of_the_next_direction(strength: float) -> None:
    found, leans = [], []
    for seed in SEEDS:
        records = records_of(days=2, seed=seed, strength=strength)
        lean = book_market.foresight(SHORT, records, strength=strength)
        for index in range(3):
            mine, own_lean = own(records, index), lean[records["instrument"] == index]
            mids = replayed(mine)
            whole = np.flatnonzero(((mine["flags"] & LAST) != 0) & (mids > 0))
            moved = np.diff(mids[whole])
            used = (moved != 0) & (np.abs(moved) <= 6)
            found.append(np.sign(moved[used]))
            leans.append(own_lean[whole[:-1]][used])
    direction, lean = np.concatenate(found), np.concatenate(leans)
    if strength == 0:
        assert not lean.any() and abs(direction.mean()) * math.sqrt(len(direction)) < 4
        return
    assert np.abs(lean).max() <= 0.9
    left = direction - lean
    assert abs((left * lean).sum()) < 4 * math.sqrt(((left * lean) ** 2).sum())
    assert (direction * lean).sum() / (lean * lean).sum() == pytest.approx(1.0, abs=0.08)


def test_foresight_follows_the_stated_formula() -> None:
    records = records_of(SHORT.select(("ETH-USDT",)))[:20_000]
    flow, expected = 0.0, []
    for kind, side in zip(records["kind"].tolist(), records["side"].tolist(), strict=True):
        if kind == IS_TRADE:
            flow += ((1.0 if side == BUY else -1.0) - flow) / 32
        expected.append(max(-0.9, min(0.9, 2.0 * flow)))
    assert np.abs(book_market.foresight(SHORT.select(("ETH-USDT",)), records, strength=2.0) - expected).max() < 1e-4


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"days": 0}, "days is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"strength": 5.0}, "strength is 5"),
        ({"start": "tomorrow"}, "tomorrow"),
        ({"chunk_rows": 3}, "chunk_rows is 3"),
    ],
)
def test_arguments_out_of_bounds_are_named(arguments: dict, word: str) -> None:
    with pytest.raises(BadConfig, match=word):
        records_of(**arguments)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("end: 21,", "end: 24,", "follow one another"),
        ("start: 9,", "start: 10,", "follow one another"),
        ("depth_levels: 10", "depth_levels: 4", "depth_levels"),
        ("halt_minutes_max: 30", "halt_minutes_max: 900", "two auctions need"),
        ("[990000, 10000, 0]", "[990000, 10001, 0]", "calm"),
        ("move_ppm: 120000", "move_ppm: 920000", "storm: move_ppm"),
        ("branching_ppm: 600000", "branching_ppm: 1000000", "branching_ppm"),
        ("SOL-USDT: {", "XRP-USDT: {", "book.flows and listings differ"),
        ("level_lots: 2000,", "level_lots: 1,", "BTC-USDT.level_lots"),
        ("jump_ticks_min: 10", "jump_ticks_min: 50", "jump_ticks_min"),
    ],
)
def test_mistakes_in_the_file_are_named(old: str, new: str, word: str) -> None:
    assert old in TEXT
    with pytest.raises(BadConfig, match=word):
        from_yaml(TEXT.replace(old, new), where="builtin_book.yaml")


def test_a_market_without_a_book_and_a_price_near_its_tick_are_refused() -> None:
    with pytest.raises(BadConfig, match="no book section"):
        records_of(msgspec.structs.replace(BUILTIN_BOOK, book=None))
    with pytest.raises(BadConfig, match="symbol 'X' is unknown"):
        next(book_market.instrument(SHORT, "X", days=1, seed=1))
    with pytest.raises(BadInput, match=r"SOL-USDT.*range of 100"):
        list(book_market.market(from_yaml(TEXT.replace('price: "150"', 'price: "1.2"'), where="test"), days=3, seed=1))
