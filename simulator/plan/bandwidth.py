"""The line rate that an objective needs, for shares of the time.

Theory
------
The least rate that keeps the lag within an objective is searched (:mod:`.lag_by_rate`), once with
streams that nothing bounds, and where the real ones cannot carry that, once more with these.

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
from math import ceil
from typing import Final

import numpy as np
import pandas as pd

from replicator.units import format_bits_per_second
from simulator.plan.answers import answer_frame, round_up
from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.lag_by_rate import LEAST_BITS, MOST_BITS, LagByRate, silent
from simulator.plan.link_use import (
    loss_bytes_per_second,
    offered_bytes,
    stream_bound,
    unlimited_capacity,
)
from simulator.plan.plan_units import format_share, format_volume
from simulator.plan.protection import Protection
from simulator.plan.schedule_words import windows_words
from simulator.plan.violations import SHARES_OF_TIME
from simulator.units import format_duration

TOLERANCE: Final = 0.001
"""Of the rate found, as a share."""


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


def required_rates(
    protection: Protection,
    change: ChangeCurve,
    link: PlannedLink,
    rpo_seconds: float,
    shares_of_time: Sequence[float] = SHARES_OF_TIME,
    tolerance: float = TOLERANCE,
    outages: Sequence[tuple[float, float]] = (),
    tell: Callable[[str], None] = silent,
    margin_seconds: float = 0.0,
) -> list[RequiredRate]:
    """The line rates that an RPO needs.

    Arguments
    ---------
    link: its rate does not matter, but for the ratio of its windows to it; what others take of it
        does.
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
    underway = 0

    def telling(what: str) -> None:
        tell(f"share of the time {underway} of {len(shares_of_time)}, {what}")

    free = replace(link, rtt_seconds=0.0, loss=0.0)
    unbounded = LagByRate(protection, change, free, shares_of_time, outages, telling)
    bounded = LagByRate(protection, change, link, shares_of_time, outages, telling)
    unlimited = unlimited_capacity(change)
    at_best = unbounded.of(unlimited)
    without_outages = LagByRate(protection, change, free, shares_of_time, ()).of(unlimited)
    offered = float(offered_bytes(protection, change).sum()) / change.grid.span_seconds
    start = max(LEAST_BITS, offered * 8 / link.payload_share)
    found = []
    for share in shares_of_time:
        underway += 1
        if at_best[share] > rpo_seconds >= without_outages[share]:
            reason = (
                "with the outages at dates no line does better than "
                f"{format_duration(at_best[share])} for {format_share(share)} of the time"
            )
            found.append(RequiredRate(share, None, reason))
            continue
        if at_best[share] > rpo_seconds:
            reason = (
                f"{protection.name} does no better than {format_duration(at_best[share])} for "
                f"{format_share(share)} of the time even over an unlimited link: change its "
                "interval, logs or delay"
            )
            found.append(RequiredRate(share, None, reason))
            continue
        # What no line keeps with room is still to be kept.
        roomy_seconds = max(rpo_seconds - margin_seconds, rpo_seconds / 2)
        wanted_seconds = roomy_seconds if at_best[share] <= roomy_seconds else rpo_seconds
        free_rate = unbounded.least_rate(share, wanted_seconds, start, tolerance)
        if free_rate is None:
            found.append(RequiredRate(share, None, _never(link)))
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
    streams = ceil(needed_bytes_per_second / stream)
    per_stream = needed_bytes_per_second / link.streams
    window = (
        ceil(per_stream * link.rtt_seconds) if per_stream <= loss_bytes_per_second(link) else None
    )
    remedy = _counted(streams) + (
        f", or a window of {format_volume(round_up(window))}," if window else ""
    )
    line = f"a line of {format_bits_per_second(round_up(free_rate))}"
    if link.windows:
        line += f", with {windows_words(link, round_up(free_rate))},"
    reason = (
        f"{stream_bound(link)} bounds {_counted(link.streams)} to "
        f"{_rate(link.streams_bytes_per_second)}, "
        f"{_rate(needed_bytes_per_second)} are needed: {remedy} and {line} would do"
    )
    return RequiredRate(share, None, reason, streams, window, free_rate)


def _never(link: PlannedLink) -> str:
    """Why not even the fastest line that is looked at does it."""
    if link.windows:
        return "the link is down for too long by its windows"
    return f"more than {format_bits_per_second(MOST_BITS)} would be needed"


def _rate(bytes_per_second: float) -> str:
    return format_bits_per_second(8.0 * bytes_per_second)


def _counted(streams: int) -> str:
    return f"{streams:,} stream" if streams == 1 else f"{streams:,} streams"


def required_rates_frame(rates: Sequence[RequiredRate]) -> pd.DataFrame:
    """A row for each share of time, the columns those of :class:`RequiredRate`; None for never."""
    return answer_frame(rates, RequiredRate.__dataclass_fields__)
