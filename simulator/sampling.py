"""The curves of a simulated run, and what is held against the truth at each of their points."""

from __future__ import annotations

from collections.abc import Callable

from replicator.logship_queue import QueueReport
from simulator.judgement import SECOND_NS
from simulator.measures import QueuePeaks, Samples
from simulator.run_record import in_aftermath
from simulator.scenario_world import ScenarioWorld
from simulator.shipped_truth import ShippedTruth
from simulator.systems.interface import ImageReport
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
        self.is_anothers: Callable[[], bool] = lambda: False
        """Whether the copy may be that of a second source."""
        self._clock = built.world.clock
        self._link = built.link
        self._system = built.system
        self._oracle = built.oracle
        self._queues: QueueReport | None = None

    @property
    def state(self) -> str:
        """The source's state at the last sample."""
        return self.samples.source_state[-1] if self.samples.source_state else "starting"

    def note_acknowledged(self) -> None:
        """Tell the oracle what the source knows to be durable at the replica."""
        durable = self._system.report().durable
        if durable is not None:
            self._oracle.acknowledged(*durable)

    def sample(self, lost_at_ns: int | None, over_ns: int | None = None) -> None:
        """Take one sample.

        Arguments
        ---------
        lost_at_ns: when the source was lost, if it was.
        over_ns: when a source that lives was closed, if it was.
        """
        system, samples, now_ns = self._system, self.samples, self._clock.now()
        if in_aftermath(now_ns, over_ns if lost_at_ns is None else lost_at_ns):
            return
        self.note_acknowledged()
        truth, report = system.truth, system.report()
        newest = max(self._oracle.durable.items(), default=self._oracle.seen)
        have = truth.instant_of(*(report.durable or newest))
        oldest_ns = truth.times_ns[have + 1] if have < truth.instant else None
        until_ns = now_ns if lost_at_ns is None else lost_at_ns
        spool_bytes = 0
        if lost_at_ns is None:
            spool_bytes = report.spool_bytes
            self.spool_peak_bytes = max(self.spool_peak_bytes, report.spool_peak_bytes)
            if report.lag is not None:
                lag = report.lag
                self.telemetry.lag(now_ns, lag.sender, lag.streaming, lag.lag_ns, oldest_ns)
        if report.queues is not None:
            self._judge_queue(now_ns, report.queues)
        self._sample_queues(lost_at_ns)
        if report.image is not None:
            self._judge_as_of(now_ns, report.image)
        self.journal_peak_bytes = max(self.journal_peak_bytes, report.journal_bytes)
        samples.time_seconds.append(now_ns / SECOND_NS)
        samples.spool_bytes.append(spool_bytes)
        samples.journal_bytes.append(report.journal_bytes)
        samples.lag_seconds.append(0.0 if oldest_ns is None else (until_ns - oldest_ns) / SECOND_NS)
        samples.lag_operations.append(truth.instant - have)
        samples.captured_bytes.append(truth.written_bytes[-1])
        samples.wire_bytes.append(system.wire_bytes(self._link)[0])
        samples.link_bytes_per_second.append(self._link.capacity_bytes_per_second(now_ns))
        samples.source_state.append("lost" if lost_at_ns is not None else report.state)

    def _judge_queue(self, now_ns: int, queues: QueueReport) -> None:
        """The copy queue is no shorter than it was when the source was heard last."""
        truth, heard_ns = self._system.truth, queues.heard_as_of_ns
        if heard_ns is None or not isinstance(truth, ShippedTruth):
            return
        generated = truth.newest_at(self._system.source_machine.instant_of(heard_ns))
        self.telemetry.queue(now_ns, queues.copy_queue, generated - queues.inspected)

    def _sample_queues(self, lost_at_ns: int | None) -> None:
        """The queues of log shipping; while the copy's process is down, as they were."""
        truth, samples = self._system.truth, self.samples
        if not isinstance(truth, ShippedTruth):
            return
        queues = self._system.report().queues
        if queues is not None:
            self._queues = queues
        inspected = replays = log_bytes = 0
        if self._queues is not None:
            inspected, replays = self._queues.inspected, self._queues.replay_queue
            log_bytes = self._queues.log_bytes
        # What a lost source had closed is not waited for any more.
        waiting = 0 if lost_at_ns is not None else max(0, truth.newest - inspected)
        samples.copy_queue_logs.append(waiting)
        samples.copy_queue_bytes.append(waiting * log_bytes)
        samples.replay_queue_logs.append(replays)
        samples.replay_queue_bytes.append(replays * log_bytes)

    @property
    def queue_peaks(self) -> QueuePeaks | None:
        """The longest queues; None where no logs are shipped."""
        samples = self.samples
        if not samples.copy_queue_logs:
            return None
        return QueuePeaks(
            max(samples.copy_queue_logs),
            max(samples.copy_queue_bytes),
            max(samples.replay_queue_logs),
            max(samples.replay_queue_bytes),
        )

    def _judge_as_of(self, now_ns: int, image: ImageReport) -> None:
        """The replica's image is as of no later than the first change that it lacks."""
        system = self._system
        truth = system.truth
        if image.epoch not in truth.epochs or self.is_anothers():
            return
        have = truth.instant_of(image.epoch, image.applied)
        until_ns = truth.times_ns[have + 1] if have < truth.instant else now_ns
        as_of_ns = system.source_machine.instant_of(image.as_of_ns)
        self.telemetry.as_of(now_ns, as_of_ns, until_ns)
