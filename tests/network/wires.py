"""Two hosts and a link between them, for the tests of the emulated network."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from replicator.runtime import Kernel, Task
from simulator.link import Link, LinkModel
from simulator.network import Attachment, Network, SimListener
from simulator.runtime import SimClock
from simulator.stream import SimStream

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
MIB = 1024 * 1024
ADDRESS = "replica:7000"


class Wire:
    """A source, a replica, and each one's kernel; time in seconds for the tests' sake."""

    def __init__(
        self,
        model: LinkModel,
        *,
        random: Callable[[], float] | None = None,
        send_buffer_bytes: int = 256 * 1024,
    ) -> None:
        self.clock = SimClock()
        self.events: list[tuple[str, tuple[int, ...]]] = []
        self.network = Network(
            self.clock,
            trace=lambda event, *values: self.events.append((event, values)),
            send_buffer_bytes=send_buffer_bytes,
        )
        link = (
            Link(self.clock, "source", "replica", model)
            if random is None
            else Link(self.clock, "source", "replica", model, random)
        )
        self.link = self.network.add_link(link)
        self.kernels: dict[str, Kernel] = {}
        self.source = self.boot("source")
        self.replica = self.boot("replica")

    def boot(self, name: str) -> Attachment:
        kernel = self.kernels[name] = Kernel(self.clock)
        return self.network.attach(name, lambda: not kernel.dead)

    def spawn(self, name: str, coro: Coroutine[Any, Any, Any]) -> Task[Any]:
        return self.kernels[name].run_task(coro, name)

    def run_to(self, time_s: float) -> None:
        self.clock.run_until(round(time_s * SECOND_NS))

    @property
    def now_s(self) -> float:
        return self.clock.now() / SECOND_NS

    def pair(self) -> tuple[SimStream, SimStream]:
        """An open connection: the source's end and the replica's."""
        listening: list[SimListener] = []

        async def serve() -> SimStream:
            if "7000" in self.replica.listeners:
                listening.append(self.replica.listeners["7000"])
            else:
                listening.append(await self.replica.listen(ADDRESS))
            return await listening[0].accept()

        server = self.spawn("replica", serve())
        client = self.spawn("source", self.source.connect(ADDRESS))
        until_ns = self.clock.now() + 2 * self.link.model.rtt_ns + MILLISECOND_NS
        self.clock.run_until(until_ns)
        return client.result(), server.result()


class Sink:
    """Reads a stream to its end and notes when what came."""

    def __init__(self, wire: Wire, stream: SimStream, host: str = "replica") -> None:
        self.arrivals: list[tuple[float, int]] = []
        self.data = bytearray()
        self.wire = wire
        self.stream = stream
        self.task = wire.spawn(host, self._read())

    async def _read(self) -> None:
        while part := await self.stream.receive(64 * 1024):
            self.arrivals.append((self.wire.now_s, len(part)))
            self.data += part

    @property
    def last_s(self) -> float:
        return self.arrivals[-1][0]


async def send_all(stream: SimStream, data: bytes, piece_bytes: int = 64 * 1024) -> None:
    for offset in range(0, len(data), piece_bytes):
        await stream.send(data[offset : offset + piece_bytes])
    stream.close()


def throughput(model: LinkModel, seconds: float = 20.0) -> float:
    """Bytes per second of one busy connection, measured after its start."""
    wire = Wire(model)
    client, server = wire.pair()
    sink = Sink(wire, server)
    block = bytes(64 * 1024)

    async def push() -> None:
        while True:
            await client.send(block)

    wire.spawn("source", push())
    start_s = wire.now_s + 2 * model.rtt_ns / SECOND_NS
    wire.run_to(start_s)
    before = len(sink.data)
    wire.run_to(start_s + seconds)
    return (len(sink.data) - before) / seconds
