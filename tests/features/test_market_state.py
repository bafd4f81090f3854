"""The book kernel against a plain reference, and the laws of MarketState."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadConfig, BadInput
from core.records import DAY_NS, HOUR_NS, RECORD, Kind, MarketFlag, MarketStatus, Side
from features import book
from features import market_state as m
from features.market_state import EXTRA, MARKET_STATE, BookSpec, Liquidity, Session
from tests.core.odd_tapes import odd_tape
from tests.features.market_state_reference import reference

SPEC = BookSpec("binance", "crypto_spot", has_depth=True)
FX = BookSpec("spot_agg", "fx_spot", has_depth=False)
SECOND = 1_000_000_000
NOON = 1_700_006_400 * SECOND - 1_700_006_400 * SECOND % DAY_NS + 12 * HOUR_NS


def play(records: np.ndarray, specs=(SPEC,), cuts=()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(MarketStates, extras, ready) of ``records`` handed over in pieces that end at ``cuts``."""
    state, held = book.new_state(specs)
    parts = []
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        n = end - start
        out, extra, ready = np.zeros(n, MARKET_STATE), np.zeros(n, EXTRA), np.zeros(n, bool)
        made = book.batch(state, held, records[start:end], start, out, extra, ready)
        parts.append((out[:made], extra[:made], ready[:made]))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def same(one, other) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def rows(*made: tuple) -> np.ndarray:
    """(kind, side, a, b, ms since NOON) as records, each a message of its own unless a sixth value says 0."""
    records = np.zeros(len(made), RECORD)
    for record, (kind, side, a, b, ms, *last) in zip(records, made, strict=True):
        record["kind"], record["side"], record["a"], record["b"] = kind, side, a, b
        record["ts_event"] = record["ts_known"] = NOON + int(ms * 1_000_000)
        record["flags"] = MarketFlag.LAST if not last or last[0] else 0
    return records


def market(seed: int, n: int, step_ns: int = 150_000_000) -> np.ndarray:
    """A market that moves: levels and trades around a walking price, most messages of a few rows."""
    rng = np.random.default_rng(seed)
    records = np.zeros(n, RECORD)
    middle = 5_000 + np.cumsum(rng.integers(-2, 3, n))
    side, away = rng.integers(1, 3, n), rng.geometric(0.1, n)
    is_trade = rng.random(n) < 0.2
    records["side"], records["kind"] = side, np.where(is_trade, Kind.TRADE, Kind.LEVEL)
    records["a"] = middle + np.where(side == Side.BUY, -away, away) * np.where(is_trade, -1, 1)
    records["b"] = rng.integers(0, 9, n) + is_trade
    last = rng.random(n) < 0.4
    last[-1:] = True
    records["flags"] = last * int(MarketFlag.LAST)
    step = np.cumsum(np.concatenate([[0], last[:-1]]))  # one time per message
    records["ts_event"] = NOON + np.cumsum(rng.integers(0, 2 * step_ns, n))[step]
    records["ts_known"] = records["ts_event"] + 1_000_000
    return records


def test_the_contract_s_seventeen_fields() -> None:
    """Requirements B.1, verbatim and in order."""
    names = (
        "spread_ticks microprice_off ofi_norm qimbalance refresh_hz stale_ms slope_bid slope_ask curve_bid curve_ask"
    )
    assert MARKET_STATE.names == (*names.split(), "depth_feat", "has_depth", "session_id", "liquidity_id", "venue_id",
                                  "ts", "seq")  # fmt: skip
    assert 8 <= MARKET_STATE["depth_feat"].shape[0] <= 16
    for dtype, size in ((MARKET_STATE, 128), (EXTRA, 32)):
        assert dtype.itemsize == size == sum(dtype[name].itemsize for name in dtype.names)


