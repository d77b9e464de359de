"""What a replica remembers over restarts: where its image stands, and that it has taken over.

The checkpoint is written again and again and says everything.  That the replica has taken over
is kept in a place of its own besides: whatever becomes of the checkpoints, it must never listen
to a source again, or there would be two histories of one set.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from replicator.errors import DamagedLog, ForeignLog
from replicator.runtime.port import Volume
from replicator.slots import StateSlots


class Remembered(NamedTuple):
    """What the start of a replica is told."""

    checkpoint: dict[str, Any] | None
    """The newest one; None when there is none, or none that is whole."""
    promoted: bool
    promised_epoch: int
    """No history of an epoch below this is taken any more."""
    damage: str
    """What cannot be read; empty when all can."""
    checkpoint_lost: bool
    """There was one, and nothing of it is whole."""


class Checkpoints:
    """The checkpoint and the promotion of a replica, each in two copies.

    Arguments
    ---------
    volume, root: the replica's directory, which exists when something is written.
    set_id: of the protected set; another one's are refused.
    """

    def __init__(self, volume: Volume, root: str, set_id: str) -> None:
        self._volume = volume
        self._root = root
        self._set_id = set_id
        self._checkpoint = StateSlots(volume, root + "/checkpoint")
        self._promotion = StateSlots(volume, root + "/promoted")
        self._promotion_noted = False

    @property
    def one_was_damaged(self) -> bool:
        """Whether only one of the checkpoint's copies could be read."""
        return self._checkpoint.one_was_damaged

    async def load(self) -> Remembered:
        """All that is remembered; it survives a power loss from then on.  Raises ForeignLog."""
        promoted, promised_epoch, damage = False, 0, ""
        try:
            promotion = self._of_this_set(await self._promotion.load())
        except DamagedLog as damaged:
            # Nothing but a promotion ever wrote there.
            promoted, damage = True, str(damaged)
        else:
            if promotion is not None:
                promoted = self._promotion_noted = True
                promised_epoch = int(promotion["promised_epoch"])
        try:
            checkpoint = self._of_this_set(await self._checkpoint.load())
        except DamagedLog as damaged:
            return Remembered(None, promoted, promised_epoch, str(damaged), True)
        if checkpoint is not None:
            promoted |= checkpoint["promoted"]
            promised_epoch = max(promised_epoch, checkpoint["promised_epoch"])
        return Remembered(checkpoint, promoted, promised_epoch, damage, False)

    async def has_taken_over(self) -> bool:
        """As it is noted now, by this process or by another; nothing is written."""
        noted: dict[str, Any] | None = None
        try:
            if await StateSlots(self._volume, self._root + "/promoted").look() is not None:
                return True
        except DamagedLog:
            return True  # nothing but a promotion ever wrote there
        with suppress(DamagedLog):
            noted = await StateSlots(self._volume, self._root + "/checkpoint").look()
        return noted is not None and bool(noted["promoted"])

    def _of_this_set(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        if state is not None and state["set"] != self._set_id:
            raise ForeignLog(
                f"it holds the protected set {state['set']!r}, not {self._set_id!r}",
                path=self._root,
            )
        return state

    async def keep_damaged(self) -> None:
        """Copy what is left of the checkpoint aside: the next one is written over it.

        Raises NoSpace; can be repeated.
        """
        aside = f"{self._root}/damaged"
        if not self._volume.exists(aside):
            self._volume.mkdir(aside)
        await self._checkpoint.copy_to(aside)
        await self._volume.sync_directory(self._root)

    async def write_both(self, state: dict[str, Any]) -> None:
        """Say it in both copies: no damage to one takes it back.  Raises NoSpace."""
        for _copy in range(2):
            await self.write(state)

    async def write(self, state: dict[str, Any]) -> None:
        """Make ``state`` the newest checkpoint, and its promotion durable before; raises NoSpace.

        Returns when that survives a power loss.
        """
        if state["promoted"] and not self._promotion_noted:
            note = {name: state[name] for name in ("set", "promised_epoch")}
            for _copy in range(2):  # both say so: no damage to one takes it back
                await self._promotion.write(note)
            self._promotion_noted = True
        await self._checkpoint.write(state)
