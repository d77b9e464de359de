"""Partitions, resets, dead processes and vanished machines."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import ConnectionLost
from replicator.runtime import TimedOut, deadline
from simulator.link import Line, LinkModel
from simulator.stream import SimStream
from tests.network.wires import ADDRESS, MILLISECOND_NS, SECOND_NS, Sink, Wire, send_all

RTT_S = 0.06
WAN = LinkModel(8e6, 60 * MILLISECOND_NS, tcp_window_bytes=200_000)


async def push_for_ever(stream: SimStream) -> None:
    while True:
        await stream.send(bytes(10_000))


@pytest.mark.parametrize("direction", ["both", "to_b"])
def test_nothing_arrives_during_a_partition_and_all_of_it_afterwards(
    direction: Literal["both", "to_b"],
) -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = bytes(range(256)) * 8_000
    wire.spawn("source", send_all(client, data))
    wire.run_to(1)
    wire.link.partition(direction)
    before = len(sink.data)
    assert wire.link.capacity_bytes_per_second(wire.clock.now()) == 0
    sent = wire.link.sent_bytes("to_b")
    wire.run_to(10)
    assert len(sink.data) == before < sent, "some bytes were on the wire"
    assert wire.link.sent_bytes("to_b") == sent
    wire.link.heal()
    wire.run_to(10 + RTT_S * 0.99)
    assert len(sink.data) == before
    wire.run_to(10 + RTT_S * 1.01)
    assert len(sink.data) > before
    wire.run_to(20)
    assert sink.data == data and sink.task.done


NIGHT = (0, 2 * SECOND_NS, 1.0)


@pytest.mark.parametrize("hastens", [True, False])
@pytest.mark.parametrize("how", ["override", "override that ends in a cut", "schedule"])
def test_a_line_that_hardly_carried_anything_is_free_when_it_is_fast_again(
    how: str, hastens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1 bit/s a single segment holds it for three hours."""
    if not hastens:
        monkeypatch.setattr(Line, "hasten", lambda _: None)
    wire = Wire(replace(WAN, schedule=(NIGHT,)) if how == "schedule" else WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = bytes(range(256)) * 8_000
    wire.spawn("source", send_all(client, data))
    end = (lambda: None) if how == "schedule" else wire.link.override_bandwidth(1.0)
    wire.run_to(1)
    assert not sink.data
    if how == "override that ends in a cut":
        wire.link.partition()
    wire.run_to(2)
    end()
    wire.run_to(3)
    wire.link.heal()
    wire.run_to(10)
    assert (sink.data == data and sink.task.done) is hastens
    assert bool(sink.data) is hastens


@pytest.mark.parametrize("resends", [True, False])
def test_a_reset_behind_a_slow_chunk_comes_with_it(
    resends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not resends:

        def once(line: Line, chunk: Any) -> None:
            line._send_off(chunk.flow, line.clock.now(), chunk.flow.deliver)

        monkeypatch.setattr(Line, "_send_mark_behind", once)
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", client.send(bytes(1_000)))
    end = wire.link.override_bandwidth(1.0)
    wire.run_to(1)
    client.abort()
    wire.run_to(2)
    assert not sink.data
    end()
    wire.run_to(4)
    assert sink.task.done is resends
    assert len(sink.data) == (0 if resends else 1_000), "a reset takes what was not read"
    if resends:
        with pytest.raises(ConnectionLost, match="reset by the peer"):
            sink.task.result()


CHANGES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 100.0, 9_600.0, 1e6, 1e9]),
        st.floats(0.001, 3.0),  # begins so much after the one before
        st.floats(0.001, 5.0),  # lasts
    ),
    max_size=6,
)


@given(CHANGES, st.lists(st.tuples(st.floats(0, 9), st.floats(0.001, 4)), max_size=3))
def test_bytes_come_in_order_whatever_the_line_carried_meanwhile(
    changes: list[tuple[float, float, float]], cuts: list[tuple[float, float]]
) -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = bytes(range(256)) * 2_000
    wire.spawn("source", send_all(client, data))
    at, last = 0.0, 0.0

    def begin(bits_per_second: float, end_s: float) -> None:
        wire.clock.at(round(end_s * SECOND_NS), wire.link.override_bandwidth(bits_per_second))

    for bits_per_second, wait, duration in changes:
        at += wait
        wire.clock.at(round(at * SECOND_NS), partial(begin, bits_per_second, at + duration))
        last = max(last, at + duration)
    for begun, duration in cuts:
        wire.clock.at(round(begun * SECOND_NS), wire.link.partition)
        wire.clock.at(round((begun + duration) * SECOND_NS), wire.link.heal)
        last = max(last, begun + duration)
    wire.run_to(last + 5)
    assert sink.data == data and sink.task.done


