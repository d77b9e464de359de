"""What a plan says of its spool: how large, for what, and what happens when it is full.

A spool has two tasks, and they are not of one size: the outages that are feared, and the first
copy, while which nothing of the changes reaches the other side.  Both are said, beside each other.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from simulator.plan.plan_parts import copy_spool
from simulator.plan.plan_rows import RESYNCHRONIZATION_UNKNOWN
from simulator.plan.planner import Plan, worst_spool
from simulator.plan.volumes import SpoolSize
from simulator.plan.waiting_volume import (
    LOG_VOLUME_DAYS,
    given_volume,
    stops_when_full,
    volume_name,
)
from simulator.report.plan_units import format_hour, format_volume
from simulator.report.units import format_duration

WAYS = {"wire": "over the line", "courier": "by courier"}
"""Of the first copy, in words."""


def spool_sentences(plan: Plan) -> list[str]:
    """How large the spool must be, and what becomes of one that is given or too small."""
    size = worst_spool(plan)
    if not plan.use.catches_up:
        never = f"{plan.use.reason[0].upper()}{plan.use.reason[1:]}."
        return [f"{never} No spool is enough: the line must be faster first."]
    if size is None:
        return [
            f"{plan.protection.name.capitalize()} keeps no spool: what changes is read again from "
            "the databases."
        ]
    told = [_to_have(plan, size)]
    if _is_shipped(plan):
        told.append(_kept_until_a_backup(plan))
    told += first_copy_spool(plan, size)
    if size.rule_of_thumb_bytes is not None:
        rule = format_volume(size.rule_of_thumb_bytes)
        told.append(f"The rule of a tenth of the data would say {rule}.")
    return [*told, *_lasting(plan)]


def _to_have(plan: Plan, size: SpoolSize) -> str:
    """The size to buy, and what decides it: the margin is on the larger of the two tasks."""
    way, percent = plan.organisation.first_copy.by, 100 * plan.organisation.protection.spool_margin
    copy = spool_of_first_copy(plan, way)
    length, hour = format_duration(size.length_seconds), format_hour(size.worst_hour)
    outage = f"an outage of {length} needs {format_volume(size.needed_bytes)} when it begins at"
    needs = f"{outage} {hour}"
    if copy is not None and copy > size.needed_bytes:
        needs = f"the first copy {WAYS[way]} needs {format_volume(copy)}, {needs}"
    what = "the log volume" if _is_shipped(plan) else "the spool"
    place = " for logs that wait to be copied" if _is_shipped(plan) else " on its own volume"
    return (
        f"Give {what} at least {format_volume(advised_bytes(plan, size))}{place}: {needs}, and "
        f"{percent:g} % are for what nobody foresees."
    )


def advised_bytes(plan: Plan, size: SpoolSize) -> float:
    """What is advised for the volume on which changes wait: with the margin on the larger of what
    the planned outage and the first copy need."""
    copy = spool_of_first_copy(plan, plan.organisation.first_copy.by) or 0.0
    margin = plan.organisation.protection.spool_margin
    return max(size.recommended_bytes, copy * (1.0 + margin))


def _kept_until_a_backup(plan: Plan) -> str:
    """Of a log volume: that it is not for the logs alone that wait."""
    kept = format_volume(LOG_VOLUME_DAYS * plan.change.log_bytes_per_day)
    return (
        f"Logs that are copied stay as well, until a backup deletes them: {LOG_VOLUME_DAYS:g} days "
        f"of logs, as the rule has it, are {kept}; have the larger of the two."
    )


def _is_shipped(plan: Plan) -> bool:
    return volume_name(plan.protection) == "log volume"


def spool_of_first_copy(plan: Plan, way: str) -> float | None:
    """What waits at the source while the first copy is made, in bytes; None where that is not
    known, the copy never arrives, or the kind keeps no spool."""
    return copy_spool(way, plan.first_copy) if plan.spools else None


def first_copy_spool(plan: Plan, size: SpoolSize) -> list[str]:
    """What the first copy needs of the spool, on the planned way and the other one."""
    planned = plan.organisation.first_copy.by
    way, other = ("wire", "courier") if planned == "wire" else ("courier", "wire")
    needed, instead = spool_of_first_copy(plan, way), spool_of_first_copy(plan, other)
    if needed is None:
        return []
    given = given_volume(plan.organisation, plan.protection)
    stops = given is not None and stops_when_full(plan.organisation, plan.protection)
    room = (given or 0.0) if stops else max(advised_bytes(plan, size), given or 0.0)
    where = "on the log volume" if _is_shipped(plan) else "in the spool"
    where = "there" if stops and needed > (given or 0.0) else where
    told = f"made {WAYS[way]}, up to {format_volume(needed)} wait {where} meanwhile"
    if instead is not None:
        told += f"; {WAYS[other]} {format_volume(instead)}"
        if (instead <= room) != (needed <= room):
            told += ", which fits" if instead <= room else ", which does not fit"
    volume = f"the {volume_name(plan.protection)} of {format_volume(given or 0.0)}"
    if given is not None and stops and needed > given:
        told = f"The first copy does not fit {volume}: {told}."
        if _is_shipped(plan):
            stop = (
                "It is full before the copy is there, and the stores stop: the plan does not hold."
            )
            return [told, stop]
        less = less_spool_words(plan)
        return [told, f"The plan does not hold: {less}."]
    if needed <= size.needed_bytes:
        return [f"The first copy fits in that: {told}."]
    if given is not None and needed <= given:
        return [f"The first copy needs more than that outage, and fits {volume}: {told}."]
    less = less_spool_words(plan)
    if not _is_shipped(plan) and not stops_when_full(plan.organisation, plan.protection):
        outages = f"a spool of {format_volume(size.recommended_bytes)}, for outages alone, "
        less = less.replace("a smaller spool ", outages, 1)
    return [f"The first copy needs more than that outage: {told}.", f"{less[0].upper()}{less[1:]}."]


def less_spool_words(plan: Plan) -> str:
    """What a spool does that is smaller than the first copy needs."""
    if _is_shipped(plan):
        return "on a smaller log volume the stores stop meanwhile"
    if plan.organisation.protection.spool_full == "resynchronize":
        return (
            "a smaller spool does, too: it is dropped meanwhile, and when the copy is there both "
            "ends are compared and what differs is sent again"
        )
    return (
        "a smaller spool holds the writers meanwhile; with protection.spool_full = "
        '"resynchronize" it is dropped instead, and both ends are compared once more'
    )


def _lasting(plan: Plan) -> list[str]:
    """How long the spool that is there lasts, and what happens then."""
    shortest = shortest_lasting(plan.lasts)
    volume = format_volume(plan.spool_volume_bytes)
    # Of a volume that nobody has it must not read as if it were there.
    given = plan.spool_is_given
    name = volume_name(plan.protection)
    subject = (
        volume if given else f"A {name} of {volume}, two thirds of what outages are advised here,"
    )
    if shortest is None:
        never = "are never full" if given else "would never be full"
        return [f"{subject} {never} in an outage within the plan."]
    hour, seconds = shortest
    last = "last" if given else "would last"
    told = f"{subject} {last} {format_duration(seconds)} in an outage from {format_hour(hour)} on."
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
        if _is_shipped(plan):
            return [f"Then the log volume is full, and the stores stop for up to {still} {length}."]
        return [f"Then writers are held: the store stands still for up to {still} {length}."]
    if _is_shipped(plan):
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
