"""Runs of scenarios that are protected by log shipping: verdicts, losses, queues, and breaches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from replicator.errors import BadInput
from replicator.logship import LogShippingCopy
from replicator.logship_options import LogShipSafeguards as Guards
from replicator.logship_queue import LogQueue, ReplayDelay
from replicator.logship_restart import RestartPoint
from simulator.judgement import FAILOVER
from simulator.live.run import run_live
from simulator.measures import RunResult, Verdict
from simulator.mutants import check_mutant
from simulator.plans.draw import draw_plan, space_of
from simulator.prepared import prepare
from simulator.report.figure import draw_run
from simulator.report.page import page_text
from simulator.report.record import result_text
from simulator.report.words import resources_sentence
from simulator.run import ScenarioRun, run_scenario
from simulator.scenario import Scenario, check_scenario, load_scenario, parse_scenario
from simulator.scenario_log_shipping import UNSUITABLE_FAULTS
from simulator.systems.log_shipping import LogShippingSystem

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN = ROOT / "scenarios/campaign_log_shipping.toml"
LONG = ROOT / "scenarios/log_shipping.toml"


def scenario(*faults: str, overrides: tuple[str, ...] = ()) -> Scenario:
    """The campaign's scenario, shorter, with faults as lines of TOML."""
    text = CAMPAIGN.read_text(encoding="utf-8")
    for fault in faults:
        text += f"\n[[faults]]\n{fault}\n"
    return parse_scenario(
        text, ["duration=2s", "stream.messages=6/s", "sample=1s", "settle=20s", *overrides]
    )


LOSS = 'kind = "loss"\nhost = "source"\nat = "1700ms"'
OUTAGE = 'kind = "link_outage"\nat = "300ms"\nduration = "1200ms"'


def holds(result: RunResult, invariant: str) -> bool:
    found = [check.holds for check in result.checks if check.invariant == invariant]
    assert found, f"{invariant} was never judged"
    return all(found)


def test_the_scenarios_are_in_order() -> None:
    for path in (CAMPAIGN, LONG):
        assert check_scenario(path)[1] == []


def test_an_undisturbed_run_passes_and_is_the_same_each_time() -> None:
    result = run_scenario(scenario())
    assert (result.verdict, result.reasons) == (Verdict.PASS, [])
    for invariant in ("prefix", "durable means durable", "mountable", "honest telemetry"):
        assert holds(result, invariant)
    assert set(result.not_judged) == {"capture is complete", "one source"}
    record = json.loads(result_text(result))
    assert record["queue_peaks"] is not None
    prepared = prepare(scenario()).run(())
    assert replace(prepared, wall_seconds=0.0) == replace(result, wall_seconds=0.0)


LONG_TRANSACTIONS = (
    "stream.message_size=200KiB",
    "stream.messages=2/s",
    "stream.database_size=8MiB",
    "duration=1s",
)
"""A message is a transaction over several logs."""


def crash_of_the_copy(at_ms: int) -> Scenario:
    fault = f'kind = "process_crash"\nhost = "replica"\nat = "{at_ms}ms"'
    return scenario(fault, overrides=LONG_TRANSACTIONS)


@pytest.mark.parametrize("at_ms", [300, 700])
def test_a_copy_that_dies_within_a_transaction_of_several_logs_goes_on(at_ms: int) -> None:
    result = run_scenario(crash_of_the_copy(at_ms))
    assert result.verdict is Verdict.PASS, result.reasons


def test_fewer_logs_than_its_databases_require_would_be_no_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def one_by_one(copy: LogShippingCopy, now_ns: int) -> int:
        queue = copy.queue
        assert queue is not None
        return min(queue.due(now_ns, ReplayDelay()), queue.replayed + 1)

    monkeypatch.setattr(LogShippingCopy, "_due", one_by_one)
    results = [run_scenario(crash_of_the_copy(at_ms)) for at_ms in (300, 700)]
    assert Verdict.LIVENESS in {each.verdict for each in results}
    assert any("-543" in reason for each in results for reason in each.reasons)


def test_with_the_source_the_open_log_is_lost_and_nothing_else() -> None:
    runs: list[ScenarioRun] = []
    result = run_scenario(scenario(LOSS), at_end=runs.append)
    assert result.verdict is Verdict.PASS, result.reasons
    run = runs[0]
    assert isinstance(run.system, LogShippingSystem) and run.workload.ledger is not None
    truth, loss = run.system.truth, result.worst_loss
    closed_ns = truth.times_ns[truth.operation_of(truth.newest)]
    ledger = run.workload.ledger
    kept = ledger.acknowledged_before(closed_ns)
    assert loss is not None and loss.messages is not None and loss.messages > 0
    assert loss.messages <= ledger.loss(kept).messages, "all of closed logs is there"
    oldest_ns = ledger.loss(ledger.begun - loss.messages).oldest_acknowledged_ns
    assert oldest_ns is not None
    assert loss.seconds == pytest.approx(1.7 - oldest_ns / 1e9)
    assert {c.invariant for c in result.checks if c.occasion == FAILOVER} >= {
        "prefix",
        "mountable",
    }


