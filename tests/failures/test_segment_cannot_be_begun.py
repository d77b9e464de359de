"""A new segment's file is made, and its header cannot be written: the next attempt finds no trace.

One log serves the spool and the journal; here it is driven by itself, on an emulated disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replicator.errors import NoSpace, StorageError
from replicator.journal import LogKind, SegmentedLog
from replicator.records import RecordType
from replicator.runtime.port import Buffer, File, Volume
from simulator.host import World
from tests.failures.worlds import FAST, KIB, counted_handles

Fails = Callable[[int, Any], int]


def refuses(_calls: int, _write: Any) -> int:
    raise StorageError("input/output error", path="/log")


def is_cut_short(_calls: int, write: Any) -> int:
    return int(write()) - 1


class FailingFile:
    """A file whose n-th write fails."""

    def __init__(self, file: File, nth: int, fails: Fails) -> None:
        self._file, self._left, self._fails = file, nth, fails

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        self._left -= 1
        if self._left:
            return self._file.write_at(offset, *buffers)
        return self._fails(self._left, lambda: self._file.write_at(offset, *buffers))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class FailingVolume:
    """A volume on which the next file that is made fails."""

    def __init__(self, volume: Volume, nth: int, fails: Fails) -> None:
        self._volume, self._nth, self._fails = volume, nth, fails
        self.armed = False

    def create(self, path: str) -> Any:
        made = self._volume.create(path)
        if not self.armed:
            return made
        self.armed = False
        return FailingFile(made, self._nth, self._fails)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volume, name)


@pytest.mark.parametrize("nth", [1, 2], ids=["header", "preamble"])
@pytest.mark.parametrize("fails", [refuses, is_cut_short], ids=lambda fails: fails.__name__)
def test_the_log_goes_on_when_that_is_over(nth: int, fails: Fails) -> None:
    world = World(network=False)
    machine = world.machine("machine")
    machine.add_disk("data", FAST)
    host = machine.start()
    with counted_handles() as handles:
        plain = host.volume("data")
        plain.mkdir("/log")
        volume = FailingVolume(plain, nth, fails)
        log = SegmentedLog(
            volume,  # type: ignore[arg-type]
            "/log",
            LogKind.SPOOL,
            "set",
            64 * KIB,
            1024 * KIB,
            lambda: b"the names",
        )
        record = bytes(40 * KIB)
        log.append(RecordType.BATCH, 1, 1, 0, b"", record)
        before, used = plain.list("/log"), log.used_bytes
        for _attempt in range(3):
            volume.armed = True
            with pytest.raises(StorageError) as failed:
                log.append(RecordType.BATCH, 1, 2, 0, b"", record)
            assert isinstance(failed.value, NoSpace) == (fails is is_cut_short)
            assert (plain.list("/log"), log.used_bytes) == (before, used)
            assert handles.open["machine"] == 1
        log.append(RecordType.BATCH, 1, 2, 0, b"", record)
        seen: list[int] = []
        again = SegmentedLog(plain, "/log", LogKind.SPOOL, "set", 64 * KIB, 1024 * KIB)
        task = host.kernel.run_task(again.recover(lambda r, _: seen.append(r.sequence)), "recover")
        world.clock.run_until_idle()
        assert task.result() is None
        assert seen[-1] == 2 and 1 in seen
    world.close()
