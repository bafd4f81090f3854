"""What comes from outside earns nothing and loses nothing: transfers, funding, and the limits that move with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import risk, units
from core.errors import BadInput
from core.records import DAY_NS, FUNDING, PPM, TRANSFER, FeeAsset, Kind, Reason, RiskState, TransferCause
from tests.core.build import BTC, START_NS, Desk, bars, only, trading

USDT = 10**8  # quote units
CASH = 100_000 * USDT
CLOSE = 1_000_000  # 10,000 USDT
BASE_UNITS_MAX = 2**61
NO_DAILY = {"daily_stop_ppm": PPM, "flatten_daily_loss_ppm": PPM}
NO_TIERS = {"caution_drawdown_ppm": 500_000, "halt_drawdown_ppm": 600_000, "flatten_drawdown_ppm": 700_000}
# limit: (its settings, where it is reached below 100,000 USDT of start, day and week, what is recorded)
LIMITS = {
    "day": ({"daily_stop_ppm": 20_000}, 98_000, Reason.DAILY_STOP),
    "day, closing": ({"daily_stop_ppm": 50_000, "flatten_daily_loss_ppm": 50_000}, 95_000, Reason.DAILY_FLATTEN),
    "day, of the capital": (
        {"daily_stop_ppm": 45_000, "daily_loss_limit_ppm": 45_000, "flatten_daily_loss_ppm": PPM},
        95_500,
        Reason.DAILY_FLATTEN,
    ),
    "week": ({"daily_stop_ppm": 30_000, "weekly_stop_ppm": 30_000}, 97_000, Reason.WEEKLY_STOP),
    "total": (
        {"daily_stop_ppm": PPM, "flatten_daily_loss_ppm": PPM, "total_loss_limit_ppm": 90_000},
        91_000,
        Reason.TOTAL_LOSS_FLATTEN,
    ),
}


def started(price: int = CLOSE, **changes: object) -> Desk:
    """An account of 100,000 USDT that has seen a bar of BTC, at 10,000 USDT unless another ``price`` is given."""
    desk = Desk(trading(**{**NO_TIERS, **changes}), (BTC,), venue=False)
    desk.feed(bars([price]))
    return desk


def transfer(
    desk: Desk, amount: int, cause: TransferCause, *, asset: FeeAsset = FeeAsset.QUOTE, instrument: int = 0
) -> np.ndarray:
    """The RISK records of ``amount`` units that come in (below 0: go out)."""
    row = np.zeros(1, TRANSFER)
    row["kind"], row["flags"], row["cause"], row["instrument"] = Kind.TRANSFER, asset, cause, instrument
    row["ts_event"] = row["ts_known"] = max(START_NS, int(desk.state[0]["account"]["now_ns"]))
    row["amount"] = amount
    return only(desk.feed(row), Kind.RISK)


def lose_to(desk: Desk, equity: int) -> list[int]:
    """Reasons of what happened when the venue's books turned out to hold ``equity``."""
    lost = transfer(desk, equity - int(desk.state[0]["account"]["equity"]), TransferCause.ADJUSTMENT)
    return [int(row["reason"]) for row in lost[1:]]


def moved(desk: Desk, amount: int) -> None:
    cause = TransferCause.DEPOSIT if amount > 0 else TransferCause.WITHDRAWAL
    (said,) = transfer(desk, amount, cause)
    assert (said["reason"], said["value"]) == (Reason.DEPOSIT if amount > 0 else Reason.WITHDRAWAL, amount)


@pytest.mark.parametrize("name", list(LIMITS))
@pytest.mark.parametrize("amount", [0, 40_000 * USDT, -30_000 * USDT])
def test_what_may_still_be_lost_is_the_same_sum_after_a_transfer(name: str, amount: int) -> None:
    settings, floor, reason = LIMITS[name]
    desk = started(**settings)
    assert lose_to(desk, 99_000 * USDT) == []
    if amount:
        moved(desk, amount)
    floor = floor * USDT + amount
    assert lose_to(desk, floor + 1) == []
    assert reason in lose_to(desk, floor)
    (said,) = [row for row in only(desk.out[-1], Kind.RISK) if row["reason"] == reason]
    assert said["value"] == (CASH + amount - floor) * PPM // (CASH + amount), "of what it is measured from, moved too"


