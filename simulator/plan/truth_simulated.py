"""A case of the truth as a scenario of the event simulation, and what was seen there.

Byte level: the writes of a case are played as a trace from a file of a temporary directory.  Log
shipping, and byte level below a mail store: the store writes, and what it wrote when is taken
from the truth of the run.  Nothing is compressed, so bytes are the same on both sides.

What is seen: once a second the spool (log shipping: the closed logs that the copy lacks) and the
age of the oldest operation that the source does not know to be durable at the copy.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from replicator.ese.log_names import LogRole, parse_log_name
from simulator.measures import Verdict
from simulator.plan.capacity import PlannedLink, RateWindow
from simulator.plan.grid import Floats
from simulator.plan.truth_cases import (
    SECTOR_BYTES,
    WRITE_BYTES,
    Mail,
    TruthCase,
    Writes,
    writes_of_curve,
    writes_of_trace,
)
from simulator.run import ScenarioRun, run_scenario
from simulator.scenario import Scenario
from simulator.shipped_truth import ShippedTruth
from simulator.systems.byte_level import REPLICA

SAMPLE_SECONDS: Final = 1.0
_SECOND_NS: Final = 1_000_000_000
_SETTLE: Final = "6h"


@dataclass(frozen=True, eq=False)
class Simulated:
    """What the event simulation gave.

    Attributes
    ----------
    scenario: that was run.
    verdict: of the run.
    at_seconds: the instants of the samples, within the span of the case.
    spool_bytes, lag_seconds: at these.
    writes: what the source's programs wrote, when.
    begins_seconds: so much later than planned the programs began: the copy is empty first.
    first_image_seconds: when the copy had noted its first image, the programs' first file in it.
    closed_seconds: of log shipping, when each log was closed; else empty.
    bytes_between_rolls: of a mail store, written from the close of a log to that of the next one,
        on the average; infinite where no log is closed.
    operations: how many the run had.
    processor_seconds: that it took.
    """

    scenario: Scenario
    verdict: Verdict
    at_seconds: Floats
    spool_bytes: Floats
    lag_seconds: Floats
    writes: Writes
    begins_seconds: float
    first_image_seconds: float
    closed_seconds: Floats
    bytes_between_rolls: float
    operations: int
    processor_seconds: float


def played(case: TruthCase) -> Writes | None:
    """The writes that a case plays; None for a mail store.  Raises BadInput."""
    if isinstance(case.source, Mail):
        return None
    if isinstance(case.source, Path):
        return writes_of_trace(case.source, case.starts_seconds[0])
    return writes_of_curve(case.curve(), WRITE_BYTES)


def simulate(case: TruthCase) -> Simulated:
    """Run a case at its first start in the event simulation.

    Raises BadInput when its trace cannot be read.
    """
    simulated = _simulate(case)
    # What is left of the run is a ring of objects, hundreds of MiB of them.  By themselves they
    # would go when there are many more, and case after case adds to them.
    gc.collect()
    return simulated


def _simulate(case: TruthCase) -> Simulated:
    began, writes = time.process_time(), played(case)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "writes.csv"
        if writes is not None:
            _write_trace(path, writes, case.disk_bytes)
        scenario = scenario_of(case, path, None if writes is None else writes.span_seconds)
        runs: list[ScenarioRun] = []
        checkpoints = _FirstImage()
        result = run_scenario(scenario, at_start=checkpoints.watch, at_end=runs.append)
    truth, samples = runs[0].system.truth, result.samples
    span = scenario.duration_ns / _SECOND_NS
    at = np.array(samples.time_seconds)
    within = at <= span
    closed: Floats = np.zeros(0)
    spool = samples.spool_bytes
    times = np.array(truth.times_ns, dtype=np.float64) / _SECOND_NS
    if isinstance(truth, ShippedTruth):
        spool = samples.copy_queue_bytes
        closed = np.array([times[truth.operation_of(log)] for log in _generations(truth)])
    sizes = np.diff(np.array(truth.written_bytes, dtype=np.float64), prepend=0.0)
    kept = (sizes > 0) & (times <= span)
    begins = 0.0 if writes is None else float(times[kept][0] - writes.at_seconds[0])
    writes = Writes(times[kept], sizes[kept], span)
    logs = _logs_closed(runs[0])
    return Simulated(
        scenario,
        result.verdict,
        at[within],
        np.array(spool, dtype=np.float64)[within],
        np.array(samples.lag_seconds)[within],
        writes,
        begins,
        checkpoints.seconds,
        closed,
        truth.written_bytes[-1] / logs if logs else np.inf,
        result.operations,
        time.process_time() - began,
    )


class _FirstImage:
    """Notes when the last checkpoint began that the copy took before its first interval."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, run: ScenarioRun) -> None:
        """Look on at a run that has not begun."""
        clock = run.world.clock
        bound_ns = run.scenario.protection.checkpoint_interval_ns // 2

        def observe(machine: str, event: str, values: tuple[int | str, ...]) -> None:
            checkpoint = (machine, event) == (REPLICA, "activity") and values[0] == "checkpoint"
            if checkpoint and clock.now() < bound_ns:
                self.seconds = clock.now() / _SECOND_NS

        run.world.observers.append(observe)


