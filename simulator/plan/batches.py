"""What a queue sends together: whole changes in batches, each safe only as a whole.

Theory
------
A sender reads what is complete, up to a batch, and hands it to its connection; that takes it when
no more than a buffer waits there for the link.  Where nothing waits, each change is a batch of
its own.  Behind a slow link batches are full: a change is safe with the last one of its batch, half
a batch's time on the link later than by itself.

Leaves out: the bound of bytes under way (a window), which is far above a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.plan.fluid import EMPTY_BYTES
from simulator.plan.grid import Floats


@dataclass(frozen=True)
class Batches:
    """How they are made.

    Attributes
    ----------
    batch_bytes: most in one, unless a change is larger.
    buffer_bytes: that may wait in the connection when another batch is taken over.

    Raises ValueError for a batch without bytes and a negative buffer.
    """

    batch_bytes: float
    buffer_bytes: float = 0.0

    def __post_init__(self) -> None:
        if not (self.batch_bytes > 0 and self.buffer_bytes >= 0):
            raise ValueError("a batch has bytes, and no buffer a negative number of them")

    def ends(self, written: Floats, sent: Floats) -> Floats:
        """Cumulative bytes at the end of each batch.

        Arguments
        ---------
        written: cumulative at the ends of steps; what comes in one step is one change.
        sent: cumulative bytes that the link has carried, at the ends of steps.
        """
        changes = np.unique(written[written > 0])
        ends: list[float] = []
        end, now = 0.0, 0
        while True:
            now = max(now, int(np.searchsorted(written, end + EMPTY_BYTES)))
            if now >= len(written):
                return np.array(ends)
            begin = end
            last = int(np.searchsorted(changes, begin + self.batch_bytes, side="right")) - 1
            first = int(np.searchsorted(changes, begin + EMPTY_BYTES))
            end = min(float(written[now]), float(changes[max(first, last)]))
            ends.append(end)
            room = begin - self.buffer_bytes
            now = max(now, int(np.searchsorted(sent, room))) if room > 0 else now

    def arrived(self, written: Floats, sent: Floats) -> Floats:
        """Of what the link has carried, what lies in whole batches; arguments as :meth:`ends`."""
        ends = np.concatenate(([0.0], self.ends(written, sent)))
        whole: Floats = ends[np.searchsorted(ends, sent + EMPTY_BYTES / 2, side="right") - 1]
        return whole


__all__ = ["Batches"]
