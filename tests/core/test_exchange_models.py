"""The simulated exchange under each replaceable model: orders are handed to it by hand and its reports are read."""

import numpy as np
import pytest

from core import book as books
from core import config, exchange, layout, rules
from core.cast import as_level, as_status, as_trade
from core.errors import BadConfig
from core.instruments import Instrument
from core.jit import entry
from core.records import (
    DAY_NS,
    FILL,
    INTENT,
    ORDER,
    RECORD,
    Action,
    Kind,
    MarketStatus,
    OrderFlag,
    OrderState,
    Reason,
    Side,
)
from core.settings import FeeRow, Fees, FeeTable, Impact, Latency, QueueModel, Simulation
from core.units import as_int
from tests.core import build

MS = 1_000_000
BUY, SELL = int(Side.BUY), int(Side.SELL)
ON_LEVEL, ON_TRADE = int(Kind.LEVEL), int(Kind.TRADE)
START = build.START_NS
FAR = START + DAY_NS
PLAIN = Instrument(symbol="PLAIN", base="P", quote="USDT", tick="0.01", lot="0.00001", taker_fee_ppm=1000)


@entry
def send(config: np.ndarray, venue: np.ndarray, intent: np.ndarray) -> None:
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
    exchange.send(config[0], venue[0], intent[0])


@entry
def arrive(config: np.ndarray, venue: np.ndarray, book: np.ndarray) -> int:
    last = 0
    while venue[0]["request_head"] < venue[0]["request_tail"]:
        last = venue[0]["request_ns"]
        request = venue[0]["requests"][venue[0]["request_head"] % layout.REQUEST_SLOTS]
        exchange.take_request(config[0], venue[0], book[0], request)
    return last


@entry
def see(config: np.ndarray, venue: np.ndarray, book: np.ndarray, record: np.ndarray) -> None:
    if record[0]["kind"] == ON_LEVEL:
        exchange.on_level(config[0], venue[0], book[0], as_level(record[0]))
    elif record[0]["kind"] == ON_TRADE:
        exchange.on_trade(config[0], venue[0], as_trade(record[0]))
    else:
        exchange.on_status(config[0], venue[0], book[0], as_status(record[0]))


class Floor:
    """One exchange with one instrument's book: 10 lots at 100 and 99 bid, 10 at 102, 103 and 104 asked."""

    def __init__(self, simulation: Simulation | None = None, instrument: Instrument = PLAIN):
        trading = build.trading(simulation=simulation or Simulation(), order_latency_ns=MS, response_latency_ns=MS)
        self.config = config.build(trading, [instrument])
        self.venue, self.books = np.zeros(1, layout.EXCHANGE), books.new_books(1)
        self.venue[0]["request_ns"] = self.venue[0]["response_ns"] = exchange.NEVER
        self.now, self.orders = START, 0
        for side, price in ((BUY, 100), (BUY, 99), (SELL, 102), (SELL, 103), (SELL, 104)):
            self.level(side, price, 10)

    def send(
        self, side: int, qty: int, price: int = 0, *, flags: int = 0, action: Action = Action.OPEN, cancels: int = 0
    ) -> int:
        """Send an order (or the cancel of ``cancels``) now; returns its id."""
        self.orders += 1
        intent = np.zeros(1, INTENT)
        intent["kind"], intent["side"], intent["flags"] = Kind.INTENT, side, int(action) | flags
        intent["ts_known"], intent["deadline_ns"] = self.now, FAR
        intent["order_id"] = cancels or self.orders
        intent["price"], intent["qty"] = price, qty
        send(self.config, self.venue, intent)
        return self.orders

    def arrive(self) -> int:
        """Let the exchange take every request that is on its way; returns when the last one arrived."""
        return int(arrive(self.config, self.venue, self.books))

    def rest(self, side: int, qty: int, price: int) -> int:
        """A post-only order that has arrived."""
        order_id = self.send(side, qty, price, flags=int(OrderFlag.POST_ONLY))
        self.arrive()
        return order_id

    def level(self, side: int, price: int, qty: int) -> None:
        self._see(Kind.LEVEL, side, price, qty)

    def trade(self, side: int, price: int, qty: int) -> None:
        self._see(Kind.TRADE, side, price, qty)

    def status(self, status: MarketStatus) -> None:
        self._see(Kind.STATUS, 0, int(status), 0)

    def _see(self, kind: Kind, side: int, a: int, b: int) -> None:
        row = np.zeros(1, RECORD)
        row["kind"], row["side"], row["ts_event"], row["ts_known"] = kind, side, self.now, self.now
        row["a"], row["b"] = a, b
        see(self.config, self.venue, self.books, row)

    def said(self) -> np.ndarray:
        return self.venue[0]["responses"][: self.venue[0]["response_tail"]]

    def fills(self) -> list[tuple[int, int, int]]:
        """(order id, price, lots) of each."""
        fills = self.said()[self.said()["kind"] == Kind.FILL].view(FILL)
        return [(int(f["order_id"]), int(f["price"]), int(f["qty"])) for f in fills]

    def reports(self) -> list[tuple[int, int, int]]:
        """(order id, state, reason) of each."""
        reports = self.said()[self.said()["kind"] == Kind.ORDER].view(ORDER)
        return [(int(r["order_id"]), int(r["state"]), int(r["reason"])) for r in reports]


