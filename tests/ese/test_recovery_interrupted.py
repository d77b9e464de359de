"""Ctrl-C in a recovery: the process ends with 130, and the next recovery makes it good."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from replicator.errors import ExitCode
from replicator.ese.database_header import State
from tests.ese.test_recover_command import contents, header_of, rows
from tests.ese.test_recovery import prepared

ROOT = Path(__file__).resolve().parents[2]

INTERRUPTED = """
import os, signal, sys
import replicator.ese.recovery as recovery
from replicator.cli import main
from replicator.ese.recovery_result import RecoverySettings

at, times = int(sys.argv.pop(1)), int(sys.argv.pop(1))
RecoverySettings.__init__.__kwdefaults__["limit_pages"] = 1  # pages are written all the time
recovery.RECORDS_A_REPORT = 1
one = recovery.Recovery._one
seen = 0

async def interrupted(self, record):
    global seen
    await one(self, record)
    seen += 1
    if seen == at:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

recovery.Recovery._one = interrupted
main()
"""
"""The command, with so many Ctrl-C behind the record of that number."""


def interrupted(at: int, times: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(at), str(times), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("at", "times"), [(1, 1), (50, 1), (45, 2)])
def test_it_ends_with_130_and_can_be_run_again(
    store: Path, replicator: Callable[..., int], at: int, times: int
) -> None:
    before = contents(store)
    ended = interrupted(at, times, "ese", "recover", store)
    assert ended.returncode == ExitCode.INTERRUPTED, ended.stderr
    assert "Traceback" not in ended.stderr
    if times == 1:
        assert "Run it again: it goes on from what is on disk." in ended.stderr
    left = contents(store)
    assert header_of(store / "mail.edb").state is State.DIRTY_SHUTDOWN
    assert {name for name in left if left[name] != before.get(name)} <= {"mail.edb"}
    assert (left["mail.edb"] != before["mail.edb"]) == (at > 1)  # it was under way
    assert replicator("ese", "recover", store) == ExitCode.PASS
    assert rows(store / "mail.edb") == prepared().committed
    assert replicator("ese", "verify", store / "mail.edb") == ExitCode.PASS


def test_a_copy_that_was_begun_is_gone(store: Path, tmp_path: Path) -> None:
    before = contents(store)
    ended = interrupted(45, 1, "ese", "recover", store, "--output", tmp_path / "copy")
    assert ended.returncode == ExitCode.INTERRUPTED, ended.stderr
    assert contents(store) == before
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
