"""Nodes that arrive behind all others: what is logged for them, and that no page is lost.

That redo and undo follow, from any mixture of page ages and at any cut, is in test_trees.py.
"""

from __future__ import annotations

import pytest

from replicator.ese.errors import EseError
from replicator.ese.log_page_records import Insert, Split2
from replicator.ese.log_record_types import Kind
from replicator.ese.long_value_encoding import LongValueEncoder, chunk_bytes
from replicator.ese.split_operations import APPEND
from simulator.exchange.ese import ascending, merge
from simulator.exchange.ese.ascending import MOST_PAGES, insert_ascending, pages_for
from simulator.exchange.ese.store_format import STORE_FORMATS
from tests.store_ese.memory import entries, source_of, undone
from tests.store_ese.test_splits_and_merges import Store

Nodes = list[tuple[bytes, bytes]]


def nodes_of(store: Store, identifier: int, pieces: int) -> Nodes:
    """A long value of so many whole pieces, and a short one."""
    page_bytes = store.format.page_bytes
    value = bytes((identifier,)) * (pieces * chunk_bytes(page_bytes) + 1000)
    return [(key, data) for key, data in LongValueEncoder(page_bytes).nodes(identifier, value)]


def put(store: Store, nodes: Nodes) -> None:
    store.transactions.begin(store.session)
    try:
        with store.transactions.statement(store.session):
            insert_ascending(store.tree, store.session, nodes)
    finally:
        store.transactions.commit(store.session)


def with_values(name: str = "exchange 2007", values: int = 3, pieces: int = 5) -> Store:
    store = Store(name)
    for identifier in range(1, values + 1):
        put(store, nodes_of(store, identifier, pieces))
    return store


def space_changes(store: Store, since: int) -> int:
    """Records that change what is available, not in a macro: of one page or of many."""
    found, in_macro = 0, False
    for record in store.log.records[since:]:
        in_macro = record[0] == Kind.MACRO_BEGIN or (in_macro and record[0] != Kind.MACRO_COMMIT)
        found += not in_macro and record[0] in (Kind.REPLACE, Kind.DELETE, Kind.FLAG_DELETE)
    return found


def found(store: Store) -> list[bytes]:
    """The keys that are there."""
    return store.keys()


def delete(store: Store, identifier: int) -> int:
    """Flag the nodes of a long value, and clean up; returns how many records that has begun at."""
    store.transactions.begin(store.session)
    store.tree.flag_delete_all(store.session, identifier.to_bytes(4, "big"))
    store.transactions.commit(store.session)
    since = len(store.log.records)
    store.transactions.clean_up(store.session)
    return since


@pytest.mark.parametrize("name", sorted(STORE_FORMATS))
def test_they_are_there_as_if_put_in_one_after_the_other(name: str) -> None:
    together, alone = with_values(name), Store(name)
    for identifier in (1, 2, 3):
        alone.do(alone.tree.insert, nodes_of(alone, identifier, 5))
    expected = [node for identifier in (1, 2, 3) for node in nodes_of(alone, identifier, 5)]
    for store in (together, alone):
        assert entries(source_of(store.pages), store.tree.top_pgno) == expected
        store.check()


def test_a_piece_takes_a_page_by_an_append_that_moves_nothing() -> None:
    store = with_values()
    before, since = len(store.macros()), len(store.log.records)
    put(store, nodes_of(store, 4, 9))
    splits = store.macros()[before:]
    assert len(splits) == 10
    for parent, level, operation in splits:
        assert isinstance(parent, Split2)
        assert isinstance(level, Split2)
        assert isinstance(operation, Insert)
        assert (level.split_kind, level.image_bytes, parent.new_pgno) == (APPEND, 0, 0)
        assert level.split_line == level.operation_line == level.lines - 1
    pgnos = [level.new_pgno for _, level, _ in splits if isinstance(level, Split2)]
    assert pgnos == [*range(pgnos[0], pgnos[0] + 10)]
    assert space_changes(store, since) == 1
    store.check()


def test_pages_of_a_deleted_value_are_given_back_together() -> None:
    store = with_values(values=4, pieces=9)
    since = delete(store, 2)
    assert space_changes(store, since) <= 4  # of the two pages that it shares, and of all others
    put(store, nodes_of(store, 5, 9))
    assert [key[3] for key in found(store) if len(key) == 4] == [1, 3, 4, 5]
    store.check()


