"""Programs that do not end: held by a replicator that has nothing left to do, or slow."""

from __future__ import annotations

import pytest

from replicator.capture import Capture
from replicator.runtime import sleep_ns
from replicator.units import NS_PER_SECOND
from simulator.measures import RunResult, Verdict
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from tests.test_run import BASE

YEAR_NS = 365 * 86_400 * NS_PER_SECOND


def run_with_admission(monkeypatch: pytest.MonkeyPatch, after: int, wait_ns: int) -> RunResult:
    """A run in which each admission behind the first ones takes so long."""
    admit = Capture.admit
    calls = 0

    async def slow(self: Capture, size_bytes: int, writes: int = 1) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            await sleep_ns(wait_ns)
        await admit(self, size_bytes, writes)

    monkeypatch.setattr(Capture, "admit", slow)
    return ScenarioRun(parse_scenario(BASE)).run()


def test_a_replicator_that_holds_the_programs_for_ever_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run_with_admission(monkeypatch, 20, YEAR_NS)
    assert result.verdict is Verdict.LIVENESS
    assert any("changed nothing for" in reason for reason in result.reasons), result.reasons


def test_programs_that_are_only_slow_leave_the_question_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run_with_admission(monkeypatch, 20, 30 * NS_PER_SECOND)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("had not ended" in reason for reason in result.reasons), result.reasons


def test_a_bench_that_does_not_look_why_leaves_that_one_open_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ScenarioRun, "_held_seconds", 0.0)
    assert run_with_admission(monkeypatch, 20, YEAR_NS).verdict is Verdict.INCONCLUSIVE
