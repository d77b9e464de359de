"""A node as it is stored in a page, and as it is meant: key, data, flags.

A key may share the beginning of the page's prefix; then two bytes in front of it say how much.

E src/ese/node.cxx; V.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from replicator.ese.page import NodeFlag

KEY_MASK: Final = 0x1FFF
SPLIT_BUFFER_BYTES: Final = 16
"""Begins tag 0 of the root of a space tree."""
SHORTEST_PREFIX_BYTES: Final = 3
"""Fewer bytes in common with the page's prefix are not worth the two that count them."""
VERSIONED: Final = int(NodeFlag.VERSIONED)
DELETED: Final = int(NodeFlag.DELETED)
COMPRESSED: Final = int(NodeFlag.COMPRESSED_KEY)


class EditedNode(NamedTuple):
    """One line of a page that is edited.

    Arguments
    ---------
    prefix_bytes: how much of the key is taken from the page's prefix.
    key: all of it.
    data: what stands behind the key.
    flags: bits of :class:`NodeFlag`.
    """

    prefix_bytes: int
    key: bytes
    data: bytes
    flags: int

    @property
    def is_deleted(self) -> bool:
        return bool(self.flags & DELETED)


def shared_prefix_bytes(prefix: bytes, key: bytes) -> int:
    """How much of a key a page's prefix stands for; 0 when it is not worth it."""
    if prefix[:SHORTEST_PREFIX_BYTES] != key[:SHORTEST_PREFIX_BYTES]:
        return 0
    limit = min(len(prefix), len(key))
    one, other = prefix[:limit], key[:limit]
    if one == other:
        same = limit
    else:
        differs = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
        same = limit - (differs.bit_length() + 7) // 8
    return same if same >= SHORTEST_PREFIX_BYTES else 0


def node_bytes(key: bytes, data: bytes, prefix_bytes: int) -> bytes:
    """A node as it is stored, but for the flags that large pages keep in it."""
    suffix = key[prefix_bytes:]
    if prefix_bytes:
        return struct.pack("<HH", prefix_bytes, len(suffix)) + suffix + data
    return struct.pack("<H", len(suffix)) + suffix + data
