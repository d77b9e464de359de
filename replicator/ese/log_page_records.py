"""What log records say of pages, nodes and trees.

Each layout is read from the whole record, the part of variable length included; that part is
cut out of ``raw`` when it is asked for.  E src/inc/logapi.hxx; V for the types in real logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from replicator.ese.layout import Structure, i32, u8, u16, u32, u64
from replicator.ese.log_record_types import REPLACE_LENGTH_MASK

NO_DBTIME: Final = 0xFFFF_FFFF_FFFF_FFFF
"""As ``dbtime_before``: nothing to compare with, the page is new or changed within a macro."""


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


@dataclass(frozen=True, kw_only=True)
class Record(Structure, size_bytes=1):
    """Base of all contents; ``raw`` is the whole record."""

    number: int = u8(0, "record type")

    def tail(self, *sizes: int) -> tuple[bytes, ...]:
        """The parts of the variable end, one behind the other."""
        parts, at = [], self.SIZE
        for size in sizes:
            parts.append(self.raw[at : at + size])
            at += size
        return tuple(parts)


@dataclass(frozen=True, kw_only=True)
class SessionRecord(Record, size_bytes=3):
    """Anything that a session does outside a page."""

    session: int = u16(1, "procid")


@dataclass(frozen=True, kw_only=True)
class PageRecord(SessionRecord, size_bytes=32):
    """The common start of every change of a page."""

    dbid: int = u8(3)
    pgno: int = u32(4)
    dbtime: int = u64(8, "of the page afterwards")
    dbtime_before: int = u64(16, "all ones: no comparison")
    transaction: int = u32(24)
    level: int = u8(28)
    line: int = u16(29, "from 0; the tag is one higher")
    flags: int = u8(31, "1 versioned, 2 deleted, 4 unique, 8 space, 0x10 index, 0x20 system")

    @property
    def versioned(self) -> bool:
        return bool(self.flags & 1)

    @property
    def unique(self) -> bool:
        return bool(self.flags & 4)

    @property
    def space(self) -> bool:
        return bool(self.flags & 8)


@dataclass(frozen=True, kw_only=True)
class NodeRecord(PageRecord, size_bytes=44):
    """The common start of every change of a node; the whole of FlagDelete and Delete."""

    version_id: int = u32(32, "rceid")
    root_pgno: int = u32(36)
    objid: int = u32(40)


@dataclass(frozen=True, kw_only=True)
class Insert(NodeRecord, size_bytes=50):
    suffix_bytes: int = u16(44)
    prefix_bytes: int = u16(46, "of the key, shared with the page's prefix; they are logged too")
    data_bytes: int = u16(48)

    @property
    def key(self) -> bytes:
        return self.tail(self.prefix_bytes + self.suffix_bytes)[0]

    @property
    def data(self) -> bytes:
        return self.tail(self.prefix_bytes + self.suffix_bytes, self.data_bytes)[1]


@dataclass(frozen=True, kw_only=True)
class FlagInsert(NodeRecord, size_bytes=48):
    """Undelete; key and data only tell the node."""

    key_bytes: int = u16(44)
    data_bytes: int = u16(46)

    @property
    def key(self) -> bytes:
        return self.tail(self.key_bytes)[0]

    @property
    def data(self) -> bytes:
        return self.tail(self.key_bytes, self.data_bytes)[1]


@dataclass(frozen=True, kw_only=True)
class FlagInsertAndReplaceData(FlagInsert, size_bytes=52):
    """Undelete and give new data: two versions."""

    replace_version_id: int = u32(48)


@dataclass(frozen=True, kw_only=True)
class Replace(NodeRecord, size_bytes=50):
    """New data for a node; in ReplaceD only the difference to the old."""

    length_and_format: int = u16(44, "top bit: the difference has the format of large pages")
    old_data_bytes: int = u16(46)
    new_data_bytes: int = u16(48)

    @property
    def data_bytes(self) -> int:
        return self.length_and_format & REPLACE_LENGTH_MASK

    @property
    def wide_difference(self) -> bool:
        return self.length_and_format > REPLACE_LENGTH_MASK

    @property
    def data(self) -> bytes:
        return self.tail(self.data_bytes)[0]


@dataclass(frozen=True, kw_only=True)
class Delta(NodeRecord, size_bytes=54):
    """Adds to a number in a node's data."""

    key_bytes: int = u16(44)
    data_bytes: int = u16(46, "of the bookmark")
    delta: int = i32(48)
    data_offset: int = u16(52)

    @property
    def bookmark(self) -> tuple[bytes, bytes]:
        """Key and data that tell the node."""
        key, data = self.tail(self.key_bytes, self.data_bytes)
        return key, data


