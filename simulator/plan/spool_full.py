"""What happens after a spool is full: resynchronize, or hold the writer.

Theory
------
``resynchronize``: the spool is dropped and the copy falls behind for good.  When the link is back,
both ends compare the whole data set, at the rate of a disk; then the blocks that differ are sent
while new changes come.  The copy is usable and current again when that queue is empty.  It is
unprotected from the moment at which the spool was full: for the rest of the outage, the
comparison, and the sending.  What differs is what was written since the link went down, less what
was written again, and what waited then; never more than the data set.

``hold``: writers wait until the link is back; the store stands still for the rest of the outage.
What it would have written meanwhile is not made up for.  While the spool is caught up it may be
full again, or for the first time, as long as more is written than the link takes: then writers get
on as fast as that, and the store stands still for as long as it would have taken to write the rest
(:func:`held_back`).

A spool that is full only while it catches up counts as full at the return of the link.

Leaves out: reading the disks for the comparison while the store works, and that a replicator may
send the first differences before the last are found (it is done a little earlier then).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.plan.answers import finite_frame
from simulator.plan.fluid import EMPTY_BYTES
from simulator.plan.grid import Floats
from simulator.plan.outages import OutageModel, factors, steps_of

SpoolPolicy = Literal["resynchronize", "hold"]
COMPARE_BYTES_PER_SECOND: Final = 80e6
"""Sequential reading of one 7,200 rpm disk, 70 to 120 MB/s [M]."""
REWRITTEN_SHARE: Final = 0.3
"""Of what is written, written again: the rule of a vendor's planner [V]."""


@dataclass(frozen=True, kw_only=True)
class Spool:
    """A spool at the source, and what is done when it is full.

    Attributes
    ----------
    limit_bytes: its size.
    policy: what happens at the limit.
    data_set_bytes: what is compared afterwards; None: not known, then there are no figures of a
        resynchronization.
    compare_bytes_per_second: how fast.
    rewritten_share: of what is written during an outage, written again meanwhile.

    Raises ValueError for sizes or rates that are not positive, and shares not within 0 .. 1.
    """

    limit_bytes: float
    policy: SpoolPolicy = "resynchronize"
    data_set_bytes: float | None
    compare_bytes_per_second: float = COMPARE_BYTES_PER_SECOND
    rewritten_share: float = REWRITTEN_SHARE

    def __post_init__(self) -> None:
        sizes = (self.limit_bytes, self.data_set_bytes, self.compare_bytes_per_second)
        if not all(0 < each < np.inf for each in sizes if each is not None):
            raise ValueError("sizes and rates of a spool must be positive numbers")
        if not 0 <= self.rewritten_share <= 1:
            raise ValueError("a share lies within 0 and 1")


@dataclass(frozen=True, eq=False)
class SpoolOutages:
    """Outages with a spool of limited size; arrays have an element for each; NaN is "never", or
    not within the grid.

    Attributes
    ----------
    begin_seconds, length_seconds: of each outage, in whole steps.
    full_after_seconds: from the begin of the outage; NaN where the spool held.
    stands_still_seconds: of the store, in the outage and while it is caught up; 0 unless it is
        held.
    compared_bytes, differing_bytes: of the resynchronization, 0 where there is none; NaN where
        the size of the data set is not known.
    unprotected_seconds: during which the copy is not kept up with from a full spool on; 0 where
        the spool held, NaN where that does not end within the grid or is not known.
    behind_seconds: from the begin of the outage until the copy is current again; NaN likewise.
    """

    begin_seconds: Floats
    length_seconds: Floats
    full_after_seconds: Floats
    stands_still_seconds: Floats
    compared_bytes: Floats
    differing_bytes: Floats
    unprotected_seconds: Floats
    behind_seconds: Floats

    def frame(self) -> pd.DataFrame:
        """A row for each outage with these columns; None for never."""
        columns = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return finite_frame(pd.DataFrame(columns))


