"""What waits at the replica, by kind of protection: each keeps something else there, or nothing.

Theory
------
* Byte level: writes that have arrived and are not applied.  They wait while nothing is applied: the
  first synchronization (where changes are sent beside it; else they wait at the source), a check of
  the copy, a delay on purpose, or because the disk is slow.
* Log shipping: closed logs that were copied and not replayed.  While the first copy is made they
  wait at the source; afterwards they come as fast as the line brings them, and are replayed at the
  rate of a replay.
* Changed blocks: the blocks of the run that is arriving, until it is whole; half a run would spoil
  the copy.  The run after an outage is the largest.
* Object level: nothing, the other store takes each message as it arrives.
* Nightly backup: nothing, what arrives is the backup itself.

Leaves out: copied logs that are kept after their replay, backups of earlier nights, and the 50 logs
that a target of SCR always keeps back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.answers import answer_frame
from simulator.plan.capacity import without
from simulator.plan.change import ChangeCurve
from simulator.plan.fluid import backlog, cumulative
from simulator.plan.grid import HOUR_SECONDS, Floats
from simulator.plan.outage_starts import worst_starts
from simulator.plan.protection import ByteLevel, ChangedBlocks, LogShipping, Protection
from simulator.plan.run_outages import AnyOutages
from simulator.plan.volumes import replica_spool

CHECK_SECONDS: Final = HOUR_SECONDS
"""During which a copy is checked, and nothing is applied to it [A]."""
KEPT: Final[Mapping[str, str]] = {
    "byte level": "writes that have arrived and are not applied",
    "log shipping": "closed logs that were copied and are not replayed",
    "changed blocks": "the blocks of the run that is arriving, until it is whole",
    "object level": "nothing: the other store takes each message as it arrives",
    "nightly backup": "nothing: what arrives is the backup itself",
}
"""What a kind keeps at the replica, in words."""
COLUMNS: Final = ("cause", "seconds", "spool_bytes", "begins_at", "reason")


@dataclass(frozen=True, kw_only=True)
class ReplicaFigures:
    """How fast a replica is, and when it stands.

    Attributes
    ----------
    apply_bytes_per_second: of writes, at byte level.
    replay_seconds_per_log, parallel_replays: of closed logs, as in a recovery
        (:class:`~.recovery_time.RecoveryFigures`).
    delay_seconds: on purpose; 0 for none.
    check_seconds: of a check of the copy, during which nothing is applied.
    copy_begin_seconds: when the first copy begins, from the begin of the grid.
    """

    apply_bytes_per_second: float
    replay_seconds_per_log: float
    parallel_replays: float = 1.0
    delay_seconds: float = 0.0
    check_seconds: float = CHECK_SECONDS
    copy_begin_seconds: float = 0.0


def keeps_nothing(protection: Protection) -> bool:
    """Whether a kind keeps nothing at the replica but the copy itself."""
    return not isinstance(protection, ByteLevel | LogShipping | ChangedBlocks)


def replica_waits(
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    model: AnyOutages,
    figures: ReplicaFigures,
    copy_seconds: float,
    outage_seconds: float,
    within_seconds: float,
) -> pd.DataFrame:
    """What waits at the replica, by cause.

    Arguments
    ---------
    capacity_bytes: of the line in each step.
    model: of this kind's outages on that line.
    copy_seconds: until the first copy is there; 0 where there is none.
    outage_seconds: of the planned outage.
    within_seconds: outages, and times at which nothing is applied, begin before this time; what
        lies behind is there for catching up.

    A row for each cause, columns as of :func:`~.volumes.replica_spool`; none for kinds that keep
    nothing there.  Raises ValueError as that.
    """
    standing = {"check of the copy": figures.check_seconds}
    if figures.delay_seconds:
        standing["delayed copy"] = figures.delay_seconds
    match protection:
        case ByteLevel():
            causes = {"initial synchronization": copy_seconds, **standing}
            rate = figures.apply_bytes_per_second
            return replica_spool(change, causes, rate, within_seconds=within_seconds)
        case LogShipping():
            return _unreplayed(
                protection, change, capacity_bytes, figures, standing, copy_seconds, within_seconds
            )
        case ChangedBlocks():
            return _arriving(
                protection, change, capacity_bytes, model, outage_seconds, within_seconds
            )
        case _:
            return answer_frame([], COLUMNS)


def _unreplayed(
    kind: LogShipping,
    change: ChangeCurve,
    capacity_bytes: Floats,
    figures: ReplicaFigures,
    standing: Mapping[str, float],
    copy_seconds: float,
    within_seconds: float,
) -> pd.DataFrame:
    queue, grid = kind.queue(change), change.grid
    rate = _replayed_bytes_per_second(change, figures)
    if rate is None:  # all that there is, within any step
        rate = (float(queue.written[-1]) + change.log_file_bytes) / grid.step_seconds
    table = replica_spool(change, standing, rate, np.diff(queue.written), within_seconds)
    table["cause"] = table["cause"].replace("slow disk", "slow replay")
    there_seconds = figures.copy_begin_seconds + copy_seconds
    if not copy_seconds or there_seconds >= grid.span_seconds:
        return table
    capacity = without(capacity_bytes, grid, [(figures.copy_begin_seconds, copy_seconds)])
    arriving = queue.course(capacity).carried_bytes / queue.wire_per_byte
    waits = backlog(arriving, np.full(grid.steps, rate * grid.step_seconds))
    after = {
        "cause": "logs that waited for the first copy",
        "seconds": 0.0,
        "spool_bytes": float(waits.max()),
        "begins_at": grid.time_at(there_seconds / grid.step_seconds).isoformat(),
        "reason": "",
    }
    never = str(table["reason"].iloc[-1])
    if never.startswith("never"):
        after |= {"spool_bytes": None, "begins_at": None, "reason": never}
    rows: list[object] = [after, *table.to_dict("records")]
    return answer_frame(rows, COLUMNS)


def _replayed_bytes_per_second(change: ChangeCurve, figures: ReplicaFigures) -> float | None:
    """How fast logs are replayed, all log sets together; None where a log takes no time."""
    if not figures.replay_seconds_per_log:
        return None
    side_by_side = min(figures.parallel_replays, float(change.log_sets))
    return change.log_file_bytes * side_by_side / figures.replay_seconds_per_log


def _arriving(
    kind: ChangedBlocks,
    change: ChangeCurve,
    capacity_bytes: Floats,
    model: AnyOutages,
    outage_seconds: float,
    within_seconds: float,
) -> pd.DataFrame:
    grid, runs, step = change.grid, kind.runs(change), change.grid.step_seconds
    done = [
        (run.wire_bytes / (1.0 - kind.saving), run.begin * step, (run.end - run.begin) * step)
        for run in runs.walk(cumulative(capacity_bytes))
        if run.end is not None and run.begin * step < within_seconds
    ]
    rows: list[dict[str, object]] = []
    if done:
        amount, begin, took = max(done)
        rows.append(
            {
                "cause": "the largest run",
                "seconds": took,
                "spool_bytes": amount,
                "begins_at": grid.time_at(begin / step).isoformat(),
                "reason": "",
            }
        )
    starts, _numbers = worst_starts(model, outage_seconds, "day", within_seconds)
    effects = model.effects(starts, outage_seconds, with_lag=False)
    worst = int(np.argmax(effects.spool_peak_bytes))
    begin = float(effects.begin_seconds[worst])
    rows.append(
        {
            "cause": "the run after the planned outage",
            "seconds": outage_seconds,
            "spool_bytes": float(effects.spool_peak_bytes[worst]) * (1.0 - kind.rewritten_share),
            "begins_at": grid.time_at(begin / step).isoformat(),
            "reason": "at most: what the copy lacks when that run arrives",
        }
    )
    return answer_frame(rows, COLUMNS)
