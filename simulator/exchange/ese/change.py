"""The way of every change: a record is made, logged, and carried out as recovery would do it.

::

    fields --> record, dbtime + 1 --> log --> apply(record, pages) --> pages.changed(...)

A change of several pages is a *macro*: its records stand between MacroBegin and MacroCommit,
all with one dbtime, and are carried out together, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from replicator.ese.log_page_records import (
    NO_DBTIME,
    Merge2,
    NewPage,
    NodeRecord,
    PageRecord,
    Record,
    Split2,
)
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Begin, Begin0, ExtendDB, Macro, MacroInfo
from replicator.ese.merge_operations import apply_merge
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_operations import apply
from replicator.ese.split_operations import apply_split
from replicator.ese.values import LogPosition
from simulator.exchange.ese.preparation import InternalError, PageNotInMemory
from simulator.exchange.ese.record_building import build, build_bytes
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.store_format import StoreFormat

VERSIONED: Final = 1
UNIQUE: Final = 4
SPACE: Final = 8
"""Bits of a record's flags."""

_SKIPPABLE_HEAD_BYTES: Final = 5
_MACRO_BEGIN, _MACRO_COMMIT = int(Kind.MACRO_BEGIN), int(Kind.MACRO_COMMIT)

R = TypeVar("R", bound=PageRecord)
Log = Callable[[bytes], LogPosition]
"""Takes one record; says where it stands."""


class TreeIdentity(Protocol):
    """What a record says of the tree that it changes."""

    @property
    def root_pgno(self) -> int:
        """Root of the tree, for a space tree that of the tree whose space it keeps."""

    @property
    def objid(self) -> int: ...

    @property
    def record_flags(self) -> int:
        """Unique and space."""


class Pages(Protocol):
    """The pages of a database, kept by whoever caches and writes them."""

    def page(self, pgno: int) -> PageEditor:
        """The page, to be read and changed in place; a new one is all zero.

        Raises PageNotInMemory when it has to be read first.
        """

    def fresh(self, pgno: int) -> PageEditor:
        """A page that has just been taken for a tree: whatever it held does not count."""

    def changed(self, pgnos: Iterable[int], position: LogPosition, began: LogPosition) -> None:
        """Told after each change.

        Arguments
        ---------
        pgnos: the pages; none of them may be written before the log is, up to ``position``.
        position: of the change's last record.
        began: where the transaction began; redo of these pages needs the log from there on.
        """

    def depends_on(self, pgno: int, position: LogPosition) -> None:
        """Told of a record that changes nothing on a page, and has to be durable before it.

        Arguments
        ---------
        pgno: a page that has been changed and not been written since.
        """


