"""Whole runs of scenarios: verdicts, policies, determinism, and the real trace."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from replicator.errors import BadInput, ReplicatorError, SyncFailed
from replicator.replica_intake import ReplicaIntake
from replicator.replica_store import ReplicaStore
from replicator.runtime.port import EntryKind, Volume
from replicator.safeguards import ALL_SAFEGUARDS
from replicator.source import Source
from simulator.measures import RunResult, Verdict
from simulator.report.terminal import print_result
from simulator.run import ScenarioRun, run_scenario
from simulator.scenario import load_scenario, parse_scenario

ROOT = Path(__file__).resolve().parents[1]
SHARED_TRACE = ROOT.parent / "shared/reference/traces/cloudphysics/vscsi_sample.csv"

BASE = """
name = "test"
duration = "60s"
settle = "5m"
[stream]
kind = "store"
format = "small"
messages = "4/s"
message_size = "16KiB"
mailboxes = 5
[source.disk]
profile = "ssd"
[replica.disk]
profile = "ssd"
[link]
bandwidth = "20Mbit/s"
rtt = "20ms"
"""

OUTAGE = """
[[faults]]
kind = "link_outage"
at = "10s"
duration = "40s"
"""


CRASH = """
[[faults]]
kind = "process_crash"
host = "replica"
at = "20s"
"""
SYNC_FAILS = """
[[faults]]
kind = "sync_failure"
host = "replica"
at = "5s"
"""
LOSS = """
[[faults]]
kind = "loss"
host = "source"
at = "40s"
"""


def run(text: str, *overrides: str) -> RunResult:
    return run_scenario(parse_scenario(text, overrides))


def test_quickstart_passes() -> None:
    result = run_scenario(load_scenario(ROOT / "scenarios/quickstart.toml"))
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.rpo_seconds is not None and 25 < result.rpo_seconds < 35
    assert result.recovery is not None
    assert result.recovery.detect == pytest.approx(30, abs=2)
    assert result.messages and result.worst_loss and result.worst_loss.messages
    assert {fault.kind for fault in result.faults} == {"link_outage", "power_loss", "loss"}
    struck = next(fault for fault in result.faults if fault.kind == "power_loss")
    assert struck.note == "in apply"
    printed = io.StringIO()
    print_result(Console(file=printed, width=200, highlight=False), result)
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("and prints\n\n```\n")[2].partition("```")[0].splitlines()
    assert len(shown) > 5
    assert [line for line in shown if line != "..." and line not in lines] == []


def test_excerpt_of_the_production_trace_passes() -> None:
    result = run_scenario(load_scenario(ROOT / "scenarios/production-trace.toml"))
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.resynchronizations == 1
    assert result.operations == 3592 + 1  # and the disk's file is created


@pytest.mark.full
@pytest.mark.skipif(not SHARED_TRACE.exists(), reason="needs ../shared, which CI has")
def test_all_writes_of_the_production_trace_end_as_a_prefix() -> None:
    text = f"""
    name = "all writes"
    duration = "2h10m"
    settle = "2h"
    sample = "5s"
    [stream]
    kind = "trace"
    path = {json.dumps(str(SHARED_TRACE))}
    [protection]
    spool_limit = "4GiB"
    [link]
    bandwidth = "10Mbit/s"
    rtt = "60ms"
    """
    for kind, host, at in (
        ("process_crash", "source", "20m"),
        ("power_loss", "replica", "40m"),
        ("power_loss", "source", "70m"),
        ("process_crash", "replica", "94m"),
    ):
        text += f'\n[[faults]]\nkind = "{kind}"\nhost = "{host}"\nat = "{at}"\n'
    result = run(text)
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.operations == 66_898 + 1
    assert result.captured_bytes == 2_408_565_760
    assert result.resynchronizations == 1
    assert len(result.losses) == 4


def test_full_spool_is_answered_by_a_resynchronization() -> None:
    result = run(BASE + OUTAGE, "protection.spool_limit=4MiB", "protection.segment_size=512KiB")
    assert result.verdict is Verdict.PASS, result.reasons
    # The store writes a burst when it is dismounted, which may fill so small a spool again.
    assert 1 <= result.resynchronizations <= 2
    assert result.spool_peak_bytes <= 4 << 20


def test_full_spool_holds_the_writer_when_told_to() -> None:
    result = run(
        BASE + OUTAGE,
        "protection.spool_limit=4MiB",
        "protection.segment_size=512KiB",
        "protection.spool_full=hold",
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.resynchronizations == 0
    assert result.spool_peak_bytes <= 4 << 20
    free = run(BASE + OUTAGE)
    assert result.messages is not None and free.messages is not None
    assert result.messages < free.messages


def test_slow_replica_is_answered_by_back_pressure() -> None:
    """The journal is full again and again; everything arrives in the end."""
    result = run(
        BASE,
        "replica.disk.profile=sata-7200",
        "replica.disk.sequential=300KB/s",
        "protection.journal_limit=2MiB",
        "protection.segment_size=512KiB",
        "protection.checkpoint_every=1MiB",
        "settle=20m",
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.journal_peak_bytes <= 2 << 20


def test_journal_too_small_for_a_synchronization_is_named() -> None:
    scenario = parse_scenario(
        BASE + OUTAGE,
        [
            "duration=150s",
            "faults.0.duration=85s",
            "protection.spool_limit=14MiB",
            "protection.segment_size=512KiB",
            "protection.journal_limit=1MiB",
            "protection.checkpoint_every=512KiB",
            "stream.messages=5/s",
            "link.bandwidth=4Mbit/s",
            "settle=30s",
        ],
    )
    started = ScenarioRun(scenario)
    causes: list[str] = []

    def observe(_machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if event == "source_state":
            causes.append(str(values[1]))

    started.world.observers.append(observe)
    result = started.run()
    assert result.verdict is not Verdict.SAFETY, result.reasons
    assert any("journal is too small" in cause for cause in causes), set(causes)
    assert result.journal_peak_bytes <= 1 << 20


def test_loss_before_anything_was_synchronized() -> None:
    loss = '\n[[faults]]\nkind = "loss"\nhost = "source"\nat = "30s"\n'
    cut = '\n[[faults]]\nkind = "link_outage"\nat = "0s"\nduration = "60s"\n'
    result = run(BASE + cut + loss, "failover.redirect=1m", "failover.decide=1m")
    assert result.verdict is Verdict.PASS, result.reasons
    worst = result.worst_loss
    assert worst is not None
    assert worst.operations == result.operations
    assert worst.seconds == pytest.approx(30, abs=1)


def test_objective_missed() -> None:
    result = run(BASE + OUTAGE, "objectives.spool_peak=1MiB")
    assert result.verdict is Verdict.OBJECTIVE
    assert "spool peak" in result.reasons[0]


def test_no_time_to_settle_is_inconclusive_or_worse() -> None:
    result = run(BASE, "settle=10s", "link.bandwidth=200kbit/s")
    assert result.verdict is Verdict.LIVENESS
    assert "converged" in result.reasons[0]


def test_canary_without_order_of_apply_fails() -> None:
    """The bench can fail: a replica that applies backwards is found out."""
    scenario = parse_scenario(BASE)
    safeguards = replace(ALL_SAFEGUARDS, apply_in_order=False)
    result = ScenarioRun(scenario, safeguards=safeguards).run()
    assert result.verdict is Verdict.SAFETY
    assert any("prefix" in reason for reason in result.reasons)


def remove_all(volume: Volume, directory: str) -> None:
    for name in volume.list(directory):
        path = f"{directory}/{name}"
        if volume.stat(path).kind == EntryKind.DIRECTORY:
            remove_all(volume, path)
            volume.rmdir(path)
        else:
            volume.unlink(path)


def test_canary_whose_promotion_wipes_the_image_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients are given is judged, not what a copy at the loss would have given."""
    promote = ReplicaStore.promote

    async def wipe(store: ReplicaStore) -> None:
        await promote(store)
        remove_all(store.volume, store.image.home.root)

    monkeypatch.setattr(ReplicaStore, "promote", wipe)
    result = run(BASE + LOSS, "objectives.rpo=5s")
    assert result.verdict is Verdict.SAFETY
    broken = {(c.invariant, c.occasion) for c in result.checks if not c.holds}
    assert {("prefix", "failover"), ("mountable", "failover")} <= broken
    worst = result.worst_loss
    assert worst is not None and worst.operations == result.operations
    assert worst.messages == result.messages
    assert worst.at_seconds == 40 and worst.seconds > 35


