"""Recovery of a segmented log: verify, erase a torn tail, report damage.

Scans while checksum and chain hold.  At the first record that does not fit it looks
further: a valid record behind, whose ``floor`` says that the missing one had been safe,
makes it *damage* that is reported and left in place; otherwise it is the torn tail of what
was never promised and is erased.

In front of the place where a checkpoint says that redo begins nothing is needed any more.  What
does not fit there is passed over where the log can go on: from the record that ends just at that
place; if that one does not fit either, from the word of what follows.  With neither nobody knows
which number comes next, and it is damage.  Such a log has rotted, so what looks like a torn end of
it is damage, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replicator.aside import free_name, new_copy
from replicator.records import InvalidRecord, Record, RecordType, decode, find_valid
from replicator.runtime.port import File, Volume, write_all
from replicator.segments import (
    RECORD_TYPES,
    Damage,
    LogKind,
    Position,
    Segment,
    read_segment_header,
    segment_name,
    segment_numbers,
)
from replicator.untrusted import json_object, whole_number

COPY_BYTES: Final = 1 << 20


class LogRecovery:
    """What was found in a log's directory.

    Arguments
    ---------
    volume, directory: the log's.
    kind, set_id: whose it must be; raises ForeignLog in :meth:`scan` when it is not.
    visit: called with each valid record, control records included, in order; it may raise
        InvalidRecord to refuse one.
    """

    def __init__(
        self,
        volume: Volume,
        directory: str,
        kind: LogKind,
        set_id: str,
        visit: Callable[[Record, Position], None],
    ) -> None:
        self._volume = volume
        self._directory = directory
        self._kind = kind
        self._set_id = set_id
        self._visit = visit
        self.segments: list[Segment] = []
        """The segments that can be used, without what is torn off."""
        self.chain = b""
        """Checksum of the last chained record; empty when there is no segment."""
        self.sequence = 0
        self.tail_was_torn = False
        """Whether something that is no record stood behind the last valid one."""
        self.next_number = 1
        """No segment on disk has this number or a higher one."""
        self.passed_over: Damage | None = None
        """What does not fit, and is not needed any more; None when all does."""

    async def scan(
        self, first_segment: int, start_chain: bytes | None, redo_offset: int = 0
    ) -> Damage | None:
        """Read everything; afterwards the fields of this object say what there is.

        Arguments
        ---------
        first_segment: segments below it were freed before; they are removed.
        start_chain: the link that the first segment must continue; None takes its word.
        redo_offset: of the first segment: what is before it is not needed any more.
        """
        directory = self._directory
        numbers = segment_numbers(self._volume, directory)
        for number in [n for n in numbers if n < first_segment]:
            self._volume.unlink(f"{directory}/{segment_name(number)}")
        numbers = [n for n in numbers if n >= first_segment]
        self.next_number = max([first_segment, 1, *(n + 1 for n in numbers)])
        chain = start_chain
        expected = numbers[0] if numbers else 0
        if numbers and first_segment and expected != first_segment:
            path = f"{directory}/{segment_name(first_segment)}"
            return Damage(path, 0, self.sequence, "the segment is missing")
        for index, number in enumerate(numbers):
            path = f"{directory}/{segment_name(number)}"
            if number != expected + index:
                path = f"{directory}/{segment_name(expected + index)}"
                return Damage(path, 0, self.sequence, "the segment is missing")
            needless = 0 if index else redo_offset
            bad = await self._scan_segment(number, path, chain, needless, number == numbers[-1])
            chain = self.chain or None
            if bad is not None:
                offset, reason = bad
                if self._rots(last=index + 1 == len(numbers)) or await self._promised_later(
                    numbers[index:], offset
                ):
                    return Damage(path, offset, self.sequence, reason)
                await self._erase_tail(numbers[index:], path, offset)
                break
        return None

    async def _scan_segment(
        self, number: int, path: str, chain: bytes | None, redo_offset: int, last: bool
    ) -> tuple[int, str] | None:
        data = await self._content(path)
        bad = self._read_segment(data, number, path, 0, chain)
        if bad is not None and self._pass_over(data, number, path, bad, redo_offset, last):
            bad = self._read_segment(data, number, path, redo_offset, None)
        if bad is not None:
            # Zeros are space that was reserved.
            self.tail_was_torn = data.count(0, bad[0]) < len(data) - bad[0]
        return bad

    def _read_segment(
        self, data: bytes, number: int, path: str, offset: int, chain: bytes | None
    ) -> tuple[int, str] | None:
        """Take over the records from ``offset`` on; returns where they end, and why, if badly."""
        segment = self.segments[-1] if offset else None
        try:
            while offset < len(data):
                if segment is None:
                    record = read_segment_header(data, path, self._kind, self._set_id)
                    if chain is not None and record.previous != chain:
                        raise InvalidRecord(0, "the segment does not continue the one before")
                    header = json_object(record.payload)
                    before = whole_number(header, "before")
                    self.chain, self.sequence = record.previous, before
                    segment = Segment(number, path, before + 1)
                    segment.base_bytes = whole_number(header, "bytes_before", 0)
                    segment.reserved_bytes = whole_number(header, "reserved", 0)
                    self.segments.append(segment)
                    self._visit(record, Position(number, offset))
                else:
                    record = decode(data, offset)
                    if record.previous != self.chain:
                        raise InvalidRecord(offset, "the record does not follow the one before")
                    if record.type < RecordType.SEGMENT:
                        if record.sequence < self.sequence:
                            raise InvalidRecord(offset, "the sequence number goes back")
                        self._visit(record, Position(number, offset))  # may refuse it: first
                        self.chain, self.sequence = record.checksum, record.sequence
                    else:
                        self._visit(record, Position(number, offset))
                offset += record.size_bytes
                segment.end = offset
                if record.type >= RecordType.SEGMENT:
                    segment.data_start = offset
        except InvalidRecord as invalid:
            return offset, invalid.reason
        if segment is None:
            return 0, "the segment is empty"
        return None

    def _pass_over(
        self,
        data: bytes,
        number: int,
        path: str,
        bad: tuple[int, str],
        redo_offset: int,
        last: bool,
    ) -> bool:
        """Whether what does not fit is not needed, and the log can go on where redo begins.

        ``last``: no segment follows.
        """
        offset, reason = bad
        if offset >= redo_offset:
            return False
        link = self._ends_at(data, offset, redo_offset)
        if link is not None:
            chain, sequence = link.checksum, link.sequence
        elif (following := self._begins_at(data, redo_offset)) is not None:
            chain, sequence = following.previous, following.sequence - 1
        elif last or data.count(0, redo_offset) < len(data) - redo_offset:
            return False
        else:
            chain, sequence = b"", self.sequence  # the next segment says both
        self.passed_over = Damage(path, offset, self.sequence, reason)
        if not (self.segments and self.segments[-1].number == number):
            # Its header is gone: what it has reserved is the file's size, as it was made.
            self.segments.append(Segment(number, path, sequence + 1, redo_offset))
            self.segments[-1].reserved_bytes = len(data)
        self.segments[-1].end = redo_offset
        self.chain, self.sequence = chain, sequence
        return True

    def _ends_at(self, data: bytes, offset: int, end: int) -> Record | None:
        """The whole record of the history that ends just there; None when there is none."""
        data = data[:end]
        while (found := find_valid(data, offset)) is not None:
            record, at = found
            offset = at + record.size_bytes
            if offset == end:
                return record if self._goes_on(record) else None
        return None

    def _begins_at(self, data: bytes, offset: int) -> Record | None:
        """The whole record of the history that begins just there; None when there is none."""
        try:
            record = decode(data, offset)
        except InvalidRecord:
            return None
        return record if self._goes_on(record) else None

    def _goes_on(self, record: Record) -> bool:
        """Whether it is a link of this history, behind those that were read."""
        known = record.type in RECORD_TYPES[self._kind] and record.type < RecordType.SEGMENT
        return known and record.sequence > self.sequence

    async def _content(self, path: str) -> bytes:
        """All of a file, which does not stay open: there may be thousands."""
        file = self._volume.open(path)
        try:
            return await file.read_at(0, file.size_bytes)
        finally:
            file.close()

    def _rots(self, *, last: bool) -> bool:
        """Whether what stands behind the last valid record is rather rotten than torn.

        This log has rotted elsewhere.  A torn end that is taken for rot costs a comparison with
        the source; rot that is taken for a torn end leaves an image that nobody doubts.
        """
        return self.passed_over is not None and (self.tail_was_torn or not last)

    async def _promised_later(self, numbers: list[int], offset: int) -> bool:
        """Whether a valid record behind says that the invalid one had been safe."""
        missing = self.sequence + 1
        for index, number in enumerate(numbers):
            data = await self._content(f"{self._directory}/{segment_name(number)}")
            at = offset + 1 if index == 0 else 0
            while (found := find_valid(data, at)) is not None:
                record, at = found
                # A batch that was not compressed holds whole records of the source, whose
                # floors count other things; torn, it must not testify against itself.
                if record.type in RECORD_TYPES[self._kind] and record.floor >= missing:
                    return True
                at += record.size_bytes
        return False

    async def _erase_tail(self, numbers: list[int], path: str, offset: int) -> None:
        for number in reversed(numbers[1:]):
            self._volume.unlink(f"{self._directory}/{segment_name(number)}")
        if self.segments and self.segments[-1].path == path:
            file = self._volume.open(path)
            try:
                file.truncate(offset)
                await file.sync()
            finally:
                file.close()
        else:
            self._volume.unlink(path)
        await self._volume.sync_directory(self._directory)
        self.next_number = numbers[0] + (
            1 if self.segments and self.segments[-1].path == path else 0
        )


async def set_aside(
    volume: Volume, directory: str, kept: list[Segment], last_file: File | None, aside: str
) -> None:
    """Copy or move what recovery did not take over into ``aside``, which exists.

    Whole segments are moved.  Of the last one that is kept, what stands behind its last
    valid record is copied first and then cut off, through ``last_file``, its file; that is
    not synced yet.  Nothing is deleted; names that are taken get a number.  Raises NoSpace
    when there is no room for the copy; can be repeated.
    """
    numbers = {segment.number for segment in kept}
    for number in segment_numbers(volume, directory):
        if number not in numbers:
            name = segment_name(number)
            volume.rename(f"{directory}/{name}", free_name(volume, f"{aside}/{name}"))
    if last_file is None:
        return
    last = kept[-1]
    if last_file.size_bytes > last.end:
        name = free_name(volume, f"{aside}/{segment_name(last.number)}")
        await _copy_tail(volume, last_file, last.end, name)
        last_file.truncate(last.end)
    await volume.sync_directory(aside)


async def _copy_tail(volume: Volume, file: File, at: int, path: str) -> None:
    found = False
    async with new_copy(volume, path) as copy:
        while at < file.size_bytes:
            data = await file.read_at(at, COPY_BYTES)
            if data.count(0) < len(data):
                found = True
                await volume.admit(len(data))
                write_all(copy, at, data)
            at += len(data)
    if not found:
        volume.unlink(path)  # nothing but reserved space
