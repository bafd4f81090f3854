"""Built-in strategies against slow references, and which strategy trades what with which settings."""

from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import config, engine, strategies
from core.errors import BadConfig
from core.layout import MEMORY, PARAMS, PROPOSAL, VIEW, zeros
from core.records import Action, Kind, OrderState, Reason, Side
from core.settings import Assigned, Strategy, Trading, parse
from core.strategies.mean_revert import WINDOW_MAX
from tests.core.book_desk import COIN, MS, BookDesk, on_books
from tests.core.build import BTC, ETH, Desk, bars, only, predict, trading

NAMES = {getattr(strategies, name): name for name in ("NO_OPINION", "HOLD", "LONG", "FLAT", "SHORT", "QUOTE")}


class Alone:
    """A strategy called by hand."""

    def __init__(self, function: Any, **params: int) -> None:
        self.function = function
        self.params, self.memory, self.view, self.proposal = (
            zeros(1, dtype)[0] for dtype in (PARAMS, MEMORY, VIEW, PROPOSAL)
        )
        for name, value in params.items():
            self.params[name] = value

    def on_bar(self, bar: np.void, lots: int = 0) -> str:
        self.view["event"], self.view["lots"], self.view["bar"] = Kind.BAR, lots, bar
        return NAMES[self.function(self.params, self.memory, self.view, self.proposal)]

    def on_timer(self, bid: int, ask: int, lots: int = 0) -> str:
        self.view["event"], self.view["lots"], self.view["bid"], self.view["ask"] = Kind.TIMER, lots, bid, ask
        return NAMES[self.function(self.params, self.memory, self.view, self.proposal)]


def expected_fade(moved: Fraction, spread: Fraction, lots: int) -> str:
    if spread > 0 and moved <= -spread:
        return "LONG"
    if spread > 0 and moved >= spread:
        return "SHORT"
    return "FLAT" if (lots > 0 and moved >= 0) or (lots < 0 and moved <= 0) else "HOLD"


@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(100, 140), st.integers(1, 6), st.integers(-1, 1)), min_size=12, max_size=40),
)
def test_mean_revert_on_books_fades_one_spread(window: int, seen: list[tuple[int, int, int]]) -> None:
    alone, mids = Alone(strategies.mean_revert, fast=window), []
    for bid, spread, lots in seen:
        want = alone.on_timer(bid, bid + spread, lots)
        mid = bid + Fraction(spread, 2)
        if len(mids) < window:
            assert want == "NO_OPINION"
        else:
            mean = sum(mids[-window:], Fraction(0)) / window
            assert want == expected_fade(mid - mean, Fraction(spread), lots)
        mids.append(mid)


@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(100, 140), st.integers(0, 6), st.integers(-1, 1)), min_size=12, max_size=40),
)
def test_mean_revert_on_bars_takes_the_mean_range_for_the_spread(window: int, seen: list[tuple[int, int, int]]) -> None:
    alone, tape = Alone(strategies.mean_revert, fast=window), bars([close for close, _, _ in seen])
    tape["high"] = [close + spread for close, spread, _ in seen]
    tape["low"] = tape["close"]
    for k, (close, _, lots) in enumerate(seen):
        want = alone.on_bar(tape[k], lots)
        if k < window:
            assert want == "NO_OPINION"
            continue
        before = seen[k - window : k]
        mean, spread = (Fraction(sum(item[field] for item in before), window) for field in (0, 1))
        assert want == expected_fade(close - mean, spread, lots)


def test_mean_revert_says_nothing_about_a_book_without_a_market() -> None:
    alone = Alone(strategies.mean_revert, fast=1)
    assert [alone.on_timer(*touch) for touch in ((0, 10), (10, 10), (11, 10), (8, 10), (4, 6))] == [
        *["NO_OPINION"] * 4,
        "LONG",
    ]


@pytest.mark.parametrize(
    ("held", "skew", "quotes"),
    [
        (0, 700, (1000, 1, 1004, 1)),
        (2, 0, (1000, 1, 1004, 1)),
        (1, 700, (1000, 1, 1004, 1)),  # 0.7 ticks are none
        (2, 700, (999, 1, 1003, 1)),
        (3, 700, (998, 0, 1002, 1)),  # 2.1 ticks; one more would be more than the cap
        (-2, 700, (1001, 1, 1005, 1)),
        (-3, 700, (1002, 1, 1006, 0)),
        (3, 5000, (985, 0, 1001, 1)),  # no nearer than a tick from the other side's best
        (-3, 5000, (1003, 1, 1019, 0)),
        (3, 400_000, (-200, 0, 1001, 1)),  # below any price: no bid
    ],
)
def test_quotes_lean_against_what_is_held(held: int, skew: int, quotes: tuple[int, ...]) -> None:
    alone = Alone(strategies.mm1, order_lots=1, inventory_lots=3, inventory_skew_milliticks=skew)
    assert alone.on_timer(1000, 1004, held) == "QUOTE"
    assert tuple(int(alone.proposal[name]) for name in ("bid_price", "bid_lots", "ask_price", "ask_lots")) == quotes


