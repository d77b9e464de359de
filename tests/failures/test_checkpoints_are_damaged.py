"""Both copies of the checkpoint rot: what the replica has promised to refuse, it still refuses."""

from __future__ import annotations

import pytest

from replicator.source import SourceState
from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import MS, FailureWorld, blocks, content, files_below, spoil, void

CHECKPOINTS = ("/replica/checkpoint.a", "/replica/checkpoint.b")
PROMOTED = ("/replica/promoted.a", "/replica/promoted.b")


def promoted_world() -> FailureWorld:
    world = FailureWorld(blocks("/db", 0, 40)).start()
    world.converge()
    host = world.host(REPLICA)
    task = host.start(world.replica.promote(), "promote")
    world.run_until(lambda: task.done)
    task.result()
    world.run_until(lambda: world.source.state == SourceState.FENCED)
    return world


def start_again(world: FailureWorld, rotten: tuple[str, ...]) -> None:
    """The power fails, and the disk has lost what stood in these files."""
    world.system.replica_machine.lose_power(lose_everything)
    world.system.replica = None
    for path in rotten:
        spoil(world.disk(REPLICA), path, 40, b"\xff\xfe\xfd")
    world.system.start_replica()
    world.run_to(world.now_ms + 20)


@pytest.mark.parametrize(
    "rotten",
    [CHECKPOINTS, (*CHECKPOINTS, PROMOTED[0]), (*CHECKPOINTS, PROMOTED[1]), CHECKPOINTS + PROMOTED],
    ids=["checkpoints", "one of the other", "the other one", "all"],
)
def test_a_replica_that_has_taken_over_stays_so(rotten: tuple[str, ...]) -> None:
    world = promoted_world()
    image = files_below(world.disk(REPLICA), "/replica/image")
    start_again(world, rotten)
    assert world.store.promoted
    assert world.store.damage
    world.source_crashes()  # the next sender knows nothing of it
    world.run_until(lambda: world.system.source is not None and world.source.state == "fenced")
    world.run_to(world.now_ms + 200)
    assert not world.replica.connected
    assert files_below(world.disk(REPLICA), "/replica/image") == image
    assert not world.failures
    world.run_until(lambda: bool(world.closed))
    world.close()


def test_it_stays_so_when_the_checkpoints_are_gone_as_well() -> None:
    world = promoted_world()
    start_again(world, CHECKPOINTS)
    start_again(world, ())
    assert world.store.promoted
    world.close()


def test_a_promotion_of_an_earlier_release_is_noted_at_the_next_checkpoint() -> None:
    """There was only the checkpoint to say so."""
    world = promoted_world()
    names = world.disk(REPLICA).names
    for path in PROMOTED:
        names.remove(path, directory_wanted=False)
    names.settle_prefix(names.changes)
    start_again(world, ())
    assert world.store.promoted
    start_again(world, CHECKPOINTS)
    assert world.store.promoted
    world.close()


def test_what_is_left_of_them_is_kept() -> None:
    world = FailureWorld(blocks("/db", 0, 40)).start()
    world.converge()
    world.system.replica_machine.lose_power(lose_everything)
    world.system.replica = None
    disk = world.disk(REPLICA)
    for path in CHECKPOINTS:
        spoil(disk, path, 40, b"\xff\xfe\xfd")
    left = [content(disk, path) for path in CHECKPOINTS]
    world.system.start_replica()
    world.run_to(world.now_ms + 20)
    kept = files_below(disk, "/replica/damaged")
    for name, data in zip(("checkpoint.a", "checkpoint.b"), left, strict=True):
        assert kept[f"/replica/damaged/{name}.damaged"] == data
    world.run_until(lambda: world.system.converged, 5000)  # home is a basis of what follows
    world.run_to(world.now_ms + 50)
    world.close()


@pytest.mark.parametrize("after", range(1, 23))
def test_power_losses_while_they_are_set_aside(after: int) -> None:
    """It goes on being in doubt until the source has repaired it."""
    world = promoted_world()
    disk = world.disk(REPLICA)
    disk.crash_at_step = disk.steps + after
    hit: list[float] = []

    def crash() -> None:
        hit.append(world.now_ms)
        world.system.replica_machine.lose_power(lose_everything)
        world.system.replica = None
        world.clock.at(world.clock.now() + MS, lambda: void(world.system.start_replica()))

    disk.on_crash = crash
    start_again(world, CHECKPOINTS)
    world.run_to(world.now_ms + 40)
    assert hit
    assert world.store.promoted
    assert world.store.damage
    world.close()
