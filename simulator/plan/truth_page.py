"""``docs/plan-truth.md``: the fluid plan beside the event simulation, every case measured anew.

``python -m simulator.plan.truth_page > docs/plan-truth.md`` takes some minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined

from simulator.plan.truth import ALLOWED, Row, compare
from simulator.plan.truth_cases import CASES, TruthCase

_TEMPLATE: Final = Path(__file__).with_name("plan_truth.md.j2")


def spelled(row: Row, value: float) -> str:
    """A figure of a row with its unit."""
    if row.figure == "spool peak":
        return f"{value / 1e6:,.2f} MB"
    return f"{value:,.3f} s"


def difference(row: Row) -> str:
    """The difference in per cent; a word where there is no share."""
    return "of nothing" if row.difference is None else f"{row.difference:+.1%}"


def page(cases: Iterable[tuple[TruthCase, Sequence[Row], int]]) -> str:
    """The page.

    Arguments
    ---------
    cases: each with its rows, and how many operations its simulation had.
    """
    differences, described = [], []
    for case, rows, operations in cases:
        described.append((case.name, case.meaning, f"{operations:,}"))
        differences += [_cells(row) for row in rows]
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        allowed=", ".join(f"{name} {share:.0%}" for name, share in ALLOWED.items()),
        differences=differences,
        cases=described,
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.case,
        row.system,
        row.figure,
        spelled(row, row.fluid),
        spelled(row, row.simulated),
        difference(row),
        "yes" if row.holds else "does not hold",
    )


def measured() -> str:
    """The page, all of it measured now."""
    found = []
    for case in CASES.values():
        rows, simulated = compare(case)
        found.append((case, rows, sum(each.operations for each in simulated)))
    return page(found)


if __name__ == "__main__":
    sys.stdout.write(measured())
