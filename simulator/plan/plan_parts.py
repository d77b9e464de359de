"""The parts of a plan that are read off its curves, each as a frame or a figure.

:func:`~simulator.plan.planner.make_plan` asks for them in their order; here the pieces of other
modules are brought together: kinds side by side, returns of the line by hour, line rates, first
copies, drawn outages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.answers import answer_frame
from simulator.plan.bandwidth import RequiredRate
from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.distributions import Lognormal, Triangular
from simulator.plan.grid import Floats
from simulator.plan.link_use import link_use, offered_bytes
from simulator.plan.monte_carlo import (
    MOST_YEARS,
    MonteCarlo,
    OutageLaw,
    UncertainInputs,
    monte_carlo,
)
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_curves import NS, seed_rates
from simulator.plan.outage_starts import worst_starts
from simulator.plan.outages import OutageModel
from simulator.plan.plan_inputs import ARRIVAL
from simulator.plan.protection import Course, Protection
from simulator.plan.run_outages import AnyOutages, outages_of
from simulator.plan.seeding import compare_seedings, seed_by_courier, seed_over_wire
from simulator.plan.spool_full import Spool, with_spool, worst_by_hour
from simulator.plan.volumes import spool_size
from simulator.plan.waiting_volume import given_volume, stops_when_full, volume_name
from simulator.units import format_duration

Tell = Callable[[str], None]
"""Told in a few words what is done next."""
FIRST_COPY_UNKNOWN: Final = "how long a first copy takes is not known: give change.database_size"
LOAD_RANGE: Final = (0.8, 1.0, 1.3)
"""How far what is written may be from the plan: least, likely, most [A]."""
RATE_STEPS: Final = np.geomspace(0.25, 8.0, 31)
"""Line rates at which the time to catch up is shown, as multiples of the organisation's."""
_P95_SIGMAS: Final = 1.6449
"""How many standard deviations 95 % of a normal distribution are below."""


def lengths_between(lengths: list[float]) -> list[float]:
    """Lengths for a curve of the spool by length: some up to the longest one."""
    return [float(each) for each in np.linspace(0, max(lengths), 13)[1:]]


def kinds_side_by_side(
    organisation: Organisation,
    protections: Mapping[str, Protection],
    courses: Mapping[str, Course],
    change: ChangeCurve,
    capacity_bytes: Floats,
    models: Mapping[str, AnyOutages],
    copies: Mapping[str, pd.DataFrame],
    recovery: pd.DataFrame,
) -> pd.DataFrame:
    """A row for each kind of protection; columns as :attr:`~simulator.plan.planner.Plan.kinds`.

    Arguments
    ---------
    capacity_bytes: of the line in each step, without the outages at dates.
    models: of each kind's outages, on a curve that goes on behind the plan.
    copies: the first copies of each kind, both ways.
    recovery: the recovery times of all kinds.
    """
    planned = organisation.outages.planned_ns / NS
    totals = recovery.set_index("protection")
    rows = []
    for name, course in courses.items():
        kind, model = protections[name], models[name]
        use = link_use(kind, change, capacity_bytes)
        row: dict[str, object] = {
            "kind": name,
            "catches_up": use.catches_up,
            "mean_utilisation": use.mean_utilisation,
        }
        for share in (0.5, 0.95, 0.99, 1.0):
            row[f"rpo_{100 * share:g}_seconds"] = course.lag_at(share) if use.catches_up else None
        row["waiting_peak_bytes"] = float(course.waiting_bytes.max()) if use.catches_up else None
        row["carried_bytes_per_day"] = float(course.carried_bytes.sum()) / change.days
        row["spool_bytes"] = row["catch_up_seconds"] = None
        within = change.grid.span_seconds
        if use.catches_up:
            row["catch_up_seconds"] = _caught_up_after(model, planned, within)
        # Of what is never caught up there is no size to buy.
        kept = row["catch_up_seconds"] is not None
        if kept and isinstance(model, OutageModel):
            row["spool_bytes"] = spool_size(model, planned, within_seconds=within).needed_bytes
        copy, missing = _copied_by(organisation.first_copy.by, copies[name])
        row["first_copy_seconds"] = copy
        row["first_copy_spool_bytes"] = None
        if kept and isinstance(model, OutageModel):
            row["first_copy_spool_bytes"] = copy_spool(organisation.first_copy.by, copies[name])
        total = totals.loc[name, "total_seconds"]
        row["rto_seconds"] = None if total is None else float(total)
        lag = course.lag_at(organisation.objectives.rpo_share) if use.catches_up else None
        known = not copies[name].empty
        row["missed"] = ", ".join(_missed_by(organisation, kind, row, lag, copy_is_known=known))
        unknown = "" if total is not None else str(totals.loc[name, "reason"])
        row["reason"] = "; ".join(dict.fromkeys(filter(None, (use.reason, missing, unknown))))
        rows.append(row)
    return answer_frame(rows)