def test_taking_walks_the_visible_levels() -> None:
    floor = Floor()
    floor.send(BUY, 25)
    floor.send(BUY, 100, 103, flags=int(OrderFlag.IMMEDIATE))
    floor.arrive()
    assert floor.fills() == [(1, 102, 10), (1, 103, 10), (1, 104, 5), (2, 102, 10), (2, 103, 10)]
    assert floor.reports()[-1] == (2, OrderState.EXPIRED, Reason.NO_VOLUME)


def test_impact_makes_every_level_worse_and_stays() -> None:
    """Temporary: 10 % of the price at a participation of one. Permanent: 20 %; 5 of 50 lots shift prices by 2 %."""
    impact = Impact(temporary_ppm=100_000, permanent_ppm=200_000, reference_lots=50)
    floor = Floor(Simulation(impact=impact))
    floor.level(SELL, 1_000, 10)
    for price in (102, 103, 104):
        floor.level(SELL, price, 0)
    floor.level(BUY, 900, 10)
    floor.send(BUY, 5)
    floor.arrive()
    assert floor.fills() == [(1, 1_010, 5)]  # 1,000 + 10 % x 10 %
    floor.send(BUY, 5)
    floor.arrive()
    assert floor.fills()[-1] == (2, 1_030, 5)  # moved up 2 % by the first, and its own 1 %
    floor.send(SELL, 5, action=Action.REDUCE)
    floor.arrive()
    assert floor.fills()[-1] == (3, 900 + 36 - 9, 5)  # the shift helps a sale: prices did go up
    assert int(floor.venue[0]["matching"][0]["shift_ppm"]) == 20_000
    floor.send(BUY, 5, 1_020, flags=int(OrderFlag.IMMEDIATE))  # its limit is below what it would now pay
    floor.arrive()
    assert floor.reports()[-1] == (4, OrderState.EXPIRED, Reason.NO_VOLUME)


@pytest.mark.parametrize(("partial", "fills"), [(False, [(1, 100, 5)]), (True, [(1, 100, 2), (1, 100, 3)])])
def test_partial_fills(partial: bool, fills: list[tuple[int, int, int]]) -> None:
    floor = Floor(Simulation(partial_fills=partial))
    floor.rest(BUY, 5, 100)
    floor.trade(SELL, 100, 10)  # the queue
    assert floor.fills() == []
    floor.trade(SELL, 100, 2)
    assert floor.fills() == fills[:1]
    floor.trade(SELL, 100, 7)
    assert floor.fills() == fills
    floor.trade(SELL, 100, 50)
    assert sum(lots for _, _, lots in floor.fills()) == 5


def test_an_order_filled_in_part_can_still_be_cancelled() -> None:
    floor = Floor(Simulation(partial_fills=True))
    order = floor.rest(BUY, 5, 100)
    floor.trade(SELL, 100, 12)
    floor.send(BUY, 0, action=Action.CANCEL, cancels=order)
    floor.arrive()
    end = floor.said()[-1:].view(ORDER)[0]
    assert (int(end["state"]), int(end["filled"]), int(end["remaining"])) == (OrderState.CANCELED, 2, 3)


@pytest.mark.parametrize(
    ("model", "needed"), [(QueueModel(), 10), (QueueModel(kind="power"), 5), (QueueModel(kind="logarithm"), 5)]
)
def test_cancellations_shorten_the_queue_by_the_model(model: QueueModel, needed: int) -> None:
    """Ten in front, then ten behind; ten are cancelled: none, or half of them, stood in front."""
    floor = Floor(Simulation(queue=model))
    floor.rest(BUY, 5, 100)
    floor.level(BUY, 100, 20)
    floor.level(BUY, 100, 10)
    floor.trade(SELL, 100, needed)
    assert floor.fills() == []
    floor.trade(SELL, 100, 1)
    assert floor.fills() == [(1, 100, 5)]


