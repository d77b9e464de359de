"""The index of staged pages: one entry for each slot, 16 bytes: flags u8, digest 15s of the page.

A page counts only with its digest, in which its slot has a part: what a crash left half, or
what belongs elsewhere, is just not there.  A page of zeros is an entry without a page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import xxhash

from replicator.catalogue import Catalogue
from replicator.digests import PAGE_BYTES, pages_of
from replicator.runtime.port import File

ENTRY_BYTES: Final = 16
STAGED: Final = 1
ZEROS: Final = 2
"""The page holds nothing but zeros and is not stored."""
NEEDS_ROOM: Final = 4
"""The present image has no room for it yet: space is reserved."""
_ENTRIES_PER_READ: Final = 4096
_READ_BYTES: Final = 1 << 20
"""Of staged pages, in one piece."""


def index_entry(flags: int, slot: int, page: memoryview | bytes) -> bytes:
    """The entry of a page in this slot; of a page of zeros: ``page`` is empty."""
    return bytes((flags,)) + xxhash.xxh3_128_digest(page, slot)[: ENTRY_BYTES - 1]


async def read_padded(file: File, offset: int, length: int) -> bytes:
    """A range; what lies beyond the end of the file is zeros."""
    return (await file.read_at(offset, length)).ljust(length, b"\0")


async def read_index(file: File, slot: int, pages: int) -> AsyncIterator[tuple[int, bytes]]:
    """(first page, entries) of a file's pages, some thousands at a time."""
    for first in range(0, pages, _ENTRIES_PER_READ):
        count = min(_ENTRIES_PER_READ, pages - first)
        yield first, await read_padded(file, (slot + first) * ENTRY_BYTES, count * ENTRY_BYTES)


def staged_runs(entries: bytes) -> Iterator[tuple[int, int, bool]]:
    """(first, count, all zeros) of adjacent staged pages that are read in one piece."""
    flags = entries[::ENTRY_BYTES]
    page = 0
    while page < len(flags):
        if not flags[page] & STAGED:
            page += 1
            continue
        zeros, end = bool(flags[page] & ZEROS), page + 1
        limit = len(flags) if zeros else min(len(flags), page + _READ_BYTES // PAGE_BYTES)
        while end < limit and flags[end] & STAGED and bool(flags[end] & ZEROS) == zeros:
            end += 1
        yield page, end - page, zeros
        page = end


async def index_digest(file: File, catalogue: Catalogue, slots: list[list[int]]) -> bytes:
    """A checksum of which pages are staged, and of theirs."""
    digest = xxhash.xxh3_128()
    for slot, pages in committed_runs(catalogue, slots):
        async for _, entries in read_index(file, slot[1], pages):
            digest.update(entries)
    return digest.digest()


def committed_runs(catalogue: Catalogue, slots: list[list[int]]) -> Iterator[tuple[list[int], int]]:
    """([file id, first slot], pages) of the files of a commit."""
    sizes = {entry.file_id: entry.size_bytes for _, entry in catalogue.files()}
    for slot in slots:
        yield slot, pages_of(sizes.get(slot[0], 0))
