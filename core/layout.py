"""Where the core keeps things: one nested record per owner, packed, int64 throughout.

A compiled function receives such records and never an array view of their insides: that is seven times faster, since
nothing in the loop is reference counted. A state is its bytes: equal sessions have equal states, byte for byte.
"""

from typing import Final

import numpy as np

from core.instruments import INSTRUMENT
from core.records import BAR, PREDICTION, RECORD

INSTRUMENTS_MAX: Final = 16
MEMORY_WORDS: Final = 256  # int64 words a strategy may keep per instrument
RATE_SLOTS: Final = 256  # submit times kept for the rolling hour
FILL_SLOTS: Final = 256  # executions kept per instrument, to know a fill that is delivered again
OUTBOX_SLOTS: Final = 64  # most records one input can produce
PRICE_TICKS_MAX: Final = 2**42  # so that price x window x window of a moving average stays inside 64 bits


def _ints(*names: str) -> list[tuple[str, str]]:
    return [(name, "<i8") for name in names]


PARAMS: Final = np.dtype(
    _ints(
        "hold_horizons",
        "entry_margin_ppm",
        "exit_edge_ppm",
        "fast",
        "slow",
        "cost_ppm",  # of a round trip in this instrument: 2 x (taker fee + slippage)
    )
)
MEMORY: Final = np.dtype([("words", "<i8", (MEMORY_WORDS,))])

MARKET: Final = np.dtype(
    [
        ("instrument", INSTRUMENT),
        ("params", PARAMS),
        *_ints(
            "allowed",  # 1: on the whitelist
            "price_max",  # ticks; price x value_num fits 62 bits
            "lots_max",  # base units of that many lots fit 61 bits
            "unit_den",  # value_den x lot_units: divides price x value_num x base units to quote units
        ),
    ]
)

CONFIG: Final = np.dtype(
    [
        *_ints(
            "n_instruments",
            "key",  # of the approval token, derived from everything else here
            "initial_cash",  # quote units
            "equity_max",  # quote units: the bound all arithmetic was proven for
            "order_latency_ns",
            "slippage_ppm",
            "participation_ppm",
            "order_ttl_ns",
            "fixed_lots",
            "sigma_target_ppm",
            "asset_cap_ppm",
            "total_cap_ppm",
            "caution_drawdown_ppm",
            "halt_drawdown_ppm",
            "flatten_drawdown_ppm",
            "caution_multiplier_ppm",
            "daily_stop_ppm",
            "flatten_daily_loss_ppm",
            "min_confidence_ppm",
            "prediction_ttl_ns",
            "price_band_ppm",
            "max_orders_per_hour",
            "cooldown_ns",
            "circuit_failures",
            "circuit_open_ns",
        ),
        ("markets", MARKET, (INSTRUMENTS_MAX,)),
    ]
)

ACCOUNT: Final = np.dtype(
    _ints(
        "now_ns",  # the latest ts_known seen: the core's only clock
        "cash",  # quote units
        "exposure",  # quote units, all positions at their last price
        "equity",  # cash + exposure
        "next_order_id",
    )
)

POSITION: Final = np.dtype(
    [
        *_ints(
            "base_units",
            "value",  # quote units at ``price``, rounded down
            "price",  # ticks: last bar's close or last fill, whichever is later
            "previous_close",  # ticks; 0 before the second bar
            "decided_ts",  # latest bar_ts a decision was made for: the key of idempotence
            "exit_ns",  # when the position last became flat; 0: never
        ),
        ("bar", BAR),
        ("prediction", PREDICTION),
        ("memory", MEMORY),
    ]
)

ORDER_SLOT: Final = np.dtype(
    _ints(
        "order_id",
        "side",
        "state",
        "qty",  # lots
        "filled",
        "price",  # ticks at approval: what the reserved cash and exposure are counted at
        "deadline_ns",
    )
)

RISK_STATE: Final = np.dtype(
    [
        *_ints(
            "state",
            "peak_equity",
            "drawdown_ppm",
            "day",  # UTC days since the epoch
            "day_equity",  # at the start of that day
            "day_floor",  # equity at or below which the daily stop holds
            "day_stopped",
            "failures",  # venue rejects in a row
            "circuit_until_ns",
            "submitted",  # orders ever submitted; index into the ring below
        ),
        ("submit_ns", "<i8", (RATE_SLOTS,)),
    ]
)

EXECUTIONS: Final = np.dtype(
    [
        *_ints(
            "booked",  # fills ever booked; index into the rings below
            "exec_id_max",  # an id above it is new: most venues count upwards, and nothing need be searched
        ),
        ("order_ids", "<i8", (FILL_SLOTS,)),
        ("exec_ids", "<i8", (FILL_SLOTS,)),
    ]
)

STATE: Final = np.dtype(
    [
        ("account", ACCOUNT),
        ("risk", RISK_STATE),
        ("positions", POSITION, (INSTRUMENTS_MAX,)),
        ("orders", ORDER_SLOT, (INSTRUMENTS_MAX,)),  # at most one live order per instrument
        ("executions", EXECUTIONS, (INSTRUMENTS_MAX,)),
    ]
)

WORKING: Final = np.dtype(
    _ints(
        "order_id",  # 0: none
        "side",
        "qty",
        "filled",
        "arrival_ns",
        "deadline_ns",
        "cancel_ns",  # when a cancel request arrives; 0: none
        "acknowledged",
        "last_close_ns",  # ts_event of the instrument's previous bar
    )
)
VENUE: Final = np.dtype([*_ints("next_exec_id"), ("working", WORKING, (INSTRUMENTS_MAX,))])

OUTBOX: Final = np.dtype([*_ints("count"), ("records", RECORD, (OUTBOX_SLOTS,))])
