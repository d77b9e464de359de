"""The line rate that an objective needs, the lag that a line gives, and when it is exceeded.

Theory
------
The lag of a queue never grows with the service, so the rate that keeps it within an objective for
a share of the time is found by bisection.  (A protection that takes snapshots may do a little
better on a slower line, because a late run takes a later snapshot: then the rate found is one at
which the objective holds, and below which it just did not.)  A link keeps its shape meanwhile: the
rates of its windows stay in proportion, and what bounds its TCP streams stays as it is.

What streams cannot carry no line rate helps.  Then the rate is None, and the reason says which
bound it is (window / round trip, or loss), and how many streams, or what window, would do, and on
what line: the planned one may be too slow beside.

A share of time counts the ends of steps.  Within a step a line may carry what comes at its end
with what it could have carried at its begin, so a lag on a grid may be up to a step too small, and
the rate too low: by 5 % for an objective of 15 minutes on steps of one.  A margin of a step makes
it high enough (``docs/plan-truth-rates.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from math import ceil
from typing import Final

import numpy as np
import pandas as pd

from replicator.units import format_bits_per_second, format_seconds
from simulator.plan.answers import answer_frame, round_up
from simulator.plan.capacity import PlannedLink, without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, Floats
from simulator.plan.protection import Course, LogShipping, Protection, Queued

SHARES_OF_TIME: Final = (1.0, 0.99, 0.95, 0.90)
TOLERANCE: Final = 0.001
"""Of the rate found, as a share."""
_UNBOUNDED_WINDOW: Final = 1 << 50
_LEAST_BITS: Final = 1.0
_MOST_BITS: Final = 1e13
"""More than any line: where streams are bounded, all of them are."""


@dataclass(frozen=True)
class RequiredRate:
    """The least line rate that keeps the lag within an objective for a share of the time.

    Attributes
    ----------
    share_of_time: of the steps.
    bits_per_second: the line rate outside of windows; None when no rate does it.
    reason: why not; empty where there is a rate.
    streams: how many TCP streams would do on a line of ``without_bound_bits_per_second``; None
        where that is not what is missing.
    window_bytes: what TCP window would do instead; None where it is not, or loss forbids it.
    without_bound_bits_per_second: the line rate if streams were not bounded; None where no link
        does it.
    """

    share_of_time: float
    bits_per_second: float | None
    reason: str = ""
    streams: int | None = None
    window_bytes: int | None = None
    without_bound_bits_per_second: float | None = None


def unlimited_capacity(change: ChangeCurve) -> Floats:
    """A link that carries all of a plan within any step."""
    everything = float(change.written_bytes.sum() + change.message_bytes.sum())
    enough = 4.0 * (everything + (change.stored_bytes or 0.0)) + change.log_file_bytes
    return np.full(change.grid.steps, enough)


def _silent(_what: str) -> None:
    return None


class _Lags:
    """Lags at shares of the time by line rate, outages at dates included; each rate is tried
    once."""

    def __init__(
        self,
        protection: Protection,
        change: ChangeCurve,
        link: PlannedLink,
        shares: Sequence[float],
        outages: Sequence[tuple[float, float]],
        tell: Callable[[str], None] = _silent,
    ) -> None:
        self._change, self._link, self._tell = change, link, tell
        self._shares, self._outages = tuple(shares), tuple(outages)
        self._known: dict[float, dict[float, float]] = {}
        if isinstance(protection, Queued):
            self._course = protection.queue(change).course  # what is to be sent does not change
        else:
            self._course = partial(protection.course, change)

    def of(self, capacity_bytes: Floats) -> dict[float, float]:
        course = self._course(without(capacity_bytes, self._change.grid, self._outages))
        lags = np.quantile(course.lag_seconds, self._shares)
        return dict(zip(self._shares, lags.tolist(), strict=True))

    def at(self, bits_per_second: float) -> dict[float, float]:
        if bits_per_second not in self._known:
            self._tell(f"{len(self._known) + 1} rates tried")
            link = self._link.at_rate(bits_per_second)
            self._known[bits_per_second] = self.of(link.capacity_bytes(self._change.grid))
        return self._known[bits_per_second]

    def least_rate(
        self, share: float, rpo_seconds: float, start: float, tolerance: float
    ) -> float | None:
        """By doubling or halving, then bisection; None when even the largest is too slow.

        It begins between the rates that were tried for other shares.
        """
        if self.at(_MOST_BITS)[share] > rpo_seconds:
            return None
        fast = [rate for rate, lags in self._known.items() if lags[share] <= rpo_seconds]
        good = min(start, *fast)
        while self.at(good)[share] > rpo_seconds:
            good = min(good * 2.0, *(rate for rate in fast if rate > good))
        slow = [rate for rate in self._known if rate < good]
        bad = max((rate for rate in slow if self.at(rate)[share] > rpo_seconds), default=good / 2.0)
        while self.at(bad)[share] <= rpo_seconds:
            good = bad
            if good <= _LEAST_BITS:
                return good
            bad /= 2.0
        while good > bad * (1.0 + tolerance):
            middle = (good + bad) / 2.0
            if self.at(middle)[share] <= rpo_seconds:
                good = middle
            else:
                bad = middle
        return good


def required_rates(
    protection: Protection,
    change: ChangeCurve,
    link: PlannedLink,
    rpo_seconds: float,
    shares_of_time: Sequence[float] = SHARES_OF_TIME,
    tolerance: float = TOLERANCE,
    outages: Sequence[tuple[float, float]] = (),
    tell: Callable[[str], None] = _silent,
    margin_seconds: float = 0.0,
) -> list[RequiredRate]:
    """The line rates that an RPO needs.

    Arguments
    ---------
    link: its rate does not matter, but for the ratio of its windows to it.
    rpo_seconds: the largest lag allowed.
    shares_of_time: of the steps at which it must hold; a rate for each.
    tolerance: of the rates, as a share.
    outages: at dates, during which no line carries anything; as for
        :func:`~simulator.plan.capacity.without`.
    tell: called with a few words before each rate that is tried.
    margin_seconds: by so much, but no more than half of it, the objective is kept with room, where
        any line can; a step of the grid is enough.

    Raises ValueError for an RPO that is negative, a share not above 0 or above 1, or a tolerance
    not above 0.
    """
    if not 0 <= rpo_seconds < np.inf:
        raise ValueError(f"an RPO cannot be {rpo_seconds} s")
    if not all(0 < share <= 1 for share in shares_of_time) or not shares_of_time:
        raise ValueError("shares of time lie above 0, up to 1")
    if not 0 < tolerance < 1:
        raise ValueError("a tolerance lies between 0 and 1")
    free = replace(link, rtt_seconds=0.0, loss=0.0)
    unbounded = _Lags(protection, change, free, shares_of_time, outages, tell)
    bounded = _Lags(protection, change, link, shares_of_time, outages, tell)
    unlimited = unlimited_capacity(change)
    at_best = unbounded.of(unlimited)
    without_outages = _Lags(protection, change, free, shares_of_time, ()).of(unlimited)
    offered = float(offered_bytes(protection, change).sum()) / change.grid.span_seconds
    start = max(_LEAST_BITS, offered * 8 / link.payload_share)
    found = []
    for share in shares_of_time:
        if at_best[share] > rpo_seconds >= without_outages[share]:
            reason = (
                "the outages at dates alone make it lag "
                f"{format_seconds(at_best[share])}, whatever the line"
            )
            found.append(RequiredRate(share, None, reason))
            continue
        if at_best[share] > rpo_seconds:
            reason = (
                f"{protection.name} lags {at_best[share]:,.0f} s even over an unlimited link: "
                "change its interval, logs or delay"
            )
            found.append(RequiredRate(share, None, reason))
            continue
        # What no line keeps with room is still to be kept.
        roomy_seconds = max(rpo_seconds - margin_seconds, rpo_seconds / 2)
        wanted_seconds = roomy_seconds if at_best[share] <= roomy_seconds else rpo_seconds
        free_rate = unbounded.least_rate(share, wanted_seconds, start, tolerance)
        if free_rate is None:
            found.append(RequiredRate(share, None, "the link is down for too long by its windows"))
            continue
        needed = free.at_rate(free_rate).highest_bits_per_second * link.payload_share / 8
        if needed <= link.streams_bytes_per_second * (1 + tolerance):
            found.append(RequiredRate(share, free_rate, without_bound_bits_per_second=free_rate))
            continue
        # Streams cut off the peaks of such a rate; a higher one may still make up at other hours.
        rate = bounded.least_rate(share, wanted_seconds, free_rate, tolerance)
        found.append(
            _bounded(link, share, needed, free_rate)
            if rate is None
            else RequiredRate(share, rate, without_bound_bits_per_second=free_rate)
        )
    return found


def _bounded(
    link: PlannedLink, share: float, needed_bytes_per_second: float, free_rate: float
) -> RequiredRate:
    """What stands in the way when streams cannot carry enough, and what would do."""
    stream = link.streams_bytes_per_second / link.streams
    by_loss = replace(link, tcp_window_bytes=_UNBOUNDED_WINDOW, streams=1).streams_bytes_per_second
    streams = ceil(needed_bytes_per_second / stream)
    per_stream = needed_bytes_per_second / link.streams
    window = ceil(per_stream * link.rtt_seconds) if per_stream <= by_loss else None
    bound = (
        f"the window of {link.tcp_window_bytes:,} bytes over {link.rtt_seconds * 1e3:g} ms"
        if link.tcp_window_bytes / max(link.rtt_seconds, 1e-12) < by_loss
        else f"loss of {100 * link.loss:g} % over {link.rtt_seconds * 1e3:g} ms"
    )
    remedy = _counted(streams) + (f", or a window of {window:,} bytes," if window else "")
    line = f"a line of {format_bits_per_second(round_up(free_rate))}"
    if link.windows:
        line += ", with its other rates in proportion,"
    reason = (
        f"{bound} bounds {_counted(link.streams)} to {_rate(link.streams_bytes_per_second)}, "
        f"{_rate(needed_bytes_per_second)} are needed: {remedy} and {line} would do"
    )
    return RequiredRate(share, None, reason, streams, window, free_rate)


def _rate(bytes_per_second: float) -> str:
    return format_bits_per_second(8.0 * bytes_per_second)


def _counted(streams: int) -> str:
    return f"{streams:,} stream" if streams == 1 else f"{streams:,} streams"


def lags_of_link(
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    shares_of_time: Sequence[float] = SHARES_OF_TIME,
) -> pd.DataFrame:
    """The reverse: what RPO a link gives.  A row for each share: ``share_of_time``,
    ``rpo_seconds``."""
    course = protection.course(change, capacity_bytes)
    lags = np.quantile(course.lag_seconds, shares_of_time)
    return pd.DataFrame({"share_of_time": list(shares_of_time), "rpo_seconds": lags})


# -- when an objective is exceeded -----------------------------------------------------------


def violations(course: Course, rpo_seconds: float) -> pd.DataFrame:
    """Times at which the lag exceeds an RPO.

    A row for each: ``begins_at`` (local time), ``length_seconds``, ``largest_lag_seconds``; whole
    steps.
    """
    over = np.concatenate(([False], course.lag_seconds > rpo_seconds, [False]))
    begin = np.flatnonzero(over[1:] & ~over[:-1])
    end = np.flatnonzero(over[:-1] & ~over[1:])
    grid = course.grid
    largest = np.zeros(len(begin))
    if len(begin):
        # Between two violations the lag is within the objective, so it is never the largest.
        largest = np.maximum.reduceat(course.lag_seconds, begin)
    return pd.DataFrame(
        {
            "begins_at": pd.DatetimeIndex(grid.times()[begin]),
            "length_seconds": (end - begin) * grid.step_seconds,
            "largest_lag_seconds": largest,
        }
    )


def days(course: Course, rpo_seconds: float) -> pd.DataFrame:
    """The largest lag of each day.

    A row for each calendar day: ``date``, ``largest_lag_seconds``, ``violated_seconds`` (time
    during which the lag exceeds the RPO).
    """
    grid = course.grid
    midnight = grid.begins_at.replace(hour=0, minute=0, second=0, microsecond=0)
    offset = (grid.begins_at - midnight).total_seconds()
    day = ((grid.seconds() + offset) // DAY_SECONDS).astype(np.int64)
    first = np.flatnonzero(np.diff(day, prepend=-1))
    over = (course.lag_seconds > rpo_seconds) * grid.step_seconds
    dates = [(midnight + timedelta(days=int(number))).date() for number in day[first]]
    return pd.DataFrame(
        {
            "date": dates,
            "largest_lag_seconds": np.maximum.reduceat(course.lag_seconds, first),
            "violated_seconds": np.add.reduceat(over, first),
        }
    )


# -- how busy a link is ----------------------------------------------------------------------


def offered_bytes(protection: Protection, change: ChangeCurve) -> Floats:
    """What a protection would have a link carry in each step if it carried anything at once."""
    if isinstance(protection, Queued):
        return protection.queue(change).offered_bytes()
    return protection.course(change, unlimited_capacity(change)).carried_bytes


@dataclass(frozen=True)
class LinkUse:
    """How busy a link is.

    Attributes
    ----------
    mean_utilisation: of all that is to be carried to what can be; above 1 it never catches up.
        None for a link that carries nothing.
    peak_hour_utilisation: the same of the worst hour on the clock (of the plan's grid) in which
        the link is up; None when there is none.
    peak_hour_begins_at: when that is, local time in ISO format.
    catches_up: whether the mean is below 1, or nothing is to be carried.
    reason: why it does not; empty when it does.
    """

    mean_utilisation: float | None
    peak_hour_utilisation: float | None
    peak_hour_begins_at: str | None
    catches_up: bool
    reason: str = ""


def link_use(
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    offered: Floats | None = None,
) -> LinkUse:
    """How busy a link is with a protection.

    Arguments
    ---------
    offered: the :func:`offered_bytes`, where they are known already.
    """
    grid = change.grid
    if offered is None:
        offered = offered_bytes(protection, change)
    line, waiting = float(capacity_bytes.sum()), ""
    if isinstance(protection, LogShipping) and protection.piece_bytes:
        capacity_bytes = protection.usable_bytes(change, capacity_bytes)
    could, asked = float(capacity_bytes.sum()), float(offered.sum())
    if could <= 0:
        reason = "" if asked <= 0 else "the link carries nothing"
        return LinkUse(None, None, None, asked <= 0, reason)
    width = min(grid.steps, max(1, round(HOUR_SECONDS / grid.step_seconds)))
    first = np.arange(0, grid.steps - width + 1, width)
    hours, hours_could = (
        np.add.reduceat(each[: len(first) * width], first) for each in (offered, capacity_bytes)
    )
    peak, peak_at = None, None
    up = np.flatnonzero(hours_could > 0)
    if len(up):
        worst = up[np.argmax(hours[up] / hours_could[up])]
        peak = float(hours[worst] / hours_could[worst])
        peak_at = grid.time_at(int(first[worst])).isoformat()
    mean = asked / could
    reason = ""
    if mean >= 1:
        if float(offered.sum()) < line:
            waiting = ", as far as the round trips leave it that each log waits for"
        reason = (
            f"this link can never catch up: the mean load is {_times(mean)} its capacity{waiting}"
        )
    return LinkUse(mean, peak, peak_at, mean < 1, reason)


def _times(share: float) -> str:
    """``1.4 times``: three digits, all before the point."""
    return f"{share:,.0f} times" if share >= 100 else f"{share:.3g} times"


def required_rates_frame(rates: Sequence[RequiredRate]) -> pd.DataFrame:
    """A row for each share of time, the columns those of :class:`RequiredRate`; None for never."""
    return answer_frame(rates, RequiredRate.__dataclass_fields__)
