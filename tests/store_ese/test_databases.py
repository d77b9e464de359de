"""Whole databases, filled in no order, changed and thinned out; independent readers see them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyesedb
import pytest
from dissect.esedb.esedb import EseDB

from replicator.ese.catalog import CATALOG_ROOT, SHADOW_NAME
from replicator.ese.catalog_encoding import Tree as Place
from replicator.ese.columns import ColumnType
from replicator.ese.database import Database as ReadDatabase
from replicator.ese.database_check import check_database
from replicator.ese.database_state import attached, created, detached
from replicator.ese.errors import EseError
from replicator.ese.header_copies import sealed
from replicator.ese.log_record_types import RECORD_BYTES_MAX
from replicator.ese.log_records import decode_record
from replicator.ese.page import NodeFlag
from replicator.ese.page_source import PageSource
from replicator.ese.reader import BytesReader
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.ese.space import available_extents, space_header
from replicator.ese.values import LogPosition, LogTime, Signature
from simulator.exchange.ese.database import Database
from simulator.exchange.ese.growth import GrowthPolicy
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_format import STORE_FORMATS, StoreFormat
from simulator.exchange.ese.table import Table
from tests.store_ese.memory import (
    MemoryLog,
    MemoryPages,
    check_same,
    entries,
    redone,
    source_of,
    tree_pages,
)
from tests.store_ese.space_check import check_space

MESSAGES = TableDefinition(
    "Messages",
    (
        ColumnDefinition("Id", ColumnType.LONG),
        ColumnDefinition("Folder", ColumnType.LONG),
        ColumnDefinition("Subject", ColumnType.TEXT),
        ColumnDefinition("Digest", ColumnType.BINARY),
        ColumnDefinition("Body", ColumnType.LONG_BINARY),
    ),
    (
        IndexDefinition("ById", ("Id",), primary=True),
        IndexDefinition("ByFolder", ("Folder", "-Id")),
        IndexDefinition("BySubject", ("Subject",)),
        IndexDefinition("ByDigest", ("Digest",), unique=True),
    ),
)
EVENTS = TableDefinition(
    "Events",
    (ColumnDefinition("What", ColumnType.TEXT), ColumnDefinition("Size", ColumnType.LONG)),
    pages=4,
)
ROWS = 600
MANY_ROWS = 5000
STEP = 1009
"""No divisor of the number of rows, so multiples of it come by all of them, in no order."""

NEGATIVE = 250
"""So many of the rows have a negative number."""

VERSIONS = sorted(STORE_FORMATS)


def message(number: int, version: int = 0) -> dict[str, Any]:
    """A row; every few of them have a body of several chunks, a short one, or none."""
    kind = number % 8
    body = None
    if kind:
        size = (0, 10, 300, 900, 1200, 5000, 20, 9000 if number % 3 else 40000)[kind]
        body = (number * 7 + version).to_bytes(4, "little") * (size // 4)
    return {
        "Id": number - NEGATIVE,
        "Folder": number % 13,
        "Subject": f"message {number % 211} of version {version}" if number % 5 else None,
        "Digest": (number * 2654435761 % 2**32).to_bytes(4, "big") * 4,
        "Body": body,
    }


class Store:
    """A database that has lived for a while, and what must be in it."""

    def __init__(self, name: str, rows: int = ROWS) -> None:
        self.count = rows
        self.format: StoreFormat = STORE_FORMATS[name]
        self.pages = MemoryPages(self.format.page_bytes)
        self.log = MemoryLog()
        self.database = Database(self.pages, self.log, self.format)
        self.session = Session(5)
        self.database.create(self.session, "C:\\mdb\\priv1.edb", Signature())
        self.messages = self.database.create_table(self.session, MESSAGES)
        self.events = self.database.create_table(self.session, EVENTS)
        self.rows: dict[bytes, dict[str, Any]] = {}
        self.live(rows)

    def live(self, rows: int) -> None:
        transactions, session = self.database.transactions, self.session
        for turn in range(rows):
            number = turn * STEP % rows
            transactions.begin(session)
            key = self.messages.insert(session, message(number))
            self.rows[key] = message(number)
            if turn % 4 == 0:
                self.events.insert(session, {"What": f"event {turn}", "Size": turn})
            if turn % 7 == 3:
                self.change(turn * STEP // 2 % rows)
            if turn % 5 == 4:
                self.delete(turn * STEP // 3 % rows)
            transactions.commit(session)
            if turn % 50 == 0:
                self.and_not_at_all(turn)
                transactions.clean_up(session)
        transactions.begin(session)
        for number in range(rows // 3, rows // 3 + rows // 5):
            self.delete(number)
        transactions.commit(session)
        transactions.clean_up(session, limit=1 << 20)

    def key(self, number: int) -> bytes:
        return self.messages.key(number - NEGATIVE)

    def change(self, number: int) -> None:
        key = self.key(number)
        if key in self.rows:
            self.rows[key] = message(number, version=1)
            self.messages.update(self.session, key, self.rows[key])

    def delete(self, number: int) -> None:
        if self.rows.pop(self.key(number), None) is not None:
            self.messages.delete(self.session, self.key(number))

    def and_not_at_all(self, turn: int) -> None:
        """A transaction that is taken back, one within another one too."""
        transactions, session = self.database.transactions, self.session
        transactions.begin(session)
        keys = sorted(self.rows)[turn % 5 :: 97]
        for key in keys:
            self.messages.delete(session, key)
        transactions.begin(session)
        for key in keys:
            number = self.rows[key]["Id"] + NEGATIVE
            self.messages.insert(session, message(number, version=2))
        transactions.rollback(session)
        transactions.rollback(session)

    def file(self) -> bytes:
        """As it is after a clean shutdown."""
        time, position = LogTime(), LogPosition(1, 1, 0)
        header = created(
            self.format.database, signature=Signature(), dbid=1, log_signature=Signature()
        )
        header = attached(header, position=position, time=time, generation_created=time)
        header = detached(
            header,
            position=LogPosition(1, 9, 40),
            time=time,
            dbtime=self.database.context.dbtime,
            last_objid=self.database.last_objid,
        )
        page = sealed(header.encode(), self.format.page_bytes)
        source = source_of(self.pages, at_least=self.last_pgno)
        reader = source.reader
        size = self.format.page_bytes
        return page + page + bytes(reader.read_at(2 * size, reader.size_bytes - 2 * size))

    @property
    def last_pgno(self) -> int:
        return self.pages.extended_to(self.log.records)

    @property
    def parents(self) -> dict[int, int]:
        """The roots, each with the root that it gets its extents from."""
        found = {1: 0, 4: 1, 24: 1, 7: 4, 10: 4}
        for table in (self.messages, self.events):
            found[table.rows.top_pgno] = 1
            below = [*table.indices.values()]
            below += [table.long_values] if table.long_values is not None else []
            found.update({tree.top_pgno: table.rows.top_pgno for tree in below})
        return found


@pytest.fixture(
    scope="module",
    params=[
        *((name, ROWS) for name in VERSIONS),
        *(pytest.param((name, MANY_ROWS), marks=pytest.mark.full) for name in VERSIONS),
    ],
    ids=lambda given: "-".join(map(str, given)),
)
def store(request: pytest.FixtureRequest) -> Store:
    return Store(*request.param)


def test_our_reader_finds_every_row_and_every_page_sound(store: Store) -> None:
    reader = BytesReader(store.file(), "priv1.edb")
    check = check_database(reader)
    assert check.sound
    assert check.verified == sum(not page.is_zero for page in store.pages.all.values())
    table = ReadDatabase(reader).table("Messages")
    found = {row["Id"]: {name: row[name] for name in message(0)} for row in table.rows()}
    assert found == {row["Id"]: row for row in store.rows.values()}
    events = [row["What"] for row in ReadDatabase(reader).table("Events").rows()]
    assert events == [f"event {turn}" for turn in range(0, store.count, 4)]


def test_libesedb_reads_every_row(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "priv1.edb"
    path.write_bytes(store.file())
    theirs = pyesedb.open(str(path))
    try:
        table = theirs.get_table_by_name("Messages")
        expected = [row for _, row in sorted(store.rows.items())]
        assert table.get_number_of_records() == len(expected)
        for number, row in enumerate(expected):
            record = table.get_record(number)
            assert record.get_value_data_as_integer(0) == row["Id"]
            assert record.get_value_data_as_integer(1) == row["Folder"]
            subject = record.get_value_data(2)
            assert (subject and subject.decode()) == row["Subject"]
            assert record.get_value_data(3) == row["Digest"]
            if record.get_value_data_flags(4) & 4 and record.is_long_value(4):
                assert record.get_value_data_as_long_value(4).get_data() == row["Body"]
            else:
                assert record.get_value_data(4) == row["Body"]
    finally:
        theirs.close()


def test_dissect_reads_every_row(store: Store) -> None:
    table = EseDB(io.BytesIO(store.file())).table("Messages")
    found = [
        tuple(record.get(name) for name in ("Id", "Folder", "Subject", "Digest"))
        for record in _shown(table)
    ]
    assert found == [
        (row["Id"], row["Folder"], row["Subject"], row["Digest"])
        for _, row in sorted(store.rows.items())
    ]


def _shown(table: Any) -> Iterator[Any]:
    """dissect's records without the nodes that are flagged deleted."""
    return (each for each in table.records() if not each._node.tag.flags & NodeFlag.DELETED)


