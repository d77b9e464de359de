"""Time series made small enough to draw, without losing what a reader looks for.

A run of a week has more samples than a plot has pixels.  Taking every n-th sample loses
the peak, averaging flattens it; so each pixel column keeps its first, lowest, highest and
last sample.  States and faults are thinned likewise: the longest state of a column is
shown, and neighbouring faults melt together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.measures import FaultMark, Samples

Floats = NDArray[np.float64]

COLUMNS = 1000
"""Columns of a plot; more than a report on paper or screen can resolve."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one line, times ascending; a value may be NaN (a gap)."""

    seconds: Floats
    values: Floats

    @property
    def largest(self) -> float:
        """The largest finite value; 0 when there is none."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite.max()) if finite.size else 0.0


@dataclass(frozen=True, slots=True)
class StateSpan:
    """A stretch of time in one state."""

    start_seconds: float
    end_seconds: float
    state: str


def _floats(values: Sequence[float]) -> Floats:
    """As floats, with anything that is not finite as a gap."""
    array = np.array([float(value) for value in values], dtype=np.float64)
    array[~np.isfinite(array)] = np.nan
    return array


def curve(seconds: Sequence[float], values: Sequence[float]) -> Curve:
    """A curve of two lists of one length."""
    times, heights = _floats(seconds), _floats(values)
    placed = np.isfinite(times)
    return Curve(times[placed], heights[placed])


def decimate(full: Curve, columns: int = COLUMNS) -> Curve:
    """At most four points a column: first, lowest, highest, last, in their order."""
    count = len(full.seconds)
    if count <= 4 * columns:
        return full
    start, end = float(full.seconds[0]), float(full.seconds[-1])
    width = (end - start) / columns or 1.0
    column = np.minimum(((full.seconds - start) / width).astype(np.int64), columns - 1)
    edges = np.concatenate(([0], np.flatnonzero(np.diff(column)) + 1, [count]))
    low = np.where(np.isnan(full.values), np.inf, full.values)
    high = np.where(np.isnan(full.values), -np.inf, full.values)
    keep: set[int] = set()
    for first, behind in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        lowest = first + int(low[first:behind].argmin())
        highest = first + int(high[first:behind].argmax())
        keep.update((first, lowest, highest, behind - 1))
    index = np.array(sorted(keep))
    return Curve(full.seconds[index], full.values[index])


def rate(seconds: Sequence[float], cumulative: Sequence[float]) -> Curve:
    """Growth per second between samples, each value at the *end* of its interval."""
    total = curve(seconds, cumulative)
    if len(total.seconds) < 2:
        return Curve(total.seconds[:0], total.values[:0])
    elapsed = np.diff(total.seconds)
    moved = elapsed > 0
    growth = np.diff(total.values)[moved] / elapsed[moved]
    # A restarted counter falls back; a negative rate would be nonsense.
    return Curve(total.seconds[1:][moved], np.maximum(growth, 0.0))


def state_spans(samples: Samples, end_seconds: float, columns: int = 400) -> list[StateSpan]:
    """The source's states as stretches; each sample holds until the next one."""
    pairs = list(zip(samples.time_seconds, samples.source_state, strict=False))
    runs: list[StateSpan] = []
    for index, (start, state) in enumerate(pairs):
        end = pairs[index + 1][0] if index + 1 < len(pairs) else max(end_seconds, start)
        if runs and runs[-1].state == state:
            runs[-1] = StateSpan(runs[-1].start_seconds, end, state)
        else:
            runs.append(StateSpan(start, end, state))
    return runs if len(runs) <= columns else _longest_by_column(runs, columns)


def _longest_by_column(runs: list[StateSpan], columns: int) -> list[StateSpan]:
    start, end = runs[0].start_seconds, runs[-1].end_seconds
    width = (end - start) / columns or 1.0
    shares: list[dict[str, float]] = [{} for _ in range(columns)]
    for run in runs:
        first = min(int((run.start_seconds - start) / width), columns - 1)
        last = min(int((run.end_seconds - start) / width), columns - 1)
        for column in range(first, last + 1):
            left = max(run.start_seconds, start + column * width)
            right = min(run.end_seconds, start + (column + 1) * width)
            held = shares[column]
            held[run.state] = held.get(run.state, 0.0) + max(right - left, 0.0)
    thinned: list[StateSpan] = []
    for column, held in enumerate(shares):
        if not held:
            continue
        state = max(held, key=lambda name: held[name])
        left, right = start + column * width, start + (column + 1) * width
        if thinned and thinned[-1].state == state:
            thinned[-1] = StateSpan(thinned[-1].start_seconds, right, state)
        else:
            thinned.append(StateSpan(left, right, state))
    return thinned


def fault_spans(
    faults: Sequence[FaultMark], end_seconds: float, gap_seconds: float
) -> list[tuple[float, float]]:
    """Stretches in which at least one fault acts; gaps narrower than a pixel are closed."""
    spans: list[tuple[float, float]] = []
    for fault in sorted(faults, key=lambda mark: mark.start_seconds):
        end = end_seconds if fault.end_seconds is None else fault.end_seconds
        end = max(end, fault.start_seconds)
        if spans and fault.start_seconds - spans[-1][1] <= gap_seconds:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((fault.start_seconds, end))
    return spans
