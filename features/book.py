"""The book kernel: records of one or more instruments in, one MarketState per event out; a batch is a loop over it.

An event is a venue's whole message: its last record carries ``MarketFlag.LAST``, and only then is the book whole. State
is one record of dtype STATE per instrument and its book; together they are all there is to copy, compare or restore.
``features.market_state`` says what the fields are.

Order flow (R. Cont, A. Kukanov, S. Stoikov, "The Price Impact of Order Book Events", 2014) compares each side's best
with what it was before the event: lots joining the bid or leaving the ask count up, the opposite down. A trade counts
when it is told, with the sign of who took; what it took from a best queue is not counted again by the next update of
the book, which shows it a second time.

While a side of the book is empty there is no price: rows are all zero but for ``ts`` and ``seq``, and the warm-up
begins anew. So it does after ``RESTART_GAP_NS`` without an event.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from core import book as books
from core.cast import as_clear, as_level, as_status, as_top, as_trade
from core.errors import BadInput
from core.jit import entry, kernel
from core.layout import BOOK_TICKS
from core.records import DAY_NS, HOUR_NS, Kind, MarketFlag, MarketStatus, Side
from features import liquidity, sigma
from features import market_state as m
from features.sessions import ASIA, LONDON, NEW_YORK, sessions
from features.sigma import weight

STATE: Final = np.dtype(
    [
        ("has_depth", "<i8"),
        ("venue_id", "<i8"),
        ("events", "<i8"),  # since the last restart
        ("last_ns", "<i8"),  # ts_known of the last event; 0: there was none
        ("bid", "<i8"),  # best prices and their lots after the last event; 0: no valid book
        ("bid_qty", "<i8"),
        ("ask", "<i8"),
        ("ask_qty", "<i8"),
        ("touch_ns", "<i8"),  # when one of the four last changed
        ("changed", "<i8"),  # sides whose levels this event has changed so far, bits as in ``Side``
        ("traded", "<i8"),  # signed lots that takers took in this event so far
        ("owed_bid", "<i8"),  # lots traded at the best bid that no update of the book has shown yet
        ("owed_ask", "<i8"),
        ("flow", "<f8"),  # weighted order flow, lots
        ("flow_abs", "<f8"),
        ("trades", "<i8"),
        ("trade_flow", "<f8"),  # weighted signed lots of trades
        ("trade_abs", "<f8"),
        ("queue_bid", "<f8"),  # weighted mean of the best bid's lots
        ("queue_ask", "<f8"),
        ("refresh", "<f8"),  # messages a second, as of last_ns
        ("pools", "<i8", (2 * m.POOLS,)),  # lots, bids then asks
        *sigma.FIELDS,
        ("hour", "<i8"),  # since the epoch, for which ``session`` was looked up
        ("session", "<i8"),
        ("status", "<i8"),  # MarketStatus; 0: nothing said
        ("status_until_ns", "<i8"),  # 0: until further notice
        ("traded_day", "<i8"),  # UTC day of the last trade
        *liquidity.FIELDS,
    ]
)

IS_LEVEL: Final = int(Kind.LEVEL)
IS_TRADE: Final = int(Kind.TRADE)
IS_CLEAR: Final = int(Kind.CLEAR)
IS_TOP: Final = int(Kind.TOP)
IS_STATUS: Final = int(Kind.STATUS)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
BOTH: Final = int(Side.BUY | Side.SELL)
LAST: Final = int(MarketFlag.LAST)
TRADING: Final = int(MarketStatus.TRADING)
AUCTION: Final = int(MarketStatus.AUCTION)
CLOSED_ID: Final = int(m.Session.CLOSED)
ASIA_ID: Final = int(m.Session.ASIA)
LONDON_ID: Final = int(m.Session.LONDON)
NEW_YORK_ID: Final = int(m.Session.NEW_YORK)
AUCTION_OPEN_ID: Final = int(m.Session.AUCTION_OPEN)
AUCTION_CLOSE_ID: Final = int(m.Session.AUCTION_CLOSE)
HALT_ID: Final = int(m.Session.HALT)
CELL: Final = books.CELL
EDGES: Final = m.POOL_EDGES
POOLS: Final = m.POOLS
MS_NS: Final = 1e-6
ABSOLUTE_TO_SIGMA: Final = math.sqrt(math.pi / 2.0)  # E|x| = sigma * sqrt(2 / pi) for a normal x
MAD_TO_SIGMA: Final = 1.4826
OFI_ALPHA: Final = 1.0 - 0.5 ** (1.0 / m.OFI_HALF_LIFE_EVENTS)
TRADE_ALPHA: Final = 1.0 - 0.5 ** (1.0 / m.TRADE_HALF_LIFE_TRADES)
QUEUE_ALPHA: Final = 1.0 - 0.5 ** (1.0 / m.QUEUE_HALF_LIFE_EVENTS)
REFRESH_PER_NS: Final = 1e-9 / m.REFRESH_SECONDS


def _polynomial() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What each pool's cumulative share adds to the slope and to the curve: the pseudo-inverse of (x, x^2)."""
    x = np.array(m.POOL_EDGES[1:]) / m.DEPTH_TICKS
    slope, curve = np.linalg.pinv(np.stack([x, x * x], 1))
    return tuple(slope.tolist()), tuple(curve.tolist())


