"""Kinds of protection that send what was written in its order, as soon as the link takes it.

Each says what it has to send as a :class:`~simulator.plan.courses.Queue`: every write, closed
transaction logs, or messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.plan.batches import Batches
from simulator.plan.change import ChangeCurve
from simulator.plan.checkpoints import Checkpoints
from simulator.plan.courses import NO_WAITS, Course, Queue, Waits
from simulator.plan.fluid import cumulative, whole_units
from simulator.plan.grid import DAY_SECONDS, Floats

PLANNED_SAVING: Final = 0.3
"""Of logs, by compression: the default of the vendor's calculators [M]."""
LOG_ROUND_TRIPS: Final = 2
"""For the begin of a log and for its end, beside those for its pieces: as the reference replicator
copies them [A for products]."""
OPERATION_OVERHEAD: Final = 0.01
"""Headers of captured operations, beside some 8 KiB of data each [D]."""


@dataclass(frozen=True, kw_only=True)
class ByteLevel:
    """Every write below the store, in order: logs and pages.

    Arguments
    ---------
    saving: of compression.
    overhead: headers, as a share of the data.
    delay_seconds: from a write to being durable at the replica when nothing waits.
    write_bytes: data of one write, which is captured, and durable, as a whole.  It shows on grids
        with steps of less than a write; 0 for writes as small as one likes.
    transit_seconds, sync_seconds: on such grids in place of the delay: from the last byte of a
        write being sent to the source knowing that it is durable, but for the sync of the journal;
        and that one, during which what comes waits for the next.
    batches: on such grids, which writes are sent together.
    retained_seconds, retained_bytes: the replica's checkpoints, before which nothing leaves the
        spool: so long, or so many bytes of data, after the last one; 0 for without that bound.
        Without either the spool forgets what is durable.
    retained_from_seconds: when the first of these intervals begins.
    """

    saving: float = PLANNED_SAVING
    overhead: float = OPERATION_OVERHEAD
    delay_seconds: float = 0.0
    write_bytes: float = 0.0
    transit_seconds: float = 0.0
    sync_seconds: float = 0.0
    batches: Batches | None = None
    retained_seconds: float = 0.0
    retained_bytes: float = 0.0
    retained_from_seconds: float = 0.0

    @property
    def name(self) -> str:
        return "byte level"

    def queue(self, change: ChangeCurve) -> Queue:
        """What is to be sent."""
        written = cumulative(change.written_bytes * (1.0 + self.overhead))
        unit = self.write_bytes * (1.0 + self.overhead)
        checkpoints = None
        if self.retained_seconds or self.retained_bytes:
            checkpoints = Checkpoints(
                self.retained_seconds, self.retained_bytes, self.retained_from_seconds
            )
        whole = whole_units(written, unit)
        return Queue(
            change.grid,
            whole,
            whole,
            unit,
            1.0 - self.saving,
            self.delay_seconds,
            self.transit_seconds,
            self.sync_seconds,
            self.batches,
            checkpoints,
        )

    def course(self, change: ChangeCurve, capacity_bytes: Floats) -> Course:
        return self.queue(change).course(capacity_bytes)


@dataclass(frozen=True, kw_only=True)
class LogShipping:
    """Closed transaction logs.

    Logs of several log sets are thought to close one after the other, evenly: then the logs
    closed up to a time are those of one set that writes all (Hermite's identity).  A set that
    writes little closes logs all the same (log roll): its open log is never older than that.

    Arguments
    ---------
    saving: of compression.
    idle_logs_per_day: logs that an idle set closes: 96 for one in 15 minutes [V], ten times that
        on an active node of a 2007 cluster [M]; 0 for none.
    delay_seconds: from a log being copied to being inspected.
    transit_seconds: in its place on grids with steps of less than that: from the last byte of a
        log being sent to being inspected, and what a poll adds before.
    piece_bytes: of a log, asked for at a time; 0 for logs that are sent without being asked for.
    round_trip_seconds: of the line: the copy of a log waits for one at each piece, and for
        :data:`LOG_ROUND_TRIPS` besides; the line is idle meanwhile as far as no other log set uses
        it.
    """

    saving: float = PLANNED_SAVING
    idle_logs_per_day: float = 96.0
    delay_seconds: float = 0.0
    transit_seconds: float = 0.0
    piece_bytes: float = 0.0
    round_trip_seconds: float = 0.0

    @property
    def name(self) -> str:
        return "log shipping"

    def waits(self, change: ChangeCurve) -> Waits:
        """For answers, log by log."""
        if not self.piece_bytes:
            return NO_WAITS
        size = float(change.log_file_bytes)
        trips = LOG_ROUND_TRIPS + np.ceil(size / self.piece_bytes)
        seconds = float(trips) * self.round_trip_seconds
        return Waits(seconds / size, float(change.log_sets))

    def usable_bytes(self, change: ChangeCurve, capacity_bytes: Floats) -> Floats:
        """Of what a line carries in each step, what logs that wait for answers can use."""
        wire = 1.0 - self.saving
        step = change.grid.step_seconds
        return self.waits(change).left(capacity_bytes / wire, step) * wire

    def closed_bytes(self, change: ChangeCurve) -> Floats:
        """Logs of each step as they lie on the log volume, are shipped and replayed: those that log
        roll closes, written or not, among them."""
        least = self.idle_logs_per_day / DAY_SECONDS * change.grid.step_seconds * change.log_sets
        return np.maximum(change.log_bytes, least * float(change.log_file_bytes))

    def queue(self, change: ChangeCurve) -> Queue:
        """What is to be sent."""
        size = float(change.log_file_bytes)
        written = cumulative(self.closed_bytes(change))
        closed = whole_units(written, size)
        # What is open lies in all sets: the oldest of it is as old as the fullest open log, which
        # with evenly spread sets began (sets - 1) logs before the last one closed.
        open_before = (change.log_sets - 1) * size
        ready = np.maximum(closed - open_before, 0.0)
        saved, delay, transit = self.saving, self.delay_seconds, self.transit_seconds
        return Queue(
            change.grid,
            written,
            ready,
            size,
            1.0 - saved,
            delay,
            transit,
            waits=self.waits(change),
        )

    def course(self, change: ChangeCurve, capacity_bytes: Floats) -> Course:
        return self.queue(change).course(capacity_bytes)


@dataclass(frozen=True, kw_only=True)
class ObjectLevel:
    """Messages as such, each once.

    Arguments
    ---------
    overhead: properties and protocol, as a share of the message [A].
    saving: of compression.
    delay_seconds: until a message was found and stored again.
    """

    overhead: float = 0.1
    saving: float = PLANNED_SAVING
    delay_seconds: float = 0.0

    @property
    def name(self) -> str:
        return "object level"

    def queue(self, change: ChangeCurve) -> Queue:
        """What is to be sent."""
        written = cumulative(change.message_bytes * (1.0 + self.overhead))
        return Queue(change.grid, written, written, 0.0, 1.0 - self.saving, self.delay_seconds)

    def course(self, change: ChangeCurve, capacity_bytes: Floats) -> Course:
        return self.queue(change).course(capacity_bytes)


Queued = ByteLevel | LogShipping | ObjectLevel
"""Kinds that send in order."""
