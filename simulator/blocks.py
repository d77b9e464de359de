"""The bytes of emulated files: sparse maps of immutable blocks, cheap to fork.

A block is an immutable ``bytes`` object of at most :data:`BLOCK_BYTES`; what it lacks at
its end, and a block that is missing, reads as zeros.  A write of a whole aligned block
stores a reference, so the payload is held once however many maps show it; before-images
for power loss are references too.  Large files cost only what was touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

BLOCK_BYTES = 8192
PAGE_BYTES = 4096
"""What the kernels that were looked at keep in their cache as one piece, and write as one."""
ZERO_BLOCK = bytes(BLOCK_BYTES)


class ForkedMap(dict[int, Any]):
    """A dict laid over another that must not change while the fork lives.

    Only ``get``, item assignment and :meth:`all_keys` see both; that is all that file
    contents and their hashes need.  A key is hidden by storing an empty value.
    """

    __slots__ = ("base",)

    def __init__(self, base: dict[int, Any]) -> None:
        super().__init__()
        self.base = base

    def get(self, key: int, default: Any = None) -> Any:
        value = dict.get(self, key)
        return self.base.get(key, default) if value is None else value

    def all_keys(self) -> Iterator[int]:
        yield from self
        for key in all_keys(self.base):
            if key not in self:
                yield key


def all_keys(blocks: dict[int, Any]) -> Iterable[int]:
    """The keys of a plain or forked map."""
    return blocks.all_keys() if isinstance(blocks, ForkedMap) else blocks


def read_range(blocks: dict[int, bytes], offset: int, length: int) -> bytes:
    """Assemble ``length`` bytes from ``offset``; what was never written is zero."""
    if length <= 0:
        return b""
    number, start = divmod(offset, BLOCK_BYTES)
    if length > BLOCK_BYTES:
        end = (offset + length - 1) // BLOCK_BYTES + 1
        if not any(map(blocks.get, range(number, end))):
            return bytes(length)  # a hole: sparse files are mostly that
    parts: list[bytes] = []
    while length > 0:
        take = min(length, BLOCK_BYTES - start)
        block = blocks.get(number)
        if not block:
            part = ZERO_BLOCK if take == BLOCK_BYTES else bytes(take)
        else:
            part = block if take == len(block) and not start else block[start : start + take]
            if len(part) < take:
                part = part + bytes(take - len(part))
        parts.append(part)
        length -= take
        number += 1
        start = 0
    return parts[0] if len(parts) == 1 else b"".join(parts)


def patch(block: bytes | None, start: int, part: bytes) -> bytes:
    """The block with ``part`` written at ``start``."""
    if not block:
        return bytes(start) + part if start else part
    end = start + len(part)
    if len(block) < start:
        block = block + bytes(start - len(block))
    if end >= len(block):
        return block[:start] + part if start else part
    return b"".join((block[:start], part, block[end:]))


def page_end(offset: int) -> int:
    """The end of the page that holds the byte before the offset."""
    return -(-offset // PAGE_BYTES) * PAGE_BYTES
