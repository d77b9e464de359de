"""The replica dies in any storage step, and the newest copy of its checkpoint rots meanwhile.

Recovery begins at the older copy then.  Home may hold a change of names, or another image, that
came after it: what is redone must not meet a name that means another file, or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from replicator.slots import decode_slot
from simulator.host import Machine
from simulator.inode import Choose
from simulator.link import Link
from simulator.systems.byte_level import REPLICA, ByteLevelSystem
from tests.crash.harness import Outcome, Plan, Step, gap, log_rolls, odd_names, run
from tests.failures.worlds import files_below, spoil
from tests.strides import strided

SLOTS = ("/replica/checkpoint.a", "/replica/checkpoint.b")
STEPS = {
    "log rolls": log_rolls(),
    "odd names": odd_names(),
    "another image": [*log_rolls()[:9], gap, *log_rolls()[9:]],
}


def rot_newest(machine: Machine) -> None:
    """The newest copy that can be read cannot be read any more; the older one must be there."""
    disk = machine.disks["data"]
    there = files_below(disk, "/replica")
    found = {path: decode_slot(there[path], "checkpoint") for path in SLOTS if path in there}
    valid = {path: decoded[0] for path, decoded in found.items() if decoded is not None}
    if len(valid) == 2:
        spoil(disk, max(valid, key=lambda path: valid[path]), 40, b"\xff\xfe\xfd")


def rots(system: ByteLevelSystem, _wire: Link) -> None:
    machine = system.replica_machine
    die, lose = machine.crash_process, machine.lose_power

    def crash_process() -> None:
        die()
        rot_newest(machine)

    def lose_power(choose: Choose) -> None:
        lose(choose)
        rot_newest(machine)

    machine.crash_process, machine.lose_power = crash_process, lose_power  # type: ignore[method-assign]


def outcomes(
    steps: list[Step],
    safeguards: Safeguards = ALL_SAFEGUARDS,
    power: bool = False,
    stride: int = 1,
) -> Iterator[tuple[int, Outcome]]:
    for step in range(1, 400, stride):
        plan = Plan(
            steps,
            host=REPLICA,
            crash_at=step,
            power=power,
            survival="all",
            safeguards=safeguards,
            meddle=rots,
        )
        outcome = run(plan)
        if not outcome.crashed:
            return
        yield step, outcome


@strided(9)
@pytest.mark.parametrize("power", [False, True], ids=["process", "power"])
@pytest.mark.parametrize("name", STEPS)
def test_whenever_it_dies(name: str, power: bool, stride: int) -> None:
    tried = 0
    for step, outcome in outcomes(STEPS[name], power=power, stride=stride):
        assert not outcome.broken, (step, outcome.broken)
        assert outcome.converged, step
        tried += 1
    assert tried > 50 // stride


def test_with_one_copy_ahead_of_the_names_it_falls_over() -> None:
    careless = replace(ALL_SAFEGUARDS, both_copies_at_names=False)
    broken = (not outcome.good for _step, outcome in outcomes(STEPS["log rolls"], careless))
    assert any(broken), "this means nothing"
