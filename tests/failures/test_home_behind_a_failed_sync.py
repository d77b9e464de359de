"""A sync of home fails, and what would be applied again is lost: home is written once more.

Its pages read well from the cache, count as written, and no later sync writes them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.errors import NoSpace, SyncFailed
from replicator.home import HomeImage
from simulator.device import INSTANT
from simulator.host import lose_everything
from tests.disk.bench import Bench

PAGE = 8192
OLD = b"o" * PAGE + bytes(3 * PAGE)
NEW = b"n" * PAGE + bytes(PAGE) + b"m" * PAGE + bytes(PAGE) + b"end"
"""It grows, has zeros where the old one has none left to say, and no whole number of pages."""


def home_of(bench: Bench) -> HomeImage:
    return HomeImage(bench.volume, "/home")


def left_by_a_failed_sync() -> Bench:
    """Home as the next process of the machine finds it: read from the cache it is new."""
    bench = Bench(replace(INSTANT, sector_bytes=4096))
    bench.volume.mkdir("/home")
    bench.volume.mkdir("/home/sub")
    for path in ("/home/sub/db", "/home/other"):
        file = bench.volume.create(path)
        file.write_at(0, OLD)
        bench.wait(file.sync())
    for directory in ("/", "/home", "/home/sub"):
        bench.wait(bench.volume.sync_directory(directory))
    file = bench.volume.open("/home/sub/db")
    file.write_at(0, NEW)
    bench.disk.sync_fails = lambda path: path == "/home/sub/db"
    with pytest.raises(SyncFailed):
        bench.wait(file.sync())
    bench.disk.sync_fails = None
    bench.restart()
    assert bench.content("/home/sub/db") == NEW
    return bench


def test_written_again_and_synced_it_survives() -> None:
    bench = left_by_a_failed_sync()
    bench.wait(home_of(bench).write_again())
    bench.wait(home_of(bench).sync_all())
    bench.lose_power(lose_everything)
    assert bench.content("/home/sub/db") == NEW
    assert bench.content("/home/other") == OLD


def test_synced_alone_it_is_lost() -> None:
    bench = left_by_a_failed_sync()
    bench.wait(home_of(bench).sync_all())
    bench.lose_power(lose_everything)
    assert bench.content("/home/sub/db") != NEW


def test_it_changes_nothing_that_is_read_and_can_be_repeated() -> None:
    bench = left_by_a_failed_sync()
    for _ in range(2):
        bench.wait(home_of(bench).write_again())
        assert bench.content("/home/sub/db") == NEW
        assert bench.content("/home/other") == OLD


def test_a_sync_that_fails_again_is_told() -> None:
    bench = left_by_a_failed_sync()
    bench.disk.sync_fails = lambda path: path == "/home/sub/db"
    with pytest.raises(SyncFailed):
        bench.wait(home_of(bench).write_again())
    assert not issubclass(SyncFailed, NoSpace), "nobody waits for room after it"
