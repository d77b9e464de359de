"""Pages that are in use and not there: of zeros, or behind the end of a file that was cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from replicator.ese import database_check, recovery_checks
from replicator.ese.database_check import DatabaseCheck, check_database
from replicator.ese.errors import EseError
from replicator.ese.owned_size import check_whole
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.recovered_database import RecoveredDatabase
from tests.ese.redoing import PAGE_BYTES
from tests.ese.samples import load
from tests.ese.small_ese_store import DATABASE, DIRECTORY, run_recovery
from tests.ese.test_recovery import database, header_of, recovered, store
from tests.ese.test_recovery_refusals import put
from tests.store.memory_volume import Medium

BASIC, INDEX = "readers-4k/basic.edb", "readers-4k/index.edb"
REPAIRED = "search-win10-32k/repaired-Windows.edb"


def check(data: bytes) -> DatabaseCheck:
    return check_database(BytesReader(data))


def initialised(data: bytes) -> Sequence[int]:
    pages = check(data).pages
    return [
        pgno
        for pgno in range(1, pages + 1)
        if any(data[page_offset(pgno, PAGE_BYTES) : page_offset(pgno + 1, PAGE_BYTES)])
    ]


def zeroed(data: bytes, pgno: int) -> bytes:
    at = page_offset(pgno, PAGE_BYTES)
    return data[:at] + bytes(PAGE_BYTES) + data[at + PAGE_BYTES :]


@pytest.mark.parametrize("name", [BASIC, INDEX])
def test_every_page_in_use_is_missed(name: str) -> None:
    data = load(name)
    assert check(data).sound
    for pgno in initialised(data):
        told = {(each.number, each.page) for each in check(zeroed(data, pgno)).findings}
        assert (-1019, pgno) in told, pgno


def test_the_finding_says_which_tree_leads_there() -> None:
    found = check(zeroed(load(INDEX), 12)).findings
    assert [each.number for each in found] == [-1019]
    assert "page 10 has it for its space (index 'RootObjects'" in found[0].detail


def test_without_following_the_trees_a_page_of_zeros_is_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_check, "check_links", lambda *_: ())
    assert check(zeroed(load(INDEX), 12)).sound


def test_what_freed_pages_name_is_not_in_use() -> None:
    """Two pages of zeros have a page that still names them, and that no tree leads to."""
    assert check(load(REPAIRED)).sound


def test_a_dirty_database_is_left_to_recovery() -> None:
    data = load("bits-16k-dirty/qmgr.db")
    assert check(data[: -16384 * 4]).sound


@pytest.mark.parametrize("pages", [1, 4, 60, 253])
def test_a_file_that_was_cut_at_a_page(pages: int) -> None:
    data = load(INDEX)
    found = check(data[: page_offset(pages + 1, PAGE_BYTES)]).findings
    number, words = (-1022, "nobody knows how long") if pages < 2 else (-1206, "was cut short")
    assert any(each.number == number and words in each.detail for each in found)


def test_without_the_size_a_cut_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the file is free space: no tree leads there."""
    monkeypatch.setattr(database_check, "check_size", lambda *_: ())
    assert check(load(INDEX)[: page_offset(254, PAGE_BYTES)]).sound


def test_a_catalog_that_cannot_be_read_is_no_silence() -> None:
    data = load(BASIC)
    at = page_offset(4, PAGE_BYTES)
    found = check(data[: at + 100] + b"??" + data[at + 102 :])
    assert found.no_catalog is not None
    assert [each.page for each in found.findings] == [4]


# -- recovery ----------------------------------------------------------------------------------


def cut(medium: Medium, pages: int) -> Medium:
    """The database without its last pages."""
    put(medium, DATABASE, database(medium)[: -pages * PAGE_BYTES])
    return medium


def at_rest() -> Medium:
    medium = store()
    recovered(medium)
    return medium


@pytest.mark.parametrize("pages", [1, 3, 18, 19, 20])
def test_recovery_refuses_a_clean_database_that_was_cut(pages: int) -> None:
    medium = cut(at_rest(), pages)
    before = medium.digest(DIRECTORY)
    run = run_recovery(medium)
    assert [(each.number, each.path) for each in run.errors] == [(-1206, DATABASE)]
    assert "it was cut short" in run.errors[0].detail
    assert medium.digest(DIRECTORY) == before


def not_extended(monkeypatch: pytest.MonkeyPatch) -> Medium:
    """A dirty database whose last pages are gone; they are free, so that no record needs them."""

    async def stay(_database: object, _last_pgno: int) -> None:
        """As with logs that begin behind the extension."""

    monkeypatch.setattr(RecoveredDatabase, "_grow", stay)
    return cut(store(), 6)


def test_recovery_brings_no_dirty_database_to_rest_that_was_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    medium = not_extended(monkeypatch)
    run = run_recovery(medium)
    assert isinstance(run.error, EseError)
    assert (run.error.number, run.error.path) == (-1206, DATABASE)
    assert not header_of(medium).is_clean


def test_without_the_check_both_are_called_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> list[EseError]:
        return []

    async def unknown(_: object) -> None:
        return None

    assert check_whole is recovery_checks.check_whole
    monkeypatch.setattr(recovery_checks, "check_whole", nothing)
    monkeypatch.setattr(RecoveredDatabase, "check_whole", unknown)
    for medium in (cut(at_rest(), 3), not_extended(monkeypatch)):
        recovered(medium)
        assert header_of(medium).is_clean


def test_a_clean_database_whose_space_cannot_be_read_is_left_to_verify() -> None:
    medium = at_rest()
    data = database(medium)
    for pgno in (1, 2):
        at = page_offset(pgno, PAGE_BYTES)
        put(medium, DATABASE, data[: at + 60] + b"?!?" + data[at + 63 :])
        recovered(medium)
