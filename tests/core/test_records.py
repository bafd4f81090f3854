"""The record layout is a file format: these tests pin it."""

import numpy as np
import pytest

from core.records import BAR, FILL, RECORD, RECORD_BYTES, TYPED, Kind, Reason


@pytest.mark.parametrize("kind", list(Kind))
def test_every_record_is_one_packed_cache_line(kind: Kind) -> None:
    dtype = TYPED[kind]
    assert dtype.itemsize == RECORD_BYTES == sum(dtype[name].itemsize for name in dtype.names)
    assert not dtype.isalignedstruct


@pytest.mark.parametrize("kind", list(Kind))
def test_every_view_shares_the_head(kind: Kind) -> None:
    head = RECORD.names[:7]
    assert TYPED[kind].names[:7] == head
    for name in head:
        assert TYPED[kind].fields[name] == RECORD.fields[name]


def test_typed_views_are_the_same_memory() -> None:
    stream = np.zeros(3, RECORD)
    stream["kind"][1] = Kind.FILL
    stream["b"][1] = 4_000_001
    fills = stream[stream["kind"] == Kind.FILL].view(FILL)
    assert fills["price"].tolist() == [4_000_001]
    bars = stream.view(BAR)
    bars["open"][2] = 7
    assert stream["a"][2] == 7


def test_bytes_are_pinned() -> None:
    """A golden record: little-endian, in the order of the module. Changing it means a new RECORD_VERSION."""
    bar = np.zeros((), BAR)
    for value, name in enumerate(BAR.names, start=1):
        bar[name] = value
    assert bar.tobytes().hex() == (
        "0100000000000000" "0200000000000000" "03" "04" "0500" "0600" "0700"
        "0800000000000000" "0900000000000000" "0a00000000000000" "0b00000000000000" "0c00000000000000"
    )  # fmt: skip


def test_reason_codes_are_unique_and_fit_their_field() -> None:
    values = [reason.value for reason in Reason]
    assert len(values) == len(set(values))
    assert max(values) < 2**16
