"""What a log record does to pages: the one place where it is carried out, by doing and redoing.

An engine that changes a page makes the record first and applies it here; recovery applies the
same record from the log.  So redo cannot drift from do.  Nothing here asks whether a record is
to be redone: the caller says which of its pages are wanted.  Every page that is changed gets the
record's dbtime.

Changes of several pages at a time, splits and merges, are in :mod:`replicator.ese.split_operations`
and :mod:`replicator.ese.merge_operations`.  The facts are in docs/store-redo.md, sections 3 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from replicator.ese.difference import apply_difference
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import (
    ConvertFDP2,
    CreateMultipleExtentFDP,
    CreateSingleExtentFDP,
    Delta,
    Delta64,
    EmptyTree,
    FlagInsert,
    FlagInsertAndReplaceData,
    Insert,
    NewPage,
    NodeRecord,
    PageMove,
    PageRecord,
    Record,
    Replace,
    Scrub,
    SetExternalHeader,
    UndoInfo,
)
from replicator.ese.log_record_types import Kind, title_of
from replicator.ese.node import DELETED, SPLIT_BUFFER_BYTES, VERSIONED
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor

INVALID_OPERATION: Final = -500
_REPLACE_D: Final = int(Kind.REPLACE_D)

Wanted = Callable[[int], bool]
"""Whether a page, by its number, is to be changed; asked for each page of a record."""

MULTIPLE_EXTENTS: Final = 1
NON_UNIQUE: Final = 2
"""Bits of the third field of a space header."""

_SPACE_HEADER: Final = struct.Struct("<4I")
_NOT_SCRUBBED: Final = ~int(PageFlag.SCRUBBED)
_ROOT_LEAF: Final = int(PageFlag.ROOT | PageFlag.LEAF)
_SPACE_ROOT: Final = int(PageFlag.ROOT | PageFlag.LEAF | PageFlag.SPACE_TREE)
_SMALL_EXTENT_PAGES: Final = 32
"""A single extent keeps track of so many pages behind its root."""

SCRUB_DATA, SCRUB_LONG_VALUE, SCRUB_FREE, SCRUB_UNUSED = b"dlzu"
"""What scrubbed bytes become (E src/inc/daedef.hxx; S)."""


class Pages(Protocol):
    """Where operations get their pages from."""

    def page(self, pgno: int) -> PageEditor:
        """The page, to be read and changed in place; a new one is all zero."""


def every_page(pgno: int) -> bool:
    """All pages of a record are wanted: for who does, not redoes."""
    return True


def apply(
    record: Record,
    pages: Pages,
    wanted: Wanted = every_page,
    *,
    largest_data_bytes: int | None = None,
) -> None:
    """Carry out one record.

    Arguments
    ---------
    record: anything that changes pages, but for splits, merges and Undo; records that change
        none do nothing.
    pages: where the pages are.
    wanted: which of its pages are to be changed.
    largest_data_bytes: of a versioned replacement, the most bytes of data that the node had in
        this transaction: what it shrinks stays reserved for its undo.  None: as many as it has.

    Raises EseError: -500 for a record that does not fit the page or is not known here, -1206
    where the page cannot take it.
    """
    operation = _OPERATIONS.get(type(record))
    if operation is not None:
        operation(record, pages, wanted)
    elif isinstance(record, UndoInfo):
        return  # it keeps a before-image, see replicator.ese.versions
    elif isinstance(record, NodeRecord) and wanted(record.pgno):
        page = pages.page(record.pgno)
        if page.objid != record.objid:
            raise misfit(record, f"the page is of tree {page.objid}, not {record.objid}")
        change_node(record, page, largest_data_bytes)
        stamp(page, record.dbtime)
    elif record.number in _NOT_KNOWN:
        raise misfit(record, "recovery does not know this record")


def stamp(page: PageEditor, dbtime: int) -> None:
    """Note a change: any one ends what a scrub said of the page."""
    page.dbtime = dbtime
    page.flags &= _NOT_SCRUBBED


def misfit(record: Record, detail: str) -> EseError:
    """The error for a record that cannot be carried out."""
    pgno = record.pgno if isinstance(record, PageRecord | NewPage) else None
    return EseError(INVALID_OPERATION, f"{title_of(record.number)}: {detail}", page=pgno)


# -- nodes -------------------------------------------------------------------------------


def change_node(
    record: NodeRecord, page: PageEditor, largest_data_bytes: int | None = None
) -> None:
    """What one node record does to its page, without its dbtime; see :func:`apply`."""
    line, versioned = record.line, VERSIONED if record.versioned else 0
    match record:
        case Insert():
            shared = record.prefix_bytes
            key, data = record.tail(shared + record.suffix_bytes, record.data_bytes)
            if shared:
                prefix = page.prefix
                if len(prefix) < shared or not key.startswith(prefix[:shared]):
                    raise misfit(record, "the key does not begin with the page's prefix")
            page.insert(line, key, data, shared, versioned)
        case FlagInsertAndReplaceData():
            replace_data(page, record, record.data, largest_data_bytes, clear_flags=DELETED)
        case FlagInsert():
            page.set_flags(line, versioned, DELETED)
        case Replace():
            replace_data(page, record, replaced_data(record, page), largest_data_bytes)
        case Delta() | Delta64():
            add_delta(page, line, record, record.delta, versioned)
        case SetExternalHeader():
            page.set_external_header(record.data)
        case _ if record.number == Kind.FLAG_DELETE:
            page.set_flags(line, DELETED | versioned)
        case _ if record.number == Kind.DELETE:
            page.delete(line)
        case _:
            raise misfit(record, "it changes no node by itself")


def replaced_data(record: Replace, page: PageEditor) -> bytes:
    """The data that a replacement leaves, of the data that is there now."""
    old_bytes = page.data_bytes(record.line)
    if old_bytes != record.old_data_bytes:
        detail = f"line {record.line} holds {old_bytes} bytes, not {record.old_data_bytes}"
        raise misfit(record, detail)
    new = record.data
    if record.number == _REPLACE_D:
        old = page.node(record.line).data
        new = apply_difference(new, old, wide=record.wide_difference)
    if len(new) != record.new_data_bytes:
        raise misfit(record, f"it makes {len(new)} bytes, not {record.new_data_bytes}")
    return new


def replace_data(
    page: PageEditor,
    record: NodeRecord,
    data: bytes,
    largest_data_bytes: int | None = None,
    *,
    clear_flags: int = 0,
) -> None:
    """Give a node other data; what a versioned one gives up stays reserved for its undo."""
    old = page.data_bytes(record.line)
    versioned = VERSIONED if record.versioned else 0
    page.replace_data(record.line, data, versioned, clear_flags)
    if versioned:
        largest = max(old, largest_data_bytes or 0)
        reserved = max(0, largest - len(data)) - (largest - old)
        page.uncommitted_free_bytes = max(0, page.uncommitted_free_bytes + reserved)


def add_delta(
    page: PageEditor, line: int, record: Delta | Delta64, delta: int, set_flags: int = 0
) -> None:
    """Add to the little-endian number in a node's data; it goes round at its end."""
    data, at = page.node(line).data, record.data_offset
    size = 8 if isinstance(record, Delta64) else 4
    page.replace_data(line, with_delta(data, at, size, delta, record), set_flags)


