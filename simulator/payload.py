"""Synthetic payloads: of a given compressibility, all different, and cheap to make.

A pool of a few megabytes is made once (10 ms, as much as a short run's fifth, so the last few
are kept for the runs that follow); a payload is a stamp of eight bytes (the number of
the operation or message) and the next slice of the pool.  Slices rotate, so bytes repeat
only after the whole pool has been used: further back than a compressor looks.  The pool
mixes text that repeats with incompressible bytes in cells of 256 bytes, so that each 8 KiB
of it shrink alike.

Leaves out: contents that look like mail, and duplicates among messages.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

POOL_BYTES: Final = 4 << 20
STAMP_BYTES: Final = 8
_CELL_BYTES: Final = 256
_TEXT: Final = (
    b"Received: from gateway by mailhub with SMTP; the quarterly figures are attached. "
    b"Please let me know before Thursday whether the meeting can be moved. -- Kind regards "
)


@lru_cache(maxsize=4)
def _pool(text_bytes: int, seed: int) -> bytes:
    """The pool's bytes, so many of each cell repeating text."""
    noise_bytes = _CELL_BYTES - text_bytes
    cells = POOL_BYTES // _CELL_BYTES
    noise = hashlib.shake_128(b"payload %d" % seed).digest(cells * noise_bytes)
    text = (_TEXT * (_CELL_BYTES // len(_TEXT) + 1))[:text_bytes]
    return b"".join(text + noise[i * noise_bytes : (i + 1) * noise_bytes] for i in range(cells))


class PayloadPool:
    """Hands out payloads.

    Arguments
    ---------
    compressible_share: part of each cell that is repeating text, 0 (nothing shrinks) to 1.
    seed: names the incompressible bytes.
    """

    def __init__(self, compressible_share: float, seed: int = 0) -> None:
        if not 0.0 <= compressible_share <= 1.0:
            raise ValueError(f"a share lies between 0 and 1, not {compressible_share}")
        self._pool = _pool(round(_CELL_BYTES * compressible_share), seed)
        self._at = 0

    def take(self, stamp: int, size_bytes: int) -> bytes:
        """The next ``size_bytes`` bytes, beginning with ``stamp`` as far as it fits."""
        wanted = size_bytes - STAMP_BYTES
        if wanted <= 0:
            return stamp.to_bytes(STAMP_BYTES, "little")[: max(0, size_bytes)]
        start = self._at
        end = start + wanted
        if end <= POOL_BYTES:
            self._at = end
            return stamp.to_bytes(STAMP_BYTES, "little") + self._pool[start:end]
        return stamp.to_bytes(STAMP_BYTES, "little") + self._wrapped(start, wanted)

    def _wrapped(self, start: int, wanted: int) -> bytes:
        """A slice that runs over the end of the pool, round and round if need be."""
        parts = [self._pool[start:]]
        left = wanted - len(parts[0])
        rounds, left = divmod(left, POOL_BYTES)
        parts += [self._pool] * rounds
        parts.append(self._pool[:left])
        self._at = left
        return b"".join(parts)
