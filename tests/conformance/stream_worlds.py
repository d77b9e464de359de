"""Worlds that implement the stream part of the port, under one face.

A world has a serving and a calling end, each a ``Runtime`` as far as ``connect`` and ``listen``
go.  Real time runs in one of them, so nothing is asserted about how long anything takes.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

from replicator.host.network import HostNetwork, split_address
from replicator.runtime import Task
from replicator.runtime.port import Listener, Stream
from simulator.link import LinkModel
from simulator.testing import FakeWorld
from tests.kernel.worlds import seeded_hops
from tests.network.wires import ADDRESS, MILLISECOND_NS, Wire
from tests.real_loop import RealLoop

Survivor = Callable[[Stream], Coroutine[Any, Any, Any]]

_CALLER = """
import socket, sys, time
host, port, unread = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
end = socket.create_connection((host, port))
if unread:
    end.recv(unread, socket.MSG_PEEK | socket.MSG_WAITALL)
end.setblocking(False)
taken = 0
try:
    while True:
        taken += end.send(bytes(65536))
except BlockingIOError:
    print(taken, flush=True)
time.sleep(600)
"""
"""Fills its connection, says how much that was, and waits to be killed."""


class StreamWorld:
    """A place to serve from and a place to call from."""

    serve_at: str
    """What to listen on."""
    nobody_at: str
    """An address where nobody listens."""

    async def listen(self) -> Listener:
        """Listen on the serving end."""
        raise NotImplementedError

    async def connect(self, listener: Listener) -> Stream:
        """Connect from the calling end."""
        raise NotImplementedError

    async def connect_to(self, address: str) -> Stream:
        """Connect from the calling end to any address."""
        raise NotImplementedError

    def run(self, serve: Coroutine[Any, Any, Any], call: Coroutine[Any, Any, Any]) -> Any:
        """Run both ends to their ends; returns both results."""
        raise NotImplementedError

    def outlive(self, unread: bytes, survive: Survivor) -> tuple[int, Any]:
        """Serve a process that calls, sends more than is read, and is killed.

        Arguments
        ---------
        unread: sent to it, and there before its death; it never reads them.
        survive: gets the serving end when the caller is dead.

        Returns how many bytes the caller's kernel had taken, and what ``survive`` returned.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the world holds; nothing may be left of any connection."""


class SimulatedStreams(StreamWorld):
    """The emulated network: 100 Mbit/s, 2 ms round trip."""

    serve_at = ADDRESS
    nobody_at = "replica:9"

    def __init__(self) -> None:
        self._wire = Wire(LinkModel(12.5e6, 2 * MILLISECOND_NS))

    async def listen(self) -> Listener:
        return await self._wire.replica.listen(self.serve_at)

    async def connect(self, _listener: Listener) -> Stream:
        return await self.connect_to(ADDRESS)

    async def connect_to(self, address: str) -> Stream:
        return await self._wire.source.connect(address)

    def run(self, serve: Coroutine[Any, Any, Any], call: Coroutine[Any, Any, Any]) -> Any:
        tasks = self._wire.spawn("replica", serve), self._wire.spawn("source", call)
        self._wire.clock.run_until_idle()
        return _results(tasks)

    def outlive(self, unread: bytes, survive: Survivor) -> tuple[int, Any]:
        wire, size_bytes = self._wire, 200_000
        client, server = wire.pair()
        wire.spawn("source", client.send(bytes(size_bytes)))
        wire.spawn("replica", server.send(unread))
        wire.clock.run_until(wire.clock.now() + 3 * MILLISECOND_NS)
        assert wire.link.sent_bytes("to_b") < size_bytes, "most of it is still with its kernel"
        wire.kernels["source"].kill()
        wire.network.process_died(wire.source)
        survivor = wire.spawn("replica", survive(server))
        wire.clock.run_until_idle()
        return size_bytes, survivor.result()


