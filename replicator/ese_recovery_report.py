"""What ``replicator ese recover`` tells, as lines and as JSON.

The document carries the name of its schema; a name is never given another meaning.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from replicator.errors import ExitCode
from replicator.ese.errors import ERRORS, EseError
from replicator.ese.recovery_result import RecoveryResult
from replicator.ese_findings import finding_document

RECOVERY_SCHEMA: Final = "replicator-ese-recovery/1"
TITLES: Final = ("was", "is", "dbtime", "pages read", "written", "database")

VERIFY: Final = ("replicator", "ese", "verify")

LOGS_LOST: Final = 585
LOGS_REMOVED: Final = 587
WITHOUT_UNDO: Final = -579


def exit_code(result: RecoveryResult | None) -> ExitCode:
    """0 at rest, 3 when stopped before undo, 1 when it was refused or failed."""
    if result is None:
        return ExitCode.BROKEN
    return ExitCode.NOT_DRAINED if result.stopped_before_undo else ExitCode.PASS


def warnings(result: RecoveryResult) -> tuple[int, ...]:
    """The engine's numbers for what was allowed and happened."""
    found = [LOGS_LOST] * bool(result.lost or result.cut_at) + [LOGS_REMOVED] * bool(result.removed)
    return tuple(found + [WITHOUT_UNDO] * result.stopped_before_undo)


def rows_of(result: RecoveryResult) -> list[tuple[str, ...]]:
    """One row a database, under :data:`TITLES`."""
    return [
        (
            each.state_before,
            each.state,
            f"{each.dbtime:,}",
            f"{each.read_pages:,}",
            f"{each.written_pages:,}",
            each.path,
        )
        for each in result.databases
    ]


def lines_of(result: RecoveryResult) -> list[str]:
    """What happened, a sentence a line."""
    first, last = result.first_generation, result.last_generation
    lines = [
        f"{result.base}: generations 0x{first:X} to 0x{last:X}, "
        f"{result.redone_pages:,} page changes redone, {result.skipped_pages:,} found done",
    ]
    if result.stopped_before_undo:
        lines.append("stopped before undo, as asked: later logs can still be redone")
    elif result.clean_log:
        lines.append("the logs end with a clean shutdown: nothing was appended to them")
    else:
        lines.append(
            f"{result.transactions:,} transactions rolled back, {result.undone:,} changes undone"
        )
    if result.lost:
        gone = f"0x{result.lost[0]:X}"
        if len(result.lost) > 1:
            gone += f" to 0x{result.lost[-1]:X}"
        lines.append(f"lost, as allowed: generations {gone}; what they held is gone")
    if result.cut_at is not None:
        lines.append(f"cut, as allowed, at {result.cut_at}: what was logged behind it is gone")
    for number in warnings(result):
        lines.append(f"{number} {ERRORS[number].symbol}: {ERRORS[number].meaning}")
    return lines


def unread_lines(result: RecoveryResult) -> list[str]:
    """What was not looked at, and the command that does; nothing when all was, or before undo.

    As the engine's, recovery reads no page that the logs do not name: one that a disk has zeroed
    or turned since is met by whoever reads it.
    """
    files = [each for each in result.databases if each.unread_pages or each.streaming_file]
    if result.stopped_before_undo or not files:
        return []
    unread, pages = sum(each.unread_pages for each in files), sum(each.pages for each in files)
    what = f"{unread:,} of {pages:,} pages, which no log names" if unread else ""
    streams = [each.streaming_file for each in files if each.streaming_file]
    if streams:
        what += ", and " * bool(what) + f"the streaming file{'s' * (len(streams) > 1)}"
    paths = [path for each in files for path in (each.path, each.streaming_file) if path]
    return [f"not looked at: {what}; to look at all: {shlex.join([*VERIFY, *paths])}"]


def recovery_document(
    result: RecoveryResult | None, errors: tuple[EseError, ...], place: str
) -> dict[str, Any]:
    """All that came of a recovery.

    Arguments
    ---------
    result: None when it was refused or failed.
    errors: why.
    place: the directory that was recovered, or that holds the recovered copy.
    """
    document: dict[str, Any] = {
        "schema": RECOVERY_SCHEMA,
        "exit_code": int(exit_code(result)),
        "directory": place,
        "errors": [finding_document(error) for error in errors],
    }
    if result is None:
        return document
    return {
        **document,
        "base": result.base,
        "first_generation": result.first_generation,
        "last_generation": result.last_generation,
        "redone_page_changes": result.redone_pages,
        "skipped_page_changes": result.skipped_pages,
        "transactions_rolled_back": result.transactions,
        "undone_changes": result.undone,
        "clean_log": result.clean_log,
        "stopped_before_undo": result.stopped_before_undo,
        "lost_generations": [[result.lost[0], result.lost[-1]]] if result.lost else [],
        "removed_generations": list(result.removed),
        "cut_at": None if result.cut_at is None else str(result.cut_at),
        "warnings": list(warnings(result)),
        "databases": [
            {
                "path": each.path,
                "state_before": each.state_before,
                "state": each.state,
                "dbtime": each.dbtime,
                "read_pages": each.read_pages,
                "written_pages": each.written_pages,
                "pages": each.pages,
                "unread_pages": each.unread_pages,
                "unread_streaming_file": each.streaming_file or None,
            }
            for each in result.databases
        ],
        "notes": [finding_document(note) for note in result.notes],
    }
