"""The replica's storage: journal first, promise second, apply third.

Order, for everything that arrives (DESIGN section 5)::

    verify -> append to journal -> sync -> durable mark -> apply home -> checkpoint

* The durable mark rises only when the sync has returned, and only what is durable is
  applied: a crash at any point leaves home behind the journal, never ahead.
* Applying is repeated after a crash from the last checkpoint on.  Content carries absolute
  bytes, so repeating is harmless.  A change of *names* is fenced: home is synced and
  checkpointed, the change is made, its directories are synced, and a checkpoint is taken
  again; so redo never meets a name that means another file than it did.
* Operations of an epoch that is still being synchronized are journalled and *held*.  The
  resynchronization becomes the image by one journal record (COMMIT).  Until that record is
  durable the old image stands; from then on recovery always finishes the change.

Recovery replays exactly this with nothing arriving.  :class:`Safeguards` names each rule,
so that tests can switch it off and see the oracles find the breach.

A full volume is no reason to die: apply stands still, says why (``stalled``), and tries
again; what was promised stays in the journal meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from replicator.batch import unpack_body, verify_batch
from replicator.catalogue import Catalogue
from replicator.checkpoints import Checkpoints
from replicator.committed_pages import (
    check_staged,
    discard_committed,
    read_commit,
    staged_pages,
)
from replicator.errors import DamagedLog, ForeignLog, NoSpace, ProtocolViolation
from replicator.image import ReplicaImage
from replicator.journal import LogFull, Position
from replicator.protocol import BATCH_BYTES, Acknowledgement, BatchHeader, Heartbeat
from replicator.recent_batches import VerifiedBatch
from replicator.records import EMPTY_CHAIN, InvalidRecord, Record, RecordType, decode, genesis
from replicator.replica_journal import ReplicaJournal
from replicator.replica_options import ReplicaOptions
from replicator.runtime import group, sleep_ns
from replicator.runtime.channels import Signal
from replicator.runtime.port import Buffer, Runtime, Volume
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from replicator.staging import Staging, VouchedExtents, open_staging, remove_staging

_READ_BYTES: Final = 1 << 20


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


class ReplicaStore:
    """Journal, home image and checkpoints of one replica: everything but the network.

    Arguments
    ---------
    runtime: the world.
    volume, root: where home (``root + "/image"``), checkpoint and staging are.
    journal_volume, journal_root: where the journal is; may be another volume.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        journal_volume: Volume,
        journal_root: str,
        options: ReplicaOptions,
        safeguards: Safeguards = ALL_SAFEGUARDS,
    ) -> None:
        self.runtime = runtime
        self.volume = volume
        self.root = root
        self.options = options
        self.safeguards = safeguards
        self.image = ReplicaImage(runtime, volume, root + "/image", safeguards)
        self.staging_root = root + "/staging"
        self.promises = ReplicaJournal(journal_volume, journal_root, options)
        self.journal = self.promises.log
        self._checkpoints = Checkpoints(volume, root, options.set_id)
        self.changed = Signal()
        """Notified whenever one of the marks below moves."""
        self._asked = Signal()
        """Notified when there may be something to do for :meth:`run`.

        Whoever waits for it to do something asks here and waits for ``changed``.  With one
        signal for both two who wait at a time would wake each other for ever.
        """
        self.stalled = ""
        """Why apply stands still; empty while it works."""
        self.promised_epoch = 0
        """No history of an epoch below this is taken any more."""
        self.promoted = False

        self.checkpointed = 0
        """Last operation that the newest checkpoint includes."""

        # The stream: what is durable in the journal.
        self.committed_epoch = 0
        """Epoch of the image that recovery would produce now."""
        self.stream_epoch = 0
        self.durable = 0
        self.stream_chain = EMPTY_CHAIN

        # Apply's way through the journal.
        self._cursor = self.journal.end
        self._pending_commit = 0
        """Epoch of a COMMIT record that was appended and may not be durable yet."""
        self._checkpoint_ns = 0
        self._checkpoint_wanted = False
        self._state_version = self._durable_version = 0
        self._room_wanted = False
        """The checkpoint is wanted only if it frees a segment."""
        self._vouched: dict[str, VouchedExtents] = {}
        """By staging, what of it this process has written."""

    @property
    def epoch(self) -> int:
        """Epoch of the image at home."""
        return self.image.epoch

    @property
    def applied(self) -> int:
        """Last operation applied to home."""
        return self.image.applied

    @property
    def never_completed(self) -> bool:
        """Whether there is no image, and there never was one."""
        return not (self.epoch or self.committed_epoch or self.damage)

    @property
    def damage(self) -> str:
        """Why the image is in doubt; empty when it is not."""
        return self.image.damage

    @property
    def as_of_ns(self) -> int:
        """The source's wall clock when the image was current."""
        return self.image.as_of_ns

    # -- start ---------------------------------------------------------------------

    async def open(self) -> RecoveryReport:
        """Recover what is on disk to an image; returns when it is usable and durable.

        When ``damage`` of the report is not empty, the image is usable only after the source
        has repaired it.  Raises ForeignLog for another set's directory.
        """
        self.runtime.emit("activity", "recovery")
        self.refuse_foreign()
        await self._make_directories()
        first_segment, first_offset = await self._load()
        newest: dict[int, int] = {}

        def visit(record: Record, _position: Position) -> None:
            if record.type == RecordType.BATCH:
                header = BatchHeader.decode(record.prefix)
                newest[header.epoch] = header.last
            elif record.type == RecordType.COMMIT:
                self.committed_epoch = record.epoch

        image = self.image
        found = await self.promises.recover(visit, first_segment)
        if found is not None:
            image.doubt(str(found.error()))
            # In both copies, and before the journal that shows it is gone.
            doubtful = self._state(Position(first_segment, first_offset))
            await self._with_room(lambda: self._checkpoints.write_both(doubtful))
            await self.promises.set_damaged_aside()
        elif self.journal.tail_was_torn:
            self.runtime.emit("tail_erased", "journal")
        await self.promises.vouch()
        self._cursor = self.promises.redo_position(first_segment, first_offset)
        before = (image.epoch, image.applied)
        try:
            await self._with_room(self._redo)
        except DamagedLog as damaged:
            image.doubt(str(damaged))
        self._cursor = self.promises.durable_end
        self.stream_epoch, self.durable = image.epoch, image.applied
        self.stream_chain = image.chain
        self.committed_epoch = image.epoch
        if newest.get(image.epoch, 0) > image.applied and not image.damage:
            image.doubt("recovery ended before the journal did")
        await self._with_room(self.checkpoint)
        # What a broken attempt left is for the next one, unless there will be none.
        useless = self.committed_epoch if not self.promoted else 1 << 63
        remove_staging(self.volume, self.staging_root, useless)
        self.runtime.emit("activity", "")
        self.runtime.emit("recovered", image.epoch, image.applied)
        redone = image.applied - (before[1] if before[0] == image.epoch else 0)
        return RecoveryReport(image.epoch, image.applied, redone, image.damage, image.unverified)

    async def _redo(self) -> None:
        if self._checkpoint_wanted:  # a barrier that found no room
            await self.checkpoint()
        await self._apply_available()

    async def _with_room(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step of recovery, again and again while the volume has no room for it."""
        while True:
            try:
                await step()
                break
            except NoSpace as full:
                self._stall(full.advice)
                await sleep_ns(self.options.retry_ns)
        self._stall("")

    def refuse_foreign(self) -> None:
        """Raises ForeignLog when the directory is a spool's."""
        if any(self.volume.exists(f"{self.root}/{name}") for name in ("segments", "source.a")):
            raise ForeignLog(
                "it is the spool's directory of a source",
                path=self.root,
                remedy="Give the replica a directory of its own.",
            )

    async def _make_directories(self) -> None:
        for where, path in (
            (self.volume, self.root),
            (self.volume, self.image.home.root),
            (self.volume, self.staging_root),
            (self.promises.volume, self.promises.root),
            (self.promises.volume, self.journal.directory),
        ):
            if not where.exists(path):
                where.mkdir(path)
            # One that is there may have been made by a process that died before this sync.
            if path != where.root:
                await where.sync_directory(path.rpartition("/")[0] or "/")

    async def _load(self) -> tuple[int, int]:
        """Take over the newest checkpoint; returns where in the journal redo begins."""
        found = await self._checkpoints.load()
        self.promoted, self.promised_epoch = found.promoted, found.promised_epoch
        if found.damage:
            self.image.doubt(found.damage)
        if found.checkpoint_lost:
            # Without a checkpoint nobody knows what home is: start over, home as a basis.
            await self._with_room(self._checkpoints.keep_damaged)
            await self.promises.set_damaged_aside()
        if self._checkpoints.one_was_damaged:
            self.runtime.emit("checkpoint_fallback")
        state = found.checkpoint
        if state is None:
            return 0, 0
        self.image.load(state)
        self.committed_epoch = state["epoch"]
        self.checkpointed = state["operation"]
        return int(state["segment"]), int(state["offset"])

    # -- journal -------------------------------------------------------------------

    def tell(self) -> None:
        """A mark has moved, or may have: wake all who look at one, :meth:`run` too."""
        self.changed.notify()
        self._asked.notify()

    def source_has(self, completed: int) -> None:
        """The source goes on behind what is durable, and has completed so many operations."""
        self.image.source_has(self.stream_epoch, completed)
        self.tell()

    def begin_synchronization(self, epoch: int, history: bytes) -> None:
        """The source starts a history that is to be committed later."""
        self.stream_epoch = epoch
        self.durable = 0
        self.stream_chain = genesis(self.options.set_id, epoch, history)
        self.promises.hold(epoch, self.committed_epoch)
        # Nothing is applied meanwhile that would make a checkpoint due.
        self._checkpoint_wanted = self._room_wanted = True
        self.tell()

    async def staging_for(self, epoch: int, history: bytes, catalogue: Catalogue) -> Staging:
        """Where the pages of a new image go; a broken attempt's are there.  Raises NoSpace."""
        return await open_staging(
            self.volume,
            self.staging_root,
            epoch,
            history,
            catalogue,
            self.committed_epoch,
            self._vouched,
        )

    def verify(self, payload: bytes, after: int, chain: bytes) -> VerifiedBatch:
        """Check that a batch is exactly what follows operation ``after`` and link ``chain``.

        Raises ProtocolViolation.
        """
        self._refuse_when_promoted()
        header = BatchHeader.decode(payload)
        if header.epoch != self.stream_epoch:
            raise ProtocolViolation(f"a batch of epoch {header.epoch} came, not of this stream's")
        if self.safeguards.sequence_check and header.first != after + 1:
            raise ProtocolViolation(
                f"the batch begins with operation {header.first}, {after + 1} was due"
            )
        checked = self.safeguards.chain_check
        if checked and header.chain_before != chain:
            raise ProtocolViolation("the batch does not continue the replica's history")
        raw = unpack_body(payload, header)
        return VerifiedBatch(payload, header, verify_batch(raw, header, check_chain=checked))

    async def append(self, batches: list[VerifiedBatch]) -> None:
        """Journal verified batches and make them durable; only then the mark rises."""
        self._refuse_when_promoted()
        if not self.safeguards.journal_before_apply:
            for batch in batches:
                await self.image.apply(batch.operations, batch.header.chain_after, self.checkpoint)
        await self.promises.volume.admit(sum(len(batch.payload) for batch in batches))
        for batch in batches:
            payload = memoryview(batch.payload)
            await self._append_record(
                RecordType.BATCH,
                batch.header.epoch,
                batch.payload[:BATCH_BYTES],
                payload[BATCH_BYTES:],
            )
            self.promises.keep(batch)
        await self.promises.make_durable(self.safeguards.sync_before_acknowledge)
        self._refuse_when_promoted()
        last = batches[-1].header
        self.durable, self.stream_chain = last.last, last.chain_after
        self.tell()

    async def _append_record(self, kind: int, epoch: int, prefix: bytes, payload: Buffer) -> None:
        while True:
            try:
                self.promises.append(kind, epoch, prefix, payload)
                return
            except LogFull:
                if not self.promises.room_may_come(self.committed_epoch):
                    raise ProtocolViolation(
                        "the journal is too small for what is written during a synchronization",
                        remedy="Give the replica's journal a larger limit.",
                    ) from None
            # What was appended must become durable to be applied, and be applied and
            # checkpointed for its segment to be freed.
            await self.promises.make_durable()
            self._checkpoint_wanted = self._room_wanted = True
            self._asked.notify()
            await self.changed

    async def commit(self, staging: Staging, fence: int) -> None:
        """Make the staged image, with all operations of its epoch, the image: in one step."""
        await staging.sync()
        self._refuse_when_promoted()
        self.runtime.emit("activity", "resynchronize")
        document = await staging.describe(fence, self.promises.holds[staging.epoch])
        await self._append_record(RecordType.COMMIT, staging.epoch, b"", document)
        self._pending_commit = staging.epoch
        await self.settle()

    async def settle(self) -> None:
        """Finish a commit whose record is in the journal, if there is one.

        The task that began it may have been cancelled in between; the record cannot be
        taken back, so whoever comes next carries it through.
        """
        if self._pending_commit:
            await self.promises.make_durable()
            self.committed_epoch = max(self.committed_epoch, self._pending_commit)
            self._pending_commit = 0
            self.tell()

    def _refuse_when_promoted(self) -> None:
        if self.promoted:
            raise ProtocolViolation(f"the replica has taken over; epoch {self.epoch} is over")

    # -- apply ---------------------------------------------------------------------

    async def run(self) -> None:
        """Apply what is durable and checkpoint now and then, until cancelled."""
        self._checkpoint_ns = self.runtime.now_ns()
        async with group() as g:
            g.spawn(self._ring(), "checkpoint timer")
            while True:
                try:
                    await self._apply_available(pause_for_checkpoints=True)
                    due = self._checkpoint_due()
                    if due:
                        await self.checkpoint()
                except NoSpace as full:
                    self._stall(full.advice)
                    await sleep_ns(self.options.retry_ns)
                    continue
                self._stall("")
                if not due and self._cursor >= self.promises.durable_end:
                    await self._asked

    def _stall(self, cause: str) -> None:
        if cause != self.stalled:
            self.stalled = cause
            self.runtime.emit("stalled", cause)
            self.tell()

    async def _ring(self) -> None:
        while True:
            await sleep_ns(self.options.checkpoint_interval_ns)
            self.tell()

    def _checkpoint_due(self) -> bool:
        if self._checkpoint_wanted and (
            not self._room_wanted or self.promises.would_free(self._cursor)
        ):
            return True
        unsaved_bytes = self.image.unsaved_bytes
        if self.image.repair_unsaved or not unsaved_bytes:
            return self.image.repair_unsaved
        age_ns = self.runtime.now_ns() - self._checkpoint_ns
        return (
            unsaved_bytes >= self.options.checkpoint_bytes
            or age_ns >= self.options.checkpoint_interval_ns
        )

    async def _apply_available(self, pause_for_checkpoints: bool = False) -> None:
        """Take the durable records from the cursor on, in the order of the journal."""
        while self._cursor < self.promises.durable_end:
            if pause_for_checkpoints and self._checkpoint_due():
                return
            self._cursor = self.journal.skip_to_record(self._cursor, self.promises.durable_end)
            recent = self.promises.take(self._cursor)
            if recent is not None:
                if recent.batch.header.epoch == self.epoch:
                    await self._apply_batch(recent.batch)
                self._cursor = recent.end
                continue
            data, _, after = await self.journal.read(
                self._cursor, self.promises.durable_end, _READ_BYTES
            )
            if not data:
                self._cursor = after  # a new segment in which nothing stands yet
                break
            offset = 0
            while offset < len(data):
                if pause_for_checkpoints and self._checkpoint_due():
                    return
                here = Position(after.segment, after.offset - len(data) + offset)
                self._cursor = here
                record = self._whole(data, offset, here)
                if record.type == RecordType.BATCH and record.epoch == self.epoch:
                    await self._apply_batch(self._read_batch(record))
                elif record.type == RecordType.COMMIT and record.epoch > self.epoch:
                    await self._switch_image(record)
                    break  # its operations stand in the journal before this record
                offset += record.size_bytes
                self._cursor = Position(here.segment, here.offset + record.size_bytes)
        self.tell()

    async def _switch_image(self, record: Record) -> None:
        """Carry out a committed resynchronization; repeatable until its checkpoint."""
        document = read_commit(record.payload)
        self.runtime.emit("activity", "resynchronize")
        await check_staged(self.volume, document)
        if self.volume.exists(document["path"] + ".reserve"):
            self.volume.unlink(document["path"] + ".reserve")  # now is what it was kept for
        await self.image.home.rebuild(
            Catalogue.from_json(document["catalogue"]),
            staged_pages(self.volume, document),
            document["from_nothing"],
        )
        history = bytes.fromhex(document["history"])
        self.image.begin(self.options.set_id, record.epoch, history)
        self.checkpointed = 0
        # Its operations stand in the journal before the record that committed them.
        first = Position(*document["first_record"])
        self._cursor = self.journal.skip_to_record(
            max(first, self.journal.start), self.promises.durable_end
        )
        self.promises.release(self.epoch)
        await self.checkpoint()
        await discard_committed(self.volume, document)
        self.runtime.emit("activity", "")

    def _whole(self, data: bytes, offset: int, here: Position) -> Record:
        """A record of the journal, verified: what was written well may be read otherwise.

        Raises DamagedLog.  The process ends by it; the next start sees what is left.
        """
        try:
            return decode(data, offset)
        except InvalidRecord as invalid:
            path = self.journal.segment(here.segment).path
            raise DamagedLog(invalid.reason, path=path, offset=here.offset) from None

    def _read_batch(self, record: Record) -> VerifiedBatch:
        """A batch as the journal holds it, its operations verified once more."""
        payload = record.prefix + record.payload
        header = BatchHeader.decode(payload)
        operations = verify_batch(
            unpack_body(payload, header), header, check_chain=self.safeguards.chain_check
        )
        return VerifiedBatch(payload, header, operations)

    async def _apply_batch(self, batch: VerifiedBatch) -> None:
        header = batch.header
        self.image.check_follows(header, self.journal.directory)
        await self.volume.admit(header.raw_bytes)
        await self.image.home.trim()
        self.runtime.emit("activity", "apply")
        await self.image.apply(batch.operations, header.chain_after, self.checkpoint)
        self.runtime.emit("activity", "")

    async def checkpoint(self) -> None:
        """Make home durable and note how far it is; then free journal segments.

        Inside a batch the noted operation is ahead of the noted segment's records; redo
        skips what the checkpoint includes.
        """
        self.runtime.emit("activity", "checkpoint")
        self._checkpoint_wanted = self._room_wanted = False
        redo_from = self.promises.needed_from(self._cursor)
        image = self.image
        applied = image.applied
        state = self._state(redo_from)
        version = self._state_version
        image.unsaved_bytes, image.repair_unsaved = 0, False
        self._checkpoint_ns = self.runtime.now_ns()
        try:
            await image.home.sync()
            await self._checkpoints.write(state)
        except NoSpace:
            self._checkpoint_wanted = True
            raise
        self.checkpointed = applied
        self._durable_version = version
        self.journal.free_before(redo_from.segment)
        self.runtime.emit("activity", "")
        self.tell()

    def _state(self, redo_from: Position) -> dict[str, Any]:
        """What a checkpoint notes."""
        return self.image.state() | {
            "set": self.options.set_id,
            "replica": self.options.replica_id,
            "segment": redo_from.segment,
            "offset": redo_from.offset,
            "promised_epoch": max(self.promised_epoch, self._epoch_after * self.promoted),
            "promoted": self.promoted,
        }

    @property
    def _epoch_after(self) -> int:
        """The first epoch that could follow what is here."""
        return max(self.epoch, self.committed_epoch) + 1

    async def drained(self) -> None:
        """Wait until all that is durable of the image's history is applied and in a checkpoint.

        Then home on disk is what block synchronization compares against: what does not differ
        is taken over with the commit, so it must survive a power loss, whoever wrote it.
        """
        while self._cursor < self.promises.durable_end or self.committed_epoch != self.epoch:
            await self.changed
        while self.checkpointed != self.applied:
            self.image.unsaved_bytes = self.options.checkpoint_bytes
            self._asked.notify()
            await self.changed
        await self.image.home.sync_all()

    async def promote(self) -> None:
        """End the source's epoch: durably, before the image is opened for clients.

        What a session that was cancelled left in the journal is promised now, so that it is
        applied before clients come: a later start must find nothing to do over their work.
        The task in :meth:`run` takes the checkpoint, as it takes all others.
        """
        await self.promises.make_durable()
        self.promoted = True
        self.promised_epoch = self._epoch_after
        self._state_version += 1
        version = self._state_version
        while self._durable_version < version:
            self._checkpoint_wanted, self._room_wanted = True, False
            self._asked.notify()
            await self.changed

    # -- telemetry -----------------------------------------------------------------

    def heard(self, beat: Heartbeat) -> None:
        """A heartbeat: when all that it names is applied, the image is as of then."""
        self.image.heard(beat)

    def acknowledgement(self) -> Acknowledgement:
        """What may be promised to the source now."""
        if self.epoch != self.stream_epoch:
            return Acknowledgement(self.stream_epoch, self.durable, 0, 0, self.as_of_ns)
        applied = min(self.applied, self.durable)
        return Acknowledgement(
            self.epoch, self.durable, applied, min(applied, self.checkpointed), self.as_of_ns
        )
