"""A suite's plans: functions of a name, within what the suite wishes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from simulator.plans.plan import parse_plan, plan_text
from simulator.scenario import load_scenario
from simulator.testing.drawing import Wishes, draw_wished
from simulator.testing.fault_documents import KINDS

SCENARIO = load_scenario(Path(__file__).resolve().parents[2] / "scenarios/campaign.toml")
MS = 1_000_000


@given(st.text(max_size=20), st.lists(st.sampled_from(KINDS), unique=True), st.integers(0, 3))
def test_every_plan_fits_and_is_a_function_of_its_name(
    name: str, kinds: list[str], fewest: int
) -> None:
    wishes = Wishes(tuple({"kind": kind} for kind in kinds), fewest=fewest, most=5)
    if kinds == ["failover"] and fewest > 1:
        with pytest.raises(BadInput, match="the replica has taken over already"):
            draw_wished(name, SCENARIO, wishes)
        return
    plan = draw_wished(name, SCENARIO, wishes)
    assert draw_wished(name, SCENARIO, wishes) == plan
    assert parse_plan(plan_text(plan), SCENARIO) == plan
    assert len(plan.faults) <= 6


@given(st.integers(0, 200))
def test_wishes_are_kept(number: int) -> None:
    outage = {"kind": "link_outage", "at": "1s", "duration": "100ms"}
    wishes = Wishes(
        kinds=({"kind": "disk_full", "host": "source", "volume": "spool"},),
        always=(outage,),
        fewest=2,
        most=3,
        begin_ns=1_500 * MS,
        end_ns=2_500 * MS,
    )
    plan = draw_wished(f"wishes {number}", SCENARIO, wishes)
    assert plan.faults[0].kind == "link_outage"
    full = plan.faults[1:]
    assert 2 <= len(full) <= 3
    for fault in full:
        assert (fault.kind, fault.host, fault.volume) == ("disk_full", "source", "spool")
        assert 1_500 * MS <= fault.at_ns < 2_500 * MS


def test_other_names_give_other_plans() -> None:
    plans = {plan_text(draw_wished(f"{number}", SCENARIO, Wishes())) for number in range(30)}
    assert len(plans) == 30


def test_a_wish_that_nothing_can_fulfil_is_refused_with_its_reason() -> None:
    wishes = Wishes(({"kind": "power_loss", "host": "source", "when": "apply"},))
    with pytest.raises(BadInput, match="only the replica applies"):
        draw_wished("in vain", SCENARIO, wishes)
