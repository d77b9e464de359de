"""Whole runs of scenarios: verdicts, policies, determinism, and the real trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from replicator.safeguards import ALL_SAFEGUARDS
from simulator.measures import RunResult, Verdict
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


def test_excerpt_of_the_production_trace_passes() -> None:
    result = run_scenario(load_scenario(ROOT / "scenarios/production-trace.toml"))
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.resynchronizations == 1
    assert result.operations == 3592 + 1  # and the disk's file is created


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