def check_against_reference(records: np.ndarray) -> int:
    """Compare every event; how many had a price."""
    states, extras, ready = play(records)
    expected = reference(records)
    assert len(states) == len(expected)
    priced = 0
    for state, extra, is_ready, truth in zip(states, extras, ready, expected, strict=True):
        assert is_ready == (truth.pop("events") >= m.WARMUP_EVENTS)
        if not truth:
            assert state["spread_ticks"] == 0 and not state["depth_feat"].any() and state["slope_bid"] == 0
            continue
        priced += 1
        for name, value in truth.items():
            if name.startswith("depth_"):
                got = state["depth_feat"][int(name[6:])]
            else:
                got = state[name] if name in MARKET_STATE.names else extra[name]
            assert got == pytest.approx(value, rel=2e-5, abs=2e-5), f"{name} at {state['seq']}"
    return priced


@pytest.mark.parametrize("seed", range(4))
def test_every_field_equals_the_plain_reference(seed: int) -> None:
    assert check_against_reference(market(seed, 900)) > 200


def test_odd_tapes_equal_the_plain_reference() -> None:
    """Empty and one-sided books, far jumps, bursts, clears, levels beyond the other side."""
    assert sum(check_against_reference(odd_tape(seed).records) for seed in range(60)) > 1_000


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 400), max_size=6))
def test_batch_is_stream_however_it_is_cut(seed: int, cuts: list[int]) -> None:
    records = market(seed, 400)
    whole = play(records)
    assert same(play(records, cuts=sorted(cuts)), whole)
    state, held = book.new_state([SPEC])
    out, extra, at = np.zeros(1, MARKET_STATE), np.zeros(1, EXTRA), 0
    for seq in range(len(records)):
        if book.update(state, held, records[seq : seq + 1], seq, out, extra):
            assert out.tobytes() == whole[0][at : at + 1].tobytes()
            assert extra.tobytes() == whole[1][at : at + 1].tobytes()
            assert book.is_ready(state[0]) == whole[2][at]
            at += 1
    assert at == len(whole[0])


def test_instruments_do_not_touch_one_another() -> None:
    one, other = market(1, 600), market(2, 600)
    other["instrument"] = 1
    both = np.concatenate([one, other])
    both = both[np.argsort(both["ts_known"], kind="stable")]
    states, extras, _ = play(both, (SPEC, SPEC))
    places = both["instrument"][states["seq"]]
    other["instrument"] = 0
    for index, alone in ((0, one), (1, other)):
        expected, extra, _ = play(alone)
        got = states[places == index].copy()
        got["seq"] = expected["seq"]
        assert same((got, extras[places == index]), (expected, extra))


def test_nothing_depends_on_the_future_at_a_thousand_times() -> None:
    """Requirements FEAT-14, FEAT-23: whatever comes after a row, its fields stay."""
    records, rng = market(7, 1_200), np.random.default_rng(7)
    truth, extras, _ = play(records)
    for cut in rng.integers(0, len(records), 1_000):
        other = records.copy()
        tail = other[cut:]
        tail["a"], tail["b"] = rng.integers(1, 9_000, len(tail)), rng.integers(1, 10**6, len(tail))
        tail["side"] = rng.integers(1, 3, len(tail))
        tail["ts_known"] += np.cumsum(rng.integers(0, SECOND, len(tail)))
        known = truth["seq"] < cut
        states, extra, _ = play(other)
        assert same((states[: known.sum()], extra[: known.sum()]), (truth[known], extras[known]))


def test_sides_mirrored_mirror_every_field() -> None:
    """Bids for asks at mirrored prices: signs turn, halves change places, nothing else moves."""
    records = market(11, 1_500)
    turned = records.copy()
    turned["a"], turned["side"] = 10_001 - records["a"], 3 - records["side"]
    (states, extras, _), (others, other_extras, _) = play(records), play(turned)
    for name in ("spread_ticks", "refresh_hz", "stale_ms", "ts", "seq", "session_id", "liquidity_id"):
        assert np.array_equal(states[name], others[name]), name
    for name in ("microprice_off", "ofi_norm", "qimbalance"):
        assert np.allclose(states[name], -others[name], atol=1e-5), name
    assert np.allclose(extras["trade_imbalance"], -other_extras["trade_imbalance"], atol=1e-6)
    for one, other in (("slope_bid", "slope_ask"), ("curve_bid", "curve_ask")):
        assert np.array_equal(states[one], others[other]) and np.array_equal(states[other], others[one])
    assert np.array_equal(np.roll(states["depth_feat"], m.POOLS, 1), others["depth_feat"])
    assert np.array_equal(extras["sigma"], other_extras["sigma"])


