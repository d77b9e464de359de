"""A page of memory on which a process says how it is, for whoever looks.

The document is put into one of two halves in turn, so that at any moment at least one is whole;
each carries a count and a checksum.  It is memory (``Volume.shared_page``), not a file that is
written anew: it costs no disk, cannot fail on a full volume, and outlives the process::

    0, 16384  u64 count   u32 length   u64 checksum   JSON
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import xxhash

from replicator.runtime.port import Buffer, Volume
from replicator.untrusted import json_object

HALF_BYTES: Final = 16384
PAGE_BYTES: Final = 2 * HALF_BYTES
_HEAD: Final = struct.Struct("<QIQ")


class StatusPage:
    """One process's page.

    Arguments
    ---------
    volume, path: where; the page is made at its first use.
    """

    def __init__(self, volume: Volume, path: str) -> None:
        self._page = volume.shared_page(path, PAGE_BYTES)
        self._memory = self._page.memory

    def put(self, document: dict[str, Any]) -> None:
        """Say how it is now.  Raises ValueError when that is too long."""
        count = newest_document(self._memory)[0] + 1
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        body = text.encode("utf-8", "backslashreplace")  # of lone surrogates JSON's own escape
        if _HEAD.size + len(body) > HALF_BYTES:
            raise ValueError(f"a status of {len(body)} bytes does not fit")
        at = HALF_BYTES * (count % 2)
        head = _HEAD.pack(count, len(body), _checksum(count, body))
        self._memory[at : at + _HEAD.size + len(body)] = head + body

    def get(self) -> dict[str, Any] | None:
        """What was said last; None when nothing ever was, or nothing can be read."""
        return newest_document(self._memory)[1]

    def close(self) -> None:
        self._page.close()


def newest_document(memory: Buffer) -> tuple[int, dict[str, Any] | None]:
    """The count and the document of the newer whole half; 0 and None when there is none."""
    newest: tuple[int, dict[str, Any] | None] = (0, None)
    for at in (0, HALF_BYTES):
        if len(memory) < at + HALF_BYTES:
            break
        count, length, checksum = _HEAD.unpack_from(memory, at)
        start = at + _HEAD.size
        if count <= newest[0] or not 0 < length <= HALF_BYTES - _HEAD.size:
            continue
        body = bytes(memory[start : start + length])
        if _checksum(count, body) != checksum:
            continue  # being written just now
        try:
            newest = (count, json_object(body))
        except ValueError:
            continue
    return newest


def _checksum(count: int, body: bytes) -> int:
    return xxhash.xxh3_64_intdigest(body, count)
