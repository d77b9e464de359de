"""Plans of files that a site has: what is not known is not made up."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from replicator.errors import BadInput
from simulator.plan import planner
from simulator.plan.capacity import PlannedLink, RateWindow
from simulator.plan.grid import TimeGrid
from simulator.plan.organisation import BadOrganisation, Organisation, parse_organisation
from simulator.plan.organisation_change import Change
from simulator.plan.organisation_checks import FILE_KEYS
from simulator.plan.organisation_curves import change_of, site_options
from simulator.plan.plan_answer import answer_of, answer_topics
from simulator.plan.plan_dependence import dependence_of
from simulator.plan.plan_record import record_of
from simulator.plan.planner import Plan, make_plan
from simulator.plan.site_files import load_site
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_weeks import extended
from simulator.report.plan_tables import plan_tables
from simulator.report.plan_terminal import MOST_REMARKS, print_plan
from tests.plan import site_texts

LOGS_A_DAY = 24_000
HOURS = (
    "Hour,TotalLogsCreated,TotalSampleIntervalSeconds,NumberOfSamples,AverageSample,"
    "PercentDailyUsage,AverageSamplePer60Minutes,PercentDailyUsagePer60Minutes\n"
) + "".join(f"{hour},1000,3600,1,1000,4.17,1000,4.17\n" for hour in range(24))
OFFICE = """
name = "site"
horizon = "3d"
draws = 100
[change]
files = ["{file}"]
[link]
bandwidth = "20Mbit/s"
[outages]
lengths = ["1h"]
"""


def organisation(folder: Path, file: str, *overrides: str) -> Organisation:
    return parse_organisation(OFFICE.replace("{file}", file), overrides, directory=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly statistics, and a listing of two hours in which a log is closed every 5 s."""
    made = tmp_path_factory.mktemp("site")
    (made / "hours.csv").write_text(HOURS)
    times = [site_texts.BEGIN + timedelta(seconds=5 * at) for at in range(1_441)]
    (made / "logs.txt").write_text(site_texts.listing_ls(times))
    return made


@pytest.fixture(scope="module")
def short(folder: Path) -> Plan:
    """Of two hours, with a spool that is too small."""
    return make_plan(organisation(folder, "logs.txt", 'protection.spool="1GB"'))


# -- no database size ----------------------------------------------------------------------------


def test_without_a_database_size_a_resynchronization_has_no_figures(short: Plan) -> None:
    assert short.change.stored_bytes is None
    full = short.spool_outages
    assert len(full) == 24 and all(each is not None for each in full["full_after_seconds"])
    for name in ("compared_bytes", "differing_bytes", "unprotected_seconds", "behind_seconds"):
        assert all(each is None for each in full[name]), name
    told = " ".join(answer_of(short))
    assert "how long a resynchronization takes is not known: give change.database_size" in told
    assert "are compared" not in told
    rows = record_of(short).spool_outages
    assert all("change.database_size" in row.reason for row in rows)
    [table] = [each for each in plan_tables(short) if each.key == "lasts"]
    assert "change.database_size" in table.note
    assert all("not known" in row for row in table.spelled())


def test_with_a_database_size_it_has(folder: Path) -> None:
    given = ('protection.spool="1GB"', 'change.database_size="500GB"')
    plan = make_plan(organisation(folder, "logs.txt", *given))
    assert (plan.spool_outages["compared_bytes"] == 500e9).all()
    told = " ".join(answer_of(plan))
    assert "500 GB are compared" in told and "is not known" not in told


# -- a mean day ----------------------------------------------------------------------------------


@pytest.mark.parametrize("begins", ["2007-01-01", "2007-01-06"])  # a Monday, a Saturday
def test_a_week_of_a_mean_day_has_seven_of_it(folder: Path, begins: str) -> None:
    found = change_of(
        organisation(folder, "hours.csv", "horizon=2w", f"begins={begins}", "change.weekend=10%")
    )
    day = LOGS_A_DAY * 2.0**20
    days = found.log_bytes.reshape(14, -1).sum(axis=1)
    assert days.sum() == pytest.approx(14 * day)
    weekend = found.grid.weekdays().reshape(14, -1)[:, 0] >= 5
    assert days[~weekend] == pytest.approx(np.full(10, day * 7 / 5.2))
    assert days[weekend] == pytest.approx(np.full(4, 0.1 * day * 7 / 5.2))
    assert any("working days have 1.35 times as much" in each for each in found.remarks)


