"""The documented example of a source: what it hands over becomes a tape, and its faults are named."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from core.errors import BadInput
from feeds.tape import Tape
from tests.data.candles import BTC, ETH, Frames, candles, ingest

EXAMPLE = Path(__file__).parents[2] / "docs/extending/source.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("extending_source", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_gives_the_same_tape_as_any_other_source(example: ModuleType, tmp_path: Path) -> None:
    frames = {"BTC-USDT": candles(700), "ETH-USDT": candles(700, price=336_183)}
    for listing in (BTC, ETH):
        lines = [
            f'{{"t": "{row["time"]:%Y-%m-%dT%H:%M:%SZ}", "o": {row["open"]}, "h": {row["high"]}, "l": {row["low"]}, '
            f'"c": {row["close"]}, "v": {row["volume"]}}}'
            for row in frames[listing.symbol].to_dicts()
        ]
        (tmp_path / f"{listing.base}_{listing.quote}.jsonl").write_text("\n".join(lines))
    ingest(tmp_path / "example", example.JsonLines(tmp_path))
    ingest(tmp_path / "frames", Frames(frames))
    tapes = [Tape.open(tmp_path / name / "data/market.tape") for name in ("example", "frames")]
    assert tapes[0].tape_id == tapes[1].tape_id


def test_the_examples_faults_are_named(example: ModuleType, tmp_path: Path) -> None:
    for text in (None, "{not json"):
        if text:
            (tmp_path / "BTC_USDT.jsonl").write_text(text)
        with pytest.raises(BadInput, match=r"BTC_USDT.jsonl"):
            list(example.JsonLines(tmp_path).chunks(BTC))
