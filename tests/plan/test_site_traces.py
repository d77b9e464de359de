"""I/O traces: every written byte lands in its step, and nothing else does."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from simulator.plan.site_files import SiteKind, kind_of, load_site
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_traces import read_feature_curves

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).with_name("data")
ETW = DATA / "exchange-2007-etw-excerpt.csv"
MSR = DATA / "msr-cambridge-excerpt.csv"
MQSIM = DATA / "tpcc-excerpt.trace"
VSCSI = ROOT / "scenarios/data/vscsi-excerpt.csv"
SHARED = ROOT.parent / "shared/reference/traces/cloudphysics"
FEATURES_HEADER = "trace,index,ts,write_io_request_size_sum\n"


@pytest.fixture
def load(tmp_path):
    def write_and_load(text, name="trace.txt", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_site(path, SiteOptions(**options))

    return write_and_load


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(1, 200), st.booleans()), min_size=1
    ).filter(lambda rows: any(row[2] for row in rows))
)
def test_each_write_is_in_its_step(tmp_path_factory, rows) -> None:
    path = tmp_path_factory.mktemp("trace") / "t.trace"
    path.write_text("".join(f"{at * 1_000_000_000} 0 8 {n} {0 if w else 1}\n" for at, n, w in rows))
    curve = load_site(path)
    wanted = np.zeros(curve.grid.steps)
    for at, sectors, writes in rows:
        wanted[at // 60] += 512 * sectors * writes
    assert curve.written_bytes == pytest.approx(wanted)


def test_the_excerpt_of_exchange_2007(load) -> None:
    assert kind_of(ETW) is SiteKind.ETW
    curve = load_site(ETW)
    assert curve.written_bytes.sum() == 0x10000
    assert any("1 DiskRead" in remark for remark in curve.remarks)
    text = ETW.read_text()
    with pytest.raises(BadInput, match="no write is among the 2 rows"):
        load(text, disks=("4",))
    # Later tools write a column more, and events that nobody knows.
    later = text.replace("ThreadID,", "ThreadID, CPU,").replace("6852,", "6852, 1,")
    later = later.replace("12260,", "12260, 0,") + "SomeEvent, 1, 2\n"
    assert load(later).written_bytes.sum() == 0x10000
    for wrong, reason in (
        (text.replace("0x00010000", "0x00zz0000"), "IOSize is no number"),
        (text.replace(" 183,       0,  Unknown", " 183"), "fields"),
        (text.replace("EndHeader", "Header"), "no line EndHeader"),
        (text.replace("IOSize", "Size"), "lacks the column iosize"),
        (text.replace("0x00010000", "0x10000000000"), "larger than any disk"),
    ):
        with pytest.raises(BadInput, match=reason) as caught:
            load(wrong)
        assert caught.value.line


def test_the_time_of_issue_counts(load) -> None:
    text = ETW.read_text().replace("    2664955,", "   60000100,")
    assert list(load(text).written_bytes) == [0x10000]  # 183 us before the minute is over
    late = text.replace("60000100", "60000200")
    assert list(load(late).written_bytes) == [0, 0x10000]


def test_files_of_exchange_2007_are_put_together_by_their_names(tmp_path) -> None:
    for name in ("12-12-2007.11-45-PM", "12-13-2007.12-00-AM"):
        (tmp_path / f"Exchange.{name}.trace.csv.gz").write_bytes(gzip.compress(ETW.read_bytes()))
    curve = load_site(tmp_path)
    assert curve.grid.begins_at == datetime(2007, 12, 12, 23, 45)
    assert np.flatnonzero(curve.written_bytes).tolist() == [0, 15]


def test_the_excerpt_of_msr_cambridge(load) -> None:
    curve = load_site(MSR, SiteOptions(utc_offset_hours=1))
    assert curve.grid.begins_at == datetime(2007, 2, 22, 18, 22)
    assert curve.written_bytes.sum() == 2048 + 1024 + 512 + 1024 + 1024 + 1024 + 4608
    only = load_site(MSR, SiteOptions(disks=("hm/0",)))
    assert only.written_bytes.sum() == 2048
    assert any("6 writes to other disks" in remark for remark in only.remarks)
    text = MSR.read_text()
    with pytest.raises(BadInput, match="is none of an MSR") as caught:
        load(text + "128166385295514663,hm\n")
    assert caught.value.line == 8
    with pytest.raises(BadInput, match="no time of this trace"):
        load(text + "228166385295514663,hm,0,Write,0,512,1\n")


def test_the_excerpt_of_mqsim(load) -> None:
    rows = [line.split() for line in MQSIM.read_text().splitlines()]
    writes = sum(512 * int(row[3]) for row in rows if row[4] == "0")
    assert load_site(MQSIM).written_bytes.sum() == writes
    with pytest.raises(BadInput, match="not five numbers"):
        load(MQSIM.read_text() + "1 2 3\n")
    with pytest.raises(BadInput, match="fractions"):
        load("1000 0 0 8 0\n1000.5 0 0 8 0\n")
    disksim = load("59999.5 0 0 8 0\n60000.5 0 0 8 0\n")
    assert list(disksim.written_bytes) == [4096, 4096]


BLKPARSE = """\
259,2    0        1     0.000000000  4020  Q  WS 282624 + 8 [java]
259,2    0        2     0.000001581  4020  G  WS 282624 + 8 [java]
259,2    0        3     0.000003650  4020  D  WS 282624 + 8 [java]
259,2    0        4     0.000009650     0  C  WS 282624 + 8 [0]
259,2    0        5    61.000009650     0  C   R 282624 + 8 [0]
259,2    0        6    61.000009650  4020  U   N [java] 1
259,2    0        7    61.000009650  4020  C FWS [java]
CPU0 (259,2):
 Reads Queued:           0,        0KiB
