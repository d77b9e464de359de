"""Whole runs with real processes: every fault that has a counterpart, and the end of each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from replicator.errors import BadInput
from simulator.live import mounts, truth_file
from simulator.live.judge import LiveJudge
from simulator.live.layout import Layout
from simulator.live.run import LiveRun, run_live
from simulator.live.truth_file import TruthReader
from simulator.measures import RunResult, Verdict
from simulator.report.record import RunRecord
from simulator.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]
SHORT = ROOT / "scenarios/live-short.toml"
TRACE = """version,time,op,size,lbn
""" + "".join(
    f"1,{1_000_000 + i * 20_000},2a,{4096 * (1 + i % 3)},{i * 37 % 500 * 8}\n" for i in range(150)
)
WITHOUT_LOSS = """
name = "no loss"
duration = "4s"
settle = "30s"
[stream]
kind = "trace"
path = "trace.csv"
[protection]
heartbeat = "300ms"
reconnect = "300ms"
spool_limit = "32MiB"
segment_size = "1MiB"
[source]
restart = "1s"
[source.spool_disk]
size = "48MiB"
[replica]
restart = "1s"
[link]
bandwidth = "20Mbit/s"
rtt = "10ms"
jitter = "2ms"
[[faults]]
kind = "link_bandwidth"
at = "200ms"
bandwidth = "4Mbit/s"
duration = "1s"
[[faults]]
kind = "pause"
host = "replica"
at = "500ms"
duration = "300ms"
[[faults]]
kind = "link_reset"
at = "1s"
[[faults]]
kind = "power_loss"
host = "replica"
when = "apply"
at = "1500ms"
[[faults]]
kind = "process_crash"
host = "source"
at = "2s"
[[faults]]
kind = "link_outage"
direction = "to_source"
at = "3300ms"
duration = "700ms"
"""


def children() -> set[int]:
    """Processes of live runs that this process has started and that are there."""
    found = set()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            words = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and (b"simulator.live" in words or b"replicator.cli" in words):
            found.add(int(directory.name))
    return found


def work_directories() -> set[str]:
    return {
        path.name
        for path in Path("/tmp").glob("exchange-bench-blocks-*")
        if owner(path) == os.getpid()
    }


def owner(path: Path) -> int:
    try:
        return int((path / "owner").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


@pytest.fixture(scope="module")
def short():
    return run_live(load_scenario(SHORT, []))


def test_the_short_scenario_holds_and_leaves_nothing(short) -> None:
    assert short.verdict is Verdict.PASS, short.reasons
    RunRecord.model_validate(short.to_json())
    assert short.world == "live"
    assert [fault.kind for fault in short.faults] == [
        "process_crash",
        "link_outage",
        "process_crash",
        "loss",
    ]
    assert [loss.failure for loss in short.losses] == [
        "process_crash of replica",
        "link_outage of link",
        "process_crash of source",
        "loss of source",
    ]
    assert children() == set()
    assert work_directories() == set()


def test_every_failure_is_judged_against_the_truth(short) -> None:
    judged = {(check.invariant, check.occasion) for check in short.checks}
    for loss in short.losses:
        assert ("prefix", loss.failure) in judged
        assert ("durable means durable", loss.failure) in judged
        assert ("mountable", loss.failure) in judged
    assert {
        ("prefix", "failover"),
        ("durable means durable", "failover"),
        ("durable means durable", "failover, against the loss"),
        ("mountable", "failover"),
    } <= judged
    telemetry = next(check for check in short.checks if check.invariant == "honest telemetry")
    assert int(telemetry.occasion.split()[0]) > 5
    assert short.prefix[1] > 100
    assert short.messages > 50
    outage = short.losses[1]
    assert outage.operations > 0, "during an outage the replica falls behind"


def test_recovery_has_its_parts_and_the_sites_figures_are_not_waited_for(short) -> None:
    recovery = short.recovery
    assert recovery.detect > 0
    assert (recovery.decide, recovery.redirect) == (300.0, 600.0)
    assert recovery.recover > 0
    assert recovery.mount > 0
    assert short.simulated_seconds < 300


@pytest.fixture(scope="module")
def without_loss(tmp_path_factory):
    directory = tmp_path_factory.mktemp("no-loss")
    (directory / "trace.csv").write_text(TRACE)
    (directory / "s.toml").write_text(WITHOUT_LOSS)
    scenario = load_scenario(directory / "s.toml", [])
    return scenario, run_live(scenario, keep=directory / "kept"), directory / "kept"


def test_without_loss_of_the_source_both_ends_are_alike(without_loss) -> None:
    _scenario, result, kept = without_loss
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.live.converged_seconds is not None
    assert any("byte by byte" in check.occasion for check in result.checks)
    assert (kept / "source/set/disk0.img").read_bytes() == (
        kept / "replica/image/disk0.img"
    ).read_bytes()
    assert children() == set()


def test_what_has_no_counterpart_is_said(without_loss) -> None:
    _scenario, result, _kept = without_loss
    stand_in = [fault for fault in result.faults if fault.note]
    assert [(fault.kind, fault.note) for fault in stand_in] == [
        ("process_crash", "kill -9 in place of a power loss")
    ]
    texts = result.live.without_counterpart
    assert any("power_loss of replica at 1.5 s" in text and "'apply'" in text for text in texts)
    if os.geteuid() != 0:
        assert any("only root" in text for text in texts)


def test_a_wrong_image_is_found(without_loss, tmp_path) -> None:
    scenario, _result, kept = without_loss
    layout = Layout(tmp_path, scenario)
    for directory in (layout.replica, layout.copies):
        directory.mkdir()
    subprocess.run(["cp", "-a", f"{kept}/replica/.", layout.replica], check=True)
    truth = TruthReader(kept / "truth")
    image = layout.replica / "image/disk0.img"
    for damaged in (False, True):
        if damaged:
            with image.open("r+b") as file:
                file.seek(100)
                file.write(b"wrong")
        judge = LiveJudge(layout, truth)
        judge.examine(None, "test", 0, loss=False)
        judge.finish()
        prefix = next(check for check in judge.checks if check.invariant == "prefix")
        assert prefix.holds is not damaged, prefix


@pytest.mark.parametrize(
    ("afterwards", "holds"),
    [
        ("nothing", False),
        ("the killed programs' files are looked at", True),
        ("the killed programs' files are others", False),
        ("the next start notes it", True),
    ],
)
def test_an_operation_whose_program_was_killed_before_it_noted_it(
    without_loss, tmp_path, afterwards: str, holds: bool
) -> None:
    """Capture had completed it, and the sender sent it: the replica is ahead of the truth."""
    scenario, _result, kept = without_loss
    layout = Layout(tmp_path, scenario)
    layout.copies.mkdir()
    layout.replica = kept / "replica"
    layout.set = tmp_path / "left"
    subprocess.run(["cp", "-a", kept / "replica/image", layout.set], check=True)
    whole = (kept / "truth").read_bytes()
    layout.truth.write_bytes(whole[: -truth_file.RECORD_BYTES])
    judge = LiveJudge(layout, TruthReader(layout.truth))
    judge.examine(None, "process_crash of source", 10**18, loss=True)
    if afterwards.startswith("the killed"):
        if "others" in afterwards:
            (layout.set / "disk0.img").write_bytes(b"another")
        judge.source_killed()
    elif afterwards.startswith("the next"):
        layout.truth.write_bytes(whole)
    judge.finish()
    prefix = next(check for check in judge.checks if check.invariant == "prefix")
    assert prefix.holds is holds, prefix
    assert {check.invariant for check in judge.checks if not check.holds} <= {"prefix"}


def test_an_operation_that_was_promised_and_is_not_there_is_found(without_loss, tmp_path) -> None:
    scenario, _result, kept = without_loss
    layout = Layout(tmp_path, scenario)
    layout.copies.mkdir()
    layout.replica = kept / "replica"
    judge = LiveJudge(layout, TruthReader(kept / "truth"))
    judge.acknowledged(1, 1_000_000)
    judge.examine(None, "test", 0, loss=False)
    judge.finish()
    broken = [check.invariant for check in judge.checks if not check.holds]
    assert broken == ["durable means durable"]


def test_a_wrong_image_that_has_taken_over_is_found(without_loss, tmp_path) -> None:
    scenario, result, kept = without_loss
    layout = Layout(tmp_path, scenario)
    for directory in (layout.replica, layout.copies):
        directory.mkdir()
    layout.write_configurations(1)
    subprocess.run(["cp", "-a", f"{kept}/replica/.", layout.replica], check=True)
    epoch, operation = result.prefix
    cases = {
        "whole": (operation, "", []),
        "behind": (operation - 1, "", ["durable means durable"] * 2 + ["prefix"]),
        "in doubt": (operation, "rot", ["durable means durable"]),
        "wiped": (operation, "", ["prefix"]),
    }
    for case, (claimed, damage, broken) in cases.items():
        judge = LiveJudge(layout, TruthReader(kept / "truth"))
        judge.acknowledged(epoch, operation)
        judge.examine(None, "loss of source", 10**18, loss=True)
        judge.finish()
        assert all(check.holds for check in judge.checks), case
        if case == "wiped":
            (layout.replica / "image/disk0.img").unlink()
        judge.mounted(judge.mount((epoch, claimed)), 10**18, damage)
        judge.finish()
        assert sorted(c.invariant for c in judge.checks if not c.holds) == broken, case
        (final,) = judge.losses
        assert (final.operations == judge.truth.instant) is (case == "wiped")
        (layout.copies / "mount/examine.json").unlink()
        (layout.copies / "mount").rmdir()


def start_command(tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", "run", str(SHORT), "--world", "live", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    command = start_command(tmp_path)
    end = time.monotonic() + 30
    while time.monotonic() < end and not list(tmp_path.glob("*/run/truth")):
        time.sleep(0.05)
    pids = [int(pid) for pid in _children_of(command.pid)]
    assert len(pids) >= 4
    command.send_signal(number)
    _out, said = command.communicate(timeout=30)
    assert command.returncode == 130, said
    assert list(tmp_path.iterdir()) == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def run_killing_the_sender(run: LiveRun, after_s: float, times: int) -> RunResult:
    """Kill the sender behind the run's back, so often."""
    original, left = run._sample, [signal.SIGKILL] * times

    def sample() -> None:
        original()
        child = run.machines.children.get("sender")
        if child is not None and run.now() > after_s * 1e9 and left:
            os.kill(child.pid, left.pop())

    run._sample = sample  # type: ignore[method-assign]
    try:
        return run.run()
    finally:
        mounts.release(run.layout.root)


