"""Rules of the replica: journal, apply, checkpoint, resynchronization, takeover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

import replicator.home
import replicator.replica_recovery
from replicator.block_frames import ExtentsWanted
from replicator.home import HomeImage
from replicator.image_receiver import ImageReceiver
from replicator.journal import Position
from replicator.replica_apply import ReplicaApply
from replicator.replica_intake import ReplicaIntake
from replicator.replica_journal import ReplicaJournal
from replicator.replica_store import ReplicaStore
from replicator.safeguards import ALL_SAFEGUARDS
from replicator.staging import Staging
from simulator.mutants.mutant import Mutant, nothing


def _switched_off() -> Iterator[Mutant]:
    """One for each rule that the replicator can switch off itself.

    But for the chain: frames have checksums and operations numbers, so that no drawn plan needs
    it; ``tests/crash/test_safeguards.py`` shows what it is for.  And but for both copies at names,
    which one plan of 35,000 met: ``tests/crash/test_newest_checkpoint_rots.py``.
    """
    meanings = {
        "journal_before_apply": "what is not in the journal yet reaches home",
        "sync_before_acknowledge": "the durable mark does not wait for the journal's sync",
        "apply_in_order": "a batch is applied from its end",
        "barrier_at_names": "no checkpoint before and after a change of names",
        "sequence_check": "gaps and repetitions are taken",
        "stable_file_ids": "operations find their file by the path of the past",
        "atomic_resynchronization": "differing blocks go straight into the image",
    }
    for name, meaning in meanings.items():
        yield Mutant(name, meaning, (), replace(ALL_SAFEGUARDS, **{name: False}))


def _files_only(_original: Any) -> Any:
    async def sync(self: HomeImage) -> None:
        await self._sync_files()
        self._directories.clear()

    return sync


def _as_much_as_fits(_original: Any) -> Any:
    def write(file: Any, offset: int, *buffers: Any) -> int:
        written: int = file.write_at(offset, *buffers)
        return written

    return write


def _finds_no_difference(original: Any) -> Any:
    async def differing(self: ImageReceiver, frame: Any) -> ExtentsWanted:
        found = await original(self, frame)
        return ExtentsWanted(found.file_id, found.first, found.extents, [], found.absent)

    return differing


def _no_redo(_original: Any) -> Any:
    async def redo(store: ReplicaStore) -> None:
        store.marks.cursor = store.promises.durable_end

    return redo


def _commit_in_memory(_original: Any) -> Any:
    async def settle(self: ReplicaIntake) -> None:
        if self._pending_commit:
            marks = self._marks
            await self._journal.make_durable(False)
            marks.committed_epoch = max(marks.committed_epoch, self._pending_commit)
            self._pending_commit = 0
            marks.tell()

    return settle


def _switch_without_checkpoint(original: Any) -> Any:
    async def switch(self: ReplicaApply, record: Any) -> None:
        with patch.object(self._checkpointer, "take", nothing(None)):
            await original(self, record)

    return switch


def _only_what_is_applied(_original: Any) -> Any:
    def needed_from(_self: ReplicaJournal, cursor: Position) -> Position:
        return cursor

    return needed_from


REPLICA_MUTANTS: Final = (
    *_switched_off(),
    Mutant(
        "home_synced_before_checkpoint",
        "a checkpoint names operations whose bytes are only in the cache",
        ((HomeImage, "sync", nothing),),
    ),
    Mutant(
        "names_synced_before_checkpoint",
        "a checkpoint names operations whose names are only in the cache",
        ((HomeImage, "sync", _files_only),),
    ),
    Mutant(
        "short_writes_noticed",
        "what a full volume does not take is taken for written",
        ((replicator.home, "write_all", _as_much_as_fits),),
    ),
    Mutant(
        "redo_after_restart",
        "recovery does not apply what is in the journal",
        ((replicator.replica_recovery, "_redo", _no_redo),),
    ),
    Mutant(
        "all_differences_sent",
        "a synchronization takes the old blocks for equal",
        ((ImageReceiver, "_differing", _finds_no_difference),),
    ),
    Mutant(
        "staged_pages_synced",
        "pages are committed that are only in the cache",
        ((Staging, "sync", nothing),),
    ),
    Mutant(
        "commit_synced",
        "a resynchronization is said to be committed before its record is durable",
        ((ReplicaIntake, "settle", _commit_in_memory),),
    ),
    Mutant(
        "checkpoint_before_discard",
        "staged pages are removed before a checkpoint includes them",
        ((ReplicaApply, "_switch_image", _switch_without_checkpoint),),
    ),
    Mutant(
        "operations_held",
        "operations of an image that is still being brought over are freed",
        ((ReplicaJournal, "needed_from", _only_what_is_applied),),
    ),
)