def test_a_halt_rejects_orders_rests_others_and_ends_with_a_match() -> None:
    floor = Floor()
    order = floor.rest(BUY, 5, 100)
    floor.status(MarketStatus.HALT)
    floor.trade(SELL, 99, 50)
    floor.level(SELL, 100, 10)  # hides the bids it passes, and would have filled us
    assert floor.fills() == []
    floor.send(BUY, 5, 99)
    floor.arrive()
    assert floor.reports()[-1] == (2, OrderState.REJECTED, Reason.MARKET_HALTED)
    floor.status(MarketStatus.TRADING)
    assert floor.fills() == [(order, 100, 5)]


def test_an_auction_takes_orders_and_a_halted_market_takes_cancels() -> None:
    floor = Floor()
    order = floor.rest(BUY, 5, 100)
    floor.status(MarketStatus.AUCTION)
    floor.send(BUY, 5, 102)
    floor.arrive()
    assert floor.fills() == [] and floor.reports()[-1] == (2, OrderState.NEW, Reason.NONE)
    floor.status(MarketStatus.CANCEL_ONLY)
    floor.send(BUY, 0, action=Action.CANCEL, cancels=order)
    floor.arrive()
    assert floor.reports()[-1][:2] == (order, OrderState.CANCELED)
    floor.status(MarketStatus.TRADING)
    assert floor.fills() == [(2, 102, 5)]


def test_filters_reject_what_is_too_small() -> None:
    """BTC: at least two lots, at least 5 USDT."""
    floor = Floor(instrument=build.BTC)
    floor.send(BUY, 1, 100)
    floor.send(BUY, 200, 100)
    floor.arrive()
    assert [state for _, state, _ in floor.reports()] == [OrderState.REJECTED] * 2
    assert [reason for _, _, reason in floor.reports()] == [Reason.FILTER_LOT, Reason.FILTER_NOTIONAL]


def test_random_rejects_come_at_their_rate_and_from_the_seed() -> None:
    def rejected(seed: int, batch: int) -> list[int]:
        floor = Floor(Simulation(reject_ppm=200_000, seed=seed))
        for k in range(200):
            floor.send(BUY, 1_000, 100)
            if k % batch == 0:
                floor.arrive()
                floor.venue[0]["matching"][0]["count"] = 0
        floor.arrive()
        return [order for order, state, _ in floor.reports() if state == OrderState.REJECTED]

    assert rejected(1, 1) == rejected(1, 3) != rejected(2, 1)
    assert 20 <= len(rejected(1, 1)) <= 60


def latencies(floor: Floor, n: int, gap_ns: int) -> np.ndarray:
    """How long ``n`` requests took, sent ``gap_ns`` apart."""
    took = np.zeros(n, np.int64)
    for k in range(n):
        floor.send(BUY, 0, action=Action.CANCEL, cancels=1)
        took[k] = floor.arrive() - floor.now
        floor.venue[0]["response_head"] = floor.venue[0]["response_tail"]
        floor.now += gap_ns
    return took


def test_sampled_requests_have_their_mean_and_stay_in_order() -> None:
    """EVAL-05: within 1 %; ids differ, so every draw does."""
    uniform = Latency(kind="sampled", quantiles=((0, 8 * MS), (1_000_000, 12 * MS)))
    floor = Floor(Simulation(request_latency=uniform, seed=3))
    took = np.zeros(3_000, np.int64)
    for k in range(len(took)):
        floor.send(BUY, 0, action=Action.CANCEL, cancels=k + 1)
        took[k] = floor.arrive() - floor.now
        floor.venue[0]["response_head"] = floor.venue[0]["response_tail"]
        floor.now += 20 * MS
    assert abs(took.mean() / (10 * MS) - 1) < 0.01
    assert took.min() >= 8 * MS and took.max() <= 12 * MS and len(np.unique(took)) > 2_500
    burst = [floor.send(BUY, 0, action=Action.CANCEL, cancels=9_000 + k) for k in range(100)]
    waiting = floor.venue[0]["requests"]["arrival_ns"]
    head = int(floor.venue[0]["request_head"])
    arrivals = [int(waiting[(head + k) % layout.REQUEST_SLOTS]) for k in range(len(burst))]
    assert arrivals == sorted(arrivals) and len(set(arrivals)) > 1


