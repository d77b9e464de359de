"""The change curve of mailboxes that are counted, not measured.

Theory
------
A profile's tables (:mod:`simulator.exchange.profiles`) say what one mailbox costs on a working
day; the rhythm of mail (:class:`~simulator.exchange.diurnal.WeekCurve`) spreads it over the week.

* logs: log files a day; where no source tells (2003), bytes of mail times an assumed
  amplification.
* pages: write operations at the peak, over the peak's share of the day, times the size of a page.
  The table counts operations; neighbours that go in one write carry more, pages that are changed
  again before they are written less: ``coalesced_share`` is what the second saves [A].
* messages: sent and received, of the average size.
* night: each pass of online defragmentation rewrites a share of the stored pages, evenly over
  its time of day [A].  It begins at the latest 15 minutes before the maintenance window ends, and
  may run an hour past it: a rule told of 2003, whose window is midnight to 04:00 [T], and taken to
  hold in 2007 [A], whose window is 01:00 to 05:00 [T].  A store whose other tasks end early begins
  sooner: ``rewritten_hours_ns`` takes what its event log says.  Versions that defragment all the
  time have no passes.

Growth is of the number of mailboxes, by the year, compounded from the begin of the grid on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from simulator.exchange.diurnal import WeekCurve
from simulator.exchange.mail_io import DEFAULT_IO, MAILBOXES_OF_A_LOG_SET
from simulator.exchange.mail_plan import NS_PER_SECOND, nights_of
from simulator.exchange.profiles import KIB, MIB, ProfileFigures, Version
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, HOUR_SECONDS, Floats, TimeGrid

PAGE_BYTES: Final[Mapping[Version, int]] = MappingProxyType(
    {"2003": 4 * KIB, "2007": 8 * KIB, "2010": 32 * KIB, "2013": 32 * KIB}
)
ASSUMED_MAILBOX_BYTES: Final[Mapping[Version, float]] = MappingProxyType(
    {"2003": 200 * MIB, "2007": 250 * MIB, "2010": 2048 * MIB, "2013": 2048 * MIB}
)
"""Where a profile does not tell: 2 GB in the vendor's example of 2010 [V], 250 MB for 2007 [A]."""
ASSUMED_READS_PER_WRITE: Final = 1.5
"""Where no source tells (2013): as 2010 [M]."""
_YEAR_SECONDS: Final = 365.25 * DAY_SECONDS
_WEEK_SECONDS: Final = 7 * DAY_SECONDS


@dataclass(frozen=True)
class MailboxGroup:
    """So many mailboxes of one profile."""

    profile: ProfileFigures
    mailboxes: int


@dataclass(frozen=True, kw_only=True)
class MailAssumptions:
    """What the tables leave open.

    Attributes
    ----------
    curve: the rhythm of a week.
    growth_per_year: of the number of mailboxes; 0.1 is 10 %.
    coalesced_share: of page writes, saved because a page is changed again before it is
        written [A].
    rewritten_share: of the stored pages, rewritten by a night's pass of defragmentation; None
        for what the version's nights have (10 % up to 2007 [A], none later).
    rewritten_hours_ns: begin and end of that pass as times of day, an end at or below the begin
        of the next morning; None for the version's.
    mailbox_bytes: of each mailbox; None for the profile's, or :data:`ASSUMED_MAILBOX_BYTES`.
    stored_bytes: of all databases, of which a night's pass takes its share; None for the mailboxes
        together.
    log_amplification: bytes of log for one of mail where no table has logs [A].
    average_message_bytes: None for the profile's.
    """

    curve: WeekCurve = field(default_factory=WeekCurve)
    growth_per_year: float = 0.0
    coalesced_share: float = 0.0
    rewritten_share: float | None = None
    rewritten_hours_ns: tuple[int, int] | None = None
    mailbox_bytes: float | None = None
    stored_bytes: float | None = None
    log_amplification: float = DEFAULT_IO.assumed_log_amplification
    average_message_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class MailboxDay:
    """What one mailbox writes on a working day, and keeps."""

    log_bytes: float
    page_bytes: float
    message_bytes: float
    mailbox_bytes: float


def mailbox_day(profile: ProfileFigures, assumed: MailAssumptions) -> MailboxDay:
    """Figures of one mailbox of a profile under assumptions."""
    size = assumed.average_message_bytes or profile.average_message_bytes.value
    message_bytes = profile.messages_per_day * size
    logs = profile.logs_per_day_at(size)
    if logs is None:
        log_bytes = message_bytes * assumed.log_amplification
    else:
        log_bytes = logs * profile.log_file_bytes.value
    known_ratio = profile.reads_per_write
    ratio = ASSUMED_READS_PER_WRITE if known_ratio is None else known_ratio.value
    iops = profile.iops_replicated or profile.iops
    writes = iops.value / (1.0 + ratio) / assumed.curve.peak_to_mean * DAY_SECONDS
    page_bytes = writes * PAGE_BYTES[profile.version] * (1.0 - assumed.coalesced_share)
    stored = assumed.mailbox_bytes
    if stored is None:
        known = profile.mailbox_bytes
        stored = ASSUMED_MAILBOX_BYTES[profile.version] if known is None else known.value
    return MailboxDay(log_bytes, page_bytes, message_bytes, stored)