def test_a_trade_s_lots_count_once() -> None:
    """Told by the trade, shown by the next update of the book: it is one flow of 4 lots, not of 8."""
    opening = [(Kind.LEVEL, 1, 99, 10, 0, 0), (Kind.LEVEL, 2, 101, 10, 0)]
    _, extras, _ = play(rows(*opening))
    states, _, _ = play(rows(*opening, (Kind.TRADE, 1, 101, 4, 1), (Kind.LEVEL, 2, 101, 6, 2)))
    assert states["ofi_norm"][-2] == 1.0
    flows = [0, 4, 0]
    assert states["ofi_norm"][-1] == pytest.approx(np.mean(flows) / np.mean(np.abs(flows)))
    states, _, _ = play(rows(*opening, (Kind.LEVEL, 2, 101, 6, 1), (Kind.LEVEL, 1, 99, 4, 2)))  # cancelled, not traded
    assert states["ofi_norm"][-2] == 1.0 and states["ofi_norm"][-1] == pytest.approx((4 - 6) / (4 + 6))
    assert extras["wide"][-1] == 1.0


def test_imbalances_are_finite_without_a_trade_and_with_trades_of_one_side() -> None:
    opening = [(Kind.LEVEL, 1, 99, 10, 0, 0), (Kind.LEVEL, 2, 100, 10, 0)]
    _, extras, _ = play(rows(*opening, *[(Kind.TRADE, 1, 100, 4, ms) for ms in range(1, 9)]))
    assert extras["trade_imbalance"][0] == 0 and (extras["trade_imbalance"][1:] == 1).all()
    assert extras["wide"][-1] == 0


def test_staleness_and_refresh_rate_of_a_steady_book() -> None:
    """Ten updates a second behind the touch: the rate is ten, and the touch grows stale up to the limit."""
    opening = [(Kind.LEVEL, 1, 99, 10, 0, 0), (Kind.LEVEL, 2, 100, 10, 0)]
    states, _, _ = play(rows(*opening, *[(Kind.LEVEL, 1, 90, k % 7, 100 * k) for k in range(1, 900)]))
    assert states["refresh_hz"][-1] == pytest.approx(1 / (1 - math.exp(-0.1)), rel=1e-3)
    assert states["stale_ms"][1:] == pytest.approx(np.minimum(100.0 * np.arange(1, 900), m.STALE_MS_MAX))


def quotes(bids: list[int], asks: list[int], lots: int = 0) -> np.ndarray:
    records = np.zeros(len(bids), RECORD)
    records["kind"], records["flags"] = Kind.TOP, MarketFlag.LAST
    records["a"], records["c"], records["b"], records["d"] = bids, asks, lots, lots
    records["ts_known"] = records["ts_event"] = NOON + SECOND * np.arange(len(bids))
    return records


@given(st.lists(st.integers(0, 10**6), min_size=30, max_size=30))
def test_without_depth_sizes_never_matter_and_depth_is_zero(lots: list[int]) -> None:
    """Requirements FEAT-13: spot FX. Crossed and locked quotes stay what they are."""
    rng = np.random.default_rng(0)
    bids = 13_500 + np.cumsum(rng.integers(-2, 3, 30))
    asks = bids + rng.integers(-1, 4, 30)
    plain, sized = quotes(bids, asks), quotes(bids, asks)
    sized["b"], sized["d"] = lots, lots[::-1]
    (states, extras, _), (others, _, _) = play(plain, (FX,)), play(sized, (FX,))
    for name in ("depth_feat", "slope_bid", "slope_ask", "curve_bid", "curve_ask", "qimbalance", "microprice_off",
                 "has_depth"):  # fmt: skip
        assert not states[name].any() and not others[name].any(), name
    assert np.array_equal(states["spread_ticks"], asks - bids) and np.array_equal(extras["mid2"], asks + bids)
    assert not extras["queue_bid"].any()


