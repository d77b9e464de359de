"""What a link can carry away in each step of a plan: rate by calendar, TCP bounds, outages.

The line rate follows weekly windows (an entry holds from one time of day to another, on some
days); of several the first one counts.  A window has a rate of its own, which stays in proportion
to that of the line, or others take so much of the line meanwhile, however fast it is.  Of the rate
``payload_share`` is left after headers.  TCP bounds what one stream carries (window and loss, see
:class:`simulator.link.LinkModel`), and so many streams together carry so many times that, the line
rate at most.

A stream that begins cold for each unit (a log pulled over a new connection) loses the round trips
of slow start each time (:func:`simulator.tcp.cold_seconds`).

Leaves out: other traffic on the line, but for what windows say is taken, and that streams share a
line unevenly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from simulator import tcp
from simulator.link import LinkModel
from simulator.plan.fluid import cumulative
from simulator.plan.grid import DAY_SECONDS, Floats, TimeGrid

EVERY_DAY: Final = (0, 1, 2, 3, 4, 5, 6)
ETHERNET_PAYLOAD_SHARE: Final = 0.94
"""Of 1,500-byte packets on Ethernet; 0.90 for the framing of wide-area lines [D][A]."""


@dataclass(frozen=True)
class RateWindow:
    """Another line rate at certain times of the week.

    Arguments
    ---------
    from_seconds, until_seconds: times of day; until may be before from: past midnight.
    bits_per_second: the line rate meanwhile; None where something is taken.
    days: Monday 0 to Sunday 6, the day on which the window begins.
    taken_bits_per_second: of the line, by others meanwhile; None for a rate of its own.

    Raises ValueError for a window with both, or neither.
    """

    from_seconds: float
    until_seconds: float
    bits_per_second: float | None = None
    days: tuple[int, ...] = EVERY_DAY
    taken_bits_per_second: float | None = None

    def __post_init__(self) -> None:
        if (self.bits_per_second is None) == (self.taken_bits_per_second is None):
            raise ValueError("a window has a rate of its own, or says what is taken of the line")

    def rate_on(self, line_bits_per_second: float) -> float:
        """The rate meanwhile on a line of a rate, in bits per second, never below 0; one of its own
        is what it is."""
        if self.bits_per_second is not None:
            return self.bits_per_second
        return max(0.0, line_bits_per_second - (self.taken_bits_per_second or 0.0))

    def in_proportion(self, ratio: float) -> RateWindow:
        """The same window on a line so many times as fast; what is taken stays as it is."""
        if self.bits_per_second is None:
            return self
        return replace(self, bits_per_second=self.bits_per_second * ratio)


@dataclass(frozen=True)
class PlannedLink:
    """A link as a plan takes it.

    Arguments
    ---------
    bits_per_second: line rate outside of the windows.
    rtt_seconds: round-trip time of the empty link.
    loss: share of packets lost.
    tcp_window_bytes: largest window of a stream.
    streams: TCP streams that share the work; infinite loss or window bounds do not add up beyond
        the line rate.
    payload_share: of the line rate, what is left for data after headers.
    windows: other rates at times of the week; of some only what is left of the line's.
    mss_bytes: payload of one segment.
    initial_window_segments: of a stream that begins cold for each unit it carries; None for
        streams that stay warm.
    """

    bits_per_second: float
    rtt_seconds: float = 0.0
    loss: float = 0.0
    tcp_window_bytes: int = 16 << 20
    streams: int = 1
    payload_share: float = ETHERNET_PAYLOAD_SHARE
    windows: tuple[RateWindow, ...] = ()
    mss_bytes: int = 1460
    initial_window_segments: int | None = None

    @property
    def streams_bytes_per_second(self) -> float:
        """What all streams carry on a line of unlimited rate; inf when nothing bounds them."""
        model = LinkModel(
            bits_per_second=max(1, int(self.bits_per_second)),
            rtt_ns=int(self.rtt_seconds * 1e9),
            loss=self.loss,
            tcp_window_bytes=self.tcp_window_bytes,
            mss_bytes=self.mss_bytes,
        )
        return model.stream_bytes_per_second() * self.streams

    def bytes_per_second_at(self, bits_per_second: float, unit_bytes: float = 0.0) -> float:
        """Data carried each second at a line rate.

        Arguments
        ---------
        unit_bytes: what a stream carries at a time, with a cold start for each where the link
            says so; a closed log, for instance.  0 for a stream without end.
        """
        warm = min(bits_per_second * self.payload_share / 8, self.streams_bytes_per_second)
        if self.initial_window_segments is None or not unit_bytes or warm <= 0:
            return warm
        one = tcp.cold_seconds(
            unit_bytes,
            self.rtt_seconds,
            warm / self.streams,
            self.initial_window_segments * self.mss_bytes,
        )
        # The next unit is asked for when the last byte of one is there.
        return self.streams * unit_bytes / float(one)

    def at_rate(self, bits_per_second: float) -> PlannedLink:
        """The same link with another line rate: windows with a rate of their own keep their ratio
        to it, of the others the same is taken.

        Raises ValueError for a link without a rate, and a rate that is not positive.
        """
        if self.bits_per_second <= 0 or bits_per_second <= 0:
            raise ValueError("only a positive line rate can be changed to another one")
        ratio = bits_per_second / self.bits_per_second
        windows = tuple(window.in_proportion(ratio) for window in self.windows)
        return replace(self, bits_per_second=bits_per_second, windows=windows)

    @property
    def highest_bits_per_second(self) -> float:
        """The largest line rate of any time."""
        rates = (window.rate_on(self.bits_per_second) for window in self.windows)
        return max(self.bits_per_second, *rates, 0.0)

    def capacity_bytes(self, grid: TimeGrid, unit_bytes: float = 0.0) -> Floats:
        """Data that can be carried in each step; shape (steps,)."""

        def carried(bits_per_second: float) -> float:
            return self.bytes_per_second_at(bits_per_second, unit_bytes)

        week = round(7 * DAY_SECONDS / grid.step_seconds)
        if self.windows and grid.steps > week and week * grid.step_seconds == 7 * DAY_SECONDS:
            # Windows come again each week: one is looked at, however long the plan.
            one = self.capacity_bytes(replace(grid, steps=week), unit_bytes)
            return np.resize(one, grid.steps)
        per_second = np.full(grid.steps, carried(self.bits_per_second))
        for window in reversed(self.windows):
            share = share_in_window(grid, window)
            rate = window.rate_on(self.bits_per_second)
            per_second += share * (carried(rate) - per_second)
        return per_second * grid.step_seconds


def share_in_window(grid: TimeGrid, window: RateWindow) -> Floats:
    """Which part of each step lies in a weekly window."""
    begin = grid.seconds_of_week()
    share = np.zeros(grid.steps)
    length = (window.until_seconds - window.from_seconds) % DAY_SECONDS or DAY_SECONDS
    for day in window.days:
        for week in (-7, 0, 7):
            opens = (day + week) * DAY_SECONDS + window.from_seconds
            inside = np.minimum(begin + grid.step_seconds, opens + length)
            inside -= np.maximum(begin, opens)
            share += np.maximum(inside, 0.0)
    return np.minimum(share / grid.step_seconds, 1.0)


def without(
    capacity_bytes: Floats, grid: TimeGrid, outages: Iterable[tuple[float, float]]
) -> Floats:
    """The capacity with nothing carried during outages.

    Arguments
    ---------
    outages: begin and length of each, in seconds from the begin of the grid; what is behind its
        end is left out.

    Raises ValueError for an outage that does not begin within the grid: it would be dropped.
    """
    left = capacity_bytes.copy()
    for begin, length in outages:
        if not 0 <= begin < grid.span_seconds:
            raise ValueError(
                f"an outage begins {begin:,.0f} s from the begin of a grid of "
                f"{grid.span_seconds:,.0f} s"
            )
        first = max(0.0, begin / grid.step_seconds)
        last = min(float(grid.steps), (begin + length) / grid.step_seconds)
        if last <= first:
            continue
        low, high = int(first), int(last)
        if low == high:
            left[low] *= 1 - (last - first)
            continue
        left[low] *= first - low
        left[low + 1 : high] = 0.0
        if high < grid.steps:
            left[high] *= high + 1 - last
    return left


def carried_until(
    capacity_bytes: Floats, grid: TimeGrid, begin_seconds: float, amount: float
) -> float | None:
    """When so many bytes have been carried, in seconds; None when not within the grid."""
    sums = cumulative(capacity_bytes)
    place = begin_seconds / grid.step_seconds
    before = float(np.interp(place, np.arange(grid.steps + 1), sums))
    wanted = before + amount
    if wanted > sums[-1]:
        return None
    step = int(np.searchsorted(sums, wanted, side="left"))
    if step == 0:
        return begin_seconds
    carried = sums[step] - sums[step - 1]
    within = (wanted - sums[step - 1]) / carried if carried > 0 else 0.0
    return max(begin_seconds, (step - 1 + within) * grid.step_seconds)