def test_a_failover_is_judged_before_clients_are_led_there() -> None:
    result = run(BASE + LOSS)
    assert result.verdict is Verdict.PASS, result.reasons
    judged = [(c.invariant, c.occasion) for c in result.checks if "failover" in c.occasion]
    assert judged == [
        ("prefix", "failover"),
        ("durable means durable", "failover"),
        ("durable means durable", "failover, against the loss"),
        ("one source", "failover"),
        ("mountable", "failover"),
    ]
    assert [loss.failure for loss in result.losses] == ["loss of source"]


@pytest.mark.parametrize(
    "fault",
    [
        'kind = "link_outage"\nat = "44s"\nduration = "7s"\n',
        'kind = "process_crash"\nhost = "replica"\nat = "50s"\n',
        'kind = "power_loss"\nhost = "replica"\nat = "50s"\n',
    ],
)
def test_an_image_that_the_store_has_opened_is_no_copy_any_more(fault: str) -> None:
    """Mounting changes it: what strikes afterwards is no matter of prefixes."""
    result = run(
        BASE + LOSS + "\n[[faults]]\n" + fault,
        *("failover.detect=2s", "failover.decide=2s", "failover.redirect=1m"),
        "failover.mount_per_log=5s",
        "replica.restart=3s",
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert not [loss for loss in result.losses if loss.at_seconds > 40]
    assert sum(c.invariant == "prefix" and c.occasion == "failover" for c in result.checks) == 1


def test_canary_that_syncs_nothing_fails_when_power_goes_after_a_process_crash() -> None:
    """A process crash leaves the cache: only a loss of power shows what was never synced."""
    safeguards = replace(ALL_SAFEGUARDS, sync_before_acknowledge=False)
    scenario = parse_scenario(BASE + CRASH, ["replica.restart=10s"])
    result = ScenarioRun(scenario, safeguards=safeguards).run()
    broken = [c for c in result.checks if not c.holds and c.invariant == "durable means durable"]
    assert "process_crash of replica, then its power fails" in {c.occasion for c in broken}
    assert any(20 < c.at_seconds < 30 for c in broken), "its process is down, its power is not"
    as_it_is = [c for c in result.checks if c.occasion == "process_crash of replica"]
    assert as_it_is and all(c.holds for c in as_it_is)


LIARS = {
    "silent": ("lag_ns", lambda _source: None),
    "boastful": ("lag_ns", lambda _source: 0),
    "tardy": ("lag_ns", lambda source: max(0, (SPOKEN_LAG(source) or 0) - 3_000_000_000)),
}
SPOKEN_LAG = Source.lag_ns


@pytest.mark.parametrize("liar", LIARS)
def test_a_lag_that_is_not_told_as_it_is_is_found(
    liar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, *LIARS[liar])
    result = run(BASE + OUTAGE)
    assert [c.invariant for c in result.checks if not c.holds] == ["honest telemetry"]
    assert result.verdict is Verdict.SAFETY


def test_an_image_that_is_said_to_be_younger_than_it_is_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_of_ns = ReplicaStore.as_of_ns.fget
    assert as_of_ns is not None
    hour_ns = 3600 * 10**9
    monkeypatch.setattr(ReplicaStore, "as_of_ns", property(lambda s: as_of_ns(s) + hour_ns))
    result = run(BASE)
    assert [c.invariant for c in result.checks if not c.holds] == ["honest telemetry"]
    assert "as of" in result.reasons[0]


def gives_up(monkeypatch: pytest.MonkeyPatch, error: ReplicatorError, times: int) -> None:
    """From 20 s on the replica's process ends with an error, so many times."""
    append, left = ReplicaIntake.append, [error] * times

    async def failing(intake: ReplicaIntake, batches: list[Any]) -> None:
        if intake._runtime.now_ns() > 20 * 10**9 and left:
            raise left.pop()
        await append(intake, batches)

    monkeypatch.setattr(ReplicaIntake, "append", failing)


FAILED = SyncFailed("the sync of a journal failed", path="/replica/journal")


def test_a_replicator_that_gives_up_for_no_reason_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started again and goes on; that it ended at all is the defect."""
    gives_up(monkeypatch, FAILED, 1)
    result = run(BASE)
    assert result.verdict is Verdict.LIVENESS
    (reason,) = result.reasons
    assert "no fault explains it" in reason and "sync of a journal failed" in reason
    assert result.prefix[1] == result.operations, "the next start went on"


def test_a_replicator_that_gives_up_again_and_again_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gives_up(monkeypatch, FAILED, 100)
    result = run(BASE + SYNC_FAILS, "replica.restart=2s")
    assert result.verdict is Verdict.LIVENESS
    assert ["a second time" in reason for reason in result.reasons] == [True]


def test_a_replicator_that_ends_by_its_storage_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gives_up(monkeypatch, FAILED, 1)
    result = run(BASE + SYNC_FAILS, "replica.restart=2s")
    assert result.verdict is Verdict.PASS, result.reasons


def test_a_fault_that_does_no_harm_to_storage_explains_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gives_up(monkeypatch, FAILED, 1)
    result = run(BASE + CRASH.replace("20s", "5s"), "replica.restart=2s")
    assert result.verdict is Verdict.LIVENESS
    assert "no fault explains it" in result.reasons[0]


def test_bad_input_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    gives_up(monkeypatch, BadInput("this cannot be understood"), 1)
    with pytest.raises(BadInput, match="cannot be understood"):
        run(BASE)


def test_same_hash_in_two_processes_under_two_hash_seeds(tmp_path: Path) -> None:
    scenario = tmp_path / "s.toml"
    crash = '\n[[faults]]\nkind = "power_loss"\nhost = "replica"\nat = "30s"\nwhen = "apply"\n'
    scenario.write_text(BASE + OUTAGE + crash)
    records = []
    for hash_seed in ("0", "4711"):
        target = tmp_path / f"{hash_seed}.json"
        subprocess.run(
            [sys.executable, "-m", "simulator.cli", "run", str(scenario), "--json", str(target)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            timeout=300,
        )
        records.append(json.loads(target.read_text()))
    assert records[0]["trace_hash"] == records[1]["trace_hash"]
    for record in records:
        record.pop("wall_seconds")
    assert records[0] == records[1]


def test_another_seed_is_another_run() -> None:
    scenario = parse_scenario(BASE)
    assert run_scenario(scenario, 1).trace_hash != run_scenario(scenario, 2).trace_hash
