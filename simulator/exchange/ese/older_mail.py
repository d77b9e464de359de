"""What a store reads and writes besides the messages of its days: pages of older mail.

A profile's mailbox makes far more operations on its database than the messages that come and go
cause by themselves: views are opened and sorted, folders counted, calendars and old mail looked
at, properties changed in places all over the mailbox.  None of that is modelled.  Its place takes
the table ``Older``: pages that were there before the first day, more of them than the cache holds.
``OlderMail`` keeps an account: what the profile's figures
(:mod:`simulator.exchange.mail_io`) expect by now, less what was read from and written to
databases by whatever cause, as counted at the storage port.  What is missing is made up::

    writes owed --> a row of an older page is changed: the page is read, logged, written when due
    reads owed  --> a row of an older page is looked at

Both go through cache and log as any other statement, round all mailboxes and, within each, from
page to page in an order that has no neighbours near each other in time.  So reads and writes of an
hour are the profile's *by construction*, as long as the messages alone make fewer;
``stand_in_reads`` and ``changed`` tell how many are stand-ins.

Pages are written when they are due (:func:`~simulator.exchange.mail_io.units_until_written`), which
is what limits how many changes share one write.

Left out: sequential reads (background scan, backup), reads of several neighbours at once.  Where
users read the same few pages again is not told by any figure, and a cache hides it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, Final

from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.ese.values import LogPosition
from simulator.exchange.ese.counted_volume import IoCounts
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.mail_views import log_distance_bytes
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.mail_io import (
    DEFAULT_IO,
    IoModel,
    expected_operations,
    older_pages,
    peak_operations,
    units_at,
    units_until_written,
)
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.message_payload import PayloadMaker

_VALUE_BYTES: Final = 1000
"""A longer one would leave its row."""
_CONTENT_RATIO: Final = 1.5
"""How many times zstd makes it smaller [A]: less than bodies, more than attachments."""
_PAGES_AT_ONCE: Final = 50
"""Made, or changed, in one transaction."""
_ROUNDS: Final = 4
"""In the time that a changed page waits, the account is made up so often."""
_GOLDEN: Final = 0.6180339887498949
"""Steps of this share of a circle come never near the places of the last ones."""
_PROPERTIES, _CONTENT = 0, 1


def _values(page_bytes: int) -> int:
    """How many values the row has that fills a page: three quarters of it."""
    return page_bytes * 3 // 4 // _VALUE_BYTES


def older_table(page_bytes: int) -> TableDefinition:
    """The table for databases of a page size: of each page a row to change, and one to fill it."""
    number = ColumnFlag.NOT_NULL
    return TableDefinition(
        "Older",
        (
            ColumnDefinition("Mailbox", ColumnType.LONG, flags=number),
            ColumnDefinition("Number", ColumnType.LONG, flags=number),
            ColumnDefinition("Part", ColumnType.LONG, flags=number),
            ColumnDefinition("Seen", ColumnType.LONG, flags=number),
            *(
                ColumnDefinition(f"Data{value}", ColumnType.LONG_BINARY)
                for value in range(_values(page_bytes))
            ),
        ),
        (IndexDefinition("ByMailbox", ("Mailbox", "Number", "Part"), primary=True),),
    )


@dataclass(slots=True)
class _Mark:
    """Where the log ended at an instant."""

    units: int
    position: LogPosition


class OlderMail:
    """See the module.

    Arguments
    ---------
    instance: on a volume whose operations are counted.
    plan: of the mail; its profile says how much is read and written.
    counts: of that volume.
    model: what the figures leave open.
    stand_in: False to read and change nothing: what the messages do alone, with pages written
        when they are due.

    Attributes
    ----------
    pages_of_a_mailbox: that were there before the first day.
    looked_at, changed: pages of older mail; each that was changed is a write of its own.
    stand_in_reads: reads that these needed.

    Raises ValueError when no source tells how many operations read.
    """

    def __init__(
        self,
        instance: Instance,
        plan: MailPlan,
        counts: IoCounts,
        model: IoModel = DEFAULT_IO,
        *,
        stand_in: bool = True,
    ) -> None:
        self._instance, self._plan, self._counts = instance, plan, counts
        self._stand_in = stand_in
        config = instance.config
        page_bytes = config.store_format.page_bytes
        self._definition = older_table(page_bytes)
        self._values = _values(page_bytes)
        self._payload = PayloadMaker(body_ratio=_CONTENT_RATIO, seed=plan.seed)
        self.pages_of_a_mailbox = older_pages(plan, model, page_bytes)
        self._step = _coprime(self.pages_of_a_mailbox, round(self.pages_of_a_mailbox * _GOLDEN))
        self._wait_units = units_until_written(plan, model, config.checkpoint_depth_bytes)
        peak = peak_operations(plan.profile)
        seconds = model.surplus_hours * 3600 * plan.mailboxes
        self._most_surplus = (peak.reads * seconds, peak.writes * seconds)
        self._owed_reads = self._owed_writes = 0.0
        self._read = self._written = 0
        """Operations when the account was last made up."""
        self._time_ns = 0
        self._turn = 0
        self._marks: deque[_Mark] = deque()
        self._next_units = 0
        self._changed_pages: list[set[int]] = [set() for _ in range(plan.databases)]
        """Older pages of each database that were changed and, when last looked at, not written."""
        self.looked_at = self.changed = self.stand_in_reads = 0

    # -- the beginning -------------------------------------------------------------------

    async def create(self, session: StoreSession) -> None:
        """Make the table."""
        await session.do(session.database.create_table, self._definition)

    async def add_mailboxes(self, session: StoreSession, mailboxes: Iterable[int]) -> None:
        """Fill the pages that mailboxes of one database had before, in transactions of its own."""
        if not self._stand_in:
            return
        table = session.database.tables[self._definition.name]
        for mailbox in mailboxes:
            for begin in range(0, self.pages_of_a_mailbox, _PAGES_AT_ONCE):
                session.begin()
                for number in range(begin, min(begin + _PAGES_AT_ONCE, self.pages_of_a_mailbox)):
                    row = self._row(mailbox, number, _PROPERTIES, 0)
                    await session.do(table.insert, row)
                    data = self._payload.body(
                        mailbox * self.pages_of_a_mailbox + number, self._values * _VALUE_BYTES
                    )
                    row = self._row(mailbox, number, _CONTENT, 0)
                    for value in range(self._values):
                        at = value * _VALUE_BYTES
                        row[f"Data{value}"] = data[at : at + _VALUE_BYTES]
                    await session.do(table.insert, row)
                await session.commit()

    def begin(self, time_ns: int = 0) -> None:
        """The account begins at an instant of the stream."""
        self._time_ns, self._next_units = time_ns, units_at(self._plan, time_ns)
        self._read, self._written = self._counts.database_reads, self._counts.database_writes

    # -- the account ---------------------------------------------------------------------

    async def follow(self, time_ns: int, sessions: Sequence[StoreSession]) -> None:
        """Write what is due by an instant, and make up for what is missing, in steps until then.

        Arguments
        ---------
        time_ns: of the stream; one that lies back counts for nothing.
        sessions: on each database, none in a transaction.

        Raises EseError and StorageError as statements and writes do.
        """
        curve, calendar_ns = self._plan.curve, self._plan.calendar_ns
        units = units_at(self._plan, time_ns)
        while units > self._next_units:
            step_ns = curve.time_ns(self._next_units) - calendar_ns
            await self._step_to(max(step_ns, self._time_ns), self._next_units, sessions)
            self._next_units += max(1, self._wait_units // _ROUNDS)
        if self._time_ns < time_ns:
            await self._make_up(time_ns, sessions)

    async def _step_to(self, time_ns: int, units: int, sessions: Sequence[StoreSession]) -> None:
        await self._make_up(time_ns, sessions)
        self._marks.append(_Mark(units, self._instance.log.tip))
        due: LogPosition | None = None
        while self._marks and self._marks[0].units <= units - self._wait_units:
            due = self._marks.popleft().position
        if due is not None:
            tip = self._instance.log.tip
            await self._instance.write_old_pages(log_distance_bytes(self._instance, due, tip))

    async def _make_up(self, time_ns: int, sessions: Sequence[StoreSession]) -> None:
        """Read and change what is missing by an instant."""
        expected = expected_operations(self._plan, self._time_ns, time_ns)
        self._owed_reads += expected.reads
        self._owed_writes += expected.writes
        self._time_ns = time_ns
        self._settle()
        if self._stand_in:
            before = self._counts.database_reads
            await self._change(int(self._owed_writes) - self._waiting(), sessions)
            self._settle()
            await self._look(sessions)
            self.stand_in_reads += self._counts.database_reads - before

    def _waiting(self) -> int:
        """Pages that were changed and will be written."""
        there = zip(self._instance.databases.values(), self._changed_pages, strict=True)
        self._changed_pages = [pages & one.buffer.dirty.keys() for one, pages in there]
        return sum(map(len, self._changed_pages))

    def _settle(self) -> None:
        """Take off what was read and written."""
        reads, writes = self._counts.database_reads, self._counts.database_writes
        most_reads, most_writes = self._most_surplus
        self._owed_reads = max(-most_reads, self._owed_reads - (reads - self._read))
        self._owed_writes = max(-most_writes, self._owed_writes - (writes - self._written))
        self._read, self._written = reads, writes

    async def _change(self, count: int, sessions: Sequence[StoreSession]) -> None:
        """Change a row in each of so many pages."""
        for begin in range(0, count, _PAGES_AT_ONCE):
            places = [self._next() for _ in range(min(_PAGES_AT_ONCE, count - begin))]
            for database, session in enumerate(sessions):
                here = [each for each in places if each[0] % len(sessions) == database]
                if not here:
                    continue
                table = session.database.tables[self._definition.name]
                session.begin()
                for mailbox, number in here:
                    key = table.key(mailbox, number, _PROPERTIES)
                    row = self._row(mailbox, number, _PROPERTIES, self.changed % (1 << 31))
                    await session.do(table.update, key, row)
                    self._changed_pages[database].add(table.rows.seek(key).page.pgno)
                    self.changed += 1
                await session.commit(lazy=True)

    async def _look(self, sessions: Sequence[StoreSession]) -> None:
        """Look at rows of so many pages that enough are read."""
        # Some are in memory; what is not reached is owed still.
        for _ in range(2 * max(0, int(self._owed_reads))):
            if self._owed_reads < 1:
                return
            mailbox, number = self._next()
            session = sessions[mailbox % len(sessions)]
            table = session.database.tables[self._definition.name]
            await session.read(table.get, table.key(mailbox, number, _PROPERTIES))
            self.looked_at += 1
            self._settle()

    def _next(self) -> tuple[int, int]:
        """Mailbox and number of the next page."""
        turn, mailbox = divmod(self._turn, self._plan.mailboxes)
        self._turn += 1
        return mailbox, turn * self._step % self.pages_of_a_mailbox

    def _row(self, mailbox: int, number: int, part: int, seen: int) -> dict[str, Any]:
        return {"Mailbox": mailbox, "Number": number, "Part": part, "Seen": seen}


def _coprime(modulus: int, near: int) -> int:
    """The first number, from one on, that has no divisor in common with another."""
    step = max(1, near)
    while gcd(step, modulus) != 1:
        step += 1
    return step
