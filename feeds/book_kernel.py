"""The compiled half of ``feeds.book_market``: one instrument's records, message by message.

Everything is an integer, every draw ``core.chance``'s for (seed, stream, counter). Rates are messages a second x UNIT,
lots are held as (2, depth): bids, asks, from the touch outwards, at neighbouring ticks.
"""

import math
from typing import Final

import numpy as np

from core import chance
from core.jit import entry, kernel
from core.records import MINUTE_NS, PPM, Kind, MarketFlag, MarketStatus, Side
from feeds.book_settings import DEPTH_MAX

UNIT: Final = 2**20  # one, in fixed point
LEAN_MAX_PPM: Final = 900_000  # however strong the signal, one move in twenty goes against it
MOVE_TICKS_MAX: Final = 3
ROOM: Final = 2 * DEPTH_MAX + 8  # records of the longest message: what a buffer must have left
BURST: Final = 20 * UNIT  # news: so many messages a second more
EXCITATION_MAX: Final = 2_000 * UNIT
QUANTA: Final = 256  # steps of the decay in one half-life
QUANTA_AT_ONCE: Final = QUANTA // 4  # the rate is held constant for so long
FAR_FUTURE_NS: Final = 2**62

# Streams: the instrument's number is the low word (``feeds.book_market``), so none is one of core.chance.Purpose's.
MESSAGE: Final = 1 << 32
LOTS: Final = 2 << 32
MINUTE: Final = 3 << 32
AUCTION_PRICE: Final = 4 << 32

# Quantiles of the exponential distribution in 4096 cells; the last one is drawn again beyond its beginning.
CELLS: Final = 4096
WAITS: Final = np.array([round(-math.log(1.0 - k / CELLS) * UNIT) for k in range(CELLS)], np.int64)
DECAY: Final = np.array([round(2.0 ** (-k / QUANTA) * UNIT) for k in range(QUANTA)], np.int64)

IS_LEVEL: Final = int(Kind.LEVEL)
IS_TRADE: Final = int(Kind.TRADE)
IS_CLEAR: Final = int(Kind.CLEAR)
IS_STATUS: Final = int(Kind.STATUS)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
LAST: Final = int(MarketFlag.LAST)
SNAPSHOT: Final = int(MarketFlag.SNAPSHOT)
TRADING: Final = int(MarketStatus.TRADING)
AUCTION: Final = int(MarketStatus.AUCTION)

_ENDS: Final = 0  # what comes next: the phase's end, a message of the flow, news
_FLOW: Final = 1
_NEWS: Final = 2

PHASE: Final = np.dtype([("start_ns", "<i8"), ("status", "<i8"), ("until_ns", "<i8")])
RULES: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("seed", "number", "instrument", "latency_ns", "depth", "level_lots", "spread", "rate", "lean_ppm"),
            *("memory", "quantum_ns", "excites", "trade_ppm", "spread_ppm", "persistence_ppm", "sweep_ppm"),
            *("jump_ppm", "jump_min", "jump_max", "gap_max"),
        )
    ]
)
REGIME: Final = np.dtype([("rate_ppm", "<i8"), ("move_ppm", "<i8"), ("spread", "<i8")])
STATE: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("at_ns", "phase", "status", "shown", "bid", "ask", "lowest"),  # lowest: of all best bids so far
            *("minute", "regime", "base", "jump_ns", "jump_ticks", "excitation", "excited_ns"),
            *("flow", "sign", "messages", "refills", "updates", "trades"),
        )
    ]
)


