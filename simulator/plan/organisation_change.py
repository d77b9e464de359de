"""What is written, as an organisation's file says it: mailboxes by profile, or files of the site.

The tables ``[[mailboxes]]`` and ``[change]`` of :class:`~simulator.plan.organisation.Organisation`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from replicator.toml_keys import (
    REQUIRED,
    KeyProblem,
    PositiveSize,
    Ratio,
    Table,
    key,
)
from simulator.plan.organisation_keys import Growth, Hours, PositiveSpan
from simulator.plan.site_options import MOST_RATIO, DayOrder, DecimalMark

_MOST_FILES_TABLES: Final = 20
_MOST_COUNTERS: Final = 1_000
_LONGEST_NAME: Final = 1_000
SiteVersion = Literal["2003", "2007", "2010", "2013"]
CounterName = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]


class Mailboxes(Table):
    """So many mailboxes of one profile."""

    count: int = key(None, "How many.", REQUIRED, ge=1, le=10_000_000)
    version: Literal["2003", "2007", "2010", "2013"] = key(None, "Of Exchange.", "2007")
    profile: str = key(
        None,
        "As the version's table has it: light, average, heavy, ...; from 2010 on messages a day.",
        "heavy",
    )


def _place(given: object, info: ValidationInfo) -> Path:
    if not isinstance(given, str | Path) or not str(given) or "\0" in str(given):
        raise KeyProblem("must be a file name", 'Write for instance files = ["logs.txt"].')
    path = Path((info.context or {}).get("directory", ".")).absolute() / given
    try:
        found = path.exists()
    except OSError as error:  # name too long, loop of symbolic links
        raise KeyProblem(
            f"{str(given)[:60]!r} cannot be looked up: {error.args[-1]}", "Give it a shorter name."
        ) from error
    if not found:
        raise KeyProblem(
            f"there is no file or folder {path}",
            "Write its name as seen from the organisation's own directory.",
        )
    return path


class Change(Table):
    """What is written: of the mailboxes, or what the site already has."""

    files: tuple[Path, ...] = key(
        None,
        "Files of the site in place of mailboxes: a folder or listing of logs, hourly statistics, "
        "performance counters, a disk trace; relative to this file.",
        (),
        max_length=_MOST_FILES_TABLES,
    )
    hours: Path | None = key(
        None, "Hourly log statistics (CSV) whose day the mailboxes have.", None
    )
    growth_per_year: Growth = key(
        "growth",
        "Of the mailboxes, or of what files count, by the year, compounded; -50% to 1000%. The "
        "size of the databases is that of the begin.",
        0.0,
    )
    weekend: Ratio = key(None, "Traffic of a day of the weekend to a working day's [A].", 0.1)
    average_message_bytes: PositiveSize | None = key(
        "average_message", "Mean size of a message; by default the profile's.", None
    )
    mailbox_bytes: PositiveSize | None = key(
        "mailbox_size", "Mean size of a mailbox; by default the profile's.", None
    )
    database_bytes: PositiveSize | None = key(
        "database_size",
        "Of all databases together; by default that of the mailboxes. A night's defragmentation "
        "takes its share of it.",
        None,
    )
    log_sets: int | None = key(
        None,
        "Storage groups, or databases, with logs of their own; as many as the files of the site "
        "are of, where they tell it. A single file of hourly statistics has the logs of the mean "
        "database: it counts so many times.",
        None,
        ge=1,
        le=10_000,
    )
    log_sets_alike: bool = key(
        None,
        "How files of the site are read: they are of fewer log sets than log_sets, and the others "
        "write as much on average; what the files count is multiplied.",
        False,
    )
    coalesced: Ratio = key(None, "Of page writes, saved by writing a page once for several.", 0.0)
    rewritten: Ratio | None = key(
        "defragmentation",
        "Of the stored pages, rewritten by each night's pass; by default 10 % up to 2007 [A].",
        None,
    )
    rewritten_hours_ns: Hours | None = key(
        "defragmentation_hours",
        "When a night's pass writes; by default from 15 minutes before the version's maintenance "
        "window ends until an hour after it: 03:45-05:00 in 2003 [T], 04:45-06:00 later [A].",
        None,
    )
    log_counters: tuple[CounterName, ...] = key(
        None,
        "Likewise: parts of the names of counters that are bytes of logs a second; by default "
        "those that are known.",
        (),
        max_length=_MOST_COUNTERS,
    )
    database_counters: tuple[CounterName, ...] = key(
        None, "Likewise, of pages of the databases.", (), max_length=_MOST_COUNTERS
    )
    day_order: DayOrder = key(
        None, "Likewise: of dates such as 03/04/2026; auto decides from the whole file.", "auto"
    )
    decimal_mark: DecimalMark = key(None, "Likewise: of counters.", "auto")
    utc_offset_hours: float | None = key(
        None,
        "Likewise: the site's clock less UTC, for times in UTC; by default they stay so.",
        None,
        ge=-24,
        le=24,
    )
    log_file_bytes: PositiveSize | None = key(
        "log_file_size",
        "Likewise: of one log; by default what the files say, else 1 MiB.",
        None,
        le=1 << 40,
    )
    trace: str | None = key(
        None,
        "Likewise: the virtual machine to take from a table of several.",
        None,
        min_length=1,
        max_length=_LONGEST_NAME,
    )
    version: SiteVersion | None = key(
        None,
        "Likewise: of Exchange, whose profiles say what no file does; by default 2003 where logs "
        "have 5 MiB, else 2010 [A].",
        None,
    )
    database_bytes_per_log_byte: float | None = key(
        None,
        "Likewise: pages, where files know logs alone; by default of the version's profiles [D].",
        None,
        ge=0,
        le=MOST_RATIO,
    )
    message_bytes_per_log_byte: float | None = key(
        None, "Likewise: of messages [D].", None, ge=0, le=MOST_RATIO
    )
    log_share_of_writes: Ratio | None = key(
        None,
        "Likewise: logs, where files cannot tell them from pages; by default by the same ratio "
        "[D].",
        None,
    )
    bytes_per_write: PositiveSize | None = key(
        None,
        "Likewise: of counters that count operations alone; without it they are not taken.",
        None,
        le=int(MOST_RATIO),
    )
    log_sets_taken: tuple[CounterName, ...] = key(
        None,
        "Likewise: base names of the log sets to take, such as E00; by default all.",
        (),
        max_length=_MOST_COUNTERS,
    )
    disks: tuple[CounterName, ...] = key(
        None,
        "Likewise: numbers of the disks to take from a trace (MSR: host/number); by default all.",
        (),
        max_length=_MOST_COUNTERS,
    )
    bridge_gaps: bool = key(
        None, "Likewise: spread missing logs over their time; without it they are refused.", True
    )
    most_missing_share: Ratio = key(
        None, "Likewise: of the time, in gaps, above which a file is refused [A].", 0.25
    )
    least_measured_ns: PositiveSpan = key(
        "least_measured",
        "Likewise: time that counters have to cover; with less a file is refused [A].",
        "1h",
    )
    most_disordered_share: Ratio = key(
        None,
        "Likewise: of the logs, with times against their order, above which a file is refused [A].",
        0.25,
    )

    @field_validator("files", "hours", mode="before")
    @classmethod
    def _from_the_file(cls, given: object, info: ValidationInfo) -> object:
        """Absolute from here on, whatever directory the command runs in."""
        if info.field_name == "files" and isinstance(given, str):
            return given  # no list, which is what is told of it
        if isinstance(given, list | tuple):
            return tuple(_place(each, info) for each in given)
        return None if given is None else _place(given, info)
