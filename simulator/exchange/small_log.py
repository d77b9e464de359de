"""The small store's write-ahead log: its records, its files and how they are read back.

Theory
------
A *transaction* record holds all that redo needs: the messages with their bytes and places,
and the totals of each mailbox that changed.  Several transactions that wait for the same
flush make up a *block*: the unit of writing, with one checksum, padded to whole sectors of
512 bytes, written with one call and synced before the next block is written.  So of all
blocks only the last one can be torn, and a bad block with a good one behind it is damage to
data that was acknowledged.

Log positions (LSN) count the bytes of blocks over all generations.  Each file opens with a
header of one sector that names its generation and its first LSN; generation ``g`` lives in
``E00.log`` while it is written and is then renamed to ``E0000000g.log`` (eight hexadecimal
digits).  The roll writes the new header and syncs it and the directory before the first
block goes in: a header can be torn only in a file without blocks.

Leaves out: shadow sectors, circular reuse of files, records of single pages.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import xxhash

from simulator.exchange.small_pages import Totals

SECTOR_BYTES: Final = 512
LOG_HEADER_BYTES: Final = SECTOR_BYTES
CURRENT_LOG: Final = "E00.log"
FIRST_LSN: Final = 1
"""Zero stands for "never written"."""

_LOG_MAGIC: Final = 0x31474F4C4C414D53  # "SMALLOG1"
_BLOCK_MAGIC: Final = 0x4B4C4253  # "SBLK"
_VERSION: Final = 1
_LOG_HEADER: Final = struct.Struct("<QIIQQ")  # magic, version, generation, signature, first LSN
_BLOCK: Final = struct.Struct("<IIQQQ")  # magic, body bytes, signature, LSN, checksum
_CHECKSUM: Final = struct.Struct("<Q")
_TRANSACTION: Final = struct.Struct("<QQQII")  # number, tail, head, messages, totals
_MESSAGE: Final = struct.Struct("<QQII")  # id, place, mailbox, payload bytes
_TOTALS: Final = struct.Struct("<IQQQ")  # mailbox, messages, payload bytes, last message id
_CLOSED_LOG: Final = re.compile(r"E([0-9A-F]{8})\.log")


class BadLog(Exception):
    """Bytes that are no log of this store; the text says what is wrong."""


@dataclass(slots=True)
class LoggedMessage:
    """One message as the log holds it."""

    message_id: int
    place: int
    mailbox: int
    payload: bytes | memoryview


@dataclass(slots=True)
class LoggedTransaction:
    """One transaction: what it adds, and the state after it (tail and head of the ring)."""

    number: int
    tail: int
    head: int
    messages: list[LoggedMessage]
    totals: dict[int, Totals]


@dataclass(slots=True)
class LoggedBlock:
    """One block as read back."""

    lsn: int
    end_lsn: int
    transactions: list[LoggedTransaction]


@dataclass(slots=True)
class LogScan:
    """What :func:`scan_blocks` found in one file."""

    blocks: list[LoggedBlock] = field(default_factory=list)
    end_offset: int = LOG_HEADER_BYTES
    end_lsn: int = 0
    torn_bytes: int = 0
    """Bytes behind the last whole block."""


def closed_log_name(generation: int) -> str:
    return f"E{generation:08X}.log"


def generation_of_name(name: str) -> int | None:
    """The generation that a closed log's name tells; None for other names."""
    match = _CLOSED_LOG.fullmatch(name)
    return int(match.group(1), 16) if match else None


# -- writing -------------------------------------------------------------------------


def encode_log_header(signature: int, generation: int, first_lsn: int) -> bytes:
    head = _LOG_HEADER.pack(_LOG_MAGIC, _VERSION, generation, signature, first_lsn)
    head += _CHECKSUM.pack(xxhash.xxh3_64_intdigest(head))
    return head.ljust(LOG_HEADER_BYTES, b"\0")


def encode_transaction(transaction: LoggedTransaction) -> bytes:
    """One record; about a microsecond besides the copy of the payloads."""
    parts: list[bytes | memoryview] = [
        _TRANSACTION.pack(
            transaction.number,
            transaction.tail,
            transaction.head,
            len(transaction.messages),
            len(transaction.totals),
        )
    ]
    for message in transaction.messages:
        parts.append(
            _MESSAGE.pack(message.message_id, message.place, message.mailbox, len(message.payload))
        )
        parts.append(message.payload)
    for mailbox, totals in transaction.totals.items():
        parts.append(
            _TOTALS.pack(mailbox, totals.messages, totals.payload_bytes, totals.last_message_id)
        )
    return b"".join(parts)


