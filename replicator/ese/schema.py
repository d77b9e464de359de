"""Tables declared in Python: columns, indices, and what the engine would refuse of them.

E src/ese/fcreate.cxx, published/inc/jethdr.w.  A definition knows nothing of pages and objects;
where its trees stand is said when its catalog rows are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final

from replicator.ese.columns import (
    FIRST_FIXED,
    FIRST_TAGGED,
    FIRST_VARIABLE,
    FIXED_SIZES,
    LONG_TYPES,
    TEXT_TYPES,
    UNICODE,
    Column,
    ColumnFlag,
    ColumnType,
    Value,
)
from replicator.ese.errors import EseError
from replicator.ese.index_keys import IndexKeys, SegmentFlag, encode_segments
from replicator.ese.keys import OLD_KEY_MOST, IndexFlag, KeyEncoder, UnicodeKey
from replicator.ese.record_encoding import RecordEncoder
from replicator.ese.records import HEADER_BYTES
from replicator.ese.value_encoding import COLUMN_MOST_BYTES, encode_value

NAME_MOST_BYTES: Final = 64
DEFAULT_DENSITY_PERCENT: Final = 80
NO_PRIMARY_KEY_BYTES: Final = 4
"""The key of a row in a table without primary index."""

_NOT_IN_NAMES: Final = frozenset("!.[]")
_AUTO_INCREMENT_TYPES: Final = (ColumnType.LONG, ColumnType.CURRENCY)
_PLAIN_COLUMN: Final = ColumnFlag(0)
_PLAIN_INDEX: Final = IndexFlag(0)
_NO_TYPES: Final = (ColumnType.NIL, ColumnType.SUPER_LONG_VALUE)


class Storage(Enum):
    """Where in a record a column stands; the value is the first identifier and how many."""

    FIXED = (FIRST_FIXED, 127)
    VARIABLE = (FIRST_VARIABLE, 128)
    TAGGED = (FIRST_TAGGED, 64993)


class Nulls(IntEnum):
    """What an index does with nulls: the bits of its flags."""

    ALLOWED = 0xE
    NOT_ALL = 0xC
    """No entry for a key that is all null."""
    NOT_FIRST = 0x8
    """Nor for one whose first column is null."""
    NONE = 0x0
    """No entry for a key with any null."""
    FORBIDDEN = 0x10
    """A row with a null in the key is refused."""


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """One column.

    Arguments
    ---------
    name: 1 to 64 bytes, without control characters and without ``!.[]``.
    type: what it holds.
    size_bytes: the most it takes; needed for fixed text and binary, 255 for other text and binary,
        no limit for long values unless said.
    storage: where it stands in a record; by default fixed for numbers, variable for text and
        binary, tagged for long values and for columns with several values.
    flags: not null, auto-increment and so on; the one for a default is set by itself.
    code_page: of text; 1252, or 1200 for Unicode.
    default: its value in rows that do not name it.
    identifier: its number; by default they are counted, each storage from its first.

    Raises EseError -1002 for the name, -1511 for type and flags that do not go together, -1509 for
    several values outside tagged columns, -1506 for a size that cannot be.
    """

    name: str
    type: ColumnType
    size_bytes: int = 0
    storage: Storage | None = None
    flags: ColumnFlag = _PLAIN_COLUMN
    code_page: int = 1252
    default: Value = None
    identifier: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        kind = self.type
        if kind in _NO_TYPES:
            raise EseError(-1511, f"column {self.name!r} cannot be of type {kind.name.lower()}")
        if self.flags & ColumnFlag.MULTI_VALUED and self.place is not Storage.TAGGED:
            raise EseError(-1509, f"column {self.name!r} is to take several values")
        sized = kind not in FIXED_SIZES and kind not in LONG_TYPES
        if kind in LONG_TYPES and self.place is not Storage.TAGGED:
            raise EseError(-1511, f"column {self.name!r} holds long values and is not tagged")
        if self.place is Storage.VARIABLE and not sized:
            raise EseError(-1511, f"column {self.name!r} is variable and has one size only")
        if self.flags & ColumnFlag.AUTO_INCREMENT and (
            kind not in _AUTO_INCREMENT_TYPES or self.place is not Storage.FIXED
        ):
            raise EseError(-1511, f"column {self.name!r} cannot count up by itself")
        if sized and not 0 <= self.size_bytes <= COLUMN_MOST_BYTES:
            detail = f"column {self.name!r} of {self.size_bytes} bytes, 255 are possible"
            raise EseError(-1506, detail)
        if kind in FIXED_SIZES and self.size_bytes not in (0, FIXED_SIZES[kind]):
            detail = f"column {self.name!r} has {FIXED_SIZES[kind]} bytes, not {self.size_bytes}"
            raise EseError(-1506, detail)
        self.column(self.identifier or self.place.value[0], 0)

    @property
    def place(self) -> Storage:
        """Where it stands in a record."""
        if self.storage is not None:
            return self.storage
        if self.type in LONG_TYPES or self.flags & ColumnFlag.MULTI_VALUED:
            return Storage.TAGGED
        return Storage.FIXED if self.type in FIXED_SIZES else Storage.VARIABLE

    def column(self, identifier: int, offset: int) -> Column:
        """It as it is in a table; raises what encoding its default value does."""
        kind = self.type
        size = FIXED_SIZES.get(kind, self.size_bytes)
        if not size and kind not in LONG_TYPES:
            size = COLUMN_MOST_BYTES
        flags = self.flags
        if self.default is not None:
            flags |= ColumnFlag.DEFAULT
        plain = Column(
            identifier=identifier,
            name=self.name,
            type=kind,
            size=size,
            flags=flags,
            code_page=self.code_page if kind in TEXT_TYPES else 0,
            offset=offset,
        )
        if self.default is None:
            return plain
        default = encode_value(plain, self.default)
        if len(default) > COLUMN_MOST_BYTES:
            raise EseError(-1506, f"the default of column {self.name!r} has {len(default)} bytes")
        return Column(
            plain.identifier,
            plain.name,
            plain.type,
            plain.size,
            plain.flags,
            plain.code_page,
            plain.offset,
            default,
        )


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """One index.

    Arguments
    ---------
    name: as of columns.
    columns: names of the key's columns in their order; with ``-`` before it a column sorts from
        high to low.
    primary: it orders the rows themselves; implies ``unique``.
    unique: no two rows have the same key.
    nulls: what happens with them.
    conditions: columns that must be null (True) or must not be (False) in a row for an entry.
    key_most_bytes: the longest key; 0 for 255, which older revisions only have.
    segment_most_bytes: the longest part of one text or binary column; 0 for the whole key.
    density_percent: how full pages are made; 0 for that of the table.
    more_flags: nulls high, no truncation, the order of GUIDs, and others.
    lcmap_flags: how Unicode text is compared.
    locale_name: language of the order, and ``locale_id`` its number in older revisions.
    sort_version, sort_id: of the order of Unicode text, as they stand in the catalog.
    """

    name: str
    columns: tuple[str, ...]
    primary: bool = False
    unique: bool = False
    nulls: Nulls = Nulls.ALLOWED
    conditions: tuple[tuple[str, bool], ...] = ()
    key_most_bytes: int = 0
    segment_most_bytes: int = 0
    density_percent: int = 0
    more_flags: IndexFlag = _PLAIN_INDEX
    lcmap_flags: int = 0x30401
    locale_name: str = "en-US"
    locale_id: int = 1033
    sort_version: bytes = b""
    sort_id: bytes = b""

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 0 < len(self.columns) <= KeyEncoder.COLUMNS_MOST:
            raise EseError(-1406, f"index {self.name!r} has {len(self.columns)} columns")
        if self.primary and (self.conditions or self.nulls not in (Nulls.ALLOWED, Nulls.FORBIDDEN)):
            raise EseError(-1406, f"primary index {self.name!r} leaves rows out")


class TableLayout:
    """The columns of a table as records have them."""

    def __init__(self, columns: Mapping[int, Column]) -> None:
        self.columns = columns

    def fixed_offsets(self) -> dict[int, int]:
        """Where each fixed column begins."""
        return {
            number: column.offset
            for number, column in self.columns.items()
            if number < FIRST_VARIABLE
        }


@dataclass(frozen=True)
class TableDefinition:
    """One table.

    Arguments
    ---------
    name: as of columns.
    columns, indices: what it has.
    pages: how many it gets at first.
    density_percent: how full its pages are made.
    flags: bits that the catalog keeps; 0xC0000000 for the catalog itself.
    intrinsic_most_bytes: longer long values leave the record; 0 for the engine's own limit.
    long_value_hints: bytes of the catalog's SpaceDeferredLVHints, if it has any.

    Raises EseError -1508 and -1403 for names that are there twice, -1040 for too many columns,
    -1402 for a second primary index, -1507 for an index on a column that is not there.
    """

    name: str
    columns: tuple[ColumnDefinition, ...]
    indices: tuple[IndexDefinition, ...] = ()
    pages: int = 1
    density_percent: int = DEFAULT_DENSITY_PERCENT
    flags: int = 0
    intrinsic_most_bytes: int = 0
    long_value_hints: bytes = b""

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_distinct(-1508, "column", [each.name for each in self.columns])
        _check_distinct(-1403, "index", [each.name for each in self.indices])
        if sum(each.primary for each in self.indices) > 1:
            raise EseError(-1402, f"table {self.name!r} has several primary indices")
        for index in self.indices:
            self.index_keys(index.name)

    @cached_property
    def layout(self) -> TableLayout:
        """Its columns with their identifiers and offsets."""
        found: dict[int, Column] = {}
        for storage in Storage:
            first, count = storage.value
            number, offset = first - 1, HEADER_BYTES
            for each in (each for each in self.columns if each.place is storage):
                last, number = number, number + 1 if each.identifier is None else each.identifier
                if not last < number < first + count:
                    detail = (
                        f"column {each.name!r} of table {self.name!r} would get number {number}"
                    )
                    raise EseError(-1040, detail)
                column = each.column(number, offset if storage is Storage.FIXED else 0)
                offset += column.fixed_size
                found[number] = column
        return TableLayout(MappingProxyType(found))

    @property
    def primary(self) -> IndexDefinition | None:
        """The index that orders its rows, if it has one."""
        return next((each for each in self.indices if each.primary), None)

    def index(self, name: str) -> IndexDefinition:
        """An index by name; raises EseError -1406 when there is none."""
        for each in self.indices:
            if each.name == name:
                return each
        raise EseError(-1406, f"table {self.name!r} has no index {name!r}")

    def index_keys(self, name: str) -> IndexKeys:
        """What the catalog says of an index's keys; raises EseError -1406, -1507."""
        index = self.index(name)
        by_name = {column.name: column for column in self.layout.columns.values()}

        def number(column: str) -> int:
            if column not in by_name:
                raise EseError(-1507, f"index {name!r} names the column {column!r}")
            return by_name[column].identifier

        segments = [
            (SegmentFlag.DESCENDING if each.startswith("-") else 0, number(each.removeprefix("-")))
            for each in index.columns
        ]
        conditions = [
            (SegmentFlag.MUST_BE_NULL if is_null else 0, number(each))
            for each, is_null in index.conditions
        ]
        flags = IndexFlag.EXTENDED_COLUMNS | index.nulls | index.more_flags
        if index.primary:
            flags |= IndexFlag.PRIMARY
        if index.primary or index.unique:
            flags |= IndexFlag.UNIQUE
        for _, identifier in segments:
            column = self.layout.columns[identifier]
            if column.flags & ColumnFlag.MULTI_VALUED:
                flags |= IndexFlag.MULTI_VALUED
            if column.type in TEXT_TYPES and column.code_page == UNICODE:
                flags |= IndexFlag.UNICODE_TEXT
        return IndexKeys(
            key_columns=encode_segments(segments),
            flags=int(flags),
            conditions=encode_segments(conditions),
            key_most_bytes=index.key_most_bytes or OLD_KEY_MOST,
            segment_most_bytes=index.segment_most_bytes,
        )

    def key_encoder(self, name: str, unicode_key: UnicodeKey | None = None) -> KeyEncoder:
        """What makes the keys of an index; raises what :class:`KeyEncoder` does."""
        return self.index_keys(name).encoder(self.layout.columns, unicode_key)

    def record_encoder(self, page_size: int) -> RecordEncoder:
        """What makes its records."""
        primary = self.primary
        if primary is None:
            return RecordEncoder(self.layout, page_size, NO_PRIMARY_KEY_BYTES)
        return RecordEncoder(self.layout, page_size, primary.key_most_bytes or OLD_KEY_MOST)


def check_name(name: str) -> None:
    """Whether a table, column or index may have this name; raises EseError -1002."""
    encoded = name.encode("cp1252", "replace")
    if not 0 < len(encoded) <= NAME_MOST_BYTES or name.startswith(" "):
        raise EseError(-1002, f"the name {name!r}")
    if any(character < " " or character in _NOT_IN_NAMES for character in name):
        raise EseError(-1002, f"the name {name!r}")


def _check_distinct(number: int, kind: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.upper() in seen:
            raise EseError(number, f"two {kind} names are {name!r}")
        seen.add(name.upper())
