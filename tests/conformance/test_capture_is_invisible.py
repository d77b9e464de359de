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
from replicator.runtime.port import Stat, Volume
from tests.conformance.random_programs import (
    AWAITED,
    FILE_CALLS,
    Step,
    arguments,
    portrait,
    seen,
    steps,
)
from tests.conformance.storage_worlds import (
    CapturedWorld,
    HoldingWorld,
    SimulatedWorld,
    StoppedCaptureWorld,
)

PATHS = tuple("/set" + path for path in ("/a", "/b", "/d", "/d/a", "/e", "/a/x"))
STEP = steps(PATHS, "free_bytes")


async def answers(volume: Volume, program: list[Step]) -> list[object]:
    """What each call of the program gave; files stay open."""
    files: list[Any] = []
    given_back: list[object] = []
    for step in program:
        call = step[0]
        target: Any = volume
        if call in FILE_CALLS:
            if not files:
                continue
            target = files[step[3] % len(files)]
        try:
            answer = getattr(target, call)(*arguments(step))
            if call in AWAITED:
                answer = await answer
            if call in ("create", "open"):
                files.append(answer)
                answer = (answer.path, answer.size_bytes)
            elif isinstance(answer, Stat):
                answer = seen(answer)
            given_back.append(answer)
        except ReplicatorError as error:
            assert error.path is not None
            # Of two paths that are both wrong either may be named.
            kind = StorageError if call in ("rename", "link") else type(error)
            given_back.append((kind, error.offset))
    given_back.append(await portrait(volume, "/set"))
    return given_back


@pytest.mark.parametrize("kind", [CapturedWorld, HoldingWorld, StoppedCaptureWorld])
@given(st.lists(STEP, max_size=25))
def test_a_program_cannot_tell_whether_it_is_captured(
    kind: type[SimulatedWorld], program: list[Step]
) -> None:
    plain, captured = SimulatedWorld(size_bytes=40 * 8192), kind(size_bytes=40 * 8192)
    try:
        expected = plain.run(lambda volume: answers(volume, program))
        assert captured.run(lambda volume: answers(volume, program)) == expected
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
