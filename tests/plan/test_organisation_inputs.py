"""Inputs of a plan that cannot be: what the message says, where, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replicator.command_line import finish
from replicator.errors import BadInput, ExitCode
from simulator import cli
from simulator.exchange.hourly_logs import COLUMNS, load_hourly_shares
from simulator.plan.organisation import BadOrganisation, Organisation, parse_organisation
from simulator.plan.organisation_curves import change_of
from simulator.plan.plan_assumed import assumed_defaults, growth_remarks
from tests.plan import plans

JARGON = re.compile(r"[Ii]nput should|[Tt]uple|validation|pydantic|datetime", re.ASCII)


def organised(*overrides: str) -> Organisation:
    return parse_organisation(plans.EXAMPLE, overrides)


def refused(*overrides: str, text: str = plans.EXAMPLE) -> BadOrganisation:
    with pytest.raises(BadOrganisation) as found:
        parse_organisation(text, overrides)
    assert not JARGON.search(str(found.value) + str(found.value.remedy))
    return found.value


@pytest.mark.parametrize(
    ("override", "told", "remedy"),
    [
        ("change.growth=10000%", "10000% a year is beyond -50% to 1000%", "15% or -10%"),
        ("change.growth=-100%", "-100% a year is beyond", "15% or -10%"),
        ("change.growth=nan", "'nan' is no growth|nan a year is beyond", "15%"),
        ("change.growth=x", "'x' is no growth", "15%"),
        ("outages.planned=0s", "'0s' must be more than nothing", "Write 8h"),
        ("outages.lengths=[]", "too few entries", "Give 1 at least"),
        ("outages.planned=100d", "longer than half of the plan, which has 56d", "at most 28d"),
        ("horizon=1000000w", "too large", "8h or 4w"),
        ("protection.interval=1us", "runs of changed blocks every 1us", "at least 1m"),
        ("protection.interval=59s", "runs of changed blocks every 59s", "at least 1m"),
        ("link.rtt=100h", "no line has a round trip of", "at most 1m"),
        ("objectives.rpo=0s", "'0s' must be more than nothing", "Write 15m"),
        ("objectives.rto=15", "15 has no unit", "15m or 4h"),
        ("objectives.rpo_share=95", "95 is not between 0 and 1", "0.95 or 95%"),
        ("change.files=sg1.txt", "'sg1.txt' is not a list", 'files = ["sg1.txt"]'),
        ("change.disks=1/0", "'1/0' is not a list", 'disks = ["1/0"]'),
        ("objectives.rpo_share=0", "none of the time", "more than 0%"),
        ('begins="01.01.2007"', "is not a date", "2007-01-17"),
        ("protection.spool=9999PB", "too large, more than 8191PiB", "Write for instance 2GiB"),
        ("first_copy.begins=soon", "'soon' is no date and no time of the week", "Sat 18:00"),
        ("first_copy.begins=Sat 25:00", "'25:00' is no time of day", "08:00"),
        ("first_copy.begins=2007-01-06T08:00:00Z", "without a zone", "without Z"),
        ("first_copy.begins=2006-12-31", "does not begin within the plan", "another date"),
        ("first_copy.begins=2007-02-26", "which goes from 2007-01-01 to 2007-02-26", "horizon"),
        ("change.defragmentation_hours=5", "'5' are no hours", "01:00-05:00"),
        ("change.defragmentation_hours=03:00-03:00", "have no length", "01:00-05:00"),
        ("change.defragmentation_hours=1:00-5:00", "'1:00' is no time of day", "08:00"),
    ],
)
def test_what_cannot_be_is_told_in_words(override: str, told: str, remedy: str) -> None:
    error = refused(override)
    assert re.search(told, str(error)) and remedy in str(error.remedy)


def test_growth_may_be_a_loss() -> None:
    assert organised("change.growth=-15%").change.growth_per_year == pytest.approx(-0.15)
    assert organised("change.growth=0.15").change.growth_per_year == pytest.approx(0.15)
    [told, size] = growth_remarks(organised("change.growth=-15%", "horizon=104w"))
    assert "-15 % growth a year: the last day of 728 days has 27.7 % less" in told
    assert "the databases do not grow" in size


def test_a_growth_by_the_year_hardly_counts_in_weeks() -> None:
    [told, _] = growth_remarks(organised("change.growth=15%", "horizon=8w"))
    assert "the last day of 56 days has 2.17 % more than the first; that hardly counts" in told
    [told, _] = growth_remarks(organised("change.growth=15%", "horizon=156w"))
    assert "hardly counts" not in told
    assert growth_remarks(organised("change.growth=0%")) == ()


def test_a_plan_of_a_day_leaves_out_the_default_lengths_that_do_not_fit() -> None:
    short = ("horizon=1d", "outages.planned=8h", "outages.events=[]", "link.schedule=[]")
    text = re.sub(r"(?m)^lengths = .*\n", "", plans.EXAMPLE)
    lengths = parse_organisation(text, short).outages.lengths_ns
    assert [length / 3_600e9 for length in lengths] == [1, 4, 8]
    error = refused(*short, 'outages.lengths=["8h", "24h"]')  # given: not left out silently
    assert "an outage of 1d is longer than half of the plan" in str(error)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "a"\nname = "b"\n', ":2: column 11: not TOML: this key was given before"),
        ('name = "a\nseed = 1\n', ":1: column 10: not TOML: the line ends within a text"),
        ("name = [1\n", "a list is not closed"),
        ("[link]\n[link]\n", "this table was written before"),
        ("name\n", "= is missing after a key"),
    ],
)
def test_what_is_no_toml_is_told_in_our_words(text: str, told: str) -> None:
    error = str(refused(text=text))
    assert told in error
    assert not re.search("overwrite|Illegal|Unclosed|Expected|declare", error)


EVENT = '\n[[outages.events]]\nat = {at}\nlength = "{length}"\n'


@pytest.mark.parametrize(
    ("at", "length", "told"),
    [
        ("2007-02-25 22:00:00", "4h", "ends 2h after the plan, which goes to 2007-02-26 00:00"),
        ("2027-12-01 09:00:00", "4h", "is not within the plan, which goes from 2007-01-01"),
        ('"10.01.2007 09:00"', "4h", "'10.01.2007 09:00' is not a date and time"),
        ("2007-01-18 09:00:00", "0s", "'0s' must be more than nothing: write 8h"),
    ],
)
def test_an_outage_that_does_not_fit_is_told_with_its_times(
    at: str, length: str, told: str
) -> None:
    assert told in str(refused(text=plans.EXAMPLE + EVENT.format(at=at, length=length)))


def test_one_table_in_place_of_a_list_is_told_with_its_brackets() -> None:
    one = plans.EXAMPLE.replace("[[outages.events]]", "[outages.events]")
    assert "[[outages.events]]" in str(refused(text=one).remedy)


def test_hours_parted_by_semicolons_are_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "hours.csv"
    path.write_text("Hour;TotalLogsCreated;TotalSampleIntervalSeconds\n", encoding="utf-8")
    with pytest.raises(BadInput, match="the columns are not parted by commas"):
        load_hourly_shares(path)


HOUR = "{hour},10,3600,1,10,4.1667,10,4.1667\n"


def hours_file(path: Path, *left_out: int) -> Path:
    rows = [HOUR.format(hour=hour) for hour in range(24) if hour not in left_out]
    path.write_text(",".join(COLUMNS) + "\n" + "".join(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("hour", "line"), [(9, 11), (0, 2), (23, 24)])
def test_an_hour_that_is_missing_is_told_where_and_by_its_key(
    tmp_path: Path, hour: int, line: int
) -> None:
    path = hours_file(tmp_path / "day.csv", hour)
    plan = parse_organisation(plans.EXAMPLE, [f"change.hours={path}"])
    with pytest.raises(BadInput, match=rf"change\.hours: hour {hour} is missing") as found:
        change_of(plan)
    assert (found.value.path, found.value.line) == (str(path), line)
    bare = 'name = "x"\n[link]\nbandwidth = "1Mbit/s"\n'
    site = parse_organisation(bare, [f'change.files=["{path}"]'])
    with pytest.raises(BadInput, match=r"change\.files\.0: hour") as found:
        change_of(site)
    assert found.value.line == line


# -- what was taken by default ---------------------------------------------------------------------


def test_all_that_was_taken_by_default_is_listed() -> None:
    bare = (
        'name = "x"\n[[mailboxes]]\ncount = 10\nversion = "2007"\n[link]\nbandwidth = "1Mbit/s"\n'
    )
    told = "\n".join(assumed_defaults(parse_organisation(bare)))
    for key in (
        "protection.saving = 30 %",
        "link.tcp_window = 16MiB",
        "link.payload = 94 %",
        "change.weekend = 10 %",
        "protection.spool_margin = 20 %",
        "protection.compare_rate = 100MB/s",
        "first_copy.transport = 24h",
        "first_copy.disk_rate = 50MB/s",
        "failover.detect = 60s",
        "failover.decide = 10m",
        "failover.mount_per_log = 500ms",
        "failover.redirect = 20m",
        "outages.per_year = 4",
        "change.mailbox_size = 262 MB [A]: Mean size of a heavy mailbox of Exchange 2007; 10 make "
        "databases of 2.62 GB",
        "change.growth = 0 %",
        "change.defragmentation = 10 %",
        "change.defragmentation_hours = 04:45-06:00: When a night's pass writes, evenly [A]",
        "protection.kind = byte level",
        "protection.spool_full = resynchronize",
        "first_copy.by = wire",
        "first_copy.begins = Mon 2007-01-01 00:00: When the plan begins [A]",
        "the rhythm of a working day",
    ):
        assert f"by default, {key}" in told
    assert "day_order" not in told and "most_missing" not in told  # of files: there are none


def test_a_size_that_is_given_is_not_assumed_and_hours_are_the_versions() -> None:
    told = "\n".join(assumed_defaults(organised("change.mailbox_size=2GB")))
    assert "change.mailbox_size" not in told and "defragmentation_hours" in told
    told = "\n".join(assumed_defaults(organised("change.database_size=1TB")))
    assert "of which a night's pass rewrites" in told and "make databases" not in told
    told = "\n".join(assumed_defaults(organised("change.defragmentation_hours=01:00-05:00")))
    assert "defragmentation_hours" not in told
    old = 'mailboxes.0.version="2003"'
    assert "defragmentation_hours = 03:45-05:00" in "\n".join(assumed_defaults(organised(old)))
    never = "\n".join(assumed_defaults(organised("change.defragmentation=0%")))
    assert "defragmentation" not in never


def test_what_is_given_was_not_taken_by_default() -> None:
    assert any("protection.saving" in line for line in assumed_defaults(organised()))
    given = assumed_defaults(organised("protection.saving=30%"))
    assert not any("protection.saving" in line for line in given)


# -- simulator size --------------------------------------------------------------------------------


def sized(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    usual = {"--users": "10", "--link": "10Mbit/s"}
    usual.update(zip(words[::2], words[1::2], strict=True))
    flat = [word for pair in usual.items() for word in pair]
    assert int(finish(cli.app, "simulator", ["size", *flat])) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert not JARGON.search(told)
    assert "the file" not in told and "the options" not in told and "organisation" not in told
    assert words[0] in told
    return told


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--users", "0", "no whole number from 1 to 10,000,000"),
        ("--users", "many", "no whole number from 1 to 10,000,000"),
        ("--streams", "0", "no whole number from 1 to 10,000"),
        ("--outage", "0s", "not more than 0 and up to 14d"),
        ("--outage", "100000d", "not more than 0 and up to 14d"),
        ("--rpo", "0s", "must be more than nothing: write 15m"),
        ("--saving", "30", "'30' is more than the whole: write 0.3 or 30%"),
        ("--mailbox-size", "0B", "must be more than nothing"),
        ("--version", "2016", "did you mean '2013'"),
        ("--profile", "HEAVY", "has no profile 'HEAVY'"),
        ("--kind", "foo", "known are byte level"),
        ("--saving", "100%", "nothing is left"),
        ("--rtt", "100000h", "no line has a round trip"),
    ],
)
def test_size_speaks_of_its_options(capsys, option: str, value: str, told: str) -> None:
    assert told in sized(capsys, option, value)


def test_a_report_without_a_name_is_refused(tmp_path: Path, capsys) -> None:
    path = tmp_path / "office.toml"
    path.write_text(plans.EXAMPLE, encoding="utf-8")
    words = ["plan", str(path), "--report", ""]
    assert int(finish(cli.app, "simulator", words)) == ExitCode.USAGE
    assert "--report names no directory" in capsys.readouterr().err
