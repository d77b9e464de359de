"""What recovery refuses is kept: under ``damaged/``, byte for byte, and never overwritten."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from replicator.records import HEADER_BYTES, body_length
from simulator.disk import Disk
from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import (
    BLOCK,
    KIB,
    MIB,
    FailureWorld,
    blocks,
    content,
    files_below,
    payload,
    slow,
    spoil,
)

JOURNAL, DAMAGED = "/replica/journal", "/replica/damaged"

Spoil = Callable[[Disk], None]


def streaming(every_ms: float = 1, count: int = 200) -> FailureWorld:
    """Checkpoints are rare, so the journal holds much when it is spoilt."""
    world = FailureWorld(
        blocks("/db", 0, count, every_ms=every_ms),
        journal=(4 * MIB, 64 * KIB),
        replica={"checkpoint_bytes": 64 * MIB, "checkpoint_interval_ns": 10**12},
    ).start()
    world.run_to(60)
    return world


def segments(disk: Disk) -> list[str]:
    return sorted(files_below(disk, JOURNAL))


def records(data: bytes) -> list[int]:
    """Where the records of a segment begin, and where the last one ends."""
    found = [0]
    while (body := body_length(data, found[-1])) >= 0:
        found.append(found[-1] + HEADER_BYTES + body)
    return found


def flip(segment: int, record: int) -> Spoil:
    """One bit in the middle of a record."""

    def act(disk: Disk) -> None:
        path = segments(disk)[segment]
        data = content(disk, path)
        bounds = records(data)
        at = (bounds[record] + bounds[record + 1]) // 2
        spoil(disk, path, at, bytes([data[at] ^ 1]))

    return act


def remove(segment: int) -> Spoil:
    def act(disk: Disk) -> None:
        disk.names.remove(segments(disk)[segment], directory_wanted=False)
        disk.names.settle_prefix(disk.names.changes)

    return act


def checkpoints(disk: Disk) -> None:
    for slot in ("a", "b"):
        spoil(disk, f"/replica/checkpoint.{slot}", 40, b"rotten")


def strike(world: FailureWorld, act: Spoil) -> dict[str, bytes]:
    """Power off, spoil, power on; returns the journal as the replica then found it."""
    world.system.replica_machine.lose_power(lose_everything)
    world.system.replica = None
    disk = world.disk(REPLICA)
    act(disk)
    before = files_below(disk, JOURNAL)
    world.system.start_replica()
    # The moment at which it has opened: nothing new is in the journal yet.
    while world.system.replica is None:
        assert not world.failures, world.failures
        world.clock.run_until(world.clock.now() + 20_000)
    return before


def assert_kept(disk: Disk, before: dict[str, bytes], refused_from: tuple[str, int]) -> None:
    """Each byte from the refused place on is under ``damaged/``, at its old offset."""
    kept = files_below(disk, DAMAGED)
    first, offset = refused_from
    for path, data in before.items():
        if path < first:
            continue
        start = offset if path == first else 0
        wanted = data[start:].rstrip(b"\0")
        copies = [
            copy
            for name, copy in kept.items()
            if name.startswith(f"{DAMAGED}/{path.rpartition('/')[2]}")
        ]
        assert any(copy[start:].rstrip(b"\0") == wanted for copy in copies), (
            f"of {path} from byte {start} on nothing like it is in {sorted(kept)}"
        )


def refused_place(world: FailureWorld) -> tuple[str, int]:
    """Path and offset that the last damage was reported at."""
    text = str(world.said("damage", REPLICA)[-1][0])
    path = text.partition(": ")[0]
    name, _, offset = path.partition(" at byte ")
    assert name.endswith(".segment"), text
    return name, int(offset or 0)


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

    def act(disk: Disk) -> None:
        flip(1, 2)(disk)
        world.fill(REPLICA, "data", 0)

    world.system.replica_machine.lose_power(lose_everything)
    world.system.replica = None
    act(disk)
    before = files_below(disk, JOURNAL)
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