def test_an_outage_fills_the_copy_queue_which_can_be_an_objective() -> None:
    result = run_scenario(scenario(OUTAGE, overrides=("objectives.copy_queue_peak=1",)))
    peaks = result.queue_peaks
    assert peaks is not None and peaks.copy_queue_logs >= 2
    assert peaks.copy_queue_bytes == peaks.copy_queue_logs << 16
    assert result.verdict is Verdict.OBJECTIVE
    assert "copy queue peak" in result.reasons[0]
    assert "to be copied" in resources_sentence(result)
    page = page_text(result)
    assert "copy queue at its peak" in page and "copy queue" in draw_run(result)
    assert result.samples.copy_queue_logs[-1] == 0, "it is drained at the end"
    assert len(result.samples.copy_queue_logs) == len(result.samples.time_seconds)


def test_the_replay_queue_is_part_of_the_time_to_recover() -> None:
    lagged = ("protection.log_shipping.replay_lag=1h", "protection.log_shipping.replay_per_log=5s")
    result = run_scenario(scenario(LOSS, overrides=lagged))
    assert result.verdict is Verdict.PASS, result.reasons
    peaks = result.queue_peaks
    assert peaks is not None and peaks.replay_queue_logs >= 3
    assert result.recovery is not None
    assert result.recovery.recover >= 5 * peaks.replay_queue_logs
    at_once = run_scenario(scenario(LOSS)).recovery
    assert at_once is not None and at_once.recover < 1


@pytest.mark.parametrize("when", ["apply", "checkpoint"])
def test_a_power_loss_of_the_copy_in_the_midst_of_it_is_made_good(when: str) -> None:
    fault = f'kind = "power_loss"\nhost = "replica"\nat = "500ms"\nwhen = "{when}"'
    result = run_scenario(scenario(fault))
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.faults[0].note == f"in {when}"


@pytest.mark.parametrize("calls", [7, 20, 33, 45])
def test_a_copy_that_has_no_log_yet_goes_on_with_the_one_of_its_seed(calls: int) -> None:
    """Its process dies in the midst of the activation, or of the mount that follows."""
    lost = 'kind = "loss"\nhost = "source"\nat = "60ms"'
    crash = f'kind = "process_crash"\nhost = "replica"\nat = "70ms"\ncalls = {calls}'
    result = run_scenario(scenario(lost, crash))
    assert result.verdict is Verdict.PASS, result.reasons


def test_restarts_of_the_source_change_nothing() -> None:
    crash = 'kind = "process_crash"\nhost = "source"\nat = "600ms"'
    power = 'kind = "power_loss"\nhost = "source"\nat = "1200ms"\nsurvive = "none"'
    result = run_scenario(scenario(crash, power))
    assert result.verdict is Verdict.PASS, result.reasons


def broken(guards: Guards, *faults: str, overrides: tuple[str, ...] = ()) -> list[str]:
    """What the bench says of a system without a rule."""

    def without(run: ScenarioRun) -> None:
        assert isinstance(run.system, LogShippingSystem)
        run.system.options = replace(run.system.options, safeguards=guards)

    found = run_scenario(scenario(*faults, overrides=overrides), at_start=without)
    return [] if found.verdict is Verdict.PASS else [found.verdict.value, *found.reasons]


def test_the_bench_finds_a_log_that_counts_before_its_sync() -> None:
    fault = 'kind = "power_loss"\nhost = "replica"\nat = "1200ms"\nsurvive = "none"'
    found = broken(Guards(sync_before_inspected=False), fault)
    assert found[0] == "safety" and "recovery of a copy failed" in found[1]


def test_the_bench_finds_a_served_open_log() -> None:
    found = broken(Guards(closed_logs_only=False), overrides=("settle=1s",))
    assert found and found[0] in ("safety", "liveness")


