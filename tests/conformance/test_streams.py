"""What the port promises about connections, on the emulated network and on loopback TCP."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.errors import ConnectionLost
from replicator.runtime import Completion, Signal, TimedOut, deadline, group, sleep_ns, yield_now
from replicator.runtime.port import Listener, Stream
from tests.conformance.stream_worlds import STREAM_WORLDS, StreamWorld

MILLISECOND_NS = 1_000_000
SOON_NS = 20 * MILLISECOND_NS
"""Long enough for anything underway to arrive."""
NEVER_NS = 60_000 * MILLISECOND_NS

End = Callable[[Stream], Awaitable[Any]]


@pytest.fixture(params=STREAM_WORLDS, ids=lambda kind: kind.__name__)
def streams(request: pytest.FixtureRequest) -> Iterator[StreamWorld]:
    world: StreamWorld = request.param()
    yield world
    world.close()


def connected(world: StreamWorld, serve: End, call: End) -> tuple[Any, Any]:
    """Run two programs over one connection; the ends are closed behind them."""
    listening: Completion[Listener] = Completion()

    async def serving() -> Any:
        listener = await world.listen()
        listening.set(listener)
        stream = await listener.accept()
        assert isinstance(stream, Stream) and isinstance(listener, Listener)
        try:
            return await serve(stream)
        finally:
            stream.close()
            listener.close()

    async def calling() -> Any:
        stream = await world.connect(await listening)
        try:
            return await call(stream)
        finally:
            stream.close()

    return world.run(serving(), calling())


async def read_all(stream: Stream) -> bytes:
    got = bytearray()
    while part := await stream.receive(50_000):
        assert len(part) <= 50_000
        got += part
    return bytes(got)


async def nothing(_stream: Stream) -> None:
    return None


# -- bytes -----------------------------------------------------------------------------


def test_bytes_come_in_order_and_without_borders(streams: StreamWorld) -> None:
    data = random.Random(1).randbytes(300_000)

    async def call(stream: Stream) -> None:
        await stream.send(data[:3], bytearray(data[3:10]), b"", memoryview(data)[10:1000])
        await stream.send()
        await stream.send(data[1000:])

    async def serve(stream: Stream) -> bytes:
        first = await stream.receive_exactly(5) + await stream.receive_exactly(0)
        return first + await read_all(stream)

    assert connected(streams, serve, call)[0] == data


def test_both_ways_at_a_time(streams: StreamWorld) -> None:
    data = random.Random(2).randbytes(1_000_000)

    async def talk(stream: Stream) -> bytes:
        async with group() as g:
            reader = g.spawn(stream.receive_exactly(len(data)), "reader")
            for offset in range(0, len(data), 30_000):
                await stream.send(data[offset : offset + 30_000])
        return reader.result()

    assert connected(streams, talk, talk) == (data, data)


def test_many_small_sends_arrive(streams: StreamWorld) -> None:
    async def call(stream: Stream) -> None:
        for number in range(5000):
            await stream.send(number.to_bytes(4, "big"), b"!")

    whole = b"".join(number.to_bytes(4, "big") + b"!" for number in range(5000))
    assert connected(streams, read_all, call)[0] == whole


def test_one_large_send_arrives(streams: StreamWorld) -> None:
    data = random.Random(3).randbytes(12_000_000)

    async def call(stream: Stream) -> None:
        await stream.send(data)

    async def serve(stream: Stream) -> bytes:
        return await stream.receive_exactly(len(data))

    assert connected(streams, serve, call)[0] == data


def test_a_send_of_very_many_buffers_arrives(streams: StreamWorld) -> None:
    async def call(stream: Stream) -> None:
        await stream.send(*[bytes([number % 256]) * 100 for number in range(3000)])

    whole = b"".join(bytes([number % 256]) * 100 for number in range(3000))
    assert connected(streams, read_all, call)[0] == whole


def test_what_the_caller_changes_after_send_is_not_sent(streams: StreamWorld) -> None:
    size = 20_000_000
    sent = Signal()

    async def call(stream: Stream) -> None:
        buffer = bytearray(b"a") * size
        await stream.send(b"b" * 5_000_000, buffer, memoryview(buffer)[:10])
        buffer[:] = b"X" * size
        buffer.clear()  # nobody holds on to it either
        sent.notify()

    async def serve(stream: Stream) -> bytes:
        await sent
        return await read_all(stream)

    got = connected(streams, serve, call)[0]
    assert got == b"b" * 5_000_000 + b"a" * (size + 10)


@given(
    sizes=st.lists(st.integers(0, 400_000), max_size=8),
    read_bytes=st.integers(1, 300_000),
    exact=st.booleans(),
    pauses=st.integers(0, 3),
)
@settings(max_examples=8)
@pytest.mark.parametrize("kind", STREAM_WORLDS[:2], ids=lambda kind: kind.__name__)
def test_any_sends_and_any_reads_give_the_same_bytes(
    kind: type[StreamWorld], sizes: list[int], read_bytes: int, exact: bool, pauses: int
) -> None:
    numbers = random.Random(7)
    parts = [numbers.randbytes(size) for size in sizes]
    total = sum(sizes)

    async def call(stream: Stream) -> None:
        for part in parts:
            await stream.send(part)
            for _ in range(pauses):
                await yield_now()

    async def serve(stream: Stream) -> bytes:
        got = bytearray()
        while len(got) < total:
            if exact:
                got += await stream.receive_exactly(min(read_bytes, total - len(got)))
            else:
                got += await stream.receive(max(read_bytes, total // 500))
        assert await stream.receive(1) == b""
        return bytes(got)

    world = kind()
    try:
        assert connected(world, serve, call)[0] == b"".join(parts)
    finally:
        world.close()


def test_a_read_of_nothing_is_an_error(streams: StreamWorld) -> None:
    async def call(stream: Stream) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            await stream.receive(0)

    connected(streams, nothing, call)


# -- flow control ----------------------------------------------------------------------


def test_a_reader_that_does_not_read_holds_the_sender(streams: StreamWorld) -> None:
    held = Signal()
    block = bytes(100_000)
    most = 64 << 20

    async def call(stream: Stream) -> int:
        sent = 0
        with pytest.raises(TimedOut):
            while sent < most:
                async with deadline(50 * MILLISECOND_NS):
                    await stream.send(block)
                sent += len(block)
        held.notify()
        return sent

    async def serve(stream: Stream) -> int:
        await held
        return len(await read_all(stream))

    got, sent = connected(streams, serve, call)
    assert got == sent < most


def test_a_send_that_is_given_up_has_sent_nothing(streams: StreamWorld) -> None:
    held = Signal()

    async def call(stream: Stream) -> int:
        sent = 0
        with pytest.raises(TimedOut):
            while True:
                async with deadline(50 * MILLISECOND_NS):
                    await stream.send(b"b" * 70_001)
                sent += 70_001
        held.notify()
        await stream.send(b"c" * 5)
        return sent

    async def serve(stream: Stream) -> bytes:
        await held
        return await read_all(stream)

    got, sent = connected(streams, serve, call)
    assert got == b"b" * sent + b"c" * 5


# -- giving up -------------------------------------------------------------------------


def test_a_receive_that_is_given_up_loses_nothing(streams: StreamWorld) -> None:
    given_up = Signal()

    async def serve(stream: Stream) -> bytes:
        with pytest.raises(TimedOut):
            async with deadline(SOON_NS):
                await stream.receive(10)
        given_up.notify()
        return await read_all(stream)

    async def call(stream: Stream) -> None:
        await given_up
        await stream.send(b"afterwards")

    assert connected(streams, serve, call)[0] == b"afterwards"


def test_receive_exactly_that_is_given_up_leaves_the_bytes(streams: StreamWorld) -> None:
    given_up = Signal()

    async def serve(stream: Stream) -> list[bytes]:
        for _ in range(2):
            with pytest.raises(TimedOut):
                async with deadline(SOON_NS):
                    await stream.receive_exactly(10)
        first = await stream.receive(2)
        given_up.notify()
        return [first, await stream.receive_exactly(3), await stream.receive(99)]

    async def call(stream: Stream) -> None:
        await stream.send(b"1234")
        await given_up
        await stream.send(b"5")
        await sleep_ns(SOON_NS)
        await stream.send(b"67")

    assert connected(streams, serve, call)[0] == [b"12", b"345", b"67"]


def test_a_connection_goes_on_after_each_kind_of_giving_up(streams: StreamWorld) -> None:
    async def serve(stream: Stream) -> bytes:
        async with group() as g:
            tasks = [g.spawn(stream.receive_exactly(9), f"reader {n}") for n in range(3)]
            await yield_now()
            await yield_now()
            for task in tasks:
                task.cancel()
        assert all(task.cancelled for task in tasks)
        await stream.send(b"go")
        return await stream.receive_exactly(9)

    async def call(stream: Stream) -> None:
        assert await stream.receive_exactly(2) == b"go"
        await stream.send(b"123456789")

    assert connected(streams, serve, call)[0] == b"123456789"


def test_accept_that_is_given_up_can_be_called_again(streams: StreamWorld) -> None:
    listening: Completion[Listener] = Completion()

    async def serve() -> bytes:
        listener = await streams.listen()
        with pytest.raises(TimedOut):
            async with deadline(SOON_NS):
                await listener.accept()
        listening.set(listener)
        stream = await listener.accept()
        listener.close()
        got = await read_all(stream)
        stream.close()
        return got

    async def call() -> None:
        stream = await streams.connect(await listening)
        await stream.send(b"hello")
        stream.close()

    assert streams.run(serve(), call())[0] == b"hello"


def test_connect_that_is_given_up_leaves_nothing_behind(streams: StreamWorld) -> None:
    listening: Completion[Listener] = Completion()
    over: Completion[None] = Completion()

    async def serve() -> None:
        listener = await streams.listen()
        listening.set(listener)
        await over
        listener.close()

    async def call() -> None:
        listener = await listening
        async with group() as g:
            task = g.spawn(streams.connect(listener), "connect")
            await yield_now()
            task.cancel()
        if not task.cancelled:  # it was faster: a finished await wins
            task.result().abort()
        over.set(None)

    streams.run(serve(), call())


# -- ends ------------------------------------------------------------------------------


def test_close_lets_everything_arrive(streams: StreamWorld) -> None:
    data = random.Random(5).randbytes(9_000_000)

    async def call(stream: Stream) -> None:
        await stream.send(data)
        stream.close()
        stream.close()
        for use in (stream.send(b"x"), stream.receive(1), stream.receive_exactly(1)):
            with pytest.raises(ConnectionLost, match="closed by this end"):
                await use

    async def serve(stream: Stream) -> bytes:
        await sleep_ns(SOON_NS)
        got = await read_all(stream)
        assert await stream.receive(1) == b""
        return got

    assert connected(streams, serve, call)[0] == data


def test_close_over_unread_bytes_still_lets_what_was_sent_arrive(streams: StreamWorld) -> None:
    """A socket closed over unread bytes resets, and that would destroy what is underway."""
    sent = Signal()
    last_words = random.Random(6).randbytes(12_000_000)

    async def call(stream: Stream) -> bytes:
        await stream.send(b"never read" * 1000)
        sent.notify()
        got = bytearray()
        while part := await stream.receive(500_000):
            got += part
            await sleep_ns(MILLISECOND_NS)
        return bytes(got)

    async def serve(stream: Stream) -> None:
        await sent
        await sleep_ns(SOON_NS)
        await stream.send(last_words)
        stream.close()

    assert connected(streams, serve, call)[1] == last_words


def test_a_peer_that_closes_early_is_told_apart(streams: StreamWorld) -> None:
    async def call(stream: Stream) -> None:
        await stream.send(bytes(70))

    async def serve(stream: Stream) -> None:
        with pytest.raises(ConnectionLost, match="closed by the peer after 70 of 100 bytes"):
            await stream.receive_exactly(100)

    connected(streams, serve, call)


def test_an_end_that_heard_the_peer_close_reads_on_but_cannot_send(streams: StreamWorld) -> None:
    """A half-closed connection: what was sent can be read, nothing can be answered."""

    closed: Completion[None] = Completion()

    async def call(stream: Stream) -> None:
        await stream.send(b"question")
        stream.close()
        closed.set(None)

    async def serve(stream: Stream) -> bytes:
        await closed
        await sleep_ns(SOON_NS)
        with pytest.raises(ConnectionLost, match="closed by the peer"):
            await stream.send(b"answer")
        return await read_all(stream)

    assert connected(streams, serve, call)[0] == b"question"


def test_close_wakes_the_readers_of_this_end(streams: StreamWorld) -> None:
    async def serve(stream: Stream) -> None:
        with pytest.raises(ConnectionLost, match="closed by this end"):
            async with group() as g:
                g.spawn(stream.receive(1), "reader")
                await sleep_ns(SOON_NS)
                stream.close()

    connected(streams, serve, read_all)


def test_abort_resets_the_peer(streams: StreamWorld) -> None:
    async def call(stream: Stream) -> None:
        await stream.send(b"x")
        await sleep_ns(SOON_NS)
        stream.abort()
        stream.abort()
        stream.close()
        for use in (stream.send(b"x"), stream.receive(1)):
            with pytest.raises(ConnectionLost, match="aborted by this end"):
                await use

    async def serve(stream: Stream) -> None:
        assert await stream.receive(9) == b"x"
        with pytest.raises(ConnectionLost, match="reset by the peer"):
            await stream.receive(9)
        for use in (stream.send(b"x"), stream.receive(1)):
            with pytest.raises(ConnectionLost, match="reset by the peer"):
                await use

    connected(streams, serve, call)


def test_abort_wakes_senders_and_readers(streams: StreamWorld) -> None:
    async def full(stream: Stream) -> None:
        while True:
            await stream.send(bytes(200_000))

    async def lost(work: Awaitable[Any], why: str) -> None:
        with pytest.raises(ConnectionLost, match=why):
            await work

    async def call(stream: Stream) -> None:
        async with group() as g:
            g.spawn(lost(full(stream), "aborted by this end"), "sender")
            g.spawn(lost(stream.receive(1), "aborted by this end"), "reader")
            await sleep_ns(5 * SOON_NS)
            stream.abort()

    async def serve(stream: Stream) -> None:
        await sleep_ns(20 * SOON_NS)  # what was on its way may be read or lost; then the reset
        await lost(read_all(stream), "reset by the peer")

    connected(streams, serve, call)


def test_connect_is_refused_where_nobody_listens(streams: StreamWorld) -> None:
    address = streams.nobody_at

    async def call() -> None:
        with pytest.raises(ConnectionLost, match=f"refused: nobody listens on .*{address[-3:]}"):
            await streams.connect_to(address)

    async def serve() -> None:
        return None

    streams.run(serve(), call())


def test_what_is_no_address_is_refused(streams: StreamWorld) -> None:
    async def call() -> None:
        for address in ("replica", "replica:", ""):
            with pytest.raises(ConnectionLost, match="is not an address"):
                await streams.connect_to(address)

    async def serve() -> None:
        return None

    streams.run(serve(), call())


def test_a_closed_listener_accepts_nobody_and_resets_who_waited(streams: StreamWorld) -> None:
    listening: Completion[Listener] = Completion()
    waiting: Completion[None] = Completion()

    async def serve() -> None:
        listener = await streams.listen()
        listening.set(listener)
        await waiting
        listener.close()
        listener.close()
        with pytest.raises(ConnectionLost, match="listener is closed"):
            await listener.accept()

    async def call() -> None:
        listener = await listening
        stream = await streams.connect(listener)
        waiting.set(None)
        with pytest.raises(ConnectionLost, match="reset"):
            await stream.receive(1)
        with pytest.raises(ConnectionLost, match="refused"):
            await streams.connect(listener)

    streams.run(serve(), call())


def test_closing_a_listener_wakes_who_accepts(streams: StreamWorld) -> None:
    async def serve() -> None:
        listener = await streams.listen()
        with pytest.raises(ConnectionLost, match="listener is closed"):
            async with group() as g:
                g.spawn(listener.accept(), "accept")
                await sleep_ns(SOON_NS)
                listener.close()

    async def call() -> None:
        return None

    streams.run(serve(), call())


def test_an_address_is_listened_on_once(streams: StreamWorld) -> None:
    async def serve() -> None:
        listener = await streams.listen()
        address = getattr(listener, "address", streams.serve_at)
        if address != streams.serve_at:
            streams.serve_at = address
        with pytest.raises(ConnectionLost, match="in use"):
            await streams.listen()
        listener.close()
        (await streams.listen()).close()

    async def call() -> None:
        return None

    streams.run(serve(), call())


def test_connections_are_accepted_in_the_order_of_their_arrival(streams: StreamWorld) -> None:
    listening: Completion[Listener] = Completion()
    made: Completion[list[Stream]] = Completion()

    async def serve() -> list[bytes]:
        listener = await streams.listen()
        listening.set(listener)
        await made
        got = []
        for _ in range(5):
            stream = await listener.accept()
            got.append(await read_all(stream))
            stream.close()
        listener.close()
        return got

    async def call() -> None:
        listener = await listening
        ends = [await streams.connect(listener) for _ in range(5)]
        for number, stream in enumerate(ends):
            await stream.send(bytes([number]))
            stream.close()
        made.set(ends)

    assert streams.run(serve(), call())[0] == [bytes([number]) for number in range(5)]
