"""Rules of what is written for good: journal, state slots, the frames that bring it."""

from __future__ import annotations

from typing import Any, Final

import replicator.connection
from replicator.errors import SyncFailed
from replicator.journal import SegmentedLog
from replicator.log_recovery import LogRecovery
from replicator.replica_journal import ReplicaJournal
from replicator.slots import StateSlots
from simulator.mutants.mutant import Mutant, does_nothing, nothing


def _frees_one_segment_more(original: Any) -> Any:
    return lambda self, number: original(self, number + 1)


def _forgets_a_failed_sync(original: Any) -> Any:
    async def make_durable(self: ReplicaJournal, sync: bool = True) -> None:
        try:
            await original(self, sync)
        except SyncFailed:
            await original(self, False)

    return make_durable


def _writes_without_sync(original: Any) -> Any:
    """Slots written by a file whose sync does nothing."""

    async def write(self: StateSlots, state: dict[str, Any]) -> None:
        volume = self._volume
        self._volume = _Unsynced(volume)
        try:
            await original(self, state)
        finally:
            self._volume = volume

    return write


class _Unsynced:
    """A volume whose syncs return at once."""

    def __init__(self, below: Any) -> None:
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def open(self, path: str, read_only: bool = False) -> Any:
        return _UnsyncedFile(self._below.open(path, read_only))

    def create(self, path: str) -> Any:
        return _UnsyncedFile(self._below.create(path))

    async def sync_directory(self, _path: str) -> None:
        return None


class _UnsyncedFile:
    def __init__(self, below: Any) -> None:
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    async def sync(self) -> None:
        return None


def _one_slot_only(original: Any) -> Any:
    async def write(self: StateSlots, state: dict[str, Any]) -> None:
        self._generation += self._generation % 2  # the next one is odd: always slot a
        await original(self, state)

    return write


def _never_promised(_original: Any) -> Any:
    async def promised_later(_self: LogRecovery, _numbers: list[int], _offset: int) -> bool:
        return False

    return promised_later


def _directory_not_synced(original: Any) -> Any:
    async def sync(self: SegmentedLog) -> None:
        self._names_unsynced = False
        await original(self)

    return sync


def _without_limit(original: Any) -> Any:
    def roll(self: SegmentedLog, *arguments: Any) -> Any:
        limit, self.room.limit_bytes = self.room.limit_bytes, 1 << 40
        try:
            return original(self, *arguments)
        finally:
            self.room.limit_bytes = limit

    return roll


LOG_MUTANTS: Final = (
    Mutant(
        "limits_kept",
        "spool and journal grow beyond their limits",
        ((SegmentedLog, "roll", _without_limit),),
    ),
    Mutant(
        "journal_freed_by_checkpoint",
        "a segment is freed that recovery still needs",
        ((SegmentedLog, "free_before", _frees_one_segment_more),),
    ),
    Mutant(
        "failed_sync_ends_the_process",
        "after a failed sync the journal goes on as if it had worked",
        ((ReplicaJournal, "make_durable", _forgets_a_failed_sync),),
    ),
    Mutant(
        "segment_names_synced",
        "a new segment of the journal has no durable name",
        ((SegmentedLog, "sync", _directory_not_synced),),
    ),
    Mutant(
        "read_is_not_synced",
        "recovery vouches for what it has read, though it may stand in the cache only",
        ((SegmentedLog, "write_again", nothing),),
    ),
    Mutant(
        "damage_is_no_torn_tail",
        "damaged records that had been acknowledged are cut off as if they were torn",
        ((LogRecovery, "_promised_later", _never_promised),),
    ),
    Mutant(
        "slots_synced",
        "checkpoints and epochs are written without a sync",
        ((StateSlots, "write", _writes_without_sync),),
    ),
    Mutant(
        "slots_alternate",
        "a checkpoint is written over the one before",
        ((StateSlots, "write", _one_slot_only),),
    ),
    Mutant(
        "frame_checksum",
        "bytes that were flipped on the way are not noticed",
        ((replicator.connection, "check_frame", does_nothing),),
    ),
)
