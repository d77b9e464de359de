"""Databases of one log set that are attached, made and detached while others are at work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.database_state import attached
from replicator.ese.errors import EseError
from replicator.ese.log_header import LogHeader
from replicator.ese.log_names import LogRole
from replicator.ese.values import LogTime
from replicator.runtime import group, yield_now
from replicator.runtime.port import Volume
from simulator.exchange.ese import database_set
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.backup_options import BackupKind
from simulator.exchange.ese.database import Database
from simulator.exchange.ese.database_set import DatabaseSet
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.ese.streaming_backup import StreamingBackup, back_up
from tests.ese.logs import log_set
from tests.ese.streaming_backup import BACKUP, header_in
from tests.store import memory_volume
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    CONFIG,
    DIRECTORY,
    NAMES,
    PAGE_BYTES,
    Life,
    Mailbox,
    body,
    crash_states,
    judge,
    new_medium,
    run,
)

STAYS, COMES_AND_GOES = NAMES
THIRD = "third.edb"
PATH = f"{DIRECTORY}/{COMES_AND_GOES}"
FEW = ("nothing unsynced survives", "every other sector")


@pytest.fixture(autouse=True)
def sectors_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_volume, "SECTOR", PAGE_BYTES)


async def made(life: Life, instance: Instance, name: str) -> Mailbox:
    one = await instance.create_database(name, initial_pages=34)
    life.ledger.created(name)
    box = Mailbox(life, instance, one, name)
    await box.make()
    return box


async def work(box: Mailbox, first: int, count: int, size: int = 500) -> None:
    """Rows, each a transaction; every fifth time one goes again, and its page is cleaned up."""
    session = box.instance.session(box.one)
    for number in range(first, first + count):
        session.begin()
        await box.put(session, number, body(number, size))
        await box.commit(session)
        if number % 5 == 4:
            session.begin()
            await box.remove(session, number - 2)
            await box.commit(session)
            await session.clean_up()
    await session.end()


async def coming_and_going(life: Life) -> None:
    """One database is under load, another one is detached and attached, a third one made."""
    instance = await life.open()
    async with group() as tasks:
        tasks.spawn(instance.run(), "engine")
        stays = await made(life, instance, STAYS)
        guest = await made(life, instance, COMES_AND_GOES)
        await work(guest, 0, 8)

        async def come_and_go() -> None:
            for turn in range(2):
                await instance.detach(guest.one)
                await yield_now()
                guest.one = await instance.attach(COMES_AND_GOES)
                await guest.open()
                await work(guest, 100 * (turn + 1), 3)
            await instance.detach(guest.one)
            third = await made(life, instance, THIRD)
            await work(third, 0, 4)
            await instance.detach(third.one)
            guest.one = await instance.attach(COMES_AND_GOES)
            await guest.open()
            await work(guest, 500, 3)

        async with group() as both:
            both.spawn(work(stays, 0, 40), "stays")
            both.spawn(come_and_go(), "comes and goes")
        await work(stays, 300, 5)
        instance.abandon()


@pytest.mark.parametrize(
    ("circular", "stride"),
    [
        (True, 173),
        pytest.param(True, 1, marks=pytest.mark.full),
        pytest.param(False, 1, marks=pytest.mark.full),
    ],
)
def test_a_crash_while_databases_come_and_go_loses_nothing(circular: bool, stride: int) -> None:
    config = replace(CONFIG, circular=circular)
    count = 0
    for where, medium, ledger in crash_states(
        coming_and_going, config=config, losses=FEW, stride=stride, first=stride // 2 + 1
    ):
        judged = judge(medium, ledger, config=config)
        assert not judged.breach, f"{where}: {judged.breach}"
        count += 1
    assert count >= 9


# --- a log that rolls meanwhile -----------------------------------------------------------


def rolling(
    monkeypatch: pytest.MonkeyPatch, instance: Instance, one: Callable[[AttachedDatabase], bool]
) -> None:
    """The log of the instance rolls just before the next header of such a database is written."""
    change_header = AttachedDatabase.change_header
    owed = [True]

    async def rolls(self: AttachedDatabase, change: Callable) -> None:
        if owed and one(self):
            owed.clear()
            await instance.log.roll("meanwhile")
        await change_header(self, change)

    monkeypatch.setattr(AttachedDatabase, "change_header", rolls)


def died(script: Callable[[Life], Awaitable[None]]) -> tuple[Medium, Life]:
    medium = new_medium()
    life = run(medium, script)
    assert life.error is None, life.error
    return medium, life


def logs_of(medium: Medium) -> dict[str, bytes]:
    prefix = f"{DIRECTORY}/"
    return {path.removeprefix(prefix): data for path, data in medium.digest(f"{prefix}E").items()}


def as_long_as_attached(self: DatabaseSet, header: LogHeader) -> LogHeader:
    """A log's header with a database whose DetachDB record is in an earlier one."""
    began = header.generation
    entries = [
        each.entry()
        for each in self.attached.values()
        if 0 < each.attach_position.generation < began
    ]
    return header.with_attachments(entries)


