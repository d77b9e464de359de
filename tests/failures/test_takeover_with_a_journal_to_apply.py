"""The replica takes over while its journal holds more than its image: a checkpoint takes its time.

What was promised is applied before clients come.
"""

from __future__ import annotations

import pytest

from replicator.replica_store import ReplicaStore
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import FailureWorld, blocks, slow


def lacks(take_over_at_ms: int) -> int:
    """So many promised operations are not in the image that has taken over."""
    world = FailureWorld(
        blocks("/db", 0, 400, every_ms=1),
        disks={f"{REPLICA}/data": slow(5)},
        replica={"checkpoint_bytes": 10_000},
    ).start()
    world.run_to(take_over_at_ms)
    host = world.host(REPLICA)
    promised, store = world.source.durable, world.store
    task = host.start(world.replica.promote(), "promote")
    world.run_until(lambda: task.done)
    task.result()
    applied = store.applied
    world.close()
    return max(0, promised - applied)


INSTANTS_MS = range(400, 460, 10)


def test_all_that_was_promised_is_there() -> None:
    assert [lacks(at_ms) for at_ms in INSTANTS_MS] == [0] * len(INSTANTS_MS)


def test_a_takeover_that_leaves_the_journal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_store: ReplicaStore) -> None:
        return None

    monkeypatch.setattr(ReplicaStore, "drained", nothing)
    assert any(lacks(at_ms) for at_ms in INSTANTS_MS), "this test means nothing"
