"""How long a recovery takes after the source is lost, by its parts.

Theory
------
Detect, decide, bring the data up to the point that is recovered, mount, redirect: one after the
other.  What kinds of protection differ in is the middle:

* byte level: what the replica has received and not applied is applied, of a copy that is delayed on
  purpose all that was written in its delay (the delayed state could be mounted at once, but it
  would lose just that); then the store redoes the logs from its checkpoint on (it was running: a
  dirty shutdown);
* log shipping: the logs that were copied and not replayed are replayed (a lagged copy has those of
  its delay, those that log roll has closed among them), then the database is mounted clean;
* object level: the other store is mounted and running; nothing is to be replayed;
* changed blocks: the last whole snapshot is taken; it is as if the power had failed at that time,
  so logs from the checkpoint on are redone;
* nightly backup: everything is restored from disk or tape, then the logs since are replayed.

Log sets replay side by side where the disks allow it (``parallel_replays``), and a volume is
restored with so many streams as its rate says.

All times and rates are named parameters; the scenario's table ``[failover]`` has the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.answers import answer_frame
from simulator.plan.change import ChangeCurve
from simulator.plan.fluid import cumulative
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, Floats, TimeGrid
from simulator.plan.protection import (
    ByteLevel,
    ChangedBlocks,
    LogShipping,
    NightlyBackup,
    ObjectLevel,
    Protection,
)

PARTS: Final = (
    "detect_seconds",
    "decide_seconds",
    "restore_seconds",
    "apply_seconds",
    "replay_seconds",
    "mount_seconds",
    "redirect_seconds",
)


@dataclass(frozen=True, kw_only=True)
class RecoveryFigures:
    """What a recovery is made of.

    Attributes
    ----------
    detect_seconds: silence of the source until somebody is told [A].
    decide_seconds: from there to the decision [A].
    redirect_seconds: until clients find the other host [A].
    mount_seconds: of a store, whatever is to be replayed [A].
    replay_seconds_per_log: of one generation [A]; up to seconds on slow disks [T].
    parallel_replays: log sets that replay at the same time [A].
    checkpoint_depth_bytes: of logs that each log set redoes after a dirty shutdown; 20 MB [V].
    apply_bytes_per_second: how fast the replica applies what it has received [A].
    unapplied_bytes: of that, how much waits when the source is lost, beside what a delay holds.
    replay_lag_seconds: of a copy that is delayed on purpose: its logs are not replayed, its writes
        not applied for so long.
    unreplayed_seconds: of log writing that a copy which is not delayed is behind with its replay.
    restore_bytes_per_second: from backup: one stream of a tape or disk [A].
    days_since_full: between a full copy and the loss, where backups are of logs alone [A].
    find_backup_seconds: until the right medium is at hand [A].

    Raises ValueError for a time that is negative, or a rate or number that is not positive.
    """

    detect_seconds: float = 60.0
    decide_seconds: float = 600.0
    redirect_seconds: float = 1_200.0
    mount_seconds: float = 30.0
    replay_seconds_per_log: float = 0.5
    parallel_replays: float = 1.0
    checkpoint_depth_bytes: float = 20_971_520.0
    apply_bytes_per_second: float = 50e6
    unapplied_bytes: float = 0.0
    replay_lag_seconds: float = 0.0
    unreplayed_seconds: float = 60.0
    restore_bytes_per_second: float = 30e6
    days_since_full: float = 7.0
    find_backup_seconds: float = 3_600.0

    def __post_init__(self) -> None:
        positive = {"parallel_replays", "apply_bytes_per_second", "restore_bytes_per_second"}
        for name, value in asdict(self).items():
            least_is_wrong = name in positive and value == 0
            if not 0 <= value < np.inf or least_is_wrong:
                raise ValueError(f"{name} of a recovery cannot be {value}")


@dataclass(frozen=True)
class RecoveryTime:
    """The parts of one recovery, in seconds.

    Attributes
    ----------
    protection: its name.
    restore_seconds: from backup.
    apply_seconds: of what waits at the replica.
    replay_seconds: of ``replayed_logs``.
    total_seconds: the RTO; None where ``reason`` says why there is none.
    """

    protection: str
    detect_seconds: float
    decide_seconds: float
    restore_seconds: float
    apply_seconds: float
    replay_seconds: float
    mount_seconds: float
    redirect_seconds: float
    replayed_logs: float
    total_seconds: float | None
    reason: str = ""


def recovery_time(
    protection: Protection, change: ChangeCurve, figures: RecoveryFigures | None = None
) -> RecoveryTime:
    """The RTO of a kind of protection at the worst time of the curve.

    Arguments
    ---------
    change: says how many logs are written in the busiest time of some length, and how much a
        restore has to bring.

    Raises TypeError for a protection that is none of the kinds of :mod:`.protection`.
    """
    f = figures or RecoveryFigures()
    size = float(change.log_file_bytes)
    restore = apply = logs = 0.0
    mount, reason = f.mount_seconds, ""
    dirty_logs = change.log_sets * f.checkpoint_depth_bytes / size
    match protection:
        case ByteLevel():
            held = busiest_bytes(change.written_bytes, change.grid, f.replay_lag_seconds)
            apply = (f.unapplied_bytes + held) / f.apply_bytes_per_second
            logs = dirty_logs
        case LogShipping():
            behind = f.replay_lag_seconds + f.unreplayed_seconds
            logs = busiest_bytes(protection.closed_bytes(change), change.grid, behind) / size
        case ObjectLevel():
            apply, mount = f.unapplied_bytes / f.apply_bytes_per_second, 0.0
        case ChangedBlocks():
            logs = dirty_logs
        case NightlyBackup():
            # Logs after a full backup are lost with the source; where logs alone are backed up,
            # all since the last full copy are replayed.
            since = 0.0 if protection.full else f.days_since_full * DAY_SECONDS
            logs = busiest_bytes(change.log_bytes, change.grid, since) / size
            if change.stored_bytes is None:
                reason = "nothing says how much is to be restored"
            else:
                restore = f.find_backup_seconds + change.stored_bytes / f.restore_bytes_per_second
        case _:
            raise TypeError(f"no recovery is known for protection {protection.name!r}")
    side_by_side = min(f.parallel_replays, float(change.log_sets))
    replay = logs * f.replay_seconds_per_log / side_by_side
    parts = (f.detect_seconds, f.decide_seconds, restore, apply, replay, mount, f.redirect_seconds)
    total = None if reason else sum(parts)
    return RecoveryTime(protection.name, *parts, logs, total, reason)


def busiest_bytes(amounts: Floats, grid: TimeGrid, seconds: float) -> float:
    """The most of a stream of bytes, given by steps, that is written in a time of a length; beyond
    the curve in proportion."""
    sums = cumulative(amounts)
    places = seconds / grid.step_seconds
    if places >= grid.steps:
        return float(sums[-1]) * places / grid.steps
    begin = np.arange(grid.steps + 1, dtype=np.float64)
    ends = np.interp(begin + places, begin, sums)
    fits = begin + places <= grid.steps
    return float((ends - sums)[fits].max())


def recovery_times(
    protections: Sequence[Protection], change: ChangeCurve, figures: RecoveryFigures | None = None
) -> pd.DataFrame:
    """A row for each protection: its name, the parts (:data:`PARTS`), ``replayed_logs``,
    ``total_seconds`` (None: see ``reason``)."""

    found = [recovery_time(each, change, figures) for each in protections]
    return answer_frame(found, RecoveryTime.__dataclass_fields__)


def restore_times(
    change: ChangeCurve,
    bytes_per_second: Sequence[float],
    figures: RecoveryFigures | None = None,
) -> pd.DataFrame:
    """A restore from full backup by the rate of its medium.

    A row for each rate: ``bytes_per_second``, ``restore_hours`` (finding the medium among them),
    ``total_hours`` (the whole RTO); None where the size is not known.
    """

    rows = []
    for rate in bytes_per_second:
        figures_at = replace(figures or RecoveryFigures(), restore_bytes_per_second=rate)
        found = recovery_time(NightlyBackup(full=True), change, figures_at)
        known = found.total_seconds is not None
        rows.append(
            {
                "bytes_per_second": float(rate),
                "restore_hours": found.restore_seconds / HOUR_SECONDS if known else None,
                "total_hours": found.total_seconds / HOUR_SECONDS
                if found.total_seconds is not None
                else None,
            }
        )
    return answer_frame(rows, ("bytes_per_second", "restore_hours", "total_hours"))
