"""A configuration that does not hold together is refused, and the message names the keys and both values."""

from typing import Any

import msgspec
import numpy as np
import pytest

from core import config
from core.errors import BadConfig
from core.instruments import Instrument
from core.layout import CONFIG
from tests.core.build import BTC, ETH, trading


def changed(instrument: Instrument, **fields: Any) -> Instrument:
    return Instrument(**{**instrument.as_json(), **fields})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"caution_drawdown_ppm": 60_000}, ["caution_drawdown_ppm is 60000", "halt_drawdown_ppm is 60000"]),
        ({"daily_stop_ppm": 60_000}, ["daily_stop_ppm is 60000", "flatten_daily_loss_ppm 50000"]),
        ({"halt_drawdown_ppm": 95_000}, ["halt_drawdown_ppm is 95000", "flatten_drawdown_ppm is 90000"]),
        ({"asset_cap_ppm": 960_000}, ["asset_cap_ppm is 960000", "total_cap_ppm 950000"]),
        ({"total_cap_ppm": 1_000_001}, ["total_cap_ppm is 1000001", "[1, 1000000]"]),
        ({"fast": 100}, ["strategy.fast is 100", "strategy.slow is 100"]),
        ({"slow": 300}, ["strategy.slow is 300", "253"]),
        ({"kind": "martingale"}, ["martingale", "edge, ", "mean_revert", "mm1", "sma"]),
        ({"whitelist": ("BTCUSDT", "DOGEUSDT")}, ["whitelist", "DOGEUSDT", "BTCUSDT, ETHUSDT"]),
        ({"quote": "USD"}, ["BTCUSDT", "USDT", "account.quote is USD"]),
        ({"profile": "cross"}, ["profile", "cross", "margin", "spot"]),
        ({"initial_cash": "0"}, ["initial_cash is 0"]),
        ({"initial_cash": "1e5x"}, ["initial_cash is '1e5x'"]),
        ({"initial_cash": "100000000"}, ["initial_cash is 100000000", "at most 14411518"]),
        ({"order_latency_ns": 0}, ["order_latency_ns is 0"]),
        ({"max_orders_per_hour": 257}, ["max_orders_per_hour is 257", "[0, 256]"]),
        ({"participation_ppm": -1}, ["participation_ppm is -1"]),
    ],
)
def test_contradictions_are_named(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(BadConfig) as caught:
        config.build(trading(**changes), (BTC, ETH))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("instruments", "words"),
    [
        ((), ["0 instruments", "16"]),
        ((BTC,) * 2, ["twice", "BTCUSDT"]),
        (tuple(changed(BTC, symbol=f"S{k}") for k in range(17)), ["17 instruments", "16"]),
        ((BTC, changed(ETH, quote="EUR")), ["ETHUSDT", "EUR", "USDT"]),
        ((BTC, changed(ETH, quote_unit="0.01")), ["ETHUSDT", "0.01", "0.00000001"]),
        ((changed(BTC, tick="0.0000000001", lot="0.00000001"),), ["BTCUSDT", "one tick", "0.0000000001"]),
    ],
)
def test_impossible_universes_are_named(instruments: tuple[Instrument, ...], words: list[str]) -> None:
    with pytest.raises(BadConfig) as caught:
        config.build(trading(), instruments)
    for word in words:
        assert word in str(caught.value)


def test_the_bounds_it_states_hold() -> None:
    row = config.build(trading(initial_cash="14000000"), (BTC, ETH))[0]
    assert config.SUM_TERMS * int(row["equity_max"]) <= 2**62
    for market in row["markets"][:2]:
        instrument = market["instrument"]
        assert int(market["price_max"]) * int(instrument["value_num"]) <= 2**62
        assert int(market["lots_max"]) * int(instrument["lot_units"]) <= 2**61
        assert int(row["equity_max"]) * int(instrument["value_den"]) // int(instrument["value_num"]) <= 2**62


def test_the_record_is_packed_and_any_setting_changes_the_token_key() -> None:
    built = config.build(trading(), (BTC, ETH))
    assert built.shape == (1,) and built.dtype == CONFIG
    for dtype in (CONFIG, CONFIG["markets"].base):
        assert dtype.itemsize == sum(dtype[name].itemsize for name in dtype.names)
    keys = {int(built[0]["key"])}
    for field, value in (("cooldown_ns", 1), ("order_ttl_ns", 7), ("exit_edge_ppm", 1), ("initial_cash", "99999")):
        keys.add(int(config.build(trading(**{field: value}), (BTC, ETH))[0]["key"]))
    keys.add(int(config.build(trading(), (BTC,))[0]["key"]))
    assert len(keys) == 6
    assert np.array_equal(
        built, config.build(msgspec.convert(msgspec.to_builtins(trading()), type(trading())), (BTC, ETH))
    )
