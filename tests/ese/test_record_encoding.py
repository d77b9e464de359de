"""Records made: real ones come out again, any row comes back, and what is refused."""

from __future__ import annotations

import struct
from itertools import islice
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.columns import FIRST_VARIABLE, Column, ColumnFlag, ColumnType
from replicator.ese.database import Row
from replicator.ese.errors import EseError
from replicator.ese.record_encoding import RecordEncoder, largest_record_bytes
from replicator.ese.records import FieldFlag, Instance, Record, parse_record
from replicator.ese.schema import ColumnDefinition, Storage, TableDefinition
from replicator.ese.value_encoding import LongValueReference, encode_value
from tests.ese.declared import database
from tests.ese.samples import databases, sample

MOST_ROWS = 1500
"""Of each table so many rows are looked at."""

WITH_OLD_BYTES = {"search-win10-32k/repaired-Windows.edb": {"SystemIndex_Gthr"}}
"""Tables in which old values still lie in the places of nulls."""


def stored(row: Row) -> dict[int, tuple[Instance, ...]]:
    found = {column.identifier: row.stored(column.name) for column in row.table.columns}
    return {number: values for number, values in found.items() if values is not None}


def without_nulls(row: Row, record: Record) -> bytes:
    """A record with asterisks in the places of its null fixed columns."""
    data = bytearray(record.data)
    for number, place in row.table.fixed_offsets.items():
        column = row.table.definition.columns[number]
        if number <= record.last_fixed and record.instances(column, place) == ():
            data[place : place + column.fixed_size] = b"*" * column.fixed_size
    return bytes(data)


@pytest.mark.parametrize("name", databases())
def test_real_records_come_out_again_byte_for_byte(name: str) -> None:
    large = sample(name).page_size > 8192
    differing = set()
    for table in database(name).tables():
        encoder = RecordEncoder(table.definition, sample(name).page_size, 4)
        for row in islice(table.rows(), MOST_ROWS):
            original = row._record  # what the row was read from
            made = encoder.encode_stored(stored(row))
            if made != original.data:
                differing.add(table.name)
                assert made == without_nulls(row, original)
            assert parse_record(made, large).tagged == original.tagged
    assert differing == WITH_OLD_BYTES.get(name, set())


# -- any row comes back ----------------------------------------------------------------

KINDS: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.BIT: st.booleans(),
    ColumnType.UNSIGNED_BYTE: st.integers(0, 255),
    ColumnType.SHORT: st.integers(-(2**15), 2**15 - 1),
    ColumnType.LONG: st.integers(-(2**31), 2**31 - 1),
    ColumnType.CURRENCY: st.integers(-(2**63), 2**63 - 1),
    ColumnType.SINGLE: st.floats(width=32, allow_nan=False),
    ColumnType.DOUBLE: st.floats(allow_nan=False),
    ColumnType.DATE_TIME: st.floats(allow_nan=False),
    ColumnType.UNSIGNED_LONG: st.integers(0, 2**32 - 1),
    ColumnType.LONG_LONG: st.integers(-(2**63), 2**63 - 1),
    ColumnType.GUID: st.uuids(),
    ColumnType.UNSIGNED_SHORT: st.integers(0, 2**16 - 1),
    ColumnType.UNSIGNED_LONG_LONG: st.integers(0, 2**64 - 1),
    ColumnType.BINARY: st.binary(max_size=20),
    ColumnType.TEXT: st.text("abÄ€ z", max_size=8),
    ColumnType.LONG_BINARY: st.binary(max_size=40),
    ColumnType.LONG_TEXT: st.text("abÄ€ z", max_size=20),
}


