"""The keys of an index, made from what the catalog says of it.

E src/inc/idb.hxx, src/inc/daedef.hxx; V.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag

from replicator.ese.columns import Column
from replicator.ese.keys import OLD_KEY_MOST, KeyEncoder, Segment, UnicodeKey


class SegmentFlag(IntFlag):
    """Bits of one column of a key in the catalog's KeyFldIDs."""

    MUST_BE_NULL = 0x20
    DESCENDING = 0x40
    TEMPLATE_COLUMN = 0x80


@dataclass(frozen=True, slots=True)
class IndexKeys:
    """The part of an index that its keys depend on, as the catalog says it.

    Arguments
    ---------
    key_columns: the bytes of KeyFldIDs.
    flags: bits of :class:`IndexFlag`.
    conditions: the bytes of ConditionalColumns.
    key_most_bytes: KeyMost, 255 where it says none.
    segment_most_bytes: VarSegMac, 0 where it says none.
    """

    key_columns: bytes
    flags: int
    conditions: bytes = b""
    key_most_bytes: int = OLD_KEY_MOST
    segment_most_bytes: int = 0

    def encoder(
        self, columns: Mapping[int, Column], unicode_key: UnicodeKey | None = None
    ) -> KeyEncoder:
        """The encoder of its keys; raises what :class:`KeyEncoder` does."""
        segments = [
            Segment(columns[number], bool(flags & SegmentFlag.DESCENDING))
            for flags, number in _segments(self.key_columns)
        ]
        return KeyEncoder(
            segments,
            flags=self.flags,
            key_most_bytes=self.key_most_bytes,
            segment_most_bytes=self.segment_most_bytes,
            unicode_key=unicode_key,
        )

    def segments(self) -> tuple[tuple[int, int], ...]:
        """Flags and column of each part of the key, in its order."""
        return tuple(_segments(self.key_columns))

    def column_numbers(self) -> tuple[int, ...]:
        """The columns of the key, in its order."""
        return tuple(number for _, number in _segments(self.key_columns))

    def holds(self, is_null: Callable[[int], bool]) -> bool:
        """Whether its conditions let a row in; the argument says of a column if it is null."""
        return all(
            is_null(number) == bool(flags & SegmentFlag.MUST_BE_NULL)
            for flags, number in _segments(self.conditions)
        )


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    return struct.iter_unpack("<HH", data[: len(data) // 4 * 4])


def encode_segments(segments: Iterable[tuple[int, int]]) -> bytes:
    """The bytes of KeyFldIDs or ConditionalColumns: flags and column of each segment."""
    return b"".join(struct.pack("<HH", flags, number) for flags, number in segments)
