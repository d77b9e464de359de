"""Deep trees that grow and shrink: what is logged, and that the right kinds of records are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from replicator.ese.catalog_encoding import Tree as Place
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import NO_DBTIME, Insert, Merge2, Record, Split2
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import decode_record
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.values import Signature
from simulator.exchange.ese.database import Database
from simulator.exchange.ese.growth import GrowthPolicy
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.split_plan import Line, balanced_split, best_prefix, separator
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.ese.tree import Tree
from tests.store_ese.memory import (
    MemoryLog,
    MemoryPages,
    check_same,
    entries,
    redone,
    source_of,
    tree_pages,
)
from tests.store_ese.space_check import check_space

ROWS = 700


class Store:
    """A database with one tree beside the catalog."""

    def __init__(self, name: str = "exchange 2003", largest_file_pages: int = 1 << 20) -> None:
        self.format = STORE_FORMATS[name]
        self.pages, self.log = MemoryPages(self.format.page_bytes), MemoryLog()
        policy = GrowthPolicy(extension_pages=50, largest_file_pages=largest_file_pages)
        self.database = Database(self.pages, self.log, self.format, policy)
        self.session, self.transactions = Session(5), self.database.transactions
        self.database.create(self.session, "priv1.edb", Signature(), initial_pages=60)
        self.transactions.begin(self.session)
        space = self.database.system.create_child(self.session, 6, 1, 0, unique=True)
        self.transactions.commit(self.session)
        self.tree: Tree = self.database.tree(Place(6, space.root_pgno), space)
        self.start = len(self.log.records)

    def do(self, change: Callable[..., None], rows: Iterable[tuple[bytes, ...]]) -> None:
        """One transaction for each row."""
        for row in rows:
            self.transactions.begin(self.session)
            change(self.session, *row)
            self.transactions.commit(self.session)

    def macros(self) -> list[list[Record]]:
        """The records between MacroBegin and MacroCommit, of all macros so far."""
        found: list[list[Record]] = []
        for record in map(decode_record, self.log.records[self.start :]):
            if record.number == Kind.MACRO_BEGIN:
                found.append([])
            elif record.number == Kind.MACRO_COMMIT:
                found.append([])  # what follows is none of it
            elif found:
                found[-1].append(record)
        return found[::2]

    def check(self) -> None:
        last = self.pages.extended_to(self.log.records)
        source = source_of(self.pages, at_least=last)
        parents = {1: 0, 4: 1, 24: 1, 7: 4, 10: 4, self.tree.top_pgno: 1}
        check_space(source, parents, last)
        check_same(redone(self.log.records, self.format.page_bytes), self.pages)

    def keys(self) -> list[bytes]:
        return [key for key, _ in entries(source_of(self.pages), self.tree.top_pgno)]


def deep_key(number: int) -> bytes:
    """Six neighbours begin alike and no more, so separators are long and no prefix helps."""
    return (number // 6).to_bytes(4, "big") + b"r" * 700 + bytes((number % 6,))


def filled(order: Iterable[int]) -> Store:
    store = Store()
    store.do(store.tree.insert, ((deep_key(number), bytes(900)) for number in order))
    return store


FORWARD, BACKWARD = range(ROWS), range(ROWS - 1, -1, -1)
FROM_THE_MIDDLE = [*range(ROWS // 2, ROWS), *range(ROWS // 2)]


@pytest.mark.parametrize(
    "order", [FORWARD, BACKWARD, FROM_THE_MIDDLE], ids=["up", "down", "middle"]
)
def test_a_deep_tree_shrinks_and_grows_again(order: Iterable[int]) -> None:
    store = filled(FORWARD)
    assert store.keys() == sorted(map(deep_key, FORWARD))
    pages = len(tree_pages(source_of(store.pages), store.tree.top_pgno))
    splits = [macro for macro in store.macros() if isinstance(macro[0], Split2)]
    assert max(len(macro) for macro in splits) >= 5  # parent, three levels, the insert
    store.do(store.tree.flag_delete, ((deep_key(number),) for number in order if number % 100))
    removed = store.transactions.clean_up(store.session, limit=ROWS)
    kept = [deep_key(number) for number in FORWARD if not number % 100]
    assert store.keys() == kept
    assert removed > 0.9 * (ROWS - len(kept))
    store.check()
    merges = [macro for macro in store.macros() if isinstance(macro[0], Merge2)]
    assert any(len(macro) > 2 for macro in merges)  # branch pages went as well
    left = len(tree_pages(source_of(store.pages), store.tree.top_pgno))
    assert left < pages / 4
    back = [number for number in FORWARD if number % 100]
    store.do(store.tree.insert, ((deep_key(number), bytes(700)) for number in back))
    assert store.keys() == sorted(map(deep_key, FORWARD))
    store.check()


def test_a_leaf_at_the_end_of_a_bounded_branch_page_merges_to_the_left() -> None:
    store = filled(FORWARD)
    page = store.pages.page(store.tree.top_pgno)
    while not page.flags & PageFlag.PARENT_OF_LEAF:
        page = store.pages.page(page.child(0))
    line = page.line_count - 1
    bound = page.key(line)
    assert bound and line
    leaf = store.pages.page(page.child(line))
    gone = [leaf.key(number) for number in range(leaf.line_count)]
    store.do(store.tree.flag_delete, ((key,) for key in gone))
    assert store.transactions.clean_up(store.session) == len(gone)
    *_, macro = store.macros()
    assert isinstance(macro[-1], Merge2)
    assert macro[-1].merge_kind == 5
    assert page.key(page.line_count - 1) == bound
    store.check()
    store.do(store.tree.insert, ((key, bytes(900)) for key in gone))
    assert store.keys() == sorted(map(deep_key, FORWARD))
    store.check()


def test_what_is_left_on_a_leaf_goes_to_its_right_neighbour() -> None:
    store = Store()
    store.do(store.tree.insert, ((b"key %05d" % number, bytes(90)) for number in range(1500)))
    thinned = [number for number in range(1500) if number % 10]
    store.do(store.tree.flag_delete, ((b"key %05d" % number,) for number in thinned))
    assert store.transactions.clean_up(store.session, limit=2000) == len(thinned)
    merges = [macro for macro in store.macros() if isinstance(macro[-1], Merge2)]
    kinds = [macro[-1].merge_kind for macro in merges if isinstance(macro[-1], Merge2)]
    assert kinds.count(2) > 20
    assert store.keys() == [b"key %05d" % number for number in range(0, 1500, 10)]
    assert len(tree_pages(source_of(store.pages), store.tree.top_pgno)) < 20
    store.check()


def test_no_line_is_lost_that_an_open_transaction_has_flagged() -> None:
    store = Store()
    store.do(store.tree.insert, ((b"key %05d" % number, bytes(90)) for number in range(200)))
    other = Session(6)
    store.transactions.begin(other)
    store.tree.flag_delete(other, b"key 00003")
    gone = [number for number in range(80) if number not in (2, 3, 70)]
    store.do(store.tree.flag_delete, ((b"key %05d" % number,) for number in gone))
    store.transactions.clean_up(store.session)
    store.transactions.rollback(other)
    assert store.keys()[:3] == [b"key 00002", b"key 00003", b"key 00070"]
    store.check()


def test_rows_in_ascending_order_fill_their_pages() -> None:
    store = Store()
    rows = [(number.to_bytes(4, "big"), bytes(90)) for number in range(2000)]
    store.do(store.tree.insert, rows)
    levels = [macro[-2] for macro in store.macros() if isinstance(macro[-1], Insert)]
    kinds = [level.split_kind for level in levels if isinstance(level, Split2)]
    assert kinds.count(2) == len(kinds) > 40  # appends
    pages = tree_pages(source_of(store.pages), store.tree.top_pgno)
    used = [1 - store.pages.page(pgno).free_bytes / 4056 for pgno in pages[1:]]
    assert sorted(used)[1] > 0.95


def test_rows_in_ascending_order_inside_a_tree_fill_their_pages_too() -> None:
    store = Store()
    store.do(store.tree.insert, ((b"z%03d" % number, bytes(90)) for number in range(200)))
    store.do(store.tree.insert, ((b"a%05d" % number, bytes(90)) for number in range(900)))
    pages = tree_pages(source_of(store.pages), store.tree.top_pgno)
    used = sorted(1 - store.pages.page(pgno).free_bytes / 4056 for pgno in pages[1:])
    assert sum(each > 0.95 for each in used) > len(used) - 5
    store.check()


def test_a_run_at_the_end_of_a_page_moves_nothing_but_itself() -> None:
    """Looks like an append, but there is a page on the right: the engine's hotpoint split."""
    store = Store()
    store.do(store.tree.insert, ((b"z%03d" % number, bytes(90)) for number in range(200)))
    page = store.pages.page(store.tree.top_pgno)
    leaf = store.pages.page(page.child(1))
    last = leaf.key(leaf.line_count - 1)
    before = len(store.macros())
    store.do(store.tree.insert, ((last + b"%03d" % number, bytes(50)) for number in range(200)))
    hot = 0
    for macro in store.macros()[before:]:
        level = macro[-2]
        assert isinstance(level, Split2)
        if level.split_kind == 1 and level.split_line == level.operation_line == level.lines - 1:
            assert level.right_pgno
            assert not level.image_bytes
            hot += 1
    assert hot > 1
    store.check()


