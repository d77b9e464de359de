"""Trees of a mail store read through hashes of their pages: only a page that is new is taken apart.

What a page says is a function of its bytes, its number, and the tree that it is read in::

    branch                   keys and children
    leaf of Msg              who has which content
    leaf of Body, Attachment which long value, or the bytes' hash
    leaf of long values      hashes of their pieces

A tree counts only where a search and a walk would find just the same on it: every page verifies,
all leaves are equally deep, hold their keys in order and within the bounds of the branches above,
and lead to each other in that order.  Else it is :class:`Unusual`, and somebody else's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final, NamedTuple

import xxhash

from replicator.ese.long_value_encoding import LongValueEncoder
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_io import judged_page, neighbours
from replicator.ese.page_source import page_offset
from replicator.ese.records import Record
from replicator.ese.undo import TREE_LEVELS_MAX
from replicator.runtime.port import File
from simulator.exchange.ese.mail_schema import row_values
from simulator.exchange.ese.table import Table
from simulator.remembered import Remembered

FRESH_BYTES: Final = 32 << 20
"""Pieces that no image before has had are kept so far, for their messages to be put together."""

_FACTS_BYTES: Final = 400
_ENTRY_BYTES: Final = 160
"""About what a page's facts take in memory, keys included, and each of their entries."""

Bounded = tuple[int, bytes | None, bytes | None]
"""A page's number, and between which keys it stands by the branches above."""


class Role(IntEnum):
    """As what a leaf is read."""

    MESSAGES = 0
    DATA = 1
    LONG_VALUES = 2


class MessageRow(NamedTuple):
    """Of ``Msg``."""

    message_id: int
    content_id: int
    attachments: int


class DataRow(NamedTuple):
    """Of ``Body`` and ``Attachment``: its key, and its long value's number or its bytes' hash."""

    key: bytes
    long_value: int | None
    piece: bytes


