"""The machine has no descriptor left for a connection: the replica says so and tries again."""

from __future__ import annotations

import pytest

from replicator.errors import ConnectionLost
from simulator.network import SimListener
from simulator.stream import SimStream
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import FailureWorld, blocks


def test_it_is_said_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, failures = SimListener.accept, [0]

    async def refuse(self: SimListener) -> SimStream:
        if failures[0] < 8:
            failures[0] += 1
            raise ConnectionLost("no connection accepted: too many open files")
        return await accept(self)

    monkeypatch.setattr(SimListener, "accept", refuse)
    world = FailureWorld(blocks("/db", 0, 30)).start()
    world.converge()
    assert failures == [8]
    assert world.said("not_accepted", REPLICA) == [
        ("no connection accepted: too many open files",),
        ("",),
    ]
    world.close()


def test_a_replica_whose_listener_was_closed_ends() -> None:
    world = FailureWorld(blocks("/db", 0, 30)).start()
    world.converge()
    process = world.world.machine(REPLICA).processes[REPLICA]
    assert process._attachment is not None
    for listener in list(process._attachment.listeners.values()):
        listener.close()
    world.clock.run_until(world.clock.now() + 10_000_000)
    assert world.failures and "the listener is closed" in world.failures[0]
    world.close()
