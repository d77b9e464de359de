"""When a first copy begins: the key, what it moves, and the sentence about the best time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest

from simulator.plan.copy_begins import begins_after, best_begin, copy_begins
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS
from simulator.plan.horizon import AFTER_SECONDS
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation import Organisation, parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, protections_of, seed_rates
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_copy_words import copy_sentences
from simulator.plan.plan_parts import first_copies
from simulator.plan.plan_record import record_of
from simulator.plan.planner import Plan
from simulator.plan.replica_waits import ReplicaFigures, replica_waits
from simulator.plan.run_outages import outages_of
from simulator.report.plan_tables import plan_tables
from tests.plan import plans


@pytest.mark.parametrize(
    ("given", "begins", "at"),
    [
        ("", "2007-01-01", "2007-01-01T00:00:00"),
        ("first_copy.begins=2007-01-06", "2007-01-01", "2007-01-06T00:00:00"),
        ("first_copy.begins=2007-01-06T18:30:00", "2007-01-01", "2007-01-06T18:30:00"),
        ("first_copy.begins=Sat", "2007-01-01", "2007-01-06T00:00:00"),
        ("first_copy.begins=Sat 18:00", "2007-01-01", "2007-01-06T18:00:00"),
        ("first_copy.begins=saturday 18:00", "2007-01-03", "2007-01-06T18:00:00"),
        ("first_copy.begins=Mon", "2007-01-03", "2007-01-08T00:00:00"),
        ("first_copy.begins=Sun 24:00", "2007-01-01", "2007-01-01T00:00:00"),
    ],
)
def test_a_date_or_a_time_of_the_week(given: str, begins: str, at: str) -> None:
    sets = ["outages.events=[]", f"begins={begins}", *([given] if given else [])]
    organisation = parse_organisation(plans.EXAMPLE, sets)
    begin = datetime.fromisoformat(at)
    assert organisation.first_copy_begins_at == begin
    since = (begin - datetime.fromisoformat(begins)).total_seconds()
    assert seed_rates(organisation).begin_seconds == since


def test_begins_are_those_of_the_week_behind_the_planned_one() -> None:
    week = 2 * DAY_SECONDS + 17 * HOUR_SECONDS  # a Wednesday, 17:00
    begins = begins_after(week, HOUR_SECONDS)
    assert len(begins) == 14
    assert begins[:2] == [HOUR_SECONDS, 7 * HOUR_SECONDS]  # Wednesday 18:00, Thursday 00:00
    assert all(HOUR_SECONDS <= each < HOUR_SECONDS + 7 * DAY_SECONDS for each in begins)


def begins_of(plan: Plan, organisation: Organisation) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first copies of a plan begun as another organisation wants it, and at other times."""
    longer = continued(plan.change, AFTER_SECONDS)
    capacity = plan.link.capacity_bytes(longer.grid)
    model = outages_of(plan.protection, longer, capacity)
    arguments = (organisation, plan.protection, longer, capacity, model)
    return first_copies(*arguments), copy_begins(*arguments)


def test_the_answer_says_when_it_begins_and_how_much_less_waits_at_the_best_time() -> None:
    given = plans.sound()
    best = best_begin(given.copy_begins)
    assert best is not None
    planned = given.first_copy.set_index("way").loc["wire"]
    assert planned["begins_at"] == "2007-01-01T00:00:00"
    peaks = given.copy_begins["spool_peak_bytes"]
    assert best["spool_peak_bytes"] == peaks.min() < planned["spool_peak_bytes"]
    [told] = [each for each in copy_sentences(given) if "first_copy.begins" in each]
    assert told.startswith("It begins on Mon 2007-01-01 00:00, the plan's begin; begun on ")
    assert "less, and it takes" in told and told in answer_of(given)
    [table] = [each for each in plan_tables(given) if each.key == "copy_begins"]
    assert len(table.rows) == 14 == len(record_of(given).copy_begins)


def test_begun_at_the_best_time_nothing_is_better() -> None:
    usual = plans.sound()
    best = best_begin(usual.copy_begins)
    assert best is not None
    begins = datetime.fromisoformat(str(best["begins_at"]))
    first = usual.organisation.first_copy.model_copy(update={"begins": begins})
    organisation = usual.organisation.model_copy(update={"first_copy": first})
    table, others = begins_of(usual, organisation)
    row = table.set_index("way").loc["wire"]
    assert row["begins_at"] == best["begins_at"]
    assert row["spool_peak_bytes"] == pytest.approx(best["spool_peak_bytes"])
    told = copy_sentences(
        plans.replaced(usual, organisation=organisation, first_copy=table, copy_begins=others)
    )
    assert "as planned; begun at 00:00 or 18:00 of any weekday it needs no less" in told[-1]


def test_a_copy_that_converges_only_at_another_time_is_told_so() -> None:
    usual = plans.sound()
    late = usual.first_copy.astype(object).copy()
    late[["converges_after_seconds", "spool_peak_bytes"]] = None
    told = copy_sentences(plans.replaced(usual, first_copy=late.assign(reason="it is too late")))
    assert "it converges, and" in told[-1]
    never = usual.copy_begins.astype(object).copy()
    never["converges_after_seconds"] = None
    assert best_begin(never) is None
    told = copy_sentences(plans.replaced(usual, copy_begins=never))
    assert told[-1] == "It begins on Mon 2007-01-01 00:00, the plan's begin."


def test_without_a_spool_or_a_size_there_are_no_begins() -> None:
    usual = plans.sound()
    longer = continued(usual.change, AFTER_SECONDS)
    capacity = usual.link.capacity_bytes(longer.grid)
    model = outages_of(usual.protection, longer, capacity)
    unknown = replace(longer, stored_bytes=None)
    assert copy_begins(usual.organisation, usual.protection, unknown, capacity, model).empty
    nightly = plans.nightly()
    assert nightly.copy_begins.empty and not nightly.first_copy.empty
    assert plans.never().copy_begins.empty
    assert not [each for each in copy_sentences(nightly) if "begins on" in each]


def test_what_waits_at_the_replica_has_the_begin_of_the_copy() -> None:
    organisation = parse_organisation(
        plans.EXAMPLE, [*plans.QUICK, "protection.kind=log shipping", "link.bandwidth=50Mbit/s"]
    )
    change, kinds = change_of(organisation), protections_of(organisation)
    kind = kinds["log shipping"]
    capacity = link_of(organisation).capacity_bytes(change.grid)
    model = outages_of(kind, change, capacity)
    begins = []
    for begin_seconds in (0.0, 5 * DAY_SECONDS):
        figures = ReplicaFigures(
            apply_bytes_per_second=1e8,
            replay_seconds_per_log=0.5,
            copy_begin_seconds=begin_seconds,
        )
        within = change.grid.span_seconds - DAY_SECONDS
        table = replica_waits(
            kind, change, capacity, model, figures, DAY_SECONDS, HOUR_SECONDS, within
        )
        row = table.set_index("cause").loc["logs that waited for the first copy"]
        begins.append((row["begins_at"], row["spool_bytes"]))
    assert [at for at, _ in begins] == ["2007-01-02T00:00:00", "2007-01-07T00:00:00"]
    assert begins[1][1] < begins[0][1]  # a Saturday writes less than a Monday
