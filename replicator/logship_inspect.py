"""Inspection of a log that has been copied, and its way into the log directory.

A log passes when its header and its content verify, its generation is that of its name, it is of
the log set of the databases, and it goes on from the log before it.  What is wrong is told with
the engine's own numbers (:mod:`replicator.ese.log_set`).  Then::

    sync of the file --> rename into the log directory --> sync of both directories

and only now it counts as inspected: a power loss cannot take it back.  Whatever else lies in the
inspection directory after a crash was never counted and is thrown away.
"""

from __future__ import annotations

from contextlib import suppress

from replicator.errors import NotFound
from replicator.ese.errors import EseError
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.log_set import BAD_SIGNATURE, LogSummary, check_chain, summarise
from replicator.ese.recovery_files import joined, read_file
from replicator.ese.values import Signature
from replicator.runtime.port import Volume


async def inspect(
    volume: Volume, path: str, before: LogSummary | None, signature: Signature | None
) -> LogSummary:
    """Look at a closed log as a whole; returns what is kept of it.

    Arguments
    ---------
    path: the file, with the name that it has in the log directory.
    before: the log of the generation before; None where there is none.
    signature: of the log set that the databases belong to; None where it is not known.

    Raises EseError for what keeps it from being replayed.  Memory: one log.
    """
    name = parse_log_name(path.rpartition("/")[2])
    if name is None or name.role is not LogRole.CLOSED:
        raise EseError(-1811, "this is no name of a closed log", path=path)
    found = summarise(name, await read_file(volume, path), path)
    if found.error is not None:
        raise found.error
    assert found.header is not None  # else there is an error
    if signature is not None and found.header.log_signature != signature:
        detail = f"its log set is {found.header.log_signature}, that of the databases {signature}"
        raise EseError(BAD_SIGNATURE, detail, path=path)
    if before is not None:
        for error in check_chain([before, found]):
            raise error
    return found


async def take_in(volume: Volume, path: str, directory: str, *, sync: bool = True) -> str:
    """Move an inspected log to the others; returns its path there, which is durable by then.

    Arguments
    ---------
    path: the file, inspected.
    directory: the log directory.
    sync: False in tests, which show that it is needed.

    Raises StorageError.
    """
    below, _, name = path.rpartition("/")
    target = joined(directory, name)
    if sync:
        file = volume.open(path)
        try:
            await file.sync()
        finally:
            file.close()
    volume.rename(path, target)
    if sync:
        await volume.sync_directory(directory)
        await volume.sync_directory(below or "/")
    return target


def clear(volume: Volume, directory: str) -> int:
    """Throw away what was under way in the inspection directory; returns how many files."""
    names = volume.list(directory)
    for name in names:
        with suppress(NotFound):
            volume.unlink(joined(directory, name))
    return len(names)


__all__ = ["clear", "inspect", "take_in"]