@dataclass(frozen=True, kw_only=True)
class Delta64(NodeRecord, size_bytes=58):
    key_bytes: int = u16(44)
    data_bytes: int = u16(46, "of the bookmark")
    delta_field: int = u64(48, "signed")
    data_offset: int = u16(56)

    @property
    def delta(self) -> int:
        return _signed(self.delta_field, 64)

    @property
    def bookmark(self) -> tuple[bytes, bytes]:
        key, data = self.tail(self.key_bytes, self.data_bytes)
        return key, data


@dataclass(frozen=True, kw_only=True)
class SetExternalHeader(NodeRecord, size_bytes=46):
    data_bytes: int = u16(44)

    @property
    def data(self) -> bytes:
        """Becomes tag 0."""
        return self.tail(self.data_bytes)[0]


@dataclass(frozen=True, kw_only=True)
class UndoInfo(NodeRecord, size_bytes=56):
    """The before-image of a change whose page was written before the transaction ended."""

    key_bytes: int = u16(44)
    bookmark_data_bytes: int = u16(46)
    operation: int = u16(48, "2 replace, 3 flag delete")
    max_size_field: int = u16(50, "signed")
    delta_field: int = u16(52, "signed")
    data_bytes: int = u16(54)

    @property
    def max_size(self) -> int:
        return _signed(self.max_size_field, 16)

    @property
    def delta(self) -> int:
        return _signed(self.delta_field, 16)

    @property
    def bookmark(self) -> tuple[bytes, bytes]:
        key, data = self.tail(self.key_bytes, self.bookmark_data_bytes)
        return key, data

    @property
    def before_image(self) -> bytes:
        return self.tail(self.key_bytes, self.bookmark_data_bytes, self.data_bytes)[2]


@dataclass(frozen=True, kw_only=True)
class Undo(NodeRecord, size_bytes=51):
    """Takes back the change whose version it names."""

    key_bytes: int = u16(44)
    data_bytes: int = u16(46)
    operation: int = u16(48, "1 insert, 2 replace, 3 flag delete, 4 delta, 9 delta of 64 bits")
    undo_level: int = u8(50)

    @property
    def bookmark(self) -> tuple[bytes, bytes]:
        key, data = self.tail(self.key_bytes, self.data_bytes)
        return key, data


@dataclass(frozen=True, slots=True)
class EmptiedPage:
    """One entry of EmptyTree: a page and its dbtime before."""

    dbtime_before: int
    pgno: int
    flags: int


@dataclass(frozen=True, kw_only=True)
class EmptyTree(NodeRecord, size_bytes=46):
    list_bytes: int = u16(44, "16 an entry")

    @property
    def pages(self) -> tuple[EmptiedPage, ...]:
        part = self.tail(self.list_bytes)[0]
        rows = (part[at : at + 16] for at in range(0, len(part) - 15, 16))
        return tuple(
            EmptiedPage(
                int.from_bytes(row[:8], "little"),
                int.from_bytes(row[8:12], "little"),
                int.from_bytes(row[12:], "little"),
            )
            for row in rows
        )


@dataclass(frozen=True, kw_only=True)
class Scrub(NodeRecord, size_bytes=54):
    scrub_flags: int = u32(44, "1: an unused page")
    operation_count: int = u32(48)
    list_bytes: int = u16(52)

    @property
    def operations(self) -> bytes:
        """A byte a line: 0 none, 1 data, 2 long value."""
        return self.tail(self.list_bytes)[0]


@dataclass(frozen=True, kw_only=True)
class NewPage(SessionRecord, size_bytes=20):
    """A page is begun; another record, with a higher dbtime, then fills it."""

    dbid: int = u8(3)
    pgno: int = u32(4)
    objid: int = u32(8)
    dbtime: int = u64(12)


@dataclass(frozen=True, kw_only=True)
class CreateMultipleExtentFDP(PageRecord, size_bytes=56):
    """A new tree with owned and available extents; ``pgno`` is its root."""

    objid: int = u32(32)
    owned_pgno: int = u32(36)
    available_pgno: int = u32(40)
    parent_pgno: int = u32(44)
    pages: int = u32(48)
    page_flags: int = u32(52)


@dataclass(frozen=True, kw_only=True)
class CreateSingleExtentFDP(PageRecord, size_bytes=48):
    objid: int = u32(32)
    parent_pgno: int = u32(36)
    pages: int = u32(40)
    page_flags: int = u32(44)


