"""Splitting a page that is full: which levels change, and the records that say so.

The levels are planned from the leaf up.  A parent with room takes the separator; one without
splits in the same macro.  A root splits vertically: its lines move to a new page below it.
A node behind all others goes to a page of its own: nothing moves, and nothing has to be planned.
Where the operation that needs the room does not fit into either half, the page is split without
it, and the caller searches again: each split leaves fewer lines on the page, so that ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from replicator.ese.before_image import DEHYDRATED, make_before_image
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import NO_DBTIME, NodeRecord, Split2
from replicator.ese.log_record_types import Kind
from replicator.ese.node import shared_prefix_bytes
from replicator.ese.page import TAG_BYTES, PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.split_operations import APPEND, INSERT, NO_OPERATION, RIGHT, VERTICAL
from simulator.exchange.ese.change import ChangeContext, TreeIdentity
from simulator.exchange.ese.record_building import build
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.split_plan import (
    NO_PREFIX,
    Half,
    Line,
    Split,
    balanced_split,
    half,
    separator,
    split_at,
    split_near,
)

REPLACE: Final = 2
FLAG_INSERT_AND_REPLACE: Final = 3
CHILD_BYTES: Final = 4

# As plain numbers: an operation on an enumeration takes ten times as long.
_ROOT: Final = int(PageFlag.ROOT)
_LEAF: Final = int(PageFlag.LEAF)
_PARENT_OF_LEAF: Final = int(PageFlag.PARENT_OF_LEAF)
_SCRUBBED: Final = int(PageFlag.SCRUBBED)

Path = list[tuple[PageEditor, int]]
"""Branch pages from the root down, each with the line that leads on."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be done to a node of a leaf.

    Arguments
    ---------
    split_operation: how a split names it.
    kind, number, tail, more: its record.
    version_id: as of :meth:`ChangeContext.node`.
    line: where.
    key, data: of the node afterwards.
    reserved_bytes: what its undo may need besides.
    """

    split_operation: int
    kind: type[NodeRecord]
    number: int
    line: int
    key: bytes
    data: bytes
    tail: bytes
    more: dict[str, int]
    version_id: int = 0
    reserved_bytes: int = 0


class PageSupply(Protocol):
    """Where a tree's new pages come from."""

    def allocate(self, session: Session, near_pgno: int) -> int:
        """A page that nothing uses; raises EseError -1808 when the file may not grow."""

    def allocate_run(self, session: Session, near_pgno: int, most: int) -> tuple[int, int]:
        """Pages in a row that nothing uses: the first, and how many, 1 to ``most``."""

    def free(self, session: Session, last_pgno: int, pages: int = 1) -> None:
        """Take pages in a row back that the tree does not use any more."""


class SplittingTree(TreeIdentity, Protocol):
    """What a split asks of the tree."""

    @property
    def unique(self) -> bool: ...

    @property
    def supply(self) -> PageSupply: ...

    def reserved_bytes(self, page: PageEditor) -> dict[int, int]:
        """By line, what undo may need besides what the node takes; lines without are left out."""


class _Level(NamedTuple):
    """One page that splits."""

    page: PageEditor
    kind: int
    operation: int
    operation_line: int
    split: Split
    lines: int
    separator: bytes
    right_pgno: int


