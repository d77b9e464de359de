"""Tables of real files, declared anew from what their catalogs say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from replicator.ese.catalog import ObjectType
from replicator.ese.catalog_encoding import (
    ColumnDefinition,
    IndexDefinition,
    Nulls,
    Storage,
    TableDefinition,
    TablePlaces,
    Tree,
)
from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.database import Database, Row
from replicator.ese.index_keys import IndexKeys, SegmentFlag
from replicator.ese.keys import IndexFlag
from replicator.ese.reader import BytesReader
from tests.ese.samples import load

OWN_OBJIDS = (2, 3)
MOST_ROWS = 3000
"""A table with more catalog rows (one sample has 65,000 columns) is looked at in part."""

DERIVED_FLAGS = (
    IndexFlag.UNIQUE
    | IndexFlag.PRIMARY
    | IndexFlag.MULTI_VALUED
    | IndexFlag.UNICODE_TEXT
    | IndexFlag.EXTENDED_COLUMNS
    | 0x1E
)
"""What a definition says otherwise than as a flag."""


@lru_cache(maxsize=2)
def database(name: str) -> Database:
    return Database(BytesReader(load(name), name), allow_dirty=True)


def number(row: Row, column: str) -> int:
    value = row[column] if column in row.table.by_name else None
    assert value is None or isinstance(value, int)
    return value or 0


def raw(row: Row, column: str) -> bytes:
    found = row.raw(column) if column in row.table.by_name else ()
    return found[0] if found else b""


def text(row: Row) -> str:
    return raw(row, "Name").decode("cp1252")


@lru_cache(maxsize=2)
def catalog_groups(name: str) -> dict[int, list[Row]]:
    """The rows of the catalog by table, in their order; of large tables only the indices."""
    found: dict[int, list[Row]] = {}
    sizes: Counter[int] = Counter()
    for row in database(name).table("MSysObjects").rows():
        objid = number(row, "ObjidTable")
        sizes[objid] += 1
        if sizes[objid] <= MOST_ROWS or number(row, "Type") == ObjectType.INDEX:
            found.setdefault(objid, []).append(row)
        elif sizes[objid] == MOST_ROWS + 1:
            found[objid].clear()
    return found


def real_indices(name: str, objid: int) -> Iterator[tuple[str, Tree, IndexKeys]]:
    """The indices of a table as the catalog has them."""
    for row in catalog_groups(name)[objid]:
        if number(row, "Type") == ObjectType.INDEX:
            keys = IndexKeys(
                key_columns=raw(row, "KeyFldIDs"),
                flags=number(row, "Flags") & 0xFFFFFFFF,
                conditions=raw(row, "ConditionalColumns"),
                key_most_bytes=number(row, "KeyMost") or 255,
                segment_most_bytes=int.from_bytes(raw(row, "VarSegMac"), "little"),
            )
            place = Tree(number(row, "Id"), number(row, "ColtypOrPgnoFDP"))
            yield text(row), place, keys


def declare(rows: list[Row]) -> tuple[TableDefinition, TablePlaces]:
    """A table and its places from its catalog rows."""
    table = rows[0]
    columns = [_column(row) for row in rows if number(row, "Type") == ObjectType.COLUMN]
    by_number = {each.identifier: each.name for each in columns}
    indices, places, long_values = [], {}, None
    for row in rows:
        tree = Tree(number(row, "Id"), number(row, "ColtypOrPgnoFDP"))
        if number(row, "Type") == ObjectType.INDEX:
            indices.append(_index(row, by_number))
            places[text(row)] = tree
        elif number(row, "Type") == ObjectType.LONG_VALUE:
            long_values = tree
    definition = TableDefinition(
        text(table),
        tuple(columns),
        tuple(indices),
        number(table, "PagesOrLocale"),
        number(table, "SpaceUsage"),
        number(table, "Flags") & 0xFFFFFFFF,
        int.from_bytes(raw(table, "SeparateLV"), "little"),
        raw(table, "SpaceDeferredLVHints"),
    )
    root = Tree(number(table, "Id"), number(table, "ColtypOrPgnoFDP"))
    return definition, TablePlaces(root, places, long_values)


def _column(row: Row) -> ColumnDefinition:
    identifier = number(row, "Id")
    flags = ColumnFlag(number(row, "Flags"))
    storage = next(
        each for each in Storage if each.value[0] <= identifier < each.value[0] + each.value[1]
    )
    return ColumnDefinition(
        text(row),
        ColumnType(number(row, "ColtypOrPgnoFDP")),
        number(row, "SpaceUsage"),
        storage,
        flags & ~ColumnFlag.DEFAULT,
        number(row, "PagesOrLocale"),
        raw(row, "DefaultValue") if flags & ColumnFlag.DEFAULT else None,
        identifier,
    )


def _index(row: Row, names: dict[int | None, str]) -> IndexDefinition:
    flags = number(row, "Flags") & 0xFFFFFFFF
    keys = IndexKeys(raw(row, "KeyFldIDs"), flags)
    conditions = IndexKeys(raw(row, "ConditionalColumns"), flags)
    return IndexDefinition(
        text(row),
        tuple(
            ("-" if each & SegmentFlag.DESCENDING else "") + names[column]
            for each, column in keys.segments()
        ),
        primary=bool(flags & IndexFlag.PRIMARY),
        unique=bool(flags & IndexFlag.UNIQUE),
        nulls=Nulls(flags & 0x1E),
        conditions=tuple((names[each], False) for each in conditions.column_numbers()),
        key_most_bytes=number(row, "KeyMost"),
        density_percent=number(row, "SpaceUsage"),
        more_flags=IndexFlag(flags & ~DERIVED_FLAGS),
        lcmap_flags=number(row, "LCMapFlags"),
        locale_name=raw(row, "LocaleName").decode("utf-16-le"),
        sort_version=raw(row, "Version"),
        sort_id=raw(row, "SortID"),
    )
