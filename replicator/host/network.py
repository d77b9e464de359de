"""Addresses, listeners and the making of TCP connections.

An address is ``host:port``: a name, an IPv4 address or an IPv6 address in brackets
(``[::1]:7000``).  To listen, ``:port`` means all addresses of the machine, both families where
the machine has both; port 0 takes a free one (``HostListener.address`` says which).

``connect`` tries the addresses of a name in the resolver's order, as RFC 8305 (section 5) has
it: one that does not answer within :data:`ATTEMPT_DELAY_NS` is not waited for, the next one is
tried beside it, and the first connection wins.  So a silent address costs a quarter of a second,
not the caller's whole patience.  Where that ends before all were tried, the next call begins
behind the last one tried.  Of those that failed, the error names each.  There is no other
time-out than the kernel's (about two minutes): put a deadline around it.  A name is looked up in
a thread; one that hangs is left behind when cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import Any, Final

from replicator.errors import ConnectionLost, ListenerClosed
from replicator.host.streams import HostStream, ReadySocket, cause_of
from replicator.host.turns import Turns
from replicator.host.workers import Workers
from replicator.runtime import Completion, Signal, TimedOut, deadline, group

BACKLOG_LIMIT: Final = 128
_RESOLVER_THREADS: Final = 4
ATTEMPT_DELAY_NS: Final = 250_000_000
"""How long one address is tried before the next is, too: what RFC 8305, section 5 recommends."""

Place = tuple[socket.AddressFamily, Any]


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; raises ConnectionLost for anything else.

    The host is empty in ``:port`` and has no brackets any more.
    """
    host, separator, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    if not separator or not 0 <= number <= 65535 or (":" in host) != bracketed or "\0" in host:
        raise ConnectionLost(f"{address!r} is not an address like replica:7000 or [::1]:7000")
    return host, number


