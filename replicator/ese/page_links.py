"""Pages of zeros that are in use: where a tree leads to a page that was never written.

A page of zeros is no fault by itself.  Every real file has some that a tree owns, that are in no
list of free pages, and that nobody has used yet (a tree is given more pages than it needs; space
trees keep some for their own splits): in the real databases at hand 10 to 119 [V].  So owned and
not available does not say *in use*.  What does is a way that leads there: from the roots, which
the catalog lists, over the children of branch pages.  What freed pages still name does not count
(V: two such pages of zeros in a repaired Windows.edb).

The pass over the file notes what is zero, a bit a page; then the trees are walked, branch pages
alone, which are one page in a hundred.  Only a database that was shut down is looked at: in a
dirty one recovery may make the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from replicator.ese.btree import MAX_DEPTH, Visited
from replicator.ese.catalog import CATALOG_ROOT, Catalog
from replicator.ese.errors import EseError
from replicator.ese.page import Page, PageFlag
from replicator.ese.page_source import PageSource
from replicator.ese.space import SYSTEM_ROOT, owned_extents, space_header, too_short

NOT_INITIALIZED: Final = -1019
SEEN_BY_CHECKSUM: Final = frozenset({-1018, -1118, -1119})
"""What judging the pages has told already."""
SYSTEM_ROOTS: Final[Mapping[int, str]] = {
    SYSTEM_ROOT: "the database's own tree",
    CATALOG_ROOT: "the catalog",
}
_REMEDY: Final = "Restore the database from a backup or take another copy, then roll it forward."


class ZeroPages:
    """Which pages are all zero: a bit each.

    Arguments
    ---------
    pages: of the file.
    """

    def __init__(self, pages: int) -> None:
        self._bits = bytearray((pages >> 3) + 1)

    def add(self, pgno: int) -> None:
        self._bits[pgno >> 3] |= 1 << (pgno & 7)

    def __contains__(self, pgno: int) -> bool:
        return bool(self._bits[pgno >> 3] >> (pgno & 7) & 1)


def _children(page: Page) -> Iterator[int]:
    return map(page.child, range(page.line_count))


def check_size(source: PageSource) -> Iterator[EseError]:
    """Whether the file has all pages that the tree of owned extents of its first page counts.

    Arguments
    ---------
    source: of a database that was shut down.

    A file may be longer: pages behind are nobody's (V: 16 to 256 pages in four real files).
    """
    try:
        last = max((each.last for each in owned_extents(source, SYSTEM_ROOT)), default=0)
    except EseError as error:
        if error.number not in SEEN_BY_CHECKSUM:
            error.detail += ": nobody knows how long the file should be"
            yield error
        return
    if last > source.page_count:
        yield too_short(source.page_count, last)


def roots_of(source: PageSource) -> dict[int, str]:
    """The root of each tree, and what the tree is; raises EseError where the catalog is damaged."""
    roots = dict(SYSTEM_ROOTS)
    for table in Catalog(source).tables:
        name = f"table {table.name!r}"
        roots.setdefault(table.root_pgno, name)
        for index in table.indices:
            roots.setdefault(index.root_pgno, f"index {index.name!r} of {name}")
        if table.long_value_root is not None:
            roots.setdefault(table.long_value_root, f"the long values of {name}")
    return roots


def check_links(
    source: PageSource, zero: ZeroPages, roots: Mapping[int, str]
) -> Iterator[EseError]:
    """Pages of zeros, or behind the end of the file, that a tree leads to: -1019, -1022.

    Arguments
    ---------
    source: of a database that was shut down.
    zero: of all its pages.
    roots: see :func:`roots_of`.
    """
    told, visited = Visited(), Visited()
    for root, name in roots.items():
        for found in _Walk(source, zero, root, name, visited).errors():
            if told.add(found.page or 0):
                yield found


class _Walk:
    """The branch pages of one tree, and of the two trees of its space; each page is read once."""

    def __init__(
        self, source: PageSource, zero: ZeroPages, root: int, name: str, visited: Visited
    ) -> None:
        self._source = source
        self._zero = zero
        self._root = root
        self._name = name
        self._visited = visited

    def errors(self) -> Iterator[EseError]:
        yield from self._tree(self._root, "the catalog has it as the root")
        try:
            header = space_header(self._source.page(self._root))
        except EseError:
            return
        if header.is_multiple:
            for root in (header.owned_root_or_map, header.owned_root_or_map + 1):
                yield from self._tree(root, f"page {self._root} has it for its space")

    def _tree(self, root: int, why: str) -> Iterator[EseError]:
        waiting = [(root, why, 0)]
        while waiting:
            pgno, why, depth = waiting.pop()
            if pgno not in self._source:
                detail = f"{why}, and the file ends with page {self._source.page_count:,}"
                yield self._error(-1022, detail, pgno)
            elif pgno in self._zero:
                yield self._error(NOT_INITIALIZED, f"the page is all zero, and {why}", pgno)
            elif depth < MAX_DEPTH and self._visited.add(pgno):
                waiting += self._below(pgno, depth)

    def _below(self, pgno: int, depth: int) -> list[tuple[int, str, int]]:
        """What a page leads to; leaves are not read, nor what is damaged and told of already."""
        try:
            page = self._source.page(pgno)
            if page.is_leaf:
                return []
            # The level of leaves need not be read: whether they are zero is known.
            leaves = MAX_DEPTH if page.flags & PageFlag.PARENT_OF_LEAF else depth + 1
            return [(child, f"page {pgno} leads to it", leaves) for child in _children(page)]
        except EseError:
            return []

    def _error(self, number: int, detail: str, pgno: int) -> EseError:
        return EseError(number, f"{detail} ({self._name})", page=pgno, remedy=_REMEDY)