def test_a_day_that_is_no_mean_keeps_its_volume(folder: Path) -> None:
    """The safeguard switched off: the same day as if it were one working day."""
    day = load_site(folder / "hours.csv")
    assert day.is_mean_day and day.measured_seconds == 86_400.0
    object.__setattr__(day, "is_mean_day", False)
    week = extended(day, 7, weekend_share=0.1)
    assert week.log_bytes.sum() == pytest.approx(5.2 * LOGS_A_DAY * 2.0**20)


# -- little data ---------------------------------------------------------------------------------


def test_of_how_little_the_plan_was_made_is_said(short: Plan, folder: Path) -> None:
    told = " ".join(answer_of(short))
    assert "planned from 2 h of data, for 3 d: measure a week at least" in told
    out = io.StringIO()
    print_plan(Console(file=out, width=200, highlight=False), short, answer_topics(short))
    lines = out.getvalue().splitlines()
    begin = lines.index("What is written rests on") + 1
    shown = lines[begin : lines.index("", begin)]
    assert 1 <= len(shown) <= MOST_REMARKS
    assert "2 h are known" in shown[0]
    # A week for four weeks is enough to say nothing.
    measured = change_of(organisation(folder, "hours.csv", "horizon=4d"))
    assert measured.measured_seconds == 86_400.0


# -- how files are read --------------------------------------------------------------------------


def test_keys_for_files_reach_the_reader(folder: Path) -> None:
    keys = (
        'change.log_counters=["Log"]',
        'change.database_counters=["Disk"]',
        "change.day_order=day first",
        "change.decimal_mark=,",
        "change.utc_offset_hours=-5.5",
        "change.log_file_size=5MiB",
        "change.trace=mail",
        'change.version="2003"',
        "change.database_bytes_per_log_byte=3.5",
        "change.message_bytes_per_log_byte=0.5",
        "change.log_share_of_writes=40%",
        "change.bytes_per_write=8KiB",
        'change.log_sets_taken=["E00"]',
        'change.disks=["host/1"]',
        "change.bridge_gaps=false",
        "change.least_measured=2h",
        "change.most_missing_share=10%",
        "change.most_disordered_share=20%",
    )
    given = organisation(folder, "hours.csv", *keys)
    found = site_options(given)
    assert found == SiteOptions(
        begins_at=found.begins_at,
        log_counters=("Log",),
        database_counters=("Disk",),
        day_order="day first",
        decimal_mark=",",
        utc_offset_hours=-5.5,
        log_file_bytes=5 << 20,
        trace="mail",
        version="2003",
        database_bytes_per_log_byte=3.5,
        message_bytes_per_log_byte=0.5,
        log_share_of_writes=0.4,
        bytes_per_write=8192,
        log_sets_taken=("E00",),
        disks=("host/1",),
        bridge_gaps=False,
        most_missing_share=0.1,
        least_measured_seconds=7_200.0,
        most_disordered_share=0.2,
    )
    usual = site_options(organisation(folder, "hours.csv"))
    assert usual == SiteOptions(begins_at=found.begins_at, least_measured_seconds=3_600.0)
    larger = change_of(organisation(folder, "hours.csv", "change.log_file_size=5MiB"))
    plain = change_of(organisation(folder, "hours.csv"))
    assert larger.log_bytes.sum() == pytest.approx(5 * plain.log_bytes.sum())


@pytest.mark.parametrize(
    ("kind", "file", "key", "told"),
    [
        ("object level", "logs.txt", "message_bytes_per_log_byte", "messages per day are none"),
        ("log shipping", "disk.csv", "log_share_of_writes", "logs per day are none"),
    ],
)
def test_a_kind_that_has_nothing_to_carry_is_refused(folder, kind, file, key, told) -> None:
    times = [site_texts.BEGIN + timedelta(minutes=each) for each in range(200)]
    disk = r"\\MBX1\LogicalDisk(E:)\Disk Write Bytes/sec"
    (folder / "disk.csv").write_text(site_texts.counter_csv(times, {disk: [1e5] * len(times)}))
    overrides = [f"change.{key}=0", f"protection.kind={kind}"]
    with pytest.raises(BadInput, match=f"{kind} would carry: {told}"):
        make_plan(organisation(folder, file, *overrides))


