"""What a link is: line rate and its schedule, round trip, loss, and TCP's parameters on it.

Plain figures, the same for the emulated link (:mod:`simulator.link`), the relay of live runs and
a plan.  What they make of one TCP stream stands in :mod:`simulator.tcp`; of slow start, in
:mod:`simulator.slow_start`.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator import tcp

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class LinkModel:
    """What a link is; both directions are alike.

    Arguments
    ---------
    bits_per_second: line rate outside of the schedule.
    rtt_ns: round-trip time of an empty link.
    loss: share of packets lost, 0 to below 1.
    tcp_window_bytes: receive window of each connection; also bounds what is unread.
    jitter_ns: each chunk is late by up to so much, evenly distributed.
    mss_bytes: payload of one segment; also the least that a chunk holds.
    schedule: pieces ``(start_ns_of_day, end_ns_of_day, bits_per_second)``; the first that
        fits counts; a piece with ``end < start`` runs past midnight.
    day_offset_ns: time of day at simulated time 0.
    payload_share: payload bits per line bit (0.94 for Ethernet, 0.90 for WAN framing).
    mathis_factor, segments_per_ack, retransmission_timeout_ns: C, b and RTO of the loss bound;
        an RTO of None is the larger of 200 ms and two round trips.
    initial_window_segments: a connection begins with so many segments and slow start; None:
        it has its whole window from the start.
    delayed_acknowledgements: slow start multiplies the window by 1.5 in place of 2.
    restart_when_idle: what was idle for longer than RTO begins anew; without slow start
        nothing does.
    """

    bits_per_second: float
    rtt_ns: int
    loss: float = 0.0
    tcp_window_bytes: int = 16 * 1024 * 1024
    jitter_ns: int = 0
    mss_bytes: int = 1460
    schedule: tuple[tuple[int, int, float], ...] = ()
    day_offset_ns: int = 0
    payload_share: float = 1.0
    mathis_factor: float = tcp.MATHIS_FACTOR
    segments_per_ack: int = 2
    retransmission_timeout_ns: int | None = None
    initial_window_segments: int | None = None
    delayed_acknowledgements: bool = False
    restart_when_idle: bool = True

    def __post_init__(self) -> None:
        if self.bits_per_second < 0 or any(rate < 0 for _, _, rate in self.schedule):
            raise ValueError("bits_per_second must not be negative")
        if any(not 0 <= t <= DAY_NS for start, end, _ in self.schedule for t in (start, end)):
            raise ValueError("schedule times must lie within one day")
        if self.rtt_ns < 0 or self.jitter_ns < 0 or not 0 <= self.loss < 1:
            raise ValueError("rtt_ns and jitter_ns must not be negative, loss must be in [0, 1)")
        if self.tcp_window_bytes < 1 or self.mss_bytes < 1 or not 0 < self.payload_share <= 1:
            raise ValueError("window, MSS and payload share must be positive")
        if self.initial_window_segments is not None and self.initial_window_segments < 1:
            raise ValueError("initial_window_segments must be at least 1, or None")

    def scheduled_bits_per_second(self, now_ns: int) -> float:
        """The line rate that the schedule gives at a simulated time."""
        if not self.schedule:
            return self.bits_per_second
        time_ns = (now_ns + self.day_offset_ns) % DAY_NS
        for start, end, rate in self.schedule:
            if start <= time_ns < end or (end < start and not end <= time_ns < start):
                return rate
        return self.bits_per_second

    def next_change_ns(self, now_ns: int) -> int | None:
        """The next simulated time at which the schedule may change the rate."""
        time_ns = (now_ns + self.day_offset_ns) % DAY_NS
        edges = {edge % DAY_NS for start, end, _ in self.schedule for edge in (start, end)}
        waits = [(edge - time_ns) % DAY_NS or DAY_NS for edge in edges]
        return now_ns + min(waits) if waits else None

    @property
    def timeout_s(self) -> float:
        """The retransmission timeout."""
        if self.retransmission_timeout_ns is not None:
            return self.retransmission_timeout_ns / SECOND_NS
        return tcp.retransmission_timeout_s(self.rtt_ns / SECOND_NS)

    def stream_bytes_per_second(self) -> float:
        """What one warm TCP stream carries at most on an empty link of unlimited rate."""
        rtt_s = self.rtt_ns / SECOND_NS
        loss_bound = tcp.loss_bound(
            self.mss_bytes,
            rtt_s,
            self.loss,
            mathis_factor=self.mathis_factor,
            segments_per_ack=self.segments_per_ack,
            timeout_s=self.timeout_s,
        )
        return min(tcp.window_bound(self.tcp_window_bytes, rtt_s), loss_bound)
