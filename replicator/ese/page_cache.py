"""Pages of one database that are being changed: read when needed, written in batches.

A page is in memory while it is changed; how many there are is bounded.  When there are too many,
all that may be written are written, and the ones not used for longest are forgotten.  Two rules
say what may be written, both the owner's:

* ``ready`` is awaited before a batch: the log has all that the pages have (a flush), and the
  header says that the generation is required.
* ``held`` tells of a page that must wait, because its before-image would be lost.

The order within a batch does not matter: redo brings any mix of ages of pages to the same end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_io import judged_page, neighbours, page_to_write
from replicator.ese.page_source import HEADER_PAGES, page_offset
from replicator.ese.verification import is_zero
from replicator.runtime.port import File, Volume, write_all

CACHED_PAGES: Final = 4096

DISK_FULL: Final = -1808


class PageCache:
    """See the module; implements :class:`replicator.ese.page_operations.Pages`.

    Arguments
    ---------
    volume, file: of the database.
    page_bytes: of a page.
    new_checksums: whether pages are written with ECC (format revision B and later).
    ready: awaited before pages are written.
    held: whether a page must not be written now.
    limit_pages: kept in memory; pages that are held come on top of it.

    Attributes
    ----------
    read_count, written_count: pages, each as often as that was done.
    """

    def __init__(
        self,
        volume: Volume,
        file: File,
        page_bytes: int,
        *,
        new_checksums: bool,
        ready: Callable[[], Awaitable[None]],
        held: Callable[[int], bool],
        limit_pages: int = CACHED_PAGES,
    ) -> None:
        self._volume = volume
        self.file = file
        self.page_bytes = page_bytes
        self._flags = int(PageFlag.NEW_CHECKSUM) if new_checksums else 0
        self._ready = ready
        self._held = held
        self._limit = limit_pages
        self._full_at = limit_pages
        """More than the limit while pages are held back: room is not looked for each time."""
        self._pages: OrderedDict[int, PageEditor] = OrderedDict()
        self._dirty: set[int] = set()
        self.read_count = 0
        self.written_count = 0
        self._first_count = self.page_count
        self._looked_at = bytearray(self._first_count // 8 + 1)
        """A bit for each page that the file had in the beginning."""

    @property
    def page_count(self) -> int:
        """Pages that the file has room for."""
        return max(0, self.file.size_bytes // self.page_bytes - HEADER_PAGES)

    @property
    def unread_count(self) -> int:
        """Pages that are there from the beginning on and that nobody has looked at."""
        last = min(self._first_count, self.page_count)
        there = (1 << last + 1) - 1
        return last - (int.from_bytes(self._looked_at, "little") & there).bit_count()

    @property
    def cached_count(self) -> int:
        return len(self._pages)

    def page(self, pgno: int) -> PageEditor:
        """A page that was loaded; raises KeyError for any other."""
        return self._pages[pgno]

    def cached(self, pgno: int) -> PageEditor | None:
        """A page if it is in memory."""
        return self._pages.get(pgno)

    def changed(self, pgno: int) -> None:
        """It differs from the file from now on."""
        self._dirty.add(pgno)

    async def load(self, pgnos: Collection[int], new: Collection[int] = ()) -> None:
        """Have pages in memory until the next call; only then others may be forgotten.

        Arguments
        ---------
        pgnos: which; those behind the end of the file are all zero.
        new: those among them whose content does not matter: one that does not verify counts as
            all zero, for it will be made anew with all that follows.

        Raises EseError for pages that cannot be believed.
        """
        if len(self._pages) + len(pgnos) > self._full_at:
            await self._make_room(pgnos)
            self._full_at = max(self._limit, len(self._pages) + self._limit // 4)
        for pgno in pgnos:
            if pgno in self._pages:
                self._pages.move_to_end(pgno)
            else:
                self._pages[pgno] = await self._read(pgno, pgno in new)

    async def _read(self, pgno: int, is_new: bool) -> PageEditor:
        if pgno < 1:
            raise EseError(-500, f"a record names page {pgno}", path=self.file.path)
        offset = page_offset(pgno, self.page_bytes)
        data = await self.file.read_at(offset, self.page_bytes)
        self.read_count += 1
        if pgno <= self._first_count:
            self._looked_at[pgno // 8] |= 1 << pgno % 8
        if len(data) < self.page_bytes or is_zero(data):
            return PageEditor(pgno, self.page_bytes)
        try:
            return judged_page(data, pgno, self.file.path)
        except EseError:
            if is_new:
                return PageEditor(pgno, self.page_bytes)
            raise

    async def _make_room(self, needed: Collection[int]) -> None:
        """Forget a quarter of the pages; if too many of them are dirty, write first."""
        for second_try in (False, True):
            goal = self._limit - self._limit // 4 - len(needed)
            for pgno in list(self._pages):
                if len(self._pages) <= max(0, goal):
                    return
                if pgno not in self._dirty and pgno not in needed:
                    del self._pages[pgno]
            if len(self._pages) + len(needed) <= self._limit or second_try:
                return
            await self.write_out()

    async def write_out(self) -> None:
        """Write all changed pages that may be written; they are not yet durable."""
        pgnos = sorted(pgno for pgno in self._dirty if not self._held(pgno))
        if not pgnos:
            return
        await self._ready()
        self.check_room(pgnos[-1])
        for run in neighbours(pgnos, self.page_bytes):
            data = [page_to_write(self._pages[pgno], self._flags) for pgno in run]
            await self._volume.admit(len(run) * self.page_bytes)
            write_all(self.file, page_offset(run[0], self.page_bytes), b"".join(data))
            self._dirty.difference_update(run)
            self.written_count += len(run)

    def check_room(self, last_pgno: int) -> int:
        """How many bytes the file lacks up to a page; raises EseError -1808 without room for them.

        A record may name any page, and a file with a hole would hide that the volume is too small.
        """
        more = page_offset(last_pgno + 1, self.page_bytes) - self.file.size_bytes
        if more > self._volume.free_bytes():
            detail = f"the logs make the file {more:,} bytes longer, and there is no room"
            raise EseError(DISK_FULL, detail, path=self.file.path)
        return more

    async def settle(self) -> None:
        """Write everything and make it durable; raises ValueError while a page is held."""
        await self.write_out()
        if self._dirty:
            raise ValueError(f"{len(self._dirty)} pages are held back")
        await self.file.sync()
