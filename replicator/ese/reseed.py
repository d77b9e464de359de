"""Incremental reseed: a copy that went another way takes over pages and logs of the active one.

::

    pages      header: reseed in progress; pages of the diverged logs from the active copy; sync
    logs       the diverged ones go away, the last one first; those of the active copy come
    headers    checkpoint back to where redo begins; header: patched, needs the active's logs

A crash in between leaves a database that refuses to be attached (-1226) and whose logs still say
which pages were meant; the reseed is run again.  Logs go away only when all pages are durable.
Then recovery redoes the active copy's logs (:mod:`replicator.ese.recovery`).

E src/ese/io.cxx; ese-format.md 8.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from replicator.ese.checkpoint import new_checkpoint
from replicator.ese.checkpoint_file import CheckpointFile
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import reseeded, reseeding, without_last_log
from replicator.ese.errors import EseError
from replicator.ese.log_copies import copy_file
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.log_set import LogSummary
from replicator.ese.page_source import page_offset
from replicator.ese.recovery_files import joined, read_header
from replicator.ese.reseed_checks import ReseedDatabase, ReseedPlan, active_page
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime.port import Volume, write_all

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReseededFile:
    """What became of one database.

    Arguments
    ---------
    path: on the volume.
    state_before, state: by its header.
    pages: taken from the active copy.
    """

    path: str
    state_before: str
    state: str
    pages: int


@dataclass(frozen=True, slots=True)
class ReseedResult:
    """What a reseed did.

    Arguments
    ---------
    base: of the logs.
    diverged: the first generation that the copies did not have alike, or None.
    removed, copied: generations whose logs went away, and came from the active copy.
    databases: one each.
    """

    base: str
    diverged: int | None
    removed: tuple[int, ...]
    copied: tuple[int, ...]
    databases: tuple[ReseededFile, ...]


async def reseed(
    volume: Volume,
    plan: ReseedPlan,
    *,
    now: Callable[[], LogTime],
    flush_signature: Callable[[], Signature],
    progress: Progress | None = None,
) -> ReseedResult:
    """Carry out a plan.

    Arguments
    ---------
    volume: where both copies lie.
    plan: from :func:`replicator.ese.reseed_checks.plan_reseed`.
    now, flush_signature: as for recovery.
    progress: told the pages that are done, and all.

    Raises EseError, among others for a page of the active copy that does not verify, and
    StorageError; then it is run again once the cause is gone.
    """
    total, done = sum(len(each.pages) for each in plan.databases), 0
    for one in plan.databases:
        if one.is_patched:

            def told(count: int, before: int = done) -> None:
                if progress is not None:
                    progress(before + count, total)

            await _take_pages(volume, one, now, flush_signature, told)
            done += len(one.pages)
    directory = plan.request.directory
    for log in plan.removed:
        volume.unlink(log.path)
    await volume.sync_directory(directory)
    for log in plan.copied:
        await copy_file(volume, log.path, joined(directory, log.name.name))
    await volume.sync_directory(directory)
    await _move_checkpoint_back(volume, plan)
    files = [await _finish(volume, one, plan, flush_signature) for one in plan.databases]
    return ReseedResult(
        plan.base,
        plan.diverged,
        tuple(log.generation or 0 for log in plan.removed),
        tuple(log.generation or 0 for log in plan.copied),
        tuple(files),
    )


async def _take_pages(
    volume: Volume,
    one: ReseedDatabase,
    now: Callable[[], LogTime],
    flush_signature: Callable[[], Signature],
    told: Callable[[int], None],
) -> None:
    size = one.found.header.page_size
    file = volume.open(one.found.path)
    active = volume.open(one.active.path)
    try:
        header_file = await DatabaseHeaderFile.open(volume, file, flush_signature)
        header = reseeding(header_file.header, first=one.first, time=now())
        if one.pages:
            # The count goes up before the first page does.
            count = header.page_patch_count + len(one.pages)
            header = replace(header, page_patch_count=count, page_patch_time=now())
        await header_file.write(header)
        for count, pgno in enumerate(one.pages):
            told(count)
            data = await active_page(active, pgno, size)
            at = page_offset(pgno, size)
            if not any(data) and at >= file.size_bytes:
                continue
            await volume.admit(size)
            write_all(file, at, data)
        await file.sync()
    finally:
        file.close()
        active.close()


async def _move_checkpoint_back(volume: Volume, plan: ReseedPlan) -> None:
    """Redo begins where the oldest page may be, whatever the checkpoint said before."""
    patched = [each.first for each in plan.databases if each.is_patched]
    directory = plan.request.directory
    names = [name for name in volume.list(directory) if _is_checkpoint(name, plan.base)]
    if not patched or not names:
        return
    position = LogPosition(min(patched), 1, 0)
    file = await CheckpointFile.open(volume, directory, names[0])
    try:
        before = file.checkpoint
        if before is None or before.position > position:
            assert plan.last.header is not None
            signature = plan.last.header.log_signature
            file.checkpoint = None  # the one place where it goes back
            await file.write(new_checkpoint(position, signature))
    finally:
        file.close()


def _is_checkpoint(name: str, base: str) -> bool:
    found = parse_log_name(name)
    return found is not None and (found.role, found.base) == (LogRole.CHECKPOINT, base)


async def _finish(
    volume: Volume,
    one: ReseedDatabase,
    plan: ReseedPlan,
    flush_signature: Callable[[], Signature],
) -> ReseededFile:
    before = one.found.header
    file = volume.open(one.found.path)
    try:
        header_file = await DatabaseHeaderFile.open(volume, file, flush_signature)
        header = _finished(header_file.header, one, plan.last)
        if header != header_file.header:
            await header_file.write(header)
    finally:
        file.close()
    return ReseededFile(one.found.path, before.state_title, header.state_title, len(one.pages))


def _finished(header: DatabaseHeader, one: ReseedDatabase, last: LogSummary) -> DatabaseHeader:
    """The header that says what the active copy's logs are needed for."""
    assert last.header is not None
    committed, created = last.generation or 0, last.header.created
    if one.is_patched:
        return reseeded(
            header,
            last=min(one.last, committed),
            committed=committed,
            committed_created=created,
            attach_position=one.attach_position,
            consistent_position=one.consistent_position,
            dbtime=one.active.header.dbtime,
        )
    if header.state is State.CLEAN_SHUTDOWN:
        return header
    return replace(header, last_committed_generation=committed, last_committed_created=created)


