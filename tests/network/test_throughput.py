"""Rates: the loss bound above 1 %, sharing, schedules, cost.  The tables: ``test_tcp_tables``."""

from __future__ import annotations

from math import sqrt

import pytest

from simulator.link import DAY_NS, LinkModel
from simulator.stream import SimStream
from tests.network.wires import MIB, MILLISECOND_NS, SECOND_NS, Sink, Wire, send_all, throughput

HOUR_NS = 3600 * SECOND_NS
GIGABIT = 1e10


def test_above_one_per_cent_timeouts_count() -> None:
    loss, rtt_s, rto_s, b = 0.05, 0.1, 0.2, 2
    model = LinkModel(GIGABIT, 100 * MILLISECOND_NS, loss=loss)
    wanted = 1460 / (
        rtt_s * sqrt(2 * b * loss / 3)
        + rto_s * min(1, 3 * sqrt(3 * b * loss / 8)) * loss * (1 + 32 * loss**2)
    )
    assert model.stream_bytes_per_second() == pytest.approx(wanted)
    assert throughput(model, 60) == pytest.approx(wanted, rel=0.03)
    slower = LinkModel(GIGABIT, 100 * MILLISECOND_NS, loss=loss, retransmission_timeout_ns=10**9)
    assert slower.stream_bytes_per_second() < wanted


def test_parameters_of_the_loss_bound_and_of_framing() -> None:
    delayed = LinkModel(GIGABIT, 50 * MILLISECOND_NS, loss=0.001, mathis_factor=0.87)
    each = LinkModel(GIGABIT, 50 * MILLISECOND_NS, loss=0.001)
    ratio = delayed.stream_bytes_per_second() / each.stream_bytes_per_second()
    assert ratio == pytest.approx(0.87 / 1.22)
    assert throughput(LinkModel(1e7, 0, payload_share=0.94)) == pytest.approx(1.175e6, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bits_per_second": -1.0},
        {"rtt_ns": -1},
        {"loss": 1.0},
        {"tcp_window_bytes": 0},
        {"payload_share": 0.0},
        {"schedule": ((0, DAY_NS + 1, 1.0),)},
    ],
)
def test_impossible_models_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        LinkModel(**({"bits_per_second": 1e6, "rtt_ns": 0} | wrong))  # type: ignore[arg-type]


def test_connections_share_the_line_and_latency_is_half_the_round_trip() -> None:
    wire = Wire(LinkModel(8e6, 60 * MILLISECOND_NS))
    ends = [wire.pair() for _ in range(4)]
    sinks = [Sink(wire, server) for _, server in ends]
    start_s = wire.now_s
    for client, _ in ends:
        wire.spawn("source", send_all(client, bytes(500_000)))
    wire.run_to(start_s + 1.0)
    shares = [len(sink.data) for sink in sinks]
    assert sum(shares) == pytest.approx(970_000, rel=0.03)
    assert max(shares) - min(shares) <= 20_000
    wire.run_to(start_s + 5)
    assert all(len(sink.data) == 500_000 for sink in sinks)
    assert sinks[0].arrivals[0][0] - start_s == pytest.approx(0.03 + 0.01, abs=0.001)


def test_directions_do_not_share() -> None:
    wire = Wire(LinkModel(8e6, 10 * MILLISECOND_NS))
    client, server = wire.pair()
    sinks = [Sink(wire, server), Sink(wire, client, "source")]
    start_s = wire.now_s

    async def push(stream: SimStream) -> None:
        for _ in range(10):
            await stream.send(bytes(100_000))

    wire.spawn("source", push(client))
    wire.spawn("replica", push(server))
    wire.run_to(start_s + 1.02)
    assert [len(sink.data) for sink in sinks] == [1_000_000, 1_000_000]
    assert wire.link.sent_bytes("to_a") == wire.link.sent_bytes("to_b") == 1_000_000


