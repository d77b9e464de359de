"""How busy a link is: what a protection offers it, against what it can carry.

Theory
------
Over a plan, the mean of what is offered to what can be carried tells whether a link ever catches
up; the worst hour tells how long changes wait in the peak.  What streams cannot carry, and what a
protection that sends one log at a time leaves unused while it waits, the link does not have.

How much of a line its streams can use does not depend on the hour: :func:`stream_use` tells it of
the line outside of its schedule, and how many streams would use all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import numpy as np

from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import HOUR_SECONDS, Floats
from simulator.plan.plan_units import format_volume
from simulator.plan.protection import LogShipping, Protection, Queued
from simulator.units import format_duration

_UNBOUNDED_WINDOW: Final = 1 << 50
_A_LITTLE: Final = 1e-9


def unlimited_capacity(change: ChangeCurve) -> Floats:
    """A link that carries all of a plan within any step."""
    everything = float(change.written_bytes.sum() + change.message_bytes.sum())
    enough = 4.0 * (everything + (change.stored_bytes or 0.0)) + change.log_file_bytes
    return np.full(change.grid.steps, enough)


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


@dataclass(frozen=True)
class StreamUse:
    """What the TCP streams of a line can use of it, outside of its schedule.

    Attributes
    ----------
    room_bits_per_second: of data, that headers leave of the line.
    streams_bits_per_second: of that, what the streams carry, by window and loss.
    usable_bits_per_second: of that, what the protection can use: logs wait for answers.
    streams_to_fill: as many streams would carry all that the line has room for.
    """

    room_bits_per_second: float
    streams_bits_per_second: float
    usable_bits_per_second: float
    streams_to_fill: int


def stream_use(link: PlannedLink, protection: Protection, change: ChangeCurve) -> StreamUse:
    """How much of a line its streams can use."""
    room = link.bits_per_second * link.payload_share / 8
    stream = link.streams_bytes_per_second / link.streams
    carried = min(room, link.streams_bytes_per_second)
    usable = carried
    if isinstance(protection, LogShipping):
        step = change.grid.step_seconds
        [left] = protection.usable_bytes(change, np.array([carried * step]))
        usable = min(carried, float(left) / step)
    to_fill = max(1, ceil(room / stream * (1 - _A_LITTLE)))
    return StreamUse(8.0 * room, 8.0 * carried, 8.0 * usable, to_fill)


def loss_bytes_per_second(link: PlannedLink) -> float:
    """What loss alone lets one stream carry; inf without loss."""
    return replace(link, tcp_window_bytes=_UNBOUNDED_WINDOW, streams=1).streams_bytes_per_second


def stream_bound(link: PlannedLink) -> str:
    """What bounds a stream of a link, in words: its window or loss."""
    trip = f"over {format_duration(link.rtt_seconds)}"
    if link.tcp_window_bytes / max(link.rtt_seconds, 1e-12) < loss_bytes_per_second(link):
        return f"the window of {format_volume(link.tcp_window_bytes)} {trip}"
    return f"loss of {100 * link.loss:g} % {trip}"


def _times(share: float) -> str:
    """``1.4 times``: three digits, all before the point."""
    return f"{share:,.0f} times" if share >= 100 else f"{share:.3g} times"
