"""What planners expect of a mailbox: the published user profiles, as data.

A profile says how much mail a mailbox sends and receives on a working day, and what that costs
a server: disk operations, transaction logs, cache.  The first half drives the generators
(:mod:`simulator.exchange.mail_events`); the second half is the target that a store under that
load is held against.  Nothing here is computed from a store.

Each number is a :class:`Figure` that carries its origin: [S] seed document of the project, [V]
vendor, [P] paper, [T] third party, [D] derived by arithmetic, [M] from memory, [A] assumed for
want of a source.  What is [M] or [A] is a named parameter: give another value to
:func:`select_profile`, and it is marked as given.

Sizes of messages and logs count in KB of 1 024 and MB of 1 048 576 bytes.

Where the sources disagree:

* the 2000/2003 page works an example of 2 000 heavy users with 1 500 operations a second, 0.75
  each; its table says 1.0.  The table stands here.
* profiles of 2010 and 2013 count messages sent *and* received; the split of 2007, one sent for
  four received, is carried over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, Literal

from replicator.errors import BadInput

KIB: Final = 1 << 10
MIB: Final = 1 << 20
Version = Literal["2003", "2007", "2010", "2013"]
Mark = Literal["S", "V", "P", "T", "D", "M", "A", "given"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its origin."""

    value: float
    mark: Mark
    source: str

    @property
    def verified(self) -> bool:
        """Whether it rests on more than memory or assumption."""
        return self.mark not in ("M", "A")


@dataclass(frozen=True, slots=True)
class ProfileFigures:
    """One profile; a figure that no source gives is None.

    Attributes
    ----------
    sent_per_day, received_per_day: messages of one mailbox on a working day.
    average_message_bytes: with its attachments.
    iops: database operations a second of one mailbox at the peak of the day.
    iops_replicated: the same for a copy of a database that has several (2010 on).
    logs_per_day: log files that one mailbox fills on a working day.
    log_file_bytes: size of one of them.
    reads_per_write: of the database volume.
    cache_bytes: database cache of one mailbox.
    mailbox_bytes: size of the mailbox.
    single_instance: whether a message is kept once for all recipients of a database.
    """

    version: Version
    name: str
    sent_per_day: Figure
    received_per_day: Figure
    average_message_bytes: Figure
    iops: Figure
    log_file_bytes: Figure
    single_instance: bool
    iops_replicated: Figure | None = None
    logs_per_day: Figure | None = None
    reads_per_write: Figure | None = None
    cache_bytes: Figure | None = None
    mailbox_bytes: Figure | None = None

    @property
    def messages_per_day(self) -> float:
        """Sent and received together."""
        return self.sent_per_day.value + self.received_per_day.value

    @property
    def mail_bytes_per_day(self) -> float:
        """Bytes of the messages that one mailbox sends and receives on a working day."""
        return self.messages_per_day * self.average_message_bytes.value

    @property
    def log_bytes_per_day(self) -> float | None:
        """Bytes of log that one mailbox fills on a working day, None without a source."""
        if self.logs_per_day is None:
            return None
        return self.logs_per_day.value * self.log_file_bytes.value

    @property
    def log_amplification(self) -> float | None:
        """Bytes of log for one byte of mail sent or received: 4.9 in 2007, 2.7 in 2010 [D]."""
        log_bytes = self.log_bytes_per_day
        return None if log_bytes is None else log_bytes / self.mail_bytes_per_day

    @property
    def unverified(self) -> tuple[str, ...]:
        """Names of the figures that rest on memory or assumption."""
        return tuple(name for name, figure in self.figures.items() if not figure.verified)

    @property
    def figures(self) -> Mapping[str, Figure]:
        """All figures that there are, by name."""
        found = {name: getattr(self, name) for name in _FIGURE_NAMES}
        return {name: figure for name, figure in found.items() if figure is not None}

    def logs_per_day_at(self, average_message_bytes: float) -> float | None:
        """Log files a day if the average message had another size.

        The planners' rule [M]: 1.9 times as many at twice the profile's average, linear on the
        way there and beyond it in proportion.  Smaller messages are not known to make fewer.
        """
        if self.logs_per_day is None:
            return None
        times = average_message_bytes / self.average_message_bytes.value
        factor = 1.0 + 0.9 * (times - 1.0) if times <= 2.0 else 1.9 * times / 2.0
        return self.logs_per_day.value * max(1.0, factor)


_FIGURE_NAMES: Final = (
    "sent_per_day",
    "received_per_day",
    "average_message_bytes",
    "iops",
    "iops_replicated",
    "logs_per_day",
    "log_file_bytes",
    "reads_per_write",
    "cache_bytes",
    "mailbox_bytes",
)

# --- 2000/2003 ----------------------------------------------------------------------------

_DISK_IO: Final = "Microsoft, How to Calculate Your Disk I/O Requirements (bb125019)"
_SERVERS_2002: Final = "mean of the sampled sizes on servers of 2002, see message_sizes.py"
_TECHNET: Final = "TechNet Magazine, Data protection and disaster recovery for Exchange 2007"
_DEMARTEK: Final = "Demartek, Exchange 2003 vs 2007 I/O summary"


def _profile_2003(name: str, iops: float, sent: int, received: int, mib: int) -> ProfileFigures:
    return ProfileFigures(
        version="2003",
        name=name,
        sent_per_day=Figure(sent, "V", _DISK_IO),
        received_per_day=Figure(received, "V", _DISK_IO),
        average_message_bytes=Figure(53 * KIB, "A", _SERVERS_2002),
        iops=Figure(iops, "V", _DISK_IO),
        log_file_bytes=Figure(5 * MIB, "S", _TECHNET),
        # 75:25 to 66:33; the side with more reads, as a planner of spindles would take it.
        reads_per_write=Figure(3.0, "V", _DISK_IO),
        mailbox_bytes=Figure(mib * MIB, "V", _DISK_IO),
        single_instance=True,
    )


