"""The before-image of a page, which splits and merges carry.

A new page is filled from an old one.  When the old page reached the disk and the new one did
not, the old content is gone from the file; so it goes with the record.  The image is the whole
page, with the dbtime of the change already in it; in a log it may be *dehydrated*, its free
middle cut out and the tags moved up behind the nodes, and then compressed.

E src/ese/logredo.cxx, src/ese/cpage.cxx; V for compressed images, S for dehydrated ones.
"""

from __future__ import annotations

from typing import Final

from replicator.ese.column_compression import decompress
from replicator.ese.page import LARGE_HEADER_BYTES, SMALL_HEADER_BYTES, TAG_BYTES, TAG_COUNT_MASK
from replicator.ese.page_editor import PageEditor
from replicator.ese.verification import LARGEST_SMALL_PAGE

DEHYDRATED: Final = 1
COMPRESSED: Final = 2

_FREE_BYTES = slice(28, 30)
_FREE_FROM = slice(32, 34)
_TAG_COUNT = slice(34, 36)


def make_before_image(page: PageEditor, dbtime: int, *, dehydrated: bool = False) -> bytes:
    """The image of a page that is about to change, not compressed.

    Arguments
    ---------
    page: as it is now.
    dbtime: of the change.
    dehydrated: without its free middle; the record's image flags say so.
    """
    copy = page.copy()
    copy.dbtime = dbtime
    image = copy.plain_bytes()
    return dehydrate(image) if dehydrated else image


def read_before_image(image: bytes, flags: int, pgno: int, page_bytes: int) -> PageEditor:
    """The page as it was.

    Arguments
    ---------
    image, flags: from the record.
    pgno: of the page.
    page_bytes: of a page of the database.

    Raises EseError -1206 for an image that is no page of that size.
    """
    if flags & COMPRESSED:
        image = decompress(image, page_bytes)
    if flags & DEHYDRATED:
        image = rehydrate(image, page_bytes)
    page = PageEditor(pgno, page_bytes)
    if len(image) != page_bytes:
        raise page.bad(f"its before-image has {len(image)} bytes")
    return PageEditor.load(image, pgno)


def dehydrate(page: bytes) -> bytes:
    """A page without what is free between its nodes and its tags."""
    tags = _tag_bytes(page)
    nodes_end = _header_bytes(len(page)) + int.from_bytes(page[_FREE_FROM], "little")
    cut = len(page) - tags - nodes_end
    return _with_free_bytes(page[:nodes_end] + page[len(page) - tags :], -cut, len(page))


def rehydrate(image: bytes, page_bytes: int) -> bytes:
    """The whole page again; raises nothing: what is no page is found out when it is loaded."""
    cut = page_bytes - len(image)
    if cut < 0 or len(image) < SMALL_HEADER_BYTES:
        return image
    split = max(0, len(image) - _tag_bytes(image))
    return _with_free_bytes(image[:split] + bytes(cut) + image[split:], cut, page_bytes)


def _with_free_bytes(page: bytes, change: int, page_bytes: int) -> bytes:
    """Large pages count their free bytes without what is cut out."""
    if page_bytes <= LARGEST_SMALL_PAGE:
        return page
    free = int.from_bytes(page[_FREE_BYTES], "little") + change
    return page[:28] + (free & 0xFFFF).to_bytes(2, "little") + page[30:]


def _tag_bytes(page: bytes) -> int:
    return TAG_BYTES * (int.from_bytes(page[_TAG_COUNT], "little") & TAG_COUNT_MASK)


def _header_bytes(page_bytes: int) -> int:
    return LARGE_HEADER_BYTES if page_bytes > LARGEST_SMALL_PAGE else SMALL_HEADER_BYTES
