"""Values to the bytes that they have in a record: the inverse of :meth:`Column.decode`.

E src/ese/recupd.cxx; V.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

from replicator.ese.columns import (
    FIRST_VARIABLE,
    FIXED_SIZES,
    LONG_TYPES,
    TEXT_TYPES,
    UNICODE,
    Column,
    ColumnType,
    Value,
)
from replicator.ese.errors import EseError

COLUMN_MOST_BYTES: Final = 255
"""The longest value of a column that is neither long text nor long binary."""

LONG_VALUE_MOST_BYTES: Final = 0x7FFFFFFF

NUMBER_CODES: Final[dict[int, str]] = {
    ColumnType.UNSIGNED_BYTE: "B",
    ColumnType.SHORT: "h",
    ColumnType.LONG: "i",
    ColumnType.CURRENCY: "q",
    ColumnType.SINGLE: "f",
    ColumnType.DOUBLE: "d",
    ColumnType.DATE_TIME: "d",
    ColumnType.UNSIGNED_LONG: "I",
    ColumnType.LONG_LONG: "q",
    ColumnType.UNSIGNED_SHORT: "H",
    ColumnType.UNSIGNED_LONG_LONG: "Q",
}
"""How struct packs the types that are numbers."""


class LongValueReference(NamedTuple):
    """A value that stands in the long-value tree.

    Arguments
    ---------
    identifier: its number there.
    size_bytes: 4, or 8 for identifiers with the highest bit set (newer revisions).
    """

    identifier: int
    size_bytes: int = 4

    def encode(self) -> bytes:
        """As the record holds it, little-endian; raises ValueError for another size."""
        if self.size_bytes not in (4, 8):
            raise ValueError(f"an identifier of a long value in {self.size_bytes} bytes")
        return self.identifier.to_bytes(self.size_bytes, "little")


def encode_value(column: Column, value: Value) -> bytes:
    """The bytes that a value has in a record: the inverse of :meth:`Column.decode`.

    Arguments
    ---------
    column: says the type.
    value: a Python value of that type, or its bytes.  Not None.

    Raises EseError -1047 for a number out of range or bytes of another size than the type has,
    -1506 for too long a value; TypeError for a value of another kind; UnicodeEncodeError for text
    that the code page does not have.
    """
    return value_encoder(column)(value)


def number_code(column: Column) -> str | None:
    """How struct packs a column's type; None for what is no number."""
    return NUMBER_CODES.get(column.type)


def value_encoder(column: Column) -> Callable[[Any], bytes]:
    """What :func:`encode_value` does for one column, with the column's part worked out."""
    if column.type in TEXT_TYPES:
        return _text_encoder(column)
    if column.type == ColumnType.BIT:
        return _bit
    if column.type == ColumnType.GUID:
        return _guid
    if column.type in NUMBER_CODES:
        return _number_encoder(column)
    return _binary_encoder(column)


def _number_encoder(column: Column) -> Callable[[Any], bytes]:
    packed = struct.Struct(f"<{NUMBER_CODES[column.type]}")

    def encode(value: Any) -> bytes:
        if isinstance(value, bytes) and len(value) == packed.size:
            return value
        if isinstance(value, bytes):
            raise EseError(-1047, f"{len(value)} bytes for column {column.name!r}")
        if not isinstance(value, (int, float)):
            raise TypeError(f"column {column.name!r} takes a number, not {value!r}")
        try:
            return packed.pack(value)
        except (struct.error, OverflowError):
            detail = f"{value!r} is no value of column {column.name!r} ({column.type_name})"
            raise EseError(-1047, detail) from None

    return encode


def _bit(value: Any) -> bytes:
    if isinstance(value, bytes):
        if len(value) != 1:
            raise EseError(-1047, f"{len(value)} bytes for a bit")
        return value
    if not isinstance(value, (bool, int)):
        raise TypeError(f"a bit takes a truth value, not {value!r}")
    return b"\xff" if value else b"\0"


def _guid(value: Any) -> bytes:
    if isinstance(value, UUID):
        return value.bytes_le
    if not isinstance(value, bytes):
        raise TypeError(f"a GUID is a UUID or 16 bytes, not {value!r}")
    if len(value) != FIXED_SIZES[ColumnType.GUID]:
        raise EseError(-1047, f"{len(value)} bytes for a GUID")
    return value


def _binary_encoder(column: Column) -> Callable[[Any], bytes]:
    fit = _fitter(column, b"\0")
    most = most_bytes(column)
    fixed = column.identifier < FIRST_VARIABLE

    def encode(value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise TypeError(f"column {column.name!r} takes bytes, not {value!r}")
        return fit(value) if fixed or len(value) > most else value

    return encode


def _text_encoder(column: Column) -> Callable[[Any], bytes]:
    if column.code_page == UNICODE:
        code, blank = "utf-16-le", b" \0"
    else:
        code = "ascii" if column.code_page in (0, 20127) else f"cp{column.code_page}"
        blank = b" "
    fit = _fitter(column, blank)
    most = most_bytes(column)
    fixed = column.identifier < FIRST_VARIABLE

    def encode(value: Any) -> bytes:
        data = value.encode(code) if isinstance(value, str) else value
        if not isinstance(data, bytes):
            raise TypeError(f"column {column.name!r} takes text, not {value!r}")
        return fit(data) if fixed or len(data) > most else data

    return encode


def most_bytes(column: Column) -> int:
    """The longest value of a text or binary column."""
    if column.type in LONG_TYPES:
        return column.size or LONG_VALUE_MOST_BYTES
    return min(column.size or COLUMN_MOST_BYTES, COLUMN_MOST_BYTES)


def _fitter(column: Column, filling: bytes) -> Callable[[bytes], bytes]:
    """Refuses what is too long; fills up a shorter value of a fixed column."""
    most = most_bytes(column)

    def fit(data: bytes) -> bytes:
        if len(data) > most:
            detail = f"{len(data):,} bytes for column {column.name!r} of at most {most:,}"
            raise EseError(-1047 if column.identifier < FIRST_VARIABLE else -1506, detail)
        data += filling * ((most - len(data)) // len(filling))
        return data.ljust(most, b"\0")

    return fit
