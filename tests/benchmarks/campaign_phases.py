"""Where the time of a campaign goes: by the part of a run, and by the phase that it is in."""

from __future__ import annotations

from collections import Counter
from types import FrameType

from simulator.oracle import Oracle
from simulator.run import ScenarioRun
from tests.benchmarks.shares import Sampler

START_NS = 50_000_000
"""A source has made its store by then, and the replica has its first image."""

_PARTS = {
    "the judge": ("simulator/oracle.py",),
    "programs: the store and its load": (
        "simulator/workload.py",
        "exchange/load.py",
        "exchange/small_store.py",
        "exchange/engine_store.py",
    ),
    "sender": ("replicator/source.py", "replicator/source_session.py"),
    "replica": ("replicator/replica.py", "replicator/replica_store.py", "replica_session.py"),
    "keeper of the history, recovery of the source": (
        "replicator/history.py",
        "replicator/capture_lock.py",
    ),
    "link": ("simulator/link.py", "simulator/stream.py", "simulator/network.py"),
    "sampling": ("simulator/sampling.py",),
    "making a world": ("simulator/scenario_world.py", "simulator/faults.py"),
    "record": ("simulator/run_record.py", "simulator/objectives.py"),
}
"""Parts of a run, by who stands highest among the callers: disks, digests and records count for
whoever uses them."""

_EXAMINE, _RUN = Oracle.examine.__code__, ScenarioRun.run.__code__
_BUILD, _END = ScenarioRun.__init__.__code__, ScenarioRun._result.__code__


class PhaseSampler(Sampler):
    """Charges each sample to a phase of the run in whose course it was taken, and to a part."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: Counter[str] = Counter()

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        part, phase = "kernel, clock, rest", ""
        while frame is not None:
            code = frame.f_code
            for name, files in _PARTS.items():
                if code.co_filename.endswith(files):
                    part = name
            if code is _EXAMINE:
                phase = "examinations"
            elif code is _BUILD:
                phase = "building the world"
            elif code is _END:
                phase = phase or "the record"
            elif code is _RUN:
                phase = phase or _by_simulated_time(frame.f_locals["self"])
            frame = frame.f_back
        self.counts[part] += 1
        self.phases[phase or "garbage, drawing of plans, rest"] += 1


def _by_simulated_time(run: ScenarioRun) -> str:
    now_ns, faults = run.world.clock.now(), run.scenario.faults
    first_ns = min((fault.at_ns for fault in faults), default=run.scenario.duration_ns)
    ends = [fault.at_ns + getattr(fault, "duration_ns", 0) for fault in faults]
    if now_ns < min(first_ns, START_NS):
        return "the first 50 ms"
    if now_ns < first_ns:
        return "from there to the first fault"
    if now_ns < max([run.scenario.duration_ns, *ends]):
        return "from the first fault to the end of programs and faults"
    return "settling"


def shares(counts: Counter[str], whole_ms: float) -> str:
    """Each name with its part of ``whole_ms``, the greatest first."""
    total = counts.total()
    return ", ".join(
        f"{name} {count / total * whole_ms:.1f} ms ({count / total:.0%})"
        for name, count in counts.most_common()
    )
