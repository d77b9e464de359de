"""The inputs on which a fluid plan is held against the event simulation, as data.

A day is half an hour here: an hour of the day lasts 75 seconds.  So a case has some thousand
writes of 64 KiB, and all that matters to a queue (rates, outages, lags) keeps its ratio; what does
not shrink with the day (a round trip, a checkpoint's interval) weighs more than on a real day, so a
plan that fits here fits there.

Where bytes lie plays no part in a queue: writes go round a small disk, those of recorded traces
too.  Their times and sizes are the recorded ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from simulator.plan.capacity import PlannedLink, RateWindow
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import Floats, TimeGrid
from simulator.traces import read_writes

DAY_SECONDS: Final = 1_800.0
"""Of the compressed day."""
HOUR_SECONDS: Final = DAY_SECONDS / 24
WRITE_BYTES: Final = 65_536
SECTOR_BYTES: Final = 512
MEAN_BYTES_PER_SECOND: Final = 300_000.0
EXCERPT: Final = Path(__file__).parents[2] / "scenarios/data/vscsi-excerpt.csv"

WORKING_DAY: Final = (
    (0.25,) * 6
    + (0.5, 0.9, 1.7, 2.2, 2.2, 1.9, 1.4, 1.8, 2.1, 2.0, 1.7, 1.1)
    + (0.6, 0.5)
    + (0.3,) * 4
)
"""Of each hour, times the mean: a working day with a dip at noon [A]."""
MAINTENANCE: Final = (0.25,) + (3.2,) * 4 + WORKING_DAY[5:]
"""The same with online defragmentation from one to five at night [A]."""

SystemName = Literal["byte level", "log shipping"]


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail store as the source of the writes; its curve is measured in its own run.

    Attributes
    ----------
    messages_per_second: mean rate.
    message_bytes: median size of a message.
    duration_seconds: of the case.
    log_roll_seconds: a log that is not full is closed after so long.
    """

    messages_per_second: float = 1.0
    message_bytes: int = 32 << 10
    duration_seconds: float = 720.0
    log_roll_seconds: float = 900.0

    def is_closed_by_clock(self, log_bytes: int) -> bool:
        """Whether so little is written that a log is not full when the clock closes it."""
        return self.messages_per_second * self.message_bytes * self.log_roll_seconds < log_bytes / 2


@dataclass(frozen=True, kw_only=True)
class TruthCase:
    """One input.

    Attributes
    ----------
    name: of the case.
    system: which protection.
    meaning: what kind of input it is.
    link: as a plan takes it, all of the line for data.
    source: what writes: bytes per second in each hour of the compressed day, a recorded trace, or
        a mail store.
    outages: begin and length of each, in seconds.
    spool_limit_bytes: hard limit of the spool.
    segment_bytes: of spool and journal.
    disk_bytes: of the disk on which writes go round.
    starts_seconds: a run for each, its writes beginning so much later.  Where they fall against
        the clock of the copy's checkpoints is chance; a burst shows it.  Of recorded traces.
    """

    name: str
    system: SystemName
    meaning: str
    link: PlannedLink
    source: tuple[float, ...] | Path | Mail
    outages: tuple[tuple[float, float], ...] = ()
    spool_limit_bytes: int = 4 << 30
    segment_bytes: int = 8 << 20
    disk_bytes: int = 64 << 20
    starts_seconds: tuple[float, ...] = (0.0,)

    def runs(self) -> list[TruthCase]:
        """The case once for each start."""
        return [replace(self, starts_seconds=(start,)) for start in self.starts_seconds]

    @property
    def is_there(self) -> bool:
        """Whether its recorded trace can be read; others are always there."""
        return not isinstance(self.source, Path) or self.source.is_file()

    def curve(self) -> ChangeCurve:
        """What is written in each hour of the compressed day.

        Raises TypeError for a case that is no curve.
        """
        if not isinstance(self.source, tuple):
            raise TypeError(f"case {self.name!r} is no curve of a day")
        amounts = np.array(self.source) * HOUR_SECONDS
        nothing = np.zeros(len(amounts))
        grid = TimeGrid(len(amounts), step_seconds=HOUR_SECONDS)
        return ChangeCurve(grid, amounts, nothing, nothing, origin=self.name)


@dataclass(frozen=True, eq=False)
class Writes:
    """Writes in order.

    Attributes
    ----------
    at_seconds: when; from the begin of the case.
    sizes_bytes: of each.
    span_seconds: length of the case.
    """

    at_seconds: Floats
    sizes_bytes: Floats
    span_seconds: float


