"""One size for each volume, and everything else of a plan told of just that size."""

from __future__ import annotations

import re

import numpy as np
import pytest

from simulator.plan import planner, sizes_to_buy
from simulator.plan.answers import size_to_buy
from simulator.plan.organisation import parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, protections_of
from simulator.plan.plan_answer import answer_of, answer_topics
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_limits import LINE_RATE, OUTAGE, STREAMS, little_room
from simulator.plan.plan_objectives import LINE_FIRST, needs_of, outcomes_of
from simulator.plan.plan_outage_words import breaks_of, shortest_lasting
from simulator.plan.plan_record import record_of
from simulator.plan.plan_spool_words import advised_bytes
from simulator.plan.plan_units import format_volume
from simulator.plan.planner import Plan, make_plan
from simulator.plan.protection import ByteLevel, LogShipping, Protection
from simulator.plan.sensitivity import with_input
from simulator.plan.waiting_volume import advised_volume_bytes, ruled_volume_bytes
from simulator.report.plan_page import plan_page_text
from simulator.report.plan_tables import plan_tables
from simulator.units import format_duration
from tests.plan import plans
from tests.plan.curves import flat

LINE = ("link.bandwidth=30Mbit/s", "link.schedule=[]")
SHIPPED = "protection.kind=log shipping"
KEYS = {"byte level": "protection.spool", "log shipping": "protection.log_volume"}
DAY = 86_400.0


def broken_at(plan: Plan) -> float:
    """How long an outage may be, in hours."""
    row = plan.validity.set_index("input").loc[OUTAGE]
    return float(row["others_until"] if row["holds_until"] is None else row["holds_until"])


# -- what is advised is what a plan is computed with --------------------------------------------


@pytest.mark.parametrize("kind", KEYS)
def test_a_plan_without_a_volume_says_what_one_with_the_advised_volume_says(kind: str) -> None:
    chosen = (*LINE, f"protection.kind={kind}", "horizon=1w")
    bare = plans.bare(*chosen)
    advised = bare.spool_volume_bytes
    assert advised == advised_bytes(bare, bare.spools[0]) and not bare.spool_is_given
    given = plans.bare(*chosen, f"{KEYS[kind]}={round(advised)}B")
    assert given.spool_is_given
    lasts, there = (shortest_lasting(each.lasts) for each in (bare, given))
    assert lasts is not None and there is not None
    # Given in whole bytes: a byte is some microseconds.
    assert lasts == pytest.approx(there, abs=1e-4)
    assert [each.after_seconds for each in breaks_of(bare)] == pytest.approx(
        [each.after_seconds for each in breaks_of(given)], abs=1e-4
    )
    assert broken_at(bare) == pytest.approx(broken_at(given), rel=0.02)
    # The longest outage and how long it lasts are one figure.
    assert 0.98 * lasts[1] <= broken_at(bare) * 3_600 <= lasts[1]
    told = " ".join(answer_of(bare))
    assert f"of {format_volume(advised)}, as advised, lasts {format_duration(lasts[1])}" in told
    assert "two thirds" not in told and "mean, as the rule" not in told


