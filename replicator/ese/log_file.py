"""One log: its header, where its data ends, and its records one by one.

What a version's content looks like is known to ``log_segments`` (version 8, whose records are put
together here) and to ``log_v7`` and ``log_v7_records``; a :class:`LogFile` picks by its header.

Walking reads only the fields that give the length of a record; content is decoded when it is
asked for.  Memory is that of a chunk of segments and one record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from replicator.ese.errors import EseError
from replicator.ese.log_header import (
    LOG_CORRUPT,
    SEGMENT_BYTES,
    LogHeader,
    read_log_header,
)
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import LENGTHS, RECORD_BYTES_MAX, Kind, title_of
from replicator.ese.log_scan import LogScan
from replicator.ese.log_segments import (
    CORRUPT_EVENTS,
    SEGMENT_HEADER_BYTES,
    Segment,
    data_segments,
    scan_segments,
)
from replicator.ese.log_v7 import scan_sectors
from replicator.ese.log_v7_records import SectorRecords
from replicator.ese.reader import Reader, name_of
from replicator.ese.recall import KnownLog, key_of, recall
from replicator.ese.values import LogPosition

__all__ = ["LogFile", "LogRecord"]

_FRAGMENT_BEGIN: Final = struct.Struct("<xIH")
_FRAGMENT_BEGIN_BYTES: Final = _FRAGMENT_BEGIN.size
_FRAGMENT_BYTES: Final = 3
_KNOWN_WEIGHT: Final = 8
"""Bytes in memory of a log's records and what they say, for each byte of the file."""


class LogFile:
    """A log that was opened: header and content are judged, records not yet read.

    Arguments
    ---------
    reader: the file; it must stay open as long as records are read.
    closed: whether the log is complete, so that nothing in it may be torn; the current log of a
        store is not.

    Raises EseError: -501 when header or content are damaged, -514 for a version that is not
    read here, -541 when the file is shorter or longer than its header says, -1022 when it cannot
    be read.
    """

    def __init__(self, reader: Reader, *, closed: bool) -> None:
        self._reader = reader
        self.path = name_of(reader)
        self.closed = closed
        tables, key = recall(), None
        known: KnownLog | None = None
        if tables is not None:
            key = key_of(memoryview(reader.read_at(0, reader.size_bytes)), int(closed))
            known = tables.logs.get(key)
        self.header: LogHeader = read_log_header(reader) if known is None else known.header
        try:
            self.header.check_geometry(reader.size_bytes)
        except EseError as error:
            error.path = self.path
            raise
        if self.header.is_segmented:
            self._content: _Content = _Segments(reader, self.header, closed)
        else:
            if known is None:
                known = KnownLog(self.header, scan_sectors(reader, self.header))
                if tables is not None and key is not None:
                    tables.logs.keep(key, known, _KNOWN_WEIGHT * reader.size_bytes)
            self._content = _Sectors(reader, known, closed, keep_records=tables is not None)
        self.scan: LogScan = self._content.scan
        damage = self.scan.damage(self.path, closed=closed)
        if damage is not None:
            raise damage

    @property
    def generation(self) -> int:
        return self.header.generation

    def notes(self) -> tuple[EseError, ...]:
        """What is worth telling and no error."""
        return tuple(self.scan.notes(self.path))

    def records(self) -> Iterator[LogRecord]:
        """The records in order; pieces are put together, padding is passed over.

        At the end of a log that is not closed a record may lack its end: it was never confirmed
        and is left out.  Raises EseError: -501 where the bytes make no sense, -514 at a record
        of version 7 whose length is not known.
        """
        return self._content.records()

    @property
    def reached(self) -> LogPosition | None:
        """Where the record begins that :meth:`records` came to last, be it whole or not."""
        return self._content.reached


class _Content(Protocol):
    """A log's content, of one version."""

    reached: LogPosition | None

    @property
    def scan(self) -> LogScan: ...

    def records(self) -> Iterator[LogRecord]: ...


class _Sectors:
    """Of version 7."""

    def __init__(
        self, reader: Reader, known: KnownLog, closed: bool, *, keep_records: bool
    ) -> None:
        self._reader, self._known = reader, known
        self._closed = closed
        self._keep_records = keep_records
        self.reached: LogPosition | None = None
        self.scan: LogScan = known.scan

    def records(self) -> Iterator[LogRecord]:
        known = self._known
        if known.records is not None:
            return iter(known.records)
        found = iter(SectorRecords(self._reader, known.header, known.scan, closed=self._closed))
        return self._kept(found) if self._keep_records else found

    def _kept(self, records: Iterator[LogRecord]) -> Iterator[LogRecord]:
        """The records, kept when they were walked to the end."""
        walked: list[LogRecord] = []
        for record in records:
            walked.append(record)
            yield record
        self._known.records = tuple(walked)


