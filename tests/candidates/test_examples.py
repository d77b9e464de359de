"""The examples: copiers lose write order within a few plans, honest replicators never do."""

from __future__ import annotations

import gc
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from replicator.runtime.port import File, write_all
from simulator.counted_truth import CountedTruth
from simulator.kept_files import keep_files
from simulator.measures import RunResult, Verdict
from simulator.plans.draw import draw_plan, space_of
from simulator.prepared import prepare
from simulator.report import render_report
from simulator.report.record import result_text
from simulator.report.timeline import timeline_page
from simulator.run import run_scenario
from simulator.scenario import load_scenario
from simulator.timeline import record_timeline
from tests.candidates.scenes import EXAMPLES, ROOT

COPIERS = ("rsync", "copy_command", "naive_copier", "naive_program")
HONEST = ("shipper", "own_replicator")
PLANS = 3


def needs(name: str) -> None:
    if name == "rsync" and shutil.which("rsync") is None:
        pytest.skip("there is no rsync here")


def run_plans(name: str, count: int) -> list[RunResult]:
    """The first plans of a campaign."""
    path = EXAMPLES / f"{name}.toml" if name != "campaign" else ROOT / "scenarios/campaign.toml"
    scenario = load_scenario(path)
    prepared = prepare(scenario)
    plans = [draw_plan(f"campaign 1 plan {n}", space_of(scenario)) for n in range(count)]
    return [prepared.run(plan.faults, fault_seed=plan.seed) for plan in plans]


def serious(result: RunResult) -> bool:
    return result.verdict in (Verdict.SAFETY, Verdict.LIVENESS)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.full] if name == "copy_command" else [])
        for name in COPIERS
    ],
)
def test_a_copier_loses_write_order_within_a_few_plans(name: str) -> None:
    needs(name)
    results = run_plans(name, PLANS)
    broken = [r for r in results if any("prefix is broken" in text for text in r.reasons)]
    assert broken
    said = " ".join(broken[0].reasons)
    assert "the image is none that the source ever had: /" in said
    assert "the store's own mount of it" in said


@pytest.mark.parametrize("name", [*HONEST, "campaign"])
def test_the_same_plans_break_no_honest_replicator(name: str) -> None:
    results = run_plans(name, 12)
    assert not [r.reasons for r in results if serious(r)]
    assert any(r.faults for r in results)
    assert sum(len(r.checks) for r in results) > 100


@pytest.mark.full
@pytest.mark.parametrize("name", [*HONEST, "campaign"])
def test_many_plans_break_no_honest_replicator(name: str) -> None:
    assert not [r.reasons for r in run_plans(name, 400) if serious(r)]


# What our own replicator reports as a candidate is no promise that the bench has heard.
WITH_AN_OLD_COPY = """
    {kind="slow_processor", host="replica", at="200ms", duration="30ms", factor=100},
    {kind="replica_restored", at="1230ms", age="10ms"},
    {kind="power_loss", host="replica", at="2020ms", survive="all", when="apply"},
"""
# Killed between the replica's commit of the first copy and the word of it.
KILLED_EARLY = '{kind="process_crash", host="source", at="30ms"}'
# Killed within a write, which its tap carries out before the programs are let in again.
KILLED_IN_A_WRITE = '{kind="process_crash", host="source", at="3100ms", calls=61}'


def own_replicator(faults: str) -> RunResult:
    scenario = load_scenario(EXAMPLES / "own_replicator.toml", [f"faults=[{faults}]"])
    return prepare(scenario).run(scenario.faults, fault_seed=665655981)


@pytest.mark.parametrize("faults", [WITH_AN_OLD_COPY, KILLED_EARLY, KILLED_IN_A_WRITE])
def test_an_honest_replicator_is_not_called_broken(faults: str) -> None:
    result = own_replicator(faults)
    assert result.verdict is Verdict.PASS, result.reasons
    assert any(check.occasion == "end of run" for check in result.checks)


def test_a_bench_that_does_not_see_what_a_tap_puts_right_calls_it_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CountedTruth, "tapped", lambda _truth: None)
    result = own_replicator(KILLED_IN_A_WRITE)
    assert result.verdict is Verdict.SAFETY
    assert "lacks operation 249" in result.reasons[0]


def test_a_tap_that_puts_right_what_was_not_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It carries out the call that was cut short with other bytes than the program gave it."""

    def wrongly(file: File, offset: int, data: bytes) -> int:
        return write_all(file, offset, data[::-1])

    monkeypatch.setattr("replicator.capture.write_all", wrongly)
    result = own_replicator(KILLED_IN_A_WRITE)
    assert result.verdict is Verdict.SAFETY
    assert any("the tap changed more of their files" in reason for reason in result.reasons)


def test_a_candidate_killed_before_its_first_step_leaves_nothing_behind() -> None:
    """The programs of the same process come first, and die in their first storage call."""
    faults = """
        {kind="process_crash", host="source", at="610ms"},
        {kind="process_crash", host="source", at="920ms", calls=1},
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run_scenario(load_scenario(EXAMPLES / "shipper.toml", [f"faults=[{faults}]"]))
        gc.collect()
    assert result.verdict is Verdict.PASS, result.reasons
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("name", ["rsync", "naive_program", "shipper"])
def test_a_run_can_be_repeated(name: str) -> None:
    needs(name)
    scenario = load_scenario(EXAMPLES / f"{name}.toml", ["duration=1s", "settle=1s"])
    hashes = {run_scenario(scenario).trace_hash for _ in range(2)}
    assert len(hashes) == 1


