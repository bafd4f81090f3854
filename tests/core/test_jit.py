"""How kernels are put together: what the compiler is told about each, and in which order an entry is linked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import jit
from core.jit import COMPILES, entry, inlined, kernel, rare

compiled_only = pytest.mark.skipif(not COMPILES, reason="there is no compiler")


@kernel
def plain(x: int) -> int:
    return 3 * x + 1


@rare
def seldom(x: int) -> int:
    return 5 * x + 2


@inlined
def short(x: int) -> int:
    return plain(x) + seldom(x)


@entry
def whole(x: int) -> int:
    return short(x) - 1


class Library:
    """What the linker sees of one: those it links itself."""

    def __init__(self, *below: "Library") -> None:
        self._linking_libraries = list(below)


@compiled_only
def test_a_kernel_inherits_no_inlining_from_the_caller_that_compiled_it_first() -> None:
    assert whole(7) == 22 + 37 - 1
    whole.recompile()  # an earlier run's, taken from the cache, would have compiled nothing here
    made = {}
    for function in (plain, seldom, short):
        (made[function],) = function.get_overload.__self__.overloads.values()
    assert [made[function].fndesc.inline for function in (plain, seldom, short)] == [False, False, True]
    attributes = [str(item) for part in made[seldom].library._final_module.functions for item in part.attributes]
    assert any("noinline" in item for item in attributes)


@compiled_only
def test_what_became_part_of_an_entry_can_still_be_called_from_python() -> None:
    assert whole(1) == 4 + 7 - 1
    assert (plain(2), seldom(2), short(2)) == (7, 12, 19)


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.sets(st.integers(0, n - 1)), min_size=n, max_size=n)))
def test_callers_are_linked_before_what_they_call(calls: list[set[int]]) -> None:
    """Library k links some with larger numbers; each that is reached comes once, after all that link it."""
    made: list[Library] = []
    for k in reversed(range(len(calls))):
        made.insert(0, Library(*(made[j - k - 1] for j in sorted(calls[k]) if j > k)))
    order = jit._all_below(made[0])
    assert made[0] not in order and len(set(order)) == len(order)
    reached = {made[0], *order}
    for place, library in enumerate(order):
        above = [other for other in reached if library in other._linking_libraries]
        assert above and all(other is made[0] or order.index(other) < place for other in above)
    assert all(below in reached for library in reached for below in library._linking_libraries)
