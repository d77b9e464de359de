"""While what a plan holds, and of one that does not at which value of an input it would.

Theory
------
Inputs are moved alone (:mod:`.validity`), all but two.  The volume on which changes wait is not
searched: what the planned outage and the first copy need of it is known, and that is its limit.  A
line that is too slow beside a volume that is too small is healed by neither alone: so the line is
looked for as if the volume were large enough, and the volume is what is needed on that line.

A line rate has one meaning in all of this, that of the table of rates: the rates of the line's
schedule move in proportion to it, and what others take of it stays the same.

Limits are rounded to three digits as sentences have them, to the side on which the plan holds: who
orders what is written gets a plan that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, floor, log10
from types import MappingProxyType
from typing import Final

import pandas as pd

from simulator.plan.answers import round_up
from simulator.plan.carried_amount import CHANGE
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_sensitivity import Tell
from simulator.plan.plan_units import format_volume, input_name
from simulator.plan.sensitivity import with_input
from simulator.plan.validity import Limit, holds_from, limits_frame, limits_of, text_of
from simulator.units import format_duration

LINE_RATE: Final = "link.bits_per_second"
STREAMS: Final = "link.streams"
OUTAGE: Final = "outage_hours"
DEFRAGMENTATION: Final = "defragmentation_share"
VOLUMES: Final[Mapping[str, str]] = MappingProxyType(
    {"spool": "protection.spool_bytes", "log volume": "protection.log_volume_bytes"}
)
"""The path of a volume by its name."""
FARTHEST: Final = 20
"""Times, or parts, of a line, streams or a change up to which is looked for what would hold."""
_DIGITS: Final = 3
_TOLERANCE: Final = 0.01
_OF_OUTAGES: Final = 0.002
"""Tolerances of limits: that of outages stands beside how long the volume lasts."""
_A_LITTLE: Final = 1e-9
"""Of the last digit: what arithmetic may be wrong by."""


def _silent(_what: str) -> None:
    return None


class _Progress:
    """Tells which part of the search is underway, of how many, and how many values were tried."""

    def __init__(self, tell: Tell, parts: int) -> None:
        self._tell, self._parts = tell, parts
        self._number, self._values, self._name = 0, 0, ""

    def begin(self, path: str) -> None:
        """The next part, by the input that is moved."""
        self._number += 1
        self._name = input_name(path)

    def trying(self) -> None:
        """One more value."""
        self._values += 1
        part = f"part {self._number} of {self._parts}, the {self._name}"
        self._tell(f"{part}, {self._values} values tried")


def validity_of(
    case: PlanCase,
    tell: Tell = _silent,
    besides: Mapping[str, str] | None = None,
    line_rate: float | None = None,
    streams: tuple[int, float] | None = None,
) -> pd.DataFrame:
    """While what the plan holds: a row for each :class:`~simulator.plan.validity.Limit`.

    Of a plan that does not hold it says at which value of each input it would, and how far the
    objectives go that are met.

    Arguments
    ---------
    besides: objectives that the plan misses and that none of these inputs moves, and how.
    line_rate: the least line for the RPO as the plan advises it, in bits per second: no limit of
        the line is below it, so that one page has one figure; None for none.
    streams: where no line rate alone keeps the RPO, how many TCP streams do on a line of so many
        bits per second; None for none.
    """
    missed = {**case.broken(), **(besides or {})}
    never = "catching up" in missed

    def broken(other: PlanCase) -> dict[str, str]:
        progress.trying()
        return {**other.broken(), **(besides or {})}

    def others(other: PlanCase) -> dict[str, str]:
        progress.trying()
        found = {name: told for name, told in other.broken().items() if name not in missed}
        return {**found, **other.overfilled()}

    amount = case.amount
    daily = float(getattr(case, amount))
    furthest = {
        amount: daily * 10,
        "link.loss": 0.05,
        "link.rtt_seconds": max(1.0, 10 * case.link.rtt_seconds),
        LINE_RATE: case.link.bits_per_second / FARTHEST,
        OUTAGE: min(case.outage_hours * 10, _longest_hours(case)),
    }
    best = {
        amount: daily / FARTHEST,
        "link.loss": 0.0,
        "link.rtt_seconds": 0.0,
        LINE_RATE: case.link.bits_per_second * FARTHEST,
        OUTAGE: case.curve.change.grid.step_seconds / HOUR_SECONDS,
    }
    if case.defragmentation_share and case.amount == CHANGE:
        furthest[DEFRAGMENTATION], best[DEFRAGMENTATION] = 1.0, 0.0
    heals = bool(missed) and not besides
    progress = _Progress(tell, len(furthest) + (3 if heals else 0))
    found = []
    for paths, tolerance in ((set(furthest) - {OUTAGE}, _TOLERANCE), ({OUTAGE}, _OF_OUTAGES)):
        found += limits_of(
            case,
            broken if missed else others,
            {path: furthest[path] for path in furthest if path in paths},
            tolerance=tolerance,
            others=None if never else others,
            best={} if besides else best,
            begin=progress.begin,
        )
    found = [_not_below(each, case, line_rate) for each in found]
    if heals:
        progress.begin(LINE_RATE)
        found = [_together(each, case, line_rate, progress) for each in found]
        progress.begin(STREAMS)
        found += _streams(case, progress)
        progress.begin(LINE_RATE)
        found = [_with_streams(each, case, streams, progress) for each in found]
    found += _volume(case, missed, besides or {})
    return limits_frame(_rounded(each, line_rate) for each in found)


def _longest_hours(case: PlanCase) -> float:
    """Up to where longer outages are looked for: half of what is there behind the plan to catch up,
    else a line that is fast enough would seem to be too slow."""
    longest = min(case.curve.change.grid.span_seconds / 4, case.curve.after_seconds / 2)
    return max(longest / HOUR_SECONDS, case.outage_hours)


def little_room(case: PlanCase) -> str:
    """What breaks first on a line slower than the advised one, on which no lag is too long yet."""
    step = format_duration(case.curve.change.grid.step_seconds)
    return (
        f"RPO: it is kept by less than {step}, too little to rely on: lags are computed in steps "
        f"of {step}"
    )


def _not_below(limit: Limit, case: PlanCase, least: float | None) -> Limit:
    """A limit of the line, not below a rate where it lies just below the planned one."""
    if limit.input != LINE_RATE or least is None:
        return limit
    if least > limit.planned:
        value = limit.would_hold_at
        return limit if value is None else replace(limit, would_hold_at=max(value, least))
    room = little_room(case)
    if limit.holds_until is not None and limit.holds_until < least:
        text = text_of(limit.input, limit.direction, least, limit.planned, room)
        limit = replace(limit, holds_until=least, breaks=room, text=text)
    if limit.others_until is not None and limit.others_until < least:
        limit = replace(limit, others_until=least, others_break=room)
    return limit


def _aside(progress: _Progress) -> Callable[[PlanCase], dict[str, str]]:
    """What a case breaks with the volume aside, each question counted."""

    def broken(other: PlanCase) -> dict[str, str]:
        progress.trying()
        return other.broken(volume_aside=True)

    return broken


def _together(limit: Limit, case: PlanCase, least: float | None, progress: _Progress) -> Limit:
    """A limit of the line, with the volume beside which it heals what neither heals alone."""
    given = case.curve.volume.given_bytes
    on_volume = case.on_volume()
    if limit.input != LINE_RATE or given is None or not case.broken(volume_aside=True):
        return limit
    if on_volume is not None and on_volume[0] <= given:
        return limit
    rate = holds_from(
        case,
        _aside(progress),
        LINE_RATE,
        limit.planned * FARTHEST,
        _TOLERANCE,
    )
    if rate is None:
        return limit
    rate = _to_digits(rate, up=True)
    rate = rate if least is None else max(rate, least)
    needed = with_input(case, LINE_RATE, rate).on_volume()
    if needed is None or needed[0] <= given:
        return limit  # the line alone does it
    return replace(limit, together_at=rate, together_volume_bytes=_to_digits(needed[0], up=True))


def _streams(case: PlanCase, progress: _Progress) -> list[Limit]:
    """How many TCP streams alone would do, where they do."""
    number = case.link.streams

    def broken(other: PlanCase) -> dict[str, str]:
        progress.trying()
        return other.broken()

    heals = holds_from(case, broken, STREAMS, float(number * FARTHEST))
    if heals is None:
        return []
    told = "; ".join(f"{name}: {how}" for name, how in case.broken().items())
    text = f"does not hold as planned ({told})"
    return [Limit(STREAMS, "down", number, None, told, text, would_hold_at=heals)]


def _with_streams(
    limit: Limit, case: PlanCase, streams: tuple[int, float] | None, progress: _Progress
) -> Limit:
    """A limit of the line, with the streams, and where it must be the volume, beside which it heals
    what none of them heals alone."""
    if limit.input != LINE_RATE or limit.would_hold_at is not None or streams is None:
        return limit
    number, least = streams
    beside = with_input(case, STREAMS, float(number))
    rate = holds_from(
        beside,
        _aside(progress),
        LINE_RATE,
        max(limit.planned, least) * FARTHEST,
        _TOLERANCE,
    )
    if rate is None:
        return limit
    rate = max(_to_digits(rate, up=True), round_up(least))
    made = replace(limit, together_at=rate, together_streams=number, together_volume_bytes=None)
    needed, given = with_input(beside, LINE_RATE, rate).on_volume(), case.curve.volume.given_bytes
    if given is None or (needed is not None and needed[0] <= given):
        return made
    size = None if needed is None else _to_digits(needed[0], up=True)
    return limit if size is None else replace(made, together_volume_bytes=size)


def _volume(case: PlanCase, missed: Mapping[str, str], besides: Mapping[str, str]) -> list[Limit]:
    """How large the volume must be, where one is given: none is searched, it is what is needed."""
    volume, found = case.curve.volume, case.on_volume()
    given = volume.given_bytes
    if given is None:
        return []
    path = VOLUMES[volume.name]
    told = "; ".join(f"{name}: {how}" for name, how in missed.items())
    limit = Limit(path, "down", given, None, told, f"does not hold as planned ({told})")
    if found is None:
        return [limit]
    needed, objective = found
    breaks = f"{objective}: {format_volume(needed)} are needed"
    if not missed:
        text = text_of(path, "down", needed, given, breaks)
        return [replace(limit, holds_until=needed, breaks=breaks, text=text)]
    if needed <= given:
        return [replace(limit, others_until=needed, others_break=breaks)]
    heals = not besides and not case.broken(volume_aside=True)
    return [replace(limit, would_hold_at=needed)] if heals else [limit]


# -- as sentences have them --------------------------------------------------------------------


def _rounded(limit: Limit, line_rate: float | None) -> Limit:
    """Its values as they are spelled, on the side on which the plan holds; the advised line rate
    stays as it is, for it is spelled elsewhere, and has room."""

    def spelled(value: float | None, *, at_planned: bool) -> float | None:
        if value is None or (limit.input == LINE_RATE and value == line_rate):
            return value
        up = limit.direction == "down"
        if limit.input == OUTAGE:
            value = _whole_time(value)
        elif limit.input != STREAMS:
            value = _to_digits(value, up=up)
        if not at_planned:
            return value
        # What is planned holds, however it is spelled.
        return min(value, limit.planned) if up else max(value, limit.planned)

    made = replace(
        limit,
        holds_until=spelled(limit.holds_until, at_planned=True),
        others_until=spelled(limit.others_until, at_planned=True),
        would_hold_at=spelled(limit.would_hold_at, at_planned=False),
    )
    if made.holds_until is None or made.holds_until == limit.holds_until or not made.breaks:
        return made
    text = text_of(made.input, made.direction, made.holds_until, made.planned, made.breaks)
    return replace(made, text=text)


def _to_digits(value: float, *, up: bool) -> float:
    """To three digits, up or down."""
    if value <= 0:
        return value
    worth = 10.0 ** (floor(log10(value)) - _DIGITS + 1)
    times = value / worth
    whole = ceil(times - _A_LITTLE) if up else floor(times + _A_LITTLE)
    return float(f"{whole * worth:.{_DIGITS + 2}g}")


def _whole_time(hours: float) -> float:
    """Hours, down to what a duration is spelled with: hours from a day on, else minutes."""
    seconds = hours * HOUR_SECONDS
    unit = HOUR_SECONDS if seconds >= DAY_SECONDS else MINUTE_SECONDS
    whole = floor(seconds / unit + _A_LITTLE) * unit
    return (whole if whole > 0 else seconds) / HOUR_SECONDS
