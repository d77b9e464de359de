"""Coverage in the terminal: what was taken under which kind of fault, and what never was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulator.campaign.coverage import NEVER_ASKED, NO_FAULT, TRANSITION_NAMES, Coverage
from simulator.campaign.marks import MARKS
from simulator.units import count_of, format_count

NAMED_GAPS: Final = 3
"""So many gaps of a kind are named in the short table; the matrix has all."""
COLUMNS: Final = 5
"""Kinds of faults side by side."""


def short_count(count: int) -> str:
    """At most four characters: ``999``, ``12k``, ``3M``; ``-`` for none."""
    if not count:
        return "-"
    for limit, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= limit:
            return f"{count // limit}{unit}"
    return str(count)


def print_gaps(console: Console, coverage: Coverage) -> None:
    """One row for each kind of fault: how many transitions, which are missing."""
    reached = len(coverage.reached())
    table = Table(
        title=f"Transitions of the protocol by kind of fault at work (any plan: {reached})",
        title_justify="left",
    )
    table.add_column("fault")
    table.add_column("taken", justify="right")
    table.add_column("not taken")
    for kind in _ordered(coverage):
        missing = coverage.missing(kind)
        names = [TRANSITION_NAMES[number] for number in missing[:NAMED_GAPS]]
        if len(missing) > NAMED_GAPS:
            names.append(f"and {len(missing) - NAMED_GAPS} more")
        row = (kind.replace("_", " "), f"{reached - len(missing)}", Text("; ".join(names)))
        table.add_row(*row)
    console.print(table)
    if coverage.never:
        console.print(Text(f"taken by no plan: {'; '.join(coverage.never)}"), soft_wrap=True)


def print_matrix(console: Console, coverage: Coverage) -> None:
    """Transition by kind with the number of plans, some kinds at a time."""
    kinds = _ordered(coverage)
    for first in range(0, len(kinds), COLUMNS):
        shown = kinds[first : first + COLUMNS]
        table = Table(
            title=f"Plans that took a transition under a kind of fault, of {coverage.plans:,}",
            title_justify="left",
        )
        table.add_column("transition", no_wrap=True)
        for kind in shown:
            table.add_column(kind.replace("_", "\n"), justify="right", no_wrap=True)
        for number, name in enumerate(TRANSITION_NAMES):
            if name in NEVER_ASKED:
                continue
            cells = [short_count(coverage.counts[kind][number]) for kind in shown]
            table.add_row(
                Text(_short(name)),
                *(Text(cell, style="red" if cell == "-" else "") for cell in cells),
            )
        console.print(table)
    console.print("S: the source sends, R: the replica; -: no plan")
    asked = f"{len(NEVER_ASKED)} transitions of comparisons are left out: no run asks for one"
    console.print(Text(asked), soft_wrap=True)


def print_marks(
    console: Console, counts: Mapping[str, int], required: Sequence[str], plans: int
) -> None:
    """What really happened in how many plans; demanded marks that were never reached stand out."""
    table = Table(title="What really happened", title_justify="left")
    table.add_column("mark", no_wrap=True)
    table.add_column("plans", justify="right")
    table.add_column("meaning")
    for mark in MARKS:
        count = counts.get(mark.name, 0)
        missed = not count and mark.name in required
        word = Text("NEVER", style="bold white on red") if missed else Text(format_count(count))
        table.add_row(mark.name, word, mark.meaning)
    console.print(table)
    missing = [name for name in required if not counts.get(name)]
    if missing:
        text = f"demanded, and reached by none of {count_of(plans, 'plan')}: {', '.join(missing)}"
        console.print(Text(text, style="bold red"), soft_wrap=True)


def _short(name: str) -> str:
    """``streaming S BATCH`` for ``streaming: source sends BATCH``."""
    state, role, _sends, frame = name.replace(":", "").split()
    return f"{state} {role[0].upper()} {frame}"


def _ordered(coverage: Coverage) -> list[str]:
    """``none`` first."""
    kinds = sorted(coverage.counts)
    return sorted(kinds, key=lambda kind: kind != NO_FAULT)
