"""Recovery: what the start of a replica makes of its disks, before it listens to anybody.

It is the replica's usual order with nothing arriving, from the newest checkpoint on::

    load the checkpoint -> read the journal through -> make it durable -> redo -> checkpoint

* What is taken over was perhaps never synced by the process that wrote it.  So the journal is
  made durable before anything of it is applied, as if it had just arrived.
* A torn end is what was never promised, and is erased.  What is *damaged* is set aside, never
  deleted; and that the image is in doubt is noted durably **before**, in both copies: the journal
  that shows it is gone afterwards.  A journal that lacks what the checkpoint counts on (it is lost,
  or not mounted) is damaged, too.  What does not fit in front of where redo begins is in home
  already: it is told, and raises no doubt.
* A *home* that is not that of the checkpoint (a file is gone: the disk had said that it had it, or
  somebody has removed it; or a committed image cannot take its place, and may have begun to) is the
  image of nothing any more.  Nothing of the journal is applied to it; the source brings another
  image, of an epoch that nothing here knows of.
* An image that was committed and becomes home only here rests on pages that were compared before
  the machine was started: it counts as not verified.
* Recovery that is cut short is repeated by the next start, with the same end.
* A volume without room is waited for; it is no reason to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from replicator.errors import DamagedImage, DamagedLog
from replicator.journal import Position
from replicator.protocol import BatchHeader
from replicator.records import Record, RecordType
from replicator.staging import remove_staging

if TYPE_CHECKING:
    from replicator.replica_store import ReplicaStore

_ANY_EPOCH: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What the start of a replica found and did."""

    epoch: int
    operation: int
    redone_operations: int
    damage: str
    """Why the image cannot be trusted until the source has repaired it; empty when it can."""
    unverified: str = ""
    """Why nobody knows whether the disk holds what it said; empty when that is known."""


async def recover(store: ReplicaStore) -> RecoveryReport:
    """Recover what is on disk to an image; returns when it is usable and durable.

    Raises ForeignLog for another set's directory.
    """
    runtime, image = store.runtime, store.image
    runtime.emit("activity", "recovery")
    store.refuse_foreign()
    await store.patience.with_room(lambda: _make_directories(store))
    redo_from = await _load_checkpoint(store)
    newest = await _read_journal(store, redo_from)
    await store.promises.vouch()
    store.marks.cursor = store.promises.redo_position(*redo_from)
    before = image.epoch, image.applied
    try:
        await store.patience.with_room(lambda: _redo(store))
        if not store.marks.promoted:  # else they are the clients' by now
            image.home.check_names()
    except DamagedLog as damaged:
        image.doubt(str(damaged))
    except DamagedImage as damaged:
        _begin_anew(store, damaged, newest)
    image.not_compared()
    _raise_marks(store)
    # Where the replica has taken over, and nothing was left to do, modes are the clients' by now.
    if not store.marks.promoted or (image.epoch, image.applied) != before:
        image.home.put_back_attributes()
    if newest.get(image.epoch, 0) > image.applied and not image.damage:
        image.doubt("recovery ended before the journal did")
    await store.patience.with_room(store.checkpointer.take)
    # What a broken attempt left is for the next one, unless there will be none.
    useless = _ANY_EPOCH if store.marks.promoted else store.marks.committed_epoch
    remove_staging(store.volume, store.staging_root, useless)
    runtime.emit("activity", "")
    runtime.emit("recovered", image.epoch, image.applied)
    redone = image.applied - (before[1] if before[0] == image.epoch else 0)
    return RecoveryReport(image.epoch, image.applied, redone, image.damage, image.unverified)


async def _make_directories(store: ReplicaStore) -> None:
    promises = store.promises
    for where, path in (
        (store.volume, store.root),
        (store.volume, store.image.home.root),
        (store.volume, store.staging_root),
        (promises.volume, promises.root),
        (promises.volume, promises.log.directory),
    ):
        if not where.exists(path):
            where.mkdir(path)
        # One that is there may have been made by a process that died before this sync.
        if path != where.root:
            await where.sync_directory(path.rpartition("/")[0] or "/")


async def _load_checkpoint(store: ReplicaStore) -> Position:
    """Take over the newest checkpoint; returns where in the journal redo begins."""
    marks, image = store.marks, store.image
    found = await store.checkpoints.load()
    marks.promoted, marks.promised_epoch = found.promoted, found.promised_epoch
    if found.damage:
        image.doubt(found.damage)
    if found.checkpoint_lost:
        # Without a checkpoint nobody knows what home is: start over, home as a basis.
        await store.patience.with_room(store.checkpoints.keep_damaged)
        await store.patience.with_room(store.promises.set_damaged_aside)
    if store.checkpoints.one_was_damaged:
        store.runtime.emit("checkpoint_fallback")
    state = found.checkpoint
    if state is None:
        return Position(0, 0)
    image.load(state)
    marks.committed_epoch = state["epoch"]
    marks.checkpointed = state["operation"]
    return Position(int(state["segment"]), int(state["offset"]))


async def _read_journal(store: ReplicaStore, redo_from: Position) -> dict[int, int]:
    """Read the journal through; returns the last operation of each epoch that stands in it.

    Its torn end is erased.  If it is damaged, the image is in doubt from then on.
    """
    promises, image = store.promises, store.image
    newest: dict[int, int] = {}

    def visit(record: Record, _position: Position) -> None:
        if record.type == RecordType.BATCH:
            header = BatchHeader.decode(record.prefix)
            newest[header.epoch] = header.last
        elif record.type == RecordType.COMMIT:
            store.marks.committed_epoch = record.epoch

    found = await promises.recover(visit, redo_from)
    passed = promises.log.passed_over
    if passed is not None:
        store.runtime.emit(
            "rot_passed_over", f"{passed.path} at byte {passed.offset}", passed.reason
        )
    if found is not None:
        image.doubt(str(found.error()))
        # In both copies, and before the journal that shows it is gone.
        doubtful = store.checkpointer.note(redo_from)
        await store.patience.with_room(lambda: store.checkpoints.write_both(doubtful))
        await store.patience.with_room(promises.set_damaged_aside)
    elif promises.log.tail_was_torn:
        store.runtime.emit("tail_erased", "journal")
    return newest


async def _redo(store: ReplicaStore) -> None:
    """Apply what the journal has beyond the checkpoint; can be repeated after NoSpace."""
    await store.checkpointer.take_again()  # a barrier that found no room
    await store.apply.go_on()


def _begin_anew(store: ReplicaStore, damaged: DamagedImage, newest: dict[int, int]) -> None:
    """Nothing that the journal has is for this home; what comes has a number of its own."""
    marks, image = store.marks, store.image
    if marks.promoted:
        image.doubt(str(damaged))  # no source brings another one
        return
    marks.promised_epoch = max(marks.promised_epoch, marks.epoch_after, max(newest, default=0) + 1)
    image.lose(str(damaged))


def _raise_marks(store: ReplicaStore) -> None:
    """What was redone is durable, and the next source goes on behind it."""
    marks, image = store.marks, store.image
    marks.cursor = store.promises.durable_end
    marks.stream_epoch, marks.durable = image.epoch, image.applied
    marks.stream_chain = image.chain
    marks.committed_epoch = image.epoch
