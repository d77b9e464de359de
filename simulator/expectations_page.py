"""The table fault by invariant as a page: ``docs/invariants.md``.

To renew it::

    .venv/bin/python -m simulator.expectations_page
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from simulator.expectations import INVARIANTS, ROWS, Cell, Expectation

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "invariants.md"
_BEGIN: Final = "<!-- made from simulator/expectations.py: begin -->\n"
_END: Final = "<!-- made from simulator/expectations.py: end -->\n"


def expectations_markdown() -> str:
    """The table, and the reasons below it."""
    reasons: list[str] = []
    lines = ["| fault | " + " | ".join(INVARIANTS) + " | shown by |"]
    lines.append("|---" * (len(INVARIANTS) + 2) + "|")
    for row in ROWS:
        cells = [_cell_words(row.cell(invariant), reasons) for invariant in INVARIANTS]
        tests = ", ".join(f"`{name.removeprefix('test_')}`" for name in row.shown_by)
        lines.append(f"| {row.words} | {' | '.join(cells)} | {tests} |")
    lines.append("")
    lines += [f"{number}. {why[0].upper()}{why[1:]}." for number, why in enumerate(reasons, 1)]
    return "\n".join(lines) + "\n"


def _cell_words(cell: Cell, reasons: list[str]) -> str:
    if cell.expectation is Expectation.HOLDS:
        return "holds"
    why = f"{cell.why}. Only where {' or '.join(cell.given)}" if cell.given else cell.why
    if why not in reasons:
        reasons.append(why)
    return f"**{cell.expectation.words}** ({reasons.index(why) + 1})"


def with_table(page: str) -> str:
    """The page with the table as it is now."""
    before, _begin, rest = page.partition(_BEGIN)
    _old, _end, after = rest.partition(_END)
    return before + _BEGIN + "\n" + expectations_markdown() + "\n" + _END + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} is renewed\n")
