"""The cache of pages under recovery: bounded, written in batches, never before it may be."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from replicator.ese.errors import EseError
from replicator.ese.page import PageFlag
from replicator.ese.page_cache import PageCache
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_io import RUN_BYTES
from replicator.ese.page_source import page_offset
from replicator.ese.verification import Verdict, judge_page
from replicator.runtime import Kernel
from simulator.runtime import SimClock
from tests.store.memory_volume import Medium, MemoryVolume

SIZE = 4096
LEAF = int(PageFlag.LEAF)


class World:
    """A cache over a file in memory, and what it did."""

    def __init__(self, limit_pages: int = 8, *, new_checksums: bool = True) -> None:
        self.clock = SimClock()
        self.kernel = Kernel(self.clock)
        self.volume = MemoryVolume(Medium(), None)
        self.file = self.volume.create("/db")
        self.held: set[int] = set()
        self.cache = PageCache(
            self.volume,
            self.file,
            SIZE,
            new_checksums=new_checksums,
            ready=self._ready,
            held=lambda pgno: pgno in self.held,
            limit_pages=limit_pages,
        )

    async def _ready(self) -> None:
        self.volume.steps.append("ready")

    def run(self, task: Coroutine[Any, Any, Any]) -> None:
        done = self.kernel.run_task(task, "cache")
        self.clock.run_until_idle()
        done.result()

    async def change(self, pgno: int) -> None:
        await self.cache.load([pgno], [pgno])
        self.cache.page(pgno).start(7, pgno, LEAF, b"page %d" % pgno)
        self.cache.changed(pgno)

    async def fill(self, count: int, then: Callable[[], None] = lambda: None) -> None:
        for pgno in range(1, count + 1):
            await self.change(pgno)
            then()

    @property
    def writes(self) -> list[str]:
        return [step for step in self.volume.steps if step.startswith(("write", "ready", "sync"))]

    def on_disk(self, pgno: int) -> bytes:
        async def read() -> None:
            found.append(await self.file.read_at(page_offset(pgno, SIZE), SIZE))

        found: list[bytes] = []
        self.run(read())
        return found[0]


def test_no_more_pages_than_the_limit_are_kept_and_none_is_lost() -> None:
    world, most = World(), 0

    def look() -> None:
        nonlocal most
        most = max(most, world.cache.cached_count)

    world.run(world.fill(100, look))
    world.run(world.cache.settle())
    assert most <= 8 + 2
    for pgno in range(1, 101):
        page = PageEditor.load(world.on_disk(pgno), pgno)
        assert page.external_header == b"page %d" % pgno
        assert judge_page(world.on_disk(pgno), pgno).verdict is Verdict.GOOD


def test_what_is_held_back_is_not_written_and_does_not_keep_others_back() -> None:
    world = World()
    world.held = set(range(1, 21))
    world.run(world.fill(40))
    assert world.cache.cached_count < 20 + 8 + 4
    with pytest.raises(ValueError, match="20 pages are held back"):
        world.run(world.cache.settle())
    assert not any(world.on_disk(7))
    assert any(world.on_disk(27))
    world.held.clear()
    world.run(world.cache.settle())
    assert any(world.on_disk(7))


def test_neighbours_go_out_together_when_all_is_ready() -> None:
    world = World(limit_pages=2000)
    run = RUN_BYTES // SIZE
    world.run(world.fill(run + 3))
    assert not world.writes
    world.run(world.change(500))
    world.run(world.cache.settle())
    assert world.writes == [
        "ready",
        f"write /db {page_offset(1, SIZE)} +{RUN_BYTES}",
        f"write /db {page_offset(1 + run, SIZE)} +{3 * SIZE}",
        f"write /db {page_offset(500, SIZE)} +{SIZE}",
        "sync /db",
    ]
    world.run(world.cache.write_out())  # nothing has changed since
    assert world.writes[-1] == "sync /db"


def test_a_damaged_page_is_refused_unless_it_is_made_anew() -> None:
    world = World()
    world.run(world.fill(3))
    world.run(world.cache.settle())
    world.file.write_at(page_offset(2, SIZE) + 50, b"?!")
    again = World()
    again.file.write_at(
        0, b"".join(bytes(2 * SIZE) if not n else world.on_disk(n) for n in range(4))
    )

    async def load(pgno: int, new: list[int]) -> None:
        await again.cache.load([pgno], new)

    with pytest.raises(EseError) as caught:
        again.run(load(2, []))
    assert (caught.value.number, caught.value.page) == (-1018, 2)
    assert (caught.value.path, caught.value.offset) == ("/db", page_offset(2, SIZE))
    again.run(load(2, [2]))
    assert again.cache.page(2).is_zero
    again.run(load(9, []))  # behind the end of the file
    assert again.cache.page(9).is_zero
    with pytest.raises(EseError, match="names page 0"):
        again.run(load(0, []))


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 2), (2, 3), (3, 1)])
def test_each_write_takes_the_next_flush_type(before: int, after: int) -> None:
    world = World()
    world.run(world.change(1))
    world.cache.page(1).flags |= before << 15
    world.run(world.cache.settle())
    flags = PageEditor.load(world.on_disk(1), 1).flags
    assert flags >> 15 & 3 == after


@pytest.mark.parametrize("new", [True, False])
def test_pages_get_the_checksum_of_the_format(new: bool) -> None:
    world = World(new_checksums=new)
    world.run(world.change(1))
    world.run(world.cache.settle())
    data = world.on_disk(1)
    assert bool(PageEditor.load(data, 1).flags & PageFlag.NEW_CHECKSUM) is new
    assert judge_page(data, 1).verdict is Verdict.GOOD


def test_a_page_for_which_the_volume_has_no_room_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record may name any page; a hole in the file would hide that the volume is too small."""
    monkeypatch.setattr(MemoryVolume, "free_bytes", lambda _volume: 100 * SIZE)
    world = World()
    world.run(world.fill(3))
    world.run(world.change(200))
    with pytest.raises(EseError, match="there is no room") as told:
        world.run(world.cache.write_out())
    assert told.value.number == -1808
    assert not any(step.startswith("write") for step in world.volume.steps)
    monkeypatch.setattr(MemoryVolume, "free_bytes", lambda _volume: 202 * SIZE)
    world.run(world.cache.settle())
    assert any(world.on_disk(200))


def test_pages_that_nobody_has_looked_at_are_counted() -> None:
    world = World()
    world.run(world.fill(20))
    world.run(world.cache.settle())
    world.cache = PageCache(
        world.volume,
        world.file,
        SIZE,
        new_checksums=True,
        ready=world._ready,
        held=lambda _pgno: False,
        limit_pages=4,
    )
    assert (world.cache.page_count, world.cache.unread_count) == (20, 20)
    for pgnos in ([1], [8, 9], [20, 9]):  # one of them twice, and forgotten meanwhile
        world.run(world.cache.load(pgnos))
    world.run(world.cache.load([2, 3, 4, 5]))
    world.run(world.cache.load([1]))
    assert world.cache.read_count == 9
    assert world.cache.unread_count == 20 - len({1, 8, 9, 20, 2, 3, 4, 5})
    world.run(world.change(25))  # the file grows: what was made just now is nothing unread
    world.run(world.cache.settle())
    assert (world.cache.page_count, world.cache.unread_count) == (25, 12)
    world.file.truncate(page_offset(11, SIZE))
    assert (world.cache.page_count, world.cache.unread_count) == (10, 10 - 7)
