"""Kinds of protection as fluid models: what each must move, and how old the copy is meanwhile.

Each kind takes a change curve and the capacity of a link, and gives a :class:`Course`.

* Queues (:class:`ByteLevel`, :class:`LogShipping`, :class:`ObjectLevel`) send what was written in
  its order, as soon as the link takes it.  They are described by a :class:`Queue`; what waits and
  how old it is come from :mod:`.fluid`, and outages from :mod:`.outages`.
* Runs (:class:`ChangedBlocks`, :class:`NightlyBackup`) take a snapshot now and then and carry
  what changed since the last one; the copy is as old as the last snapshot that arrived whole.
  They are described by :class:`Runs`, and their outages are in :mod:`.run_outages`.

Lag is the RPO if the source were lost at that instant: the age of the oldest change that the
copy lacks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from simulator.plan.change import ChangeCurve
from simulator.plan.courses import Course, Queue, Run, Runs
from simulator.plan.grid import Floats
from simulator.plan.queued_kinds import (
    OPERATION_OVERHEAD,
    PLANNED_SAVING,
    ByteLevel,
    LogShipping,
    ObjectLevel,
    Queued,
)
from simulator.plan.run_kinds import ChangedBlocks, NightlyBackup, RunByRun

__all__ = [
    "OPERATION_OVERHEAD",
    "PLANNED_SAVING",
    "ByteLevel",
    "ChangedBlocks",
    "Course",
    "LogShipping",
    "NightlyBackup",
    "ObjectLevel",
    "Protection",
    "Queue",
    "Queued",
    "Run",
    "RunByRun",
    "Runs",
    "on_round_trip",
]


class Protection(Protocol):
    """A kind of protection."""

    @property
    def name(self) -> str:
        """In words."""

    def course(self, change: ChangeCurve, capacity_bytes: Floats) -> Course:
        """How it fares; ``capacity_bytes`` of each step of the change's grid."""


def on_round_trip(protection: Protection, rtt_seconds: float) -> Protection:
    """The same kind on a line of another round trip: closed logs wait for that one."""
    if isinstance(protection, LogShipping):
        return replace(protection, round_trip_seconds=rtt_seconds)
    return protection
