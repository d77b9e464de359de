"""Keys: those of every real index whose columns are covered, and the order that they stand for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.btree import BTree
from replicator.ese.columns import Column, ColumnFlag, ColumnType
from replicator.ese.database import Row
from replicator.ese.errors import EseError
from replicator.ese.index_keys import IndexKeys, SegmentFlag, encode_segments
from replicator.ese.keys import (
    IndexFlag,
    KeyEncoder,
    Segment,
    sequential_key,
    substitute_unicode_key,
)
from replicator.ese.value_encoding import encode_value
from tests.ese.declared import database, real_indices
from tests.ese.samples import databases

MOST_ROWS = 1000
"""Of each table so many rows are looked at."""

UNICODE_INDICES = {
    "search-win10-32k/repaired-Windows.edb": {"indexUrl"},
    "sum-2012r2/Current.mdb": {
        "Username_RoleGuid_TenantId_index",
        "Address_Username_RoleGuid_TenantId_index",
        "Address_index",
    },
    "readers-4k/index.edb": {"IxUnicode", "IxLongUnicode"},
}
"""Their order is the operating system's."""

LONG = Column(1, "number", ColumnType.LONG)
TEXT = Column(128, "text", ColumnType.TEXT, 255, code_page=1252)
WIDE = Column(129, "wide", ColumnType.TEXT, 255, code_page=1200)
BINARY = Column(130, "binary", ColumnType.BINARY, 255)
MANY = Column(256, "many", ColumnType.LONG, 4, ColumnFlag.MULTI_VALUED)
OTHERS = Column(257, "others", ColumnType.LONG, 4, ColumnFlag.MULTI_VALUED)


@pytest.mark.parametrize("name", databases())
def test_the_keys_of_every_real_index_are_found_again(name: str) -> None:
    skipped = set()
    compared = 0
    for table in database(name).tables():
        columns = table.definition.columns
        rows = list(islice(table.rows(), MOST_ROWS + 1))
        for index, tree, keys in real_indices(name, table.definition.objid):
            try:
                encoder = keys.encoder(columns)
            except EseError as error:
                assert error.number == -1406
                skipped.add(index)
                continue
            names = [columns[number].name for number in keys.column_numbers()]
            found = {
                (key.data, row.key)
                for row in rows
                if keys.holds(_is_null(row))
                for key in encoder.entries([row.raw(each) for each in names])
            }
            if keys.flags & IndexFlag.PRIMARY:
                assert found == {(row.key, row.key) for row in rows}
            else:
                stored = {
                    (entry.node.key, entry.node.data)
                    for entry in BTree(table.database.source, tree.root_pgno).entries()
                }
                assert found <= stored if len(rows) > MOST_ROWS else found == stored
            compared += len(found)
    assert skipped == UNICODE_INDICES.get(name, set())
    assert compared > 150


def _is_null(row: Row) -> Callable[[int], bool]:
    columns = row.table.definition.columns
    return lambda number: not row.raw(columns[number].name)


def test_rows_of_a_table_without_primary_index_are_numbered() -> None:
    table = database("readers-8k/decompress_test.edb").table("test_table")
    keys = [row.key for row in table.rows()]
    assert keys == [sequential_key(number) for number in range(1, len(keys) + 1)]


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        (ColumnType.BIT, True, "7f ff"),
        (ColumnType.BIT, False, "7f 00"),
        (ColumnType.UNSIGNED_BYTE, 200, "7f c8"),
        (ColumnType.SHORT, -1, "7f 7fff"),
        (ColumnType.UNSIGNED_SHORT, 258, "7f 0102"),
        (ColumnType.LONG, 1, "7f 80000001"),
        (ColumnType.UNSIGNED_LONG, 1, "7f 00000001"),
        (ColumnType.CURRENCY, -2, "7f 7ffffffffffffffe"),
        (ColumnType.LONG_LONG, 2, "7f 8000000000000002"),
        (ColumnType.UNSIGNED_LONG_LONG, 2, "7f 0000000000000002"),
        (ColumnType.SINGLE, 1.0, "7f bf800000"),
        (ColumnType.SINGLE, -1.0, "7f 407fffff"),
        (ColumnType.DOUBLE, 1.0, "7f bff0000000000000"),
        (ColumnType.DATE_TIME, -1.0, "7f 400fffffffffffff"),
        (ColumnType.LONG, None, "00"),
    ],
)
def test_numbers(kind: ColumnType, value: int | float | None, key: str) -> None:
    encoder = KeyEncoder([Segment(Column(1, "x", kind))])
    assert encoder.encode_values(value).data == bytes.fromhex(key)
    turned = KeyEncoder([Segment(Column(1, "x", kind), descending=True)])
    assert turned.encode_values(value).data == bytes(255 - byte for byte in bytes.fromhex(key))


