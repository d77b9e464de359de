"""What soft recovery finds on a volume: logs, checkpoint, databases.  Nothing is changed here.

A log is read whole, one at a time; no log is larger than 64 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from replicator.ese.checkpoint import Checkpoint, read_checkpoint
from replicator.ese.checksum import MAGIC, PAGE_SIZES
from replicator.ese.database_header import DatabaseHeader, read_database_header
from replicator.ese.errors import ERRORS, EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import LogName, LogRole, log_bases, parse_log_name
from replicator.ese.log_set import (
    CURRENT_MISSING_EVENTS,
    FILE_NOT_FOUND,
    MISSING_LOG,
    NO_CHECKPOINT,
    AttachedDatabase,
    LogSet,
    LogSummary,
    check_chain,
    check_one_current,
    databases_in,
    summarise,
)
from replicator.ese.reader import BytesReader
from replicator.ese.streaming_file import (
    HEADER_BYTES,
    MISMATCH,
    check_pair,
    is_streaming,
    streaming_path,
)
from replicator.runtime.port import EntryKind, Volume

READ_BYTES: Final = 4 << 20
LOG_MOST_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class FoundDatabase:
    """A database file: its path on the volume and its header."""

    path: str
    header: DatabaseHeader


def joined(directory: str, name: str) -> str:
    """The path of a name in a directory."""
    return f"{directory.rstrip('/')}/{name}"


async def read_file(volume: Volume, path: str, most_bytes: int = LOG_MOST_BYTES) -> BytesReader:
    """A file's content; raises EseError -541 for one that is longer than it may be."""
    file = volume.open(path)
    try:
        size = file.size_bytes
        if size > most_bytes:
            detail = f"the file has {size:,} bytes, no log has so many"
            raise EseError(-541, detail, path=path, remedy=ERRORS[-501].remedy)
        parts = [
            await file.read_at(at, min(READ_BYTES, size - at)) for at in range(0, size, READ_BYTES)
        ]
    finally:
        file.close()
    return BytesReader(b"".join(parts), path)


async def find_logs(
    volume: Volume,
    directory: str,
    base: str | None = None,
    system_directory: str | None = None,
    between: Callable[[], None] | None = None,
) -> LogSet:
    """The log set in a directory, its chain checked, segments included.

    Arguments
    ---------
    base: three characters; needed when several sets lie there.
    system_directory: where the checkpoint is, when not with the logs.
    between: called before each log is read; what it raises ends the search.

    Raises EseError -1811 when there is no log, or when the base has to be named.
    """
    names = [found for name in volume.list(directory) if (found := parse_log_name(name))]
    bases = log_bases(each.name for each in names)
    wanted = base.upper() if base is not None else bases[0] if len(bases) == 1 else None
    if wanted is None or wanted not in bases:
        asked = f"no log of {base} is there" if base is not None else "name one log set"
        detail = f"{asked}; found: {', '.join(bases)}" if bases else "no logs are there"
        raise EseError(FILE_NOT_FOUND, detail, path=directory)
    mine = [each for each in names if each.base == wanted]

    def having(role: LogRole) -> list[LogName]:
        found = [each for each in mine if each.role is role]
        return sorted(found, key=lambda each: (each.generation or 0, each.name))

    logs = []
    for each in (*having(LogRole.CLOSED), *having(LogRole.CURRENT)[:1]):
        path = joined(directory, each.name)
        if between is not None:
            between()
        try:
            logs.append(summarise(each, await read_file(volume, path), path))
        except EseError as error:
            logs.append(LogSummary(each, path, 0, None, (), None, error, ()))
    current_paths = [joined(directory, each.name) for each in having(LogRole.CURRENT)]
    errors = [*check_chain(logs), *check_one_current(current_paths)]
    notes = [note for log in logs for note in log.notes]
    temporary = having(LogRole.TEMPORARY)
    if not having(LogRole.CURRENT):
        path, detail = joined(directory, f"{wanted}.log"), "the current log is missing"
        if temporary and logs:
            detail += ", the next one was being put in its place: recovery uses the closed logs"
            notes.append(EseError(MISSING_LOG, detail, path=path, events=()))
        else:
            errors.append(EseError(MISSING_LOG, detail, path=path, events=CURRENT_MISSING_EVENTS))
    checkpoint = await _checkpoint(volume, system_directory or directory, wanted, notes)
    attached: tuple[AttachedDatabase, ...] | None = None
    named: tuple[AttachedDatabase, ...] = ()
    if logs and logs[-1].error is None:
        reader = await read_file(volume, logs[-1].path)
        try:
            log = LogFile(reader, closed=not having(LogRole.CURRENT))
            attached, named = databases_in(log)
        except EseError as error:
            errors.append(error)
    reserves = tuple(each.name for each in having(LogRole.RESERVE))
    return LogSet(
        wanted,
        tuple(logs),
        None,
        reserves,
        checkpoint,
        attached,
        tuple(errors),
        tuple(notes),
        named,
    )


