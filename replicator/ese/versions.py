"""Versions: what redo remembers of each change of a transaction that has not ended.

When the logs end, what is still here is taken back (:mod:`replicator.ese.undo`).  A version
knows its node by key, not by place, for the node may move to another page.

A before-image that comes from a page is lost once the page is written: redone again after a
crash, the page has the change already.  So such a version holds its page back, until its
transaction ends or an UndoInfo record in the log has the image.  E src/ese/ver.cxx, logredo.cxx.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from replicator.ese.difference import INVALID_OPERATION
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import (
    Delta,
    Delta64,
    FlagInsert,
    Insert,
    NodeRecord,
    Undo,
    UndoInfo,
)


class Change(IntEnum):
    """What a version takes back; numbers as in Undo and UndoInfo records."""

    INSERT = 1
    REPLACE = 2
    FLAG_DELETE = 3
    DELTA = 4
    DELTA64 = 9


PageKey = tuple[int, int]
"""Database and page number."""


@dataclass(slots=True)
class Version:
    """One change that can be taken back.

    Arguments
    ---------
    number: rceid; rises with time within a transaction.
    change: what was done.
    level: of the transaction, from 1.
    transaction: number of its Begin0.
    dbid, root_pgno, objid, unique: the tree.
    key, data: tell the node; ``data`` only where keys are not unique.
    before: the data of the node before, of a replacement.
    delta, offset: of a delta.
    flags: of the record.
    held: the page that must not be written as long as this is needed.
    """

    number: int
    change: Change
    level: int
    transaction: int
    dbid: int
    root_pgno: int
    objid: int
    unique: bool
    key: bytes
    data: bytes
    before: bytes = b""
    delta: int = 0
    offset: int = 0
    flags: int = 0
    held: PageKey | None = None

    @property
    def id(self) -> tuple[int, int]:
        """Its number, which the two changes of one record may share, and the change."""
        return self.number, self.change


@dataclass(slots=True)
class Session:
    """A session whose outermost transaction began in the logs read.

    Arguments
    ---------
    level: how deep its transactions are nested; 0 when none is open.
    """

    level: int = 0
    versions: dict[tuple[int, int], Version] = field(default_factory=dict)
    """By number and change."""
    largest: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """The most bytes that a replaced node had in the open transaction, by root and key."""


def bookmark(record: NodeRecord, key: bytes, data: bytes) -> tuple[bytes, bytes]:
    """What tells a node of the record's tree."""
    return key, b"" if record.unique else data


class VersionStore:
    """Sessions, their transactions and what these have changed."""

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}
        self._held: Counter[PageKey] = Counter()

    def __contains__(self, session: int) -> bool:
        return session in self.sessions

    # -- transactions ------------------------------------------------------------------

    def clear(self) -> None:
        """A run of the engine begins: nothing of the one before is open."""
        self.sessions.clear()
        self._held.clear()

    def begin(self, session: int, level: int, *, outermost: bool) -> None:
        """A transaction begins; of an unknown session only the outermost one counts."""
        if outermost:
            self._drop(session, 0)
            self.sessions[session] = Session(level)
        elif session in self.sessions:
            self.sessions[session].level = level

    def commit(self, session: int, level: int) -> None:
        """A transaction ends well: its changes belong to the one around it, at ``level``."""
        found = self.sessions.get(session)
        if found is None:
            return
        found.level = level
        if not level:
            self._drop(session, 0)
            return
        for version in found.versions.values():
            version.level = min(version.level, level)

    def roll_back(self, session: int, levels: int) -> None:
        """So many levels have been taken back, by the Undo records before."""
        found = self.sessions.get(session)
        if found is not None:
            found.level = max(0, found.level - levels)
            self._drop(session, found.level)

    def _drop(self, session: int, level: int) -> None:
        """Forget the versions above a level."""
        found = self.sessions.get(session)
        if found is None:
            return
        for key, version in list(found.versions.items()):
            if version.level > level:
                self._let_go(version)
                del found.versions[key]
        if not level:
            found.largest.clear()

    def open_sessions(self) -> list[int]:
        """Those with a transaction, in rising order."""
        return sorted(number for number, each in self.sessions.items() if each.level)

    # -- versions ----------------------------------------------------------------------

    def add(self, session: int, version: Version) -> None:
        """Remember a change; one that is known already, by its UndoInfo, stays as it is."""
        found = self.sessions[session]
        if version.id in found.versions:
            return
        found.versions[version.id] = version
        if version.held is not None:
            self._held[version.held] += 1
        if version.change is Change.REPLACE:
            node = version.root_pgno, version.key
            found.largest[node] = max(found.largest.get(node, 0), len(version.before))

    def add_logged(self, record: NodeRecord) -> None:
        """Remember a change whose record says all that its undo needs."""
        if not record.versioned or record.session not in self.sessions:
            return
        if isinstance(record, Insert | FlagInsert):
            made = version_of(record, Change.INSERT, record.key, record.data)
        elif isinstance(record, Delta | Delta64):
            kind = Change.DELTA if isinstance(record, Delta) else Change.DELTA64
            made = version_of(record, kind, *record.bookmark)
            made.delta, made.offset = record.delta, record.data_offset
        else:
            return
        self.add(record.session, made)

    def add_undo_info(self, record: UndoInfo) -> None:
        """Remember a before-image that the log holds; the page is not held back any more."""
        found = self.sessions.get(record.session)
        if found is None:
            return
        if record.operation not in (Change.REPLACE, Change.FLAG_DELETE):
            detail = f"UndoInfo: {record.operation} is no operation that needs a before-image"
            raise EseError(INVALID_OPERATION, detail, page=record.pgno)
        made = version_of(record, Change(record.operation), *record.bookmark)
        made.before = record.before_image
        known = found.versions.get(made.id)
        if known is None:
            self.add(record.session, made)
        else:
            self._let_go(known)

    def find(self, record: Undo) -> Version | None:
        """The version that an Undo record names."""
        found = self.sessions.get(record.session)
        if found is None:
            return None
        return found.versions.get((record.version_id, record.operation))

    def remove(self, session: int, version: Version) -> None:
        """It has been taken back."""
        self._let_go(version)
        del self.sessions[session].versions[version.id]

    def newest_first(self, session: int) -> Iterator[Version]:
        """The versions of a session in the order in which they are taken back."""
        versions = self.sessions[session].versions
        return iter([versions[each] for each in sorted(versions, reverse=True)])

    def largest_data_bytes(self, session: int, root_pgno: int, key: bytes) -> int | None:
        """The most data that a node had in the open transaction, by its versions."""
        found = self.sessions.get(session)
        if found is None:
            return None
        return found.largest.get((root_pgno, key))

    # -- pages that wait ---------------------------------------------------------------

    def holds(self, page: PageKey) -> bool:
        """Whether a page must not be written: a before-image would be lost."""
        return self._held[page] > 0 if page in self._held else False

    def _let_go(self, version: Version) -> None:
        if version.held is not None:
            self._held[version.held] -= 1
            if not self._held[version.held]:
                del self._held[version.held]
            version.held = None


def version_of(record: NodeRecord, change: Change, key: bytes, data: bytes) -> Version:
    """A version that a record makes."""
    key, data = bookmark(record, key, data)
    return Version(
        number=record.version_id,
        change=change,
        level=record.level,
        transaction=record.transaction,
        dbid=record.dbid,
        root_pgno=record.root_pgno,
        objid=record.objid,
        unique=record.unique,
        key=key,
        data=data,
        flags=record.flags,
    )
