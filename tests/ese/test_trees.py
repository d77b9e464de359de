"""Trees: order, seeking, broken links; space; catalog."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese import page_source
from replicator.ese.btree import BTree, Visited
from replicator.ese.catalog import (
    CATALOG_NAME,
    SHADOW_NAME,
    Catalog,
    TableDefinition,
    inherit,
)
from replicator.ese.checksum import with_checksums
from replicator.ese.columns import Column, ColumnType
from replicator.ese.errors import EseError
from replicator.ese.page import Page
from replicator.ese.page_source import PageSource
from replicator.ese.reader import BytesReader
from replicator.ese.space import (
    SYSTEM_ROOT,
    available_extents,
    extents,
    next_auto_increment,
    owned_extents,
    space_header,
)
from tests.ese.samples import databases, load, sample

INDEX = "readers-4k/index.edb"
LATER = "srum-server2022-later/SRUDB.dat"


def source(name: str) -> PageSource:
    return PageSource(BytesReader(load(name), name), sample(name).page_size)


def changed(name: str, pgno: int, change: Callable[[bytearray], None]) -> PageSource:
    """The pages of a sample, one of them changed and its checksum put right."""
    size = sample(name).page_size
    data = bytearray(load(name))
    at = (pgno + 1) * size
    page = data[at : at + size]
    change(page)
    data[at : at + size] = with_checksums(page, pgno)
    return PageSource(BytesReader(data, name), size)


def number_at(offset: int, value: int) -> Callable[[bytearray], None]:
    def change(page: bytearray) -> None:
        page[offset : offset + 4] = value.to_bytes(4, "little")

    return change


def walk_error(pages: PageSource, root: int = 4) -> EseError:
    with pytest.raises(EseError) as caught:
        for _ in BTree(pages, root).entries():
            pass
    return caught.value


# -- order and seeking -----------------------------------------------------------------


@pytest.mark.parametrize("name", databases())
def test_the_catalog_comes_in_order_and_its_shadow_is_the_same(name: str) -> None:
    pages = source(name)
    rows = [entry.node for entry in BTree(pages, 4).entries()]
    assert all(a.key < b.key for a, b in pairwise(rows))
    shadow = [entry.node for entry in BTree(pages, 24).entries()]
    assert [node.key for node in shadow] == [node.key for node in rows]


@given(st.integers(0, 1 << 30), st.integers(-1, 1))
def test_seeking_gives_what_walking_gives(pick: int, step: int) -> None:
    tree = BTree(source(LATER), 4)
    keys = [entry.node.key for entry in tree.entries()]
    key = keys[pick % len(keys)]
    wanted = (int.from_bytes(key, "big") + step).to_bytes(len(key), "big")
    found = [entry.node.key for entry in tree.entries(wanted)]
    assert found == [each for each in keys if each >= wanted]


def test_deleted_nodes_are_shown_when_asked_for() -> None:
    tree = BTree(source("bits-16k-dirty/qmgr.db"), 3)
    assert not any(entry.node.is_deleted for entry in tree.entries())
    assert any(entry.node.is_deleted for entry in tree.entries(deleted=True))


# -- broken trees ----------------------------------------------------------------------


def test_broken_links() -> None:
    root = Page(load(INDEX)[5 * 4096 : 6 * 4096], 4)
    first, second = root.child(0), root.child(1)
    cases: list[tuple[int, Callable[[bytearray], None], int, str]] = [
        (first, number_at(20, 0), -327, "names 0 as its next"),
        (first, number_at(16, 99), -327, "names page 99 before it"),
        (second, number_at(16, 0), -327, "names 0 before it"),
        (root.child(root.line_count - 1), number_at(20, 9), -327, "names page 9 as its next"),
        (second, number_at(24, 77), -338, "of object 77"),
        (second, number_at(36, 0x2804), -338, "of another level"),
    ]
    for pgno, change, number, words in cases:
        error = walk_error(changed(INDEX, pgno, change))
        assert error.number == number
        assert words in error.detail


def test_lines_out_of_order() -> None:
    root = Page(load(INDEX)[5 * 4096 : 6 * 4096], 4)
    leaf = root.child(0)

    def swapped(page: bytearray) -> None:
        first, second = len(page) - 4 * 4, len(page) - 4 * 5
        page[first : first + 4], page[second : second + 4] = (
            page[second : second + 4],
            page[first : first + 4],
        )

    error = walk_error(changed(INDEX, leaf, swapped))
    assert (error.number, error.page) == (-1206, leaf)
    assert "line 3 is out of order" in error.detail


def test_the_latest_pages_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_source, "CACHED_PAGES", 5)
    pages = source(INDEX)
    first, second = pages.page(1), pages.page(2)
    for pgno in (3, 4, 5):
        pages.page(pgno)
    assert pages.page(1) is first  # and so it is the latest
    pages.page(6)
    assert pages.page(1) is first
    assert pages.page(2) is not second


@pytest.mark.parametrize(
    ("child", "number", "words"),
    [
        (4, -338, "which the tree has already"),
        (10_000, -338, "which the file does not have"),
        (0, -338, "which the file does not have"),
        (200, -1019, "all zero"),
    ],
)
def test_a_parent_that_leads_astray(child: int, number: int, words: str) -> None:
    root = Page(load(INDEX)[5 * 4096 : 6 * 4096], 4)
    line = root.tags[2]
    at = root.header_bytes + line.offset + line.size - 4
    error = walk_error(changed(INDEX, 4, number_at(at, child)))
    assert error.number == number
    assert words in error.detail
    assert error.path == INDEX


def test_a_page_that_is_no_root() -> None:
    root = Page(load(INDEX)[5 * 4096 : 6 * 4096], 4)
    error = walk_error(source(INDEX), root.child(0))
    assert (error.number, error.page) == (-1206, root.child(0))


def test_a_damaged_page_is_met_only_where_it_is_used() -> None:
    data = bytearray(load(INDEX))
    data[5 * 4096 + 2000] ^= 3
    pages = PageSource(BytesReader(data), 4096)
    assert walk_error(pages).number == -1018
    assert list(BTree(pages, SYSTEM_ROOT).entries()) == []


def test_a_single_bit_is_mended_on_the_way() -> None:
    data = bytearray(load(INDEX))
    data[5 * 4096 + 2000] ^= 1
    pages = PageSource(BytesReader(data), 4096)
    assert pages.page(4).data == load(INDEX)[5 * 4096 : 6 * 4096]


@given(st.lists(st.integers(0, 1 << 32)))
def test_visited_pages_are_remembered(numbers: list[int]) -> None:
    visited, model = Visited(), set()
    for number in numbers:
        assert visited.add(number) == (number not in model)
        model.add(number)


# -- space -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", databases())
def test_space_accounts_for_the_file(name: str) -> None:
    pages = source(name)
    header = space_header(pages.page(SYSTEM_ROOT))
    assert (header.is_multiple, header.owned_root_or_map) == (True, 2)
    owned = owned_extents(pages, SYSTEM_ROOT)
    assert owned[0].first == 1
    assert all(a.last + 1 == b.first for a, b in pairwise(owned))
    # Ahead of need the file may already be longer; nothing was ever written there, but for the
    # remains of another file that one sample holds.
    assert owned[-1].last <= pages.page_count
    if name != "damaged-tail/SRUDB.dat":
        assert not any(load(name)[(owned[-1].last + 2) * pages.page_size :])
    for extent in available_extents(pages, SYSTEM_ROOT):
        assert 1 <= extent.first <= extent.last <= owned[-1].last
    inner = owned_extents(pages, 4)
    free = available_extents(pages, 4)
    mine = {number for extent in inner for number in range(extent.first, extent.last + 1)}
    unused = {number for extent in free for number in range(extent.first, extent.last + 1)}
    used = {page.pgno for page in BTree(pages, 4).leaves()}
    assert used <= mine - unused


@pytest.mark.parametrize("name", databases())
def test_every_tree_owns_the_pages_that_it_uses(name: str) -> None:
    pages = source(name)
    all_owned: set[int] = set()
    for table in Catalog(pages).tables:
        roots = {table.root_pgno, *(index.root_pgno for index in table.indices)}
        if table.long_value_root is not None:
            roots.add(table.long_value_root)
        for root in roots:
            owned = {
                pgno
                for extent in owned_extents(pages, root)
                for pgno in range(extent.first, extent.last + 1)
            }
            assert {page.pgno for page in BTree(pages, root).leaves()} <= owned
            free = available_extents(pages, root)
            assert all({extent.first, extent.last} <= owned for extent in free if extent.pages > 0)
            if root == table.root_pgno:
                numbers = next_auto_increment(pages.page(root))
                assert numbers is None or numbers > 0
            all_owned |= owned
    assert max(all_owned) <= owned_extents(pages, SYSTEM_ROOT)[-1].last


def test_a_root_with_more_than_its_space() -> None:
    plain = Page(load(INDEX)[5 * 4096 : 6 * 4096], 4)
    assert next_auto_increment(plain) is None

    class Root:
        tags = plain.tags
        pgno = 4
        header = b""

        def tag_data(self, _number: int) -> bytes:
            return self.header

    root = Root()
    root.header = b"\3" + plain.tag_data(0) + (22).to_bytes(8, "little")
    assert space_header(root) == space_header(plain)  # type: ignore[arg-type]
    assert next_auto_increment(root) == 22  # type: ignore[arg-type]
    for header in (b"", bytes(15), bytes(25)):
        root.header = header
        with pytest.raises(EseError, match="no space header"):
            space_header(root)  # type: ignore[arg-type]


def test_an_extent_of_another_shape() -> None:
    def longer(page: bytearray) -> None:
        view = Page(bytes(page), 5)
        at = 40 + view.tags[1].offset
        page[at + 6 : at + 10] = (1000).to_bytes(4, "little")

    with pytest.raises(EseError) as caught:
        list(extents(changed(INDEX, 5, longer), 5))
    assert caught.value.number == -1206


# -- catalog ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", databases())
def test_the_tables_of_every_sample(name: str) -> None:
    expected = sample(name)
    catalog = Catalog(source(name))
    assert len(catalog.tables) == expected.tables
    assert catalog.tables[0].name == CATALOG_NAME
    assert catalog.tables[0].root_pgno == 4
    assert catalog.table(SHADOW_NAME).root_pgno == 24
    for table in catalog.tables:
        primaries = [index for index in table.indices if index.is_primary]
        for index in primaries:
            assert (index.objid, index.root_pgno) == (table.objid, table.root_pgno)
        for index in table.indices:
            assert set(index.columns) <= set(table.columns)
        offsets = list(table.fixed_offsets().items())
        for (before, place), (_, after) in pairwise(offsets):
            assert place + table.columns[before].fixed_size == after


def test_fixed_columns_lie_where_the_catalog_says() -> None:
    columns = {
        1: Column(1, "first", ColumnType.LONG, offset=4),
        3: Column(3, "behind a dropped one", ColumnType.SHORT, offset=16),
        4: Column(4, "unsaid", ColumnType.BIT),
        128: Column(128, "variable", ColumnType.TEXT),
    }
    table = TableDefinition("t", 9, 40, 0, columns=columns)
    assert table.fixed_offsets() == {1: 4, 3: 16, 4: 18}


def test_a_derived_table_has_the_columns_of_its_template() -> None:
    def of(name: str, template: str, *columns: Column) -> TableDefinition:
        by_number = {column.identifier: column for column in columns}
        return TableDefinition(name, 9, 40, 0, template, columns=by_number)

    base = of("base", "", Column(1, "one", 4), Column(256, "old", 12))
    derived = of("derived", "base", Column(2, "two", 4), Column(256, "new", 12))
    orphan = of("orphan", "gone", Column(1, "one", 4))
    tables = {table.name: table for table in (base, derived, orphan)}
    for table in tables.values():
        inherit(table, tables)
    assert {number: each.name for number, each in derived.columns.items()} == {
        1: "one",
        2: "two",
        256: "new",
    }
    assert len(base.columns) == 2
    assert len(orphan.columns) == 1


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(EseError) as caught:
        Catalog(source(INDEX)).table("nobody")
    assert caught.value.number == -1601
