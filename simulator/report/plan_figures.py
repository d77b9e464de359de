"""The five pictures of a plan: what each shows, how it is drawn, and what to see in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from matplotlib.figure import Figure

from simulator.plan.planner import Plan
from simulator.report import ink
from simulator.report.plan_answers import draw_catch_up, draw_tornado
from simulator.report.plan_spools import draw_heat_map, draw_spool_by_length
from simulator.report.plan_week import draw_week


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    key: a short name.
    heading: above it on the page.
    sentence: what to see in it.
    label: read aloud in place of it.
    draw: makes it; call it within :func:`simulator.report.ink.drawing`.
    of_spool: shown only for protections that have one.
    """

    key: str
    heading: str
    sentence: str
    label: str
    draw: Callable[[Plan], Figure]
    of_spool: bool = False

    def is_of(self, plan: Plan) -> bool:
        """Whether there is anything to show: protections by runs have no spool."""
        return bool(plan.spools) or not self.of_spool

    def inline_svg(self, plan: Plan) -> str:
        """The picture as an element that follows the page's colours."""
        with ink.drawing():
            return ink.to_inline_svg(self.draw(plan), self.label)

    def svg_file(self, plan: Plan) -> str:
        """The picture as an SVG document, for slides."""
        with ink.drawing():
            return ink.to_svg_file(self.draw(plan), self.label)


PICTURES: Final = (
    Picture(
        "week",
        "The worst week",
        "Where more is to be carried than the line takes, bytes wait in the spool, and the copy "
        "grows older than the RPO allows.",
        "Bytes to be carried against the line, waiting bytes and lag over the worst week",
        draw_week,
    ),
    Picture(
        "spool",
        "How large the spool has to be",
        "Read the volume to buy off the upper line, at the longest outage to be survived; the "
        "rule of thumb knows neither the outage nor the line.",
        "Spool by length of the outage, with the ten percent rule and the planned volume",
        draw_spool_by_length,
        of_spool=True,
    ),
    Picture(
        "hours",
        "When an outage is worst",
        "The same outage needs several times the spool when it begins before the busiest hours.",
        "Spool by hour of the begin and length of the outage",
        draw_heat_map,
        of_spool=True,
    ),
    Picture(
        "catch_up",
        "What a faster line gives",
        "A line that is only just fast enough needs days to catch up; a slower one never does.",
        "Time to catch up by line rate, with the region in which it never ends",
        draw_catch_up,
    ),
    Picture(
        "tornado",
        "What the answer depends on",
        "Each input is moved alone, over the range beside its name: blue is the answer at its "
        "lower end, orange at the higher one. Check the uppermost inputs first.",
        "Swing of each answer by input",
        draw_tornado,
    ),
)