SLOPE, CURVE = _polynomial()


def new_state(specs: Sequence[m.BookSpec]) -> tuple[np.ndarray, np.ndarray]:
    """State (n,) STATE and books (n,) BOOK before the first record; an instrument's index is its place."""
    state = np.zeros(len(specs), STATE)
    state["has_depth"] = [spec.has_depth for spec in specs]
    state["venue_id"] = [m.VENUES[spec.venue] for spec in specs]
    state["hour"], state["step"], state["liquidity"] = -1, -1, liquidity.MID
    return state, books.new_books(len(specs))


@entry
def update(
    state: np.ndarray, book: np.ndarray, record: np.ndarray, seq: int, out: np.ndarray, extra: np.ndarray
) -> int:
    """Take one record, (1,) RECORD, the ``seq``-th of its stream; 1 if it completed an event, which is in ``out``.

    ``state`` and ``book``: ``new_state``; ``out`` (1,) MARKET_STATE; ``extra`` (1,) EXTRA. A row is ready once
    ``state["events"]`` of its instrument has reached WARMUP_EVENTS (``is_ready``). Records that are no market data are
    passed over. Raises BadInput for an instrument that is not there and for levels that no book can hold.
    """
    index = record[0]["instrument"]
    if index >= len(state):
        raise BadInput("a record's instrument index is not one of these states: give one specification for each")
    return _step(state[index], book[index], record[0], seq, out[0], extra[0])


@entry
def batch(
    state: np.ndarray,
    book: np.ndarray,
    records: np.ndarray,
    first_seq: int,
    out: np.ndarray,
    extra: np.ndarray,
    ready: np.ndarray,
) -> int:
    """``update`` over all of ``records`` (n,); how many events they complete. ``out``, ``extra``, ``ready``: (n,)."""
    made = 0
    for row in range(len(records)):
        index = records[row]["instrument"]
        if index >= len(state):
            raise BadInput("a record's instrument index is not one of these states: give one specification for each")
        own = state[index]
        if _step(own, book[index], records[row], first_seq + row, out[made], extra[made]) == 1:
            ready[made] = own["events"] >= m.WARMUP_EVENTS
            made += 1
    return made


def is_ready(state: np.void) -> bool:
    """Whether the last row of this instrument's ``state`` may be used."""
    return int(state["events"]) >= m.WARMUP_EVENTS


@kernel
def _step(own: np.void, book: np.void, record: np.void, seq: int, out: np.void, extra: np.void) -> int:
    kind = record["kind"]
    if kind == IS_LEVEL:
        level = as_level(record)
        books.set_level(book, level["side"] == BUY, level["price"], level["qty"])
        own["changed"] |= level["side"]
    elif kind == IS_TRADE:
        _begin(own, record["ts_known"])
        _take_trade(own, as_trade(record))
    elif kind == IS_CLEAR:
        clear = as_clear(record)
        books.clear(book, clear["side"] == BUY, clear["price"])
        own["changed"] |= clear["side"]
    elif kind == IS_STATUS:
        status = as_status(record)
        own["status"], own["status_until_ns"] = status["status"], status["until_ns"]
        return 0
    elif kind != IS_TOP or own["has_depth"] == 1:
        return 0
    if record["flags"] & LAST == 0:
        return 0
    _begin(own, record["ts_known"])
    if kind == IS_TOP:
        top = as_top(record)
        own["changed"] = BOTH
        _take_touch(own, top["ts_known"], top["bid"], max(1, top["bid_qty"]), top["ask"], max(1, top["ask_qty"]))
    elif own["has_depth"] == 1 and own["changed"] != 0:
        bid, ask, bid_qty, ask_qty = book["bid"], book["ask"], 0, 0
        if bid > 0 and ask > 0:
            _pool(own, book, bid, ask)
            bid_qty, ask_qty = books.qty_at(book, True, bid), books.qty_at(book, False, ask)
        _take_touch(own, record["ts_known"], bid, bid_qty, ask, ask_qty)
    else:
        _take_touch(own, record["ts_known"], own["bid"], own["bid_qty"], own["ask"], own["ask_qty"])
    _write(own, record["ts_known"], seq, out, extra)
    own["changed"], own["traded"] = 0, 0
    return 1


