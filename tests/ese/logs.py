"""Real logs with one thing changed, and log sets in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from replicator.ese.checksum import block_checksum, header_checksum
from replicator.ese.log_header import HEADER_BYTES, SEGMENT_BYTES, LogHeader
from replicator.ese.log_segments import SEGMENT_HEADER_BYTES
from replicator.ese.log_set import LogSet, open_log_set
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.samples import load

LATER = "srum-server2022-later"
CLOSED = f"{LATER}/SRU00004.log"
CURRENT = f"{LATER}/SRU.log"


def sealed_header(block: bytes) -> bytes:
    """A header block with its checksum put right."""
    return header_checksum(block).to_bytes(4, "little") + block[4:]


def with_header(log: bytes, **changes: object) -> bytes:
    """A log whose header differs in some fields and verifies."""
    header = replace(LogHeader.decode(log[:HEADER_BYTES]), **changes)  # type: ignore[arg-type]
    return sealed_header(header.encode()) + log[HEADER_BYTES:]


def segment_of(log: bytes, number: int) -> bytes:
    return log[number * SEGMENT_BYTES : (number + 1) * SEGMENT_BYTES]


def with_segment(log: bytes, number: int, data: bytes) -> bytes:
    """A log with other bytes in one segment's place."""
    at = number * SEGMENT_BYTES
    return log[:at] + data.ljust(SEGMENT_BYTES, b"\0") + log[at + SEGMENT_BYTES :]


def sealed_segment(body: bytes, generation: int, number: int) -> bytes:
    """A segment that verifies, with the given records."""
    start = LogPosition(generation, number, 0).encode()
    data = bytes(8) + start + bytes(20) + (0x2000).to_bytes(4, "little") + body
    data = data.ljust(SEGMENT_BYTES, b"\0")
    return block_checksum(data, number).to_bytes(8, "little") + data[8:]


def built_log(*bodies: bytes, generation: int = 5) -> bytes:
    """A log with the real header of the current sample, and these records, a segment each."""
    assert all(len(body) <= SEGMENT_BYTES - SEGMENT_HEADER_BYTES for body in bodies)
    log = load(CURRENT)[:HEADER_BYTES]
    log += b"".join(
        sealed_segment(body, generation, number) for number, body in enumerate(bodies, 1)
    )
    sectors = len(bodies) + 2
    log = log.ljust(sectors * SEGMENT_BYTES, b"\0")
    return with_header(log, generation=generation, file_sectors=sectors)


def flipped(data: bytes, *bits: int) -> bytes:
    """Some bits the other way round, numbered from the start."""
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def log_set(
    files: Mapping[str, bytes], base: str | None = None, *, contents: bool = True
) -> LogSet:
    """The log set of files in memory."""

    @contextmanager
    def opened(name: str) -> Iterator[BytesReader]:
        yield BytesReader(files[name], name)

    return open_log_set(files, opened, base=base, contents=contents)


def numbers(log_set: LogSet) -> list[int]:
    return [error.number for error in log_set.errors]
