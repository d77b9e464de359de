"""Taking a leaf out of its tree, empty or with little left on it: the opposite of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from replicator.ese.before_image import DEHYDRATED, make_before_image
from replicator.ese.log_page_records import NO_DBTIME, Merge2
from replicator.ese.log_record_types import Kind
from replicator.ese.merge_operations import (
    BECOMES_EMPTY,
    DELETE_LINE,
    EMPTY_PAGE,
    FULL_LEFT,
    FULL_RIGHT,
    KEY_CHANGE,
)
from replicator.ese.node import shared_prefix_bytes
from replicator.ese.page import TAG_BYTES
from replicator.ese.page_editor import PageEditor
from simulator.exchange.ese.record_building import build
from simulator.exchange.ese.session import Session

if TYPE_CHECKING:
    from simulator.exchange.ese.split import PageSupply, Path
    from simulator.exchange.ese.tree import Tree
    from simulator.exchange.ese.tree_search import Place

MOST_PAGES: Final = 32
"""So many are given back at a time: no crash leaves more of them unused."""

MERGED_BELOW: Final = 0.25
"""A leaf with less of its room in use goes to its right neighbour, where that has room."""


class LeftPages:
    """Pages that have left their trees, given back to these in runs.

    The pieces of a long value lie on pages in a row, and go one after the other: so one change of
    the available extents takes them all.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._supply: PageSupply | None = None
        self._last_pgno = self._pages = 0

    def add(self, supply: PageSupply, pgno: int) -> None:
        """A page has left the tree that has this supply."""
        follows = supply is self._supply and pgno == self._last_pgno + 1
        if not follows or self._pages == MOST_PAGES:
            self.give_back()
        self._supply, self._last_pgno, self._pages = supply, pgno, self._pages + 1

    def give_back(self) -> None:
        """Those that are not given back yet."""
        pages, self._pages = self._pages, 0
        if pages and self._supply is not None:
            self._supply.free(self._session, self._last_pgno, pages)


def merge_if_empty(tree: Tree, session: Session, place: Place, left: LeftPages) -> bool:
    """Take a leaf whose only line is deleted for good out of the tree, and free its page.

    Branch pages that lead to nothing else go with it.  A page that is the only one below the
    root stays, empty or not.

    Arguments
    ---------
    left: takes the pages.

    Returns whether it was done; the line is gone then.
    """
    gone: list[tuple[PageEditor, int]] = []
    above = list(place.path)
    while above and above[-1][0].line_count == 1:
        gone.append(above.pop())
    if not above:
        return False
    top, top_line = above[-1]
    kind, flags = EMPTY_PAGE, DELETE_LINE
    if top_line == top.line_count - 1:
        if gone:
            return False  # the branch page on the left would get keys behind its last bound
        if top.key(top_line):
            # The bound of the last line stays, so the line goes to the page on the left.
            kind, flags = FULL_LEFT, DELETE_LINE | KEY_CHANGE
    look_at_neighbours(tree, place.page)
    with tree.context.in_one_go():
        _take_out(tree, session, place, gone, top, top_line, kind, flags)
        for page in (place.page, *(page for page, _ in gone)):
            left.add(tree.supply, page.pgno)
    return True


def _take_out(
    tree: Tree,
    session: Session,
    place: Place,
    gone: list[tuple[PageEditor, int]],
    top: PageEditor,
    top_line: int,
    kind: int,
    flags: int,
) -> None:
    merge = _Merge(tree, session)
    levels = [merge.record(top, top_line, flags, None)]
    last = top
    for page, line in reversed(gone):
        levels.append(merge.record(page, line, BECOMES_EMPTY, last))
        last = page
    fields: dict[str, Any] = {"merge_kind": kind}
    if kind == FULL_LEFT:
        left = tree.context.page(place.page.prev_pgno)
        fields["destination_uncommitted_free"] = left.uncommitted_free_bytes
    levels.append(merge.leaf_record(place.page, last, fields))
    tree.context.merge(session, levels)


def look_at_neighbours(tree: Tree, leaf: PageEditor) -> None:
    """Visit the pages on both sides, which a merge tells of what is gone."""
    for pgno in (leaf.prev_pgno, leaf.next_pgno):
        if pgno:
            tree.context.page(pgno)


