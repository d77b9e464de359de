"""A plan as a spreadsheet (xlsx): a sheet for each table, numbers as numbers.

Units stand in the headers; where they differ from row to row, a column names them.  Bytes are
decimal gigabytes, shares percent, lines megabits a second: what people calculate with.  No cell is
ever a formula: texts, whatever they begin with, are written as texts, because names come from files
that somebody else may have written.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from simulator.plan.plan_answer import Topic
from simulator.plan.plan_assumed import assumed_defaults
from simulator.plan.planner import Plan
from simulator.report.output import write_bytes_atomically
from simulator.report.plan_story import breaks_first, headline
from simulator.report.plan_table import Column, PlanTable, Quantity
from simulator.report.plan_tables import plan_tables

UNITS: Final = {
    "seconds": ("s", 1.0),
    "bytes": ("GB", 1e9),
    "bits_per_second": ("Mbit/s", 1e6),
    "share": ("%", 0.01),
    "days": ("days", 1.0),
    "hour": ("o'clock", 1.0),
    "count": ("", 1.0),
    "number": ("", 1.0),
    "clock": ("h", 3_600.0),
    "times": ("times", 1.0),
}
"""What a unit is called in a header, and by what its values are divided."""
_FORMATS: Final = {"bytes": "#,##0.0##", "bits_per_second": "#,##0.0##", "seconds": "#,##0.###"}
_SHEET_NAME: Final = 31
"""The longest name of a sheet."""
_MOST_CHARACTERS: Final = 32_000
"""Of a cell; the format allows 32,767."""
_ILLEGAL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML cannot have."""


def write_sheets(plan: Plan, path: Path, topics: Sequence[Topic], command: str = "") -> None:
    """Write the spreadsheet; raises BadInput when the target refuses it.

    Arguments
    ---------
    topics: the answer in words.
    command: that makes the plan again; the sheet has it with its ``--xlsx``.
    """
    if "--xlsx" not in shlex.split(command):
        command = f"{command} --xlsx {shlex.quote(str(path))}" if command else ""
    write_bytes_atomically(path, sheets_bytes(plan, topics, command), "--xlsx")


def sheets_bytes(plan: Plan, topics: Sequence[Topic], command: str = "") -> bytes:
    """The spreadsheet as bytes of a file."""
    book = Workbook()
    first = book.active
    assert isinstance(first, Worksheet)
    _answer(first, plan, topics, command)
    for table in plan_tables(plan):
        _sheet(book, table)
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def _answer(sheet: Worksheet, plan: Plan, topics: Sequence[Topic], command: str) -> None:
    sheet.title = "answer"
    sheet.column_dimensions["A"].width = 110
    lines = [f"{plan.organisation.name}: {headline(plan)}"]
    for topic in topics:
        lines += ["", topic.name, *topic.sentences]
    lines += ["", "What breaks first", *breaks_first(plan)]
    lines += ["", "What was assumed", plan.change.origin, *plan.change.remarks]
    lines += assumed_defaults(plan.organisation)
    if command:
        lines += ["", "Made by", command]
    headings = {1, *(n for n, line in enumerate(lines, 1) if n > 1 and not lines[n - 2])}
    for number, line in enumerate(lines, 1):
        _put(sheet, number, 1, line, bold=number in headings)


def _sheet(book: Workbook, table: PlanTable) -> None:
    sheet = book.create_sheet(table.key[:_SHEET_NAME])
    _put(sheet, 1, 1, table.title, bold=True)
    if table.note:
        _put(sheet, 2, 1, table.note)
    header = 3
    names = [_header(column) for column in table.columns]
    names += ["Unit"] if table.has_own_units else []
    for place, name in enumerate(names, 1):
        _put(sheet, header, place, name, bold=True)
        sheet.column_dimensions[get_column_letter(place)].width = max(12, len(name) + 2)
    for number, row in enumerate(table.rows, header + 1):
        for place, column in enumerate(table.columns, 1):
            _value(sheet, number, place, column, row[column.key])
        if table.has_own_units:
            units = [_own_unit(value) for value in row.values() if isinstance(value, Quantity)]
            _put(sheet, number, len(names), ", ".join(dict.fromkeys(units)))
    sheet.freeze_panes = sheet.cell(header + 1, 1)


def _own_unit(quantity: Quantity) -> str:
    return UNITS[quantity.unit][0]


def _header(column: Column) -> str:
    unit = UNITS.get(column.unit, ("", 1.0))[0]
    return f"{column.name} ({unit})" if unit else column.name


def _value(sheet: Worksheet, row: int, place: int, column: Column, value: Any) -> None:
    if isinstance(value, Quantity):
        unit, figure, missing = value
    elif column.is_number:
        unit, figure, missing = column.unit, value, column.missing
    else:
        _put(sheet, row, place, column.spelled(value), wrap=False)
        return
    if figure is None:
        _put(sheet, row, place, missing, wrap=False)
        return
    cell = sheet.cell(row, place, float(figure) / UNITS[unit][1])
    cell.number_format = _FORMATS.get(unit, "General")


def _put(
    sheet: Worksheet, row: int, place: int, text: str, *, bold: bool = False, wrap: bool = False
) -> None:
    """A text, and nothing but a text: set after the fact, since a leading "=" makes a formula."""
    cell = sheet.cell(row, place)
    cell.value = _ILLEGAL.sub("\ufffd", text)[:_MOST_CHARACTERS]
    cell.data_type = "s"
    cell.quotePrefix = text[:1] in "=+-@" and bool(text)
    if bold:
        cell.font = Font(bold=True)
    if wrap:
        cell.alignment = Alignment(wrap_text=True, vertical="top")
