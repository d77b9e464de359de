"""The flush map (.jfm): two bits a database page that betray a write which never arrived.

E src/inc/flushmap.hxx, src/ese/flushmap.cxx; V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from replicator.ese.checksum import header_checksum
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.errors import EseError
from replicator.ese.layout import Structure, log_time, signature, u32, u64
from replicator.ese.reader import Reader, name_of, read_exactly
from replicator.ese.values import LogTime, Signature
from replicator.ese.verification import Verdict, judge_page

MAP_PAGE_BYTES: Final = 8192
ENTRIES_A_PAGE: Final = 32512
"""Database pages that one map page speaks of: 4 a byte behind its header."""

MAP_PAGE_HEADER_BYTES: Final = 64
FLUSH_MAP_TYPE: Final = 7
CLEAN: Final = 1
FLUSH_TYPE_SHIFT: Final = 15
"""Where the two bits stand in the flags of a database page."""


class FlushType(IntEnum):
    """Each write of a page stamps the next one: 1, 2, 3, 1 ..."""

    UNKNOWN = 0
    ROCK = 1
    PAPER = 2
    SCISSORS = 3


@dataclass(frozen=True, kw_only=True)
class FlushMapHeader(Structure, size_bytes=671):
    """The first page of the file."""

    checksum: int = u32(0)
    version_major: int = u32(4)
    version_update: int = u32(8)
    version_minor: int = u32(12)
    flags: int = u32(36, "1: closed in good order")
    create_time: LogTime = log_time(40)
    attach_time: LogTime = log_time(48)
    detach_time: LogTime = log_time(56)
    first_required_generation: int = u32(64)
    first_required_target: int = u32(68)
    flush_started: LogTime = log_time(72)
    flush_ended: LogTime = log_time(80)
    header_flush_signature: Signature = signature(88)
    map_flush_signature: Signature = signature(116)
    file_type_number: int = u32(667)

    @property
    def is_clean(self) -> bool:
        return bool(self.flags & CLEAN)

    def belongs_to(self, header: DatabaseHeader) -> bool:
        """Whether this map is that database's: one of the two signatures is the same."""
        pairs = (
            (self.header_flush_signature, header.header_flush_signature),
            (self.map_flush_signature, header.map_flush_signature),
        )
        return any(not mine.is_zero and mine == theirs for mine, theirs in pairs)


@dataclass(frozen=True, kw_only=True)
class MapPageHeader(Structure, size_bytes=MAP_PAGE_HEADER_BYTES):
    """The first bytes of each map page behind the header."""

    checksum: int = u64(0)
    max_dbtime: int = u64(8)
    number: int = u32(16)
    flags: int = u32(36)


class FlushMap:
    """A flush map, read page by page.

    Arguments
    ---------
    reader: the file.

    Raises EseError -1018 when the header is damaged, -1206 when it is no flush map.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._path = name_of(reader)
        block = read_exactly(reader, 0, MAP_PAGE_BYTES)
        self.header = FlushMapHeader.decode(block)
        if not any(block) or self.header.checksum != header_checksum(block):
            detail = "the header's checksum is wrong; the engine would make a new map"
            raise EseError(-1018, detail, path=self._path, offset=0, events=(640,))
        if self.header.file_type_number != FLUSH_MAP_TYPE:
            detail = f"the file type is {self.header.file_type_number}, a flush map's is 7"
            raise EseError(-1206, detail, path=self._path, offset=667, events=(640,))
        self.map_pages = max(0, reader.size_bytes // MAP_PAGE_BYTES - 1)

    def page(self, number: int) -> tuple[MapPageHeader, npt.NDArray[np.uint8]]:
        """One map page: its header and the type of each of its entries.

        Raises EseError -1018 when it is damaged and cannot be mended; -1022 behind the end.
        """
        offset = (number + 1) * MAP_PAGE_BYTES
        data = read_exactly(self._reader, offset, MAP_PAGE_BYTES)
        judgement = judge_page(data, number)
        if judgement.verdict not in (Verdict.GOOD, Verdict.MENDED):
            detail = f"map page {number}: {judgement.verdict.name.lower()}"
            raise EseError(-1018, detail, path=self._path, offset=offset, events=(640,))
        data = judgement.mended or data
        packed = np.frombuffer(data, np.uint8, offset=MAP_PAGE_HEADER_BYTES)
        shifts = np.array((6, 4, 2, 0), np.uint8)
        types = (packed[:, None] >> shifts & np.uint8(3)).reshape(-1)
        return MapPageHeader.decode(data), types

    def max_dbtime(self, pgno: int) -> int:
        """The highest dbtime that the map page of a database page knows of.

        Raises as :meth:`page` does.
        """
        return self.page(pgno // ENTRIES_A_PAGE)[0].max_dbtime

    def types(self, first_pgno: int, count: int) -> npt.NDArray[np.uint8]:
        """The types of ``count`` pages from ``first_pgno`` on; unknown behind the map's end."""
        found = np.zeros(count, np.uint8)
        done = 0
        while done < count:
            number, entry = divmod(first_pgno + done, ENTRIES_A_PAGE)
            if number >= self.map_pages:
                break
            part = self.page(number)[1][entry : entry + count - done]
            found[done : done + len(part)] = part
            done += len(part)
        return found


@dataclass(frozen=True, slots=True)
class LostFlush:
    """A page that is not the one last written.

    Arguments
    ---------
    pgno: its number.
    expected: what the map says.
    found: what the page says; UNKNOWN for a page of zeros.
    """

    pgno: int
    expected: FlushType
    found: FlushType

    @property
    def error(self) -> EseError:
        detail = f"the flush map says {self.expected.name}, the page {self.found.name}"
        return EseError(-1119, detail, page=self.pgno)


def flush_types_of_pages(pages: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The type that each page carries; shape (count, page size)."""
    flags = pages[:, 36:40].copy().view("<u4")[:, 0]
    return (flags >> np.uint32(FLUSH_TYPE_SHIFT) & np.uint32(3)).astype(np.uint8)


def lost_flushes(
    pages: npt.NDArray[np.uint8], first_pgno: int, expected: npt.NDArray[np.uint8]
) -> Iterator[LostFlush]:
    """The pages that carry another type than the map expects; unknown ones are not judged.

    Arguments
    ---------
    pages: shape (count, page size).
    first_pgno: number of the first.
    expected: the map's types of the same pages.
    """
    found = flush_types_of_pages(pages)
    for index in np.flatnonzero((expected != FlushType.UNKNOWN) & (found != expected)):
        place = int(index)
        yield LostFlush(
            first_pgno + place, FlushType(int(expected[place])), FlushType(int(found[place]))
        )
