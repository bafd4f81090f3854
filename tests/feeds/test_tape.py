from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadTape
from core.instruments import Instrument
from core.records import BAR, Kind
from feeds.tape import HEAD_BYTES, Tape, write_tape

BTC = Instrument(symbol="BTC-USDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001")


def bars(n: int) -> np.ndarray:
    rows = np.zeros(n, BAR)
    rows["kind"] = Kind.BAR
    rows["ts_event"] = np.arange(n) * 300
    rows["ts_known"] = rows["ts_event"] + 1
    rows["close"] = np.arange(n) + 100
    return rows


def write(path: Path, *chunks: np.ndarray) -> str:
    return write_tape(path, chunks, instruments=[BTC], interval_ns=300, meta={"source": "test"})


def test_round_trip_and_the_one_numpy_call(tmp_path: Path) -> None:
    path = tmp_path / "a.tape"
    tape_id = write(path, bars(5))
    tape = Tape.open(path)
    assert (tape.tape_id, tape.instruments, tape.interval_ns, tape.meta) == (tape_id, (BTC,), 300, {"source": "test"})
    assert np.memmap(path, BAR, "r", offset=65536).tobytes() == bars(5).tobytes() == tape.records.tobytes()
    assert not tape.records.flags.writeable


@given(cuts=st.lists(st.integers(0, 20), max_size=5))
def test_chunking_does_not_change_a_byte(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("tapes")
    edges = [0, *sorted(cuts), 20]
    write(folder / "whole.tape", bars(20))
    write(folder / "parts.tape", *(bars(20)[a:b] for a, b in pairwise(edges)))
    assert (folder / "whole.tape").read_bytes() == (folder / "parts.tape").read_bytes()


def test_an_empty_tape_is_a_tape(tmp_path: Path) -> None:
    write(tmp_path / "empty.tape")
    assert len(Tape.open(tmp_path / "empty.tape").records) == 0


def flip(position: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "truncated or extended"),
        (lambda data: data + b"\0" * 64, "truncated or extended"),
        (lambda data: data[: HEAD_BYTES - 1], "not a tape"),
        (flip(0), "not a tape"),
        (flip(40), "head does not match its own hash"),
        (flip(200), "head does not match its own hash"),
        (flip(HEAD_BYTES + 17), "records hash to"),
    ],
)
def test_damage_is_found_and_named(tmp_path: Path, damage: Callable[[bytes], bytes], words: str) -> None:
    path = tmp_path / "a.tape"
    write(path, bars(9))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadTape, match=words):
        Tape.open(path)


def test_a_missing_tape_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadTape, match="No such file or directory; make it with `dvc repro ingest`"):
        Tape.open(tmp_path / "none.tape")


def test_time_going_backwards_leaves_nothing_behind(tmp_path: Path) -> None:
    rows = bars(6)
    rows["ts_known"][4] = 0
    with pytest.raises(BadTape, match="row 4: ts_known 0 goes backwards"):
        write(tmp_path / "a.tape", rows)
    with pytest.raises(BadTape, match="row 3: ts_known 1 goes backwards"):
        write(tmp_path / "b.tape", bars(3), bars(3))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_instrument_is_refused(tmp_path: Path) -> None:
    rows = bars(2)
    rows["instrument"] = 1
    with pytest.raises(BadTape, match="instrument index 1, 1 instruments given"):
        write(tmp_path / "a.tape", rows)
