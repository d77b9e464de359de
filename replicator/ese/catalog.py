"""The catalog: tables, their columns, indices and long-value trees, read from MSysObjects.

E src/ese/cat.cxx; L; V.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from replicator.ese.btree import BTree
from replicator.ese.columns import (
    FIRST_VARIABLE,
    Column,
    ColumnFlag,
    ColumnType,
    Value,
    decode_text,
)
from replicator.ese.errors import EseError
from replicator.ese.page_source import PageSource
from replicator.ese.records import HEADER_BYTES, Record, parse_record
from replicator.ese.verification import LARGEST_SMALL_PAGE

CATALOG_ROOT: Final = 4
CATALOG_NAME: Final = "MSysObjects"
SHADOW_NAME: Final = "MSysObjectsShadow"


class ObjectType(IntEnum):
    """What a catalog row describes."""

    TABLE = 1
    COLUMN = 2
    INDEX = 3
    LONG_VALUE = 4
    CALLBACK = 5


CATALOG_COLUMNS: Final = tuple(
    Column(identifier, name, kind)
    for identifier, name, kind in (
        (1, "ObjidTable", ColumnType.LONG),
        (2, "Type", ColumnType.SHORT),
        (3, "Id", ColumnType.LONG),
        (4, "ColtypOrPgnoFDP", ColumnType.LONG),
        (5, "SpaceUsage", ColumnType.LONG),
        (6, "Flags", ColumnType.LONG),
        (7, "PagesOrLocale", ColumnType.LONG),
        (8, "RootFlag", ColumnType.BIT),
        (9, "RecordOffset", ColumnType.SHORT),
        (10, "LCMapFlags", ColumnType.LONG),
        (11, "KeyMost", ColumnType.UNSIGNED_SHORT),
        (12, "LVChunkMax", ColumnType.LONG),
        (128, "Name", ColumnType.TEXT),
        (129, "Stats", ColumnType.BINARY),
        (130, "TemplateTable", ColumnType.TEXT),
        (131, "DefaultValue", ColumnType.BINARY),
        (132, "KeyFldIDs", ColumnType.BINARY),
    )
)
"""The columns of the catalog that its reader needs; their place is part of the format."""

_NAME_CODE_PAGE: Final = 1252


@dataclass(frozen=True, slots=True)
class Index:
    """One index of a table.

    Arguments
    ---------
    name: as in the catalog.
    objid: its tree's object; the table's own for the primary index.
    root_pgno: its tree's root.
    flags: 0x1 unique, 0x20 primary, and others.
    columns: identifiers of the key's columns, in order.
    """

    name: str
    objid: int
    root_pgno: int
    flags: int
    columns: tuple[int, ...]

    @property
    def is_primary(self) -> bool:
        return bool(self.flags & 0x20)


@dataclass(slots=True)
class TableDefinition:
    """One table as the catalog has it.

    Arguments
    ---------
    name, objid, root_pgno, flags: of the table.
    template: name of the table whose columns it inherits; empty for none.
    columns: by identifier.
    indices: in the catalog's order.
    long_value_root: root page of its long values; None without.
    """

    name: str
    objid: int
    root_pgno: int
    flags: int
    template: str = ""
    columns: dict[int, Column] = field(default_factory=dict)
    indices: list[Index] = field(default_factory=list)
    long_value_root: int | None = None

    def fixed_offsets(self) -> dict[int, int]:
        """Where each fixed column begins in a record.

        The catalog says it; rows that describe the catalog itself say the first place for all,
        so there the sizes before are summed.
        """
        offsets: dict[int, int] = {}
        place = HEADER_BYTES
        for identifier in sorted(self.columns):
            if identifier >= FIRST_VARIABLE:
                break
            column = self.columns[identifier]
            place = max(place, column.offset)
            offsets[identifier] = place
            place += column.fixed_size
        return offsets


class _CatalogRow:
    """One row of the catalog, by column name."""

    _OFFSETS: Final = TableDefinition(
        "", 0, 0, 0, columns={column.identifier: column for column in CATALOG_COLUMNS}
    ).fixed_offsets()
    _BY_NAME: Final = {column.name: column for column in CATALOG_COLUMNS}

    def __init__(self, record: Record) -> None:
        self._record = record

    def raw(self, name: str) -> bytes | None:
        column = self._BY_NAME[name]
        found = self._record.instances(column, self._OFFSETS.get(column.identifier, 0))
        return found[0].data if found else None

    def number(self, name: str) -> int:
        """0 for null; unsigned where the catalog's type is not."""
        data = self.raw(name)
        return 0 if data is None else int.from_bytes(data, "little")

    def text(self, name: str) -> str:
        value: Value = decode_text(self.raw(name) or b"", _NAME_CODE_PAGE)
        return str(value)


