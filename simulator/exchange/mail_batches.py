"""Messages and what becomes of them, drawn a block at a time and from nothing but its number.

Theory
------
Traffic (see :mod:`simulator.exchange.diurnal`) is cut into blocks of equal weight, some
minutes by day and hours by night.  Block *b* has two batches of messages, each drawn by a
generator of its own that is seeded with (seed, batch, b):

* what is *fresh*: sent by a mailbox without cause, or from outside;
* *replies* to fresh messages of an hour of traffic earlier.

With a message everything is drawn that will ever happen to its copies: when each is read,
flagged, moved, deleted.  Those delays are whole hours of traffic, one of the few
:attr:`MailBatches.lag_hours`, so what happens within block *b* is found by
drawing the few blocks again from which it may come.  Nothing has to be remembered from the
beginning on: any instant can be entered at once, and memory holds a few blocks, whatever the
length of the stream.

Leaves out: replies to replies.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.recipients import choose_recipients

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

FRESH: Final = 0
REPLIES: Final = 1
BATCHES: Final = (FRESH, REPLIES)

OUTSIDE: Final = -1
NOTHING: Final = -1

KEPT, MOVED, DELETED = 0, 1, 2

_ID_BITS: Final = 24
READ_LAGS: Final = ((0, 0.6), (1, 0.2), (3, 0.2))
"""Hours of traffic until a message is read, and its chance [A]."""
FATE_LAGS: Final = ((1, 0.4), (3, 0.3), (24, 0.2), (120, 0.1))
"""The same until it is moved or deleted [A]."""
LAG_HOURS: Final = (0, 1, 3, 24, 120)
"""All of them; after the plan's ``habits.cleared_after_hours`` folders are cleared besides."""
_REPLY_LAG_HOURS: Final = 1
_DRAWING: Final = 1
"""Purpose of the random stream: a new way of drawing gets a new number."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Columns, one entry for each message."""

    message_id: Ints
    place: Ints
    """The same as the next, in units from Monday, midnight."""
    time_ns: Ints
    """When it was sent, or came from outside; counts from the start of the stream."""
    delivered_ns: Ints
    sender: Ints
    """A mailbox, or OUTSIDE."""
    size_bytes: Ints
    attachment_bytes: Ints
    attachments: Ints
    reply_to: Ints
    """Id of the message that it answers, or NOTHING."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Columns, one entry for each mailbox that gets a message; those of one follow each other."""

    message: Ints
    """Index among the messages of the batch."""
    mailbox: Ints
    read_lag: Ints
    """Hours of traffic, or NOTHING when it is never read."""
    read_place: Ints
    """Where within its block, in units; for the same block: part of what is left of it."""
    flagged: Flags
    fate: Ints
    fate_lag: Ints
    fate_place: Ints
    folder_choice: Ints
    """A number from which the folder is chosen that it is moved to."""
    replied: Flags
    cleared: Flags
    """It is moved, and deleted from its folder later."""
    cleared_place: Ints


@dataclass(frozen=True, slots=True)
class Batch:
    """Some messages and their copies."""

    messages: Messages
    copies: Copies


