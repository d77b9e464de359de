"""The five pictures of a plan: what each shows, how it is drawn, and what to see in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from matplotlib.figure import Figure

from simulator.plan.plan_line_words import largest_lag_words
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_units import format_hour, format_line, format_volume
from simulator.plan.planner import Plan
from simulator.report import ink
from simulator.report.plan_answers import draw_catch_up, draw_tornado
from simulator.report.plan_spools import draw_heat_map, draw_spool_by_length
from simulator.report.plan_week import draw_week
from simulator.units import format_duration

ALIKE: Final = 1.05
"""Spools of two hours that differ by less are of one size."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    key: a short name.
    heading: above it on the page.
    sentence: what to see in it, of this plan.
    label: read aloud in place of it.
    draw: makes it; call it within :func:`simulator.report.ink.drawing`.
    is_of: whether there is anything to show: kinds that take snapshots have no spool, and where the
        line never catches up there is none that is large enough, nor anything that moves it.
    """

    key: str
    heading: str
    sentence: Callable[[Plan], str]
    label: str
    draw: Callable[[Plan], Figure]
    is_of: Callable[[Plan], bool] = lambda _plan: True

    def inline_svg(self, plan: Plan) -> str:
        """The picture as an element that follows the page's colours."""
        with ink.drawing():
            return ink.to_inline_svg(self.draw(plan), self.label)

    def svg_file(self, plan: Plan) -> str:
        """The picture as an SVG document, for slides."""
        with ink.drawing():
            return ink.to_svg_file(self.draw(plan), self.label)


def _has_spool(plan: Plan) -> bool:
    return bool(plan.spools) and not plan.no_size


def _has_answer(plan: Plan) -> bool:
    return any(row["base"] is not None for row in frame_rows(plan.tornado))


def _of_week(plan: Plan) -> str:
    if not plan.use.catches_up:
        return (
            "More is to be carried than the line takes: what waits, and the age of the copy, only "
            "grow."
        )
    rpo = plan.organisation.objectives.rpo_ns / 1e9
    if float(plan.course.lag_seconds.max()) <= rpo:
        return (
            f"In no other week is the copy older: here it is {largest_lag_words(plan)}, within the "
            f"{format_duration(rpo)} that are wanted."
        )
    return (
        "Where more is to be carried than the line takes, bytes wait, and the copy grows older "
        "than the RPO allows."
    )


def _of_spool(plan: Plan) -> str:
    told = "Read the volume to buy off the upper line, at the longest outage to be survived"
    if plan.spools[0].rule_of_thumb_bytes is None:
        return f"{told}."
    return f"{told}; the rule of thumb knows neither the outage nor the line."


def _of_hours(plan: Plan) -> str:
    planned = plan.spools[0].length_seconds
    of_planned = plan.surface[plan.surface["length_seconds"] == planned]
    worst = of_planned.loc[of_planned["spool_bytes"].idxmax()]
    best = of_planned.loc[of_planned["spool_bytes"].idxmin()]
    sizes = [float(each["spool_bytes"]) for each in (best, worst)]
    hours = [format_hour(float(each["hour"])) for each in (best, worst)]
    length = format_duration(planned)
    if sizes[1] < ALIKE * sizes[0] or sizes[0] <= 0:
        return f"An outage of {length} needs up to {format_volume(sizes[1])}, from {hours[1]} on."
    return (
        f"An outage of {length} needs {sizes[1] / sizes[0]:.1f} times the spool when it begins at "
        f"{hours[1]} rather than at {hours[0]}."
    )


def _of_catch_up(plan: Plan) -> str:
    rows = frame_rows(plan.catch_up_by_rate)
    known = [row for row in rows if row["catch_up_seconds"] is not None]
    if not known:
        fastest = format_line(rows[-1]["bits_per_second"])
        return f"No line up to {fastest} catches up within the plan."
    slow, fast = known[0], known[-1]
    told = (
        f"A line of {format_line(slow['bits_per_second'])} needs "
        f"{format_duration(slow['catch_up_seconds'])} to catch up, one of "
        f"{format_line(fast['bits_per_second'])} {format_duration(fast['catch_up_seconds'])}"
    )
    return f"{told}; a slower one never does." if len(known) < len(rows) else f"{told}."


def _of_tornado(_plan: Plan) -> str:
    return (
        "Each input is moved alone, over the range beside its name: blue is the answer at its "
        "lower end, orange at the higher one. Check the uppermost inputs first."
    )


PICTURES: Final = (
    Picture(
        "week",
        "A week in which the copy is oldest",
        _of_week,
        "Bytes to be carried against the line, waiting bytes and lag over the worst week",
        draw_week,
    ),
    Picture(
        "spool",
        "How large the volume has to be on which changes wait",
        _of_spool,
        "Spool by length of the outage, with the ten percent rule and the planned volume",
        draw_spool_by_length,
        _has_spool,
    ),
    Picture(
        "hours",
        "When an outage is worst",
        _of_hours,
        "Spool by hour of the begin and length of the outage",
        draw_heat_map,
        _has_spool,
    ),
    Picture(
        "catch_up",
        "What a faster line gives",
        _of_catch_up,
        "Time to catch up by line rate, with the region in which it never ends",
        draw_catch_up,
    ),
    Picture(
        "tornado",
        "What the answer depends on",
        _of_tornado,
        "Swing of each answer by input",
        draw_tornado,
        _has_answer,
    ),
)
