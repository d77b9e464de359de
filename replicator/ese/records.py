"""Records: the bytes of a row taken apart into fixed, variable and tagged fields.

E src/inc/rec.hxx; L; V.  Nothing of a record is believed before it was held against its length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from itertools import pairwise
from typing import Final, NamedTuple

from replicator.ese.columns import FIRST_TAGGED, FIRST_VARIABLE, Column
from replicator.ese.errors import EseError

HEADER_BYTES: Final = 4
_NULL: Final = 0x8000
_OFFSET: Final = 0x7FFF
_SMALL_OFFSET: Final = 0x1FFF
_SMALL_HAS_INFO: Final = 0x4000
_SMALL_NULL: Final = 0x2000
_SEPARATED_INSTANCE: Final = 0x8000
_TAG: Final = struct.Struct("<HH")


class FieldFlag(IntFlag):
    """The info byte of a tagged field."""

    LONG_VALUE = 0x1
    COMPRESSED = 0x2
    SEPARATED = 0x4
    MULTI_VALUES = 0x8
    TWO_VALUES = 0x10
    NULL = 0x20
    ENCRYPTED = 0x40


# As plain numbers: an operation on an enumeration takes ten times as long.
_COMPRESSED: Final = int(FieldFlag.COMPRESSED)
_SEPARATED: Final = int(FieldFlag.SEPARATED)
_MULTI_VALUES: Final = int(FieldFlag.MULTI_VALUES)
_TWO_VALUES: Final = int(FieldFlag.TWO_VALUES)
_NULL_FIELD: Final = int(FieldFlag.NULL)
_ENCRYPTED: Final = int(FieldFlag.ENCRYPTED)


class Instance(NamedTuple):
    """One value as it is stored.

    Arguments
    ---------
    data: its bytes, or the identifier of a long value.
    separated: it stands in the long-value tree.
    compressed: it has to be decompressed.
    encrypted: only the program that wrote it can read it.
    """

    data: bytes
    separated: bool = False
    compressed: bool = False
    encrypted: bool = False


class TaggedField(NamedTuple):
    """One tagged field: column, info byte, bytes behind it."""

    identifier: int
    flags: int
    data: bytes

    def instances(self) -> tuple[Instance, ...]:
        """Its values; none for null.  Raises EseError -1206 for offsets that do not fit."""
        flags, data = self.flags, self.data
        if flags & _NULL_FIELD:
            return ()
        packed, encrypted = bool(flags & _COMPRESSED), bool(flags & _ENCRYPTED)
        if not flags & _MULTI_VALUES:
            separated = bool(flags & _SEPARATED)
            return (Instance(data, separated, packed and not separated, encrypted),)
        if flags & _TWO_VALUES:
            if not data or data[0] >= len(data):
                raise EseError(-1206, f"the two values of column {self.identifier} do not fit")
            end = 1 + data[0]
            # Of several values only the first is ever compressed.
            return (Instance(data[1:end], False, packed, encrypted), Instance(data[end:]))
        return self._many(packed, encrypted)

    def _many(self, packed: bool, encrypted: bool) -> tuple[Instance, ...]:
        data = self.data
        count = (int.from_bytes(data[:2], "little") & _OFFSET) // 2
        if not count or 2 * count > len(data):
            raise EseError(-1206, f"the values of column {self.identifier} do not fit")
        words = struct.unpack_from(f"<{count}H", data)
        bounds = [word & _OFFSET for word in words] + [len(data)]
        if any(start > end for start, end in pairwise(bounds)) or bounds[0] < 2 * count:
            raise EseError(-1206, f"the values of column {self.identifier} are out of order")
        return tuple(
            Instance(
                data[start:end],
                bool(word & _SEPARATED_INSTANCE),
                packed and not number,
                encrypted,
            )
            for number, (word, (start, end)) in enumerate(zip(words, pairwise(bounds), strict=True))
        )


@dataclass(frozen=True, slots=True)
class Record:
    """A record's parts, where they lie.

    Arguments
    ---------
    data: all its bytes.
    last_fixed: highest fixed column in it; 0 for none.
    bitmap_at: where the null bitmap of the fixed columns begins.
    variable_at: where the data of variable columns begins.
    variable_ends: end of each variable column, with its null bit.
    tagged: the tagged fields by column.
    """

    data: bytes
    last_fixed: int
    bitmap_at: int
    variable_at: int
    variable_ends: tuple[int, ...]
    tagged: dict[int, TaggedField]

    def instances(self, column: Column, fixed_offset: int) -> tuple[Instance, ...] | None:
        """The stored values of a column: empty for null, None when the record does not say.

        Arguments
        ---------
        column: which.
        fixed_offset: where a fixed column begins in the record.

        Raises EseError -1206 for what does not fit.
        """
        number = column.identifier
        if number >= FIRST_TAGGED:
            field = self.tagged.get(number)
            return None if field is None else field.instances()
        if number >= FIRST_VARIABLE:
            return self._variable(number - FIRST_VARIABLE)
        if number > self.last_fixed:
            return None
        if self.data[self.bitmap_at + (number - 1) // 8] >> (number - 1) % 8 & 1:
            return ()
        end = fixed_offset + column.fixed_size
        if end > self.bitmap_at:
            raise EseError(-1206, f"column {number} reaches behind the fixed part of its record")
        return (Instance(self.data[fixed_offset:end]),)

    def _variable(self, index: int) -> tuple[Instance, ...] | None:
        ends = self.variable_ends
        if index >= len(ends):
            return None
        if ends[index] & _NULL:
            return ()
        start = self.variable_at + (ends[index - 1] & _OFFSET if index else 0)
        return (Instance(self.data[start : self.variable_at + ends[index]]),)


def parse_record(data: bytes, large_page: bool) -> Record:
    """Take a record apart.

    Arguments
    ---------
    data: the data of a leaf node.
    large_page: whether its page has more than 8 KiB: tagged fields are then laid out otherwise.

    Raises EseError -1206 for anything that points outside the record.
    """
    if len(data) < HEADER_BYTES:
        raise EseError(-1206, f"a record of {len(data)} bytes")
    last_fixed, last_variable, fixed_end = struct.unpack_from("<BBH", data)
    bitmap_at = fixed_end - (last_fixed + 7) // 8
    if bitmap_at < HEADER_BYTES or fixed_end > len(data) or last_fixed >= FIRST_VARIABLE:
        raise EseError(-1206, "the fixed part of a record does not fit into it")
    count = max(0, last_variable - FIRST_VARIABLE + 1)
    variable_at = fixed_end + 2 * count
    if variable_at > len(data):
        raise EseError(-1206, "the offsets of a record's variable columns do not fit into it")
    ends = struct.unpack_from(f"<{count}H", data, fixed_end)
    places = [0, *(end & _OFFSET for end in ends)]
    if any(start > end for start, end in pairwise(places)):
        raise EseError(-1206, "the variable columns of a record are out of order")
    tagged_at = variable_at + places[-1]
    if tagged_at > len(data):
        raise EseError(-1206, "the variable columns of a record do not fit into it")
    tagged = _tagged_fields(data[tagged_at:], large_page)
    return Record(data, last_fixed, bitmap_at, variable_at, ends, tagged)


def _tagged_fields(data: bytes, large_page: bool) -> dict[int, TaggedField]:
    if not data:
        return {}
    mask = _OFFSET if large_page else _SMALL_OFFSET
    if len(data) < _TAG.size:
        raise EseError(-1206, "the tagged columns of a record do not fit into it")
    count, rest = divmod(_TAG.unpack_from(data)[1] & mask, _TAG.size)
    if rest or not count or count * _TAG.size > len(data):
        raise EseError(-1206, "the tagged columns of a record do not fit into it")
    words = struct.unpack_from(f"<{2 * count}H", data)
    bounds = [word & mask for word in words[1::2]]
    size = len(data)
    bounds.append(size)
    fields: dict[int, TaggedField] = {}
    last = FIRST_TAGGED - 1
    for identifier, word, start, end in zip(
        words[::2], words[1::2], bounds[:-1], bounds[1:], strict=True
    ):
        if start > end or end > size or identifier <= last:
            raise EseError(-1206, "the tagged columns of a record are out of order")
        last = identifier
        flags, at = 0, start
        if large_page or word & _SMALL_HAS_INFO:
            flags = data[start] if start < end else 0
            at = min(start + 1, end)
        if not large_page and word & _SMALL_NULL:
            flags |= _NULL_FIELD
        fields[identifier] = TaggedField(identifier, flags, data[at:end])
    return fields
