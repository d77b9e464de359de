"""A file that moved to another directory has both names after a power loss of the replica.

Some file systems (btrfs) make the two directories durable one by one.  Carrying out the rename
again does nothing then, because both names are one file: the old name must go all the same.  A
rename between two names that the *set* gives one file must, by POSIX, leave both.
"""

from __future__ import annotations

import pytest

from replicator import catalogue, redo
from replicator.home import HomeImage
from replicator.operation import Operation, OperationKind
from replicator.runtime.port import Volume
from simulator.device import INSTANT
from simulator.host import World
from simulator.systems.byte_level import REPLICA
from tests.crash.harness import Plan, Step, create, link, mkdir, rename, run, write

MOVES: list[Step] = [
    mkdir("/here"),
    mkdir("/there"),
    create("/here/a"),
    write("/here/a", 0, 1, 5000),
    rename("/here/a", "/there/a"),
    write("/there/a", 100, 2, 100),
    rename("/there/a", "/a"),
    create("/there/a"),
    write("/a", 0, 3, 100),
]
LINKS: list[Step] = [
    mkdir("/here"),
    create("/a"),
    link("/a", "/here/a"),
    write("/a", 0, 1, 3000),
    rename("/a", "/here/a"),
    write("/a", 0, 2, 100),
]


def broken(steps: list[Step], survival: str) -> int:
    """How many crashes at one storage step after another leave a wrong image."""
    total = run(Plan(steps)).storage_steps[REPLICA]
    plans = [
        Plan(steps, host=REPLICA, crash_at=step, survival=survival, metadata="any")
        for step in range(1, total + 1)
    ]
    return sum(not run(plan).good for plan in plans)


@pytest.mark.parametrize(
    "survival",
    ["every other", *(pytest.param(s, marks=pytest.mark.full) for s in ("none", "seed 9"))],
)
@pytest.mark.parametrize("steps", [MOVES, LINKS], ids=["moves", "links"])
def test_the_replica_has_the_names_of_the_set(steps: list[Step], survival: str) -> None:
    assert not broken(steps, survival)


def test_without_taking_away_the_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def redo_names(volume: Volume, root: str, operation: Operation) -> None:
        old, new = root + operation.name, root + operation.name2
        both = volume.exists(old) and volume.exists(new)
        if not both or volume.stat(old).inode != volume.stat(new).inode:
            redo.redo_names(volume, root, operation)

    monkeypatch.setattr("replicator.home.redo_names", redo_names)
    assert broken(MOVES, "every other")


def test_without_knowing_names_of_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.Catalogue, "changes_nothing", lambda *_: False)
    assert not run(Plan(LINKS)).good


def test_a_file_that_is_replaced_by_a_rename_is_let_go() -> None:
    """Its handle would hold its space for as long as the replica runs."""
    world = World()
    machine = world.machine("replica")
    disk = machine.add_disk("data", INSTANT)
    home = HomeImage(machine.start().volume("data"), "", True)
    for number, name in enumerate(("/old", "/new"), 1):
        home.apply_names(Operation(OperationKind.CREATE, file_id=number, name=name))
        home.apply_content(
            Operation(OperationKind.WRITE, file_id=number, offset=0, length=9000, data=b"x" * 9000)
        )
    used = disk.used_blocks
    home.apply_names(Operation(OperationKind.RENAME, file_id=2, name="/new", name2="/old"))
    disk.names.settle_prefix(disk.names.changes)
    disk.collect_unlinked()
    assert disk.used_blocks < used
    world.close()
