"""Real files: a log of thousands of segments where a process may have a few dozen files open."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from replicator import open_segments
from replicator.errors import StorageError
from replicator.host.volume import HostVolume
from replicator.host.writeback import CLOSED_FILES_LIMIT
from replicator.journal import LogKind, SegmentedLog
from replicator.open_segments import MOST_OPEN_SEGMENTS
from replicator.records import RecordType
from tests.real_loop import RealLoop

SEGMENTS = 2000
SEGMENT = 1 << 10
RECORD = bytes(600)
"""One in each segment."""
FEW = 64
NO_BOUND = 1 << 30


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """No more than so many files can be opened beside those that are."""
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    limit = free = 0
    while free < count:
        free += limit not in used
        limit += 1
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: removing thousands of files takes some disks long."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=where) as directory:
        yield Path(directory)


@pytest.fixture(autouse=True)
def _quick_syncs() -> Iterator[None]:
    """What the disk of this machine does is not what these tests are about."""
    with (
        mock.patch.object(os, "fdatasync", lambda _fd: None),
        mock.patch.object(os, "fsync", lambda _fd: None),
    ):
        yield


def log_over(volume: HostVolume) -> SegmentedLog:
    return SegmentedLog(volume, "/log", LogKind.JOURNAL, "set", SEGMENT, 64 << 20)


def append(log: SegmentedLog, number: int) -> None:
    log.append(RecordType.BATCH, 1, number, number - 1, b"", RECORD)


async def filled(volume: HostVolume, segments: int) -> SegmentedLog:
    volume.mkdir("/log")
    log = log_over(volume)
    for number in range(1, segments + 1):
        if log.crowded:
            await log.sync()
        append(log, number)
    await log.sync()
    assert len(log.segments) == segments
    return log


async def records(log: SegmentedLog) -> int:
    count, position = 0, log.start
    while (found := await log.read(position, log.end, 1 << 20))[0]:
        count, position = count + 1, found[2]
    return count


async def whole_life(volume: HostVolume, segments: int) -> None:
    log = await filled(volume, segments)
    assert await records(log) == segments
    log.close()
    log = log_over(volume)
    assert await log.recover(lambda _record, _position: None) is None
    await log.write_again()
    await log.sync()
    assert await records(log) == log.sequence == segments
    append(log, segments + 1)
    assert log.free_through(segments)
    assert volume.list("/log") == [log.segments[0].path.removeprefix("/log/")]
    log.close()


def test_a_journal_lives_with_few_descriptors(real: RealLoop, volume: HostVolume) -> None:
    with descriptors(FEW):
        real.run(whole_life(volume, SEGMENTS))


@pytest.mark.parametrize("bound", ["MOST_OPEN_SEGMENTS", "MOST_UNSYNCED_SEGMENTS"])
def test_without_a_bound_they_run_out(
    bound: str, real: RealLoop, volume: HostVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_segments, bound, NO_BOUND)
    with descriptors(FEW), pytest.raises(StorageError) as failed:
        real.run(whole_life(volume, 2 * FEW))
    assert isinstance(failed.value.__cause__, OSError)
    assert "open files" in str(failed.value), "this test means nothing"


async def captured(volume: HostVolume, directory: str, segments: int) -> None:
    """What a program's writes do to the spool: nobody syncs it, and all wait for admission."""
    volume.mkdir(directory)
    log = SegmentedLog(volume, directory, LogKind.SPOOL, "set", SEGMENT, 64 << 20, is_synced=False)
    for number in range(1, segments + 1):
        await volume.admit(len(RECORD))
        append(log, number)
    assert len(log.segments) == segments
    log.close()


def test_a_spool_lives_with_few_descriptors(
    real: RealLoop, volume: HostVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files that were closed and are not written back yet are the volume's own to bound.
    enough = CLOSED_FILES_LIMIT + MOST_OPEN_SEGMENTS + 8
    with descriptors(enough):
        real.run(captured(volume, "/spool", SEGMENTS // 4))
    monkeypatch.setattr(open_segments, "MOST_OPEN_SEGMENTS", NO_BOUND)
    with descriptors(enough), pytest.raises(StorageError) as failed:
        real.run(captured(volume, "/another", 2 * enough))
    assert "open files" in str(failed.value), "this test means nothing"
