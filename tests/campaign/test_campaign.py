"""Campaigns: which plans are run, what is kept, and what happens when workers or people stop."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from replicator.errors import BadInput
from replicator.toml_writer import toml_text
from simulator.campaign import executors
from simulator.campaign import job as job_module
from simulator.campaign.campaign import Campaign, Limits, Progress, WorkersFailed
from simulator.campaign.executors import process_pool
from simulator.campaign.failures import save_failure
from simulator.campaign.job import (
    FAILING,
    BatchJob,
    PlanOutcome,
    plan_number,
    run_batch,
    unfinished_outcome,
)
from simulator.campaign.records import summary_document
from simulator.campaign.results import CampaignKey, Results, ResultsFailed
from simulator.campaign.summary import quantiles, verdicts
from simulator.measures import Verdict
from simulator.mutants import MUTANTS, mutant_named
from simulator.plans.draw import space_of
from simulator.plans.plan import FaultPlan
from simulator.run import ScenarioRun
from simulator.scenario import Scenario, load_scenario
from tests.campaign import commands
from tests.campaign.test_plans import SCENARIO, SPACE

CAMPAIGN = Path(__file__).resolve().parents[2] / "scenarios" / "campaign.toml"
SMALL = Path(__file__).with_name("small.toml")
# A shorter life still: what is tested here is the campaign.
SHORT = SCENARIO.model_copy(update={"duration_ns": 1_000_000_000, "faults": ()})
KEY = CampaignKey("short", toml_text(SHORT), 7, replace(SPACE, horizon_ns=1_000_000_000))


class InLine(Executor):
    """Runs each batch at once; every ``dies_at``-th one dies with its worker."""

    def __init__(self, dies: Callable[[BatchJob], bool] = lambda _job: False) -> None:
        self.jobs: list[BatchJob] = []
        self._dies = dies

    def submit(self, fn: Any, job: BatchJob) -> Future[Any]:  # type: ignore[override]
        self.jobs.append(job)
        future: Future[Any] = Future()
        if self._dies(job):
            future.set_exception(BrokenProcessPool("a worker died"))
        else:
            future.set_result(fn(job))
        return future


@contextmanager
def opened(executor: Executor) -> Iterator[Executor]:
    yield executor


def campaign(
    path: Path,
    limits: Limits,
    executor: Executor | None = None,
    key: CampaignKey = KEY,
    resume: bool = False,
    **more: Any,
) -> tuple[Campaign, Results]:
    results = Results(path, key, resume)
    pool = partial(opened, executor or InLine())
    return Campaign(key, results, pool, 1, limits, **more), results


def rows(results: Results) -> dict[int, tuple[str, str]]:
    frame = results.frame()
    return {int(r.number): (r.verdict, r.trace_hash) for r in frame.itertuples()}


def test_processes_give_what_one_process_gives(tmp_path: Path) -> None:
    one, results = campaign(tmp_path / "one.db", Limits(plans=14), batch_plans=4)
    assert one.run().done == 14
    expected = rows(results)
    assert sorted(expected) == list(range(14))
    others = Results(tmp_path / "two.db", KEY)
    two = Campaign(KEY, others, partial(process_pool, 2), 2, Limits(plans=14), batch_plans=3)
    two.run()
    assert rows(others) == expected


def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    first, results = campaign(path, Limits(plans=6), batch_plans=4)
    first.run()
    expected = rows(results)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM plans WHERE number IN (1, 4)")  # as if they had been underway
    results.close()
    with pytest.raises(BadInput, match="already") as caught:
        campaign(path, Limits(plans=8))
    assert "--resume" in str(caught.value.remedy)
    executor = InLine()
    second, results = campaign(path, Limits(plans=8), executor, resume=True, batch_plans=4)
    progress = second.run()
    assert (progress.before, progress.done) == (4, 4)
    assert [(job.first, job.count) for job in executor.jobs] == [(1, 1), (4, 1), (6, 1), (7, 1)]
    assert expected.items() <= rows(results).items()


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, seed=8),
        replace(KEY, space=replace(KEY.space, most=2)),
        replace(KEY, mutant="x"),
    ],
)
def test_results_of_another_campaign_are_not_mixed(tmp_path: Path, other: CampaignKey) -> None:
    Results(tmp_path / "results.db", KEY).close()
    with pytest.raises(BadInput, match="another campaign"):
        Results(tmp_path / "results.db", other, resume=True)


def test_what_is_no_file_of_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 50)
    with pytest.raises(BadInput, match="cannot be used"):
        Results(tmp_path / "text", KEY)
    with pytest.raises(BadInput, match="no such file"):
        Results(tmp_path / "nothing")


def test_it_ends_at_the_first_failure(tmp_path: Path) -> None:
    key = replace(KEY, mutant="sequence_check")
    ended, results = campaign(
        tmp_path / "r.db", Limits(plans=400, until_failure=True), key=key, batch_plans=1
    )
    progress = ended.run()
    assert 1 <= progress.failed <= 2  # two may be underway
    assert progress.done < 100
    failure = next(results.failures())
    assert failure.verdict is Verdict.SAFETY
    assert failure.plan.startswith("format = 1")


def test_a_lost_batch_is_run_again(tmp_path: Path) -> None:
    expected, results = campaign(tmp_path / "whole.db", Limits(plans=6), batch_plans=2)
    expected.run()
    died: set[int] = set()

    def dies_once(job: BatchJob) -> bool:
        first_time = job.first == 2 and job.first not in died
        died.add(job.first)
        return first_time

    again, others = campaign(
        tmp_path / "lost.db", Limits(plans=6), InLine(dies_once), batch_plans=2
    )
    assert again.run().lost_workers >= 1
    assert rows(others) == rows(results)


def test_a_plan_that_kills_its_worker_is_named(tmp_path: Path) -> None:
    def dies(job: BatchJob) -> bool:
        return job.first <= 3 < job.first + job.count

    killed, results = campaign(tmp_path / "r.db", Limits(plans=6), InLine(dies), batch_plans=3)
    killed.run()
    [failure] = results.failures()
    assert failure.number == 3
    assert "ended its worker" in failure.reasons[0]
    assert len(rows(results)) == 6


def test_workers_that_die_at_once_are_an_error(tmp_path: Path) -> None:
    broken, _ = campaign(tmp_path / "r.db", Limits(plans=6), InLine(lambda _job: True))
    with pytest.raises(WorkersFailed) as caught:
        broken.run()
    assert "simulator run" in str(caught.value.remedy)


def test_a_real_worker_that_is_killed_costs_nothing_but_its_batch(tmp_path: Path) -> None:
    whole, expected = campaign(tmp_path / "whole.db", Limits(plans=12), batch_plans=2)
    whole.run()
    pools: list[Any] = []
    killed: list[int] = []

    @contextmanager
    def pool() -> Iterator[Executor]:
        with process_pool(1) as processes:
            pools.append(processes)
            yield processes

    def kill_one(_progress: Progress) -> None:
        if not killed:
            killed.append(next(iter(pools[0]._processes)))
            os.kill(killed[0], signal.SIGKILL)

    results = Results(tmp_path / "killed.db", KEY)
    run = Campaign(KEY, results, pool, 1, Limits(plans=12), kill_one, batch_plans=2)
    assert run.run().lost_workers >= 1
    assert len(pools) > 1
    assert rows(results) == rows(expected)


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [
        int(word)
        for word in text.split()
        if b"spawn_main" in Path(f"/proc/{word}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.full)]
)
def test_workers_end_with_their_campaign_however_that_ends(tmp_path: Path, how: int) -> None:
    command = [sys.executable, "-m", "simulator.cli", "campaign", str(CAMPAIGN)]
    command += ["--plans", "100000", "--workers", "2", "--results", str(tmp_path / "r.db")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(command, **quiet)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 60
        while len(workers := children_of(running.pid)) < 2:
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.05)
    finally:
        running.send_signal(how)
        running.wait(60)
    while left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail("workers were left")
        time.sleep(0.05)


def test_a_run_that_ends_by_an_error_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, count = ScenarioRun.run, 0

    def fails_once(self: ScenarioRun, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyError("a defect of the bench")
        return run(self, *arguments)

    monkeypatch.setattr(ScenarioRun, "run", fails_once)
    done, results = campaign(tmp_path / "r.db", Limits(plans=6), batch_plans=6, repeat_every=0)
    assert done.run().failed == 1
    [failure] = results.failures()
    assert (failure.number, failure.verdict) == (2, Verdict.INCONCLUSIVE)
    assert "KeyError('a defect of the bench')" in failure.reasons[0]
    assert len(rows(results)) == 6
    saved = save_failure(SHORT, failure, KEY.space, tmp_path)
    assert saved.test_path is saved.timeline_path is None
    assert load_scenario(saved.scenario_path).faults == saved.plan.faults


@pytest.mark.parametrize(
    ("endless", "words"), [("time", "RunsTooLong('no end after"), ("memory", "MemoryError")]
)
def test_a_run_without_end_is_ended_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endless: str, words: str
) -> None:
    run = ScenarioRun.run

    def runs_on(self: ScenarioRun, *arguments: Any) -> Any:
        if self.scenario.fault_seed == plan_number(7, 1, KEY.space).seed:
            if endless == "memory":
                raise MemoryError
            while True:
                pass
        return run(self, *arguments)

    monkeypatch.setattr(ScenarioRun, "run", runs_on)
    monkeypatch.setattr(job_module, "LONGEST_SECONDS", -0.5)
    done, results = campaign(tmp_path / "r.db", Limits(plans=3), batch_plans=3, repeat_every=0)
    assert done.run().failed == 1
    [failure] = results.failures()
    assert (failure.number, failure.verdict) == (1, Verdict.INCONCLUSIVE)
    assert words in failure.reasons[0]
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL


def test_a_worker_has_a_share_of_the_memory_and_no_more(tmp_path: Path) -> None:
    with process_pool(1) as pool:
        assert pool.submit(eval, "len(bytes(1 << 20))").result() == 1 << 20
        with pytest.raises(MemoryError):
            pool.submit(eval, "len(bytes(1 << 34))").result()


@pytest.mark.parametrize("underway", [0, 1, 20])
def test_a_pool_that_ends_leaves_neither_processes_nor_threads(underway: int) -> None:
    """A thread that is left would be woken at the end of the program, while it ends itself."""
    before = set(threading.enumerate())
    with process_pool(2) as pool:
        assert pool.submit(pow, 2, 3).result() == 8
        left = [pool.submit(time.sleep, 600) for _ in range(underway)]
    assert set(threading.enumerate()) <= before
    assert not children_of(os.getpid())
    assert all(each.done() for each in left)
    assert all(each.cancelled() or each.exception() for each in left), "none was waited for"


def test_a_pool_ends_though_a_worker_died_while_it_sent_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "_PATIENCE_SECONDS", 0.2)
    with process_pool(1) as pool:
        pool.submit(pow, 2, 3).result()
        # The head of a message of 1,000 bytes, which never come.
        sending: Any = pool
        os.write(sending._result_queue._writer.fileno(), (1000).to_bytes(4))
        time.sleep(0.2)
    assert not children_of(os.getpid())


def test_a_file_of_results_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    _, results = campaign(tmp_path / "r.db", Limits(plans=2))
    with sqlite3.connect(tmp_path / "r.db") as other:
        other.execute("DROP TABLE plans")
    with pytest.raises(ResultsFailed, match="cannot be kept") as caught:
        results.add(run_batch(BatchJob(KEY.scenario_text, 7, KEY.space, 0, 1)))
    assert "--resume" in str(caught.value.remedy)


def test_a_share_of_the_plans_is_run_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice, results = campaign(tmp_path / "r.db", Limits(plans=6), batch_plans=6, repeat_every=3)
    twice.run()
    assert [bool(each) for each in results.frame()["repeated"]] == [True, False, False] * 2
    hashes = iter(f"{n:032x}" for n in range(100))
    run = ScenarioRun.run

    def changed(self: ScenarioRun, *arguments: Any) -> Any:
        result = run(self, *arguments)
        result.trace_hash = next(hashes)
        return result

    monkeypatch.setattr(ScenarioRun, "run", changed)
    [one, *_] = run_batch(BatchJob(KEY.scenario_text, 7, KEY.space, 0, 3, 3))
    assert one.verdict is Verdict.SAFETY
    assert "another trace" in one.reasons[0]
    saved = save_failure(SHORT, one, KEY.space, tmp_path)
    recorded = load_scenario(saved.scenario_path).recorded
    assert recorded is not None and recorded.verdict == "safety"
    assert saved.test_path is not None
    space: dict[str, Any] = {"__file__": str(saved.test_path)}
    exec(compile(saved.test_path.read_text(), "saved", "exec"), space)
    [test] = [value for name, value in space.items() if name.startswith("test_")]
    with pytest.raises(AssertionError):
        test()


def test_the_summary_tells_what_the_rows_say(tmp_path: Path) -> None:
    done, results = campaign(tmp_path / "r.db", Limits(plans=40), batch_plans=10)
    done.run()
    frame = results.frame()
    document = summary_document(results)
    assert document["plans"] == sum(document["verdicts"].values()) == 40
    assert verdicts(frame)["pass"] == 40, document["failures"]
    [median] = [
        q
        for q in quantiles(frame)
        if (q.measure, q.fault, q.quantile) == ("rpo_seconds", "all", 0.5)
    ]
    values = frame["rpo_seconds"].dropna()
    assert median.value == pytest.approx(values.median())
    assert median.low is not None and median.high is not None
    assert median.low <= median.value <= median.high
    # Of forty runs nobody can say how the worst one of a hundred is.
    [rare] = [
        q
        for q in quantiles(frame)
        if (q.measure, q.fault, q.quantile) == ("rpo_seconds", "all", 0.99)
    ]
    assert rare.high is None


def test_a_saved_failure_is_seen_again_bit_for_bit(tmp_path: Path) -> None:
    mutant = "journal_before_apply"
    job = BatchJob(toml_text(SCENARIO), 1, SPACE, 0, 30, 0, mutant)
    failure = next(each for each in run_batch(job) if each.failed)
    saved = save_failure(SCENARIO, failure, SPACE, tmp_path, mutant)
    loaded = load_scenario(saved.scenario_path)
    assert loaded.recorded is not None
    safeguards = mutant_named(mutant).safeguards
    again = ScenarioRun(loaded, safeguards=safeguards).run()
    assert again.trace_hash == loaded.recorded.trace_hash == saved.outcome.trace_hash
    assert again.verdict.value == loaded.recorded.verdict == "safety"
    assert len(loaded.faults) <= saved.faults_before
    assert "safety" in saved.timeline_path.read_text()
    compile(saved.test_path.read_text(), str(saved.test_path), "exec")


QUICK = [
    "journal_before_apply",
    "sync_before_acknowledge",
    "apply_in_order",
    "barrier_at_names",
    "sequence_check",
    "stable_file_ids",
    "home_synced_before_checkpoint",
    "journal_freed_by_checkpoint",
    "slots_synced",
    "all_differences_sent",
    "redo_after_restart",
    "lag_upper_bound",
    "reconnects",
    "engine_flush_at_commit",
    "engine_log_before_pages",
]
QUICK_OF_THE_SMALL_STORE = [
    "store_sync_log_before_commit",
    "store_sync_pages_before_checkpoint",
]


@pytest.mark.parametrize(
    ("mutant", "scenario"),
    [
        *((name, SCENARIO) for name in QUICK),
        *((name, load_scenario(SMALL)) for name in QUICK_OF_THE_SMALL_STORE),
    ],
    ids=[*QUICK, *QUICK_OF_THE_SMALL_STORE],
)
def test_a_mutant_is_killed_by_the_first_plans(mutant: str, scenario: Scenario) -> None:
    text, space = toml_text(scenario), space_of(scenario)
    for number in range(100):
        [outcome] = run_batch(BatchJob(text, 1, space, number, 1, 0, mutant))
        if outcome.failed:
            assert outcome.verdict in FAILING, outcome.reasons  # an error would prove nothing
            return
    raise AssertionError(f"{mutant} lives after a hundred plans")


def test_names_of_mutants_are_distinct_and_checked() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    with pytest.raises(BadInput, match="no mutant 'nonsense'"):
        mutant_named("nonsense")


def two_threads_of_one_process(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many plans run at a time when two batches come to one worker."""
    barrier, at_a_time = threading.Barrier(2), 0
    patience_seconds = 30.0 if isinstance(job_module._ALONE, nullcontext) else 0.2

    def watched(_scenario: object, plan: FaultPlan, number: int, *_more: object) -> PlanOutcome:
        nonlocal at_a_time
        try:
            barrier.wait(timeout=patience_seconds)
            at_a_time = 2
        except threading.BrokenBarrierError:
            at_a_time = max(1, at_a_time)
        return unfinished_outcome(plan, number, "", 0.0)

    monkeypatch.setattr(job_module, "run_plan", watched)
    jobs = [BatchJob(KEY.scenario_text, 7, KEY.space, first, 1) for first in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(run_batch, jobs))) == 2
    return at_a_time


def test_a_process_runs_one_plan_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage, mutants and what is known are the process's: a worker of Dask has many threads."""
    assert two_threads_of_one_process(monkeypatch) == 1


def test_without_its_lock_it_would_run_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "_ALONE", nullcontext())
    assert two_threads_of_one_process(monkeypatch) == 2


def test_replay_holds_the_verdict_against_the_record_as_a_campaign_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.db"
    some, results = campaign(path, Limits(plans=12))
    some.run()
    passed = (results.outcome(number) for number in range(12))
    idle = next(o for o in passed if o and o.never_happened and o.verdict is Verdict.PASS)
    results.close()
    done = commands.run(capsys, "replay", path, "--number", idle.number)
    assert (done.code, "bit for bit" in done.out) == (0, True), "its fault without occasion is none"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE plans SET verdict = 'safety' WHERE number = ?", (idle.number,))
    done = commands.run(capsys, "replay", path, "--number", idle.number)
    assert (done.code, "the verdict was safety" in done.out) == (2, True)
