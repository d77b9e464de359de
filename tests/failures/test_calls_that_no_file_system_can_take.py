"""A program asks for what cannot be: it is refused, nothing is touched, the history goes on.

An intent that could not be carried out, or not be read again, would end every later start, or
make the replica refuse the source for ever.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.captured_volume import CapturedVolume
from replicator.errors import StorageError
from replicator.operation import LARGEST_OFFSET
from replicator.runtime.port import File, Runtime, Volume
from tests.failures.worlds import (
    BLOCK,
    ROOT,
    FailureWorld,
    counted_handles,
    payload,
)

FILES = {"/db": payload(9, 2 * BLOCK)}

ON_A_FILE: list[Callable[[File], object]] = [
    lambda file: file.write_at(-1, b"x"),
    lambda file: file.write_at(1 << 63, b"x"),
    lambda file: file.write_at(LARGEST_OFFSET, b"x"),
    lambda file: file.write_at(1 << 64, b"x"),
    lambda file: file.truncate(-5),
    lambda file: file.truncate(1 << 63),
    lambda file: file.zero_range(-10, 20),
    lambda file: file.zero_range(10, -5),
    lambda file: file.zero_range(LARGEST_OFFSET, 1),
]
NO_PATHS = [
    "database",
    f"{ROOT}//double",
    f"/{ROOT}/double",
    f"{ROOT}/trailing/",
    f"{ROOT}/",
    f"{ROOT}/./dot",
    f"{ROOT}/../escaped",
    f"{ROOT}/nul\0",
    f"{ROOT}/\ud800",
    f"{ROOT}/\udcc3\udca9",  # would come back as one character
    ROOT + "/name" * 20_000,
]
ON_A_PATH: list[Callable[[Volume, str], object]] = [
    lambda volume, path: volume.create(path),
    lambda volume, path: volume.open(path),
    lambda volume, path: volume.mkdir(path),
    lambda volume, path: volume.rmdir(path),
    lambda volume, path: volume.unlink(path),
    lambda volume, path: volume.symlink("target", path),
    lambda volume, path: volume.set_attributes(path, 0o600),
    lambda volume, path: volume.rename(f"{ROOT}/db", path),
    lambda volume, path: volume.rename(path, f"{ROOT}/other"),
    lambda volume, path: volume.link(f"{ROOT}/db", path),
    lambda volume, path: volume.link(path, f"{ROOT}/other"),
]
OTHERS: list[Callable[[Volume], object]] = [
    lambda volume: volume.symlink("", f"{ROOT}/link"),
    lambda volume: volume.symlink("a\0b", f"{ROOT}/link"),
    lambda volume: volume.symlink("\ud800", f"{ROOT}/link"),
    lambda volume: volume.symlink("x" * 70_000, f"{ROOT}/link"),
    lambda volume: volume.set_attributes(f"{ROOT}/db", -1),
    lambda volume: volume.set_attributes(f"{ROOT}/db", 1 << 63),
]


def refused(world: FailureWorld, call: Callable[[], object]) -> None:
    before = world.spool.sequence
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.path and caught.value.remedy
    assert world.spool.sequence == before, "it was captured"


def judged(calls: Callable[[FailureWorld, Volume], None]) -> None:
    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        if volume.exists(f"{ROOT}/after"):
            return  # the second start
        calls(world, volume)
        volume.create(f"{ROOT}/after").write_at(0, payload(1))

    world = FailureWorld(steps, files=FILES).start()
    world.converge(judge_every_ms=5)
    assert len(world.system.truth.epochs) == 1, "the history was broken off"
    # Whoever starts next finds nothing that it could not carry out.
    world.source_crashes()
    world.run_until(lambda: len(world.said("continue")) == 1)
    world.close()


def test_ranges_that_no_file_has() -> None:
    def calls(world: FailureWorld, _volume: Volume) -> None:
        volume = CapturedVolume(world.capture)
        file = volume.open(f"{ROOT}/db")
        for call in ON_A_FILE:
            refused(world, lambda call=call: call(file))  # type: ignore[misc]

    judged(calls)


def test_paths_that_are_none() -> None:
    def calls(world: FailureWorld, _volume: Volume) -> None:
        volume = CapturedVolume(world.capture)
        for path in NO_PATHS:
            for call in ON_A_PATH:
                refused(world, lambda call=call, path=path: call(volume, path))  # type: ignore[misc]
        for other in OTHERS:
            refused(world, lambda other=other: other(volume))  # type: ignore[misc]

    judged(calls)


@pytest.mark.parametrize("data", [4096, [65, 66], "text", None])
def test_what_is_no_bytes(data: object) -> None:
    def calls(world: FailureWorld, _volume: Volume) -> None:
        volume = CapturedVolume(world.capture)
        before = world.spool.sequence
        with pytest.raises(TypeError):
            volume.open(f"{ROOT}/db").write_at(0, data)  # type: ignore[arg-type]
        assert world.spool.sequence == before

    judged(calls)


def test_names_that_are_no_utf8_are_names_like_any_other() -> None:
    def calls(_world: FailureWorld, volume: Volume) -> None:
        volume.mkdir(f"{ROOT}/d\udcff")
        volume.create(f"{ROOT}/d\udcff/f\udc80").write_at(0, payload(3))
        volume.symlink("t\udcfe", f"{ROOT}/l\udcfd")
        volume.rename(f"{ROOT}/d\udcff", f"{ROOT}/e\udcff")
        volume.set_attributes(f"{ROOT}/e\udcff/f\udc80", 0o640)
        volume.link(f"{ROOT}/e\udcff/f\udc80", f"{ROOT}/g\udcc3")
        volume.unlink(f"{ROOT}/e\udcff/f\udc80")

    judged(calls)


def test_a_file_that_capture_does_not_know_is_not_left_open() -> None:
    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        world.spool.catalogue.remove("/db")
        for _attempt in range(5):
            with pytest.raises(StorageError, match="not known to capture"):
                volume.open(f"{ROOT}/db")

    with counted_handles() as handles:
        world = FailureWorld(files=FILES).start()
        world.run_to(50)
        before = handles.open["source"]
        world.close()
        handles.open.clear()
        world = FailureWorld(steps, files=FILES).start()
        world.run_until(lambda: world.programs.finished)
        world.run_to(50)
        assert handles.open["source"] == before
        world.close()
