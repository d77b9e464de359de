"""One run of a scenario: let its world run, have it judged, and make the record.

Who does what while it runs: faults are injected (:mod:`simulator.faults`); software is started, and
started again (:mod:`simulator.service_manager`); what goes down is judged, and a failover begins
(:mod:`simulator.incidents`); now and then the replica is examined (:mod:`simulator.examiner`).
Here time goes on, samples are taken, and it is known when the run is over.

The run ends when the programs have ended, all faults are over and the replica has
converged; or, when the source is lost, when clients are at work on the replica; or when the
scenario's settling time has passed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import closing

from replicator.errors import BadInput, ReplicatorError
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.bounds import BoundsWatch
from simulator.circumstances import CircumstanceFinder
from simulator.examiner import Examiner
from simulator.faults import FaultInjector
from simulator.incidents import Incidents
from simulator.judgement import SECOND_NS
from simulator.known import Known
from simulator.measures import RunResult, Verdict
from simulator.objectives import asks_for_failover
from simulator.one_source import OneSourceJudge
from simulator.promises import Promises
from simulator.restarts import Restarts
from simulator.run_record import Observed, Progress, make_record, unfinished
from simulator.runtime import TimeStandsStill
from simulator.sampling import Sampler
from simulator.scenario import Scenario
from simulator.scenario_world import ScenarioWorld
from simulator.service_manager import BYSTANDERS, ServiceManager
from simulator.systems.byte_level import REPLICA, SOURCE
from simulator.systems.interface import OtherReplica

EXAMINATIONS = 20
"""So often in the course of a run the replica is examined as if its power failed just then."""


class ScenarioRun:
    """A scenario on its way; :func:`run_scenario` is the short form.

    Arguments
    ---------
    scenario: what to run.
    seed: instead of the scenario's own.
    safeguards: for tests that switch one off.
    known: what earlier runs of the scenario under other faults have found out.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int | None = None,
        safeguards: Safeguards = ALL_SAFEGUARDS,
        known: Known | None = None,
    ) -> None:
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        built = ScenarioWorld(scenario, self.seed, safeguards, known)
        self.world, self.link, self.system = built.world, built.link, built.system
        self.workload, self.oracle = built.workload, built.oracle
        restart_ns = {SOURCE: scenario.source.restart_ns, REPLICA: scenario.replica.restart_ns}
        fault_seed = self.seed if scenario.fault_seed is None else scenario.fault_seed
        self.faults = FaultInjector(
            self.world,
            self.link,
            restart_ns,
            self._start,
            self._struck,
            self._start_second_source,
            fault_seed,
            self._fail_over,
            self._other_replica,
        )
        self.sampler = Sampler(built)
        self.restarts = Restarts(self.faults.marks)
        p = scenario.protection
        notice_ns = p.heartbeat_ns * (p.heartbeat_misses + 1) + scenario.link.rtt_ns
        self.circumstances = CircumstanceFinder(
            self.system, self.faults, built.whole_bytes, notice_ns
        )
        circumstances = self.circumstances
        self.sampler.is_anothers = circumstances.is_anothers
        self.oracle.rotten_end = circumstances.rotten_end
        self.oracle.rotten = lambda: self.faults.rotten
        self.faults.when_source_changes(self.system.truth.medium_changed)
        self.oracle.rotten_at_source = lambda: self.faults.rotten_at_source
        self.oracle.rot_is_needed = circumstances.rot_is_needed
        self._promises = Promises(
            lambda: scenario.faults,
            self.world.clock,
            self.oracle,
            self.system,
            self.faults,
            circumstances,
        )
        self._bounds: BoundsWatch | None = None
        """None for a system that keeps neither spool nor journal in the places of ours."""
        self._one_source: OneSourceJudge | None = None
        """None for a system that has no epochs."""
        if self.system.has_our_frames:
            self._bounds = BoundsWatch(
                self.system.source_machine,
                self.system.replica_machine,
                scenario.protection.spool_limit_bytes,
                scenario.protection.journal_limit_bytes,
            )
            self._one_source = OneSourceJudge(
                scenario,
                self.world,
                self.system,
                self.oracle,
                self.faults.marks,
                lambda: getattr(self.workload.ledger, "acknowledged_messages", None),
                circumstances.found,
            )
        self._examiner = Examiner(
            built, safeguards, known, fault_seed, self.sampler, circumstances, self._one_source
        )
        self._incidents = Incidents(
            built, self._examiner, self._promises, circumstances, self._one_source
        )
        self.services = ServiceManager(
            built, restart_ns, self.faults, self.restarts, self._promises, self._incidents
        )
        self._programs_done = False
        self._endless = ""
        """Why the run was stopped in the midst of an instant; empty when it was not."""
        self.world.observers.append(self._observe)

    # -- what faults and machines say, to whom it concerns --------------------------

    def _start(self, name: str) -> None:
        self.services.start(name)

    def _start_second_source(self) -> Callable[[], None]:
        return self.services.start_second_source()

    def _other_replica(self) -> OtherReplica:
        return self.services.other_replica()

    def _struck(self, kind: str, name: str) -> None:
        self._incidents.struck(kind, name)

    def _fail_over(self) -> str:
        return self._incidents.fail_over()

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if event == "failed":
            self.services.failed(machine)
        elif machine in BYSTANDERS:
            return
        elif event == "programs_done":
            self._programs_done = True
        elif event == "activity" and machine == REPLICA and values[0] == "resynchronize":
            self.world.clock.soon(self._resynchronized)
        elif event == "store_lost_acknowledged":
            self._promises.store_lost_acknowledged(values)
        elif event == "damage" and machine == REPLICA:
            self._promises.replica_names_damage(str(values[0]))
        elif event == "replica_went_back":
            self._promises.replica_went_back(int(values[1]))
        elif event == "source_state":
            self._promises.source_enters(str(values[0]))

    def _resynchronized(self) -> None:
        """Another image has been committed: from this instant on it must be that of one."""
        doubts = self.system.doubts()
        if doubts is not None and doubts.switching and self._incidents.takeover is None:
            self._examiner.examine("a resynchronization was committed")

    # -- the course of a run -------------------------------------------------------

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run to the end; returns the record."""
        started = time.perf_counter()
        self.faults.schedule(self.scenario.faults)
        self.system.start_replica()
        self.system.start_source()
        freeze = gc.isenabled()
        gc.disable()  # millions of long-lived blocks: most cycles end with the run
        try:
            with self.system.watched(in_time=False), closing(self.world):
                try:
                    self._follow(progress, alone=freeze)
                except TimeStandsStill as endless:
                    self._endless = f"tasks wake each other for ever: {endless}"
                self._look_for_fatal_errors()
                return self._result(time.perf_counter() - started)
        finally:
            self.system.close()
            if freeze:
                gc.enable()

    def _follow(self, progress: Progress | None, alone: bool) -> None:
        """Let time go on until the run is over; ``alone``: nobody else looks after its garbage."""
        scenario, clock = self.scenario, self.world.clock
        limit_ns = self._limit_ns()
        examine_ns = max(1, scenario.duration_ns // EXAMINATIONS)
        next_examination_ns = examine_ns
        with self.system.watched():
            while not self._over() and clock.now() < limit_ns:
                clock.run_until(min(limit_ns, clock.now() + scenario.sample_ns))
                self._sample()
                if self._bounds is not None:
                    self._bounds.look()
                if clock.now() >= next_examination_ns and self._incidents.takeover is None:
                    next_examination_ns += examine_ns
                    self._examiner.examine("in the course of the run")
                    if alone:
                        # A store that was mounted there is a ring of thousands of young objects
                        # around a copy of the disks.  What is older is not looked at again.
                        gc.collect(0)
                if progress is not None:
                    progress(
                        min(clock.now(), scenario.duration_ns) / SECOND_NS,
                        scenario.duration_ns / SECOND_NS,
                        self.sampler.state,
                    )

    def _sample(self) -> None:
        judge = self._one_source
        self.sampler.sample(self._incidents.lost_at_ns, None if judge is None else judge.fenced_ns)
        if judge is not None:
            judge.look()

    def _limit_ns(self) -> int:
        scenario = self.scenario
        ends = [f.at_ns + getattr(f, "duration_ns", 0) for f in scenario.faults]
        limit_ns = max(scenario.duration_ns, *ends, 0) + scenario.settle_ns
        if asks_for_failover(scenario):
            f = scenario.failover
            limit_ns += f.detect_ns + f.decide_ns + f.redirect_ns
            limit_ns += 0 if self._one_source is None else self._one_source.bound_ns
        return limit_ns

    @property
    def _store_is_gone(self) -> bool:
        """The source's store mounts no more, and nobody takes over: there is no more to see."""
        return self.services.store_is_broken and self._incidents.takeover is None

    def _over(self) -> bool:
        if self._promises.defects or self.restarts.given_up or self.services.fatal is not None:
            return True
        if self._store_is_gone:
            return True
        replica_lost, takeover = self.system.replica_machine.lost, self._incidents.takeover
        if takeover is not None:
            if replica_lost or takeover.failure is not None:
                return True
            return takeover.report is not None and self._old_source_is_settled
        settled = self.system.converged or replica_lost
        return self._programs_done and not self.faults.awaited and settled

    @property
    def _old_source_is_settled(self) -> bool:
        """Whether nothing is to come of the source that a replica has taken over from."""
        takeover, judge = self._incidents.takeover, self._one_source
        if takeover is None or judge is None or not takeover.ordered:
            return True
        return judge.settled and not self.faults.awaited

    def _look_for_fatal_errors(self) -> None:
        takeover, fatal = self._incidents.takeover, self.services.fatal
        failure = None if takeover is None else takeover.failure
        if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
            fatal = fatal or failure
        if fatal is not None:
            raise fatal

    # -- the end -------------------------------------------------------------------

    def _result(self, wall_seconds: float) -> RunResult:
        system, sampler, takeover = self.system, self.sampler, self._incidents.takeover
        if takeover is None:
            self._examiner.examine("end of run", final=True)
        prefix = self._examiner.prefix
        if takeover is not None and takeover.taken_over is not None:
            prefix = takeover.taken_over.epoch, takeover.taken_over.operation
        if self._bounds is not None:
            self.oracle.checks.append(self._bounds.check(self.world.clock.now() / SECOND_NS))
        self._finish_one_source()
        ledger, found = self.workload.ledger, self._found()
        observed = Observed(
            losses=self.oracle.losses,
            checks=self.oracle.checks,
            faults=self.faults.marks(),
            recovery=None if takeover is None else takeover.recovery,
            samples=sampler.samples,
            spool_peak_bytes=sampler.spool_peak_bytes,
            journal_peak_bytes=sampler.journal_peak_bytes,
            telemetry=sampler.telemetry,
            truth=system.truth,
            breaches=system.truth.breaches,
            wire_bytes=system.wire_bytes(self.link),
            messages=None if ledger is None else ledger.acknowledged_messages,
            synchronizations=system.resynchronizations,
            prefix=prefix,
            queue_peaks=sampler.queue_peaks,
            found=found,
            not_judged=system.not_judged,
            never_happened=self.faults.never_happened,
        )
        return make_record(
            self.scenario,
            self.seed,
            observed,
            wall_seconds=wall_seconds,
            seconds=self.world.clock.now() / SECOND_NS,
            trace_hash=self.world.trace.digest(),
        )

    def _finish_one_source(self) -> None:
        judge, takeover = self._one_source, self._incidents.takeover
        if judge is None:
            return
        judge.finish()
        afterwards = judge.written_afterwards()
        if takeover is not None and takeover.ordered and afterwards is not None:
            self.oracle.losses.append(afterwards)

    def _found(self) -> list[tuple[Verdict, str]]:
        found = [(Verdict.SAFETY, defect) for defect in self._promises.defects]
        found += [(Verdict.UNRECOVERABLE, lost) for lost in self._promises.by_design]
        if self.services.other_defect:
            found.append((Verdict.SAFETY, self.services.other_defect))
        found += self.restarts.found
        if self._endless:
            found.append((Verdict.LIVENESS, self._endless))
        torn = self._store_is_gone
        stopped = bool(self._promises.defects or self.restarts.given_up or self._endless or torn)
        if not stopped:
            self.faults.over()
        found += [(Verdict.INCONCLUSIVE, text) for text in self.faults.never_happened]
        if stopped:
            return found  # how it would have ended is not known
        takeover, cause = self._incidents.takeover, self.system.report().cause
        cause = f", {cause}" if cause else ""
        if takeover is not None and takeover.report is not None and not self._old_source_is_settled:
            text = "the time was over before the old source could have heard of the failover"
            found.append((Verdict.INCONCLUSIVE, text))
        return found + unfinished(
            source_lost=takeover is not None,
            replica_lost=self.system.replica_machine.lost,
            source_lives=takeover is not None and not self.system.source_machine.lost,
            taken_over=takeover is not None and takeover.report is not None,
            takeover_defect="" if takeover is None else takeover.defect,
            programs_done=self._programs_done,
            converged=self._over(),
            state=f"{self.sampler.state}{cause}",
            held_seconds=self._held_seconds,
        )

    @property
    def _held_seconds(self) -> float:
        """So long the programs have been held for no reason that there is; 0 where they are not.

        Half of the settling time at least: programs on slow disks change something meanwhile.
        """
        if self._programs_done or not self.system.converged:
            return 0.0
        since_ns = self.world.clock.now() - self.system.truth.times_ns[-1]
        return since_ns / SECOND_NS if since_ns >= self.scenario.settle_ns / 2 else 0.0


