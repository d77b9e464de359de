"""Steering: what was covered least gets more weight in the rounds to come.

Plans come in rounds of :data:`ROUND_PLANS`.  The weights of a round are a pure function of what
the rounds up to the one *before the last* have covered, so that workers never wait for a round to
end.  They are kept with the results: a plan is reproduced from its number and its round's weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from simulator.campaign.coverage import Coverage
from simulator.plans.draw import PlanSpace

ROUND_PLANS: Final = 500
LEAST: Final = 5
"""A transition that fewer runs took under a kind of fault is a gap of that kind."""
STRONGEST: Final = 4.0
"""A kind under which nothing was covered comes so many times as often as by default."""


def round_of(number: int) -> int:
    """The round of a plan."""
    return number // ROUND_PLANS


def looks_back_on(round_number: int) -> int:
    """So many plans, from number 0 on, decide on a round's weights."""
    return max(0, round_number - 1) * ROUND_PLANS


def steered(space: PlanSpace, coverage: Coverage) -> dict[str, float]:
    """The weights of the next round but one.

    Each kind's own weight is raised by its share of gaps: of the transitions that any run took,
    those that fewer than :data:`LEAST` runs took under this kind.
    """
    reached = coverage.reached()
    if not reached:
        return dict(space.weights)
    return {
        kind: round(weight * _factor(coverage, kind, reached), 6)
        for kind, weight in space.weights.items()
    }


def _factor(coverage: Coverage, kind: str, reached: list[int]) -> float:
    counts = coverage.counts.get(kind)
    gaps = sum(1 for number in reached if counts is None or counts[number] < LEAST)
    return 1 + (STRONGEST - 1) * gaps / len(reached)


def with_weights(space: PlanSpace, weights: Mapping[str, float]) -> PlanSpace:
    """The space of a round."""
    return replace(space, weights=dict(weights))
