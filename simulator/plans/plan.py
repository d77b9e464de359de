"""A fault plan: what goes wrong, when, where and for how long, as data with a version.

A plan is laid over a scenario, whatever world that runs in; its file is TOML, or JSON with the
same keys.  It says everything: nothing of it
is drawn when it runs, but for what a fault leaves open (which unsynced writes survive a power
loss), and that is named by the plan's seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import field_validator

from replicator.toml_document import Reading, read_toml_file
from replicator.toml_errors import BadDocument, Grammar, Places, Remark
from replicator.toml_keys import REQUIRED, KeyProblem, Table, key
from replicator.toml_writer import toml_document, toml_text
from simulator.plans.budget import Budget, remarks
from simulator.plans.json_document import JsonReading, looks_like_json
from simulator.scenario import Fault, Scenario
from simulator.scenario_checks import contradictions

PLAN_FORMAT: Final = 1


class FaultPlan(Table):
    """A list of faults."""

    format: Literal[1] = key(None, "Version of this format.", REQUIRED)

    @field_validator("format", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        # To Python true and 1.0 are 1.
        if isinstance(value, bool | float):
            raise KeyProblem("is no whole number", f"Write format = {PLAN_FORMAT}.")
        return value

    name: str = key(None, "Short name.", "fault plan", min_length=1, max_length=100)
    seed: int = key(None, "Names what the faults leave open.", 1, ge=0, le=2**63 - 1)
    budget: Budget | None = key(None, "What the faults must stay within.", None)
    faults: tuple[Fault, ...] = key(None, "What goes wrong, and when.", ())


class BadPlan(BadDocument):
    """A fault plan that cannot be used; ``errors`` holds one BadInput for each thing wrong."""

    noun = "fault plan"
    default_remedy = "Correct each of them; docs/scenarios.md lists the faults and their keys."


GRAMMAR: Final = Grammar(
    FaultPlan,
    FaultPlan.model_json_schema,
    BadPlan,
    "a file with [[faults]]",
    {"faults": 2},
)


def load_plan(path: str | Path, scenario: Scenario) -> FaultPlan:
    """Read a plan for a scenario; raises BadPlan, with file, line and key."""
    return parse_plan(read_plan_file(Path(path)), scenario, origin=str(path))


def read_plan_file(path: Path) -> bytes:
    """The bytes of a file that is to be a plan; raises BadPlan."""
    return read_toml_file(path, GRAMMAR)


def parse_plan(content: bytes | str, scenario: Scenario, *, origin: str = "plan") -> FaultPlan:
    """As :func:`load_plan`, from memory; ``origin`` names the text in errors."""

    return read_plan(content, scenario, origin)[0]


def read_plan(content: bytes | str, scenario: Scenario, origin: str) -> tuple[FaultPlan, Places]:
    """As :func:`parse_plan`, and where each of its values stands."""

    def against_the_scenario(plan: FaultPlan) -> Iterator[Remark]:
        yield from wrong_with(plan, scenario)
        if plan.budget is not None:
            yield from remarks(plan.faults, plan.budget)

    kind = JsonReading if looks_like_json(content, origin) else Reading
    return kind(content, origin, GRAMMAR).validate(FaultPlan, against_the_scenario)


def wrong_with(plan: FaultPlan, scenario: Scenario) -> list[Remark]:
    """What of a plan contradicts itself or the scenario; empty when it can be run."""
    found = []
    for remark in contradictions(planned(scenario, plan)):
        # Other keys are the scenario's: they stand in no plan.
        keys = tuple(path for path in remark.keys if path[:1] == ("faults",))
        if keys:
            found.append(remark._replace(keys=keys))
    return found


def plan_json(plan: FaultPlan) -> str:
    """The same as a JSON file, with the same keys and quantities."""
    return json.dumps(toml_document(plan), indent=2, ensure_ascii=False) + "\n"


def plan_file_text(plan: FaultPlan, path: Path) -> str:
    """The text for a file of this name: JSON for ``.json``, else TOML."""
    return plan_json(plan) if path.suffix.lower() == ".json" else plan_text(plan)


def plan_json_schema() -> dict[str, Any]:
    """The JSON Schema of plans, in whichever form."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **FaultPlan.model_json_schema(),
    }


def plan_text(plan: FaultPlan) -> str:
    """The plan as a TOML file that :func:`load_plan` reads."""
    return toml_text(plan)


def planned(scenario: Scenario, plan: FaultPlan) -> Scenario:
    """The scenario with the plan's faults in place of its own."""
    return scenario.model_copy(update={"faults": plan.faults, "fault_seed": plan.seed})


def plan_of(scenario: Scenario) -> FaultPlan:
    """The faults of a scenario, as a plan."""
    seed = scenario.seed if scenario.fault_seed is None else scenario.fault_seed
    return FaultPlan(format=PLAN_FORMAT, name=scenario.name, seed=seed, faults=scenario.faults)
