"""Carrying out a merge: what is left on a page moves to a neighbour, or an empty page leaves.

See docs/store-redo.md section 6; E src/ese/bt.cxx, logredo.cxx; S: no real log at hand has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from replicator.ese.before_image import read_before_image
from replicator.ese.log_page_records import Merge2
from replicator.ese.node import shared_prefix_bytes
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_operations import Pages, Wanted, every_page, misfit, stamp

EMPTY_PAGE, FULL_RIGHT, PARTIAL_RIGHT, FULL_LEFT, PARTIAL_LEFT = 1, 2, 3, 5, 6

KEY_CHANGE, DELETE_LINE, BECOMES_EMPTY = 1, 2, 4
"""Flags of a level."""

_TO_RIGHT: Final = frozenset({FULL_RIGHT, PARTIAL_RIGHT})
_TO_LEFT: Final = frozenset({FULL_LEFT, PARTIAL_LEFT})
_PARTIAL: Final = frozenset({PARTIAL_RIGHT, PARTIAL_LEFT})
_KINDS: Final = frozenset({EMPTY_PAGE}) | _TO_RIGHT | _TO_LEFT


def apply_merge(levels: Sequence[Merge2], pages: Pages, wanted: Wanted = every_page) -> None:
    """Carry out all levels of a merge.

    Arguments
    ---------
    levels: the highest page that changes first; the last one is the page that is merged.
    pages: where the pages are.
    wanted: which pages are to be changed.  A neighbour that is wanted while the merged page is
        not gets its lines from the before-image.

    Raises EseError: -500 for records that do not fit the pages, -1206 where a page cannot take
    what it should.
    """
    leaf = levels[-1]
    if leaf.merge_kind not in _KINDS:
        raise misfit(leaf, f"a merge of kind {leaf.merge_kind} is not known here")
    for level in levels[:-1]:
        if wanted(level.pgno):
            page = pages.page(level.pgno)
            _change_parent(level, leaf, page)
            stamp(page, level.dbtime)
    source = pages.page(leaf.pgno) if wanted(leaf.pgno) else None
    destination = merge_destination(leaf)
    if destination and wanted(destination):
        page = pages.page(destination)
        _move_lines(leaf, merge_source(leaf, pages, wanted), page)
        stamp(page, leaf.dbtime)
    if source is not None and leaf.merge_kind in _PARTIAL:
        for line in reversed(_moved(leaf, source)):
            source.delete(line)
    _link(leaf, pages, wanted)
    if source is not None:
        if leaf.level_flags & BECOMES_EMPTY:
            source.become_empty()
        stamp(source, leaf.dbtime)


def merge_destination(leaf: Merge2) -> int:
    """The page that gets the lines; 0 when none move."""
    if leaf.merge_kind in _TO_RIGHT:
        return leaf.right_pgno
    return leaf.left_pgno if leaf.merge_kind in _TO_LEFT else 0


def merge_source(leaf: Merge2, pages: Pages, wanted: Wanted) -> PageEditor:
    """The merged page, or how it was before it was written."""
    page = pages.page(leaf.pgno)
    if wanted(leaf.pgno):
        return page
    if not leaf.image_bytes:
        raise misfit(leaf, "the neighbour needs the merged page, and there is no before-image")
    return read_before_image(leaf.before_image, leaf.image_flags, leaf.pgno, page.page_bytes)


def _moved(leaf: Merge2, source: PageEditor) -> range:
    """The lines that leave the source, flag-deleted ones too."""
    if leaf.merge_kind in _TO_RIGHT:
        return range(leaf.merge_line, source.line_count)
    if leaf.merge_line >= source.line_count:
        raise misfit(leaf, f"line {leaf.merge_line} of {source.line_count} is to move")
    return range(leaf.merge_line + 1)


def _move_lines(leaf: Merge2, source: PageEditor, page: PageEditor) -> None:
    """Put the lines that are not deleted to the near end of the neighbour."""
    at = 0 if leaf.merge_kind in _TO_RIGHT else page.line_count
    prefix = page.prefix
    for line in reversed(_moved(leaf, source)):
        node = source.node(line)
        if not node.is_deleted:
            share = shared_prefix_bytes(prefix, node.key)
            page.insert(at, node.key, node.data, share, node.flags)
    page.uncommitted_free_bytes = leaf.destination_uncommitted_free


def _link(leaf: Merge2, pages: Pages, wanted: Wanted) -> None:
    """Siblings: a page that leaves is passed over.  All that are named get the dbtime."""
    leaves = leaf.merge_kind not in _PARTIAL
    if leaf.left_pgno and wanted(leaf.left_pgno):
        left = pages.page(leaf.left_pgno)
        if leaves:
            left.next_pgno = leaf.right_pgno
        stamp(left, leaf.dbtime)
    if leaf.right_pgno and wanted(leaf.right_pgno):
        right = pages.page(leaf.right_pgno)
        if leaves:
            right.prev_pgno = leaf.left_pgno
        stamp(right, leaf.dbtime)


def _change_parent(level: Merge2, leaf: Merge2, page: PageEditor) -> None:
    """What a level above the merged page learns."""
    line, flags = level.line, level.level_flags
    both = flags & (KEY_CHANGE | DELETE_LINE)
    if leaf.merge_kind == FULL_LEFT and both == KEY_CHANGE | DELETE_LINE:
        if not line:
            raise misfit(level, "there is no line before the first")
        page.replace_data(line, leaf.left_pgno.to_bytes(4, "little"))
        page.delete(line - 1)
    elif flags & DELETE_LINE:
        unbounded = page.node(line).key == b""
        page.delete(line)
        if unbounded and line:
            _set_key(page, line - 1, b"")
    elif flags & KEY_CHANGE:
        at = line - 1 if leaf.merge_kind == PARTIAL_LEFT else line
        if at < 0:
            raise misfit(level, "there is no line before the first")
        _set_key(page, at, leaf.separator_key)
    if flags & BECOMES_EMPTY:
        page.become_empty()


def _set_key(page: PageEditor, line: int, key: bytes) -> None:
    """Give a line another key: it is deleted and inserted again."""
    node = page.node(line)
    page.delete(line)
    page.insert(line, key, node.data, shared_prefix_bytes(page.prefix, key), node.flags)
