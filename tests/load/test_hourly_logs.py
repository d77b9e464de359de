"""A site's own statistics: read as the script writes them, refused where they cannot be right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from simulator.exchange.diurnal import DEFAULT_HOURS, week_of
from simulator.exchange.hourly_logs import load_hourly_shares

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mail-load.md"
GOOD = re.search(r"```csv\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


@pytest.fixture
def load(tmp_path):
    def write_and_load(content):
        path = tmp_path / "AllDatabases-Analyzed.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_hourly_shares(path)

    return write_and_load


def test_the_file_of_the_page_is_the_default_day(load) -> None:
    shares = load(GOOD)
    assert shares == pytest.approx([hour / 100 for hour in DEFAULT_HOURS])
    assert week_of(shares).peak_to_mean == pytest.approx(2.4)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"', ""),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "#TYPE System.Management.Automation.PSCustomObject\n" + text,
        lambda text: "\ufeff" + text,
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\n",
        lambda text: text.splitlines()[0] + "\n" + "\n".join(reversed(text.splitlines()[1:])),
    ],
    ids=["no quotes", "CRLF", "type line", "mark", "no last newline", "empty lines", "order"],
)
def test_what_does_not_matter_does_not_matter(load, change) -> None:
    assert load(change(GOOD)) == load(GOOD)


def for_calc(per: float) -> str:
    """The file as other copies of the script write it: shares of all logs, one column earlier."""
    lines = GOOD.replace('"', "").splitlines()
    names = lines[0].split(",")
    made = [",".join([*names[:6], "PercentDailyUsageForCalc", names[6]])]
    for line in lines[1:]:
        cells = line.split(",")
        made.append(",".join([*cells[:6], f"{float(cells[5]) / per:g}", cells[6]]))
    return "\n".join(made) + "\n"


@pytest.mark.parametrize("per", [100.0, 1.0], ids=["share", "percentage"])
def test_the_column_of_other_copies_of_the_script_is_read(load, per: float) -> None:
    assert load(for_calc(per)) == load(GOOD)
    wrong = for_calc(per).replace(f"20,2,{2 / per:g},", f"20,2,{3 / per:g},", 1)
    with pytest.raises(BadInput, match=r"hour 6: PercentDailyUsageForCalc is .* but logs make it"):
        load(wrong)
    with pytest.raises(BadInput, match="lacks the column 'PercentDailyUsagePer60Minutes'"):
        load(for_calc(per).replace("ForCalc", "Other"))


def test_an_hour_that_was_sampled_less_often_counts_by_its_rate(load) -> None:
    # Hour 9 was missed on 12 of 24 days: half the logs in half the seconds.
    lines = GOOD.splitlines()
    lines[10] = '"9","1200","43200","12","100","10","100","10"'
    logs, seconds = 24_000 - 1_200, 24 * 86_400 - 43_200
    for at, percent in enumerate(DEFAULT_HOURS):
        fields = lines[at + 1].split(",")
        told = percent * 240 / 86_400 * 3600 / (logs / seconds * 86_400) * 100
        lines[at + 1] = ",".join([*fields[:7], f'"{told:.2f}"'])
    assert load("\n".join(lines)) == pytest.approx([hour / 100 for hour in DEFAULT_HOURS])


def changed(line, old, new):
    lines = GOOD.splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    return "\n".join(lines) + "\n"


def without(line):
    lines = GOOD.splitlines()
    del lines[line - 1]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("content", "line", "told", "remedy"),
    [
        ("", 1, "the file is empty", "as the script wrote it"),
        (GOOD.encode("utf-16"), 1, "UTF-16", "Encoding ASCII"),
        (changed(1, "NumberOfSamples", "Samples"), 1, "column 'NumberOfSamples'", "as the script"),
        (changed(7, '"86400",', ""), 7, "has 7 fields, the header 8", "as the script"),
        (changed(7, '"240"', '"many"'), 7, "TotalLogsCreated is no number: 'many'", "as the"),
        (changed(11, '"10"', '"10,0"'), 11, "is no number: '10,0'", "decimal mark: 10.0"),
        (changed(7, '"240"', '"-240"'), 7, "cannot be -240", "as the script"),
        (changed(7, '"240"', '"nan"'), 7, "cannot be nan", "as the script"),
        (changed(7, '"5"', '"5.5"'), 7, "no hour", "as the script"),
        (changed(25, '"23"', '"24"'), 25, "there is no hour", "as the script"),
        (changed(7, '"5"', '"4"'), 7, "hour 4 stands twice", "as the script"),
        (changed(7, '"86400"', '"0"'), 7, "hour 5 was never sampled", "hourly job"),
        (changed(7, '"24"', '"0"'), 7, "hour 5 was never sampled", "hourly job"),
        (without(7), 7, "hour 5 is missing (23 of 24 are there)", "as the script"),
        (changed(11, '"2400"', '"2700"'), 11, "but logs and seconds make it 11.1", "as the"),
        (GOOD + "x" * 5000, 26, "far longer", "as the script"),
        (GOOD + "\n" * 2000, 1001, "far longer", "as the script"),
        (changed(7, '"5"', '"5'), 7, "no CSV", "as the script"),
    ],
)
def test_what_cannot_be_right_is_refused_with_file_and_line(
    load, content, line, told, remedy
) -> None:
    with pytest.raises(BadInput) as error:
        load(content)
    assert error.value.path.endswith("AllDatabases-Analyzed.csv")
    assert error.value.line == line
    assert told in error.value.message
    assert remedy in error.value.remedy


def test_a_store_that_made_no_logs_is_no_measure(load) -> None:
    rows = [f"{hour},0,86400,24,0,0,0,0" for hour in range(24)]
    with pytest.raises(BadInput, match="no log was created"):
        load("\n".join([GOOD.splitlines()[0], *rows]))


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read: No such file") as error:
        load_hourly_shares(tmp_path / "none.csv")
    assert "Check the name" in error.value.remedy


@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 20), st.binary(max_size=10)),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_in_the_file_it_is_read_or_refused(tmp_path_factory, changes) -> None:
    content = bytearray(GOOD.encode())
    for at, length, new in changes:
        content[at : at + length] = new
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes(content)
    try:
        shares = load_hourly_shares(path)
    except BadInput as error:
        assert error.line and error.remedy
    else:
        assert len(shares) == 24 and sum(shares) == pytest.approx(1)
