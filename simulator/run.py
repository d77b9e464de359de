"""One run of a scenario: let its world run, have it judged, and make the record.

The run ends when the programs have ended, all faults are over and the replica has
converged; or, when the source is lost, when clients are at work on the replica; or when the
scenario's settling time has passed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial

from replicator.errors import BadInput, ReplicatorError, SourceFenced
from replicator.safeguards import ALL_SAFEGUARDS, Safeguards
from simulator.bounds import BoundsWatch
from simulator.circumstances import CircumstanceFinder
from simulator.exchange.store import StoreUnmountable
from simulator.faults import FaultInjector
from simulator.host import lose_everything, seeded_choice
from simulator.judgement import SECOND_NS, Claim
from simulator.known import Known
from simulator.measures import RunResult, Verdict
from simulator.objectives import asks_for_failover
from simulator.one_source import OneSourceJudge
from simulator.oracle import ImageVerdict
from simulator.promises import Promises
from simulator.restarts import Restarts
from simulator.run_record import Observed, Progress, make_record, unfinished
from simulator.runtime import TimeStandsStill
from simulator.sampling import Sampler
from simulator.scenario import Scenario
from simulator.scenario_world import ScenarioWorld
from simulator.systems.byte_level import REPLICA, SOURCE
from simulator.systems.interface import OtherReplica, SecondSourceMachine
from simulator.systems.other_replica import OTHER
from simulator.systems.second_source import SECOND
from simulator.takeover import Takeover

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
        self._safeguards = safeguards
        self._known = known
        self._built = built = ScenarioWorld(scenario, self.seed, safeguards, self._known)
        self.world, self.link, self.system = built.world, built.link, built.system
        self.workload, self.oracle = built.workload, built.oracle
        self._restart_ns = {
            SOURCE: scenario.source.restart_ns,
            REPLICA: scenario.replica.restart_ns,
        }
        self._fault_seed = self.seed if scenario.fault_seed is None else scenario.fault_seed
        self.faults = FaultInjector(
            self.world,
            self.link,
            self._restart_ns,
            self._start,
            self._struck,
            self._start_second_source,
            self._fault_seed,
            self._fail_over,
            self._other_replica,
        )
        self.sampler = Sampler(built)
        self.restarts = Restarts(self.faults.marks)
        self._programs_done = False
        self._circumstances = CircumstanceFinder(self.system, self.faults, built.whole_bytes)
        self.oracle.rotten_end = self._circumstances.rotten_end
        self._promises = Promises(
            lambda: scenario.faults,
            self.world.clock,
            self.oracle,
            self.system,
            self.faults,
            self._circumstances,
        )
        self._store_is_torn = False
        """The source's store does not mount by itself any more: there is nothing more to see."""
        self._bounds: BoundsWatch | None = None
        """None for a system that keeps neither spool nor journal in the places of ours."""
        if scenario.candidate is None:
            self._bounds = BoundsWatch(
                self.system.source_machine,
                self.system.replica_machine,
                scenario.protection.spool_limit_bytes,
                scenario.protection.journal_limit_bytes,
            )
        self._one_source: OneSourceJudge | None = None
        """None for a system that has no epochs."""
        if scenario.candidate is None:
            self._one_source = OneSourceJudge(
                scenario,
                self.world,
                self.system,
                self.oracle,
                self.faults.marks,
                lambda: getattr(self.workload.ledger, "acknowledged_messages", None),
                self._circumstances.found,
            )
        self._takeover: Takeover | None = None
        """Since the source is lost, or a failover was ordered."""
        self._lost_at_ns: int | None = None
        """When the source was lost."""
        self._last_prefix = (0, 0)
        self._second: SecondSourceMachine | None = None
        self._other: OtherReplica | None = None
        self._endless = ""
        """Why the run was stopped in the midst of an instant; empty when it was not."""
        self._fatal: BaseException | None = None
        """An error of the input or of this program: not the replicator's to answer for."""
        self.world.observers.append(self._observe)

    # -- events --------------------------------------------------------------------

    def _start(self, name: str) -> None:
        """Start a machine's software, as far as it does not run."""
        if name == SOURCE:
            self.system.start_source()
        elif REPLICA not in self.system.replica_machine.processes:
            self._promises.replica_starts()
            host = self.system.start_replica()
            if self._takeover is not None and self._takeover.report is None:
                self._takeover.begin(host)

    def _start_second_source(self) -> Callable[[], None]:
        if self._second is None:
            self._second = self.system.second_source(self.link)
        self._second.start()
        return self._second.stop

    def _other_replica(self) -> OtherReplica:
        if self._other is None:
            self._other = self.system.other_replica(self.link)
        return self._other

    def _fail_over(self) -> str:
        """An operator has the replica take over; returns why that cannot be, else nothing."""
        if self._takeover is not None:
            return "a failover was under way by then"
        replica, found = self.system.replica_machine, self._circumstances.found
        there = self.oracle.examine(replica.disks, None, mount=False).claim
        if not (there.epoch or there.damage or there.failure):
            return "no image had ever been completed at the replica by then"
        now_ns = self.world.clock.now()
        self._takeover = Takeover(
            self._built, now_ns, self._certain(), found, self._one_source, ordered=True
        )
        host = replica.processes.get(REPLICA)
        if host is not None:
            self._takeover.begin(host)
        return ""

    def _struck(self, kind: str, name: str) -> None:
        """A host has gone down, or an outage ends: judge the image and what would be lost."""
        self._note_acknowledged()
        occasion = f"{kind} of {name}"
        now_ns = self.world.clock.now()
        replica_lost = self.system.replica_machine.lost
        if name == REPLICA:
            self.system.replica_down()
            if self._one_source is not None:
                self._one_source.replica_struck()
        if kind == "loss" and name == SOURCE:
            self._lost_at_ns = now_ns
        if self._takeover is not None and self._takeover.taken_over is not None:
            return  # the image has become the store's own
        if name == REPLICA:
            if replica_lost:
                return
            if kind == "replica_restored":
                self._promises.void(None)  # nothing that came after the copy was made is there
            # What the next start will find; and what it would find if the power went, too.
            verdict = self._judge(occasion, cache_as_it_is=True)
            if self._promises.replica_is_down(kind, verdict.claim) and self._takeover is not None:
                self._takeover.at_loss = verdict.claim
            if self.system.replica_machine.powered:
                self._judge(f"{occasion}, then its power fails")
        elif not replica_lost:
            verdict = self._judge(occasion)
        begins = kind == "loss" and name == SOURCE and self._takeover is None
        if begins:
            found = self._circumstances.found
            certain = self._certain()
            self._takeover = Takeover(self._built, now_ns, certain, found, self._one_source)
        if replica_lost:
            self.oracle.lose_all(occasion, now_ns)
            return
        self._last_prefix = (verdict.epoch, verdict.operation)
        self.oracle.loss(verdict, occasion, now_ns)
        host = self.system.replica_machine.processes.get(REPLICA)
        if begins and self._takeover is not None and host is not None:
            self._takeover.begin(host)

    def _note_acknowledged(self) -> None:
        self.sampler.note_acknowledged()
        if self._one_source is not None:
            self._one_source.look()

    def _judge(
        self, occasion: str, cache_as_it_is: bool = False, final: bool = False
    ) -> ImageVerdict:
        """Judge the replica's disks, robbed of what is unsynced in a cache that still lives."""
        replica, now_ns = self.system.replica_machine, self.world.clock.now()
        choose = None
        if replica.powered and not cache_as_it_is:
            before = all(now_ns < fault.at_ns for fault in self.scenario.faults)
            seed = self.seed if before else self._fault_seed
            choose = seeded_choice(f"{seed}/{occasion}/{now_ns}")
        so = partial(self._circumstances.found, final=final)
        if self._known is None or any(f.at_ns <= now_ns for f in self.scenario.faults):
            verdict = self.oracle.judge(replica.disks, choose, occasion, now_ns, circumstances=so)
        else:
            # Until the first fault begins all runs of this seed are one and the same.
            key = (self.seed, self._safeguards, occasion, now_ns)
            known = self._known.verdicts.get(key)
            verdict = self.oracle.judge(replica.disks, choose, occasion, now_ns, known)
            self._known.verdicts.keep(key, verdict)
        if self._one_source is not None:
            self._one_source.image(verdict.claim, occasion)
        return verdict

    def _certain(self) -> Claim | None:
        """What the replica can lose by no power loss from here on."""
        replica = self.system.replica_machine
        if replica.lost:
            return None
        return self.oracle.examine(replica.disks, lose_everything, mount=False).claim

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if machine in (SECOND, OTHER):
            failure = self.world.machine(machine).failure
            if event == "failed" and not isinstance(failure, ReplicatorError):
                self._fatal = failure
        elif event == "programs_done":
            self._programs_done = True
        elif event == "activity" and machine == REPLICA and values[0] == "resynchronize":
            self.world.clock.soon(self._resynchronized)
        elif event == "failed":
            if self._is_closed(machine) or not self.faults.answers_for(machine):
                self.world.clock.soon(lambda: self._software_failed(machine))
        elif event == "store_lost_acknowledged":
            self._promises.store_lost_acknowledged(values)
        elif event == "replica_went_back":
            self._promises.replica_went_back(int(values[1]))
        elif event == "source_state":
            self._promises.source_enters(str(values[0]))

    def _resynchronized(self) -> None:
        """Another image has been committed: from this instant on it must be that of one."""
        doubts = self.system.doubts()
        if doubts is not None and doubts.switching and self._takeover is None:
            self._examine("a resynchronization was committed")

    def _is_closed(self, name: str) -> bool:
        """Whether a machine's programs end because their replica has taken over."""
        failure = self.world.machine(name).failure
        return self._takeover is not None and isinstance(failure, SourceFenced)

    def _software_failed(self, name: str) -> None:
        """A process ended with an error: the machine's service manager sees it, and acts."""
        machine = self.world.machine(name)
        failed = [(p, h.failure) for p, h in machine.processes.items() if h.failure is not None]
        for process, failure in failed:
            if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
                self._fatal = failure
                return
            machine.end(process)
            if isinstance(failure, StoreUnmountable) and self._promises.store_is_torn(failure):
                self._store_is_torn = True
                continue
            if self._takeover is not None and isinstance(failure, SourceFenced):
                continue  # its replica has taken over: as it is meant, and for good
            if process == REPLICA:
                self.system.replica_down()
            now_ns = self.world.clock.now()
            if self.restarts.ended(name, process, failure.advice, now_ns):
                restart_ns = now_ns + self._restart_ns[name]
                self.world.clock.at(restart_ns, lambda: self._start_again(name))

    def _start_again(self, name: str) -> None:
        machine = self.world.machine(name)
        if machine.powered:  # else it is started when its power comes back, if ever
            self._start(name)

    # -- the course of a run -------------------------------------------------------

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run to the end; returns the record."""
        started = time.perf_counter()
        self.faults.schedule(self.scenario.faults)
        self.system.start_replica()
        self.system.start_source()
        freeze = gc.isenabled()
        gc.disable()  # millions of long-lived blocks: cycles are few and end with the run
        try:
            try:
                self._follow(progress)
            except TimeStandsStill as endless:
                self._endless = f"tasks wake each other for ever: {endless}"
            self._look_for_fatal_errors()
            return self._result(time.perf_counter() - started)
        finally:
            self.world.close()
            self.system.close()
            if freeze:
                gc.enable()

    def _follow(self, progress: Progress | None) -> None:
        """Let time go on until the run is over."""
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
                if clock.now() >= next_examination_ns and self._takeover is None:
                    next_examination_ns += examine_ns
                    self._examine("in the course of the run")
                if progress is not None:
                    progress(
                        min(clock.now(), scenario.duration_ns) / SECOND_NS,
                        scenario.duration_ns / SECOND_NS,
                        self.sampler.state,
                    )

    def _sample(self) -> None:
        judge = self._one_source
        self.sampler.sample(self._lost_at_ns, None if judge is None else judge.fenced_ns)
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

    def _over(self) -> bool:
        if self._promises.defects or self.restarts.given_up or self._fatal is not None:
            return True
        if self._store_is_torn and self._takeover is None:
            return True
        replica_lost, takeover = self.system.replica_machine.lost, self._takeover
        if takeover is not None:
            if replica_lost or takeover.failure is not None:
                return True
            return takeover.report is not None and self._old_source_is_settled
        settled = self.system.converged or replica_lost
        return self._programs_done and not self.faults.awaited and settled

    @property
    def _old_source_is_settled(self) -> bool:
        """Whether nothing is to come of the source that a replica has taken over from."""
        takeover, judge = self._takeover, self._one_source
        if takeover is None or judge is None or not takeover.ordered:
            return True
        return judge.settled and not self.faults.awaited

    def _look_for_fatal_errors(self) -> None:
        failure = None if self._takeover is None else self._takeover.failure
        if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
            self._fatal = self._fatal or failure
        if self._fatal is not None:
            raise self._fatal

    def _examine(self, occasion: str, final: bool = False) -> None:
        if self.system.replica_machine.lost:
            return
        self._note_acknowledged()
        verdict = self._judge(occasion, final=final)
        self._last_prefix = (verdict.epoch, verdict.operation)

    # -- the end -------------------------------------------------------------------

    def _result(self, wall_seconds: float) -> RunResult:
        system, sampler, takeover = self.system, self.sampler, self._takeover
        if takeover is None:
            self._examine("end of run", final=True)
        elif takeover.taken_over is not None:
            self._last_prefix = (takeover.taken_over.epoch, takeover.taken_over.operation)
        if self._bounds is not None:
            self.oracle.checks.append(self._bounds.check(self.world.clock.now() / SECOND_NS))
        self._finish_one_source()
        ledger = self.workload.ledger
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
            prefix=self._last_prefix,
            found=self._found(),
            not_judged=system.not_judged,
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
        judge, takeover = self._one_source, self._takeover
        if judge is None:
            return
        judge.finish()
        afterwards = judge.written_afterwards()
        if takeover is not None and takeover.ordered and afterwards is not None:
            self.oracle.losses.append(afterwards)

    def _found(self) -> list[tuple[Verdict, str]]:
        found = [(Verdict.SAFETY, defect) for defect in self._promises.defects]
        found += [(Verdict.UNRECOVERABLE, lost) for lost in self._promises.by_design]
        if self._other is not None and self._other.defect:
            found.append((Verdict.SAFETY, self._other.defect))
        found += self.restarts.found
        if self._endless:
            found.append((Verdict.LIVENESS, self._endless))
        torn = self._store_is_torn and self._takeover is None
        stopped = bool(self._promises.defects or self.restarts.given_up or self._endless or torn)
        if not stopped:
            self.faults.over()
        found += [(Verdict.INCONCLUSIVE, text) for text in self.faults.never_happened]
        if stopped:
            return found  # how it would have ended is not known
        takeover, cause = self._takeover, self.system.report().cause
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
        )


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
