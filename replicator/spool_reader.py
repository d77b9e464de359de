"""The spool as the sender reads it: another process than the one that writes it.

The reader sees segments on disk and the marks on the :class:`~replicator.board.Board`; it
changes neither.  It hands out whole records exactly as they are stored, up to the completed
mark, an operation together with its outcome; they travel and are journalled in that form,
so checksum and chain are checked end to end.  Memory does not grow with the backlog.

Everything here is about one epoch, *pinned* when a session begins.  When the keeper begins
another, every later call raises :class:`HistoryEnded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from replicator.board import NOTICE, SENDER, Board, KeeperNotice, SenderNotice
from replicator.catalogue import Catalogue
from replicator.errors import DamagedLog, NotFound, ReplicatorError
from replicator.records import (
    HEADER_BYTES,
    InvalidRecord,
    RecordType,
    body_length,
    decode,
    genesis,
)
from replicator.runtime.channels import Signal
from replicator.runtime.port import File, Volume
from replicator.segments import (
    LogKind,
    completed_records,
    read_segment_header,
    segment_name,
    segment_numbers,
)
from replicator.untrusted import json_object, whole_number

_HEAD_BYTES: Final = 4096
_SCAN_BYTES: Final = 1 << 18
OPEN_SEGMENTS_LIMIT: Final = 4


class HistoryEnded(ReplicatorError):
    """There is nothing left to stream of this epoch; synchronize instead."""

    default_remedy = "Nothing: the source synchronizes at the next connection."


@dataclass(slots=True)
class SpoolCursor:
    """A place between two operations.

    ``sequence`` and ``chain`` are those of the operation before; ``total_bytes`` counts the
    records of the history up to here.
    """

    segment: int
    offset: int
    sequence: int
    chain: bytes
    total_bytes: int


@dataclass(frozen=True, slots=True)
class _OpenSegment:
    """A segment file and what its own header says."""

    file: File
    data_start: int
    before: int
    previous: bytes
    bytes_before: int
    names: bytes
    """The CATALOGUE record's payload."""

    def cursor(self, number: int) -> SpoolCursor:
        return SpoolCursor(number, self.data_start, self.before, self.previous, self.bytes_before)


