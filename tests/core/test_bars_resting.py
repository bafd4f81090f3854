"""Resting orders on bars: what hurts comes first, a gap fills at the gap, nothing fills on what may be earlier."""

import numpy as np
import pytest

from core import config, engine, rules, simulator
from core.jit import entry
from core.layout import OUTBOX
from core.outbox import flush
from core.records import BAR, INTENT, RECORD, Action, Kind, OrderFlag, OrderState, Reason, Side
from core.units import as_int
from tests.core.build import BTC, FEED_NS, START_NS, STEP_NS, only, trading

POST_ONLY, IMMEDIATE, STOP = int(OrderFlag.POST_ONLY), int(OrderFlag.IMMEDIATE), int(OrderFlag.STOP)
SLIPPAGE_PPM = 1000  # 100 ticks at 100,000
EARLY_NS = START_NS - STEP_NS // 2  # well before the first bar begins
BUY, SELL = Side.BUY, Side.SELL


@entry
def submit(config: np.ndarray, venue: np.ndarray, intent: np.ndarray) -> None:
    intent[0]["token"] = rules.token(
        config[0],
        intent[0]["order_id"],
        0,
        as_int(intent[0]["side"]),
        as_int(intent[0]["flags"]),
        intent[0]["price"],
        intent[0]["qty"],
        intent[0]["deadline_ns"],
    )
    simulator.submit(config[0], venue[0], intent[0])


@entry
def settle(config: np.ndarray, venue: np.ndarray, outbox: np.ndarray, bar: np.ndarray, out: np.ndarray) -> int:
    simulator.on_bar(config[0], venue[0], outbox[0], bar[0])
    return flush(outbox[0], out, 0)


class Pit:
    """The simulated venue alone: orders go in by hand, bars come one after the other."""

    def __init__(self, **changes: object) -> None:
        self.config = config.build(trading(**{"slippage_ppm": SLIPPAGE_PPM, "participation_ppm": 0, **changes}), (BTC,))
        self.venue, self.outbox, self.orders, self.bars = engine.new_venue(self.config), np.zeros(1, OUTBOX), 0, 0
        self.bar(100_000, 100_000, 100_000, 100_000, back=1)

    def send(
        self, side: int, price: int = 0, *, flags: int = 0, at_ns: int = EARLY_NS, of: int = 0, life_ns: int = 10**15
    ) -> int:
        """A new order of 1,000 lots, or with ``of`` an instruction for that order; returns its id."""
        self.orders += not of
        intent = np.zeros(1, INTENT)
        intent["kind"], intent["side"], intent["flags"] = (
            Kind.INTENT,
            side,
            flags | (Action.CANCEL if of else Action.OPEN),
        )
        intent["ts_known"], intent["deadline_ns"] = at_ns, at_ns + life_ns
        intent["order_id"], intent["price"], intent["qty"] = of or self.orders, price, 0 if of else 1000
        submit(self.config, self.venue, intent)
        return self.orders

    def bar(self, opened: int, high: int, low: int, close: int, *, back: int = 0, volume: int = 10**9) -> np.ndarray:
        """What became of the orders in the next bar."""
        self.bars += 1 - back
        row = np.zeros(1, BAR)
        row["kind"], row["ts_event"] = Kind.BAR, START_NS + self.bars * STEP_NS
        row["ts_known"] = row["ts_event"] + FEED_NS
        row["open"], row["high"], row["low"], row["close"], row["volume"] = opened, high, low, close, volume
        out = np.zeros(64, RECORD)
        return out[: settle(self.config, self.venue, self.outbox, row, out)]


def fills(records: np.ndarray) -> list[tuple[int, int]]:
    return [(int(row["order_id"]), int(row["price"])) for row in only(records, Kind.FILL)]


def ends(records: np.ndarray) -> list[tuple[OrderState, Reason]]:
    return [
        (OrderState(int(row["state"])), Reason(int(row["reason"])))
        for row in only(records, Kind.ORDER)
        if row["state"] > OrderState.UNKNOWN
    ]


