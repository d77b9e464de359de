"""Kinds of protection that take a snapshot now and then and carry what changed since the last one.

Each says what it has to carry as :class:`~simulator.plan.courses.Runs`; the copy is as old as the
last snapshot that arrived whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.plan.change import ChangeCurve
from simulator.plan.courses import Course, Runs
from simulator.plan.fluid import cumulative
from simulator.plan.grid import DAY_SECONDS, Floats
from simulator.plan.queued_kinds import PLANNED_SAVING


@dataclass(frozen=True, kw_only=True)
class ChangedBlocks:
    """A snapshot at intervals, of which the blocks that changed are copied.

    Arguments
    ---------
    interval_seconds: from the begin of one run to that of the next; a run that takes longer delays
        the next one.  No more than one begins in a step of the curve: below that nothing is seen.
    rewritten_share: of what is written between two snapshots, what is written again before the
        second: 30 % is the rule of a vendor's planner [V].
    saving: of compression.

    Raises ValueError for an interval that is no positive number.
    """

    interval_seconds: float = 3_600.0
    rewritten_share: float = 0.3
    saving: float = PLANNED_SAVING

    def __post_init__(self) -> None:
        if not 0 < self.interval_seconds < np.inf:
            raise ValueError(f"runs cannot be {self.interval_seconds} s apart")

    @property
    def name(self) -> str:
        return "changed blocks"

    def runs(self, change: ChangeCurve) -> Runs:
        """What is to be carried."""
        grid = change.grid
        return Runs(
            grid,
            cumulative(change.written_bytes),
            np.arange(0.0, grid.span_seconds, max(self.interval_seconds, grid.step_seconds)),
            (1.0 - self.rewritten_share) * (1.0 - self.saving),
        )

    def course(self, change: ChangeCurve, capacity_bytes: Floats) -> Course:
        return self.runs(change).course(capacity_bytes)


@dataclass(frozen=True, kw_only=True)
class NightlyBackup:
    """A copy of everything, or of the logs, once a day.

    Arguments
    ---------
    at_seconds: time of day at which it begins.
    full: all databases each time; otherwise the logs since the last one.
    saving: of compression.
    """

    at_seconds: float = 22 * 3_600.0
    full: bool = False
    saving: float = PLANNED_SAVING

    @property
    def name(self) -> str:
        return "nightly backup"

    def runs(self, change: ChangeCurve) -> Runs:
        """What is to be carried."""
        grid = change.grid
        first = (self.at_seconds - grid.begin_of_week_seconds) % DAY_SECONDS
        begins = np.arange(first, grid.span_seconds, DAY_SECONDS)
        fixed = (change.stored_bytes or 0.0) * (1.0 - self.saving) if self.full else 0.0
        return Runs(grid, cumulative(change.log_bytes), begins, 1.0 - self.saving, fixed)

    def course(self, change: ChangeCurve, capacity_bytes: Floats) -> Course:
        return self.runs(change).course(capacity_bytes)


RunByRun = ChangedBlocks | NightlyBackup
"""Kinds that take a snapshot now and then."""
