"""What a store logs besides its messages, as rows that are replaced: views and what goes with them.

A store logs several times the bytes of the mail that it takes: 4.9 bytes for each byte sent or
received in 2007 and 2.7 in 2010, by the profiles' logs a day [D].  The rows of
:mod:`simulator.exchange.ese.mailboxes` account for about one of these.  The others come from what
is not modelled: views and search folders of each user, counts in folders, named properties,
Outbox and transport, content conversion.

Their place takes one table whose rows are written anew.  ``MailViews`` keeps an account: what the
profile expects of each message, less what the log has grown by.  What is missing is replaced, a
row at a time, within the transactions of the mail.  So the logs of a day are the profile's *by
construction*; which part of them is rows of messages and which is this, is told by ``view_bytes``.

A log that is closed because its store is idle is on top: small stores have many of these.
Profiles of 2003 have no figure for logs; nothing is added there.
"""

from __future__ import annotations

from typing import Any, Final

from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.log_header import SECTOR_BYTES, SEGMENT_BYTES
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.ese.values import LogPosition
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.mail_events import MailEvent, log_bytes_of
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.message_payload import PayloadMaker

VIEWS_OF_A_MAILBOX: Final = 4
"""Rows that are replaced in turn [A]."""
VIEW_RATIO: Final = 1.5
"""How many times zstd makes them smaller, so that all logs together shrink by the 30 % that
planners count on [M]."""
MOST_AT_ONCE_BYTES: Final = 256 << 10
"""Of one transaction; what is missing beyond waits for the next ones [A]."""


_VALUE_BYTES: Final = 1000
"""A longer one would leave its row."""


def view_values(page_bytes: int) -> int:
    """How many values a row has: three quarters of a page."""
    return page_bytes * 3 // 4 // _VALUE_BYTES


def view_table(page_bytes: int) -> TableDefinition:
    """The table for databases of a page size."""
    number = ColumnFlag.NOT_NULL
    return TableDefinition(
        "View",
        (
            ColumnDefinition("Mailbox", ColumnType.LONG, flags=number),
            ColumnDefinition("Number", ColumnType.LONG, flags=number),
            *(
                ColumnDefinition(f"Data{value}", ColumnType.LONG_BINARY)
                for value in range(view_values(page_bytes))
            ),
        ),
        (IndexDefinition("ByMailbox", ("Mailbox", "Number"), primary=True),),
    )


class MailViews:
    """See the module.

    Arguments
    ---------
    instance: whose log is followed.
    plan: of the mail; its profile says how much is logged.

    Attributes
    ----------
    view_bytes: of rows that were replaced.
    """

    def __init__(self, instance: Instance, plan: MailPlan) -> None:
        self._instance, self._plan = instance, plan
        self._wanted = plan.profile.log_amplification is not None
        page_bytes = instance.config.store_format.page_bytes
        self._values = view_values(page_bytes)
        self._row_bytes = self._values * _VALUE_BYTES
        self._places = [(f"Data{value}", value * _VALUE_BYTES) for value in range(self._values)]
        self._definition = view_table(page_bytes)
        self._payload = PayloadMaker(body_ratio=VIEW_RATIO, seed=plan.seed)
        self._owed_bytes = 0
        self._followed = instance.log.tip
        self._turn = 0
        self.view_bytes = 0

    async def create(self, session: StoreSession) -> None:
        """Make the table, in the transaction that is open or alone."""
        if self._wanted:
            await session.do(session.database.create_table, self._definition)

    async def add_mailbox(self, session: StoreSession, mailbox: int) -> None:
        """The rows of a mailbox, empty."""
        if self._wanted:
            table = session.database.tables[self._definition.name]
            for number in range(VIEWS_OF_A_MAILBOX):
                await session.do(table.insert, {"Mailbox": mailbox, "Number": number})

    def begin(self) -> None:
        """The account begins: what was logged before is nobody's."""
        self._owed_bytes = 0
        self.pass_over()

    def pass_over(self) -> None:
        """What was logged since the last event is nobody's: the rest of a log that was closed."""
        self._followed = self._instance.log.tip

    async def follow(self, session: StoreSession, event: MailEvent, mailbox: int) -> None:
        """Log what is missing, behind an event and in its transaction.

        Arguments
        ---------
        mailbox: one that the event concerns.
        """
        if self._wanted:
            self._owed_bytes += log_bytes_of(event, self._plan)
            await self._replace_rows(session, mailbox)

    async def catch_up(self, session: StoreSession, mailbox: int) -> None:
        """Log all that is missing, in transactions of its own."""
        while self._owed_bytes >= self._row_bytes:
            session.begin()
            await self._replace_rows(session, mailbox)
            await session.commit(lazy=True)

    async def _replace_rows(self, session: StoreSession, mailbox: int) -> None:
        self._owed_bytes -= self._grown_bytes()
        rows = max(0, min(self._owed_bytes, MOST_AT_ONCE_BYTES)) // self._row_bytes
        for _ in range(rows):
            self._turn += 1
            # Another length than the row before: rows of one length are logged as differences.
            data = self._payload.body(self._turn, self._row_bytes - self._turn % 7)
            await self._replace(session, mailbox, data)
            self.view_bytes += len(data)
        self._owed_bytes -= self._grown_bytes()

    async def _replace(self, session: StoreSession, mailbox: int, data: bytes) -> None:
        table = session.database.tables[self._definition.name]
        number = self._turn % VIEWS_OF_A_MAILBOX
        row: dict[str, Any] = {"Mailbox": mailbox, "Number": number}
        for name, value in self._places:
            row[name] = data[value : value + _VALUE_BYTES]
        await session.do(table.update, table.key(mailbox, number), row)

    def _grown_bytes(self) -> int:
        """Bytes of log files since it was asked last."""
        tip, before = self._instance.log.tip, self._followed
        self._followed = tip
        return log_distance_bytes(self._instance, before, tip)


def log_distance_bytes(instance: Instance, begin: LogPosition, end: LogPosition) -> int:
    """Bytes of log files between two positions, to the sector or segment."""
    config = instance.config
    unit_bytes = SEGMENT_BYTES if config.log_version == 8 else SECTOR_BYTES
    whole = (end.generation - begin.generation) * config.log_file_bytes
    return whole + (end.sector - begin.sector) * unit_bytes
