"""The emulated store's engine: rows, transactions and log a second of processor time.

Beside it, in the same run, stand sqlite3 with a write-ahead log, which keeps the same rows, and the
plain write of as many bytes of log to the same emulated disk.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from replicator.ese.columns import ColumnType
from replicator.ese.log_encoding import log_time_at
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.ese.values import Signature
from replicator.runtime import Kernel, group
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.ese.table import Table as StoreTable
from simulator.runtime import SimClock
from simulator.volume import SimVolume
from tests.benchmarks.rig import no_collector
from tests.benchmarks.table import Table

NOW = log_time_at(10**18)
MAIL = TableDefinition(
    "Messages",
    (
        ColumnDefinition("Id", ColumnType.LONG),
        ColumnDefinition("Mailbox", ColumnType.LONG),
        ColumnDefinition("Received", ColumnType.LONG_LONG),
        ColumnDefinition("Read", ColumnType.LONG),
        ColumnDefinition("Subject", ColumnType.TEXT),
        ColumnDefinition("Body", ColumnType.LONG_BINARY),
    ),
    (
        IndexDefinition("ById", ("Id",), primary=True),
        IndexDefinition("ByMailbox", ("Mailbox", "Received", "Id"), unique=True),
    ),
)
SQL = (
    "create table m (id integer primary key, mailbox int, received int, read int, "
    "subject text, body blob)",
    "create index by_mailbox on m (mailbox, received, id)",
)
SESSIONS = 16
"""Work side by side, and a sync takes a while, so commits share their flushes."""
SYNC_NS = 1_000_000
_BODY = random.Random(1).randbytes(1 << 20)

Row = dict[str, int | str | bytes]


@dataclass(frozen=True)
class Load:
    """One row of the table.

    Arguments
    ---------
    name: of the row.
    body_bytes: of each message.
    mixed: besides each insert a message is marked as read and one is looked at; every fourth time
        one is deleted.
    cache_share: part of the database that fits into memory; None for all of it.
    """

    name: str
    body_bytes: int
    mixed: bool = False
    cache_share: float | None = None

    def row(self, number: int) -> Row:
        at = number * 997 % (len(_BODY) - self.body_bytes)
        return {
            "Id": number,
            "Mailbox": number * 2_654_435_761 % 1000,
            "Received": 10**15 + number,
            "Read": 0,
            "Subject": f"Message {number} of a store",
            "Body": _BODY[at : at + self.body_bytes],
        }

    def steps(self, numbers: range) -> Iterator[tuple[str, int]]:
        """What one session does, with the number of the message, a transaction each."""
        draws = random.Random(numbers.start)
        mine: list[int] = []
        for count, number in enumerate(numbers):
            yield "insert", number
            mine.append(number)
            if self.mixed:
                yield "update", draws.choice(mine)
                yield "look", draws.choice(mine)
                if count % 4 == 3:
                    yield "delete", mine.pop(draws.randrange(len(mine)))


@dataclass
class Measured:
    """What a run took, and how much it was."""

    seconds: float
    transactions: int
    log_bytes: int
    pages: int
    read: int


def engine(load: Load, messages: int, cache_pages: int = 1 << 16) -> Measured:
    """Processor time of the load on the engine, over an emulated disk that takes no time."""
    clock = SimClock()
    kernel = Kernel(clock)
    model = replace(INSTANT, size_bytes=1 << 31, sync_overhead_ns=SYNC_NS)
    volume = SimVolume(Disk(clock, model, "disk"), kernel)
    config = InstanceConfig(
        store_format=STORE_FORMATS["exchange 2007"], circular=True, cache_pages=cache_pages
    )
    done = 0

    async def work(instance: Instance, one: AttachedDatabase, mail: StoreTable, ids: range) -> None:
        nonlocal done
        session = instance.session(one)
        for what, number in load.steps(ids):
            session.begin()
            if what == "insert":
                await session.do(mail.insert, load.row(number))
            elif what == "update":
                await session.do(mail.update, mail.key(number), {**load.row(number), "Read": 1})
            elif what == "look":
                await session.read(mail.get, mail.key(number))
            else:
                await session.do(mail.delete, mail.key(number))
            await session.commit()
            done += 1
            if what == "delete":
                await session.clean_up(100)

    async def script() -> Measured:
        instance = await Instance.open(
            volume, "/", config, now=lambda: NOW, draw=lambda: Signature(1, NOW)
        )
        async with group() as tasks:
            tasks.spawn(instance.run(), "pages and checkpoint")
            one = await instance.create_database("priv1.edb")
            session = instance.session(one)
            session.begin()
            mail = await session.do(one.database.create_table, MAIL)
            await session.commit()
            first, started = instance.log.tip, time.process_time()
            async with group() as all_sessions:
                for number in range(SESSIONS):
                    ids = range(number, messages, SESSIONS)
                    all_sessions.spawn(work(instance, one, mail, ids), "session")
            seconds = time.process_time() - started
            tip = instance.log.tip
            logged = (tip.generation - first.generation) * config.log_file_bytes
            logged += (tip.sector - first.sector) * 4096
            pages, read = one.buffer.last_pgno, one.buffer.read_count
            await instance.close()
        return Measured(seconds, done, logged, pages, read)

    return _run(clock, kernel, script())


def plain_write(size_bytes: int) -> float:
    """Processor time of writing and syncing so many bytes to the same kind of disk."""
    clock = SimClock()
    kernel = Kernel(clock)
    disk = Disk(clock, replace(INSTANT, size_bytes=1 << 31), "disk")
    volume = SimVolume(disk, kernel)

    async def script() -> float:
        file = volume.create("/log")
        started = time.process_time()
        for at in range(0, size_bytes, 1 << 16):
            piece = at % (len(_BODY) - (1 << 16))
            file.write_at(at % (1 << 20), _BODY[piece : piece + (1 << 16)])
            await file.sync()
        return time.process_time() - started

    return _run(clock, kernel, script())


def _run(clock: SimClock, kernel: Kernel, script: Coroutine[Any, Any, Any]) -> Any:
    task = kernel.run_task(script, "benchmark")
    clock.run_until_idle()
    kernel.close()
    return task.result()


def sqlite(load: Load, messages: int) -> float:
    """Processor time of the same in sqlite3, which is written in C and has no sessions."""
    with tempfile.TemporaryDirectory() as directory:
        base = sqlite3.connect(Path(directory) / "mail.db", isolation_level=None)
        base.execute("pragma journal_mode=wal")
        base.execute("pragma synchronous=normal")
        for each in SQL:
            base.execute(each)
        started = time.process_time()
        for session in range(SESSIONS):
            for what, number in load.steps(range(session, messages, SESSIONS)):
                base.execute("begin")
                if what == "insert":
                    values = tuple(load.row(number).values())
                    base.execute("insert into m values (?, ?, ?, ?, ?, ?)", values)
                elif what == "update":
                    row = {**load.row(number), "Read": 1}
                    values = (*row.values(), number)
                    base.execute("replace into m values (?, ?, ?, ?, ?, ?)", values[:6])
                elif what == "look":
                    base.execute("select * from m where id = ?", (number,)).fetchone()
                else:
                    base.execute("delete from m where id = ?", (number,))
                base.execute("commit")
        seconds = time.process_time() - started
        base.close()
    return seconds


LOADS = (
    Load("inserts of 500 bytes", 500),
    Load("inserts of 16 KiB", 16 << 10),
    Load("mixed, 4 KiB", 4 << 10, mixed=True),
    Load("mixed, 4 KiB, a tenth in memory", 4 << 10, mixed=True, cache_share=0.1),
)


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "The store's engine: a second of processor time on one core",
        [
            "load",
            "transactions",
            "MB of log",
            "pages read",
            "sqlite3: transactions",
            "plain write: MB",
            "aim: MB of log",
        ],
    )
    for load in LOADS:
        messages = (1 << 20 if quick else 24 << 20) // (load.body_bytes + 1500)
        cache_pages = 1 << 16
        if load.cache_share is not None:
            cache_pages = int(engine(load, messages).pages * load.cache_share)
        with no_collector():
            measured = min(
                (engine(load, messages, cache_pages) for _ in range(1 if quick else 3)),
                key=lambda each: each.seconds,
            )
        peer, plain = sqlite(load, messages), plain_write(measured.log_bytes)
        result.add(
            load.name,
            measured.transactions / measured.seconds,
            measured.log_bytes / measured.seconds / 1e6,
            measured.read / measured.seconds,
            measured.transactions / peer,
            measured.log_bytes / plain / 1e6,
            "17",
        )
    result.notes = [
        f"A message a transaction, {SESSIONS} sessions side by side, one primary and one secondary",
        "index, pages of 8 KiB, logs of 1 MiB with circular logging; an emulated disk whose syncs",
        "take a millisecond of emulated time.  sqlite3 runs in C, on a real file, with a",
        "write-ahead log and without its syncs.",
    ]
    return result
