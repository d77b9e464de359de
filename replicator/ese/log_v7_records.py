"""The records of a version 7 log: packed one behind the other, over sectors.

Checksum records stand between records, never within one.  Where recovery began anew behind a torn
write, the record before may be cut: it was never confirmed, and is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.log_header import BAD_VERSION, LOG_CORRUPT, VERSION_EVENTS, LogHeader
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import LENGTHS, Kind, title_of
from replicator.ese.log_v7 import BAD_RECORD_EVENTS, CORRUPT_EVENTS, SectorScan
from replicator.ese.log_v7_ranges import CHUNK_BYTES, Range, RangeReader
from replicator.ese.reader import Reader, name_of
from replicator.ese.values import LogPosition

_FOREIGN: Final = frozenset({Kind.CHECKSUM, Kind.FRAGMENT_BEGIN, Kind.FRAGMENT})
"""Records are not in pieces here, and a checksum record stands where the one before says."""
_UNKNOWN_LENGTH: Final = frozenset(number for number in Kind if LENGTHS[number] is None)
"""Types of these logs, those of the streaming file first, whose layout was never published."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes that hold nothing but whole records, or whole ones and then a cut one.

    Arguments
    ---------
    start, end: offsets in the file.
    may_be_cut: whether the last record may lack its end.
    """

    start: int
    end: int
    may_be_cut: bool


class SectorRecords:
    """The records of a version 7 log that was scanned.

    Arguments
    ---------
    reader: the file.
    header: of the log.
    scan: what was found in it; without damage.
    closed: whether the log is complete, so that its last record must be whole.
    """

    def __init__(
        self, reader: Reader, header: LogHeader, scan: SectorScan, *, closed: bool
    ) -> None:
        self._reader = reader
        self._header = header
        self._scan = scan
        self._closed = closed
        self._path = name_of(reader)
        instead = None
        if scan.from_shadow is not None:
            copy = RangeReader(reader, header).sector(scan.from_shadow + 1)
            instead = (scan.from_shadow, copy)
        self._ranges = RangeReader(reader, header, instead)

    def __iter__(self) -> Iterator[LogRecord]:
        """The records in order; filling with NOPs is passed over.

        Raises EseError: -501 where the bytes make no sense or changed since the scan, -514 at a
        record whose length is not known.
        """
        for span in self._spans():
            yield from self._records_of(span)

    def of_last_range(self) -> Iterator[LogRecord]:
        """Only those behind the last checksum record."""
        if self._scan.last is not None:
            yield from self._records_of(self._last_span(self._scan.last))

    def _last_span(self, last: Range) -> Span:
        return Span(last.data_start, self._scan.end, not self._closed)

    def _spans(self) -> Iterator[Span]:
        last = self._scan.last
        if last is None:
            return
        at = self._header.header_sectors * self._header.sector_bytes
        before: Range | None = None
        while True:
            found = self._ranges.range_at(at)
            if found is None or found.start > last.start:
                raise self._damage(at, "the checksum record changed while the log was read")
            if before is not None:
                cut = not found.covers_its_sector
                yield Span(before.data_start, before.end if cut else found.start, cut)
            if found.start == last.start:
                break
            if not found.record.next_bytes:
                raise self._damage(at, "the checksum record changed while the log was read")
            before, at = found, found.next_start
        yield self._last_span(last)

    def _records_of(self, span: Span) -> Iterator[LogRecord]:
        at, data, base = span.start, b"", span.start
        sector_bytes, generation = self._header.sector_bytes, self._header.generation
        while at < span.end:
            size = self._size_at(data, at - base, at)
            if size is None or at - base + size > len(data):
                # Its end, or the fields that tell it, are not in memory yet.
                wanted = min(max(size or 0, CHUNK_BYTES), span.end - at)
                if wanted > len(data) - (at - base):
                    data, base = self._ranges.read(at, wanted), at
                    continue
                if span.may_be_cut:
                    return
                raise self._damage(at, f"{title_of(data[at - base])} goes beyond its range")
            if data[at - base] != Kind.NOP:
                sector, byte = divmod(at, sector_bytes)
                position = LogPosition(generation, sector, byte)
                yield LogRecord(position, data[at - base : at - base + size])
            at += size

    def _size_at(self, data: bytes, at: int, offset: int) -> int | None:
        """The length of the record at ``data[at]``; None where too little is in memory to tell."""
        if at >= len(data):
            return None
        number = data[at]
        rule = LENGTHS[number]
        if rule is None or number in _FOREIGN:
            if number in _UNKNOWN_LENGTH:
                detail = f"the length of {title_of(number)} is not known: it cannot be passed over"
                raise EseError(
                    BAD_VERSION, detail, path=self._path, offset=offset, events=VERSION_EVENTS
                )
            raise self._damage(offset, f"{title_of(number)} cannot stand there")
        try:
            return rule(data, at)
        except struct.error:
            return None

    def _damage(self, offset: int, detail: str) -> EseError:
        sector, byte = divmod(offset, self._header.sector_bytes)
        place = LogPosition(self._header.generation, sector, byte)
        events = BAD_RECORD_EVENTS + CORRUPT_EVENTS
        return EseError(
            LOG_CORRUPT, f"{detail}, at {place}", path=self._path, offset=offset, events=events
        )
