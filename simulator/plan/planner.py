"""The whole plan of an organisation, in one object of frames.

:func:`make_plan` is what the commands and the notebooks call.  It puts the pieces together and
decides nothing by itself: what they mean stands in their modules.  Frames have their columns
described there; times are seconds, amounts bytes, rates bits per second, unless a name says else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from replicator.errors import BadInput
from simulator.plan.answers import answer_frame, or_none
from simulator.plan.bandwidth import (
    LinkUse,
    days,
    lags_of_link,
    link_use,
    required_rates,
    required_rates_frame,
    violations,
)
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.change import ChangeCurve
from simulator.plan.distributions import Lognormal, Triangular
from simulator.plan.grid import HOUR_SECONDS, Floats
from simulator.plan.monte_carlo import (
    MonteCarlo,
    OutageLaw,
    UncertainInputs,
    continued,
    monte_carlo,
)
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_curves import (
    NS,
    change_of,
    link_of,
    protections_of,
    recovery_figures,
    seed_rates,
)
from simulator.plan.outages import OutageModel
from simulator.plan.plan_inputs import PlanCase, sensitivity_of, validity_of
from simulator.plan.protection import Course, LogShipping, Protection
from simulator.plan.recovery_time import recovery_times
from simulator.plan.run_outages import AnyOutages, outages_of
from simulator.plan.seeding import compare_seedings, seed_by_courier, seed_over_wire
from simulator.plan.spool_full import Spool, with_spool, worst_by_hour
from simulator.plan.volumes import (
    LogVolume,
    SpoolSize,
    hour_numbers,
    log_volume,
    replica_spool,
    spool_lasts,
    spool_size,
    spool_surface,
)

Tell = Callable[[str], None]
AFTER_SECONDS: Final = 28 * 86_400.0
"""In which outages late in the plan may catch up."""
LOG_VOLUME_DAYS: Final = 3.0
"""Of logs that a log volume holds [V]."""
LOAD_RANGE: Final = (0.8, 1.0, 1.3)
"""How far what is written may be from the plan: least, likely, most [A]."""
RATE_STEPS: Final = np.geomspace(0.25, 8.0, 31)
"""Line rates at which the time to catch up is shown, as multiples of the organisation's."""
_P95_SIGMAS: Final = 1.6449
"""How many standard deviations 95 % of a normal distribution are below."""


@dataclass(frozen=True, eq=False)
class Plan:
    """All that was found.

    Attributes
    ----------
    organisation, change, link, protections, courses: what it was found from; the organisation's
        own protection comes first.  Courses have the outages at dates in them.
    kinds: a row for each kind of protection: ``kind``, ``catches_up``, ``mean_utilisation``,
        ``rpo_50_seconds`` ... ``rpo_100_seconds``, ``waiting_peak_bytes``,
        ``carried_bytes_per_day``, ``reason``.
    use: how busy the link is with the own kind.
    rates: the line rates that the RPO needs (:mod:`.bandwidth`).
    lags: the RPO that the link gives.
    violations, days: of the RPO, by date.
    spools: one for each outage length, the planned one first; empty for kinds without a spool.
    spool_volume_bytes, spool_is_given: the volume that ``lasts`` and ``spool_outages`` are about:
        the organisation's, or one that is too small on purpose.
    surface: the spool by length and hour of the start (:func:`~.volumes.spool_surface`).
    lasts: how long that volume lasts by hour; empty for kinds without a spool.
    spool_outages: what the planned outage does to that volume, by hour of the start.
    returns: of the planned outage, by hour of the start: ``lag_at_return_seconds``,
        ``lag_peak_seconds``, ``catch_up_seconds`` (the worst; None for never).
    catch_up_by_rate: ``bits_per_second``, ``catch_up_seconds`` of the planned outage's worst start.
    replica: what waits at the replica, by cause.
    log_volume: when truncation is blocked; of a volume for three days of logs where none is given.
    first_copy: both ways.
    recovery: the RTO by kind and part.
    drawn: the Monte Carlo.
    tornado, validity: what the answer depends on, and while what it holds.
    """

    organisation: Organisation
    change: ChangeCurve
    link: PlannedLink
    capacity_bytes: Floats
    protections: Mapping[str, Protection]
    courses: Mapping[str, Course]
    kinds: pd.DataFrame
    use: LinkUse
    rates: pd.DataFrame
    lags: pd.DataFrame
    violations: pd.DataFrame
    days: pd.DataFrame
    spools: tuple[SpoolSize, ...]
    spool_volume_bytes: float
    spool_is_given: bool
    surface: pd.DataFrame
    lasts: pd.DataFrame
    spool_outages: pd.DataFrame
    returns: pd.DataFrame
    catch_up_by_rate: pd.DataFrame
    replica: pd.DataFrame
    log_volume: LogVolume
    first_copy: pd.DataFrame
    recovery: pd.DataFrame
    drawn: MonteCarlo
    tornado: pd.DataFrame
    validity: pd.DataFrame

    @property
    def protection(self) -> Protection:
        """The organisation's own."""
        return next(iter(self.protections.values()))

    @property
    def course(self) -> Course:
        """Of the organisation's own protection."""
        return next(iter(self.courses.values()))

    @property
    def recommended_bytes_per_second(self) -> float:
        """Mean of what the own kind has the link carry."""
        grid = self.change.grid
        return float(self.course.carried_bytes.sum()) / grid.span_seconds


