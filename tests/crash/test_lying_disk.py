"""Disks of the replica that rot or lie: promised operations are missing, and are fetched again.

What was acknowledged is gone through no fault of the replica.  It must be noticed and
named, nothing may be truncated silently, and the source repairs it: from its spool as long
as that holds the operations, otherwise by a synchronization.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.records import HEADER_BYTES, find_valid
from replicator.slots import newest_of
from simulator.disk_faults import files_of
from simulator.host import lose_everything
from simulator.inode import Inode
from simulator.link import Link
from simulator.systems.byte_level import REPLICA, SOURCE, ByteLevelSystem
from tests.crash.harness import MS, Plan, Step, create, log_rolls, run, write

STEPS: list[Step] = [create("/db"), *(write("/db", 0, n) for n in range(1, 25))]
"""Content only, so that no barrier takes a checkpoint in between."""

Events = list[tuple[str, str]]


def at_time(
    time_ns: int, act: Callable[[ByteLevelSystem], None], events: Events
) -> Callable[[ByteLevelSystem, Link], None]:
    """Power the replica off at an instant, let ``act`` spoil its disk, power it on."""

    def meddle(system: ByteLevelSystem, _wire: Link) -> None:
        def observe(machine: str, event: str, values: tuple[int | str, ...]) -> None:
            events.append((event, str(values[0]) if values else ""))

        def strike() -> None:
            system.replica_machine.lose_power(lose_everything)
            system.replica = None
            act(system)
            system.start_replica()

        system.world.observers.append(observe)
        system.world.clock.at(time_ns, strike)

    return meddle


def journal_segments(system: ByteLevelSystem) -> list[tuple[str, Inode]]:
    names = system.world.machine(REPLICA).disks["data"].names
    return [
        (path, node) for path, node in names.walk("/replica/journal") if isinstance(node, Inode)
    ]


def flip(inode: Inode, offset: int) -> None:
    """One bit, on the medium."""
    [byte] = inode.read(offset, 1)
    inode.write(offset, bytes([byte ^ 4]))
    inode.settle(inode.change_count())


def flip_needed(system: ByteLevelSystem) -> None:
    """One bit of the first record that recovery needs; valid records follow."""
    slots = files_of(system.replica_machine, "checkpoint")
    state = newest_of([inode.read(0, inode.size) for _path, inode in slots], "checkpoint")
    assert state is not None
    segments = {int(path[-16:-8]): inode for path, inode in journal_segments(system)}
    inode, at = segments[state["segment"]], state["offset"] + HEADER_BYTES
    assert find_valid(inode.read(0, inode.size), at) is not None, "the journal ends too early"
    flip(inode, at)


def flip_middle(system: ByteLevelSystem) -> None:
    """One bit in the last segment's middle, which the checkpoint includes by then."""
    path, inode = journal_segments(system)[-1]
    assert inode.size > 1000, path
    flip(inode, inode.size // 2)


def remove_journal(system: ByteLevelSystem) -> None:
    names = system.world.machine(REPLICA).disks["data"].names
    for path, _inode in journal_segments(system):
        names.remove(path, directory_wanted=False)
    names.settle_prefix(names.changes)


NEEDED_AT_MS = (14, 16, 22, 24, 30, 32, 38, 40, 46, 48)
"""Times at which two records at least stand behind the place where the checkpoint redoes."""


@pytest.mark.parametrize("time_ms", NEEDED_AT_MS)
def test_rotten_journal_is_named_and_repaired_from_the_spool(time_ms: int) -> None:
    events: Events = []
    outcome = run(Plan(STEPS, meddle=at_time(time_ms * MS, flip_needed, events)))
    assert outcome.good, outcome
    [damage] = [text for event, text in events if event == "damage"]
    assert ".segment at byte" in damage
    assert ("repaired", "") in events
    assert outcome.epochs == 1, "the source had it all: no synchronization"


@pytest.mark.parametrize("time_ms", range(44, 62, 3))
def test_rot_that_the_checkpoint_includes_is_told_and_nothing_is_sent_again(time_ms: int) -> None:
    events: Events = []
    outcome = run(Plan(STEPS, meddle=at_time(time_ms * MS, flip_middle, events)))
    assert outcome.good, outcome
    [passed_over] = [text for event, text in events if event == "rot_passed_over"]
    assert ".segment at byte" in passed_over
    assert not {"damage", "repaired"} & {event for event, _text in events}
    assert outcome.epochs == 1


def test_lost_journal_is_noticed_by_the_source() -> None:
    """A journal that has vanished: the checkpoint is behind what was acknowledged."""
    events: Events = []
    outcome = run(Plan(STEPS, meddle=at_time(47 * MS, remove_journal, events)))
    assert outcome.good, outcome
    assert any(event == "replica_went_back" for event, _ in events)
    assert outcome.epochs == 1


def test_flushes_that_lie_are_noticed_and_repaired() -> None:
    events: Events = []

    def lie(system: ByteLevelSystem, wire: Link) -> None:
        disk = system.world.machine(REPLICA).disks["data"]
        system.world.clock.at(30 * MS, lambda: setattr(disk.drive_cache, "lies", True))
        at_time(50 * MS, lambda _s: setattr(disk.drive_cache, "lies", False), events)(system, wire)

    outcome = run(Plan(log_rolls(), meddle=lie))
    assert outcome.good, outcome
    assert any(event == "replica_went_back" for event, _ in events)


def test_both_checkpoints_lost_ends_in_a_synchronization() -> None:
    def spoil(system: ByteLevelSystem) -> None:
        names = system.world.machine(REPLICA).disks["data"].names
        for path, node in names.walk("/replica"):
            if path.startswith("/replica/checkpoint.") and isinstance(node, Inode):
                node.write(40, b"rotten")
                node.settle(node.change_count())

    events: Events = []
    outcome = run(Plan(STEPS, meddle=at_time(45 * MS, spoil, events)))
    assert outcome.good, outcome
    assert any(event == "damage" and "neither copy" in text for event, text in events)
    assert outcome.epochs == 2


def test_spool_that_cannot_be_read_is_given_up_for_a_new_epoch() -> None:
    """The source lives on, its backlog is spoilt where the sender will look for it."""
    events: Events = []

    def meddle(system: ByteLevelSystem, wire: Link) -> None:
        def observe(machine: str, event: str, values: tuple[int | str, ...]) -> None:
            events.append((event, " ".join(str(value) for value in values)))

        def spoil() -> None:
            names = system.world.machine(SOURCE).disks["data"].names
            for _path, node in names.walk("/spool/segments"):
                if isinstance(node, Inode):
                    for at in range(node.size // 4, node.size, 512):
                        node.write(at, b"????")
            wire.reset()

        system.world.observers.append(observe)
        system.world.clock.at(20 * MS, wire.partition)
        system.world.clock.at(60 * MS, spoil)
        system.world.clock.at(61 * MS, wire.heal)

    outcome = run(Plan(STEPS, meddle=meddle))
    assert outcome.good, outcome
    assert any("the spool is damaged" in text for event, text in events), events


def test_rotten_spool_after_a_crash_of_the_source_begins_a_new_epoch() -> None:
    events: Events = []

    def meddle(system: ByteLevelSystem, _wire: Link) -> None:
        def observe(machine: str, event: str, values: tuple[int | str, ...]) -> None:
            events.append((event, str(values[0]) if values else ""))

        def strike() -> None:
            system.source_machine.crash_process()
            system.source = None
            names = system.world.machine(SOURCE).disks["data"].names
            for _path, node in names.walk("/spool/segments"):
                if isinstance(node, Inode):
                    node.write(node.size // 2, b"?")
            system.start_source()

        system.world.observers.append(observe)
        system.world.clock.at(50 * MS, strike)

    outcome = run(Plan(STEPS, meddle=meddle))
    assert outcome.good, outcome
    reasons = [text for event, text in events if event == "epoch_reason"]
    assert ".segment at byte" in reasons[-1], reasons
