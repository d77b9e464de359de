"""First copies, against a walk: the copy, then what came meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan.capacity import PlannedLink
from simulator.plan.protection import ByteLevel, ChangedBlocks, LogShipping
from simulator.plan.seeding import SeedRates, compare_seedings, seed_by_courier, seed_over_wire
from tests.plan.curves import flat, mail

PLAIN = ByteLevel(saving=0.0, overhead=0.0)
STEPS = 200


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 9), min_size=STEPS, max_size=STEPS),
    st.integers(3, 15),
    st.integers(0, 50),
    st.integers(1, 90),
    st.integers(4, 20),
)
def test_over_the_wire_step_by_step(
    amounts: list[int], could: int, begin: int, copied_steps: int, disk: int
) -> None:
    rate = min(could, disk)
    data = float(rate * copied_steps)
    rates = SeedRates(saving=0.0, source_bytes_per_second=disk / 60.0)
    found = seed_over_wire(
        PLAIN, flat(amounts), np.full(STEPS, float(could)), begin * 60.0, data, rates
    )
    end = begin + copied_steps
    waiting = 0.0
    for came in amounts[:begin]:
        waiting = max(0.0, waiting + came - could)
    waiting += sum(amounts[begin:end])
    peak, step = waiting, end
    while waiting > 0.5 and step < STEPS:
        waiting = max(0.0, waiting + amounts[step] - could)
        peak, step = max(peak, waiting), step + 1
    assert found.way_seconds == pytest.approx(copied_steps * 60.0)
    assert found.spool_peak_bytes == pytest.approx(peak)
    if waiting > 0.5:
        assert found.converges_after_seconds is None
        assert found.reason
    else:
        assert found.converges_after_seconds == pytest.approx((step - begin) * 60.0)


def test_a_courier_takes_its_parts_and_then_the_rest_catches_up() -> None:
    change = flat([1.0] * 1_000, stored_bytes=6_000.0)
    rates = SeedRates(
        source_bytes_per_second=10.0,
        medium_bytes_per_second=5.0,
        replica_bytes_per_second=2.0,
        courier_seconds=3_600.0,
    )
    found = seed_by_courier(PLAIN, change, np.full(1_000, 3.0), 0.0, rates=rates)
    assert (found.read_seconds, found.way_seconds, found.load_seconds) == (
        1_200.0,
        3_600.0,
        3_000.0,
    )
    assert found.spool_peak_bytes == 130.0
    assert found.catch_up_seconds == 65 * 60.0
    assert found.converges_after_seconds == 7_800.0 + 65 * 60.0


def test_a_slow_link_never_converges_and_says_why() -> None:
    change = mail(28.0)
    slow = PlannedLink(20e6).capacity_bytes(change.grid)
    wire = seed_over_wire(ByteLevel(), change, slow)
    courier = seed_by_courier(ByteLevel(), change, slow)
    assert wire.converges_after_seconds is None
    assert "never catch up: the mean load is" in wire.reason
    assert courier.converges_after_seconds is None
    tiny = seed_over_wire(ByteLevel(), change, slow / 1_000)
    assert "alone is not there within 28.0 days" in tiny.reason
    assert tiny.spool_peak_bytes is None
    far = seed_by_courier(ByteLevel(), change, slow, rates=SeedRates(courier_seconds=1e7))
    assert "under way for longer than 28.0 days" in far.reason
    table = compare_seedings(wire, courier, tiny, far)
    assert table["converges_after_seconds"].tolist() == [None] * 4


def test_a_faster_link_converges_no_later() -> None:
    change = mail(28.0)
    before = np.inf
    for mbit in (30, 60, 120, 240):
        link = PlannedLink(mbit * 1e6).capacity_bytes(change.grid)
        found = seed_over_wire(LogShipping(), change, link)
        assert found.converges_after_seconds is not None
        assert found.converges_after_seconds <= before
        before = found.converges_after_seconds
    # A seeding stream carries 20 MB/s, whatever the link.
    assert found.way_seconds == pytest.approx(4_000 * 250 * 2**20 / 20e6, rel=1e-3)
    blocks = seed_over_wire(ChangedBlocks(), change, link)
    assert blocks.converges_after_seconds is not None
    assert blocks.converges_after_seconds >= blocks.way_seconds


def test_what_is_refused() -> None:
    change = flat([1.0] * 10)
    with pytest.raises(ValueError, match="give data_set_bytes"):
        seed_over_wire(PLAIN, change, np.ones(10))
    with pytest.raises(ValueError, match="cannot have"):
        seed_by_courier(PLAIN, change, np.ones(10), 0.0, -1.0)
    with pytest.raises(ValueError, match="begin within"):
        seed_over_wire(PLAIN, change, np.ones(10), 600.0, 1.0)
    with pytest.raises(ValueError, match="positive numbers"):
        SeedRates(medium_bytes_per_second=0.0)
    with pytest.raises(ValueError, match="saving"):
        SeedRates(saving=1.0)
