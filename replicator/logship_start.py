"""What a start of a copy finds: its files alone tell how far it had come.

::

    inspection directory   emptied: what lies there was never counted
    log directory          synced: a process that died between a rename and its sync leaves a
                           name that only the cache knows, and a checkpoint must not rest on that
    databases              say, with the checkpoint, with which generation redo begins
    logs from there on     are inspected once more; those without a gap count

A log that is bad, and all behind a gap, is thrown away: it is copied again.
"""

from __future__ import annotations

from dataclasses import dataclass

from replicator.ese.errors import EseError
from replicator.ese.log_set import LogSummary
from replicator.ese.recovery_files import joined
from replicator.ese.values import Signature
from replicator.logship_inspect import clear, inspect
from replicator.logship_options import LogShipSafeguards
from replicator.logship_queue import LogQueue
from replicator.logship_replay import CopyPlace, Replayer
from replicator.logship_times import wall_ns_of
from replicator.runtime.port import Runtime


@dataclass(frozen=True, slots=True)
class FoundCopy:
    """A copy to go on with.

    Arguments
    ---------
    queue: its marks; as replayed counts what lies before the generation that redo begins with.
    last: the newest log that is inspected; None where there is none.
    signature: of the log set that its databases belong to.
    """

    queue: LogQueue
    last: LogSummary | None
    signature: Signature


async def find_copy(
    runtime: Runtime, place: CopyPlace, replayer: Replayer, safeguards: LogShipSafeguards
) -> FoundCopy | None:
    """Look at what is there, and put it in order; None where there is no database.

    Arguments
    ---------
    replayer: says where redo begins.
    safeguards: for tests.

    Raises EseError for a database whose header cannot be used, and StorageError.
    """
    volume = place.volume
    if not volume.exists(place.inspection_directory):
        volume.mkdir(place.inspection_directory)
    clear(volume, place.inspection_directory)
    if safeguards.sync_before_inspected:
        await volume.sync_directory(place.log_directory)
    databases = await place.databases()
    if not databases:
        return None
    signature = databases[0].header.log_signature
    start = await replayer.start()
    queue, names = LogQueue(start), place.closed()
    last: LogSummary | None = None
    for generation in range(start, max(names, default=0) + 1):
        if generation not in names:
            break
        try:
            path = joined(place.log_directory, names[generation])
            last = await inspect(volume, path, last, signature)
        except EseError as error:
            runtime.emit("log_discarded", generation, str(error))
            break
        assert last.header is not None  # else it would not have passed
        # What was written before it began is in an earlier one: that much is certain of it, too.
        queue.found(generation, runtime.now_ns(), wall_ns_of(last.header.created))
    for generation, name in names.items():
        if generation > queue.inspected:
            volume.unlink(joined(place.log_directory, name))
    runtime.emit("copy_found", start, queue.inspected)
    return FoundCopy(queue, last, signature)


__all__ = ["FoundCopy", "find_copy"]
