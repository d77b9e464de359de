"""What the source made read-only is read, built, changed and made again, by any user but root.

Each test runs in a child that is bound by modes, and once more with the safeguard switched off:
then the error of before is there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest

from replicator.board import Board
from replicator.capture import Capture, SpoolPolicy
from replicator.catalogue import Catalogue, Entry
from replicator.errors import AccessDenied, StorageError
from replicator.home import HomeImage
from replicator.host.volume import HostVolume
from replicator.host.world import HostRuntime
from replicator.operation import Operation, OperationKind
from replicator.owned_volume import OwnedVolume
from replicator.protected_files import ProtectedFiles
from replicator.runtime.port import EntryKind, File
from replicator.runtime.volume_over import VolumeOver
from replicator.spool import Spool
from tests.host.unprivileged import unprivileged
from tests.real_loop import RealLoop

T = TypeVar("T")
Program = Callable[[HostVolume], Coroutine[Any, Any, T]]

CONTENT = b"x" * 8192
FILE, DIRECTORY, WRITE = EntryKind.FILE, EntryKind.DIRECTORY, OperationKind.WRITE
ENTRIES = {
    "/read-only": Entry(FILE, 1, 0o444, size_bytes=8192),
    "/write-only": Entry(FILE, 2, 0o200, size_bytes=8192),
    "/closed": Entry(DIRECTORY, 3, 0o555),
    "/closed/closed": Entry(DIRECTORY, 4, 0o040),
    "/closed/closed/f": Entry(FILE, 5, 0o004, size_bytes=8192),
    "/open": Entry(DIRECTORY, 6, 0o755),
    "/open/f": Entry(FILE, 7, 0, size_bytes=8192),
}


def on_a_volume(base: Path, program: Program[T]) -> T:
    """The program's result on a volume over ``base``, in a child that is bound by modes."""

    def child() -> T:
        real = RealLoop()
        return real.run(program(HostVolume("data", str(base), real.loop)))

    return unprivileged(child)


def catalogue() -> Catalogue:
    wanted = Catalogue()
    for path, entry in ENTRIES.items():
        wanted.add(path, entry)
    return wanted


async def pages() -> AsyncIterator[tuple[int, int, int, bytes]]:
    for entry in ENTRIES.values():
        if entry.kind == FILE:
            yield entry.file_id, 0, len(CONTENT), CONTENT


def modes_below(directory: Path) -> dict[str, int]:
    """The permission bits by path; looked at as root, or else with the tree opened up."""
    found: dict[str, int] = {}
    for each in sorted(directory.iterdir()):
        mode = stat.S_IMODE(each.lstat().st_mode)
        found["/" + each.name] = 0 if mode & stat.S_ISVTX else mode
        if each.is_dir():
            each.chmod(0o700)
            found |= {f"/{each.name}{path}": bits for path, bits in modes_below(each).items()}
            each.chmod(mode)
    return found


def wanted_modes() -> dict[str, int]:
    return {path: entry.attributes for path, entry in ENTRIES.items()}


def nothing_set_aside() -> Any:
    return mock.patch.object(OwnedVolume, "_set_aside", lambda *_: nullcontext())


@pytest.fixture
def image(base: Path) -> Path:
    directory = base / "image"
    directory.mkdir()
    return directory


@pytest.fixture(autouse=True)
def removable(base: Path) -> Iterator[None]:
    """What a test has closed is opened again, so that its directory can be removed."""
    yield
    for directory, below, _files in os.walk(base):
        for name in below:
            os.chmod(f"{directory}/{name}", 0o700)


# -- who only reads ------------------------------------------------------------------


@pytest.mark.parametrize("safeguard", [True, False])
def test_the_sender_reads_a_read_only_file(base: Path, safeguard: bool) -> None:
    (base / "set").mkdir()
    (base / "set" / "f").write_bytes(b"content")
    (base / "set" / "f").chmod(0o444)
    inode = (base / "set" / "f").stat().st_ino

    class AsBefore(VolumeOver):
        def open(self, path: str, read_only: bool = False) -> File:
            return super().open(path)

    async def program(volume: HostVolume) -> bytes | str:
        files = ProtectedFiles(volume if safeguard else AsBefore(volume), "/set")
        try:
            return await files.read_at("/f", inode, 0, 99)
        except AccessDenied as denied:
            return str(denied)

    read = on_a_volume(base, program)
    assert read == (b"content" if safeguard else "/set/f: permission denied")


