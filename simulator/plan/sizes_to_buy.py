"""The sizes that a plan asks to buy: one for each volume.

A volume has several tasks (:func:`~.plan_objectives.needs_of` has a row for each), but it is bought
once: in the size of the largest of them.  Who adds up the rows of one volume buys too much, so page
and record have this figure, and beneath it what decides it and what the other tasks alone would
take.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.plan.answers import size_to_buy
from simulator.plan.plan_objectives import LINE_FIRST, Need, needs_of
from simulator.plan.plan_units import format_volume
from simulator.plan.planner import Plan


@dataclass(frozen=True)
class SizeToBuy:
    """One volume.

    Attributes
    ----------
    volume: "spool at the source", "log volume" or "spool at the replica".
    given_bytes: what the plan has; None where it says nothing.
    size_bytes: the size to buy, the margin on it where the task has one; None where none is enough.
    task: what decides it: "the first copy over the line"; empty where no size is enough.
    others: what the other tasks alone would take, in words; empty for none.
    reason: why no size is enough; else empty.
    """

    volume: str
    given_bytes: float | None
    size_bytes: float | None
    task: str
    others: str
    reason: str = ""


def sizes_to_buy(plan: Plan) -> list[SizeToBuy]:
    """A size for each volume that is needed, in the order of the needs."""
    by_volume: dict[str, list[Need]] = {}
    for need in needs_of(plan):
        if need.volume and need.needed != 0:
            by_volume.setdefault(need.volume, []).append(need)
    return [_size(volume, needs) for volume, needs in by_volume.items()]


def _size(volume: str, needs: list[Need]) -> SizeToBuy:
    given = next((each.given for each in needs if each.given is not None), None)
    missing = [each for each in needs if each.needed is None]
    if missing:
        return SizeToBuy(volume, given, None, "", "", missing[0].reason or LINE_FIRST)
    known = sorted(((to_have(each), each) for each in needs), key=lambda pair: -pair[0])
    (size, first), *rest = known
    others = [f"{each.task} alone {format_volume(least)}" for least, each in rest]
    margin = "" if first.advised is None else ", with the margin"
    return SizeToBuy(volume, given, size, f"{first.task}{margin}", ", ".join(others))


def to_have(need: Need) -> float:
    """What a task takes: with its margin where it has one; in the need's unit, 0 for nothing."""
    return size_to_buy(need.needed or 0.0) if need.advised is None else need.advised
