"""A campaign: one scenario under many fault plans, on one core and through its process pool."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import xxhash
import zstandard

from simulator.campaign.executors import processors
from simulator.campaign.job import plan_number
from simulator.measures import RunResult
from simulator.payload import PayloadPool
from simulator.plans.draw import space_of
from simulator.plans.plan import FaultPlan
from simulator.prepared import PreparedScenario, prepare
from simulator.run import ScenarioRun
from simulator.scenario import Scenario, load_scenario
from tests.benchmarks.campaign_phases import PhaseSampler, shares
from tests.benchmarks.campaign_pool import CAMPAIGN_SEED, run_campaign
from tests.benchmarks.table import Table

NAME = "campaign"
SCENARIO = Path(__file__).resolve().parents[1] / "campaign/small.toml"
"""With the small store, whose figures go back furthest."""
AIM_MS = 20
"""A hundred plans a second on two cores."""
EXCHANGE = Path(__file__).resolve().parents[2] / "scenarios/campaign.toml"
NO_FAULTS = FaultPlan(format=1, seed=1, faults=())
_ALONE = 20
"""Runs that are not prepared, and rounds of the bare work, for comparison."""
_BATCH_OPERATIONS = 2
"""So many operations share a batch in this scenario, on the average."""
_HASHES = 7
"""Each byte is hashed at the least so often: twice for the image digests, five times in records."""


class _Row:
    """Measures one row: plans in this process, or a campaign with processes of its own."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def alone(self, what: str, prepared: PreparedScenario, plans: list[FaultPlan]) -> float:
        """Run plans in this process; returns milliseconds a plan."""
        operations = 0
        started = time.process_time()
        for plan in plans:
            operations += _run(prepared, plan).operations
        seconds = time.process_time() - started
        self._add(what, 1, len(plans), seconds, seconds, operations, _resident_mib())
        return seconds / len(plans) * 1e3

    def pool(self, what: str, scenario: Scenario, plans: int, workers: int) -> None:
        """Run plans in as many processes."""
        got = run_campaign(scenario, plans, workers)
        self._add(
            what,
            workers,
            got.plans,
            got.processor_seconds,
            got.seconds,
            got.operations,
            got.peak_mib,
        )

    def _add(
        self,
        what: str,
        cores: int,
        plans: int,
        processor_seconds: float,
        seconds: float,
        operations: int,
        mib: float,
    ) -> None:
        self._table.add(
            what,
            cores,
            plans,
            processor_seconds / plans * 1e3,
            plans / seconds,
            operations // plans,
            processor_seconds / operations * 1e6,
            mib,
            AIM_MS,
        )


def _run(prepared: PreparedScenario, plan: FaultPlan) -> RunResult:
    return prepared.run(plan.faults, fault_seed=plan.seed)


def _resident_mib() -> float:
    """What the process has in memory, of which all that is rubbish is given back first."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def _scenario(duration: str) -> Scenario:
    return load_scenario(SCENARIO, [f"duration={duration}"])


def _drawn(first: int, count: int, scenario: Scenario) -> list[FaultPlan]:
    """The plans of the campaign with seed 1, by their numbers."""
    space = space_of(scenario)
    return [plan_number(CAMPAIGN_SEED, number, space) for number in range(first, first + count)]


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "A campaign: one scenario under many fault plans",
        [
            *("what", "cores", "plans", "ms a plan", "plans/s"),
            *("operations", "us each", "MiB a process", "aim"),
        ],
    )
    row, usual = _Row(result), _scenario("4s")
    prepared = prepare(usual)
    unfaulted = _run(prepared, NO_FAULTS)
    rounds = 30 if quick else 150
    row.alone("no faults", prepared, [NO_FAULTS] * rounds)
    each_ms = row.alone("drawn plans", prepared, _drawn(0, rounds, usual))
    for duration in ("2s", "4s", "8s"):
        scenario = _scenario(duration)
        row.alone(f"drawn plans, {duration}", prepare(scenario), _drawn(0, rounds, scenario))
    exchange = load_scenario(EXCHANGE)
    prepared_exchange = prepare(exchange)
    row.alone("no faults, Exchange 2007", prepared_exchange, [NO_FAULTS] * rounds)
    row.alone("drawn plans, Exchange 2007", prepared_exchange, _drawn(0, rounds, exchange))
    first = 1_000
    for count in (50, 100, 200) if quick else (250, 500, 1_000):
        row.alone("drawn plans, more of them", prepared, _drawn(first, count, usual))
        first += count
    for count in (100,) if quick else (500, 1_000, 2_000):
        row.pool("a whole campaign", usual, count, processors())
    with PhaseSampler() as sampler:
        for plan in _drawn(0, rounds, usual):
            _run(prepared, plan)
    known = prepared.known
    result.notes = [
        "ms and us: processor time. One core: plans/s by that, MiB resident after the row. A whole "
        "campaign: plans/s by the wall clock; starting its workers included; MiB at the peak of "
        "a worker.",
        f"Phases of a drawn plan: {shares(sampler.phases, each_ms)}.",
        f"Parts of it: {shares(sampler.counts, each_ms)}.",
        f"Limit: to hash and compress what a run without faults writes takes "
        f"{_limit_ms(unfaulted):.2f} ms.",
        f"A run that is not prepared takes {_alone_ms(usual):.0f} ms, {_alone_ms(exchange):.0f} ms "
        "with Exchange 2007.",
        f"Remembered: {len(known.images):,} images with {known.images.weight:,} messages, "
        f"{known.packs.weight / 1e6:.1f} MB of packed batches, {len(known.verdicts):,} verdicts.",
    ]
    return result


def _limit_ms(unfaulted: RunResult) -> float:
    """Hashing and compressing alone, of as many operations of their mean size."""
    size = unfaulted.captured_bytes // unfaulted.operations
    pool = PayloadPool(0.5)
    payloads = [pool.take(number, size) for number in range(unfaulted.operations)]
    step = _BATCH_OPERATIONS
    batches = [b"".join(payloads[at : at + step]) for at in range(0, len(payloads), step)]
    pack, unpack = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()

    def work() -> None:
        for payload in payloads:
            for _ in range(_HASHES):
                xxhash.xxh3_128_digest(payload)
        for batch in batches:
            unpack.decompress(pack.compress(batch))

    started = time.process_time()
    for _ in range(_ALONE):
        work()
    return (time.process_time() - started) / _ALONE * 1e3


def _alone_ms(scenario: Scenario) -> float:
    started = time.process_time()
    for plan in _drawn(0, _ALONE, scenario):
        changes = {"faults": plan.faults, "fault_seed": plan.seed}
        ScenarioRun(scenario.model_copy(update=changes)).run()
    return (time.process_time() - started) / _ALONE * 1e3
