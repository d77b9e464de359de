"""A batch of plans, run in a worker; what it needs and what it gives can be sent anywhere.

A batch says which plans by their numbers alone: a plan is a pure function of the campaign's
seed and its number, so a lost batch is simply run again, by whomever.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Final, NoReturn

from replicator.errors import BadInput
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.campaign.coverage import CoverageRecorder, cell_text, watching
from simulator.campaign.divergence import first_divergence
from simulator.measures import RunResult, Verdict
from simulator.mutants import mutated
from simulator.objectives import missed_objectives
from simulator.plans.draw import PlanSpace, draw_plan
from simulator.plans.enumeration import Enumeration
from simulator.plans.plan import FaultPlan, plan_text, planned
from simulator.prepared import PreparedScenario, prepare
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario

Space = PlanSpace | Enumeration
"""Which plans there are: drawn ones, or all of a small scope."""

LONGEST_SECONDS: Final = 60.0
"""So much longer than its scenario a run may take, in processor time: on a busy machine a run
takes longer and is the same run.  It takes a small part of it."""
SECOND_NS: Final = 1_000_000_000
NOT_REPEATABLE: Final = "the same plan gave another trace"
JUDGED_OTHERWISE: Final = "the same plan with the same trace gave another record"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """Plans number ``first`` to ``first + count - 1``.

    Arguments
    ---------
    scenario_text: the scenario as TOML.
    repeat_every: of so many plans one is run twice, and the traces compared; 0: none.
    mutant: which rule is taken away (:mod:`simulator.mutants`); empty: none.
    """

    scenario_text: str
    campaign_seed: int
    space: Space
    first: int
    count: int
    repeat_every: int = 0
    mutant: str = ""


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """What a campaign keeps of one run."""

    number: int
    verdict: Verdict
    reasons: tuple[str, ...]
    trace_hash: str
    kinds: tuple[str, ...]
    """Of the plan's faults, each once."""
    happened: tuple[str, ...]
    """Kinds of faults that really happened, each once."""
    never_happened: int
    """Faults that had no occasion, or that waited for an activity in vain."""
    rpo_seconds: float | None
    rpo_messages: int | None
    rto_seconds: float | None
    spool_peak_bytes: int
    journal_peak_bytes: int
    lag_peak_seconds: float
    operations: int
    resynchronizations: int
    simulated_seconds: float
    wall_seconds: float
    repeated: bool = False
    covered: str = ""
    """Transitions of the protocol by kind of fault, as coverage.cell_text writes them."""
    marks: tuple[str, ...] = ()
    """What really happened (:mod:`simulator.campaign.marks`)."""
    plan: str = field(default="", compare=False)
    """The plan as TOML, of those that somebody has to look at: the others are drawn again from
    their number."""

    @property
    def failed(self) -> bool:
        """Whether somebody has to look at it."""
        return bool(self.plan)

    @property
    def ended_by_error(self) -> bool:
        """Whether the bench itself failed: there is no record of the run, and it proves nothing."""
        return not self.trace_hash


FAILING: Final = frozenset({Verdict.SAFETY, Verdict.LIVENESS, Verdict.OBJECTIVE})
"""A run that proves nothing has to be looked at as well: it ended by an error, or in mid-air."""


def must_recover(space: Space) -> bool:
    """Whether each plan lies within a budget that nothing may be lost for good under."""
    return space.budget is not None and space.budget.must_recover


def plans_of(space: Space) -> int | None:
    """How many plans there are; None for no end of them."""
    return space.plans if isinstance(space, Enumeration) else None


def plan_number(job_seed: int, number: int, space: Space) -> FaultPlan:
    """The plan of a campaign with this number."""
    if isinstance(space, Enumeration):
        return space.plan(number)
    return draw_plan(f"campaign {job_seed} plan {number}", space)


_ALONE: AbstractContextManager[object] = threading.Lock()


def run_batch(job: BatchJob) -> list[PlanOutcome]:
    """Run the plans of a batch, one after the other, and no other batch of this process meanwhile.

    What looks on at a run, what earlier runs have found out, and a rule that is taken away belong
    to the process.  A worker of Dask has a thread for each processor unless told otherwise.
    """
    with _ALONE:
        return _run_batch(job)


def _run_batch(job: BatchJob) -> list[PlanOutcome]:
    scenario = _prepared(job.scenario_text, job.mutant)
    outcomes: list[PlanOutcome] = []
    with mutated(job.mutant) as safeguards:
        for number in range(job.first, job.first + job.count):
            plan = plan_number(job.campaign_seed, number, job.space)
            repeat = bool(job.repeat_every) and number % job.repeat_every == 0
            strict = must_recover(job.space)
            outcomes.append(run_plan(scenario, plan, number, repeat, safeguards, strict))
    return outcomes


@lru_cache(maxsize=4)
def _prepared(text: str, _mutant: str) -> PreparedScenario:
    """What is known of the runs of one mutant is nothing to another."""
    return prepare(parse_scenario(text))


