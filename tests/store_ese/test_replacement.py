"""Which page goes: LRU-2, against a model that keeps the whole history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.exchange.ese.replacement import LastTwoUses

USES = st.lists(st.sets(st.integers(1, 12), min_size=1, max_size=4), min_size=1, max_size=40)


@given(uses=USES, count=st.integers(1, 6), kept=st.sets(st.integers(1, 12)))
def test_the_last_use_but_one_decides(uses: list[set[int]], count: int, kept: set[int]) -> None:
    order = LastTwoUses(remembered=100)
    history: dict[int, list[int]] = {}
    for now, pgnos in enumerate(uses, 1):
        order.used(pgnos)
        for pgno in pgnos:
            history.setdefault(pgno, [0]).append(now)
    expected = sorted(
        (pgno for pgno in history if pgno not in kept), key=lambda pgno: (history[pgno][-2:], pgno)
    )
    found = order.first_to_go(list(history), count, lambda pgno: pgno not in kept)
    assert found == expected[:count]


def test_a_page_that_comes_back_soon_is_known_again() -> None:
    order = LastTwoUses(remembered=2)
    for pgno in (1, 2, 3):
        order.used([pgno])
    for pgno in (1, 2, 3):
        order.gone(pgno)  # two are remembered: 2 and 3
    for pgno in (3, 1, 4):
        order.used([pgno])
    assert order.first_to_go([1, 3, 4], 3, lambda pgno: True) == [1, 4, 3]


def test_a_page_never_used_goes_first() -> None:
    order = LastTwoUses(remembered=2)
    order.used([1])
    assert order.first_to_go([1, 2], 1, lambda pgno: True) == [2]