def test_indices_are_in_order_and_complete(store: Store) -> None:
    source = source_of(store.pages)
    for name in ("ByFolder", "BySubject", "ByDigest"):
        encoder = MESSAGES.key_encoder(name)
        columns = [each.removeprefix("-") for each in MESSAGES.index(name).columns]
        expected = sorted(
            (encoder.encode_values(*(row[column] for column in columns)).data, key)
            for key, row in store.rows.items()
        )
        assert entries(source, store.messages.indices[name].top_pgno) == expected


def test_every_page_has_one_use(store: Store) -> None:
    check_space(source_of(store.pages, at_least=store.last_pgno), store.parents, store.last_pgno)


def test_redo_of_the_whole_log_makes_the_same_pages(store: Store) -> None:
    check_same(redone(store.log.records, store.format.page_bytes), store.pages)


def test_every_record_has_the_length_of_its_type_and_fits_a_log(store: Store) -> None:
    for record in store.log.records:
        assert decode_record(record).encode() == record
    assert 0 < max(map(len, store.log.records)) <= RECORD_BYTES_MAX


def test_long_values_of_deleted_rows_are_gone(store: Store) -> None:
    tree = store.messages.long_values
    assert tree is not None
    limit = 1023
    separated = [row for row in store.rows.values() if row["Body"] and len(row["Body"]) > limit]
    found = entries(source_of(store.pages), tree.top_pgno)
    assert sum(len(key) == 4 for key, _ in found) == len(separated) > store.count // 10


