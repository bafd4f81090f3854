"""A home, a signed rule on books and a tape of them: what the tests of a session on books start from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from core.instruments import Instrument
from core.records import PPM
from core.settings import Account, Assigned, Execution, Latency, Risk, Simulation, Strategy, Trading
from feeds import book_market
from feeds.book_settings import Period
from feeds.tape import write_tape
from models.statement import Statement, verify_bundle
from runner.feed import tape_feed
from runner.home import Home
from runner.plan import Plan, make_plan
from tests.runner.bundles import make_bundle, make_home

MS = 1_000_000
MAKER = Trading(
    account=Account(profile="margin", initial_cash="1000000"),
    execution=Execution(
        order_latency_ns=2 * MS,
        response_latency_ns=3 * MS,
        decision_clock="event",
        decision_interval_ns=100 * MS,
        slippage_ppm=0,
        simulation=Simulation(response_latency=Latency(kind="recorded", scale_ppm=700_000), partial_fills=True),
    ),
    strategy=Strategy(kind="mm1", order_lots=5, inventory_lots=40),
    risk=Risk(
        max_orders_per_hour=0,
        price_band_ppm=PPM,
        asset_cap_ppm=900_000,
        daily_stop_ppm=900_000,
        flatten_daily_loss_ppm=900_000,
    ),
)
# A tape of two instruments that trade for an hour, from 07:00.
HOUR = msgspec.structs.replace(
    book_market.BUILTIN_BOOK.book, sessions=(Period(name="day", start=7, end=8, rate_ppm=PPM),)
)
MARKET = msgspec.structs.replace(book_market.BUILTIN_BOOK, book=HOUR).select(("BTC-USDT", "SOL-USDT"))
META = {"asset_class": "crypto_spot", "has_depth": True}


@dataclass(frozen=True)
class Place:
    """Where a session on books is played."""

    home: Home
    bundle: Path
    tape: Path

    def plan(self) -> tuple[Plan, Statement]:
        loaded, statement = verify_bundle(self.bundle, self.home.trust)
        return make_plan(loaded, tape_feed(self.tape), loaded.manifest.trading), statement


def builtin_rows(*, seed: int = 3, rows: int | None = None, feed_latency_ns: int = 30 * MS) -> np.ndarray:
    """The built-in books of one trading hour, from the opening auction on; the first ``rows`` of them."""
    made = np.concatenate(list(book_market.market(MARKET, days=1, seed=seed, feed_latency_ns=feed_latency_ns)))
    return made[made["ts_event"] > made["ts_event"][0]][:rows]


def uneven(records: np.ndarray, seed: int = 5) -> np.ndarray:
    """The same events with latencies of their own, so that we see them in another order than the exchange."""
    late = records.copy()
    late["ts_known"] += np.random.default_rng(seed).integers(0, 200 * MS, len(late))
    return late[np.argsort(late["ts_known"], kind="stable")]


def make_place(
    folder: Path,
    chunks: Iterable[np.ndarray],
    *,
    instruments: Sequence[Instrument] = MARKET.instruments(),
    trading: Trading = MAKER,
    meta: dict | None = None,
) -> Place:
    """A home in ``folder`` that trusts the bundle beside it, and the tape of ``chunks``."""
    write_tape(
        folder / "book.tape", chunks, instruments=instruments, interval_ns=0, meta=META if meta is None else meta
    )
    bundle = make_bundle(folder / "bundle", trading, books_of=tuple(instruments))
    return Place(Home(make_home(folder / "home")), bundle, folder / "book.tape")


def several(first: str, second: str) -> Trading:
    """MAKER as two strategies of one account, with inventories of their own."""
    quotes = {"kind": "mm1", "order_lots": 5}
    return msgspec.structs.replace(
        MAKER,
        strategy=Strategy(),
        strategies=(
            Assigned(**quotes, inventory_lots=40, symbols=(first,)),
            Assigned(**quotes, inventory_lots=15, inventory_skew_milliticks=200, symbols=(second,)),
        ),
    )