@st.composite
def tables(draw: st.DrawFn) -> TableDefinition:
    columns = []
    for number in range(draw(st.integers(0, 9))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        tagged = draw(st.booleans())
        several = tagged and draw(st.booleans())
        columns.append(
            ColumnDefinition(
                f"c{number}",
                kind,
                storage=Storage.TAGGED if tagged else None,
                flags=ColumnFlag.MULTI_VALUED if several else ColumnFlag(0),
                code_page=1200,
                default=draw(st.one_of(st.none(), KINDS[kind])) if not several else None,
            )
        )
    return TableDefinition("t", tuple(columns))


@st.composite
def rows(draw: st.DrawFn, table: TableDefinition) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in table.columns:
        value = KINDS[column.type]
        choices = [st.none(), value]
        if column.flags & ColumnFlag.MULTI_VALUED:
            choices.append(st.lists(value, min_size=2, max_size=4))
        if column.type in (ColumnType.LONG_BINARY, ColumnType.LONG_TEXT):
            choices.append(st.integers(1, 2**31 - 1).map(LongValueReference))
        if draw(st.booleans()):
            row[column.name] = draw(st.one_of(choices))
    return row


def read_back(table: TableDefinition, record: bytes, large_page: bool) -> dict[str, Any]:
    """The values of a record as a reader sees them."""
    parsed = parse_record(record, large_page)
    offsets = table.layout.fixed_offsets()
    found: dict[str, Any] = {}
    for number, column in table.layout.columns.items():
        instances = parsed.instances(column, offsets.get(number, 0))
        if instances is None:
            instances = () if column.default is None else (Instance(column.default),)
        values = [
            LongValueReference(int.from_bytes(each.data, "little"), len(each.data))
            if each.separated
            else column.decode(each.data)
            for each in instances
        ]
        found[column.name] = values if len(values) > 1 else values[0] if values else None
    return found


@pytest.mark.parametrize("page_size", [4096, 32768])
@given(data=st.data())
def test_any_row_comes_back(page_size: int, data: st.DataObject) -> None:
    table = data.draw(tables())
    row = data.draw(rows(table))
    record = table.record_encoder(page_size).encode(row)
    expected = {column.name: row.get(column.name, column.default) for column in table.columns}
    found = read_back(table, record, page_size > 8192)
    for column in table.columns:
        assert repr(found[column.name]) == repr(expected[column.name]), column
    layout = table.layout
    parsed = parse_record(record, page_size > 8192)
    instances = {
        number: values
        for number, column in layout.columns.items()
        if (values := parsed.instances(column, column.offset)) is not None
    }
    assert table.record_encoder(page_size).encode_stored(instances) == record


MAIL = TableDefinition(
    "Messages",
    (
        ColumnDefinition("Id", ColumnType.LONG, flags=ColumnFlag.NOT_NULL),
        ColumnDefinition("Size", ColumnType.SHORT),
        ColumnDefinition("Read", ColumnType.BIT),
        ColumnDefinition("Subject", ColumnType.TEXT),
        ColumnDefinition("Class", ColumnType.BINARY, 10),
        ColumnDefinition("Body", ColumnType.LONG_BINARY),
        ColumnDefinition("To", ColumnType.LONG, flags=ColumnFlag.MULTI_VALUED),
    ),
)


@pytest.mark.parametrize(
    ("row", "record"),
    [
        ({"Id": 7}, "01 7f 0900 07000000 fe"),
        ({"Id": 7, "Read": True}, "03 7f 0c00 07000000 2a2a ff fa"),
        ({"Id": 7, "Class": b"c"}, "01 81 0900 07000000 fe 0080 0100 63"),
        ({"Id": 7, "Subject": "s", "Class": None}, "01 80 0900 07000000 fe 0100 73"),
        ({"Id": 7, "Body": b"b"}, "01 7f 0900 07000000 fe 0001 0440 01 62"),
        ({"Id": 7, "To": 1}, "01 7f 0900 07000000 fe 0101 0400 01000000"),
        (
            {"Id": 7, "To": [1, 2]},
            "01 7f 0900 07000000 fe 0101 0440 18 04 01000000 02000000",
        ),
        (
            {"Id": 7, "To": (1, 2, 3)},
            "01 7f 0900 07000000 fe 0101 0440 08 0600 0a00 0e00 01000000 02000000 03000000",
        ),
        (
            {"Id": 7, "Body": LongValueReference(5)},
            "01 7f 0900 07000000 fe 0001 0440 05 05000000",
        ),
        (
            {"Id": 7, "Body": Instance(b"\x0e\x61", compressed=True)},
            "01 7f 0900 07000000 fe 0001 0440 03 0e61",
        ),
    ],
)
def test_known_records(row: dict[str, Any], record: str) -> None:
    encoder = MAIL.record_encoder(4096)
    assert encoder.encode(row) == bytes.fromhex(record)
    in_order = [row.get(column.name) for column in encoder.columns]
    assert encoder.encode(in_order) == bytes.fromhex(record)


def test_a_large_page_has_the_info_byte_always() -> None:
    record = MAIL.record_encoder(32768).encode({"Id": 7, "To": 1})
    assert record == bytes.fromhex("01 7f 0900 07000000 fe 0101 0400 00 01000000")


def test_a_default_is_said_only_where_it_has_to_be() -> None:
    table = TableDefinition(
        "t",
        (
            ColumnDefinition("a", ColumnType.LONG),
            ColumnDefinition("b", ColumnType.SHORT, default=5),
            ColumnDefinition("c", ColumnType.UNSIGNED_BYTE),
            ColumnDefinition("d", ColumnType.TEXT, default="x"),
            ColumnDefinition("e", ColumnType.TEXT),
            ColumnDefinition("f", ColumnType.LONG_BINARY, default=b"y"),
        ),
    )
    small = table.record_encoder(4096)
    assert small.encode({"a": 1}) == bytes.fromhex("01 7f 0900 01000000 fe")
    between = small.encode({"c": 9, "e": "z"})
    assert between == bytes.fromhex("03 81 0c00 2a2a2a2a 0500 09 f9 0100 0200 787a")
    null = small.encode({"a": 1, "b": None, "d": None, "f": None})
    assert null == bytes.fromhex("02 80 0b00 01000000 2a2a fe 0080 0001 0420")
    assert read_back(table, null, False)["f"] is None
    large = table.record_encoder(32768).encode({"f": None})
    assert large == bytes.fromhex("00 7f 0400 0001 0400 21")
    assert read_back(table, large, True)["f"] is None


def test_columns_with_gaps_between_their_numbers() -> None:
    table = TableDefinition(
        "t",
        (
            ColumnDefinition("a", ColumnType.SHORT, identifier=3),
            ColumnDefinition("b", ColumnType.BINARY, identifier=130),
        ),
    )
    record = table.record_encoder(4096).encode({"a": 1, "b": b"z"})
    assert record == bytes.fromhex("03 82 0700 0100 fb 0080 0080 0100 7a")
    assert read_back(table, record, False) == {"a": 1, "b": b"z"}


def test_a_shorter_value_of_a_fixed_column_is_filled_up() -> None:
    table = TableDefinition(
        "t",
        (
            ColumnDefinition("a", ColumnType.BINARY, 4, Storage.FIXED),
            ColumnDefinition("b", ColumnType.TEXT, 4, Storage.FIXED),
            ColumnDefinition("c", ColumnType.TEXT, 4, Storage.FIXED, code_page=1200),
        ),
    )
    record = table.record_encoder(4096).encode({"a": b"x", "b": "y", "c": "z"})
    assert record[4:16] == b"x\0\0\0" + b"y   " + b"z\0 \0"


@pytest.mark.parametrize(
    ("row", "number"),
    [
        ({}, -1504),
        ({"Id": None}, -1504),
        ({"Id": 1, "Nobody": 2}, -1507),
        ([1, 2, 3, 4, 5, 6, 7, 8], -1507),
        ({"Id": 2**31}, -1047),
        ({"Id": 1.5}, -1047),
        ({"Id": b"123"}, -1047),
        ({"Id": 1, "Read": b"12"}, -1047),
        ({"Id": [1, 2]}, -1509),
        ({"Id": 1, "Subject": ["a", "b"]}, -1509),
        ({"Id": 1, "Subject": "a" * 256}, -1506),
        ({"Id": 1, "Class": b"a" * 11}, -1506),
        ({"Id": 1, "To": LongValueReference(3)}, -1511),
        ({"Id": 1, "Body": b"a" * 4000}, -1026),
        ({"Id": 1, "To": [1] * 5000}, -1026),
    ],
)
def test_what_is_refused(row: Any, number: int) -> None:
    with pytest.raises(EseError) as caught:
        MAIL.record_encoder(4096).encode(row)
    assert caught.value.number == number


@pytest.mark.parametrize("row", [{"Id": "one"}, {"Id": 1, "Subject": 5}, {"Id": 1, "Read": "no"}])
def test_a_value_of_another_kind(row: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        MAIL.record_encoder(4096).encode(row)


@pytest.mark.parametrize("page_size", [4096, 8192, 16384, 32768])
@pytest.mark.parametrize("key_most_bytes", [5, 255, 1000])
def test_the_longest_record_fits_into_a_page_with_the_longest_key(
    page_size: int, key_most_bytes: int
) -> None:
    header = 40 if page_size <= 8192 else 80
    longest = largest_record_bytes(page_size, key_most_bytes)
    tags, counts = 8, 4
    assert longest + min(key_most_bytes, 1000) + tags + counts <= page_size - header + 2
    encoder = RecordEncoder(MAIL.layout, page_size, key_most_bytes)
    overhead = len(encoder.encode({"Id": 1, "Body": b"x"})) - 1
    assert len(encoder.encode({"Id": 1, "Body": b"x" * (longest - overhead)})) == longest
    with pytest.raises(EseError):
        encoder.encode({"Id": 1, "Body": b"x" * (longest - overhead + 1)})


def test_stored_values_of_columns_that_are_not_there() -> None:
    with pytest.raises(EseError) as caught:
        MAIL.record_encoder(4096).encode_stored({99: (Instance(b""),)})
    assert caught.value.number == -1507


def test_several_values_of_which_a_later_one_is_compressed() -> None:
    values = (Instance(b"a"), Instance(b"b", compressed=True))
    with pytest.raises(ValueError, match="only the first"):
        MAIL.record_encoder(4096).encode({"Id": 1, "Body": values})


def test_the_null_bitmap_of_many_columns() -> None:
    table = TableDefinition(
        "t", tuple(ColumnDefinition(f"c{n}", ColumnType.UNSIGNED_BYTE) for n in range(19))
    )
    encoder = table.record_encoder(4096)
    assert encoder.encode([1] * 19)[-3:] == b"\0\0\xf8"
    assert encoder.encode({"c0": 1, "c9": 1})[-2:] == b"\xfe\xfd"


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (ColumnType.BIT, True, b"\xff"),
        (ColumnType.GUID, UUID(int=1), bytes(8) + bytes(7) + b"\1"),
        (ColumnType.DOUBLE, 2, struct.pack("<d", 2)),
        (ColumnType.LONG, b"\1\0\0\0", b"\1\0\0\0"),
        (ColumnType.LONG_TEXT, "é", b"\xe9"),
    ],
)
def test_the_bytes_of_a_value(kind: ColumnType, value: Any, data: bytes) -> None:
    column = Column(FIRST_VARIABLE, "x", kind, code_page=1252)
    assert encode_value(column, value) == data


def test_flags_of_stored_values() -> None:
    record = MAIL.record_encoder(4096).encode(
        {"Id": 1, "Body": Instance(b"secret", encrypted=True)}
    )
    field = parse_record(record, False).tagged[256]
    assert field.flags == FieldFlag.LONG_VALUE | FieldFlag.ENCRYPTED
    assert field.instances() == (Instance(b"secret", encrypted=True),)