@entry
def fill(
    state: np.ndarray,
    lots: np.ndarray,
    rules: np.ndarray,
    regimes: np.ndarray,
    chances: np.ndarray,
    hours_ppm: np.ndarray,
    phases: np.ndarray,
    out: np.ndarray,
) -> int:
    """Go on with the day of ``phases`` (n,) PHASE until it is over (``state["phase"]`` is n) or ``out`` is full.

    ``state`` (1,) STATE and ``lots`` (2, depth) carry on from call to call; ``rules`` (1,) RULES, ``regimes`` (r,)
    REGIME, ``chances`` (r, r) cumulated ppm, ``hours_ppm`` (24,), ``out`` zeros of dtype RECORD. Returns the rows made.
    """
    now, rule, count = state[0], rules[0], 0
    while count + ROOM <= len(out) and now["phase"] < len(phases):
        phase = phases[now["phase"]]
        if now["status"] == TRADING:
            a, b, c, d = chance.block(rule["seed"], MESSAGE + rule["number"], now["messages"])
            now["messages"] += 1
            coming = _wait(now, rule, regimes, chances, hours_ppm, _exponential(a), phase["start_ns"])
        else:
            b, c, d, coming = 0, 0, 0, _ENDS
        now["updates"] += 1
        if coming == _FLOW:
            count = _message(now, rule, regimes[now["regime"]], lots, b, c, d, out, count)
            now["excitation"] = min(now["excitation"] + rule["excites"], EXCITATION_MAX)
        elif coming == _NEWS:
            count = _jump(now, rule, lots, out, count)
            now["regime"], now["excitation"] = len(regimes) - 1, min(now["excitation"] + BURST, EXCITATION_MAX)
        else:
            count = _begin(now, rule, phase, lots, out, count)
        if out[count - 1]["kind"] != IS_STATUS:
            out[count - 1]["flags"] |= LAST
    return count


@entry
def lean_after(records: np.ndarray, flows: np.ndarray, lean_ppm: int, memory: int, out: np.ndarray) -> None:
    """``feeds.book_market.foresight`` by record: ``flows`` (instruments,) carries on, ``out`` (n,) in ppm."""
    for row in range(len(records)):
        index = records[row]["instrument"]
        if records[row]["kind"] == IS_TRADE:
            flows[index] = _flow_after(flows[index], 1 if records[row]["side"] == BUY else -1, memory)
        out[row] = _lean_ppm(lean_ppm, flows[index])


@kernel
def _exponential(word: int) -> int:
    """A unit exponential x UNIT from 32 bits, by interpolation between quantiles."""
    cell, rest = word >> 20, word & 0xFFFFF
    beyond = 0
    if cell == CELLS - 1:
        beyond = WAITS[CELLS - 1]
        cell, rest = rest >> 8, (rest & 0xFF) << 12
        cell = min(cell, CELLS - 2)
    return beyond + WAITS[cell] + ((WAITS[cell + 1] - WAITS[cell]) * rest >> 20)


