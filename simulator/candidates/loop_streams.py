"""asyncio's transports and servers over connections of the emulated link."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from replicator.errors import CannotListen, ConnectionLost, ListenerClosed
from replicator.runtime import Signal
from replicator.runtime.port import Listener, Stream

if TYPE_CHECKING:
    from simulator.candidates.event_loop import SimulatedLoop

_READ_BYTES: Final = 64 << 10
_HIGH_BYTES: Final = 64 << 10


class LoopTransport(asyncio.Transport):
    """One end of a connection.

    A protocol hears of a connection that was reset as of :class:`ConnectionResetError`.
    Half-closed connections are not modelled: ``can_write_eof()`` is False.
    """

    def __init__(
        self, loop: SimulatedLoop, stream: Stream, protocol: Any, peer: tuple[Any, Any]
    ) -> None:
        host = loop.host.machine.name
        super().__init__({"peername": peer, "sockname": (host, 0)})
        self._loop = loop
        self._stream = stream
        self._protocol = protocol
        self._buffer: deque[bytes] = deque()
        self._size = 0
        self._high, self._low = _HIGH_BYTES, _HIGH_BYTES // 4
        self._writing_paused = self._reading_paused = False
        self._closing = self._over = False
        self._more, self._resumed = Signal(), Signal()
        if isinstance(protocol, asyncio.BufferedProtocol):
            raise NotImplementedError("the simulated loop has no buffered protocols")
        loop.opened(self)
        loop.call_soon(protocol.connection_made, self)
        loop.spawn(self._read(), "transport reads")
        loop.spawn(self._write(), "transport writes")

    @staticmethod
    async def connect(loop: SimulatedLoop, address: str) -> Stream:
        """A connection to an address.  Raises OSError, as sockets do."""
        try:
            return await loop.host.connect(address)
        except ConnectionLost as error:
            kind = ConnectionRefusedError if "refused" in str(error) else ConnectionResetError
            raise kind(str(error)) from error

    # -- tasks of the kernel ---------------------------------------------------------

    async def _read(self) -> None:
        while True:
            while self._reading_paused:
                await self._resumed
            try:
                data = await self._stream.receive(_READ_BYTES)
            except ConnectionLost as error:
                self._loop.call_soon(self._lost, ConnectionResetError(str(error)))
                return
            if not data:
                self._loop.call_soon(self._ended)
                return
            self._loop.call_soon(self._received, data)

    async def _write(self) -> None:
        while True:
            while not self._buffer:
                if self._closing:
                    self._stream.close()
                    self._loop.call_soon(self._lost, None)
                    return
                await self._more
            data = self._buffer.popleft()
            try:
                await self._stream.send(data)
            except ConnectionLost as error:
                self._loop.call_soon(self._lost, ConnectionResetError(str(error)))
                return
            self._size -= len(data)
            if self._writing_paused and self._size <= self._low:
                self._writing_paused = False
                self._loop.call_soon(self._protocol.resume_writing)

    # -- what the protocol hears -------------------------------------------------------

    def _received(self, data: bytes) -> None:
        if not self._over and not self._closing:
            self._protocol.data_received(data)

    def _ended(self) -> None:
        if not self._over and not self._protocol.eof_received():
            self.close()

    def _lost(self, error: Exception | None) -> None:
        if not self._over:
            self._over = self._closing = True
            if error is not None:
                self._stream.abort()
            self._loop.ended(self)
            self._protocol.connection_lost(error)

    # -- asyncio.Transport ---------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        self._buffer.append(bytes(data))
        self._size += len(data)
        self._more.notify()
        if self._size > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        raise NotImplementedError("connections of the emulated link cannot be half closed")

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self._closing = True
        self._more.notify()

    def abort(self) -> None:
        self._closing = True
        self._buffer.clear()
        self._stream.abort()
        self._loop.call_soon(self._lost, None)

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_reading(self) -> bool:
        return not self._reading_paused

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        self._resumed.notify()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH_BYTES if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def vanish(self) -> None:
        """The loop is over: whoever still has this writes to nobody."""
        self._over = self._closing = True


class LoopServer(asyncio.AbstractServer):
    """A listening address."""

    def __init__(
        self,
        loop: SimulatedLoop,
        listener: Listener,
        factory: Callable[[], Any],
        address: tuple[Any, Any],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._factory = factory
        self._address = address
        self._serving = True
        self._closed = loop.create_future()
        loop.spawn(self._accept(), "server accepts")

    @staticmethod
    async def listen(loop: SimulatedLoop, address: str) -> Listener:
        """Listen on an address.  Raises OSError, as sockets do."""
        try:
            return await loop.host.listen(address)
        except (ConnectionLost, CannotListen) as error:
            raise OSError(str(error)) from error

    async def _accept(self) -> None:
        while self._serving:
            try:
                stream = await self._listener.accept()
            except ListenerClosed:
                return
            except ConnectionLost:
                continue
            self._loop.call_soon(self._connected, stream)

    def _connected(self, stream: Stream) -> None:
        LoopTransport(self._loop, stream, self._factory(), ("peer", 0))

    def close(self) -> None:
        if self._serving:
            self._serving = False
            self._listener.close()
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        await self._closed

    def is_serving(self) -> bool:
        return self._serving

    async def start_serving(self) -> None:
        """It serves from the beginning."""

    async def serve_forever(self) -> None:
        try:
            await self._closed
        finally:
            self.close()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def sockets(self) -> tuple[Any, ...]:
        """There are none."""
        return ()

    async def __aenter__(self) -> LoopServer:
        return self

    async def __aexit__(self, *_error: object) -> None:
        with suppress(asyncio.InvalidStateError):
            self.close()
        await self.wait_closed()
