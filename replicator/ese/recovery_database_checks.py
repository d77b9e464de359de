"""What keeps single database files from soft recovery, whatever the logs' chain is like.

Copies that need another kind of recovery, files that were never finished, headers that contradict
themselves or the log that they name, and two copies of one database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_state import NEEDING_LOGS
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import AttachDB, CreateDB
from replicator.ese.log_set import LogSet
from replicator.ese.recovery_files import FoundDatabase, joined, read_file
from replicator.ese.values import LogPosition, Signature
from replicator.runtime.port import EntryKind, Volume

CORRUPTED: Final = -1206
BACKUP_COPY: Final = -544
SNAPSHOT_COPY: Final = -581
SAME_DATABASE: Final = -1222
_ASKED_BYTES: Final = 4096


def check_states(databases: Collection[FoundDatabase]) -> list[EseError]:
    """Copies that need another kind of recovery, and files that were never finished."""
    errors = []
    for each in databases:
        header, path = each.header, each.path
        if header.state not in NEEDING_LOGS:
            if header.state is State.CLEAN_SHUTDOWN:
                if header.attach_position > header.consistent_position:
                    detail = (
                        f"it was shut down at {header.consistent_position}, and attached last "
                        f"at {header.attach_position}, behind that"
                    )
                    errors.append(EseError(CORRUPTED, detail, path=path))
            elif header.state is not State.INCREMENTAL_RESEED_IN_PROGRESS:  # see check_recovery
                detail = f"its state is {header.state_title}: there is nothing to go on from"
                errors.append(EseError(CORRUPTED, detail, path=path))
        elif not header.current_full_backup.is_zero:
            detail = "it is a copy of a streaming backup, taken while the store ran"
            errors.append(EseError(BACKUP_COPY, detail, path=path))
        elif not header.current_snapshot_backup.is_zero:
            detail = "it is a copy of a snapshot set that was not completed"
            errors.append(EseError(SNAPSHOT_COPY, detail, path=path))
        elif header.first_required_generation and not _generations_agree(header):
            detail = "the generations in its header contradict one another"
            errors.append(EseError(CORRUPTED, detail, path=path))
    return errors


def _generations_agree(header: DatabaseHeader) -> bool:
    """Whether they are in order, and none is ahead of the last log that was written.

    Records up to the attach do not count: one that lies ahead would make all of them be skipped.
    """
    committed = header.last_committed_generation
    positions = (header.consistent_position, header.attach_position)
    ahead = any(each.generation > committed for each in positions)
    in_order = header.consistent_position <= header.attach_position
    return header.generations_in_order and in_order and not ahead


def check_twice(databases: Collection[FoundDatabase]) -> list[EseError]:
    """Copies of one database: the logs cannot tell which of them they go on from."""
    first: dict[Signature, str] = {}
    errors = []
    for each in databases:
        other = first.setdefault(each.header.database_signature, each.path)
        if other != each.path:
            detail = f"it has the signature of {other}: they are copies of one database"
            errors.append(EseError(SAME_DATABASE, detail, path=each.path))
    return errors


async def check_attached(
    volume: Volume, logs: LogSet, databases: Collection[FoundDatabase]
) -> list[EseError]:
    """Whether the record that attached a dirty database stands where its header says.

    Records up to there do not count for it, so a position that no attach stands at would pass
    over changes without a word.  Where that log is not there any more, nothing can be said.
    """
    errors = []
    named = {each.signature for each in logs.named}
    for each in databases:
        header, position = each.header, each.header.attach_position
        log = logs.log(position.generation)
        if header.state not in NEEDING_LOGS or log is None or log.error is not None:
            continue
        closed = log.name.role is LogRole.CLOSED
        opened = LogFile(await read_file(volume, log.path), closed=closed)
        found = _attaches_of(opened, header.database_signature, position)
        # Of a database that they name nowhere redo says so itself (-550, -531).
        if position not in found and (found or header.database_signature in named):
            detail = f"its header says that it was attached at {position}; no attach stands there"
            errors.append(EseError(CORRUPTED, detail, path=each.path))
    return errors


def _attaches_of(log: LogFile, signature: Signature, position: LogPosition) -> set[LogPosition]:
    """Where a database was attached or created in a log, and ``position`` when any one was there.

    Whose attach stands there redo finds out (-531).
    """
    found = set()
    try:
        for record in log.records():
            if record.number in (Kind.ATTACH_DB, Kind.CREATE_DB):
                content = record.content
                assert isinstance(content, AttachDB | CreateDB)
                if record.position == position or content.database_signature == signature:
                    found.add(record.position)
    except EseError:
        found.add(position)  # what is wrong with the log is told where its records are redone
    return found


def check_empty(
    volume: Volume, logs: LogSet, directories: Collection[str], found: Collection[FoundDatabase]
) -> Iterator[EseError]:
    """Files that have the name of a database of these logs and hold no header at all.

    A database is known by its content; one whose content is gone has nothing but its name.
    """
    known = {each.path for each in found}
    names = {_base_name(each.path) for each in logs.named}
    for directory in dict.fromkeys(directories):
        for name in volume.list(directory):
            path = joined(directory, name)
            if path in known or name.casefold() not in names or parse_log_name(name) is not None:
                continue
            entry = volume.stat(path)
            if entry.kind is EntryKind.FILE:
                size = f"{entry.size_bytes:,} bytes" if entry.size_bytes else "nothing"
                detail = f"the logs name a database so, and the file has {size}: no header"
                if entry.size_bytes >= _ASKED_BYTES:
                    detail = "the logs name a database so, and neither copy of its header is there"
                yield EseError(CORRUPTED, detail, path=path)


def _base_name(path: str) -> str:
    """The last part of a path as the engine or this machine writes it."""
    return path.replace("\\", "/").rpartition("/")[2].casefold()
