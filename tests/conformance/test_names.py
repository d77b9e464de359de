"""What the port promises about names: files, links, directories, attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from replicator.errors import AlreadyExists, NotEmpty, NotFound, StorageError
from replicator.runtime.port import EntryKind, File, Lock, Volume
from tests.conformance.storage_worlds import StorageWorld


def put(volume: Volume, path: str, data: bytes = b"") -> None:
    file = volume.create(path)
    if data:
        file.write_at(0, data)
    file.close()


async def content(volume: Volume, path: str) -> bytes:
    file = volume.open(path)
    data = await file.read_at(0, file.size_bytes)
    file.close()
    return data


@contextmanager
def refused(kind: type[StorageError], *paths: str) -> Iterator[None]:
    """The call raises ``kind`` and names one of the paths, or a directory on the way to it."""
    with pytest.raises(kind) as caught:
        yield
    named = str(caught.value.path)
    assert any(f"{path}/".startswith(f"{named}/") for path in paths), caught.value
    assert named in str(caught.value)


def test_the_protocols_are_complete(world: StorageWorld) -> None:
    volume = world.mounted()
    assert isinstance(volume, Volume)
    assert isinstance(volume.create(world.root + "/f"), File)
    assert isinstance(volume.lock(world.root + "/lock"), Lock)
    assert volume.name


def test_create_makes_an_empty_file_and_opens_it(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        path = world.root + "/file"
        file = volume.create(path)
        assert (file.path, file.size_bytes, await file.read_at(0, 10)) == (path, 0, b"")
        file.write_at(0, b"abc")
        with refused(AlreadyExists, path):
            volume.create(path)
        assert await content(volume, path) == b"abc"
        stat = volume.stat(path)
        assert (stat.kind, stat.size_bytes, stat.attributes) == (EntryKind.FILE, 3, 0)

    world.run(program)


@pytest.mark.parametrize(
    "call",
    [
        lambda volume, path: volume.create(path + "/x"),
        lambda volume, path: volume.open(path),
        lambda volume, path: volume.open(path + "/x"),
        lambda volume, path: volume.unlink(path),
        lambda volume, path: volume.mkdir(path + "/x"),
        lambda volume, path: volume.rmdir(path),
        lambda volume, path: volume.rename(path, path + "2"),
        lambda volume, path: volume.link(path, path + "2"),
        lambda volume, path: volume.symlink("target", path + "/x"),
        lambda volume, path: volume.set_attributes(path, 1),
        lambda volume, path: volume.list(path),
        lambda volume, path: volume.stat(path),
    ],
)
def test_what_does_not_exist_is_not_found(
    world: StorageWorld, call: Callable[[Volume, str], object]
) -> None:
    path = world.root + "/nobody"
    with refused(NotFound, path, path + "/x"):
        call(world.mounted(), path)
    assert world.mounted().list(world.root) == []


def test_what_exists_is_not_made_twice(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/file", b"x")
    volume.mkdir(root + "/dir")
    for taken in (root + "/file", root + "/dir"):
        for make in (
            volume.create,
            volume.mkdir,
            lambda path: volume.symlink("t", path),
            lambda path: volume.link(root + "/file", path),
        ):
            with refused(AlreadyExists, taken):
                make(taken)
    assert volume.list(root) == ["dir", "file"]


def test_a_kind_that_does_not_fit_is_refused(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/file")
    volume.mkdir(root + "/dir")
    volume.symlink("file", root + "/symlink")
    for call, path in (
        (volume.open, "/dir"),
        (volume.open, "/symlink"),
        (volume.unlink, "/dir"),
        (volume.rmdir, "/file"),
        (volume.rmdir, "/symlink"),
        (volume.list, "/file"),
        (lambda path: volume.link(path, root + "/second"), "/dir"),
        (lambda path: volume.set_attributes(path, 1), "/symlink"),
        (volume.create, "/file/below"),
        (volume.stat, "/file/below"),
    ):
        with refused(StorageError, root + path):
            call(root + path)
    assert volume.list(root) == ["dir", "file", "symlink"]


def test_exists_answers_and_never_raises(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/file")
    volume.symlink("nowhere", root + "/symlink")
    assert volume.exists("/") and volume.exists(root)
    assert volume.exists(root + "/file") and volume.exists(root + "/symlink")
    for path in ("/nobody", "/nobody/x", "/file/x", "/symlink/x"):
        assert not volume.exists(root + path), path


def test_list_is_sorted_and_holds_names_only(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    volume.mkdir(root + "/m")
    for name in ("z", "a", "B", "10", "9", "é"):
        put(volume, f"{root}/{name}")
    put(volume, root + "/m/inner")
    assert volume.list(root) == sorted(["z", "a", "B", "10", "9", "é", "m"])
    assert volume.list(root + "/m") == ["inner"]
    assert root.strip("/") in volume.list("/")


# -- rename ------------------------------------------------------------------------


def test_rename_keeps_the_file_and_its_handles(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        old, new = world.root + "/old", world.root + "/new"
        file = volume.create(old)
        file.write_at(0, b"before ")
        inode = volume.stat(old).inode
        volume.rename(old, new)
        file.write_at(7, b"after")
        assert volume.stat(new).inode == inode
        assert not volume.exists(old)
        assert await content(volume, new) == b"before after"

    world.run(program)


def test_rename_replaces_a_file_whose_handles_live_on(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        put(volume, world.root + "/new", b"replaced")
        put(volume, world.root + "/old", b"replacing")
        handle = volume.open(world.root + "/new")
        volume.rename(world.root + "/old", world.root + "/new")
        handle.write_at(0, b"REP")
        assert await handle.read_at(0, 99) == b"REPlaced"
        assert await content(volume, world.root + "/new") == b"replacing"
        assert volume.list(world.root) == ["new"]

    world.run(program)


def test_rename_moves_between_directories_with_all_below(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        root = world.root
        volume.mkdir(root + "/a")
        volume.mkdir(root + "/a/b")
        volume.mkdir(root + "/c")
        put(volume, root + "/a/b/f", b"deep")
        volume.rename(root + "/a/b", root + "/c/d")
        assert (volume.list(root + "/a"), volume.list(root + "/c")) == ([], ["d"])
        assert await content(volume, root + "/c/d/f") == b"deep"
        put(volume, root + "/c/d/g", b"new")
        volume.rename(root + "/c/d/f", root + "/a/f")
        assert await content(volume, root + "/a/f") == b"deep"
        assert volume.list(root + "/c/d") == ["g"]

    world.run(program)


def test_rename_that_cannot_be_changes_nothing(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/f")
    volume.mkdir(root + "/d")
    volume.mkdir(root + "/d/e")
    for error, old, new in (
        (NotFound, "/f", "/missing/f"),
        (StorageError, "/d", "/d/e/d"),
        (StorageError, "/d", "/d/d"),
        (StorageError, "/f", "/d"),
        (StorageError, "/d", "/f"),
        (StorageError, "/f", "/f/f"),
    ):
        with refused(error, root + old, root + new):
            volume.rename(root + old, root + new)
    assert volume.list(root) == ["d", "f"] and volume.list(root + "/d") == ["e"]


def test_rename_to_itself_or_to_another_name_of_it_does_nothing(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/f", b"x")
    volume.link(root + "/f", root + "/g")
    volume.mkdir(root + "/d")
    volume.rename(root + "/f", root + "/f")
    volume.rename(root + "/f", root + "/g")
    volume.rename(root + "/d", root + "/d")
    assert volume.list(root) == ["d", "f", "g"]
    volume.unlink(root + "/g")
    assert volume.stat(root + "/f").size_bytes == 1


def test_rename_moves_a_symbolic_link_itself(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/f", b"x")
    volume.symlink("f", root + "/s")
    volume.rename(root + "/s", root + "/t")
    assert volume.stat(root + "/t").target == "f"
    volume.rename(root + "/t", root + "/f")
    assert volume.list(root) == ["f"]
    assert volume.stat(root + "/f").kind == EntryKind.SYMLINK


# -- links -------------------------------------------------------------------------


def test_a_link_is_a_second_name_of_the_same_file(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        first, second = world.root + "/first", world.root + "/second"
        put(volume, first, b"one")
        volume.link(first, second)
        assert volume.stat(first).inode == volume.stat(second).inode
        file = volume.open(second)
        file.write_at(0, b"ONE")
        assert await content(volume, first) == b"ONE"
        volume.unlink(first)
        assert await content(volume, second) == b"ONE"
        put(volume, first, b"other")
        assert volume.stat(first).inode != volume.stat(second).inode

    world.run(program)


def test_an_unlinked_file_lives_on_in_its_handles(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        path = world.root + "/f"
        file = volume.create(path)
        file.write_at(0, b"abc")
        volume.unlink(path)
        assert not volume.exists(path)
        file.write_at(3, b"def")
        file.truncate(5)
        file.zero_range(0, 1)
        file.allocate(0, 100)
        await file.sync()
        put(volume, path, b"another")
        assert await file.read_at(0, 99) == b"\0bcde"
        assert await content(volume, path) == b"another"
        file.close()

    world.run(program)


def test_a_symbolic_link_holds_its_target_and_is_not_followed(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    volume.symlink("/no/where", root + "/s")
    stat = volume.stat(root + "/s")
    assert (stat.kind, stat.target) == (EntryKind.SYMLINK, "/no/where")
    assert volume.stat(root).target is None
    volume.unlink(root + "/s")
    assert volume.list(root) == []


# -- directories and attributes ----------------------------------------------------


def test_a_directory_is_removed_only_when_empty(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    volume.mkdir(root + "/d")
    put(volume, root + "/d/f")
    assert volume.stat(root + "/d").kind == EntryKind.DIRECTORY
    with refused(NotEmpty, root + "/d"):
        volume.rmdir(root + "/d")
    volume.unlink(root + "/d/f")
    volume.rmdir(root + "/d")
    assert not volume.exists(root + "/d")
    with refused(NotFound, root + "/d/f"):
        volume.create(root + "/d/f")


def test_attributes_belong_to_the_file_not_to_the_name(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/f")
    volume.mkdir(root + "/d")
    volume.link(root + "/f", root + "/g")
    volume.set_attributes(root + "/g", 0o600)
    volume.set_attributes(root + "/d", 0o700)
    volume.rename(root + "/f", root + "/h")
    volume.rename(root + "/d", root + "/e")
    assert volume.stat(root + "/h").attributes == volume.stat(root + "/g").attributes == 0o600
    assert volume.stat(root + "/e").attributes == 0o700
    volume.set_attributes(root + "/h", 0o640)
    assert volume.stat(root + "/g").attributes == 0o640


def test_no_call_touches_the_root_of_the_volume(world: StorageWorld) -> None:
    volume, root = world.mounted(), world.root
    put(volume, root + "/f")
    for call in (
        lambda: volume.rename(root + "/f", "/"),
        lambda: volume.rename("/", root + "/x"),
        lambda: volume.rmdir("/"),
        lambda: volume.unlink("/"),
        lambda: volume.mkdir("/"),
        lambda: volume.create("/"),
    ):
        with pytest.raises(StorageError):
            call()
    assert volume.list(root) == ["f"] and "" not in volume.list("/")
