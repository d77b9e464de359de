"""An instance's life: what its files say at the end, what it refuses, and what waits for what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyesedb
import pytest

from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.database import Database as ReadDatabase
from replicator.ese.database_header import DatabaseHeader, State, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_options import Durability
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import Kind
from replicator.ese.log_stream import LogBufferFull
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import EngineSafeguards, InstanceConfig
from tests.store.harness import POWER_LOSSES
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    CONFIG,
    DIRECTORY,
    NAMES,
    Life,
    Mailbox,
    Script,
    body,
    content_breach,
    judge,
    new_medium,
    recover_only,
    rows_of,
    run,
    short_life,
)

PLAIN = replace(CONFIG, circular=False, checkpoint_depth_bytes=1 << 20)


def lived(script: Script, config: InstanceConfig = PLAIN, medium: Medium | None = None) -> Life:
    life = run(medium or new_medium(), script, config=config)
    if life.error is not None:
        raise life.error
    return life


def content(life: Life, name: str) -> bytes:
    inode = life.volume.medium.names[f"{DIRECTORY}/{name}"]
    assert inode is not None
    return bytes(inode.data)


def header_of(life: Life, name: str) -> DatabaseHeader:
    return read_database_header(BytesReader(content(life, name)))[0]


def records(life: Life, name: str = "E00.log") -> list[LogRecord]:
    return list(LogFile(BytesReader(content(life, name)), closed=name != "E00.log").records())


async def made(life: Life, name: str = NAMES[0]) -> tuple[Instance, Mailbox]:
    instance = await life.open()
    one = await instance.create_database(name, initial_pages=34)
    life.ledger.created(name)
    box = Mailbox(life, instance, one, name)
    await box.make()
    return instance, box


async def filled(life: Life) -> tuple[Instance, Mailbox]:
    instance, box = await made(life)
    session = instance.session(box.one)
    session.begin()
    for number in range(12):
        await box.put(session, number, body(number, 500))
    await box.commit(session)
    return instance, box


def test_a_clean_shutdown_leaves_what_real_stores_show() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        attached_at.append(box.one.attach_position)
        await instance.close()

    attached_at: list[LogPosition] = []
    life = lived(script)
    header = header_of(life, NAMES[0])
    last = records(life)
    shut_down = next(each for each in last if each.number == Kind.SHUT_DOWN)
    assert last[-1].number == Kind.TERM2
    assert header.state is State.CLEAN_SHUTDOWN
    assert header.attach_position == attached_at[0]
    expected = shut_down.position
    if expected.byte == 40:
        expected = replace(expected, byte=0)
    assert header.consistent_position == header.detach_position == expected
    generations = (
        header.first_required_generation,
        header.first_consistent_generation,
        header.last_required_generation,
        header.last_committed_generation,
    )
    assert generations == (0, 0, 0, 0)
    assert header.last_committed_created.is_zero
    assert header.dbid == 1
    assert header.dbtime > 30
    assert header.last_objid == 7  # the table and its long values, behind the catalog's
    checkpoint = read_checkpoint(BytesReader(content(life, "E00.chk")))[0]
    end = last[-1].position
    assert checkpoint.position == LogPosition(end.generation, end.sector, 0)
    assert checkpoint.log_signature == header.log_signature
    assert checkpoint.attachments is None
    assert content_breach(life.volume.medium, life.ledger) == ""


def test_libesedb_reads_what_was_shut_down_and_what_was_recovered(tmp_path: Path) -> None:
    life = lived(short_life, CONFIG)
    assert judge(life.volume.medium, life.ledger).breach == ""
    for name in NAMES:
        path = tmp_path / name
        path.write_bytes(content(life, name))
        theirs = pyesedb.open(str(path))
        try:
            table = theirs.get_table_by_name("Mail")
            found = {
                table.get_record(number).get_value_data_as_integer(0)
                for number in range(table.get_number_of_records())
            }
        finally:
            theirs.close()
        assert found == set(rows_of(content(life, name)) or {})
        assert found == set(life.ledger.states[name][-1])


def test_a_second_opening_finds_nothing_to_recover_and_goes_on() -> None:
    async def second(life: Life) -> None:
        instance = await life.open()
        assert instance.recovery is not None
        assert instance.recovery.clean_log
        assert instance.recovery.undone == instance.recovery.redone_pages == 0
        box = Mailbox(life, instance, await instance.attach(NAMES[0]), NAMES[0])
        await box.open()
        session = instance.session(box.one)
        session.begin()
        await box.put(session, 99, body(99, 3000))
        await box.commit(session)
        await instance.close()

    async def first(life: Life) -> None:
        instance, _box = await filled(life)
        await instance.close()

    life = lived(first)
    again = run(life.volume.medium, second, config=PLAIN, ledger=life.ledger, ticks=500)
    assert again.error is None
    assert content_breach(life.volume.medium, life.ledger) == ""
    rows = rows_of(content(life, NAMES[0])) or {}
    assert rows[99] == body(99, 3000)
    assert len(rows) == 13


def test_a_running_database_is_dirty_and_requires_the_log_underway() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        assert header_of(life, NAMES[0]).last_required_generation == instance.log.generation
        before = instance.log.generation
        await instance.log.roll("test")
        header = header_of(life, NAMES[0])
        assert header.state is State.DIRTY_SHUTDOWN
        assert header.last_required_generation == before + 1
        assert header.last_committed_generation == before + 1
        assert header.first_required_generation == box.one.attach_position.generation

    lived(script)


def test_the_checkpoint_waits_for_an_open_transaction_and_then_moves() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        other = instance.session(box.one)
        other.begin()
        await other.do(box.table.delete, box.table.key(3))
        began = instance.log.tip.generation
        await instance.log.roll("test")
        await instance.write_old_pages()
        await instance.move_checkpoint()
        assert instance.checkpoint.generation <= began
        await other.rollback()
        await instance.write_old_pages()
        await instance.move_checkpoint()
        assert not box.one.buffer.dirty
        assert instance.checkpoint.generation == began + 1
        assert header_of(life, NAMES[0]).first_required_generation == began + 1

    lived(script)


@pytest.mark.parametrize("waits", [True, False])
def test_the_checkpoint_waits_for_a_commit_that_is_not_durable(waits: bool) -> None:
    """What began first commits last, its pages are written: it does not survive the other one."""

    async def script(life: Life) -> None:
        instance, box = await filled(life)
        await instance.write_old_pages()
        before = dict(box.rows)
        first, second = instance.session(box.one), instance.session(box.one)
        first.begin()
        await box.put(first, 50, b"began first")
        began = instance.log.tip.generation
        await instance.log.roll("test")
        await instance.write_old_pages()
        assert not box.one.buffer.dirty
        second.begin()
        await box.put(second, 51, b"began second")
        life.ledger.committing(NAMES[0], before | {51: box.rows[51]})
        await second.commit(lazy=True)
        life.ledger.committing(NAMES[0], box.rows)
        position = await first.commit(lazy=True)
        await instance.move_checkpoint()
        assert position is not None
        assert not instance.log.flushed > position
        assert (instance.checkpoint.generation <= began) == waits

    life = lived(script, replace(PLAIN, safeguards=EngineSafeguards(wait_for_transactions=waits)))
    medium = life.volume.medium
    medium.lose_power(POWER_LOSSES["nothing unsynced survives"])
    found = judge(medium, life.ledger, config=PLAIN)
    assert (found.breach == "") == waits, found.breach
    assert waits or "rows differ: [50]" in found.breach


def test_circular_logging_deletes_what_no_one_needs() -> None:
    async def script(life: Life) -> None:
        instance, _box = await filled(life)
        for _ in range(3):
            await instance.log.roll("test")
        assert len(instance.log.generations) >= 3
        await instance.write_old_pages()
        await instance.move_checkpoint()
        assert instance.log.generations == []

    lived(script, replace(PLAIN, circular=True))


def test_a_page_waits_for_the_commit_that_makes_its_undo_needless() -> None:
    """Once a commit is logged no UndoInfo is written any more; so it has to be durable first."""

    async def script(life: Life) -> None:
        instance, box = await filled(life)
        await instance.write_old_pages()
        session = instance.session(box.one)
        session.begin()
        await session.do(box.table.delete, box.table.key(3))
        await instance.log.harden()
        position = await session.commit(lazy=True)
        assert position is not None
        assert box.one.buffer.dirty
        waiting = [page.position for page in box.one.buffer.dirty.values()]
        assert waiting == [position] * len(waiting)
        assert not instance.log.flushed > position

    lived(script)


def test_a_lazy_commit_returns_before_it_is_durable_and_a_later_one_takes_it_along() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        session = instance.session(box.one)
        session.begin()
        await box.put(session, 50, b"lazy")
        steps = len(life.steps)
        position = await session.commit(lazy=True)
        assert len(life.steps) == steps
        assert position is not None
        assert instance.log.flushed <= position
        session.begin()
        await box.put(session, 51, b"not lazy")
        await session.commit()
        assert instance.log.flushed > position

    lived(script)


def test_a_transaction_that_changed_nothing_waits_for_nothing() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        session = instance.session(box.one)
        steps = len(life.steps)
        session.begin()
        assert await session.read(box.table.get, box.table.key(3)) is not None
        assert await session.commit() is None
        assert len(life.steps) == steps

    lived(script)


def test_what_cannot_be_attached_is_refused_and_the_rest_goes_on() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        with pytest.raises(EseError) as twice:
            await instance.attach(NAMES[0])
        assert twice.value.number == -1201
        life.volume.medium.names[f"{DIRECTORY}/copy.edb"] = life.volume.medium.names[
            f"{DIRECTORY}/{NAMES[0]}"
        ]
        with pytest.raises(EseError) as dirty:
            await instance.attach("copy.edb")
        assert dirty.value.number == -550
        for number in range(5):
            await instance.create_database(f"more{number}.edb", initial_pages=34)
        with pytest.raises(EseError) as many:
            await instance.create_database("seventh.edb")
        assert many.value.number == -1805
        session = instance.session(box.one)
        session.begin()
        await box.put(session, 77, b"still alive")
        await session.commit()
        await session.end()

    lived(script, replace(PLAIN, limit_pages=64))


def test_a_detached_database_is_clean_while_the_other_one_goes_on() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        await instance.create_database(NAMES[1], initial_pages=34)
        session = instance.session(box.one)
        session.begin()
        await session.do(box.table.delete, box.table.key(1))  # not committed
        await instance.detach(box.one)
        assert header_of(life, NAMES[0]).state is State.CLEAN_SHUTDOWN
        assert header_of(life, NAMES[1]).state is State.DIRTY_SHUTDOWN
        with pytest.raises(RuntimeError):
            session.begin()

    life = lived(script)
    assert 1 in (rows_of(content(life, NAMES[0])) or {})


def test_a_statement_that_logs_more_than_the_buffer_stops_the_instance() -> None:
    async def script(life: Life) -> None:
        instance, box = await made(life)
        session = instance.session(box.one)
        session.begin()
        with pytest.raises(LogBufferFull):
            await session.do(box.table.insert, {"Id": 1, "Body": bytes(200_000)})
        with pytest.raises(EseError) as stopped:
            session.begin()
        assert stopped.value.number == -510

    lived(script, replace(PLAIN, log_buffer_bytes=128 << 10))


def test_a_refused_statement_leaves_nothing_and_stops_nothing() -> None:
    async def script(life: Life) -> None:
        instance, box = await filled(life)
        session = instance.session(box.one)
        session.begin()
        with pytest.raises(EseError) as refused:
            await session.do(box.table.insert, {"Id": 3, "Body": b"twice"})
        assert refused.value.number == -1605
        await box.put(session, 40, b"once")
        await box.commit(session)
        await instance.close()

    life = lived(script)
    assert content_breach(life.volume.medium, life.ledger) == ""


def test_the_last_checkpoint_never_goes_back() -> None:
    """In version 7 Term begins no sector, so the checkpoint may stand in its sector before it."""
    config = replace(PLAIN, log_version=7, log_file_bytes=80 * 512)
    in_one_sector = 0
    for size in range(10, 500, 70):

        async def script(life: Life, size: int = size) -> None:
            nonlocal in_one_sector
            instance, box = await made(life)
            session = instance.session(box.one)
            session.begin()
            await box.put(session, 1, body(1, size))
            await box.commit(session)
            await instance.write_old_pages()
            await instance.move_checkpoint()
            before = instance.checkpoint
            await instance.close()
            at = read_checkpoint(BytesReader(content(life, "E00.chk")))[0].position
            assert at >= before
            in_one_sector += at == before and at.byte > 0

        life = lived(script, config)
        assert header_of(life, NAMES[0]).state is State.CLEAN_SHUTDOWN
    assert in_one_sector, "this means nothing"


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="waypoint_latency"):
        InstanceConfig(durability=Durability.LAZY)
    with pytest.raises(ValueError, match="version"):
        InstanceConfig(log_version=6)
    with pytest.raises(ValueError, match="positive"):
        InstanceConfig(batch_pages=0)


def test_the_example_of_the_page_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "store-engine.md"
    blocks = [block.split("```")[0] for block in page.read_text().split("```python\n")[1:]]
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)

    async def script(life: Life) -> None:
        draws = life.draws
        await names["live"](life.volume, DIRECTORY, draws.now, draws.signature)

    life = lived(script)
    assert header_of(life, "priv1.edb").state is State.CLEAN_SHUTDOWN
    rows = ReadDatabase(BytesReader(content(life, "priv1.edb"))).table("Notes").rows()
    assert [row["Text"] for row in rows] == ["durable when commit returns"]


def test_logs_that_end_before_their_database_was_shut_down_are_refused() -> None:
    """A copy whose newest log was not synced, beside a database that was: out of step, -551."""
    older: list[bytes] = []

    async def script(life: Life) -> None:
        instance, _box = await filled(life)
        inode = life.volume.medium.names[f"{DIRECTORY}/E00.log"]
        assert inode is not None
        older.append(bytes(inode.data))
        await instance.close()

    life = lived(script)
    assert header_of(life, NAMES[0]).state is State.CLEAN_SHUTDOWN
    inode = life.volume.medium.names[f"{DIRECTORY}/E00.log"]
    assert inode is not None
    inode.data[:] = older[0]
    again = run(life.volume.medium, recover_only, config=PLAIN)
    assert isinstance(again.error, EseError) and again.error.number == -551, again.error
    assert "newer logs are missing" in str(again.error)
    assert header_of(again, NAMES[0]).state is State.CLEAN_SHUTDOWN
