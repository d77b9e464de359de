"""A whole replicated system in which nothing but our own code takes time.

Two machines with instant disks and a link of 100 Gbit/s: the programs write aligned pages
through truth, capture, spool, protocol, journal and home, until the replica has applied
them all.  What is measured is the real time of one process.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from replicator.replica_store import ReplicaOptions
from replicator.runtime.kernel import sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.source import SourceOptions
from simulator.device import INSTANT
from simulator.exchange.ledger import Ledger, LedgerVerdict
from simulator.host import World, lose_everything
from simulator.link import Link, LinkModel
from simulator.oracle import ImageVerdict, Oracle
from simulator.payload import PayloadPool
from simulator.systems.byte_level import (
    REPLICA,
    REPLICA_ROOT,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)

PAGE_BYTES = 8192
BURST = 16
"""Writes between two turns of the writer: the programs let others run now and then."""
BURST_NS = 500_000
"""Simulated time between bursts: 32,000 writes a second, less than the processor time that
the replicator books for compression lets through, so that no backlog piles up."""
ROLL_EVERY = 4096
"""After so many writes the programs make a file and sync its directory, as a store does when
it rolls its log: a barrier at the replica.  It also lets the emulated file system forget
the freed segments of the spool, which it otherwise keeps for an undo for 30 s."""
SECOND_NS = 1_000_000_000


def payloads(compressible_share: float, count: int = 2048) -> list[bytes]:
    """Different pages, made beforehand so that making them is not measured."""
    pool = PayloadPool(compressible_share)
    return [pool.take(number, PAGE_BYTES) for number in range(count)]


@contextmanager
def no_collector() -> Iterator[None]:
    """The cyclic collector off, as in every run of a scenario."""
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
        file = volume.create(f"{self.root}/pages")
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


@dataclass(frozen=True, slots=True)
class RigResult:
    """One run of the rig."""

    operations: int
    seconds: float
    examination_seconds: float
    verdict: ImageVerdict
    wire_bytes: int
    captured_bytes: int
    kernel_steps: int
    sim_events: int
    trace_hash: str


def replicate(data: list[bytes], operations: int) -> RigResult:
    """Replicate so many page writes end to end and examine the replica's image."""
    with no_collector():
        world = World(seed=1)
        for name in (SOURCE, REPLICA):
            world.machine(name).add_disk("data", INSTANT)
        model = LinkModel(
            bits_per_second=100e9, rtt_ns=200_000, tcp_window_bytes=64 << 20
        )
        link = Link(world.clock, SOURCE, REPLICA, model)
        assert world.network is not None
        world.network.add_link(link)
        workload = PageWrites(data, operations)
        options = ByteLevelOptions(
            source=SourceOptions("pages", SOURCE, f"{REPLICA}:7000"),
            replica=ReplicaOptions("pages", REPLICA),
        )
        system = ByteLevelSystem(world, workload, options, 0)
        oracle = Oracle(
            system.truth, workload, system.open_store, "data", f"{REPLICA_ROOT}/image"
        )
        started = time.perf_counter()
        system.start_replica()
        system.start_source()
        clock = world.clock
        while not (workload.finished and system.converged):
            clock.run_until(clock.now() + SECOND_NS // 100)
            hosts = [machine.host for machine in world.machines.values()]
            failures = [host.failure for host in hosts if host is not None and host.failure]
            if failures or clock.now() > 60 * SECOND_NS:
                raise RuntimeError(f"the rig does not converge: {failures}")
        replicated = time.perf_counter()
        verdict = oracle.examine(system.replica_machine.disks, lose_everything, False)
        ended = time.perf_counter()
        hosts = [machine.host for machine in world.machines.values()]
        result = RigResult(
            operations,
            replicated - started,
            ended - replicated,
            verdict,
            system.wire_bytes(link)[0],
            system.truth.written_bytes[-1],
            sum(host.kernel.steps for host in hosts if host is not None),
            next(world.clock.env._eid),
            world.trace.digest(),
        )
        world.close()
    if not verdict.prefix or verdict.operation < operations:
        raise RuntimeError(f"the replica does not hold a prefix: {verdict.detail}")
    if system.truth.breaches:
        raise RuntimeError(f"capture broke its promise: {system.truth.breaches[:3]}")
    return result