def _logs_closed(run: ScenarioRun) -> int:
    """How many logs of a store were closed; 0 where the source is none."""
    names = run.system.source_machine.disks["data"].names.directory(run.workload.root).entries
    found = (parse_log_name(name) for name in names)
    closed = [log.generation for log in found if log and log.role is LogRole.CLOSED]
    return max((each for each in closed if each is not None), default=0)


def _generations(truth: ShippedTruth) -> range:
    """The logs that were closed, by number."""
    return range(1, truth.newest + 1)


def _write_trace(path: Path, writes: Writes, disk_bytes: int) -> None:
    """Writes as a recorded trace, one behind the other on a disk, round and round."""
    lines, place = ["version,time,op,size,lbn", "1,0,28,512,0"], 0
    for at, size in zip(writes.at_seconds, writes.sizes_bytes, strict=True):
        if place + size > disk_bytes:
            place = 0
        lines.append(f"1,{round(at * 1e6)},2a,{int(size)},{place // SECTOR_BYTES}")
        place += int(size)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def scenario_of(case: TruthCase, trace: Path, span_seconds: float | None) -> Scenario:
    """The scenario of a case.

    Arguments
    ---------
    trace: where its writes are; not used for a mail store.
    span_seconds: of the writes; None for a mail store.
    """
    host = {"disk": {"sector": 8192}}
    return Scenario.model_validate(
        {
            "name": case.name,
            "description": case.meaning,
            "duration": _duration(_span(case, span_seconds)),
            "settle": _SETTLE,
            "sample": _duration(SAMPLE_SECONDS),
            "stream": _stream(case, trace),
            "protection": _protection(case),
            "source": host,
            "replica": host,
            "link": _link(case.link),
            "faults": [
                {"kind": "link_outage", "at": _duration(begin), "duration": _duration(length)}
                for begin, length in case.outages
            ],
        }
    )


def _span(case: TruthCase, span_seconds: float | None) -> float:
    if isinstance(case.source, Mail):
        return case.source.duration_seconds
    assert span_seconds is not None
    return span_seconds


def _stream(case: TruthCase, trace: Path) -> dict[str, Any]:
    if not isinstance(case.source, Mail):
        return {"kind": "trace", "path": str(trace), "compressible": 0.0}
    return {
        "kind": "store",
        "format": "exchange 2007",
        "messages": f"{case.source.messages_per_second}/s",
        "message_size": f"{case.source.message_bytes}B",
        "mailboxes": 20,
        "compressible": 0.0,
        "database_size": "1GiB",
        "log_roll": _duration(case.source.log_roll_seconds),
    }


def _protection(case: TruthCase) -> dict[str, Any]:
    if case.system == "log shipping":
        return {"kind": "log shipping"}
    return {
        "compression": "none",
        "spool_limit": f"{case.spool_limit_bytes}B",
        "segment_size": f"{case.segment_bytes}B",
        "journal_limit": "4GiB",
    }


def _link(link: PlannedLink) -> dict[str, Any]:
    return {
        "bandwidth": _rate(link.bits_per_second),
        "rtt": _duration(link.rtt_seconds),
        "loss": link.loss,
        "tcp_window": f"{link.tcp_window_bytes}B",
        "mss": link.mss_bytes,
        "schedule": [_entry(window, link.bits_per_second) for window in link.windows],
    }


def _entry(window: RateWindow, line_bits_per_second: float) -> dict[str, Any]:
    """An entry of a scenario's schedule, which has rates, not what is taken of them."""
    return {
        "from": _time_of_day(window.from_seconds),
        "to": _time_of_day(window.until_seconds),
        "bandwidth": _rate(window.rate_on(line_bits_per_second)),
    }


def _rate(bits_per_second: float) -> str:
    return f"{round(bits_per_second)}bit/s"


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"


def _time_of_day(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


__all__ = ["Simulated", "played", "scenario_of", "simulate"]
