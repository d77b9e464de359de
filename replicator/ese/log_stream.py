"""The writing end of a log set: records in, durable generations out, over the storage port.

``append`` lays a record out in memory (:mod:`replicator.ese.log_buffer`) and says where it will
stand; ``flush`` writes and syncs for all tasks that wait at that moment (group commit).  When a
file is full, records for the next generation are taken at once; the files change their names at
the next flush.

::

    append --> encoder of generation g, then of g + 1 (memory, bounded)
    flush  --> writes of g, sync --> roll (log_directory) --> owner raises genMaxRequired
               and genMaxCommitted --> writes of g + 1, sync --> all who waited return

Three ways to make a write durable (ese-format.md 7.0), see
:class:`~replicator.ese.log_options.Durability`.  A page may be
written when its last change starts below ``flushed``, and in the lazy mode also only below the
database's waypoint, for which :meth:`LogStream.require` makes generations durable.

After a failed write or sync the log is stopped for ever (-510): what the disk holds is not known
any more, and the next engine finds it out by reading.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, Self

from replicator.errors import ReplicatorError
from replicator.ese.errors import EseError
from replicator.ese.log_buffer import LogBuffer, LogBufferFull, start_of
from replicator.ese.log_directory import LogDirectory
from replicator.ese.log_encoding import LogFileEncoder, LogFormat, ResumedLog, Write
from replicator.ese.log_header import LogHeader, read_log_header
from replicator.ese.log_names import LogNames
from replicator.ese.log_options import Durability, LogOwner, LogStreamOptions
from replicator.ese.log_record_types import Kind
from replicator.ese.log_writer import LogWriter
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import Signal
from replicator.runtime.port import File, Volume, write_all

__all__ = ["LogBufferFull", "LogStream"]

WRITE_FAILED: Final = -510
MISSING_LOG: Final = -528

FLAG_RESERVE_USED: Final = 1
FLAG_CIRCULAR: Final = 2
FLAG_CIRCULAR_BEFORE: Final = 4


class LogStream:
    """See the module; made by :meth:`create` or :meth:`resume`.

    Attributes
    ----------
    written, flushed: a record that starts below has reached the file, or is durable there.
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        log_format: LogFormat,
        owner: LogOwner,
        now: Callable[[], LogTime],
        signature: Signature,
        options: LogStreamOptions,
    ) -> None:
        names = LogNames(options.base, log_format.digits, log_format.shared_reserves)
        self._files = LogDirectory(
            volume,
            directory,
            names,
            log_format,
            recycle=options.circular,
            safeguards=options.safeguards,
        )
        self._volume = volume
        self._format = log_format
        self._owner = owner
        self._now = now
        self._options = options
        self._buffer = LogBuffer(log_format, options.buffer_bytes, signature)
        self._previous: tuple[LogTime, int] = (LogTime(), 0)
        self._writer = LogWriter(volume, options.durability, options.safeguards)
        self._queue_tip = LogPosition()
        self._began_owed: LogHeader | None = None
        self._busy = False
        self._failure: Exception | None = None
        self._changed = Signal()
        self.written = LogPosition()
        self.flushed = LogPosition()

    # -- making one ----------------------------------------------------------------

    @classmethod
    async def create(
        cls,
        volume: Volume,
        directory: str,
        log_format: LogFormat,
        owner: LogOwner,
        *,
        now: Callable[[], LogTime],
        signature: Signature,
        options: LogStreamOptions | None = None,
        generation: int = 1,
    ) -> Self:
        """Begin a new log set: reserve logs, then the first generation.

        Arguments
        ---------
        volume, directory: where; the directory exists and holds no log of this base.
        log_format: version and sizes.
        owner: see there; ``began`` is called for the first generation as well.
        now: the time, for headers.
        signature: of the set.
        generation: the first number.

        Raises EseError: -529 when there is no room, -510 when the volume failed.
        """
        options = options or LogStreamOptions()
        stream = cls(volume, directory, log_format, owner, now, signature, options)
        async with stream._fatal():
            await stream._files.open()
            if stream._files.current is not None or stream._files.generations:
                raise ValueError(f"{directory} holds logs of {options.base} already")
            await stream._files.make_reserves()
            stream._buffer.encoders.append(stream._buffer.new_encoder(generation))
            await stream._begin(None)
        return stream

    @classmethod
    async def resume(
        cls,
        volume: Volume,
        directory: str,
        log_format: LogFormat,
        owner: LogOwner,
        *,
        now: Callable[[], LogTime],
        options: LogStreamOptions | None = None,
    ) -> Self:
        """Go on with a log set that recovery has read and found good.

        The next record stands in the segment behind the data.  After a crash it has to be
        RecoveryUndo2 or Init2: no other one may follow a record whose last pieces were torn off.
        Without a current log, as after a crash between the renames, a new generation begins.

        Raises EseError: -528 without any log, -501 when the last one is damaged, -529, -510.
        """
        options = options or LogStreamOptions()
        stream = cls(volume, directory, log_format, owner, now, Signature(), options)
        async with stream._fatal():
            files = stream._files
            await files.open()
            await files.make_reserves()
            if files.current is not None:
                await stream._resume_current(files.current)
            elif files.generations:
                await stream._resume_behind(files.generations[-1])
            else:
                raise EseError(MISSING_LOG, "there is no log to go on with", path=directory)
        return stream

    async def _resume_current(self, file: File) -> None:
        content = BytesReader(await file.read_at(0, file.size_bytes), file.path)
        resumed: ResumedLog = self._format.resumed(content)
        if self._options.safeguards.repair_at_restart:
            for offset, data in resumed.repairs:
                await self._volume.admit(len(data))
                write_all(file, offset, data)
                await file.sync()
        self._buffer.signature = resumed.encoder.header.log_signature
        self._buffer.encoders.append(resumed.encoder)
        self.written = self.flushed = self._queue_tip = resumed.encoder.tip

    async def _resume_behind(self, generation: int) -> None:
        path = self._files.path(self._files.names.closed(generation))
        file = self._volume.open(path)
        content = BytesReader(await file.read_at(0, file.size_bytes), path)
        file.close()
        header = read_log_header(content)
        self._buffer.signature = header.log_signature
        self._previous = header.created, self._format.accumulated_checksum(content)
        self._buffer.encoders.append(self._buffer.new_encoder(generation + 1))
        await self._begin(None)

    # -- records -------------------------------------------------------------------

    @property
    def signature(self) -> Signature:
        """Of the set."""
        return self._buffer.signature

    @property
    def tip(self) -> LogPosition:
        """Where the next record would start."""
        return self._buffer.tip

    @property
    def generation(self) -> int:
        """Of the file underway, ``E00.log``."""
        return self._buffer.encoders[0].header.generation

    @property
    def generations(self) -> list[int]:
        """Closed logs that are kept, oldest first."""
        return list(self._files.generations)

    def closed_path(self, generation: int) -> str:
        """Where a closed log lies."""
        return self._files.path(self._files.names.closed(generation))

    @property
    def must_shut_down(self) -> bool:
        """The volume is full and a reserve log is in use: detach everything and end."""
        return self._files.reserve_used

    @property
    def stopped(self) -> bool:
        """A write or sync has failed: nothing can be logged any more."""
        return self._failure is not None

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        """Take one record; see :meth:`LogFileEncoder.append`.  It is not on disk before a flush.

        Raises LogBufferFull; EseError -510 when the log is stopped; ValueError for what is no
        record.
        """
        if self._failure is not None:
            self._check()
        return self._buffer.append(record, new_segment=new_segment)

    def append_together(self, records: Sequence[bytes]) -> list[LogPosition]:
        """Take records that have to stand in one file; raises as :meth:`append` does."""
        self._check()
        return self._buffer.append_together(records)

    def has_room(self, size_bytes: int) -> bool:
        """Whether :meth:`room` would return at once."""
        return self._buffer.has_room(size_bytes)

    async def room(self, size_bytes: int) -> None:
        """Wait until records of so many bytes can be appended; flushes when nobody else does."""
        while not self.has_room(size_bytes):
            await self._turn()
        self._check()

    # -- flushes -------------------------------------------------------------------

    async def flush(self, up_to: LogPosition | None = None) -> None:
        """Return when a record, or all that was appended before, is as durable as the mode says.

        Arguments
        ---------
        up_to: position of the record; None for the last one.

        In the lazy mode that is: written.  Raises EseError -510 when the log is stopped.
        """
        position = self._buffer.last if up_to is None else up_to
        lazy = self._options.durability is Durability.LAZY
        while position is not None and (self.written if lazy else self.flushed) <= position:
            await self._turn()
        self._check()

    async def roll(self, reason: str = "") -> None:
        """Close the current log early; its successor begins with a ForceLogRollover record.

        A log without any record is left as it is.
        """
        if self._buffer.is_fresh:
            return
        self._check()
        self._buffer.next_generation()
        text = reason.encode("cp1252", "replace") + b"\0"
        head = bytes((Kind.FORCE_LOG_ROLLOVER, 0, 0)) + len(text).to_bytes(2, "little")
        await self.flush(self.append(head + text))

    async def require(self, generation: int) -> None:
        """Make all generations up to this one durable, before a database header requires them."""
        async with self._fatal():
            await self._files.sync_closed(generation)
        if generation >= self.generation:
            await self.harden()
        self._advance_flushed()

    async def harden(self) -> None:
        """Make everything durable that was appended before, in any mode."""
        position = self._buffer.last
        while position is not None and self.flushed <= position:
            await self._turn(harden=True)
        self._check()

    def delete_below(self, generation: int) -> int:
        """Delete closed logs below a generation; returns how many.

        Arguments
        ---------
        generation: the lowest that is still needed: by the checkpoint, by any database header's
            genMinRequired (as it is on disk), by whoever copies logs.
        """
        self._check()
        return self._files.delete_below(generation)

    async def close(self) -> None:
        """Make everything durable and give the files back."""
        await self.harden()
        while self._busy:
            await self._changed
        self._files.close()

    def _check(self) -> None:
        failure = self._failure
        if failure is None:
            return
        number = failure.number if isinstance(failure, EseError) else WRITE_FAILED
        detail = f"the log is stopped: {failure}"
        raise EseError(number, detail, path=self._files.directory) from failure

    async def _turn(self, *, harden: bool = False) -> None:
        """Flush for all who wait, or wait until somebody else has done so."""
        self._check()
        if self._busy:
            await self._changed
            return
        self._busy = True
        try:
            async with self._fatal():
                await self._flush(harden)
        finally:
            self._busy = False
            self._changed.notify()

    @asynccontextmanager
    async def _fatal(self) -> AsyncIterator[None]:
        """A failure in here stops the log for ever."""
        try:
            yield
        except (ReplicatorError, EseError) as error:
            self._failure = error
            self._check()

    async def _flush(self, harden: bool) -> None:
        """Write everything that is there now, rolls included; goes on where a cancelled one ended.

        The bytes of the buffer count as free as soon as they are handed out: what is underway
        is never more than one buffer.
        """
        if self._files.rolling:
            await self._roll()
        await self._settle(harden)
        while True:
            writes, self._queue_tip, more = self._buffer.take()
            self._writer.add(writes)
            self._changed.notify()
            await self._settle(harden)
            if not more:
                break
            await self._roll()
        if self._files.current is not None and not self._files.reserve_used:
            # In step with the log, so that it is ready when the log is full.
            await self._files.prepare(2 * max(self._options.buffer_bytes // 8, 1 << 15))

    async def _settle(self, harden: bool) -> None:
        """Finish what was begun: writes, the sync behind them, a new generation's announcement."""
        if self._began_owed is not None:
            await self._owner.began(self._began_owed.generation, self._began_owed.created)
            self._began_owed = None
        file = self._files.current
        assert file is not None
        await self._writer.write(file)
        self.written = max(self.written, self._queue_tip)
        lazy = self._options.durability is Durability.LAZY
        if harden or not lazy:
            await self._writer.harden(file)
            if lazy:
                await self._files.sync_closed(self.generation - 1)
            self.flushed = max(self.flushed, self._queue_tip)

    async def _roll(self) -> None:
        closing = self._buffer.encoders[0]
        self._previous = closing.header.created, closing.accumulated_checksum
        await self._begin(closing)

    async def _begin(self, closing: LogFileEncoder | None) -> None:
        """Put the file of the next encoder in place, and tell the owner."""
        opening = self._buffer.encoders[-1 if closing is None else 1]
        created = self._now()

        def header() -> list[Write]:
            flags = FLAG_RESERVE_USED * self._files.reserve_used
            flags |= FLAG_CIRCULAR * self._options.circular
            flags |= FLAG_CIRCULAR_BEFORE * self._options.circular_before
            previous_created, checksum = self._previous
            fields = replace(
                opening.header,
                created=created,
                previous_created=previous_created,
                previous_accumulated_checksum=checksum,
                flags=flags,
            )
            opening.header = self._owner.describe(fields)
            return opening.header_writes()

        number = 0 if closing is None else closing.header.generation
        await self._files.roll(number, header, unsynced=self._writer.dirty)
        if closing is not None:
            self._buffer.encoders.popleft()
        self._writer.next_file()
        self._queue_tip = start_of(opening)
        self._began_owed = opening.header
        if self._options.durability is Durability.LAZY:
            unsynced = self._files.unsynced
            if len(unsynced) > self._options.lazy_logs:
                await self._files.sync_closed(unsynced[-1 - self._options.lazy_logs])
        self._advance_flushed()
        await self._settle(harden=False)

    def _advance_flushed(self) -> None:
        """In the lazy mode: generations below the first that is not durable are."""
        unsynced = self._files.unsynced
        first = unsynced[0] if unsynced else self.generation
        self.flushed = max(self.flushed, LogPosition(first, 0, 0))
