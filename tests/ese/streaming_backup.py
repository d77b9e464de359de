"""A streaming backup of the emulated engine: pages copied while it runs, trailer, logs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from replicator.ese.backup_trailer import BackupTrailer
from replicator.ese.database_header import DatabaseHeader, read_database_header
from replicator.ese.header_copies import sealed
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.values import BackupInfo
from simulator.exchange.ese.instance_options import InstanceConfig
from tests.store.memory_volume import Inode, Medium
from tests.store_ese.engine_harness import (
    CONFIG,
    DIRECTORY,
    Life,
    Mailbox,
    Rows,
    body,
    new_medium,
    run,
)

BACKUP = "/backup"
NAME = "priv1.edb"
COPY = f"{BACKUP}/{NAME}"
KEPT = replace(CONFIG, circular=False, log_file_bytes=7 * 4096)
"""With all logs: a backup needs those from before."""
KEPT_7 = replace(KEPT, log_version=7, log_file_bytes=40 * 512)


def put(medium: Medium, path: str, data: bytes) -> None:
    """A file, all of it durable."""
    inode = Inode(5000 + len(medium.names), bytearray(data), data)
    medium.names[path] = medium.durable_names[path] = inode


def content(medium: Medium, path: str) -> bytes:
    inode = medium.names[path]
    assert inode is not None, path
    return bytes(inode.data)


def remove(medium: Medium, path: str) -> None:
    del medium.names[path], medium.durable_names[path]


@dataclass
class Backup:
    """A set as it was made, and the truth about it.

    Attributes
    ----------
    medium: with the set in /backup, and the store that went on, and died, in /store.
    at_end: the rows that were committed where the set's logs end.
    later: those that were committed when the store died.
    first, last: generations of the set.
    """

    medium: Medium
    at_end: Rows = field(default_factory=dict)
    later: Rows = field(default_factory=dict)
    first: int = 0
    last: int = 0


def header_in(data: bytes) -> DatabaseHeader:
    return read_database_header(BytesReader(data))[0]


async def stream(
    life: Life, box: Mailbox, backup: Backup, between: Callable[[], Awaitable[None]]
) -> None:
    """Copy the database in two halves with work in between, then the logs, as Exchange does."""
    instance, path = box.instance, f"{DIRECTORY}/{NAME}"
    medium = life.volume.medium
    size = life.config.store_format.page_bytes
    header = header_in(content(medium, path))
    position = instance.checkpoint
    low = min(header.first_required_generation, position.generation or 1)
    mark = BackupInfo(position, life.draws.now(), low, 0)
    pages = len(content(medium, path)) // size - 2
    end, half = page_offset(pages + 1, size), page_offset(pages // 2 + 1, size)
    first_half = content(medium, path)[2 * size : half]
    await between()
    second_half = content(medium, path)[half:end]
    await instance.log.roll("backup")
    now = header_in(content(medium, path))
    high = instance.log.generation - 1
    trailer = BackupTrailer(
        backup=replace(mark, last_generation=high),
        database_signature=header.database_signature,
        log_signature=header.log_signature,
        first_required_generation=now.first_required_generation,
        last_required_generation=high,
        last_committed_generation=high,
    )
    block = sealed(replace(header, current_full_backup=mark).encode(), size)
    data = block * 2 + first_half + second_half + sealed(trailer.encode(), size)
    medium.names[BACKUP] = medium.durable_names[BACKUP] = None
    put(medium, COPY, data)
    digits = 8 if life.config.log_version == 8 else 5
    for generation in range(low, high + 1):
        name = f"E00{generation:0{digits}X}.log"
        put(medium, f"{BACKUP}/{name}", content(medium, f"{DIRECTORY}/{name}"))
    backup.first, backup.last, backup.at_end = low, high, dict(box.rows)


def made_backup(config: InstanceConfig = KEPT) -> Backup:
    """A store that was backed up while it worked, worked on, and died."""
    backup = Backup(new_medium())

    async def script(life: Life) -> None:
        instance = await life.open()
        one = await instance.create_database(NAME, initial_pages=34)
        life.ledger.created(NAME)
        box = Mailbox(life, instance, one, NAME)
        await box.make()
        session = instance.session(one)

        async def work(numbers: range, size: int) -> None:
            for number in numbers:
                session.begin()
                await box.put(session, number, body(number + size, size))
                await box.commit(session)

        await work(range(12), 500)
        await instance.write_old_pages()
        await instance.move_checkpoint()
        await work(range(6, 18), 400)
        open_session = instance.session(one)
        open_session.begin()
        update = box.table.update
        await open_session.do(update, box.table.key(3), {"Id": 3, "Body": b"not committed"})

        async def between() -> None:
            await work(range(20, 44), 600)  # splits that move rows over the half
            await work(range(4, 11), 300)
            await instance.write_old_pages()
            await work(range(100, 124), 900)
            await instance.write_old_pages()

        await stream(life, box, backup, between)
        await open_session.rollback()
        await work(range(40, 60), 700)
        await instance.write_old_pages()
        await work(range(40, 70), 800)
        backup.later = dict(box.rows)
        instance.abandon()

    life = run(backup.medium, script, config=config)
    assert life.error is None, life.error
    backup.medium.sync_names()
    return backup
