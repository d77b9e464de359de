"""Mounting the small store: read the log, see what redo must write, refuse what is broken.

Theory
------
Recovery *reads and judges everything before it writes anything*, so a store that is refused
stays as it was found.

1. The checkpoint names the generation and position where redo begins.
2. The log is read from there to its end.  Generations must follow each other without a gap
   and be whole; only the last block of the newest file may be torn.  A log that ends before
   the position that the checkpoint knew to be durable has lost something.
3. The last record of a page decides what it must say.  A page on disk whose LSN is older, or
   that is torn, is rewritten; one whose LSN is newer than the log proves that a page was
   written before its log record: refused.
4. Every live page that the log does not rebuild must be whole and hold the piece that its
   place in the ring demands.  The directory of messages comes out of this reading; the
   totals of each mailbox must agree with it.
5. Then the torn tail is cut off and the log synced, pages are written and synced, and only
   then the checkpoint moves, beginning with the copy that was not whole.  Doing any of it
   twice changes nothing.

What is found in place is synced too: after a crash of the process alone it may sit in the
page cache, where a power loss would still take it.

Leaves out: undo.  A transaction is one record, so there is none to undo.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.runtime.port import File, Volume
from simulator.exchange.small_checkpoint import (
    BadCheckpoint,
    Checkpoint,
    Mark,
    read_checkpoint,
)
from simulator.exchange.small_files import Paths, Safeguards
from simulator.exchange.small_log import (
    CURRENT_LOG,
    LOG_HEADER_BYTES,
    BadLog,
    LoggedBlock,
    closed_log_name,
    decode_log_header,
    generation_of_name,
    scan_blocks,
)
from simulator.exchange.small_pages import PageContent, Totals, message_pages, totals_page
from simulator.exchange.small_reader import PageReader, StoredMessage
from simulator.exchange.store import StoreUnmountable


@dataclass(slots=True)
class LogFound:
    """The log from the checkpoint's generation to its end."""

    blocks: list[LoggedBlock] = field(default_factory=list)
    generations: dict[int, int] = field(default_factory=dict)
    """Generation -> first LSN, without the one to be created."""
    end_lsn: int = 0
    generation: int = 0
    """The newest generation."""
    end_offset: int = 0
    """Where ``E00.log`` ends; 0 when it has to be created, or its header written anew."""
    torn_bytes: int = 0
    bytes_read: int = 0


@dataclass(slots=True)
class Recovered:
    """The outcome of reading: what to write, and the state then."""

    checkpoint: Checkpoint
    whole_copy: int
    """The copy of the checkpoint to keep until the other one is written."""
    log: LogFound
    mark: Mark
    replayed: int
    rewrite: dict[int, PageContent] = field(default_factory=dict)
    messages: dict[int, StoredMessage] = field(default_factory=dict)
    totals: dict[int, Totals] = field(default_factory=dict)


async def read_store(
    volume: Volume, paths: Paths, checkpoint_file: File, database: File, safeguards: Safeguards
) -> Recovered:
    """Read and judge the store; writes nothing.  Raises StoreUnmountable."""
    try:
        checkpoint, whole_copy = await read_checkpoint(checkpoint_file)
    except BadCheckpoint as bad:
        raise StoreUnmountable(f"the checkpoint is damaged: {bad}", path=paths.checkpoint) from None
    log = await _read_log(volume, paths, checkpoint, safeguards)
    _check_log_end(paths, checkpoint, log)
    mark, replayed = _replay_marks(paths, checkpoint, log)
    reader = PageReader(
        paths,
        checkpoint,
        database,
        mark,
        _redo_pages(checkpoint, log),
        safeguards.page_checksums,
        safeguards.write_again_after_recovery,
    )
    await reader.read()
    return Recovered(
        checkpoint, whole_copy, log, mark, replayed, reader.rewrite, reader.messages, reader.totals
    )


# -- the log -------------------------------------------------------------------------


async def _read_whole(volume: Volume, path: str) -> bytes:
    file = volume.open(path)
    try:
        return await file.read_at(0, file.size_bytes)
    finally:
        file.close()


