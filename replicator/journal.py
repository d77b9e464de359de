"""The segmented, append-only log: the spool at the source, the journal at the replica.

A log is a directory of segment files ``00000001.segment`` ...; each begins with a SEGMENT
record (format, kind, protected set, link of the chain) and, where the owner wants one, a
CATALOGUE record; then records follow back to back.  Space for a whole segment is reserved
when it is created, and the total is bounded: :meth:`SegmentedLog.append` never goes beyond
``limit_bytes``.

Appending consists of plain calls only, so a writer's thread can drive it.  What is appended
is durable after :meth:`SegmentedLog.sync`.

Recovery (:meth:`SegmentedLog.recover`) scans while checksum and chain hold.  At the first
record that does not fit it looks further: a valid record behind, whose ``floor`` says that
the missing one had been safe, makes it *damage* that is reported and left in place;
otherwise it is the torn tail of what was never promised and is erased.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from replicator.errors import DamagedLog, ForeignLog, NotFound, StorageError
from replicator.records import (
    EMPTY_CHAIN,
    HEADER_BYTES,
    MAGIC,
    InvalidRecord,
    Record,
    RecordType,
    body_length,
    decode,
    encode,
    find_valid,
)
from replicator.runtime.port import Buffer, File, Volume
from replicator.untrusted import json_object, whole_number

FORMAT_VERSION: Final = 1
SUFFIX: Final = ".segment"
_LENGTH: Final = struct.Struct("<4s4xI")
TAIL_RESERVE_BYTES: Final = 256
"""Kept free at the end of each segment for the records that must always find room there."""
_SMALL_TYPES: Final = frozenset({RecordType.OUTCOME, RecordType.END})


class LogKind(StrEnum):
    """Whose log it is; a spool is never taken for a journal."""

    SPOOL = "spool"
    JOURNAL = "journal"


RECORD_TYPES: Final[dict[LogKind, frozenset[int]]] = {
    LogKind.SPOOL: frozenset(
        {
            RecordType.SEGMENT,
            RecordType.CATALOGUE,
            RecordType.OPERATION,
            RecordType.OUTCOME,
            RecordType.END,
        }
    ),
    LogKind.JOURNAL: frozenset({RecordType.SEGMENT, RecordType.BATCH, RecordType.COMMIT}),
}
"""What a log consists of; anything else that looks like a record is data."""


class Position(NamedTuple):
    """A place between two records."""

    segment: int
    offset: int


class LogFull(Exception):
    """The hard limit leaves no room for this record."""


@dataclass(slots=True)
class Segment:
    """One segment file."""

    number: int
    path: str
    file: File
    first_sequence: int
    """Sequence number of the first chained record in it, or of the next one to come."""
    data_start: int = 0
    end: int = 0
    reserved_bytes: int = 0
    base_bytes: int = 0
    """Bytes of records appended to the log before this segment."""

    def total_at(self, offset: int) -> int:
        """Bytes of records appended to the log up to ``offset`` in this segment."""
        return self.base_bytes + max(0, offset - self.data_start)


@dataclass(frozen=True, slots=True)
class Damage:
    """A promised record that is not there any more."""

    path: str
    offset: int
    last_good_sequence: int
    reason: str

    def error(self) -> DamagedLog:
        return DamagedLog(
            f"{self.reason}; everything after number {self.last_good_sequence} is in doubt",
            path=self.path,
            offset=self.offset,
        )


def segment_name(number: int) -> str:
    """File name of a segment."""
    return f"{number:08d}{SUFFIX}"


def segment_numbers(volume: Volume, directory: str) -> list[int]:
    """Numbers of the segment files in a directory, ascending."""
    found = []
    for name in volume.list(directory):
        digits = name.removesuffix(SUFFIX)
        # isdecimal alone knows the digits of every script.
        if digits.isascii() and digits.isdecimal() and name == segment_name(int(digits)):
            found.append(int(digits))
    return sorted(found)


def read_segment_header(data: bytes, path: str, kind: LogKind, set_id: str | None) -> Record:
    """The SEGMENT record that opens a segment.

    Raises InvalidRecord when it is torn, ForeignLog when it is somebody else's.
    """
    record = decode(data, 0)
    if record.type != RecordType.SEGMENT:
        raise InvalidRecord(0, "a segment must open with its own header")
    try:
        header = json_object(record.payload)
        if not isinstance(header.get("set"), str):
            raise ValueError("'set' is no text")
        whole_number(header, "before")
    except ValueError as error:
        raise InvalidRecord(0, f"the segment's header cannot be understood: {error}") from None
    if header.get("format") != FORMAT_VERSION:
        raise ForeignLog(
            f"written in format {header.get('format')}; this release reads {FORMAT_VERSION}",
            path=path,
            offset=0,
            remedy="Use the release that wrote it, or start with an empty directory.",
        )
    if header.get("kind") != kind:
        raise ForeignLog(f"this is a {header.get('kind')}, not a {kind}", path=path, offset=0)
    if set_id is not None and header.get("set") != set_id:
        raise ForeignLog(
            f"it belongs to the protected set {header.get('set')!r}, not {set_id!r}",
            path=path,
            offset=0,
        )
    return record


class SegmentedLog:
    """A bounded log of records over one directory of a volume.

    Arguments
    ---------
    volume, directory: where; the directory must exist.
    kind, set_id: written into each segment and checked on recovery.
    segment_bytes: size of a segment; a record that is larger gets one of its own.
    limit_bytes: hard limit of all segments together, reserved space included.
    preamble: called at each new segment; what it returns is stored as a CATALOGUE record.
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
    ) -> None:
        if limit_bytes < 2 * segment_bytes:
            raise ValueError("the limit must hold at least two segments")
        self._volume = volume
        self.directory = directory
        self._kind = kind
        self._set_id = set_id
        self._segment_bytes = segment_bytes
        self.limit_bytes = limit_bytes
        self._preamble = preamble
        self.segments: list[Segment] = []
        self.used_bytes = 0
        """Space reserved by all segments."""
        self.appended_bytes = 0
        """Bytes of all records appended or recovered since the log was opened."""
        self.chain = EMPTY_CHAIN
        """Checksum of the last chained record."""
        self.sequence = 0
        """Sequence number of the last chained record."""
        self._next_number = 1
        self._unsynced: list[Segment] = []
        self._names_unsynced = False

    @property
    def held_bytes(self) -> int:
        """Bytes written in the segments that are still there."""
        return sum(segment.end for segment in self.segments)

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

    def room_bytes(self) -> int:
        """What can surely still be appended, in records of any size up to a segment's."""
        last = self.segments[-1] if self.segments else None
        room = max(0, last.reserved_bytes - last.end) if last else 0
        spare = (self.limit_bytes - self.used_bytes) // self._segment_bytes
        return room + spare * (self._segment_bytes // 2)

    def append(
        self,
        record_type: int,
        epoch: int,
        sequence: int,
        floor: int,
        prefix: bytes,
        payload: Buffer = b"",
    ) -> None:
        """Append one chained record.  Raises LogFull.

        Plain calls only.  ``sequence`` must not go down.
        """
        size = HEADER_BYTES + len(prefix) + len(payload)
        segment = self.segments[-1] if self.segments else None
        tail = 0 if record_type in _SMALL_TYPES else TAIL_RESERVE_BYTES
        if segment is None or segment.end + size + tail > segment.reserved_bytes:
            segment = self.roll(epoch, sequence, floor, size)
        head, checksum = encode(record_type, epoch, sequence, floor, self.chain, prefix, payload)
        offset = segment.end
        written = (
            segment.file.write_at(offset, head, payload)
            if payload
            else (segment.file.write_at(offset, head))
        )
        if written != size:
            raise LogFull
        segment.end = offset + size
        self.appended_bytes += size
        self.chain = checksum
        self.sequence = sequence
        if not self._unsynced or self._unsynced[-1] is not segment:
            self._unsynced.append(segment)

    def roll(self, epoch: int, sequence: int, floor: int, size: int = 0) -> Segment:
        """Open a new segment for a record of ``size`` bytes numbered ``sequence``.

        Raises LogFull.  Plain calls only.
        """
        preamble = self._preamble() if self._preamble is not None else b""
        overhead = 2 * HEADER_BYTES + 256 + len(preamble) + TAIL_RESERVE_BYTES
        reserve = max(self._segment_bytes, size + overhead)
        if self.used_bytes + reserve > self.limit_bytes:
            raise LogFull
        number = self._next_number
        path = f"{self.directory}/{segment_name(number)}"
        file = self._volume.create(path)
        try:
            file.allocate(0, reserve)
        except StorageError:
            file.close()
            self._volume.unlink(path)  # or the next attempt would find the name taken
            raise
        header = json.dumps(
            {
                "format": FORMAT_VERSION,
                "kind": self._kind,
                "set": self._set_id,
                "number": number,
                "before": self.sequence,
            }
        ).encode()
        head, _ = encode(RecordType.SEGMENT, epoch, sequence, floor, self.chain, b"", header)
        offset = file.write_at(0, head, header)
        if preamble:
            head, _ = encode(
                RecordType.CATALOGUE, epoch, sequence, floor, self.chain, b"", preamble
            )
            offset += file.write_at(offset, head, preamble)
        segment = Segment(
            number, path, file, sequence, offset, offset, reserve, self.appended_bytes
        )
        self.segments.append(segment)
        self._next_number = number + 1
        self.used_bytes += reserve
        self._unsynced.append(segment)
        self._names_unsynced = True
        return segment

    async def sync(self) -> None:
        """Make all that was appended before this call durable.

        A call that is cancelled leaves everything to the next one.
        """
        for segment in list(self._unsynced):
            end = segment.end
            await segment.file.sync()
            if segment.end == end and segment in self._unsynced:
                self._unsynced.remove(segment)
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
        while self.segments:
            self._drop(self.segments.pop())
        for number in segment_numbers(self._volume, self.directory):
            self._volume.unlink(f"{self.directory}/{segment_name(number)}")
            self._next_number = max(self._next_number, number + 1)
        self.chain, self.sequence = chain, sequence
        self._unsynced.clear()

    def _drop(self, segment: Segment) -> int:
        segment.file.close()
        self._volume.unlink(segment.path)
        self.used_bytes -= segment.reserved_bytes
        if segment in self._unsynced:
            self._unsynced.remove(segment)
        return segment.reserved_bytes

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
        data = await segment.file.read_at(position.offset, min(max_bytes, available))
        length, last = _whole_records(data)
        if length == 0:
            body = body_length(data, 0)
            if body < 0 or HEADER_BYTES + body > available:
                raise DamagedLog(
                    "no record where one must be", path=segment.path, offset=position.offset
                )
            length = HEADER_BYTES + body
            data = await segment.file.read_at(position.offset, length)
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

    async def find(self, sequence: int) -> Position | None:
        """Where the first record numbered at least ``sequence`` begins; None if it was freed.

        The end of the log when there is none yet.
        """
        if sequence > self.sequence:
            return self.end
        if not self.segments or sequence < self.segments[0].first_sequence:
            return None
        firsts = [segment.first_sequence for segment in self.segments]
        index = max(0, bisect_right(firsts, sequence) - 1)
        while index > 0 and firsts[index - 1] == firsts[index]:
            index -= 1
        position = Position(self.segments[index].number, self.segments[index].data_start)
        while position < self.end:
            data, _last, after = await self.read(position, self.end, 1 << 18)
            offset = 0
            while offset < len(data):
                record = decode(data, offset)
                if record.sequence >= sequence and record.type < RecordType.SEGMENT:
                    return Position(after.segment, after.offset - len(data) + offset)
                offset += record.size_bytes
            position = after
        return self.end

    # -- recovery ------------------------------------------------------------------

    async def recover(
        self,
        visit: Callable[[Record, Position], None],
        first_segment: int = 0,
        start_chain: bytes | None = None,
    ) -> Damage | None:
        """Open what is on disk: verify, erase a torn tail, report damage.

        Arguments
        ---------
        visit: called with each valid record, control records included, in order.
        first_segment: segments below it were freed before; they are removed.
        start_chain: the link that the first segment must continue; None takes its word.

        Raises ForeignLog.  After damage the log holds what is before it, and the rest stays
        on disk untouched until :meth:`discard_damaged`.
        """
        numbers = segment_numbers(self._volume, self.directory)
        for number in [n for n in numbers if n < first_segment]:
            self._volume.unlink(f"{self.directory}/{segment_name(number)}")
        numbers = [n for n in numbers if n >= first_segment]
        self._next_number = max([first_segment, 1, *(n + 1 for n in numbers)])
        chain = start_chain
        expected = numbers[0] if numbers else 0
        if numbers and first_segment and expected != first_segment:
            path = f"{self.directory}/{segment_name(first_segment)}"
            return Damage(path, 0, self.sequence, "the segment is missing")
        for index, number in enumerate(numbers):
            path = f"{self.directory}/{segment_name(number)}"
            if number != expected + index:
                path = f"{self.directory}/{segment_name(expected + index)}"
                return Damage(path, 0, self.sequence, "the segment is missing")
            bad = await self._recover_segment(number, path, chain, visit)
            chain = self.chain
            if bad is not None:
                offset, reason = bad
                if await self._promised_later(numbers[index:], offset):
                    return Damage(path, offset, self.sequence, reason)
                await self._erase_tail(numbers[index:], path, offset)
                break
        return None

    async def _recover_segment(
        self,
        number: int,
        path: str,
        chain: bytes | None,
        visit: Callable[[Record, Position], None],
    ) -> tuple[int, str] | None:
        file = self._volume.open(path)
        data = await file.read_at(0, file.size_bytes)
        offset = 0
        segment: Segment | None = None
        try:
            while offset < len(data):
                if segment is None:
                    record = read_segment_header(data, path, self._kind, self._set_id)
                    if chain is not None and record.previous != chain:
                        raise InvalidRecord(0, "the segment does not continue the one before")
                    before = whole_number(json_object(record.payload), "before")
                    self.chain, self.sequence = record.previous, before
                    segment = Segment(number, path, file, before + 1, reserved_bytes=len(data))
                    self.segments.append(segment)
                    visit(record, Position(number, offset))
                else:
                    record = decode(data, offset)
                    if record.previous != self.chain:
                        raise InvalidRecord(offset, "the record does not follow the one before")
                    if record.type < RecordType.SEGMENT:
                        if record.sequence < self.sequence:
                            raise InvalidRecord(offset, "the sequence number goes back")
                        visit(record, Position(number, offset))  # may refuse it: first
                        self.chain, self.sequence = record.checksum, record.sequence
                    else:
                        visit(record, Position(number, offset))
                offset += record.size_bytes
                segment.end = offset
                if record.type >= RecordType.SEGMENT:
                    segment.data_start = offset
        except InvalidRecord as invalid:
            if segment is None:
                file.close()
            else:
                self._account(segment)
            return offset, invalid.reason
        if segment is None:
            file.close()
            return 0, "the segment is empty"
        self._account(segment)
        return None

    def _account(self, segment: Segment) -> None:
        # What is read here may stand in the page cache only: after a crash of the process
        # nobody knows what had been synced.
        self._unsynced.append(segment)
        self._names_unsynced = True
        segment.base_bytes = self.appended_bytes
        self.appended_bytes += segment.end - segment.data_start
        segment.reserved_bytes = max(segment.end, self._segment_bytes)
        self.used_bytes += segment.reserved_bytes

    async def _promised_later(self, numbers: list[int], offset: int) -> bool:
        """Whether a valid record behind says that the invalid one had been safe."""
        missing = self.sequence + 1
        for index, number in enumerate(numbers):
            file = self._volume.open(f"{self.directory}/{segment_name(number)}")
            data = await file.read_at(0, file.size_bytes)
            file.close()
            at = offset + 1 if index == 0 else 0
            while (found := find_valid(data, at)) is not None:
                record, at = found
                # A batch that was not compressed holds whole records of the source, whose
                # floors count other things; torn, it must not testify against itself.
                if record.type in RECORD_TYPES[self._kind] and record.floor >= missing:
                    return True
                at += record.size_bytes
        return False

    async def _erase_tail(self, numbers: list[int], path: str, offset: int) -> None:
        for number in reversed(numbers[1:]):
            self._volume.unlink(f"{self.directory}/{segment_name(number)}")
        if self.segments and self.segments[-1].path == path:
            self.segments[-1].file.truncate(offset)
            await self.segments[-1].file.sync()
        else:
            self._volume.unlink(path)
        await self._volume.sync_directory(self.directory)
        self._next_number = numbers[0] + (
            1 if self.segments and self.segments[-1].path == path else 0
        )

    def set_aside(self, directory: str) -> None:
        """Move segments that recovery did not take over into ``directory``, which exists.

        The log can then grow again; nothing is deleted.
        """
        kept = {segment.number for segment in self.segments}
        for number in segment_numbers(self._volume, self.directory):
            if number not in kept:
                old = f"{self.directory}/{segment_name(number)}"
                self._volume.rename(old, f"{directory}/{segment_name(number)}.damaged")
                self._next_number = max(self._next_number, number + 1)
        if self.segments:
            last = self.segments[-1]
            last.file.truncate(last.end)
            self._unsynced.append(last)
            self._next_number = last.number + 1


def _whole_records(data: bytes) -> tuple[int, int]:
    """Length of the whole records at the start of ``data``, and where the last begins."""
    offset, last, total = 0, 0, len(data)
    unpack = _LENGTH.unpack_from
    while offset + HEADER_BYTES <= total:
        magic, length = unpack(data, offset)
        following: int = offset + HEADER_BYTES + length
        if magic != MAGIC or following > total:
            break
        last, offset = offset, following
    return offset, last


def describe(record: Record) -> dict[str, Any]:
    """The fields of a record, for people and for ``--json``."""
    return {
        "type": RecordType(record.type).name.lower()
        if record.type in set(RecordType)
        else str(record.type),
        "epoch": record.epoch,
        "sequence": record.sequence,
        "floor": record.floor,
        "bytes": record.size_bytes,
        "previous": record.previous.hex(),
        "checksum": record.checksum.hex(),
    }
