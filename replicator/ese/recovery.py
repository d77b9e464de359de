"""Soft recovery: a store that was not shut down comes to the end of its logs, and to rest there.

::

    look      logs, checkpoint, databases; what keeps them from recovery is refused here, before
              anything is changed
    redo      from the checkpoint's generation, all records that the pages do not have yet
    undo      transactions without a commit are taken back; that is logged
    shut down pages, sync; ShutDown in the log; headers clean; RecoveryQuit2; checkpoint

It can be repeated after a crash at any point: pages are brought on by their dbtime, headers say
what they require (:mod:`replicator.ese.recovered_database`), and what undo did is in the log.
A log that ends cleanly is only redone: nothing is appended to it.

All waits are for the storage port.  E src/ese/_log/logredo.cxx; docs/store-recovery.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replicator.ese.attachments import Attachment, attachment
from replicator.ese.checkpoint import new_checkpoint
from replicator.ese.checkpoint_file import CheckpointFile
from replicator.ese.errors import EseError
from replicator.ese.log_cut import cut_writes
from replicator.ese.log_encoding import Write
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import LogHeader
from replicator.ese.log_names import LogRole
from replicator.ese.log_options import LogOwner
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import (
    AttachDB,
    CreateDB,
    DetachDB,
    Init2,
)
from replicator.ese.log_set import LogSummary
from replicator.ese.reader import BytesReader
from replicator.ese.recovered_database import (
    RecoveredDatabase,
    RecoveryPoint,
)
from replicator.ese.recovery_attachments import LoggedDatabases
from replicator.ese.recovery_checks import RecoveryPlan
from replicator.ese.recovery_files import read_file
from replicator.ese.recovery_log import quit_record, resume_log, undo_record
from replicator.ese.recovery_result import RecoveredFile, RecoveryResult, RecoverySettings
from replicator.ese.redo import Redo
from replicator.ese.streaming_file import streaming_path
from replicator.ese.undo import LogWriter, append, undo_all
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import yield_now
from replicator.runtime.port import Volume, write_all

Progress = Callable[[int, int], None]

_ENDS: Final = frozenset({Kind.TERM, Kind.TERM2, Kind.RECOVERY_QUIT, Kind.RECOVERY_QUIT2})
_FILLERS: Final = frozenset({Kind.NOP, Kind.NOP2, Kind.FORCE_LOG_ROLLOVER})
RECORDS_A_REPORT: Final = 1000
"""Between two calls of the progress, which may raise to end the recovery there."""


class Recovery:
    """One run of soft recovery; see the module.

    Arguments
    ---------
    volume: where everything lies.
    plan: what is to be recovered with which logs, checked (:mod:`replicator.ese.recovery_checks`).
    settings: see there.
    now: the time, for records and headers.
    flush_signature: draws a new signature for each header write.
    progress: told the bytes of logs that are done, and of all; what it raises ends the recovery,
        and leaves the files as a crash would.
    """

    def __init__(
        self,
        volume: Volume,
        plan: RecoveryPlan,
        settings: RecoverySettings,
        *,
        now: Callable[[], LogTime],
        flush_signature: Callable[[], Signature],
        progress: Progress | None = None,
    ) -> None:
        self._volume = volume
        self._plan = plan
        self._settings = settings
        self._now = now
        self._progress = progress
        self._point = RecoveryPoint(0, LogTime())
        self._log: LogWriter | None = None
        self._ended_cleanly = False
        self._init_time = LogTime()
        self._last_position = LogPosition()
        self.databases = [
            RecoveredDatabase(
                volume,
                found,
                point=lambda: self._point,
                log_durable=self._log_durable,
                held=lambda dbid, pgno: self._redo.versions.holds((dbid, pgno)),
                flush_signature=flush_signature,
                limit_pages=settings.limit_pages,
                vouched=settings.vouched,
                safeguards=settings.safeguards,
            )
            for found in plan.databases
        ]
        self._logged = LoggedDatabases(self.databases, plan.first_generation)
        self._redo = Redo(self._logged.attached)

    async def _log_durable(self) -> None:
        if self._log is not None:
            await self._log.harden()

    # -- the whole -------------------------------------------------------------------------

    async def run(self) -> RecoveryResult:
        """Recover; raises EseError, and StorageError when the volume fails.

        After an error the databases are as a crash would leave them: recovery can be repeated
        once its cause is gone.
        """
        try:
            await self._redo_logs()
            self._logged.check_named()
            self._logged.check_ended(self._last_position)
            if not self._settings.undo:
                for database in self.databases:
                    await database.write_out()
            elif self._ends_at_rest:
                await self._rest()
            else:
                await self._undo_and_rest()
            return self._result()
        finally:
            for database in self.databases:
                database.close()

    @property
    def _ends_at_rest(self) -> bool:
        """The logs end with a clean shutdown, and nothing is left to be taken out of them."""
        whole = self._plan.cut is None and not self._plan.dropped
        return (
            self._ended_cleanly and whole and not any(each.is_attached for each in self.databases)
        )

    # -- redo ------------------------------------------------------------------------------

    async def _redo_logs(self) -> None:
        logs = self._plan.logs
        total = sum(log.size_bytes for log in logs)
        done = 0
        for log in logs:
            if self._progress is not None:
                self._progress(done, total)
            closed = log.name.role is LogRole.CLOSED
            opened = LogFile(await self._content(log), closed=closed)
            self._point = RecoveryPoint(opened.generation, opened.header.created)
            if log is logs[0]:
                self._logged.attach_listed(opened.header)
            try:
                for count, record in enumerate(opened.records(), 1):
                    await self._one(record)
                    if count % RECORDS_A_REPORT == 0 and self._progress is not None:
                        await yield_now()  # whoever wants it to end can say so
                        here = record.position.sector * opened.header.sector_bytes
                        self._progress(done + here, total)
            except EseError as error:
                error.path = error.path or log.path
                raise
            done += log.size_bytes
        if self._progress is not None:
            self._progress(total, total)

    async def _content(self, log: LogSummary) -> BytesReader:
        """A log as it counts: one that is to be cut ends there, on disk a little later."""
        content = await read_file(self._volume, log.path)
        cut = self._plan.cut
        if cut is None or log.generation != cut.generation:
            return content
        data = bytearray(content.read_at(0, content.size_bytes))
        for offset, written in self._cut_writes(content, log, cut):
            data[offset : offset + len(written)] = written
        return BytesReader(bytes(data), log.path)

    def _cut_writes(self, content: BytesReader, log: LogSummary, cut: LogPosition) -> list[Write]:
        closed = log.name.role is LogRole.CLOSED
        return cut_writes(content, LogFile(content, closed=closed), cut)

    async def _one(self, record: LogRecord) -> None:
        number = record.number
        if number in _FILLERS:
            return
        self._last_position = record.position
        self._ended_cleanly = number in _ENDS
        if number not in _OF_DATABASES:
            await self._redo.apply(record)
            return
        content = record.content
        if isinstance(content, Init2):
            self._init_time = content.time
            await self._redo.apply(record)
        elif isinstance(content, AttachDB | CreateDB):
            await self._logged.attach(content, record.position, self._init_time)
        elif isinstance(content, DetachDB):
            self._logged.detach(content.dbid, record.position)
        elif number == Kind.SHUT_DOWN:
            self._logged.detach_all(record.position)

    # -- the end ---------------------------------------------------------------------------

    async def _rest(self) -> None:
        """The logs end with a clean shutdown: the databases come to rest where it was."""
        for database in self.databases:
            await database.write_out()
            if database.is_dirty:
                await database.check_whole()
                await database.shut_down(database.consistent, self._now())
        await self._move_checkpoint(self._last_position)

    async def _undo_and_rest(self) -> None:
        await self._remove_lost()
        log = await resume_log(
            self._volume, self._plan, self._now, LogOwner(self._describe, self._began)
        )
        self._log = log
        try:
            begin = await undo_all(self._redo, log, undo_record(self._plan, self._now()))
            await log.harden()
            for database in self.databases:
                await database.write_out()
                if database.is_attached:
                    await database.trim()
                    await database.write_out()
            position = log.append(bytes((Kind.SHUT_DOWN,)))
            await log.harden()
            for database in self.databases:
                if database.is_attached:
                    await database.shut_down(position, self._now())
                elif database.is_dirty:
                    await database.shut_down(database.consistent, self._now())
            end = await append(log, quit_record(self._plan, begin, self._now()), new_segment=True)
        finally:
            # What was begun is made durable or reported; the log's handles are given back.
            await log.close()
        await self._move_checkpoint(end)

    async def _remove_lost(self) -> None:
        """Logs behind a gap that was allowed go away: the sequence goes on before them.

        A log that is cut is cut when those behind it are gone, and ends there durably before
        anything is appended.
        """
        for log in reversed(self._plan.dropped):
            self._volume.unlink(log.path)
        cut, last = self._plan.cut, self._plan.logs[-1]
        if cut is None:
            return
        await self._volume.sync_directory(self._plan.log_directory)
        content = await read_file(self._volume, last.path)
        file = self._volume.open(last.path)
        try:
            for offset, data in self._cut_writes(content, last, cut):
                await self._volume.admit(len(data))
                write_all(file, offset, data)
                await file.sync()
        finally:
            file.close()

    def _describe(self, header: LogHeader) -> LogHeader:
        """What a log that undo begins says of the databases."""
        return header.with_attachments(
            [self._entry(each) for each in self.databases if each.is_attached]
        )

    def _entry(self, database: RecoveredDatabase) -> Attachment:
        header = database.header
        return attachment(
            self._plan.names.get(header.database_signature, database.path),
            dbid=database.redo.dbid,
            dbtime=database.redo.dbtime,
            last_objid=database.redo.last_objid,
            attach_position=header.attach_position,
            consistent_position=header.consistent_position,
            database_signature=header.database_signature,
        )

    async def _began(self, generation: int, created: LogTime) -> None:
        """A log of undo has its name; headers follow before the next pages are written."""
        self._point = RecoveryPoint(generation, created)

    async def _move_checkpoint(self, position: LogPosition) -> None:
        """Redo has nothing to do before the end any more."""
        start = LogPosition(position.generation, position.sector, 0)
        checkpoint, signature = self._plan.checkpoint, self._plan.signature
        parameters = None if checkpoint is None else checkpoint.parameters
        file = await CheckpointFile.open(
            self._volume, self._plan.system_directory, self._plan.checkpoint_name
        )
        try:
            on_disk = file.checkpoint
            if on_disk is None or on_disk.log_signature != signature or on_disk.position < start:
                await file.write(new_checkpoint(start, signature, parameters))
        finally:
            file.close()

    def _result(self) -> RecoveryResult:
        counts, plan = self._redo.counts, self._plan
        return RecoveryResult(
            base=plan.base,
            first_generation=plan.first_generation,
            last_generation=plan.last_generation,
            redone_pages=counts["redone"],
            skipped_pages=counts["skipped"],
            undone=counts["undone"],
            transactions=counts["rolled back"],
            clean_log=self._ended_cleanly and self._log is None,
            stopped_before_undo=not self._settings.undo,
            cut_at=plan.cut,
            lost=plan.lost,
            removed=plan.dropped_generations if self._log is not None else (),
            databases=tuple(map(_outcome, self.databases)),
            notes=plan.notes,
        )


def _outcome(database: RecoveredDatabase) -> RecoveredFile:
    """What became of a database that is not closed yet."""
    has_stream = not database.before.streaming_signature.is_zero
    return RecoveredFile(
        path=database.path,
        state_before=database.before.state_title,
        state=database.header.state_title,
        dbtime=max(database.header.dbtime, database.redo.dbtime),
        read_pages=database.cache.read_count,
        written_pages=database.cache.written_count,
        pages=database.cache.page_count,
        unread_pages=database.cache.unread_count,
        streaming_file=streaming_path(database.path) if has_stream else "",
    )


_OF_DATABASES: Final = frozenset(
    {Kind.INIT2, Kind.ATTACH_DB, Kind.CREATE_DB, Kind.DETACH_DB, Kind.SHUT_DOWN}
)


async def recover(
    volume: Volume,
    plan: RecoveryPlan,
    settings: RecoverySettings | None = None,
    *,
    now: Callable[[], LogTime],
    flush_signature: Callable[[], Signature],
    progress: Progress | None = None,
) -> RecoveryResult:
    """Carry out a plan; see :class:`Recovery`."""
    run = Recovery(
        volume,
        plan,
        settings or RecoverySettings(),
        now=now,
        flush_signature=flush_signature,
        progress=progress,
    )
    return await run.run()
