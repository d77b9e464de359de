"""The undo phase of recovery: transactions without a commit are taken back, and that is logged.

Sessions in the order of their numbers, the changes of each from the newest to the oldest.  A node
is found by its key through its tree, for it may have moved.  Each step appends its record before
it changes the page, and the page cannot reach the disk before the record
(:mod:`replicator.ese.page_cache`); so a crash in here leaves logs whose redo comes to the same
point, and the next recovery goes on.  E src/ese/ver.cxx, logredo.cxx.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from replicator.ese.errors import EseError
from replicator.ese.log_page_records import Record, Undo, UndoInfo
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Macro, Rollback
from replicator.ese.page_editor import PageEditor
from replicator.ese.redo import Redo, RedoDatabase
from replicator.ese.undo_operations import apply_undo
from replicator.ese.values import LogPosition
from replicator.ese.versions import Change, Version

BAD_PAGE_LINK: Final = -338
TREE_LEVELS_MAX: Final = 16
"""Deeper than any tree; a search that goes on runs in a circle."""


class LogWriter(Protocol):
    """What undo needs of a log: :class:`replicator.ese.log_stream.LogStream` has it."""

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        """Take a record; it is on disk after the next flush."""

    async def room(self, size_bytes: int) -> None:
        """Wait until a record of so many bytes can be appended."""

    async def harden(self) -> None:
        """Make everything durable that was appended."""


async def append(log: LogWriter, record: Record, *, new_segment: bool = False) -> LogPosition:
    """Append a record that was built with its tail in ``raw``; returns where it starts."""
    data = record.encode()
    await log.room(len(data))
    return log.append(data, new_segment=new_segment)


async def undo_all(redo: Redo, log: LogWriter, begin: Record) -> LogPosition:
    """Take back all that is open when the logs end.

    Arguments
    ---------
    redo: at the end of the logs.
    log: goes on behind them; the next record begins a segment.
    begin: RecoveryUndo2, or RecoveryUndo in old logs.

    Returns where that record starts.  Nothing is durable yet.  Raises EseError: -338 when a tree
    leads nowhere, -500 when a version fits no node.
    """
    start = await append(log, begin, new_segment=True)
    for session, dbtime in redo.open_macros:
        await append(log, Macro(number=Kind.MACRO_ABORT, session=session, dbtime=dbtime))
    for session in redo.versions.open_sessions():
        for version in redo.versions.newest_first(session):
            await _undo_one(redo, session, version, log)
        levels = redo.versions.sessions[session].level
        await append(log, Rollback(number=Kind.ROLLBACK, session=session, levels=levels))
        redo.versions.roll_back(session, levels)
        redo.counts["rolled back"] += 1
    return start


async def _undo_one(redo: Redo, session: int, version: Version, log: LogWriter) -> None:
    database = redo.databases.get(version.dbid)
    if database is None:
        redo.versions.remove(session, version)
        return
    page, line = await find_node(database, version)
    common: dict[str, Any] = {
        "session": session,
        "dbid": version.dbid,
        "pgno": page.pgno,
        "transaction": version.transaction,
        "level": version.level,
        "line": line,
        "flags": version.flags,
        "version_id": version.number,
        "root_pgno": version.root_pgno,
        "objid": version.objid,
        "key_bytes": len(version.key),
        "operation": version.change,
    }
    if version.change is Change.REPLACE and version.held is not None:
        # Only the page that the change was made on has the data before, and it may be written
        # from here on: redo of the Undo record needs it in the log.
        info = UndoInfo(
            raw=bytes(UndoInfo.SIZE) + version.key + version.data + version.before,
            number=Kind.UNDO_INFO,
            bookmark_data_bytes=len(version.data),
            data_bytes=len(version.before),
            **common,
        )
        await append(log, info)
    database.dbtime += 1
    record = Undo(
        raw=bytes(Undo.SIZE) + version.key + version.data,
        number=Kind.UNDO,
        dbtime=database.dbtime,
        dbtime_before=page.dbtime,
        data_bytes=len(version.data),
        undo_level=version.level,
        **common,
    )
    await append(log, record)
    apply_undo(record, page, version)
    database.pages.changed(page.pgno)
    redo.versions.remove(session, version)
    redo.counts["undone"] += 1


async def find_node(database: RedoDatabase, version: Version) -> tuple[PageEditor, int]:
    """The leaf and the line where the node of a version is now.

    Raises EseError: -338 when there is none, or the tree is not one.
    """
    pages, pgno = database.pages, version.root_pgno
    target = version.key if version.unique else version.key + version.data
    for _level in range(TREE_LEVELS_MAX):
        await pages.load([pgno])
        page = pages.page(pgno)
        if not page.line_count or page.objid != version.objid:
            break
        if page.is_leaf:
            for line in range(_first_from(page, version.key), page.line_count):
                node = page.node(line)
                if node.key != version.key:
                    break
                if version.unique or node.data == version.data:
                    return page, line
            break
        low, high = 0, page.line_count - 1
        while low < high:  # the last line has no bound
            middle = (low + high) // 2
            if page.key(middle) > target:
                high = middle
            else:
                low = middle + 1
        pgno = page.child(low)
    detail = (
        f"a change of tree {version.objid} (root {version.root_pgno}) is to be taken back, and its "
        f"node, key {version.key.hex()}, is not there"
    )
    raise EseError(BAD_PAGE_LINK, detail, page=pgno)


def _first_from(page: PageEditor, key: bytes) -> int:
    """The first line of a leaf whose key is not below ``key``."""
    low, high = 0, page.line_count
    while low < high:
        middle = (low + high) // 2
        if page.key(middle) < key:
            low = middle + 1
        else:
            high = middle
    return low
