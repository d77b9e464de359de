"""What soft recovery is going to do, and all that keeps it from it: found out before any change.

Every refusal is the engine's error with its number and events.  Options lift some of them: that
committed logs may be lost (eseutil's /a), that databases may be missing (/i).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from replicator.ese.checkpoint import Checkpoint
from replicator.ese.database_header import DatabaseHeader
from replicator.ese.database_state import NEEDING_LOGS
from replicator.ese.errors import EseError
from replicator.ese.log_cut import first_broken, leaves_nothing
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import BASE_CHARACTERS, LogRole, parse_log_name
from replicator.ese.log_need import (
    ATTACHED_MISMATCH,
    COMMITTED_CORRUPT,
    COMMITTED_MISSING,
    OTHER_TIME_EVENTS,
    check_recovery,
)
from replicator.ese.log_set import (
    CURRENT_MISSING_EVENTS,
    FILE_NOT_FOUND,
    GAP_EVENTS,
    GENERATION_MISMATCH,
    MISSING_LOG,
    LogSet,
    LogSummary,
    check_chain,
)
from replicator.ese.owned_size import check_whole
from replicator.ese.recovery_database_checks import (
    check_attached,
    check_empty,
    check_states,
    check_twice,
)
from replicator.ese.recovery_files import (
    FoundDatabase,
    check_streaming_files,
    contiguous,
    find_databases,
    find_logs,
    read_file,
    read_header,
)
from replicator.ese.recovery_left_open import check_left_open
from replicator.ese.values import LogPosition, Signature
from replicator.runtime.port import Volume

LOST: Final = 585
REMOVED: Final = 587
_LOSSES: Final = frozenset({COMMITTED_MISSING, COMMITTED_CORRUPT})


@dataclass(frozen=True, kw_only=True)
class RecoveryRequest:
    """What is to be recovered.

    Arguments
    ---------
    log_directory: where the logs are, on the volume.
    base: their three characters; None when only one set lies there.
    system_directory: where the checkpoint is; None for the logs' directory.
    databases: paths of the databases; None for all that lie in ``database_directories``.
    database_directories: where to look for them; empty for the logs' directory.
    allow_lost_logs: committed logs that are not required may be missing or damaged.
    ignore_missing_databases: databases that the logs leave attached may be missing.
    closed_logs_suffice: the current log may be missing, as with logs that were backed up.
    """

    log_directory: str
    base: str | None = None
    system_directory: str | None = None
    databases: tuple[str, ...] | None = None
    database_directories: tuple[str, ...] = ()
    allow_lost_logs: bool = False
    ignore_missing_databases: bool = False
    closed_logs_suffice: bool = False


@dataclass(frozen=True, kw_only=True)
class RecoveryPlan:
    """What recovery works with; made by :func:`plan_recovery`.

    Arguments
    ---------
    logs: those to be redone, without a gap.
    dropped: those behind a gap that may be lost; a current log whose header cannot be read, and
        which so has no generation, is one of them.
    cut: where the last log's records stop making sense, and it is cut; None where they do.
    lost: generations that were committed and are given up: as many as a header says.
    names: how the logs call the databases, by signature.
    """

    base: str
    log_directory: str
    system_directory: str
    checkpoint: Checkpoint | None
    checkpoint_name: str
    signature: Signature
    logs: tuple[LogSummary, ...]
    dropped: tuple[LogSummary, ...]
    lost: range
    databases: tuple[FoundDatabase, ...]
    names: dict[Signature, str]
    cut: LogPosition | None = None
    notes: tuple[EseError, ...] = field(default=())

    @property
    def first_generation(self) -> int:
        return self.logs[0].generation or 0

    @property
    def last_generation(self) -> int:
        return self.logs[-1].generation or 0

    @property
    def dropped_generations(self) -> tuple[int, ...]:
        """Of the logs given up; one that does not tell its own counts as the next."""
        return _numbered(self.dropped, self.last_generation)


async def plan_recovery(
    volume: Volume, request: RecoveryRequest, between: Callable[[], None] | None = None
) -> tuple[RecoveryPlan | None, tuple[EseError, ...]]:
    """Look at everything; give a plan, or None and what is wrong.

    Arguments
    ---------
    between: called before each log is read; what it raises ends the look.

    Raises EseError -1811 when there are no logs at all, or none of the base asked for.
    """
    logs = await find_logs(
        volume, request.log_directory, request.base, request.system_directory, between
    )
    databases, errors = await _databases(volume, request)
    # Databases of other log sets may lie there too: they are none of our business.
    named = request.databases is not None
    mine = [each for each in databases if named or _belongs(each, logs)]
    errors += check_states(mine)
    errors += check_twice(mine)
    errors += await check_whole(volume, mine)
    errors += await check_streaming_files(volume, mine)
    if not errors:
        errors += await check_attached(volume, logs, mine)
    if not named:
        errors += check_empty(volume, logs, _directories(request), databases)
    start = _start(logs, mine)
    chain = list(_chain_errors(logs, start))
    if request.closed_logs_suffice and logs.logs:
        chain = [each for each in chain if each.events != CURRENT_MISSING_EVENTS]
    usable = contiguous(logs.logs, start, {error.path for error in chain})
    last = start + len(usable) - 1
    errors += _check_logs(logs, mine, last if usable else 0, chain, request)
    if errors:
        return None, tuple(errors)
    notes = list(logs.notes)
    if not mine:
        detail = "no database of this log set is there: nothing but the logs was looked at"
        notes.append(EseError(FILE_NOT_FOUND, detail, path=_directories(request)[0], events=()))
    notes += _passed_over(logs, mine, request)
    cut: LogPosition | None = None
    if request.allow_lost_logs:
        usable, broken = await _as_far_as_readable(volume, usable, _needed(mine))
        if broken is not None:
            position, error = broken
            if not usable:
                return None, (error,)
            cut = position if usable[-1].generation == position.generation else None
            notes.append(error)
        last = start + len(usable) - 1
    left_open = await check_left_open(volume, logs, usable, mine)
    if left_open:
        return None, tuple(left_open)
    dropped = tuple(log for log in logs.logs if log.generation is None or log.generation > last)
    committed = max((each.header.last_committed_generation for each in mine), default=0)
    lost = range(last + 1, max(committed, last, *_numbered(dropped, last)) + 1)
    current = logs.current or logs.logs[-1]
    assert logs.signature is not None
    plan = RecoveryPlan(
        base=logs.base,
        log_directory=request.log_directory,
        system_directory=request.system_directory or request.log_directory,
        checkpoint=logs.checkpoint,
        checkpoint_name=_checkpoint_name(volume, request, logs, current),
        signature=logs.signature,
        logs=tuple(usable),
        dropped=dropped,
        lost=lost,
        databases=tuple(mine),
        names={each.signature: each.path for each in logs.attached or ()},
        cut=cut,
        notes=tuple(notes),
    )
    return plan, ()


def _numbered(logs: Sequence[LogSummary], before: int) -> tuple[int, ...]:
    """The generations of logs that follow one; the current log may not tell its own."""
    found: list[int] = []
    for log in logs:
        found.append(log.generation or max((before, *found)) + 1)
    return tuple(found)


def _needed(databases: Collection[FoundDatabase]) -> int:
    """The highest generation that a database needs as it is, or was shut down in."""
    found = [
        each.header.last_required_generation
        if each.header.state in NEEDING_LOGS
        else each.header.consistent_position.generation
        for each in databases
    ]
    return max(found, default=0)


async def _as_far_as_readable(
    volume: Volume, logs: list[LogSummary], needed: int
) -> tuple[list[LogSummary], tuple[LogPosition, EseError] | None]:
    """The logs up to the first one above ``needed`` with a record that makes no sense.

    That one is the last of them, where something of it can be kept; else it is left out.
    """
    for place, summary in enumerate(logs):
        if (summary.generation or 0) <= needed:
            continue
        closed = summary.name.role is LogRole.CLOSED
        log = LogFile(await read_file(volume, summary.path), closed=closed)
        broken = first_broken(log)
        if broken is not None:
            broken[1].path = summary.path
            return logs[: place + (not leaves_nothing(log, broken[0]))], broken
    return logs, None


def _checkpoint_name(
    volume: Volume, request: RecoveryRequest, logs: LogSet, current: LogSummary
) -> str:
    """As it is there, in whatever case; else as the logs are written."""
    for name in volume.list(request.system_directory or request.log_directory):
        found = parse_log_name(name)
        if found and (found.role, found.base) == (LogRole.CHECKPOINT, logs.base):
            return name
    return f"{current.name.name[:BASE_CHARACTERS]}.chk"


def _directories(request: RecoveryRequest) -> tuple[str, ...]:
    """Where databases are looked for that were not named."""
    return request.database_directories or (request.log_directory,)


async def _databases(
    volume: Volume, request: RecoveryRequest
) -> tuple[list[FoundDatabase], list[EseError]]:
    if request.databases is None:
        return await find_databases(volume, _directories(request)), []
    found: list[FoundDatabase] = []
    errors: list[EseError] = []
    for path in dict.fromkeys(request.databases):
        header = await read_header(volume, path)
        if header is None:
            errors.append(EseError(-1206, "this is no database", path=path))
        else:
            found.append(FoundDatabase(path, header))
    return found, errors


def _belongs(database: FoundDatabase, logs: LogSet) -> bool:
    return database.header.log_signature == logs.signature


def _start(logs: LogSet, databases: Collection[FoundDatabase]) -> int:
    """The generation that redo begins with: the checkpoint's, or what a database still needs."""
    there = logs.generations
    oldest = there[0] if there else 1
    checkpoint = logs.checkpoint
    if checkpoint is None:
        return oldest
    start = checkpoint.position.generation
    needed = [
        each.header.first_required_generation
        for each in databases
        if each.header.state in NEEDING_LOGS
    ]
    return max(oldest, min([start, *needed]))


