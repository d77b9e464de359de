"""The same rows as libesedb and dissect.esedb see, on every real database.

What they see differently, and why that is no difference:

- libesedb gives a null fixed column the bytes that lie in its place, for it does not look at the
  null bitmap, and it refuses one record with many hundred tagged columns;
- dissect.esedb shows deleted nodes, gives times as integers, GUIDs as text, cuts zeros off the end
  of text, and takes the third and later chunks of a long value for compressed ones.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pyesedb
import pytest
from dissect.esedb.esedb import EseDB

from replicator.ese.columns import FIRST_VARIABLE, TEXT_TYPES, Column, ColumnType
from replicator.ese.database import Database, Row, Table
from replicator.ese.long_values import LongValues
from replicator.ese.page import NodeFlag
from replicator.ese.reader import BytesReader
from tests.ese.samples import databases, load, sample

COMPARED_VALUES = 60_000
"""Of each table so many values are compared, from its beginning; all rows are counted."""

PACKED, LONG, MULTI = 2, 4, 8
"""libesedb's flags of a value."""


def ours(name: str) -> Database:
    return Database(BytesReader(load(name), name), allow_dirty=True)


def _first_rows(table: Table) -> Iterator[Row]:
    return islice(table.rows(), COMPARED_VALUES // len(table.columns) + 1)


@pytest.mark.parametrize("name", databases())
def test_tables_and_rows_are_counted_alike(name: str, tmp_path: Path) -> None:
    expected = sample(name)
    tables = ours(name).tables()
    counts = {table.name: sum(1 for _ in table.rows()) for table in tables}
    assert (len(tables), sum(counts.values())) == (expected.tables, expected.rows)
    path = tmp_path / "it.edb"
    path.write_bytes(load(name))
    theirs = pyesedb.open(str(path))
    try:
        found = [theirs.get_table(number) for number in range(theirs.get_number_of_tables())]
        assert {each.name: each.get_number_of_records() for each in found} == counts
    finally:
        theirs.close()


@pytest.mark.parametrize("name", databases())
def test_libesedb_reads_the_same_values(name: str, tmp_path: Path) -> None:
    path = tmp_path / "it.edb"
    path.write_bytes(load(name))
    theirs = pyesedb.open(str(path))
    compared = 0
    refused: list[tuple[str, int]] = []
    try:
        for table in ours(name).tables():
            other = theirs.get_table_by_name(table.name)
            for number, row in enumerate(_first_rows(table)):
                try:
                    record = other.get_record(number)
                except OSError:
                    refused.append((table.name, number))
                    continue
                assert record.get_number_of_values() == len(table.columns)
                for index in range(record.get_number_of_values()):
                    column = table.by_name[record.get_column_name(index)]
                    _same_as_libesedb(row, column, record, index)
                    compared += 1
    finally:
        theirs.close()
    assert compared > 1000
    # It stumbles over the longest records of one table.
    allowed = {"readers-32k/large.edb": 15}.get(name, 0)
    assert len(refused) <= allowed, refused
    assert {table for table, _ in refused} <= {"large"}


def _same_as_libesedb(row: Row, column: Column, record: Any, index: int) -> None:
    flags = record.get_value_data_flags(index)
    stored = row.stored(column.name)
    if flags & MULTI:
        values = record.get_value_data_as_multi_value(index)
        count = values.get_number_of_values()
        theirs = tuple(values.get_value_data(number) for number in range(count))
        plain = tuple(each.data for each in stored or ())
        assert theirs == plain or theirs == row.raw(column.name)
    elif flags & LONG:
        whole = record.get_value_data_as_long_value(index)
        assert row.raw(column.name) == ((whole.get_data(),) if whole else ())
    elif flags & PACKED and column.type in TEXT_TYPES:
        text = record.get_value_data_as_string(index)
        assert text == str(row[column.name]).rstrip("\0")
    else:
        data = record.get_value_data(index)
        if stored:
            assert (stored[0].data or None) == (data or None)
        elif stored == () and column.identifier < FIRST_VARIABLE:
            at = row.table.fixed_offsets[column.identifier]
            assert data == row._record.data[at : at + column.fixed_size]
        else:
            assert not data or data == column.default


@pytest.mark.parametrize("name", databases())
def test_dissect_reads_the_same_values(name: str) -> None:
    theirs = EseDB(io.BytesIO(load(name)))
    others: dict[int, Any] = {table.root_page: table for table in theirs.tables()}
    compared = 0
    for table in ours(name).tables():
        other = others[table.definition.root_pgno]
        rows = _first_rows(table)
        compared_rows = 0
        for row, record in zip(rows, _shown(other), strict=False):
            for column in table.columns:
                if _in_many_chunks(row, column):
                    continue
                mine = _as_dissect_shows(column, row, table)
                value = record.get(column.name)
                if isinstance(value, str):
                    value = value.rstrip("\0")
                if _is_packed(row, column):  # it ignores how many bits of the last byte count
                    value, mine = _without_zeros(value), _without_zeros(mine)
                assert value == mine, (table.name, column.name)
                compared += 1
            compared_rows += 1
        assert compared_rows == sum(1 for _ in _first_rows(table))
    assert compared > 1000


def _is_packed(row: Row, column: Column) -> bool:
    return any(each.compressed for each in row.stored(column.name) or ())


def _without_zeros(value: object) -> object:
    if isinstance(value, list):
        return [_without_zeros(each) for each in value]
    if isinstance(value, str):
        return value.rstrip("\0")
    return value.rstrip(b"\0") if isinstance(value, bytes) else value


def _in_many_chunks(row: Row, column: Column) -> bool:
    stored = row.stored(column.name)
    if not stored or not stored[0].separated:
        return False
    root = row.table.definition.long_value_root
    assert root is not None
    chunks = LongValues(row.table.database.source, root).chunks(stored[0].data)
    return len(list(islice(chunks, 3))) > 2


def _shown(table: Any) -> Iterator[Any]:
    """dissect's records without the nodes that are flagged deleted."""
    return (each for each in table.records() if not each._node.tag.flags & NodeFlag.DELETED)


def _as_dissect_shows(column: Column, row: Row, table: Table) -> object:
    value = row[column.name]
    if isinstance(value, tuple):
        return [_one(column, each) for each in value]
    return _one(column, value)


def _one(column: Column, value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float) and column.type == ColumnType.DATE_TIME:
        return struct.unpack("<q", struct.pack("<d", value))[0]
    return value.rstrip("\0") if isinstance(value, str) else value
