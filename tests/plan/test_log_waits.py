"""Logs that wait for round trips: what a line is worth to them, alone and side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.plan.courses import NO_WAITS, Waits
from simulator.plan.link_use import link_use
from simulator.plan.organisation import parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, protections_of
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.protection import LogShipping
from simulator.plan.queued_kinds import LOG_ROUND_TRIPS
from simulator.plan.sensitivity import with_input
from tests.plan import plans

SHIPPED = (
    *plans.QUICK,
    "protection.kind=log shipping",
    "protection.log_volume=1TB",
    "link.schedule=[]",
    "link.bandwidth=20Mbit/s",
)


def case_of(*overrides: str) -> PlanCase:
    read = parse_organisation(plans.EXAMPLE, [*SHIPPED, *overrides])
    own = next(iter(protections_of(read).values()))
    return PlanCase.of(read, change_of(read), link_of(read), own)


def kind_of(case: PlanCase) -> LogShipping:
    assert isinstance(case.protection, LogShipping)
    return case.protection


# -- the formula ---------------------------------------------------------------------------------


@given(
    st.floats(1.0, 1e9),
    st.floats(0.0, 1e-3),
    st.integers(1, 50),
    st.sampled_from([1.0, 60.0, 300.0]),
)
def test_parts_that_wait_never_take_more_than_the_line_nor_than_their_own_pace(
    service_bytes: float, seconds_per_byte: float, parts: int, step_seconds: float
) -> None:
    service = np.array([0.0, service_bytes])
    left = Waits(seconds_per_byte, float(parts)).left(service, step_seconds)
    assert left[0] == 0.0
    assert 0 < left[1] <= service[1] * (1 + 1e-12)
    # One part sends a byte in what the line needs for it and what it waits for it.
    pace = 1.0 / (step_seconds / service[1] + seconds_per_byte) * step_seconds
    assert left[1] == pytest.approx(min(service[1], parts * pace))


def test_nothing_waits_where_no_piece_is_asked_for() -> None:
    change = change_of(parse_organisation(plans.EXAMPLE, SHIPPED))
    assert LogShipping(round_trip_seconds=0.2).waits(change) is NO_WAITS
    asked = LogShipping(piece_bytes=2.0**18, round_trip_seconds=0.2)
    trips = LOG_ROUND_TRIPS + change.log_file_bytes / 2.0**18
    assert asked.waits(change).seconds_per_byte * change.log_file_bytes == pytest.approx(trips / 5)
    capacity = np.full(change.grid.steps, 1e6)
    assert (asked.usable_bytes(change, capacity) <= capacity).all()
    queue = asked.queue(change)
    assert queue.service(capacity) * queue.wire_per_byte == pytest.approx(
        asked.usable_bytes(change, capacity)
    )


# -- in a plan -----------------------------------------------------------------------------------


def test_one_log_set_over_a_long_line_lags_more_than_its_bytes_say() -> None:
    one = case_of("change.log_sets=1", 'mailboxes=[{count=3000,profile="heavy"}]')
    rpo = one.outputs()["rpo_seconds"]
    switched_off = replace(one, protection=replace(kind_of(one), piece_bytes=0.0))
    without = switched_off.outputs()["rpo_seconds"]
    assert rpo is not None and without is not None
    assert rpo > 4 * max(without, 60.0)
    several = case_of("change.log_sets=15", 'mailboxes=[{count=3000,profile="heavy"}]')
    line = link_of(parse_organisation(plans.EXAMPLE, SHIPPED)).capacity_bytes(one.curve.change.grid)
    used = link_use(kind_of(one), one.curve.change, line).mean_utilisation
    filled = link_use(kind_of(several), several.curve.change, line).mean_utilisation
    assert used is not None and filled is not None and used > 1.5 * filled


def test_the_round_trip_moves_the_waits() -> None:
    case = case_of("change.log_sets=1", 'mailboxes=[{count=3000,profile="heavy"}]')
    farther = with_input(case, "link.rtt_seconds", 2 * case.link.rtt_seconds)
    anew = case_of(
        "change.log_sets=1", 'mailboxes=[{count=3000,profile="heavy"}]', "link.rtt=120ms"
    )
    assert farther.outputs() == pytest.approx(anew.outputs(), rel=1e-4)
    assert (farther.outputs()["rpo_seconds"] or 0) > (case.outputs()["rpo_seconds"] or 0)


def test_a_line_that_waits_keep_from_catching_up_is_told_so() -> None:
    read = parse_organisation(
        plans.EXAMPLE,
        [*SHIPPED, "change.log_sets=1", "link.rtt=2s", 'mailboxes=[{count=9000,profile="heavy"}]'],
    )
    change, kind = change_of(read), next(iter(protections_of(read).values()))
    line = np.full(change.grid.steps, 1e9)
    found = link_use(kind, change, line)
    assert not found.catches_up and "round trips" in found.reason
    busy = link_use(kind, change, line / 1e6)
    assert not busy.catches_up and "round trips" not in busy.reason