@given(st.integers(USDT, 2 * CASH), st.integers(1, 2 * CASH))
def test_drawdown_is_the_same_ratio_after_a_transfer(before: int, after: int) -> None:
    desk = started(daily_stop_ppm=PPM, flatten_daily_loss_ppm=PPM)
    lose_to(desk, before)
    peak, drawdown = max(CASH, before), int(risk.drawdown_ppm(desk.state[0]))
    assert desk.state[0]["risk"]["peak_equity"] == peak
    if before == after:
        return
    transfer(desk, after - before, TransferCause.DEPOSIT if after > before else TransferCause.WITHDRAWAL)
    assert desk.state[0]["risk"]["peak_equity"] == -(-peak * after // before)
    assert drawdown <= risk.drawdown_ppm(desk.state[0]) <= drawdown + 1 + PPM // after


@pytest.mark.parametrize(
    ("before", "after", "peak"),
    [
        (90_000 * USDT, 0, 10_000 * USDT),  # everything goes: what was lost is left to be lost again
        (-5_000 * USDT, 20_000 * USDT, 125_000 * USDT),
        (-5_000 * USDT, 0, 105_000 * USDT),
        (0, 20_000 * USDT, 120_000 * USDT),
        (0, -1, CASH - 1),
        (1, 0, CASH - 1),
        (1, 2, 2 * CASH),  # a ratio again
        (2, 1, CASH // 2),
    ],
)
def test_without_a_ratio_the_peak_moves_by_the_amount(before: int, after: int, peak: int) -> None:
    desk = started(profile="margin", daily_stop_ppm=PPM, flatten_daily_loss_ppm=PPM)
    lose_to(desk, before)
    transfer(desk, after - before, TransferCause.DEPOSIT)
    assert desk.state[0]["risk"]["peak_equity"] == peak


def test_a_peak_is_one_unit_at_least() -> None:
    desk = started(daily_stop_ppm=PPM, flatten_daily_loss_ppm=PPM)
    transfer(desk, -CASH, TransferCause.WITHDRAWAL)
    assert desk.state[0]["risk"]["peak_equity"] == 1


def test_more_than_the_day_began_with_may_be_taken_out() -> None:
    """Profit and all: the day and the week then began with nothing, and nothing can be a loss of more than that."""
    desk = started(daily_stop_ppm=20_000, weekly_stop_ppm=20_000)
    transfer(desk, 50_000 * USDT, TransferCause.ADJUSTMENT)
    moved(desk, -140_000 * USDT)
    assert desk.state[0]["account"]["equity"] == 10_000 * USDT
    assert desk.state[0]["risk"]["day_equity"] == desk.state[0]["risk"]["week_equity"] == 0
    assert lose_to(desk, 6_000 * USDT) == []


def test_who_has_taken_out_more_than_was_paid_in_has_no_capital_to_lose() -> None:
    """The day's limit is a share of the capital: of nothing, nothing."""
    desk = started(daily_stop_ppm=45_000, daily_loss_limit_ppm=45_000, flatten_daily_loss_ppm=PPM)
    transfer(desk, 50_000 * USDT, TransferCause.ADJUSTMENT)
    moved(desk, -120_000 * USDT)
    said = only(desk.feed(bars([CLOSE], start_ns=START_NS + DAY_NS)), Kind.RISK)
    assert Reason.DAILY_FLATTEN in said["reason"]
    risk_state = desk.state[0]["risk"]
    assert risk_state["start_equity"] == -20_000 * USDT
    assert risk_state["day_limit_floor"] == risk_state["day_balance"] == 30_000 * USDT


def test_what_comes_in_base_is_worth_what_it_costs() -> None:
    desk = started()
    position, account = desk.state[0]["positions"][0], desk.state[0]["account"]
    (said,) = transfer(desk, 10**8 // 2 + 1, TransferCause.DEPOSIT, asset=FeeAsset.BASE)
    assert said["value"] == 5_000 * USDT + 10_000 == position["cost"] == position["value"]
    assert account["equity"] == CASH + 5_000 * USDT + 10_000 and account["cash"] == CASH
    assert (position["view"]["lots"], position["base_units"], position["realised"]) == (50_000, 10**8 // 2 + 1, 0)
    (said,) = transfer(desk, -(10**8 // 2) - 1, TransferCause.WITHDRAWAL, asset=FeeAsset.BASE)
    assert said["value"] == -5_000 * USDT - 10_000
    assert (position["cost"], position["value"], position["view"]["lots"], position["realised"]) == (0, 0, 0, 0)


def test_a_withdrawal_at_another_price_realises_what_the_rest_had_gained() -> None:
    """1 BTC at 10,000, sent away when it is worth 11,000: 1,000 were earned, and are booked when nothing is left."""
    desk = started()
    position = desk.state[0]["positions"][0]
    transfer(desk, 10**8, TransferCause.DEPOSIT, asset=FeeAsset.BASE)
    desk.feed(bars([11 * CLOSE // 10], start_ns=int(position["view"]["bar"]["ts_event"])))
    transfer(desk, -(10**8), TransferCause.WITHDRAWAL, asset=FeeAsset.BASE)
    assert (position["cost"], position["realised"]) == (0, 1_000 * USDT)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_transfer_beyond_what_fits_is_refused(sign: int) -> None:
    desk = started(profile="margin")
    most = int(desk.config[0]["equity_max"])
    with pytest.raises(BadInput, match="a transfer's base units"):
        transfer(desk, sign * (BASE_UNITS_MAX + 1), TransferCause.ADJUSTMENT, asset=FeeAsset.BASE)
    with pytest.raises(BadInput, match="a transfer is beyond"):
        transfer(desk, sign * (most + 1), TransferCause.ADJUSTMENT)
    for price in (1, CLOSE):
        held = started(price=price, profile="margin")
        with pytest.raises(BadInput, match="a transfer is worth more"):
            transfer(held, sign * BASE_UNITS_MAX, TransferCause.ADJUSTMENT, asset=FeeAsset.BASE)


@pytest.mark.parametrize(
    ("held", "amount"),
    [
        (10**8, BASE_UNITS_MAX - 10**8 + 1),
        (-(10**8), -BASE_UNITS_MAX + 10**8 - 1),
        (10**8, -BASE_UNITS_MAX - 1),
        (-(10**8), BASE_UNITS_MAX + 1),
    ],
)
def test_units_beyond_what_fits_alone_or_with_what_is_held_are_refused(held: int, amount: int) -> None:
    desk = started(profile="margin")
    desk.state[0]["positions"][0]["base_units"] = held
    with pytest.raises(BadInput, match="a transfer's base units"):
        transfer(desk, amount, TransferCause.ADJUSTMENT, asset=FeeAsset.BASE)


def test_a_transfer_of_the_whole_bound_is_taken() -> None:
    desk = started(profile="margin")
    transfer(desk, 10**8, TransferCause.DEPOSIT, asset=FeeAsset.BASE)
    transfer(desk, -int(desk.config[0]["equity_max"]), TransferCause.ADJUSTMENT)
    assert desk.state[0]["account"]["equity"] == CASH + 10_000 * USDT - int(desk.config[0]["equity_max"])


@pytest.mark.parametrize("price", [1, CLOSE])
def test_base_units_up_to_the_bound_come_and_go(price: int) -> None:
    """As many lots as equity at its bound could buy, and not one more; what is there can always leave."""
    desk = started(price=price, profile="margin")
    config, position = desk.config[0], desk.state[0]["positions"][0]
    instrument = config["markets"][0]["instrument"]
    most = int(units.lots_for(instrument, price, config["equity_max"])) * int(instrument["lot_units"])
    transfer(desk, -CASH, TransferCause.ADJUSTMENT)  # or cash and units together were beyond it
    over = most + int(instrument["lot_units"])
    with pytest.raises(BadInput, match="a transfer is worth more"):
        transfer(desk, over, TransferCause.ADJUSTMENT, asset=FeeAsset.BASE)
    assert position["base_units"] == 0, "what is refused changes nothing"
    transfer(desk, most, TransferCause.ADJUSTMENT, asset=FeeAsset.BASE)
    assert position["base_units"] == most
    transfer(desk, -most, TransferCause.ADJUSTMENT, asset=FeeAsset.BASE)
    assert position["base_units"] == 0


def test_a_debt_is_not_deepened_beyond_the_bound_in_steps() -> None:
    desk = started(profile="margin")
    most, account = int(desk.config[0]["equity_max"]), desk.state[0]["account"]
    transfer(desk, -most, TransferCause.ADJUSTMENT)
    transfer(desk, -CASH, TransferCause.ADJUSTMENT)
    with pytest.raises(BadInput, match="a transfer is beyond"):
        transfer(desk, -1, TransferCause.ADJUSTMENT)
    assert account["equity"] == account["cash"] == -most


def test_the_peak_is_capped_where_the_product_might_not_fit() -> None:
    """A third of the cap, times three: one tick of arithmetic below it already counts as beyond."""
    desk = started()
    state, third = desk.state[0], risk.PEAK_MAX // 3
    for peak, expected in ((third, risk.PEAK_MAX), (third - 1, 3 * (third - 1))):
        state["risk"]["peak_equity"], state["account"]["equity"] = peak, 3
        risk.transferred(desk.config[0], state, 2)
        assert state["risk"]["peak_equity"] == expected


def test_a_flat_account_is_not_lifted_beyond_the_bound_in_steps() -> None:
    """What is refused changes nothing."""
    desk = started()
    most = int(desk.config[0]["equity_max"])
    transfer(desk, most - CASH, TransferCause.DEPOSIT)
    with pytest.raises(BadInput, match="a transfer is beyond"):
        transfer(desk, 1, TransferCause.DEPOSIT)
    assert desk.state[0]["account"]["equity"] == desk.state[0]["account"]["cash"] == most


@pytest.mark.parametrize("left", [1, 10, 1_000, 10**6])
def test_a_deposit_after_almost_everything_was_lost_is_taken_and_the_loss_stays(left: int) -> None:
    """The peak that keeps the ratio does not fit 64 bits: it stays as far above equity as it can."""
    desk = started(**NO_DAILY)
    lose_to(desk, left)
    transfer(desk, 50 * CASH, TransferCause.DEPOSIT)
    state = desk.state[0]
    assert state["account"]["equity"] == 50 * CASH + left
    assert state["risk"]["peak_equity"] > 4 * state["account"]["equity"]
    assert state["risk"]["state"] >= RiskState.HALT


def test_base_units_before_a_first_price_have_no_worth() -> None:
    desk = Desk(trading(), (BTC,), venue=False)
    with pytest.raises(BadInput, match="before the instrument's first price"):
        transfer(desk, 10**8, TransferCause.DEPOSIT, asset=FeeAsset.BASE)


def fund(desk: Desk, price: int, rate_ppb: int) -> None:
    row = np.zeros(1, FUNDING)
    row["kind"], row["price"], row["rate_ppb"] = Kind.FUNDING, price, rate_ppb
    row["ts_event"] = row["ts_known"] = int(desk.state[0]["account"]["now_ns"])
    desk.feed(row)


@pytest.mark.parametrize(("rate_ppb", "paid"), [(10**6, 5 * USDT), (-(10**6), -5 * USDT), (10**9, 5_000 * USDT)])
def test_funding_is_paid_from_cash_and_earned_by_the_position(rate_ppb: int, paid: int) -> None:
    """0.5 BTC at 10,000: a rate of 0.1 % is 5 USDT."""
    desk = started(daily_stop_ppm=PPM, flatten_daily_loss_ppm=PPM)
    transfer(desk, 10**8 // 2, TransferCause.DEPOSIT, asset=FeeAsset.BASE)
    account, position = desk.state[0]["account"], desk.state[0]["positions"][0]
    fund(desk, CLOSE, rate_ppb)
    assert (account["cash"], position["realised"]) == (CASH - paid, -paid)
    assert account["equity"] == CASH + 5_000 * USDT - paid
    assert position["mark2"] == 2 * CLOSE


@pytest.mark.parametrize(("price", "rate_ppb"), [(0, 1), (-1, 1), (None, 1), (CLOSE, 10**9 + 1), (CLOSE, -(10**9) - 1)])
def test_an_impossible_funding_is_refused(price: int | None, rate_ppb: int) -> None:
    desk = started()
    with pytest.raises(BadInput, match="a funding's price or rate"):
        fund(desk, int(desk.config[0]["markets"][0]["price_max"]) + 1 if price is None else price, rate_ppb)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_possible_funding_at_the_ends_of_its_range_is_paid(sign: int) -> None:
    desk = started()
    for price in (1, int(desk.config[0]["markets"][0]["price_max"])):
        fund(desk, price, sign * 10**9)
    assert desk.state[0]["account"]["cash"] == CASH, "nothing is held"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_funding_payment_beyond_the_equity_bound_is_refused(sign: int) -> None:
    desk = started()
    transfer(desk, 10**8, TransferCause.DEPOSIT, asset=FeeAsset.BASE)
    most = int(desk.config[0]["equity_max"]) // USDT * 100  # ticks at which one BTC is worth that
    with pytest.raises(BadInput, match="a funding payment"):
        fund(desk, most + 1, sign * 10**9)


def test_a_funding_payment_of_the_whole_bound_is_paid() -> None:
    desk = started(profile="margin")
    transfer(desk, 10**8, TransferCause.DEPOSIT, asset=FeeAsset.BASE)
    fund(desk, int(desk.config[0]["equity_max"]) // USDT * 100, 10**9)
    assert desk.state[0]["account"]["cash"] == CASH - int(desk.config[0]["equity_max"])
