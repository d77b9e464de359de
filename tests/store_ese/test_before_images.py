"""Every small case of a node that is changed, moves to another page, and whose transaction is open,
ends well or is taken back: whatever pages have been written by then, and wherever the log ends,
recovery has the before-image, and what it logs can be redone.

Redo takes the before-image from the page of the change, so it is owed for that page.  The cases are
run as well with the debt gone when the node is, with a rollback that does not pay it, and with
a commit that no page waits for.  Nested transactions, trees that are not unique and pages that are
used again are in ``test_trees.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from replicator.ese.errors import EseError
from replicator.ese.page_editor import PageEditor
from replicator.ese.values import LogPosition
from simulator.exchange.ese import transactions
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.transactions import Transactions
from simulator.exchange.ese.versions import Version, VersionStore
from tests.store_ese.memory import (
    AsyncLog,
    MemoryPages,
    Written,
    contents,
    entries,
    redone,
    source_of,
    undone,
)
from tests.store_ese.test_splits_and_merges import Store

Model = dict[bytes, bytes | None]
"""Data by key; None where there is nothing any more."""


class Disk:
    """What the file may hold of the tree's pages, from here on.

    Arguments
    ---------
    store: its log goes on.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.before = {pgno: page.plain_bytes() for pgno, page in store.pages.all.items()}
        self.begins = len(store.log.records)
        self.owes = store.database.versions.owes
        store.pages.history = {}
        store.pages.may_be_written = lambda page: False  # not before the step is over
        source = source_of(store.pages, checksummed=False)
        there: Model = dict(entries(source, store.tree.top_pgno))
        self.committed = [(self.begins, there)]
        """From how many records on, and what has been committed then."""

    def write(self, pgno: int) -> None:
        """The engine writes a page."""
        pages, log = self.store.pages, self.store.log
        page = pages.all[pgno]
        while self.owes(page):
            self.store.database.versions.log_before_images(page)
            pages.needs[pgno] = len(log.records)
        self.look()

    def look(self) -> None:
        """Any page that owes nothing may have been written now."""
        for pgno in self.store.pages.needs:
            if not self.owes(self.store.pages.all[pgno]):
                self.store.pages.written(pgno)

    def commit(self, session: Session, changes: Model) -> None:
        self.store.transactions.commit(session)
        model = self.committed[-1][1] | changes
        self.committed.append((len(self.store.log.records), model))

    def check(self) -> int:
        """Recover from every mixture and every end of the log; returns how many there were."""
        records, size = self.store.log.records, self.store.format.page_bytes
        assert self.store.pages.history
        ages = [
            [(pgno, None), *((pgno, one) for one in written)]
            for pgno, written in sorted(self.store.pages.history.items())
        ]
        count = 0
        for mixture in product(*ages):
            needs = max([self.begins, *(one.needs for _, one in mixture if one is not None)])
            for cut in range(needs, len(records) + 1):
                self._recover(mixture, cut, size)
                count += 1
        return count

    def _recover(
        self, mixture: tuple[tuple[int, Written | None], ...], cut: int, size: int
    ) -> None:
        records = self.store.log.records[self.begins : cut]

        def start() -> MemoryPages:
            pages = MemoryPages(size)
            for pgno, content in self.before.items():
                pages.all[pgno] = PageEditor.load(content, pgno)
            for pgno, one in mixture:
                if one is not None:
                    pages.all[pgno] = PageEditor.load(one.content, pgno)
            return pages

        log = AsyncLog()
        after = undone(records, size, start(), log)
        last = [model for at, model in self.committed if at <= cut][-1]
        state = {key: data for key, data in last.items() if data is not None}
        found = entries(source_of(after, checksummed=False), self.store.tree.top_pgno)
        assert dict(found) == state, "what was not committed is there, or what was is not"
        # A crash in the midst of the recovery: nothing of it was written but its log.
        again = redone(records + log.records, size, start())
        assert contents(again) == contents(after)


CHANGES = {"replaced": b"k", "flagged": b"k", "revived": b"gone"}
"""What is done to which node."""


def change(store: Store, session: Session, what: str) -> Model:
    """Change the node; returns what a commit makes of it."""
    node = CHANGES[what]
    if what == "flagged":
        store.tree.flag_delete(session, node)
        return {node: None}
    (store.tree.insert if what == "revived" else store.tree.replace)(session, node, b"other data")
    return {node: b"other data"}


def a_root() -> Store:
    """One page with room for a little more."""
    store = Store()
    rows = [(b"a", bytes(900)), (b"gone", b"x"), (b"k", b"old data")]
    store.do(store.tree.insert, rows)
    store.do(store.tree.flag_delete, [(b"gone",)])
    return store


def two_leaves() -> Store:
    """The nodes on one of two leaves, with room for a little more."""
    store = a_root()
    store.do(store.tree.insert, [(b"p%d" % number, bytes(900)) for number in range(5)])
    assert not store.pages.page(store.tree.top_pgno).is_leaf
    return store


