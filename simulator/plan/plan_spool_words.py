"""What a plan says of the size of its spool, or of its log volume.

A spool has two tasks, and they are not of one size: the outages that are feared, and the first
copy, while which nothing of the changes reaches the other side.  Both are said, beside each other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from simulator.plan.plan_parts import copy_spool
from simulator.plan.plan_units import format_volume
from simulator.plan.planner import Plan, worst_spool
from simulator.plan.volumes import SpoolSize
from simulator.plan.waiting_volume import LOG_VOLUME_DAYS, ruled_volume_bytes, volume_name
from simulator.units import format_duration

WAYS: Final = {"wire": "over the line", "courier": "by courier"}
"""Of the first copy, in words."""


def spool_topic(plan: Plan) -> str:
    """What :func:`spool_sentences` speak of."""
    return volume_name(plan.protection).capitalize()


def spool_sentences(plan: Plan) -> list[str]:
    """How large the spool must be."""
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
    if is_shipped(plan):
        told.append(_kept_until_a_backup(plan))
    if size.rule_of_thumb_bytes is not None:
        rule = format_volume(size.rule_of_thumb_bytes)
        told.append(f"The rule of a tenth of the data would say {rule}.")
    return told


def _to_have(plan: Plan, size: SpoolSize) -> str:
    """The size to buy, and what decides it: the margin is on the larger of the two tasks."""
    way, percent = plan.organisation.first_copy.by, 100 * plan.organisation.protection.spool_margin
    copy = spool_of_first_copy(plan, way)
    length, begin = (
        format_duration(size.length_seconds),
        datetime.fromisoformat(size.worst_begins_at),
    )
    outage = f"an outage of {length} needs {format_volume(size.needed_bytes)} when it begins at"
    needs = f"{outage} {begin:%H:%M}"
    if copy is not None and copy > size.needed_bytes:
        needs = f"the first copy {WAYS[way]} needs {format_volume(copy)}, {needs}"
    what = "the log volume" if is_shipped(plan) else "the spool"
    place = " for logs that wait to be copied" if is_shipped(plan) else " on its own volume"
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
    kept = format_volume(ruled_volume_bytes(plan.change, plan.protection))
    return (
        f"Logs that are copied stay as well, until a backup deletes them: {LOG_VOLUME_DAYS:g} days "
        f"of logs, as the rule has it, are {kept}; have the larger of the two."
    )


def is_shipped(plan: Plan) -> bool:
    """Whether what waits are logs on their own volume."""
    return volume_name(plan.protection) == "log volume"


def spool_of_first_copy(plan: Plan, way: str) -> float | None:
    """What waits at the source while the first copy is made, in bytes; None where that is not
    known, the copy never arrives, or the kind keeps no spool."""
    return copy_spool(way, plan.first_copy) if plan.spools else None
