"""Pages of one attached database that are in memory, and which of them the file has not yet.

At most ``cache_pages`` are kept; beyond that some go, by :mod:`replacement`, a changed one only
after it was written.  What never goes: roots and the trees that keep space (in the order of a
thousandth of a database), which any change may need at any time; and, for as long as a
statement waits for further pages, those that it has looked at already (:class:`Hold`), so that it
comes to its end however small the cache is.  These come on top where there is no other way, and so
do changed pages that may not be written yet.

A page that is not there raises :class:`~simulator.exchange.ese.preparation.PageNotInMemory`; a
change of pages never waits.  Only :meth:`PageBuffer.load` and :meth:`PageBuffer.make_room`
wait, and pages come and go in there only.

A changed page is *dirty*: it has the log position of its last change, behind which the log has to
be durable before it is written, and the oldest beginning of a transaction among its changes that
are not written, which the checkpoint does not pass (ese-format.md 6, 7.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_io import judged_page, neighbours, page_to_write
from replicator.ese.page_source import HEADER_PAGES, page_offset
from replicator.ese.values import LogPosition
from replicator.ese.verification import is_zero
from replicator.runtime import Signal, group
from replicator.runtime.port import File, write_all
from simulator.exchange.ese.preparation import PageNotInMemory
from simulator.exchange.ese.replacement import LastTwoUses
from simulator.exchange.ese.store_format import StoreFormat

OUT_OF_MEMORY: Final = -1011
DISK_FULL: Final = -1808

_STAYS: Final = int(PageFlag.ROOT | PageFlag.SPACE_TREE)
_SHARE_AT_ONCE: Final = 16
"""When there are too many pages, this part of the cache goes at once."""


@dataclass(slots=True)
class DirtyPage:
    """What has to be on disk before a page, and what the log is needed for until it is.

    Arguments
    ---------
    position: the log must be durable beyond it.
    began: the oldest transaction with a change that is not written.
    """

    position: LogPosition
    began: LogPosition


class Hold:
    """Pages that somebody who waits will look at again; see :meth:`PageBuffer.holding`."""

    __slots__ = ("pgnos",)

    def __init__(self) -> None:
        self.pgnos: set[int] = set()


class PageBuffer:
    """See the module; implements :class:`simulator.exchange.ese.change.Pages`.

    Arguments
    ---------
    file: of the database; whoever opened it closes it.  None while it is not yet created.
    store_format: its version.
    limit_pages: most that it may have.
    cache_pages: so many are kept in memory.
    write: awaited to write changed pages that are to go; it calls :meth:`write` for those that may.

    Attributes
    ----------
    created_file: the file, from when there is one.
    dirty: pages that differ from the file, in the order of their first change.
    last_pgno: the file has to reach up to this page.
    is_whole: no page that was ever used is missing, so nothing has to be looked at before.
    read_count, reads: pages that were read, and by how many reads of neighbours.
    written_count, gone_count: pages that were written, and that have gone from memory.
    """

    def __init__(
        self,
        file: File | None,
        store_format: StoreFormat,
        limit_pages: int,
        cache_pages: int = 1 << 14,
        write: Callable[[Sequence[int]], Awaitable[object]] | None = None,
    ) -> None:
        self.created_file = file
        self._bytes = store_format.page_bytes
        self._flags = store_format.page_flags
        self._limit = limit_pages
        self._cache_pages = self._full_at = cache_pages
        self._write = write
        self._pages: dict[int, PageEditor] = {}
        self._uses = LastTwoUses(cache_pages)
        self._used: set[int] = set()
        """By whoever has run since :meth:`settle`."""
        self._holds: set[Hold] = set()
        self._reading: dict[int, object] = {}
        """Pages that are being read, each with its read."""
        self._read = Signal()
        self.dirty: dict[int, DirtyPage] = {}
        self.last_pgno = 0
        self.is_whole = True
        self.read_count = self.reads = self.written_count = self.gone_count = 0

    def __len__(self) -> int:
        return len(self._pages)

    def __contains__(self, pgno: int) -> bool:
        return pgno in self._pages

    @property
    def _file(self) -> File:
        assert self.created_file is not None, "the database has no file yet"
        return self.created_file

    @property
    def file_pages(self) -> int:
        """Pages that the file has now."""
        return max(0, self._file.size_bytes // self._bytes - HEADER_PAGES)

    def open(self) -> None:
        """Go by the pages that the file has.

        Raises EseError -1011 when they are more than the limit.
        """
        count = self.file_pages
        if count > self._limit:
            detail = f"it has {count:,} pages, and {self._limit:,} are allowed (limit_pages)"
            raise EseError(OUT_OF_MEMORY, detail, path=self._file.path)
        self.last_pgno = count
        self.is_whole = not count

    # -- what changes ask ----------------------------------------------------------------

    def page(self, pgno: int) -> PageEditor:
        """A page; all zero when it was never used.

        Raises PageNotInMemory, EseError -1808 beyond the limit.
        """
        page = self._pages.get(pgno)
        if page is None:
            if not 0 < pgno <= self._limit:
                detail = f"page {pgno:,} is beyond the limit of {self._limit:,} pages"
                raise EseError(DISK_FULL, detail, path=self._file.path)
            if not self.is_whole and pgno <= self.file_pages:
                raise PageNotInMemory((pgno,))
            return self.fresh(pgno)
        self._used.add(pgno)
        return page

    def fresh(self, pgno: int) -> PageEditor:
        """See :meth:`simulator.exchange.ese.change.Pages.fresh`."""
        page = self._pages.get(pgno)
        if page is None:
            if pgno > self._limit:
                return self.page(pgno)
            self._reading.pop(pgno, None)  # what is underway from the file is old
            page = self._pages[pgno] = PageEditor(pgno, self._bytes)
        self._used.add(pgno)
        return page

    def changed(self, pgnos: Iterable[int], position: LogPosition, began: LogPosition) -> None:
        """See :meth:`simulator.exchange.ese.change.Pages.changed`."""
        for pgno in pgnos:
            found = self.dirty.get(pgno)
            if found is None:
                self.dirty[pgno] = DirtyPage(position, began)
            else:
                if found.position < position:
                    found.position = position
                if found.began is not began and began < found.began:
                    found.began = began

    def depends_on(self, pgno: int, position: LogPosition) -> None:
        """See :meth:`simulator.exchange.ese.change.Pages.depends_on`."""
        found = self.dirty.get(pgno)
        if found is not None:
            found.position = max(found.position, position)

    # -- what comes ----------------------------------------------------------------------

    @contextmanager
    def holding(self) -> Iterator[Hold]:
        """For one who will wait: what it holds stays in memory meanwhile."""
        hold = Hold()
        self._holds.add(hold)
        try:
            yield hold
        finally:
            self._holds.remove(hold)
            self._full_at = max(self._cache_pages, self._full_at - len(hold.pgnos))

    def settle(self, hold: Hold | None = None) -> None:
        """Whoever has run is done, or waits and holds what it has used."""
        if hold is not None:
            hold.pgnos |= self._used
        if len(self._pages) * 4 > self._cache_pages * 3:
            self._uses.used(self._used)
        self._used.clear()

    async def load(self, missing: PageNotInMemory, hold: Hold) -> None:
        """Read what is missing, neighbours by one read, all reads at once.

        Another one may be reading some of it already; then that is waited for, and whoever calls
        this looks again.

        Raises EseError with page and offset for one that does not verify, StorageError.
        """
        self.settle(hold)
        hold.pgnos |= missing.pgnos
        wanted = sorted(pgno for pgno in missing.pgnos | missing.ahead if pgno not in self._pages)
        await self.make_room(len(wanted))
        mine = [pgno for pgno in wanted if pgno not in self._pages and pgno not in self._reading]
        if not mine:
            if any(pgno in self._reading for pgno in missing.pgnos):
                await self._read
            return
        reading = object()
        self._reading |= dict.fromkeys(mine, reading)
        try:
            for run, data in await self._read_runs(list(neighbours(mine, self._bytes))):
                self._take_in(run, data, reading, missing.pgnos)
        finally:
            for pgno in mine:
                if self._reading.get(pgno) is reading:
                    del self._reading[pgno]
            self._read.notify()

    async def _read_runs(self, runs: list[list[int]]) -> list[tuple[list[int], bytes]]:
        found: list[tuple[list[int], bytes]] = []

        async def read(run: list[int]) -> None:
            length = len(run) * self._bytes
            data = await self._file.read_at(page_offset(run[0], self._bytes), length)
            found.append((run, data))

        if len(runs) == 1:
            await read(runs[0])
        else:
            async with group() as tasks:
                for run in runs:
                    tasks.spawn(read(run), "read pages")
        self.reads += len(runs)
        self.read_count += sum(map(len, runs))
        return found

    def _take_in(
        self, run: list[int], data: bytes, reading: object, needed: Collection[int]
    ) -> None:
        """What was read ahead and does not verify is told to the one who needs it."""
        for number, pgno in enumerate(run):
            if self._reading.get(pgno) is not reading:
                continue  # it was used anew meanwhile, and is newer in memory or was since written
            page = data[number * self._bytes : (number + 1) * self._bytes]
            if len(page) < self._bytes or is_zero(page):
                self._pages[pgno] = PageEditor(pgno, self._bytes)
                continue
            try:
                self._pages[pgno] = judged_page(page, pgno, self._file.path)
            except EseError:
                if pgno in needed:
                    raise
            self._used.add(pgno)

    # -- what goes -----------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether :meth:`make_room` has something to do."""
        return len(self._pages) > self._full_at

    async def make_room(self, more_pages: int = 0) -> None:
        """Let pages go until there is room for so many more; dirty ones are written before.

        Raises what writing raises.
        """
        too_many = len(self._pages) + more_pages - self._full_at
        if too_many <= 0:
            return
        self.settle()
        at_once = max(1, self._cache_pages // _SHARE_AT_ONCE)
        count = len(self._pages) + more_pages - self._cache_pages + at_once
        held = set().union(*(hold.pgnos for hold in self._holds))

        def may_go(pgno: int) -> bool:
            return pgno not in held and not self._pages[pgno].flags & _STAYS

        going = self._uses.first_to_go(self._pages, count, may_go)
        changed = [pgno for pgno in going if pgno in self.dirty]
        for pgno in going:
            if pgno not in self.dirty:
                self._forget(pgno)
        if changed and self._write is not None:
            await self._write(changed)
            held = set().union(*(hold.pgnos for hold in self._holds))
            for pgno in changed:
                if pgno in self._pages and pgno not in self.dirty and may_go(pgno):
                    self._forget(pgno)
        # What has to stay is not looked through again for each page that comes.
        self._full_at = max(self._cache_pages, len(self._pages) + more_pages + at_once)

    def _forget(self, pgno: int) -> None:
        del self._pages[pgno]
        self._uses.gone(pgno)
        self.gone_count += 1
        self.is_whole = False

    # -- what is written -----------------------------------------------------------------

    def oldest(self) -> LogPosition | None:
        """The smallest beginning among changes that are not written; None without any."""
        return min((each.began for each in self.dirty.values()), default=None)

    def write(self, pgnos: Sequence[int]) -> None:
        """Write pages and extend the file where that is owed; they are not yet durable.

        All in one step, so that no page changes in between.  Raises StorageError; the pages that
        were not written stay dirty.
        """
        size = (self.last_pgno + HEADER_PAGES) * self._bytes
        if self._file.size_bytes < size:
            self._file.truncate(size)
        for run in neighbours(sorted(pgnos), self._bytes):
            data = b"".join(page_to_write(self._pages[pgno], self._flags) for pgno in run)
            write_all(self._file, page_offset(run[0], self._bytes), data)
            self.written_count += len(run)
            for pgno in run:
                del self.dirty[pgno]
