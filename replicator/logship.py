"""A copy of a store by log shipping: closed logs are pulled, inspected and replayed.

::

    source                        copy
    closed logs  -- pull, one at a time, in order -->  inspection directory
                                        |  header, content, generation, log set, sequence
                                        v  durable, then renamed
                                  log directory
                                        |  redo, when due; checkpoint
                                        v
                                  databases, always dirty

Two tasks that know the marks of :mod:`replicator.logship_queue` and not each other: one copies
and inspects, the other replays.  What one of them finds that the files themselves must answer for
(a log that is bad all the same, a full volume) ends both, and the copy looks at what it has and
goes on from there; so does a process that starts again.  Nothing is remembered but in the files.

The copy is one log behind at least, for the open one is never shipped.  :meth:`activate` ends it:
what is inspected is replayed, what was open is taken back, and the files are those of a store
that was shut down cleanly.

Leaves out: several sources of one log (a copy pulls from the source alone), incremental
resynchronization after the two have parted (the copy says so and waits to be seeded anew), the
last logs being fetched from a source that still answers at an activation.
"""

from __future__ import annotations

from dataclasses import dataclass

from replicator.errors import ConnectionLost, NoSpace, ProtocolViolation
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_names import parse_log_name
from replicator.ese.log_set import LogSummary
from replicator.ese.recovery_files import joined
from replicator.ese.values import LogTime, Signature
from replicator.logship_activate import CopyUnusable, activate
from replicator.logship_copy import LogCopier, difference
from replicator.logship_frames import Refused
from replicator.logship_inspect import inspect, take_in
from replicator.logship_options import ALL_SAFEGUARDS, LogCopyOptions, LogShipSafeguards
from replicator.logship_queue import LogQueue, QueueReport
from replicator.logship_replay import CopyPlace, Replayer
from replicator.logship_start import find_copy
from replicator.logship_status import ACTIVE, AT_REST, BY_SOMEBODY, CopyEvent, CopyState, CopyStatus
from replicator.runtime import TimedOut, deadline, group, sleep_ns
from replicator.runtime.channels import Signal
from replicator.runtime.port import Runtime, Stream

