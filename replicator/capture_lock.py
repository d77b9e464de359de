"""Who keeps the history: a program that captures, or the sender's caretaker meanwhile.

One lock decides.  A program that wants it says so on the board, and the caretaker gives way.
"""

from __future__ import annotations

from collections.abc import Callable

from replicator.board import KEEPER, LOCK, Board
from replicator.errors import Locked, NoSpace
from replicator.history import FULL_VOLUME_NS, LOOK_AGAIN_NS, HistoryKeeper, kept
from replicator.runtime import Deadline, TimedOut, deadline, sleep_ns
from replicator.runtime.port import Lock, Runtime, Volume

ASK_AGAIN_NS = 50_000_000
"""How often a program that waits for the capture lock tries again."""


async def take_capture_lock(volume: Volume, path: str, board: Board, patience_ns: int) -> Lock:
    """The capture lock for a program; a caretaker that holds it gives way.

    Raises Locked when another program has it, after ``patience_ns``.
    """
    limit: Deadline = deadline(patience_ns)
    try:
        async with limit:
            while True:
                try:
                    lock = volume.lock(path)
                    break
                except Locked:
                    board.want_capture(True)
                    await board.wait_for(LOCK, ASK_AGAIN_NS)
    except TimedOut:
        raise Locked(
            "another program captures this protected set",
            path=path,
            remedy="Stop the other program, or protect its files as a set of their own; when none "
            "runs, the source's sender hangs: see 'replicator status'.",
        ) from None
    finally:
        board.want_capture(False)
    return lock


async def keep_while_nobody_captures(
    runtime: Runtime,
    volume: Volume,
    path: str,
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
    volume, path: where the capture lock is.
    make_keeper: makes a keeper over what is on disk now.
    look_again_ns: how often the lock is tried.
    tell: is told when the caretaker begins and ends to keep the history.
    """
    while True:
        lock: Lock | None = None
        if not board.capture_wanted:
            try:
                lock = volume.lock(path)
            except Locked:
                lock = None
        if lock is None:
            # Whoever wants the lock tries again and again, and says so each time.
            await sleep_ns(max(look_again_ns, 3 * ASK_AGAIN_NS))
            board.want_capture(False)
            continue
        stalled = False
        try:
            tell(True)
            runtime.emit("caretaker", "begin")
            async with kept(make_keeper()):
                while not board.capture_wanted:
                    await board.wait_for(KEEPER, LOOK_AGAIN_NS)
        except NoSpace as full:
            # Nobody writes, so nothing is lost by waiting; the operator is told why.
            runtime.emit("caretaker_stalled", str(full))
            stalled = True
        finally:
            tell(False)
            lock.release()
            board.capture_released()
        runtime.emit("caretaker", "end")
        if stalled:
            await sleep_ns(FULL_VOLUME_NS)
