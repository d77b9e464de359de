"""The curves of a simulated run, and what is held against the truth at each of their points."""

from __future__ import annotations

from replicator.source import SourceState
from simulator.judgement import SECOND_NS
from simulator.measures import Samples
from simulator.run_record import in_aftermath
from simulator.scenario_world import ScenarioWorld
from simulator.telemetry import TelemetryJudge


class Sampler:
    """Takes samples.

    Arguments
    ---------
    built: the world of the run.
    """

    def __init__(self, built: ScenarioWorld) -> None:
        self.samples = Samples()
        self.spool_peak_bytes = 0
        self.journal_peak_bytes = 0
        self.telemetry = TelemetryJudge(built.scenario.protection.heartbeat_ns)
        self._clock = built.world.clock
        self._link = built.link
        self._system = built.system
        self._oracle = built.oracle

    @property
    def state(self) -> str:
        """The source's state at the last sample."""
        return self.samples.source_state[-1] if self.samples.source_state else "starting"

    def note_acknowledged(self) -> None:
        """Tell the oracle what the source knows to be durable at the replica."""
        source = self._system.source
        if source is not None and source.committed:
            self._oracle.acknowledged(source.spool.epoch, source.durable)

    def sample(self, lost_at_ns: int | None) -> None:
        """Take one sample; ``lost_at_ns``: when the source was lost, if it was."""
        system, samples, now_ns = self._system, self.samples, self._clock.now()
        if in_aftermath(now_ns, lost_at_ns):
            return
        self.note_acknowledged()
        truth, source, replica = system.truth, system.source, system.replica
        if source is not None and source.committed:
            have = truth.instant_of(source.spool.epoch, source.durable)
        else:
            epoch, operation = max(self._oracle.durable.items(), default=(0, 0))
            have = truth.instant_of(epoch, operation)
        oldest_ns = truth.times_ns[have + 1] if have < truth.instant else None
        until_ns = now_ns if lost_at_ns is None else lost_at_ns
        spool_bytes = 0
        if source is not None and lost_at_ns is None:
            spool_bytes = source.spool.waiting_bytes
            self.spool_peak_bytes = max(self.spool_peak_bytes, source.spool.peak_bytes)
            self._judge_lag(now_ns, oldest_ns)
        if replica is not None:
            self._judge_as_of(now_ns)
        journal_bytes = 0 if replica is None else replica.store.journal.held_bytes
        self.journal_peak_bytes = max(self.journal_peak_bytes, journal_bytes)
        if lost_at_ns is not None:
            state = "lost"
        elif not system.sender_runs:
            state = "down"
        else:
            state = "starting" if source is None else source.state.value
        samples.time_seconds.append(now_ns / SECOND_NS)
        samples.spool_bytes.append(spool_bytes)
        samples.journal_bytes.append(journal_bytes)
        samples.lag_seconds.append(0.0 if oldest_ns is None else (until_ns - oldest_ns) / SECOND_NS)
        samples.lag_operations.append(truth.instant - have)
        samples.captured_bytes.append(truth.written_bytes[-1])
        samples.wire_bytes.append(system.wire_bytes(self._link)[0])
        samples.link_bytes_per_second.append(self._link.capacity_bytes_per_second(now_ns))
        samples.source_state.append(state)

    def _judge_lag(self, now_ns: int, oldest_ns: int | None) -> None:
        source, runs = self._system.source, self._system.sender_runs
        assert source is not None
        self.telemetry.lag(
            now_ns,
            (source.runtime.incarnation, source.spool.epoch),
            runs and source.state is SourceState.STREAMING,
            source.lag_ns() if runs else None,
            oldest_ns,
        )

    def _judge_as_of(self, now_ns: int) -> None:
        """The replica's image is as of no later than the first change that it lacks."""
        system = self._system
        truth, replica = system.truth, system.replica
        if replica is None or replica.store.epoch not in truth.epochs or replica.store.damage:
            return
        store = replica.store
        have = truth.instant_of(store.epoch, store.applied)
        until_ns = truth.times_ns[have + 1] if have < truth.instant else now_ns
        as_of_ns = system.source_machine.instant_of(store.as_of_ns)
        self.telemetry.as_of(now_ns, as_of_ns, until_ns)
