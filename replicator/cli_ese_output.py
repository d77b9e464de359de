"""What the commands of ``replicator ese`` print alike: tables, findings, options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replicator.cli_output import say

if TYPE_CHECKING:
    from rich.console import Console

    from replicator.ese.errors import EseError

BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="NAME",
        help="The set's three characters, such as E00, where several lie there.",
        show_default=False,
    ),
]


StopBeforeUndoOption = Annotated[
    bool,
    typer.Option(
        "-u",
        "--stop-before-undo",
        help="Redo only: the databases stay dirty, and later logs can still be redone.",
    ),
]


def say_table(console: Console, rows: Sequence[Sequence[str]], numbers: range = range(0)) -> None:
    """A table that is never folded: a line a row, however narrow the terminal is.

    Arguments
    ---------
    console: where to.
    rows: their cells, the titles first.
    numbers: the columns that are right-aligned.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            f"{cell:>{width}}" if index in numbers else f"{cell:<{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say(console, "  ".join(cells).rstrip())


def say_unfinished(console: Console, directory: Path) -> None:
    """A line about a store that was never finished."""
    from replicator.ese_files import unfinished_line

    line = unfinished_line(directory)
    if line is not None:
        say(console, line)


def say_findings(
    console: Console, errors: Sequence[EseError], notes: Iterable[EseError] = ()
) -> None:
    """Notes, errors with their events, and once each what to do about them."""
    from replicator.ese_findings import finding_line, remedies

    for note in notes:
        say(console, f"note: {finding_line(note)}")
    for line in (*map(finding_line, errors), *remedies(errors)):
        say(console, line)
