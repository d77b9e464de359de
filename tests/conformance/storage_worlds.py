"""Worlds that implement the storage part of the port, under one face.

A :class:`StorageWorld` runs programs as processes that mount one volume.  The tables at the
end say which world has which abilities: a volume of its own that can be filled, a sync that can
be made to fail, a dirty limit of its own.  Power losses and calls of the dead stay with the
simulated worlds: a real machine's power is not a test's to take, and a real process that is dead
makes no calls.

Paths below ``world.root`` are the suite's to use; the root exists and is empty.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from typing import TypeVar
from unittest import mock

import pytest

from replicator.board import Board
from replicator.capture import Capture, SpoolPolicy
from replicator.captured_volume import CapturedVolume
from replicator.host.volume import HostVolume
from replicator.host.world import HostRuntime
from replicator.runtime.port import Volume
from replicator.spool import Spool
from simulator.blocks import BLOCK_BYTES
from simulator.device import DiskModel
from simulator.host import Host, World, lose_everything
from simulator.testing import FakeWorld
from tests.kernel.worlds import seeded_hops
from tests.real_loop import RealLoop

T = TypeVar("T")
Program = Callable[[Volume], Awaitable[T]]


class StorageWorld:
    """One volume, and processes that use it."""

    root: str
    block_bytes: int
    """Granularity of space on the volume."""

    def run(self, program: Program[T]) -> T:
        """Run a program as the present process, to its end; raises what it raises."""
        raise NotImplementedError

    def mounted(self) -> Volume:
        """The volume as the present process has it."""
        raise NotImplementedError

    def kill_process(self) -> None:
        """The present process dies; what it holds stays in the hands of the dead."""
        raise NotImplementedError

    def start_process(self) -> None:
        """Start another process, beside the present one if that lives."""
        raise NotImplementedError

    def lose_power(self) -> None:
        """The power goes and takes all that was not synced; a process starts again."""
        raise NotImplementedError

    def fail_syncs(self, fail: bool) -> None:
        """Whether syncs of files and directories fail from now on."""
        raise NotImplementedError

    def dirty_bytes(self) -> int:
        """What is written on the volume and not yet on its medium."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the world holds."""


class SimulatedWorld(StorageWorld):
    """The emulated disk, in one of its metadata modes."""

    root = "/set"
    block_bytes = BLOCK_BYTES
    metadata = "ordered"

    def __init__(self, size_bytes: int = 1 << 30, dirty_limit_bytes: int = 1 << 28) -> None:
        self.world = World(network=False)
        self.machine = self.world.machine("machine")
        self.disk = self.machine.add_disk(
            "data",
            DiskModel(
                size_bytes=size_bytes, dirty_limit_bytes=dirty_limit_bytes, metadata=self.metadata
            ),
        )
        self.machine.add_disk("spool", DiskModel())
        self.start_process()
        self.run(self._make_root)

    async def _make_root(self, _volume: Volume) -> None:
        volume = self.host.volume("data")
        volume.mkdir(self.root)
        await volume.sync_directory("/")

    def _mount(self, host: Host) -> Volume:
        return host.volume("data")

    def run(self, program: Program[T]) -> T:
        async def body() -> T:
            return await program(self._volume)

        task = self.host.start(body(), "program")
        clock = self.world.clock
        clock.run_until_idle()
        assert task.done, "the program hangs"
        return task.result()

    def mounted(self) -> Volume:
        return self._volume

    def kill_process(self) -> None:
        self.machine.crash_process()

    def start_process(self) -> None:
        self.host = self.machine.start(f"process {self.machine.incarnations + 1}")
        self._volume = self._mount(self.host)

    def lose_power(self) -> None:
        self.machine.lose_power(lose_everything)
        self.start_process()

    def fail_syncs(self, fail: bool) -> None:
        self.disk.sync_fails = (lambda _path: True) if fail else None

    def dirty_bytes(self) -> int:
        return self.disk.dirty_bytes

    def close(self) -> None:
        self.world.close()


