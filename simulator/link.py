"""Emulated wide-area link: two transmitters, each shared by paced connections.

Models
------
* Each direction sends one chunk at a time (about 10 ms worth, at most 64 KiB; beyond
  26 Gbit/s, 20 us worth) and serves the connections that have data round robin.  A chunk
  holds the line for bytes / rate.
* One connection is besides paced by what a single TCP stream can carry: the window bound and
  the loss bound of :mod:`simulator.tcp`, where formulas and sources stand.  Their C, b and RTO
  are parameters of :class:`LinkModel`.
* With an initial window connections begin cold (:mod:`simulator.slow_start`).
* A chunk arrives one-way latency (half of RTT) plus jitter after its last byte was sent,
  never before an earlier chunk of its connection.
* The bandwidth follows a schedule by time of day; :meth:`Link.override_bandwidth` stands over
  it for a while, and others over latency and loss.  Of several the one that began last counts.
* A partition, of one direction or both: what would arrive waits, and comes in order one
  round trip after the heal.  Several may overlap: a direction is open when each has ended.
  Acknowledgements travel the other way, so a connection whose acknowledgements are cut off
  sends one more window and then stops.

Leaves out: slow start unless it is asked for, the exponential back-off of retransmission after
a partition (TCP may wait seconds longer than one round trip), queues shared with other traffic,
packet headers unless ``payload_share`` says so, delayed acknowledgements beyond C, b and the
growth in slow start; a chunk keeps the rate at which it began, unless it would hold a line that has
become faster for more than a second.

Compared with: the reference tables ``exchange.md`` 2.8, 5.1 and 5.2, every cell within 5 %
(``docs/tcp.md``, ``tests/network/test_tcp_tables.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, Protocol

from replicator.runtime import Clock
from simulator.link_model import DAY_NS, SECOND_NS, LinkModel
from simulator.overrides import Overrides

CHUNK_LIMIT_BYTES = 64 * 1024
CHUNK_TIME_NS = 10_000_000
CHUNK_LEAST_TIME_NS = 20_000
"""A chunk need not be shorter than this: finer than what any reader could tell apart."""
CHUNK_LONGEST_HOLD_NS = SECOND_NS
"""So long a chunk may hold a line that could carry it faster by now."""

Direction = Literal["to_a", "to_b"]
Directions = Literal["both", "to_a", "to_b"]
CorruptHook = Callable[[int, bytes], bytes]
"""Called with the running number of a chunk and its bytes; returns as many bytes."""


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


class _Chunk:
    """What a line sends just now."""

    __slots__ = (
        "arrival_before_ns",
        "begun_ns",
        "end_ns",
        "flow",
        "is_overtaken",
        "marks_behind",
        "size",
    )

    def __init__(self, flow: Flow, size: int, begun_ns: int, end_ns: int) -> None:
        self.flow = flow
        self.size = size
        self.begun_ns = begun_ns
        self.end_ns = end_ns
        self.arrival_before_ns = flow.arrival_ns
        """Of what the flow had sent before."""
        self.marks_behind = 0
        """Resets of the flow that were sent meanwhile, and arrive with it."""
        self.is_overtaken = False
        """It goes on as another one, at another rate: when this one ends nothing happens."""

    def deliver(self) -> None:
        """It has arrived, or a mark behind it."""
        if not self.is_overtaken:
            self.flow.deliver()


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
        self._chunk: _Chunk | None = None
        self._closed_until_ns = -1
        self._held: list[Callable[[], None]] = []
        self._settled_ns = 0  # after a heal nothing arrives before this time
        self._stopped_ns: int | None = None
        self.last_stop_ns = (0, 0)
        """From when until when the line last let nothing set off: a cut, or no bandwidth."""

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
        if self._chunk is not None or self.partitioned:
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
            self._begin(_Chunk(flow, size, now, end_ns))
            return

    def _begin(self, chunk: _Chunk) -> None:
        self._chunk = chunk
        self.clock.at(chunk.end_ns, partial(self._chunk_sent, chunk))
        self._send_off(chunk.flow, chunk.end_ns, chunk.deliver)
        if chunk.end_ns - chunk.begun_ns > CHUNK_LONGEST_HOLD_NS:
            self._look_at_next_change(chunk)

    def _look_at_next_change(self, chunk: _Chunk) -> None:
        change_ns = self.model.next_change_ns(self.clock.now())
        if change_ns is not None and change_ns < chunk.end_ns:
            self.clock.at(change_ns, partial(self._schedule_changed, chunk))

    def _schedule_changed(self, chunk: _Chunk) -> None:
        if self._chunk is chunk:
            self.hasten()
        if self._chunk is chunk:
            self._look_at_next_change(chunk)

    def hasten(self) -> None:
        """The line may have become faster: a chunk that would hold it long goes on at its rate."""
        chunk, now = self._chunk, self.clock.now()
        rate = self.capacity_bytes_per_second(now)
        if chunk is None or rate <= 0 or chunk.end_ns - now <= CHUNK_LONGEST_HOLD_NS:
            return
        left = chunk.size * (chunk.end_ns - now) / (chunk.end_ns - chunk.begun_ns)
        end_ns = now + round(left / rate * SECOND_NS)
        if chunk.end_ns - end_ns <= CHUNK_LONGEST_HOLD_NS:
            return
        chunk.is_overtaken = True
        flow = chunk.flow
        flow.arrival_ns = chunk.arrival_before_ns
        flow.ready_ns = min(flow.ready_ns, end_ns)
        rest = _Chunk(flow, max(1, round(left)), now, end_ns)
        self._begin(rest)
        for _ in range(chunk.marks_behind):
            self._send_mark_behind(rest)

    def _set_rate(self, rate_bytes_per_second: float) -> None:
        """The line's rate has changed: and with it a connection's pace and what a chunk holds."""
        self._go_on()
        model = self.model
        self._rate = rate_bytes_per_second
        self._pace = min(rate_bytes_per_second, self._stream_rate)
        worth = int(self._pace * CHUNK_TIME_NS / SECOND_NS)
        # A quarter of the window at most: half a window is on its way at the full pace, so
        # counting the window in whole chunks does not slow a stream below window / RTT.
        most = max(CHUNK_LIMIT_BYTES, worth * CHUNK_LEAST_TIME_NS // CHUNK_TIME_NS)
        limit = min(most, worth, model.tcp_window_bytes // 4)
        self._chunk_limit = max(limit, min(model.mss_bytes, model.tcp_window_bytes))

    def _chunk_sent(self, chunk: _Chunk) -> None:
        if chunk.is_overtaken:
            return
        self._chunk = None
        chunk.flow.chunk_sent()
        self.serve()

    def _stop(self) -> None:
        if self._stopped_ns is None:
            self._stopped_ns = self.clock.now()

    def _go_on(self) -> None:
        if self._stopped_ns is not None:
            self.last_stop_ns = (self._stopped_ns, self.clock.now())
            self._stopped_ns = None

    def _wait_for_schedule(self, now_ns: int) -> None:
        self._stop()
        self._rate = 0.0  # the next chunk ends the stop
        change_ns = self.model.next_change_ns(now_ns) if self.bandwidth is None else None
        if change_ns is not None and change_ns > self._closed_until_ns:
            self._closed_until_ns = change_ns
            self.clock.at(change_ns, self.serve)

    # -- arriving --------------------------------------------------------------------

    def _send_off(self, flow: Flow, sent_ns: int, deliver: Callable[[], None]) -> None:
        arrival_ns = sent_ns + self.latency_ns
        if self.model.jitter_ns:
            arrival_ns += int(self._random() * self.model.jitter_ns)
        if arrival_ns > flow.arrival_ns:
            flow.arrival_ns = arrival_ns
        self.clock.at(flow.arrival_ns, partial(self.arrive, deliver))

    def send_mark(self, flow: Flow) -> None:
        """Carry an end or reset of a flow behind all that it has sent; costs no line time."""
        if self._chunk is not None and self._chunk.flow is flow:
            self._send_mark_behind(self._chunk)
        else:
            self._send_off(flow, self.clock.now(), flow.deliver)

    def _send_mark_behind(self, chunk: _Chunk) -> None:
        chunk.marks_behind += 1
        self._send_off(chunk.flow, self.clock.now(), chunk.deliver)

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
        self._stop()

    def heal(self) -> None:
        """A partition ends; with the last of them what was held back comes."""
        self._cuts = max(0, self._cuts - 1)
        if self.partitioned and not self._cuts:
            self.partitioned = False
            self._go_on()
            self._settled_ns = self.clock.now() + self.model.rtt_ns
            if self.watch is not None:
                self.watch(self.name, False)
            held, self._held = self._held, []
            for fn in held:
                self.clock.at(self._settled_ns, partial(self.arrive, fn))
            self.hasten()
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
            line.hasten()
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


__all__ = ["DAY_NS", "SECOND_NS", "Direction", "Directions", "Flow", "Line", "Link", "LinkModel"]
