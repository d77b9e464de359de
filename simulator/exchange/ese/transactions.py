"""Beginning, committing and taking back transactions, and cleaning up behind them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from replicator.ese.log_page_records import Undo
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import Commit, Commit0, Rollback
from replicator.ese.node import DELETED
from replicator.ese.undo_operations import apply_undo
from replicator.ese.values import LogPosition
from replicator.ese.versions import Version as RedoVersion
from simulator.exchange.ese.change import ChangeContext
from simulator.exchange.ese.merge import (
    LeftPages,
    look_at_merges,
    merge_if_empty,
    merge_neighbours,
)
from simulator.exchange.ese.preparation import (
    Steps,
    Touch,
    look_at,
    prepared,
)
from simulator.exchange.ese.record_building import build
from simulator.exchange.ese.session import NOTHING_LOGGED, Session
from simulator.exchange.ese.versions import LOGGED_AT_ONCE_BYTES, Version, VersionStore

_UNDONE_TOGETHER: Final = 16
"""So many changes at most are looked at together before they are undone."""


def owing_pgnos(session: Session) -> set[int]:
    """Pages that have not been written since the session has replaced or flagged on them."""
    return {each.owing_pgno for each in session.versions if each.owing_pgno}


def last_few(versions: list[Version]) -> list[Version]:
    """Changes that are undone together: what may be logged of them is bounded."""
    size_bytes, count = 0, 0
    for version in reversed(versions[-_UNDONE_TOGETHER:]):
        size_bytes += len(version.before)
        if count and size_bytes > LOGGED_AT_ONCE_BYTES:
            break
        count += 1
    return versions[-count:]


class Statement:
    """A transaction for one block of code; made by :meth:`Transactions.statement`.

    A class of its own, since every change of a row goes through it: a generator takes longer.
    """

    __slots__ = ("_session", "_transactions")

    def __init__(self, transactions: Transactions, session: Session) -> None:
        self._transactions, self._session = transactions, session

    def __enter__(self) -> None:
        self._transactions.begin(self._session)

    def __exit__(self, kind: type[BaseException] | None, *_failure: object) -> None:
        if kind is None:
            self._transactions.commit(self._session)
        elif issubclass(kind, Exception):
            self._transactions.rollback(self._session)


class Transactions:
    """The transactions of one database.

    Arguments
    ---------
    context: of the database.
    versions: what they have changed.
    """

    def __init__(self, context: ChangeContext, versions: VersionStore) -> None:
        self._context = context
        self.versions = versions

    def begin(self, session: Session) -> None:
        """Begin a transaction; it is logged with its first change."""
        self.versions.begin(session)

    def statement(self, session: Session) -> Statement:
        """For ``with``: a transaction within the caller's, so that all is done or nothing."""
        return Statement(self, session)

    def commit(self, session: Session) -> LogPosition | None:
        """Commit the innermost transaction.

        The pages whose undo would need what is not in the log wait for Commit0 to be durable: until
        then the undo may be asked for.

        Returns where Commit0 stands, which makes the outermost one durable once it is; None for
        an inner one, and for one that changed nothing.
        """
        position = None
        if session.logged_level == session.level:
            session.logged_level -= 1
            fields: dict[str, Any] = {"session": session.procid, "level": session.logged_level}
            if session.logged_level:
                self._context.log(build(Commit, {"number": Kind.COMMIT, **fields}).raw)
            else:
                fields["transaction"] = session.transaction
                record = build(Commit0, {"number": Kind.COMMIT0, **fields})
                position = self._context.log(record.raw)
        session.level -= 1
        if session.level:
            self.versions.lower(session)
            return position
        owing = owing_pgnos(session)
        self._end(session)
        if position is not None:
            for pgno in owing:
                self._context.pages.depends_on(pgno, position)
        return position

    @prepared
    def rollback(self, session: Session) -> Steps[None]:
        """Take back all that the innermost transaction has done, the last change first."""
        while session.versions and session.versions[-1].level == session.level:
            last = last_few(session.versions)
            yield partial(look_at, [Touch(each.tree, each.key, each.data) for each in last])
            for _ in last:
                version = session.versions[-1]
                if version.level != session.level:
                    break
                self._undo(session, version)
                session.versions.pop()
                self.versions.forget(version)
        if session.logged_level == session.level:
            fields = {"number": Kind.ROLLBACK, "session": session.procid, "levels": 1}
            self._context.log(build(Rollback, fields).raw)
            session.logged_level -= 1
        session.level -= 1
        if not session.level:
            self._end(session)

    def _end(self, session: Session) -> None:
        self.versions.end(session)
        session.transaction, session.began = 0, NOTHING_LOGGED

    def _undo(self, session: Session, version: Version) -> None:
        tree = version.tree
        place = tree.seek(version.key, version.data)
        page, line = place.page, place.line
        if not place.found:
            raise page.bad(f"node {version.key.hex()} to undo is not there")
        context = self._context
        if version.owing_pgno not in (0, page.pgno):
            # The node has moved, and the page that its data were replaced on may be written from
            # here on, without this one: redo of the Undo record needs them in the log then.
            owing_pgno = version.owing_pgno
            context.pages.depends_on(owing_pgno, self.versions.log_before_image(version))
        fields = context.head(
            session, Kind.UNDO, page, context.next_dbtime(), tree.record_flags | 1
        )
        fields |= {
            "line": line,
            "version_id": version.version_id,
            "root_pgno": tree.root_pgno,
            "objid": tree.objid,
            "key_bytes": len(version.key),
            "data_bytes": len(version.data),
            "operation": int(version.change),
            "undo_level": version.level,
        }
        record = build(Undo, fields, version.key + version.data)
        position = context.log(record.raw)
        apply_undo(record, page, self._as_redo_has_it(version))
        page.uncommitted_free_bytes = sum(tree.reserved_bytes(page).values())
        context.pages.changed((page.pgno,), position, session.began)

    def _as_redo_has_it(self, version: Version) -> RedoVersion:
        tree = version.tree
        return RedoVersion(
            number=version.version_id,
            change=version.change,
            level=version.level,
            transaction=version.session.transaction if version.session is not None else 0,
            dbid=self._context.dbid,
            root_pgno=tree.root_pgno,
            objid=tree.objid,
            unique=tree.unique,
            key=version.key,
            data=version.data,
            before=version.before,
        )

    @prepared
    def clean_up(self, session: Session, limit: int = 1000) -> Steps[int]:
        """Remove nodes that are flagged deleted for good, and pages with nothing or little left.

        Arguments
        ---------
        session: one that has no transaction open.
        limit: how many nodes at most.

        Returns how many were removed.
        """
        removed = 0
        queue = self.versions.to_clean
        left = LeftPages(session)
        self.begin(session)
        try:
            for _ in range(min(limit, len(queue))):
                if not queue:
                    break  # others have been at it meanwhile
                version = queue.popleft()
                try:
                    yield partial(self._look_at, version)
                    removed += self._clean(session, version, left)
                except (GeneratorExit, Exception):
                    queue.appendleft(version)
                    raise
        finally:
            if session.level:  # else the database was detached while this waited for a page
                left.give_back()
                self.commit(session)
        return removed

    @staticmethod
    def _look_at(version: Version) -> None:
        place = version.tree.seek(version.key, version.data)
        look_at_merges(version.tree, place)

    def _clean(self, session: Session, version: Version, left: LeftPages) -> bool:
        """Remove one node; False when somebody has revived it, or has it in work."""
        tree = version.tree
        if self.versions.is_live(tree, version.key, version.data):
            return False  # whoever has revived it flags it again, or keeps it
        place = tree.seek(version.key, version.data)
        if not place.found or not place.page.node_flags(place.line) & DELETED:
            return False
        if place.page.line_count > 1 or not place.path:
            tree.remove(session, place)
            merge_neighbours(tree, session, place)
            return True
        # Else it stays for good, for every leaf but a root has a line.
        return merge_if_empty(tree, session, place, left)