def join_address(host: str, port: int) -> str:
    """The inverse of :func:`split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class HostListener:
    """Accepts connections; implements ``replicator.runtime.port.Listener``."""

    def __init__(self, ready: ReadySocket, network: HostNetwork) -> None:
        self._ready = ready
        self._network = network
        self._turns = Turns()
        host, port = ready.sock.getsockname()[:2]
        self.address = join_address(host, port)
        """Where it listens, with the port that was chosen for 0."""
        network.listeners[self] = None

    async def accept(self) -> HostStream:
        """The next connection, in the order of their arrival.

        Raises ListenerClosed, and ConnectionLost when the machine has no more descriptors or
        memory for a connection: that passes.
        """
        while True:
            await self._turns.take()
            if self._ready.closed:
                raise ListenerClosed("the listener is closed")
            try:
                sock, _peer = self._ready.sock.accept()
            except (BlockingIOError, InterruptedError):
                self._ready.watch_readable()
                await self._ready.readable
                self._turns.waited()
                continue
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue  # it was reset before anybody took it
                raise ConnectionLost(f"no connection accepted: {cause_of(error)}") from error
            sock.setblocking(False)
            try:
                return self._network.adopt(sock)
            except ConnectionLost:
                continue  # it was reset before anybody spoke

    def close(self) -> None:
        """Accept nothing more; connections nobody has accepted are reset."""
        self._network.listeners.pop(self, None)
        self._ready.close()


class HostNetwork:
    """The connections of one process.

    Arguments
    ---------
    loop: watches the sockets.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.resolvers = Workers(loop, "resolver", _RESOLVER_THREADS)
        self.streams: dict[HostStream, None] = {}
        self.listeners: dict[HostListener, None] = {}
        self._given_up: dict[str, Place] = {}
        """By address, the last place that was tried when a call was cut short."""

    def adopt(self, sock: socket.socket) -> HostStream:
        """Make a stream of a connected, non-blocking socket."""
        try:
            return HostStream(ReadySocket(self._loop, sock), self.streams)
        except OSError as error:  # reset already
            sock.close()
            raise ConnectionLost(cause_of(error)) from error

    @property
    def lingers(self) -> bool:
        """Whether a stream that was closed in good order still has bytes to send."""
        return any(stream.lingers for stream in self.streams)

    def close(self) -> None:
        """The process ends: listeners are closed, streams closed or reset."""
        for listener in list(self.listeners):
            listener.close()
        for stream in list(self.streams):
            stream.leave()
        self.resolvers.close()

    async def listen(self, address: str) -> HostListener:
        """Listen on an address of this machine; raises ConnectionLost."""
        host, port = split_address(address)
        family, place = socket.AF_INET6, ("::", port)
        if host:
            family, place = (await self._resolve(address, host, port))[0]
        try:
            try:
                sock = _listening(family, place, dual=not host)
            except OSError as error:
                if host or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                sock = _listening(socket.AF_INET, ("", port), dual=False)  # no IPv6 here
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConnectionLost(f"address {address} is in use") from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConnectionLost(f"{address} is not an address of this machine") from error
            raise ConnectionLost(f"cannot listen on {address}: {cause_of(error)}") from error
        return HostListener(ReadySocket(self._loop, sock), self)

    async def connect(self, address: str) -> HostStream:
        """Open a connection; raises ConnectionLost."""
        host, port = split_address(address)
        if not host:
            raise ConnectionLost(f"{address!r} names no host to connect to")
        places = await self._resolve(address, host, port)
        if len(places) > 1:
            return await self._connect_to_one_of(address, places)
        try:
            return await self._connect(places[0])
        except OSError as error:
            raise ConnectionLost(_why_not(error, address)) from error

    async def _connect_to_one_of(self, address: str, places: list[Place]) -> HostStream:
        """The first connection that comes about; those underway beside it are given up."""
        last = self._given_up.pop(address, None)
        first = places.index(last) + 1 if last in places else 0
        connected: list[HostStream] = []
        failures: dict[int, OSError] = {}
        ended = Signal()

        async def attempt(number: int) -> None:
            try:
                connected.append(await self._connect(places[number]))
            except OSError as error:
                failures[number] = error
            ended.notify()

        try:
            async with group() as g:
                for tried in range(1, len(places) + 1):
                    number = (first + tried - 1) % len(places)
                    self._given_up[address] = places[number]
                    g.spawn(attempt(number), f"connect {number}")
                    with contextlib.suppress(TimedOut):
                        async with deadline(ATTEMPT_DELAY_NS):
                            while not connected and len(failures) < tried:
                                await ended
                    if connected:
                        break
                while not connected and len(failures) < len(places):
                    await ended
                g.cancel()
            del self._given_up[address]
            if connected:
                return connected.pop(0)
        finally:
            for stream in connected:
                stream.abort()
        causes = [_why_not(failures[n], join_address(*places[n][1][:2])) for n in sorted(failures)]
        raise ConnectionLost(f"{'; '.join(causes)} (addresses of {address})") from failures[0]

    async def _connect(self, where: Place) -> HostStream:
        family, place = where
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        ready = ReadySocket(self._loop, sock)
        connected = False
        try:
            number = sock.connect_ex(place)
            if number == errno.EINPROGRESS:
                ready.watch_writable()
                await ready.writable
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number == 0 and sock.getsockname() == sock.getpeername():
                # On loopback a connection can meet itself when nobody listens.
                number = errno.ECONNREFUSED
            if number:
                raise OSError(number, os.strerror(number))
            stream = HostStream(ready, self.streams)
            connected = True
        finally:
            if not connected:
                ready.close()
        return stream

    async def _resolve(self, address: str, host: str, port: int) -> list[Place]:
        try:
            return _places(host, port, socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass  # a name
        except UnicodeError as error:
            raise ConnectionLost(f"{address!r} names no host") from error
        found: Completion[list[Place]] = self.resolvers.start(lambda: _places(host, port, 0))
        try:
            return await found
        except OSError as error:
            raise ConnectionLost(f"no route to {address}: {error.strerror}") from error


def _places(host: str, port: int, flags: int) -> list[Place]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, place) for family, _type, _protocol, _name, place in found]


def _why_not(error: OSError, address: str) -> str:
    if error.errno == errno.ECONNREFUSED:
        return f"refused: nobody listens on {address}"
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"no route to {address}"
    if error.errno == errno.ETIMEDOUT:
        return f"no answer from {address}"
    return f"cannot connect to {address}: {cause_of(error)}"


def _listening(family: socket.AddressFamily, place: Any, dual: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(place)
        sock.listen(BACKLOG_LIMIT)
    except OSError:
        sock.close()
        raise
    return sock