def _check_logs(
    logs: LogSet,
    databases: Sequence[FoundDatabase],
    last: int,
    chain: list[EseError],
    request: RecoveryRequest,
) -> list[EseError]:
    """What is wrong with the logs, as far as it matters.

    Arguments
    ---------
    last: the last generation that can be redone; 0 when none can.
    chain: what is wrong with the logs from the first to be redone on.
    """
    headers = {each.path: each.header for each in databases}
    found = list(check_recovery(logs, headers))
    if request.ignore_missing_databases:
        found = [each for each in found if each.number != ATTACHED_MISMATCH]
    allowed = request.allow_lost_logs
    required = max((each.last_required_generation for each in headers.values()), default=0)
    if allowed:
        found = [each for each in found if not _is_loss(each, headers)]
    if not (allowed and last >= max(required, 1)):
        found = [*chain, *found]
    else:
        # A current log that is none of the last ones is no loss, but a file in a wrong place.
        found += [each for each in chain if _is_misplaced_current(each)]
    return list({(each.number, each.detail, each.path): each for each in found}.values())


def _is_misplaced_current(error: EseError) -> bool:
    name = parse_log_name((error.path or "").rpartition("/")[2])
    is_current = name is not None and name.role is LogRole.CURRENT
    return is_current and error.number == GENERATION_MISMATCH


