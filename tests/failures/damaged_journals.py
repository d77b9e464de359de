"""A replica whose journal or checkpoint rots while it is down, and what it then keeps of them."""

from __future__ import annotations

from collections.abc import Callable

from replicator.records import HEADER_BYTES, body_length
from simulator.disk import Disk
from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import (
    KIB,
    MIB,
    FailureWorld,
    blocks,
    content,
    files_below,
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


def spoil_in_a_power_loss(world: FailureWorld, act: Spoil) -> dict[str, bytes]:
    """Power off, spoil; returns the journal as the replica will find it."""
    world.system.replica_machine.lose_power(lose_everything)
    world.system.replica = None
    disk = world.disk(REPLICA)
    act(disk)
    return files_below(disk, JOURNAL)


def strike(world: FailureWorld, act: Spoil) -> dict[str, bytes]:
    """The same, and power on; returns when the replica has opened."""
    before = spoil_in_a_power_loss(world, act)
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
