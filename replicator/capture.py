"""Capture: the history of a protected set while its programs write.

Below the protected root each change becomes an operation: append its intent with the data
to the spool, change the file, raise the completed mark.  All of it is plain calls, so
nothing can come between.  Programs do it through :mod:`replicator.captured_volume`.

States::

    CAPTURING --spool full, policy resynchronize--> STOPPED --begin_epoch--> CAPTURING

While stopped, programs go on working and only the names are followed; the gap ends with a
new epoch, whose first image is brought over by block synchronization.  With the policy
``hold`` the writer waits in ``admit`` instead; a write that was never admitted is refused
with :class:`SpoolFull` before it touches anything.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from replicator.board import KeeperNotice
from replicator.catalogue import Catalogue, scan
from replicator.errors import NoSpace, SpoolFull, StorageError
from replicator.journal import LogFull
from replicator.operation import CONTENT_KINDS, Operation, OperationKind
from replicator.owned_volume import OwnedVolume, put_back_attributes
from replicator.records import HEADER_BYTES
from replicator.redo import NAMES_BEFORE, redo_names
from replicator.runtime.port import (
    Runtime,
    Volume,
    write_all,
)
from replicator.spool import Spool
from replicator.units import spell_size

if TYPE_CHECKING:
    from replicator.host.protected_set import ProtectedSet

RECORD_OVERHEAD_BYTES = 4 * HEADER_BYTES + 512
UNANNOUNCED_BYTES: Final = 1024
"""Left free in the segment in which admitted writes end, for changes without data, a rename say:
where calls cannot wait nobody announces those.  Room for some eight of them.  No promise: more of
them in a row, or behind a write that fills a segment of its own, may be refused.
"""


class SpoolPolicy(StrEnum):
    """What happens at the spool's hard limit."""

    RESYNCHRONIZE = "resynchronize"
    HOLD = "hold"


