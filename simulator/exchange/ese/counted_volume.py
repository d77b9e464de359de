"""A volume that counts what a store reads and writes, its databases apart from its logs.

One call of the port is one operation: the engine puts neighbouring pages into one call (at most
:data:`~replicator.ese.page_io.RUN_BYTES`), as the engines of 2007 on do with up to 1 MB [T].  What
a file system or a disk makes of the calls is not looked at.  A database's header is a part of its
file, so its writes count as the database's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast

from replicator.ese.log_names import LogRole, parse_log_name
from replicator.runtime.port import Buffer, File, Scan, Volume

_LOGS: Final = (LogRole.CURRENT, LogRole.CLOSED, LogRole.TEMPORARY)
"""A log is made under a temporary name and renamed while it is open."""


@dataclass(slots=True)
class IoCounts:
    """Operations and bytes since the volume was opened.

    Attributes
    ----------
    database_reads, database_writes: operations on databases.
    database_read_bytes, database_written_bytes: their bytes.
    log_writes, log_written_bytes: of logs, what prepares an empty one among them.
    """

    database_reads: int = 0
    database_writes: int = 0
    database_read_bytes: int = 0
    database_written_bytes: int = 0
    log_writes: int = 0
    log_written_bytes: int = 0


class _CountedDatabase:
    """A file as it is, reads and writes counted."""

    def __init__(self, file: File, counts: IoCounts) -> None:
        self._file, self._counts = file, counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        done = self._file.write_at(offset, *buffers)
        self._counts.database_writes += 1
        self._counts.database_written_bytes += done
        return done

    async def read_at(self, offset: int, length: int) -> bytes:
        data = await self._file.read_at(offset, length)
        self._counts.database_reads += 1
        self._counts.database_read_bytes += len(data)
        return data

    async def scan(self, scan: Scan) -> list[bytes]:
        pieces = await self._file.scan(scan)
        self._counts.database_reads += len(scan.pieces())
        self._counts.database_read_bytes += sum(length for _, length in scan.pieces())
        return pieces


class _CountedLog:
    """A file as it is, writes counted."""

    def __init__(self, file: File, counts: IoCounts) -> None:
        self._file, self._counts = file, counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        done = self._file.write_at(offset, *buffers)
        self._counts.log_writes += 1
        self._counts.log_written_bytes += done
        return done


class _CountedVolume:
    """A volume as it is, but for the files that are counted."""

    def __init__(self, volume: Volume, databases: Collection[str], counts: IoCounts) -> None:
        self._volume, self._databases, self._counts = volume, frozenset(databases), counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volume, name)

    def create(self, path: str) -> File:
        return self._counted(path, self._volume.create(path))

    def open(self, path: str, read_only: bool = False) -> File:
        return self._counted(path, self._volume.open(path, read_only))

    def _counted(self, path: str, file: File) -> File:
        name = path.rpartition("/")[2]
        if name in self._databases:
            return cast(File, _CountedDatabase(file, self._counts))
        parsed = parse_log_name(name)
        if parsed is not None and parsed.role in _LOGS:
            return cast(File, _CountedLog(file, self._counts))
        return file


def counted_volume(volume: Volume, databases: Collection[str], counts: IoCounts) -> Volume:
    """The volume, with operations counted.

    Arguments
    ---------
    databases: names of the files that are databases, without directory.
    counts: what is counted up.
    """
    return cast(Volume, _CountedVolume(volume, databases, counts))