def look_at_merges(tree: Tree, place: Place) -> None:
    """Visit what :func:`merge_if_empty` and :func:`merge_neighbours` may need."""
    leaf = place.page
    look_at_neighbours(tree, leaf)
    if leaf.prev_pgno:
        look_at_neighbours(tree, tree.context.page(leaf.prev_pgno))


def merge_neighbours(tree: Tree, session: Session, place: Place) -> bool:
    """A leaf has more room now: move it to its right neighbour, or its left one to it.

    Returns whether one of them was done.
    """
    if not place.path:
        return False
    if merge_to_the_right(tree, session, place.path, place.page):
        return True
    parent, line = place.path[-1]
    if not line:
        return False
    left = tree.context.page(place.page.prev_pgno)
    path = [*place.path[:-1], (parent, line - 1)]
    return merge_to_the_right(tree, session, path, left)


def merge_to_the_right(tree: Tree, session: Session, path: Path, leaf: PageEditor) -> bool:
    """Move what is left on a leaf to its right neighbour, where both have the same parent.

    Nothing is done while much is left, or a line is flagged deleted, for a merge would lose it.

    Returns whether it was done.
    """
    used = 1 - leaf.free_bytes / tree.context.format.data_bytes
    if used >= MERGED_BELOW:
        return False
    parent, line = path[-1]
    if line == parent.line_count - 1:
        return False
    right = tree.context.page(leaf.next_pgno)
    prefix, size, moved = right.prefix, 0, sum(tree.reserved_bytes(leaf).values())
    for node in leaf.nodes():
        if node.is_deleted:
            return False
        share = shared_prefix_bytes(prefix, node.key)
        size += TAG_BYTES + (4 - share if share else 2) + len(node.key) + len(node.data)
    if size + moved > right.free_bytes - right.uncommitted_free_bytes:
        return False
    look_at_neighbours(tree, leaf)
    with tree.context.in_one_go():
        merge = _Merge(tree, session)
        fields = {
            "merge_kind": FULL_RIGHT,
            "moved_bytes": size,
            "moved_bytes_max": size + moved,
            "destination_uncommitted_free": right.uncommitted_free_bytes + moved,
        }
        levels = [
            merge.record(parent, line, DELETE_LINE, None),
            merge.leaf_record(leaf, parent, fields),
        ]
        tree.context.merge(session, levels)
        tree.supply.free(session, leaf.pgno)
    return True


class _Merge:
    """The records of one merge."""

    def __init__(self, tree: Tree, session: Session) -> None:
        self._tree = tree
        self._session = session
        self._dbtime = tree.context.macro_dbtime(session)

    def record(
        self,
        page: PageEditor,
        line: int,
        level_flags: int,
        parent: PageEditor | None,
        fields: dict[str, Any] | None = None,
        tail: bytes = b"",
    ) -> Merge2:
        """One level; ``line`` leads down from it."""
        tree = self._tree
        head = tree.context.head(self._session, Kind.MERGE2, page, self._dbtime, tree.record_flags)
        head |= {
            "line": line,
            "right_dbtime_before": NO_DBTIME,
            "left_dbtime_before": NO_DBTIME,
            "parent_dbtime_before": NO_DBTIME,
            "root_pgno": tree.root_pgno,
            "objid": tree.objid,
            "level_flags": level_flags,
            **(fields or {}),
        }
        if parent is not None:
            head["parent_pgno"], head["parent_dbtime_before"] = parent.pgno, parent.dbtime
        return build(Merge2, head, tail)

    def leaf_record(self, leaf: PageEditor, parent: PageEditor, fields: dict[str, Any]) -> Merge2:
        """The last level: siblings, kind, and the page as it was where lines move from it."""
        context = self._tree.context
        for side, pgno in (("left", leaf.prev_pgno), ("right", leaf.next_pgno)):
            if pgno:
                fields[f"{side}_pgno"] = pgno
                fields[f"{side}_dbtime_before"] = context.page(pgno).dbtime
        image = b""
        if fields["merge_kind"] != EMPTY_PAGE:
            dehydrated = context.format.dehydrated_images
            image = make_before_image(leaf, self._dbtime, dehydrated=dehydrated)
            fields["image_flags"] = DEHYDRATED if dehydrated else 0
            fields["image_bytes"] = len(image)
        return self.record(leaf, 0, BECOMES_EMPTY, parent, fields, image)
