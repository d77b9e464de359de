"""How large the spools and the log volume must be.

Theory
------
An outage of a given length needs the largest spool when it begins just before the busiest time;
so begins are tried all through the curve (:mod:`.outage_starts`), and the worst of each hour of the
day or of the week is what counts.  The curve's catching up is part of it: the most may wait after
the link is back.

At the replica bytes wait in a spool when they arrive and are not applied: during the first
synchronization, an integrity test, on purpose (a delayed copy), or because its disk is slow.

Logs of the store are kept until they are backed up and every copy has them.  While one of that
fails they only grow, and the log volume is full where the cumulative logs have risen by its free
space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.answers import answer_frame, or_none, size_to_buy
from simulator.plan.change import ChangeCurve
from simulator.plan.fluid import EMPTY_BYTES, backlog, cumulative
from simulator.plan.grid import DAY_SECONDS, Floats, whole_steps
from simulator.plan.outage_starts import Hours, every_start, worst_starts
from simulator.plan.outages import OutageModel
from simulator.plan.plan_units import format_volume
from simulator.plan.protection import Queue

SPOOL_MARGIN: Final = 0.2
"""Above what is computed [A]."""
RULE_OF_THUMB_SHARE: Final = 0.1
"""Of the data set: a vendor's advice for a spool [V]."""
NOT_APPLIED: Final = "never caught up within the plan: no size is enough"
"""Of what waits at the replica."""