def test_schedule_by_time_of_day() -> None:
    office = ((8 * HOUR_NS, 18 * HOUR_NS, 1e6), (22 * HOUR_NS, 2 * HOUR_NS, 0.0))
    model = LinkModel(8e6, 0, schedule=office, day_offset_ns=7 * HOUR_NS)
    rates = {hour: model.scheduled_bits_per_second((hour - 7) * HOUR_NS) for hour in range(7, 31)}
    assert rates[7] == 8e6 and rates[8] == 1e6 and rates[17] == 1e6 and rates[18] == 8e6
    assert rates[21] == 8e6 and rates[22] == rates[23] == rates[25] == 0.0 and rates[26] == 8e6
    assert model.next_change_ns(0) == HOUR_NS
    assert model.next_change_ns(HOUR_NS) == 11 * HOUR_NS
    assert LinkModel(8e6, 0).next_change_ns(0) is None


def test_a_connection_follows_the_schedule_and_waits_while_it_is_closed() -> None:
    pieces = ((10 * SECOND_NS, 20 * SECOND_NS, 8e5), (20 * SECOND_NS, 30 * SECOND_NS, 0.0))
    wire = Wire(LinkModel(8e6, 0, schedule=pieces))
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", send_all(client, bytes(20_000_000)))
    wire.run_to(10)
    assert len(sink.data) == pytest.approx(10e6, rel=0.01)
    wire.run_to(20)
    assert len(sink.data) == pytest.approx(11e6, rel=0.01)
    assert wire.link.capacity_bytes_per_second(wire.clock.now()) == 0
    wire.run_to(29.9)
    assert len(sink.data) == pytest.approx(11e6, rel=0.01)
    wire.run_to(45)
    assert len(sink.data) == 20_000_000
    assert sink.last_s == pytest.approx(39, abs=0.1)


def test_an_override_of_the_bandwidth_slows_stops_and_ends() -> None:
    wire = Wire(LinkModel(8e6, 0))
    client, server = wire.pair()
    sink = Sink(wire, server)
    wire.spawn("source", send_all(client, bytes(10_000_000)))
    wire.run_to(1)
    go_on = wire.link.override_bandwidth(8e5)
    assert wire.link.capacity_bytes_per_second(wire.clock.now()) == 1e5
    wire.run_to(2)
    assert len(sink.data) == pytest.approx(1.1e6, rel=0.03)
    go_on()
    stop = wire.link.override_bandwidth(0)
    wire.run_to(5)
    assert len(sink.data) == pytest.approx(1.1e6, rel=0.03)
    stop()
    wire.run_to(20)
    assert len(sink.data) == 10_000_000
    assert sink.last_s == pytest.approx(5 + 8.9, abs=0.1)


def test_of_several_overrides_the_one_that_began_last_counts() -> None:
    link = Wire(LinkModel(8e6, 0)).link

    def rate() -> float:
        return 8 * link.capacity_bytes_per_second(0)

    first = link.override_bandwidth(4e6)
    second = link.override_bandwidth(2e6)
    third = link.override_bandwidth(1e6)
    second()
    assert rate() == 1e6, "an end in the middle does not touch the one on top"
    third()
    assert rate() == 4e6, "the schedule does not come back while one is left"
    third()
    assert rate() == 4e6
    first()
    assert rate() == 8e6


def test_cost_is_linear_in_bytes_and_events_are_few() -> None:
    def events(size: int) -> int:
        wire = Wire(LinkModel(100e6, 60 * MILLISECOND_NS))
        client, server = wire.pair()
        Sink(wire, server)
        wire.spawn("source", send_all(client, bytes(size), piece_bytes=1 << 20))
        first = next(wire.clock.env._eid)
        wire.run_to(60)
        return next(wire.clock.env._eid) - first

    small, large = events(8 * MIB), events(64 * MIB)
    chunks = 64 * MIB / 65_536
    assert large <= 5 * chunks + 100
    assert large / small == pytest.approx(8, rel=0.1)
