"""Opening the small store: making a new one, or carrying out what recovery found.

A new store comes into being with one rename: the checkpoint file is written under another
name and renamed when all else is durable.  A directory without checkpoint file therefore
holds a creation that was cut off, and is begun anew, unless its logs hold transactions: then
the checkpoint was lost, and the store is refused.

Leaves out: locking of the directory against a second process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import xxhash

from replicator.runtime.port import File, Volume
from simulator.exchange.small_checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    Mark,
    write_checkpoint,
)
from simulator.exchange.small_files import (
    DATABASE_NAME,
    Paths,
    Safeguards,
    write_fully,
    write_pages,
)
from simulator.exchange.small_log import (
    CURRENT_LOG,
    FIRST_LSN,
    LOG_HEADER_BYTES,
    encode_log_header,
    generation_of_name,
)
from simulator.exchange.small_pages import Totals, geometry_for
from simulator.exchange.small_reader import StoredMessage
from simulator.exchange.small_recovery import Recovered, read_store
from simulator.exchange.small_writer import LogWriter
from simulator.exchange.store import MountReport, StoreUnmountable

WRITTEN_AGAIN_BYTES: Final = 32 << 10
_UNFINISHED_NAME: Final = "E00.new"
"""The checkpoint file of a store that is being made."""


@dataclass(slots=True)
class MountedFiles:
    """A mounted store's files and what was read from them."""

    database: File
    checkpoint_file: File
    log: LogWriter
    checkpoint: Checkpoint
    messages: dict[int, StoredMessage]
    totals: dict[int, Totals]

    def close(self) -> None:
        self.database.close()
        self.checkpoint_file.close()
        self.log.close()


async def open_store(
    volume: Volume,
    paths: Paths,
    now_ns: Callable[[], int],
    mailboxes: int,
    capacity_bytes: int,
    log_size_bytes: int,
    safeguards: Safeguards,
) -> tuple[MountedFiles, MountReport]:
    """Create the store or recover it.  Raises StoreUnmountable."""
    began_ns = now_ns()
    created = not volume.exists(paths.checkpoint)
    if created:
        await _create(volume, paths, began_ns, mailboxes, capacity_bytes)
    if not volume.exists(paths.database):
        raise StoreUnmountable("the database file is missing", path=paths.database)
    checkpoint_file = volume.open(paths.checkpoint)
    database = volume.open(paths.database)
    mounted = False
    try:
        found = await read_store(volume, paths, checkpoint_file, database, safeguards)
        log, checkpoint = await _carry_out(
            volume, paths, found, checkpoint_file, database, log_size_bytes, safeguards
        )
        mounted = True
    finally:
        if not mounted:
            checkpoint_file.close()
            database.close()
    report = MountReport(
        created=created,
        recovered=not created and not found.checkpoint.clean,
        transactions=found.mark.transactions,
        messages=len(found.messages),
        replayed_transactions=found.replayed,
        rewritten_pages=len(found.rewrite),
        log_bytes_read=found.log.bytes_read,
        torn_tail_bytes=found.log.torn_bytes,
        duration_ns=now_ns() - began_ns,
    )
    files = MountedFiles(database, checkpoint_file, log, checkpoint, found.messages, found.totals)
    return files, report


async def _create(
    volume: Volume, paths: Paths, now_ns: int, mailboxes: int, capacity_bytes: int
) -> None:
    """Make an empty, cleanly dismounted store."""
    if not volume.exists(paths.directory):
        volume.mkdir(paths.directory)
        await volume.sync_directory(paths.directory.rpartition("/")[0] or "/")
    _remove_unfinished(volume, paths)
    geometry = geometry_for(mailboxes, capacity_bytes)
    signature = xxhash.xxh3_64_intdigest(f"{volume.name}:{paths.directory}:{now_ns}".encode()) | 1
    database = volume.create(paths.database)
    database.truncate(geometry.file_bytes)
    await database.sync()
    database.close()
    log = volume.create(paths.of(CURRENT_LOG))
    await volume.admit(LOG_HEADER_BYTES)
    write_fully(log, 0, encode_log_header(signature, 1, FIRST_LSN))
    await log.sync()
    log.close()
    checkpoint_file = volume.create(paths.of(_UNFINISHED_NAME))
    checkpoint = Checkpoint(signature, geometry, 1, True, FIRST_LSN, 1, Mark(FIRST_LSN))
    await write_checkpoint(volume, checkpoint_file, checkpoint)
    checkpoint_file.close()
    await volume.sync_directory(paths.directory)
    volume.rename(paths.of(_UNFINISHED_NAME), paths.checkpoint)
    await volume.sync_directory(paths.directory)


