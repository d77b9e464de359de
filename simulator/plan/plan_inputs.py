"""The inputs of a plan that somebody may doubt, and what comes of other values.

:class:`PlanCase` holds them as plain numbers, so that :mod:`.sensitivity` and :mod:`.validity` can
move one at a time; it evaluates only the few figures that a decision hangs on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.bandwidth import RequiredRate, link_use, required_rates
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import HOUR_SECONDS, Floats
from simulator.plan.line_need import LineNeed
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_curves import NS, night_rewrite, seed_rates
from simulator.plan.outages import OutageModel
from simulator.plan.protection import Protection, Queued
from simulator.plan.run_outages import AnyOutages, outages_of
from simulator.plan.seeding import SeedRates, seed_by_courier, seed_over_wire
from simulator.plan.sensitivity import numeric_inputs, tornado
from simulator.plan.validity import validity
from simulator.plan.volumes import hour_numbers
from simulator.plan.waiting_volume import (
    bounding_volume,
    given_volume,
    stops_when_full,
    volume_name,
)

GB: Final = 1e9
LINE: Final = "line_bits_per_second"
"""The output that is the line rate for the RPO."""
_SAME_SHARE: Final = 1e-9
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
    log_share_of_writes: where logs and pages were divided by it
        (:attr:`ChangeCurve.divided_log_share`), else 0; what is written in all stays.
    link, protection: as planned.
    outage_hours: of the planned outage.
    curve: what the other figures scale; no input.
    The objectives are no inputs either; :class:`_Fixed` has them.
    """

    change_gb_per_day: float
    night_share: float
    link: PlannedLink
    protection: Protection
    outage_hours: float
    curve: _Fixed
    defragmentation_share: float = 0.0
    pages_per_log_byte: float = 0.0
    log_share_of_writes: float = 0.0

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
        objectives, volume = organisation.objectives, given_volume(organisation, protection)
        judged = (
            volume is not None
            and stops_when_full(organisation, protection)
            and change.stored_bytes is not None
        )
        share, night_bytes = night_rewrite(organisation, change)
        ratio, logs = change.assumed_page_ratio or 0.0, change.divided_log_share or 0.0
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
                _Volume(
                    volume_name(protection),
                    volume,
                    bounding_volume(organisation, change, protection),
                    organisation.first_copy.by if judged else None,
                    seed_rates(organisation),
                ),
                outages,
                share,
                night_bytes,
                ratio,
                logs,
                link,
            ),
            share,
            ratio,
            logs,
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
        if self.log_share_of_writes != fixed.log_share_of_writes:
            change = self._divided_anew(change)
        factor = self.change_gb_per_day / fixed.planned_gb_per_day
        if self.night_share != 1.0:
            hours = change.grid.hours_of_day()
            night = np.where((hours >= 22) | (hours < 6), self.night_share, 1.0)
            return change.shaped(night * factor)
        return change if factor == 1.0 else change.scaled(factor)

    def _divided_anew(self, change: ChangeCurve) -> ChangeCurve:
        """Another share of what is written taken for logs."""
        times = self.log_share_of_writes / self.curve.log_share_of_writes
        written, logs = change.written_bytes, change.log_bytes * times
        logs = np.minimum(logs, written)
        return replace(
            change,
            log_bytes=logs,
            database_bytes=np.maximum(written - logs, 0.0),
            message_bytes=change.message_bytes * times,
        )

    def line_bits_per_second(self, need: LineNeed) -> float | None:
        """The line rate that the objective needs with these inputs; None where none does it.

        The length of the planned outage and the line's own rate have no part in it.
        """
        fixed = self.curve
        planned = fixed.link
        link = replace(self.link, bits_per_second=planned.bits_per_second, windows=planned.windows)
        asked = replace(self, link=link, outage_hours=0.0)
        if asked not in fixed.known_lines:
            within = asked.changed().first(fixed.steps)
            found = need.answer(asked.protection, within, link)
            fixed.known_lines[asked] = found
        return fixed.known_lines[asked]

    def outputs(self) -> dict[str, float | None]:
        """``spool_bytes`` and ``catch_up_seconds`` of the planned outage's worst start, and
        ``rpo_seconds`` for the objective's share of the time; None for never.  What was asked
        before is known."""
        figures = self._known_figures()
        return {name: figures[name] for name in _NEVER}

    def _known_figures(self) -> dict[str, float | None]:
        known = self.curve.known
        if self not in known:
            known[self] = self._figures()
        return known[self]

    def _figures(self) -> dict[str, float | None]:
        """The outputs, and ``first_copy_bytes`` on the volume where it has to fit."""
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
                return {**_NEVER, "first_copy_bytes": None}
            model, course = OutageModel(queue, capacity), queue.course(disturbed)
        else:
            if not link_use(self.protection, change, capacity).catches_up:
                return {**_NEVER, "first_copy_bytes": None}
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
            "first_copy_bytes": self._copy_bytes(change, capacity, model),
        }

    def _copy_bytes(self, change: ChangeCurve, capacity: Floats, model: AnyOutages) -> float | None:
        volume = self.curve.volume
        if volume.copied_by is None:
            return None
        seed = seed_over_wire if volume.copied_by == "wire" else seed_by_courier
        made = seed(self.protection, change, capacity, rates=volume.rates, model=model)
        return made.spool_peak_bytes

    def broken(self) -> dict[str, str]:
        """The objectives that these inputs break, and how."""
        found, told, volume = self._known_figures(), {}, self.curve.volume
        rpo = found["rpo_seconds"]
        if rpo is None or found["catch_up_seconds"] is None:
            return {"catching up": "the link does not catch up"}
        if rpo > self.curve.rpo_seconds:
            told["RPO"] = f"{rpo:,.0f} s for {100 * self.curve.rpo_share:g} % of the time"
        spool = found["spool_bytes"]
        if volume.given_bytes is not None and spool is not None and spool > volume.given_bytes:
            told[volume.name] = f"{spool / GB:,.1f} GB are needed"
        if volume.copied_by is not None:
            copy = found["first_copy_bytes"]
            if copy is None:
                told["first copy"] = "it is not there within the plan"
            elif volume.given_bytes is not None and copy > volume.given_bytes:
                told["first copy"] = f"{copy / GB:,.1f} GB wait meanwhile"
        return told

    def overfilled(self) -> dict[str, str]:
        """What the planned outage overfills that is no objective: the log volume of a log shipper
        for which only the rule stands."""
        spool, volume = self.outputs()["spool_bytes"], self.curve.volume
        if volume.given_bytes is not None or volume.bound_bytes is None or spool is None:
            return {}
        if spool <= volume.bound_bytes:
            return {}
        size = f"{volume.bound_bytes / GB:,.1f} GB"
        return {volume.name: f"{spool / GB:,.1f} GB are needed, more than the rule's {size}"}


