"""Statements when most pages are on disk: the same rows and the same log as with all in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.errors import EseError
from replicator.ese.log_record_types import Kind
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.runtime import group, yield_now
from simulator.exchange.ese import preparation, table
from simulator.exchange.ese.attached_database import AttachedDatabase
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.preparation import InternalError
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.tree import Tree
from tests.store.memory_volume import MemoryFile
from tests.store_ese import test_instance
from tests.store_ese.engine_harness import (
    CONFIG,
    NAMES,
    TINY_CACHE,
    Life,
    Mailbox,
    Rows,
    body,
    content_breach,
    new_medium,
    run,
)

PLAIN = replace(CONFIG, circular=False, checkpoint_depth_bytes=1 << 20, log_file_bytes=48 << 12)
TINY = replace(PLAIN, cache_pages=TINY_CACHE)
STAYING = 24
"""Roots and space trees of the one table and the catalog; a few pages that wait for the log."""


def lived(script: Callable[[Life], Awaitable[None]], config: InstanceConfig = TINY) -> Life:
    life = run(new_medium(), script, config=config)
    if life.error is not None:
        raise life.error
    assert content_breach(life.volume.medium, life.ledger) == ""
    return life


async def made(life: Life) -> tuple[Instance, Mailbox, StoreSession]:
    """A table that is on disk: its database has been detached and attached again."""
    instance = await life.open()
    one = await instance.create_database(NAMES[0], initial_pages=34)
    life.ledger.created(NAMES[0])
    box = Mailbox(life, instance, one, NAMES[0])
    await box.make()
    await instance.detach(one)
    box.one = await instance.attach(NAMES[0])
    await box.open()
    return instance, box, instance.session(box.one)


async def filled(life: Life, rows: int = 40) -> tuple[Instance, Mailbox, StoreSession]:
    instance, box, session = await made(life)
    session.begin()
    for number in range(rows):
        await box.put(session, number, body(number, 300))
    await box.commit(session)
    return instance, box, session


# -- any statements ----------------------------------------------------------------------

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "remove", "commit", "rollback", "clean up"]),
        st.integers(0, 40),
        st.sampled_from([10, 300, 900, 3000, 30_000]),
    ),
    min_size=1,
    max_size=24,
)


async def take(box: Mailbox, session: StoreSession, steps: list[Step]) -> None:
    before: Rows = dict(box.rows)
    session.begin()
    for what, number, size in steps:
        if what == "put":
            await box.put(session, number, body(number, size))
        elif what == "remove":
            if number in box.rows:
                await box.remove(session, number)
        elif what == "rollback":
            await session.rollback()
            box.rows = before
            before = dict(before)
            session.begin()
        else:
            await box.commit(session)
            before = dict(box.rows)
            if what == "clean up":
                await session.clean_up()
            session.begin()
    await box.commit(session)


def changes(life: Life) -> list[bytes]:
    """All that was logged of changes; not UndoInfo, which depends on the writes."""
    outside = {Kind.UNDO_INFO, Kind.INIT2, Kind.TERM2, Kind.ATTACH_DB, Kind.DETACH_DB, Kind.NOP2}
    names = sorted(name for name in life.volume.list("/store") if name.endswith(".log"))
    found: list[bytes] = []
    for name in [*(each for each in names if len(each) > 7), "E00.log"]:
        if "res" not in name and "tmp" not in name:
            records = test_instance.records(life, name)
            found += [each.data for each in records if each.number not in outside]
    return found


@settings(max_examples=10, deadline=None)
@given(steps=STEPS)
def test_rows_and_log_do_not_depend_on_the_cache(steps: list[Step]) -> None:
    seen: dict[int, AttachedDatabase] = {}

    async def script(life: Life) -> None:
        instance, box, session = await made(life)
        await take(box, session, steps)
        seen[life.config.cache_pages] = box.one
        await instance.close()

    large = lived(script, PLAIN)
    small = lived(script, TINY)
    assert changes(small) == changes(large)
    one = seen[TINY_CACHE]
    assert one.statements.repeated == 0, "a look has not seen all"
    assert seen[PLAIN.cache_pages].buffer.gone_count == 0


def test_memory_stays_bounded_while_the_database_grows_and_is_read() -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life)
        for number in range(100, 190):
            session.begin()
            await box.put(session, number, body(number, 3000))
            await box.commit(session)
            assert len(box.one.buffer) < STAYING + 12
        await instance.write_old_pages()
        buffer = box.one.buffer
        assert buffer.file_pages > 3 * STAYING
        assert len(buffer) < STAYING + 8
        keys = []
        async for key, _record in session.rows(box.table):
            keys.append(key)
            assert len(buffer) < STAYING + 40
        assert keys == [box.table.key(number) for number in sorted(box.rows)]
        assert buffer.gone_count > 50
        await instance.close()

    lived(script)


def test_a_scan_reads_ahead() -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life, rows=150)
        await instance.detach(box.one)
        box.one = await instance.attach(NAMES[0])
        await box.open()
        session = instance.session(box.one)
        buffer = box.one.buffer
        reads, pages = buffer.reads, buffer.read_count
        seen = 0
        async for _ in session.rows(box.table):
            seen += 1
        assert seen == 150
        assert buffer.read_count - pages > 3 * (buffer.reads - reads)
        await instance.close()

    lived(script, PLAIN)


def test_a_long_value_much_larger_than_the_cache_comes_and_goes() -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life)
        for size in (150_000, 40):
            session.begin()
            await box.put(session, 7, body(7, size))
            await box.commit(session)
        session.begin()
        await box.put(session, 8, body(8, 150_000))
        await session.rollback()
        box.rows[8] = body(8, 300)
        await session.clean_up()
        session.begin()
        await box.put(session, 9, body(9, 120_000))
        await box.remove(session, 9)
        await box.commit(session)
        assert box.one.statements.repeated == 0
        assert len(box.one.buffer) > STAYING + 20
        assert await session.read(box.table.get, box.table.key(3)) is not None
        assert len(box.one.buffer) < STAYING + 8
        await instance.close()

    lived(script)


def test_two_sessions_work_side_by_side() -> None:
    async def work(box: Mailbox, mine: range) -> None:
        session = box.instance.session(box.one)
        for number in mine:
            session.begin()
            await session.do(box.table.insert, {"Id": number, "Body": body(number, 500)})
            await session.do(
                box.table.update, box.table.key(number), {"Id": number, "Body": body(number, 700)}
            )
            await session.commit()
            box.rows[number] = body(number, 700)

    async def script(life: Life) -> None:
        instance, box, session = await filled(life)
        async with group() as both:
            both.spawn(work(box, range(100, 160, 2)), "even")
            both.spawn(work(box, range(101, 161, 2)), "odd")
        session.begin()
        await box.put(session, 0, b"last")
        await box.commit(session)
        await instance.close()

    lived(script)


# -- what a look has forgotten -----------------------------------------------------------


def test_a_statement_whose_look_has_forgotten_pages_is_taken_back_and_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life)
        for each in (table, preparation):
            monkeypatch.setattr(each, "look_at", lambda touches: None)
        for number in (3, 17, 31, 50, 4, 38):
            session.begin()
            await box.put(session, number, body(number, 5000))
            await box.commit(session)
        repeated.append(box.one.statements.repeated)
        monkeypatch.undo()
        await instance.close()

    repeated: list[int] = []
    lived(script)
    assert repeated[0] > 5


def test_a_page_that_is_missing_in_the_middle_of_a_split_stops_the_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trees that keep space are not looked at by statements, for they stay in memory."""

    async def script(life: Life) -> None:
        instance, box, session = await filled(life)
        buffer = box.one.buffer
        space = box.table.rows.supply._available.top_pgno  # type: ignore[attr-defined]
        await instance.write_old_pages()
        monkeypatch.setattr("simulator.exchange.ese.page_buffer._STAYS", 0)
        session.begin()
        with pytest.raises(InternalError):
            for number in range(200, 300):
                if space in buffer and space not in buffer.dirty:
                    buffer._forget(space)
                else:
                    await instance.write_old_pages()
                await session.do(box.table.insert, {"Id": number, "Body": body(number, 300)})
        with pytest.raises(EseError) as stopped:
            session.begin()
        assert stopped.value.number == -510

    life = run(new_medium(), script, config=TINY)
    assert life.error is None, life.error