# --- 2007 ---------------------------------------------------------------------------------

_BOOK_2007: Final = "profile table of 2007, remembered; sizes as in the 2007 SP1 book"


def _profile_2007(
    name: str, sent: int, received: int, cache_mib: float, iops: float, logs: int
) -> ProfileFigures:
    return ProfileFigures(
        version="2007",
        name=name,
        sent_per_day=Figure(sent, "M", _BOOK_2007),
        received_per_day=Figure(received, "M", _BOOK_2007),
        average_message_bytes=Figure(50 * KIB, "M", _BOOK_2007),
        iops=Figure(iops, "M", _BOOK_2007),
        logs_per_day=Figure(logs, "M", _BOOK_2007),
        log_file_bytes=Figure(MIB, "S", _TECHNET),
        reads_per_write=Figure(1.0, "T", _DEMARTEK),
        cache_bytes=Figure(cache_mib * MIB, "M", _BOOK_2007),
        single_instance=True,
    )


# --- 2010 and 2013 ------------------------------------------------------------------------

_TABLE_2010: Final = "profile table of 2010, remembered"
_EXAMPLE_2010: Final = "Microsoft, Mailbox Server Role Design Example, Exchange 2010"
_SCRIPTS: Final = "public scripts that compute messages / 1000 x KB / 75"
_TABLE_2013: Final = "table of 2013, remembered; logs unchanged from 2010"
_SPLIT: Final = "one sent for four received, carried over from 2007"


def _profile_2010(messages: int) -> ProfileFigures:
    return ProfileFigures(
        version="2010",
        name=str(messages),
        sent_per_day=Figure(messages * 0.2, "A", _SPLIT),
        received_per_day=Figure(messages * 0.8, "A", _SPLIT),
        average_message_bytes=Figure(75 * KIB, "V", _EXAMPLE_2010),
        iops=Figure(round(messages * 0.0012, 4), "M", _TABLE_2010),
        iops_replicated=Figure(round(messages * 0.001, 4), "T", _SCRIPTS),
        logs_per_day=Figure(messages * 0.2, "M", _TABLE_2010),
        log_file_bytes=Figure(MIB, "S", _TECHNET),
        reads_per_write=Figure(1.5, "M", "read to write 3:2, likely"),
        cache_bytes=Figure(messages * 0.06 * MIB, "M", _TABLE_2010),
        single_instance=False,
    )


def _profile_2013(messages: int, iops: float) -> ProfileFigures:
    return replace(
        _profile_2010(messages),
        version="2013",
        iops=Figure(iops, "M", _TABLE_2013),
        iops_replicated=None,
        logs_per_day=Figure(messages * 0.2, "M", _TABLE_2013),
        reads_per_write=None,
        cache_bytes=None,
    )


_ALL: Final = (
    _profile_2003("light", 0.5, 20, 50, 50),
    _profile_2003("average", 0.75, 30, 75, 100),
    _profile_2003("heavy", 1.0, 40, 100, 200),
    _profile_2003("large", 1.5, 60, 150, 500),
    _profile_2007("light", 5, 20, 2, 0.11, 6),
    _profile_2007("average", 10, 40, 3.5, 0.18, 12),
    _profile_2007("heavy", 20, 80, 5, 0.32, 24),
    _profile_2007("very heavy", 30, 120, 5, 0.48, 36),
    *(_profile_2010(messages) for messages in (50, 100, 150, 200, 250, 300, 400, 500)),
    *(
        _profile_2013(messages, iops)
        for messages, iops in (
            (50, 0.034),
            (100, 0.067),
            (150, 0.101),
            (200, 0.134),
            (250, 0.168),
            (300, 0.201),
            (350, 0.235),
            (400, 0.268),
            (450, 0.302),
            (500, 0.335),
        )
    ),
)

PROFILES: Final[Mapping[tuple[str, str], ProfileFigures]] = MappingProxyType(
    {(profile.version, profile.name): profile for profile in _ALL}
)
"""All profiles, by version and name; in the order of the tables."""


def select_profile(version: str, name: str, **given: float) -> ProfileFigures:
    """The profile of that version and name.

    Arguments
    ---------
    version: "2003" (2000 too), "2007", "2010" or "2013".
    name: as the version's table has it: "heavy", or messages a day as in "150".
    given: figures to put in place of the table's, by their attribute's name.

    Raises BadInput when there is no such profile or figure, naming those that there are.
    """
    versions = list(dict.fromkeys(each for each, _ in PROFILES))
    if version not in versions:
        raise _unknown(f"version {version!r}", version, versions)
    profile = PROFILES.get((version, name))
    if profile is None:
        names = [each for of, each in PROFILES if of == version]
        raise _unknown(f"profile {name!r} of version {version}", name, names)
    figures: dict[str, Any] = {}
    for figure, value in given.items():
        if figure not in _FIGURE_NAMES:
            raise _unknown(f"figure {figure!r} of a profile", figure, list(_FIGURE_NAMES))
        if not 0 < value < 1e15:  # false for what is no number, too
            raise BadInput(
                f"{figure} of profile {version} {name} cannot be {value}",
                remedy="Give a positive number.",
            )
        figures[figure] = Figure(float(value), "given", "the caller")
    return replace(profile, **figures)


def _unknown(what: str, wrong: str, right: list[str]) -> BadInput:
    near = get_close_matches(wrong, right, n=1)
    question = f" Did you mean {near[0]!r}?" if near else ""
    return BadInput(
        f"there is no {what}", remedy=f"Choose one of {', '.join(map(repr, right))}.{question}"
    )
