"""Databases that a former recovery passed over: their open transactions ended in the logs alone.

A recovery that may go on without a missing database (``--ignore-missing-databases``; eseutil's
/i) ends what is open at the end of the logs: Undo records for the databases that are there, then
Rollback for the whole session, then the clean end.  So does the published engine (E
src/ese/_log/logredo.cxx: a deferred attachment is dropped when recovery ends, its sessions are
ended all the same).  In the file that was missing nothing has been taken back.  Redo of these
logs would carry out its changes, meet the Rollback, and call the database clean, with changes
that nobody committed.

It can be told from the logs: in the undo of a recovery each change that can be taken back is, by
an Undo record with its number, before the Rollback.  A Rollback there that finds changes of a
database left is the end of one that was passed over.  What the published engine does with such a
database is not documented; here it is refused, -1216, the number that its absence was passed over
under.

Only databases that the logs do not leave attached are looked at; so the records are read twice
only after a shutdown, and not after a crash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_names import LogRole
from replicator.ese.log_need import ATTACHED_MISMATCH
from replicator.ese.log_page_records import (
    Delta,
    FlagInsert,
    FlagInsertAndReplaceData,
    Insert,
    NodeRecord,
    Record,
    Replace,
    Undo,
)
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import TRANSACTION_KINDS, Kind
from replicator.ese.log_records import AttachDB, Begin, Commit, CreateDB, DetachDB, Macro, Rollback
from replicator.ese.log_set import LogSet, LogSummary
from replicator.ese.recovery_files import FoundDatabase, read_file
from replicator.ese.values import LogPosition, Signature
from replicator.ese.versions import Change, VersionStore, version_of
from replicator.runtime.port import Volume

_REMEDY: Final = (
    "Recover it with the logs as they were before they were recovered without it, or restore it "
    "from a backup; what was recovered then goes on if this file is put aside."
)


async def check_left_open(
    volume: Volume,
    logs: LogSet,
    usable: Sequence[LogSummary],
    databases: Collection[FoundDatabase],
) -> list[EseError]:
    """Which databases have transactions that these logs end without taking them back.

    Arguments
    ---------
    logs: the set.
    usable: those of it that would be redone.
    databases: those to be recovered.

    Records that make no sense are not told of here: redo meets them, and says so.
    """
    attached = {each.signature for each in logs.attached or ()}
    last = max((log.generation or 0 for log in usable), default=0)
    watched = {
        each.header.database_signature: _Watched(each)
        for each in databases
        if each.header.database_signature not in attached and _redo_from(each).generation <= last
    }
    if not watched:
        return []
    scan = _Scan(watched)
    for summary in usable:
        closed = summary.name.role is LogRole.CLOSED
        try:
            log = LogFile(await read_file(volume, summary.path), closed=closed)
            if summary is usable[0]:
                scan.attach_listed(
                    (each.dbid, each.database_signature) for each in log.header.attachments
                )
            for record in log.records():
                scan.read(record)
        except EseError:
            break
    return list(scan.errors())


def _redo_from(database: FoundDatabase) -> LogPosition:
    """Records up to there do not count for it, as in redo."""
    header = database.header
    return max(header.attach_position, header.consistent_position)


class _Watched:
    """One database, and where its changes were left."""

    def __init__(self, found: FoundDatabase) -> None:
        self.path = found.path
        self.redo_from = _redo_from(found)
        self.transactions = 0
        self.position = LogPosition()
        """Of the first Rollback that left changes."""


class _Scan:
    """What is open as the records go by, for the databases watched and no other."""

    def __init__(self, watched: dict[Signature, _Watched]) -> None:
        self._watched = watched
        self._attached: dict[int, _Watched] = {}
        self._versions = VersionStore()
        self._macros: dict[tuple[int, int], list[Record]] = {}
        self._in_undo = False

    def attach_listed(self, entries: Iterable[tuple[int, Signature]]) -> None:
        """What the first log's header lists."""
        for dbid, signature in entries:
            if signature in self._watched:
                self._attached[dbid] = self._watched[signature]

    def errors(self) -> Iterator[EseError]:
        """One for each database that was passed over with transactions open."""
        for each in self._watched.values():
            if each.transactions:
                detail = (
                    f"these logs were recovered without it: they end {each.transactions:,} of its "
                    f"transactions, at {each.position} and behind, without taking back their "
                    "changes in it"
                )
                yield EseError(ATTACHED_MISMATCH, detail, path=each.path, events=(), remedy=_REMEDY)

    def read(self, record: LogRecord) -> None:
        """Take the next record."""
        number = record.number
        if number not in _READ:
            return
        content = record.content
        match content:
            case AttachDB() | CreateDB():
                self.attach_listed([(content.dbid, content.database_signature)])
            case DetachDB():
                self._attached.pop(content.dbid, None)
            case Begin():
                level = content.level_before + content.levels_begun
                outermost = number == Kind.BEGIN0
                self._versions.begin(content.session, level, outermost=outermost)
            case Commit():
                self._versions.commit(content.session, content.level)
            case Rollback():
                self._roll_back(record.position, content)
            case Macro():
                self._macro(record.position, content)
            case NodeRecord():
                key = content.session, content.dbtime
                if key in self._macros:
                    self._macros[key].append(content)
                else:
                    self._change(record.position, content)
            case _ if number == Kind.SHUT_DOWN:
                self._attached.clear()
            case _:
                self._run(number)

    def _run(self, number: int) -> None:
        """A run of the engine begins, or a recovery comes to its undo, or to its end."""
        self._in_undo = number in (Kind.RECOVERY_UNDO, Kind.RECOVERY_UNDO2)
        if number in (Kind.INIT, Kind.INIT2):
            self._macros.clear()
            self._versions.clear()

    def _macro(self, position: LogPosition, record: Macro) -> None:
        key = record.session, record.dbtime
        if record.number == Kind.MACRO_BEGIN:
            self._macros[key] = []
            return
        records = self._macros.pop(key, [])
        if record.number == Kind.MACRO_COMMIT:
            for each in records:
                self._change(position, each)

    def _change(self, position: LogPosition, record: Record) -> None:
        if not isinstance(record, NodeRecord) or record.session not in self._versions:
            return
        database = self._attached.get(record.dbid)
        if database is None or position <= database.redo_from:
            return
        if isinstance(record, Undo):
            found = self._versions.find(record)
            if found is not None:
                self._versions.remove(record.session, found)
            return
        if not record.versioned:
            return
        for number, change in _changes(record):
            made = version_of(record, change, b"", b"")
            made.number = number
            self._versions.add(record.session, made)

    def _roll_back(self, position: LogPosition, record: Rollback) -> None:
        session = self._versions.sessions.get(record.session)
        if session is not None and self._in_undo:
            remains = max(0, session.level - record.levels)
            left = {each.dbid for each in session.versions.values() if each.level > remains}
            for dbid in left:
                database = self._attached.get(dbid)
                if database is not None:
                    if not database.transactions:
                        database.position = position
                    database.transactions += 1
        self._versions.roll_back(record.session, record.levels)