def writes_of_curve(curve: ChangeCurve, write_bytes: float) -> Writes:
    """A curve as writes of one size: each when its last byte has come; no rest is written."""
    sums = np.concatenate(([0.0], np.cumsum(curve.written_bytes)))
    ends = np.arange(1, int(sums[-1] // write_bytes) + 1) * write_bytes
    places = np.arange(len(sums)) * curve.grid.step_seconds
    at = np.interp(ends, sums, places)
    return Writes(at, np.full(len(at), float(write_bytes)), curve.grid.span_seconds)


def writes_of_trace(path: Path, start_seconds: float = 0.0) -> Writes:
    """The writes of a recorded trace, so much later; one sector before them.  Raises BadInput."""
    rows = np.array([(write.time_ns / 1e9, write.length_bytes) for write in read_writes(path)])
    at, sizes = rows[:, 0] + start_seconds, rows[:, 1]
    if start_seconds:
        at, sizes = np.concatenate(([rows[0, 0]], at)), np.concatenate(([SECTOR_BYTES], sizes))
    return Writes(at, sizes, float(np.ceil(at[-1])))


def binned(writes: Writes, step_seconds: float, origin: str = "") -> ChangeCurve:
    """Writes as a change curve: all in one step with its begin nearest before them."""
    grid = TimeGrid(round(writes.span_seconds / step_seconds), step_seconds=step_seconds)
    place = np.minimum((writes.at_seconds / step_seconds).astype(np.int64), grid.steps - 1)
    amounts = np.zeros(grid.steps)
    np.add.at(amounts, place, writes.sizes_bytes)
    nothing = np.zeros(grid.steps)
    return ChangeCurve(grid, amounts, nothing, nothing, origin=origin)


def finer(curve: ChangeCurve, step_seconds: float) -> ChangeCurve:
    """The same curve in shorter steps, even within the old ones."""
    times = round(curve.grid.step_seconds / step_seconds)
    grid = TimeGrid(curve.grid.steps * times, curve.grid.begins_at, step_seconds)

    def spread(amounts: Floats) -> Floats:
        return np.repeat(amounts / times, times)

    return ChangeCurve(
        grid,
        spread(curve.log_bytes),
        spread(curve.database_bytes),
        spread(curve.message_bytes),
        log_file_bytes=curve.log_file_bytes,
        origin=curve.origin,
    )


def _day(shares: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(MEAN_BYTES_PER_SECOND * share for share in shares)


def _line(megabits: float, rtt_seconds: float = 0.05, loss: float = 0.0) -> PlannedLink:
    return PlannedLink(megabits * 1e6, rtt_seconds, loss, payload_share=1.0)


def _hours(begin: float, end: float) -> tuple[float, float]:
    """An outage by hours of the compressed day."""
    return begin * HOUR_SECONDS, (end - begin) * HOUR_SECONDS


_MAIL: Final = Mail()
_NIGHT: Final = Mail(messages_per_second=0.05, duration_seconds=1_200.0, log_roll_seconds=90.0)
_byte_level: Final = partial(
    TruthCase, system="byte level", link=_line(7.5), source=_day(WORKING_DAY)
)
_log_shipping: Final = partial(TruthCase, system="log shipping", link=_line(4), source=_MAIL)
"""What a case does not say of itself."""
_LISTED: Final = (
    _byte_level(
        name="steady",
        meaning="the same rate all day, less than the link carries",
        link=_line(6),
        source=_day((1.0,) * 24),
    ),
    _byte_level(
        name="diurnal",
        meaning="a working day, the peak above the link's rate",
        link=_line(4.2),
    ),
    _byte_level(
        name="bursty trace",
        meaning="eleven minutes of a production disk, a burst at their end",
        link=_line(6),
        source=EXCERPT,
        starts_seconds=(0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    ),
    _byte_level(
        name="outage at night",
        meaning="two hours without the link at night",
        outages=(_hours(2, 4),),
    ),
    _byte_level(
        name="outage in the peak",
        meaning="two hours without the link in the busiest time",
        outages=(_hours(9, 11),),
    ),
    _byte_level(
        name="lossy long link",
        meaning="200 ms and 0.05 % loss bound one stream below the line rate",
        link=_line(16, 0.2, 0.0005),
    ),
    _byte_level(
        name="link schedule",
        meaning="a slower link by day",
        link=PlannedLink(
            9e6,
            0.05,
            payload_share=1.0,
            windows=(RateWindow(8 * HOUR_SECONDS, 18 * HOUR_SECONDS, 3e6),),
        ),
    ),
    _byte_level(
        name="overload",
        meaning="a quarter more than the link carries, all day",
        link=_line(1.92),
        source=_day((1.0,) * 24),
    ),
    _byte_level(
        name="nightly defragmentation",
        meaning="the night's maintenance writes more than the link carries",
        link=_line(6),
        source=_day(MAINTENANCE),
    ),
    _byte_level(
        name="small spool",
        meaning="an outage fills the spool: it is dropped, and the copy resynchronized",
        outages=(_hours(9, 12),),
        spool_limit_bytes=96 << 20,
    ),
    _byte_level(
        name="log roll",
        meaning="a mail store: each log that is closed makes the copy take a checkpoint; an outage",
        link=_line(4),
        source=_MAIL,
        outages=((300.0, 120.0),),
    ),
    _log_shipping(
        name="mail",
        meaning="a mail store, less than the link carries",
    ),
    _log_shipping(
        name="mail, hardly any",
        meaning="a mail store at night: its log is closed by the clock, not for being full",
        source=_NIGHT,
    ),
    _log_shipping(
        name="mail, outage",
        meaning="the same, and the link is down for two and a half minutes",
        outages=((300.0, 150.0),),
    ),
    _log_shipping(
        name="mail, lossy long link",
        meaning="a round trip of 200 ms for each piece of a log, and loss",
        link=_line(8, 0.2, 0.001),
    ),
    _log_shipping(
        name="mail, overload",
        meaning="more logs than the link carries",
        link=_line(0.5),
    ),
)
CASES: Final[Mapping[str, TruthCase]] = MappingProxyType({each.name: each for each in _LISTED})


def whole_trace(path: Path) -> TruthCase:
    """A recorded trace from begin to end; two hours of a production disk, for instance."""
    return TruthCase(
        name=f"whole trace {path.name}",
        system="byte level",
        meaning="a whole recorded trace",
        link=_line(16),
        source=path,
    )


__all__ = [
    "CASES",
    "Mail",
    "TruthCase",
    "Writes",
    "binned",
    "finer",
    "whole_trace",
    "writes_of_curve",
    "writes_of_trace",
]
