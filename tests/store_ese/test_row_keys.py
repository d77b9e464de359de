"""Keys cut out of a row's bytes are those that its columns make."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.errors import EseError
from replicator.ese.records import parse_record
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from simulator.exchange.ese.row_keys import StoredRow, TableIndex

LONGS = st.integers(-(1 << 31), (1 << 31) - 1)
ROWS = st.fixed_dictionaries(
    {"Number": LONGS, "Big": st.none() | st.integers(-(1 << 63), (1 << 63) - 1)},
    optional={"Small": st.none() | st.integers(0, 255), "Name": st.text(max_size=5)},
)
TABLE = TableDefinition(
    "Rows",
    (
        ColumnDefinition("Number", ColumnType.LONG, flags=ColumnFlag.NOT_NULL),
        ColumnDefinition("Big", ColumnType.CURRENCY),
        ColumnDefinition("Small", ColumnType.UNSIGNED_BYTE),
        ColumnDefinition("Name", ColumnType.TEXT),
    ),
    (
        IndexDefinition("ByNumber", ("Number",), primary=True),
        IndexDefinition("ByAll", ("-Small", "Big", "Number")),
        IndexDefinition("ByName", ("Name", "Number")),
    ),
)
INDICES = {each.name: TableIndex(TABLE, each) for each in TABLE.indices}


def columns_key(index: TableIndex, data: bytes) -> bytes | None:
    """The key by way of the columns; None when one of them is null or not said."""
    record, offsets = parse_record(data, False), TABLE.layout.fixed_offsets()
    values: list[bytes] = []
    for column in index.columns:
        stored = record.instances(column, offsets.get(column.identifier, 0))
        if not stored:
            return None
        values.append(stored[0].data)
    return index.encoder.encode(values).data


@settings(deadline=None)
@given(row=ROWS)
def test_a_key_of_fixed_columns_is_the_one_that_the_columns_make(row: dict[str, Any]) -> None:
    if row.get("Name") is not None:
        row["Name"] = row["Name"].encode("ascii", "replace").decode()
    data = TABLE.record_encoder(8192).encode(row)
    for name in ("ByNumber", "ByAll"):
        assert INDICES[name].fixed_key(data) == columns_key(INDICES[name], data)
    assert INDICES["ByName"].fixed_key(data) is None


@settings(deadline=None)
@given(data=st.binary(max_size=40))
def test_bytes_that_are_no_row_have_no_such_key_and_are_refused_when_taken_apart(
    data: bytes,
) -> None:
    for index in INDICES.values():
        found = index.fixed_key(data)
        assert found is None or isinstance(found, bytes)
    try:
        parse_record(data, False)
    except EseError as error:
        with pytest.raises(EseError, match=str(error.number)):
            _ = StoredRow(data, False).record
