"""A database page: its header, its tags and its nodes; a view that changes nothing.

E src/inc/cpage.hxx, src/ese/node.cxx; L; V.  Pages up to 8 KiB have a header of 40 bytes and
keep the node flags in the tags; larger ones have 80 bytes and keep them in the nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntFlag
from typing import Final, NamedTuple

from replicator.ese.errors import EseError
from replicator.ese.verification import LARGEST_SMALL_PAGE

_HEADER: Final = struct.Struct("<QQIIIHHHHI")
SMALL_HEADER_BYTES: Final = 40
LARGE_HEADER_BYTES: Final = 80
TAG_BYTES: Final = 4
TAG_COUNT_MASK: Final = 0x0FFF
SMALL_TAG_MASK: Final = 0x1FFF
LARGE_TAG_MASK: Final = 0x7FFF
_KEY_MASK: Final = 0x1FFF
CORRUPTED: Final = -1206
BAD_TAGS: Final = (542,)


class PageFlag(IntFlag):
    """Bits of the page's flags."""

    ROOT = 0x1
    LEAF = 0x2
    PARENT_OF_LEAF = 0x4
    EMPTY = 0x8
    REPAIRED = 0x10
    SPACE_TREE = 0x20
    INDEX = 0x40
    LONG_VALUE = 0x80
    NON_UNIQUE_KEYS = 0x400
    NEW_RECORD_FORMAT = 0x800
    NEW_CHECKSUM = 0x2000
    SCRUBBED = 0x4000
    FLUSH_TYPE = 0x18000
    PREINITIALISED = 0x20000
    BEING_DELETED = 0x40000


class NodeFlag(IntFlag):
    """The three bits of a node."""

    VERSIONED = 1
    DELETED = 2
    COMPRESSED_KEY = 4


class Tag(NamedTuple):
    """Where a node lies: offset from the end of the page header, bytes, flags."""

    offset: int
    size: int
    flags: int


class Node(NamedTuple):
    """One line of a page.

    Arguments
    ---------
    line: its number, from 0 (its tag is one higher).
    flags: bits of :class:`NodeFlag`.
    key: the whole key, prefix included.
    data: what stands behind the key.
    """

    line: int
    flags: int
    key: bytes
    data: bytes

    @property
    def is_deleted(self) -> bool:
        return bool(self.flags & NodeFlag.DELETED)


