"""For which inputs the answer of a plan holds: "while change <= 1.3 of the plan, loss <= 0.4 %".

Each input is moved away from the plan's value, alone, until an objective breaks.  On the way it is
looked at some places, ever further apart, and between the last that held and the first that broke
the limit is found by bisection: so an objective that breaks and heals again on the way is missed
only when that lies between two neighbouring places.

Of a plan that does not hold as it is there is no such limit.  It is told at which value of each
input, alone, it would: moved to the other side, the value next to the plan's that holds.  And how
far those objectives go that the plan meets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from simulator.plan.answers import answer_frame
from simulator.plan.sensitivity import Plan, numeric_inputs, with_input

LOOKS: Final = 12
TOLERANCE: Final = 0.001
_NEAR_ZERO_SHARE: Final = 0.05
"""Of the plan's value: what is smaller is not looked for any finer."""
Broken = Callable[[Plan], Mapping[str, str]]
"""Which objectives a plan breaks: what is told of each, by name; empty when it holds."""


@dataclass(frozen=True)
class Limit:
    """How far an input may go.

    Attributes
    ----------
    input: its path in the plan.
    direction: "up" or "down".
    planned: the plan's own value.
    holds_until: the last value found that holds; None when the plan does not hold itself.
    breaks: the objectives that break just beyond, with what is told of them; empty when none does.
    text: all of it in words.
    would_hold_at: of a plan that does not hold, the value at which it does, moved the other way;
        None where none was found.
    together_at, together_volume_bytes, together_streams: of such a plan, the value at which it
        holds with a volume of that size, or with so many TCP streams, or both, where none of them
        does alone; None where that was not asked, or not found, or is not part of it.
    others_until, others_break: of such a plan, as ``holds_until`` and ``breaks`` for what it
        meets; None and empty where that was not asked.
    """

    input: str
    direction: str
    planned: float
    holds_until: float | None
    breaks: str
    text: str
    would_hold_at: float | None = None
    together_at: float | None = None
    together_volume_bytes: float | None = None
    others_until: float | None = None
    others_break: str = ""
    together_streams: int | None = None


def limit_of(
    plan: Plan,
    broken: Broken[Plan],
    path: str,
    furthest: float,
    tolerance: float = TOLERANCE,
    looks: int = LOOKS,
) -> Limit:
    """How far one input may go.

    Arguments
    ---------
    broken: the objectives that a plan breaks.  A ValueError of it (the plan refuses the value)
        counts as broken.
    path: of the input.
    furthest: where to stop looking; above or below the plan's value.
    tolerance: of the limit, as a share of the way.
    looks: at how many places to look on the way.

    Raises KeyError for an input that the plan does not have.
    """
    numbers = numeric_inputs(plan)
    if path not in numbers:
        raise KeyError(f"the plan has no number {path!r}; it has {', '.join(numbers)}")
    planned = numbers[path]
    way = furthest - planned
    direction, sign = ("up", "<=") if way >= 0 else ("down", ">=")
    whole = isinstance(planned, int)

    def value_at(share: float) -> float:
        value = planned + share * way
        return float(round(value)) if whole else value

    def breaks_at(share: float) -> str:
        try:
            found = broken(with_input(plan, path, value_at(share)))
        except ValueError as refusal:
            return f"refused: {refusal}"
        return "; ".join(f"{name}: {told}" if told else name for name, told in found.items())

    breaks = breaks_at(0.0)
    if breaks:
        text = f"does not hold as planned ({breaks})"
        return Limit(path, direction, planned, None, breaks, text)
    held, at_fault = 0.0, None
    for number in range(1, looks + 1):
        share = 2.0 ** (number - looks)  # near the plan first
        breaks = breaks_at(share)
        if breaks:
            at_fault = share
            break
        held = share
    if at_fault is None:
        text = f"holds while {path} {sign} {furthest:g}, and maybe beyond"
        return Limit(path, direction, planned, furthest, "", text)
    while at_fault - held > tolerance * at_fault:
        if whole and abs(value_at(at_fault) - value_at(held)) <= 1:
            break
        middle = (held + at_fault) / 2
        found = breaks_at(middle)
        if found:
            at_fault, breaks = middle, found
        else:
            held = middle
    limit = value_at(held)
    return Limit(
        path, direction, planned, limit, breaks, text_of(path, direction, limit, planned, breaks)
    )


def text_of(path: str, direction: str, limit: float, planned: float, breaks: str) -> str:
    """A limit at which something breaks, in words."""
    sign = "<=" if direction == "up" else ">="
    return f"holds while {path} {sign} {limit:g} (planned {planned:g}); beyond it {breaks}"


def holds_from(
    plan: Plan,
    broken: Broken[Plan],
    path: str,
    best: float,
    tolerance: float = TOLERANCE,
) -> float | None:
    """The value of one input, next to the plan's, at which a plan holds that does not.

    Arguments
    ---------
    best: where to look last; None is returned where it does not hold even there, and where that is
        the plan's value.  Between the two one change from broken to whole is assumed.
    tolerance: of the value, as a share of itself; of one near 0 as a share of a part of the plan's.

    Raises KeyError for an input that the plan does not have.
    """
    planned = numeric_inputs(plan)[path]
    whole = isinstance(planned, int)

    def is_whole(value: float) -> bool:
        try:
            return not broken(with_input(plan, path, value))
        except ValueError:  # the plan refuses the value
            return False

    if best == planned or not is_whole(best):
        return None
    fails, held = planned, best
    near_zero = _NEAR_ZERO_SHARE * abs(planned)
    while abs(held - fails) > (1 if whole else tolerance * max(abs(held), near_zero)):
        middle = (fails + held) / 2
        if whole:
            middle = round(middle)
        if is_whole(middle):
            held = middle
        else:
            fails = middle
    return held


def limits_of(
    plan: Plan,
    broken: Broken[Plan],
    furthest: Mapping[str, float],
    tolerance: float = TOLERANCE,
    looks: int = LOOKS,
    others: Broken[Plan] | None = None,
    best: Mapping[str, float] | None = None,
    begin: Callable[[str], None] = lambda _path: None,
) -> list[Limit]:
    """How far each input may go, alone.

    Arguments
    ---------
    furthest: by path of the input, where to stop looking.
    others: of a plan that does not hold, what breaks among the objectives that it meets; None:
        that is not asked.
    best: of such a plan, by path, where to stop looking for a value at which it holds.
    begin: called with the path of each input before it is looked at.

    Raises KeyError for an input that the plan does not have.
    """
    limits = []
    for path, end in furthest.items():
        begin(path)
        found = limit_of(plan, broken, path, end, tolerance, looks)
        if found.holds_until is None:
            if best and path in best:
                heals = holds_from(plan, broken, path, best[path], tolerance)
                found = replace(found, would_hold_at=heals)
            if others is not None:
                rest = limit_of(plan, others, path, end, tolerance, looks)
                found = replace(found, others_until=rest.holds_until, others_break=rest.breaks)
        limits.append(found)
    return limits


def limits_frame(limits: Iterable[Limit]) -> pd.DataFrame:
    """A row for each limit, the columns those of :class:`Limit`."""
    return answer_frame(limits, Limit.__dataclass_fields__)
