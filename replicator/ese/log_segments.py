"""The segments of a version 8 log: which hold data, where the data ends, what is damaged.

A segment is 4096 bytes with ECC + XOR over all of it; its seed is its number in the file.  A
partly filled segment s is also written to s + 1, as its *shadow*, which verifies with seed s:
so one of the two is whole at each moment.  Files are recycled, so whole segments of an older
generation may lie behind the data.

E src/inc/_logstream.hxx, src/ese/_log/logwrite.cxx, logread.cxx, logshadow.cxx; V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from replicator.ese.checksum import FORMAT_FLAG_BIT, block_sums
from replicator.ese.errors import EseError
from replicator.ese.layout import Structure, log_position, log_time, u32, u64
from replicator.ese.log_header import LOG_CORRUPT, SEGMENT_BYTES, LogHeader
from replicator.ese.reader import Reader, name_of, read_exactly
from replicator.ese.values import LogPosition, LogTime

SEGMENT_HEADER_BYTES: Final = 40
CHUNK_SEGMENTS: Final = 64
"""How many segments are held in memory at a time."""

CORRUPT_EVENTS: Final = (440,)
BEHIND_GAP_EVENTS: Final = (465, 440)
TORN_EVENTS: Final = (462,)
SHADOW_USED_EVENTS: Final = (466,)
MENDED_EVENTS: Final = (399,)

_NOT_MENDED_BITS: Final = 64
"""The checksum itself, the first eight bytes, is never mended."""


class SegmentKind(IntEnum):
    """What lies in a segment's place."""

    ZERO = 0
    DATA = 1
    """Of this generation, in its own place."""
    SHADOW = 2
    """Of this generation, the copy of the segment before."""
    STALE = 3
    """Whole, of an older life of the file."""
    DAMAGED = 4
    """Neither verifies nor can be mended, or verifies for a place where it does not belong."""


