"""Market files: what parses, what is refused, and that the built-in market is the same in code and in its file."""

from pathlib import Path

import pytest

from core.errors import BadConfig
from feeds.market import BUILTIN, Market, from_yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "data/markets/builtin.yaml").read_text()


def test_builtin_market_in_code_is_the_one_in_the_file() -> None:
    assert from_yaml(TEXT, where="builtin.yaml") == BUILTIN


@pytest.mark.parametrize("path", sorted((ROOT / "data/markets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_market_file_parses_into_instruments(path: Path) -> None:
    market = from_yaml(path.read_text(), where=path.name)
    for instrument in market.instruments():
        assert instrument.record()["value_num"] > 0
        assert instrument.venue == market.venue


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("venue: builtin", "vneu: builtin", "vneu"),
        ("maker_fee_ppm: 1000", "maker_fee_ppm: high", "maker_fee_ppm"),
        ("symbol: ETH-USDT", "symbol: BTC-USDT", "once"),
        ("base: ETH, quote: USDT", "base: ETH, quote: EUR", "one quote asset"),
        ("    SOL-USDT: {price", "    XRP-USDT: {price", "XRP-USDT"),
        ('start: "2024-01-01"', 'start: "2024-13-01"', "2024-13-01"),
        ("interval_minutes: 5", "interval_minutes: 7", "divide a day"),
        ("name: london, start: 7", "name: london, start: 8", "0..23"),
        ("[998000, 2000, 0]", "[998000, 2001, 0]", "calm"),
        ("weekday_volume_ppm: [1050000, ", "weekday_volume_ppm: [", "7, Monday first"),
        ("jump_chance_ppm: 1000", "jump_chance_ppm: 2000000", "jump_chance_ppm"),
        ("outage_bars_min: 3", "outage_bars_min: 99", "outage_bars_min"),
        ('tick: "0.01"', "tick: abc", "BTC-USDT: tick is 'abc'"),
        ('tick: "0.01"', 'tick: "nan"', "BTC-USDT: tick is 'nan'"),
        ('min_notional: "5"', 'min_notional: "-1"', "BTC-USDT: min_notional is '-1'"),
        ('price: "60000"', 'price: "1e400"', "BTC-USDT.price"),
        ("symbol: BTC-USDT", "symbol: ../BTC", "it names files"),
        ("maker_fee_ppm: 1000", "maker_fee_ppm: 1000\nmaker_fee_ppm: 0", "given twice"),
        ("half_life_bars: 24", "half_life_bars: 0", "half_life_bars"),
        ("sigma_ppm: 1700", "sigma_ppm: 0", "BTC-USDT"),
        ("innovation_clip_ppm: 12000000", "innovation_clip_ppm: 99000000", "25 %"),
        ("listings:", "listings: [", "not YAML"),
    ],
)
def test_mistakes_are_named(old: str, new: str, word: str) -> None:
    assert old in TEXT
    with pytest.raises(BadConfig, match=word):
        from_yaml(TEXT.replace(old, new), where="builtin.yaml")


def test_an_empty_universe_is_refused() -> None:
    with pytest.raises(BadConfig, match="at least one instrument"):
        from_yaml("{venue: x, maker_fee_ppm: 0, taker_fee_ppm: 0, listings: []}", where="test")


def test_select_keeps_the_markets_order_and_refuses_strangers() -> None:
    chosen = BUILTIN.select(("SOL-USDT", "BTC-USDT"))
    assert isinstance(chosen, Market)
    assert [item.symbol for item in chosen.instruments()] == ["BTC-USDT", "SOL-USDT"]
    assert chosen.dynamics is not None and set(chosen.dynamics.motions) == {"BTC-USDT", "SOL-USDT"}
    assert BUILTIN.select(()) == BUILTIN
    with pytest.raises(BadConfig, match="DOGE-USDT"):
        BUILTIN.select(("DOGE-USDT",))


def test_a_symbol_asked_for_twice_is_refused() -> None:
    with pytest.raises(BadConfig, match="given twice"):
        BUILTIN.select(("BTC-USDT", "BTC-USDT"))