@pytest.mark.parametrize("class_and_method", [(ascending._End, "give_back")])
def test_pages_that_were_not_needed_go_back(
    class_and_method: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last of the nodes is refused, its page was taken already; else it is lost."""
    lost = []
    for gives_back in (True, False):
        store = with_values()
        nodes = nodes_of(store, 4, 6)
        nodes[-1] = nodes[-1][0], bytes(store.format.data_bytes)
        if not gives_back:
            monkeypatch.setattr(*class_and_method, lambda *_: None)
        with pytest.raises(EseError, match="a node of"):
            put(store, nodes)
        store.transactions.clean_up(store.session)
        try:
            store.check()
        except AssertionError:
            lost.append(gives_back)
    assert lost == [False]


def test_pages_that_a_clean_up_does_not_give_back_are_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = with_values()
    monkeypatch.setattr(merge.LeftPages, "give_back", lambda _: None)
    delete(store, 2)
    with pytest.raises(AssertionError):
        store.check()


def test_among_other_nodes_they_go_where_they_belong() -> None:
    store = with_values(values=0)
    for identifier in (7, 3, 5, 4, 9):
        put(store, nodes_of(store, identifier, 3))
    assert [key[3] for key in found(store) if len(key) == 4] == [3, 4, 5, 7, 9]
    store.check()


def test_one_that_is_there_refuses_all() -> None:
    store = with_values()
    before = store.keys()
    with pytest.raises(EseError) as refused:
        put(store, [*nodes_of(store, 3, 5)[-1:], *nodes_of(store, 4, 5)])
    assert refused.value.number == -1605
    store.transactions.clean_up(store.session)
    assert store.keys() == before
    store.check()


def test_keys_that_do_not_ascend_are_refused() -> None:
    store = with_values()
    before, nodes = store.keys(), nodes_of(store, 4, 2)
    with pytest.raises(ValueError, match="do not ascend"):
        put(store, [nodes[1], nodes[0], *nodes[2:]])
    assert store.keys() == before
    store.check()


def test_a_long_one_asks_for_its_pages_in_parts() -> None:
    store = with_values(values=1)
    since = len(store.log.records)
    put(store, nodes_of(store, 2, 3 * MOST_PAGES))
    assert len(store.keys()) == 7 + 3 * MOST_PAGES + 2
    assert 3 <= space_changes(store, since) < MOST_PAGES
    store.check()


@pytest.mark.parametrize("pages", range(130, 142, 3))
def test_a_file_that_may_not_grow_refuses_them_and_stays_whole(pages: int) -> None:
    store = Store("exchange 2007", largest_file_pages=pages)
    with pytest.raises(EseError) as refused:
        for identifier in range(1, 99):
            put(store, nodes_of(store, identifier, 7))
    assert refused.value.number == -1808
    store.transactions.clean_up(store.session)
    values = [key for key in found(store) if len(key) == 4]
    assert len(values) > 2
    assert len(store.keys()) == 9 * len(values)
    store.check()


def test_at_any_cut_of_the_log_a_value_is_there_in_whole_or_not_at_all() -> None:
    store = with_values(values=2)
    before = store.keys()
    since = len(store.log.records)
    put(store, nodes_of(store, 3, 5))
    after = store.keys()
    for cut in range(since, len(store.log.records) + 1):
        pages = undone(store.log.records[:cut], store.format.page_bytes)
        there = [key for key, _ in entries(source_of(pages), store.tree.top_pgno)]
        assert there == (after if cut == len(store.log.records) else before)


def test_pages_are_counted_as_nodes_fill_them() -> None:
    assert pages_for([], 4056) == 0
    assert pages_for([(b"k", bytes(4000))], 4056) == 1
    assert pages_for([(b"k", bytes(4000)), (b"l", bytes(30))], 4056) == 1
    assert pages_for([(b"k", bytes(4000)), (b"l", bytes(46))], 4056) == 2
    assert pages_for([(b"k", bytes(2000))] * 5, 4056) == 3
    assert pages_for([(b"k", bytes(4000))] * 99, 4056) == MOST_PAGES