@pytest.mark.parametrize(
    ("side", "limit", "bar", "filled"),
    [
        (BUY, 99_000, (100_000, 100_100, 98_999, 99_500), [99_000]),  # gone through
        (BUY, 99_000, (100_000, 100_100, 99_000, 99_500), []),  # touched: others may have been in front of us
        (BUY, 99_000, (98_000, 98_500, 97_000, 98_200), [99_000]),  # a gap past a resting order: at its own price
        (SELL, 101_000, (100_000, 101_001, 99_900, 100_500), [101_000]),
        (SELL, 101_000, (100_000, 101_000, 99_900, 100_500), []),
        (SELL, 101_000, (103_000, 103_500, 102_000, 103_000), [101_000]),
    ],
)
def test_a_limit_fills_when_a_bar_goes_through_it(
    side: Side, limit: int, bar: tuple[int, ...], filled: list[int]
) -> None:
    pit = Pit()
    pit.send(side, limit)
    made = pit.bar(*bar)
    assert [price for _, price in fills(made)] == filled
    if filled:  # nothing says when in the bar: at its end, later than every decision
        assert only(made, Kind.FILL)["ts_event"][0] == START_NS + STEP_NS


@pytest.mark.parametrize(
    ("side", "limit", "bar", "filled"),
    [
        (BUY, 99_000, (100_000, 100_100, 98_000, 99_500), []),  # the low may have been before it arrived
        (BUY, 99_000, (100_000, 100_100, 98_000, 98_900), [99_000]),  # the close was not
        (BUY, 101_000, (100_000, 100_100, 98_000, 98_900), [100_100]),  # it takes at the open, slipped
        (BUY, 100_050, (100_000, 100_100, 98_000, 98_900), [100_050]),  # but at no more than its limit
        (SELL, 101_000, (100_000, 102_000, 99_900, 100_500), []),
        (SELL, 101_000, (100_000, 102_000, 99_900, 101_001), [101_000]),
        (SELL, 99_000, (100_000, 102_000, 99_900, 101_001), [99_900]),
    ],
)
def test_in_the_bar_it_arrives_in_only_what_came_after_counts(
    side: Side, limit: int, bar: tuple[int, ...], filled: list[int]
) -> None:
    pit = Pit()
    pit.send(side, limit, at_ns=START_NS + 1)
    assert [price for _, price in fills(pit.bar(*bar))] == filled


def test_post_only_and_immediate_orders() -> None:
    pit = Pit()
    pit.send(BUY, 100_500, flags=POST_ONLY, at_ns=START_NS + 1)
    assert ends(pit.bar(100_000, 101_000, 99_000, 100_000)) == [(OrderState.EXPIRED, Reason.WOULD_CROSS)]
    pit.send(BUY, 99_000, flags=IMMEDIATE, at_ns=START_NS + STEP_NS + 1)
    made = pit.bar(100_000, 101_000, 98_000, 98_000)
    assert fills(made) == [] and ends(made) == [(OrderState.EXPIRED, Reason.NO_VOLUME)]
    pit.send(BUY, 100_200, flags=IMMEDIATE, at_ns=START_NS + 2 * STEP_NS + 1)
    assert fills(pit.bar(100_000, 101_000, 98_000, 98_000)) == [(3, 100_100)]


@pytest.mark.parametrize(
    ("side", "stop", "bar", "price"),
    [
        (SELL, 99_000, (100_000, 100_500, 99_000, 100_400), 98_901),  # touched is enough; 99 of slippage
        (SELL, 99_000, (97_000, 97_500, 96_000, 97_000), 96_903),  # a gap: at the open, never at the stop
        (SELL, 99_000, (100_000, 100_500, 99_001, 100_400), None),
        (BUY, 101_000, (100_000, 101_000, 99_900, 100_000), 101_101),
        (BUY, 101_000, (104_000, 104_500, 103_000, 104_000), 104_104),
        (BUY, 101_000, (100_000, 100_999, 99_900, 100_000), None),
    ],
)
def test_a_stop_executes_at_market_from_its_price_on(
    side: Side, stop: int, bar: tuple[int, ...], price: int | None
) -> None:
    pit = Pit()
    order = pit.send(side, stop, flags=STOP, at_ns=START_NS + 1)
    made = pit.bar(*bar)
    assert fills(made) == ([] if price is None else [(order, price)])
    reached = [row for row in only(made, Kind.ORDER) if row["reason"] == Reason.STOP_LOSS]
    assert len(reached) == (price is not None) and all(row["state"] == OrderState.NEW for row in reached)


