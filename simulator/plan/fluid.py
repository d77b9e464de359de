"""Fluid queues: cumulative arrivals against cumulative service, all steps at once.

Theory
------
Within a step arrivals and service run evenly.  With ``X[t]`` the arrivals up to t, less all that
could have been served, what waits is the reflection of that path at zero::

    q[t] = X[t] - min(0, min(X[u] for u <= t))

which a running minimum gives for all t together; a path that is straight within a step has its
extremes at the ends of steps, so nothing is lost between them.

The lag at t is the age of the oldest byte that has not left: with A the cumulative arrivals and
``D[t] = A[t] - q[t]`` the departures, first in first out, ``lag[t] = t - u`` where u is the last
time at which ``A[u] = D[t]``.  Both are sums of rounded numbers: a millionth of a byte that seems
to be left of what came before an idle night would make the oldest byte older by that night.  So u
is looked for where A is above D by what an empty queue may have (:data:`EMPTY_BYTES`).

Questions about single outages need no walk: when a queue that held q at step s is empty is the
first step at which X has fallen by q, and its peak is the highest X on the way.  A tree of
minima (or maxima) over the path answers both for any number of outages in some twenty rounds of
array operations (:class:`PathTree`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.plan.grid import Floats, Indices

EMPTY_BYTES: Final = 0.5
"""A queue with less than this is empty: sums of 1e13 bytes are exact to some thousandths."""


def cumulative(amounts: Floats) -> Floats:
    """Sums up to the begin of each step, and after the last: one element more, beginning with 0."""
    sums = np.empty(len(amounts) + 1)
    sums[0] = 0.0
    np.cumsum(amounts, out=sums[1:])
    return sums


def backlog(arrivals: Floats, service: Floats, initial: float = 0.0) -> Floats:
    """What waits at the end of each step.

    Arguments
    ---------
    arrivals: bytes that come in each step; shape (steps,).
    service: bytes that could leave in each step; the same shape.
    initial: bytes that wait at the begin.
    """
    path: Floats = np.subtract(arrivals, service)
    np.cumsum(path, out=path)
    path += initial
    floor = np.minimum.accumulate(path)
    np.minimum(floor, 0.0, out=floor)
    path -= floor
    return path


def lag_seconds(
    arrived: Floats, departed: Floats, step_seconds: float, steps: Indices | None = None
) -> Floats:
    """Age of the oldest byte that has not left.

    Arguments
    ---------
    arrived: cumulative bytes, shape (steps + 1,), never falling.
    departed: cumulative bytes that have left, in the order of their arrival.
    step_seconds: length of a step.
    steps: the times, as numbers of steps, at which ``departed`` is given; 1, 2, 3 ... by default.

    Returns an array of the shape of ``departed``; 0 where nothing waits.
    """
    if steps is None:
        waiting = arrived[1 : len(departed) + 1] - departed
    else:
        waiting = arrived[np.minimum(steps, len(arrived) - 1)] - departed
    # Most of the time nothing waits: only the other times are searched for.
    busy = np.flatnonzero(waiting > EMPTY_BYTES)
    at = busy + 1 if steps is None else steps[busy]
    lag = np.zeros(len(departed))
    age = (at - oldest_place(arrived, departed[busy])) * step_seconds
    lag[busy] = np.maximum(age, 0.0)
    return lag


def oldest_place(arrived: Floats, departed: Floats, empty_bytes: float | None = None) -> Floats:
    """When the oldest byte came that has not left, in steps; arguments as :func:`lag_seconds`.

    ``empty_bytes``: less than this is not looked at where it came before an idle stretch;
    :data:`EMPTY_BYTES` by default.
    """
    least = EMPTY_BYTES if empty_bytes is None else empty_bytes
    place = np.searchsorted(arrived, departed + least, side="right") - 1
    np.clip(place, 0, len(arrived) - 2, out=place)
    begin = arrived[place]
    came = arrived[place + 1] - begin
    with np.errstate(divide="ignore", invalid="ignore"):
        within = np.where(came > 0, (departed - begin) / came, 1.0)
    oldest: Floats = place + np.clip(within, 0.0, 1.0)
    return oldest


def whole_units(sums: Floats, unit_bytes: float) -> Floats:
    """Of cumulative bytes, those in units that are complete; all of them for units of 0 bytes."""
    if not unit_bytes:
        return sums
    # A unit is there when its last byte is; sums are exact to far less than a byte.
    whole: Floats = np.floor((sums + 0.25) / unit_bytes) * unit_bytes
    return whole


def delayed(sums: Floats, steps: float) -> Floats:
    """Cumulative bytes at the ends of steps, as they were so many whole steps before."""
    if not steps:
        return sums
    late = round(steps)
    before: Floats = np.concatenate((np.zeros(min(late, len(sums))), sums[: len(sums) - late]))
    return before


def group_synced(arrived: Floats, sync_steps: float) -> Floats:
    """What a journal has made durable, that syncs one time after the other all that has come.

    Arguments
    ---------
    arrived: cumulative bytes at the ends of steps; bytes that come together are synced together.
    sync_steps: how long a sync takes; what comes meanwhile waits for the next one.
    """
    lasting = round(sync_steps)
    if lasting < 1:
        return arrived
    durable, last = np.zeros(len(arrived)), len(arrived)
    begin = int(np.searchsorted(arrived, EMPTY_BYTES))
    while begin + lasting < last:
        covered = arrived[begin]
        durable[begin + lasting] = covered
        news = int(np.searchsorted(arrived, covered + EMPTY_BYTES))
        begin = max(begin + lasting, news)
    held: Floats = np.maximum.accumulate(durable)
    return held


_PADDING: Final = 3
"""Places right of the last one that a search may look at."""


class PathTree:
    """Questions about one path, for many places at once.

    Arguments
    ---------
    path: the values; shape (n,).
    """

    def __init__(self, path: Floats) -> None:
        self.size = len(path)
        leaves = 1 << max(1, (self.size - 1).bit_length())
        self._low = _levels(path, leaves, np.inf, np.minimum)
        self._high = _levels(path, leaves, -np.inf, np.maximum)

    def first_at_most(self, begin: Indices, limit: Floats) -> Indices:
        """The first place from ``begin`` on whose value is at most ``limit``; n for none."""
        return self._first(self._low, begin, limit, np.less_equal)

    def first_above(self, begin: Indices, limit: Floats) -> Indices:
        """The first place from ``begin`` on whose value is above ``limit``; n for none."""
        return self._first(self._high, begin, limit, np.greater)

    def _first(
        self, levels: list[Floats], begin: Indices, limit: Floats, meets: np.ufunc
    ) -> Indices:
        at = np.minimum(np.asarray(begin, dtype=np.int64), self.size)
        node, found_at = np.zeros_like(at), np.full(len(at), -1)
        for level, values in enumerate(levels):
            searching = found_at < 0
            here = searching & meets(values[at], limit)
            # A left child is followed by its sibling; then comes what is right of the parent.
            beside = searching & ~here & (at % 2 == 0) & meets(values[at + 1], limit)
            hit = here | beside
            node[hit], found_at[hit] = (at + beside)[hit], level
            at = np.minimum((at >> 1) + 1, (len(values) - _PADDING) // 2)
        for level in range(len(levels) - 1, 0, -1):
            inside = found_at >= level
            child = np.where(inside, node * 2, 0)
            right = ~meets(levels[level - 1][child], limit)
            node = np.where(inside, child + right, node)
        return np.where(found_at >= 0, np.minimum(node, self.size), self.size)

    def highest(self, begin: Indices, end: Indices) -> Floats:
        """The highest value of the places ``begin`` to before ``end``; -inf where there is none."""
        low = np.array(begin, dtype=np.int64)
        high = np.minimum(np.asarray(end, dtype=np.int64), self.size)
        best = np.full(len(low), -np.inf)
        for values in self._high:
            open_ = low < high
            take = open_ & (low % 2 == 1)
            best[take] = np.maximum(best[take], values[low[take]])
            low = low + take
            take = open_ & (low < high) & (high % 2 == 1)
            best[take] = np.maximum(best[take], values[high[take] - 1])
            high = high - take
            low, high = low >> 1, high >> 1
        return best


def _levels(path: Floats, leaves: int, neutral: float, join: np.ufunc) -> list[Floats]:
    """The path, its pairs joined, their pairs joined, ... up to one; padded so that the places
    right of the last one are there, and neutral."""
    values, used = np.empty(leaves + _PADDING), len(path)
    values[:used], values[used:] = path, neutral
    levels = [values]
    while leaves > 1:
        leaves, used = leaves // 2, (used + 1) // 2  # what is right of the path is not joined
        joined = np.empty(leaves + _PADDING)
        join(values[: 2 * used : 2], values[1 : 2 * used : 2], out=joined[:used])
        joined[used:] = neutral
        levels.append(joined)
        values = joined
    return levels
