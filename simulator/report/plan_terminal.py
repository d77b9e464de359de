"""A plan in the terminal: the answer, then the tables, 80 columns wide.

Of what was assumed only the first lines are shown. A column whose cells all say nothing is left
out, and so are the longest tables' later rows; the report and the JSON record have everything.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from replicator.command_line import printable
from simulator.plan.plan_answer import Topic
from simulator.plan.planner import Plan
from simulator.report.page import unbroken
from simulator.report.plan_marks import marks_line
from simulator.report.plan_story import headline
from simulator.report.plan_table import Column, PlanTable
from simulator.report.plan_tables import plan_tables
from simulator.report.terminal import LINE_SECONDS, QUIET_SECONDS
from simulator.units import format_count

WIDTH: Final = 80
MOST_ROWS: Final = 24
MOST_REMARKS: Final = 5
"""Lines of what was assumed."""
SHOWN: Final = (
    "objectives",
    "needs",
    "kinds",
    "rates",
    "spools",
    "lasts",
    "first_copy",
    "recovery",
    "validity",
)
"""Keys of the tables that fit a screen; the others are in the report."""
_COLOURS: Final = {
    "met": "green",
    "enough": "green",
    "missed": "bold red",
    "not enough": "bold red",
    "never": "bold red",
}
_NARROW: Final = 8
"""A text is not squeezed into less."""
SAYS_NOTHING: Final = frozenset({"-", "", "0 s"})
"""A column of nothing but these is left out."""
LEFT_OUT: Final = frozenset(
    ("kinds", column)
    for column in (
        "catches_up",
        "rpo_50_seconds",
        "rpo_99_seconds",
        "waiting_peak_bytes",
        "carried_bytes_per_day",
        "missed",
    )
)
"""Tables and their columns for which there is no room."""


def print_plan(console: Console, plan: Plan, topics: Sequence[Topic]) -> None:
    """The answer, and the tables.

    Arguments
    ---------
    topics: the answer in words.
    """
    title = f"{plan.organisation.name}: {headline(plan)}"
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    by_key = {table.key: table for table in plan_tables(plan)}
    shown = [by_key[key] for key in SHOWN if key in by_key]
    lines = _remark_lines(plan.change.remarks)
    below = [cell for table in shown for row in table.spelled() for cell in row]
    print_topics(console, topics, (*lines, *below, *(table.note for table in shown)))
    _print_remarks(console, lines)
    for table in shown:
        console.print()
        print_table(console, table)


def print_topics(console: Console, topics: Sequence[Topic], below: Iterable[str] = ()) -> None:
    """The answer: the names of its topics on the left, each sentence on lines of its own; then what
    the marks mean that stand in it, or in the texts ``below`` it."""
    margin = max((len(topic.name) for topic in topics), default=0) + 2
    for topic in topics:
        label = topic.name
        for sentence in topic.sentences:
            print_paragraph(console, sentence, " " * margin, label=label)
            label = ""
    marks = marks_line((*(each for topic in topics for each in topic.sentences), *below))
    if marks:
        print_paragraph(console, marks, style="dim")


def _remark_lines(remarks: Sequence[str]) -> list[str]:
    """What the curve says of itself, :data:`MOST_REMARKS` lines of it: the last remark first, which
    tells how few days became the plan."""
    told = list(dict.fromkeys((*remarks[-1:], *remarks)))
    lines = [
        line
        for remark in told
        for line in textwrap.wrap(printable(remark), WIDTH - 4, subsequent_indent="  ")
    ]
    if len(lines) > MOST_REMARKS:
        lines = [*lines[: MOST_REMARKS - 1], "and more, in the report"]
    return lines


def _print_remarks(console: Console, lines: Sequence[str]) -> None:
    if not lines:
        return
    console.print(Text("What is written rests on", style="bold"))
    for line in lines:
        console.print(Text("  " + line), soft_wrap=True)


def print_table(console: Console, table: PlanTable) -> None:
    """One table, with its remarks below it: beside the figures there is no room for them."""
    rows = list(table.spelled())
    shown = [
        index
        for index, column in enumerate(table.columns)
        if (table.key, column.key) not in LEFT_OUT
        and column.key != "reason"
        and any(row[index] not in SAYS_NOTHING for row in rows)
    ]
    console.print(Text(printable(table.title), style="bold"), soft_wrap=True)
    made = Table(box=None, padding=(0, 1, 0, 0))
    cells = [[printable(row[index]) for row in rows[:MOST_ROWS]] for index in shown]
    columns = [table.columns[index] for index in shown]
    for column, width in zip(columns, _widths(columns, cells), strict=True):
        made.add_column(
            column.name,
            justify="right" if column.is_number else "left",
            overflow="fold",
            width=width,
            header_style="dim",
        )
    for row in zip(*cells, strict=True):
        made.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in row))
    console.print(made, width=WIDTH)
    if len(rows) > MOST_ROWS:
        console.print(f"and {format_count(len(rows) - MOST_ROWS)} more, in the report")
    for text in dict.fromkeys(_remarks(table, rows)):
        print_paragraph(console, text, style="dim")


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int | None]:
    """Widths at which no figure is broken: texts give way, the longest first.

    None for all where figures alone are too wide: then any cell may be broken.
    """
    longest = [max(len(text) for text in texts) for texts in cells]
    names = [len(column.name) for column in columns]
    if sum(map(max, longest, names)) + len(columns) <= WIDTH:
        return list(map(max, longest, names))
    # Names of figures are broken between words.
    words = [
        max(map(len, column.name.split())) if column.is_number else len(column.name)
        for column in columns
    ]
    widths = list(map(max, longest, words))
    while sum(widths) + len(widths) > WIDTH:
        texts_only = [n for n, column in enumerate(columns) if not column.is_number]
        widest = max(texts_only, key=lambda n: widths[n], default=-1)
        if widest < 0 or widths[widest] <= _NARROW:
            return [None] * len(widths)
        widths[widest] -= 1
    return list(widths)


def print_paragraph(
    console: Console, text: str, indent: str = "", style: str = "", label: str = ""
) -> None:
    """A paragraph in which no number is parted from its unit.

    Arguments
    ---------
    label: stands in the first line's indent.
    """
    lines = textwrap.wrap(unbroken(printable(text)), WIDTH - len(indent), break_on_hyphens=False)
    for line in lines:
        shown = Text(label.ljust(len(indent)), style="bold")
        shown.append(line.replace("\N{NO-BREAK SPACE}", " "), style=style or "not bold")
        console.print(shown, soft_wrap=True)
        label = ""


def _remarks(table: PlanTable, rows: Sequence[Sequence[str]]) -> list[str]:
    found = [table.note] if table.note else []
    if table.columns[-1].key == "reason":
        found += [f"{row[0]}: {row[-1]}" for row in rows if row[-1]]
    return found


def steps_on(console: Console) -> Callable[[str], None]:
    """A function that is told each part of the work; it says them when it takes longer than
    :data:`~simulator.report.terminal.QUIET_SECONDS`, and then not more often than each
    :data:`~simulator.report.terminal.LINE_SECONDS`."""
    started = time.monotonic()
    next_line = QUIET_SECONDS

    def tell(what: str) -> None:
        nonlocal next_line
        taken = time.monotonic() - started
        if taken >= next_line:
            next_line = taken + LINE_SECONDS
            console.print(Text(printable(f"{what} (after {taken:.0f} s)")), soft_wrap=True)

    return tell
