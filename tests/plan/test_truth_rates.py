"""The rate for an objective: a plan's, and write by write; on real traces where they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.plan.bandwidth import required_rates
from simulator.plan.capacity import PlannedLink
from simulator.plan.protection import ByteLevel, ChangedBlocks
from simulator.plan.site_files import load_site
from simulator.plan.site_options import SiteOptions
from simulator.plan.truth_cases import Writes, writes_of_trace
from simulator.plan.truth_rates import (
    RPO_SECONDS,
    RateRow,
    compare_rates,
    least_rate,
    page,
    rates_of_table,
    rates_of_trace,
    replicated,
    share_within,
)
from tests.plan.curves import flat

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/plan-truth-rates.md"
SHARED = ROOT.parent / "shared/reference/traces/cloudphysics"
TRACE, TABLE = SHARED / "vscsi_sample.csv", SHARED / "features_30min.csv.gz"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which CI has")
MOST = 0.05
"""Most that a plan's rate may differ, as a share."""


def writes(*rows: tuple[float, float], span: float = 100.0) -> Writes:
    at, sizes = zip(*rows, strict=True)
    return Writes(np.array(at, dtype=float), np.array(sizes, dtype=float), span)


def test_a_single_write_is_late_from_the_objective_on_until_it_has_gone() -> None:
    one = writes((10.0, 500.0))
    assert share_within(one, 10.0, 20.0) == pytest.approx(0.70)  # 10 to 60; late from 30 on
    assert share_within(one, 1e9, 20.0) == 1.0
    assert share_within(one, 1.0, 20.0) == pytest.approx(0.30)  # until the end and beyond
    assert least_rate(one, 20.0, 0.70) == pytest.approx(80.0, rel=2e-3)


def test_a_write_waits_for_those_before_it() -> None:
    two = writes((0.0, 400.0), (10.0, 400.0))
    # The first goes until 40, the second from then until 80; late: 20 to 40, and 40 to 80.
    assert share_within(two, 10.0, 20.0) == pytest.approx(0.40)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 50)), min_size=1, max_size=12),
    st.integers(1, 30),
    st.integers(0, 60),
)
def test_it_agrees_with_a_walk_by_seconds(
    rows: list[tuple[int, int]], rate: int, objective: int
) -> None:
    """A walk in steps of a hundredth, byte by byte from the oldest."""
    rows = sorted(rows)
    queue, late, steps = [], 0, 100
    todo = [[float(at), float(size)] for at, size in rows]
    for step in range(100 * steps):
        now = step / steps
        while todo and todo[0][0] <= now:
            queue.append(todo.pop(0))
        could = rate / steps
        if queue and now - queue[0][0] >= objective:
            late += 1
        while queue and could >= queue[0][1]:
            could -= queue.pop(0)[1]
        if queue:
            queue[0][1] -= could
    found = share_within(writes(*rows), float(rate), float(objective))
    assert found == pytest.approx(1 - late / (100 * steps), abs=0.01 + 0.001 * len(rows))


def test_a_margin_of_a_step_keeps_the_objective_of_single_bursts() -> None:
    """A burst at the end of a minute: without the margin its line is too slow."""
    burst = writes(*[(59.0 + n / 1_000, 1e5) for n in range(900)], span=3_600.0)
    amounts = np.zeros(60)
    amounts[0] = burst.sizes_bytes.sum()
    curve, line = flat(amounts), PlannedLink(1e6, payload_share=1.0)
    plain = ByteLevel(saving=0.0, overhead=0.0)
    true = least_rate(burst, RPO_SECONDS, 1.0)
    [bare] = required_rates(plain, curve, line, RPO_SECONDS, [1.0])
    [roomy] = required_rates(plain, curve, line, RPO_SECONDS, [1.0], margin_seconds=60.0)
    assert bare.bits_per_second is not None
    assert roomy.bits_per_second is not None
    assert bare.bits_per_second < 0.97 * true
    assert true <= roomy.bits_per_second < 1.05 * true


def test_what_no_line_keeps_with_room_is_kept_without() -> None:
    kind = ChangedBlocks(interval_seconds=600.0)
    curve, line = flat([8e6] * 600), PlannedLink(1e6, payload_share=1.0)
    least = float(kind.course(curve, np.full(600, 1e12)).lag_seconds.max())
    [found] = required_rates(kind, curve, line, least + 1.0, [1.0], margin_seconds=60.0)
    assert found.bits_per_second is not None


def test_the_page_shows_both_records() -> None:
    rows = [RateRow(0.95, 7.4e6, 7.5e6)]
    text = page(rows, (930.0, 66_899), [rows, [RateRow(0.95, 1.02e6, 1e6)]])
    assert "| 95% | 7.40 | 7.50 | -1.3% |" in text
    assert "**its 95 % lag is 930 s**, where 900 s\nwere planned: -3.2%" in text
    assert "A week of 2 machines" in text
    assert "| 95% | -1.33% | +0.33% | +2.00% |" in text


@needs_shared
def test_two_hours_of_a_production_disk() -> None:
    rows = rates_of_trace(TRACE)
    assert [row.share_of_time for row in rows] == [1.0, 0.99, 0.95, 0.90]
    assert all(0 <= row.difference < MOST for row in rows), rows
    table = [
        f"| {row.share_of_time:.0%} | {row.planned / 1e6:.2f} | {row.by_writes / 1e6:.2f} "
        f"| {row.difference:+.1%} |"
        for row in rows
    ]
    text = PAGE.read_text(encoding="utf-8")
    assert all(line in text for line in table), table


@needs_shared
def test_on_a_second_s_grid_the_two_are_the_same() -> None:
    curve = load_site(TRACE, SiteOptions(step_seconds=1.0))
    for row in compare_rates(curve, writes_of_trace(TRACE), (1.0, 0.95)):
        assert abs(row.difference) < 0.003


@needs_shared
def test_weeks_of_some_machines() -> None:
    for rows in rates_of_table(TABLE, every=20):
        assert all(abs(row.difference) < MOST for row in rows), rows


@needs_shared
@pytest.mark.full
def test_weeks_of_all_machines() -> None:
    table = rates_of_table(TABLE)
    assert len(table) == 106
    assert all(abs(row.difference) < MOST for rows in table for row in rows)


@needs_shared
@pytest.mark.full
def test_the_replicator_keeps_the_objective_at_the_planned_rate() -> None:
    [planned] = [row.planned for row in rates_of_trace(TRACE) if row.share_of_time == 0.95]
    lag, _operations = replicated(TRACE, planned)
    assert lag <= RPO_SECONDS
    assert lag == pytest.approx(RPO_SECONDS, rel=MOST)