class AnyOrderWorld(SimulatedWorld):
    metadata = "any"


class FakeHostWorld(StorageWorld):
    """The host that the project hands to those who test coroutines of their own."""

    root = "/set"
    block_bytes = BLOCK_BYTES

    def __init__(self, size_bytes: int = 1 << 30, dirty_limit_bytes: int = 1 << 28) -> None:
        self.world = FakeWorld()
        self.host = self.world.host(size_bytes=size_bytes, dirty_limit_bytes=dirty_limit_bytes)
        self.host.volume.mkdir(self.root)
        self.host.run(self.host.volume.sync_directory("/"))

    def run(self, program: Program[T]) -> T:
        async def body() -> T:
            return await program(self.mounted())

        return self.host.run(body())

    def mounted(self) -> Volume:
        return self.host.volume

    def kill_process(self) -> None:
        self.host.kill()

    def start_process(self) -> None:
        if self.host.alive:
            self.host.start_beside()
        else:
            self.host.restart()

    def lose_power(self) -> None:
        self.host.lose_power()

    def fail_syncs(self, fail: bool) -> None:
        self.host.fail_syncs(fail)

    def dirty_bytes(self) -> int:
        return self.host.dirty_bytes

    def close(self) -> None:
        self.world.close()


class CapturedWorld(SimulatedWorld):
    """The emulated disk below capture: programs must not be able to tell."""

    policy = SpoolPolicy.RESYNCHRONIZE
    spool_limit_bytes = 16 << 20

    def _mount(self, host: Host) -> Volume:
        data, volume = host.volume("data"), host.volume("spool")
        directory = f"/spool-{host.incarnation}"
        volume.mkdir(directory)
        if not data.exists(self.root):
            data.mkdir(self.root)
        board = Board(volume, f"{directory}.board", host.boot_id)
        limit = self.spool_limit_bytes
        self.spool = Spool(volume, directory, board, "conformance", 1 << 20, limit)
        self.capture = Capture(host, data, self.root, self.spool, self.policy)
        self.capture.begin_epoch(host.incarnation)
        return CapturedVolume(self.capture)

    async def _make_root(self, _volume: Volume) -> None:
        await self.host.volume("data").sync_directory("/")


class HoldingWorld(CapturedWorld):
    policy = SpoolPolicy.HOLD


class StoppedCaptureWorld(CapturedWorld):
    """Capture that has stopped because the spool was full: it follows the names only."""

    def _mount(self, host: Host) -> Volume:
        volume = super()._mount(host)
        self.capture.stop("the suite wants it so")
        return volume


class HostWorld(StorageWorld):
    """Real files in a directory of this machine."""

    root = "/set"
    block_bytes = 4096
    hops: Callable[[], int] | None = None

    def __init__(self, dirty_limit_bytes: int = 1 << 28) -> None:
        self.dirty_limit_bytes = dirty_limit_bytes
        self.directory = tempfile.mkdtemp(prefix="host-world-")
        self._loop = RealLoop(self.hops)
        self._volumes: list[HostVolume] = []
        self._runtimes: list[HostRuntime] = []
        self._failing = [
            mock.patch.object(os, name, side_effect=_input_output_error)
            for name in ("fdatasync", "fsync")
        ]
        self._fails = False
        self._prepare()
        self.start_process()
        if not self._volume.exists(self.root):
            self._volume.mkdir(self.root)

    def _prepare(self) -> None:
        """Make the directory a volume of its own, where the world is of that kind."""

    def run(self, program: Program[T]) -> T:
        async def body() -> T:
            return await program(self.mounted())

        return self._loop.run(body())

    def mounted(self) -> Volume:
        return self._volume

    def kill_process(self) -> None:
        self._volume.close()

    def start_process(self) -> None:
        self._volume = HostVolume("data", self.directory, self._loop.loop, self.dirty_limit_bytes)
        self._volumes.append(self._volume)

    def fail_syncs(self, fail: bool) -> None:
        for each in self._failing:
            if fail and not self._fails:
                each.start()
            elif self._fails and not fail:
                each.stop()
        self._fails = fail

    def dirty_bytes(self) -> int:
        return self._volume.dirty_bytes

    def close(self) -> None:
        self.fail_syncs(False)
        self._loop.run_until(lambda: not any(each.workers.underway for each in self._volumes))
        for volume in self._volumes:
            volume.close()
            volume.workers.close()
            assert volume.workers.join()
        for runtime in self._runtimes:
            assert not runtime.close()
        self._loop.close()
        shutil.rmtree(self.directory)