@dataclass(frozen=True)
class _Volume:
    """Where changes wait: its name, its size as given and as what bounds outages; the way of a
    first copy that has to fit on it (None where none has to), and how fast that is made."""

    name: str
    given_bytes: float | None
    bound_bytes: float | None
    copied_by: str | None
    rates: SeedRates


class _Fixed:
    """What no input changes; not a dataclass, so that nobody takes its numbers for inputs."""

    def __init__(
        self,
        change: ChangeCurve,
        rpo_seconds: float,
        rpo_share: float,
        volume: _Volume,
        outages: Sequence[tuple[float, float]],
        defragmentation_share: float,
        night_bytes: Floats,
        pages_per_log_byte: float,
        log_share_of_writes: float,
        link: PlannedLink,
    ) -> None:
        self.change = continued(change, AFTER)
        night = continued(replace(change, database_bytes=night_bytes), AFTER)
        self.night_bytes = night.database_bytes
        """Of the pages, those that the night's defragmentation writes."""
        self.defragmentation_share = defragmentation_share
        self.pages_per_log_byte = pages_per_log_byte
        self.log_share_of_writes = log_share_of_writes
        self.link = link
        self.known_lines: dict[PlanCase, float | None] = {}
        self.known: dict[PlanCase, dict[str, float | None]] = {}
        """Outputs by inputs."""
        self.planned_gb_per_day = change.written_bytes_per_day / GB
        self.steps = change.grid.steps
        """Of the plan itself; those behind are for catching up."""
        self.rpo_seconds = rpo_seconds
        self.rpo_share = rpo_share
        self.volume = volume
        self.outages = tuple(outages)


def _silent(_what: str) -> None:
    return None


LITTLE_ROOM: Final = "RPO: kept with less than a step of the plan to spare"
"""What breaks first on a line slower than the advised one."""
_LIMIT_COLUMNS: Final = {
    "holds_until": "breaks",
    "others_until": "others_break",
    "would_hold_at": "",
}
"""Columns of limits, each with that of what breaks there."""
_LEFT_OUT: Final = frozenset({"link.mss_bytes", "protection.delay_seconds"})
"""Not what anybody would argue about."""
_CALENDAR: Final = (*(f"days.{day}" for day in range(7)), "from_seconds", "until_seconds")
"""When the line's windows are is known."""


