"""A case of the truth in the fluid plan, seen at the instants at which the simulation is seen.

It is the plan's own course of a queue, on a grid with steps of some milliseconds, so that single
writes and logs show.  Everything else that a plan does not know by itself is computed from the
settings of the scenario, and nothing is fitted:

* transit (byte level) = a round trip (data there, acknowledgement back); a sync of the journal is
  a seek and the bytes of a write; a batch's own time on the link is that of its bytes, which the
  queue has anyway;
* the first interval of the copy's checkpoints begins with its first image, at a time that is seen
  in the run;
* below a mail store the copy takes a checkpoint at each log that is closed: after so many written
  bytes, on the average;
* transit (log shipping) = half the time between two polls, on the average;
* logs that the clock closes are the plan's own (``idle_logs_per_day``), not those of the run;
* a log takes a round trip for the listing, one to open it and one for each piece, its bytes, and
  its sync;
* after an outage a connection is back when the attempt that is pending gets through, or when the
  next one is made (:func:`reconnect_seconds`), and it takes some round trips.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from replicator.logship_options import LogCopyOptions
from replicator.operation import PREFIX_BYTES
from replicator.records import HEADER_BYTES
from simulator.device import DiskModel
from simulator.network import SEND_BUFFER_BYTES
from simulator.plan.batches import Batches
from simulator.plan.capacity import without
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, Floats, TimeGrid
from simulator.plan.outages import OutageModel
from simulator.plan.protection import ByteLevel, LogShipping
from simulator.plan.spool_full import Spool, with_spool
from simulator.plan.truth_cases import WRITE_BYTES, Mail, TruthCase, binned, finer
from simulator.plan.truth_simulated import Simulated
from simulator.scenario import StoreStream

STEP_SECONDS: Final = 0.001
"""Less than the transit of a write; divides the second of the samples."""
RECORD_BYTES: Final = HEADER_BYTES + PREFIX_BYTES
"""Of a captured write, beside its data."""
SETTLE_ROUND_TRIPS: Final = 3
"""What a cut held back comes a round trip after it; then a connection, and its handshake."""
SYNC_STRETCHES: Final = 3
"""Of a log that is taken in: its bytes, its new name, its directory."""


@dataclass(frozen=True, eq=False)
class Planned:
    """What the fluid plan gives at the instants of the samples.

    Attributes
    ----------
    spool_bytes, lag_seconds: as of :class:`~simulator.plan.truth_simulated.Simulated`.
    """

    spool_bytes: Floats
    lag_seconds: Floats


def reconnect_seconds(
    outage_seconds: float, patience_seconds: float, pause_seconds: float
) -> float:
    """How long after an outage nobody tries to connect.

    Arguments
    ---------
    patience_seconds: silence after which a connection, or an attempt, is given up.
    pause_seconds: before the next attempt.

    An attempt that is pending when the link returns gets through.  Silence begins with the outage.
    """
    if outage_seconds < patience_seconds:
        return 0.0
    phase = (outage_seconds - patience_seconds) % (patience_seconds + pause_seconds)
    return max(0.0, pause_seconds - phase)


def plan(case: TruthCase, simulated: Simulated) -> Planned:
    """The fluid plan of a case, with the settings, and where needed the curve, of its run."""
    if case.system == "log shipping":
        return _logs(case, simulated)
    return _bytes(case, simulated)


def _sync_seconds(disk: DiskModel, size_bytes: float, stretches: int = 1) -> float:
    seeks = stretches * (disk.positioning_ns + disk.sync_overhead_ns) / 1e9
    return seeks + size_bytes / disk.bytes_per_second


def _bytes(case: TruthCase, simulated: Simulated) -> Planned:
    scenario = simulated.scenario
    settings, link = scenario.protection, case.link
    sizes = simulated.writes.sizes_bytes
    even = isinstance(case.source, tuple)
    if even:
        change = _later(finer(case.curve(), STEP_SECONDS), simulated.begins_seconds)
    else:
        change = binned(simulated.writes, STEP_SECONDS, case.name)
    size = WRITE_BYTES if even else float(sizes.mean())
    overhead = RECORD_BYTES / size
    protection = ByteLevel(
        saving=0.0,
        overhead=overhead,
        write_bytes=size if even else 0.0,
        transit_seconds=link.rtt_seconds,
        sync_seconds=_sync_seconds(scenario.replica.disk.model, size),
        batches=Batches(settings.batch_size_bytes, SEND_BUFFER_BYTES),
        retained_seconds=settings.checkpoint_interval_ns / 1e9,
        retained_from_seconds=simulated.first_image_seconds + link.rtt_seconds / 2,
        retained_bytes=min(settings.checkpoint_every_bytes, simulated.bytes_between_rolls),
    )
    patience = settings.heartbeat_ns * settings.heartbeat_misses / 1e9
    capacity = _carried(case, change.grid, 0.0, patience, settings.reconnect_ns / 1e9)
    course = protection.course(change, capacity)
    spool, lag = course.spool_bytes, course.lag_seconds
    queue = protection.queue(change)
    full = _full_at(case, simulated, queue.written[1:], queue.written[1:] - spool)
    if full is not None:
        spool, lag = _resynchronized(case, simulated, protection, change, full)
    return _seen(simulated, change.grid, spool, lag)


def _later(change: ChangeCurve, seconds: float) -> ChangeCurve:
    """The curve so much later; what goes beyond its ends is cut off, or comes first."""
    late = round(seconds / change.grid.step_seconds)
    amounts, nothing = change.log_bytes, np.zeros(abs(late))
    if late < 0:
        # What came before the first write is in it.
        rest = np.concatenate((amounts[-late:], nothing))
        rest[0] += amounts[:-late].sum()
        return replace(change, log_bytes=rest)
    return replace(change, log_bytes=np.concatenate((nothing, amounts[: len(amounts) - late])))


def _full_at(
    case: TruthCase, simulated: Simulated, written: Floats, released: Floats
) -> int | None:
    """The step in which no segment is left for what is written; None for never.

    A segment is freed as a whole, and holds whole records.
    """
    segments = case.spool_limit_bytes // case.segment_bytes
    record = float(simulated.writes.sizes_bytes.mean()) + RECORD_BYTES
    holds = case.segment_bytes // record * record
    ends = (np.floor(released / holds) + segments) * holds
    full = np.flatnonzero(written > ends)
    return int(full[0]) if len(full) else None


def _resynchronized(
    case: TruthCase,
    simulated: Simulated,
    protection: ByteLevel,
    change: ChangeCurve,
    full: int,
) -> tuple[Floats, Floats]:
    """Spool and lag where the spool was dropped in an outage, and the copy resynchronized."""
    step = change.grid.step_seconds
    capacity = case.link.capacity_bytes(change.grid)
    begin, length = case.outages[0]
    settings = simulated.scenario.protection
    patience = settings.heartbeat_ns * settings.heartbeat_misses / 1e9
    length += reconnect_seconds(length, patience, settings.reconnect_ns / 1e9)
    model = OutageModel(protection.queue(change), capacity)
    queue = model.queue
    limit = float(queue.written[full] - queue.written[round(begin / step)])
    disk = simulated.scenario.source.disk.model
    spool_plan = Spool(
        limit_bytes=limit,
        data_set_bytes=case.disk_bytes,
        compare_bytes_per_second=disk.bytes_per_second,
    )
    found = with_spool(model, spool_plan, begin, length)
    back = round((begin + length) / step)
    current = round((begin + found.behind_seconds[0]) / step)
    outage = protection.course(change, without(capacity, change.grid, [(begin, length)]))
    places = np.arange(1, change.grid.steps + 1)
    spool = np.where(places <= full, outage.spool_bytes, outage.spool_bytes[full - 1])
    sent = queue.written[1:] - queue.written[back]
    spool = np.where(places > back, sent, spool)
    normal = protection.course(change, capacity)
    spool = np.where(places > current, normal.spool_bytes, spool)
    oldest = begin - outage.lag_seconds[round(begin / step)]
    lag = np.where(places > begin / step, places * step - oldest, outage.lag_seconds)
    lag = np.where(places > current, normal.lag_seconds, lag)
    return spool, lag


def _logs(case: TruthCase, simulated: Simulated) -> Planned:
    scenario, link = simulated.scenario, case.link
    settings = scenario.protection.log_shipping
    assert isinstance(case.source, Mail) and isinstance(scenario.stream, StoreStream)
    log_bytes, idle_logs_per_day = scenario.stream.log_size_bytes, 0.0
    if case.source.is_closed_by_clock(log_bytes):
        change = replace(_nothing(simulated), log_file_bytes=log_bytes)
        idle_logs_per_day = DAY_SECONDS / case.source.log_roll_seconds
    else:
        change = _log_curve(simulated, log_bytes)
    poll = settings.poll_ns / 1e9 + link.rtt_seconds
    protection = LogShipping(
        saving=0.0, idle_logs_per_day=idle_logs_per_day, transit_seconds=poll / 2
    )
    pieces = -(-change.log_file_bytes // LogCopyOptions(set_id="", source_address="").piece_bytes)
    waits = (2 + pieces) * link.rtt_seconds
    waits += _sync_seconds(scenario.replica.disk.model, change.log_file_bytes, SYNC_STRETCHES)
    capacity = _carried(
        case,
        change.grid,
        waits / change.log_file_bytes,
        settings.patience_ns / 1e9,
        settings.retry_ns / 1e9,
    )
    queue = protection.queue(change)
    course = queue.course(capacity)
    lacking = queue.ready[1:] - (queue.written[1:] - course.waiting_bytes)
    return _seen(simulated, change.grid, lacking, course.lag_seconds)


def _nothing(simulated: Simulated) -> ChangeCurve:
    """No change all the time."""
    grid = TimeGrid(round(simulated.writes.span_seconds / STEP_SECONDS), step_seconds=STEP_SECONDS)
    nothing = np.zeros(grid.steps)
    return ChangeCurve(grid, nothing, nothing, nothing)


def _log_curve(simulated: Simulated, log_bytes: int) -> ChangeCurve:
    """Each log evenly from the close of the one before to its own; the last one stays open."""
    curve = _nothing(simulated)
    grid = curve.grid
    closed = simulated.closed_seconds[simulated.closed_seconds <= grid.span_seconds]
    places = np.concatenate(([0.0], closed, [grid.span_seconds + STEP_SECONDS]))
    sums = np.arange(len(places)) * float(log_bytes)
    written = np.interp(np.arange(grid.steps + 1) * STEP_SECONDS, places, sums)
    return replace(curve, log_bytes=np.diff(written), log_file_bytes=log_bytes)


def _carried(
    case: TruthCase,
    grid: TimeGrid,
    waits_per_byte: float,
    patience_seconds: float,
    pause_seconds: float,
) -> Floats:
    """What the link carries in each step, with outages, and waiting for each byte besides."""
    link = case.link
    per_second = link.capacity_bytes(grid) / grid.step_seconds
    capacity = per_second / (1.0 + waits_per_byte * per_second) * grid.step_seconds
    settle = SETTLE_ROUND_TRIPS * link.rtt_seconds
    longer = [
        (begin, length + reconnect_seconds(length, patience_seconds, pause_seconds) + settle)
        for begin, length in case.outages
    ]
    return without(capacity, grid, longer)


def _seen(simulated: Simulated, grid: TimeGrid, spool: Floats, lag: Floats) -> Planned:
    """At the instants of the samples: step n ends at (n + 1) steps.

    An age is counted from the begin of the step in which a change came: it came half a step later,
    on the average.
    """
    at = np.rint(simulated.at_seconds / grid.step_seconds).astype(np.int64) - 1
    return Planned(spool[at], np.maximum(lag[at] - grid.step_seconds / 2, 0.0))


__all__ = ["Planned", "plan", "reconnect_seconds"]
