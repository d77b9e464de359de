"""Faults of a live run that fall together or cannot happen, on machines that only take notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.live.faults import LiveFaults
from simulator.overrides import Overrides
from simulator.runtime import SimClock
from simulator.scenario import parse_scenario
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.test_faults import RESTARTS, SECOND_NS, fault
from tests.test_run import BASE

TEXT = BASE.replace("[source.disk]", RESTARTS + "[source.disk]")
EARLY_S = 2
"""The processes of these machines take so long to start."""


class Notes:
    """Machines and link of a live run, as far as faults touch them."""

    def __init__(self, text: str) -> None:
        self.clock = SimClock()
        self.noted: list[tuple[float, str]] = []
        self.lost: set[str] = set()
        self.up = {SOURCE, REPLICA}
        self.start_ns = {SOURCE: EARLY_S * SECOND_NS, REPLICA: EARLY_S * SECOND_NS}
        self._overrides = Overrides(lambda rate: self.note(f"bandwidth {rate and rate / 1e6}"))
        self.override_bandwidth = self._overrides.begin
        restart_ns = {SOURCE: 10 * SECOND_NS, REPLICA: 10 * SECOND_NS}
        pretended: Any = self
        self.faults = LiveFaults(
            self.clock,
            pretended,
            pretended,
            restart_ns,
            self.started,
            lambda kind, where: self.note(f"struck {kind} {where}"),
        )
        self.faults.schedule(parse_scenario(TEXT + text).faults)

    def until(self, time_s: int) -> list[tuple[float, str]]:
        self.clock.run_until(time_s * SECOND_NS)
        return [each for each in self.noted if not each[1].startswith("struck")]

    def note(self, what: str) -> None:
        self.noted.append((self.clock.now() / SECOND_NS, what))

    def of(self, machine: str) -> list[str]:
        return [machine] if machine in self.up else []

    def started(self, machine: str) -> None:
        self.up.add(machine)
        self.note(f"start {machine}")

    def kill(self, machine: str) -> None:
        self.up.discard(machine)
        self.note(f"kill {machine}")

    def lose(self, machine: str) -> None:
        self.up.discard(machine)
        self.lost.add(machine)
        self.note(f"lose {machine}")

    def pause(self, machine: str) -> Callable[[], None]:
        self.note(f"pause {machine}")
        return lambda: self.note(f"resume {machine}")

    def cut(self, direction: str) -> None:
        self.note(f"cut {direction}")

    def heal(self, direction: str) -> None:
        self.note(f"heal {direction}")

    def mute(self) -> None:
        self.note("mute")


def times(notes: Notes) -> list[tuple[str, float, float | None]]:
    return [(m.kind, m.start_seconds, m.end_seconds) for m in notes.faults.marks()]


def test_a_source_that_is_lost_while_its_processes_are_down_is_lost() -> None:
    notes = Notes(fault("process_crash", 20, SOURCE) + fault("loss", 25, SOURCE))
    assert notes.until(60) == [(20, "kill source"), (25, "mute"), (25, "lose source")]
    assert (25, "struck loss source") in notes.noted
    assert times(notes) == [("process_crash", 20, None), ("loss", 25, None)]
    assert not notes.faults.awaited and not notes.faults.never_happened


def test_a_power_loss_puts_the_restart_off() -> None:
    notes = Notes(fault("process_crash", 20, REPLICA) + fault("power_loss", 25, REPLICA))
    assert notes.until(34)[-1] == (33, "start replica")
    assert notes.faults.awaited
    notes.until(36)
    assert times(notes) == [("process_crash", 20, 35), ("process_crash", 25, 35)]
    assert not notes.faults.awaited and not notes.faults.never_happened
    assert "power_loss of replica at 25 s" in notes.faults.without_counterpart[0]


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("power_loss", fault("power_loss", 25, REPLICA), "no power"),
        ("process_crash", fault("process_crash", 25, REPLICA), "none of its processes"),
        ("process_crash", fault("pause", 25, REPLICA, duration="1s"), "none of its processes"),
    ],
)
def test_what_cannot_happen_is_told(first: str, second: str, why: str) -> None:
    notes = Notes(fault(first, 20, REPLICA) + second)
    assert [what for _at, what in notes.until(60)] == ["kill replica", "start replica"]
    [told] = notes.faults.never_happened
    assert "at 25s never happened" in told and why in told


def test_each_direction_is_healed_by_its_own_outage() -> None:
    notes = Notes(
        fault("link_outage", 10, direction="to_replica", duration="5s")
        + fault("link_outage", 12, direction="to_source", duration="30s")
    )
    healed = [each for each in notes.until(60) if each[1].startswith("heal")]
    assert healed == [(15, "heal to_replica"), (42, "heal to_source")]


def test_the_end_of_one_bandwidth_leaves_the_other() -> None:
    notes = Notes(
        fault("link_bandwidth", 10, bandwidth="8Mbit/s", duration="20s")
        + fault("link_bandwidth", 15, bandwidth="4Mbit/s", duration="5s")
    )
    assert [what for _at, what in notes.until(60)] == [
        "bandwidth 8.0",
        "bandwidth 4.0",
        "bandwidth 8.0",
        "bandwidth None",
    ]


def test_failing_syncs_have_no_counterpart() -> None:
    notes = Notes(fault("sync_failure", 10, REPLICA))
    assert notes.until(60) == [] and times(notes) == []
    assert notes.faults.without_counterpart == [
        "sync_failure of replica at 10 s: no sync was made to fail"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (fault("disk_full", 10, REPLICA, duration="5s"), "disk_full of replica at 10 s: no volume"),
        (fault("link_latency", 10, rtt="1s", duration="5s"), "link_latency at 10 s: the relay"),
        (fault("replica_restored", 10, age="5s"), "replica_restored of replica at 10 s: the"),
    ],
)
def test_faults_of_the_emulated_world_alone_are_told(text: str, says: str) -> None:
    notes = Notes(text)
    assert notes.until(60) == [] and times(notes) == []
    [said] = notes.faults.without_counterpart
    assert said.startswith(says)


def test_each_kind_of_fault_happens_or_is_told() -> None:
    from simulator.expectations import ROWS
    from simulator.live.faults import WITHOUT_COUNTERPART

    happens = {"process_crash", "pause", "loss", "power_loss", "link_outage", "link_reset"}
    kinds = {row.kind for row in ROWS}
    assert kinds - set(WITHOUT_COUNTERPART) == happens | {"link_bandwidth"}
    assert set(WITHOUT_COUNTERPART) <= kinds
