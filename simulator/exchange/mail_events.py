"""What happens to a store: the events of a stream of mail.

Each event has the instant at which it is due, in nanoseconds from the start of the stream, and
names what it concerns: mailboxes and databases by number from 0, messages by an id that is
never used twice.  Sizes are whole bytes and contain the attachments.  What a message consists
of is made from its id, see :mod:`simulator.exchange.message_payload`.

The events of one mailbox fit together: nothing is read before it was delivered, moved or
deleted twice (though deleted after it was moved), or expires that was not deleted.
:class:`MailboxCounts` keeps the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from simulator.exchange.mail_plan import MailPlan

Task = Literal["deleted-item expiry", "online defragmentation", "background scan"]
"""What a store does on its own."""

INBOX, SENT_ITEMS, RECOVERABLE = 0, 1, 2
FIRST_FOLDER: Final = 3
"""Number of a user's own first folder."""


@dataclass(frozen=True, slots=True)
class Submit:
    """A mailbox sends a message, and keeps it among its sent items."""

    time_ns: int
    mailbox: int
    message_id: int
    size_bytes: int
    attachments: tuple[int, ...]
    reply_to: int
    """The message that this one answers; -1 for none."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message arrives at one database, for all its recipients there."""

    time_ns: int
    database: int
    message_id: int
    sender: int
    """The mailbox that sent it; -1 for somebody outside."""
    recipients: tuple[int, ...]
    size_bytes: int
    attachments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """A message is opened and becomes read."""

    time_ns: int
    mailbox: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Flag:
    """A message is flagged."""

    time_ns: int
    mailbox: int
    message_id: int


@dataclass(frozen=True, slots=True)
class CreateFolder:
    """A user makes a folder; the first ones are there from the beginning."""

    time_ns: int
    mailbox: int
    folder: int


@dataclass(frozen=True, slots=True)
class Move:
    """A message goes from the inbox to a folder of the user's own."""

    time_ns: int
    mailbox: int
    message_id: int
    size_bytes: int
    folder: int


@dataclass(frozen=True, slots=True)
class SoftDelete:
    """A message goes from a folder to where the user can still get it back."""

    time_ns: int
    mailbox: int
    message_id: int
    size_bytes: int
    folder: int = INBOX


@dataclass(frozen=True, slots=True)
class HardDelete:
    """The time in which a deleted message can be got back is over: it is removed."""

    time_ns: int
    mailbox: int
    message_id: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The store begins a work of its own, to be done by ``until_ns``."""

    time_ns: int
    database: int
    task: Task
    until_ns: int
    rewritten_share: float = 0.0
    """Share of the database's pages that it rewrites."""


@dataclass(frozen=True, slots=True)
class IdleTick:
    """Time for a database that has been idle to close its log."""

    time_ns: int
    database: int


MailEvent = (
    Submit
    | Deliver
    | Read
    | Flag
    | CreateFolder
    | Move
    | SoftDelete
    | HardDelete
    | Maintenance
    | IdleTick
)


class MailboxCounts:
    """How many messages and bytes each folder of each mailbox has.

    All that is kept of a mailbox: 16 bytes for each of its folders, 1.6 MB for 1 000 mailboxes
    with the default habits, however many messages they have.

    Arguments
    ---------
    plan: of the stream whose events are applied.
    """

    def __init__(self, plan: MailPlan) -> None:
        folders = FIRST_FOLDER + plan.habits.most_folders
        self.messages = np.zeros((plan.mailboxes, folders), dtype=np.int64)
        self.size_bytes = np.zeros((plan.mailboxes, folders), dtype=np.int64)
        self.folders = np.full(plan.mailboxes, FIRST_FOLDER + plan.habits.first_folders)

    def apply(self, event: MailEvent) -> None:
        """Take the next event of the stream.  Raises ValueError if it cannot be."""
        match event:
            case Submit():
                self._add(event.mailbox, SENT_ITEMS, event.size_bytes)
            case Deliver():
                for mailbox in event.recipients:
                    self._add(mailbox, INBOX, event.size_bytes)
            case CreateFolder():
                if event.folder != self.folders[event.mailbox]:
                    raise ValueError(f"mailbox {event.mailbox} has folder {event.folder} already")
                self.folders[event.mailbox] += 1
            case Move():
                if not FIRST_FOLDER <= event.folder < self.folders[event.mailbox]:
                    raise ValueError(f"mailbox {event.mailbox} has no folder {event.folder}")
                self._take(event.mailbox, INBOX, event.size_bytes)
                self._add(event.mailbox, event.folder, event.size_bytes)
            case SoftDelete():
                self._take(event.mailbox, event.folder, event.size_bytes)
                self._add(event.mailbox, RECOVERABLE, event.size_bytes)
            case HardDelete():
                self._take(event.mailbox, RECOVERABLE, event.size_bytes)
            case _:
                pass

    def _add(self, mailbox: int, folder: int, size_bytes: int) -> None:
        self.messages[mailbox, folder] += 1
        self.size_bytes[mailbox, folder] += size_bytes

    def _take(self, mailbox: int, folder: int, size_bytes: int) -> None:
        self.messages[mailbox, folder] -= 1
        self.size_bytes[mailbox, folder] -= size_bytes
        if min(self.messages[mailbox, folder], self.size_bytes[mailbox, folder]) < 0:
            raise ValueError(f"folder {folder} of mailbox {mailbox} has less than nothing")


def log_bytes_of(event: MailEvent, plan: MailPlan, single_instance: bool = False) -> int:
    """Bytes of transaction log to expect of an event, where there is no store to measure.

    The profile's log files of a day, divided by its mail of a day: 4.9 bytes of log for each
    byte sent or received in 2007, 2.7 in 2010 [D].  So the day's sum is the profile's *by
    construction*; that all of it falls on sending and delivery, in proportion to the size, is
    assumed [A]: in a store reading, moving and deleting have a part in it, and the work of the
    night comes on top.

    Arguments
    ---------
    single_instance: a message counts once for all recipients of the database, and the sum
        then stays below the profile's.

    Raises ValueError when no source tells the profile's logs.
    """
    amplification = plan.profile.log_amplification
    if amplification is None:
        raise ValueError(f"no source tells how many logs a mailbox of {plan.profile.version} fills")
    match event:
        case Submit():
            return round(event.size_bytes * amplification)
        case Deliver():
            copies = 1 if single_instance else len(event.recipients)
            return round(event.size_bytes * copies * amplification)
        case _:
            return 0