def test_the_two_orders_of_guids() -> None:
    value = UUID("00112233-4455-6677-8899-aabbccddeeff")
    segment = [Segment(Column(1, "x", ColumnType.GUID))]
    old = KeyEncoder(segment).encode_values(value).data
    assert old.hex() == "7f" + "aabbccddeeff" + "8899" + "7766" + "5544" + "33221100"
    new = KeyEncoder(segment, flags=IndexFlag.DOT_NET_GUID).encode_values(value).data
    assert new == b"\x7f" + value.bytes


@pytest.mark.parametrize(
    ("column", "value", "key"),
    [
        (TEXT, b"", "40"),
        (TEXT, b"aBc\xe9z", "7f 414243e95a 00"),
        (TEXT, b"ab\0cd", "7f 4142 00"),
        (BINARY, b"", "40"),
        (BINARY, b"abc", "7f 6162630000000000 03"),
        (BINARY, b"abcdefgh", "7f 6162636465666768 08"),
        (BINARY, b"abcdefghi", "7f 6162636465666768 09 6900000000000000 01"),
        (Column(2, "fixed", ColumnType.BINARY, 3), b"abc", "7f 616263"),
    ],
)
def test_text_and_binary(column: Column, value: bytes, key: str) -> None:
    assert KeyEncoder([Segment(column)]).encode([value]).data == bytes.fromhex(key)


def test_a_key_that_is_too_long_is_cut() -> None:
    both = [Segment(TEXT), Segment(LONG)]
    key = KeyEncoder(both).encode([b"a" * 300, b"\1\0\0\0"])
    assert key.truncated
    # The last byte loses 32 whatever it is; of what follows nothing is left.
    assert key.data == b"\x7f" + b"A" * 254
    key = KeyEncoder(both).encode([b"1" * 300, None])
    assert key.data == b"\x7f" + b"1" * 253 + b"\x11"
    assert key.nulls == 1
    key = KeyEncoder(both, key_most_bytes=1000).encode([b"a" * 300, b"\1\0\0\0"])
    assert not key.truncated
    assert len(key.data) == 1 + 300 + 1 + 5
    key = KeyEncoder([Segment(BINARY), Segment(LONG)]).encode([b"b" * 255, b"\1\0\0\0"])
    assert key.truncated
    assert len(key.data) == 255
    with pytest.raises(EseError) as caught:
        KeyEncoder(both, flags=IndexFlag.NO_TRUNCATION).encode([b"a" * 300, b"\1\0\0\0"])
    assert caught.value.number == -346


def test_a_part_that_is_cut_to_its_own_length_leaves_room_for_the_next() -> None:
    encoder = KeyEncoder([Segment(TEXT), Segment(LONG)], segment_most_bytes=5)
    key = encoder.encode([b"abcdef", b"\1\0\0\0"])
    assert key.data == b"\x7fABCD" + bytes.fromhex("7f80000001")
    assert not key.truncated
    encoder = KeyEncoder([Segment(BINARY), Segment(LONG)], segment_most_bytes=5)
    assert encoder.encode([b"abcdef", None]).data == b"\x7fabcd\0"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0xE, [True, True, True, True]),
        (0xC, [True, True, True, False]),
        (0x8, [True, True, False, False]),
        (0x0, [True, False, False, False]),
    ],
)
def test_which_nulls_get_an_entry(flags: int, expected: list[bool]) -> None:
    encoder = KeyEncoder([Segment(LONG), Segment(TEXT)], flags=flags)
    number, word = [b"\1\0\0\0"], [b"a"]
    rows: list[list[list[bytes]]] = [[number, word], [number, []], [[], word], [[], []]]
    assert [bool(list(encoder.entries(row))) for row in rows] == expected


def test_a_null_that_is_forbidden() -> None:
    encoder = KeyEncoder([Segment(LONG)], flags=IndexFlag.NO_NULL_SEGMENT)
    with pytest.raises(EseError) as caught:
        list(encoder.entries([[]]))
    assert caught.value.number == -1053


def words(*numbers: int) -> list[bytes]:
    return [struct.pack("<i", number) for number in numbers]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (0, [(1, 10), (2, 10), (3, 10)]),
        (
            IndexFlag.CROSS_PRODUCT,
            [(1, 10), (1, 20), (2, 10), (2, 20), (3, 10), (3, 20)],
        ),
        (IndexFlag.NESTED, [(1, 10), (2, 20), (3, None)]),
    ],
)
def test_columns_with_several_values(more: int, expected: list[tuple[int, int | None]]) -> None:
    flags = IndexFlag.MULTI_VALUED | 0xE | more
    encoder = KeyEncoder([Segment(MANY), Segment(OTHERS)], flags=flags)
    found = [key.data for key in encoder.entries([words(1, 2, 3), words(10, 20)])]
    assert found == [encoder.encode_values(*each).data for each in expected]


def test_a_value_that_is_there_twice_gives_one_entry() -> None:
    encoder = KeyEncoder([Segment(MANY)], flags=IndexFlag.MULTI_VALUED)
    assert len(list(encoder.entries([words(5, 5)]))) == 1


