"""Typed settings: the one way configuration is parsed, and the sections a model is judged and traded under.

One schema for ``params.yaml``, a bundle's manifest and a runner's YAML, so that the three cannot differ in meaning.
Rates are parts per million (1 % = 10000 ppm, 1 bp = 100 ppm), times nanoseconds, money decimal strings: no floats.
Unknown or mistyped keys are errors that name the key. Every layer's own section derives from ``Section`` and goes
through ``parse``; this is the only module of ``core`` that knows msgspec.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from core.errors import BadConfig


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the configuration: parsed once, frozen, unknown keys refused."""


class Account(Section, frozen=True, kw_only=True):
    """What is traded with. ``spot`` is long-only without leverage, ``margin`` may be short and borrow."""

    profile: str = "spot"
    quote: str = "USDT"
    initial_cash: str = "100000"
    leverage_ppm: int = 1_000_000  # margin: exposure in ppm of equity that uses all margin; spot has none


class Latency(Section, frozen=True, kw_only=True):
    """How long messages take (``core.latency``): "constant", "sampled" or "recorded"."""

    kind: str = "constant"
    constant_ns: int = 0
    quantiles: tuple[tuple[int, int], ...] = ()  # sampled: (probability in ppm, ns) from 0 to 1000000 ppm
    scale_ppm: int = 1_000_000  # recorded: of the tape's feed latency


class QueueModel(Section, frozen=True, kw_only=True):
    """Where a resting order stands in its queue (``core.queue``): "risk_averse", "power" or "logarithm"."""

    kind: str = "risk_averse"
    power: int = 1  # power: 1 to 3
    unit_lots: int = 1  # logarithm: the quantity that counts as 1


class FeeRow(Section, frozen=True, kw_only=True):
    """One tier: rates for a 30-day volume in [volume_from, volume_below), decimals in the table's volume assets."""

    volume_from: str
    volume_below: str | None  # None: the last row
    maker_ppm: int
    taker_ppm: int


class FeeTable(Section, frozen=True, kw_only=True):
    """What a venue publishes (``data/fees/*.yaml``). A volume that no row covers is an error."""

    venue: str
    source: str  # where the figures are from
    as_of: str  # the date they were published or recorded
    volume_assets: tuple[str, ...]  # quote assets whose volume is counted at par
    fee_asset: str  # "quote", or "received": a buy pays in base
    third_asset: str = ""  # an asset that fees may be paid in instead
    third_discount_ppm: int = 0  # off the rate, if they are
    rows: tuple[FeeRow, ...]


class Fees(Section, frozen=True, kw_only=True):
    """One account at a venue with a fee table (``core.fees``)."""

    table: FeeTable
    volume_start: str = "0"  # traded in the thirty days before the first record
    pay_in_third: bool = False


class Impact(Section, frozen=True, kw_only=True):
    """What our own taking does to prices (``core.impact``): ppm of the price at a participation of one."""

    temporary_ppm: int = 0  # this execution
    permanent_ppm: int = 0  # every later one, in the direction pushed
    reference_lots: int = 0  # books: the lots that a participation of one means; bars take the bar's volume


class Simulation(Section, frozen=True, kw_only=True):
    """The replaceable models of the simulated venue. The defaults are constant latencies and no chance at all."""

    seed: int = 0
    request_latency: Latency | None = None  # None: order_latency_ns
    response_latency: Latency | None = None  # None: response_latency_ns; bars: reports come with the bar
    decision_latency: Latency | None = None  # books: a decision -> its request leaves; None: at once
    late_decision_ns: int = 0  # a decision that took longer enters at a worse price; 0: no such limit
    late_slippage_ppm: int = 0  # how much worse: the 90th percentile of slippage
    queue: QueueModel = QueueModel()
    partial_fills: bool = False  # books: fill what traded beyond the queue, not the whole order
    impact: Impact = Impact()
    fees: Fees | None = None  # None: the instruments' own rates
    reject_ppm: int = 0  # chance that the venue rejects a new order


