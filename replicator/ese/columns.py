"""Columns: what the catalog says of them, and what bytes of each type mean.

E src/inc/tdb.hxx, published/inc/jethdr.w; L; V.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, IntFlag
from typing import Final, TypeAlias
from uuid import UUID

Value: TypeAlias = bool | int | float | str | bytes | UUID | None

FIRST_FIXED: Final = 1
FIRST_VARIABLE: Final = 128
FIRST_TAGGED: Final = 256
UNICODE: Final = 1200
_OLE_EPOCH: Final = datetime(1899, 12, 30, tzinfo=UTC)


class ColumnType(IntEnum):
    """JET_coltyp."""

    NIL = 0
    BIT = 1
    UNSIGNED_BYTE = 2
    SHORT = 3
    LONG = 4
    CURRENCY = 5
    SINGLE = 6
    DOUBLE = 7
    DATE_TIME = 8
    BINARY = 9
    TEXT = 10
    LONG_BINARY = 11
    LONG_TEXT = 12
    SUPER_LONG_VALUE = 13
    UNSIGNED_LONG = 14
    LONG_LONG = 15
    GUID = 16
    UNSIGNED_SHORT = 17
    UNSIGNED_LONG_LONG = 18


class ColumnFlag(IntFlag):
    """Bits of a column's flags in the catalog."""

    NOT_NULL = 0x1
    VERSION = 0x2
    AUTO_INCREMENT = 0x4
    MULTI_VALUED = 0x8
    DEFAULT = 0x10
    ESCROW_UPDATE = 0x20
    FINALIZE = 0x40
    COMPUTED_DEFAULT = 0x80
    COMPRESSED = 0x1000


TEXT_TYPES: Final = frozenset({ColumnType.TEXT, ColumnType.LONG_TEXT})
LONG_TYPES: Final = frozenset({ColumnType.LONG_BINARY, ColumnType.LONG_TEXT})

FIXED_SIZES: Final[dict[int, int]] = {
    ColumnType.BIT: 1,
    ColumnType.UNSIGNED_BYTE: 1,
    ColumnType.SHORT: 2,
    ColumnType.LONG: 4,
    ColumnType.CURRENCY: 8,
    ColumnType.SINGLE: 4,
    ColumnType.DOUBLE: 8,
    ColumnType.DATE_TIME: 8,
    ColumnType.UNSIGNED_LONG: 4,
    ColumnType.LONG_LONG: 8,
    ColumnType.GUID: 16,
    ColumnType.UNSIGNED_SHORT: 2,
    ColumnType.UNSIGNED_LONG_LONG: 8,
}
"""Bytes of the types that have one size; text and binary take what the catalog says."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Arguments
    ---------
    identifier: 1 to 127 fixed, 128 to 255 variable, 256 and up tagged.
    name: as in the catalog.
    type: a JET_coltyp; a number that is none is kept as it is.
    size: bytes, from the catalog.
    flags: bits of :class:`ColumnFlag`.
    code_page: of text; 1200 is UTF-16.
    offset: of a fixed column in its record, from the catalog; 0 where it does not say.
    default: the bytes of its default value.
    """

    identifier: int
    name: str
    type: int
    size: int = 0
    flags: int = 0
    code_page: int = 0
    offset: int = 0
    default: bytes | None = None

    @property
    def fixed_size(self) -> int:
        """Bytes that it takes in the fixed part of a record."""
        return FIXED_SIZES.get(self.type, self.size)

    @property
    def type_name(self) -> str:
        try:
            return ColumnType(self.type).name.lower()
        except ValueError:
            return f"type {self.type}"

    def decode(self, data: bytes) -> Value:
        """The value that bytes of this column mean.

        Never fails: text that its code page does not know is shown with escapes, and a number
        of a wrong length comes back as the bytes that are there.
        """
        if self.type in TEXT_TYPES:
            return decode_text(data, self.code_page)
        decoder = _DECODERS.get(self.type)
        if decoder is None or len(data) != FIXED_SIZES[self.type]:
            return data
        return decoder(data)


def decode_text(data: bytes, code_page: int) -> str:
    """Text of a code page; the page's number 0 stands for plain ASCII."""
    if code_page == UNICODE:
        code = "utf-16-le"
    elif code_page in (0, 20127):
        code = "ascii"
    else:
        code = f"cp{code_page}"
    try:
        return data.decode(code, "backslashreplace")
    except LookupError:
        return data.decode("latin-1")


def ole_time(days: float) -> datetime | None:
    """A DATE_TIME value as a time, where the program that wrote it keeps OLE automation dates.

    Some programs keep other things in such columns; None for what is no time.
    """
    try:
        return _OLE_EPOCH + timedelta(days=days)
    except (OverflowError, ValueError):
        return None


def _unpack(code: str) -> Callable[[bytes], Value]:
    packed = struct.Struct(f"<{code}")

    def decode(data: bytes) -> Value:
        value: Value = packed.unpack(data)[0]
        return value

    return decode


_DECODERS: Final[dict[int, Callable[[bytes], Value]]] = {
    ColumnType.BIT: lambda data: data != b"\0",
    ColumnType.UNSIGNED_BYTE: _unpack("B"),
    ColumnType.SHORT: _unpack("h"),
    ColumnType.LONG: _unpack("i"),
    ColumnType.CURRENCY: _unpack("q"),
    ColumnType.SINGLE: _unpack("f"),
    ColumnType.DOUBLE: _unpack("d"),
    ColumnType.DATE_TIME: _unpack("d"),
    ColumnType.UNSIGNED_LONG: _unpack("I"),
    ColumnType.LONG_LONG: _unpack("q"),
    ColumnType.GUID: lambda data: UUID(bytes_le=data),
    ColumnType.UNSIGNED_SHORT: _unpack("H"),
    ColumnType.UNSIGNED_LONG_LONG: _unpack("Q"),
}
