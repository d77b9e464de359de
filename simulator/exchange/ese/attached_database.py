"""One database that is attached: its file, its header, its pages, and when these may be written.

::

    header   one change at a time, computed from what is on disk (``change_header``)
    page     UndoInfo logged --> log durable --> header requires the generation --> written
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from replicator.ese.attachments import Attachment, attachment
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import NEEDING_LOGS, raised
from replicator.ese.errors import EseError
from replicator.ese.log_options import Durability
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Commit0, ExtendDB
from replicator.ese.log_stream import LogStream
from replicator.ese.page_io import neighbours
from replicator.ese.schema import TableDefinition
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime.port import File, Volume
from simulator.exchange.ese.database import Database
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.page_buffer import PageBuffer
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.statements import Statements
from simulator.exchange.ese.streaming_file import StreamingFile
from simulator.exchange.ese.table import Table
from simulator.exchange.ese.turn import Turn

NOT_WRITTEN = -1022


class AttachedDatabase:
    """See the module; made by :class:`simulator.exchange.ese.instance.Instance`.

    Attributes
    ----------
    database: its trees and tables; None until they are there.
    attach_position: of its CreateDB or AttachDB record.
    detach_position: of its DetachDB record; zero before that is logged.
    sessions: those that work on it.
    buffer: its pages in memory.
    statements: how looks and statements are carried out on it.
    streaming: its streaming file; None without one.
    """

    def __init__(
        self,
        volume: Volume,
        path: str,
        file: File | None,
        log: LogStream,
        config: InstanceConfig,
        dbid: int,
        signature: Signature,
        fatal: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.path, self.dbid, self.signature = path, dbid, signature
        self._volume, self._stream, self._config = volume, log, config
        self._fatal = fatal
        """What fails in there stops the instance."""
        self.buffer = PageBuffer(
            file, config.store_format, config.limit_pages, config.cache_pages, self._let_go
        )
        self.statements = Statements(
            self.buffer, log, config.log_buffer_bytes // 2, lambda: self.database.transactions
        )
        self.streaming: StreamingFile | None = None
        self.header_file: DatabaseHeaderFile | None = None
        self.attach_position = self.detach_position = LogPosition()
        self.sessions: list[Session] = []
        self._opened: Database | None = None
        self._last_position = LogPosition()
        self._unconfirmed: deque[tuple[LogPosition, LogPosition]] = deque()
        """Of each commit that may not be on disk yet: its Commit0, and where it began."""
        self._header_turn = Turn()
        self.is_detached = False
        """From when it begins to be shut down on."""

    # -- parts ---------------------------------------------------------------------------

    @property
    def file(self) -> File:
        """Its file; raises RuntimeError before that is created."""
        if self.buffer.created_file is None:
            raise RuntimeError(f"{self.path} is not created yet")
        return self.buffer.created_file

    @file.setter
    def file(self, file: File) -> None:
        self.buffer.created_file = file

    @property
    def database(self) -> Database:
        """Its trees; raises RuntimeError before it is attached."""
        if self._opened is None:
            raise RuntimeError(f"{self.path} is not attached yet")
        return self._opened

    @database.setter
    def database(self, database: Database) -> None:
        self._opened = database

    @property
    def header(self) -> DatabaseHeader:
        """As it is on disk; raises RuntimeError before there is one."""
        if self.header_file is None:
            raise RuntimeError(f"{self.path} has no header yet")
        return self.header_file.header

    @property
    def is_dirty(self) -> bool:
        """Whether its header on disk requires logs."""
        return self.header_file is not None and self.header.state in NEEDING_LOGS

    @property
    def consistent_position(self) -> LogPosition:
        """Where it was shut down; nowhere, for a new one and for one that joins this log set."""
        if self.header_file is None or self.header.log_signature != self._stream.signature:
            return LogPosition()
        return self.header.consistent_position

    def log(self, record: bytes) -> LogPosition:
        """Where its records go."""
        if record[0] == Kind.EXTEND_DB:
            last = ExtendDB.decode(record).last_pgno
            self.buffer.last_pgno = max(self.buffer.last_pgno, last)
        self._last_position = self._stream.append(record)
        if record[0] == Kind.COMMIT0:
            self._note_commit(record)
        return self._last_position

    def _note_commit(self, record: bytes) -> None:
        """Remember where it began until it is on disk: no more than that part of the log has."""
        number = Commit0.decode(record).session
        began = next((each.began for each in self.sessions if each.procid == number), None)
        if began is not None:
            self._drop_confirmed()
            self._unconfirmed.append((self._last_position, began))

    def _drop_confirmed(self) -> None:
        flushed = self._stream.flushed
        while self._unconfirmed and self._unconfirmed[0][0] < flushed:
            self._unconfirmed.popleft()

    def entry(self) -> Attachment:
        """What the header of a log says of it."""
        opened = self._opened
        return attachment(
            self.path,
            stream_path=None if self.streaming is None else self.streaming.path,
            dbid=self.dbid,
            dbtime=0 if opened is None else opened.context.dbtime,
            last_objid=0 if opened is None else opened.last_objid,
            attach_position=self.attach_position,
            consistent_position=self.consistent_position,
            database_signature=self.signature,
        )

    def stream_to(self, file: File) -> None:
        """It has a streaming file, which is open."""
        self.streaming = StreamingFile(
            self._volume,
            file,
            self._stream,
            lambda: self._last_position,
            self._config.safeguards,
        )

    def close(self) -> None:
        """Give its files back."""
        self.file.close()
        if self.streaming is not None:
            self.streaming.close()

    # -- header --------------------------------------------------------------------------

    async def change_header(self, change: Callable[[DatabaseHeader], DatabaseHeader]) -> None:
        """Write the next header when it differs, one change at a time; raises as ``write`` does.

        Whoever calls this may hold nothing that a flush of the log waits for.
        """
        async with self._header_turn.taken():
            assert self.header_file is not None
            before = self.header_file.header
            after = change(before)
            if after != before:
                await self.header_file.write(after)

    async def require(self, generation: int, created: LogTime, latency: int) -> None:
        """Say that logs up to a generation are required, and how far the set goes.

        Arguments
        ---------
        generation: of the log underway.
        created: its creation time.
        latency: so many generations are committed only, not required.
        """
        if not self.is_dirty:
            return
        last = max(self.header.last_required_generation, generation - latency)
        if self._config.durability is Durability.LAZY and latency:
            await self._stream.require(min(last, generation - 1))

        def change(header: DatabaseHeader) -> DatabaseHeader:
            if header.state not in NEEDING_LOGS:
                return header
            newer = generation > header.last_committed_generation
            return raised(
                header,
                last=max(last, header.last_required_generation),
                committed=max(generation, header.last_committed_generation),
                committed_created=created if newer else None,
                dbtime=self.database.context.dbtime,
            )

        await self.change_header(change)

    # -- pages ---------------------------------------------------------------------------

    def oldest(self) -> LogPosition | None:
        """What the log is needed from: by unwritten pages, and by transactions that may be undone.

        These are the open ones, and those whose Commit0 is not on disk yet.
        """
        guards = self._config.safeguards
        found = []
        if guards.wait_for_transactions:
            found += [each.began for each in self.sessions if each.logged_level]
            self._drop_confirmed()
            found += [began for _, began in self._unconfirmed]
        dirty = self.buffer.oldest() if guards.wait_for_pages else None
        if dirty is not None:
            found.append(dirty)
        return min(found, default=None)

    async def open_table(self, definition: TableDefinition) -> Table:
        """A table that is there already, read from the catalog.

        Arguments
        ---------
        definition: as it was created.

        Raises EseError -1601 when the catalog has no such table or index, and for pages that do
        not verify.
        """
        return await self.statements.read(
            partial(self.database.open_table, definition), self.check_attached
        )

    def check_attached(self) -> None:
        """Raises RuntimeError when it was detached."""
        if self.is_detached:
            raise RuntimeError(f"{self.path} was detached")

    async def _let_go(self, pgnos: Sequence[int]) -> None:
        """Write pages that are to go from memory, so many at a time as may be in one batch."""
        guards, most = self._config.safeguards, self._config.batch_pages
        if not guards.write_before_eviction:
            for pgno in pgnos:
                del self.buffer.dirty[pgno]
            return
        for at in range(0, len(pgnos), most):
            batch = pgnos[at : at + most]
            with self._fatal():
                await self.write_pages(batch, log_first=guards.log_before_eviction)

    def _may_be_written(self, pgno: int, log_first: bool) -> bool:
        guards = self._config.safeguards
        position = self.buffer.dirty[pgno].position
        if log_first and guards.log_before_pages and not position < self._stream.flushed:
            return False
        if guards.waypoint and position.generation > self.header.last_required_generation:
            return False
        page = self.buffer.page(pgno)
        return not (guards.before_images and self.database.versions.owes(page))

    async def write_pages(self, pgnos: Sequence[int], *, log_first: bool = True) -> int:
        """Write those of the pages that may be written; returns how many were.

        Arguments
        ---------
        log_first: wait until the log has their changes; False in tests only.

        Raises StorageError, EseError -510 when the log is stopped.
        """
        guards, stream, buffer = self._config.safeguards, self._stream, self.buffer
        if guards.before_images:
            for pgno in pgnos:
                await self._log_before_images(pgno)
        if guards.log_before_pages and log_first:
            await stream.flush()
        written, page_bytes = 0, self._config.store_format.page_bytes
        for run in neighbours(sorted(self._ready(pgnos, log_first)), page_bytes):
            await self._volume.admit(len(run) * page_bytes, len(run))
            if ready := self._ready(run, log_first):
                buffer.write(ready)
            written += len(ready)
        return written

    async def _log_before_images(self, pgno: int) -> None:
        versions = self.database.versions
        while True:
            await self._stream.room(self._config.log_buffer_bytes // 2)
            if pgno not in self.buffer.dirty or not versions.owes(page := self.buffer.page(pgno)):
                return
            versions.log_before_images(page)
            self.buffer.depends_on(pgno, self._last_position)

    def _ready(self, pgnos: Sequence[int], log_first: bool) -> list[int]:
        """Those that may be written now."""
        dirty = self.buffer.dirty
        return [each for each in pgnos if each in dirty and self._may_be_written(each, log_first)]

    async def write_all_pages(self) -> None:
        """Write everything, with nobody changing pages meanwhile; not yet durable.

        Raises EseError -1022 when pages remain that may not be written.
        """
        while self.buffer.dirty:
            batch = list(self.buffer.dirty)[: self._config.batch_pages]
            if not await self.write_pages(batch):
                detail = f"{len(self.buffer.dirty):,} pages wait for a log that is not required"
                raise EseError(NOT_WRITTEN, detail, path=self.path)