class Page:
    """One page, checked before anything of it is believed.

    Arguments
    ---------
    data: all its bytes.
    pgno: the number under which it was read.

    Raises EseError -1206 (event 542) when tags are too many, overlap or point outside.
    """

    __slots__ = (
        "data",
        "dbtime",
        "flags",
        "free_bytes",
        "free_from",
        "header_bytes",
        "next_pgno",
        "objid",
        "pgno",
        "prefix",
        "prev_pgno",
        "tag_count",
        "tags",
        "uncommitted_free_bytes",
    )

    def __init__(self, data: bytes, pgno: int) -> None:
        if len(data) < SMALL_HEADER_BYTES:
            raise EseError(-1022, f"a page of {len(data)} bytes", page=pgno)
        self.data = data
        self.pgno = pgno
        (
            _checksum,
            self.dbtime,
            self.prev_pgno,
            self.next_pgno,
            self.objid,
            self.free_bytes,
            self.uncommitted_free_bytes,
            self.free_from,
            tag_count,
            self.flags,
        ) = _HEADER.unpack_from(data)
        self.tag_count: int = tag_count & TAG_COUNT_MASK
        large = len(data) > LARGEST_SMALL_PAGE
        self.header_bytes = LARGE_HEADER_BYTES if large else SMALL_HEADER_BYTES
        self.tags = self._read_tags(large)
        self._check_tags()
        self.prefix = b"" if self.is_root or not self.tags else self.tag_data(0)

    def _read_tags(self, large: bool) -> list[Tag]:
        room = (len(self.data) - self.header_bytes) // TAG_BYTES
        if self.tag_count > room:
            raise self._bad(f"{self.tag_count} tags, there is room for {room}")
        start = len(self.data) - TAG_BYTES * self.tag_count
        words = struct.unpack_from(f"<{2 * self.tag_count}H", self.data, start)
        mask = LARGE_TAG_MASK if large else SMALL_TAG_MASK
        tags: list[Tag] = []
        for size_word, offset_word in zip(words[-2::-2], words[-1::-2], strict=True):
            size, offset, flags = size_word & mask, offset_word & mask, offset_word >> 13
            if large:
                at = self.header_bytes + offset + 1
                flags = self.data[at] >> 5 if tags and size > 1 and at < len(self.data) else 0
            tags.append(Tag(offset, size, flags))
        return tags

    def _check_tags(self) -> None:
        end = len(self.data) - self.header_bytes - TAG_BYTES * self.tag_count
        if self.free_from > end:
            raise self._bad(f"free space from byte {self.free_from} on, behind the tags")
        last_end = 0
        for number, tag in sorted(enumerate(self.tags), key=lambda each: each[1][:2]):
            if not tag.size:
                if number:
                    raise self._bad(f"tag {number} is empty")
                continue  # an external header that is empty points anywhere
            if tag.offset < last_end:
                raise self._bad(f"tag {number} overlaps another")
            if tag.offset + tag.size > self.free_from:
                raise self._bad(f"tag {number} ends behind the used part of the page")
            last_end = max(last_end, tag.offset + tag.size)
        used = sum(tag.size for tag in self.tags)
        if self.tags and end - used != self.free_bytes:
            raise self._bad(f"{end - used} bytes are free, the header says {self.free_bytes}")

    def _bad(self, detail: str) -> EseError:
        return EseError(CORRUPTED, detail, page=self.pgno, events=BAD_TAGS)

    # -- what it is --------------------------------------------------------------------

    @property
    def is_root(self) -> bool:
        return bool(self.flags & PageFlag.ROOT)

    @property
    def is_leaf(self) -> bool:
        return bool(self.flags & PageFlag.LEAF)

    @property
    def flush_type(self) -> int:
        return int(self.flags) >> 15 & 3

    @property
    def line_count(self) -> int:
        return max(0, self.tag_count - 1)

    def tag_data(self, number: int) -> bytes:
        """The bytes of a tag; tag 0 is the external header (space header, or key prefix)."""
        tag = self.tags[number]
        start = self.header_bytes + tag.offset
        return self.data[start : start + tag.size]

    # -- nodes -------------------------------------------------------------------------

    def node(self, line: int) -> Node:
        """One line; raises EseError -1206 when its key does not fit into it."""
        tag = self.tags[line + 1]
        start = self.header_bytes + tag.offset
        end = start + tag.size
        data = self.data
        prefix = b""
        at = start
        if tag.flags & NodeFlag.COMPRESSED_KEY:
            if at + 2 > end:
                raise self._bad(f"line {line} is too short for its key")
            prefix_bytes = int.from_bytes(data[at : at + 2], "little") & _KEY_MASK
            if prefix_bytes > len(self.prefix):
                raise self._bad(f"line {line} takes {prefix_bytes} bytes of a shorter prefix")
            prefix = self.prefix[:prefix_bytes]
            at += 2
        if at + 2 > end:
            raise self._bad(f"line {line} is too short for its key")
        key_end = at + 2 + (int.from_bytes(data[at : at + 2], "little") & _KEY_MASK)
        if key_end > end:
            raise self._bad(f"the key of line {line} is longer than the line")
        return Node(line, tag.flags, prefix + data[at + 2 : key_end], data[key_end:end])

    def nodes(self) -> Iterator[Node]:
        """All lines in order, deleted ones too."""
        return map(self.node, range(self.line_count))

    def child(self, line: int) -> int:
        """The page that a line of a branch page leads to; raises EseError -1206."""
        data = self.node(line).data
        if len(data) != 4:
            raise self._bad(f"line {line} of a branch page holds {len(data)} bytes")
        return int.from_bytes(data, "little")
