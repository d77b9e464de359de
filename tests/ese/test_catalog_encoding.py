"""Catalog rows: real catalogs come out again, older revisions, and definitions that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replicator.ese.btree import BTree
from replicator.ese.catalog_encoding import (
    CatalogEncoder,
    ColumnDefinition,
    IndexDefinition,
    Nulls,
    Storage,
    TableDefinition,
    TablePlaces,
    Tree,
    catalog_table,
)
from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.errors import EseError
from replicator.ese.index_keys import IndexKeys
from replicator.ese.records import parse_record
from tests.ese.declared import OWN_OBJIDS, catalog_groups, database, declare
from tests.ese.samples import databases, sample

OLD_SHADOW_PAGES = {"sum-2012r2/Current.mdb", "sum-2012r2/SystemIdentity.mdb"}
"""Of 2012: nine pages for the shadow, and no column LVChunkMax."""

WITH_ROOT_TIMES = {"bits-16k-dirty/qmgr.db"}
"""Revision 12C writes when a root was placed, which is not written here: in tables, indices and
long-value trees of all tables but the catalog's own."""


def encoder(name: str) -> CatalogEncoder:
    of = sample(name)
    return CatalogEncoder(of.revision, of.page_size, chunk_max=name not in OLD_SHADOW_PAGES)


@pytest.mark.parametrize("name", databases())
def test_the_catalog_describes_itself_as_in_real_files(name: str) -> None:
    groups = catalog_groups(name)
    real = [(row.key, row._record.data) for objid in OWN_OBJIDS for row in groups[objid]]
    pages = 9 if name in OLD_SHADOW_PAGES else 5
    made = list(encoder(name).own_entries(shadow_pages=pages))
    assert [(entry.key, entry.record) for entry in made] == real


@pytest.mark.parametrize("name", databases())
def test_the_rows_of_real_tables_come_out_again(name: str) -> None:
    count = 0
    for objid, rows in catalog_groups(name).items():
        if objid in OWN_OBJIDS or len(rows) < 3 or rows[0]["Type"] != 1:
            continue  # the one table with 65,000 columns
        table, places = declare(rows)
        made = list(encoder(name).entries(table, places))
        assert [entry.key for entry in made] == [row.key for row in rows]
        for row, entry in zip(rows, made, strict=True):
            if name in WITH_ROOT_TIMES and row["Type"] != 2:
                continue
            assert entry.record == row._record.data
            count += 1
    assert count >= 10


def test_the_entries_of_the_catalogs_own_indices() -> None:
    name = "readers-4k/basic.edb"
    made = list(encoder(name).own_entries())
    for objid, rows in catalog_groups(name).items():
        if objid not in OWN_OBJIDS:
            made += encoder(name).entries(*declare(rows))
    source = database(name).source
    for root, expected in (
        (7, {(entry.name_key, entry.key) for entry in made}),
        (10, {(entry.root_key, entry.key) for entry in made if entry.root_key is not None}),
    ):
        stored = {(each.node.key, each.node.data) for each in BTree(source, root).entries()}
        assert stored == expected


@pytest.mark.parametrize(
    ("revision", "columns", "missing"),
    [
        (0x9, 21, {"KeyMost", "LVChunkMax", "SortID", "SeparateLV", "LocaleName"}),
        (0xB, 21, {"KeyMost"}),
        (0xC, 22, {"SeparateLV"}),
        (0x11, 25, {"LocaleName", "LVChunkMax"}),
        (0x14, 28, {"PgnoFDPLastSetTime"}),
    ],
)
def test_the_columns_of_each_revision(revision: int, columns: int, missing: set[str]) -> None:
    names = {column.name for column in catalog_table(revision).columns}
    assert len(names) == columns
    assert not names & missing
    assert "SeparateLV" in names or revision < 0xD


MAIL = TableDefinition(
    "Messages",
    (
        ColumnDefinition("Id", ColumnType.LONG, flags=ColumnFlag.AUTO_INCREMENT),
        ColumnDefinition("Folder", ColumnType.LONG_LONG),
        ColumnDefinition("Subject", ColumnType.TEXT, 200, code_page=1200),
        ColumnDefinition("Body", ColumnType.LONG_BINARY),
    ),
    (
        IndexDefinition("Primary", ("Id",), primary=True, nulls=Nulls.FORBIDDEN),
        IndexDefinition("ByFolder", ("Folder", "-Id"), conditions=(("Body", False),)),
    ),
    intrinsic_most_bytes=500,
)
PLACES = TablePlaces(Tree(8, 40), {"ByFolder": Tree(10, 44)}, Tree(9, 42))


def described(revision: int) -> list[dict[str, Any]]:
    """What a reader finds in the rows of a revision."""
    made = CatalogEncoder(revision, 8192)
    layout = made.catalog.layout
    found = []
    for entry in made.entries(MAIL, PLACES):
        record = parse_record(entry.record, large_page=False)
        row = {}
        for column in layout.columns.values():
            values = record.instances(column, column.offset)
            if values:
                row[column.name] = column.decode(values[0].data)
        found.append(row)
    return found


