"""Made-up results of runs for the tests of reports: ordinary ones and awkward ones."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from simulator.measures import (
    Check,
    FaultMark,
    LossMeasure,
    RecoveryTime,
    RunResult,
    Samples,
    Verdict,
)

MIB = 2**20
LONG_PEAK_BYTES = 30 * 1024 * MIB
WEIRD = "<script>alert('x')</script> & \"$\\frac{1}{0}$\" \x1b[31m\x00 {{ 7*7 }} 日本語 ]]>"


def samples_of(count: int, step_seconds: float = 1.0) -> Samples:
    """A load in waves over a 10 Mbit/s link with two outages; the spool follows from them."""
    rng = random.Random(7)
    samples = Samples()
    spool = captured = wire = 0
    behind = 0.0
    for index in range(count):
        share = index / max(count - 1, 1)
        down = 0.25 <= share < 0.4 or 0.7 <= share < 0.73
        capacity = 0.0 if down else 1.25e6
        written = int(step_seconds * max(0.0, 4.5e5 * (1 + math.sin(share * 21)) * rng.random()))
        sent = min(spool + written, int(capacity * step_seconds))
        spool += written - sent
        captured, wire = captured + written, wire + sent
        behind = behind + step_seconds if down else max(0.06, behind - 2.2 * step_seconds)
        samples.time_seconds.append(index * step_seconds)
        samples.spool_bytes.append(spool)
        samples.journal_bytes.append(int(2e5 + 9e5 * rng.random() * (not down)))
        samples.lag_seconds.append(behind if spool or down else 0.06)
        samples.lag_operations.append(spool // 8192)
        samples.captured_bytes.append(captured)
        samples.wire_bytes.append(wire)
        samples.link_bytes_per_second.append(capacity)
        samples.source_state.append(
            "disconnected" if down else "catching up" if spool > 2e5 else "streaming"
        )
    return samples


def passing(count: int = 400) -> RunResult:
    """The quickstart's story: an outage, a power cut of the replica, the loss of the source."""
    samples = samples_of(count)
    end = samples.time_seconds[-1] if count else 400.0
    return RunResult(
        scenario="quickstart",
        description="A small store under load, replicated over 10 Mbit/s and 60 ms.",
        seed=1,
        verdict=Verdict.PASS,
        reasons=[],
        losses=[
            LossMeasure("link outage", 0.4 * end, 59.8, 21 * MIB, 2714, 190),
            LossMeasure("power_loss of replica", 0.55 * end, 0.9, 180_224, 22, 3),
            LossMeasure("loss of source", 0.96 * end, 3.2, 612_352, 75, 14),
        ],
        recovery=RecoveryTime(detect=30, decide=300, recover=41.5, mount=12.25, redirect=300),
        objectives={"rpo_seconds": (300.0, 3.2), "rto_seconds": (3600.0, 683.75)},
        checks=[Check("prefix", t, "sample", True) for t in range(40)]
        + [Check("mountable", 0.55 * end, "power_loss of replica", True)]
        + [Check("durable means durable", 0.55 * end, "power_loss of replica", True)]
        + [Check("mountable", end, "end of run", True)],
        faults=[
            FaultMark("partition", "link", 0.25 * end, 0.4 * end, "both ways"),
            FaultMark("power_loss", "replica", 0.55 * end, 0.58 * end, "in mid-apply"),
            FaultMark("partition", "link", 0.7 * end, 0.73 * end),
            FaultMark("loss", "source", 0.96 * end, None, "the machine does not come back"),
        ],
        samples=samples,
        spool_peak_bytes=max(samples.spool_bytes, default=0),
        spool_limit_bytes=64 * MIB,
        journal_peak_bytes=max(samples.journal_bytes, default=0),
        wire_bytes=samples.wire_bytes[-1] if count else 0,
        reverse_wire_bytes=91_744,
        captured_bytes=samples.captured_bytes[-1] if count else 0,
        operations=22_310,
        messages=1412,
        resynchronizations=0,
        prefix=(1, 22_235),
        trace_hash="7f3a9c0e5d1b4862a0c4e91d3f5b7788",
        wall_seconds=7.4,
        simulated_seconds=400.0 if count else 0.0,
    )


def safety_failure() -> RunResult:
    """Two invariants broken, the objective far below the lag, many checks."""
    good = passing(900)
    breaches = [
        Check("prefix", 512.0, "power_loss of replica", False, "image equals no operation k"),
        Check("prefix", 890.0, "end of run", False, "file 17 differs from byte 8,192 on"),
        Check("mountable", 890.0, "end of run", False, "page 4411 of priv1.edb: bad checksum"),
    ]
    return replace(
        good,
        scenario="mutant: apply before journal",
        verdict=Verdict.SAFETY,
        reasons=["prefix is broken at 512 s and 890 s", "the store does not mount"],
        checks=good.checks + breaches,
        objectives={"rpo_seconds": (2.0, 3.2), "spool_bytes": (1024.0, None)},
        faults=[
            *good.faults,
            *(
                FaultMark("one_way_partition", f"link {n}", 30.0 * n, 30.0 * n + 12)
                for n in range(28)
            ),
        ],
        simulated_seconds=900.0,
    )


