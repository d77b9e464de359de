"""Whatever a damaged tree says, a walk along its leaves ends, and gives no node twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, permutations, product

import pytest

from replicator.ese.errors import EseError
from replicator.ese.node import EditedNode
from simulator.exchange.ese.tree import Tree
from simulator.exchange.ese.tree_search import TreeSearch
from tests.store_ese.test_splits_and_merges import Store

ROWS = 6
KEYS = [b"row" + bytes((number,)) for number in range(ROWS)]
ENDLESS = 10 * ROWS
"""So many nodes are asked for, and no more."""

Walk = Callable[[Tree], Iterator[bytes]]


def along_the_leaves(tree: Tree) -> Iterator[bytes]:
    return (node.key for node in tree.from_key())


def alike(tree: Tree) -> Iterator[bytes]:
    for page, line, end in tree.lines_with(b"row"):
        yield from map(page.key, range(line, end))


def leaf_by_leaf(tree: Tree) -> Iterator[bytes]:
    """Each time from behind the last node, as a walk does that others may run beside."""
    key, after, more = b"", False, True
    while more:
        nodes: list[EditedNode]
        nodes, more = tree.leaf_from(key, after=after)
        if not nodes:
            return
        yield from (node.key for node in nodes)
        key, after = nodes[-1].key, True


WALKS = [along_the_leaves, alike, leaf_by_leaf]
walks = pytest.mark.parametrize("walk", WALKS)


def small_tree() -> tuple[Store, list[int]]:
    """A tree of three leaves with two rows each, and the pages of these."""
    store = Store("exchange 2007")
    store.do(store.tree.insert, ((key, bytes(3000)) for key in KEYS))
    top = store.pages.page(store.tree.top_pgno)
    leaves = [top.child(line) for line in range(top.line_count)]
    assert [store.pages.page(pgno).line_count for pgno in leaves] == [2, 2, 2]
    return store, leaves


def walked(walk: Walk, tree: Tree) -> tuple[list[bytes], int]:
    """The keys that a walk gives, and the number of the error that it ends with."""
    keys: list[bytes] = []
    try:
        keys.extend(islice(walk(tree), ENDLESS))
    except EseError as error:
        return keys, error.number
    return keys, 0


@walks
def test_a_sound_tree_is_walked_to_its_end(walk: Walk) -> None:
    store, _ = small_tree()
    assert walked(walk, store.tree) == (KEYS, 0)


@pytest.mark.parametrize("checked", [True, False])
@walks
def test_any_links_between_leaves(
    walk: Walk, checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three leaves, each with every page of the tree, or none, on its right, and on its left."""
    if not checked:
        monkeypatch.setattr(TreeSearch, "_check_links", lambda *_: None)
        # Where keys have to be in order, most rings are found as well.
        monkeypatch.setattr(TreeSearch, "_in_order", lambda *_: b"")
    store, leaves = small_tree()
    ends = {"whole": 0, "short": 0, "refused": 0, "endless": 0}
    pages = [store.pages.page(pgno) for pgno in leaves]
    sides = (0, *leaves)
    for rights in product((*sides, store.tree.top_pgno), repeat=3):
        for lefts in product(sides, repeat=3):
            for page, right, left in zip(pages, rights, lefts, strict=True):
                page.next_pgno, page.prev_pgno = right, left
            keys, number = walked(walk, store.tree)
            if len(keys) == ENDLESS:
                ends["endless"] += 1
                continue
            if number:
                assert number in (-327, -1206)
                ends["refused"] += 1
            else:
                # A leaf that both its neighbours leave out is missed by more than a walk.
                ends["whole" if keys == KEYS else "short"] += 1
            if checked:
                assert len(keys) == len(set(keys))
                assert walk is alike or keys == sorted(keys)
    assert sum(ends.values()) == 5**3 * 4**3
    assert ends["whole"]
    assert bool(ends["refused"]) is checked
    assert bool(ends["endless"]) is not checked, ends


@pytest.mark.parametrize("checked", [True, False])
def test_any_order_of_lines(checked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose lines stand in disorder leads a search back to where it has been."""
    if not checked:
        monkeypatch.setattr(TreeSearch, "_in_order", lambda *_: b"")
    ends = set()
    for order in permutations(range(4)):
        store = Store("exchange 2007")
        store.do(store.tree.insert, ((key, bytes(1700)) for key in KEYS))
        top = store.pages.page(store.tree.top_pgno)
        page = store.pages.page(top.child(0))
        assert (top.line_count, page.line_count) == (2, 4)
        keys = [page.key(line) for line in range(4)]
        for line in reversed(range(4)):
            page.delete(line)
        for line, place in enumerate(order):
            page.insert(line, keys[place], bytes(1700))
        for walk in (along_the_leaves, leaf_by_leaf):
            found, number = walked(walk, store.tree)
            assert number in (0, -1206)
            ends.add("endless" if len(found) == ENDLESS else number)
            if number == 0 and checked:
                assert found == KEYS
    assert ends == ({0, -1206} if checked else {0, "endless"})


@pytest.mark.parametrize("line", range(3))
def test_a_tree_that_leads_to_a_page_twice_is_not_loaded(line: int) -> None:
    store, leaves = small_tree()
    top = store.pages.page(store.tree.top_pgno)
    store.tree.look_at_all_pages()
    for other in (*leaves, store.tree.top_pgno):
        if other != leaves[line]:
            top.lead_to(line, other)
            with pytest.raises(EseError) as refused:
                store.tree.look_at_all_pages()
            assert refused.value.number == -338
