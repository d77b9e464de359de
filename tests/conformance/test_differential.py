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

from replicator.errors import ReplicatorError
from replicator.runtime.port import EntryKind, Stat, Volume
from tests.conformance.storage_worlds import HostWorld, SimulatedWorld

PATHS = tuple(
    "/set" + path
    for path in ("/a", "/b", "/d", "/d/a", "/d/e", "/d/e/f", "/e", "/a/x", "/\udcff\udcfe", "/é")
)
NAME_CALLS = (
    *("create",) * 3,
    *("mkdir",) * 3,
    *("rename",) * 4,
    *("link",) * 2,
    *("symlink", "unlink", "rmdir", "open", "set_attributes"),
    *("list", "stat", "exists", "sync_directory", "admit"),
)
FILE_CALLS = (
    *("write_at",) * 3,
    *("truncate",) * 2,
    *("zero_range", "allocate", "read_at", "sync", "close", "size_bytes"),
)
NUMBERS = st.one_of(
    st.integers(0, 60_000), st.sampled_from((0, 1, 4095, 4096, 8191, 8192, 8193, 200_000))
)
STEP = st.tuples(
    st.sampled_from(NAME_CALLS + FILE_CALLS),
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
        return (path, at % 0o1000)
    if call == "write_at":
        return (at, bytes([at % 255 + 1]) * (length // 3), b"z" * (length // 2))
    if call in ("zero_range", "allocate", "read_at"):
        return (at, length)
    if call == "truncate":
        return (at,)
    if call in ("sync", "close"):
        return ()
    return (length,) if call == "admit" else (path,)


async def answer_to(volume: Volume, step: Step, files: list[Any]) -> object:
    """What one call gives: a value, or the class and the offset of what it raises."""
    call = step[0]
    target: Any = volume
    if call in FILE_CALLS:
        if not files:
            return None
        target = files[step[3] % len(files)]
    try:
        if call == "size_bytes":
            closed = target not in files
            return None if closed else target.size_bytes
        answer = getattr(target, call)(*arguments(step))
        if call in ("sync", "sync_directory", "admit", "read_at"):
            answer = await answer
        if call in ("create", "open"):
            files.append(answer)
            return (answer.path, answer.size_bytes)
        if call == "close":
            files.remove(target)
        return _seen(answer) if isinstance(answer, Stat) else answer
    except ReplicatorError as error:
        assert error.path is not None
        return (type(error), error.offset if call in FILE_CALLS else None)


def _seen(stat: Stat) -> tuple[object, ...]:
    return (stat.kind, stat.size_bytes, stat.attributes, stat.target)


async def portrait(volume: Volume, directory: str) -> dict[str, object]:
    """All names below a directory with what is behind them; equal inodes are one file."""
    shown: dict[str, object] = {}
    for name in volume.list(directory):
        path = f"{directory}/{name}"
        stat = volume.stat(path)
        shown[path] = _seen(stat)
        if stat.kind == EntryKind.DIRECTORY:
            shown.update(await portrait(volume, path))
        elif stat.kind == EntryKind.FILE:
            file = volume.open(path)
            shown[path + " content"] = await file.read_at(0, stat.size_bytes)
            file.close()
    return shown


@given(st.lists(STEP, max_size=30))
@settings(max_examples=max(300, settings.default.max_examples))
def test_a_program_cannot_tell_real_files_from_emulated_ones(steps: list[Step]) -> None:
    emulated, real = SimulatedWorld(), HostWorld()

    async def answers(volume: Volume) -> list[object]:
        files: list[Any] = []
        given_back = [await answer_to(volume, step, files) for step in steps]
        given_back.append(await portrait(volume, "/set"))
        return given_back

    try:
        expected = emulated.run(answers)
        found = real.run(answers)
        for step, one, other in zip([*steps, "portrait"], expected, found, strict=True):
            assert other == one, step
    finally:
        emulated.close()
        real.close()