class _Segments:
    """Of version 8."""

    def __init__(self, reader: Reader, header: LogHeader, closed: bool) -> None:
        self._reader = reader
        self.path = name_of(reader)
        self.header = header
        self.closed = closed
        self.reached: LogPosition | None = None
        self.scan = scan_segments(reader, header)

    @property
    def generation(self) -> int:
        return self.header.generation

    def records(self) -> Iterator[LogRecord]:
        pieces: _Pieces | None = None
        for segment in data_segments(self._reader, self.header, self.scan):
            data, number = segment.data, segment.number
            at = SEGMENT_HEADER_BYTES
            while at < SEGMENT_BYTES:
                kind = data[at]
                if kind == Kind.NOP:
                    at = _behind_zeros(data, at)
                    continue
                if pieces is None:
                    self.reached = LogPosition(self.generation, number, at)
                end = self._end_of(data, at, segment)
                if kind == Kind.FRAGMENT_BEGIN:
                    if pieces is not None:
                        raise self._damage(segment, at, "a second record begins in pieces")
                    pieces = self._first_piece(segment, at, end)
                elif kind == Kind.FRAGMENT:
                    if pieces is None:
                        raise self._damage(segment, at, "a piece has no beginning")
                    pieces.data += data[at + _FRAGMENT_BYTES : end]
                elif pieces is not None and (at, kind) not in _AFTER_TORN_RECORD:
                    raise self._damage(segment, at, "a record stands between two pieces")
                else:
                    pieces = None  # else its last pieces were torn off, and recovery went on here
                    yield LogRecord(LogPosition(self.generation, number, at), data[at:end])
                if pieces is not None and len(pieces.data) >= pieces.total:
                    yield self._joined(pieces, segment, at)
                    pieces = None
                at = end
        if pieces is not None and self.closed:
            detail = f"the record at {pieces.position} lacks its last pieces"
            raise EseError(LOG_CORRUPT, detail, path=self.path, events=CORRUPT_EVENTS)

    def _first_piece(self, segment: Segment, at: int, end: int) -> _Pieces:
        total, _ = _FRAGMENT_BEGIN.unpack_from(segment.data, at)
        if total > RECORD_BYTES_MAX:
            raise self._damage(segment, at, f"a record of {total:,} bytes is in pieces")
        position = LogPosition(self.generation, segment.number, at)
        return _Pieces(position, total, bytearray(segment.data[at + _FRAGMENT_BEGIN_BYTES : end]))

    def _joined(self, pieces: _Pieces, segment: Segment, at: int) -> LogRecord:
        """The record that the pieces make; its own length must agree with theirs."""
        data = bytes(pieces.data)
        rule = LENGTHS[data[0]] if data and data[0] not in _NOT_IN_PIECES else None
        try:
            fits = rule is not None and rule(data, 0) == len(data) == pieces.total
        except struct.error:
            fits = False
        if not fits:
            detail = f"pieces of {len(data)} bytes make no record, {pieces.total} were promised"
            raise self._damage(segment, at, detail)
        return LogRecord(pieces.position, data)

    def _end_of(self, data: bytes, at: int, segment: Segment) -> int:
        """Where the record at ``at`` ends, which is not behind the segment's end."""
        rule = LENGTHS[data[at]]
        if rule is None:
            raise self._damage(segment, at, f"{title_of(data[at])} is no known record type")
        try:
            end = at + rule(data, at)
        except struct.error:
            end = SEGMENT_BYTES + 1
        if end > SEGMENT_BYTES:
            raise self._damage(segment, at, f"{title_of(data[at])} goes beyond its segment")
        return end

    def _damage(self, segment: Segment, at: int, detail: str) -> EseError:
        place = LogPosition(self.generation, segment.number, at)
        offset = segment.number * SEGMENT_BYTES + at
        return EseError(
            LOG_CORRUPT,
            f"{detail}, at {place}",
            path=self.path,
            offset=offset,
            events=CORRUPT_EVENTS,
        )


_AFTER_TORN_RECORD: Final = frozenset(
    (SEGMENT_HEADER_BYTES, kind)
    for kind in (Kind.RECOVERY_UNDO, Kind.RECOVERY_UNDO2, Kind.UNDO_INFO)
)
"""What may follow a record without its last pieces, first in its segment: the undo of a recovery
(E src/ese/_log/logread.cxx)."""

_NOT_IN_PIECES: Final = frozenset({Kind.NOP, Kind.FRAGMENT_BEGIN, Kind.FRAGMENT})


@dataclass(slots=True)
class _Pieces:
    """A record that is being put together."""

    position: LogPosition
    total: int
    data: bytearray


def _behind_zeros(data: bytes, at: int) -> int:
    """The next byte that is not zero, or the segment's end."""
    rest = data[at:].lstrip(b"\0")
    return SEGMENT_BYTES - len(rest)
