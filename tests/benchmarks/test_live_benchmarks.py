"""The benchmarks of real processes still run, at their smallest; their figures judge nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from replicator.errors import BadInput, ExitCode
from tests.benchmarks import durable, memory, synchronization
from tests.benchmarks.live import Progress, Setting
from tests.processes.trial import ENVIRONMENT

MIB = 1 << 20


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path, True, Progress())


@pytest.mark.full
def test_durable(setting: Setting) -> None:
    table = durable.table(setting, durable.Scale(0.2, 2 * MIB, 4 * MIB, 1, 0.05, 0.0))
    assert len(table.rows) == len(durable.LOADS)
    for row in table.rows:
        assert len(row) == len(table.columns)
        captured, durably, applied = row[3:6]
        assert 0 < min(durably, applied) <= max(durably, applied) <= captured
    assert not list(setting.directory.iterdir())


@pytest.mark.full
@pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")
def test_synchronization(setting: Setting) -> None:
    table = synchronization.table(setting, synchronization.Scale(2 * MIB, 1, 0.0))
    by = [synchronization.OURS, *synchronization.PEERS]
    assert [row[1] for row in table.rows] == by * 4
    found = {(row[0], row[1]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    for row in found.values():
        assert row["s"] > 0 and row["sent kB"] > 0 and row["received kB"] > 0
    # Two pages changed, each half noise: they cannot travel in less than that, nor need much more.
    sent = found["1 % of the pages", synchronization.OURS]["sent kB"]
    assert 4 < sent < 100 < found["every page", synchronization.OURS]["sent kB"]
    assert not list(setting.directory.iterdir())


def test_memory(setting: Setting) -> None:
    table = memory.table(setting, memory.Scale(24 * MIB, 2 * MIB))
    phases = [row[0] for row in table.rows]
    assert phases[0] == "synchronized" and phases[-1] == "in step" and "full" in phases
    full = table.rows[phases.index("full")]
    assert full[1] >= 24, "the spool holds what was written"
    assert table.rows[0][4] != "-" and table.rows[-1][5] != "-"
    assert not list(setting.directory.iterdir())


def test_without_rsync_it_says_so_and_fails(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "synchronization", "--quick"],
        env={**ENVIRONMENT, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.count("\n") == 1 and "rsync, which is not installed" in done.stderr


@pytest.mark.parametrize("benchmark", [durable, synchronization, memory])
def test_without_room_nothing_is_begun(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, benchmark: object
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(MIB, 0, MIB))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(BadInput, match=r"needs .* 1 MiB are free"):
        benchmark.check(setting)
    assert not list(setting.directory.iterdir())