def _input_output_error(_fd: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


class CapturedHostWorld(HostWorld):
    """Real files below capture, with seeded extra turns at each wake-up."""

    hops = staticmethod(seeded_hops(1))
    incarnation = 0

    def start_process(self) -> None:
        super().start_process()
        data, self.incarnation = self._volume, self.incarnation + 1
        if not data.exists("/spool"):
            data.mkdir("/spool")
            data.mkdir(self.root)
        directory = f"/spool/{self.incarnation}"
        data.mkdir(directory)
        runtime = HostRuntime(self._loop.loop, self.incarnation)
        self._runtimes.append(runtime)
        board = Board(data, f"{directory}.board", runtime.boot_id)
        spool = Spool(data, directory, board, "conformance", 1 << 20, 64 << 20)
        capture = Capture(runtime, data, self.root, spool, SpoolPolicy.RESYNCHRONIZE)
        capture.begin_epoch(self.incarnation)
        self._captured = CapturedVolume(capture)

    def mounted(self) -> Volume:
        return self._captured


class SmallHostWorld(HostWorld):
    """Real files on a file system in memory of a size that the test chooses.

    Skips where the test may not mount: elsewhere than on Linux and as root.
    """

    def __init__(self, size_bytes: int = 1 << 30, dirty_limit_bytes: int = 1 << 28) -> None:
        self.size_bytes = size_bytes
        super().__init__(dirty_limit_bytes)

    def _prepare(self) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.size_bytes}", "tmpfs"]
        try:
            subprocess.run([*command, self.directory], check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            self._loop.close()
            shutil.rmtree(self.directory)
            pytest.skip("mounting a small file system is not allowed here")

    def close(self) -> None:
        directory, self.directory = self.directory, tempfile.mkdtemp(prefix="host-world-")
        try:
            super().close()
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True, timeout=20)
            os.rmdir(directory)


_SIMULATED: tuple[type[SimulatedWorld], ...] = (
    SimulatedWorld,
    AnyOrderWorld,
    CapturedWorld,
    HoldingWorld,
    StoppedCaptureWorld,
)

_FAKE: tuple[type[FakeHostWorld], ...] = (FakeHostWorld,)

_HOST: tuple[type[HostWorld], ...] = (HostWorld, SmallHostWorld, CapturedHostWorld)

WORLDS: tuple[type[StorageWorld], ...] = (*_SIMULATED, *_FAKE, *_HOST)
"""All of them."""
SIMULATED: tuple[type[SimulatedWorld], ...] = _SIMULATED
"""Those whose dead still make calls, and have to be refused."""
POWERED: tuple[type[StorageWorld], ...] = (*_SIMULATED, *_FAKE)
"""Those that can lose their power."""
FAILING: tuple[type[StorageWorld], ...] = (*_SIMULATED, *_FAKE, *_HOST)
"""Those whose syncs can be made to fail."""
FILLABLE: tuple[type[StorageWorld], ...] = (*_SIMULATED, *_FAKE, SmallHostWorld)
"""Those with a volume and a dirty limit of a size that the test chooses."""