def test_the_catalog_and_its_shadow_hold_the_same(store: Store) -> None:
    source = source_of(store.pages)
    rows = entries(source, CATALOG_ROOT)
    shadow = next(each for each in ReadDatabase(BytesReader(store.file())).catalog.tables
                  if each.name == SHADOW_NAME)  # fmt: skip
    assert entries(source, shadow.root_pgno) == rows
    assert len(entries(source, 7)) == len(rows)
    assert len(entries(source, 10)) == 4  # tables


def test_a_table_opened_again_goes_on(store: Store) -> None:
    pages = redone(store.log.records, store.format.page_bytes)
    log = MemoryLog()
    again = Database(
        pages,
        log,
        store.format,
        dbtime=store.database.context.dbtime,
        last_objid=store.database.last_objid,
    )
    table: Table = again.open_table(MESSAGES)
    session = Session(6)
    transactions = again.transactions
    transactions.begin(session)
    with pytest.raises(EseError) as refused:
        table.insert(session, next(iter(store.rows.values())))
    assert refused.value.number == -1605
    transactions.rollback(session)
    transactions.begin(session)
    key = table.insert(session, message(MANY_ROWS * 3 + 7))
    transactions.commit(session)
    record = table.get(key)
    assert record is not None
    assert table.get(sorted(store.rows)[0]) is not None
    check_space(source_of(pages, at_least=store.last_pgno), store.parents,
                max(store.last_pgno, pages.extended_to(log.records, default=0)))  # fmt: skip


