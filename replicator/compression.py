"""zstd contexts that several threads may ask for at once.

A context serves one call at a time: two calls at once end the process by a segfault, and on
hosts compression runs in threads, some of which finish a call whose task was cancelled long
ago.  Making a context takes 0.4 ms (measured; 128 KiB compress in 0.07 ms), so they are
kept: whoever compresses takes one out, nobody else can have it meanwhile.
"""

from __future__ import annotations

import zstandard


class Contexts:
    """Compresses at one level, in any thread.

    Arguments
    ---------
    level: zstd level.
    """

    def __init__(self, level: int) -> None:
        self._level = level
        self._free: list[zstandard.ZstdCompressor] = []

    def compress(self, data: bytes) -> bytes:
        """One zstd frame that holds ``data`` and declares its size."""
        try:
            context = self._free.pop()  # in one piece, like append, for all threads
        except IndexError:
            context = zstandard.ZstdCompressor(level=self._level)
        packed = context.compress(data)
        self._free.append(context)
        return packed
