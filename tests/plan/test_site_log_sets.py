"""Log sets of a site that no file is of: refused, or multiplied as said."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from replicator.errors import BadInput
from simulator.plan import organisation_curves
from simulator.plan.change import ChangeCurve
from simulator.plan.organisation import BadOrganisation, parse_organisation
from simulator.plan.organisation_curves import change_of
from simulator.plan.plan_words import basis_sentences
from simulator.plan.planner import make_plan
from simulator.plan.site_files import load_site
from simulator.plan.site_log_sets import stand_for_others
from tests.plan import site_texts
from tests.plan.site_texts import BEGIN, MIB
from tests.plan.test_plan_of_site_files import HOURS

DAYS = 3
FILE = """
name = "site"
horizon = "3d"
draws = 100
[change]
files = [{files}]
[link]
bandwidth = "20Mbit/s"
[outages]
lengths = ["1h"]
"""
INSTANCES = r"\\MBX1\MSExchange Database ==> Instances"
COUNTER = r"\Log Bytes Write/sec"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Listings of single log sets and of two, statistics of two databases, counters."""
    made = tmp_path_factory.mktemp("site")
    times = [BEGIN + timedelta(minutes=each) for each in range(DAYS * 1_440 + 1)]
    for number in (0, 1):
        listing = site_texts.listing_ls(times, base=f"E0{number}")
        (made / f"sg{number}.txt").write_text(listing)
    both = (made / "sg0.txt").read_text() + (made / "sg1.txt").read_text()
    (made / "both.txt").write_text(both)
    for name in ("a.csv", "b.csv"):
        (made / name).write_text(HOURS)
    few = times[: 2 * 60]
    for name, columns in {
        "sets.csv": [f"{INSTANCES}(SG{each}){COUNTER}" for each in (1, 2)],
        "total.csv": [f"{INSTANCES}(_Total){COUNTER}"],
        "server.csv": [r"\\MBX1\MSExchange Database(Information Store)" + COUNTER],
        "disk.csv": [r"\\MBX1\LogicalDisk(E:)\Disk Write Bytes/sec"],
    }.items():
        values = {column: [1e5] * len(few) for column in columns}
        (made / name).write_text(site_texts.counter_csv(few, values))
    return made


def of_files(folder: Path, *files: str, sets: int | None = None, alike: bool = False):
    named = ", ".join(f'"{each}"' for each in files)
    overrides = [] if sets is None else [f"change.log_sets={sets}"]
    overrides += ["change.log_sets_alike=true"] if alike else []
    return parse_organisation(FILE.replace("{files}", named), overrides, directory=folder)


def change(folder: Path, *files: str, sets: int | None = None, alike: bool = False) -> ChangeCurve:
    return change_of(of_files(folder, *files, sets=sets, alike=alike))


def test_one_listing_of_four_log_sets_is_refused(folder) -> None:
    with pytest.raises(BadInput, match=r"log_sets = 4, but the files are of 1 log set") as caught:
        change(folder, "sg0.txt", sets=4)
    remedy = str(caught.value.remedy)
    for way in ("Give the files of all 4", "log_sets = 1", "log_sets_alike = true"):
        assert way in remedy
    assert "sg0.txt" in str(caught.value)


def test_without_the_care_a_quarter_is_planned(folder, monkeypatch) -> None:
    """The safeguard switched off: the plan is made, of a quarter of what the site writes."""
    monkeypatch.setattr(organisation_curves, "of_all_log_sets", lambda curve, *_, **__: curve)
    quarter = change(folder, "sg0.txt", sets=4)
    monkeypatch.undo()
    whole = change(folder, "sg0.txt", sets=4, alike=True)
    assert whole.log_bytes_per_day == pytest.approx(4 * quarter.log_bytes_per_day)


def test_log_sets_that_are_alike_are_multiplied_in_all_that_is_written(folder) -> None:
    one = change(folder, "sg0.txt")
    four = change(folder, "sg0.txt", sets=4, alike=True)
    assert one.log_bytes_per_day == pytest.approx(1_440 * MIB)
    for name in ("log_bytes", "database_bytes", "message_bytes"):
        assert getattr(four, name).sum() == pytest.approx(4 * getattr(one, name).sum()), name
    assert (four.log_sets, four.seen_log_sets) == (4, 1)
    assert any(
        re.search("1 log set stands for 4: .* multiplied by 4", each) for each in four.remarks
    )
    assert stand_for_others(one) == ""


def test_the_answer_says_which_log_sets_no_file_is_of(folder) -> None:
    plan = make_plan(of_files(folder, "both.txt", sets=3, alike=True))
    told = basis_sentences(plan)
    assert any("The files are of 2 of 3 log sets; the others are taken" in each for each in told)
    assert plan.change.log_bytes_per_day == pytest.approx(3 * 1_440 * MIB)


@pytest.mark.parametrize(
    ("files", "sets"),
    [
        (("both.txt",), 2),
        (("sg0.txt", "sg1.txt"), 2),
        (("a.csv", "b.csv"), 2),
        (("sets.csv",), 2),
        (("a.csv",), 7),  # the mean database of seven
        (("total.csv",), 7),  # these do not tell
        (("server.csv",), 7),
        (("disk.csv",), 7),
    ],
)
def test_files_of_all_log_sets_are_taken_as_they_are(folder, files, sets) -> None:
    assert change(folder, *files, sets=sets).log_sets == sets
    told = change(folder, *files).log_bytes_per_day
    times = sets if files == ("a.csv",) else 1
    assert change(folder, *files, sets=sets).log_bytes_per_day == pytest.approx(times * told)


@pytest.mark.parametrize(
    ("files", "sets", "seen"),
    [
        (("both.txt",), 3, 2),
        (("sg0.txt", "sg1.txt"), 4, 2),
        (("a.csv", "b.csv"), 3, 2),
        (("sets.csv",), 4, 2),
        (("both.txt",), 1, 2),
        (("sets.csv",), 1, 2),
    ],
)
def test_files_of_another_number_are_refused(folder, files, sets, seen) -> None:
    with pytest.raises(BadInput, match=f"log_sets = {sets}, but the files are of {seen} log sets"):
        change(folder, *files, sets=sets)


def test_more_log_sets_than_declared_are_not_made_fewer(folder) -> None:
    with pytest.raises(BadInput, match="files are of 2 log sets") as caught:
        change(folder, "both.txt", sets=1, alike=True)
    assert "log_sets_taken" in str(caught.value.remedy)


def test_what_does_not_tell_its_log_sets_cannot_be_multiplied(folder) -> None:
    with pytest.raises(BadInput, match="do not tell how many log sets they are of"):
        change(folder, "disk.csv", sets=4, alike=True)
    with pytest.raises(BadOrganisation, match="nothing says to how many log sets"):
        of_files(folder, "sg0.txt", alike=True)


def test_an_idle_log_set_counts_as_seen(folder, tmp_path) -> None:
    idle = site_texts.listing_ls([BEGIN], base="E07")
    (tmp_path / "logs.txt").write_text((folder / "sg0.txt").read_text() + idle)
    curve = load_site(tmp_path / "logs.txt")
    assert (curve.log_sets, curve.seen_log_sets) == (1, 2)
    assert change(tmp_path, "logs.txt", sets=2).log_bytes_per_day == pytest.approx(1_440 * MIB)