def test_trees_of_three_levels_and_used_space_trees_are_among_them() -> None:
    """What the tests above speak of does occur."""
    store = Store("exchange 2003", rows=1500)
    source: PageSource = source_of(store.pages)
    depth = {}
    for root in store.parents:
        page, levels = source.page(root), 1
        while not page.is_leaf:
            page, levels = source.page(page.child(0)), levels + 1
        depth[root] = levels
    assert max(depth.values()) >= 3
    kinds = {record[0] for record in store.log.records}
    assert kinds >= {58, 62, 63, 68, 24, 25, 29, 31, 32, 33, 35, 38, 39}
    assert len(tree_pages(source, store.messages.rows.top_pgno)) > 50


def test_space_trees_split_and_join_extents_again() -> None:
    """Many small extents: OE and AE get several pages, from their split buffers."""
    store_format = STORE_FORMATS["exchange 2003"]
    pages, log = MemoryPages(store_format.page_bytes), MemoryLog()
    policy = GrowthPolicy(
        smallest_extent_pages=3, largest_extent_pages=3, extension_pages=5, split_buffer_pages=4
    )
    database = Database(pages, log, store_format, policy)
    session, transactions = Session(5), database.transactions
    database.create(session, "priv1.edb", Signature(), initial_pages=40)
    transactions.begin(session)
    spaces = [database.system.create_child(session, objid, 2, 0, unique=True) for objid in (6, 7)]
    one, other = (database.tree(Place(space.objid, space.root_pgno), space) for space in spaces)
    for number in range(1000):
        key = (number * 7 % 1000).to_bytes(4, "big")
        one.insert(session, key, bytes(2100))
        other.insert(session, key, bytes(2050))
    transactions.commit(session)
    parents = {1: 0, 4: 1, 24: 1, 7: 4, 10: 4, one.top_pgno: 1, other.top_pgno: 1}
    last = pages.extended_to(log.records)
    source = source_of(pages, at_least=last)
    check_space(source, parents, last)
    for root in (1, one.top_pgno, other.top_pgno):
        owned = space_header(source.page(root)).owned_root_or_map
        assert len(tree_pages(source, owned)) > 2, root
    before = len(list(available_extents(source, one.top_pgno)))
    transactions.begin(session)
    for number in range(1, 999):
        one.flag_delete(session, number.to_bytes(4, "big"))
    transactions.commit(session)
    transactions.clean_up(session, limit=2000)
    last = pages.extended_to(log.records)  # AE has split too
    source = source_of(pages, at_least=last)
    check_space(source, parents, last)
    assert len(entries(source, one.top_pgno)) == 2
    free = list(available_extents(source, one.top_pgno))
    assert sum(each.pages for each in free) > 800
    assert before < len(free) < 700  # neighbours were joined
    owned = space_header(source.page(one.top_pgno)).owned_root_or_map
    assert len(tree_pages(source, owned + 1)) > 2
    check_same(redone(log.records, store_format.page_bytes), pages)
