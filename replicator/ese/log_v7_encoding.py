"""Version 7: records into sectors of 512 bytes, with checksum records, shadows and fill pattern.

A file's first sector begins with a checksum record.  A flush that stays in the sector of the last
one lets that cover what is new, and writes the sector and, behind it, its shadow.  A flush that
goes beyond it

* puts a new checksum record behind its last record (NOPs before it where it would cross a sector),
* lets the old one cover all up to the start of the new one's sector, and point to it,
* writes the old one's sector by itself, since its shadow lies where the next one belongs,
* then the other full sectors in one write, then the new one's sector, then its shadow.

So each flush leaves a checksum record in front of what the next one brings, and at each moment one
of the two copies of a partly filled sector is whole, provided that one write is on disk before the
next one begins.  A log that is full ends with a range that points to nothing.

The layout follows from what the engine's reader accepts (E src/ese/_log/logread_legacy.cxx); what
the old writer did beyond that is not published: here the first sector of a long range is always
a write of its own, and what a partly filled sector holds behind its data is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from replicator.ese.attachments import EngineParameters
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import ResumedLog, Write
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import (
    BAD_VERSION,
    HEADER_BYTES,
    SECTOR_BYTES,
    VERSION_EVENTS,
    LogHeader,
    LogVersion,
    sealed_log_header,
)
from replicator.ese.log_record_types import RECORD_BYTES_MAX, Kind
from replicator.ese.log_v7 import SectorScan
from replicator.ese.log_v7_checksum import (
    CHECKSUM_RECORD_BYTES,
    SHADOW_MARK,
    ChecksumRecord,
    fill_pattern,
    new_checksum_record,
    sealed,
)
from replicator.ese.log_v7_ranges import RangeReader
from replicator.ese.log_v7_records import SectorRecords
from replicator.ese.reader import Reader
from replicator.ese.values import LogPosition, LogTime

EXCHANGE_2000: Final = LogVersion(7, 3704, 4, 0)
EXCHANGE_2003: Final = LogVersion(7, 3704, 5, 0)
"""Their first versions (E src/ese/sysver.cxx)."""

_CHECKSUM: Final = int(Kind.CHECKSUM)

Filling = Callable[[int, int], bytes]
"""What a partly filled sector holds behind its data: offset in the file, bytes."""


@dataclass(frozen=True)
class OpenSector:
    """The sector that takes records, as it is continued.

    Arguments
    ---------
    number: which one.
    data: its bytes up to the end of its last record, the checksum record's place included.
    byte: where in it the checksum record stands.
    covers_before: whether what stands before that counts; it does not behind a torn record.
    """

    number: int
    data: bytes
    byte: int
    covers_before: bool = True


class LogV7Encoder:
    """One file of version 7; implements :class:`replicator.ese.log_encoding.LogFileEncoder`.

    Arguments
    ---------
    header: of the file; its geometry and generation count from now on.
    filling: what a partly filled sector holds behind its data.
    opened: the sector to go on in; None for a new file.
    full: the file was found to end in a range that points to nothing: no record fits any more.
    shadows: False only in tests, which show what shadows are for.
    """

    def __init__(
        self,
        header: LogHeader,
        *,
        filling: Filling = fill_pattern,
        opened: OpenSector | None = None,
        full: bool = False,
        shadows: bool = True,
    ) -> None:
        self.header = header
        self._generation = header.generation
        self._sector_bytes = header.sector_bytes
        self._limit = header.file_sectors - 1  # that sector is for the last shadow
        self._filling = filling
        self._shadows = shadows
        if opened is None:
            opened = OpenSector(header.header_sectors, bytes(CHECKSUM_RECORD_BYTES), 0)
        self._sector = self._limit if full else opened.number
        self._buffer = bytearray() if full else bytearray(opened.data)
        self._byte = opened.byte
        self._covers_before = opened.covers_before
        self._full = full
        self._news = False
        self._is_new = not full and len(self._buffer) == CHECKSUM_RECORD_BYTES

    # -- records -------------------------------------------------------------------

    @property
    def _tip(self) -> int:
        return self._sector * self._sector_bytes + len(self._buffer)

    @property
    def tip(self) -> LogPosition:
        sector, byte = divmod(self._tip, self._sector_bytes)
        return LogPosition(self._generation, sector, byte)

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) if self._news else 0

    @property
    def accumulated_checksum(self) -> int:
        return 0

    def fits(self, *record_sizes: int) -> bool:
        """Whether they fit when no flush comes between: one may take some bytes of its own."""
        return not self._full and self._tip + sum(record_sizes) <= self._limit * self._sector_bytes

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        """As the protocol says; ``new_segment`` means nothing here, there are no segments."""
        size, sector_bytes = len(record), self._sector_bytes
        if not 0 < size <= RECORD_BYTES_MAX or record[0] == _CHECKSUM:
            raise ValueError(f"{size:,} bytes are no record to be appended")
        begin = len(self._buffer)
        if self._full or self._sector * sector_bytes + begin + size > self._limit * sector_bytes:
            raise ValueError(f"a record of {size} bytes does not fit behind {self.tip}")
        self._buffer += record
        self._news = True
        more, byte = divmod(begin, sector_bytes)
        return LogPosition(self._generation, self._sector + more, byte)

    def finish(self) -> None:
        """A partly filled last sector stays as it is; a file without records gets its first one.

        For each log must begin with a checksum record.
        """
        self._news = self._news or self._is_new

    # -- writes --------------------------------------------------------------------

    def header_writes(self) -> list[Write]:
        return [(0, sealed_log_header(self.header))]

    def flush(self) -> list[Write]:
        if not self._news:
            return []
        return self.rewritten()

    def rewritten(self) -> list[Write]:
        """The writes of a flush, even if nothing is new."""
        self._news = self._is_new = False
        if self._full:
            return []
        writes: list[Write] = []
        # A checksum record at the very end of its sector cannot point to one right behind it:
        # that would be a distance of 0, which means none.  It stays until there is news.
        behind_record = self._byte + CHECKSUM_RECORD_BYTES
        if len(self._buffer) >= self._sector_bytes and len(self._buffer) > behind_record:
            self._write_full(writes)
        if self._buffer:
            self._write_open(writes)
        return writes

    def _write_full(self, writes: list[Write]) -> None:
        """All sectors but the last one; that begins anew with a checksum record."""
        size = self._sector_bytes
        rest = len(self._buffer) % size
        if rest + CHECKSUM_RECORD_BYTES > size:
            self._buffer += bytes(size - rest)  # NOPs
            rest = 0
        count = len(self._buffer) // size
        self._full = self._sector + count >= self._limit
        covered = count * size
        behind_record = self._byte + CHECKSUM_RECORD_BYTES
        next_bytes = 0 if self._full else covered + rest - behind_record
        data, record = self._covered(covered, next_bytes)
        at = self._sector * size
        writes.append((at, data[:size]))
        if count > 1:
            writes.append((at + size, data[size:]))
        elif self._full and self._shadows:
            writes.append((at + size, self._shadow(data, record)))
        del self._buffer[:covered]
        self._sector += count
        self._byte, self._covers_before = rest, True
        if not self._full:
            self._buffer += bytes(CHECKSUM_RECORD_BYTES)

    def _write_open(self, writes: list[Write]) -> None:
        data, record = self._covered(len(self._buffer), 0)
        at = self._sector * self._sector_bytes
        data += self._filling(at + len(data), self._sector_bytes - len(data))
        writes.append((at, data))
        if self._shadows:
            writes.append((at + self._sector_bytes, self._shadow(data, record)))

    def _covered(self, end: int, next_bytes: int) -> tuple[bytes, ChecksumRecord]:
        """The buffer up to ``end`` with its checksum record filled in, and that record."""
        record = replace(
            new_checksum_record(self._byte if self._covers_before else 0),
            forward_bytes=end - self._byte - CHECKSUM_RECORD_BYTES,
            next_bytes=next_bytes,
        )
        data = bytes(self._buffer[:end])
        size = self._sector_bytes
        record = sealed(record, data, self._byte, self._generation, sector_bytes=size)
        return self._with(data, record), record

    def _with(self, data: bytes, record: ChecksumRecord) -> bytes:
        return data[: self._byte] + record.encode() + data[self._byte + CHECKSUM_RECORD_BYTES :]

    def _shadow(self, data: bytes, record: ChecksumRecord) -> bytes:
        return self._with(data, replace(record, checksum=record.checksum ^ SHADOW_MARK))


def digits_of_version_7(page_size: int) -> int:
    """Hex digits of a generation in the names of logs: 5 up to Exchange 2003, whose pages have
    4 KiB, and 8 from 2007 on [V]."""
    return 5 if page_size <= 4096 else 8


@dataclass(frozen=True, kw_only=True)
class LogV7Format:
    """The logs of one set in version 7; implements :class:`replicator.ese.log_encoding.LogFormat`.

    Arguments
    ---------
    file_bytes: of each log; Exchange 2000 and 2003: 5 MB, 2007: 1 MB.
    version: of the format.
    sector_bytes: of the disk, 512 or a multiple of it.
    page_size: of the databases.
    digits: of a generation in a file name; 5 before Exchange 2007.
    parameters: how the engine was set up, for headers.
    filling: what a partly filled sector holds behind its data; the engine's choice is not known.
    shadows: see :class:`LogV7Encoder`.
    """

    file_bytes: int = 5 << 20
    version: LogVersion = EXCHANGE_2003
    sector_bytes: int = SECTOR_BYTES
    page_size: int = 4096
    digits: int = 5
    parameters: EngineParameters = field(default_factory=EngineParameters)
    filling: Filling = fill_pattern
    shadows: bool = True

    def __post_init__(self) -> None:
        if self.sector_bytes % SECTOR_BYTES or HEADER_BYTES % self.sector_bytes:
            raise ValueError(f"no log has sectors of {self.sector_bytes} bytes")
        sectors, rest = divmod(self.file_bytes, self.sector_bytes)
        if rest or not HEADER_BYTES // self.sector_bytes + 2 <= sectors <= 0xFFFF:
            raise ValueError(f"a log of {self.file_bytes:,} bytes is not made of sectors")

    def header(self, generation: int, created: LogTime) -> LogHeader:
        sectors = self.file_bytes // self.sector_bytes
        parameters = replace(self.parameters, log_size_sectors=sectors)
        return LogHeader(
            generation=generation,
            sector_bytes=self.sector_bytes,
            header_sectors=HEADER_BYTES // self.sector_bytes,
            file_sectors=sectors,
            page_size_field=self.page_size,
            created=created,
            version_major=self.version.major,
            version_minor=self.version.minor,
            version_update_major=self.version.update_major,
            version_update_minor=self.version.update_minor,
            parameter_bytes=parameters.encode(),
            file_type_number=3,
        )

    @property
    def shared_reserves(self) -> bool:
        return self.digits == 5

    @property
    def tells_old_content(self) -> bool:
        """Behind the data the reader takes all but the fill pattern for corruption."""
        return False

    def prepared(self, offset: int, size: int) -> bytes:
        return fill_pattern(offset, size)

    def encoder(self, header: LogHeader) -> LogV7Encoder:
        return LogV7Encoder(header, filling=self.filling, shadows=self.shadows)

    def accumulated_checksum(self, content: Reader) -> int:
        """There is none; but a closed log must be whole."""
        LogFile(content, closed=True)
        return 0

    def resumed(self, content: Reader) -> ResumedLog:
        """Go on behind the last whole record, as the engine does.

        What is torn is cut off: its sectors hold the fill pattern again, and a record that was
        begun there counts for nothing.  All other data is written again as well: after a failed
        sync it may be in the page cache only.
        """
        log = LogFile(content, closed=False)
        header, scan = log.header, log.scan
        if not isinstance(scan, SectorScan):
            detail = f"version {header.version} is not continued in the format of version 7"
            raise EseError(BAD_VERSION, detail, path=log.path, offset=32, events=VERSION_EVENTS)
        repairs: list[Write] = []
        opened, full = None, False
        if scan.last is not None:
            opened = _open_sector(content, header, scan)
            full = not scan.is_torn and scan.last.record.has_short_checksum
            first = header.header_sectors * header.sector_bytes
            end = scan.end if full else opened.number * header.sector_bytes
            if end > first:
                repairs.append((first, RangeReader(content, header).read(first, end - first)))
            repairs += _cut_off(scan, header.sector_bytes)
        encoder = LogV7Encoder(
            header, filling=self.filling, opened=opened, full=full, shadows=self.shadows
        )
        if opened is not None:
            repairs += encoder.rewritten()
        return ResumedLog(encoder, repairs)


def _open_sector(content: Reader, header: LogHeader, scan: SectorScan) -> OpenSector:
    """Where a log that is not without any range goes on."""
    last = scan.last
    assert last is not None
    size = header.sector_bytes
    reader = RangeReader(content, header)
    covers_before = last.covers_its_sector
    data = reader.sector(last.sector + (1 if scan.from_shadow is not None else 0))
    if not scan.is_torn:
        at = scan.end - last.sector * size
        return OpenSector(last.sector, data[:at], last.byte, covers_before)
    assert scan.broken is not None
    number, byte = divmod(scan.broken, size)
    over_shadow = number == last.sector + 1 and reader.shadow_of(last.start, is_last=False)
    if scan.torn_range or over_shadow:
        records = SectorRecords(content, header, scan, closed=False)
        end = last.data_start
        for record in records.of_last_range():
            end = record.position.sector * size + record.position.byte + len(record.data)
        return OpenSector(last.sector, data[: end - last.sector * size], last.byte, covers_before)
    # The chain leads to a place that was never written.
    blank = fill_pattern(0, byte) + bytes(CHECKSUM_RECORD_BYTES)
    return OpenSector(number, blank, byte, covers_before=byte == 0)


def _cut_off(scan: SectorScan, sector_bytes: int) -> list[Write]:
    """The pattern over the sectors of a torn range, but the first and the place of its shadow."""
    last = scan.last
    if not scan.torn_range or last is None or last.sectors <= 2:
        return []
    at, count = last.sector + 2, last.sectors - 2
    return [(at * sector_bytes, fill_pattern(0, count * sector_bytes))]