def _silent(_what: str) -> None:
    return None


def make_plan(organisation: Organisation, tell: Tell = _silent) -> Plan:
    """Make the plan of an organisation.

    Arguments
    ---------
    tell: called with a few words before each part.

    Raises BadInput for files of the site that cannot be right, and for a plan that has nothing to
    carry.
    """
    tell("what is written")
    change = change_of(organisation)
    if float(change.written_bytes.sum() + change.message_bytes.sum()) <= 0:
        raise BadInput(
            "nothing is written in this plan",
            path=organisation.name,
            remedy="Give mailboxes, or files of a site that writes.",
        )
    grid, link = change.grid, link_of(organisation)
    protections = protections_of(organisation)
    own = next(iter(protections.values()))
    usual = link.capacity_bytes(grid)
    outages = [
        ((event.at - grid.begins_at).total_seconds(), event.length_ns / NS)
        for event in organisation.outages.events
    ]
    capacity = without(usual, grid, outages)
    tell("kinds of protection")
    courses = {name: kind.course(change, capacity) for name, kind in protections.items()}
    rpo = organisation.objectives.rpo_ns / NS
    tell("bandwidth")
    rates = required_rates_frame(required_rates(own, change, link, rpo))
    tell("outages")
    # Outages late in the plan catch up behind its end.
    longer = continued(change, AFTER_SECONDS)
    after = link.capacity_bytes(longer.grid)
    model = outages_of(own, longer, after)
    within = grid.span_seconds
    planned = organisation.outages.planned_ns / NS
    spools: tuple[SpoolSize, ...] = ()
    surface = lasts = spool_outages = pd.DataFrame()
    volume, given = 0.0, False
    if isinstance(model, OutageModel):
        lengths = [length / NS for length in organisation.outages.lengths_ns]
        margin = organisation.protection.spool_margin
        spools = tuple(
            spool_size(model, length, change.stored_bytes, margin, within_seconds=within)
            for length in dict.fromkeys((planned, *lengths))
        )
        shown = sorted({planned, *lengths, *_between(lengths)})
        surface = spool_surface(model, shown, within_seconds=within)
        volume, given = _volume(organisation, own, spools[0])
        lasts = spool_lasts(model, volume, within_seconds=within)
        spool_outages = _of_given_spool(organisation, change, model, planned, volume, within)
    returns = _returns(model, planned, within)
    tell("catching up")
    catch_up = _catch_up_by_rate(own, longer, link, planned, within)
    tell("first copy and recovery")
    first_copy = _first_copy(organisation, own, longer, after)
    delay = organisation.protection.replica_delay_ns / NS
    replica = replica_spool(
        longer,
        {"initial synchronization": _wire_seconds(first_copy), "integrity test": HOUR_SECONDS}
        | ({"delayed copy": delay} if delay else {}),
        organisation.protection.compare_bytes_per_second,
    )
    tell("drawn outages")
    drawn = _draw(organisation, own, change, link)
    case = PlanCase.of(organisation, change, link, own, outages)
    tell("what it depends on")
    return Plan(
        organisation,
        change,
        link,
        capacity,
        protections,
        courses,
        _kinds(protections, courses, change, usual),
        link_use(own, change, usual),
        rates,
        lags_of_link(own, change, capacity),
        violations(courses[own.name], rpo),
        days(courses[own.name], rpo),
        spools,
        volume,
        given,
        surface,
        lasts,
        spool_outages,
        returns,
        catch_up,
        replica,
        log_volume(longer, _log_volume(organisation, change)),
        first_copy,
        recovery_times(list(protections.values()), change, recovery_figures(organisation)),
        drawn,
        sensitivity_of(case),
        validity_of(case),
    )


def _between(lengths: list[float]) -> list[float]:
    """Lengths for a curve of the spool by length: some up to the longest one."""
    return [float(each) for each in np.linspace(0, max(lengths), 13)[1:]]


def _kinds(
    protections: Mapping[str, Protection],
    courses: Mapping[str, Course],
    change: ChangeCurve,
    capacity_bytes: Floats,
) -> pd.DataFrame:
    rows = []
    for name, course in courses.items():
        use = link_use(protections[name], change, capacity_bytes)
        row: dict[str, object] = {
            "kind": name,
            "catches_up": use.catches_up,
            "mean_utilisation": use.mean_utilisation,
        }
        for share in (0.5, 0.95, 0.99, 1.0):
            row[f"rpo_{100 * share:g}_seconds"] = course.lag_at(share) if use.catches_up else None
        row["waiting_peak_bytes"] = float(course.waiting_bytes.max()) if use.catches_up else None
        row["carried_bytes_per_day"] = float(course.carried_bytes.sum()) / change.days
        row["reason"] = use.reason
        rows.append(row)
    return answer_frame(rows)


