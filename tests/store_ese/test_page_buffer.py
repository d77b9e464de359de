"""Pages in memory: what is read and when, what goes, what is dirty, and what is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from replicator.ese.errors import EseError
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.values import LogPosition
from replicator.runtime import Kernel, Signal, group, yield_now
from simulator.exchange.ese.page_buffer import PageBuffer
from simulator.exchange.ese.preparation import PageNotInMemory
from simulator.runtime import SimClock
from tests.store.memory_volume import Medium, MemoryFile, MemoryVolume
from tests.store_ese.engine_harness import FORMAT, PAGE_BYTES


def file_of(medium: Medium | None = None) -> MemoryFile:
    return MemoryVolume(medium or Medium()).create("/mail.edb")


def sealed(pgno: int, dbtime: int, flags: int = 0) -> bytes:
    page = PageEditor(pgno, PAGE_BYTES)
    page.begin(7, int(FORMAT.page_flags))
    page.flags |= flags
    page.dbtime = dbtime
    return page.sealed_bytes()


def filled(pages: int) -> MemoryFile:
    """A file of pages whose dbtime is ten times their number."""
    file = file_of()
    for pgno in range(1, pages + 1):
        file.write_at(page_offset(pgno, PAGE_BYTES), sealed(pgno, 10 * pgno))
    return file


def buffer_of(
    file: Any,
    limit_pages: int = 100,
    cache_pages: int = 100,
    write: Callable[[Sequence[int]], Awaitable[object]] | None = None,
) -> PageBuffer:
    buffer = PageBuffer(file, FORMAT, limit_pages, cache_pages, write)
    buffer.open()
    return buffer


def done(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns, run among no others."""
    clock = SimClock()
    kernel = Kernel(clock)
    task = kernel.run_task(coroutine, "test")
    clock.run_until_idle()
    assert task.done, "it hangs"
    kernel.close()
    return task.result()


async def have(buffer: PageBuffer, *pgnos: int, ahead: Sequence[int] = ()) -> None:
    with buffer.holding() as hold:
        await buffer.load(PageNotInMemory(pgnos, ahead), hold)
    buffer.settle()


def at(sector: int) -> LogPosition:
    return LogPosition(1, sector, 0)


# -- what is read ------------------------------------------------------------------------


def test_a_page_is_read_when_it_is_asked_for_and_zero_pages_are_blank() -> None:
    file = file_of()
    file.write_at(page_offset(3, PAGE_BYTES), sealed(3, 9))
    file.truncate(page_offset(6, PAGE_BYTES))
    buffer = buffer_of(file)
    assert (len(buffer), buffer.last_pgno, buffer.is_whole) == (0, 5, False)
    with pytest.raises(PageNotInMemory) as missing:
        buffer.page(3)
    assert missing.value.pgnos == {3}
    done(have(buffer, 3, 4))
    assert buffer.page(3).dbtime == 9
    assert buffer.page(4).is_zero
    assert buffer.page(6).is_zero  # behind the end: nothing to read


def test_a_new_file_lacks_nothing() -> None:
    buffer = buffer_of(file_of())
    assert buffer.is_whole
    assert buffer.page(1).is_zero
    assert buffer.page(7).is_zero


def test_a_page_that_is_taken_for_a_tree_is_not_read() -> None:
    buffer = buffer_of(filled(3))
    assert buffer.fresh(2).is_zero
    assert buffer.page(2).is_zero
    with pytest.raises(EseError) as beyond:
        buffer.fresh(101)
    assert beyond.value.number == -1808


def test_neighbours_are_read_together_and_reads_are_counted() -> None:
    buffer = buffer_of(filled(9))
    done(have(buffer, 2, 3, 4, 8, ahead=[9]))
    assert (buffer.reads, buffer.read_count, len(buffer)) == (2, 5, 5)
    assert [buffer.page(pgno).dbtime for pgno in (2, 3, 4, 8, 9)] == [20, 30, 40, 80, 90]
    done(have(buffer, 3))
    assert buffer.reads == 2


