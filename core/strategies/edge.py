"""``edge``: follow a model's expected return while it pays for the round trip. For bars."""

import numpy as np

from core.records import PPM
from core.strategies.wants import FLAT, HOLD, LONG, NO_OPINION, ON_PREDICTION


def edge(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """Enter when the edge earned over the expected holding time pays the round trip with a margin.

    LONG if edge x hold_horizons >= margin x round-trip cost; FLAT if one horizon's edge is at most exit_edge_ppm.
    """
    if view["event"] != ON_PREDICTION:
        return NO_OPINION
    edge_ppm = view["prediction"]["edge_ppm"]
    if edge_ppm <= params["exit_edge_ppm"]:
        return FLAT
    if edge_ppm * params["hold_horizons"] * PPM >= params["entry_margin_ppm"] * params["cost_ppm"]:
        return LONG
    return HOLD
