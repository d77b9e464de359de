"""Search in one tree: for a node, for the nodes from a key on, for a whole leaf.

Keys of a unique tree are all different.  In the others key and data together are, as in the
entries of a secondary index; there no key may begin another one, which normalized keys of
one index never do, since separators compare key and data as one string.

A page that is not in memory raises PageNotInMemory; nothing is changed.

A store that was damaged may lead anywhere: from one leaf a walk goes on only to one that names it
as the one before and is not the first of the walk, and the nodes it gives are in order.  So it
ends, and so does one that begins again behind the last node it was given.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from replicator.ese.btree import BAD_SIBLING
from replicator.ese.errors import EseError
from replicator.ese.node import EditedNode
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.undo import BAD_PAGE_LINK, TREE_LEVELS_MAX
from simulator.exchange.ese.change import ChangeContext
from simulator.exchange.ese.preparation import PageNotInMemory
from simulator.exchange.ese.split import Path

PAGE_NOT_INITIALIZED: Final = -1019
CORRUPTED: Final = -1206

_LEAF: Final = int(PageFlag.LEAF)


class Place(NamedTuple):
    """Where a node is, or would be.

    Arguments
    ---------
    path: the branch pages above.
    page, line: of the leaf.
    found: whether the node is there, flag-deleted or not.
    """

    path: Path
    page: PageEditor
    line: int
    found: bool


class TreeSearch:
    """A tree that is read.

    Arguments
    ---------
    context: of the database.
    objid: its object.
    top_pgno: the page it starts at.
    unique: whether the key alone tells a node.
    """

    __slots__ = ("context", "objid", "top_pgno", "unique")

    def __init__(self, context: ChangeContext, objid: int, top_pgno: int, *, unique: bool) -> None:
        self.context = context
        self.objid = objid
        self.top_pgno = top_pgno
        self.unique = unique

    def seek(self, key: bytes, data: bytes = b"") -> Place:
        """Find a node.

        Arguments
        ---------
        key: of the node.
        data: of the node too, in a tree that is not unique.

        Raises EseError -338 for pages that lead to each other without end.
        """
        bookmark = key if self.unique else key + data
        get = self.context.page
        page = get(self.top_pgno)
        path: Path = []
        while not page.flags & _LEAF:
            line = page.child_line(bookmark)
            path.append((page, line))
            if len(path) == TREE_LEVELS_MAX:
                raise self._endless(page)
            page = get(page.child(line))
        line, found = self._line_on(page, key, data)
        return Place(path, page, line, found)

    def _line_on(self, page: PageEditor, key: bytes, data: bytes) -> tuple[int, bool]:
        """Where on a leaf a node is or would be, and whether it is there."""
        count = page.line_count
        line = page.lines_below(key, count)
        if self.unique:
            return line, line < count and page.key(line) == key
        end = page.lines_below(key, count, or_equal=True)

        def data_of(at: int) -> bytes:
            return page.node(at).data

        line = bisect_left(range(end), data, lo=line, key=data_of)
        return line, line < end and page.node(line).data == data

    def last_leaf(self) -> PageEditor:
        """The page with the highest keys."""
        page = self.context.page(self.top_pgno)
        for _level in range(TREE_LEVELS_MAX):
            if page.flags & _LEAF:
                return page
            page = self.context.page(page.child(page.line_count - 1))
        raise self._endless(page)

    def _endless(self, page: PageEditor) -> EseError:
        detail = f"tree {self.objid} has more than {TREE_LEVELS_MAX} levels"
        return EseError(BAD_PAGE_LINK, detail, page=page.pgno)

    def get(self, key: bytes, data: bytes = b"") -> EditedNode | None:
        """A node that is not deleted; None when there is none."""
        place = self.seek(key, data)
        if not place.found:
            return None
        node = place.page.node(place.line)
        return None if node.is_deleted else node

    def from_key(self, key: bytes = b"", *, deleted: bool = False) -> Iterator[EditedNode]:
        """The nodes in order, from the first whose key is not below; for one look, not for a walk
        during which the tree changes.

        Raises EseError: -327 and -338 for links, -1019 and -1206 for contents of pages.
        """
        place = self.seek(key)
        page, line, passed = place.page, place.line, 0
        first, last = page, b""
        while True:
            for number in range(line, page.line_count):
                node = page.node(number)
                last = self._in_order(page, number, node, last)
                if deleted or not node.is_deleted:
                    yield node
            if not page.next_pgno:
                return
            # The longer it has gone on, the further it will go.
            page, line = self._next_leaf(page, first, place.path, passed, passed), 0
            passed += 1

    def lines_with(self, beginning: bytes) -> Iterator[tuple[PageEditor, int, int]]:
        """Where the keys of a unique tree begin alike: leaf, first line, and the line behind.

        Lines may be flagged on the way, no more.  Raises EseError as :meth:`from_key` does.
        """
        path, page, line, _ = self.seek(beginning)
        passed, first = 0, page
        while True:
            end, count = line, page.line_count
            while end < count and page.key(end).startswith(beginning):
                end += 1
            if end > line:
                yield page, line, end
            if end < count or not page.next_pgno:
                return
            page, line = self._next_leaf(page, first, path, passed, passed), 0
            passed += 1

    def leaf_from(
        self, key: bytes, data: bytes = b"", *, after: bool = False, ahead: int = 0
    ) -> tuple[list[EditedNode], bool]:
        """The nodes of one leaf, deleted ones too, and whether there is a further leaf.

        Arguments
        ---------
        key, data: the first whose key, or key and data, is not below.
        after: leave this one itself out.
        ahead: so many leaves will be looked at soon.

        Raises EseError as :meth:`from_key` does.
        """
        path, page, line, found = self.seek(key, data)
        if found and after:
            line += 1
        passed, first = 0, page
        while line >= page.line_count and page.next_pgno:
            page, line = self._next_leaf(page, first, path, passed, ahead), 0
            passed += 1
        nodes: list[EditedNode] = []
        last = (key if self.unique else key + data) if after else b""
        for number in range(line, page.line_count):
            nodes.append(page.node(number))
            last = self._in_order(page, number, nodes[-1], last)
        return nodes, bool(page.next_pgno)

    def _in_order(self, page: PageEditor, line: int, node: EditedNode, last: bytes) -> bytes:
        """What the next node has to be above; raises EseError -1206 when this one is not above the
        last one, empty when there is none."""
        place = node.key if self.unique else node.key + node.data
        if place <= last and last:
            raise EseError(CORRUPTED, f"line {line} is out of order", page=page.pgno)
        return place

    def _next_leaf(
        self, page: PageEditor, first: PageEditor, path: Path, passed: int, ahead: int
    ) -> PageEditor:
        """The page on the right; if it is missing, those behind it are worth a read as well.

        Arguments
        ---------
        first: the leaf that the walk began on.
        path, passed: the way to it, and how many leaves this page lies behind it.
        ahead: how many leaves are worth it.

        Raises EseError -1019 for one that is all zero: that is not the end of the tree; -327 for
        one that is not the leaf behind this one.
        """
        try:
            found = self.context.page(page.next_pgno)
        except PageNotInMemory as missing:
            if not path:
                raise
            parent, line = path[-1]
            lines = range(line + passed + 2, min(line + passed + 2 + ahead, parent.line_count))
            raise PageNotInMemory(missing.pgnos, map(parent.child, lines)) from None
        if not found.flags & _LEAF and found.is_zero:
            raise EseError(PAGE_NOT_INITIALIZED, "the page is all zero", page=found.pgno)
        self._check_links(page, found, first)
        return found

    def _check_links(self, page: PageEditor, found: PageEditor, first: PageEditor) -> None:
        """Each page names one before it, so a walk that keeps to both can only come back to where
        it began."""
        if found.prev_pgno != page.pgno or found.pgno == first.pgno or not found.flags & _LEAF:
            detail = f"it names page {found.pgno} as its next, which is not the leaf behind it"
            raise EseError(BAD_SIBLING, detail, page=page.pgno)

    def look_at_all_pages(self) -> None:
        """Visit every page, level by level; raises PageNotInMemory for what a level lacks.

        Raises EseError -338 for a page that is there twice.
        """
        level = [self.top_pgno]
        visited: set[int] = set()
        while level:
            below: list[int] = []
            missing: set[int] = set()
            for pgno in level:
                if pgno in visited:
                    detail = f"tree {self.objid} has it twice"
                    raise EseError(BAD_PAGE_LINK, detail, page=pgno)
                visited.add(pgno)
                try:
                    page = self.context.page(pgno)
                except PageNotInMemory as found:
                    missing |= found.pgnos
                    continue
                if not page.flags & _LEAF:
                    below += [page.child(line) for line in range(page.line_count)]
            if missing:
                raise PageNotInMemory(missing)
            level = below