def run_scenario(
    scenario: Scenario,
    seed: int | None = None,
    progress: Progress | None = None,
    at_end: Callable[[ScenarioRun], None] | None = None,
    at_start: Callable[[ScenarioRun], None] | None = None,
    safeguards: Safeguards = ALL_SAFEGUARDS,
) -> RunResult:
    """Run a scenario; returns its record.

    Arguments
    ---------
    seed: names the random choices; the scenario's own when None.
    progress: called with (simulated seconds, total seconds, state) at each sample.
    at_end: gets the run when it is over, its machines' disks as they were left.
    at_start: gets the run before anything of it has started, for who wants to look on.
    safeguards: for tests that switch one off.

    Raises BadInput when the scenario's files cannot be read.
    """
    try:
        run = ScenarioRun(scenario, seed, safeguards)
    except ValueError as error:
        # A contradiction that the check of scenarios does not know (yet).
        raise BadInput(
            f"the scenario cannot be set up: {error}",
            path=scenario.name,
            remedy="Change the keys that this sentence speaks of, and please report that "
            "'simulator check' did not find it.",
        ) from error
    if at_start is not None:
        at_start(run)
    result = run.run(progress)
    if at_end is not None:
        at_end(run)
    return result


__all__ = ["ScenarioRun", "run_scenario"]
