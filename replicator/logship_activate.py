"""Activation: a copy becomes a store that was shut down cleanly.

All logs that are inspected are redone, what was open is taken back, and the databases come to rest,
as after a crash of a store that lost its current log.  What was in the open log of the source, and
in logs that had not been copied, is lost.  From its first log of its own on the files are a store
like any other: a crash in the midst of it is made good by whoever mounts it.
"""

from __future__ import annotations

from collections.abc import Callable

from replicator.errors import ExitCode, ReplicatorError
from replicator.ese.database_state import NEEDING_LOGS
from replicator.ese.errors import EseError
from replicator.ese.log_copies import copy_file
from replicator.ese.log_names import LogNames
from replicator.ese.recovery import recover
from replicator.ese.recovery_checks import RecoveryRequest, plan_recovery
from replicator.ese.recovery_files import joined
from replicator.ese.recovery_result import RecoverySettings
from replicator.ese.values import LogTime, Signature
from replicator.logship_replay import MISSING_LOG, CopyPlace, storage_errors


class CopyUnusable(ReplicatorError):
    """The files of a copy do not make up a store that could be mounted."""

    exit_code = ExitCode.BROKEN
    default_remedy = "Mount another copy, or restore a backup."


async def activate(
    place: CopyPlace,
    *,
    now: Callable[[], LogTime],
    flush_signature: Callable[[], Signature],
    limit_pages: int,
) -> int:
    """Make a copy a store that was shut down cleanly: all its logs, and what was open taken back.

    It can be repeated after a crash: once there is a log of its own, the files are those of a store
    that has crashed, and whoever mounts it recovers it.  Returns the newest closed generation that
    was there, 0 where there was none and the databases are as they were brought.

    Raises CopyUnusable with the engine's number, and StorageError.
    """
    try:
        with storage_errors():
            return await _activate(place, now, flush_signature, limit_pages)
    except EseError as error:
        text = f"{error.number} {error.symbol}: {error.detail}"
        raise CopyUnusable(text, path=error.place or None, remedy=error.remedy) from error


async def _take_seed_log(place: CopyPlace) -> None:
    """The log that the databases were shut down with, its checkpoint before it, if they are there.

    The log comes last: with it the files are a store.
    """
    names = LogNames(place.base)
    for name in (names.checkpoint, names.current):
        if not place.seed_directory or not place.volume.exists(joined(place.seed_directory, name)):
            return
        source, target = joined(place.seed_directory, name), joined(place.log_directory, name)
        await copy_file(place.volume, source, target)
        await place.volume.sync_directory(place.log_directory)


async def _activate(
    place: CopyPlace,
    now: Callable[[], LogTime],
    flush_signature: Callable[[], Signature],
    limit_pages: int,
) -> int:
    newest = max(place.closed(), default=0)
    if place.is_opened:
        return newest
    if not newest:
        for each in await place.databases():
            if each.header.state in NEEDING_LOGS:
                detail = "it needs logs, and none are there"
                raise EseError(MISSING_LOG, detail, path=each.path)
        await _take_seed_log(place)
        return 0
    request = RecoveryRequest(
        log_directory=place.log_directory,
        base=place.base,
        database_directories=place.database_directories,
        closed_logs_suffice=True,
    )
    plan, errors = await plan_recovery(place.volume, request)
    if plan is None:
        raise errors[0]
    settings = RecoverySettings(limit_pages=limit_pages)
    await recover(place.volume, plan, settings, now=now, flush_signature=flush_signature)
    return newest


__all__ = ["CopyUnusable", "activate"]
