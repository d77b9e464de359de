"""The replica's storage: journal first, promise second, apply third, checkpoint last.

Order, for everything that arrives (DESIGN section 5)::

    verify -> append to journal -> sync -> durable mark -> apply home -> checkpoint
    '------------- replica_intake -------------------'   replica_apply  replica_checkpointer

Each step is a part of its own; the parts know the image, the journal, and the marks
(:mod:`replicator.replica_marks`) that say how far each of them has come.  The journal is promised
from what one task, a session's, appends and syncs; it is applied and checkpointed by one other,
:meth:`ReplicaStore.run`, which follows the durable mark and never overtakes it.

At its start a replica takes the same steps with nothing arriving
(:mod:`replicator.replica_recovery`).  :class:`~replicator.safeguards.Safeguards` names each rule,
so that tests can switch it off and see the oracles find the breach.
"""

from __future__ import annotations

from replicator.checkpoints import Checkpoints
from replicator.errors import ForeignLog
from replicator.full_volume import Patience
from replicator.image import ReplicaImage
from replicator.protocol import Acknowledgement, Heartbeat
from replicator.replica_apply import ReplicaApply
from replicator.replica_checkpointer import ReplicaCheckpointer
from replicator.replica_intake import ReplicaIntake
from replicator.replica_journal import ReplicaJournal
from replicator.replica_marks import ReplicaMarks
from replicator.replica_options import ReplicaOptions
from replicator.replica_recovery import RecoveryReport, recover
from replicator.runtime import group
from replicator.runtime.channels import Signal
from replicator.runtime.port import Runtime, Volume
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards


