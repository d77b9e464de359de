"""Names of a host volume: no way out of the base directory, any bytes, refusals in words."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import NoSpace, NotFound, StorageError
from replicator.host.paths import decode_name, encode_name, storage_error
from replicator.host.volume import HostVolume
from tests.real_loop import RealLoop


@pytest.fixture
def outside(tmp_path: Path, base: Path) -> Path:
    """A directory beside the base, and links in the base that lead to it."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_bytes(b"secret")
    (base / "absolute").symlink_to(directory)
    (base / "relative").symlink_to("../outside")
    (base / "file").symlink_to(directory / "secret")
    (base / "new").symlink_to(directory / "made")
    (base / "inside").mkdir()
    (base / "inside" / "up").symlink_to("..")
    return directory


@pytest.mark.parametrize(
    "way",
    [
        "/../outside/secret",
        "/inside/../../outside/secret",
        "/absolute/secret",
        "/relative/secret",
        "/inside/up/relative/secret",
        "/file",
        "/new",
        "/./../outside/secret",
        "/..",
    ],
)
def test_no_call_leaves_the_base_directory(volume: HostVolume, outside: Path, way: str) -> None:
    before = sorted(os.listdir(outside)), (outside / "secret").read_bytes()
    volume.create("/own").close()
    last_is_link = way in ("/file", "/new")
    calls = [
        lambda: volume.create(way),
        lambda: volume.open(way),
        lambda: volume.mkdir(way),
        lambda: volume.link("/own", way),
        lambda: volume.link(way, "/second"),
        lambda: volume.symlink("t", way),
        lambda: volume.rmdir(way),
        lambda: volume.list(way),
        lambda: volume.lock(way),
        lambda: volume.set_attributes(way, 0o777),
    ]
    if not last_is_link:  # these see the link itself
        calls += [
            lambda: volume.unlink(way),
            lambda: volume.stat(way),
            lambda: volume.rename("/own", way),
            lambda: volume.rename(way, "/stolen"),
        ]
    for call in calls:
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.path in (way, "/own", "/second")
    assert (sorted(os.listdir(outside)), (outside / "secret").read_bytes()) == before


def test_sync_directory_follows_no_link(real: RealLoop, volume: HostVolume, outside: Path) -> None:
    async def program() -> None:
        for way in ("/absolute", "/relative", "/inside/up", "/.."):
            with pytest.raises(StorageError):
                await volume.sync_directory(way)
        await volume.sync_directory("/inside")

    real.run(program())
    assert outside.exists()


def test_the_volume_stays_with_its_directory(volume: HostVolume, base: Path) -> None:
    """Who swaps the base directory for a link does not lead the volume astray."""
    moved = base.with_name("moved")
    base.rename(moved)
    base.symlink_to("/tmp")
    volume.create("/f").close()
    assert os.listdir(moved) == ["f"]


@given(st.binary(min_size=1, max_size=40).filter(lambda name: name not in (b".", b"..")))
def test_any_bytes_are_a_name_and_come_back(name: bytes) -> None:
    text = decode_name(name)
    if b"\0" in name:
        with pytest.raises(StorageError):
            encode_name(text, "/")
    else:
        assert encode_name(text, "/") == name


def test_bytes_that_are_no_text_round_trip_on_disk(volume: HostVolume, base: Path) -> None:
    raw = os.fsencode(base) + b"/caf\xe9\xff"
    with open(raw, "wb") as file:
        file.write(b"latin")
    os.symlink(b"\xfe\xff", os.fsencode(base) + b"/link")
    names = volume.list("/")
    assert names == ["caf\udce9\udcff", "link"]
    assert volume.stat("/" + names[0]).size_bytes == 5
    assert volume.stat("/link").target == "\udcfe\udcff"
    volume.symlink(volume.stat("/link").target or "", "/copy")
    volume.rename("/" + names[0], "/\udcff")
    assert sorted(os.listdir(os.fsencode(base))) == [b"copy", b"link", b"\xff"]
    assert os.readlink(os.fsencode(base) + b"/copy") == b"\xfe\xff"


