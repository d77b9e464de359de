"""Who keeps the history: a program that captures, or the sender's caretaker meanwhile.

Two locks, in this order:

* *The spool's* (``capture.lock``) decides between the processes of one source.  A program that
  wants it says so on the board, and the caretaker gives way: at once, also while it is still
  reading a long spool, for until then it has changed nothing that another one would not do anew.
* *The set's*, on its directory itself, keeps out who captures the same files into a spool of its
  own, by another configuration.  Such a one has another board: nobody gives way.

A set inside of another set is not found out by this.  A file system that cannot lock a directory
(some network file systems) is told of, and captured all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replicator.board import KEEPER, LOCK, Board
from replicator.errors import Locked, NoSpace, StorageError
from replicator.history import FULL_VOLUME_NS, LOOK_AGAIN_NS, HistoryKeeper, served
from replicator.runtime import TimedOut, deadline, first, sleep_ns
from replicator.runtime.port import Lock, Runtime, Volume
from replicator.runtime.scopes import UNFINISHED

ASK_AGAIN_NS: Final = 50_000_000
"""How often a program that waits for the capture lock tries again."""
GIVES_WAY_WITHIN_NS: Final = 60_000_000_000
"""How much longer than its patience a program waits for a caretaker that has seen its wish."""
SET_PATIENCE_NS: Final = 500_000_000
"""A process that dies gives its locks back one after the other: that is no other spool's."""


class CaptureLocks:
    """The two locks of one source, as one process sees them.

    Arguments
    ---------
    runtime: the world; is told when the set cannot be locked.
    volume, path: where the spool's lock is.
    set_volume, root: the protected set.
    """

    def __init__(
        self, runtime: Runtime, volume: Volume, path: str, set_volume: Volume, root: str
    ) -> None:
        self.runtime = runtime
        self._volume = volume
        self.path = path
        self._set_volume = set_volume
        self._root = root.rstrip("/") or "/"

    def of_the_spool(self) -> Lock:
        """The lock between the processes of this source; raises Locked at once."""
        return self._volume.lock(self.path)

    async def of_the_set(self) -> Lock | None:
        """The lock on the set's directory; None where directories cannot be locked.

        Raises Locked when it is captured into another spool.
        """
        try:
            async with deadline(SET_PATIENCE_NS):
                while True:
                    try:
                        return self._set_volume.lock(self._root)
                    except Locked:
                        await sleep_ns(ASK_AGAIN_NS)
        except TimedOut:
            raise Locked(
                "the protected set is captured by another source, into a spool of its own",
                path=self._root,
                remedy="Stop the other source and its programs, or correct source.directory in "
                "one of the configurations: a directory belongs to one set and one spool.",
            ) from None
        except StorageError as error:
            self.runtime.emit("set_not_locked", str(error))
            return None


class HeldLocks:
    """Both locks, held; implements ``replicator.runtime.port.Lock``."""

    def __init__(self, of_the_spool: Lock, of_the_set: Lock | None) -> None:
        self._of_the_spool = of_the_spool
        self._of_the_set = of_the_set

    def release(self) -> None:
        """Give both back: who gets the first one, which is the last here, finds the other free."""
        if self._of_the_set is not None:
            self._of_the_set.release()
        self._of_the_spool.release()


async def take_capture_lock(locks: CaptureLocks, board: Board, patience_ns: int) -> Lock:
    """The locks for a program; a caretaker that holds them gives way.

    Raises Locked when another program has them, after ``patience_ns``; a caretaker that has seen
    the wish is waited for longer, for at most :data:`GIVES_WAY_WITHIN_NS`.
    """
    try:
        lock = await _ask(locks, board, patience_ns)
        if lock is None:
            lock = await _ask(locks, board, GIVES_WAY_WITHIN_NS, lambda: board.gives_way)
    finally:
        board.want_capture(False)
    if lock is None:
        raise Locked(
            "another program captures this protected set",
            path=locks.path,
            remedy="Stop the other program, or protect its files as a set of their own; when none "
            "runs, the source's sender hangs: see 'replicator status'.",
        )
    board.give_way(False)
    return await _with_the_set(locks, board, lock)


async def _ask(
    locks: CaptureLocks,
    board: Board,
    patience_ns: int,
    while_true: Callable[[], bool] = lambda: True,
) -> Lock | None:
    """The spool's lock; None when it is not to be had in that time, or while that is true."""
    try:
        async with deadline(patience_ns):
            while True:
                try:
                    return locks.of_the_spool()
                except Locked:
                    if not while_true():
                        return None
                    board.want_capture(True)
                    await board.wait_for(LOCK, ASK_AGAIN_NS)
    except TimedOut:
        return None


async def _with_the_set(locks: CaptureLocks, board: Board, lock: Lock) -> Lock:
    """Both locks, for who has the spool's; without the other that one is given back."""
    held: Lock | None = None
    try:
        held = HeldLocks(lock, await locks.of_the_set())
    finally:
        if held is None:
            lock.release()
            board.capture_released()
    return held


async def keep_while_nobody_captures(
    locks: CaptureLocks,
    board: Board,
    make_keeper: Callable[[], HistoryKeeper],
    look_again_ns: int,
    tell: Callable[[bool], None] = lambda _keeps: None,
) -> None:
    """The caretaker: keeps the history whenever no program does, until cancelled.

    So an intent that a killed program left is rolled forward without waiting for its next
    start, and a new epoch can begin while the store is down.

    Arguments
    ---------
    locks: of this source.
    make_keeper: makes a keeper over what is on disk now.
    look_again_ns: how often the lock is tried.
    tell: is told when the caretaker begins and ends to keep the history.

    Raises Locked when the set is captured into another spool, and what the keeper does.
    """
    runtime = locks.runtime
    while True:
        lock: Lock | None = None
        if not board.capture_wanted:
            try:
                lock = locks.of_the_spool()
            except Locked:
                lock = None
        if lock is None:
            # Whoever wants the lock tries again and again, and says so each time.
            await sleep_ns(max(look_again_ns, 3 * ASK_AGAIN_NS))
            board.want_capture(False)
            continue
        board.give_way(False)  # what one that was killed had said
        lock = await _with_the_set(locks, board, lock)
        stalled = False
        try:
            tell(True)
            runtime.emit("caretaker", "begin")
            await _keep(make_keeper(), board)
        except NoSpace as full:
            # Nobody writes, so nothing is lost by waiting; the operator is told why.
            runtime.emit("caretaker_stalled", str(full))
            stalled = True
        finally:
            tell(False)
            lock.release()
            board.give_way(False)
            board.capture_released()
        runtime.emit("caretaker", "end")
        if stalled:
            await sleep_ns(FULL_VOLUME_NS)


async def _keep(keeper: HistoryKeeper, board: Board) -> None:
    """Keep the history until a program wants to; one that is still being opened is given up."""
    try:
        opened, _ = await first(keeper.open(), _notice_a_wish(board))
        if opened is not UNFINISHED:
            async with served(keeper):
                await _notice_a_wish(board)
    finally:
        keeper.close()


async def _notice_a_wish(board: Board) -> None:
    """Return when a program wants to capture; from then on it can see that it was heard."""
    while not board.capture_wanted:
        await board.wait_for(KEEPER, LOOK_AGAIN_NS)
    board.give_way(True)
