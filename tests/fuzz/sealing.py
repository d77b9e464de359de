"""Checksums put right after an edit, so that what lies behind them is read."""

from __future__ import annotations

from collections.abc import Collection

from replicator.ese.checksum import block_checksum, header_checksum, with_checksums
from replicator.ese.errors import EseError
from replicator.ese.log_header import HEADER_BYTES, SEGMENT_BYTES, LogHeader
from replicator.ese.log_record_types import Kind
from replicator.ese.log_v7_checksum import CHECKSUM_RECORD_BYTES, ChecksumRecord, sealed

SECTOR_BYTES = 512
MOST_RANGES = 256


def seal_header(data: bytearray, size_bytes: int, copies: int = 1) -> None:
    """The XOR checksum of a header block, and the block again behind it as its shadow."""
    block = data[:size_bytes]
    if len(block) < size_bytes or size_bytes % 4:
        return
    block[:4] = header_checksum(bytes(block)).to_bytes(4, "little")
    data[: size_bytes * copies] = block * copies


def seal_pages(data: bytearray, page_size: int, pgnos: Collection[int], first_at: int) -> None:
    """The checksums of pages; the first page's number is 1 and it begins at ``first_at``."""
    for pgno in pgnos:
        at = first_at + (pgno - 1) * page_size
        page = bytes(data[at : at + page_size])
        if len(page) == page_size and any(page):
            data[at : at + page_size] = with_checksums(page, pgno)


def seal_log(data: bytearray) -> None:
    """Header and content of a log, of either version; what is too broken is left as it is."""
    seal_header(data, HEADER_BYTES)
    if len(data) < HEADER_BYTES:
        return
    try:
        header = LogHeader.decode(bytes(data[:HEADER_BYTES]))
    except EseError:
        return
    if header.is_segmented:
        _seal_segments(data)
    else:
        _seal_ranges(data, header.generation)


def _seal_segments(data: bytearray) -> None:
    """Each segment by the number that it gives itself, so shadows stay shadows."""
    for at in range(SEGMENT_BYTES, len(data) - SEGMENT_BYTES + 1, SEGMENT_BYTES):
        segment = bytes(data[at : at + SEGMENT_BYTES])
        if any(segment):
            number = int.from_bytes(segment[10:12], "little")
            data[at : at + 8] = block_checksum(segment, number).to_bytes(8, "little")


def _seal_ranges(data: bytearray, generation: int) -> None:
    """The chain of version 7 as far as its records lead; where they lead is not put right."""
    at = HEADER_BYTES
    for _ in range(MOST_RANGES):
        if at + CHECKSUM_RECORD_BYTES > len(data) or data[at] != Kind.CHECKSUM:
            return
        record = ChecksumRecord.decode(bytes(data[at : at + CHECKSUM_RECORD_BYTES]))
        start = at - at % SECTOR_BYTES
        end = at + CHECKSUM_RECORD_BYTES + record.forward_bytes
        if end > len(data) or record.backward_bytes > at - start:
            return
        new = sealed(
            record, bytes(data[start:end]), at - start, generation, sector_bytes=SECTOR_BYTES
        )
        data[at : at + CHECKSUM_RECORD_BYTES] = new.encode()
        if not record.next_bytes:
            return
        at += CHECKSUM_RECORD_BYTES + record.next_bytes
