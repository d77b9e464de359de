"""Long values: real ones, in pieces and whole, and such as no engine writes."""

from __future__ import annotations

import pytest

from replicator.ese.btree import Entry
from replicator.ese.database import Database
from replicator.ese.errors import EseError
from replicator.ese.long_values import LongValues
from replicator.ese.page import Node, Page
from replicator.ese.page_source import PageSource
from replicator.ese.reader import BytesReader
from tests.ese.samples import load

INDEX = "readers-4k/index.edb"


def source(name: str) -> PageSource:
    return PageSource(BytesReader(load(name), name), 4096)


def separated(name: str) -> list[tuple[str, bytes, bytes]]:
    """Table, identifier and whole value of each separated value."""
    found = []
    for table in Database(BytesReader(load(name)), allow_dirty=True).tables():
        for row in table.rows():
            for column in table.columns:
                for stored in row.stored(column.name) or ():
                    if stored.separated:
                        found.append((table.name, stored.data, table.long_value(stored.data)))
    return found


@pytest.mark.parametrize("name", [INDEX, "bits-16k-dirty/qmgr.db"])
def test_long_values_come_in_pieces_or_whole(name: str) -> None:
    values = separated(name)
    assert values
    database = Database(BytesReader(load(name)), allow_dirty=True)
    for table, identifier, whole in values:
        root = database.table(table).definition.long_value_root
        assert root is not None
        long_values = LongValues(database.source, root)
        assert b"".join(long_values.chunks(identifier)) == whole
        with pytest.raises(EseError, match="are allowed"):
            long_values.read(identifier, len(whole) - 1)
        with pytest.raises(EseError, match="does not exist"):
            long_values.read(b"\xfe" * len(identifier))
        with pytest.raises(EseError, match="an identifier of 3 bytes"):
            long_values.read(b"abc")


class Nodes:
    """A long-value tree of given nodes."""

    root_pgno = 9

    def __init__(self, nodes: list[tuple[bytes, bytes]]) -> None:
        self.nodes = nodes

    def entries(self, from_key: bytes) -> list[Entry]:
        page = Page(load(INDEX)[5 * 4096 : 6 * 4096], 4)
        return [
            Entry(page, Node(line, 0, key, data))
            for line, (key, data) in enumerate(self.nodes)
            if key >= from_key
        ]


def long_value(nodes: list[tuple[bytes, bytes]], reference: bytes = b"\7\0\0\0") -> bytes:
    values = LongValues(source(INDEX), 4)
    values._tree = Nodes(nodes)  # type: ignore[assignment]
    return values.read(reference)


def node(offset: int | None, data: bytes, identifier: bytes = b"\0\0\0\7") -> tuple[bytes, bytes]:
    key = identifier if offset is None else identifier + offset.to_bytes(4, "big")
    return key, data


def size(total: int) -> tuple[bytes, bytes]:
    return node(None, b"\1\0\0\0" + total.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("nodes", "value"),
    [
        ([size(0)], b""),
        ([size(3), node(0, b"abc")], b"abc"),
        ([size(7), node(0, b"abc"), node(3, b"defg")], b"abcdefg"),
        ([size(3), node(0, b"abc"), (b"\0\0\0\x08", b"another")], b"abc"),
        ([size(2), node(0, b"ab"), (b"\0\0\1\0", b"")], b"ab"),
    ],
)
def test_a_long_value_of_given_nodes(nodes: list[tuple[bytes, bytes]], value: bytes) -> None:
    assert long_value(nodes) == value


def test_a_long_value_with_a_compressed_chunk_and_a_long_identifier() -> None:
    text = b"a" * 100
    bits = sum(0x61 << 7 * index for index in range(100))
    packed = bytes((1 << 3 | 3,)) + bits.to_bytes(88, "little")
    identifier = b"\x80\0\0\0\0\0\0\7"
    root = (identifier, b"\1\0\0\0" + (103).to_bytes(4, "little"))
    nodes = [root, node(0, b"xyz", identifier), node(3, packed, identifier)]
    assert long_value(nodes, identifier[::-1]) == b"xyz" + text


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([], "does not exist"),
        ([(b"\0\0\0\7\0\0\0\1", b"\1\0\0\0\1\0\0\0")], "does not exist"),
        ([node(None, b"\1\0\0\0")], "has no size"),
        ([size(3)], "has no chunks"),
        ([size(3), node(1, b"bc")], "lacks its beginning"),
        ([size(9000), node(0, b"abc")], "has 9,000 bytes"),
        ([size(3), node(0, b"abc"), node(3, b"def")], "has 0 bytes"),
        ([size(30), node(0, b"\x0a" + b"abc")], "holds 2 bytes instead of 30"),
        ([size(3), (b"\0\0\0\7\0\0", b"abc")], "of another shape"),
        ([size(30), node(0, b"\x28abc")], "XPRESS9, which is not known here"),
    ],
)
def test_long_values_that_contradict_themselves(
    nodes: list[tuple[bytes, bytes]], words: str
) -> None:
    with pytest.raises(EseError) as caught:
        long_value(nodes)
    assert words in caught.value.detail
    assert caught.value.number == -1526
    assert caught.value.path == INDEX
