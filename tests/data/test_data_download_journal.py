"""The journal of a download: whatever part of it a crash leaves, whole pages come back and nothing else."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.download.journal import Journal
from data.download.venue import CANDLE

ABOUT = {"symbol": "BTC/USDT", "since_ms": 0}
MINUTE_MS = 60_000


def page(first: int, count: int) -> np.ndarray:
    candles = np.ones(count, CANDLE)
    candles["time_ms"] = (first + np.arange(count)) * MINUTE_MS
    return candles


@given(counts=st.lists(st.integers(1, 4), max_size=5), cut=st.integers(0, 2_000), flip=st.booleans())
def test_a_damaged_journal_gives_the_pages_before_the_damage(counts: list[int], cut: int, flip: bool) -> None:
    pages = [page(sum(counts[:index]), count) for index, count in enumerate(counts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        sizes = []
        with Journal(path, ABOUT, MINUTE_MS) as journal:
            sizes.append(path.stat().st_size)
            for one in pages:
                journal.append(one)
                sizes.append(path.stat().st_size)
        data = bytearray(path.read_bytes())
        at = min(cut, len(data) - 1)
        if flip:
            data[at] ^= 1
        path.write_bytes(data if flip else data[:at])
        whole = sum(size <= at for size in sizes[1:]) if at >= sizes[0] else 0
        with Journal(path, ABOUT, MINUTE_MS) as journal:
            assert [one.tobytes() for one in journal.pages()] == [one.tobytes() for one in pages[:whole]]
            assert journal.next_ms == sum(counts[:whole]) * MINUTE_MS
            journal.append(page(sum(counts[:whole]), 2))  # it goes on where the damage was
        with Journal(path, ABOUT, MINUTE_MS) as journal:
            assert sum(map(len, journal.pages())) == sum(counts[:whole]) + 2


def test_a_journal_about_something_else_is_begun_anew(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", ABOUT, MINUTE_MS) as journal:
        journal.append(page(0, 3))
    with Journal(tmp_path / "journal", ABOUT | {"since_ms": MINUTE_MS}, MINUTE_MS) as journal:
        assert list(journal.pages()) == [] and journal.next_ms == MINUTE_MS
