"""Pages and log in memory, redo of that log, and checks of what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from replicator.ese.btree import BTree
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import ExtendDB, RecoveryUndo2, decode_record
from replicator.ese.page import Page
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import PageSource
from replicator.ese.reader import BytesReader
from replicator.ese.redo import Redo, RedoDatabase
from replicator.ese.undo import undo_all
from replicator.ese.values import LogPosition

UNCOMMITTED_FREE = slice(30, 32)
"""What ended transactions had reserved is let go without a record, so it may differ."""


@dataclass(frozen=True)
class Written:
    """A page as the file may hold it, once the log is durable up to so many records."""

    needs: int
    content: bytes


class MemoryPages:
    """All pages of a database; for the store and for redo alike."""

    def __init__(self, page_bytes: int) -> None:
        self.page_bytes = page_bytes
        self.all: dict[int, PageEditor] = {}
        self.history: dict[int, list[Written]] | None = None
        """What each page may have been written as, where that is to be kept."""
        self.needs: dict[int, int] = {}
        """Of each page, the records that have to be durable before it is written."""
        self.may_be_written: Callable[[PageEditor], bool] = lambda page: True

    def page(self, pgno: int) -> PageEditor:
        page = self.all.get(pgno)
        if page is None:
            page = self.all[pgno] = PageEditor(pgno, self.page_bytes)
        return page

    def fresh(self, pgno: int) -> PageEditor:
        return self.page(pgno)

    def changed(
        self,
        pgnos: Iterable[int] | int,
        position: LogPosition | None = None,
        began: LogPosition | None = None,
    ) -> None:
        if self.history is None or isinstance(pgnos, int):
            return
        assert position is not None
        for pgno in pgnos:
            self.needs[pgno] = position.sector
            if self.may_be_written(self.all[pgno]):
                self.written(pgno)

    def depends_on(self, pgno: int, position: LogPosition) -> None:
        if self.history is not None:
            self.needs[pgno] = max(self.needs[pgno], position.sector)

    def written(self, pgno: int) -> None:
        """The file may hold the page as it is now."""
        assert self.history is not None
        found = self.history.setdefault(pgno, [])
        one = Written(self.needs[pgno], self.all[pgno].plain_bytes())
        if one not in found:
            found.append(one)

    @staticmethod
    def extended_to(records: Iterable[bytes], default: int = 0) -> int:
        """The last page that the records give the file."""
        found = (decode_record(each) for each in records if each[0] == Kind.EXTEND_DB)
        return max((e.last_pgno for e in found if isinstance(e, ExtendDB)), default=default)

    # -- what redo asks -----------------------------------------------------------------

    def cached(self, pgno: int) -> PageEditor | None:
        return self.page(pgno)

    async def load(self, pgnos: Collection[int], new: Collection[int] = ()) -> None:
        for pgno in pgnos:
            self.page(pgno)


class MemoryLog:
    """All records; positions count them."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def __call__(self, record: bytes) -> LogPosition:
        self.records.append(record)
        return LogPosition(1, len(self.records), 0)


def run(coroutine: Coroutine[Any, Any, object]) -> None:
    """Drive a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


def redone(records: list[bytes], page_bytes: int, start: MemoryPages | None = None) -> MemoryPages:
    """The pages after redo of records, from nothing or from other pages."""
    pages = start if start is not None else MemoryPages(page_bytes)
    _redo(records, pages)
    return pages


def _redo(records: list[bytes], pages: MemoryPages) -> Redo:
    redo = Redo({1: RedoDatabase(1, pages, last_required=1)})  # type: ignore[arg-type]

    async def everything() -> None:
        for at, record in enumerate(records, 1):
            await redo.apply(LogRecord(LogPosition(1, at, 0), record))

    run(everything())
    return redo


def content(page: PageEditor) -> bytes:
    """A page for comparison."""
    data = bytearray(page.plain_bytes())
    data[UNCOMMITTED_FREE] = bytes(2)
    return bytes(data)


def check_same(some: MemoryPages, others: MemoryPages) -> None:
    """Raises AssertionError with the first difference in detail."""
    for pgno in sorted(some.all.keys() | others.all.keys()):
        one, other = some.page(pgno), others.page(pgno)
        if content(one) == content(other):
            continue
        for name in ("dbtime", "objid", "prev_pgno", "next_pgno", "flags", "external_header"):
            assert getattr(one, name) == getattr(other, name), (pgno, name)
        assert list(one.nodes()) == list(other.nodes()), pgno
        assert one.free_bytes == other.free_bytes, pgno
        pairs = enumerate(zip(content(one), content(other), strict=True))
        different = [at for at, (a, b) in pairs if a != b]
        raise AssertionError((pgno, different, one.places, other.places, one.free_from))


def contents(pages: MemoryPages) -> dict[int, bytes]:
    return {pgno: content(page) for pgno, page in pages.all.items() if not page.is_zero}


def undone(
    records: list[bytes],
    page_bytes: int,
    start: MemoryPages | None = None,
    log: AsyncLog | None = None,
) -> MemoryPages:
    """The pages after redo, with what open transactions had done taken back.

    Arguments
    ---------
    start: what redo begins with; else nothing.
    log: takes the records of the undo.
    """
    pages = start if start is not None else MemoryPages(page_bytes)
    redo = _redo(records, pages)
    run(undo_all(redo, log or AsyncLog(), RecoveryUndo2(number=Kind.RECOVERY_UNDO2)))
    return pages


class AsyncLog:
    """A log as recovery writes it."""

    def __init__(self) -> None:
        self._log = MemoryLog()

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        return self._log(record)

    @property
    def records(self) -> list[bytes]:
        return self._log.records

    async def room(self, size_bytes: int) -> None: ...

    async def harden(self) -> None: ...


def source_of(pages: MemoryPages, *, checksummed: bool = True, at_least: int = 0) -> PageSource:
    """The pages as a file that the reader reads."""
    last = max(*pages.all, at_least)
    size = pages.page_bytes
    data = bytearray(size * (last + 2))
    for pgno, page in pages.all.items():
        if not page.is_zero:
            content = page.sealed_bytes() if checksummed else page.plain_bytes()
            data[(pgno + 1) * size : (pgno + 2) * size] = content
    return PageSource(BytesReader(bytes(data), "memory"), size, checksummed=checksummed)


def entries(source: PageSource, root_pgno: int) -> list[tuple[bytes, bytes]]:
    """Keys and data of a tree, by the reader, with all its checks."""
    return [(entry.node.key, entry.node.data) for entry in BTree(source, root_pgno).entries()]


def tree_pages(source: PageSource, root_pgno: int) -> list[int]:
    """All pages of a tree, from the root down."""
    found: list[int] = []
    below = [root_pgno]
    while below:
        page: Page = source.page(below.pop())
        found.append(page.pgno)
        if not page.is_leaf:
            below += [page.child(line) for line in range(page.line_count)]
    return found