COPYING, REPLAYING = "copying", "replaying"
DISK_FULL = -1808


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy says of itself.

    Arguments
    ---------
    state: see :class:`~replicator.logship_status.CopyState`.
    cause: why, for people; empty where the word says all.
    queue: None before it has looked at its files.
    """

    state: CopyState
    cause: str
    queue: QueueReport | None


class _LookAgain(Exception):
    """Both tasks end: what is there has to be looked at anew."""


class LogShippingCopy:
    """The copy's end; one object for each process.

    Arguments
    ---------
    runtime: the world.
    place: where the copy lies.
    options, safeguards: see there.
    """

    def __init__(
        self,
        runtime: Runtime,
        place: CopyPlace,
        options: LogCopyOptions,
        safeguards: LogShipSafeguards = ALL_SAFEGUARDS,
    ) -> None:
        self.runtime = runtime
        self.status = CopyStatus()
        self.queue: LogQueue | None = None
        self._place, self._options, self._guards = place, options, safeguards
        self._draw = runtime.random(f"copy signatures {runtime.boot_id} {runtime.incarnation}")
        self._replayer = self._new_replayer()
        self._last: LogSummary | None = None
        """The newest log that is inspected."""
        self._signature: Signature | None = None
        self._oldest_at_source = 0
        self._failed: set[str] = set()
        """Which of the two tasks has failed and has not gone well since."""
        self._changed = Signal()
        self._activating = False
        self._running = False

    def _new_replayer(self) -> Replayer:
        return Replayer(
            self._place,
            now=self._time,
            flush_signature=self._drawn,
            limit_pages=self._options.limit_pages,
            safeguards=self._guards,
        )

    def _time(self) -> LogTime:
        return log_time_at(self.runtime.wall_ns())

    def _drawn(self) -> Signature:
        return Signature(int(self._draw() * 0xFFFFFFFF) + 1, self._time())

    # -- what it says ------------------------------------------------------------------

    def report(self) -> CopyReport:
        """State and queues now."""
        queue = None if self.queue is None else self.queue.report()
        return CopyReport(self.status.state, self.status.cause, queue)

    def _on(self, event: CopyEvent, cause: str = "") -> None:
        if self.status.state in AT_REST and event not in BY_SOMEBODY:
            return
        if self.status.on(event, cause):
            self.runtime.emit("copy_state", self.status.state.value, cause)
        self._changed.notify()

    def _fails(self, task: str, cause: str) -> None:
        self._failed.add(task)
        self._on(CopyEvent.FAILS, cause)

    def _goes_well(self, task: str) -> None:
        self._failed.discard(task)
        if not self._failed and self.status.state is CopyState.FAILED:
            self._on(CopyEvent.RECOVERED)

    # -- the whole ---------------------------------------------------------------------

    async def run(self) -> None:
        """Copy and replay until cancelled or activated.

        Raises StorageError when the copy's own volume fails otherwise than by being full.
        """
        self._running = True
        try:
            while not self._activating:
                try:
                    if await self.look():
                        async with group() as tasks:
                            tasks.spawn(self._until_activated(), "activation")
                            tasks.spawn(self._copy(), COPYING)
                            tasks.spawn(self._replay(), REPLAYING)
                    else:
                        await self._changed_within(self._options.retry_ns)
                except _LookAgain:
                    if not self._activating:
                        await self._changed_within(self._options.retry_ns)
        finally:
            self._running = False
            self._changed.notify()

    async def _until_activated(self) -> None:
        while not self._activating:
            await self._changed
        raise _LookAgain

    async def _changed_within(self, time_ns: int) -> None:
        try:
            async with deadline(time_ns):
                await self._changed
        except TimedOut:
            return

    async def look(self) -> bool:
        """Look at what is there, as a start does; returns whether it is a copy to go on with.

        What was on its way and was never counted is thrown away.  Raises StorageError.
        """
        place = self._place
        if place.is_opened:
            if self.status.state not in ACTIVE:
                self._on(CopyEvent.ACTIVATED, "an activation was begun before")
            return False
        if self.status.state in AT_REST - {CopyState.SEEDING}:
            return False
        try:
            return await self._find()
        except EseError as error:
            self._fails(REPLAYING, f"{error}; what to do: {error.remedy}")
        except NoSpace as error:
            self._fails(COPYING, error.advice)
        return False

    async def _find(self) -> bool:
        replayer = self._new_replayer()
        found = await find_copy(self.runtime, self._place, replayer, self._guards)
        if found is None:
            if self.status.state is CopyState.INITIALIZING:
                where = self._place.log_directory
                self._on(CopyEvent.NO_DATABASE, f"no database lies in {where}")
            return False
        if self.status.state is CopyState.SEEDING:
            self._on(CopyEvent.SEEDED)
        if self.queue is not None:
            found.queue.heard_before(self.queue)
        self._replayer, self._signature = replayer, found.signature
        self.queue, self._last = found.queue, found.last
        return True

    # -- copying and inspecting --------------------------------------------------------

    async def _copy(self) -> None:
        """Keep a connection and pull what there is to pull."""
        options = self._options
        while True:
            if self.status.state in AT_REST:
                raise _LookAgain
            stream: Stream | None = None
            try:
                async with deadline(options.patience_ns):
                    stream = await self.runtime.connect(options.source_address)
                copier = LogCopier(stream, options.set_id, options.patience_ns)
                if not self._failed:
                    self._on(CopyEvent.CONNECTED)
                await self._pull(copier)
            except TimedOut:
                self._on(CopyEvent.DISCONNECTED, "the source does not answer")
            except (ConnectionLost, ProtocolViolation) as error:
                self._on(CopyEvent.DISCONNECTED, error.advice)
            except Refused as refusal:
                if refusal.code == "missing":
                    cause = f"{refusal}: the copy has to be seeded anew"
                    self._on(CopyEvent.BEYOND_REPAIR, cause)
                else:
                    self._fails(COPYING, refusal.advice)
            except EseError as error:
                self._fails(COPYING, f"{error}; what to do: {error.remedy}")
            except NoSpace as error:
                self._fails(COPYING, error.advice)
                raise _LookAgain from error
            finally:
                if stream is not None:
                    stream.abort()
            await sleep_ns(options.retry_ns)

    async def _pull(self, copier: LogCopier) -> None:
        """Pull logs, the oldest first, as long as the connection holds."""
        queue, options = self._queue(), self._options
        lagged = bool(options.delay.lag_ns or options.delay.behind_logs)
        compared = False
        while self.status.state not in AT_REST:
            listing = await copier.listing(queue.inspected, queue.replayed, lagged=lagged)
            queue.heard(listing.newest, listing.wall_ns, listing.log_bytes)
            self._oldest_at_source = listing.oldest
            if not compared or self.status.state is CopyState.RESYNCHRONIZING:
                await self._compare(copier, listing.oldest)
                compared = True
                if self.status.state is CopyState.RESYNCHRONIZING:
                    self._on(CopyEvent.AGREES)
            if queue.wanted <= listing.newest and self.status.state not in AT_REST:
                await self._one(copier, queue, queue.wanted)
                self._goes_well(COPYING)
            else:
                await sleep_ns(options.poll_ns)

    def _queue(self) -> LogQueue:
        assert self.queue is not None  # look() comes first
        return self.queue

    async def _compare(self, copier: LogCopier, oldest: int) -> None:
        """Whether the newest log here is the source's own, as far as that still has it."""
        if self._last is None or (self._last.generation or 0) < oldest:
            return
        parted = await difference(copier, self._last)
        if parted:
            self._on(CopyEvent.BEYOND_REPAIR, parted)

    async def _one(self, copier: LogCopier, queue: LogQueue, generation: int) -> None:
        """Copy and inspect one log; a bad one is copied again, so often as is configured."""
        place, options = self._place, self._options
        offered = await copier.offered(generation)
        path = joined(place.inspection_directory, place.named(generation, offered.name))
        for left in reversed(range(options.tries)):
            await copier.fetch(offered, place.volume, path, options.piece_bytes)
            queue.has_copied(generation)
            found: LogSummary | None = None
            try:
                if self._guards.inspect_before_replay:
                    found = await inspect(place.volume, path, self._last, self._signature)
            except EseError as error:
                place.volume.unlink(path)
                queue.discard_from(generation)
                self.runtime.emit("log_refused", generation, str(error))
                if not left:
                    raise
                continue
            await take_in(
                place.volume, path, place.log_directory, sync=self._guards.sync_before_inspected
            )
            queue.has_inspected(generation, self.runtime.now_ns(), offered.as_of_ns)
            self._last = found
            self.runtime.emit("log_inspected", generation)
            self._changed.notify()
            return

    # -- replaying ---------------------------------------------------------------------

    async def _replay(self) -> None:
        """Replay what is due, and wait for the next log."""
        queue, options = self._queue(), self._options
        while True:
            now_ns = self.runtime.now_ns()
            due = self._due(now_ns)
            if due <= queue.replayed or self.status.state in AT_REST:
                next_ns = queue.next_due_ns(options.delay)
                if next_ns is None or next_ns <= now_ns:
                    await self._changed
                else:
                    await self._changed_within(next_ns - now_ns)
                continue
            try:
                await sleep_ns(options.replay_per_log_ns * (due - queue.replayed))
                await self._replayer.run(
                    due, self._oldest_at_source, lambda doing: self.runtime.emit("activity", doing)
                )
            except EseError as error:
                self._throw_away(error)
                self._fails(REPLAYING, f"{error}; what to do: {error.remedy}")
                raise _LookAgain from error
            except NoSpace as error:
                self._fails(REPLAYING, error.advice)
                raise _LookAgain from error
            queue.has_replayed(due)
            self._goes_well(REPLAYING)
            self.runtime.emit("log_replayed", due)

    def _due(self, now_ns: int) -> int:
        """The last log of the next run of replay; the last that was replayed for none.

        Pages may hold changes of logs that a run before had come to, which died or whose
        transactions were open.  These are redone at once, whatever lag is configured: with fewer
        of them no database is what it was at any time.
        """
        queue, options, required = self._queue(), self._options, self._replayer.required
        if queue.replayed < required:
            return required if queue.inspected >= required else queue.replayed
        return min(queue.due(now_ns, options.delay), queue.replayed + options.logs_a_run)

    def _throw_away(self, error: EseError) -> None:
        """A log that cannot be replayed goes away: it is copied again."""
        directory, _, name = (error.path or "").rpartition("/")
        volume = self._place.volume
        if directory != self._place.log_directory.rstrip("/") or parse_log_name(name) is None:
            return
        if error.number != DISK_FULL and volume.exists(error.path or ""):
            volume.unlink(error.path or "")
            self.runtime.emit("log_discarded", 0, str(error))

    # -- what somebody does ------------------------------------------------------------

    def suspend(self, cause: str = "somebody suspended it") -> None:
        """Stop copying and replaying; the source keeps its logs meanwhile."""
        self._on(CopyEvent.SUSPENDED, cause)

    def resume(self) -> None:
        """Go on; raises ValueError where it is not suspended."""
        self._failed.clear()
        self._on(CopyEvent.RESUMED)

    async def activate(self, *, paced: bool = True) -> int:
        """End the copy: make its files a store that was shut down cleanly.

        Arguments
        ---------
        paced: whether the logs that wait take the time that their replay would.

        Returns the last generation that is in it; 0 where no log ever came.  Raises CopyUnusable
        with the engine's number, and StorageError; it can be called again, by another process too.
        """
        self._activating = True
        self._changed.notify()
        while self._running:
            await self._changed
        self._on(CopyEvent.ACTIVATED)
        if self.queue is not None and paced:
            waiting = self.queue.inspected - self.queue.replayed
            await sleep_ns(self._options.replay_per_log_ns * waiting)
        last = await activate(
            self._place,
            now=self._time,
            flush_signature=self._drawn,
            limit_pages=self._options.limit_pages,
        )
        if self.status.state is CopyState.MOUNTING:
            self._on(CopyEvent.OPENED)
        return last


__all__ = ["CopyReport", "CopyUnusable", "LogShippingCopy"]