class ChangeContext:
    """Makes the changes of one database.

    Arguments
    ---------
    pages: its pages.
    log: where records go.
    store_format: its version.
    dbid: its number in records.
    dbtime: the highest that any page has.
    transaction: the last number given to one.
    version_id: the last one given.
    """

    def __init__(
        self,
        pages: Pages,
        log: Log,
        store_format: StoreFormat,
        *,
        dbid: int = 1,
        dbtime: int = 0,
        transaction: int = 0,
        version_id: int = 0,
    ) -> None:
        self.pages = pages
        self.page = pages.page
        """See :meth:`Pages.page`."""
        self.log = log
        self.format = store_format
        self.dbid = dbid
        self.dbtime = dbtime
        self.transaction = transaction
        self.version_id = version_id

    # -- what goes around ---------------------------------------------------------------

    def next_version_id(self) -> int:
        self.version_id += 1
        return self.version_id

    def next_dbtime(self) -> int:
        self.dbtime += 1
        return self.dbtime

    def ensure_begun(self, session: Session) -> None:
        """Log the levels that the session has begun and not logged yet."""
        if session.logged_level >= session.level:
            if not session.level:
                raise RuntimeError(f"session {session.procid} changes a page outside transactions")
            return
        before = session.logged_level
        fields: dict[str, Any] = {
            "session": session.procid,
            "levels": before | (session.level - before) << 4,
        }
        if before:
            self.log(build(Begin, {"number": Kind.BEGIN, **fields}).raw)
        else:
            self.transaction += 1
            session.transaction = fields["transaction"] = self.transaction
            session.began = self.log(build(Begin0, {"number": Kind.BEGIN0, **fields}).raw)
        session.logged_level = session.level

    # -- one page -----------------------------------------------------------------------

    def node(
        self,
        session: Session,
        kind: type[NodeRecord],
        number: int,
        tree: TreeIdentity,
        page: PageEditor,
        line: int,
        version_id: int = 0,
        tail: bytes = b"",
        largest_data_bytes: int | None = None,
        more: dict[str, int] | None = None,
    ) -> None:
        """Change one node.

        Arguments
        ---------
        session: whose change it is.
        kind, number: layout and type of the record.
        tree, page, line: where.
        version_id: of the version that takes it back; 0 for a change that cannot be.
        tail: the record's part of variable length.
        largest_data_bytes: as of :func:`~replicator.ese.page_operations.apply`.
        more: further fields of this kind.

        Raises RuntimeError outside a transaction, EseError where the page cannot take it.
        """
        if session.logged_level < session.level or not session.level:
            self.ensure_begun(session)
        self.dbtime = dbtime = self.dbtime + 1
        flags = tree.record_flags | VERSIONED if version_id else tree.record_flags
        fields = self.head(session, number, page, dbtime, flags)
        fields["line"], fields["version_id"] = line, version_id
        fields["root_pgno"], fields["objid"] = tree.root_pgno, tree.objid
        if more is not None:
            fields.update(more)
        record = build(kind, fields, tail)
        position = self.log(record.raw)
        apply(record, self.pages, largest_data_bytes=largest_data_bytes)
        self.pages.changed((page.pgno,), position, session.began)

    def page_record(
        self, session: Session, kind: type[R], number: int, pgno: int, flags: int, **more: int
    ) -> R:
        """Change pages by a record that names no node, like the creation of a tree."""
        self.ensure_begun(session)
        dbtime = self.next_dbtime()
        page = self.page(pgno)
        fields = self.head(session, number, page, dbtime, flags)
        fields.update(more)
        if number != Kind.CONVERT_FDP2:
            fields["dbtime_before"] = NO_DBTIME  # whatever the page was before, it begins anew
        record = build(kind, fields)
        position = self.log(record.raw)
        apply(record, self.pages)
        also = (more.get("owned_pgno", 0), more.get("available_pgno", 0))
        pgnos = (pgno, *filter(None, also))
        self.pages.changed(pgnos, position, session.began)
        return record

    def head(
        self, session: Session, number: int, page: PageEditor, dbtime: int, flags: int
    ) -> dict[str, Any]:
        """The common start of a record that changes this page."""
        return {
            "number": number,
            "session": session.procid,
            "dbid": self.dbid,
            "pgno": page.pgno,
            "dbtime": dbtime,
            "dbtime_before": page.dbtime,
            "transaction": session.transaction,
            "level": session.level,
            "flags": flags,
        }

    def announce_new_page(self, session: Session, pgno: int, objid: int) -> None:
        """Log NewPage, where the version does; the record that fills the page follows."""
        self.pages.fresh(pgno)
        if not self.format.new_page_records:
            return
        self.ensure_begun(session)
        fields = {
            "number": Kind.NEW_PAGE,
            "session": session.procid,
            "dbid": self.dbid,
            "pgno": pgno,
            "objid": objid,
            "dbtime": self.next_dbtime(),
        }
        record = build(NewPage, fields)
        position = self.log(record.raw)
        apply(record, self.pages)
        self.pages.changed((pgno,), position, session.began)

    def extend_file(self, last_pgno: int) -> None:
        """Log that the file grows; the pages behind are all zero."""
        fields = {
            "number": Kind.EXTEND_DB,
            "body_bytes": ExtendDB.SIZE - _SKIPPABLE_HEAD_BYTES,
            "dbid": self.dbid,
            "last_pgno": last_pgno,
        }
        self.log(build(ExtendDB, fields).raw)

    # -- several pages ------------------------------------------------------------------

    @contextmanager
    def in_one_go(self) -> Iterator[None]:
        """For a change of several pages that has looked at all of them.

        Raises InternalError when one is missing all the same: a part may be in the log already.
        """
        try:
            yield
        except PageNotInMemory as missing:
            raise InternalError(
                f"a change did not look at all of its pages: {missing}"
            ) from missing

    def macro_dbtime(self, session: Session) -> int:
        """Begin a macro: the dbtime of all its records."""
        self.ensure_begun(session)
        return self.next_dbtime()

    def split(
        self, session: Session, levels: Sequence[Split2], operation: NodeRecord | None
    ) -> None:
        """Log and carry out a split; see :func:`~replicator.ese.split_operations.apply_split`."""
        records: list[Record] = [*levels]
        if operation is not None:
            records.append(operation)
        pgnos = {
            pgno
            for each in levels
            for pgno in (each.pgno, each.new_pgno, each.right_pgno, each.parent_pgno)
            if pgno
        }
        position = self._log_macro(session, levels[0].dbtime, records, pgnos)
        apply_split(levels, operation, self.pages)
        self.pages.changed(pgnos, position, session.began)

    def merge(self, session: Session, levels: Sequence[Merge2]) -> None:
        """Log and carry out a merge; see :func:`~replicator.ese.merge_operations.apply_merge`."""
        pgnos = {
            pgno
            for each in levels
            for pgno in (each.pgno, each.left_pgno, each.right_pgno, each.parent_pgno)
            if pgno
        }
        position = self._log_macro(session, levels[0].dbtime, levels, pgnos)
        apply_merge(levels, self.pages)
        self.pages.changed(pgnos, position, session.began)

    def _log_macro(
        self, session: Session, dbtime: int, records: Sequence[Record], pgnos: set[int]
    ) -> LogPosition:
        log, procid = self.log, session.procid
        log(build_bytes(Macro, _MACRO_BEGIN, procid, dbtime))
        for record in records:
            log(record.raw)
        position = log(build_bytes(Macro, _MACRO_COMMIT, procid, dbtime))
        if self.format.macro_info:
            body = b"".join(pgno.to_bytes(4, "little") for pgno in sorted(pgnos))
            fields = {"number": Kind.MACRO_INFO, "body_bytes": len(body)}
            self.log(build(MacroInfo, fields, body).raw)
        return position