class FakeStreams(StreamWorld):
    """The hosts that the project hands to those who test coroutines of their own."""

    serve_at = "called:7000"
    nobody_at = "called:9"

    def __init__(self) -> None:
        self._world = FakeWorld()
        self._calling, self._called = self._world.host("calling"), self._world.host("called")

    async def listen(self) -> Listener:
        return await self._called.runtime.listen(self.serve_at)

    async def connect(self, _listener: Listener) -> Stream:
        return await self.connect_to(self.serve_at)

    async def connect_to(self, address: str) -> Stream:
        return await self._calling.runtime.connect(address)

    def run(self, serve: Coroutine[Any, Any, Any], call: Coroutine[Any, Any, Any]) -> Any:
        tasks = self._called.start(serve, "serve"), self._calling.start(call, "call")
        self._world.run_until(lambda: all(task.done for task in tasks))
        return _results(tasks)

    def outlive(self, unread: bytes, survive: Survivor) -> tuple[int, Any]:
        size_bytes = 200_000
        client, server = self._world.stream_pair(self._calling, self._called)
        self._calling.start(client.send(bytes(size_bytes)))
        self._called.start(server.send(unread))
        self._world.advance("3ms")
        self._calling.kill()
        return size_bytes, self._called.run(survive(server))

    def close(self) -> None:
        self._world.close()


class LoopbackStreams(StreamWorld):
    """TCP over the loopback interface."""

    serve_at = "127.0.0.1:0"

    def __init__(self, hops: Callable[[], int] | None = None) -> None:
        self._loop = RealLoop(hops)
        self.network = HostNetwork(self._loop.loop)

    @property
    def nobody_at(self) -> str:  # type: ignore[override]
        async def free() -> str:
            listener = await self.network.listen(self.serve_at)
            listener.close()
            return listener.address

        return self._loop.run(free())

    async def listen(self) -> Listener:
        return await self.network.listen(self.serve_at)

    async def connect(self, listener: Listener) -> Stream:
        return await self.network.connect(listener.address)  # type: ignore[attr-defined]

    async def connect_to(self, address: str) -> Stream:
        return await self.network.connect(address)

    def run(self, serve: Coroutine[Any, Any, Any], call: Coroutine[Any, Any, Any]) -> Any:
        tasks = self._loop.start(serve, "serve"), self._loop.start(call, "call")
        self._loop.run_until(lambda: all(task.done for task in tasks))
        return _results(tasks)

    def outlive(self, unread: bytes, survive: Survivor) -> tuple[int, Any]:
        listener = self._loop.run(self.network.listen(self.serve_at))
        host, port = split_address(listener.address)
        caller = subprocess.Popen(
            [sys.executable, "-c", _CALLER, host, str(port), str(len(unread))],
            stdout=subprocess.PIPE,
        )
        with caller:
            try:
                stream = self._loop.run(listener.accept())
                self._loop.run(stream.send(unread))
                assert caller.stdout is not None
                taken = int(caller.stdout.readline())
            finally:
                caller.kill()
        listener.close()
        try:
            return taken, self._loop.run(survive(stream))
        finally:
            stream.close()

    def close(self) -> None:
        self._loop.run_until(lambda: not self.network.lingers)
        self.network.close()
        assert self.network.resolvers.join()
        assert not self.network.streams and not self.network.listeners
        assert not asyncio.all_tasks(self._loop.loop)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a socket or future left behind
            self._loop.close()
            gc.collect()


class LoopbackStreams6(LoopbackStreams):
    """The same over IPv6."""

    serve_at = "[::1]:0"


class ShuffledLoopbackStreams(LoopbackStreams):
    """The same with seeded extra turns at each wake-up, which must change nothing."""

    def __init__(self) -> None:
        super().__init__(seeded_hops(1))


def _results(tasks: tuple[Task[Any], Task[Any]]) -> tuple[Any, Any]:
    for task in tasks:
        if task.done and task.error is not None:
            raise task.error
    assert all(task.done for task in tasks), "the programs hang"
    return tasks[0].result(), tasks[1].result()


STREAM_WORLDS: tuple[type[StreamWorld], ...] = (
    SimulatedStreams,
    LoopbackStreams,
    LoopbackStreams6,
    ShuffledLoopbackStreams,
    FakeStreams,
)
