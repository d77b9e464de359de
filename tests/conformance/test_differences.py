"""Where the emulated disk is not like a real one: each test states what real files do.

The marks are strict: who mends the simulator finds the test passing, takes the mark away and
moves the test to the rule it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replicator.errors import NotFound, StorageError, SyncFailed
from replicator.runtime.port import Volume
from tests.conformance.storage_worlds import HostWorld, SimulatedWorld, StorageWorld

WORLDS = (HostWorld, pytest.param(SimulatedWorld, marks=pytest.mark.xfail(strict=True)))


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    made: StorageWorld = request.param()
    yield made
    made.close()


def test_an_unlinked_file_holds_its_space_while_it_is_open(world: StorageWorld) -> None:
    """Emulated, the space is free again at once: a full volume is seen too late."""
    volume, path = world.mounted(), world.root + "/f"
    file = volume.create(path)
    file.allocate(0, 16 << 20)
    while_named = volume.free_bytes()
    volume.unlink(path)
    unlinked = volume.free_bytes()
    file.close()
    assert unlinked < while_named + (8 << 20), "others on this disk may free some, not so much"


def test_a_directory_with_a_slash_behind_it_cannot_be_moved_into_itself(
    world: StorageWorld,
) -> None:
    """Emulated, rename("/d/", "/d/x") makes a cycle, and the directory is lost."""
    volume, root = world.mounted(), world.root
    volume.mkdir(root + "/d")
    with pytest.raises(StorageError):
        volume.rename(root + "/d/", root + "/d/x")
    assert volume.list(root) == ["d"]


@pytest.mark.parametrize("name", ["/.", "/..", "/a\0b", "/" + "n" * 256, "/\ud800"])
def test_what_cannot_be_a_name_is_refused(world: StorageWorld, name: str) -> None:
    """Emulated, they are names like others; ".." from a peer is the dangerous one."""
    with pytest.raises(StorageError):
        world.mounted().create(world.root + name)


def test_a_path_begins_with_a_slash(world: StorageWorld) -> None:
    with pytest.raises(StorageError):
        world.mounted().create(world.root[1:] + "/f")


def test_a_symbolic_link_points_somewhere(world: StorageWorld) -> None:
    with pytest.raises(StorageError):
        world.mounted().symlink("", world.root + "/s")


def test_a_failed_sync_poisons_all_handles_of_the_file(world: StorageWorld) -> None:
    """Emulated, the other handle's sync succeeds, and with it the lost bytes are durable.

    Linux marks the pages clean: the next sync has nothing to write and says success.
    """

    async def program(volume: Volume) -> None:
        path = world.root + "/f"
        one = volume.create(path)
        other = volume.open(path)
        one.write_at(0, b"x")
        world.fail_syncs(True)
        with pytest.raises(SyncFailed):
            await one.sync()
        world.fail_syncs(False)
        with pytest.raises(SyncFailed):
            await other.sync()

    world.run(program)


def test_a_lock_is_a_file_of_its_directory(world: StorageWorld) -> None:
    """Emulated, a lock has no name among the files and needs no directory."""
    volume, root = world.mounted(), world.root
    with pytest.raises(NotFound):
        volume.lock(root + "/nobody/lock")
    volume.lock(root + "/lock").release()
    assert volume.list(root) == ["lock"]


@pytest.mark.parametrize(
    "attributes", [0o1000, 0o4755, 1 << 20, -1], ids=["sticky", "setuid", "large", "negative"]
)
def test_attributes_are_nine_bits(world: StorageWorld, attributes: int) -> None:
    """Emulated, they are any number."""
    volume, path = world.mounted(), world.root + "/f"
    volume.create(path).close()
    with pytest.raises(StorageError):
        volume.set_attributes(path, attributes)
