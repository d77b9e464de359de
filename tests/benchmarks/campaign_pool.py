"""A real campaign, through its process pool and its file of results, by the wall clock."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replicator.toml_writer import toml_text
from simulator.campaign.campaign import Campaign, Limits
from simulator.campaign.executors import process_pool
from simulator.campaign.results import CampaignKey, Results
from simulator.plans.draw import space_of
from simulator.scenario import Scenario

CAMPAIGN_SEED = 1
_BUSY_SECONDS = 0.02
"""So long a worker that is asked lets the others answer, too."""
_ASKS = 50
"""So often all of them are asked: which one answers nobody can choose."""


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """What a campaign took."""

    plans: int
    seconds: float
    """Wall time, that of starting the workers included."""
    processor_seconds: float
    """Of the workers, likewise."""
    operations: int
    peak_mib: float
    """The most that a worker ever had in memory (resident)."""


def used() -> tuple[int, float, float]:
    """Who this process is, its processor time, and the most MiB that it ever had in memory."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    seconds = time.process_time()
    time.sleep(_BUSY_SECONDS)
    return os.getpid(), seconds, int(line.split()[1]) / 1024


def _used_by_all(pool: Executor, workers: int) -> dict[int, tuple[float, float]]:
    """Processor time and memory of each worker by its process id."""
    answers: dict[int, tuple[float, float]] = {}
    for _ in range(_ASKS):
        for each in [pool.submit(used) for _ in range(workers)]:
            pid, seconds, mib = each.result()
            answers[pid] = seconds, mib
        if len(answers) == workers:
            return answers
    raise RuntimeError(f"{len(answers)} of {workers} workers answer")


def run_campaign(scenario: Scenario, plans: int, workers: int) -> PoolFigures:
    """Run so many plans of the campaign with seed 1 on so many processes."""
    answers: dict[int, tuple[float, float]] = {}

    @contextmanager
    def pool() -> Iterator[Executor]:
        with process_pool(workers) as executor:
            yield executor
            answers.update(_used_by_all(executor, workers))

    key = CampaignKey(scenario.name, toml_text(scenario), CAMPAIGN_SEED, space_of(scenario))
    with tempfile.TemporaryDirectory() as directory:
        results = Results(Path(directory) / "campaign.db", key)
        try:
            seconds = Campaign(key, results, pool, workers, Limits(plans=plans)).run().seconds
            operations = int(results.frame()["operations"].sum())
        finally:
            results.close()
    processor_seconds = sum(seconds for seconds, _mib in answers.values())
    peak_mib = max(mib for _seconds, mib in answers.values())
    return PoolFigures(plans, seconds, processor_seconds, operations, peak_mib)
