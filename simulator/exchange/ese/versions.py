"""Versions: what open transactions have changed, so that it can be taken back.

A version is made with each change of a node that is versioned.  Commit forgets it, rollback
takes the change back by an Undo record of its own.  The same rules as in docs/store-redo.md
section 7; E src/ese/ver.cxx.

Two transactions may not change the same node: the second one fails (-1102), also when the
first one has committed since the second began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from replicator.ese.errors import EseError
from replicator.ese.log_page_records import UndoInfo
from replicator.ese.log_record_types import Kind
from replicator.ese.values import LogPosition
from replicator.ese.versions import Change
from simulator.exchange.ese.record_building import build
from simulator.exchange.ese.session import Session

if TYPE_CHECKING:
    from replicator.ese.page_editor import PageEditor
    from simulator.exchange.ese.tree import Tree

WRITE_CONFLICT: Final = -1102
LOGGED_AT_ONCE_BYTES: Final = 1 << 15
"""Before-images that are logged without asking for room in between; one more may begin below."""

Node = tuple[int, bytes, bytes]
"""Object of the tree, key, and data in a tree that is not unique."""

_NOTHING: Final[Mapping[bytes, int]] = {}


@dataclass(slots=True, eq=False)
class Version:
    """One change of a node.

    Arguments
    ---------
    version_id: its number, rceid in records.
    change: what was done.
    tree, key, data: the node; data only in a tree that is not unique.
    level: of the transaction that did it; falls when that one commits into an outer one.
    session: whose; None once it is committed.
    before: the data that were replaced.
    largest_data_bytes: most that the node has held since; so much is kept for undo.
    owing_pgno: the page that the change was made on, for as long as an UndoInfo record has to go
        before that page may be written; else 0.
    committed: number of its commit.
    """

    version_id: int
    change: Change
    tree: Tree
    key: bytes
    data: bytes
    level: int
    session: Session | None
    before: bytes = b""
    largest_data_bytes: int = 0
    owing_pgno: int = 0
    committed: int = 0

    @property
    def node(self) -> Node:
        return self.tree.objid, self.key, self.data


class VersionStore:
    """All versions of a database."""

    def __init__(self) -> None:
        self._nodes: dict[Node, list[Version]] = {}
        self._replaced: dict[int, dict[bytes, int]] = {}
        """By object and key, the largest data of nodes whose replacement may be undone."""
        self._owing: dict[int, dict[int, Version]] = {}
        """By page, what has been changed on it and only the page that it was remembers."""
        self._active: dict[Session, int] = {}
        self._commits = 0
        self._committed: deque[list[Version]] = deque()
        self.to_clean: deque[Version] = deque()
        """Nodes that are flagged deleted and that nobody wants back."""

    # -- changes ------------------------------------------------------------------------

    def check(self, session: Session, tree: Tree, key: bytes, data: bytes) -> None:
        """Raises EseError -1102 when another transaction has changed the node."""
        found = self._nodes.get((tree.objid, key, b"" if tree.unique else data))
        if not found:
            return
        last = found[-1]
        if last.session is not session and (
            last.session is not None or last.committed > self._active.get(session, self._commits)
        ):
            raise EseError(WRITE_CONFLICT, f"node {key.hex()} of tree {tree.objid}")

    def note(
        self,
        session: Session,
        tree: Tree,
        change: Change,
        version_id: int,
        key: bytes,
        data: bytes,
        before: bytes = b"",
        new_bytes: int = 0,
        pgno: int = 0,
    ) -> None:
        """Keep what is needed to take a change back.

        Arguments
        ---------
        before: the data that were replaced.
        pgno: the page that the record names; of an insert, all of which is in the log, none.
        new_bytes: size of the data that replaced them.
        """
        bookmark = b"" if tree.unique else data
        version = Version(version_id, change, tree, key, bookmark, session.level, session, before)
        if change is not Change.INSERT:
            assert pgno, "the page has what undo needs"
            version.owing_pgno = pgno
            self._owing.setdefault(pgno, {})[version_id] = version
        if change is Change.REPLACE:
            sizes = self._replaced.setdefault(tree.objid, {})
            sizes[key] = max(sizes.get(key, 0), len(before), new_bytes)
            version.largest_data_bytes = sizes[key]
        session.versions.append(version)
        self._nodes.setdefault(version.node, []).append(version)

    def is_live(self, tree: Tree, key: bytes, data: bytes) -> bool:
        """Whether an open transaction has changed the node."""
        found = self._nodes.get((tree.objid, key, b"" if tree.unique else data), ())
        return any(version.session is not None for version in found)

    # -- space that undo needs ----------------------------------------------------------

    def largest(self, tree: Tree, key: bytes) -> int | None:
        """Most bytes of data that a node has held in the open transaction that replaced them."""
        return self._replaced.get(tree.objid, _NOTHING).get(key)

    def largest_in(self, tree: Tree) -> Mapping[bytes, int]:
        """The same for all nodes of a tree."""
        return self._replaced.get(tree.objid, _NOTHING)

    # -- transactions -------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """A transaction begins, in the one that is open already or as the outermost one."""
        if not session.level:
            self._active[session] = session.snapshot = self._commits
        session.level += 1

    def lower(self, session: Session) -> None:
        """An inner transaction has committed: what it did belongs to the outer one."""
        for version in reversed(session.versions):
            if version.level <= session.level:
                break
            version.level = session.level

    def end(self, session: Session) -> None:
        """The outermost transaction has committed, or all of it has been taken back."""
        del self._active[session]
        versions, session.versions = session.versions, []
        if versions:
            self._commits += 1
            for version in versions:
                version.session, version.committed = None, self._commits
                self._settle(version)
            if self._active:
                self._committed.append(versions)
            else:
                self._drop(versions)
        oldest = min(self._active.values(), default=self._commits)
        while self._committed and self._committed[0][0].committed <= oldest:
            self._drop(self._committed.popleft())

    def forget(self, version: Version) -> None:
        """The change has been taken back."""
        self._settle(version, rolled_back=True)
        found = self._nodes[version.node]
        found.remove(version)
        if not found:
            del self._nodes[version.node]

    def _settle(self, version: Version, *, rolled_back: bool = False) -> None:
        """Undo is out of question from now on."""
        self._paid(version)
        if version.change is Change.REPLACE:
            self._let_go(version)
        goes = Change.INSERT if rolled_back else Change.FLAG_DELETE
        if version.change is goes:
            self.to_clean.append(version)

    def _let_go(self, version: Version) -> None:
        """Nothing is kept for the node, unless an older version still needs it."""
        older = [
            each
            for each in self._nodes.get(version.node, ())
            if each is not version and each.session is not None and each.change is Change.REPLACE
        ]
        sizes = self._replaced[version.tree.objid]
        if older:
            return
        sizes.pop(version.key, None)
        if not sizes:
            del self._replaced[version.tree.objid]

    def _drop(self, versions: list[Version]) -> None:
        for version in versions:
            found = self._nodes[version.node]
            found.remove(version)
            if not found:
                del self._nodes[version.node]

    # -- before-images of pages that are written ----------------------------------------
    #
    # Redo has a before-image from the page of the change's record, not from the page that the node
    # has gone to since.  So it is that page which must not be written before the log has the
    # image, whatever is on it by then.

    def owes(self, page: PageEditor) -> bool:
        """Whether :meth:`log_before_images` has something to log for a page."""
        return page.pgno in self._owing

    def log_before_images(self, page: PageEditor) -> None:
        """Log what undo needs and only this page knows; to be called before the page is written.

        A change that is redone brings its before-image with it from the page; one whose page is
        newer already needs the UndoInfo record.  About 32 KiB are logged at a time, so that
        whoever calls can wait for room in the log: call it again while the page :meth:`owes`.
        """
        size_bytes = 0
        for version in list(self._owing.get(page.pgno, {}).values()):
            self.log_before_image(version)
            size_bytes += len(version.before)
            if size_bytes >= LOGGED_AT_ONCE_BYTES:
                break

    def log_before_image(self, version: Version) -> LogPosition:
        """The same for one change that owes it; returns where the record stands."""
        tree, session = version.tree, version.session
        assert session is not None, "what has ended owes nothing"
        context = tree.context
        page = context.page(version.owing_pgno)
        fields = context.head(session, Kind.UNDO_INFO, page, page.dbtime, tree.record_flags)
        fields |= {
            "version_id": version.version_id,
            "root_pgno": tree.root_pgno,
            "objid": tree.objid,
            "key_bytes": len(version.key),
            "bookmark_data_bytes": len(version.data),
            "operation": int(version.change),
            "max_size_field": version.largest_data_bytes,
            "data_bytes": len(version.before),
            "level": version.level,
        }
        tail = version.key + version.data + version.before
        position = context.log(build(UndoInfo, fields, tail).raw)
        self._paid(version)
        return position

    def _paid(self, version: Version) -> None:
        """Nothing is owed for a change any more."""
        if version.owing_pgno:
            owing = self._owing[version.owing_pgno]
            del owing[version.version_id]
            if not owing:
                del self._owing[version.owing_pgno]
            version.owing_pgno = 0
