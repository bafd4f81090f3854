"""The database refuses an order that breaks a rule although the core let it pass (RISK-06, RISK-08, RISK-09, RISK-10).

The journal says in every case that all rules passed: the check at run time is as good as switched off.
"""

import sqlite3

import msgspec
import numpy as np
import pytest

from core.records import Action, Reason, RiskState
from core.rules import ALWAYS_SAID
from core.settings import Group
from runner.journal_schema import insert_batch
from runner.store.approvals import APPROVAL
from runner.store.sqlite import insert
from runner.store.tables import SIGNAL
from tests.runner.books import (
    BTC,
    BUY,
    ETH,
    RISK_LIMITS,
    SECOND,
    SELL,
    T0,
    Books,
    bar,
    fill,
    order,
    order_end,
    risk,
    session,
    trading,
)

PRICE = 6_000_000  # 60,000.00 USDT; a lot of 0.00001 BTC is worth 0.60
CASH = 10_000_000  # 100,000.00


def ready(*instruments: object, **settings: object) -> Books:
    """An account of 100,000 USDT that has seen one bar, and one of ETH at 3,000.00 if it trades that."""
    books = Books(*instruments, settings=msgspec.structs.replace(trading(), **settings))  # type: ignore[arg-type]
    books.post(session(), bar(PRICE))
    if len(books.instruments) > 1:
        books.post(bar(300_000, instrument=1))
    return books


def refused(books: Books, said: str, *parts: object) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=said):
        books.post(*parts)  # type: ignore[arg-type]


def test_an_order_within_every_limit_gets_its_row() -> None:
    books = ready()
    books.post(*order(1, BUY, 10_000, PRICE))  # 0.1 BTC: 6,000.00
    columns = "notional, worst_value, expected_fee, equity, cash, exposure_asset, earliest_ns - decision_ns"
    assert books.rows(f"SELECT {columns} FROM approval") == [(600_000, 600_060, 601, CASH, CASH, 600_000, 100_000_000)]
    assert books.rows("SELECT lots, value, cost, live, account_cost FROM reservation") == [
        (10_000, 600_000, 600_661, 1, 600_661)
    ]
    books.verify()


@pytest.mark.parametrize(
    ("qty", "said"),
    [
        (83_333, None),
        (83_334, "EXPOSURE_ASSET"),
        (170_000, "EXPOSURE_ASSET"),
        (0, "FILTER_LOT"),
        (8, "FILTER_NOTIONAL"),
    ],
)
def test_a_buy_of_half_the_account_and_a_lot_more(qty: int, said: str | None) -> None:
    books = ready()
    if said is None:
        books.post(*order(1, BUY, qty, PRICE))
    else:
        refused(books, said, *order(1, BUY, qty, PRICE))


def test_what_is_pending_and_what_is_held_count_and_a_cancelled_order_no_longer_does() -> None:
    books = ready()
    books.post(*order(1, BUY, 50_000, PRICE))  # 30,000 of at most 50,000
    refused(books, "EXPOSURE_ASSET", *order(2, BUY, 40_000, PRICE))
    books = ready()
    books.post(*order(1, BUY, 50_000, PRICE))
    books.post(fill(BUY, PRICE, 20_000, exec_id=1), bar(PRICE, T0 + SECOND))  # 12,000 held, 18,000 pending
    books.post(order_end(1))
    books.post(*order(2, BUY, 60_000, PRICE))  # 12,000 + 36,000
    books.verify()


def test_the_whole_account_is_limited_over_all_assets() -> None:
    limits = msgspec.structs.replace(RISK_LIMITS, asset_cap_ppm=500_000, total_cap_ppm=600_000)
    books = ready(BTC, ETH, risk=limits)
    books.post(*order(1, BUY, 80_000, PRICE))  # 48,000
    refused(books, "EXPOSURE_TOTAL", *order(2, BUY, 45_000, 300_000, instrument=1))  # 13,500
    books = ready(BTC, ETH, risk=limits)
    books.post(*order(1, BUY, 80_000, PRICE))
    books.post(*order(2, BUY, 40_000, 300_000, instrument=1))  # 12,000: 60,000 in all