def working_days(grid: TimeGrid, curve: WeekCurve) -> Floats:
    """The traffic of each step, in working days."""
    edges = np.arange(7 * 24 + 1) * HOUR_SECONDS
    shares = np.outer(curve.days, np.array(curve.hours) / np.sum(curve.hours)).ravel()
    sums = np.concatenate(([0.0], np.cumsum(shares)))
    begin = grid.seconds_of_week()
    end = begin + grid.step_seconds
    whole = np.floor(end / _WEEK_SECONDS)
    after = np.interp(end - whole * _WEEK_SECONDS, edges, sums) + whole * sums[-1]
    traffic: Floats = after - np.interp(begin, edges, sums)
    return traffic


def usual_rewritten_share(version: Version) -> float:
    """Of the stored pages, rewritten by each night's pass where nobody says it [A]; 0 for versions
    that defragment all the time."""
    nights = nights_of(version)
    return 0.0 if nights.continuous else nights.rewritten_share


def usual_rewritten_hours_ns(version: Version) -> tuple[int, int]:
    """When a night's pass of a version writes where nobody says it: begin and end, times of day."""
    nights = nights_of(version)
    return nights.defragmentation_begin_ns, nights.defragmentation_end_ns


def _night_shares(grid: TimeGrid, hours_ns: tuple[int, int]) -> Floats:
    """Which part of a night's pass falls in each step."""
    begin_seconds, end_seconds = (each / NS_PER_SECOND for each in hours_ns)
    length = (end_seconds - begin_seconds) % DAY_SECONDS or DAY_SECONDS
    of_day = grid.seconds_of_week() % DAY_SECONDS
    inside = np.zeros(grid.steps)
    for day in (-1, 0, 1):
        opens = begin_seconds + day * DAY_SECONDS
        lasts = np.minimum(of_day + grid.step_seconds, opens + length) - np.maximum(of_day, opens)
        inside += np.maximum(lasts, 0.0)
    shares: Floats = inside / length
    return shares


def change_of_mailboxes(
    groups: Sequence[MailboxGroup],
    grid: TimeGrid,
    assumed: MailAssumptions | None = None,
    log_sets: int | None = None,
) -> ChangeCurve:
    """What mailboxes write.

    Arguments
    ---------
    groups: one at least, all of one version: its logs have one size, its nights one shape.
    grid: the steps.
    assumed: what the tables leave open.
    log_sets: storage groups or databases with logs of their own; by default as many as the
        version has for so many mailboxes [A].

    Raises ValueError for no mailboxes, and for groups of versions that do not go together.
    """
    assumed = assumed or MailAssumptions()
    mailboxes = sum(group.mailboxes for group in groups)
    if mailboxes < 1 or any(group.mailboxes < 0 for group in groups):
        raise ValueError("a plan needs a mailbox at least")
    versions = {group.profile.version for group in groups}
    if len(versions) > 1:
        raise ValueError("groups of one plan must be of one version")
    [version] = versions
    traffic = working_days(grid, assumed.curve)
    growth = (1.0 + assumed.growth_per_year) ** (grid.seconds() / _YEAR_SECONDS)
    logs = pages = messages = stored = 0.0
    for group in groups:
        day = mailbox_day(group.profile, assumed)
        logs += day.log_bytes * group.mailboxes
        pages += day.page_bytes * group.mailboxes
        messages += day.message_bytes * group.mailboxes
        stored += day.mailbox_bytes * group.mailboxes
    if assumed.stored_bytes is not None:
        stored = assumed.stored_bytes
    rhythm = traffic * growth
    night = np.zeros(grid.steps)
    rewritten = assumed.rewritten_share
    if rewritten is None:
        rewritten = usual_rewritten_share(version)
    if rewritten > 0:
        hours_ns = assumed.rewritten_hours_ns or usual_rewritten_hours_ns(version)
        night = _night_shares(grid, hours_ns) * stored * rewritten * growth
    if log_sets is None:
        log_sets = max(1, round(mailboxes / MAILBOXES_OF_A_LOG_SET[version]))
    profile = groups[0].profile
    return ChangeCurve(
        grid,
        log_bytes=rhythm * logs,
        database_bytes=rhythm * pages + night,
        message_bytes=rhythm * messages,
        stored_bytes=stored,
        log_file_bytes=int(profile.log_file_bytes.value),
        log_sets=log_sets,
        origin=", ".join(
            f"{group.mailboxes:,} {group.profile.name} mailboxes of Exchange {version}"
            for group in groups
        ),
        remarks=_remarks(groups, rewritten, log_sets),
    )


def _remarks(groups: Sequence[MailboxGroup], rewritten: float, log_sets: int) -> tuple[str, ...]:
    unverified = sorted({name for group in groups for name in group.profile.unverified})
    found = [f"{log_sets} log sets"]
    if unverified:
        found.append("from memory or assumed, in the profile: " + ", ".join(unverified))
    if rewritten > 0:
        found.append(
            f"a night's defragmentation rewrites {100 * rewritten:g} % of the stored pages [A]"
        )
    return tuple(found)
