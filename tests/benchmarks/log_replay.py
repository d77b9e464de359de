"""Logs of version 8 redone: megabytes of log a second on one core, and page changes."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_file import LogFile
from replicator.ese.log_page_records import NO_DBTIME, CreateSingleExtentFDP, Insert, Record
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Begin0, Commit0
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.page_cache import PageCache
from replicator.ese.reader import BytesReader
from replicator.ese.redo import Redo, RedoDatabase
from replicator.ese.values import LogPosition
from replicator.runtime import Kernel
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.runtime import SimClock
from simulator.volume import SimVolume
from tests.benchmarks.table import Table, best_seconds

NOW = log_time_at(10**18)
FORMAT = LogV8Format(now=lambda: NOW, page_size=8192)
PAGE_BYTES = 8192
ROW_BYTES = 350
ROWS_A_PAGE = 18


def _built(kind: type[Record], tail: bytes = b"", **fields: Any) -> bytes:
    return kind(raw=bytes(kind.SIZE) + tail, **fields).encode()


def _records(pages: int) -> list[bytes]:
    """A row a transaction, versioned, page after page; each page is a tree of its own."""
    found, dbtime, versions = [], 0, 0
    body = bytes(range(256)) * 2
    common = {"session": 1, "dbid": 1, "transaction": 1, "level": 1}
    for pgno in range(1, pages + 1):
        dbtime += 1
        found += [
            _built(Begin0, number=Kind.BEGIN0, session=1, levels=0x10),
            _built(
                CreateSingleExtentFDP,
                number=Kind.CREATE_SINGLE_EXTENT_FDP,
                pgno=pgno,
                dbtime=dbtime,
                dbtime_before=NO_DBTIME,
                objid=pgno,
                pages=1,
                **common,
            ),
            _built(Commit0, number=Kind.COMMIT0, session=1),
        ]
        for line in range(ROWS_A_PAGE):
            versions += 1
            key = versions.to_bytes(8, "big")
            found += [
                _built(Begin0, number=Kind.BEGIN0, session=1, levels=0x10),
                _built(
                    Insert,
                    key + body[:ROW_BYTES],
                    number=Kind.INSERT,
                    pgno=pgno,
                    line=line,
                    flags=1 | 4,
                    dbtime=dbtime + 1,
                    dbtime_before=dbtime,
                    version_id=versions,
                    root_pgno=pgno,
                    objid=pgno,
                    suffix_bytes=len(key),
                    data_bytes=ROW_BYTES,
                    **common,
                ),
                _built(Commit0, number=Kind.COMMIT0, session=1),
            ]
            dbtime += 1
    return found


def _logs(records: list[bytes]) -> list[bytes]:
    """The same as log files."""
    logs, generation, encoder = [], 0, None
    content = bytearray()

    def write(offset: int, data: bytes) -> None:
        content[offset : offset + len(data)] = data

    for record in records:
        if encoder is None or not encoder.fits(len(record)):
            if encoder is not None:
                encoder.finish()
                for each in encoder.flush():
                    write(*each)
                logs.append(bytes(content))
            generation += 1
            encoder = FORMAT.encoder(FORMAT.header(generation, NOW))
            content = bytearray(FORMAT.file_bytes)
            for each in encoder.header_writes():
                write(*each)
        encoder.append(record)
    assert encoder is not None
    for each in encoder.flush():
        write(*each)
    return [*logs, bytes(content)]


class Store:
    """A database file on an emulated disk without service times."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.kernel = Kernel(self.clock)
        disk = Disk(self.clock, replace(INSTANT, size_bytes=1 << 30), "disk")
        self.volume = SimVolume(disk, self.kernel)
        self.file = self.volume.create("/db")

    def run(self, task: Coroutine[Any, Any, None]) -> None:
        done = self.kernel.run_task(task, "redo")
        self.clock.run_until_idle()
        done.result()

    def cache(self, limit_pages: int) -> PageCache:
        async def ready() -> None:
            """Nothing has to be on disk before."""

        return PageCache(
            self.volume,
            self.file,
            PAGE_BYTES,
            new_checksums=True,
            ready=ready,
            held=lambda pgno: False,
            limit_pages=limit_pages,
        )


def _replay(store: Store, logs: list[bytes], limit_pages: int) -> None:
    cache = store.cache(limit_pages)
    database = RedoDatabase(1, cache, LogPosition(), last_required=1 << 30, write_again=True)
    redo = Redo({1: database})

    async def body() -> None:
        for log in logs:
            for record in LogFile(BytesReader(log), closed=False).records():
                await redo.apply(record)
        await cache.settle()

    store.run(body())


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "Logs redone: MB of log a second on one core",
        ["what the pages have", "MB/s", "page changes a second"],
    )
    pages = 400 if quick else 3000
    logs = _logs(_records(pages))
    size, changes = sum(map(len, logs)), pages * (ROWS_A_PAGE + 1)
    full = Store()
    _replay(full, logs, limit_pages=2 * pages)
    for name, run in (
        ("nothing, all fit into memory", lambda: _replay(Store(), logs, 2 * pages)),
        ("nothing, a tenth fits", lambda: _replay(Store(), logs, pages // 10)),
        ("everything", partial(_replay, full, logs, 2 * pages)),
    ):
        seconds = best_seconds(run)
        result.add(name, size / seconds / 1e6, changes / seconds)
    result.notes = [
        f"Rows of {ROW_BYTES} bytes, one a transaction, on pages of {PAGE_BYTES} bytes; the file "
        "lies on an emulated disk without service times."
    ]
    return result