def test_a_spot_account_spends_only_cash_it_has_with_the_fee_it_expects() -> None:
    limits = msgspec.structs.replace(RISK_LIMITS, asset_cap_ppm=1_000_000, total_cap_ppm=1_000_000)
    books = ready(risk=limits)
    refused(books, "CASH", *order(1, BUY, 166_600, PRICE))  # 99,960 + slippage + fee
    books = ready(risk=limits)
    books.post(*order(1, BUY, 166_400, PRICE))


def test_a_spot_account_sells_only_what_it_holds_and_does_not_already_sell() -> None:
    def held() -> Books:
        books = ready()
        books.post(*order(1, BUY, 10_000, PRICE), fill(BUY, PRICE, 10_000))
        return books

    books = held()
    refused(books, "LONG_ONLY", *order(2, SELL, 10_001, PRICE, action=Action.REDUCE))
    books = held()
    books.post(*order(2, SELL, 6_000, PRICE, action=Action.REDUCE))
    refused(books, "LONG_ONLY", *order(3, SELL, 4_001, PRICE, action=Action.REDUCE))
    books = held()
    books.post(*order(2, SELL, 6_000, PRICE, action=Action.REDUCE), fill(SELL, PRICE, 6_000, order_id=2, exec_id=2))
    books.post(*order(3, SELL, 4_000, PRICE, action=Action.REDUCE))
    books.verify()


def test_a_margin_account_may_be_short_within_its_caps() -> None:
    books = ready(account=trading(profile="margin").account)
    books.post(*order(1, SELL, 50_000, PRICE), fill(SELL, PRICE, 50_000))
    assert books.rows("SELECT units, cost FROM lot") == [(-50_000_000, -3_000_000)]
    refused(books, "EXPOSURE_ASSET", *order(2, SELL, 33_400, PRICE))


STATES = [
    ("KILL_SWITCH", [risk(Reason.OPERATOR_HALT, RiskState.NORMAL, RiskState.HALT)]),
    ("KILL_SWITCH", [risk(Reason.DRAWDOWN_FLATTEN, RiskState.NORMAL, RiskState.FLATTEN)]),
    ("DAILY_STOP", [risk(Reason.DAILY_STOP, RiskState.NORMAL, RiskState.NORMAL)]),
    ("CIRCUIT_OPEN", [risk(Reason.CIRCUIT_OPEN, RiskState.NORMAL, RiskState.NORMAL)]),
]


@pytest.mark.parametrize(("said", "before"), STATES, ids=["halt", "flatten", "daily stop", "circuit"])
def test_the_risk_state_stops_entries_and_never_reductions(said: str, before: list) -> None:
    books = ready()
    books.post(*order(1, BUY, 10_000, PRICE), fill(BUY, PRICE, 10_000), *before)
    books.post(*order(2, SELL, 5_000, PRICE, action=Action.REDUCE))
    refused(books, said, *order(3, BUY, 1_000, PRICE))


SIGNALS = [
    ("STALE", {"STALE": 60 * SECOND + 1}),
    ("LOW_CONFIDENCE", {"LOW_CONFIDENCE": 400_001}),
    ("COOLDOWN", {"COOLDOWN": T0 + 1}),
    ("DUPLICATE", {"DUPLICATE": 1}),
]


@pytest.mark.parametrize(("said", "values"), SIGNALS, ids=[item[0] for item in SIGNALS])
def test_what_the_signal_says_is_judged_again(said: str, values: dict[str, int]) -> None:
    limits = msgspec.structs.replace(RISK_LIMITS, min_confidence_ppm=600_000, cooldown_ns=SECOND)
    books = ready(risk=limits)
    fine = {name: value - 1 for name, value in values.items()}
    books.post(*order(1, BUY, 1_000, PRICE, **({} if said == "DUPLICATE" else fine)))
    refused(books, said, *order(2, BUY, 1_000, PRICE, **values))


def test_the_rate_is_counted_over_the_rolling_hour() -> None:
    limits = msgspec.structs.replace(RISK_LIMITS, max_orders_per_hour=2)
    hour = 3600 * SECOND
    books = ready(risk=limits)
    books.post(*order(1, BUY, 100, PRICE), *order(2, BUY, 100, PRICE, ts=T0 + 1))
    books.post(*order(3, BUY, 100, PRICE, ts=T0 + hour))
    refused(books, "RATE_LIMIT", *order(4, BUY, 100, PRICE, ts=T0 + hour))


