"""One tree: changes of single nodes; a page without room is split on the way.

What finds a node is in :mod:`simulator.exchange.ese.tree_search`.
"""

from __future__ import annotations

from typing import Final

from replicator.ese.difference import make_difference
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import (
    FlagInsert,
    FlagInsertAndReplaceData,
    Insert,
    NodeRecord,
    Replace,
    SetExternalHeader,
)
from replicator.ese.log_record_types import Kind
from replicator.ese.node import DELETED, EditedNode, shared_prefix_bytes
from replicator.ese.page import TAG_BYTES
from replicator.ese.page_editor import PageEditor
from replicator.ese.split_operations import INSERT
from replicator.ese.versions import Change
from simulator.exchange.ese.change import SPACE, UNIQUE, ChangeContext
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.split import (
    FLAG_INSERT_AND_REPLACE,
    REPLACE,
    Operation,
    PageSupply,
    Path,
    Splitter,
)
from simulator.exchange.ese.tree_search import Place, TreeSearch
from simulator.exchange.ese.versions import VersionStore

DUPLICATE: Final = -1605
NOT_FOUND: Final = -1601
TOO_BIG: Final = -1026
_WIDE: Final = 0x8000
_DIFFERENCE_FROM_BYTES: Final = 64
"""A shorter value is logged whole."""


