"""Payloads of the frames that compare two images and bring over what differs.

A *question* is about a run of extents of one file; its answer names the extents that differ.
Of those the source tells the digests of their pages, and the replica asks for pages with one
bit each::

    EXTENT_DIGESTS  file u64, first extent u64, after u64, pages u32, digest 8s each
    EXTENTS_WANTED  file u64, first extent u64, extents u32, bit each: pages differ,
                    bit each: there is nothing here to compare with
    PAGE_DIGESTS    file u64, (extent u64, pages u8, digest 8s each) each
    PAGES_WANTED    file u64, (extent u64, pages u32: one bit each) each
    PAGE_DATA       file u64, extents u8, (extent u64, pages u32 and all-zero pages u32: one bit
                    each) each, bytes

For each extent named in EXTENTS_WANTED there is one entry of PAGES_WANTED, perhaps without
pages; for each entry with pages, one of PAGE_DATA: of one frame of wishes, as many in one
frame as have the pages of one extent.  Pages are whole; what a file lacks to the end of its
last page is zeros.  The payloads with digests or data begin with a byte: 1 when
the rest is one zstd frame, which makes long runs of zeros cost next to nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from replicator.compression import contexts
from replicator.digests import (
    DIGEST_BYTES,
    EXTENT_BYTES,
    PAGE_BYTES,
    PAGES_PER_EXTENT,
    extents_of,
)
from replicator.errors import ProtocolViolation
from replicator.untrusted import inflate

EXTENTS_PER_FRAME: Final = 32
_UNPACKED_LIMIT_BYTES: Final = EXTENT_BYTES + 1024
_DOCUMENT_LIMIT_BYTES: Final = 1 << 28
_WORTH_PACKING_BYTES: Final = 64
MAX_FILE_BYTES: Final = 1 << 62

Compress = Callable[[bytes], bytes]


def pack(payload: bytes, compress: Compress | None) -> bytes:
    """The payload behind its first byte, compressed if that makes it shorter."""
    if compress is not None and len(payload) >= _WORTH_PACKING_BYTES:
        packed = compress(payload)
        if len(packed) < len(payload):
            return b"\1" + packed
    return b"\0" + payload


def unpack(payload: bytes, limit_bytes: int = _UNPACKED_LIMIT_BYTES) -> bytes:
    """The inverse of :func:`pack`; raises ProtocolViolation."""
    if payload[:1] == b"\0":
        return payload[1:]
    if payload[:1] != b"\1":
        raise ProtocolViolation("a payload is packed in an unknown way")
    try:
        return inflate(payload[1:], limit_bytes)
    except ValueError as error:
        raise ProtocolViolation(f"a payload cannot be used: {error}") from None


def pack_document(text: str) -> bytes:
    """A large JSON document, as a payload."""
    return pack(text.encode(), contexts(3).compress)


def unpack_document(payload: bytes) -> bytes:
    """The inverse of :func:`pack_document`; raises ProtocolViolation."""
    return unpack(payload, _DOCUMENT_LIMIT_BYTES)


def _bits(numbers: list[int], count: int) -> bytes:
    return sum(1 << number for number in numbers).to_bytes((count + 7) // 8, "little")


def bits_of(mask: int) -> list[int]:
    """The numbers of the bits that are set, in order."""
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def _check_range(first: int, extents: int) -> None:
    if (first + extents) * EXTENT_BYTES > MAX_FILE_BYTES:
        raise ProtocolViolation(f"extent {first} lies beyond any file")


_EXTENT_DIGESTS: Final = struct.Struct("<QQQI")


@dataclass(frozen=True, slots=True)
class ExtentDigests:
    """A question: digests of the extents of ``pages`` pages of a file from ``first`` on.

    ``after``: an operation that the replica must have applied before it compares; in a
    comparison only, otherwise 0.
    """

    file_id: int
    first: int
    after: int
    pages: int
    digests: bytes

    @property
    def extents(self) -> int:
        return extents_of(self.pages)

    def encode(self, compress: Compress | None = None) -> bytes:
        head = _EXTENT_DIGESTS.pack(self.file_id, self.first, self.after, self.pages)
        return pack(head + self.digests, compress)

    @classmethod
    def decode(cls, payload: bytes) -> ExtentDigests:
        """Raises ProtocolViolation."""
        body = unpack(payload)
        if len(body) < _EXTENT_DIGESTS.size:
            raise ProtocolViolation("extent digests are cut short")
        file_id, first, after, pages = _EXTENT_DIGESTS.unpack_from(body)
        found = cls(file_id, first, after, pages, body[_EXTENT_DIGESTS.size :])
        if not 0 < found.extents <= EXTENTS_PER_FRAME:
            raise ProtocolViolation("a question about too many extents, or none")
        if len(found.digests) != found.extents * DIGEST_BYTES:
            raise ProtocolViolation("extent digests of the wrong length")
        _check_range(first, found.extents)
        return found


_EXTENTS_WANTED: Final = struct.Struct("<QQI")


@dataclass(frozen=True, slots=True)
class ExtentsWanted:
    """The answer: which extents differ (numbers from ``first`` on), and which are absent."""

    file_id: int
    first: int
    extents: int
    different: list[int]
    absent: list[int]

    def encode(self) -> bytes:
        return (
            _EXTENTS_WANTED.pack(self.file_id, self.first, self.extents)
            + _bits(self.different, self.extents)
            + _bits(self.absent, self.extents)
        )

    @classmethod
    def decode(cls, payload: bytes) -> ExtentsWanted:
        """Raises ProtocolViolation."""
        if len(payload) < _EXTENTS_WANTED.size:
            raise ProtocolViolation("a list of wanted extents is cut short")
        file_id, first, extents = _EXTENTS_WANTED.unpack_from(payload)
        body = payload[_EXTENTS_WANTED.size :]
        half = (extents + 7) // 8
        if not 0 < extents <= EXTENTS_PER_FRAME or len(body) != 2 * half:
            raise ProtocolViolation("a list of wanted extents of the wrong length")
        different = int.from_bytes(body[:half], "little")
        absent = int.from_bytes(body[half:], "little")
        if different & absent or (different | absent) >> extents:
            raise ProtocolViolation("a list of wanted extents that contradicts itself")
        return cls(file_id, first, extents, bits_of(different), bits_of(absent))


_FILE: Final = struct.Struct("<Q")
_PAGE_DIGESTS: Final = struct.Struct("<QB")
_PAGES_WANTED: Final = struct.Struct("<QI")
EXTENTS_PER_PAGE_FRAME: Final = 16


@dataclass(frozen=True, slots=True)
class PageDigests:
    """Digests of the pages of extents that differ: (extent, digests) each."""

    file_id: int
    extents: list[tuple[int, bytes]]

    def encode(self, compress: Compress | None = None) -> bytes:
        parts = [_FILE.pack(self.file_id)]
        for extent, digests in self.extents:
            parts += (_PAGE_DIGESTS.pack(extent, len(digests) // DIGEST_BYTES), digests)
        return pack(b"".join(parts), compress)

    @classmethod
    def decode(cls, payload: bytes) -> PageDigests:
        """Raises ProtocolViolation."""
        body = unpack(payload)
        if len(body) <= _FILE.size:
            raise ProtocolViolation("page digests are cut short")
        [file_id] = _FILE.unpack_from(body)
        extents: list[tuple[int, bytes]] = []
        at = _FILE.size
        while at < len(body):
            if at + _PAGE_DIGESTS.size > len(body) or len(extents) >= EXTENTS_PER_PAGE_FRAME:
                raise ProtocolViolation("page digests of the wrong length")
            extent, pages = _PAGE_DIGESTS.unpack_from(body, at)
            at += _PAGE_DIGESTS.size
            digests = body[at : at + pages * DIGEST_BYTES]
            at += pages * DIGEST_BYTES
            if not 0 < pages <= PAGES_PER_EXTENT or at > len(body):
                raise ProtocolViolation("page digests of the wrong length")
            _check_range(extent, 1)
            extents.append((extent, digests))
        return cls(file_id, extents)


@dataclass(frozen=True, slots=True)
class PagesWanted:
    """Which pages must be sent: (extent, one bit each) each; no bit: none of this extent."""

    file_id: int
    extents: list[tuple[int, int]]

    def encode(self) -> bytes:
        return _FILE.pack(self.file_id) + b"".join(
            _PAGES_WANTED.pack(*each) for each in self.extents
        )

    @classmethod
    def decode(cls, payload: bytes) -> PagesWanted:
        """Raises ProtocolViolation."""
        size = len(payload) - _FILE.size
        if size <= 0 or size % _PAGES_WANTED.size or size > EXTENTS_PER_FRAME * _PAGES_WANTED.size:
            raise ProtocolViolation("a list of wanted pages of the wrong length")
        [file_id] = _FILE.unpack_from(payload)
        extents = list(_PAGES_WANTED.iter_unpack(payload[_FILE.size :]))
        for extent, _ in extents:
            _check_range(extent, 1)
        return cls(file_id, extents)


_PAGE_DATA: Final = struct.Struct("<QB")
_EXTENT_PAGES: Final = struct.Struct("<QII")


@dataclass(frozen=True, slots=True)
class ExtentPages:
    """Pages of one extent: ``pages`` are in here, of them ``zeros`` hold nothing but zeros.

    ``data``: the other pages, whole, in order.
    """

    extent: int
    pages: int
    zeros: int
    data: bytes

    def runs(self) -> list[tuple[int, int, bytes]]:
        """(first page of the extent, pages, data) of adjacent pages; no data for zeros."""
        found: list[tuple[int, int, bytes]] = []
        at, left = 0, self.pages
        while left:
            page = (left & -left).bit_length() - 1
            zero = self.zeros >> page & 1
            alike = (left & (self.zeros if zero else ~self.zeros)) >> page
            count = (~alike & (alike + 1)).bit_length() - 1
            length = 0 if zero else count * PAGE_BYTES
            found.append((page, count, self.data[at : at + length]))
            at += length
            left &= -1 << page + count
        return found


@dataclass(frozen=True, slots=True)
class PageData:
    """Pages of some extents of a file; together no more than one extent has."""

    file_id: int
    extents: list[ExtentPages]

    def encode(self, compress: Compress | None = None) -> bytes:
        parts = [_PAGE_DATA.pack(self.file_id, len(self.extents))]
        parts += [_EXTENT_PAGES.pack(e.extent, e.pages, e.zeros) for e in self.extents]
        parts += [e.data for e in self.extents]
        return pack(b"".join(parts), compress)

    @classmethod
    def decode(cls, payload: bytes) -> PageData:
        """Raises ProtocolViolation."""
        body = unpack(payload)
        if len(body) < _PAGE_DATA.size:
            raise ProtocolViolation("page data are cut short")
        file_id, count = _PAGE_DATA.unpack_from(body)
        at = _PAGE_DATA.size + count * _EXTENT_PAGES.size
        if not 0 < count <= EXTENTS_PER_PAGE_FRAME or len(body) < at:
            raise ProtocolViolation("page data of too many extents, of none, or cut short")
        extents: list[ExtentPages] = []
        for extent, pages, zeros in _EXTENT_PAGES.iter_unpack(body[_PAGE_DATA.size : at]):
            _check_range(extent, 1)
            end = at + (pages & ~zeros).bit_count() * PAGE_BYTES
            if zeros & ~pages or not pages or end > len(body):
                raise ProtocolViolation("page data of the wrong length")
            extents.append(ExtentPages(extent, pages, zeros, body[at:end]))
            at = end
        if at != len(body) or sum(e.pages.bit_count() for e in extents) > PAGES_PER_EXTENT:
            raise ProtocolViolation("page data of the wrong length")
        return cls(file_id, extents)

    def places(self) -> list[tuple[int, int, int, bytes]]:
        """(file id, byte offset, length, data) of all runs."""
        return [
            (self.file_id, each.extent * EXTENT_BYTES + page * PAGE_BYTES, count * PAGE_BYTES, data)
            for each in self.extents
            for page, count, data in each.runs()
        ]


@dataclass(slots=True)
class BlockTraffic:
    """What a synchronization or comparison costs on the wire, frame headers included.

    Counted where frames are sent (questions: where they arrive) by the source, and the other
    way round by the replica; so both count the same bytes of a session that was not broken.
    """

    digest_bytes: int = 0
    """EXTENT_DIGESTS and PAGE_DIGESTS."""
    question_bytes: int = 0
    """EXTENTS_WANTED and PAGES_WANTED."""
    data_bytes: int = 0
    """PAGE_DATA."""
    compared_bytes: int = 0
    """Of files, by their extents."""
    data_pages: int = 0
    zero_pages: int = 0
    """Pages of zeros, which travel as a bit."""

    @property
    def total_bytes(self) -> int:
        """All of it, both ways."""
        return self.digest_bytes + self.question_bytes + self.data_bytes