def sensitivity_of(
    case: PlanCase, tell: Tell = _silent, rates: Sequence[RequiredRate] = ()
) -> pd.DataFrame:
    """Each input moved alone (:func:`~simulator.plan.sensitivity.tornado`).

    The outputs are those of :meth:`PlanCase.outputs` and ``line_bits_per_second``, the line rate
    that the RPO needs for its share of the time; without it where no line rate keeps it.

    Arguments
    ---------
    rates: what the plan has found that it needs; the one for another share of the time is searched.
    """
    need = _line_need(case, rates)

    def outputs(other: PlanCase) -> dict[str, float | None]:
        found = dict(other.outputs())
        return found if need is None else found | {LINE: other.line_bits_per_second(need)}

    inputs = [
        path
        for path, value in numeric_inputs(case).items()
        if value and path not in _LEFT_OUT and not path.endswith(_CALENDAR)
    ]
    if case.night_share and "night_share" not in inputs:
        inputs.append("night_share")
    return tornado(case, outputs, inputs=inputs, tell=tell)


def _line_need(case: PlanCase, rates: Sequence[RequiredRate]) -> LineNeed | None:
    """The plan's own line rate for its RPO, to be asked with other inputs."""
    fixed, planned = case.curve, case.curve.change.first(case.curve.steps)
    share, rpo = fixed.rpo_share, fixed.rpo_seconds
    of_share = [each for each in rates if abs(each.share_of_time - share) < _SAME_SHARE]
    [rate, *_] = of_share or required_rates(
        case.protection,
        planned,
        case.link,
        rpo,
        (share,),
        outages=fixed.outages,
        margin_seconds=planned.grid.step_seconds,
    )
    if rate.bits_per_second is None:
        return None
    return LineNeed.of(
        case.protection,
        planned,
        case.link,
        rate.bits_per_second,
        rpo,
        share,
        fixed.outages,
    )


def validity_of(
    case: PlanCase,
    tell: Tell = _silent,
    besides: Mapping[str, str] | None = None,
    line_rate: float | None = None,
) -> pd.DataFrame:
    """While what the plan holds (:func:`~simulator.plan.validity.validity`).

    Arguments
    ---------
    besides: objectives that the plan misses and that none of these inputs moves, and how.
    line_rate: the least line for the RPO as the plan advises it, in bits per second: no limit of
        the line is below it, so that one page has one figure; None for none.

    Of a plan that does not hold it says at which value of each input it would, and how far the
    objectives go that are met.
    """
    missed = {**case.broken(), **(besides or {})}
    never = "catching up" in missed
    tried = count(1)

    def broken(other: PlanCase) -> dict[str, str]:
        tell(f"{next(tried)} values tried")
        return {**other.broken(), **(besides or {})}

    # What the rule's volume does not hold as planned is no promise.
    over = case.overfilled()

    def others(other: PlanCase) -> dict[str, str]:
        tell(f"{next(tried)} values tried")
        found = {name: told for name, told in other.broken().items() if name not in missed}
        return found if over else {**found, **other.overfilled()}

    furthest = {
        "change_gb_per_day": case.change_gb_per_day * 10,
        "link.loss": 0.05,
        "link.rtt_seconds": max(1.0, 10 * case.link.rtt_seconds),
        "link.bits_per_second": case.link.bits_per_second / 20,
        "outage_hours": min(case.outage_hours * 10, _longest_hours(case)),
    }
    best = {
        "change_gb_per_day": case.change_gb_per_day / 20,
        "link.loss": 0.0,
        "link.rtt_seconds": 0.0,
        "link.bits_per_second": case.link.bits_per_second * 20,
        "outage_hours": case.curve.change.grid.step_seconds / HOUR_SECONDS,
    }
    found = validity(
        case,
        broken if missed else others,
        furthest,
        tolerance=0.01,
        others=None if never else others,
        best={} if besides else best,
    )
    return found if line_rate is None else _with_line(found, line_rate)


def _with_line(limits: pd.DataFrame, least: float) -> pd.DataFrame:
    """The limits, that of the line not below a rate where it lies just below the planned one."""
    found = limits.astype(object).copy()
    row = found.index[found["input"] == "link.bits_per_second"][0]
    planned = float(found.loc[row, "planned"])
    for column, breaks in _LIMIT_COLUMNS.items():
        value = found.loc[row, column]
        below = least <= planned if breaks else least > planned
        if value is None or not below or value >= least:
            continue
        found.loc[row, column] = least
        if breaks:
            found.loc[row, breaks] = LITTLE_ROOM
        if breaks == "breaks":
            found.loc[row, "text"] = (
                f"holds while link.bits_per_second >= {least:g} (planned {planned:g}); beyond it "
                f"{LITTLE_ROOM}"
            )
    return found


def _longest_hours(case: PlanCase) -> float:
    return case.curve.change.grid.span_seconds / 4 / HOUR_SECONDS
