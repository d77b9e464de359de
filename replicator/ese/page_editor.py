"""A page that can be changed, so exactly as the engine changes it that every byte lands alike.

One editor serves doing and redoing: what puts a node somewhere, moves it, or gives its space
back is here only.  Where a node comes to lie, when a page is put in order, and what is left
behind in free space follow the rules of docs/store-redo.md section 2, which hold to the byte on
real pages.

E src/ese/cpage.cxx, node.cxx; V for pages of 4096 bytes, S for those above 8192.
"""

from __future__ import annotations

from typing import Final

from replicator.ese.node import COMPRESSED, KEY_MASK, node_bytes
from replicator.ese.page import TAG_BYTES, PageFlag
from replicator.ese.page_content import CHILD_BYTES, PageContent

# As plain numbers: an operation on an enumeration takes ten times as long.
_NEW_RECORD_FORMAT: Final = int(PageFlag.NEW_RECORD_FORMAT)
_PREINITIALISED: Final = int(PageFlag.PREINITIALISED)
_EMPTY: Final = int(PageFlag.EMPTY)


class PageEditor(PageContent):
    """A page being changed.

    Arguments
    ---------
    pgno: its number.
    page_bytes: its size.
    """

    __slots__ = ()

    # -- beginnings --------------------------------------------------------------------

    def take_into_use(self, flags: int) -> None:
        """Give a begun page its empty tag 0 and its flags."""
        self._offsets, self._sizes, self._small_flags = [0], [0], [0]
        self.free_bytes -= TAG_BYTES
        self.flags = (flags | _NEW_RECORD_FORMAT) & ~_PREINITIALISED

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
        self.flags |= _EMPTY

    def become(self, other: PageEditor) -> None:
        """Take over all that another page holds, but not its number."""
        for name in PageContent.__slots__:
            if name != "pgno":
                setattr(self, name, getattr(other, name))
        self._branch_keys = None

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
        keys = self._branch_keys
        if keys is not None and self.line_count > 1:
            if line <= len(keys):
                keys.insert(line, key)
            else:  # the last line, which bounded nothing, is one of the others now
                self._branch_keys = None

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
        number, keys = line + 1, self._branch_keys
        if keys:
            keys.pop(min(line, len(keys) - 1))  # without the last line another one is the last
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
        number = line + 1
        flags = (self.node_flags(line) | set_flags) & ~clear_flags
        head = self._data[self._offsets[number] : self._key_end(number)]
        self._replace_stored(number, head + data, flags)

    def lead_to(self, line: int, pgno: int) -> None:
        """Let a line of a branch page, which leads to a page, lead to another one."""
        self.child(line)
        end = self._offsets[line + 1] + self._sizes[line + 1]
        self._data[end - CHILD_BYTES : end] = pgno.to_bytes(CHILD_BYTES, "little")

    def set_key_prefix(self, line: int, key: bytes, prefix_bytes: int) -> None:
        """Store a line's key, which is given, with another share of the page's prefix.

        The page's prefix may be between two values just now, so the old key is not read.
        """
        self._check_line(line)
        self._branch_keys = None
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
        self._branch_keys = None
        self._replace_stored(0, content, 0)

    def _store(self, number: int, offset: int, stored: bytes | bytearray, flags: int) -> None:
        self._data[offset : offset + len(stored)] = stored
        self._offsets[number], self._sizes[number] = offset, len(stored)
        if not self._large:
            self._small_flags[number] = flags
        elif number:
            self._data[offset + 1] = self._data[offset + 1] & 0x1F | flags << 5

    def _place(self, number: int, stored: bytes | bytearray, flags: int) -> None:
        self._store(number, self.free_from, stored, flags)
        self.free_from += len(stored)
        self.free_bytes -= len(stored)

    def _replace_stored(self, number: int, stored: bytes | bytearray, flags: int) -> None:
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
