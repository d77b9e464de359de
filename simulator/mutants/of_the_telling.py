"""Rules of what is told: how old the copy is, how far behind, and that somebody goes on trying."""

from __future__ import annotations

from typing import Any, Final
from unittest.mock import patch

from replicator.errors import NoSpace, StorageError
from replicator.full_volume import Patience
from replicator.image import ReplicaImage
from replicator.lag import LagMarks
from replicator.source import Source
from simulator.mutants.mutant import Mutant, does_nothing


def _lag_of_the_newest(original: Any) -> Any:
    def lag_ns(self: LagMarks, durable: int, completed: int, now_ns: int) -> int | None:
        found = original(self, durable, completed, now_ns)
        return None if found is None else found // 4

    return lag_ns


def _as_of_any_heartbeat(_original: Any) -> Any:
    def heard(self: ReplicaImage, beat: Any) -> None:
        self.as_of_ns = beat.wall_ns

    return heard


def _never_connects_again(original: Any) -> Any:
    async def run(self: Source) -> None:
        connect, count = self.runtime.connect, 0

        async def once(address: str) -> Any:
            nonlocal count
            count += 1
            if count > 3:
                raise StorageError("it gave up to connect")
            return await connect(address)

        with patch.object(self, "runtime", _Runtime(self.runtime, once)):
            await original(self)

    return run


class _Runtime:
    def __init__(self, below: Any, connect: Any) -> None:
        self._below = below
        self.connect = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def _gives_up(_original: Any) -> Any:
    def stall(_self: Patience, cause: str) -> None:
        if cause:
            raise NoSpace(cause)

    return stall


TELLING_MUTANTS: Final = (
    Mutant(
        "lag_upper_bound",
        "the lag is told a quarter as old as it may be",
        ((LagMarks, "lag_ns", _lag_of_the_newest),),
    ),
    Mutant(
        "as_of_applied",
        "the replica says it is as of the last heartbeat, applied or not",
        ((ReplicaImage, "heard", _as_of_any_heartbeat),),
    ),
    Mutant(
        "damage_told",
        "damage is found and not told: the image passes for sound",
        ((ReplicaImage, "doubt", does_nothing),),
    ),
    Mutant(
        "reconnects",
        "the source gives up after three connections",
        ((Source, "run", _never_connects_again),),
    ),
    Mutant(
        "waits_for_room",
        "a full volume ends the replica's process instead of holding it up",
        ((Patience, "_stall", _gives_up),),
    ),
)