def test_who_reads_a_file_does_not_keep_others_from_writing_it(base: Path) -> None:
    (base / "f").write_bytes(b"one")
    (base / "f").chmod(0o444)

    async def program(volume: HostVolume) -> bytes:
        reader = volume.open("/f", read_only=True)
        with pytest.raises(AccessDenied):
            volume.open("/f")
        volume.set_attributes("/f", 0o644)
        writer = volume.open("/f")
        writer.write_at(0, b"two")
        await writer.sync()
        return await reader.read_at(0, 9)

    assert on_a_volume(base, program) == b"two"


@pytest.mark.parametrize("before", [0o000, 0o200, 0o444])
@pytest.mark.parametrize("after", [0o000, 0o200, 0o640])
def test_any_mode_can_be_exchanged_for_any_other(base: Path, before: int, after: int) -> None:
    (base / "f").write_bytes(b"")
    (base / "f").chmod(before)

    async def program(volume: HostVolume) -> None:
        volume.set_attributes("/f", after or 0o100)
        await volume.sync_directory("/")

    on_a_volume(base, program)
    assert modes_below(base) == {"/f": after or 0o100}


# -- the image ---------------------------------------------------------------------------


def build(base: Path, times: int, volume_of: Callable[[HostVolume], Any]) -> str:
    """Build the image so often; returns what went wrong."""

    async def program(volume: HostVolume) -> str:
        for _ in range(times):
            home = HomeImage(volume_of(volume), "/image")
            try:
                await home.rebuild(catalogue(), pages(), [])
            except AccessDenied as denied:
                return str(denied)
        return ""

    return on_a_volume(base, program)


def test_an_image_with_read_only_entries_is_built_and_built_again(base: Path, image: Path) -> None:
    assert build(base, 3, lambda volume: volume) == ""
    assert modes_below(image) == wanted_modes()
    with nothing_set_aside():
        assert build(base, 1, lambda volume: volume).endswith("permission denied")


class AttributesFirst(VolumeOver):
    """Sets the attributes of each entry as soon as it is there, as was done before."""

    def create(self, path: str) -> File:
        file = super().create(path)
        file.close()
        self.set_attributes(path, 0o444)
        return self.open(path, read_only=True)


@pytest.mark.parametrize("safeguard", [True, False])
def test_attributes_come_last(base: Path, image: Path, safeguard: bool) -> None:
    # Others need more: who is not allowed to list a directory cannot sync it.
    only = {path: entry for path, entry in ENTRIES.items() if entry.attributes & 0o444 == 0o444}
    with mock.patch.dict(ENTRIES, only, clear=True), nothing_set_aside():
        if safeguard:
            assert build(base, 1, lambda volume: volume) == ""
            assert modes_below(image) == wanted_modes()
        else:
            assert build(base, 1, AttributesFirst) == "/image/read-only: permission denied"


CHANGES = [
    Operation(WRITE, 1, 0, 3, data=b"new"),
    Operation(OperationKind.TRUNCATE, 2, 5),
    Operation(OperationKind.ZERO_RANGE, 5, 0, 100),
    Operation(OperationKind.CREATE, 8, name="/closed/closed/new"),
    Operation(WRITE, 8, 0, 3, data=b"new"),
    Operation(OperationKind.MKDIR, 9, name="/closed/made"),
    Operation(OperationKind.SYMLINK, 10, name="/closed/link", name2="made"),
    Operation(OperationKind.LINK, 1, name="/read-only", name2="/closed/second"),
    Operation(OperationKind.RENAME, 4, name="/closed/closed", name2="/open/closed"),
    Operation(OperationKind.RENAME, 3, name="/closed", name2="/open/moved"),
    Operation(OperationKind.UNLINK, 5, name="/open/closed/f"),
    Operation(OperationKind.SET_ATTRIBUTES, 8, 0o440, name="/open/closed/new"),
    Operation(OperationKind.UNLINK, 1, name="/read-only"),
    Operation(OperationKind.RMDIR, 9, name="/open/moved/made"),
]
CHANGED_MODES = {
    "/open": 0o755,
    "/open/closed": 0o040,
    "/open/closed/new": 0o440,
    "/open/f": 0,
    "/open/moved": 0o555,
    "/open/moved/link": 0o777,
    "/open/moved/second": 0o444,
    "/write-only": 0o200,
}


def change(base: Path, operations: list[Operation]) -> str:
    """Apply operations to the image that stands there, each twice; returns what went wrong."""

    async def program(volume: HostVolume) -> str:
        home = HomeImage(volume, "/image")
        home.reset(catalogue())
        try:
            for operation in operations:
                content = operation.kind in (
                    WRITE,
                    OperationKind.TRUNCATE,
                    OperationKind.ZERO_RANGE,
                )
                for _ in range(2 if content else 1):
                    (home.apply_content if content else home.apply_names)(operation)
                await home.sync()
            await home.sync_all()
        except AccessDenied as denied:
            return f"{operation.kind.name}: {denied}"
        return ""

    return on_a_volume(base, program)