@kernel
def _begin(own: np.void, now: int) -> None:
    """Everything that depends on time alone, up to ``now``. Raises BadInput if that is in the past."""
    if now < own["last_ns"]:
        raise BadInput("a record was known before the one in front of it: sort the tape by ts_known")
    if now - own["last_ns"] > m.RESTART_GAP_NS:
        _restart(own)
    elif own["bid"] > 0 and own["ask"] > 0:
        sigma.sample(own, now // m.SIGMA_STEP_NS)
    day = now // DAY_NS
    if day != own["day"]:
        liquidity.new_day(own, day)
    own["refresh"] *= math.exp((own["last_ns"] - now) * REFRESH_PER_NS) if own["last_ns"] > 0 else 0.0
    own["last_ns"] = now
    if now // HOUR_NS != own["hour"]:
        own["hour"] = now // HOUR_NS
        own["session"] = _session(sessions(now))


@kernel
def _restart(own: np.void) -> None:
    own["events"] = 0
    own["bid"], own["ask"], own["bid_qty"], own["ask_qty"] = 0, 0, 0, 0
    own["owed_bid"], own["owed_ask"] = 0, 0
    own["flow"], own["flow_abs"] = 0.0, 0.0
    own["trades"], own["trade_flow"], own["trade_abs"] = 0, 0.0, 0.0
    own["queue_bid"], own["queue_ask"], own["refresh"] = 0.0, 0.0, 0.0
    own["step"], own["steps"], own["sigma"], own["deviation"] = -1, 0, 0.0, 0


@kernel
def _take_trade(own: np.void, trade: np.void) -> None:
    lots = trade["qty"]
    signed = lots if trade["side"] == BUY else -lots
    own["traded"] += signed
    if trade["side"] == BUY:
        own["owed_ask"] += lots
    else:
        own["owed_bid"] += lots
    own["trades"] += 1
    share = weight(own["trades"], TRADE_ALPHA)
    own["trade_flow"] += share * (signed - own["trade_flow"])
    own["trade_abs"] += share * (lots - own["trade_abs"])
    own["traded_day"] = trade["ts_known"] // DAY_NS


@kernel
def _take_touch(own: np.void, now: int, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
    """The touch after the event; order flow from what it was before."""
    if bid == 0 or ask == 0:
        _restart(own)
        return
    flow = float(own["traded"])
    if own["bid"] > 0 and own["changed"] != 0:
        joined = _side_flow(own["bid"], own["bid_qty"], bid, bid_qty)
        left = -_side_flow(-own["ask"], own["ask_qty"], -ask, ask_qty)
        if joined < 0:
            joined += min(own["owed_bid"], -joined)
        if left > 0:
            left -= min(own["owed_ask"], left)
        flow += joined + left
    is_same = bid == own["bid"] and ask == own["ask"] and bid_qty == own["bid_qty"] and ask_qty == own["ask_qty"]
    if not is_same:
        own["touch_ns"] = now
    own["bid"], own["bid_qty"], own["ask"], own["ask_qty"] = bid, bid_qty, ask, ask_qty
    own["events"] += 1
    share = weight(own["events"], OFI_ALPHA)
    own["flow"] += share * (flow - own["flow"])
    own["flow_abs"] += share * (abs(flow) - own["flow_abs"])
    share = weight(own["events"], QUEUE_ALPHA)
    own["queue_bid"] += share * (bid_qty - own["queue_bid"])
    own["queue_ask"] += share * (ask_qty - own["queue_ask"])
    if own["changed"] != 0:
        own["owed_bid"], own["owed_ask"] = 0, 0
        own["refresh"] += 1.0 / m.REFRESH_SECONDS
    liquidity.count(own, bid_qty + ask_qty, ask - bid)


@kernel
def _side_flow(best: int, qty: int, best_now: int, qty_now: int) -> int:
    """Lots that joined a side whose better prices are higher: all of a better price, the change of the same one."""
    joined = qty_now if best_now >= best else 0
    return joined - qty if best_now <= best else joined


@kernel
def _pool(own: np.void, book: np.void, bid: int, ask: int) -> None:
    """Lots per pool of ticks from the touch, on the sides that may differ: a level of one side can remove the other's.

    Inside the window every cell behind a best price is its own side's.
    """
    floor = book["floor"]
    in_window = bid - m.DEPTH_TICKS >= floor and ask + m.DEPTH_TICKS <= floor + BOOK_TICKS + 1
    if own["changed"] & BUY != 0 or bid != own["bid"]:
        for k in range(POOLS):
            lots = 0
            for ticks in range(EDGES[k], EDGES[k + 1]):
                lots += book["levels"][(bid - ticks) & CELL] if in_window else books.qty_at(book, True, bid - ticks)
            own["pools"][k] = lots
    if own["changed"] & SELL != 0 or ask != own["ask"]:
        for k in range(POOLS):
            lots = 0
            for ticks in range(EDGES[k], EDGES[k + 1]):
                lots += -book["levels"][(ask + ticks) & CELL] if in_window else books.qty_at(book, False, ask + ticks)
            own["pools"][POOLS + k] = lots


@kernel
def _session(open_now: int) -> int:
    """Of the open sessions the one that opened last."""
    if open_now & NEW_YORK:
        return NEW_YORK_ID
    if open_now & LONDON:
        return LONDON_ID
    return ASIA_ID if open_now & ASIA else CLOSED_ID


@kernel
def _session_id(own: np.void, now: int) -> int:
    """``Session`` at ``now``: what the venue says goes before the clock."""
    if own["status"] <= TRADING or 0 < own["status_until_ns"] <= now:
        return own["session"]
    if own["status"] != AUCTION:
        return HALT_ID
    return AUCTION_CLOSE_ID if own["traded_day"] == now // DAY_NS else AUCTION_OPEN_ID


@kernel
def _write(own: np.void, now: int, seq: int, out: np.void, extra: np.void) -> None:
    """The row of the event that ends now."""
    out["ts"], out["seq"] = now, seq
    out["has_depth"], out["venue_id"] = own["has_depth"], own["venue_id"]
    out["session_id"], out["liquidity_id"] = _session_id(own, now), own["liquidity"]
    bid, ask, bid_qty, ask_qty = own["bid"], own["ask"], own["bid_qty"], own["ask_qty"]
    lots = max(1, bid_qty + ask_qty)
    imbalance = (bid_qty - ask_qty) / lots if own["has_depth"] == 1 else 0.0
    out["spread_ticks"] = ask - bid
    out["qimbalance"] = imbalance
    out["microprice_off"] = 0.5 * (ask - bid) * imbalance
    out["ofi_norm"] = own["flow"] / own["flow_abs"] if own["flow_abs"] > 0.0 else 0.0
    out["refresh_hz"] = own["refresh"]
    out["stale_ms"] = min((now - own["touch_ns"]) * MS_NS, m.STALE_MS_MAX) if bid > 0 else 0.0
    extra["mid2"] = bid + ask
    extra["wide"] = 1.0 if ask - bid > 1 else 0.0
    extra["trade_imbalance"] = own["trade_flow"] / own["trade_abs"] if own["trade_abs"] > 0.0 else 0.0
    extra["sigma"] = 0.5 * ABSOLUTE_TO_SIGMA * own["sigma"]
    extra["sigma_mad"] = 0.5 * MAD_TO_SIGMA * own["deviation"]
    if own["has_depth"] == 1 and bid > 0:
        extra["queue_bid"] = math.log(bid_qty / own["queue_bid"])
        extra["queue_ask"] = math.log(ask_qty / own["queue_ask"])
        _write_depth(own, out)
    else:
        extra["queue_bid"], extra["queue_ask"] = 0.0, 0.0
        out["slope_bid"], out["curve_bid"], out["slope_ask"], out["curve_ask"] = 0.0, 0.0, 0.0, 0.0
        for k in range(2 * POOLS):
            out["depth_feat"][k] = 0.0


@kernel
def _write_depth(own: np.void, out: np.void) -> None:
    bids, asks = 0, 0
    for k in range(POOLS):
        bids += own["pools"][k]
        asks += own["pools"][POOLS + k]
    held_bids, held_asks = 0, 0
    slope_bid, slope_ask, curve_bid, curve_ask = 0.0, 0.0, 0.0, 0.0
    for k in range(POOLS):
        held_bids += own["pools"][k]
        held_asks += own["pools"][POOLS + k]
        share_bid, share_ask = held_bids / bids, held_asks / asks
        slope_bid += SLOPE[k] * share_bid
        slope_ask += SLOPE[k] * share_ask
        curve_bid += CURVE[k] * share_bid
        curve_ask += CURVE[k] * share_ask
        out["depth_feat"][k] = own["pools"][k] / (bids + asks)
        out["depth_feat"][POOLS + k] = own["pools"][POOLS + k] / (bids + asks)
    out["slope_bid"], out["slope_ask"], out["curve_bid"], out["curve_ask"] = slope_bid, slope_ask, curve_bid, curve_ask
