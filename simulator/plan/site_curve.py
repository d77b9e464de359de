"""From cumulative bytes at times to a change curve.

Theory
------
Whatever a site's file is, it ends as a cumulative amount known at some times.  Between two of them
the bytes run evenly, so the amount at the edges of steps is an interpolation, and what a step
holds a difference of two: no byte is lost or counted twice, whatever the spacing.  Times are
seconds of the site's own clock since :data:`EPOCH`; the first step begins at a whole step of the
day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from replicator.errors import BadInput
from simulator.plan.change import LOG_FILE_BYTES, ChangeCurve
from simulator.plan.grid import Floats, TimeGrid
from simulator.plan.site_options import SiteOptions

EPOCH: Final = datetime(1970, 1, 1)
EARLIEST_YEAR: Final = 1980
LATEST_YEAR: Final = 2199
"""Times outside these years are no times of a store's files."""
_EARLIEST_SECONDS: Final = (datetime(EARLIEST_YEAR, 1, 1) - EPOCH).total_seconds()
_LATEST_SECONDS: Final = (datetime(LATEST_YEAR, 12, 31) - EPOCH).total_seconds()
_MOST_BYTES: Final = 1e18
"""In all; sums of doubles are no longer whole bytes far below, and no site writes it."""


def seconds_of(time: datetime) -> float:
    """Seconds since :data:`EPOCH`, of a time without a zone."""
    return (time - EPOCH).total_seconds()


def time_of(seconds: float) -> datetime:
    """The inverse of :func:`seconds_of`, to the microsecond."""
    return EPOCH + timedelta(seconds=seconds)


def plausible(seconds: float) -> bool:
    """Whether a time can be that of a store's file."""
    return _EARLIEST_SECONDS <= seconds <= _LATEST_SECONDS


def told(seconds: float) -> str:
    """A time as reports and errors write it."""
    return f"{time_of(seconds):%Y-%m-%d %H:%M:%S}"


def grid_over(begin: float, end: float, step_seconds: float, path: str) -> TimeGrid:
    """The steps that hold all of a time; raises BadInput when there would be too many."""
    first = np.floor(begin / step_seconds) * step_seconds
    steps = max(1, int(np.ceil((end - first) / step_seconds - 1e-9)))
    try:
        return TimeGrid(steps, time_of(float(first)), step_seconds)
    except ValueError:
        raise BadInput(
            f"from {told(begin)} to {told(end)} there are {steps:,} steps of {step_seconds:g} s: "
            "too many",
            path=path,
            remedy="Look whether a date is wrong, take a part of the file, or give longer steps "
            "(step_seconds).",
        ) from None


def spread(times: Floats, cumulative: Floats, grid: TimeGrid) -> Floats:
    """Bytes of each step.

    Arguments
    ---------
    times: seconds, never falling; of equal ones the last counts.
    cumulative: bytes up to each of them, never falling.
    """
    last_of_equal = np.append(times[1:] > times[:-1], True)
    begin = seconds_of(grid.begins_at)
    edges = begin + np.arange(grid.steps + 1) * grid.step_seconds
    known = times[last_of_equal] - begin  # small numbers: differences of times stay exact
    reached = np.interp(edges - begin, known, cumulative[last_of_equal])
    amounts: Floats = np.maximum(np.diff(reached), 0.0)
    return amounts


@dataclass(frozen=True)
class Found:
    """What a file told, before it becomes a curve.

    Attributes
    ----------
    path: of the file, for errors.
    grid: the steps.
    log_bytes, database_bytes: of each step; pages None: by ratio.
    written_bytes: of each step, logs and pages together; instead of both.
    log_file_bytes: None when the file does not say.
    log_sets: with logs of their own among what was counted.
    seen_log_sets: log sets that the file is of; None where it does not tell.
    """

    path: str
    grid: TimeGrid
    log_bytes: Floats | None = None
    database_bytes: Floats | None = None
    written_bytes: Floats | None = None
    log_file_bytes: int | None = None
    log_sets: int = 1
    seen_log_sets: int | None = None


def curve_of(
    found: Found,
    options: SiteOptions,
    origin: str,
    remarks: Sequence[str],
    warnings: Sequence[str] = (),
) -> ChangeCurve:
    """The change curve, with what the file left open taken from the options.

    ``warnings`` are those of the remarks that are to be told at once.

    Raises BadInput for a file in which nothing was written, or more than any site writes.
    """
    size = options.log_file_bytes or found.log_file_bytes
    ratio, messages, said = options.ratios(size)
    notes = list(remarks)
    assumed_ratio: float | None = None
    divided: float | None = None
    if found.written_bytes is not None:
        share = options.log_share_of_writes
        how = "as given"
        if share is None:
            share, how = 1.0 / (1.0 + ratio), f"at {said[0]}"
        divided = share
        logs = found.written_bytes * share
        pages = found.written_bytes - logs
        notes.append(
            f"logs and pages cannot be told apart: {100 * share:.3g} % of the bytes are taken "
            f"for logs, {how}"
        )
    else:
        assert found.log_bytes is not None
        logs = found.log_bytes
        if found.database_bytes is None:
            pages = logs * ratio
            notes.append(said[0])
            if options.database_bytes_per_log_byte is None:
                assumed_ratio = ratio
        else:
            pages = found.database_bytes
    notes.append(said[1])
    total = float(logs.sum() + pages.sum())
    if not total > 0:
        raise BadInput(
            "nothing was written in all of the time that the file covers",
            path=found.path,
            remedy="Take a time in which the store was used, and the disks or logs of the store.",
        )
    if not total <= _MOST_BYTES:
        raise BadInput(
            f"the file says that {total:.3g} bytes were written: no site does that",
            path=found.path,
            remedy="Look whether a generation or a value was mangled on the way.",
        )
    return ChangeCurve(
        found.grid,
        logs,
        np.maximum(pages, 0.0),
        logs * messages,
        log_file_bytes=size or LOG_FILE_BYTES,
        log_sets=found.log_sets,
        seen_log_sets=found.seen_log_sets,
        origin=origin,
        remarks=tuple(notes),
        assumed_page_ratio=assumed_ratio,
        divided_log_share=divided,
        warnings=tuple(warnings),
    )
