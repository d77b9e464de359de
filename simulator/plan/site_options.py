"""What a planner says about a site's own files, beside their names.

Each figure that the files do not hold has a name here and a default.  Logs are what most files
tell; the pages that go with them follow from the mailbox profiles: bytes of pages for one byte of
log on a working day (:func:`profile_ratios`, [D]), 1.5 to 2.6 over the versions.  Where a file
counts writes of a disk and cannot tell logs from pages, the same ratio divides them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import isfinite
from statistics import median
from typing import Final, Literal

from simulator.exchange.profiles import MIB, PROFILES, Version
from simulator.plan.grid import DAY_SECONDS, DEFAULT_BEGIN, MINUTE_SECONDS
from simulator.plan.mail_change import MailAssumptions, mailbox_day

DayOrder = Literal["auto", "month first", "day first"]
DecimalMark = Literal["auto", ".", ","]
Progress = Callable[[int, int], None]
"""Called now and then with the bytes read so far and the size of the file."""

OLD_LOG_FILE_BYTES: Final = 5 * MIB
"""Of 2000 and 2003: tells the version of a log set."""
DEFAULT_VERSION: Final[Version] = "2010"
MOST_RATIO: Final = 1e6
"""Of bytes of one kind to those of another, and of one write."""


@cache
def profile_ratios(version: Version) -> tuple[float, float]:
    """Bytes of pages and of messages for one byte of log, on a working day: the median of the
    version's profiles [D]."""
    assumed = MailAssumptions()
    days = [mailbox_day(each, assumed) for each in PROFILES.values() if each.version == version]
    pages = median(day.page_bytes / day.log_bytes for day in days)
    return pages, median(day.message_bytes / day.log_bytes for day in days)


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """How a site's files are to be read; the defaults do for most.

    Attributes
    ----------
    step_seconds: length of the curve's steps.
    version: of the store; None: 2003 where log files have 5 MiB, else 2010 [A].
    database_bytes_per_log_byte: where a file knows only logs; None for the version's profiles.
    message_bytes_per_log_byte: None for the version's profiles.
    log_share_of_writes: where a file counts all writes; None for the same ratio of the profiles.
    log_file_bytes: None for what the files say.
    utc_offset_hours: the site's clock less UTC, for times that a file has in UTC; None: such times
        stay in UTC, and the curve says so.
    begins_at: where a trace begins that tells no date.
    day_order: of dates as 03/04/2026; "auto" decides from the whole file, or refuses.
    decimal_mark: of counters; "auto" decides from the whole file, or refuses.
    log_sets: databases that one file of hourly statistics is of, whose mean it has; None: of one,
        unless the file says otherwise, which is refused.
    log_sets_taken: base names (``E00``) of the log sets to take; empty for all.
    log_counters, database_counters: parts of counter names, of the columns that are bytes of logs
        and of pages a second; empty for what :mod:`.site_counter_catalogue` knows.
    bytes_per_write: for counters that count operations only.
    trace: name of the virtual machine, in a table of several.
    disks: numbers (MSR: ``host/number``) of the disks to take from a trace; empty for all.
    bridge_gaps: whether missing log generations are counted and spread over their time; False
        refuses them.
    most_missing_share: of the time, covered by gaps, above which a file is refused.
    most_disordered_share: of logs, whose times contradict their order, above which a file is
        refused.
    least_measured_seconds: of counters; a file of less time is refused; 0 for none.
    most_bytes_per_second: of one counter; above it a sample cannot be.
    progress: called now and then while a long file is read.

    Raises ValueError for figures that cannot be.
    """

    step_seconds: float = MINUTE_SECONDS
    version: Version | None = None
    database_bytes_per_log_byte: float | None = None
    message_bytes_per_log_byte: float | None = None
    log_share_of_writes: float | None = None
    log_file_bytes: int | None = None
    utc_offset_hours: float | None = None
    begins_at: datetime = DEFAULT_BEGIN
    day_order: DayOrder = "auto"
    decimal_mark: DecimalMark = "auto"
    log_sets: int | None = None
    log_sets_taken: tuple[str, ...] = ()
    log_counters: tuple[str, ...] = ()
    database_counters: tuple[str, ...] = ()
    bytes_per_write: float | None = None
    trace: str | None = None
    disks: tuple[str, ...] = ()
    bridge_gaps: bool = True
    most_missing_share: float = 0.25
    most_disordered_share: float = 0.25
    least_measured_seconds: float = 0.0
    most_bytes_per_second: float = 1e11
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not 1e-3 <= self.step_seconds <= DAY_SECONDS:
            raise ValueError("a step lasts from a millisecond to a day")
        for name in (
            "database_bytes_per_log_byte",
            "message_bytes_per_log_byte",
            "bytes_per_write",
        ):
            figure = getattr(self, name)
            if figure is not None and not (isfinite(figure) and 0 <= figure <= MOST_RATIO):
                raise ValueError(f"{name} must be from 0 to {MOST_RATIO:g}, not {figure}")
        if self.log_share_of_writes is not None and not 0 <= self.log_share_of_writes <= 1:
            raise ValueError("log_share_of_writes is a share, from 0 to 1")
        if self.log_file_bytes is not None and not 1 <= self.log_file_bytes <= 1 << 40:
            raise ValueError("a log file has a byte at least, and no more than a TiB")
        if self.log_sets is not None and self.log_sets < 1:
            raise ValueError("log_sets are one at least")
        if self.utc_offset_hours is not None and not -24 <= self.utc_offset_hours <= 24:
            raise ValueError("utc_offset_hours is from -24 to 24")
        if not (0 <= self.most_missing_share <= 1 and 0 <= self.most_disordered_share <= 1):
            raise ValueError("most_missing_share and most_disordered_share are shares, 0 to 1")
        if not (isfinite(self.most_bytes_per_second) and self.most_bytes_per_second > 0):
            raise ValueError("most_bytes_per_second must be positive")
        if not 0 <= self.least_measured_seconds < float("inf"):
            raise ValueError("least_measured_seconds is a time, 0 or more")
        if self.begins_at.tzinfo is not None:
            raise ValueError("begins_at is the site's own clock: it has no time zone")

    @property
    def utc_offset_seconds(self) -> float:
        """What is added to a time in UTC."""
        return 3_600.0 * (self.utc_offset_hours or 0.0)

    def version_of(self, log_file_bytes: int | None) -> Version:
        """The store's version: as given, or by the size of its log files."""
        if self.version is not None:
            return self.version
        return "2003" if log_file_bytes == OLD_LOG_FILE_BYTES else DEFAULT_VERSION

    def ratios(self, log_file_bytes: int | None) -> tuple[float, float, tuple[str, ...]]:
        """Pages and messages for one byte of log, and what to say about where that is from."""
        version = self.version_of(log_file_bytes)
        pages, messages = profile_ratios(version)
        told = f"that of the profiles of Exchange {version} [D]"
        origin = [told, told]
        if self.database_bytes_per_log_byte is not None:
            pages, origin[0] = self.database_bytes_per_log_byte, "as given"
        if self.message_bytes_per_log_byte is not None:
            messages, origin[1] = self.message_bytes_per_log_byte, "as given"
        return (
            pages,
            messages,
            (
                f"{pages:.3g} bytes of pages for one of log: {origin[0]}",
                f"{messages:.3g} bytes of messages for one of log: {origin[1]}",
            ),
        )
