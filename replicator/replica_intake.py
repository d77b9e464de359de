"""What a source sends, on its way into the journal: verified, appended, synced, and only then told.

The order, and the reason of each step's place::

    verify          nothing else is ever journalled: recovery need not ask whether it was right
    append          batches as they came, many before one sync
    sync
    raise the mark  the source may be told now, and apply may begin: not before

A history that is to *become* the image (a synchronization) goes the same way, but is **held**: it
is not applied, and nothing of it is freed.  One record, COMMIT, makes it the image, again in this
order::

    sync the staged pages -> append COMMIT -> sync -> raise the mark

Until that record is durable the old image stands.  From then on recovery always finishes the
change, so a record that was appended cannot be taken back: whoever comes next carries it through
(:meth:`ReplicaIntake.settle`).
"""

from __future__ import annotations

from replicator.batch import unpack_body, verify_batch
from replicator.catalogue import Catalogue
from replicator.errors import ProtocolViolation
from replicator.image import ReplicaImage
from replicator.journal import LogFull
from replicator.protocol import BATCH_BYTES, BatchHeader
from replicator.recent_batches import VerifiedBatch
from replicator.records import RecordType, genesis
from replicator.replica_checkpointer import ReplicaCheckpointer
from replicator.replica_journal import ReplicaJournal
from replicator.replica_marks import ReplicaMarks
from replicator.replica_options import ReplicaOptions
from replicator.runtime.port import Buffer, Runtime, Volume
from replicator.safeguards import Safeguards
from replicator.staging import Staging, VouchedExtents, open_staging


