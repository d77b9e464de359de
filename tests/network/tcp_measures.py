"""What an emulated connection really does: bytes sent over it, on the virtual clock.

Every byte that is sent is compared where it arrives.
"""

from __future__ import annotations

import random
from functools import cache

from simulator.link import LinkModel
from simulator.slow_start import SlowStartStream
from simulator.stream import SimStream
from tests.network.wires import MIB, SECOND_NS, Wire

LEAST_CHUNKS = 60
"""So many arrivals at least make a rate; their first and last are known to one in so many."""


@cache
def payload(size_bytes: int) -> bytes:
    """Bytes in which no two places look alike."""
    return random.Random("tcp").randbytes(size_bytes)


def steady_rate(model: LinkModel, size_bytes: int) -> float:
    """Bytes per second of a busy connection, between its first arrival and its last."""
    wire = Wire(model)
    client, server = wire.pair()
    data = payload(size_bytes)
    arrivals: list[tuple[int, int]] = []

    async def push() -> None:
        for offset in range(0, size_bytes, 65_536):
            await client.send(data[offset : offset + 65_536])

    async def read() -> None:
        got = 0
        while got < size_bytes:
            part = await server.receive(MIB)
            assert part == data[got : got + len(part)], f"other bytes at {got}"
            got += len(part)
            arrivals.append((wire.clock.now(), got))

    wire.spawn("source", push())
    reader = wire.spawn("replica", read())
    while not reader.done:
        wire.run_to(wire.now_s + 1)
    # The last chunk may be cut short by the end of the data: it says nothing about the pace.
    (first_ns, first), (last_ns, last) = arrivals[0], arrivals[-2]
    assert len(arrivals) > LEAST_CHUNKS, f"{len(arrivals)} arrivals are too few for a rate"
    return (last - first) * SECOND_NS / (last_ns - first_ns)


class Exchange:
    """A connection over which one side sends and the other answers when it has all."""

    def __init__(self, model: LinkModel) -> None:
        self.wire = Wire(model)
        self.connect()

    def connect(self) -> None:
        """A new connection in place of the present one."""
        self.client, self.server = self.wire.pair()

    @property
    def cold_client(self) -> SlowStartStream:
        assert isinstance(self.client, SlowStartStream)
        return self.client

    def seconds(self, size_bytes: int, limit_s: float = 1000.0) -> float:
        """From the first byte sent until the answer is back."""
        data, client, server = payload(size_bytes), self.client, self.server

        async def answer(stream: SimStream) -> None:
            assert await stream.receive_exactly(size_bytes) == data
            await stream.send(b"!")

        async def ask() -> float:
            began_s = self.wire.now_s
            await client.send(data)
            assert await client.receive_exactly(1) == b"!"
            return self.wire.now_s - began_s

        self.wire.spawn("replica", answer(server))
        task = self.wire.spawn("source", ask())
        until_s = self.wire.now_s + limit_s
        while not task.done:
            assert self.wire.now_s < until_s, f"no answer within {limit_s} s"
            self.wire.run_to(self.wire.now_s + 0.01)
        return task.result()

    def rest(self, seconds: float) -> None:
        """Say nothing for a while."""
        self.wire.run_to(self.wire.now_s + seconds)
