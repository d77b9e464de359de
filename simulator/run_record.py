"""What the runs of both worlds have in common: their end, and the record that they leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from simulator.expectations import Expectations
from simulator.judgement import TruthView
from simulator.measures import (
    Check,
    FaultMark,
    LiveNotes,
    LossMeasure,
    QueuePeaks,
    RecoveryTime,
    RunResult,
    Samples,
    Verdict,
)
from simulator.objectives import measure_objectives, settle_verdict
from simulator.scenario import Scenario
from simulator.telemetry import TelemetryJudge

Progress = Callable[[float, float, str], None]
"""Called with (seconds, total seconds, state of the source) at each sample."""

_AFTERMATH = 16
"""Curves end at the loss of the source, with a sixteenth of the time before it to look at."""


def in_aftermath(now_ns: int, lost_at_ns: int | None) -> bool:
    """Whether an instant is beyond the curves: the rest of a failover is outside of them."""
    return lost_at_ns is not None and (now_ns - lost_at_ns) * _AFTERMATH > lost_at_ns


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed in a run, whatever its world."""

    losses: list[LossMeasure]
    checks: list[Check]
    faults: list[FaultMark]
    recovery: RecoveryTime | None
    samples: Samples
    spool_peak_bytes: int
    journal_peak_bytes: int
    telemetry: TelemetryJudge
    truth: TruthView
    breaches: Sequence[str]
    """What capture did wrong, in words."""
    wire_bytes: tuple[int, int]
    """To the replica and back."""
    messages: int | None
    synchronizations: int
    """The first one, which is no *re*synchronization, included."""
    prefix: tuple[int, int]
    found: list[tuple[Verdict, str]]
    """What is to be said of the run beside its checks and objectives."""
    queue_peaks: QueuePeaks | None = None
    """Of log shipping."""
    not_judged: Mapping[str, str] = field(default_factory=dict)
    """Invariants that there was no ground to judge, and why."""
    never_happened: Sequence[str] = ()
    """Faults that had no occasion, in words; each is among ``found``."""


def make_record(
    scenario: Scenario,
    seed: int,
    observed: Observed,
    *,
    wall_seconds: float,
    seconds: float,
    trace_hash: str = "",
    live: LiveNotes | None = None,
) -> RunResult:
    """The record of a run, its objectives measured and its verdict given.

    Arguments
    ---------
    seconds: how much time of the scenario was covered.
    live: of a run with real processes.
    """
    o = observed
    reports = "every sample" if live is None else f"{o.telemetry.reports} reports"
    of_the_whole_run = (
        _check("honest telemetry", seconds, reports, o.telemetry.lies),
        _check("capture is complete", seconds, "every operation", o.breaches),
    )
    # What was found wrong counts, also where nothing was to be judged.
    judged = [c for c in of_the_whole_run if c.invariant not in o.not_judged or not c.holds]
    checks = [*o.checks, *judged]
    result = RunResult(
        scenario=scenario.name,
        description=scenario.description,
        seed=seed,
        verdict=Verdict.PASS,
        reasons=[],
        losses=o.losses,
        recovery=o.recovery,
        objectives={},
        checks=checks,
        faults=o.faults,
        samples=o.samples,
        spool_peak_bytes=o.spool_peak_bytes,
        spool_limit_bytes=scenario.protection.spool_limit_bytes,
        journal_peak_bytes=o.journal_peak_bytes,
        queue_peaks=o.queue_peaks,
        wire_bytes=o.wire_bytes[0],
        reverse_wire_bytes=o.wire_bytes[1],
        captured_bytes=o.truth.written_bytes[-1],
        operations=o.truth.instant,
        messages=o.messages,
        resynchronizations=max(0, o.synchronizations - 1),
        prefix=o.prefix,
        trace_hash=trace_hash,
        wall_seconds=wall_seconds,
        simulated_seconds=seconds,
        world="simulated" if live is None else "live",
        live=live,
        not_judged=dict(o.not_judged),
        never_happened=list(o.never_happened),
    )
    unanswered = measure_objectives(scenario, result)
    settle_verdict(result, o.found + unanswered, Expectations(scenario.faults, o.faults))
    return result


def _check(invariant: str, seconds: float, occasion: str, breaches: Sequence[str]) -> Check:
    return Check(invariant, seconds, occasion, not breaches, "; ".join(breaches[:3]))


def unfinished(
    *,
    source_lost: bool,
    replica_lost: bool,
    source_lives: bool = False,
    taken_over: bool,
    takeover_defect: str,
    programs_done: bool,
    converged: bool,
    state: str,
    held_seconds: float = 0.0,
) -> list[tuple[Verdict, str]]:
    """What keeps the question open at the end of a run, or answers it badly.

    Arguments
    ---------
    source_lost: it is, or a failover was ordered though it may live.
    source_lives: it does, or it would if somebody gave it power.
    state: the source's, and its cause if there is one.
    held_seconds: so long the programs had changed nothing, though the replica has all that there
        is; 0 where they had, or nobody knows.
    """
    if source_lost and replica_lost and source_lives and taken_over:
        text = "the replica that had taken over was lost, and with it what its clients wrote"
        return [(Verdict.UNRECOVERABLE, f"{text}; the old source has what was written there")]
    if source_lost and replica_lost and source_lives:
        text = "the replica was lost before it had taken over: the source has no copy"
        return [(Verdict.INCONCLUSIVE, text)]
    if source_lost and replica_lost:
        return [(Verdict.UNRECOVERABLE, "source and replica are lost: nothing is left")]
    if source_lost:
        if takeover_defect:
            return [(Verdict.LIVENESS, takeover_defect)]
        if not taken_over:
            return [(Verdict.LIVENESS, "the failover did not end within the settling time")]
        return []
    found = []
    if replica_lost:
        text = "the replica was lost for ever: from then on the source was unprotected"
        found.append((Verdict.INCONCLUSIVE, text))
    if held_seconds:
        text = f"the programs had not ended, and had changed nothing for {held_seconds:.0f} s"
        found.append((Verdict.LIVENESS, f"{text}, though the replica has all that there is"))
    elif not programs_done:
        text = "the programs had not ended when the time was over"
        found.append((Verdict.INCONCLUSIVE, text))
    elif not converged and not replica_lost:
        text = "the replica had not converged when the settling time was over"
        found.append((Verdict.LIVENESS, f"{text} (source: {state})"))
    return found
