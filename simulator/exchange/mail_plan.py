"""What a stream of mail is a function of: profile, mailboxes, calendar, habits, nights.

All that :mod:`simulator.exchange.mail_batches` draws and :mod:`simulator.exchange.mail_events`
tells depends on a :class:`MailPlan` and nothing else.  Habits come from no source that could be
opened: each is a named parameter, marked [A], or [M] where it is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from simulator.exchange.diurnal import DAY_NS, HOUR_NS, UNITS_PER_DAY, WeekCurve
from simulator.exchange.message_sizes import MessageSizes
from simulator.exchange.profiles import ProfileFigures, Version
from simulator.exchange.recipients import RecipientCounts, copies_and_kept

NS_PER_SECOND: Final = 10**9
_COPIES_OF_BLOCK: Final = 4_096
_MOST_HALVINGS: Final = 30
_LAST_MOVE_HOURS: Final = 120
_LONGEST_KEPT_HOURS: Final = 24 * 260


@dataclass(frozen=True, slots=True)
class Habits:
    """What users do with their mail; shares are of the messages received.

    Attributes
    ----------
    internal_share: come from a mailbox of the same organization.
    outbound_share: share of the messages sent that leave the organization, to nobody in it.
    outside_recipients: mean recipients of a message from outside.
    reply_share: share of the messages sent that answer one.
    read_share, flagged_share: are read; are read and flagged.
    moved_share, deleted_share: are moved to a folder; are deleted from the inbox.
    cleared_share: of what was moved, is deleted from its folder later [A].
    cleared_after_hours: so long after its delivery, in hours of traffic, of which a working day
        has 24: more than 120, within which all is moved [A].
    first_folders: folders of a user's own at the beginning.
    new_folders_per_day: on a working day, made by one mailbox.
    most_folders: no more are made.
    transit_ns: shortest and longest time from sending to delivery.
    """

    internal_share: float = 0.75
    outbound_share: float = 0.2
    outside_recipients: float = 1.2
    reply_share: float = 0.3
    read_share: float = 0.9
    flagged_share: float = 0.03
    moved_share: float = 0.2
    deleted_share: float = 0.6
    cleared_share: float = 0.5
    cleared_after_hours: int = 240
    first_folders: int = 10
    new_folders_per_day: float = 0.02
    most_folders: int = 100
    transit_ns: tuple[int, int] = (NS_PER_SECOND // 2, 5 * NS_PER_SECOND)

    def __post_init__(self) -> None:
        shares = [self.internal_share, self.outbound_share, self.reply_share, self.read_share]
        shares += [self.flagged_share, self.moved_share, self.deleted_share, self.cleared_share]
        if not all(0 <= share <= 1 for share in shares) or self.outbound_share == 1:
            raise ValueError("a share lies between 0 and 1, and not all mail may leave")
        if self.moved_share + self.deleted_share > 1 or self.flagged_share > self.read_share:
            raise ValueError("what is moved and deleted, or flagged, is more than there is")
        if not _LAST_MOVE_HOURS < self.cleared_after_hours <= _LONGEST_KEPT_HOURS:
            raise ValueError(
                f"folders are cleared after {_LAST_MOVE_HOURS} hours of traffic, within which mail "
                f"is moved there, and up to {_LONGEST_KEPT_HOURS}"
            )
        if not 1 <= self.outside_recipients <= 8:
            raise ValueError("a message from outside has 1 to 8 recipients in the mean")
        if not 1 <= self.first_folders <= self.most_folders or self.new_folders_per_day < 0:
            raise ValueError("there is at least one folder, and there are no more than the most")
        if not 0 <= self.transit_ns[0] < self.transit_ns[1]:
            raise ValueError("the shortest transit must be below the longest")


@dataclass(frozen=True, slots=True)
class Nights:
    """The store's own work.

    Attributes
    ----------
    begin_ns, end_ns: the maintenance window, times of day; an end below the begin is of the
        next morning.
    expiry_share: first part of the window, in which deleted messages expire [A].
    retention_ns: how long a deleted message is kept [M].
    defragmentation_begin_ns, defragmentation_end_ns: of each pass, as a time of day.
    rewritten_share: share of the database's pages that a pass rewrites, 5 to 20 % [A].
    continuous: defragmentation never pauses: there are no passes.
    scan: the database is read through in the background, from the window's begin on.
    idle_tick_ns: after so long an idle database closes its log [V].
    """

    begin_ns: int
    end_ns: int
    retention_ns: int
    defragmentation_begin_ns: int
    defragmentation_end_ns: int
    expiry_share: float = 0.5
    rewritten_share: float = 0.1
    continuous: bool = False
    scan: bool = True
    idle_tick_ns: int = 15 * 60 * NS_PER_SECOND

    def __post_init__(self) -> None:
        times = [self.begin_ns, self.end_ns]
        times += [self.defragmentation_begin_ns, self.defragmentation_end_ns]
        if not all(0 <= time < DAY_NS for time in times) or self.begin_ns == self.end_ns:
            raise ValueError("a time of day lies below 24 hours, and a window has a length")
        if not 0 < self.expiry_share <= 1 or not 0 <= self.rewritten_share <= 1:
            raise ValueError("a share lies between 0 and 1")
        if self.retention_ns < 0 or self.idle_tick_ns < NS_PER_SECOND:
            raise ValueError("retention is not negative, and ticks are a second apart at least")

    @property
    def window_ns(self) -> int:
        """Length of the window."""
        return (self.end_ns - self.begin_ns) % DAY_NS

    @property
    def expiry_seconds(self) -> int:
        """Length of the part in which messages expire."""
        return max(1, int(self.window_ns * self.expiry_share) // NS_PER_SECOND)


def nights_of(version: Version) -> Nights:
    """What the store of a version does at night.

    2003 works from midnight to 04:00; online defragmentation begins 15 minutes before the end
    and may run an hour over it [T].  2007 has 01:00 to 05:00 [T].  From 2010 on maintenance
    begins at 01:00 and defragmentation goes on all day [T]; that expiry ends by 05:00 is [A].
    Deleted messages are kept for 7 days in 2003, 14 later [M].
    """
    begin = 0 if version == "2003" else HOUR_NS
    end = begin + 4 * HOUR_NS
    return Nights(
        begin_ns=begin,
        end_ns=end,
        retention_ns=(7 if version == "2003" else 14) * DAY_NS,
        defragmentation_begin_ns=end - HOUR_NS // 4,
        defragmentation_end_ns=end + HOUR_NS,
        continuous=version in ("2010", "2013"),
        scan=version != "2003",
    )


@dataclass(frozen=True, slots=True)
class Runaway:
    """A mail loop: a mailbox answers a robot that answers it.

    Attributes
    ----------
    messages_per_second: sent by the mailbox; it receives as many.
    from_ns, until_ns: of the stream.
    size_bytes: of each message; the profile's average when None.
    """

    mailbox: int
    messages_per_second: float
    from_ns: int
    until_ns: int
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.messages_per_second <= 1e6:
            raise ValueError("a loop has a positive rate, at most a million messages a second")
        if not 0 <= self.from_ns <= self.until_ns:
            raise ValueError("a loop ends after it began")
        if self.size_bytes is not None and self.size_bytes < 1:
            raise ValueError("a message has a size")


@dataclass(frozen=True)
class MailPlan:
    """One stream of mail.

    Arguments
    ---------
    mailboxes: all with this profile; mailbox m is in database m modulo ``databases``.
    duration_ns: the stream's end.
    seed: names all random choices.
    starts_on: day of the week at the start, 0 for Monday.
    starts_at_ns: time of day at the start.
    nights: what the version does when None.
    """

    profile: ProfileFigures
    mailboxes: int
    duration_ns: int
    seed: int = 1
    databases: int = 1
    curve: WeekCurve = field(default_factory=WeekCurve)
    starts_on: int = 0
    starts_at_ns: int = 0
    habits: Habits = field(default_factory=Habits)
    nights: Nights | None = None
    runaways: tuple[Runaway, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.databases <= self.mailboxes <= 10_000_000:
            raise ValueError("each database needs a mailbox; there may be ten million mailboxes")
        if self.duration_ns < 0 or self.seed < 0:
            raise ValueError("neither a duration nor a seed is negative")
        if self.starts_on not in range(7) or not 0 <= self.starts_at_ns < DAY_NS:
            raise ValueError("a week has the days 0 to 6, a time of day is below 24 hours")
        for runaway in self.runaways:
            if not 0 <= runaway.mailbox < self.mailboxes:
                raise ValueError(f"there is no mailbox {runaway.mailbox} to run away")

    @property
    def calendar_ns(self) -> int:
        """Time from Monday, midnight, to the start of the stream."""
        return self.starts_on * DAY_NS + self.starts_at_ns

    @cached_property
    def store_nights(self) -> Nights:
        return nights_of(self.profile.version) if self.nights is None else self.nights

    @cached_property
    def sizes(self) -> MessageSizes:
        return MessageSizes(self.profile.average_message_bytes.value)

    @cached_property
    def recipients(self) -> RecipientCounts:
        """Of the messages that mailboxes send."""
        received = self.profile.received_per_day.value * self.habits.internal_share
        mean = received / self.profile.sent_per_day.value
        return RecipientCounts(mean, self.habits.outbound_share, self.mailboxes - 1)

    @cached_property
    def outside_recipients(self) -> RecipientCounts:
        """Of the messages that come from outside."""
        return RecipientCounts(self.habits.outside_recipients, 0.0, self.mailboxes)

    # -- rates of one mailbox, messages of a working day ------------------------------------

    @cached_property
    def outside_per_day(self) -> float:
        """Messages from outside: what is received and came from no mailbox of ours."""
        profile = self.profile
        internal = profile.sent_per_day.value * self.recipients.mean_drawn
        copies = max(0.0, profile.received_per_day.value - internal)
        return copies / self.outside_recipients.mean_drawn

    @cached_property
    def fresh_per_day(self) -> float:
        """Messages sent that answer none."""
        return self.profile.sent_per_day.value * (1.0 - self.reply_share)

    @cached_property
    def reply_share(self) -> float:
        """As the habits have it, less where too little is received to be answered."""
        sent = self.profile.sent_per_day.value
        wanted = self.habits.reply_share
        fresh = sent * (1.0 - wanted) * self.recipients.mean_drawn
        copies = fresh + self.outside_per_day * self.outside_recipients.mean_drawn
        return min(wanted, copies / sent)

    @cached_property
    def replied_chance(self) -> float:
        """Chance that a message received, which is no answer itself, is answered."""
        fresh = self.fresh_per_day * self.recipients.mean_drawn
        copies = fresh + self.outside_per_day * self.outside_recipients.mean_drawn
        if not copies:
            return 0.0
        return min(1.0, self.profile.sent_per_day.value * self.reply_share / copies)

    @property
    def single_instance_ratio(self) -> float:
        """Copies to messages kept, to expect where each database keeps a message once."""
        sent, outside = self.profile.sent_per_day.value, self.outside_per_day
        copies, kept = copies_and_kept(self.recipients, self.databases, sender_keeps=True)
        more, more_kept = copies_and_kept(self.outside_recipients, self.databases, False)
        return (sent * copies + outside * more) / (sent * kept + outside * more_kept)

    # -- blocks ----------------------------------------------------------------------------

    @cached_property
    def blocks_per_hour(self) -> int:
        """Blocks in the 24th part of a working day's traffic: a power of two.

        So many that a block has about four thousand copies of messages at most: what is drawn
        at once, and so the memory, does not grow with the mailboxes.
        """
        blocks = 1
        copies = self.mailboxes * self.profile.received_per_day.value / 24
        while copies / blocks > _COPIES_OF_BLOCK and blocks < 1 << _MOST_HALVINGS:
            blocks *= 2
        return blocks

    @property
    def units_per_block(self) -> int:
        return UNITS_PER_DAY // (24 * self.blocks_per_hour)
