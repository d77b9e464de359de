"""The lag that each line rate gives, and the least rate that keeps it small enough.

Theory
------
The lag of a queue never grows with the service, so the least rate is found by bracketing and
halving.  (A protection that takes snapshots may do a little better on a slower line, because a
late run takes a later snapshot: then the rate found is one at which the objective holds, and below
which it just did not.)  A link keeps its shape meanwhile: the rates of its windows stay in
proportion, or others take as much of it as before, and what bounds its TCP streams stays as it is.

A rate costs a walk over all steps of a plan.  So the search begins at a guess, of which many are
right to the tolerance and done with two rates, goes on by growing steps, and takes what was tried
for another question into account; and nothing is tried twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import numpy as np

from simulator.plan.capacity import PlannedLink, without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import Floats
from simulator.plan.protection import Course, Protection, Queued

LEAST_BITS: Final = 1.0
MOST_BITS: Final = 1e13
"""More than any line: where streams are bounded, all of them are."""
_STEPS: Final = (1.05, 1.25, 2.0)
"""From one rate that is tried to the next; the last again and again."""


def silent(_what: str) -> None:
    """Tell nobody."""


class LagByRate:
    """Lags at shares of the time by line rate, outages at dates included; each rate is walked
    once.

    Arguments
    ---------
    link: its rate does not matter, but for the ratio of windows with a rate of their own to it.
    shares_of_time: of the steps.
    outages: at dates, during which no line carries anything; as for
        :func:`~simulator.plan.capacity.without`.
    tell: called with a few words before each rate that is tried.
    """

    def __init__(
        self,
        protection: Protection,
        change: ChangeCurve,
        link: PlannedLink,
        shares_of_time: Sequence[float],
        outages: Sequence[tuple[float, float]],
        tell: Callable[[str], None] = silent,
    ) -> None:
        self._change, self._link, self._tell = change, link, tell
        self._shares, self._outages = tuple(shares_of_time), tuple(outages)
        self._known: dict[float, dict[float, float]] = {}
        self._course: Callable[[Floats], Course]
        if isinstance(protection, Queued):
            self._course = protection.queue(change).course  # what is to be sent does not change
        else:
            self._course = partial(protection.course, change)

    def of(self, capacity_bytes: Floats) -> dict[float, float]:
        """Lags in seconds by share of the time, of a line that carries this much in each step."""
        course = self._course(without(capacity_bytes, self._change.grid, self._outages))
        lags = np.quantile(course.lag_seconds, self._shares)
        return dict(zip(self._shares, lags.tolist(), strict=True))

    def at(self, bits_per_second: float) -> dict[float, float]:
        """The same of a line rate."""
        if bits_per_second not in self._known:
            self._tell(f"{len(self._known) + 1} rates tried")
            link = self._link.at_rate(bits_per_second)
            self._known[bits_per_second] = self.of(link.capacity_bytes(self._change.grid))
        return self._known[bits_per_second]

    def least_rate(
        self, share_of_time: float, lag_seconds: float, guess: float, tolerance: float
    ) -> float | None:
        """The least rate that keeps the lag within so many seconds for a share of the time.

        None where even the fastest line does not.
        """

        def keeps(bits_per_second: float) -> bool:
            return self.at(bits_per_second)[share_of_time] <= lag_seconds

        return least_rate(keeps, guess, tolerance, tuple(self._known))


def least_rate(
    keeps: Callable[[float], bool], guess: float, tolerance: float, tried: Iterable[float] = ()
) -> float | None:
    """The least rate that keeps it, in bits per second; a guess that is right is the answer.

    Arguments
    ---------
    keeps: whether a rate does; a faster one does too.
    tolerance: of the rate found, as a share.
    tried: rates for which ``keeps`` costs nothing.

    None where the fastest line does not.
    """
    known = {rate: keeps(rate) for rate in tried}
    good = min((rate for rate, kept in known.items() if kept), default=None)
    bad = max((rate for rate, kept in known.items() if not kept), default=None)
    if good is None or bad is None or bad >= good:
        begin = max(LEAST_BITS, min(guess, good or guess, MOST_BITS))
        good, bad = _bracketed(keeps, begin, tolerance)
    if good is None:
        return None
    while good > bad * (1 + tolerance):
        middle = (good * bad) ** 0.5
        good, bad = (middle, bad) if keeps(middle) else (good, middle)
    return good


def _bracketed(
    keeps: Callable[[float], bool], guess: float, tolerance: float
) -> tuple[float | None, float]:
    """A rate that keeps it, None where none does, and a slower one that does not."""
    good, bad, number = guess, guess / (1 + tolerance), 0
    if keeps(good):
        while keeps(bad):
            if bad <= LEAST_BITS:
                return bad, bad
            good = bad
            bad /= _step(number)
            number += 1
        return good, bad
    if not keeps(MOST_BITS):
        return None, guess
    bad, good = guess, guess * _STEPS[0]
    while not keeps(good):
        number += 1
        bad, good = good, good * _step(number)
    return good, bad


def _step(number: int) -> float:
    return _STEPS[min(number, len(_STEPS) - 1)]
