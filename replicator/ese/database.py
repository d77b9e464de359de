"""A database: header, pages, tables, rows.  Read only, lazy, nothing kept but the latest pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from replicator.ese.btree import BTree, Entry
from replicator.ese.catalog import Catalog, TableDefinition
from replicator.ese.column_compression import decompress
from replicator.ese.columns import Column, Value
from replicator.ese.database_header import State, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.long_values import DEFAULT_LIMIT_BYTES, LongValues
from replicator.ese.page_source import PageSource
from replicator.ese.reader import Reader, name_of
from replicator.ese.records import Instance, parse_record
from replicator.ese.verification import LARGEST_SMALL_PAGE

RowValue: TypeAlias = Value | tuple[Value, ...]


class Database:
    """An open database.

    Arguments
    ---------
    reader: the file.
    allow_dirty: open it although recovery has not run; pages may then be of different times.
    long_value_limit_bytes: longer values are refused.

    Raises EseError: what reading the header raises, and -550 for a dirty database unless
    ``allow_dirty``; -1226 while pages are being patched.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        allow_dirty: bool = False,
        long_value_limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        self.header, self.header_reading = read_database_header(reader)
        self.path = name_of(reader)
        self.long_value_limit_bytes = long_value_limit_bytes
        if not allow_dirty and not self.header.is_clean:
            reseed = self.header.state is State.INCREMENTAL_RESEED_IN_PROGRESS
            detail = f"the state is {self.header.state_title}"
            raise EseError(-1226 if reseed else -550, detail, path=self.path)
        self.source = PageSource(
            reader, self.header.page_size, checksummed=not self.header.is_temporary
        )
        self._catalog: Catalog | None = None

    @property
    def catalog(self) -> Catalog:
        """Read when first asked for."""
        if self._catalog is None:
            self._catalog = Catalog(self.source)
        return self._catalog

    def tables(self) -> list[Table]:
        """All tables, the catalog's own first."""
        return [Table(self, definition) for definition in self.catalog.tables]

    def table(self, name: str) -> Table:
        """A table by name; raises EseError -1601 when there is none."""
        return Table(self, self.catalog.table(name))


class Table:
    """One table of an open database.

    Arguments
    ---------
    database: where it is.
    definition: what the catalog says of it.
    """

    def __init__(self, database: Database, definition: TableDefinition) -> None:
        self.database = database
        self.definition = definition
        self.columns = [definition.columns[number] for number in sorted(definition.columns)]
        self.fixed_offsets = definition.fixed_offsets()
        self.by_name = {column.name: column for column in self.columns}
        self._long_values: LongValues | None = None

    @property
    def name(self) -> str:
        return self.definition.name

    def rows(self) -> Iterator[Row]:
        """The rows in the order of the primary key, without those flagged deleted."""
        for entry in BTree(self.database.source, self.definition.root_pgno).entries():
            yield Row(self, entry)

    def long_value(self, reference: bytes) -> bytes:
        """A long value by the identifier that a record holds; raises EseError -1206."""
        root = self.definition.long_value_root
        if root is None:
            detail = f"table {self.name!r} has no long values, a record refers to one"
            raise EseError(-1206, detail, path=self.database.path)
        if self._long_values is None:
            self._long_values = LongValues(self.database.source, root)
        return self._long_values.read(reference, self.database.long_value_limit_bytes)


class Row:
    """One row; values are decoded when asked for.

    Arguments
    ---------
    table: its table.
    entry: leaf page and node.

    Raises EseError -1206 when the record does not hold together.
    """

    def __init__(self, table: Table, entry: Entry) -> None:
        self.table = table
        self.key = entry.node.key
        self.pgno = entry.page.pgno
        large = len(entry.page.data) > LARGEST_SMALL_PAGE
        try:
            self._record = parse_record(entry.node.data, large)
        except EseError as error:
            raise self._placed(error) from None

    def __getitem__(self, name: str) -> RowValue:
        """The value of a column: None for null, a tuple for a multi-valued one with values.

        Raises KeyError for an unknown column, EseError -1206 for a value that cannot be read.
        """
        column = self.table.by_name[name]
        values = tuple(column.decode(data) for data in self._plain(column))
        if len(values) > 1 or self._is_multi(column):
            return values
        return values[0] if values else None

    def raw(self, name: str) -> tuple[bytes, ...]:
        """The bytes of each value of a column, long ones put together, compressed ones unpacked."""
        return tuple(self._plain(self.table.by_name[name]))

    def stored(self, name: str) -> tuple[Instance, ...] | None:
        """The values as they stand in the record; None when it does not mention the column."""
        column = self.table.by_name[name]
        try:
            return self._record.instances(
                column, self.table.fixed_offsets.get(column.identifier, 0)
            )
        except EseError as error:
            raise self._placed(error) from None

    def items(self) -> Iterator[tuple[str, RowValue]]:
        """Every column of the table with its value."""
        for column in self.table.columns:
            yield column.name, self[column.name]

    def _is_multi(self, column: Column) -> bool:
        field = self._record.tagged.get(column.identifier)
        return field is not None and bool(field.flags & 0x8)

    def _plain(self, column: Column) -> Iterator[bytes]:
        found = self.stored(column.name)
        if found is None:
            if column.default is not None:
                yield column.default
            return
        for instance in found:
            try:
                if instance.separated:
                    yield self.table.long_value(instance.data)
                elif instance.compressed:
                    limit = 2 * 8 * len(instance.data) + (1 << 16)
                    yield decompress(instance.data, limit)
                else:
                    yield instance.data
            except EseError as error:
                raise self._placed(error) from None

    def _placed(self, error: EseError) -> EseError:
        if error.page is None:
            error.page = self.pgno
        if error.path is None:
            error.path = self.table.database.path
        return error