@kernel
def _wait(
    now: np.void,
    rule: np.void,
    regimes: np.ndarray,
    chances: np.ndarray,
    hours_ppm: np.ndarray,
    hazard: int,
    end_ns: int,
) -> int:
    """Let time pass until the rate has used up ``hazard``, news comes, or ``end_ns``; which of them it was."""
    while True:
        if now["at_ns"] >= (now["minute"] + 1) * MINUTE_NS:
            _begin_minute(now, rule, regimes, chances, hours_ppm)
        _cool(now, rule)
        rate = now["base"] + now["excitation"]
        until = min(end_ns, now["jump_ns"], (now["minute"] + 1) * MINUTE_NS)
        if now["excitation"] > now["base"] >> 4:
            until = min(until, now["excited_ns"] + QUANTA_AT_ONCE * rule["quantum_ns"])
        needed_ns = hazard * 1_000_000_000 // rate + 1
        if now["at_ns"] + needed_ns < until:
            now["at_ns"] += needed_ns
            return _FLOW
        hazard = max(0, hazard - rate * ((until - now["at_ns"]) // 1_000) // 1_000_000)
        now["at_ns"] = until
        if until == end_ns:
            return _ENDS
        if until == now["jump_ns"]:
            now["jump_ns"] = FAR_FUTURE_NS
            return _NEWS


@kernel
def _cool(now: np.void, rule: np.void) -> None:
    """What earlier messages call forth halves every half-life, in whole quanta."""
    quanta = (now["at_ns"] - now["excited_ns"]) // rule["quantum_ns"]
    if quanta > 0:
        now["excited_ns"] += quanta * rule["quantum_ns"]
        now["excitation"] = (now["excitation"] * DECAY[quanta % QUANTA] >> 20) >> min(quanta // QUANTA, 62)


@kernel
def _begin_minute(now: np.void, rule: np.void, regimes: np.ndarray, chances: np.ndarray, hours_ppm: np.ndarray) -> None:
    """The regime and the hour of a minute, and whether news comes in it."""
    now["minute"] = now["at_ns"] // MINUTE_NS
    a, b, c, d = chance.block(rule["seed"], MINUTE + rule["number"], now["minute"])
    regime, drawn = 0, a * PPM >> 32
    while drawn >= chances[now["regime"], regime]:
        regime += 1
    now["regime"] = regime
    share = hours_ppm[now["minute"] // 60 % 24] * regimes[regime]["rate_ppm"] // PPM
    now["base"] = max(1, rule["rate"] * share // PPM)
    now["jump_ns"] = FAR_FUTURE_NS
    if b * PPM >> 32 < rule["jump_ppm"]:
        offset_ns = (c >> 8) * MINUTE_NS >> 24
        if now["minute"] * MINUTE_NS + offset_ns > now["at_ns"]:
            now["jump_ns"] = now["minute"] * MINUTE_NS + offset_ns
    size = rule["jump_min"] + ((d >> 1) * (rule["jump_max"] - rule["jump_min"] + 1) >> 31)
    now["jump_ticks"] = size if d & 1 == 1 else -size


@kernel
def _begin(now: np.void, rule: np.void, phase: np.void, lots: np.ndarray, out: np.ndarray, count: int) -> int:
    """A phase of the day begins: an auction that ends is printed, the venue says its status, the book may go."""
    now["at_ns"] = phase["start_ns"]
    if now["status"] == AUCTION:
        count = _uncross(now, rule, lots, phase["status"] == TRADING, out, count)
    count = _put(now, rule, out, count, IS_STATUS, 0, phase["status"], phase["until_ns"], 0)
    if phase["status"] == AUCTION and now["shown"] == 1:
        count = _clear(now, rule, out, count)
        now["shown"] = 0
    if phase["status"] == TRADING:
        now["excitation"], now["excited_ns"] = 0, now["at_ns"]
        now["minute"] = now["at_ns"] // MINUTE_NS - 1  # _wait begins the minute
    now["status"] = phase["status"]
    now["phase"] += 1
    return count


@kernel
def _uncross(now: np.void, rule: np.void, lots: np.ndarray, opens: bool, out: np.ndarray, count: int) -> int:
    """The auction's price is a fair gap from the last book; a book follows where trading does."""
    a, b, c, _ = chance.block(rule["seed"], AUCTION_PRICE + rule["number"], now["at_ns"] // MINUTE_NS)
    gap = b * (rule["gap_max"] + 1) >> 32
    _shift(now, gap if a >> 31 == 1 else -gap)
    side = BUY if c >> 31 == 1 else SELL
    count = _trade_at(now, rule, out, count, side, (now["bid"] + now["ask"]) >> 1, 8 * rule["level_lots"])
    if opens:
        count = _snapshot(now, rule, lots, out, count)
        now["shown"] = 1
    out[count - 1]["flags"] |= LAST  # a status follows
    return count


@kernel
def _jump(now: np.void, rule: np.void, lots: np.ndarray, out: np.ndarray, count: int) -> int:
    """News: all quotes are pulled and come back elsewhere, in one message."""
    count = _clear(now, rule, out, count)
    _shift(now, now["jump_ticks"])
    return _snapshot(now, rule, lots, out, count)


@kernel
def _shift(now: np.void, ticks: int) -> None:
    now["bid"] += ticks
    now["ask"] += ticks
    now["lowest"] = min(now["lowest"], now["bid"])


@kernel
def _clear(now: np.void, rule: np.void, out: np.ndarray, count: int) -> int:
    for side in (BUY, SELL):
        count = _put(now, rule, out, count, IS_CLEAR, side, 0, 0, now["updates"])
    return count


@kernel
def _snapshot(now: np.void, rule: np.void, lots: np.ndarray, out: np.ndarray, count: int) -> int:
    """A whole new book around the best prices."""
    first = count
    for side in (BUY, SELL):
        for level in range(rule["depth"]):
            lots[side - 1, level] = _new_lots(now, rule)
            count = _level(now, rule, lots, out, count, side, level)
    for row in range(first, count):
        out[row]["flags"] = SNAPSHOT
    return count


@kernel
def _message(
    now: np.void, rule: np.void, regime: np.void, lots: np.ndarray, b: int, c: int, d: int, out: np.ndarray, count: int
) -> int:
    """One message of the flow, decided by three words of 32 bits."""
    pick = b * PPM >> 32
    if pick < regime["move_ppm"]:
        return _move(now, rule, lots, c, d, out, count)
    pick -= regime["move_ppm"]
    if pick < rule["spread_ppm"]:
        return _respread(now, rule, rule["spread"] + regime["spread"], lots, c, d, out, count)
    if pick - rule["spread_ppm"] < rule["trade_ppm"]:
        return _trade(now, rule, lots, c, d, out, count)
    return _quote(now, rule, lots, c, d, out, count)


@kernel
def _flow_after(flow: int, sign: int, memory: int) -> int:
    """The mean of signs x UNIT after one more; rounded towards 0, so that both sides are alike."""
    total = flow * (memory - 1) + sign * UNIT
    return total // memory if total >= 0 else -(-total // memory)


@kernel
def _lean_ppm(lean_ppm: int, flow: int) -> int:
    """How much likelier the mid's next change is up than down."""
    size = min(lean_ppm * abs(flow) >> 20, LEAN_MAX_PPM)
    return size if flow >= 0 else -size


@kernel
def _goes_up(now: np.void, rule: np.void, word: int) -> bool:
    """The direction of a change of the mid: where the planted signal acts, and nowhere else."""
    return 2 * (word * PPM >> 32) < PPM + _lean_ppm(rule["lean_ppm"], now["flow"])


@kernel
def _move(now: np.void, rule: np.void, lots: np.ndarray, c: int, d: int, out: np.ndarray, count: int) -> int:
    """One side loses its best levels, to a trade or to cancels, and the other one follows: the spread stays."""
    ticks = 1 + int(d >> 30 == 0) + int(d >> 28 == 0)
    sweeps = (d & 0xFFFF) * PPM >> 16 < rule["sweep_ppm"]
    leaves, follows = (SELL, BUY) if _goes_up(now, rule, c) else (BUY, SELL)
    count = _retreat(now, rule, lots, leaves, ticks, sweeps, out, count)
    return _join(now, rule, lots, follows, ticks, out, count)


@kernel
def _respread(
    now: np.void, rule: np.void, wanted: int, lots: np.ndarray, c: int, d: int, out: np.ndarray, count: int
) -> int:
    """One side's best price comes or goes: the mid changes by half a tick, the spread by one."""
    spread = now["ask"] - now["bid"]
    quarters = 3 if spread > wanted else (1 if spread < wanted else 2)
    narrows, up = spread > 1 and d >> 30 < quarters, _goes_up(now, rule, c)
    if narrows:
        return _join(now, rule, lots, BUY if up else SELL, 1, out, count)
    return _retreat(now, rule, lots, SELL if up else BUY, 1, False, out, count)


@kernel
def _trade(now: np.void, rule: np.void, lots: np.ndarray, c: int, d: int, out: np.ndarray, count: int) -> int:
    """A trade that leaves something at the touch; where one lot rests there, a quote instead."""
    sign = now["sign"] if (c >> 16) * PPM >> 16 < rule["persistence_ppm"] else -now["sign"]
    side, rests = (BUY, SELL) if sign > 0 else (SELL, BUY)
    heavy = (d >> 16) * (d & 0xFFFF) >> 16
    qty = min(1 + (heavy * rule["level_lots"] >> 16), lots[rests - 1, 0] - 1)
    if qty < 1:
        return _quote(now, rule, lots, c, d, out, count)
    count = _trade_at(now, rule, out, count, side, now["ask"] if sign > 0 else now["bid"], qty)
    lots[rests - 1, 0] -= qty
    return _level(now, rule, lots, out, count, rests, 0)


@kernel
def _quote(now: np.void, rule: np.void, lots: np.ndarray, c: int, d: int, out: np.ndarray, count: int) -> int:
    """Lots come to a level, more often near the touch, or leave it; the fuller it is, the likelier they leave."""
    side = BUY if c >> 31 == 1 else SELL
    level = ((c & 0x7FFF) * ((c >> 15) & 0x7FFF)) * rule["depth"] >> 30
    have, usual = lots[side - 1, level], rule["level_lots"]
    qty = 1 + ((d >> 16) * usual >> 17)
    if have == 1 or (d & 0xFFFF) * (have + usual) < usual << 16:
        lots[side - 1, level] = have + qty
    else:
        lots[side - 1, level] = max(1, have - qty)
    return _level(now, rule, lots, out, count, side, level)


@kernel
def _retreat(
    now: np.void, rule: np.void, lots: np.ndarray, side: int, ticks: int, sweeps: bool, out: np.ndarray, count: int
) -> int:
    """The side's best ``ticks`` levels are traded or cancelled; as many appear at its far end."""
    own, depth = lots[side - 1], rule["depth"]
    for level in range(ticks):
        if sweeps:
            taker = BUY if side == SELL else SELL
            count = _trade_at(now, rule, out, count, taker, _price(now, side, level), own[level])
        own[level] = 0
        count = _level(now, rule, lots, out, count, side, level)
    for level in range(depth - ticks):
        own[level] = own[level + ticks]
    if side == BUY:
        now["bid"] -= ticks
        now["lowest"] = min(now["lowest"], now["bid"])
    else:
        now["ask"] += ticks
    for level in range(depth - ticks, depth):
        own[level] = _new_lots(now, rule)
        count = _level(now, rule, lots, out, count, side, level)
    return count


@kernel
def _join(now: np.void, rule: np.void, lots: np.ndarray, side: int, ticks: int, out: np.ndarray, count: int) -> int:
    """``ticks`` better levels appear; as many leave the far end."""
    own, depth = lots[side - 1], rule["depth"]
    for level in range(depth - ticks, depth):
        own[level] = 0
        count = _level(now, rule, lots, out, count, side, level)
    for level in range(depth - 1, ticks - 1, -1):
        own[level] = own[level - ticks]
    if side == BUY:
        now["bid"] += ticks
    else:
        now["ask"] -= ticks
    for level in range(ticks - 1, -1, -1):
        own[level] = _new_lots(now, rule)
        count = _level(now, rule, lots, out, count, side, level)
    return count


@kernel
def _new_lots(now: np.void, rule: np.void) -> int:
    """Lots of a new level: uniform, the usual size on average."""
    word, _, _, _ = chance.block(rule["seed"], LOTS + rule["number"], now["refills"])
    now["refills"] += 1
    return 1 + (word * rule["level_lots"] >> 31)


@kernel
def _price(now: np.void, side: int, level: int) -> int:
    return now["bid"] - level if side == BUY else now["ask"] + level


@kernel
def _level(now: np.void, rule: np.void, lots: np.ndarray, out: np.ndarray, count: int, side: int, level: int) -> int:
    """The level as it is now."""
    price, qty = _price(now, side, level), lots[side - 1, level]
    return _put(now, rule, out, count, IS_LEVEL, side, price, qty, now["updates"])


@kernel
def _trade_at(now: np.void, rule: np.void, out: np.ndarray, count: int, side: int, price: int, qty: int) -> int:
    now["sign"] = 1 if side == BUY else -1
    now["flow"] = _flow_after(now["flow"], now["sign"], rule["memory"])
    now["trades"] += 1
    return _put(now, rule, out, count, IS_TRADE, side, price, qty, now["trades"])


@kernel
def _put(
    now: np.void, rule: np.void, out: np.ndarray, count: int, kind: int, side: int, first: int, second: int, third: int
) -> int:
    row = out[count]
    row["ts_event"], row["ts_known"] = now["at_ns"], now["at_ns"] + rule["latency_ns"]
    row["kind"], row["side"], row["instrument"] = kind, side, rule["instrument"]
    row["a"], row["b"], row["c"] = first, second, third
    return count + 1