def test_the_breach_is_found_where_a_smaller_volume_is_computed_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The safeguard off: a volume that is not the one that is told to be bought."""

    def mean(*given: object) -> float:
        return 0.5 * advised_volume_bytes(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(planner, "advised_volume_bytes", mean)
    plan = make_plan(parse_organisation(plans.BARE, [*plans.QUICK, *LINE, SHIPPED, "horizon=1w"]))
    lasts = shortest_lasting(plan.lasts)
    assert lasts is not None and lasts[1] < 0.8 * broken_at(plan) * 3_600


def test_an_outage_that_fills_the_volume_later_is_told_apart() -> None:
    """How long it lasts while the line is down, and how long an outage may be, on a slow line."""
    slow = 'link.schedule=[{from="06:00", to="22:00", bandwidth="500kbit/s"}]'
    plan = plans.bare(slow, "change.defragmentation=0%")
    lasts = shortest_lasting(plan.lasts)
    assert lasts is not None and broken_at(plan) * 3_600 < 0.98 * lasts[1]
    told = " ".join(answer_of(plan))
    until = format_duration(broken_at(plan) * 3_600)
    assert f"An outage longer than {until} fills the spool after the line is back" in told
    assert "of them wait already then, " in told  # and why it is so large


# -- the rule of three days --------------------------------------------------------------------


def test_the_rule_takes_the_three_busiest_days() -> None:
    days = [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]
    change = flat(days, step_seconds=DAY)
    times = float(change.log_bytes.sum()) / sum(days)
    assert ruled_volume_bytes(change, ByteLevel()) == pytest.approx(times * 15.0)
    # The mean, which it was, lasts a day and a half of them.
    assert 3 * float(np.mean(days)) < 15.0 / 2
    short = flat([2.0, 4.0], step_seconds=DAY)
    per_day = float(short.log_bytes.sum()) / 2
    assert ruled_volume_bytes(short, ByteLevel()) == pytest.approx(3 * per_day)


def test_a_log_volume_has_the_larger_of_rule_and_tasks() -> None:
    plan = plans.bare(*LINE, SHIPPED)
    rule = ruled_volume_bytes(plan.change, LogShipping())

    def advised(outage: float, copy: float | None, kind: Protection = plan.protection) -> float:
        return advised_volume_bytes(plan.organisation, plan.change, kind, outage, copy)

    assert advised(1e9, 2e9) == size_to_buy(rule) >= rule
    assert advised(1e9, rule) == size_to_buy(1.2 * rule) == advised(rule, None)
    assert advised(1e9, 2e9, ByteLevel()) == pytest.approx(2.4e9)
    told = answer_of(plan)
    least = format_volume(size_to_buy(rule))
    assert told[0].startswith(f"Give the log volume at least {least}: so much are")
    assert told[1].startswith("For logs that wait to be copied")


# -- what never catches up ---------------------------------------------------------------------


def test_no_size_where_the_planned_outage_is_never_caught_up() -> None:
    plan = plans.open_end()
    assert plan.use.catches_up and plan.no_size
    assert "catching up" in [each.objective for each in outcomes_of(plan) if not each.met]
    told = " ".join(answer_of(plan))
    assert "Give the spool" not in told and "as advised" not in told
    assert "No spool is enough: the line must be faster first" in told
    assert re.search(r"takes 99.3 % of the line, and up to [\d.]+ GB wait\.", told)
    assert "wait in the spool meanwhile" not in told and "only" not in told
    needs = {each.item: each for each in needs_of(plan)}
    for item in ("spool at the source", "spool at the replica"):
        assert needs[item].needed is needs[item].advised is None
        assert needs[item].reason == LINE_FIRST
    assert plan.spool_volume_bytes == 0.0 and plan.lasts.empty
    assert not {each.key for each in plan_tables(plan)} & {"spools", "lasts", "replica"}
    assert plan.kinds["spool_bytes"].iloc[0] is None
    sizes = {each.volume: each for each in record_of(plan).sizes}
    assert sizes["spool at the source"].size_bytes is None
    assert sizes["spool at the source"].reason == LINE_FIRST


def test_without_that_rule_a_size_is_advised_that_is_never_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The safeguard off: what waits at the end of the plan passes for what an outage needs."""
    monkeypatch.setattr(planner, "_no_size", lambda *_given: "")
    slow = ("link.bandwidth=5.62Mbit/s", "link.schedule=[]")
    plan = make_plan(parse_organisation(plans.BARE, [*plans.QUICK, *slow]))
    told = " ".join(answer_of(plan))
    assert "Give the spool at least" in told and "No spool is enough" not in told


