"""Version 8: records into segments of 4096 bytes, with shadows, pieces and checksums.

Which writes a flush makes is the engine's own choice (E src/ese/_log/logwrite.cxx):

* A partly filled segment that is new goes out twice, to its place and the next, in one write.
* One that is written again goes to its place first, then, as a second write, to its shadow.
* One that has become full goes to its place alone, in a write of its own; what follows
  overwrites its shadow.  If nothing more is full, its shadow is written anew as well.

So at each moment one of the two copies of a segment with confirmed records is whole, provided
that a write that overwrites data is on disk before the next one begins.

A reader takes a whole segment behind one that is not whole for corruption, not for a torn write,
because the format has nothing to tell one from the other.  A disk that tears a write of several
segments elsewhere than at its end would therefore leave a log that no engine accepts.
``segments_a_write=1`` rules that out, ``None`` writes all full segments of a flush in one call as
the engine does.

Checked on real logs: their records, laid out anew, give the same bytes (tests/ese).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from replicator.ese.attachments import EngineParameters
from replicator.ese.checksum import (
    CHECKSUM_BYTES,
    NEW_CHECKSUM_FLAG,
    block_checksum,
    block_sums,
)
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import ResumedLog, Write
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import (
    BAD_VERSION,
    HEADER_BYTES,
    SEGMENT_BYTES,
    LogHeader,
    LogVersion,
    sealed_log_header,
)
from replicator.ese.log_record_types import RECORD_BYTES_MAX, Kind
from replicator.ese.log_segments import (
    SEGMENT_HEADER_BYTES,
    SegmentKind,
    SegmentScan,
    data_segments,
    read_segments,
)
from replicator.ese.reader import Reader
from replicator.ese.values import LogPosition, LogTime

EXCHANGE_2016: Final = LogVersion(8, 4000, 5, 16)
"""Its first version (E src/ese/sysver.cxx), V on files of Windows 10."""

DATA_BYTES: Final = SEGMENT_BYTES - SEGMENT_HEADER_BYTES
SMALLEST_PIECE_BYTES: Final = 32
"""A rest of a segment below this takes no piece of a record; it stays zero."""

_HEADER: Final = struct.Struct("<8xHHi8s12xI")
_FRAGMENT_BEGIN: Final = struct.Struct("<BIH")
_FRAGMENT: Final = struct.Struct("<BH")
_FILLER: Final = struct.Struct("<BI")
_FEW: Final = 4
"""So many segments are summed one by one; more are quicker together."""


class LogV8Encoder:
    """One file of version 8; implements :class:`replicator.ese.log_encoding.LogFileEncoder`.

    Arguments
    ---------
    header: of the file; its geometry and generation count from now on.
    now: the time, for the segments' headers.
    segments_a_write: most full segments in one write, None without a limit; see the module.
    last_segment, accumulated_checksum: of a file that is continued; its data ends there.
    shadows: False only in tests, which show what shadows are for.
    """

    def __init__(
        self,
        header: LogHeader,
        now: Callable[[], LogTime],
        *,
        segments_a_write: int | None = 1,
        last_segment: int = 0,
        accumulated_checksum: int = 0,
        shadows: bool = True,
    ) -> None:
        self.header = header
        self._now = now
        self._generation = header.generation
        self._last_data_segment = header.file_sectors - 2
        self._segments_a_write = segments_a_write or header.file_sectors
        self._shadows = shadows
        self._buffer = bytearray()  # whole segments that are not on disk in full, then the open one
        self._first = last_segment + 1  # the segment at the start of the buffer
        self._segment = last_segment  # the one that takes records
        self._room = 0  # bytes left in it
        self._handed_out = 0  # bytes of the buffer that the last flush covered
        self._shadowed: int | None = None  # checksum of the first segment, when it has a shadow
        self._accumulated = accumulated_checksum

    # -- records -------------------------------------------------------------------

    @property
    def tip(self) -> LogPosition:
        if self._room:
            return LogPosition(self._generation, self._segment, SEGMENT_BYTES - self._room)
        return LogPosition(self._generation, self._segment + 1, SEGMENT_HEADER_BYTES)

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) if self._handed_out < len(self._buffer) else 0

    @property
    def accumulated_checksum(self) -> int:
        return self._accumulated

    def fits(self, *record_sizes: int) -> bool:
        return self._has_room(self._segment, self._room, record_sizes)

    def _has_room(self, segment: int, room: int, record_sizes: tuple[int, ...]) -> bool:
        for size in record_sizes:
            if size > room and room < SMALLEST_PIECE_BYTES:
                segment, room = segment + 1, DATA_BYTES
            if size > room:
                rest = size - (room - _FRAGMENT_BEGIN.size)
                piece_bytes = DATA_BYTES - _FRAGMENT.size
                pieces = -(-rest // piece_bytes)
                segment, room = segment + pieces, pieces * piece_bytes - rest
            else:
                room -= size
        # As the engine counts, the last segment with data never becomes full by a record.
        return segment < self._last_data_segment or (
            segment == self._last_data_segment and room > 0
        )

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        size, room = len(record), self._room
        if new_segment and room:
            if not self._fits_first(size):
                raise ValueError(f"a record of {size} bytes does not fit into a new segment")
            self._fill_up(with_filler=True)
            room = 0
        if 0 < size < room:
            position = LogPosition(self._generation, self._segment, SEGMENT_BYTES - room)
            self._buffer += record
            self._room = room - size
            return position
        if size > RECORD_BYTES_MAX or not size:
            raise ValueError(f"no record has {size:,} bytes")
        if not self.fits(size):
            raise ValueError(f"a record of {size} bytes does not fit behind {self.tip}")
        if size > room and room < SMALLEST_PIECE_BYTES:
            self._fill_up(with_filler=False)
            self._open_segment()
        position = self.tip
        if size <= self._room:
            self._buffer += record
            self._room -= size
        else:
            self._append_pieces(record)
        return position

    def _fits_first(self, size: int) -> bool:
        """Whether a record fits when it begins the segment behind the open one."""
        return self._has_room(self._segment, 0, (size,))

    def _append_pieces(self, record: bytes) -> None:
        size = len(record)
        at = self._room - _FRAGMENT_BEGIN.size
        self._buffer += _FRAGMENT_BEGIN.pack(Kind.FRAGMENT_BEGIN, size, at)
        self._buffer += record[:at]
        while at < size:
            self._open_segment()
            part = min(size - at, DATA_BYTES - _FRAGMENT.size)
            self._buffer += _FRAGMENT.pack(Kind.FRAGMENT, part)
            self._buffer += record[at : at + part]
            self._room -= _FRAGMENT.size + part
            at += part

    def _open_segment(self, started: LogTime | None = None) -> None:
        self._segment += 1
        self._room = DATA_BYTES
        time = self._now() if started is None else started
        self._buffer += _HEADER.pack(
            0, self._segment, self._generation, time.raw, NEW_CHECKSUM_FLAG
        )

    def _fill_up(self, *, with_filler: bool) -> None:
        """Make the open segment full: with a NOP2 record that covers its rest, or with zeros."""
        room = self._room
        if with_filler and room >= _FILLER.size:
            self._buffer += _FILLER.pack(Kind.NOP2, room - _FILLER.size)
            room -= _FILLER.size
        self._buffer += bytes(room)
        self._room = 0

    def finish(self) -> None:
        """Fill the open segment with zeros; a file without any news gets an empty segment.

        The engine does the latter because its write needs a segment to write, and that one has
        no time (V: generation 81 of a store of Windows 10).
        """
        if not self._room and not self.buffered_bytes and self._segment < self._last_data_segment:
            self._open_segment(LogTime())
        self._fill_up(with_filler=False)

    # -- writes --------------------------------------------------------------------

    def header_writes(self) -> list[Write]:
        return [(0, sealed_log_header(self.header))]

    def flush(self) -> list[Write]:
        buffer = self._buffer
        if self._handed_out == len(buffer):
            return []
        data = self._sealed(buffer + bytes(-len(buffer) % SEGMENT_BYTES))
        again = self._shadowed is not None
        if self._shadowed is not None:
            self._accumulated ^= self._shadowed
            self._shadowed = None
        writes: list[Write] = []
        full_bytes = len(buffer) - len(buffer) % SEGMENT_BYTES
        if full_bytes:
            self._write_full(writes, data[:full_bytes], again)
            del buffer[:full_bytes]
            self._first += full_bytes // SEGMENT_BYTES
            again = False
        if buffer:
            self._write_open(writes, data[full_bytes:], again)
        self._handed_out = len(buffer)
        return writes

    def _write_full(self, writes: list[Write], data: bytes, again: bool) -> None:
        """Full segments; ``again`` when the first of them has a shadow."""
        offset = self._first * SEGMENT_BYTES
        if not again:
            self._write_run(writes, offset, data)
            return
        writes.append((offset, data[:SEGMENT_BYTES]))
        if len(data) > SEGMENT_BYTES:
            self._write_run(writes, offset + SEGMENT_BYTES, data[SEGMENT_BYTES:])
        elif self._shadows:
            writes.append((offset + SEGMENT_BYTES, data))

    def _write_run(self, writes: list[Write], offset: int, data: bytes) -> None:
        """Full segments whose places hold nothing that is needed."""
        step = self._segments_a_write * SEGMENT_BYTES
        if len(data) <= step:
            writes.append((offset, data))
        else:
            writes += [(offset + at, data[at : at + step]) for at in range(0, len(data), step)]

    def _write_open(self, writes: list[Write], data: bytes, again: bool) -> None:
        """The segment that is not full; ``again`` when it has a shadow."""
        offset = self._first * SEGMENT_BYTES
        self._shadowed = int.from_bytes(data[:8], "little")
        if not self._shadows:
            writes.append((offset, data))
        elif again:
            writes += [(offset, data), (offset + SEGMENT_BYTES, data)]
        else:
            writes.append((offset, data * 2))

    def _sealed(self, data: bytearray) -> bytes:
        """Whole segments from the buffer's first on, checksums filled in and accumulated."""
        count = len(data) // SEGMENT_BYTES
        if count <= _FEW:
            for number in range(count):
                at = number * SEGMENT_BYTES
                part = memoryview(data)[at : at + SEGMENT_BYTES]
                checksum = block_checksum(part, self._first + number)
                part[:CHECKSUM_BYTES] = checksum.to_bytes(CHECKSUM_BYTES, "little")
                self._accumulated ^= checksum
            return bytes(data)
        sums = block_sums(np.frombuffer(data, np.uint8).reshape(count, SEGMENT_BYTES), 1)
        words = np.frombuffer(data, "<u4").reshape(count, SEGMENT_BYTES // 4)
        words[:, 0] = sums.xor ^ np.arange(self._first, self._first + count, dtype=np.uint32)
        words[:, 1] = sums.ecc
        low, high = np.bitwise_xor.reduce(words[:, :2], axis=0)
        self._accumulated ^= int(high) << 32 | int(low)
        return bytes(data)


@dataclass(frozen=True, kw_only=True)
class LogV8Format:
    """The logs of one set in version 8; implements :class:`replicator.ese.log_encoding.LogFormat`.

    Arguments
    ---------
    now: the time, for segment headers.
    file_bytes: of each log; Exchange 2007 and later: 1 MB (E), from 64 KiB in steps of 64.
    version: of the format; 13 and above as update-minor give the accumulated checksum.
    engine_format_version: as real files of that version have it (V).
    page_size: of the databases.
    digits: of a generation in a file name; 8 since Exchange 2007.
    parameters: how the engine was set up, for headers.
    segments_a_write, shadows: see :class:`LogV8Encoder`.
    """

    now: Callable[[], LogTime]
    file_bytes: int = 1 << 20
    version: LogVersion = EXCHANGE_2016
    engine_format_version: int = 9100
    page_size: int = 32768
    digits: int = 8
    parameters: EngineParameters = field(default_factory=EngineParameters)
    segments_a_write: int | None = 1
    shadows: bool = True

    def __post_init__(self) -> None:
        if self.file_bytes % SEGMENT_BYTES or not 4 <= self.file_bytes // SEGMENT_BYTES <= 0xFFFF:
            raise ValueError(f"a log of {self.file_bytes:,} bytes is not made of segments")
        if self.segments_a_write is not None and self.segments_a_write < 1:
            raise ValueError("segments_a_write must be at least 1")

    def header(self, generation: int, created: LogTime) -> LogHeader:
        sectors = self.file_bytes // SEGMENT_BYTES
        parameters = replace(self.parameters, log_size_sectors=sectors)
        return LogHeader(
            generation=generation,
            sector_bytes=SEGMENT_BYTES,
            header_sectors=HEADER_BYTES // SEGMENT_BYTES,
            file_sectors=sectors,
            page_size_field=self.page_size,
            created=created,
            version_major=self.version.major,
            version_minor=self.version.minor,
            version_update_major=self.version.update_major,
            version_update_minor=self.version.update_minor,
            parameter_bytes=parameters.encode(),
            engine_format_version=self.engine_format_version,
            file_type_number=3,
        )

    @property
    def shared_reserves(self) -> bool:
        """Windows, with five digits, names its reserves like Exchange 2007."""
        return False

    @property
    def tells_old_content(self) -> bool:
        """Each segment names its generation."""
        return True

    def prepared(self, offset: int, size: int) -> bytes:
        return bytes(size)

    def encoder(self, header: LogHeader) -> LogV8Encoder:
        return LogV8Encoder(
            header, self.now, segments_a_write=self.segments_a_write, shadows=self.shadows
        )

    def resumed(self, content: Reader) -> ResumedLog:
        """Go on in the segment behind the last whole one, as the engine does.

        The data is written again, mended and from the shadow where that is all there is: after
        a failed sync it may be in the page cache only.  What is torn behind it becomes zero, so
        that the log is whole when it is closed early.
        """
        log = LogFile(content, closed=False)
        scan, header = _segments_of(log), log.header
        data = b"".join(each.data for each in data_segments(content, header, scan))
        repairs: list[Write] = [(SEGMENT_BYTES, data)] if data else []
        repairs += [
            (each.number * SEGMENT_BYTES, bytes(SEGMENT_BYTES))
            for each in read_segments(content, header, scan.last + 1)
            if each.kind is SegmentKind.DAMAGED
        ]
        encoder = LogV8Encoder(
            header,
            self.now,
            segments_a_write=self.segments_a_write,
            last_segment=scan.last,
            accumulated_checksum=scan.accumulated_checksum,
            shadows=self.shadows,
        )
        return ResumedLog(encoder, repairs)

    def accumulated_checksum(self, content: Reader) -> int:
        return _segments_of(LogFile(content, closed=True)).accumulated_checksum


def _segments_of(log: LogFile) -> SegmentScan:
    """The verdict on a log's segments; raises EseError -514 for a log that has none."""
    if not isinstance(log.scan, SegmentScan):
        detail = "a log of version 8 was expected, this one is of version 7"
        raise EseError(BAD_VERSION, detail, path=log.path, events=(411,))
    return log.scan


def is_filler(record: bytes) -> bool:
    """Whether a record only fills a segment; what writes logs makes such records by itself."""
    return record[0] == Kind.NOP2
