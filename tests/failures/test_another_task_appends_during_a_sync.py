"""While one task syncs the replica's journal another one appends: whose sync promises that?

A resynchronization is committed by a task of its own, beside the one that journals batches.  The
mark rises to what stood in the journal before the sync, and a power loss takes nothing of it.
"""

from __future__ import annotations

import pytest

from replicator.records import RecordType
from replicator.replica_journal import ReplicaJournal
from replicator.replica_options import ReplicaOptions
from replicator.runtime import group, sleep_ns
from replicator.segments import Position
from simulator.host import Host, World, lose_everything, run_offline
from tests.failures.worlds import MS, slow

OPTIONS = ReplicaOptions("set", "replica", journal_limit_bytes=1 << 20, segment_bytes=64 << 10)


async def opened(host: Host) -> ReplicaJournal:
    volume = host.volume("data")
    if not volume.exists("/replica"):
        volume.mkdir("/replica")
        volume.mkdir("/replica/journal")
        await volume.sync_directory("/")
        await volume.sync_directory("/replica")
    journal = ReplicaJournal(volume, "/replica", OPTIONS)
    await journal.recover(lambda _record, _position: None, Position(0, 0))
    return journal


def promised_and_found() -> tuple[int, int]:
    """Number of the record that one task was promised, and of the last that is there after."""
    world = World(network=False)
    machine = world.machine("replica")
    machine.add_disk("data", slow(10))
    host = machine.start()
    promised: list[int] = []

    async def append(journal: ReplicaJournal, after_ms: int) -> None:
        await sleep_ns(after_ms * MS)
        journal.append(RecordType.COMMIT, 1, b"", bytes(1000))
        if not after_ms:
            await journal.make_durable()
            promised.append(journal.durable_record)
            machine.lose_power(lose_everything)

    async def both() -> None:
        journal = await opened(host)
        async with group() as g:
            g.spawn(append(journal, 0), "who is promised something")
            g.spawn(append(journal, 5), "who appends meanwhile")

    host.start(both(), "both")
    world.clock.run_until(1000 * MS)

    async def last(again: Host) -> int:
        return (await opened(again)).log.sequence

    found = run_offline(machine.disks, last)
    world.close()
    return promised[0], found


def test_what_came_meanwhile_is_not_promised() -> None:
    assert promised_and_found() == (1, 1)


def test_a_mark_that_is_read_after_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    async def make_durable(journal: ReplicaJournal, sync: bool = True) -> None:
        if sync:
            await journal.log.sync()
        journal.durable_record = journal.log.sequence
        journal.durable_end = journal.log.end

    monkeypatch.setattr(ReplicaJournal, "make_durable", make_durable)
    assert promised_and_found() == (2, 1), "this test means nothing"
