"""A page that can be changed, so exactly as the engine changes it that every byte lands alike.

One editor serves doing and redoing: what puts a node somewhere, moves it, or gives its space
back is here only.  Where a node comes to lie, when a page is put in order, and what is left
behind in free space follow the rules of docs/store-redo.md section 2, which hold to the byte on
real pages.  Offsets of nodes count from the end of the page header.

E src/ese/cpage.cxx, node.cxx; V for pages of 4096 bytes, S for those above 8192.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from replicator.ese.checksum import with_checksums
from replicator.ese.errors import EseError
from replicator.ese.node import COMPRESSED, KEY_MASK, SPLIT_BUFFER_BYTES, EditedNode, node_bytes
from replicator.ese.page import (
    BAD_TAGS,
    CORRUPTED,
    LARGE_HEADER_BYTES,
    SMALL_HEADER_BYTES,
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


class PageEditor:
    """A page being changed; a new one is all zero, as the file has it before its first use.

    Arguments
    ---------
    pgno: its number.
    page_bytes: its size.
    """

    __slots__ = (
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

    # -- to and from bytes -------------------------------------------------------------

    @classmethod
    def load(cls, data: bytes, pgno: int) -> PageEditor:
        """A page as it was read, its checksum judged already; all zero for a new one.

        Raises EseError -1206 when its tags do not hold together.
        """
        editor = cls(pgno, len(data))
        if not any(data):
            return editor
        page = Page(data, pgno)
        editor.dbtime, editor.objid = page.dbtime, page.objid
        editor.prev_pgno, editor.next_pgno = page.prev_pgno, page.next_pgno
        editor.free_bytes, editor.free_from = page.free_bytes, page.free_from
        editor.uncommitted_free_bytes, editor.flags = page.uncommitted_free_bytes, page.flags
        word = int.from_bytes(data[34:36], "little")
        editor.high_tag_bits = word & ~TAG_COUNT_MASK
        editor._data = bytearray(data[page.header_bytes :])
        editor._offsets = [tag.offset for tag in page.tags]
        editor._sizes = [tag.size for tag in page.tags]
        editor._small_flags = [0 if editor._large else tag.flags for tag in page.tags]
        return editor

    def copy(self, pgno: int | None = None) -> PageEditor:
        """Another editor of the same content."""
        other = PageEditor(self.pgno if pgno is None else pgno, self.page_bytes)
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
        offsets, flags, data, prefix = self._offsets, self._small_flags, self._data, self.prefix
        large, low, high = self._large, 0, lines
        while low < high:
            middle = (low + high) >> 1
            offset = offsets[middle + 1]
            word = data[offset] | data[offset + 1] << 8
            if (word >> 13 if large else flags[middle + 1]) & COMPRESSED:
                at = offset + 4
                suffix = (data[offset + 2] | data[offset + 3] << 8) & KEY_MASK
                found = prefix[: word & KEY_MASK] + data[at : at + suffix]
            else:
                at = offset + 2
                found = bytes(data[at : at + (word & KEY_MASK)])
            if found < key or (or_equal and found == key):
                low = middle + 1
            else:
                high = middle
        return low

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
        if self.node_flags(line) & COMPRESSED:
            offset += 2
        size = end - offset - 2 - (int.from_bytes(data[offset : offset + 2], "little") & KEY_MASK)
        if size != CHILD_BYTES:
            raise self.bad(f"line {line} of a branch page holds {size} bytes")
        return int.from_bytes(data[end - CHILD_BYTES : end], "little")

    def bad(self, detail: str) -> EseError:
        """The error for contents of this page that cannot be."""
        return EseError(CORRUPTED, detail, page=self.pgno, events=BAD_TAGS)

    # -- beginnings --------------------------------------------------------------------

    def begin(self, objid: int, dbtime: int) -> None:
        """Make it a page that has been allocated and holds nothing, not even a tag."""
        self._data = bytearray(self._data_bytes)
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        self._small_flags: list[int] = []
        self.flags = int(PageFlag.PREINITIALISED | PageFlag.NEW_RECORD_FORMAT)
        self.objid, self.dbtime = objid, dbtime
        self.prev_pgno = self.next_pgno = 0
        self.free_bytes, self.uncommitted_free_bytes, self.free_from = self._data_bytes, 0, 0
        self.high_tag_bits = 0

    def take_into_use(self, flags: int) -> None:
        """Give a begun page its empty tag 0 and its flags."""
        self._offsets, self._sizes, self._small_flags = [0], [0], [0]
        self.free_bytes -= TAG_BYTES
        kept = (flags | PageFlag.NEW_RECORD_FORMAT) & ~PageFlag.PREINITIALISED
        self.flags = int(kept)

    def start(self, objid: int, dbtime: int, flags: int, external_header: bytes = b"") -> None:
        """Both at once, with an external header."""
        self.begin(objid, dbtime)
        self.take_into_use(flags)
        if external_header:
            self.set_external_header(external_header)

    def become_empty(self) -> None:
        """Give up all lines, the last first, as a page that is to be freed does."""
        self.set_external_header(b"")
        for line in reversed(range(self.line_count)):
            self.delete(line)
        self.flags |= int(PageFlag.EMPTY)

    def become(self, other: PageEditor) -> None:
        """Take over all that another page holds, but not its number."""
        for name in self.__slots__:
            if name != "pgno":
                setattr(self, name, getattr(other, name))

    def overwrite_free_space(self, fill: int) -> None:
        """Put all nodes in order and fill what is free between them and the tags."""
        self._put_in_order()
        self._data[self.free_from :] = bytes((fill,)) * (self._data_bytes - self.free_from)

    # -- changes of nodes --------------------------------------------------------------

    def insert(
        self, line: int, key: bytes, data: bytes, prefix_bytes: int = 0, flags: int = 0
    ) -> None:
        """Put a node before the line that is there now.

        Arguments
        ---------
        prefix_bytes: how much of the key the page's prefix stands for.
        flags: versioned and deleted; *compressed key* follows from ``prefix_bytes``.

        Raises EseError -1206 when there is no room or no such line.
        """
        stored = node_bytes(key, data, prefix_bytes)
        flags = flags & ~COMPRESSED | (COMPRESSED if prefix_bytes else 0)
        self._insert_stored(line, stored, flags)

    def _insert_stored(self, line: int, stored: bytes, flags: int) -> None:
        number, size = line + 1, len(stored)
        if not 0 < number <= len(self._sizes):
            raise self.bad(f"line {line} of {self.line_count} to insert at")
        if self.contiguous_free_bytes < size + TAG_BYTES:
            self._put_in_order()
            if self.contiguous_free_bytes < size + TAG_BYTES:
                raise self.bad(f"{size} bytes to insert, {self.contiguous_free_bytes} are free")
        self._offsets.insert(number, 0)
        self._sizes.insert(number, 0)
        self._small_flags.insert(number, 0)
        self.free_bytes -= TAG_BYTES
        self._place(number, stored, flags)

    def delete(self, line: int) -> None:
        """Take a line away.  Raises EseError -1206 when there is no such line."""
        self._check_line(line)
        number = line + 1
        # The tags behind move up; what the last one said stays where it was, in free space.
        end = self._data_bytes - TAG_BYTES * len(self._sizes)
        left = self._sizes[-1] | (self._offsets[-1] | self._small_flags[-1] << 13) << 16
        self._data[end : end + TAG_BYTES] = left.to_bytes(TAG_BYTES, "little")
        offset, size = self._offsets.pop(number), self._sizes.pop(number)
        self._small_flags.pop(number)
        self.free_bytes += size + TAG_BYTES
        if offset + size == self.free_from:
            self.free_from = offset
        if self.free_bytes + TAG_BYTES == self._data_bytes:
            self.free_from = 0

    def replace_data(
        self, line: int, data: bytes, set_flags: int = 0, clear_flags: int = 0
    ) -> None:
        """Give a line other data; key and prefix stay."""
        self._check_line(line)
        node = self.node(line)
        flags = (node.flags | set_flags) & ~clear_flags
        self._replace_stored(line + 1, node_bytes(node.key, data, node.prefix_bytes), flags)

    def set_key_prefix(self, line: int, key: bytes, prefix_bytes: int) -> None:
        """Store a line's key, which is given, with another share of the page's prefix.

        The page's prefix may be between two values just now, so the old key is not read.
        """
        self._check_line(line)
        flags = self.node_flags(line)
        offset, size = self._offsets[line + 1], self._sizes[line + 1]
        at = offset + (2 if flags & COMPRESSED else 0)
        suffix = int.from_bytes(self._data[at : at + 2], "little") & KEY_MASK
        data = bytes(self._data[at + 2 + suffix : offset + size])
        flags = flags & ~COMPRESSED | (COMPRESSED if prefix_bytes else 0)
        self._replace_stored(line + 1, node_bytes(key, data, prefix_bytes), flags)

    def stored_prefix_bytes(self, line: int) -> int:
        """How much of its key a line takes from the page's prefix."""
        if not self.node_flags(line) & COMPRESSED:
            return 0
        offset = self._offsets[line + 1]
        return int.from_bytes(self._data[offset : offset + 2], "little") & KEY_MASK

    def set_flags(self, line: int, set_flags: int = 0, clear_flags: int = 0) -> None:
        """Change *versioned* and *deleted* of a line."""
        self._check_line(line)
        flags = (self.node_flags(line) | set_flags) & ~clear_flags
        if self._large:
            at = self._offsets[line + 1] + 1
            self._data[at] = self._data[at] & 0x1F | flags << 5
        else:
            self._small_flags[line + 1] = flags

    def set_external_header(self, content: bytes) -> None:
        """Give tag 0 other bytes.  Raises EseError -1206 when there is no room."""
        if not self._sizes:
            raise self.bad("a page without tags has no external header")
        self._replace_stored(0, content, 0)

    def _check_line(self, line: int) -> None:
        if not 0 <= line < self.line_count:
            raise self.bad(f"line {line} of {self.line_count}")

    def _store(self, number: int, offset: int, stored: bytes, flags: int) -> None:
        self._data[offset : offset + len(stored)] = stored
        self._offsets[number], self._sizes[number] = offset, len(stored)
        if not self._large:
            self._small_flags[number] = flags
        elif number:
            self._data[offset + 1] = self._data[offset + 1] & 0x1F | flags << 5

    def _place(self, number: int, stored: bytes, flags: int) -> None:
        self._store(number, self.free_from, stored, flags)
        self.free_from += len(stored)
        self.free_bytes -= len(stored)

    def _replace_stored(self, number: int, stored: bytes, flags: int) -> None:
        offset, size = self._offsets[number], self._sizes[number]
        more, is_last = len(stored) - size, offset + size == self.free_from
        if more > self.free_bytes:
            raise self.bad(f"{more} bytes more, {self.free_bytes} are free")
        if more <= 0 or (is_last and self.contiguous_free_bytes >= more):
            self._store(number, offset, stored, flags)
            self.free_bytes -= more
            if is_last:
                self.free_from += more
            return
        self.free_bytes += size
        if is_last:
            self.free_from = offset
        self._offsets[number] = self._sizes[number] = 0
        if self.contiguous_free_bytes < len(stored):
            self._put_in_order()
        self._place(number, stored, flags)

    def _put_in_order(self) -> None:
        """Move all nodes together, in the order in which they lie."""
        old, at = bytes(self._data), 0
        for number in sorted(range(len(self._sizes)), key=self._offsets.__getitem__):
            offset, size = self._offsets[number], self._sizes[number]
            self._data[at : at + size] = old[offset : offset + size]
            self._offsets[number] = at
            at += size
        self.free_from = at
