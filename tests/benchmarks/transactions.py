"""The small store under mail load, replicated: transactions a second of processor time."""

from __future__ import annotations

from simulator.exchange.load import LoadConfig
from simulator.exchange.small_store import SmallStoreConfig
from simulator.host import World
from simulator.workload import StoreWorkload
from tests.benchmarks.rig import Rig, no_collector
from tests.benchmarks.table import Table


def _run(message_bytes: int, seconds: int) -> tuple[float, int, int, int]:
    """Seconds of processor time, transactions, operations and bytes of a second of heavy load."""
    load = LoadConfig(
        messages_per_second=2000,
        message_size_bytes=message_bytes,
        smallest_bytes=min(256, message_bytes),
        compressible_share=0.5,
        retention_bytes=32 << 20,
    )
    with no_collector():
        world = World(seed=1)
        store = SmallStoreConfig(database_capacity_bytes=512 << 20)
        workload = StoreWorkload(store, load, world.random("load"))
        rig = Rig(workload, world)
        rig.system.until_ns = seconds * 1_000_000_000
        rig.start()
        cpu_s = rig.run_until_converged()
        ledger = workload.ledger
        assert ledger is not None
        truth = rig.system.truth
        answer = (cpu_s, ledger.acknowledged_messages, truth.instant, truth.written_bytes[-1])
        rig.world.close()
    return answer


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "The small store, replicated: committed transactions per second of processor time",
        [
            "median message",
            "transactions",
            "per second",
            "operations each",
            "us an operation",
            "MB/s",
        ],
    )
    seconds = 1 if quick else 4
    for name, size in (("2 KiB", 2048), ("24 KiB", 24 << 10)):
        cpu_s, transactions, operations, size_bytes = min(_run(size, seconds) for _ in range(2))
        result.add(
            name,
            transactions,
            transactions / cpu_s,
            operations / max(1, transactions),
            cpu_s / operations * 1e6,
            size_bytes / cpu_s / 1e6,
        )
    result.notes = [
        "2,000 messages a simulated second, sizes log-normal; store, ledger, truth and replica."
    ]
    return result
