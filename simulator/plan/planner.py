"""The whole plan of an organisation, in one object of frames.

:func:`make_plan` is what the commands and the notebooks call.  It puts the pieces together and
decides nothing by itself: what they mean stands in their modules.  Frames have their columns
described there; times are seconds, amounts bytes, rates bits per second, unless a name says else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from replicator.errors import BadInput
from simulator.plan.answers import or_none
from simulator.plan.bandwidth import required_rates, required_rates_frame
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.carried_amount import carried_amount, daily_amounts
from simulator.plan.change import ChangeCurve
from simulator.plan.copy_begins import copy_begins
from simulator.plan.grid import Floats
from simulator.plan.horizon import after_seconds
from simulator.plan.link_use import LinkUse, link_use
from simulator.plan.monte_carlo import MonteCarlo, continued
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
from simulator.plan.plan_begin import begun
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_limits import validity_of
from simulator.plan.plan_parts import (
    Tell,
    catch_up_by_rate,
    copy_seconds,
    copy_spool,
    drawn_outages,
    first_copies,
    kinds_side_by_side,
    lengths_between,
    line_for,
    missed_besides,
    outages_of_given_spool,
    returns_by_hour,
    streams_for,
)
from simulator.plan.plan_sensitivity import sensitivity_of
from simulator.plan.plan_units import input_name
from simulator.plan.protection import Course, Protection
from simulator.plan.recovery_time import recovery_times
from simulator.plan.replica_waits import ReplicaFigures, replica_waits
from simulator.plan.run_outages import outages_of
from simulator.plan.violations import days, lags_of_link, shares_of_time, violations
from simulator.plan.volumes import (
    LogVolume,
    SpoolSize,
    log_volume,
    spool_lasts,
    spool_size,
    spool_surface,
)
from simulator.plan.waiting_volume import (
    advised_volume_bytes,
    given_volume,
    kept_log_bytes,
    log_volume_bytes,
    volume_name,
)
from simulator.units import format_duration


@dataclass(frozen=True, eq=False)
class Plan:
    """All that was found.

    Attributes
    ----------
    organisation, change, link, protections, courses: what it was found from; the organisation's
        own protection comes first.  Courses have the outages at dates in them, and so have the
        line rates.
    kinds: a row for each kind of protection: ``kind``, ``catches_up``, ``mean_utilisation``,
        ``rpo_50_seconds`` ... ``rpo_100_seconds``, ``waiting_peak_bytes``,
        ``carried_bytes_per_day``; for the planned outage ``spool_bytes`` (None for kinds that
        keep none), ``catch_up_seconds``; with the organisation's way of the first copy
        ``first_copy_seconds``, ``first_copy_spool_bytes``; ``rto_seconds``; ``missed`` (objectives
        that it misses on this line, with the volumes that are given; empty for none); ``reason``.
    use: how busy the link is with the own kind.
    rates: the line rates that the RPO needs (:mod:`.bandwidth`).
    lags: the RPO that the link gives.
    violations, days: of the RPO, by date.
    spools: one for each outage length, the planned one first; empty for kinds without a spool.
    spool_volume_bytes, spool_is_given: the volume that ``lasts`` and ``spool_outages`` are about:
        the organisation's, or the one that is advised; 0 where there is no size to buy.
    surface: the spool by length and hour of the start (:func:`~.volumes.spool_surface`).
    lasts: how long that volume lasts by hour; empty for kinds without a spool, and where there is
        no size to buy.
    spool_outages: what the planned outage does to that volume, by hour of the start.
    returns: of the planned outage, by hour of the start: ``lag_at_return_seconds``,
        ``lag_peak_seconds``, ``catch_up_seconds`` (the worst; None for never).
    catch_up_by_rate: ``bits_per_second``, ``catch_up_seconds`` of the planned outage's worst start.
    replica: what waits at the replica, by cause (:mod:`.replica_waits`); empty for kinds that keep
        nothing there.
    log_volume: when truncation is blocked; where none is given of the one that is advised, else of
        one for three days of logs.
    first_copy: both ways.
    copy_begins: on the planned way, begun at other times of the week (:mod:`.copy_begins`); empty
        where no size is known, the line never catches up, or the kind keeps no spool.
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
    copy_begins: pd.DataFrame
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
    def no_size(self) -> str:
        """Why there are no sizes to buy: what waits never goes; empty where it does."""
        if not self.use.catches_up:
            return self.use.reason
        return _no_size(self.kinds, self.organisation)

    @property
    def carried_bytes_per_second(self) -> float:
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

    Raises BadInput for files of the site that cannot be right, for dates that are not within a plan
    that begins with its files, and for a plan that has nothing to carry.
    """
    tell("what is written")
    change = change_of(organisation)
    if float(change.written_bytes.sum() + change.message_bytes.sum()) <= 0:
        raise BadInput(
            "nothing is written in this plan",
            path=organisation.name,
            remedy="Give mailboxes, or files of a site that writes.",
        )
    organisation = begun(organisation, change.grid.begins_at)
    grid, link = change.grid, link_of(organisation)
    protections = protections_of(organisation)
    own = next(iter(protections.values()))
    if not any(daily_amounts(change, own).values()):
        raise BadInput(
            f"there is nothing that {own.name} would carry: {input_name(carried_amount(own))} are "
            "none in this plan",
            path=organisation.name,
            remedy="Choose another kind (protection.kind), or look at the ratios that say what "
            "files of the site do not tell (log_share_of_writes, message_bytes_per_log_byte).",
        )
    usual = link.capacity_bytes(grid)
    outages = [
        ((event.at - grid.begins_at).total_seconds(), event.length_ns / NS)
        for event in organisation.outages.events
    ]
    capacity = without(usual, grid, outages)
    courses = {}
    for name, kind in protections.items():
        tell(f"kinds of protection: {name}")
        courses[name] = kind.course(change, capacity)
    rpo = organisation.objectives.rpo_ns / NS
    tell("line rates for the RPO")
    shares = shares_of_time(organisation.objectives.rpo_share)
    needed = required_rates(
        own,
        change,
        link,
        rpo,
        shares,
        outages=outages,
        tell=lambda what: tell(f"line rates for the RPO: {what}"),
        margin_seconds=grid.step_seconds,
    )
    rates = required_rates_frame(needed)
    tell("outages")
    # Outages late in the plan catch up behind its end.
    longer = continued(change, after_seconds(organisation))
    after = link.capacity_bytes(longer.grid)
    use = link_use(own, change, usual)
    models = {name: outages_of(kind, longer, after) for name, kind in protections.items()}
    model = models[own.name]
    within = grid.span_seconds
    planned = organisation.outages.planned_ns / NS
    spools: tuple[SpoolSize, ...] = ()
    surface = lasts = spool_outages = pd.DataFrame()
    if isinstance(model, OutageModel):
        lengths = [length / NS for length in organisation.outages.lengths_ns]
        margin = organisation.protection.spool_margin
        spools = tuple(
            spool_size(model, length, change.stored_bytes, margin, within_seconds=within)
            for length in dict.fromkeys((planned, *lengths))
        )
        shown = sorted({planned, *lengths, *lengths_between(lengths)})
        surface = spool_surface(model, shown, within_seconds=within)
    returns = returns_by_hour(model, planned, within)
    tell("catching up")
    catch_up = catch_up_by_rate(own, longer, link, planned, within, tell)
    tell("first copy and recovery")
    copies = {}
    for name, kind in protections.items():
        tell(f"first copy and recovery: {name}")
        copies[name] = first_copies(organisation, kind, longer, after, models[name])
    first_copy, way = copies[own.name], organisation.first_copy.by
    begins = pd.DataFrame()
    if use.catches_up:
        begins = copy_begins(organisation, own, longer, after, model)
    figures = recovery_figures(organisation)
    recovery = recovery_times(list(protections.values()), change, figures)
    kinds = kinds_side_by_side(
        organisation, protections, courses, change, usual, models, copies, recovery
    )
    no_size = use.reason or _no_size(kinds, organisation)
    volume = given_volume(organisation, own)
    given, logs_bytes = volume is not None, log_volume_bytes(organisation, change, own)
    if spools and no_size:
        none = f"no spool is enough: {no_size}"
        spools = tuple(replace(each, remark=none) for each in spools)
    elif spools and volume is None:
        waits = copy_spool(way, first_copy)
        volume = advised_volume_bytes(organisation, change, own, spools[0].needed_bytes, waits)
    if volume is not None:
        if volume_name(own) == "log volume":
            logs_bytes = volume
        if isinstance(model, OutageModel):
            lasts = spool_lasts(model, volume, within_seconds=within)
            spool_outages = outages_of_given_spool(
                organisation, change, model, planned, volume, within
            )
    replica = replica_waits(
        own,
        longer,
        after,
        model,
        ReplicaFigures(
            apply_bytes_per_second=organisation.protection.apply_bytes_per_second,
            replay_seconds_per_log=figures.replay_seconds_per_log,
            parallel_replays=figures.parallel_replays,
            delay_seconds=figures.replay_lag_seconds,
            copy_begin_seconds=seed_rates(organisation).begin_seconds,
        ),
        copy_seconds(first_copy, way),
        planned,
        within,
    )
    tell("drawn outages")
    drawn = drawn_outages(organisation, own, change, link)
    case = PlanCase.of(organisation, change, link, own, outages)
    tornado = sensitivity_of(case, lambda what: tell(f"what it depends on: {what}"), needed)
    return Plan(
        organisation,
        change,
        link,
        capacity,
        protections,
        courses,
        kinds,
        use,
        rates,
        lags_of_link(own, change, capacity, shares),
        violations(courses[own.name], rpo),
        days(courses[own.name], rpo),
        spools,
        volume or 0.0,
        given,
        surface,
        lasts,
        spool_outages,
        returns,
        catch_up,
        replica,
        log_volume(longer, logs_bytes, kept_log_bytes(longer, own), within),
        first_copy,
        begins,
        recovery,
        drawn,
        tornado,
        validity_of(
            case,
            lambda what: tell(f"while what it holds: {what}"),
            missed_besides(kinds),
            line_for(organisation, needed),
            streams_for(organisation, needed),
        ),
    )


def _no_size(kinds: pd.DataFrame, organisation: Organisation) -> str:
    """Why the own kind, the first row, never catches up after the planned outage."""
    if not pd.isna(kinds["catch_up_seconds"].iloc[0]):
        return ""
    length = format_duration(organisation.outages.planned_ns / NS)
    return f"an outage of {length} is not caught up within the plan"


def worst_spool(plan: Plan) -> SpoolSize | None:
    """The spool of the planned outage; None for kinds that have none."""
    return plan.spools[0] if plan.spools else None


def longest_lasting(plan: Plan) -> float | None:
    """How long the given spool lasts at its worst hour, in seconds; None when it is never full."""
    if plan.lasts.empty:
        return None
    known = [float(each) for each in plan.lasts["shortest_seconds"] if each is not None]
    return or_none(min(known)) if known else None