def spool_surface(
    model: OutageModel,
    lengths_seconds: Sequence[float],
    hours: Hours = "day",
    within_seconds: float | None = None,
) -> pd.DataFrame:
    """The spool that an outage needs, by its length and its start.

    A row for each length and hour: ``length_seconds``, ``hour`` (of the day, or of the week from
    Monday, midnight), ``spool_bytes`` (the most that waits, of all starts of that hour),
    ``worst_begin_seconds`` (that start, the first of several), ``starts`` (how many were tried),
    ``not_caught_up`` (of these; their peak is that until the grid ends).  Hours for which no outage
    fits the grid have no row.  ``within_seconds`` as for :func:`~.outage_starts.worst_starts`.

    Raises ValueError for lengths that are negative or do not fit the grid at all.
    """
    tables = []
    for length in lengths_seconds:
        starts, number = worst_starts(model, length, hours, within_seconds)
        effects = model.effects(starts, float(length), with_lag=False)
        table = pd.DataFrame(
            {
                "hour": number,
                "begin": effects.begin_seconds,
                "peak": effects.spool_peak_bytes,
                "open": ~effects.caught_up,
            }
        )
        groups = table.groupby("hour")
        most = groups["peak"].max()
        # Of weeks that are alike the first one: which is the largest only rounding knows.
        near = table["peak"] >= table["hour"].map(most) - EMPTY_BYTES
        worst = table[near].groupby("hour").head(1).set_index("hour").sort_index()
        tables.append(
            pd.DataFrame(
                {
                    "length_seconds": float(length),
                    "hour": worst.index.to_numpy(),
                    "spool_bytes": most.to_numpy(),
                    "worst_begin_seconds": worst["begin"].to_numpy(),
                    "starts": groups.size().to_numpy(),
                    "not_caught_up": groups["open"].sum().to_numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class SpoolSize:
    """How large a spool should be.

    Attributes
    ----------
    length_seconds: of the outage that it has to survive.
    needed_bytes: of the worst start.
    worst_begins_at: that start, local time in ISO format.
    worst_hour: of the day.
    recommended_bytes: with the margin.
    rule_of_thumb_bytes: a tenth of the data set; None when its size is not known.
    remark: why no size is enough; else empty.
    waiting_before_bytes, at_return_bytes: of what is needed, what waits already when that outage
        begins, and what waits when the line is back; the rest comes while it catches up.
    """

    length_seconds: float
    needed_bytes: float
    worst_begins_at: str
    worst_hour: int
    recommended_bytes: float
    rule_of_thumb_bytes: float | None
    remark: str = ""
    waiting_before_bytes: float = 0.0
    at_return_bytes: float = 0.0


def spool_size(
    model: OutageModel,
    length_seconds: float,
    data_set_bytes: float | None = None,
    margin: float = SPOOL_MARGIN,
    rule_of_thumb_share: float = RULE_OF_THUMB_SHARE,
    within_seconds: float | None = None,
) -> SpoolSize:
    """The spool that survives an outage of a length, whenever it begins.

    ``within_seconds`` as for :func:`~.outage_starts.worst_starts`.

    Raises ValueError as :func:`spool_surface`, and for a margin below 0.
    """
    if not 0 <= margin < np.inf:
        raise ValueError("a margin is 0 or more")
    surface = spool_surface(model, [length_seconds], within_seconds=within_seconds)
    worst = surface.loc[surface["spool_bytes"].idxmax()]
    needed, open_ = float(worst["spool_bytes"]), int(surface["not_caught_up"].sum())
    remark = ""
    if open_:
        remark = (
            f"no spool is enough: begun at {open_:,} of {int(surface['starts'].sum()):,} times "
            "that were tried, it is not caught up within the plan"
        )
    begin = np.array([float(worst["worst_begin_seconds"])])
    before = float(model.waiting_bytes(begin)[0])
    end = begin + whole_steps(length_seconds, model.grid.step_seconds) * model.grid.step_seconds
    return SpoolSize(
        float(length_seconds),
        needed,
        model.grid.time_at(
            float(worst["worst_begin_seconds"]) / model.grid.step_seconds
        ).isoformat(),
        int(worst["hour"]),
        size_to_buy(needed, margin),
        None if data_set_bytes is None else data_set_bytes * rule_of_thumb_share,
        remark,
        before,
        before + float(model.ready_bytes(begin, end)[0]),
    )


def spool_lasts(
    model: OutageModel,
    limit_bytes: float,
    hours: Hours = "day",
    within_seconds: float | None = None,
) -> pd.DataFrame:
    """How long a spool of a size lasts when the link goes down, by the hour.

    A row for each hour: ``hour``, ``shortest_seconds`` and ``median_seconds`` over all steps of
    that hour as starts; None where the spool is not full before the curve ends (of so many:
    ``never``, of ``starts``).  ``within_seconds`` as for :func:`~.outage_starts.worst_starts`.
    """
    if not 0 <= limit_bytes < np.inf:
        raise ValueError("a spool has no negative size")
    starts, number = every_start(model.grid, hours, within_seconds)
    lasts = model.seconds_until_full(starts, limit_bytes)
    rows = []
    for hour in np.unique(number):
        # What never is full lasts longest.
        of = np.sort(np.where(np.isnan(lasts), np.inf, lasts)[number == hour])
        rows.append(
            {
                "hour": int(hour),
                "shortest_seconds": or_none(of[0]),
                "median_seconds": or_none(of[(len(of) - 1) // 2]),
                "never": int(np.isinf(of).sum()),
                "starts": len(of),
            }
        )
    return answer_frame(rows)


# -- at the replica --------------------------------------------------------------------------


def replica_spool(
    change: ChangeCurve,
    suspended_seconds: Mapping[str, float],
    apply_bytes_per_second: float,
    amounts: Floats | None = None,
    within_seconds: float | None = None,
) -> pd.DataFrame:
    """What waits at the replica because it is not applied, by cause.

    Arguments
    ---------
    suspended_seconds: how long nothing is applied, by cause ("initial synchronization",
        "integrity test", "delayed copy").
    apply_bytes_per_second: how fast it is applied otherwise.
    amounts: bytes that arrive in each step; by default logs and pages as they are written.
    within_seconds: as for :func:`~.outage_starts.worst_starts`; by default all of the curve.

    A row for each cause, and one for ``slow disk`` (nothing suspended): ``cause``, ``seconds``,
    ``spool_bytes`` (at the worst start, until it is caught up), ``begins_at`` (that start),
    ``reason`` (empty, or why there is no figure).

    Raises ValueError for times that are negative, and a rate that is not positive.
    """
    if not 0 < apply_bytes_per_second < np.inf:
        raise ValueError("a replica applies some bytes each second")
    grid, arrivals = change.grid, change.written_bytes if amounts is None else amounts
    arrived = cumulative(arrivals)
    apply = np.full(grid.steps, apply_bytes_per_second * grid.step_seconds)
    # To suspend applying is an outage of the disk.
    model = OutageModel(Queue(grid, arrived, arrived, 0.0, 1.0, 0.0), apply)
    looked_at = grid.steps
    if within_seconds is not None:
        looked_at = min(grid.steps, whole_steps(within_seconds, grid.step_seconds))
    busiest = float(np.argmax(backlog(arrivals, apply)[:looked_at]) + 1) * grid.step_seconds
    mean = float(arrivals.sum()) / grid.span_seconds
    rows = []
    for cause, seconds in {**suspended_seconds, "slow disk": 0.0}.items():
        if not 0 <= seconds < np.inf:
            raise ValueError(f"{cause}: a time cannot be {seconds} s")
        row: dict[str, object] = {
            "cause": cause,
            "seconds": float(seconds),
            "spool_bytes": None,
            "begins_at": None,
        }
        if mean >= apply_bytes_per_second:
            row["reason"] = (
                f"never caught up: {format_volume(mean)} a second arrive, "
                f"{format_volume(apply_bytes_per_second)} are applied"
            )
        elif seconds > grid.span_seconds:
            row["reason"] = "longer than the curve"
        else:
            starts, _numbers = worst_starts(model, seconds, "day", within_seconds)
            if not seconds:
                starts = np.append(starts, busiest)  # it may be the end of it
            effects = model.effects(starts, float(seconds), with_lag=False)
            worst = int(np.argmax(effects.spool_peak_bytes))
            row["begins_at"] = grid.time_at(
                float(effects.begin_seconds[worst]) / grid.step_seconds
            ).isoformat()
            row["reason"] = NOT_APPLIED
            if effects.caught_up[worst]:
                row["spool_bytes"] = float(effects.spool_peak_bytes[worst])
                row["reason"] = ""
        rows.append(row)
    return answer_frame(rows)


# -- the log volume --------------------------------------------------------------------------


@dataclass(frozen=True)
class LogVolume:
    """How long a log volume lasts when nothing is truncated.

    Attributes
    ----------
    free_bytes: at the begin.
    shortest_days, median_days: over all steps as starts; None where the curve ends before.
    worst_begins_at: the start of the shortest, local time in ISO format; None likewise.
    reason: why there is no figure; else empty.
    """

    free_bytes: float
    shortest_days: float | None
    median_days: float | None
    worst_begins_at: str | None
    reason: str = ""


def log_volume(
    change: ChangeCurve,
    free_bytes: float,
    log_bytes: Floats | None = None,
    within_seconds: float | None = None,
) -> LogVolume:
    """Days until a log volume is full while truncation is blocked: a copy is suspended, backups
    fail.

    Arguments
    ---------
    free_bytes: at the begin.
    log_bytes: what comes on it in each step; by default the logs as they are written.
    within_seconds: only starts before this time; by default all.

    Raises ValueError for free space that is negative.
    """
    if not 0 <= free_bytes < np.inf:
        raise ValueError("free space is 0 or more")
    grid, sums = change.grid, cumulative(change.log_bytes if log_bytes is None else log_bytes)
    step = grid.step_seconds
    if sums[-1] <= 0:
        return LogVolume(free_bytes, None, None, None, "no logs are written")
    within = grid.steps if within_seconds is None else ceil(within_seconds / step)
    starts = np.arange(min(grid.steps, within))
    full = np.searchsorted(sums, sums[starts] + free_bytes, side="left")
    full = np.maximum(full, starts)  # sums that stand still have their least place before
    took = np.where(full <= grid.steps, (full - starts) * step / DAY_SECONDS, np.inf)
    order = np.sort(took)
    shortest, median = or_none(order[0]), or_none(order[(len(order) - 1) // 2])
    if shortest is None:
        reason = f"not full within the {change.days:,.1f} days of the curve"
        return LogVolume(free_bytes, None, None, None, reason)
    worst = grid.time_at(int(starts[int(np.argmin(took))])).isoformat()
    reason = "" if median is not None else "from most starts not full within the curve"
    return LogVolume(free_bytes, shortest, median, worst, reason)
