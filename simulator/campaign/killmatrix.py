"""The kill matrix: which mutant is found by how many plans, under which kinds of faults.

Each mutant (:mod:`simulator.mutants`) is given the plans of one campaign in their order until
one fails.  The plan that found it is then shrunk, and the kinds of faults that are left are the
ones it took: a rule that is found without any fault is broken in plain sight.

A run that ends by an error of the bench itself proves nothing, and neither does a plan that fails
without the mutant, too: a mutant that no plan finds is alive only when every run of it came to an
end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Any, Final

from simulator.campaign.failures import shrink_failure
from simulator.campaign.job import FAILING, BatchJob, PlanOutcome, run_batch
from simulator.mutants import Mutant, mutant_named, mutants_for
from simulator.plans.draw import PlanSpace
from simulator.scenario import parse_scenario

KILL_MATRIX_SCHEMA: Final = "simulator-killmatrix/1"
MOST_ERRORS: Final = 5
"""A mutant of which so many runs proved nothing is given up: each may have taken a minute."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant."""

    name: str
    meaning: str
    killed: bool
    plans: int
    """Run until it was found, or was given up; all of them when it was not."""
    verdict: str
    reason: str
    kinds: tuple[str, ...]
    """Kinds of faults in the shrunk plan that finds it; empty when none is needed."""
    errors: int = 0
    """Runs that prove nothing: they ended by an error of the bench, or the plan fails without the
    mutant as well."""
    error: str = ""
    """The first of them: its plan and its words."""

    @property
    def is_undecided(self) -> bool:
        """No plan found it, and not every run proves something."""
        return not self.killed and self.errors > 0

    @property
    def is_alive(self) -> bool:
        """Every plan was run to its end, and none found it."""
        return not self.killed and not self.errors


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutant and the campaign that it has to survive."""

    scenario_text: str
    campaign_seed: int
    space: PlanSpace
    mutant: str
    most_plans: int
    most_errors: int = MOST_ERRORS


def try_mutant(trial: Trial) -> Fate:
    """Run plans until one fails with the mutant alone, or too many prove nothing; in a worker."""
    mutant = mutant_named(trial.mutant)
    errors: list[str] = []
    plans = 0
    for number in range(trial.most_plans):
        if len(errors) == trial.most_errors:
            break
        job = BatchJob(
            trial.scenario_text, trial.campaign_seed, trial.space, number, 1, 0, mutant.name
        )
        [outcome] = run_batch(job)
        plans += 1
        if outcome.verdict in FAILING:
            [intact] = run_batch(replace(job, mutant=""))
            if not intact.failed:
                fate = _killed(trial, mutant, outcome)
                return replace(fate, errors=len(errors), error=_first(errors))
            errors.append(f"plan {number} fails without it, too: {intact.reasons[0]}")
        elif outcome.ended_by_error:
            errors.append(f"plan {number}: {outcome.reasons[0]}")
    return Fate(mutant.name, mutant.meaning, False, plans, "", "", (), len(errors), _first(errors))


def _first(errors: list[str]) -> str:
    return errors[0] if errors else ""


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
    mutants: those to try; None for all whose rules the scenario has.
    """
    if mutants is None:
        mutants = mutants_for(parse_scenario(scenario_text))
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
    """The record of ``simulator killmatrix --json``.

    ``errors`` and ``error`` are those of :class:`Fate`: a mutant that is not killed is alive only
    where ``errors`` is 0.
    """
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
                "errors": fate.errors,
                "error": fate.error,
            }
            for fate in fates
        ],
    }
