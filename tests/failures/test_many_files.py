"""Thousands of files are touched: the number of open ones stays within a bound."""

from __future__ import annotations

import pytest

from replicator.home import OPEN_FILES_LIMIT
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from simulator.digest import image_digest
from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.failures.worlds import (
    IMAGE,
    KIB,
    MIB,
    MS,
    ROOT,
    FailureWorld,
    Steps,
    counted_handles,
    payload,
)

FILES = 2000
OTHERS = 80
"""Segments of the log, checkpoint, staging."""


def many_files() -> dict[str, bytes]:
    return {f"/f{number:04}": payload(number, 100) for number in range(FILES)}


def touch_all(turns: int = 2, pause_every: int = 50) -> Steps:
    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        volume = volume.below  # type: ignore[attr-defined]  # the truth is slow with so many
        while not (world.system.source and world.source.committed):
            await sleep_ns(MS)
        for turn in range(turns):
            for number in range(FILES):
                await volume.admit(100)
                file = volume.open(f"{ROOT}/f{number:04}")
                file.write_at(20 * turn, payload(number + turn, 30))
                file.close()
                if number % pause_every == 0:
                    await sleep_ns(MS)

    return steps


@pytest.mark.parametrize("batch", [16 * KIB, 256 * KIB], ids=["small batches", "large batches"])
def test_the_replica_holds_few_files_open(batch: int) -> None:
    """A batch may touch more files than may be open; a checkpoint is a long way off."""
    with counted_handles() as handles:
        world = FailureWorld(
            touch_all(),
            files=many_files(),
            source={"batch_bytes": batch},
            spool=(64 * MIB, 4 * MIB),
            replica={"checkpoint_bytes": 64 * MIB, "checkpoint_interval_ns": 400 * MS},
        ).start()
        world.run_until(lambda: world.system.replica is not None and world.store.epoch == 1)
        world.link.partition()  # so that batches are as large as they may be
        world.run_until(lambda: world.programs.finished)
        world.link.reset()
        world.link.heal()
        world.run_until(lambda: world.system.converged)
        assert handles.peak[REPLICA] <= OPEN_FILES_LIMIT + OTHERS, handles.peak
        assert world.store.applied == 2 * FILES
        ours = image_digest(world.disk(SOURCE), ROOT)
        assert image_digest(world.disk(REPLICA), IMAGE) == ours
        world.run_until(lambda: world.store.checkpointed == 2 * FILES)
        world.system.replica_machine.lose_power(lose_everything)
        assert image_digest(world.disk(REPLICA), IMAGE) == ours, "what was closed was synced first"
        world.close()


@pytest.mark.parametrize("machine", [REPLICA, SOURCE])
def test_a_synchronization_holds_few_files_open(machine: str) -> None:
    with counted_handles() as handles:
        world = FailureWorld(files=many_files(), spool=(64 * MIB, 4 * MIB)).start()
        world.converge()
        world.close()
    assert handles.peak[machine] <= OPEN_FILES_LIMIT + OTHERS, handles.peak


@pytest.mark.parametrize("machine", [REPLICA, SOURCE])
def test_nothing_is_held_open_by_synchronizations_that_are_over(machine: str) -> None:
    """One after the other: each gives back what it opened."""
    with counted_handles() as handles:
        world = FailureWorld(files={"/a": payload(1), "/b": payload(2)}).start()
        world.converge()
        after_first = dict(handles.open)
        for _ in range(10):
            world.gap()
            world.run_to(world.now_ms + 50)
            world.converge()
        world.close()
    assert handles.open[machine] <= after_first[machine] + 4, handles.open