def with_delta(data: bytes, at: int, size_bytes: int, delta: int, record: Record) -> bytes:
    """Data whose number at an offset has changed by a delta."""
    part = data[at : at + size_bytes]
    if len(part) < size_bytes:
        raise misfit(record, f"the node has {len(data)} bytes, none at offset {at}")
    value = (int.from_bytes(part, "little") + delta) % (1 << 8 * size_bytes)
    return data[:at] + value.to_bytes(size_bytes, "little") + data[at + size_bytes :]


# -- pages -------------------------------------------------------------------------------


def _new_page(record: NewPage, pages: Pages, wanted: Wanted) -> None:
    if wanted(record.pgno):
        pages.page(record.pgno).begin(record.objid, record.dbtime)


def _scrub(record: Scrub, pages: Pages, wanted: Wanted) -> None:
    if not wanted(record.pgno):
        return
    page = pages.page(record.pgno)
    if record.scrub_flags & 1:
        for line in reversed(range(page.line_count)):
            page.delete(line)
        page.overwrite_free_space(SCRUB_UNUSED)
    else:
        for line, what in enumerate(record.operations[: record.operation_count]):
            if what:
                fill = bytes((SCRUB_DATA if what == 1 else SCRUB_LONG_VALUE,))
                page.replace_data(line, fill * page.data_bytes(line), 0, VERSIONED)
        page.overwrite_free_space(SCRUB_FREE)
    page.dbtime = record.dbtime
    page.flags |= int(PageFlag.SCRUBBED)


