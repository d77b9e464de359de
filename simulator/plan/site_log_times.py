"""When the logs of one set were full: a clock made from their times.

Theory
------
Generations are written one after the other, so the time at which each was full must grow with its
number.  Where it does not, either a file's time was changed (a restored or copied log), or the
clock was set back.  The longest series of logs whose times never fall is kept, which is the fewest
logs dropped.  A single wrong time is thereby bridged by its neighbours.  A clock that was set back
shows as a run of logs dropped whose own times cover a while; the logs kept within that while are
dropped too, so that both passes of the hour are spread over the hour, and no burst appears that
never was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from simulator.plan.grid import Floats
from simulator.plan.site_curve import told

_MOST_NAMED: Final = 5
_PASS_REACH: Final = 2.0
"""A clock is set back by about as much as the logs dropped cover; twice that is another cause."""


def longest_rise(times: Sequence[float]) -> list[int]:
    """Places of a longest series that never falls."""
    ends: list[float] = []
    places: list[int] = []
    before = [-1] * len(times)
    for at, time in enumerate(times):
        length = bisect_right(ends, time)
        before[at] = places[length - 1] if length else -1
        if length == len(ends):
            ends.append(time)
            places.append(at)
        else:
            ends[length] = time
            places[length] = at
    rise = []
    at = places[-1] if places else -1
    while at >= 0:
        rise.append(at)
        at = before[at]
    return rise[::-1]


def _passes_of_clock(kept: Sequence[float], after: int, earliest: float, latest: float) -> range:
    """Logs kept that tell the same while as a run of logs dropped.

    Arguments
    ---------
    kept: times of the logs kept.
    after: how many of them come before the run.
    earliest, latest: what the run covers; a run that lies far off is no pass of the clock.
    """
    reach = _PASS_REACH * (latest - earliest)
    begin, end = earliest, latest
    if after and kept[after - 1] - earliest <= reach:
        end = max(end, kept[after - 1])
    if after < len(kept) and latest - kept[after] <= reach:
        begin = min(begin, kept[after])
    first = last = after
    if after and kept[after - 1] - earliest <= reach:
        while first and kept[first - 1] > begin:
            first -= 1
    if after < len(kept) and latest - kept[after] <= reach:
        while last < len(kept) and kept[last] < end:
            last += 1
    return range(first, last)


def trusted_times(times: Sequence[float]) -> tuple[list[int], list[tuple[float, float]]]:
    """Which times fit the order, and what each run of the others covers.

    Returns the places to keep, and (earliest, latest) of each run that was dropped.
    """
    keep = longest_rise(times)
    kept_times = [times[at] for at in keep]
    runs: list[tuple[float, float]] = []
    inside: set[int] = set()
    bounds = [-1, *keep, len(times)]
    for after, (before, following) in enumerate(pairwise(bounds)):
        run = times[before + 1 : following]
        if run:
            runs.append((min(run), max(run)))
            if max(run) > min(run):
                inside.update(_passes_of_clock(kept_times, after, min(run), max(run)))
    return [at for place, at in enumerate(keep) if place not in inside], runs


def disorder_remark(set_name: str, runs: Sequence[tuple[float, float]], dropped: int) -> str:
    """What to say about logs whose times were not used."""
    places = ", ".join(told(earliest) for earliest, _ in runs[:_MOST_NAMED])
    more = "" if len(runs) <= _MOST_NAMED else f" and {len(runs) - _MOST_NAMED} more"
    return (
        f"{set_name}: the times of {dropped:,} logs contradict the order of their generations (a "
        f"clock set back, or files copied) at {places}{more}; their bytes are counted, spread "
        "between the logs beside them"
    )


def gaps_of(
    generations: Sequence[int], times: Sequence[float]
) -> list[tuple[int, int, float, float]]:
    """Missing generations: first and last of each gap, and the times of the logs around it."""
    numbers = np.asarray(generations, dtype=np.int64)
    return [
        (generations[at] + 1, generations[at + 1] - 1, times[at], times[at + 1])
        for at in np.flatnonzero(np.diff(numbers) > 1).tolist()
    ]


def cumulative_bytes(
    generations: Sequence[int], sizes: Sequence[int], log_file_bytes: int
) -> Floats:
    """Bytes up to the end of each log, missing ones counted at the usual size."""
    numbers = np.asarray(generations, dtype=np.float64)
    missing = np.diff(numbers, prepend=numbers[0] - 1) - 1
    sums: Floats = np.cumsum(np.asarray(sizes, dtype=np.float64) + missing * log_file_bytes)
    return sums
