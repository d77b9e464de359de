"""Long values: what is too long for its record, in chunks in a tree beside the table.

E src/ese/lv.cxx; L; V.  The key of a long value is its identifier, big-endian, 4 or 8 bytes; its
node holds reference count and size.  The chunks follow under the same identifier and their
offset.  A chunk that is shorter than the space up to the next one is compressed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from replicator.ese.btree import BTree
from replicator.ese.column_compression import decompress
from replicator.ese.errors import EseError
from replicator.ese.page_source import PageSource

CORRUPTED: Final = -1526
TOO_LONG: Final = -1011
ROOT_BYTES: Final = 8
OFFSET_BYTES: Final = 4
IDENTIFIER_SIZES: Final = (4, 8)
DEFAULT_LIMIT_BYTES: Final = 256 * 1024 * 1024
"""The longest value that is put together in memory unless the caller says otherwise."""


class LongValues:
    """The long values of one table.

    Arguments
    ---------
    source: the database's pages.
    root_pgno: root of the tree.
    """

    def __init__(self, source: PageSource, root_pgno: int) -> None:
        self._source = source
        self._tree = BTree(source, root_pgno)

    def read(self, reference: bytes, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> bytes:
        """A whole long value.

        Arguments
        ---------
        reference: the identifier as the record holds it, little-endian.
        limit_bytes: more than this is refused.

        Raises EseError -1526 when chunks are missing or contradict its size, -1011 beyond the
        limit, and what walking a tree raises.
        """
        value = bytearray()
        for chunk in self.chunks(reference, limit_bytes):
            value += chunk
        return bytes(value)

    def chunks(self, reference: bytes, limit_bytes: int = 1 << 32) -> Iterator[bytes]:
        """The pieces of a long value in order, decompressed; one is held at a time."""
        if len(reference) not in IDENTIFIER_SIZES:
            raise self._error(f"an identifier of {len(reference)} bytes")
        identifier = reference[::-1]
        name = identifier.hex()
        size: int | None = None
        pending: tuple[int, bytes] | None = None
        for _, node in self._tree.entries(identifier):
            if not node.key.startswith(identifier):
                break
            if node.key == identifier:
                if len(node.data) < ROOT_BYTES:
                    raise self._error(f"long value {name} has no size")
                size = int.from_bytes(node.data[4:8], "little")
                if size > limit_bytes:
                    detail = f"long value {name} has {size:,} bytes, {limit_bytes:,} are allowed"
                    raise self._error(detail, TOO_LONG)
                continue
            if size is None or len(node.key) != len(identifier) + OFFSET_BYTES:
                if len(node.key) == IDENTIFIER_SIZES[1] and len(identifier) == 4:
                    break  # an identifier of the longer kind that begins alike
                raise self._error(f"long value {name} has a chunk of another shape")
            offset = int.from_bytes(node.key[-OFFSET_BYTES:], "big")
            if pending is not None:
                yield self._chunk(name, pending, offset)
            elif offset:
                raise self._error(f"long value {name} lacks its beginning")
            pending = (offset, node.data)
        if size is None:
            raise self._error(f"long value {name} does not exist")
        if pending is not None:
            yield self._chunk(name, pending, size)
        elif size:
            raise self._error(f"long value {name} of {size:,} bytes has no chunks")

    def _chunk(self, name: str, stored: tuple[int, bytes], end: int) -> bytes:
        offset, data = stored
        size = end - offset
        if size <= 0 or size > self._source.page_size:
            raise self._error(f"a chunk of long value {name} has {size:,} bytes")
        if len(data) == size:
            return data
        try:
            whole = decompress(data, self._source.page_size)
        except EseError as error:
            raise self._error(f"a chunk of long value {name}: {error.detail}") from None
        if len(whole) != size:
            detail = f"a chunk of long value {name} holds {len(whole)} bytes instead of {size}"
            raise self._error(detail)
        return whole

    def _error(self, detail: str, number: int = CORRUPTED) -> EseError:
        return EseError(number, detail, path=self._source.path, page=self._tree.root_pgno)