class Tree(TreeSearch):
    """A tree that is changed through log records.

    Arguments
    ---------
    context: of the database.
    versions: who has changed which node.
    supply: where pages come from.
    objid: its object.
    top_pgno: the page it starts at.
    owner_pgno: for a space tree, the root of the tree whose space it keeps.
    unique: whether the key alone tells a node.
    """

    __slots__ = (
        "_last_insert",
        "_most_bytes",
        "record_flags",
        "root_pgno",
        "supply",
        "versions",
    )

    def __init__(
        self,
        context: ChangeContext,
        versions: VersionStore,
        supply: PageSupply,
        objid: int,
        top_pgno: int,
        *,
        owner_pgno: int = 0,
        unique: bool = True,
    ) -> None:
        super().__init__(context, objid, top_pgno, unique=unique)
        self.versions = versions
        self.supply = supply
        self.root_pgno = owner_pgno or top_pgno
        self.record_flags = (UNIQUE if unique else 0) | (SPACE if owner_pgno else 0)
        self._last_insert = (0, 0)
        self._most_bytes = context.format.data_bytes - 2 * TAG_BYTES - 2

    # -- changes ------------------------------------------------------------------------

    def insert(self, session: Session, key: bytes, data: bytes, *, versioned: bool = True) -> None:
        """Put a node in.

        Arguments
        ---------
        versioned: it is taken back when the transaction is; space trees do without.

        Raises EseError: -1605 when it is there, -1102 when another transaction has to do
        with it, -1026 when no page can hold it, -1808 when the file may not grow.
        """
        self.insert_as(session, key, data, self.new_version(session, key, data, versioned))

    def new_version(self, session: Session, key: bytes, data: bytes, versioned: bool = True) -> int:
        """The number of the version of a node that is to be put in; raises as :meth:`insert`."""
        if len(key) + len(data) > self._most_bytes:
            raise EseError(TOO_BIG, f"a node of {len(key) + len(data):,} bytes")
        if not versioned:
            return 0
        self.versions.check(session, self, key, data)
        return self.context.next_version_id()

    def insert_as(self, session: Session, key: bytes, data: bytes, version_id: int) -> None:
        """The rest of :meth:`insert`: find the place, split what is full, put the node in."""
        while True:
            path, page, line, found = self.seek(key, data)
            if found:
                self._revive(session, key, data, version_id)
                return
            hotpoint = self._last_insert == (page.pgno, line - 1)
            operation = self.put(session, page, line, key, data, version_id)
            if operation is None:
                break
            if self._split(session, path, page, operation, hotpoint):
                break
        if version_id:
            self.versions.note(session, self, Change.INSERT, version_id, key, data)

    def put(
        self,
        session: Session,
        page: PageEditor,
        line: int,
        key: bytes,
        data: bytes,
        version_id: int,
    ) -> Operation | None:
        """Put a node on a leaf that has room for it; else say what a split of the leaf is for."""
        prefix = page.prefix
        share = shared_prefix_bytes(prefix, key) if prefix else 0
        stored = (4 - share if share else 2) + len(key) + len(data) + TAG_BYTES
        more = {"suffix_bytes": len(key) - share, "prefix_bytes": share, "data_bytes": len(data)}
        if stored <= page.free_bytes - page.uncommitted_free_bytes or self._room(page, stored):
            self.context.node(
                session, Insert, Kind.INSERT, self, page, line, version_id, key + data, None, more
            )
            self._last_insert = page.pgno, line
            return None
        return Operation(INSERT, Insert, Kind.INSERT, line, key, data, key + data, more, version_id)

    def replace(self, session: Session, key: bytes, data: bytes, *, versioned: bool = True) -> None:
        """Give a node of a unique tree other data.

        Raises EseError -1601 when there is none, and as :meth:`insert` does.
        """
        if len(key) + len(data) > self._most_bytes:
            raise EseError(TOO_BIG, f"a node of {len(key) + len(data):,} bytes")
        version_id = 0
        if versioned:
            self.versions.check(session, self, key, b"")
            version_id = self.context.next_version_id()
        while True:
            place = self.seek(key)
            old = self._existing(place, key)
            if self._change_data(session, place, old, data, version_id, REPLACE):
                break
        if versioned:
            self.versions.note(
                session, self, Change.REPLACE, version_id, key, b"", old.data, len(data),
                place.page.pgno,
            )  # fmt: skip

    def flag_delete(
        self, session: Session, key: bytes, data: bytes = b"", *, versioned: bool = True
    ) -> None:
        """Flag a node as deleted; it is removed when nobody can want it back.

        Raises EseError: -1601 when there is none, -1102.
        """
        if versioned:
            self.versions.check(session, self, key, data)
        _, page, line, found = self.seek(key, data)
        if not found or page.node_flags(line) & DELETED:
            raise self._missing(key)
        self._flag(session, page, line, key, data, versioned)

    def flag_delete_all(self, session: Session, beginning: bytes) -> None:
        """The same for all nodes of a unique tree whose keys begin alike, with one search.

        Raises EseError -1102; none at all is no error.
        """
        for page, first, end in self.lines_with(beginning):
            for line in range(first, end):
                if not page.node_flags(line) & DELETED:
                    key = page.key(line)
                    self.versions.check(session, self, key, b"")
                    self._flag(session, page, line, key, b"", versioned=True)

    def _flag(
        self,
        session: Session,
        page: PageEditor,
        line: int,
        key: bytes,
        data: bytes,
        versioned: bool,
    ) -> None:
        version_id = self.context.next_version_id() if versioned else 0
        self.context.node(session, NodeRecord, Kind.FLAG_DELETE, self, page, line, version_id)
        if versioned:
            self.versions.note(
                session, self, Change.FLAG_DELETE, version_id, key, data, pgno=page.pgno
            )

    def remove(self, session: Session, place: Place) -> None:
        """Remove a node from its page at once; nothing takes that back."""
        self.context.node(session, NodeRecord, Kind.DELETE, self, place.page, place.line)

    def set_external_header(self, session: Session, content: bytes) -> None:
        """Give the root another tag 0 of the same size."""
        root = self.context.page(self.top_pgno)
        more = {"data_bytes": len(content)}
        self.context.node(
            session, SetExternalHeader, Kind.SET_EXTERNAL_HEADER, self, root, 0, 0, content, None,
            more,
        )  # fmt: skip

    # -- what splits ask ----------------------------------------------------------------

    def reserved_bytes(self, page: PageEditor) -> dict[int, int]:
        """By line of a leaf, what undo may need besides what the node takes."""
        found: dict[int, int] = {}
        largest = self.versions.largest_in(self)
        if not largest:
            return found
        count = page.line_count
        for key, most in largest.items():
            line = page.lines_below(key, count)
            if line < count and page.key(line) == key:
                found[line] = max(0, most - len(page.node(line).data))
        return found

    # -- parts --------------------------------------------------------------------------

    def _existing(self, place: Place, key: bytes) -> EditedNode:
        if place.found:
            node = place.page.node(place.line)
            if not node.is_deleted:
                return node
        raise self._missing(key)

    def _missing(self, key: bytes) -> EseError:
        return EseError(NOT_FOUND, f"no node {key.hex()} in tree {self.objid}")

    def _room(self, page: PageEditor, need: int, own_bytes: int = 0) -> bool:
        """Whether a page has so many bytes that undo does not need.

        Arguments
        ---------
        own_bytes: what is kept for the undo of the node itself.
        """
        if need <= page.free_bytes - page.uncommitted_free_bytes + own_bytes:
            return True
        if not page.uncommitted_free_bytes:
            return False
        # Ended transactions need it no more; that is found out only now, and is not logged.
        page.uncommitted_free_bytes = sum(self.reserved_bytes(page).values())
        return need <= page.free_bytes - page.uncommitted_free_bytes + own_bytes

    def _split(
        self, session: Session, path: Path, page: PageEditor, operation: Operation, hotpoint: bool
    ) -> bool:
        self._last_insert = (0, 0)
        if path and page.next_pgno:
            self.context.page(page.next_pgno)  # it will be told of the new page
        with self.context.in_one_go():
            return Splitter(self.context, self, session).split(path, page, operation, hotpoint)

    def _change_data(
        self,
        session: Session,
        place: Place,
        old: EditedNode,
        data: bytes,
        version_id: int,
        split_operation: int,
    ) -> bool:
        """Replace data, and undelete where that is the operation; False to search again."""
        path, page, line, _ = place
        kind: type[NodeRecord]
        largest = self.versions.largest(self, old.key)
        most = max(largest or 0, len(old.data))
        if split_operation == REPLACE:
            kind, number = Replace, Kind.REPLACE
            tail, more = self._replacement(old.data, data)
            if more["length_and_format"] != len(data) or tail is not data:
                number = Kind.REPLACE_D
        else:
            kind, number, tail = FlagInsertAndReplaceData, _FLAG_INSERT_AND_REPLACE, old.key + data
            more = {
                "key_bytes": len(old.key),
                "data_bytes": len(data),
                "replace_version_id": version_id + 1 if version_id else 0,
            }
        own = most - len(old.data) if version_id else 0
        if self._room(page, len(data) - len(old.data), own):
            self.context.node(
                session, kind, number, self, page, line, version_id, tail, largest, more
            )
            return True
        reserved = max(0, most - len(data)) if version_id else 0
        operation = Operation(
            split_operation, kind, number, line, old.key, data, tail, more, version_id, reserved
        )
        return self._split(session, path, page, operation, hotpoint=False)

    def _replacement(self, old: bytes, data: bytes) -> tuple[bytes, dict[str, int]]:
        """The bytes of a replacement's record, whole or as a difference, and its sizes."""
        tail, length = data, len(data)
        if self.context.format.differences and length >= _DIFFERENCE_FROM_BYTES <= len(old):
            wide = self.context.format.large_pages
            difference = _short_difference(old, data, wide=wide)
            if difference is not None and len(difference) < length:
                tail, length = difference, len(difference) | (_WIDE if wide else 0)
        more = {
            "length_and_format": length,
            "old_data_bytes": len(old),
            "new_data_bytes": len(data),
        }
        return tail, more

    def _revive(self, session: Session, key: bytes, data: bytes, version_id: int) -> None:
        """Undelete the node that is there under this key."""
        while True:
            place = self.seek(key, data)
            old = place.page.node(place.line)
            if not old.is_deleted:
                raise EseError(DUPLICATE, f"node {key.hex()} of tree {self.objid}")
            if old.data == data:
                more = {"key_bytes": len(key), "data_bytes": len(data)}
                self.context.node(
                    session, FlagInsert, Kind.FLAG_INSERT, self, place.page, place.line,
                    version_id, key + data, None, more,
                )  # fmt: skip
                break
            if self._change_data(session, place, old, data, version_id, FLAG_INSERT_AND_REPLACE):
                break
        if not version_id:
            return
        self.versions.note(session, self, Change.INSERT, version_id, key, data)
        if old.data != data:
            replaced = self.context.next_version_id()
            self.versions.note(
                session, self, Change.REPLACE, replaced, key, b"", old.data, len(data),
                place.page.pgno,
            )  # fmt: skip


_FLAG_INSERT_AND_REPLACE: Final = Kind.FLAG_INSERT_AND_REPLACE_DATA


def _short_difference(old: bytes, new: bytes, *, wide: bool) -> bytes | None:
    """A difference where it is quickly found: what is alike at both ends stays."""
    if len(old) == len(new):
        return make_difference(old, new, wide=wide)
    return None
