"""The journal is lost, not mounted, moved or cut short: the replica says so, and never falsely.

What a checkpoint says of the journal is held against what is there.  Without that rule the replica
starts as if nothing had ever been promised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replicator.replica_journal import ReplicaJournal, lost_before
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.segments import Position
from simulator.disk import Disk
from simulator.host import Host, keep_everything, lose_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import (
    MIB,
    MS,
    FailureWorld,
    blocks,
    content,
    files_below,
    spoil,
    void,
)

JOURNAL = "/replica/journal"
RARE = {"checkpoint_bytes": 64 * MIB, "checkpoint_interval_ns": 10**12}
"""Checkpoints are rare: what is acknowledged stands in the journal alone."""


def streaming(count: int = 30, every_ms: float = 1) -> FailureWorld:
    world = FailureWorld(blocks("/db", 0, count, every_ms=every_ms), replica=RARE).start()
    world.run_to(60)
    return world


def remove_segments(disk: Disk) -> None:
    for path in sorted(files_below(disk, JOURNAL)):
        disk.names.remove(path, directory_wanted=False)
    disk.names.settle_prefix(disk.names.changes)


def cut_short(disk: Disk) -> None:
    """All records are gone, the first one included; the header of the segment stays."""
    for path in sorted(files_below(disk, JOURNAL))[1:]:
        disk.names.remove(path, directory_wanted=False)
    [path] = sorted(files_below(disk, JOURNAL))[:1]
    data = content(disk, path)
    spoil(disk, path, 100, bytes(len(data) - 100))
    disk.names.settle_prefix(disk.names.changes)


def strike(world: FailureWorld, act: Callable[[Disk], None]) -> None:
    """Power off, change the journal, power on; returns when recovery is over."""
    world.note_acknowledged()
    world.system.replica_machine.lose_power(lose_everything)
    world.system.replica = None
    act(world.disk(REPLICA))
    restart(world)


def restart(world: FailureWorld) -> None:
    world.system.start_replica()
    while world.system.replica is None:
        assert not world.failures, world.failures
        world.clock.run_until(world.clock.now() + 20_000)


@pytest.mark.parametrize("act", [remove_segments, cut_short])
def test_a_journal_that_is_gone_is_damage_and_the_source_sends_again(
    act: Callable[[Disk], None],
) -> None:
    world = streaming(count=80)
    acknowledged = world.source.durable
    assert acknowledged > 20 and world.store.checkpointed < acknowledged
    strike(world, act)
    assert "durable up to byte" in world.store.damage
    assert world.store.applied < acknowledged
    strike(world, lambda _disk: None)
    assert "durable up to byte" in world.store.damage, "it is not forgotten"
    world.run_until(lambda: world.programs.finished and world.system.converged)
    assert world.said("replica_damage"), "the source was not told"
    assert world.said("repaired", REPLICA)
    world.close()


def test_without_the_rule_the_loss_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.replica_journal.lost_before", lambda *_arguments: "")
    world = streaming()
    acknowledged = world.source.durable
    strike(world, remove_segments)
    assert world.store.applied < acknowledged
    assert not world.store.damage, "somebody else finds it: then this rule is not needed"
    world.close()


@pytest.mark.parametrize("with_segment", [True, False])
def test_a_journal_that_is_lost_again_after_a_repair(
    with_segment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it was set aside, the source repaired the image, and then it is lost once more.

    What came in between was acknowledged before another checkpoint.  Unless the end of the doubt
    begins a segment, nothing says that there ever was one.
    """
    if not with_segment:

        async def begin(_journal: ReplicaJournal, _epoch: int) -> None:
            """The safeguard is off."""

        monkeypatch.setattr(ReplicaJournal, "begin", begin)
    more: list[bool] = []

    async def steps(world: FailureWorld, runtime: Runtime, volume: Volume) -> None:
        await blocks("/db", 0, 6)(world, runtime, volume)
        while not more:
            await sleep_ns(MS)
        await blocks("/db", 6, 3)(world, runtime, volume)

    world = FailureWorld(steps, replica=RARE).start()
    world.run_to(100)
    assert world.system.converged
    # All is in a checkpoint: the source goes on with this image, and sends no other.
    world.host(REPLICA).kernel.run_task(world.store.checkpointer.demand(), "checkpoint")
    world.run_to(120)
    strike(world, remove_segments)
    assert world.store.damage
    world.run_until(lambda: not world.store.damage and not world.store.image.repair_unsaved)
    world.run_to(world.now_ms + 20)
    assert world.source.resynchronizations == 1
    more.append(True)
    world.run_until(lambda: world.source.durable == world.source.spool.completed == 10)
    strike(world, remove_segments)
    assert world.store.applied < 10
    assert bool(world.store.damage) == with_segment
    world.close()