def _is_loss(error: EseError, headers: Mapping[str, DatabaseHeader]) -> bool:
    """Whether it tells of committed logs that no page has a change of.

    One that was created at another time than the header says has taken the place of the committed
    one: a recovery that gave that up has begun it, and died before the header knew.
    """
    if error.events != OTHER_TIME_EVENTS:
        return error.number in _LOSSES
    header = headers.get(error.path or "")
    return header is not None and (
        header.last_committed_generation > header.last_required_generation
    )


def _passed_over(
    logs: LogSet, databases: Sequence[FoundDatabase], request: RecoveryRequest
) -> Iterator[EseError]:
    """What has to be known of databases that are missing and may be.

    Their open transactions end in the logs, and are not taken back in their files
    (:mod:`replicator.ese.recovery_left_open`).
    """
    if request.ignore_missing_databases:
        headers = {each.path: each.header for each in databases}
        for each in check_recovery(logs, headers):
            if each.number == ATTACHED_MISMATCH:
                detail = (
                    f"{each.detail}: it is passed over. Once these logs are recovered they end "
                    "its transactions too, without taking back in it what was not committed; "
                    "where anything was, it is not recovered with them any more (-1216), but "
                    "with untouched ones or from a backup"
                )
                yield EseError(ATTACHED_MISMATCH, detail, path=each.path, events=())


def _chain_errors(logs: LogSet, start: int) -> Iterator[EseError]:
    """Errors of the logs from a generation on, in their order; then of the set as a whole."""
    mine = [log for log in logs.logs if log.generation is None or log.generation >= start]
    if not mine:
        detail = f"generation 0x{start:X} and all later ones are missing"
        yield EseError(MISSING_LOG, detail, events=GAP_EVENTS)
    yield from check_chain(mine)
    paths = {log.path for log in logs.logs}
    yield from (error for error in logs.errors if error.path not in paths)