def run_plan(
    scenario: PreparedScenario,
    plan: FaultPlan,
    number: int,
    repeat: bool,
    safeguards: Safeguards = ALL_SAFEGUARDS,
    strict: bool = False,
) -> PlanOutcome:
    """Run a scenario under a plan.

    Arguments
    ---------
    repeat: run it twice; another trace the second time is a breach by itself, and so is another
        record of the same trace.
    strict: what cannot be recovered is a failure, too: the plan lies within a budget.

    A run that ends by an error is an outcome, too: a defect of the bench must not cost a night's
    other plans.  Raises BadInput.
    """
    started = time.perf_counter()
    reason = ""
    try:
        with _at_most(LONGEST_SECONDS + scenario.scenario.duration_ns / SECOND_NS):
            result, recorder = _run(scenario, plan, repeat, safeguards)
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 it is told, with the plan that gave it
        reason = f"the run ended by an error: {error!r}"
    if reason:
        gc.collect()  # a run without end has taken whatever memory there was
        return unfinished_outcome(plan, number, reason, time.perf_counter() - started)
    wall_seconds = time.perf_counter() - started
    return _outcome(result, recorder, plan, number, repeat, wall_seconds, strict)


class RunsTooLong(Exception):
    """A run takes longer than any that comes to an end."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises RunsTooLong inside when that much processor time is used up; in the main thread only,
    as signals are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(_number: int, _frame: object) -> NoReturn:
        raise RunsTooLong(f"no end after {seconds:.0f} s of processor time")

    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _run(
    scenario: PreparedScenario, plan: FaultPlan, repeat: bool, safeguards: Safeguards
) -> tuple[RunResult, CoverageRecorder | None]:
    with watching() as watch:
        result = scenario.run(plan.faults, None, safeguards, plan.seed, watch.attach)
    if repeat:
        # This time nothing is taken from earlier runs.
        again = ScenarioRun(planned(scenario.scenario, plan), safeguards=safeguards).run()
        if again.trace_hash != result.trace_hash:
            found = first_divergence(scenario, plan, safeguards)
            where = "two more runs of it were the same" if found is None else found.words
            result.reasons.insert(0, f"{NOT_REPEATABLE}: {where}")
            result.verdict = Verdict.SAFETY
        elif other := _differing(result, again):
            # What judges is no part of the trace: what it took over from earlier runs may be wrong.
            result.reasons.insert(0, f"{JUDGED_OTHERWISE}: {', '.join(other)} differ")
            result.verdict = Verdict.SAFETY
    return result, watch.recorder


def _differing(one: RunResult, other: RunResult) -> list[str]:
    """Names of the fields in which two records differ, the time that a run took apart."""
    other = replace(other, wall_seconds=one.wall_seconds)
    return [f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name)]


def settled(result: RunResult) -> tuple[Verdict, tuple[str, ...]]:
    """Verdict and reasons as a campaign counts them: faults without an occasion are none.

    Drawn plans have many of those, and what else the run has shown stands.
    """
    idle = set(result.never_happened)
    reasons = tuple(reason for reason in result.reasons if reason not in idle)
    if not reasons:
        return Verdict.PASS, ()
    if result.verdict is Verdict.INCONCLUSIVE and set(reasons) <= set(missed_objectives(result)):
        return Verdict.OBJECTIVE, reasons
    return result.verdict, reasons


def _outcome(
    result: RunResult,
    recorder: CoverageRecorder | None,
    plan: FaultPlan,
    number: int,
    repeated: bool,
    wall_seconds: float,
    strict: bool,
) -> PlanOutcome:
    verdict, reasons = settled(result)
    failed = verdict in {*FAILING, Verdict.INCONCLUSIVE}
    failed |= strict and verdict is Verdict.UNRECOVERABLE
    worst = result.worst_loss
    return PlanOutcome(
        number=number,
        verdict=verdict,
        reasons=reasons,
        trace_hash=result.trace_hash,
        kinds=tuple(sorted({fault.kind for fault in plan.faults})),
        happened=tuple(sorted({mark.kind for mark in result.faults})),
        never_happened=len(result.never_happened),
        rpo_seconds=result.rpo_seconds,
        rpo_messages=None if worst is None else worst.messages,
        rto_seconds=result.rto_seconds,
        spool_peak_bytes=result.spool_peak_bytes,
        journal_peak_bytes=result.journal_peak_bytes,
        lag_peak_seconds=max(result.samples.lag_seconds, default=0.0),
        operations=result.operations,
        resynchronizations=result.resynchronizations,
        simulated_seconds=result.simulated_seconds,
        wall_seconds=wall_seconds,
        repeated=repeated,
        covered="" if recorder is None else cell_text(recorder.covered()),
        marks=() if recorder is None else recorder.marks.reached(result),
        plan=plan_text(plan) if failed else "",
    )


def unfinished_outcome(
    plan: FaultPlan, number: int, reason: str, wall_seconds: float
) -> PlanOutcome:
    """The outcome of a run that gave no record: it proves nothing, and is to be looked at."""
    return PlanOutcome(
        number=number,
        verdict=Verdict.INCONCLUSIVE,
        reasons=(reason,),
        trace_hash="",
        kinds=tuple(sorted({fault.kind for fault in plan.faults})),
        happened=(),
        never_happened=0,
        rpo_seconds=None,
        rpo_messages=None,
        rto_seconds=None,
        spool_peak_bytes=0,
        journal_peak_bytes=0,
        lag_peak_seconds=0.0,
        operations=0,
        resynchronizations=0,
        simulated_seconds=0.0,
        wall_seconds=wall_seconds,
        plan=plan_text(plan),
    )
