"""Answers of a plan as frames: a figure, or None with its reason; never infinity or no number.

Arithmetic on arrays marks what does not happen with NaN.  Here, on the way out, it becomes None,
in columns of objects: so nobody averages a "never", and JSON has a word for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import pandas as pd

from simulator.plan.grid import Floats


def or_none(value: float) -> float | None:
    """A finite number, else None."""
    return float(value) if np.isfinite(value) else None


def round_up(amount: float, digits: int = 2) -> float:
    """To so many digits, upwards, as one buys; to two 62.8 -> 63, 75.4 -> 76, 131 -> 140."""
    if amount <= 0:
        return 0.0
    worth = 10.0 ** (np.floor(np.log10(amount)) + 1 - digits)
    return float(np.ceil(amount / worth - 1e-9) * worth)


def size_to_buy(needed_bytes: float, margin: float = 0.0) -> float:
    """What is needed with the margin on top, upwards to three digits: volumes are spelled with
    three (:func:`~.plan_units.format_volume`), and who buys what is spelled must have enough."""
    return round_up(needed_bytes * (1.0 + margin), digits=3)


def each_or_none(values: Floats) -> list[float | None]:
    """Finite numbers; None for each other."""
    return [or_none(value) for value in values]


def answer_frame(rows: Iterable[Any], columns: Iterable[str] | None = None) -> pd.DataFrame:
    """A row for each dataclass or mapping.

    Arguments
    ---------
    rows: dataclasses, or mappings by column.
    columns: needed where there may be no row.

    Columns with a None in them hold objects; the others have their type.
    """
    found = [_mapping(row) for row in rows]
    names = list(columns) if columns is not None else list(found[0]) if found else []
    return pd.DataFrame({name: _column([row[name] for row in found]) for name in names})


def finite_frame(table: pd.DataFrame) -> pd.DataFrame:
    """A table of numbers for readers: what is infinite or no number becomes None."""
    columns: dict[Any, pd.Series] = {}
    for name, column in table.items():
        values = column.to_numpy()
        whole = not np.issubdtype(values.dtype, np.floating) or np.isfinite(values).all()
        columns[name] = (
            column if whole else pd.Series(each_or_none(values), index=table.index, dtype=object)
        )
    return pd.DataFrame(columns, index=table.index)


def _mapping(row: Any) -> Mapping[str, Any]:
    return asdict(row) if is_dataclass(row) and not isinstance(row, type) else dict(row)


def _column(values: list[Any]) -> pd.Series:
    if any(value is None for value in values):
        return pd.Series(values, dtype=object)
    return pd.Series(values)