def test_a_connection_without_acknowledgements_sends_one_window_more() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", push_for_ever(client))
    wire.run_to(1)
    wire.link.partition("to_a")
    sent = wire.link.sent_bytes("to_b")
    wire.run_to(20)
    assert wire.link.sent_bytes("to_b") - sent <= WAN.tcp_window_bytes
    assert len(sink.data) == wire.link.sent_bytes("to_b"), "what was sent did arrive"
    wire.link.heal()
    wire.run_to(30)
    assert wire.link.sent_bytes("to_b") - sent > 9e6


def test_partitions_in_quick_succession_lose_nothing() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = bytes(range(251)) * 4_000
    wire.spawn("source", send_all(client, data))
    for step in range(60):
        wire.run_to(0.1 + step * 0.037)
        wire.link.partition() if step % 2 == 0 else wire.link.heal()
    wire.run_to(30)
    assert sink.data == data


def test_connections_survive_a_long_partition_unless_somebody_times_out() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()

    async def patient() -> bytes:
        return await server.receive(10)

    async def impatient() -> None:
        async with deadline(5 * SECOND_NS):
            await client.receive(10)

    wire.link.partition()
    reader, quitter = wire.spawn("replica", patient()), wire.spawn("source", impatient())
    wire.spawn("source", client.send(b"late"))
    wire.run_to(3600)
    assert isinstance(quitter.error, TimedOut) and not reader.done
    wire.link.heal()
    wire.run_to(3601)
    assert reader.result() == b"late"


def test_connect_over_a_partition_waits_for_the_heal() -> None:
    wire = Wire(WAN)

    async def serve() -> None:
        listener = await wire.replica.listen(ADDRESS)
        await listener.accept()

    async def call() -> float:
        with pytest.raises(TimedOut):
            async with deadline(2 * SECOND_NS):
                await wire.source.connect(ADDRESS)
        await wire.source.connect(ADDRESS)
        return wire.now_s

    wire.spawn("replica", serve())
    wire.link.partition("to_b")
    task = wire.spawn("source", call())
    wire.run_to(5)
    assert not task.done
    wire.link.heal()
    wire.run_to(6)
    assert task.result() == pytest.approx(5 + 1.5 * RTT_S)
    assert len(wire.replica.streams) == 1, "the attempt that was given up made none"


def test_a_reset_of_the_link_breaks_every_connection_and_loses_what_was_underway() -> None:
    wire = Wire(WAN)
    pairs = [wire.pair() for _ in range(3)]
    sinks = [Sink(wire, server) for _, server in pairs]
    writers = [wire.spawn("source", push_for_ever(client)) for client, _ in pairs]
    wire.run_to(2)
    wire.link.reset()
    got = [len(sink.data) for sink in sinks]
    assert sum(got) < wire.link.sent_bytes("to_b")
    wire.run_to(3)
    for task in [*writers, *(sink.task for sink in sinks)]:
        assert isinstance(task.error, ConnectionLost)
        assert "reset by the network" in str(task.error)
    assert [len(sink.data) for sink in sinks] == got
    assert not wire.source.streams and not wire.replica.streams
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", send_all(client, b"the link works again"))
    wire.run_to(4)
    assert sink.data == b"the link works again"


@pytest.mark.parametrize(
    ("one_way", "until_s", "other_until_s"), [("to_b", 15, 42), ("to_a", 42, 15)]
)
def test_overlapping_partitions_last_as_long_as_each(
    one_way: Literal["to_a", "to_b"], until_s: int, other_until_s: int
) -> None:
    wire = Wire(WAN)
    other: Literal["to_a", "to_b"] = "to_a" if one_way == "to_b" else "to_b"
    wire.link.partition(one_way)
    wire.link.partition(other)
    for now_s in sorted((until_s, other_until_s)):
        wire.run_to(now_s)
        wire.link.heal(one_way if now_s == until_s else other)
        assert wire.link.line(one_way).partitioned == (now_s < until_s)
        assert wire.link.line(other).partitioned == (now_s < other_until_s)


