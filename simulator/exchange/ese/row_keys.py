"""A stored row, and the keys under which indices have it.

Most rows are changed without a look at most of their columns.  So a row is taken apart when
somebody asks for that, and a key of fixed columns, such as numbers, is cut out of the row's bytes.
"""

from __future__ import annotations

import struct
from typing import Final

from replicator.ese.columns import FIRST_VARIABLE, Column, ColumnFlag
from replicator.ese.keys import KeyEncoder
from replicator.ese.records import HEADER_BYTES, Record, parse_record
from replicator.ese.schema import IndexDefinition, TableDefinition

_RECORD_HEAD: Final = struct.Struct("<BBH")


class StoredRow:
    """A row as its node has it, taken apart when that is needed.

    Arguments
    ---------
    data: of the node.
    large: whether its page has more than 8 KiB.
    """

    __slots__ = ("_large", "_record", "data")

    def __init__(self, data: bytes, large: bool) -> None:
        self.data, self._large = data, large
        self._record: Record | None = None

    @property
    def record(self) -> Record:
        """Raises EseError -1206 for one that does not hold together."""
        found = self._record
        if found is None:
            found = self._record = parse_record(self.data, self._large)
        return found


class TableIndex:
    """What makes the entries of one index.

    Arguments
    ---------
    definition: of the table.
    index: of the index.

    Attributes
    ----------
    encoder, keys: make the keys, and say which columns they have.
    columns: of the key, in its order.
    takes_one: no column of it has several values, so a row without nulls has one entry.
    """

    def __init__(self, definition: TableDefinition, index: IndexDefinition) -> None:
        self.name = index.name
        self.encoder: KeyEncoder = definition.key_encoder(index.name)
        self.keys = definition.index_keys(index.name)
        columns = definition.layout.columns
        self.columns: list[Column] = [columns[number] for number in self.keys.column_numbers()]
        self.takes_one = not any(each.flags & ColumnFlag.MULTI_VALUED for each in self.columns)
        self._fixed = self._plan(definition) if self.takes_one else None

    def _plan(self, definition: TableDefinition) -> list[tuple[int, int, int, int]] | None:
        """Where a record has the columns and their null bits; None unless all are fixed."""
        if self.keys.conditions or any(each.identifier >= FIRST_VARIABLE for each in self.columns):
            return None
        offsets = definition.layout.fixed_offsets()
        found: list[tuple[int, int, int, int]] = []
        for each in self.columns:
            begin, bit = offsets[each.identifier], each.identifier - 1
            found.append((begin, begin + each.fixed_size, bit >> 3, 1 << (bit & 7)))
        self._last_fixed = max(each.identifier for each in self.columns)
        return found

    def fixed_key(self, data: bytes) -> bytes | None:
        """The key of a row whose key columns are fixed and set, without taking it apart.

        None for any other, and for what does not hold together.
        """
        values = self.fixed_values(data)
        return None if values is None else self.encoder.encode(values).data

    def fixed_values(self, data: bytes) -> list[bytes] | None:
        """The columns of that key as they are stored; None as of :meth:`fixed_key`."""
        plan = self._fixed
        if plan is None or len(data) < HEADER_BYTES:
            return None
        last_fixed, _, fixed_end = _RECORD_HEAD.unpack_from(data)
        bitmap_at = fixed_end - (last_fixed + 7) // 8
        if not self._last_fixed <= last_fixed < FIRST_VARIABLE or fixed_end > len(data):
            return None
        values: list[bytes] = []
        for begin, end, byte, mask in plan:
            if end > bitmap_at or data[bitmap_at + byte] & mask:
                return None
            values.append(data[begin:end])
        return values
