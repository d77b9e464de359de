"""What a command did is found and carried out: in its order, and with its outcome."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.candidates.changes import Step, differing, steps_of
from simulator.candidates.mirror import Mirror
from simulator.candidates.watch import Watch
from simulator.device import INSTANT
from simulator.digest import image_digest
from simulator.disk import Disk
from simulator.host import World

NAMES = ("a", "b", "c", "d")


def made(directory: Path) -> Mirror:
    directory.mkdir()
    (directory / "a").write_bytes(b"a" * 10_000)
    (directory / "b").write_bytes(b"b" * 10)
    (directory / "sub").mkdir()
    (directory / "sub" / "c").write_bytes(b"c")
    return Mirror(directory)


def steps(mirror: Mirror, act: Callable[[Path], object], watched: bool = True) -> list[Step]:
    before = mirror.entries()
    watch = Watch(mirror.place)
    try:
        act(mirror.place)
        seen = watch.changes() if watched else None
    finally:
        watch.close()
    return steps_of(before, mirror.entries(), seen)


def words(found: list[Step]) -> list[tuple[str, str]]:
    return [(step.what, step.path) for step in found if step.what != "times"]


def test_the_order_is_that_of_the_command(tmp_path: Path) -> None:
    def act(place: Path) -> None:
        (place / "z").write_bytes(b"1")
        (place / "b").unlink()
        with (place / "a").open("r+b") as file:
            file.write(b"new")
        (place / "y").write_bytes(b"2")

    found = words(steps(made(tmp_path / "d"), act))
    assert found == [
        ("create", "/z"),
        ("fill", "/z"),
        ("unlink", "/b"),
        ("write", "/a"),
        ("create", "/y"),
        ("fill", "/y"),
    ]


@pytest.mark.parametrize("watched", [True, False])
def test_a_file_that_takes_anothers_place_is_seen_as_such(tmp_path: Path, watched: bool) -> None:
    def act(place: Path) -> None:
        (place / ".a.XyZ12").write_bytes(b"new")
        (place / ".a.XyZ12").rename(place / "a")

    found = words(steps(made(tmp_path / "d"), act, watched))
    assert found == [("create", "/.a.000001"), ("fill", "/.a.000001"), ("rename", "/.a.000001")]


def test_what_is_written_through_memory_is_found_as_well(tmp_path: Path) -> None:
    import mmap

    def act(place: Path) -> None:
        with (place / "a").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[5000:5003] = b"new"

    assert words(steps(made(tmp_path / "d"), act)) == [("write", "/a")]


def test_the_steps_of_rsync_are_the_same_each_time(tmp_path: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("there is no rsync here")
    found = []
    for name in ("one", "two"):
        source, mirror = tmp_path / f"{name}-source", made(tmp_path / name)
        source.mkdir()
        for file in ("a", "b", "new", "sub"):
            (source / file).write_bytes(file.encode() * 3000)
        command = ["rsync", "-a", "--delete", f"{source}/", f"{mirror.place}/"]
        found.append(words(steps(mirror, lambda _place, c=command: subprocess.run(c, check=True))))
    assert found[0] == found[1]
    assert ("rename", "/.a.000001") in found[0] and ("unlink", "/sub/c") in found[0]


@given(st.binary(max_size=20_000), st.binary(max_size=20_000))
def test_what_differs_makes_the_old_bytes_the_new_ones(old: bytes, new: bytes) -> None:
    result = bytearray(old)
    last = -1
    for offset, data in differing(old, new):
        assert offset > last and data
        last = offset
        result[offset : offset + len(data)] = data
    assert bytes(result[: len(new)]) == new


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["write", "patch", "rename", "unlink", "mkdir", "into", "link", "symlink"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.binary(min_size=1, max_size=5000),
    ),
    max_size=10,
)


def act_on(place: Path, acts: list[tuple[str, str, str, bytes]]) -> None:
    for what, name, other, data in acts:
        path, second = place / name, place / other
        try:
            if what == "write":
                path.write_bytes(data)
            elif what == "patch":
                with path.open("r+b") as file:
                    file.seek(len(data))
                    file.write(data)
            elif what == "rename":
                path.rename(second)
            elif what == "unlink":
                path.unlink()
            elif what == "mkdir":
                path.mkdir()
            elif what == "into":
                (path / "inner").write_bytes(data)
            elif what == "link":
                os.link(path, second)
            else:
                path.symlink_to("elsewhere")
        except OSError:
            continue


@settings(max_examples=60, deadline=None)
@given(ACTS, ACTS, st.booleans())
def test_the_steps_lead_to_what_the_command_left(
    first: list[tuple[str, str, str, bytes]],
    second: list[tuple[str, str, str, bytes]],
    watched: bool,
) -> None:
    """Carried out on an emulated disk they give the very tree that the command left."""
    with tempfile.TemporaryDirectory() as root:
        place = Path(root, "d")
        place.mkdir()
        mirror = Mirror(place)
        act_on(place, first)
        machine = World(network=False).machine("m")
        disk = machine.add_disk("data", INSTANT)
        volume = machine.start().volume("data")
        volume.mkdir("/image")
        carry_out(volume, mirror, steps_of({}, mirror.entries(), None))
        assert image_digest(disk, "/image") == of_real(place)
        found = steps(mirror, lambda place: act_on(place, second), watched)
        carry_out(volume, mirror, found)
        assert image_digest(disk, "/image") == of_real(place)
        other = Path(root, "other")
        other.mkdir()
        shown = Mirror(other)
        shown.show(disk, "/image", lambda _inode: 10**18)
        assert of_real(other) == of_real(place)


def carry_out(volume: object, mirror: Mirror, found: list[Step]) -> None:
    """As the replica's end of a command does, without a link between."""
    v: object = volume
    for step in found:
        path = "/image" + step.path
        if step.what == "create":
            v.create(path).close()  # type: ignore[attr-defined]
        elif step.what in ("write", "fill"):
            file = v.open(path)  # type: ignore[attr-defined]
            data = mirror.real(step.final).read_bytes()
            for offset, piece in differing(file.inode.read(0, file.size_bytes), data):
                file.write_at(offset, piece)
            if file.size_bytes > len(data):
                file.truncate(len(data))
            file.close()
        elif step.what in ("rename", "link"):
            getattr(v, step.what)(path, "/image" + step.final)
        elif step.what == "symlink":
            v.symlink(step.final, path)  # type: ignore[attr-defined]
        elif step.what != "times":
            getattr(v, step.what)(path)


def of_real(place: Path) -> int:
    """The digest of a real tree, by way of a disk of its own."""
    machine = World(network=False).machine("m")
    disk: Disk = machine.add_disk("data", INSTANT)
    volume = machine.start().volume("data")
    volume.mkdir("/image")
    mirror = Mirror(place)
    carry_out(volume, mirror, steps_of({}, mirror.entries(), None))
    for path, entry in mirror.entries().items():
        assert volume.exists("/image" + path)
        if entry.kind == "file":
            file = volume.open("/image" + path)
            assert file.inode.read(0, file.size_bytes) == mirror.real(path).read_bytes()
    return image_digest(disk, "/image")
