"""The pages of one attached database, all in memory, and which of them the file has not yet.

Why all: an operation on a tree is synchronous and has logged a part of itself before it knows the
last page that it touches.  Stopping there to wait for a read would leave a split without its
pages, and taking it back would leak the space that it took, for space is not undone.  So the
bound is ``limit_pages``: a larger file is refused at the attach, and does not grow larger
(-1808).  What the file gives is read, and its checksums judged, once, at the attach.

A changed page is *dirty*: it has the log position of its last change, behind which the log has to
be durable before it is written, and the oldest beginning of a transaction among its changes that
are not written, which the checkpoint does not pass (ese-format.md 6, 7.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_io import judged_page, neighbours, page_to_write
from replicator.ese.page_source import HEADER_PAGES, page_offset
from replicator.ese.values import LogPosition
from replicator.ese.verification import is_zero
from replicator.runtime.port import File, write_all
from simulator.exchange.ese.store_format import StoreFormat

READ_BYTES: Final = 1 << 20

OUT_OF_MEMORY: Final = -1011
DISK_FULL: Final = -1808


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


class PageBuffer:
    """See the module; implements :class:`simulator.exchange.ese.change.Pages`.

    Arguments
    ---------
    file: of the database; whoever opened it closes it.
    store_format: its version.
    limit_pages: most that it may have.

    Attributes
    ----------
    dirty: pages that differ from the file, in the order of their first change.
    last_pgno: the file has to reach up to this page.
    """

    def __init__(self, file: File, store_format: StoreFormat, limit_pages: int) -> None:
        self._file = file
        self._bytes = store_format.page_bytes
        self._flags = store_format.page_flags
        self._limit = limit_pages
        self._pages: dict[int, PageEditor] = {}
        self.dirty: dict[int, DirtyPage] = {}
        self.last_pgno = 0
        self.written_count = 0

    def __len__(self) -> int:
        return len(self._pages)

    async def load(self) -> None:
        """Read all pages of the file.

        Raises EseError: -1011 when they are more than the limit, -1018 and others, with page and
        offset, for one that does not verify.
        """
        size = self._file.size_bytes
        count = max(0, size // self._bytes - HEADER_PAGES)
        if count > self._limit:
            detail = f"it has {count:,} pages, and {self._limit:,} may be in memory (limit_pages)"
            raise EseError(OUT_OF_MEMORY, detail, path=self._file.path)
        self.last_pgno = count
        a_read = max(1, READ_BYTES // self._bytes)
        for first in range(1, count + 1, a_read):
            length = min(a_read, count - first + 1) * self._bytes
            data = await self._file.read_at(page_offset(first, self._bytes), length)
            for number in range(len(data) // self._bytes):
                page = data[number * self._bytes : (number + 1) * self._bytes]
                if not is_zero(page):
                    pgno = first + number
                    self._pages[pgno] = judged_page(page, pgno, self._file.path)

    # -- what changes ask ----------------------------------------------------------------

    def page(self, pgno: int) -> PageEditor:
        """A page; all zero when it was never used.  Raises EseError -1808 beyond the limit."""
        page = self._pages.get(pgno)
        if page is None:
            if not 0 < pgno <= self._limit:
                detail = f"page {pgno:,} is beyond the limit of {self._limit:,} pages"
                raise EseError(DISK_FULL, detail, path=self._file.path)
            page = self._pages[pgno] = PageEditor(pgno, self._bytes)
        return page

    def changed(self, pgnos: Iterable[int], position: LogPosition, began: LogPosition) -> None:
        """See :meth:`simulator.exchange.ese.change.Pages.changed`."""
        for pgno in pgnos:
            found = self.dirty.get(pgno)
            if found is None:
                self.dirty[pgno] = DirtyPage(position, began)
            else:
                found.position = max(found.position, position)
                found.began = min(found.began, began)

    def depends_on(self, pgno: int, position: LogPosition) -> None:
        """A record that does not change the page has to be durable before it all the same."""
        found = self.dirty.get(pgno)
        if found is not None:
            found.position = max(found.position, position)

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