@pytest.mark.parametrize("told", [True, False])
def test_a_log_that_begins_behind_the_detach_does_not_name_the_database(
    monkeypatch, told: bool
) -> None:
    """Else a database that was detached to be taken elsewhere would be missing (-1216)."""
    detached_in = []
    if not told:
        monkeypatch.setattr(DatabaseSet, "describe", as_long_as_attached)

    async def script(life: Life) -> None:
        instance = await life.open()
        stays, guest = [await made(life, instance, name) for name in NAMES]
        await work(guest, 0, 2)
        await work(stays, 0, 2)
        rolling(monkeypatch, instance, lambda one: bool(one.detach_position))
        await instance.detach(guest.one)
        detached_in.append(instance.log.generation - 1)
        await work(stays, 2, 2)
        await instance.write_old_pages()
        await instance.move_checkpoint()
        await work(stays, 4, 2)
        instance.abandon()

    medium, life = died(script)
    logs = log_set(logs_of(medium)).logs
    last = next(log for log in logs if log.name.role is LogRole.CURRENT)
    assert last.generation == detached_in[0] + 1
    named = {each.path for each in last.attachments}
    assert named == ({f"{DIRECTORY}/{STAYS}"} if told else {f"{DIRECTORY}/{STAYS}", PATH})
    taken = medium.names.pop(PATH)
    assert taken is not None
    assert header_in(bytes(taken.data)).state is State.CLEAN_SHUTDOWN
    del life.ledger.states[COMES_AND_GOES]
    breach = judge(medium, life.ledger).breach
    assert breach == "" if told else "-1216" in breach


def test_a_log_that_begins_while_the_header_is_written_is_named_with_its_own_time(
    monkeypatch,
) -> None:
    """Its creation time stands beside genMaxCommitted, and recovery compares it (event 496)."""

    async def script(life: Life) -> None:
        instance = await life.open()
        stays = await made(life, instance, STAYS)
        await work(stays, 0, 2)
        rolling(monkeypatch, instance, lambda one: one is not stays.one)
        guest = await made(life, instance, COMES_AND_GOES)
        assert guest.one.attach_position.generation < instance.log.generation
        instance.abandon()

    medium, life = died(script)
    inode = medium.names[PATH]
    assert inode is not None
    header = header_in(bytes(inode.data))
    log = log_set(logs_of(medium)).log(header.last_committed_generation)
    assert log is not None
    assert log.header is not None
    assert header.last_committed_created == log.header.created != LogTime()
    assert judge(medium, life.ledger).breach == ""


# --- what is refused ----------------------------------------------------------------------


def test_a_second_detach_is_refused_and_the_database_that_has_its_number_stays() -> None:
    """Else a DetachDB record with that number would end redo of another one's changes."""

    async def script(life: Life) -> None:
        instance = await life.open()
        guest = await made(life, instance, COMES_AND_GOES)
        async with group() as both:
            both.spawn(instance.detach(guest.one), "first")
            both.spawn(refused(instance, guest.one), "second")
        stays = await made(life, instance, STAYS)
        assert stays.one.dbid == guest.one.dbid
        await refused(instance, guest.one)
        await work(stays, 0, 5)
        instance.abandon()

    async def refused(instance: Instance, one: AttachedDatabase) -> None:
        await yield_now()
        with pytest.raises(EseError) as error:
            await instance.detach(one)
        assert error.value.number == -1203

    medium, life = died(script)
    assert judge(medium, life.ledger).breach == ""


