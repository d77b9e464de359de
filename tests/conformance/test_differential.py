"""Random programs on the emulated disk and on real files: the same answers, the same refusals.

Left out, each for a reason: ``free_bytes``, and full volumes (a block of the emulated disk is
8 KiB); inode numbers (any will do); which of two wrong paths an error names; the size of a
symbolic link that is not ASCII, ``.`` and ``..``, and space held by unlinked open files, where
the worlds differ and ``test_differences.py`` says how.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
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
from tests.conformance.storage_worlds import HostWorld, SimulatedWorld

PATHS = tuple(
    "/set" + path
    for path in ("/a", "/b", "/d", "/d/a", "/d/e", "/d/e/f", "/e", "/a/x", "/\udcff\udcfe", "/é")
)
OF_FILES = (*FILE_CALLS, "size_bytes")
STEP = steps(PATHS, "size_bytes")


async def answer_to(volume: Volume, step: Step, files: list[Any]) -> object:
    """What one call gives: a value, or the class and the offset of what it raises."""
    call = step[0]
    target: Any = volume
    if call in OF_FILES:
        if not files:
            return None
        target = files[step[3] % len(files)]
    try:
        if call == "size_bytes":
            closed = target not in files
            return None if closed else target.size_bytes
        answer = getattr(target, call)(*arguments(step))
        if call in AWAITED:
            answer = await answer
        if call in ("create", "open"):
            files.append(answer)
            return (answer.path, answer.size_bytes)
        if call == "close":
            files.remove(target)
        return seen(answer) if isinstance(answer, Stat) else answer
    except ReplicatorError as error:
        assert error.path is not None
        # Of two things that are wrong, name and attributes, either may be named.
        kind = StorageError if call == "set_attributes" else type(error)
        return (kind, error.offset if call in OF_FILES else None)


@given(st.lists(STEP, max_size=30))
@settings(max_examples=max(300, settings.default.max_examples))
def test_a_program_cannot_tell_real_files_from_emulated_ones(program: list[Step]) -> None:
    emulated, real = SimulatedWorld(), HostWorld()

    async def answers(volume: Volume) -> list[object]:
        files: list[Any] = []
        given_back = [await answer_to(volume, step, files) for step in program]
        given_back.append(await portrait(volume, "/set"))
        return given_back

    try:
        expected = emulated.run(answers)
        found = real.run(answers)
        for step, one, other in zip([*program, "portrait"], expected, found, strict=True):
            assert other == one, step
    finally:
        emulated.close()
        real.close()