class Execution(Section, frozen=True, kw_only=True):
    """How orders reach the simulated venue and fill there."""

    feed_latency_ns: int = 50_000_000  # bar close -> record known
    decision_latency_ns: int = 50_000_000  # record known -> prediction known
    order_latency_ns: int = 100_000_000  # intent -> venue
    response_latency_ns: int = 100_000_000  # venue -> its report known; bars: with the bar
    decision_clock: str = "timer"  # books: decide every interval ("timer"), or after every change as well ("event")
    decision_interval_ns: int = 100_000_000
    slippage_ppm: int = 100  # against us, on every market order
    participation_ppm: int = 100_000  # of a bar's volume that one order may take
    order_ttl_ns: int = 900_000_000_000  # an order not filled by then is cancelled
    simulation: Simulation = Simulation()


class Strategy(Section, frozen=True, kw_only=True):
    """Which plug-in strategy decides, and its thresholds. ``kind`` is a name in ``core.strategies``.

    ``docs/strategies.md`` says which settings each of them reads.
    """

    kind: str = "edge"
    hold_horizons: int = 4  # expected holding time in label horizons: the entry edge is earned that often
    entry_margin_ppm: int = 1_000_000  # edge * hold_horizons must exceed this multiple of the round-trip cost
    exit_edge_ppm: int = 0  # leave when the expected return of one horizon falls to this
    fast: int = 20  # sma: bars
    slow: int = 100  # sma: bars
    sizing: str = "volatility"  # "volatility": risk.sigma_target_ppm / sigma; "edge": edge_scale_ppm x edge / sigma
    edge_scale_ppm: int = 100_000  # of equity, bought at an edge of one sigma
    fixed_lots: int = 0  # above 0: size in lots instead
    entry: str = "market"  # "market", "cross", "post" (and follow the market) or "best" (of the two, edge_ticks)
    chase_ttl_ns: int = 10_000_000_000  # post: how long an entry follows the market
    sigma_share_ppm: int = 500_000  # edge_ticks: k, a forecast counts in max(spread, k sigma)
    adverse_milliticks: int = 0  # edge_ticks: expected move against us after a fill, thousandths of a tick
    flow_lots: int = 0  # edge_ticks, post: lots that trade at our price over the horizon; 0: what posts surely fills
    take_profit_ticks: int = 0  # leave at this distance from the price of the decision; 0: not by this
    take_profit_sigma_ppm: int = 0  # the same as a multiple of sigma
    stop_loss_ticks: int = 0
    stop_loss_sigma_ppm: int = 0
    reward_risk_ppm: int = 0  # the take-profit's distance as a multiple of the stop's
    order_lots: int = 1  # two-sided quotes: of one order
    inventory_lots: int = 10  # two-sided quotes: most held on either side
    inventory_skew_milliticks: int = 0  # two-sided quotes: by which both move against each lot held


class Assigned(Strategy, frozen=True, kw_only=True):
    """One of several strategies of an account, and what it trades."""

    symbols: tuple[str, ...]


class Group(Section, frozen=True, kw_only=True):
    """Instruments that fall together: a "theme" by what they are, a "cluster" by how they correlate."""

    name: str
    kind: str
    symbols: tuple[str, ...]
    cap_ppm: int  # of equity, pending orders included