def test_a_first_copy_that_never_converges_has_no_size() -> None:
    plan = plans.bare("link.bandwidth=5.8Mbit/s", "link.schedule=[]")
    copies = plan.first_copy.set_index("way")["converges_after_seconds"]
    assert not plan.no_size and copies["wire"] is None and copies["courier"] is not None
    # Its peak so far is larger than the outage's: it was bought.
    peak = plan.first_copy.set_index("way").loc["wire", "spool_peak_bytes"]
    assert peak > plan.spools[0].needed_bytes
    assert advised_bytes(plan, plan.spools[0]) == plan.spools[0].recommended_bytes
    told = " ".join(answer_of(plan))
    assert "The first copy over the line never converges: for it no spool is enough." in told
    assert "wait when the line is back, the rest comes while it catches up" in told
    assert not [each for each in needs_of(plan) if each.item == "spool for the first copy"]


# -- one tile for a volume -----------------------------------------------------------------------


def test_one_tile_for_a_volume() -> None:
    plan = plans.bare("link.bandwidth=10Mbit/s", "link.schedule=[]", SHIPPED)
    tasks = [each for each in needs_of(plan) if each.volume == "log volume"]
    assert len(tasks) == 3
    sizes = sizes_to_buy.sizes_to_buy(plan)
    assert [each.volume for each in sizes] == ["log volume", "spool at the replica"]
    [volume] = [each for each in sizes if each.volume == "log volume"]
    assert volume.size_bytes == plan.spool_volume_bytes
    assert volume.size_bytes == max(map(sizes_to_buy.to_have, tasks))
    assert volume.others.count("GB") == 2
    text = plan_page_text(plan, answer_topics(plan), "simulator plan a.toml")
    names = re.findall(r'<div class="tile"><span>([^<]*)</span>', text)
    assert [each for each in names if "log volume" in each] == ["log volume to have"]
    [need] = [each for each in plan_tables(plan) if each.key == "needs"]
    assert f"log volume {format_volume(volume.size_bytes)}" in need.note


# -- what would mend it ------------------------------------------------------------------------


def test_a_line_and_streams_together() -> None:
    lossy = ("link.loss=0.5%", "link.streams=1")
    plan = plans.bare(*lossy)
    row = plan.validity.set_index("input").loc[LINE_RATE]
    assert row["would_hold_at"] is None
    rate, number = float(row["together_at"]), int(row["together_streams"])
    assert number > 1 and row["together_volume_bytes"] is None
    told = next(each for each in answer_of(plan) if each.startswith("All of it would hold"))
    assert re.search(
        r"one of these: line >= [\d.]+ Mbit/s, with [\d.]+ Mbit/s Mon-Fri 08:00-18:00 "
        rf"\(in proportion\), together with TCP streams >= {number}; change",
        told,
    )
    read = parse_organisation(plans.BARE, [*plans.QUICK, *lossy])
    own = next(iter(protections_of(read).values()))
    case = PlanCase.of(read, change_of(read), link_of(read), own)
    faster = with_input(case, LINE_RATE, rate)
    assert not with_input(faster, STREAMS, float(number)).broken()
    # Neither does alone.
    assert faster.broken() and with_input(case, STREAMS, float(number)).broken()


def test_what_little_room_means_is_said_plainly() -> None:
    read = parse_organisation(plans.BARE, [*plans.QUICK, "horizon=1w"])
    own = next(iter(protections_of(read).values()))
    told = little_room(PlanCase.of(read, change_of(read), link_of(read), own))
    assert told == (
        "RPO: it is kept by less than 1 min, too little to rely on: lags are computed in steps of "
        "1 min"
    )


def test_no_bytes_are_spelt_out() -> None:
    """Of a plan that is absurdly large: each amount has its unit."""
    plan = plans.bare("mailboxes.0.count=9000000")
    told = " ".join([*answer_of(plan), *(str(each) for each in plan.first_copy["reason"])])
    assert re.search(r"the copy of [\d.]+ [TP]B alone", told)
    assert not re.search(r"\d,\d{3},\d{3}", told)
