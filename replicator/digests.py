"""Digests of two sizes, by which two images are compared without sending them.

A file is cut into *extents* of 256 KiB and these into *pages* of 8 KiB.  Extents are compared
first, and only of those that differ the pages: where nothing differs, a digest of 8 bytes
stands for 256 KiB and one call computes it.

Why 8 bytes are enough: two different contents have the same digest of b bits with probability
2**-b, and only digests of the *same place* at both ends are ever held against each other, so
that n comparisons miss a difference with probability at most n * 2**-b.  In an image of
2**40 bytes, all of it different, these are 2**22 extents and 2**27 pages:

    (2**22 + 2**27) * 2**-64  <  2**-36, about 1 in 7 * 10**10

Each attempt and each comparison has a *seed* of its own, so what one missed the next one
finds.  The digest is none against forgery: who may speak to the replica may send it anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import xxhash

from replicator.runtime import group
from replicator.runtime.channels import Queue
from replicator.runtime.port import Runtime

PAGE_BYTES: Final = 8192
PAGES_PER_EXTENT: Final = 32
EXTENT_BYTES: Final = PAGE_BYTES * PAGES_PER_EXTENT
DIGEST_BYTES: Final = 8
READ_BYTES: Final = 1 << 20
"""What is read and digested in one piece, while the next one is read."""
DIGEST_COST_NS_PER_BYTE: Final = 0.1
"""Processor time of digests in the simulator: about 10 GB/s (xxh3 on one 2.5 GHz core)."""

Read = Callable[[int, int], Awaitable[bytes]]
"""Offset and length to bytes; fewer where there are no more."""


def pages_of(size_bytes: int) -> int:
    """How many pages a file of so many bytes has, the last one perhaps cut short."""
    return -(-size_bytes // PAGE_BYTES)


def extents_of(pages: int) -> int:
    """How many extents so many pages are."""
    return -(-pages // PAGES_PER_EXTENT)


def _digests(data: bytes, pages: int, seed: int, step_bytes: int) -> bytes:
    """Digests of the steps of ``pages`` pages; what ``data`` lacks at its end is zeros."""
    digest = xxhash.xxh3_64_digest
    end = pages * PAGE_BYTES
    view = memoryview(data)
    whole = min(len(data), end) // step_bytes * step_bytes
    found = [digest(view[at : at + step_bytes], seed) for at in range(0, whole, step_bytes)]
    for at in range(whole, end, step_bytes):
        wanted = min(step_bytes, end - at)
        piece = bytes(view[at : at + wanted])
        found.append(digest(piece.ljust(wanted, b"\0"), seed))
    return b"".join(found)


def extent_digests(data: bytes, pages: int, seed: int) -> bytes:
    """The digests of the extents of so many pages, one after the other.

    Arguments
    ---------
    data: the bytes from the first page on; what is missing at the end counts as zeros.
    seed: of this attempt, 64 bits.
    """
    return _digests(data, pages, seed, EXTENT_BYTES)


def page_digests(data: bytes, pages: int, seed: int) -> bytes:
    """The digests of so many pages; see :func:`extent_digests`."""
    return _digests(data, pages, seed, PAGE_BYTES)


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


async def digest_extents(
    runtime: Runtime, read: Read, first_extent: int, pages: int, seed: int
) -> bytes:
    """Read and digest the extents of a range; reading is one piece ahead.

    Arguments
    ---------
    read: gives the file's bytes.
    first_extent, pages: where the range begins, and how many pages it has.
    """
    start, end = first_extent * EXTENT_BYTES, first_extent * EXTENT_BYTES + pages * PAGE_BYTES
    pieces: Queue[bytes] = Queue(limit_items=1)

    async def read_ahead() -> None:
        for offset in range(start, end, READ_BYTES):
            await pieces.put(await read(offset, min(READ_BYTES, end - offset)))

    digests: list[bytes] = []
    async with group() as g:
        g.spawn(read_ahead(), "read ahead")
        for offset in range(start, end, READ_BYTES):
            data = await pieces.get()
            length = min(READ_BYTES, end - offset)
            digests.append(
                await runtime.compute(
                    lambda data=data, length=length: extent_digests(  # type: ignore[misc]
                        data, length // PAGE_BYTES, seed
                    ),
                    int(length * DIGEST_COST_NS_PER_BYTE),
                )
            )
    return b"".join(digests)
