"""A campaign in the terminal: the progress while it lasts and the tables at its end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from replicator.command_line import printable
from simulator.campaign.campaign import Limits, Progress
from simulator.campaign.failures import SavedFailure
from simulator.campaign.job import PlanOutcome
from simulator.campaign.killmatrix import Fate
from simulator.campaign.summary import MEASURES, quantiles, verdicts
from simulator.measures import Verdict
from simulator.report.campaign_junit import replay_line
from simulator.report.terminal import LINE_SECONDS, QUIET_SECONDS
from simulator.units import count_of, format_bytes, format_count, format_duration

_COLOURS = {
    Verdict.SAFETY: "bold white on red",
    Verdict.LIVENESS: "bold red",
    Verdict.UNRECOVERABLE: "red",
    Verdict.OBJECTIVE: "yellow",
    Verdict.INCONCLUSIVE: "cyan",
    Verdict.PASS: "green",
}


def _state(progress: Progress, limits: Limits) -> str:
    """``1,200 plans, 31.4/s, 0 failed, 12 min left``."""
    words = [
        count_of(progress.before + progress.done, "plan"),
        f"{progress.rate:.1f}/s",
        f"{format_count(progress.failed)} failed",
    ]
    left = [
        *([limits.seconds - progress.seconds] if limits.seconds is not None else []),
        *(
            [(limits.plans - progress.before - progress.done) / progress.rate]
            if limits.plans is not None and progress.rate
            else []
        ),
    ]
    if left:
        words.append(f"{format_duration(max(0.0, min(left)))} left")
    if progress.lost_workers:
        words.append(f"{count_of(progress.lost_workers, 'batch', 'batches')} lost with a worker")
    return ", ".join(words)


def _share(progress: Progress, limits: Limits) -> float:
    shares = [0.0]
    if limits.seconds:
        shares.append(progress.seconds / limits.seconds)
    if limits.plans:
        shares.append((progress.before + progress.done) / limits.plans)
    return min(1.0, max(shares))


@contextmanager
def campaign_progress(console: Console, limits: Limits) -> Iterator[Callable[[Progress], None]]:
    """Shows how far a campaign is; yields the function that it reports to."""
    if not console.is_terminal:
        yield _lines(console, limits)
        return
    bar = Bar(
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting the workers", total=1.0)

        def report(progress: Progress) -> None:
            bar.update(
                task, completed=_share(progress, limits), description=_state(progress, limits)
            )

        yield report


def _lines(console: Console, limits: Limits) -> Callable[[Progress], None]:
    last = time.monotonic() - LINE_SECONDS + QUIET_SECONDS

    def report(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            console.print(Text(_state(progress, limits)), soft_wrap=True)

    return report


def print_campaign(console: Console, frame: pd.DataFrame, progress: Progress) -> None:
    """The tables of a campaign: verdicts, and quantiles by kind of fault."""
    console.print(_verdicts(frame))
    if len(frame):
        console.print(_quantiles(frame))
    repeated = int(frame["repeated"].sum())
    never = int(frame["never_happened"].sum())
    lines = [
        f"{count_of(progress.done, 'plan')} in {format_duration(progress.seconds)}"
        f" ({progress.rate:.1f} a second)",
        f"{format_count(repeated)} of {format_count(len(frame))} run twice to compare the traces",
    ]
    if never:
        lines.append(f"{count_of(never, 'fault')} had no occasion to happen")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _verdicts(frame: pd.DataFrame) -> Table:
    table = Table(title="How the plans ended", title_justify="left")
    table.add_column("verdict")
    table.add_column("plans", justify="right")
    for name, count in verdicts(frame).items():
        if count:
            table.add_row(Text(name, style=_COLOURS[Verdict(name)]), format_count(count))
    return table


def _quantiles(frame: pd.DataFrame) -> Table:
    """One row for each kind of fault; median and 99 % of each measure, with the interval."""
    found = quantiles(frame)
    table = Table(
        title="By kind of fault that happened: median; 95 % of the plans stay below (between)",
        title_justify="left",
        show_lines=True,
    )
    table.add_column("fault")
    table.add_column("plans", justify="right")
    for name in MEASURES.values():
        table.add_column(name, justify="right")
    for fault in dict.fromkeys(each.fault for each in found):
        row: list[str] = [
            fault.replace("_", " "),
            format_count(max(each.runs for each in found if each.fault == fault)),
        ]
        for measure in MEASURES:
            form = format_bytes if measure.endswith("bytes") else format_duration
            mine = {q.quantile: q for q in found if (q.fault, q.measure) == (fault, measure)}
            if not mine:
                row.append("-")
                continue
            high = mine[0.95]
            known = high.low is not None and high.high is not None
            between = f"{form(high.low or 0)} to {form(high.high or 0)}" if known else "?"
            row.append(f"{form(mine[0.5].value)}\n{form(high.value)}\n({between})")
        table.add_row(*row)
    return table


def print_kill_matrix(console: Console, fates: Sequence[Fate]) -> None:
    """One row for each mutant: what it took to find it.

    The matrix itself, a column for each kind of fault, is wider than a terminal: it is the page
    that :mod:`simulator.report.kill_matrix` makes.
    """
    table = Table(title="Rules taken away, and what it takes to notice", title_justify="left")
    table.add_column("rule", no_wrap=True)
    table.add_column("plans", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("faults that are left")
    for fate in fates:
        if fate.killed:
            verdict = Text(fate.verdict, style=_COLOURS[Verdict(fate.verdict)])
        elif fate.is_alive:
            verdict = Text("ALIVE", style="bold white on red")
        else:
            verdict = Text("NOT KNOWN", style="bold black on yellow")
        needs = fate.kinds or (("none",) if fate.killed else ())
        words = ", ".join(kind.replace("_", " ") for kind in needs)
        table.add_row(fate.name, format_count(fate.plans), verdict, words)
    console.print(table)
    killed = sum(fate.killed for fate in fates)
    console.print(Text(f"{killed} of {count_of(len(fates), 'mutant')} found"))
    for fate in fates:
        if fate.errors:
            many = count_of(fate.errors, "run")
            verb = "proves" if fate.errors == 1 else "prove"
            words = printable(f"{fate.name}: {many} {verb} nothing; {fate.error}")
            console.print(Text(words), soft_wrap=True)
    if any(fate.is_undecided for fate in fates):
        console.print(
            Text(
                "What such runs would have found is not known. A plan that fails without the "
                "mutant is one of 'simulator campaign', with the same seed; an error please report."
            ),
            soft_wrap=True,
        )


def print_failure(console: Console, saved: SavedFailure) -> None:
    """What a failure is, and how it is seen again."""
    verdict = saved.outcome.verdict
    head = Text.assemble(
        (f" {verdict.value} ", _COLOURS[verdict]),
        f" plan {saved.number}: {count_of(saved.faults_before, 'fault')} shrunk to "
        f"{len(saved.plan.faults)} in {count_of(saved.runs, 'run')}",
    )
    console.print(head, soft_wrap=True)
    for reason in saved.outcome.reasons[:2]:
        console.print(Text(printable(f"  {reason}")), soft_wrap=True)
    verb = "run" if saved.test_path is None else "replay"
    lines = [shlex.join(["simulator", verb, str(saved.scenario_path)])]
    if saved.test_path is not None:
        lines += [shlex.join(["pytest", str(saved.test_path)]), f"timeline: {saved.timeline_path}"]
    for line in lines:
        console.print(Text(printable(f"  {line}")), soft_wrap=True)


def print_unsaved(console: Console, failures: Sequence[PlanOutcome], results: Path) -> None:
    """Failures that could not be saved: how each was found, and how its plan is run again."""
    for outcome in failures:
        head = Text.assemble(
            (f" {outcome.verdict.value} ", _COLOURS[outcome.verdict]),
            f" plan {outcome.number}, as it was found",
        )
        console.print(head, soft_wrap=True)
        for line in (*outcome.reasons[:2], replay_line(results, outcome.number)):
            console.print(Text(printable(f"  {line}")), soft_wrap=True)