def test_a_split_is_logged_as_the_engine_logs_it() -> None:
    """Macro of a parent that takes the separator, the page that splits, the insert."""
    store = filled(range(40))
    store.do(store.tree.insert, [((1).to_bytes(4, "big") + b"a", bytes(1500))])
    parent, level, insert = store.macros()[-1]
    assert isinstance(parent, Split2)
    assert isinstance(level, Split2)
    assert isinstance(insert, Insert)
    assert parent.new_pgno == parent.lines == parent.image_bytes == 0
    assert parent.parent_dbtime_before == parent.right_dbtime_before == NO_DBTIME
    assert level.parent_pgno == parent.pgno
    assert level.parent_dbtime_before == parent.dbtime_before < level.dbtime == parent.dbtime
    assert insert.pgno == level.pgno
    assert (insert.dbtime, insert.dbtime_before) == (level.dbtime, NO_DBTIME)
    assert insert.prefix_bytes == 0
    assert insert.key == (1).to_bytes(4, "big") + b"a"
    assert level.image_bytes == store.format.page_bytes
    assert level.root_pgno == store.tree.top_pgno
    store.check()


@pytest.mark.parametrize("pages", range(118, 126))
def test_a_file_that_may_not_grow_refuses_rows_and_stays_whole(pages: int) -> None:
    """Also where a split of several levels gets some of the pages that it needs."""
    store = Store(largest_file_pages=pages)
    with pytest.raises(EseError) as refused:
        store.do(store.tree.insert, ((deep_key(number), bytes(900)) for number in FORWARD))
    assert refused.value.number == -1808
    store.transactions.rollback(store.session)
    store.check()
    there = store.keys()
    assert 20 < len(there) < ROWS
    store.do(store.tree.flag_delete, ((key,) for key in there))
    store.transactions.clean_up(store.session)
    store.do(store.tree.insert, ((key, bytes(900)) for key in there[:20]))
    assert store.keys() == there[:20]
    store.check()