def test_trades_between_quotes_keep_the_quote() -> None:
    records = quotes([99, 0, 99], [101, 0, 102])
    records["kind"][1], records["side"][1], records["a"][1], records["b"][1] = Kind.TRADE, Side.BUY, 101, 7
    states, extras, _ = play(records, (FX,))
    assert states["spread_ticks"].tolist() == [2, 2, 3] and extras["mid2"].tolist() == [200, 200, 201]
    assert extras["trade_imbalance"].tolist() == [0, 1, 1] and states["ofi_norm"][1] == 1


def test_an_instrument_with_depth_passes_over_quotes() -> None:
    assert len(play(quotes([99], [101]))[0]) == 0


def test_sigma_of_normal_changes_is_theirs() -> None:
    """Requirements FEAT-18: both estimates within 2 % of the truth, on average over a long tape."""
    rng = np.random.default_rng(5)
    middle = 500_000_000 + np.cumsum(np.round(rng.normal(0, 1_000, 40_000))).astype(int)
    _, extras, ready = play(quotes(middle - 1, middle + 1), (FX,))
    for name in ("sigma", "sigma_mad"):
        assert extras[name][ready].mean() == pytest.approx(1_000, rel=0.02), name


def test_a_pause_of_an_hour_begins_anew_and_a_shorter_one_does_not() -> None:
    for pause_ns, is_kept in ((m.RESTART_GAP_NS, True), (m.RESTART_GAP_NS + 1, False)):
        records = market(3, 3_000, step_ns=1_000_000)
        records["ts_known"][2_500:] += pause_ns - (records["ts_known"][2_500] - records["ts_known"][2_499])
        _, extras, ready = play(records)
        first = np.searchsorted(play(records)[0]["seq"], 2_500)
        assert ready[first - 1] and ready[first] == is_kept
        assert (extras["sigma"][first] > 0) == is_kept


def test_a_book_without_a_side_has_no_price_and_warms_up_again() -> None:
    records = market(3, 3_000)
    gone = rows((Kind.CLEAR, 1, 0, 0, 0, 0), (Kind.CLEAR, 2, 0, 0, 0))
    gone["ts_known"] = gone["ts_event"] = records["ts_known"][2_000]
    states, _, ready = play(np.concatenate([records[:2_000], gone, records[2_000:]]))
    at = int(np.flatnonzero(states["seq"] == 2_001)[0])
    assert ready[at - 1] and not ready[at : at + m.WARMUP_EVENTS].any()
    assert states["spread_ticks"][at] == 0 and states["ts"][at] == records["ts_known"][2_000]


def test_what_the_venue_says_goes_before_the_clock() -> None:
    """Requirements FEAT-02: auctions before and after the day's first trade, halts with and without an end."""

    def session_at(*before: tuple, ms: int = 0) -> int:
        opening = [(Kind.LEVEL, 1, 99, 10, ms, 0), (Kind.LEVEL, 2, 100, 10, ms)]
        return int(play(rows(*before, *opening))[0]["session_id"][-1])

    status, auction, halt = Kind.STATUS, MarketStatus.AUCTION, MarketStatus.HALT
    assert session_at() == Session.LONDON  # noon in November, before New York opens
    assert session_at(ms=3_600_000) == Session.NEW_YORK
    assert session_at(ms=11 * 3_600_000) == Session.CLOSED
    assert session_at(ms=13 * 3_600_000) == Session.ASIA
    assert session_at((status, 0, auction, 0, -2)) == Session.AUCTION_OPEN
    assert session_at((Kind.TRADE, 1, 99, 1, -3), (status, 0, auction, 0, -2)) == Session.AUCTION_CLOSE
    assert session_at((Kind.TRADE, 1, 99, 1, -86_400_000), (status, 0, auction, 0, -2)) == Session.AUCTION_OPEN
    assert session_at((status, 0, halt, 0, -2)) == Session.HALT
    assert session_at((status, 0, halt, NOON - 1, -2)) == Session.LONDON
    assert session_at((status, 0, halt, NOON + 1, -2)) == Session.HALT
    assert session_at((status, 0, MarketStatus.CANCEL_ONLY, 0, -2)) == Session.HALT
    assert session_at((status, 0, halt, 0, -2), (status, 0, MarketStatus.TRADING, 0, -1)) == Session.LONDON


