"""Batches between journal and apply: verified once, kept in memory, read again only beyond."""

from __future__ import annotations

from typing import Final, NamedTuple

from replicator.batch import NumberedOperation
from replicator.journal import Position
from replicator.protocol import BatchHeader

CACHE_BYTES: Final = 8 << 20
OPERATION_BYTES: Final = 512
"""What an operation takes in memory beside its data, about."""


class VerifiedBatch(NamedTuple):
    """A batch that is exactly what follows, ready to be journalled."""

    payload: bytes
    header: BatchHeader
    operations: list[NumberedOperation]

    @property
    def held_bytes(self) -> int:
        """About what it takes in memory: as it came, unpacked, and taken apart."""
        return len(self.payload) + self.header.raw_bytes + OPERATION_BYTES * len(self.operations)


class JournalledBatch(NamedTuple):
    """A batch that is in the journal, and where its record ends."""

    batch: VerifiedBatch
    end: Position


class RecentBatches:
    """The newest batches of the journal by the place of their record, within a bound.

    Arguments
    ---------
    limit_bytes: of memory; the oldest go first.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held: dict[Position, JournalledBatch] = {}
        self._bytes = 0

    def add(self, begin: Position, end: Position, batch: VerifiedBatch) -> None:
        """Keep a batch whose record lies between these places."""
        self._held[begin] = JournalledBatch(batch, end)
        self._bytes += batch.held_bytes
        while self._bytes > self._limit_bytes:
            oldest = self._held.pop(next(iter(self._held)))
            self._bytes -= oldest.batch.held_bytes

    def take(self, begin: Position) -> JournalledBatch | None:
        """Give up the batch whose record begins there; None when it is not held."""
        found = self._held.pop(begin, None)
        if found is not None:
            self._bytes -= found.batch.held_bytes
        return found
