"""A page taken apart, so that it can be changed: its fields, its tags, and its nodes to be read.

Offsets of nodes count from the end of the page header.  What changes a page is in
:mod:`replicator.ese.page_editor`.

E src/ese/cpage.cxx, node.cxx; V for pages of 4096 bytes, S for those above 8192.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, Self

from replicator.ese.checksum import with_checksums
from replicator.ese.errors import EseError
from replicator.ese.node import COMPRESSED, KEY_MASK, SPLIT_BUFFER_BYTES, EditedNode
from replicator.ese.page import (
    BAD_TAGS,
    CORRUPTED,
    LARGE_HEADER_BYTES,
    LARGE_TAG_MASK,
    SMALL_HEADER_BYTES,
    SMALL_TAG_MASK,
    TAG_BYTES,
    TAG_COUNT_MASK,
    Page,
    PageFlag,
)
from replicator.ese.verification import LARGEST_SMALL_PAGE, PAGE_NUMBER_AT

_HEADER: Final = struct.Struct("<QIIIHHHHI")
_HEADER_AT: Final = 8
CHILD_BYTES: Final = 4
"""What a line of a branch page holds: the number of the page below."""

# As plain numbers: an operation on an enumeration takes ten times as long.
_ROOT: Final = int(PageFlag.ROOT)
_LEAF: Final = int(PageFlag.LEAF)
_SPACE_TREE: Final = int(PageFlag.SPACE_TREE)
_BEGUN: Final = int(PageFlag.PREINITIALISED | PageFlag.NEW_RECORD_FORMAT)


class PageContent:
    """A page in memory; a new one is all zero, as the file has it before its first use.

    Arguments
    ---------
    pgno: its number.
    page_bytes: its size.
    """

    __slots__ = (
        "_branch_keys",
        "_data",
        "_data_bytes",
        "_large",
        "_offsets",
        "_sizes",
        "_small_flags",
        "dbtime",
        "flags",
        "free_bytes",
        "free_from",
        "header_bytes",
        "high_tag_bits",
        "next_pgno",
        "objid",
        "page_bytes",
        "pgno",
        "prev_pgno",
        "uncommitted_free_bytes",
    )

    def __init__(self, pgno: int, page_bytes: int) -> None:
        self.pgno = pgno
        self.page_bytes = page_bytes
        self._large = page_bytes > LARGEST_SMALL_PAGE
        self.header_bytes = LARGE_HEADER_BYTES if self._large else SMALL_HEADER_BYTES
        self._data_bytes = page_bytes - self.header_bytes
        self.dbtime = self.prev_pgno = self.next_pgno = self.objid = 0
        self.high_tag_bits = 0
        """The bits above the tag count; newer formats keep something there."""
        self.flags = 0
        self.begin(0, 0)
        self.flags = 0

    def begin(self, objid: int, dbtime: int) -> None:
        """Make it a page that has been allocated and holds nothing, not even a tag."""
        self._data = bytearray(self._data_bytes)
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        self._small_flags: list[int] = []
        self._branch_keys: list[bytes] | None = None
        self.flags = _BEGUN
        self.objid, self.dbtime = objid, dbtime
        self.prev_pgno = self.next_pgno = 0
        self.free_bytes, self.uncommitted_free_bytes, self.free_from = self._data_bytes, 0, 0
        self.high_tag_bits = 0

    # -- to and from bytes -------------------------------------------------------------

    @classmethod
    def load(cls, data: bytes, pgno: int) -> Self:
        """A page as it was read, its checksum judged already; all zero for a new one.

        Raises EseError -1206 when its tags do not hold together.
        """
        editor = cls(pgno, len(data))
        if not any(data):
            return editor
        (
            editor.dbtime,
            editor.prev_pgno,
            editor.next_pgno,
            editor.objid,
            editor.free_bytes,
            editor.uncommitted_free_bytes,
            editor.free_from,
            word,
            editor.flags,
        ) = _HEADER.unpack_from(data, _HEADER_AT)
        editor.high_tag_bits, count = word & ~TAG_COUNT_MASK, word & TAG_COUNT_MASK
        editor._data = bytearray(data[editor.header_bytes :])
        if not editor._take_tags(count):
            Page(data, pgno)  # says what is wrong
            raise editor.bad("its tags do not hold together")
        return editor

    def _take_tags(self, count: int) -> bool:
        """Read so many tags; False unless they hold together, by the rules of :class:`Page`."""
        end = self._data_bytes - TAG_BYTES * count
        if end < 0 or self.free_from > end:
            return False
        words = struct.unpack_from(f"<{2 * count}H", self._data, end)
        mask = LARGE_TAG_MASK if self._large else SMALL_TAG_MASK
        sizes = [word & mask for word in words[-2::-2]]
        offsets = [word & mask for word in words[-1::-2]]
        last_end = 0
        for number in sorted(range(count), key=offsets.__getitem__):
            size, offset = sizes[number], offsets[number]
            if not size:
                if number:
                    return False
                continue  # an external header that is empty points anywhere
            if offset < last_end or offset + size > self.free_from:
                return False
            last_end = offset + size
        self._sizes, self._offsets = sizes, offsets
        self._small_flags = [0 if self._large else word >> 13 for word in words[-1::-2]]
        return not count or end - sum(sizes) == self.free_bytes

    def copy(self, pgno: int | None = None) -> Self:
        """Another editor of the same content."""
        other = type(self)(self.pgno if pgno is None else pgno, self.page_bytes)
        for name in ("dbtime", "prev_pgno", "next_pgno", "objid", "free_bytes", "free_from"):
            setattr(other, name, getattr(self, name))
        other.uncommitted_free_bytes = self.uncommitted_free_bytes
        other.flags, other.high_tag_bits = self.flags, self.high_tag_bits
        other._data = bytearray(self._data)
        other._offsets, other._sizes = self._offsets[:], self._sizes[:]
        other._small_flags = self._small_flags[:]
        return other

    def plain_bytes(self) -> bytes:
        """The page with its checksum fields zero."""
        out = bytearray(self.header_bytes)
        _HEADER.pack_into(
            out,
            _HEADER_AT,
            self.dbtime,
            self.prev_pgno,
            self.next_pgno,
            self.objid,
            self.free_bytes,
            self.uncommitted_free_bytes,
            self.free_from,
            self.high_tag_bits | len(self._sizes),
            self.flags,
        )
        if self._large:
            out[PAGE_NUMBER_AT : PAGE_NUMBER_AT + 4] = self.pgno.to_bytes(4, "little")
        count = len(self._sizes)
        words = [0] * (2 * count)
        words[0::2] = reversed(self._sizes)
        if self._large:
            words[1::2] = reversed(self._offsets)
        else:
            flagged = zip(self._offsets, self._small_flags, strict=True)
            words[1::2] = reversed([offset | flags << 13 for offset, flags in flagged])
        tags = struct.pack(f"<{2 * count}H", *words)
        out += memoryview(self._data)[: self._data_bytes - len(tags)]
        out += tags
        return bytes(out)

    def sealed_bytes(self) -> bytes:
        """The page as it is written: with its checksums, by the format that its flags say."""
        return with_checksums(self.plain_bytes(), self.pgno)

    # -- what it is --------------------------------------------------------------------

    @property
    def is_root(self) -> bool:
        return bool(self.flags & _ROOT)

    @property
    def is_leaf(self) -> bool:
        return bool(self.flags & _LEAF)

    @property
    def is_zero(self) -> bool:
        """Never used: nothing but zeros."""
        return not (self.dbtime or self.flags or self._sizes)

    @property
    def line_count(self) -> int:
        return max(0, len(self._sizes) - 1)

    @property
    def prefix(self) -> bytes:
        """What the keys of the page may share: tag 0, or what a root leaves of it."""
        size = self._sizes[0] if self._sizes else 0
        if not size:
            return b""
        offset = self._offsets[0]
        if not self.flags & _ROOT:
            return bytes(self._data[offset : offset + size])
        if self.flags & _SPACE_TREE:
            return bytes(self._data[offset + SPLIT_BUFFER_BYTES : offset + size])
        return b""

    @property
    def external_header(self) -> bytes:
        """Tag 0: the space header of a root, the key prefix of any other page."""
        return self._tag(0) if self._sizes else b""

    @property
    def contiguous_free_bytes(self) -> int:
        """The gap between the last node and the tags."""
        return self._data_bytes - self.free_from - TAG_BYTES * len(self._sizes)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Where each tag's bytes lie: offset behind the page header, and size."""
        return list(zip(self._offsets, self._sizes, strict=True))

    def has_room_for(self, stored_bytes: int) -> bool:
        """Whether one more node of so many stored bytes fits, all free space put together.

        What a running transaction may take back counts as taken.
        """
        return stored_bytes + TAG_BYTES <= self.free_bytes - self.uncommitted_free_bytes

    def _tag(self, number: int) -> bytes:
        offset = self._offsets[number]
        return bytes(self._data[offset : offset + self._sizes[number]])

    # -- nodes, read -------------------------------------------------------------------

    def node_flags(self, line: int) -> int:
        """Bits of :class:`NodeFlag`."""
        if self._large:
            return self._data[self._offsets[line + 1] + 1] >> 5
        return self._small_flags[line + 1]

    def stored_bytes(self, line: int) -> int:
        """Bytes of a line's node as it is stored."""
        return self._sizes[line + 1]

    def node(self, line: int) -> EditedNode:
        """One line, its key put together.

        Raises EseError -1206 when there is no such line, or when its key does not fit.
        """
        self._check_line(line)
        return self._node(line, self.prefix)

    def _node(self, line: int, page_prefix: bytes) -> EditedNode:
        number = line + 1
        offset, data = self._offsets[number], self._data
        end = offset + self._sizes[number]
        word = data[offset] | data[offset + 1] << 8
        flags = word >> 13 if self._large else self._small_flags[number]
        at, taken, prefix = offset, 0, b""
        if flags & COMPRESSED:
            taken = word & KEY_MASK
            prefix = page_prefix[:taken]
            if len(prefix) < taken:
                raise self.bad(f"line {line} takes {taken} bytes of a shorter prefix")
            at += 2
            word = data[at] | data[at + 1] << 8
        key_from = at + 2
        key_end = key_from + (word & KEY_MASK)
        if key_end > end:
            raise self.bad(f"the key of line {line} is longer than the line")
        return EditedNode(taken, prefix + data[key_from:key_end], bytes(data[key_end:end]), flags)

    def key(self, line: int) -> bytes:
        """The key of a line, for a search: quicker than the whole node."""
        number = line + 1
        offset, data = self._offsets[number], self._data
        word = data[offset] | data[offset + 1] << 8
        flags = word >> 13 if self._large else self._small_flags[number]
        if not flags & COMPRESSED:
            at = offset + 2
            return bytes(data[at : at + (word & KEY_MASK)])
        at = offset + 4
        suffix = (data[offset + 2] | data[offset + 3] << 8) & KEY_MASK
        return self.prefix[: word & KEY_MASK] + data[at : at + suffix]

    def lines_below(self, key: bytes, lines: int, *, or_equal: bool = False) -> int:
        """How many of the first lines have a key below this one, for keys in order.

        Arguments
        ---------
        lines: how many are looked at.
        or_equal: lines with this very key count as well.
        """
        if not lines:
            return 0
        offsets, flags, data, prefix = self._offsets, self._small_flags, self._data, self.prefix
        large, low, high = self._large, 0, lines
        while low < high:
            middle = (low + high) >> 1
            offset = offsets[middle + 1]
            word = data[offset] | data[offset + 1] << 8
            found: bytes | bytearray
            if (word >> 13 if large else flags[middle + 1]) & COMPRESSED:
                at = offset + 4
                suffix = (data[offset + 2] | data[offset + 3] << 8) & KEY_MASK
                found = prefix[: word & KEY_MASK] + data[at : at + suffix]
            else:
                at = offset + 2
                found = data[at : at + (word & KEY_MASK)]
            if found < key or (or_equal and found == key):
                low = middle + 1
            else:
                high = middle
        return low

    def child_line(self, bookmark: bytes) -> int:
        """The line of a branch page below which a bookmark lies: the first whose key is above it.

        The last line bounds nothing, whatever its key is.
        """
        keys = self._branch_keys
        if keys is None:
            # Branch pages are searched for each change below, and seldom changed themselves.
            # The editor keeps this list in step.
            keys = self._branch_keys = [self.key(line) for line in range(self.line_count - 1)]
        return bisect_right(keys, bookmark)

    def nodes(self) -> Iterator[EditedNode]:
        """All lines in order, deleted ones too."""
        prefix = self.prefix
        return (self._node(line, prefix) for line in range(self.line_count))

    def child(self, line: int) -> int:
        """The page that a line of a branch page leads to.

        Raises EseError: -1019 when the page was never used, -1206 when it has no such line or the
        line leads nowhere.
        """
        number = line + 1
        if not 0 < number < len(self._sizes):
            if self.is_zero:
                raise EseError(-1019, "the page is all zero", page=self.pgno)
            raise self.bad(f"line {line} of {self.line_count}")
        offset, data = self._offsets[number], self._data
        end = offset + self._sizes[number]
        word = data[offset] | data[offset + 1] << 8
        if (word >> 13 if self._large else self._small_flags[number]) & COMPRESSED:
            offset += 2
            word = data[offset] | data[offset + 1] << 8
        size = end - offset - 2 - (word & KEY_MASK)
        if size != CHILD_BYTES:
            raise self.bad(f"line {line} of a branch page holds {size} bytes")
        return int.from_bytes(data[end - CHILD_BYTES : end], "little")

    def data_bytes(self, line: int) -> int:
        """How long the data of a line are.

        Raises EseError -1206 when there is no such line, or when its key does not fit.
        """
        self._check_line(line)
        offset = self._offsets[line + 1]
        return offset + self._sizes[line + 1] - self._key_end(line + 1)

    def _key_end(self, number: int) -> int:
        """Where the data of a tag's node begin; raises EseError -1206 where its key is too long."""
        offset, data = self._offsets[number], self._data
        end, at = offset + self._sizes[number], offset + 2
        word = data[offset] | data[offset + 1] << 8
        if (word >> 13 if self._large else self._small_flags[number]) & COMPRESSED:
            word = data[at] | data[at + 1] << 8
            at += 2
        at += word & KEY_MASK
        if at > end:
            raise self.bad(f"the key of line {number - 1} is longer than the line")
        return at

    def _check_line(self, line: int) -> None:
        if not 0 <= line < len(self._sizes) - 1:
            raise self.bad(f"line {line} of {self.line_count}")

    def bad(self, detail: str) -> EseError:
        """The error for contents of this page that cannot be."""
        return EseError(CORRUPTED, detail, page=self.pgno, events=BAD_TAGS)
