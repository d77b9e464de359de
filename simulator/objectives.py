"""What a scenario promised against what a run measured, and the verdict; in every world."""

from __future__ import annotations

from replicator.units import format_bytes, format_seconds
from simulator.measures import SEVERITY, RunResult, Verdict
from simulator.scenario import Scenario

SECOND_NS = 1_000_000_000


def measure_objectives(scenario: Scenario, result: RunResult) -> None:
    """Put each objective that the scenario has into the record, with what was measured."""
    wanted = scenario.objectives
    if wanted.rpo_ns is not None:
        result.objectives["rpo_seconds"] = (wanted.rpo_ns / SECOND_NS, result.rpo_seconds)
    if wanted.rto_ns is not None:
        result.objectives["rto_seconds"] = (wanted.rto_ns / SECOND_NS, result.rto_seconds)
    if wanted.spool_peak_bytes is not None:
        result.objectives["spool_peak_bytes"] = (
            float(wanted.spool_peak_bytes),
            float(result.spool_peak_bytes),
        )
    if wanted.catch_up_ns is not None:
        result.objectives["catch_up_seconds"] = (
            wanted.catch_up_ns / SECOND_NS,
            catch_up_seconds(scenario, result),
        )


def catch_up_seconds(scenario: Scenario, result: RunResult) -> float | None:
    """Longest time from the end of a fault until the lag was normal again."""
    normal = max(1.0, 2 * scenario.protection.heartbeat_ns / SECOND_NS)
    worst: float | None = None
    for fault in result.faults:
        if fault.end_seconds is None:
            continue
        for at, lag in zip(result.samples.time_seconds, result.samples.lag_seconds, strict=True):
            if at >= fault.end_seconds and lag <= normal:
                worst = max(worst or 0.0, at - fault.end_seconds)
                break
    return worst


def missed_objectives(result: RunResult) -> list[str]:
    """The objectives that were measured and missed, in words."""
    return [
        _missed(name, measured, wanted)
        for name, (wanted, measured) in result.objectives.items()
        if measured is not None and measured > wanted
    ]


def _missed(name: str, measured: float, wanted: float) -> str:
    """A missed objective in the words and units of the report."""
    if name.endswith("_bytes"):
        amounts = [format_bytes(int(measured)), format_bytes(int(wanted))]
    else:
        amounts = [format_seconds(measured), format_seconds(wanted)]
    label = name.rsplit("_", 1)[0].replace("_", " ")
    return f"{label}: {amounts[0]} measured, at most {amounts[1]} wanted"


def settle_verdict(result: RunResult, found: list[tuple[Verdict, str]]) -> None:
    """Give the record its verdict, the worst of all, and its reasons.

    ``found`` is what neither the checks nor the objectives of the record tell.
    """
    broken = [
        (
            Verdict.SAFETY,
            f"{check.invariant} is broken at {check.at_seconds:.1f} s "
            f"({check.occasion}): {check.detail}",
        )
        for check in result.checks
        if not check.holds
    ]
    missed = [(Verdict.OBJECTIVE, text) for text in missed_objectives(result)]
    reasons = sorted(broken + found + missed, key=lambda reason: SEVERITY.index(reason[0]))
    if reasons:
        result.verdict = reasons[0][0]
    result.reasons = [text for _verdict, text in reasons]
