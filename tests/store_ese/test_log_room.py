"""A transaction may be longer than the log's buffer: what is logged to take it back, and before its
pages are written, asks for room in between.  Controls do without, and the instance stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from replicator.ese.log_stream import LogBufferFull
from simulator.exchange.ese import transactions, versions
from simulator.exchange.ese.growth import GrowthPolicy
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.statements import Statements
from simulator.exchange.ese.store_session import StoreSession
from tests.store_ese.engine_harness import (
    CONFIG,
    NAMES,
    Life,
    Mailbox,
    Rows,
    content_breach,
    new_medium,
    run,
)

SMALL = replace(
    CONFIG,
    log_buffer_bytes=256 << 10,
    log_file_bytes=1 << 20,
    checkpoint_depth_bytes=1 << 30,
    limit_pages=1 << 12,
    circular=False,
    policy=GrowthPolicy(),
)
ROWS, ROW_BYTES = 1200, 400
"""All of them together are more than the buffer takes."""


Script = Callable[[Instance, Mailbox, StoreSession], Awaitable[None]]


def lived(script: Script) -> None:
    async def with_a_table(life: Life) -> None:
        instance = await life.open()
        one = await instance.create_database(NAMES[0], initial_pages=64)
        life.ledger.created(NAMES[0])
        box = Mailbox(life, instance, one, NAMES[0])
        await box.make()
        await script(instance, box, instance.session(one))

    life = run(new_medium(), with_a_table, config=SMALL)
    if life.error is not None:
        raise life.error
    assert content_breach(life.volume.medium, life.ledger) == ""


async def rows_that_move(box: Mailbox, session: StoreSession) -> Rows:
    """Committed rows, then all of them made longer, so that most go to other pages."""
    for at in range(0, ROWS, 50):
        session.begin()
        for number in range(at, at + 50):
            await box.put(session, number, bytes((number % 250,)) * ROW_BYTES)
        await box.commit(session)
    before = dict(box.rows)
    session.begin()
    for number in range(ROWS):
        await box.put(session, number, bytes((number % 250 + 1,)) * 2 * ROW_BYTES)
    owing = sum(map(len, box.one.database.versions._owing.values()))
    assert owing * ROW_BYTES > SMALL.log_buffer_bytes
    return before


async def take_back(instance: Instance, box: Mailbox, session: StoreSession) -> None:
    before = await rows_that_move(box, session)
    await session.rollback()
    await instance.close()
    box.rows = before


async def detach(instance: Instance, box: Mailbox, session: StoreSession) -> None:
    before = await rows_that_move(box, session)
    await instance.detach(box.one)
    await instance.close()
    box.rows = before


async def write_one_page_that_owes_much(
    instance: Instance, box: Mailbox, session: StoreSession
) -> None:
    """Rows from the last to the first, each changed at once: all on the first leaf."""
    session.begin()
    for number in range(ROWS, 0, -1):
        await box.put(session, number, bytes((number % 250,)) * ROW_BYTES)
        await box.put(session, number, bytes((number % 250 + 1,)) * ROW_BYTES)
    owing = box.one.database.versions._owing
    assert max(map(len, owing.values())) * ROW_BYTES > SMALL.log_buffer_bytes
    await instance.write_old_pages()
    assert not owing
    await box.commit(session)
    await instance.close()


@pytest.mark.parametrize("script", [take_back, detach, write_one_page_that_owes_much])
def test_a_long_transaction_asks_for_room_in_between(script: Script) -> None:
    lived(script)


def test_a_rollback_that_asks_once_stops_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(statements: Statements, session: object, check: Callable[[], None]) -> None:
        await statements.do(statements._transactions().rollback, session, check)  # type: ignore[arg-type]

    monkeypatch.setattr(Statements, "rollback", at_once)
    with pytest.raises(LogBufferFull):
        lived(take_back)


def test_before_images_that_are_logged_at_once_stop_the_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "LOGGED_AT_ONCE_BYTES", 1 << 30)
    with pytest.raises(LogBufferFull):
        lived(write_one_page_that_owes_much)


def test_large_changes_are_not_taken_back_many_at_once() -> None:
    large = versions.LOGGED_AT_ONCE_BYTES // 4

    def some(*sizes: int) -> list[versions.Version]:
        found = []
        for size in sizes:
            made = versions.Version.__new__(versions.Version)
            made.before = bytes(size)
            found.append(made)
        return found

    few = transactions.last_few(some(0, large, large, large, large, large))
    assert len(few) == 4
    assert len(transactions.last_few(some(0, 9 * large))) == 1
    assert len(transactions.last_few(some(*[1] * 99))) == 16
