"""The journal's hash chain: a function of the bytes alone."""

import hashlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from runner.chain import BLOCK_BYTES, Chain

START = hashlib.sha256(b"header").digest()
DATA = bytes(range(256)) * (3 * BLOCK_BYTES // 256 + 1)


def reference(data: bytes) -> bytes:
    """The definition in docs/journal.md, word for word."""
    digest = START
    full = len(data) // BLOCK_BYTES
    for n in range(full):
        digest = hashlib.sha256(digest + data[n * BLOCK_BYTES : (n + 1) * BLOCK_BYTES]).digest()
    return hashlib.sha256(digest + data[full * BLOCK_BYTES :]).digest()


@given(st.integers(0, len(DATA)), st.lists(st.integers(0, len(DATA)), max_size=8))
def test_head_does_not_depend_on_batches(size: int, cuts: list[int]) -> None:
    data, chain = DATA[:size], Chain(START)
    bounds = sorted({0, size, *(cut for cut in cuts if cut < size)})
    for low, high in itertools.pairwise(bounds):
        chain.update(data[low:high])
        chain.head()  # reading the head changes nothing
    assert chain.head() == reference(data)


def test_head_at_block_bounds() -> None:
    for size in (0, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES):
        chain = Chain(START)
        chain.update(DATA[:size])
        assert chain.head() == reference(DATA[:size])


@given(st.integers(0, 2 * BLOCK_BYTES - 1), st.integers(0, 7))
def test_any_flipped_bit_changes_the_head(position: int, bit: int) -> None:
    data = bytearray(DATA[: 2 * BLOCK_BYTES])
    chain, flipped = Chain(START), Chain(START)
    chain.update(bytes(data))
    data[position] ^= 1 << bit
    flipped.update(bytes(data))
    assert chain.head() != flipped.head()


def test_pinned_head() -> None:
    """A changed chain would orphan every journal on disk: the value is frozen."""
    chain = Chain(START)
    chain.update(DATA[:100_032])
    assert chain.head() == reference(DATA[:100_032])
    assert chain.head().hex() == "c42bdf3a5b6237ed42f197f4980296e2db9ed9097140c3a10a8e459da3d797a0"