def test_recorded_latency_follows_the_feed() -> None:
    floor = Floor(Simulation(request_latency=Latency(kind="recorded", scale_ppm=2_000_000)))
    for feed_ns, expected in ((0, 1), (3 * MS, 6 * MS), (5 * MS, 10 * MS)):
        floor.venue[0]["feed_ns"] = feed_ns
        assert latencies(floor, 1, 100 * MS)[0] == expected


def test_responses_have_a_latency_of_their_own() -> None:
    floor = Floor(Simulation(response_latency=Latency(constant_ns=7 * MS)))
    floor.send(BUY, 500, 100)
    arrived = floor.arrive()
    report = floor.said()[0]
    assert (int(report["ts_event"]), int(report["ts_known"])) == (arrived, arrived + 7 * MS)


@pytest.mark.parametrize(
    ("decision_ms", "action", "price"),
    [
        (500, Action.OPEN, 600_000),
        (501, Action.OPEN, 600_150),  # 250 ppm of 600,000
        (501, Action.REDUCE, 600_000),
    ],
)
def test_a_late_decision_degrades_an_entry_by_the_p90_slippage(decision_ms: int, action: Action, price: int) -> None:
    late = Simulation(
        decision_latency=Latency(constant_ns=decision_ms * MS), late_decision_ns=500 * MS, late_slippage_ppm=250
    )
    floor = Floor(late)
    for ask in (102, 103, 104):
        floor.level(SELL, ask, 0)
    floor.level(SELL, 600_000, 100)
    floor.send(BUY, 5, action=action)
    assert floor.arrive() == floor.now + (decision_ms + 1) * MS
    assert floor.fills() == [(1, price, 5)]


TIERS = FeeTable(
    venue="tiers",
    source="this test",
    as_of="now",
    volume_assets=("USDT",),
    fee_asset="quote",
    rows=(
        FeeRow(volume_from="0", volume_below="50", maker_ppm=1_000, taker_ppm=2_000),
        FeeRow(volume_from="50", volume_below=None, maker_ppm=-100, taker_ppm=500),
    ),
)


def test_fees_follow_maker_taker_and_the_volume_of_the_days_before() -> None:
    """10,000,000 ticks of 0.01 x 100 lots of 1e-5 = 100 USDT a fill, in units of 1e-8."""
    floor = Floor(Simulation(fees=Fees(table=TIERS)))
    for ask in (102, 103, 104):
        floor.level(SELL, ask, 0)
    floor.level(SELL, 10_000_000, 1_000)

    def charged(maker: bool) -> int:
        if maker:
            floor.rest(BUY, 100, 9_999_999)
            floor.trade(SELL, 9_999_998, 1)
        else:
            floor.send(BUY, 100)
            floor.arrive()
        return int(floor.said()[-1:].view(FILL)["fee"][0])

    assert charged(maker=False) == 20_000_000  # 0.2 %
    assert charged(maker=True) == 9_999_999  # 0.1 % of 99.99999
    floor.now += DAY_NS
    assert charged(maker=False) == 5_000_000
    assert charged(maker=True) == -999_999  # a rebate, rounded down
    floor.now += 32 * DAY_NS
    assert charged(maker=False) == 20_000_000


def test_what_orders_reserve_is_the_dearest_tier() -> None:
    built = config.build(build.trading(simulation=Simulation(fees=Fees(table=TIERS, volume_start="60"))), [build.BTC])
    market = built[0]["markets"][0]
    assert int(market["instrument"]["taker_fee_ppm"]) == 2_000
    assert int(market["params"]["cost_ppm"]) == 2 * (500 + 100)  # and what a strategy reckons with is the present one


@pytest.mark.parametrize(
    ("simulation", "says"),
    [
        (Simulation(seed=-1), "simulation.seed is -1"),
        (Simulation(reject_ppm=1_000_001), "simulation.reject_ppm is 1000001"),
        (Simulation(late_decision_ns=5), "give both or none"),
        (Simulation(request_latency=Latency(constant_ns=0)), "request_latency: every request takes at least 1 ns"),
        (Simulation(response_latency=Latency(kind="wall")), "response_latency.kind is 'wall'"),
        (Simulation(queue=QueueModel(kind="power", power=9)), "simulation.queue.power is 9"),
        (Simulation(impact=Impact(permanent_ppm=-1)), "impact.permanent_ppm is -1"),
    ],
)
def test_impossible_models_are_refused(simulation: Simulation, says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        config.build(build.trading(simulation=simulation), [build.BTC])
