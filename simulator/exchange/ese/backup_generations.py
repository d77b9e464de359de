"""Which logs a streaming backup begins with, which the store may forget behind it, and the marks
of backups in its headers, by which the next one knows.

::

    full, copy    from the checkpoint on, and from what any database requires
    incremental   from behind the last full or incremental backup on
    differential  from behind the last full one on
    deleted       what neither the checkpoint, nor a database, nor the last backup of any needs

See :mod:`simulator.exchange.ese.streaming_backup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from replicator.ese.database_header import DatabaseHeader
from replicator.ese.errors import EseError
from replicator.ese.recovery_files import find_databases
from replicator.ese.values import BackupInfo
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.backup_options import BackupKind
from simulator.exchange.ese.instance import Instance

CIRCULAR: Final = -526
NOT_LOGGED: Final = -549
NO_FULL_BACKUP: Final = -560


def first_generation(
    instance: Instance, there: Sequence[AttachedDatabase], kind: BackupKind, directory: str
) -> int:
    """The first log of a set.

    Arguments
    ---------
    there: the databases that are backed up.
    directory: of the set, for errors.

    Raises EseError: -526 for logs alone of a store with circular logging, -549 for these with a
    streaming file, -560 without a full backup before.
    """
    headers = [each.header for each in there]
    if kind.has_databases:
        generations = instance.log.generations
        oldest = generations[0] if generations else instance.log.generation
        needed = [each.first_required_generation for each in headers]
        return min([instance.checkpoint.generation or oldest, *needed])
    if instance.config.circular:
        detail = "circular logging deletes logs that are in no backup"
        raise EseError(CIRCULAR, detail, path=instance.directory)
    streamed = [each.streaming.path for each in there if each.streaming is not None]
    if streamed:
        detail = "what is in it since the full backup is not in the logs"
        raise EseError(NOT_LOGGED, detail, path=streamed[0])
    differential = kind is BackupKind.DIFFERENTIAL
    ends = [_last_full(each) if differential else _last_backup(each) for each in headers]
    if not all(ends):
        raise EseError(NO_FULL_BACKUP, "there is none of all databases", path=directory)
    return min(ends) + 1


def marked(header: DatabaseHeader, kind: BackupKind, taken: BackupInfo) -> DatabaseHeader:
    """The header of a database that was backed up, with the backup in it."""
    match kind:
        case BackupKind.FULL:
            return replace(header, last_full_backup=taken, last_incremental_backup=BackupInfo())
        case BackupKind.COPY:
            return replace(header, last_copy_backup=taken)
        case BackupKind.INCREMENTAL:
            return replace(header, last_incremental_backup=taken)
        case BackupKind.DIFFERENTIAL:
            return replace(header, last_differential_backup=taken)


async def delete_backed_up(instance: Instance) -> int:
    """Delete the logs that neither the store nor the last backups need; returns how many.

    Databases of the log set that are not attached count too: what was never backed up keeps
    all logs (event 225), and so does what cannot be read.  Raises StorageError.
    """
    mine = {each.header.log_signature for each in instance.databases.values()}
    try:
        there = await find_databases(instance.volume, (instance.directory,))
    except EseError:
        return 0  # a header that cannot be read: nobody knows which logs it needs
    headers = [each.header for each in there if each.header.log_signature in mine]
    ends = [_last_backup(each) for each in headers]
    if not ends or not all(ends):
        return 0
    needed = [each.first_required_generation for each in headers]
    kept = [instance.checkpoint.generation, min(ends) + 1, *(each for each in needed if each)]
    return instance.log.delete_below(min(kept))


def _last_full(header: DatabaseHeader) -> int:
    return header.last_full_backup.last_generation


def _last_backup(header: DatabaseHeader) -> int:
    """The last generation that backups of the database have; 0 without a full one."""
    full = _last_full(header)
    return max(full, header.last_incremental_backup.last_generation) if full else 0