def test_whitelist_price_band_and_free_slots() -> None:
    books = ready(BTC, ETH, risk=msgspec.structs.replace(RISK_LIMITS, whitelist=("ETHUSDT",)))
    refused(books, "NOT_WHITELISTED", *order(1, BUY, 100, PRICE))
    books = ready()
    books.post(bar(PRICE + PRICE // 10 + 1, T0 + SECOND))
    refused(books, "PRICE_BAND", *order(1, BUY, 100, PRICE + PRICE // 10 + 1))
    books = ready()
    books.post(*(part for number in range(1, 9) for part in order(number, BUY, 100, PRICE)))
    refused(books, "ORDERS_MAX", *order(9, BUY, 100, PRICE))


@pytest.mark.parametrize("kind", ["theme", "cluster"])
def test_a_group_has_its_cap_in_the_database(kind: str) -> None:
    """Requirements RISK-06: 60 % of 100,000 in two coins together, each within its own cap."""
    group = Group(name="coins", kind=kind, symbols=("BTCUSDT", "ETHUSDT"), cap_ppm=600_000)
    books = ready(BTC, ETH, risk=msgspec.structs.replace(RISK_LIMITS, groups=(group,)))
    books.post(*order(1, BUY, 50_000, PRICE))  # 30,000.00
    refused(books, f"EXPOSURE_{kind.upper()}", *order(2, BUY, 100_001, 300_000, instrument=1))  # 30,000.30
    books = ready(BTC, ETH, risk=msgspec.structs.replace(RISK_LIMITS, groups=(group,)))
    books.post(*order(1, BUY, 50_000, PRICE), *order(2, BUY, 100_000, 300_000, instrument=1))


def test_an_order_needs_every_rule_judged() -> None:
    for left_out in ALWAYS_SAID:
        refused(ready(), "too few rules", *order(1, BUY, 1_000, PRICE, leave_out=(left_out,)))


TAMPERED = {
    "cash": (CASH + 1, "another cash"),
    "equity": (CASH + 1, "another equity"),
    "cash_reserved": (1, "another cash_reserved"),
    "lots_held": (5, "another lots_held"),
    "held_value": (1, "another held_value"),
    "others": (-1, "another others"),
    "risk_state": (1, "another risk_state"),
    "n": (2, "another n"),
    "earliest_ns": (T0, "another earliest_ns"),
    "notional": (59_999, "another notional"),
    "worst_price": (PRICE, "another worst price"),
    "worst_value": (60_001, "another worst value"),
    "expected_fee": (60, "another expected fee"),
    "exposure_asset": (60_001, "exposure of the asset"),
    "exposure_total": (0, "total exposure"),
    "tick_value": (6_000_001, "another tick value"),
    "seq": (99, "without its intent in the journal"),
    "signal": (0, "without its signal"),
    "instrument": (1, "without its market"),
    "valued_price": (0, "FILTER_TICK"),
    "side": (3, "LONG_ONLY"),
    "action": (Action.CANCEL, "CHECK constraint"),
}


@pytest.mark.parametrize("column", TAMPERED)
def test_a_row_that_states_another_account_is_refused(column: str) -> None:
    """One column of a good row is changed, and one at a time is missing: neither gets in; the good row does."""
    books = ready()
    records = np.concatenate(order(1, BUY, 1_000, PRICE))
    rows = dict(books.ledger._rows(2, records))
    insert_batch(books.connection, 2, records.tobytes(), bytes(32))
    books.connection.execute(insert(SIGNAL), (1, *rows["signal"]))
    good = dict(zip(APPROVAL.names, (1, *rows["approval"]), strict=True))
    value, said = TAMPERED[column]
    for bad, why in ((value, said), (None, None)):
        with pytest.raises(sqlite3.IntegrityError, match=why):
            books.connection.execute(insert(APPROVAL), tuple((good | {column: bad}).values()))
    books.connection.execute(insert(APPROVAL), tuple(good.values()))
