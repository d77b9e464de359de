"""Hard recovery: copies of a streaming backup come to the end of its logs, and of the store's.

::

    look       copies, trailers, logs; what keeps them from it is refused before any change
    logs       the store's closed logs are copied beside the backup's; the originals stay
    headers    the backup's generations are required from now on; the trailer goes away
    current    the store's current log is copied
    recover    as after a crash (:mod:`replicator.ese.recovery`)

The headers come before the current log: as long as there is none beside the backup's logs, an
interrupted restore is run again; from then on the set is a crashed store like any other, for which
soft recovery is enough.  The trailer is read before its header changes and cut off after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import restored
from replicator.ese.errors import EseError
from replicator.ese.log_copies import copy_file
from replicator.ese.log_set import LogSummary
from replicator.ese.recovery import Progress, recover
from replicator.ese.recovery_checks import RecoveryRequest, plan_recovery
from replicator.ese.recovery_files import joined
from replicator.ese.recovery_result import RecoveryResult, RecoverySettings
from replicator.ese.restore_checks import BackupCopy, RestorePlan, is_current
from replicator.ese.values import LogTime, Signature
from replicator.runtime.port import Volume


async def restore(
    volume: Volume,
    plan: RestorePlan,
    settings: RecoverySettings | None = None,
    *,
    now: Callable[[], LogTime],
    flush_signature: Callable[[], Signature],
    progress: Progress | None = None,
) -> RecoveryResult:
    """Carry out a plan.

    Arguments
    ---------
    volume: where everything lies.
    plan: from :func:`replicator.ese.restore_checks.plan_restore`.
    settings, now, flush_signature, progress: as for :func:`replicator.ese.recovery.recover`.

    Raises EseError and StorageError; then it is run again once the cause is gone.
    """
    directory = plan.request.directory
    closed = [log for log in plan.store_logs if not is_current(log)]
    for log in closed:
        await _copy_log(volume, log, directory)
    await volume.sync_directory(directory)
    for copy in plan.copies:
        await _admit(volume, copy, plan, flush_signature)
    for log in plan.store_logs[len(closed) :]:
        await _copy_log(volume, log, directory)
    await volume.sync_directory(directory)
    request = RecoveryRequest(
        log_directory=directory,
        base=plan.base,
        databases=tuple(copy.found.path for copy in plan.copies),
        # Others of the storage group were not backed up with these.
        ignore_missing_databases=True,
        closed_logs_suffice=True,
    )
    found, errors = await plan_recovery(volume, request)
    if found is None:
        raise errors[0]
    result = await recover(
        volume, found, settings, now=now, flush_signature=flush_signature, progress=progress
    )
    before = {copy.found.path: copy.found.header.state_title for copy in plan.copies}
    databases = tuple(replace(each, state_before=before[each.path]) for each in result.databases)
    return replace(result, databases=databases, notes=(*plan.notes, *result.notes))


async def _copy_log(volume: Volume, log: LogSummary, directory: str) -> None:
    target = joined(directory, log.name.name)
    if volume.exists(target) and volume.stat(target).size_bytes == log.size_bytes:
        return  # an interrupted restore has copied it
    await copy_file(volume, log.path, target)


async def _admit(
    volume: Volume, copy: BackupCopy, plan: RestorePlan, flush_signature: Callable[[], Signature]
) -> None:
    """Make a copy a dirty database that needs the backup's logs."""
    file = volume.open(copy.found.path)
    try:
        if copy.trailer is not None:
            created = plan.created.get(copy.last)
            if created is None:
                raise EseError(-557, f"generation 0x{copy.last:X} is missing", path=copy.found.path)
            header_file = await DatabaseHeaderFile.open(volume, file, flush_signature)
            header = restored(
                header_file.header, first=copy.first, last=copy.last, last_created=created
            )
            await header_file.write(header)
        if copy.data_bytes < file.size_bytes:
            file.truncate(copy.data_bytes)
            await file.sync()
    finally:
        file.close()
