"""A table: rows in their tree, entries in its indices, long values in a tree beside.

A row is found by its primary key, which the caller keeps; a table without primary index numbers
its rows.  Changing a row changes only those entries whose keys have changed, and long values
are written anew when they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from replicator.ese.columns import Column, ColumnFlag, Value
from replicator.ese.errors import EseError
from replicator.ese.keys import sequential_key
from replicator.ese.long_value_encoding import (
    LongValueEncoder,
    SeparatedRow,
)
from replicator.ese.node import EditedNode
from replicator.ese.record_encoding import Row
from replicator.ese.records import Instance, Record, parse_record
from replicator.ese.schema import IndexDefinition, TableDefinition
from simulator.exchange.ese.ascending import insert_ascending
from simulator.exchange.ese.known_catalogs import separator_of
from simulator.exchange.ese.preparation import (
    NODE_OVERHEAD_BYTES,
    Steps,
    Touch,
    look_at,
    prepared,
)
from simulator.exchange.ese.row_keys import StoredRow, TableIndex
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_format import StoreFormat
from simulator.exchange.ese.transactions import Transactions
from simulator.exchange.ese.tree import Tree

NOT_FOUND: Final = -1601
LONG_VALUE_CORRUPTED: Final = -1526


@lru_cache(maxsize=64)
def _index(definition: TableDefinition, index: IndexDefinition) -> TableIndex:
    """It keeps nothing of what it encodes, so all tables of a definition share it."""
    return TableIndex(definition, index)


class Table:
    """One table of a database that is changed through log records.

    Arguments
    ---------
    definition: of the table.
    store_format, transactions: of the database.
    rows: its tree.
    indices: those of its secondary indices by name.
    long_values: that of its long values.
    """

    def __init__(
        self,
        definition: TableDefinition,
        store_format: StoreFormat,
        transactions: Transactions,
        rows: Tree,
        indices: Mapping[str, Tree],
        long_values: Tree | None,
    ) -> None:
        self.definition = definition
        self._transactions = transactions
        self.rows = rows
        self.indices = dict(indices)
        self.long_values = long_values
        self._large = store_format.large_pages
        self._separator = separator_of(definition, store_format.page_bytes)
        self._chunks = LongValueEncoder(store_format.page_bytes)
        primary = definition.primary
        self._primary = None if primary is None else _index(definition, primary)
        self._secondary = [
            (_index(definition, index), self.indices[index.name])
            for index in definition.indices
            if not index.primary
        ]
        self._offsets = definition.layout.fixed_offsets()
        self._last_row = self._last_number(rows) if primary is None else 0
        self._last_long_value = 0 if long_values is None else self._last_number(long_values)

        self._counted = next(
            (
                column
                for column in definition.layout.columns.values()
                if column.flags & ColumnFlag.AUTO_INCREMENT
            ),
            None,
        )
        self._last_count = self._highest_count()

    def _highest_count(self) -> int:
        """The last number that a column which counts by itself has given.

        Where the primary key begins with it, the last leaf has it; else every row is looked at.
        """
        column, highest = self._counted, 0
        if column is not None:
            primary = self.definition.primary
            ascends = primary is not None and primary.columns[0] == column.name
            nodes = self.rows.last_leaf().nodes() if ascends else self.rows.from_key(deleted=True)
            for node in nodes:
                for each in self._stored(column, parse_record(node.data, self._large)):
                    highest = max(highest, int.from_bytes(each.data, "little", signed=True))
        return highest

    def _numbered(self, row: Row) -> Row:
        column = self._counted
        if column is None or not isinstance(row, Mapping):
            return row
        given = row.get(column.name)
        if given is None:
            self._last_count += 1
            return {**row, column.name: self._last_count}
        if isinstance(given, int):
            self._last_count = max(self._last_count, given)
        return row

    @staticmethod
    def _last_number(tree: Tree) -> int:
        """The number that the last key of a tree begins with."""
        page = tree.last_leaf()
        return int.from_bytes(page.key(page.line_count - 1)[:4], "big") if page.line_count else 0

    # -- rows ---------------------------------------------------------------------------

    @prepared
    def insert(self, session: Session, row: Row) -> Steps[bytes]:
        """Put a row in.

        Arguments
        ---------
        session: in a transaction, or not: then the row is a transaction of its own.
        row: by name; a column that counts up by itself is given its number when it is not named.

        Returns its primary key.  Raises EseError: -1605 when that, or a key of a unique index,
        is there, and whatever encoding a row or changing a tree raises; nothing is changed then.
        """
        new = self._separator.encode(self._numbered(row), self._next_long_value)
        record = StoredRow(new.record, self._large)
        key = self._row_key(record)
        yield lambda: look_at(self._inserted(key, new, record))
        with self._transactions.statement(session):
            self.rows.insert(session, key, new.record)
            for identifier, value in new.long_values.items():
                self._insert_long_value(session, identifier, value)
            for index, tree in self._secondary:
                for entry in self._entries(index, record, new.long_values):
                    tree.insert(session, entry, key)
        return key

    def get(self, key: bytes) -> Record | None:
        """A row by primary key, taken apart; None when there is none."""
        node = self.rows.get(key)
        return None if node is None else parse_record(node.data, self._large)

    def record_of(self, node: EditedNode) -> Record:
        """A row from its node, taken apart."""
        return parse_record(node.data, self._large)

    @prepared
    def update(self, session: Session, key: bytes, row: Row) -> Steps[None]:
        """Give a row new content: all of it, not only what changes.

        Arguments
        ---------
        key: its primary key, which cannot change.
        row: as for :meth:`insert`.

        Raises EseError -1601 when there is no such row, ValueError for another primary key.
        """
        yield partial(self._existing, key)
        old = self._existing(key)
        separated = self._separator.encode(row, self._next_long_value)
        record = StoredRow(separated.record, self._large)
        if self._primary is not None and not self._has_key_of(record, old, key):
            raise ValueError("an update cannot change the primary key")
        while (yield partial(self._look_at_update, key, old, separated, record)):
            old = self._existing(key)  # others may have changed it meanwhile
        with self._transactions.statement(session):
            self._update(session, key, old, separated, record)

    def _update(
        self,
        session: Session,
        key: bytes,
        old: StoredRow,
        separated: SeparatedRow,
        record: StoredRow,
    ) -> None:
        self.rows.replace(session, key, separated.record)
        for identifier, value in separated.long_values.items():
            self._insert_long_value(session, identifier, value)
        for index, tree in self._secondary:
            before = self._entries(index, old, {})
            after = self._entries(index, record, separated.long_values)
            for entry in before:
                if entry not in after:
                    tree.flag_delete(session, entry, key)
            for entry in after:
                if entry not in before:
                    tree.insert(session, entry, key)
        self._delete_long_values(session, old)

    @prepared
    def delete(self, session: Session, key: bytes) -> Steps[None]:
        """Delete a row, its entries and its long values; raises EseError -1601, -1102."""
        yield partial(self._existing, key)
        old = self._existing(key)
        while (yield partial(self._look_at_deletion, key, old)):
            old = self._existing(key)
        with self._transactions.statement(session):
            self._delete(session, key, old)

    def _delete(self, session: Session, key: bytes, old: StoredRow) -> None:
        for index, tree in self._secondary:
            for entry in self._entries(index, old, {}):
                tree.flag_delete(session, entry, key)
        self.rows.flag_delete(session, key)
        self._delete_long_values(session, old)

    # -- what a statement will touch ----------------------------------------------------

    def _inserted(self, key: bytes, new: SeparatedRow, record: StoredRow) -> Iterator[Touch]:
        more = NODE_OVERHEAD_BYTES + len(key)
        yield Touch(self.rows, key, b"", more + len(new.record))
        yield from self._inserted_values(new)
        for index, tree in self._secondary:
            for entry in self._entries(index, record, new.long_values):
                yield Touch(tree, entry, key, more + len(entry))

    def _inserted_values(self, new: SeparatedRow) -> Iterator[Touch]:
        for identifier, value in new.long_values.items():
            # No other node stands between those of one value: they begin on one leaf.
            nodes = list(self._chunks.nodes(identifier, value))
            added = sum(NODE_OVERHEAD_BYTES + len(node.key) + len(node.data) for node in nodes)
            yield Touch(self._long_tree(), nodes[0].key, b"", added)

    def _look_at_update(
        self, key: bytes, old: StoredRow, new: SeparatedRow, record: StoredRow
    ) -> None:
        touches = [Touch(self.rows, key, b"", len(new.record)), *self._inserted_values(new)]
        for index, tree in self._secondary:
            before = set(self._entries(index, old, {}))
            after = set(self._entries(index, record, new.long_values))
            added = NODE_OVERHEAD_BYTES + len(key)
            touches += [Touch(tree, entry, key) for entry in before - after]
            touches += [Touch(tree, entry, key, added + len(entry)) for entry in after - before]
        look_at(touches)
        self._look_at_long_values(old)

    def _look_at_deletion(self, key: bytes, old: StoredRow) -> None:
        look_at(self._deleted(key, old))

    def _deleted(self, key: bytes, old: StoredRow) -> Iterator[Touch]:
        yield Touch(self.rows, key)
        for index, tree in self._secondary:
            for entry in self._entries(index, old, {}):
                yield Touch(tree, entry, key)
        self._look_at_long_values(old)

    def _look_at_long_values(self, row: StoredRow) -> None:
        """Visit the leaves of the long values that a row refers to."""
        for identifier in self._long_value_ids(row):
            for _leaf in self._long_tree().lines_with(self._long_key(identifier)):
                pass

    # -- keys ---------------------------------------------------------------------------

    def key(self, *values: Value) -> bytes:
        """The primary key of some values."""
        if self._primary is None:
            raise ValueError(f"table {self.definition.name!r} has no primary index")
        return self._primary.encoder.encode_values(*values).data

    def _row_key(self, record: StoredRow) -> bytes:
        if self._primary is None:
            self._last_row += 1
            return sequential_key(self._last_row)
        return next(iter(self._entries(self._primary, record, {})))

    def _has_key_of(self, row: StoredRow, old: StoredRow, key: bytes) -> bool:
        """Whether a row has the key of another one, which is given."""
        assert self._primary is not None
        values = self._primary.fixed_values(row.data)
        if values is not None and values == self._primary.fixed_values(old.data):
            return True
        return self._row_key(row) == key

    def _entries(
        self, index: TableIndex, row: StoredRow, fresh: Mapping[int, bytes]
    ) -> Sequence[bytes]:
        """The keys under which a row stands in an index.

        Arguments
        ---------
        fresh: long values that are not in their tree yet.
        """
        key = index.fixed_key(row.data)
        if key is not None:
            return (key,)
        return [*self._entries_of(index, row.record, fresh)]

    def _entries_of(
        self, index: TableIndex, record: Record, fresh: Mapping[int, bytes]
    ) -> Iterator[bytes]:
        if index.keys.conditions and not index.keys.holds(
            lambda number: not self._stored(self.definition.layout.columns[number], record)
        ):
            return
        values = self._values(index, record, fresh)
        if index.takes_one and all(values):
            yield index.encoder.encode([each[0] for each in values]).data
            return
        for entry in index.encoder.entries(values):
            yield entry.data

    def _stored(self, column: Column, record: Record) -> Sequence[Instance]:
        found = record.instances(column, self._offsets.get(column.identifier, 0))
        if found is None:
            return () if column.default is None else (Instance(column.default),)
        return found

    def _values(
        self, index: TableIndex, record: Record, fresh: Mapping[int, bytes]
    ) -> list[list[bytes]]:
        return [
            [self._whole(each, fresh) for each in self._stored(column, record)]
            for column in index.columns
        ]

    def _whole(self, instance: Instance, fresh: Mapping[int, bytes]) -> bytes:
        if not instance.separated:
            return instance.data
        identifier = int.from_bytes(instance.data, "little")
        if identifier in fresh:
            return fresh[identifier]
        return self.long_value(identifier)

    # -- long values --------------------------------------------------------------------

    def long_value(self, identifier: int) -> bytes:
        """A whole long value.

        Raises EseError: -1601 when there is none, -1526 when it is not as long as it says.
        """
        start = self._long_key(identifier)
        found = [node.data for node in self._long_nodes(start)]
        if not found:
            raise EseError(NOT_FOUND, f"there is no long value {identifier}")
        value = b"".join(found[1:])
        if len(value) != int.from_bytes(found[0][4:8], "little"):
            detail = f"of long value {identifier} {len(value):,} bytes are there, not all of them"
            raise EseError(LONG_VALUE_CORRUPTED, detail)
        return value

    def _next_long_value(self) -> int:
        self._last_long_value += 1
        return self._last_long_value

    def _long_key(self, identifier: int) -> bytes:
        return identifier.to_bytes(self._chunks.identifier_bytes, "big")

    def _long_tree(self) -> Tree:
        if self.long_values is None:
            raise ValueError(f"table {self.definition.name!r} has no long values")
        return self.long_values

    def _long_nodes(self, start: bytes) -> Iterator[Any]:
        for node in self._long_tree().from_key(start):
            if not node.key.startswith(start):
                return
            yield node

    def _insert_long_value(self, session: Session, identifier: int, value: bytes) -> None:
        nodes = list(self._chunks.nodes(identifier, value))
        insert_ascending(self._long_tree(), session, nodes)

    def _delete_long_values(self, session: Session, record: StoredRow) -> None:
        """Delete the long values that a record referred to."""
        for identifier in self._long_value_ids(record):
            self._long_tree().flag_delete_all(session, self._long_key(identifier))

    def _long_value_ids(self, row: StoredRow) -> Iterator[int]:
        if not self._last_long_value:
            return  # the table has none, and never had
        for field in row.record.tagged.values():
            for instance in field.instances():
                if instance.separated:
                    yield int.from_bytes(instance.data, "little")

    def _existing(self, key: bytes) -> StoredRow:
        node = self.rows.get(key)
        if node is None:
            raise EseError(NOT_FOUND, f"table {self.definition.name!r} has no row {key.hex()}")
        return StoredRow(node.data, self._large)
