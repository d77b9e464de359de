"""One emulated connection: the two ends of a TCP-like stream over a :class:`simulator.link.Link`.

Models
------
* Ordered bytes without message boundaries.  ``send`` takes all its bytes at once and waits
  beforehand while more than ``send_buffer_bytes`` of the connection are not on the wire.
* The receive window: what is on the wire or unread never exceeds the link's
  ``tcp_window_bytes``, so a reader that does not read stops the writer.  A window that
  was shut opens again one latency after enough of it was read.
* ``close`` ends in good order, behind the data.  ``abort`` resets the connection: the peer
  gets what was sent before the reset, if it reads it before the reset arrives; the rest is
  lost.
* The death of a process resets as well when bytes had come that it had not read, or when it
  had not taken the connection yet.  Otherwise its machine goes on with the connection: what
  the kernel has taken (``send_buffer_bytes`` of what is not on the wire) still arrives, then
  the end, wherever in a message that is; bytes that come for the dead are answered with a
  reset.
* An end that vanished with its machine answers nothing.  Bytes that reach the machine
  when it is up again are answered with a reset.

Leaves out: half-closed connections (an end that has closed drops what still comes and the
peer's next send fails), urgent data, keep-alive, retransmission timeouts that abort a
connection: over a partition it survives for ever unless a reader's deadline ends it, and so
does what a dead process left to its machine.

Compared with: blocking and closing as on Linux TCP sockets, and what a process leaves behind
that is killed with and without unread bytes (``tests/conformance/test_dead_peers.py``).  On a
reset Linux lets the reader drain what has arrived; here it is lost, the worse case, as on
Windows.

Bytes are never copied on their way: a chunk is a list of slices of what ``send`` was given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from replicator.errors import ConnectionLost
from replicator.runtime import Cancelled
from replicator.runtime.channels import Signal
from replicator.runtime.port import Buffer
from simulator.link import Line

if TYPE_CHECKING:
    from simulator.network import Attachment

Trace = Callable[..., None]
Piece = bytes | memoryview


class Mark(Enum):
    """What travels behind the data of a connection."""

    END = 1
    RESET = 2


@dataclass(slots=True)
class Chunk:
    """Bytes on the wire."""

    offset: int
    size: int
    pieces: list[Piece]


class StreamWatch(Protocol):
    """Who looks on at connections; it must change nothing."""

    def sent(self, stream: SimStream, buffers: tuple[Buffer, ...]) -> None: ...

    def ended(self, stream: SimStream) -> None: ...


class SimStream:
    """One end of a connection; implements ``replicator.runtime.port.Stream``.

    It is at once the :class:`simulator.link.Flow` of the bytes that it sends.
    """

    def __init__(
        self,
        host: Attachment,
        lines: tuple[Line, Line],
        number: int,
        side: int,
        send_buffer_bytes: int,
        trace: Trace,
    ) -> None:
        self.host = host
        self.number = number
        self.side = side
        self.peer: SimStream = self  # set by connect_ends
        self.watch: StreamWatch | None = None
        self.failure: str | None = None
        self.vanished = False
        self.taken = False
        """Whether a process has it: it was accepted, or the answer to its call has come."""
        self.orphaned = False
        """Whether its process is dead and the machine ends the connection in good order."""
        self.ready_ns = 0
        self.arrival_ns = 0
        self._line, self._line_back = lines
        self._window_bytes = self._line.model.tcp_window_bytes
        self._send_buffer_bytes = send_buffer_bytes
        self._trace = trace
        self._closed = False
        # The sending half.
        self._queue: deque[Piece] = deque()
        self._queued_bytes = 0
        self._wire: deque[Chunk | Mark] = deque()
        self._outstanding_bytes = 0
        self._offset = 0
        self._in_line = False
        self._reopening = False
        self._end_sent = False
        self._room = Signal()
        # The receiving half.
        self._inbox: deque[Piece] = deque()
        self._inbox_bytes = 0
        self._peer_closed = False
        self._arrived = Signal()
        self._late_credit_bytes = 0
        self._prepaid_bytes = 0
        self._line.flows[self] = None

    # -- the port --------------------------------------------------------------------

    async def send(self, *buffers: Buffer) -> None:
        """Hand over bytes in order; cancelled while it waits it has handed over none."""
        self._check_sendable()
        while self._queued_bytes > self._send_buffer_bytes:
            await self._room
            self._check_sendable()
        for buffer in buffers:
            # What the caller may still change is copied; bytes are not.
            piece = buffer if type(buffer) is bytes else bytes(buffer)
            if piece:
                self._queue.append(piece)
                self._queued_bytes += len(piece)
        if self.watch is not None:
            self.watch.sent(self, buffers)
        self._offer()

    def _check_sendable(self) -> None:
        self._check_open()
        if self._peer_closed:
            raise ConnectionLost("closed by the peer")

    def _check_open(self) -> None:
        if self.failure is not None:
            raise ConnectionLost(self.failure)
        if self._closed:
            raise ConnectionLost("closed by this end")

    async def receive(self, max_bytes: int) -> bytes:
        """At least one byte, at most ``max_bytes``; ``b""`` after the peer closed."""
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if not await self._readable():
            return b""
        pieces: list[Piece] = []
        self._take_arrived(max_bytes, pieces)
        return _whole(pieces)

    async def receive_exactly(self, size_bytes: int) -> bytes:
        """Exactly so many bytes; cancelled half-way it leaves them to the next reader."""
        if size_bytes and not self._inbox:
            await self._readable()
        if self._inbox and len(self._inbox[0]) == size_bytes:
            # Just what was sent in one piece: the header of a frame, or a short payload.
            whole = self._inbox.popleft()
            self._inbox_bytes -= size_bytes
            self._credit(size_bytes)
            return whole if type(whole) is bytes else bytes(whole)
        pieces: list[Piece] = []
        missing = size_bytes
        try:
            while missing:
                if not await self._readable():
                    got = size_bytes - missing
                    raise ConnectionLost(f"closed by the peer after {got} of {size_bytes} bytes")
                missing -= self._take_arrived(missing, pieces)
        except Cancelled:
            self._unread(pieces)
            raise
        return _whole(pieces)

    def close(self) -> None:
        """End in good order: what was sent still arrives, then the peer reads ``b""``."""
        if self._closed or self.failure is not None:
            return
        self._closed = True
        self._discard_inbox()
        self._wake_local()
        self._offer()

    def abort(self) -> None:
        """Drop the connection at once; the peer sees a reset."""
        if self.failure is None and not self.orphaned:
            self._send_reset()
            self._closed = True
            self.fail("aborted by this end")

    # -- the sending half, as the line sees it ---------------------------------------

    def _offer(self) -> None:
        """Stand in the line's queue if there is something that may be sent."""
        if self._in_line or self.failure is not None:
            return
        if self._queued_bytes:
            if self._outstanding_bytes < self._window_bytes:
                self._in_line = True
                self._line.enqueue(self)
        elif self._closed and not self._end_sent:
            self._end_sent = True
            self._wire.append(Mark.END)
            self._line.send_mark(self)

    def take(self, limit_bytes: int) -> int:
        size = min(limit_bytes, self._queued_bytes, self._window_bytes - self._outstanding_bytes)
        if size <= 0:
            self._in_line = False
            return 0
        pieces = _cut(self._queue, size)
        if self._line.corrupt is not None:
            data = b"".join(pieces)
            damaged = self._line.corrupt(self._line.chunks, data)
            if len(damaged) != size:
                raise ValueError("a corrupt hook must keep the length of the chunk")
            pieces = [damaged]
        self._queued_bytes -= size
        self._outstanding_bytes += size
        self._wire.append(Chunk(self._offset, size, pieces))
        self._offset += size
        return size

    def chunk_sent(self) -> None:
        self._in_line = False
        if self.failure is None:
            self._offer()
            if self._queued_bytes <= self._send_buffer_bytes and self.host.alive:
                self._room.notify()

    def deliver(self) -> None:
        if self._wire:  # empty when the link was reset meanwhile
            item = self._wire.popleft()
            self.peer._arrive(item)

    def lost(self, cause: str) -> None:
        self._wire.clear()
        self.fail(cause)

    # -- the receiving half ----------------------------------------------------------

    def _arrive(self, item: Chunk | Mark) -> None:
        if self.vanished:
            self.host.machine.reached_unknown(self)
        elif self.failure is not None:
            return
        elif item is Mark.END:
            self._peer_closed = True
            self._wake_local()
            if self._closed:
                self._retire_if_over()
        elif item is Mark.RESET:
            self.fail("reset by the peer")
        elif isinstance(item, Chunk):
            self._trace("network.chunk", self.number, self.side, item.offset, item.size)
            if self.orphaned:
                self._send_reset()
                self.fail("the process is dead")
            elif self._closed:
                self._credit(item.size)
            else:
                self._inbox.extend(item.pieces)
                self._inbox_bytes += item.size
                if self.host.alive:
                    self._arrived.notify()

    async def _readable(self) -> bool:
        """Wait until something has arrived; False when the peer has closed instead."""
        while not self._inbox:
            self._check_open()
            if self._peer_closed:
                return False
            await self._arrived
        return True

    def _take_arrived(self, max_bytes: int, pieces: list[Piece]) -> int:
        """Move up to so many bytes to ``pieces`` and say how many."""
        size = min(max_bytes, self._inbox_bytes)
        pieces += _cut(self._inbox, size)
        self._inbox_bytes -= size
        self._credit(size)
        return size

    def _unread(self, pieces: list[Piece]) -> None:
        if self.failure is None and not self._closed:
            size = sum(map(len, pieces))
            self._inbox.extendleft(reversed(pieces))
            self._inbox_bytes += size
            self._prepaid_bytes += size

    def _discard_inbox(self) -> None:
        self._inbox.clear()
        size, self._inbox_bytes = self._inbox_bytes, 0
        self._credit(size)

    def _credit(self, size: int) -> None:
        """Give window back to the sender; word of it travels like all else on our line."""
        if self._prepaid_bytes:
            prepaid = min(size, self._prepaid_bytes)
            self._prepaid_bytes -= prepaid
            size -= prepaid
        if self._line.passable and not self._late_credit_bytes:
            self.peer._credited(size)
        else:
            if not self._late_credit_bytes and size:
                self._line.hold(self._credit_late)
            self._late_credit_bytes += size

    def _credit_late(self) -> None:
        size, self._late_credit_bytes = self._late_credit_bytes, 0
        self.peer._credited(size)

    def _credited(self, size: int) -> None:
        self._outstanding_bytes -= size
        if self._queued_bytes and not self._in_line and not self._reopening:
            room = self._window_bytes - self._outstanding_bytes
            if room >= min(self._queued_bytes, self._window_bytes // 2) > 0:
                self._reopening = True
                self._line_back.carry(self._reopen)

    def _reopen(self) -> None:
        self._reopening = False
        self._offer()

    # -- endings ---------------------------------------------------------------------

    def fail(self, cause: str) -> None:
        """The connection is lost for this end."""
        if self.failure is None:
            self.failure = cause
            self._forget()
            if not self._closed:
                self._trace("network.lost", self.number, self.side)
            self._wake_local()

    def die(self, *, vanish: bool) -> None:
        """The process of this end is gone; ``vanish``: with the machine, so nobody resets."""
        if self.failure is not None:
            return
        if not vanish and self.taken and not self._inbox:
            self._leave_to_machine()
            return
        if vanish:
            self.vanished = True
        else:
            self._send_reset()
        self.failure = "this process is dead"
        self._forget()

    def _leave_to_machine(self) -> None:
        """The process closed nothing and read everything: its kernel ends the connection."""
        self.orphaned = self._closed = True
        self.host.streams.pop(self, None)
        self.host.machine.orphans[self] = None
        kept = min(self._queued_bytes, self._send_buffer_bytes)
        self._queue = deque(_cut(self._queue, kept))
        self._queued_bytes = kept
        self._offer()

    def _send_reset(self) -> None:
        self._wire.append(Mark.RESET)
        self._line.send_mark(self)

    @property
    def rtt_ns(self) -> int:
        return self._line.model.rtt_ns

    def reach_again(self) -> None:
        """The peer repeats what reached the machine of this vanished end in vain."""
        self._line_back.arrive(partial(self.host.machine.reached_unknown, self))

    def answer_unknown(self) -> None:
        """The machine of this vanished end is up and has never heard of the connection."""
        self._line.carry(self._reset_peer)

    def _reset_peer(self) -> None:
        if self.peer.host.alive:
            self.peer.fail("reset by the peer: it knows no such connection")

    def _wake_local(self) -> None:
        if self.host.alive:
            self._arrived.notify()
            self._room.notify()

    def _retire_if_over(self) -> None:
        """Both ends have closed and heard of it: nothing will happen any more."""
        if self.peer._closed and self.peer._peer_closed:
            for end in (self, self.peer):
                if end.failure is None:
                    end.failure = "closed by this end"
                    end._forget()

    def _forget(self) -> None:
        if self.watch is not None:
            self.watch.ended(self)
        self._queue.clear()
        self._queued_bytes = 0
        self._inbox.clear()
        self._inbox_bytes = 0
        self._line.flows.pop(self, None)
        self.host.streams.pop(self, None)
        self.host.machine.orphans.pop(self, None)


def connect_ends(client: SimStream, server: SimStream) -> None:
    """Make two streams the ends of one connection."""
    client.peer, server.peer = server, client


def _whole(pieces: list[Piece]) -> bytes:
    """The pieces as one; a single one that is bytes already is not copied."""
    first = pieces[0] if len(pieces) == 1 else b""
    return first if first and type(first) is bytes else b"".join(pieces)


def _cut(queue: deque[Piece], size: int) -> list[Piece]:
    """Take ``size`` bytes from the front, slicing the last piece instead of copying it."""
    pieces: list[Piece] = []
    while size:
        head = queue[0]
        length = len(head)
        if length > size:
            view = memoryview(head)
            pieces.append(view[:size])
            queue[0] = view[size:]
            break
        pieces.append(queue.popleft())
        size -= length
    return pieces