def _empty_tree(record: EmptyTree, pages: Pages, wanted: Wanted) -> None:
    for each in record.pages:
        if wanted(each.pgno):
            page = pages.page(each.pgno)
            page.become_empty()
            stamp(page, record.dbtime)
    if wanted(record.pgno):
        root = pages.page(record.pgno)
        root.delete(0)
        root.flags = root.flags & ~int(PageFlag.PARENT_OF_LEAF) | int(PageFlag.LEAF)
        stamp(root, record.dbtime)


def _page_move(record: PageMove, pages: Pages, wanted: Wanted) -> None:
    if record.move_flags:
        raise misfit(record, "recovery does not move roots")
    source = pages.page(record.pgno)
    destination = pages.page(record.destination_pgno)
    if wanted(record.destination_pgno):
        if wanted(record.pgno):
            moved = source.copy(record.destination_pgno)
        else:
            gap = destination.page_bytes - record.head_bytes - record.trailer_bytes
            if gap < 0:
                raise misfit(record, "its page is larger than a page")
            moved = PageEditor.load(record.head + bytes(gap) + record.trailer, record.pgno)
        destination.become(moved)
        stamp(destination, record.dbtime)
    if wanted(record.pgno):
        source.become_empty()
        stamp(source, record.dbtime)
    if wanted(record.parent_pgno):
        parent = pages.page(record.parent_pgno)
        parent.replace_data(record.parent_line, record.destination_pgno.to_bytes(4, "little"))
        stamp(parent, record.dbtime)
    if record.left_pgno and wanted(record.left_pgno):
        left = pages.page(record.left_pgno)
        left.next_pgno = record.destination_pgno
        stamp(left, record.dbtime)
    if record.right_pgno and wanted(record.right_pgno):
        right = pages.page(record.right_pgno)
        right.prev_pgno = record.destination_pgno
        stamp(right, record.dbtime)


# -- trees -------------------------------------------------------------------------------


def _space_header(primary_pages: int, parent: int, flags: int, last: int) -> bytes:
    """Tag 0 of a root; ``last`` is the owned-extents tree, or the map of a single extent."""
    return _SPACE_HEADER.pack(primary_pages, parent, flags, last)


def _start_space_tree(page: PageEditor, objid: int, dbtime: int, flags: int) -> None:
    page.start(objid, dbtime, flags | _SPACE_ROOT, bytes(SPLIT_BUFFER_BYTES))


def insert_extent(page: PageEditor, last_pgno: int, pages: int) -> None:
    """Put an extent into a page of a space tree, in the order of its keys, not versioned.

    Arguments
    ---------
    last_pgno: the last page of the extent: its key.
    pages: how many it has.
    """
    key = last_pgno.to_bytes(4, "big")
    line = sum(page.key(line) < key for line in range(page.line_count))
    page.insert(line, key, pages.to_bytes(4, "little"))


