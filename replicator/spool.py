"""The spool: the durable queue of captured operations at the source, as its keeper sees it.

Each captured operation is appended as an *intent* before the file is touched, and counts
as *completed* when the file has been changed; an operation that failed or was cut short
gets an OUTCOME record in between.  Capture is a sequence of plain calls, so at most one
operation is unfinished at any moment: the last one.

Each step is put on the :class:`~replicator.board.Board`, from where the sender
(:mod:`replicator.spool_reader`), another process, learns what it may send.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from replicator.board import Board
from replicator.catalogue import Catalogue
from replicator.errors import SpoolFull
from replicator.journal import LogFull, LogKind, Position, SegmentedLog
from replicator.operation import OUTCOME, Operation, decode_operation
from replicator.records import InvalidRecord, Record, RecordType, genesis
from replicator.runtime.channels import Signal
from replicator.runtime.port import Volume
from replicator.units import spell_size
from replicator.untrusted import json_object


@dataclass(frozen=True, slots=True)
class RecoveredSpool:
    """What was found at the start of a source."""

    epoch: int
    """0 when there was no spool."""
    gap: str
    """Why the history cannot be continued; empty when it can."""
    unfinished: Operation | None
    """The last intent, to be rolled forward: nobody knows whether it reached the file.

    The catalogue is as it was before it.
    """


class Spool:
    """The captured history of one epoch, bounded by a hard limit.

    Arguments
    ---------
    volume, directory: where the segments are; the directory must exist.
    board: where the sender sees what is completed.
    set_id: name of the protected set, stored in each segment.
    segment_bytes, limit_bytes: see :class:`replicator.journal.SegmentedLog`.
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        board: Board,
        set_id: str,
        segment_bytes: int,
        limit_bytes: int,
    ) -> None:
        self.volume = volume
        self.board = board
        self.set_id = set_id
        self.log = SegmentedLog(
            volume,
            directory,
            LogKind.SPOOL,
            set_id,
            segment_bytes,
            limit_bytes,
            self._preamble,
            is_synced=False,  # a power loss ends the history, whatever of it is on the medium
        )
        self.catalogue = Catalogue()
        self.epoch = 0
        self.history = b""
        """Tells this epoch from any other of the same number."""
        self.completed = 0
        """The completed mark: number of the last operation whose outcome is known."""
        self.released_bytes = 0
        self.peak_bytes = 0
        """Most that ever waited."""
        self._told_used_bytes = -1
        self.room = Signal()
        """Notified when segments were freed."""

    def _preamble(self) -> bytes:
        return json.dumps(self.catalogue.to_json(inodes=True)).encode()

    @property
    def sequence(self) -> int:
        """Number of the last operation in the spool."""
        return self.log.sequence

    @property
    def waiting_bytes(self) -> int:
        """Bytes of records that the replica has not released."""
        return max(0, self.log.appended_bytes - self.released_bytes)

    # -- capture (plain calls) -----------------------------------------------------

    def append(self, prefix: bytes, data: bytes = b"") -> None:
        """Append the intent of the next operation; raises LogFull."""
        log = self.log
        sequence = log.sequence + 1
        log.append(RecordType.OPERATION, self.epoch, sequence, self.completed, prefix, data)
        self.board.intend(sequence)
        waiting = log.appended_bytes - self.released_bytes
        if waiting > self.peak_bytes:
            self.peak_bytes = waiting
        if log.used_bytes != self._told_used_bytes:
            self._tell_used()

    def outcome(self, done_bytes: int) -> None:
        """Note that the last operation failed (0) or was cut short."""
        log = self.log
        log.append(
            RecordType.OUTCOME,
            self.epoch,
            log.sequence,
            self.completed,
            OUTCOME.pack(log.sequence, done_bytes),
        )

    def complete(self) -> None:
        """Raise the completed mark to the last operation."""
        log = self.log
        self.completed = log.sequence
        self.board.complete(self.completed, log.appended_bytes, self.peak_bytes)

    def abandon(self) -> None:
        """Make the history unusable when not even its end can be noted: a gap that shows.

        All segments go: the older ones alone would be a sound history that ends earlier.
        """
        self.log.drop_all()

    def end_history(self) -> None:
        """Note that capture stops here; a restart will know that the history has a gap."""
        self.log.append(RecordType.END, self.epoch, self.log.sequence, self.completed, b"")

    def begin_epoch(self, epoch: int, catalogue: Catalogue, history: bytes = b"") -> None:
        """Throw the history away and begin another: the image now is its operation 0.

        Raises SpoolFull, StorageError; then there is no history until another is begun.
        """
        self.epoch, self.history = epoch, history
        self.catalogue = catalogue
        self.completed = 0
        self.log.clear(genesis(self.set_id, epoch, history), 0)
        try:
            self.log.roll(epoch, 1, 0)
        except LogFull:
            raise SpoolFull(
                f"the limit of {spell_size(self.log.room.limit_bytes)} does not hold one segment "
                f"with the names of {len(catalogue.entries)} files",
                path=self.log.directory,
                remedy="Give the spool a larger limit, or smaller segments.",
            ) from None
        self.released_bytes = 0
        self.post_marks()
        self.room.notify()

    def post_marks(self) -> None:
        """Put on the board where the history stands now."""
        self.board.intend(self.completed)
        self.board.complete(self.completed, self.log.appended_bytes, self.peak_bytes)
        self._tell_used()

    def _tell_used(self) -> None:
        self._told_used_bytes = self.log.used_bytes
        self.board.occupy(self._told_used_bytes)

    def close(self) -> None:
        """Close the segments' files: another process, or another keeper, may go on."""
        self.log.close()

    def release(self, sequence: int, total_bytes: int) -> None:
        """The replica will never ask again for what is numbered up to ``sequence``."""
        self.released_bytes = max(self.released_bytes, total_bytes)
        if self.log.free_through(sequence):
            self._tell_used()
            self.room.notify()

    # -- start ---------------------------------------------------------------------

    async def recover(self, epoch: int) -> RecoveredSpool:
        """Open the spool that an earlier process of the same boot left.

        ``epoch`` is what the source's own state says; a spool of another epoch is a gap, and
        so is one that ends before the completed mark that the board still shows.
        Raises ForeignLog.
        """
        pending: Operation | None = None
        failed = False
        settled = False
        named = False
        gap = ""

        def settle() -> None:
            nonlocal pending
            if pending is not None and not failed:
                self.catalogue.apply(pending)
            pending = None

        def visit(record: Record, _position: Position) -> None:
            nonlocal pending, failed, gap, named, settled
            if record.type == RecordType.CATALOGUE:
                settle()
                try:
                    self.catalogue = Catalogue.from_json(json_object(record.payload))
                except ValueError as error:
                    raise InvalidRecord(0, f"the names cannot be understood: {error}") from None
                named = True
            elif record.type == RecordType.OPERATION:
                settle()
                pending, failed, settled = decode_operation(record), False, False
            elif record.type == RecordType.OUTCOME:
                if len(record.prefix) != OUTCOME.size:
                    raise InvalidRecord(0, "an outcome of the wrong length")
                failed, settled = OUTCOME.unpack(record.prefix)[1] == 0, True
            elif record.type == RecordType.END:
                gap = "the spool was full and capture had stopped"
            if record.epoch != epoch:
                gap = f"the spool belongs to epoch {record.epoch}"

        damage = await self.log.recover(visit)
        last = pending
        if not named:
            gap = gap or "there is no spool, or one that was not finished"
        if damage is not None:
            gap = str(damage.error())
        # An outcome, whatever it says, was written when the operation had ended.
        unfinished = last if last is not None and not settled else None
        if unfinished is None:
            settle()
        self.epoch = epoch
        self.completed = self.log.sequence
        self.released_bytes = self.log.segments[0].base_bytes if self.log.segments else 0
        gap = gap or self._gap_by_the_board(epoch)
        return RecoveredSpool(epoch, gap, None if gap else unfinished)

    def _gap_by_the_board(self, epoch: int) -> str:
        """What the board, which outlives processes, knows of this history and the disk does not."""
        notice = self.board.keeper_notice()
        if notice.epoch != epoch or bytes.fromhex(notice.history) != self.history:
            return ""
        if not notice.capturing:
            return f"capture had stopped: {notice.stop_reason}"
        completed, appended_bytes = self.board.completed, self.board.statistics[0]
        if completed > self.log.sequence or appended_bytes > self.log.appended_bytes:
            return (
                f"the spool ends at operation {self.log.sequence}, "
                f"although {completed} operations were completed"
            )
        return ""
