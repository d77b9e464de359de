"""Redo of real logs gives, page by page, what the engine itself left in the database."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest

from replicator.ese.before_image import read_before_image
from replicator.ese.database_header import read_database_header
from replicator.ese.errors import EseError
from replicator.ese.log_page_records import NewPage, PageRecord, Split2
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import RecoveryUndo2
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_touches import touches
from replicator.ese.reader import BytesReader
from replicator.ese.redo import Redo, RedoDatabase
from replicator.ese.undo import undo_all
from replicator.ese.values import LogPosition
from tests.ese.redoing import (
    CLEAN,
    CLEAN_LOGS,
    DIRTY,
    DIRTY_LOGS,
    FIRST,
    GENERATIONS,
    LATER,
    PAGE_BYTES,
    MemoryPages,
    Recorder,
    all_records,
    content,
    difference,
    pages_of,
    redo,
    run_now,
    visible,
)
from tests.ese.samples import load, place

needs_all = pytest.mark.skipif(
    any(place(name) is None for name in (*GENERATIONS, *CLEAN_LOGS, *DIRTY_LOGS)),
    reason="needs ../shared, which CI has",
)
pytestmark = needs_all

FIRST_DB, LATER_DB = f"{FIRST}/SRUDB.dat", f"{LATER}/SRUDB.dat"


def check_all(pages: MemoryPages, database: str) -> None:
    for pgno, data in pages_of(database).items():
        assert difference(pages.page(pgno), data) == [], f"page {pgno}"


def test_the_first_database_rolled_forward_is_the_later_one() -> None:
    pages = MemoryPages(pages_of(FIRST_DB))
    run = redo(all_records(GENERATIONS[1:]), pages)
    check_all(pages, LATER_DB)
    named = {
        touch.pgno for record in all_records(GENERATIONS[1:]) for touch in touches(record.content)
    }
    assert len(named) == 65
    assert len(pages.touched) == 61
    assert run.counts["of a transaction begun before"]
    assert not run.versions.open_sessions()
    assert not run.open_macros


def test_from_nothing_the_whole_database_comes_about() -> None:
    pages = MemoryPages()
    run = redo(all_records(GENERATIONS), pages)
    check_all(pages, LATER_DB)
    assert len(pages.touched) == 73
    database = run.databases[1]
    header = read_database_header(BytesReader(load(LATER_DB)))[0]
    assert database.dbtime == header.dbtime == 1566
    assert database.last_objid == header.last_objid
    assert database.extends == header.extend_count == 7


def test_the_point_in_between_is_exact_too() -> None:
    pages = MemoryPages()
    redo(all_records((GENERATIONS[0], f"{FIRST}/SRU.log")), pages)
    check_all(pages, FIRST_DB)
    assert len(pages.touched) == 30


def test_a_second_redo_changes_nothing() -> None:
    pages = MemoryPages(pages_of(LATER_DB))
    run = redo(all_records(GENERATIONS), pages)
    assert not pages.touched
    assert not run.counts["redone"]
    check_all(pages, LATER_DB)


class Discovered(MemoryPages):
    """A database of which nothing is known but what the records themselves tell.

    A page becomes known when it is made anew, or by the before-image of its split.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()

    def page(self, pgno: int) -> PageEditor:
        page = super().page(pgno)
        if pgno not in self.known:
            page.dbtime = 1 << 62  # newer than any record: nothing is to be done to it
        return page

    async def load(self, pgnos: Collection[int], new: Collection[int] = ()) -> None:
        for pgno in new:
            if pgno not in self.known:
                self.known.add(pgno)
                self.pages[pgno] = PageEditor(pgno, PAGE_BYTES)

    def learn(self, record: Split2) -> None:
        if record.pgno not in self.known and record.image_bytes:
            image, flags = record.before_image, record.image_flags
            page = read_before_image(image, flags, record.pgno, PAGE_BYTES)
            page.dbtime = record.dbtime_before
            self.pages[record.pgno] = page
            self.known.add(record.pgno)


@pytest.mark.parametrize(
    ("database", "logs", "pages_known"), [(CLEAN, CLEAN_LOGS, 92), (DIRTY, DIRTY_LOGS, 37)]
)
def test_pages_that_become_known_inside_the_logs(
    database: str, logs: tuple[str, ...], pages_known: int
) -> None:
    pages = Discovered()
    run = Redo({1: RedoDatabase(1, pages, last_required=1 << 30)})
    for record in all_records(logs):
        found = record.content
        if isinstance(found, Split2):
            pages.learn(found)
        if isinstance(found, PageRecord | NewPage) and found.session not in run.versions:
            run.versions.begin(found.session, 1, outermost=True)
        run_now(run.apply(record))
    assert len(pages.known) == pages_known
    left = pages_of(f"{database}/SRUDB.dat")
    for pgno in sorted(pages.known):
        assert difference(pages.page(pgno), left[pgno]) == [], f"page {pgno}"


def test_all_that_a_dirty_database_has_is_skipped() -> None:
    pages = MemoryPages(pages_of(f"{DIRTY}/SRUDB.dat"))
    run = redo(all_records(DIRTY_LOGS), pages)
    assert not pages.touched
    assert run.counts["skipped"] > 800
    assert not run.versions.open_sessions()
    assert run.databases[1].dbtime == 25653


def test_before_images_are_the_pages_before() -> None:
    pages, compared = MemoryPages(), 0
    run = Redo({1: RedoDatabase(1, pages, last_required=1 << 30)})
    for record in all_records(GENERATIONS):
        found = record.content
        if isinstance(found, Split2) and found.image_bytes:
            image = found.before_image
            page = read_before_image(image, found.image_flags, found.pgno, PAGE_BYTES)
            assert page.dbtime == found.dbtime
            page.dbtime = found.dbtime_before
            assert content(page) == content(pages.page(found.pgno))
            compared += 1
        run_now(run.apply(record))
    assert compared == 9


