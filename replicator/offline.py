"""Reading a spool or journal while no replicator runs: what is there, and is it whole?

Nothing here decides anew what is valid.  :func:`read_log` runs the recovery of
:class:`~replicator.journal.SegmentedLog` over a volume that cannot be written
(:mod:`replicator.readonly`), so the answer *is* what a start would find, and a :class:`Survey`
looks at each record on the way: what it holds, and whether its content makes sense.

Memory: one segment at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from replicator.batch import NumberedOperation, unpack_body, verify_batch
from replicator.catalogue import Catalogue
from replicator.committed_pages import read_commit
from replicator.errors import BadInput, DamagedLog, ForeignLog, ProtocolViolation, ReplicatorError
from replicator.journal import SegmentedLog
from replicator.offline_place import WHAT_TO_NAME, Finding, FindingKind
from replicator.operation import OUTCOME, decode_operation
from replicator.protocol import BatchHeader
from replicator.readonly import ReadOnlyVolume, run_to_end
from replicator.records import InvalidRecord, Record, RecordType, decode, find_valid
from replicator.segments import (
    Damage,
    LogKind,
    Position,
    read_segment_header,
    segment_name,
    segment_numbers,
)

Progress = Callable[[int, int], None]
"""Called with (bytes read, bytes in all)."""
Visit = Callable[[Record, Position], None]

_UNLIMITED_BYTES: Final = 1 << 60


@dataclass(slots=True)
class OperationRange:
    """The operations of one epoch that some part of a log holds."""

    first: int
    last: int
    count: int = 0


@dataclass(slots=True)
class SegmentSummary:
    """The figures of one segment; times are the source's wall clock in nanoseconds."""

    number: int
    path: str
    file_bytes: int
    used_bytes: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    records: Counter[str] = field(default_factory=Counter)
    operations: dict[int, OperationRange] = field(default_factory=dict)
    """By epoch."""
    first_captured_ns: int | None = None
    last_captured_ns: int | None = None
    packed_bytes: int = 0
    unpacked_bytes: int = 0
    """Records of the source in this segment's batches, before and after compression."""

    def take_operations(self, epoch: int, operations: list[NumberedOperation]) -> None:
        for number, operation, _chain in operations:
            held = self.operations.setdefault(epoch, OperationRange(number, number))
            held.last = number
            held.count += 1
            if operation.captured_ns:
                if self.first_captured_ns is None:
                    self.first_captured_ns = operation.captured_ns
                self.last_captured_ns = operation.captured_ns


def _open_header(volume: ReadOnlyVolume, directory: str) -> tuple[LogKind, str] | None:
    """Kind and set by the first segment header that can be read; None when there is none.

    Raises ForeignLog when it is of another release.
    """
    foreign: ForeignLog | None = None
    for number in segment_numbers(volume, directory):
        path = f"{directory}/{segment_name(number)}"
        file = volume.open(path)
        data = run_to_end(file.read_at(0, file.size_bytes))
        for kind in LogKind:
            try:
                record = read_segment_header(data, path, kind, None)
            except InvalidRecord:
                break
            except ForeignLog as error:
                foreign = error
                continue
            return kind, str(json.loads(record.payload).get("set", ""))
    if foreign is not None:
        raise foreign
    return None


