"""What a plan says of an outage: how long the spool lasts, what then, the way back, what breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.organisation_curves import NS
from simulator.plan.plan_rows import RESYNCHRONIZATION_UNKNOWN
from simulator.plan.plan_spool_words import is_shipped
from simulator.plan.plan_units import format_hour, format_volume
from simulator.plan.planner import Plan, worst_spool
from simulator.plan.waiting_volume import LOG_VOLUME_DAYS, volume_name
from simulator.units import format_duration

_DAY_HOURS: Final = range(8, 18)


def outage_sentences(plan: Plan) -> list[str]:
    """How long the spool lasts and what happens then, the lag at the return, what breaks first."""
    lasting = [] if plan.no_size or worst_spool(plan) is None else _lasting(plan)
    return [*lasting, *_returning(plan), _breaking(plan)]


@dataclass(frozen=True)
class Break:
    """Something that gives way.

    Attributes
    ----------
    what: in words.
    after_seconds: from the begin of an outage at the worst time; 0 for what does not hold at all.
    """

    what: str
    after_seconds: float


def breaks_of(plan: Plan) -> list[Break]:
    """What gives way in an outage, the earliest first; what never does is not in it.  A volume that
    nobody has given is of the size that is advised."""
    found = []
    if not plan.use.catches_up:
        found.append(Break("the line", 0.0))
    shortest, name = shortest_lasting(plan.lasts), volume_name(plan.protection)
    if shortest is not None and not (plan.no_size and not plan.spool_is_given):
        hour, seconds = shortest
        size = format_volume(plan.spool_volume_bytes)
        found.append(Break(f"{_whose(plan, size)} (from {format_hour(hour)})", seconds))
    volume = plan.log_volume
    given = plan.organisation.protection.log_volume_bytes is not None
    if volume.shortest_days is not None and name != "log volume":
        size = format_volume(volume.free_bytes)
        rule = "" if given else f"the {LOG_VOLUME_DAYS:g} busiest days of logs, "
        what = f"the log volume of {size} ({rule}if logs are not truncated meanwhile)"
        found.append(Break(what, volume.shortest_days * 86_400))
    return sorted(found, key=lambda each: each.after_seconds)


def _whose(plan: Plan, size: str) -> str:
    """``the spool of 60 GB``, and whether it is only advised."""
    advised = "" if plan.spool_is_given else ", as advised"
    return f"the {volume_name(plan.protection)} of {size}{advised}"


def _lasting(plan: Plan) -> list[str]:
    """How long the spool that is there lasts, and what happens then."""
    shortest, size = shortest_lasting(plan.lasts), format_volume(plan.spool_volume_bytes)
    subject = f"{_whose(plan, size)}{'' if plan.spool_is_given else ','}"
    if shortest is None:
        return [f"{subject[0].upper()}{subject[1:]} is never full in an outage within the plan."]
    hour, seconds = shortest
    told = (
        f"While the line is down {subject} lasts {format_duration(seconds)} when it goes down in "
        f"the hour from {format_hour(hour)}."
    )
    return [told, *_when_full(plan, hour)]


def _when_full(plan: Plan, hour: int) -> list[str]:
    """What the planned outage does to that volume when it begins at an hour; where the volume
    holds then, at the worst other hour, which is named."""
    table = plan.spool_outages
    full = table[[each is not None and np.isfinite(each) for each in table["full_after_seconds"]]]
    if full.empty:
        return []
    same = full[full["hour"] == hour]
    known = full["unprotected_seconds"].astype(float).fillna(np.inf)
    worst = full.loc[(known + full["stands_still_seconds"].astype(float)).idxmax()]
    row, when = worst, f", from {format_hour(int(worst['hour']))}"
    if not same.empty:
        row, when = same.iloc[0], ""
    length = f"in an outage of {format_duration(float(row['length_seconds']))}{when}"
    if plan.organisation.protection.spool_full == "hold":
        still = format_duration(float(row["stands_still_seconds"]))
        if is_shipped(plan):
            return [f"Then the log volume is full, and the stores stop for up to {still} {length}."]
        return [f"Then writers are held: the store stands still for up to {still} {length}."]
    if is_shipped(plan):
        stored = plan.change.stored_bytes
        size = f" ({format_volume(stored)})" if stored else ""
        return [
            "Then the log volume is full and the stores stop, unless logs are deleted that the "
            f"copy lacks: then it must be seeded anew{size}."
        ]
    if row["compared_bytes"] is None:
        return [f"Then it is dropped and must be resynchronized; {RESYNCHRONIZATION_UNKNOWN}."]
    if row["unprotected_seconds"] is None:
        return [f"Then it must be resynchronized, which {length} does not end within the plan."]
    told = (
        f"Then it is dropped: {format_volume(row['compared_bytes'])} are compared, "
        f"{format_volume(row['differing_bytes'])} sent again, and until the copy is current again "
        f"the site is unprotected for {format_duration(float(row['unprotected_seconds']))} {length}"
    )
    return [f"{told}{_longer_unprotected(row, worst)}."]


def _longer_unprotected(row: pd.Series, worst: pd.Series) -> str:
    """Of the hour at which the site is unprotected longest, where that is another one."""
    hour, seconds = int(worst["hour"]), worst["unprotected_seconds"]
    if hour == int(row["hour"]):
        return ""
    if seconds is None:
        return f"; from {format_hour(hour)}, the worst hour, that does not end within the plan"
    return f"; from {format_hour(hour)}, the worst hour, for {format_duration(float(seconds))}"


def shortest_lasting(lasts: pd.DataFrame) -> tuple[int, float] | None:
    """The hour at which a spool is full soonest, and after how long."""
    if lasts.empty:
        return None
    known = [
        (float(seconds), int(hour))
        for hour, seconds in zip(lasts["hour"], lasts["shortest_seconds"], strict=True)
        if seconds is not None and np.isfinite(seconds)
    ]
    if not known:
        return None
    seconds, hour = min(known)
    return hour, seconds


def _returning(plan: Plan) -> list[str]:
    """Lag at the return of the link, and the time to catch up, by day and by night."""
    table = plan.returns
    if table.empty or not plan.use.catches_up:
        return []
    length = plan.organisation.outages.planned_ns / NS
    back = (table["hour"] + length / 3_600) % 24
    by_day = back.map(lambda hour: int(hour) in _DAY_HOURS)
    told = [
        f"When the line is back after {format_duration(length)}, the copy lags "
        f"{format_duration(float(table['lag_at_return_seconds'].max()))} at worst."
    ]
    parts = []
    for when, chosen in (("by day", table[by_day]), ("by night", table[~by_day])):
        if chosen.empty:
            continue
        times = chosen["catch_up_seconds"]
        if any(each is None or not np.isfinite(each) for each in times):
            parts.append(f"back {when} it does not catch up within the plan")
        else:
            parts.append(
                f"back {when} it catches up in {format_duration(float(times.astype(float).max()))}"
            )
    joined = "; ".join(parts)
    return [*told, f"{joined[0].upper()}{joined[1:]}."]


def _breaking(plan: Plan) -> str:
    if plan.no_size and plan.use.catches_up:
        return f"The first to break is the line: {plan.no_size}."
    found = breaks_of(plan)
    if not found:
        return ""
    first = found[0]
    if first.after_seconds == 0:
        return f"The first to break is {first.what}: it does not hold even without an outage."
    told = f"In an outage the first to break is {first.what}, after "
    told += format_duration(first.after_seconds)
    rest = [f"{each.what}, after {format_duration(each.after_seconds)}" for each in found[1:]]
    return f"{told}; then {', '.join(rest)}." if rest else f"{told}."