def test_what_cannot_be_judged_is_said_and_not_counted(tmp_path: Path) -> None:
    scenario = load_scenario(EXAMPLES / "shipper.toml", ["duration=1s"])
    result = run_scenario(scenario)
    assert result.verdict is Verdict.PASS
    assert {c.invariant for c in result.checks} == {"prefix", "mountable"}
    assert set(result.not_judged) == {
        "honest telemetry",
        "capture is complete",
        "durable means durable",
        "one source",
    }
    assert '"not_judged"' in result_text(result)
    page = render_report(result, tmp_path).read_text()
    assert page.count("Not judged, and counted neither as held nor as broken") == 4
    ours = run_scenario(load_scenario(ROOT / "scenarios/campaign.toml", ["duration=1s"]))
    assert ours.not_judged == {}


def test_a_failover_recovers_the_candidates_image() -> None:
    loss = 'faults=[{kind="loss", host="source", at="3s"}]'
    result = run_scenario(load_scenario(EXAMPLES / "shipper.toml", [loss]))
    assert result.verdict is Verdict.PASS
    assert result.recovery is not None and result.recovery.decide == 600
    assert result.rpo_seconds is not None and result.rpo_seconds < 1
    assert {c.occasion for c in result.checks} >= {"failover"}


def test_a_sync_that_fails_while_the_store_mounts_is_no_end_of_the_failover() -> None:
    """The process ends, as of any sync that failed, and its next start goes on."""
    faults = (
        'faults=[{kind="loss", host="source", at="80ms"}, '
        '{kind="sync_failure", host="replica", at="110ms"}]'
    )
    result = run_scenario(load_scenario(EXAMPLES / "shipper.toml", [faults]))
    assert {mark.kind for mark in result.faults} == {"loss", "sync_failure", "process_crash"}
    assert result.verdict is Verdict.PASS and result.recovery is not None


def test_a_power_loss_cuts_a_pass_in_two() -> None:
    """And the page shows why: the passes, both operations, what the image lacks."""
    fault = 'faults=[{kind="power_loss", host="replica", at="1s", when="apply"}]'
    scenario = load_scenario(EXAMPLES / "naive_copier.toml", [fault])
    result, timeline = record_timeline(scenario)
    assert result.verdict is Verdict.SAFETY
    assert [mark.kind for mark in result.faults] == ["power_loss"]
    assert any(e.word == "pass" for e in timeline.events("source", "activity"))
    frames = list(timeline.events("source->replica", "frames"))
    assert {e.word for e in frames} == {"data"}
    page = timeline_page(timeline, result)
    assert "which the image lacks" in page and "which the image has" in page
    assert "what the source does" in page


def test_a_claim_must_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = load_scenario(EXAMPLES / "shipper.toml", ["duration=1s"])
    from simulator.candidates import loading

    made: Any = loading.check_class(scenario.candidate.class_)

    async def claim(self: Any, runtime: Any, volume: Any, site: Any) -> tuple[int, int]:
        return wrong(site.operation())

    monkeypatch.setattr(made, "claim", claim, raising=False)
    results = []
    for change in (0, 3):

        def wrong(newest: tuple[int, int], change: int = change) -> tuple[int, int]:
            return newest[0], max(0, newest[1] - change)

        results.append(run_scenario(scenario))
    # A synchronous shipper has all at a quiet instant, and never what was three calls before.
    assert any("the replica claims operation" in text for text in results[1].reasons)
    ends = [[c for c in r.checks if c.occasion == "end of run" and not c.holds] for r in results]
    assert not ends[0] and ends[1]


def test_kept_files_of_a_candidate_are_all_of_its_disks(tmp_path: Path) -> None:
    ended: list[Any] = []
    scenario = load_scenario(EXAMPLES / "shipper.toml", ["duration=1s"])
    run_scenario(scenario, at_end=ended.append)
    kept = keep_files(ended[0], tmp_path / "kept", lambda _done, _all: None)
    assert (kept["replica"] / "replica" / "log").is_file()  # type: ignore[operator]
    assert (kept["source"] / "store" / "priv1.edb").is_file()  # type: ignore[operator]


def test_nothing_is_left_behind_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scenario = load_scenario(EXAMPLES / "copy_command.toml", ["duration=1s", "settle=1s"])
    run_scenario(scenario)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_reading_file_by_file_sees_more_than_one_instant() -> None:
    """Carried out in no time and read as one instant, a copy is never wrong; read slowly, it is."""
    quick = ["link.bandwidth=10Gbit/s", "link.rtt=0ms", "replica.disk.profile=instant"]
    quick += ["candidate.fsync=each pass", "candidate.every=90ms"]
    renewed = "rm -rf {replica}/*; cp -a {source}/. {replica}"
    quick += [f'candidate.command=["sh", "-c", "{renewed}"]']
    instant = run_scenario(load_scenario(EXAMPLES / "copy_command.toml", quick))
    slow = [*quick, 'candidate.reads="file by file"', "candidate.read_rate=2MB/s"]
    smeared = run_scenario(load_scenario(EXAMPLES / "copy_command.toml", slow))

    def mixed(result: RunResult) -> int:
        return sum("none that the source ever had" in c.detail for c in result.checks)

    assert mixed(smeared) > mixed(instant)


def test_the_scenario_survives_being_written_and_read_again() -> None:
    """As a campaign hands it to its workers, and as a failure is kept."""
    from replicator.toml_writer import toml_text
    from simulator.scenario import parse_scenario

    for path in sorted(EXAMPLES.glob("*.toml")):
        needs(path.stem)
        scenario = load_scenario(path)
        assert parse_scenario(toml_text(scenario)) == scenario