class Survey:
    """Looks at each record of a log: its figures, and whether its content makes sense."""

    def __init__(self, directory: str, kind: LogKind, set_id: str) -> None:
        self.directory = directory
        self.kind = kind
        self.set_id = set_id
        self.segments: list[SegmentSummary] = []
        self.findings: list[Finding] = []
        self.epochs: dict[int, OperationRange] = {}
        self.newest: tuple[Record, Position] | None = None
        self.newest_operation: tuple[int, int] = (0, 0)
        """Epoch and number of the last operation in the log."""
        self.newest_captured_ns = 0
        self.commits: dict[int, dict[str, Any]] = {}
        """Document of each committed resynchronization, by epoch, without its names."""
        self.names: dict[int, Catalogue] = {}
        """Names at operation 0 of each epoch in ``commits``."""
        self.ended = False
        self._chains: dict[int, bytes] = {}
        self._passed_over = False
        """Recovery left out records before this one, which nobody needs any more."""

    def visit(self, record: Record, position: Position) -> None:
        """Take one valid record; raises InvalidRecord when it cannot be what it says."""
        kind = record.type
        if not self.segments or self.segments[-1].number != position.segment:
            path = f"{self.directory}/{segment_name(position.segment)}"
            self.segments.append(SegmentSummary(position.segment, path, 0))
        if kind < RecordType.SEGMENT and self.kind == LogKind.JOURNAL:
            last = self.newest[0].sequence if self.newest else record.sequence - 1
            self._passed_over = record.sequence > last + 1
        if kind == RecordType.SEGMENT:
            pass
        elif kind == RecordType.CATALOGUE:
            self._sensible(position, "names", lambda: _read_names(record.payload))
        elif kind not in _TYPES_OF[self.kind]:
            self._senseless(position, f"a record of type {kind} has no place in a {self.kind}")
        elif kind == RecordType.OPERATION:
            self._take_operation(record, position)
        elif kind == RecordType.OUTCOME:
            if len(record.prefix) != OUTCOME.size:
                raise InvalidRecord(position.offset, "an outcome of the wrong length")
        elif kind == RecordType.BATCH:
            self._take_batch(record, position)
        elif kind == RecordType.COMMIT:
            self._sensible(position, "the commit", lambda: self._take_commit(record))
        if kind < RecordType.SEGMENT:
            self.newest = (record, position)
            self.ended = kind == RecordType.END
        self._count(record, position)

    def _count(self, record: Record, position: Position) -> None:
        segment = self.segments[-1]
        segment.used_bytes = position.offset + record.size_bytes
        names = {int(t): t.name.lower() for t in RecordType}
        segment.records[names.get(record.type, f"type {record.type}")] += 1
        if record.type < RecordType.SEGMENT:
            segment.first_sequence = segment.first_sequence or record.sequence
            segment.last_sequence = record.sequence

    def _take_operation(self, record: Record, position: Position) -> None:
        operation = decode_operation(record)
        held = self.epochs.get(record.epoch)
        if held is not None and record.sequence != held.last + 1:
            self._senseless(position, f"operation {record.sequence} follows operation {held.last}")
        self._take(record.epoch, [(record.sequence, operation, record.checksum)])

    def _take_batch(self, record: Record, position: Position) -> None:
        try:
            header = BatchHeader.decode(record.prefix)
            raw = unpack_body(record.prefix + record.payload, header)
            operations = verify_batch(raw, header)
        except ProtocolViolation as violation:
            self._senseless(position, violation.message)
            return
        if header.epoch != record.epoch:
            self._senseless(position, f"a batch of epoch {header.epoch} in one of {record.epoch}")
        self._follow(header, position)
        segment = self.segments[-1]
        segment.unpacked_bytes += header.raw_bytes
        segment.packed_bytes += len(record.payload)
        self._take(header.epoch, operations)

    def _follow(self, header: BatchHeader, position: Position) -> None:
        """The operations of an epoch must follow each other from batch to batch too.

        A connection that is opened anew may bring operations that are there already; a gap
        is never right.
        """
        held = self.epochs.get(header.epoch)
        due = 1 if held is None else held.last + 1
        # Where a history begins, its first link is known to the source only.
        chain = self._chains.get(header.epoch, header.chain_before)
        if self._passed_over:
            pass
        elif held is not None and header.first > due:
            self._senseless(position, f"operation {header.first} came where {due} was due")
        elif header.first == due and header.chain_before != chain:
            self._senseless(position, f"operation {due} does not follow the one before")
        self._chains[header.epoch] = header.chain_after

    def _take(self, epoch: int, operations: list[NumberedOperation]) -> None:
        self.segments[-1].take_operations(epoch, operations)
        for number, operation, _chain in operations:
            held = self.epochs.setdefault(epoch, OperationRange(number, number))
            held.last = number
            held.count += 1
            self.newest_operation = (epoch, number)
            self.newest_captured_ns = operation.captured_ns or self.newest_captured_ns

    def _take_commit(self, record: Record) -> None:
        document = read_commit(record.payload)
        self.names[record.epoch] = Catalogue.from_json(document["catalogue"])
        self.commits[record.epoch] = {
            "path": str(document["path"]),
            "index": str(document["index"]),
            "slots": document["slots"],
            "catalogue": document["catalogue"],
            "fence": int(document["fence"]),
        }

    def _sensible(self, position: Position, what: str, read: Callable[[], None]) -> None:
        try:
            read()
        except ReplicatorError as error:
            self._senseless(position, error.message)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self._senseless(position, f"{what} cannot be understood: {error}")

    def _senseless(self, position: Position, reason: str) -> None:
        self.findings.append(
            Finding(
                FindingKind.SENSELESS,
                reason,
                f"{self.directory}/{segment_name(position.segment)}",
                position.offset,
                self.last_good(),
                "Its checksum holds, so the replicator wrote it so: keep the directory and "
                "report this. A synchronization from the source makes the copy whole again.",
            )
        )

    def last_good(self) -> str:
        """The last record that was in order, in words."""
        if self.newest is None:
            return "none"
        words = f"record {self.newest[0].sequence:,}"
        epoch, number = self.newest_operation
        if number:
            operation = f"operation {number:,} of epoch {epoch}"
            words = operation if self.kind == LogKind.SPOOL else f"{words}, {operation}"
        return words


