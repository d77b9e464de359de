"""What the port promises about syncs, power losses, full volumes, locks and death."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.errors import Locked, NoSpace, NotFound, StorageError, SyncFailed
from replicator.runtime import Crashed, group, yield_now
from replicator.runtime.port import Volume
from tests.conformance.storage_worlds import StorageWorld

MakeWorld = Callable[..., StorageWorld]


# -- sync --------------------------------------------------------------------------


def test_what_was_synced_survives_a_power_loss(powered_world: StorageWorld) -> None:
    world = powered_world
    root = world.root

    async def before(volume: Volume) -> None:
        volume.mkdir(root + "/d")
        file = volume.create(root + "/d/f")
        file.write_at(0, b"synced" * 2000)
        file.truncate(9000)
        await file.sync()
        await volume.sync_directory(root + "/d")
        await volume.sync_directory(root)
        file.write_at(0, b"lost")
        file.truncate(1)
        volume.rename(root + "/d/f", root + "/d/g")

    async def after(volume: Volume) -> None:
        assert volume.list(root + "/d") == ["f"]
        file = volume.open(root + "/d/f")
        assert await file.read_at(0, 99999) == (b"synced" * 2000)[:9000]

    world.run(before)
    world.lose_power()
    world.run(after)


def test_a_removal_survives_once_its_directory_is_synced(powered_world: StorageWorld) -> None:
    world = powered_world

    async def before(volume: Volume) -> None:
        volume.create(world.root + "/f").close()
        volume.symlink("f", world.root + "/s")
        await volume.sync_directory(world.root)
        volume.unlink(world.root + "/f")
        volume.rename(world.root + "/s", world.root + "/t")
        await volume.sync_directory(world.root)

    world.run(before)
    world.lose_power()
    assert world.mounted().list(world.root) == ["t"]


def test_a_sync_covers_what_was_written_before_it_was_called(
    powered_world: StorageWorld,
) -> None:
    world = powered_world

    async def before(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        await volume.sync_directory(world.root)
        file.write_at(0, b"A" * 100)
        async with group() as g:
            g.spawn(file.sync(), "sync")
            await yield_now()
            file.write_at(0, b"B" * 50)

    async def after(volume: Volume) -> None:
        data = await volume.open(world.root + "/f").read_at(0, 999)
        assert len(data) == 100 and data.endswith(b"A" * 50)

    world.run(before)
    world.lose_power()
    world.run(after)


def test_syncing_a_directory_needs_a_directory(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        volume.create(world.root + "/f").close()
        with pytest.raises(NotFound):
            await volume.sync_directory(world.root + "/nobody")
        with pytest.raises(StorageError):
            await volume.sync_directory(world.root + "/f")

    world.run(program)


def test_a_failed_sync_poisons_the_handle_for_ever(failing_world: StorageWorld) -> None:
    world = failing_world
    path = world.root + "/f"

    async def program(volume: Volume) -> None:
        file = volume.create(path)
        file.write_at(0, b"x")
        world.fail_syncs(True)
        with pytest.raises(SyncFailed) as caught:
            await file.sync()
        assert caught.value.path == path
        world.fail_syncs(False)
        for call in (
            lambda: file.write_at(0, b"x"),
            lambda: file.truncate(0),
            lambda: file.zero_range(0, 1),
            lambda: file.allocate(0, 1),
        ):
            with pytest.raises(SyncFailed):
                call()
        for wait in (file.read_at(0, 1), file.sync(), file.sync()):
            with pytest.raises(SyncFailed):
                await wait
        file.close()
        volume.unlink(path)

    world.run(program)


def test_a_directory_whose_sync_failed_fails_for_ever(failing_world: StorageWorld) -> None:
    world = failing_world
    path = world.root + "/d"

    async def program(volume: Volume) -> None:
        volume.mkdir(path)
        await volume.sync_directory(world.root)
        volume.create(path + "/f").close()
        world.fail_syncs(True)
        with pytest.raises(SyncFailed) as caught:
            await volume.sync_directory(path)
        assert caught.value.path == path
        world.fail_syncs(False)
        with pytest.raises(SyncFailed):
            await volume.sync_directory(path)
        await volume.sync_directory(world.root)  # of others nothing is known
        assert volume.list(path) == ["f"]

    world.run(program)


# -- space -------------------------------------------------------------------------


def test_a_full_volume_cuts_writes_short_and_then_refuses(make_world: MakeWorld) -> None:
    world = make_world(size_bytes=16 * 8192)

    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        free = volume.free_bytes()
        assert file.write_at(0, b"x" * (free - 100)) == free - 100
        written = file.write_at(free - 100, b"y" * 9000)
        assert 0 < written < 9000 and file.size_bytes == free - 100 + written
        end = file.size_bytes
        with pytest.raises(NoSpace) as caught:
            file.write_at(end, b"z")
        assert (caught.value.path, caught.value.offset) == (file.path, end)
        assert f"{end}" in str(caught.value)
        assert file.size_bytes == end
        assert file.write_at(0, b"X") == 1
        assert await file.read_at(end - written - 1, 9000) == b"x" + b"y" * written
        volume.unlink(world.root + "/f")
        file.close()
        assert volume.free_bytes() == free
        assert volume.create(world.root + "/f").write_at(0, b"x" * free) == free

    world.run(program)


def test_a_full_volume_refuses_zero_range_but_not_over_what_is_there(
    make_world: MakeWorld,
) -> None:
    world = make_world(size_bytes=16 * 8192)
    volume = world.mounted()
    file = volume.create(world.root + "/f")
    free = volume.free_bytes()
    file.write_at(0, b"x" * free)
    file.zero_range(0, free)
    with pytest.raises(NoSpace) as caught:
        file.zero_range(free - 1, 3)
    assert (caught.value.path, caught.value.offset) == (file.path, free - 1)
    assert file.size_bytes == free


def test_what_allocate_reserved_is_kept_for_that_file(make_world: MakeWorld) -> None:
    world = make_world(size_bytes=16 * 8192)
    volume = world.mounted()
    reserved, other = volume.create(world.root + "/r"), volume.create(world.root + "/o")
    free = volume.free_bytes()
    reserved.allocate(0, 5 * 8192)
    assert (reserved.size_bytes, volume.free_bytes()) == (0, free - 5 * 8192)
    reserved.allocate(8192, 2 * 8192)
    assert volume.free_bytes() == free - 5 * 8192
    assert other.write_at(0, b"o" * free) == free - 5 * 8192
    assert reserved.write_at(0, b"r" * (3 * 8192)) == 3 * 8192
    reserved.zero_range(3 * 8192, 2 * 8192)
    assert volume.free_bytes() == 0
    with pytest.raises(NoSpace):
        reserved.write_at(5 * 8192, b"r")


def test_a_reservation_is_for_its_range(make_world: MakeWorld) -> None:
    world = make_world(size_bytes=16 * 8192)
    volume = world.mounted()
    file, other = volume.create(world.root + "/r"), volume.create(world.root + "/o")
    file.write_at(100 * 8192, b"far")
    file.allocate(0, 2 * 8192)
    file.write_at(200 * 8192, b"farther")
    file.truncate(300 * 8192)
    other.write_at(0, b"o" * volume.free_bytes())
    assert volume.free_bytes() == 0
    assert file.write_at(0, b"r" * (2 * 8192)) == 2 * 8192


def test_allocate_on_a_full_volume_reserves_nothing(make_world: MakeWorld) -> None:
    world = make_world(size_bytes=16 * 8192)
    volume = world.mounted()
    file = volume.create(world.root + "/f")
    free = volume.free_bytes()
    with pytest.raises(NoSpace) as caught:
        file.allocate(0, free + 1)
    assert caught.value.path == file.path and caught.value.offset is not None
    assert volume.free_bytes() == free
    file.allocate(0, free)
    assert volume.free_bytes() == 0
    file.truncate(0)
    assert volume.free_bytes() == free


def test_space_comes_back_with_the_last_name(make_world: MakeWorld) -> None:
    world = make_world(size_bytes=1 << 20)
    volume, root = world.mounted(), world.root
    free = volume.free_bytes()
    file = volume.create(root + "/f")
    file.write_at(0, b"x" * 50000)
    file.close()
    volume.link(root + "/f", root + "/g")
    volume.unlink(root + "/f")
    block = world.block_bytes
    assert volume.free_bytes() == free - -(-50000 // block) * block
    volume.create(root + "/h").write_at(0, b"y")
    volume.rename(root + "/h", root + "/g")
    assert volume.free_bytes() == free - block
    volume.open(root + "/g").truncate(0)
    assert volume.free_bytes() == free


# -- back-pressure -----------------------------------------------------------------


def test_admit_holds_a_writer_at_the_dirty_limit(make_world: MakeWorld) -> None:
    limit = 1 << 20
    world = make_world(dirty_limit_bytes=limit)

    async def program(volume: Volume) -> int:
        file = volume.create(world.root + "/f")
        most = 0
        for number in range(64):
            await volume.admit(100_000)
            file.write_at(number * 100_000, b"x" * 100_000)
            most = max(most, world.dirty_bytes())
        return most

    assert limit // 2 < world.run(program) <= limit


def test_admit_lets_a_write_larger_than_the_limit_pass_in_the_end(make_world: MakeWorld) -> None:
    world = make_world(dirty_limit_bytes=10_000)

    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        for _ in range(3):
            await volume.admit(100_000)
            file.write_at(0, b"x" * 100_000)
        await volume.admit(0)

    world.run(program)


# -- locks -------------------------------------------------------------------------


def test_a_lock_has_one_holder(world: StorageWorld) -> None:
    volume, path = world.mounted(), world.root + "/lock"
    lock = volume.lock(path)
    with pytest.raises(Locked) as caught:
        volume.lock(path)
    assert caught.value.path == path
    other = volume.lock(path + "2")
    world.start_process()
    with pytest.raises(Locked):
        world.mounted().lock(path)
    lock.release()
    again = world.mounted().lock(path)
    lock.release()
    with pytest.raises(Locked):
        volume.lock(path)
    again.release()
    other.release()
    volume.lock(path).release()


def test_a_second_release_does_not_free_a_later_lock(world: StorageWorld) -> None:
    volume, path = world.mounted(), world.root + "/lock"
    old = volume.lock(path)
    old.release()
    volume.lock(path)
    old.release()
    with pytest.raises(Locked):
        volume.lock(path)


def test_a_directory_is_locked_itself(world: StorageWorld) -> None:
    volume, path = world.mounted(), world.root + "/directory"
    volume.mkdir(path)
    lock, of_the_root = volume.lock(path), volume.lock(world.root)
    assert (volume.list(path), volume.list(world.root)) == ([], ["directory"])
    volume.create(path + "/f").close()
    for held in (path, world.root):
        with pytest.raises(Locked) as caught:
            volume.lock(held)
        assert caught.value.path == held
    world.start_process()
    volume.rename(path, world.root + "/renamed")
    with pytest.raises(Locked):
        world.mounted().lock(world.root + "/renamed")
    lock.release()
    again = world.mounted().lock(world.root + "/renamed")
    again.release()
    of_the_root.release()


def test_a_lock_is_gone_with_its_process(world: StorageWorld) -> None:
    path = world.root + "/lock"
    stale = world.mounted().lock(path)
    world.kill_process()
    world.start_process()
    lock = world.mounted().lock(path)
    stale.release()
    with pytest.raises(Locked):
        world.mounted().lock(path)
    lock.release()


# -- death -------------------------------------------------------------------------


def test_what_a_dead_process_wrote_is_there_for_the_next(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.open(world.root + "/f")
        assert await file.read_at(0, 99) == b"not synced"

    world.mounted().create(world.root + "/f").write_at(0, b"not synced")
    world.kill_process()
    world.start_process()
    world.run(program)


def test_each_call_of_the_dead_raises_crashed(simulated_world: StorageWorld) -> None:
    world = simulated_world
    volume, root = world.mounted(), world.root
    file = volume.create(root + "/f")
    world.kill_process()
    world.start_process()
    for call in (
        lambda: volume.create(root + "/g"),
        lambda: volume.open(root + "/f"),
        lambda: volume.rename(root + "/f", root + "/g"),
        lambda: volume.unlink(root + "/f"),
        lambda: volume.link(root + "/f", root + "/g"),
        lambda: volume.symlink("t", root + "/g"),
        lambda: volume.mkdir(root + "/g"),
        lambda: volume.rmdir(root + "/g"),
        lambda: volume.set_attributes(root + "/f", 1),
        lambda: volume.list(root),
        lambda: volume.stat(root + "/f"),
        lambda: volume.exists(root + "/f"),
        volume.free_bytes,
        lambda: volume.lock(root + "/l"),
        lambda: file.write_at(0, b"x"),
        lambda: file.truncate(1),
        lambda: file.zero_range(0, 1),
        lambda: file.allocate(0, 1),
    ):
        with pytest.raises(Crashed):
            call()

    async def program(_volume: Volume) -> None:
        for wait in (
            file.read_at(0, 1),
            file.sync(),
            volume.sync_directory(root),
            volume.admit(1),
        ):
            with pytest.raises(Crashed):
                await wait

    world.run(program)
    assert world.mounted().list(root) == ["f"]
    assert world.mounted().stat(root + "/f").size_bytes == 0
