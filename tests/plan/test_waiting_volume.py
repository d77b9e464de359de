"""The volume on which changes wait, what waits at the replica, and what a plan says of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.plan import plan_objectives
from simulator.plan.fluid import cumulative
from simulator.plan.organisation import parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, protections_of
from simulator.plan.plan_answer import answer_of, answer_topics
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_limit_words import other_kinds
from simulator.plan.plan_limits import validity_of
from simulator.plan.plan_objectives import LINE_FIRST, LINE_ITEM, holds, needs_of, outcomes_of
from simulator.plan.plan_record import record_of
from simulator.plan.plan_units import format_volume
from simulator.plan.planner import Plan
from simulator.plan.protection import ByteLevel, ChangedBlocks, LogShipping, NightlyBackup
from simulator.plan.queued_kinds import ObjectLevel
from simulator.plan.replica_waits import ReplicaFigures, replica_waits
from simulator.plan.run_outages import outages_of
from simulator.plan.volumes import log_volume, replica_spool
from simulator.plan.waiting_volume import kept_log_bytes, ruled_volume_bytes
from simulator.report.plan_page import plan_page_text, render_plan
from simulator.report.plan_story import breaks_first, headline
from simulator.report.plan_tables import plan_tables
from tests.plan import plans
from tests.plan.curves import mail

SHIPPED = ("protection.kind=log shipping", "link.bandwidth=4Mbit/s", "link.schedule=[]")
HOUR = 3_600.0


def given(plan: Plan, *overrides: str) -> Plan:
    """A plan of log shipping with other volumes, its figures as they were."""
    read = parse_organisation(plans.EXAMPLE, [*plans.QUICK, *SHIPPED, *overrides])
    return replace(plan, organisation=read)


# -- the first copy -----------------------------------------------------------------------------


def test_a_first_copy_that_overfills_the_log_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plans.plan(*SHIPPED)
    needed = float(plan.first_copy.set_index("way").loc["wire", "spool_peak_bytes"])
    small = given(plan, f"protection.log_volume={round(needed * 0.9)}B")
    found = {each.objective: each for each in outcomes_of(small)}
    assert found["first copy"].found == needed and not found["first copy"].met
    assert "first copy" in headline(small)
    [row] = [each for each in needs_of(small) if each.item == "log volume for the first copy"]
    assert row.enough is False and row.given == round(needed * 0.9)
    told = " ".join(answer_of(small))
    assert "The first copy does not fit the log volume of" in told
    assert "the stores stop: the plan does not hold" in told
    assert "is too small for the first copy over the line" in " ".join(breaks_first(small))
    record = record_of(small)
    assert not record.holds
    assert [each.met for each in record.objectives if each.objective == "first copy"] == [False]
    # One that is large enough, and none that is given: nothing is missed.
    large = given(plan, f"protection.log_volume={round(needed * 1.1)}B")
    assert {each.objective: each.met for each in outcomes_of(large)}["first copy"]
    # The safeguard switched off: the breach is not seen.
    monkeypatch.setattr(plan_objectives, "stops_when_full", lambda *_: False)
    assert "first copy" not in {each.objective for each in outcomes_of(small)}


def test_a_spool_that_is_dropped_costs_a_comparison_and_one_that_holds_fails() -> None:
    plan = plans.plan("link.bandwidth=10Mbit/s", "link.schedule=[]", "horizon=1w")

    def objectives(policy: str) -> dict[str, bool]:
        protection = plan.organisation.protection.model_copy(update={"spool_full": policy})
        organisation = plan.organisation.model_copy(update={"protection": protection})
        return {e.objective: e.met for e in outcomes_of(replace(plan, organisation=organisation))}

    assert "first copy" not in objectives("resynchronize")
    assert objectives("hold")["first copy"] is False


def test_kinds_and_objectives_agree() -> None:
    for plan in (plans.plan(), plans.never(), plans.nightly(), plans.sound(), plans.plan(*SHIPPED)):
        missed = [each.objective for each in outcomes_of(plan) if not each.met]
        assert plan.kinds["missed"].iloc[0] == ", ".join(missed)


# -- other kinds, and a plan that does not hold ----------------------------------------------------


def test_the_kinds_that_meet_all_are_named() -> None:
    plan = plans.plan()
    assert not holds(outcomes_of(plan))
    told = other_kinds(plan)
    for row in plan.kinds.iloc[1:].itertuples():
        assert (f"{row.kind} (RPO" in told) == (not row.missed)
    none = plan.kinds.assign(missed="RPO")
    assert other_kinds(replace(plan, kinds=none)).startswith("No other kind")
    assert other_kinds(plans.sound()) == ""


def test_a_plan_that_does_not_hold_says_so_for_each_input() -> None:
    plan = plans.plan("outages.planned=1h", "protection.spool=22.5GB")
    assert all(each is None for each in plan.validity["holds_until"])
    assert all(plan.validity["text"].str.startswith("does not hold as planned"))
    [table] = [each for each in plan_tables(plan) if each.key == "validity"]
    assert {row["answer"] for row in table.rows} == {"does not hold as planned"}
    # A line that lets the given spool do is faster than the one beside a larger spool.
    limits = plan.validity.set_index("input")
    line = limits.loc["link.bits_per_second"]
    assert line["would_hold_at"] > line["together_at"] > line["planned"]
    assert line["together_volume_bytes"] > 22.5e9
    told = " ".join(answer_of(plan))
    assert f"together with a spool >= {format_volume(line['together_volume_bytes'])}" in told
    change = limits.loc["change_gb_per_day"]
    assert change["would_hold_at"] is not None and change["would_hold_at"] < change["planned"]
    assert "All of it would hold with one of these" in " ".join(answer_of(plan))


def test_the_line_has_one_figure() -> None:
    plan = plans.sound()
    needed = next(each.needed for each in needs_of(plan) if each.item == LINE_ITEM)
    line = plan.validity.set_index("input").loc["link.bits_per_second"]
    assert needed is not None and line["holds_until"] >= needed


def test_the_log_volume_bounds_outages_that_are_looked_at() -> None:
    faster = ("link.bandwidth=30Mbit/s", "horizon=1w")
    read = parse_organisation(plans.BARE, [*plans.QUICK, *SHIPPED, *faster])
    case = PlanCase.of(
        read, change_of(read), link_of(read), next(iter(protections_of(read).values()))
    )
    advised = case.curve.volume.advised_bytes
    assert advised is not None and case.overfilled() == {}
    week = replace(case, outage_hours=160.0)
    assert f"than the {format_volume(advised)} advised" in week.overfilled()["log volume"]
    row = validity_of(case).set_index("input").loc["outage_hours"]
    until = row["others_until"] if row["holds_until"] is None else row["holds_until"]
    assert until < 160.0 and "log volume" in row["breaks"] + row["others_break"]
    # To the hour, in which days are spelled: the rule's three days.
    assert until == pytest.approx(72.0, abs=1.0)
    assert replace(case, outage_hours=float(until)).overfilled() == {}
    assert replace(case, outage_hours=1.01 * until + 1.0).overfilled().keys() == {"log volume"}
    # Without that bound nothing is found: the breach that was.
    case.curve.volume = replace(case.curve.volume, advised_bytes=None)
    assert week.overfilled() == {}


# -- a line that never catches up --------------------------------------------------------------


def test_no_sizes_to_buy_where_the_line_never_catches_up(tmp_path: Path) -> None:
    plan = plans.never()
    needs = {each.item: each for each in needs_of(plan)}
    for item in ("spool at the source", "spool at the replica"):
        assert needs[item].needed is None and needs[item].advised is None
        assert needs[item].reason == LINE_FIRST
    keys = {table.key for table in plan_tables(plan)}
    assert not keys & {"spools", "lasts", "returns", "replica", "drawn"}
    assert all(each.remark.startswith("no spool is enough") for each in plan.spools)
    text = plan_page_text(plan, answer_topics(plan), "simulator plan a.toml")
    assert "the line must be faster first" in text and "no spool is large enough" not in text
    written = render_plan(plan, tmp_path, [], "simulator plan a.toml").read_text(encoding="utf-8")
    assert f"simulator plan a.toml --report {tmp_path}" in written


# -- at the replica ----------------------------------------------------------------------------


def test_each_kind_keeps_what_is_its_own_at_the_replica() -> None:
    change = mail(days=3.0, mailboxes=500)
    grid = change.grid
    capacity = np.full(grid.steps, 4e6 / 8 * grid.step_seconds)
    figures = ReplicaFigures(apply_bytes_per_second=100e6, replay_seconds_per_log=0.5)

    def waits(
        kind: ByteLevel | LogShipping | ChangedBlocks | ObjectLevel | NightlyBackup,
    ) -> dict[str, float]:
        model = outages_of(kind, change, capacity)
        table = replica_waits(
            kind, change, capacity, model, figures, 6 * HOUR, 4 * HOUR, grid.span_seconds / 2
        )
        return dict(zip(table["cause"], table["spool_bytes"], strict=True))

    assert waits(ObjectLevel()) == waits(NightlyBackup()) == {}
    written = waits(ByteLevel())
    assert written["initial synchronization"] == pytest.approx(
        replica_spool(change, {"x": 6 * HOUR}, 100e6)["spool_bytes"].iloc[0]
    )
    shipped = waits(LogShipping())
    logs = replica_spool(change, {"x": HOUR}, change.log_file_bytes / 0.5, change.log_bytes)
    assert shipped["check of the copy"] == pytest.approx(logs["spool_bytes"].iloc[0], rel=0.05)
    assert max(shipped.values()) < 0.5 * written["initial synchronization"]
    blocks = ChangedBlocks()
    runs = blocks.runs(change)
    sizes = [
        run.wire_bytes / (1.0 - blocks.saving)
        for run in runs.walk(cumulative(capacity))
        if run.end is not None and run.begin * grid.step_seconds < grid.span_seconds / 2
    ]
    arriving = waits(blocks)
    assert arriving["the largest run"] == pytest.approx(max(sizes))
    assert arriving["the run after the planned outage"] > arriving["the largest run"]


def test_logs_of_log_roll_are_on_the_log_volume_of_shipped_logs() -> None:
    """Fifty sets of a site that writes little close 96 logs a day each."""
    read = parse_organisation(plans.EXAMPLE, [*plans.QUICK, *SHIPPED, "change.log_sets=50"])
    small = read.model_copy(
        update={"mailboxes": (read.mailboxes[0].model_copy(update={"count": 20}),)}
    )
    change = change_of(small)
    shipped, byte = LogShipping(), ByteLevel()
    rolled = 50 * 96 * change.log_file_bytes
    assert kept_log_bytes(change, byte).sum() / change.days < 0.2 * rolled
    assert kept_log_bytes(change, shipped).sum() / change.days == pytest.approx(rolled, rel=0.05)
    # On end, the busiest 72 hours; of a week with a weekend they are more than three mean days.
    hours = change.log_bytes.reshape(-1, round(HOUR / change.grid.step_seconds)).sum(axis=1)
    busiest = max(hours[begin : begin + 72].sum() for begin in range(len(hours) - 71))
    assert busiest == pytest.approx(ruled_volume_bytes(change, byte), rel=0.001)
    assert busiest > 1.2 * 3 * change.log_bytes_per_day
    rule = ruled_volume_bytes(change, shipped)
    lasts = log_volume(change, rule, kept_log_bytes(change, shipped))
    assert lasts.median_days == pytest.approx(3.0, rel=0.05)
    # Without them it would never have been full.
    assert log_volume(change, rule).shortest_days is None
