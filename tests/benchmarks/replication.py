"""Page writes replicated end to end: operations a second, and whether cost is linear."""

from __future__ import annotations

import time
from dataclasses import dataclass

from simulator.host import lose_everything
from simulator.payload import PayloadPool
from tests.benchmarks.rig import PAGE_BYTES, PageWrites, Rig, no_collector, payloads
from tests.benchmarks.table import Table, best_seconds

PAGE_LIKE, INCOMPRESSIBLE = "page-like 2:1", "incompressible"
SHARES = {PAGE_LIKE: 0.5, INCOMPRESSIBLE: 0.0}
AIMS = {PAGE_LIKE: 20_000, INCOMPRESSIBLE: 40_000}


@dataclass(frozen=True, slots=True)
class Replicated:
    """One run of the rig."""

    seconds: float
    examination_seconds: float
    wire_share: float
    steps: int
    events: int


def replicate(data: list[bytes], operations: int) -> Replicated:
    """Replicate so many writes; raises RuntimeError when the oracle finds a breach."""
    with no_collector():
        rig = Rig(PageWrites(data, operations))
        rig.start()
        seconds = rig.run_until_converged()
        started = time.process_time()
        disks = rig.system.replica_machine.disks
        verdict = rig.oracle.examine(disks, lose_everything, False)
        examination_seconds = time.process_time() - started
        written = rig.system.truth.written_bytes[-1]
        result = Replicated(
            seconds,
            examination_seconds,
            rig.system.wire_bytes(rig.link)[0] / written,
            rig.kernel_steps(),
            rig.events(),
        )
        rig.world.close()
    if not verdict.prefix or verdict.operation < operations or rig.system.truth.breaches:
        raise RuntimeError(f"not a prefix: {verdict.detail} {rig.system.truth.breaches[:3]}")
    return result


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "Replicated operations, 8 KiB aligned, end to end, one core",
        [
            "payload",
            "operations",
            "per second",
            "aim",
            "us each",
            "MB/s",
            "wire/data",
            "wakes each",
            "events each",
            "final check ms",
        ],
    )
    counts = (10_000, 20_000) if quick else (10_000, 50_000, 200_000)
    for name, share in SHARES.items():
        data = payloads(share)
        for count in counts:
            runs = [replicate(data, count) for _ in range(3 if count <= 50_000 else 1)]
            best = min(runs, key=lambda run: run.seconds)
            result.add(
                name,
                count,
                count / best.seconds,
                AIMS[name],
                best.seconds / count * 1e6,
                count * PAGE_BYTES / best.seconds / 1e6,
                best.wire_share,
                best.steps / count,
                best.events / count,
                best.examination_seconds * 1e3,
            )
    pool = PayloadPool(0.5)
    take_s = best_seconds(lambda: [pool.take(n, PAGE_BYTES) for n in range(4096)]) / 4096
    result.notes = [
        "Processor time; truth and digest of each operation included; instant disks, 100 Gbit/s; "
        "best of three (200,000: one run). The final check recovers a copy of the replica after "
        "a power loss and compares it.",
        f"Making a payload is not included: {take_s * 1e6:.2f} us.",
    ]
    return result