def test_a_damaged_page_is_told_with_its_place_to_the_one_who_needs_it() -> None:
    file = filled(4)
    data = bytearray(sealed(3, 9))
    data[100:140] = bytes(range(40))
    file.write_at(page_offset(3, PAGE_BYTES), bytes(data))
    buffer = buffer_of(file)
    done(have(buffer, 2, ahead=[3, 4]))
    assert 3 not in buffer
    assert 4 in buffer
    with pytest.raises(EseError) as told:
        done(have(buffer, 3))
    assert told.value.number == -1018
    assert (told.value.path, told.value.offset) == ("/mail.edb", page_offset(3, PAGE_BYTES))


def test_more_pages_than_are_allowed_are_refused() -> None:
    file = file_of()
    file.truncate(page_offset(12, PAGE_BYTES))
    assert buffer_of(file, limit_pages=11).last_pgno == 11
    with pytest.raises(EseError) as told:
        buffer_of(file, limit_pages=10)
    assert told.value.number == -1011
    with pytest.raises(EseError) as beyond:
        buffer_of(file, limit_pages=11).page(12)
    assert beyond.value.number == -1808


class SlowFile:
    """A file whose reads take what was there when they began, and end when they are let."""

    def __init__(self, file: MemoryFile) -> None:
        self._file = file
        self.path = file.path
        self.begun = 0
        self.let = Signal()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    async def read_at(self, offset: int, length: int) -> bytes:
        self.begun += 1
        data = await self._file.read_at(offset, length)
        await self.let
        return data


def test_a_page_is_read_once_for_two_who_need_it() -> None:
    file = SlowFile(filled(3))
    buffer = buffer_of(file)

    async def script() -> None:
        async with group() as both:
            both.spawn(have(buffer, 2), "one")
            both.spawn(have(buffer, 2), "other")
            await yield_now()
            await yield_now()
            file.let.notify()

    done(script())
    assert file.begun == 1
    assert buffer.page(2).dbtime == 20


def test_a_read_that_a_new_use_of_the_page_has_overtaken_is_not_believed() -> None:
    """A page that is read ahead is taken for a tree, written and let go meanwhile."""
    file = SlowFile(filled(3))

    async def write(pgnos: Sequence[int]) -> None:
        buffer.write(pgnos)

    buffer = buffer_of(file, cache_pages=1, write=write)

    async def script() -> None:
        async with group() as both:
            both.spawn(have(buffer, 1, ahead=[2]), "reader")
            await yield_now()
            await yield_now()
            buffer.fresh(2).begin(7, 999)
            buffer.changed([2], at(1), at(1))
            buffer.fresh(3)
            buffer.settle()
            await buffer.make_room(5)
            assert 2 not in buffer
            file.let.notify()

    done(script())
    with pytest.raises(PageNotInMemory):
        buffer.page(2)

    async def again() -> None:
        async with group() as both:
            both.spawn(have(buffer, 2), "reader")
            await yield_now()
            await yield_now()
            file.let.notify()

    done(again())
    assert buffer.page(2).dbtime == 999


# -- what goes ---------------------------------------------------------------------------


def test_memory_is_bounded_and_the_page_used_longest_ago_goes() -> None:
    buffer = buffer_of(filled(60), cache_pages=16)
    for pgno in (1, 2, 1, 2, *range(3, 61)):
        if pgno not in buffer:
            done(have(buffer, pgno))
        else:
            buffer.page(pgno)
            buffer.settle()
        assert len(buffer) <= 16
    assert buffer.gone_count == 60 - len(buffer)
    assert 60 in buffer
    assert 3 not in buffer


