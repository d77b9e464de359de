"""One run of a scenario: build the world, let it run, judge, measure.

The run ends when the programs have ended, all faults are over and the replica has
converged; or, when the source is lost, when clients are at work on the replica; or when the
scenario's settling time has passed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from replicator.capture import SpoolPolicy
from replicator.errors import BadInput, ReplicatorError
from replicator.failover import FailoverOptions, FailoverReport, fail_over
from replicator.runtime import Task, sleep_ns
from replicator.safeguards import ALL_SAFEGUARDS, ReplicaOptions, Safeguards
from replicator.source import SourceOptions
from simulator.faults import FaultInjector
from simulator.host import Host, World, seeded_choice
from simulator.link import Link
from simulator.measures import (
    Check,
    RecoveryTime,
    RunResult,
    Samples,
    Verdict,
)
from simulator.objectives import measure_objectives, settle_verdict
from simulator.oracle import Oracle
from simulator.scenario import Scenario, StoreStream, TraceStream
from simulator.systems.byte_level import (
    REPLICA,
    REPLICA_ADDRESS,
    REPLICA_ROOT,
    SET_ID,
    SOURCE,
    ByteLevelOptions,
    ByteLevelSystem,
)
from simulator.traces import TracePlayer, read_writes
from simulator.workload import StoreWorkload, TraceWorkload, Workload

SECOND_NS = 1_000_000_000
EXAMINATIONS = 20
"""So often in the course of a run the replica is examined as if it died just then."""

AFTERMATH = 16
"""Curves end at the loss of the source, with a sixteenth of the time before it to look at."""

Progress = Callable[[float, float, str], None]


class ScenarioRun:
    """A scenario on its way; :func:`run_scenario` is the short form.

    Arguments
    ---------
    scenario: what to run.
    seed: instead of the scenario's own.
    safeguards: for tests that switch one off.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int | None = None,
        safeguards: Safeguards = ALL_SAFEGUARDS,
    ) -> None:
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        self.world = World(self.seed)
        self._fit_disks()
        self.link = self._lay_link()
        self.workload = self._workload()
        self.system = ByteLevelSystem(
            self.world, self.workload, self._options(safeguards), scenario.duration_ns
        )
        self.oracle = Oracle(
            self.system.truth,
            self.workload,
            self.system.open_store,
            "data",
            f"{REPLICA_ROOT}/image",
        )
        self.faults = FaultInjector(
            self.world,
            self.link,
            {SOURCE: scenario.source.restart_ns, REPLICA: scenario.replica.restart_ns},
            self._start,
            self._struck,
        )
        self.samples = Samples()
        self.spool_peak_bytes = 0
        self.journal_peak_bytes = 0
        self._programs_done = False
        self._source_lost = False
        self._lost_at_ns = 0
        self._failover: FailoverReport | None = None
        self._failover_task: Task[None] | None = None
        self._under_reported: list[str] = []
        self._last_prefix = (0, 0)
        self._defects: list[str] = []
        self._fatal: BaseException | None = None
        """An error of the input or of this program: not the replicator's to answer for."""
        self._stopped = ""
        """Why a host's software gave up, in words; empty while it works."""
        self.world.observers.append(self._observe)

    # -- building ------------------------------------------------------------------

    def _fit_disks(self) -> None:
        scenario = self.scenario
        source, replica = self.world.machine(SOURCE), self.world.machine(REPLICA)
        source.add_disk("data", scenario.source.disk.model)
        replica.add_disk("data", scenario.replica.disk.model)
        if scenario.source.spool_disk is not None:
            source.add_disk("spool", scenario.source.spool_disk.model)
        if scenario.replica.journal_disk is not None:
            replica.add_disk("journal", scenario.replica.journal_disk.model)

    def _lay_link(self) -> Link:
        made = Link(
            self.world.clock, SOURCE, REPLICA, self.scenario.link_model, self.world.random("jitter")
        )
        assert self.world.network is not None
        return self.world.network.add_link(made)

    def _workload(self) -> Workload:
        stream = self.scenario.stream
        if isinstance(stream, StoreStream):
            return StoreWorkload(stream.store, stream.load, self.world.random("load"))
        assert isinstance(stream, TraceStream)
        writes = read_writes(stream.path)
        if stream.limit_ns is not None:
            limit_ns = stream.limit_ns
            writes = (write for write in writes if write.time_ns < limit_ns)
        player = TracePlayer(
            writes,
            speed=stream.speed,
            compressible_share=stream.compressible,
            path=f"{TraceWorkload.root}/disk0.img",
            seed=self.seed,
        )
        return TraceWorkload(player)

    def _options(self, safeguards: Safeguards) -> ByteLevelOptions:
        p = self.scenario.protection
        return ByteLevelOptions(
            spool_limit_bytes=p.spool_limit_bytes,
            spool_segment_bytes=p.segment_size_bytes,
            spool_policy=SpoolPolicy(p.spool_full),
            source=SourceOptions(
                SET_ID,
                SOURCE,
                REPLICA_ADDRESS,
                batch_bytes=p.batch_size_bytes,
                window_bytes=p.window_bytes,
                compression_level=None if p.compression == "none" else p.compression_level,
                heartbeat_ns=p.heartbeat_ns,
                heartbeat_misses=p.heartbeat_misses,
                reconnect_ns=p.reconnect_ns,
                release_when_checkpointed=p.acknowledge_release == "checkpoint",
            ),
            replica=ReplicaOptions(
                SET_ID,
                REPLICA,
                journal_limit_bytes=p.journal_limit_bytes,
                segment_bytes=p.segment_size_bytes,
                checkpoint_bytes=p.checkpoint_every_bytes,
                checkpoint_interval_ns=p.checkpoint_interval_ns,
            ),
            safeguards=safeguards,
        )

    # -- events --------------------------------------------------------------------

    def _start(self, name: str) -> None:
        if name == SOURCE:
            self.system.start_source()
            return
        host = self.system.start_replica()
        if self._source_lost and self._failover is None:
            self._begin_failover(host)

    def _struck(self, kind: str, name: str) -> None:
        """A host has gone down, or an outage ends: judge the image and what would be lost."""
        self._note_acknowledged()
        occasion = f"{kind} of {name}"
        now_ns = self.world.clock.now()
        if name == REPLICA:
            self.system.replica = None
            if self.world.machine(REPLICA).lost:
                return
            verdict = self.oracle.judge(self.system.replica_machine.disks, None, occasion, now_ns)
        else:
            if kind == "loss":
                self._source_lost = True
                self._lost_at_ns = now_ns
            if self.world.machine(REPLICA).lost:
                self.oracle.lose_all(occasion, now_ns)
                return
            choose = seeded_choice(f"{self.seed}/{occasion}/{now_ns}")
            verdict = self.oracle.judge(self.system.replica_machine.disks, choose, occasion, now_ns)
        self._last_prefix = (verdict.epoch, verdict.operation)
        self.oracle.loss(verdict, occasion, now_ns)
        replica_host = self.system.replica_machine.processes.get(REPLICA)
        if self._source_lost and name == SOURCE and replica_host is not None:
            self._begin_failover(replica_host)

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if event == "programs_done":
            self._programs_done = True
        elif event == "failed":
            if not self.faults.answers_for(machine):
                self._software_failed(machine)
        elif event in ("store_lost_acknowledged", "replica_went_back"):
            self._defects.append(f"{event.replace('_', ' ')}: {values}")

    def _software_failed(self, machine: str) -> None:
        """A host's software ended with an error: whose fault is it?"""
        failure = self.world.machine(machine).failure
        if isinstance(failure, BadInput) or not isinstance(failure, ReplicatorError):
            self._fatal = failure
        else:
            self._stopped = f"the {machine}'s software stopped: {failure} ({failure.remedy})"

    def _begin_failover(self, host: Host) -> None:
        self._failover_task = host.kernel.run_task(self._fail_over(host), "failover")

    async def _fail_over(self, host: Host) -> None:
        f = self.scenario.failover
        while self.system.replica is None:
            await sleep_ns(SECOND_NS // 10)
        replica = self.system.replica
        if replica.silent_ns() is None:
            replica.heard()

        async def mount() -> None:
            volume = host.volume("data")
            verdict = await self.workload.mounts(host, volume, f"{REPLICA_ROOT}/image")
            if verdict is not None:
                await sleep_ns(f.mount_per_log_ns * self._logs_to_replay(host))
                self.oracle.checks.append(
                    Check(
                        "mountable",
                        host.now_ns() / SECOND_NS,
                        "failover",
                        verdict.ok,
                        verdict.reason,
                    )
                )

        report = await fail_over(
            host,
            replica,
            FailoverOptions(f.detect_ns, f.decide_ns, f.redirect_ns),
            lambda: self._source_lost,
            mount,
        )
        self._failover = report

    def _logs_to_replay(self, host: Host) -> int:
        """Log generations in the image: the most that a mount has to replay."""
        names = host.volume("data").list(f"{REPLICA_ROOT}/image")
        return sum(1 for name in names if name.endswith(".log"))

    # -- the course of a run -------------------------------------------------------

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run to the end; returns the record."""
        started = time.perf_counter()
        scenario, clock = self.scenario, self.world.clock
        self.faults.schedule(scenario.faults)
        self.system.start_replica()
        self.system.start_source()
        last_fault_ns = max(
            (fault.at_ns + getattr(fault, "duration_ns", 0) for fault in scenario.faults),
            default=0,
        )
        limit_ns = max(scenario.duration_ns, last_fault_ns) + scenario.settle_ns
        f = scenario.failover
        if any(fault.kind == "loss" and fault.host == SOURCE for fault in scenario.faults):
            limit_ns += f.detect_ns + f.decide_ns + f.redirect_ns
        examine_ns = max(1, scenario.duration_ns // EXAMINATIONS)
        next_examination_ns = examine_ns
        freeze = gc.isenabled()
        gc.disable()  # millions of long-lived blocks: cycles are few and end with the run
        try:
            while not self._over() and clock.now() < limit_ns:
                clock.run_until(min(limit_ns, clock.now() + scenario.sample_ns))
                self._sample()
                if clock.now() >= next_examination_ns and not self._source_lost:
                    next_examination_ns += examine_ns
                    self._examine("in the course of the run")
                if progress is not None:
                    progress(
                        min(clock.now(), scenario.duration_ns) / SECOND_NS,
                        scenario.duration_ns / SECOND_NS,
                        self.samples.source_state[-1] if self.samples.source_state else "starting",
                    )
            if self._fatal is not None:
                raise self._fatal
            return self._result(time.perf_counter() - started)
        finally:
            self.world.close()
            if freeze:
                gc.enable()

    def _over(self) -> bool:
        if self._defects or self._stopped or self._fatal is not None:
            return True
        if self._source_lost:
            return self._failover is not None or self.world.machine(REPLICA).lost
        return (
            self._programs_done
            and not self.faults.awaited
            and (self.system.converged or self.world.machine(REPLICA).lost)
        )

    def _note_acknowledged(self) -> None:
        source = self.system.source
        if source is not None and source.committed:
            self.oracle.acknowledged(source.spool.epoch, source.durable)

    def _examine(self, occasion: str) -> None:
        replica = self.system.replica_machine
        if replica.lost:
            return
        self._note_acknowledged()
        now_ns = self.world.clock.now()
        choose = seeded_choice(f"{self.seed}/examination/{now_ns}") if replica.running else None
        verdict = self.oracle.judge(replica.disks, choose, occasion, now_ns)
        self._last_prefix = (verdict.epoch, verdict.operation)

    def _sample(self) -> None:
        system, samples, clock = self.system, self.samples, self.world.clock
        truth, source, replica = system.truth, system.source, system.replica
        now_ns = clock.now()
        if self._source_lost and (now_ns - self._lost_at_ns) * AFTERMATH > self._lost_at_ns:
            return  # the rest of a failover takes place outside of these curves
        self._note_acknowledged()
        down = not system.sender_runs
        spool_bytes = 0
        operations = 0
        lag_s = 0.0
        if source is not None and source.committed:
            have = truth.instant_of(source.spool.epoch, source.durable)
        else:
            epoch, operation = max(self.oracle.durable.items(), default=(0, 0))
            have = truth.instant_of(epoch, operation)
        if have < truth.instant:
            operations = truth.instant - have
            until_ns = self._lost_at_ns if self._source_lost else now_ns
            lag_s = (until_ns - truth.times_ns[have + 1]) / SECOND_NS
        if source is not None and not self._source_lost:
            spool_bytes = source.spool.waiting_bytes
            self.spool_peak_bytes = max(self.spool_peak_bytes, source.spool.peak_bytes)
            reported_ns = None if down else source.lag_ns()
            if reported_ns is not None and reported_ns / SECOND_NS + 1e-9 < lag_s:
                self._under_reported.append(
                    f"at {now_ns / SECOND_NS:.1f} s: {reported_ns / SECOND_NS:.3f} s "
                    f"reported, {lag_s:.3f} s true"
                )
        journal_bytes = 0
        if replica is not None:
            journal_bytes = replica.store.journal.held_bytes
        self.journal_peak_bytes = max(self.journal_peak_bytes, journal_bytes)
        forward, _ = system.wire_bytes(self.link)
        samples.time_seconds.append(now_ns / SECOND_NS)
        samples.spool_bytes.append(spool_bytes)
        samples.journal_bytes.append(journal_bytes)
        samples.lag_seconds.append(lag_s)
        samples.lag_operations.append(operations)
        samples.captured_bytes.append(truth.written_bytes[-1])
        samples.wire_bytes.append(forward)
        samples.link_bytes_per_second.append(self.link.capacity_bytes_per_second(now_ns))
        if self._source_lost:
            state = "lost"
        elif down:
            state = "down"
        else:
            state = source.state.value if source is not None else "starting"
        samples.source_state.append(state)

    # -- the end -------------------------------------------------------------------

    def _result(self, wall_seconds: float) -> RunResult:
        scenario, system, clock = self.scenario, self.system, self.world.clock
        if not self._source_lost:
            self._examine("end of run")
        checks = self.oracle.checks
        checks.append(
            Check(
                "honest telemetry",
                clock.now() / SECOND_NS,
                "every sample",
                not self._under_reported,
                "; ".join(self._under_reported[:3]),
            )
        )
        checks.append(
            Check(
                "capture is complete",
                clock.now() / SECOND_NS,
                "every operation",
                not system.truth.breaches,
                "; ".join(system.truth.breaches[:3]),
            )
        )
        recovery = None
        if self._failover is not None:
            r = self._failover
            recovery = RecoveryTime(
                (r.detected_at_ns - self._lost_at_ns) / SECOND_NS,
                r.decide_ns / SECOND_NS,
                r.recover_ns / SECOND_NS,
                r.mount_ns / SECOND_NS,
                r.redirect_ns / SECOND_NS,
            )
        forward, backward = system.wire_bytes(self.link)
        ledger = self.workload.ledger
        result = RunResult(
            scenario=scenario.name,
            description=scenario.description,
            seed=self.seed,
            verdict=Verdict.PASS,
            reasons=[],
            losses=self.oracle.losses,
            recovery=recovery,
            objectives={},
            checks=checks,
            faults=self.faults.marks(),
            samples=self.samples,
            spool_peak_bytes=self.spool_peak_bytes,
            spool_limit_bytes=scenario.protection.spool_limit_bytes,
            journal_peak_bytes=self.journal_peak_bytes,
            wire_bytes=forward,
            reverse_wire_bytes=backward,
            captured_bytes=system.truth.written_bytes[-1],
            operations=system.truth.instant,
            messages=None if ledger is None else ledger.acknowledged_messages,
            resynchronizations=max(0, system.resynchronizations - 1),
            prefix=self._last_prefix,
            trace_hash=self.world.trace.digest(),
            wall_seconds=wall_seconds,
            simulated_seconds=clock.now() / SECOND_NS,
        )
        measure_objectives(scenario, result)
        self._verdict(result)
        return result

    def _verdict(self, result: RunResult) -> None:
        found = [(Verdict.SAFETY, defect) for defect in self._defects]
        if self.world.machine(REPLICA).lost:
            found.append(
                (Verdict.UNRECOVERABLE, "source and replica are lost: nothing is left")
                if self._source_lost
                else (
                    Verdict.INCONCLUSIVE,
                    "the replica was lost for ever: from then on the source was unprotected",
                )
            )
        if self._stopped:
            found.append((Verdict.INCONCLUSIVE, self._stopped))
        elif self._source_lost and self.world.machine(REPLICA).lost:
            pass
        elif self._source_lost:
            if self._failover is None and not self._defects:
                found.append(
                    (Verdict.LIVENESS, "the failover did not end within the settling time")
                )
        elif not self._over():
            state = self.samples.source_state[-1] if self.samples.source_state else "starting"
            cause = self.system.source.cause if self.system.source is not None else ""
            found.append(
                (
                    Verdict.LIVENESS if self._programs_done else Verdict.INCONCLUSIVE,
                    "the replica had not converged when the settling time was over "
                    f"(source: {state}{', ' + cause if cause else ''})"
                    if self._programs_done
                    else "the programs had not ended when the time was over",
                )
            )
        found += [(Verdict.INCONCLUSIVE, text) for text in self.faults.never_happened]
        settle_verdict(result, found)


def run_scenario(
    scenario: Scenario,
    seed: int | None = None,
    progress: Progress | None = None,
    at_end: Callable[[ScenarioRun], None] | None = None,
) -> RunResult:
    """Run a scenario; returns its record.

    Arguments
    ---------
    seed: names the random choices; the scenario's own when None.
    progress: called with (simulated seconds, total seconds, state) at each sample.
    at_end: gets the run when it is over, its machines' disks as they were left.

    Raises BadInput when the scenario's files cannot be read.
    """
    try:
        run = ScenarioRun(scenario, seed)
    except ValueError as error:
        # A contradiction that the check of scenarios does not know (yet).
        raise BadInput(
            f"the scenario cannot be set up: {error}",
            path=scenario.name,
            remedy="Change the keys that this sentence speaks of, and please report that "
            "'simulator check' did not find it.",
        ) from error
    result = run.run(progress)
    if at_end is not None:
        at_end(run)
    return result


__all__ = ["ScenarioRun", "run_scenario"]