class SpoolReader:
    """The history of one protected set, read from beside.

    Arguments
    ---------
    volume, directory: where the keeper puts the segments.
    board: where it says how far it is.
    set_id: name of the protected set; another one's spool is refused.
    """

    def __init__(self, volume: Volume, directory: str, board: Board, set_id: str) -> None:
        self._volume = volume
        self._directory = directory
        self._set_id = set_id
        self.board = board
        self.pinned = KeeperNotice()
        """The history that the present session is about."""
        self._files: dict[int, _OpenSegment] = {}

    # -- the history ---------------------------------------------------------------

    def pin(self) -> bool:
        """Turn to the present epoch; False while there is none, or capture has stopped."""
        notice = self.board.keeper_notice()
        if (notice.epoch, notice.history) != (self.pinned.epoch, self.pinned.history):
            self._close_all()
        self.pinned = notice
        return notice.epoch > 0

    @property
    def epoch(self) -> int:
        """The pinned epoch."""
        return self.pinned.epoch

    @property
    def history(self) -> bytes:
        """Tells the pinned epoch from any other of the same number."""
        return bytes.fromhex(self.pinned.history)

    @property
    def capturing(self) -> bool:
        """Whether programs go on adding to the pinned epoch."""
        notice = self.board.keeper_notice()
        return notice.capturing and self._is_pinned(notice)

    @property
    def stop_reason(self) -> str:
        """Why nothing is captured in the pinned epoch any more, for people."""
        notice = self.board.keeper_notice()
        if not self._is_pinned(notice):
            return "another epoch has begun"
        return notice.stop_reason

    def _is_pinned(self, notice: KeeperNotice) -> bool:
        return (notice.epoch, notice.history) == (self.pinned.epoch, self.pinned.history)

    def check(self) -> None:
        """Raises HistoryEnded when the pinned epoch is over."""
        if not self.capturing:
            raise HistoryEnded(f"capture stopped: {self.stop_reason}")

    @property
    def completed(self) -> int:
        """Number of the last operation that may be sent; of whatever epoch there is now."""
        return self.board.completed

    @property
    def waiting_bytes(self) -> int:
        """Bytes of records that the replica has not released."""
        notice = self.board.sender_notice()
        released = notice.released_bytes if notice.epoch == self.board.keeper_notice().epoch else 0
        return max(0, self.board.statistics[0] - released)

    @property
    def peak_bytes(self) -> int:
        """Most that ever waited."""
        return self.board.statistics[1]

    async def wait_for_notice(self, at_most_ns: int) -> None:
        """Return when the keeper's notice changed, or late."""
        await self.board.wait_for(NOTICE, at_most_ns)

    def progress(self) -> Signal:
        """Notified at the next completed operation or change of the history.

        The condition must be tested once more between this call and its await.
        """
        self.board.await_completion()
        return self.board.bell(SENDER)

    def look_again(self) -> None:
        """Wake who waits for progress: a ring may have been missed (see the board)."""
        self.board.bell(SENDER).notify()

    # -- what the sender tells the keeper ------------------------------------------

    def release(self, sequence: int, total_bytes: int) -> None:
        """The replica will never ask again for operations up to ``sequence``."""
        notice = self.board.sender_notice()
        known = notice.released if notice.epoch == self.epoch else 0
        if sequence > known:
            self.board.tell_keeper(
                SenderNotice(
                    boot=self.pinned.boot,
                    epoch=self.epoch,
                    released=sequence,
                    released_bytes=total_bytes,
                )
            )

    def end_epoch(self, floor: int, reason: str) -> None:
        """Ask for a new epoch, greater than ``floor``; the pinned one is over then."""
        notice = self.board.sender_notice()
        same = notice.epoch == self.epoch
        self.board.tell_keeper(
            SenderNotice(
                boot=self.pinned.boot,
                end_epoch=self.epoch,
                floor=floor,
                reason=reason,
                epoch=self.epoch,
                released=notice.released if same else 0,
                released_bytes=notice.released_bytes if same else 0,
            )
        )

    # -- places --------------------------------------------------------------------

    async def beginning(self) -> tuple[SpoolCursor, Catalogue] | None:
        """Before the first operation: the place, and the names, sizes and inodes there.

        None when the beginning of the history was released.
        """
        number = self._first_number()
        segment = await self._open(number)
        if segment.before != 0 or segment.previous != self._genesis():
            return None
        cursor = segment.cursor(number)
        try:
            return cursor, Catalogue.from_json(json_object(segment.names))
        except ValueError as error:
            raise self._damaged(cursor, f"the names cannot be understood: {error}") from None

    async def cursor_after(self, sequence: int, chain: bytes) -> SpoolCursor | None:
        """Where to go on for a replica that has ``sequence`` with that link of the chain.

        None when the spool does not have what follows, or when the chain differs: then the
        replica's history is not this one.
        """
        completed = self.completed
        if sequence > completed:
            return None
        numbers = segment_numbers(self._volume, self._directory)
        best: SpoolCursor | None = None
        for number in reversed(numbers):
            try:
                segment = await self._open(number)
            except HistoryEnded:
                break
            if segment.before <= sequence:
                best = segment.cursor(number)
                break
        if best is None:
            return None
        if best.sequence == 0 and best.chain != self._genesis():
            return None
        while best.sequence < sequence:
            data, _, _ = await self._records(best, _SCAN_BYTES, completed)
            offset = 0
            if not data:
                return None
            while offset < len(data) and best.sequence <= sequence:
                record = decode(data, offset)
                if record.sequence > sequence:
                    break
                size = record.size_bytes
                best.sequence, best.chain = record.sequence, record.checksum
                best.offset += size
                best.total_bytes += size
                offset += size
        outcome = await self._outcome(best, 0, sequence) if sequence else b""
        if outcome:
            best.chain = decode(outcome, 0).checksum
            best.offset += len(outcome)
            best.total_bytes += len(outcome)
        return best if best.chain == chain else None

    def _first_number(self) -> int:
        numbers = segment_numbers(self._volume, self._directory)
        if not numbers:
            raise HistoryEnded("the spool is empty")
        return numbers[0]

    def _genesis(self) -> bytes:
        return genesis(self._set_id, self.epoch, self.history)

    # -- records -------------------------------------------------------------------

    async def read_batch(self, cursor: SpoolCursor, max_bytes: int) -> tuple[bytes, int]:
        """Completed records from the cursor on, which moves behind them.

        Returns the bytes and the offset of the last record in them; no bytes when there is
        nothing yet.  A record that is larger than ``max_bytes`` comes alone.  Contents are
        not verified yet.  Raises DamagedLog, HistoryEnded.
        """
        completed = self.completed
        data, last, number = await self._records(cursor, max_bytes, completed)
        length = len(data)
        if not data:
            return b"", 0
        if data[32:48] != cursor.chain:
            raise self._damaged(cursor, "the record does not follow the one before")
        # What happened to the last operation stands right behind it.
        outcome = await self._outcome(cursor, length, number)
        if outcome:
            last, data = length, data + outcome
            length += len(outcome)
        cursor.offset += length
        cursor.total_bytes += length
        cursor.sequence = number
        cursor.chain = data[last + 48 : last + 64]
        return data, last

    async def _records(
        self, cursor: SpoolCursor, max_bytes: int, completed: int
    ) -> tuple[bytes, int, int]:
        """Whole completed records at the cursor, which goes on to the next segment if need be.

        Returns them, where the last one begins, and its number.
        """
        self.check()
        while cursor.sequence < completed:
            try:
                segment = await self._open(cursor.segment)
            except NotFound:
                # Everything before the cursor was released, and the cursor stood at its end.
                await self._next_segment(cursor)
                continue
            data = await segment.file.read_at(cursor.offset, max(max_bytes, HEADER_BYTES))
            length, last, number = completed_records(data, self.epoch, completed)
            if not length:
                body = body_length(data, 0) if len(data) >= HEADER_BYTES else -1
                if body < 0:
                    await self._next_segment(cursor)
                    continue
                data = await segment.file.read_at(cursor.offset, HEADER_BYTES + body)
                length, last, number = completed_records(data, self.epoch, completed)
                if not length:
                    self.check()
                    raise self._damaged(cursor, "no record where one must be")
            return data[:length], last, number
        return b"", 0, 0

    async def _outcome(self, cursor: SpoolCursor, length: int, number: int) -> bytes:
        """The record behind, if it tells the outcome of the last operation."""
        segment = await self._open(cursor.segment)
        head = await segment.file.read_at(cursor.offset + length, HEADER_BYTES)
        if len(head) < HEADER_BYTES or head[4] != RecordType.OUTCOME:
            return b""
        body = body_length(head, 0)
        if body < 0 or int.from_bytes(head[16:24], "little") != number:
            return b""
        return await segment.file.read_at(cursor.offset + length, HEADER_BYTES + body)

    async def _next_segment(self, cursor: SpoolCursor) -> None:
        """Records end here although more are promised: the next segment must have them."""
        number = cursor.segment + 1
        try:
            segment = await self._open(number)
        except NotFound:
            self.check()
            raise self._damaged(cursor, "no record where one must be") from None
        if segment.before != cursor.sequence or segment.previous != cursor.chain:
            self.check()
            raise self._damaged(cursor, "records are missing before the next segment")
        cursor.segment, cursor.offset = number, segment.data_start

    async def _open(self, number: int) -> _OpenSegment:
        known = self._files.get(number)
        if known is not None:
            return known
        path = f"{self._directory}/{segment_name(number)}"
        try:
            file = self._volume.open(path)
        except NotFound:
            self.check()
            raise
        while len(self._files) >= OPEN_SEGMENTS_LIMIT:
            self._files.pop(next(iter(self._files))).file.close()
        found: _OpenSegment | None = None
        try:
            found = await self._read_head(file, path)
        finally:
            if found is None or number in self._files:  # useless, or another task was faster
                file.close()
        return self._files.setdefault(number, found)

    async def _read_head(self, file: File, path: str) -> _OpenSegment:
        head = await file.read_at(0, _HEAD_BYTES)
        try:
            record = read_segment_header(head, path, LogKind.SPOOL, self._set_id)
            if record.epoch != self.epoch:
                raise HistoryEnded("another epoch has begun")
            header = json_object(record.payload)
            data_start = record.size_bytes
            names = b""
            body = body_length(head, data_start) if len(head) >= data_start + HEADER_BYTES else -1
            if body >= 0 and head[data_start + 4] == RecordType.CATALOGUE:
                data = await file.read_at(data_start, HEADER_BYTES + body)
                names = decode(data, 0).payload
                data_start += len(data)
            return _OpenSegment(
                file,
                data_start,
                whole_number(header, "before"),
                record.previous,
                whole_number(header, "bytes_before", 0),
                names,
            )
        except InvalidRecord as invalid:
            self.check()
            raise DamagedLog(invalid.reason, path=path, offset=invalid.offset) from None

    def _damaged(self, cursor: SpoolCursor, reason: str) -> DamagedLog:
        path = f"{self._directory}/{segment_name(cursor.segment)}"
        return DamagedLog(reason, path=path, offset=cursor.offset)

    def _close_all(self) -> None:
        for segment in self._files.values():
            segment.file.close()
        self._files.clear()


__all__ = ["HistoryEnded", "SpoolCursor", "SpoolReader"]
