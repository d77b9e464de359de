"""Outages of the link, thousands at once, for protections that take snapshots now and then.

Theory
------
Until the link goes down all is as without the outage.  From the run on that is under way then, or
comes next, the runs are walked again with the link's capacity cut out, for all outages together;
an outage's walk ends with the first arrival after which the copy is as recent as it would have
been.  Each walk is what :meth:`~simulator.plan.protection.Runs.course` gives on a capacity without
the outage (:func:`~simulator.plan.capacity.without`), figures at the ends of steps.

Loads that differ from outage to outage are brought to steps of :data:`FACTOR_STEP`: the runs
without an outage are other ones for each.  What each run carries besides (a full backup: the data
set) grows with the load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.plan.change import ChangeCurve
from simulator.plan.fluid import EMPTY_BYTES, cumulative, lag_seconds, oldest_place
from simulator.plan.grid import Floats, Indices
from simulator.plan.outages import OutageEffects, OutageModel, factors, steps_of
from simulator.plan.protection import Protection, Queued, RunByRun, Runs

FACTOR_STEP: Final = 0.02
"""Between two loads that are told apart."""


@dataclass(frozen=True, eq=False)
class _Undisturbed:
    """The runs without an outage: ends in steps, what each copied, and what the copy has at each
    place of the grid."""

    could: Floats
    ends: Floats
    snapshots: Floats
    have: Floats


class RunOutages:
    """Answers for one protection of runs on one link.

    Arguments
    ---------
    runs: what is to be carried, and when.
    capacity_bytes: what the link carries in each step when it is up.
    factor_step: loads are rounded to steps of this, as a share.
    """

    def __init__(
        self, runs: Runs, capacity_bytes: Floats, factor_step: float = FACTOR_STEP
    ) -> None:
        self.runs = runs
        self.grid = runs.grid
        self._capacity = capacity_bytes
        self._factor_step = factor_step
        self._places = np.arange(self.grid.steps + 1, dtype=np.float64)
        self._known: dict[float, _Undisturbed] = {}

    def effects(
        self,
        begin_seconds: Floats | float,
        length_seconds: Floats | float,
        load: Floats | float | None = None,
        service: Floats | float | None = None,
        with_lag: bool = True,
    ) -> OutageEffects:
        """What each of these outages does; arguments and errors as
        :meth:`~simulator.plan.outages.OutageModel.effects`.

        The spool is what the copy lacks: it lies in the data, not in a queue.  ``with_lag`` saves
        nothing here.
        """
        begin, end = steps_of(self.grid, begin_seconds, length_seconds)
        times, faster = factors(len(begin), load, service)
        unit = np.log1p(self._factor_step)
        rounded = np.rint(np.log(faster) / unit) * unit
        walked = np.zeros((len(begin), 4))
        for factor in np.unique(rounded):
            of = np.flatnonzero(rounded == factor)
            walked[of] = self._walk(self._undisturbed(float(np.exp(factor))), begin[of], end[of])
        peak, at_return, largest, until = walked.T
        step = np.float64(self.grid.step_seconds)
        caught_up: NDArray[np.bool_] = until <= self.grid.steps
        catch_up = np.where(caught_up, (until - end) * step, np.nan)
        lags = (at_return, largest) if with_lag else (np.zeros(len(begin)),) * 2
        return OutageEffects(
            begin * step, (end - begin) * step, peak * times, *lags, catch_up, caught_up
        )

    def start_gauges(
        self, length_steps: int, count: int, with_lag: bool = False
    ) -> tuple[Floats, ...]:
        """How bad each begin is (:mod:`.outage_starts`): what the copy lacks at the return, without
        the runs that are under way then, and how many steps the oldest of it came before."""
        have, written = self._undisturbed(1.0).have[:count], self.runs.written
        lacks = written[length_steps : length_steps + count] - have
        return (lacks, np.arange(count) - oldest_place(written, have)) if with_lag else (lacks,)

    def _undisturbed(self, faster: float) -> _Undisturbed:
        found = self._known.get(faster)
        if found is None:
            could = cumulative(self._capacity * faster)
            done = [
                (run.end, run.snapshot_bytes)
                for run in self.runs.walk(could)
                if run.end is not None
            ]
            ends = np.array([end for end, _snapshot in done], dtype=np.float64)
            snapshots = np.concatenate(([0.0], [snapshot for _end, snapshot in done]))
            # A copy has what arrived up to a place.
            arrived = np.searchsorted(np.ceil(ends), self._places, side="right")
            found = _Undisturbed(could, ends, snapshots, snapshots[arrived])
            self._known[faster] = found
        return found

    def _walk(self, base: _Undisturbed, begin: Indices, end: Indices) -> Floats:
        """Columns: largest that the copy lacks, lag at the return, largest lag, and the place at
        which it is caught up (beyond the grid: never)."""
        runs, steps, step = self.runs, self.grid.steps, self.grid.step_seconds
        due = runs.due_seconds / step
        lost = base.could[end] - base.could[begin]
        # The first run that was not there when the link went down.
        number = np.searchsorted(base.ends, begin, side="right")
        copied = base.snapshots[number].copy()
        ended = np.concatenate(([0.0], base.ends))[number]
        have_at_return = copied.copy()
        result = np.zeros((len(begin), 4))
        result[:, 3] = steps + 1

        def look(rows: Indices, place: Indices) -> None:
            """The copy as it is at a place of the grid."""
            lacks = runs.written[place] - copied[rows]
            lag = lag_seconds(runs.written, copied[rows], step, place)
            result[rows, 0] = np.maximum(result[rows, 0], lacks)
            result[rows, 2] = np.maximum(result[rows, 2], lag)

        open_ = np.arange(len(begin))
        returned = np.zeros(len(begin), dtype=np.bool_)
        while len(open_):
            rows = open_
            there = number[rows] < len(due)
            starts = np.maximum(due[np.minimum(number[rows], len(due) - 1)], ended[rows])
            there &= starts < steps
            snapshot = np.interp(starts, self._places, runs.written)
            amount = (snapshot - copied[rows]) * runs.wire_per_byte + runs.fixed_bytes
            before = np.interp(starts, self._places, base.could)
            down = base.could[begin[rows]]
            before = np.where(
                starts > end[rows],
                before - lost[rows],
                np.where(starts > begin[rows], down, before),
            )
            wanted = before + amount
            wanted += np.where(wanted > down, lost[rows], 0.0)
            ends = np.maximum(_places_of(base.could, wanted), starts)
            arrival = np.where(there, np.ceil(ends), np.inf)
            # Before this run arrives the link returns, or the grid ends.
            now = ~returned[rows] & (arrival > end[rows])
            at = rows[now]
            look(at, end[at])
            have_at_return[at] = copied[at]
            returned[at] = True
            recent = copied[at] >= base.have[end[at]] - EMPTY_BYTES
            result[at[recent], 3] = end[at[recent]]
            still = result[rows, 3] > steps
            arrives = still & (arrival <= steps)
            last = np.where(arrives, np.minimum(arrival, steps + 1) - 1, steps).astype(np.int64)
            seen = still & returned[rows] & (last >= end[rows])
            look(rows[seen], last[seen])
            rows, arrival = rows[arrives], arrival[arrives].astype(np.int64)
            copied[rows], ended[rows] = snapshot[arrives], ends[arrives]
            number[rows] += 1
            recent = returned[rows] & (copied[rows] >= base.have[arrival] - EMPTY_BYTES)
            result[rows[recent], 3] = arrival[recent]
            open_ = rows[~recent]
        result[:, 1] = lag_seconds(runs.written, have_at_return, step, end)
        return result


def _places_of(sums: Floats, wanted: Floats) -> Floats:
    """Where a cumulative curve reaches amounts, in steps; infinite where it never does."""
    place = np.clip(np.searchsorted(sums, wanted, side="left"), 1, len(sums) - 1)
    rise = sums[place] - sums[place - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        within = np.where(rise > 0, (wanted - sums[place - 1]) / rise, 0.0)
    found = np.where(wanted <= sums[0], 0.0, place - 1 + within)
    return np.where(wanted > sums[-1], np.inf, found)


AnyOutages = OutageModel | RunOutages


def outages_of(protection: Protection, change: ChangeCurve, capacity_bytes: Floats) -> AnyOutages:
    """The model of outages that fits a kind of protection.

    Raises TypeError for a protection that neither sends in order nor takes snapshots.
    """
    if isinstance(protection, Queued):
        return OutageModel(protection.queue(change), capacity_bytes)
    if isinstance(protection, RunByRun):
        return RunOutages(protection.runs(change), capacity_bytes)
    raise TypeError(f"no outages are known for protection {protection.name!r}")
