"""How much room the segments of a log take: arithmetic alone.

A segment is reserved whole when it is made, and all of them together stay below a limit.  So
who asks whether records *will* find room has to count segments, not bytes.  A segment has

    header | names (the preamble) | records ... | tail

of which the tail is kept for the records that must always find room.  Most segments have the
same size.  One is made larger when its first record, or the names, would leave less than half
of it for records: names that fill a segment would else come along with each record once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from replicator.records import HEADER_BYTES

TAIL_RESERVE_BYTES: Final = 256
"""Kept free at the end of each segment for the records that must always find room there."""


class LogRoom:
    """What segments take.

    Arguments
    ---------
    segment_bytes: size of a segment that has nothing large in it.
    limit_bytes: of all segments together.
    header_bytes: the most that the header of a segment says, beside its fixed part.
    preamble: returns what each new segment begins with; None for nothing.
    """

    def __init__(
        self,
        segment_bytes: int,
        limit_bytes: int,
        header_bytes: int,
        preamble: Callable[[], bytes] | None = None,
    ) -> None:
        if limit_bytes < 2 * segment_bytes:
            raise ValueError("the limit must hold at least two segments")
        self.segment_bytes = segment_bytes
        self.limit_bytes = limit_bytes
        self._header_bytes = header_bytes
        self._preamble = preamble

    def preamble(self) -> bytes:
        """What a segment that is made now begins with."""
        return self._preamble() if self._preamble is not None else b""

    def reserve_bytes(self, size: int, preamble: bytes | None = None) -> int:
        """Size of a new segment whose first record has ``size`` bytes."""
        records = max(size, self.segment_bytes // 2)
        return max(self.segment_bytes, records + self._overhead_bytes(preamble))

    def _overhead_bytes(self, preamble: bytes | None = None) -> int:
        """What a segment needs beside its records."""
        if preamble is None:
            preamble = self.preamble()
        return 2 * HEADER_BYTES + self._header_bytes + len(preamble) + TAIL_RESERVE_BYTES

    def can_ever_hold(self, size: int, count: int = 1) -> bool:
        """Whether ``count`` records of ``size`` bytes find room once everything else is freed.

        The last segment is never freed, so one more of its kind must fit.
        """
        return self.reserve_bytes(size) + self.needed_bytes([size] * count) <= self.limit_bytes

    def needed_bytes(self, sizes: Sequence[int]) -> int:
        """Space of new segments that surely holds these records, in whatever order they come.

        Each large one may close a segment that is hardly used and open one of its own.  Of the
        small ones a segment is closed only when the next one does not fit: what is left of it
        then is less than the largest of them.
        """
        if len(sizes) == 1:
            return self.reserve_bytes(sizes[0])
        segment, overhead = self.reserve_bytes(0), self._overhead_bytes()
        large = [size for size in sizes if 2 * (size + overhead) > segment]
        small = [size for size in sizes if 2 * (size + overhead) <= segment]
        needed = sum(segment + max(segment, size + overhead) for size in large)
        filled = max(1, segment - overhead - max(small, default=0))
        return needed + segment * (1 + sum(small) // filled)
