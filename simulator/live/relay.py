"""The link of a live run: a process that relays TCP, late and slowly: ``python -m
simulator.live.relay SPECIFICATION``.

Models, with the figures of :class:`simulator.link.LinkModel`, so with the same formulas:

* the line rate of each direction, by schedule or as set; connections take turns by chunk;
* the rate that one TCP stream can carry by window and by loss (Mathis, Padhye), as a rate;
* half the round trip each way, plus jitter for each chunk, order kept;
* a window: a connection has at most so many bytes underway, until their acknowledgement would
  be back; the kernel's own buffers on both sides come on top (some 100 KiB);
* an outage, of one direction or both: bytes stop, connections stay; what was underway comes one
  round trip after the end.  A new connection is *accepted* by this machine's kernel and then
  hangs: nothing answers.  On a real network the connect itself would hang;
* a reset: all connections get an RST at both ends, what is underway is lost;
* a machine that is gone (``mute``): from its side neither FIN nor RST arrive any more.

Leaves out: TCP's own dynamics between the hosts, because both connections end here (slow start,
congestion, retransmission and its back-off); single losses; reordering.  Times are as good as
the event loop's timers, about a millisecond; rates average over some milliseconds.

Commands come on standard input, a JSON object a line; each is answered on standard output with
the counts of bytes so far.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from simulator.link import CHUNK_LIMIT_BYTES, CHUNK_TIME_NS, SECOND_NS, LinkModel

_TIMER_NS: Final = 1_000_000
"""The event loop's timers are no finer."""
_CREDIT_NS: Final = 5_000_000
"""A line that always has something to send, and was woken late, may catch up with so much."""
_CLOSED_LOOK_S: Final = 0.05
_BUFFER_BYTES: Final = 64 * 1024
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


async def _sleep_until(time_ns: int) -> None:
    left_ns = time_ns - time.monotonic_ns()
    if left_ns >= _TIMER_NS // 2:
        await asyncio.sleep(left_ns / SECOND_NS)