class Catalog:
    """All tables of a database.

    Arguments
    ---------
    source: the database's pages.

    Raises EseError when the catalog's tree cannot be walked or holds a row that no catalog has.
    """

    def __init__(self, source: PageSource) -> None:
        self._source = source
        self._large = source.page_size > LARGEST_SMALL_PAGE
        self._by_objid: dict[int, TableDefinition] = {}
        for page, node in BTree(source, CATALOG_ROOT).entries():
            try:
                self._add(_CatalogRow(parse_record(node.data, self._large)))
            except EseError as error:
                error.path, error.page = source.path, page.pgno
                raise
        self.tables = list(self._by_objid.values())
        by_name = {table.name: table for table in self.tables}
        for table in self.tables:
            inherit(table, by_name)

    def table(self, name: str) -> TableDefinition:
        """A table by name; raises EseError -1601 when there is none."""
        for table in self.tables:
            if table.name == name:
                return table
        raise EseError(-1601, f"there is no table {name!r}", path=self._source.path)

    def _add(self, row: _CatalogRow) -> None:
        kind, objid = row.number("Type"), row.number("ObjidTable")
        if kind == ObjectType.TABLE:
            self._by_objid[objid] = TableDefinition(
                name=row.text("Name"),
                objid=objid,
                root_pgno=row.number("ColtypOrPgnoFDP"),
                flags=row.number("Flags"),
                template=row.text("TemplateTable"),
            )
            return
        table = self._by_objid.get(objid)
        if table is None:
            raise EseError(-1206, f"a row of the catalog belongs to no table (object {objid})")
        if kind == ObjectType.COLUMN:
            _add_column(table, row)
        elif kind == ObjectType.INDEX:
            table.indices.append(_index(row))
        elif kind == ObjectType.LONG_VALUE:
            table.long_value_root = row.number("ColtypOrPgnoFDP")


def _add_column(table: TableDefinition, row: _CatalogRow) -> None:
    identifier, flags = row.number("Id"), row.number("Flags")
    described_by_itself = table.name in (CATALOG_NAME, SHADOW_NAME)
    table.columns[identifier] = Column(
        identifier=identifier,
        name=row.text("Name"),
        type=row.number("ColtypOrPgnoFDP"),
        size=row.number("SpaceUsage"),
        flags=flags,
        code_page=row.number("PagesOrLocale"),
        offset=0 if described_by_itself else row.number("RecordOffset"),
        default=row.raw("DefaultValue") if flags & ColumnFlag.DEFAULT else None,
    )


def _index(row: _CatalogRow) -> Index:
    keys = row.raw("KeyFldIDs") or b""
    columns = tuple(
        int.from_bytes(keys[at + 2 : at + 4], "little") for at in range(0, len(keys) - 3, 4)
    )
    return Index(
        name=row.text("Name"),
        objid=row.number("Id"),
        root_pgno=row.number("ColtypOrPgnoFDP"),
        flags=row.number("Flags"),
        columns=columns,
    )


def inherit(table: TableDefinition, by_name: dict[str, TableDefinition]) -> None:
    """Give a derived table the columns of its template; where numbers meet, its own one wins.

    [I]: no file with template tables was at hand.
    """
    template = by_name.get(table.template) if table.template else None
    if template is None or template is table:
        return
    table.columns = {**template.columns, **table.columns}
