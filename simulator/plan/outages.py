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

A site that writes k times as much, over a link that carries f times as much, is the same queue
with service f / k, its bytes k times as many and its times the same: so each outage may have a
load of its own, exactly.  (What is sent in whole files then has files k times as large.)

Begin and length count in whole steps: the nearest begin, and no step of an outage left out.  An
outage that is not caught up within the grid is marked, and no time is made up for it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.plan.answers import finite_frame
from simulator.plan.bounded_search import first_at_most, largest
from simulator.plan.extremes import Extremes
from simulator.plan.fluid import (
    EMPTY_BYTES,
    PathTree,
    backlog,
    cumulative,
    lag_seconds,
    oldest_place,
)
from simulator.plan.grid import Floats, Indices, TimeGrid, whole_steps_of
from simulator.plan.protection import Queue

_ROUNDING_BYTES: Final = 0.25
_ROUNDING_STEPS: Final = 1e-6
"""Less than this is no difference: else curves that are even are searched through for it."""


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
        """A row for each outage, with these columns; None for never."""
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return finite_frame(pd.DataFrame(columns))


def steps_of(
    grid: TimeGrid, begin_seconds: Floats | float, length_seconds: Floats | float
) -> tuple[Indices, Indices]:
    """Begins and ends of outages, in whole steps: begins are rounded, lengths upwards.

    Raises ValueError for one that begins before the grid or ends after it.
    """
    begins, lengths = np.broadcast_arrays(*np.atleast_1d(begin_seconds, length_seconds))
    begin = np.rint(begins / grid.step_seconds).astype(np.int64)
    length = whole_steps_of(lengths, grid.step_seconds)
    end = begin + length
    if len(begin) and (begin.min() < 0 or length.min() < 0 or end.max() > grid.steps):
        raise ValueError("an outage must lie within the grid")
    return begin, end