def a_leaf_with_little_left() -> Store:
    """One node among many that are deleted, on a leaf with neighbours."""
    store = Store()
    rows = [(b"j%02d" % number, bytes(300)) for number in range(20)]
    rows += [(b"k", b"old data"), *((b"l%02d" % number, bytes(300)) for number in range(20))]
    store.do(store.tree.insert, rows)
    leaf = store.tree.seek(b"k").page
    keys = [leaf.key(line) for line in range(leaf.line_count)]
    store.do(store.tree.flag_delete, [(key,) for key in keys if key != b"k"])
    return store


def split(store: Store, disk: Disk, node: bytes) -> None:
    """Another session inserts until the node goes to another page."""
    was, session = store.tree.seek(node).page.pgno, Session(6)
    for number in range(9):
        key, data = b"f%d" % number, bytes(700)
        store.transactions.begin(session)
        store.tree.insert(session, key, data)
        disk.commit(session, {key: data})
        if store.tree.seek(node).page.pgno != was:
            return
    raise AssertionError("it stays where it is")


def merge(store: Store, disk: Disk, node: bytes) -> None:
    """What is left on the leaf goes to its neighbour."""
    was = store.tree.seek(node).page.pgno
    store.transactions.clean_up(Session(6))
    assert store.tree.seek(node).page.pgno != was


MOVES = {
    "down from the root": (a_root, split),
    "to a new leaf": (two_leaves, split),
    "to its neighbour": (a_leaf_with_little_left, merge),
}
ENDS = ("open", "committed", "taken back")
CASES = [
    *product(CHANGES, ("down from the root", "to a new leaf"), ENDS),
    *product(("replaced",), ("to its neighbour",), ENDS),  # a flagged line would keep it there
]


def recover_from_all(what: str, move: str, end: str) -> int:
    """One case, with the page of the change written or not at each step; returns how many ways."""
    build, go = MOVES[move]
    count = 0
    for writes in product((False, True), repeat=3):
        store, session = build(), Session(5)
        disk, node = Disk(store), CHANGES[what]
        was = store.tree.seek(node).page.pgno
        store.transactions.begin(session)
        changed = change(store, session, what)
        for step, is_written in enumerate(writes):
            if step == 1:
                go(store, disk, node)
            elif step == 2 and end == "committed":
                disk.commit(session, changed)
            elif step == 2 and end == "taken back":
                store.transactions.rollback(session)
            if is_written:
                disk.write(was)
            disk.look()
        count += disk.check()
    return count


@pytest.mark.parametrize(
    ("what", "move", "end"),
    [
        pytest.param(*case, marks=() if case[0] == "replaced" else pytest.mark.full)
        for case in CASES
    ],
)
def test_recovery_has_the_before_image(what: str, move: str, end: str) -> None:
    assert recover_from_all(what, move, end) > 50


def only_while_it_is_there(store: VersionStore, page: PageEditor) -> bool:
    """What is owed for a page, but for nodes that have gone from it."""
    owing = store._owing.get(page.pgno, {}).values()
    return any(each.tree.seek(each.key, each.data).page is page for each in owing)


@pytest.mark.parametrize(("what", "move", "end"), [case for case in CASES if case[0] != "revived"])
def test_a_debt_that_goes_with_the_node_is_found(
    what: str, move: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not for a node that was revived: it is deleted again, and what a deleted node has is nobody's.
    monkeypatch.setattr(VersionStore, "owes", only_while_it_is_there)
    with pytest.raises((AssertionError, EseError)):
        recover_from_all(what, move, end)


@pytest.mark.parametrize(("what", "move", "end"), [case for case in CASES if case[2] == ENDS[2]])
def test_a_rollback_that_logs_no_before_image_is_found(
    what: str, move: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(store: VersionStore, version: Version) -> LogPosition:
        store._paid(version)
        return LogPosition(1, 1, 0)

    monkeypatch.setattr(Transactions, "_undo", without(nothing))
    with pytest.raises((AssertionError, EseError)):
        recover_from_all(what, move, end)


@pytest.mark.parametrize(
    ("what", "move"), sorted({case[:2] for case in CASES if case[0] != "revived"})
)
def test_a_commit_that_no_page_waits_for_is_found(
    what: str, move: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "owing_pgnos", lambda session: set())
    with pytest.raises((AssertionError, EseError)):
        recover_from_all(what, move, "committed")


def without(log: Callable[[VersionStore, Version], LogPosition]) -> Callable[..., None]:
    """The undo of a change, with this in place of the record of its before-image."""
    undo, real = Transactions._undo, VersionStore.log_before_image

    def changed(self: Transactions, session: Session, version: Version) -> None:
        VersionStore.log_before_image = log  # type: ignore[method-assign]
        try:
            undo(self, session, version)
        finally:
            VersionStore.log_before_image = real  # type: ignore[method-assign]

    return changed
