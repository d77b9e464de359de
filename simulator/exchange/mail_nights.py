"""What needs no user: the store's own work at night, ticks, expiry, and mail loops.

Deleted messages expire in the first part of each maintenance window, in the order in which they
were deleted: the day of deletions that has come of age is mapped onto that part of the night,
evenly.  So expiry is streamed as well, by drawing those deletions again.

The passes of online defragmentation are events with a share of pages to rewrite: a store that
has pages does with it what its version did.  To a replicator below the store this is the surge
in the middle of the night.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from operator import attrgetter
from typing import Final

from simulator.exchange.diurnal import DAY_NS
from simulator.exchange.mail_batches import NOTHING, OUTSIDE, MailBatches
from simulator.exchange.mail_block_events import Folders, deletions_of
from simulator.exchange.mail_events import (
    Deliver,
    HardDelete,
    IdleTick,
    MailEvent,
    Maintenance,
    SoftDelete,
    Submit,
    Task,
)
from simulator.exchange.mail_plan import NS_PER_SECOND, MailPlan

_DAY_SECONDS: Final = DAY_NS // NS_PER_SECOND
_BY_TIME = attrgetter("time_ns")
_BATCHES_KEPT: Final = 16
_LOOP_IDS: Final = 1 << 62
"""Ids of messages of loops have this bit, which no other has."""
_LOOP_BITS: Final = 40


def store_work(plan: MailPlan, from_ns: int, until_ns: int) -> Iterator[MailEvent]:
    """Maintenance and idle ticks of all databases."""
    works = [_maintenance(plan, from_ns, until_ns), _ticks(plan, from_ns, until_ns)]
    return heapq.merge(*works, key=_BY_TIME)


def _night_begins(plan: MailPlan, time_of_day_ns: int, from_ns: int) -> Iterator[int]:
    """Instants of the stream at a time of day, from ``from_ns`` on."""
    first = -(-(from_ns + plan.calendar_ns - time_of_day_ns) // DAY_NS)
    for day in count(max(0, first)):
        yield day * DAY_NS + time_of_day_ns - plan.calendar_ns


def _maintenance(plan: MailPlan, from_ns: int, until_ns: int) -> Iterator[MailEvent]:
    nights = plan.store_nights
    expiry_ns = nights.expiry_seconds * NS_PER_SECOND
    works = [_nightly(plan, "deleted-item expiry", nights.begin_ns, expiry_ns, from_ns, until_ns)]
    if not nights.continuous:
        begin_ns = nights.defragmentation_begin_ns
        length_ns = (nights.defragmentation_end_ns - begin_ns) % DAY_NS
        works.append(
            _nightly(plan, "online defragmentation", begin_ns, length_ns, from_ns, until_ns)
        )
    if nights.scan:
        length_ns = DAY_NS if nights.continuous else nights.window_ns
        works.append(
            _nightly(plan, "background scan", nights.begin_ns, length_ns, from_ns, until_ns)
        )
    return heapq.merge(*works, key=_BY_TIME)


def _nightly(
    plan: MailPlan, task: Task, begin_ns: int, length_ns: int, from_ns: int, until_ns: int
) -> Iterator[MailEvent]:
    rewritten = plan.store_nights.rewritten_share if task == "online defragmentation" else 0.0
    for time_ns in _night_begins(plan, begin_ns, from_ns):
        if time_ns >= until_ns:
            return
        for database in range(plan.databases):
            yield Maintenance(time_ns, database, task, time_ns + length_ns, rewritten)


def _ticks(plan: MailPlan, from_ns: int, until_ns: int) -> Iterator[MailEvent]:
    interval_ns = plan.store_nights.idle_tick_ns
    first_ns = max(1, -(-from_ns // interval_ns)) * interval_ns
    for time_ns in range(first_ns, until_ns, interval_ns):
        for database in range(plan.databases):
            yield IdleTick(time_ns, database)


def expiries(plan: MailPlan, from_ns: int, until_ns: int) -> Iterator[MailEvent]:
    """Deleted messages whose time is over."""
    nights = plan.store_nights
    seconds = nights.expiry_seconds
    batches, folders = MailBatches(plan, _BATCHES_KEPT), Folders(plan)
    for night_ns in _night_begins(plan, nights.begin_ns, from_ns - seconds * NS_PER_SECOND):
        if night_ns >= until_ns:
            return
        day_ns = night_ns - nights.retention_ns - DAY_NS
        """Begin of the day of deletions that has come of age."""
        passed_ns = max(0, from_ns - night_ns) * _DAY_SECONDS // seconds
        for deleted in _deletions_between(batches, folders, day_ns + passed_ns, day_ns + DAY_NS):
            time_ns = night_ns + (deleted.time_ns - day_ns) * seconds // _DAY_SECONDS
            if time_ns >= until_ns:
                return
            if time_ns >= from_ns:
                yield HardDelete(time_ns, deleted.mailbox, deleted.message_id, deleted.size_bytes)


def _deletions_between(
    batches: MailBatches, folders: Folders, begin_ns: int, end_ns: int
) -> Iterator[SoftDelete]:
    """Deletions in an interval, ordered by time."""
    if end_ns <= 0:
        return
    block = batches.block_at(max(0, begin_ns))
    while batches.begin_ns(block) < end_ns:
        found = deletions_of(batches, folders, block)
        yield from sorted(
            (each for each in found if begin_ns <= each.time_ns < end_ns), key=_BY_TIME
        )
        block += 1


def runaway_events(plan: MailPlan, number: int, from_ns: int, until_ns: int) -> Iterator[MailEvent]:
    """A loop: the mailbox sends at even intervals, and each time an answer comes at half of it."""
    loop = plan.runaways[number]
    interval_ns = max(2, round(NS_PER_SECOND / loop.messages_per_second))
    size_bytes = loop.size_bytes or round(plan.profile.average_message_bytes.value)
    database = loop.mailbox % plan.databases
    name = _LOOP_IDS + (number << _LOOP_BITS)
    first = max(0, (from_ns - loop.from_ns) // interval_ns)
    for turn in count(first):
        sent_ns = loop.from_ns + turn * interval_ns
        answered_ns = sent_ns + interval_ns // 2
        if sent_ns >= min(until_ns, loop.until_ns):
            return
        if sent_ns >= from_ns:
            last = name + 2 * turn - 1 if turn else NOTHING
            yield Submit(sent_ns, loop.mailbox, name + 2 * turn, size_bytes, (), last)
        if from_ns <= answered_ns < until_ns:
            to = (loop.mailbox,)
            yield Deliver(answered_ns, database, name + 2 * turn + 1, OUTSIDE, to, size_bytes, ())
