"""Nodes that arrive behind all others of their tree, in ascending order: long values.

A search for each would end on the leaf that took the one before.  So that is kept in mind; and
since a piece of a long value fills a page, the pages for all of them are asked for together::

    last leaf has room        --> Insert
    it is full                --> append split: the node alone on the next of these pages
    its parent is full too    --> as any other node: searched for, and split as it has to be

What is logged are the records of one insert after the other, but for the entry of the available
extent, which shrinks once by many pages and not often by one.  A crash between that and the splits
leaves pages that nothing uses, as it may with a single page: space is not undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from replicator.ese.page import TAG_BYTES
from replicator.ese.versions import Change
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.split import Operation, Path, Splitter

if TYPE_CHECKING:
    from replicator.ese.page_editor import PageEditor
    from simulator.exchange.ese.tree import Tree

Nodes = Sequence[tuple[bytes, bytes]]
"""Keys and data, in the order of the keys."""

MOST_PAGES: Final = 32
"""So many are asked for at a time: no crash leaves more of them unused."""
_KEY_LENGTH_BYTES: Final = 2


def insert_ascending(tree: Tree, session: Session, nodes: Nodes) -> None:
    """Put nodes into a unique tree, with the same outcome as one insert after the other.

    Arguments
    ---------
    nodes: what is put in.

    Raises EseError as :meth:`Tree.insert` does; what was put in until then is taken back with the
    transaction.  ValueError, and nothing is put in, for keys that do not ascend.
    """
    if any(one[0] >= other[0] for one, other in pairwise(nodes)):
        raise ValueError("keys that do not ascend")
    end = _End(tree, session)
    try:
        for at, (key, data) in enumerate(nodes):
            if not end.is_before(key):
                tree.insert(session, key, data)
                continue
            version_id = tree.new_version(session, key, data)
            if end.put(nodes, at, version_id):
                tree.versions.note(session, tree, Change.INSERT, version_id, key, data)
            else:
                tree.insert_as(session, key, data, version_id)
    finally:
        end.give_back()


def pages_for(nodes: Iterable[tuple[bytes, bytes]], page_data_bytes: int) -> int:
    """How many pages nodes take that are put in one behind the other, the first on a new one.

    Arguments
    ---------
    page_data_bytes: bytes of a page behind its header.

    Returns :data:`MOST_PAGES` where they take more.
    """
    pages = room = 0
    for key, data in nodes:
        size = _KEY_LENGTH_BYTES + len(key) + len(data) + TAG_BYTES
        if size > room:
            if pages == MOST_PAGES:
                break
            pages, room = pages + 1, page_data_bytes - TAG_BYTES
        room -= size
    return pages


class _End:
    """The last leaf of a tree, and pages that were taken to go behind it."""

    def __init__(self, tree: Tree, session: Session) -> None:
        self._tree, self._session = tree, session
        self._path: Path = []
        self._page: PageEditor | None = None
        self._next_pgno = self._pages = 0

    def is_before(self, key: bytes) -> bool:
        """Whether a key, which is above those that were put in, belongs behind all of the tree."""
        if self._page is None:
            path, page, line, found = self._tree.seek(key)
            if found or not path or page.next_pgno or line < page.line_count:
                return False
            self._path, self._page = path, page
        return True

    def put(self, nodes: Nodes, at: int, version_id: int) -> bool:
        """Put one of them in; False, and nothing is done, where branch pages would split."""
        page, tree = self._page, self._tree
        assert page is not None
        key, data = nodes[at]
        operation = tree.put(self._session, page, page.line_count, key, data, version_id)
        return operation is None or self._append(page, operation, nodes, at)

    def _append(self, page: PageEditor, operation: Operation, nodes: Nodes, at: int) -> bool:
        def take() -> int:
            if not self._pages:
                most = pages_for(islice(nodes, at, None), context.format.data_bytes)
                supply = self._tree.supply
                self._next_pgno, self._pages = supply.allocate_run(self._session, page.pgno, most)
            self._next_pgno, self._pages = self._next_pgno + 1, self._pages - 1
            return self._next_pgno - 1

        context, path = self._tree.context, self._path
        with context.in_one_go():
            splitter = Splitter(context, self._tree, self._session)
            new_pgno = splitter.append(path, page, operation, take)
            self._page = context.page(new_pgno) if new_pgno else None
        path[-1] = path[-1][0], path[-1][1] + 1
        return self._page is not None

    def give_back(self) -> None:
        """Pages that were taken and not needed."""
        if self._pages:
            last = self._next_pgno + self._pages - 1
            self._tree.supply.free(self._session, last, self._pages)
