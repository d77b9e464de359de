"""Damage that is found while the volume is full: the replica waits for the room to keep it."""

from __future__ import annotations

import pytest

from replicator import log_recovery, slots
from replicator.errors import NoSpace
from replicator.full_volume import Patience
from replicator.readonly import run_to_end
from replicator.replica_journal import ReplicaJournal
from replicator.runtime.port import File, Volume
from replicator.slots import StateSlots
from simulator.systems.byte_level import REPLICA
from simulator.volume import SimVolume
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
from tests.failures.worlds import MIB, FailureWorld, blocks, files_below
from tests.tools.small_logs import DictFile, DictVolume

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
        assert causes and ("full" in causes[-1] or "took" in causes[-1]), causes
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


def refused_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[str]:
    """The first call of a step finds no room; returns what is filled with the calls."""
    step, calls = getattr(owner, name), []

    def without_room(*given: object) -> object:
        calls.append(name)
        if len(calls) == 1:
            raise NoSpace("the volume is full", path="/replica")
        return step(*given)

    monkeypatch.setattr(owner, name, without_room)
    return calls


@pytest.mark.parametrize("patient", [True, False])
def test_a_replica_that_begins_without_room_for_its_directories_waits(
    monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    if not patient:
        monkeypatch.setattr(Patience, "with_room", lambda _patience, step: step())
    world = FailureWorld(blocks("/db", 0, 3, every_ms=1))
    calls = refused_once(monkeypatch, SimVolume, "mkdir")
    world.system.start_replica()
    if not patient:
        with pytest.raises(AssertionError, match="replica: NoSpace"):
            world.run_to(100)
        return
    world.run_until(lambda: world.system.replica is not None)
    assert len(calls) > 1
    assert "full" in str(world.said("stalled", REPLICA)[0][0])
    world.close()


@pytest.mark.parametrize("act", [flip(1, 1), checkpoints], ids=["log", "slots"])
def test_what_cannot_be_set_aside_for_want_of_room_is_a_moment_later(
    monkeypatch: pytest.MonkeyPatch, act: Spoil
) -> None:
    world = streaming()
    before = spoil_in_a_power_loss(world, act)
    calls = refused_once(monkeypatch, ReplicaJournal, "set_damaged_aside")
    world.system.start_replica()
    world.run_until(lambda: world.system.replica is not None)
    assert len(calls) == 2
    assert_kept(world.disk(REPLICA), before, FIRST if act is checkpoints else refused_place(world))
    world.close()


def test_a_copy_that_is_there_already_is_synced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Perhaps the cache alone has it: the sync of who made it may have failed."""
    synced = []

    async def noted(file: DictFile) -> None:
        synced.append(file.path)

    volume = DictVolume({"/state.a": b"rotten", "/state.b": b"rotten, too"})
    keep = StateSlots(volume, "/state").copy_to  # type: ignore[arg-type]
    run_to_end(keep("/damaged"))
    kept = {path for path in volume.files if path.startswith("/damaged/")}
    assert len(kept) == 2
    monkeypatch.setattr(DictFile, "sync", noted)
    run_to_end(keep("/damaged"))
    assert set(synced) == kept == {path for path in volume.files if path.startswith("/damaged/")}
