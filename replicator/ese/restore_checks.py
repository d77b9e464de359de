"""What hard recovery is going to do with a streaming backup's set, and what keeps it from it.

A set is copies of databases, each with a trailer behind its last page, and the logs of the time in
which they were copied.  Pages were copied while the store ran, so they are of different ages; the
logs bring them to one.  The logs of the store itself may follow, for what came after the backup.

E src/ese/_log/logutil.cxx; ese-format.md 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from replicator.ese.backup_trailer import BackupTrailer, judge_trailer
from replicator.ese.database_check import looks_like_trailer
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_state import NEEDING_LOGS
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import LOG_CORRUPT
from replicator.ese.log_names import LogRole
from replicator.ese.log_set import (
    BAD_SIGNATURE,
    CHECKSUM_MISMATCH,
    MISSING_LOG,
    WRONG_SEQUENCE,
    LogSet,
    LogSummary,
    check_chain,
)
from replicator.ese.page_source import HEADER_PAGES
from replicator.ese.recovery_files import (
    FoundDatabase,
    check_streaming_files,
    contiguous,
    find_databases,
    find_logs,
    read_file,
    read_header,
)
from replicator.ese.values import LogTime
from replicator.runtime.port import Volume

FOREIGN_TRAILER: Final = -552
ENDS_TOO_LOW: Final = -553
BEGINS_TOO_HIGH: Final = -554
NO_BACKUP: Final = -615
NOT_LOGGED: Final = -549

_LINKS: Final = {BAD_SIGNATURE: -555, WRONG_SEQUENCE: -556, CHECKSUM_MISMATCH: -556}


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The engine's numbers for logs of the backup's set, or of the store behind it."""

    missing: int
    torn: int
    corrupt: int


_OF_BACKUP: Final = _Numbers(missing=-557, torn=-570, corrupt=-573)
_OF_STORE: Final = _Numbers(missing=-565, torn=-571, corrupt=-574)


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """What is to be restored.

    Arguments
    ---------
    directory: the backup's logs, on the volume; recovery goes on with them there.
    base: their three characters; None when only one set lies there.
    databases: paths of the copies; None for all that lie in ``database_directories``.
    database_directories: where to look for them; empty for ``directory``.
    store_logs: the directory of the store's own logs, to go on with; None to end with the backup.
    allow_lost_logs: the store's logs may have gaps: it goes on up to the first.
    """

    directory: str
    base: str | None = None
    databases: tuple[str, ...] | None = None
    database_directories: tuple[str, ...] = ()
    store_logs: str | None = None
    allow_lost_logs: bool = False


@dataclass(frozen=True, slots=True)
class BackupCopy:
    """One database of a set.

    Arguments
    ---------
    found: path and header.
    trailer: None of one whose header an interrupted restore has changed already.
    first, last: the generations that its pages need.
    data_bytes: size of the file without the trailer.
    """

    found: FoundDatabase
    trailer: BackupTrailer | None
    first: int
    last: int
    data_bytes: int


@dataclass(frozen=True, kw_only=True)
class RestorePlan:
    """What hard recovery works with; made by :func:`plan_restore`.

    Arguments
    ---------
    logs: of the backup, those that are needed and what follows them in its directory.
    store_logs: that follow, to be copied beside them.
    created: when each of ``logs`` was created.
    """

    request: RestoreRequest
    base: str
    copies: tuple[BackupCopy, ...]
    logs: tuple[LogSummary, ...]
    store_logs: tuple[LogSummary, ...]
    created: dict[int, LogTime]
    notes: tuple[EseError, ...] = field(default=())


async def plan_restore(
    volume: Volume, request: RestoreRequest, between: Callable[[], None] | None = None
) -> tuple[RestorePlan | None, tuple[EseError, ...]]:
    """Look at everything; give a plan, or None and what is wrong.

    Arguments
    ---------
    between: called before each log is read; what it raises ends the look.

    Raises EseError -1811 when there are no logs at all, or none of the base asked for.
    """
    logs = await find_logs(volume, request.directory, request.base, None, between)
    found, errors = await _databases(volume, request, logs)
    copies: list[BackupCopy] = []
    for each in found:
        try:
            copies.append(await _copy(volume, each, logs, found))
        except EseError as error:
            errors.append(error)
    errors += await check_streaming_files(volume, found)
    if not found and not errors:
        detail = "no database of this log set is there"
        errors.append(EseError(NO_BACKUP, detail, path=request.directory))
    if errors:
        return None, tuple(errors)
    first, last = min(each.first for each in copies), max(each.last for each in copies)
    errors += _check_range(logs, first, last)
    mine = [log for log in logs.logs if (log.generation or 0) >= first]
    errors += await _translated(volume, check_chain(mine), mine, _OF_BACKUP)
    errors += _check_signatures(copies, logs)
    if request.store_logs is not None or logs.generations[-1] > last:
        errors += _check_content(copies)
    store_logs: list[LogSummary] = []
    if request.store_logs is not None and not errors:
        store_logs, wrong = await _store_logs(volume, request, logs, mine, between)
        errors += wrong
    if errors:
        return None, tuple(errors)
    created = {log.generation or 0: log.header.created for log in mine if log.header is not None}
    plan = RestorePlan(
        request=request,
        base=logs.base,
        copies=tuple(copies),
        logs=tuple(mine),
        store_logs=tuple(store_logs),
        created=created,
        notes=(),
    )
    return plan, ()


