"""Rules of a takeover: the replica listens to no source, the old source is closed and says so."""

from __future__ import annotations

from typing import Any, Final

import replicator.captured_set
import replicator.service
import replicator.source_session
from replicator.checkpoints import Checkpoints
from replicator.journal import Position
from replicator.replica import Replica
from replicator.replica_checkpointer import ReplicaCheckpointer
from replicator.replica_marks import ReplicaMarks
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from replicator.source_session import Refused
from simulator.mutants.mutant import Mutant, does_nothing, nothing

_LISTENS_ON_NS: Final = 500_000_000


def _in_memory_only(_original: Any) -> Any:
    async def promote(self: ReplicaStore) -> None:
        await self.promises.make_durable()
        self.promoted = True

    return promote


def _without_the_promotion(original: Any) -> Any:
    def note(self: ReplicaCheckpointer, redo_from: Position) -> dict[str, Any]:
        noted: dict[str, Any] = original(self, redo_from)
        return noted | {"promoted": False, "promised_epoch": self._marks.promised_epoch}

    return note


def _in_the_checkpoint_only(original: Any) -> Any:
    async def write(self: Checkpoints, state: dict[str, Any]) -> None:
        self._promotion_noted = True
        await original(self, state)

    return write


def _listens_on(original: Any) -> Any:
    async def promote(self: Replica) -> None:
        await sleep_ns(_LISTENS_ON_NS)
        await original(self)

    return promote


def _for_a_passing_reason(original: Any) -> Any:
    def refusal(frame: Any) -> Refused:
        found = original(frame)
        return Refused(str(found), "", found.remedy)

    return refusal


def _and_frees_the_spool(original: Any) -> Any:
    async def raise_fence(runtime: Any, volume: Any, path: str, *rest: Any) -> None:
        await original(runtime, volume, path, *rest)
        segments = path.rpartition("/")[0] + "/segments"
        for name in volume.list(segments):
            volume.unlink(f"{segments}/{name}")

    return raise_fence


ONE_SOURCE_MUTANTS: Final = (
    Mutant(
        "promoted_refuses",
        "a replica that has taken over listens to the old source again",
        (
            (Replica, "_refuse_when_promoted", does_nothing),
            (ReplicaMarks, "refuse_when_promoted", does_nothing),
        ),
    ),
    Mutant(
        "promotion_is_durable",
        "that it has taken over is known to the replica's process only",
        (
            (ReplicaStore, "promote", _in_memory_only),
            (ReplicaCheckpointer, "note", _without_the_promotion),
        ),
    ),
    Mutant(
        "promotion_outlives_checkpoints",
        "that it has taken over stands in the checkpoints only",
        ((Checkpoints, "write", _in_the_checkpoint_only),),
    ),
    Mutant(
        "takes_over_at_once",
        "the replica goes on listening while it takes over",
        ((Replica, "promote", _listens_on),),
    ),
    Mutant(
        "refused_source_stops",
        "a source that is refused for good takes it for a passing trouble",
        ((replicator.source_session, "_refusal", _for_a_passing_reason),),
    ),
    Mutant(
        "fence_is_kept",
        "the sender that was refused does not note it for the programs",
        ((replicator.service, "raise_fence", nothing),),
    ),
    Mutant(
        "fence_is_heeded",
        "a program that has the set open does not look for a fence",
        ((replicator.captured_set, "heed_fence", nothing),),
    ),
    Mutant(
        "fenced_spool_stays",
        "a source that is closed throws away what it had not sent",
        ((replicator.service, "raise_fence", _and_frees_the_spool),),
    ),
)
