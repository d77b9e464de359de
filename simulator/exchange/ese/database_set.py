"""The databases of one log set: made, attached, shut down.

::

    create   CreateDB logged, durable --> header: attached --> trees and catalog logged
    attach   AttachDB logged, durable --> header: attached, requires the log
    detach   rolled back, all pages written, durable --> DetachDB durable --> header: clean

Whoever calls these holds the instance's turn, so the checkpoint stands meanwhile (ese-format.md
7.1, 7.2).  Each waits for the log in between; a roll takes no turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from typing import Final

from replicator.errors import AlreadyExists
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import attached, created, detached
from replicator.ese.errors import EseError
from replicator.ese.log_header import LogHeader
from replicator.ese.log_options import Durability
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import AttachDB, DetachDB
from replicator.ese.log_stream import LogStream
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime.port import File, Volume
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.database import (
    LAST_SYSTEM_OBJID,
    LAST_SYSTEM_PAGE,
    Database,
)
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.streaming_file import StreamingFile

NOT_ATTACHED: Final = -550
ATTACHED_ALREADY: Final = -1201
NO_SUCH_DATABASE: Final = -1203
TOO_MANY: Final = -1805
NO_ROOM: Final = -1808
DATABASES_MOST: Final = 6
"""Of one log set (ESE's limit; dbid 0 is the temporary database's)."""

ENGINE_PROCID: Final = 1
_ATTACH_UNICODE: Final = 8
_DETACH_UNICODE: Final = 0x10


class DatabaseSet:
    """See the module.

    Arguments
    ---------
    volume, directory: where the databases are.
    config: of the instance.
    now, draw: as of :meth:`Instance.open`.
    created_at: when a log began.
    fatal: what fails in there stops the instance.

    Attributes
    ----------
    attached: those that are, by path.
    log, signature: of the log set; set before anything is attached.
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        config: InstanceConfig,
        *,
        now: Callable[[], LogTime],
        draw: Callable[[], Signature],
        created_at: Callable[[int], Awaitable[LogTime]],
        fatal: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._volume, self._directory, self._config = volume, directory, config
        self._now, self._draw = now, draw
        self._created_at, self._fatal = created_at, fatal
        self.attached: dict[str, AttachedDatabase] = {}
        self.log: LogStream
        self.signature = Signature()

    def describe(self, header: LogHeader) -> LogHeader:
        """A log's header with the databases that are attached from before that log began.

        One whose DetachDB record stands in an earlier log is not [I], though its header may still
        be dirty: redo that begins here would never learn that it was detached.
        """
        generation = header.generation
        return header.with_attachments(
            [
                each.entry()
                for each in self.attached.values()
                if 0 < each.attach_position.generation < generation
                and not 0 < each.detach_position.generation < generation
            ]
        )

    async def create(self, name: str, initial_pages: int, session: Session) -> AttachedDatabase:
        """Make a database; see :meth:`Instance.create_database`."""
        path, dbid = self._path(name), self._free_dbid()
        pages = max(initial_pages, LAST_SYSTEM_PAGE)
        if pages > self._limit_pages:
            detail = f"{pages:,} pages at first, and {self._limit_pages:,} are allowed"
            raise EseError(NO_ROOM, detail, path=path)
        signature = self._draw()
        if self._volume.exists(path):
            raise AlreadyExists("a file of that name is there", path=path)
        one = self._unopened(path, None, dbid, signature)
        database = self._database(one)
        streaming = Signature()
        if self._config.streaming_file:
            streaming, revision = self._draw(), self._config.store_format.revision
            made = StreamingFile.create(self._volume, path, streaming, self.signature, revision)
            one.stream_to(await made)
        await self.log.room(self._config.log_buffer_bytes // 2)
        one.attach_position = database.log_creation(session, path, signature)
        self.attached[path] = one
        await self.whole()
        # Not before: a crash may keep a new name, and a file of nothing that no log speaks of
        # cannot be told from a database that somebody has destroyed.
        one.file = file = self._volume.create(path)
        await self._volume.sync_directory(self._directory)
        header = created(
            self._config.store_format.database,
            signature=signature,
            dbid=dbid,
            log_signature=self.signature,
        )
        header = replace(header, streaming_signature=streaming)
        one.header_file = await DatabaseHeaderFile.create(self._volume, file, header, self._draw)
        await self._attached(one)
        await self.log.room(self._config.log_buffer_bytes // 2)
        with self._fatal():
            database.make(session, pages)  # it is logged: half of it is none that could go on
        await self.whole()
        return one

    async def attach(self, name: str) -> AttachedDatabase:
        """Attach a database that was shut down; see :meth:`Instance.attach`."""
        path = self._path(name)
        if path in self.attached:
            raise EseError(ATTACHED_ALREADY, "it is attached already", path=path)
        file = self._volume.open(path)
        with ExitStack() as refused:
            refused.callback(file.close)
            one = await self._opened(path, file)
            if not one.header.streaming_signature.is_zero:
                one.stream_to(await StreamingFile.open(self._volume, path, one.header))
            refused.pop_all()
        header = one.header
        text = (path + "\0").encode("utf-16-le")
        record = AttachDB(
            number=Kind.ATTACH_DB,
            session=ENGINE_PROCID,
            dbid=one.dbid,
            consistent_position=one.consistent_position,
            database_signature=header.database_signature,
            log_signature=self.signature,
            path_bytes=len(text),
            name_flags=_ATTACH_UNICODE,
        )
        await self.log.room(self._config.log_buffer_bytes // 2)
        one.attach_position = self.log.append(record.encode() + text)
        self.attached[path] = one
        await self.whole()
        await self._attached(one)
        return one

    async def _opened(self, path: str, file: File) -> AttachedDatabase:
        header_file = await DatabaseHeaderFile.open(self._volume, file, self._draw)
        header = header_file.header
        if header.state is not State.CLEAN_SHUTDOWN:
            detail = f"its state is {header.state_title}; it is not of this log set, or damaged"
            raise EseError(NOT_ATTACHED, detail, path=path)
        one = self._unopened(path, file, self._free_dbid(), header.database_signature)
        one.header_file = header_file
        one.buffer.open()
        opening = partial(self._database, one, dbtime=header.dbtime, last_objid=header.last_objid)
        await one.statements.read(opening, one.check_attached)
        return one

    def _unopened(
        self, path: str, file: File | None, dbid: int, signature: Signature
    ) -> AttachedDatabase:
        return AttachedDatabase(
            self._volume, path, file, self.log, self._config, dbid, signature, self._fatal
        )

    def _database(
        self, one: AttachedDatabase, *, dbtime: int = 0, last_objid: int = LAST_SYSTEM_OBJID
    ) -> Database:
        policy = self._config.policy
        one.database = Database(
            one.buffer,
            one.log,
            self._config.store_format,
            replace(policy, largest_file_pages=self._limit_pages),
            dbid=one.dbid,
            dbtime=dbtime,
            last_objid=last_objid,
        )
        return one.database

    @property
    def _limit_pages(self) -> int:
        """Most that a database may have."""
        return min(self._config.policy.largest_file_pages, self._config.limit_pages)

    async def whole(self) -> None:
        """Make the log durable; in the lazy mode up to the end of a generation.

        There the log underway is not durable, so no header may require it.
        """
        await self.log.harden()
        if self._config.durability is Durability.LAZY:
            await self.log.roll("required")
            await self.log.require(self.log.generation - 1)

    async def _attached(self, one: AttachedDatabase) -> None:
        """The record is durable: the header says that the database needs the log.

        A roll finds a database that is not dirty yet and leaves its header alone, even while that
        is being written here; so what the log has come to is asked anew behind it.
        """
        position = one.attach_position
        time = await self._created_at(self.log.generation)
        created_at = time if position.generation == self.log.generation else LogTime()

        def change(header: DatabaseHeader) -> DatabaseHeader:
            return attached(
                header,
                position=position,
                time=self._now(),
                generation_created=created_at,
                dbid=one.dbid,
                log_signature=self.signature,
                dbtime=one.database.context.dbtime,
            )

        await one.change_header(change)
        generation = self.log.generation
        if position.generation < generation:
            time = await self._created_at(generation)
            await one.require(generation, time, self._config.waypoint_latency)

    async def detach(self, one: AttachedDatabase) -> None:
        """Shut one database down; see :meth:`Instance.detach`."""
        if self.attached.get(one.path) is not one:
            # Its number may be another one's by now, which the record would detach.
            raise EseError(NO_SUCH_DATABASE, "it is not attached any more", path=one.path)
        await self.write_out(one)
        text = (one.path + "\0").encode("utf-16-le")
        record = DetachDB(
            number=Kind.DETACH_DB,
            session=ENGINE_PROCID,
            dbid=one.dbid,
            path_bytes=len(text),
            name_flags=_DETACH_UNICODE,
        )
        one.detach_position = position = self.log.append(record.encode() + text)
        await self.whole()
        await self.shut_down(one, position)

    def _free_dbid(self) -> int:
        used = {each.dbid for each in self.attached.values()}
        free = (dbid for dbid in range(1, DATABASES_MOST + 1) if dbid not in used)
        dbid = next(free, None)
        if dbid is None:
            detail = f"{DATABASES_MOST} databases are attached, a log set takes no more"
            raise EseError(TOO_MANY, detail, path=self._directory)
        return dbid

    def _path(self, name: str) -> str:
        return f"{self._directory.rstrip('/')}/{name}"

    async def write_out(self, one: AttachedDatabase) -> None:
        """Roll back what is open and write everything, durable."""
        one.is_detached = True
        try:
            while one.sessions:
                while one.sessions[0].level:
                    await one.statements.rollback(one.sessions[0], self._goes_on)
                del one.sessions[0]
        finally:
            one.is_detached = not one.sessions
        await self.whole()
        generation = self.log.generation
        if self._config.durability is Durability.LAZY:
            generation -= 1
        if one.header.last_required_generation < generation:
            await one.require(generation, await self._created_at(generation), 0)
        await one.write_all_pages()
        if self._config.safeguards.sync_before_clean:
            await one.file.sync()

    @staticmethod
    def _goes_on() -> None:
        """Whoever detaches a database is not kept from it."""

    async def shut_down(self, one: AttachedDatabase, position: LogPosition) -> None:
        """The header says that it is clean, and the file is given back."""
        database = one.database

        def change(header: DatabaseHeader) -> DatabaseHeader:
            return detached(
                header,
                position=position,
                time=self._now(),
                dbtime=max(header.dbtime, database.context.dbtime),
                last_objid=max(header.last_objid, database.last_objid),
            )

        await one.change_header(change)
        del self.attached[one.path]
        one.close()
