"""The source's wall clock jumps: the age that the replica shows follows it."""

from __future__ import annotations

import pytest

from simulator.host import WALL_EPOCH_NS
from simulator.systems.byte_level import PROGRAMS, REPLICA, SOURCE
from tests.failures.worlds import MIB, MS, SECOND, FailureWorld, blocks, nothing, slow

HEARTBEAT_MS = 20
SETTLED_MS = HEARTBEAT_MS + 10
"""A heartbeat, the way to the replica, and the time to apply."""


def source_wall_ns(world: FailureWorld) -> int:
    host = world.host(PROGRAMS)
    assert host is not None
    return host.wall_ns()


def jump(world: FailureWorld, seconds: float) -> None:
    world.world.machine(SOURCE).wall_offset_ns += int(seconds * SECOND)


def assert_true_age(world: FailureWorld) -> None:
    age_ns = source_wall_ns(world) - world.store.as_of_ns
    assert age_ns >= 0, f"it shows a time that is still to come, {-age_ns / MS} ms ahead"
    assert age_ns <= SETTLED_MS * MS, f"it shows {age_ns / MS} ms"


@pytest.mark.parametrize("busy", [True, False], ids=["operations", "heartbeats"])
@pytest.mark.parametrize("seconds", [3600, -3600, 0.015, -0.015, 86400 * 365, -86400 * 365])
def test_the_age_follows_the_clock_both_ways(seconds: float, busy: bool) -> None:
    """Operations alone, with hardly a heartbeat; and heartbeats alone."""
    steps = blocks("/db", 0, 400, every_ms=1) if busy else nothing
    seldom = {"heartbeat_ns": 5 * SECOND} if busy else {}
    world = FailureWorld(steps, files={"/a": b"a"}, source=seldom).start()
    world.run_to(100)
    assert_true_age(world)
    for turn in (1, -1, 1):
        jump(world, turn * seconds)
        world.run_to(world.now_ms + SETTLED_MS)
        for _ in range(10):
            assert_true_age(world)
            world.run_to(world.now_ms + 3)
    world.converge()
    world.close()


def test_a_backlog_from_before_the_jump_does_not_bring_the_future_back() -> None:
    """What was captured by the old clock arrives after the jump, then what the new one saw."""
    world = FailureWorld(blocks("/db", 0, 300, every_ms=1)).start()
    world.run_to(100)
    world.link.partition()
    world.run_to(140)
    jump(world, -3600)
    world.run_to(180)
    world.link.heal()
    world.run_to(180 + 2 * SETTLED_MS)
    for _ in range(20):
        assert_true_age(world)
        world.run_to(world.now_ms + 3)
    world.converge()
    world.close()


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_jump_while_the_replica_is_down(seconds: float) -> None:
    """Its checkpoint still shows the time before; the first word of the source corrects it."""
    world = FailureWorld(nothing, files={"/a": b"a"}).start()
    world.run_to(100)
    world.replica_loses_power(30)
    jump(world, seconds)
    world.run_to(200)
    world.run_until(lambda: world.system.converged)
    world.run_to(world.now_ms + SETTLED_MS)
    for _ in range(10):
        assert_true_age(world)
        world.run_to(world.now_ms + 3)
    world.close()


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_new_epoch_after_a_jump_is_as_old_as_it_is(seconds: float) -> None:
    world = FailureWorld(nothing, files={"/a": b"a"}).start()
    world.run_to(100)
    jump(world, seconds)
    world.gap()
    world.run_until(lambda: world.store.epoch == 2)
    world.run_to(world.now_ms + SETTLED_MS)
    assert_true_age(world)
    world.close()


def test_a_heartbeat_does_not_speak_for_what_is_not_applied_yet() -> None:
    """Behind a slow journal heartbeats arrive before the operations that they name."""
    world = FailureWorld(
        blocks("/db", 0, 300, every_ms=2),
        disks={f"{REPLICA}/journal": slow(25)},
        journal=(8 * MIB, 2 * MIB),
    ).start()
    world.run_until(lambda: world.system.replica is not None and world.store.epoch == 1)
    times, behind = world.system.truth.times_ns, 0
    while not world.programs.finished:
        world.run_to(world.now_ms + 1)
        following = world.system.truth.epochs[1] + world.store.applied + 1
        if following < len(times):
            behind += 1
            assert world.store.as_of_ns - WALL_EPOCH_NS <= times[following], "it was not so new"
    assert behind > 100, "it was never behind: this means nothing"
    world.converge()
    world.close()
