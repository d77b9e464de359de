"""A schedule in a file and in words: rates in proportion, what others take, both and neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.plan.capacity import PlannedLink, RateWindow
from simulator.plan.organisation import BadOrganisation, check_organisation, parse_organisation
from simulator.plan.organisation_curves import link_of
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_objectives import LINE_ITEM, needs_of
from simulator.plan.schedule_words import line_of, schedule_sentence, window_name, windows_words
from simulator.plan.truth_cases import CASES
from simulator.plan.truth_simulated import scenario_of
from tests.plan import plans

HOUR = 3_600.0
WORKDAYS = (0, 1, 2, 3, 4)
DAY = (7 * HOUR, 19 * HOUR)
OWN = PlannedLink(20e6, windows=(RateWindow(*DAY, 8e6, WORKDAYS),))
TAKEN = PlannedLink(20e6, windows=(RateWindow(*DAY, None, WORKDAYS, 12e6),))
ENTRY = '[[link.schedule]]\nfrom = "08:00"\nto = "18:00"\ndays = "Mon-Fri"\n'


def office(rates: str) -> str:
    text = plans.EXAMPLE.replace('bandwidth = "10Mbit/s"\n', rates, 1)
    assert text != plans.EXAMPLE
    return text


# -- the file ----------------------------------------------------------------------------------


def test_a_file_says_what_is_taken() -> None:
    link = link_of(parse_organisation(office('taken = "12Mbit/s"\n')))
    assert [each.taken_bits_per_second for each in link.windows] == [12e6]
    assert link.windows[0].rate_on(link.bits_per_second) == 8e6
    both = link_of(
        parse_organisation(office(f'taken = "12Mbit/s"\n{ENTRY}bandwidth = "5Mbit/s"\n'))
    )
    assert [each.bits_per_second for each in both.windows] == [None, 5e6]


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ('bandwidth = "8Mbit/s"\ntaken = "12Mbit/s"\n', "has a bandwidth, and what is taken"),
        ("", "does not say what the line has meanwhile"),
    ],
)
def test_an_entry_says_one_of_both(rates: str, said: str) -> None:
    with pytest.raises(BadOrganisation) as caught:
        parse_organisation(office(rates))
    [error] = caught.value.errors
    assert said in str(error) and "link.schedule.0" in str(error) and error.remedy


def test_a_line_of_which_all_is_taken_is_doubted(tmp_path) -> None:
    path = tmp_path / "office.toml"
    for taken, doubted in (("20Mbit/s", True), ("19Mbit/s", False)):
        path.write_text(office(f'taken = "{taken}"\n'), encoding="utf-8")
        _, found = check_organisation(path, ["outages.events=[]"])
        assert any("others take all of the line" in str(each) for each in found) == doubted


def test_an_entry_that_never_counts_is_told_with_what_it_takes(tmp_path) -> None:
    path = tmp_path / "office.toml"
    hidden = f'taken = "12Mbit/s"\n{ENTRY}taken = "3Mbit/s"\n'
    path.write_text(office(hidden), encoding="utf-8")
    _, found = check_organisation(path, ["outages.events=[]"])
    [told] = [str(each) for each in found]
    assert "link.schedule.1.taken" in told and "its 3 Mbit/s never count" in told


def test_a_scenario_gets_the_resulting_rates(tmp_path: Path) -> None:
    """The event simulation's schedule has rates: what is left of the line."""
    [case] = [each for each in CASES.values() if each.link.windows]
    usual = case.link.windows[0]
    taken = RateWindow(
        usual.from_seconds, usual.until_seconds, taken_bits_per_second=case.link.bits_per_second / 4
    )
    trace = tmp_path / "trace.csv"
    trace.write_text("", encoding="utf-8")
    for window, rate in (
        (taken, 0.75 * case.link.bits_per_second),
        (usual, usual.bits_per_second),
    ):
        shared = replace(case, link=replace(case.link, windows=(window,)))
        [entry] = scenario_of(shared, trace, 60.0).link.schedule
        assert entry.bits_per_second == rate


# -- words -------------------------------------------------------------------------------------


def test_a_line_is_told_with_what_it_has_at_the_times_of_its_schedule() -> None:
    assert line_of(OWN, 145e6) == "145 Mbit/s, with 58 Mbit/s Mon-Fri 07:00-19:00 (in proportion)"
    assert line_of(TAKEN, 58e6) == (
        "58 Mbit/s, with 46 Mbit/s Mon-Fri 07:00-19:00 (12 Mbit/s are taken)"
    )
    assert line_of(PlannedLink(20e6), 58e6) == "58 Mbit/s"
    both = PlannedLink(20e6, windows=(*OWN.windows, *TAKEN.windows))
    assert windows_words(both, 40e6).count(" and ") == 1


def test_the_rule_for_any_line() -> None:
    rule = "Wherever a line rate is named, the line has"
    assert schedule_sentence(OWN) == f"{rule} 40 % of it Mon-Fri 07:00-19:00."
    assert schedule_sentence(TAKEN) == f"{rule} 12 Mbit/s less Mon-Fri 07:00-19:00."
    assert schedule_sentence(PlannedLink(20e6)) == ""


def test_of_many_times_the_least_and_the_largest_figure_are_told() -> None:
    own = tuple(RateWindow(each * HOUR, (each + 1) * HOUR, 1e6 * (each + 1)) for each in range(5))
    taken = tuple(
        RateWindow(each * HOUR, (each + 1) * HOUR, taken_bits_per_second=2e6)
        for each in range(5, 10)
    )
    link = PlannedLink(20e6, windows=(*own, *taken))
    assert windows_words(link, 40e6) == (
        "2 Mbit/s to 10 Mbit/s at 5 times of the week (in proportion) and "
        "38 Mbit/s at 5 times of the week (the rest is taken)"
    )
    assert "5 % to 25 % of it at 5 times of the week and 2 Mbit/s less" in schedule_sentence(link)


@pytest.mark.parametrize(
    ("begin", "end", "days", "name"),
    [
        (22, 6, tuple(range(7)), "daily 22:00-06:00"),
        (0, 24, (5, 6), "Sat, Sun all day"),
        (18, 24, (0, 1, 2, 4), "Mon-Wed, Fri 18:00-24:00"),
        (22, 0, (4,), "Fri 22:00-00:00"),
    ],
)
def test_when_a_window_holds(begin: int, end: int, days: tuple[int, ...], name: str) -> None:
    assert window_name(RateWindow(begin * HOUR, end * HOUR, 1.0, days)) == name


def test_the_answer_and_the_tables_tell_the_figures_of_each_window() -> None:
    plan = plans.plan()
    [need] = [each for each in needs_of(plan) if each.item == LINE_ITEM]
    assert need.needed is not None
    told = " ".join(answer_of(plan))
    assert f"needs a line of at least {line_of(plan.link, need.needed)}." in told
    assert windows_words(plan.link, need.needed) in need.reason
    assert schedule_sentence(plan.link) in told
    assert "(in proportion)" in told.partition("All of it would hold")[2].partition("Outage")[0]