def with_spool(
    model: OutageModel,
    spool: Spool,
    begin_seconds: Floats | float,
    length_seconds: Floats | float,
    load: Floats | float | None = None,
    service: Floats | float | None = None,
) -> SpoolOutages:
    """What each outage does to a spool of limited size.

    Arguments
    ---------
    load, service: as for :meth:`~simulator.plan.outages.OutageModel.effects`; the data set does
        not grow with the load.

    Raises ValueError for an outage that is not within the grid, and for a load or service that is
    not positive.
    """
    grid, step = model.grid, np.float64(model.grid.step_seconds)
    begin, end = (each * step for each in steps_of(grid, begin_seconds, length_seconds))
    length = end - begin
    full_after = model.seconds_until_full(begin, spool.limit_bytes, load, service)
    effects = model.effects(begin, length, load, service, with_lag=False)
    # What is full only while catching up is full nevertheless; the time is that of the return.
    early = full_after < length  # full just then it holds all that comes
    late = ~early & (effects.spool_peak_bytes > spool.limit_bytes + EMPTY_BYTES)
    full_after = np.where(late, length, full_after)
    full = early | late
    full_after = np.where(full, full_after, np.nan)
    behind = length + effects.catch_up_seconds
    nothing = np.zeros(len(begin))
    if spool.policy == "hold":
        waits = model.waiting_bytes(begin, load, service) + model.ready_bytes(begin, end, load)
        waits = np.where(full, np.minimum(waits, spool.limit_bytes), 0.0)
        held, taken = held_back(model, end, waits, spool.limit_bytes, load, service)
        still = np.where(full, length - np.nan_to_num(full_after) + held, 0.0)
        behind = np.where(full, length + taken, behind)
        return SpoolOutages(begin, length, full_after, still, nothing, nothing, nothing, behind)
    if spool.data_set_bytes is None:
        unknown = np.where(full, np.nan, 0.0)
        behind = np.where(full, np.nan, behind)
        return SpoolOutages(begin, length, full_after, nothing, unknown, unknown, unknown, behind)
    waited = model.waiting_bytes(begin, load, service)
    written = model.ready_bytes(begin, end, load)
    differing = waited + (1.0 - spool.rewritten_share) * written
    differing = np.where(full, np.minimum(differing, spool.data_set_bytes), 0.0)
    compared = np.where(full, spool.data_set_bytes, 0.0)
    comparing = compared / spool.compare_bytes_per_second
    fits = end + comparing <= grid.span_seconds
    sending_from = np.minimum(end + comparing, grid.span_seconds)
    held = differing + model.ready_bytes(end, sending_from, load)
    sending = model.drained(sending_from, held, load, service)
    current = np.where(fits, length + comparing + sending, np.nan)
    return SpoolOutages(
        begin,
        length,
        full_after,
        nothing,
        compared,
        differing,
        np.where(full, current - np.nan_to_num(full_after), 0.0),
        np.where(full, current, behind),
    )


def held_back(
    model: OutageModel,
    from_seconds: Floats,
    held_bytes: Floats,
    limit_bytes: float,
    load: Floats | float | None = None,
    service: Floats | float | None = None,
) -> tuple[Floats, Floats]:
    """How queues that never hold more than a limit are caught up: what would be above is not
    written.

    Arguments
    ---------
    from_seconds: when the link is back, for each queue.
    held_bytes: what waits then, at most the limit.
    load, service: as for :func:`with_spool`.

    Returns for each queue how long it would have taken to write what was not, and when nothing
    waits any more, in seconds from then (NaN where that is not within the grid).  Raises ValueError
    as :func:`with_spool`.
    """
    grid, step = model.grid, model.grid.step_seconds
    begin, _end = steps_of(grid, from_seconds, 0.0)
    times, faster = factors(len(begin), load, service)
    waits, limit = held_bytes / times, limit_bytes / times
    ready, served, written = model.queue.ready, model.served, model.queue.written
    held, taken = np.zeros(len(begin)), np.full(len(begin), np.nan)
    open_ = np.arange(len(begin))
    for after in range(grid.steps + 1):
        empty = waits[open_] <= EMPTY_BYTES
        taken[open_[empty]] = after * step
        open_ = open_[~empty & (begin[open_] + after < grid.steps)]
        if not len(open_):
            break
        at = begin[open_] + after
        could = faster[open_] * (served[at + 1] - served[at])
        now = np.maximum(waits[open_] + ready[at + 1] - ready[at] - could, 0.0)
        above = np.flatnonzero(now > limit[open_])
        of, last = open_[above], ready[at[above] + 1]
        lost = now[above] - limit[of]
        # The last of what became ready is not written: so long that took.
        took = _written_at(written, last) - _written_at(written, last - lost)
        held[of] += took * step
        waits[open_] = np.minimum(now, limit[open_])
    return held, taken


def _written_at(written: Floats, sums: Floats) -> Floats:
    """By when so many bytes were written, in steps."""
    place = np.clip(np.searchsorted(written, sums, side="left"), 1, len(written) - 1)
    came = written[place] - written[place - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        within = np.where(came > 0, (sums - written[place - 1]) / came, 0.0)
    found: Floats = place - 1 + np.clip(within, 0.0, 1.0)
    return found


def worst_by_hour(outages: SpoolOutages, hours: NDArray[np.int64]) -> pd.DataFrame:
    """The outage of each hour that is the longest without protection or service.

    Arguments
    ---------
    hours: a number for each outage.

    A row for each number in rising order: ``hour``, and the columns of :class:`SpoolOutages`.
    """
    table = outages.frame()
    table.insert(0, "hour", hours)
    worst = table["unprotected_seconds"].astype(float) + table["stands_still_seconds"].astype(float)
    # What never ends, or is not known, is the worst; of such the one that is full soonest.
    order = table.assign(worst=worst.fillna(np.inf), full=table["full_after_seconds"].astype(float))
    order = order.sort_values(["worst", "full"], ascending=[False, True], kind="stable")
    chosen = order.groupby("hour").head(1).sort_values("hour").index
    return table.loc[chosen].reset_index(drop=True)
