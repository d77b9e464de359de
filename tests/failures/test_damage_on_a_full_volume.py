"""Damage that is found while the volume is full: the replica waits for the room to keep it."""

from __future__ import annotations

import pytest

from replicator import log_recovery, slots
from replicator.full_volume import Patience
from replicator.runtime.port import File, Volume
from simulator.systems.byte_level import REPLICA
from tests.failures.damaged_journals import (
    DAMAGED,
    Spoil,
    assert_kept,
    checkpoints,
    flip,
    refused_place,
    spoil_in_a_power_loss,
    streaming,
)
from tests.failures.worlds import MIB, FailureWorld, files_below

FIRST = ("/replica/journal/00000001.segment", 0)


def found_without_room(act: Spoil, free_blocks: int) -> tuple[FailureWorld, dict[str, bytes]]:
    """A replica that has found the damage, on a volume with so many free blocks."""
    world = streaming()
    before = spoil_in_a_power_loss(world, act)
    world.fill(REPLICA, "data", free_blocks)
    world.system.start_replica()
    world.run_to(world.now_ms + 100)
    return world, before


@pytest.mark.parametrize("free_blocks", range(3))
@pytest.mark.parametrize("act", [flip(1, 1), flip(-1, 2), checkpoints], ids=["log", "end", "slots"])
def test_it_waits_says_why_and_keeps_all_of_it_once(act: Spoil, free_blocks: int) -> None:
    world, before = found_without_room(act, free_blocks)
    disk = world.disk(REPLICA)
    waits = world.system.replica is None
    assert waits or free_blocks, "it cannot have opened without any room"
    if waits:
        causes = [str(values[0]) for values in world.said("stalled", REPLICA)]
        assert (causes and "full" in causes[-1]) or "took" in causes[-1], causes
        world.run_to(world.now_ms + 500)
        assert not world.failures
    world.resize(REPLICA, "data", 64 * MIB)
    world.run_until(lambda: world.system.replica is not None)
    assert_kept(disk, before, FIRST if act is checkpoints else refused_place(world))
    assert not [name for name in files_below(disk, DAMAGED) if ".2." in name], "a beginning is left"
    world.run_until(lambda: world.programs.finished and world.system.converged)
    world.close()


def test_power_losses_meanwhile_leave_nothing_behind() -> None:
    world, before = found_without_room(flip(1, 1), 0)
    for _turn in range(3):
        world.replica_loses_power()
        world.run_to(world.now_ms + 60)
        assert world.system.replica is None
    world.resize(REPLICA, "data", 64 * MIB)
    world.run_until(lambda: world.system.replica is not None)
    assert_kept(world.disk(REPLICA), before, refused_place(world))
    world.close()


def test_without_patience_it_would_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "with_room", lambda _patience, step: step())
    with pytest.raises(AssertionError, match="replica: NoSpace"):
        found_without_room(flip(1, 1), 0)


def test_beginnings_that_are_left_fill_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless:
        """A copy that is left as it is when there is no room for more."""

        def __init__(self, volume: Volume, path: str) -> None:
            self._file = volume.create(path)

        async def __aenter__(self) -> File:
            return self._file

        async def __aexit__(self, *_error: object) -> None:
            self._file.close()

    for module in (log_recovery, slots):
        monkeypatch.setattr(module, "new_copy", Careless)
    world, _before = found_without_room(flip(1, 1), 0)
    assert [name for name in files_below(world.disk(REPLICA), DAMAGED) if ".2." in name]
    world.close()
