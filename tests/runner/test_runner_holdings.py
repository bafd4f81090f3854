"""What `runner ledger show` shows: literal accounts, to the unit."""

from core.records import FeeAsset, TransferCause
from runner.holdings import holdings
from tests.runner.books import BTC, BUY, ETH, SELL, T0, Books, bar, fill, funding, order, session, transfer


def test_an_account_by_hand() -> None:
    """0.1 BTC bought at 60,000 for a fee of 6, half of it sold at 62,000 for 3.10; the rest marked at 61,000.

    50 deposited, 3 paid as funding, one order of 0.01 BTC at 61,000 pending.
    """
    books = Books()
    books.post(session(), bar(6_000_000), transfer(5_000, TransferCause.DEPOSIT, 1))
    books.post(fill(BUY, 6_000_000, 10_000, exec_id=1, fee=600), fill(SELL, 6_200_000, 5_000, exec_id=2, fee=310))
    books.post(funding(6_000_000, 1_000_000), bar(6_100_000, T0 + 1), *order(1, BUY, 1_000, 6_100_000, ts=T0 + 1))
    found = holdings(books.instruments, books.ledger)
    assert found["profit"] == {
        "paid_in": "100050.00",
        "equity": "100187.90",
        "realised": "93.90",  # 3,100 - 3.10 - 3,003
        "unrealised": "47.00",  # 3,050 - 3,003
        "funding_paid": "3.00",
    }
    assert found["positions"] == [
        {
            "symbol": "BTCUSDT",
            "quantity": "0.05000000",
            "dust": "0.00000000",
            "mark": "61000.000",
            "value": "3050.00",
        }
    ]
    assert found["results"] == [{"symbol": "BTCUSDT", "cost": "3003.00", "unrealised": "47.00", "realised": "93.90"}]
    assert found["lots"] == [{"lot": 1, "symbol": "BTCUSDT", "quantity": "0.05000000", "cost": "3003.00"}]
    assert found["exposure"] == [
        {
            "kind": "asset",
            "of": "BTC",
            "held": "3050.00",
            "pending_buys": "610.00",
            "pending_sales": "0.00",
            "at_most": "3660.00",
        },
        {
            "kind": "total",
            "of": "all",
            "held": "3050.00",
            "pending_buys": "610.00",
            "pending_sales": "0.00",
            "at_most": "3660.00",
        },
    ]
    assert {"account": "fees", "asset": "USDT", "amount": "9.10"} in found["balances"]


def test_dust_is_shown_apart_and_a_market_without_a_bar_is_worth_nothing() -> None:
    books = Books(BTC, ETH)
    books.post(session(), fill(BUY, 300_000, 10, fee=15, fee_asset=FeeAsset.BASE, instrument=1))
    position = holdings(books.instruments, books.ledger)["positions"][1]
    assert (position["quantity"], position["dust"], position["mark"]) == ("0.00099985", "0.00009985", "3000.000")
    assert holdings(books.instruments, books.ledger)["positions"][0]["value"] == "0.00"