def test_the_rows_of_a_table_of_revision_14() -> None:
    rows = described(0x14)
    assert [(row["Type"], row["Id"], row["Name"]) for row in rows] == [
        (1, 8, "Messages"),
        (2, 1, "Id"),
        (2, 2, "Folder"),
        (2, 128, "Subject"),
        (2, 256, "Body"),
        (3, 8, "Primary"),
        (3, 10, "ByFolder"),
        (4, 9, "LV"),
    ]
    assert rows[0]["SeparateLV"] == (500).to_bytes(4, "little")
    assert [row.get("RecordOffset") for row in rows[1:5]] == [4, 8, None, None]
    assert (rows[3]["PagesOrLocale"], rows[3]["SpaceUsage"]) == (1200, 200)
    primary, folder = rows[5], rows[6]
    assert (primary["ColtypOrPgnoFDP"], primary["Flags"]) == (40, 0x10031)
    assert (folder["ColtypOrPgnoFDP"], folder["Flags"]) == (44, 0x1000E)
    assert folder["KeyFldIDs"] == bytes.fromhex("0000 0200 4000 0100")
    assert folder["ConditionalColumns"] == bytes.fromhex("0000 0001")
    assert folder["LocaleName"] == "en-US".encode("utf-16-le")
    assert (rows[7]["ColtypOrPgnoFDP"], rows[7]["SpaceUsage"]) == (42, 100)


def test_older_revisions_number_the_locale() -> None:
    for row in described(0x11):
        assert "LocaleName" not in row
        assert row["Type"] != 3 or row["PagesOrLocale"] == 1033


def test_what_a_revision_does_not_have() -> None:
    longer = replace(
        MAIL,
        indices=(IndexDefinition("Primary", ("Id",), primary=True, key_most_bytes=5),),
        intrinsic_most_bytes=0,
    )
    with pytest.raises(EseError) as caught:
        list(CatalogEncoder(0xB, 8192).rows(longer, PLACES))
    assert caught.value.number == -1406
    assert list(CatalogEncoder(0xC, 8192).rows(longer, PLACES))[5]["KeyMost"] == 5
    with pytest.raises(EseError) as caught:
        list(CatalogEncoder(0xB, 8192).entries(MAIL, PLACES))
    assert caught.value.number == -1507


def test_an_index_whose_place_is_not_said() -> None:
    with pytest.raises(EseError, match="where index 'ByFolder' stands"):
        list(CatalogEncoder(0x14, 8192).rows(MAIL, TablePlaces(Tree(8, 40))))


def test_keys_as_the_definition_says_them() -> None:
    key = MAIL.key_encoder("ByFolder").encode_values(1, 2)
    assert key.data == bytes.fromhex("7f8000000000000001") + bytes(
        255 - byte for byte in bytes.fromhex("7f80000002")
    )
    assert MAIL.index_keys("Primary") == IndexKeys(bytes.fromhex("00000100"), 0x10031)
    assert MAIL.primary is MAIL.indices[0]


# -- what is refused -------------------------------------------------------------------

LONG = ColumnType.LONG
NUMBER = ColumnDefinition("n", LONG)


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (-1002, {"name": "", "type": LONG}),
        (-1002, {"name": " a", "type": LONG}),
        (-1002, {"name": "a.b", "type": LONG}),
        (-1002, {"name": "a" * 65, "type": LONG}),
        (-1511, {"name": "a", "type": ColumnType.NIL}),
        (-1511, {"name": "a", "type": LONG, "storage": Storage.VARIABLE}),
        (-1511, {"name": "a", "type": ColumnType.LONG_TEXT, "storage": Storage.FIXED}),
        (-1511, {"name": "a", "type": ColumnType.BIT, "flags": ColumnFlag.AUTO_INCREMENT}),
        (
            -1509,
            {
                "name": "a",
                "type": LONG,
                "storage": Storage.FIXED,
                "flags": ColumnFlag.MULTI_VALUED,
            },
        ),
        (-1506, {"name": "a", "type": ColumnType.TEXT, "size_bytes": 256}),
        (-1506, {"name": "a", "type": LONG, "size_bytes": 8}),
        (-1506, {"name": "a", "type": ColumnType.LONG_BINARY, "default": b"x" * 256}),
        (-1047, {"name": "a", "type": ColumnType.SHORT, "default": 70000}),
    ],
)
def test_columns_that_cannot_be(number: int, arguments: dict[str, Any]) -> None:
    with pytest.raises(EseError) as caught:
        ColumnDefinition(**arguments)
    assert caught.value.number == number


@pytest.mark.parametrize(
    ("number", "columns", "indices"),
    [
        (-1508, (NUMBER, ColumnDefinition("N", LONG)), ()),
        (-1403, (NUMBER,), (IndexDefinition("i", ("n",)), IndexDefinition("I", ("n",)))),
        (
            -1402,
            (NUMBER,),
            (IndexDefinition("i", ("n",), primary=True), IndexDefinition("j", ("n",), True)),
        ),
        (-1507, (NUMBER,), (IndexDefinition("i", ("m",)),)),
    ],
)
def test_tables_that_cannot_be(
    number: int, columns: tuple[ColumnDefinition, ...], indices: tuple[IndexDefinition, ...]
) -> None:
    with pytest.raises(EseError) as caught:
        TableDefinition("t", columns, indices)
    assert caught.value.number == number


def test_more_fixed_columns_than_can_be() -> None:
    columns = tuple(ColumnDefinition(f"c{number}", ColumnType.BIT) for number in range(128))
    assert len(TableDefinition("t", columns[:127]).layout.columns) == 127
    with pytest.raises(EseError) as caught:
        _ = TableDefinition("t", columns).layout
    assert caught.value.number == -1040


@pytest.mark.parametrize(
    "arguments",
    [
        {"columns": ()},
        {"columns": ("a",) * 17},
        {"columns": ("a",), "primary": True, "nulls": Nulls.NONE},
        {"columns": ("a",), "primary": True, "conditions": (("a", True),)},
    ],
)
def test_indices_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(EseError) as caught:
        IndexDefinition("i", **arguments)
    assert caught.value.number == -1406


def test_an_index_that_is_not_there() -> None:
    with pytest.raises(EseError) as caught:
        MAIL.index("nobody")
    assert caught.value.number == -1406
