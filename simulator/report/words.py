"""What a run says, in words for people who decide: no jargon, one fact a sentence.

The command's table and the HTML report take their sentences from here, so that they never
tell two stories.  Everything returned is plain text; who prints it escapes it.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass

from simulator.measures import (
    LOSS_OF_SOURCE,
    ORDERED_FAILOVER,
    Check,
    LossMeasure,
    QueuePeaks,
    RunResult,
    Verdict,
)
from simulator.units import (
    count_of,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
)

VERDICT_TITLE = {
    Verdict.PASS: "pass",
    Verdict.OBJECTIVE: "objective missed",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.UNRECOVERABLE: "unrecoverable by design",
    Verdict.LIVENESS: "did not converge",
    Verdict.SAFETY: "safety failure",
}

RECOVERY_PARTS = {
    "detect": "noticing the loss",
    "decide": "deciding to fail over",
    "recover": "recovering the store",
    "mount": "mounting it",
    "redirect": "redirecting the clients",
}
"""The parts of the recovery time in the order in which they pass."""


@dataclass(frozen=True, slots=True)
class ObjectiveRow:
    """One objective as it is shown."""

    label: str
    wanted: str
    measured: str
    met: bool | None
    """None when it could not be measured."""


@dataclass(frozen=True, slots=True)
class InvariantRow:
    """All judgements of one invariant."""

    invariant: str
    held: int
    breaches: list[Check]


def _objective_label(name: str) -> str:
    stem = name.removesuffix("_seconds").removesuffix("_bytes").removesuffix("_logs")
    return stem.upper() if stem in ("rpo", "rto") else spoken(stem)


def _objective_value(name: str, value: float) -> str:
    if name.endswith("_seconds"):
        return format_duration(value)
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name.endswith("_logs"):
        return count_of(round(value), "log")
    return format_count(value)


def objective_rows(result: RunResult) -> list[ObjectiveRow]:
    """The objectives with their units, in the scenario's order."""
    rows = []
    for name, (wanted, measured) in result.objectives.items():
        known = measured is not None and not math.isnan(measured)
        rows.append(
            ObjectiveRow(
                label=_objective_label(name),
                wanted=f"at most {_objective_value(name, wanted)}",
                measured=_objective_value(name, measured)
                if measured is not None and known
                else "not measured",
                met=measured <= wanted if measured is not None and known else None,
            )
        )
    return rows


def invariant_rows(result: RunResult) -> list[InvariantRow]:
    """Checks by invariant: broken ones first, then in the order of their first check."""
    groups: dict[str, list[Check]] = {}
    for check in result.checks:
        groups.setdefault(check.invariant, []).append(check)
    rows = [
        InvariantRow(
            invariant=name,
            held=sum(check.holds for check in checks),
            breaches=[check for check in checks if not check.holds],
        )
        for name, checks in groups.items()
    ]
    return sorted(rows, key=lambda row: not row.breaches)


def checks_sentence(result: RunResult) -> str:
    """How many checks were made and held."""
    made = len(result.checks)
    if not made:
        return "No check was made."
    broken = sum(not check.holds for check in result.checks)
    of = f"of {count_of(len(invariant_rows(result)), 'invariant')}"
    if not broken:
        only = "The one check" if made == 1 else f"All {format_count(made)} checks"
        return f"{only} {of} held."
    return f"{format_count(broken)} of {count_of(made, 'check')} {of} failed."


def spoken(name: str) -> str:
    """A name of the code, such as ``power_loss of replica``, as people say it."""
    return name.replace("_", " ")


def work_lost(loss: LossMeasure) -> str:
    """``3.2 s of work (14 messages, 612 KiB)``, or ``nothing``."""
    if not (loss.seconds or loss.bytes or loss.operations or loss.messages):
        return "nothing"
    what = messages_of(loss) or count_of(loss.operations, "write operation")
    return f"{format_duration(loss.seconds)} of work ({what}, {format_bytes(loss.bytes)})"


def messages_of(loss: LossMeasure) -> str:
    """``14 messages``, ``14 messages in 9 mailboxes``; empty where there are no messages."""
    if loss.messages is None:
        return ""
    what = count_of(loss.messages, "message")
    if not loss.messages or not loss.mailboxes:
        return what
    return f"{what} in {count_of(loss.mailboxes, 'mailbox', 'mailboxes')}"


def loss_sentence(result: RunResult) -> str:
    """The recovery point as a sentence."""
    worst = result.worst_loss
    if worst is None:
        return "Nothing failed in this run, so it does not say how much a failure would cost."
    lost = work_lost(worst)
    after = format_duration(worst.at_seconds)
    if worst.failure == ORDERED_FAILOVER:
        return (
            f"When the failover was ordered after {after}, {lost} that the source had "
            "acknowledged was missing on the replica."
        )
    if worst.failure == LOSS_OF_SOURCE:
        return f"When the source was lost after {after}, {lost} was missing on the replica."
    if lost == "nothing":
        measured = count_of(len(result.losses), "measured failure")
        return f"At none of {measured} was anything missing on the replica."
    return (
        f"The costliest moment was after {after} ({spoken(worst.failure)}): had the source "
        f"been lost then, {lost} would have been missing on the replica."
    )


