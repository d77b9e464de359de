"""The protected set for a program: opened, its history kept, closed again when it is fenced.

What a program of any world does between its start and its first write stands here once: it is
refused where the replica has taken over, takes the capture lock, and keeps the history; and it
looks out for a fence for as long as it has the set open.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple

from replicator.board import Board
from replicator.capture import Capture
from replicator.captured_volume import CapturedVolume
from replicator.fence import heed_fence, refuse_fenced
from replicator.history import HistoryKeeper, kept
from replicator.runtime import Group, group
from replicator.source_place import SourcePlace
from replicator.status import Reporter, last_word


class CapturedSet(NamedTuple):
    """An open protected set."""

    volume: CapturedVolume
    """Changes below the root through it are captured."""
    root: str
    capture: Capture


class OpenedSet:
    """Keeps the history inside its block; made by :func:`captured_set`.

    No generator, though it would be shorter: a program that is thrown away in the midst of its
    work (simulated crashes do that) has to leave its scopes in the order of their nesting.
    """

    def __init__(
        self,
        place: SourcePlace,
        patience_ns: int,
        make_keeper: Callable[[Board], HistoryKeeper] | None,
        make_reporter: Callable[[HistoryKeeper], Reporter] | None,
        locked: Callable[[], None],
    ) -> None:
        self._place = place
        self._patience_ns = patience_ns
        self._make_keeper = place.keeper if make_keeper is None else make_keeper
        self._make_reporter = make_reporter
        self._locked = locked
        self._stack = AsyncExitStack()
        self._reporter: Reporter | None = None
        self._group: Group | None = None

    async def __aenter__(self) -> CapturedSet:
        place = self._place
        await refuse_fenced(place.spool_volume, place.fence)
        await place.prepare()
        async with AsyncExitStack() as stack:
            board = place.board()
            stack.callback(board.close)
            lock = await place.take_capture_lock(board, self._patience_ns)
            stack.callback(board.capture_released)
            stack.callback(lock.release)
            self._locked()
            keeper = self._make_keeper(board)
            if self._make_reporter is not None:
                self._reporter = self._make_reporter(keeper)
                await stack.enter_async_context(last_word(self._reporter))
            capture = await stack.enter_async_context(kept(keeper))
            self._group = await stack.enter_async_context(group())
            if self._reporter is not None:
                self._group.spawn(self._reporter.run(), "status")
            self._group.spawn(heed_fence(place.spool_volume, place.fence), "fence")
            self._stack = stack.pop_all()
        return CapturedSet(CapturedVolume(capture), place.root, capture)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is None:
            if self._reporter is not None:
                self._reporter.report("closed")
            if self._group is not None:
                self._group.cancel()
        return await self._stack.__aexit__(kind, error, trace)


def captured_set(
    place: SourcePlace,
    patience_ns: int,
    make_keeper: Callable[[Board], HistoryKeeper] | None = None,
    make_reporter: Callable[[HistoryKeeper], Reporter] | None = None,
    locked: Callable[[], None] = lambda: None,
) -> OpenedSet:
    """Open a set and keep its history inside the block of ``async with``.

    Arguments
    ---------
    place: of the set, as this process sees it.
    patience_ns: how long to wait while another program has the set.
    make_keeper: of the history; None for the place's own.
    make_reporter: of this program's status; None when nobody is told.
    locked: called once no other program can have the set.

    The block's beginning raises Locked, ForeignLog, SourceFenced, StorageError; what ends the
    keeping of the history (a failing disk, a takeover) ends the block.
    """
    return OpenedSet(place, patience_ns, make_keeper, make_reporter, locked)
