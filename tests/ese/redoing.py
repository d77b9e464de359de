"""Redo in memory, and the comparison of pages with those that the engine left."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping
from functools import lru_cache
from typing import Any

from replicator.ese.log_file import LogFile
from replicator.ese.log_record import LogRecord
from replicator.ese.log_records import decode_record
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.redo import Redo, RedoDatabase
from replicator.ese.values import LogPosition
from tests.ese.samples import load

PAGE_BYTES = 4096
FIRST, LATER = "srum-server2022-first", "srum-server2022-later"
CLEAN, DIRTY = "srum-win10-clean", "srum-win10-dirty"
GENERATIONS = (
    f"{FIRST}/SRU00001.log",
    f"{LATER}/SRUtmp.log",
    f"{LATER}/SRU00003.log",
    f"{LATER}/SRU00004.log",
    f"{LATER}/SRU.log",
)
"""Generations 1 to 5 without a gap."""
CLEAN_LOGS = tuple(
    f"{CLEAN}/{name}.log"
    for name in ("SRUtmp", *(f"SRU000{number:02X}" for number in range(0x19, 0x20)), "SRU")
)
DIRTY_LOGS = tuple(f"{DIRTY}/SRU000{number:02X}.log" for number in range(0x4E, 0x52))

VOLATILE = int(PageFlag.FLUSH_TYPE | PageFlag.NEW_CHECKSUM)
"""Flags that say how a page was written last, nothing of its content."""


def run_now(task: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        task.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


class MemoryPages:
    """All pages in memory; ``changed`` tells which were touched."""

    def __init__(self, pages: Mapping[int, bytes] | None = None, size: int = PAGE_BYTES) -> None:
        self.size = size
        self.pages: dict[int, PageEditor] = {}
        self.touched: set[int] = set()
        self._start = dict(pages or {})

    def page(self, pgno: int) -> PageEditor:
        if pgno not in self.pages:
            data = self._start.get(pgno)
            self.pages[pgno] = (
                PageEditor(pgno, self.size) if data is None else PageEditor.load(data, pgno)
            )
        return self.pages[pgno]

    def cached(self, pgno: int) -> PageEditor | None:
        return self.page(pgno)

    def changed(self, pgno: int) -> None:
        self.touched.add(pgno)

    async def load(self, pgnos: Collection[int], new: Collection[int] = ()) -> None:
        """They are all there."""


@lru_cache(maxsize=32)
def records_of(name: str) -> tuple[LogRecord, ...]:
    """The records of a sample's log."""
    return tuple(LogFile(BytesReader(load(name)), closed=False).records())


def all_records(names: Iterable[str]) -> list[LogRecord]:
    return [record for name in names for record in records_of(name)]


@lru_cache(maxsize=4)
def pages_of(name: str) -> dict[int, bytes]:
    """The pages of a sample's database by number."""
    data = load(name)
    count = len(data) // PAGE_BYTES - 2
    return {
        pgno: data[page_offset(pgno, PAGE_BYTES) : page_offset(pgno + 1, PAGE_BYTES)]
        for pgno in range(1, count + 1)
    }


def redo(records: Iterable[LogRecord], pages: MemoryPages, last_required: int = 1 << 30) -> Redo:
    """Redo of a database with number 1, or of any number."""
    databases = {dbid: RedoDatabase(dbid, pages, last_required=last_required) for dbid in range(9)}
    run = Redo(databases)
    for record in records:
        run_now(run.apply(record))
    return run


def content(page: PageEditor) -> dict[str, Any]:
    """All that redo answers for: everything but checksums, flush type, and free space's bytes."""
    return {
        "dbtime": page.dbtime,
        "siblings": (page.prev_pgno, page.next_pgno),
        "objid": page.objid,
        "flags": page.flags & ~VOLATILE,
        "free": (page.free_bytes, page.uncommitted_free_bytes, page.free_from),
        "external header": page.external_header,
        "nodes": list(page.nodes()),
        "places": page.places,
    }


def difference(ours: PageEditor, data: bytes) -> list[str]:
    """In what a page differs from the engine's."""
    one, two = content(ours), content(PageEditor.load(data, ours.pgno))
    return [name for name in one if one[name] != two[name]]


def visible(pages: Iterable[PageEditor]) -> dict[int, list[tuple[bytes, bytes]]]:
    """What a reader would find, by tree: the nodes of leaves that are not deleted."""
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for page in pages:
        if page.line_count and page.is_leaf and not page.flags & PageFlag.SPACE_TREE:
            nodes = [(node.key, node.data) for node in page.nodes() if not node.is_deleted]
            found.setdefault(page.objid, []).extend(nodes)
    return {objid: sorted(nodes) for objid, nodes in found.items() if nodes}


class Recorder:
    """A log in memory."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        decode_record(record)  # refuses what is no record
        self.records.append(record)
        return LogPosition(99, len(self.records), 40)

    async def room(self, size_bytes: int) -> None:
        """There is always room."""

    async def harden(self) -> None:
        """All is durable at once."""
