"""The split buffer of a space tree: pages kept for its own splits, in two runs.

It stands in the first 16 bytes of the tree's root.  E src/inc/space.hxx, src/ese/space.cxx; S.
"""

from __future__ import annotations

import struct
from typing import Final

from replicator.ese.node import SPLIT_BUFFER_BYTES
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.tree import Tree

_BUFFER: Final = struct.Struct("<4I")


class SplitBuffer:
    """Pages for splits of one space tree: its page supply.

    Attributes
    ----------
    tree: the space tree; set once it is there.
    """

    __slots__ = ("tree",)

    tree: Tree

    def runs(self) -> list[tuple[int, int]]:
        """Pages and last page of each of its two runs."""
        root = self.tree.context.page(self.tree.top_pgno)
        one, two, last_one, last_two = _BUFFER.unpack(root.external_header[:SPLIT_BUFFER_BYTES])
        return [(one, last_one), (two, last_two)]

    @property
    def pages(self) -> int:
        return sum(count for count, _ in self.runs())

    def _store(self, session: Session, runs: list[tuple[int, int]]) -> None:
        (one, last_one), (two, last_two) = runs
        root = self.tree.context.page(self.tree.top_pgno)
        rest = root.external_header[SPLIT_BUFFER_BYTES:]
        content = _BUFFER.pack(one, two, last_one, last_two)
        self.tree.set_external_header(session, content + rest)

    def allocate(self, session: Session, near_pgno: int) -> int:
        """Raises RuntimeError when it is empty, which filling in time prevents."""
        runs = self.runs()
        for at, (count, last) in enumerate(runs):
            if count:
                runs[at] = (count - 1, last if count > 1 else 0)
                self._store(session, runs)
                return last - count + 1
        raise RuntimeError(f"no pages to split the space tree {self.tree.top_pgno}")

    def allocate_run(self, session: Session, near_pgno: int, most: int) -> tuple[int, int]:
        """One page; raises as :meth:`allocate` does."""
        return self.allocate(session, near_pgno), 1

    def free(self, session: Session, last_pgno: int, pages: int = 1) -> None:
        raise RuntimeError("pages of space trees are not given back")

    def fill(self, session: Session, count: int, last: int) -> None:
        """Take a run of pages; one of the two places must be empty."""
        runs = self.runs()
        at = next(number for number, (pages, _) in enumerate(runs) if not pages)
        runs[at] = count, last
        self._store(session, runs)
