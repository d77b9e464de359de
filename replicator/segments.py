"""Segment files: their names, their own headers, and places in them.

A log (:mod:`replicator.journal`) is a directory of files ``00000001.segment`` ...; each
begins with a SEGMENT record (format, kind, protected set, link of the chain) and, where the
owner wants one, a CATALOGUE record; then records follow back to back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from replicator.errors import DamagedLog, ForeignLog
from replicator.records import HEADER_BYTES, MAGIC, InvalidRecord, Record, RecordType, decode
from replicator.runtime.port import File, Volume
from replicator.untrusted import json_object, whole_number

FORMAT_VERSION: Final = 1
SUFFIX: Final = ".segment"
_LENGTH: Final = struct.Struct("<4s4xI")
_NUMBERED: Final = struct.Struct("<4sB3xIIQ")


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


@dataclass(slots=True, eq=False)
class Segment:
    """One segment file."""

    number: int
    path: str
    first_sequence: int
    """Sequence number of the first chained record in it, or of the next one to come."""
    data_start: int = 0
    end: int = 0
    reserved_bytes: int = 0
    """Of the volume, from its beginning: what the log's limit counts."""
    base_bytes: int = 0
    """Bytes of chained records of this history before this segment."""
    file: File | None = None
    """While it is open; :mod:`replicator.open_segments` says when that is."""
    pinned: bool = False
    """Its file was written and not yet synced, or its sync failed: it is not closed."""
    users: int = 0
    """How many wait for a read or a sync of its file."""

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
        whole_number(header, "bytes_before", 0)
        whole_number(header, "reserved", 0)
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


def completed_records(data: bytes, epoch: int, highest: int) -> tuple[int, int, int]:
    """The whole records at the start of ``data`` that are numbered up to ``highest``.

    Returns their length, where the last begins, and its number (0 for no record).  Stops
    at a record of another epoch, and where capture ended.
    """
    offset, last, number, total = 0, 0, 0, len(data)
    unpack, end = _NUMBERED.unpack_from, int(RecordType.END)
    while offset + HEADER_BYTES <= total:
        magic, kind, length, its_epoch, sequence = unpack(data, offset)
        following: int = offset + HEADER_BYTES + length
        if magic != MAGIC or following > total or sequence > highest:
            break
        if its_epoch != epoch or kind == end:
            break
        last, offset, number = offset, following, sequence
    return offset, last, number


def whole_records(data: bytes) -> tuple[int, int]:
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
