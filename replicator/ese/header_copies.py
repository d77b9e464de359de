"""Writing a header that stands twice at the beginning of a file: databases and checkpoints.

The first copy is written and made durable, then the second (E src/ese/_osu/fileu.cxx).  So one
of the two is whole at every instant, and where both are whole and differ, the first is newer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from replicator.ese.checksum import header_checksum
from replicator.ese.database_header import HeaderReading
from replicator.ese.reader import BytesReader
from replicator.runtime.port import File, Volume, write_all


@dataclass(frozen=True, slots=True)
class HeaderSafeguards:
    """Switches for tests, which show that each is needed."""

    sync_between_copies: bool = True
    """The second copy is begun when the first is on disk."""
    sync_at_end: bool = True
    """A write returns when both are."""
    repair_at_open: bool = True
    """A copy that is damaged, old, or perhaps in the page cache only, is written again."""


ALL_SAFEGUARDS: Final = HeaderSafeguards()


def sealed(block: bytes, size_bytes: int) -> bytes:
    """A header block of its full size with its checksum, as it is written."""
    whole = block.ljust(size_bytes, b"\0")
    return header_checksum(whole).to_bytes(4, "little") + whole[4:]


class HeaderCopies:
    """The two copies in an open file; one writer at a time.

    Arguments
    ---------
    volume: of the file, for its back-pressure.
    file: open; whoever opened it closes it.
    """

    def __init__(
        self, volume: Volume, file: File, safeguards: HeaderSafeguards = ALL_SAFEGUARDS
    ) -> None:
        self._volume = volume
        self.file = file
        self._safeguards = safeguards

    async def start(self, largest_block_bytes: int) -> BytesReader:
        """The beginning of the file, for whoever knows how its copies are read."""
        return BytesReader(await self.file.read_at(0, 2 * largest_block_bytes), self.file.path)

    async def repair(self, reading: HeaderReading) -> None:
        """Make both copies the one that counts, the one that it was read from last.

        What was read may be in the page cache only, since a failed sync.  The first copy was
        durable before the second was begun; so where both are equal the first is on disk, and
        where they differ the second is, and the first is written before it.
        """
        if not self._safeguards.repair_at_open:
            return
        block = reading.used
        used_second = not reading.good[0]
        if used_second or (reading.good[1] and not reading.equal):
            await self._put(0, block, sync=True)
        await self._put(len(block), block, sync=True)

    async def write(self, block: bytes) -> None:
        """Write a sealed block, first copy, second copy, each durable.

        Raises StorageError; then nothing may be written through this object any more.
        """
        guards = self._safeguards
        await self._put(0, block, sync=guards.sync_between_copies)
        await self._put(len(block), block, sync=guards.sync_at_end)

    async def _put(self, offset: int, block: bytes, *, sync: bool) -> None:
        await self._volume.admit(len(block))
        write_all(self.file, offset, block)
        if sync:
            await self.file.sync()