def test_a_direction_that_was_cut_twice_is_open_after_both() -> None:
    wire = Wire(WAN)
    wire.link.partition()
    wire.link.partition("to_b")
    wire.link.heal()
    assert wire.link.to_b.partitioned and not wire.link.to_a.partitioned
    wire.link.heal("to_b")
    assert not wire.link.to_b.partitioned


def kill(wire: Wire, name: str) -> None:
    """The process dies; its machine lives on."""
    wire.kernels[name].kill()
    wire.network.process_died(wire.replica if name == "replica" else wire.source)


def test_death_of_a_process_with_unread_bytes_is_a_reset_after_the_latency() -> None:
    wire = Wire(WAN)
    client, _server = wire.pair()
    sink = Sink(wire, client, "source")
    wire.spawn("source", client.send(b"never read"))
    wire.run_to(1)
    kill(wire, "replica")
    wire.run_to(1 + RTT_S * 0.49)
    assert not sink.task.done
    wire.run_to(1 + RTT_S * 0.6)
    assert isinstance(sink.task.error, ConnectionLost)
    assert "reset by the peer" in str(sink.task.error)

    async def call() -> None:
        await wire.source.connect(ADDRESS)

    caller = wire.spawn("source", call())
    wire.run_to(2)
    assert "refused" in str(caller.error), "the machine lives, its process does not"
    wire.replica = wire.boot("replica")
    wire.pair()


def test_what_a_dead_process_had_sent_arrives_and_then_the_end() -> None:
    """It had read everything: its kernel sends what it has taken, however long that takes."""
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = bytes(range(256)) * 1000
    wire.spawn("source", client.send(data))
    wire.run_to(0.2)
    kill(wire, "source")
    on_the_wire = wire.link.sent_bytes("to_b")
    assert on_the_wire < len(data)
    wire.run_to(10)
    assert sink.data == data and sink.task.done and sink.task.error is None
    wire.spawn("replica", _closing(server))
    wire.run_to(11)
    assert not wire.link.to_a.flows and not wire.link.to_b.flows, "nothing is left of it"


async def _closing(stream: SimStream) -> None:
    stream.close()


def test_what_the_kernel_had_not_taken_dies_with_the_process() -> None:
    """The end is clean, and in the middle of what was one send."""
    wire = Wire(WAN, send_buffer_bytes=50_000)
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = bytes(range(256)) * 10_000
    wire.spawn("source", client.send(data))
    wire.run_to(0.2)
    sent = wire.link.sent_bytes("to_b")
    kill(wire, "source")
    wire.run_to(20)
    assert sink.data == data[: sent + 50_000]
    assert sink.task.done and sink.task.error is None


def test_bytes_that_come_for_a_dead_process_are_answered_with_a_reset() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    Sink(wire, server)
    writer = wire.spawn("source", push_for_ever(client))
    wire.run_to(1)
    steps = wire.kernels["replica"].steps
    kill(wire, "replica")
    wire.run_to(1 + RTT_S * 0.49)
    assert not writer.done
    wire.run_to(2)
    assert isinstance(writer.error, ConnectionLost)
    assert client.failure == "reset by the peer", "its queue is not sent for ever"
    assert wire.kernels["replica"].steps == steps
    assert not wire.link.to_a.flows and not wire.link.to_b.flows


def test_a_connection_that_was_not_accepted_yet_is_reset() -> None:
    wire = Wire(WAN)
    wire.pair()  # somebody listens
    caller = wire.spawn("source", wire.source.connect(ADDRESS))
    wire.run_to(1)
    sink = Sink(wire, caller.result(), "source")
    kill(wire, "replica")
    wire.run_to(2)
    assert "reset by the peer" in str(sink.task.error)


def test_a_power_loss_silences_what_a_dead_process_had_left_behind() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", client.send(bytes(250_000)))
    wire.run_to(0.2)
    kill(wire, "source")
    wire.network.machine_down("source")
    sent = wire.link.sent_bytes("to_b")
    wire.run_to(100)
    assert len(sink.data) == sent < 250_000 and not sink.task.done, "no end, no reset: silence"
    wire.source = wire.boot("source")
    wire.spawn("replica", server.send(b"anybody there?"))
    wire.run_to(101)
    assert "knows no such connection" in str(sink.task.error)


def test_a_machine_without_a_process_can_go_down() -> None:
    wire = Wire(WAN)
    kill(wire, "replica")
    wire.network.machine_down("replica")
    caller = wire.spawn("source", wire.source.connect(ADDRESS))
    wire.run_to(50)
    assert not caller.done, "nobody refuses"
    wire.replica = wire.boot("replica")
    wire.run_to(51)
    assert "refused" in str(caller.error)


