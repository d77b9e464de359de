"""The replica's image: what has been applied to home, as of when, and how far to trust it.

Three questions an operator asks are answered here, and only here: which operation of which
history the image stands at, how old it is (``as_of_ns``), and whether it is in doubt.

*As of* is the source's wall clock.  It is the capture time of the last applied operation,
or the time of a later heartbeat that named just that operation as the last one: nothing
newer existed then.  It follows the source's clock wherever that jumps; how long ago that was by the
replica's own clocks is the business of :mod:`replicator.image_age`.

*Unverified* is an image whose machine has lost its power since somebody compared it.  A disk that
said that it had what it had not leaves a copy that is wrong in silence: the checkpoint survived
and some of its pages did not.  Until a comparison with the source finds no difference, or another
image is brought over, that is said of it; it is no reason not to use it.

*In doubt* is an image whose journal was found damaged: home may be ahead of what is left of
the journal, though never of the source.  Once everything that the source had completed is
applied again, the doubt is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from replicator.batch import NumberedOperation
from replicator.catalogue import Catalogue
from replicator.errors import DamagedLog
from replicator.home import HomeImage
from replicator.image_age import ImageAge
from replicator.operation import CONTENT_KINDS, Operation
from replicator.protocol import BatchHeader, Heartbeat
from replicator.records import EMPTY_CHAIN, genesis
from replicator.runtime.port import Runtime, Volume
from replicator.safeguards import Safeguards

UNVERIFIED: Final = "it has not been compared with the source since its machine was started"


class ReplicaImage:
    """Home, and where it stands.

    Arguments
    ---------
    runtime: for events.
    volume, root: where home is.
    safeguards: which rules apply.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        safeguards: Safeguards,
    ) -> None:
        self._runtime = runtime
        self._safeguards = safeguards
        self.home = HomeImage(volume, root, safeguards.stable_file_ids)
        self.epoch = 0
        self.history = b""
        """Tells the epoch from another source's of the same number."""
        self.applied = 0
        self.chain = EMPTY_CHAIN
        self.age = ImageAge(runtime)
        self.damage = ""
        """What was found damaged and is not repaired yet; the image is in doubt till then."""
        self._damage_until: int | None = None
        self.unverified = ""
        """Why nobody knows whether the disk holds what it said; empty when that is known."""
        self.rebooted = False
        """The machine has been started since the checkpoint: what its disk said may be untrue."""
        self._beat: Heartbeat | None = None
        self.unsaved_bytes = 0
        """About how much was applied since the last checkpoint."""
        self.repair_unsaved = False
        """The end of a doubt, or of not knowing, waits for a checkpoint."""

    # -- between checkpoint and memory ---------------------------------------------

    def load(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint noted."""
        self.epoch = state["epoch"]
        self.history = bytes.fromhex(state["history"])
        self.applied = state["operation"]
        self.chain = bytes.fromhex(state["chain"])
        self.age.load(state["as_of_ns"], state.get("as_of_here_wall_ns", 0))
        if state["damage"]:
            self.damage = state["damage"]
        # A checkpoint of an earlier release says neither: nobody has compared that image.
        self.unverified = state.get("unverified", "")
        self.rebooted = state.get("boot_id") != self._runtime.boot_id
        self.not_compared()
        self.home.reset(Catalogue.from_json(state["catalogue"]))

    def state(self) -> dict[str, Any]:
        """What a checkpoint notes."""
        return {
            "epoch": self.epoch,
            "history": self.history.hex(),
            "operation": self.applied,
            "chain": self.chain.hex(),
            "as_of_ns": self.as_of_ns,
            "as_of_here_wall_ns": self.age.here_wall_ns,
            "damage": self.damage,
            "boot_id": self._runtime.boot_id,
            "unverified": self.unverified,
            "catalogue": self.home.catalogue.to_json(),
        }

    def begin(self, set_id: str, epoch: int, history: bytes, as_of_ns: int = 0) -> None:
        """A resynchronization became the image: it stands at operation 0 of its epoch.

        ``as_of_ns``: the source's clock when its files were so; 0 when the operations that
        follow will say it.
        """
        self.epoch, self.history = epoch, history
        self.applied = 0
        self.chain = genesis(set_id, epoch, history)
        self.unverified = ""
        if as_of_ns:
            self.as_of_ns = as_of_ns
        self._freshen()
        self.repaired()

    # -- apply ---------------------------------------------------------------------

    def check_follows(self, header: BatchHeader, where: str) -> None:
        """Raises DamagedLog when a batch of the journal does not go on from here."""
        if not (self._safeguards.sequence_check and self._safeguards.chain_check):
            return
        follows = header.first <= self.applied or (
            header.first == self.applied + 1 and header.chain_before == self.chain
        )
        if not follows:
            raise DamagedLog(
                f"operations {header.first} to {header.last} of epoch {header.epoch} do not "
                f"follow operation {self.applied}",
                path=where,
            )

    async def apply(
        self,
        operations: list[NumberedOperation],
        chain_after: bytes,
        barrier: Callable[[], Awaitable[None]],
        after: Callable[[], Awaitable[None]],
    ) -> None:
        """Carry out operations in order; what was applied before is skipped.

        Arguments
        ---------
        barrier: takes a checkpoint in both copies; called before each change of names.
        after: takes a checkpoint; called after it.

        Raises NoSpace between two operations, or in one that can be repeated.
        """
        before, home = self.applied, self.home
        skip = self._safeguards.sequence_check
        ordered = operations if self._safeguards.apply_in_order else operations[::-1]
        size = 0
        try:
            for sequence, operation, chain in ordered:
                if sequence <= before and skip:
                    continue  # in the checkpoint already
                if operation.kind in CONTENT_KINDS:
                    if home.crowded:  # a batch may touch thousands of files
                        await home.trim()
                    home.apply_content(operation)
                    self.applied, self.chain = sequence, chain
                else:
                    await self._apply_names(sequence, operation, chain, barrier, after)
                size += operation.length + 1
        finally:
            self.unsaved_bytes += size
        last, newest, _ = operations[-1]
        if last > before:
            self.applied, self.chain = last, chain_after
            self.as_of_ns = newest.captured_ns
            self._freshen()
            self._check_repair()

    async def _apply_names(
        self,
        sequence: int,
        operation: Operation,
        chain: bytes,
        barrier: Callable[[], Awaitable[None]],
        after: Callable[[], Awaitable[None]],
    ) -> None:
        """A barrier: nothing before it is redone after it, and the reverse."""
        if self._safeguards.barrier_at_names:
            await barrier()
        self.home.apply_names(operation)
        self.applied, self.chain = sequence, chain
        if self._safeguards.barrier_at_names:
            await after()

    # -- how old -------------------------------------------------------------------

    @property
    def as_of_ns(self) -> int:
        """The source's wall clock when the image was current; 0 while that is not known."""
        return self.age.as_of_ns

    @as_of_ns.setter
    def as_of_ns(self, as_of_ns: int) -> None:
        self.age.set(as_of_ns)

    def heard(self, beat: Heartbeat) -> None:
        """A heartbeat: when all that it names is applied, the image is as of then."""
        self._beat = beat
        self.age.hear(beat.wall_ns)
        self._freshen()

    def as_of_commit_ns(self, epoch: int, fence: int) -> int:
        """The source's clock when the image was that of operation 0; 0 when that is not known.

        For a COMMIT record: with a ``fence`` of 0 no operation follows that would tell it.
        """
        beat = self._beat
        if fence or beat is None or (beat.epoch, beat.completed) != (epoch, 0):
            return 0
        return beat.wall_ns

    @property
    def newest_beat(self) -> Heartbeat | None:
        """The source's last sign of life."""
        return self._beat

    def _freshen(self) -> None:
        beat = self._beat
        if beat is None or (beat.epoch, beat.completed) != (self.epoch, self.applied):
            return  # not there yet, or beyond: then an operation says it better
        self.as_of_ns = beat.wall_ns

    # -- how sound -----------------------------------------------------------------

    def doubt(self, reason: str) -> None:
        """Damage was found: the image may be ahead of the journal that is left."""
        self.damage = reason
        self._damage_until = None
        self._runtime.emit("damage", reason)

    def lose(self, reason: str) -> None:
        """Home is the image of nothing any more, and only a basis for the next one."""
        self.epoch, self.history = 0, b""
        self.applied, self.chain = 0, EMPTY_CHAIN
        self.age = ImageAge(self._runtime)
        self.home.reset(Catalogue())
        self.doubt(reason)

    def source_has(self, epoch: int, completed: int) -> None:
        """The source goes on with this image: what is in doubt is repaired when that is applied.

        Nobody else can say how far home may be ahead: of a history that the source has ended
        it is never known.
        """
        if self.damage and epoch == self.epoch:
            self._damage_until = completed
            self._check_repair()

    def _check_repair(self) -> None:
        if self._damage_until is not None and self.applied >= self._damage_until:
            self.repaired()
            self.repair_unsaved = True

    def not_compared(self) -> None:
        """What is at home rests on what the disk held when the machine was started."""
        if self.rebooted:
            self.unverified = UNVERIFIED

    def verified(self) -> None:
        """The image was compared with the source's and does not differ."""
        if self.unverified:
            self.unverified, self.repair_unsaved = "", True
            self._runtime.emit("verified")

    def repaired(self) -> None:
        """The image is beyond doubt again."""
        if self.damage:
            self.damage, self._damage_until = "", None
            self._runtime.emit("repaired")