def test_without_that_refusal_an_error_within_ends_the_plan(folder, monkeypatch) -> None:
    """The safeguard switched off."""
    monkeypatch.setattr(planner, "daily_amounts", lambda *_of: {"something": 1.0})
    overrides = ["change.message_bytes_per_log_byte=0", "protection.kind=object level"]
    with pytest.raises(ValueError, match="must be positive numbers"):
        make_plan(organisation(folder, "logs.txt", *overrides))


@pytest.mark.parametrize("name", FILE_KEYS)
def test_keys_for_files_are_refused_without_files(name: str) -> None:
    """All of them: one that says nothing would be believed."""
    field = Change.model_fields[name]
    values = {
        "decimal_mark": '"."',
        "day_order": '"day first"',
        "bridge_gaps": "false",
        "log_sets_alike": "true",
    }
    sizes = dict.fromkeys(("log_file_bytes", "bytes_per_write"), '"8KiB"')
    lists = dict.fromkeys(("log_counters", "database_counters", "log_sets_taken", "disks"), '["a"]')
    texts = {"trace": '"a"', "version": '"2003"', "least_measured_ns": '"2h"'}
    value = {**values, **sizes, **lists, **texts}.get(name, "0.5")
    text = OFFICE.replace('files = ["{file}"]', f"{field.alias or name} = {value}")
    text = text.replace("[change]", "[[mailboxes]]\ncount = 10\n[change]")
    with pytest.raises(BadOrganisation, match="how files of the site are read, but there are none"):
        parse_organisation(text)


def test_pages_by_a_ratio_are_what_the_plan_depends_on(short: Plan, folder: Path) -> None:
    found = dependence_of(short)
    assert found is not None and found.key == "change.database_bytes_per_log_byte"
    assert found.mark == "[D]" and found.assumed == short.change.assumed_page_ratio
    told = " ".join(answer_of(short))
    assert "planned outage needs depends most on the bytes of pages for one of log" in told
    given = organisation(folder, "logs.txt", "change.database_bytes_per_log_byte=2")
    change = change_of(given)
    assert change.assumed_page_ratio is None
    assert change.database_bytes.sum() == pytest.approx(2 * change.log_bytes.sum())


@pytest.mark.parametrize("again", ["hours.csv", "./hours.csv", "link.csv"])
def test_a_file_that_is_given_twice_is_refused(folder: Path, again: str) -> None:
    link = folder / "link.csv"
    if not link.is_symlink():
        link.symlink_to("hours.csv")
    with pytest.raises(BadOrganisation, match=re.escape("is given twice")):
        organisation(folder, f'hours.csv", "{again}')


def test_a_file_that_is_taken_twice_would_count_twice(folder: Path) -> None:
    """The safeguard switched off."""
    given = organisation(folder, "hours.csv")
    twice = given.change.model_copy(update={"files": given.change.files * 2})
    doubled = change_of(given.model_copy(update={"change": twice}))
    assert doubled.log_bytes.sum() == pytest.approx(2 * change_of(given).log_bytes.sum())


def test_a_window_without_length_would_last_a_day() -> None:
    """The safeguard switched off: why such an entry of the schedule is refused."""
    grid = TimeGrid.of_days(1)
    link = PlannedLink(8e6, windows=(RateWindow(28_800.0, 28_800.0, 0.0),))
    assert link.capacity_bytes(grid)[grid.steps // 2 :].sum() == 0.0


# -- words of a full log volume ------------------------------------------------------------------


def test_a_full_log_volume_stops_the_stores(folder: Path) -> None:
    given = ('protection.kind="log shipping"', 'protection.log_volume="1GB"')
    told = " ".join(answer_of(make_plan(organisation(folder, "logs.txt", *given))))
    assert "Then the log volume is full and the stores stop, unless logs are deleted" in told
    assert "it must be seeded anew." in told and "is dropped" not in told