async def _read_log(
    volume: Volume, paths: Paths, checkpoint: Checkpoint, safeguards: Safeguards
) -> LogFound:
    names = volume.list(paths.directory)
    closed = {g for g in map(generation_of_name, names) if g is not None}
    log = LogFound(generation=checkpoint.generation)
    while log.generation in closed:
        path = paths.of(closed_log_name(log.generation))
        data = await _read_whole(volume, path)
        _take_generation(paths, path, data, checkpoint, log, True, safeguards)
        log.generation += 1
    if any(g > log.generation for g in closed):
        raise _missing(paths, log.generation)
    if CURRENT_LOG in names:
        path = paths.of(CURRENT_LOG)
        data = await _read_whole(volume, path)
        if not log.generations or len(data) > LOG_HEADER_BYTES or _has_header(checkpoint, data):
            _take_generation(paths, path, data, checkpoint, log, False, safeguards)
        # Otherwise: created by a roll whose header did not reach the disk.
    elif not log.generations:
        raise _missing(paths, log.generation)
    return log


def _missing(paths: Paths, generation: int) -> StoreUnmountable:
    return StoreUnmountable(
        f"log generation {generation} is needed and missing",
        path=paths.of(closed_log_name(generation)),
    )


def _has_header(checkpoint: Checkpoint, data: bytes) -> bool:
    try:
        decode_log_header(checkpoint.signature, data)
    except BadLog:
        return False
    return True


def _take_generation(
    paths: Paths,
    path: str,
    data: bytes,
    checkpoint: Checkpoint,
    log: LogFound,
    closed: bool,
    safeguards: Safeguards,
) -> None:
    """Append one file's blocks to ``log``; raises StoreUnmountable."""
    signature = checkpoint.signature
    try:
        generation, first_lsn = decode_log_header(signature, data)
        if generation != log.generation:
            if generation > log.generation:
                raise _missing(paths, log.generation)
            raise BadLog(f"it says generation {generation}, not {log.generation}")
        if log.generations and first_lsn != log.end_lsn:
            raise BadLog(
                f"it begins at log position {first_lsn}, the one before ends at {log.end_lsn}"
            )
        scan = scan_blocks(signature, first_lsn, data, closed, safeguards.block_checksums)
    except BadLog as bad:
        raise StoreUnmountable(f"the log is damaged: {bad}", path=path) from None
    log.generations[generation] = first_lsn
    log.blocks += scan.blocks
    log.end_lsn = scan.end_lsn
    log.bytes_read += len(data)
    if not closed:
        log.end_offset = scan.end_offset
        log.torn_bytes = scan.torn_bytes


def _check_log_end(paths: Paths, checkpoint: Checkpoint, log: LogFound) -> None:
    durable_lsn = checkpoint.mark.lsn
    if log.end_lsn < durable_lsn:
        raise StoreUnmountable(
            f"the log ends at position {log.end_lsn}, but was durable up to {durable_lsn}",
            path=paths.of(CURRENT_LOG),
        )
    if checkpoint.clean and log.end_lsn != durable_lsn:
        raise StoreUnmountable(
            f"the store was dismounted at log position {durable_lsn}, "
            f"but the log goes on to {log.end_lsn}",
            path=paths.of(CURRENT_LOG),
        )
    starts = {block.lsn for block in log.blocks}
    if checkpoint.redo_lsn not in starts and checkpoint.redo_lsn != log.end_lsn:
        raise StoreUnmountable(
            f"the checkpoint names log position {checkpoint.redo_lsn}, where no block begins",
            path=paths.checkpoint,
        )


def _replay_marks(paths: Paths, checkpoint: Checkpoint, log: LogFound) -> tuple[Mark, int]:
    """The state at the end of the log, and the number of transactions replayed."""
    mark, replayed = checkpoint.mark, 0
    for block in log.blocks:
        for transaction in block.transactions if block.lsn >= checkpoint.redo_lsn else ():
            replayed += 1
            if block.lsn < checkpoint.mark.lsn:
                continue  # the checkpoint's mark counts it already
            if transaction.number != mark.transactions + 1:
                raise StoreUnmountable(
                    f"transaction {transaction.number} follows {mark.transactions} in the log",
                    path=paths.of(CURRENT_LOG),
                )
            mark = Mark(block.end_lsn, transaction.tail, transaction.head, transaction.number)
    return Mark(log.end_lsn, mark.tail, mark.head, mark.transactions), replayed


def _redo_pages(checkpoint: Checkpoint, log: LogFound) -> dict[int, PageContent]:
    """Page number -> what the last log record of the page says."""
    geometry = checkpoint.geometry
    redo: dict[int, PageContent] = {}
    for block in log.blocks:
        if block.lsn < checkpoint.redo_lsn:
            continue
        for transaction in block.transactions:
            for m in transaction.messages:
                for page in message_pages(block.lsn, m.place, m.message_id, m.mailbox, m.payload):
                    redo[geometry.page_of_place(page.place)] = page
            for mailbox, totals in transaction.totals.items():
                redo[mailbox] = totals_page(block.lsn, mailbox, totals)
    return redo
