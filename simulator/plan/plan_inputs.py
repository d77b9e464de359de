"""The inputs of a plan that somebody may doubt, and what comes of other values.

:class:`PlanCase` holds them as plain numbers, so that :mod:`.sensitivity` and :mod:`.validity` can
move one at a time; it evaluates only the few figures that a decision hangs on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.bandwidth import link_use
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import HOUR_SECONDS
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_curves import NS
from simulator.plan.protection import Protection
from simulator.plan.run_outages import outages_of
from simulator.plan.sensitivity import numeric_inputs, tornado
from simulator.plan.validity import validity
from simulator.plan.volumes import hour_numbers

GB: Final = 1e9
AFTER: Final = 28 * 86_400.0
"""Seconds in which outages late in the plan may catch up."""


@dataclass(frozen=True)
class PlanCase:
    """One set of inputs.

    Attributes
    ----------
    change_gb_per_day: logs and pages, on average; the shape of the curve stays.
    night_share: of the written bytes, times as many from 22:00 to 06:00 as planned.
    link, protection: as planned.
    outage_hours: of the planned outage.
    curve: what the other figures scale; no input.
    rpo_seconds, rpo_share, spool_bytes: the objectives; no inputs either.
    """

    change_gb_per_day: float
    night_share: float
    link: PlannedLink
    protection: Protection
    outage_hours: float
    curve: _Fixed

    @classmethod
    def of(
        cls,
        organisation: Organisation,
        change: ChangeCurve,
        link: PlannedLink,
        protection: Protection,
        outages: Sequence[tuple[float, float]] = (),
    ) -> PlanCase:
        """The inputs of an organisation's plan; ``outages`` at dates as for :func:`without`."""
        objectives = organisation.objectives
        return cls(
            change.written_bytes_per_day / GB,
            1.0,
            link,
            protection,
            organisation.outages.planned_ns / NS / HOUR_SECONDS,
            _Fixed(
                change,
                objectives.rpo_ns / NS,
                objectives.rpo_share,
                organisation.protection.spool_bytes,
                outages,
            ),
        )

    def changed(self) -> ChangeCurve:
        """The curve with these inputs."""
        change = self.curve.change
        factor = self.change_gb_per_day / self.curve.planned_gb_per_day
        if self.night_share != 1.0:
            hours = change.grid.hours_of_day()
            night = np.where((hours >= 22) | (hours < 6), self.night_share, 1.0)
            return change.shaped(night * factor)
        return change if factor == 1.0 else change.scaled(factor)

    def outputs(self) -> dict[str, float | None]:
        """``spool_bytes`` and ``catch_up_seconds`` of the planned outage's worst start, and
        ``rpo_seconds`` for the objective's share of the time; None for never."""
        change = self.changed()
        capacity = self.link.capacity_bytes(change.grid)
        if not link_use(self.protection, change, capacity).catches_up:
            return {"spool_bytes": None, "catch_up_seconds": None, "rpo_seconds": None}
        length = round(self.outage_hours * HOUR_SECONDS)
        model = outages_of(self.protection, change, capacity)
        starts, _numbers = hour_numbers(change.grid, "day", change.grid.span_seconds - AFTER)
        effects = model.effects(starts, float(length), with_lag=False)
        course = self.protection.course(change, without(capacity, change.grid, self.curve.outages))
        caught_up = bool(effects.caught_up.all())
        return {
            "spool_bytes": float(effects.spool_peak_bytes.max()),
            "catch_up_seconds": float(effects.catch_up_seconds.max()) if caught_up else None,
            "rpo_seconds": float(
                np.quantile(course.lag_seconds[: self.curve.steps], self.curve.rpo_share)
            ),
        }

    def broken(self) -> dict[str, str]:
        """The objectives that these inputs break, and how."""
        found, told = self.outputs(), {}
        rpo = found["rpo_seconds"]
        if rpo is None or found["catch_up_seconds"] is None:
            return {"catching up": "the link does not catch up"}
        if rpo > self.curve.rpo_seconds:
            told["RPO"] = f"{rpo:,.0f} s for {100 * self.curve.rpo_share:g} % of the time"
        spool = found["spool_bytes"]
        limit = self.curve.spool_bytes
        if limit is not None and spool is not None and spool > limit:
            told["spool"] = f"{spool / GB:,.1f} GB are needed"
        return told


class _Fixed:
    """What no input changes; not a dataclass, so that nobody takes its numbers for inputs."""

    def __init__(
        self,
        change: ChangeCurve,
        rpo_seconds: float,
        rpo_share: float,
        spool_bytes: int | None,
        outages: Sequence[tuple[float, float]],
    ) -> None:
        self.change = continued(change, AFTER)
        self.planned_gb_per_day = change.written_bytes_per_day / GB
        self.steps = change.grid.steps
        """Of the plan itself; those behind are for catching up."""
        self.rpo_seconds = rpo_seconds
        self.rpo_share = rpo_share
        self.spool_bytes = spool_bytes
        self.outages = tuple(outages)


_LEFT_OUT: Final = frozenset({"link.mss_bytes", "protection.delay_seconds"})
"""Not what anybody would argue about."""
_CALENDAR: Final = (*(f"days.{day}" for day in range(7)), "from_seconds", "until_seconds")
"""When the line's windows are is known."""


def sensitivity_of(case: PlanCase) -> pd.DataFrame:
    """Each input moved alone (:func:`~simulator.plan.sensitivity.tornado`)."""
    inputs = [
        path
        for path, value in numeric_inputs(case).items()
        if value and path not in _LEFT_OUT and not path.endswith(_CALENDAR)
    ]
    if case.night_share and "night_share" not in inputs:
        inputs.append("night_share")
    return tornado(case, PlanCase.outputs, inputs=inputs)


def validity_of(case: PlanCase) -> pd.DataFrame:
    """While what the plan holds (:func:`~simulator.plan.validity.validity`).

    Objectives that the plan itself does not meet are left out of it: the others still hold.
    """
    missed = frozenset(case.broken())

    def broken(other: PlanCase) -> dict[str, str]:
        return {name: told for name, told in other.broken().items() if name not in missed}

    furthest = {
        "change_gb_per_day": case.change_gb_per_day * 10,
        "link.loss": 0.05,
        "link.rtt_seconds": max(1.0, 10 * case.link.rtt_seconds),
        "link.bits_per_second": case.link.bits_per_second / 20,
        "outage_hours": min(case.outage_hours * 10, _longest_hours(case)),
    }
    return validity(case, broken, furthest, tolerance=0.01)


def _longest_hours(case: PlanCase) -> float:
    return case.curve.change.grid.span_seconds / 4 / HOUR_SECONDS
