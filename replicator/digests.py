"""Digests of two sizes, by which two images are compared without sending them.

A file is cut into *extents* of 256 KiB and these into *pages* of 8 KiB.  The digest of an extent
is that of its pages' digests, so that one reading gives both.  Extents are compared first, and
only of those that differ the pages: where nothing differs, 8 bytes stand for 256 KiB.

Why 8 bytes are enough: two different contents have the same digest of b bits with probability
2**-b, and only digests of the *same place* at both ends are ever held against each other, so
that n comparisons miss a difference with probability at most n * 2**-b.  An extent's digest
fails with its pages' digests, or by itself.  In an image of 2**40 bytes, all of it different,
these are 2**22 extents and 2**27 pages:

    (2**22 + 2**27) * 2**-64  <  2**-36, about 1 in 7 * 10**10

Each attempt and each comparison has a *seed* of its own, so what one missed the next one
finds.  The digest is none against forgery: who may speak to the replica may send it anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import xxhash

from replicator.runtime.port import Scan

PAGE_BYTES: Final = 8192
PAGES_PER_EXTENT: Final = 32
EXTENT_BYTES: Final = PAGE_BYTES * PAGES_PER_EXTENT
DIGEST_BYTES: Final = 8
_ROW_BYTES: Final = PAGES_PER_EXTENT * DIGEST_BYTES
PIECE_BYTES: Final = EXTENT_BYTES
"""What is read and digested in one piece: it stays in the processor's cache in between."""
DIGEST_COST_NS_PER_BYTE: Final = 0.1
"""Processor time of digests in the simulator: about 10 GB/s (xxh3 on one 2.5 GHz core)."""

DigestScan = Callable[[Scan], Awaitable[list[bytes]]]
"""Hands over what a file has of a range, in pieces; an empty list when it has nothing."""


def pages_of(size_bytes: int) -> int:
    """How many pages a file of so many bytes has, the last one perhaps cut short."""
    return -(-size_bytes // PAGE_BYTES)


def extents_of(pages: int) -> int:
    """How many extents so many pages are."""
    return -(-pages // PAGES_PER_EXTENT)


def page_digests(data: bytes, pages: int, seed: int) -> bytes:
    """The digests of so many pages, one after the other.

    Arguments
    ---------
    data: the bytes from the first page on; what is missing at the end counts as zeros.
    seed: of this attempt, 64 bits.
    """
    digest = xxhash.xxh3_64_digest
    view = memoryview(data)
    whole = min(len(data) // PAGE_BYTES, pages)
    found = [digest(view[at : at + PAGE_BYTES], seed) for at in _starts(0, whole)]
    for at in _starts(whole, pages):
        found.append(digest(bytes(view[at : at + PAGE_BYTES]).ljust(PAGE_BYTES, b"\0"), seed))
    return b"".join(found)


def _starts(first_page: int, end_page: int) -> range:
    return range(first_page * PAGE_BYTES, end_page * PAGE_BYTES, PAGE_BYTES)


class RangeDigests(NamedTuple):
    """The digests of a range that begins at an extent."""

    extents: bytes
    pages: bytes

    def pages_of_extent(self, number: int) -> bytes:
        """The digests of the pages of one of the extents, counted from the first."""
        return self.pages[number * _ROW_BYTES : (number + 1) * _ROW_BYTES]


def with_extents(pages: bytes, seed: int) -> RangeDigests:
    """Add the extents' digests to those of their pages."""
    digest = xxhash.xxh3_64_digest
    rows = range(0, len(pages), _ROW_BYTES)
    return RangeDigests(b"".join(digest(pages[at : at + _ROW_BYTES], seed) for at in rows), pages)


def differing(own: bytes, theirs: bytes) -> list[int]:
    """The numbers of the digests that differ between two rows of the same length."""
    if own == theirs:
        return []
    step = DIGEST_BYTES
    return [
        at // step
        for at in range(0, len(theirs), step)
        if own[at : at + step] != theirs[at : at + step]
    ]


async def digest_range(scan: DigestScan, first_extent: int, pages: int, seed: int) -> RangeDigests:
    """Read and digest the pages of a range; what is missing counts as zeros.

    Arguments
    ---------
    scan: reads the file.
    first_extent, pages: where the range begins, and how many pages it has.
    """

    def digests(piece: bytes) -> bytes:
        return page_digests(piece, pages_of(len(piece)), seed)

    rows = await scan(
        Scan(
            first_extent * EXTENT_BYTES,
            pages * PAGE_BYTES,
            PIECE_BYTES,
            digests,
            DIGEST_COST_NS_PER_BYTE,
        )
    )
    # A file that is cut and grows again meanwhile may give fewer digests in the middle; what lies
    # behind the cut is told by the operations that follow, whatever is thought of it here.
    found = b"".join(rows)
    missing = pages - len(found) // DIGEST_BYTES
    return with_extents(found + page_digests(b"", 1, seed) * missing, seed)
