"""Carrying out a split: nodes of one page move to a new one, level by level from the root down.

What moves, which prefix each page gets and what its parent learns is in the records; this only
does it, and in the engine's order, so that every node comes to lie where the engine puts it.
See docs/store-redo.md section 5; E src/ese/bt.cxx, logredo.cxx; V.

::

    level 0   parent     takes (separator, old page) and, behind it, the new page
    level 1   old page   keeps its lines below split_line
              new page   gets the others; the inserted node goes to where it belongs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from replicator.ese.before_image import read_before_image
from replicator.ese.difference import apply_difference
from replicator.ese.log_page_records import (
    FlagInsertAndReplaceData,
    Insert,
    NodeRecord,
    Replace,
    Split2,
)
from replicator.ese.log_record_types import Kind
from replicator.ese.node import DELETED, SPLIT_BUFFER_BYTES, VERSIONED, EditedNode
from replicator.ese.node import shared_prefix_bytes as shared
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_operations import Pages, Wanted, every_page, misfit, stamp

VERTICAL, RIGHT, APPEND = 0, 1, 2
NO_OPERATION, INSERT = 0, 1
NO_PREFIX: Final = -1
_LEAF: Final = int(PageFlag.LEAF)
_LEAF_AND_PARENT: Final = 2


def apply_split(
    levels: Sequence[Split2],
    operation: NodeRecord | None,
    pages: Pages,
    wanted: Wanted = every_page,
) -> None:
    """Carry out all levels of a split, with the operation that made it necessary.

    Arguments
    ---------
    levels: from the root down; the last one is the page that was full.
    operation: what is done to the leaf on the way; None where it is logged by itself later.
    pages: where the pages are.
    wanted: which pages are to be changed.  A new page that is wanted while its old page is not
        is filled from the before-image.

    Raises EseError: -500 for records that do not fit the pages, -1206 where a page cannot take
    what it should.
    """
    if _is_plain_append(levels, operation, wanted):
        assert isinstance(operation, Insert)
        _append(levels[0], levels[1], operation, pages)
        return
    for at, level in enumerate(levels):
        child = levels[at + 1] if at + 1 < len(levels) else None
        if level.new_pgno:
            _Level(level, child, operation, pages, wanted).split()
        elif wanted(level.pgno):
            if child is None:
                raise misfit(level, "the level that splits is missing")
            page = pages.page(level.pgno)
            insert_separator(level, page, child)
            stamp(page, level.dbtime)


def moves_only_the_inserted(level: Split2) -> bool:
    """Whether no line of the old page moves, so that the new page does not need it."""
    return (
        level.operation == INSERT
        and level.split_line == level.operation_line == level.lines - 1
        and level.split_kind != VERTICAL
    )


def _is_plain_append(
    levels: Sequence[Split2], operation: NodeRecord | None, wanted: Wanted
) -> bool:
    """Whether the inserted node gets a page of its own behind all others, and nothing else moves.

    So are long values put in, a page a piece.  All pages are to be changed, so none is filled from
    another one's image.
    """
    if len(levels) != _LEAF_AND_PARENT or type(operation) is not Insert:
        return False
    parent, leaf = levels
    return (
        leaf.split_kind == APPEND
        and leaf.operation == INSERT
        and leaf.split_line == leaf.operation_line == leaf.lines - 1
        and leaf.new_prefix_line == NO_PREFIX
        and bool(leaf.new_page_flags & _LEAF)
        and not parent.new_pgno
        and not leaf.right_pgno
        and wanted(parent.pgno)
        and wanted(leaf.pgno)
        and wanted(leaf.new_pgno)
    )


def _append(parent: Split2, leaf: Split2, operation: Insert, pages: Pages) -> None:
    """What :class:`_Level` would do, without taking the old page apart."""
    old, dbtime = pages.page(leaf.pgno), leaf.dbtime
    if old.line_count != leaf.operation_line:
        detail = f"the page has {old.line_count + 1} lines, not {leaf.lines}"
        raise misfit(leaf, detail)
    above = pages.page(parent.pgno)
    insert_separator(parent, above, leaf)
    stamp(above, parent.dbtime)
    new = pages.page(leaf.new_pgno)
    new.start(leaf.objid, dbtime, leaf.new_page_flags)
    key, data = operation.tail(
        operation.prefix_bytes + operation.suffix_bytes, operation.data_bytes
    )
    new.insert(0, key, data, 0, VERSIONED if operation.versioned else 0)
    new.uncommitted_free_bytes = max(0, leaf.new_uncommitted_free)
    new.prev_pgno, old.next_pgno = leaf.pgno, leaf.new_pgno
    old.uncommitted_free_bytes = max(0, leaf.old_uncommitted_free)
    stamp(old, dbtime)
    stamp(new, dbtime)


def split_source(level: Split2, pages: Pages, wanted: Wanted) -> PageEditor | None:
    """The page whose lines are split: the old page, or how it was before it was written.

    None where neither is needed, and where the record holds no image.
    """
    if wanted(level.pgno):
        return pages.page(level.pgno)
    if not wanted(level.new_pgno) or moves_only_the_inserted(level):
        return None
    if not level.image_bytes:
        raise misfit(level, "the new page needs the old one, and there is no before-image")
    page_bytes = pages.page(level.pgno).page_bytes
    return read_before_image(level.before_image, level.image_flags, level.pgno, page_bytes)


def insert_separator(level: Split2, page: PageEditor, child: Split2) -> None:
    """Tell a page that does not split itself of the new page below it."""
    key = child.separator_key
    last = page.line_count - 1
    line = page.child_line(key)
    if last < 0 or (line == last and b"" != page.key(last) <= key):
        raise misfit(level, "no line of the parent leads to the page that was split")
    if page.child(line) != child.pgno:
        detail = f"line {line} of the parent leads to page {page.child(line)}, not {child.pgno}"
        raise misfit(level, detail)
    page.insert(line, key, _pgno(child.pgno), shared(page.prefix, key))
    page.lead_to(line + 1, child.new_pgno)


def _pgno(number: int) -> bytes:
    return number.to_bytes(4, "little")


@dataclass(slots=True)
class _Level:
    """One level that splits.

    Arguments
    ---------
    level: its record.
    child: that of the level below.
    operation: what is done to the leaf.
    """

    level: Split2
    child: Split2 | None
    operation: NodeRecord | None
    pages: Pages
    wanted: Wanted

    def split(self) -> None:
        level = self.level
        source = split_source(level, self.pages, self.wanted)
        old = source if self.wanted(level.pgno) else None
        new = self.pages.page(level.new_pgno) if self.wanted(level.new_pgno) else None
        if new is not None:
            new.start(level.objid, level.dbtime, level.new_page_flags)
        if source is not None:
            lines = self._lines(source)
            if new is not None:
                self._fill(new, lines)
            if old is not None:
                self._cut(old, lines)
        elif new is not None:
            self._fill_with_inserted(new)
        self._link(old, new)
        if old is not None:
            stamp(old, level.dbtime)
        if new is not None:
            stamp(new, level.dbtime)

    @property
    def _is_leaf(self) -> bool:
        return bool(self.level.new_page_flags & PageFlag.LEAF)

    def _inserted(self) -> EditedNode:
        """The node that the split makes room for."""
        if not self._is_leaf:
            if self.child is None:
                raise misfit(self.level, "the level below is missing")
            return EditedNode(0, self.child.separator_key, _pgno(self.child.pgno), 0)
        operation = self.operation
        if not isinstance(operation, Insert):
            raise misfit(self.level, "the operation is no insert, as the split says")
        return EditedNode(0, operation.key, operation.data, self._versioned)

    @property
    def _versioned(self) -> int:
        return VERSIONED if self.operation is not None and self.operation.versioned else 0

    def _lines(self, source: PageEditor) -> list[EditedNode]:
        """All lines of both halves, the operation done."""
        level, lines = self.level, list(source.nodes())
        at = level.operation_line
        if level.operation == INSERT:
            if at > len(lines):
                raise misfit(level, f"line {at} of {len(lines)} to insert at")
            lines.insert(at, self._inserted())
        elif level.operation != NO_OPERATION:
            if at >= len(lines):
                raise misfit(level, f"line {at} of {len(lines)} to replace")
            lines[at] = self._replaced(lines[at])
        if len(lines) != level.lines:
            raise misfit(level, f"the page has {len(lines)} lines, not {level.lines}")
        return lines

    def _replaced(self, node: EditedNode) -> EditedNode:
        operation, flags = self.operation, node.flags | self._versioned
        if isinstance(operation, FlagInsertAndReplaceData):
            return node._replace(data=operation.data, flags=flags & ~DELETED)
        if not isinstance(operation, Replace):
            raise misfit(self.level, "the operation is no replacement, as the split says")
        data = operation.data
        if operation.number == Kind.REPLACE_D:
            data = apply_difference(data, node.data, wide=operation.wide_difference)
        return node._replace(data=data, flags=flags)

    def _fill(self, new: PageEditor, lines: list[EditedNode]) -> None:
        """Give the new page its prefix, then its lines."""
        level = self.level
        moving = lines[level.split_line :]
        if level.new_prefix_line != NO_PREFIX:
            if not 0 <= level.new_prefix_line < len(moving):
                raise misfit(level, f"line {level.new_prefix_line} is to give the prefix")
            new.set_external_header(moving[level.new_prefix_line].key)
        prefix = new.prefix
        for at, node in enumerate(moving):
            new.insert(at, node.key, node.data, shared(prefix, node.key), node.flags)
        if self._is_leaf:
            new.uncommitted_free_bytes = max(0, level.new_uncommitted_free)

    def _fill_with_inserted(self, new: PageEditor) -> None:
        """The same where only the inserted line goes there and the old page is not at hand."""
        node, prefix = self._inserted(), b""
        if self.level.new_prefix_line != NO_PREFIX:
            prefix = node.key
            new.set_external_header(prefix)
        new.insert(0, node.key, node.data, shared(prefix, node.key), node.flags)
        if self._is_leaf:
            new.uncommitted_free_bytes = max(0, self.level.new_uncommitted_free)

    def _cut(self, old: PageEditor, lines: list[EditedNode]) -> None:
        """Take the moved lines from the old page, and make it what it is afterwards."""
        level = self.level
        at, inserts = level.operation_line, level.operation == INSERT
        here = level.operation != NO_OPERATION and at < level.split_line
        keep = level.split_line - (1 if inserts and here else 0)
        for line in reversed(range(keep, old.line_count)):
            old.delete(line)
        if level.split_kind != APPEND:
            if level.split_kind != VERTICAL or level.old_prefix_bytes:
                self._set_old_prefix(old, lines)
            if here:
                node = lines[at]
                flags = node.flags if inserts else node.flags & VERSIONED
                if not inserts:
                    old.delete(at)
                old.insert(at, node.key, node.data, self._share(node.key), flags)
        if self._is_leaf:
            old.uncommitted_free_bytes = max(0, level.old_uncommitted_free)

    def _share(self, key: bytes) -> int:
        """How much of a key of the old page its new prefix stands for."""
        if self.level.old_prefix_line == NO_PREFIX:
            return 0
        return shared(self.level.new_prefix, key)

    def _set_old_prefix(self, old: PageEditor, lines: list[EditedNode]) -> None:
        """Change the prefix while there is always room: first the lines that get shorter."""
        level = self.level
        inserted = level.operation_line if level.operation == INSERT else -1
        keys = [node.key for line, node in enumerate(lines[: level.split_line]) if line != inserted]
        shares = [self._share(key) for key in keys]
        is_space_root = old.is_root and old.flags & PageFlag.SPACE_TREE
        kept = old.external_header[:SPLIT_BUFFER_BYTES] if is_space_root else b""
        before = [old.stored_prefix_bytes(line) for line in range(len(keys))]
        if level.old_prefix_bytes:
            old.set_external_header(kept)
        for shorter in (True, False):
            for line, share in enumerate(shares):
                if share != before[line] and (share > before[line]) is shorter:
                    old.set_key_prefix(line, keys[line], share)
        old.set_external_header(kept + level.new_prefix)

    def _link(self, old: PageEditor | None, new: PageEditor | None) -> None:
        """Siblings of leaves, and the lines that lead to pages of the level below."""
        level = self.level
        if level.split_kind == VERTICAL and old is not None:
            old.flags = level.old_page_flags
            old.insert(0, b"", _pgno(level.new_pgno))
        if not self._is_leaf:
            self._lead_to_new_child(old, new)
        if level.split_kind == VERTICAL or not self._is_leaf:
            return
        if new is not None:
            new.prev_pgno = level.pgno
            if level.right_pgno:
                new.next_pgno = level.right_pgno
        if old is not None:
            old.next_pgno = level.new_pgno
        if level.right_pgno and self.wanted(level.right_pgno):
            right = self.pages.page(level.right_pgno)
            right.prev_pgno = level.new_pgno
            stamp(right, level.dbtime)

    def _lead_to_new_child(self, old: PageEditor | None, new: PageEditor | None) -> None:
        """The line behind the inserted separator led to the old child; now to the new one."""
        if self.child is None or not self.child.new_pgno:
            return
        line, split = self.level.operation_line + 1, self.level.split_line
        page = new if line >= split else old
        if page is not None:
            page.replace_data(line - split if line >= split else line, _pgno(self.child.new_pgno))
