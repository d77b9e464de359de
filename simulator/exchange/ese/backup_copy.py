"""The copy of one database in a streaming backup: header with the mark, pages, trailer.

Pages are read from the file, not from the engine's memory, so that each is verified as it is on
disk; a backup is a full verification of the database (KB 810411).  What the file has is in the
log already, however new it is, since no page is written before its log.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from replicator.ese.backup_trailer import BackupTrailer
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.errors import EseError
from replicator.ese.header_copies import sealed
from replicator.ese.page_source import page_offset
from replicator.ese.values import BackupInfo
from replicator.ese.verification import Verdict, judge_page
from replicator.runtime.port import File, Volume, write_all
from simulator.exchange.ese.attached_database import AttachedDatabase

DETACHED: Final = -801
READ_ATTEMPTS: Final = 3
"""A page that does not verify is read again: it may have been written just then (event 493)."""


def check_attached(one: AttachedDatabase) -> None:
    """Raises EseError -801 when a database was shut down while it was backed up."""
    if one.is_detached:
        detail = "the database was shut down while it was backed up"
        raise EseError(DETACHED, detail, path=one.path)


@dataclass
class DatabaseCopy:
    """See the module.

    Arguments
    ---------
    one: the database, attached.
    volume, file: where its copy goes; whoever opened it closes it.
    header: of the database when the backup began.
    page_count: pages that the file had then; later ones are made anew by the logs.
    verify: a page that does not verify is refused; False in tests only.

    Attributes
    ----------
    next_pgno: the first page that was not copied yet.
    mended_pages: pages with a bit turned that are right in the copy.
    """

    one: AttachedDatabase
    volume: Volume
    file: File
    header: DatabaseHeader
    page_count: int
    verify: bool = True
    next_pgno: int = 1
    mended_pages: int = 0

    @property
    def pages_left(self) -> int:
        """Pages that were not copied yet."""
        return self.page_count - self.next_pgno + 1

    async def write_header(self, mark: BackupInfo) -> None:
        """Write both copies of the header, with the mark that tells a backup's copy.

        Raises StorageError.
        """
        marked = replace(self.header, current_full_backup=mark)
        block = sealed(marked.encode(), self.header.page_size)
        await self.volume.admit(2 * len(block))
        write_all(self.file, 0, block, block)

    async def copy_pages(self, count: int) -> None:
        """Copy the next pages.

        Raises EseError with page and offset for one that does not verify, -801; StorageError.
        """
        size, first = self.header.page_size, self.next_pgno
        data = await self.one.file.read_at(page_offset(first, size), count * size)
        check_attached(self.one)
        pages = []
        for number in range(count):
            page = data[number * size : (number + 1) * size].ljust(size, b"\0")
            pages.append(await self._verified(first + number, page))
        await self.volume.admit(count * size)
        write_all(self.file, page_offset(first, size), *pages)
        self.next_pgno += count

    async def _verified(self, pgno: int, page: bytes) -> bytes:
        """The page as it is copied: a turned bit is turned back, as the engine does."""
        size, offset = len(page), page_offset(pgno, len(page))
        judgement = judge_page(page, pgno)
        for _ in range(READ_ATTEMPTS - 1):
            if judgement.verdict in (Verdict.GOOD, Verdict.ZERO, Verdict.MENDED):
                break
            page = (await self.one.file.read_at(offset, size)).ljust(size, b"\0")
            judgement = judge_page(page, pgno)
        if judgement.verdict is Verdict.ZERO:
            return page  # never used; where the logs know better they make it anew
        error = judgement.error
        if error is not None and self.verify:
            error.path, error.offset = self.one.path, offset
            raise error
        self.mended_pages += judgement.mended is not None
        return judgement.mended or page

    async def write_trailer(self, mark: BackupInfo) -> None:
        """Say behind the last page that the copy is complete, after all of it is durable.

        Arguments
        ---------
        mark: with the last generation.
        """
        now, size, last = self.one.header, self.header.page_size, mark.last_generation
        trailer = BackupTrailer(
            backup=mark,
            database_signature=self.header.database_signature,
            log_signature=self.header.log_signature,
            first_required_generation=now.first_required_generation,
            last_required_generation=last,
            last_committed_generation=last,
            last_required_created=now.last_committed_created,
            last_committed_created=now.last_committed_created,
        )
        await self.file.sync()
        await self.volume.admit(size)
        block = sealed(trailer.encode(), size)
        write_all(self.file, page_offset(self.page_count + 1, size), block)