def stressed_inventory(skew: int, seed: int) -> list[int]:
    """What a market maker holds on a market that keeps going: whoever trades with it knows where."""
    book = BookDesk(on_books(kind="mm1", order_lots=5, inventory_lots=40, inventory_skew_milliticks=skew))
    rng, bid, held, live = np.random.default_rng(seed), 10_000, [], {}
    for turn in range(300):
        drift = 1 if turn % 100 < 70 else -2
        bid += int(rng.integers(-2, 3)) + drift
        ask = bid + int(rng.integers(2, 6))
        book.touch(bid, ask)
        for order in list(live.values()):  # what is crossed fills, and some of the rest
            is_buy = order["side"] == Side.BUY
            if (ask <= order["price"] if is_buy else bid >= order["price"]) or rng.random() < 0.15:
                book.fill(order, 5, int(order["price"]))
                del live[int(order["order_id"])]
        for intent in only(book.timer(), Kind.INTENT):
            if intent["flags"] & 0xFF == Action.CANCEL:
                book.report(intent, OrderState.CANCELED)
                live.pop(int(intent["order_id"]), None)
            else:
                assert intent["price"] < ask if intent["side"] == Side.BUY else intent["price"] > bid
                book.report(intent, OrderState.NEW)
                live[int(intent["order_id"])] = intent
        held.append(book.lots)
    return held


def test_inventory_stays_within_its_cap_and_pressure_brings_it_back() -> None:
    """On a market that runs one way, filled whenever that hurts: never beyond the cap, and less with pressure."""
    sizes = {}
    for skew in (0, 300):
        runs = [stressed_inventory(skew, seed) for seed in range(3)]
        assert max(abs(lots) for held in runs for lots in held) <= 40
        sizes[skew] = sum(abs(lots) for held in runs for lots in held)
    assert sizes[300] < sizes[0] / 2


def several(*sections: dict[str, Any], **changes: Any) -> Trading:
    return msgspec.structs.replace(
        trading(**changes), strategy=Strategy(), strategies=tuple(Assigned(**section) for section in sections)
    )


SMA = {"kind": "sma", "fast": 2, "slow": 4, "fixed_lots": 1000, "symbols": ("BTCUSDT",)}
EDGE = {"kind": "edge", "hold_horizons": 6, "fixed_lots": 50, "symbols": ("ETHUSDT",)}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ((SMA, {**EDGE, "symbols": ("ETHUSDT", "BTCUSDT")}), r"BTCUSDT belongs to strategies\[0\] \(sma\) and .*edge"),
        ((SMA,), "names none for ETHUSDT"),
        ((SMA, {**EDGE, "symbols": ("XRPUSDT",)}), r"strategies\[1\].symbols names XRPUSDT; the tape has BTC"),
        ((SMA, {**EDGE, "symbols": ()}), r"strategies\[1\].symbols is empty"),
        ((SMA, {**EDGE, "kind": "nobody"}), r"strategies\[1\].kind is 'nobody'"),
        ((SMA, {**EDGE, "fast": 9, "slow": 9}), r"strategies\[1\].fast is 9, strategies\[1\].slow is 9"),
    ],
)  # fmt: skip
def test_an_instrument_belongs_to_exactly_one_strategy(sections: tuple[dict[str, Any], ...], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        config.build(several(*sections), (BTC, ETH))


def test_one_strategy_and_several_are_not_given_at_once() -> None:
    both = msgspec.structs.replace(several(SMA, EDGE), strategy=Strategy(kind="sma"))
    with pytest.raises(BadConfig, match="strategy and strategies are both given"):
        config.build(both, (BTC, ETH))
    with pytest.raises(BadConfig, match="symbol"):
        parse(Trading, {"strategies": [{"kind": "sma"}]}, where="runner.yaml")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"entry": "hope"}, r"strategy.entry is 'hope'; there is market, cross, post, best"),
        ({"sizing": "all"}, r"strategy.sizing is 'all'; there is volatility, edge"),
        ({"kind": "mean_revert", "fast": WINDOW_MAX + 1, "slow": WINDOW_MAX + 2}, "strategy.fast is"),
        ({"stop_loss_ticks": 1, "stop_loss_sigma_ppm": 1}, "stop_loss_ticks and strategy.stop_loss_sigma_ppm are both"),
        ({"take_profit_ticks": 1, "reward_risk_ppm": 1, "stop_loss_ticks": 1}, "reward_risk_ppm are both given"),
        ({"reward_risk_ppm": 1}, "without a stop loss to be a multiple of"),
        (
            {"inventory_lots": 2**40, "inventory_skew_milliticks": 2**30},
            "inventory_lots is .*_skew_milliticks is",
        ),
        ({"chase_ttl_ns": 0}, "strategy.chase_ttl_ns is 0"),
        ({"edge_scale_ppm": 0}, "strategy.edge_scale_ppm is 0"),
    ],
)
def test_impossible_settings_are_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        config.build(trading(**section), (BTC,))


