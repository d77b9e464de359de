"""Outages of the link, thousands at once: what each does to a protection that sends in order.

Theory
------
While the link is down from step s to step e, what waits grows by all that becomes ready.  From e on
the queue falls along the path of arrivals less service until it is empty; from there on it is as
if there had been no outage.  So for each outage

* the peak is what waits at e, plus the highest rise of that path until it is empty again;
* the time to catch up is where the path has fallen by what waited at e;
* a spool of a given size is full where the queue first exceeds it;
* the lag is the horizontal distance, largest somewhere between s and the catch-up, because what was
  written in a busy hour may be sent in a slow one.

Begin and length count in whole steps, rounded.  An outage that is not caught up within the grid is
marked, and no time is made up for it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.plan.fluid import EMPTY_BYTES, PathTree, backlog, cumulative, lag_seconds
from simulator.plan.grid import Floats, Indices
from simulator.plan.protection import Queue

_STEPS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, eq=False)
class OutageEffects:
    """What outages do; all arrays have an element for each outage.

    Attributes
    ----------
    begin_seconds, length_seconds: of each outage, from the begin of the grid, whole steps.
    spool_peak_bytes: the most that waits, from its begin until it is caught up.
    lag_at_return_seconds: age of the oldest that waits when the link is back.
    lag_peak_seconds: the largest lag until it is caught up.
    catch_up_seconds: from the return of the link until nothing waits; NaN when that is not within
        the grid.
    caught_up: whether it is.
    """

    begin_seconds: Floats
    length_seconds: Floats
    spool_peak_bytes: Floats
    lag_at_return_seconds: Floats
    lag_peak_seconds: Floats
    catch_up_seconds: Floats
    caught_up: NDArray[np.bool_]

    def frame(self) -> pd.DataFrame:
        """A row for each outage, with these columns."""
        return pd.DataFrame({each.name: getattr(self, each.name) for each in fields(self)})


class OutageModel:
    """Answers for one queue on one link.

    Arguments
    ---------
    queue: what is to be sent.
    capacity_bytes: what the link carries in each step when it is up.
    """

    def __init__(self, queue: Queue, capacity_bytes: Floats) -> None:
        self.queue = queue
        self.grid = queue.grid
        self._ready = queue.ready
        service = queue.service(capacity_bytes)
        self._served = cumulative(service)
        self._waiting = np.concatenate(([0.0], backlog(np.diff(queue.ready), service)))
        """At the begin of each step, without an outage."""

    @cached_property
    def _path(self) -> PathTree:
        """Arrivals less service, cumulative."""
        return PathTree(self._ready - self._served)

    @cached_property
    def _arrivals(self) -> PathTree:
        return PathTree(self._ready)

    def _steps(self, seconds: Floats | float) -> Indices:
        return np.rint(np.asarray(seconds, dtype=np.float64) / self.grid.step_seconds).astype(
            np.int64
        )

    def effects(self, begin_seconds: Floats, length_seconds: Floats) -> OutageEffects:
        """What each of these outages does.

        Raises ValueError for one that begins before the grid or ends after it.
        """
        begin, length = np.broadcast_arrays(self._steps(begin_seconds), self._steps(length_seconds))
        end = begin + length
        if len(begin) and (begin.min() < 0 or length.min() < 0 or end.max() > self.grid.steps):
            raise ValueError("an outage must lie within the grid")
        held = self._waiting[begin] + self._ready[end] - self._ready[begin]
        path = self._ready - self._served
        target = path[end] - held + EMPTY_BYTES
        back = self._path.first_at_most(end, target)
        caught_up = back <= self.grid.steps
        until = np.minimum(back, self.grid.steps)
        peak = held + np.maximum(self._path.highest(end, until + 1) - path[end], 0.0)
        step = self.grid.step_seconds
        at_return, largest = self._lags(begin, end, until)
        catch_up = np.where(caught_up, (until - end) * step, np.nan)
        return OutageEffects(
            begin * step, length * step, peak, at_return, largest, catch_up, caught_up
        )

    def _lags(self, begin: Indices, end: Indices, until: Indices) -> tuple[Floats, Floats]:
        queue, step = self.queue, self.grid.step_seconds
        left = self._ready[begin] - self._waiting[begin]  # had been sent when the link went down
        at_return = lag_seconds(queue.written, queue.arrived_whole(left), step, end)
        largest = at_return.copy()
        spans = until - end
        order = np.argsort(spans, kind="stable")
        at = 0
        while at < len(order):
            # As many outages at once as fit, of about the same length.
            longest = int(spans[order[-1]]) + 1
            count = max(1, min(len(order) - at, _STEPS_AT_ONCE // longest))
            chosen = order[at : at + count]
            width = int(spans[chosen[-1]]) + 1
            count = max(1, min(len(order) - at, _STEPS_AT_ONCE // width))
            chosen = order[at : at + count]
            width = int(spans[chosen].max()) + 1
            places = end[chosen, None] + np.arange(width)
            np.minimum(places, until[chosen, None], out=places)
            sent = left[chosen, None] + self._served[places] - self._served[end[chosen], None]
            np.minimum(sent, self._ready[places], out=sent)
            lags = lag_seconds(
                queue.written, queue.arrived_whole(sent.ravel()), step, places.ravel()
            ).reshape(places.shape)
            np.maximum.at(largest, chosen, lags.max(axis=1))
            at += count
        delayed = queue.delay_seconds
        return (
            np.where(at_return > 0, at_return + delayed, at_return),
            np.where(largest > 0, largest + delayed, largest),
        )

    def seconds_until_full(self, begin_seconds: Floats, limit_bytes: float) -> Floats:
        """How long a spool of this size lasts when the link goes down then.

        NaN where it is not full before the grid ends.
        """
        begin = self._steps(begin_seconds)
        limit = self._ready[begin] - self._waiting[begin] + limit_bytes
        full = self._arrivals.first_above(begin, limit)
        seconds: Floats = np.where(
            full <= self.grid.steps, (full - begin) * self.grid.step_seconds, np.nan
        )
        return seconds
