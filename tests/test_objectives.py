"""Objectives that were not measured are no objectives that were met."""

from __future__ import annotations

from simulator.measures import FaultMark, RunResult, Samples, Verdict
from simulator.objectives import catch_up_seconds, measure_objectives, settle_verdict
from simulator.scenario import parse_scenario
from tests.report.samples import passing
from tests.test_run import BASE

LOSS = '[[faults]]\nkind = "loss"\nhost = "source"\nat = "50s"\n'


def result_of(lags: list[float], *faults: FaultMark) -> RunResult:
    """A run sampled each second."""
    samples = Samples(time_seconds=[float(at) for at in range(len(lags))], lag_seconds=lags)
    result = passing(0)
    result.samples, result.faults = samples, list(faults)
    result.recovery, result.objectives, result.reasons = None, {}, []
    return result


def outage(start: float, end: float) -> FaultMark:
    return FaultMark("link_outage", "link", start, end)


def lost(at: float) -> FaultMark:
    return FaultMark("loss", "source", at, None)


def verdict(text: str, result: RunResult, *overrides: str) -> tuple[Verdict, float | None]:
    scenario = parse_scenario(text, overrides)
    settle_verdict(result, measure_objectives(scenario, result))
    return result.verdict, next(iter(result.objectives.values()))[1]


BEHIND = [0.0] * 10 + [float(n) for n in range(50)]
"""Something breaks after 10 s, and the replica never comes back."""
BACK = [*BEHIND[:25], *[0.0] * 20]
"""It is back after 25 s."""


def test_catching_up_is_measured_from_the_end_of_the_fault() -> None:
    result = result_of(BACK, outage(10, 20))
    assert verdict(BASE, result, "objectives.catch_up=6s") == (Verdict.PASS, 5.0)
    result = result_of(BACK, outage(10, 20))
    assert verdict(BASE, result, "objectives.catch_up=4s") == (Verdict.OBJECTIVE, 5.0)


def test_catching_up_that_never_happened_is_missed_when_it_lasted_too_long_already() -> None:
    result = result_of(BEHIND, outage(10, 20))
    assert verdict(BASE, result, "objectives.catch_up=30s") == (Verdict.OBJECTIVE, 39.0)


def test_catching_up_that_never_happened_is_open_when_it_might_have_been_in_time() -> None:
    result = result_of(BEHIND, outage(10, 20))
    assert verdict(BASE, result, "objectives.catch_up=40s") == (Verdict.INCONCLUSIVE, None)
    assert "catch up" in result.reasons[0]
    assert catch_up_seconds(parse_scenario(BASE), result) is None


def test_one_fault_that_was_caught_up_with_does_not_stand_for_another() -> None:
    result = result_of([*BACK, *BEHIND[13:23]], outage(10, 20), outage(44, 45))
    assert verdict(BASE, result, "objectives.catch_up=15s") == (Verdict.INCONCLUSIVE, None)
    result = result_of([*BACK, *BEHIND[13:23]], outage(10, 20), outage(44, 45))
    assert verdict(BASE, result, "objectives.catch_up=4s")[0] is Verdict.OBJECTIVE


def test_the_loss_of_the_source_ends_the_question() -> None:
    """Samples after the loss tell nothing: nobody sends any more."""
    result = result_of(BEHIND, outage(10, 20), lost(22))
    assert verdict(BASE, result, "objectives.catch_up=3s") == (Verdict.INCONCLUSIVE, None)
    result = result_of(BEHIND, outage(10, 20), lost(22))
    assert verdict(BASE, result, "objectives.catch_up=1s") == (Verdict.OBJECTIVE, 2.0)
    result = result_of(BEHIND, outage(10, 20), lost(15))
    assert verdict(BASE, result, "objectives.catch_up=1s") == (Verdict.PASS, None)


def test_an_rto_that_was_not_measured_is_open_when_the_source_was_to_be_lost() -> None:
    result = result_of([0.0])
    assert verdict(BASE + LOSS, result, "objectives.rto=1h") == (Verdict.INCONCLUSIVE, None)
    assert "rto" in result.reasons[0]
    assert verdict(BASE, result_of([0.0]), "objectives.rto=1h") == (Verdict.PASS, None)
