"""The curves of a live run, read from beside: status pages, the truth file, the relay's counts.

Nothing is asked of the processes.  A page is as old as half a heartbeat; what it reports is
judged against the truth at the instant at which it was written.
"""

from __future__ import annotations

import time
from typing import Any, Final

from replicator.status_view import ProcessView, StatusView
from simulator.live.judge import LiveJudge
from simulator.live.machines import LiveLink, Machines
from simulator.live.truth_file import TruthReader
from simulator.measures import Samples
from simulator.telemetry import TelemetryJudge

SECOND_NS: Final = 1_000_000_000
STAMP_TOLERANCE_NS: Final = 100_000_000
"""A process may lose the processor between measuring its lag and stamping its report."""


class LiveSampler:
    """Takes samples.

    Arguments
    ---------
    machines, link, truth: what is looked at.
    judge: is told what was acknowledged as durable.
    heartbeat_ns: so long a source that streams may be silent about its lag.
    """

    def __init__(
        self,
        machines: Machines,
        link: LiveLink,
        truth: TruthReader,
        judge: LiveJudge,
        heartbeat_ns: int,
    ) -> None:
        self.samples = Samples()
        self.spool_peak_bytes = 0
        self.journal_peak_bytes = 0
        self.telemetry = TelemetryJudge(heartbeat_ns, STAMP_TOLERANCE_NS)
        self.resynchronizations = 0
        self._earlier_resynchronizations = 0
        self._machines = machines
        self._link = link
        self._truth = truth
        self._judge = judge
        self._judged_ns: dict[str, int] = {}
        """Of each end, when the last report was written that was judged."""

    def note_acknowledged(self) -> StatusView | None:
        """Take in what the source says; None when the source is lost."""
        machines = self._machines
        if "source" in machines.lost:
            return None
        view = machines.source_status()
        status = {} if view.source is None else view.source.last_known or {}
        if status.get("durable") is not None:
            self._judge.acknowledged(status["epoch"], status["durable"])
        if view.spool is not None:
            self.spool_peak_bytes = max(self.spool_peak_bytes, view.spool.waiting_bytes)
        if status:
            self.spool_peak_bytes = max(self.spool_peak_bytes, status["spool_peak_bytes"])
            made = status["resynchronizations"]
            if made < self.resynchronizations - self._earlier_resynchronizations:
                self._earlier_resynchronizations = self.resynchronizations  # a new process
            self.resynchronizations = self._earlier_resynchronizations + made
        return view

    def sample(self, now_ns: int, lost_at_ns: int | None) -> str:
        """Take one sample; returns the source's state."""
        truth, samples = self._truth, self.samples
        view = self.note_acknowledged()
        truth.poll()
        source = None if view is None or view.source is None else view.source.status
        if view is not None and view.source is not None:
            self._judge_lag(view.source, now_ns)
        self._judge_as_of(now_ns)
        epoch, operation = max(self._judge.durable.items(), default=(0, 0))
        have, last = truth.instant_of(epoch, operation), truth.instant
        lag_s = 0.0
        if have < last:
            until_ns = now_ns if lost_at_ns is None else lost_at_ns
            lag_s = max(0, until_ns - truth.times_ns[have + 1]) / SECOND_NS
        spool_bytes = 0 if view is None or view.spool is None else view.spool.waiting_bytes
        journal_bytes = self._journal_bytes()
        self.journal_peak_bytes = max(self.journal_peak_bytes, journal_bytes)
        if view is None:
            state = "lost"
        elif view.source is None or source is None:
            state = "down"
        else:
            state = str(source["state"])
        samples.time_seconds.append(now_ns / SECOND_NS)
        samples.spool_bytes.append(spool_bytes)
        samples.journal_bytes.append(journal_bytes)
        samples.lag_seconds.append(lag_s)
        samples.lag_operations.append(last - have)
        samples.captured_bytes.append(truth.written_bytes[-1])
        samples.wire_bytes.append(self._link.counts()[0])
        samples.link_bytes_per_second.append(self._link.capacity_bytes_per_second(now_ns))
        samples.source_state.append(state)
        return state

    def _journal_bytes(self) -> int:
        if "replica" in self._machines.lost:
            return 0
        replica = self._machines.replica_status().replica
        if replica is None or replica.last_known is None:
            return 0
        return int(replica.last_known["journal_used_bytes"])

    def _news(self, end: str, view: ProcessView, now_ns: int) -> int | None:
        """When a report was written that was not judged yet; None when there is none."""
        if view.status is None or view.age_ns is None:
            return None
        written_ns = now_ns - view.age_ns
        if written_ns <= self._judged_ns.get(end, -1):
            return None
        self._judged_ns[end] = written_ns
        return written_ns

    def _judge_lag(self, view: ProcessView, now_ns: int) -> None:
        """Was the reported lag, when it was written, at least the true one?"""
        written_ns, truth = self._news("source", view, now_ns), self._truth
        if written_ns is None or view.status is None:
            return
        status: dict[str, Any] = view.status
        oldest_ns = None
        if status["durable"] is not None:
            have = truth.instant_of(status["epoch"], status["durable"])
            if have < truth.instant:
                oldest_ns = truth.times_ns[have + 1]
        sender = (view.pid or 0, status["epoch"])
        streams = status["state"] == "streaming"
        self.telemetry.lag(written_ns, sender, streams, status["lag_ns"], oldest_ns)

    def _judge_as_of(self, now_ns: int) -> None:
        """The replica's image is as of no later than the first change that it lacks."""
        truth, machines = self._truth, self._machines
        view = None if "replica" in machines.lost else machines.replica_status().replica
        written_ns = None if view is None else self._news("replica", view, now_ns)
        if view is None or view.status is None or written_ns is None:
            return
        status: dict[str, Any] = view.status
        if status["damage"] or status["epoch"] not in truth.epochs:
            return
        have = truth.instant_of(status["epoch"], status["applied"])
        until_ns = truth.times_ns[have + 1] if have < truth.instant else written_ns
        wall_zero_ns = time.time_ns() - time.monotonic_ns() + truth.zero_ns
        self.telemetry.as_of(written_ns, status["as_of_wall_ns"] - wall_zero_ns, until_ns)
