"""A sync fails while a synchronization becomes the image: the next process does all of it again.

It finds the files as the cache shows them, sizes included.  What of that the medium has, nobody
can tell: so each size is set once more, and not only where it looks wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from replicator.catalogue import Catalogue, Entry
from replicator.errors import SyncFailed
from replicator.home import HomeImage
from replicator.runtime.port import EntryKind
from simulator.device import INSTANT
from simulator.host import lose_everything
from tests.disk.bench import Bench
from tests.tools.lazy_truncate import truncate_where_it_looks_wrong

PAGE = 8192
SIZE = 9 * PAGE


async def pages() -> AsyncIterator[tuple[int, int, int, bytes]]:
    """What differs: the first page.  The zeros behind it come with the size."""
    yield 1, 0, PAGE, b"n" * PAGE


def rebuild(bench: Bench) -> None:
    wanted = Catalogue()
    wanted.add("/db", Entry(EntryKind.FILE, 1, size_bytes=SIZE))
    home = HomeImage(bench.volume, "/home")
    bench.wait(home.rebuild(wanted, pages(), ()))


def rebuilt_after_a_failed_sync() -> bytes:
    """The file after that, and a power loss that takes all that was not durable."""
    bench = Bench(replace(INSTANT, sector_bytes=4096))
    bench.volume.mkdir("/home")
    bench.wait(bench.volume.sync_directory("/"))
    file = bench.volume.create("/home/db")
    file.write_at(0, b"o" * PAGE)
    bench.wait(file.sync())
    bench.wait(bench.volume.sync_directory("/home"))
    bench.disk.sync_fails = lambda path: path == "/home/db"
    with pytest.raises(SyncFailed):
        rebuild(bench)
    bench.disk.sync_fails = None
    bench.restart()
    rebuild(bench)
    bench.lose_power(lose_everything)
    return bench.content("/home/db")


def test_the_image_is_whole_after_the_next_start() -> None:
    assert rebuilt_after_a_failed_sync() == b"n" * PAGE + bytes(SIZE - PAGE)


def test_a_size_that_is_set_only_where_it_looks_wrong_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truncate_where_it_looks_wrong(monkeypatch)
    assert len(rebuilt_after_a_failed_sync()) < SIZE
