"""What recovery refuses is kept: under ``damaged/``, byte for byte, and never overwritten."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.damaged_journals import (
    DAMAGED,
    JOURNAL,
    Spoil,
    assert_kept,
    checkpoints,
    flip,
    refused_place,
    remove,
    spoil_in_a_power_loss,
    streaming,
    strike,
)
from tests.failures.worlds import (
    BLOCK,
    FailureWorld,
    blocks,
    content,
    files_below,
    payload,
    slow,
    spoil,
)


@pytest.mark.parametrize(
    "act",
    [flip(0, 1), flip(0, 2), flip(1, 1), flip(2, 3), flip(1, 0), flip(-2, -3), remove(1)],
    ids=["first", "early", "second", "third", "header", "late", "missing"],
)
def test_everything_from_the_damage_on_is_kept(act: Spoil) -> None:
    world = streaming()
    before = strike(world, act)
    assert len(before) >= 4
    disk = world.disk(REPLICA)
    assert world.said("damage", REPLICA), "it was not noticed: this means nothing"
    place = refused_place(world)
    assert_kept(disk, before, place)
    left = files_below(disk, DAMAGED)
    world.run_until(lambda: world.programs.finished and world.system.converged)
    now = files_below(disk, DAMAGED)
    assert now == left, "what was set aside stays as it was"
    assert ("repaired",) in [(e.name,) for e in world.events]
    world.close()


def test_what_is_before_the_damage_stays_in_use() -> None:
    world = streaming()
    before = strike(world, flip(1, 2))
    name, offset = refused_place(world)
    disk = world.disk(REPLICA)
    assert content(disk, name)[:offset] == before[name][:offset]
    assert world.store.journal.end.offset >= offset
    world.run_until(lambda: world.programs.finished and world.system.converged)
    world.close()


def test_a_second_damage_of_the_same_segment_does_not_overwrite_the_first() -> None:
    """The segments that were moved away are numbered anew, so the same names come again."""
    world = streaming(count=600)
    disk = world.disk(REPLICA)
    seen: list[dict[str, bytes]] = []
    for turn in range(3):
        before = strike(world, flip((1, -2, -1)[turn], 2))
        assert len(world.said("damage", REPLICA)) == turn + 1, "it was not noticed"
        place = refused_place(world)
        assert_kept(disk, before, place)
        seen.append(files_below(disk, DAMAGED))
        world.run_to(world.now_ms + 18)
    for earlier, later in pairwise(seen):
        for path, data in earlier.items():
            assert later[path] == data, f"{path} was overwritten"
        assert len(later) > len(earlier)
    assert any(".2.damaged" in path for path in seen[-1]), "no name was ever taken: in vain"
    world.run_until(lambda: world.programs.finished and world.system.converged)
    world.close()


def test_a_journal_without_a_checkpoint_is_set_aside_as_a_whole() -> None:
    world = streaming()
    before = strike(world, checkpoints)
    disk = world.disk(REPLICA)
    assert_kept(disk, before, (min(before), 0))
    world.run_until(lambda: world.programs.finished and world.system.converged)
    assert len(world.said("synchronized")) == 2
    world.close()


def test_no_room_for_the_copy_loses_nothing() -> None:
    """The tail of the segment that is kept is copied; the volume has no block for it."""
    world = streaming()
    disk = world.disk(REPLICA)
    before = spoil_in_a_power_loss(world, flip(1, 2))
    world.fill(REPLICA, "data", 0)
    world.system.start_replica()
    world.clock.run_until(world.clock.now() + 20 * 1_000_000)
    everywhere = files_below(disk, JOURNAL) | files_below(disk, DAMAGED)
    for path, data in before.items():
        name = path.rpartition("/")[2]
        same = [copy for at, copy in everywhere.items() if f"/{name}" in at]
        assert any(copy.rstrip(b"\0") == data.rstrip(b"\0") for copy in same), path
    world.close()


def test_rotten_staged_blocks_of_a_commit_are_named_and_synchronized_anew() -> None:
    """They are no segment, but a committed image that cannot be built any more."""
    hits = 0
    for instant in range(6, 40, 2):
        world = FailureWorld(
            blocks("/db", 0, 30, every_ms=2),
            disks={f"{REPLICA}/data": slow(10), f"{REPLICA}/journal": slow(1)},
            files={f"/f{n}": payload(n, 3 * BLOCK) for n in range(4)},
        ).start()
        world.run_to(60 + 4 * instant)
        store = world.system.replica and world.store
        switching = bool(store) and store.committed_epoch > store.epoch
        world.system.replica_machine.lose_power(lose_everything)
        world.system.replica = None
        disk = world.disk(REPLICA)
        if switching:
            for path in files_below(disk, "/replica/staging"):
                spoil(disk, path, 9000, b"rotten")
        world.system.start_replica()
        world.converge(5000)
        hits += switching
        if switching:
            assert any("staged" in str(v[0]) for v in world.said("damage", REPLICA))
            assert world.source.resynchronizations >= 1
            assert world.said("repaired", REPLICA)
        world.close()
    assert hits, "no power was lost during a switch"
