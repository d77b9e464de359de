"""The source dies at every capture step: process crash, and power loss.

After a process crash nothing acknowledged to a program is lost and the unfinished intent
is rolled forward in the same epoch.  After a power loss a new epoch begins with one atomic
jump.
"""

from __future__ import annotations

import pytest

from simulator.systems.byte_level import SOURCE
from tests.crash.harness import Outcome, Plan, run
from tests.crash.test_replica_crashes import SCRIPTS


def crash_everywhere(name: str, **fields: object) -> list[Outcome]:
    steps = SCRIPTS[name]
    total = run(Plan(steps)).storage_steps[SOURCE]
    outcomes: list[Outcome] = []
    for step in range(1, total + 1):
        plan = Plan(steps, host=SOURCE, crash_at=step, **fields)  # type: ignore[arg-type]
        outcome = run(plan)
        assert outcome.good, (name, step, fields, outcome)
        outcomes.append(outcome)
    return outcomes


@pytest.mark.parametrize("keeps", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", SCRIPTS)
def test_process_crash_at_every_capture_step(name: str, keeps: float) -> None:
    outcomes = crash_everywhere(name, power=False, keeps=keeps)
    if not name.startswith("gap"):
        # Crashes before the first epoch is claimed apart, the history simply goes on.
        assert sum(outcome.epochs == 1 for outcome in outcomes) > len(outcomes) * 3 // 4


@pytest.mark.parametrize("survival", ["none", "all", "some"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_power_loss_at_every_capture_step(name: str, survival: str) -> None:
    outcomes = crash_everywhere(name, survival=survival)
    # The first steps make directories: before an epoch has begun there is none to follow.
    assert sum(outcome.epochs >= 2 for outcome in outcomes) > len(outcomes) * 3 // 5