def _caught_up_after(model: AnyOutages, length: float, within: float) -> float | None:
    """The time to catch up after the worst start of an outage; None for never."""
    starts, _number = worst_starts(model, length, "day", within, of_all=True)
    effects = model.effects(starts, length, with_lag=False)
    return float(effects.catch_up_seconds.max()) if effects.caught_up.all() else None


def _missed_by(
    organisation: Organisation,
    kind: Protection,
    row: Mapping[str, object],
    lag: float | None,
    *,
    copy_is_known: bool,
) -> list[str]:
    """The objectives that a kind misses on the plan's line and volumes, by the names of
    :func:`~simulator.plan.plan_objectives.outcomes_of`."""
    objectives, volume = organisation.objectives, given_volume(organisation, kind)

    def above(value: object, most: float) -> bool:
        return not isinstance(value, float) or value > most

    found = {
        "catching up": row["catch_up_seconds"] is None,
        "RPO": above(lag, objectives.rpo_ns / NS),
        "RTO": above(row["rto_seconds"], objectives.rto_ns / NS),
    }
    if copy_is_known:
        found[ARRIVAL] = row["first_copy_seconds"] is None
    if volume is not None:
        found[volume_name(kind)] = above(row["spool_bytes"], volume)
        if stops_when_full(organisation, kind) and copy_is_known:
            found["first copy"] = above(row["first_copy_spool_bytes"], volume)
    return [name for name, missed in found.items() if missed]


def missed_besides(kinds: pd.DataFrame) -> dict[str, str]:
    """Of the own kind, the first row, what it misses that no input of the limits moves."""
    row = kinds.iloc[0]
    if "RTO" not in str(row["missed"]).split(", "):
        return {}
    seconds = row["rto_seconds"]
    return {"RTO": "not known" if seconds is None else format_duration(float(seconds))}


def line_for(organisation: Organisation, rates: Sequence[RequiredRate]) -> float | None:
    """The line rate that is advised for the RPO, in bits per second; None where no line does it,
    and where no rate is known for just the objective's share of time."""
    share = organisation.objectives.rpo_share
    for each in rates:
        if abs(each.share_of_time - share) < 1e-9:
            return each.bits_per_second
    return None


def streams_for(
    organisation: Organisation, rates: Sequence[RequiredRate]
) -> tuple[int, float] | None:
    """Where no line rate alone keeps the RPO, the TCP streams that do, and the line's rate in bits
    per second beside them; None where that is not what is missing."""
    share = organisation.objectives.rpo_share
    for each in rates:
        if abs(each.share_of_time - share) < 1e-9 and each.streams is not None:
            rate = each.without_bound_bits_per_second
            return None if rate is None else (each.streams, rate)
    return None


def copy_spool(way: str, copies: pd.DataFrame) -> float | None:
    """What waits at the source while the first copy is made on a way, in bytes; None where that
    is not known, or the copy never converges: then what waits only grows."""
    if copies.empty:
        return None
    row = copies.set_index("way").loc[way]
    if pd.isna(row["converges_after_seconds"]):
        return None
    peak = row["spool_peak_bytes"]
    return None if peak is None or not np.isfinite(float(peak)) else float(peak)


