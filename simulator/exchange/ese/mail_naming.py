"""What the numbers of a mail stream are called in a store: wall times, ids of copies, names."""

from __future__ import annotations

from typing import Final

from replicator.ese.log_encoding import log_time_at
from replicator.ese.values import LogTime
from simulator.exchange.mail_events import FIRST_FOLDER

_LOOP_BIT: Final = 1 << 62
_TOPICS: Final = ("Figures", "Meeting", "Travel", "Contract", "Minutes", "Invoice", "Lunch", "Plan")


class StoreClock:
    """The time that logs, headers and messages carry: that of the stream.

    Arguments
    ---------
    start_wall_ns: wall time at the stream's begin, nanoseconds since 1970.
    """

    def __init__(self, start_wall_ns: int) -> None:
        self._start_ns = start_wall_ns
        self.time_ns = 0

    def wall_ns(self, time_ns: int) -> int:
        """Wall time of an instant of the stream."""
        return self._start_ns + time_ns

    def now(self) -> LogTime:
        """That of the event underway."""
        return log_time_at(self.wall_ns(self.time_ns))


class CopyIds:
    """Numbers for copies of messages: the message's id and the mailbox in one.

    Arguments
    ---------
    mailboxes: how many there are.
    """

    def __init__(self, mailboxes: int) -> None:
        self._bits = max(1, (mailboxes - 1).bit_length())

    def of(self, message_id: int, mailbox: int) -> int:
        """Of a message's copy in a mailbox.

        Raises ValueError when 63 bits do not hold it: after hundreds of years of mail.
        """
        loop, name = message_id & _LOOP_BIT, message_id & ~_LOOP_BIT
        found = name << self._bits | mailbox
        if found >= _LOOP_BIT:
            raise ValueError(f"message {message_id} of mailbox {mailbox} has no number left")
        return found | loop


def user_name(mailbox: int) -> str:
    """Of a mailbox."""
    return f"user{mailbox}"


def sender_address(mailbox: int) -> str:
    """Of a mailbox; of somebody outside for -1."""
    return "somebody@example.org" if mailbox < 0 else f"{user_name(mailbox)}@example.com"


def folder_name(folder: int) -> str:
    """Of a user's own folder."""
    return f"Folder {folder - FIRST_FOLDER + 1}"


def subject_of(message_id: int) -> str:
    """Of a message, so that no two have the same."""
    return f"{_TOPICS[message_id % len(_TOPICS)]} {message_id:x}"


def is_mime(message_id: int, share: float) -> bool:
    """Whether a message came from the Internet, so that its content is kept as MIME [A].

    Arguments
    ---------
    message_id: of the stream; the same one is always told the same.
    share: so many of all, 0 to 1.
    """
    spread = message_id * 0x9E3779B1 & 0xFFFFFFFF  # neighbours lie far apart (Knuth, 6.4)
    return spread < share * 2**32