def _of_given_spool(
    organisation: Organisation,
    change: ChangeCurve,
    model: OutageModel,
    length: float,
    volume: float,
    within: float,
) -> pd.DataFrame:
    """What an outage of a length does to the spool that is given, by hour: the worst start."""
    spool = Spool(
        limit_bytes=volume,
        policy=organisation.protection.spool_full,
        data_set_bytes=change.stored_bytes or None,
        compare_bytes_per_second=organisation.protection.compare_bytes_per_second,
        rewritten_share=organisation.protection.rewritten,
    )
    starts, number = hour_numbers(model.grid, "day", within)
    return worst_by_hour(with_spool(model, spool, starts, length), number)


def _volume(organisation: Organisation, own: Protection, needed: SpoolSize) -> tuple[float, bool]:
    """The volume that the spool has, and whether the organisation gives it.

    What a log shipper has not copied lies on the log volume.  Where nothing is given, two thirds of
    what is needed: a size that somebody may be tempted by.
    """
    protection = organisation.protection
    size = protection.spool_bytes
    if isinstance(own, LogShipping):
        size = protection.log_volume_bytes or size
    return (needed.recommended_bytes * 2 / 3, False) if size is None else (float(size), True)


def _log_volume(organisation: Organisation, change: ChangeCurve) -> float:
    """The log volume; by default for three days, the rule for a server that stands alone [V]."""
    given = organisation.protection.log_volume_bytes
    return LOG_VOLUME_DAYS * change.log_bytes_per_day if given is None else float(given)


def _returns(model: AnyOutages, length: float, within: float) -> pd.DataFrame:
    """Of an outage of a length, by the hour of its start: the worst of each figure."""
    starts, number = hour_numbers(model.grid, "day", within)
    effects = model.effects(starts, length)
    rows = []
    for hour in np.unique(number):
        of = number == hour
        caught_up = bool(effects.caught_up[of].all())
        rows.append(
            {
                "hour": int(hour),
                "lag_at_return_seconds": float(effects.lag_at_return_seconds[of].max()),
                "lag_peak_seconds": float(effects.lag_peak_seconds[of].max()),
                "catch_up_seconds": float(effects.catch_up_seconds[of].max())
                if caught_up
                else None,
                "starts": int(of.sum()),
                "not_caught_up": int((~effects.caught_up[of]).sum()),
            }
        )
    return answer_frame(rows)


def _catch_up_by_rate(
    protection: Protection, change: ChangeCurve, link: PlannedLink, length: float, within: float
) -> pd.DataFrame:
    """The time to catch up after the worst start, by line rate; None where that is never."""
    rows = []
    for times in RATE_STEPS:
        rate = link.bits_per_second * float(times)
        faster = link.at_rate(rate)
        capacity = faster.capacity_bytes(change.grid)
        model = outages_of(protection, change, capacity)
        starts, _number = hour_numbers(change.grid, "day", within)
        effects = model.effects(starts, length, with_lag=False)
        sound = link_use(protection, change, capacity).catches_up and effects.caught_up.all()
        worst = float(effects.catch_up_seconds.max()) if sound else None
        rows.append({"bits_per_second": rate, "catch_up_seconds": worst})
    return answer_frame(rows)


def _first_copy(
    organisation: Organisation, own: Protection, change: ChangeCurve, capacity_bytes: Floats
) -> pd.DataFrame:
    if change.stored_bytes is None:
        return pd.DataFrame()
    rates = seed_rates(organisation)
    return compare_seedings(
        seed_over_wire(own, change, capacity_bytes, rates=rates),
        seed_by_courier(own, change, capacity_bytes, rates=rates),
    )


def _wire_seconds(first_copy: pd.DataFrame) -> float:
    """How long the first copy takes over the wire; 0 where it never arrives."""
    if first_copy.empty:
        return 0.0
    way = first_copy.set_index("way").loc["wire", "way_seconds"]
    return 0.0 if way is None or not np.isfinite(float(way)) else float(way)


def _draw(
    organisation: Organisation, own: Protection, change: ChangeCurve, link: PlannedLink
) -> MonteCarlo:
    outages = organisation.outages
    median, p95 = outages.median_ns / NS, outages.p95_ns / NS
    law = OutageLaw(
        per_year=max(outages.per_year, 1e-3),
        length_seconds=Lognormal(median, (p95 / median) ** (1.0 / _P95_SIGMAS)),
    )
    expected = law.per_year * change.grid.span_seconds / (365.25 * 86_400)
    years = int(min(max(organisation.draws / expected, 1), 1_000_000))
    return monte_carlo(
        own,
        change,
        link,
        law,
        years,
        organisation.seed,
        UncertainInputs(load_factor=Triangular(*LOAD_RANGE)),
    )


def worst_spool(plan: Plan) -> SpoolSize | None:
    """The spool of the planned outage; None for kinds that have none."""
    return plan.spools[0] if plan.spools else None


def longest_lasting(plan: Plan) -> float | None:
    """How long the given spool lasts at its worst hour, in seconds; None when it is never full."""
    if plan.lasts.empty:
        return None
    known = [float(each) for each in plan.lasts["shortest_seconds"] if each is not None]
    return or_none(min(known)) if known else None