def test_else_its_record_takes_the_other_one_out_of_redo(monkeypatch) -> None:
    detach = DatabaseSet.detach

    async def anything(self: DatabaseSet, one: AttachedDatabase) -> None:
        self.attached.setdefault(one.path, one)
        await detach(self, one)

    async def script(life: Life) -> None:
        instance = await life.open()
        guest = await made(life, instance, COMES_AND_GOES)
        await instance.detach(guest.one)
        stays = await made(life, instance, STAYS)
        monkeypatch.setattr(DatabaseSet, "detach", anything)
        with pytest.raises(ValueError, match="from CleanShutdown to CleanShutdown"):
            await instance.detach(guest.one)
        await work(stays, 0, 5)
        instance.abandon()

    medium, life = died(script)
    assert judge(medium, life.ledger).breach.startswith(f"{STAYS}: rows differ")


@pytest.mark.parametrize(("limit_pages", "initial_pages"), [(20, 1), (100, 101)])
def test_a_database_larger_than_it_may_be_is_not_begun(
    limit_pages: int, initial_pages: int
) -> None:
    async def script(life: Life) -> None:
        instance = await life.open()
        with pytest.raises(EseError) as error:
            await instance.create_database(STAYS, initial_pages)
        assert error.value.number == -1808
        assert not instance.databases
        await instance.close()

    medium = new_medium()
    life = run(medium, script, config=replace(CONFIG, limit_pages=limit_pages))
    assert life.error is None, life.error
    assert f"{DIRECTORY}/{STAYS}" not in medium.names


@pytest.mark.parametrize("stops", [True, False])
def test_what_fails_while_a_database_is_made_stops_the_instance(monkeypatch, stops: bool) -> None:
    """Its creation is in the log: the next opening takes it away.  Else its file stays."""

    def fails(_database: Database, *_given: object) -> None:
        raise EseError(-1808, "no page is left")

    async def script(life: Life) -> None:
        instance = await life.open()
        stays = await made(life, instance, STAYS)
        await work(stays, 0, 3)
        monkeypatch.setattr(Database, "_add_to_catalog", fails)
        if not stops:
            monkeypatch.setattr(instance._set, "_fatal", nullcontext)
        with pytest.raises(EseError) as error:
            await instance.create_database(COMES_AND_GOES)
        assert error.value.number == -1808
        if not stops:
            await instance.close()
            return
        with pytest.raises(EseError) as stopped:
            await instance.close()
        assert stopped.value.number == -510

    medium, life = died(script)
    monkeypatch.undo()
    assert judge(medium, life.ledger).breach == ""
    assert (PATH in medium.names) is not stops


# --- sessions of a database that has gone -------------------------------------------------


def test_a_session_of_a_detached_database_can_be_given_back() -> None:
    async def script(life: Life) -> None:
        instance = await life.open()
        box = await made(life, instance, STAYS)
        session = instance.session(box.one)
        session.begin()
        await session.do(box.table.insert, {"Id": 9, "Body": b"taken back by the detach"})
        await instance.detach(box.one)
        with pytest.raises(RuntimeError, match="was detached"):
            await session.commit()
        await session.end()
        await instance.close()

    medium, life = died(script)
    assert judge(medium, life.ledger).breach == ""


def test_a_dirty_database_that_the_logs_leave_attached_is_missed() -> None:
    """The other way round: what is attached and gone is told."""

    async def script(life: Life) -> None:
        instance = await life.open()
        for name in NAMES:
            await made(life, instance, name)
        instance.abandon()

    medium, life = died(script)
    del medium.names[PATH]
    del life.ledger.states[COMES_AND_GOES]
    breach = judge(medium, life.ledger).breach
    assert str(EseError(-1216, "").number) in breach


# --- a backup meanwhile -------------------------------------------------------------------


