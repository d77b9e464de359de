"""Streaming backup of a running store: its pages in order, then the logs of that time.

::

    begin   mark: checkpoint, first generation; these logs are held; header with the mark
    pages   read from the file in order, each verified, while the store goes on working
    finish  log rolled --> streaming files copied --> trailer behind the last page
            --> closed logs copied --> set durable --> header of the store: last backup
            --> logs that no backup needs are deleted

A page that changes after it was copied is made good by the logs, which reach back to the
checkpoint of the beginning; so the set needs nothing but pages of which each is whole
(ese-format.md 8.1).  What takes it is :mod:`replicator.ese.restore`.

Modelled are the backups of Exchange 2000 to 2007 with the trailer that they have from the second
service pack of 2000 on.  Left out: patch files before it, ``restore.env``, the streams in which a
backup program gets the files, and reading several databases at once.  Nothing of it was compared
with a real backup but the trailer's layout (8.2).

A set that is not finished stays what it is, whenever the store dies: without the trailer (-534),
without logs that it needs (-553, -557), or without any log.  A backup that fails takes away
what it wrote; the store goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Final

from replicator.errors import ReplicatorError
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.recovery_files import joined, read_file
from replicator.ese.values import BackupInfo, LogPosition, LogTime
from replicator.runtime import Cancelled
from replicator.runtime.port import File, Volume, write_all
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.backup_copy import DatabaseCopy, check_attached
from simulator.exchange.ese.backup_generations import delete_backed_up, first_generation, marked
from simulator.exchange.ese.backup_options import (
    ALL_SAFEGUARDS,
    BackupKind,
    BackupResult,
    BackupSafeguards,
)
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.streamed_contents import StreamedContents

NOT_EMPTY: Final = -504
IN_PROGRESS: Final = -505
BAD_LOG: Final = -612
NO_TABLE: Final = -1601

PAGES_AT_ONCE: Final = 64
_LOG_CHUNK_BYTES: Final = 1 << 20


class StreamingBackup:
    """A backup underway; made by :meth:`begin`, or see :func:`back_up`.

    Attributes
    ----------
    mark: position and first generation that the set has.
    """

    def __init__(
        self,
        instance: Instance,
        volume: Volume,
        directory: str,
        kind: BackupKind,
        now: Callable[[], LogTime],
        safeguards: BackupSafeguards,
    ) -> None:
        self._instance, self._volume, self._directory = instance, volume, directory
        self._kind, self._now, self._guards = kind, now, safeguards
        self._there: list[AttachedDatabase] = []
        self._copies: list[DatabaseCopy] = []
        self._names: list[str] = []
        self._opened: list[File] = []
        self._high = 0
        self._done = False
        self.mark = BackupInfo()

    # -- the beginning -------------------------------------------------------------------

    @classmethod
    async def begin(
        cls,
        instance: Instance,
        volume: Volume,
        directory: str,
        *,
        kind: BackupKind = BackupKind.FULL,
        now: Callable[[], LogTime],
        safeguards: BackupSafeguards = ALL_SAFEGUARDS,
    ) -> StreamingBackup:
        """Mark where the logs stand, and begin a copy of each attached database.

        Arguments
        ---------
        instance: of the store; it goes on working, its pages are written as ever.
        volume, directory: where the set goes; the directory is there and empty.
        now: the time, for the mark.

        Raises EseError: -504 for a directory that is not empty, -505 while another backup runs,
        -526 for logs alone of a store with circular logging, -549 for these with a streaming file,
        -560 without a full backup before; StorageError; ValueError when nothing is attached.
        """
        backup = cls(instance, volume, directory, kind, now, safeguards)
        if volume.list(directory):
            raise EseError(NOT_EMPTY, "it has files already", path=directory)
        async with instance.turn.taken():
            # Nothing is attached, and no checkpoint written, while the mark is set.
            instance.check()
            backup._set_mark()
        with backup._or_nothing():
            if not safeguards.roll_behind_pages:
                await backup._roll()
            if kind.has_databases:
                for each in backup._there:
                    await backup._begin_copy(each)
        return backup

    def _set_mark(self) -> None:
        instance = self._instance
        if instance.held_generation is not None:
            raise EseError(IN_PROGRESS, "one at a time", path=instance.directory)
        self._there = list(instance.databases.values())
        if not self._there:
            raise ValueError("no database is attached that could be backed up")
        first = first_generation(instance, self._there, self._kind, self._directory)
        if self._guards.hold_logs:
            instance.held_generation = first
        position = max(instance.checkpoint, LogPosition(first, 0, 0))
        self.mark = BackupInfo(position, self._now(), first, 0)

    async def _begin_copy(self, one: AttachedDatabase) -> None:
        file = self._created(one.path.rpartition("/")[2])
        copy = DatabaseCopy(
            one, self._volume, file, one.header, one.buffer.file_pages, self._guards.verify_pages
        )
        self._copies.append(copy)
        await copy.write_header(self.mark)
        if one.streaming is not None:
            one.streaming.is_held = True

    async def _copy_stream(self, one: AttachedDatabase) -> None:
        """Verify and copy a streaming file, behind the roll: what the logs name is in it then."""
        if one.streaming is None:
            return
        session = self._instance.session(one)
        try:
            contents = await session.do(lambda _: StreamedContents(session))
            async for place in contents.places():
                await one.streaming.get(place)
        except EseError as error:
            if error.number != NO_TABLE:
                raise  # else nothing was put into it yet
        except RuntimeError:
            check_attached(one)  # that is what the session has told
            raise
        finally:
            await session.end()
        file = self._created(one.streaming.path.rpartition("/")[2])
        await one.streaming.copy_to(self._volume, file)
        await file.sync()  # its pages have no checksums of their own: before any trailer

    def _created(self, name: str) -> File:
        file = self._volume.create(joined(self._directory, name))
        self._names.append(name)
        self._opened.append(file)
        return file

    # -- pages ---------------------------------------------------------------------------

    @property
    def has_pages(self) -> bool:
        """Whether there are pages that were not copied yet."""
        return any(each.pages_left > 0 for each in self._copies)

    async def copy_pages(self, most_pages: int = PAGES_AT_ONCE) -> bool:
        """Copy the next pages of one database; the store may change pages before the next call.

        Arguments
        ---------
        most_pages: no more in this call.

        Returns whether there are more.  Raises EseError with page and offset for one that does not
        verify (-1018, -1118), -801 when a database was detached, -510 when the instance has
        stopped; StorageError.  The set is removed then.
        """
        with self._or_nothing():
            for copy in self._copies:
                if copy.pages_left > 0:
                    self._instance.check()
                    await copy.copy_pages(min(most_pages, copy.pages_left))
                    break
        return self.has_pages

    # -- the end -------------------------------------------------------------------------

    async def finish(self) -> BackupResult:
        """Copy what is left: pages, trailers, logs; then the store may forget older logs.

        The set holds what was committed before this was called, and perhaps somewhat more.
        Raises as :meth:`copy_pages` does, EseError -612 for a log that does not verify; then the
        set is removed.  An error of the store's own disk behind that stops the instance.
        """
        with self._or_nothing():
            while self.has_pages:
                await self.copy_pages()
            self._check()
            if self._guards.roll_behind_pages:
                await self._roll()
            if not self._guards.mark_before_pages:
                await self._mark_late()
            for copy in self._copies:
                await self._copy_stream(copy.one)
            for copy in self._copies:
                await copy.write_trailer(replace(self.mark, last_generation=self._high))
            for generation in range(self.mark.first_generation, self._high + 1):
                await self._copy_log(generation)
            if self._guards.sync_before_truncation:
                await self._harden()
        try:
            async with AsyncExitStack() as held:
                with self._or_nothing():
                    # Nothing is detached from here on: a file that is given back is not written.
                    await held.enter_async_context(self._instance.turn.taken())
                    self._check()
                with self._instance.fatal():
                    await self._note()
                    deleted = await delete_backed_up(self._instance) if self._kind.truncates else 0
            if not self._guards.sync_before_truncation:
                await self._harden()
        finally:
            self._release()
        return BackupResult(
            kind=self._kind,
            first_generation=self.mark.first_generation,
            last_generation=self._high,
            names=tuple(self._names),
            page_count=sum(each.page_count for each in self._copies),
            mended_pages=sum(each.mended_pages for each in self._copies),
            deleted_logs=deleted,
        )

    def _check(self) -> None:
        """Raises EseError -510 when the instance has stopped, -801 when a database was detached."""
        self._instance.check()
        for each in self._there:
            check_attached(each)

    async def _roll(self) -> None:
        """Close the log underway; all logs of the set are durable in the store then."""
        log = self._instance.log
        await log.roll("backup")
        self._high = log.generation - 1
        await log.require(self._high)

    async def _mark_late(self) -> None:
        """What must not be: the mark of the end, on pages of before.  In tests only."""
        position = self._instance.checkpoint
        there = [each.one for each in self._copies]
        first = first_generation(self._instance, there, self._kind, self._directory)
        self.mark = replace(self.mark, position=position, first_generation=first)
        for copy in self._copies:
            copy.header = copy.one.header
            await copy.write_header(self.mark)

    async def _copy_log(self, generation: int) -> None:
        instance = self._instance
        path = instance.log.closed_path(generation)
        name = path.rpartition("/")[2]
        try:
            reader = await read_file(instance.volume, path)
            found = LogFile(reader, closed=True).generation
        except EseError as error:
            raise EseError(BAD_LOG, str(error), path=path, offset=error.offset) from error
        if found != generation:
            detail = f"its header names generation {found:X}"
            raise EseError(BAD_LOG, detail, path=path)
        file = self._created(name)
        for at in range(0, reader.size_bytes, _LOG_CHUNK_BYTES):
            data = reader.read_at(at, min(_LOG_CHUNK_BYTES, reader.size_bytes - at))
            await self._volume.admit(len(data))
            write_all(file, at, data)

    async def _harden(self) -> None:
        for file in self._opened:
            await file.sync()
        await self._volume.sync_directory(self._directory)

    async def _note(self) -> None:
        """Say in the store's headers what was backed up."""
        taken = replace(self.mark, last_generation=self._high)

        def change(header: DatabaseHeader) -> DatabaseHeader:
            return marked(header, self._kind, taken)

        for each in self._there:
            await each.change_header(change)

    # -- whatever happens ----------------------------------------------------------------

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """What fails in here takes the set away."""
        if self._done:
            raise ValueError("the backup is over")
        try:
            yield
        except (EseError, ReplicatorError, Cancelled):
            self.abort()
            raise

    def abort(self) -> None:
        """End without a set: its files go away; what the volume does not let go stays."""
        if self._done:
            return
        self._release()
        for name in self._names:
            with suppress(ReplicatorError):
                self._volume.unlink(joined(self._directory, name))
        self._names.clear()

    def _release(self) -> None:
        self._done = True
        self._instance.held_generation = None
        for each in self._there:
            if each.streaming is not None:
                each.streaming.is_held = False
        for file in self._opened:
            file.close()
        self._opened.clear()


async def back_up(
    instance: Instance,
    volume: Volume,
    directory: str,
    *,
    kind: BackupKind = BackupKind.FULL,
    now: Callable[[], LogTime],
    safeguards: BackupSafeguards = ALL_SAFEGUARDS,
) -> BackupResult:
    """A whole backup, beside whatever else is done with the store; see :class:`StreamingBackup`."""
    backup = await StreamingBackup.begin(
        instance, volume, directory, kind=kind, now=now, safeguards=safeguards
    )
    while await backup.copy_pages():
        pass
    return await backup.finish()
