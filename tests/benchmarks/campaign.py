"""A campaign: one scenario under many fault plans, on one core."""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from simulator.fault_marks import Fault
from simulator.prepared import PreparedScenario, prepare
from simulator.run import ScenarioRun
from simulator.scenario import (
    LinkBandwidth,
    LinkOutage,
    LinkReset,
    Pause,
    PowerLoss,
    ProcessCrash,
    Scenario,
    load_scenario,
)
from tests.benchmarks.shares import Sampler
from tests.benchmarks.table import Table

NAME = "campaign"
SCENARIO = Path(__file__).resolve().parents[2] / "scenarios/campaign.toml"
AIM_MS = 20
"""A hundred plans a second on two cores."""
MS_NS = 1_000_000
_ALONE = 20
"""Runs that are not prepared, for comparison."""
Plan = tuple[Fault, ...]

_PARTS = {
    "the judge": ("simulator/oracle.py",),
    "programs: the store and its load": (
        "simulator/workload.py",
        "exchange/load.py",
        "exchange/small_store.py",
    ),
    "sender": ("replicator/source.py", "replicator/source_session.py"),
    "replica": ("replicator/replica.py", "replicator/replica_store.py", "replica_session.py"),
    "keeper of the history, recovery of the source": (
        "replicator/history.py",
        "replicator/capture_lock.py",
    ),
    "link": ("simulator/link.py", "simulator/stream.py", "simulator/network.py"),
    "sampling": ("simulator/sampling.py",),
    "making a world": ("simulator/scenario_world.py", "simulator/faults.py"),
    "record": ("simulator/run_record.py", "simulator/objectives.py"),
}
"""Parts of a run, by who stands highest among the callers: disks, digests and records count for
whoever uses them."""


class PartSampler(Sampler):
    """Charges each sample to the part of a run in whose course it was taken."""

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        outermost = "kernel, clock, rest"
        while frame is not None:
            for part, names in _PARTS.items():
                if frame.f_code.co_filename.endswith(names):
                    outermost = part
            frame = frame.f_back
        self.counts[outermost] += 1


def drawn_plan(number: int, duration_ns: int) -> Plan:
    """One to five faults in the course of a run, drawn by the plan's number."""
    draw = random.Random(number)
    plan: list[Fault] = []
    for _fault in range(draw.randint(1, 5)):
        kind = draw.choice([LinkOutage, LinkReset, LinkBandwidth, Pause, PowerLoss, ProcessCrash])
        values = {
            "at_ns": draw.randrange(duration_ns),
            "host": draw.choice(["source", "replica"]),
            "duration_ns": draw.randint(10, 900) * MS_NS,
            "bits_per_second": 500_000,
            "when": draw.choice([None, "apply", "checkpoint"]),
        }
        wanted = {name: values[name] for name in kind.model_fields if name in values}
        name = kind.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        plan.append(kind.model_construct(kind=name, **wanted))
    return tuple(plan)


def _seconds(prepared: PreparedScenario, plans: list[tuple[Plan, int]]) -> tuple[float, int]:
    """Processor seconds of all plans, with their seeds, and the operations in them."""
    operations = 0
    started = time.process_time()
    for plan, seed in plans:
        operations += prepared.run(plan, seed).operations
    return time.process_time() - started, operations


def _resident_mib() -> float:
    """What the process has in memory, of which all that is rubbish is given back first."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def _scenario(duration: str) -> Scenario:
    return load_scenario(SCENARIO, [f"duration={duration}"])


def table(quick: bool) -> Table:
    """The table."""
    result = Table(
        "A campaign: one scenario under many fault plans, one core",
        ["what", "plans", "ms a plan", "plans/s", "operations", "us each", "MiB more", "aim"],
    )

    def add(what: str, prepared: PreparedScenario, plans: list[tuple[Plan, int]]) -> None:
        before_mib = _resident_mib()
        seconds, operations = _seconds(prepared, plans)
        count = len(plans)
        result.add(
            what,
            count,
            seconds / count * 1e3,
            count / seconds,
            operations // count,
            seconds / operations * 1e6,
            _resident_mib() - before_mib,
            AIM_MS,
        )

    usual = _scenario("4s")

    def drawn(first: int, count: int, scenario: Scenario = usual) -> list[tuple[Plan, int]]:
        return [(drawn_plan(n, scenario.duration_ns), 1) for n in range(first, first + count)]

    prepared = prepare(usual)
    prepared.run((), 1)
    rounds = 30 if quick else 100
    add("no faults", prepared, [((), 1)] * rounds)
    add("1 to 5 faults", prepared, drawn(0, rounds))
    of_their_own = [(plan, seed) for seed, (plan, _one) in enumerate(drawn(0, rounds))]
    add("1 to 5 faults, each with a seed of its own", prepared, of_their_own)
    for duration in ("2s", "4s", "8s"):
        scenario = _scenario(duration)
        add(f"1 to 5 faults, {duration}", prepare(scenario), drawn(0, rounds, scenario))
    first = 1_000
    for count in (50, 100, 200) if quick else (250, 500, 1_000):
        add("1 to 5 faults, more plans", prepared, drawn(first, count))
        first += count
    with PartSampler() as sampler:
        _seconds(prepared, drawn(0, rounds))
    result.notes = [
        f"An unprepared run takes {_alone_ms(usual):.0f} ms with 1 to 5 faults.",
        f"Where the time goes (1 to 5 faults): {_shares(sampler.counts)}.",
        f"Remembered: {len(prepared._known.images):,} images.",
    ]
    return result


def _alone_ms(scenario: Scenario) -> float:
    started = time.process_time()
    for number in range(_ALONE):
        plan = drawn_plan(number, scenario.duration_ns)
        ScenarioRun(scenario.model_copy(update={"faults": plan}), 1).run()
    return (time.process_time() - started) / _ALONE * 1e3


def _shares(counts: Counter[str]) -> str:
    total = counts.total()
    return ", ".join(f"{part} {count / total:.0%}" for part, count in counts.most_common())
