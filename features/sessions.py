"""Trading sessions and days of the week from a UTC time in ns, in integers, without a time-zone database.

Session hours are local and half-open: Asia 09:00-18:00 Tokyo, London 08:00-17:00, New York 08:00-17:00. Tokyo has no
daylight saving time; ``core.days`` has the rules of London and New York.
"""

from typing import Final

from core.days import EU, US, is_summer
from core.jit import kernel
from core.records import DAY_NS, HOUR_NS

ASIA: Final = 1
LONDON: Final = 2
NEW_YORK: Final = 4


@kernel
def london_offset_ns(ts: int) -> int:
    """What London's clock is ahead of UTC at ``ts``, ns."""
    return HOUR_NS if is_summer(EU, 0, ts) else 0


@kernel
def new_york_offset_ns(ts: int) -> int:
    """What New York's clock is ahead of UTC at ``ts``, ns (negative)."""
    return -4 * HOUR_NS if is_summer(US, -5 * HOUR_NS, ts) else -5 * HOUR_NS


@kernel
def sessions(ts: int) -> int:
    """The sessions open at ``ts`` as bits ASIA, LONDON, NEW_YORK."""
    tokyo = (ts + 9 * HOUR_NS) % DAY_NS
    london = (ts + london_offset_ns(ts)) % DAY_NS
    new_york = (ts + new_york_offset_ns(ts)) % DAY_NS
    open_now = 0
    if 9 * HOUR_NS <= tokyo < 18 * HOUR_NS:
        open_now |= ASIA
    if 8 * HOUR_NS <= london < 17 * HOUR_NS:
        open_now |= LONDON
    if 8 * HOUR_NS <= new_york < 17 * HOUR_NS:
        open_now |= NEW_YORK
    return open_now
