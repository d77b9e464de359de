"""The messages of a database whose pages have mostly been read before, in another image of it.

A run examines the same growing store again and again, and each time most of its pages are those of
the time before, byte for byte.  So what is made of bytes is kept under their hashes, and of the
next image each page is read and hashed, and only what is new in it is taken apart::

    page                 --> who has which content, hashes of its pieces   (known_pages)
    hashes of all pieces --> the message's digest

This is no second opinion on what a store holds: whatever is unusual there, or wrong, is left to
:meth:`Mailboxes.messages`, with its errors and their numbers.  Errors are not kept.

Pages are read from the file, several at once, so a disk that takes time would be used otherwise
than by :meth:`Mailboxes.messages`, and what is in memory and not written would be missed.
Therefore it is off by default: :func:`knowing_messages` switches it on for examinations, of copies
on disks that take no time, where nobody works with the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

import xxhash

from replicator.ese.errors import EseError
from simulator.exchange.ese.known_pages import (
    DataRow,
    KnownPages,
    LongValuePart,
    MessageRow,
    PageFacts,
    Role,
    Unusual,
)
from simulator.exchange.ese.mail_schema import ATTACHMENT, BODY, MESSAGES
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.ese.table import Table
from simulator.remembered import Remembered

LIMIT_FACTS_BYTES: Final = 24 << 20
"""About what is kept of pages: those of a store of 200 MiB, each in two versions."""
LIMIT_DIGESTS_BYTES: Final = 8 << 20

_DIGEST_BYTES: Final = 280
"""About what a digest takes in memory, its key included."""
_HASH_BYTES: Final = 16


class KnownMessages:
    """The tables, for images of stores with the tables of a mail store.

    Arguments
    ---------
    limit_facts_bytes, limit_digests_bytes: about what they may take in memory.
    """

    def __init__(
        self,
        limit_facts_bytes: int = LIMIT_FACTS_BYTES,
        limit_digests_bytes: int = LIMIT_DIGESTS_BYTES,
    ) -> None:
        self.facts: Remembered[bytes, PageFacts] = Remembered(limit_facts_bytes)
        self.digests: Remembered[bytes, bytes] = Remembered(limit_digests_bytes)


_now: ContextVar[KnownMessages | None] = ContextVar("known messages", default=None)


@contextmanager
def knowing_messages(known: KnownMessages) -> Iterator[None]:
    """Look up in these tables, and keep in them, what is read meanwhile in this thread."""
    before = _now.set(known)
    try:
        yield
    finally:
        _now.reset(before)


async def known_digests(session: StoreSession, mailboxes: Mailboxes) -> dict[int, bytes] | None:
    """Message id to XXH3 (128 bits) of body and attachments, of a database that nobody changes.

    Arguments
    ---------
    session: on the database.
    mailboxes: in it; what is in doubt of single messages is read by it.

    None where :meth:`Mailboxes.messages` has to be asked: by default; while pages are not
    written; and where anything is unusual, or wrong.  What lies in a streaming file is read each
    time.  Raises what reading a message raises, and StorageError.
    """
    known, buffer = _now.get(), session.buffer
    if known is None or buffer.dirty:
        return None
    tables = session.database.tables
    try:
        assert buffer.created_file is not None  # it was opened
        page_bytes = session.database.format.page_bytes
        pages = KnownPages(known.facts, buffer.created_file, page_bytes, buffer.file_pages)
        bodies = await _data(pages, tables[BODY.name])
        attached = await _data(pages, tables[ATTACHMENT.name])
        rows = await _messages(pages, tables[MESSAGES.name])
    except (Unusual, EseError):
        return None
    found: dict[int, bytes] = {}
    for row in rows:
        pieces = _pieces(row, bodies, attached)
        digest = None if pieces is None else _digest(known, pages, pieces)
        if digest is None:
            digest = await _read_digest(mailboxes, row.message_id)
        if digest is not None:
            found[row.message_id] = digest
    return found


async def _read_digest(mailboxes: Mailboxes, message_id: int) -> bytes | None:
    """Of one message, from its rows; None when they are not all there."""
    message = await mailboxes.get(message_id)
    if message is None:
        return None
    return xxhash.xxh3_128_digest(b"".join((message.body, *message.attachments)))


class _Data(NamedTuple):
    """A table with a long value in each row: hashes of the pieces by the row's key."""

    table: Table
    pieces: Mapping[bytes, bytes]


def _pieces(row: MessageRow, bodies: _Data, attached: _Data) -> bytes | None:
    """The hashes of all pieces of a message; None when a row of it is missing."""
    body = bodies.pieces.get(bodies.table.key(row.content_id))
    if body is None or not row.attachments:
        return body
    parts = [body]
    for number in range(row.attachments):
        part = attached.pieces.get(attached.table.key(row.content_id, number))
        if part is None:
            return None
        parts.append(part)
    return b"".join(parts)


async def _messages(pages: KnownPages, table: Table) -> list[MessageRow]:
    """The rows of ``Msg``, in order."""
    leaves = await pages.leaves(table, Role.MESSAGES, table.rows.top_pgno)
    return [row for leaf in leaves for row in leaf.entries]


async def _data(pages: KnownPages, table: Table) -> _Data:
    """The rows of ``Body`` or ``Attachment``."""
    values = await _long_values(pages, table)
    pieces: dict[bytes, bytes] = {}
    row: DataRow
    for leaf in await pages.leaves(table, Role.DATA, table.rows.top_pgno):
        for row in leaf.entries:
            value = row.piece if row.long_value is None else values.get(row.long_value)
            if value is None:
                raise Unusual(f"long value {row.long_value} is not there, or not in whole")
            pieces[row.key] = value
    return _Data(table, pieces)


async def _long_values(pages: KnownPages, table: Table) -> dict[int, bytes]:
    """The hashes of their pieces, by number, of those that are as long as they say."""
    if table.long_values is None:
        return {}
    sizes: dict[int, int] = {}
    held: dict[int, int] = {}
    pieces: dict[int, bytes] = {}
    part: LongValuePart
    for leaf in await pages.leaves(table, Role.LONG_VALUES, table.long_values.top_pgno):
        for part in leaf.entries:
            identifier = part.identifier
            if part.size_bytes is not None:
                sizes[identifier] = part.size_bytes
            elif identifier not in sizes:
                raise Unusual(f"long value {identifier} lacks its beginning")
            held[identifier] = held.get(identifier, 0) + part.held_bytes
            pieces[identifier] = pieces.get(identifier, b"") + part.pieces
    return {each: found for each, found in pieces.items() if held[each] == sizes[each]}


def _digest(known: KnownMessages, pages: KnownPages, pieces: bytes) -> bytes | None:
    """The digest of a message; None when it is not known and a piece's bytes are not at hand."""
    key = xxhash.xxh3_128_digest(pieces)
    digest = known.digests.get(key)
    if digest is None:
        whole = xxhash.xxh3_128()
        for at in range(0, len(pieces), _HASH_BYTES):
            data = pages.fresh.get(pieces[at : at + _HASH_BYTES])
            if data is None:
                return None
            whole.update(data)
        digest = whole.digest()
        known.digests.keep(key, digest, _DIGEST_BYTES)
    return digest
