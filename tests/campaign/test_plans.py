"""Fault plans: written, read back, drawn as a pure function, refused with their place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.toml_writer import toml_document, toml_text
from simulator.plans.draw import (
    DEFAULT_WEIGHTS,
    HARSH_WEIGHTS,
    PlanSpace,
    draw_plan,
    space_of,
    without,
)
from simulator.plans.plan import BadPlan, load_plan, parse_plan, plan_of, plan_text, planned
from simulator.scenario import load_scenario, parse_scenario
from simulator.scenario_faults import DiskFull
from simulator.scenario_model import Recorded

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = load_scenario(ROOT / "scenarios/campaign.toml")
SPACE = space_of(SCENARIO)
HARSH = space_of(SCENARIO, harsh=True)


@given(st.text(max_size=20))
def test_a_drawn_plan_comes_back_from_its_text(name: str) -> None:
    plan = draw_plan(name, SPACE)
    assert parse_plan(plan_text(plan), SCENARIO) == plan
    under_plan = planned(SCENARIO, plan)
    assert parse_scenario(toml_text(under_plan)) == under_plan
    assert plan_of(under_plan).faults == plan.faults


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.toml")), ids=lambda p: p.stem)
def test_every_scenario_comes_back_from_its_text(path: Path) -> None:
    scenario = load_scenario(path)
    assert parse_scenario(toml_text(scenario)) == scenario


def test_a_document_holds_plain_values_only() -> None:
    recorded = Recorded(verdict="safety", trace_hash="0", reasons=("one", "two"))
    scenario = planned(SCENARIO, draw_plan("plain", SPACE)).model_copy(
        update={"recorded": recorded}
    )
    document = toml_document(scenario)
    assert json.loads(json.dumps(document)) == document
    assert document["recorded"]["reasons"] == ["one", "two"]
    assert parse_scenario(toml_text(scenario)) == scenario


def test_odd_texts_survive_the_way_through_a_file() -> None:
    odd = 'a "quote", a \\ backslash, a\ttab, \x7f, ü and \U0001f4be'
    scenario = SCENARIO.model_copy(update={"description": odd})
    assert parse_scenario(toml_text(scenario)).description == odd


def test_a_plan_is_the_same_in_another_process_under_another_hash_seed() -> None:
    program = (
        "from simulator.plans.draw import draw_plan, PlanSpace\n"
        "from simulator.plans.plan import plan_text\n"
        "print(''.join(plan_text(draw_plan(str(n), PlanSpace(4_000_000_000))) for n in range(40)))"
    )
    here = "".join(plan_text(draw_plan(str(n), PlanSpace(4_000_000_000))) for n in range(40))
    for hash_seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout == here + "\n"


@given(st.text(max_size=20))
def test_a_harsh_plan_can_be_run_and_comes_back_from_its_text(name: str) -> None:
    plan = draw_plan(name, HARSH)
    assert parse_plan(plan_text(plan), SCENARIO) == plan


def test_harsh_kinds_are_drawn_on_request_only_and_a_takeover_is_the_last_word() -> None:
    kinds: set[str] = set()
    for number in range(1_500):
        faults = draw_plan(f"harsh {number}", HARSH).faults
        kinds.update(map(_drawn_as, faults))
        ordered = [fault.at_ns for fault in faults if fault.kind == "failover"]
        assert len(ordered) <= 1
        assert not (ordered and any(fault.kind == "loss" for fault in faults))
        after = [f.kind for f in faults if ordered and f.at_ns > ordered[0]]
        assert not {"replica_restored", "second_source"}.intersection(after)
    assert kinds == {*DEFAULT_WEIGHTS, *HARSH_WEIGHTS, "loss"}


def test_log_shipping_has_no_harsh_plans() -> None:
    scenario = load_scenario(ROOT / "scenarios/campaign_log_shipping.toml")
    assert space_of(scenario, harsh=True) == space_of(scenario)


def _drawn_as(fault: Any) -> str:
    if getattr(fault, "where", "") == "home":
        return "bit_rot_of_home"
    if getattr(fault, "when", None):
        return f"{fault.kind}_within"
    if getattr(fault, "calls", None):
        return {"power_loss": "power_loss_in_a_call"}.get(fault.kind, "process_crash_within")
    return fault.kind


def test_all_kinds_are_drawn_and_times_lie_within_the_space() -> None:
    kinds = set()
    for number in range(600):
        plan = draw_plan(f"all {number}", SPACE)
        assert plan.faults
        for fault in plan.faults:
            assert fault.at_ns % SPACE.grid_ns == 0
            assert 0 <= fault.at_ns < SPACE.horizon_ns
            kinds.add(_drawn_as(fault))
        assert list(plan.faults) == sorted(plan.faults, key=lambda each: each.at_ns)
    assert kinds == {*DEFAULT_WEIGHTS, "loss"}


def test_full_volumes_are_drawn_one_at_a_time_too_and_with_room_for_a_part_of_a_write() -> None:
    drawn = [each for n in range(600) for each in draw_plan(f"full {n}", SPACE).faults]
    full = [each for each in drawn if isinstance(each, DiskFull)]
    own = {"source": "spool", "replica": "journal"}
    assert {(each.host, each.volume) for each in full} == {
        (host, volume) for host in own for volume in ("all", "data", own[host])
    }
    assert min(each.free_bytes for each in full) == 0
    assert any(0 < each.free_bytes < SCENARIO.stream.log_size_bytes for each in full)


def test_swarm_leaves_kinds_out_and_a_kind_without_weight_never_comes() -> None:
    space = without(SPACE, "power_loss", "power_loss_within", "power_loss_in_a_call")
    sets = [{f.kind for f in draw_plan(f"swarm {n}", space).faults} for n in range(300)]
    assert not any("power_loss" in each for each in sets)
    assert any(each == {"link_reset"} for each in sets)


def test_nothing_happens_to_a_source_that_is_gone() -> None:
    for number in range(400):
        plan = draw_plan(f"loss {number}", SPACE)
        lost = [f.at_ns for f in plan.faults if f.kind == "loss"]
        for fault in plan.faults:
            if lost and fault.kind != "loss" and getattr(fault, "host", "") == "source":
                assert fault.at_ns < lost[0]


PLAN = """format = 1
[[faults]]
kind = "pause"
at = "1s"
host = "source"
duration = "100ms"
"""


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (('host = "source"', 'host = "backup"'), 5, "backup"),
        (('kind = "pause"', 'kind = "meteor"'), 3, "meteor"),
        (('at = "1s"', 'at = "9s"'), 4, r"after the end of the scenario \(4s\)$"),
        (('at = "1s"', 'at = "1"'), 4, "no unit"),
        (("format = 1", "format = 2"), 1, "format"),
        (('host = "source"', 'host = "source"\nmore = 1'), 6, "more"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_place(
    tmp_path: Path, change: tuple[str, str], line: int, words: str
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.replace(*change))
    with pytest.raises(BadPlan, match=words) as caught:
        load_plan(path, SCENARIO)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    path.write_text(PLAN)
    assert load_plan(path, SCENARIO).faults[0].at_ns == 1_000_000_000


def test_a_plan_without_its_format_is_told_which(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.replace("format = 1\n", ""))
    with pytest.raises(BadPlan, match="format: this key is missing") as caught:
        load_plan(path, SCENARIO)
    assert caught.value.remedy == "Add before the first table: format = 1"


def test_two_plans_of_one_scenario_differ_only_by_their_faults() -> None:
    plan = draw_plan("one", SPACE)
    assert (
        planned(SCENARIO, plan).model_copy(update={"faults": SCENARIO.faults, "fault_seed": None})
        == SCENARIO
    )
