"""Log files and listings of them: the volume comes back, and what cannot be right is refused."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from simulator.plan import site_logs
from simulator.plan.site_files import SiteKind, kind_of, load_site
from simulator.plan.site_log_times import longest_rise, trusted_times
from simulator.plan.site_options import SiteOptions, profile_ratios
from tests.plan.site_texts import (
    BEGIN,
    MIB,
    listing_csv,
    listing_dir,
    listing_ls,
    log_times,
)

SHARED = Path(__file__).resolve().parents[3] / "shared/reference/samples"
HOUR = timedelta(hours=1)


@pytest.fixture
def load(tmp_path):
    def write_and_load(text, **options):
        path = tmp_path / "logs.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_site(path, SiteOptions(**options))

    return write_and_load


def evenly(count: int, apart=HOUR, begin=BEGIN) -> list[datetime]:
    return [begin + apart * at for at in range(count)]


@given(
    st.lists(st.integers(0, 20 * MIB), min_size=3, max_size=60).filter(lambda x: sum(x) > 5 * MIB)
)
def test_a_curve_comes_back_from_a_listing_within_a_log(tmp_path_factory, amounts) -> None:
    path = tmp_path_factory.mktemp("listing") / "logs.txt"
    path.write_text(listing_ls(log_times(amounts, 600.0, MIB)))
    curve = load_site(path, SiteOptions(step_seconds=600.0))
    wanted, got = np.cumsum(amounts), np.cumsum(curve.log_bytes)
    assert curve.grid.begins_at == BEGIN
    assert np.abs(wanted[: len(got)] - got).max() <= MIB + 1
    assert sum(amounts) - MIB <= got[-1] <= sum(amounts) + 1e-3


TIMES = [BEGIN + timedelta(days=at // 4, hours=9 + at % 4, minutes=at) for at in range(60)]
FORMS = {
    "dir, American": listing_dir(TIMES),
    "dir, German": listing_dir(TIMES, form="%d.%m.%Y  %H:%M", mark="."),
    "dir, French": listing_dir(TIMES, form="%d/%m/%Y  %H:%M", mark="\u202f"),
    "dir, Swedish": listing_dir(TIMES, form="%Y-%m-%d  %H:%M", mark=" "),
    "ls": listing_ls(TIMES),
    "csv": listing_csv(TIMES),
    "csv, semicolons": listing_csv(TIMES, delimiter=";", form="%d.%m.%Y %H:%M:%S"),
    "csv, tabs": listing_csv(TIMES, delimiter="\t", form="%Y-%m-%dT%H:%M:%S"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_every_form_of_listing_says_the_same(load, form, encoding) -> None:
    curve = load(FORMS[form].replace("\n", "\r\n").encode(encoding))
    assert curve.log_bytes.sum() == pytest.approx(59 * MIB)
    assert curve.log_file_bytes == MIB
    first = curve.frame()["log_bytes"].first_valid_index()
    assert first == TIMES[0].replace(second=0)
    assert curve.grid.ends_at == TIMES[-1]
    assert curve.database_bytes.sum() == pytest.approx(59 * MIB * profile_ratios("2010")[0])


def test_the_size_of_logs_tells_the_version(load) -> None:
    curve = load(listing_ls(evenly(9), size=5 * MIB, digits=5))
    assert curve.log_file_bytes == 5 * MIB
    assert curve.database_bytes.sum() == pytest.approx(8 * 5 * MIB * profile_ratios("2003")[0])
    assert any("2003" in remark for remark in curve.remarks)
    given = load(listing_ls(evenly(9)), database_bytes_per_log_byte=0.5)
    assert given.database_bytes.sum() == pytest.approx(4 * MIB)


def test_dates_that_can_be_read_in_two_ways_are_refused_or_said(load) -> None:
    text = listing_dir(evenly(6, begin=datetime(2026, 4, 3)), form="%d/%m/%Y  %H:%M")
    with pytest.raises(BadInput, match="either number may be the month") as caught:
        load(text)
    assert caught.value.line == 5
    assert "day_order" in caught.value.remedy
    assert load(text, day_order="day first").grid.begins_at == datetime(2026, 4, 3)
    assert load(text, day_order="month first").grid.begins_at == datetime(2026, 3, 4)
    both = listing_dir([datetime(2026, 4, 13), datetime(2026, 4, 14)], form="%d/%m/%Y  %H:%M")
    with pytest.raises(BadInput, match="month"):
        load(both + listing_dir([datetime(2026, 4, 15)], first=3, form="%m/%d/%Y  %H:%M"))


def test_dates_whose_order_the_generations_tell(load) -> None:
    """From 30 April to 2 May: with the month first time would go backwards."""
    times = [datetime(2026, 4, 11) + HOUR * 24 * at for at in (0, 20, 21, 22)]
    text = listing_dir([times[0], *times[2:]], form="%d/%m/%Y  %H:%M")
    curve = load(text)
    assert curve.grid.begins_at == times[0]


def test_missing_generations_are_counted_and_named(load) -> None:
    times = evenly(100)
    lines = listing_ls(times).splitlines(keepends=True)
    del lines[41:51]
    curve = load("".join(lines))
    assert curve.log_bytes.sum() == pytest.approx(99 * MIB)
    [remark] = [each for each in curve.remarks if "missing" in each]
    assert "10 logs are missing" in remark
    assert "0x29 to 0x32 between 2026-11-03 15:00:00 and 2026-11-04 02:00:00" in remark
    with pytest.raises(BadInput, match="0x29 to 0x32"):
        load("".join(lines), bridge_gaps=False)


def test_more_gap_than_logs_is_refused_unless_accepted(load) -> None:
    lines = listing_ls(evenly(100)).splitlines(keepends=True)
    del lines[11:91]
    with pytest.raises(BadInput, match=r"8\d % of the time") as caught:
        load("".join(lines))
    assert "most_missing_share" in caught.value.remedy
    assert load("".join(lines), most_missing_share=1.0).log_bytes.sum() == pytest.approx(99 * MIB)


@pytest.mark.parametrize("shift", [timedelta(), timedelta(seconds=17), timedelta(minutes=-20)])
def test_an_hour_that_comes_twice_makes_no_burst(load, shift) -> None:
    """A log each minute; at 03:00 the clock goes back to 02:00."""
    times = evenly(180, timedelta(minutes=1))
    times += evenly(600, timedelta(minutes=1), BEGIN + 2 * HOUR + shift)
    curve = load(listing_ls(times))
    assert curve.log_bytes.sum() == pytest.approx(779 * MIB)
    assert 1.5 * MIB < curve.log_bytes.max() < 2.2 * MIB
    assert any("contradict the order" in remark for remark in curve.remarks)


def test_without_the_care_for_both_passes_there_is_a_burst(load, monkeypatch) -> None:
    times = evenly(180, timedelta(minutes=1))
    times += evenly(600, timedelta(minutes=1), BEGIN + 2 * HOUR)
    monkeypatch.setattr(site_logs, "trusted_times", lambda times: (longest_rise(times), []))
    assert load(listing_ls(times)).log_bytes.max() > 50 * MIB


def test_a_single_wrong_time_is_bridged(load) -> None:
    times = evenly(50)
    times[20] = datetime(2031, 1, 1)
    times[30] = datetime(2020, 1, 1)
    curve = load(listing_ls(times))
    assert curve.log_bytes.sum() == pytest.approx(49 * MIB)
    assert curve.log_bytes.max() == pytest.approx(MIB / 60)
    times = evenly(50)[::-1]
    with pytest.raises(BadInput, match="contradict the order"):
        load(listing_ls(times))


@given(st.lists(st.integers(0, 30), max_size=40))
def test_the_longest_rise_is_a_longest_rise(times) -> None:
    rise = longest_rise(times)
    assert [times[at] for at in rise] == sorted(times[at] for at in rise)
    best = [0] * len(times)
    for at, time in enumerate(times):
        best[at] = 1 + max((best[b] for b in range(at) if times[b] <= time), default=0)
    assert len(rise) == max(best, default=0)
    keep, _ = trusted_times(times)
    assert set(keep) <= set(rise)


def test_two_sets_are_added_for_the_time_both_cover(load) -> None:
    text = listing_ls(evenly(49)) + listing_ls(
        evenly(48, HOUR, BEGIN + HOUR / 2), base="E01", first=7
    )
    curve = load(text)
    assert curve.log_sets == 2
    assert curve.grid.begins_at == BEGIN + HOUR / 2
    assert curve.log_bytes.sum() == pytest.approx(2 * 47 * MIB)
    assert load(text, log_sets_taken=("E01",)).log_bytes.sum() == pytest.approx(47 * MIB)
    with pytest.raises(BadInput, match="no log set E07") as caught:
        load(text, log_sets_taken=("E07",))
    assert "E00, E01" in caught.value.remedy
    later = listing_ls(evenly(48, HOUR, BEGIN + 40 * HOUR), base="E01")
    with pytest.raises(BadInput, match="hardly cover the same time"):
        load(listing_ls(evenly(49)) + later)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-rw-r--r-- 1 root root 1048576 Nov  1 10:00 E0000000001.log\n", "no date with a year"),
        (listing_ls([BEGIN] * 5), "copied without their times"),
        (listing_ls([BEGIN]), "too few"),
        (listing_ls([BEGIN, BEGIN + HOUR]) + listing_ls([BEGIN + HOUR]), "listed twice"),
        ("Name,Length,LastWriteTime\nE0000000001.log,1 MB,2026-11-01 10:00\n", "number of bytes"),
        ("Name,Length,LastWriteTime\nE0000000001.log,1024,2026-11-01 10:00\n", "so small"),
        ("Name,Length,LastWriteTime\nE0000000001.log,1\n", "2 fields"),
        ("Name,LastWriteTime\nE0000000001.log,yesterday\n", "no date and time"),
        ("2026-13-41 10:00 1048576 E0000000001.log\n", "no such date"),
        ("E0000000001.log 2026-11-01 10:00 and 2026-11-01 11:00\n", "two times"),
    ],
)
def test_what_cannot_be_is_refused(load, text, reason) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        load(text)
    assert caught.value.remedy


# -- real files --------------------------------------------------------------------------------


def test_a_folder_of_files_without_headers_has_their_times(tmp_path) -> None:
    for at, time in enumerate(evenly(5)):
        path = tmp_path / f"e00{at + 1:08x}.log"
        path.write_bytes(bytes(1024))
        seconds = time.replace(tzinfo=UTC).timestamp()
        os.utime(path, (seconds, seconds))
    (tmp_path / "E00.chk").touch()
    assert kind_of(tmp_path) is SiteKind.LOG_FOLDER
    curve = load_site(tmp_path, SiteOptions(utc_offset_hours=2))
    assert curve.log_bytes.sum() == 4 * 1024
    assert curve.grid.begins_at == BEGIN + 2 * HOUR
    assert any("5 of 5 headers could not be read" in remark for remark in curve.remarks)


def test_headers_are_preferred_to_times_of_copies(tmp_path) -> None:
    source = SHARED / "srum-win10-clean"
    if not source.is_dir():
        pytest.skip("needs ../shared")
    for path in source.glob("*.log"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    curve = load_site(tmp_path)
    assert curve.grid.begins_at == datetime(2022, 3, 10, 21, 10)
    assert curve.log_bytes.sum() == pytest.approx(7 * 65_536)
    assert any("creation times from headers" in remark for remark in curve.remarks)
    (tmp_path / "SRU00050.log").write_bytes(
        (SHARED / "srum-win10-dirty" / "SRU00050.log").read_bytes()
    )
    with pytest.raises(BadInput, match="two histories"):
        load_site(tmp_path)