async def _databases(
    volume: Volume, request: RestoreRequest, logs: LogSet
) -> tuple[list[FoundDatabase], list[EseError]]:
    if request.databases is None:
        there = await find_databases(volume, request.database_directories or (request.directory,))
        # Databases of other log sets may lie there too: they are none of our business, but where
        # no copy belongs to these logs it is the logs that are wrong.
        mine = [each for each in there if each.header.log_signature == logs.signature]
        marked = [each for each in there if not each.header.current_full_backup.is_zero]
        return mine or marked, []
    found, errors = [], []
    for path in dict.fromkeys(request.databases):
        header = await read_header(volume, path)
        if header is None:
            errors.append(EseError(-1206, "this is no database", path=path))
        else:
            found.append(FoundDatabase(path, header))
    return found, errors


async def _copy(
    volume: Volume, found: FoundDatabase, logs: LogSet, all_found: Sequence[FoundDatabase]
) -> BackupCopy:
    """Hold a copy against its trailer; raises EseError for what hard recovery refuses."""
    header, path = found.header, found.path
    if header.current_full_backup.is_zero:
        return await _restored_before(volume, found, logs, all_found)
    if header.state not in NEEDING_LOGS:
        detail = f"its header has the mark of a backup, and its state is {header.state_title}"
        raise EseError(NO_BACKUP, detail, path=path)
    size, page = await _last_page(volume, found)
    trailer = judge_trailer(page, path)
    if not trailer.belongs_to(header):
        detail = (
            f"the header's backup was at {header.current_full_backup.position}, the trailer's "
            f"at {trailer.backup.position}, or they are of different databases or log sets"
        )
        raise EseError(FOREIGN_TRAILER, detail, path=path)
    mark = header.current_full_backup
    needs = (mark.first_generation, trailer.backup.first_generation)
    first = min(each for each in (*needs, header.first_required_generation) if each)
    ends = mark.last_generation, trailer.backup.last_generation, trailer.last_required_generation
    return BackupCopy(found, trailer, first, max(*ends, first), size - header.page_size)


async def _restored_before(
    volume: Volume, found: FoundDatabase, logs: LogSet, all_found: Sequence[FoundDatabase]
) -> BackupCopy:
    """One whose header says that an interrupted restore has come to it; raises EseError -615."""
    header, path = found.header, found.path
    others = any(not each.header.current_full_backup.is_zero for each in all_found)
    last = header.last_full_backup
    going_on = logs.current is None or others
    if header.state is State.DIRTY_SHUTDOWN and going_on and _is_restored(header):
        size, page = await _last_page(volume, found)
        there = looks_like_trailer(page)
        is_its = there and BackupTrailer.decode(page).backup.position == last.position
        behind = header.page_size if is_its else 0
        return BackupCopy(found, None, last.first_generation, last.last_generation, size - behind)
    detail = f"its header has no mark of a backup; its state is {header.state_title}"
    if header.state in NEEDING_LOGS:
        detail += "; a crashed store, and a restore that came to its end, are for soft recovery"
    raise EseError(NO_BACKUP, detail, path=path)


def _is_restored(header: DatabaseHeader) -> bool:
    """Whether its generations are those that a restore gives (see ``restored``)."""
    last = header.last_full_backup
    ends = header.first_required_generation, header.last_required_generation
    if not last.last_generation:
        return False
    return ends[0] == last.first_generation and ends[1] >= last.last_generation


async def _last_page(volume: Volume, found: FoundDatabase) -> tuple[int, bytes]:
    """Size of the file in whole pages, and the last one."""
    file = volume.open(found.path)
    try:
        size = found.header.page_size
        count = file.size_bytes // size
        at = max(count - 1, HEADER_PAGES) * size
        page = await file.read_at(at, size)
    finally:
        file.close()
    if count <= HEADER_PAGES or len(page) < size:
        page = bytes(size)
    return max(count, HEADER_PAGES) * size, page


