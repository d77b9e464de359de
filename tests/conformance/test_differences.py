"""What the emulated disk once did otherwise than a real one: both do as real files do.

A difference that is found anew is put here, with a strict xfail for the emulated disk until
the simulator is mended.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replicator.errors import NotFound, StorageError, SyncFailed
from replicator.runtime.port import Volume
from tests.conformance.storage_worlds import HostWorld, SimulatedWorld, StorageWorld


@pytest.fixture(params=(HostWorld, SimulatedWorld))
def world(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    made: StorageWorld = request.param()
    yield made
    made.close()


def test_an_unlinked_file_holds_its_space_while_it_is_open(world: StorageWorld) -> None:
    """Were the space free again at once, a full volume would be seen too late."""
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
    """It would make a cycle, and the directory would be lost."""
    volume, root = world.mounted(), world.root
    volume.mkdir(root + "/d")
    with pytest.raises(StorageError):
        volume.rename(root + "/d/", root + "/d/x")
    assert volume.list(root) == ["d"]


@pytest.mark.parametrize("name", ["/.", "/..", "/a\0b", "/" + "n" * 256, "/\ud800"])
def test_what_cannot_be_a_name_is_refused(world: StorageWorld, name: str) -> None:
    """Names come from a peer; ".." is the dangerous one."""
    with pytest.raises(StorageError):
        world.mounted().create(world.root + name)


def test_a_path_begins_with_a_slash(world: StorageWorld) -> None:
    with pytest.raises(StorageError):
        world.mounted().create(world.root[1:] + "/f")


def test_a_symbolic_link_points_somewhere(world: StorageWorld) -> None:
    with pytest.raises(StorageError):
        world.mounted().symlink("", world.root + "/s")


def test_a_failed_sync_poisons_all_handles_of_the_file(world: StorageWorld) -> None:
    """Linux marks the pages clean: a sync through a handle that is opened later says success."""

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
    volume, root = world.mounted(), world.root
    with pytest.raises(NotFound):
        volume.lock(root + "/nobody/lock")
    volume.lock(root + "/lock").release()
    assert volume.list(root) == ["lock"]


@pytest.mark.parametrize(
    "attributes", [0o1000, 0o4755, 1 << 20, -1], ids=["sticky", "setuid", "large", "negative"]
)
def test_attributes_are_nine_bits(world: StorageWorld, attributes: int) -> None:
    volume, path = world.mounted(), world.root + "/f"
    volume.create(path).close()
    with pytest.raises(StorageError):
        volume.set_attributes(path, attributes)
