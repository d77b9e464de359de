"""How long the steps of a plan are, how far behind its end is looked, and what a long plan costs.

Theory
------
Work and memory of a plan grow with its steps.  A minute is fine enough for every figure that a
decision hangs on; a plan of years is made for its growth, and no report of it shows a minute.  So
the step is coarser there: :data:`STEPS_BY_DAYS`.

But a plan keeps its RPO with a step to spare, and an outage or a run between two copies of changed
blocks takes whole steps.  So no step is longer than a third of the RPO, nor than the shortest of
them.  A plan of ten years with an RPO of a minute has steps of a minute, and it is told what that
takes.

Outages late in a plan catch up behind its end, so its last week goes on for four more; where an
outage is looked at that is longer than two weeks, for twice as long as that
(:func:`after_seconds`).

What a step takes was measured (:data:`SECONDS_PER_STEP`, :data:`BYTES_PER_STEP`); another machine
or a plan with files of the site differs, so it is told as *about*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from replicator import units
from replicator.toml_errors import Remark
from simulator.plan.grid import DAY_SECONDS, MINUTE_SECONDS, whole_steps

if TYPE_CHECKING:
    from simulator.plan.organisation import Organisation

TWO_YEARS_DAYS: Final = 2 * 366
STEPS_BY_DAYS: Final = (
    (TWO_YEARS_DAYS, MINUTE_SECONDS),
    (5 * 366, 5 * MINUTE_SECONDS),
    (10 * 366, 15 * MINUTE_SECONDS),
)
"""The step in seconds of a plan of at most so many days."""
STEPS_OF_RPO: Final = 3
"""So many steps an RPO has at least: one is to spare [A]."""
AFTER_SECONDS: Final = 28 * DAY_SECONDS
"""Behind the end of a plan, in which outages late in it may catch up, at least [A]."""
AFTER_TIMES: Final = 2.0
"""So many times the longest outage that is looked at, at least [A]."""
BASE_SECONDS: Final = 0.5
SECONDS_PER_STEP: Final = 33e-6
BASE_BYTES: Final = 0.17e9
BYTES_PER_STEP: Final = 720.0
"""What a whole plan takes: measured, of byte level with steps of a minute, for 8 and for 104 weeks
(3.0 and 34 s of processor time, 0.23 and 0.92 GB) on a busy machine of two cores."""


def plan_step_seconds(organisation: Organisation) -> float:
    """Length of a step of the plan, in seconds: as its horizon has it, and fine enough for what is
    to be seen."""
    days = organisation.horizon_ns / units.NS_PER_SECOND / DAY_SECONDS
    coarsest = next((step for most, step in STEPS_BY_DAYS if days <= most), STEPS_BY_DAYS[-1][1])
    shortest = _shortest_seconds(organisation)
    fitting = [step for _, step in STEPS_BY_DAYS if step <= min(coarsest, shortest)]
    return max(fitting, default=MINUTE_SECONDS)


def _shortest_seconds(organisation: Organisation) -> float:
    """The longest step in which all that is to be seen of the plan can be."""
    outages = organisation.outages
    spans_ns = [
        organisation.objectives.rpo_ns / STEPS_OF_RPO,
        organisation.protection.interval_ns,
        outages.planned_ns,
        outages.median_ns,
        *outages.lengths_ns,
        *(event.length_ns for event in outages.events),
    ]
    return min(spans_ns) / units.NS_PER_SECOND


def plan_steps(organisation: Organisation) -> int:
    """How many steps the plan has."""
    seconds = organisation.horizon_ns / units.NS_PER_SECOND
    return whole_steps(seconds, plan_step_seconds(organisation))


def after_seconds(organisation: Organisation) -> float:
    """How long the plan is looked at behind its end, in seconds."""
    outages = organisation.outages
    longest_ns = max((outages.planned_ns, *outages.lengths_ns))
    return max(AFTER_SECONDS, AFTER_TIMES * longest_ns / units.NS_PER_SECOND)


def step_remarks(organisation: Organisation) -> tuple[str, ...]:
    """That the steps are longer than a minute, where they are."""
    step = plan_step_seconds(organisation)
    if step <= MINUTE_SECONDS:
        return ()
    return (
        f"steps of {step / MINUTE_SECONDS:g} min, for the plan is longer than two years: times are "
        "whole steps, and the RPO is kept with one to spare",
    )


def long_plan_doubts(organisation: Organisation) -> Iterator[Remark]:
    """How long a plan above two years takes, and how much memory."""
    days = organisation.horizon_ns / units.NS_PER_SECOND / DAY_SECONDS
    if days <= TWO_YEARS_DAYS:
        return
    steps, step = plan_steps(organisation), plan_step_seconds(organisation)
    seconds = BASE_SECONDS + SECONDS_PER_STEP * steps
    gigabytes = (BASE_BYTES + BYTES_PER_STEP * steps) / 1e9
    yield Remark(
        (("horizon",),),
        f"{days / 365.25:.3g} years are {steps:,} steps of {step / MINUTE_SECONDS:g} min: the plan "
        f"takes about {seconds:,.0f} s of processor time and {gigabytes:.2g} GB of memory",
        "Wait for it, or give a shorter horizon: weeks show all but growth.",
    )
