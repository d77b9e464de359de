"""The inputs of a plan that somebody may doubt, and what comes of other values.

:class:`PlanCase` holds them as plain numbers, so that :mod:`.plan_sensitivity` and
:mod:`.plan_limits` can move one at a time; it evaluates only the few figures that a decision hangs
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from simulator.plan.capacity import PlannedLink, without
from simulator.plan.carried_amount import (
    CHANGE,
    GB,
    LOGS,
    MESSAGES,
    carried_amount,
    daily_amounts,
)
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import HOUR_SECONDS, Floats
from simulator.plan.horizon import after_seconds
from simulator.plan.line_need import LineNeed
from simulator.plan.link_use import link_use
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_curves import NS, night_rewrite, seed_rates
from simulator.plan.outage_starts import worst_starts
from simulator.plan.outages import OutageModel
from simulator.plan.plan_units import format_share, format_volume
from simulator.plan.protection import Protection, Queued, on_round_trip
from simulator.plan.run_outages import AnyOutages, outages_of
from simulator.plan.seeding import SeedRates, seed_by_courier, seed_over_wire
from simulator.plan.waiting_volume import (
    advised_volume_bytes,
    given_volume,
    stops_when_full,
    volume_name,
)
from simulator.units import format_duration

_NEVER: Final = {"spool_bytes": None, "catch_up_seconds": None, "rpo_seconds": None}
_OF_COPY: Final = ("first_copy_bytes", "first_copy_seconds")
_NOTHING: Final = {**_NEVER, **dict.fromkeys(_OF_COPY)}
ARRIVAL: Final = "arrival of the first copy"
"""The objective that a first copy is there at all."""


@dataclass(frozen=True)
class PlanCase:
    """One set of inputs.

    Attributes
    ----------
    change_gb_per_day: logs and pages, on average; the shape of the curve stays.  0 for kinds that
        carry something else: log shipping has ``logs_gb_per_day`` in its place, objects have
        ``messages_gb_per_day``: what is planned with should be what is measured.
    night_share: of the written bytes, times as many from 22:00 to 06:00 as planned.
    defragmentation_share: of the stored pages, rewritten each night; 0 where the curve does not
        tell it apart.
    pages_per_log_byte: where it was assumed (:attr:`ChangeCurve.assumed_page_ratio`), else 0.
    log_share_of_writes: where logs and pages were divided by it
        (:attr:`ChangeCurve.divided_log_share`), else 0; what is written in all stays.
    stored_gb: in the databases at the begin, of which a night's defragmentation rewrites its share
        and a full backup reads all; 0 where nothing says it.
    link: as planned, without its windows: their rates follow its own.
    protection: as planned.
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
    logs_gb_per_day: float = 0.0
    stored_gb: float = 0.0
    messages_gb_per_day: float = 0.0

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
        known = change.stored_bytes is not None
        judged = known and stops_when_full(organisation, protection)
        share, night_bytes = night_rewrite(organisation, change)
        ratio, logs = change.assumed_page_ratio or 0.0, change.divided_log_share or 0.0
        daily = daily_amounts(change, protection)
        case = cls(
            daily[CHANGE],
            1.0,
            replace(link, windows=()),
            protection,
            organisation.outages.planned_ns / NS / HOUR_SECONDS,
            _Fixed(
                change,
                objectives.rpo_ns / NS,
                objectives.rpo_share,
                _Volume(
                    volume_name(protection),
                    volume,
                    None,
                    organisation.first_copy.by if known else None,
                    judged,
                    seed_rates(organisation),
                ),
                outages,
                share,
                night_bytes,
                ratio,
                logs,
                link,
                sum(daily.values()),
                after_seconds(organisation),
            ),
            share,
            ratio,
            logs,
            daily[LOGS],
            (change.stored_bytes or 0.0) / GB,
            daily[MESSAGES],
        )
        found = case._known_figures()
        spool, copy = found["spool_bytes"], found["first_copy_bytes"]
        caught_up = found["catch_up_seconds"] is not None
        if volume is None and isinstance(protection, Queued) and caught_up and spool is not None:
            advised = advised_volume_bytes(organisation, change, protection, spool, copy)
            case.curve.volume = replace(case.curve.volume, advised_bytes=advised)
        return case

    @property
    def amount(self) -> str:
        """Which input says how much is carried a day, or written where that is carried."""
        return carried_amount(self.protection)

    def _line(self) -> PlannedLink:
        """The link with its windows, whose rates follow its own (:meth:`PlannedLink.at_rate`)."""
        planned = self.curve.link
        return replace(self.link, windows=planned.at_rate(self.link.bits_per_second).windows)

    def changed(self) -> ChangeCurve:
        """The curve with these inputs."""
        fixed = self.curve
        change = fixed.change
        night_times = 1.0
        if self.defragmentation_share != fixed.defragmentation_share:
            night_times = self.defragmentation_share / fixed.defragmentation_share
        if self.stored_gb != fixed.stored_gb:
            night_times *= self.stored_gb / fixed.stored_gb
            change = replace(change, stored_bytes=self.stored_gb * GB)
        if night_times != 1.0:
            pages = change.database_bytes + (night_times - 1.0) * fixed.night_bytes
            change = replace(change, database_bytes=np.maximum(pages, 0.0))
        if self.pages_per_log_byte != fixed.pages_per_log_byte:
            times = self.pages_per_log_byte / fixed.pages_per_log_byte
            change = replace(change, database_bytes=change.database_bytes * times)
        if self.log_share_of_writes != fixed.log_share_of_writes:
            change = self._divided_anew(change)
        factor = 1.0
        if fixed.planned_amount:
            factor = float(getattr(self, self.amount)) / fixed.planned_amount
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
        asked = replace(self, link=link, outage_hours=0.0, protection=self._kind())
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
        """The outputs, and what of the first copy waits and how long it takes, where its size is
        known."""
        change, kind = self.changed(), self._kind()
        grid, within = change.grid, change.grid.span_seconds - self.curve.after_seconds
        capacity = self._line().capacity_bytes(grid)
        disturbed = without(capacity, grid, self.curve.outages)
        model: AnyOutages
        if isinstance(kind, Queued):
            # Made once: it is offered to the line, and it has its outages and its course.
            queue = kind.queue(change)
            use = link_use(kind, change, capacity, queue.offered_bytes())
            if not use.catches_up:
                return dict(_NOTHING)
            model, course = OutageModel(queue, capacity), queue.course(disturbed)
        else:
            if not link_use(kind, change, capacity).catches_up:
                return dict(_NOTHING)
            model = outages_of(kind, change, capacity)
            course = kind.course(change, disturbed)
        length = round(self.outage_hours * HOUR_SECONDS)
        starts, _numbers = worst_starts(model, length, "day", within, of_all=True)
        effects = model.effects(starts, float(length), with_lag=False)
        caught_up = bool(effects.caught_up.all())
        return {
            "spool_bytes": float(effects.spool_peak_bytes.max()),
            "catch_up_seconds": float(effects.catch_up_seconds.max()) if caught_up else None,
            "rpo_seconds": float(
                np.quantile(course.lag_seconds[: self.curve.steps], self.curve.rpo_share)
            ),
            **self._copied(change, capacity, model),
        }

    def _kind(self) -> Protection:
        """The protection on this case's line: logs wait for its round trips."""
        return on_round_trip(self.protection, self.link.rtt_seconds)

    def _copied(
        self, change: ChangeCurve, capacity: Floats, model: AnyOutages
    ) -> dict[str, float | None]:
        volume = self.curve.volume
        if volume.copied_by is None:
            return dict.fromkeys(_OF_COPY)
        seed = seed_over_wire if volume.copied_by == "wire" else seed_by_courier
        made = seed(self._kind(), change, capacity, rates=volume.rates, model=model)
        # What never converges only grows: its peak so far is no size.
        peak = None if made.converges_after_seconds is None else made.spool_peak_bytes
        figures = (peak, made.converges_after_seconds)
        return dict(zip(_OF_COPY, figures, strict=True))

    def broken(self, *, volume_aside: bool = False) -> dict[str, str]:
        """The objectives that these inputs break, and how.

        ``volume_aside``: as if the volume on which changes wait were as large as it must be.
        """
        found, told, volume = self._known_figures(), {}, self.curve.volume
        rpo = found["rpo_seconds"]
        if rpo is None or found["catch_up_seconds"] is None:
            return {"catching up": "the link does not catch up"}
        if rpo > self.curve.rpo_seconds:
            share = format_share(self.curve.rpo_share)
            told["RPO"] = f"{format_duration(rpo)} for {share} of the time"
        most = np.inf if volume_aside or volume.given_bytes is None else volume.given_bytes
        spool = found["spool_bytes"]
        if spool is not None and spool > most:
            told[volume.name] = f"{format_volume(spool)} are needed"
        if volume.copied_by is not None and found["first_copy_seconds"] is None:
            told[ARRIVAL] = "it never converges within the plan"
        copy = found["first_copy_bytes"]
        if volume.holds_copy and copy is not None and copy > most:
            told["first copy"] = f"{format_volume(copy)} wait meanwhile"
        return told

    def on_volume(self) -> tuple[float, str] | None:
        """The most that waits on the volume, in bytes, and the objective that it is for: the
        planned outage's, or the first copy where it has to fit; None for never."""
        found, volume = self._known_figures(), self.curve.volume
        spool, copy = found["spool_bytes"], found["first_copy_bytes"]
        if spool is None or (volume.holds_copy and copy is None):
            return None
        if volume.holds_copy and copy is not None and copy > spool:
            return copy, "first copy"
        return spool, volume.name

    def overfilled(self) -> dict[str, str]:
        """What overfills the volume that is advised where none is given: no objective, but what is
        told of a plan is told of that volume."""
        found, volume = self._known_figures(), self.curve.volume
        advised, spool, copy = volume.advised_bytes, found["spool_bytes"], found["first_copy_bytes"]
        told: dict[str, str] = {}
        if advised is None:
            return told
        # How much more is no news just beyond a limit: both would be spelled alike.
        most = f"than the {format_volume(advised)} advised"
        if spool is not None and spool > advised:
            told[volume.name] = f"more is needed {most}"
        if volume.holds_copy and copy is not None and copy > advised:
            told["first copy"] = f"more waits meanwhile {most}"
        return told


