"""Whatever a path holds: a curve, or a refusal that says what to do."""

from __future__ import annotations

import gzip
import random
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replicator.errors import BadInput
from simulator.exchange.diurnal import WeekCurve
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DEFAULT_BEGIN, TimeGrid
from simulator.plan.mail_change import working_days
from simulator.plan.site_files import SiteKind, kind_of, load_site
from simulator.plan.site_options import SiteOptions, profile_ratios
from simulator.plan.site_weeks import extended, fitted_week
from tests.plan.site_texts import BEGIN, counter_csv, listing_csv, listing_dir, listing_ls

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).with_name("data")
HOURS = re.search(
    r"```csv\n(.*?)```", (ROOT / "docs/mail-load.md").read_text(encoding="utf-8"), re.DOTALL
)[1]
TIMES = [BEGIN + timedelta(hours=at) for at in range(12)]
COUNTERS = counter_csv(TIMES, {r"\\A\LogicalDisk(E:)\Disk Write Bytes/sec": [1.5] * 12})
FEATURES = "trace,index,ts,write_io_request_size_sum\na,0,1,5\n"
BLKPARSE = "259,2 0 1 0.000000000 4020 Q WS 282624 + 8 [java]\n"
GOOD = {
    SiteKind.LOG_LISTING: listing_dir(TIMES, form="%d.%m.%Y  %H:%M", mark="."),
    SiteKind.HOURLY_LOGS: HOURS,
    SiteKind.COUNTERS: COUNTERS,
    SiteKind.FEATURES: FEATURES,
    SiteKind.VSCSI: "version,time,op,size,lbn\n1,5,2a,512,9\n",
    SiteKind.ETW: (DATA / "exchange-2007-etw-excerpt.csv").read_text(),
    SiteKind.MSR: (DATA / "msr-cambridge-excerpt.csv").read_text(),
    SiteKind.BLKPARSE: BLKPARSE,
    SiteKind.MQSIM: "5 0 8 8 0\n",
}


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_is_recognised_by_its_content(tmp_path, kind) -> None:
    path = tmp_path / "file"
    path.write_text(GOOD[kind])
    assert kind_of(path) is kind
    assert load_site(path).written_bytes.sum() > 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"PK\x03\x04abc", "a workbook or an archive"),
        (b"\xfd7zXZ\x00abc", "compressed with xz"),
        (b"\x1f\x8bnot gzip", "damaged or cut short"),
        (bytes(range(256)) * 9, "no text"),
        (b"Dear planner\n", "nothing known begins with 'Dear planner'"),
        (b'"Timestamp","Value"\n1,2\n', "nothing known"),
    ],
)
def test_what_is_nothing_known_is_refused_with_a_remedy(tmp_path, content, reason) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=reason) as caught:
        load_site(path)
    assert caught.value.remedy
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", GOOD)
def test_packed_files_are_read_or_refused_by_name(tmp_path, kind) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(GOOD[kind].encode()))
    if kind in (SiteKind.VSCSI, SiteKind.HOURLY_LOGS):
        with pytest.raises(BadInput, match="packed") as caught:
            load_site(path)
        assert "gzip -d" in caught.value.remedy
    else:
        assert load_site(path).written_bytes.sum() > 0
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(BadInput, match="damaged or cut short"):
            load_site(path)


def test_places_that_hold_no_file(tmp_path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_site(tmp_path / "missing")
    with pytest.raises(BadInput, match="none of the 0 entries"):
        load_site(tmp_path)
    (tmp_path / "e0000000001.log").write_bytes(bytes(70_000))
    with pytest.raises(BadInput, match="it is one log file"):
        load_site(tmp_path / "e0000000001.log")
    (tmp_path / "x.blg").write_bytes(bytes(range(256)))
    with pytest.raises(BadInput, match="binary counter log") as caught:
        load_site(tmp_path / "x.blg")
    assert "relog" in caught.value.remedy


SEEDS = [*GOOD.values(), listing_ls(TIMES), listing_csv(TIMES, delimiter=";")]


def outcome(path: Path, content: bytes) -> None:
    """A curve of numbers, or a refusal that names the file and says what to do."""
    path.write_bytes(content)
    try:
        curve = load_site(path, SiteOptions(step_seconds=3_600.0))
    except BadInput as error:
        assert error.remedy
        assert error.path == str(path)
    else:
        assert np.isfinite(curve.written_bytes).all()
        assert curve.written_bytes.sum() > 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=400),
        st.text('0123456789,;"\\n .:/-+eE\\\\()log', max_size=400).map(str.encode),
    )
)
def test_any_bytes_are_a_curve_or_a_refusal(tmp_path, content) -> None:
    outcome(tmp_path / "file", content)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_damaged_files_are_a_curve_or_a_refusal(tmp_path, seed) -> None:
    """Bytes changed, cut out, doubled and moved, by a draw that is the same in each run."""
    rng = random.Random(seed)
    whole = SEEDS[seed].encode()
    pool = [b",", b'"', b"\n", b"\0", b"9" * 30, b"-", b"1e999", b"nan", b"\xff", b"0x", b";", b" "]
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(content) + 1)
            length = rng.choice((0, 1, 1, 2, 8, 40))
            new = rng.choice((rng.choice(pool), bytes([rng.randrange(256)]), b"", whole[:length]))
            content[at : at + length] = new
        outcome(tmp_path / "file", bytes(content))


