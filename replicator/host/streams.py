"""One TCP connection as a stream of the port.

Plain non-blocking socket calls, tried in place first; what would block waits for the loop to
say that the socket is ready.  No asyncio transport: its receive side reads ahead into user
memory, and its futures know nothing of our kernel's cancellation.

* ``send`` waits while more than :data:`SEND_BUFFER_BYTES` have not been taken by the kernel,
  then takes all its buffers at once: cancelled before, it has handed over none, so that a
  message is never half on its way.  Bytes are not copied, what the caller may change is, and
  only what the kernel did not take at once.
* ``receive`` reads from the socket into what it returns.  Nothing is read ahead, so a reader
  that does not read stops the sender through TCP's own window.
* ``close`` sends what is left, then FIN, then reads and drops what still comes until the peer
  has closed: a socket that is closed over unread bytes sends a reset, which destroys at the
  peer what it has not read.  :data:`LINGER_S` without any byte acknowledged end that with a
  reset; a peer that has it all and does not close is left alone.
* ``abort`` is a reset (SO_LINGER 0).

A peer that has closed is seen by the next ``send`` as well, before any byte is lost to a reset:
the state of the connection (TCP_INFO) says CLOSE_WAIT.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Callable
from typing import Final

from replicator.errors import ConnectionLost
from replicator.host.turns import CALLS_IN_A_ROW, Turns
from replicator.runtime import Cancelled, Signal
from replicator.runtime.port import Buffer

SEND_BUFFER_BYTES: Final = 256 << 10
"""What a connection holds that the kernel has not taken, before a send waits."""
RECEIVE_BYTES: Final = 256 << 10
"""Most bytes taken from the socket in one call."""
LINGER_S: Final = 30.0
"""How long an end that has closed waits for the next byte to be acknowledged."""
KEEPALIVE_S: Final = (60, 15, 4)
"""Idle seconds before the first probe, seconds between probes, probes without an answer."""

_BUFFERS_PER_CALL: Final = 64
_CLOSE_WAIT: Final = 8
_RESET: Final = struct.pack("ii", 1, 0)

Piece = bytes | memoryview

_CAUSES: Final = {
    errno.ECONNRESET: "reset by the peer",
    errno.EPIPE: "reset by the peer",
    errno.ETIMEDOUT: "the peer does not answer any more",
    errno.EHOSTUNREACH: "no route to the peer any more",
    errno.ENETUNREACH: "no route to the peer any more",
    errno.ENETDOWN: "the network is down",
}


def cause_of(error: OSError) -> str:
    """What happened to a connection, in words."""
    return _CAUSES.get(error.errno or 0, error.strerror or str(error))


class ReadySocket:
    """A non-blocking socket and the loop's word that it is ready.

    Arguments
    ---------
    loop: watches the socket.
    sock: from here on this object's to close.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = loop
        self.readable = Signal()
        self.writable = Signal()
        self._reading = self._writing = False
        self.closed = False

    def watch_readable(self, on_readable: Callable[[], None] | None = None) -> None:
        """Notify ``readable`` when something can be read, once, after calling the function."""
        if not self._reading or on_readable is not None:
            self._reading = True
            self.loop.add_reader(self.sock, self._on_readable, on_readable)

    def watch_writable(self, on_writable: Callable[[], None] | None = None) -> None:
        """Notify ``writable`` when there is room, once, after calling the function."""
        if not self._writing or on_writable is not None:
            self._writing = True
            self.loop.add_writer(self.sock, self._on_writable, on_writable)

    def _on_readable(self, on_readable: Callable[[], None] | None) -> None:
        self._reading = False
        self.loop.remove_reader(self.sock)
        if on_readable is not None:
            on_readable()
        self.readable.notify()

    def _on_writable(self, on_writable: Callable[[], None] | None) -> None:
        self._writing = False
        self.loop.remove_writer(self.sock)
        if on_writable is not None:
            on_writable()
        self.writable.notify()

    def close(self) -> None:
        """Close the socket and wake all that wait for it."""
        if not self.closed:
            self.closed = True
            if self._reading:
                self.loop.remove_reader(self.sock)
            if self._writing:
                self.loop.remove_writer(self.sock)
            self.sock.close()
            self.readable.notify()
            self.writable.notify()


