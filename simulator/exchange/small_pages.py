"""The small store's database file: checksummed pages of 8 KiB and where they lie.

Layout of ``priv1.edb``: one page per mailbox, then a ring of message pages::

    page 0 .. mailboxes-1                 totals of one mailbox each, rewritten in place
    page mailboxes .. mailboxes+ring-1    the ring

A message takes consecutive *places* of the ring.  Places are counted for ever (the page at
place ``s`` is reused at place ``s + ring``), so a page that says place ``s`` where
``s + ring`` is due is a write that was lost, not a page of the message.  Live messages lie
in the places ``tail .. head-1``.  Extents of eight pages are scattered over the file, as a
tree's pages would be, so the disk sees runs of up to 64 KiB at changing offsets.

Page, little-endian: checksum u64 (XXH3 of all that follows), then :data:`_HEADER`, then the
body, then zeros.  A page is a pure function of its log record; redo builds it anew and needs
no older version of it.

Leaves out: trees, tags, space management: the true format is another store's work.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import gcd
from typing import Final

import xxhash

PAGE_BYTES: Final = 8192
EXTENT_PAGES: Final = 8

_CHECKSUM: Final = struct.Struct("<Q")
# signature, LSN, place or mailbox, message id, page number, mailbox, fragment, payload bytes
_HEADER: Final = struct.Struct("<QQQQIIII")
_TOTALS: Final = struct.Struct("<QQQ")
_HEAD_BYTES: Final = _CHECKSUM.size + _HEADER.size
BODY_BYTES: Final = PAGE_BYTES - _HEAD_BYTES
_TOTALS_FRAGMENT: Final = 0xFFFF_FFFF
"""In the fragment field: this page holds a mailbox's totals."""
_ZEROS: Final = bytes(PAGE_BYTES)


@dataclass(slots=True)
class PageContent:
    """What one page says; the bytes are made when it is written.

    Attributes
    ----------
    lsn: log position of the block that last changed the page.
    place: place in the ring; the mailbox for a page of totals.
    fragment: number of the piece within its message; None for a page of totals.
    payload_bytes: size of the whole message.
    body: the piece of the payload, or the encoded totals.
    """

    lsn: int
    place: int
    message_id: int
    mailbox: int
    fragment: int | None
    payload_bytes: int
    body: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Totals:
    """What a mailbox holds: redundant with its messages, hence a test of the whole."""

    messages: int = 0
    payload_bytes: int = 0
    last_message_id: int = 0


class BadPage(Exception):
    """The bytes are not a page of this store: torn, rotten, or of another file."""


def encode_page(signature: int, page: int, content: PageContent) -> bytes:
    """The page's 8192 bytes."""
    fragment = content.fragment
    body = content.body
    rest = b"".join(
        (
            _HEADER.pack(
                signature,
                content.lsn,
                content.place,
                content.message_id,
                page,
                content.mailbox,
                _TOTALS_FRAGMENT if fragment is None else fragment,
                content.payload_bytes,
            ),
            body,
            _ZEROS[: BODY_BYTES - len(body)],
        )
    )
    return _CHECKSUM.pack(xxhash.xxh3_64_intdigest(rest)) + rest


def decode_page(
    signature: int, page: int, data: bytes | memoryview, verify: bool = True
) -> PageContent | None:
    """What the page says; None for a page of zeros, which was never written.

    Raises BadPage.  ``verify=False`` (tests only) believes the bytes without checksum.
    """
    if len(data) != PAGE_BYTES:
        raise BadPage(f"page {page} is cut off after {len(data)} bytes")
    (checksum,) = _CHECKSUM.unpack_from(data)
    fields = _HEADER.unpack_from(data, _CHECKSUM.size)
    found_signature, lsn, place, message_id, number, mailbox, fragment, payload_bytes = fields
    if found_signature == 0 and checksum == 0 and bytes(data) == _ZEROS:
        return None
    if verify and checksum != xxhash.xxh3_64_intdigest(memoryview(data)[_CHECKSUM.size :]):
        raise BadPage(f"page {page} has a wrong checksum")
    if found_signature != signature:
        raise BadPage(f"page {page} belongs to another store")
    if number != page:
        raise BadPage(f"page {page} says that it is page {number}")
    is_totals = fragment == _TOTALS_FRAGMENT
    if is_totals:
        used = _TOTALS.size
    else:
        used = min(BODY_BYTES, payload_bytes - fragment * BODY_BYTES)
        if used < 0:
            raise BadPage(f"page {page} is piece {fragment} of only {payload_bytes} bytes")
    return PageContent(
        lsn=lsn,
        place=place,
        message_id=message_id,
        mailbox=mailbox,
        fragment=None if is_totals else fragment,
        payload_bytes=payload_bytes,
        body=memoryview(data)[_HEAD_BYTES : _HEAD_BYTES + used],
    )


def pages_needed(payload_bytes: int) -> int:
    """Pages that a message takes; an empty one takes a page too."""
    return max(1, -(-payload_bytes // BODY_BYTES))


def message_pages(
    lsn: int, place: int, message_id: int, mailbox: int, payload: bytes | memoryview
) -> list[PageContent]:
    """The pages of one message whose first piece lies at ``place``."""
    view = memoryview(payload)
    size = len(view)
    return [
        PageContent(
            lsn,
            place + fragment,
            message_id,
            mailbox,
            fragment,
            size,
            view[fragment * BODY_BYTES : (fragment + 1) * BODY_BYTES],
        )
        for fragment in range(pages_needed(size))
    ]


def totals_page(lsn: int, mailbox: int, totals: Totals) -> PageContent:
    """The page of one mailbox."""
    body = _TOTALS.pack(totals.messages, totals.payload_bytes, totals.last_message_id)
    return PageContent(lsn, mailbox, 0, mailbox, None, 0, body)


def decode_totals(content: PageContent) -> Totals:
    """The totals in a page of totals."""
    return Totals(*_TOTALS.unpack(content.body))


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where pages lie; fixed when the store is created."""

    mailboxes: int
    ring_pages: int

    def __post_init__(self) -> None:
        if self.mailboxes < 1 or self.ring_pages < EXTENT_PAGES:
            raise ValueError("a store needs a mailbox and an extent of message pages")
        if self.ring_pages % EXTENT_PAGES:
            raise ValueError(f"message pages come in extents of {EXTENT_PAGES}")

    @property
    def extents(self) -> int:
        return self.ring_pages // EXTENT_PAGES

    @property
    def stride(self) -> int:
        """Distance of successive extents: near the golden section, so neighbours are far."""
        stride = max(1, self.extents * 618 // 1000)
        while gcd(stride, self.extents) != 1:
            stride += 1
        return stride

    @property
    def file_bytes(self) -> int:
        return (self.mailboxes + self.ring_pages) * PAGE_BYTES

    def page_of_place(self, place: int) -> int:
        """The page at a place of the ring."""
        extent, slot = divmod(place % self.ring_pages, EXTENT_PAGES)
        scattered = extent * self.stride % self.extents
        return self.mailboxes + scattered * EXTENT_PAGES + slot


def geometry_for(mailboxes: int, capacity_bytes: int) -> Geometry:
    """The geometry of a database of at most ``capacity_bytes``."""
    extents = (capacity_bytes // PAGE_BYTES - mailboxes) // EXTENT_PAGES
    return Geometry(mailboxes, max(1, extents) * EXTENT_PAGES)
