"""Runs a workload on a real file system and puts every outcome to the two judges."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.device import INSTANT
from simulator.live.block_log import BlockLog
from simulator.live.logged_file_system import LoggedFileSystem
from simulator.live.power_loss import PowerLoss, states, story
from simulator.live.replay import Unmountable, mounted
from tests.ground_truth.calls import DIRECTORY, Call, Outcome
from tests.ground_truth.legal_outcomes import LegalOutcomes
from tests.ground_truth.promises import Promises
from tests.ground_truth.simulated_twin import Twin

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD_TIMEOUT_S = 120.0
NOT_OURS = {"/lost+found"}


@dataclass(frozen=True)
class Finding:
    """An outcome that a judge does not accept."""

    judge: str
    """``promises`` (of any file system), ``simulated disk``, or ``kernel`` when it refused."""
    what: str
    state: PowerLoss
    story: str
    call: str


def record(calls: Sequence[Call], kind: str = "ext4", mount_options: str = "") -> BlockLog:
    """Carry out the calls on a new file system in a child process; returns the disk's log."""
    with LoggedFileSystem(kind, mount_options=mount_options) as fs:
        (fs.directory / "calls").write_text(repr(list(calls)))
        child = subprocess.run(
            [
                *(sys.executable, "-m", "tests.ground_truth.run_calls"),
                *map(os.fspath, (fs.mount_path, fs.mark_path, fs.directory / "calls")),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
            capture_output=True,
            text=True,
            timeout=WORKLOAD_TIMEOUT_S,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        return fs.finish()


def look(directory: Path) -> Outcome:
    """All names and contents below a directory."""
    outcome: Outcome = {}
    for path in sorted(directory.rglob("*")):
        name = "/" + path.relative_to(directory).as_posix()
        if name in NOT_OURS:
            continue
        is_directory = stat.S_ISDIR(path.lstat().st_mode)
        outcome[name] = DIRECTORY if is_directory else path.read_bytes()
    return outcome


def progress(log: BlockLog, cut: int) -> tuple[int, int]:
    """How many calls had ended, and how many had begun, at the cut."""
    words = [mark.text.split() for mark in log.marks_before(cut)]
    ended = sum(word[0] == "end" for word in words)
    begun = sum(word[0] == "begin" for word in words)
    return ended, begun


def judge(
    calls: Sequence[Call], log: BlockLog, chosen: Sequence[PowerLoss], metadata: str = "ordered"
) -> Iterator[tuple[PowerLoss, Outcome, list[Finding]]]:
    """Mount each state and judge what is there; states in the order of their cuts."""
    twin = Twin(calls, replace(INSTANT, metadata=metadata))
    promises: Promises | None = None
    legal: LegalOutcomes | None = None
    last: tuple[int, int] | None = None
    try:
        for state in sorted(chosen):
            now = progress(log, state.cut)
            ended, begun = now
            if now != last:
                promises = Promises(calls, ended, begun)
                # A sync under way has promised nothing; anything else may have happened.
                under_way = begun > ended and not calls[begun - 1].promises
                twin.go_on(begun if under_way else ended)
                legal = LegalOutcomes(twin.disk)
                last = now
            assert promises is not None and legal is not None
            outcome: Outcome = {}
            try:
                with mounted(log, state) as directory:
                    outcome = look(directory)
            except Unmountable as refused:
                problems = [("kernel", str(refused))]
            else:
                problems = [("promises", each) for each in promises.broken(outcome)]
                if (reason := legal.why_not(outcome)) is not None:
                    problems.append(("simulated disk", reason))
            where = (
                f"{ended} calls ended, {begun} begun; last {calls[begun - 1] if begun else None}"
            )
            yield (
                state,
                outcome,
                [Finding(who, what, state, story(log, state), where) for who, what in problems],
            )
    finally:
        twin.close()


METADATA = {"ext4": "ordered", "xfs": "ordered", "btrfs": "any"}
"""Which order of names each file system keeps, in the emulated disk's words."""


def search(
    calls: Sequence[Call], count: int, *, kind: str = "ext4", seed: int = 0, mount_options: str = ""
) -> tuple[int, list[Finding]]:
    """Record, choose ``count`` states, judge: how many states there were, and all findings."""
    with record(calls, kind, mount_options) as log:
        first = log.marked("begin 0")
        chosen = states(log, count, seed=seed, first_cut=first)
        findings = [
            each for _, _, found in judge(calls, log, chosen, METADATA[kind]) for each in found
        ]
        return len(chosen), findings
