"""A session as its user has it: statements, commit and rollback, with the waits that these need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from replicator.ese.log_stream import LogBufferFull
from replicator.ese.values import LogPosition
from simulator.exchange.ese.session import Session

if TYPE_CHECKING:
    from simulator.exchange.ese.attached_database import AttachedDatabase
    from simulator.exchange.ese.database import Database
    from simulator.exchange.ese.instance import Instance

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

        Waits until the log's buffer has room for it.  Raises what the statement raises, then
        nothing is changed; LogBufferFull for one that logs more than half the buffer, EseError
        -510: then the instance has stopped.
        """
        instance = self._instance
        self._check()
        await instance.log.room(instance.config.log_buffer_bytes // 2)
        self._check()
        try:
            result = statement(self._session, *args, **kwargs)
        except LogBufferFull:
            with instance.fatal():
                raise
        instance.wake()
        return result

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
        await instance.log.room(instance.config.log_buffer_bytes // 2)
        self._check()
        position = self._commit()
        instance.wake()
        if position is not None and not lazy and instance.config.safeguards.flush_at_commit:
            with instance.fatal():
                await instance.log.flush(position)
        return position

    def _commit(self) -> LogPosition | None:
        """The pages that undo would have needed wait for the commit to be durable."""
        session, one = self._session, self._one
        owing = []
        if session.level == 1:
            owing = [
                each.tree.seek(each.key, each.data).page.pgno
                for each in session.versions
                if each.owes_before_image
            ]
        position = one.database.transactions.commit(session)
        if position is not None:
            for pgno in owing:
                one.buffer.depends_on(pgno, position)
        return position

    async def rollback(self) -> None:
        """Take back the innermost transaction; nothing waits for the disk."""
        instance = self._instance
        self._check()
        await instance.log.room(instance.config.log_buffer_bytes // 2)
        self._check()
        self._one.database.transactions.rollback(self._session)
        instance.wake()

    async def clean_up(self, limit: int = 1000) -> int:
        """Remove what is flagged deleted for good; see :meth:`Transactions.clean_up`."""
        instance = self._instance
        self._check()
        await instance.log.room(instance.config.log_buffer_bytes // 2)
        self._check()
        removed = self._one.database.transactions.clean_up(self._session, limit)
        instance.wake()
        return removed

    def _check(self) -> None:
        self._instance.check()
        if self._session not in self._one.sessions:
            raise RuntimeError(f"{self._one.path} was detached, or the session was ended")

    async def end(self) -> None:
        """Give the session back; what is open is rolled back."""
        while self._session.level:
            await self.rollback()
        self._one.sessions.remove(self._session)
