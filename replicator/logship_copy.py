"""The copy's questions to the source: which logs there are, and one log at a time, in order.

A log is read in pieces and written as they come, into the inspection directory: memory is that of
a piece.  What was broken off is begun anew: a log has some megabytes, and nothing of it counts
before all of it was inspected.
"""

from __future__ import annotations

from typing import NamedTuple

from replicator.errors import ProtocolViolation
from replicator.ese.log_header import HEADER_BYTES, read_log_header
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.log_set import LogSummary
from replicator.ese.reader import BytesReader
from replicator.ese.recovery_files import LOG_MOST_BYTES
from replicator.logship_frames import Received, Refused, ShipFrame, receive, send_document, text
from replicator.logship_frames import whole as whole_number
from replicator.runtime.port import Stream, Volume, write_all


class Listing(NamedTuple):
    """What the source says of its closed logs."""

    wall_ns: int
    """By its clock: the listing is not older than that."""
    oldest: int
    newest: int
    """0 where it has none."""
    log_bytes: int


class OfferedLog(NamedTuple):
    """A closed log that the source has."""

    generation: int
    name: str
    size_bytes: int
    as_of_ns: int | None
    """By its clock: what was written before is in this log or an earlier one."""


class LogCopier:
    """Asks over one connection.

    Arguments
    ---------
    stream: the connection.
    set_id: of the log set.
    patience_ns: so long the source may be silent.

    Every method raises ConnectionLost, TimedOut, ProtocolViolation, and Refused.
    """

    def __init__(self, stream: Stream, set_id: str, patience_ns: int) -> None:
        self._stream = stream
        self._set_id = set_id
        self._patience_ns = patience_ns

    async def listing(self, inspected: int, replayed: int, *, lagged: bool) -> Listing:
        """Which logs there are.

        Arguments
        ---------
        inspected, replayed: what the copy has done with, for the source's own housekeeping.
        lagged: replay is behind on purpose, so the inspected ones count.
        """
        await send_document(
            self._stream,
            ShipFrame.LIST,
            set=self._set_id,
            inspected=inspected,
            replayed=replayed,
            lagged=lagged,
        )
        found = (await self._answer(ShipFrame.LISTING)).document
        oldest, newest = whole_number(found, "oldest"), whole_number(found, "newest")
        log_bytes = whole_number(found, "log_bytes")
        if oldest > newest or log_bytes > LOG_MOST_BYTES:
            raise ProtocolViolation("the listing contradicts itself")
        return Listing(whole_number(found, "wall_ns"), oldest, newest, log_bytes)

    async def offered(self, generation: int) -> OfferedLog:
        """What the source says of one log; Refused with code ``missing`` where it has none."""
        await send_document(self._stream, ShipFrame.OPEN, generation=generation)
        found = (await self._answer(ShipFrame.LOG)).document
        name, size = text(found, "name", 40), whole_number(found, "size_bytes")
        parsed = parse_log_name(name)
        if parsed is None or parsed.role is not LogRole.CLOSED or parsed.generation != generation:
            raise ProtocolViolation(f"{name!r} is no name of generation 0x{generation:X}")
        if size > LOG_MOST_BYTES or "/" in name:
            raise ProtocolViolation(f"no log has {size:,} bytes")
        return OfferedLog(generation, name, size, whole_number(found, "as_of_ns") or None)

    async def read(self, generation: int, offset: int, length: int) -> bytes:
        """A piece of a log; shorter only at its end."""
        await send_document(
            self._stream, ShipFrame.READ, generation=generation, offset=offset, length=length
        )
        data = (await self._answer(ShipFrame.DATA)).payload
        if len(data) > length:
            raise ProtocolViolation(f"{len(data)} bytes came, {length} were asked for")
        return data

    async def fetch(self, log: OfferedLog, volume: Volume, path: str, piece_bytes: int) -> None:
        """Bring a log over, into a file that is made anew; it is not durable yet.

        Raises StorageError too.
        """
        if volume.exists(path):
            volume.unlink(path)
        file = volume.create(path)
        try:
            at = 0
            while at < log.size_bytes:
                data = await self.read(log.generation, at, min(piece_bytes, log.size_bytes - at))
                if not data:
                    break  # cut short at the source: its inspection will tell
                await volume.admit(len(data))
                write_all(file, at, data)
                at += len(data)
        finally:
            file.close()

    async def _answer(self, wanted: ShipFrame) -> Received:
        answer = await receive(self._stream, self._patience_ns)
        if answer.type is ShipFrame.REFUSED:
            document = answer.document
            raise Refused(text(document, "message", 500), text(document, "code"))
        if answer.type is not wanted:
            raise ProtocolViolation(f"{answer.type.name} came, {wanted.name} was due")
        return answer


async def difference(copier: LogCopier, mine: LogSummary) -> str:
    """In which way a log of the copy is another one than the source's; empty where it is not.

    Empty as well where the source has deleted its own: whether the next one follows is found at
    its inspection.  Raises as the methods of :class:`LogCopier`, and EseError for a header that
    cannot be used.
    """
    generation = mine.generation or 0
    try:
        data = await copier.read(generation, 0, HEADER_BYTES)
    except Refused:
        return ""
    its = read_log_header(BytesReader(data, mine.name.name))
    if mine.header is None or (mine.header.log_signature, mine.header.created) == (
        its.log_signature,
        its.created,
    ):
        return ""
    return (
        f"generation 0x{generation:X} was created {mine.header.created} here, {its.created} at the "
        "source: the two have parted, and the copy has to be seeded anew"
    )


__all__ = ["Listing", "LogCopier", "OfferedLog", "difference"]
