"""A connection that begins cold: acknowledgements open its congestion window.

The theory stands in :mod:`simulator.tcp`.  An end of such a connection is an ordinary
:class:`simulator.stream.SimStream` that besides

* has no more bytes unacknowledged than its congestion window, which begins with the link's
  ``initial_window_segments`` and grows by each byte acknowledged, or half of it with delayed
  acknowledgements;
* sends smaller chunks, and gets an acknowledgement for each: it sets off when the chunk has
  arrived, whether it is read or not, and takes the way of all else, so a cut of that way holds it
  up;
* begins anew when it has sent nothing for longer than the retransmission timeout: idle, stopped
  by a reader, by a cut, or by a line without bandwidth.  To wait for its turn on a slow line is
  none of these.  A new connection is a new window.

Once the window is as large as the receive window it bounds nothing any more, and the connection
is paced as any other.

Leaves out: a loss that ends slow start (the pace of the link's loss bound stands in for what
comes after it), the window of one segment after a timeout (it begins with the initial one),
the slow decay of a window that was not used up (RFC 7661), acknowledgements that wait for a
second segment or a timer, their share of the line in the other direction.

Compared with: the round trips of a cold log in the reference table ``exchange.md`` 2.8, and
:func:`simulator.tcp.cold_seconds` over rates, round trips and windows (``tests/network``).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from simulator import tcp
from simulator.link import SECOND_NS, Line, LinkModel
from simulator.stream import Chunk, SimStream, Trace

if TYPE_CHECKING:
    from simulator.network import Attachment


ROUND_CHUNKS = 16
"""A round trip's bytes go in so many chunks: were they one, its acknowledgement, and with it
the next round, would wait for the last byte, where TCP waits for the first segment."""


class CongestionWindow:
    """How much may be unacknowledged: pure arithmetic.

    Arguments
    ---------
    initial_bytes: where it begins.
    limit_bytes: the receive window; from there on it does not count any more.
    growth: per round trip, :data:`simulator.tcp.GROWTH` or its like.
    """

    def __init__(self, initial_bytes: int, limit_bytes: int, growth: float) -> None:
        self.size_bytes: float = initial_bytes
        self.unacknowledged_bytes = 0
        self._initial_bytes = initial_bytes
        self._limit_bytes = limit_bytes
        self._growth_per_byte = growth - 1

    @property
    def room_bytes(self) -> int:
        """What may be sent now, as far as this window goes."""
        if self.size_bytes >= self._limit_bytes:
            return self._limit_bytes
        return int(self.size_bytes) - self.unacknowledged_bytes

    def sent(self, size_bytes: int) -> None:
        self.unacknowledged_bytes += size_bytes

    def acknowledged(self, size_bytes: int) -> None:
        """So much has arrived, and word of it is back."""
        self.unacknowledged_bytes -= size_bytes
        if self.size_bytes < self._limit_bytes:
            self.size_bytes += size_bytes * self._growth_per_byte

    def restart(self) -> None:
        """Begin anew; what is on its way stays unacknowledged."""
        self.size_bytes = min(self.size_bytes, self._initial_bytes)


class SlowStartStream(SimStream):
    """One end of a connection that begins cold; arguments as of its base."""

    def __init__(
        self,
        host: Attachment,
        lines: tuple[Line, Line],
        number: int,
        side: int,
        send_buffer_bytes: int,
        trace: Trace,
    ) -> None:
        super().__init__(host, lines, number, side, send_buffer_bytes, trace)
        model = self._line.model
        segments = model.initial_window_segments
        if segments is None:
            raise ValueError("the link has no initial window: its connections are warm")
        self.congestion = CongestionWindow(
            segments * model.mss_bytes,
            self._window_bytes,
            tcp.DELAYED_GROWTH if model.delayed_acknowledgements else tcp.GROWTH,
        )
        self._last_sent_ns = self._line.clock.now()

    # -- as the line sees it ---------------------------------------------------------

    def _offer(self) -> None:
        if self._queued_bytes and not self._in_line:
            self._silent_for(self._line.clock.now() - self._last_sent_ns)
        super()._offer()

    def take(self, limit_bytes: int) -> int:
        congestion = self.congestion
        stopped_ns, until_ns = self._line.last_stop_ns
        self._silent_for(until_ns - max(stopped_ns, self._last_sent_ns))
        finest = max(int(congestion.size_bytes) // ROUND_CHUNKS, self._line.model.mss_bytes)
        size = super().take(min(limit_bytes, finest, congestion.room_bytes))
        congestion.sent(size)
        return size

    def _silent_for(self, silence_ns: int) -> None:
        """Begin anew if it has sent nothing for too long."""
        model = self._line.model
        if silence_ns <= model.rtt_ns or not model.restart_when_idle:
            return  # no timeout is shorter than a round trip: mostly this is all
        if silence_ns > _restart_after_ns(model):
            self.congestion.restart()

    def chunk_sent(self) -> None:
        self._last_sent_ns = self._line.clock.now()
        super().chunk_sent()

    def deliver(self) -> None:
        item = self._wire[0] if self._wire else None
        super().deliver()
        if isinstance(item, Chunk) and not self.peer.vanished:
            self._line_back.carry(partial(self._acknowledged, item.size))

    def _acknowledged(self, size_bytes: int) -> None:
        self.congestion.acknowledged(size_bytes)
        self._offer()


def _restart_after_ns(model: LinkModel) -> int:
    """The idleness that begins anew.

    Never shorter than an acknowledgement takes: waiting for one is no idleness, and TCP keeps
    its timeout above the round trips that it has seen.
    """
    return max(round(model.timeout_s * SECOND_NS), model.rtt_ns + 2 * model.jitter_ns)
