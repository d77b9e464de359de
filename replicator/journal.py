"""The segmented, append-only log: the spool at the source, the journal at the replica.

Space for a whole segment is reserved when it is created, and the total is bounded:
:meth:`SegmentedLog.append` never goes beyond ``limit_bytes``.

Appending consists of plain calls only, so a writer's thread can drive it.  What is appended
is durable after :meth:`SegmentedLog.sync`.

Opening a log that an earlier process left is the business of
:mod:`replicator.log_recovery`; the files themselves are described in
:mod:`replicator.segments`, which of them are open in :mod:`replicator.open_segments`, what
they take of the limit in :mod:`replicator.log_room`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from replicator.errors import DamagedLog, NoSpace, NotFound, StorageError
from replicator.log_recovery import LogRecovery, set_aside
from replicator.log_room import TAIL_RESERVE_BYTES, LogRoom
from replicator.open_segments import OpenSegments
from replicator.records import (
    EMPTY_CHAIN,
    HEADER_BYTES,
    Record,
    RecordType,
    body_length,
    encode,
)
from replicator.runtime.port import Buffer, Volume, write_all
from replicator.segments import (
    FORMAT_VERSION,
    Damage,
    LogFull,
    LogKind,
    Position,
    Segment,
    segment_name,
    segment_numbers,
    whole_records,
)

_LARGEST: Final = (1 << 63) - 1
"""Of the numbers in a header."""
_SMALL_TYPES: Final = frozenset({RecordType.OUTCOME, RecordType.END})


class SegmentedLog:
    """A bounded log of records over one directory of a volume.

    Arguments
    ---------
    volume, directory: where; the directory must exist.
    kind, set_id: written into each segment and checked on recovery.
    segment_bytes: size of a segment; a record that is larger gets one of its own.
    limit_bytes: hard limit of all segments together, reserved space included.
    preamble: called at each new segment; what it returns is stored as a CATALOGUE record.
    is_synced: False when nobody will ever call :meth:`sync`.  Otherwise the file of a segment
        stays open from its first write to its sync: who appends must not go far without one
        (see :attr:`crowded`).
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        kind: LogKind,
        set_id: str,
        segment_bytes: int,
        limit_bytes: int,
        preamble: Callable[[], bytes] | None = None,
        is_synced: bool = True,
    ) -> None:
        self._volume = volume
        self.directory = directory
        self._kind = kind
        self._set_id = set_id
        # A name of letters abroad is long in JSON.
        header_bytes = len(self._header(*[_LARGEST] * 4))
        self.room = LogRoom(segment_bytes, limit_bytes, header_bytes, preamble)
        self.segments: list[Segment] = []
        self.used_bytes = 0
        """Space reserved by all segments."""
        self.appended_bytes = 0
        """Bytes of all chained records of this history, those in freed segments included."""
        self.chain = EMPTY_CHAIN
        """Checksum of the last chained record."""
        self.sequence = 0
        """Sequence number of the last chained record."""
        self.tail_was_torn = False
        """Whether recovery found something behind the last valid record that is none."""
        self.passed_over: Damage | None = None
        """What recovery found before the place where redo begins, and is not needed any more."""
        self._next_number = 1
        self._is_synced = is_synced
        self._names_unsynced = False
        self._files = OpenSegments(volume)

    @property
    def held_bytes(self) -> int:
        """Bytes written in the segments that are still there."""
        return sum(segment.end for segment in self.segments)

    @property
    def crowded(self) -> bool:
        """Whether so many segments wait for their sync that it is due before the next record."""
        return self._files.crowded

    # -- writing -------------------------------------------------------------------

    @property
    def end(self) -> Position:
        """Where the next record will be appended."""
        if not self.segments:
            return Position(self._next_number, 0)
        last = self.segments[-1]
        return Position(last.number, last.end)

    @property
    def start(self) -> Position:
        """The first chained record that is still held."""
        if not self.segments:
            return self.end
        return Position(self.segments[0].number, self.segments[0].data_start)

    def fits(self, sizes: Sequence[int], beside_bytes: int = 0) -> bool:
        """Whether records of these sizes surely find room, in whatever order they come.

        beside_bytes: of the newest segment, left over for small records that nobody announces.
            Where these records begin a new one, what they do not fill of that is left.
        """
        last = self.segments[-1] if self.segments else None
        room = last.reserved_bytes - last.end - TAIL_RESERVE_BYTES if last else 0
        if sum(sizes) + beside_bytes <= room:
            return True
        return self.room.needed_bytes(sizes) <= self._spare_bytes

    @property
    def _spare_bytes(self) -> int:
        return self.room.limit_bytes - self.used_bytes

    def append(
        self,
        record_type: int,
        epoch: int,
        sequence: int,
        floor: int,
        prefix: bytes,
        payload: Buffer = b"",
    ) -> None:
        """Append one chained record.  Raises LogFull, and NoSpace when the volume is full.

        After either nothing has changed.  Plain calls only.  ``sequence`` must not go down.
        """
        size = HEADER_BYTES + len(prefix) + len(payload)
        segment = self.segments[-1] if self.segments else None
        tail = 0 if record_type in _SMALL_TYPES else TAIL_RESERVE_BYTES
        if segment is None or segment.end + size + tail > segment.reserved_bytes:
            segment = self.roll(epoch, sequence, floor, size)
        head, checksum = encode(record_type, epoch, sequence, floor, self.chain, prefix, payload)
        offset = segment.end
        file = segment.file or self._files.file(segment)
        written = file.write_at(offset, head, payload) if payload else file.write_at(offset, head)
        if written != size:
            # Within the limit, and within what was reserved once: a power loss took that back.
            # What was written must go: a shorter record could come here, and the next segment
            # after it; then recovery would find a damaged record in the midst of safe ones.
            # After a power loss as well, so the next sync is about this segment too.
            file.truncate(offset)
            if self._is_synced:
                self._files.written(segment)
            raise NoSpace(
                f"only {written} of {size} bytes of a record could be written",
                path=segment.path,
                offset=offset,
            )
        segment.end = offset + size
        self.appended_bytes += size
        self.chain = checksum
        self.sequence = sequence
        if self._is_synced:
            self._files.written(segment)

    def roll(self, epoch: int, sequence: int, floor: int, size: int = 0) -> Segment:
        """Open a new segment for a record of ``size`` bytes numbered ``sequence``.

        Raises LogFull, and StorageError when the volume refuses; then nothing has changed.
        Plain calls only.
        """
        preamble = self.room.preamble()
        reserve = self.room.reserve_bytes(size, preamble)
        if reserve > self._spare_bytes:
            raise LogFull
        number = self._next_number
        path = f"{self.directory}/{segment_name(number)}"
        header = self._header(number, self.sequence, self.appended_bytes, reserve)
        head, _ = encode(RecordType.SEGMENT, epoch, sequence, floor, self.chain, b"", header)
        file = self._volume.create(path)
        try:
            file.allocate(0, reserve)
            offset = write_all(file, 0, head, header)
            if preamble:
                head, _ = encode(
                    RecordType.CATALOGUE, epoch, sequence, floor, self.chain, b"", preamble
                )
                offset += write_all(file, offset, head, preamble)
        except StorageError:
            file.close()
            self._volume.unlink(path)  # or the next attempt would find the name taken
            raise
        segment = Segment(
            number, path, sequence, offset, offset, reserve, self.appended_bytes, file
        )
        self.segments.append(segment)
        self._next_number = number + 1
        self.used_bytes += reserve
        self._names_unsynced = True
        if self._is_synced:
            self._files.written(segment)
        self._files.append_to(segment)
        return segment

    def _header(self, number: int, before: int, bytes_before: int, reserved: int) -> bytes:
        """What stands in the header of a segment, as JSON."""
        return json.dumps(
            {
                "format": FORMAT_VERSION,
                "kind": self._kind,
                "set": self._set_id,
                "number": number,
                "before": before,
                "bytes_before": bytes_before,
                "reserved": reserved,
            }
        ).encode()

    async def sync(self) -> None:
        """Make all that was appended before this call durable.

        A call that is cancelled leaves everything to the next one.  Raises SyncFailed; then
        so does every later call, until what was lost is freed.
        """
        if not self._is_synced:
            raise RuntimeError("this log was opened as one that nobody syncs")
        await self._files.sync()
        if self._names_unsynced:
            newest = self._next_number
            await self._volume.sync_directory(self.directory)
            self._names_unsynced = self._next_number != newest

    def free_before(self, number: int) -> int:
        """Remove the segments numbered below ``number``, never the last; returns their bytes."""
        freed = 0
        while len(self.segments) > 1 and self.segments[0].number < number:
            freed += self._drop(self.segments.pop(0))
        return freed

    def free_through(self, sequence: int) -> int:
        """Remove segments that hold nothing numbered above ``sequence``; returns their bytes."""
        keep = 0
        while (
            keep + 1 < len(self.segments) and self.segments[keep + 1].first_sequence <= sequence + 1
        ):
            keep += 1
        return self.free_before(self.segments[keep].number) if keep else 0

    def clear(self, chain: bytes, sequence: int) -> None:
        """Remove everything and begin a new history after ``sequence`` with link ``chain``."""
        self.drop_all()
        for number in segment_numbers(self._volume, self.directory):
            self._volume.unlink(f"{self.directory}/{segment_name(number)}")
            self._next_number = max(self._next_number, number + 1)
        self.chain, self.sequence = chain, sequence
        self.appended_bytes = 0

    def drop_all(self) -> None:
        """Remove all segments, the newest first."""
        while self.segments:
            self._drop(self.segments.pop())

    def _drop(self, segment: Segment) -> int:
        self._files.drop(segment)
        self._volume.unlink(segment.path)
        self.used_bytes -= segment.reserved_bytes
        return segment.reserved_bytes

    def close(self) -> None:
        """Close the segments' files; the log is of no use any more."""
        for segment in self.segments:
            self._files.drop(segment)
        self.segments.clear()

    # -- reading -------------------------------------------------------------------

    def segment(self, number: int) -> Segment:
        """The segment of that number; raises NotFound."""
        index = number - self.segments[0].number if self.segments else -1
        if 0 <= index < len(self.segments):
            return self.segments[index]
        raise NotFound("the segment was freed", path=f"{self.directory}/{segment_name(number)}")

    async def read(
        self, position: Position, end: Position, max_bytes: int
    ) -> tuple[bytes, int, Position]:
        """Whole records from ``position`` on, at most about ``max_bytes``, none beyond ``end``.

        Returns the bytes, the offset of the last record in them, and where to go on;
        ``b""`` only when ``position`` has reached ``end``.  A record that is larger
        than ``max_bytes`` comes alone.  Bytes are as stored and not yet verified.
        """
        position = self.skip_to_record(position, end)
        segment = self.segment(position.segment)
        limit = end.offset if end.segment == segment.number else segment.end
        available = limit - position.offset
        if available <= 0:
            return b"", 0, position
        with self._files.use(segment) as file:
            data = await file.read_at(position.offset, min(max_bytes, available))
            length, last = whole_records(data)
            if length == 0:
                body = body_length(data, 0)
                if body < 0 or HEADER_BYTES + body > available:
                    raise DamagedLog(
                        "no record where one must be", path=segment.path, offset=position.offset
                    )
                length = HEADER_BYTES + body
                data = await file.read_at(position.offset, length)
        if length < len(data):
            data = data[:length]
        return data, last, Position(segment.number, position.offset + length)

    def skip_to_record(self, position: Position, end: Position) -> Position:
        """The same place, or the first record of the next segment when this one is over."""
        while position.segment < end.segment and position.offset >= (
            self.segment(position.segment).end
        ):
            following = self.segment(position.segment + 1)
            position = Position(following.number, following.data_start)
        return position

    # -- recovery ------------------------------------------------------------------

    async def recover(
        self,
        visit: Callable[[Record, Position], None],
        first_segment: int = 0,
        start_chain: bytes | None = None,
        redo_offset: int = 0,
    ) -> Damage | None:
        """Open what is on disk: verify, erase a torn tail, report damage.

        Arguments
        ---------
        visit: called with each valid record, control records included, in order.
        first_segment: segments below it were freed before; they are removed.
        start_chain: the link that the first segment must continue; None takes its word.
        redo_offset: of the first segment: what is before it is not needed any more, and is
            passed over where it does not fit (:attr:`passed_over`).

        Raises ForeignLog.  After damage the log holds what is before it, and the rest stays
        on disk untouched until :meth:`set_aside`.
        """
        found = LogRecovery(self._volume, self.directory, self._kind, self._set_id, visit)
        damage = await found.scan(first_segment, start_chain, redo_offset)
        for segment in found.segments:
            self._adopt(segment)
        if found.segments:
            self.chain, self.sequence = found.chain, found.sequence
            self._files.append_to(found.segments[-1])
        self._next_number = found.next_number
        self.tail_was_torn = found.tail_was_torn
        self.passed_over = found.passed_over
        return damage

    def _adopt(self, segment: Segment) -> None:
        # What was read may stand in the page cache only: after a crash of the process
        # nobody knows what had been synced.
        self.segments.append(segment)
        self._names_unsynced = True
        if self._is_synced:
            self._files.found(segment)
        self.appended_bytes = segment.total_at(segment.end)
        # It may have been made larger than others, for one long record that never came.
        segment.reserved_bytes = max(segment.end, self.room.segment_bytes, segment.reserved_bytes)
        self.used_bytes += segment.reserved_bytes

    async def write_again(self) -> None:
        """Write once more what recovery read, so that the next sync vouches for it.

        The process before may have died of a failed sync: its pages read well from the
        cache, count as written, and are not on the medium.  The same bytes in the same
        place: a crash in between harms nothing.  Of many segments the most are synced on the
        way.
        """
        for segment in self.segments:
            await self._files.write_again(segment)
            if self.crowded:
                await self._files.sync_written()

    async def set_aside(self, directory: str) -> None:
        """Put what recovery did not take over into ``directory``, which exists.

        The log can then grow again; nothing is deleted.  Raises NoSpace.
        """
        for number in segment_numbers(self._volume, self.directory):
            self._next_number = max(self._next_number, number + 1)
        last = self.segments[-1] if self.segments else None
        file = None if last is None else self._files.file(last)
        await set_aside(self._volume, self.directory, self.segments, file, directory)
        if last is not None:
            self._files.written(last)
            # It waits since it was found, so this makes a second sync of it.  That costs little,
            # and recorded fault plans name the steps of a disk by their number.
            self._files.found(last)
            self._next_number = last.number + 1


__all__ = [
    "Damage",
    "LogFull",
    "LogKind",
    "Position",
    "Segment",
    "SegmentedLog",
]