class LongValuePart(NamedTuple):
    """What one leaf has of a long value.

    Arguments
    ---------
    identifier: its number.
    size_bytes: of the whole value, where it begins here; else None.
    held_bytes: how many of them this leaf has.
    pieces: the hashes of these pieces, one behind the other.
    """

    identifier: int
    size_bytes: int | None
    held_bytes: int
    pieces: bytes


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a page says.

    Arguments
    ---------
    next_pgno: of a leaf, the one on its right.
    first, last: of a leaf that has lines, the outermost keys.
    entries: of a leaf, by its role; deleted ones are left out.
    separators, children: of a branch; None for a leaf.
    """

    next_pgno: int = 0
    first: bytes | None = None
    last: bytes | None = None
    entries: tuple[Any, ...] = ()
    separators: tuple[bytes, ...] | None = None
    children: tuple[int, ...] = ()


class Unusual(Exception):
    """A tree on which a search and a walk might not find the same."""


class KnownPages:
    """One database, read once.

    Arguments
    ---------
    facts: what is known of pages; new ones are added.
    file: of the database; nobody writes to it meanwhile.
    page_bytes: of a page.
    page_count: pages that the file has.

    Attributes
    ----------
    fresh: by hash, the bytes of pieces on pages that were not known, up to :data:`FRESH_BYTES`.
    """

    def __init__(
        self, facts: Remembered[bytes, PageFacts], file: File, page_bytes: int, page_count: int
    ) -> None:
        self._known, self._file, self._page_bytes = facts, file, page_bytes
        self._page_count = self._pages_left = page_count
        self.fresh: dict[bytes, bytes] = {}
        self._fresh_bytes = 0

    async def leaves(self, table: Table, role: Role, top_pgno: int) -> list[PageFacts]:
        """The leaves of a tree from left to right.

        Arguments
        ---------
        table: whose tree.
        role: as what its leaves are read.
        top_pgno: of the tree.

        Raises Unusual; EseError for pages that do not verify or hold together; StorageError.
        """
        level: list[Bounded] = [(top_pgno, None, None)]
        for _depth in range(TREE_LEVELS_MAX):
            facts = await self._facts(table, role, [pgno for pgno, _, _ in level])
            below: list[Bounded] = []
            for page, (_pgno, low, high) in zip(facts, level, strict=True):
                if page.separators is not None:
                    bounds = (low, *page.separators, high)
                    below += zip(page.children, bounds[:-1], bounds[1:], strict=True)
            if not below:
                _check_leaves(facts, level)
                return facts
            if any(page.separators is None for page in facts):
                raise Unusual("leaves and branches on one level")
            level = below
        raise Unusual("more levels than any tree has")

    async def _facts(self, table: Table, role: Role, pgnos: list[int]) -> list[PageFacts]:
        """What pages say, in this order; neighbours are read together."""
        self._pages_left -= len(pgnos)
        distinct = sorted(set(pgnos))
        last = self._page_count
        if self._pages_left < 0 or len(distinct) < len(pgnos):
            raise Unusual("pages lead to each other")
        if distinct[0] < 1 or distinct[-1] > last:
            raise Unusual("a page leads out of the file")
        file, size = self._file, self._page_bytes
        found: dict[int, PageFacts] = {}
        for run in neighbours(distinct, size):
            data = memoryview(await file.read_at(page_offset(run[0], size), len(run) * size))
            for place, pgno in enumerate(run):
                page = data[place * size : (place + 1) * size]
                key = _key(page, pgno, role)
                facts = self._known.get(key)
                if facts is None:
                    facts = self._taken_apart(table, role, bytes(page), pgno)
                    weight = _FACTS_BYTES + _ENTRY_BYTES * (
                        len(facts.entries) + len(facts.children)
                    )
                    self._known.keep(key, facts, weight)
                found[pgno] = facts
        return [found[pgno] for pgno in pgnos]

    def _taken_apart(self, table: Table, role: Role, data: bytes, pgno: int) -> PageFacts:
        page = judged_page(data, pgno, self._file.path)
        count = page.line_count
        if not page.is_leaf:
            separators = tuple(page.key(line) for line in range(count - 1))
            if not count or any(low >= high for low, high in pairwise(separators)):
                raise Unusual("a branch without order")
            children = tuple(page.child(line) for line in range(count))
            return PageFacts(separators=separators, children=children)
        keys = [page.key(line) for line in range(count)]
        if any(low >= high for low, high in pairwise(keys)):
            raise Unusual("a leaf without order")
        if role is Role.LONG_VALUES:
            entries: tuple[Any, ...] = tuple(self._long_value_parts(page))
        elif role is Role.DATA:
            entries = tuple(self._data_rows(table, page))
        else:
            entries = tuple(_message_rows(table, page))
        first, last = (keys[0], keys[-1]) if keys else (None, None)
        return PageFacts(page.next_pgno, first, last, entries)

    # -- leaves --------------------------------------------------------------------------

    def _long_value_parts(self, page: PageEditor) -> Iterator[LongValuePart]:
        identifier_bytes = LongValueEncoder(self._page_bytes).identifier_bytes
        part: LongValuePart | None = None
        for node in page.nodes():
            if node.is_deleted:
                continue
            if len(node.key) < identifier_bytes:
                raise Unusual("a long value's key is too short")
            identifier = int.from_bytes(node.key[:identifier_bytes], "big")
            if part is not None and part.identifier != identifier:
                yield part
                part = None
            if len(node.key) == identifier_bytes:
                size_bytes = int.from_bytes(node.data[4:8], "little")
                part = LongValuePart(identifier, size_bytes, 0, b"")
                continue
            if part is None:
                part = LongValuePart(identifier, None, 0, b"")
            held_bytes = part.held_bytes + len(node.data)
            pieces = part.pieces + self._piece(node.data)
            part = part._replace(held_bytes=held_bytes, pieces=pieces)
        if part is not None:
            yield part

    def _data_rows(self, table: Table, page: PageEditor) -> Iterator[DataRow]:
        layout = table.definition.layout
        column = next(each for each in layout.columns.values() if each.name == "Data")
        offset = layout.fixed_offsets().get(column.identifier, 0)
        for node in page.nodes():
            if node.is_deleted:
                continue
            stored = table.record_of(node).instances(column, offset)
            if stored and stored[0].separated:
                yield DataRow(node.key, int.from_bytes(stored[0].data, "little"), b"")
            else:
                value = column.decode(stored[0].data) if stored else None
                data = value if isinstance(value, bytes) else b""
                yield DataRow(node.key, None, self._piece(data))

    def _piece(self, data: bytes) -> bytes:
        piece = xxhash.xxh3_128_digest(data)
        if self._fresh_bytes + len(data) <= FRESH_BYTES:
            self.fresh[piece] = data
            self._fresh_bytes += len(data)
        return piece


def _key(page: memoryview, pgno: int, role: Role) -> bytes:
    """What a page's facts are kept under; the same bytes may stand elsewhere, hence the seed."""
    return xxhash.xxh3_128_digest(page, pgno * len(Role) + role)


def _message_rows(table: Table, page: PageEditor) -> Iterator[MessageRow]:
    for node in page.nodes():
        if node.is_deleted:
            continue
        record = table.record_of(node)
        if _is_elsewhere(record):
            raise Unusual("a row of Msg has a long value")
        row: dict[str, Any] = row_values(table, record)
        yield MessageRow(row["MessageId"], row["ContentId"], row["Attachments"])


def _is_elsewhere(record: Record) -> bool:
    return any(each.separated for field in record.tagged.values() for each in field.instances())


def _check_leaves(leaves: list[PageFacts], level: list[Bounded]) -> None:
    """Raises Unusual unless a search finds on these leaves what a walk finds, and in its order."""
    following = [pgno for pgno, _, _ in level[1:]] + [0]
    for leaf, (_pgno, low, high), next_pgno in zip(leaves, level, following, strict=True):
        if leaf.next_pgno != next_pgno:
            raise Unusual("a leaf does not lead to the one on its right")
        if leaf.first is not None and low is not None and leaf.first < low:
            raise Unusual("a key is below its branch")
        if leaf.last is not None and high is not None and leaf.last >= high:
            raise Unusual("a key is above its branch")
