"""Hourly statistics: of one database, or the mean of several whose number has to be said."""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.errors import BadInput
from simulator.exchange.diurnal import DEFAULT_HOURS
from simulator.exchange.hourly_logs import COLUMNS
from simulator.plan import site_hours
from simulator.plan.organisation import Organisation, parse_organisation
from simulator.plan.organisation_curves import change_of
from simulator.plan.site_files import load_site
from simulator.plan.site_hours import MOST_DAYS_OF_ONE_DATABASE, read_hourly_logs
from simulator.plan.site_options import SiteOptions

LOGS_A_DAY = 480
"""Of each database."""
MIB = 1 << 20
ALL = "AllDatabases-Analyzed.csv"
OFFICE = """
name = "site"
horizon = "7d"
[change]
files = {files}
[link]
bandwidth = "20Mbit/s"
"""


def statistics(databases: int, days: int = 7, more_days: int = 0) -> str:
    """As the script adds them up; hours from noon on were sampled on some days more."""
    rows, samples = [], []
    for hour, percent in enumerate(DEFAULT_HOURS):
        times = databases * (days + (more_days if hour >= 12 else 0))
        samples.append((times * percent * LOGS_A_DAY / 100, times * 3_600.0, times))
    logs, seconds = sum(each[0] for each in samples), sum(each[1] for each in samples)
    for hour, (created, sampled, times) in enumerate(samples):
        per_hour = created / sampled * 3_600
        percent = 100 * per_hour / (logs / seconds * 86_400)
        rows.append(
            f"{hour},{created},{sampled},{times},{created / times},{100 * created / logs},"
            f"{per_hour},{percent}\n"
        )
    return ",".join(COLUMNS) + "\n" + "".join(rows)


def site(folder: Path, *names: str, log_sets: int | None = None) -> Organisation:
    files = "[" + ", ".join(f'"{name}"' for name in names) + "]"
    sets = [] if log_sets is None else [f"change.log_sets={log_sets}"]
    return parse_organisation(OFFICE.replace("{files}", files), sets, directory=folder)


def logs_a_day(organisation: Organisation) -> float:
    return change_of(organisation).log_bytes_per_day / MIB


def test_of_all_databases_the_number_has_to_be_said(tmp_path: Path) -> None:
    (tmp_path / ALL).write_text(statistics(20))
    with pytest.raises(BadInput, match="of several databases") as caught:
        load_site(tmp_path / ALL)
    assert "log_sets" in str(caught.value.remedy) and "they add up" in str(caught.value.remedy)
    with pytest.raises(BadInput, match=r"change\.files\.0: these statistics"):
        change_of(site(tmp_path, ALL))
    found = change_of(site(tmp_path, ALL, log_sets=20))
    assert found.log_bytes_per_day / MIB == pytest.approx(20 * LOGS_A_DAY)
    assert found.log_sets == 20 and found.measured_seconds == pytest.approx(7 * 86_400)
    assert any("times 20 databases as given (log_sets): 9,600" in each for each in found.remarks)


def test_without_the_refusal_a_twentieth_would_be_planned(tmp_path: Path, monkeypatch) -> None:
    """The safeguard switched off."""
    (tmp_path / ALL).write_text(statistics(20))
    monkeypatch.setattr(site_hours, "_databases", lambda *_: 1)
    assert logs_a_day(site(tmp_path, ALL)) == pytest.approx(LOGS_A_DAY)


def test_files_of_single_databases_add_up(tmp_path: Path) -> None:
    names = ("DB01-Analyzed.csv", "DB02-Analyzed.csv", "DB03-Analyzed.csv")
    for name in names:
        (tmp_path / name).write_text(statistics(1))
    found = change_of(site(tmp_path, *names))
    assert found.log_bytes_per_day / MIB == pytest.approx(3 * LOGS_A_DAY)
    assert found.log_sets == 3
    # Their number is no factor then.
    assert logs_a_day(site(tmp_path, *names, log_sets=3)) == pytest.approx(3 * LOGS_A_DAY)
    (tmp_path / ALL).write_text(statistics(3))
    with pytest.raises(BadInput, match=r"change\.files\.3: .* cannot be added to other files"):
        change_of(site(tmp_path, *names, ALL, log_sets=3))


def test_one_database_is_of_one_and_of_several_where_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "mail.csv").write_text(statistics(1, days=14))
    alone = load_site(tmp_path / "mail.csv")
    assert alone.log_bytes.sum() / MIB == pytest.approx(LOGS_A_DAY)
    assert "the statistics are taken to be of one database (log_sets)" in alone.remarks
    assert logs_a_day(site(tmp_path, "mail.csv", log_sets=4)) == pytest.approx(4 * LOGS_A_DAY)
    with pytest.raises(ValueError, match="log_sets"):
        SiteOptions(log_sets=0)


@pytest.mark.parametrize(
    ("databases", "days", "more_days", "why"),
    [
        (20, 7, 0, "140 days were sampled"),
        (3, 7, 1, "a multiple of 3 times, not all equally often"),
    ],
)
def test_a_file_of_several_is_known_by_what_it_holds(
    tmp_path: Path, databases: int, days: int, more_days: int, why: str
) -> None:
    path = tmp_path / "renamed.csv"
    path.write_text(statistics(databases, days, more_days))
    with pytest.raises(BadInput, match=why) as caught:
        load_site(path)
    assert "that it is of one: 1" in str(caught.value.remedy)
    taken = load_site(path, SiteOptions(log_sets=1))
    assert taken.log_bytes.sum() / MIB == pytest.approx(LOGS_A_DAY)


def test_what_a_single_database_may_have_is_not_suspected(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    for days, more_days in ((1, 0), (7, 1), (int(MOST_DAYS_OF_ONE_DATABASE), 0)):
        path.write_text(statistics(1, days, more_days))
        assert read_hourly_logs(path).seems_of_several() == ""
