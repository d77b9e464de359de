"""A failure made small: its plan shrunk, saved as a scenario, a test that is ready to run, and
a timeline.

The scenario's file holds all that is needed to see the failure again: the world, the plan, the
seeds, and what was found (``[recorded]``), which ``simulator replay`` compares bit for bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from replicator.command_line import release_name
from replicator.toml_writer import toml_text
from simulator.campaign.job import (
    FAILING,
    NOT_REPEATABLE,
    PlanOutcome,
    Space,
    must_recover,
    run_plan,
)
from simulator.campaign.results import Results
from simulator.campaign.rows import damaged_row
from simulator.mutants import mutated
from simulator.plans.budget import excesses
from simulator.plans.plan import BadPlan, FaultPlan, parse_plan, planned, wrong_with
from simulator.plans.shrink import Shrinker
from simulator.prepared import prepare
from simulator.report.output import write_atomically
from simulator.scenario import Scenario
from simulator.scenario_model import Recorded
from simulator.timeline import record_timeline, write_timeline

MOST_SHRUNK: Final = 5
"""Of failures that differ; more of them rarely tell more."""

_TEST = '''"""{title}

Found by a campaign and shrunk; run it with pytest, or see it with
``simulator replay {file}``.
"""

from pathlib import Path

from simulator.run import run_scenario
from simulator.scenario import load_scenario


def test_{name}() -> None:
    {body}
'''
_BODY = """result = run_scenario(load_scenario(Path(__file__).parent / "{file}"))
    assert result.verdict.value not in {failing}, result.reasons"""
_TWICE = """scenario = load_scenario(Path(__file__).parent / "{file}")
    assert run_scenario(scenario).trace_hash == run_scenario(scenario).trace_hash"""


@dataclass(frozen=True, slots=True)
class SavedFailure:
    """A failure on disk."""

    number: int
    """Of the plan that it was found with."""
    outcome: PlanOutcome
    """Of the shrunk plan."""
    plan: FaultPlan
    faults_before: int
    runs: int
    """That shrinking took."""
    scenario_path: Path
    test_path: Path | None
    """None of a run that ended without a record, as the next."""
    timeline_path: Path | None


def signature(outcome: PlanOutcome) -> tuple[str, str]:
    """What makes two failures one: the verdict, and its first reason without its figures."""
    reason = outcome.reasons[0] if outcome.reasons else ""
    words = re.sub(r"\(.*?\)|[0-9a-f]{8,}|[0-9][0-9.]*", "", reason)
    return outcome.verdict.value, words.split(":")[0].strip()


def distinct(failures: list[PlanOutcome], most: int = MOST_SHRUNK) -> list[PlanOutcome]:
    """The first of each kind, at most so many."""
    found: dict[tuple[str, str], PlanOutcome] = {}
    for each in failures:
        found.setdefault(signature(each), each)
    return list(found.values())[:most]


def check_failures(results: Results, scenario: Scenario) -> None:
    """Raises BadInput when the plan of a failure that is to be made small is none."""
    for each in distinct(list(results.failures())):
        try:
            parse_plan(each.plan, scenario)
        except BadPlan as error:
            what = f"its plan cannot be read: {error.errors[0].message}"
            raise damaged_row(results.path, each.number, what) from error


def shrink_failure(
    scenario: Scenario, failure: PlanOutcome, space: Space, mutant: str = ""
) -> tuple[FaultPlan, PlanOutcome, int]:
    """The smallest plan found that fails in the same way, its outcome, and the runs it took."""
    wanted, strict, budget = signature(failure), must_recover(space), space.budget
    prepared = prepare(scenario)
    with mutated(mutant) as safeguards:

        def outcome_of(plan: FaultPlan) -> PlanOutcome:
            # One that is not the same twice is not so when it is run once, either.
            return run_plan(prepared, plan, failure.number, failure.repeated, safeguards, strict)

        def fails(plan: FaultPlan) -> bool:
            if wrong_with(plan, scenario):
                return False  # nobody could load it
            if budget is not None and any(excesses(plan.faults, budget)):
                return False
            outcome = outcome_of(plan)
            return outcome.failed and signature(outcome) == wanted

        shrinker = Shrinker(fails, space.grid_ns)
        plan = shrinker.shrink(parse_plan(failure.plan, scenario))
        outcome = outcome_of(plan)
        if signature(outcome) != wanted:
            outcome = failure  # it comes and goes: what was found is what is told
        return plan, outcome, shrinker.runs


def save_failure(
    scenario: Scenario,
    failure: PlanOutcome,
    space: Space,
    directory: Path,
    mutant: str = "",
) -> SavedFailure:
    """Shrink a failure and write its scenario and its test into a directory, which exists.

    Arguments
    ---------
    mutant: which rule was taken away when it was found.
    """
    if failure.ended_by_error:
        return _save_unfinished(scenario, failure, directory)
    before = len(parse_plan(failure.plan, scenario).faults)
    plan, outcome, runs = shrink_failure(scenario, failure, space, mutant)
    kind, words = signature(outcome)
    slug = re.sub(r"[^a-z0-9]+", "_", f"{kind} {words}".lower()).strip("_")[:48].strip("_")
    name = f"{slug}_{failure.number}"
    recorded = Recorded(
        verdict=outcome.verdict.value,
        trace_hash=outcome.trace_hash,
        reasons=outcome.reasons,
        release=release_name(),
        mutant=mutant,
    )
    saved = planned(scenario, plan).model_copy(update={"recorded": recorded})
    scenario_path, test_path = directory / f"{name}.toml", directory / f"test_{name}.py"
    timeline_path = directory / f"{name}.html"
    write_atomically(scenario_path, toml_text(saved), "--failures")
    title = f"{kind}: {words or 'plan'} ({len(plan.faults)} faults)".replace("\\", "/")
    failing = sorted({*(each.value for each in FAILING), outcome.verdict.value})
    body = _TWICE if outcome.reasons[:1] and NOT_REPEATABLE in outcome.reasons[0] else _BODY
    text = _TEST.format(
        title=title.replace('"', "'"),
        name=name,
        file=scenario_path.name,
        body=body.format(file=scenario_path.name, failing=failing),
    )
    write_atomically(test_path, text, "--failures")
    with mutated(mutant) as safeguards:
        result, timeline = record_timeline(saved, safeguards=safeguards)
    command = f"simulator replay {scenario_path.name}"
    write_timeline(timeline, result, timeline_path, command=command, option="--failures")
    return SavedFailure(
        failure.number, outcome, plan, before, runs, scenario_path, test_path, timeline_path
    )


def _save_unfinished(scenario: Scenario, failure: PlanOutcome, directory: Path) -> SavedFailure:
    """Save what ended its run, or its worker, as it is: here it might do that again."""
    plan = parse_plan(failure.plan, scenario)
    path = directory / f"unfinished_{failure.number}.toml"
    write_atomically(path, toml_text(planned(scenario, plan)), "--failures")
    return SavedFailure(failure.number, failure, plan, len(plan.faults), 0, path, None, None)
