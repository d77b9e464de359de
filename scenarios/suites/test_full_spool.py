"""The spool's disk is full while the line is down: the policy acts, and says so."""

from __future__ import annotations

import pytest

LINE_DOWN = {"kind": "link_outage", "at": "1s", "duration": "1500ms"}
SPOOL_FULL = {"kind": "disk_full", "host": "source", "volume": "spool", "duration": "1s"}


@pytest.mark.fault_plans(
    "small.toml",
    plans=12,
    always=[LINE_DOWN],
    kinds=[SPOOL_FULL],
    begin=("1s", "2s"),
    faults=(1, 2),
    reaches=["spool_full", "synchronizing", "the old image was judged in the meantime"],
)
def test_a_full_spool_ends_in_a_synchronization(bench_run):
    stopped = bench_run.events("capture_stopped", "source")
    for event in stopped:
        # The operator is told why.
        assert "full" in event.values[0]
    if stopped:
        assert bench_run.resynchronizations >= 1
        since = stopped[0].seconds
        again = max(event.seconds for event in bench_run.events("synchronized"))
        # Until the new history has arrived the old image is the copy: it mounts all the time.
        meanwhile = [c for c in bench_run.checks("mountable") if since <= c.at_seconds <= again]
        assert all(check.holds for check in meanwhile)
        if meanwhile:
            bench_run.reach("the old image was judged in the meantime")
    # The hard limit of the spool is one.
    assert bench_run.spool_peak_bytes <= bench_run.result.spool_limit_bytes
    assert bench_run.catch_up_seconds is not None
    assert bench_run.catch_up_seconds <= 5
