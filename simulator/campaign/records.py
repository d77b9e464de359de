"""The JSON records of campaigns: their shape as models, their schemas, their text.

As for the record of a run (:mod:`simulator.report.record`): each record is held against its model
before it is written, the schemas in ``docs/`` are made from the models (``simulator schema
--campaign``, ``--coverage``, ``--comparison``), and within one version fields are only added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from simulator.campaign.comparison import Comparison
from simulator.campaign.coverage import TRANSITION_NAMES, Coverage
from simulator.campaign.marks import mark_counts
from simulator.campaign.results import Results
from simulator.campaign.summary import CONFIDENCE, failures_of, happened, quantiles, verdicts

SUMMARY_SCHEMA: Final = "simulator-campaign/1"
COVERAGE_SCHEMA: Final = "simulator-coverage/1"
COMPARISON_SCHEMA: Final = "simulator-comparison/1"

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Bound = Annotated[Number | None, Field(description="null: too few runs to tell")]


class _Part(BaseModel):
    """Base: unknown and missing fields are errors, and a number is never text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FailureRecord(_Part):
    """A plan that somebody has to look at."""

    number: Count
    verdict: str
    reasons: list[str]


class QuantileRecord(_Part):
    """A quantile of a measure over the plans in which a kind of fault happened."""

    measure: str
    fault: Annotated[str, Field(description="all, none, or a kind of fault")]
    quantile: Number
    runs: Count
    value: Number
    low: Bound
    high: Bound


class CoverageRecord(_Part):
    """Transitions of the protocol by kind of fault at work."""

    plans: Count
    transitions: Annotated[list[str], Field(description="in the order of the counts")]
    kinds: Annotated[
        dict[str, list[Count]], Field(description="in how many plans each transition was taken")
    ]
    gaps: Annotated[
        dict[str, list[str]], Field(description="taken by some plan, by none under this kind")
    ]
    never: Annotated[list[str], Field(description="taken by no plan; comparisons left out")]


class BudgetRecord(_Part):
    """What the plans stay within."""

    weakest: str
    damaged_sites: Count
    repair_ns: Count


class CampaignRecord(_Part):
    """The result of a campaign."""

    schema_: Annotated[Literal["simulator-campaign/1"], Field(alias="schema")]
    scenario: str
    seed: int
    enumerated: Annotated[
        Count | None, Field(description="all plans of up to so many faults; null: drawn")
    ]
    budget: BudgetRecord | None
    steered_rounds: Annotated[Count | None, Field(description="null: not steered")]
    plans: Count
    verdicts: dict[str, Count]
    failures: list[FailureRecord]
    repeated: Annotated[Count, Field(description="plans that were run twice")]
    happened: Annotated[dict[str, Count], Field(description="plans by kind of fault")]
    never_happened: Annotated[Count, Field(description="faults that had no occasion")]
    coverage: CoverageRecord
    marks: Annotated[dict[str, Count], Field(description="in how many plans each was reached")]
    required: Annotated[dict[str, Count], Field(description="those of them that were demanded")]
    confidence: Number
    quantiles: list[QuantileRecord]
    simulated_seconds: Number
    worker_seconds: Number


class CoverageDocument(_Part):
    """The record of ``simulator coverage --json``."""

    schema_: Annotated[Literal["simulator-coverage/1"], Field(alias="schema")]
    scenario: str
    coverage: CoverageRecord
    marks: dict[str, Count]


class SideRecord(_Part):
    """One of the two campaigns."""

    path: str
    scenario: str
    plans: Count


class SettingRecord(_Part):
    """A key in which the scenarios differ; null: not set."""

    key: str
    a: Any
    b: Any


class ChangeRecord(_Part):
    """A plan that ended otherwise."""

    number: Count
    a: str
    b: str


class FailuresRecord(_Part):
    """How many plans failed."""

    a: Count
    b: Count
    only_a: Annotated[Count | None, Field(description="null: not paired")]
    only_b: Count | None
    chance: Annotated[Number, Field(description="two-sided: of so large a difference by chance")]
    words: str


class DifferenceRecord(_Part):
    """One figure of one measure; low and high bound b - a."""

    measure: str
    figure: Annotated[str, Field(description="mean, or a quantile: 0.5, 0.95, 0.99")]
    runs_a: Count
    runs_b: Count
    a: Number
    b: Number
    low: Bound
    high: Bound
    words: str


class SidesRecord(_Part):
    """In how many pairs of runs a measure is larger where."""

    larger_in_a: Count
    larger_in_b: Count
    equal: Count


