"""How many mailboxes a message goes to, which ones, and how often a store keeps it.

Models: a number of recipients that falls off geometrically, and none at all for mail that
leaves the organization; recipients spread evenly over the mailboxes, each at most once, never
the sender.  Leaves out: distribution lists of a department (which would make more recipients
of one database), friends who write to each other often.

Up to 2007 a store kept a message once for all its recipients in one database; the ratio of
copies to messages kept was 1.1 to 1.8 in practice [M].  What this model gives is
:attr:`simulator.exchange.mail_plan.MailPlan.single_instance_ratio`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_RECIPIENTS: Final = 64


@dataclass(frozen=True)
class RecipientCounts:
    """Number of recipients within the organization.

    Arguments
    ---------
    mean: of all messages; the number of possible recipients may lower it, see :attr:`mean_drawn`.
    none_share: share of the messages without any.
    possible: mailboxes that may be recipients.
    """

    mean: float
    none_share: float
    possible: int

    def __post_init__(self) -> None:
        if not 0 <= self.none_share < 1 or self.possible < 0:
            raise ValueError("a share lies between 0 and 1, and no number is negative")
        if not 0 <= self.mean <= MOST_RECIPIENTS / 4:
            raise ValueError(f"a mean of {self.mean} recipients is beyond the model")

    @cached_property
    def chances(self) -> NDArray[np.float64]:
        """Chance of 0, 1, 2, ... recipients."""
        most = min(self.possible, MOST_RECIPIENTS)
        with_some = self.mean / (1.0 - self.none_share)
        if most == 0 or self.mean == 0:
            return np.ones(1)
        some = 1.0 - self.none_share
        if with_some <= 1.0:
            return np.array([1.0 - self.mean, self.mean])
        chances = np.zeros(most + 1)
        chances[0] = self.none_share
        chances[1:] = some / with_some * (1.0 - 1.0 / with_some) ** np.arange(most)
        chances[most] += 1.0 - chances.sum()  # what lies beyond the most
        return chances

    @property
    def mean_drawn(self) -> float:
        """The mean of what :meth:`draw` gives."""
        return float(np.dot(self.chances, np.arange(len(self.chances))))

    def draw(self, count: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Numbers of recipients of so many messages."""
        limits = np.cumsum(self.chances)[:-1]
        return np.searchsorted(limits, random.random(count), side="right")


def choose_recipients(
    numbers: NDArray[np.int64],
    senders: NDArray[np.int64],
    mailboxes: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mailboxes for messages with so many recipients each.

    Arguments
    ---------
    numbers: recipients of each message; below the number of mailboxes, for a sender of ours.
    senders: mailbox that sent it; negative for somebody outside.

    Returns, for each copy, the index of its message and the mailbox; copies of one message
    follow each other, in rising order of the distance from the sender.
    """
    message = np.repeat(np.arange(len(numbers)), numbers)
    outside = senders[message] < 0
    places = np.where(outside, mailboxes, mailboxes - 1) - numbers[message] + 1
    drawn = (random.random(len(message)) * places).astype(np.int64)
    order = np.lexsort((drawn, message))
    # Drawn with repetition from fewer places, then spread: no two are equal.
    first = np.cumsum(numbers) - numbers
    rank = np.arange(len(message)) - first[message]
    distance = drawn[order] + rank
    mailbox = np.where(outside, distance, (senders[message] + 1 + distance) % mailboxes)
    return message, mailbox


def copies_and_kept(
    counts: RecipientCounts, databases: int, sender_keeps: bool
) -> tuple[float, float]:
    """Mean copies of a message, and how often it is kept if each database keeps it once.

    Arguments
    ---------
    databases: over which the mailboxes are spread evenly.
    sender_keeps: the copy in the sender's own mailbox counts as well.
    """
    number = np.arange(len(counts.chances)) + (1 if sender_keeps else 0)
    kept = databases * (1.0 - (1.0 - 1.0 / databases) ** number)
    return float(np.dot(counts.chances, number)), float(np.dot(counts.chances, kept))
