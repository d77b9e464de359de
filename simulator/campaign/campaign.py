"""A campaign: batches of plans handed to workers, their outcomes kept as they come.

Which plans are run is decided here and by nothing else: numbers from 0 on, those left out that
the file of results has already.  Workers come and go; a batch that was lost with one is handed
out again, in the end plan by plan, and a plan that kills its worker every time is a failure of
its own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

from replicator.errors import ReplicatorError
from simulator.campaign.job import (
    BatchJob,
    PlanOutcome,
    Space,
    plan_number,
    plans_of,
    run_batch,
    unfinished_outcome,
)
from simulator.campaign.results import CampaignKey, Results
from simulator.campaign.steering import (
    ROUND_PLANS,
    looks_back_on,
    round_of,
    steered,
    with_weights,
)
from simulator.plans.draw import PlanSpace

BATCH_PLANS: Final = 10
MOST_LOSSES: Final = 3
"""So often a batch may lose its worker before it is taken apart, or given up."""
REPEAT_EVERY: Final = 50

OpenPool = Callable[[], AbstractContextManager[Executor]]


class WorkersFailed(ReplicatorError):
    """Workers die before they have done anything."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a campaign ends; what is None does not end it.

    Arguments
    ---------
    plans: how many, those of earlier sessions included.
    seconds: wall time of this session.
    until_failure: at the first failure.
    """

    plans: int | None = None
    seconds: float | None = None
    until_failure: bool = False


@dataclass(slots=True)
class Progress:
    """How far a campaign is."""

    done: int = 0
    """Plans of this session."""
    before: int = 0
    """Plans of earlier sessions."""
    failed: int = 0
    """Of all sessions."""
    seconds: float = 0.0
    """Of this session."""
    lost_workers: int = 0

    @property
    def rate(self) -> float:
        """Plans a second, of this session."""
        return self.done / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Lost:
    """A batch that was underway when a worker died."""

    job: BatchJob
    losses: int


class Campaign:
    """Runs the plans of a key until a limit is reached.

    Arguments
    ---------
    open_pool: gives the workers; opened again when they break.
    workers: how many there are, to keep all of them at work.
    on_progress: called after each batch.
    """

    def __init__(
        self,
        key: CampaignKey,
        results: Results,
        open_pool: OpenPool,
        workers: int,
        limits: Limits,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
        batch_plans: int = BATCH_PLANS,
        repeat_every: int = REPEAT_EVERY,
    ) -> None:
        self._key = key
        self._results = results
        self._open_pool = open_pool
        self._workers = workers
        self._limits = limits
        self._on_progress = on_progress
        self._batch_plans = batch_plans
        self._repeat_every = repeat_every
        self._rounds = results.rounds()
        self._again: deque[_Lost] = deque()
        self._underway: dict[Future[list[PlanOutcome]], _Lost] = {}
        self.progress = Progress()

    def run(self) -> Progress:
        """Run to the limit; what was done is in the results, also after an interrupt."""
        started = time.monotonic()
        done = self._results.numbers()
        self.progress.before = len(done)
        self.progress.failed = sum(1 for _ in self._results.failures())
        jobs = self._jobs(done)
        more = not (self._limits.until_failure and self.progress.failed)
        while more:
            with self._open_pool() as pool:
                more = self._with_pool(pool, jobs, started)
        return self.progress

    def _with_pool(self, pool: Executor, jobs: Iterator[BatchJob | None], started: float) -> bool:
        """Work until the end (False), or until the workers are broken (True)."""
        broken = False
        while not broken:
            self.progress.seconds = time.monotonic() - started
            if not self._over():
                self._hand_out(pool, jobs)
            if not self._underway:
                return False
            finished, _ = wait(self._underway, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in finished:
                broken |= self._take(future)
            self.progress.seconds = time.monotonic() - started
            self._on_progress(self.progress)
            if self._limits.until_failure and self.progress.failed:
                return False
        for each in self._underway.values():
            self._lost(each)
        self._underway.clear()
        return True

    def _jobs(self, done: set[int]) -> Iterator[BatchJob | None]:
        """Batches of adjacent plans that have not been run; None: not before more are done."""
        first, key = 0, self._key
        last = _fewest(self._limits.plans, plans_of(key.space))
        while last is None or first < last:
            while (space := self._space_of(first)) is None:
                yield None
            end = first + self._batch_plans
            if key.steering:
                end = min(end, (round_of(first) + 1) * ROUND_PLANS)
            if last is not None:
                end = min(end, last)
            whole = BatchJob(
                key.scenario_text,
                key.seed,
                space,
                first,
                end - first,
                self._repeat_every,
                key.mutant,
            )
            missing = [number for number in range(first, end) if number not in done]
            if len(missing) == whole.count:
                yield whole
            else:
                yield from (replace(whole, first=number, count=1) for number in missing)
            first = end

    def _space_of(self, number: int) -> Space | None:
        """Where a plan is drawn from; None when what decides on it is not known yet."""
        key, this_round = self._key, round_of(number)
        if not key.steering or not isinstance(key.space, PlanSpace):
            return key.space
        if this_round not in self._rounds:
            decisive = looks_back_on(this_round)
            if self._results.count(below=decisive) < decisive:
                return None
            weights = steered(key.space, self._results.coverage(below=decisive))
            self._results.keep_round(this_round, weights)
            self._rounds[this_round] = weights
        return with_weights(key.space, self._rounds[this_round])

    def _over(self) -> bool:
        limit = self._limits.seconds
        return limit is not None and self.progress.seconds >= limit

    def _hand_out(self, pool: Executor, jobs: Iterator[BatchJob | None]) -> None:
        while len(self._underway) < 2 * self._workers:
            lost = self._again.popleft() if self._again else None
            if lost is None:
                job = next(jobs, None)
                if job is None:
                    return
                lost = _Lost(job, 0)
            try:
                self._underway[pool.submit(run_batch, lost.job)] = lost
            except BrokenProcessPool:
                self._again.appendleft(lost)
                return  # those underway say so, too

    def _take(self, future: Future[list[PlanOutcome]]) -> bool:
        """Keep what a batch gave; True when it was lost with its worker."""
        lost = self._underway.pop(future)
        try:
            outcomes = future.result()
        except (BrokenProcessPool, CancelledError):
            self._lost(lost)
            return True
        except Exception as error:
            if type(error).__name__ != "KilledWorker":  # of Dask, which may not be installed
                raise
            self._lost(lost)
            return False
        self._keep(outcomes)
        return False

    def _keep(self, outcomes: list[PlanOutcome]) -> None:
        self._results.add(outcomes)
        self.progress.done += len(outcomes)
        self.progress.failed += sum(each.failed for each in outcomes)

    def _lost(self, lost: _Lost) -> None:
        """Have it run again: whole, then plan by plan, then not at all."""
        self.progress.lost_workers += 1
        job, losses = lost.job, lost.losses + 1
        if losses < MOST_LOSSES:
            self._again.append(_Lost(job, losses))
        elif job.count > 1:
            self._again += (
                _Lost(replace(job, first=number, count=1), 0)
                for number in range(job.first, job.first + job.count)
            )
        elif not self.progress.done:
            raise WorkersFailed(
                "the workers die before they have run a single plan",
                remedy="Run one plan by itself to see why: simulator run SCENARIO. Is there too "
                "little memory for so many workers? Then give --workers less.",
            )
        else:
            self._keep([_killed_its_worker(job)])


def _fewest(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _killed_its_worker(job: BatchJob) -> PlanOutcome:
    plan = plan_number(job.campaign_seed, job.first, job.space)
    reason = f"running the plan ended its worker, {MOST_LOSSES} times"
    return unfinished_outcome(plan, job.first, reason, 0.0)
