"""Space: which pages a tree owns, and which of them are free.

E src/ese/space.cxx, src/inc/space.hxx; L; V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from replicator.ese.btree import BTree
from replicator.ese.errors import EseError
from replicator.ese.layout import Structure, u32
from replicator.ese.page import Page
from replicator.ese.page_source import PageSource

SYSTEM_ROOT: Final = 1
MULTIPLE_EXTENT: Final = 1
EXTENT_KEY_BYTES: Final = 4
WITH_AUTO_INCREMENT: Final = 3
WITH_AUTO_INCREMENT_BYTES: Final = 9


@dataclass(frozen=True, kw_only=True)
class SpaceHeader(Structure, size_bytes=16):
    """The external header of a root: tag 0."""

    primary_pages: int = u32(0)
    parent_root: int = u32(4)
    flags: int = u32(8)
    owned_root_or_map: int = u32(12, "single extent: a map of available pages")

    @property
    def is_multiple(self) -> bool:
        return bool(self.flags & MULTIPLE_EXTENT)


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of pages.

    Arguments
    ---------
    first, last: page numbers, both included; an empty extent has ``last`` below ``first``.
    pool: the byte that newer revisions put before the key; None where there is none.
    """

    first: int
    last: int
    pool: int | None = None

    @property
    def pages(self) -> int:
        return self.last - self.first + 1


def space_header(root: Page) -> SpaceHeader:
    """The space header of a root page; raises EseError -1206 when it has none."""
    data = _external_header(root)
    return SpaceHeader.decode(data[len(data) > SpaceHeader.SIZE :][: SpaceHeader.SIZE])


def next_auto_increment(root: Page) -> int | None:
    """The number that the next row of a table gets, where its root keeps one."""
    data = _external_header(root)
    if len(data) == SpaceHeader.SIZE:
        return None
    return int.from_bytes(data[1 + SpaceHeader.SIZE :], "little")


def _external_header(root: Page) -> bytes:
    """Tag 0 of a root in one of its two known forms.

    Either the space header alone, or (V: two tables of a Windows Search database of revision 6E,
    no document says it) a byte 3, the space header, and the next auto-increment number, u64.
    """
    data = root.tag_data(0) if root.tags else b""
    if len(data) == SpaceHeader.SIZE or (
        len(data) == SpaceHeader.SIZE + WITH_AUTO_INCREMENT_BYTES and data[0] == WITH_AUTO_INCREMENT
    ):
        return data
    detail = f"an external header of {len(data)} bytes that is no space header"
    raise EseError(-1206, detail, page=root.pgno)


def owned_extents(source: PageSource, root_pgno: int) -> list[Extent]:
    """The runs of pages that a tree owns, by page number."""
    root = BTree(source, root_pgno).root()
    header = space_header(root)
    if header.is_multiple:
        return list(extents(source, header.owned_root_or_map))
    return [Extent(root_pgno, root_pgno + max(1, header.primary_pages) - 1)]


def available_extents(source: PageSource, root_pgno: int) -> list[Extent]:
    """The runs of pages that a tree owns and does not use."""
    root = BTree(source, root_pgno).root()
    header = space_header(root)
    if header.is_multiple:
        return list(extents(source, header.owned_root_or_map + 1))
    free = header.owned_root_or_map
    numbers = (root_pgno + 1 + bit for bit in range(32) if free >> bit & 1)
    return [Extent(number, number) for number in numbers]


def too_short(there: int, last: int, path: str | None = None) -> EseError:
    """What is told of a file that ends before the last page that belongs to it.

    Arguments
    ---------
    there: pages in the file.
    last: the last page that the tree of owned extents of page 1 counts, or a page of that tree.
    path: the file.
    """
    detail = (
        f"the file ends with page {there:,}, and page {last:,} belongs to it (tree of owned "
        "extents): it was cut short"
    )
    return EseError(-1206, detail, path=path, page=max(1, there))


def extents(source: PageSource, root_pgno: int) -> Iterator[Extent]:
    """The entries of one space tree.

    Raises EseError -1206 for an entry of another shape.
    """
    for page, node in BTree(source, root_pgno).entries():
        if len(node.data) != 4 or len(node.key) not in (EXTENT_KEY_BYTES, EXTENT_KEY_BYTES + 1):
            detail = f"line {node.line} of a space tree has another shape than an extent"
            raise EseError(-1206, detail, path=source.path, page=page.pgno)
        last = int.from_bytes(node.key[-EXTENT_KEY_BYTES:], "big")
        count = int.from_bytes(node.data, "little")
        if count > last:
            detail = f"an extent of {count} pages ends with page {last}"
            raise EseError(-1206, detail, path=source.path, page=page.pgno)
        pool = node.key[0] if len(node.key) > EXTENT_KEY_BYTES else None
        yield Extent(last - count + 1, last, pool)
