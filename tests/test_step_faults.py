"""Faults that strike inside a storage call."""

from __future__ import annotations

import pytest

from replicator.errors import BadInput
from simulator.measures import Verdict
from simulator.mutants import mutated
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.test_faults import TEXT, fault, run


@pytest.mark.parametrize("kind", ["process_crash", "power_loss"])
@pytest.mark.parametrize("host", [SOURCE, REPLICA])
@pytest.mark.parametrize("calls", [1, 2, 7])
def test_it_strikes_at_the_call_that_was_asked_for(kind: str, host: str, calls: int) -> None:
    text = TEXT + fault(kind, 20, host, calls=calls)
    made = ScenarioRun(parse_scenario(text))
    disk = made.world.machine(host).disks["data"]
    steps: list[int] = []
    made.world.clock.at(20_000_000_001, lambda: steps.append(disk.steps))
    made.faults._marks._struck = lambda *_: steps.append(disk.steps)
    result = made.run()
    assert steps[1] - steps[0] == calls
    assert result.verdict is Verdict.PASS, result.reasons
    [mark] = result.faults
    assert (mark.kind, mark.where, mark.note) == (kind, host, f"in storage call {calls}")
    assert mark.start_seconds >= 20 and mark.end_seconds == mark.start_seconds + 10


def test_between_the_intent_and_the_file_it_strikes_too() -> None:
    """So that an intent is left that somebody has to finish."""
    with mutated("intents_rolled_forward"):
        verdicts = {run(fault("process_crash", 20, SOURCE, calls=n)).verdict for n in range(1, 9)}
    assert verdicts == {Verdict.PASS, Verdict.SAFETY}
    intact = {run(fault("process_crash", 20, SOURCE, calls=n)).verdict for n in range(1, 9)}
    assert intact == {Verdict.PASS}


@pytest.mark.parametrize("calls", range(1, 7))
def test_the_start_after_it_may_end_before_it_has_finished_what_was_under_way(calls: int) -> None:
    crash = fault("process_crash", 20, SOURCE, calls=calls)
    result = run(crash + fault("sync_failure", 25, SOURCE, count=1))
    assert result.verdict is Verdict.PASS, result.reasons
    assert [mark.kind for mark in result.faults] == [
        "process_crash",
        "sync_failure",
        "process_crash",
    ]


def test_a_host_that_goes_down_before_is_struck_by_nothing_later() -> None:
    counted = fault("process_crash", 20, REPLICA, calls=100_000)
    result = run(counted + fault("power_loss", 25, REPLICA))
    assert [mark.kind for mark in result.faults] == ["power_loss"]
    assert "the host went down by something else before" in result.reasons[0]
    alone = run(counted)
    assert not alone.faults
    assert "there were no 100000 storage calls any more" in alone.reasons[0]


def test_one_strike_at_a_time() -> None:
    result = run(
        fault("process_crash", 20, REPLICA, calls=4) + fault("power_loss", 20, REPLICA, calls=2)
    )
    assert [mark.kind for mark in result.faults] == ["process_crash"]
    assert "another fault was about to strike" in result.reasons[0]


def test_an_activity_and_calls_are_not_both_waited_for() -> None:
    with pytest.raises(BadInput, match="an activity is waited for, or calls are counted"):
        parse_scenario(TEXT + fault("power_loss", 20, REPLICA, calls=4, when="apply"))
    with pytest.raises(BadInput, match="calls"):
        parse_scenario(TEXT + fault("process_crash", 20, REPLICA, calls=0))
