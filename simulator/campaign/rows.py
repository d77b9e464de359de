"""Rows of a file of results, held against what a campaign writes as they are read.

The file is SQLite's: whatever can write to it may have changed it, and a cell that is taken for
what it is not would give a verdict that nobody found.  Most cells of a campaign are alike, so what
a text stands for is remembered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from replicator.errors import BadInput
from simulator.campaign.coverage import TRANSITION_NAMES, parse_cell
from simulator.measures import Verdict

_REMEMBERED: Final = 1 << 12
"""So many texts of a column: the memory for them stays small."""
_VERDICTS: Final = frozenset(each.value for each in Verdict)
_SHOWN: Final = 40


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("is no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("is no count")
    return value


def _figure(value: Any) -> float | int:
    if not (type(value) is float or type(value) is int) or not math.isfinite(value):
        raise ValueError("is no number")
    return value


def _optional_count(value: Any) -> int | None:
    return None if value is None else _count(value)


def _optional_figure(value: Any) -> float | int | None:
    return None if value is None else _figure(value)


def _verdict(value: Any) -> str:
    if value not in _VERDICTS:
        raise ValueError("is no verdict")
    return str(value)


def _yes_or_no(value: Any) -> int:
    if type(value) is not int or value not in (0, 1):
        raise ValueError("is neither 0 nor 1")
    return value


@lru_cache(_REMEMBERED)
def _names(value: Any) -> tuple[str, ...]:
    try:
        found = json.loads(_text(value))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("is no list of texts")
    return tuple(found)


@lru_cache(_REMEMBERED)
def _covered(value: Any) -> str:
    try:
        bits = list(parse_cell(_text(value)).values())
    except ValueError:
        bits = [-1]
    if not all(0 <= each < 1 << len(TRANSITION_NAMES) for each in bits):
        raise ValueError("is no coverage")
    return str(value)


_CELLS: Final[dict[str, Callable[[Any], Any]]] = {
    "number": _count,
    "verdict": _verdict,
    "reasons": _names,
    "trace_hash": _text,
    "kinds": _names,
    "happened": _names,
    "never_happened": _count,
    "rpo_seconds": _optional_figure,
    "rpo_messages": _optional_count,
    "rto_seconds": _optional_figure,
    "spool_peak_bytes": _count,
    "journal_peak_bytes": _count,
    "lag_peak_seconds": _figure,
    "operations": _count,
    "resynchronizations": _count,
    "simulated_seconds": _figure,
    "wall_seconds": _figure,
    "repeated": _yes_or_no,
    "covered": _covered,
    "marks": _names,
    "plan": _text,
}
"""By column: gives what a cell stands for, lists as tuples; raises ValueError for one that stands
for nothing."""


def checked_rows(
    rows: Iterable[Sequence[Any]], columns: Sequence[str], path: Path
) -> Iterator[tuple[Any, ...]]:
    """The rows with their lists as tuples.

    Arguments
    ---------
    columns: what the rows hold; the first is the plan's number.
    path: of the file that they are read from.

    Raises BadInput for a cell that no campaign writes, with the plan's number.
    """
    cells = [_CELLS[name] for name in columns]
    for row in rows:
        try:
            read = tuple([cell(value) for cell, value in zip(cells, row, strict=True)])
        except ValueError:
            raise _first_damage(row, columns, path) from None
        yield read


def _first_damage(row: Sequence[Any], columns: Sequence[str], path: Path) -> BadInput:
    for name, value in zip(columns, row, strict=True):
        try:
            _CELLS[name](value)
        except ValueError as error:
            text = "NULL" if value is None else repr(value)
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
            return damaged_row(path, row[0], f"column {name} holds {shown}, which {error}")
    raise AssertionError("each cell is what it is to be")


def damaged_row(path: Path, number: int, what: str) -> BadInput:
    """The row of a plan is not what a campaign wrote."""
    return BadInput(
        f"the row of plan {number} is damaged: {what}",
        path=str(path),
        remedy=f"Take the row out (DELETE FROM plans WHERE number = {number}) and have 'simulator "
        "campaign --resume' run the plan again; or take another file.",
    )