def afterwards_sentence(result: RunResult) -> str | None:
    """What an old source did that did not know of a failover; None when none was ordered."""
    later = result.written_afterwards
    if later is None:
        return None
    if not later.operations:
        return "The old source acknowledged nothing after that."
    what = (
        count_of(later.operations, "write operation")
        if later.messages is None
        else count_of(later.messages, "message")
    )
    return (
        f"The old source went on for {format_duration(later.seconds)} after that: {what} "
        f"({format_bytes(later.bytes)}) that it acknowledged are in no copy."
    )


def recovery_sentence(result: RunResult) -> str | None:
    """The recovery time as a sentence; None when nobody fails over."""
    recovery = result.recovery
    if recovery is None:
        return None
    total = format_duration(recovery.total)
    since = "loss" if result.written_afterwards is None else "order"
    largest = max(RECOVERY_PARTS, key=lambda part: float(getattr(recovery, part)))
    share = float(getattr(recovery, largest))
    if not recovery.total or share == recovery.total:
        return f"Users were back at work {total} after the {since}."
    return (
        f"Users were back at work {total} after the {since}; the largest part of that is "
        f"{RECOVERY_PARTS[largest]} ({format_duration(share)})."
    )


def resources_sentence(result: RunResult) -> str:
    """Spool, or queues of logs, and link as a sentence."""
    crossed = (
        f"The source wrote {format_bytes(result.captured_bytes)}; "
        f"{format_bytes(result.wire_bytes)} crossed the link."
    )
    queues = result.queue_peaks
    if queues is not None:
        return f"The longest queues were {queues_phrase(queues)}. {crossed}"
    limit, peak = result.spool_limit_bytes, result.spool_peak_bytes
    share = format_percent(peak, limit)
    spool = f"The spool grew to {format_bytes(peak)}" + (
        f", {share} of its limit of {format_bytes(limit)}" if limit else ""
    )
    return f"{spool}. {crossed}"


def queues_phrase(queues: QueuePeaks) -> str:
    """The longest queues of log shipping."""
    copies, replays = queues.copy_queue_logs, queues.replay_queue_logs
    return (
        f"{count_of(copies, 'log')} to be copied ({format_bytes(queues.copy_queue_bytes)}) and "
        f"{count_of(replays, 'log')} to be replayed ({format_bytes(queues.replay_queue_bytes)})"
    )


def verdict_sentence(result: RunResult) -> str:
    """What the verdict means for the one who asked."""
    match result.verdict:
        case Verdict.PASS:
            if not result.checks:
                return "Nothing speaks against the copy, but it was never checked."
            if result.objectives:
                if any(row.met is None for row in objective_rows(result)):
                    return (
                        "The copy was usable whenever it was checked, and every objective that "
                        "could be measured was met."
                    )
                return "The copy was usable whenever it was checked, and every objective was met."
            return "The copy was usable whenever it was checked; no objective was set."
        case Verdict.OBJECTIVE:
            missed = [row for row in objective_rows(result) if row.met is False]
            names = "; ".join(f"{row.label}: {row.measured}, {row.wanted}" for row in missed)
            return f"The copy stayed correct, but not every objective was met ({names})."
        case Verdict.INCONCLUSIVE:
            return "The run ended before the question could be answered: neither yes nor no."
        case Verdict.UNRECOVERABLE:
            return "Data is gone that no design could have kept under these faults."
        case Verdict.LIVENESS:
            return (
                "The copy did not catch up within its bound after all faults were over, "
                "or a process of the replicator gave up."
            )
        case Verdict.SAFETY:
            return "The copy cannot be trusted: a promise that must always hold was broken."


def live_sentences(result: RunResult) -> list[str]:
    """What must be known of a live run to read its figures; nothing for other worlds."""
    notes = result.live
    if notes is None:
        return []
    sentences = [f"Not as in the scenario: {each}." for each in notes.without_counterpart]
    if notes.copies:
        sentences.append(
            f"The replica was copied {count_of(notes.copies, 'time')} to be judged, and stood "
            f"still for {format_duration(notes.longest_copy_seconds)} at most meanwhile."
        )
    if notes.converged_seconds is not None:
        sentences.append(
            f"After {format_duration(notes.converged_seconds)} the image and the source's "
            "directory were alike byte by byte."
        )
    return sentences


def headline(result: RunResult) -> list[str]:
    """The sentences of the report's first block."""
    sentences = [
        verdict_sentence(result),
        loss_sentence(result),
        afterwards_sentence(result),
        recovery_sentence(result),
        resources_sentence(result),
        checks_sentence(result),
    ]
    return [sentence for sentence in sentences if sentence]


def repeat_command(result: RunResult) -> str:
    """The command that makes this run again, as far as the record knows it."""
    world = "" if result.world == "simulated" else f" --world {result.world}"
    return f"simulator run {shlex.quote(result.scenario)} --seed {result.seed}{world}"
