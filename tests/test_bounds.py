"""Spool and journal keep to their limits; whether they do is measured on the disks."""

from __future__ import annotations

import pytest

from simulator.bounds import BoundsWatch
from simulator.device import DiskModel
from simulator.expectations import BOUNDS
from simulator.host import World
from simulator.measures import Check, RunResult, Verdict
from simulator.mutants import mutated
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from simulator.systems.byte_level import REPLICA, SOURCE, SPOOL_ROOT
from tests.test_faults import TEXT, fault

TIGHT = TEXT.replace(
    "[link]",
    '[protection]\nspool_limit = "512KiB"\nsegment_size = "64KiB"\nbatch_size = "32KiB"\n[link]',
)
OUTAGE = fault("link_outage", 15, duration="20s")


def bounds_of(result: RunResult) -> Check:
    [found] = [check for check in result.checks if check.invariant == BOUNDS]
    return found


def test_a_spool_that_is_full_keeps_to_its_limit() -> None:
    made = ScenarioRun(parse_scenario(TIGHT + OUTAGE))
    stopped: list[object] = []
    made.world.observers.append(
        lambda _machine, event, values: (
            stopped.append(values) if event == "capture_stopped" else None
        )
    )
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert stopped, "it was full: otherwise this means nothing"
    assert "of 512 KiB" in bounds_of(result).detail and bounds_of(result).holds


def test_without_the_limit_the_breach_is_found() -> None:
    with mutated("limits_kept"):
        result = ScenarioRun(parse_scenario(TIGHT + OUTAGE)).run()
    assert result.verdict is Verdict.SAFETY
    assert not bounds_of(result).holds
    assert any("bounds is broken" in reason for reason in result.reasons)


@pytest.mark.parametrize("looks_on", [True, False])
def test_what_was_there_between_two_samples_counts(looks_on: bool) -> None:
    """By the samples alone nothing would have been there."""
    world = World()
    source, replica = world.machine(SOURCE), world.machine(REPLICA)
    for machine in (source, replica):
        machine.add_disk("data", DiskModel())
    watch = BoundsWatch(source, replica, 512 << 10, 512 << 10)
    if not looks_on:
        source.disks["data"].watch_allocate = None
    watch.look()
    volume = source.start().volume("data")
    for directory in (SPOOL_ROOT, f"{SPOOL_ROOT}/segments"):
        volume.mkdir(directory)
    segment = volume.create(f"{SPOOL_ROOT}/segments/00000001.segment")
    segment.allocate(0, 600 << 10)
    segment.close()
    volume.unlink(f"{SPOOL_ROOT}/segments/00000001.segment")
    watch.look()
    found = watch.check(1.0)
    assert found.holds is not looks_on, found
    peak = "592 KiB" if looks_on else "0 B"  # the last block of 8 KiB counts as begun
    assert found.detail.startswith(f"the spool took {peak} of 512 KiB, the journal took 0 B")