def test_a_process_that_dies_by_itself_again_and_again_fails_with_its_words(
    tmp_path: Path,
) -> None:
    scenario = load_scenario(SHORT, ["source.restart=1s"])
    result = run_killing_the_sender(LiveRun(scenario, None, tmp_path), 1, 100)
    assert result.verdict is Verdict.LIVENESS
    assert "no fault explains it" in result.reasons[0]
    assert "the sender ended with -9" in result.reasons[0]
    assert "a second time" in result.reasons[1]
    assert children() == set()


@pytest.mark.full
def test_a_process_that_dies_once_is_started_again_and_told_of(tmp_path: Path) -> None:
    """No fault of this run harms storage, so none explains it."""
    (tmp_path / "trace.csv").write_text(TRACE)
    (tmp_path / "s.toml").write_text(WITHOUT_LOSS)
    (tmp_path / "run").mkdir()
    scenario = load_scenario(tmp_path / "s.toml", ["duration=6s"])
    run = LiveRun(scenario, None, tmp_path / "run")
    result = run_killing_the_sender(run, 3.2, 1)
    assert result.verdict is Verdict.LIVENESS
    [reason] = result.reasons
    assert "the sender ended by itself" in reason and "no fault explains it" in reason
    assert not run.restarts.given_up and result.prefix[1] == result.operations
    assert children() == set()