def test_what_forbids_its_owner_something_is_changed_all_the_same(base: Path, image: Path) -> None:
    assert build(base, 1, lambda volume: volume) == ""
    assert change(base, CHANGES) == ""
    assert modes_below(image) == CHANGED_MODES
    assert (image / "open/moved/second").stat().st_nlink == 1


DENIED = [each for each in CHANGES[:10] if (each.kind, each.file_id) != (WRITE, 8)]
"""Each as the first change of the image; that write goes to a file made by another."""


@pytest.mark.parametrize("operation", DENIED, ids=lambda each: f"{each.kind.name}-{each.name}")
def test_without_setting_modes_aside_it_is_not(
    base: Path, image: Path, operation: Operation
) -> None:
    assert build(base, 1, lambda volume: volume) == ""
    with nothing_set_aside():
        assert "permission denied" in change(base, [operation])


def test_what_is_somebody_elses_stays_denied(base: Path, image: Path) -> None:
    (image / "f").write_bytes(b"")
    (image / "f").chmod(0o444)
    not_the_owner = PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    async def program(volume: HostVolume) -> str:
        with (
            mock.patch("os.chmod", side_effect=not_the_owner),
            pytest.raises(StorageError) as refused,
        ):
            OwnedVolume(volume, "/image").open("/image/f")
        return str(refused.value)

    assert on_a_volume(base, program) == "/image/f: the operation is not permitted"
    assert modes_below(image) == {"/f": 0o444}


def test_nothing_above_the_root_is_set_aside(base: Path) -> None:
    (base / "above" / "image").mkdir(parents=True)
    (base / "above").chmod(0o555)

    async def program(volume: HostVolume) -> None:
        owned = OwnedVolume(volume, "/above/image")
        owned.create("/above/image/f").close()
        with pytest.raises(AccessDenied):
            owned.create("/above/f")
        with pytest.raises(AccessDenied):
            owned.rename("/above/image/f", "/above/f")

    on_a_volume(base, program)
    assert stat.S_IMODE((base / "above").stat().st_mode) == 0o555
    (base / "above").chmod(0o755)


# -- a process that dies meanwhile ---------------------------------------------------------


def test_what_a_death_left_set_aside_is_put_back(base: Path, image: Path) -> None:
    assert build(base, 1, lambda volume: volume) == ""

    async def die(volume: HostVolume) -> None:
        with mock.patch.object(OwnedVolume, "_restore", lambda *_: None):
            home = HomeImage(volume, "/image")
            home.reset(catalogue())
            for file_id in (1, 2, 5):
                home.apply_content(Operation(WRITE, file_id, 0, 3, data=b"new"))
            home.volume.set_attributes("/image/open", 0o711)  # not by this: it stays

    async def recover(volume: HostVolume) -> None:
        home = HomeImage(volume, "/image")
        home.reset(catalogue())
        home.put_back_attributes()
        await home.sync()

    on_a_volume(base, die)
    left = modes_below(image)
    expected = wanted_modes() | {"/open": 0o711}
    assert left != expected
    assert left["/read-only"] == 0o644
    assert left["/closed/closed"] == 0o740
    on_a_volume(base, recover)
    assert modes_below(image) == expected


# -- the source's last intent ----------------------------------------------------------------


@pytest.mark.parametrize("safeguard", [True, False])
def test_a_write_that_was_underway_is_carried_out_in_a_read_only_file(
    base: Path, safeguard: bool
) -> None:
    (base / "set").mkdir()
    (base / "spool").mkdir()

    def child() -> tuple[str, bytes]:
        real = RealLoop()
        volume = HostVolume("data", str(base), real.loop)
        runtime = HostRuntime(real.loop, 1)
        board = Board(volume, "/spool.board", runtime.boot_id)
        spool = Spool(volume, "/spool", board, "modes", 1 << 20, 64 << 20)
        capture = Capture(runtime, volume, "/set", spool, SpoolPolicy.RESYNCHRONIZE)
        capture.begin_epoch(1)
        volume.create("/set/f").close()
        spool.catalogue.add("/f", Entry(FILE, 1, 0o444))
        volume.set_attributes("/set/f", 0o444)
        try:
            real.run(capture.roll_forward(Operation(WRITE, 1, 0, 3, data=b"new")))
        except AccessDenied as denied:
            return str(denied), (base / "set/f").read_bytes()
        return "", (base / "set/f").read_bytes()

    with nullcontext() if safeguard else nothing_set_aside():
        outcome = unprivileged(child)
    assert outcome == (("", b"new") if safeguard else ("/set/f: permission denied", b""))
    assert modes_below(base / "set") == {"/f": 0o444}
