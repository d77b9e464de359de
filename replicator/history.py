"""Keeping the history of a protected set: who holds the capture lock does it.

``open`` decides, before any program writes, whether the history of an earlier process can
be continued; ``serve`` then does what the sender asks for on the board: it frees what the
replica has, and begins a new epoch where the old history is of no use any more.

States of a history::

    none or of an earlier boot --open--> epoch n --spool full--> stopped --end_epoch--> epoch n+1
                                           |  \\__process died, open__/
                                           '--end_epoch--> epoch n+1

A process crash loses nothing: the spool is read, the one unfinished intent is rolled
forward, the history goes on.  A restart of the machine ends the history, because nobody
knows what of the protected files had reached the disk: the image after it is operation 0
of the next epoch.

Neither is done over files that the history is not about (:mod:`replicator.set_identity`): where
the set is another directory than before, an epoch begins, and where it is empty and was not,
none does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import xxhash

from replicator.board import KEEPER, Board
from replicator.capture import Capture
from replicator.errors import ForeignLog, SpoolFull, StorageError, SyncFailed
from replicator.journal import LogFull
from replicator.operation import Operation
from replicator.runtime import group, sleep_ns
from replicator.runtime.port import Runtime
from replicator.set_identity import Noted, identity_of, noted_in, refuse_empty, why_another
from replicator.slots import StateSlots

LOOK_AGAIN_NS = 1_000_000_000
"""How often a keeper looks at the board when no bell rings: a lost ring costs this much."""
FULL_VOLUME_NS = 5_000_000_000
"""How long to wait before a volume that was full is tried again."""
NOTE_AGAIN_NS = 1_000_000_000
"""How often it is noted, at most, that the set has names, or has none any more."""


class HistoryKeeper:
    """The one process that adds to the history.

    Arguments
    ---------
    runtime: the world.
    capture: the protected set and its spool.
    slots: the history's own durable state: epoch, what tells it from others, boot.
    set_id, source_id: names of the protected set and of this source.
    exclusive: makes a context in which no program's call can come between; needed where
        programs run in other threads.
    accept_empty: the set may be empty now, though it was not: an operator says so.
    """

    def __init__(
        self,
        runtime: Runtime,
        capture: Capture,
        slots: StateSlots,
        set_id: str,
        source_id: str,
        exclusive: Callable[[], AbstractContextManager[object]] = nullcontext,
        accept_empty: bool = False,
    ) -> None:
        self._runtime = runtime
        self.capture = capture
        self._board: Board = capture.spool.board
        self._slots = slots
        self._set_id = set_id
        self._source_id = source_id
        self._exclusive = exclusive
        self._accept_empty = accept_empty
        self._state: dict[str, Any] = {}
        """The history's state as it was read or written last."""
        self._note_again_ns = 0
        self._random = runtime.random("history")
        self._highest = 0
        """The highest epoch ever begun or heard of here."""
        self._unbegun = ""
        """Why an epoch was needed that could not be begun; empty for none."""

    # -- start ---------------------------------------------------------------------

    async def open(self) -> None:
        """Continue the history of an earlier process of this boot, or begin an epoch.

        Must have returned before any program writes to the protected set.  Cancelled, it leaves
        what a process that died there would: the next one opens anew.
        Raises ForeignLog, EmptySet, StorageError.
        """
        self._runtime.emit("history_opens")
        state = await self._slots.load()
        refuse_other_set(state, self._set_id, self.capture.spool.log.directory)
        reason = "first start"
        if state is not None:
            self._state, self._highest = state, int(state["epoch"])
            reason = await self._why_over(state)
            if not reason:
                spool = self.capture.spool
                self._take_releases()
                self.capture.continue_epoch()
                self._runtime.emit("continue", spool.epoch, spool.completed)
                return
        if not self._accept_empty:
            refuse_empty(noted_in(state), self.capture.volume, self.capture.root)
        await self._begin_epoch(self._highest, reason)

    async def _why_over(self, state: dict[str, Any]) -> str:
        """Why the history of that state cannot be continued; empty when it can, and is open."""
        capture, spool = self.capture, self.capture.spool
        if state["boot_id"] != self._runtime.boot_id:
            return "the machine was restarted without an orderly stop"
        # Before anything is rolled forward: that would be written to files it is not about.
        another = why_another(noted_in(state), identity_of(capture.volume, capture.root))
        if another:
            return another
        spool.history = bytes.fromhex(state["history"])
        found = await spool.recover(self._highest)
        if spool.log.tail_was_torn:
            self._runtime.emit("tail_erased", "spool")
        return found.gap or await self._roll_forward(found.unfinished)

    async def _roll_forward(self, unfinished: Operation | None) -> str:
        """Finish the operation that was under way; says why that cannot be, else nothing."""
        if unfinished is not None:
            try:
                await self.capture.roll_forward(unfinished)
            except (LogFull, StorageError) as error:
                return f"the operation that was under way cannot be finished: {error}"
        return ""

    async def _begin_epoch(self, floor: int, reason: str) -> None:
        """Durably claim the next epoch, then make the image now its operation 0."""
        runtime = self._runtime
        self._unbegun = reason
        self._highest = max(self._highest, floor) + 1
        origin = (
            f"{self._source_id}/{runtime.boot_id}/{runtime.incarnation}/"
            f"{runtime.wall_ns()}/{self._random()}"
        )
        history = xxhash.xxh3_128_digest(origin.encode())
        volume = self.capture.volume
        identity = identity_of(volume, self.capture.root)
        # What was noted stays; that it has names only now, _note_the_set says.
        before = noted_in(self._state)
        named = before is not None and before.had_names and bool(volume.list(identity.directory))
        state = {
            "set": self._set_id,
            "epoch": self._highest,
            "history": history.hex(),
            "boot_id": runtime.boot_id,
            **Noted(identity, named).to_state(),
        }
        await self._slots.write(state)
        self._state = state
        runtime.emit("epoch_reason", reason)
        with self._exclusive():
            self.capture.begin_epoch(self._highest, history)
        self._unbegun = ""

    async def _note_the_set(self) -> None:
        """Keep the note of where the set is and whether it has names as it is now.

        That it has some is noted when they survive a power loss: else their loss by one would
        look like a volume that is not mounted.  A volume that does not take the note is no
        reason to end a program: it is tried again.
        """
        runtime, capture = self._runtime, self.capture
        if self._unbegun or runtime.now_ns() < self._note_again_ns:
            return
        try:
            has_names = bool(capture.spool.catalogue.entries)
            noted = Noted(identity_of(capture.volume, capture.root), has_names)
            if noted == noted_in(self._state):
                return
            self._note_again_ns = runtime.now_ns() + NOTE_AGAIN_NS
            if has_names:
                await capture.volume.sync_directory(noted.identity.directory)
            state = self._state | noted.to_state()
            await self._slots.write(state)
            self._state = state
        except StorageError as error:
            self._note_again_ns = runtime.now_ns() + FULL_VOLUME_NS
            runtime.emit("set_not_noted", str(error))

    def close(self) -> None:
        """Close what is open of the spool; nothing can be captured any more."""
        with self._exclusive():
            self.capture.capturing = False
            self.capture.stop_reason = "the history is kept by another process now"
            self.capture.spool.close()

    # -- the sender's wishes -------------------------------------------------------

    async def serve(self) -> None:
        """Do what the sender asks for, until cancelled."""
        while True:
            try:
                await self.heed()
            except SyncFailed:
                raise  # what is on the disk can be told only by a process that reads it anew
            except (SpoolFull, StorageError) as error:
                # The programs go on, and nothing is captured: no reason to end them.
                self._runtime.emit("history_stalled", str(error))
                await sleep_ns(FULL_VOLUME_NS)
                continue
            await self._board.wait_for(KEEPER, LOOK_AGAIN_NS)

    async def heed(self) -> None:
        """Do what the sender asks for now."""
        self._take_releases()
        notice, spool = self._board.sender_notice(), self.capture.spool
        if self._unbegun:
            await self._begin_epoch(notice.floor, self._unbegun)
        elif notice.end_epoch == spool.epoch and spool.epoch:
            reason = notice.reason
            if not self.capture.capturing:
                reason = self.capture.stop_reason
            await self._begin_epoch(notice.floor, reason)
        await self._note_the_set()

    def _take_releases(self) -> None:
        notice, spool = self._board.sender_notice(), self.capture.spool
        if notice.epoch == spool.epoch and notice.released_bytes > spool.released_bytes:
            with self._exclusive():
                spool.release(notice.released, notice.released_bytes)


@asynccontextmanager
async def kept(keeper: HistoryKeeper) -> AsyncIterator[Capture]:
    """Keep the history inside the block; who holds the capture lock may enter.

    Raises what :meth:`HistoryKeeper.open` does; what ends the keeping ends the block.
    """
    try:
        await keeper.open()
        async with served(keeper) as capture:
            yield capture
    finally:
        keeper.close()


@asynccontextmanager
async def served(keeper: HistoryKeeper) -> AsyncIterator[Capture]:
    """Do what the sender asks for inside the block; the keeper is open."""
    async with group() as g:
        service = g.spawn(keeper.serve(), "keeper")
        yield keeper.capture
        service.cancel()


def refuse_other_set(state: dict[str, Any] | None, set_id: str, where: str) -> None:
    """Raises ForeignLog when the history's state is that of another protected set."""
    if state is not None and state["set"] != set_id:
        raise ForeignLog(
            f"it holds the history of the protected set {state['set']!r}, not {set_id!r}",
            path=where,
        )