def test_what_is_neither_file_nor_directory_is_refused_and_not_waited_for(
    volume: HostVolume, base: Path
) -> None:
    os.mkfifo(base / "pipe")
    for call in (volume.open, volume.stat):
        with pytest.raises(StorageError) as caught:
            call("/pipe")
        assert caught.value.path == "/pipe"
    assert volume.list("/") == ["pipe"] and volume.exists("/pipe")


def test_another_file_system_below_is_refused(volume: HostVolume, base: Path) -> None:
    """Its inode numbers could be those of ours, and two files pass for one."""
    (base / "m").mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "tmpfs", str(base / "m")]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("mounting is not allowed here")
    try:
        (base / "m" / "f").write_bytes(b"x")
        for call in (volume.stat, volume.open):
            with pytest.raises(StorageError, match="another file system"):
                call("/m/f")
        with pytest.raises(StorageError, match="another file system"):
            volume.stat("/m")
    finally:
        subprocess.run(["umount", str(base / "m")], check=True, timeout=20)


def test_new_entries_are_the_users_own(volume: HostVolume, base: Path) -> None:
    volume.create("/f").close()
    volume.mkdir("/d")
    assert (base / "f").stat().st_mode & 0o777 == 0o600
    assert (base / "d").stat().st_mode & 0o777 == 0o700
    volume.set_attributes("/f", 0o644)
    assert (base / "f").stat().st_mode & 0o7777 == 0o644
    assert volume.stat("/f").attributes == 0o644
    volume.set_attributes("/f", 0)
    assert volume.stat("/f").attributes == 0
    (base / "d").chmod(0o2755)
    assert volume.stat("/d").attributes == 0o755
    with pytest.raises(StorageError, match="no attributes 0o4755"):
        volume.set_attributes("/f", 0o4755)


def test_rename_never_replaces_a_directory(volume: HostVolume) -> None:
    """POSIX would replace the empty one."""
    volume.mkdir("/a")
    volume.mkdir("/b")
    with pytest.raises(StorageError, match="in the way"):
        volume.rename("/a", "/b")
    assert volume.list("/") == ["a", "b"]


@pytest.mark.parametrize(
    ("number", "kind", "words", "remedy"),
    [
        (errno.ENOSPC, NoSpace, "full", "Free space"),
        (errno.EDQUOT, NoSpace, "quota", "quota"),
        (errno.ENOENT, NotFound, "no such", ""),
        (errno.EACCES, StorageError, "permission", "user"),
        (errno.EROFS, StorageError, "read-only", "Mount"),
        (errno.EIO, StorageError, "input/output", "kernel's log"),
        (errno.EMFILE, StorageError, "open files", "LimitNOFILE"),
        (errno.ENOMEM, StorageError, re.escape(os.strerror(errno.ENOMEM)), "Check"),
    ],
)
def test_each_error_says_what_where_and_what_to_do(
    volume: HostVolume, number: int, kind: type[StorageError], words: str, remedy: str
) -> None:
    failure = OSError(number, os.strerror(number))
    with mock.patch.object(os, "open", side_effect=failure), pytest.raises(kind, match=words) as up:
        volume.open("/some/file")
    assert up.value.path == "/some/file" and remedy in up.value.remedy
    assert "/some/file at byte 12" in str(storage_error(failure, "/some/file", 12))


def test_exists_does_not_take_a_sick_disk_for_an_empty_one(volume: HostVolume) -> None:
    failure = OSError(errno.EIO, os.strerror(errno.EIO))
    with mock.patch.object(os, "stat", side_effect=failure), pytest.raises(StorageError):
        volume.exists("/f")


def test_a_base_directory_must_be_there(real: RealLoop, base: Path) -> None:
    (base / "file").write_bytes(b"")
    for wrong in ("nobody", "file"):
        with pytest.raises(StorageError) as caught:
            HostVolume("data", str(base / wrong), real.loop)
        assert caught.value.path == str(base / wrong)


def test_a_closed_volume_refuses_everything(real: RealLoop, base: Path) -> None:
    volume = HostVolume("data", str(base), real.loop)
    file = volume.create("/f")
    volume.close()
    volume.close()
    with pytest.raises(StorageError, match="closed"):
        file.write_at(0, b"x")
    for call in (volume.open, volume.create, volume.list, volume.stat, volume.exists, volume.lock):
        with pytest.raises(StorageError, match="closed"):
            call("/f")
