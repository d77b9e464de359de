"""Rows to records: the inverse of :mod:`replicator.ese.records`.

E src/inc/rec.hxx, src/inc/tagfld.hxx, src/ese/recupd.cxx; V: the records of the real files come out
again byte for byte, but for old bytes that lie in the place of a null.  A record holds the fixed
columns up to the last one that is set, the variable ones likewise, and the tagged ones
that are set.  A column in between that is not set gets its default, or is null; the place of a null
fixed column is filled with asterisks, and bits of the null bitmap that no column has are set.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from replicator.ese.columns import (
    FIRST_TAGGED,
    FIRST_VARIABLE,
    LONG_TYPES,
    Column,
    ColumnFlag,
    Value,
)
from replicator.ese.errors import EseError
from replicator.ese.keys import OLD_KEY_MOST
from replicator.ese.page import LARGE_HEADER_BYTES, SMALL_HEADER_BYTES, TAG_BYTES
from replicator.ese.records import HEADER_BYTES, FieldFlag, Instance
from replicator.ese.value_encoding import (
    COLUMN_MOST_BYTES,
    LongValueReference,
    number_code,
    value_encoder,
)
from replicator.ese.verification import LARGEST_SMALL_PAGE

KEY_COUNT_BYTES: Final = 2
_NULL_FILL: Final = b"*"
_NULL_VARIABLE: Final = 0x8000
_SMALL_HAS_INFO: Final = 0x4000
_SMALL_NULL: Final = 0x2000
_SEPARATED_INSTANCE: Final = 0x8000
_HEADER: Final = struct.Struct("<BBH")
_TAG: Final = struct.Struct("<HH")
_WORD: Final = struct.Struct("<H")
_NULL_FIELD: Final = int(FieldFlag.NULL)
_BYTES: Final = tuple(bytes((byte,)) for byte in range(256))

Single: TypeAlias = Value | LongValueReference | Instance
RowInput: TypeAlias = Single | tuple[Single, ...] | list[Single]
Row: TypeAlias = Mapping[str, RowInput] | Sequence[RowInput]
Stored: TypeAlias = Mapping[int, Sequence[Instance]]


class TableColumns(Protocol):
    """What an encoder asks of a table; the reader's and the writer's definition both have it."""

    @property
    def columns(self) -> Mapping[int, Column]:
        """Its columns by identifier."""

    def fixed_offsets(self) -> Mapping[int, int]:
        """Where each fixed column begins in a record."""


def largest_record_bytes(page_size: int, key_most_bytes: int = OLD_KEY_MOST) -> int:
    """Bytes of the longest record that the engine takes (E src/inc/rec.hxx, CbRecordMost).

    Arguments
    ---------
    page_size: bytes a page.
    key_most_bytes: the longest key of the table's primary index; 4 for a table without.
    """
    if page_size <= LARGEST_SMALL_PAGE:
        node = page_size - SMALL_HEADER_BYTES - 2 * TAG_BYTES
        return node - KEY_COUNT_BYTES - max(OLD_KEY_MOST, KEY_COUNT_BYTES + key_most_bytes)
    node = page_size - LARGE_HEADER_BYTES - 2 * TAG_BYTES
    return node - 2 * KEY_COUNT_BYTES - key_most_bytes


class _Unset:
    """What a row does not name, where that is another thing than null: it has a default."""


_UNSET: Final = _Unset()
_PLAIN: Final = frozenset({bool, int, float, str, bytes, UUID})
"""Types of values that are neither null nor several nor given as they are stored."""

_VariablePlan: TypeAlias = tuple[int, int, Callable[[Any], bytes], bool]
_TaggedPlan: TypeAlias = tuple[int, int, Callable[[Any], bytes], bool, int]


class RecordEncoder:
    """Makes the records of one table; what depends on the table alone is worked out once.

    Arguments
    ---------
    table: its columns and where the fixed ones begin.
    page_size: bytes a page; tagged columns are laid out otherwise above 8 KiB.
    key_most_bytes: the longest key of its primary index; it takes room from the record.

    A row is a mapping from column name to value, or a sequence of values in the order of the column
    identifiers.  None is null.  A column that the row does not name has its default value, or is
    null without one.  A tuple or list gives several values to a tagged column, a
    :class:`LongValueReference` one that stands in the long-value tree, an
    :class:`~replicator.ese.records.Instance` one as it is stored, a compressed one say.
    """

    def __init__(
        self, table: TableColumns, page_size: int, key_most_bytes: int = OLD_KEY_MOST
    ) -> None:
        self.columns = tuple(table.columns[number] for number in sorted(table.columns))
        self.page_size = page_size
        self.most_bytes = largest_record_bytes(page_size, key_most_bytes)
        self._large = page_size > LARGEST_SMALL_PAGE
        self._offsets = table.fixed_offsets()
        numbers = [each.identifier for each in self.columns]
        self._place = {number: place for place, number in enumerate(numbers)}
        self._encoders = tuple(value_encoder(each) for each in self.columns)
        self._fixed_count = sum(number < FIRST_VARIABLE for number in numbers)
        self._variable_plan, self._tagged_plan = self._plans()
        self._with_default = tuple(
            place for place, each in enumerate(self.columns) if each.default is not None
        )
        self._unnamed = {
            each.name: None if each.default is None else _UNSET for each in self.columns
        }
        self._plan_fixed()

    def _plans(self) -> tuple[list[_VariablePlan], list[_TaggedPlan]]:
        """What is asked of each variable and each tagged column again and again."""
        variable: list[_VariablePlan] = []
        tagged: list[_TaggedPlan] = []
        for place, column in enumerate(self.columns):
            number, encode = column.identifier, self._encoders[place]
            required = bool(column.flags & ColumnFlag.NOT_NULL)
            if FIRST_VARIABLE <= number < FIRST_TAGGED:
                variable.append((place, number - FIRST_VARIABLE, encode, required))
            elif number >= FIRST_TAGGED:
                flags = int(FieldFlag.LONG_VALUE) if column.type in LONG_TYPES else 0
                tagged.append((place, number, encode, required, flags))
        return variable, tagged

    def _plan_fixed(self) -> None:
        """The common case at once: every fixed column has a value."""
        columns = self.columns[: self._fixed_count]
        place = HEADER_BYTES
        codes: list[str] = []
        self._converted: list[tuple[int, Any]] = []
        for number, column in enumerate(columns):
            gap = self._offsets[column.identifier] - place
            code = number_code(column)
            codes.append(f"{gap}x{code or f'{column.fixed_size}s'}")
            place += gap + column.fixed_size
            if code is None:
                self._converted.append((number, self._encoders[number]))
        last = columns[-1].identifier if columns else 0
        bitmap_bytes = (last + 7) // 8
        unused = (1 << 8 * bitmap_bytes) - (1 << last)
        self._bitmap = unused.to_bytes(bitmap_bytes, "little")
        self._pack_fixed = struct.Struct(f"<BBH{''.join(codes)}").pack
        self._fixed_last, self._fixed_end = last, place + bitmap_bytes
        self._without_gaps = place == HEADER_BYTES + sum(each.fixed_size for each in columns) and [
            each.identifier for each in columns
        ] == list(range(1, last + 1))

    # -- the whole ---------------------------------------------------------------------

    def encode(self, row: Row) -> bytes:
        """The record of a row.

        Raises EseError: -1026 when it gets too long, -1504 for null where that cannot be, -1507 for
        a column that the table does not have, -1509 for several values in a column that
        takes one, -1511 for a long value in a column of another kind, and what
        :func:`~replicator.ese.value_encoding.encode_value` raises.
        """
        values = self.in_order(row)
        for place in self._with_default:
            if values[place] is None:
                values[place] = ()  # has to be said, or the default would be read
        return self._record(values)

    def encode_stored(self, stored: Stored) -> bytes:
        """The record that holds these values: the inverse of what a record is parsed into.

        Arguments
        ---------
        stored: by column identifier; nothing in it for null, a column that is not there for what
            the record does not mention.

        Raises EseError as :meth:`encode` does.
        """
        values: list[Any] = [_UNSET] * len(self.columns)
        try:
            for number, instances in stored.items():
                values[self._place[number]] = tuple(instances)
        except KeyError as error:
            raise EseError(-1507, f"the table has no column {error.args[0]}") from None
        return self._record(values)

    def _record(self, values: list[Any]) -> bytes:
        last, variable = self._variable(values)
        record = self._fixed(values, last) + variable + self._tagged(values)
        if len(record) > self.most_bytes:
            detail = f"a record of {len(record):,} bytes, {self.most_bytes:,} are possible"
            raise EseError(-1026, detail)
        return record

    def in_order(self, row: Row) -> list[Any]:
        """The values of a row by column; can be given to :meth:`encode` again.

        Raises EseError -1507 for a column that the table does not have.
        """
        unnamed = self._unnamed
        if isinstance(row, Mapping):
            get = row.get
            values = [get(name, unset) for name, unset in unnamed.items()]
            if not unnamed.keys() >= row.keys():
                name = next(name for name in row if name not in unnamed)
                raise EseError(-1507, f"the table has no column {name!r}")
            return values
        if len(row) > len(unnamed):
            raise EseError(-1507, f"{len(row)} values for {len(unnamed)} columns")
        return [*row, *list(unnamed.values())[len(row) :]]

    # -- fixed columns -----------------------------------------------------------------

    def _fixed(self, values: list[Any], last_variable: int) -> bytes:
        """Header, fixed columns and their null bitmap."""
        if self._without_gaps:
            fixed = values[: self._fixed_count]
            try:
                for number, convert in self._converted:
                    fixed[number] = convert(fixed[number])
                packed = self._pack_fixed(self._fixed_last, last_variable, self._fixed_end, *fixed)
            except (struct.error, TypeError):
                pass  # null, or given as it is stored: column by column then
            else:
                return packed + self._bitmap
        return self._fixed_one_by_one(values, last_variable)

    def _fixed_one_by_one(self, values: list[Any], last_variable: int) -> bytes:
        count = self._last_set(values)
        last = self.columns[count - 1].identifier if count else 0
        record = bytearray(_HEADER.size)
        bitmap = bytearray(b"\xff" * ((last + 7) // 8))
        for place in range(count):
            column = self.columns[place]
            record += _NULL_FILL * (self._offsets[column.identifier] - len(record))
            data = self._only(place, values[place])
            if data is None:
                record += _NULL_FILL * column.fixed_size
                continue
            if len(data) != column.fixed_size:
                detail = f"{len(data)} bytes for column {column.name!r} of {column.fixed_size}"
                raise EseError(-1047, detail)
            record += data
            bit = column.identifier - 1
            bitmap[bit // 8] &= ~(1 << bit % 8)
        record += bitmap
        _HEADER.pack_into(record, 0, last, last_variable, len(record))
        return bytes(record)

    def _last_set(self, values: list[Any]) -> int:
        """The place behind the last fixed column that is set; those that must be are looked for."""
        last = 0
        for place in range(self._fixed_count):
            value = values[place]
            if value is None:
                if self.columns[place].flags & ColumnFlag.NOT_NULL:
                    raise self._no_null(self.columns[place])
            elif value is not _UNSET:
                last = place + 1
        return last

    def _only(self, place: int, value: Any) -> bytes | None:
        """The bytes of the one value of a fixed or variable column; None for null."""
        column = self.columns[place]
        if value is None:
            return None
        if value is _UNSET:
            return column.default
        if _is_several(value):
            if not value:
                if column.flags & ColumnFlag.NOT_NULL:
                    raise self._no_null(column)
                return None
            if len(value) > 1:
                raise EseError(-1509, f"{len(value)} values for column {column.name!r}")
            value = value[0]
        return value.data if isinstance(value, Instance) else self._encoders[place](value)

    def _no_null(self, column: Column) -> EseError:
        return EseError(-1504, f"column {column.name!r} is null")

    # -- variable columns --------------------------------------------------------------

    def _variable(self, values: list[Any]) -> tuple[int, bytes]:
        """The last variable column, and the ends and data of all."""
        ends: list[int] = []
        pieces: list[bytes] = []
        end = mentioned = kept = 0
        for place, index, encode, required in self._variable_plan:
            if index > len(ends):
                ends += [end | _NULL_VARIABLE] * (index - len(ends))
            value = values[place]
            if value.__class__ in _PLAIN:
                data: bytes | None = encode(value)
            elif value is None and required:
                raise self._no_null(self.columns[place])
            else:
                data = self._only(place, value)
            if data is None:
                ends.append(end | _NULL_VARIABLE)
            else:
                pieces.append(data)
                end += len(data)
                ends.append(end)
            if value is not None and value is not _UNSET:
                mentioned, kept = len(ends), len(pieces)
        head = struct.pack(f"<{mentioned}H", *ends[:mentioned])
        return FIRST_VARIABLE - 1 + mentioned, head + b"".join(pieces[:kept])

    # -- tagged columns ----------------------------------------------------------------

    def _tagged(self, values: list[Any]) -> bytes:
        fields: list[tuple[int, int, bytes]] = []
        add = fields.append
        for place, number, encode, required, flags in self._tagged_plan:
            value = values[place]
            if value.__class__ in _PLAIN:
                add((number, flags, encode(value)))
            elif value is None:
                if required:
                    raise self._no_null(self.columns[place])
            elif value is not _UNSET:
                add((number, *self._field(place, flags, value)))
        if not fields:
            return b""
        large, most, at = self._large, self.page_size, _TAG.size * len(fields)
        words: list[int] = []
        bodies: list[bytes] = [b""]  # the tags, once they are known
        for number, flags, body in fields:
            size = len(body)
            if at + size > most:
                raise EseError(-1026, f"tagged columns of {at + size:,} bytes and more")
            if large:
                words += (number, at)
            elif flags & _NULL_FIELD:
                words += (number, at | _SMALL_NULL)
                continue
            else:
                words += (number, at | _SMALL_HAS_INFO if flags else at)
            if large or flags:
                bodies.append(_BYTES[flags])
                at += 1
            bodies.append(body)
            at += size
        bodies[0] = struct.pack(f"<{len(words)}H", *words)
        return b"".join(bodies)

    def _field(self, place: int, flags: int, value: Any) -> tuple[int, bytes]:
        """Info byte and bytes of a tagged column whose values are not just one plain value."""
        if _is_several(value):
            if not value:
                if self.columns[place].flags & ColumnFlag.NOT_NULL:
                    raise self._no_null(self.columns[place])
                return flags | _NULL_FIELD, b""
            if len(value) > 1:
                return self._several(flags, [self._instance(place, each) for each in value])
            value = value[0]
        instance = self._instance(place, value)
        flags |= FieldFlag.SEPARATED if instance.separated else 0
        return flags | _stored_flags(instance), instance.data

    def _several(self, flags: int, instances: list[Instance]) -> tuple[int, bytes]:
        """Two values of a column that is not long have a short form of their own."""
        if any(each.compressed for each in instances[1:]):
            raise ValueError("of several values only the first can be compressed")
        flags |= FieldFlag.MULTI_VALUES | _stored_flags(instances[0])
        first = instances[0].data
        short = len(instances) == 2 and not flags & FieldFlag.LONG_VALUE
        if short and len(first) <= COLUMN_MOST_BYTES:
            return flags | FieldFlag.TWO_VALUES, bytes((len(first),)) + first + instances[1].data
        at = _WORD.size * len(instances)
        words: list[bytes] = []
        for each in instances:
            if at + len(each.data) > self.page_size:
                raise EseError(-1026, f"several values of {at + len(each.data):,} bytes and more")
            words.append(_WORD.pack(at | (_SEPARATED_INSTANCE if each.separated else 0)))
            at += len(each.data)
        return flags, b"".join(chain(words, (each.data for each in instances)))

    def _instance(self, place: int, value: Single) -> Instance:
        if not isinstance(value, (Instance, LongValueReference)):
            return Instance(self._encoders[place](value))
        if isinstance(value, LongValueReference):
            value = Instance(value.encode(), separated=True)
        column = self.columns[place]
        if (value.separated or value.compressed) and column.type not in LONG_TYPES:
            raise EseError(-1511, f"column {column.name!r} holds no long values")
        return value


def _is_several(value: object) -> bool:
    return isinstance(value, (tuple, list)) and not isinstance(
        value, (Instance, LongValueReference)
    )


def _stored_flags(instance: Instance) -> int:
    packed = FieldFlag.COMPRESSED if instance.compressed else 0
    return packed | (FieldFlag.ENCRYPTED if instance.encrypted else 0)
