"""The source dies at every capture step: process crash, and power loss.

After a process crash nothing acknowledged to a program is lost and the unfinished intent
is rolled forward in the same epoch.  After a power loss a new epoch begins with one atomic
jump.
"""

from __future__ import annotations

import pytest

from simulator.link import Link
from simulator.systems.byte_level import SOURCE, ByteLevelSystem
from tests.crash.harness import Outcome, Plan, run
from tests.crash.test_replica_crashes import SCRIPTS
from tests.strides import strided


def crash_everywhere(name: str, stride: int, **fields: object) -> dict[int, Outcome]:
    steps = SCRIPTS[name]
    total = run(Plan(steps)).storage_steps[SOURCE]
    outcomes: dict[int, Outcome] = {}
    for step in range(1, total + 1, stride):
        plan = Plan(steps, host=SOURCE, crash_at=step, **fields)  # type: ignore[arg-type]
        outcome = run(plan)
        assert outcome.good, (name, step, fields, outcome)
        outcomes[step] = outcome
    return outcomes


def steps_before_the_first_epoch(name: str) -> int:
    """Storage steps of a source until it says that its first epoch has begun."""
    begun: list[int] = []

    def look_on(system: ByteLevelSystem, _wire: Link) -> None:
        def observe(machine: str, event: str, _values: object) -> None:
            if (machine, event) == (SOURCE, "epoch"):
                begun.append(sum(disk.steps for disk in system.source_machine.disks.values()))

        system.world.observers.append(observe)

    run(Plan(SCRIPTS[name], meddle=look_on))
    return begun[0]


@strided(3)
@pytest.mark.parametrize("keeps", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", SCRIPTS)
def test_process_crash_at_every_capture_step(name: str, keeps: float, stride: int) -> None:
    outcomes = crash_everywhere(name, stride, power=False, keeps=keeps).values()
    if not name.startswith("gap"):
        # Crashes before the first epoch is claimed apart, the history simply goes on.
        assert sum(outcome.epochs == 1 for outcome in outcomes) > len(outcomes) * 3 // 4


@strided(3)
@pytest.mark.parametrize("survival", ["none", "all", "some"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_power_loss_at_every_capture_step(name: str, survival: str, stride: int) -> None:
    outcomes = crash_everywhere(name, stride, survival=survival)
    # Before the first epoch has begun (directories, locks, the state) there is none to follow.
    before = steps_before_the_first_epoch(name)
    assert 0 < before < max(outcomes) // 2
    assert all(outcome.epochs >= 2 for step, outcome in outcomes.items() if step > before)
