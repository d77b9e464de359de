r"""Columns that a part of a name asks for: written bytes alone, whatever else holds the name."""

from __future__ import annotations

import pytest

from replicator.errors import BadInput
from simulator.plan import site_counter_catalogue, site_counter_names
from simulator.plan.site_counter_catalogue import Role, known_role, parse_counter
from simulator.plan.site_counter_names import choose_columns
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


# -- names that are not English ------------------------------------------------------------------

GERMAN = r"\\MBX1\MSExchange-Datenbank  ==> Instanzen"
DATABASE = r"(Information Store/DB1)"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        (rf"{GERMAN}{DATABASE}\Protokoll: Schreiben Byte/Sek", Role.LOG_BYTES),
        (rf"{GERMAN}{DATABASE}\Generierte Protokolldateien", Role.LOG_FILES),
        (rf"{GERMAN}{DATABASE}\E/A: Protokollschreiboperationen/Sek", Role.LOG_WRITES),
        (r"\\MBX1\Datenbank(Information Store)\Protokoll: Geschriebene Bytes/Sek.", Role.LOG_BYTES),
        (r"\\MBX1\Logischer Datenträger(E:)\Bytes geschrieben/s", Role.WRITTEN_BYTES),
        (r"\\MBX1\Physikalischer Datenträger(1 E:)\Schreibvorgänge/s", Role.WRITES),
        (
            "\\\\MBX1\\MSExchange Database(Information Store)\\Записанных в журнал байтов/\u0441",
            Role.LOG_BYTES,
        ),
        (rf"{GERMAN}{DATABASE}\Protokoll: Generierte Bytes/Sek.", None),
        (rf"{GERMAN}(edgetransport/x)\Protokoll: Schreiben Byte/Sek", None),
    ],
)
def test_names_of_other_languages_are_known(name: str, role: Role | None) -> None:
    parsed = parse_counter(name)
    assert parsed is not None
    assert known_role(parsed) is role


def test_a_german_file_has_its_bytes_of_logs(tmp_path) -> None:
    """With decimal commas, in the code page of a German Windows."""
    columns = {
        rf"{GERMAN}{DATABASE}\Protokoll: Schreiben Byte/Sek": 5e4,
        r"\\MBX1\Logischer Datenträger(E:)\Schreibvorgänge/s": 12.0,
    }
    times = [BEGIN + MINUTE * at for at in range(61)]
    text = counter_csv(times, {name: [each] * 61 for name, each in columns.items()}, ",", ",")
    made = tmp_path / "week.csv"
    made.write_bytes(text.encode("cp1252"))
    assert load_site(made).log_bytes.sum() == pytest.approx(3_600 * 5e4)


def test_names_that_nobody_knows_are_listed_and_can_be_given() -> None:
    """Bytes of logs under a name of its own, beside operations of a disk."""
    names = [
        r"\\MBX1\MSExchange Database ==> Instanzen(SG1)\Protokoll-Bytes geschrieben/s",
        r"\\MBX1\MSExchange Database ==> Instanzen(SG2)\Protokoll-Bytes geschrieben/s",
        r"\\MBX1\Logischer Datenträger(E:)\Schreibvorgänge/s",
    ]
    with pytest.raises(BadInput, match="no column is known to be their bytes") as caught:
        choose_columns(["(PDH-CSV 4.0)", *names], SiteOptions(), "c.csv")
    told, remedy = str(caught.value), str(caught.value.remedy)
    assert r"Instanzen(SG1)\Protokoll-Bytes geschrieben/s" in told and "Schreibvorgänge/s" in told
    example = 'log_counters = ["Protokoll-Bytes geschrieben/s"]'
    assert 0 <= remedy.index(example) < remedy.index("gather") < remedy.index("bytes_per_write")
    given = SiteOptions(log_counters=("Protokoll-Bytes geschrieben/s",))
    found = choose_columns(["(PDH-CSV 4.0)", *names], given, "c.csv")
    assert [place for place, _ in found.columns] == [1, 2]
    assert found.seen_log_sets == 2


def test_where_nothing_is_known_the_columns_are_listed() -> None:
    many = [rf"\\MBX1\Dysk(E:)\Licznik {each}" for each in range(9)]
    bytes_read = r"\\MBX1\Dysk(E:)\Bytes gelesen/s"
    with pytest.raises(BadInput, match="none of the 10 columns") as caught:
        choose_columns(["(PDH-CSV 4.0)", bytes_read, *many], SiteOptions(), "c.csv")
    assert "Licznik 3" in str(caught.value) and "and 4 more" in str(caught.value)
    assert "gelesen" not in str(caught.value.remedy)  # no example of what is not written


def test_bytes_of_logs_that_are_not_known_are_told_beside_disks() -> None:
    own = r"\\MBX1\MSExchange Database ==> Instanzen(SG1)\Protokoll-Bytes geschrieben/s"
    names = [own, rf"{DISK}\Disk Write Bytes/sec"]
    found = choose_columns(["(PDH-CSV 4.0)", *names], SiteOptions(), "c.csv")
    assert found.roles == {Role.WRITTEN_BYTES}
    assert any("may be bytes of logs" in each and own in each for each in found.remarks)


# -- whose database it is ------------------------------------------------------------------------

INSTANCES = r"\\MBX1\MSExchange Database ==> Instances"


def chosen_logs(*instances: str) -> list[str]:
    names = [rf"{INSTANCES}({each})\Log Bytes Write/sec" for each in instances]
    found = choose_columns(["(PDH-CSV 4.0)", *names], SiteOptions(), "c.csv")
    return [instances[place - 1] for place, _ in found.columns]


def test_a_process_without_parts_counts_by_its_total() -> None:
    """From 2013 on each database is a process of its own, whose total is all that is gathered."""
    single = [f"Information Store - DB{each}/_Total" for each in (1, 2, 3, 4)]
    assert chosen_logs(*single, "_Total") == single
    assert chosen_logs("Information Store/_Total", "Information Store/DB1", "_Total") == [
        "Information Store/DB1"
    ]
    assert chosen_logs("_Total") == ["_Total"]


def test_databases_of_other_programs_are_left_out() -> None:
    store, queue = "Information Store/_Total", "edgetransport/Transport Mail Database"
    assert chosen_logs(store, queue) == [store]
    names = [rf"{INSTANCES}({each})\Log Bytes Write/sec" for each in (store, queue)]
    remarks = choose_columns(["(PDH-CSV 4.0)", *names], SiteOptions(), "c.csv").remarks
    assert any("no mail store" in each and queue in each for each in remarks)


def test_without_the_care_the_queue_would_stand_for_the_store(monkeypatch) -> None:
    """The safeguard switched off: totals give way to any part, and any program is taken."""
    monkeypatch.setattr(site_counter_catalogue, "_OTHER_PROGRAMS", ("none of them",))
    monkeypatch.setattr(site_counter_names.CounterName, "process", "")
    store, queue = "Information Store/_Total", "edgetransport/Transport Mail Database"
    assert chosen_logs(store, queue) == [queue]


@pytest.mark.parametrize(
    ("instances", "seen"),
    [
        (("SG1", "SG2"), 2),
        (("Information Store - DB1/_Total",), 1),
        (("_Total",), None),
        (("Information Store/_Total",), None),
    ],
)
def test_log_sets_are_seen_where_columns_tell_them_apart(instances, seen) -> None:
    names = [rf"{INSTANCES}({each})\Log Bytes Write/sec" for each in instances]
    assert choose_columns(["(PDH-CSV 4.0)", *names], SiteOptions(), "c.csv").seen_log_sets == seen
