"""One run of a scenario with real processes on this machine.

The programs, ``replicator source``, ``replicator replica`` and the relay run as processes; this
one only lays out directories, makes faults happen at their times, samples, and has copies of
the replica judged (:mod:`simulator.live.judge`).  Time is real, and counts from the moment at
which all processes are up and the programs are let go.

Ends as :mod:`simulator.run` does: when the programs have ended, all faults are over and the
replica has converged, and then image and source are compared byte by byte; or when the store is
mounted on the replica after the loss of the source; or when the settling time has passed.
"""

from __future__ import annotations

import heapq
import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

from replicator.errors import BadInput, ExitCode, ReplicatorError
from simulator.exchange.ledger import Ledger
from simulator.live import mounts
from simulator.live.children import Child
from simulator.live.copied import CopiedRun
from simulator.live.faults import LiveFaults
from simulator.live.judge import LiveJudge
from simulator.live.layout import Layout
from simulator.live.ledger_file import read_ledger
from simulator.live.machines import LiveLink, Machines
from simulator.live.real_tree import first_difference
from simulator.live.sampling import LiveSampler
from simulator.live.takeover import Takeover
from simulator.live.truth_file import TruthReader
from simulator.measures import Check, LiveNotes, RunResult, Verdict
from simulator.objectives import loses_its_source
from simulator.restarts import Restarts
from simulator.run_record import Observed, Progress, in_aftermath, make_record, unfinished
from simulator.scenario import Scenario
from simulator.scenario_log_shipping import KIND as LOG_SHIPPING
from simulator.systems.byte_level import PROGRAMS, REPLICA, SOURCE

SECOND_NS: Final = 1_000_000_000
LOOK_SECONDS: Final = 0.05
OVERHEAD_NS: Final = 60 * SECOND_NS
"""Processes start, copies are made: time that the simulator does not need."""
FOR_GOOD: Final = frozenset({ExitCode.NOT_DRAINED, ExitCode.FENCED})
"""A service that ends so is not started again (docs/exit-codes.md)."""