@pytest.mark.parametrize("behind", ["_roll", "_copy_log", "_harden"])
@pytest.mark.parametrize(
    ("kind", "streaming_file"),
    [(BackupKind.FULL, False), (BackupKind.FULL, True), (BackupKind.INCREMENTAL, False)],
)
def test_a_detach_ends_a_backup_and_nothing_else(
    monkeypatch, kind: BackupKind, behind: str, streaming_file: bool
) -> None:
    """The set goes, the other database works on, and the next backup is taken of it alone."""
    part = getattr(StreamingBackup, behind)
    leaving: list[AttachedDatabase] = []

    async def and_then_detach(self: StreamingBackup, *given: object) -> None:
        await part(self, *given)
        while leaving:
            await self._instance.detach(leaving.pop())

    monkeypatch.setattr(StreamingBackup, behind, and_then_detach)

    async def script(life: Life) -> None:
        volume: Volume = life.volume  # type: ignore[assignment]
        instance = await life.open()
        stays, guest = [await made(life, instance, name) for name in NAMES]
        if streaming_file:
            await Mailboxes.create(instance.session(guest.one))
        await work(guest, 0, 3)
        if kind is BackupKind.INCREMENTAL:
            await back_up(instance, volume, "/full", now=life.draws.now)
        leaving.append(guest.one)
        with pytest.raises(EseError) as refused:
            await back_up(instance, volume, BACKUP, kind=kind, now=life.draws.now)
        assert refused.value.number == -801
        assert not volume.list(BACKUP)
        await work(stays, 0, 3)
        await back_up(instance, volume, BACKUP, kind=kind, now=life.draws.now)
        assert COMES_AND_GOES not in volume.list(BACKUP)
        instance.abandon()

    medium = new_medium()
    for path in (BACKUP, "/full"):
        medium.names[path] = medium.durable_names[path] = None
    config = replace(CONFIG, circular=False, streaming_file=streaming_file)
    life = run(medium, script, config=config)
    assert life.error is None, life.error
    assert judge(medium, life.ledger, config=config).breach == ""


def run_with_a_backup(medium: Any, script: Any) -> None:
    """A life that has a place for backups, keeps its logs, and ends well."""
    medium.names[BACKUP] = medium.durable_names[BACKUP] = None
    life = run(medium, script, config=replace(CONFIG, circular=False))
    assert life.error is None, life.error


def test_a_backup_that_does_not_look_again_writes_to_a_file_that_was_given_back(
    monkeypatch,
) -> None:
    part = StreamingBackup._copy_log
    leaving: list[AttachedDatabase] = []
    left: list[DatabaseHeader] = []

    async def and_then_detach(self: StreamingBackup, *given: object) -> None:
        await part(self, *given)  # type: ignore[arg-type]
        while leaving:
            await self._instance.detach(leaving.pop())
            left.append(header_in(bytes(medium.names[PATH].data)))  # type: ignore[union-attr]

    monkeypatch.setattr(StreamingBackup, "_copy_log", and_then_detach)
    monkeypatch.setattr(StreamingBackup, "_check", lambda _backup: None)

    async def script(life: Life) -> None:
        instance = await life.open()
        _stays, guest = [await made(life, instance, name) for name in NAMES]
        leaving.append(guest.one)
        await back_up(instance, life.volume, BACKUP, now=life.draws.now)  # type: ignore[arg-type]
        instance.abandon()

    medium = new_medium()
    run_with_a_backup(medium, script)
    [as_it_was_left] = left
    assert header_in(bytes(medium.names[PATH].data)) != as_it_was_left  # type: ignore[union-attr]


def test_nothing_is_detached_while_a_backup_is_noted(monkeypatch) -> None:
    """The notes go into the headers of the files that were backed up."""
    note = StreamingBackup._note
    told: list[str] = []

    async def slowly(self: StreamingBackup) -> None:
        told.append("begun")
        for _turn in range(50):
            await yield_now()
        await note(self)
        told.append("noted")

    monkeypatch.setattr(StreamingBackup, "_note", slowly)

    async def script(life: Life) -> None:
        instance = await life.open()
        _stays, guest = [await made(life, instance, name) for name in NAMES]

        async def leave() -> None:
            while not told:
                await yield_now()
            await instance.detach(guest.one)
            told.append("detached")

        async with group() as both:
            both.spawn(leave(), "leaves")
            await back_up(instance, life.volume, BACKUP, now=life.draws.now)  # type: ignore[arg-type]
        instance.abandon()

    run_with_a_backup(new_medium(), script)
    assert told == ["begun", "noted", "detached"]


def keeps_its_backups(header: DatabaseHeader, **given: Any) -> DatabaseHeader:
    """A header as attached, its full backup as it was."""
    return replace(attached(header, **given), last_full_backup=header.last_full_backup)