class HostStream:
    """One end of a connection; implements ``replicator.runtime.port.Stream``.

    Arguments
    ---------
    ready: the connected socket.
    streams: the host's open connections; the stream is in it until its socket is closed.

    Raises OSError when the connection has gone already; the socket is then still the caller's.
    """

    def __init__(self, ready: ReadySocket, streams: dict[HostStream, None]) -> None:
        self._ready = ready
        self._sock = ready.sock
        self._streams = streams
        self._failure: str | None = None
        self._closed = False
        self._fin_sent = False
        self._queue: deque[Piece] = deque()
        self._queued_bytes = 0
        self._unread: deque[bytes] = deque()
        self._at_end = False
        self._turns = Turns()
        self._timer: asyncio.TimerHandle | None = None
        prepare(self._sock)
        streams[self] = None

    @property
    def lingers(self) -> bool:
        """Closed in good order, with bytes that the kernel has not taken yet."""
        return self._closed and self._failure is None and not self._fin_sent

    # -- the port ------------------------------------------------------------------------

    async def send(self, *buffers: Buffer) -> None:
        """Hand over bytes in order; cancelled while it waits it has handed over none."""
        await self._turns.take()
        self._check_sendable()
        while self._queued_bytes > SEND_BUFFER_BYTES:
            await self._ready.writable
            self._check_sendable()
        pieces = [_piece(buffer) for buffer in buffers if len(buffer)]
        self._queue.extend(pieces)
        self._queued_bytes += sum(map(len, pieces))
        self._flush()
        if self._queue and self._failure is None:
            # What the caller may still change is copied now, if it is still here.
            for index in range(max(0, len(self._queue) - len(pieces)), len(self._queue)):
                piece = self._queue[index]
                if type(piece) is memoryview and type(piece.obj) is not bytes:
                    self._queue[index] = bytes(piece)
        if self._failure is not None:
            raise ConnectionLost(self._failure)

    async def receive(self, max_bytes: int) -> bytes:
        """At least one byte, at most ``max_bytes``; ``b""`` after the peer closed."""
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await self._turns.take()
        return await self._read(max_bytes)

    async def receive_exactly(self, size_bytes: int) -> bytes:
        """Exactly so many bytes; cancelled half-way it leaves them to the next reader."""
        pieces: list[bytes] = []
        missing = size_bytes
        try:
            while missing:
                await self._turns.take()
                piece = await self._read(missing)
                if not piece:
                    got = size_bytes - missing
                    raise ConnectionLost(f"closed by the peer after {got} of {size_bytes} bytes")
                pieces.append(piece)
                missing -= len(piece)
        except Cancelled:
            if not self._closed and self._failure is None:
                self._unread.extendleft(reversed(pieces))
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """End in good order: what was sent still arrives, then the peer reads ``b""``."""
        if self._closed or self._failure is not None:
            return
        self._closed = True
        self._unread.clear()
        self._ready.readable.notify()
        self._ready.writable.notify()
        self._linger(self._underway_bytes())
        self._flush()

    def abort(self) -> None:
        """Drop the connection at once; the peer sees a reset."""
        if self._failure is None:
            self._closed = True
            self._reset("aborted by this end")

    # -- sending -------------------------------------------------------------------------

    def _check_sendable(self) -> None:
        self._check_open()
        if self._at_end or self._peer_has_closed():
            raise ConnectionLost("closed by the peer")

    def _check_open(self) -> None:
        if self._failure is not None:
            raise ConnectionLost(self._failure)
        if self._closed:
            raise ConnectionLost("closed by this end")

    def _peer_has_closed(self) -> bool:
        state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] == _CLOSE_WAIT

    def _flush(self) -> None:
        """Give the kernel what it takes; the rest when there is room."""
        queue = self._queue
        try:
            while queue:
                batch = [queue[i] for i in range(min(len(queue), _BUFFERS_PER_CALL))]
                self._sent(self._sock.sendmsg(batch))
        except (BlockingIOError, InterruptedError):
            self._ready.watch_writable(self._flush)
            return
        except OSError as error:
            self._fail(cause_of(error))
            return
        if self._closed and not self._fin_sent:
            self._finish()

    def _sent(self, count: int) -> None:
        self._queued_bytes -= count
        queue = self._queue
        while count:
            head = queue[0]
            if len(head) > count:
                queue[0] = memoryview(head)[count:]
                return
            count -= len(head)
            queue.popleft()

    # -- receiving -----------------------------------------------------------------------

    async def _read(self, max_bytes: int) -> bytes:
        while True:
            self._check_open()
            if self._unread:
                return self._take_unread(max_bytes)
            if self._at_end:
                return b""
            try:
                data = self._sock.recv(min(max_bytes, RECEIVE_BYTES))
            except (BlockingIOError, InterruptedError):
                self._ready.watch_readable()
                self._turns.waited()
                await self._ready.readable
                continue
            except OSError as error:
                self._fail(cause_of(error))
                continue
            if not data:
                self._at_end = True
            return data

    def _take_unread(self, max_bytes: int) -> bytes:
        head = self._unread.popleft()
        if len(head) > max_bytes:
            self._unread.appendleft(head[max_bytes:])
            head = head[:max_bytes]
        return head

    # -- endings -------------------------------------------------------------------------

    def _fail(self, cause: str) -> None:
        """The connection is lost for this end."""
        if self._failure is None:
            self._failure = cause
            self._queue.clear()
            self._queued_bytes = 0
            self._unread.clear()
            if self._timer is not None:
                self._timer.cancel()
            self._streams.pop(self, None)
            self._ready.close()

    def _reset(self, cause: str) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._fail(cause)

    def _underway_bytes(self) -> int:
        """What the peer's machine has not acknowledged yet, the FIN included."""
        unacknowledged = fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4))
        return self._queued_bytes + int.from_bytes(unacknowledged, sys.byteorder)

    def _give_up(self, underway_bytes: int) -> None:
        """No end in sight after :data:`LINGER_S`: wait on only while bytes still arrive."""
        left_bytes = self._underway_bytes()
        if not left_bytes and self._fin_sent:
            self._fail("closed by this end")  # all is there; the peer has yet to close
        elif left_bytes < underway_bytes:
            self._linger(left_bytes)
        else:
            self._reset("closed by this end")

    def _linger(self, underway_bytes: int) -> None:
        self._timer = self._ready.loop.call_later(LINGER_S, self._give_up, underway_bytes)

    def _finish(self) -> None:
        """All is with the kernel: say so, and drop what comes until the peer says so, too."""
        self._fin_sent = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(cause_of(error))
            return
        self._drop_rest()

    def _drop_rest(self) -> None:
        try:
            for _ in range(CALLS_IN_A_ROW):
                if not self._sock.recv(RECEIVE_BYTES):
                    self._fail("closed by this end")
                    return
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(cause_of(error))
            return
        self._ready.watch_readable(self._drop_rest)

    def leave(self) -> None:
        """The process ends: close as far as it has come, reset what nobody has closed."""
        if self._failure is None:
            if self._fin_sent:
                self._fail("closed by this end")
            else:
                self._reset("aborted by this end")


def prepare(sock: socket.socket) -> None:
    """What every connection of ours has: no delay of small sends, probes of a silent peer."""
    idle_s, between_s, probes = KEEPALIVE_S
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, between_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)


def _piece(buffer: Buffer) -> Piece:
    return buffer if type(buffer) is bytes else memoryview(buffer)
