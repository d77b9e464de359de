"""The spreadsheet of a plan, read back."""

from __future__ import annotations

import io
from pathlib import Path

import openpyxl
import pytest

from replicator.errors import BadInput
from simulator.report.plan_sheets import UNITS, sheets_bytes, write_sheets
from simulator.report.plan_table import Quantity
from simulator.report.plan_tables import plan_tables
from tests.plan import plans

HOSTILE = ('=cmd|"/c calc"!A1', "+1+1", "-2", "@SUM(A1)", "<script>", "a\x00b\x1bc", "x" * 40_000)
HEADER = 3


def read(content: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(content))


@pytest.mark.parametrize("make", [plans.plan, plans.never, plans.nightly])
def test_numbers_are_numbers_with_their_unit_in_the_header(make) -> None:
    plan = make()
    book = read(sheets_bytes(plan, plans.told("Buy it.")))
    tables = plan_tables(plan)
    assert book.sheetnames == ["answer", *(table.key for table in tables)]
    assert "Buy it." in [row[0] for row in book["answer"].iter_rows(values_only=True)]
    compared = 0
    for table in tables:
        sheet = book[table.key]
        for place, column in enumerate(table.columns, 1):
            head = sheet.cell(HEADER, place).value
            unit = UNITS.get(column.unit, ("", 1))[0]
            assert head == (f"{column.name} ({unit})" if unit else column.name)
            for number, row in enumerate(table.rows, HEADER + 1):
                value, cell = row[column.key], sheet.cell(number, place)
                if isinstance(value, Quantity):
                    unit, value = value.unit, value.value
                elif column.is_number:
                    unit = column.unit
                else:
                    continue
                if value is None:
                    assert cell.data_type == "s"
                    continue
                assert cell.data_type == "n"
                assert cell.value * UNITS[unit][1] == pytest.approx(value, rel=1e-12)
                compared += 1
    assert compared > (100 if make is plans.never else 200)


def test_rows_of_different_units_name_them() -> None:
    book = read(sheets_bytes(plans.plan(), []))
    rows = list(book["needs"].iter_rows(min_row=HEADER, values_only=True))
    place = rows[0].index("Unit")
    units = {row[0]: row[place] for row in rows[1:]}
    assert units["line rate for the RPO alone"] == "Mbit/s" and units["spool at the source"] == "GB"


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:12]))
def test_no_name_becomes_a_formula(name: str) -> None:
    book = read(sheets_bytes(plans.hostile(name), plans.told(name), name))
    texts = []
    for sheet in book:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f"
                if cell.data_type == "s":
                    texts.append(cell.value)
    shown = name.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")[:32_000]
    assert texts.count(shown) >= 3  # sentence, origin, remark, command


def test_the_safeguard_is_needed() -> None:
    """Without it a leading "=" is a formula: what the test above would find."""
    book = openpyxl.Workbook()
    book.active["A1"] = HOSTILE[0]
    assert book.active["A1"].data_type == "f"


def test_a_target_that_refuses_is_told(tmp_path: Path) -> None:
    write_sheets(plans.plan(), tmp_path / "plan.xlsx", [])
    assert (tmp_path / "plan.xlsx").read_bytes().startswith(b"PK")
    with pytest.raises(BadInput, match="--xlsx"):
        write_sheets(plans.plan(), tmp_path / "no" / "plan.xlsx", [])
