"""Column compression, the simple scheme: text of seven bits.  Values of other kinds stay plain.

E src/ese/compression.cxx; V: real values come out again byte for byte.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from replicator.ese.column_compression import Scheme

LONGEST_SEVEN_BIT_BYTES: Final = 1024
"""Longer values the engine gives to XPRESS, which is not written here [I]."""

_USED: Final = 7


def compress_seven_bit(value: bytes) -> bytes | None:
    """A value in seven bits a character, or None when that cannot be or saves nothing.

    Arguments
    ---------
    value: ASCII, or UTF-16-LE with nothing else in it.
    """
    if not value or len(value) > LONGEST_SEVEN_BIT_BYTES:
        return None
    scheme = Scheme.SEVEN_BIT_ASCII
    characters = value
    if len(value) % 2 == 0 and not any(value[1::2]):
        scheme, characters = Scheme.SEVEN_BIT_UNICODE, value[::2]
    if max(characters) > 0x7F:
        return None
    bits = np.unpackbits(np.frombuffer(characters, np.uint8), bitorder="little")
    used = bits.reshape(-1, 8)[:, :_USED].reshape(-1)
    packed = np.packbits(used, bitorder="little").tobytes()
    last = (len(used) - 1) % 8
    stored = bytes((scheme << 3 | last,)) + packed
    return stored if len(stored) < len(value) else None
