"""The records and operations of a log, one row each, with the path that a file had then.

An operation names its file by id.  The path comes from the names that the log itself holds
(a spool's segments begin with all names; a journal's commits carry them), or from the
replica's checkpoint, and is followed through the operations on names.  For an operation that
is older than the checkpoint it is the file's path at the checkpoint: ids are never used
again, so it is the same file, perhaps under a later name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from replicator.batch import unpack_body, verify_batch
from replicator.catalogue import Catalogue
from replicator.committed_pages import read_commit
from replicator.errors import ReplicatorError
from replicator.offline_place import SlotPair
from replicator.operation import OUTCOME, Operation, decode_operation
from replicator.protocol import BatchHeader
from replicator.records import Record, RecordType
from replicator.segments import Position, describe

Row = dict[str, Any]
Emit = Callable[[Row], None]

_WRONG_NAMES = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted; the limits are numbers of operations, both included."""

    operations: bool
    first: int = 0
    last: int = 1 << 64

    def overlaps(self, first: int, last: int) -> bool:
        return first <= self.last and last >= self.first


class _Names:
    """The names of one epoch, from the operation on at which they were known."""

    def __init__(self, catalogue: Catalogue, after: int) -> None:
        self._catalogue = catalogue
        self._after = after

    def path_of(self, number: int, operation: Operation) -> str | None:
        """The path of the operation's file as it is written; then its names are changed."""
        if operation.name:
            path: str | None = operation.name
        else:
            names = self._catalogue.names_of(operation.file_id)
            path = names[0] if names else None
        if number > self._after:
            try:
                self._catalogue.apply(operation)
            except _WRONG_NAMES:
                # An operation on a name that is not there: the names are of no use from here.
                self._catalogue = Catalogue()
        return path


class Listing:
    """Turns records into rows; to be used as the visitor of a walk.

    Arguments
    ---------
    selection: which rows.
    state: the replica's checkpoint, where there is one.
    names: at operation 0 of each epoch that a commit in the journal makes the image.
    emit: called with each row.
    """

    def __init__(
        self,
        selection: Selection,
        state: SlotPair | None,
        names: dict[int, Catalogue],
        emit: Emit,
    ) -> None:
        self._selection = selection
        self._emit = emit
        self._names = {epoch: _Names(catalogue, 0) for epoch, catalogue in names.items()}
        self._pending: tuple[Row, Operation, int] | None = None
        if state is not None and state.state is not None:
            catalogue = _catalogue(state.state.get("catalogue"))
            if catalogue is not None:
                self._names[state.number("epoch")] = _Names(catalogue, state.number("operation"))

    def visit(self, record: Record, position: Position) -> None:
        """Take one valid record; it stands in the log behind those taken before."""
        kind = record.type
        if kind != RecordType.OUTCOME:
            self.settle()
        row = {"segment": position.segment, "offset": position.offset, **describe(record)}
        numbers = (record.sequence, record.sequence)
        if kind == RecordType.CATALOGUE:
            catalogue = _catalogue_of_json(record.payload)
            if catalogue is not None:
                self._names[record.epoch] = _Names(catalogue, 0)
        elif kind == RecordType.OPERATION:
            self._operation(record, position)
        elif kind == RecordType.OUTCOME:
            self._outcome(record)
        elif kind == RecordType.BATCH:
            numbers = self._batch(record, position, row)
        elif kind == RecordType.COMMIT:
            self._commit(record, row)
        if not self._selection.operations and self._selection.overlaps(*numbers):
            self._emit(row)

    def settle(self) -> None:
        """Emit the operation whose outcome has not come: it ended as intended."""
        pending, self._pending = self._pending, None
        if pending is not None:
            row, operation, epoch = pending
            row["path"] = self._path(epoch, row["operation"], operation)
            self._show(row)

    def _show(self, row: Row) -> None:
        wanted = self._selection
        if wanted.operations and wanted.first <= row["operation"] <= wanted.last:
            self._emit(row)

    def _path(self, epoch: int, number: int, operation: Operation) -> str | None:
        names = self._names.get(epoch)
        return operation.name or None if names is None else names.path_of(number, operation)

    def _operation(self, record: Record, position: Position) -> None:
        operation = decode_operation(record)
        row = _row_of(position, record.epoch, record.sequence, operation)
        self._pending = (row, operation, record.epoch)

    def _outcome(self, record: Record) -> None:
        if self._pending is None or len(record.prefix) != OUTCOME.size:
            return
        (row, _, _), done_bytes = self._pending, OUTCOME.unpack(record.prefix)[1]
        row["done"] = done_bytes
        if not done_bytes:  # it did not happen, so it changed no names
            self._pending = None
            self._show(row)

    def _batch(self, record: Record, position: Position, row: Row) -> tuple[int, int]:
        try:
            header = BatchHeader.decode(record.prefix)
            row |= {
                "operations": [header.first, header.last],
                "raw_bytes": header.raw_bytes,
                "compressed": header.compressed,
            }
            if self._selection.operations:
                raw = unpack_body(record.prefix + record.payload, header)
                for number, operation, _chain in verify_batch(raw, header):
                    each = _row_of(position, header.epoch, number, operation)
                    each["path"] = self._path(header.epoch, number, operation)
                    self._show(each)
        except ReplicatorError as error:
            row["problem"] = error.message
            return record.sequence, record.sequence
        return header.first, header.last

    def _commit(self, record: Record, row: Row) -> None:
        try:
            row["fence"] = read_commit(record.payload).get("fence")
        except ReplicatorError as error:
            row["problem"] = error.message


def _row_of(position: Position, epoch: int, number: int, operation: Operation) -> Row:
    return {
        "segment": position.segment,
        "offset": position.offset,
        "epoch": epoch,
        "operation": number,
        "kind": operation.kind.name.lower(),
        "file_id": operation.file_id,
        "path": operation.name or None,
        "path2": operation.name2 or None,
        "at": operation.offset,
        "length": operation.length,
        "captured_ns": operation.captured_ns,
        "done": None,
    }


def _catalogue_of_json(text: bytes) -> Catalogue | None:
    try:
        return _catalogue(json.loads(text))
    except ValueError:
        return None


def _catalogue(document: Any) -> Catalogue | None:
    try:
        return Catalogue.from_json(document)
    except _WRONG_NAMES:
        return None
