"""The change curve: what a site writes, step by step, and where that is known from.

Three streams of bytes, because systems copy different ones: transaction logs, pages of the
databases, and the messages themselves.  A curve comes from mailbox profiles
(:mod:`.mail_change`), or from what a site has already: its log files, hourly statistics,
performance counters, a disk trace (:mod:`.site_files`).  A source that knows the logs alone
leaves the pages to a ratio, and says so in ``remarks``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from simulator.plan.grid import Floats, TimeGrid

LOG_FILE_BYTES: Final = 1 << 20
"""Of 2007 on; 2000 and 2003 have 5 MiB."""
COLUMNS: Final = ("log_bytes", "database_bytes", "message_bytes")


@dataclass(frozen=True, eq=False)
class ChangeCurve:
    """Bytes written in each step of a grid.

    Attributes
    ----------
    grid: the steps.
    log_bytes: of transaction logs; shape (steps,).
    database_bytes: of pages, the night's defragmentation among them.
    message_bytes: of messages sent and received.
    stored_bytes: size of the databases at the begin; None when nothing says it.
    log_file_bytes: size of a log file.
    log_sets: storage groups, or databases, that have logs of their own.
    seen_log_sets: how many of them files of a site are of; None where nothing tells.
    origin: where the curve comes from, for reports.
    remarks: what was assumed on the way, for reports.
    measured_seconds: how long that was measured which the curve was made of, where it was
        measured and is not simply the grid's length; else None.
    is_mean_day: whether its one day is the mean of all days of the week that were sampled, so
        that a week made of it must have seven times as much.
    assumed_page_ratio: bytes of pages for one of log, where the pages were made by it because
        nothing tells them; else None.
    divided_log_share: of the written bytes, taken for logs where a file cannot tell logs from
        pages; else None.
    warnings: of the remarks, what whoever asked for the plan has to be told at once.

    Raises ValueError for arrays of another shape, and amounts that are negative or no numbers.
    """

    grid: TimeGrid
    log_bytes: Floats
    database_bytes: Floats
    message_bytes: Floats
    stored_bytes: float | None = None
    log_file_bytes: int = LOG_FILE_BYTES
    log_sets: int = 1
    origin: str = ""
    remarks: tuple[str, ...] = ()
    measured_seconds: float | None = None
    is_mean_day: bool = False
    assumed_page_ratio: float | None = None
    divided_log_share: float | None = None
    warnings: tuple[str, ...] = ()
    seen_log_sets: int | None = None

    def __post_init__(self) -> None:
        for name in COLUMNS:
            amounts = getattr(self, name)
            if amounts.shape != (self.grid.steps,):
                raise ValueError(f"{name} must have {self.grid.steps} steps, not {amounts.shape}")
            if not (np.isfinite(amounts).all() and (amounts >= 0).all()):
                raise ValueError(f"no {name} may be negative or no number")
        if self.log_file_bytes < 1 or self.log_sets < 1:
            raise ValueError("a log file has bytes, and there is a log set at least")

    @property
    def written_bytes(self) -> Floats:
        """Logs and pages: what a replicator below the store sees."""
        return self.log_bytes + self.database_bytes

    @property
    def days(self) -> float:
        """Length of the curve."""
        return self.grid.span_seconds / 86_400

    @property
    def written_bytes_per_day(self) -> float:
        """Mean of :attr:`written_bytes`."""
        return float(self.written_bytes.sum()) / self.days

    @property
    def log_bytes_per_day(self) -> float:
        """Mean of the logs."""
        return float(self.log_bytes.sum()) / self.days

    def peak_to_mean(self, window_seconds: float = 1_800.0) -> float:
        """The busiest window to the mean one, of written bytes; windows lie side by side.

        Raises ValueError when the curve is shorter than a window.
        """
        width = max(1, round(window_seconds / self.grid.step_seconds))
        count = self.grid.steps // width
        if count == 0:
            raise ValueError("the curve is shorter than the window")
        sums = self.written_bytes[: count * width].reshape(count, width).sum(axis=1)
        mean = float(sums.mean())
        return float(sums.max()) / mean if mean > 0 else 1.0

    def scaled(self, factor: float) -> ChangeCurve:
        """All of it so many times as much."""
        return self.shaped(np.full(self.grid.steps, factor))

    def shaped(self, factor: Floats) -> ChangeCurve:
        """In each step so many times as much; shape (steps,)."""
        return replace(
            self,
            log_bytes=self.log_bytes * factor,
            database_bytes=self.database_bytes * factor,
            message_bytes=self.message_bytes * factor,
        )

    def first(self, steps: int) -> ChangeCurve:
        """Its first steps, as many as there are of them at most."""
        return replace(
            self,
            grid=replace(self.grid, steps=min(steps, self.grid.steps)),
            log_bytes=self.log_bytes[:steps],
            database_bytes=self.database_bytes[:steps],
            message_bytes=self.message_bytes[:steps],
        )

    def repeated(self, steps: int) -> ChangeCurve:
        """The same again and again, until there are so many steps."""
        times = -(-steps // self.grid.steps)

        def again(amounts: Floats) -> Floats:
            return np.tile(amounts, times)[:steps]

        return replace(
            self,
            grid=replace(self.grid, steps=steps),
            log_bytes=again(self.log_bytes),
            database_bytes=again(self.database_bytes),
            message_bytes=again(self.message_bytes),
        )

    def frame(self) -> pd.DataFrame:
        """A row for each step, indexed by local time: the three columns of :data:`COLUMNS`, bytes
        of that step."""
        index = pd.DatetimeIndex(self.grid.times(), name="time")
        return pd.DataFrame({name: getattr(self, name) for name in COLUMNS}, index=index)
