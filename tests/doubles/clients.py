"""Unmodified ccxt against a double: every address the class has is turned to the loopback server."""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

import ccxt.pro

from tests.doubles.wire import Double, Key

WEBSOCKET_PATHS = {"binance": "/stream.binance.com"}  # ccxt tells spot from futures by "/stream" in the address


def turned(tree: Any, host: str, prefix: str = "") -> Any:
    """``tree`` with all its addresses on ``host``, scheme without TLS, path as it was."""
    if isinstance(tree, dict):
        return {name: turned(value, host, prefix) for name, value in tree.items()}
    if not isinstance(tree, str) or "://" not in tree:
        return tree
    where = urlsplit(tree)
    is_socket = where.scheme.startswith("ws")
    return f"{'ws' if is_socket else 'http'}://{host}{prefix if is_socket else ''}{where.path}"


@cache
def _addresses(name: str) -> Any:
    return getattr(ccxt.pro, name)().describe()["urls"]["api"]


def config(double: Double, host: str, key: Key | None = None) -> dict[str, Any]:
    """What to give the ccxt class."""
    key = key or next(iter(double.keys.values()))
    options = {"fetchMarkets": {"types": ["spot"]}, "warnOnFetchOpenOrdersWithoutSymbol": False}
    return {
        "apiKey": key.api,
        "secret": key.secret,
        "enableRateLimit": False,
        "timeout": 2000,
        "urls": {"api": turned(_addresses(double.name), host, WEBSOCKET_PATHS.get(double.name, ""))},
        "options": options if double.name == "binance" else {},
    }


def client(double: Double, host: str, key: Key | None = None, **more: Any) -> Any:
    """A ccxt.pro exchange that talks to ``double`` only."""
    return getattr(ccxt.pro, double.name)(config(double, host, key) | more)
