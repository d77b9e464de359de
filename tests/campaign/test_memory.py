"""A worker's share of the memory, on a machine and in a container that has a limit of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.campaign import memory
from simulator.campaign.memory import memory_share_bytes

GIB = 1 << 30
MACHINE_GIB = 32


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical_bytes", lambda: MACHINE_GIB * GIB)


def root_with(tmp_path: Path, groups: str, limits: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **limits}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("workers", "share_gib"), [(1, 4), (4, 4), (8, 2), (16, 1), (32, 1), (1000, 1)]
)
def test_the_machine_is_shared(tmp_path: Path, workers: int, share_gib: int) -> None:
    assert memory_share_bytes(workers, tmp_path) == share_gib * GIB


@pytest.mark.parametrize(
    ("groups", "limits", "share_gib"),
    [
        ("0::/\n", {"sys/fs/cgroup/memory.max": "max\n"}, 4),
        ("0::/\n", {"sys/fs/cgroup/memory.max": f"{6 * GIB}\n"}, 3),
        # that of the group above is the narrower one
        (
            "0::/jobs/17\n",
            {
                "sys/fs/cgroup/jobs/17/memory.max": f"{7 * GIB}\n",
                "sys/fs/cgroup/jobs/memory.max": f"{5 * GIB}\n",
            },
            2.5,
        ),
        # a path of the machine outside
        ("0::/docker/abc\n", {"sys/fs/cgroup/memory.max": f"{4 * GIB}\n"}, 2),
        (
            "3:cpuset:/x\n4:cpu,memory:/box\n0::/\n",
            {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{4 * GIB}\n"},
            2,
        ),
        # without a limit, as the first version of control groups says it
        (
            "4:memory:/\n",
            {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
            4,
        ),
        # a gigabyte is always given
        ("0::/\n", {"sys/fs/cgroup/memory.max": f"{GIB // 4}\n"}, 1),
        ("0::/\n", {}, 4),
    ],
)
def test_a_container_has_a_limit(
    tmp_path: Path, groups: str, limits: dict[str, str], share_gib: float
) -> None:
    assert memory_share_bytes(1, root_with(tmp_path, groups, limits)) == share_gib * GIB