def test_a_keep_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    from simulator.live.run import _keep

    (tmp_path / "file").touch()
    (tmp_path / "from").mkdir()
    with pytest.raises(BadInput, match="--keep"):
        _keep(tmp_path / "from", tmp_path / "file")


@pytest.mark.full
def test_the_command_writes_record_report_and_files(tmp_path: Path) -> None:
    kept, record = tmp_path / "kept", tmp_path / "r.json"
    more = ("--keep", str(kept), "--json", str(record), "--report", str(tmp_path / "out"))
    command = start_command(tmp_path, *more)
    out, said = command.communicate(timeout=120)
    assert command.returncode == 0, said
    assert "Not as in the scenario" in out
    assert json.loads(record.read_text())["world"] == "live"
    assert "With real processes" in (tmp_path / "out/report.html").read_text()
    assert (kept / "replica/image").is_dir()


STORE = """
name = "store"
duration = "{duration}"
settle = "30s"
[stream]
kind = "store"
messages = "12/s"
message_size = "16KiB"
log_size = "256KiB"
checkpoint_depth = "1MiB"
database_size = "32MiB"
[protection]
spool_limit = "64MiB"
segment_size = "1MiB"
heartbeat = "500ms"
reconnect = "500ms"
[source.spool_disk]
size = "6MiB"
[link]
bandwidth = "20Mbit/s"
rtt = "10ms"
"""


def run_text(tmp_path: Path, text: str):
    (tmp_path / "s.toml").write_text(text)
    return run_live(load_scenario(tmp_path / "s.toml", []))


@pytest.mark.full
def test_a_spool_volume_that_is_really_full_ends_in_a_resynchronization(tmp_path: Path) -> None:
    outage = '[[faults]]\nkind = "link_outage"\nat = "2s"\nduration = "5s"\n'
    result = run_text(tmp_path, STORE.format(duration="10s") + outage)
    assert result.verdict is Verdict.PASS, result.reasons
    if os.geteuid() == 0:
        assert result.resynchronizations >= 1
    assert result.live.converged_seconds is not None


@pytest.mark.full
def test_with_both_ends_lost_everything_is_lost(tmp_path: Path) -> None:
    text = STORE.format(duration="4s")
    for host, at in (("replica", "2s"), ("source", "3s")):
        text += f'[[faults]]\nkind = "loss"\nhost = "{host}"\nat = "{at}"\n'
    result = run_text(tmp_path, text)
    assert result.verdict is Verdict.UNRECOVERABLE
    assert result.worst_loss.bytes == result.captured_bytes > 0
