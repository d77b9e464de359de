"""What the records of a log say: their figures, and whether their content makes sense.

It looks at each record that recovery finds valid, in the order of the log; what is not valid it
never gets to see (:mod:`.offline`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from replicator.batch import NumberedOperation, unpack_body, verify_batch
from replicator.catalogue import Catalogue
from replicator.committed_pages import read_commit
from replicator.errors import ProtocolViolation, ReplicatorError
from replicator.offline_place import Finding, FindingKind
from replicator.operation import OUTCOME, decode_operation
from replicator.protocol import BatchHeader
from replicator.records import InvalidRecord, Record, RecordType
from replicator.segments import RECORD_TYPES, LogKind, Position, segment_name


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
        if kind == RecordType.CATALOGUE:
            self._sensible(position, "names", lambda: _read_names(record.payload))
        elif kind not in RECORD_TYPES[self.kind]:
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
        if held is not None and header.first > due and not self._passed_over:
            self._senseless(position, f"operation {header.first} came where {due} was due")
        elif header.first == due and header.chain_before != chain and not self._passed_over:
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


def _read_names(payload: bytes) -> None:
    Catalogue.from_json(json.loads(payload))
