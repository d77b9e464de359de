"""The ledger of a live run, in a file that outlives the program it speaks of.

Each entry of :class:`~simulator.exchange.ledger.Ledger` is one ``write`` to a file opened for
appending, before the store is asked and after it has answered, so a kill -9 loses none::

    u8   kind: BEGIN, ACKNOWLEDGE or CONTINUE_FROM    u32  bytes that follow
    BEGIN          u64 number, i64 time, u16 messages, u32 removed,
                   then id u64, mailbox u32, size u64, digest 16 of each message, id u64 of each
                   removed one
    ACKNOWLEDGE    u64 number, i64 time
    CONTINUE_FROM  u64 number of the last transaction that a recovered store has

Times are nanoseconds of the machine's monotonic clock.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from simulator.exchange.ledger import Entry, Ledger, Transaction
from simulator.exchange.store import Message

BEGIN, ACKNOWLEDGE, CONTINUE_FROM = 1, 2, 3
_HEAD: Final = struct.Struct("<BI")
_BEGIN: Final = struct.Struct("<QqHI")
_MESSAGE: Final = struct.Struct("<QIQ16s")
_ID: Final = struct.Struct("<Q")
_ACKNOWLEDGE: Final = struct.Struct("<Qq")


class RecordedLedger(Ledger):
    """A ledger that is also written to a file.

    Arguments
    ---------
    path: the file; what is in it already is taken in.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.next_message_id = _take_in(self, path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)

    def begin(self, messages: Sequence[Message], removed_ids: Sequence[int], now_ns: int) -> int:
        number = super().begin(messages, removed_ids, now_ns)
        body = [_BEGIN.pack(number, now_ns, len(messages), len(removed_ids))]
        for message in messages:
            entry = self._entries[message.message_id]
            body.append(
                _MESSAGE.pack(message.message_id, entry.mailbox, entry.size_bytes, entry.digest)
            )
        body += [_ID.pack(each) for each in removed_ids]
        self._put(BEGIN, b"".join(body))
        return number

    def acknowledge(self, number: int, now_ns: int) -> None:
        super().acknowledge(number, now_ns)
        self._put(ACKNOWLEDGE, _ACKNOWLEDGE.pack(number, now_ns))

    def continue_from(self, transactions: int) -> None:
        super().continue_from(transactions)
        self._put(CONTINUE_FROM, _ID.pack(transactions))

    def _put(self, kind: int, body: bytes) -> None:
        os.write(self._fd, _HEAD.pack(kind, len(body)) + body)


def read_ledger(path: Path, size_bytes: int | None = None) -> Ledger:
    """The ledger that a file tells of; of its first ``size_bytes`` only, if given."""
    ledger = Ledger()
    _take_in(ledger, path, size_bytes)
    return ledger


def _take_in(ledger: Ledger, path: Path, size_bytes: int | None = None) -> int:
    """Repeat what the file tells; returns the next message id that was never given."""
    try:
        content = path.read_bytes()[:size_bytes]
    except FileNotFoundError:
        return 1
    at, next_id = 0, 1
    while at + _HEAD.size <= len(content):
        kind, length = _HEAD.unpack_from(content, at)
        body = content[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length:
            break  # being written just now
        at += _HEAD.size + length
        if kind == BEGIN:
            next_id = max(next_id, _take_begin(ledger, body) + 1)
        elif kind == ACKNOWLEDGE:
            Ledger.acknowledge(ledger, *_ACKNOWLEDGE.unpack(body))
        else:
            Ledger.continue_from(ledger, *_ID.unpack(body))
    return next_id


def _take_begin(ledger: Ledger, body: bytes) -> int:
    number, begun_ns, messages, removed = _BEGIN.unpack_from(body)
    at, ids = _BEGIN.size, []
    entries: list[tuple[int, Entry]] = []
    for _ in range(messages):
        message_id, mailbox, size_bytes, digest = _MESSAGE.unpack_from(body, at)
        entries.append((message_id, Entry(mailbox, size_bytes, digest, number)))
        ids.append(message_id)
        at += _MESSAGE.size
    removed_ids = [_ID.unpack_from(body, at + _ID.size * i)[0] for i in range(removed)]
    ledger.restore(Transaction(number, tuple(ids), tuple(removed_ids), begun_ns), entries)
    return max(ids, default=0)