# -- hours -------------------------------------------------------------------------------------


def test_hourly_statistics_give_volume_and_shape(tmp_path) -> None:
    path = tmp_path / "DB01-Analyzed.csv"
    path.write_text(HOURS)
    curve = load_site(path, SiteOptions(step_seconds=3_600.0, log_file_bytes=1 << 20))
    # 2,400 logs in 86,400 s of sampling: 100 in the hour that each sample covers.
    assert curve.log_bytes[9] == pytest.approx(100 * (1 << 20))
    assert curve.log_bytes.sum() == pytest.approx(1_000 * (1 << 20))
    assert curve.grid.begins_at == DEFAULT_BEGIN
    assert any("mean day" in remark for remark in curve.remarks)


# -- longer than known ---------------------------------------------------------------------------


def flat(steps: int, step_seconds: float = 3_600.0) -> ChangeCurve:
    logs = np.arange(1.0, steps + 1)
    return ChangeCurve(TimeGrid(steps, DEFAULT_BEGIN, step_seconds), logs, 2 * logs, logs / 2)


def test_whole_weeks_are_repeated() -> None:
    curve = flat(24 * 9)
    longer = extended(curve, 20)
    assert longer.grid.steps == 480
    assert (longer.log_bytes == np.resize(curve.log_bytes[:168], 480)).all()
    assert any("whole weeks repeated" in remark for remark in longer.remarks)
    assert extended(curve, 2).log_bytes.tolist() == curve.log_bytes[:48].tolist()
    assert "time of day" in extended(flat(5), 2).remarks[-1]


def test_a_week_that_is_fitted_gives_its_curve_back() -> None:
    week = WeekCurve(days=(1.0, 1.0, 1.0, 1.0, 1.0, 0.4, 0.2))
    grid = TimeGrid.of_days(14, step_seconds=1_800.0)
    logs = working_days(grid, week) * 1e9
    curve = ChangeCurve(grid, logs, logs * 2, logs / 4)
    found, working_day_bytes = fitted_week(curve)
    assert np.array(found.days) == pytest.approx(np.array(week.days))
    assert np.array(found.hours) / sum(found.hours) == pytest.approx(
        np.array(week.hours) / sum(week.hours)
    )
    assert working_day_bytes == pytest.approx(3e9)
    part = replace(
        curve,
        grid=replace(grid, steps=96),
        log_bytes=logs[:96],
        database_bytes=2 * logs[:96],
        message_bytes=logs[:96] / 4,
    )
    longer = extended(part, 14, weekend_share=0.3)
    assert longer.log_bytes[:240] == pytest.approx(logs[:240], rel=1e-6)
    saturday = slice(240, 288)
    assert longer.log_bytes[saturday].sum() == pytest.approx(0.3e9, rel=1e-6)
    assert longer.database_bytes.sum() == pytest.approx(2 * longer.log_bytes.sum())
    with pytest.raises(ValueError, match="a day or more"):
        extended(flat(5), 9, "fit")


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"step_seconds": 0.0},
        {"database_bytes_per_log_byte": -1.0},
        {"bytes_per_write": float("nan")},
        {"log_share_of_writes": 1.1},
        {"log_file_bytes": 0},
        {"utc_offset_hours": 25.0},
        {"most_missing_share": 2.0},
        {"most_bytes_per_second": float("inf")},
    ],
)
def test_options_that_cannot_be_are_refused(options) -> None:
    with pytest.raises(ValueError):
        SiteOptions(**options)


def test_ratios_are_those_of_the_profiles() -> None:
    assert profile_ratios("2010") == pytest.approx((2.25, 0.3662), rel=1e-3)
    assert 1.5 < profile_ratios("2013")[0] < profile_ratios("2003")[0] < 2.6
