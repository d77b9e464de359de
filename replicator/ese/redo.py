"""Redo: the records of a log set, one after the other, carried out on the databases they name.

A record changes a page when the page's dbtime is below the record's, and then the page must have
exactly the dbtime that the record found (:mod:`replicator.ese.page_touches`).  What a macro
holds is carried out at its end, or not at all.  Versions of open transactions are kept for their
undo.  Memory: the pages of the caches, one macro a session, the versions.

A record counts for a database only behind ``redo_from``: the attach that its header names, or
the clean end, where it is clean.  A session counts from its first Begin0; what it did before, in
a transaction that began before these logs, is on disk, as the checkpoint promises.

See docs/store-redo.md sections 1 to 7; E src/ese/_log/logredo.cxx.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from replicator.ese.before_image import read_before_image
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import (
    ConvertFDP2,
    CreateMultipleExtentFDP,
    CreateSingleExtentFDP,
    FlagInsertAndReplaceData,
    Insert,
    Merge2,
    NewPage,
    NodeRecord,
    PageRecord,
    Record,
    Replace,
    Split2,
    Undo,
    UndoInfo,
)
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import TRANSACTION_KINDS, Kind
from replicator.ese.log_records import Begin, Commit, ExtendDB, Macro, Rollback, ShrinkDB
from replicator.ese.merge_operations import apply_merge
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_operations import INVALID_OPERATION, Pages, apply
from replicator.ese.page_touches import NEW_PAGE, is_wanted, touches, touches_of_macro
from replicator.ese.split_operations import apply_split
from replicator.ese.undo_operations import apply_undo
from replicator.ese.values import LogPosition
from replicator.ese.versions import Change, VersionStore, version_of


class RedoPages(Pages, Protocol):
    """Where redo gets the pages of one database from; see :mod:`replicator.ese.page_cache`."""

    def cached(self, pgno: int) -> PageEditor | None:
        """A page if it is in memory."""

    def changed(self, pgno: int) -> None:
        """A page differs from the file from now on."""

    async def load(self, pgnos: Collection[int], new: Collection[int] = ()) -> None:
        """Have pages in memory until the next call."""


@dataclass
class RedoDatabase:
    """One database under redo.

    Arguments
    ---------
    dbid: its number in the log set.
    pages: its pages.
    redo_from: records at or before it do not count.
    last_required: the highest generation that its header required at the start; no page can hold
        a change of a later one.
    dbtime, last_objid: highest seen, from the header on.
    extends, shrinks: how many records of them there were.
    grow: called with the last page that the database has room for, as records say.
    write_again: whether pages that have a change already count as changed.  Behind a failed sync
        they read well, count as written, and are not on the medium: no later sync writes them.
    """

    dbid: int
    pages: RedoPages
    redo_from: LogPosition = field(default_factory=LogPosition)
    last_required: int = 0
    dbtime: int = 0
    last_objid: int = 0
    extends: int = 0
    shrinks: int = 0
    grow: Callable[[int], Awaitable[None]] | None = None
    write_again: bool = False

    def saw(self, dbtime: int, objid: int = 0) -> None:
        """Keep up the counters that a header carries."""
        self.dbtime = max(self.dbtime, dbtime)
        self.last_objid = max(self.last_objid, objid)


class Redo:
    """Redo of one log set.

    Arguments
    ---------
    databases: those attached, by their number; the owner keeps it up as records attach and
        detach them.

    Attributes
    ----------
    versions: of transactions that have not ended.
    counts: pages changed (``redone``), left alone (``skipped``), and records passed over.
    """

    def __init__(self, databases: dict[int, RedoDatabase]) -> None:
        self.databases = databases
        self.versions = VersionStore()
        self.counts: Counter[str] = Counter()
        self._macros: dict[tuple[int, int], list[Record]] = {}

    @property
    def open_macros(self) -> list[tuple[int, int]]:
        """Session and dbtime of those that were begun and did not end."""
        return sorted(self._macros)

    async def apply(self, record: LogRecord) -> None:
        """Carry out one record.

        Raises EseError with page and position in its detail: -500, -566, -567, -625, and for
        pages that cannot be read.
        """
        number = record.data[0]
        if number not in _HANDLED:
            return
        try:
            if number in _NODE_KINDS and self._is_there_already(record):
                self.counts["skipped"] += 1
                return
            await self._apply(record.position, record.content)
        except EseError as error:
            if "log record" not in error.detail:
                error.detail += f"; at log record {record.title} {record.position}"
            raise

    def _is_there_already(self, record: LogRecord) -> bool:
        """Whether a node record, by a look at a few bytes, has nothing left to do."""
        dbid, pgno, dbtime = _PAGE_HEAD.unpack_from(record.data)
        database = self.databases.get(dbid)
        if database is None or record.data[_FLAGS_AT] & 1:  # versioned ones are remembered
            return False
        page = database.pages.cached(pgno)
        if page is None or page.dbtime < dbtime:
            return False
        if record.position.generation > database.last_required or self._macros:
            return False
        if database.write_again:
            database.pages.changed(pgno)
        database.saw(dbtime, _OBJID.unpack_from(record.data)[0])
        return True

    async def _apply(self, position: LogPosition, record: Record) -> None:
        match record:
            case Begin():
                level = record.level_before + record.levels_begun
                outermost = record.number == Kind.BEGIN0
                self.versions.begin(record.session, level, outermost=outermost)
            case Commit():
                self.versions.commit(record.session, record.level)
            case Rollback():
                self.versions.roll_back(record.session, record.levels)
            case Macro():
                await self._macro(position, record)
            case ExtendDB() | ShrinkDB():
                await self._resize(position, record)
            case PageRecord() | NewPage():
                key = record.session, record.dbtime
                if key in self._macros and not isinstance(record, UndoInfo):
                    self._macros[key].append(record)
                else:
                    await self._change(position, [record])
            case _ if record.number in _RUN_BEGINS:
                self._macros.clear()
                self.versions.clear()
            case _ if record.number in _NOT_REDONE:
                await self._change(position, [record])

    async def _macro(self, position: LogPosition, record: Macro) -> None:
        key = record.session, record.dbtime
        if record.number == Kind.MACRO_BEGIN:
            self._macros[key] = []
            return
        records = self._macros.pop(key, None)
        if records and record.number == Kind.MACRO_COMMIT:
            await self._change(position, records)

    async def _resize(self, position: LogPosition, record: ExtendDB | ShrinkDB) -> None:
        database = self.databases.get(record.dbid)
        if database is None or position <= database.redo_from:
            return
        if isinstance(record, ShrinkDB):
            # Recovery ends with the size that the space trees say.
            database.shrinks += 1
            return
        database.extends += 1
        if database.grow is not None:
            await database.grow(record.last_pgno)

    # -- pages -----------------------------------------------------------------------------

    async def _change(self, position: LogPosition, records: list[Record]) -> None:
        """Carry out records that take effect together: one, or those of a macro."""
        first = records[0]
        if not isinstance(first, PageRecord | NewPage):
            raise EseError(INVALID_OPERATION, "recovery does not know this record")
        database = self.databases.get(first.dbid)
        if database is None or position <= database.redo_from:
            self.counts["of no attached database"] += 1
            return
        for record in records:
            _count(database, record)
        if first.session not in self.versions:
            self.counts["of a transaction begun before"] += 1
            return
        found = touches_of_macro(records) if len(records) > 1 else list(touches(first))
        new = [touch.pgno for touch in found if touch.before == NEW_PAGE]
        if found:
            await database.pages.load([touch.pgno for touch in found], new)
        beyond = position.generation > database.last_required
        wanted = {
            touch.pgno
            for touch in found
            if is_wanted(
                touch, database.pages.page(touch.pgno).dbtime, first.dbtime, beyond_required=beyond
            )
        }
        self.counts["redone"] += len(wanted)
        self.counts["skipped"] += len(found) - len(wanted)
        splits = [each for each in records if isinstance(each, Split2)]
        merges = [each for each in records if isinstance(each, Merge2)]
        if splits:
            self._split(database, splits, records, wanted)
        elif merges:
            apply_merge(merges, database.pages, wanted.__contains__)
        else:
            for record in records:
                self._one(database, record, wanted)
        for pgno in {touch.pgno for touch in found} if database.write_again else wanted:
            database.pages.changed(pgno)

    def _one(self, database: RedoDatabase, record: Record, wanted: set[int]) -> None:
        versions, largest = self.versions, None
        if isinstance(record, UndoInfo):
            versions.add_undo_info(record)
            return
        if isinstance(record, Undo):
            version = versions.find(record)
            if record.pgno in wanted:
                apply_undo(record, database.pages.page(record.pgno), version)
            if version is not None:
                versions.remove(record.session, version)
            return
        if isinstance(record, NodeRecord) and record.versioned:
            versions.add_logged(record)
            if record.pgno in wanted:
                page = database.pages.page(record.pgno)
                if record.line < page.line_count:
                    self._remember_node(record, page)
                    key = page.key(record.line)
                    largest = versions.largest_data_bytes(record.session, record.root_pgno, key)
        apply(record, database.pages, wanted.__contains__, largest_data_bytes=largest)

    def _remember_node(self, record: NodeRecord, page: PageEditor) -> None:
        """Keep what only the page knows: the data before a replacement, a deleted node's key."""
        flags_deleted = record.number == Kind.FLAG_DELETE
        if not flags_deleted and not isinstance(record, Replace | FlagInsertAndReplaceData):
            return
        node = page.node(record.line)
        if flags_deleted:
            made = version_of(record, Change.FLAG_DELETE, node.key, node.data)
        else:
            # The data of a node whose keys are not unique is its bookmark and is never replaced.
            made = version_of(record, Change.REPLACE, node.key, b"")
            made.before = node.data
            if isinstance(record, FlagInsertAndReplaceData):
                made.number = record.replace_version_id
        made.held = record.dbid, page.pgno
        self.versions.add(record.session, made)

    def _split(
        self, database: RedoDatabase, splits: list[Split2], records: list[Record], wanted: set[int]
    ) -> None:
        operations = [each for each in records if isinstance(each, NodeRecord)]
        if len(operations) > 1:
            raise EseError(INVALID_OPERATION, "a split with more than one operation")
        operation = operations[0] if operations else None
        if operation is not None and operation.versioned:
            self.versions.add_logged(operation)
            self._remember_split_node(database, splits[-1], operation, wanted)
        apply_split(splits, operation, database.pages, wanted.__contains__)

    def _remember_split_node(
        self, database: RedoDatabase, leaf: Split2, operation: NodeRecord, wanted: set[int]
    ) -> None:
        """The same for a replacement that made its page split: of the page before, or its image."""
        if isinstance(operation, Insert):
            return
        page = database.pages.page(leaf.pgno)
        if leaf.pgno not in wanted:
            if leaf.new_pgno not in wanted or not leaf.image_bytes:
                return
            page = read_before_image(
                leaf.before_image, leaf.image_flags, leaf.pgno, page.page_bytes
            )
        if operation.line < page.line_count:
            self._remember_node(operation, page)


