"""Apply: the way through the journal to home, of what is durable and of nothing else.

* Records are taken in the order of the journal, from the cursor up to the durable mark.
* It is repeated after a crash from the last checkpoint on.  Content carries absolute bytes, so
  repeating is harmless.
* A change of *names* is fenced: home is synced and checkpointed in both copies, the change is
  made, its directories are synced, and a checkpoint is taken again.  So redo never meets a name
  that means another file than it did, not even where the newer copy of the checkpoint is damaged.
* Operations of an epoch that is still being synchronized are passed over: they are held.  At its
  COMMIT record the staged image becomes home, **that is checkpointed**, only then what was staged
  is removed, and the cursor goes back to where that epoch's operations begin.

What was verified when it came is verified again where it is read from the disk, and must go on
where the image stands.
"""

from __future__ import annotations

from typing import Final

from replicator.batch import unpack_body, verify_batch
from replicator.catalogue import Catalogue
from replicator.committed_pages import (
    check_staged,
    discard_committed,
    read_commit,
    staged_pages,
)
from replicator.errors import DamagedImage, DamagedLog
from replicator.image import ReplicaImage
from replicator.journal import Position
from replicator.protocol import BatchHeader
from replicator.recent_batches import VerifiedBatch
from replicator.records import InvalidRecord, Record, RecordType, decode
from replicator.replica_checkpointer import ReplicaCheckpointer
from replicator.replica_journal import ReplicaJournal
from replicator.replica_marks import ReplicaMarks
from replicator.replica_options import ReplicaOptions
from replicator.runtime.port import Runtime, Volume
from replicator.safeguards import Safeguards

_READ_BYTES: Final = 1 << 20


class ReplicaApply:
    """Applies the journal of one replica to its home.

    Arguments
    ---------
    runtime: for events.
    volume: where home and the staged pages are.
    marks, image, journal: of the replica.
    checkpointer: takes a checkpoint where the order demands one.
    options: of the replica.
    safeguards: which rules apply.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        marks: ReplicaMarks,
        image: ReplicaImage,
        journal: ReplicaJournal,
        checkpointer: ReplicaCheckpointer,
        options: ReplicaOptions,
        safeguards: Safeguards,
    ) -> None:
        self._runtime = runtime
        self._volume = volume
        self._marks = marks
        self._image = image
        self._journal = journal
        self._checkpointer = checkpointer
        self._options = options
        self._safeguards = safeguards

    @property
    def done(self) -> bool:
        """Whether all that is durable is behind the cursor."""
        return self._marks.cursor >= self._journal.durable_end

    async def go_on(self, pause_for_checkpoints: bool = False) -> None:
        """Take the durable records from the cursor on, in the order of the journal.

        Arguments
        ---------
        pause_for_checkpoints: return early when one is due.

        Raises NoSpace between two operations, or in one that can be repeated, and DamagedLog.
        """
        marks, journal, image = self._marks, self._journal, self._image
        while marks.cursor < journal.durable_end:
            if pause_for_checkpoints and self._checkpointer.due:
                return
            marks.cursor = journal.log.skip_to_record(marks.cursor, journal.durable_end)
            recent = journal.take(marks.cursor)
            if recent is not None:
                if recent.batch.header.epoch == image.epoch:
                    await self._apply_batch(recent.batch)
                marks.cursor = recent.end
                continue
            data, _, after = await journal.log.read(marks.cursor, journal.durable_end, _READ_BYTES)
            if not data:
                marks.cursor = after  # a new segment in which nothing stands yet
                break
            offset = 0
            while offset < len(data):
                if pause_for_checkpoints and self._checkpointer.due:
                    return
                here = Position(after.segment, after.offset - len(data) + offset)
                marks.cursor = here
                record = self._whole(data, offset, here)
                if record.type == RecordType.BATCH and record.epoch == image.epoch:
                    await self._apply_batch(self._read_batch(record))
                elif record.type == RecordType.COMMIT and record.epoch > image.epoch:
                    await self._switch_image(record)
                    break  # its operations stand in the journal before this record
                offset += record.size_bytes
                marks.cursor = Position(here.segment, here.offset + record.size_bytes)
        marks.tell()

    # -- a batch -------------------------------------------------------------------

    def _whole(self, data: bytes, offset: int, here: Position) -> Record:
        """A record of the journal, verified: what was written well may be read otherwise.

        Raises DamagedLog.  The process ends by it; the next start sees what is left.
        """
        try:
            return decode(data, offset)
        except InvalidRecord as invalid:
            path = self._journal.log.segment(here.segment).path
            raise DamagedLog(invalid.reason, path=path, offset=here.offset) from None

    def _read_batch(self, record: Record) -> VerifiedBatch:
        """A batch as the journal holds it, its operations verified once more."""
        payload = record.prefix + record.payload
        header = BatchHeader.decode(payload)
        operations = verify_batch(
            unpack_body(payload, header), header, check_chain=self._safeguards.chain_check
        )
        return VerifiedBatch(payload, header, operations)

    async def _apply_batch(self, batch: VerifiedBatch) -> None:
        header = batch.header
        self._image.check_follows(header, self._journal.log.directory)
        await self._volume.admit(header.raw_bytes)
        await self._image.home.trim()
        self._runtime.emit("activity", "apply")
        barrier, after = self._checkpointer.take_in_both, self._checkpointer.take
        await self._image.apply(batch.operations, header.chain_after, barrier, after)
        self._runtime.emit("activity", "")

    # -- another image -------------------------------------------------------------

    async def _switch_image(self, record: Record) -> None:
        """Carry out a committed resynchronization; repeatable until its checkpoint.

        Raises DamagedImage when what was staged is not what was committed: a process before this
        one may have begun, and home be neither image.
        """
        marks, journal, image = self._marks, self._journal, self._image
        document = read_commit(record.payload)
        self._runtime.emit("activity", "resynchronize")
        try:
            await check_staged(self._volume, document)
            if self._volume.exists(document["path"] + ".reserve"):
                self._volume.unlink(document["path"] + ".reserve")  # now is what it was kept for
            await image.home.rebuild(
                Catalogue.from_json(document["catalogue"]),
                staged_pages(self._volume, document),
                document["from_nothing"],
            )
        except DamagedLog as damaged:
            raise DamagedImage(damaged.message, path=damaged.path, offset=damaged.offset) from None
        history, as_of_ns = bytes.fromhex(document["history"]), document.get("as_of_ns", 0)
        image.begin(self._options.set_id, record.epoch, history, as_of_ns)
        marks.checkpointed = 0
        # Its operations stand in the journal before the record that committed them.
        first = Position(*document["first_record"])
        marks.cursor = journal.log.skip_to_record(
            max(first, journal.log.start), journal.durable_end
        )
        journal.release(image.epoch)
        await self._checkpointer.take_in_both()
        await discard_committed(self._volume, document)
        self._runtime.emit("activity", "")
