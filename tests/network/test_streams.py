"""Streams in good order: bytes, back-pressure, ends, listeners, and order under jitter."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import ConnectionLost
from replicator.runtime import TimedOut, deadline, sleep_ns
from replicator.runtime.port import Listener, Stream
from simulator.link import LinkModel
from simulator.stream import SimStream
from tests.network.wires import (
    ADDRESS,
    MILLISECOND_NS,
    SECOND_NS,
    Sink,
    Wire,
    send_all,
)

WAN = LinkModel(10e6, 60 * MILLISECOND_NS)


def test_the_classes_implement_the_port() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    assert isinstance(client, Stream) and isinstance(server, Stream)
    assert isinstance(wire.replica.listeners["7000"], Listener)


def test_connecting_costs_one_round_trip_and_bytes_come_in_order() -> None:
    wire = Wire(WAN)
    data = random.Random(1).randbytes(700_000)

    async def serve() -> bytes:
        listener = await wire.replica.listen(":7000")
        stream = await listener.accept()
        got = await stream.receive_exactly(5) + await stream.receive_exactly(0)
        while part := await stream.receive(4096):
            assert len(part) <= 4096
            got += part
        return got

    async def call() -> float:
        stream = await wire.source.connect(ADDRESS)
        connected_s = wire.now_s
        await stream.send(data[:3], bytearray(data[3:10]), memoryview(data)[10:1000])
        await stream.send(data[1000:])
        stream.close()
        return connected_s

    server, client = wire.spawn("replica", serve()), wire.spawn("source", call())
    wire.run_to(5)
    assert client.result() == pytest.approx(0.06)
    assert server.result() == data


def test_a_whole_buffer_is_handed_over_without_a_copy() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    data = bytes(range(250)) * 4

    async def serve() -> bytes:
        return await server.receive(4096)

    wire.spawn("source", client.send(data))
    task = wire.spawn("replica", serve())
    wire.run_to(1)
    assert task.result() is data


def test_what_the_caller_changes_after_send_is_not_sent() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    buffer = bytearray(b"before")
    wire.spawn("source", client.send(buffer))
    wire.clock.run_until(wire.clock.now())
    buffer[:] = b"after!"
    wire.run_to(1)
    assert sink.data == b"before"


def test_a_reader_that_never_reads_holds_the_sender() -> None:
    window, buffer = 65_536, 100_000
    wire = Wire(LinkModel(10e6, 0, tcp_window_bytes=window), send_buffer_bytes=buffer)
    client, server = wire.pair()
    sent = 0

    async def push() -> None:
        nonlocal sent
        while True:
            await client.send(bytes(10_000))
            sent += 10_000

    wire.spawn("source", push())
    wire.run_to(60)
    assert sent <= window + buffer + 10_000
    assert server._inbox_bytes <= window
    assert client._queued_bytes <= buffer + 10_000
    assert wire.link.sent_bytes("to_b") == window
    sink = Sink(wire, server)
    wire.run_to(120)
    assert len(sink.data) > 70_000_000, "and lets it go when it reads"


def test_what_is_read_in_the_pieces_that_were_sent_makes_room_and_is_bytes() -> None:
    wire = Wire(LinkModel(10e6, 0, tcp_window_bytes=65_536))
    client, server = wire.pair()
    frames = [(number.to_bytes(24, "big"), bytes(1 + number % 400)) for number in range(1_000)]

    async def call() -> None:
        for header, payload in frames:
            await client.send(header, payload)

    async def read() -> list[tuple[bytes, bytes]]:
        return [
            (await server.receive_exactly(24), await server.receive_exactly(len(payload)))
            for _header, payload in frames
        ]

    wire.spawn("source", call())
    task = wire.spawn("replica", read())
    wire.run_to(10)
    assert task.result() == frames
    assert {type(piece) for frame in task.result() for piece in frame} == {bytes}
    assert client._outstanding_bytes == 0


def test_a_piece_that_was_put_back_makes_room_once() -> None:
    wire = Wire(LinkModel(10e6, 0, tcp_window_bytes=65_536))
    client, server = wire.pair()

    async def read() -> bytes:
        with pytest.raises(TimedOut):
            async with deadline(SECOND_NS):
                await server.receive_exactly(100)
        return await server.receive_exactly(40)

    wire.spawn("source", client.send(bytes(40)))
    task = wire.spawn("replica", read())
    wire.run_to(5)
    assert task.result() == bytes(40)
    assert (client._outstanding_bytes, server._prepaid_bytes) == (0, 0)


def test_the_rest_of_a_piece_is_bytes_as_well() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()

    async def read() -> list[bytes]:
        return [await server.receive_exactly(40), await server.receive_exactly(60)]

    wire.spawn("source", client.send(bytes(100)))
    task = wire.spawn("replica", read())
    wire.run_to(5)
    assert task.result() == [bytes(40), bytes(60)]
    assert {type(piece) for piece in task.result()} == {bytes}


def test_a_slow_reader_sets_the_pace() -> None:
    wire = Wire(LinkModel(100e6, 20 * MILLISECOND_NS, tcp_window_bytes=65_536))
    client, server = wire.pair()
    got = 0

    async def read() -> None:
        nonlocal got
        while True:
            got += len(await server.receive(10_000))
            await sleep_ns(100 * MILLISECOND_NS)

    wire.spawn("source", send_all(client, bytes(5_000_000)))
    wire.spawn("replica", read())
    start_s = wire.now_s
    wire.run_to(start_s + 20)
    assert got == pytest.approx(20 * 100_000, rel=0.05)


def test_a_send_that_is_given_up_has_sent_nothing() -> None:
    wire = Wire(LinkModel(1e6, 0), send_buffer_bytes=1000)
    client, server = wire.pair()
    sink = Sink(wire, server)

    async def call() -> None:
        await client.send(b"a" * 50_000)
        with pytest.raises(TimedOut):
            async with deadline(MILLISECOND_NS):
                await client.send(b"b" * 50_000)
        await client.send(b"c" * 5)
        client.close()

    task = wire.spawn("source", call())
    wire.run_to(10)
    task.result()
    assert sink.data == b"a" * 50_000 + b"c" * 5


def test_receive_exactly_that_is_given_up_leaves_the_bytes() -> None:
    wire = Wire(LinkModel(1e6, 0, tcp_window_bytes=30_000))
    client, server = wire.pair()
    data = random.Random(2).randbytes(200_000)

    async def read() -> bytes:
        for _ in range(3):
            with pytest.raises(TimedOut):
                async with deadline(100 * MILLISECOND_NS):
                    await server.receive_exactly(150_000)
        first = await server.receive_exactly(150_000)
        second = await server.receive_exactly(50_000)
        assert await server.receive(1) == b""
        return first + second

    wire.spawn("source", send_all(client, data))
    task = wire.spawn("replica", read())
    wire.run_to(10)
    assert task.result() == data
    assert client._outstanding_bytes == 0


def test_close_lets_everything_arrive_and_then_both_ends_are_forgotten() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()

    async def serve() -> int:
        got = 0
        while part := await server.receive(100_000):
            got += len(part)
        with pytest.raises(ConnectionLost, match="closed by the peer"):
            await server.send(b"too late")
        server.close()
        return got

    async def call() -> None:
        await client.send(bytes(200_000))
        client.close()
        client.close()
        for use in (client.send(b"x"), client.receive(1)):
            with pytest.raises(ConnectionLost, match="closed by this end"):
                await use

    tasks = wire.spawn("replica", serve()), wire.spawn("source", call())
    wire.run_to(5)
    assert tasks[0].result() == 200_000
    tasks[1].result()
    assert not wire.source.streams and not wire.replica.streams
    assert not wire.link.to_a.flows and not wire.link.to_b.flows


def test_a_peer_that_closes_early_is_told_apart() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    wire.spawn("source", send_all(client, bytes(70)))

    async def read() -> None:
        await server.receive_exactly(100)

    task = wire.spawn("replica", read())
    wire.run_to(1)
    assert str(task.error) == "closed by the peer after 70 of 100 bytes"


def test_bytes_for_an_end_that_has_closed_are_dropped() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    wire.spawn("source", client.send(bytes(300_000)))
    wire.run_to(0.2)
    server.close()
    wire.run_to(5)
    assert client._outstanding_bytes == 0 and client._queued_bytes == 0
    client.close()
    wire.run_to(6)
    assert not wire.source.streams and not wire.replica.streams


def test_abort_resets_the_peer_behind_what_was_sent() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", client.send(bytes(200_000)))
    start_s = wire.now_s
    wire.run_to(start_s + 0.1)
    client.abort()
    client.abort()
    wire.run_to(start_s + 0.12)
    assert not sink.task.done, "the reset takes the one-way latency"
    wire.run_to(start_s + 0.2)
    assert 60_000 < len(sink.data) < 140_000
    assert isinstance(sink.task.error, ConnectionLost) and "reset" in str(sink.task.error)
    assert not wire.source.streams and not wire.replica.streams


def test_connect_is_refused_after_a_round_trip() -> None:
    wire = Wire(WAN)

    async def call() -> float:
        with pytest.raises(ConnectionLost, match="refused"):
            await wire.source.connect(ADDRESS)
        return wire.now_s

    task = wire.spawn("source", call())
    wire.run_to(1)
    assert task.result() == pytest.approx(0.06)


def test_addresses_are_checked() -> None:
    wire = Wire(WAN)

    async def call() -> None:
        for address, message in (("moon:1", "no route"), ("replica", "not an address")):
            with pytest.raises(ConnectionLost, match=message):
                await wire.source.connect(address)
        with pytest.raises(ConnectionLost, match="not an address of"):
            await wire.source.listen(ADDRESS)
        await wire.source.listen("source:1")
        with pytest.raises(ConnectionLost, match="in use"):
            await wire.source.listen(":1")

    task = wire.spawn("source", call())
    wire.run_to(1)
    task.result()
    assert wire.network.link_between("replica", "source") is wire.link
    with pytest.raises(ValueError, match="has not ended"):
        wire.network.attach("source")


def test_a_closed_listener_resets_its_backlog_and_refuses() -> None:
    wire = Wire(WAN)

    async def serve() -> None:
        listener = await wire.replica.listen(ADDRESS)
        await sleep_ns(SECOND_NS)
        listener.close()
        listener.close()
        with pytest.raises(ConnectionLost, match="listener is closed"):
            await listener.accept()

    async def call() -> None:
        stream = await wire.source.connect(ADDRESS)
        with pytest.raises(ConnectionLost, match="reset"):
            await stream.receive(1)
        with pytest.raises(ConnectionLost, match="refused"):
            await wire.source.connect(ADDRESS)

    tasks = wire.spawn("replica", serve()), wire.spawn("source", call())
    wire.run_to(5)
    for task in tasks:
        task.result()


def test_a_connect_that_is_given_up_leaves_nothing_behind() -> None:
    wire = Wire(WAN)
    seen: list[str] = []

    async def serve() -> None:
        listener = await wire.replica.listen(ADDRESS)
        stream = await listener.accept()
        try:
            await stream.receive(1)
        except ConnectionLost as error:
            seen.append(str(error))

    async def call() -> None:
        with pytest.raises(TimedOut):
            async with deadline(45 * MILLISECOND_NS):  # the call is there, the answer is not
                await wire.source.connect(ADDRESS)

    wire.spawn("replica", serve())
    wire.spawn("source", call())
    wire.run_to(1)
    assert seen == ["reset by the peer"]
    assert not wire.source.streams and not wire.replica.streams


def test_a_corrupt_chunk_passes_unnoticed() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)

    def flip(number: int, data: bytes) -> bytes:
        return b"\xff" + data[1:] if number == 3 else data

    wire.link.corrupt("to_b", flip)
    wire.spawn("source", send_all(client, bytes(100_000)))
    wire.run_to(1)
    assert len(sink.data) == 100_000 and sum(sink.data) == 255
    assert sink.data.index(0xFF) > 0


def test_a_corrupt_hook_must_keep_the_length() -> None:
    wire = Wire(WAN)
    client, _ = wire.pair()
    wire.link.corrupt("to_b", lambda _number, data: data[1:])
    task = wire.spawn("source", client.send(b"abc"))
    wire.run_to(1)
    assert isinstance(task.error, ValueError)


def _busy_run(seed: int) -> tuple[str, str]:
    """Several connections under jitter with faults in between: trace and data digests."""
    stream_random = random.Random(seed)
    model = LinkModel(
        20e6,
        30 * MILLISECOND_NS,
        loss=0.0005,
        tcp_window_bytes=65_536,
        jitter_ns=40 * MILLISECOND_NS,
    )
    wire = Wire(model, random=stream_random.random)
    sinks = []
    for number in range(3):
        client, server = wire.pair()
        sinks.append(Sink(wire, server))
        wire.spawn("source", send_all(client, random.Random(number).randbytes(300_000), 9_000))
    wire.run_to(0.5)
    wire.link.partition("to_a")
    wire.run_to(1.0)
    wire.link.heal()
    wire.run_to(60)
    data = b"".join(bytes(sink.data) for sink in sinks)
    return hashlib.sha256(repr(wire.events).encode()).hexdigest(), hashlib.sha256(data).hexdigest()


def test_the_same_seed_gives_the_same_trace_and_another_seed_the_same_data() -> None:
    assert _busy_run(1) == _busy_run(1)
    assert _busy_run(1)[0] != _busy_run(2)[0]
    assert _busy_run(1)[1] == _busy_run(2)[1]


@given(
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=12),
    jitter_ms=st.integers(0, 200),
    window=st.sampled_from((1_000, 17_520, 65_535, 1 << 20)),
    cuts=st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 300), st.sampled_from(("both", "to_a"))),
        max_size=3,
    ),
    read_bytes=st.integers(1, 70_000),
    seed=st.integers(0, 99),
)
def test_order_and_completeness_under_jitter_and_partitions(
    sizes: list[int],
    jitter_ms: int,
    window: int,
    cuts: list[tuple[int, int, str]],
    read_bytes: int,
    seed: int,
) -> None:
    numbers = random.Random(seed)
    model = LinkModel(
        5e6,
        20 * MILLISECOND_NS,
        tcp_window_bytes=window,
        jitter_ns=jitter_ms * MILLISECOND_NS,
    )
    wire = Wire(model, random=numbers.random, send_buffer_bytes=20_000)
    client, server = wire.pair()
    parts = [numbers.randbytes(size) for size in sizes]

    async def write(stream: SimStream) -> None:
        for part in parts:
            await stream.send(part)
        stream.close()

    async def read(stream: SimStream) -> bytes:
        got = bytearray()
        while part := await stream.receive(read_bytes):
            got += part
        stream.close()
        return bytes(got)

    reader = wire.spawn("replica", read(server))
    wire.spawn("source", write(client))
    for wait_ms, length_ms, direction in cuts:
        wire.run_to(wire.now_s + wait_ms / 1000)
        wire.link.partition(direction)  # type: ignore[arg-type]
        wire.run_to(wire.now_s + length_ms / 1000)
        wire.link.heal()
    wire.run_to(wire.now_s + 600)
    assert reader.result() == b"".join(parts)
    assert client._outstanding_bytes == 0
    assert not wire.source.streams and not wire.replica.streams
