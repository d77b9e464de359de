"""Long values: which leave their record, and the nodes that they become in their tree.

E src/ese/lv.cxx, src/ese/fldmod.cxx, src/inc/lv.hxx, src/inc/rec.hxx; V: the trees of the real
files come out again node by node, where their chunks are not compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from replicator.ese.columns import LONG_TYPES
from replicator.ese.errors import EseError
from replicator.ese.page import LARGE_HEADER_BYTES, TAG_BYTES
from replicator.ese.record_encoding import RecordEncoder, Row
from replicator.ese.records import HEADER_BYTES, Instance
from replicator.ese.value_encoding import (
    LONG_VALUE_MOST_BYTES,
    LongValueReference,
    value_encoder,
)
from replicator.ese.verification import LARGEST_SMALL_PAGE

INTRINSIC_MOST_BYTES: Final = 1023
"""Longer values leave the record unless the table says otherwise (E, cbLVIntrinsicMost)."""

SMALL_PAGE_OVERHEAD_BYTES: Final = 82
"""What a chunk leaves free of a page up to 8 KiB (E, JET_cbColumnLVPageOverhead)."""

CHUNKS_A_LARGE_PAGE: Final = 4
LARGE_CHUNK_OVERHEAD_BYTES: Final = 20
"""Key, its length, tag and prefix of a chunk.  With four chunks a page 8150 bytes come out at
32 KiB (V); for 16 KiB no file with more than one chunk was at hand [I]."""

LARGEST_IDENTIFIERS: Final = {4: 0x7FFFFEFF, 8: 0x80FFFFFEFFFFFFFF}
"""By bytes of the identifier; those of 8 have the highest bit set."""

_FIRST_IDENTIFIERS: Final = {4: 1, 8: 0x8000000080000001}
_TAGGED_OVERHEAD_BYTES: Final = 5
_SMALLEST_STEP: Final = 64


def chunk_bytes(page_size: int) -> int:
    """How much of a long value a node holds, but for the last.

    Arguments
    ---------
    page_size: bytes a page.
    """
    if page_size <= LARGEST_SMALL_PAGE:
        return page_size - SMALL_PAGE_OVERHEAD_BYTES
    room = page_size - LARGE_HEADER_BYTES - 2 * TAG_BYTES
    return room // CHUNKS_A_LARGE_PAGE - LARGE_CHUNK_OVERHEAD_BYTES


class LongValueNode(NamedTuple):
    """One node of a long-value tree."""

    key: bytes
    data: bytes


class LongValueEncoder:
    """Makes the nodes of long values.

    Arguments
    ---------
    page_size: bytes a page.
    identifier_bytes: 4, or 8 in databases whose long values have the longer kind.
    """

    def __init__(self, page_size: int, identifier_bytes: int = 4) -> None:
        self.chunk_bytes = chunk_bytes(page_size)
        self.identifier_bytes = identifier_bytes
        self.first_identifier = _FIRST_IDENTIFIERS[identifier_bytes]
        self._largest = LARGEST_IDENTIFIERS[identifier_bytes]

    def nodes(self, identifier: int, value: bytes, references: int = 1) -> Iterator[LongValueNode]:
        """The root and the chunks of a value, in the order of their keys.

        Arguments
        ---------
        identifier: of the value; the record refers to it.
        value: all of it.
        references: how many records refer to it.

        Raises EseError as :meth:`stream` does.
        """
        return self.stream(identifier, (value,), len(value), references)

    def stream(
        self, identifier: int, pieces: Iterable[bytes], size_bytes: int, references: int = 1
    ) -> Iterator[LongValueNode]:
        """The same for a value that comes in pieces; one chunk is held at a time.

        Arguments
        ---------
        identifier, references: as of :meth:`nodes`.
        pieces: its bytes, cut anywhere.
        size_bytes: how many there are: the root, which comes first, says it.

        Raises EseError -1076 for an identifier that cannot be, -1506 for a value of 2 GiB
        and more; ValueError when the pieces are not as long together as was said.
        """
        if not self.first_identifier <= identifier <= self._largest:
            raise EseError(-1076, f"{identifier:#x} as the identifier of a long value")
        if size_bytes > LONG_VALUE_MOST_BYTES:
            raise EseError(-1506, f"a long value of {size_bytes:,} bytes")
        key = identifier.to_bytes(self.identifier_bytes, "big")
        yield LongValueNode(
            key, references.to_bytes(4, "little") + size_bytes.to_bytes(4, "little")
        )
        offset = 0
        for chunk in self._chunks(pieces):
            yield LongValueNode(key + offset.to_bytes(4, "big"), chunk)
            offset += len(chunk)
        if offset != size_bytes:
            raise ValueError(f"{size_bytes:,} bytes were announced, {offset:,} came")

    def _chunks(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        size = self.chunk_bytes
        rest = b""
        for piece in pieces:
            at = size - len(rest) if rest else 0
            if rest:
                rest += piece[:at]
                if len(rest) < size:
                    continue
                yield rest
            whole = at + (len(piece) - at) // size * size
            for start in range(at, whole, size):
                yield piece[start : start + size]
            rest = piece[whole:]
        if rest:
            yield rest


class SeparatedRow(NamedTuple):
    """A record, and the long values that it refers to.

    Arguments
    ---------
    record: its bytes.
    long_values: what left it, by identifier.
    """

    record: bytes
    long_values: dict[int, bytes]


class LongValueSeparator:
    """Makes records and takes long values out of them as the engine does.

    A value longer than the table's limit leaves the record.  While the record is too long then,
    the limit is halved from the page's size on, and all that is longer leaves; at last only what
    is no longer than an identifier stays.  The engine sets one column after the other; for the
    whole row at once the outcome may differ where a record is almost full [I].

    Arguments
    ---------
    records: makes the records.
    intrinsic_most_bytes: the table's limit; 0 for the engine's.
    identifier_bytes: as of :class:`LongValueEncoder`.
    """

    def __init__(
        self, records: RecordEncoder, intrinsic_most_bytes: int = 0, identifier_bytes: int = 4
    ) -> None:
        self._records = records
        self._identifier_bytes = identifier_bytes
        largest = records.most_bytes - HEADER_BYTES - _TAGGED_OVERHEAD_BYTES
        limit = intrinsic_most_bytes or INTRINSIC_MOST_BYTES
        self.intrinsic_most_bytes = max(identifier_bytes, min(limit, largest))
        self._long = tuple(
            (place, value_encoder(column))
            for place, column in enumerate(records.columns)
            if column.type in LONG_TYPES
        )

    def encode(self, row: Row, new_identifier: Callable[[], int]) -> SeparatedRow:
        """The record of a row.

        Arguments
        ---------
        row: as :class:`RecordEncoder` takes it.
        new_identifier: gives an identifier that no long value of the table has.

        Raises what :meth:`RecordEncoder.encode` does.
        """
        values = self._records.in_order(row)
        out: dict[int, bytes] = {}
        threshold = self._records.page_size
        limit = self.intrinsic_most_bytes
        while True:
            self._take_out(values, limit, new_identifier, out)
            try:
                return SeparatedRow(self._records.encode(values), out)
            except EseError as error:
                if error.number != -1026 or threshold <= self._identifier_bytes:
                    raise
            threshold //= 2
            if threshold < self._records.page_size // _SMALLEST_STEP:
                threshold = self._identifier_bytes
            limit = min(limit, threshold)

    def _take_out(
        self,
        values: list[Any],
        limit: int,
        new_identifier: Callable[[], int],
        out: dict[int, bytes],
    ) -> None:
        def moved(value: Any, encode: Callable[[Any], bytes]) -> Any:
            if not isinstance(value, (str, bytes)):
                return value
            data = encode(value)
            if len(data) <= limit:
                return data
            identifier = new_identifier()
            out[identifier] = data
            return LongValueReference(identifier, self._identifier_bytes)

        for place, encode in self._long:
            value = values[place]
            if isinstance(value, (str, bytes)):
                values[place] = moved(value, encode)
            elif isinstance(value, (tuple, list)) and not isinstance(
                value, (Instance, LongValueReference)
            ):
                values[place] = tuple(moved(each, encode) for each in value)
