"""Emulated wide-area link: two transmitters, each shared by paced connections.

Models
------
* Each direction sends one chunk at a time (about 10 ms worth, at most 64 KiB; beyond
  26 Gbit/s, 20 us worth) and serves the connections that have data round robin.  A chunk
  holds the line for bytes / rate.
* One connection is besides paced by what a single TCP stream can carry::

      window bound   W / RTT                                (receive window W)
      loss bound     MSS / RTT * C / sqrt(p)                for p <= 1 %
                     Mathis, Semke, Mahdavi, Ott, ACM CCR 27(3), 1997; C = sqrt(3/2) when
                     each segment is acknowledged, sqrt(3/4) with delayed acknowledgements
      above 1 %      MSS / (RTT sqrt(2bp/3) + RTO min(1, 3 sqrt(3bp/8)) p (1 + 32 p^2))
                     Padhye, Firoiu, Towsley, Kurose, SIGCOMM 1998; b segments per
                     acknowledgement, RTO the retransmission timeout

  C, b and RTO are parameters of :class:`LinkModel`.
* A chunk arrives one-way latency (half of RTT) plus jitter after its last byte was sent,
  never before an earlier chunk of its connection.
* The bandwidth follows a schedule by time of day; :meth:`Link.override_bandwidth` stands over
  it for a while, and others over latency and loss.  Of several the one that began last counts.
* A partition, of one direction or both: what would arrive waits, and comes in order one
  round trip after the heal.  Several may overlap: a direction is open when each has ended.
  Acknowledgements travel the other way, so a connection whose acknowledgements are cut off
  sends one more window and then stops.

Leaves out: slow start and its restart after idleness, the exponential back-off of
retransmission after a partition (TCP may wait seconds longer than one round trip), queues
shared with other traffic, packet headers unless ``payload_share`` says so, delayed
acknowledgements beyond the constants C and b; a chunk keeps the rate at which it began.

Compared with: the single-stream throughputs by window and by loss in the reference tables
``exchange.md`` 2.8, 5.1 and the line rates of 5.2; ``tests/network`` holds them within 5 %.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import Literal, Protocol

from replicator.runtime import Clock
from simulator.overrides import Overrides

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS

MATHIS_FACTOR = 1.22
"""sqrt(3/2): each segment acknowledged.  0.87 fits delayed acknowledgements."""
MATHIS_LIMIT = 0.01
"""Loss above which timeouts dominate and Padhye's formula is used."""
CHUNK_LIMIT_BYTES = 64 * 1024
CHUNK_TIME_NS = 10_000_000
CHUNK_LEAST_TIME_NS = 20_000
"""A chunk need not be shorter than this: finer than what any reader could tell apart."""

Direction = Literal["to_a", "to_b"]
Directions = Literal["both", "to_a", "to_b"]
CorruptHook = Callable[[int, bytes], bytes]
"""Called with the running number of a chunk and its bytes; returns as many bytes."""


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
    mathis_factor, segments_per_ack, retransmission_timeout_ns: C, b and RTO above; an RTO
        of None is the larger of 200 ms and two round trips.
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
    mathis_factor: float = MATHIS_FACTOR
    segments_per_ack: int = 2
    retransmission_timeout_ns: int | None = None

    def __post_init__(self) -> None:
        if self.bits_per_second < 0 or any(rate < 0 for _, _, rate in self.schedule):
            raise ValueError("bits_per_second must not be negative")
        if any(not 0 <= t <= DAY_NS for start, end, _ in self.schedule for t in (start, end)):
            raise ValueError("schedule times must lie within one day")
        if self.rtt_ns < 0 or self.jitter_ns < 0 or not 0 <= self.loss < 1:
            raise ValueError("rtt_ns and jitter_ns must not be negative, loss must be in [0, 1)")
        if self.tcp_window_bytes < 1 or self.mss_bytes < 1 or not 0 < self.payload_share <= 1:
            raise ValueError("window, MSS and payload share must be positive")

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

    def stream_bytes_per_second(self) -> float:
        """What one TCP stream carries at most on an empty link of unlimited rate."""
        rtt_s = self.rtt_ns / SECOND_NS
        window_bound = self.tcp_window_bytes / rtt_s if rtt_s else float("inf")
        return min(window_bound, self._loss_bound(rtt_s))

    def _loss_bound(self, rtt_s: float) -> float:
        p, mss = self.loss, self.mss_bytes
        if p == 0:
            return float("inf")
        if p <= MATHIS_LIMIT:
            return mss / rtt_s * self.mathis_factor / sqrt(p) if rtt_s else float("inf")
        rto_ns = self.retransmission_timeout_ns
        rto_s = max(0.2, 2 * rtt_s) if rto_ns is None else rto_ns / SECOND_NS
        b = self.segments_per_ack
        fast = rtt_s * sqrt(2 * b * p / 3)
        timeout = rto_s * min(1.0, 3 * sqrt(3 * b * p / 8)) * p * (1 + 32 * p * p)
        return mss / (fast + timeout)