def _copied_by(way: str, copies: pd.DataFrame) -> tuple[float | None, str]:
    """How long the first copy takes on a way; where there is no figure, why."""
    if copies.empty:
        return None, FIRST_COPY_UNKNOWN
    row = copies.set_index("way").loc[way]
    seconds = row["converges_after_seconds"]
    return (None, str(row["reason"])) if seconds is None else (float(seconds), "")


def outages_of_given_spool(
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
    starts, number = worst_starts(model, length, "day", within)
    return worst_by_hour(with_spool(model, spool, starts, length), number)


def returns_by_hour(model: AnyOutages, length: float, within: float) -> pd.DataFrame:
    """Of an outage of a length, by the hour of its start: the worst of each figure."""
    starts, number = worst_starts(model, length, "day", within, with_lag=True)
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


def catch_up_by_rate(
    protection: Protection,
    change: ChangeCurve,
    link: PlannedLink,
    length: float,
    within: float,
    tell: Tell,
) -> pd.DataFrame:
    """The time to catch up after the worst start, by line rate; None where that is never."""
    rows = []
    offered = offered_bytes(protection, change)
    for number, times in enumerate(RATE_STEPS, 1):
        tell(f"catching up: line rate {number} of {len(RATE_STEPS)}")
        rate = link.bits_per_second * float(times)
        faster = link.at_rate(rate)
        capacity = faster.capacity_bytes(change.grid)
        worst: float | None = None
        if link_use(protection, change, capacity, offered).catches_up:
            model = outages_of(protection, change, capacity)
            starts, _number = worst_starts(model, length, "day", within, of_all=True)
            effects = model.effects(starts, length, with_lag=False)
            worst = float(effects.catch_up_seconds.max()) if effects.caught_up.all() else None
        rows.append({"bits_per_second": rate, "catch_up_seconds": worst})
    return answer_frame(rows)


def first_copies(
    organisation: Organisation,
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    model: AnyOutages,
) -> pd.DataFrame:
    """The first copy of a kind of protection, both ways; empty where no size is known."""
    if change.stored_bytes is None:
        return pd.DataFrame()
    rates = seed_rates(organisation)
    return compare_seedings(
        *(
            seed(protection, change, capacity_bytes, rates=rates, model=model)
            for seed in (seed_over_wire, seed_by_courier)
        )
    )


def copy_seconds(first_copy: pd.DataFrame, way: str) -> float:
    """How long the first copy is under way, until it can be used; 0 where it never arrives."""
    if first_copy.empty:
        return 0.0
    row = first_copy.set_index("way").loc[way]
    parts = [row[f"{part}_seconds"] for part in ("read", "way", "load")]
    if any(each is None or not np.isfinite(float(each)) for each in parts):
        return 0.0
    return sum(float(each) for each in parts)


def drawn_outages(
    organisation: Organisation, own: Protection, change: ChangeCurve, link: PlannedLink
) -> MonteCarlo:
    """Drawn outages, about as many as the organisation asks for, loads drawn beside them."""
    outages = organisation.outages
    median, p95 = outages.median_ns / NS, outages.p95_ns / NS
    law = OutageLaw(
        per_year=outages.per_year,
        length_seconds=Lognormal(median, (p95 / median) ** (1.0 / _P95_SIGMAS)),
    )
    expected = law.per_year * change.grid.span_seconds / (365.25 * 86_400)
    # Of hardly any a year, as many years as there may be have fewer than are asked for.
    years = int(min(max(organisation.draws / expected, 1), MOST_YEARS)) if expected > 0 else 1
    return monte_carlo(
        own,
        change,
        link,
        law,
        years,
        organisation.seed,
        UncertainInputs(load_factor=Triangular(*LOAD_RANGE)),
    )
