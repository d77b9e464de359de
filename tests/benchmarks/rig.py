"""A whole replicated system in which nothing but our own code takes time.

Two machines with instant disks and a link of 100 Gbit/s: programs write through truth,
capture, spool, protocol, journal and home, until the replica has applied it all.  What is
measured is the processor time of one process, with Python's cyclic collector off as in every run
of a scenario.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from replicator.replica_options import ReplicaOptions
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.source import SourceOptions
from simulator.device import INSTANT
from simulator.exchange.ledger import Ledger, LedgerVerdict
from simulator.host import World
from simulator.link import Link, LinkModel
from simulator.oracle import Oracle
from simulator.payload import PayloadPool
from simulator.systems.byte_level import (
    REPLICA,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)
from simulator.workload import Workload

PAGE_BYTES = 8192
SECOND_NS = 1_000_000_000
BURST = 64
"""Writes between two turns of the writer: programs let others run now and then."""
BURST_NS = 2_000_000
"""Simulated time between bursts: 32,000 writes a second, less than the processor time that
the replicator books for compression lets through, so that no backlog piles up."""
ROLL_EVERY = 4096
"""After so many writes the programs make a file and sync its directory, as a store does when
it rolls its log: a barrier at the replica.  It also lets the emulated file system forget
the freed segments of the spool, which it otherwise keeps for an undo for 30 s."""
_SET_ID = "benchmark"
_PATIENCE_NS = 3600 * SECOND_NS


def payloads(compressible_share: float, count: int = 2048) -> list[bytes]:
    """Different pages, made beforehand so that making them is not measured."""
    pool = PayloadPool(compressible_share)
    return [pool.take(number, PAGE_BYTES) for number in range(count)]


@contextmanager
def no_collector() -> Iterator[None]:
    """Switch the cyclic collector off for a while."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class PageWrites:
    """Writes ``operations`` pages at seeded places of one file of ``pages`` pages."""

    root = "/store"

    def __init__(self, data: list[bytes], operations: int, pages: int = 8192) -> None:
        chosen = random.Random("pages").choices(range(pages), k=min(operations, 65536))
        self._offsets = [number * PAGE_BYTES for number in chosen]
        self._data = data
        self._operations = operations
        self.finished = False

    @property
    def ledger(self) -> Ledger | None:
        return None

    async def run(self, runtime: Runtime, volume: Volume, until_ns: int) -> None:
        path = f"{self.root}/pages"
        file = volume.open(path) if volume.exists(path) else volume.create(path)
        offsets, data = self._offsets, self._data
        cycle, count = len(offsets), len(data)
        for number in range(self._operations):
            file.write_at(offsets[number % cycle], data[number % count])
            if number % BURST == BURST - 1:
                await volume.admit(BURST * PAGE_BYTES)
                await sleep_ns(BURST_NS)
                if number % ROLL_EVERY == ROLL_EVERY - 1:
                    volume.create(f"{self.root}/{number}.log").close()
                    await volume.sync_directory(self.root)
        self.finished = True

    async def mounts(
        self, runtime: Runtime, volume: Volume, root: str, floor: int | None = None
    ) -> LedgerVerdict | None:
        return None


class Rig:
    """The system, its world and its oracle.

    Arguments
    ---------
    workload: the source's programs.
    world: with disks that were prepared already; a new one when None.
    """

    def __init__(self, workload: Workload, world: World | None = None) -> None:
        self.world = World(seed=1) if world is None else world
        for name in (SOURCE, REPLICA):
            machine = self.world.machine(name)
            if not machine.disks:
                machine.add_disk("data", INSTANT)
        model = LinkModel(bits_per_second=100e9, rtt_ns=200_000, tcp_window_bytes=64 << 20)
        self.link = Link(self.world.clock, SOURCE, REPLICA, model)
        assert self.world.network is not None
        self.world.network.add_link(self.link)
        self.workload = workload
        options = ByteLevelOptions(
            source=SourceOptions(_SET_ID, SOURCE, f"{REPLICA}:7000"),
            replica=ReplicaOptions(_SET_ID, REPLICA),
        )
        self.system = ByteLevelSystem(self.world, workload, options, SECOND_NS)
        self.oracle = Oracle(self.system.truth, workload, self.system.recover, self.system.home)

    def start(self) -> None:
        """Boot both ends."""
        self.system.start_replica()
        self.system.start_source()

    def run_until_converged(self) -> float:
        """Run until the programs have ended and all is applied; returns the processor seconds."""
        clock, started = self.world.clock, time.process_time()
        while not (self.workload.finished and self.system.converged):
            clock.run_until(clock.now() + SECOND_NS // 100)
            for machine in self.world.machines.values():
                if machine.failure is not None:
                    raise machine.failure
            if clock.now() > _PATIENCE_NS:
                raise RuntimeError("the replica does not converge")
        return time.process_time() - started

    def kernel_steps(self) -> int:
        """Wake-ups of all tasks of the hosts that are up."""
        machines = self.world.machines.values()
        return sum(host.kernel.steps for m in machines for host in m.processes.values())

    def events(self) -> int:
        """Events that went over SimPy's heap so far (takes one number)."""
        return next(self.world.clock.env._eid)
