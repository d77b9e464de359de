"""The replica's journal: what of it is durable, and what of it must stay.

A promise is made for what stood in the journal *before* a sync that returned.  What is held
belongs to a history that is not the image yet: nothing of it is applied, and nothing of it may
be freed, until it is committed or given up.

A checkpoint names the place where redo begins.  That it names one *inside* a segment says that the
journal had been durable up to there, and the segment is kept until the next checkpoint: when it is
not there, the journal was lost, cut short, or is not mounted (:func:`lost_before`).
At byte 0 the segment may never have been begun: the replica has just started for the first time,
or what was damaged has just been set aside.  So the first checkpoint of an image beyond doubt that
finds no segment begins one (:meth:`ReplicaJournal.begin`), and is not of that kind any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from replicator.errors import NoSpace
from replicator.journal import Damage, LogKind, Position, SegmentedLog
from replicator.recent_batches import JournalledBatch, RecentBatches, VerifiedBatch
from replicator.records import HEADER_BYTES, Record
from replicator.replica_options import ReplicaOptions
from replicator.runtime.port import Buffer, Volume
from replicator.segments import segment_name
from replicator.units import spell_size


def lost_before(needed: Position, ends: Mapping[int, int]) -> str:
    """What a checkpoint counts on and the journal lacks; empty when nothing is missing.

    Arguments
    ---------
    needed: where redo begins, as the checkpoint says.
    ends: where the valid records of each segment end, in bytes.
    """
    end = ends.get(needed.segment, 0)
    if not needed.offset or end >= needed.offset:
        return ""
    what = f"it ends at byte {end}" if end else f"segment {needed.segment} is missing"
    return f"{what}, but the checkpoint says that it had been durable up to byte {needed.offset}"


class ReplicaJournal:
    """A segmented log and the marks of a replica in it.

    Arguments
    ---------
    volume, root: where it is; damaged segments are set aside there as well.
    options: of the replica.
    """

    def __init__(self, volume: Volume, root: str, options: ReplicaOptions) -> None:
        self.volume = volume
        self.root = root
        self.log = SegmentedLog(
            volume,
            root + "/journal",
            LogKind.JOURNAL,
            options.set_id,
            options.segment_bytes,
            options.journal_limit_bytes,
        )
        self.durable_record = 0
        """Number of the last record that is known to be durable."""
        self.durable_end = self.log.end
        self.holds: dict[int, Position] = {}
        """Where the operations of an epoch begin that is not the image yet."""
        self._recent = RecentBatches()

    # -- start ---------------------------------------------------------------------

    async def recover(
        self, visit: Callable[[Record, Position], None], needed: Position
    ) -> Damage | None:
        """Open what is on disk; returns what is damaged, or was durable and is not there.

        Arguments
        ---------
        visit: called with each valid record, control records included, in order.
        needed: where redo begins; what is before it may have been freed.

        What is damaged stays where it is until :meth:`set_damaged_aside`: the only witness of
        a doubt that is not noted yet.
        """
        found = await self.log.recover(visit, needed.segment, redo_offset=needed.offset)
        if found is None:
            ends = {segment.number: segment.end for segment in self.log.segments}
            reason = lost_before(needed, ends)
            if reason:
                path = f"{self.log.directory}/{segment_name(needed.segment)}"
                return Damage(path, ends.get(needed.segment, 0), self.log.sequence, reason)
        return found

    async def begin(self, epoch: int) -> None:
        """See to it that there is a segment, durably: a checkpoint can name a place in it then.

        ``epoch``: of the image.  Raises NoSpace.
        """
        if not self.log.segments:
            self.log.roll(epoch, self.log.sequence + 1, self.durable_record)
        if self.durable_end < self.log.start:
            await self.make_durable()

    async def vouch(self) -> None:
        """What was taken over survives a power loss from then on."""
        await self.log.write_again()
        await self.make_durable()

    async def set_damaged_aside(self) -> None:
        """Move what cannot be trusted out of the way; it is never deleted here.

        Raises NoSpace; can be repeated.
        """
        aside = f"{self.root}/damaged"
        if not self.volume.exists(aside):
            self.volume.mkdir(aside)
        await self.log.set_aside(aside)
        await self.volume.sync_directory(aside)
        await self.volume.sync_directory(self.log.directory)

    def redo_position(self, segment: int, offset: int) -> Position:
        """Where redo begins: where the checkpoint says, if the journal still has that."""
        log = self.log
        wanted = Position(segment, offset)
        if wanted <= log.start or not log.segments:
            return log.start
        return log.skip_to_record(min(wanted, log.end), log.end)

    # -- writing -------------------------------------------------------------------

    def append(self, kind: int, epoch: int, prefix: bytes, payload: Buffer) -> None:
        """Append a record; raises LogFull, and NoSpace when there can never be room for it."""
        size = HEADER_BYTES + len(prefix) + len(payload)
        log = self.log
        if not log.room.can_ever_hold(size):
            raise NoSpace(
                f"a record of {size} bytes can never find room in this journal",
                path=log.directory,
                remedy=f"Give the replica's journal at least {spell_size(4 * size)}.",
            )
        log.append(kind, epoch, log.sequence + 1, self.durable_record, prefix, payload)

    def keep(self, batch: VerifiedBatch) -> None:
        """The batch that was appended last need not be read again to be applied."""
        end = self.log.end
        begin = end._replace(offset=end.offset - HEADER_BYTES - len(batch.payload))
        self._recent.add(begin, end, batch)

    def take(self, begin: Position) -> JournalledBatch | None:
        """The batch whose record begins there, if it is still in memory."""
        return self._recent.take(begin)

    async def make_durable(self, sync: bool = True) -> None:
        """Sync the journal, and raise the mark to what stood in it *before* the sync.

        Another task may append meanwhile: that is for its own sync to promise.
        """
        record, end = self.log.sequence, self.log.end
        if sync:
            await self.log.sync()
        self.durable_record = max(self.durable_record, record)
        self.durable_end = max(self.durable_end, end)

    # -- room ----------------------------------------------------------------------

    def hold(self, epoch: int, committed_epoch: int) -> None:
        """Keep all that comes from here on: it is of an epoch that is to be committed.

        What an earlier attempt left is of no use any more, unless it has been committed and is
        on its way to become the image.
        """
        self.holds = {e: at for e, at in self.holds.items() if e == committed_epoch}
        self.holds[epoch] = self.log.end

    def release(self, epoch: int) -> None:
        """The image is that of ``epoch``: nothing up to it is held any more."""
        self.holds = {e: at for e, at in self.holds.items() if e > epoch}

    def needed_from(self, cursor: Position) -> Position:
        """What recovery would still need begins here; ``cursor``: applied up to there."""
        needed, start = min([cursor, *self.holds.values()]), self.log.start
        # Behind the header of the first segment, as soon as that is durable: see the module.
        return start if needed < start <= self.durable_end else needed

    def would_free(self, cursor: Position) -> bool:
        """Whether a checkpoint now would let go of a segment."""
        segments = self.log.segments
        return bool(segments) and segments[0].number < self.needed_from(cursor).segment

    def room_may_come(self, committed_epoch: int) -> bool:
        """Whether applying and checkpointing what is in the journal frees a segment of it.

        What is held for a synchronization stays until that is committed; what stands before
        it, the leavings of broken attempts included, does not.
        """
        held = [at for epoch, at in self.holds.items() if epoch > committed_epoch]
        return not held or self.log.segments[0].number < min(held).segment
