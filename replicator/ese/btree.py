"""A B-tree: its nodes in the order of their keys, from the beginning or from a key on.

E src/ese/node.cxx, bt.cxx; L; V.  The walk descends from the root and holds the sibling links
against the way it came, so a loop, a cut or a foreign page is an error, never a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from replicator.ese.errors import EseError
from replicator.ese.page import Node, Page, PageFlag
from replicator.ese.page_source import PageSource

MAX_DEPTH: Final = 32
"""Levels of the deepest tree: with two children a page it would hold 2^32 pages."""

BAD_SIBLING: Final = -327
BAD_PARENT: Final = -338
_VISITED_BITS: Final = 4096


class Visited:
    """Page numbers seen: a bit each, in pieces made when needed."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}

    def add(self, pgno: int) -> bool:
        """False when it was there already."""
        piece, bit = divmod(pgno, _VISITED_BITS)
        bits = self._pieces.setdefault(piece, bytearray(_VISITED_BITS // 8))
        seen = bits[bit // 8] >> bit % 8 & 1
        bits[bit // 8] |= 1 << bit % 8
        return not seen


class Entry(NamedTuple):
    """A node and the leaf page that it stands on."""

    page: Page
    node: Node


class BTree:
    """One tree of a database.

    Arguments
    ---------
    source: the database's pages.
    root_pgno: the page it starts at.
    """

    def __init__(self, source: PageSource, root_pgno: int) -> None:
        self._source = source
        self.root_pgno = root_pgno

    def root(self) -> Page:
        """The root page; raises EseError -1206 when that page is no root."""
        page = self._source.page(self.root_pgno)
        if not page.is_root:
            raise self._error(-1206, page, "the page is not the root of a tree")
        return page

    def entries(self, from_key: bytes = b"", *, deleted: bool = False) -> Iterator[Entry]:
        """The nodes in order, from the first whose key is not below ``from_key``.

        Arguments
        ---------
        from_key: where to begin; empty for the beginning.
        deleted: also nodes that are flagged deleted.

        Raises EseError: -327 and -338 for links, -1206 for contents, and what reading a page
        raises.
        """
        last: tuple[bytes, bytes] | None = None
        for page in self.leaves(from_key):
            unique = not page.flags & PageFlag.NON_UNIQUE_KEYS
            for node in page.nodes():
                place = (node.key, b"" if unique else node.data)
                if last is not None and place <= last:
                    raise self._error(-1206, page, f"line {node.line} is out of order")
                last = place
                if node.key >= from_key and (deleted or not node.is_deleted):
                    yield Entry(page, node)

    def leaves(self, from_key: bytes = b"") -> Iterator[Page]:
        """The leaf pages in order; with a key, from the one on that may hold it."""
        visited = Visited()
        page = self.root()
        visited.add(page.pgno)
        path: list[tuple[Page, int]] = []
        previous: Page | None = None
        while True:
            while not page.is_leaf:
                line = _first_line(page, from_key) if previous is None and from_key else 0
                path.append((page, line))
                page = self._child(page, line, visited, len(path))
            self._check_siblings(previous, page, started_inside=bool(from_key))
            yield page
            previous = page
            while path:
                parent, line = path.pop()
                if line + 1 < parent.line_count:
                    path.append((parent, line + 1))
                    page = self._child(parent, line + 1, visited, len(path))
                    break
            else:
                if previous.next_pgno:
                    detail = f"the last leaf names page {previous.next_pgno} as its next"
                    raise self._error(BAD_SIBLING, previous, detail)
                return

    def _child(self, parent: Page, line: int, visited: Visited, depth: int) -> Page:
        if depth > MAX_DEPTH:
            raise self._error(BAD_PARENT, parent, f"the tree has more than {MAX_DEPTH} levels")
        if not parent.line_count:
            raise self._error(-1206, parent, "a branch page without lines")
        pgno = parent.child(line)
        if pgno not in self._source:
            detail = f"line {line} leads to page {pgno}, which the file does not have"
            raise self._error(BAD_PARENT, parent, detail)
        if not visited.add(pgno):
            detail = f"line {line} leads to page {pgno}, which the tree has already"
            raise self._error(BAD_PARENT, parent, detail)
        page = self._source.page(pgno)
        if page.objid != parent.objid:
            detail = f"line {line} leads to page {pgno} of object {page.objid}"
            raise self._error(BAD_PARENT, parent, detail)
        # A root flag is no error here: in a repaired file the root of an old tree was found as the
        # leaf of the new one, the flag still on it.
        if page.is_leaf != bool(parent.flags & PageFlag.PARENT_OF_LEAF):
            detail = f"line {line} leads to page {pgno}, which is of another level"
            raise self._error(BAD_PARENT, parent, detail)
        return page

    def _check_siblings(self, previous: Page | None, page: Page, *, started_inside: bool) -> None:
        if previous is None:
            if page.prev_pgno and not started_inside:
                detail = f"the first leaf names page {page.prev_pgno} before it"
                raise self._error(BAD_SIBLING, page, detail)
        elif previous.next_pgno != page.pgno or page.prev_pgno != previous.pgno:
            detail = (
                f"page {previous.pgno} names {previous.next_pgno} as its next, "
                f"page {page.pgno} names {page.prev_pgno} before it"
            )
            raise self._error(BAD_SIBLING, page, detail)

    def _error(self, number: int, page: Page, detail: str) -> EseError:
        return EseError(number, detail, path=self._source.path, page=page.pgno)


def _first_line(page: Page, key: bytes) -> int:
    """The line of a branch page whose child may hold ``key``.

    A child holds only keys strictly below its separator, so a key equal to one lies behind it;
    the last line's separator is empty and bounds nothing.
    """
    low, high = 0, max(0, page.line_count - 1)
    while low < high:
        middle = (low + high) // 2
        if page.node(middle).key > key:
            high = middle
        else:
            low = middle + 1
    return low