def closes(rng: np.random.Generator) -> np.ndarray:
    return np.maximum(1, 100_000 * np.exp(np.cumsum(rng.normal(0, 0.004, 60)))).astype(np.int64)


def feed_all(desk: Desk, tapes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    tape = np.concatenate(tapes)
    for bar in tape[np.lexsort((tape["instrument"], tape["ts_known"]))]:
        desk.feed(np.array([bar]))
        desk.feed(predict(bar, edge=int(rng.integers(-900, 1500))))
    return np.concatenate(desk.out)


def fills_of(out: np.ndarray, index: int) -> list[tuple[int, ...]]:
    fills = only(out, Kind.FILL)
    return [
        (int(row["ts_event"]), int(row["side"]), int(row["qty"]), int(row["price"]))
        for row in fills[fills["instrument"] == index]
    ]


def test_two_strategies_trade_what_each_would_alone_while_no_limit_binds() -> None:
    tapes = [bars(closes(np.random.default_rng(k)), instrument=k) for k in range(2)]
    both = feed_all(Desk(several(SMA, EDGE), (BTC, ETH)), tapes, np.random.default_rng(9))
    idle = {"kind": "sma", "fast": 2, "slow": 250, "fixed_lots": 1}
    pairs = ((SMA, {**idle, "symbols": ("ETHUSDT",)}), ({**idle, "symbols": ("BTCUSDT",)}, EDGE))
    alone = [feed_all(Desk(several(*pair), (BTC, ETH)), tapes, np.random.default_rng(9)) for pair in pairs]
    for index in range(2):
        mine, single = (
            [(int(row["ts_event"]), int(row["side"]), int(row["qty"]), int(row["price"])) for row in fills]
            for fills in (
                only(out, Kind.FILL)[only(out, Kind.FILL)["instrument"] == index] for out in (both, alone[index])
            )
        )
        assert mine == single and len(mine) > 4


def test_several_strategies_share_one_account_under_one_risk_state() -> None:
    desk = Desk(several(SMA, EDGE, max_orders_per_hour=2), (BTC, ETH))
    rising = bars([100_000, 100_100, 100_200, 100_300, 100_400])
    for bar in rising:  # the average crosses with the fourth bar
        desk.feed(np.array([bar]))
    eth = bars([100_000] * 9, instrument=1)
    desk.feed(eth[5:6])
    desk.feed(predict(eth[5], edge=9_000))
    assert desk.state[0]["risk"]["submitted"] == 2 and desk.state[0]["account"]["exposure"] > 0
    desk.feed(eth[6:7])
    desk.feed(predict(eth[6], edge=-1))
    desk.feed(eth[7:8])
    (refused,) = only(desk.feed(predict(eth[7], edge=9_000)), Kind.DECISION)
    assert refused["reason"] == Reason.RATE_LIMIT, "the orders of both count"


def test_one_strategy_for_all_is_the_same_as_naming_it_for_each() -> None:
    tapes = [bars(closes(np.random.default_rng(k)), instrument=k) for k in range(2)]
    named = [{**EDGE, "symbols": (symbol,)} for symbol in ("BTCUSDT", "ETHUSDT")]
    one = feed_all(Desk(trading(hold_horizons=6, fixed_lots=50), (BTC, ETH)), tapes, np.random.default_rng(9))
    each = feed_all(Desk(several(*named), (BTC, ETH)), tapes, np.random.default_rng(9))
    assert one.tobytes() == each.tobytes()


def test_a_tape_may_hold_the_predictions_and_all_strategies_of_an_account() -> None:
    """Each instrument's handle is its own: a TIMER asks both, and each answers as it is."""
    pair = (COIN, type(COIN)(**{**COIN.as_json(), "symbol": "TOKEN", "base": "T"}))
    made = msgspec.structs.replace(
        on_books(),
        strategy=Strategy(),
        strategies=(
            Assigned(kind="mm1", order_lots=2, symbols=("TOKEN",)),
            Assigned(kind="edge_ticks", fixed_lots=3, entry="cross", symbols=("COIN",)),
        ),
    )
    book = BookDesk(made, pair)
    assert book.strategy.name == "edge_ticks+mm1"
    book.touch(1000, 1002)
    (entry,) = only(book.predict(9_000_000), Kind.INTENT)
    assert (entry["instrument"], entry["qty"]) == (0, 3)
    level = np.zeros(1, engine.RECORD)
    level["kind"], level["instrument"], level["flags"] = Kind.LEVEL, 1, 1
    for side, price in ((Side.BUY, 500), (Side.SELL, 503)):
        level["side"], level["a"], level["b"], level["ts_event"] = side, price, 9, book.now
        level["ts_known"] = book.now + MS
        book.feed(level)
    quotes = only(book.timer(), Kind.INTENT)
    assert [(int(row["instrument"]), int(row["price"]), int(row["qty"])) for row in quotes] == [
        (1, 500, 2),
        (1, 503, 2),
    ]
