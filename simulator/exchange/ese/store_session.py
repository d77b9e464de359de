"""A session as its user has it: statements, commit and rollback, with the waits that these need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from replicator.ese.log_stream import LogBufferFull
from replicator.ese.records import Record
from replicator.ese.values import LogPosition
from simulator.exchange.ese.preparation import InternalError
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.table import Table

if TYPE_CHECKING:
    from simulator.exchange.ese.attached_database import AttachedDatabase
    from simulator.exchange.ese.database import Database
    from simulator.exchange.ese.instance import Instance
    from simulator.exchange.ese.page_buffer import PageBuffer
    from simulator.exchange.ese.streaming_file import StreamingFile

P = ParamSpec("P")
T = TypeVar("T")


class StoreSession:
    """One session on one database; made by :meth:`Instance.session`.

    Arguments
    ---------
    instance, one: whose.
    session: its number, and what it has open.
    """

    def __init__(self, instance: Instance, one: AttachedDatabase, session: Session) -> None:
        self._instance, self._one, self._session = instance, one, session

    @property
    def database(self) -> Database:
        """What it works on."""
        return self._one.database

    @property
    def buffer(self) -> PageBuffer:
        """The pages of its database."""
        return self._one.buffer

    @property
    def streaming(self) -> StreamingFile | None:
        """The streaming file of its database; None without one."""
        return self._one.streaming

    def begin(self) -> None:
        """Begin a transaction, in the one that is open or as the outermost one.

        Raises EseError -510 when the instance has stopped, or the database was detached.
        """
        self._check()
        self._one.database.transactions.begin(self._session)

    async def do(
        self, statement: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Carry out one statement, as ``await session.do(table.insert, row)``.

        Arguments
        ---------
        statement: a method of a table or of the database; or a function of one's own that gets
            the session first and makes several changes: all of them are made or none, and it
            may be called more than once.

        Waits until the log's buffer has room for it and the pages that it needs are in memory.
        Raises what the statement raises, then nothing is changed; LogBufferFull for one that logs
        more than half the buffer, EseError -510: then the instance has stopped.
        """
        instance, one = self._instance, self._one
        self._check()
        try:
            do = one.statements.do
            result = await do(statement, self._session, self._check, *args, **kwargs)
        except (LogBufferFull, InternalError):
            with instance.fatal():
                raise
        instance.wake()
        return result

    async def read(self, look: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function returns that only reads, as ``await session.read(table.get, key)``.

        It is called again after each page that had to be read.  Raises what it raises, EseError
        for pages that do not verify, StorageError.
        """
        self._check()
        return await self._one.statements.read(partial(look, *args, **kwargs), self._check)

    async def rows(self, table: Table, key: bytes = b"") -> AsyncIterator[tuple[bytes, Record]]:
        """The rows of a table in the order of their primary keys, with these.

        Arguments
        ---------
        key: the first that counts.

        One leaf is looked at at a time, further ones are read ahead: memory is bounded.  What
        others change meanwhile behind the place that was reached is seen.
        """
        self._check()
        async for nodes in self._one.statements.leaves(table.rows, key, self._check):
            for node in nodes:
                yield node.key, table.record_of(node)

    async def commit(self, *, lazy: bool = False) -> LogPosition | None:
        """Commit the innermost transaction.

        Arguments
        ---------
        lazy: return at once; it is durable with a later flush.

        Returns where Commit0 stands; None for an inner one, and for one that changed nothing,
        which waits for nothing.  Raises EseError -510, StorageError: then it is not known whether
        the transaction is durable.
        """
        instance = self._instance
        self._check()
        position = await self._one.statements.commit(self._session, self._check)
        instance.wake()
        if position is not None and not lazy and instance.config.safeguards.flush_at_commit:
            with instance.fatal():
                await instance.log.flush(position)
        return position

    async def rollback(self) -> None:
        """Take back the innermost transaction; nothing waits for the log."""
        instance = self._instance
        self._check()
        try:
            await self._one.statements.rollback(self._session, self._check)
        except (LogBufferFull, InternalError):
            with instance.fatal():
                raise
        instance.wake()

    async def clean_up(self, limit: int = 1000) -> int:
        """Remove what is flagged deleted for good; see :meth:`Transactions.clean_up`."""
        return await self.do(self._one.database.transactions.clean_up, limit)

    def _check(self) -> None:
        self._instance.check()
        if self._one.is_detached or self._session not in self._one.sessions:
            raise RuntimeError(f"{self._one.path} was detached, or the session was ended")

    async def end(self) -> None:
        """Give the session back; what is open is rolled back.

        Nothing is left to do when the database was detached, which ends its sessions.
        """
        while self._session.level:
            await self.rollback()
        if self._session in self._one.sessions:
            self._one.sessions.remove(self._session)