class ReplicaStore:
    """Journal, home image and checkpoints of one replica: everything but the network.

    A session gives what its source sends to ``intake``; the image is asked for what it is.

    Arguments
    ---------
    runtime: the world.
    volume, root: where home (``root + "/image"``), checkpoint and staging are.
    journal_volume, journal_root: where the journal is; may be another volume.
    options: how it works.
    safeguards: which rules apply; all of them, except in tests.
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
        self.staging_root = root + "/staging"
        self.image = ReplicaImage(runtime, volume, root + "/image", safeguards)
        self.promises = ReplicaJournal(journal_volume, journal_root, options)
        self.journal = self.promises.log
        self.marks = ReplicaMarks(self.image, self.journal.end)
        self.patience = Patience(runtime, self.marks, options.retry_ns)
        self.checkpoints = Checkpoints(volume, root, options.set_id)
        self.checkpointer = ReplicaCheckpointer(
            runtime,
            self.marks,
            self.image,
            self.promises,
            self.checkpoints,
            options,
            safeguards,
        )
        self.apply = ReplicaApply(
            runtime,
            volume,
            self.marks,
            self.image,
            self.promises,
            self.checkpointer,
            options,
            safeguards,
        )
        self._home_is_written = False
        self.intake = ReplicaIntake(
            runtime,
            volume,
            self.staging_root,
            self.marks,
            self.image,
            self.promises,
            self.checkpointer,
            options,
            safeguards,
        )

    # -- its life ------------------------------------------------------------------

    def refuse_foreign(self) -> None:
        """Raises ForeignLog when the directory is a spool's."""
        if any(self.volume.exists(f"{self.root}/{name}") for name in ("segments", "source.a")):
            raise ForeignLog(
                "it is the spool's directory of a source",
                path=self.root,
                remedy="Give the replica a directory of its own.",
            )

    async def open(self) -> RecoveryReport:
        """Recover what is on disk to an image; returns when it is usable and durable.

        When ``damage`` of the report is not empty, the image is usable only after the source
        has repaired it.  Raises ForeignLog for another set's directory.
        """
        return await recover(self)

    async def run(self) -> None:
        """Apply what is durable and checkpoint now and then, until cancelled."""
        self.checkpointer.start_the_clock()
        async with group() as g:
            g.spawn(self.checkpointer.keep_time(), "checkpoint timer")
            while True:
                checkpointed = await self.patience.with_room(self._apply_and_checkpoint)
                if not checkpointed and self.apply.done:
                    await self.marks.asked

    async def _apply_and_checkpoint(self) -> bool:
        """Apply until a checkpoint is due or nothing is left; returns whether one was taken."""
        await self.apply.go_on(pause_for_checkpoints=True)
        due = self.checkpointer.due
        if due:
            await self.checkpointer.take()
        return due

    async def drained(self) -> None:
        """Wait until all that is durable of the image's history is applied and in a checkpoint.

        Then home on disk is what block synchronization compares against, once there is nothing
        left to :meth:`adopt`: what does not differ is taken over with the commit, so it must
        survive a power loss, whoever wrote it.
        """
        while not self.apply.done or self.marks.switching:
            await self.changed
        await self.checkpointer.catch_up()
        await self._write_home_again()
        await self.image.home.sync_all()

    async def _write_home_again(self) -> None:
        """Once in a process, where what was lost at its start said what home is."""
        if self.image.damage and not self._home_is_written:
            await self.patience.with_room(self.image.home.write_again)
            self.runtime.emit("home_written_again")
            self._home_is_written = True

    async def adopt(self) -> None:
        """Make durable what a session that was cancelled has left in the journal.

        The next sync would do so anyhow, and then it would reach home: in the middle of a
        comparison, for one, behind its back.  No mark of a stream rises by it: that stream is over.
        """
        if self.promises.durable_end < self.journal.end:
            await self.promises.make_durable()
            self.tell()

    async def promote(self) -> None:
        """End the source's epoch: durably, before the image is opened for clients.

        What a session that was cancelled left in the journal is promised now, so that it is
        applied before clients come: a later start must find nothing to do over their work.
        The task in :meth:`run` takes the checkpoint, as it takes all others.
        """
        await self.adopt()
        self.promoted = True
        self.marks.promised_epoch = self.marks.epoch_after
        await self.checkpointer.demand()

    # -- what the image is ---------------------------------------------------------

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

    def heard(self, beat: Heartbeat) -> None:
        """A heartbeat: when all that it names is applied, the image is as of then."""
        self.image.heard(beat)

    # -- how far it is: the marks, for who looks on --------------------------------

    @property
    def changed(self) -> Signal:
        """Notified whenever one of the marks moves."""
        return self.marks.changed

    def tell(self) -> None:
        """A mark has moved, or may have: wake all who look at one, :meth:`run` too."""
        self.marks.tell()

    @property
    def stream_epoch(self) -> int:
        """Epoch of what arrives."""
        return self.marks.stream_epoch

    @property
    def durable(self) -> int:
        """Last operation of the stream that is durable in the journal."""
        return self.marks.durable

    @property
    def stream_chain(self) -> bytes:
        """Link of the chain behind it."""
        return self.marks.stream_chain

    @property
    def committed_epoch(self) -> int:
        """Epoch of the image that recovery would produce now."""
        return self.marks.committed_epoch

    @property
    def checkpointed(self) -> int:
        """Last operation that the newest checkpoint includes."""
        return self.marks.checkpointed

    @property
    def promised_epoch(self) -> int:
        """No history of an epoch below this is taken any more."""
        return self.marks.promised_epoch

    @property
    def promoted(self) -> bool:
        """Whether the replica has taken over.  Who sets it has it listen to no source any more,
        in this process; :meth:`promote` makes that durable."""
        return self.marks.promoted

    @promoted.setter
    def promoted(self, promoted: bool) -> None:
        self.marks.promoted = promoted

    @property
    def stalled(self) -> str:
        """Why apply stands still; empty while it works."""
        return self.marks.stalled

    def acknowledgement(self) -> Acknowledgement:
        """What may be promised to the source now."""
        return self.marks.acknowledgement()


__all__ = ["RecoveryReport", "ReplicaStore"]
