"""The line flaps while the copy is made for the first time.

The line is up only after three seconds; by then there is mail.  While the first synchronization
runs over it, it fails and is reset again and again.
"""

from __future__ import annotations

import pytest

LATE_LINE = {"kind": "link_outage", "at": "0s", "duration": "3s"}


@pytest.mark.fault_plans(
    "wan.toml",
    plans=12,
    always=[LATE_LINE],
    kinds=["link_outage", "link_reset"],
    begin=("3s", "6500ms"),
    faults=(1, 4),
    reaches=["link_outage while synchronizing", "link_reset while synchronizing"],
)
def test_the_first_synchronization_survives_a_flapping_line(bench_run):
    # Nothing is ever applied out of order, and the store mounts: judged many times in a run.
    prefixes = bench_run.checks("prefix")
    assert len(prefixes) >= 20
    assert all(check.holds for check in prefixes)
    # What is not yet at the replica when the source dies is lost: never more than this.
    assert bench_run.rpo_seconds <= 15
    # The copy is there soon after the line is, and is not sent over and over.
    assert bench_run.catch_up_seconds is not None
    assert bench_run.catch_up_seconds <= 10
    assert bench_run.wire_bytes <= 2 * bench_run.result.captured_bytes
