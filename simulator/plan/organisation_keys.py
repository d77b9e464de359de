"""Quantities of an organisation's keys that no other file of ours has: spans of days, and growth.

A span is read as any duration; but whoever plans thinks of hours and weeks, so its examples and
the advice in its errors do, too.  Growth is the one ratio that may be below 0 or above the whole:
mailboxes are lost as well as won; its bounds are what no plan of a site has met [A], so that a slip
of the unit (``15`` for ``15%``) is found.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from replicator import units
from replicator.toml_keys import DURATION_PATTERN, Quantity

_EXAMPLES: Final = ("8h", "4w", "1h30m")
LEAST_GROWTH, MOST_GROWTH = -0.5, 10.0
"""By the year [A]."""


def _read_span(given: object) -> int:
    """A duration in nanoseconds; raises UnitError, whose advice is of hours and weeks."""
    try:
        return units.parse_duration_ns(given)
    except units.UnitError as error:
        problem, found, _ = str(error).rpartition(": write for instance ")
        if not found:
            raise
        raise units.UnitError(f"{problem}: write for instance {' or '.join(_EXAMPLES[:2])}") from (
            None
        )


PositiveSpan = Annotated[
    int,
    Quantity(
        kind=units.DURATION.name,
        pattern=DURATION_PATTERN,
        examples=_EXAMPLES,
        read=_read_span,
        spell=units.spell_duration,
        positive=True,
    ),
]


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
