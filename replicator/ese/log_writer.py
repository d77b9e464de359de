"""Carries out the writes of an encoder on one file after the other, with the syncs they need.

A call that was cancelled is taken up by the next one: nothing is forgotten between a write and
its sync.
"""

from __future__ import annotations

from collections import deque

from replicator.ese.log_directory import LogSafeguards
from replicator.ese.log_encoding import Write
from replicator.ese.log_options import Durability
from replicator.runtime.port import File, Volume, write_all


class LogWriter:
    """One caller at a time.

    Attributes
    ----------
    dirty: something was written to the file underway and not synced.
    """

    def __init__(self, volume: Volume, durability: Durability, safeguards: LogSafeguards) -> None:
        self._volume = volume
        self._durability = durability
        self._safeguards = safeguards
        self._queue: deque[Write] = deque()
        self._end = 0  # of what was written to the file underway
        self.dirty = False

    def add(self, writes: list[Write]) -> None:
        """What an encoder's flush gave, to be written in this order."""
        self._queue.extend(writes)

    async def write(self, file: File) -> None:
        """Write all that was added, each with the syncs that must come before the next one."""
        durability, guards = self._durability, self._safeguards
        while self._queue:
            offset, data = self._queue[0]
            await self._volume.admit(len(data))
            write_all(file, offset, data)
            self._queue.popleft()
            overwrites = offset < self._end
            self._end = max(self._end, offset + len(data))
            self.dirty = True
            through = durability is Durability.WRITE_THROUGH
            barrier = overwrites and durability is Durability.FLUSH
            if self._queue and guards.order_of_writes and (through or barrier):
                await self._sync(file)

    async def harden(self, file: File) -> None:
        """Make durable what was written."""
        if self.dirty and self._safeguards.sync_before_return:
            await self._sync(file)

    async def _sync(self, file: File) -> None:
        await file.sync()
        self.dirty = False

    def next_file(self) -> None:
        """From here on it is about another file, in which nothing has been written yet."""
        self._end, self.dirty = 0, False
