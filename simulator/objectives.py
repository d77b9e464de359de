"""What a scenario promised against what a run measured, and the verdict; in every world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from replicator.units import format_bytes, format_seconds
from simulator.expectations import Expectation, Expectations
from simulator.judgement import FAILOVER
from simulator.measures import SEVERITY, RunResult, Verdict
from simulator.scenario import Scenario
from simulator.systems.byte_level import SOURCE

SECOND_NS = 1_000_000_000


def measure_objectives(scenario: Scenario, result: RunResult) -> list[tuple[Verdict, str]]:
    """Put each objective that the scenario has into the record, with what was measured.

    Returns the objectives that this run left open.
    """
    wanted = scenario.objectives
    unanswered: list[str] = []
    if wanted.rpo_ns is not None:
        result.objectives["rpo_seconds"] = (wanted.rpo_ns / SECOND_NS, result.rpo_seconds)
    if wanted.rto_ns is not None:
        result.objectives["rto_seconds"] = (wanted.rto_ns / SECOND_NS, result.rto_seconds)
        if result.recovery is None and asks_for_failover(scenario):
            unanswered.append("rto: not measured, for no failover came to its end")
    if wanted.spool_peak_bytes is not None:
        result.objectives["spool_peak_bytes"] = (
            float(wanted.spool_peak_bytes),
            float(result.spool_peak_bytes),
        )
    for name in ("copy_queue", "replay_queue"):
        most = getattr(wanted, f"{name}_peak_logs")
        if most is not None:
            peaks = result.queue_peaks
            found = None if peaks is None else float(getattr(peaks, f"{name}_logs"))
            result.objectives[f"{name}_peak_logs"] = (float(most), found)
            if found is None:
                unanswered.append(f"{name.replace('_', ' ')}: no logs are shipped")
    if wanted.catch_up_ns is not None:
        limit = wanted.catch_up_ns / SECOND_NS
        caught = catch_up(scenario, result)
        measured = caught.seconds
        if caught.at_least is not None:
            bound = max(caught.at_least, caught.seconds or 0.0)
            # More than was wanted is more than was wanted, however long it would have lasted.
            measured = bound if bound > limit else None
            if measured is None:
                unanswered.append(
                    f"catch up: not over after {format_seconds(caught.at_least)}, "
                    "when there was nothing more to see"
                )
        result.objectives["catch_up_seconds"] = (limit, measured)
    return [(Verdict.INCONCLUSIVE, text) for text in unanswered]


def loses_its_source(scenario: Scenario) -> bool:
    """Whether the scenario's source is gone at the end."""
    return any(fault.kind == "loss" and fault.host == SOURCE for fault in scenario.faults)


def asks_for_failover(scenario: Scenario) -> bool:
    """Whether clients are to be at work on the replica at the end."""
    return loses_its_source(scenario) or any(f.kind == "failover" for f in scenario.faults)


@dataclass(frozen=True, slots=True)
class CatchUp:
    """How long the replica took to catch up after faults."""

    seconds: float | None
    """The longest that was seen to its end; None when there was none."""
    at_least: float | None
    """The longest that was not seen to its end, as far as it was seen; None when all were."""


def catch_up(scenario: Scenario, result: RunResult) -> CatchUp:
    """Longest time from the end of a fault until the lag was normal again.

    A machine that is lost ends the question, nobody catches up with it, or without it; so does a
    replica that has taken over.
    """
    normal = max(1.0, 2 * scenario.protection.heartbeat_ns / SECOND_NS)
    ends = ("loss", "failover")
    lost = [fault.start_seconds for fault in result.faults if fault.kind in ends]
    over = min(lost, default=math.inf)
    samples = result.samples
    behind: Sequence[float] = samples.lag_seconds
    if samples.copy_queue_logs:  # a copy by log shipping always lacks the open log
        behind, normal = samples.copy_queue_logs, 0.0
    curve = [(at, lag) for at, lag in zip(samples.time_seconds, behind, strict=True) if at < over]
    last = over if lost else max((at for at, _lag in curve), default=0.0)
    seen: list[float] = []
    unseen: list[float] = []
    for fault in result.faults:
        end = fault.end_seconds
        if end is None or end >= over:
            continue
        caught_up = next((at for at, lag in curve if at >= end and lag <= normal), None)
        if caught_up is None:
            unseen.append(max(0.0, last - end))
        else:
            seen.append(caught_up - end)
    return CatchUp(max(seen, default=None), max(unseen, default=None))


def catch_up_seconds(scenario: Scenario, result: RunResult) -> float | None:
    """The longest time to catch up; None when it is not known."""
    found = catch_up(scenario, result)
    return found.seconds if found.at_least is None else None


def missed_objectives(result: RunResult) -> list[str]:
    """The objectives that were measured and missed, in words."""
    return [
        _missed(name, measured, wanted)
        for name, (wanted, measured) in result.objectives.items()
        if measured is not None and measured > wanted
    ]


def _missed(name: str, measured: float, wanted: float) -> str:
    """A missed objective in the words and units of the report."""
    if name.endswith("_logs"):
        amounts = [f"{measured:.0f} logs", f"{wanted:.0f}"]
    elif name.endswith("_bytes"):
        amounts = [format_bytes(int(measured)), format_bytes(int(wanted))]
    else:
        amounts = [format_seconds(measured), format_seconds(wanted)]
    label = name.rsplit("_", 1)[0].replace("_", " ")
    return f"{label}: {amounts[0]} measured, at most {amounts[1]} wanted"


def settle_verdict(
    result: RunResult,
    found: list[tuple[Verdict, str]],
    expectations: Expectations | None = None,
) -> None:
    """Give the record its verdict, the worst of all, and its reasons.

    Arguments
    ---------
    found: what neither the checks nor the objectives of the record tell.
    expectations: how far each invariant can be kept; None for in full.
    """
    expected = expectations or Expectations((), ())
    broken: list[tuple[Verdict, str]] = []
    lost: dict[str, list[str]] = {}
    for number, check in enumerate(result.checks):
        if check.holds:
            continue
        so = check.circumstances
        cell = expected.cell(check.invariant, check.at_seconds, so)
        where = f"at {check.at_seconds:.1f} s ({check.occasion}): {check.detail}"
        if cell.expectation is Expectation.BY_DESIGN:
            because = expected.because_of(check.invariant, check.at_seconds, so)
            said = f"{check.invariant} cannot be kept under the {because}: {cell.why}"
            lost.setdefault(said, []).append(where)
        elif cell.expectation is Expectation.DETECTED and check.occasion.startswith(FAILOVER):
            because = expected.because_of(check.invariant, check.at_seconds, so)
            said = (
                f"{check.invariant}: what the {because} had damaged was named, and the source that "
                "would have repaired it is lost"
            )
            lost.setdefault(said, []).append(where)
        elif cell.expectation is Expectation.DETECTED:
            result.checks[number] = replace(check, holds=True, detail=f"named: {check.detail}")
        else:
            broken.append((Verdict.SAFETY, f"{check.invariant} is broken {where}"))
    for said, places in lost.items():
        more = f"; {len(places) - 1} more checks found it so" if len(places) > 1 else ""
        broken.append((Verdict.UNRECOVERABLE, f"{said}. Found {places[0]}{more}"))
    missed = [(Verdict.OBJECTIVE, text) for text in missed_objectives(result)]
    reasons = sorted(broken + found + missed, key=lambda reason: SEVERITY.index(reason[0]))
    if reasons:
        result.verdict = reasons[0][0]
    result.reasons = [text for _verdict, text in reasons]
