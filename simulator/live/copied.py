"""A live run of a candidate that is a command: real programs, the real command, real files.

The programs write into one directory, the command copies it to another one again and again, and
the copy is judged at twenty instants, at each kill and at the end: everything stands still while
the copy is copied once more, and that is compared with every image that the source ever had, and
mounted, when the run is over.  A kill hits the command wherever it is.

Leaves out: the link, power losses (a kill stands in for one), the loss of a machine with its
failover, and telling of which operations a mixture is.
"""

from __future__ import annotations

import heapq
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from replicator.host.world import HostRuntime, run_on_host
from simulator.candidates import left_running
from simulator.candidates.workshop import filled
from simulator.exchange.ledger import LedgerVerdict
from simulator.judgement import Claim, complete_before_ns, loss_measure, prefix_check
from simulator.live.children import Child, pause_all
from simulator.live.copier import CopierSpecification, passes_of
from simulator.live.faults import LiveFaults
from simulator.live.ledger_file import read_ledger
from simulator.live.mounts import run
from simulator.live.programs import ProgramsSpecification, store_workload, stream_figures
from simulator.live.real_tree import first_difference, tree_digest
from simulator.live.truth_file import TruthReader
from simulator.measures import Check, LiveNotes, LossMeasure, RunResult, Samples, Verdict
from simulator.restarts import Restarts
from simulator.run_record import Observed, Progress, make_record, unfinished
from simulator.scenario import Scenario
from simulator.scenario_candidate import CommandCandidate
from simulator.scenario_faults import Fault, Pause, PowerLoss, ProcessCrash
from simulator.systems.byte_level import PROGRAMS, REPLICA, SOURCE
from simulator.telemetry import TelemetryJudge

SECOND_NS: Final = 1_000_000_000
EXAMINATIONS: Final = 20
COPIER: Final = "copier"
_LOOK_SECONDS: Final = 0.02
_WHY_NOT: Final = (
    "a live copier has neither a link nor a failover, and its disks are this machine's"
)
NOT_JUDGED: Final = {
    "honest telemetry": "a command reports nothing of itself",
    "capture is complete": "nothing captures",
    "durable means durable": "a command acknowledges nothing",
}


class _Group(Child):
    """A process whose whole session is stopped and killed with it, and what left that session.

    Arguments
    ---------
    mark: of the commands that it starts (:mod:`simulator.candidates.left_running`).
    """

    def __init__(self, name: str, arguments: list[str], log: Path, mark: str) -> None:
        super().__init__(name, arguments, log)
        self._mark = mark

    def pause(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)
        super().pause()

    def resume(self) -> None:
        super().resume()
        if self.runs and not self.paused:
            os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.runs:
            os.killpg(self.pid, signal.SIGKILL)
        super().kill()
        left_running.end_all(self._mark)


@dataclass(frozen=True, slots=True)
class _Copy:
    """The copy at an instant, to be judged."""

    place: Path
    occasion: str
    now_ns: int
    ledger_bytes: int
    synchronized: bool
    wants_loss: bool