def _changes(record: NodeRecord) -> Iterator[tuple[int, Change]]:
    """What an Undo record can take back of a change: its number and kind, one or two."""
    if isinstance(record, FlagInsertAndReplaceData):
        yield record.version_id, Change.INSERT
        yield record.replace_version_id, Change.REPLACE
    elif isinstance(record, Insert | FlagInsert):
        yield record.version_id, Change.INSERT
    elif isinstance(record, Replace):
        yield record.version_id, Change.REPLACE
    elif record.number == Kind.FLAG_DELETE:
        yield record.version_id, Change.FLAG_DELETE
    elif record.number in (Kind.DELTA, Kind.DELTA64):
        delta = Change.DELTA if isinstance(record, Delta) else Change.DELTA64
        yield record.version_id, delta


_READ: Final = TRANSACTION_KINDS | frozenset(
    {
        Kind.INIT,
        Kind.INIT2,
        Kind.ATTACH_DB,
        Kind.CREATE_DB,
        Kind.DETACH_DB,
        Kind.SHUT_DOWN,
        Kind.RECOVERY_UNDO,
        Kind.RECOVERY_UNDO2,
        Kind.RECOVERY_QUIT,
        Kind.RECOVERY_QUIT2,
        Kind.TERM,
        Kind.TERM2,
        Kind.INSERT,
        Kind.FLAG_INSERT,
        Kind.FLAG_INSERT_AND_REPLACE_DATA,
        Kind.FLAG_DELETE,
        Kind.REPLACE,
        Kind.REPLACE_D,
        Kind.DELTA,
        Kind.DELTA64,
        Kind.UNDO,
    }
)
