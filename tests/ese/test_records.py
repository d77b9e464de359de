"""Records: fixed, variable, tagged and multi-valued fields, defaults, compression, decoding."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.column_compression import decompress
from replicator.ese.columns import Column, ColumnType, decode_text, ole_time
from replicator.ese.database import Database
from replicator.ese.errors import EseError
from replicator.ese.reader import BytesReader
from replicator.ese.records import FieldFlag, Instance, parse_record
from tests.ese.samples import load

NUMBER = Column(1, "number", ColumnType.LONG)
SECOND = Column(2, "second", ColumnType.SHORT)
NAME = Column(128, "name", ColumnType.TEXT, code_page=1252)
OTHER = Column(129, "other", ColumnType.BINARY)
TAGGED = Column(256, "tagged", ColumnType.LONG_BINARY)
MANY = Column(300, "many", ColumnType.LONG_BINARY)


def record(tagged: list[tuple[int, int, bytes]], variable: list[bytes | None]) -> bytes:
    """A record of a small page: columns 1 (7) and 2 (null), then what is given."""
    fixed = struct.pack("<ih", 7, 0x2A2A) + b"\x02"
    ends, data = b"", b""
    for value in variable:
        data += value or b""
        ends += struct.pack("<H", len(data) | (0x8000 if value is None else 0))
    head = struct.pack("<BBH", 2, 127 + len(variable), 4 + len(fixed))
    array, place, bodies = b"", 4 * len(tagged), b""
    for identifier, flags, value in tagged:
        body = bytes((flags,)) + value if flags else value
        array += struct.pack("<HH", identifier, place | (0x4000 if flags else 0))
        bodies += body
        place += len(body)
    return head + fixed + ends + data + array + bodies


def plain(data: bytes) -> tuple[Instance, ...]:
    return (Instance(data),)


def test_the_parts_of_a_record() -> None:
    data = record([(256, 0, b"tail"), (300, FieldFlag.NULL, b"")], [b"abc", None])
    found = parse_record(data, large_page=False)
    assert found.instances(NUMBER, 4) == plain(b"\7\0\0\0")
    assert found.instances(SECOND, 8) == ()
    assert found.instances(Column(3, "later", ColumnType.LONG), 10) is None
    assert found.instances(NAME, 0) == plain(b"abc")
    assert found.instances(OTHER, 0) == ()
    assert found.instances(Column(130, "later", ColumnType.TEXT), 0) is None
    assert found.instances(TAGGED, 0) == plain(b"tail")
    assert found.instances(MANY, 0) == ()
    assert found.instances(Column(299, "absent", ColumnType.LONG_TEXT), 0) is None


def test_a_column_that_reaches_behind_the_fixed_part() -> None:
    found = parse_record(record([], [b"variable"]), large_page=False)
    assert found.instances(NUMBER, 6) == plain(b"\0\0\x2a\x2a")
    with pytest.raises(EseError, match="behind the fixed part"):
        found.instances(NUMBER, 7)


def test_variable_columns_out_of_order() -> None:
    data = bytearray(record([], [b"abc", b"defg"]))
    at = 4 + 7
    assert data[at : at + 4] == b"\3\0\7\0"
    data[at] = 9
    with pytest.raises(EseError, match="out of order"):
        parse_record(bytes(data), large_page=False)


def test_several_values_in_one_field() -> None:
    many = struct.pack("<HHH", 6, 9 | 0x8000, 13) + b"one" + b"\1\0\0\0" + b"three"
    data = record(
        [
            (256, FieldFlag.MULTI_VALUES | FieldFlag.TWO_VALUES, b"\3onetwo!"),
            (300, FieldFlag.MULTI_VALUES | FieldFlag.COMPRESSED, many),
        ],
        [],
    )
    found = parse_record(data, large_page=False)
    assert found.instances(TAGGED, 0) == (Instance(b"one"), Instance(b"two!"))
    assert found.instances(MANY, 0) == (
        Instance(b"one", compressed=True),
        Instance(b"\1\0\0\0", separated=True),
        Instance(b"three"),
    )


def test_on_large_pages_the_info_byte_is_always_there() -> None:
    data = bytes((0, 127, 4, 0)) + struct.pack("<HHHH", 256, 8, 300, 0x8) + b"\4\1\2\3\4"
    with pytest.raises(EseError, match="do not fit"):
        parse_record(data[:-6], large_page=True)
    found = parse_record(
        bytes((0, 127, 4, 0)) + struct.pack("<HHHH", 256, 8, 300, 13) + b"\4\1\2\3\4\0rest",
        large_page=True,
    )
    assert found.instances(TAGGED, 0) == (Instance(b"\1\2\3\4", separated=True),)
    assert found.instances(MANY, 0) == plain(b"rest")


def test_a_value_that_ends_behind_the_record_is_refused() -> None:
    data = bytes((0, 127, 4, 0)) + struct.pack("<HHHH", 256, 8, 300, 0x400C)
    for large_page in (False, True):
        with pytest.raises(EseError, match="out of order"):
            parse_record(data, large_page)


@pytest.mark.parametrize("large_page", [False, True])
@given(data=st.data())
def test_any_record_is_read_or_refused(large_page: bool, data: st.DataObject) -> None:
    good = record(
        [(256, 0, b"tail"), (300, FieldFlag.MULTI_VALUES, struct.pack("<HH", 4, 5) + b"abc")],
        [b"abc", b"defgh"],
    )
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(0, 6))):
        changed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(0, len(good)))])
    try:
        found = parse_record(cut, large_page)
        values = [
            found.instances(column, place)
            for column, place in ((NUMBER, 4), (SECOND, 8), (NAME, 0), (OTHER, 0), (TAGGED, 0))
        ]
        values += [field.instances() for field in found.tagged.values()]
    except EseError as error:
        assert error.number == -1206
        return
    stored = sum(len(each.data) for value in values if value for each in value)
    assert stored <= 2 * len(cut)


# -- values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (ColumnType.BIT, b"\xff", True),
        (ColumnType.BIT, b"\0", False),
        (ColumnType.SHORT, b"\xfe\xff", -2),
        (ColumnType.UNSIGNED_LONG, b"\xff\xff\xff\xff", 0xFFFFFFFF),
        (ColumnType.CURRENCY, b"\xff" * 8, -1),
        (ColumnType.DOUBLE, struct.pack("<d", 2.5), 2.5),
        (ColumnType.GUID, bytes(range(16)), UUID("03020100-0504-0706-0809-0a0b0c0d0e0f")),
        (ColumnType.LONG, b"\1\2", b"\1\2"),
        (99, b"as it is", b"as it is"),
        (ColumnType.LONG_BINARY, b"\0", b"\0"),
    ],
)
def test_bytes_of_a_type(kind: int, data: bytes, value: object) -> None:
    assert Column(1, "x", kind).decode(data) == value


@given(st.binary(max_size=40), st.sampled_from([0, 1200, 1252, 932, 65001, 20127, 54321]))
def test_any_bytes_are_text(data: bytes, code_page: int) -> None:
    assert isinstance(decode_text(data, code_page), str)


def test_times_of_programs_that_keep_ole_dates() -> None:
    assert str(ole_time(45217.5)) == "2023-10-18 12:00:00+00:00"
    assert ole_time(float("nan")) is None
    assert ole_time(1e300) is None


# -- compression -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (bytes.fromhex("0a b79638 4d078ddf 6db8bc3c 9fa7df6e 10bd3ca7 83e67479 da7d06"), None),
        (b"\x0e\x61", b"a"),
        (b"\x16\x61", b"a\0"),
        (bytes.fromhex("18 2c01 ffffff1f 616263 1700 0f ff 2601"), b"abc" * 100),
        (bytes.fromhex("18 1a00 3f000000") + b"abcdefghijklmnopqrstuvwxyz", None),
        # A match of length 24 and one of length 17 share a byte for their lengths.
        (bytes.fromhex("18 2a00 ffffff7f 61 0700 7e 0700"), b"a" * 42),
        (bytes.fromhex("18 3900 ffffff7f 61 0700 7e 0700 0700 05"), b"a" * 57),
        # Lengths in a byte, in two and in four.
        (bytes.fromhex("18 6500 ffffff7f 61 0700 0f 4b"), b"a" * 101),
        (bytes.fromhex("18 2d01 ffffff7f 61 0700 0f ff 2901"), b"a" * 301),
        (bytes.fromhex("18 f501 ffffff7f 61 0700 0f ff 0000 f1010000"), b"a" * 501),
        (b"", b""),
    ],
)
def test_known_compressed_values(stored: bytes, value: bytes | None) -> None:
    if value is None:
        value = (
            b"7-bit compression test string"
            if stored[0] >> 3 == 1
            else b"abcdefghijklmnopqrstuvwxyz"
        )
    assert decompress(stored, 1000) == value


@given(st.text(st.characters(min_codepoint=0, max_codepoint=127), min_size=1), st.booleans())
def test_seven_bits_a_character(text: str, wide: bool) -> None:
    bits = sum(ord(character) << 7 * index for index, character in enumerate(text))
    size = (7 * len(text) + 7) // 8
    last = (7 * len(text) - 1) % 8
    stored = bytes(((2 if wide else 1) << 3 | last,)) + bits.to_bytes(size, "little")
    assert decompress(stored, 1 << 20) == text.encode("utf-16-le" if wide else "ascii")


@given(st.binary(min_size=1, max_size=60), st.integers(0, 200))
def test_any_compressed_bytes_are_read_or_refused(data: bytes, limit: int) -> None:
    try:
        assert len(decompress(data, limit)) <= limit
    except EseError as error:
        assert error.number == -1206


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ("18", "without its size"),
        ("18 0500 ffffffff 0000", "before its beginning"),
        ("18 0500 0000007f 61", "ends in the middle"),
        ("18 2d01 ffffff7f 61 0700 0f ff 0500", "a length no encoder writes"),
        ("18 ff00 00000000", "255 bytes, 100 are allowed"),
    ],
)
def test_compressed_bytes_that_no_encoder_writes(stored: str, words: str) -> None:
    with pytest.raises(EseError, match=words):
        decompress(bytes.fromhex(stored), 302 if stored.startswith("18 2d") else 100)


@pytest.mark.parametrize("scheme", [0, 4, 5, 6, 7, 31])
def test_schemes_that_are_not_known(scheme: int) -> None:
    with pytest.raises(EseError, match="not known here"):
        decompress(bytes((scheme << 3, 1, 2, 3)), 100)


def test_compressed_values_of_a_real_file() -> None:
    database = Database(BytesReader(load("readers-8k/decompress_test.edb")))
    packed = 0
    for table in database.tables():
        for row in table.rows():
            for column in table.columns:
                for stored in row.stored(column.name) or ():
                    packed += stored.compressed
                    assert not stored.compressed or len(row.raw(column.name)[0]) > 8
    assert packed == 30


# -- rows ------------------------------------------------------------------------------


def test_a_dirty_database_is_opened_when_that_is_meant() -> None:
    reader = BytesReader(load("bits-16k-dirty/qmgr.db"), "qmgr.db")
    with pytest.raises(EseError) as caught:
        Database(reader)
    assert (caught.value.number, caught.value.path) == (-550, "qmgr.db")
    assert len(Database(reader, allow_dirty=True).tables()) == 6


def test_a_row_by_name() -> None:
    table = Database(BytesReader(load("readers-4k/basic.edb"))).table("basic")
    rows = list(table.rows())
    assert len(rows) == 2
    values = dict(rows[0].items())
    assert values["GUID"] == UUID("3f360af1-6766-46dc-9af2-0dacf295c2a1")
    assert values["DateTime"] == 36220.0
    with pytest.raises(KeyError):
        rows[0]["nobody"]