@pytest.mark.parametrize("counts", [False, True])
def test_a_backup_with_the_logs_of_another_set_does_not_count(monkeypatch, counts: bool) -> None:
    """A database that joins a log set needs a full backup there, before its logs may be deleted."""
    elsewhere = "/elsewhere"

    async def script(life: Life) -> None:
        volume: Volume = life.volume  # type: ignore[assignment]
        draws = life.draws
        first = await life.open()
        guest = await made(life, first, COMES_AND_GOES)
        for _ in range(4):
            await work(guest, 0, 8)
            await first.log.roll("a long life")
        await back_up(first, volume, "/full", now=draws.now)
        await first.detach(guest.one)
        mark = guest.one.header.last_full_backup
        assert mark.last_generation >= 5
        await first.close()
        volume.rename(PATH, f"{elsewhere}/{COMES_AND_GOES}")

        second = await Instance.open(
            volume, elsewhere, life.config, now=draws.now, draw=draws.signature
        )
        await second.create_database(STAYS, initial_pages=34)
        await back_up(second, volume, BACKUP, now=draws.now)
        one = await second.attach(COMES_AND_GOES)
        assert one.header.last_full_backup.is_zero is not counts
        guest = Mailbox(life, second, one, COMES_AND_GOES)
        await guest.open()
        await work(guest, 20, 8)
        needed = one.attach_position.generation
        later = back_up(second, volume, "/later", kind=BackupKind.INCREMENTAL, now=draws.now)
        if counts:
            await later  # though no full backup is of this database with these logs
        else:
            with pytest.raises(EseError) as refused:
                await later
            assert refused.value.number == -560
            assert min(second.log.generations) <= needed
        second.abandon()

    if counts:
        monkeypatch.setattr(database_set, "attached", keeps_its_backups)

    medium = new_medium()
    for path in (BACKUP, "/full", "/later", elsewhere):
        medium.names[path] = medium.durable_names[path] = None
    life = run(medium, script, config=replace(CONFIG, circular=False))
    assert life.error is None, life.error


# --- a creation that a crash ended --------------------------------------------------------


def test_an_unfinished_creation_takes_away_no_later_database_of_that_name() -> None:
    """Its number is another database's when the name is used again, so no record ends it."""
    config = replace(CONFIG, circular=False)

    async def first(life: Life) -> None:
        instance = await life.open()
        await made(life, instance, STAYS)
        third = await made(life, instance, THIRD)
        await instance.detach(third.one)
        await instance.create_database(COMES_AND_GOES, initial_pages=34)

    async def later(life: Life) -> None:
        instance = await life.open()
        assert COMES_AND_GOES not in life.volume.list(DIRECTORY)
        await instance.attach(STAYS)
        await instance.attach(THIRD)
        guest = await made(life, instance, COMES_AND_GOES)
        await work(guest, 0, 5)
        await instance.write_old_pages()
        instance.abandon()

    async def once_more(life: Life) -> None:
        with pytest.raises(EseError) as error:
            await life.open()
        assert error.value.number == -1206

    steps = run(new_medium(), first, config=config).steps
    crash_at = next(at for at, step in enumerate(steps, 1) if step.startswith(f"write {PATH} "))
    medium = new_medium()
    life = run(medium, first, crash_at=crash_at, config=config)
    life = run(medium, later, config=config, ledger=life.ledger)
    assert life.error is None, life.error
    inode = medium.names[PATH]
    assert inode is not None
    inode.data[: 2 * PAGE_BYTES] = bytes(2 * PAGE_BYTES)  # both copies of the header
    life = run(medium, once_more, config=config, ledger=life.ledger)
    assert life.error is None, life.error
    assert medium.names[PATH] is inode


def test_an_unfinished_creation_is_taken_away_where_the_files_are_now() -> None:
    """A copy of them is in another directory than its logs say."""

    async def begun(life: Life) -> None:
        await (await life.open()).create_database(COMES_AND_GOES, initial_pages=34)

    async def copied(life: Life) -> None:
        assert not life.volume.exists(DIRECTORY)
        assert COMES_AND_GOES in life.volume.list("/copy")
        draws = life.draws
        instance = await Instance.open(
            life.volume, "/copy", life.config, now=draws.now, draw=draws.signature
        )
        assert COMES_AND_GOES not in life.volume.list("/copy")
        await instance.create_database(COMES_AND_GOES, initial_pages=34)
        await instance.close()

    steps = run(new_medium(), begun).steps
    crash_at = next(at for at, step in enumerate(steps, 1) if step.startswith(f"write {PATH} "))
    medium = new_medium()
    run(medium, begun, crash_at=crash_at)
    medium.names = {
        path.replace(DIRECTORY, "/copy", 1): inode for path, inode in medium.names.items()
    }
    medium.durable_names = dict(medium.names)
    life = run(medium, copied)
    assert life.error is None, life.error
