"""The line rate that an RPO needs, asked again and again with inputs that are moved.

Theory
------
:mod:`.bandwidth` searches the rate of a plan from nothing, to a part in a thousand.  A tornado asks
for it twice for each input, and most of them do little: so the search begins at a guess, the plan's
own rate times what is offered more, and most inputs are done with two rates tried.  Where the guess
is wrong it goes on from there by growing steps, then halves the range, to :data:`TOLERANCE`.

What is asked is the same as there: the lag at a share of the time, outages at dates included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import numpy as np

from simulator.plan.bandwidth import offered_bytes
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import Floats
from simulator.plan.protection import Course, Protection, Queued

TOLERANCE: Final = 0.01
"""Of the rate found, as a share."""
_STEPS: Final = (1.05, 1.25, 2.0)
"""From one rate that is tried to the next; the last again and again."""
_MOST_BITS: Final = 1e13
_LEAST_BITS: Final = 1.0


@dataclass(frozen=True, eq=False)
class LineNeed:
    """What is asked, and the answer for the plan as it is.

    Attributes
    ----------
    bits_per_second: of the plan, outside of windows.
    offered_bytes: of the plan, in all.
    payload_share: of the plan's line.
    rpo_seconds: the largest lag allowed; with room for a step, where any line can
        (:func:`~simulator.plan.bandwidth.required_rates`).
    share_of_time: for which it must hold.
    outages: at dates; as for :func:`~simulator.plan.capacity.without`.
    """

    bits_per_second: float
    offered_bytes: float
    payload_share: float
    rpo_seconds: float
    share_of_time: float
    outages: Sequence[tuple[float, float]]

    @classmethod
    def of(
        cls,
        protection: Protection,
        change: ChangeCurve,
        link: PlannedLink,
        bits_per_second: float,
        rpo_seconds: float,
        share_of_time: float,
        outages: Sequence[tuple[float, float]],
    ) -> LineNeed:
        """The question whose answer for these is ``bits_per_second``."""
        return cls(
            bits_per_second,
            float(offered_bytes(protection, change).sum()),
            link.payload_share,
            rpo_seconds,
            share_of_time,
            outages,
        )

    def answer(
        self, protection: Protection, change: ChangeCurve, link: PlannedLink
    ) -> float | None:
        """The least rate, in bits per second; None where no rate keeps it.

        ``link``: its rate does not matter, but for the ratio of its windows to it.
        """
        course = _course_of(protection, change)
        offered = float(offered_bytes(protection, change).sum())
        more = offered / self.offered_bytes if self.offered_bytes > 0 else 1.0
        guess = self.bits_per_second * more * self.payload_share / link.payload_share

        @cache
        def lag_at(bits_per_second: float) -> float:
            return _lag_at(course, change, link, bits_per_second, self.share_of_time, self.outages)

        def keeps(lag_seconds: float, bits_per_second: float) -> bool:
            return lag_at(bits_per_second) <= lag_seconds

        room = max(self.rpo_seconds - change.grid.step_seconds, self.rpo_seconds / 2)
        for lag_seconds in (room, self.rpo_seconds):
            rate = least_rate(partial(keeps, lag_seconds), max(guess, _LEAST_BITS))
            if rate is not None:
                return rate
        return None


def least_rate(keeps: Callable[[float], bool], guess: float) -> float | None:
    """The least rate that keeps it, to :data:`TOLERANCE`; the guess itself where it is that.

    None where the fastest line does not.
    """
    if keeps(guess):
        good, bad = guess, guess / (1 + TOLERANCE)
        if not keeps(bad):
            return guess
        number = 0
        while keeps(bad):
            good = bad
            if good <= _LEAST_BITS:
                return good
            bad /= _STEPS[min(number, len(_STEPS) - 1)]
            number += 1
    else:
        if not keeps(_MOST_BITS):
            return None
        bad, good, number = guess, guess * _STEPS[0], 1
        while not keeps(good):
            bad, good = good, good * _STEPS[min(number, len(_STEPS) - 1)]
            number += 1
    while good > bad * (1 + TOLERANCE):
        middle = (good * bad) ** 0.5
        good, bad = (middle, bad) if keeps(middle) else (good, middle)
    return good


def _course_of(protection: Protection, change: ChangeCurve) -> Callable[[Floats], Course]:
    """What is to be sent does not change with the line: made once."""
    if isinstance(protection, Queued):
        return protection.queue(change).course
    return lambda capacity_bytes: protection.course(change, capacity_bytes)


def _lag_at(
    course: Callable[[Floats], Course],
    change: ChangeCurve,
    link: PlannedLink,
    bits_per_second: float,
    share_of_time: float,
    outages: Sequence[tuple[float, float]],
) -> float:
    capacity = link.at_rate(bits_per_second).capacity_bytes(change.grid)
    lags = course(without(capacity, change.grid, outages)).lag_seconds
    return float(np.quantile(lags, share_of_time))
