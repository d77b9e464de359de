"""A source's sender and a replica as services: from their start to an end in good order.

A service runs until it is asked to stop.  Then it *drains*: the source until everything that
was completed when it was asked is durable at the replica, the replica until everything in its
journal is applied and in a checkpoint; at most for the time that the configuration gives.
Nothing is lost when that is too short, and the ending says so.

How a service is asked, and where its volumes are, is the world's business; everything decided
here is decided in the simulator as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from replicator.capture_lock import keep_while_nobody_captures
from replicator.errors import BadInput, ExitCode, Locked, ServiceRuns
from replicator.fence import fence_of, raise_fence
from replicator.replica import Replica
from replicator.replica_store import ReplicaStore
from replicator.runtime import Completion, TimedOut, deadline, first, group, sleep_ns
from replicator.runtime.port import Lock, Runtime, Volume
from replicator.runtime.scopes import UNFINISHED
from replicator.source import Source, SourceState
from replicator.source_place import SourcePlace
from replicator.status import Reporter, last_word
from replicator.takeover_wish import WishState, heed_wishes, wish_of

LOCK_PATIENCE_NS: Final = 500_000_000
"""Who asks for the status holds a lock for an instant: that is no other process."""
LOOK_AGAIN_NS: Final = 20_000_000

WaitForStop = Callable[[], Awaitable[object]]


class Ending(StrEnum):
    """How a service ended, when it ended in good order."""

    DRAINED = "drained"
    NOT_DRAINED = "stopped before everything had reached the other end"
    NOT_APPLIED = "stopped before all of the journal was applied; the next start goes on there"
    FENCED = "the replica has taken over: this source's history is over"


EXIT_CODES: Final = {
    Ending.DRAINED: ExitCode.PASS,
    Ending.NOT_DRAINED: ExitCode.NOT_DRAINED,
    Ending.NOT_APPLIED: ExitCode.NOT_DRAINED,
    Ending.FENCED: ExitCode.FENCED,
}


async def take_lock(volume: Volume, path: str, what: str, directory: str) -> Lock:
    """The lock of a service; raises ServiceRuns when another process has it.

    ``what`` names the other process for the message, ``directory`` what it works on.
    """
    try:
        async with deadline(LOCK_PATIENCE_NS):
            while True:
                try:
                    return volume.lock(path)
                except Locked:
                    await sleep_ns(LOOK_AGAIN_NS)
    except TimedOut:
        raise ServiceRuns(
            f"another process is the {what} of this directory",
            path=directory,
            remedy="Stop it first ('replicator status' shows its process id), or correct the "
            "directory in the configuration.",
        ) from None


async def is_fenced(place: SourcePlace, source: Source) -> bool:
    """Whether the source was closed before its sender started; then its state says so."""
    cause = await fence_of(place.spool_volume, place.fence)
    if cause:
        source.enter(SourceState.FENCED, cause)
    return bool(cause)


async def send_until_fenced(place: SourcePlace, source: Source) -> None:
    """Send until cancelled, or until the replica has taken over.

    Then it returns when the source is closed for good, to its programs as well.
    """
    await source.run()
    where, path = place.spool_volume, place.fence
    await raise_fence(source.runtime, where, path, place.set_id, source.cause)


async def serve_source(
    runtime: Runtime,
    place: SourcePlace,
    source: Source,
    reporter: Reporter,
    wait_for_stop: WaitForStop,
    drain_ns: int,
    tell_caretaker: Callable[[bool], None],
) -> Ending:
    """Send until asked to stop, or until the replica has taken over.

    After that the source is fenced for good, to its programs as well.
    """
    if await is_fenced(place, source):
        reporter.report(Ending.FENCED.value)
        return Ending.FENCED
    ended: Completion[Ending] = Completion()

    async def send() -> None:
        await send_until_fenced(place, source)
        ended.set(Ending.FENCED)

    async def heed() -> None:
        await wait_for_stop()
        runtime.emit("stopping", drain_ns)
        try:
            async with deadline(drain_ns):
                await _drained(source)
            ended.set(Ending.DRAINED)
        except TimedOut:
            ended.set(Ending.NOT_DRAINED)

    board = source.spool.board
    async with last_word(reporter), group() as g:
        g.spawn(reporter.run(), "status")
        g.spawn(
            keep_while_nobody_captures(
                place.capture_locks(),
                board,
                lambda: place.keeper(board),
                source.options.heartbeat_ns,
                tell_caretaker,
            ),
            "caretaker",
        )
        g.spawn(send(), "source")
        g.spawn(heed(), "stop")
        ending = await ended
        source.leaving = True
        reporter.report(ending.value)
        g.cancel()
    return ending


async def _drained(source: Source) -> None:
    """Return when all that is completed now is durable at the replica."""
    board = source.spool.board
    notice, target = board.keeper_notice(), board.completed
    while True:
        now = board.keeper_notice()
        if (now.epoch, now.history) != (notice.epoch, notice.history):
            notice, target = now, board.completed  # a new epoch: its image has to get there
        pinned = source.spool.pinned
        same = (pinned.epoch, pinned.history) == (now.epoch, now.history)
        if same and source.committed and source.durable >= target:
            return
        await sleep_ns(LOOK_AGAIN_NS)


async def serve_replica(
    runtime: Runtime,
    store: ReplicaStore,
    replica: Replica,
    reporter: Reporter,
    wait_for_stop: WaitForStop,
    drain_ns: int,
    opened: Callable[[], None],
) -> Ending:
    """Recover, then serve until asked to stop.

    ``opened`` is called between the two.  Raises ForeignLog, CannotListen.
    """
    async with last_word(reporter), group() as g:
        await replica.check_address()  # a refusal says that nothing was changed
        reporting = g.spawn(reporter.run(), "status")
        opening, _ = await first(store.open(), _as_coroutine(wait_for_stop))
        if opening is UNFINISHED:
            reporting.cancel()
            reporter.report(Ending.NOT_APPLIED.value)
            return Ending.NOT_APPLIED
        opened()
        g.spawn(replica.run(), "replica")
        g.spawn(heed_wishes(runtime, store, replica, reporter.report), "promotion")
        await wait_for_stop()
        runtime.emit("stopping", drain_ns)
        ending = Ending.DRAINED
        try:
            async with deadline(drain_ns):
                await replica.leave()
        except TimedOut:
            ending = Ending.NOT_APPLIED
        reporter.report(ending.value)
        g.cancel()
    return ending


async def _as_coroutine(wait: WaitForStop) -> object:
    return await wait()


# -- promotion -------------------------------------------------------------------------


def no_image(directory: str) -> BadInput:
    """The refusal to take over with nothing."""
    return BadInput(
        "no image has ever been completed here: there is nothing to take over with",
        path=directory,
        remedy="Start the replica and its source, and wait until the source is streaming.",
    )


async def promote_stopped(runtime: Runtime, store: ReplicaStore, replica: Replica) -> None:
    """Promote a replica whose process is down; whoever calls this holds its lock.

    Raises BadInput when there is no image to take over with.
    """
    await store.open()
    wish = wish_of(runtime, store)
    if store.never_completed:
        await wish.clear()
        raise no_image(store.root)
    noted = wish.look()
    if noted.state == WishState.PENDING:
        wish.begin(noted)  # or it could still be withdrawn
    async with group() as g:
        g.spawn(store.run(), "apply")
        await replica.promote()
        g.cancel()
    await wish.clear()
    runtime.emit("promotion", "done")