async def remove_last_log(
    volume: Volume,
    database: str,
    logs: tuple[LogSummary, ...],
    flush_signature: Callable[[], Signature],
) -> int:
    """Take the last committed log, which no page has a change of, out of a set and a database.

    What an incremental reseed of Exchange 2007 consists of, log by log; the file goes first, for
    a header that still counts it refuses to be recovered without it (-582), while one that does
    not would let a log be redone that nobody counts.

    Arguments
    ---------
    database: its path.
    logs: of the set, in order.

    Returns its generation.  Raises EseError -543 when the last log is required, ValueError as
    :func:`replicator.ese.database_state.without_last_log` does.
    """
    header = await read_header(volume, database)
    last = logs[-1]
    if header is None or last.header is None:
        raise EseError(-1206, "no header to change", path=database)
    generation = last.generation or 0
    if generation <= header.last_required_generation:
        detail = f"generation 0x{generation:X} is required: the copy has to be reseeded"
        raise EseError(-543, detail, path=database)
    before = logs[-2].header if len(logs) > 1 else None
    file = volume.open(database)
    try:
        header_file = await DatabaseHeaderFile.open(volume, file, flush_signature)
        changed = without_last_log(
            header_file.header,
            generation,
            last.header.log_signature,
            before.created if before is not None else LogTime(),
        )
        volume.unlink(last.path)
        await volume.sync_directory(last.path.rpartition("/")[0] or "/")
        await header_file.write(changed)
    finally:
        file.close()
    return generation
