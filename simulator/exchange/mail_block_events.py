"""The events of one block of traffic: sending, delivery, and what users do with their mail.

Everything is selected from columns at once; only what happens becomes an object.  Folders need
no memory either: a mailbox makes a new one at even intervals, each mailbox at a time of its
own, so how many there are at an instant is a formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from simulator.exchange.diurnal import UNITS_PER_DAY
from simulator.exchange.mail_batches import (
    BATCHES,
    DELETED,
    MOVED,
    Batch,
    Copies,
    Ints,
    MailBatches,
    Messages,
    select_rows,
)
from simulator.exchange.mail_events import (
    FIRST_FOLDER,
    INBOX,
    CreateFolder,
    Deliver,
    Flag,
    MailEvent,
    Move,
    Read,
    SoftDelete,
    Submit,
)
from simulator.exchange.mail_plan import NS_PER_SECOND, MailPlan
from simulator.exchange.message_sizes import cut_attachments

_FLAG_AFTER_NS: Final = 20 * NS_PER_SECOND
_SPREAD: Final = 2_654_435_761


class Folders:
    """When each mailbox makes its folders, in units from Monday, midnight.

    Arguments
    ---------
    plan: of the stream; folders are made from its start on.
    """

    def __init__(self, plan: MailPlan) -> None:
        habits = plan.habits
        self._first = habits.first_folders
        self._most = habits.most_folders
        self._start = plan.curve.units_at(plan.calendar_ns)
        rate = habits.new_folders_per_day
        self._interval = max(1, min(int(UNITS_PER_DAY / rate), 1 << 60)) if rate else 0
        mixed = (np.arange(plan.mailboxes, dtype=np.int64) + 1 + plan.seed % (1 << 20)) * _SPREAD
        self._phase = ((mixed % (1 << 32)) / (1 << 32) * self._interval).astype(np.int64)

    def existing(self, mailboxes: Ints, units: Ints) -> Ints:
        """How many folders of their own some mailboxes have at some instants."""
        if not self._interval:
            return np.full(len(mailboxes), self._first, dtype=np.int64)
        made = (units - self._start - self._phase[mailboxes]) // self._interval + 1
        existing: Ints = np.minimum(self._first + np.maximum(made, 0), self._most)
        return existing

    def created(self, block: int, batches: MailBatches) -> Iterator[MailEvent]:
        """The folders that are made within a block."""
        units = batches.plan.units_per_block
        every = np.arange(len(self._phase))
        # The block's last unit belongs to it: what exists then was made by then.
        before = self.existing(every, np.full(len(every), block * units - 1))
        after = self.existing(every, np.full(len(every), (block + 1) * units - 1))
        for mailbox in np.flatnonzero(after > before).tolist():
            for number in range(int(before[mailbox]), int(after[mailbox])):
                made = self._start + int(self._phase[mailbox])
                made += (number - self._first) * self._interval
                time_ns = int(batches.times_ns(np.array([made]))[0])
                yield CreateFolder(time_ns, mailbox, FIRST_FOLDER + number)


def _attachments(messages: Messages) -> list[tuple[int, ...]]:
    """Sizes of the attachments of each message."""
    columns = (messages.attachment_bytes, messages.attachments, messages.message_id)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [cut_attachments(total, count, name) if count else () for total, count, name in rows]


def submits(messages: Messages) -> Iterator[MailEvent]:
    sent = select_rows(messages, messages.sender >= 0)
    columns = (sent.time_ns, sent.sender, sent.message_id, sent.size_bytes)
    rows = (column.tolist() for column in columns)
    yield from map(Submit, *rows, _attachments(sent), sent.reply_to.tolist())


def delivers(batch: Batch, databases: int) -> Iterator[MailEvent]:
    """One event for each database that a message goes to."""
    message, mailbox = batch.copies.message, batch.copies.mailbox
    if not len(message):
        return
    database = mailbox % databases
    order = np.lexsort((database, message))
    message, mailbox, database = message[order], mailbox[order], database[order]
    begins = np.flatnonzero(np.diff(message * databases + database, prepend=-1))
    ends = [*begins[1:].tolist(), len(message)]
    recipients = mailbox.tolist()
    of = message[begins]
    columns = batch.messages
    attachments = _attachments(columns)
    yield from map(
        Deliver,
        columns.delivered_ns[of].tolist(),
        database[begins].tolist(),
        columns.message_id[of].tolist(),
        columns.sender[of].tolist(),
        (tuple(recipients[begin:end]) for begin, end in zip(begins.tolist(), ends, strict=True)),
        columns.size_bytes[of].tolist(),
        (attachments[index] for index in of.tolist()),
    )


def acts(batches: MailBatches, folders: Folders, block: int) -> Iterator[MailEvent]:
    """What becomes of messages within this block, whenever they came."""
    for hours in batches.lag_hours:
        for kind in BATCHES:
            batch = batches.batch(kind, block - batches.lag_blocks(hours))
            if batch is not None:
                yield from _readings(batches, batch, block, hours)
                yield from _moves(batches, folders, batch, block, hours)
                yield from _deletions(batches, folders, batch, block, hours)


def _readings(batches: MailBatches, batch: Batch, block: int, hours: int) -> Iterator[MailEvent]:
    copies = select_rows(batch.copies, batch.copies.read_lag == hours)
    units = batches.plan.units_per_block
    if hours:
        time_ns = batches.times_ns(block * units + copies.read_place)
    else:
        place = batch.messages.place[copies.message]
        left = (block + 1) * units - place
        later = np.minimum((left * (copies.read_place / units)).astype(np.int64), left - 1)
        delivered_ns = batch.messages.delivered_ns[copies.message]
        time_ns = np.maximum(batches.times_ns(place + later), delivered_ns)
    ids = batch.messages.message_id[copies.message]
    yield from map(Read, time_ns.tolist(), copies.mailbox.tolist(), ids.tolist())
    rows = copies.flagged
    flag_ns = np.minimum(time_ns[rows] + _FLAG_AFTER_NS, batches.end_ns(block) - 1)
    yield from map(Flag, flag_ns.tolist(), copies.mailbox[rows].tolist(), ids[rows].tolist())


def _with_fate(batch: Batch, fate: int, hours: int) -> tuple[Copies, Ints, Ints]:
    """Copies with that fate after so many hours, ids and sizes of their messages."""
    copies = batch.copies
    copies = select_rows(copies, (copies.fate == fate) & (copies.fate_lag == hours))
    return (
        copies,
        batch.messages.message_id[copies.message],
        batch.messages.size_bytes[copies.message],
    )


def _moves(
    batches: MailBatches, folders: Folders, batch: Batch, block: int, hours: int
) -> Iterator[MailEvent]:
    copies, ids, sizes = _with_fate(batch, MOVED, hours)
    places = block * batches.plan.units_per_block + copies.fate_place
    chosen = _chosen_folders(folders, copies, places)
    columns = (batches.times_ns(places), copies.mailbox, ids, sizes, chosen)
    yield from map(Move, *(column.tolist() for column in columns))


def _chosen_folders(folders: Folders, copies: Copies, places: Ints) -> Ints:
    """Where copies go that are moved at some instants."""
    chosen: Ints = FIRST_FOLDER + copies.folder_choice % folders.existing(copies.mailbox, places)
    return chosen


def _deletions(
    batches: MailBatches, folders: Folders, batch: Batch, block: int, hours: int
) -> Iterator[SoftDelete]:
    """Messages of a batch that are deleted within a block, so many hours of traffic later."""
    units = batches.plan.units_per_block
    copies, ids, sizes = _with_fate(batch, DELETED, hours)
    inbox = np.full(len(ids), INBOX, dtype=np.int64)
    times_ns = batches.times_ns(block * units + copies.fate_place)
    columns = (times_ns, copies.mailbox, ids, sizes, inbox)
    yield from map(SoftDelete, *(column.tolist() for column in columns))
    if hours == batches.plan.habits.cleared_after_hours:
        copies = select_rows(batch.copies, batch.copies.cleared)
        blocks_ago = (hours - copies.fate_lag) * batches.plan.blocks_per_hour
        moved = (block - blocks_ago) * units + copies.fate_place
        columns = (
            batches.times_ns(block * units + copies.cleared_place),
            copies.mailbox,
            batch.messages.message_id[copies.message],
            batch.messages.size_bytes[copies.message],
            _chosen_folders(folders, copies, moved),
        )
        yield from map(SoftDelete, *(column.tolist() for column in columns))


def deletions_of(batches: MailBatches, folders: Folders, block: int) -> Iterator[SoftDelete]:
    """All messages that are deleted within a block, in no order."""
    for hours in batches.lag_hours:
        for kind in BATCHES:
            batch = batches.batch(kind, block - batches.lag_blocks(hours))
            if batch is not None:
                yield from _deletions(batches, folders, batch, block, hours)
