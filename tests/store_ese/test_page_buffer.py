"""Pages in memory: what is read, what is dirty, and what is written."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from replicator.ese.errors import EseError
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.values import LogPosition
from simulator.exchange.ese.page_buffer import PageBuffer
from tests.store.memory_volume import Medium, MemoryFile, MemoryVolume
from tests.store_ese.engine_harness import FORMAT, PAGE_BYTES
from tests.store_ese.memory import run


def file_of(medium: Medium) -> MemoryFile:
    return MemoryVolume(medium).create("/mail.edb")


def sealed(pgno: int, dbtime: int) -> bytes:
    page = PageEditor(pgno, PAGE_BYTES)
    page.begin(7, int(FORMAT.page_flags))
    page.dbtime = dbtime
    return page.sealed_bytes()


def buffer_of(file: MemoryFile, limit_pages: int = 100) -> PageBuffer:
    return PageBuffer(file, FORMAT, limit_pages)  # type: ignore[arg-type]


def loaded(file: MemoryFile, limit_pages: int = 100) -> PageBuffer:
    buffer = buffer_of(file, limit_pages)
    coroutine: Coroutine[Any, Any, None] = buffer.load()
    run(coroutine)
    return buffer


def at(sector: int) -> LogPosition:
    return LogPosition(1, sector, 0)


def test_what_the_file_has_is_read_and_zero_pages_take_no_room() -> None:
    file = file_of(Medium())
    file.write_at(page_offset(3, PAGE_BYTES), sealed(3, 9))
    file.truncate(page_offset(6, PAGE_BYTES))
    buffer = loaded(file)
    assert len(buffer) == 1
    assert buffer.last_pgno == 5
    assert buffer.page(3).dbtime == 9
    assert buffer.page(4).is_zero


def test_a_damaged_page_is_told_with_its_place() -> None:
    file = file_of(Medium())
    data = bytearray(sealed(3, 9))
    data[100:140] = bytes(range(40))
    file.write_at(page_offset(3, PAGE_BYTES), bytes(data))
    with pytest.raises(EseError) as told:
        loaded(file)
    assert told.value.number == -1018
    assert (told.value.path, told.value.offset) == ("/mail.edb", page_offset(3, PAGE_BYTES))


def test_more_pages_than_may_be_in_memory_are_refused() -> None:
    file = file_of(Medium())
    file.truncate(page_offset(12, PAGE_BYTES))
    assert loaded(file, limit_pages=11).last_pgno == 11
    with pytest.raises(EseError) as told:
        loaded(file, limit_pages=10)
    assert told.value.number == -1011
    with pytest.raises(EseError) as beyond:
        loaded(file, limit_pages=11).page(12)
    assert beyond.value.number == -1808


def test_a_dirty_page_has_its_last_change_and_its_oldest_beginning() -> None:
    buffer = buffer_of(file_of(Medium()))
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
    assert len(loaded(volume.open("/mail.edb"))) == 4
