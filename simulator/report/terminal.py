"""A run in the terminal: the progress while it lasts and a short table at its end.

On a terminal the progress is a bar; elsewhere (a log of a build) it is one line in about
ten seconds.  Nothing appears for what takes less than two seconds.  Progress goes to
standard error, the table to standard output, so that either can be kept alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from replicator.command_line import printable
from simulator.measures import RunResult, Verdict
from simulator.report import words
from simulator.units import (
    count_of,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
)

Report = Callable[[float, float, str], None]
"""Called by a run with (simulated seconds, total seconds, what it is doing)."""

QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0
_MOST_REASONS = 12
_VERDICT_COLOUR = {
    Verdict.PASS: "bold green",
    Verdict.OBJECTIVE: "bold yellow",
    Verdict.INCONCLUSIVE: "bold cyan",
    Verdict.UNRECOVERABLE: "bold red",
    Verdict.LIVENESS: "bold red",
    Verdict.SAFETY: "bold white on red",
}


class _SimulatedTime(ProgressColumn):
    """``3 min 20 s of 10 min``, in simulated time."""

    def render(self, task: Task) -> Text:
        if not task.total:
            return Text("")
        return Text(f"{format_duration(task.completed)} of {format_duration(task.total)}")


@contextmanager
def progress_on(console: Console, what: str, world: str = "simulated") -> Iterator[Report]:
    """Shows how far a run is; yields the function that the run reports to.

    ``world`` says what kind of time is counted.
    """
    if console.is_terminal:
        with _bar_on(console, what) as report:
            yield report
    else:
        yield _lines_on(console, world)


@contextmanager
def _bar_on(console: Console, what: str) -> Iterator[Report]:
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _SimulatedTime(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(what, total=None)

    def report(simulated_seconds: float, total_seconds: float, doing: str) -> None:
        bar.update(
            task,
            completed=min(simulated_seconds, total_seconds),
            total=total_seconds or None,
            description=printable(doing or what),
        )

    with bar:
        yield report


def _lines_on(console: Console, world: str) -> Report:
    started = time.monotonic()
    next_line = started + QUIET_SECONDS

    def report(simulated_seconds: float, total_seconds: float, doing: str) -> None:
        nonlocal next_line
        now = time.monotonic()
        if now < next_line:
            return
        next_line = now + LINE_SECONDS
        share = format_percent(simulated_seconds, total_seconds)
        text = (
            f"{format_duration(simulated_seconds)} of {format_duration(total_seconds)} "
            f"{world} ({share}) after {format_duration(now - started)}: {doing}"
        )
        console.print(Text(printable(text)), soft_wrap=True)

    return report


def print_result(console: Console, result: RunResult) -> None:
    """The table of a run, then why it is not a pass."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    verdict = Text(words.VERDICT_TITLE[result.verdict], style=_VERDICT_COLOUR[result.verdict])
    table.add_row("verdict", verdict)
    for name, text in _rows(result):
        table.add_row(name, Text(printable(text)))
    console.print(Text(printable(result.scenario), style="bold"), soft_wrap=True)
    console.print(table)
    if result.reasons:
        console.print(Text("why it is not a pass:", style="bold"))
        for reason in result.reasons[:_MOST_REASONS]:
            console.print(Text(printable(f"  - {reason}")), soft_wrap=True)
        left_out = len(result.reasons) - _MOST_REASONS
        if left_out > 0:
            console.print(Text(f"  and {format_count(left_out)} more, in the JSON record"))


def _rows(result: RunResult) -> Iterator[tuple[str, str]]:
    yield "meaning", words.verdict_sentence(result)
    yield "RPO", _recovery_point(result)
    if (afterwards := words.afterwards_sentence(result)) is not None:
        yield "afterwards", afterwards
    yield "RTO", _recovery_time(result)
    for row in words.objective_rows(result):
        outcome = {True: "met", False: "missed", None: "open"}[row.met]
        yield "objective", f"{row.label} {row.wanted}: {row.measured}, {outcome}"
    if result.queue_peaks is None:
        yield "spool peak", _of(result.spool_peak_bytes, result.spool_limit_bytes, "limit")
    else:
        yield "queue peaks", words.queues_phrase(result.queue_peaks)
    yield "link", _of(result.wire_bytes, result.captured_bytes, "captured")
    yield "operations", _operations(result)
    yield "checks", words.checks_sentence(result)
    for invariant, why in result.not_judged.items():
        yield "not judged", f"{invariant}: {why}"
    yield "time", _time(result)
    if result.live is None:
        yield "trace hash", f"{result.trace_hash} (seed {result.seed})"
    for text in words.live_sentences(result):
        yield "live", text


def _recovery_point(result: RunResult) -> str:
    worst = result.worst_loss
    if worst is None:
        return "not measured: nothing failed"
    parts = [
        format_duration(worst.seconds),
        count_of(worst.operations, "operation"),
        format_bytes(worst.bytes),
    ]
    messages = words.messages_of(worst)
    if messages:
        parts.append(messages)
    when = f"{words.spoken(worst.failure)} after {format_duration(worst.at_seconds)}"
    return f"{', '.join(parts)} ({when})"


def _recovery_time(result: RunResult) -> str:
    recovery = result.recovery
    if recovery is None:
        return "not measured: the source was not lost"
    parts = " + ".join(
        f"{name} {format_duration(float(getattr(recovery, name)))}" for name in words.RECOVERY_PARTS
    )
    return f"{format_duration(recovery.total)} = {parts}"


def _of(part_bytes: int, whole_bytes: int, name: str) -> str:
    if not whole_bytes:
        return format_bytes(part_bytes)
    share = format_percent(part_bytes, whole_bytes)
    return f"{format_bytes(part_bytes)}, {share} of {format_bytes(whole_bytes)} {name}"


def _operations(result: RunResult) -> str:
    text = format_count(result.operations)
    if result.messages is not None:
        text += f", {count_of(result.messages, 'message')}"
    return f"{text}; {count_of(result.resynchronizations, 'resynchronization')}"


def _time(result: RunResult) -> str:
    simulated, wall = (
        format_duration(result.simulated_seconds),
        format_duration(result.wall_seconds),
    )
    if result.live is not None:
        return f"{simulated} with real processes, {wall} in all (seed {result.seed})"
    return f"{simulated} simulated in {wall}"
