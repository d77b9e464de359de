"""Random programs on a plain and on a captured volume: they see the same, refusals included.

The suite beside this file holds capture to the port's promises one by one; here two equal
programs run side by side, and whatever a call returns or raises must be equal, too.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import ReplicatorError, StorageError
from replicator.runtime.port import EntryKind, Stat, Volume
from tests.conformance.storage_worlds import (
    CapturedWorld,
    HoldingWorld,
    SimulatedWorld,
    StoppedCaptureWorld,
)

PATHS = tuple("/set" + path for path in ("/a", "/b", "/d", "/d/a", "/e", "/a/x"))
CALLS = (
    "create",
    "create",
    "open",
    "mkdir",
    "symlink",
    "unlink",
    "rmdir",
    "rename",
    "rename",
    "link",
    "set_attributes",
    "list",
    "stat",
    "exists",
    "free_bytes",
    "sync_directory",
    "admit",
)
FILE_CALLS = (
    "write_at",
    "write_at",
    "truncate",
    "zero_range",
    "allocate",
    "read_at",
    "sync",
    "close",
)
NUMBERS = st.one_of(
    st.integers(0, 60_000), st.sampled_from((0, 1, 8191, 8192, 8193, 120_000, 200_000))
)
STEP = st.tuples(
    st.sampled_from(CALLS + FILE_CALLS),
    st.sampled_from(PATHS),
    st.sampled_from(PATHS),
    NUMBERS,
    NUMBERS,
)
Step = tuple[str, str, str, int, int]


def arguments(step: Step) -> tuple[Any, ...]:
    call, path, other, at, length = step
    if call in ("rename", "link"):
        return (path, other)
    if call == "symlink":
        return (f"target {at}", path)
    if call == "set_attributes":
        return (path, at)
    if call == "write_at":
        return (at, bytes([at % 255 + 1]) * (length // 3), b"z" * (length // 2))
    if call in ("zero_range", "allocate", "read_at"):
        return (at, length)
    if call == "truncate":
        return (at,)
    if call in ("sync", "close", "free_bytes"):
        return ()
    return (length,) if call == "admit" else (path,)


async def answers(volume: Volume, steps: list[Step]) -> list[object]:
    """What each call of the program gave; files stay open."""
    files: list[Any] = []
    given_back: list[object] = []
    for step in steps:
        call = step[0]
        target: Any = volume
        if call in FILE_CALLS:
            if not files:
                continue
            target = files[step[3] % len(files)]
        try:
            answer = getattr(target, call)(*arguments(step))
            if call in ("sync", "sync_directory", "admit", "read_at"):
                answer = await answer
            if call in ("create", "open"):
                files.append(answer)
                answer = (answer.path, answer.size_bytes)
            elif isinstance(answer, Stat):
                answer = (answer.kind, answer.size_bytes, answer.attributes, answer.target)
            given_back.append(answer)
        except ReplicatorError as error:
            assert error.path is not None
            # Of two paths that are both wrong either may be named.
            kind = StorageError if call in ("rename", "link") else type(error)
            given_back.append((kind, error.offset))
    given_back.append(await portrait(volume, "/set"))
    return given_back


async def portrait(volume: Volume, directory: str) -> dict[str, object]:
    """All names below a directory with what is behind them."""
    shown: dict[str, object] = {}
    for name in volume.list(directory):
        path = f"{directory}/{name}"
        stat = volume.stat(path)
        shown[path] = (stat.kind, stat.size_bytes, stat.attributes, stat.target)
        if stat.kind == EntryKind.DIRECTORY:
            shown.update(await portrait(volume, path))
        elif stat.kind == EntryKind.FILE:
            shown[path + " content"] = await volume.open(path).read_at(0, stat.size_bytes)
    return shown


@pytest.mark.parametrize("kind", [CapturedWorld, HoldingWorld, StoppedCaptureWorld])
@given(st.lists(STEP, max_size=25))
def test_a_program_cannot_tell_whether_it_is_captured(
    kind: type[SimulatedWorld], steps: list[Step]
) -> None:
    plain, captured = SimulatedWorld(size_bytes=40 * 8192), kind(size_bytes=40 * 8192)
    try:
        expected = plain.run(lambda volume: answers(volume, steps))
        assert captured.run(lambda volume: answers(volume, steps)) == expected
    finally:
        plain.close()
        captured.close()


def test_what_would_carry_the_protected_set_away_is_refused() -> None:
    """The one difference that is meant: names do not cross the border of the protected set."""
    world = CapturedWorld()
    volume = world.mounted()
    volume.create("/outside").close()
    volume.create("/set/inside").close()
    for call in (
        lambda: volume.rename("/outside", "/set/x"),
        lambda: volume.rename("/set/inside", "/x"),
        lambda: volume.link("/outside", "/set/x"),
        lambda: volume.link("/set/inside", "/x"),
        lambda: volume.rename("/set", "/elsewhere"),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.path is not None and caught.value.remedy
    assert volume.list("/") == ["outside", "set"]
    assert volume.list("/set") == ["inside"]
    assert world.spool.completed == 1
    world.close()


def test_outside_the_protected_set_nothing_is_captured() -> None:
    world = CapturedWorld()

    async def program(volume: Volume) -> None:
        volume.mkdir("/settings")
        file = volume.create("/settings/f")
        file.write_at(0, b"abc")
        await file.sync()
        volume.rename("/settings/f", "/settings/g")
        volume.link("/settings/g", "/g")
        volume.symlink("g", "/s")
        volume.set_attributes("/g", 1)
        volume.unlink("/s")
        volume.mkdir("/settings/d")
        volume.rmdir("/settings/d")
        assert await volume.open("/g").read_at(0, 9) == b"abc"

    world.run(program)
    assert world.spool.completed == 0
    world.close()
