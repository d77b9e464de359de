"""The rows of the catalog that describe declared tables, and those that describe itself.

E src/inc/cat.hxx, src/ese/cat.cxx, src/ese/_cat.cxx; V: the catalogs of the real files come out
again, row by row, when their tables are declared.  A row is a table, a column, an index or a
long-value tree; all rows of a table stand together, under its object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from replicator.ese.catalog import CATALOG_NAME, CATALOG_ROOT, SHADOW_NAME, ObjectType
from replicator.ese.columns import FIRST_VARIABLE, Column, ColumnFlag, ColumnType, Value
from replicator.ese.errors import EseError
from replicator.ese.keys import OLD_KEY_MOST
from replicator.ese.records import HEADER_BYTES
from replicator.ese.schema import (
    ColumnDefinition,
    IndexDefinition,
    Nulls,
    Storage,
    TableDefinition,
)

__all__ = [
    "CatalogEncoder",
    "CatalogEntry",
    "ColumnDefinition",
    "IndexDefinition",
    "Nulls",
    "Storage",
    "TableDefinition",
    "TablePlaces",
    "Tree",
    "catalog_table",
    "shadow_table",
]

LONGER_KEYS: Final = 0xC
"""The revision from which keys may be longer than 255 bytes."""

LOCALE_NAMES: Final = 0x12
"""The revision from which an index names its locale instead of numbering it."""

CATALOG_CODE_PAGE: Final = 1252
CATALOG_FLAGS: Final = 0xC0000000
CATALOG_PAGES: Final = 20
LONG_VALUE_TREE_NAME: Final = "LV"
LONG_VALUE_DENSITY_PERCENT: Final = 100
ID_INDEX: Final = "Id"
NAME_INDEX: Final = "Name"
ROOT_OBJECTS_INDEX: Final = "RootObjects"

_COLUMNS: Final = (
    # identifier, name, type, the first revision that has it [where it is not 9]
    (1, "ObjidTable", ColumnType.LONG, 0),
    (2, "Type", ColumnType.SHORT, 0),
    (3, "Id", ColumnType.LONG, 0),
    (4, "ColtypOrPgnoFDP", ColumnType.LONG, 0),
    (5, "SpaceUsage", ColumnType.LONG, 0),
    (6, "Flags", ColumnType.LONG, 0),
    (7, "PagesOrLocale", ColumnType.LONG, 0),
    (8, "RootFlag", ColumnType.BIT, 0),
    (9, "RecordOffset", ColumnType.SHORT, 0),
    (10, "LCMapFlags", ColumnType.LONG, 0),
    (11, "KeyMost", ColumnType.UNSIGNED_SHORT, LONGER_KEYS),
    (12, "LVChunkMax", ColumnType.LONG, 0x14),
    (13, "PgnoFDPLastSetTime", ColumnType.DATE_TIME, 0x12C),
    (128, "Name", ColumnType.TEXT, 0),
    (129, "Stats", ColumnType.BINARY, 0),
    (130, "TemplateTable", ColumnType.TEXT, 0),
    (131, "DefaultValue", ColumnType.BINARY, 0),
    (132, "KeyFldIDs", ColumnType.BINARY, 0),
    (133, "VarSegMac", ColumnType.BINARY, 0),
    (134, "ConditionalColumns", ColumnType.BINARY, 0),
    (135, "TupleLimits", ColumnType.BINARY, 0),
    (136, "Version", ColumnType.BINARY, 0),
    (137, "SortID", ColumnType.BINARY, 0x14),
    (256, "CallbackData", ColumnType.LONG_BINARY, 0),
    (257, "CallbackDependencies", ColumnType.LONG_BINARY, 0),
    (258, "SeparateLV", ColumnType.LONG_BINARY, 0xD),
    (259, "SpaceHints", ColumnType.LONG_BINARY, 0xD),
    (260, "SpaceDeferredLVHints", ColumnType.LONG_BINARY, 0xD),
    (261, "LocaleName", ColumnType.LONG_BINARY, LOCALE_NAMES),
)
"""The catalog's own columns.  The revisions follow from the history in E src/inc/daedef.hxx; which
one brought TupleLimits, Version, SortID and PgnoFDPLastSetTime it does not say [I]."""

_NOT_NULL: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 128})
CHUNK_MAX: Final = 12
"""Missing in the earliest files of revision 14 (V), so it can be left out."""


class Tree(NamedTuple):
    """Where a tree stands: its object and the page of its root."""

    objid: int
    root_pgno: int


CATALOG: Final = Tree(2, CATALOG_ROOT)
SHADOW: Final = Tree(3, 24)
CATALOG_NAMES: Final = Tree(4, 7)
CATALOG_ROOT_OBJECTS: Final = Tree(5, 10)


@dataclass(frozen=True, slots=True)
class TablePlaces:
    """Where the trees of a table stand.

    Arguments
    ---------
    rows: its rows, which is its primary index as well.
    indices: its other indices by name.
    long_values: its long values, once it has any.
    """

    rows: Tree
    indices: Mapping[str, Tree] = field(default_factory=dict)
    long_values: Tree | None = None


CATALOG_PLACES: Final = TablePlaces(
    CATALOG, {NAME_INDEX: CATALOG_NAMES, ROOT_OBJECTS_INDEX: CATALOG_ROOT_OBJECTS}
)
SHADOW_PLACES: Final = TablePlaces(SHADOW)


class CatalogEntry(NamedTuple):
    """One row of the catalog.

    Arguments
    ---------
    key: in the catalog's tree, and in that of its shadow.
    record: the row.
    name_key: in the index ``Name``; its data is ``key``.
    root_key: in the index ``RootObjects``; only tables stand there.
    """

    key: bytes
    record: bytes
    name_key: bytes
    root_key: bytes | None


def catalog_table(revision: int, *, chunk_max: bool = True) -> TableDefinition:
    """MSysObjects as it is at a revision of the format.

    Arguments
    ---------
    revision: of the database's header.
    chunk_max: whether the column LVChunkMax is there; the first files of revision 14 lack it.
    """
    columns = tuple(
        ColumnDefinition(
            name,
            kind,
            identifier=number,
            flags=ColumnFlag.NOT_NULL if number in _NOT_NULL else ColumnFlag(0),
        )
        for number, name, kind, since in _COLUMNS
        if revision >= since and (chunk_max or number != CHUNK_MAX)
    )
    id_index = IndexDefinition(
        ID_INDEX, ("ObjidTable", "Type", "Id"), primary=True, nulls=Nulls.FORBIDDEN
    )
    names = IndexDefinition(
        NAME_INDEX, ("ObjidTable", "Type", "Name"), unique=True, nulls=Nulls.FORBIDDEN
    )
    roots = IndexDefinition(
        ROOT_OBJECTS_INDEX, ("RootFlag", "Name"), unique=True, nulls=Nulls.NOT_FIRST
    )
    return TableDefinition(
        CATALOG_NAME, columns, (id_index, names, roots), CATALOG_PAGES, flags=CATALOG_FLAGS
    )


def shadow_table(catalog: TableDefinition, pages: int = 5) -> TableDefinition:
    """MSysObjectsShadow: the same columns, one index.

    Arguments
    ---------
    catalog: the one it repeats.
    pages: how many it gets at first: 5 (V), 6 with pages of 2 KiB, 9 in old files (E).
    """
    return TableDefinition(
        SHADOW_NAME, catalog.columns, catalog.indices[:1], pages, flags=catalog.flags
    )


class CatalogEncoder:
    """Makes catalog rows for one format.

    Arguments
    ---------
    revision: of the database's header.
    page_size: bytes a page.
    chunk_max: as of :func:`catalog_table`.
    """

    def __init__(self, revision: int, page_size: int, *, chunk_max: bool = True) -> None:
        self.revision = revision
        self.catalog = catalog_table(revision, chunk_max=chunk_max)
        self._records = self.catalog.record_encoder(page_size)
        self._keys = self.catalog.key_encoder(ID_INDEX)
        self._names = self.catalog.key_encoder(NAME_INDEX)
        self._roots = self.catalog.key_encoder(ROOT_OBJECTS_INDEX)

    def entries(self, table: TableDefinition, places: TablePlaces) -> Iterator[CatalogEntry]:
        """The rows of a table in the order of their keys, ready for the trees.

        Raises EseError as :meth:`rows` does.
        """
        for row in self.rows(table, places):
            where = (row["ObjidTable"], row["Type"])
            root = row.get("RootFlag")
            yield CatalogEntry(
                key=self._keys.encode_values(*where, row["Id"]).data,
                record=self._records.encode(row),
                name_key=self._names.encode_values(*where, row["Name"]).data,
                root_key=self._roots.encode_values(root, row["Name"]).data if root else None,
            )

    def own_entries(self, shadow_pages: int = 5) -> Iterator[CatalogEntry]:
        """The rows of the catalog and its shadow, which every database begins with."""
        yield from self.entries(self.catalog, CATALOG_PLACES)
        yield from self.entries(shadow_table(self.catalog, shadow_pages), SHADOW_PLACES)

    def rows(self, table: TableDefinition, places: TablePlaces) -> Iterator[dict[str, Value]]:
        """The rows of a table in the order of their keys, by column name.

        Raises EseError -1406 for an index whose place is not said or that the revision cannot have.
        """
        objid, root = places.rows
        yield self._row(
            objid,
            ObjectType.TABLE,
            objid,
            table.name,
            {
                "ColtypOrPgnoFDP": root,
                "SpaceUsage": table.density_percent,
                "Flags": _signed(table.flags),
                "PagesOrLocale": table.pages,
                "RootFlag": True,
                **self._long_value_hints(table),
            },
        )
        described_by_itself = table.name in (CATALOG_NAME, SHADOW_NAME)
        for column in table.layout.columns.values():
            fields = _column_fields(column, described_by_itself)
            yield self._row(objid, ObjectType.COLUMN, column.identifier, column.name, fields)
        for index, tree in self._trees(table, places):
            fields = self._index_fields(table, index, tree)
            yield self._row(objid, ObjectType.INDEX, tree.objid, index.name, fields)
        if places.long_values is not None:
            yield self._row(
                objid,
                ObjectType.LONG_VALUE,
                places.long_values.objid,
                LONG_VALUE_TREE_NAME,
                {
                    "ColtypOrPgnoFDP": places.long_values.root_pgno,
                    "SpaceUsage": LONG_VALUE_DENSITY_PERCENT,
                    "Flags": 0,
                    "PagesOrLocale": 1,
                },
            )

    @staticmethod
    def _row(
        table: int, kind: ObjectType, number: int, name: str, fields: Mapping[str, Value]
    ) -> dict[str, Value]:
        return {"ObjidTable": table, "Type": int(kind), "Id": number, "Name": name, **fields}

    def _long_value_hints(self, table: TableDefinition) -> dict[str, Value]:
        found: dict[str, Value] = {}
        if table.intrinsic_most_bytes:
            found["SeparateLV"] = table.intrinsic_most_bytes.to_bytes(4, "little")
        if table.long_value_hints:
            found["SpaceDeferredLVHints"] = table.long_value_hints
        return found

    @staticmethod
    def _trees(table: TableDefinition, places: TablePlaces) -> list[tuple[IndexDefinition, Tree]]:
        """The indices with their places, by object."""
        found = []
        for index in table.indices:
            tree = places.rows if index.primary else places.indices.get(index.name)
            if tree is None:
                raise EseError(-1406, f"it is not said where index {index.name!r} stands")
            found.append((index, tree))
        return sorted(found, key=lambda each: each[1].objid)

    def _index_fields(
        self, table: TableDefinition, index: IndexDefinition, tree: Tree
    ) -> dict[str, Value]:
        keys = table.index_keys(index.name)
        named = self.revision >= LOCALE_NAMES
        found: dict[str, Value] = {
            "ColtypOrPgnoFDP": tree.root_pgno,
            "SpaceUsage": index.density_percent or table.density_percent,
            "Flags": keys.flags,
            "PagesOrLocale": 0 if named else index.locale_id,
            "LCMapFlags": index.lcmap_flags,
            "KeyFldIDs": keys.key_columns,
        }
        if keys.key_most_bytes != OLD_KEY_MOST:
            if self.revision < LONGER_KEYS:
                detail = f"index {index.name!r} has a longest key, which revision C brought"
                raise EseError(-1406, detail)
            found["KeyMost"] = keys.key_most_bytes
        if keys.segment_most_bytes:
            found["VarSegMac"] = keys.segment_most_bytes.to_bytes(2, "little")
        if keys.conditions:
            found["ConditionalColumns"] = keys.conditions
        if index.sort_version:
            found["Version"] = index.sort_version
        if index.sort_id:
            found["SortID"] = index.sort_id
        if named:
            found["LocaleName"] = index.locale_name.encode("utf-16-le")
        return found


def _column_fields(column: Column, described_by_itself: bool) -> dict[str, Value]:
    found: dict[str, Value] = {
        "ColtypOrPgnoFDP": int(column.type),
        "SpaceUsage": column.size,
        "Flags": int(column.flags),
        "PagesOrLocale": CATALOG_CODE_PAGE if described_by_itself else column.code_page,
    }
    if column.identifier < FIRST_VARIABLE:
        # The rows that describe the catalog itself say the first place for all (V).
        found["RecordOffset"] = HEADER_BYTES if described_by_itself else column.offset
    if column.default is not None:
        found["DefaultValue"] = column.default
    return found


def _signed(word: int) -> int:
    """The catalog's flags are a signed column."""
    return word - (1 << 32) if word >= 1 << 31 else word
