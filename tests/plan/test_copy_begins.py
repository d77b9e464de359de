"""When a first copy begins: the key, what it moves, and the sentence about the best time."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pytest

from simulator.plan.copy_begins import begin_sentences, begins_after, copy_begins
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS
from simulator.plan.monte_carlo import continued
from simulator.plan.organisation import parse_organisation
from simulator.plan.organisation_curves import change_of, link_of, protections_of, seed_rates
from simulator.plan.plan_parts import AFTER_SECONDS, first_copies
from simulator.plan.plan_words import answer_of
from simulator.plan.replica_waits import ReplicaFigures, replica_waits
from simulator.plan.run_outages import outages_of
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


def test_the_answer_says_when_it_begins_and_how_much_less_waits_at_the_best_time() -> None:
    given = plans.sound()
    found = copy_begins(given)
    assert found is not None and found.best is not None
    assert found.planned.begins_at == "2007-01-01T00:00:00"
    own = given.first_copy.set_index("way").loc["wire"]
    assert found.planned.spool_peak_bytes == own["spool_peak_bytes"]
    peaks = [each.spool_peak_bytes for each in found.others if each.spool_peak_bytes is not None]
    assert found.best.spool_peak_bytes == min(peaks) < found.planned.spool_peak_bytes
    [told] = begin_sentences(given)
    assert told.startswith("That first copy begins on Mon 2007-01-01 00:00, the plan's begin, and")
    assert "less, and it takes" in told and told in answer_of(given)


def test_begun_at_the_best_time_nothing_is_better() -> None:
    usual = plans.sound()
    found = copy_begins(usual)
    assert found is not None and found.best is not None
    begins = datetime.fromisoformat(found.best.begins_at)
    first = usual.organisation.first_copy.model_copy(update={"begins": begins})
    organisation = usual.organisation.model_copy(update={"first_copy": first})
    longer = continued(usual.change, AFTER_SECONDS)
    capacity = usual.link.capacity_bytes(longer.grid)
    model = outages_of(usual.protection, longer, capacity)
    table = first_copies(organisation, usual.protection, longer, capacity, model)
    row = table.set_index("way").loc["wire"]
    assert row["begins_at"] == found.best.begins_at
    assert row["spool_peak_bytes"] == pytest.approx(found.best.spool_peak_bytes)
    [told] = begin_sentences(plans.replaced(usual, organisation=organisation, first_copy=table))
    assert "as planned; at no other time of the week does it need less" in told


@pytest.mark.parametrize("lacks", [{"spools": ()}, {"first_copy": pd.DataFrame()}])
def test_without_a_spool_or_a_size_there_is_nothing_to_tell(lacks: dict[str, object]) -> None:
    assert begin_sentences(plans.replaced(plans.sound(), **lacks)) == []


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
