"""Carrying out statements on a database of which not all pages are in memory.

::

    do(statement) --> room in the log --> look --> something missing? read it, once more
                                               --> nobody has run since: changes, in one go

See :mod:`simulator.exchange.ese.preparation` for what a statement is.  A callable that is none,
say a function that makes several changes, is carried out as one transaction within the
session's: what is missing in its middle takes it back, is read, and it begins anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from typing import Any, Final, TypeVar, cast

from replicator.ese.log_stream import LogStream
from replicator.ese.node import EditedNode
from replicator.ese.values import LogPosition
from simulator.exchange.ese.page_buffer import Hold, PageBuffer
from simulator.exchange.ese.preparation import Look, PageNotInMemory, Steps, steps_of
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.transactions import Transactions
from simulator.exchange.ese.tree import Tree

T = TypeVar("T")

READ_AHEAD_PAGES: Final = 32
"""Most leaves that a scan reads at once."""


class Statements:
    """Looks and statements on one database.

    Arguments
    ---------
    buffer: its pages.
    stream: its log.
    log_bytes: room that a statement is given in the log's buffer.
    transactions: those of the database; asked for when needed.

    Attributes
    ----------
    repeated: how often a statement was taken back because its look had not seen all.
    """

    def __init__(
        self,
        buffer: PageBuffer,
        stream: LogStream,
        log_bytes: int,
        transactions: Callable[[], Transactions],
    ) -> None:
        self._buffer, self._stream, self._log_bytes = buffer, stream, log_bytes
        self._transactions = transactions
        self.repeated = 0

    async def read(self, look: Callable[[], T], check: Callable[[], None]) -> T:
        """What a function returns that reads pages and changes none; it is called until it has all.

        Arguments
        ---------
        check: called after each wait; raises when the session or database is there no more.
        """
        buffer = self._buffer
        try:
            if buffer.is_full:
                await buffer.make_room()
                check()
            try:
                return look()
            except PageNotInMemory as missing:
                with buffer.holding() as hold:
                    await buffer.load(missing, hold)
                    check()
                    return await self._looked(look, hold, check)
        finally:
            buffer.settle()

    async def _looked(self, look: Callable[[], T], hold: Hold, check: Callable[[], None]) -> T:
        while True:
            try:
                return look()
            except PageNotInMemory as missing:
                await self._buffer.load(missing, hold)
                check()

    async def do(
        self,
        statement: Callable[..., T],
        session: Session,
        check: Callable[[], None],
        *args: Any,
        **kwargs: Any,
    ) -> T:
        """Carry out one statement.

        Arguments
        ---------
        statement: called with the session and the further arguments.
        check: as of :meth:`read`.

        Raises what the statement raises, then nothing is changed; LogBufferFull, InternalError:
        then the instance has to stop; EseError -510, StorageError.
        """
        buffer, stream = self._buffer, self._stream
        if stream.stopped or not stream.has_room(self._log_bytes):
            await stream.room(self._log_bytes)
            check()
        steps = steps_of(statement)
        try:
            if buffer.is_full:
                await buffer.make_room()
                await stream.room(self._log_bytes)
                check()
            if buffer.is_whole and steps is not None:
                return statement(session, *args, **kwargs)
            with buffer.holding() as hold:
                while True:
                    try:
                        if steps is None:
                            return self._as_one(statement, session, args, kwargs)
                        return await self._take(steps(session, *args, **kwargs), hold, check)
                    except PageNotInMemory as missing:
                        await self._missed(missing, hold, check)
        finally:
            buffer.settle()

    def _as_one(
        self,
        statement: Callable[..., T],
        session: Session,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> T:
        """A callable without steps, as one transaction: all of it or nothing."""
        transactions = self._transactions()
        transactions.begin(session)
        try:
            result = statement(session, *args, **kwargs)
        except Exception:
            transactions.rollback(session)
            raise
        transactions.commit(session)
        return result

    async def commit(self, session: Session, check: Callable[[], None]) -> LogPosition | None:
        """Commit the innermost transaction; returns as :meth:`Transactions.commit` does."""
        if self._stream.stopped or not self._stream.has_room(self._log_bytes):
            await self._stream.room(self._log_bytes)
            check()
        return self._transactions().commit(session)

    async def rollback(self, session: Session, check: Callable[[], None]) -> None:
        """Take back all that the innermost transaction has done; raises as :meth:`do` does.

        However much that is: room in the log is asked for again and again, not once.
        """
        steps = steps_of(self._transactions().rollback)
        assert steps is not None
        buffer = self._buffer
        try:
            with buffer.holding() as hold:
                while True:
                    try:
                        return await self._take(steps(session), hold, check)
                    except PageNotInMemory as missing:
                        await self._missed(missing, hold, check)
        finally:
            buffer.settle()

    async def _missed(
        self, missing: PageNotInMemory, hold: Hold, check: Callable[[], None]
    ) -> None:
        """A look has forgotten a page; the statement was taken back and will be repeated."""
        self.repeated += 1
        await self._buffer.load(missing, hold)
        await self._stream.room(self._log_bytes)
        check()

    async def _take(self, going: Steps[T], hold: Hold, check: Callable[[], None]) -> T:
        """The steps of a statement, each when all that its look needs is there."""
        with closing(going):
            try:
                look = next(going)
                while True:
                    look = going.send(await self._ready(look, hold, check))
            except StopIteration as done:
                return cast(T, done.value)

    async def _ready(self, look: Look, hold: Hold, check: Callable[[], None]) -> bool:
        """Have all that a look needs, and room in the log; says whether others have run."""
        waited = False
        while True:
            if not self._stream.has_room(self._log_bytes):
                waited = True
                self._buffer.settle(hold)
                await self._stream.room(self._log_bytes)
                check()
            try:
                look()
            except PageNotInMemory as missing:
                waited = True
                await self._buffer.load(missing, hold)
                check()
            else:
                return waited

    async def leaves(
        self, tree: Tree, key: bytes, check: Callable[[], None]
    ) -> AsyncIterator[list[EditedNode]]:
        """The nodes of a tree from a key on, leaf by leaf, further leaves read ahead.

        The tree may change meanwhile: what comes behind is as it is when its leaf is reached.
        """
        data, after, ahead, more = b"", False, 0, True
        while more:
            look = partial(tree.leaf_from, key, data, after=after, ahead=ahead)
            nodes, more = await self.read(look, check)
            if not nodes:
                return
            key, data, after = nodes[-1].key, nodes[-1].data, True
            yield [node for node in nodes if not node.is_deleted]
            ahead = min(2 * ahead + 1, READ_AHEAD_PAGES)