@dataclass(frozen=True, kw_only=True)
class SegmentHeader(Structure, size_bytes=SEGMENT_HEADER_BYTES):
    """The start of a segment; ``raw`` may be all of it."""

    checksum: int = u64(0)
    position: LogPosition = log_position(8, "its own place; the byte is 0")
    started: LogTime = log_time(16)
    flags: int = u32(36, "0x2000 set")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment as it was judged.

    Arguments
    ---------
    number: where it lies in the file.
    kind: what it is.
    data: its bytes, mended when ``mended_bit`` is not None.
    mended_bit: number of the single bit that was wrong.
    generation: the one in its header; 0 when that means nothing.
    """

    number: int
    kind: SegmentKind
    data: bytes
    mended_bit: int | None = None
    generation: int = 0


def _position_of(data: bytes) -> LogPosition:
    return LogPosition.decode(data[8:16])


def _judge(data: bytes, number: int, generation: int, xor: int, ecc: int) -> Segment:
    """Decide about a segment that is not all zero; ``xor`` and ``ecc`` are its sums."""
    stored = int.from_bytes(data[:8], "little")
    seed = (stored & 0xFFFFFFFF) ^ xor
    wrong = (stored >> 32) ^ ecc
    if wrong == 0:
        return _placed(data, number, generation, seed)
    low, high = wrong & 0xFFFF, wrong >> 16
    protected = low < _NOT_MENDED_BITS or low == FORMAT_FLAG_BIT
    if low ^ high != 8 * SEGMENT_BYTES - 1 or protected:
        return Segment(number, SegmentKind.DAMAGED, data)
    mended = bytearray(data)
    mended[low // 8] ^= 1 << low % 8
    whole = bytes(mended)
    placed = _placed(whole, number, generation, seed ^ 1 << low % 32)
    if placed.kind is SegmentKind.DAMAGED:
        return Segment(number, SegmentKind.DAMAGED, data)
    return Segment(number, placed.kind, whole, low, placed.generation)


def _placed(data: bytes, number: int, generation: int, seed: int) -> Segment:
    """A whole segment: whether it belongs where it lies."""
    position = _position_of(data)
    if seed not in (number, number - 1) or position != LogPosition(position.generation, seed, 0):
        return Segment(number, SegmentKind.DAMAGED, data)
    if position.generation == generation:
        kind = SegmentKind.DATA if seed == number else SegmentKind.SHADOW
    elif 0 < position.generation < generation:
        kind = SegmentKind.STALE
    else:
        kind = SegmentKind.DAMAGED
    return Segment(number, kind, data, None, position.generation)


def read_segments(
    reader: Reader, header: LogHeader, first: int = 1, last: int | None = None
) -> Iterator[Segment]:
    """The segments from ``first`` to ``last``, each by itself, in the order of the file.

    Memory is that of a chunk of segments.  Raises EseError -1022 when the file ends before.
    """
    end = header.file_sectors if last is None else last + 1
    for start in range(first, end, CHUNK_SEGMENTS):
        count = min(CHUNK_SEGMENTS, end - start)
        chunk = read_exactly(reader, start * SEGMENT_BYTES, count * SEGMENT_BYTES)
        sums = block_sums(np.frombuffer(chunk, np.uint8).reshape(count, SEGMENT_BYTES), 1)
        for at in range(count):
            data = chunk[at * SEGMENT_BYTES : (at + 1) * SEGMENT_BYTES]
            if not any(data[:SEGMENT_HEADER_BYTES]) and not any(data):
                yield Segment(start + at, SegmentKind.ZERO, data)
                continue
            xor, ecc = int(sums.xor[at]), int(sums.ecc[at])
            yield _judge(data, start + at, header.generation, xor, ecc)


_TOLD: Final = (
    SegmentKind.DATA,
    SegmentKind.SHADOW,
    SegmentKind.STALE,
    SegmentKind.ZERO,
    SegmentKind.DAMAGED,
)


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What a log's segments are, and where its data ends.

    Arguments
    ---------
    counts: how many of each kind there are.
    last: number of the last data segment; 0 when there is none.
    accumulated_checksum: XOR of the checksums of the data segments; the next log names it.
    mended: pairs of data segment and number of the bit that was wrong there.
    from_shadow: the data segment whose own place is damaged and whose shadow is used, or None.
    damaged: the first damaged segment that may have held data, or None.
    behind_gap: the first whole segment of this generation behind the end, or None.
    """

    counts: dict[SegmentKind, int]
    last: int
    accumulated_checksum: int
    mended: tuple[tuple[int, int], ...]
    from_shadow: int | None
    damaged: int | None
    behind_gap: int | None

    unit = "segments"

    def count(self, kind: SegmentKind) -> int:
        return self.counts.get(kind, 0)

    @property
    def tally(self) -> dict[str, int]:
        """How many segments are what, in the order in which they are told."""
        return {kind.name.lower(): self.count(kind) for kind in _TOLD}

    def damage(self, path: str | None, *, closed: bool) -> EseError | None:
        """The error that the engine gives for this content, or None.

        Arguments
        ---------
        path: the file, for the error.
        closed: whether the log is complete (it was renamed to its generation's name), so that
            nothing in it may be torn.

        A whole segment of this generation behind the end is always corruption.  A damaged one
        at the end of the current log is a torn write, and normal.
        """
        if self.behind_gap is not None:
            detail = (
                f"the data ends with segment {self.last}, yet segment {self.behind_gap} is of "
                "this generation: what lies between was damaged or never written"
            )
            at = self.behind_gap * SEGMENT_BYTES
            return EseError(LOG_CORRUPT, detail, path=path, offset=at, events=BEHIND_GAP_EVENTS)
        if closed and self.damaged is not None:
            detail = f"segment {self.damaged} of a closed log is damaged"
            at = self.damaged * SEGMENT_BYTES
            return EseError(LOG_CORRUPT, detail, path=path, offset=at, events=CORRUPT_EVENTS)
        return None

    def notes(self, path: str | None) -> Iterator[EseError]:
        """What is worth telling and no error: mended bits, a shadow used, a torn tail."""
        for number, bit in self.mended:
            detail = f"bit {bit} of segment {number} was wrong and is mended by its ECC"
            at = number * SEGMENT_BYTES + bit // 8
            yield EseError(LOG_CORRUPT, detail, path=path, offset=at, events=MENDED_EVENTS)
        if self.from_shadow is not None:
            detail = f"segment {self.from_shadow} is taken from its shadow"
            at = self.from_shadow * SEGMENT_BYTES
            yield EseError(LOG_CORRUPT, detail, path=path, offset=at, events=SHADOW_USED_EVENTS)
        if self.damaged is not None:
            detail = f"the log ends in a torn write: segment {self.damaged} is not whole"
            at = self.damaged * SEGMENT_BYTES
            yield EseError(LOG_CORRUPT, detail, path=path, offset=at, events=TORN_EVENTS)