class MailBatches:
    """Draws batches; the last few are kept, since each is needed for some blocks to come.

    Arguments
    ---------
    plan: what to draw.
    kept: batches that are kept.
    """

    def __init__(self, plan: MailPlan, kept: int = 16) -> None:
        self.plan = plan
        self._units = plan.units_per_block
        self.lag_hours = (*LAG_HOURS, plan.habits.cleared_after_hours)
        """After so many hours of traffic something becomes of a message."""
        self._drawn = lru_cache(maxsize=kept)(self._draw)

    def batch(self, kind: int, block: int) -> Batch | None:
        """The batch FRESH or REPLIES of a block; None before the first block."""
        return self._drawn(kind, block) if block >= 0 else None

    # -- blocks and time -------------------------------------------------------------------

    def block_at(self, time_ns: int) -> int:
        """The block of an instant of the stream, which may be negative."""
        return self.plan.curve.units_at(max(0, time_ns + self.plan.calendar_ns)) // self._units

    def begin_ns(self, block: int) -> int:
        """When a block begins, in the time of the stream."""
        return self.plan.curve.time_ns(block * self._units) - self.plan.calendar_ns

    def end_ns(self, block: int) -> int:
        """When a block ends: before the next begins, if nothing happens in between."""
        last = (block + 1) * self._units - 1
        return self.plan.curve.time_ns(last) + 1 - self.plan.calendar_ns

    def times_ns(self, units: Ints) -> Ints:
        """Instants of the stream for units counted from Monday, midnight."""
        return self.plan.curve.times_ns(units) - self.plan.calendar_ns

    def lag_blocks(self, hours: int) -> int:
        """Blocks that so many hours of traffic have."""
        return hours * self.plan.blocks_per_hour

    # -- drawing ---------------------------------------------------------------------------

    def _draw(self, kind: int, block: int) -> Batch:
        key = (_DRAWING, kind, block)
        random = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(self.plan.seed, spawn_key=key))
        )
        if kind == FRESH:
            senders, numbers, reply_to, to_first = self._fresh(random)
        else:
            senders, numbers, reply_to, to_first = self._replies(block, random)
        count = len(senders)
        places = block * self._units + random.integers(0, self._units, count, dtype=np.int64)
        time_ns = self.times_ns(places)
        shortest, longest = self.plan.habits.transit_ns
        transit = np.where(senders < 0, 0, random.integers(shortest, longest, count))
        # What would arrive in the next block arrives at the end of this one.
        delivered_ns = np.minimum(time_ns + transit, self.end_ns(block) - 1)
        sizes = self.plan.sizes.draw(count, random)
        message, mailbox = choose_recipients(numbers, senders, self.plan.mailboxes, random)
        mailbox = _answer_first(message, mailbox, numbers, to_first)
        copies = self._fates(message, mailbox, random, may_be_answered=kind == FRESH)
        ids = (block << _ID_BITS + 1) + (kind << _ID_BITS) + np.arange(count)
        messages = Messages(
            ids,
            places,
            time_ns,
            np.maximum(delivered_ns, time_ns),
            senders,
            sizes.size_bytes,
            sizes.attachment_bytes,
            sizes.attachments,
            reply_to,
        )
        return self._since_start(Batch(messages, copies))

    def _fresh(self, random: np.random.Generator) -> tuple[Ints, Ints, Ints, Ints]:
        plan = self.plan
        of_block = plan.mailboxes / (24 * plan.blocks_per_hour)
        sent = int(random.poisson(plan.fresh_per_day * of_block))
        received = int(random.poisson(plan.outside_per_day * of_block))
        senders = np.full(sent + received, OUTSIDE, dtype=np.int64)
        senders[:sent] = random.integers(0, plan.mailboxes, sent)
        numbers = np.concatenate(
            (plan.recipients.draw(sent, random), plan.outside_recipients.draw(received, random))
        )
        nothing = np.full(sent + received, NOTHING, dtype=np.int64)
        return senders, numbers, nothing, nothing

    def _replies(self, block: int, random: np.random.Generator) -> tuple[Ints, Ints, Ints, Ints]:
        origin = self.batch(FRESH, block - self.lag_blocks(_REPLY_LAG_HOURS))
        if origin is None:
            empty = np.empty(0, dtype=np.int64)
            return empty, empty, empty, empty
        answered = np.flatnonzero(origin.copies.replied)
        message = origin.copies.message[answered]
        senders = origin.copies.mailbox[answered]
        numbers = self.plan.recipients.draw(len(answered), random)
        to_first = np.where(numbers > 0, origin.messages.sender[message], NOTHING)
        return senders, numbers, origin.messages.message_id[message], to_first

    def _fates(
        self, message: Ints, mailbox: Ints, random: np.random.Generator, may_be_answered: bool
    ) -> Copies:
        habits = self.plan.habits
        count = len(message)
        reading, read_in, acting, act_in, answering = random.random((5, count))
        places = random.integers(0, self._units, (2, count), dtype=np.int64)
        replied = (answering < self.plan.replied_chance) & may_be_answered
        fate = np.where(
            acting < habits.deleted_share,
            DELETED,
            np.where(acting < habits.deleted_share + habits.moved_share, MOVED, KEPT),
        )
        # Who answers within the hour has read it before, and still has it.
        fate_lag = np.maximum(_choose(FATE_LAGS, act_in), np.where(replied, 3, 1))
        read_lag = np.where(replied, 0, _choose(READ_LAGS, read_in))
        before = np.where(fate_lag == 1, 0, 1)
        read_lag = np.where((fate != KEPT) & (read_lag >= fate_lag), before, read_lag)
        read = (reading < habits.read_share) | replied
        folder_choice = random.integers(0, 1 << 31, count, dtype=np.int64)
        # Drawn last: whatever share is cleared, everything else stays the same.
        cleared = (fate == MOVED) & (random.random(count) < habits.cleared_share)
        return Copies(
            message,
            mailbox,
            np.where(read, read_lag, NOTHING),
            places[0],
            reading < habits.flagged_share,
            fate,
            fate_lag,
            places[1],
            folder_choice,
            replied,
            cleared,
            random.integers(0, self._units, count, dtype=np.int64),
        )

    def _since_start(self, batch: Batch) -> Batch:
        """Without what was sent before the stream began."""
        keep = batch.messages.time_ns >= 0
        if keep.all():
            return batch
        keep_copy = keep[batch.copies.message]
        messages = select_rows(batch.messages, keep)
        copies = select_rows(batch.copies, keep_copy)
        new_index = np.cumsum(keep) - 1
        return Batch(messages, replace(copies, message=new_index[copies.message]))


Columns = TypeVar("Columns", Messages, Copies)


def select_rows(columns: Columns, rows: Flags | Ints) -> Columns:
    """The same columns with only these rows."""
    return type(columns)(*(getattr(columns, each.name)[rows] for each in fields(columns)))


def _choose(chances: tuple[tuple[int, float], ...], drawn: NDArray[np.float64]) -> Ints:
    """One of the values for each number in [0, 1)."""
    limits = np.cumsum([chance for _, chance in chances])[:-1]
    values = np.array([value for value, _ in chances], dtype=np.int64)
    return values[np.searchsorted(limits, drawn, side="right")]


def _answer_first(message: Ints, mailbox: Ints, numbers: Ints, to_first: Ints) -> Ints:
    """The mailboxes, with ``to_first`` among those of each message, where it is one."""
    wanted = to_first[message]
    there = np.zeros(len(numbers), dtype=bool)
    there[message[mailbox == wanted]] = True
    first = np.flatnonzero(np.diff(message, prepend=-1))
    change = first[(wanted[first] >= 0) & ~there[message[first]]]
    changed = mailbox.copy()
    changed[change] = wanted[change]
    return changed
