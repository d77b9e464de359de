"""The inputs of a plan that somebody may doubt, and what comes of other values.

:class:`PlanCase` holds them as plain numbers, so that :mod:`.sensitivity` and :mod:`.validity` can
move one at a time; it evaluates only the few figures that a decision hangs on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.bandwidth import link_use
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import HOUR_SECONDS, Floats
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_curves import NS, night_rewrite
from simulator.plan.outages import OutageModel
from simulator.plan.protection import Protection, Queued
from simulator.plan.run_outages import AnyOutages, outages_of
from simulator.plan.sensitivity import numeric_inputs, tornado
from simulator.plan.validity import validity
from simulator.plan.volumes import hour_numbers

GB: Final = 1e9
Tell = Callable[[str], None]
_NEVER: Final = {"spool_bytes": None, "catch_up_seconds": None, "rpo_seconds": None}
AFTER: Final = 28 * 86_400.0
"""Seconds in which outages late in the plan may catch up."""


@dataclass(frozen=True)
class PlanCase:
    """One set of inputs.

    Attributes
    ----------
    change_gb_per_day: logs and pages, on average; the shape of the curve stays.
    night_share: of the written bytes, times as many from 22:00 to 06:00 as planned.
    defragmentation_share: of the stored pages, rewritten each night; 0 where the curve does not
        tell it apart.
    pages_per_log_byte: where it was assumed (:attr:`ChangeCurve.assumed_page_ratio`), else 0.
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
    defragmentation_share: float = 0.0
    pages_per_log_byte: float = 0.0

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
        share, night_bytes = night_rewrite(organisation, change)
        ratio = change.assumed_page_ratio or 0.0
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
                share,
                night_bytes,
                ratio,
            ),
            share,
            ratio,
        )

    def changed(self) -> ChangeCurve:
        """The curve with these inputs."""
        fixed = self.curve
        change = fixed.change
        if self.defragmentation_share != fixed.defragmentation_share:
            times = self.defragmentation_share / fixed.defragmentation_share
            pages = change.database_bytes + (times - 1.0) * fixed.night_bytes
            change = replace(change, database_bytes=np.maximum(pages, 0.0))
        if self.pages_per_log_byte != fixed.pages_per_log_byte:
            times = self.pages_per_log_byte / fixed.pages_per_log_byte
            change = replace(change, database_bytes=change.database_bytes * times)
        factor = self.change_gb_per_day / fixed.planned_gb_per_day
        if self.night_share != 1.0:
            hours = change.grid.hours_of_day()
            night = np.where((hours >= 22) | (hours < 6), self.night_share, 1.0)
            return change.shaped(night * factor)
        return change if factor == 1.0 else change.scaled(factor)

    def outputs(self) -> dict[str, float | None]:
        """``spool_bytes`` and ``catch_up_seconds`` of the planned outage's worst start, and
        ``rpo_seconds`` for the objective's share of the time; None for never.  What was asked
        before is known."""
        known = self.curve.known
        if self not in known:
            known[self] = self._outputs()
        return known[self]

    def _outputs(self) -> dict[str, float | None]:
        change = self.changed()
        grid, within = change.grid, change.grid.span_seconds - AFTER
        capacity = self.link.capacity_bytes(grid)
        disturbed = without(capacity, grid, self.curve.outages)
        model: AnyOutages
        if isinstance(self.protection, Queued):
            # Made once: it is offered to the line, and it has its outages and its course.
            queue = self.protection.queue(change)
            use = link_use(self.protection, change, capacity, queue.offered_bytes())
            if not use.catches_up:
                return dict(_NEVER)
            model, course = OutageModel(queue, capacity), queue.course(disturbed)
        else:
            if not link_use(self.protection, change, capacity).catches_up:
                return dict(_NEVER)
            model = outages_of(self.protection, change, capacity)
            course = self.protection.course(change, disturbed)
        starts, _numbers = hour_numbers(grid, "day", within)
        length = round(self.outage_hours * HOUR_SECONDS)
        effects = model.effects(starts, float(length), with_lag=False)
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
        defragmentation_share: float,
        night_bytes: Floats,
        pages_per_log_byte: float,
    ) -> None:
        self.change = continued(change, AFTER)
        night = continued(replace(change, database_bytes=night_bytes), AFTER)
        self.night_bytes = night.database_bytes
        """Of the pages, those that the night's defragmentation writes."""
        self.defragmentation_share = defragmentation_share
        self.pages_per_log_byte = pages_per_log_byte
        self.known: dict[PlanCase, dict[str, float | None]] = {}
        """Outputs by inputs."""
        self.planned_gb_per_day = change.written_bytes_per_day / GB
        self.steps = change.grid.steps
        """Of the plan itself; those behind are for catching up."""
        self.rpo_seconds = rpo_seconds
        self.rpo_share = rpo_share
        self.spool_bytes = spool_bytes
        self.outages = tuple(outages)


def _silent(_what: str) -> None:
    return None


_LEFT_OUT: Final = frozenset({"link.mss_bytes", "protection.delay_seconds"})
"""Not what anybody would argue about."""
_CALENDAR: Final = (*(f"days.{day}" for day in range(7)), "from_seconds", "until_seconds")
"""When the line's windows are is known."""


def sensitivity_of(case: PlanCase, tell: Tell = _silent) -> pd.DataFrame:
    """Each input moved alone (:func:`~simulator.plan.sensitivity.tornado`)."""
    inputs = [
        path
        for path, value in numeric_inputs(case).items()
        if value and path not in _LEFT_OUT and not path.endswith(_CALENDAR)
    ]
    if case.night_share and "night_share" not in inputs:
        inputs.append("night_share")
    return tornado(case, PlanCase.outputs, inputs=inputs, tell=tell)


def validity_of(case: PlanCase, tell: Tell = _silent) -> pd.DataFrame:
    """While what the plan holds (:func:`~simulator.plan.validity.validity`).

    Objectives that the plan itself does not meet are left out of it: the others still hold.
    """
    missed = frozenset(case.broken())
    tried = count(1)

    def broken(other: PlanCase) -> dict[str, str]:
        tell(f"{next(tried)} values tried")
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
