"""What a plan's mail amounts to: counted from the messages drawn, beside what was asked for.

A week is counted column by column, which is some ten times as fast as event by event; a test
holds the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from simulator.exchange.diurnal import DAY_NS, HOUR_NS
from simulator.exchange.mail_batches import BATCHES, NOTHING, MailBatches
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.profiles import ProfileFigures

_WORKING_DAYS = 5


@dataclass(frozen=True, slots=True)
class MailFigures:
    """Of one mailbox and working day, unless it says something else.

    Attributes
    ----------
    messages: different messages counted, of all mailboxes.
    average_message_bytes: of the messages.
    mail_bytes: of what is sent and received.
    received_copies_bytes: of what is received alone.
    weekend_share: traffic of a day of the weekend to that of a working day.
    hour_shares: of the traffic of working days, 24 numbers.
    single_instance_ratio: copies, the sender's among them, to messages kept when a database
        keeps each once.
    reply_share: of the messages sent.
    """

    messages: int
    sent: float
    received: float
    average_message_bytes: float
    mail_bytes: float
    received_copies_bytes: float
    weekend_share: float
    hour_shares: tuple[float, ...]
    single_instance_ratio: float
    reply_share: float

    @property
    def peak_to_mean(self) -> float:
        """The busiest hour to the mean hour of a working day."""
        return 24 * max(self.hour_shares)


@dataclass(slots=True)
class _Sums:
    """Counts of a week, by hour where it matters."""

    hours: NDArray[np.int64]
    sent: int = 0
    received: int = 0
    replies: int = 0
    messages: int = 0
    message_bytes: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    kept: int = 0
    copies: int = 0


def figures_of_week(plan: MailPlan) -> MailFigures:
    """Counts the first week of a plan that starts on Monday at midnight."""
    if plan.calendar_ns or plan.duration_ns < 7 * DAY_NS:
        raise ValueError("only a whole week from Monday on can be counted")
    batches = MailBatches(plan)
    days = _Sums(np.zeros(7 * 24, dtype=np.int64))
    block = 0
    while batches.begin_ns(block) < 7 * DAY_NS:
        for kind in BATCHES:
            _count(plan, batches, kind, block, days)
        block += 1
    by_day = days.hours.reshape(7, 24).sum(axis=1)
    working = days.hours[: _WORKING_DAYS * 24].reshape(_WORKING_DAYS, 24).sum(axis=0)
    one = 1.0 / (_WORKING_DAYS * plan.mailboxes)
    mean_day = by_day[:_WORKING_DAYS].mean()
    return MailFigures(
        messages=days.messages,
        sent=days.sent * one,
        received=days.received * one,
        average_message_bytes=days.message_bytes / max(1, days.messages),
        mail_bytes=(days.sent_bytes + days.received_bytes) * one,
        received_copies_bytes=days.received_bytes * one,
        weekend_share=float(by_day[_WORKING_DAYS:].mean() / mean_day),
        hour_shares=tuple((working / working.sum()).tolist()),
        single_instance_ratio=days.copies / max(1, days.kept),
        reply_share=days.replies / max(1, days.sent),
    )


def _count(plan: MailPlan, batches: MailBatches, kind: int, block: int, sums: _Sums) -> None:
    batch = batches.batch(kind, block)
    if batch is None:
        return
    messages, copies = batch.messages, batch.copies
    hour = messages.time_ns // HOUR_NS
    week = hour < 7 * 24
    sent = messages.sender >= 0
    received = np.bincount(copies.message, minlength=len(hour))
    # Rates are those of working days; the hours show the weekend as well.
    sums.hours += np.bincount(hour[week], (sent + received)[week], 7 * 24).astype(np.int64)
    counted = hour < _WORKING_DAYS * 24
    size = messages.size_bytes
    sums.sent += int(sent[counted].sum())
    sums.received += int(received[counted].sum())
    sums.replies += int((messages.reply_to[counted] != NOTHING).sum())
    sums.messages += int(counted.sum())
    sums.message_bytes += int(size[counted].sum())
    sums.sent_bytes += int((size * sent)[counted].sum())
    sums.received_bytes += int((size * received)[counted].sum())
    with_sender = np.concatenate((copies.message, np.flatnonzero(sent)))
    mailboxes = np.concatenate((copies.mailbox, messages.sender[sent]))
    sums.copies += len(with_sender)
    sums.kept += len(np.unique(with_sender * plan.databases + mailboxes % plan.databases))


def week_plan(profile: ProfileFigures, messages: int, databases: int = 4) -> MailPlan:
    """A week of so many mailboxes that about ``messages`` different messages are drawn."""
    one = MailPlan(profile, 1_000, 7 * DAY_NS)
    per_day = profile.sent_per_day.value + one.outside_per_day
    mailboxes = max(databases, 100, ceil(messages / (per_day * sum(one.curve.days))))
    return MailPlan(profile, mailboxes, 7 * DAY_NS, databases=databases)