def history() -> dict[int, list[bytes]]:
    """Every content that each page has had, from nothing on."""
    pages, found = MemoryPages(), {pgno: [bytes(PAGE_BYTES)] for pgno in pages_of(LATER_DB)}
    run = Redo({1: RedoDatabase(1, pages, last_required=1 << 30)})
    for record in all_records(GENERATIONS):
        run_now(run.apply(record))
        for pgno in pages.touched:
            found[pgno].append(pages.page(pgno).plain_bytes())
        pages.touched.clear()
    return found


def test_any_mix_of_ages_of_pages_comes_to_the_same_end() -> None:
    """What a crash leaves when pages were written in any order, or not."""
    ages, draw = history(), random.Random(7)
    used = 0
    for _trial in range(5):
        bias = draw.random()
        start = {
            pgno: draw.choice(found) if draw.random() < bias else draw.choice((found[0], found[-1]))
            for pgno, found in ages.items()
        }
        pages = MemoryPages(start)
        used += redo(all_records(GENERATIONS), pages).counts["skipped"]
        check_all(pages, LATER_DB)
    assert used


VERIFIED = (
    (Kind.INSERT, -1),
    (Kind.SPLIT2, 72),
    (Kind.CREATE_MULTIPLE_EXTENT_FDP, 32),
    (Kind.CREATE_SINGLE_EXTENT_FDP, 32),
    (Kind.CONVERT_FDP2, 56),
    (Kind.DELETE, 29),
    (Kind.FLAG_DELETE, 29),
    (Kind.REPLACE, 50),
)
"""Record types that real logs verify, and a byte of each that is changed."""


@pytest.mark.parametrize(("kind", "at"), VERIFIED, ids=str)
def test_one_changed_bit_in_a_record_is_noticed(kind: int, at: int) -> None:
    records = all_records(GENERATIONS)
    which = max(
        index
        for index, record in enumerate(records)
        if record.number == kind
        and not (isinstance(split := record.content, Split2) and not split.new_pgno)
    )
    data = bytearray(records[which].data)
    data[at] ^= 1
    records[which] = LogRecord(records[which].position, bytes(data))
    pages = MemoryPages()
    try:
        redo(records, pages)
    except EseError as error:
        assert error.number in (-500, -566, -567, -1206)
        assert "at log record" in error.detail
        return
    left = pages_of(LATER_DB)
    assert any(difference(pages.page(pgno), data) for pgno, data in left.items())


def test_a_page_that_misses_a_change_is_refused() -> None:
    """As after a write that was lost: one record of a page never happened."""
    records = all_records(GENERATIONS)
    changes = [
        index
        for index, record in enumerate(records)
        if record.number == Kind.INSERT and record.content.pgno == 4  # type: ignore[attr-defined]
    ]
    del records[changes[5]]
    with pytest.raises(EseError, match="a change before is missing; at log record") as caught:
        redo(records, MemoryPages())
    assert (caught.value.number, caught.value.page) == (-566, 4)
    assert caught.value.events == (516, 538, 539)


def test_a_page_of_another_history_is_refused() -> None:
    pages = MemoryPages(pages_of(FIRST_DB))
    pages.page(4).dbtime += 1
    with pytest.raises(EseError, match="a change that is not logged") as caught:
        redo(all_records(GENERATIONS), pages)
    assert (caught.value.number, caught.value.page) == (-567, 4)


def test_a_page_newer_than_the_required_logs_allow_is_refused() -> None:
    with pytest.raises(EseError, match="cannot be on disk") as caught:
        redo(all_records(GENERATIONS), MemoryPages(pages_of(LATER_DB)), last_required=4)
    assert caught.value.number == -625
    redo(all_records(GENERATIONS), MemoryPages(pages_of(LATER_DB)), last_required=5)


def outermost_transactions(records: list[LogRecord]) -> list[tuple[int, int]]:
    """Where each outermost transaction begins and ends, by index."""
    begins = [index for index, record in enumerate(records) if record.number == Kind.BEGIN0]
    ends = [index for index, record in enumerate(records) if record.number == Kind.COMMIT0]
    return [(begin, next(end for end in ends if end > begin)) for begin in begins]


def everything(pages: MemoryPages) -> dict[int, list[tuple[bytes, bytes]]]:
    return visible([pages.page(pgno) for pgno in pages_of(LATER_DB)])


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.full)])
def test_undo_at_any_cut_gives_what_was_there_before(stride: int) -> None:
    """Stop inside each outermost transaction: all trees show what they showed at its begin.

    What undo logged, redone after the same records, comes to the very same pages.
    """
    records = all_records(GENERATIONS)
    cuts = undone = 0
    for begin, end in outermost_transactions(records)[::stride]:
        before = MemoryPages()
        redo(records[:begin], before)
        wanted = everything(before)
        for cut in sorted({end, (begin + end) // 2, begin + (end - begin) // 3}):
            pages, log = MemoryPages(), Recorder()
            run = redo(records[:cut], pages)
            run_now(undo_all(run, log, RecoveryUndo2(number=Kind.RECOVERY_UNDO2)))
            assert everything(pages) == wanted
            assert not run.versions.open_sessions()
            again = MemoryPages()
            added = [
                LogRecord(LogPosition(99, at, 40), data) for at, data in enumerate(log.records, 1)
            ]
            repeated = redo([*records[:cut], *added], again)
            assert not repeated.versions.open_sessions()
            for pgno in pages_of(LATER_DB):
                assert content(again.page(pgno)) == content(pages.page(pgno))
            cuts += 1
            undone += run.counts["undone"]
    assert cuts > 10
    assert undone > 50