def test_a_function_of_ones_own_is_made_whole_or_not_at_all() -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life)

        def move(of: Session, numbers: tuple[int, ...], fails: bool) -> int:
            for number in numbers:
                box.table.insert(of, {"Id": number, "Body": body(number, 400)})
            if fails:
                raise ValueError("thought better of it")
            return len(numbers)

        session.begin()
        with pytest.raises(ValueError, match="better"):
            await session.do(move, (60, 61, 1000), True)
        assert await session.do(move, (70, 71, 1001), False) == 3
        box.rows |= {number: body(number, 400) for number in (70, 71, 1001)}
        await box.commit(session)
        await instance.close()

    lived(script)


# -- who waits for a page ----------------------------------------------------------------


def slow_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    read = MemoryFile.read_at

    async def slowly(self: MemoryFile, offset: int, length: int) -> bytes:
        data = await read(self, offset, length)
        for _ in range(50):
            await yield_now()
        return data

    monkeypatch.setattr(MemoryFile, "read_at", slowly)


def test_a_statement_that_is_cancelled_while_it_waits_has_changed_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life, rows=60)
        slow_reads(monkeypatch)
        other = instance.session(box.one)
        other.begin()
        tip = instance.log.tip
        async with group() as tasks:
            change = tasks.spawn(
                other.do(box.table.update, box.table.key(1), {"Id": 1, "Body": b"never"}), "change"
            )
            for _ in range(5):
                await yield_now()
            assert not change.done
            change.cancel()
        assert instance.log.tip == tip
        assert not box.one.buffer._holds
        await other.rollback()
        await box.remove_in_own_transaction(session, 1)
        await instance.close()

    monkeypatch.setattr(Mailbox, "remove_in_own_transaction", _remove, raising=False)
    lived(script)


