"""Two emulated machines with an image each, a link, and nobody who writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from replicator.replica_options import ReplicaOptions
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.source import SourceOptions
from simulator.device import DiskModel
from simulator.host import World
from simulator.link import Link, LinkModel
from simulator.systems.byte_level import (
    REPLICA,
    REPLICA_ADDRESS,
    SENDER,
    SET_ID,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)

MS = 1_000_000
SECOND = 1_000_000_000
DISK = DiskModel(
    size_bytes=1 << 30, bytes_per_second=10**9, positioning_ns=10_000, sync_overhead_ns=100_000
)


class Writer:
    """Carries out steps at given pauses; does nothing without any."""

    root = "/data"
    ledger = None

    def __init__(self, steps: Iterable[Callable[[Volume], Any]] = (), pause_ns: int = MS) -> None:
        self._steps = list(steps)
        self._pause_ns = pause_ns

    async def run(self, _runtime: Runtime, volume: Volume, until_ns: int) -> None:
        while self._steps:
            await volume.admit(64 << 10)
            self._steps.pop(0)(volume)
            await sleep_ns(self._pause_ns)

    async def mounts(self, *_arguments: Any, **_named: Any) -> None:
        return None


class Bench:
    """The system, with images as they were before it was started."""

    def __init__(
        self,
        source: dict[str, bytes],
        replica: dict[str, bytes],
        writer: Writer | None = None,
        rtt_ns: int = MS,
        bits_per_second: int = 10**9,
        replica_disk_bytes: int = 1 << 30,
        sync_ns: int = DISK.sync_overhead_ns,
    ) -> None:
        self.world = World(seed=1)
        for name in (SOURCE, REPLICA):
            size_bytes = replica_disk_bytes if name == REPLICA else 1 << 30
            model = replace(DISK, size_bytes=size_bytes, sync_overhead_ns=sync_ns)
            self.world.machine(name).add_disk("data", model)
        self._preload(SOURCE, ["/data"], source)
        self._preload(REPLICA, ["/replica", "/replica/image"], replica)
        assert self.world.network is not None
        wire = LinkModel(bits_per_second=bits_per_second, rtt_ns=rtt_ns)
        self.link = self.world.network.add_link(Link(self.world.clock, SOURCE, REPLICA, wire))
        options = ByteLevelOptions(
            source=SourceOptions(SET_ID, SOURCE, REPLICA_ADDRESS, reconnect_ns=20 * MS),
            replica=ReplicaOptions(SET_ID, REPLICA, retry_ns=SECOND),
        )
        self.events: list[tuple[str, str, tuple[Any, ...]]] = []
        self.world.observers.append(lambda *event: self.events.append(event))
        self.system = ByteLevelSystem(self.world, writer or Writer(), options, 3600 * SECOND)
        self.system.start_replica()
        self.system.start_source()

    def _preload(self, name: str, directories: list[str], files: dict[str, bytes]) -> None:
        machine = self.world.machine(name)
        volume = machine.start("preload", networked=False).volume("data")

        async def load() -> None:
            for directory in directories:
                volume.mkdir(directory)
                await volume.sync_directory(directory.rpartition("/")[0] or "/")
            for path, data in files.items():
                file = volume.create(directories[-1] + path)
                file.write_at(0, data)
                await file.sync()
            await volume.sync_directory(directories[-1])

        machine.processes["preload"].start(load(), "preload")
        self.world.clock.run_until_idle()
        machine.end("preload")

    @property
    def wire_bytes(self) -> int:
        """Both directions."""
        return self.link.sent_bytes("to_a") + self.link.sent_bytes("to_b")

    def run(self, until: Callable[[], bool], seconds: float = 120, step_ns: int = MS) -> None:
        limit_ns = self.world.clock.now() + int(seconds * SECOND)
        while not until():
            assert self.world.clock.now() < limit_ns, "it takes too long"
            self.world.clock.run_until(self.world.clock.now() + step_ns)
            failed = [event for event in self.events if event[1] == "failed"]
            assert not failed, failed

    def converge(self) -> None:
        self.run(lambda: self.system.converged)

    def file(self, machine: str, path: str) -> bytes:
        root = "/data" if machine == SOURCE else "/replica/image"
        node = self.world.machine(machine).disks["data"].names.node(root + path)
        return bytes(node.read(0, node.size))  # type: ignore[union-attr]

    def restart_sender(self) -> None:
        self.world.machine(SOURCE).crash_process(SENDER)
        self.system.source = None
        self.system.start_source()

    def restart_replica(self, choose: Any = None) -> None:
        machine = self.world.machine(REPLICA)
        if choose is None:
            machine.crash_process()
        else:
            machine.lose_power(choose)
        self.system.replica = None
        self.system.start_replica()

    def close(self) -> None:
        self.world.close()
