"""Randomness by counting: a draw is a function of (seed, stream, counter) and of nothing else.

No generator carries state from one draw to the next. A draw for order 17 is the same whether order 16 drew or not,
however a run is cut into pieces, and on every machine. A stream keeps the draws for one purpose in one instrument
apart from all others; the counter is what the draw is for: an order id, a tape row, the number of a response.

The generator is Philox-4x32 with ten rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011): key = seed, counter block = (counter, stream). Its 32-bit words are held in int64 and no
product leaves 63 bits, so compiled and plain Python agree.
"""

from enum import IntEnum
from typing import Final

from core.jit import kernel
from core.records import PPM

BITS: Final = 43  # of a draw: 2**43 x 10**6 fits 63 bits
_WORD: Final = 0xFFFFFFFF
_HALF: Final = 0xFFFF
_FACTOR_0: Final = 0xD2511F53
_FACTOR_1: Final = 0xCD9E8D57
_WEYL_0: Final = 0x9E3779B9
_WEYL_1: Final = 0xBB67AE85
_ROUNDS: Final = 10


class Purpose(IntEnum):
    """What a draw decides; one stream per purpose and instrument."""

    DECISION_LATENCY = 2
    REQUEST_LATENCY = 3
    RESPONSE_LATENCY = 4
    REJECT = 5


@kernel
def stream(purpose: int, instrument: int) -> int:
    """The stream of a ``Purpose`` in an instrument (its index, below 65536)."""
    return purpose * 65536 + instrument


@kernel
def draw_ppm(seed: int, stream: int, counter: int) -> int:
    """Uniform on 0 .. 999999. All arguments: any int64."""
    return draw_bits(seed, stream, counter) * PPM >> BITS


@kernel
def draw_bits(seed: int, stream: int, counter: int) -> int:
    """Uniform on 0 .. 2**43 - 1."""
    first, second, _, _ = block(seed, stream, counter)
    return (first << (BITS - 32)) | (second >> (64 - BITS))


@kernel
def block(seed: int, stream: int, counter: int) -> tuple[int, int, int, int]:
    """Four independent words, each uniform on 0 .. 2**32 - 1."""
    a, b = counter & _WORD, (counter >> 32) & _WORD
    c, d = stream & _WORD, (stream >> 32) & _WORD
    key_0, key_1 = seed & _WORD, (seed >> 32) & _WORD
    for _ in range(_ROUNDS):
        high_0, low_0 = _product(_FACTOR_0, a)
        high_1, low_1 = _product(_FACTOR_1, c)
        a, b, c, d = high_1 ^ b ^ key_0, low_1, high_0 ^ d ^ key_1, low_0
        key_0 = (key_0 + _WEYL_0) & _WORD
        key_1 = (key_1 + _WEYL_1) & _WORD
    return a, b, c, d


@kernel
def _product(factor: int, word: int) -> tuple[int, int]:
    """High and low word of a product of two words; in halves, since 64 unsigned bits do not fit an int64."""
    low = factor * (word & _HALF)
    high = factor * (word >> 16)
    low += (high & _HALF) << 16
    return (high >> 16) + (low >> 32), low & _WORD