def test_what_is_used_again_and_again_outlives_a_scan() -> None:
    buffer = buffer_of(filled(90), cache_pages=16)
    done(have(buffer, *range(1, 14)))
    for _ in range(3):
        buffer.page(1), buffer.page(2)
        buffer.settle()
    for pgno in range(14, 91):
        done(have(buffer, pgno))
    assert 1 in buffer
    assert 2 in buffer


def test_roots_and_space_trees_stay_and_so_does_what_is_held() -> None:
    file = filled(40)
    for pgno, flag in ((1, PageFlag.ROOT), (2, PageFlag.SPACE_TREE)):
        file.write_at(page_offset(pgno, PAGE_BYTES), sealed(pgno, 9, int(flag)))
    buffer = buffer_of(file, cache_pages=4)

    async def script() -> None:
        with buffer.holding() as hold:
            await buffer.load(PageNotInMemory([1, 2, 3, 4]), hold)
            for pgno in range(5, 41):
                await have(buffer, pgno)
            assert {1, 2, 3, 4} <= {pgno for pgno in range(1, 41) if pgno in buffer}
            assert len(buffer) < 8
        for pgno in range(5, 41):
            await have(buffer, pgno)

    done(script())
    assert 1 in buffer
    assert 2 in buffer
    assert 3 not in buffer


def test_a_changed_page_is_written_before_it_goes_and_stays_while_it_may_not_be() -> None:
    allowed = False
    asked: list[list[int]] = []

    async def write(pgnos: Sequence[int]) -> None:
        asked.append(sorted(pgnos))
        if allowed:
            buffer.write(pgnos)

    buffer = buffer_of(filled(40), cache_pages=4, write=write)
    done(have(buffer, 1, 2))
    buffer.page(1).dbtime = 777
    buffer.changed([1], at(5), at(5))
    buffer.settle()
    for pgno in range(3, 15):
        done(have(buffer, pgno))
    assert asked
    assert buffer.page(1).dbtime == 777
    allowed = True
    for pgno in range(15, 41):
        done(have(buffer, pgno))
    assert 1 not in buffer
    assert not buffer.dirty
    done(have(buffer, 1))
    assert buffer.page(1).dbtime == 777


# -- what is dirty, and written ----------------------------------------------------------


def test_a_dirty_page_has_its_last_change_and_its_oldest_beginning() -> None:
    buffer = buffer_of(file_of())
    assert buffer.oldest() is None
    for pgno in (1, 2):
        buffer.page(pgno)
    buffer.changed((1,), at(9), began=at(5))
    buffer.changed((1, 2), at(12), began=at(7))
    buffer.changed((1,), at(11), began=at(3))
    assert (buffer.dirty[1].position, buffer.dirty[1].began) == (at(12), at(3))
    assert buffer.oldest() == at(3)
    buffer.depends_on(2, at(20))
    buffer.depends_on(3, at(20))
    assert buffer.dirty[2].position == at(20)
    assert 3 not in buffer.dirty
    buffer.write([1])
    assert buffer.oldest() == at(7)
    assert list(buffer.dirty) == [2]


def test_neighbours_are_written_together_and_the_file_grows_as_the_log_said() -> None:
    medium = Medium()
    volume = MemoryVolume(medium)
    buffer = buffer_of(volume.create("/mail.edb"))
    for pgno in (2, 3, 4, 9):
        buffer.page(pgno).begin(7, 0)
        buffer.changed((pgno,), at(1), at(1))
    buffer.last_pgno = 20
    buffer.write([9, 3, 2, 4])
    assert volume.steps[1:] == [
        f"truncate /mail.edb {22 * PAGE_BYTES}",
        f"write /mail.edb {3 * PAGE_BYTES} +{3 * PAGE_BYTES}",
        f"write /mail.edb {10 * PAGE_BYTES} +{PAGE_BYTES}",
    ]
    assert not buffer.dirty
    again = buffer_of(volume.open("/mail.edb"))
    done(have(again, *range(1, 21)))
    assert [pgno for pgno in range(1, 21) if not again.page(pgno).is_zero] == [2, 3, 4, 9]