@dataclass(frozen=True)
class _Volume:
    """Where changes wait: its name, its size as given, and as advised where none is given; the way
    of the first copy (None where its size is not known), whether it has to fit, how fast it is
    made."""

    name: str
    given_bytes: float | None
    advised_bytes: float | None
    copied_by: str | None
    holds_copy: bool
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
        planned_amount: float,
        after_seconds: float,
    ) -> None:
        self.change = continued(change, after_seconds)
        self.after_seconds = self.change.grid.span_seconds - change.grid.span_seconds
        """Behind the plan, for catching up."""
        night = continued(replace(change, database_bytes=night_bytes), after_seconds)
        self.night_bytes = night.database_bytes
        """Of the pages, those that the night's defragmentation writes."""
        self.defragmentation_share = defragmentation_share
        self.pages_per_log_byte = pages_per_log_byte
        self.log_share_of_writes = log_share_of_writes
        self.link = link
        self.known_lines: dict[PlanCase, float | None] = {}
        self.known: dict[PlanCase, dict[str, float | None]] = {}
        """Outputs by inputs."""
        self.planned_amount = planned_amount
        """Of the input that scales the curve (:attr:`PlanCase.amount`)."""
        self.stored_gb = (change.stored_bytes or 0.0) / GB
        self.steps = change.grid.steps
        """Of the plan itself; those behind are for catching up."""
        self.rpo_seconds = rpo_seconds
        self.rpo_share = rpo_share
        self.volume = volume
        self.outages = tuple(outages)
