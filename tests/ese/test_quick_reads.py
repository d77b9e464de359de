"""What is read by a shorter way is read as by the long one: records, tags of pages, checksums."""

from __future__ import annotations

import random

import pytest

from replicator.ese.checksum import is_as_summed
from replicator.ese.errors import EseError
from replicator.ese.layout import places
from replicator.ese.log_page_records import Insert, Merge2, Split2
from replicator.ese.log_records import CONTENTS
from replicator.ese.page import Page, PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.verification import Verdict, judge_page

LAYOUTS = sorted({*CONTENTS.values()}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", LAYOUTS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_record_is_what_its_place_says(kind) -> None:
    raw = random.Random(kind.__name__).randbytes(kind.SIZE) + b"tail"
    found = kind.decode(raw)
    for name, place in places(kind).items():
        assert getattr(found, name) == place.decode(raw[place.offset : place.offset + place.size])
    assert found.raw == raw
    fields = {name: getattr(found, name) for name in places(kind)}
    assert found == kind(**fields, raw=raw)


def test_records_of_many_numbers_take_the_short_way() -> None:
    """They say the same without, so only this would notice."""
    for kind in (Insert, Split2, Merge2):
        assert all(place.code for place in places(kind).values())


def filled(page_bytes: int, flags: int = int(PageFlag.LEAF | PageFlag.NEW_CHECKSUM)) -> PageEditor:
    page = PageEditor(7, page_bytes)
    page.start(2, 3, flags, b"message")
    for line in range(9):
        page.insert(line, b"message %d" % line, bytes((line,)) * 100, 7)
    page.delete(4)
    return page


@pytest.mark.parametrize("page_bytes", [4096, 8192, 32768])
def test_tags_that_do_not_hold_together_are_refused_as_the_reader_refuses_them(
    page_bytes: int,
) -> None:
    draws, refused = random.Random(page_bytes), 0
    whole = filled(page_bytes).plain_bytes()
    assert PageEditor.load(whole, 7).plain_bytes() == whole
    places_of_fields = [*range(28, 36), *range(page_bytes - 44, page_bytes)]
    for _ in range(400):
        data = bytearray(whole)
        for _bytes in range(draws.randint(1, 2)):
            data[draws.choice(places_of_fields)] = draws.choice(
                (0, 1, 4, 255, draws.randrange(256))
            )
        told: list[str] = []
        for read in (Page, PageEditor.load):
            try:
                read(bytes(data), 7)
            except EseError as error:
                told.append(str(error))
            else:
                told.append("")
        assert told[0] == told[1]
        refused += bool(told[0])
    assert 100 < refused < 400


@pytest.mark.parametrize("page_bytes", [4096, 8192, 32768])
def test_a_page_as_it_was_written_needs_no_further_judgement(page_bytes: int) -> None:
    data = filled(page_bytes).sealed_bytes()
    assert is_as_summed(data, 7) == (page_bytes <= 8192)
    assert judge_page(data, 7).verdict is Verdict.GOOD
    assert not is_as_summed(data, 8)
    for bit in (0, 70, 36 * 8 + 13, 8 * 200, 8 * page_bytes - 1):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        assert not is_as_summed(bytes(turned), 7)
    assert not is_as_summed(bytes(page_bytes), 7)
    assert not is_as_summed(filled(page_bytes, int(PageFlag.LEAF)).sealed_bytes(), 7)
