"""What a plan says of its first copy: how long it takes, what waits meanwhile, the best begin."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np

from simulator.plan.copy_begins import HOURS, best_begin
from simulator.plan.plan_spool_words import WAYS, advised_bytes, is_shipped, spool_of_first_copy
from simulator.plan.plan_units import format_volume
from simulator.plan.planner import Plan, worst_spool
from simulator.plan.volumes import SpoolSize
from simulator.plan.waiting_volume import given_volume, stops_when_full, volume_name
from simulator.units import format_duration

LEAST_LESS_SHARE: Final = 0.01
"""Of what waits; begins that differ by less are the same."""
BEGINS_TRIED: Final = f"{' or '.join(f'{hour:02d}:00' for hour in HOURS)} of any weekday"
"""In words."""


def copy_sentences(plan: Plan) -> list[str]:
    """How long the first copy takes, what waits meanwhile, when it begins; nothing where no size
    is known."""
    size = worst_spool(plan)
    waits = [] if size is None or plan.no_size else _copying_spool(plan, size)
    return [*_copying_time(plan), *waits, *_beginning(plan)]


def _copying_spool(plan: Plan, size: SpoolSize) -> list[str]:
    """What the first copy needs of the spool, on the planned way and the other one."""
    planned = plan.organisation.first_copy.by
    way, other = ("wire", "courier") if planned == "wire" else ("courier", "wire")
    needed, instead = spool_of_first_copy(plan, way), spool_of_first_copy(plan, other)
    if needed is None:
        return []
    given = given_volume(plan.organisation, plan.protection)
    stops = given is not None and stops_when_full(plan.organisation, plan.protection)
    room = (given or 0.0) if stops else max(advised_bytes(plan, size), given or 0.0)
    where = "on the log volume" if is_shipped(plan) else "in the spool"
    where = "there" if stops and needed > (given or 0.0) else where
    told = f"made {WAYS[way]}, up to {format_volume(needed)} wait {where} meanwhile"
    if instead is not None:
        told += f"; {WAYS[other]} {format_volume(instead)}"
        if (instead <= room) != (needed <= room):
            told += ", which fits" if instead <= room else ", which does not fit"
    volume = f"the {volume_name(plan.protection)} of {format_volume(given or 0.0)}"
    if given is not None and stops and needed > given:
        told = f"The first copy does not fit {volume}: {told}."
        if is_shipped(plan):
            stop = (
                "It is full before the copy is there, and the stores stop: the plan does not hold."
            )
            return [told, stop]
        less = less_spool_words(plan)
        return [told, f"The plan does not hold: {less}."]
    if needed <= size.needed_bytes:
        return [f"The first copy needs no more than the planned outage: {told}."]
    if given is not None and needed <= given:
        return [f"The first copy needs more than the planned outage, and fits {volume}: {told}."]
    less = less_spool_words(plan)
    if not is_shipped(plan) and not stops_when_full(plan.organisation, plan.protection):
        outages = f"a spool of {format_volume(size.recommended_bytes)}, for outages alone, "
        less = less.replace("a smaller spool ", outages, 1)
    return [
        f"The first copy needs more than the planned outage: {told}.",
        f"{less[0].upper()}{less[1:]}.",
    ]


def less_spool_words(plan: Plan) -> str:
    """What a spool does that is smaller than the first copy needs."""
    if is_shipped(plan):
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


def _copying_time(plan: Plan) -> list[str]:
    if plan.first_copy.empty:
        return []
    way = plan.organisation.first_copy.by
    row = plan.first_copy.set_index("way").loc[way]
    name = WAYS[way]
    took = row["converges_after_seconds"]
    if took is None or not np.isfinite(float(took)):
        return [f"The first copy {name} never converges: {row['reason']}."]
    lasts = format_duration(float(took))
    told = [f"The first copy {name} takes {lasts}, changes of the meantime included."]
    first = plan.organisation.first_copy
    rates = {
        "seeding": ("one seeding", "stream_rate", first.stream_bytes_per_second),
        "disk": ("a disk", "disk_rate", first.disk_bytes_per_second),
    }
    if row["bound_by"] in rates:
        what, key, rate = rates[row["bound_by"]]
        told.append(
            f"The line could carry it faster: {what} of {format_volume(rate)} a second bounds it "
            f"(first_copy.{key})."
        )
    return told


def _beginning(plan: Plan) -> list[str]:
    """When the first copy begins, and how much less waits when it begins at the best time."""
    if plan.copy_begins.empty:
        return []
    planned = plan.first_copy.set_index("way").loc[plan.organisation.first_copy.by].to_dict()
    best = best_begin(plan.copy_begins)
    whose = "the plan's begin" if plan.organisation.first_copy.begins is None else "as planned"
    told = f"It begins on {_at(planned)}, {whose}"
    if best is None or plan.no_size:
        return [f"{told}."]
    least, at = float(best["spool_peak_bytes"]), _at(best)
    if planned["converges_after_seconds"] is None:
        return [f"{told}; begun on {at} it converges, and {format_volume(least)} wait meanwhile."]
    less = float(planned["spool_peak_bytes"]) - least
    if less <= LEAST_LESS_SHARE * float(planned["spool_peak_bytes"]):
        return [f"{told}; begun at {BEGINS_TRIED} it needs no less."]
    lasts = format_duration(float(best["converges_after_seconds"]))
    return [
        f"{told}; begun on {at} only {format_volume(least)} wait, {format_volume(less)} less, and "
        f"it takes {lasts} (first_copy.begins)."
    ]


def _at(seeding: Mapping[Hashable, Any]) -> str:
    """``Sat 2007-01-06 18:00``."""
    return f"{datetime.fromisoformat(str(seeding['begins_at'])):%a %Y-%m-%d %H:%M}"
