"""The fence: a source whose replica has taken over is closed for good, to programs as well.

The sender learns of it when it is refused; programs never speak to a replica.  So the sender
keeps it beside the spool, durably, and whoever opens the protected set looks there first: what
was written from then on would be in no copy.  It outlives restarts of the machine, and only
:func:`lift_fence`, an operator's own step, takes it away.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from replicator.errors import DamagedLog, SourceFenced, StorageError
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.slots import StateSlots

LOOK_AGAIN_NS: Final = 1_000_000_000
"""How often a program that has the set open looks for a fence."""
TRY_AGAIN_NS: Final = 1_000_000_000
"""How long to wait before a fence that could not be kept is tried again."""


async def raise_fence(runtime: Runtime, volume: Volume, path: str, set_id: str, cause: str) -> None:
    """Close the source for good; returns when that survives a power loss.

    As long as the volume does not take it (it is full, its sync fails) programs here cannot know,
    and what they write is in no copy: it is tried again until it is kept.
    """
    told = ""
    while True:
        slots = StateSlots(volume, path)
        try:
            if not fence_cause(await slots.load()):
                state = {"set": set_id, "fenced": True, "cause": cause}
                for _copy in range(2):  # both say so: no damage to one opens it again
                    await slots.write(state | {"wall_ns": runtime.wall_ns()})
        except StorageError as error:
            if str(error) != told:
                told = str(error)
                runtime.emit("fence_not_kept", told)
            await sleep_ns(TRY_AGAIN_NS)
            continue
        runtime.emit("fence_kept", cause)
        return


async def fence_of(volume: Volume, path: str) -> str:
    """Why the source is closed; empty while it is open."""
    return fence_cause(await StateSlots(volume, path).look())


def fence_cause(state: dict[str, Any] | None) -> str:
    """As :func:`fence_of`, for the state that was read."""
    if state is None or not state.get("fenced"):
        return ""
    return str(state.get("cause")) or "the replica has taken over"


async def refuse_fenced(volume: Volume, path: str) -> None:
    """Raises SourceFenced when the source is closed."""
    if cause := await fence_of(volume, path):
        raise SourceFenced(f"this source is fenced: {cause}", path=path.rpartition("/")[0])


async def heed_fence(volume: Volume, path: str) -> None:
    """Look now and then until cancelled; raises SourceFenced when the source was closed.

    A spool's volume that cannot be read is no reason to end a program.
    """
    while True:
        with suppress(StorageError, DamagedLog):
            await refuse_fenced(volume, path)
        await sleep_ns(LOOK_AGAIN_NS)


async def lift_fence(volume: Volume, path: str) -> None:
    """Open the source again, durably."""
    slots = StateSlots(volume, path)
    state = await slots.load()
    if state is not None and fence_cause(state):
        for _copy in range(2):  # nor does any close it again
            await slots.write(state | {"fenced": False})