def _multiple_extents(record: CreateMultipleExtentFDP, pages: Pages, wanted: Wanted) -> None:
    flags = MULTIPLE_EXTENTS | (0 if record.unique else NON_UNIQUE)
    last = record.pgno + record.pages - 1
    if wanted(record.pgno):
        header = _space_header(record.pages, record.parent_pgno, flags, record.owned_pgno)
        root = pages.page(record.pgno)
        root.start(record.objid, record.dbtime, record.page_flags | _ROOT_LEAF, header)
    in_trees = 3  # the root, and those of the two space trees
    for pgno, extent in (
        (record.owned_pgno, record.pages),
        (record.available_pgno, record.pages - in_trees),
    ):
        if wanted(pgno):
            page = pages.page(pgno)
            _start_space_tree(page, record.objid, record.dbtime, record.page_flags)
            if extent:
                insert_extent(page, last, extent)


def _single_extent(record: CreateSingleExtentFDP, pages: Pages, wanted: Wanted) -> None:
    if wanted(record.pgno):
        behind = min(max(0, record.pages - 1), _SMALL_EXTENT_PAGES)
        flags = 0 if record.unique else NON_UNIQUE
        header = _space_header(record.pages, record.parent_pgno, flags, (1 << behind) - 1)
        root = pages.page(record.pgno)
        root.start(record.objid, record.dbtime, record.page_flags | _ROOT_LEAF, header)


def _convert(record: ConvertFDP2, pages: Pages, wanted: Wanted) -> None:
    second_last = record.second_pgno + record.second_pages - 1
    if wanted(record.pgno):
        flags = MULTIPLE_EXTENTS | (0 if record.unique else NON_UNIQUE)
        header = _space_header(record.primary_pages, record.parent_pgno, flags, record.owned_pgno)
        root = pages.page(record.pgno)
        root.set_external_header(header)
        stamp(root, record.dbtime)
    if wanted(record.owned_pgno):
        owned = pages.page(record.owned_pgno)
        _start_space_tree(owned, record.objid, record.dbtime, record.page_flags)
        insert_extent(owned, second_last, record.second_pages)
        insert_extent(owned, record.pgno + record.primary_pages - 1, record.primary_pages)
    if wanted(record.available_pgno):
        available = pages.page(record.available_pgno)
        _start_space_tree(available, record.objid, record.dbtime, record.page_flags)
        in_trees = 2  # the roots of the two space trees begin the second extent
        if record.second_pages > in_trees:
            insert_extent(available, second_last, record.second_pages - in_trees)
        for last, count in _free_extents(record):
            insert_extent(available, last, count)


def _free_extents(record: ConvertFDP2) -> Iterator[tuple[int, int]]:
    """What the map of the single extent says: last page and number of pages, the first first."""
    free = [
        record.pgno + 1 + bit
        for bit in range(_SMALL_EXTENT_PAGES)
        if record.available_map >> bit & 1
    ]
    beyond = record.pgno + 1 + _SMALL_EXTENT_PAGES
    free += range(beyond, max(beyond, record.pgno + record.primary_pages))
    count = 0
    for at, pgno in enumerate(free):
        count += 1
        if at + 1 == len(free) or free[at + 1] != pgno + 1:
            yield pgno, count
            count = 0


_OPERATIONS: Final[dict[type[Record], Callable[..., None]]] = {
    NewPage: _new_page,
    Scrub: _scrub,
    EmptyTree: _empty_tree,
    PageMove: _page_move,
    CreateMultipleExtentFDP: _multiple_extents,
    CreateSingleExtentFDP: _single_extent,
    ConvertFDP2: _convert,
}
_NOT_KNOWN: Final = frozenset(
    {Kind.CONVERT_FDP, Kind.SPLIT, Kind.MERGE, Kind.ROOT_PAGE_MOVE, Kind.SLV_PAGE_APPEND}
)
"""They change pages in ways that are not known here."""
