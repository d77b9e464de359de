"""A table of a plan: columns with names and units, and rows of plain values.

Page, spreadsheet and terminal show the same tables; each spells the values in its own way.  A
table is also a data frame (:meth:`PlanTable.frame`), its columns those of :attr:`PlanTable.columns`
with their units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pandas as pd

from simulator.plan.plan_units import FORMATS

Row = dict[str, Any]


class Quantity(NamedTuple):
    """A figure with a unit of its own, in a column where units differ from row to row.

    ``unit`` is one of :data:`~simulator.plan.plan_units.FORMATS`; ``missing`` is said in place of
    a value that there is not.
    """

    unit: str
    value: float | None
    missing: str = "never"

    def spelled(self) -> str:
        """In words."""
        return self.missing if self.value is None else FORMATS[self.unit](self.value)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    key: of the row.
    name: above the column.
    unit: "text", "flag", "own" (values are :class:`Quantity`), or one of
        :data:`~simulator.plan.plan_units.FORMATS`.
    missing: what is said where there is no value.
    """

    key: str
    name: str
    unit: str = "text"
    missing: str = "-"

    @property
    def is_number(self) -> bool:
        """Whether its values are figures."""
        return self.unit == "own" or self.unit in FORMATS

    def spelled(self, value: Any) -> str:
        """A value in words."""
        if value is None:
            return self.missing
        if isinstance(value, Quantity):
            return value.spelled()
        if self.unit == "flag":
            return "yes" if value else "no"
        return FORMATS[self.unit](float(value)) if self.unit in FORMATS else str(value)


@dataclass(frozen=True)
class PlanTable:
    """One table.

    Attributes
    ----------
    key: a short name of its own.
    title: above it.
    columns, rows: rows have a value for each column's key.
    note: a sentence below it.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def frame(self) -> pd.DataFrame:
        """The table as a frame: its columns are the keys of :attr:`columns`.

        Where units differ from row to row, a column ``unit`` names them.
        """
        data = {c.key: [_bare(row[c.key]) for row in self.rows] for c in self.columns}
        if self.has_own_units:
            data["unit"] = [self.unit_of(row) for row in self.rows]
        return pd.DataFrame(data)

    @property
    def has_own_units(self) -> bool:
        """Whether units differ from row to row."""
        return any(column.unit == "own" for column in self.columns)

    def unit_of(self, row: Row) -> str:
        """The unit, or units, of a row's own figures."""
        own = [value.unit for value in row.values() if isinstance(value, Quantity)]
        return ", ".join(dict.fromkeys(own))

    def spelled(self) -> Iterator[list[str]]:
        """Each row in words."""
        for row in self.rows:
            yield [column.spelled(row[column.key]) for column in self.columns]


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Quantity) else value


def seconds_column(key: str, name: str, missing: str = "never") -> Column:
    return Column(key, name, "seconds", missing=missing)


def bytes_column(key: str, name: str, missing: str = "-") -> Column:
    return Column(key, name, "bytes", missing=missing)


def table_of(
    key: str, title: str, columns: Sequence[Column], rows: Sequence[Row], note: str = ""
) -> PlanTable:
    """Of the rows only what the columns name; a column of reasons goes where nothing has one."""
    shown = [c for c in columns if c.key != "reason" or any(row["reason"] for row in rows)]
    kept = tuple({c.key: row[c.key] for c in shown} for row in rows)
    return PlanTable(key, title, tuple(shown), kept, note)


REASON: Final = Column("reason", "Remark")
HOUR: Final = Column("hour", "Begin", "hour")


def moment(text: str | None) -> str | None:
    """An ISO time without its seconds."""
    return None if text is None else text.replace("T", " ")[:16]
