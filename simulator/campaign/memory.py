"""How much memory a worker may take: a run without end must not take that of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

LEAST_MEMORY_BYTES: Final = 1 << 30
MOST_MEMORY_BYTES: Final = 4 << 30

_ROOT: Final = Path("/")


def memory_share_bytes(workers: int, root: Path = _ROOT) -> int:
    """Half of the memory there is, shared by so many workers; from 1 to 4 GiB for each.

    Arguments
    ---------
    root: where ``/proc`` and ``/sys`` are looked for.
    """
    there = min([_physical_bytes(), *_limits_bytes(root)])
    return max(LEAST_MEMORY_BYTES, min(MOST_MEMORY_BYTES, there // 2 // workers))


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limits_bytes(root: Path) -> Iterator[int]:
    """The limits of this process's control groups, which are what a container has.

    Source: the kernel's documentation, admin-guide/cgroup-v2 (``memory.max``) and
    admin-guide/cgroup-v1/memory (``memory.limit_in_bytes``).
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # not Linux
    for group in groups:
        _number, controllers, path = group.split(":", 2)
        if not controllers:
            directory, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            directory, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A limit holds for all groups below.  In a container the path may be one of the machine
        # outside, which is not there: its own limit is at the top then.
        place = PurePosixPath(path)
        for each in (place, *place.parents):
            try:
                limit = (directory / str(each).lstrip("/") / name).read_text(encoding="utf-8")
            except OSError:
                continue
            if limit.strip().isdigit():  # else "max"
                yield int(limit)
