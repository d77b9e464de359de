"""What a spool still holds although the copy has it: until the copy's next checkpoint.

Theory
------
What is durable at the copy lies in its journal, which a damaged disk may lose; so the source frees
its spool only when a checkpoint of the copy includes it.  A checkpoint is due when so many bytes
came since the last one, or so much time has passed: it is taken with the next change that becomes
durable then, or at the tick of a clock of that interval when nothing comes.  The clock ticks from
the begin on; the first interval begins with the copy's first image, which is a checkpoint, too.
So what is retained is a saw-tooth between nothing and rate * interval; an outage freezes it where
it stands, since no word of a checkpoint comes back.

Leaves out: the time that a checkpoint takes, checkpoints at changes of names (log roll: more of
them, so less is retained), and that a spool which is half full is freed at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.plan.fluid import EMPTY_BYTES
from simulator.plan.grid import Floats

_ROUNDING: float = 1e-9


@dataclass(frozen=True)
class Checkpoints:
    """When they are taken.

    Attributes
    ----------
    interval_seconds: after the last one; 0 for never by time.
    amount_bytes: of changes since the last one; 0 for never by amount.
    begins_seconds: when the first image was noted, from the begin of the grid.

    Raises ValueError for negative figures, and where both are 0.
    """

    interval_seconds: float = 0.0
    amount_bytes: float = 0.0
    begins_seconds: float = 0.0

    def __post_init__(self) -> None:
        if min(self.interval_seconds, self.amount_bytes, self.begins_seconds) < 0:
            raise ValueError("no interval, amount or begin of checkpoints may be negative")
        if not (self.interval_seconds or self.amount_bytes):
            raise ValueError("checkpoints need an interval or an amount")

    def released(self, durable: Floats, step_seconds: float, down: NDArray[np.bool_]) -> Floats:
        """Cumulative bytes that the source may forget, at the end of each step.

        Arguments
        ---------
        durable: cumulative bytes that the copy has, at the ends of steps; never falling.
        step_seconds: length of a step.
        down: in which steps nothing comes back from the copy.
        """
        told = np.zeros(len(durable))
        included, taken, place = 0.0, self.begins_seconds, 0
        while (place := self._next(durable, step_seconds, included, taken, place)) < len(durable):
            included, taken = float(durable[place]), (place + 1) * step_seconds
            told[place] = included
        told = np.where(down, 0.0, np.maximum.accumulate(told))
        return np.maximum.accumulate(told)

    def _next(
        self, durable: Floats, step_seconds: float, included: float, taken: float, after: int
    ) -> int:
        """The step of the next checkpoint, the last one having been taken at ``taken``."""
        places = [len(durable)]
        if self.amount_bytes:
            wanted = included + self.amount_bytes
            places.append(int(np.searchsorted(durable, wanted - EMPTY_BYTES)))
        if self.interval_seconds:
            # Step n ends at (n + 1) steps.
            due = max(after + 1, round((taken + self.interval_seconds) / step_seconds) - 1)
            if due < len(durable):
                news = int(np.searchsorted(durable, durable[due - 1] + EMPTY_BYTES))
                if durable[due - 1] > included + EMPTY_BYTES:
                    news = min(news, self._tick(due, step_seconds))
                places.append(max(news, due))
        return max(min(places), after + 1)

    def _tick(self, due: int, step_seconds: float) -> int:
        """The first step from then on at which the clock of the interval ticks."""
        ticks = np.ceil((due + 1) * step_seconds / self.interval_seconds - _ROUNDING)
        return round(float(ticks) * self.interval_seconds / step_seconds) - 1


__all__ = ["Checkpoints"]
