"""Worlds that implement the storage part of the port, under one face.

A :class:`StorageWorld` runs programs as processes that mount one volume.  A world of real
files becomes one more class and one more line in the tables at the end; it goes into those
tables whose abilities it has (a volume of its own that can be filled, a sync that can be
made to fail, a dirty limit of its own).

Paths below ``world.root`` are the suite's to use; the root exists and is empty.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from replicator.board import Board
from replicator.capture import Capture, CapturedVolume, SpoolPolicy
from replicator.runtime.port import Volume
from replicator.spool import Spool
from simulator.blocks import BLOCK_BYTES
from simulator.device import DiskModel
from simulator.host import Host, World, lose_everything

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
        """Whether syncs of files fail from now on."""
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

    def close(self) -> None:
        self.world.close()


class AnyOrderWorld(SimulatedWorld):
    metadata = "any"


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


_SIMULATED: tuple[type[SimulatedWorld], ...] = (
    SimulatedWorld,
    AnyOrderWorld,
    CapturedWorld,
    HoldingWorld,
    StoppedCaptureWorld,
)

WORLDS: tuple[type[StorageWorld], ...] = _SIMULATED
"""All of them."""
POWERED: tuple[type[StorageWorld], ...] = _SIMULATED
"""Those that can lose their power."""
FAILING: tuple[type[StorageWorld], ...] = _SIMULATED
"""Those whose syncs can be made to fail."""
FILLABLE: tuple[type[SimulatedWorld], ...] = _SIMULATED
"""Those with a volume and a dirty limit of a size that the test chooses."""
