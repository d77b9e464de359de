r"""Performance counters: rates become bytes, whatever the country, and nothing is guessed."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from simulator.plan import site_counter_names
from simulator.plan.site_counter_catalogue import Role
from simulator.plan.site_counter_names import choose_columns
from simulator.plan.site_files import load_site
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_values import NumberEvidence, find_date, number, whole_number
from tests.plan.site_texts import BEGIN, counter_csv

LOGS = r"\\MBX1\MSExchange Database ==> Instances(SG1)\Log Bytes Write/sec"
DISK = r"\\MBX1\LogicalDisk(E:)\Disk Write Bytes/sec"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def load(tmp_path):
    def write_and_load(text, **options):
        path = tmp_path / "counters.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_site(path, SiteOptions(**options))

    return write_and_load


def minutes(count: int) -> list[datetime]:
    return [BEGIN + MINUTE * at for at in range(count)]


@given(
    st.lists(st.floats(0, 1e8), min_size=3, max_size=40).filter(lambda x: sum(x) > 1),
    st.sampled_from([(",", "."), (";", ","), ("\t", "."), (",", ",")]),
)
def test_a_curve_comes_back_from_counters(tmp_path_factory, rates, marks) -> None:
    delimiter, decimal = marks
    path = tmp_path_factory.mktemp("counters") / "c.csv"
    values = [None, *rates]
    path.write_text(counter_csv(minutes(len(values)), {LOGS: values}, delimiter, decimal))
    curve = load_site(path)
    assert curve.grid.begins_at == BEGIN
    assert curve.log_bytes == pytest.approx(np.array(rates) * 60, rel=1e-9, abs=1e-3)


def test_columns_are_picked_without_counting_twice(load) -> None:
    header = ["(PDH-CSV 4.0) (x)(0)"] + [
        rf"\\MBX1\{name}"
        for name in (
            r"MSExchange Database(Information Store)\Log Bytes Write/sec",
            r"MSExchange Database ==> Instances(_Total)\Log Bytes Write/sec",
            r"MSExchange Database ==> Instances(SG1)\Log Bytes Write/sec",
            r"MSExchange Database ==> Instances(SG2)\Log Bytes Write/sec",
            r"LogicalDisk(_Total)\Disk Write Bytes/sec",
            r"PhysicalDisk(0 C:)\Disk Write Bytes/sec",
            r"LogicalDisk(E:)\Disk Write Bytes/sec",
        )
    ]
    chosen = choose_columns(header, SiteOptions(), "c.csv")
    assert chosen.columns == ((3, Role.LOG_BYTES), (4, Role.LOG_BYTES))
    assert chosen.log_sets == 2
    without = [*header[:1], *header[5:]]
    assert choose_columns(without, SiteOptions(), "c.csv").columns == ((3, Role.WRITTEN_BYTES),)
    two = choose_columns(
        header, SiteOptions(log_counters=("sg1)",), database_counters=("logicaldisk(e",)), "c.csv"
    )
    assert two.columns == ((3, Role.LOG_BYTES), (7, Role.DATABASE_BYTES))
    with pytest.raises(BadInput, match="no column's name holds 'F:'"):
        choose_columns(header, SiteOptions(database_counters=("F:",)), "c.csv")
    with pytest.raises(BadInput, match="both for logs and for pages"):
        choose_columns(
            header, SiteOptions(log_counters=("E:",), database_counters=("E:",)), "c.csv"
        )


def test_without_the_care_for_totals_bytes_count_twice(load, monkeypatch) -> None:
    total = LOGS.replace("SG1", "_Total")
    text = counter_csv(minutes(4), {LOGS: [10.0] * 4, total: [10.0] * 4})
    assert load(text).log_bytes == pytest.approx([600.0] * 3)
    monkeypatch.setattr(site_counter_names, "_parts_only", lambda places, names: places)
    assert load(text).log_bytes == pytest.approx([1200.0] * 3)


def test_pages_are_measured_where_columns_are_named(load) -> None:
    text = counter_csv(minutes(4), {LOGS: [None, 1e3, 1e3, 1e3], DISK: [5e3] * 4})
    curve = load(text, database_counters=("E:",))
    assert curve.log_bytes == pytest.approx([6e4] * 3)
    assert curve.database_bytes == pytest.approx([3e5] * 3)
    assert any("not used" in remark for remark in load(text).remarks)
    whole = load(counter_csv(minutes(4), {DISK: [5e3] * 4}), log_share_of_writes=0.25)
    assert whole.divided_log_share == 0.25 and load(text).divided_log_share is None
    assert whole.log_bytes == pytest.approx([7.5e4] * 3)
    assert whole.written_bytes == pytest.approx([3e5] * 3)


def test_names_of_other_languages_and_names_given(load) -> None:
    german = r"\\MBX1\Logischer Datenträger(E:)\Bytes geschrieben/s"
    text = counter_csv(minutes(3), {german: [1.5] * 3}, ";", ",", "%d.%m.%Y %H:%M:%S")
    assert load(text.encode("cp1252")).written_bytes == pytest.approx([90.0] * 2)
    polish = r"\\MBX1\Dysk logiczny(E:)\Bajty zapisu/s"
    text = counter_csv(minutes(3), {polish: [1.5] * 3})
    with pytest.raises(BadInput, match="none of the 1 columns") as caught:
        load(text)
    assert "log_counters" in caught.value.remedy
    assert load(text, log_counters=("Bajty",)).log_bytes == pytest.approx([90.0] * 2)


def test_operations_need_their_size(load) -> None:
    name = r"\\MBX1\LogicalDisk(E:)\Disk Writes/sec"
    text = counter_csv(minutes(3), {name: [2.5] * 3})
    with pytest.raises(BadInput, match="no column is known to be their bytes"):
        load(text)
    assert load(text, bytes_per_write=4096).written_bytes == pytest.approx([2.5 * 60 * 4096] * 2)
    pages = LOGS.replace("Log Bytes Write/sec", "I/O Database Writes/sec")
    text = counter_csv(minutes(3), {LOGS: [1.0] * 3, pages: [2.5] * 3})
    with pytest.raises(BadInput, match="but not their bytes"):
        load(text, database_counters=("I/O Database Writes",))
    curve = load(text, database_counters=("I/O Database Writes",), bytes_per_write=8192)
    assert curve.log_bytes == pytest.approx([60.0] * 2)
    assert curve.database_bytes == pytest.approx([2.5 * 60 * 8192] * 2)
    assert any("8,192 bytes, as given" in remark for remark in curve.remarks)


def test_logs_that_are_counted_from_the_start(load) -> None:
    name = r"\\MBX1\MSExchange Database ==> Instances(SG1)\Log Files Generated"
    text = counter_csv(minutes(6), {name: [10, 12, None, 16, 3, 4]})
    curve = load(text, log_file_bytes=100)
    assert curve.log_bytes == pytest.approx([200, 200, 200, 300, 100])
    assert any("began anew 1 times" in remark for remark in curve.remarks)


def test_missing_and_absurd_values_are_filled_and_told(load) -> None:
    values = [10.0] * 30
    values[5], values[9], values[12] = None, -1.0, 9e99
    curve = load(counter_csv(minutes(30), {LOGS: values}))
    assert curve.log_bytes == pytest.approx([600.0] * 29)
    text = " ".join(curve.remarks)
    assert "1 values are blank" in text
    assert "1 values are -1: no sample, and were left out" in text
    assert "1 value that cannot be was left out: line 14 has 9e+99" in text
    [warning] = curve.warnings
    _path, _, warning = warning.partition("counters.csv: ")
    assert "line 14 has 9e+99" in warning and "-1" not in warning
    assert "10 % of the time has no samples" in text
    with pytest.raises(BadInput, match="no value at all"):
        load(counter_csv(minutes(5), {LOGS: [None] * 5}))


def test_a_gap_is_filled_from_beside_it_or_refused(load) -> None:
    times = minutes(60) + [BEGIN + MINUTE * at for at in range(70, 130)]
    values = [None] + [10.0] * 59 + [30.0] * 60
    curve = load(counter_csv(times, {LOGS: values}))
    assert curve.log_bytes[:59] == pytest.approx([600.0] * 59)
    assert curve.log_bytes[59:70] == pytest.approx([1200.0] * 11)
    assert any("2026-11-02 00:59:00 to 2026-11-02 01:10:00" in each for each in curve.remarks)
    with pytest.raises(BadInput, match="has no samples"):
        load(counter_csv(times, {LOGS: values}), most_missing_share=0.05)


def test_an_hour_that_comes_twice_is_averaged(load) -> None:
    times = minutes(180) + [BEGIN + MINUTE * at for at in range(120, 240)]
    values = [10.0] * 180 + [30.0] * 120
    curve = load(counter_csv(times, {LOGS: values}))
    assert curve.log_bytes[60] == pytest.approx(600.0)
    assert curve.log_bytes[150] == pytest.approx(1200.0)
    assert curve.log_bytes[200] == pytest.approx(1800.0)
    assert any("goes back 1 times" in remark for remark in curve.remarks)


def test_samples_with_one_time_count_once(load) -> None:
    times = minutes(10)
    text = counter_csv([*times[:5], times[4], *times[5:]], {LOGS: [10.0] * 11})
    curve = load(text)
    assert curve.log_bytes == pytest.approx([600.0] * 9)
    assert any("have the time of the one before" in remark for remark in curve.remarks)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["1.234", "5.678", "9.012"], "may be a fraction or thousands"),
        (["1,234", "5,678", "9,012"], "may be a fraction or thousands"),
        (["0.5", "0,5", "1"], "a decimal comma"),
        (["1", "many", "2"], "is no number"),
        (["1", "0x12", "2"], "is no number"),
    ],
)
def test_values_with_two_meanings_are_refused(load, values, reason) -> None:
    rows = "".join(
        f'"{time:%m/%d/%Y %H:%M:%S.000}","{value}"\n'
        for time, value in zip(minutes(3), values, strict=True)
    )
    text = f'"(PDH-CSV 4.0) (x)(0)","{LOGS}"\n{rows}'
    with pytest.raises(BadInput, match=reason) as caught:
        load(text)
    assert caught.value.line in (2, 3)
    assert caught.value.remedy
    if "thousands" in reason:
        wholes = load(text, decimal_mark="," if "." in values[0] else ".")
        assert wholes.log_bytes == pytest.approx([5678 * 60, 9012 * 60])


def test_a_decimal_comma_between_commas_is_named(load) -> None:
    text = f'"(PDH-CSV 4.0) (x)(0)","{LOGS}"\n11/02/2026 00:00:00.000,1,5\n'
    with pytest.raises(BadInput, match="decimal commas stand between commas"):
        load(text)


def test_one_value_tells_for_all(load) -> None:
    evidence = NumberEvidence()
    for line, value in enumerate(["1.234", "5.678", "1.234.567"], 2):
        evidence.note(value, line)
    assert evidence.mark("auto", "x") == ","
    assert number("1.234", ",") == 1234.0
    assert number("1.234,5", ",") == 1234.5
    assert number("1e3", ".") == 1000.0
    assert number("", ".") is None
    assert whole_number("1'048'576") == 1_048_576
    assert whole_number("1.048.57") is None


def test_times_of_the_tools_have_the_month_first(load) -> None:
    times = [datetime(2026, 3, 4, 10, at) for at in range(3)]
    assert load(counter_csv(times, {LOGS: [1.0] * 3})).grid.begins_at == times[0]
    resaved = counter_csv(times, {LOGS: [1.0] * 3}, form="%d/%m/%Y %H:%M")
    with pytest.raises(BadInput, match="either number may be the month"):
        load(resaved)
    assert load(resaved, day_order="day first").grid.begins_at == times[0]


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("11/02/2026 12:05 AM", (0, 5, 0, 0)),
        ("2026-11-02T23:05:06.5Z", (23, 5, 6, 500_000)),
        ("02.11.2026 09:05:06", (9, 5, 6, 0)),
        ("11/2/2026 1:05 p.m.", (13, 5, 0, 0)),
    ],
)
def test_clocks(text, clock) -> None:
    assert find_date(text).clock == clock


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'"(PDH-CSV 4.0) (x)(0)","{LOGS}"\n', "has 0 samples"),
        (f'"(PDH-CSV 4.0) (x)(0)","{LOGS}"\n"soon","1"\n', "no date with a time"),
        (f'"(PDH-CSV 4.0) (x)(0)","{LOGS}"\n"11/02/2026 00:00:00.000"\n', "the header 2"),
        ('"(PDH-CSV 4.0) (x)(0)"\n', "names no counters"),
        (counter_csv([BEGIN] * 3, {LOGS: [1.0] * 3}), "one time"),
        (counter_csv(minutes(3), {LOGS: [0.0] * 3}), "nothing was written"),
    ],
)
def test_what_is_no_counter_log_is_refused(load, text, reason) -> None:
    with pytest.raises(BadInput, match=reason):
        load(text)


def test_messages_of_the_tool_are_skipped_and_counted(load) -> None:
    text = counter_csv(minutes(3), {LOGS: [1.0] * 3}) + "Exiting, please wait...\n"
    assert any("1 lines are no samples" in remark for remark in load(text).remarks)


@pytest.mark.parametrize("value", [-5.0, float("nan"), 1e300])
def test_a_value_that_cannot_be_is_named(load, value: float) -> None:
    values: list[float | None] = [10.0] * 30
    values[7] = value
    curve = load(counter_csv(minutes(30), {LOGS: values}))
    [warning] = curve.warnings
    assert warning in curve.remarks and f"line 9 has {value}" in warning
    assert curve.log_bytes == pytest.approx([600.0] * 29)
    assert load(counter_csv(minutes(30), {LOGS: [10.0] * 30})).warnings == ()


def test_many_values_that_cannot_be_are_counted(load) -> None:
    values: list[float | None] = [10.0] * 60
    values[10:18] = [-5.0] * 8
    [warning] = load(counter_csv(minutes(60), {LOGS: values})).warnings
    assert "8 values that cannot be were left out: line 12 has -5.0, " in warning
    assert warning.endswith(", and 3 more")


def test_too_short_a_log_is_refused_unless_it_is_accepted(load) -> None:
    text = counter_csv(minutes(2), {LOGS: [10.0] * 2})
    with pytest.raises(BadInput, match="2 samples cover 1 min: too little for a plan") as refused:
        load(text, least_measured_seconds=3_600.0)
    assert "least_measured" in str(refused.value.remedy)
    assert load(text, least_measured_seconds=0.0).log_bytes.sum() > 0  # the safeguard off


def test_rows_from_the_latest_to_the_earliest_are_refused(load) -> None:
    lines = counter_csv(minutes(9), {LOGS: [10.0] * 9}).splitlines()
    with pytest.raises(BadInput, match="the times go backwards") as refused:
        load("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert "Sort the rows by time" in str(refused.value.remedy)
