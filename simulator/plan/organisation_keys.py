"""Quantities of an organisation's keys that no other file of ours has: spans of days, growth, days
and moments of a week, hours of a day.

A span is read as any duration; but whoever plans thinks of hours and weeks, so its examples and
the advice in its errors do, too.  Growth is the one ratio that may be below 0 or above the whole:
mailboxes are lost as well as won; its bounds are what no plan of a site has met [A], so that a slip
of the unit (``15`` for ``15%``) is found.  A moment is a date of the calendar, or a time of the
week, of which the plan takes the first.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from replicator import units
from replicator.toml_keys import DURATION_PATTERN, KeyProblem, Quantity
from simulator.scenario_keys import DAY_NS, read_time_of_day_ns, spell_time_of_day

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EXAMPLES: Final = ("8h", "4w", "1h30m")
LEAST_GROWTH, MOST_GROWTH = -0.5, 10.0
"""By the year [A]."""


def _read_objective(given: object) -> int:
    """As :func:`_read_span`; the advice is of minutes and hours."""
    return _read_span(given, ("15m", "4h"))


def _read_span(given: object, examples: tuple[str, ...] = _EXAMPLES) -> int:
    """A duration in nanoseconds; raises UnitError, whose advice is of hours and weeks."""
    try:
        return units.parse_duration_ns(given)
    except units.UnitError as error:
        problem, found, _ = str(error).rpartition(": write for instance ")
        if not found:
            raise
        raise units.UnitError(f"{problem}: write for instance {' or '.join(examples[:2])}") from (
            None
        )


_SPAN: Final = Quantity(
    kind=units.DURATION.name,
    pattern=DURATION_PATTERN,
    examples=_EXAMPLES,
    read=_read_span,
    spell=units.spell_duration,
    positive=True,
)
PositiveSpan = Annotated[int, _SPAN]
ObjectiveSpan = Annotated[int, replace(_SPAN, examples=("15m", "4h"), read=_read_objective)]


def _read_growth(given: object) -> float:
    """``"15%"``, ``"-10%"``, ``0.15``; raises UnitError."""
    shown = str(given)[:40]
    try:
        if isinstance(given, str) and given.strip().endswith("%"):
            value = float(given.strip()[:-1]) / 100
        elif isinstance(given, str | int | float) and not isinstance(given, bool):
            value = float(given)
        else:
            raise ValueError(shown)
    except (ValueError, OverflowError):
        raise units.UnitError(f"{shown!r} is no growth: write 15%") from None
    if not LEAST_GROWTH <= value <= MOST_GROWTH:  # what is no number is not in there either
        raise units.UnitError(
            f"{shown} a year is beyond {LEAST_GROWTH:.0%} to {MOST_GROWTH:.0%}: write for instance "
            "15% or -10%"
        )
    return value


Growth = Annotated[
    float,
    BeforeValidator(_read_growth),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)? ?%$"},
                {"type": "number", "minimum": LEAST_GROWTH, "maximum": MOST_GROWTH},
            ],
            "title": "ratio",
            "examples": ["15%", "-10%"],
        }
    ),
]


def _day_number(name: str) -> int | None:
    """``"Mon"`` or ``"monday"``: 0; None for what is no weekday."""
    short = name.strip().capitalize()[:3]
    return WEEKDAYS.index(short) if short in WEEKDAYS else None


def _read_days(given: object) -> tuple[int, ...]:
    """``"Mon-Fri"``, ``"Sat,Sun"``, ``"Fri-Mon"``: numbers of days, Monday 0."""
    found: list[int] = []
    if isinstance(given, tuple):
        return given
    for part in str(given).split(","):
        ends = [_day_number(name) for name in part.split("-")]
        first, last = ends[0], ends[-1]
        if len(ends) > 2 or first is None or last is None:
            raise units.UnitError(
                f"{str(given)[:40]!r} are no weekdays: write for instance Mon-Fri"
            )
        found += [(first + each) % 7 for each in range((last - first) % 7 + 1)]
    return tuple(sorted(set(found)))


Days = Annotated[tuple[int, ...], BeforeValidator(_read_days, json_schema_input_type=str)]


def _read_moment(given: object) -> datetime.datetime | int:
    """``"Sat 18:00"`` as nanoseconds from Monday, midnight; a date, with a time or without, as
    such."""
    if isinstance(given, datetime.datetime):
        moment = given
    elif isinstance(given, datetime.date):
        moment = datetime.datetime.combine(given, datetime.time())
    else:
        text = given.strip() if isinstance(given, str) else ""
        day, _, clock = text.partition(" ")
        number = _day_number(day)
        if number is not None:
            at_ns = read_time_of_day_ns(clock.strip()) if clock.strip() else 0
            return number * DAY_NS + at_ns
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise KeyProblem(
                f"{str(given)[:40]!r} is no date and no time of the week",
                'Write a date without quotes, 2007-01-06 or 2007-01-06 18:00:00, or "Sat 18:00".',
            ) from None
    if moment.tzinfo is not None:
        raise KeyProblem(
            "a plan has the site's own time, without a zone", "Write it without Z or an offset."
        )
    return moment


Moment = Annotated[
    datetime.datetime | int,
    BeforeValidator(_read_moment),
    WithJsonSchema(
        {
            "type": "string",
            "title": "date or time of the week",
            "examples": ["Sat 18:00", "2007-01-06"],
        }
    ),
]


def _read_hours(given: object) -> tuple[int, int]:
    """``"04:45-06:00"``: begin and end as nanoseconds of a day; raises UnitError."""
    if isinstance(given, tuple):
        return given
    begin, dash, end = str(given).partition("-")
    if not dash:
        raise units.UnitError(f"{str(given)[:40]!r} are no hours: write 01:00-05:00")
    ends = read_time_of_day_ns(begin.strip()), read_time_of_day_ns(end.strip())
    if ends[0] % DAY_NS == ends[1] % DAY_NS and ends != (0, DAY_NS):
        raise units.UnitError(f"{str(given)[:40]!r} have no length: write 01:00-05:00")
    return ends


Hours = Annotated[
    tuple[int, int],
    BeforeValidator(_read_hours),
    WithJsonSchema(
        {
            "type": "string",
            "title": "hours of a day",
            "pattern": r"^[0-9]{2}:[0-9]{2}(:[0-9]{2})? ?- ?[0-9]{2}:[0-9]{2}(:[0-9]{2})?$",
            "examples": ["01:00-05:00", "22:00-02:00"],
        }
    ),
]


def spell_hours(hours: tuple[int, int]) -> str:
    """``04:45-06:00``."""
    return "-".join(spell_time_of_day(each) for each in hours)