def _count(database: RedoDatabase, record: Record) -> None:
    """The counters go on with every record, whether it is redone or not.

    UndoInfo changes no page, and what stands in the place of its dbtime means nothing.
    """
    if isinstance(record, UndoInfo):
        return
    objid = 0
    if isinstance(
        record,
        NodeRecord | NewPage | CreateMultipleExtentFDP | CreateSingleExtentFDP | ConvertFDP2,
    ):
        objid = record.objid
    if isinstance(record, PageRecord | NewPage):
        database.saw(record.dbtime, objid)


_PAGE_HEAD: Final = struct.Struct("<3xBIQ")
_FLAGS_AT: Final = 31
_OBJID: Final = struct.Struct("<40xI")

_NODE_KINDS: Final = frozenset(
    {
        Kind.INSERT,
        Kind.FLAG_INSERT,
        Kind.FLAG_INSERT_AND_REPLACE_DATA,
        Kind.FLAG_DELETE,
        Kind.REPLACE,
        Kind.REPLACE_D,
        Kind.DELETE,
        Kind.DELTA,
        Kind.DELTA64,
        Kind.SET_EXTERNAL_HEADER,
    }
)
_RUN_BEGINS: Final = frozenset({Kind.INIT, Kind.INIT2})
_NOT_REDONE: Final = frozenset({Kind.CONVERT_FDP, Kind.SPLIT, Kind.MERGE, Kind.ROOT_PAGE_MOVE})
_HANDLED: Final = (
    _NODE_KINDS
    | _RUN_BEGINS
    | _NOT_REDONE
    | TRANSACTION_KINDS
    | {
        Kind.EXTEND_DB,
        Kind.SHRINK_DB,
        Kind.SHRINK_DB2,
        Kind.SHRINK_DB3,
        Kind.NEW_PAGE,
        Kind.CREATE_MULTIPLE_EXTENT_FDP,
        Kind.CREATE_SINGLE_EXTENT_FDP,
        Kind.CONVERT_FDP2,
        Kind.UNDO_INFO,
        Kind.UNDO,
        Kind.EMPTY_TREE,
        Kind.SPLIT2,
        Kind.MERGE2,
        Kind.SCRUB,
        Kind.PAGE_MOVE,
    }
)
