"""Which page goes when memory is full: LRU-K with K = 2, as the engine does it.

The page goes whose last use *but one* is longest ago; one that was used once only goes first.  So
a scan, which uses each page once, does not drive out what is used again and again.  A use is a
statement, however often it looks at the page.  The last use of pages that have gone is kept for
as many as stay, so that one that comes back soon is known again.

O'Neil, O'Neil, Weikum: The LRU-K page replacement algorithm for database disk buffering (1993).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from heapq import nsmallest

NEVER = 0


class LastTwoUses:
    """The last two uses of each page, in an order that counts statements.

    Arguments
    ---------
    remembered: of so many pages that have gone the last use is kept.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._now = NEVER
        self._uses: dict[int, tuple[int, int]] = {}
        """The last use but one, and the last one."""
        self._gone: OrderedDict[int, int] = OrderedDict()

    def used(self, pgnos: Iterable[int]) -> None:
        """These pages were used together, now."""
        self._now += 1
        now, uses = self._now, self._uses
        for pgno in pgnos:
            found = uses.get(pgno)
            uses[pgno] = (found[1] if found else self._gone.pop(pgno, NEVER)), now

    def gone(self, pgno: int) -> None:
        """A page is not in memory any more."""
        found = self._uses.pop(pgno, None)
        if found is not None:
            self._gone[pgno] = found[1]
            if len(self._gone) > self._remembered:
                self._gone.popitem(last=False)

    def first_to_go(
        self, pgnos: Iterable[int], count: int, may_go: Callable[[int], bool]
    ) -> list[int]:
        """So many of these pages, the ones least likely to be used again.

        Arguments
        ---------
        may_go: whether a page may go at all.
        """
        never, uses = (NEVER, NEVER), self._uses
        order = ((uses.get(pgno, never), pgno) for pgno in pgnos if may_go(pgno))
        return [pgno for _, pgno in nsmallest(count, order)]
