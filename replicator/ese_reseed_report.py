"""What ``replicator ese reseed`` tells, as lines and as JSON.

The document carries the name of its schema; a name is never given another meaning.
"""

from __future__ import annotations

from typing import Any, Final

from replicator.errors import ExitCode
from replicator.ese.errors import EseError
from replicator.ese.reseed import ReseedResult
from replicator.ese_findings import finding_document

RESEED_SCHEMA: Final = "replicator-ese-reseed/1"
TITLES: Final = ("was", "is", "pages", "database")


def exit_code(result: ReseedResult | None) -> ExitCode:
    """0 when it is done, 1 when it was refused or failed."""
    return ExitCode.BROKEN if result is None else ExitCode.PASS


def rows_of(result: ReseedResult) -> list[tuple[str, ...]]:
    """One row a database, under :data:`TITLES`."""
    return [
        (each.state_before, each.state, f"{each.pages:,}", each.path) for each in result.databases
    ]


def lines_of(result: ReseedResult) -> list[str]:
    """What happened, a sentence a line."""

    def listed(generations: tuple[int, ...]) -> str:
        return ", ".join(f"0x{each:X}" for each in sorted(generations)) or "none"

    if result.diverged is None:
        lines = [f"{result.base}: the copies have not diverged"]
    else:
        lines = [
            f"{result.base}: the copies have diverged from generation 0x{result.diverged:X} on"
        ]
    lines.append(f"logs removed: {listed(result.removed)}; copied: {listed(result.copied)}")
    lines.append("go on with 'replicator ese recover'; --stop-before-undo leaves it a copy")
    return lines


def reseed_document(
    result: ReseedResult | None, errors: tuple[EseError, ...], directory: str, active: str
) -> dict[str, Any]:
    """All that came of a reseed.

    Arguments
    ---------
    result: None when it was refused or failed.
    errors: why.
    directory, active: the copy that gave way, and the one that is right.
    """
    document: dict[str, Any] = {
        "schema": RESEED_SCHEMA,
        "exit_code": int(exit_code(result)),
        "directory": directory,
        "active_directory": active,
        "errors": [finding_document(error) for error in errors],
    }
    if result is None:
        return document
    return {
        **document,
        "base": result.base,
        "first_diverged_generation": result.diverged,
        "removed_generations": sorted(result.removed),
        "copied_generations": sorted(result.copied),
        "databases": [
            {
                "path": each.path,
                "state_before": each.state_before,
                "state": each.state,
                "patched_pages": each.pages,
            }
            for each in result.databases
        ],
    }
