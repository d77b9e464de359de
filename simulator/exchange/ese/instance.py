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
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from replicator.errors import AlreadyExists, NotFound, ReplicatorError
from replicator.ese.checkpoint import new_checkpoint
from replicator.ese.checkpoint_file import CheckpointFile
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.database_state import raised
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import LogFormat
from replicator.ese.log_options import LogOwner, LogStreamOptions
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Init, Init2, Term, Term2
from replicator.ese.log_stream import LogBufferFull, LogStream
from replicator.ese.log_v7_encoding import LogV7Format, digits_of_version_7
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.recovery_files import find_logs
from replicator.ese.recovery_result import RecoveryResult
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import Signal
from replicator.runtime.port import Volume
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.database_set import ENGINE_PROCID, DatabaseSet
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.opening import has_logs, recover_instance
from simulator.exchange.ese.preparation import InternalError
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.turn import Turn

STOPPED: Final = -510


class Instance:
    """See the module; made by :meth:`open`.

    Attributes
    ----------
    volume, config: as given.
    log: its log.
    held_generation: a backup needs the logs from this one on; None without one.
    turn: of attach, detach, creation, checkpoint and page writes.
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
        self.volume, self.directory, self.config = volume, directory, config
        self._now, self._draw = now, draw
        self._set = DatabaseSet(
            volume,
            directory,
            config,
            now=now,
            draw=draw,
            created_at=self._created_at,
            fatal=self.fatal,
        )
        self.recovery: RecoveryResult | None = None
        self.held_generation: int | None = None
        self.log: LogStream
        self._checkpoint: CheckpointFile
        self._created: dict[int, LogTime] = {}
        """Creation times of the log underway and the one before."""
        self.turn = Turn()
        self._wake = Signal()
        self._failure: Exception | None = None
        self._closing = False
        self._procid = ENGINE_PROCID

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
        owner = LogOwner(instance._set.describe, instance._began)
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
            instance._set.signature = plan.signature
            instance.log = await LogStream.resume(
                volume, directory, instance._log_format(), owner, now=now, options=options
            )
            name = plan.checkpoint_name
        else:
            instance._set.signature = draw()
            instance.log = await LogStream.create(
                volume,
                directory,
                instance._log_format(),
                owner,
                now=now,
                signature=instance._set.signature,
                options=options,
            )
            name = f"{config.base}.chk"
        instance._set.log = instance.log
        instance._checkpoint = await CheckpointFile.open(volume, directory, name)
        found = instance._checkpoint.checkpoint
        if found is not None and found.log_signature != instance._set.signature:
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
        return LogV7Format(file_bytes=size, page_size=page, digits=digits_of_version_7(page))

    # -- what the log asks ---------------------------------------------------------------

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
            logs = await find_logs(self.volume, self.directory, self.config.base)
            found = logs.log(generation)
            assert found is not None
            assert found.header is not None
            self._created[generation] = found.header.created
        return self._created[generation]

    # -- databases -----------------------------------------------------------------------

    @property
    def databases(self) -> dict[str, AttachedDatabase]:
        """Those that are attached, by path."""
        return self._set.attached

    async def create_database(self, name: str, initial_pages: int = 256) -> AttachedDatabase:
        """Make a database and attach it; it is there for good when this returns.

        Arguments
        ---------
        name: of the file, in the instance's directory.
        initial_pages: how long it is at first.

        Raises EseError: -1805 when there are as many as a log set takes, -1808 for more pages than
        ``limit_pages``; AlreadyExists.
        """
        async with self._turn_taken():
            return await self._set.create(name, initial_pages, self._new_session())

    async def attach(self, name: str) -> AttachedDatabase:
        """Attach a database that was shut down.

        Raises EseError: -550 when it was not, -1201 when it is attached already, -1011 when it has
        more pages than ``limit_pages``, and for pages that do not verify; NotFound.
        """
        async with self._turn_taken():
            return await self._set.attach(name)

    async def detach(self, one: AttachedDatabase) -> None:
        """Shut one database down; its open transactions are rolled back.

        Raises EseError: -510 when the log is stopped, -1203 when it was detached before;
        StorageError.
        """
        async with self._turn_taken():
            await self._set.detach(one)

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
        except (ReplicatorError, EseError, LogBufferFull, InternalError) as error:
            self._failure = error
            self._wake.notify()
            raise

    @asynccontextmanager
    async def _turn_taken(self) -> AsyncIterator[None]:
        async with self.turn.taken():
            self.check()
            try:
                yield
            except (NotFound, AlreadyExists):
                raise  # a wrong name; nothing was begun
            except (ReplicatorError, LogBufferFull, InternalError) as error:
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
                await self._checkpoint.write(new_checkpoint(checkpoint, self._set.signature))
            if self.config.circular:
                needed = [each.header.first_required_generation for each in there]
                if self.held_generation is not None:
                    needed.append(self.held_generation)
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
                await self._set.write_out(one)
            position = self.log.append(bytes((Kind.SHUT_DOWN,)))
            await self.log.harden()
            for one in there:
                await self._set.shut_down(one, position)
            redo_from = self.checkpoint
            end: Term = (
                Term2(number=Kind.TERM2, redo_from=redo_from, time=self._now())
                if self.config.log_version == 8
                else Term(number=Kind.TERM, redo_from=redo_from)
            )
            end_position = self.log.append(end.encode(), new_segment=True)
            await self.log.close()
            start = LogPosition(end_position.generation, end_position.sector, 0)
            # In version 7 Term begins no sector: the checkpoint may stand in its own one already.
            start = max(start, self.checkpoint)
            await self._checkpoint.write(new_checkpoint(start, self._set.signature))
            self._checkpoint.close()

    def abandon(self) -> None:
        """End as a process does that is killed: nothing is written any more."""
        self._closing = True
        self._wake.notify()