def test_a_reset_that_meets_a_partition_comes_after_the_heal() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, client, "source")
    wire.spawn("source", client.send(b"never read"))
    wire.run_to(1)
    wire.link.partition()
    kill(wire, "replica")
    wire.run_to(10)
    assert not sink.task.done
    wire.link.heal()
    wire.run_to(10 + 1.1 * RTT_S)
    assert "reset" in str(sink.task.error)
    assert server.failure is not None


def test_an_end_that_meets_a_partition_comes_after_the_heal() -> None:
    wire = Wire(WAN)
    client, _server = wire.pair()
    sink = Sink(wire, client, "source")
    wire.link.partition()
    kill(wire, "replica")
    wire.run_to(10)
    assert not sink.task.done
    wire.link.heal()
    wire.run_to(10 + 1.1 * RTT_S)
    assert sink.task.done and sink.task.error is None


def test_a_vanished_machine_is_silent_and_resets_when_it_is_back() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    quiet, _ = wire.pair()
    listener = Sink(wire, quiet, "source")
    Sink(wire, server)
    writer = wire.spawn("source", push_for_ever(client))
    wire.run_to(1)
    wire.kernels["replica"].kill()
    wire.network.machine_down("replica")
    sent = wire.link.sent_bytes("to_b")
    wire.run_to(100)
    assert not writer.done and not listener.task.done
    assert wire.link.sent_bytes("to_b") - sent <= WAN.tcp_window_bytes
    wire.replica = wire.boot("replica")
    wire.run_to(100 + 1.4 * RTT_S)
    assert not writer.done, "its retransmission takes a round trip, the answer half of one"
    wire.run_to(100 + 1.6 * RTT_S)
    assert "knows no such connection" in str(writer.error)
    wire.run_to(200)
    assert not listener.task.done, "who sends nothing hears nothing"
    wire.spawn("source", quiet.send(b"anybody there?"))
    wire.run_to(201)
    assert "knows no such connection" in str(listener.task.error)
    assert not wire.source.streams and not wire.replica.streams


def test_connect_to_a_vanished_machine_waits_for_it() -> None:
    wire = Wire(WAN)
    wire.kernels["replica"].kill()
    wire.network.machine_down("replica")

    async def impatient() -> None:
        async with deadline(SECOND_NS):
            await wire.source.connect(ADDRESS)

    async def patient() -> None:
        await wire.source.connect(ADDRESS)

    quitter, waiter = wire.spawn("source", impatient()), wire.spawn("source", patient())
    wire.run_to(50)
    assert isinstance(quitter.error, TimedOut) and not waiter.done
    wire.network.machine_up("replica")
    wire.run_to(51)
    assert "refused" in str(waiter.error), "the machine is up before its process is"


def test_a_dead_hosts_streams_wake_nothing_of_it() -> None:
    """Killed in the kernel, the network not yet told: a step later would be too late."""
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", push_for_ever(client))
    wire.run_to(1)
    got, steps = len(sink.data), wire.kernels["replica"].steps
    wire.kernels["replica"].kill()
    wire.run_to(5)
    assert len(sink.data) == got and wire.kernels["replica"].steps == steps
    wire.network.process_died(wire.replica)
    wire.kernels["source"].kill()
    wire.network.machine_down("source")
    wire.run_to(10)
    assert not wire.source.streams and not wire.replica.streams


def test_what_a_vanished_host_had_sent_still_arrives() -> None:
    wire = Wire(WAN)
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", client.send(b"last words"))
    wire.clock.run_until(wire.clock.now() + MILLISECOND_NS)
    wire.kernels["source"].kill()
    wire.network.machine_down("source")
    wire.run_to(10)
    assert sink.data == b"last words" and not sink.task.done


def test_a_caller_that_dies_meanwhile_leaves_a_reset() -> None:
    wire = Wire(WAN)

    async def serve() -> None:
        listener = await wire.replica.listen(ADDRESS)
        stream = await listener.accept()
        await stream.receive(1)

    server = wire.spawn("replica", serve())
    wire.spawn("source", wire.source.connect(ADDRESS))
    wire.run_to(0.04)
    wire.kernels["source"].kill()
    wire.network.process_died(wire.source)
    wire.run_to(1)
    assert "reset by the peer" in str(server.error)
