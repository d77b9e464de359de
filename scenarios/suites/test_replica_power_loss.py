"""The replica loses its power while it applies: what it had promised is there again afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from simulator.scenario import load_scenario
from simulator.testing import strategies

SMALL = load_scenario(Path(__file__).parent / "small.toml")
IN_APPLY = {"kind": "power_loss_within", "host": "replica", "when": "apply"}


@pytest.mark.fault_plans(
    "small.toml",
    plans=12,
    kinds=[IN_APPLY],
    faults=(1, 3),
    reaches=["power_loss of replica", "power_loss of replica while apply"],
)
def test_the_replica_comes_back_with_what_it_had_promised(bench_run):
    kept = bench_run.checks("durable means durable")
    assert kept and all(check.holds for check in kept)
    # Its recovery needs no help from the source: nothing is synchronized anew.
    assert bench_run.resynchronizations == 0
    assert not bench_run.events("damage")
    assert bench_run.rpo_seconds <= 2
    assert bench_run.catch_up_seconds is not None
    assert bench_run.catch_up_seconds <= 3


@settings(max_examples=15, deadline=None)
@given(
    strategies.fault_plans(
        SMALL, kinds=[IN_APPLY, "link_reset", {"kind": "sync_failure", "host": "replica"}]
    )
)
def test_whatever_comes_beside_it(bench_under, plan):
    """The same as a Hypothesis test: a plan that fails is shrunk by Hypothesis."""
    assert bench_under(SMALL, plan).breaches == []
