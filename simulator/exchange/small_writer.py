"""The writing end of the small store's log: blocks, generations, the roll by rename.

The order of port calls at a roll is the one that a replicator must cope with::

    write E00.log (its last block), sync it, rename E00.log to E0000000g.log,
    create E00.log, write its header, sync it, sync the directory

The plain calls in the middle follow each other without an await, so a cancelled writer
leaves the log either before or after the roll; the syncs that are owed then are made up for
before the next block.

Leaves out: preallocation of the next file.
"""

from __future__ import annotations

from collections.abc import Sequence

from replicator.runtime.port import File, Volume
from simulator.exchange.small_files import Paths, Safeguards, write_fully
from simulator.exchange.small_log import (
    CURRENT_LOG,
    LOG_HEADER_BYTES,
    block_bytes,
    closed_log_name,
    encode_block,
    encode_log_header,
)


class LogWriter:
    """Appends blocks.  One caller at a time; ``written_lsn`` and ``durable_lsn`` are ends.

    Arguments
    ---------
    file, generation, offset: the open ``E00.log``, its generation, where it ends.
    lsn: log position of that end; all before it is durable.
    generations: generation -> first LSN of each log that is kept, oldest first.
    """

    def __init__(
        self,
        volume: Volume,
        paths: Paths,
        signature: int,
        log_size_bytes: int,
        safeguards: Safeguards,
        *,
        file: File,
        generation: int,
        offset: int,
        lsn: int,
        generations: dict[int, int],
    ) -> None:
        self._volume = volume
        self._paths = paths
        self._signature = signature
        self._log_size_bytes = log_size_bytes
        self._safeguards = safeguards
        self._file = file
        self._offset = offset
        self._header_owed = False
        self._generations = generations
        self.generation = generation
        self.written_lsn = lsn
        self.durable_lsn = lsn

    async def make_room(self, body_bytes: int) -> None:
        """Roll the log when a block with so many bytes would not fit; settle owed syncs."""
        size = block_bytes(body_bytes)
        await self._volume.admit(size)
        await self.sync()
        if self._offset > LOG_HEADER_BYTES and self._offset + size > self._log_size_bytes:
            await self._volume.admit(LOG_HEADER_BYTES)
            self._roll()
        if self._header_owed:
            await self._settle_header()

    def write_block(self, records: Sequence[bytes]) -> int:
        """Write one block, for which :meth:`make_room` made room; returns its LSN."""
        lsn = self.written_lsn
        data = encode_block(self._signature, lsn, records)
        write_fully(self._file, self._offset, data)
        self._offset += len(data)
        self.written_lsn += len(data)
        return lsn

    async def sync(self) -> None:
        """Make all blocks durable."""
        written_lsn = self.written_lsn
        if written_lsn > self.durable_lsn:
            if self._safeguards.sync_log_before_commit:
                await self._file.sync()
            self.durable_lsn = written_lsn

    def generation_of(self, lsn: int) -> int:
        """The newest durable generation that begins at or before a log position."""
        return max(g for g, first_lsn in self._generations.items() if first_lsn <= lsn)

    def delete_before(self, generation: int) -> None:
        """Delete closed generations that nothing needs any more, oldest first."""
        for old in [g for g in self._generations if g < generation]:
            self._volume.unlink(self._paths.of(closed_log_name(old)))
            del self._generations[old]

    def close(self) -> None:
        self._file.close()

    def _roll(self) -> None:
        self._file.close()
        current = self._paths.of(CURRENT_LOG)
        self._volume.rename(current, self._paths.of(closed_log_name(self.generation)))
        self._file = self._volume.create(current)
        self.generation += 1
        header = encode_log_header(self._signature, self.generation, self.written_lsn)
        write_fully(self._file, 0, header)
        self._offset = LOG_HEADER_BYTES
        self._header_owed = True

    async def _settle_header(self) -> None:
        if self._safeguards.sync_directory_after_roll:
            await self._file.sync()
            await self._volume.sync_directory(self._paths.directory)
        # Only now: a checkpoint must not name a generation that a power loss could undo.
        self._generations[self.generation] = self.written_lsn
        self._header_owed = False
