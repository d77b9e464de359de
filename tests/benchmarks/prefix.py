"""The prefix check beside the size of the store: 1,000 dirty pages, however large the rest."""

from __future__ import annotations

import time

from replicator.runtime import sleep_ns
from simulator.device import INSTANT
from simulator.host import World, lose_everything, seeded_choice
from simulator.systems.byte_level import REPLICA, REPLICA_ROOT, SOURCE
from tests.benchmarks.rig import PAGE_BYTES, PageWrites, Rig, no_collector, payloads
from tests.benchmarks.table import Table

DIRTY_PAGES = 1000
_CHUNK = 4096


def _prepare(world: World, machine_name: str, directory: str, pages: int) -> None:
    """Write the store's file, all pages of it, and make it durable."""
    machine = world.machine(machine_name)
    machine.add_disk("data", INSTANT)
    host = machine.start()
    volume, data = host.volume("data"), payloads(0.5)

    async def fill() -> None:
        path = ""
        for name in directory.split("/")[1:]:
            path += f"/{name}"
            volume.mkdir(path)
        file = volume.create(f"{path}/pages")
        for number in range(pages):
            file.write_at(number * PAGE_BYTES, data[number % len(data)])
            if number % _CHUNK == _CHUNK - 1:
                await file.sync()
        await file.sync()
        while path:
            await volume.sync_directory(path)
            path = path.rpartition("/")[0]
        await sleep_ns(1)

    host.start(fill(), "fill")
    world.clock.run_until(world.clock.now() + 1_000_000_000)
    if host.failure is not None:
        raise host.failure
    machine.crash_process()


def _checks(pages: int) -> tuple[float, float, float]:
    """Seconds of: synchronizing, a check that lost everything, a check of a torn cache."""
    with no_collector():
        world = World(seed=1)
        _prepare(world, SOURCE, PageWrites.root, pages)
        _prepare(world, REPLICA, f"{REPLICA_ROOT}/image", pages)
        rig = Rig(PageWrites(payloads(0.5), DIRTY_PAGES, pages), world)
        rig.start()
        synchronized_s = rig.run_until_converged()
        disks = rig.system.replica_machine.disks
        times = []
        for choose in (lose_everything, seeded_choice("torn")):
            best = float("inf")
            for _ in range(5):
                started = time.process_time()
                verdict = rig.oracle.examine(disks, choose, False)
                best = min(best, time.process_time() - started)
                if not verdict.prefix or verdict.operation < DIRTY_PAGES:
                    raise RuntimeError(f"not a prefix: {verdict.detail}")
            times.append(best)
        rig.world.close()
    return synchronized_s, times[0], times[1]


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        f"Prefix check with {DIRTY_PAGES:,} dirty pages at the replica",
        ["store MiB", "check ms, cache lost", "check ms, cache torn", "aim ms", "first sync s"],
    )
    for mib in (64, 1024) if quick else (64, 1024, 8192):
        synchronized_s, lost_s, torn_s = _checks(mib * (1 << 20) // PAGE_BYTES)
        result.add(mib, lost_s * 1e3, torn_s * 1e3, 20, synchronized_s)
    result.notes = [
        "A check forks the disks, lets the power fail, runs the replica's own recovery (redo of "
        "the pages from the journal) and compares the digest. Best of five. The last column "
        "is the first synchronization, which compares every block, and the writes after it.",
    ]
    return result
