"""What a database and a checkpoint need of a log set, and what of it is missing.

E src/ese/_log/logredo.cxx.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.errors import EseError
from replicator.ese.log_set import CURRENT_MISSING_EVENTS, GAP_EVENTS, MISSING_LOG, LogSet

MISSING_PREVIOUS: Final = -509
BAD_DATABASE_SIGNATURE: Final = -531
BAD_CHECKPOINT_SIGNATURE: Final = -532
LOG_SET_MISMATCH: Final = -539
REQUIRED_MISSING: Final = -543
COMMITTED_MISSING: Final = -582
COMMITTED_CORRUPT: Final = -586
ATTACHED_MISMATCH: Final = -1216
INCOMPLETE_RESEED: Final = -1226

TOO_LOW_EVENTS: Final = (452,)
TOO_HIGH_EVENTS: Final = (453,)
OTHER_TIME_EVENTS: Final = (496,)

NEEDING: Final = frozenset({State.DIRTY_SHUTDOWN, State.DIRTY_AND_PATCHED_SHUTDOWN})
"""The states in which a database needs logs."""


def absent(logs: LogSet, first: int, last: int) -> tuple[range, ...]:
    """The generations from ``first`` to ``last`` that are not there, each gap as a range."""
    gaps: list[range] = []
    at = first
    for generation in logs.generations:
        if generation > last:
            break
        if generation >= at:
            if generation > at:
                gaps.append(range(at, generation))
            at = generation + 1
    if at <= last:
        gaps.append(range(at, last + 1))
    return tuple(gaps)


def _listed(gaps: tuple[range, ...]) -> str:
    return ", ".join(
        f"0x{gap[0]:X}" if len(gap) == 1 else f"0x{gap[0]:X} to 0x{gap[-1]:X}" for gap in gaps
    )


def check_checkpoint(logs: LogSet) -> Iterator[EseError]:
    """Whether redo can begin where the checkpoint says.

    A missing or damaged checkpoint is a note of the log set, no error: redo then begins at the
    oldest generation.
    """
    checkpoint, found = logs.checkpoint, logs.generations
    if checkpoint is None or not found:
        return
    if checkpoint.log_signature != logs.signature:
        detail = f"the checkpoint's log set is {checkpoint.log_signature}"
        yield EseError(BAD_CHECKPOINT_SIGNATURE, detail, path=f"{logs.base}.chk")
        return
    start = checkpoint.position.generation
    if start < found[0]:
        detail = f"redo begins at generation 0x{start:X}, the first one there is 0x{found[0]:X}"
        yield EseError(MISSING_PREVIOUS, detail, path=f"{logs.base}.chk")
    elif start > found[-1]:
        detail = f"redo begins at generation 0x{start:X}, the last one there is 0x{found[-1]:X}"
        yield EseError(MISSING_LOG, detail, path=f"{logs.base}.chk", events=CURRENT_MISSING_EVENTS)
    elif logs.log(start) is None:
        detail = f"redo begins at generation 0x{start:X}, which is missing"
        yield EseError(MISSING_LOG, detail, path=f"{logs.base}.chk", events=GAP_EVENTS)


def check_database(
    logs: LogSet, header: DatabaseHeader, path: str | None = None
) -> Iterator[EseError]:
    """What keeps a database from being recovered with these logs; nothing when it is clean.

    Arguments
    ---------
    logs: the set.
    header: of the database.
    path: how errors call it.
    """
    if header.state is State.INCREMENTAL_RESEED_IN_PROGRESS:
        yield EseError(INCOMPLETE_RESEED, "pages are still being patched", path=path)
        return
    if header.state not in NEEDING:
        return
    if logs.signature is not None and header.log_signature != logs.signature:
        detail = f"its log set is {header.log_signature}, that of the logs {logs.signature}"
        yield EseError(LOG_SET_MISMATCH, detail, path=path)
        return
    first, last = header.first_required_generation, header.last_required_generation
    committed = header.last_committed_generation
    gaps = absent(logs, first, last)
    if gaps:
        there = logs.generations
        too_high = bool(there) and first >= there[0]
        detail = f"it requires generations 0x{first:X} to 0x{last:X}; missing: {_listed(gaps)}"
        events = TOO_HIGH_EVENTS if too_high else TOO_LOW_EVENTS
        yield EseError(REQUIRED_MISSING, detail, path=path, events=events)
    lost = absent(logs, last + 1, committed)
    if lost:
        detail = f"generations up to 0x{committed:X} were committed; missing: {_listed(lost)}"
        yield EseError(COMMITTED_MISSING, detail, path=path)
    for log in logs.logs:
        if log.error is not None and last < (log.generation or 0) <= committed:
            detail = f"generation 0x{log.generation:X} was committed and is damaged: {log.error}"
            yield EseError(COMMITTED_CORRUPT, detail, path=path)
    newest = logs.log(committed)
    expected = header.last_committed_created
    if newest is not None and newest.header is not None and not expected.is_zero:
        found = newest.header.created
        if found != expected:
            detail = f"generation 0x{committed:X} was created {expected} by its header, not {found}"
            yield EseError(REQUIRED_MISSING, detail, path=path, events=OTHER_TIME_EVENTS)
    yield from _check_attachment(logs, header, path)


def _check_attachment(logs: LogSet, header: DatabaseHeader, path: str | None) -> Iterator[EseError]:
    """A database attached before its first required log must stand in that log's header."""
    log = logs.log(header.first_required_generation)
    if log is None or log.header is None:
        return
    if header.attach_position.generation >= header.first_required_generation:
        return
    if any(each.database_signature == header.database_signature for each in log.attachments):
        return
    same = [each for each in log.attachments if each.dbid == header.dbid]
    if same:
        detail = f"{log.path} names {same[0].path} with signature {same[0].database_signature}"
        yield EseError(BAD_DATABASE_SIGNATURE, detail, path=path)
    else:
        detail = f"it was attached before {log.path}, which does not name it"
        yield EseError(LOG_SET_MISMATCH, detail, path=path)


def check_recovery(logs: LogSet, databases: Mapping[str, DatabaseHeader]) -> Iterator[EseError]:
    """All that keeps a log set and its databases from soft recovery, besides the chain's errors.

    Arguments
    ---------
    logs: the set.
    databases: the headers of the databases at hand, by path.

    A database that the logs leave attached and that is not at hand gives -1216.
    """
    yield from check_checkpoint(logs)
    for path, header in databases.items():
        yield from check_database(logs, header, path)
    signatures = {header.database_signature for header in databases.values()}
    for each in logs.attached or ():
        if each.signature not in signatures:
            detail = "the logs leave it attached, and no database at hand has its signature"
            yield EseError(ATTACHED_MISMATCH, detail, path=each.path)
