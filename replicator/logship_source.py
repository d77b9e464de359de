"""The source's end of log shipping: serves the closed logs of a directory, never the open one.

Beside the store, in a process of its own; it reads what the store writes and changes nothing but
this: with ``truncate`` it deletes logs that nobody needs any more.

* A log is *closed* when it has its generation in its name.  ``E00.log`` is being written: of it
  only the header is looked at, for the time at which the log before it was closed.
* A log is told of when its name and content are durable.  Else a source that loses its power
  might go on in a log that its copy has already, and the two histories would part.
* A log may go when it lies below the store's checkpoint, as that is on the disk, and every copy
  has replayed it, or inspected it if it lags on purpose.  So a copy that is suspended, or away,
  keeps all of them there.

*As of* of a closed log is the time at which the one behind it was made: what was written before
that is in this log or in an earlier one.

Leaves out: several copies with a register of them (one copy is assumed: who asks, is it), backups
as what allows a deletion, the streams of single log writes of later versions (block mode).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from replicator.errors import (
    ConnectionLost,
    ListenerClosed,
    NotFound,
    ProtocolViolation,
    StorageError,
)
from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.errors import EseError
from replicator.ese.log_header import HEADER_BYTES, LogHeader, read_log_header
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.reader import BytesReader
from replicator.ese.recovery_files import joined, read_file
from replicator.logship_frames import (
    MAX_PAYLOAD_BYTES,
    Received,
    ShipFrame,
    encoded,
    receive,
    send_document,
    text,
    whole,
)
from replicator.logship_options import ALL_SAFEGUARDS, LogServerOptions, LogShipSafeguards
from replicator.logship_times import wall_ns_of
from replicator.runtime import TimedOut, group, sleep_ns
from replicator.runtime.port import Runtime, Stream, Volume

_HEADERS_KEPT: Final = 64
_ACCEPT_AGAIN_NS: Final = 100_000_000


class LogServer:
    """Serves one log set.

    Arguments
    ---------
    runtime: the world.
    volume, directory: where logs and checkpoint are.
    base: the set's three characters.
    options, safeguards: see there.

    Attributes
    ----------
    deleted: the highest generation that was deleted here; 0 for none.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        directory: str,
        base: str,
        options: LogServerOptions,
        safeguards: LogShipSafeguards = ALL_SAFEGUARDS,
    ) -> None:
        self.runtime = runtime
        self.deleted = 0
        self._volume, self._directory, self._base = volume, directory, base.upper()
        self._options, self._guards = options, safeguards
        self._durable = 0
        """Logs up to this generation can be lost by no power loss."""
        self._headers: OrderedDict[int, LogHeader] = OrderedDict()
        self._serving = 0

    async def run(self) -> None:
        """Serve until cancelled; raises StorageError when the directory cannot be read."""
        listener = await self.runtime.listen(self._options.address)
        try:
            async with group() as tasks:
                while True:
                    try:
                        stream = await listener.accept()
                    except ListenerClosed:
                        return
                    except ConnectionLost:
                        await sleep_ns(_ACCEPT_AGAIN_NS)
                        continue
                    if self._serving >= self._options.connections:
                        stream.abort()
                        continue
                    self._serving += 1
                    tasks.spawn(self._serve(stream), "copy")
        finally:
            listener.close()

    async def _serve(self, stream: Stream) -> None:
        """Answer one copy until it goes away, or says what makes no sense."""
        try:
            while True:
                await self._answer(stream, await receive(stream, self._options.patience_ns))
        except (ConnectionLost, TimedOut) as error:
            self.runtime.emit("logship_copy_gone", str(error))
        except ProtocolViolation as error:
            self.runtime.emit("logship_refused", error.advice)
        finally:
            self._serving -= 1
            stream.abort()

    async def _answer(self, stream: Stream, question: Received) -> None:
        if question.type is ShipFrame.LIST:
            await self._listing(stream, question)
        elif question.type is ShipFrame.OPEN:
            await self._open(stream, question)
        elif question.type is ShipFrame.READ:
            await self._read(stream, question)
        else:
            raise ProtocolViolation(f"{question.type.name} is no question")

    async def _refuse(self, stream: Stream, code: str, message: str) -> None:
        await send_document(stream, ShipFrame.REFUSED, code=code, message=message[:500])

    # -- which logs there are ----------------------------------------------------------

    def closed(self) -> dict[int, str]:
        """The closed logs that are there, by generation, the open one left out."""
        found: dict[int, str] = {}
        for name in self._volume.list(self._directory):
            parsed = parse_log_name(name)
            if parsed is None or parsed.base != self._base:
                continue
            if parsed.role is LogRole.CLOSED and parsed.generation is not None:
                found[parsed.generation] = name
        return dict(sorted(found.items()))

    async def _served(self) -> dict[int, str]:
        """The closed logs that may be told of: they are durable."""
        found = self.closed()
        newest = max(found, default=0)
        if self._guards.durable_before_served and newest > self._durable:
            for generation in [each for each in found if each > self._durable]:
                file = self._volume.open(joined(self._directory, found[generation]))
                try:
                    await file.sync()
                finally:
                    file.close()
            await self._volume.sync_directory(self._directory)
            self._durable = newest
        if not self._guards.closed_logs_only:
            current = await self._current_header()
            if current is not None:
                found[current.generation] = self._name_of_current()
        return found

    def _name_of_current(self) -> str:
        for name in self._volume.list(self._directory):
            parsed = parse_log_name(name)
            if parsed and (parsed.role, parsed.base) == (LogRole.CURRENT, self._base):
                return name
        return ""

    async def _current_header(self) -> LogHeader | None:
        name = self._name_of_current()
        return await self._header(name) if name else None

    async def _header(self, name: str) -> LogHeader | None:
        """A log's header; None when it cannot be read just now."""
        try:
            file = self._volume.open(joined(self._directory, name))
        except NotFound:
            return None
        try:
            return read_log_header(BytesReader(await file.read_at(0, HEADER_BYTES), file.path))
        except EseError:
            return None
        finally:
            file.close()

    async def _as_of_ns(self, generation: int, names: dict[int, str]) -> int:
        """What was written before that time is in this generation or an earlier one."""
        for each in (generation + 1, generation):
            header = self._headers.get(each)
            if header is None:
                if each in names:
                    header = await self._header(names[each])
                elif each > generation:
                    current = await self._current_header()
                    if current is not None and current.generation == each:
                        header = current
                if header is not None and header.generation == each:
                    self._headers[each] = header
                    if len(self._headers) > _HEADERS_KEPT:
                        self._headers.popitem(last=False)
            if header is not None:
                return wall_ns_of(header.created)
        return 0

    # -- answers -----------------------------------------------------------------------

    async def _listing(self, stream: Stream, question: Received) -> None:
        document = question.document
        if text(document, "set") != self._options.set_id:
            message = f"this is the source of {self._options.set_id!r}"
            await self._refuse(stream, "set", message)
            return
        done = whole(document, "inspected" if document.get("lagged") is True else "replayed")
        # The clock comes first: what is closed later is not in this listing.
        wall_ns = self.runtime.wall_ns()
        names = await self._served()
        newest = max(names, default=0)
        log_bytes = 0
        if newest:
            path = joined(self._directory, names[newest])
            log_bytes = self._volume.stat(path).size_bytes
        await send_document(
            stream,
            ShipFrame.LISTING,
            wall_ns=wall_ns,
            oldest=min(names, default=0),
            newest=newest,
            log_bytes=log_bytes,
        )
        if self._options.truncate:
            await self._truncate(names, done)

    async def _open(self, stream: Stream, question: Received) -> None:
        generation = whole(question.document, "generation")
        names = await self._served()
        if generation not in names:
            message = f"generation 0x{generation:X} is not among the closed logs"
            await self._refuse(stream, "missing", message)
            return
        size = self._volume.stat(joined(self._directory, names[generation])).size_bytes
        await send_document(
            stream,
            ShipFrame.LOG,
            name=self._named(generation, names[generation]),
            size_bytes=size,
            as_of_ns=await self._as_of_ns(generation, names),
        )

    def _named(self, generation: int, name: str) -> str:
        """Under which name the copy keeps it."""
        parsed = parse_log_name(name)
        if parsed is not None and parsed.role is LogRole.CURRENT:  # without its safeguard only
            return f"{name[:3]}{generation:08X}.log"
        return name

    async def _read(self, stream: Stream, question: Received) -> None:
        document = question.document
        generation, offset = whole(document, "generation"), whole(document, "offset")
        length = whole(document, "length")
        if length > MAX_PAYLOAD_BYTES:
            raise ProtocolViolation(f"{length} bytes are asked for, {MAX_PAYLOAD_BYTES} at most")
        names = self.closed()
        if not self._guards.closed_logs_only:
            names = await self._served()
        try:
            file = self._volume.open(joined(self._directory, names[generation]))
        except (KeyError, NotFound):
            await self._refuse(stream, "missing", f"generation 0x{generation:X} is gone")
            return
        try:
            data = await file.read_at(offset, length)
        finally:
            file.close()
        await stream.send(encoded(ShipFrame.DATA, data))

    # -- logs that nobody needs --------------------------------------------------------

    async def _truncate(self, names: dict[int, str], done: int) -> None:
        """Delete logs below the checkpoint that the copy has done with, oldest first."""
        below = await self._checkpoint_generation()
        if self._guards.keep_until_replayed:
            below = min(below, done + 1)
        for generation in [each for each in names if each < below]:
            self._volume.unlink(joined(self._directory, names[generation]))
            self.deleted = generation
            self.runtime.emit("logship_deleted", generation)

    async def _checkpoint_generation(self) -> int:
        """Where recovery of the store begins at the earliest, by what is on the disk; 0: unknown.

        What was read is on the disk once a sync behind it has returned.
        """
        for name in self._volume.list(self._directory):
            parsed = parse_log_name(name)
            if not parsed or (parsed.role, parsed.base) != (LogRole.CHECKPOINT, self._base):
                continue
            path = joined(self._directory, name)
            try:
                found = read_checkpoint(await read_file(self._volume, path))[0]
                file = self._volume.open(path)
                try:
                    await file.sync()
                finally:
                    file.close()
            except (EseError, StorageError):
                return 0
            return found.position.generation
        return 0


__all__ = ["LogServer"]
