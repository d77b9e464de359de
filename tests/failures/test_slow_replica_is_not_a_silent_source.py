"""A replica that is behind does not listen: that is no reason to call the source silent."""

from __future__ import annotations

import pytest

import replicator.replica_session
from replicator.failover import FailoverOptions, FailoverReport, fail_over, wait_for_silence
from replicator.source import SourceState
from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import BLOCK, FAST, KIB, MIB, MS, FailureWorld, blocks, nothing, slow

SILENCE_MS = 200
SLOW_SYNC_MS = 500
"""Much longer than the silence that would be detected."""


@pytest.fixture(autouse=True)
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a session takes in ahead of the journal, so that it is soon full."""
    monkeypatch.setattr(replicator.replica_session, "RECEIVE_QUEUE_BYTES", 128 * KIB)


def behind_a_slow_journal() -> FailureWorld:
    world = FailureWorld(
        blocks("/db", 0, 120, every_ms=1),
        disks={f"{REPLICA}/journal": FAST},
        journal=(4 * MIB, 2 * MIB),
        source={"window_bytes": 1 << 30},
    )
    world.start()
    world.run_to(60)
    slow_disk = slow(SLOW_SYNC_MS)
    world.disk(REPLICA, "journal").model = slow_disk
    world.disk(REPLICA, "journal").device.model = slow_disk
    return world


def detection(world: FailureWorld) -> list[float]:
    """The instants at which silence was detected; the watch begins now."""
    found: list[float] = []
    host = world.host(REPLICA)
    assert host is not None

    async def watch() -> None:
        await wait_for_silence(host, world.replica, SILENCE_MS * MS)
        found.append(world.now_ms)

    host.start(watch(), "watch")
    return found


def longest_wait_ms(world: FailureWorld, until_ms: float) -> float:
    """For how long the session worked on one frame at the most."""
    longest = since = 0.0
    while world.now_ms < until_ms:
        world.run_to(world.now_ms + 5)
        if world.replica.listening:
            since = world.now_ms
        longest = max(longest, world.now_ms - since)
    return longest


def test_a_receiver_that_is_blocked_does_not_make_the_source_silent() -> None:
    world = behind_a_slow_journal()
    found = detection(world)
    blocked_ms = longest_wait_ms(world, 5000)
    assert blocked_ms > 2 * SILENCE_MS, "the receiver was never blocked: this means nothing"
    assert not found, "the source lives and speaks"
    assert world.replica.connected
    # Heartbeats of the replica go on beside the blocked receiver: the source stays as well.
    assert world.source.state == SourceState.STREAMING
    assert len(world.said("session_begin", REPLICA)) == 1
    world.converge()
    assert not found
    world.close()


def test_a_source_that_dies_meanwhile_is_detected_when_all_was_heard() -> None:
    world = behind_a_slow_journal()
    found = detection(world)
    world.run_to(400)
    assert not world.replica.listening
    world.system.source_machine.lose()
    world.system.source = None
    world.run_to(400 + 12 * SLOW_SYNC_MS)
    assert found, "a source that is dead is never detected"
    world.close()


@pytest.mark.parametrize("how", ["power", "partition", "loss"])
def test_a_silent_source_is_detected_in_time(how: str) -> None:
    world = FailureWorld(nothing, files={"/db": bytes(BLOCK)}).start()
    world.converge()
    found = detection(world)
    world.run_to(1000)
    assert not found
    if how == "power":
        world.system.source_machine.lose_power(lose_everything)
        world.system.source = None
    elif how == "partition":
        world.link.partition()
    else:
        world.system.source_machine.lose()
        world.system.source = None
    world.run_to(2000)
    assert found
    assert SILENCE_MS - 20 <= found[0] - 1000 <= SILENCE_MS + 20, found
    world.close()


def test_without_a_source_there_is_nobody_to_be_silent() -> None:
    world = FailureWorld(nothing)
    world.system.start_replica()
    world.run_to(5)
    found = detection(world)
    world.run_to(3000)
    assert not found
    world.close()


def test_failover_behind_a_slow_journal_keeps_what_was_promised() -> None:
    """The source dies while the receiver is blocked; the replica takes over by itself."""
    world = behind_a_slow_journal()
    reports: list[FailoverReport | None] = []
    host = world.host(REPLICA)
    assert host is not None

    async def mount() -> None:
        return

    async def watch() -> None:
        options = FailoverOptions(SILENCE_MS * MS, 100 * MS, 0)
        report = await fail_over(host, world.replica, options, lambda: True, mount)
        reports.append(report)

    host.start(watch(), "failover")
    world.run_to(700)
    assert not world.replica.listening
    assert not reports
    world.note_acknowledged()
    promised = world.source.durable
    world.system.source_machine.lose()
    world.system.source = None
    world.run_until(lambda: bool(reports), 20_000)
    assert reports[0] is not None
    assert world.store.promoted
    assert world.store.applied >= promised
    world.judge()
    world.close()


def test_a_source_that_dies_behind_a_full_volume_is_detected_once_there_is_room() -> None:
    """The volume is full, then the journal, then the queue: nobody listens any more.

    Such a replica cannot tell silence from its own deafness, and could not take over.
    """
    world = FailureWorld(
        blocks("/db", 0, 300, every_ms=1),
        disks={f"{REPLICA}/journal": FAST},
        journal=(256 * KIB, 64 * KIB),
    ).start()
    world.run_to(60)
    world.fill(REPLICA, "data", 2)
    world.run_to(600)
    assert world.store.stalled and not world.replica.listening, "this means nothing"
    found = detection(world)
    world.system.source_machine.lose()
    world.system.source = None
    world.run_to(5_000)
    assert not found, "it does not listen: how can it know?"
    assert world.store.stalled
    world.resize(REPLICA, "data", 64 * MIB)
    world.run_to(10_000)
    assert found, "a source that is dead is never detected"
    world.close()
