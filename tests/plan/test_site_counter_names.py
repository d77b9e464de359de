r"""Columns that a part of a name asks for: written bytes alone, whatever else holds the name."""

from __future__ import annotations

import pytest

from replicator.errors import BadInput
from simulator.plan import site_counter_names
from simulator.plan.site_counter_names import Role, choose_columns
from simulator.plan.site_files import load_site
from simulator.plan.site_options import SiteOptions
from tests.plan.site_texts import BEGIN, counter_csv
from tests.plan.test_site_counters import LOGS, MINUTE

DISK = r"\\MBX1\LogicalDisk(E:)"
WRITTEN = {
    LOGS: 5e4,
    rf"{DISK}\Disk Write Bytes/sec": 1e5,
    rf"{DISK}\Disk Read Bytes/sec": 3e5,
    rf"{DISK}\Disk Bytes/sec": 4e5,
    rf"{DISK}\Disk Writes/sec": 12.0,
    rf"{DISK}\Current Disk Queue Length": 2.0,
    rf"{DISK}\Free Megabytes": 123456.0,
}


def header(*names: str) -> list[str]:
    return ["(PDH-CSV 4.0) (x)(0)", LOGS, *names]


def chosen_pages(*names: str, part: str = "LogicalDisk(E:)", **options: float) -> list[str]:
    given = SiteOptions(database_counters=(part,), **options)
    found = choose_columns(header(*names), given, "c.csv")
    return [header(*names)[place] for place, role in found.columns if role is not Role.LOG_BYTES]


@pytest.fixture
def path(tmp_path):
    times = [BEGIN + MINUTE * at for at in range(61)]
    made = tmp_path / "week.csv"
    made.write_text(counter_csv(times, {name: [each] * 61 for name, each in WRITTEN.items()}))
    return made


def test_of_a_disk_its_written_bytes_are_taken_alone(path) -> None:
    curve = load_site(path, SiteOptions(database_counters=("LogicalDisk(E:)",)))
    assert curve.database_bytes.sum() == pytest.approx(3_600 * 1e5)
    assert curve.log_bytes.sum() == pytest.approx(3_600 * 5e4)
    [taken] = [each for each in curve.remarks if each.startswith("columns as asked for")]
    assert "Disk Write Bytes/sec" in taken and "Read" not in taken
    [left] = [each for each in curve.remarks if "are left out" in each]
    assert "Disk Read Bytes/sec" in left and "Free Megabytes" in left and LOGS not in left
    assert curve.warnings == ()


def test_without_the_care_reads_and_free_space_would_be_added_up(path, monkeypatch) -> None:
    """The safeguard switched off."""
    monkeypatch.setattr(site_counter_names, "_PAGE_ROLES", ())
    monkeypatch.setattr(site_counter_names, "_unknown", lambda part, places, *_: places)
    options = SiteOptions(database_counters=("LogicalDisk(E:)",), bytes_per_write=1.0)
    assert load_site(path, options).database_bytes.sum() > 3_600 * 9e5


@pytest.mark.parametrize(
    "counter",
    [
        "Disk Read Bytes/sec",
        "Current Disk Queue Length",
        "Free Megabytes",
        "% Disk Time",
        "Avg. Disk Bytes/Write",
        "Bytes gelesen/s",
        "Freie Megabytes",
        "Lectures disque, octets/s",
        "Bytes de lectura de disco/s",
    ],
)
def test_what_is_not_written_is_refused(counter: str) -> None:
    with pytest.raises(BadInput, match="counts nothing that is written") as caught:
        chosen_pages(rf"{DISK}\{counter}")
    assert "database_counters" in str(caught.value.remedy)


def test_logs_are_no_pages() -> None:
    with pytest.raises(BadInput, match="counts bytes of logs a second"):
        chosen_pages(part="Log Bytes")


def test_reads_and_writes_together_are_a_warning() -> None:
    given = SiteOptions(database_counters=("Disk Bytes/sec",))
    found = choose_columns(header(rf"{DISK}\Disk Bytes/sec"), given, "c.csv")
    assert "reads are counted as if they were written" in found.warnings[0]


def test_columns_of_several_counters_that_nobody_knows_are_refused() -> None:
    polish = (r"\\MBX1\Dysk(E:)\Bajty zapisu/s", r"\\MBX1\Dysk(E:)\Bajty odczytu/s")
    with pytest.raises(BadInput, match="columns of 2 counters hold 'Dysk'"):
        chosen_pages(*polish, part="Dysk")
    assert chosen_pages(*polish, part="Bajty zapisu") == [polish[0]]


def test_totals_beside_their_parts_are_left_out() -> None:
    names = [
        rf"\\MBX1\{each}\Disk Write Bytes/sec"
        for each in ("LogicalDisk(_Total)", "LogicalDisk(E:)", "PhysicalDisk(1 E:)")
    ]
    assert chosen_pages(*names, part="Disk Write Bytes") == [names[1]]
    assert chosen_pages(*names, part="PhysicalDisk") == [names[2]]
    assert chosen_pages(*names, part="LogicalDisk(_Total)") == [names[0]]


def test_where_bytes_are_missing_operations_are_taken() -> None:
    names = (rf"{DISK}\Disk Writes/sec", rf"{DISK}\Disk Reads/sec")
    assert chosen_pages(*names, bytes_per_write=4_096.0) == [names[0]]
    with pytest.raises(BadInput, match="counts writes, but not their bytes"):
        chosen_pages(*names)
