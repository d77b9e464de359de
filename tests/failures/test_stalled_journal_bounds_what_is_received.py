"""The journal's disk stands still while pages of zeros come: small on the wire, not in memory."""

from __future__ import annotations

import pytest

import replicator.replica_session
from replicator.replica_session import ReplicaSession
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import BLOCK, FAST, KIB, MIB, MS, ROOT, FailureWorld, slow

BOUND = 256 * KIB
BATCH = 64 * KIB


async def zeros(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
    file = volume.create(f"{ROOT}/db")
    for number in range(600):
        await volume.admit(BLOCK)
        file.write_at(number * BLOCK, bytes(BLOCK))
        await sleep_ns(MS // 4)


def test_what_is_held_is_counted_as_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicator.replica_session, "RECEIVE_QUEUE_BYTES", BOUND)
    sessions: list[ReplicaSession] = []
    init = ReplicaSession.__init__

    def note(self: ReplicaSession, *arguments: object) -> None:
        init(self, *arguments)  # type: ignore[arg-type]
        sessions.append(self)

    monkeypatch.setattr(ReplicaSession, "__init__", note)
    world = FailureWorld(
        zeros,
        disks={f"{REPLICA}/journal": FAST},
        spool=(16 * MIB, 1 * MIB),
        journal=(16 * MIB, 1 * MIB),
        source={"batch_bytes": BATCH},
    ).start()
    world.run_to(10)
    world.run_until(lambda: world.store.durable > 10)
    stuck = slow(5000)
    world.disk(REPLICA, "journal").model = stuck
    world.disk(REPLICA, "journal").device.model = stuck
    most = 0
    while world.now_ms < 1500:
        world.run_to(world.now_ms + 5)
        held = [len(b.payload) + b.header.raw_bytes for b in sessions[-1]._received._items]
        most = max(most, sum(held))
    assert world.programs.finished
    assert world.spool.completed > world.store.durable + 300, "it was never held up"
    assert BATCH < most <= BOUND
    world.close()