async def _remove(box: Mailbox, session: StoreSession, number: int) -> None:
    session.begin()
    await box.remove(session, number)
    await box.commit(session)


def test_a_database_can_be_detached_while_a_statement_waits_for_its_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def late(box: Mailbox, session: StoreSession) -> None:
        with pytest.raises(RuntimeError, match="detached"):
            await session.do(box.table.delete, box.table.key(1))
        told.append(True)

    async def script(life: Life) -> None:
        instance, box, _session = await filled(life, rows=60)
        slow_reads(monkeypatch)
        other = instance.session(box.one)
        other.begin()
        async with group() as tasks:
            tasks.spawn(late(box, other), "late")
            for _ in range(5):
                await yield_now()
            await instance.detach(box.one)
        await instance.close()

    told: list[bool] = []
    lived(script)
    assert told


def test_an_update_sees_what_others_did_while_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is another one by then: the update has to be refused, not made on the old one."""

    async def script(life: Life) -> None:
        instance, box, session = await filled(life, rows=60)
        slow_reads(monkeypatch)
        other = instance.session(box.one)
        other.begin()
        session.begin()

        async def late() -> None:
            with pytest.raises(EseError) as refused:
                row: dict[str, Any] = {"Id": 1, "Body": body(1, 9000)}
                await other.do(box.table.update, box.table.key(1), row)
            numbers.append(refused.value.number)

        async with group() as tasks:
            tasks.spawn(late(), "late")
            await box.put(session, 1, b"first")
            await box.commit(session)
        await instance.close()

    numbers: list[int] = []
    lived(script)
    assert numbers == [-1102]


COUNTED = TableDefinition(
    "Counted",
    (
        ColumnDefinition("Id", ColumnType.LONG, flags=ColumnFlag.AUTO_INCREMENT),
        ColumnDefinition("Body", ColumnType.LONG_BINARY),
    ),
    (IndexDefinition("ById", ("Id",), primary=True),),
)


def test_a_table_that_counts_is_opened_by_its_last_leaf() -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life, rows=3)
        counted = await session.do(box.one.database.create_table, COUNTED)
        for number in range(60):
            key = await session.do(counted.insert, {"Body": body(number, 900)})
        await session.clean_up()
        await instance.detach(box.one)
        box.one = await instance.attach(NAMES[0])
        before = box.one.buffer.read_count
        counted = await box.one.open_table(COUNTED)
        assert box.one.buffer.read_count - before < 16
        session = instance.session(box.one)
        session.begin()
        assert await session.do(counted.insert, {"Body": b""}) > key
        await session.rollback()
        await instance.close()

    lived(script)


def test_leaves_come_in_order_from_any_key_on() -> None:
    async def script(life: Life) -> None:
        instance, box, session = await filled(life, rows=90)
        for first in (0, 1, 44, 89):
            found = [key async for key, _ in session.rows(box.table, box.table.key(first))]
            assert found == [box.table.key(number) for number in range(first, 90)]
        tree = box.table.rows
        assert isinstance(tree, Tree)
        nodes, more = await session.read(tree.leaf_from, box.table.key(89), after=True)
        assert (nodes, more) == ([], False)
        await instance.close()

    lived(script)