def crash_at(world: FailureWorld, step: int, power: bool, keeps: float) -> list[bool]:
    """The replica crashes at its n-th storage step from now on, and starts again."""
    disk, machine, hit = world.disk(REPLICA), world.system.replica_machine, []

    def crash() -> None:
        hit.append(True)
        if power:
            machine.lose_power(keep_everything if keeps == 1.0 else lose_everything)
        else:
            machine.crash_process()
        world.system.replica = None
        world.clock.at(world.clock.now() + MS, lambda: void(world.system.start_replica()))

    disk.crash_at_step, disk.crash_keeps, disk.on_crash = disk.steps + step, keeps, crash
    return hit


CRASHES = [(False, 0.5), (True, 0.0), (True, 1.0)]


def steps_with_alarm(power: bool, keeps: float) -> tuple[int, list[int]]:
    """How many crash steps the beginning of a journal has, and at which ones a loss is found.

    From the very first start on: no directory, no segment, no checkpoint, then one after one.
    """
    step, crashed, alarms = 0, True, []
    while crashed:
        step += 1
        world = FailureWorld(blocks("/db", 0, 4), replica={"checkpoint_bytes": 10_000})
        hit = crash_at(world, step, power, keeps)
        world.start().run_until(lambda w=world: w.programs.finished and w.system.converged)
        crashed = bool(hit)
        restart_clean(world)
        if world.said("damage", REPLICA):
            alarms.append(step)
        world.close()
    return step, alarms


@pytest.mark.parametrize(("power", "keeps"), CRASHES)
def test_no_crash_at_the_beginning_of_a_journal_looks_like_a_loss(
    power: bool, keeps: float
) -> None:
    steps, alarms = steps_with_alarm(power, keeps)
    assert not alarms
    assert steps > 30, "the beginning was never reached"


def test_a_checkpoint_that_names_what_is_not_durable_raises_a_false_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the enumeration is not blind: this one names the end of what was appended."""

    def needed_from(journal: ReplicaJournal, _cursor: Position) -> Position:
        return journal.log.end

    monkeypatch.setattr(ReplicaJournal, "needed_from", needed_from)
    assert steps_with_alarm(power=True, keeps=0.0)[1]


@pytest.mark.parametrize(("power", "keeps"), CRASHES)
def test_no_crash_while_a_lost_journal_is_begun_anew_is_another_loss(
    power: bool, keeps: float
) -> None:
    """In doubt until the source has repaired it, whatever crashes; beyond doubt from then on."""
    step, crashed = 0, True
    while crashed:
        step += 1
        world = FailureWorld(blocks("/db", 0, 6), replica=RARE).start()
        world.run_to(80)
        world.system.replica_machine.lose_power(lose_everything)
        world.system.replica = None
        remove_segments(world.disk(REPLICA))
        hit = crash_at(world, step, power, keeps)
        world.system.start_replica()
        world.run_until(lambda w=world: w.programs.finished and w.system.converged)
        crashed = bool(hit)
        assert world.said("damage", REPLICA), step
        world.run_until(lambda w=world: not w.store.image.repair_unsaved)
        world.run_to(world.now_ms + 5)
        told = len(world.said("damage", REPLICA))
        restart_clean(world)
        assert len(world.said("damage", REPLICA)) == told, step
        world.close()
    assert step > 10, "the recovery was never reached"


def restart_clean(world: FailureWorld) -> None:
    """The power is lost when nothing is under way."""
    strike(world, lambda _disk: None)


@pytest.mark.parametrize(
    ("needed", "ends", "words"),
    [
        ((1, 0), {}, ""),  # the first start
        ((7, 0), {}, ""),  # set aside a moment ago, and no segment begun since
        ((7, 0), {7: 300}, ""),
        ((7, 300), {7: 300, 8: 90}, ""),
        ((7, 300), {}, "segment 7 is missing"),
        ((7, 300), {8: 900}, "segment 7 is missing"),
        ((7, 300), {6: 900, 7: 299}, "it ends at byte 299"),
    ],
)
def test_what_a_checkpoint_counts_on(needed: Any, ends: dict[int, int], words: str) -> None:
    found = lost_before(Position(*needed), ends)
    assert found.startswith(words) and bool(found) == bool(words)


def test_a_journal_that_was_moved_without_its_files() -> None:
    world = streaming()
    world.system.replica_machine.lose_power(lose_everything)
    seen: list[str] = []

    async def elsewhere(host: Host) -> None:
        volume, options = host.volume("data"), world.system.options.replica
        volume.mkdir("/moved")
        store = ReplicaStore(host, volume, "/replica", volume, "/moved", options)
        seen.append((await store.open()).damage)

    host = world.system.replica_machine.start(REPLICA)
    host.start(elsewhere(host), "replica")
    world.clock.run_until(world.clock.now() + 50 * MS)
    assert len(seen) == 1 and "is missing" in seen[0] and "/moved/journal/" in seen[0]
    world.close()