def test_the_bench_finds_logs_that_are_deleted_too_early() -> None:
    outage = 'kind = "link_outage"\nat = "200ms"\nduration = "1500ms"\ndirection = "to_source"'
    crash = 'kind = "pause"\nhost = "replica"\nat = "200ms"\nduration = "100ms"'
    lagging = Guards(keep_until_replayed=False)

    def without(run: ScenarioRun) -> None:
        assert isinstance(run.system, LogShippingSystem)
        options = run.system.options
        slow = replace(options.copy, replay_per_log_ns=0)
        run.system.options = replace(options, safeguards=lagging, copy=slow)

    # A copy that comes late: what it lacks is gone.
    result = run_scenario(
        scenario(outage, crash, overrides=("stream.checkpoint_depth=64KiB", "settle=1s")),
        at_start=without,
    )
    assert result.verdict is Verdict.LIVENESS and "seeded anew" in " ".join(result.reasons)


def test_a_copy_queue_that_is_told_too_short_is_a_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = LogQueue.report
    monkeypatch.setattr(LogQueue, "report", lambda queue: replace(honest(queue), copy_queue=0))
    result = run_scenario(
        scenario(OUTAGE, overrides=("link.bandwidth=1Mbit/s", "sample=100ms", "settle=2s"))
    )
    assert result.verdict is Verdict.SAFETY
    assert any("a copy queue of 0 logs is reported" in reason for reason in result.reasons)


@pytest.mark.parametrize("number", range(3))
def test_drawn_plans_bring_no_false_alarm(number: int) -> None:
    loaded = load_scenario(CAMPAIGN, ["duration=3s"])
    plan = draw_plan(f"log shipping {number}", space_of(loaded))
    assert not UNSUITABLE_FAULTS & {fault.kind for fault in plan.faults}
    result = prepare(loaded).run(plan.faults, fault_seed=plan.seed)
    assert result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), result.reasons


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("stream.format=small",), "Exchange 2007 or later"),
        (("stream.format=exchange 2003",), "Exchange 2007 or later"),
        (("replica.disk.sector=512",), "tear pages of the copy"),
        (("protection.kind=replicator",), "mean nothing to the reference replicator"),
    ],
)
def test_what_cannot_be_simulated_is_refused(overrides: tuple[str, ...], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        load_scenario(CAMPAIGN, list(overrides))


@pytest.mark.parametrize(
    "fault",
    [
        'kind = "failover"\nat = "1s"',
        'kind = "bit_rot"\nhost = "replica"\nwhere = "home"\nat = "1s"',
        'kind = "lost_flush"\nhost = "replica"\nat = "1s"\nduration = "1s"',
    ],
)
def test_faults_that_need_a_seed_are_refused(fault: str) -> None:
    with pytest.raises(BadInput, match=r"anew|parted"):
        scenario(fault)


@pytest.mark.parametrize("name", ["sequence_check", "engine_waypoint", "promoted_refuses"])
def test_mutants_of_the_replicator_are_none_of_log_shipping(name: str) -> None:
    with pytest.raises(BadInput):
        check_mutant(name, scenario())


@pytest.mark.parametrize("name", ["logship_closed_logs_only", "logship_keep_open_transactions"])
def test_rules_of_log_shipping_are_none_of_the_replicator(name: str) -> None:
    check_mutant(name, scenario())
    with pytest.raises(BadInput, match="this scenario does not have"):
        check_mutant(name, load_scenario(ROOT / "scenarios/campaign.toml"))


def test_the_live_world_has_no_log_shipping() -> None:
    with pytest.raises(BadInput, match="simulated only"):
        run_live(scenario())


SMALL_DATABASE = """
name = "a small database"
duration = "8m"
[stream]
kind = "store"
format = "exchange 2007"
messages = "1/s"
message_size = "32KiB"
mailboxes = 20
compressible = 0.0
database_size = "48MiB"
[protection]
kind = "log shipping"
[source.disk]
sector = 8192
[replica.disk]
sector = 8192
[link]
bandwidth = "4Mbit/s"
rtt = "50ms"
"""


@pytest.mark.full
def test_transactions_that_delete_go_over_the_end_of_many_logs() -> None:
    """Pages that one transaction holds back have changes of one that began a log before."""
    result = run_scenario(parse_scenario(SMALL_DATABASE))
    assert result.verdict is Verdict.PASS, result.reasons


@pytest.mark.full
def test_without_the_logs_of_transactions_that_were_open_the_copy_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = RestartPoint.end_of_run

    def forgets(restart: RestartPoint, first: int, last: int) -> int:
        restart._open_since = None
        return original(restart, first, last)

    monkeypatch.setattr(RestartPoint, "end_of_run", forgets)
    result = run_scenario(parse_scenario(SMALL_DATABASE))
    assert result.verdict is Verdict.SAFETY
    assert any("-566" in reason or "-528" in reason for reason in result.reasons)
