"""Faults of the link that change its figures for a while, or flip bytes behind its checksum."""

from __future__ import annotations

import pytest

from simulator.measures import Verdict
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from tests.test_faults import TEXT, Looks, fault, injected, run

SECOND_NS = 1_000_000_000


def test_latency_changes_for_a_while() -> None:
    found = Looks(
        fault("link_latency", 10, rtt="2s", duration="20s")
        + fault("link_latency", 15, rtt="1s", duration="5s"),
        lambda run: (run.link.to_a.latency_ns, run.link.to_b.latency_ns),
        9,
        12,
        17,
        22,
        31,
    )
    one, own = (SECOND_NS, SECOND_NS), (10_000_000, 10_000_000)
    half = (SECOND_NS // 2, SECOND_NS // 2)
    assert found.seen == {9: own, 12: one, 17: half, 22: one, 31: own}
    assert found.result.verdict is Verdict.PASS, found.result.reasons
    assert [mark.note for mark in found.result.faults] == ["RTT 2s", "RTT 1s"]


def test_a_longer_way_makes_the_replica_lag_more() -> None:
    calm, far = run(""), run(fault("link_latency", 20, rtt="4s", duration="20s"))

    def lag(samples: object) -> float:
        times, lags = samples.time_seconds, samples.lag_seconds  # type: ignore[attr-defined]
        return max(lag for at, lag in zip(times, lags, strict=True) if 25 <= at <= 38)

    assert lag(far.samples) > 2 > lag(calm.samples)


def test_loss_slows_a_stream_down_for_a_while() -> None:
    found = Looks(
        fault("link_loss", 10, loss="20%", duration="20s")
        + fault("link_latency", 15, rtt="1s", duration="30s"),
        lambda run: (run.link.to_b.model.loss, run.link.to_b.model.rtt_ns // 10**6),
        9,
        12,
        17,
        31,
        46,
    )
    seen = found.seen
    assert seen == {9: (0, 20), 12: (0.2, 20), 17: (0.2, 1000), 31: (0, 1000), 46: (0, 20)}
    assert found.result.verdict is Verdict.PASS, found.result.reasons
    lossy = found.run.link.model.stream_bytes_per_second()
    assert lossy > 10**8, "the link's own figures stay"


@pytest.mark.parametrize("direction", ["to_replica", "to_source", "both"])
def test_flipped_bytes_are_found_and_do_no_harm(direction: str) -> None:
    made = ScenarioRun(
        parse_scenario(
            TEXT + fault("link_corruption", 10, count=6, duration="20s", direction=direction)
        )
    )
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    [mark] = result.faults
    assert (mark.kind, mark.where, mark.note) == ("link_corruption", "link", "6 bytes")
    assert made.world.network is not None
    assert made.world.network._connections > 1, "the damage was noticed"
    assert made.link.to_a.corrupt is made.link.to_b.corrupt is None, "nothing listens any more"


def test_bytes_that_were_never_under_way_were_not_flipped() -> None:
    world, faults = injected(fault("link_corruption", 10, count=3, duration="5s"))
    world.clock.run_until(20 * SECOND_NS)
    assert faults.never_happened == [
        "3 of the 3 bytes to be flipped from 10s on never were: nothing was sent any more"
    ]
    assert [mark.kind for mark in faults.marks()] == ["link_corruption"], "it may still come"
    faults.over()
    assert faults.marks() == [], "it counts as none that happened"
    assert faults.never_happened == [
        "the link corruption at 10s never happened: nothing was sent any more"
    ]
    world.close()


def test_the_same_seed_flips_the_same_bytes() -> None:
    text = fault("link_corruption", 10, count=6, duration="20s")
    assert run(text).trace_hash == run(text).trace_hash
    assert run(text).trace_hash != run("").trace_hash
