"""How a replicator's processes are, as plain figures: what operators and tests are told.

Each process puts a document on its :class:`~replicator.status_page.StatusPage`, at every half
heartbeat: who it is, when that was, and one of the records below.  ``docs/operating.md`` says what
an operator makes of it; :mod:`replicator.status_view` is how a reader judges it.

Nothing here is better than it is: a figure that is not known is None, and lags are upper
bounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from replicator.capture import Capture
from replicator.errors import NoSpace, ReplicatorError
from replicator.replica import Replica
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime
from replicator.source import Source
from replicator.status_page import StatusPage

FORMAT: Final = 1
TEXT_CHARACTERS: Final = 500
RATE_WINDOW_NS: Final = 60_000_000_000
"""The present rate is that of the last minute."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The sender of a source, and the spool as it sees it."""

    state: str
    """See :class:`~replicator.source.SourceState`."""
    cause: str
    replica_address: str
    replica_stalled: str
    """Why the replica does not apply; empty while it does."""
    epoch: int
    capturing: bool
    capture_stopped: str
    """Why nothing is captured; empty while it is."""
    caretaker: bool
    """Whether the sender keeps the history itself, because no program does."""
    completed: int
    durable: int | None
    """Last operation that is durable at the replica; None while that is unknown."""
    applied: int | None
    lag_ns: int | None
    """Upper bound for the age of the oldest operation that is not durable."""
    lag_operations: int | None
    lag_bytes: int | None
    spool_waiting_bytes: int
    """Records that the replica has not released."""
    spool_used_bytes: int
    """Disk space of the segments."""
    spool_limit_bytes: int
    spool_peak_bytes: int
    spool_full_in_ns: int | None
    """Time to the limit at the present rate; None when it is not coming nearer."""
    wire_bytes: int
    resynchronizations: int


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """The replica and its image."""

    state: str
    """recovering, waiting, streaming, synchronizing, stalled or promoted."""
    cause: str
    address: str
    connected: bool
    silent_ns: int | None
    """Since when nothing was heard of a source; None when none ever spoke."""
    epoch: int
    durable: int
    applied: int
    checkpointed: int
    as_of_wall_ns: int
    """The source's clock when the image was current; 0 while that is not known."""
    behind_operations: int | None
    """How many operations the source's last sign of life named beyond the image."""
    stalled: str
    refused: str
    """Why a source was refused last; empty once something of it was taken again."""
    damage: str
    unverified: str
    """Why nobody knows whether the disk holds what it said; empty when that is known."""
    promoted: bool
    journal_used_bytes: int
    journal_limit_bytes: int
    image: str
    as_of_here_wall_ns: int
    """This machine's clock when the image was current; 0 while that is not known."""
    as_of_age_ns: int | None
    """How long ago that was, by this machine's clocks, when this was reported."""


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """A program that captures what it writes."""

    state: str
    """capturing, held or stopped."""
    cause: str
    epoch: int
    completed: int
    held_ns: int
    """For how long a write has been waiting for room; 0 for none."""