def block_bytes(body_bytes: int) -> int:
    """Size of a block with so many bytes of records."""
    return -(-(_BLOCK.size + body_bytes) // SECTOR_BYTES) * SECTOR_BYTES


def encode_block(signature: int, lsn: int, records: Sequence[bytes]) -> bytes:
    """One block, ready to be written with one call."""
    body = records[0] if len(records) == 1 else b"".join(records)
    size = block_bytes(len(body))
    head = _BLOCK.pack(
        _BLOCK_MAGIC, len(body), signature, lsn, xxhash.xxh3_64_intdigest(body, lsn ^ signature)
    )
    return b"".join((head, body, bytes(size - len(head) - len(body))))


# -- reading -------------------------------------------------------------------------


def decode_log_header(signature: int, data: bytes) -> tuple[int, int]:
    """Generation and first LSN; raises BadLog."""
    size = _LOG_HEADER.size
    if len(data) < LOG_HEADER_BYTES:
        raise BadLog("the header is cut off")
    magic, version, generation, found, first_lsn = _LOG_HEADER.unpack_from(data)
    if magic != _LOG_MAGIC:
        raise BadLog("the header is not that of a log")
    if _CHECKSUM.unpack_from(data, size)[0] != xxhash.xxh3_64_intdigest(data[:size]):
        raise BadLog("the header has a wrong checksum")
    if version != _VERSION:
        raise BadLog(f"format version {version} is not known")
    if found != signature:
        raise BadLog("the log belongs to another store")
    return generation, first_lsn


def decode_block(
    signature: int, lsn: int, data: memoryview, offset: int, verify: bool = True
) -> LoggedBlock:
    """The block at ``offset``, which must be the one at ``lsn``; raises BadLog.

    ``verify=False`` (tests only) believes the bytes without checksum.
    """
    if len(data) - offset < _BLOCK.size:
        raise BadLog("no room for a block")
    magic, body_bytes, found, found_lsn, checksum = _BLOCK.unpack_from(data, offset)
    if magic != _BLOCK_MAGIC or found != signature or found_lsn != lsn:
        raise BadLog(f"no block of this log at log position {lsn}")
    size = block_bytes(body_bytes)
    if len(data) - offset < size:
        raise BadLog(f"the block at log position {lsn} is cut off")
    body = data[offset + _BLOCK.size : offset + _BLOCK.size + body_bytes]
    if verify and checksum != xxhash.xxh3_64_intdigest(body, lsn ^ signature):
        raise BadLog(f"the block at log position {lsn} has a wrong checksum")
    return LoggedBlock(lsn, lsn + size, _decode_transactions(body))


def _decode_transactions(body: memoryview) -> list[LoggedTransaction]:
    transactions = []
    at, end = 0, len(body)
    try:
        while at < end:
            number, tail, head, n_messages, n_totals = _TRANSACTION.unpack_from(body, at)
            at += _TRANSACTION.size
            messages = []
            for _ in range(n_messages):
                message_id, place, mailbox, size = _MESSAGE.unpack_from(body, at)
                at += _MESSAGE.size
                if size > end - at:
                    raise BadLog(f"message {message_id} runs over the end of its block")
                messages.append(LoggedMessage(message_id, place, mailbox, body[at : at + size]))
                at += size
            totals = {}
            for _ in range(n_totals):
                mailbox, *values = _TOTALS.unpack_from(body, at)
                at += _TOTALS.size
                totals[mailbox] = Totals(*values)
            transactions.append(LoggedTransaction(number, tail, head, messages, totals))
    except struct.error:
        raise BadLog("a transaction is cut off inside of its block") from None
    return transactions


def scan_blocks(
    signature: int, first_lsn: int, data: bytes, closed: bool, verify: bool = True
) -> LogScan:
    """All blocks of one log file.

    Arguments
    ---------
    data: the whole file.
    closed: the file was closed and synced: it must be whole to its last byte.  Otherwise a
        torn block at the very end is dropped.

    Raises BadLog when something is damaged that was acknowledged.
    """
    view = memoryview(data)
    scan = LogScan(end_lsn=first_lsn)
    while scan.end_offset < len(view):
        try:
            block = decode_block(signature, scan.end_lsn, view, scan.end_offset, verify)
        except BadLog as bad:
            if closed:
                raise BadLog(f"{bad}, in a log that was closed") from None
            behind = _block_behind(signature, first_lsn, view, scan.end_offset)
            if behind is not None:
                raise BadLog(f"{bad}, but the block at log position {behind} is whole") from None
            scan.torn_bytes = len(view) - scan.end_offset
            break
        scan.blocks.append(block)
        scan.end_offset += block.end_lsn - block.lsn
        scan.end_lsn = block.end_lsn
    return scan


def _block_behind(signature: int, first_lsn: int, view: memoryview, offset: int) -> int | None:
    """Log position of the first whole block behind a bad one at ``offset``, if there is any."""
    magic = _BLOCK_MAGIC.to_bytes(4, "little")
    for at in range(offset + SECTOR_BYTES, len(view) - _BLOCK.size + 1, SECTOR_BYTES):
        if view[at : at + 4] != magic:
            continue
        lsn = first_lsn + at - LOG_HEADER_BYTES
        try:
            return decode_block(signature, lsn, view, at).lsn
        except BadLog:
            continue
    return None
