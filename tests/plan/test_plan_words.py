"""What a plan says: the spool's two tasks, what it depends on, figures as in the tables."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from simulator.plan import plan_dependence
from simulator.plan.answers import size_to_buy
from simulator.plan.organisation import Organisation, parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, protections_of
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_dependence import dependence_of
from simulator.plan.plan_inputs import PlanCase
from simulator.plan.plan_objectives import needs_of
from simulator.plan.plan_units import format_volume
from simulator.plan.plan_words import basis_sentences
from simulator.plan.planner import Plan
from simulator.plan.sensitivity import tornado
from simulator.report.plan_story import need_sentence
from simulator.report.plan_tables import plan_tables
from tests.plan import plans

SLOW = ("link.bandwidth=10Mbit/s", "link.schedule=[]", "horizon=1w")


def slow() -> Plan:
    """A line over which the first copy takes days."""
    return plans.plan(*SLOW)


def organised(plan: Plan, *overrides: str) -> Plan:
    """A plan of another file, its figures as they were."""
    organisation = parse_organisation(plans.EXAMPLE, [*plans.QUICK, *SLOW, *overrides])
    return replace(plan, organisation=organisation)


def cells(plan: Plan, key: str, column: str) -> list[str]:
    [table] = [each for each in plan_tables(plan) if each.key == key]
    place = [each.key for each in table.columns].index(column)
    return [row[place] for row in table.spelled()]


# -- the first copy against the advised spool ---------------------------------------------------


def test_the_first_copy_may_need_more_spool_than_the_outages() -> None:
    plan = slow()
    wire, courier = cells(plan, "first_copy", "spool_peak_bytes")
    peaks = dict(zip(plan.first_copy["way"], plan.first_copy["spool_peak_bytes"], strict=True))
    assert peaks["wire"] > peaks["courier"] > plan.spools[0].recommended_bytes
    told = " ".join(answer_of(plan))
    assert (
        f"The first copy needs more than the planned outage: made over the line, up to {wire} "
        "wait in the spool meanwhile; "
        f"by courier {courier}. A spool of "
        f"{format_volume(plan.spools[0].recommended_bytes)}, for outages alone, does, too: it is "
        "dropped meanwhile"
    ) in told
    held = " ".join(answer_of(organised(plan, "protection.spool_full=hold")))
    assert f"does not fit the spool of 60 GB: made over the line, up to {wire} wait there" in held
    assert "The plan does not hold: a smaller spool holds the writers meanwhile; with" in held
    carried = " ".join(answer_of(organised(plan, "first_copy.by=courier")))
    assert (
        f"made by courier, up to {courier} wait in the spool meanwhile; over the line {wire}"
        in (carried)
    )


def test_a_first_copy_that_fits_is_said_to_fit() -> None:
    plan = slow()
    small = plan.first_copy.assign(spool_peak_bytes=[2e9, 1e9])
    told = " ".join(answer_of(replace(plan, first_copy=small)))
    assert (
        "The first copy needs no more than the planned outage: made over the line, up to 2 GB wait "
        "in the spool"
    ) in told
    assert "needs more than" not in told
    never = plan.first_copy.assign(spool_peak_bytes=[None, 1e9])
    told = " ".join(answer_of(replace(plan, first_copy=never)))
    assert "wait in the spool" not in told


def test_the_spool_of_the_first_copy_is_to_be_had() -> None:
    plan = slow()

    def need(of: Plan) -> tuple[bool | None, str]:
        [found] = [each for each in needs_of(of) if each.item == "spool for the first copy"]
        assert found.needed == float(plan.first_copy["spool_peak_bytes"].iloc[0])
        assert found.advised == size_to_buy(found.needed, 0.2)
        return found.enough, need_sentence(found)

    enough, told = need(plan)
    assert enough is None and "it is dropped meanwhile" in told  # it does, at a cost
    enough, told = need(organised(plan, "protection.spool_full=hold"))
    assert enough is False and "NOT enough" in told
    enough, told = need(organised(plan, "protection.spool=1TB"))
    assert enough is True
    none = replace(plan, spools=())  # of a kind that keeps none
    assert not [each for each in needs_of(none) if "first copy" in each.item]


# -- the assumption that it depends on most -----------------------------------------------------


def test_the_assumption_that_moves_the_spool_most_is_named() -> None:
    plan = plans.plan()
    found = dependence_of(plan)
    assert found is not None
    assert (found.input, found.key, found.mark) == (
        "defragmentation_share",
        "change.defragmentation",
        "[A]",
    )
    assert (found.low, found.assumed, found.high) == (0.0, 0.1, 0.2)
    assert found.at_low is not None and found.at_high is not None
    told = " ".join(answer_of(plan))
    assert (
        "Of what is assumed, the spool that the planned outage needs depends most on the "
        "defragmentation of a night (10 % [A]): "
        f"at 0 % it is {format_volume(found.at_low)}, at 20 % it is "
        f"{format_volume(found.at_high)}. The line that the RPO needs moves with it: at 0 % it is"
    ) in told
    assert told.count("Measure it, and give it as change.defragmentation.") == 1


def test_what_is_given_is_no_assumption(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plans.plan()

    def given(*overrides: str) -> Plan:
        read = parse_organisation(plans.EXAMPLE, [*plans.QUICK, *overrides])
        return replace(plan, organisation=read)

    found = dependence_of(given("change.defragmentation=10%"))
    assert found is not None and found.key == "change.files" and found.mark == "[D]"
    monkeypatch.setattr(plan_dependence, "_KEYS", {"protection.saving": ("protection", "saving")})
    others = plan.tornado[plan.tornado["input"] != "change_gb_per_day"]
    left = replace(plan, tornado=others)
    found = dependence_of(left)
    assert found is not None and (found.key, found.mark) == ("protection.saving", "[M]")
    all_given = replace(left, organisation=given("protection.saving=30%").organisation)
    assert dependence_of(all_given) is None
    assert "Of what is assumed" not in " ".join(answer_of(all_given))


def test_of_objects_it_is_the_messages_that_it_depends_on() -> None:
    """What is written in all is not what this kind carries."""
    plan = plans.plan("protection.kind=object level")
    found = dependence_of(plan)
    assert found is not None
    assert (found.input, found.key) == ("messages_gb_per_day", "change.average_message")
    daily = float(plan.change.message_bytes.sum()) / plan.change.days
    assert found.assumed == pytest.approx(daily / 1e9)
    told = " ".join(answer_of(plan))
    assert "depends most on the messages per day (" in told and "change per day" not in told
    assert "Measure the mean size of a message, and give it as change.average_message." in told
    limits = " ".join(plan.validity["input"])
    assert "messages_gb_per_day" in limits and "change_gb_per_day" not in limits
    read = parse_organisation(plans.EXAMPLE, [*plans.QUICK, "change.average_message=50KiB"])
    other = dependence_of(replace(plan, organisation=read))
    assert other is None or other.input != "messages_gb_per_day"


@pytest.mark.parametrize(
    ("days", "advised"), [(7.0, False), (6.98, False), (6.4, True), (3.0, True)]
)
def test_a_week_without_its_last_minutes_is_a_week(days: float, advised: bool) -> None:
    long = change_of(parse_organisation(plans.EXAMPLE, [*plans.QUICK, "horizon=8w"]))
    measured = replace(long, measured_seconds=days * 86_400)
    told = " ".join(basis_sentences(replace(plans.plan(), change=measured)))
    assert "planned from" in told
    assert ("measure a week at least" in told) is advised


def test_a_figure_that_is_never_stands_first() -> None:
    plan = plans.plan()
    broken = plan.tornado.astype(object).copy()
    row = broken.index[
        (broken["input"] == "protection.saving") & (broken["output"] == "spool_bytes")
    ][0]
    broken.loc[row, "at_low"], broken.loc[row, "swing"] = None, None
    broken.loc[row, "reason"] = "never at the low value"
    order = [row, *(each for each in broken.index if each != row)]
    told = " ".join(answer_of(replace(plan, tornado=broken.loc[order])))
    assert "saving by compression (30 % [M]): at 24 % the line never catches up" in told


def test_another_defragmentation_is_the_plan_with_that_key() -> None:
    """The input that is moved is the key that is named."""

    def case(*overrides: str) -> tuple[Organisation, PlanCase]:
        read = parse_organisation(plans.EXAMPLE, [*plans.QUICK, "horizon=1w", *overrides])
        own = next(iter(protections_of(read).values()))
        return read, PlanCase.of(read, change_of(read), link_of(read), own)

    _, usual = case()
    _, more = case("change.defragmentation=20%")
    moved = replace(usual, defragmentation_share=0.2)
    assert moved.changed().database_bytes == pytest.approx(more.changed().database_bytes)
    assert moved.outputs()["spool_bytes"] == pytest.approx(more.outputs()["spool_bytes"])
    assert moved.outputs()["spool_bytes"] > usual.outputs()["spool_bytes"]
    _, none = case("change.defragmentation=0%")
    assert none.defragmentation_share == 0.0 and not none.curve.night_bytes.any()


def test_another_size_of_the_databases_is_the_plan_with_that_size() -> None:
    def case(*overrides: str) -> PlanCase:
        read = parse_organisation(plans.EXAMPLE, [*plans.QUICK, "horizon=1w", *overrides])
        own = next(iter(protections_of(read).values()))
        return PlanCase.of(read, change_of(read), link_of(read), own)

    usual, more = case(), case("change.database_size=400GB")
    assert usual.stored_gb < more.stored_gb == pytest.approx(400.0)
    moved = replace(usual, stored_gb=400.0)
    assert moved.changed().stored_bytes == more.changed().stored_bytes
    assert moved.changed().database_bytes == pytest.approx(more.changed().database_bytes)
    assert moved.outputs()["spool_bytes"] == pytest.approx(more.outputs()["spool_bytes"])
    table = tornado(usual, PlanCase.outputs, inputs=["stored_gb"])
    assert table[table["output"] == "spool_bytes"]["swing"].iloc[0] > 0


# -- what is written, and one rounding ----------------------------------------------------------


def test_what_is_written_a_day_is_said() -> None:
    plan = plans.plan()
    change = plan.change
    total, logs = change.written_bytes_per_day, change.log_bytes_per_day
    assert (
        f"This is for {format_volume(total)} written a day on average, {format_volume(logs)} of "
        f"them logs and {format_volume(total - logs)} pages of the databases."
    ) in answer_of(plan)


def test_words_and_tables_spell_a_figure_alike() -> None:
    plan = plans.plan()
    told = " ".join(answer_of(plan))
    # The first copy needs more than the outages, and decides.
    advised, needed = cells(plan, "needs", "advised")[2], cells(plan, "needs", "needed")
    assert f"Give the spool at least {advised} on its own volume" in told
    assert f"needs {needed[1]} when it begins" in told
    assert f"the first copy over the line needs {needed[2]}" in told
    assert f"That RPO alone needs a line of at least {needed[0]}" in told
    found = dict(
        zip(cells(plan, "objectives", "objective"), cells(plan, "objectives", "found"), strict=True)
    )
    assert f"the copy is {found['Recovery point (RPO)']} old or less for 95 % of the time" in told
    assert f"users work again in {found['Recovery time (RTO)']}" in told
    took = cells(plan, "first_copy", "converges_after_seconds")[0]
    assert f"The first copy over the line takes {took}" in told
    worst = plan.returns["catch_up_seconds"].astype(float).max()
    assert worst == pytest.approx(
        plan.tornado.set_index("output")["base"]["catch_up_seconds"].iloc[0]
    )
    assert f"it catches up in {found['Catching up']}" in told
    lasting = min(
        each for each in plan.lasts["shortest_seconds"] if each is not None and np.isfinite(each)
    )
    assert (
        cells(plan, "lasts", "shortest_seconds")[
            list(plan.lasts["shortest_seconds"]).index(lasting)
        ]
        in told
    )
    limits = [cells(plan, "validity", column)[0] for column in ("would_hold_at", "others_until")]
    assert re.findall(r"change <= ([\d.]+ GB) a day", told) == limits
