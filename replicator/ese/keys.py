"""Keys: the values of a row in a form whose bytes sort as the values do.

E src/ese/fldnorm.cxx, src/ese/_osu/normu.cxx, src/inc/idb.hxx; V on every index of the real files
whose columns are covered.  A key is one segment a column: a byte that says null, empty or data,
then the value.  Segments of descending columns are inverted.  A key that is too long is cut.

One thing cannot be had: the engine asks the operating system (LCMapStringEx) for the order of
Unicode text, and what that answers depends on the version of its tables.  Whoever writes such an
index has to choose a substitute, :func:`substitute_unicode_key` or one of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from enum import IntFlag
from itertools import product
from typing import Final, NamedTuple

from replicator.ese.columns import (
    FIRST_VARIABLE,
    FIXED_SIZES,
    TEXT_TYPES,
    UNICODE,
    Column,
    ColumnFlag,
    ColumnType,
    Value,
)
from replicator.ese.errors import EseError
from replicator.ese.value_encoding import value_encoder

OLD_KEY_MOST: Final = 255
"""Bytes of the longest key unless the catalog's KeyMost says otherwise; JET_cbKeyMost_OLD."""

LONGEST_KEYS: Final = {2048: 500, 4096: 1000, 8192: 2000, 16384: 2000, 32768: 2000}
"""Bytes that KeyMost may say, by page size, from revision C on."""

_NULL: Final = b"\x00"
_NULL_HIGH: Final = b"\xc0"
_EMPTY: Final = b"\x40"
_DATA: Final = b"\x7f"
_CHUNK: Final = 8
"""Bytes of variable binary that go together; behind each stands how many of them count."""

_INVERTED: Final = bytes(range(255, -1, -1))
_UPPER: Final = bytes(byte - 32 if 97 <= byte <= 122 else byte for byte in range(256))


class IndexFlag(IntFlag):
    """Bits of an index's flags in the catalog."""

    UNIQUE = 0x1
    ALL_NULLS = 0x2
    FIRST_NULL = 0x4
    SOME_NULLS = 0x8
    NO_NULL_SEGMENT = 0x10
    PRIMARY = 0x20
    LOCALE_SET = 0x40
    MULTI_VALUED = 0x80
    TEMPLATE = 0x100
    DERIVED = 0x200
    UNICODE_TEXT = 0x400
    NULLS_HIGH = 0x800
    CROSS_PRODUCT = 0x2000
    NO_TRUNCATION = 0x4000
    NESTED = 0x8000
    EXTENDED_COLUMNS = 0x10000
    DOT_NET_GUID = 0x20000


UnicodeKey = Callable[[bytes, int], bytes]
"""From UTF-16-LE text to what stands behind the data byte; the number is the room in bytes."""


def substitute_unicode_key(text: bytes, room: int) -> bytes:
    """NOT the engine's order: text in upper case, by code point, as UTF-8 with a zero behind it.

    It is consistent (a longer text sorts behind its beginning, letters without regard to case)
    and needs no tables.  Zeros in the text do not count.

    Arguments
    ---------
    text: UTF-16-LE.
    room: bytes that the key has left.
    """
    plain = text.decode("utf-16-le", "replace").upper().replace("\0", "")
    return (plain.encode("utf-8") + b"\0")[: room + 1]


def sequential_key(number: int) -> bytes:
    """The key of a row in a table that has no primary index: rows are numbered from 1 (V)."""
    return number.to_bytes(4, "big")


class Segment(NamedTuple):
    """One column of a key.

    Arguments
    ---------
    column: which.
    descending: sort from high to low.
    """

    column: Column
    descending: bool = False


class Key(NamedTuple):
    """A finished key.

    Arguments
    ---------
    data: its bytes.
    nulls: how many of its columns are null.
    first_null: whether the first one is.
    truncated: bytes are missing; two different rows may have the same one.
    """

    data: bytes
    nulls: int = 0
    first_null: bool = False
    truncated: bool = False


