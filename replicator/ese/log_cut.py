"""Where a log's records stop making sense though its segments verify, and how it is cut there.

A log that was never made durable may come back from a power loss as segments of different ages,
each whole in itself: pieces of a record lack their rest, or a record goes on into another one.
What stands before the first such record is as good as ever.  When the loss of committed logs is
allowed, recovery goes up to there, and the log is cut behind it, so that it can be gone on with.

Only logs of version 8 are cut.  Version 7 covers its records with checksums that chain from flush
to flush, so its torn ends are found without looking at records.
"""

from __future__ import annotations

from replicator.ese.checksum import block_checksum
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import Write
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import SEGMENT_BYTES
from replicator.ese.log_segments import SEGMENT_HEADER_BYTES, SegmentScan, data_segments
from replicator.ese.reader import Reader
from replicator.ese.values import LogPosition


def first_broken(log: LogFile) -> tuple[LogPosition, EseError] | None:
    """Where the first record begins that is not whole or makes no sense, and what is wrong.

    Returns None when all records can be read.  Walks the whole log; contents are decoded too.
    """
    position = LogPosition(log.generation, log.header.header_sectors, 0)
    try:
        for record in log.records():
            position = record.position
            _ = record.content
    except EseError as error:
        return log.reached or position, error
    return None


def leaves_nothing(log: LogFile, position: LogPosition) -> bool:
    """Whether a cut at ``position`` would leave no record, or the log's version is not cut."""
    if not isinstance(log.scan, SegmentScan):
        return True
    return position <= LogPosition(log.generation, 1, SEGMENT_HEADER_BYTES)


def cut_writes(content: Reader, log: LogFile, position: LogPosition) -> list[Write]:
    """What makes a log end before the record at ``position``; each write is durable before the
    next one, so that a crash in between leaves a log that can be cut again.

    Arguments
    ---------
    content: the log, as ``log`` was opened on it.
    position: from :func:`first_broken`.
    """
    scan, header = log.scan, log.header
    assert isinstance(scan, SegmentScan)
    number, byte = position.sector, position.byte
    first_zero = number + 1 if byte > SEGMENT_HEADER_BYTES else number
    end = header.file_sectors
    # The last ones first: what is left is never followed by a gap with data behind it.
    writes: list[Write] = [
        (at * SEGMENT_BYTES, bytes(SEGMENT_BYTES)) for at in reversed(range(first_zero, end))
    ]
    if first_zero > number:
        for segment in data_segments(content, header, scan):
            if segment.number == number:
                kept = segment.data[:byte].ljust(SEGMENT_BYTES, b"\0")
                whole = block_checksum(kept, number).to_bytes(8, "little") + kept[8:]
                writes.append((number * SEGMENT_BYTES, whole))
    return writes
