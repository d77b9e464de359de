"""What a plan says of the size of its spool, or of its log volume.

A spool has two tasks, and they are not of one size: the outages that are feared, and the first
copy, while which nothing of the changes reaches the other side.  Both are said, beside each other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from simulator.plan.answers import size_to_buy
from simulator.plan.plan_parts import copy_spool
from simulator.plan.plan_units import format_share, format_volume
from simulator.plan.planner import Plan, worst_spool
from simulator.plan.volumes import SpoolSize
from simulator.plan.waiting_volume import (
    LOG_VOLUME_DAYS,
    advised_volume_bytes,
    ruled_volume_bytes,
    volume_name,
)
from simulator.units import format_duration

TOLD_SHARE: Final = 0.1
"""Of what an outage needs: what waits before it, or comes only after it, is told from this on."""
WAYS: Final = {"wire": "over the line", "courier": "by courier"}
"""Of the first copy, in words."""


def spool_topic(plan: Plan) -> str:
    """What :func:`spool_sentences` speak of."""
    return volume_name(plan.protection).capitalize()


def spool_sentences(plan: Plan) -> list[str]:
    """How large the spool must be."""
    size = worst_spool(plan)
    if plan.no_size:
        return _no_size(plan, size)
    if size is None:
        return [
            f"{plan.protection.name.capitalize()} keeps no spool: what changes is read again from "
            "the databases."
        ]
    told = [*_to_have(plan, size), *_never_copied(plan)]
    if size.rule_of_thumb_bytes is not None:
        rule = format_volume(size.rule_of_thumb_bytes)
        told.append(f"The rule of a tenth of the data would say {rule}.")
    return told


def _no_size(plan: Plan, size: SpoolSize | None) -> list[str]:
    """Of a plan in which what waits never goes, why not, and that no size helps."""
    never = f"{plan.no_size[0].upper()}{plan.no_size[1:]}"
    name = volume_name(plan.protection)
    first = f"No {name} is enough: the line must be faster first."
    if not plan.use.catches_up or size is None:
        return [f"{never}. {first}"]
    begin = datetime.fromisoformat(size.worst_begins_at)
    busy, waits = plan.use.mean_utilisation or 0.0, float(plan.course.waiting_bytes.max())
    return [
        f"{never}, when it begins on {begin:%a %Y-%m-%d %H:%M}. {first}",
        f"Even without that outage what is to be carried takes {format_share(busy)} of the line, "
        f"and up to {format_volume(waits)} wait.",
    ]


def _never_copied(plan: Plan) -> list[str]:
    """Of a first copy that never converges: that the size is not for it."""
    way = plan.organisation.first_copy.by
    if plan.first_copy.empty or spool_of_first_copy(plan, way) is not None:
        return []
    name = volume_name(plan.protection)
    return [f"The first copy {WAYS[way]} never converges: for it no {name} is enough."]


def _to_have(plan: Plan, size: SpoolSize) -> list[str]:
    """The size to buy, and what decides it: the margin is on the larger of the two tasks."""
    way, percent = plan.organisation.first_copy.by, 100 * plan.organisation.protection.spool_margin
    copy = spool_of_first_copy(plan, way)
    length, begin = (
        format_duration(size.length_seconds),
        datetime.fromisoformat(size.worst_begins_at),
    )
    outage = f"an outage of {length} needs {format_volume(size.needed_bytes)} when it begins at"
    needs = f"{outage} {begin:%H:%M}"
    needs += _waiting(size)
    if copy is not None and copy > size.needed_bytes:
        needs = f"the first copy {WAYS[way]} needs {format_volume(copy)}, {needs}"
    needs += f", and {percent:g} % are for what nobody foresees."
    advised = advised_bytes(plan, size)
    if not is_shipped(plan):
        return [f"Give the spool at least {format_volume(advised)} on its own volume: {needs}"]
    rule = ruled_volume_bytes(plan.change, plan.protection)
    days = f"the {LOG_VOLUME_DAYS:g} busiest days of logs"
    if advised > size_to_buy(rule):
        return [
            f"Give the log volume at least {format_volume(advised)}: {needs}",
            f"Logs that are copied stay as well, until a backup deletes them: {days}, as the rule "
            f"has it, are {format_volume(rule)}, less than that.",
        ]
    margin = plan.organisation.protection.spool_margin
    tasks = size_to_buy(max(size.needed_bytes, copy or 0.0), margin)
    return [
        f"Give the log volume at least {format_volume(advised)}: so much are {days}, which stay, "
        "as the rule has it, until a backup deletes them.",
        f"For logs that wait to be copied {format_volume(tasks)} would do: {needs}",
    ]


def _waiting(size: SpoolSize) -> str:
    """Why so much is needed: what waits before the outage, and what comes only after it."""
    parts, needed = [], size.needed_bytes
    if size.waiting_before_bytes > TOLD_SHARE * needed:
        parts.append(f"{format_volume(size.waiting_before_bytes)} of them wait already then")
    if needed - size.at_return_bytes > TOLD_SHARE * needed:
        parts.append(
            f"{format_volume(size.at_return_bytes)} wait when the line is back, the rest comes "
            "while it catches up"
        )
    return f" ({', '.join(parts)})" if parts else ""


def advised_bytes(plan: Plan, size: SpoolSize) -> float:
    """What is advised for the volume on which changes wait
    (:func:`~.waiting_volume.advised_volume_bytes`)."""
    copy = spool_of_first_copy(plan, plan.organisation.first_copy.by)
    return advised_volume_bytes(
        plan.organisation, plan.change, plan.protection, size.needed_bytes, copy
    )


def is_shipped(plan: Plan) -> bool:
    """Whether what waits are logs on their own volume."""
    return volume_name(plan.protection) == "log volume"


def spool_of_first_copy(plan: Plan, way: str) -> float | None:
    """What waits at the source while the first copy is made, in bytes; None where that is not
    known, the copy never arrives, or the kind keeps no spool."""
    return copy_spool(way, plan.first_copy) if plan.spools else None
