"""The rhythm of mail: how the traffic of a week is spread over its hours.

Theory
------
Traffic is measured in *units*, a time of its own that runs fast while much mail arrives and
stands still while none does: :data:`UNITS_PER_DAY` units are the traffic of one working day.
Within an hour units run evenly, so the map from nanoseconds to units is piecewise linear, and
exact.  An inhomogeneous Poisson process is a homogeneous one in units.  So:

* what to expect in an interval is a difference of two sums, no integration;
* arrivals are drawn by inversion: a Poisson count for the interval, places drawn evenly in
  units, mapped back to integer nanoseconds; nothing is thinned out;
* an event that follows another by a random number of *units* keeps to the rhythm as well: a
  user reads in the morning what came in the night.

Leaves out: time zones and changes of the clock (a week has 168 hours of the site's own
time), holidays, and a drift over the weeks.

The default day is assumed [A]: no table of hours that a vendor published was found.  A site
measures its own, see :mod:`simulator.exchange.hourly_logs`.  That the weekend has a tenth of a
working day's traffic is [A] as well; the vendor's example counts a week of five days.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import fsum
from typing import Final

import numpy as np
from numpy.typing import NDArray

HOUR_NS: Final = 3600 * 10**9
DAY_NS: Final = 24 * HOUR_NS
WEEK_NS: Final = 7 * DAY_NS
UNITS_PER_DAY: Final = 24 << 36
"""Units of one working day; a multiple of 24 times many powers of two, to be cut into blocks."""

DEFAULT_HOURS: Final = (
    *(1, 1, 1, 1, 1, 1, 2, 4, 8, 10, 10, 9),
    *(7, 8, 9, 8, 7, 4, 2, 2, 1, 1, 1, 1),
)
"""Percent of the day's traffic in each hour [A]; the peak is 2.4 times the mean [D]."""

DEFAULT_DAYS: Final = (1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1)
"""Traffic of Monday to Sunday, in working days [A]."""

_ARRIVALS_AT_ONCE: Final = 65_536

Times = NDArray[np.int64]


@dataclass(frozen=True)
class WeekCurve:
    """A week of hourly traffic; time 0 is Monday, midnight.

    Arguments
    ---------
    hours: weights of the 24 hours, in any unit.
    days: traffic of Monday to Sunday, in working days.
    """

    hours: tuple[float, ...] = DEFAULT_HOURS
    days: tuple[float, ...] = DEFAULT_DAYS

    def __post_init__(self) -> None:
        for what, weights, count in (("hours", self.hours, 24), ("days", self.days, 7)):
            if len(weights) != count:
                raise ValueError(f"{what} must have {count} weights, not {len(weights)}")
            if not all(0 <= weight <= 1e12 for weight in weights):
                raise ValueError(f"no weight of {what} may be negative, above 1e12 or no number")
        if sum(self.hours) <= 0 or sum(self.days) < 0.001:
            raise ValueError("some hour and some day must have traffic")
        if max(self.days) > 1_000:
            raise ValueError("a day has at most a thousand times the traffic of a working day")

    # -- the map between time and units ----------------------------------------------------

    @cached_property
    def _begins(self) -> list[int]:
        """Units before each hour of the week, and after the last one."""
        share = [weight / fsum(self.hours) for weight in self.hours]
        before = [0.0, *accumulate(share)][:24]
        day_before = [0.0, *accumulate(self.days)]
        begins = [
            round(UNITS_PER_DAY * (day_before[day] + self.days[day] * before[hour]))
            for day in range(7)
            for hour in range(24)
        ]
        return [*begins, round(UNITS_PER_DAY * day_before[7])]

    @cached_property
    def _tables(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        begins = np.array(self._begins, dtype=np.int64)
        return begins, np.diff(begins).astype(np.float64)

    @property
    def units_per_week(self) -> int:
        return self._begins[-1]

    def units_at(self, time_ns: int) -> int:
        """Units from time 0 to ``time_ns`` (not negative), rounded down."""
        week, rest_ns = divmod(time_ns, WEEK_NS)
        hour, within_ns = divmod(rest_ns, HOUR_NS)
        begin, end = self._begins[hour], self._begins[hour + 1]
        return week * self.units_per_week + begin + (end - begin) * within_ns // HOUR_NS

    def times_ns(self, units: NDArray[np.int64]) -> Times:
        """When so many units have passed; the inverse of :meth:`units_at`, rounded down.

        At the end of a time without traffic it gives that end.
        """
        begins, lengths = self._tables
        week, rest = np.divmod(units, self.units_per_week)
        hour = np.searchsorted(begins, rest, side="right") - 1
        within_ns = np.floor((rest - begins[hour]) / lengths[hour] * HOUR_NS).astype(np.int64)
        times: Times = week * WEEK_NS + hour * HOUR_NS + np.minimum(within_ns, HOUR_NS - 1)
        return times

    def time_ns(self, units: int) -> int:
        """:meth:`times_ns` of one number."""
        return int(self.times_ns(np.array([units], dtype=np.int64))[0])

    # -- questions -------------------------------------------------------------------------

    @property
    def peak_to_mean(self) -> float:
        """Traffic of the busiest hour to that of the mean hour of the same day."""
        return 24 * max(self.hours) / fsum(self.hours)

    def expected(self, per_day: float, from_ns: int, until_ns: int) -> float:
        """Arrivals to expect in an interval, of ``per_day`` on a working day."""
        return per_day * (self.units_at(until_ns) - self.units_at(from_ns)) / UNITS_PER_DAY

    def arrivals(
        self, per_day: float, from_ns: int, until_ns: int, random: np.random.Generator
    ) -> Iterator[Times]:
        """A Poisson process with this rhythm, as sorted arrays of nanoseconds.

        Arguments
        ---------
        per_day: mean arrivals of a working day.
        random: draws; the same state gives the same arrivals.

        No array is expected to hold more than some 65 000 times, however long the interval is.
        """
        begin, end = self.units_at(from_ns), self.units_at(until_ns)
        step = max(1, int(_ARRIVALS_AT_ONCE / max(per_day, 1e-9) * UNITS_PER_DAY))
        while begin < end:
            until = min(end, begin + step)
            count = int(random.poisson(per_day * (until - begin) / UNITS_PER_DAY))
            places = np.sort(random.integers(begin, until, count, dtype=np.int64))
            yield np.clip(self.times_ns(places), from_ns, until_ns - 1)
            begin = until


def week_of(hours: Sequence[float], weekend_share: float = 0.1) -> WeekCurve:
    """A week whose days all have these hours, with less traffic on Saturday and Sunday."""
    return WeekCurve(tuple(hours), (1.0,) * 5 + (weekend_share,) * 2)
