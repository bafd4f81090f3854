"""Lanes hold what the kernel makes of the whole tape, cut by instrument and day, and are mapped, not read."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import BadConfig, BadInput
from core.instruments import Instrument
from core.records import DAY_NS, HOUR_NS
from data import lanes
from features.market_state import BookSpec
from feeds.tape import Tape, write_tape
from tests.features.test_market_state import market, play


def instrument(symbol: str, venue: str = "binance") -> Instrument:
    return Instrument(symbol=symbol, base=symbol, quote="USDT", tick="0.1", lot="0.001", venue=venue)


def tape_of(path: Path, records: np.ndarray, symbols: tuple[str, ...] = ("A",), **more: object) -> Tape:
    meta = {"asset_class": "crypto_spot", "has_depth": True} | more
    venue = str(meta.pop("venue", "binance"))
    instruments = [instrument(symbol, venue) for symbol in symbols]
    write_tape(path, [records], instruments=instruments, interval_ns=int(meta.pop("interval_ns", 0)), meta=meta)
    return Tape.open(path)


@pytest.fixture
def two() -> np.ndarray:
    """Two instruments over two days."""
    one, other = market(1, 2_000, step_ns=HOUR_NS // 60), market(2, 1_500, step_ns=HOUR_NS // 50)
    other["instrument"] = 1
    both = np.concatenate([one, other])
    return both[np.argsort(both["ts_known"], kind="stable")]


@pytest.mark.parametrize("chunk_rows", [97, 65_536])
def test_lanes_are_the_kernel_s_rows_by_instrument_and_day(tmp_path, monkeypatch, two, chunk_rows) -> None:
    monkeypatch.setattr(lanes, "CHUNK_ROWS", chunk_rows)
    tape = tape_of(tmp_path / "market.tape", two, ("A", "B"))
    written, digests = lanes.write(tape, tmp_path / "lanes")
    spec = BookSpec("binance", "crypto_spot", has_depth=True)
    states, extra, ready = play(two, (spec, spec))
    of_each = [int((ready & (two["instrument"][states["seq"]] == index)).sum()) for index in (0, 1)]
    assert [digest.rows for digest in digests] == of_each and min(of_each) > 0
    read = list(lanes.read(tmp_path / "lanes"))
    assert [(lane.symbol, lane.day) for lane in read] == [(lane.symbol, lane.day) for lane in written]
    assert len({lane.day for lane in read}) > 1 and {lane.symbol for lane in read} == {"A", "B"}
    assert sum(len(lane.states) for lane in read) == len(states)
    for lane in read:
        own = two["instrument"][states["seq"]] == "AB".index(lane.symbol)
        own &= states["ts"] // DAY_NS == int(np.datetime64(lane.day, "D").astype(int))
        for array, whole in ((lane.states, states), (lane.extra, extra), (lane.ready, ready)):
            assert isinstance(array, np.memmap) and array.tobytes() == whole[own].tobytes()


def test_a_tape_of_bars_and_an_unknown_venue_are_refused(tmp_path: Path) -> None:
    records = market(1, 50)
    with pytest.raises(BadInput, match="a tape of bars"):
        lanes.write(tape_of(tmp_path / "bars.tape", records, interval_ns=60), tmp_path / "one")
    with pytest.raises(BadConfig, match="venue is 'moon'"):
        lanes.write(tape_of(tmp_path / "moon.tape", records, venue="moon"), tmp_path / "two")
    with pytest.raises(BadConfig, match="asset_class is ''"):
        lanes.write(tape_of(tmp_path / "class.tape", records, asset_class=""), tmp_path / "three")


def test_one_instrument_s_lanes_do_not_depend_on_the_others(tmp_path: Path, two: np.ndarray) -> None:
    tape = tape_of(tmp_path / "market.tape", two, ("A", "B"))
    lanes.write(tape, tmp_path / "both")
    assert {lane.symbol for lane in lanes.write(tape, tmp_path / "one", [1])[0]} == {"B"}
    for path in (tmp_path / "one").rglob("*.npy"):
        assert path.read_bytes() == (tmp_path / "both" / path.relative_to(tmp_path / "one")).read_bytes()
