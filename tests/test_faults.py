"""Faults of a scenario that fall together, that cannot happen, and syncs that fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.device import INSTANT
from simulator.faults import FaultInjector
from simulator.host import World
from simulator.link import Link, LinkModel
from simulator.measures import RunResult, Verdict
from simulator.run import ScenarioRun
from simulator.scenario import Fault, parse_scenario
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.test_run import BASE

SECOND_NS = 1_000_000_000
RESTARTS = '[source]\nrestart = "10s"\n[replica]\nrestart = "10s"\n'
TEXT = BASE.replace("[source.disk]", RESTARTS + "[source.disk]")


def fault(kind: str, at: float, host: str = "", **more: object) -> str:
    """A table of a fault at a time in seconds."""
    keys = {"kind": kind, "at": f"{at}s", **({"host": host} if host else {}), **more}
    lines = [f"{k} = {v}" if isinstance(v, int) else f'{k} = "{v}"' for k, v in keys.items()]
    return "\n".join(["[[faults]]", *lines, ""])


class Looks:
    """A run, and what was seen of its world at times in seconds."""

    def __init__(self, text: str, look: Callable[[ScenarioRun], object], *at: float) -> None:
        self.run = ScenarioRun(parse_scenario(TEXT + text))
        self.seen: dict[float, object] = {}
        for time_s in at:
            self.run.world.clock.at(
                int(time_s * SECOND_NS),
                lambda time_s=time_s: self.seen.update({time_s: look(self.run)}),
            )
        self.result = self.run.run()


def run(text: str) -> RunResult:
    return ScenarioRun(parse_scenario(TEXT + text)).run()


def times(result: RunResult) -> list[tuple[str, float, float | None]]:
    return [(mark.kind, mark.start_seconds, mark.end_seconds) for mark in result.faults]


# -- a machine that is down --------------------------------------------------------------


def test_a_source_that_is_lost_while_its_processes_are_down_is_lost() -> None:
    result = run(fault("process_crash", 20, SOURCE) + fault("loss", 25, SOURCE))
    assert result.verdict is Verdict.PASS, result.reasons
    assert times(result) == [("process_crash", 20, None), ("loss", 25, None)]
    assert result.recovery is not None, "there was a failover"
    assert any(check.occasion == "failover" for check in result.checks)


def test_a_replica_that_is_lost_while_it_is_down_never_comes_back() -> None:
    found = Looks(
        fault("process_crash", 20, REPLICA) + fault("loss", 25, REPLICA),
        lambda run: run.world.machine(REPLICA).running,
        40,
    )
    assert found.seen == {40: False}
    assert found.result.verdict is Verdict.INCONCLUSIVE
    assert "the replica was lost for ever" in found.result.reasons[0]


@pytest.mark.parametrize("host", [SOURCE, REPLICA])
def test_power_fails_before_a_dead_process_is_back(host: str) -> None:
    """The dirty cache of a dead process, and nobody to sync it."""
    found = Looks(
        fault("process_crash", 20, host) + fault("power_loss", 25, host, survive="none"),
        lambda run: (run.world.machine(host).running, run.world.machine(host).boots),
        24,
        31,
        34,
        36,
    )
    assert found.result.verdict is Verdict.PASS, found.result.reasons
    assert times(found.result) == [("process_crash", 20, 35), ("power_loss", 25, 35)]
    assert found.seen == {24: (False, 1), 31: (False, 1), 34: (False, 1), 36: (True, 2)}


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (fault("power_loss", 20, REPLICA), fault("power_loss", 25, REPLICA), "it had no power"),
        (fault("power_loss", 20, REPLICA), fault("process_crash", 25, REPLICA), "it had no power"),
        (fault("process_crash", 20, SOURCE), fault("process_crash", 25, SOURCE), "none of its"),
        (
            fault("process_crash", 20, REPLICA),
            fault("pause", 25, REPLICA, duration="2s"),
            "none of its processes ran at that time",
        ),
    ],
)
def test_what_cannot_happen_leaves_the_run_inconclusive(first: str, second: str, why: str) -> None:
    result = run(first + second)
    assert result.verdict is Verdict.INCONCLUSIVE
    [reason] = result.reasons
    assert "at 25s never happened" in reason and why in reason
    assert len(result.faults) == 1 and result.faults[0].end_seconds == 30


def test_a_strike_into_an_activity_outlives_another_crash_of_its_host() -> None:
    """Armed, and then the machine goes down by something else: it waits for the next time."""
    made = ScenarioRun(parse_scenario(TEXT + fault("power_loss", 20, REPLICA, when="apply")))
    [crash] = parse_scenario(TEXT + fault("process_crash", 1, REPLICA)).faults
    disk = made.world.machine(REPLICA).disks["data"]
    crashes = iter([True])
    left_armed: list[bool] = []

    def crash_once_armed(name: str, event: str, _values: tuple[int | str, ...]) -> None:
        armed = event == "activity" and name == REPLICA and disk.crash_at_step is not None
        if armed and next(crashes, False):
            made.faults._begin(crash)
            left_armed.append(disk.crash_at_step is not None)

    made.world.observers.append(crash_once_armed)
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    died, struck = result.faults
    assert (died.kind, struck.kind, struck.note) == ("process_crash", "power_loss", "in apply")
    assert died.end_seconds is not None and died.end_seconds < struck.start_seconds
    assert left_armed == [False], "it would strike whatever the next process does first"


# -- faults that overlap -----------------------------------------------------------------


def test_overlapping_outages_last_as_long_as_the_record_says() -> None:
    found = Looks(
        fault("link_outage", 10, direction="to_replica", duration="5s")
        + fault("link_outage", 12, direction="to_source", duration="30s"),
        lambda run: (run.link.to_b.partitioned, run.link.to_a.partitioned),
        11,
        14,
        16,
        41,
        43,
    )
    assert found.seen == {
        11: (True, False),
        14: (True, True),
        16: (False, True),
        41: (False, True),
        43: (False, False),
    }
    assert found.result.verdict is Verdict.PASS, found.result.reasons


def test_an_outage_of_both_directions_outlasts_one_of_them() -> None:
    found = Looks(
        fault("link_outage", 10, duration="20s")
        + fault("link_outage", 12, direction="to_replica", duration="5s"),
        lambda run: (run.link.to_b.partitioned, run.link.to_a.partitioned),
        18,
        31,
    )
    assert found.seen == {18: (True, True), 31: (False, False)}


def test_the_end_of_one_bandwidth_leaves_the_other() -> None:
    found = Looks(
        fault("link_bandwidth", 10, bandwidth="8Mbit/s", duration="20s")
        + fault("link_bandwidth", 15, bandwidth="4Mbit/s", duration="5s"),
        lambda run: 8 * run.link.capacity_bytes_per_second(run.world.clock.now()),
        12,
        17,
        22,
        31,
    )
    assert found.seen == {12: 8e6, 17: 4e6, 22: 8e6, 31: 20e6}


def test_the_end_of_one_pause_does_not_end_the_other() -> None:
    found = Looks(
        fault("pause", 10, REPLICA, duration="5s") + fault("pause", 12, REPLICA, duration="10s"),
        lambda run: run.world.machine(REPLICA).processes[REPLICA].kernel.steps,
        13,
        16,
        21,
        40,
    )
    assert found.seen[13] == found.seen[16] == found.seen[21] != found.seen[40]
    assert found.result.verdict is Verdict.PASS, found.result.reasons


def test_a_pause_is_over_for_a_host_that_goes_down() -> None:
    """Who is started meanwhile runs, and the end of the pause is none of its business."""
    found = Looks(
        fault("pause", 10, REPLICA, duration="20s")
        + fault("process_crash", 12, REPLICA)
        + fault("pause", 25, REPLICA, duration="10s"),
        lambda run: run.world.machine(REPLICA).processes[REPLICA].kernel.steps,
        23,
        24.9,
        25.1,
        31,
        34,
        36,
    )
    seen = found.seen
    assert seen[23] != seen[24.9]
    assert seen[25.1] == seen[31] == seen[34] != seen[36]
    assert times(found.result) == [
        ("pause", 10, 12),
        ("process_crash", 12, 22),
        ("pause", 25, 35),
    ]


# -- which faults a run waits for --------------------------------------------------------


def injected(text: str) -> tuple[World, FaultInjector]:
    world = World()
    for name in (SOURCE, REPLICA):
        world.machine(name).start()
    link = Link(world.clock, SOURCE, REPLICA, LinkModel(1e6, 0))
    restart_ns = {SOURCE: 10 * SECOND_NS, REPLICA: 10 * SECOND_NS}
    faults = FaultInjector(
        world,
        link,
        restart_ns,
        lambda name: world.machine(name).start() and None,
        lambda _kind, _name: None,
        seed=1,
    )
    listed: tuple[Fault, ...] = parse_scenario(TEXT + text).faults
    faults.schedule(listed)
    return world, faults


@pytest.mark.parametrize(
    ("text", "until_s"),
    [
        ("", -1),
        (fault("link_reset", 10), 10),
        (fault("link_outage", 10, duration="5s"), 15),
        (fault("process_crash", 10, SOURCE), 20),
        (fault("process_crash", 10, SOURCE) + fault("power_loss", 15, SOURCE), 25),
        (fault("process_crash", 10, SOURCE) + fault("process_crash", 15, SOURCE), 20),
        (fault("process_crash", 10, SOURCE) + fault("loss", 15, SOURCE), 15),
        (fault("power_loss", 10, SOURCE, when="checkpoint"), 10),
        (fault("sync_failure", 10, SOURCE), 10),
    ],
)
def test_faults_are_awaited_until_their_last_effect(text: str, until_s: int) -> None:
    world, faults = injected(text)
    for time_s in range(30):
        world.clock.run_until(time_s * SECOND_NS)
        assert faults.awaited == (time_s < until_s), time_s
    world.close()


# -- syncs that fail ---------------------------------------------------------------------


@pytest.mark.parametrize("host", [SOURCE, REPLICA])
@pytest.mark.parametrize("count", [1, 3])
def test_who_gives_up_after_a_failed_sync_comes_back(host: str, count: int) -> None:
    result = run(fault("sync_failure", 15, host, count=count))
    assert result.verdict is Verdict.PASS, result.reasons
    failures = [mark for mark in result.faults if mark.kind == "sync_failure"]
    crashes = [mark for mark in result.faults if mark.kind == "process_crash"]
    assert len(failures) == len(crashes) == count
    assert all(mark.where == host and mark.note.startswith("of /") for mark in failures)
    assert all("gave up after a sync that failed" in mark.note for mark in crashes)
    assert all(mark.end_seconds is not None for mark in crashes)


def test_power_fails_after_a_failed_sync() -> None:
    """What the failed sync had lost goes with the power; whoever trusted it is found out."""
    for second in (16, 26, 27, 30):
        result = run(
            fault("sync_failure", 15, REPLICA)
            + fault("power_loss", second, REPLICA, survive="none")
        )
        assert result.verdict is Verdict.PASS, (second, result.reasons)


def test_syncs_that_never_failed_are_told() -> None:
    world, faults = injected(fault("sync_failure", 10, REPLICA, count=2))
    world.machine(REPLICA).add_disk("data", INSTANT)
    world.clock.run_until(11 * SECOND_NS)
    fails = world.machine(REPLICA).disks["data"].sync_fails
    assert fails is not None and fails("/f")
    assert faults.never_happened == [
        "1 of 2 failing syncs of the replica from 10s on never happened: "
        "it synced no more than that"
    ]
    assert fails("/f") and not fails("/f")
    assert not faults.never_happened
    world.close()


def test_a_failure_of_software_without_a_failed_sync_ends_the_run() -> None:
    made = ScenarioRun(parse_scenario(TEXT + fault("sync_failure", 40, REPLICA)))
    disk = made.world.machine(REPLICA).disks["data"]
    made.world.clock.at(20 * SECOND_NS, lambda: setattr(disk, "sync_fails", lambda _path: True))
    result = made.run()
    assert result.verdict is Verdict.LIVENESS
    assert "the replica ended" in result.reasons[0]