_TYPES_OF: Final = {
    LogKind.SPOOL: {RecordType.OPERATION, RecordType.OUTCOME, RecordType.END},
    LogKind.JOURNAL: {RecordType.BATCH, RecordType.COMMIT},
}


def _read_names(payload: bytes) -> None:
    Catalogue.from_json(json.loads(payload))


@dataclass(frozen=True, slots=True)
class LogReading:
    """What was found in one log."""

    directory: Path
    survey: Survey
    findings: list[Finding]
    numbers: list[int]
    redo_from: Position
    """Where the checkpoint says that redo begins; zeros when nothing says so."""

    @property
    def operations(self) -> int:
        return sum(held.count for held in self.survey.epochs.values())

    @property
    def used_bytes(self) -> int:
        return sum(segment.used_bytes for segment in self.survey.segments)


def read_log(directory: Path, redo_from: Position, progress: Progress) -> LogReading:
    """Check a whole log as a start would, and look at each of its records.

    ``redo_from``: from the checkpoint; segments below it were on their way out.
    Raises ForeignLog and BadInput.
    """
    volume = ReadOnlyVolume()
    opened = _open_header(volume, str(directory))
    numbers = segment_numbers(volume, str(directory))
    if opened is None:
        return _headless(volume, directory, numbers, redo_from.segment)
    survey = Survey(str(directory), *opened)
    findings = walk(directory, opened, redo_from, survey.visit, progress, survey.last_good)
    sizes = {n: volume.open(f"{directory}/{segment_name(n)}").size_bytes for n in numbers}
    for segment in survey.segments:
        segment.file_bytes = sizes[segment.number]
    return LogReading(directory, survey, survey.findings + findings, numbers, redo_from)


def _headless(
    volume: ReadOnlyVolume, directory: Path, numbers: list[int], first_segment: int
) -> LogReading:
    """No segment opens as one should: a log that was never begun, or one that is gone."""
    empty = True
    for number in numbers:
        path = f"{directory}/{segment_name(number)}"
        file = volume.open(path)
        data = run_to_end(file.read_at(0, file.size_bytes))
        empty = empty and not data.strip(b"\0")
        if find_valid(data, 0) is not None:
            raise DamagedLog("no segment has a valid header", path=path, offset=0)
    if not empty:
        raise BadInput(
            "no valid record in any segment: this is no log, or all of it was overwritten",
            path=str(directory),
            remedy=WHAT_TO_NAME,
        )
    path = f"{directory}/{segment_name(numbers[0])}"
    if len(numbers) > 1 or first_segment:
        # A second segment is begun when the first is full, and a checkpoint names a segment
        # that it has read: this log had records.
        raise DamagedLog("all that the log held was overwritten with zeros", path=path, offset=0)
    torn = Finding(FindingKind.TORN, "the log was never begun", path, 0, "none", _TORN_REMEDY)
    survey = Survey(str(directory), LogKind.JOURNAL, "")
    return LogReading(directory, survey, [torn], numbers, Position(0, 0))