class Risk(Section, frozen=True, kw_only=True):
    """Limits. Approvals obey them, facts are recorded even beyond them."""

    sigma_target_ppm: int = 500  # account loss at one sigma of one label horizon: size = target / sigma
    asset_cap_ppm: int = 300_000  # of equity, pending orders included
    total_cap_ppm: int = 950_000
    groups: tuple[Group, ...] = ()
    deleverage_ppm: int = 800_000  # margin: part of the margin in use beyond which positions are reduced
    caution_drawdown_ppm: int = 30_000
    halt_drawdown_ppm: int = 60_000
    flatten_drawdown_ppm: int = 90_000
    caution_multiplier_ppm: int = 500_000
    day_boundary: str = "UTC"  # where days and weeks begin at midnight: ``core.days.ZONES`` or "+02:00"
    daily_stop_ppm: int = 20_000  # of the day's first equity: no entry until the next day
    weekly_stop_ppm: int = 0  # of the week's first equity: no entry until the next Monday; 0: no limit
    flatten_daily_loss_ppm: int = 50_000  # cancel everything, close everything, halt
    daily_loss_limit_ppm: int = 0  # of the initial cash, from the day's first balance: as above (FTMO); 0: no limit
    total_loss_limit_ppm: int = 0  # of the initial cash, once and for all: as above; 0: no limit
    min_confidence_ppm: int = 0  # least max(p_up, p_down) for an entry
    prediction_ttl_ns: int = 60_000_000_000
    price_band_ppm: int = 100_000  # last close against the one before: no entry into a jump
    max_orders_per_hour: int = 60  # in any rolling hour; 0: no limit
    max_signals_per_hour: int = 0  # entries in any rolling hour; 0: no limit
    max_signals_per_hour_high: int = 0  # those of at least high_confidence_ppm; 0: no limit
    high_confidence_ppm: int = 700_000
    turnover_minute_ppm: int = 0  # of equity traded and pending in any rolling minute; 0: no limit
    turnover_hour_ppm: int = 0
    fee_guard_ppm: int = 0  # expected fee of an entry, of its value; 0: no limit
    fee_budget_day_ppm: int = 0  # fees of a day, of the day's first equity; 0: no limit
    depth_share_ppm: int = 0  # of the quantity shown at the best price that one entry may take; 0: no limit
    capacity_lots: dict[str, int] = {}  # by symbol: the most lots of one entry (from a capacity sweep)
    backoff_losses: int = 0  # losing round trips within the window that cut sizes for the day; 0: never
    backoff_window_ns: int = 3_600_000_000_000
    backoff_cut_ppm: int = 500_000  # by how much sizes are cut
    cooldown_ns: int = 0  # after an exit, per instrument
    circuit_failures: int = 5  # venue rejects in a row that open the circuit
    circuit_open_ns: int = 60_000_000_000
    whitelist: tuple[str, ...] = ()  # symbols; empty: all of the tape


class Trading(Section, frozen=True, kw_only=True):
    """Everything the compiled core is configured by."""

    account: Account = Account()
    execution: Execution = Execution()
    strategy: Strategy = Strategy()
    strategies: tuple[Assigned, ...] = ()  # several, instead of ``strategy``: each instrument belongs to one
    risk: Risk = Risk()


T = TypeVar("T")


def parse(kind: type[T], fields: Any, *, where: str) -> T:
    """``fields`` (plain YAML or JSON data) as ``kind``.

    Raises BadConfig naming ``where`` and the key for unknown keys and wrong types.
    """
    try:
        return msgspec.convert(fields, kind, strict=True)
    except msgspec.ValidationError as error:
        unquoted = "Expected `str`, got `int`" in str(error) or "Expected `str`, got `float`" in str(error)
        remedy = """; decimals are quoted: "0.5" in YAML, -S 'key="0.5"' on a command line""" if unquoted else ""
        raise BadConfig(f"{where}: {error}{remedy}") from None


def within(key: str, value: int, low: int, high: int) -> None:
    """Raise BadConfig naming ``key``, its value and the limits unless ``value`` lies in [low, high]."""
    if not low <= value <= high:
        raise BadConfig(f"{key} is {value}; it must lie in [{low}, {high}]")


def decimal(key: str, text: str, low: str, high: str) -> Decimal:
    """The decimal string ``text`` as a number.

    Raises BadConfig naming ``key``, its value and the limits unless it is one in [low, high].
    """
    try:
        value = Decimal(text)
        valid = Decimal(low) <= value <= Decimal(high)
    except InvalidOperation:  # no number, or not comparable: NaN
        valid = False
    if not valid:
        raise BadConfig(f"{key} is {text!r}; it must be a decimal in [{low}, {high}], written as text such as '0.5'")
    return value


def as_json(section: msgspec.Struct) -> dict[str, Any]:
    """A section as plain JSON data."""
    data: dict[str, Any] = msgspec.to_builtins(section)
    return data