class ReplicaIntake:
    """Takes in what one source after another sends.

    Arguments
    ---------
    runtime: for events.
    volume, staging_root: where the pages of a new image are staged.
    marks, image, journal: of the replica.
    checkpointer: is asked for room in the journal.
    options: of the replica.
    safeguards: which rules apply.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        staging_root: str,
        marks: ReplicaMarks,
        image: ReplicaImage,
        journal: ReplicaJournal,
        checkpointer: ReplicaCheckpointer,
        options: ReplicaOptions,
        safeguards: Safeguards,
    ) -> None:
        self._runtime = runtime
        self._volume = volume
        self._staging_root = staging_root
        self._marks = marks
        self._image = image
        self._journal = journal
        self._checkpointer = checkpointer
        self._options = options
        self._safeguards = safeguards
        self._pending_commit = 0
        """Epoch of a COMMIT record that was appended and may not be durable yet."""
        self._vouched: dict[str, VouchedExtents] = {}
        """By staging, what of it this process has written."""

    # -- operations ----------------------------------------------------------------

    def resume(self, completed: int) -> None:
        """The source goes on behind what is durable, and has completed so many operations."""
        self._image.source_has(self._marks.stream_epoch, completed)
        self._marks.tell()

    def verify(self, payload: bytes, after: int, chain: bytes) -> VerifiedBatch:
        """Check that a batch is exactly what follows operation ``after`` and link ``chain``.

        Raises ProtocolViolation.
        """
        self._marks.refuse_when_promoted()
        header = BatchHeader.decode(payload)
        if header.epoch != self._marks.stream_epoch:
            raise ProtocolViolation(f"a batch of epoch {header.epoch} came, not of this stream's")
        if self._safeguards.sequence_check and header.first != after + 1:
            raise ProtocolViolation(
                f"the batch begins with operation {header.first}, {after + 1} was due"
            )
        checked = self._safeguards.chain_check
        if checked and header.chain_before != chain:
            raise ProtocolViolation("the batch does not continue the replica's history")
        raw = unpack_body(payload, header)
        return VerifiedBatch(payload, header, verify_batch(raw, header, check_chain=checked))

    async def append(self, batches: list[VerifiedBatch]) -> None:
        """Journal verified batches and make them durable; only then the mark rises.

        Raises ProtocolViolation when the replica has taken over, or when there can be no room.
        """
        marks, journal = self._marks, self._journal
        marks.refuse_when_promoted()
        if not self._safeguards.journal_before_apply:
            for batch in batches:
                await self._image.apply(
                    batch.operations,
                    batch.header.chain_after,
                    self._checkpointer.take_in_both,
                    self._checkpointer.take,
                )
        await journal.volume.admit(sum(len(batch.payload) for batch in batches))
        for batch in batches:
            payload = memoryview(batch.payload)
            await self._append_record(
                RecordType.BATCH,
                batch.header.epoch,
                batch.payload[:BATCH_BYTES],
                payload[BATCH_BYTES:],
            )
            journal.keep(batch)
        await journal.make_durable(self._safeguards.sync_before_acknowledge)
        marks.refuse_when_promoted()
        last = batches[-1].header
        marks.durable, marks.stream_chain = last.last, last.chain_after
        marks.tell()

    async def _append_record(self, kind: int, epoch: int, prefix: bytes, payload: Buffer) -> None:
        """Append a record, waiting for room as long as there may come some."""
        marks, journal = self._marks, self._journal
        if journal.log.crowded:  # its segments' files stay open until they are synced
            await journal.make_durable(self._safeguards.sync_before_acknowledge)
            marks.refuse_when_promoted()
            marks.tell()  # that much can be applied already
        while True:
            try:
                journal.append(kind, epoch, prefix, payload)
                return
            except LogFull:
                if not journal.room_may_come(marks.committed_epoch):
                    raise ProtocolViolation(
                        "the journal is too small for what is written during a synchronization",
                        remedy="Give the replica's journal a larger limit.",
                    ) from None
            # What was appended must become durable to be applied, and be applied and
            # checkpointed for its segment to be freed.
            await journal.make_durable()
            self._checkpointer.want_room()
            marks.asked.notify()
            await marks.changed

    # -- another image -------------------------------------------------------------

    def begin_synchronization(self, epoch: int, history: bytes) -> None:
        """The source starts a history that is to be committed later."""
        marks = self._marks
        marks.stream_epoch = epoch
        marks.durable = 0
        marks.stream_chain = genesis(self._options.set_id, epoch, history)
        self._journal.hold(epoch, marks.committed_epoch)
        # Nothing is applied meanwhile that would make a checkpoint due.
        self._checkpointer.want_room()
        marks.tell()

    async def staging_for(self, epoch: int, history: bytes, catalogue: Catalogue) -> Staging:
        """Where the pages of a new image go; a broken attempt's are there.  Raises NoSpace."""
        return await open_staging(
            self._volume,
            self._staging_root,
            epoch,
            history,
            catalogue,
            self._marks.committed_epoch,
            self._vouched,
        )

    async def commit(self, staging: Staging, fence: int) -> None:
        """Make the staged image, with all operations of its epoch, the image: in one step.

        Arguments
        ---------
        fence: operation from which on the image is that of an instant; it is durable.

        Raises ProtocolViolation when the replica has taken over, or when there can be no room.
        """
        await staging.sync()
        self._marks.refuse_when_promoted()
        self._runtime.emit("activity", "resynchronize")
        first_record = self._journal.holds[staging.epoch]
        as_of_ns = self._image.as_of_commit_ns(staging.epoch, fence)
        document = await staging.describe(fence, first_record, as_of_ns)
        await self._append_record(RecordType.COMMIT, staging.epoch, b"", document)
        self._pending_commit = staging.epoch
        await self.settle()

    async def settle(self) -> None:
        """Finish a commit whose record is in the journal, if there is one.

        The task that began it may have been cancelled in between; the record cannot be
        taken back, so whoever comes next carries it through.
        """
        if self._pending_commit:
            marks = self._marks
            await self._journal.make_durable()
            marks.committed_epoch = max(marks.committed_epoch, self._pending_commit)
            self._pending_commit = 0
            marks.tell()
