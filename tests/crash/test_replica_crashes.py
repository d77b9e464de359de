"""The replica loses power, or its process, at every storage step of short runs.

Covered activities are asserted, so the enumeration cannot quietly stop reaching them.
"""

from __future__ import annotations

import pytest

from simulator.systems.byte_level import REPLICA
from tests.crash.harness import Plan, Step, gap, links_that_part, log_rolls, odd_names, run
from tests.strides import strided

SCRIPTS: dict[str, list[Step]] = {
    "log rolls": log_rolls(),
    "odd names": odd_names(),
    "gap": [*log_rolls()[:8], gap, *log_rolls()[8:]],
    "gap with links": links_that_part(),
}


def enumerate_steps(name: str, stride: int = 1, **fields: object) -> set[str]:
    """Crash at each step; returns the activities that were hit."""
    steps = SCRIPTS[name]
    total = run(Plan(steps)).storage_steps[REPLICA]
    assert total > 40
    hit: set[str] = set()
    for step in range(1, total + 1, stride):
        plan = Plan(steps, host=REPLICA, crash_at=step, **fields)  # type: ignore[arg-type]
        outcome = run(plan)
        assert outcome.crashed, step
        assert outcome.good, (name, step, fields, outcome)
        hit |= outcome.activities
    return hit


@pytest.mark.parametrize("name", SCRIPTS)
def test_undisturbed(name: str) -> None:
    outcome = run(Plan(SCRIPTS[name]))
    assert outcome.good, outcome
    assert outcome.resynchronizations == (2 if name.startswith("gap") else 1)


@strided(3)
@pytest.mark.parametrize("survival", ["none", "all", "some"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_power_loss_at_every_step(name: str, survival: str, stride: int) -> None:
    hit = enumerate_steps(name, stride, survival=survival)
    wanted = {"checkpoint", "recovery", "resynchronize"}
    # Every third step may pass by the few that apply takes, which is said of the whole alone.
    assert wanted | ({"apply"} if name != "gap with links" and stride == 1 else set()) <= hit


@strided(3)
@pytest.mark.parametrize("name", SCRIPTS)
def test_process_crash_at_every_step(name: str, stride: int) -> None:
    enumerate_steps(name, stride, power=False, keeps=0.5)


@pytest.mark.parametrize("name", SCRIPTS)
def test_names_that_survive_in_any_order(name: str) -> None:
    enumerate_steps(name, stride=3, survival="other", metadata="any")


@pytest.mark.parametrize("again", [3, 9])
def test_second_power_loss_during_recovery(again: int) -> None:
    hit = enumerate_steps("log rolls", stride=4, survival="some", second_crash_after=again)
    assert "recovery" in hit


@pytest.mark.full
@pytest.mark.parametrize("metadata", ["ordered", "any"])
@pytest.mark.parametrize("survival", [f"seed {n}" for n in range(12)])
@pytest.mark.parametrize("name", SCRIPTS)
def test_many_survivals(name: str, survival: str, metadata: str) -> None:
    enumerate_steps(name, survival=survival, metadata=metadata)


@pytest.mark.full
@pytest.mark.parametrize("again", range(1, 25))
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_second_power_loss(name: str, again: int) -> None:
    enumerate_steps(name, survival=f"again {again}", second_crash_after=again)
