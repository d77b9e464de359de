"""Column compression: 7-bit text and XPRESS (plain LZ77).

The first byte of a compressed value names the scheme in its upper five bits.  7-bit: the rest
is a stream of 7-bit characters, lowest bit first, and the lower three bits of the first byte are
the number of bits used in the last byte, less one.  XPRESS: u16 size of the result, then the
stream of [MS-XCA] 2.4.  L; V on real files.  Schemes of newer engines (XPRESS9, XPRESS10, LZ4) are
told by name and not decoded: no file with one was at hand.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

from replicator.ese.errors import EseError


class Scheme(IntEnum):
    """Upper five bits of the first byte."""

    NONE = 0
    SEVEN_BIT_ASCII = 1
    SEVEN_BIT_UNICODE = 2
    XPRESS = 3
    SCRUB = 4
    XPRESS9 = 5
    XPRESS10 = 6
    LZ4 = 7


_XPRESS_DATA_AT: Final = 3
_NIBBLE_MORE: Final = 15
_BYTE_MORE: Final = 255


def decompress(data: bytes, limit_bytes: int) -> bytes:
    """The value behind a compressed one.

    Arguments
    ---------
    data: the stored bytes.
    limit_bytes: the most that may come out.

    Raises EseError -1206 for bytes that no engine writes, for more than the limit, and for a
    scheme that is not known here.
    """
    if not data:
        return b""
    scheme = data[0] >> 3
    if scheme == Scheme.SEVEN_BIT_ASCII:
        return _limited(_seven_bit(data), limit_bytes)
    if scheme == Scheme.SEVEN_BIT_UNICODE:
        text = _seven_bit(data)
        return _limited(bytes(2 * len(text)), limit_bytes) and _widened(text)
    if scheme == Scheme.XPRESS:
        return _xpress(data, limit_bytes)
    try:
        name = Scheme(scheme).name
    except ValueError:
        name = str(scheme)
    raise EseError(-1206, f"a value compressed with the scheme {name}, which is not known here")


def _limited(data: bytes, limit_bytes: int) -> bytes:
    if len(data) > limit_bytes:
        detail = f"a compressed value holds {len(data):,} bytes, {limit_bytes:,} are allowed"
        raise EseError(-1206, detail)
    return data


def _widened(text: bytes) -> bytes:
    wide = bytearray(2 * len(text))
    wide[::2] = text
    return bytes(wide)


def _seven_bit(data: bytes) -> bytes:
    if len(data) < 2:
        return b""
    bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=1), bitorder="little")
    used = 8 * (len(data) - 2) + (data[0] & 7) + 1
    characters = bits[: used - used % 7].reshape(-1, 7)
    return np.packbits(characters, axis=1, bitorder="little").tobytes()


def _xpress(data: bytes, limit_bytes: int) -> bytes:
    if len(data) < _XPRESS_DATA_AT:
        raise EseError(-1206, "a compressed value without its size")
    size = int.from_bytes(data[1:3], "little")
    if size > limit_bytes:
        detail = f"a compressed value holds {size:,} bytes, {limit_bytes:,} are allowed"
        raise EseError(-1206, detail)
    try:
        return _Xpress(data, size).run()
    except IndexError:
        raise EseError(-1206, "a compressed value ends in the middle") from None


class _Xpress:
    """Decoder of the plain LZ77 stream of [MS-XCA] 2.4."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size
        self._at = _XPRESS_DATA_AT
        self._half: int | None = None
        """Place of a byte whose upper half is still to be used."""

    def run(self) -> bytes:
        result = bytearray()
        flags, left = 0, 0
        while len(result) < self._size:
            if not left:
                flags, left = self._take(4), 32
            left -= 1
            if not flags >> left & 1:
                result.append(self._take(1))
                continue
            token = self._take(2)
            start = len(result) - (token >> 3) - 1
            if start < 0:
                raise EseError(-1206, "a compressed value refers to bytes before its beginning")
            length = min(self._length(token & 7), self._size - len(result))
            for index in range(start, start + length):
                result.append(result[index])
        return bytes(result)

    def _take(self, count: int) -> int:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise IndexError
        self._at += count
        return int.from_bytes(part, "little")

    def _length(self, short: int) -> int:
        """The length of a match: three bits, then half a byte, then a byte, two, four."""
        if short < 7:
            return short + 3
        if self._half is None:
            self._half = self._at
            more = self._take(1) & 15
        else:
            more = self._data[self._half] >> 4
            self._half = None
        if more == _NIBBLE_MORE:
            more = self._take(1)
            if more == _BYTE_MORE:
                longest = self._take(2) or self._take(4)
                if longest < 22:
                    raise EseError(-1206, "a compressed value with a length no encoder writes")
                return longest + 3
            more += 15
        return more + 7 + 3