def walk(
    directory: Path,
    opened: tuple[LogKind, str],
    redo_from: Position,
    visit: Visit,
    progress: Progress,
    last_good: Callable[[], str],
) -> list[Finding]:
    """Let recovery walk over a log and say what it would have done."""
    total_bytes = sum(
        (directory / segment_name(n)).stat().st_size
        for n in segment_numbers(ReadOnlyVolume(), str(directory))
    )
    read_bytes = 0

    def opening(_path: str, size_bytes: int) -> None:
        nonlocal read_bytes
        progress(min(read_bytes, total_bytes), total_bytes)
        read_bytes += size_bytes

    volume = ReadOnlyVolume(opening)
    kind, set_id = opened
    log = SegmentedLog(volume, str(directory), kind, set_id, 1 << 20, _UNLIMITED_BYTES)
    damage = run_to_end(log.recover(visit, redo_from.segment, redo_offset=redo_from.offset))
    passed = _passed_over(log.passed_over)
    if damage is not None:
        behind = _behind(directory, kind, damage.path, damage.offset)
        return [
            *passed,
            Finding(
                FindingKind.DAMAGE,
                f"{damage.reason}, and records behind it say that it had been promised",
                damage.path,
                damage.offset,
                last_good(),
                _DAMAGE_REMEDY[kind],
            ),
            *behind,
        ]
    lost = [e for e in volume.erasures if int(Path(e.path).stem) >= redo_from.segment]
    torn = _torn(directory, lost[-1].path, lost[-1].offset, last_good()) if lost else []
    return [*passed, *torn]


def _passed_over(damage: Damage | None) -> list[Finding]:
    """What does not fit and is not needed any more."""
    if damage is None:
        return []
    message = f"{damage.reason}; the checkpoint includes it, and the next start passes over it"
    return [Finding(FindingKind.NOTE, message, damage.path, damage.offset)]


_DAMAGE_REMEDY: Final = {
    LogKind.JOURNAL: "Keep the directory as it is and start the replica: it sets the damaged "
    "segments aside and asks the source for what is missing, or synchronizes.",
    LogKind.SPOOL: "Keep the directory as it is and start the source: it begins a new epoch "
    "and synchronizes the replica.",
}
_TORN_REMEDY: Final = "Nothing: the next start erases it. None of it had been promised."


def _torn(directory: Path, path: str, offset: int, last_good: str) -> list[Finding]:
    """The torn tail that recovery would erase; nothing when it is only unused space."""
    volume = ReadOnlyVolume()
    file = volume.open(path)
    data = run_to_end(file.read_at(0, file.size_bytes))
    later = [n for n in segment_numbers(volume, str(directory)) if n > int(Path(path).stem)]
    if offset and not later and not data[offset:].strip(b"\0"):
        return []
    try:
        decode(data, offset)
        reason = "the record does not follow the one before"
    except InvalidRecord as invalid:
        reason = invalid.reason
    size = len(data) - offset
    tail = f"{size:,} bytes" + (f" and {len(later)} segments" if later else "")
    message = f"{reason}; nothing behind it was ever promised ({tail})"
    return [Finding(FindingKind.TORN, message, path, offset, last_good, _TORN_REMEDY)]


def _behind(directory: Path, kind: LogKind, path: str, offset: int) -> list[Finding]:
    """What still stands behind a damaged place, and what else is damaged there.

    A batch that was not compressed holds whole records of the source: where the batch
    itself is damaged they are found, and are not counted.
    """
    findings: list[Finding] = []
    volume = ReadOnlyVolume()
    bad_number, valid, first, last = int(Path(path).stem), 0, 0, 0
    for number in segment_numbers(volume, str(directory)):
        if number < bad_number:
            continue
        name = f"{directory}/{segment_name(number)}"
        file = volume.open(name)
        data = run_to_end(file.read_at(0, file.size_bytes))
        at = expected = offset + 1 if number == bad_number else 0
        while (found := find_valid(data, at)) is not None:
            record, start = found
            if record.type < RecordType.SEGMENT and record.type not in _TYPES_OF[kind]:
                at = start + record.size_bytes
                continue
            if start != expected and not (number == bad_number and expected == offset + 1):
                message = f"{start - expected:,} bytes are no valid record"
                findings.append(Finding(FindingKind.DAMAGE, message, name, expected))
            at = expected = start + record.size_bytes
            if record.type < RecordType.SEGMENT:
                valid, first, last = valid + 1, first or record.sequence, record.sequence
    message = (
        f"{valid:,} records behind the damage are valid, {first:,} to {last:,}"
        if valid
        else "no record behind the damage holds anything"
    )
    return [*findings, Finding(FindingKind.NOTE, message, path, offset)]
