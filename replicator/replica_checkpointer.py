"""Checkpoints of a replica: when one is due, what it notes, what it lets go of.

A checkpoint says: home holds everything up to this operation, and recovery has to redo the journal
from that place on.  So the order is fixed::

    note how far home is -> sync home -> write one of the two slots -> mark -> free the journal

* What is noted was applied *before* home was synced; what is applied meanwhile is redone.
* The mark rises, and segments of the journal go, only when the slot is durable.  A crash in
  between finds the checkpoint before, and all that it needs.

What cannot be redone over what comes after it, a change of names or of the image, waits until
*both* copies are past all that was before: should the newer one be damaged, the older would begin
with operations on names that are gone.

One is due when enough was applied since the last, when the last is old, when the end of a doubt is
to be noted, and when somebody asks: who needs room in the journal gets one as soon as that would
free a segment, and not before.
"""

from __future__ import annotations

from typing import Any

from replicator.checkpoints import Checkpoints
from replicator.errors import NoSpace
from replicator.image import ReplicaImage
from replicator.journal import Position
from replicator.replica_journal import ReplicaJournal
from replicator.replica_marks import ReplicaMarks
from replicator.replica_options import ReplicaOptions
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime
from replicator.safeguards import Safeguards


class ReplicaCheckpointer:
    """Takes the checkpoints of one replica.

    Arguments
    ---------
    runtime: the world.
    marks, image, journal: of the replica.
    checkpoints: where they are kept.
    options: how often.
    safeguards: which rules apply.
    """

    def __init__(
        self,
        runtime: Runtime,
        marks: ReplicaMarks,
        image: ReplicaImage,
        journal: ReplicaJournal,
        checkpoints: Checkpoints,
        options: ReplicaOptions,
        safeguards: Safeguards,
    ) -> None:
        self._runtime = runtime
        self._marks = marks
        self._image = image
        self._journal = journal
        self._checkpoints = checkpoints
        self._options = options
        self._safeguards = safeguards
        self._begun_ns = 0
        """When the last one was begun, or apply was."""
        self._wanted = False
        self._room_wanted = False
        """It is wanted only if it frees a segment."""
        self._demanded = self._granted = 0
        """How many were demanded, and how many of these demands one has come after."""
        self._newest: tuple[int, int] | None = None
        """Epoch and operation of the newest copy, if this process wrote it."""
        self._in_both = False
        """Whether the other copy says the same operation."""

    # -- when ----------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether it is time for one."""
        if self._wanted and (not self._room_wanted or self._journal.would_free(self._marks.cursor)):
            return True
        image = self._image
        if image.repair_unsaved or not image.unsaved_bytes:
            return image.repair_unsaved
        age_ns = self._runtime.now_ns() - self._begun_ns
        return (
            image.unsaved_bytes >= self._options.checkpoint_bytes
            or age_ns >= self._options.checkpoint_interval_ns
        )

    async def keep_time(self) -> None:
        """Wake the task that applies whenever a checkpoint may have become due by its age."""
        while True:
            await sleep_ns(self._options.checkpoint_interval_ns)
            self._marks.tell()

    def start_the_clock(self) -> None:
        """Apply begins now: the age of what it leaves unsaved counts from here."""
        self._begun_ns = self._runtime.now_ns()

    # -- who asks ------------------------------------------------------------------

    def want_room(self) -> None:
        """Somebody needs room in the journal: take one when that frees a segment."""
        self._wanted = self._room_wanted = True

    async def demand(self) -> None:
        """Wait until a checkpoint is durable that was begun after this call."""
        self._demanded += 1
        number = self._demanded
        while self._granted < number:
            self._wanted, self._room_wanted = True, False
            self._marks.asked.notify()
            await self._marks.changed

    async def catch_up(self) -> None:
        """Wait until the checkpoint includes all that is applied, in both copies."""
        while self._marks.checkpointed != self._image.applied or not self._settled:
            self._image.unsaved_bytes = self._options.checkpoint_bytes
            self._marks.asked.notify()
            await self._marks.changed

    # -- how -----------------------------------------------------------------------

    async def take(self) -> None:
        """Make home durable and note how far it is; then free journal segments.

        Inside a batch the noted operation is ahead of the noted segment's records; redo
        skips what the checkpoint includes.  Raises NoSpace; then it is still wanted.
        """
        image, journal = self._image, self._journal
        self._runtime.emit("activity", "checkpoint")
        self._wanted = self._room_wanted = False
        if image.epoch and not image.damage:
            await self._begin_journal()
        redo_from = journal.needed_from(self._marks.cursor)
        applied, number = image.applied, self._demanded
        note = self.note(redo_from)
        image.unsaved_bytes, image.repair_unsaved = 0, False
        self._begun_ns = self._runtime.now_ns()
        try:
            await image.home.sync()
            await self._checkpoints.write(note)
        except NoSpace:
            self._wanted = True
            raise
        self._in_both = self._newest == (image.epoch, applied)
        self._newest = image.epoch, applied
        self._marks.checkpointed = applied
        self._granted = number
        journal.log.free_before(redo_from.segment)
        self._runtime.emit("activity", "")
        self._marks.tell()

    async def _begin_journal(self) -> None:
        """That a journal is lost is seen only by what a checkpoint says of a segment of it."""
        try:
            await self._journal.begin(self._image.epoch)
        except NoSpace:
            self._wanted = True
            raise

    async def take_in_both(self) -> None:
        """Take one in each of the two copies, unless the other says this operation already.

        Whatever damages one of them, recovery does not begin before this operation then.
        Raises NoSpace.
        """
        await self.take()
        if not self._settled:
            await self.take()

    @property
    def _settled(self) -> bool:
        return self._in_both or not self._safeguards.both_copies_at_names

    async def take_again(self) -> None:
        """Take the one that found no room, if there was one.  Raises NoSpace."""
        if self._wanted:
            await self.take()

    def note(self, redo_from: Position) -> dict[str, Any]:
        """What a checkpoint says of this instant.

        Arguments
        ---------
        redo_from: where in the journal recovery has to begin.
        """
        marks = self._marks
        return self._image.state() | {
            "set": self._options.set_id,
            "replica": self._options.replica_id,
            "segment": redo_from.segment,
            "offset": redo_from.offset,
            "promised_epoch": max(marks.promised_epoch, marks.epoch_after * marks.promoted),
            "promoted": marks.promoted,
        }