def days(lots: list[int]) -> np.ndarray:
    """One book a day with that many lots at the touch."""
    made = [
        row
        for day, n in enumerate(lots)
        for row in ((Kind.LEVEL, 1, 99, n, day * 86_400_000, 0), (Kind.LEVEL, 2, 100, n, day * 86_400_000))
    ]
    return rows(*made)


def test_liquidity_is_yesterday_s_among_the_days_before_today() -> None:
    """Requirements FEAT-17."""
    states, _, _ = play(days([10, 20, 40, 80, 5, 30, 1]))
    low, mid, high = Liquidity.LOW, Liquidity.MID, Liquidity.HIGH
    assert states["liquidity_id"].tolist() == [mid, mid, mid, high, high, low, mid]


@given(st.lists(st.integers(1, 1_000), min_size=4, max_size=12), st.integers(1, 1_000))
def test_today_changes_nothing_of_today_s_bucket(lots: list[int], other: int) -> None:
    truth = play(days(lots))[0]["liquidity_id"]
    assert np.array_equal(play(days([*lots[:-1], other]))[0]["liquidity_id"], truth)


def test_liquidity_keeps_as_many_days_as_it_says() -> None:
    """Of 64 thin days and 30 others two thirds are thinner; of the last 64 days fewer are."""
    lots = [1] * m.DAYS_KEPT + [10] * 31
    assert play(days(lots))[0]["liquidity_id"][-1] == Liquidity.MID
    assert play(days(lots[31:]))[0]["liquidity_id"][-1] == Liquidity.MID
    assert play(days(lots[:-3]))[0]["liquidity_id"][m.DAYS_KEPT + 1] == Liquidity.HIGH


def test_refusals() -> None:
    with pytest.raises(BadConfig, match="venue is 'nowhere', which has no token; there is none, nasdaq"):
        BookSpec("nowhere", "equity", has_depth=True)
    with pytest.raises(BadConfig, match="asset_class is 'art'"):
        BookSpec("nasdaq", "art", has_depth=True)
    late = rows((Kind.LEVEL, 1, 99, 1, 5), (Kind.LEVEL, 1, 98, 1, 4))
    with pytest.raises(BadInput, match="sort the tape by ts_known"):
        play(late)
    foreign = rows((Kind.LEVEL, 1, 99, 1, 5))
    foreign["instrument"] = 1
    with pytest.raises(BadInput, match="instrument index"):
        play(foreign)


def test_tokens_are_frozen() -> None:
    """A model has learned them: a number may be added, none may change (requirements FEAT-16)."""
    assert m.VENUES == {
        "none": 0, "nasdaq": 1, "globex": 2, "spot_agg": 3, "binance": 4, "kraken": 5, "coinbase": 6, "builtin": 7,
    }  # fmt: skip
    assert m.ASSET_CLASSES == {"equity": 0, "fx_fut": 1, "fx_spot": 2, "crypto_spot": 3, "crypto_perp": 4}
    assert SPEC.hash != FX.hash and SPEC.hash == BookSpec("binance", "crypto_spot", has_depth=True).hash


def test_the_same_without_a_compiler() -> None:
    """Within the last digits of float32: the compiler's logarithms are not Python's."""
    program = (
        "import sys, numpy as np; from tests.features.test_market_state import market, play;"
        "states, extras, _ = play(market(5, 700)); sys.stdout.buffer.write(states.tobytes() + extras.tobytes())"
    )
    outputs = []
    for jit in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": jit}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
        n = len(done.stdout) // 160
        outputs.append((np.frombuffer(done.stdout, MARKET_STATE, n), np.frombuffer(done.stdout, EXTRA, n, 128 * n)))
    (compiled, compiled_extras), (plain, plain_extras) = outputs
    for one, other in ((compiled, plain), (compiled_extras, plain_extras)):
        for name in one.dtype.names:
            assert np.allclose(one[name], other[name], rtol=1e-6, atol=1e-6), name
