"""What a benchmark hands back, and how it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

Cell = str | int | float


@dataclass(slots=True)
class Table:
    """Figures under headings; ``notes`` say what was measured and how."""

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """Append a row."""
        self.rows.append(list(cells))

    def document(self) -> dict[str, Any]:
        """The table for ``--json``."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Print the table; text to the left, numbers to the right."""
        shown = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for index, column in enumerate(self.columns):
            numeric = all(not isinstance(row[index], str) for row in self.rows)
            shown.add_column(column, justify="right" if numeric else "left")
        for row in self.rows:
            shown.add_row(*(cell_text(cell) for cell in row))
        console.print(shown)
        for note in self.notes:
            console.print(f"  {note}", soft_wrap=True)


def cell_text(cell: Cell) -> str:
    """A figure with three digits that count."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    if abs(cell) >= 100:
        return f"{cell:.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"


def best_seconds(
    fn: Callable[[], object],
    repetitions: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Least processor time of a call: what other processes take away only makes it longer."""
    best = float("inf")
    for _ in range(repetitions):
        started = clock()
        fn()
        best = min(best, clock() - started)
    return best