class ComparisonRecord(_Part):
    """Two campaigns held against each other."""

    schema_: Annotated[Literal["simulator-comparison/1"], Field(alias="schema")]
    a: SideRecord
    b: SideRecord
    paired: bool
    confidence: Number
    settings: list[SettingRecord]
    verdict_changes: Annotated[list[ChangeRecord], Field(description="empty when not paired")]
    failures: FailuresRecord
    differences: list[DifferenceRecord]
    sides: dict[str, SidesRecord]


_MODELS: Final[Mapping[str, tuple[type[_Part], str]]] = {
    "campaign": (CampaignRecord, "Result of simulator campaign"),
    "coverage": (CoverageDocument, "Result of simulator coverage"),
    "comparison": (ComparisonRecord, "Result of simulator compare"),
}


def record_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``campaign``, ``coverage`` or ``comparison``."""
    model, title = _MODELS[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(by_alias=True),
        "title": title,
    }


def _text(name: str, document: dict[str, Any]) -> str:
    """A record as JSON text; one that does not fit its model is a defect of ours."""
    _MODELS[name][0].model_validate(document)
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def coverage_document(coverage: Coverage) -> dict[str, Any]:
    """Coverage as the JSON records have it."""
    return {
        "plans": coverage.plans,
        "transitions": list(TRANSITION_NAMES),
        "kinds": coverage.counts,
        "gaps": {
            kind: [TRANSITION_NAMES[number] for number in coverage.missing(kind)]
            for kind in coverage.counts
        },
        "never": coverage.never,
    }


def summary_document(results: Results, required: Sequence[str] = ()) -> dict[str, Any]:
    """The record of ``simulator campaign --json``; all of it comes from the results.

    Arguments
    ---------
    required: marks that the campaign demanded.
    """
    key, frame = results.key, results.frame()
    marks = mark_counts(frame["marks"])
    space = key["space"]
    return {
        "schema": SUMMARY_SCHEMA,
        "scenario": key["scenario"],
        "seed": key["seed"],
        "enumerated": space["most"] if "instants" in space else None,
        "budget": space["budget"],
        "steered_rounds": len(results.rounds()) if key["steering"] else None,
        "plans": len(frame),
        "coverage": coverage_document(results.coverage()),
        "marks": marks,
        "required": {name: marks[name] for name in required},
        "verdicts": verdicts(frame),
        "failures": failures_of(frame),
        "repeated": int(frame["repeated"].sum()),
        "happened": happened(frame),
        "never_happened": int(frame["never_happened"].sum()),
        "confidence": CONFIDENCE,
        "quantiles": [
            {
                "measure": each.measure,
                "fault": each.fault,
                "quantile": each.quantile,
                "runs": each.runs,
                "value": each.value,
                "low": each.low,
                "high": each.high,
            }
            for each in quantiles(frame)
        ],
        "simulated_seconds": float(frame["simulated_seconds"].sum()),
        "worker_seconds": float(frame["wall_seconds"].sum()),
    }


def summary_text(results: Results, required: Sequence[str] = ()) -> str:
    """The same as text."""
    return _text("campaign", summary_document(results, required))


def coverage_text(scenario: str, coverage: Coverage, marks: Mapping[str, int]) -> str:
    """The record of ``simulator coverage --json``."""
    document = {
        "schema": COVERAGE_SCHEMA,
        "scenario": scenario,
        "coverage": coverage_document(coverage),
        "marks": dict(marks),
    }
    return _text("coverage", document)


def comparison_document(found: Comparison) -> dict[str, Any]:
    """The record of ``simulator compare --json``."""
    return {
        "schema": COMPARISON_SCHEMA,
        "a": {"path": str(found.a), "scenario": found.scenarios[0], "plans": found.plans[0]},
        "b": {"path": str(found.b), "scenario": found.scenarios[1], "plans": found.plans[1]},
        "paired": found.paired,
        "confidence": CONFIDENCE,
        "settings": [{"key": each.key, "a": each.a, "b": each.b} for each in found.settings],
        "verdict_changes": [{"number": c.number, "a": c.a, "b": c.b} for c in found.changes],
        "failures": {
            "a": found.failures.a,
            "b": found.failures.b,
            "only_a": found.failures.only_a,
            "only_b": found.failures.only_b,
            "chance": found.failures.chance,
            "words": found.failures.words,
        },
        "differences": [
            {
                "measure": each.measure,
                "figure": each.figure,
                "runs_a": each.runs[0],
                "runs_b": each.runs[1],
                "a": each.a,
                "b": each.b,
                "low": each.low,
                "high": each.high,
                "words": each.words,
            }
            for each in found.differences
        ],
        "sides": {
            measure: {
                "larger_in_a": each.larger_in_a,
                "larger_in_b": each.larger_in_b,
                "equal": each.equal,
            }
            for measure, each in found.sides.items()
        },
    }


def comparison_text(found: Comparison) -> str:
    """The same as text."""
    return _text("comparison", comparison_document(found))
