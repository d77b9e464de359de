"""How a protection fares on a link, step by step: queues that send in order, and runs.

A :class:`Queue` says what a protection has to send that sends all in its order, :class:`Runs` what
one has to carry that takes a snapshot now and then.  Either gives a :class:`Course` on the capacity
of a link: what waits, how old it is, what the link carries.  The theory of queues is in
:mod:`.fluid`; the kinds of protection are in :mod:`.queued_kinds` and :mod:`.run_kinds`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from simulator.plan.batches import Batches
from simulator.plan.checkpoints import Checkpoints
from simulator.plan.fluid import (
    backlog,
    cumulative,
    delayed,
    group_synced,
    lag_seconds,
    whole_units,
)
from simulator.plan.grid import Floats, TimeGrid


@dataclass(frozen=True, eq=False)
class Course:
    """How a protection fares, step by step.

    Attributes
    ----------
    grid: the steps.
    waiting_bytes: what has been written and has not reached the copy, at the end of each step, as
        it lies at the source (not compressed).
    lag_seconds: age of the oldest of that, at the end of each step; the RPO there.
    carried_bytes: what the link carried in each step, compressed.
    capacity_bytes: what it could have carried.
    retained_bytes: what the copy has and the spool still holds, at the end of each step; None
        where nothing is.
    """

    grid: TimeGrid
    waiting_bytes: Floats
    lag_seconds: Floats
    carried_bytes: Floats
    capacity_bytes: Floats
    retained_bytes: Floats | None = None

    @property
    def spool_bytes(self) -> Floats:
        """What a spool at the source holds: what waits, and what is retained."""
        if self.retained_bytes is None:
            return self.waiting_bytes
        return self.waiting_bytes + self.retained_bytes

    @property
    def utilisation(self) -> float:
        """Carried to what could be carried; 0 for a link that never carries anything."""
        could = float(self.capacity_bytes.sum())
        return float(self.carried_bytes.sum()) / could if could > 0 else 0.0

    def lag_at(self, share_of_time: float) -> float:
        """The lag in seconds that is not exceeded so much of the time; 1.0 for the largest."""
        return float(np.quantile(self.lag_seconds, share_of_time))

    def frame(self) -> pd.DataFrame:
        """A row for each step, indexed by local time (its end): the arrays above."""
        names = ("waiting_bytes", "lag_seconds", "carried_bytes", "capacity_bytes")
        ends = self.grid.times() + np.timedelta64(round(self.grid.step_seconds * 1e6), "us")
        index = pd.DatetimeIndex(ends, name="time")
        return pd.DataFrame({name: getattr(self, name) for name in names}, index=index)


class Waits(NamedTuple):
    """What a queue waits for beside its bytes: answers of the other side.

    Attributes
    ----------
    seconds_per_byte: of the queue, during which its line is idle.
    side_by_side: parts of the queue that are sent at the same time and wait each for itself.
    """

    seconds_per_byte: float = 0.0
    side_by_side: float = 1.0

    def left(self, service: Floats, step_seconds: float) -> Floats:
        """Of what a line could take in each step, what it takes of parts that wait: one part has
        the line to itself for its bytes, then waits; more of them fill the line."""
        if not self.seconds_per_byte:
            return service
        alone = service / (1.0 + self.seconds_per_byte * service / step_seconds)
        left: Floats = np.minimum(service, self.side_by_side * alone)
        return left


NO_WAITS: Final = Waits()


@dataclass(frozen=True, eq=False)
class Queue:
    """What a protection that sends in order has to send.

    Attributes
    ----------
    written: cumulative bytes as programs write them; shape (steps + 1,).
    ready: of those, the ones that may be sent; never more than ``written``.
    unit_bytes: what is at the copy only as a whole; 0 for anything.
    wire_per_byte: bytes on the link for one of these.
    delay_seconds: from being sent to being safe at the copy.
    transit_seconds: the same on grids with steps of less than that: a change is under way for so
        long even where nothing waits.
    sync_seconds: of the copy's journal, on such grids; what comes meanwhile waits for the next one.
    batches: what is sent, and safe, together; None for each by itself.
    checkpoints: after what the copy lets the source forget; None where it does so at once.
    waits: for answers, beside the bytes.

    Raises ValueError when a byte takes nothing on the link.
    """

    grid: TimeGrid
    written: Floats
    ready: Floats
    unit_bytes: float
    wire_per_byte: float
    delay_seconds: float
    transit_seconds: float = 0.0
    sync_seconds: float = 0.0
    batches: Batches | None = None
    checkpoints: Checkpoints | None = None
    waits: Waits = NO_WAITS

    def __post_init__(self) -> None:
        _check_wire(self.wire_per_byte)

    def arrived_whole(self, sent: Floats) -> Floats:
        """Of what was sent, what the copy can use."""
        return whole_units(sent, self.unit_bytes)

    def service(self, capacity_bytes: Floats) -> Floats:
        """What the link could take of this queue in each step."""
        return self.waits.left(capacity_bytes / self.wire_per_byte, self.grid.step_seconds)

    def offered_bytes(self) -> Floats:
        """What a link would carry in each step if it carried anything at once."""
        offered: Floats = np.diff(self.ready) * self.wire_per_byte
        return offered

    def course(self, capacity_bytes: Floats) -> Course:
        """How the queue fares on that link."""
        arrivals = np.diff(self.ready)
        waiting = backlog(arrivals, self.service(capacity_bytes))
        sent = self.ready[1:] - waiting
        step = self.grid.step_seconds
        have = self.arrived_whole(sent)
        if self.batches is not None:
            have = self.batches.arrived(self.written[1:], sent)
        have = delayed(have, self.transit_seconds / step)
        have = group_synced(have, self.sync_seconds / step)
        lag = lag_seconds(self.written, have, step)
        lag[lag > 0] += self.delay_seconds
        carried = np.diff(sent, prepend=0.0) * self.wire_per_byte
        retained = None
        if self.checkpoints is not None:
            retained = have - self.checkpoints.released(have, step, capacity_bytes <= 0)
        return Course(
            self.grid,
            self.written[1:] - have,
            lag,
            np.maximum(carried, 0.0),
            capacity_bytes,
            retained,
        )


def _check_wire(wire_per_byte: float) -> None:
    if not 0 < wire_per_byte < np.inf:
        raise ValueError("what is saved or rewritten must leave something to be carried")


class Run(NamedTuple):
    """One run.

    Attributes
    ----------
    begin: when it begins, and takes its snapshot, in steps.
    snapshot_bytes: what was written up to then.
    wire_bytes: what it carries.
    could_bytes: what the link could have carried from the begin of the grid until this one began.
    end: when all is carried, in steps; None when not within the grid.
    """

    begin: float
    snapshot_bytes: float
    wire_bytes: float
    could_bytes: float
    end: float | None


@dataclass(frozen=True, eq=False)
class Runs:
    """What a protection that takes snapshots has to carry: one run after the other, each with what
    was written since the snapshot before.

    Attributes
    ----------
    written: cumulative bytes as programs write them; shape (steps + 1,).
    due_seconds: when runs are to begin; one that is late begins when the one before has ended.
    wire_per_byte: bytes on the link for one of these.
    fixed_bytes: carried by each run besides, whatever was written.

    Raises ValueError when a byte takes nothing on the link.
    """

    grid: TimeGrid
    written: Floats
    due_seconds: Floats
    wire_per_byte: float
    fixed_bytes: float = 0.0

    def __post_init__(self) -> None:
        _check_wire(self.wire_per_byte)

    def walk(self, could: Floats) -> Iterator[Run]:
        """The runs, on a link that could have carried so much, cumulative; the last one may be
        without an end."""
        step, steps = self.grid.step_seconds, self.grid.steps
        # Each run depends on the one before: then plain numbers are much faster than NumPy's.
        written = np.ascontiguousarray(self.written).data
        carried = np.ascontiguousarray(could).data
        copied = ended = 0.0
        for due in self.due_seconds.tolist():
            begin = max(due / step, ended)
            if begin >= steps:
                return
            snapshot = _value_at(written, begin)
            amount = (snapshot - copied) * self.wire_per_byte + self.fixed_bytes
            before = _value_at(carried, begin)
            end = _place_of(carried, before + amount)
            if end is None:
                yield Run(begin, snapshot, amount, before, None)
                return
            copied, ended = snapshot, max(begin, end)
            yield Run(begin, snapshot, amount, before, ended)

    def course(self, capacity_bytes: Floats) -> Course:
        """How the runs fare on that link."""
        steps, could = self.grid.steps, cumulative(capacity_bytes)
        have, carried_sum = np.zeros(steps), np.zeros(steps + 1)
        copied = carried = 0.0
        # Filled run by run: what lies right of these places is not known yet.
        known_have = known_carried = 0
        for run in self.walk(could):
            low = int(run.begin)
            high = steps if run.end is None else min(steps, int(np.ceil(run.end)))
            carried_sum[known_carried : low + 1] = carried
            moved = np.minimum(could[low + 1 : high + 1] - run.could_bytes, run.wire_bytes)
            carried_sum[low + 1 : high + 1] = carried + np.maximum(moved, 0.0)
            known_carried = high + 1
            if run.end is None:
                break
            carried += run.wire_bytes
            known_carried = high
            arrival = max(0, high - 1)
            have[known_have:arrival] = copied
            known_have, copied = arrival, run.snapshot_bytes
        have[known_have:] = copied
        carried_sum[known_carried:] = carried
        lag = lag_seconds(self.written, have, self.grid.step_seconds)
        moved_now = np.maximum(np.diff(carried_sum), 0.0)
        return Course(self.grid, self.written[1:] - have, lag, moved_now, capacity_bytes)


def _value_at(sums: Sequence[float], place: float) -> float:
    """A cumulative curve at a place, in steps, before its last one; between two it is straight."""
    whole = int(place)
    low = sums[whole]
    return low + (sums[whole + 1] - low) * (place - whole)


def _place_of(sums: Sequence[float], wanted: float) -> float | None:
    """Where a cumulative curve reaches an amount, in steps; None when it never does."""
    if wanted > sums[-1]:
        return None
    place = bisect_left(sums, wanted)
    if place == 0:
        return 0.0
    rise = sums[place] - sums[place - 1]
    return place - 1 + ((wanted - sums[place - 1]) / rise if rise > 0 else 0.0)
