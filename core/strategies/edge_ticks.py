"""``edge_ticks``: the forecast's edge against the cost of trading on it, in ticks. For books (requirements ORD-09, 10).

Everything is in thousandths of a tick, so that nothing is lost to rounding where a whole spread is one tick. The edge
is rounded towards zero and the cost up: rounding never makes a trade.
"""

from typing import Final

import numpy as np

from core.flow import fill_probability_ppm
from core.jit import kernel
from core.records import PPM
from core.strategies.wants import BEST, CROSS, FLAT, HOLD, LONG, NO_OPINION, ON_PREDICTION, POST, SHORT
from core.units import DOWN, UP, mul_div

UNIT_MAX: Final = 2**50  # thousandths of a tick; a forecast of a hundred such units fits 64 bits


def edge_ticks(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """Trade when what the forecast is worth is more than what it costs to trade; equal is not more.

    The prediction's ``edge_ppm`` is delta_hat in millionths, the label of FEAT-19: the move of the mid over the
    horizon in units of max(spread, k sigma), with k = ``sigma_share_ppm`` and sigma = ``sigma_ppm`` of the mid. So
    edge = delta_hat x max(spread, k sigma), and the costs are those of ``cost_to_cross`` and ``cost_to_post``.
    ``entry`` names the way in; with "best" it crosses if the edge pays for that and posts if it only pays for that.
    What is posted may not fill: its edge counts with the probability that it does (``edge_if_posted``).

    FLAT once the forecast is no better than ``exit_edge_ppm`` for the side held: leaving costs the same now or later.
    """
    if view["event"] != ON_PREDICTION:
        return NO_OPINION
    proposal["in_milliticks"], proposal["edge"], proposal["cost"] = 1, 0, 0
    if view["bid"] == 0 or view["ask"] <= view["bid"]:
        return HOLD
    said, way = view["prediction"], params["entry"]
    edge = edge_milliticks(params, view["bid"], view["ask"], said["edge_ppm"], said["sigma_ppm"])
    cost = cost_to_cross(params, view["bid"], view["ask"])
    pays = abs(edge) > cost
    if way == POST or (way == BEST and not pays):
        cost, way = cost_to_post(params, view["bid"], view["ask"]), POST
        edge = edge_if_posted(params, view, edge)
        pays = abs(edge) > cost
    elif way == BEST:
        way = CROSS
    proposal["edge"], proposal["cost"], proposal["entry"] = edge, cost, way
    if pays:
        return LONG if edge > 0 else SHORT
    with_us = said["edge_ppm"] if view["lots"] >= 0 else -said["edge_ppm"]
    return FLAT if view["lots"] != 0 and with_us <= params["exit_edge_ppm"] else HOLD


@kernel
def edge_milliticks(params: np.void, bid: int, ask: int, delta_hat_ppm: int, sigma_ppm: int) -> int:
    """delta_hat x max(spread, k sigma) in thousandths of a tick, towards zero; 1 <= bid < ask in ticks."""
    sigma = mul_div(sigma_ppm, bid + ask, 2000, DOWN)
    unit = max(1000 * (ask - bid), mul_div(sigma, params["sigma_share_ppm"], PPM, DOWN))
    edge = mul_div(abs(delta_hat_ppm), min(unit, UNIT_MAX), PPM, DOWN)
    return edge if delta_hat_ppm > 0 else -edge


@kernel
def edge_if_posted(params: np.void, view: np.void, edge: int) -> int:
    """``edge`` times the probability that an order at our side's best fills (requirements ORD-11), towards zero.

    It stands behind all that is shown there. Without ``flow_lots`` it is taken to fill.
    """
    if params["flow_lots"] == 0:
        return edge
    ahead = view["bid_qty"] if edge > 0 else view["ask_qty"]
    fills_ppm = fill_probability_ppm(params["flow_lots"], ahead, PPM)  # our size x flow per lot of ours = flow_lots
    kept = mul_div(abs(edge), fills_ppm, PPM, DOWN)
    return kept if edge > 0 else -kept


@kernel
def cost_to_cross(params: np.void, bid: int, ask: int) -> int:
    """Half the spread + slippage + the taker's fee of entry and exit + adverse selection, thousandths of a tick, up.

    Fees are of both sides since a position must be left again; a rebate counts as none.
    """
    rate_ppm = params["slippage_ppm"] + 2 * max(0, params["taker_fee_ppm"])
    return 500 * (ask - bid) + mul_div(rate_ppm, bid + ask, 2000, UP) + params["adverse_milliticks"]


@kernel
def cost_to_post(params: np.void, bid: int, ask: int) -> int:
    """The maker's fee of the entry, the taker's of the exit, and adverse selection, thousandths of a tick, up.

    The half spread that a resting order may earn is not counted: it earns it when the price comes to us, and then the
    price often goes on.
    """
    rate_ppm = max(0, params["maker_fee_ppm"]) + max(0, params["taker_fee_ppm"])
    return mul_div(rate_ppm, bid + ask, 2000, UP) + params["adverse_milliticks"]