def test_unicode_text_needs_an_order_to_be_chosen() -> None:
    with pytest.raises(EseError) as caught:
        KeyEncoder([Segment(WIDE)])
    assert caught.value.number == -1406
    encoder = KeyEncoder([Segment(WIDE), Segment(LONG)], unicode_key=substitute_unicode_key)
    assert encoder.encode_values("Straße", 1).data == b"\x7fSTRASSE\0" + bytes.fromhex("7f80000001")
    long = encoder.encode_values("é" * 127, 1)
    assert (len(long.data), long.truncated) == (255, True)


@pytest.mark.parametrize("columns", [0, 17])
def test_keys_of_no_or_too_many_columns(columns: int) -> None:
    with pytest.raises(EseError) as caught:
        KeyEncoder([Segment(LONG)] * columns)
    assert caught.value.number == -1406


def test_a_type_that_no_key_can_hold() -> None:
    with pytest.raises(EseError) as caught:
        KeyEncoder([Segment(Column(1, "x", ColumnType.NIL))])
    assert caught.value.number == -1511


def test_segments_as_the_catalog_has_them() -> None:
    data = encode_segments([(0, 1), (SegmentFlag.DESCENDING, 128)])
    assert data == bytes.fromhex("0000 0100 4000 8000")
    keys = IndexKeys(data, 0, conditions=encode_segments([(SegmentFlag.MUST_BE_NULL, 3), (0, 4)]))
    assert keys.column_numbers() == (1, 128)
    assert keys.encoder({1: LONG, 128: TEXT}).segments == (Segment(LONG), Segment(TEXT, True))
    assert keys.holds(lambda number: number == 3)
    assert not keys.holds(lambda _: True)
    assert not keys.holds(lambda _: False)


# -- the order -------------------------------------------------------------------------

integers = {
    ColumnType.SHORT: st.integers(-(2**15), 2**15 - 1),
    ColumnType.UNSIGNED_SHORT: st.integers(0, 2**16 - 1),
    ColumnType.LONG: st.integers(-(2**31), 2**31 - 1),
    ColumnType.UNSIGNED_LONG: st.integers(0, 2**32 - 1),
    ColumnType.CURRENCY: st.integers(-(2**63), 2**63 - 1),
    ColumnType.UNSIGNED_LONG_LONG: st.integers(0, 2**64 - 1),
    ColumnType.UNSIGNED_BYTE: st.integers(0, 255),
    ColumnType.SINGLE: st.floats(width=32, allow_nan=False),
    ColumnType.DATE_TIME: st.floats(allow_nan=False),
}


@given(st.sampled_from(sorted(integers)), st.booleans(), st.data())
def test_keys_sort_as_numbers_do(kind: ColumnType, descending: bool, data: st.DataObject) -> None:
    column = Column(1, "x", kind)
    encoder = KeyEncoder([Segment(column, descending)])
    low, high = sorted([data.draw(integers[kind]), data.draw(integers[kind])])
    keys = [encoder.encode([encode_value(column, each)]).data for each in (low, high)]
    if low == high and 0.0 in (low, high):
        return  # zero has two signs, and each its key
    assert keys == sorted(keys, reverse=descending)
    assert (keys[0] == keys[1]) == (low == high)


@given(st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_keys_sort_as_binaries_do(one: bytes, other: bytes, descending: bool) -> None:
    encoder = KeyEncoder([Segment(BINARY, descending), Segment(LONG)])
    low, high = sorted([one, other])
    keys = [encoder.encode([low, b"\xff" * 4]).data, encoder.encode([high, b"\0" * 4]).data]
    if low != high:
        assert keys == sorted(keys, reverse=descending)
        assert keys[0] != keys[1]


ascii_text = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=30)


@given(ascii_text, ascii_text)
def test_keys_sort_as_text_in_upper_case_does(one: str, other: str) -> None:
    encoder = KeyEncoder([Segment(TEXT), Segment(LONG)])
    low, high = sorted([one, other], key=lambda each: (bool(each), each.upper()))
    keys = [encoder.encode_values(low, 1).data, encoder.encode_values(high, 2).data]
    assert keys == sorted(keys)
    alike = [encoder.encode_values(each, 0).data for each in (low, high)]
    assert (alike[0] == alike[1]) == (low.upper() == high.upper())


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=2, max_size=2))
def test_nulls_sort_first_or_last(pair: list[int | None]) -> None:
    low = KeyEncoder([Segment(LONG)])
    high = KeyEncoder([Segment(LONG)], flags=IndexFlag.NULLS_HIGH)
    by_low = sorted(pair, key=lambda each: (each is not None, each or 0))
    by_high = sorted(pair, key=lambda each: (each is None, each or 0))
    assert [low.encode_values(each).data for each in by_low] == sorted(
        low.encode_values(each).data for each in pair
    )
    assert [high.encode_values(each).data for each in by_high] == sorted(
        high.encode_values(each).data for each in pair
    )