def _check_range(logs: LogSet, first: int, last: int) -> list[EseError]:
    """Whether the logs cover the backup's range; gaps within it are told by the chain."""
    there, where = logs.generations, logs.base
    needed = f"the backup needs generations 0x{first:X} to 0x{last:X}"
    errors = []
    if there[0] > first:
        detail = f"{needed}; the first one there is 0x{there[0]:X}"
        errors.append(EseError(BEGINS_TOO_HIGH, detail, path=where))
    if there[-1] < last:
        detail = f"{needed}; the last one there is 0x{there[-1]:X}"
        errors.append(EseError(ENDS_TOO_LOW, detail, path=where))
    return errors


def _check_signatures(copies: Iterable[BackupCopy], logs: LogSet) -> list[EseError]:
    """Copies that were named and whose logs are others."""
    errors = []
    for each in copies:
        signature = each.found.header.log_signature
        if signature != logs.signature:
            detail = f"the logs are of {logs.signature}, {each.found.path} belongs to {signature}"
            errors.append(EseError(_LINKS[BAD_SIGNATURE], detail, path=logs.logs[-1].path))
    return errors


def _check_content(copies: Iterable[BackupCopy]) -> Iterator[EseError]:
    """Copies that later logs cannot bring on, for these have no content of the streaming file."""
    for each in copies:
        if not each.found.header.streaming_signature.is_zero:
            detail = (
                "the content of its streaming file is in no log, so what came after the backup "
                "cannot be brought back; restore it with the logs of the backup alone"
            )
            yield EseError(NOT_LOGGED, detail, path=each.found.path)


async def _translated(
    volume: Volume, errors: Iterable[EseError], logs: Sequence[LogSummary], numbers: _Numbers
) -> list[EseError]:
    """The chain's errors with the numbers that they have in hard recovery."""
    by_path = {log.path: log for log in logs}
    found = []
    for error in errors:
        number = _LINKS.get(error.number, error.number)
        if error.number == MISSING_LOG:
            number = numbers.missing
        elif error.number == LOG_CORRUPT:
            log = by_path.get(error.path or "")
            is_torn = log is not None and await _is_torn(volume, log)
            number = numbers.torn if is_torn else numbers.corrupt
        found.append(
            error
            if number == error.number
            else EseError(number, error.detail, path=error.path, offset=error.offset)
        )
    return found


async def _is_torn(volume: Volume, log: LogSummary) -> bool:
    """Whether a log that is refused as a closed one would do as a current one."""
    try:
        LogFile(await read_file(volume, log.path), closed=False)
    except EseError:
        return False
    return True


async def _store_logs(
    volume: Volume,
    request: RestoreRequest,
    logs: LogSet,
    mine: Sequence[LogSummary],
    between: Callable[[], None] | None,
) -> tuple[list[LogSummary], list[EseError]]:
    """The store's logs that go on from the backup's, and what keeps them from that."""
    assert request.store_logs is not None
    try:
        store = await find_logs(volume, request.store_logs, logs.base, None, between)
    except EseError as error:
        if error.number != -1811:
            raise
        return [], [EseError(_OF_STORE.missing, error.detail, path=request.store_logs)]
    last = mine[-1]
    following = [log for log in store.logs if (log.generation or 0) > (last.generation or 0)]
    errors = []
    twin = store.log(last.generation or 0)
    if twin is not None and twin.header is not None and last.header is not None:
        if twin.header.log_signature != last.header.log_signature:
            detail = "it belongs to another log set than the backup's logs"
            errors.append(EseError(_LINKS[BAD_SIGNATURE], detail, path=twin.path))
        elif twin.header.created != last.header.created:
            detail = f"its generation is in the backup too, as another log: {last.path}"
            errors.append(EseError(_LINKS[WRONG_SEQUENCE], detail, path=twin.path))
    chain = list(check_chain([last, *following]))
    errors += await _translated(volume, chain, following, _OF_STORE)
    current = store.current
    if current is None and not any(each.number == MISSING_LOG for each in store.notes):
        detail = f"the current log of {store.base} is not there: what it held is lost"
        errors.append(EseError(_OF_STORE.missing, detail, path=request.store_logs))
    if request.allow_lost_logs:
        broken = {each.path for each in chain}
        start = (last.generation or 0) + 1
        return contiguous(following, start, broken), [
            each for each in errors if each.path == (twin and twin.path)
        ]
    return following, errors


def is_current(log: LogSummary) -> bool:
    """Whether it is the log that the store was writing."""
    return log.name.role is LogRole.CURRENT