class SpoolTrend:
    """How fast the spool fills, over the last minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int, int]] = deque()

    def full_in_ns(self, now_ns: int, epoch: int, used_bytes: int, limit_bytes: int) -> int | None:
        """Time until the limit at the present rate; None when it is not coming nearer."""
        samples = self._samples
        if samples and samples[0][1] != epoch:
            samples.clear()
        samples.append((now_ns, epoch, used_bytes))
        while len(samples) > 2 and now_ns - samples[1][0] >= RATE_WINDOW_NS:
            samples.popleft()
        if used_bytes >= limit_bytes:
            return 0
        first_ns, _, first_bytes = samples[0]
        gained = used_bytes - first_bytes
        if gained <= 0 or now_ns <= first_ns:
            return None
        return (limit_bytes - used_bytes) * (now_ns - first_ns) // gained


def source_status(source: Source, caretaker: bool, trend: SpoolTrend) -> SourceStatus:
    """How the sender is now."""
    spool, options, board = source.spool, source.options, source.spool.board
    notice = board.keeper_notice()
    known = (
        source.committed and notice.epoch == spool.epoch and notice.history == (spool.history.hex())
    )
    lag_operations = max(0, board.completed - source.durable) if known else None
    waiting_bytes = spool.waiting_bytes
    return SourceStatus(
        state=source.state.value,
        cause=shortened(source.cause),
        replica_address=options.replica_address,
        replica_stalled=shortened(source.replica_stalled),
        epoch=notice.epoch,
        capturing=notice.capturing,
        capture_stopped="" if notice.capturing else shortened(notice.stop_reason),
        caretaker=caretaker,
        completed=board.completed,
        durable=source.durable if known else None,
        applied=source.applied if known else None,
        lag_ns=source.lag_ns() if known else None,
        lag_operations=lag_operations,
        lag_bytes=max(0, board.statistics[0] - source.durable_bytes) if known else None,
        spool_waiting_bytes=waiting_bytes,
        spool_used_bytes=board.used_bytes,
        spool_limit_bytes=options.spool_limit_bytes,
        spool_peak_bytes=spool.peak_bytes,
        spool_full_in_ns=trend.full_in_ns(
            source.runtime.now_ns(), notice.epoch, waiting_bytes, options.spool_limit_bytes
        ),
        wire_bytes=source.wire_bytes,
        resynchronizations=source.resynchronizations,
    )


def replica_status(store: ReplicaStore, replica: Replica | None) -> ReplicaStatus:
    """How the replica is now; ``replica`` is None while the store recovers."""
    connected = replica is not None and replica.connected
    stalled = store.stalled if replica is None else replica.stalled
    cause = ""
    if store.promoted:
        state, cause = "promoted", "the replica has taken over; no source is listened to"
    elif stalled:
        state, cause = "stalled", stalled
    elif replica is None:
        state = "recovering"
    elif connected:
        state = "synchronizing" if store.stream_epoch != store.committed_epoch else "streaming"
    else:
        state, cause = "waiting", replica.cause
    beat = store.image.newest_beat
    behind = None
    if beat is not None and beat.epoch == store.epoch:
        behind = max(0, beat.completed - store.applied)
    return ReplicaStatus(
        state=state,
        cause=shortened(cause),
        address="" if replica is None else replica.address,
        connected=connected,
        silent_ns=None if replica is None else replica.silent_ns(),
        epoch=store.epoch,
        durable=store.durable,
        applied=store.applied,
        checkpointed=store.checkpointed,
        as_of_wall_ns=store.as_of_ns,
        behind_operations=behind,
        stalled=shortened(stalled),
        refused="" if replica is None else shortened(replica.refused),
        damage=shortened(store.damage),
        unverified=store.image.unverified,
        promoted=store.promoted,
        journal_used_bytes=store.journal.used_bytes,
        journal_limit_bytes=store.journal.room.limit_bytes,
        image=store.image.home.root,
        as_of_here_wall_ns=store.image.age.here_wall_ns,
        as_of_age_ns=store.image.age.age_ns(),
    )


def program_status(capture: Capture, held_ns: int) -> ProgramStatus:
    """How a program's capture is now."""
    state, cause = "capturing", ""
    if not capture.capturing:
        state, cause = "stopped", capture.stop_reason
    elif held_ns:
        state, cause = "held", "a write waits for room in the spool"
    spool = capture.spool
    return ProgramStatus(state, shortened(cause), spool.epoch, spool.completed, held_ns)


def shortened(text: str) -> str:
    """A cause that fits on the page."""
    return text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 3] + "..."


class Reporter:
    """Puts a process's status on its page, at every half heartbeat.

    Arguments
    ---------
    runtime: the world.
    page: makes the page; on a full volume that may take several attempts.
    process: source, replica or program.
    set_id: name of the protected set.
    pid: of the process, for people.
    heartbeat_ns: how often news are due.
    look: makes the status as it is now.
    """

    def __init__(
        self,
        runtime: Runtime,
        page: Callable[[], StatusPage],
        process: str,
        set_id: str,
        pid: int,
        heartbeat_ns: int,
        look: Callable[[], SourceStatus | ReplicaStatus | ProgramStatus],
    ) -> None:
        self._runtime = runtime
        self._make_page = page
        self._page: StatusPage | None = None
        self._look = look
        self._heartbeat_ns = heartbeat_ns
        self._state: tuple[str, str] = ("", "")
        self._since_wall_ns = runtime.wall_ns()
        self._who = {
            "format": FORMAT,
            "process": process,
            "set": set_id,
            "pid": pid,
            "boot_id": runtime.boot_id,
            "started_wall_ns": runtime.wall_ns(),
            "heartbeat_ns": heartbeat_ns,
        }

    def report(self, ended: str = "") -> None:
        """Put up the status as it is now.

        ``ended`` says why the process is about to end, for the last report.
        """
        runtime, status = self._runtime, self._look()
        if (status.state, status.cause) != self._state:
            self._state = (status.state, status.cause)
            self._since_wall_ns = runtime.wall_ns()
        document: dict[str, Any] = self._who | {
            "incarnation": runtime.incarnation,
            "written_ns": runtime.now_ns(),
            "written_wall_ns": runtime.wall_ns(),
            "since_wall_ns": self._since_wall_ns,
            "ended": shortened(ended),
            "status": asdict(status),
        }
        if self._page is None:
            try:
                self._page = self._make_page()
            except NoSpace:
                return  # the log says what is wrong; a page comes when there is room
        self._page.put(document)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            self.report()
            await sleep_ns(self._heartbeat_ns // 2)


@asynccontextmanager
async def last_word(reporter: Reporter) -> AsyncIterator[None]:
    """An error that ends the block is the process's last report: it was not killed."""
    try:
        yield
    except Exception as error:
        with suppress(ReplicatorError, ValueError):
            reporter.report(f"with an error: {error}")
        raise