def inconclusive() -> RunResult:
    """Ended early: nothing failed, nothing was judged."""
    return replace(
        passing(30),
        scenario="cut short",
        verdict=Verdict.INCONCLUSIVE,
        reasons=["the first synchronization had not ended when the time was up"],
        losses=[],
        recovery=None,
        objectives={"rpo_seconds": (300.0, None)},
        checks=[],
        faults=[],
        simulated_seconds=30.0,
        spool_limit_bytes=0,
    )


def enormous() -> RunResult:
    """Figures far beyond any real run."""
    base = passing(50)
    samples = Samples(
        time_seconds=[t * 1e9 for t in range(50)],
        spool_bytes=[10**30 + t for t in range(50)],
        journal_bytes=[10**28] * 50,
        lag_seconds=[1e-3 if t % 7 else 1e12 for t in range(50)],
        lag_operations=[10**25] * 50,
        captured_bytes=[t * 10**30 for t in range(50)],
        wire_bytes=[t * 10**30 for t in range(50)],
        link_bytes_per_second=[math.inf] * 50,
        source_state=[f"state {t}" for t in range(50)],
    )
    return replace(
        base,
        scenario="enormous",
        verdict=Verdict.UNRECOVERABLE,
        reasons=["x" * 3000],
        losses=[LossMeasure("loss of source", 4e10, 1e12, 10**31, 10**25, 10**24)],
        recovery=RecoveryTime(1e9, 1e10, 1e8, 0.0, 1e-7),
        objectives={"rpo_seconds": (5e-324, 1e12), "queue_depth": (1e300, 1e301)},
        samples=samples,
        spool_peak_bytes=10**30,
        spool_limit_bytes=10**40,
        operations=10**25,
        seed=2**63 - 1,
        simulated_seconds=4.9e10,
    )


def weird() -> RunResult:
    """Every text is an attack or a nuisance."""
    base = passing(120)
    base.samples.source_state = [f"{WEIRD}{i // 40}" for i in range(120)]
    return replace(
        base,
        scenario=WEIRD,
        description=WEIRD,
        verdict=Verdict.LIVENESS,
        reasons=[WEIRD],
        losses=[LossMeasure(WEIRD, 1.0, 2.0, 3, 4, None)],
        objectives={WEIRD: (1.0, 2.0)},
        checks=[Check(WEIRD, 1.0, WEIRD, False, WEIRD), Check("prefix", 2.0, "end", True)],
        faults=[FaultMark(WEIRD, WEIRD, 20.0, 40.0, WEIRD)],
        trace_hash=WEIRD,
        world=WEIRD,
        simulated_seconds=119.0,
    )


def long_run(count: int = 100_000) -> RunResult:
    """A week at one sample in six seconds, with thousands of faults."""
    base = passing(10)
    samples = samples_of(count, 6.0)
    samples.spool_bytes[61_803 % count] = LONG_PEAK_BYTES  # one sample wide: must not vanish
    end = samples.time_seconds[-1]
    rng = random.Random(3)
    starts = sorted(rng.uniform(0, end) for _ in range(2000))
    return replace(
        base,
        scenario="a week of bad days",
        verdict=Verdict.OBJECTIVE,
        reasons=["rpo_seconds is 25 h, wanted at most 5 min"],
        objectives={"rpo_seconds": (300.0, 90_000.0)},
        losses=[
            LossMeasure(f"crash {n} of replica", start, rng.uniform(0, 500), n * 8192, n)
            for n, start in enumerate(starts)
        ],
        faults=[
            FaultMark("reset", "link", start, start + rng.choice([0.0, 60.0, 900.0]))
            for start in starts
        ],
        samples=samples,
        spool_peak_bytes=LONG_PEAK_BYTES,
        spool_limit_bytes=32 * 1024 * MIB,
        journal_peak_bytes=max(samples.journal_bytes),
        simulated_seconds=end,
    )


ALL = {
    "passing": passing,
    "safety_failure": safety_failure,
    "inconclusive": inconclusive,
    "no_samples": lambda: passing(0),
    "one_sample": lambda: passing(1),
    "enormous": enormous,
    "weird": weird,
}
"""Maker of each small result by its name; :func:`long_run` takes longer."""