async def _checkpoint(
    volume: Volume, directory: str, base: str, notes: list[EseError]
) -> Checkpoint | None:
    found = [
        name
        for name in volume.list(directory)
        if (parsed := parse_log_name(name))
        and (parsed.role, parsed.base) == (LogRole.CHECKPOINT, base)
    ]
    if not found:
        notes.append(EseError(NO_CHECKPOINT, "there is no checkpoint file", path=directory))
        return None
    try:
        return read_checkpoint(await read_file(volume, joined(directory, found[0])))[0]
    except EseError as error:
        notes.append(error)
        return None


async def find_databases(volume: Volume, directories: Collection[str]) -> list[FoundDatabase]:
    """The databases in directories, found out by their content.

    Raises EseError for one whose header cannot be used.
    """
    found = []
    for directory in dict.fromkeys(directories):
        for name in volume.list(directory):
            path = joined(directory, name)
            if parse_log_name(name) is None and volume.stat(path).kind is EntryKind.FILE:
                header = await read_header(volume, path)
                if header is not None:
                    found.append(FoundDatabase(path, header))
    return found


async def read_header(volume: Volume, path: str) -> DatabaseHeader | None:
    """The header of a database; None for another file, and for temporary and streaming ones.

    Raises EseError when it is a database by its magic number and its header cannot be used.
    """
    file = volume.open(path)
    try:
        start = await file.read_at(0, 2 * max(PAGE_SIZES))
    finally:
        file.close()
    magic = MAGIC.to_bytes(4, "little")
    if not any(start[at + 4 : at + 8] == magic for at in (0, *PAGE_SIZES)):
        return None
    header, _reading = read_database_header(BytesReader(start, path))
    return None if header.is_temporary or is_streaming(header) else header


async def check_streaming_files(
    volume: Volume, databases: Collection[FoundDatabase]
) -> list[EseError]:
    """What is wrong with the streaming files of some databases, those that have one."""
    errors = []
    for each in databases:
        if each.header.streaming_signature.is_zero:
            continue
        path = streaming_path(each.path)
        if not volume.exists(path):
            detail = f"{each.path} has a streaming file, and it is not there"
            errors.append(EseError(MISMATCH, detail, path=path))
            continue
        file = volume.open(path)
        try:
            start = await file.read_at(0, HEADER_BYTES)
            check_pair(each.header, BytesReader(start, path), path)
        except EseError as error:
            error.path = error.path or path
            errors.append(error)
        finally:
            file.close()
    return errors


def contiguous(
    logs: Sequence[LogSummary], first: int, broken: Collection[str | None]
) -> list[LogSummary]:
    """The logs from a generation on, up to the first that is missing or cannot be used.

    Arguments
    ---------
    broken: paths of logs that do not go on from the one before.
    """
    found: list[LogSummary] = []
    for log in logs:
        if log.generation is None or log.generation < first:
            continue
        if log.generation != first + len(found) or log.error is not None or log.path in broken:
            break
        found.append(log)
    return found
