"""What was made of bytes before is given again, for these bytes only, and errors never are."""

from __future__ import annotations

from threading import Thread

import pytest

from replicator.ese.errors import EseError
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import Kind
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_io import judged_page
from replicator.ese.recall import Key, KnownLog, Recall, recall, recalling
from replicator.ese.values import LogPosition
from simulator.remembered import Remembered
from tests.ese.logs_v7 import CREATED, GENERATION, SMALL, opened, places, record, written

PAGE_BYTES = 8192


def tables() -> tuple[Recall, Remembered[Key, PageEditor], Remembered[Key, KnownLog]]:
    pages: Remembered[Key, PageEditor] = Remembered(1 << 20)
    logs: Remembered[Key, KnownLog] = Remembered(1 << 20)
    return Recall(pages, logs), pages, logs


def sealed(pgno: int, dbtime: int) -> bytes:
    page = PageEditor(pgno, PAGE_BYTES)
    page.begin(7, dbtime)
    return page.sealed_bytes()


# -- pages --------------------------------------------------------------------------------


def test_a_page_is_judged_once_for_its_bytes_and_its_number() -> None:
    known, pages, _ = tables()
    data = sealed(5, 70)
    with recalling(known):
        first, again = (judged_page(data, 5, "/priv1.edb") for _time in range(2))
        assert (pages.hits, pages.misses) == (1, 1)
        assert first is not again
        assert first.sealed_bytes() == again.sealed_bytes() == data
        assert judged_page(sealed(5, 80), 5, "/priv1.edb").dbtime == 80
        with pytest.raises(EseError) as misplaced:
            judged_page(data, 6, "/priv1.edb")
        assert misplaced.value.number == -1018
    assert recall() is None
    judged_page(data, 5, "/priv1.edb")
    assert pages.hits == 1, "nothing is looked up when it is off"


def change_what_was_given(page: PageEditor) -> bytes:
    page.dbtime += 1
    page.begin(9, page.dbtime)
    return page.sealed_bytes()


def test_who_changes_a_page_changes_it_for_nobody_else() -> None:
    known, _pages, _ = tables()
    data = sealed(5, 70)
    with recalling(known):
        for _time in range(3):
            page = judged_page(data, 5, "/priv1.edb")
            assert page.sealed_bytes() == data
            assert change_what_was_given(page) != data


def test_without_copies_a_change_would_be_found_in_the_next_mount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the test above relies on, taken away."""
    monkeypatch.setattr(PageEditor, "copy", lambda page, _pgno=None: page)
    known, _pages, _ = tables()
    data = sealed(5, 70)
    with recalling(known):
        change_what_was_given(judged_page(data, 5, "/priv1.edb"))
        assert judged_page(data, 5, "/priv1.edb").sealed_bytes() != data


def test_a_damaged_page_is_found_damaged_each_time() -> None:
    known, pages, _ = tables()
    data = bytearray(sealed(5, 70))
    data[4000] ^= 1
    data[4001] ^= 1
    with recalling(known):
        for path in ("/one.edb", "/two.edb"):
            with pytest.raises(EseError) as damaged:
                judged_page(bytes(data), 5, path)
            assert (damaged.value.number, damaged.value.path) == (-1018, path)
    assert len(pages) == 0


def test_it_is_on_for_the_thread_that_has_switched_it_on() -> None:
    known, _pages, _logs = tables()
    found: list[Recall | None] = []
    with recalling(known):
        other = Thread(target=lambda: found.append(recall()))
        other.start()
        other.join()
        inner, _, _ = tables()
        with recalling(inner):
            found.append(recall())
        found.append(recall())
    assert found == [None, inner, known]


# -- logs ---------------------------------------------------------------------------------


def log_bytes(*marks: int) -> bytes:
    return bytes(written([[record(60, mark)] for mark in marks], SMALL).content)


def test_a_log_is_scanned_and_walked_once() -> None:
    known, _pages, logs = tables()
    content = log_bytes(1, 2, 3)
    alone = places(content)
    assert len(alone) == 3
    with recalling(known):
        assert [places(content) for _time in range(3)] == [alone] * 3
        assert (logs.hits, logs.misses) == (2, 1)
        one, two = (list(opened(content).records()) for _time in range(2))
        assert all(a is b for a, b in zip(one, two, strict=True))
        assert len(places(log_bytes(1, 2))) == 2
    assert opened(content).header.generation == GENERATION
    assert opened(content).header.created == CREATED


def test_a_walk_that_was_broken_off_is_not_taken_for_the_whole() -> None:
    known, _pages, _logs = tables()
    content = log_bytes(1, 2, 3)
    with recalling(known):
        next(iter(opened(content).records()))
        assert len(places(content)) == 3


def test_a_closed_log_is_judged_as_one_though_it_was_met_as_the_current_one() -> None:
    """What may be torn in the current log may not be in a closed one."""
    known, _pages, _logs = tables()
    torn = bytearray(log_bytes(1, 2, 3))
    where = next(place for place, _ in places(torn) if place == places(torn)[-1][0])
    torn[where.sector * 512 + where.byte] ^= 0xFF
    torn[(where.sector + 1) * 512 : (where.sector + 2) * 512] = bytes(512)
    with recalling(known):
        outcomes = []
        for closed in (False, True, False, True):
            try:
                outcomes.append(len(places(torn, closed=closed)))
            except EseError as error:
                outcomes.append(error.number)
    alone = []
    for closed in (False, True):
        try:
            alone.append(len(places(torn, closed=closed)))
        except EseError as error:
            alone.append(error.number)
    assert outcomes == alone * 2
    assert alone[1] == -501


def test_what_a_record_says_is_decoded_once() -> None:
    one = LogRecord(LogPosition(1, 8, 22), bytes((Kind.SHUT_DOWN,)))
    assert one.content is one.content
    assert one == LogRecord(LogPosition(1, 8, 22), bytes((Kind.SHUT_DOWN,)))
