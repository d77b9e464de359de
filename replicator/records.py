"""The record: the unit of every spool and journal, checksummed and chained.

Layout (little-endian), 64 bytes of header, then ``prefix``, then ``payload``::

    0  magic      4s  b"XRL1": where a damaged log can be picked up again
    4  type       u8  see RecordType; types below 16 belong to the history and chain it
    5  flags      u8  0
    6  prefix     u16 length of the prefix
    8  body       u32 length of prefix and payload together
    12 epoch      u32
    16 sequence   u64 number of the operation, or of the last one of a batch
    24 floor      u64 what was known to be safe when this was written (see below)
    32 previous   16s checksum of the record of the history before this one
    48 checksum   16s xxh3_128(header[:48] + prefix + xxh3_128(payload))

Two things are checked apart: the *checksum* makes a record valid by itself, wherever it is
found; ``previous`` makes it the successor of one other record.  ``floor`` is the completed
mark in a spool and the durable mark in a journal.  With it a reader can tell a torn tail
(an invalid record and whatever happens to survive behind it, nothing of which was ever
promised) from damage (a valid record behind says that the invalid one had been promised).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

import xxhash

from replicator.runtime.port import Buffer

MAGIC: Final = b"XRL1"
HEADER: Final = struct.Struct("<4sBBHIIQQ16s16s")
_UNSEALED: Final = struct.Struct("<4sBBHIIQQ16s")
HEADER_BYTES: Final = HEADER.size
MAX_BODY_BYTES: Final = 1 << 30
EMPTY_CHAIN: Final = bytes(16)

_digest = xxhash.xxh3_128_digest


class RecordType(IntEnum):
    """What a record holds.  Below 16: links of the chain."""

    OPERATION = 1
    OUTCOME = 2
    """An operation that failed or was cut short, as it ended."""
    BATCH = 3
    COMMIT = 4
    """A resynchronization became the image, in one step."""
    END = 5
    """The captured history stops here: the spool was full."""
    SEGMENT = 16
    CATALOGUE = 17


class Record(NamedTuple):
    """One valid record as read from a log."""

    type: int
    epoch: int
    sequence: int
    floor: int
    previous: bytes
    checksum: bytes
    prefix: bytes
    payload: bytes
    size_bytes: int


class InvalidRecord(Exception):
    """The bytes at ``offset`` are not a valid record; ``reason`` says why."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"at byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason


def encode(
    record_type: int,
    epoch: int,
    sequence: int,
    floor: int,
    previous: bytes,
    prefix: bytes,
    payload: Buffer,
) -> tuple[bytes, bytes]:
    """Seal a record: returns (header + prefix, checksum); the payload follows unchanged."""
    prefix_length = len(prefix)
    head = _UNSEALED.pack(
        MAGIC,
        record_type,
        0,
        prefix_length,
        prefix_length + len(payload),
        epoch,
        sequence,
        floor,
        previous,
    )
    checksum = _digest(b"".join((head, prefix, _digest(payload))))
    return b"".join((head, checksum, prefix)), checksum


def body_length(buffer: bytes, offset: int) -> int:
    """Length of the body of the record whose header starts at ``offset``; -1 if it is none."""
    if buffer[offset : offset + 4] != MAGIC:
        return -1
    length: int = int.from_bytes(buffer[offset + 8 : offset + 12], "little")
    return length if length <= MAX_BODY_BYTES else -1


def decode(buffer: bytes, offset: int) -> Record:
    """Read and verify the record at ``offset``; raises InvalidRecord."""
    if len(buffer) - offset < HEADER_BYTES:
        raise InvalidRecord(offset, "shorter than a record header")
    magic, kind, flags, prefix_length, length, epoch, sequence, floor, previous, checksum = (
        HEADER.unpack_from(buffer, offset)
    )
    if magic != MAGIC:
        raise InvalidRecord(offset, "no record starts here")
    start = offset + HEADER_BYTES
    end = start + length
    if flags or prefix_length > length or length > MAX_BODY_BYTES:
        raise InvalidRecord(offset, "impossible lengths")
    if end > len(buffer):
        raise InvalidRecord(offset, "the record is cut short")
    middle = start + prefix_length
    prefix = buffer[start:middle]
    payload = buffer[middle:end]
    if _digest(b"".join((buffer[offset : offset + 48], prefix, _digest(payload)))) != checksum:
        raise InvalidRecord(offset, "the checksum does not fit")
    return Record(kind, epoch, sequence, floor, previous, checksum, prefix, payload, end - offset)


def find_valid(buffer: bytes, offset: int) -> tuple[Record, int] | None:
    """The first valid record that starts at or behind ``offset``, and where; None for none."""
    while True:
        offset = buffer.find(MAGIC, offset)
        if offset < 0:
            return None
        try:
            return decode(buffer, offset), offset
        except InvalidRecord:
            offset += 1


def genesis(set_id: str, epoch: int, history: bytes = b"") -> bytes:
    """The link before the first record of an epoch's history.

    ``history`` tells apart two histories that came to the same epoch number: of a source
    that lost its own state, or of two sources.
    """
    return _digest(f"{set_id}\0{epoch}\0".encode() + history)
