"""A version 7 log as a whole: which ranges verify, where the data ends, torn or corrupt.

The chain of ranges is followed from the first sector behind the header.  Where it breaks off, the
write that was under way when the machine stopped is a *torn* one if nothing but the fill pattern
follows; anything else behind it is corruption.  Three further places tell a torn write, because
sectors are written in a known order: a shadow still where the next sector belongs, a shadow or
the pattern within a range whose first sector is good, and a bad sector whose shadow is good.

In two points more is looked at than the engine does: what lies behind a sector that is taken
from its shadow must be the pattern as well, and in a range of three sectors and more an old shadow
is a sign of a torn write like the pattern is (the engine calls that corruption: see
``SectorScan.beyond_engine``).

E src/ese/_log/logread_legacy.cxx; not verified on data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.log_header import LOG_CORRUPT, LogHeader
from replicator.ese.log_v7_checksum import CHECKSUM_RECORD_BYTES, fill_pattern
from replicator.ese.log_v7_ranges import CHUNK_BYTES, Range, RangeReader
from replicator.ese.reader import Reader

CORRUPT_EVENTS: Final = (465,)
BAD_RECORD_EVENTS: Final = (529,)
BAD_RANGE_EVENTS: Final = (477,)
TORN_EVENTS: Final = (462,)
SHADOW_USED_EVENTS: Final = (466,)


@dataclass(frozen=True, slots=True)
class SectorScan:
    """What a version 7 log's sectors are, and where its data ends.

    Arguments
    ---------
    sector_bytes: size of a sector.
    ranges: how many ranges there are, the last one included.
    last: the last range that counts; None when there is none.
    end: offset up to which the bytes can be trusted; in a torn log a record may be cut there.
    broken: offset of the checksum record that fails, or that is not there; None when the chain ends
        as it should.
    torn_range: the range that fails is ``last``, and its first sector is good.
    from_shadow: the sector whose own place is damaged and whose shadow is used, or None.
    foreign: the first sector that is neither data nor the fill pattern nor a shadow, so that the
        log is corrupt; or None.
    beyond_engine: the log counts as torn here, and the published engine would refuse it.
    counts: how many sectors are what.
    """

    sector_bytes: int
    ranges: int
    last: Range | None
    end: int
    broken: int | None
    torn_range: bool
    from_shadow: int | None
    foreign: int | None
    beyond_engine: bool
    counts: Mapping[str, int]

    unit = "sectors"
    accumulated_checksum = None

    @property
    def tally(self) -> Mapping[str, int]:
        return self.counts

    @property
    def is_torn(self) -> bool:
        return self.broken is not None and self.foreign is None

    def _place(self, offset: int) -> str:
        return f"sector {offset // self.sector_bytes}, byte {offset % self.sector_bytes}"

    @property
    def _failing(self) -> str:
        assert self.broken is not None
        what = "the range of the checksum record" if self.torn_range else "the checksum record"
        return f"{what} in {self._place(self.broken)} fails"

    def damage(self, path: str | None, *, closed: bool) -> EseError | None:
        """The error that the engine gives for this content, or None; see ``LogScan``."""
        events: tuple[int, ...] = CORRUPT_EVENTS
        if self.broken is not None:
            events = (BAD_RANGE_EVENTS if self.torn_range else BAD_RECORD_EVENTS) + events
        if self.foreign is not None:
            why = "the data ends there" if self.broken is None else self._failing
            at = self.end if self.broken is None else self.broken
            place = f"{self._place(at)}: {why}" if self.broken is None else why
            detail = f"{place}, yet sector {self.foreign} does not hold the fill pattern"
            offset = self.foreign * self.sector_bytes
            return EseError(LOG_CORRUPT, detail, path=path, offset=offset, events=events)
        if closed and self.broken is not None:
            detail = f"{self._failing} in a closed log"
            return EseError(LOG_CORRUPT, detail, path=path, offset=self.broken, events=events)
        return None

    def notes(self, path: str | None) -> Iterator[EseError]:
        """What is worth telling and no error: a shadow used, a torn tail."""
        if self.from_shadow is not None:
            detail = f"sector {self.from_shadow} is taken from its shadow"
            at = self.from_shadow * self.sector_bytes
            yield EseError(LOG_CORRUPT, detail, path=path, offset=at, events=SHADOW_USED_EVENTS)
        if self.is_torn:
            detail = f"the log ends in a torn write: {self._failing}"
            if self.beyond_engine:
                detail += " (the engine itself takes this for corruption)"
            yield EseError(LOG_CORRUPT, detail, path=path, offset=self.broken, events=TORN_EVENTS)


def scan_sectors(reader: Reader, header: LogHeader) -> SectorScan:
    """Judge all sectors of a version 7 log whose header and size were checked.

    Memory is that of a chunk of 64 KiB.  Raises EseError -1022 when the file cannot be read.
    """
    return _Scan(RangeReader(reader, header), header).judged()


class _Scan:
    """One scan under way."""

    def __init__(self, ranges: RangeReader, header: LogHeader) -> None:
        self._ranges = ranges
        self._sector_bytes = header.sector_bytes
        self._first = header.header_sectors
        self._count = 0
        self._last: Range | None = None
        self._broken: int | None = None
        self._torn_range = False
        self._from_shadow: int | None = None
        self._beyond_engine = False
        self._has_shadow = False
        self._shadow_place: int | None = None
        self._bad_within: int | None = None

    def judged(self) -> SectorScan:
        end, scan_from = self._follow()
        filled, foreign = self._pattern_from(scan_from)
        foreign = self._bad_within if foreign is None else foreign
        if self._shadow_place is not None and not self._has_shadow:
            filled += self._is_unused(self._shadow_place)
        data = max(-(-end // self._sector_bytes) - self._first, 0)
        shadow = int(self._has_shadow)
        rest = self._ranges.file_sectors - self._first - data - shadow - filled
        counts = {"data": data, "shadow": shadow, "unused": filled, "other": max(rest, 0)}
        return SectorScan(
            self._sector_bytes,
            self._count,
            self._last,
            end,
            self._broken,
            self._torn_range,
            self._from_shadow,
            foreign,
            self._beyond_engine and foreign is None,
            counts,
        )

    def _follow(self) -> tuple[int, int]:
        """Go from range to range.

        Returns
        -------
        Where the data ends, and the sector from which on all must be unused.
        """
        at = self._first * self._sector_bytes
        while True:
            found = self._ranges.range_at(at)
            if found is None:
                return self._without_record(at)
            if not self._ranges.verifies(found):
                if found.record.has_short_checksum:
                    return self._in_torn_range(found)
                return self._without_record(at)
            self._last, self._count = found, self._count + 1
            if not found.record.next_bytes:
                return self._at_end(found)
            at = found.next_start

    def _at_end(self, found: Range) -> tuple[int, int]:
        """The chain ends as it should; the next sector is left to a shadow, whatever it holds."""
        self._shadow_place = found.sector + found.sectors
        if not found.record.has_short_checksum:
            self._has_shadow = self._ranges.shadow_of(found.start) is not None
        return found.end, self._shadow_place + 1

    def _without_record(self, at: int) -> tuple[int, int]:
        """Where a range should begin, none does, or it is short and fails."""
        sector = at // self._sector_bytes
        shadow = self._ranges.shadow_of(at)
        if shadow is not None:
            self._last, self._count = shadow, self._count + 1
            self._from_shadow, self._has_shadow = sector, True
            return shadow.end, sector + 2
        self._broken = at
        end = sector * self._sector_bytes
        last = self._last
        if (
            last is not None
            and sector == last.sector + 1
            and self._ranges.shadow_of(last.start, is_last=False) is not None
        ):
            # The shadow of the sector before is not yet overwritten.
            self._has_shadow = True
            return end, sector + 1
        return end, sector

    def _in_torn_range(self, found: Range) -> tuple[int, int]:
        """The first sector of a long range is good, the others are not all."""
        self._broken, self._torn_range = found.start, True
        self._last, self._count = found, self._count + 1
        end = (found.sector + 1) * self._sector_bytes
        behind = found.sector + found.sectors
        missing = any(self._is_unused(each) for each in range(found.sector + 1, behind))
        old = self._ranges.shadow_of(found.start, is_last=False)
        old_shadow = old is not None and self._same_records(found, old)
        if old_shadow:
            self._has_shadow = True
            self._beyond_engine = found.sectors > 2 and not missing
        if not missing and not old_shadow:
            self._bad_within = found.sector + 1
        return end, behind

    def _same_records(self, found: Range, old: Range) -> bool:
        """Whether a shadow holds what its sector held before more was added."""
        one, two = self._ranges.sector(found.sector), self._ranges.sector(found.sector + 1)
        start = found.byte + CHECKSUM_RECORD_BYTES
        end = start + old.record.forward_bytes
        return one[: found.byte] == two[: found.byte] and one[start:end] == two[start:end]

    def _is_unused(self, sector: int) -> bool:
        data = self._ranges.sector(sector)
        return data == fill_pattern(0, self._sector_bytes)

    def _pattern_from(self, sector: int) -> tuple[int, int | None]:
        """How many sectors from there on hold the pattern, and the first that does not."""
        end = self._ranges.file_sectors
        if self._broken is not None and sector == end - 1:
            # The file's last sector holds no data: the engine does not look at it.
            return int(self._is_unused(sector)), None
        step = max(CHUNK_BYTES // self._sector_bytes, 1)
        for start in range(sector, end, step):
            count = min(step, end - start)
            data = self._ranges.read(start * self._sector_bytes, count * self._sector_bytes)
            if data != fill_pattern(0, len(data)):
                for each in range(start, start + count):
                    if not self._is_unused(each):
                        return each - sector, each
        return max(end - sector, 0), None
