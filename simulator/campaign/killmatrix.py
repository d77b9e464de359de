"""The kill matrix: which mutant is found by how many plans, under which kinds of faults.

Each mutant (:mod:`simulator.mutants`) is given the plans of one campaign in their order until
one fails.  The plan that found it is then shrunk, and the kinds of faults that are left are the
ones it took: a rule that is found without any fault is broken in plain sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Final

from simulator.campaign.failures import shrink_failure
from simulator.campaign.job import FAILING, BatchJob, PlanOutcome, run_batch
from simulator.mutants import Mutant, mutant_named, mutants_for
from simulator.plans.draw import PlanSpace
from simulator.scenario import parse_scenario

KILL_MATRIX_SCHEMA: Final = "simulator-killmatrix/1"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant."""

    name: str
    meaning: str
    killed: bool
    plans: int
    """Run until it was found; all of them when it was not."""
    verdict: str
    reason: str
    kinds: tuple[str, ...]
    """Kinds of faults in the shrunk plan that finds it; empty when none is needed."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutant and the campaign that it has to survive."""

    scenario_text: str
    campaign_seed: int
    space: PlanSpace
    mutant: str
    most_plans: int


def try_mutant(trial: Trial) -> Fate:
    """Run plans until one fails; in a worker."""
    mutant = mutant_named(trial.mutant)
    for number in range(trial.most_plans):
        job = BatchJob(
            trial.scenario_text, trial.campaign_seed, trial.space, number, 1, 0, mutant.name
        )
        [outcome] = run_batch(job)
        if outcome.verdict in FAILING:
            return _killed(trial, mutant, outcome)
    return Fate(mutant.name, mutant.meaning, False, trial.most_plans, "", "", ())


def _killed(trial: Trial, mutant: Mutant, outcome: PlanOutcome) -> Fate:
    scenario = parse_scenario(trial.scenario_text)
    plan, shrunk, _runs = shrink_failure(scenario, outcome, trial.space, mutant.name)
    return Fate(
        mutant.name,
        mutant.meaning,
        True,
        outcome.number + 1,
        shrunk.verdict.value,
        shrunk.reasons[0],
        tuple(sorted({fault.kind for fault in plan.faults})),
    )


def kill_matrix(
    pool: Executor,
    scenario_text: str,
    seed: int,
    space: PlanSpace,
    most_plans: int,
    mutants: Sequence[Mutant] | None = None,
    on_fate: Callable[[Fate], None] = lambda _fate: None,
) -> list[Fate]:
    """Try mutants; returns their fates in the order of the mutants.

    Arguments
    ---------
    mutants: those to try; None for all whose rules the scenario's store and replicator have.
    """
    if mutants is None:
        mutants = mutants_for(parse_scenario(scenario_text).stream)
    underway: list[Future[Fate]] = [
        pool.submit(try_mutant, Trial(scenario_text, seed, space, mutant.name, most_plans))
        for mutant in mutants
    ]
    fates: list[Fate] = []
    for future in underway:
        fates.append(future.result())
        on_fate(fates[-1])
    return fates


def kill_matrix_document(
    fates: list[Fate], scenario: str, seed: int, most_plans: int
) -> dict[str, Any]:
    """The record of ``simulator killmatrix --json``."""
    return {
        "schema": KILL_MATRIX_SCHEMA,
        "scenario": scenario,
        "seed": seed,
        "most_plans": most_plans,
        "mutants": [
            {
                "name": fate.name,
                "meaning": fate.meaning,
                "killed": fate.killed,
                "plans": fate.plans,
                "verdict": fate.verdict,
                "reason": fate.reason,
                "kinds": list(fate.kinds),
            }
            for fate in fates
        ],
    }
