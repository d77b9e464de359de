"""Where the parts of a source are, for the programs that capture and for the sender.

Below the spool's root::

    segments/        the spool
    source.a .b      the history's own state: epoch, what tells it from others, boot; whose it is
    board            memory shared by the two processes
    capture.lock     held by who keeps the history
    sender.lock      held by who sends
    status.source    how the sender is, and
    status.program   how the program that captures is: memory, see replicator/status_page.py
    fence.a .b       that the replica has taken over, see replicator/fence.py
    sender.starts    how often each was started
    program.starts
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from replicator.board import Board
from replicator.capture import Capture, SpoolPolicy
from replicator.capture_lock import CaptureLocks, take_capture_lock
from replicator.errors import AlreadyExists, ForeignLog
from replicator.history import HistoryKeeper, refuse_other_set
from replicator.protected_files import ProtectedFiles
from replicator.runtime.port import Lock, Runtime, Volume
from replicator.slots import StateSlots
from replicator.spool import Spool
from replicator.spool_reader import SpoolReader


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """How much is kept for the replica; sizes in bytes."""

    limit_bytes: int = 1 << 30
    segment_bytes: int = 8 << 20
    policy: SpoolPolicy = SpoolPolicy.RESYNCHRONIZE


class SourcePlace:
    """One protected set on one machine, as one process sees it.

    Arguments
    ---------
    runtime: the world.
    volume, root: where the protected set is.
    spool_volume, spool_root: where the spool is.  Where both are on one file system this
        must be the same object: then back-pressure is counted once.
    set_id, source_id: names of the protected set and of this source.
    options: see :class:`SpoolOptions`.
    accept_empty: the set may have lost all its files: see :mod:`replicator.set_identity`.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        spool_volume: Volume,
        spool_root: str,
        set_id: str,
        source_id: str,
        options: SpoolOptions,
        accept_empty: bool = False,
    ) -> None:
        self.runtime = runtime
        self.volume = volume
        self.root = root
        self.spool_volume = spool_volume
        self.set_id = set_id
        self.source_id = source_id
        self.options = options
        self.accept_empty = accept_empty
        self._spool_root = spool_root.rstrip("/")
        self._segments = f"{self._spool_root}/segments"
        self.capture_lock = f"{self._spool_root}/capture.lock"
        self.sender_lock = f"{self._spool_root}/sender.lock"
        self.fence = f"{self._spool_root}/fence"
        self.sender_status = f"{self._spool_root}/status.source"
        self.sender_starts = f"{self._spool_root}/sender.starts"
        self.program_starts = f"{self._spool_root}/program.starts"
        self.program_status = f"{self._spool_root}/status.program"

    async def prepare(self) -> None:
        """Make the directories that are missing, and all of them durable."""
        for where, path in (
            (self.volume, self.root),
            (self.spool_volume, self._spool_root),
            (self.spool_volume, self._segments),
        ):
            if not where.exists(path):
                with suppress(AlreadyExists):  # the other process was faster
                    where.mkdir(path)
            # One that is there may have been made by a process that died before this sync.
            if path != where.root:
                await where.sync_directory(path.rpartition("/")[0] or "/")

    async def refuse_foreign(self) -> None:
        """Raises ForeignLog when the spool's directory is a replica's, or another set's."""
        volume, root = self.spool_volume, self._spool_root
        if any(volume.exists(f"{root}/{name}") for name in ("image", "checkpoint.a")):
            raise ForeignLog(
                "it is the directory of a replica",
                path=root,
                remedy="Give the spool a directory of its own.",
            )
        refuse_other_set(await self._slots().look(), self.set_id, root)

    def _slots(self) -> StateSlots:
        return StateSlots(self.spool_volume, f"{self._spool_root}/source")

    def board(self) -> Board:
        """This process's view of the board."""
        return Board(self.spool_volume, f"{self._spool_root}/board", self.runtime.boot_id)

    def keeper(
        self,
        board: Board,
        exclusive: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> HistoryKeeper:
        """A keeper over what is on disk now; who holds the capture lock may open it."""
        spool = Spool(
            self.spool_volume,
            self._segments,
            board,
            self.set_id,
            self.options.segment_bytes,
            self.options.limit_bytes,
        )
        capture = Capture(self.runtime, self.volume, self.root, spool, self.options.policy)
        return HistoryKeeper(
            self.runtime,
            capture,
            self._slots(),
            self.set_id,
            self.source_id,
            exclusive,
            self.accept_empty,
        )

    def reader(self, board: Board) -> SpoolReader:
        """The spool for the sender."""
        return SpoolReader(self.spool_volume, self._segments, board, self.set_id)

    def files(self) -> ProtectedFiles:
        """The protected files for the sender."""
        return ProtectedFiles(self.volume, self.root)

    def capture_locks(self) -> CaptureLocks:
        """What who captures has to hold."""
        return CaptureLocks(
            self.runtime, self.spool_volume, self.capture_lock, self.volume, self.root
        )

    async def take_capture_lock(self, board: Board, patience_ns: int) -> Lock:
        """The locks for a program that wants to capture; raises Locked."""
        return await take_capture_lock(self.capture_locks(), board, patience_ns)
