"""The engine of a small store: every change is a record that is logged and then carried out.

It uses the page operations that redo uses, so that its pages are what redo has to bring about.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

from replicator.ese.before_image import make_before_image
from replicator.ese.log_page_records import (
    NO_DBTIME,
    Delta,
    FlagInsertAndReplaceData,
    Insert,
    NodeRecord,
    Record,
    Replace,
    Split2,
    Undo,
    UndoInfo,
)
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import (
    Begin,
    Begin0,
    Commit,
    Commit0,
    Macro,
    Rollback,
    decode_record,
)
from replicator.ese.log_stream import LogStream
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_operations import apply
from replicator.ese.split_operations import apply_split
from replicator.ese.undo_operations import apply_undo
from replicator.ese.values import LogPosition
from replicator.ese.versions import Change, version_of
from tests.ese.redoing import MemoryPages

TABLE, TABLE_ROOT = 2, 4
PAGES = 20
LEAF = int(PageFlag.LEAF | PageFlag.NEW_RECORD_FORMAT | PageFlag.NEW_CHECKSUM)
T = TypeVar("T", bound=Record)


def built(kind: type[T], tail: bytes = b"", **fields: Any) -> T:
    """A record with what stands behind its fixed part."""
    return kind(raw=bytes(kind.SIZE) + tail, **fields)


class SmallEngine:
    """Logs and changes; made by :func:`crashed_store`."""

    def __init__(self, log: LogStream, page_bytes: int) -> None:
        self.log = log
        self.pages = MemoryPages(size=page_bytes)
        self.dbtime = 0
        self.versions = 0
        self.level: dict[int, int] = {}

    def append(self, record: Record, *, new_segment: bool = False) -> LogPosition:
        return self.log.append(record.encode(), new_segment=new_segment)

    # -- transactions ------------------------------------------------------------------

    def begin(self, session: int) -> None:
        level = self.level.get(session, 0)
        if level:
            self.append(Begin(number=Kind.BEGIN, session=session, levels=0x10 | level))
        else:
            self.append(
                Begin0(number=Kind.BEGIN0, session=session, levels=0x10, transaction=session)
            )
        self.level[session] = level + 1

    def commit(self, session: int) -> None:
        self.level[session] -= 1
        level = self.level[session]
        if level:
            self.append(Commit(number=Kind.COMMIT, session=session, level=level))
        else:
            self.append(Commit0(number=Kind.COMMIT0, session=session, level=0, transaction=session))

    # -- changes -----------------------------------------------------------------------

    def common(self, session: int, pgno: int, line: int, **more: Any) -> dict[str, Any]:
        self.dbtime += 1
        self.versions += 1
        return {
            "session": session,
            "dbid": 1,
            "pgno": pgno,
            "dbtime": self.dbtime,
            "dbtime_before": self.pages.page(pgno).dbtime,
            "transaction": session,
            "level": self.level.get(session, 1),
            "line": line,
            "flags": 1 | 4,
            "version_id": self.versions,
            "root_pgno": TABLE_ROOT,
            "objid": TABLE,
            **more,
        }

    def do(self, record: Record) -> Record:
        """Log a record and carry out what was logged."""
        data = record.encode()
        self.log.append(data)
        logged = decode_record(data)
        apply(logged, self.pages)
        return logged

    def leaf_of(self, key: bytes) -> PageEditor:
        page = self.pages.page(TABLE_ROOT)
        while not page.is_leaf:
            line = next(
                line
                for line in range(page.line_count)
                if not page.key(line) or page.key(line) > key
            )
            page = self.pages.page(page.child(line))
        return page

    def place_of(self, key: bytes) -> tuple[PageEditor, int]:
        page = self.leaf_of(key)
        return page, next(line for line in range(page.line_count) if page.key(line) == key)

    def insert_record(self, session: int, key: bytes, data: bytes, **more: Any) -> Insert:
        page = self.leaf_of(key)
        line = sum(page.key(line) < key for line in range(page.line_count))
        return built(
            Insert,
            key + data,
            number=Kind.INSERT,
            suffix_bytes=len(key),
            prefix_bytes=0,
            data_bytes=len(data),
            **self.common(session, page.pgno, line, **more),
        )

    def insert(self, session: int, key: bytes, data: bytes) -> None:
        self.do(self.insert_record(session, key, data))

    def replace(self, session: int, key: bytes, data: bytes) -> Replace:
        page, line = self.place_of(key)
        record = built(
            Replace,
            data,
            number=Kind.REPLACE,
            length_and_format=len(data),
            old_data_bytes=len(page.node(line).data),
            new_data_bytes=len(data),
            **self.common(session, page.pgno, line),
        )
        self.do(record)
        return record

    def flag_delete(self, session: int, key: bytes) -> None:
        page, line = self.place_of(key)
        self.do(built(NodeRecord, number=Kind.FLAG_DELETE, **self.common(session, page.pgno, line)))

    def insert_again(self, session: int, key: bytes, data: bytes) -> None:
        page, line = self.place_of(key)
        fields = self.common(session, page.pgno, line)
        self.versions += 1
        self.do(
            built(
                FlagInsertAndReplaceData,
                key + data,
                number=Kind.FLAG_INSERT_AND_REPLACE_DATA,
                key_bytes=len(key),
                data_bytes=len(data),
                replace_version_id=self.versions,
                **fields,
            )
        )

    def add(self, session: int, key: bytes, delta: int) -> None:
        page, line = self.place_of(key)
        self.do(
            built(
                Delta,
                key,
                number=Kind.DELTA,
                key_bytes=len(key),
                data_bytes=0,
                delta=delta,
                data_offset=0,
                **self.common(session, page.pgno, line),
            )
        )

    def undo_info(self, replaced: Replace, key: bytes, before: bytes) -> None:
        """Log the before-image of a replacement, so that its page may be written."""
        fields = {
            name: getattr(replaced, name)
            for name in ("session", "dbid", "pgno", "transaction", "level", "flags", "version_id")
        }
        self.append(
            built(
                UndoInfo,
                key + before,
                number=Kind.UNDO_INFO,
                dbtime=NO_DBTIME,  # it changes no page
                dbtime_before=NO_DBTIME,
                key_bytes=len(key),
                operation=Change.REPLACE,
                data_bytes=len(before),
                root_pgno=TABLE_ROOT,
                objid=TABLE,
                **fields,
            )
        )

    def roll_back_replace(self, replaced: Replace, key: bytes, before: bytes) -> None:
        """Take back one replacement and end the innermost transaction."""
        session = replaced.session
        self.undo_info(replaced, key, before)
        page, line = self.place_of(key)
        fields = self.common(session, page.pgno, line, version_id=replaced.version_id)
        record = built(
            Undo,
            key,
            number=Kind.UNDO,
            key_bytes=len(key),
            data_bytes=0,
            operation=Change.REPLACE,
            undo_level=fields["level"],
            **fields,
        )
        self.append(record)
        version = version_of(record, Change.REPLACE, key, b"")
        version.before = before
        apply_undo(record, page, version)
        self.append(Rollback(number=Kind.ROLLBACK, session=session, levels=1))
        self.level[session] -= 1

    # -- splits ------------------------------------------------------------------------

    def macro(self, session: int, splits: list[Split2], operation: Insert | None = None) -> None:
        dbtime = splits[0].dbtime
        self.append(Macro(number=Kind.MACRO_BEGIN, session=session, dbtime=dbtime))
        for record in (*splits, *([] if operation is None else [operation])):
            self.append(record)
        self.append(Macro(number=Kind.MACRO_COMMIT, session=session, dbtime=dbtime))
        levels = [decode_record(each.encode()) for each in splits]
        logged = None if operation is None else decode_record(operation.encode())
        apply_split(levels, logged, self.pages)  # type: ignore[arg-type]

    def split_root(self, session: int, new_pgno: int, key: bytes, data: bytes) -> None:
        """The root leaf is full: all its lines move to a new page, with the one inserted."""
        root = self.pages.page(TABLE_ROOT)
        insert = self.insert_record(session, key, data, dbtime_before=NO_DBTIME)
        image = make_before_image(root, insert.dbtime)
        split = built(
            Split2,
            image,
            number=Kind.SPLIT2,
            new_pgno=new_pgno,
            split_kind=0,
            operation=1,
            operation_line=insert.line,
            lines=root.line_count + 1,
            new_page_flags=LEAF,
            old_page_flags=(root.flags | PageFlag.PARENT_OF_LEAF) & ~int(PageFlag.LEAF),
            old_prefix_line=-1,
            new_prefix_line=-1,
            image_bytes=len(image),
            **_of_split(insert, TABLE_ROOT, root.dbtime),
        )
        self.macro(session, [split], insert)

    def split_leaf(self, session: int, pgno: int, new_pgno: int) -> None:
        """Half of a leaf's lines move to a new page behind it."""
        page, root = self.pages.page(pgno), self.pages.page(TABLE_ROOT)
        fields = self.common(session, pgno, 0)
        split_line = page.line_count // 2
        prefix = page.key(split_line)
        separator, right = page.key(split_line), page.next_pgno
        image = make_before_image(page, fields["dbtime"])
        parent_line = next(line for line in range(root.line_count) if root.child(line) == pgno)
        head = {name: fields[name] for name in _SPLIT_HEAD}
        parent = built(
            Split2,
            number=Kind.SPLIT2,
            pgno=TABLE_ROOT,
            line=parent_line,
            dbtime_before=root.dbtime,
            operation_line=parent_line,
            root_pgno=TABLE_ROOT,
            objid=TABLE,
            **head,
        )
        leaf = built(
            Split2,
            separator + image,
            number=Kind.SPLIT2,
            pgno=pgno,
            line=0,
            dbtime_before=page.dbtime,
            new_pgno=new_pgno,
            right_pgno=right,
            right_dbtime_before=self.pages.page(right).dbtime if right else NO_DBTIME,
            parent_pgno=TABLE_ROOT,
            parent_dbtime_before=root.dbtime,
            root_pgno=TABLE_ROOT,
            objid=TABLE,
            split_kind=1,
            split_line=split_line,
            lines=page.line_count,
            new_page_flags=LEAF,
            old_page_flags=page.flags,
            old_prefix_line=-1,
            new_prefix_line=0 if prefix else -1,
            key_bytes=len(separator),
            image_bytes=len(image),
            **head,
        )
        self.macro(session, [parent, leaf])

    # -- what is there -----------------------------------------------------------------

    def rows(self) -> dict[bytes, bytes]:
        return rows_in(self.pages.page)


_SPLIT_HEAD = ("session", "dbid", "dbtime", "transaction", "level", "flags")


def _of_split(insert: Insert, pgno: int, before: int) -> dict[str, Any]:
    head = {name: getattr(insert, name) for name in _SPLIT_HEAD}
    return {
        **head,
        "pgno": pgno,
        "line": 0,
        "dbtime_before": before,
        "root_pgno": TABLE_ROOT,
        "objid": TABLE,
    }


def rows_in(page: Callable[[int], PageEditor]) -> dict[bytes, bytes]:
    """What a reader finds, from the root down and along the siblings; both must agree."""
    leaves: list[int] = []

    def walk(pgno: int) -> None:
        node = page(pgno)
        if node.is_leaf:
            leaves.append(pgno)
            return
        for line in range(node.line_count):
            walk(node.child(line))

    walk(TABLE_ROOT)
    for one, two in pairwise(leaves):
        assert (page(one).next_pgno, page(two).prev_pgno) == (two, one)
    nodes = [node for pgno in leaves for node in page(pgno).nodes() if not node.is_deleted]
    assert [node.key for node in nodes] == sorted(node.key for node in nodes)
    return {node.key: node.data for node in nodes}
