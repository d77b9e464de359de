"""The stream of mail: all events of a plan, ordered by time, from any instant on.

``MailStream(plan).events()`` is a pure function of the plan; ``events(from_ns)`` gives the same
events from that instant on, and costs no more than the first block.

Memory: the batches that :class:`~simulator.exchange.mail_batches.MailBatches` keeps and the
events of one block, whatever the number of mailboxes and the length of the stream; blocks
shrink as mailboxes become more.  Beside them two numbers for each mailbox, for its folders.

Order: by time; what falls into one nanosecond, in the order in which it can happen.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import attrgetter

from simulator.exchange.mail_batches import BATCHES, MailBatches
from simulator.exchange.mail_block_events import Folders, acts, delivers, submits
from simulator.exchange.mail_events import MailEvent
from simulator.exchange.mail_nights import expiries, runaway_events, store_work
from simulator.exchange.mail_plan import MailPlan

_BY_TIME = attrgetter("time_ns")


class MailStream:
    """See the module.

    Arguments
    ---------
    plan: profile, mailboxes, period, seed and the rest.
    """

    def __init__(self, plan: MailPlan) -> None:
        self.plan = plan

    def events(self, from_ns: int = 0, until_ns: int | None = None) -> Iterator[MailEvent]:
        """Events from ``from_ns`` up to, not including, ``until_ns`` or the plan's end."""
        plan = self.plan
        end_ns = plan.duration_ns if until_ns is None else min(plan.duration_ns, until_ns)
        from_ns = max(0, from_ns)
        streams: list[Iterator[MailEvent]] = [
            store_work(plan, from_ns, end_ns),
            _traffic(plan, from_ns, end_ns),
            expiries(plan, from_ns, end_ns),
        ]
        for number in range(len(plan.runaways)):
            streams.append(runaway_events(plan, number, from_ns, end_ns))
        return heapq.merge(*streams, key=_BY_TIME)


def _traffic(plan: MailPlan, from_ns: int, until_ns: int) -> Iterator[MailEvent]:
    """What users do, and what is delivered to them."""
    batches = MailBatches(plan)
    folders = Folders(plan)
    block = batches.block_at(from_ns)
    while batches.begin_ns(block) < until_ns:
        events = [*folders.created(block, batches)]
        for kind in BATCHES:
            batch = batches.batch(kind, block)
            if batch is not None:
                events += submits(batch.messages)
                events += delivers(batch, plan.databases)
        events += acts(batches, folders, block)
        events.sort(key=_BY_TIME)
        yield from (event for event in events if from_ns <= event.time_ns < until_ns)
        block += 1