def scan_segments(reader: Reader, header: LogHeader) -> SegmentScan:
    """Judge all segments of a version 8 log whose header and size were checked.

    A segment that is not whole is taken from its shadow, when that is the next one.  So is one
    whose place holds nothing yet or an older life: then its first write never ended, nothing in
    it was confirmed, and either choice is right; this one loses less.  The shadow of a full
    log's last segment may be older than the segment: then the next log's accumulated checksum
    does not fit.

    The last segment of a file never holds data (it is the room for a shadow), so damage there
    tells nothing about the data.  Raises EseError -1022 when the file cannot be read.
    """
    counts = dict.fromkeys(SegmentKind, 0)
    last = accumulated = 0
    ended = False
    mended: list[tuple[int, int]] = []
    from_shadow: int | None = None
    damaged: int | None = None
    behind_gap: int | None = None
    for segment in read_segments(reader, header):
        number, kind = segment.number, segment.kind
        counts[kind] += 1
        if kind is SegmentKind.DATA and not ended:
            last = number
            accumulated ^= int.from_bytes(segment.data[:8], "little")
            if segment.mended_bit is not None:
                mended.append((number, segment.mended_bit))
        elif kind is SegmentKind.SHADOW and ended and number == last + 2 and from_shadow is None:
            # It stands for the segment before it, which is not whole: that is the last one.
            from_shadow = last = number - 1
            accumulated ^= int.from_bytes(segment.data[:8], "little")
            if damaged == last:
                damaged = None
            if segment.mended_bit is not None:
                mended.append((number, segment.mended_bit))
        elif kind in (SegmentKind.DATA, SegmentKind.SHADOW) and ended:
            if behind_gap is None:
                behind_gap = number
        else:
            ended = True
            is_room = number == header.file_sectors - 1
            if kind is SegmentKind.DAMAGED and damaged is None and not is_room:
                damaged = number
    return SegmentScan(counts, last, accumulated, tuple(mended), from_shadow, damaged, behind_gap)


def data_segments(reader: Reader, header: LogHeader, scan: SegmentScan) -> Iterator[Segment]:
    """The data segments of a scanned log in order, with mended and shadow content put in.

    Raises EseError -501 when the file is not any more as it was scanned.
    """
    own_last = scan.last if scan.from_shadow is None else scan.last - 1
    for segment in read_segments(reader, header, 1, own_last):
        if segment.kind is not SegmentKind.DATA:
            raise _changed(reader, segment.number)
        yield segment
    if scan.from_shadow is not None:
        at = scan.from_shadow + 1
        for segment in read_segments(reader, header, at, at):
            if segment.kind is not SegmentKind.SHADOW:
                raise _changed(reader, at)
            yield Segment(
                at - 1, SegmentKind.DATA, segment.data, segment.mended_bit, segment.generation
            )


def _changed(reader: Reader, number: int) -> EseError:
    detail = f"segment {number} changed while the log was read"
    at = number * SEGMENT_BYTES
    return EseError(LOG_CORRUPT, detail, path=name_of(reader), offset=at, events=CORRUPT_EVENTS)
