"""What a profile's mailboxes read and write on the volume of their databases, by the hour.

Theory
------
The tables tell operations a second of one mailbox at the peak of the day, ``iops``, and how many of
them read, ``reads_per_write``.  The rhythm of the day is the mail's, so with a peak of ``p`` times
the mean hour a mailbox makes ``iops / p * 86 400`` operations on a working day, and in each hour
its share of them.  They follow the clock, not the single message: most of what a client makes a
store read are views, searches, calendars, folders that are opened; so there is no chance in them.

How long a changed page waits until it is written, decides how often several changes share one
write.  The engine writes pages whose oldest change lies half the checkpoint's depth behind the log.
That log is one for all mailboxes of a log set, of which a small store has few only.  The others are
thought of: a page is due after the part of a day's traffic in which all mailboxes of a log set
would fill half the depth.

``IoModel`` has what no source tells.  What the cache holds beside the mailboxes' own days is
scaled: a store that was made has days of mail, not years, so a cache of a mailbox's full size would
never miss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType
from typing import Final

from simulator.exchange.diurnal import DAY_NS, UNITS_PER_DAY
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.profiles import KIB, ProfileFigures, Version

_SECONDS_PER_DAY: Final = 86_400
_LEAST_CACHE_PAGES: Final = 64
"""A statement alone needs some."""
_MOST_CACHE_PAGES: Final = 1 << 14
"""As many as the engine keeps by default: memory does not grow with the mailboxes."""
MAILBOXES_OF_A_LOG_SET: Final[Mapping[Version, int]] = MappingProxyType(
    {"2003": 1_000, "2007": 200, "2010": 200, "2013": 200}
)
"""[A]: 4,000 mailboxes of a server in the four storage groups of 2003; later a database each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IoModel:
    """What the tables leave open.

    Attributes
    ----------
    cache_share: of the profile's cache that the store is given [A].
    older_to_cache: pages of before the first day to those of the cache; more than 1, or they
        would stay in memory [A].
    assumed_cache_bytes: of a mailbox, where no source tells it (2003) [A].
    assumed_log_amplification: bytes of log for one of mail, where no source tells it (2003) [A].
    mailboxes_of_a_log_set: so many fill the log together, by version [A].
    surplus_hours: what was read or written beyond the figure is made up for later, but never more
        than so many peak hours of it [A].

    Raises ValueError for what cannot be.
    """

    cache_share: float = 0.25
    older_to_cache: float = 2.0
    assumed_cache_bytes: int = 512 * KIB
    assumed_log_amplification: float = 2.0
    mailboxes_of_a_log_set: Mapping[Version, int] = field(
        default_factory=lambda: MAILBOXES_OF_A_LOG_SET
    )
    surplus_hours: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.cache_share <= 1 or self.older_to_cache <= 1:
            raise ValueError("a cache has a share up to 1, and less room than the older pages")
        if self.assumed_cache_bytes < 1 or self.assumed_log_amplification <= 0:
            raise ValueError("cache and log amplification are positive")
        if min(self.mailboxes_of_a_log_set.values(), default=1) < 1 or self.surplus_hours < 0:
            raise ValueError("a log set has a mailbox at least, and no surplus is negative")


DEFAULT_IO: Final = IoModel()


@dataclass(frozen=True, slots=True)
class Operations:
    """Of databases."""

    reads: float
    writes: float


def peak_operations(profile: ProfileFigures) -> Operations:
    """Reads and writes a second of one mailbox at the peak of the day.

    Raises ValueError when no source tells how many of the operations read.
    """
    if profile.reads_per_write is None:
        raise ValueError(f"no source tells reads and writes of profile {profile.version}")
    ratio = profile.reads_per_write.value
    writes = profile.iops.value / (1.0 + ratio)
    return Operations(writes * ratio, writes)


def expected_operations(plan: MailPlan, from_ns: int, until_ns: int) -> Operations:
    """Reads and writes of all mailboxes of a plan between two instants of its stream.

    Raises ValueError as :func:`peak_operations` does.
    """
    peak = peak_operations(plan.profile)
    per_day = plan.mailboxes * _SECONDS_PER_DAY / plan.curve.peak_to_mean
    begin, end = plan.calendar_ns + from_ns, plan.calendar_ns + until_ns
    share = plan.curve.expected(per_day, begin, end)
    return Operations(peak.reads * share, peak.writes * share)


def units_until_written(plan: MailPlan, model: IoModel, depth_bytes: int) -> int:
    """How much traffic passes before a changed page is written, in units of the day's rhythm.

    Arguments
    ---------
    depth_bytes: of the checkpoint.
    """
    amplification = plan.profile.log_amplification or model.assumed_log_amplification
    log_bytes = amplification * plan.profile.mail_bytes_per_day
    together = model.mailboxes_of_a_log_set[plan.profile.version] * log_bytes
    return max(1, int(depth_bytes / 2 / together * UNITS_PER_DAY))


def units_at(plan: MailPlan, time_ns: int) -> int:
    """Traffic before an instant of a plan's stream, in units of the day's rhythm."""
    return plan.curve.units_at(plan.calendar_ns + time_ns)


def cache_pages(plan: MailPlan, model: IoModel, page_bytes: int) -> int:
    """Pages of one database's cache: the mailboxes' own, as far as memory is given for them."""
    profile = plan.profile
    known = profile.cache_bytes
    one = known.value if known is not None else model.assumed_cache_bytes
    mailboxes = ceil(plan.mailboxes / plan.databases)
    wanted = int(model.cache_share * one * mailboxes / page_bytes)
    return min(max(_LEAST_CACHE_PAGES, wanted), _MOST_CACHE_PAGES)


def older_pages(plan: MailPlan, model: IoModel, page_bytes: int) -> int:
    """Pages that a mailbox has from before the first day."""
    mailboxes = plan.mailboxes // plan.databases
    return ceil(model.older_to_cache * cache_pages(plan, model, page_bytes) / mailboxes)


def is_busiest(plan: MailPlan, hour: int) -> bool:
    """Whether an hour of the stream is the busiest of a working day, or one of several such."""
    begin_ns = plan.calendar_ns + hour * (DAY_NS // 24)
    of_day = begin_ns // (DAY_NS // 24) % 24
    working = plan.curve.days[begin_ns // DAY_NS % 7] == max(plan.curve.days)
    return working and plan.curve.hours[of_day] == max(plan.curve.hours)
