"""The ranges of a version 7 log, one by one: is this checksum record to be trusted, and its range?

The rules are those of the engine's own reader, E src/ese/_log/logread_legacy.cxx.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from replicator.ese.log_header import LogHeader
from replicator.ese.log_record_types import Kind
from replicator.ese.log_v7_checksum import (
    CHECKSUM_RECORD_BYTES,
    SHADOW_MARK,
    SHORT_OFF,
    SHORT_ON,
    ChecksumRecord,
    range_checksum,
    short_checksum,
    xor_bytes,
)
from replicator.ese.reader import Reader, read_exactly

CHUNK_BYTES: Final = 64 * 1024
"""How much is read and summed at a time; a multiple of 4 and of every sector size."""


@dataclass(frozen=True, slots=True)
class Range:
    """A checksum record, and where it stands.

    Arguments
    ---------
    start: offset of the record in the file.
    sector_bytes: size of a sector.
    record: what it says.
    """

    start: int
    sector_bytes: int
    record: ChecksumRecord

    @property
    def sector(self) -> int:
        return self.start // self.sector_bytes

    @property
    def byte(self) -> int:
        """Where in its sector it begins."""
        return self.start % self.sector_bytes

    @property
    def data_start(self) -> int:
        """Offset of the first byte behind the record."""
        return self.start + CHECKSUM_RECORD_BYTES

    @property
    def end(self) -> int:
        """Offset of the first byte that it does not cover any more."""
        return self.data_start + self.record.forward_bytes

    @property
    def sectors(self) -> int:
        """How many sectors it reaches over, a partly filled one included."""
        return -(-self.end // self.sector_bytes) - self.sector

    @property
    def next_start(self) -> int:
        """Offset of the next checksum record; only where there is one."""
        return self.data_start + self.record.next_bytes

    @property
    def covers_its_sector(self) -> bool:
        """Whether what stands before the record in its sector counts.

        It does not where recovery cut off a torn record and began anew.
        """
        return self.record.backward_bytes == self.byte


class RangeReader:
    """Reads a version 7 log by ranges, a chunk at a time.

    Arguments
    ---------
    reader: the file.
    header: of the log; its geometry was checked.
    instead: a sector's number and the content that it is taken to have.
    """

    def __init__(
        self, reader: Reader, header: LogHeader, instead: tuple[int, bytes] | None = None
    ) -> None:
        self._reader = reader
        self._instead = instead
        self._chunk = b""
        self._chunk_start = 0
        self.sector_bytes = header.sector_bytes
        self.file_sectors = header.file_sectors
        self.file_bytes = header.file_bytes
        self.generation = header.generation

    def read(self, offset: int, size: int) -> bytes:
        """Raises EseError -1022 where the file ends before."""
        at = offset - self._chunk_start
        if at < 0 or at + size > len(self._chunk):
            wanted = max(size, min(CHUNK_BYTES, self.file_bytes - offset))
            self._chunk = self._patched(offset, read_exactly(self._reader, offset, wanted))
            self._chunk_start = offset
            at = 0
        return self._chunk[at : at + size]

    def _patched(self, offset: int, data: bytes) -> bytes:
        if self._instead is None:
            return data
        number, content = self._instead
        start = number * self.sector_bytes - offset
        if start >= len(data) or start + len(content) <= 0:
            return data
        first, last = max(start, 0), min(start + len(content), len(data))
        return data[:first] + content[first - start : last - start] + data[last:]

    def sector(self, number: int) -> bytes:
        """A sector's bytes; none behind the end of the file."""
        if number >= self.file_sectors:
            return b""
        return self.read(number * self.sector_bytes, self.sector_bytes)

    def range_at(self, start: int, *, copy: int = 0) -> Range | None:
        """The range that begins there, if its checksum record can be trusted; else None.

        The short checksum is verified, the range's own sum is not.

        Arguments
        ---------
        start: offset of the checksum record.
        copy: read it so many sectors further on: 1 for a shadow.
        """
        number, byte = divmod(start, self.sector_bytes)
        data = self.sector(number + copy)
        if byte + CHECKSUM_RECORD_BYTES > len(data) or data[byte] != Kind.CHECKSUM:
            return None
        record = ChecksumRecord.decode(data[byte : byte + CHECKSUM_RECORD_BYTES])
        found = Range(start, self.sector_bytes, record)
        return found if self._makes_sense(found, data) else None

    def _makes_sense(self, found: Range, sector: bytes) -> bool:
        record = found.record
        if record.backward_bytes not in (0, found.byte):
            return False
        if record.short_flag == SHORT_ON:
            wanted = short_checksum(record, sector, found.byte, self.generation)
        elif record.short_flag == SHORT_OFF:
            wanted = 0
        else:
            return False
        if record.short_checksum != wanted or found.end > self.file_bytes:
            return False
        covered = found.end - found.sector * self.sector_bytes
        long = covered > self.sector_bytes
        whole = covered % self.sector_bytes == 0
        if long is not record.has_short_checksum or (long and not whole):
            return False
        if not record.next_bytes:
            return True
        # The next one stands in the sector behind the range, which ends with a sector.
        return whole and found.next_start // self.sector_bytes == found.sector + found.sectors

    def verifies(self, found: Range, *, copy: int = 0) -> bool:
        """Whether the range's own sum is right, or that of its shadow ``copy`` sectors on."""
        shift = copy * self.sector_bytes
        backward = self.read(
            found.start + shift - found.record.backward_bytes, found.record.backward_bytes
        )
        forward = 0
        for at in range(found.data_start, found.end, CHUNK_BYTES):
            size = min(CHUNK_BYTES, found.end - at)
            forward ^= xor_bytes(self.read(at + shift, size))
        wanted = range_checksum(found.record, xor_bytes(backward), forward, self.generation)
        return found.record.checksum == wanted ^ (SHADOW_MARK if copy else 0)

    def shadow_of(self, start: int, *, is_last: bool = True) -> Range | None:
        """The shadow of the sector with a checksum record, if the next sector is one.

        Arguments
        ---------
        start: offset of the checksum record in the sector itself.
        is_last: the shadow must know of no checksum record behind it.
        """
        found = self.range_at(start, copy=1)
        if found is None or found.record.has_short_checksum:
            return None
        if is_last and found.record.next_bytes:
            return None
        return found if self.verifies(found, copy=1) else None