class KeyEncoder:
    """Makes the keys of one index.

    Arguments
    ---------
    segments: the columns in the order of the key.
    flags: bits of :class:`IndexFlag`; they say how nulls and GUIDs sort and what gets an entry.
    key_most_bytes: the longest key.
    segment_most_bytes: the longest part that variable text and binary may take (VarSegMac);
        0 for the whole key.
    unicode_key: the order of Unicode text.

    Raises EseError -1406 for a key without columns or with more than 16, and for Unicode text when
    no order is given for it; -1511 for a type that no key can hold.
    """

    COLUMNS_MOST: Final = 16

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        flags: int = 0,
        key_most_bytes: int = OLD_KEY_MOST,
        segment_most_bytes: int = 0,
        unicode_key: UnicodeKey | None = None,
    ) -> None:
        if not 0 < len(segments) <= self.COLUMNS_MOST:
            raise EseError(-1406, f"a key of {len(segments)} columns")
        self.segments = tuple(segments)
        self.flags = flags
        self.key_most_bytes = key_most_bytes
        if not 0 < segment_most_bytes < key_most_bytes:
            segment_most_bytes = key_most_bytes + 1
        self._segment_most = segment_most_bytes
        self._unicode_key = unicode_key
        self._null = _NULL_HIGH if flags & IndexFlag.NULLS_HIGH else _NULL
        self._parts = tuple(self._part(each) for each in segments)
        self._stored = tuple(value_encoder(each.column) for each in segments)

    def encode(self, values: Sequence[bytes | None]) -> Key:
        """The key of some values.

        Arguments
        ---------
        values: for each column the bytes that a record holds, whole and decompressed; None for
            null.

        Raises EseError -346 when the key is too long and the index does not allow to cut it.
        """
        left = self.key_most_bytes
        pieces: list[bytes] = []
        nulls, truncated = 0, False
        for value, part in zip(values, self._parts, strict=True):
            if value is None:
                nulls += 1
            if truncated or not left:
                truncated = True
                continue
            piece, truncated = part(value, left)
            if len(piece) > left:
                piece, truncated = piece[:left], True
            pieces.append(piece)
            left -= len(piece)
        if truncated and self.flags & IndexFlag.NO_TRUNCATION:
            raise EseError(-346, f"a key is longer than {self.key_most_bytes} bytes")
        return Key(b"".join(pieces), nulls, values[0] is None, truncated)

    def encode_values(self, *values: Value) -> Key:
        """The key of Python values; raises what :meth:`encode` does and -1047 for what is none."""
        stored = [
            None if value is None else make(value)
            for value, make in zip(values, self._stored, strict=True)
        ]
        return self.encode(stored)

    def entries(self, values: Sequence[Sequence[bytes]]) -> Iterator[Key]:
        """The keys under which a row stands in the index: none, one, or one for each value.

        Arguments
        ---------
        values: for each column its values; none for null.

        Raises EseError -1053 for a null that the index does not allow, and what
        :meth:`encode` raises.
        """
        seen: set[bytes] = set()
        for chosen in self._chosen(values):
            key = self.encode(chosen)
            if key.nulls and not self._allowed(key):
                continue
            if key.data not in seen:
                seen.add(key.data)
                yield key

    def _allowed(self, key: Key) -> bool:
        if self.flags & IndexFlag.NO_NULL_SEGMENT:
            raise EseError(-1053, "a column of the key is null, which the index does not allow")
        if key.nulls == len(self.segments):
            return bool(self.flags & IndexFlag.ALL_NULLS)
        if key.first_null:
            return bool(self.flags & IndexFlag.FIRST_NULL)
        return bool(self.flags & IndexFlag.SOME_NULLS)

    def _chosen(self, values: Sequence[Sequence[bytes]]) -> Iterator[tuple[bytes | None, ...]]:
        """Which values go together: those of the first column that takes several, or of all."""
        several = [
            number
            for number, each in enumerate(self.segments)
            if each.column.flags & ColumnFlag.MULTI_VALUED and self.flags & IndexFlag.MULTI_VALUED
        ]
        spread: list[list[bytes | None]] = [[*each[:1]] or [None] for each in values]
        if self.flags & IndexFlag.NESTED:
            for turn in range(max([1, *(len(values[number]) for number in several)])):
                yield tuple(
                    (values[number][turn] if turn < len(values[number]) else None)
                    if number in several
                    else each[0]
                    for number, each in enumerate(spread)
                )
            return
        if not self.flags & IndexFlag.CROSS_PRODUCT:
            del several[1:]
        for number in several:
            given: list[bytes | None] = [*values[number]]
            spread[number] = given or [None]
        yield from product(*spread)

    # -- one segment -------------------------------------------------------------------

    def _part(self, segment: Segment) -> Callable[[bytes | None, int], tuple[bytes, bool]]:
        make = self._encoder(segment.column)
        null, empty = self._null, _EMPTY
        has_empty = segment.column.type not in FIXED_SIZES

        def plain(value: bytes | None, left: int) -> tuple[bytes, bool]:
            if value is None:
                return null, False
            if has_empty and not value:
                return empty, False
            return make(value, left)

        def inverted(value: bytes | None, left: int) -> tuple[bytes, bool]:
            piece, cut = plain(value, left)
            return piece[:left].translate(_INVERTED), cut or len(piece) > left

        return inverted if segment.descending else plain

    def _encoder(self, column: Column) -> Callable[[bytes, int], tuple[bytes, bool]]:
        kind = column.type
        if kind in TEXT_TYPES:
            if column.code_page != UNICODE:
                return self._text
            if self._unicode_key is None:
                detail = f"no order of Unicode text was chosen for column {column.name!r}"
                raise EseError(-1406, detail)
            return self._unicode
        if kind in (ColumnType.BINARY, ColumnType.LONG_BINARY):
            return self._fixed_binary if column.identifier < FIRST_VARIABLE else self._binary
        if kind == ColumnType.GUID:
            return _new_guid if self.flags & IndexFlag.DOT_NET_GUID else _old_guid
        try:
            return _fixed(ColumnType(kind))
        except (KeyError, ValueError):
            raise EseError(-1511, f"column {column.name!r} has a type no key can hold") from None

    def _text(self, value: bytes, left: int) -> tuple[bytes, bool]:
        """Letters a to z in upper case, up to the first zero, and a zero behind it."""
        room = min(left, self._segment_most) - 1
        if self.key_most_bytes == OLD_KEY_MOST:
            value = value[:OLD_KEY_MOST]
        if room > len(value):
            return _DATA + value.split(b"\0", 1)[0].translate(_UPPER) + b"\0", False
        if room <= 0:
            return _DATA, False
        kept = value[: room - 1].split(b"\0", 1)[0]
        if len(kept) < room - 1 or not value[room - 1]:
            return _DATA + kept.translate(_UPPER) + b"\0", False
        # The engine takes 32 from the last byte that has room, whatever it is.
        last = bytes(((value[room - 1] - 32) & 0xFF,))
        return _DATA + kept.translate(_UPPER) + last, self._is_cut(room)

    def _unicode(self, value: bytes, left: int) -> tuple[bytes, bool]:
        assert self._unicode_key is not None
        room = min(left, self._segment_most) - 1
        whole = self._unicode_key(value[: len(value) // 2 * 2], room)
        if len(whole) <= room:
            return _DATA + whole, False
        return _DATA + whole[:room], self._is_cut(room)

    def _is_cut(self, room: int) -> bool:
        """Text that is only longer than its segment may be is whole as far as the key goes."""
        return self._segment_most > self.key_most_bytes or room < self._segment_most - 1

    def _fixed_binary(self, value: bytes, left: int) -> tuple[bytes, bool]:
        piece = _DATA + value
        if self._segment_most < self.key_most_bytes:
            piece = piece[: self._segment_most]
        return piece[:left], len(piece) > left

    def _binary(self, value: bytes, left: int) -> tuple[bytes, bool]:
        """Chunks of eight bytes, filled up with zeros, each with its length; 9 when more follow."""
        most = min(left, self._segment_most)
        chunks = -(-len(value) // _CHUNK)
        size = 1 + chunks * (_CHUNK + 1)
        pieces = [_DATA]
        for at in range(0, min(len(value), most), _CHUNK):
            chunk = value[at : at + _CHUNK]
            length = len(chunk) if at + _CHUNK >= len(value) else _CHUNK + 1
            pieces += (chunk.ljust(_CHUNK, b"\0"), bytes((length,)))
        if size <= most:
            return b"".join(pieces), False
        piece = b"".join(pieces)[:most]
        cut = min(size, self._segment_most) if self._segment_most < self.key_most_bytes else size
        return piece, cut > left


def _fixed(kind: ColumnType) -> Callable[[bytes, int], tuple[bytes, bool]]:
    """Numbers: big-endian; signed ones with the sign turned, floats so that negatives sort."""
    if kind == ColumnType.BIT:
        return lambda value, _: (b"\x7f\x00" if value == b"\0" else b"\x7f\xff", False)
    size = FIXED_SIZES[kind]
    whole = (1 << 8 * size) - 1
    top = 1 << 8 * size - 1
    if kind in _FLOATS:

        def number(word: int) -> int:
            return word ^ whole if word & top else word ^ top

    elif kind in _SIGNED:

        def number(word: int) -> int:
            return word ^ top

    else:

        def number(word: int) -> int:
            return word

    def encode(value: bytes, _: int) -> tuple[bytes, bool]:
        if len(value) != size:
            raise EseError(-1047, f"{len(value)} bytes for a value of {size}")
        return _DATA + number(int.from_bytes(value, "little")).to_bytes(size, "big"), False

    return encode


_FLOATS: Final = (ColumnType.SINGLE, ColumnType.DOUBLE, ColumnType.DATE_TIME)
_SIGNED: Final = (ColumnType.SHORT, ColumnType.LONG, ColumnType.LONG_LONG, ColumnType.CURRENCY)
_GUID: Final = struct.Struct("<IHH8s")
_NEW_GUID: Final = struct.Struct(">cIHH8s")


def _old_guid(value: bytes, _: int) -> tuple[bytes, bool]:
    """The order of Windows: the node first, then the clock, then the time from its end."""
    return _DATA + value[10:] + value[8:10] + value[6:8] + value[4:6] + value[:4], False


def _new_guid(value: bytes, _: int) -> tuple[bytes, bool]:
    """The order of the text form (the flag 0x20000 of an index)."""
    return _NEW_GUID.pack(_DATA, *_GUID.unpack(value)), False