def factors(
    count: int, load: Floats | float | None, service: Floats | float | None
) -> tuple[Floats, Floats]:
    """Of each outage: times as much is written, and times as much service for the queue as it is.

    Raises ValueError for a load or service that is no positive number.
    """
    times, faster = (
        np.broadcast_to(1.0 if each is None else each, (count,)).astype(np.float64)
        for each in (load, service)
    )
    for each in (times, faster):
        if not ((each > 0) & np.isfinite(each)).all():
            raise ValueError("load and service must be positive numbers")
    return times, faster / times


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

    @property
    def served(self) -> Floats:
        """What the link could have taken of the queue, cumulative, without outages."""
        return self._served

    def start_gauges(
        self, length_steps: int, count: int, with_lag: bool = False
    ) -> tuple[Floats, ...]:
        """How bad each begin is (:mod:`.outage_starts`): what waits when the link is back, what it
        could have carried till then beyond what had been sent, and how many steps the
        oldest came before the begin."""
        end = slice(length_steps, length_steps + count)
        sent = self._ready[:count] - self._waiting[:count]
        gauges = self._ready[end] - sent, self._served[end] - sent
        if not with_lag:
            return gauges
        oldest = oldest_place(self.queue.written, self.queue.arrived_whole(sent))
        return *gauges, np.arange(count) - oldest

    @cached_property
    def _path(self) -> PathTree:
        """Arrivals less service, cumulative."""
        return PathTree(self._ready - self._served)

    def _steps(self, seconds: Floats | float) -> Indices:
        return np.rint(np.asarray(seconds, dtype=np.float64) / self.grid.step_seconds).astype(
            np.int64
        )

    def effects(
        self,
        begin_seconds: Floats | float,
        length_seconds: Floats | float,
        load: Floats | float | None = None,
        service: Floats | float | None = None,
        with_lag: bool = True,
    ) -> OutageEffects:
        """What each of these outages does.

        Arguments
        ---------
        begin_seconds, length_seconds: of each outage.
        load: times as much is written, all of the time; for each outage, or one for all.
        service: times as much of the queue is carried, all of the time; likewise.
        with_lag: without, both lags are 0, and it is faster.

        Raises ValueError for one that begins before the grid or ends after it, and for a load or
        service that is not positive.
        """
        begin, end = steps_of(self.grid, begin_seconds, length_seconds)
        times, faster = factors(len(begin), load, service)
        if load is None and service is None:
            held = self._waiting[begin] + self._ready[end] - self._ready[begin]
            until, peak = self._by_tree(end, held)
        else:
            held = self._waiting_at(begin, faster) + self._ready[end] - self._ready[begin]
            until, peak = self._by_search(end, held, faster)
        caught_up = until <= self.grid.steps
        until = np.minimum(until, self.grid.steps)
        step = np.float64(self.grid.step_seconds)
        at_return = largest_lag = np.zeros(len(begin))
        if with_lag:
            at_return, largest_lag = self._lags(end, until, self._ready[end] - held, faster)
        catch_up = np.where(caught_up, (until - end) * step, np.nan)
        return OutageEffects(
            begin * step,
            (end - begin) * step,
            peak * times,
            at_return,
            largest_lag,
            catch_up,
            caught_up,
        )

    def drained(
        self,
        from_seconds: Floats,
        held_bytes: Floats,
        load: Floats | float | None = None,
        service: Floats | float | None = None,
    ) -> Floats:
        """When a queue that holds so much at some time, the link being up from then on, is empty.

        Returns seconds from then; NaN where it is not within the grid.  Raises ValueError for a
        time outside the grid, and for a load or service that is not positive.
        """
        begin, _end = steps_of(self.grid, from_seconds, 0.0)
        times, faster = factors(len(begin), load, service)
        held = np.asarray(held_bytes, dtype=np.float64) / times
        if load is None and service is None:
            until, _peak = self._by_tree(begin, held)
        else:
            until, _peak = self._by_search(begin, held, faster)
        taken = (until - begin) * np.float64(self.grid.step_seconds)
        return np.where(until <= self.grid.steps, taken, np.nan)

    def ready_bytes(
        self,
        begin_seconds: Floats,
        end_seconds: Floats,
        load: Floats | float | None = None,
    ) -> Floats:
        """What becomes ready between two times within the grid."""
        begin, end = self._steps(begin_seconds), self._steps(end_seconds)
        arrived: Floats = self._ready[end] - self._ready[begin]
        return arrived if load is None else arrived * load

    def waiting_bytes(
        self,
        at_seconds: Floats,
        load: Floats | float | None = None,
        service: Floats | float | None = None,
    ) -> Floats:
        """What waits at a time within the grid when there is no outage."""
        at = self._steps(at_seconds)
        if load is None and service is None:
            waiting: Floats = self._waiting[at]
            return waiting
        times, faster = factors(len(at), load, service)
        return self._waiting_at(at, faster) * times

    @cached_property
    def _arrival_rates(self) -> Extremes:
        return Extremes(np.diff(self._ready))

    @cached_property
    def _service_rates(self) -> Extremes:
        return Extremes(np.diff(self._served))

    # -- the path of arrivals less service -------------------------------------------------

    def _by_tree(self, end: Indices, held: Floats) -> tuple[Indices, Floats]:
        """First place at which the queue that holds so much is empty, and its peak till then."""
        path = self._ready - self._served
        until = self._path.first_at_most(end, path[end] - held + EMPTY_BYTES)
        highest = self._path.highest(end, np.minimum(until, self.grid.steps) + 1)
        return until, held + np.maximum(highest - path[end], 0.0)

    def _by_search(self, end: Indices, held: Floats, faster: Floats) -> tuple[Indices, Floats]:
        """The same, for each its own factor of service."""
        ready, served = self._ready, self._served

        def path(question: Indices, place: Indices) -> Floats:
            value: Floats = ready[place] - faster[question] * served[place]
            return value

        def at_least(question: Indices, low: Indices, high: Indices) -> Floats:
            bound: Floats = ready[low] - faster[question] * served[high]
            fall = self._steepest_fall(faster[question], low, high)
            return np.maximum(bound, path(question, low) - fall - _ROUNDING_BYTES)

        def at_most(question: Indices, low: Indices, high: Indices) -> Floats:
            bound: Floats = ready[high] - faster[question] * served[low]
            most, least = self._arrival_rates.at_most, self._service_rates.at_least
            rise = most(low, high) - faster[question] * least(low, high)
            steep = path(question, low) + np.maximum(rise, 0.0) * (high - low)
            lower: Floats = np.minimum(bound, steep - _ROUNDING_BYTES)
            return lower

        now = path(np.arange(len(end)), end)
        last = np.full_like(end, self.grid.steps)
        until = first_at_most(end, last, now - held + EMPTY_BYTES, path, at_least)
        highest = largest(end, np.minimum(until, last), path, at_most)
        return until, held + np.maximum(highest - now, 0.0)

    def _steepest_fall(self, faster: Floats, low: Indices, high: Indices) -> Floats:
        """No path falls by more between two places."""
        most, least = self._service_rates.at_most, self._arrival_rates.at_least
        fall: Floats = np.maximum(faster * most(low, high) - least(low, high), 0.0) * (high - low)
        return fall

    def _waiting_at(self, begin: Indices, faster: Floats) -> Floats:
        """What waits without an outage, for each its own factor of service."""
        ready, served = self._ready, self._served

        def fallen(question: Indices, place: Indices) -> Floats:
            value: Floats = faster[question] * served[place] - ready[place]
            return value

        def at_most(question: Indices, low: Indices, high: Indices) -> Floats:
            bound: Floats = faster[question] * served[high] - ready[low]
            fall = self._steepest_fall(faster[question], low, high)
            return np.minimum(bound, fallen(question, low) + fall - _ROUNDING_BYTES)

        deepest = largest(np.zeros_like(begin), begin, fallen, at_most)
        waiting: Floats = deepest - fallen(np.arange(len(begin)), begin)
        return waiting

    def _lags(
        self, end: Indices, until: Indices, left: Floats, faster: Floats
    ) -> tuple[Floats, Floats]:
        """At the return of the link, and the largest until nothing waits.

        Arguments
        ---------
        left: cumulative bytes that had been sent when the link went down.
        """
        queue, step = self.queue, self.grid.step_seconds
        ready, served = self._ready, self._served

        def have(question: Indices, place: Indices) -> Floats:
            more = faster[question] * (served[place] - served[end[question]])
            return queue.arrived_whole(np.minimum(left[question] + more, ready[place]))

        def lag(question: Indices, place: Indices) -> Floats:
            return lag_seconds(queue.written, have(question, place), step, place)

        def at_most(question: Indices, low: Indices, high: Indices) -> Floats:
            # What is oldest never grows older: its time of arrival only moves on.
            # To the last byte, which is never younger than what a lag is told of: it bounds that.
            oldest = oldest_place(queue.written, have(question, low), 0.0)
            bound: Floats = (high - oldest) * step
            if queue.unit_bytes or queue.ready is not queue.written:
                return bound
            # And it moves on as fast as bytes are sent, by the bytes that came in a step then.
            later = oldest_place(queue.written, have(question, high))
            came = self._arrival_rates.at_most(
                oldest.astype(np.int64), np.ceil(later).astype(np.int64)
            )
            sent = faster[question] * self._service_rates.at_least(low, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                slower = np.where(came > 0, 1.0 - sent / came, 0.0)
            steep = low - oldest + np.maximum(slower, 0.0) * (high - low) - _ROUNDING_STEPS
            lower: Floats = np.minimum(bound, steep * step)
            return lower

        at_return = lag(np.arange(len(end)), end)
        found = largest(end, until, lag, at_most)
        delayed = queue.delay_seconds
        return (
            np.where(at_return > 0, at_return + delayed, at_return),
            np.where(found > 0, found + delayed, found),
        )

    def seconds_until_full(
        self,
        begin_seconds: Floats,
        limit_bytes: Floats | float,
        load: Floats | float | None = None,
        service: Floats | float | None = None,
    ) -> Floats:
        """How long a spool of this size lasts when the link goes down then, to the second: within a
        step bytes come evenly.

        NaN where it is not full before the grid ends.
        """
        begin = self._steps(begin_seconds)
        times, _faster = factors(len(begin), load, service)
        left = limit_bytes - self.waiting_bytes(begin_seconds, load, service)
        limit = self._ready[begin] + left / times
        ready, last = self._ready, self.grid.steps
        full = np.searchsorted(ready, limit, side="right")
        place = np.clip(full, 1, last)
        came = ready[place] - ready[place - 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            within = np.where(came > 0, (limit - ready[place - 1]) / came, 1.0)
        # At once, where more waits already than it holds.
        steps = np.maximum(place - 1 + np.clip(within, 0.0, 1.0) - begin, 0.0)
        seconds: Floats = np.where(full <= last, steps * self.grid.step_seconds, np.nan)
        return seconds
