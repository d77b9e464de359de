"""The replica takes over while a sync of its journal is under way.

The session is cancelled, and what it had appended was promised to nobody.  It must be dealt
with before clients come, not at the next start, when it would go over what they have done.
"""

from __future__ import annotations

import pytest

from replicator.replica_journal import ReplicaJournal
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import SECOND, FailureWorld, blocks


def operations_before_and_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    world = FailureWorld(blocks("/db", 0, 400, every_ms=1)).start()
    world.run_to(100)
    with monkeypatch.context() as patch:

        async def hangs(_journal: ReplicaJournal, _sync: bool = True) -> None:
            await sleep_ns(3600 * SECOND)

        patch.setattr(ReplicaJournal, "make_durable", hangs)
        world.run_to(150)
        store = world.store
        assert store.journal.end > store.promises.durable_end, "nothing is under way"
    host = world.host(REPLICA)
    task = host.start(world.replica.promote(), "promote")
    world.run_until(lambda: task.done)
    task.result()
    taken_over = world.store.applied
    world.replica_loses_power(choose=lambda outcomes: outcomes - 1)
    world.run_to(world.now_ms + 100)
    assert world.store.promoted
    assert not world.failures
    found = taken_over, world.store.applied
    world.close()
    return found


def test_nothing_is_redone_over_the_clients_work(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_over, after = operations_before_and_after_a_restart(monkeypatch)
    assert 0 < taken_over == after


def test_without_the_sync_at_the_promotion_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(_store: ReplicaStore) -> None:
        return None

    monkeypatch.setattr(ReplicaStore, "adopt", nobody)
    taken_over, after = operations_before_and_after_a_restart(monkeypatch)
    assert after > taken_over, "this test means nothing"