"""


def test_blkparse_counts_each_write_once(load) -> None:
    curve = load(BLKPARSE)
    assert list(curve.written_bytes) == [4096, 0]
    assert "writes are counted at their event C" in curve.remarks
    queued = "\n".join(BLKPARSE.splitlines()[:2]) + "\n"
    assert "writes are counted at their event Q" in load(queued).remarks
    with pytest.raises(BadInput, match="none of blkparse"):
        load(queued + "what is this\n")


def test_a_vscsi_trace_is_read_and_its_share_of_logs_said() -> None:
    curve = load_site(VSCSI, SiteOptions(log_share_of_writes=0.2))
    assert curve.written_bytes.sum() == pytest.approx(50.6e6, rel=1e-2)
    assert curve.log_bytes.sum() == pytest.approx(0.2 * curve.written_bytes.sum())
    assert any("20 % of the bytes are taken for logs, as given" in each for each in curve.remarks)
    assert curve.grid.steps == 12


def test_memory_does_not_grow_with_the_trace(tmp_path) -> None:
    """Rows are added up chunk by chunk, as they are read."""
    import simulator.plan.site_traces as traces

    path = tmp_path / "t.trace"
    path.write_text("".join(f"{at} 0 8 8 0\n" for at in range(5_000)))
    seen = []
    add = traces._Steps._add

    def counted(self, rows, shift):
        seen.append(len(rows))
        add(self, rows, shift)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces, "_CHUNK", 100)
        patch.setattr(traces._Steps, "_add", counted)
        load_site(path)
    assert max(seen) == 100
    assert sum(seen) == 5_001


def test_progress_is_told(tmp_path) -> None:
    path = tmp_path / "t.trace"
    path.write_text("".join(f"{at} 0 8 8 0\n" for at in range(40_000)))
    told = []
    load_site(path, SiteOptions(progress=lambda done, size: told.append((done, size))))
    assert len(told) >= 3
    assert told == sorted(told)
    assert told[-1] == (path.stat().st_size,) * 2


# -- half-hour features ------------------------------------------------------------------------


def test_a_machine_is_chosen_by_its_name(load) -> None:
    table = FEATURES_HEADER + "a,0,1,600\na,2,1,1200\nb,0,1,5\n"
    curve = load(table, trace="a")
    assert curve.grid.steps == 90
    halves = curve.written_bytes.reshape(3, 30).sum(axis=1)
    assert halves == pytest.approx([600, 0, 1200])
    assert any("1 half hours are missing" in remark for remark in curve.remarks)
    for options, reason in (({}, "2 virtual machines"), ({"trace": "c"}, "none of them 'c'")):
        with pytest.raises(BadInput, match=reason) as caught:
            load(table, **options)
        assert "a, b" in caught.value.remedy
    for row, reason in (
        ("a,0,1,1\n", "stands twice"),
        ("a,1\n", "2 fields"),
        ("a,x,1,1\n", "no number"),
        ("a,1,1,nan\n", "cannot be"),
        ("a,-1,1,5\n", "cannot be"),
    ):
        with pytest.raises(BadInput, match=reason) as caught:
            load(table + row, trace="a")
        assert caught.value.line == 5


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which CI has")
def test_the_peaks_of_106_machines_are_those_documented() -> None:
    curves = read_feature_curves(
        SHARED / "features_30min.csv.gz", SiteOptions(step_seconds=1_800.0)
    )
    peaks = sorted(curve.peak_to_mean(1_800.0) for curve in curves.values())
    assert len(peaks) == 106
    assert np.median(peaks) == pytest.approx(11.2, abs=0.05)
    assert peaks[len(peaks) // 10] == pytest.approx(3.2, abs=0.05)
    assert peaks[9 * len(peaks) // 10] == pytest.approx(62, abs=0.5)
    busy = [
        np.quantile(curve.written_bytes, 0.95) / curve.written_bytes.mean()
        for curve in curves.values()
    ]
    assert np.median(busy) == pytest.approx(2.6, abs=0.05)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which CI has")
def test_the_whole_sample_of_two_hours() -> None:
    curve = load_site(SHARED / "vscsi_sample.csv")
    assert curve.written_bytes.sum() == pytest.approx(2.41e9, rel=2e-3)
    assert curve.grid.span_seconds == pytest.approx(7_200, abs=60)
