"""When a plan of dated files begins, and that no date in it is dropped."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from replicator.errors import BadInput
from simulator.plan import plan_begin
from simulator.plan.organisation import (
    BadOrganisation,
    Organisation,
    check_organisation,
    parse_organisation,
)
from simulator.plan.organisation_curves import change_of, seed_rates
from simulator.plan.plan_begin import begins_with_its_files, begun
from simulator.plan.planner import Plan, make_plan
from tests.plan import site_texts

BEGIN = datetime(2026, 11, 18, 8, 58)  # a Wednesday
OFFICE = """
name = "site"
horizon = "2w"
draws = 100
[change]
files = {files}
database_size = "20GB"
[link]
bandwidth = "20Mbit/s"
[outages]
lengths = ["1h"]
[first_copy]
begins = "Sat 18:00"
"""
EVENT = 'outages.events=[{at=%s, length="12h"}]'


def hour_logs(hour: int) -> list[datetime]:
    """Sixteen days with a log in each hour, and one in each minute of an hour of Thursdays."""
    times = [BEGIN + timedelta(hours=at) for at in range(16 * 24)]
    busy = [
        BEGIN.replace(hour=hour, minute=minute) + timedelta(days=1 + week * 7)
        for week in range(2)
        for minute in range(60)
    ]
    return sorted(times + busy)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    (made / "logs.txt").write_text(site_texts.listing_ls(hour_logs(14)))
    later = [each + timedelta(days=1) for each in hour_logs(15)]
    (made / "others.txt").write_text(site_texts.listing_ls(later, base="E01"))
    return made


def site(folder: Path, *overrides: str, files: str = '["logs.txt"]') -> Organisation:
    return parse_organisation(OFFICE.replace("{files}", files), overrides, directory=folder)


@pytest.fixture(scope="module")
def with_its_files(folder: Path) -> Plan:
    return make_plan(site(folder, EVENT % "2026-11-20T09:00:00"))


def test_it_begins_with_its_files_and_so_does_all_else(with_its_files: Plan) -> None:
    plan = with_its_files
    assert plan.change.grid.begins_at == BEGIN == plan.organisation.begins_at
    assert any(
        "where its files do, on Wed 2026-11-18 08:58" in each for each in plan.change.remarks
    )
    # The first copy: on a Saturday, 18:00.
    wire = plan.first_copy.set_index("way").loc["wire"]
    assert wire["begins_at"] == "2026-11-21T18:00:00"
    assert seed_rates(plan.organisation).begin_seconds == 3 * 86_400 + 9 * 3_600 + 120
    # The outage stands at its date.
    grid = plan.change.grid
    down = slice(grid.step_at(datetime(2026, 11, 20, 9)), grid.step_at(datetime(2026, 11, 20, 21)))
    assert (plan.capacity_bytes[down] == 0.0).all()
    assert (plan.capacity_bytes == 0.0).sum() == 12 * 60
    assert plan.course.lag_seconds.max() > 10 * 3_600


@pytest.mark.parametrize(
    "at", ["2007-01-03T09:00:00", "2026-11-18T08:00:00", "2026-12-02T00:00:00"]
)
def test_an_outage_outside_of_it_is_refused_not_dropped(folder: Path, at: str) -> None:
    read = site(folder, EVENT % at)  # nothing tells yet when it begins
    with pytest.raises(BadInput, match=r"outages\.events\.0\.at: the outage of") as caught:
        make_plan(read)
    assert "2026-11-18 08:58" in str(caught.value) or "ends 3h2m after" in str(caught.value)
    assert "begins" in str(caught.value.remedy)


def test_without_the_refusal_the_line_itself_refuses_it(folder: Path, monkeypatch) -> None:
    """The safeguard switched off: it was dropped in silence, and the plan said it was counted."""
    monkeypatch.setattr(plan_begin, "dates_outside", lambda _: iter(()))
    with pytest.raises(ValueError, match="an outage begins"):
        make_plan(site(folder, EVENT % "2007-01-03T09:00:00"))


def test_a_first_copy_outside_of_it_is_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"first_copy\.begins: the first copy of 2007-01-06 00:00"):
        make_plan(site(folder, "first_copy.begins=2007-01-06"))


def test_given_a_begin_the_weeks_are_laid_onto_it(folder: Path) -> None:
    begins = "begins=2027-01-04"
    read = site(folder, begins, EVENT % "2027-01-06T09:00:00")
    change = change_of(read)
    assert change.grid.begins_at == datetime(2027, 1, 4)
    assert any("weekday to weekday" in each for each in change.remarks)
    busiest = change.grid.time_at(int(change.log_bytes.argmax()))
    assert (busiest.weekday(), busiest.hour) == (3, 14)
    assert seed_rates(read).begin_seconds == 5 * 86_400 + 18 * 3_600
    with pytest.raises(BadOrganisation, match="is not within the plan"):
        site(folder, begins, EVENT % "2026-11-20T09:00:00")


def test_its_begin_is_known_once(with_its_files: Plan, folder: Path) -> None:
    read = site(folder)
    assert begins_with_its_files(read)
    with pytest.raises(ValueError, match="begins with its files"):
        seed_rates(read)
    known = with_its_files.organisation
    assert not begins_with_its_files(known) and begun(known, datetime(2030, 1, 1)) is known
    again = change_of(known)
    assert again.grid == with_its_files.change.grid
    assert (again.log_bytes == with_its_files.change.log_bytes).all()


def test_files_of_other_days_are_added_up_on_the_plan_s_dates(folder: Path) -> None:
    both = '["logs.txt", "others.txt"]'
    with pytest.raises(BadInput, match="do not begin at the same time of the week") as caught:
        change_of(site(folder, files=both))
    assert "Give the plan its begins" in str(caught.value.remedy)
    found = change_of(site(folder, "begins=2027-01-04", files=both))
    hours = found.log_bytes.reshape(-1, 60).sum(axis=1)[: 7 * 24]
    assert {int(each) for each in hours.argsort()[-2:]} == {3 * 24 + 14, 4 * 24 + 15}


def test_an_entry_of_the_schedule_is_not_doubted_while_the_begin_is_not_known(folder: Path) -> None:
    schedule = 'link.schedule=[{from="08:00", to="18:00", bandwidth="1Mbit/s", days="Sat"}]'
    path = folder / "site.toml"
    path.write_text(OFFICE.replace("{files}", '["logs.txt"]').replace("Sat 18:00", "Thu 18:00"))
    short = ("horizon=2d", "outages.planned=8h", schedule)
    assert check_organisation(path, short)[1] == []
    doubts = check_organisation(path, [*short, "begins=2026-11-18"])[1]
    assert any("the plan never meets this entry" in str(each) for each in doubts)