class Line:
    """One direction of the link.

    Arguments
    ---------
    model: rate, latency and so on.
    draw: numbers in [0, 1) for the jitter.
    """

    def __init__(self, model: LinkModel, draw: Callable[[], float]) -> None:
        self.model = model
        self.sent_bytes = 0
        self.bits_per_second: float | None = None
        """Instead of the schedule's."""
        self.zero_ns = time.monotonic_ns()
        self.muted = False
        self.latency_ns = model.rtt_ns // 2
        self._draw = draw
        self._stream_rate = model.stream_bytes_per_second()
        self._cuts = 0
        self._settled_ns = 0
        self._free_ns = 0
        self._turn = asyncio.Lock()

    def cut(self) -> None:
        """From now on nothing passes; outages may overlap."""
        self._cuts += 1

    def heal(self) -> None:
        """An outage is over; after the last one what waits comes, one round trip from now."""
        self._cuts -= 1
        if not self._cuts:
            self._settled_ns = time.monotonic_ns() + self.model.rtt_ns

    async def passable(self) -> None:
        """Return when what has arrived may be seen."""
        while self._cuts or time.monotonic_ns() < self._settled_ns:
            await asyncio.sleep(_CLOSED_LOOK_S if self._cuts else _TIMER_NS / SECOND_NS)

    def _rate(self) -> float:
        bits = self.bits_per_second
        if bits is None:
            bits = self.model.scheduled_bits_per_second(time.monotonic_ns() - self.zero_ns)
        return 0.0 if self._cuts else bits * self.model.payload_share / 8

    def chunk_bytes(self) -> int:
        """How much is sent at a time."""
        pace = min(self._rate() or 1.0, self._stream_rate)
        worth = min(CHUNK_LIMIT_BYTES, int(pace * CHUNK_TIME_NS / SECOND_NS))
        return max(min(worth, self.model.tcp_window_bytes // 4), self.model.mss_bytes)

    async def transmit(self, flow: Flow, size_bytes: int) -> int:
        """Hold the line for a chunk; returns when it arrives at the far end."""
        await _sleep_until(flow.ready_ns)
        async with self._turn:
            while not (rate := self._rate()):
                await asyncio.sleep(_CLOSED_LOOK_S)
            credit_ns = _CREDIT_NS if flow.backlogged else 0
            start_ns = max(self._free_ns, flow.ready_ns, time.monotonic_ns() - credit_ns)
            end_ns = start_ns + round(size_bytes / rate * SECOND_NS)
            pace = min(rate, self._stream_rate)
            flow.ready_ns = start_ns + round(size_bytes / pace * SECOND_NS)
            self._free_ns = end_ns
            self.sent_bytes += size_bytes
            await _sleep_until(end_ns)
        jitter_ns = int(self._draw() * self.model.jitter_ns) if self.model.jitter_ns else 0
        flow.arrival_ns = max(flow.arrival_ns, end_ns + self.latency_ns + jitter_ns)
        return flow.arrival_ns


class Flow:
    """One direction of one connection."""

    def __init__(
        self,
        line: Line,
        back: Line,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.line = line
        self.ready_ns = 0
        self.arrival_ns = 0
        self.backlogged = False
        """Whether the next chunk was there at once."""
        self._back = back
        self._reader = reader
        self._writer = writer
        self._underway_bytes = 0
        self._room = asyncio.Event()
        self._arriving: asyncio.Queue[tuple[int, bytes | None]] = asyncio.Queue()
        self._acknowledged: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    async def run(self) -> None:
        """Carry bytes until the end; raises ConnectionError when a side was reset."""
        async with asyncio.TaskGroup() as tasks:
            returning = tasks.create_task(self._acknowledge())
            tasks.create_task(self._send())
            await tasks.create_task(self._deliver())
            returning.cancel()

    async def _send(self) -> None:
        while True:
            while self._underway_bytes >= self.line.model.tcp_window_bytes:
                self._room.clear()
                await self._room.wait()
            asked_ns = time.monotonic_ns()
            data = await self._reader.read(self.line.chunk_bytes())
            self.backlogged = time.monotonic_ns() - asked_ns < _TIMER_NS
            if not data:
                if not self.line.muted:
                    self._arriving.put_nowait(
                        (max(self.arrival_ns, time.monotonic_ns() + self.line.latency_ns), None)
                    )
                    return
                await asyncio.Event().wait()  # a machine that is gone does not say so
            self._underway_bytes += len(data)
            self._arriving.put_nowait((await self.line.transmit(self, len(data)), data))

    async def _deliver(self) -> None:
        while True:
            arrival_ns, data = await self._arriving.get()
            await _sleep_until(arrival_ns)
            await self.line.passable()
            if data is None:
                with suppress(OSError):  # the other side has gone first
                    self._writer.write_eof()
                return
            self._writer.write(data)
            await self._writer.drain()
            back_ns = time.monotonic_ns() + self._back.latency_ns
            self._acknowledged.put_nowait((back_ns, len(data)))

    async def _acknowledge(self) -> None:
        while True:
            time_ns, size_bytes = await self._acknowledged.get()
            await _sleep_until(time_ns)
            await self._back.passable()
            self._underway_bytes -= size_bytes
            self._room.set()


class Relay:
    """All connections from one port to one address.

    Arguments
    ---------
    model: the link.
    target: host and port of the replica.
    seed: of the jitter.
    """

    def __init__(self, model: LinkModel, target: tuple[str, int], seed: int) -> None:
        self.model = model
        self._target = target
        draw = random.Random(f"{seed}/jitter").random
        self.forward, self.backward = Line(model, draw), Line(model, draw)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self) -> int:
        """Accept from now on; returns the port."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        await asyncio.start_server(self._accept, sock=listener, limit=CHUNK_LIMIT_BYTES)
        port: int = listener.getsockname()[1]
        return port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of its own: asyncio takes it for a defect when the one it made is cancelled.
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        await asyncio.wait([task])
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = [writer]
        self._open.add(writer)
        try:
            await asyncio.sleep(self.forward.latency_ns / SECOND_NS)
            await self.forward.passable()
            far_reader, far_writer = await asyncio.open_connection(
                *self._target, limit=CHUNK_LIMIT_BYTES
            )
            pair.append(far_writer)
            self._open.add(far_writer)
            there = Flow(self.forward, self.backward, reader, far_writer)
            back = Flow(self.backward, self.forward, far_reader, writer)
            # The caller may speak when the answer to its SYN would be there.
            there.ready_ns = time.monotonic_ns() + self.backward.latency_ns
            for each in pair:
                each.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(there.run())
                tasks.create_task(back.run())
        except* OSError:  # refused, or reset by a side: the other side is reset as well
            if not self.forward.muted:
                await asyncio.sleep(self.forward.latency_ns / SECOND_NS)
                await self.forward.passable()
            else:
                await asyncio.Event().wait()
            for each in pair:
                _reset(each)
        finally:
            for each in pair:
                self._open.discard(each)
                each.close()

    def reset(self) -> None:
        """Reset all connections at both ends."""
        for writer in list(self._open):
            _reset(writer)
        for task in list(self._tasks):
            task.cancel()

    def _lines(self, direction: str) -> list[Line]:
        found = {"to_replica": [self.forward], "to_source": [self.backward]}
        return found.get(direction, [self.forward, self.backward])

    def obey(self, command: dict[str, Any]) -> dict[str, int]:
        """Carry out one command; returns the counts."""
        do = command["do"]
        if do == "start":
            self.forward.zero_ns = self.backward.zero_ns = command["zero_ns"]
        elif do == "cut":
            for line in self._lines(command["direction"]):
                line.cut()
        elif do == "heal":
            for line in self._lines(command["direction"]):
                line.heal()
        elif do == "bandwidth":
            bits = command["bits_per_second"]
            self.forward.bits_per_second = self.backward.bits_per_second = bits
        elif do == "reset":
            self.reset()
        elif do == "mute":
            self.forward.muted = True
        return {
            "forward_bytes": self.forward.sent_bytes,
            "backward_bytes": self.backward.sent_bytes,
            "connections": len(self._tasks),
        }


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()


async def serve(specification: dict[str, Any]) -> None:
    """Relay until standard input ends."""
    figures = specification["model"]
    figures["schedule"] = tuple(tuple(piece) for piece in figures["schedule"])
    host, _, port = specification["target"].rpartition(":")
    relay = Relay(LinkModel(**figures), (host, int(port)), specification["seed"])
    print(json.dumps({"port": await relay.listen()}), flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while line := await commands.readline():
        print(json.dumps(relay.obey(json.loads(line))), flush=True)
    relay.reset()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
