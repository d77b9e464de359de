"""An instance of the store's engine: one storage group, its log and its databases, over the port.

::

    statement --> records in the log's buffer, pages changed in memory
    commit    --> log flushed up to Commit0 (group commit), or not waited for
    roll      --> new log in place --> headers: genMaxRequired, genMaxCommitted --> its records
    run()     --> UndoInfo, log flushed, page written --> databases synced --> headers:
                  genMinRequired --> checkpoint --> logs deleted (circular logging)
    close()   --> pages, sync --> ShutDown --> headers clean --> Term --> checkpoint

The order is that of ese-format.md 7.1 and 7.2.  Attach, detach, creation, checkpoint and the
writing of pages take turns, so the checkpoint is held while a database comes or goes.  A roll
takes no turn: whoever has it may be waiting for a flush.

After a failed write or sync everything raises; the next opening finds out by recovery.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

from replicator.errors import AlreadyExists, NotFound, ReplicatorError
from replicator.ese.checkpoint import new_checkpoint
from replicator.ese.checkpoint_file import CheckpointFile
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import attached, created, detached, raised
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import LogFormat
from replicator.ese.log_header import LogHeader
from replicator.ese.log_options import Durability, LogOwner, LogStreamOptions
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import AttachDB, DetachDB, Init, Init2, Term, Term2
from replicator.ese.log_stream import LogBufferFull, LogStream
from replicator.ese.log_v7_encoding import LogV7Format
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.recovery_files import find_logs
from replicator.ese.recovery_result import RecoveryResult
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import Signal
from replicator.runtime.port import File, Volume
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.database import LAST_SYSTEM_OBJID, Database
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.opening import has_logs, recover_instance
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.turn import Turn

STOPPED: Final = -510
NOT_ATTACHED: Final = -550
ATTACHED_ALREADY: Final = -1201
TOO_MANY: Final = -1805
DATABASES_MOST: Final = 6
"""Of one log set (ESE's limit; dbid 0 is the temporary database's)."""

_ATTACH_UNICODE: Final = 8
_DETACH_UNICODE: Final = 0x10
_ENGINE_PROCID: Final = 1


class Instance:
    """See the module; made by :meth:`open`.

    Attributes
    ----------
    config: as given.
    log: its log.
    databases: those attached, by path.
    recovery: what recovery did when it was opened; None for a new log set.
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        config: InstanceConfig,
        now: Callable[[], LogTime],
        draw: Callable[[], Signature],
    ) -> None:
        self._volume, self.directory, self.config = volume, directory, config
        self._now, self._draw = now, draw
        self.databases: dict[str, AttachedDatabase] = {}
        self.recovery: RecoveryResult | None = None
        self.log: LogStream
        self._signature = Signature()
        self._checkpoint: CheckpointFile
        self._created: dict[int, LogTime] = {}
        """Creation times of the log underway and the one before."""
        self._turn = Turn()
        self._wake = Signal()
        self._failure: Exception | None = None
        self._closing = False
        self._procid = _ENGINE_PROCID

    # -- opening -------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        volume: Volume,
        directory: str,
        config: InstanceConfig,
        *,
        now: Callable[[], LogTime],
        draw: Callable[[], Signature],
    ) -> Instance:
        """Recover what lies there, or begin a new log set, and go on with it.

        Arguments
        ---------
        volume, directory: of logs, checkpoint and databases; the directory exists.
        now: the time, for headers and records.
        draw: a new signature, for log set, databases and header writes.

        No database is attached yet.  Raises EseError as recovery does, StorageError.
        """
        instance = cls(volume, directory, config, now, draw)
        owner = LogOwner(instance._describe, instance._began)
        options = LogStreamOptions(
            base=config.base,
            durability=config.durability,
            buffer_bytes=config.log_buffer_bytes,
            circular=config.circular,
        )
        if has_logs(volume, directory, config.base):
            plan, instance.recovery = await recover_instance(
                volume, directory, config, now=now, flush_signature=draw
            )
            instance._signature = plan.signature
            instance.log = await LogStream.resume(
                volume, directory, instance._log_format(), owner, now=now, options=options
            )
            name = plan.checkpoint_name
        else:
            instance._signature = draw()
            instance.log = await LogStream.create(
                volume,
                directory,
                instance._log_format(),
                owner,
                now=now,
                signature=instance._signature,
                options=options,
            )
            name = f"{config.base}.chk"
        instance._checkpoint = await CheckpointFile.open(volume, directory, name)
        found = instance._checkpoint.checkpoint
        if found is not None and found.log_signature != instance._signature:
            instance._checkpoint.checkpoint = None  # of another set: the next one replaces it
        begin: Init = (
            Init2(number=Kind.INIT2, parameter_bytes=bytes(567), time=now())
            if config.log_version == 8
            else Init(number=Kind.INIT, parameter_bytes=bytes(567))
        )
        instance.log.append(begin.encode(), new_segment=True)
        await instance.log.flush()
        return instance

    def _log_format(self) -> LogFormat:
        config = self.config
        size, page = config.log_file_bytes, config.store_format.page_bytes
        if config.log_version == 8:
            return LogV8Format(now=self._now, file_bytes=size, page_size=page)
        return LogV7Format(file_bytes=size, page_size=page)

    # -- what the log asks ---------------------------------------------------------------

    def _describe(self, header: LogHeader) -> LogHeader:
        """The databases that were attached before this log began."""
        return header.with_attachments(
            [
                each.entry()
                for each in self.databases.values()
                if 0 < each.attach_position.generation < header.generation
            ]
        )

    async def _began(self, generation: int, created_at: LogTime) -> None:
        before = self._created.get(generation - 1)
        self._created = {generation: created_at}
        if before is not None:
            self._created[generation - 1] = before
        if self.config.safeguards.waypoint:
            for each in list(self.databases.values()):
                await each.require(generation, created_at, self.config.waypoint_latency)
        self._wake.notify()

    async def _created_at(self, generation: int) -> LogTime:
        """When a log began; of one that this run found there, from its header."""
        if generation not in self._created:
            logs = await find_logs(self._volume, self.directory, self.config.base)
            found = logs.log(generation)
            assert found is not None
            assert found.header is not None
            self._created[generation] = found.header.created
        return self._created[generation]

    # -- databases -----------------------------------------------------------------------

    async def create_database(self, name: str, initial_pages: int = 256) -> AttachedDatabase:
        """Make a database and attach it; it is there for good when this returns.

        Arguments
        ---------
        name: of the file, in the instance's directory.
        initial_pages: how long it is at first.

        Raises EseError: -1805 when there are as many as a log set takes; AlreadyExists.
        """
        path = self._path(name)
        async with self._turn_taken():
            signature = self._draw()
            dbid = self._free_dbid()
            file = self._volume.create(path)
            one = AttachedDatabase(self._volume, path, file, self.log, self.config, dbid, signature)
            session = self._new_session()
            database = self._database(one)
            await self.log.room(self.config.log_buffer_bytes // 2)
            one.attach_position = database.log_creation(session, path, signature)
            self.databases[path] = one
            await self._whole()
            await self._volume.sync_directory(self.directory)
            header = created(
                self.config.store_format.database,
                signature=signature,
                dbid=dbid,
                log_signature=self._signature,
            )
            one.header_file = await DatabaseHeaderFile.create(
                self._volume, file, header, self._draw
            )
            await self._attached(one)
            await self.log.room(self.config.log_buffer_bytes // 2)
            database.make(session, initial_pages)
            await self._whole()
        return one

    async def attach(self, name: str) -> AttachedDatabase:
        """Attach a database that was shut down.

        Raises EseError: -550 when it was not, -1201 when it is attached already, -1011 when it has
        more pages than may be in memory, and for pages that do not verify; NotFound.
        """
        path = self._path(name)
        async with self._turn_taken():
            if path in self.databases:
                raise EseError(ATTACHED_ALREADY, "it is attached already", path=path)
            file = self._volume.open(path)
            with ExitStack() as refused:
                refused.callback(file.close)
                one = await self._opened(path, file)
                refused.pop_all()
            header = one.header
            text = (path + "\0").encode("utf-16-le")
            record = AttachDB(
                number=Kind.ATTACH_DB,
                session=_ENGINE_PROCID,
                dbid=one.dbid,
                consistent_position=header.consistent_position,
                database_signature=header.database_signature,
                log_signature=self._signature,
                path_bytes=len(text),
                name_flags=_ATTACH_UNICODE,
            )
            await self.log.room(self.config.log_buffer_bytes // 2)
            one.attach_position = self.log.append(record.encode() + text)
            self.databases[path] = one
            await self._whole()
            await self._attached(one)
        return one

    async def _opened(self, path: str, file: File) -> AttachedDatabase:
        header_file = await DatabaseHeaderFile.open(self._volume, file, self._draw)
        header = header_file.header
        if header.state is not State.CLEAN_SHUTDOWN:
            detail = f"its state is {header.state_title}; it is not of this log set, or damaged"
            raise EseError(NOT_ATTACHED, detail, path=path)
        one = AttachedDatabase(
            self._volume,
            path,
            file,
            self.log,
            self.config,
            self._free_dbid(),
            header.database_signature,
        )
        one.header_file = header_file
        await one.buffer.load()
        self._database(one, dbtime=header.dbtime, last_objid=header.last_objid)
        return one

    def _database(
        self, one: AttachedDatabase, *, dbtime: int = 0, last_objid: int = LAST_SYSTEM_OBJID
    ) -> Database:
        policy = self.config.policy
        limit = min(policy.largest_file_pages, self.config.limit_pages)
        one.database = Database(
            one.buffer,
            one.log,
            self.config.store_format,
            replace(policy, largest_file_pages=limit),
            dbid=one.dbid,
            dbtime=dbtime,
            last_objid=last_objid,
        )
        return one.database

    async def _whole(self) -> None:
        """Make the log durable; in the lazy mode up to the end of a generation.

        There the log underway is not durable, so no header may require it.
        """
        await self.log.harden()
        if self.config.durability is Durability.LAZY:
            await self.log.roll("required")
            await self.log.require(self.log.generation - 1)

    async def _attached(self, one: AttachedDatabase) -> None:
        """The record is durable: the header says that the database needs the log."""
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
                log_signature=self._signature,
                dbtime=one.database.context.dbtime,
            )

        await one.change_header(change)
        if position.generation < self.log.generation:
            await one.require(self.log.generation, time, self.config.waypoint_latency)

    async def detach(self, one: AttachedDatabase) -> None:
        """Shut one database down; its open transactions are rolled back.

        Raises EseError -510 when the log is stopped, StorageError.
        """
        async with self._turn_taken():
            await self._write_out(one)
            text = (one.path + "\0").encode("utf-16-le")
            record = DetachDB(
                number=Kind.DETACH_DB,
                session=_ENGINE_PROCID,
                dbid=one.dbid,
                path_bytes=len(text),
                name_flags=_DETACH_UNICODE,
            )
            position = self.log.append(record.encode() + text)
            await self._whole()
            await self._shut_down(one, position)

    def _free_dbid(self) -> int:
        used = {each.dbid for each in self.databases.values()}
        free = (dbid for dbid in range(1, DATABASES_MOST + 1) if dbid not in used)
        dbid = next(free, None)
        if dbid is None:
            detail = f"{DATABASES_MOST} databases are attached, a log set takes no more"
            raise EseError(TOO_MANY, detail, path=self.directory)
        return dbid

    def _path(self, name: str) -> str:
        return f"{self.directory.rstrip('/')}/{name}"

    # -- sessions ------------------------------------------------------------------------

    def session(self, one: AttachedDatabase) -> StoreSession:
        """A new session, for transactions on one database."""
        session = self._new_session()
        one.sessions.append(session)
        return StoreSession(self, one, session)

    def _new_session(self) -> Session:
        self._procid += 1
        return Session(self._procid)

    def check(self) -> None:
        """Raises EseError -510 when the instance has stopped or was closed."""
        if self._failure is not None:
            detail = f"the instance has stopped: {self._failure}"
            raise EseError(STOPPED, detail, path=self.directory) from self._failure
        if self._closing:
            raise EseError(STOPPED, "the instance is closed", path=self.directory)

    @contextmanager
    def fatal(self) -> Iterator[None]:
        """What fails in here stops the instance for ever."""
        try:
            yield
        except (ReplicatorError, EseError, LogBufferFull) as error:
            self._failure = error
            self._wake.notify()
            raise

    @asynccontextmanager
    async def _turn_taken(self) -> AsyncIterator[None]:
        async with self._turn.taken():
            self.check()
            try:
                yield
            except (NotFound, AlreadyExists):
                raise  # a wrong name; nothing was begun
            except (ReplicatorError, LogBufferFull) as error:
                self._failure = error
                self._wake.notify()
                raise

    # -- pages and checkpoint ------------------------------------------------------------

    def wake(self) -> None:
        """Something was logged: :meth:`run` looks whether there is something to do."""
        self._wake.notify()

    def _bytes_since(self, position: LogPosition) -> int:
        """Bytes of log from a position to its end."""
        tip, size = self.log.tip, self.config.log_file_bytes
        unit = 4096 if self.config.log_version == 8 else 512
        return (tip.generation - position.generation) * size + (tip.sector - position.sector) * unit

    def is_closed(self) -> bool:
        """Whether it was closed or abandoned, or is on the way there."""
        return self._closing

    async def run(self) -> None:
        """Write pages and move the checkpoint as the log grows, until the instance is closed.

        Raises EseError and StorageError when that fails; the instance has stopped then.
        """
        half = self.config.checkpoint_depth_bytes // 2
        tried = LogPosition()
        while not self.is_closed():
            late = self._bytes_since(self.checkpoint) > half
            if late and self._bytes_since(tried) > half // 4:
                tried = self.log.tip
                try:
                    await self.write_old_pages(half)
                    await self.move_checkpoint()
                except EseError:
                    if self.is_closed() and self._failure is None:
                        return  # it was closed while this waited for its turn
                    raise
            else:
                await self._wake
            if self._failure is not None:
                self.check()

    async def write_old_pages(self, depth_bytes: int = 0) -> int:
        """Write the pages whose oldest change lies back by more than so much log.

        Returns how many were written.
        """
        written = 0
        async with self._turn_taken():
            for each in list(self.databases.values()):
                dirty = each.buffer.dirty.items()
                old = [n for n, page in dirty if self._bytes_since(page.began) >= depth_bytes]
                for at in range(0, len(old), self.config.batch_pages):
                    written += await each.write_pages(old[at : at + self.config.batch_pages])
        return written

    @property
    def checkpoint(self) -> LogPosition:
        """The one on disk; zero without any."""
        found = self._checkpoint.checkpoint
        return LogPosition() if found is None else found.position

    async def move_checkpoint(self) -> None:
        """Make what was written durable, and say that older logs are not needed for it."""
        async with self._turn_taken():
            # All before the sync: pages that change while it runs are not covered by it.
            there = list(self.databases.values())
            durable = self.log.flushed
            oldest = [(each, min(each.oldest() or durable, durable)) for each in there]
            for one, position in oldest:
                await self._raise_first(one, position.generation)
            checkpoint = min([durable, *(position for _, position in oldest)])
            waypoint = min(
                (each.header.last_required_generation for each in there),
                default=checkpoint.generation,
            )
            if checkpoint.generation > waypoint:
                checkpoint = LogPosition(waypoint, 0, 0)
            if checkpoint > self.checkpoint:
                await self._checkpoint.write(new_checkpoint(checkpoint, self._signature))
            if self.config.circular:
                needed = [each.header.first_required_generation for each in there]
                self.log.delete_below(min([self.checkpoint.generation, *needed]))

    async def _raise_first(self, one: AttachedDatabase, generation: int) -> None:
        if self.config.safeguards.sync_before_checkpoint:
            await one.file.sync()

        def change(header: DatabaseHeader) -> DatabaseHeader:
            first = min(generation, header.last_required_generation)
            if first <= header.first_required_generation:
                return header
            return raised(header, first=first, dbtime=one.database.context.dbtime)

        await one.change_header(change)

    # -- the end -------------------------------------------------------------------------

    async def close(self) -> None:
        """Shut everything down: the databases are clean, and no log is needed any more.

        Open transactions are rolled back.  Raises EseError, StorageError.
        """
        async with self._turn_taken():
            self._closing = True
            self._wake.notify()
            there = list(self.databases.values())
            for one in there:
                await self._write_out(one)
            position = self.log.append(bytes((Kind.SHUT_DOWN,)))
            await self.log.harden()
            for one in there:
                await self._shut_down(one, position)
            redo_from = self.checkpoint
            end: Term = (
                Term2(number=Kind.TERM2, redo_from=redo_from, time=self._now())
                if self.config.log_version == 8
                else Term(number=Kind.TERM, redo_from=redo_from)
            )
            end_position = self.log.append(end.encode(), new_segment=True)
            await self.log.close()
            start = LogPosition(end_position.generation, end_position.sector, 0)
            await self._checkpoint.write(new_checkpoint(start, self._signature))
            self._checkpoint.close()

    async def _write_out(self, one: AttachedDatabase) -> None:
        """Roll back what is open and write everything, durable."""
        for session in one.sessions:
            while session.level:
                await self.log.room(self.config.log_buffer_bytes // 2)
                one.database.transactions.rollback(session)
        one.sessions.clear()
        await self._whole()
        generation = self.log.generation
        if self.config.durability is Durability.LAZY:
            generation -= 1
        if one.header.last_required_generation < generation:
            await one.require(generation, await self._created_at(generation), 0)
        await one.write_all_pages()
        if self.config.safeguards.sync_before_clean:
            await one.file.sync()

    async def _shut_down(self, one: AttachedDatabase, position: LogPosition) -> None:
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
        del self.databases[one.path]
        one.file.close()

    def abandon(self) -> None:
        """End as a process does that is killed: nothing is written any more."""
        self._closing = True
        self._wake.notify()