def test_pages_that_lead_to_each_other_are_not_followed_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = filled(range(60))
    monkeypatch.setattr(PageEditor, "child", lambda _page, _line: store.tree.top_pgno)
    for look in (lambda: store.tree.seek(deep_key(30)), store.tree.last_leaf):
        with pytest.raises(EseError, match="levels") as endless:
            look()
        assert endless.value.number == -338


def test_a_node_that_fits_no_page_is_refused() -> None:
    store = Store()
    store.do(store.tree.insert, [(b"k", bytes(4056 - 8 - 2 - 1))])
    with pytest.raises(EseError, match="a node of 4,047 bytes") as refused:
        store.do(store.tree.insert, [(b"l", bytes(4056 - 8 - 2))])
    assert refused.value.number == -1026
    store.transactions.rollback(store.session)
    store.check()


def test_a_separator_is_the_shortest_that_parts_two_keys() -> None:
    assert separator(b"abc", b"abd") == b"abd"
    assert separator(b"abc", b"b") == b"b"
    assert separator(b"ab", b"abc") == b"abc"
    assert separator(b"message 1", b"message 20") == b"message 2"


def test_the_best_prefix_is_a_key_that_many_others_begin_like() -> None:
    keys = [b"a", b"b", *(b"message %d" % number for number in range(10, 20)), b"z"]
    assert keys[best_prefix(keys)].startswith(b"message 1")
    assert best_prefix([b"a", b"b", b"c"]) == best_prefix([]) == -1


def test_what_undo_needs_counts_when_a_page_is_split() -> None:
    lines = [Line(bytes((at,)), 100, 0, bytes((at,))) for at in range(10)]
    even = balanced_split(lines, 4056)
    assert even is not None
    assert even.line == 5
    kept = [*lines[:2], lines[2]._replace(reserved_bytes=300), *lines[3:]]
    tight = balanced_split(kept, 800)
    assert tight is not None
    assert tight.line == 4
    assert (tight.left.reserved_bytes, tight.right.reserved_bytes) == (300, 0)
    assert balanced_split([line._replace(reserved_bytes=700) for line in lines], 1000) is None