class Capture:
    """The protected set of one source and its history.

    Arguments
    ---------
    runtime: for time and events.
    volume, root: the volume below and the directory that is protected on it.
    spool: where the history goes; may be on another volume.
    policy: what to do when the spool is full.
    """

    def __init__(
        self, runtime: Runtime, volume: Volume, root: str, spool: Spool, policy: SpoolPolicy
    ) -> None:
        self.runtime = runtime
        self.volume = volume
        self.root = root.rstrip("/")
        self.spool = spool
        self.policy = policy
        self.capturing = False
        self.stop_reason = "not started"
        self._promises: deque[int] = deque()
        """What was admitted as one write and is not written yet, oldest first."""
        self._batch: list[int] = []
        """What was admitted as several writes and is not written yet: one element for each."""

    # -- history -------------------------------------------------------------------

    def begin_epoch(self, epoch: int, history: bytes = b"") -> None:
        """Start a history whose operation 0 is the image as it is now; plain calls only.

        ``history`` is what tells it from any other of the same number (see ``genesis``).
        Raises SpoolFull, StorageError; then nothing is captured, and the board says why.
        """
        try:
            self._announce(0, False, "a new epoch is being begun")
            self.spool.begin_epoch(epoch, self._image_now(), history)
        except (SpoolFull, StorageError) as error:
            self.capturing = False
            self.stop_reason = f"no epoch can be begun: {error}"
            self.spool.room.notify()  # nobody waits for room in a history that is over
            self._announce(0, False, self.stop_reason)
            raise
        self.capturing = True
        self.stop_reason = ""
        self.runtime.emit("epoch", epoch)
        self._announce(epoch, True, "")

    def _image_now(self) -> Catalogue:
        """The names below the root with the sizes and inodes that they have now."""
        # What is there counts, not what was followed: somebody may have come in beside capture.
        return scan(self.volume, self.root, self.spool.catalogue)

    def continue_epoch(self) -> None:
        """Go on with the history that the spool holds."""
        self.capturing = True
        self.stop_reason = ""
        self.spool.post_marks()
        self._announce(self.spool.epoch, True, "")

    def _announce(self, epoch: int, capturing: bool, stop_reason: str) -> None:
        """Tell the sender how the history stands."""
        runtime, spool = self.runtime, self.spool
        spool.board.tell_sender(
            KeeperNotice(
                runtime.boot_id,
                runtime.incarnation,
                epoch,
                spool.history.hex(),
                capturing,
                stop_reason,
            )
        )

    def stop(self, reason: str) -> None:
        """End the captured history: what follows is not in it."""
        if self.capturing:
            self.capturing = False
            self.stop_reason = reason
            try:
                self.spool.end_history()
            except (LogFull, StorageError):
                # A restart must not take what is there for the whole history.
                with suppress(StorageError):
                    self.spool.abandon()
            self.runtime.emit("capture_stopped", reason)
            self.spool.room.notify()  # nobody waits for room in a history that is over
            self._announce(self.spool.epoch, False, reason)

    async def roll_forward(self, operation: Operation) -> None:
        """Carry out an unfinished intent, whatever part of it had happened already.

        A change of names that the file system refuses had been refused before, and is noted as
        failed.  Raises StorageError, LogFull: then the history cannot be continued.
        """
        volume, root, names = self.volume, self.root, self.spool.catalogue
        kind = operation.kind
        if kind not in CONTENT_KINDS:
            if not self._redone(operation):
                self.spool.outcome(0)
                return
        elif kind != OperationKind.SYNC and names.names_of(operation.file_id):
            name = names.names_of(operation.file_id)[0]
            # The program had it open: what its mode says by now was no hindrance.
            file = OwnedVolume(volume, root).open(root + name)
            try:
                if kind == OperationKind.WRITE:
                    await volume.admit(operation.length)
                    write_all(file, operation.offset, operation.data)
                elif kind == OperationKind.TRUNCATE:
                    file.truncate(operation.offset)
                else:
                    file.zero_range(operation.offset, operation.length)
            finally:
                file.close()
                put_back_attributes(volume, root + name, names.entries[name])
        names.apply(operation)

    def _redone(self, operation: Operation) -> bool:
        """Whether a change of names is there now; False when it cannot ever have happened."""
        if self.spool.catalogue.changes_nothing(operation):
            return True
        known = self.spool.catalogue.entries
        for path, must_exist in NAMES_BEFORE[operation.kind](operation):
            if (path in known) != must_exist:
                return False
            # What cannot be looked at may have happened: that error is not the change's own.
            self.volume.exists(self.root + path)
        try:
            redo_names(self.volume, self.root, operation)
        except NoSpace:
            raise
        except StorageError as refusal:
            self.runtime.emit("refused_before", str(refusal))
            return False
        return True

    # -- one operation (plain calls) -----------------------------------------------

    def intend(self, prefix: bytes, data: bytes, path: str) -> bool:
        """Append the intent; False when nothing is captured at present."""
        if data and (self._promises or self._batch):
            self._keep_promise(len(data))
        if not self.capturing:
            return False
        try:
            self.spool.append(prefix, data)
        except (LogFull, StorageError) as error:
            if self.policy == SpoolPolicy.HOLD:
                raise SpoolFull(
                    f"the spool has no room for {len(data)} bytes and holds the writer"
                    if isinstance(error, LogFull)
                    else f"the spool cannot be written: {error}",
                    path=path,
                ) from None
            self.stop(
                "the spool is full" if isinstance(error, LogFull) else f"the spool failed: {error}"
            )
            return False
        return True

    def _keep_promise(self, size_bytes: int) -> None:
        """A write comes that was admitted: what was promised to it is no longer held back."""
        promises, needed = self._promises, size_bytes + RECORD_OVERHEAD_BYTES
        if needed in promises:
            promises.remove(needed)
        elif self._batch and needed <= sum(self._batch):
            # Calls that were announced may be made as one.
            share = max(1, self._batch[-1] - RECORD_OVERHEAD_BYTES)
            del self._batch[-max(1, -(-size_bytes // share)) :]
        elif promises:
            promises.popleft()  # written otherwise than was said
        self.spool.room.notify()

    def names_operation(self, operation: Operation) -> Operation:
        return operation._replace(captured_ns=self.runtime.wall_ns())

    # -- back-pressure -------------------------------------------------------------

    def has_room(self, size_bytes: int) -> bool:
        """Whether an operation with so many bytes would find room in the spool now."""
        if self.policy != SpoolPolicy.HOLD or not self.capturing:
            return True
        return self._fits([size_bytes + RECORD_OVERHEAD_BYTES])

    def _fits(self, records: list[int]) -> bool:
        """Whether such records surely find room beside what was promised."""
        return self.spool.log.fits([*records, *self._promises, *self._batch], UNANNOUNCED_BYTES)

    def _refuse_impossible(self, size_bytes: int, writes: int = 1) -> None:
        log, needed = self.spool.log, -(-size_bytes // writes) + RECORD_OVERHEAD_BYTES
        if not log.room.can_ever_hold(needed, writes):
            what = "a write" if writes == 1 else f"{writes} writes together"
            raise SpoolFull(
                f"{what} of {size_bytes} bytes can never find room in this spool",
                path=log.directory,
                remedy=f"Give the spool at least {spell_size(4 * needed * writes)}.",
            )

    async def wait_for_room(self, size_bytes: int) -> None:
        """Wait for such room; nothing is promised, so look again before writing.

        Raises SpoolFull for what can never find room.
        """
        self._refuse_impossible(size_bytes)
        while not self.has_room(size_bytes):
            await self.spool.room

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        """Wait for room in the spool (policy hold) and below the volume's dirty limit.

        Raises SpoolFull for what can never find room.
        """
        if self.policy == SpoolPolicy.HOLD and self.capturing:
            self._refuse_impossible(size_bytes, writes)
            needed = -(-size_bytes // writes) + RECORD_OVERHEAD_BYTES
            if writes > 1:
                self._lapse()
            waited_since = 0
            while self.capturing and not self._fits([needed] * writes):
                if not waited_since:
                    waited_since = self.runtime.now_ns()
                    self.runtime.emit("writer_held", size_bytes)
                await self.spool.room
            if waited_since:
                self.runtime.emit("writer_released", self.runtime.now_ns() - waited_since)
            if writes > 1:
                self._batch = [needed] * writes
            else:
                self._promises.append(needed)
            admitted = False
            try:
                await self._admit_below(size_bytes)
                admitted = True
            finally:
                if not admitted:  # it will not write: what was promised to it is free again
                    if writes > 1:
                        self._lapse()
                    else:
                        with suppress(ValueError):
                            self._promises.remove(needed)
                    self.spool.room.notify()
        else:
            await self._admit_below(size_bytes)

    def _lapse(self) -> None:
        """Nobody will write what is left of several writes that were admitted together."""
        if self._batch:
            self._batch = []
            self.spool.room.notify()

    async def _admit_below(self, size_bytes: int) -> None:
        await self.volume.admit(size_bytes)
        if self.spool.volume is not self.volume:
            await self.spool.volume.admit(size_bytes)


def protect(
    config: str, patience_ns: int | None = None, accept_empty: bool = False
) -> ProtectedSet:
    """Open a protected set for a program that is no coroutine of ours.

    Every change made through what is returned is captured; see
    :class:`replicator.host.protected_set.ProtectedSet`.

    Arguments
    ---------
    config: the configuration file of the source.
    patience_ns: how long to wait while another program has the set; a default follows from
        the heartbeat.
    accept_empty: the set may have lost all its files since its history was kept last: they were
        removed on purpose.  Otherwise that is taken for a volume that is not mounted.

    Raises Locked, ForeignLog, EmptySet, SourceFenced, BadConfiguration, StorageError.
    """
    from replicator.host.protected_set import ProtectedSet

    return ProtectedSet(config, patience_ns, accept_empty)