class Flow(Protocol):
    """One direction of one connection, as its line sees it."""

    ready_ns: int
    """Pacing: no chunk before this time."""
    arrival_ns: int
    """When the last chunk sent so far arrives: later ones not before."""

    def take(self, limit_bytes: int) -> int:
        """Put up to ``limit_bytes`` on the wire and say how many; 0 when there are none."""

    def deliver(self) -> None:
        """The oldest of what is on the wire has arrived."""

    def chunk_sent(self) -> None:
        """The line is free of this flow's chunk."""

    def lost(self, cause: str) -> None:
        """The link was reset."""


class Line:
    """One direction of a link.  Made by :class:`Link`."""

    def __init__(
        self, clock: Clock, model: LinkModel, name: str, random: Callable[[], float]
    ) -> None:
        self.clock = clock
        self.model = model
        self.name = name
        self.latency_ns = model.rtt_ns // 2
        self.partitioned = False
        self._cuts = 0
        self.sent_bytes = 0
        self.chunks = 0
        self.bandwidth: float | None = None
        self.corrupt: CorruptHook | None = None
        self.watch: Callable[[str, bool], None] | None = None
        """Called with the line's name when it is cut, and with False when it is healed."""
        self.flows: dict[Flow, None] = {}
        self._random = random
        self._stream_rate = model.stream_bytes_per_second()
        self._rate = self._pace = 0.0
        self._chunk_limit = 0
        self._ready: deque[Flow] = deque()
        self._busy = False
        self._closed_until_ns = -1
        self._held: list[Callable[[], None]] = []
        self._settled_ns = 0  # after a heal nothing arrives before this time

    def change(self, model: LinkModel) -> None:
        """What sets off from now on finds another line; what is under way arrives as before.

        A receive window is agreed on with the connection: it stays.
        """
        self.model = model
        self.latency_ns = model.rtt_ns // 2
        self._stream_rate = model.stream_bytes_per_second()
        self._rate = 0.0  # the next chunk finds its pace anew

    # -- transmitting ----------------------------------------------------------------

    def capacity_bytes_per_second(self, now_ns: int) -> float:
        """Payload that the line can carry now; 0 while it is partitioned."""
        if self.partitioned:
            return 0.0
        rate = self.bandwidth
        if rate is None:
            rate = self.model.scheduled_bits_per_second(now_ns)
        return rate * self.model.payload_share / 8

    def enqueue(self, flow: Flow) -> None:
        """A flow has bytes to send and stands in no queue: serve it when its pace allows."""
        if flow.ready_ns > self.clock.now():
            self.clock.at(flow.ready_ns, partial(self._append, flow))
        else:
            self._append(flow)

    def _append(self, flow: Flow) -> None:
        self._ready.append(flow)
        self.serve()

    def serve(self) -> None:
        """Start the next chunk if the line is free and open."""
        if self._busy or self.partitioned:
            return
        while self._ready:
            now = self.clock.now()
            rate = self.capacity_bytes_per_second(now)
            if rate <= 0:
                self._wait_for_schedule(now)
                return
            flow = self._ready.popleft()
            if rate != self._rate:
                self._set_rate(rate)
            size = flow.take(self._chunk_limit)
            if size == 0:
                continue
            end_ns = now + round(size / rate * SECOND_NS)
            flow.ready_ns = now + round(size / self._pace * SECOND_NS)
            self.sent_bytes += size
            self.chunks += 1
            self._busy = True
            self.clock.at(end_ns, partial(self._chunk_sent, flow))
            self._send_off(flow, end_ns)
            return

    def _set_rate(self, rate_bytes_per_second: float) -> None:
        """The line's rate has changed: and with it a connection's pace and what a chunk holds."""
        model = self.model
        self._rate = rate_bytes_per_second
        self._pace = min(rate_bytes_per_second, self._stream_rate)
        worth = int(self._pace * CHUNK_TIME_NS / SECOND_NS)
        # A quarter of the window at most: half a window is on its way at the full pace, so
        # counting the window in whole chunks does not slow a stream below window / RTT.
        most = max(CHUNK_LIMIT_BYTES, worth * CHUNK_LEAST_TIME_NS // CHUNK_TIME_NS)
        limit = min(most, worth, model.tcp_window_bytes // 4)
        self._chunk_limit = max(limit, min(model.mss_bytes, model.tcp_window_bytes))

    def _chunk_sent(self, flow: Flow) -> None:
        self._busy = False
        flow.chunk_sent()
        self.serve()

    def _wait_for_schedule(self, now_ns: int) -> None:
        change_ns = self.model.next_change_ns(now_ns) if self.bandwidth is None else None
        if change_ns is not None and change_ns > self._closed_until_ns:
            self._closed_until_ns = change_ns
            self.clock.at(change_ns, self.serve)

    # -- arriving --------------------------------------------------------------------

    def _send_off(self, flow: Flow, sent_ns: int) -> None:
        arrival_ns = sent_ns + self.latency_ns
        if self.model.jitter_ns:
            arrival_ns += int(self._random() * self.model.jitter_ns)
        if arrival_ns > flow.arrival_ns:
            flow.arrival_ns = arrival_ns
        self.clock.at(flow.arrival_ns, partial(self.arrive, flow.deliver))

    def send_mark(self, flow: Flow) -> None:
        """Carry an end or reset of a flow behind all that it has sent; costs no line time."""
        self._send_off(flow, self.clock.now())

    def carry(self, fn: Callable[[], None]) -> None:
        """Carry a control message: call ``fn`` at the far end."""
        self.clock.at(self.clock.now() + self.latency_ns, partial(self.arrive, fn))

    def arrive(self, fn: Callable[[], None]) -> None:
        """Something has come to the far end now: call ``fn``, unless a cut holds it back."""
        if self.partitioned:
            self._held.append(fn)
        elif self.clock.now() < self._settled_ns:
            self.clock.at(self._settled_ns, partial(self.arrive, fn))
        else:
            fn()

    @property
    def passable(self) -> bool:
        """True when what arrives now is not held back by a partition."""
        return not self.partitioned and self.clock.now() >= self._settled_ns

    def hold(self, fn: Callable[[], None]) -> None:
        """Call ``fn`` when the line has settled after its partition."""
        if self.partitioned:
            self._held.append(fn)
        else:
            self.clock.at(self._settled_ns, partial(self.arrive, fn))

    def cut(self) -> None:
        """A partition begins; it may overlap with others."""
        self._cuts += 1
        if self.watch is not None and not self.partitioned:
            self.watch(self.name, True)
        self.partitioned = True

    def heal(self) -> None:
        """A partition ends; with the last of them what was held back comes."""
        self._cuts = max(0, self._cuts - 1)
        if self.partitioned and not self._cuts:
            self.partitioned = False
            self._settled_ns = self.clock.now() + self.model.rtt_ns
            if self.watch is not None:
                self.watch(self.name, False)
            held, self._held = self._held, []
            for fn in held:
                self.clock.at(self._settled_ns, partial(self.arrive, fn))
            self.serve()

    def drop_all(self, cause: str) -> None:
        """Lose every connection of the line with all that is underway."""
        flows, self.flows = self.flows, {}
        self._ready.clear()
        for flow in flows:
            flow.lost(cause)


def _no_random() -> float:
    raise RuntimeError("a link with jitter needs a stream of random numbers")


class Link:
    """A duplex link between two named hosts.

    Arguments
    ---------
    clock: where its events go.
    a_name, b_name: the hosts at its ends.
    model: rate, latency and so on.
    random: numbers in [0, 1), needed for jitter only.
    """

    def __init__(
        self,
        clock: Clock,
        a_name: str,
        b_name: str,
        model: LinkModel,
        random: Callable[[], float] = _no_random,
    ) -> None:
        self.a_name = a_name
        self.b_name = b_name
        self.model = model
        self.to_a = Line(clock, model, f"{b_name}->{a_name}", random)
        self.to_b = Line(clock, model, f"{a_name}->{b_name}", random)
        self._clock = clock
        self._bandwidths = Overrides(self._set_bandwidth)
        self._latencies = Overrides(self._set_rtt)
        self._losses = Overrides(self._set_loss)

    def line(self, direction: Direction) -> Line:
        return self.to_a if direction == "to_a" else self.to_b

    def lines_from(self, host_name: str) -> tuple[Line, Line]:
        """The line out of a host and the line back to it."""
        if host_name == self.a_name:
            return self.to_b, self.to_a
        return self.to_a, self.to_b

    def partition(self, direction: Directions = "both") -> None:
        """Cut one or both directions until :meth:`heal`; partitions may overlap."""
        for line in self._lines(direction):
            line.cut()

    def heal(self, direction: Directions = "both") -> None:
        """End one partition of one or both directions.

        Where it was the last, what was underway arrives after one round trip.
        """
        for line in self._lines(direction):
            line.heal()

    def _lines(self, direction: Directions) -> tuple[Line, ...]:
        return (self.to_a, self.to_b) if direction == "both" else (self.line(direction),)

    def reset(self) -> None:
        """Break all connections: both ends see ConnectionLost, data in flight is lost."""
        self.to_a.drop_all("reset by the network")
        self.to_b.drop_all("reset by the network")

    def override_bandwidth(self, bits_per_second: float) -> Callable[[], None]:
        """Override the schedule in both directions (0 stops the link); returns what ends that."""
        return self._bandwidths.begin(bits_per_second)

    def override_rtt(self, rtt_ns: int) -> Callable[[], None]:
        """Another round-trip time in place of the link's own; returns what ends that."""
        return self._latencies.begin(rtt_ns)

    def override_loss(self, loss: float) -> Callable[[], None]:
        """Another share of lost packets in place of the link's own; returns what ends that."""
        return self._losses.begin(loss)

    def _set_rtt(self, rtt_ns: float | None) -> None:
        self._change(replace(self.to_a.model, rtt_ns=int(self._own(rtt_ns, self.model.rtt_ns))))

    def _set_loss(self, loss: float | None) -> None:
        self._change(replace(self.to_a.model, loss=self._own(loss, self.model.loss)))

    @staticmethod
    def _own(figure: float | None, own: float) -> float:
        return own if figure is None else figure

    def _change(self, model: LinkModel) -> None:
        for line in (self.to_a, self.to_b):
            line.change(model)

    def _set_bandwidth(self, bits_per_second: float | None) -> None:
        for line in (self.to_a, self.to_b):
            line.bandwidth = bits_per_second
            line.serve()

    def corrupt(self, direction: Direction, fn: CorruptHook | None) -> None:
        """Pass each chunk of a direction through ``fn``, behind TCP's checksum."""
        self.line(direction).corrupt = fn

    def sent_bytes(self, direction: Direction) -> int:
        """Payload bytes put on the wire so far."""
        return self.line(direction).sent_bytes

    def capacity_bytes_per_second(self, now_ns: int, direction: Direction = "to_b") -> float:
        """Payload that a direction can carry at ``now_ns``; 0 while partitioned."""
        return self.line(direction).capacity_bytes_per_second(now_ns)