class LiveRun:
    """A scenario on its way with real processes; :func:`run_live` is the short form.

    Arguments
    ---------
    scenario: what to run.
    seed: instead of the scenario's own.
    root: an empty directory of the run's own.
    """

    def __init__(self, scenario: Scenario, seed: int | None, root: Path) -> None:
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        self.layout = Layout(root, scenario)
        self._zero_ns = time.monotonic_ns()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._lost_at_ns: int | None = None
        self._takeover: Takeover | None = None
        self._defects: list[str] = []
        self._converged_seconds: float | None = None
        self._state = "starting"
        self._link: LiveLink | None = None
        self._machines: Machines | None = None

    # -- time --------------------------------------------------------------------------------

    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        return time.monotonic_ns() - self._zero_ns

    def at(self, time_ns: int, fn: Callable[[], None]) -> None:
        """Call ``fn`` at a time; at once when that has passed."""
        heapq.heappush(self._timers, (time_ns, next(self._numbers), fn))

    # -- the course of a run -----------------------------------------------------------------

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run to the end; returns the record.  Whatever happens, no process is left."""
        began = time.monotonic()
        try:
            self._set_up()
            self._follow(progress)
            self._close()
            return self._result(time.monotonic() - began)
        finally:
            self._clean_up()

    def _set_up(self) -> None:
        scenario, layout = self.scenario, self.layout
        layout.prepare()
        self.link = self._link = LiveLink(scenario, layout, self.seed)
        layout.write_configurations(self.link.port)
        self.machines = self._machines = Machines(scenario, self.seed, layout)
        self.truth = TruthReader(layout.truth)
        self.judge = LiveJudge(layout, self.truth)
        self.machines.source_killed = self.judge.source_killed
        heartbeat_ns = scenario.protection.heartbeat_ns
        self.sampler = LiveSampler(self.machines, self.link, self.truth, self.judge, heartbeat_ns)
        restart_ns = {SOURCE: scenario.source.restart_ns, REPLICA: scenario.replica.restart_ns}
        self._restart_ns = restart_ns
        self.faults = LiveFaults(
            self, self.machines, self.link, restart_ns, self._restart, self._struck
        )
        self.restarts = Restarts(self.faults.marks)
        self.machines.start(REPLICA)
        self.machines.start(SOURCE)
        self.machines.wait_until_ready()
        self._zero_ns = self.truth.zero_ns = time.monotonic_ns()
        self.link.start(self._zero_ns)
        self.faults.schedule(scenario.faults)
        self.machines.go(self._zero_ns)

    def _restart(self, machine: str) -> None:
        if machine not in self.machines.lost:
            self.machines.start(machine, self._zero_ns)

    def _limit_ns(self) -> int:
        scenario = self.scenario
        ends = [f.at_ns + getattr(f, "duration_ns", 0) for f in scenario.faults]
        limit_ns = max(scenario.duration_ns, *ends, 0) + scenario.settle_ns + OVERHEAD_NS
        if loses_its_source(scenario):
            limit_ns += scenario.failover.detect_ns
        return limit_ns

    def _follow(self, progress: Progress | None) -> None:
        limit_ns, next_sample_ns = self._limit_ns(), 0
        while not self._over() and self.now() < limit_ns:
            while self._timers and self._timers[0][0] <= self.now():
                heapq.heappop(self._timers)[2]()
            self._watch()
            self.judge.look()
            if self._takeover is not None and REPLICA not in self.machines.lost:
                self._takeover.step()
            if self.now() >= next_sample_ns:
                next_sample_ns += self.scenario.sample_ns
                self._sample()
                if progress is not None:
                    total = self.scenario.duration_ns
                    progress(min(self.now(), total) / SECOND_NS, total / SECOND_NS, self._state)
            due_ns = min([next_sample_ns, *(timer[0] for timer in self._timers[:1])])
            time.sleep(min(LOOK_SECONDS, max(0, due_ns - self.now()) / SECOND_NS))

    def _sample(self) -> None:
        now_ns, lost_ns = self.now(), self._lost_at_ns
        if in_aftermath(now_ns, lost_ns):
            return
        self._state = self.sampler.sample(now_ns, lost_ns)

    def _watch(self) -> None:
        """Has a process ended that nobody killed?  Raises BadInput when it refused its input."""
        for child in list(self.machines.ended_by_themselves()):
            del self.machines.children[child.name]
            if child.name == PROGRAMS and child.exit_code == 0:
                self.machines.programs_done = True
            else:
                self._start_again(child)
            child.end(0.0)
        self._watch_relay()

    def _start_again(self, child: Child) -> None:
        """Do with a process that has ended what a service manager would."""
        words = child.failure(f"ended with {child.exit_code}")
        if child.exit_code == ExitCode.USAGE:
            raise BadInput(words.message, path=words.path)
        machine, now_ns = REPLICA if child.name == REPLICA else SOURCE, self.now()
        for_good = child.exit_code in FOR_GOOD
        if self.restarts.ended(machine, child.name, words.message, now_ns, for_good):
            self.at(now_ns + self._restart_ns[machine], lambda: self._restart(machine))

    def _watch_relay(self) -> None:
        relay = self.link.child
        if not relay.runs:
            raise relay.failure(f"ended with {relay.exit_code}")

    def _over(self) -> bool:
        if self.restarts.given_up or self._defects:
            return True
        takeover = self._takeover
        if self._lost_at_ns is not None:
            if REPLICA in self.machines.lost:
                return True
            return takeover is not None and bool(takeover.recovery or takeover.defect)
        return (
            self.machines.programs_done
            and not self.faults.awaited
            and (REPLICA in self.machines.lost or self._converged())
        )

    def _converged(self) -> bool:
        """Whether the replica has applied everything that the source captured."""
        source, replica = self.machines.source_status(), self.machines.replica_status().replica
        if source.source is None or source.source.status is None or source.spool is None:
            return False
        if replica is None or replica.status is None:
            return False
        sends, spool, image = source.source.status, source.spool, replica.status
        return bool(
            sends["state"] == "streaming"
            and spool.capturing
            and sends["epoch"] == image["epoch"] == spool.epoch
            and sends["durable"] == image["applied"] == spool.completed
            and not image["damage"]
        )

    # -- failures ----------------------------------------------------------------------------

    def _struck(self, kind: str, where: str) -> None:
        """A machine has gone down, or an outage ends: judge the image and what would be lost."""
        now_ns = self.now()
        if kind == "loss" and where == SOURCE:
            self._lost_at_ns = now_ns
            self._takeover = Takeover(
                self.scenario, self.layout, self.machines, self.judge, now_ns, self.now
            )
        self.sampler.note_acknowledged()
        if self._takeover is not None and self._takeover.opened:
            return  # the image has become the store's own
        if REPLICA not in self.machines.lost:
            self.judge.examine(self._replica(), f"{kind} of {where}", now_ns, loss=True)
        elif where != REPLICA:
            ledger = self._ledger()
            messages = None if ledger is None else ledger.loss(0).messages
            self.judge.lose_all(f"{kind} of {where}", now_ns, messages)

    def _replica(self) -> Child | None:
        return next(iter(self.machines.of(REPLICA)), None)

    # -- the end -----------------------------------------------------------------------------

    def _close(self) -> None:
        """The last examination, and the end of the processes in good order."""
        lost = self.machines.lost
        self.sampler.note_acknowledged()
        ends_well = self._lost_at_ns is None and REPLICA not in lost and self._over()
        if self._lost_at_ns is None and REPLICA not in lost:
            self.judge.examine(self._replica(), "end of run", self.now(), loss=False)
        ended_ns = self.now()
        if not self.restarts.given_up:
            for name, code in self.machines.end_in_order().items():
                if ends_well and code != 0:
                    what = "did not end when asked" if code is None else f"ended with {code}"
                    self._defects.append(f"asked to end, the {name} {what}")
        if ends_well and not self.restarts.given_up:
            self._compare(ended_ns)
        self.judge.finish()
        self.truth.poll()

    def _compare(self, now_ns: int) -> None:
        image = self.layout.replica / "image"
        difference = first_difference(self.layout.set, image)
        if not difference:
            self._converged_seconds = now_ns / SECOND_NS
        self.judge.checks.append(
            Check(
                "prefix",
                now_ns / SECOND_NS,
                "end of run, image and source byte by byte",
                not difference,
                difference,
            )
        )

    def _clean_up(self) -> None:
        if self._machines is not None:
            self.machines.kill_all()
            self.judge.kill_all()
        if self._takeover is not None:
            self._takeover.kill_all()
        if self._link is not None:
            self._link.child.kill()

    def _result(self, wall_seconds: float) -> RunResult:
        sampler, takeover, ledger = self.sampler, self._takeover, self._ledger()
        observed = Observed(
            losses=self.judge.losses,
            checks=self.judge.checks,
            faults=self.faults.marks(),
            recovery=None if takeover is None else takeover.recovery,
            samples=sampler.samples,
            spool_peak_bytes=sampler.spool_peak_bytes,
            journal_peak_bytes=sampler.journal_peak_bytes,
            telemetry=sampler.telemetry,
            truth=self.truth,
            breaches=self.truth.breaches,
            wire_bytes=self.link.counts(),
            messages=None if ledger is None else ledger.acknowledged_messages,
            synchronizations=sampler.resynchronizations,
            prefix=self.judge.prefix,
            found=self._found(),
            never_happened=self.faults.never_happened,
        )
        return make_record(
            self.scenario,
            self.seed,
            observed,
            wall_seconds=wall_seconds,
            seconds=self.now() / SECOND_NS,
            live=self._notes(),
        )

    def _ledger(self) -> Ledger | None:
        return read_ledger(self.layout.ledger) if self.scenario.stream.kind == "store" else None

    def _notes(self) -> LiveNotes:
        return LiveNotes(
            self.faults.without_counterpart + self.layout.left_out,
            self.judge.copies,
            self.judge.longest_copy_seconds,
            None if self._takeover is None else self._takeover.mount_seconds,
            self._converged_seconds,
        )

    def _found(self) -> list[tuple[Verdict, str]]:
        """What is to be said beside checks and objectives."""
        takeover, lost = self._takeover, self.machines.lost
        found = [(Verdict.SAFETY, defect) for defect in self._defects] + self.restarts.found
        if self.restarts.given_up:
            return found  # the run was stopped: how it would have ended is not known
        found += [(Verdict.INCONCLUSIVE, text) for text in self.faults.never_happened]
        return found + unfinished(
            source_lost=self._lost_at_ns is not None,
            replica_lost=REPLICA in lost,
            taken_over=takeover is not None and takeover.recovery is not None,
            takeover_defect="" if takeover is None else takeover.defect,
            programs_done=self.machines.programs_done,
            converged=self._converged_seconds is not None,
            state=self._state,
        )


def run_live(
    scenario: Scenario,
    seed: int | None = None,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> RunResult:
    """Run a scenario with real processes; returns its record.

    Arguments
    ---------
    seed: names the random choices of the load; the scenario's own when None.
    progress: called with (seconds, total seconds, state of the source) at each sample.
    keep: an empty or missing directory that gets all files and logs of the run.

    Raises BadInput for what this machine cannot do, ChildFailed when a process of the run does
    not start or answer; in any case, Ctrl-C included, no process and no mount is left.
    """
    if scenario.protection.kind == LOG_SHIPPING:
        raise BadInput(
            "log shipping is simulated only: there are no processes for it yet",
            path=scenario.name,
            remedy="Leave out --world live.",
        )
    mounts.sweep()
    root = mounts.make_work_directory()
    kept = False
    try:
        directory = root / "run"
        directory.mkdir()
        try:
            made = LiveRun if scenario.candidate is None else CopiedRun
            result = made(scenario, seed, directory).run(progress)
        except mounts.MountFailed as failure:
            raise BadInput(f"the run cannot be set up: {failure}", path=str(root)) from failure
        if keep is not None:
            _keep(directory, keep)
            kept = True
        return result
    except ReplicatorError:
        if keep is not None and not kept and (root / "run").exists():
            _keep(root / "run", keep)
        raise
    finally:
        mounts.release(root)


def _keep(directory: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        for each in sorted(directory.iterdir()):
            mounts.run("cp", "-a", "--sparse=auto", str(each), str(target))
    except (OSError, mounts.MountFailed, shutil.Error) as failure:
        raise BadInput(
            f"--keep cannot be written: {failure}",
            path=str(target),
            remedy="Give --keep a directory on a volume with more room.",
        ) from failure


__all__ = ["LiveRun", "run_live"]
