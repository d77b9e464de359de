"""The frames of a plan as plain rows: Python's own numbers, None for never, and why it is never.

Frames hold NumPy's types, and some say "never" without a reason, because their column can mean one
thing only.  Whoever reads a row alone (JSON, a table) is told: :data:`_REASONS` has the words.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from simulator.plan.planner import Plan

Row = dict[str, Any]
FRAMES: Final = (
    "kinds",
    "rates",
    "lags",
    "violations",
    "days",
    "surface",
    "lasts",
    "spool_outages",
    "returns",
    "catch_up_by_rate",
    "replica",
    "first_copy",
    "copy_begins",
    "recovery",
    "tornado",
    "validity",
)
"""Names of the frames of a :class:`~simulator.plan.planner.Plan`."""
RESYNCHRONIZATION_UNKNOWN: Final = (
    "how long a resynchronization takes is not known: give change.database_size"
)


def plain(value: Any) -> Any:
    """A value as JSON can have it: NumPy's numbers as Python's, dates as ISO text, and None for
    infinity and for no number."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, datetime.date):  # a Timestamp is one too
        return value.isoformat()
    return value


def frame_rows(frame: pd.DataFrame) -> list[Row]:
    """A mapping for each row."""
    columns = [list(frame[name]) for name in frame.columns]
    names = [str(name) for name in frame.columns]
    return [
        {name: plain(value) for name, value in zip(names, row, strict=True)}
        for row in zip(*columns, strict=True)
    ]


def _never_full(row: Row) -> str:
    parts = []
    if row["shortest_seconds"] is None:
        parts.append("from no start full before the plan ends")
    elif row["median_seconds"] is None:
        parts.append("from most starts not full before the plan ends")
    return "".join(parts)


def _of_outage(row: Row) -> str:
    parts = []
    if row["full_after_seconds"] is None:
        parts.append("the spool holds")
    if row["compared_bytes"] is None:
        parts.append(RESYNCHRONIZATION_UNKNOWN)
    elif row["unprotected_seconds"] is None or row["behind_seconds"] is None:
        parts.append("still unprotected when the plan ends")
    return "; ".join(parts)


def _of_return(row: Row) -> str:
    missing = [name for name in row if row[name] is None]
    if not missing and not row["not_caught_up"]:
        return ""
    return (
        f"{row['not_caught_up']} of {row['starts']} starts are not caught up before the plan ends"
    )


def _of_catch_up(row: Row) -> str:
    if row["catch_up_seconds"] is not None:
        return ""
    return "never: this line does not catch up, or not within the plan"


_REASONS: Final[Mapping[str, Callable[[Row], str]]] = {
    "lasts": _never_full,
    "spool_outages": _of_outage,
    "returns": _of_return,
    "catch_up_by_rate": _of_catch_up,
}


def with_reason(plan: Plan) -> dict[str, list[Row]]:
    """The rows of each frame, by its name in :data:`FRAMES`; those that can say "never" have a
    ``reason``."""
    found = {name: frame_rows(getattr(plan, name)) for name in FRAMES}
    for name, reason in _REASONS.items():
        found[name] = [{**row, "reason": reason(row)} for row in found[name]]
    return found
