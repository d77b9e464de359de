"""The page that a streaming backup appends to its copy of a database.

E src/inc/cpage.hxx (PATCHHDR), src/_esefile/checksum.cxx, src/ese/dbdump.cxx.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from replicator.ese.database_check import has_trailer, looks_like_trailer
from replicator.ese.database_header import DatabaseHeader, block_is_good
from replicator.ese.errors import EseError
from replicator.ese.layout import Structure, backup_info, log_time, signature, u32
from replicator.ese.page_source import HEADER_PAGES, page_offset
from replicator.ese.reader import Reader, read_exactly
from replicator.ese.values import BackupInfo, LogTime, Signature

MISSING_TRAILER: Final = -534
BAD_TRAILER: Final = -535


@dataclass(frozen=True, kw_only=True)
class BackupTrailer(Structure, size_bytes=148):
    """What the backup wrote at its end, for hard recovery to hold against the header."""

    checksum: int = u32(0)
    backup: BackupInfo = backup_info(40)
    database_signature: Signature = signature(64)
    log_signature: Signature = signature(92)
    first_required_generation: int = u32(120)
    last_required_generation: int = u32(124)
    last_committed_generation: int = u32(128)
    last_required_created: LogTime = log_time(132)
    last_committed_created: LogTime = log_time(140)

    def belongs_to(self, header: DatabaseHeader) -> bool:
        """Whether it was written by the backup that the header names; else hard recovery refuses
        with -552."""
        return (
            self.database_signature == header.database_signature
            and self.log_signature == header.log_signature
            and self.backup.position == header.current_full_backup.position
        )


def judge_trailer(page: bytes, path: str) -> BackupTrailer:
    """The last page of a streaming backup's copy, as hard recovery reads it.

    Arguments
    ---------
    page: all of it.
    path: of the database, for errors.

    Raises EseError (event 645): -534 when it is no trailer, -535 when its checksum is wrong.
    """
    if not looks_like_trailer(page):
        detail = "the last page is no trailer: the backup was not completed, or the file was cut"
        raise EseError(MISSING_TRAILER, detail, path=path)
    if not block_is_good(page):
        raise EseError(BAD_TRAILER, "the checksum of the trailer is wrong", path=path)
    return BackupTrailer.decode(page)


def read_backup_trailer(reader: Reader, header: DatabaseHeader) -> BackupTrailer | None:
    """The trailer of a database file; None where it has none.

    Arguments
    ---------
    reader: the file.
    header: of the same file; it tells the page size.
    """
    size = header.page_size
    pages = reader.size_bytes // size - HEADER_PAGES
    if header.is_temporary or pages < 1 or not has_trailer(reader, pages, size):
        return None
    return BackupTrailer.decode(read_exactly(reader, page_offset(pages, size), size))
