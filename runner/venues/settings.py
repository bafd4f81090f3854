"""How an exchange is traded on: typed, strict. Keys come from the environment or a file, never from here."""

from dataclasses import dataclass, field
from typing import Final, Literal

from core.errors import BadConfig
from core.settings import Section, within

HOUR_MS: Final = 3_600_000


class VenueSettings(Section, frozen=True, kw_only=True):
    """A venue's private side. Symbols are spelled BTC/USDT; times are wall time."""

    venue: Literal["binance"]
    symbols: tuple[str, ...]
    rest_url: str = ""  # http://HOST:PORT in place of the venue's hosts; the paths stay the venue's
    ws_url: str = ""  # ws://HOST:PORT likewise
    request_ms: int = 10_000  # until a request counts as unanswered
    accept_ms: int = 5_000  # how long after its signature the venue may still take a request
    margin_ms: int = 2_000  # beyond that, before a missing order counts as absent
    wait_first_ms: int = 250  # before a query is asked again; doubles, with jitter
    wait_max_ms: int = 30_000
    reconcile_ms: int = 10_000  # how often the venue's lists are read while its stream is up
    poll_ms: int = 1_000  # ... while it is not
    settle_ms: int = 500  # for a fill that was overtaken, before the venue's list is read
    failures_max: int = 5  # failed queries in a row: no new exposure
    table_hours_max: int = 24  # age of the table of instruments beyond which nothing is sent
    reference_ms: int = 2_000  # age of a price that the venue's price band is judged by
    tries: int = 5  # at start

    def __post_init__(self) -> None:
        if not self.symbols:
            raise BadConfig("symbols is empty; name at least one, such as BTC/USDT")
        within("accept_ms", self.accept_ms, 100, 60_000)
        within("failures_max", self.failures_max, 1, 1_000)
        within("table_hours_max", self.table_hours_max, 1, 24)
        within("tries", self.tries, 1, 1_000)
        times = [
            "request_ms",
            "margin_ms",
            "wait_first_ms",
            "wait_max_ms",
            "reconcile_ms",
            "poll_ms",
            "settle_ms",
            "reference_ms",
        ]
        for key in times:
            within(key, getattr(self, key), 1, HOUR_MS)
        if self.wait_first_ms > self.wait_max_ms:
            raise BadConfig(f"wait_first_ms is {self.wait_first_ms}, above wait_max_ms ({self.wait_max_ms})")


@dataclass(frozen=True, slots=True)
class Keys:
    """An API key. Its repr shows nothing of it."""

    api: str = field(repr=False)
    secret: str = field(repr=False)