@pytest.mark.parametrize("late", [False, True])
def test_if_both_legs_could_have_been_hit_the_stop_was(late: bool) -> None:
    pit = Pit()
    at_ns = START_NS + 1 if late else EARLY_NS
    order = pit.send(SELL, 101_000, at_ns=at_ns)
    pit.send(SELL, 99_000, flags=STOP, at_ns=at_ns, of=order)
    assert fills(pit.bar(100_000, 102_000, 98_000, 101_500)) == [(order, 98_901)]
    assert fills(pit.bar(101_500, 103_000, 97_000, 100_000)) == [], "and the other leg is gone"


def test_the_first_leg_that_is_hit_ends_the_other() -> None:
    pit = Pit()
    order = pit.send(SELL, 101_000)
    pit.send(SELL, 99_000, flags=STOP, of=order)
    assert fills(pit.bar(100_000, 100_900, 99_100, 100_000)) == []
    assert fills(pit.bar(100_000, 101_500, 99_100, 100_000)) == [(order, 101_000)]
    assert fills(pit.bar(100_000, 101_500, 90_000, 90_000)) == []


def test_a_stop_that_lacks_volume_goes_on_at_market() -> None:
    pit = Pit(participation_ppm=100_000)
    order = pit.send(SELL, 99_000, flags=STOP)
    first = pit.bar(100_000, 100_000, 98_000, 100_000, volume=4_000)
    assert fills(first) == [(order, 98_901)] and only(first, Kind.FILL)["qty"][0] == 400
    second = pit.bar(100_000, 100_000, 99_500, 100_000, volume=10**9)
    assert fills(second) == [(order, 99_900)] and only(second, Kind.FILL)["qty"][0] == 600


def test_at_price_0_the_order_goes_at_market_when_that_arrives() -> None:
    pit = Pit()
    order = pit.send(SELL, 101_000)
    pit.send(SELL, 99_000, flags=STOP, of=order)
    pit.bar(100_000, 100_500, 99_500, 100_000)
    pit.send(SELL, 0, flags=STOP, of=order, at_ns=START_NS + STEP_NS + 1)
    made = pit.bar(100_000, 100_500, 99_500, 100_000)
    assert fills(made) == [(order, 99_900)]
    assert only(made, Kind.FILL)["ts_event"][0] == START_NS + STEP_NS + 1 + 100_000_000


def test_an_order_that_ends_within_a_bar_is_filled_by_nothing_that_may_have_come_later() -> None:
    """But a stop that is being cancelled may have been hit before: it counts."""
    pit = Pit()
    limit = pit.send(BUY, 99_000)
    stop = pit.send(SELL, 99_000, flags=STOP)
    for order in (limit, stop):
        pit.send(BUY, 0, of=order, at_ns=START_NS + STEP_NS // 2)
    made = pit.bar(100_000, 100_500, 98_000, 99_500)
    assert fills(made) == [(stop, 98_901)] and ends(made) == [(OrderState.CANCELED, Reason.CANCEL_STALE)]
    expiring = pit.send(BUY, 99_000, at_ns=START_NS + STEP_NS, life_ns=STEP_NS // 2)
    made = pit.bar(99_500, 100_500, 98_000, 98_500)
    assert fills(made) == [] and ends(made) == [(OrderState.EXPIRED, Reason.NO_VOLUME)] and expiring == 3


def test_a_resting_order_pays_as_a_maker_and_a_stop_as_a_taker() -> None:
    pit = Pit()
    pit.send(SELL, 101_000)
    pit.send(SELL, 99_000, flags=STOP)
    made = only(pit.bar(100_000, 102_000, 98_000, 100_000), Kind.FILL)
    fees = {int(row["order_id"]): int(row["fee"]) for row in made}
    assert fees == {1: 0, 2: 989_010}, "maker 0; taker 1000 ppm of 98,901 x 0.01 x 1000 x 0.00001 USDT in units of 1e-8"


def test_several_orders_settle_oldest_first_and_keep_their_places() -> None:
    pit = Pit()
    kept = [pit.send(BUY, price) for price in (90_000, 99_000, 91_000, 99_500)]
    made = pit.bar(100_000, 100_100, 98_000, 98_500)
    assert fills(made) == [(kept[1], 99_000), (kept[3], 99_500)]
    assert pit.venue[0]["working"][0]["count"] == 2
    assert fills(pit.bar(98_500, 98_600, 80_000, 81_000)) == [(kept[0], 90_000), (kept[2], 91_000)]
