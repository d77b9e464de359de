"""Catalogs by their bytes, rows and encoders by their definitions: what comes out is the same."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from replicator.ese.catalog import Catalog
from replicator.ese.catalog_encoding import CatalogEncoder, TablePlaces, Tree
from replicator.ese.columns import ColumnType
from replicator.ese.errors import EseError
from replicator.ese.page_source import page_offset
from replicator.ese.schema import ColumnDefinition, TableDefinition
from simulator.exchange.ese import database as database_module
from simulator.exchange.ese.database import Database, EditedPages
from simulator.exchange.ese.known_catalogs import (
    catalog_encoder,
    catalog_rows,
    own_rows,
    separator_of,
    tables_of,
)
from simulator.exchange.ese.mail_schema import MAIL_TABLES, MESSAGES
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.ese.preparation import PageNotInMemory, have_pages
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import (
    CONFIG,
    DIRECTORY,
    PAGE_BYTES,
    Life,
    new_medium,
    of_pages,
    run,
)

LARGE = replace(CONFIG, limit_pages=1 << 12, log_buffer_bytes=8 << 20, log_file_bytes=64 * 4096)
NAME = "priv1.edb"


def table(name: str, columns: int = 1) -> TableDefinition:
    return TableDefinition(
        name, tuple(ColumnDefinition(f"Column{at}", ColumnType.LONG) for at in range(columns))
    )


def read(database: Database) -> dict[str, object]:
    """The catalog as it is, read without any help."""
    pages = EditedPages(database.context.pages, database.format.page_bytes)
    return {each.name: each for each in Catalog(pages).tables}


def test_a_catalog_that_grows_to_several_pages_is_never_an_old_one() -> None:
    """Read after each table that comes, and once more when one has been taken back."""
    seen: list[bool] = []

    async def script(life: Life) -> None:
        instance = await life.open()
        one = await instance.create_database(NAME)
        session = instance.session(one)
        database = one.database

        def tables() -> dict[str, object]:
            pages = EditedPages(database.context.pages, database.format.page_bytes)
            root = database.context.page(4)
            found = tables_of(pages, root.plain_bytes() if root.is_leaf else None)
            again = tables_of(pages, root.plain_bytes() if root.is_leaf else None)
            assert found == again == read(database)
            return dict(found)

        for number in range(4):
            await session.do(database.create_table, table(f"Table{number}", 20))
            assert f"Table{number}" in tables()
            seen.append(database.context.page(4).is_leaf)
        session.begin()
        await session.do(database.create_table, table("Gone"))
        assert "Gone" in tables()
        await session.rollback()
        assert "Gone" not in tables()
        await instance.close()

    life = run(new_medium(), script, config=of_pages("exchange 2007", 7, 1 << 18))
    assert life.error is None
    assert seen[0] and not seen[-1], "the catalog has become a tree of several pages"


def filled() -> Medium:
    async def script(life: Life) -> None:
        instance = await life.open()
        one = await instance.create_database(NAME)
        boxes = await Mailboxes.create(instance.session(one))
        await boxes.add_mailbox(1, "Alice")
        await instance.close()

    medium = new_medium()
    assert run(medium, script, config=LARGE).error is None
    return medium


def opened(medium: Medium) -> tuple[Life, list[int]]:
    """Open the mailboxes of a store; how many reads and pages that took."""
    counts: list[int] = []

    async def script(life: Life) -> None:
        instance = await life.open()
        one = await instance.attach(NAME)
        boxes = await Mailboxes.open(instance.session(one))
        counts.extend((one.buffer.reads, one.buffer.read_count))
        assert [each async for each in boxes.mailboxes()] == [(1, "Alice")]
        instance.abandon()

    return run(medium, script, config=LARGE), counts


def test_pages_that_an_opening_needs_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    medium = filled()
    life, (reads, pages) = opened(medium.copy())
    assert life.error is None
    assert reads < pages / 2
    monkeypatch.setattr(database_module, "have_pages", lambda _page, _pgnos: None)
    life, (one_by_one, same_pages) = opened(medium.copy())
    assert life.error is None
    assert one_by_one > 1.5 * reads
    assert same_pages <= pages


def test_a_page_that_was_read_ahead_and_is_damaged_is_told_all_the_same() -> None:
    medium = filled()
    # The root of the catalog's second index; page 1 is what is needed first.
    content = next(each for path, each in medium.names.items() if path.endswith(NAME))
    assert content is not None
    at = page_offset(10, PAGE_BYTES) + 100
    content.data[at : at + 2] = b"\xde\xad"
    life, _ = opened(medium)
    assert isinstance(life.error, EseError)
    assert (life.error.number, life.error.path) == (-1018, f"{DIRECTORY}/{NAME}")


def test_what_is_missing_is_asked_for_at_once() -> None:
    there: Collection[int] = {2, 5}

    def page(pgno: int) -> object:
        if pgno not in there:
            raise PageNotInMemory((pgno,))
        return pgno

    have_pages(page, (5, 2))
    with pytest.raises(PageNotInMemory) as missing:
        have_pages(page, (5, 7, 2, 3, 7))
    assert (missing.value.pgnos, missing.value.ahead) == ({7}, {3})


def test_rows_and_encoders_of_a_definition_are_those_of_a_new_encoder() -> None:
    for revision, page_bytes in ((0x9, 4096), (0xC, 8192), (0x14, 32768)):
        known, new = catalog_encoder(revision, page_bytes), CatalogEncoder(revision, page_bytes)
        assert known is catalog_encoder(revision, page_bytes)
        assert list(own_rows(known, 9)) == list(new.own_entries(9))
        for number, each in enumerate(MAIL_TABLES):
            trees = {
                index.name: Tree(20 + number, 40 + at) for at, index in enumerate(each.indices)
            }
            for root in (50, 60):
                places = TablePlaces(Tree(10, root), trees, Tree(11, 70))
                assert list(catalog_rows(known, each, places)) == list(new.entries(each, places))
    assert separator_of(MESSAGES, 8192) is separator_of(MESSAGES, 8192)
    assert separator_of(MESSAGES, 8192) is not separator_of(MESSAGES, 4096)
