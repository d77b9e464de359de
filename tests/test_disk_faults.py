"""Faults of disks in whole runs: full, slow, standing still."""

from __future__ import annotations

import pytest

from simulator.measures import RunResult, Verdict
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.test_faults import TEXT, Looks, fault, injected, run

SECOND_NS = 1_000_000_000


def mark_of(result: RunResult, kind: str) -> tuple[str, float, float | None, str]:
    [mark] = [each for each in result.faults if each.kind == kind]
    return mark.where, mark.start_seconds, mark.end_seconds, mark.note


# -- full ----------------------------------------------------------------------------------


def test_a_full_volume_of_the_replica_stops_it_for_a_while() -> None:
    found = Looks(
        fault("disk_full", 15, REPLICA, duration="20s"),
        lambda run: (
            run.world.machine(REPLICA).disks["data"].free_bytes(),
            run.system.replica is not None and bool(run.system.replica.store.stalled),
        ),
        14,
        30,
        40,
    )
    assert found.result.verdict is Verdict.PASS, found.result.reasons
    assert mark_of(found.result, "disk_full") == (REPLICA, 15, 35, "all but 0 B")
    free = {at: seen[0] for at, seen in found.seen.items()}  # type: ignore[index]
    assert free[14] > 1 << 30 and free[40] > 1 << 30
    assert free[30] == 0
    assert [at for at, seen in found.seen.items() if seen[1]] == [30]  # type: ignore[index]


def test_programs_that_find_no_room_stop_and_come_back_when_there_is_some() -> None:
    """They end as often as they are started meanwhile: that is no breach of the replicator's."""
    made = ScenarioRun(parse_scenario(TEXT + fault("disk_full", 15, SOURCE, duration="32s")))
    mounted: list[float] = []
    clock = made.world.clock
    made.world.observers.append(
        lambda _machine, event, _values: (
            mounted.append(clock.now() / SECOND_NS) if event == "mounted" else None
        )
    )
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert [at > 47 for at in mounted] == [False, True]


def test_programs_that_end_without_a_full_volume_still_count() -> None:
    made = ScenarioRun(parse_scenario(TEXT + fault("disk_full", 15, SOURCE, duration="5s")))
    disk = made.world.machine(SOURCE).disks["data"]
    made.world.clock.at(25 * SECOND_NS, lambda: disk.fill(0) and None)
    result = made.run()
    assert result.verdict is Verdict.LIVENESS
    assert "the programs ended by itself" in result.reasons[0]


def test_a_full_spool_volume_ends_in_a_synchronization() -> None:
    own = TEXT.replace(
        "[replica.disk]",
        '[source.spool_disk]\nprofile = "ssd"\n[protection]\nsegment_size = "256KiB"\n'
        "[replica.disk]",
    )
    text = fault("disk_full", 15, SOURCE, duration="20s", volume="spool", free="64KiB")
    outage = fault("link_outage", 15, duration="20s")
    result = ScenarioRun(parse_scenario(own + text + outage)).run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.resynchronizations >= 1


def test_a_volume_that_is_fuller_already_is_not_filled() -> None:
    result = run(fault("disk_full", 15, REPLICA, duration="5s", free="479GB"))
    assert result.verdict is Verdict.PASS, result.reasons
    small = TEXT.replace("[replica.disk]", '[replica.disk]\nsize = "300MiB"')
    text = small + fault("disk_full", 15, REPLICA, duration="5s", free="299MiB")
    result = ScenarioRun(parse_scenario(text)).run()
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "the disk full of the replica at 15s never happened: no more than" in result.reasons[0]


def test_overlapping_fillings_give_back_each_its_own() -> None:
    found = Looks(
        fault("disk_full", 10, REPLICA, duration="20s", free="1GB")
        + fault("disk_full", 15, REPLICA, duration="5s", free="100MB"),
        lambda run: run.world.machine(REPLICA).disks["data"].free_bytes() // 10**8,
        12,
        17,
        22,
        31,
    )
    seen = found.seen
    assert seen[12] == seen[22] == 9
    assert seen[17] == 0
    assert seen[31] > 4000  # type: ignore[operator]


# -- slow, and standing still --------------------------------------------------------------


@pytest.mark.parametrize("host", [SOURCE, REPLICA])
def test_slow_disks_end_as_they_began(host: str) -> None:
    found = Looks(
        fault("disk_slow", 10, host, duration="20s", factor=40)
        + fault("disk_slow", 15, host, duration="5s", factor=2),
        lambda run: run.world.machine(host).disks["data"].device.model.positioning_ns,
        9,
        12,
        17,
        22,
        31,
    )
    assert found.result.verdict is Verdict.PASS, found.result.reasons
    own = 100_000
    assert found.seen == {9: own, 12: 40 * own, 17: 80 * own, 22: 40 * own, 31: own}
    notes = [mark.note for mark in found.result.faults]
    assert notes == ["40 times as slow", "2 times as slow"]


def test_a_replica_whose_disk_stands_still_promises_nothing_meanwhile() -> None:
    found = Looks(
        fault("disk_stall", 15, REPLICA, duration="20s"),
        lambda run: run.system.source and run.system.source.durable,
        15.5,
        34,
        40,
    )
    assert found.result.verdict is Verdict.PASS, found.result.reasons
    assert found.seen[15.5] == found.seen[34] != found.seen[40]
    assert mark_of(found.result, "disk_stall") == (REPLICA, 15, 35, "")


def test_power_fails_while_disks_stand_still() -> None:
    result = run(
        fault("disk_stall", 15, REPLICA, duration="30s") + fault("power_loss", 20, REPLICA)
    )
    assert result.verdict is Verdict.PASS, result.reasons


@pytest.mark.parametrize(("kind", "more"), [("disk_slow", {"factor": 2}), ("disk_stall", {})])
def test_disks_that_nobody_uses_were_not_slow(kind: str, more: dict[str, object]) -> None:
    from simulator.device import DiskModel

    world, faults = injected(fault(kind, 10, REPLICA, duration="5s", **more))
    disk = world.machine(REPLICA).add_disk("data", DiskModel())
    world.clock.run_until(20 * SECOND_NS)
    words = kind.replace("_", " ")
    assert faults.never_happened == [
        f"the {words} of the replica at 10s never happened: "
        "nobody asked these disks for anything in that time"
    ]
    assert faults.marks() == []
    assert disk.device.book(world.clock.now(), 0, 1) == 20 * SECOND_NS + 7_500_000
    world.close()
