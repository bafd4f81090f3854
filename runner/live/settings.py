"""What is followed, at which venue, and how patiently: typed, strict, from a YAML file or a command line.

A file names only what it changes::

    venue: kraken
    symbols: [BTC/USD, ETH/USD]
    silence_ms: 10000
"""

from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from core.errors import BadConfig
from core.plain_yaml import parse_yaml
from core.settings import Section, parse, within

HOUR_MS: Final = 3_600_000
SYMBOLS_MAX: Final = 64


class Live(Section, frozen=True, kw_only=True):
    """A venue's market data. Symbols are spelled BTC/USDT; times are wall time and enter no record."""

    venue: Literal["binance", "kraken", "coinbase"]
    symbols: tuple[str, ...]
    rest_url: str = ""  # http://HOST:PORT in place of the venue's hosts; the paths stay the venue's
    ws_url: str = ""  # ws://HOST:PORT likewise
    clock_offset_ms: int = 0  # added to every time of receipt, as data.clock_offset_ms is at ingest
    silence_ms: int = 60_000  # without a frame: the connection counts as dead
    book_ms: int = 30_000  # without a valid book after connecting: the connection is made anew
    rest_timeout_ms: int = 10_000
    tries: int = 5  # until the first connection; after it, it is tried for ever
    wait_first_ms: int = 500  # before the second try of a connection or a snapshot; doubles, with jitter
    wait_max_ms: int = 30_000
    snapshot_levels: int = 1_000  # of a side, where the book's snapshot is asked for (Binance)
    queue_records: int = 1_000_000  # not yet taken: more, and the connections are closed until half are

    def __post_init__(self) -> None:
        if not self.symbols:
            raise BadConfig("symbols is empty; name at least one, such as BTC/USDT")
        if len(self.symbols) > SYMBOLS_MAX:
            raise BadConfig(f"{len(self.symbols)} symbols, {SYMBOLS_MAX} allowed: each has a connection of its own")
        if twice := sorted({symbol for symbol in self.symbols if self.symbols.count(symbol) > 1}):
            raise BadConfig(f"symbols: {', '.join(twice)} is there twice; name each once")
        for key, schemes in (("rest_url", ("http", "https")), ("ws_url", ("ws", "wss"))):
            scheme, host, path, *_ = urlsplit(url := getattr(self, key))
            if url and (scheme not in schemes or not host or path.strip("/")):
                raise BadConfig(f"{key} is {url!r}; {schemes[0]}://HOST or {schemes[1]}://HOST is expected")
        within("clock_offset_ms", self.clock_offset_ms, -24 * HOUR_MS, 24 * HOUR_MS)
        within("tries", self.tries, 1, 1_000)
        within("snapshot_levels", self.snapshot_levels, 5, 5_000)
        within("queue_records", self.queue_records, 1_000, 2**26)
        for key in ("silence_ms", "book_ms", "rest_timeout_ms", "wait_first_ms", "wait_max_ms"):
            within(key, getattr(self, key), 1, HOUR_MS)
        if self.wait_first_ms > self.wait_max_ms:
            raise BadConfig(f"wait_first_ms is {self.wait_first_ms}, above wait_max_ms ({self.wait_max_ms})")


def load(path: Path | None, given: dict[str, Any]) -> Live:
    """The YAML file at ``path`` with the keys of ``given`` in place of its own. Raises BadConfig naming the key."""
    read: Any = {}
    if path is not None:
        try:
            read = parse_yaml(path.read_bytes(), where=str(path))
        except OSError as error:
            raise BadConfig(f"{path}: {error.strerror}; name a readable file with --config") from None
        if not isinstance(read, dict):
            raise BadConfig(f"{path}: keys such as `venue: binance` expected; found {type(read).__name__}")
    return parse(Live, read | given, where=str(path) if path else "the options")
