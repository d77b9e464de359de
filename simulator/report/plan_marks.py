"""What the marks behind a plan's figures mean, in one line beside their first use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MARKS: Final = (
    ("[A]", "assumed: no source was found"),
    ("[M]", "from memory"),
    ("[V]", "a vendor's figure or rule"),
    ("[T]", "of a third party"),
    ("[D]", "derived from figures with marks"),
)
"""What stands behind figures and remarks."""


def marks_line(texts: Iterable[str]) -> str:
    """What the marks mean that stand in texts: ``Marks: [M] from memory.``; empty for none."""
    joined = "\n".join(texts)
    used = [f"{mark} {meaning}" for mark, meaning in MARKS if mark in joined]
    return f"Marks: {'; '.join(used)}." if used else ""
