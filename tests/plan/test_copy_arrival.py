"""A first copy that is never there is no plan that holds; what bounds it is named."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.plan.organisation import parse_organisation
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_assumed import assumed_defaults
from simulator.plan.plan_inputs import ARRIVAL, PlanCase
from simulator.plan.plan_objectives import holds, outcomes_of
from simulator.plan.planner import Plan
from simulator.plan.protection import ByteLevel
from simulator.plan.seeding import SeedRates, seed_by_courier, seed_over_wire
from simulator.plan.sensitivity import with_input
from simulator.report.plan_story import headline
from simulator.report.plan_tables import plan_tables
from tests.plan import plans
from tests.plan.curves import flat

HUGE = ("link.bandwidth=20Mbit/s", "link.schedule=[]", "change.database_size=30TB")
CALM = ("change.defragmentation=0%", "protection.spool=1TB")


def outcome(plan: Plan) -> tuple[bool, float | None, str]:
    [found] = [each for each in outcomes_of(plan) if each.objective == ARRIVAL]
    return found.met, found.found, found.reason


def test_a_copy_that_never_comes_is_a_plan_that_does_not_hold() -> None:
    plan = plans.plan(*HUGE, *CALM)
    met, found, reason = outcome(plan)
    assert not met and found is None and "not there within" in reason
    assert not holds(outcomes_of(plan)) and ARRIVAL in headline(plan)
    assert plan.kinds.set_index("kind")["missed"].str.contains(ARRIVAL).loc["byte level"]
    told = " ".join(answer_of(plan))
    assert "The first copy over the line never converges" in told
    # The limits do not promise what does not come.
    assert not any(told.startswith("This holds") for told in answer_of(plan))


def test_a_copy_that_comes_is_met_and_where_no_size_is_known_nothing_is_judged() -> None:
    plan = plans.sound()
    met, found, reason = outcome(plan)
    assert met and reason == ""
    assert found == plan.first_copy.set_index("way").loc["wire", "converges_after_seconds"]
    empty = plans.replaced(plan, first_copy=plan.first_copy.head(0))
    assert not [each for each in outcomes_of(empty) if each.objective == ARRIVAL]
    [table] = [each for each in plan_tables(plan) if each.key == "objectives"]
    assert any("Arrival of the first copy" in row for row in table.spelled())
    never = plans.never()
    assert outcome(never)[0] is False and outcome(never)[2] == never.use.reason


def test_the_limits_know_of_the_arrival() -> None:
    plan = plans.plan("link.bandwidth=40Mbit/s", "link.schedule=[]", *CALM)
    row = plan.validity.set_index("input").loc["link.bits_per_second"]
    case = _case(plan)
    assert not _at(case, float(row["holds_until"])).broken()
    assert _at(case, 0.9 * float(row["holds_until"])).broken()
    assert ARRIVAL in _case(plans.plan(*HUGE, *CALM)).broken()


def _case(plan: Plan) -> PlanCase:
    return PlanCase.of(plan.organisation, plan.change, plan.link, plan.protection)


def _at(case: PlanCase, bits_per_second: float) -> PlanCase:
    return with_input(case, "link.bits_per_second", bits_per_second)


# -- what bounds it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rates", "bound"),
    [
        (1e6, SeedRates(), "line"),
        (1e9, SeedRates(stream_bytes_per_second=20e6), "seeding"),
        (1e9, SeedRates(stream_bytes_per_second=1e9, source_bytes_per_second=30e6), "disk"),
    ],
)
def test_what_bounds_the_way_is_said(line: float, rates: SeedRates, bound: str) -> None:
    change = flat([1e6] * 8 * 1_440)
    capacity = np.full(change.grid.steps, line * change.grid.step_seconds)
    kind = ByteLevel()
    made = seed_over_wire(kind, change, capacity, data_set_bytes=2e11, rates=rates)
    assert made.bound_by == bound
    assert seed_by_courier(kind, change, capacity, data_set_bytes=2e11).bound_by == ""


def test_a_faster_line_that_does_nothing_is_told_with_its_key() -> None:
    size = ("change.database_size=2TB", "protection.spool=1TB", "link.schedule=[]", "link.loss=0%")
    plan = plans.plan("link.bandwidth=2Gbit/s", *size)
    [told] = [each for each in answer_of(plan) if "could carry it faster" in each]
    assert "one seeding of 20 MB a second bounds it (first_copy.stream_rate)" in told
    lines = assumed_defaults(plan.organisation)
    assert any(each.startswith("by default, first_copy.stream_rate") for each in lines)
    faster = plans.plan("link.bandwidth=2Gbit/s", *size, "first_copy.stream_rate=1GB/s")
    [told] = [each for each in answer_of(faster) if "could carry it faster" in each]
    assert "a disk of 50 MB a second bounds it (first_copy.disk_rate)" in told


# -- figures with keys of their own ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "part"),
    [
        ("nightly backup", "failover.restore_rate=3MB/s", "restore_seconds"),
        ("nightly backup", "failover.find_backup=9h", "restore_seconds"),
        ("byte level", "failover.mount=10m", "mount_seconds"),
        ("log shipping", "failover.parallel_replays=5", "replay_seconds"),
    ],
)
def test_each_part_of_a_recovery_has_its_key(kind: str, given: str, part: str) -> None:
    table = plans.plan("protection.delay=6h").recovery.set_index("protection")
    other = plans.plan("protection.delay=6h", given).recovery.set_index("protection")
    assert other.loc[kind, part] != table.loc[kind, part]
    key = given.partition("=")[0]
    lines = assumed_defaults(parse_organisation(plans.EXAMPLE, plans.QUICK))
    assert any(each.startswith(f"by default, {key} = ") for each in lines)


def test_the_replica_applies_at_a_rate_of_its_own() -> None:
    usual = plans.plan().replica.set_index("cause")["spool_bytes"]
    slow = plans.plan("protection.apply_rate=2MB/s").replica.set_index("cause")["spool_bytes"]
    compared = plans.plan("protection.compare_rate=2MB/s").replica.set_index("cause")["spool_bytes"]
    assert (slow >= usual).all() and slow["slow disk"] > usual["slow disk"]
    assert compared.equals(usual)