class Splitter:
    """Splits pages of one tree for one session."""

    def __init__(self, context: ChangeContext, tree: SplittingTree, session: Session) -> None:
        self._context = context
        self._tree = tree
        self._session = session
        self._room = context.format.data_bytes

    def split(self, path: Path, page: PageEditor, operation: Operation, hotpoint: bool) -> bool:
        """Split a leaf that has no room for an operation.

        Arguments
        ---------
        path: the pages above it.
        page: the leaf.
        operation: what does not fit.
        hotpoint: nodes arrive in ascending order at this place; those behind it move away.

        Returns whether the operation has been done; if not, search again.
        """
        if not path:
            return self._vertical(page, operation)
        if self.append(path, page, operation):
            return True
        leaf = self._leaf_level(page, operation, hotpoint)
        levels = [leaf]
        above = list(path)
        while above:
            parent, line = above.pop()
            if self._takes(parent, levels[-1].separator):
                return self._carry_out(levels, parent, line, operation, path)
            if not above:
                self._vertical(parent, None)
                return False
            levels.append(self._branch_level(parent, line, levels[-1]))
        raise AssertionError("a path ends at a root")

    def append(
        self,
        path: Path,
        page: PageEditor,
        operation: Operation,
        take: Callable[[], int] | None = None,
    ) -> int:
        """Put a node behind all others of the tree on a page of its own.

        Arguments
        ---------
        path, page, operation: as of :meth:`split`.
        take: gives a page that the tree has already got; None to ask for one.

        Returns the number of the new page; 0, and nothing is done, where the node is no such one
        or the page above has no room for the new page.
        """
        lines = page.line_count
        if operation.split_operation != INSERT or page.next_pgno or operation.line != lines:
            return 0
        key, last = operation.key, lines - 1
        if self._tree.unique:
            parts = separator(page.key(last), key)
        else:
            node = page.node(last)
            parts = separator(node.key + node.data, key + operation.data)
        parent, parent_line = path[-1]
        if not self._takes(parent, parts):
            return 0
        if take is None:
            (new_pgno,) = self._new_pages([page])
        else:
            new_pgno = take()
            self._context.announce_new_page(self._session, new_pgno, self._tree.objid)
        dbtime = self._context.macro_dbtime(self._session)
        above = self._head(parent, dbtime)
        above["operation_line"] = parent_line
        flags, prefix = page.flags & ~_SCRUBBED, page.prefix
        fields = self._head(page, dbtime)
        fields |= {
            "new_pgno": new_pgno,
            "parent_pgno": parent.pgno,
            "parent_dbtime_before": parent.dbtime,
            "split_kind": APPEND,
            "operation": INSERT,
            "operation_line": lines,
            "split_line": lines,
            "lines": lines + 1,
            "new_page_flags": flags & ~_ROOT,
            "old_page_flags": flags,
            "old_uncommitted_free_field": page.uncommitted_free_bytes,
            "old_prefix_line": NO_PREFIX,
            "new_prefix_line": NO_PREFIX,
            "old_prefix_bytes": len(prefix),
            "key_bytes": len(parts),
        }
        levels = build(Split2, above), build(Split2, fields, parts + prefix)
        self._context.split(self._session, levels, self._operation_record(page, operation, dbtime))
        return new_pgno

    # -- planning -----------------------------------------------------------------------

    def _lines(self, page: PageEditor, operation: Operation | None) -> list[Line]:
        reserved = self._tree.reserved_bytes(page)
        unique = self._tree.unique
        lines = []
        for number, node in enumerate(page.nodes()):
            bookmark = node.key if unique else node.key + node.data
            lines.append(Line(node.key, len(node.data), reserved.get(number, 0), bookmark))
        if operation is not None:
            key, data = operation.key, operation.data
            bookmark = key if unique else key + data
            changed = Line(key, len(data), operation.reserved_bytes, bookmark)
            if operation.split_operation == INSERT:
                lines.insert(operation.line, changed)
            else:
                lines[operation.line] = changed
        return lines

    def _leaf_level(self, page: PageEditor, operation: Operation, hotpoint: bool) -> _Level:
        lines = self._lines(page, operation)
        at, last = operation.line, len(lines) - 1
        inserts = operation.split_operation == INSERT
        kind, split, done = RIGHT, None, operation.split_operation
        if inserts and at == last and (hotpoint or not page.next_pgno):
            if not page.next_pgno:
                kind = APPEND
            split = Split(at, self._as_it_is(page), half(lines[at:]))
            if kind == RIGHT:
                split = split_at(lines, at)
                if split.left.used_bytes > self._room:
                    split = None
        if split is None and hotpoint and at < last:
            split = split_near(lines, at + 1, self._room)
        if split is None:
            split = balanced_split(lines, self._room)
        if split is None:
            done = NO_OPERATION
            lines = self._lines(page, None)
            split = split_near(lines, max(1, min(at, len(lines) - 1)), self._room)
        if split is None:
            raise page.bad(f"{len(lines)} lines of it fit no two pages")
        left, right = lines[split.line - 1].bookmark, lines[split.line].bookmark
        return _Level(
            page,
            kind,
            done,
            at if done else 0,
            split,
            len(lines),
            separator(left, right),
            page.next_pgno,
        )

    @staticmethod
    def _as_it_is(page: PageEditor) -> Half:
        """The left half of an append: the page is not changed."""
        return Half(0, NO_PREFIX, b"", page.uncommitted_free_bytes)

    def _branch_level(self, page: PageEditor, line: int, child: _Level) -> _Level:
        lines = [Line(node.key, CHILD_BYTES, 0, b"") for node in page.nodes()]
        lines.insert(line, Line(child.separator, CHILD_BYTES, 0, b""))
        last = len(lines) - 1
        split = None
        if child.kind == APPEND and line == last - 1:
            split = split_at(lines, last)
            if split.left.used_bytes > self._room:
                split = None
        split = split or balanced_split(lines, self._room)
        if split is None:
            raise page.bad(f"{len(lines)} lines of it fit no two pages")
        key = lines[split.line - 1].key
        return _Level(page, RIGHT, INSERT, line, split, len(lines), key, 0)

    @staticmethod
    def _takes(page: PageEditor, key: bytes) -> bool:
        """Whether a branch page has room for one more child."""
        share = shared_prefix_bytes(page.prefix, key)
        stored = (4 - share if share else 2) + len(key) + CHILD_BYTES
        return page.free_bytes >= stored + TAG_BYTES

    # -- carrying out -------------------------------------------------------------------

    def _carry_out(
        self, levels: list[_Level], top: PageEditor, top_line: int, operation: Operation, path: Path
    ) -> bool:
        """Levels from the leaf up; ``top`` is the page that only takes a separator."""
        new = self._new_pages([level.page for level in levels])
        dbtime = self._context.macro_dbtime(self._session)
        head = self._head(top, dbtime)
        head["operation_line"] = top_line
        records = [build(Split2, head)]
        parents = [page for page, _ in reversed(path)]
        for depth in range(len(levels) - 1, -1, -1):
            records.append(self._record(levels[depth], new[depth], dbtime, parents[depth]))
        done = levels[0].operation != NO_OPERATION
        self._context.split(
            self._session,
            records,
            self._operation_record(levels[0].page, operation, dbtime) if done else None,
        )
        return done

    def _vertical(self, root: PageEditor, operation: Operation | None) -> bool:
        """Move all lines of a root one level down."""
        leaf = root.is_leaf
        lines = self._lines(root, operation) if leaf else self._branch_lines(root)
        right = half(lines)
        if operation is not None and right.used_bytes > self._room:
            operation = None
            lines = self._lines(root, None)
            right = half(lines)
        split = Split(0, self._as_it_is(root)._replace(reserved_bytes=0), right)
        (new,) = self._new_pages([root])
        dbtime = self._context.macro_dbtime(self._session)
        done = operation.split_operation if operation is not None else NO_OPERATION
        at = operation.line if operation is not None else 0
        level = _Level(root, VERTICAL, done, at, split, len(lines), b"", 0)
        record = self._record(level, new, dbtime, None)
        self._context.split(
            self._session,
            [record],
            None if operation is None else self._operation_record(root, operation, dbtime),
        )
        return operation is not None

    @staticmethod
    def _branch_lines(page: PageEditor) -> list[Line]:
        return [Line(node.key, CHILD_BYTES, 0, b"") for node in page.nodes()]

    def _new_pages(self, old: list[PageEditor]) -> list[int]:
        """A page beside each of these, or none at all: what was got is given back then."""
        found: list[int] = []
        try:
            for page in old:
                found.append(self._tree.supply.allocate(self._session, page.pgno))
        except EseError:
            for pgno in found:
                self._tree.supply.free(self._session, pgno)
            raise
        for pgno in found:
            self._context.announce_new_page(self._session, pgno, self._tree.objid)
        return found

    def _head(self, page: PageEditor, dbtime: int) -> dict[str, Any]:
        flags = self._tree.record_flags
        head = self._context.head(self._session, Kind.SPLIT2, page, dbtime, flags)
        head["root_pgno"], head["objid"] = self._tree.root_pgno, self._tree.objid
        head["right_dbtime_before"] = head["parent_dbtime_before"] = NO_DBTIME
        return head

    def _record(
        self, level: _Level, new_pgno: int, dbtime: int, parent: PageEditor | None
    ) -> Split2:
        page, split = level.page, level.split
        flags = page.flags & ~_SCRUBBED
        new_flags = flags & ~_ROOT
        if level.kind == VERTICAL:
            below = 0 if flags & _PARENT_OF_LEAF else _LEAF & flags
            flags &= ~(_LEAF | _PARENT_OF_LEAF)
            flags |= _PARENT_OF_LEAF if below else 0
        old_prefix = page.prefix
        fields = self._head(page, dbtime)
        fields |= {
            "new_pgno": new_pgno,
            "right_pgno": level.right_pgno,
            "split_kind": level.kind,
            "operation": level.operation,
            "operation_line": level.operation_line,
            "split_line": split.line,
            "lines": level.lines,
            "new_page_flags": new_flags,
            "old_page_flags": flags,
            "old_uncommitted_free_field": split.left.reserved_bytes,
            "new_uncommitted_free_field": split.right.reserved_bytes,
            "old_prefix_line": split.left.prefix_line,
            "new_prefix_line": split.right.prefix_line,
            "old_prefix_bytes": len(old_prefix),
            "new_prefix_bytes": len(split.left.prefix),
            "key_bytes": len(level.separator),
        }
        if parent is not None:
            fields["parent_pgno"] = parent.pgno
            fields["parent_dbtime_before"] = parent.dbtime
        if level.right_pgno:
            right = self._context.page(level.right_pgno)
            fields["right_dbtime_before"] = right.dbtime
        image = b""
        if self._moves_old_lines(level):
            dehydrated = self._context.format.dehydrated_images
            image = make_before_image(page, dbtime, dehydrated=dehydrated)
            fields["image_bytes"] = len(image)
            fields["image_flags"] = DEHYDRATED if dehydrated else 0
        return build(Split2, fields, level.separator + old_prefix + split.left.prefix + image)

    @staticmethod
    def _moves_old_lines(level: _Level) -> bool:
        if level.kind == VERTICAL:
            return True
        only_inserted = level.split.line == level.operation_line == level.lines - 1
        return not (level.operation == INSERT and only_inserted)

    def _operation_record(self, page: PageEditor, operation: Operation, dbtime: int) -> NodeRecord:
        flags = self._tree.record_flags | (1 if operation.version_id else 0)
        fields = self._context.head(self._session, operation.number, page, dbtime, flags)
        fields["dbtime_before"] = NO_DBTIME
        fields["line"] = operation.line
        fields["version_id"] = operation.version_id
        fields["root_pgno"], fields["objid"] = self._tree.root_pgno, self._tree.objid
        fields |= operation.more
        if operation.split_operation == INSERT:
            fields["suffix_bytes"], fields["prefix_bytes"] = len(operation.key), 0
        return build(operation.kind, fields, operation.tail)
