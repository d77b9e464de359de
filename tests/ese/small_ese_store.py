"""A small store whose engine dies in the middle: version 8 logs, a dirty database, and the truth.

Every change is a record that is logged and then carried out by the page operations, so that the
pages are what redo has to bring about.  Pages reach the database at chosen moments, some earlier
than others, as a page cache writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from replicator.errors import ReplicatorError
from replicator.ese.attachments import attachment
from replicator.ese.database_header_file import DatabaseHeaderFile
from replicator.ese.database_state import DatabaseFormat, attached, created, raised
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_header import LogHeader
from replicator.ese.log_options import LogOwner, LogStreamOptions
from replicator.ese.log_page_records import (
    NO_DBTIME,
    CreateMultipleExtentFDP,
    CreateSingleExtentFDP,
)
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import (
    AttachDB,
    ExtendDB,
    Init2,
    Macro,
)
from replicator.ese.log_stream import LogStream
from replicator.ese.log_v7_encoding import LogV7Format
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.page import PageFlag
from replicator.ese.page_source import page_offset
from replicator.ese.recovered_database import ALL_SAFEGUARDS, RecoverySafeguards
from replicator.ese.recovery import recover
from replicator.ese.recovery_checks import RecoveryRequest, plan_recovery
from replicator.ese.recovery_result import RecoveryResult, RecoverySettings
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import Kernel
from replicator.runtime.port import Volume, write_all
from simulator.runtime import SimClock
from tests.ese.redoing import PAGE_BYTES
from tests.ese.small_ese_engine import PAGES, TABLE, TABLE_ROOT, SmallEngine, built
from tests.store.memory_volume import Medium, MemoryVolume

DIRECTORY = "/store"
DATABASE = f"{DIRECTORY}/mail.edb"
LOG_SIGNATURE = Signature(11, log_time_at(10**18))
SIGNATURE = Signature(22, log_time_at(10**18))
FORMAT = DatabaseFormat(
    revision=0x14, page_size=PAGE_BYTES, engine_format_version=9100, consistent_generation=True
)


@dataclass
class CrashedStore:
    """A store after its engine died.

    Attributes
    ----------
    medium: all of it is durable.
    committed: the rows that must be there after recovery.
    """

    medium: Medium
    committed: dict[bytes, bytes] = field(default_factory=dict)


class _Clock:
    def __init__(self) -> None:
        self.ticks = 0

    def __call__(self) -> LogTime:
        self.ticks += 1
        return log_time_at(10**18 + self.ticks * 1_000_000)


def key_of(number: int) -> bytes:
    return f"message {number:04}".encode()


async def _live(volume: Volume, store: CrashedStore, version: int, page_bytes: int) -> None:
    """The life of the engine, up to its death."""
    now = _Clock()

    async def began(generation: int, time: LogTime) -> None:
        times[generation] = time

    times: dict[int, LogTime] = {}
    attach = LogPosition()
    log = await LogStream.create(
        volume,
        DIRECTORY,
        LogV8Format(now=now, file_bytes=16 * 4096, page_size=page_bytes)
        if version == 8
        else LogV7Format(file_bytes=64 * 512, page_size=page_bytes),
        LogOwner(lambda header: _described(header, attach), began),
        now=now,
        signature=LOG_SIGNATURE,
        options=LogStreamOptions(),
    )
    engine = SmallEngine(log, page_bytes)
    engine.append(Init2(number=Kind.INIT2, parameter_bytes=bytes(567), time=now()))
    path = "C:\\store\\mail.edb\0".encode("utf-16-le")
    attach = engine.append(
        built(
            AttachDB,
            path,
            number=Kind.ATTACH_DB,
            session=1,
            dbid=1,
            database_signature=SIGNATURE,
            log_signature=LOG_SIGNATURE,
            path_bytes=len(path),
            name_flags=8,
        )
    )
    engine.append(built(ExtendDB, number=Kind.EXTEND_DB, body_bytes=5, dbid=1, last_pgno=PAGES))
    _create(engine)
    file = volume.create(DATABASE)
    header = created(
        replace(FORMAT, page_size=page_bytes),
        signature=SIGNATURE,
        dbid=1,
        log_signature=LOG_SIGNATURE,
    )
    header = attached(header, position=attach, time=now(), generation_created=times[1])
    header_file = await DatabaseHeaderFile.create(volume, file, header, lambda: Signature(1))
    file.truncate((PAGES + 2) * page_bytes)
    early = _work(engine, store)
    await log.flush()
    for pgno, data in early.items():
        write_all(file, page_offset(pgno, page_bytes), data)
    await log.roll("next")
    _late_work(engine)
    await log.flush()
    # The header requires the first generation only: no page has anything of the second.
    await header_file.write(raised(header, committed=2, committed_created=times[2], dbtime=5))
    await file.sync()
    await log.close()


def _described(header: LogHeader, attach: LogPosition) -> LogHeader:
    if attach.is_zero:
        return header
    entry = attachment(
        "C:\\store\\mail.edb", dbid=1, attach_position=attach, database_signature=SIGNATURE
    )
    return header.with_attachments([entry])


def _create(engine: SmallEngine) -> None:
    engine.begin(1)
    fields = engine.common(1, 1, 0, dbtime_before=NO_DBTIME, flags=4, objid=1)
    for name in ("version_id", "root_pgno"):
        del fields[name]
    flags = int(PageFlag.NEW_CHECKSUM)
    engine.do(
        built(
            CreateMultipleExtentFDP,
            number=Kind.CREATE_MULTIPLE_EXTENT_FDP,
            owned_pgno=2,
            available_pgno=3,
            pages=PAGES,
            page_flags=flags,
            **fields,
        )
    )
    fields = {**fields, "pgno": TABLE_ROOT, "objid": TABLE, "dbtime": 2}
    engine.dbtime = 2
    engine.do(
        built(
            CreateSingleExtentFDP,
            number=Kind.CREATE_SINGLE_EXTENT_FDP,
            parent_pgno=1,
            pages=8,
            page_flags=flags,
            **fields,
        )
    )
    engine.commit(1)


def _work(engine: SmallEngine, store: CrashedStore) -> dict[int, bytes]:
    """Committed work of the first generation; the pages that were written on the way."""
    engine.begin(1)
    for number in range(0, 20, 2):
        engine.insert(1, key_of(number), number.to_bytes(4, "little") * 20)
    engine.commit(1)
    written = {pgno: engine.pages.page(pgno).sealed_bytes() for pgno in (1, 2, 3, TABLE_ROOT)}
    engine.begin(1)
    engine.split_root(1, 5, key_of(1), b"first of the split")
    engine.insert(1, key_of(3), b"three")
    engine.begin(1)
    replaced = engine.replace(1, key_of(3), b"nobody sees this")
    engine.roll_back_replace(replaced, key_of(3), b"three")
    engine.commit(1)
    # The root is on disk after its split, the page that it leads to is not.
    written[TABLE_ROOT] = engine.pages.page(TABLE_ROOT).sealed_bytes()
    engine.begin(1)
    engine.replace(1, key_of(2), b"shorter")
    engine.flag_delete(1, key_of(4))
    engine.commit(1)
    store.committed = engine.rows()
    # A transaction that will not end: one of its replacements is on disk, with its UndoInfo.
    engine.begin(2)
    before = engine.place_of(key_of(6))
    old = before[0].node(before[1]).data
    replaced = engine.replace(2, key_of(6), b"not committed")
    engine.undo_info(replaced, key_of(6), old)
    written[5] = engine.pages.page(5).sealed_bytes()
    return written


def _late_work(engine: SmallEngine) -> None:
    """What is open at the end: changes of every kind, and a split that has moved them."""
    engine.add(2, key_of(8), 1000)
    engine.flag_delete(2, key_of(10))
    engine.insert(2, key_of(11), b"never there")
    engine.begin(2)
    engine.replace(2, key_of(12), b"gone")
    engine.insert_again(2, key_of(4), b"back again")
    engine.commit(2)
    engine.begin(3)
    engine.split_leaf(3, 5, 6)
    engine.insert(3, key_of(7), b"never there either")
    engine.replace(3, key_of(0), b"a replacement that is longer than before, not less" * 3)
    # The last change of several pages was not finished.
    engine.append(Macro(number=Kind.MACRO_BEGIN, session=3, dbtime=engine.dbtime + 1))


def crashed_store(version: int = 8, page_bytes: int = PAGE_BYTES) -> CrashedStore:
    """A store that needs everything that recovery does, its logs of version 8 or 7."""
    store = CrashedStore(Medium())
    names = store.medium.names
    names[DIRECTORY] = store.medium.durable_names[DIRECTORY] = None
    volume = MemoryVolume(store.medium, None)
    clock = SimClock()
    kernel = Kernel(clock)
    task = kernel.run_task(_live(volume, store, version, page_bytes), "engine")
    clock.run_until_idle()
    task.result()
    kernel.close()
    store.medium.sync_names()
    store.medium.lose_power((0,))
    return store


@dataclass
class RecoveryRun:
    """One attempt at recovery.

    Attributes
    ----------
    result: None when it died or failed.
    errors: what kept it from beginning.
    error: with what it ended.
    """

    steps: list[str]
    died: bool
    result: RecoveryResult | None = None
    errors: tuple[EseError, ...] = ()
    error: BaseException | None = None


def run_recovery(
    medium: Medium,
    *,
    crash_at: int | None = None,
    undo: bool = True,
    safeguards: RecoverySafeguards = ALL_SAFEGUARDS,
    limit_pages: int = 64,
    sync_fails: bool = False,
    **request: Any,
) -> RecoveryRun:
    """Recover what lies on a medium, or die in one of the storage's steps."""
    clock = SimClock()
    kernel = Kernel(clock)
    volume = MemoryVolume(medium, crash_at, sync_fails=sync_fails)
    run = RecoveryRun([], False)
    draw = _Clock()
    draw.ticks = 10**6

    async def body() -> None:
        wanted = RecoveryRequest(log_directory=DIRECTORY, **request)
        plan, run.errors = await plan_recovery(volume, wanted)
        if plan is None:
            return
        settings = RecoverySettings(undo=undo, limit_pages=limit_pages, safeguards=safeguards)
        run.result = await recover(
            volume, plan, settings, now=draw, flush_signature=lambda: Signature(draw.ticks)
        )

    task = kernel.run_task(body(), "recovery")
    clock.run_until_idle()
    run.steps, run.died = volume.steps, kernel.dead
    if task.done and not kernel.dead:
        run.error = task.error
        assert run.error is None or isinstance(run.error, EseError | ReplicatorError), run.error
    kernel.close()
    return run
