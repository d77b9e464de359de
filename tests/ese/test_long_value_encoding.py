"""Long values made: real trees come out again, values in pieces, and what leaves a record."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.btree import BTree
from replicator.ese.column_compression import Scheme, decompress
from replicator.ese.column_compression_encoding import compress_seven_bit
from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.errors import EseError
from replicator.ese.long_value_encoding import (
    LongValueEncoder,
    LongValueSeparator,
    SeparatedRow,
    chunk_bytes,
)
from replicator.ese.long_values import LongValues
from replicator.ese.records import Instance, parse_record
from replicator.ese.schema import ColumnDefinition, TableDefinition
from replicator.ese.value_encoding import LongValueReference
from tests.ese.declared import database
from tests.ese.samples import each, sample

WITH_LONG_VALUES = {
    "search-win10-32k/repaired-Windows.edb": (29, 7),
    "bits-16k-dirty/qmgr.db": (18, 0),
    "readers-4k/index.edb": (2, 0),
}
"""How many there are, and of how many the chunks are compressed."""


WITH_SEVEN_BITS = {
    "readers-8k/decompress_test.edb": 30,
    "search-win10-32k/repaired-Windows.edb": 1000,
}
"""How many values in seven bits are looked at."""


@pytest.mark.parametrize("name", each(list(WITH_LONG_VALUES)))
def test_real_long_values_come_out_again_node_by_node(name: str) -> None:
    values = packed = 0
    for table in database(name).catalog.tables:
        if table.long_value_root is None:
            continue
        source = database(name).source
        nodes: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for entry in BTree(source, table.long_value_root).entries():
            size = 8 if entry.node.key[0] & 0x80 else 4
            nodes.setdefault(entry.node.key[:size], []).append((entry.node.key, entry.node.data))
        reader = LongValues(source, table.long_value_root)
        for key, stored in nodes.items():
            encoder = LongValueEncoder(sample(name).page_size, len(key))
            references = int.from_bytes(stored[0][1][:4], "little")
            made = list(
                encoder.nodes(int.from_bytes(key, "big"), reader.read(key[::-1]), references)
            )
            assert [node.key for node in made] == [key for key, _ in stored]
            differing = [
                (node.data, data)
                for node, (_, data) in zip(made, stored, strict=True)
                if node.data != data
            ]
            for plain, data in differing:
                assert decompress(data, len(plain)) == plain
            values += 1
            packed += bool(differing)
    assert (values, packed) == WITH_LONG_VALUES[name]


@pytest.mark.parametrize(
    ("page_size", "expected"), [(2048, 1966), (4096, 4014), (8192, 8110), (32768, 8150)]
)
def test_how_much_a_chunk_holds(page_size: int, expected: int) -> None:
    assert chunk_bytes(page_size) == expected


def test_the_nodes_of_a_value() -> None:
    encoder = LongValueEncoder(4096)
    nodes = list(encoder.nodes(0x102, b"x" * 5000, references=3))
    assert [node.key.hex() for node in nodes] == [
        "00000102",
        "0000010200000000",
        "0000010200000fae",
    ]
    assert nodes[0].data == bytes.fromhex("03000000 88130000")
    assert [len(node.data) for node in nodes[1:]] == [4014, 986]
    longer = LongValueEncoder(32768, 8)
    first = next(longer.nodes(longer.first_identifier, b""))
    assert first.key.hex() == "8000000080000001"
    assert list(longer.nodes(longer.first_identifier, b"")) == [first]


@given(st.lists(st.integers(0, 9000), max_size=8))
def test_a_value_may_come_in_any_pieces(sizes: list[int]) -> None:
    encoder = LongValueEncoder(4096)
    pieces = [bytes((number % 251,)) * size for number, size in enumerate(sizes)]
    whole = b"".join(pieces)
    streamed = encoder.stream(1, iter(pieces), len(whole))
    assert list(streamed) == list(encoder.nodes(1, whole))


def test_a_value_of_another_length_than_was_said() -> None:
    with pytest.raises(ValueError, match="5 bytes were announced, 4 came"):
        list(LongValueEncoder(4096).stream(1, [b"abcd"], 5))


@pytest.mark.parametrize("identifier", [0, 0x7FFFFF00, 0x80000000])
def test_identifiers_that_cannot_be(identifier: int) -> None:
    with pytest.raises(EseError) as caught:
        list(LongValueEncoder(4096).nodes(identifier, b"x"))
    assert caught.value.number == -1076


def test_a_value_that_is_too_long() -> None:
    with pytest.raises(EseError) as caught:
        list(LongValueEncoder(4096).stream(1, [], 1 << 31))
    assert caught.value.number == -1506


# -- what leaves the record ------------------------------------------------------------

MAIL = TableDefinition(
    "Messages",
    (
        ColumnDefinition("Id", ColumnType.LONG),
        ColumnDefinition("Subject", ColumnType.TEXT),
        ColumnDefinition("Body", ColumnType.LONG_TEXT, code_page=1200),
        ColumnDefinition("Parts", ColumnType.LONG_BINARY, flags=ColumnFlag.MULTI_VALUED),
        ColumnDefinition("Raw", ColumnType.LONG_BINARY),
    ),
)


def separate(row: dict[str, object], limit: int = 0) -> SeparatedRow:
    separator = LongValueSeparator(MAIL.record_encoder(4096), limit)
    return separator.encode(row, count(1).__next__)  # type: ignore[arg-type]


def test_what_is_longer_than_the_limit_leaves() -> None:
    made = separate({"Id": 1, "Body": "b" * 511, "Raw": b"r" * 1023})
    assert made.long_values == {}
    made = separate({"Id": 1, "Body": "b" * 512, "Raw": b"r" * 1024})
    assert made.long_values == {1: b"b\0" * 512, 2: b"r" * 1024}
    tagged = parse_record(made.record, large_page=False).tagged
    assert tagged[256].instances() == (Instance(b"\1\0\0\0", separated=True),)
    assert tagged[258].instances() == (Instance(b"\2\0\0\0", separated=True),)
    assert separate({"Raw": b"r" * 6}, limit=5).long_values == {1: b"r" * 6}
    assert separate({"Raw": b"r" * 4}, limit=1).long_values == {}


def test_of_several_values_the_long_ones_leave() -> None:
    made = separate({"Parts": [b"p" * 2000, b"short", LongValueReference(99)]})
    assert made.long_values == {1: b"p" * 2000}
    assert parse_record(made.record, large_page=False).tagged[257].instances() == (
        Instance(b"\1\0\0\0", separated=True),
        Instance(b"short"),
        Instance(b"\x63\0\0\0", separated=True),
    )


def test_when_the_record_is_too_long_the_limit_is_halved() -> None:
    # Limits of 2048 and 1024 change nothing; with 512 all of these leave.
    made = separate({"Raw": b"r" * 1000, "Body": "b" * 500, "Parts": [b"p" * 700] * 3})
    parts = {number: b"p" * 700 for number in (2, 3, 4)}
    assert made.long_values == {1: b"b\0" * 500, **parts, 5: b"r" * 1000}
    made = separate({"Raw": b"r" * 1023, "Parts": [b"p" * 500] * 6})
    assert made.long_values == {1: b"r" * 1023}


def test_a_record_that_stays_too_long() -> None:
    with pytest.raises(EseError) as caught:
        separate({"Parts": [b"four"] * 3000})
    assert caught.value.number == -1026
    with pytest.raises(EseError) as caught:
        separate({"Nobody": 1})
    assert caught.value.number == -1507


# -- seven bits ------------------------------------------------------------------------


@pytest.mark.parametrize("name", each(list(WITH_SEVEN_BITS)))
def test_real_values_are_compressed_alike(name: str) -> None:
    expected = WITH_SEVEN_BITS[name]
    compared = 0
    for table in database(name).tables():
        for row in table.rows():
            for column in table.columns:
                for stored in row.stored(column.name) or ():
                    scheme = stored.data[0] >> 3 if stored.compressed else Scheme.NONE
                    if scheme in (Scheme.SEVEN_BIT_ASCII, Scheme.SEVEN_BIT_UNICODE):
                        assert compress_seven_bit(decompress(stored.data, 4096)) == stored.data
                        compared += 1
            if compared >= expected:
                return
    pytest.fail(f"{compared} compressed values only")


@given(st.binary(max_size=200))
def test_what_is_compressed_comes_back(value: bytes) -> None:
    for plain in (
        value,
        value.decode("latin-1").encode("utf-16-le"),
        bytes(b & 127 for b in value),
    ):
        stored = compress_seven_bit(plain)
        if stored is not None:
            assert len(stored) < len(plain)
            assert decompress(stored, len(plain)) == plain
        elif len(plain) > 16:
            assert max(plain) > 127


@pytest.mark.parametrize("value", [b"", b"a", b"\x80" * 20, b"a" * 1025])
def test_what_stays_plain(value: bytes) -> None:
    assert compress_seven_bit(value) is None
