"""The small store's checkpoint file: where redo begins, twice.

``E00.chk`` holds two copies of one record, a page of 4 KiB each, written one after the other
with a sync in between, so at every instant at least one is whole; the valid copy with the
higher number counts.  The record is repeated to the end of its page, so a page that is torn
anywhere is known for it.  The record tells from which log position on the log is needed, in
which generation that lies, how far the log was known to be durable (a log that ends earlier
has lost something), the state of the ring there, and whether the store was dismounted.

Leaves out: attachment records, several databases per log.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import xxhash

from replicator.runtime.port import File, Volume
from simulator.exchange.small_pages import Geometry

CHECKPOINT_NAME: Final = "E00.chk"
COPY_BYTES: Final = 4096

_MAGIC: Final = 0x314B48434C414D53  # "SMALCHK1"
_VERSION: Final = 1
# magic, version, clean, signature, number, redo LSN, generation, mailboxes, ring pages, pad,
# then the mark: LSN, tail, head, transactions
_RECORD: Final = struct.Struct("<QIIQQQIIIIQQQQ")
_CHECKSUM: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of the store at a log position."""

    lsn: int
    tail: int = 0
    head: int = 0
    transactions: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One record.

    Attributes
    ----------
    number: counts the checkpoints of this store.
    clean: dismounted: the log ends at ``mark`` and nothing has to be redone.
    redo_lsn, generation: where redo begins.
    mark: state at a log position that is known to be durable, not before ``redo_lsn``.
    """

    signature: int
    geometry: Geometry
    number: int
    clean: bool
    redo_lsn: int
    generation: int
    mark: Mark


class BadCheckpoint(Exception):
    """Neither copy is whole."""


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """One copy."""
    mark = checkpoint.mark
    record = _RECORD.pack(
        _MAGIC,
        _VERSION,
        checkpoint.clean,
        checkpoint.signature,
        checkpoint.number,
        checkpoint.redo_lsn,
        checkpoint.generation,
        checkpoint.geometry.mailboxes,
        checkpoint.geometry.ring_pages,
        0,
        mark.lsn,
        mark.tail,
        mark.head,
        mark.transactions,
    )
    body = (record * (COPY_BYTES // len(record) + 1))[: COPY_BYTES - _CHECKSUM.size]
    return body + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(body))


def decode_checkpoint(data: bytes) -> Checkpoint:
    """One copy; raises BadCheckpoint."""
    if len(data) != COPY_BYTES:
        raise BadCheckpoint("the copy is cut off")
    size = COPY_BYTES - _CHECKSUM.size
    if _CHECKSUM.unpack_from(data, size)[0] != xxhash.xxh3_64_intdigest(data[:size]):
        raise BadCheckpoint("the copy has a wrong checksum")
    fields = _RECORD.unpack_from(data)
    magic, version, clean, signature, number, redo_lsn, generation, mailboxes, ring, _pad = fields[
        :10
    ]
    if magic != _MAGIC or version != _VERSION:
        raise BadCheckpoint("the copy has another format")
    return Checkpoint(
        signature=signature,
        geometry=Geometry(mailboxes, ring),
        number=number,
        clean=bool(clean),
        redo_lsn=redo_lsn,
        generation=generation,
        mark=Mark(*fields[10:]),
    )


async def read_checkpoint(file: File) -> tuple[Checkpoint, int]:
    """The newest whole copy, and which one it is (0 or 1); raises BadCheckpoint."""
    found: list[tuple[Checkpoint, int]] = []
    faults: list[str] = []
    for copy in (0, 1):
        data = await file.read_at(copy * COPY_BYTES, COPY_BYTES)
        try:
            found.append((decode_checkpoint(data), copy))
        except BadCheckpoint as bad:
            faults.append(f"copy {copy + 1}: {bad}")
    if not found:
        raise BadCheckpoint("; ".join(faults))
    return max(found, key=lambda numbered: numbered[0].number)


async def write_checkpoint(
    volume: Volume,
    file: File,
    checkpoint: Checkpoint,
    in_two_steps: bool = True,
    first_copy: int = 0,
) -> None:
    """Write both copies.

    Arguments
    ---------
    in_two_steps: False (tests only) leaves out the sync in between.
    first_copy: the one to write first; the other one must be whole and durable.
    """
    data = encode_checkpoint(checkpoint)
    await volume.admit(COPY_BYTES)
    file.write_at(first_copy * COPY_BYTES, data)
    if in_two_steps:
        await file.sync()
    await volume.admit(COPY_BYTES)
    file.write_at((1 - first_copy) * COPY_BYTES, data)
    await file.sync()
