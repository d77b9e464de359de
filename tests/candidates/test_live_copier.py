"""A command in the live world: real programs, the real command, judged by the same rules."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.candidates import left_running
from simulator.live.copied import _Group
from simulator.live.copier import CopierSpecification
from simulator.live.run import run_live
from simulator.measures import RunResult, Verdict
from simulator.report.record import result_text
from tests.candidates.scenes import ROOT, running_with, scene

COPY = '["sh", "-c", "cp -a {source}/. {replica}/"]'
RENEW = '["sh", "-c", "rm -rf {replica}/*; cp -a {source}/. {replica}/"]'


def live(directory: Path, command: str, *overrides: str) -> RunResult:
    candidate = f'kind = "command"\nevery = "100ms"\ncommand = {command}'
    return run_live(scene(directory, candidate, "", *overrides))


def test_a_copy_that_becomes_right_has_converged(tmp_path: Path) -> None:
    result = live(tmp_path, RENEW, "duration=2s", "settle=20s")
    assert result.live is not None and result.live.converged_seconds is not None
    assert result.operations and result.messages
    assert not any("had not converged" in reason for reason in result.reasons)
    assert set(result.not_judged) >= {"honest telemetry", "durable means durable"}
    [last] = [c for c in result.checks if c.occasion == "end of run" and c.invariant == "prefix"]
    assert last.holds and last.detail.startswith("the image is that after operation ")
    result_text(result)


@pytest.mark.full
def test_a_wrong_byte_is_a_breach_and_never_converges(tmp_path: Path) -> None:
    # The wrong byte comes first: at no instant is the copy right.
    wrong = '["sh", "-c", "(echo x; cat {source}/priv1.edb) > {replica}/priv1.edb"]'
    result = live(tmp_path, wrong, "duration=500ms", "settle=2s")
    assert result.verdict is Verdict.SAFETY
    assert any("the image is none that the source ever had" in text for text in result.reasons)
    assert any("had not converged" in text for text in result.reasons)
    assert not any(str(tmp_path) in text for text in result.reasons)


def test_a_kill_hits_the_command_and_is_judged(tmp_path: Path) -> None:
    fault = 'faults=[{kind="process_crash", host="replica", at="300ms"}]'
    slow = '["sh", "-c", "cp -a {source}/. {replica}/; sleep 0.3"]'
    result = live(tmp_path, slow, fault, "duration=500ms", "settle=20s")
    assert [(mark.kind, mark.where) for mark in result.faults] == [("process_crash", "replica")]
    assert [loss.failure for loss in result.losses] == ["process_crash of replica"]
    assert "process_crash of replica" in {check.occasion for check in result.checks}


def test_a_command_that_fails_is_told_of(tmp_path: Path) -> None:
    failing = '["sh", "-c", "echo no {source} >&2; exit 3", "{replica}"]'
    result = live(tmp_path, failing, "duration=500ms", "settle=2m")
    assert result.verdict is Verdict.LIVENESS
    assert "ended with exit code 3; it said: no" in result.reasons[0]


def test_faults_without_a_counterpart_are_named(tmp_path: Path) -> None:
    fault = 'faults=[{kind="link_outage", at="100ms", duration="100ms"}]'
    result = live(tmp_path, RENEW, fault, "duration=300ms", "settle=20s")
    assert result.live is not None
    assert any("link_outage at 0.1 s" in text for text in result.live.without_counterpart)


@pytest.mark.parametrize("host", ["source", "replica"])
def test_no_process_is_left(tmp_path: Path, host: str) -> None:
    fault = f'faults=[{{kind="pause", host="{host}", at="100ms", duration="200ms"}}]'
    marker = f"/tmp/candidate-{tmp_path.name}-{host}"
    mine = COPY.replace("cp -a", f": {marker}; cp -a")
    live(tmp_path, mine, fault, "duration=300ms", "settle=20s")
    assert running_with(marker) == []


@pytest.mark.parametrize("ends", ["exit 3", "sleep 60"])
def test_what_a_command_leaves_is_ended_and_delays_nothing(tmp_path: Path, ends: str) -> None:
    marker = f"/tmp/left-{tmp_path.name}"
    words = ["sh", "-c", f"sh -c 'sleep 60; : {marker}' & {ends}"]
    specification = tmp_path / "copier.json"
    # What ends by itself has all the time that a busy machine may take.
    timeout_ns = 500 * 10**6 if "sleep" in ends else 50 * 10**9
    CopierSpecification(words, 1, timeout_ns, [0], str(tmp_path / "passes"), str(tmp_path)).write(
        specification
    )
    command = [sys.executable, "-m", "simulator.live.copier", str(specification)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = "the command had not ended after 500ms" if "sleep" in ends else "ended with exit code 3"
    assert said in done.stderr
    assert running_with(marker) == []


LEAVES = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:], start_new_session=True)
time.sleep(60)
"""


def left_the_group(words: str) -> bool:
    """Whether the shell runs.  The child that becomes it has its parent's words, and is in its
    session, for a moment."""
    return any(each.startswith(b"sh\0") for each in running_with(words))


@pytest.mark.parametrize("ended", [True, False])
def test_who_is_killed_leaves_nothing_in_another_session(
    tmp_path: Path, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, end_all = str(tmp_path), left_running.end_all
    for name, value in left_running.marked({}, mark).items():
        monkeypatch.setenv(name, value)
    if not ended:
        monkeypatch.setattr(left_running, "end_all", lambda _mark: 0)
    seen = f"sleep 60; : {mark}"
    sleeper = ["sh", "-c", seen]
    child = _Group("copier", ["-S", "-c", LEAVES, *sleeper], tmp_path / "log", mark)
    try:
        while not left_the_group(seen):
            assert child.runs, "it ended by itself"
            time.sleep(0.01)
        child.kill()
        assert bool(running_with(seen)) is not ended
    finally:
        child.kill()
        end_all(mark)