@dataclass(frozen=True, kw_only=True)
class ConvertFDP2(PageRecord, size_bytes=68):
    """A tree's single extent becomes the first of many."""

    objid: int = u32(32)
    owned_pgno: int = u32(36)
    available_pgno: int = u32(40)
    parent_pgno: int = u32(44)
    second_pgno: int = u32(48, "first page of the second extent")
    primary_pages: int = u32(52)
    second_pages: int = u32(56)
    available_map: int = u32(60, "of the single extent")
    page_flags: int = u32(64)


@dataclass(frozen=True, kw_only=True)
class Split2(PageRecord, size_bytes=110):
    """One level of a split; the old page is ``pgno``."""

    new_pgno: int = u32(32, "0: this level only takes the separator")
    right_pgno: int = u32(36)
    right_dbtime_before: int = u64(40)
    parent_pgno: int = u32(48)
    parent_dbtime_before: int = u64(52)
    root_pgno: int = u32(60)
    objid: int = u32(64)
    split_kind: int = u8(68, "0 vertical, 1 right, 2 append")
    operation: int = u8(69, "0 none, 1 insert, 2 replace, 3 flag-insert-and-replace")
    operation_line: int = u16(70)
    split_line: int = u16(72, "first line that moves")
    lines: int = u16(74, "with the inserted one")
    new_page_flags: int = u32(76)
    old_page_flags: int = u32(80)
    old_uncommitted_free_field: int = u16(84, "signed")
    new_uncommitted_free_field: int = u16(86, "signed")
    old_prefix_line: int = i32(88, "-1: none")
    new_prefix_line: int = i32(92, "relative to the lines that move; -1: none")
    old_prefix_bytes: int = u16(96, "of the old page before")
    new_prefix_bytes: int = u16(98, "of the old page afterwards")
    key_bytes: int = u16(100)
    image_flags: int = u32(102, "1 dehydrated, 2 compressed")
    image_bytes: int = u32(106)

    @property
    def old_uncommitted_free(self) -> int:
        return _signed(self.old_uncommitted_free_field, 16)

    @property
    def new_uncommitted_free(self) -> int:
        return _signed(self.new_uncommitted_free_field, 16)

    def _parts(self) -> tuple[bytes, ...]:
        return self.tail(
            self.key_bytes, self.old_prefix_bytes, self.new_prefix_bytes, self.image_bytes
        )

    @property
    def separator_key(self) -> bytes:
        return self._parts()[0]

    @property
    def old_prefix(self) -> bytes:
        return self._parts()[1]

    @property
    def new_prefix(self) -> bytes:
        return self._parts()[2]

    @property
    def before_image(self) -> bytes:
        """The old page as it was, still compressed where the flags say so."""
        return self._parts()[3]


@dataclass(frozen=True, kw_only=True)
class Merge2(PageRecord, size_bytes=96):
    """One level of a merge; ``line`` is the line that leads down."""

    right_pgno: int = u32(32)
    right_dbtime_before: int = u64(36)
    left_pgno: int = u32(44)
    left_dbtime_before: int = u64(48)
    parent_pgno: int = u32(56)
    parent_dbtime_before: int = u64(60)
    root_pgno: int = u32(68)
    objid: int = u32(72)
    moved_bytes: int = u16(76)
    moved_bytes_max: int = u16(78)
    destination_uncommitted_free: int = u16(80)
    merge_line: int = u16(82)
    level_flags: int = u8(84, "1 key change, 2 delete line, 4 page becomes empty")
    merge_kind: int = u8(85, "1 empty page, 2, 3 full, partial right, 5, 6 full, partial left")
    key_bytes: int = u16(86)
    image_flags: int = u32(88)
    image_bytes: int = u32(92)

    @property
    def separator_key(self) -> bytes:
        return self.tail(self.key_bytes)[0]

    @property
    def before_image(self) -> bytes:
        return self.tail(self.key_bytes, self.image_bytes)[1]


@dataclass(frozen=True, kw_only=True)
class PageMove(PageRecord, size_bytes=96):
    """A page is copied to another place and emptied."""

    destination_pgno: int = u32(32)
    left_pgno: int = u32(36)
    right_pgno: int = u32(40)
    parent_pgno: int = u32(44)
    left_dbtime_before: int = u64(48)
    right_dbtime_before: int = u64(56)
    parent_dbtime_before: int = u64(64)
    root_pgno: int = u32(72)
    objid: int = u32(76)
    parent_line: int = i32(80)
    move_flags: int = u32(84, "not 0: a root is moved")
    head_bytes: int = u32(88)
    trailer_bytes: int = u32(92)

    @property
    def head(self) -> bytes:
        return self.tail(self.head_bytes)[0]

    @property
    def trailer(self) -> bytes:
        return self.tail(self.head_bytes, self.trailer_bytes)[1]
