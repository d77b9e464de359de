"""A database that was shut down joins another log set: its old logs and checkpoint are gone."""

from __future__ import annotations

import random
from copy import deepcopy
from functools import cache

import pytest

from replicator.ese.database_header import DatabaseHeader, read_database_header
from replicator.ese.database_state import attached
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime, Signature
from replicator.runtime import group
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    DIRECTORY,
    NAMES,
    POWER_LOSSES,
    Ledger,
    Life,
    Mailbox,
    judge,
    new_medium,
    rows_of,
    run,
)
from tests.strides import strided

NAME = NAMES[0]
PATH = f"{DIRECTORY}/{NAME}"


async def few(box: Mailbox, first: int) -> None:
    """Rows of bytes without a pattern: the XOR of a constant sector is nothing."""
    session = box.instance.session(box.one)
    for number in range(first, first + 3):
        session.begin()
        await box.put(session, number, random.Random(number).randbytes(700))
        await box.commit(session)
    await session.end()


async def first_life(life: Life) -> None:
    """Long enough that its shutdown lies in a later generation than the new set's first."""
    instance = await life.open()
    async with group() as tasks:
        tasks.spawn(instance.run(), "engine")
        one = await instance.create_database(NAME, initial_pages=34)
        life.ledger.created(NAME)
        box = Mailbox(life, instance, one, NAME)
        await box.make()
        await few(box, 1)
        await few(box, 11)
        await instance.close()


async def second_life(life: Life) -> None:
    instance = await life.open()
    async with group() as tasks:
        tasks.spawn(instance.run(), "engine")
        box = Mailbox(life, instance, await instance.attach(NAME), NAME)
        await box.open()
        await few(box, 80)
        instance.abandon()


@cache
def _moved() -> tuple[Medium, Ledger]:
    medium = new_medium()
    life = run(medium, first_life)
    assert life.error is None, life.error
    for path in [each for each in medium.names if each not in (DIRECTORY, PATH)]:
        del medium.names[path]
        medium.durable_names.pop(path, None)
    return medium, life.ledger


def moved() -> tuple[Medium, Ledger]:
    """A clean database whose logs somebody has moved away, and what is in it."""
    medium, ledger = _moved()
    return medium.copy(), deepcopy(ledger)


def header_of(medium: Medium) -> DatabaseHeader:
    inode = medium.names[PATH]
    assert inode is not None
    return read_database_header(BytesReader(bytes(inode.data)))[0]


def test_positions_in_the_old_set_are_forgotten() -> None:
    medium, ledger = moved()
    before = header_of(medium)
    assert before.consistent_position.generation > 1
    life = run(medium, second_life, ledger=ledger, ticks=10**5)
    assert life.error is None, life.error
    after = header_of(medium)
    assert after.log_signature != before.log_signature
    assert after.consistent_position == LogPosition()
    assert after.attach_position.generation == 1


def test_in_the_same_set_they_are_kept() -> None:
    medium, _ledger = moved()
    header = header_of(medium)
    where, time = LogPosition(9, 8, 7), LogTime()
    same = attached(header, position=where, time=time, generation_created=time)
    assert same.consistent_position == header.consistent_position
    other = attached(
        header,
        position=where,
        time=time,
        generation_created=time,
        log_signature=Signature(77, time),
    )
    assert other.consistent_position == other.last_resize_position == LogPosition()


def steps_of_second_life() -> int:
    medium, ledger = moved()
    return len(run(medium, second_life, ledger=ledger, ticks=10**5).steps)


@strided(3)
@pytest.mark.parametrize("losses", [None, *POWER_LOSSES])
def test_a_crash_in_any_step_of_it_is_recovered(losses: str | None, stride: int) -> None:
    wrong = []
    for crash_at in range(1, steps_of_second_life() + 1, stride):
        medium, ledger = moved()
        life = run(medium, second_life, crash_at=crash_at, ledger=ledger, ticks=10**5)
        if losses is not None:
            medium.lose_power(POWER_LOSSES[losses])
        breach = judge(medium, life.ledger).breach
        if not breach:
            breach = again(medium)
        if breach:
            wrong.append(f"step {crash_at} ({life.steps[-1]}): {breach}")
    assert not wrong, wrong


def again(medium: Medium) -> str:
    """Why a store that was recovered cannot be opened again; empty when it can."""
    inode = medium.names[PATH]
    assert inode is not None
    ledger = Ledger()
    ledger.created(NAME)
    ledger.acknowledge(NAME, ledger.committing(NAME, rows_of(bytes(inode.data)) or {}))
    life = run(medium, second_life, ledger=ledger, ticks=2 * 10**6)
    return "" if life.error is None else str(life.error)