class CopiedRun:
    """Such a run on its way; :func:`simulator.live.run.run_live` is the way in.

    Arguments
    ---------
    scenario: with a command as its candidate.
    seed: instead of the scenario's own.
    root: an empty directory of the run's own.
    """

    def __init__(self, scenario: Scenario, seed: int | None, root: Path) -> None:
        assert isinstance(scenario.candidate, CommandCandidate)
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        self._candidate = scenario.candidate
        self._root = root
        self._set, self._image = root / "source", root / "replica"
        self._home, self._copies = root / "home", root / "copies"
        self._passes = root / "passes"
        self._zero_ns = time.monotonic_ns()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self.children: dict[str, Child] = {}
        self.lost: set[str] = set()
        self.start_ns = {SOURCE: 0, REPLICA: 0}
        self._programs_ended_ns: int | None = None
        self._taken: list[_Copy] = []
        self._longest_ns = 0
        self._compared: str | None = None

    # -- time, and what LiveFaults asks of machines ------------------------------------------

    def now(self) -> int:
        """Nanoseconds since the start of the run."""
        return time.monotonic_ns() - self._zero_ns

    def at(self, time_ns: int, fn: Callable[[], None]) -> None:
        """Call ``fn`` at a time."""
        heapq.heappush(self._timers, (time_ns, next(self._numbers), fn))

    def of(self, machine: str) -> list[Child]:
        """The processes of a machine that run."""
        found = self.children.get(PROGRAMS if machine == SOURCE else COPIER)
        return [found] if found is not None and found.runs else []

    def pause(self, machine: str) -> Callable[[], None]:
        """Freeze a machine's process; returns what ends this pause."""
        return pause_all(self.of(machine))

    def kill(self, machine: str) -> None:
        """kill -9 of all that the machine runs."""
        for child in self.of(machine):
            child.kill()
            del self.children[PROGRAMS if machine == SOURCE else COPIER]

    def _start(self, machine: str) -> None:
        if machine == SOURCE and PROGRAMS not in self.children and self._programs_ended_ns is None:
            arguments = ["-m", "simulator.live.programs", str(self._root / "programs.json")]
            self.children[PROGRAMS] = Child(PROGRAMS, arguments, self._root / "programs.log")
            self.children[PROGRAMS].say(str(self._zero_ns))
        if machine == REPLICA and COPIER not in self.children:
            arguments = ["-m", "simulator.live.copier", str(self._root / "copier.json")]
            self.children[COPIER] = _Group(
                COPIER, arguments, self._root / "copier.log", str(self._home)
            )

    # -- the course of a run -----------------------------------------------------------------

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run to the end; returns the record.  Whatever happens, no process is left."""
        began = time.monotonic()
        try:
            self._set_up()
            self._follow(progress)
            ended_ns = self.now()
            if self._finished():
                self._compared = first_difference(self._set, self._image)
            self._take("end of run", False)
            for child in self.children.values():
                child.kill()
            return self._result(time.monotonic() - began, ended_ns)
        finally:
            for child in self.children.values():
                child.kill()

    def _set_up(self) -> None:
        scenario, candidate = self.scenario, self._candidate
        for directory in (self._set, self._image, self._home, self._copies):
            directory.mkdir()
        ProgramsSpecification(
            "",
            str(self._root / "truth"),
            str(self._root / "ledger"),
            scenario.duration_ns,
            self.seed,
            scenario.stream.kind,
            stream_figures(scenario.stream),
            str(self._set),
        ).write(self._root / "programs.json")
        CopierSpecification(
            filled(candidate.command, self._set, self._image),
            candidate.every_ns,
            candidate.timeout_ns,
            list(candidate.exit_codes),
            str(self._passes),
            str(self._home),
        ).write(self._root / "copier.json")
        restart_ns = {SOURCE: scenario.source.restart_ns, REPLICA: scenario.replica.restart_ns}
        self._restart_ns = restart_ns
        self.faults = LiveFaults(
            self,
            self,  # type: ignore[arg-type]  # what it asks of machines
            None,  # type: ignore[arg-type]  # and no link
            restart_ns,
            self._start,
            lambda kind, where: self._take(f"{kind} of {where}", True),
        )
        self.restarts = Restarts(self.faults.marks)
        arguments = ["-m", "simulator.live.programs", str(self._root / "programs.json")]
        self.children[PROGRAMS] = Child(PROGRAMS, arguments, self._root / "programs.log")
        self.children[PROGRAMS].answer()
        self._zero_ns = time.monotonic_ns()
        self.children[PROGRAMS].say(str(self._zero_ns))
        self._start(REPLICA)
        possible: list[Fault] = []
        for fault in scenario.faults:
            if isinstance(fault, Pause | PowerLoss | ProcessCrash):
                possible.append(fault)
            else:
                at = f"{fault.kind} at {fault.at_ns / SECOND_NS:g} s"
                self.faults.without_counterpart.append(f"{at}: {_WHY_NOT}")
        self.faults.schedule(tuple(possible))
        every_ns = scenario.duration_ns // EXAMINATIONS
        for number in range(1, EXAMINATIONS + 1):
            at_ns = number * every_ns
            self.at(at_ns, lambda: self._take("in the course of the run", False))

    def _follow(self, progress: Progress | None) -> None:
        scenario = self.scenario
        ends = [f.at_ns + getattr(f, "duration_ns", 0) for f in scenario.faults]
        limit_ns = max(scenario.duration_ns, *ends, 0) + scenario.settle_ns
        while not self._finished() and self.now() < limit_ns and not self.restarts.given_up:
            while self._timers and self._timers[0][0] <= self.now():
                heapq.heappop(self._timers)[2]()
            self._watch()
            if progress is not None:
                total = scenario.duration_ns
                progress(min(self.now(), total) / SECOND_NS, total / SECOND_NS, "copying")
            time.sleep(_LOOK_SECONDS)

    def _watch(self) -> None:
        """Start again what has ended by itself, as a service manager would."""
        for name, child in list(self.children.items()):
            if child.runs or child.killed:
                continue
            del self.children[name]
            if name == PROGRAMS and child.exit_code == 0:
                self._programs_ended_ns = time.monotonic_ns()
            else:
                machine = SOURCE if name == PROGRAMS else REPLICA
                words = child.failure(f"ended with {child.exit_code}").message
                if self.restarts.ended(machine, name, words, self.now()):
                    again_ns = self.now() + self._restart_ns[machine]
                    self.at(again_ns, partial(self._start, machine))
            child.end(0.0)

    def _finished(self) -> bool:
        """Whether a whole pass began after the last fault and the end of the programs, and ended.

        A copier may skip in one pass what it copies in the next: until the copy is right, or the
        time is over, it is given one pass more.
        """
        ended_ns = self._programs_ended_ns
        if ended_ns is None or self.faults.awaited:
            return False
        since = [each for each in passes_of(self._passes) if each["began_ns"] > ended_ns]
        return bool(since) and not first_difference(self._set, self._image)

    # -- judgement -----------------------------------------------------------------------------

    def _take(self, occasion: str, wants_loss: bool) -> None:
        """Copy the copy, with the command standing still."""
        began_ns, place = time.monotonic_ns(), self._copies / str(len(self._taken) + 1)
        standing = [child for child in self.of(REPLICA) if not child.paused]
        for child in standing:
            child.pause()
        try:
            synchronized = self._candidate.judged_from == "start" or any(
                each["code"] in self._candidate.exit_codes for each in passes_of(self._passes)
            )
            run("cp", "-a", "--sparse=auto", str(self._image), str(place))
            ledger = self._root / "ledger"
            size = ledger.stat().st_size if ledger.exists() else 0
            now_ns = began_ns - self._zero_ns
            self._taken.append(_Copy(place, occasion, now_ns, size, synchronized, wants_loss))
        finally:
            for child in standing:
                child.resume()
        if standing:
            self._longest_ns = max(self._longest_ns, time.monotonic_ns() - began_ns)

    def _mounted(self, each: _Copy, claim: Claim, truth: TruthReader) -> LedgerVerdict | None:
        if self.scenario.stream.kind != "store" or not claim.epoch:
            return None
        ledger = read_ledger(self._root / "ledger", each.ledger_bytes)
        figures, root = stream_figures(self.scenario.stream), str(each.place)
        store = store_workload(figures, random.Random(0).random, ledger, 1, root)
        complete_ns = 0
        if not claim.mixture:
            complete_ns = complete_before_ns(truth, claim.epoch, claim.operation) + truth.zero_ns

        async def mount(runtime: HostRuntime) -> LedgerVerdict | None:
            volume = runtime.volume("copy", root, seen_at=root)
            return await store.mounts(runtime, volume, root, bool(claim.mixture), complete_ns)

        verdict = run_on_host(mount, name="mount")
        if verdict is None:
            return None
        return replace(verdict, reason=verdict.reason.replace(root, ""))

    def _judge(self, truth: TruthReader) -> tuple[list[Check], list[LossMeasure], tuple[int, int]]:
        checks: list[Check] = []
        losses: list[LossMeasure] = []
        prefix = (0, 0)
        for each in self._taken:
            claim = Claim(0, 0, 0)
            if each.synchronized:
                digest = tree_digest(each.place)
                found = truth.newest_with(digest)
                mixture = "" if found else "the image is none that the source ever had"
                claim = Claim(*(found or (1, 0)), digest, mixture=mixture)
                prefix = found or prefix
            mounted = self._mounted(each, claim, truth)
            holds, detail = prefix_check(claim, truth)
            if claim.mixture and mounted is not None:
                said = "succeeds" if mounted.ok else mounted.reason
                detail = f"{detail}; the store's own mount of it: {said}"
            at = each.now_ns / SECOND_NS
            checks.append(Check("prefix", at, each.occasion, holds, detail))
            if mounted is not None:
                checks.append(Check("mountable", at, each.occasion, mounted.ok, mounted.reason))
            if each.wants_loss:
                messages = None
                if self.scenario.stream.kind == "store":
                    ledger = read_ledger(self._root / "ledger", each.ledger_bytes)
                    messages = ledger.loss(mounted.transactions if mounted else 0).messages
                last = truth.instant_at(each.now_ns)
                losses.append(
                    loss_measure(
                        truth,
                        claim,
                        failure=each.occasion,
                        now_ns=each.now_ns,
                        messages=messages,
                        last=last,
                    )
                )
        return checks, losses, prefix

    def _result(self, wall_seconds: float, ended_ns: int) -> RunResult:
        truth = TruthReader(self._root / "truth", self._zero_ns)
        truth.poll()
        checks, losses, prefix = self._judge(truth)
        messages = None
        if self.scenario.stream.kind == "store":
            messages = read_ledger(self._root / "ledger").acknowledged_messages
        right = self._compared == ""
        found: list[tuple[Verdict, str]] = [
            *self.restarts.found,
            *((Verdict.INCONCLUSIVE, text) for text in self.faults.never_happened),
        ]
        if not self.restarts.given_up:
            found += unfinished(
                source_lost=False,
                replica_lost=False,
                taken_over=False,
                takeover_defect="",
                programs_done=self._programs_ended_ns is not None,
                converged=right,
                state="copying",
            )
        observed = Observed(
            losses=losses,
            checks=checks,
            faults=self.faults.marks(),
            recovery=None,
            samples=Samples(),
            spool_peak_bytes=0,
            journal_peak_bytes=0,
            telemetry=TelemetryJudge(self.scenario.protection.heartbeat_ns),
            truth=truth,
            breaches=[],
            wire_bytes=(0, 0),
            messages=messages,
            synchronizations=1,
            prefix=prefix,
            found=found + [(Verdict.SAFETY, text) for text in truth.breaches],
            not_judged=NOT_JUDGED,
            never_happened=self.faults.never_happened,
        )
        notes = LiveNotes(
            [*self.faults.without_counterpart, "the link: the command copies on this machine"],
            len(self._taken),
            self._longest_ns / SECOND_NS,
            None,
            ended_ns / SECOND_NS if right else None,
        )
        return make_record(
            self.scenario,
            self.seed,
            observed,
            wall_seconds=wall_seconds,
            seconds=ended_ns / SECOND_NS,
            live=notes,
        )
