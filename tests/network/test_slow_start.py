"""Slow start on the emulated link: growth, idleness, cuts, and that it is off unless asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.errors import BadInput, ConnectionLost
from simulator import tcp
from simulator.link import LinkModel
from simulator.run import run_scenario
from simulator.scenario import load_scenario
from simulator.slow_start import CongestionWindow, SlowStartStream
from simulator.stream import SimStream
from tests.network.tcp_measures import Exchange, payload
from tests.network.wires import MIB, MILLISECOND_NS, Sink, Wire, send_all

RTT_S = 0.1
COLD = LinkModel(1e9, round(RTT_S * 1e9), tcp_window_bytes=65_535, initial_window_segments=2)
COLD_LOG_S = tcp.cold_seconds(MIB, RTT_S, 65_535 / RTT_S, 2 * 1460)
WARM_LOG_S = MIB / (65_535 / RTT_S) + RTT_S
SUITE = "scenarios/suites/small.toml"


def predicted_s(model: LinkModel, size_bytes: int) -> float:
    """What the theory says of a cold exchange; its answer is one segment, so half a round trip."""
    rate = min(model.bits_per_second / 8, model.stream_bytes_per_second())
    growth = tcp.DELAYED_GROWTH if model.delayed_acknowledgements else tcp.GROWTH
    assert model.initial_window_segments is not None
    initial = model.initial_window_segments * model.mss_bytes
    return tcp.cold_seconds(size_bytes, model.rtt_ns / 1e9, rate, initial, growth)


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("segments", [1, 3, 10, 100])
@pytest.mark.parametrize(
    ("megabits", "rtt_ms", "window", "loss"),
    [
        (1.544, 60, 65_535, 0.0),
        (10, 20, 65_535, 0.0),
        (10, 250, 16 * MIB, 0.0),
        (100, 100, 16 * MIB, 0.0),
        (1000, 1, 17_520, 0.0),
        (1000, 550, 256 * 1024, 0.0),
        (100, 50, 16 * MIB, 0.001),
        (100, 50, 16 * MIB, 0.03),
    ],
)
@pytest.mark.parametrize("size", [1000, 200_000, MIB])
def test_a_cold_exchange_takes_as_long_as_the_theory_says(
    megabits: float, rtt_ms: int, window: int, loss: float, segments: int, delayed: bool, size: int
) -> None:
    model = LinkModel(
        megabits * 1e6,
        rtt_ms * MILLISECOND_NS,
        loss=loss,
        tcp_window_bytes=window,
        initial_window_segments=segments,
        delayed_acknowledgements=delayed,
    )
    exchange = Exchange(model)
    seconds = exchange.seconds(size)
    # The last chunk of all goes at the line's rate: pacing only holds back the one behind it.
    pace = min(model.bits_per_second / 8, model.stream_bytes_per_second())
    last_chunk_s = min(size, exchange.wire.link.to_b._chunk_limit) / pace
    wanted_s = predicted_s(model, size)
    assert wanted_s * 0.95 - last_chunk_s <= seconds <= wanted_s * 1.05


def test_a_log_after_an_idle_time_begins_anew() -> None:
    exchange = Exchange(COLD)
    first_s = exchange.seconds(MIB)
    assert first_s == pytest.approx(COLD_LOG_S, rel=0.01)
    assert exchange.seconds(MIB) == pytest.approx(WARM_LOG_S, rel=0.01), "at once: warm"
    exchange.rest(2.5 * RTT_S)
    assert exchange.seconds(MIB) == pytest.approx(first_s, rel=0.01)
    assert exchange.cold_client.congestion.unacknowledged_bytes == 0


def test_without_the_restart_it_stays_warm() -> None:
    exchange = Exchange(replace(COLD, restart_when_idle=False))
    assert exchange.seconds(MIB) == pytest.approx(COLD_LOG_S, rel=0.01)
    exchange.rest(3600)
    assert exchange.seconds(MIB) == pytest.approx(WARM_LOG_S, rel=0.01)


def test_idleness_is_measured_against_the_timeout() -> None:
    late = Exchange(replace(COLD, retransmission_timeout_ns=5 * 10**9))
    late.seconds(MIB)
    late.rest(4.8)
    assert late.seconds(MIB) == pytest.approx(WARM_LOG_S, rel=0.01)
    late.rest(5.1)
    assert late.seconds(MIB) == pytest.approx(COLD_LOG_S, rel=0.01)


def test_a_timeout_below_the_round_trip_does_not_take_waiting_for_idleness() -> None:
    exchange = Exchange(replace(COLD, retransmission_timeout_ns=MILLISECOND_NS))
    assert exchange.seconds(MIB) == pytest.approx(COLD_LOG_S, rel=0.01)


def test_a_new_connection_is_cold() -> None:
    exchange = Exchange(COLD)
    exchange.seconds(MIB)
    exchange.wire.link.reset()
    with pytest.raises(ConnectionLost):
        exchange.seconds(1)
    exchange.connect()
    assert exchange.seconds(MIB) == pytest.approx(COLD_LOG_S, rel=0.01)


def test_both_directions_begin_cold() -> None:
    wire = Wire(COLD)
    client, server = wire.pair()
    sink = Sink(wire, client, "source")
    began_s = wire.now_s
    wire.spawn("replica", send_all(server, payload(MIB)))
    wire.run_to(began_s + 10)
    assert sink.last_s - began_s == pytest.approx(COLD_LOG_S - RTT_S / 2, rel=0.01)


def test_a_slow_line_is_never_idle_by_its_slowness() -> None:
    """Each chunk of 64 kbit/s takes longer than the timeout, and two streams take turns."""
    model = LinkModel(64e3, 10 * MILLISECOND_NS, initial_window_segments=2)
    wire = Wire(model)
    ends = [wire.pair() for _ in range(2)]
    sinks = [Sink(wire, server) for _, server in ends]
    began_s = wire.now_s
    for client, _ in ends:
        wire.spawn("source", send_all(client, payload(100_000)))
    wire.run_to(began_s + 30)
    assert [len(sink.data) for sink in sinks] == [100_000, 100_000]
    assert max(sink.last_s for sink in sinks) - began_s == pytest.approx(25, rel=0.02)
    for client, _ in ends:
        assert isinstance(client, SlowStartStream)
        assert client.congestion.size_bytes > 50_000, "it grew all the time"


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("direction", ["both", "to_b", "to_a"])
def test_after_a_cut_it_begins_anew_and_everything_arrives(direction: Any, restart: bool) -> None:
    wire = Wire(replace(COLD, restart_when_idle=restart))
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = payload(4 * MIB)
    wire.spawn("source", send_all(client, data))
    assert isinstance(client, SlowStartStream)
    wire.run_to(wire.now_s + 2)
    assert client.congestion.size_bytes >= 65_535, "it is warm"
    wire.link.partition(direction)
    wire.run_to(wire.now_s + 5)
    wire.link.heal(direction)
    before = len(sink.data)
    wire.run_to(wire.now_s + 1.2 * RTT_S)  # what was under way has come, and the first new bytes
    assert (client.congestion.size_bytes < 65_535) == restart
    wire.run_to(wire.now_s + 20)
    assert before < len(sink.data) and sink.data == data
    assert client.congestion.unacknowledged_bytes == 0


def test_after_hours_without_bandwidth_it_begins_anew() -> None:
    wire = Wire(COLD)
    client, server = wire.pair()
    sink = Sink(wire, server)
    data = payload(4 * MIB)
    wire.spawn("source", send_all(client, data))
    assert isinstance(client, SlowStartStream)
    wire.run_to(wire.now_s + 2)
    go_on = wire.link.override_bandwidth(0)
    wire.run_to(wire.now_s + 3 * RTT_S)
    assert client.congestion.size_bytes >= 65_535
    go_on()
    wire.run_to(wire.now_s + 0.5 * RTT_S)
    assert client.congestion.size_bytes < 65_535
    wire.run_to(wire.now_s + 20)
    assert sink.data == data


def test_while_it_is_cold_no_more_is_unacknowledged_than_its_window() -> None:
    wire = Wire(replace(COLD, tcp_window_bytes=16 * MIB))
    client, server = wire.pair()
    Sink(wire, server)
    wire.spawn("source", send_all(client, payload(MIB)))
    assert isinstance(client, SlowStartStream)
    began_s, sent = wire.now_s, []
    for round_trip in range(6):
        wire.run_to(began_s + (round_trip + 0.9) * RTT_S)
        assert client.congestion.unacknowledged_bytes <= client.congestion.size_bytes
        sent.append(wire.link.sent_bytes("to_b"))
    rounds = [2920 * 2**k for k in range(6)]
    assert sent == [sum(rounds[: k + 1]) for k in range(6)]


def test_a_reader_that_does_not_read_stops_it_and_lets_it_go_on() -> None:
    wire = Wire(COLD)
    client, server = wire.pair()
    data = payload(MIB)
    wire.spawn("source", send_all(client, data))
    wire.run_to(wire.now_s + 10)
    assert wire.link.sent_bytes("to_b") == 65_535
    sink = Sink(wire, server)
    wire.run_to(wire.now_s + 10)
    assert sink.data == data


def test_the_window_alone() -> None:
    window = CongestionWindow(2000, 6000, tcp.DELAYED_GROWTH)
    assert window.room_bytes == 2000
    window.sent(2000)
    assert window.room_bytes == 0
    window.acknowledged(1001)
    assert window.room_bytes == 1501, "by half of what was acknowledged, in whole bytes"
    window.sent(1501)
    window.restart()
    assert window.room_bytes == -500, "what is on its way counts on"
    window.acknowledged(2500)
    window.sent(3250)
    window.acknowledged(3250)
    window.sent(5000)
    window.acknowledged(5000)
    assert window.room_bytes == 6000 and window.unacknowledged_bytes == 0
    window.sent(6000)
    assert window.room_bytes == 6000, "from here on the receive window alone counts"


@settings(max_examples=40, deadline=None)
@given(
    model=st.builds(
        LinkModel,
        bits_per_second=st.sampled_from([64e3, 1e6, 1e8, 1e10]),
        rtt_ns=st.sampled_from([0, MILLISECOND_NS, 70 * MILLISECOND_NS]),
        jitter_ns=st.sampled_from([0, 5 * MILLISECOND_NS]),
        loss=st.sampled_from([0.0, 0.001, 0.05]),
        tcp_window_bytes=st.sampled_from([1, 1000, 17_520, 1 << 24]),
        initial_window_segments=st.integers(1, 20),
        delayed_acknowledgements=st.booleans(),
        restart_when_idle=st.booleans(),
        retransmission_timeout_ns=st.sampled_from([None, 0, 10**9]),
    ),
    pieces=st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
    pauses_ms=st.lists(st.integers(0, 900), min_size=6, max_size=6),
    cuts=st.lists(
        st.tuples(
            st.integers(0, 900), st.integers(1, 900), st.sampled_from(["both", "to_a", "to_b"])
        ),
        max_size=3,
    ),
)
def test_whatever_happens_all_arrives_in_order(
    model: LinkModel, pieces: list[int], pauses_ms: list[int], cuts: list[tuple[int, int, Any]]
) -> None:
    if model.tcp_window_bytes == 1:
        pieces = [1 + piece % 50 for piece in pieces]  # a byte at a time
    numbers = iter(range(10**9))
    wire = Wire(model, random=lambda: next(numbers) * 0.618 % 1)
    client, server = wire.pair()
    sink = Sink(wire, server)
    start_ns = wire.clock.now()
    for begin_ms, lasting_ms, direction in cuts:
        at_ns = start_ns + begin_ms * MILLISECOND_NS
        wire.clock.at(at_ns, lambda d=direction: wire.link.partition(d))
        wire.clock.at(at_ns + lasting_ms * MILLISECOND_NS, lambda d=direction: wire.link.heal(d))
    for index, piece in enumerate(pieces):
        data = bytes([index]) * piece
        wire.spawn("source", client.send(data))
        wire.run_to(wire.now_s + pauses_ms[index] / 1000)
    wire.run_to(wire.now_s + 300)
    assert sink.data == b"".join(bytes([index]) * piece for index, piece in enumerate(pieces))
    assert isinstance(client, SlowStartStream)
    assert client.congestion.unacknowledged_bytes == 0


def test_without_an_initial_window_connections_are_warm_and_plain() -> None:
    wire = Wire(replace(COLD, initial_window_segments=None))
    client, server = wire.pair()
    assert type(client) is type(server) is SimStream, "the code of warm connections has no test"
    warm = Exchange(replace(COLD, initial_window_segments=None))
    assert warm.seconds(MIB) == pytest.approx(WARM_LOG_S, rel=0.01)


def test_an_initial_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="initial_window_segments must be at least 1"):
        replace(COLD, initial_window_segments=0)


def test_a_scenario_with_slow_start_passes_and_repeats() -> None:
    keys = ["link.rtt=40ms", "duration=3s"]
    warm = run_scenario(load_scenario(SUITE, keys))
    cold = [run_scenario(load_scenario(SUITE, [*keys, "link.initial_window=2"])) for _ in range(2)]
    assert cold[0].trace_hash == cold[1].trace_hash != warm.trace_hash
    assert {result.verdict for result in (warm, *cold)} == {warm.verdict}
    assert warm.verdict.value == "pass"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("link.initial_window=0", "initial_window"),
        ("link.initial_window=1001", "initial_window"),
        ("link.delayed_acknowledgements=true", "without link.initial_window they are warm"),
        ("link.restart_when_idle=false", "without link.initial_window they are warm"),
    ],
)
def test_bad_keys_are_refused(override: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load_scenario(SUITE, [override])
