"""What soft recovery is going to do, and all that keeps it from it: found out before any change.

Every refusal is the engine's error with its number and events.  Options lift some of them: that
committed logs may be lost (eseutil's /a), that databases may be missing (/i).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from replicator.ese.checkpoint import Checkpoint
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_state import NEEDING_LOGS
from replicator.ese.errors import EseError
from replicator.ese.log_names import BASE_CHARACTERS, LogRole, parse_log_name
from replicator.ese.log_need import (
    ATTACHED_MISMATCH,
    COMMITTED_CORRUPT,
    COMMITTED_MISSING,
    check_recovery,
)
from replicator.ese.log_set import GAP_EVENTS, MISSING_LOG, LogSet, LogSummary, check_chain
from replicator.ese.recovery_files import (
    FoundDatabase,
    contiguous,
    find_databases,
    find_logs,
    read_header,
)
from replicator.ese.values import Signature
from replicator.runtime.port import Volume

BACKUP_COPY: Final = -544
SNAPSHOT_COPY: Final = -581
SAME_DATABASE: Final = -1222
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
    """

    log_directory: str
    base: str | None = None
    system_directory: str | None = None
    databases: tuple[str, ...] | None = None
    database_directories: tuple[str, ...] = ()
    allow_lost_logs: bool = False
    ignore_missing_databases: bool = False


@dataclass(frozen=True, kw_only=True)
class RecoveryPlan:
    """What recovery works with; made by :func:`plan_recovery`.

    Arguments
    ---------
    logs: those to be redone, without a gap.
    dropped: those behind a gap that may be lost.
    lost: generations that were committed and are given up.
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
    lost: tuple[int, ...]
    databases: tuple[FoundDatabase, ...]
    names: dict[Signature, str]
    notes: tuple[EseError, ...] = field(default=())

    @property
    def first_generation(self) -> int:
        return self.logs[0].generation or 0

    @property
    def last_generation(self) -> int:
        return self.logs[-1].generation or 0


async def plan_recovery(
    volume: Volume, request: RecoveryRequest
) -> tuple[RecoveryPlan | None, tuple[EseError, ...]]:
    """Look at everything; give a plan, or None and what is wrong.

    Raises EseError -1811 when there are no logs at all, or none of the base asked for.
    """
    logs = await find_logs(volume, request.log_directory, request.base, request.system_directory)
    databases, errors = await _databases(volume, request)
    # Databases of other log sets may lie there too: they are none of our business.
    named = request.databases is not None
    mine = [each for each in databases if named or _belongs(each, logs)]
    errors += _check_states(mine)
    errors += _check_twice(mine)
    start = _start(logs, mine)
    chain = list(_chain_errors(logs, start))
    usable = contiguous(logs.logs, start, {error.path for error in chain})
    last = start + len(usable) - 1
    errors += _check_logs(logs, mine, last if usable else 0, chain, request)
    if errors:
        return None, tuple(errors)
    dropped = tuple(log for log in logs.logs if (log.generation or 0) > last)
    committed = max((each.header.last_committed_generation for each in mine), default=0)
    lost = tuple(range(last + 1, max(committed, *(log.generation or 0 for log in logs.logs)) + 1))
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
        notes=logs.notes,
    )
    return plan, ()


def _checkpoint_name(
    volume: Volume, request: RecoveryRequest, logs: LogSet, current: LogSummary
) -> str:
    """As it is there, in whatever case; else as the logs are written."""
    for name in volume.list(request.system_directory or request.log_directory):
        found = parse_log_name(name)
        if found and (found.role, found.base) == (LogRole.CHECKPOINT, logs.base):
            return name
    return f"{current.name.name[:BASE_CHARACTERS]}.chk"


async def _databases(
    volume: Volume, request: RecoveryRequest
) -> tuple[list[FoundDatabase], list[EseError]]:
    if request.databases is None:
        where = request.database_directories or (request.log_directory,)
        return await find_databases(volume, where), []
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


def _check_states(databases: Collection[FoundDatabase]) -> list[EseError]:
    """Copies that need another kind of recovery, and files that were never finished."""
    errors = []
    for each in databases:
        header, path = each.header, each.path
        if header.state not in NEEDING_LOGS:
            if header.state is State.CLEAN_SHUTDOWN:
                continue
            if header.state is not State.INCREMENTAL_RESEED_IN_PROGRESS:  # told by check_recovery
                detail = f"its state is {header.state_title}: there is nothing to go on from"
                errors.append(EseError(-1206, detail, path=path))
        elif not header.current_full_backup.is_zero:
            detail = "it is a copy of a streaming backup, taken while the store ran"
            errors.append(EseError(BACKUP_COPY, detail, path=path))
        elif not header.current_snapshot_backup.is_zero:
            detail = "it is a copy of a snapshot set that was not completed"
            errors.append(EseError(SNAPSHOT_COPY, detail, path=path))
        elif header.first_required_generation and not _generations_agree(header):
            detail = "the generations in its header contradict one another"
            errors.append(EseError(-1206, detail, path=path))
    return errors


def _generations_agree(header: DatabaseHeader) -> bool:
    """Whether they are in order, and none is ahead of the last log that was written.

    Records up to the attach do not count: one that lies ahead would make all of them be skipped.
    """
    committed = header.last_committed_generation
    positions = (header.consistent_position, header.attach_position)
    ahead = any(each.generation > committed for each in positions)
    return header.generations_in_order and not ahead


def _check_twice(databases: Collection[FoundDatabase]) -> list[EseError]:
    """Copies of one database: the logs cannot tell which of them they go on from."""
    first: dict[Signature, str] = {}
    errors = []
    for each in databases:
        other = first.setdefault(each.header.database_signature, each.path)
        if other != each.path:
            detail = f"it has the signature of {other}: they are copies of one database"
            errors.append(EseError(SAME_DATABASE, detail, path=each.path))
    return errors


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
        found = [each for each in found if each.number not in _LOSSES]
    if not (allowed and last >= max(required, 1)):
        found = [*chain, *found]
    return list({(each.number, each.detail, each.path): each for each in found}.values())


def _chain_errors(logs: LogSet, start: int) -> Iterator[EseError]:
    """Errors of the logs from a generation on, in their order; then of the set as a whole."""
    mine = [log for log in logs.logs if log.generation is None or log.generation >= start]
    if not mine:
        detail = f"generation {start:X} and all later ones are missing"
        yield EseError(MISSING_LOG, detail, events=GAP_EVENTS)
    yield from check_chain(mine)
    paths = {log.path for log in logs.logs}
    yield from (error for error in logs.errors if error.path not in paths)
