"""Random programs over the storage port, for tests that run one in two worlds and compare.

A program is a list of steps; a step names a call, two paths and two numbers, of which
:func:`arguments` takes what the call wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from replicator.runtime.port import EntryKind, Stat, Volume

FILE_CALLS = (
    *("write_at",) * 3,
    *("truncate",) * 2,
    *("zero_range", "allocate", "read_at", "sync", "close"),
)
NAME_CALLS = (
    *("create",) * 3,
    *("mkdir",) * 3,
    *("rename",) * 4,
    *("link",) * 2,
    *("symlink", "unlink", "rmdir", "open", "set_attributes"),
    *("list", "stat", "exists", "sync_directory", "admit"),
)
AWAITED = ("sync", "sync_directory", "admit", "read_at")
_NUMBERS = st.one_of(
    st.integers(0, 60_000),
    st.sampled_from((0, 1, 4095, 4096, 8191, 8192, 8193, 120_000, 200_000)),
)
Step = tuple[str, str, str, int, int]


def steps(paths: Sequence[str], *more_calls: str) -> st.SearchStrategy[Step]:
    """Steps on these paths, of all calls of names and files and of ``more_calls``."""
    calls = st.sampled_from(NAME_CALLS + FILE_CALLS + more_calls)
    path = st.sampled_from(paths)
    return st.tuples(calls, path, path, _NUMBERS, _NUMBERS)


def arguments(step: Step) -> tuple[Any, ...]:
    """What the call of a step is called with."""
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


def seen(stat: Stat) -> tuple[object, ...]:
    """What two worlds must agree on of a name."""
    return (stat.kind, stat.size_bytes, stat.attributes, stat.target)


async def portrait(volume: Volume, directory: str) -> dict[str, object]:
    """All names below a directory with what is behind them."""
    shown: dict[str, object] = {}
    for name in volume.list(directory):
        path = f"{directory}/{name}"
        stat = volume.stat(path)
        shown[path] = seen(stat)
        if stat.kind == EntryKind.DIRECTORY:
            shown.update(await portrait(volume, path))
        elif stat.kind == EntryKind.FILE:
            file = volume.open(path)
            shown[path + " content"] = await file.read_at(0, stat.size_bytes)
            file.close()
    return shown
