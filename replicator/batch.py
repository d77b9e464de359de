"""Batches: runs of the source's records, verified one by one where they arrive.

A batch carries the spool's records byte for byte.  :func:`verify_batch` recomputes every
checksum and follows the chain from the operation before, so that a missing, repeated,
swapped or changed operation is found before anything is promised, wherever between the
source's capture and here it went wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import xxhash

from replicator.compression import contexts
from replicator.errors import ProtocolViolation
from replicator.operation import (
    OUTCOME,
    PREFIX_BYTES,
    Operation,
    OperationKind,
    decode_operation,
)
from replicator.protocol import BATCH_BYTES, BatchHeader
from replicator.records import HEADER_BYTES, MAGIC, InvalidRecord, Record, RecordType
from replicator.untrusted import inflate

NumberedOperation = tuple[int, Operation, bytes]
"""Number, operation, and the link of the chain after it."""

_OPERATION: Final = int(RecordType.OPERATION)
_WRITE: Final = OperationKind.WRITE
_WRITE_CODE: Final = int(_WRITE)
# The layouts of records.py and operation.py without the fields that are not looked at here.
_HEADER: Final = struct.Struct("<4sBxHIIQ8x16s16s")
_WRITE_FIELDS: Final = struct.Struct("<8xQQQQ")
_digest = xxhash.xxh3_128_digest


class Compressor:
    """zstd where it helps: after a batch that did not shrink, the next ones go plain.

    Arguments
    ---------
    level: zstd level, or None for never.
    probe_every: so many plain batches are sent before compression is tried again.
    pack: in place of the process's zstd contexts; gives the same bytes.
    """

    def __init__(
        self,
        level: int | None,
        probe_every: int = 8,
        pack: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._pack = None if level is None else pack or contexts(level).compress
        self._probe_every = probe_every
        self._plain_left = 0

    def __call__(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to send and whether they are compressed."""
        if self._pack is None:
            return data, False
        if self._plain_left:
            self._plain_left -= 1
            return data, False
        packed = self._pack(data)
        if len(packed) * 20 >= len(data) * 19:
            self._plain_left = self._probe_every
            return data, False
        return packed, True


def unpack_body(payload: bytes, header: BatchHeader) -> bytes:
    """The records of a batch; raises ProtocolViolation."""
    body = payload[BATCH_BYTES:]
    if header.compressed:
        try:
            body = inflate(body, header.raw_bytes)
        except ValueError as error:
            raise ProtocolViolation(f"a batch cannot be decompressed: {error}") from None
    if len(body) != header.raw_bytes:
        raise ProtocolViolation("a batch has another length than it says")
    return body


def verify_batch(
    raw: bytes, header: BatchHeader, *, check_chain: bool = True
) -> list[NumberedOperation]:
    """The operations of a batch with their numbers, outcomes taken into account.

    Raises ProtocolViolation at the first record that is not the successor of the one
    before.  ``check_chain`` is switched off in tests only.
    """
    operations: list[NumberedOperation] = []
    chain, expected, batch_epoch = header.chain_before, header.first, header.epoch
    offset, total = 0, len(raw)
    unpack_header, unpack_write = _HEADER.unpack_from, _WRITE_FIELDS.unpack_from
    while offset < total:
        start = offset + HEADER_BYTES
        if start > total:
            raise ProtocolViolation("a batch ends inside a record")
        magic, kind, prefix_length, length, epoch, sequence, previous, checksum = unpack_header(
            raw, offset
        )
        middle, end = start + prefix_length, start + length
        if magic != MAGIC or end > total or middle > end:
            raise ProtocolViolation(f"operation {expected}: no valid record")
        prefix, payload = raw[start:middle], raw[middle:end]
        if check_chain and (
            previous != chain
            or _digest(b"".join((raw[offset : offset + 48], prefix, _digest(payload)))) != checksum
        ):
            raise ProtocolViolation(
                f"operation {expected} is not the one that follows: chain or checksum differ"
            )
        if epoch != batch_epoch:
            raise ProtocolViolation(f"operation {sequence} belongs to epoch {epoch}")
        chain = checksum
        offset = end
        if kind == _OPERATION:
            if sequence != expected and check_chain:
                raise ProtocolViolation(f"operation {sequence} came where {expected} was due")
            expected = sequence + 1
            if prefix_length == PREFIX_BYTES and prefix[0] == _WRITE_CODE:
                file_id, at, size, captured = unpack_write(prefix)
                if size != end - middle:
                    raise ProtocolViolation(f"operation {sequence}: a write of another length")
                operation = Operation(_WRITE, file_id, at, size, "", "", payload, captured)
            else:
                operation = _decode(
                    Record(kind, epoch, sequence, 0, previous, checksum, prefix, payload, length)
                )
            operations.append((sequence, operation, checksum))
        elif kind == RecordType.OUTCOME:
            _settle(operations, prefix, checksum)
        else:
            raise ProtocolViolation(f"a record of type {kind} has no place in a batch")
    if (chain != header.chain_after or expected != header.last + 1) and check_chain:
        raise ProtocolViolation("a batch ends elsewhere than it says")
    return operations


def _decode(record: Record) -> Operation:
    try:
        return decode_operation(record)
    except InvalidRecord as invalid:
        raise ProtocolViolation(f"operation {record.sequence}: {invalid.reason}") from None


def _settle(operations: list[NumberedOperation], prefix: bytes, chain: bytes) -> None:
    """The operation before ended otherwise than intended."""
    if len(prefix) != OUTCOME.size or not operations:
        raise ProtocolViolation("an outcome without its operation")
    sequence, done_bytes = OUTCOME.unpack(prefix)
    number, operation, _ = operations[-1]
    if number != sequence:
        raise ProtocolViolation(f"the outcome of operation {sequence} came after {number}")
    if done_bytes:
        settled = operation._replace(length=done_bytes, data=operation.data[:done_bytes])
    else:  # it did not happen; the number stays taken
        settled = Operation(OperationKind.SYNC, captured_ns=operation.captured_ns)
    operations[-1] = (number, settled, chain)