def _remove_unfinished(volume: Volume, paths: Paths) -> None:
    """Clear away what a creation left that was cut off; raises StoreUnmountable."""
    names = volume.list(paths.directory)
    has_transactions = any(generation_of_name(name) is not None for name in names) or (
        CURRENT_LOG in names and volume.stat(paths.of(CURRENT_LOG)).size_bytes > LOG_HEADER_BYTES
    )
    if has_transactions:
        raise StoreUnmountable(
            f"there are logs but no checkpoint file {CHECKPOINT_NAME}", path=paths.checkpoint
        )
    for name in (_UNFINISHED_NAME, CURRENT_LOG, DATABASE_NAME):
        if name in names:
            volume.unlink(paths.of(name))


async def _carry_out(
    volume: Volume,
    paths: Paths,
    found: Recovered,
    checkpoint_file: File,
    database: File,
    log_size_bytes: int,
    safeguards: Safeguards,
) -> tuple[LogWriter, Checkpoint]:
    """Write what recovery found necessary; each step may be cut off and done again."""
    old, log = found.checkpoint, found.log
    log_file = await _open_newest_log(volume, paths, found)
    if safeguards.write_again_after_recovery and not old.clean:
        await _write_again(volume, log_file, log.end_offset)
    if safeguards.sync_after_recovery:  # the log first: its pages must not outlive it
        await log_file.sync()
        await checkpoint_file.sync()
        await volume.sync_directory(paths.directory)
    await write_pages(volume, database, old.signature, found.rewrite)
    if safeguards.sync_after_recovery:
        await database.sync()
    checkpoint = Checkpoint(
        signature=old.signature,
        geometry=old.geometry,
        number=old.number + 1,
        clean=False,
        redo_lsn=log.end_lsn,
        generation=log.generation,
        mark=found.mark,
    )
    await write_checkpoint(
        volume,
        checkpoint_file,
        checkpoint,
        safeguards.checkpoint_in_two_steps,
        first_copy=1 - found.whole_copy if safeguards.whole_copy_last else 0,
    )
    for name in volume.list(paths.directory):
        generation = generation_of_name(name)
        if generation is not None and generation < log.generation:
            volume.unlink(paths.of(name))
    writer = LogWriter(
        volume,
        paths,
        old.signature,
        log_size_bytes,
        safeguards,
        file=log_file,
        generation=log.generation,
        offset=log.end_offset or LOG_HEADER_BYTES,
        lsn=log.end_lsn,
        generations={log.generation: log.generations.get(log.generation, log.end_lsn)},
    )
    return writer, checkpoint


async def _write_again(volume: Volume, file: File, size_bytes: int) -> None:
    """Write the same bytes to the same place, so that the next sync vouches for them.

    The process before may have died of a failed sync: what it wrote reads well from the page
    cache, counts as written, and is not on the medium.
    """
    offset = 0
    while offset < size_bytes:
        data = await file.read_at(offset, min(WRITTEN_AGAIN_BYTES, size_bytes - offset))
        await volume.admit(len(data))
        write_fully(file, offset, data)
        offset += len(data)


async def _open_newest_log(volume: Volume, paths: Paths, found: Recovered) -> File:
    """``E00.log`` without torn tail, made anew when a roll was cut off."""
    log = found.log
    current = paths.of(CURRENT_LOG)
    if log.end_offset:
        file = volume.open(current)
        if log.torn_bytes:
            file.truncate(log.end_offset)
        return file
    file = volume.open(current) if volume.exists(current) else volume.create(current)
    await volume.admit(LOG_HEADER_BYTES)
    file.truncate(0)
    header = encode_log_header(found.checkpoint.signature, log.generation, log.end_lsn)
    write_fully(file, 0, header)
    return file
