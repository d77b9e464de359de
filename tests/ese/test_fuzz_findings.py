"""What fuzzing and planted damage have found, each made as small as it gets."""

from __future__ import annotations

import pytest

from replicator.ese.checksum import with_checksums
from replicator.ese.database_check import check_database
from replicator.ese.errors import EseError
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from tests.ese.samples import load, sample
from tests.ese.small_ese_store import DATABASE, crashed_store, run_recovery

INDEX = "readers-4k/index.edb"


def test_owned_extents_that_lead_in_a_circle_end_recovery() -> None:
    """The file's size is asked of the tree of owned extents: it went round for ever."""
    medium = crashed_store().medium
    inode = medium.names[DATABASE]
    assert inode is not None
    page = PageEditor(2, 4096)
    flags = PageFlag.ROOT | PageFlag.PARENT_OF_LEAF | PageFlag.SPACE_TREE | PageFlag.NEW_CHECKSUM
    page.start(1, 1000, int(flags | PageFlag.NEW_RECORD_FORMAT), bytes(16))
    page.insert(0, b"", (2).to_bytes(4, "little"))
    at = page_offset(2, 4096)
    inode.data[at : at + 4096] = page.sealed_bytes()
    run = run_recovery(medium)
    assert isinstance(run.error, EseError)
    assert (run.error.number, run.error.page) == (-338, 2)


def test_a_page_that_was_never_used_leads_nowhere() -> None:
    """A search that came to a page of zeros fell over it."""
    with pytest.raises(EseError) as caught:
        PageEditor(7, 4096).child(-1)
    assert (caught.value.number, caught.value.page) == (-1019, 7)


@pytest.mark.parametrize("line", [-1, 0, 5])
def test_a_page_without_lines_leads_nowhere(line: int) -> None:
    page = PageEditor(7, 4096)
    page.start(2, 5, int(PageFlag.PARENT_OF_LEAF))
    with pytest.raises(EseError) as caught:
        page.child(line)
    assert (caught.value.number, caught.value.page) == (-1206, 7)


def changed_page(pgno: int, change: object) -> bytes:
    """A sample with one page changed, its checksum right."""
    size, data = sample(INDEX).page_size, bytearray(load(INDEX))
    at = page_offset(pgno, size)
    page = bytearray(data[at : at + size])
    change(page)  # type: ignore[operator]
    data[at : at + size] = with_checksums(page, pgno)
    return bytes(data)


def numbers(data: bytes) -> list[tuple[int, int | None]]:
    found = check_database(BytesReader(data, INDEX), contents=True)
    return [(error.number, error.page) for error in found.findings]


def test_lines_out_of_order_are_found_when_contents_are_verified() -> None:
    def exchange(page: bytearray) -> None:
        page[-8:-4], page[-12:-8] = page[-12:-8], page[-8:-4]

    assert numbers(load(INDEX)) == []
    assert numbers(changed_page(4, exchange)) == [(-1206, 4)]


def test_a_page_newer_than_a_database_at_rest_counts_is_found() -> None:
    def newer(page: bytearray) -> None:
        page[8:16] = (641).to_bytes(8, "little")

    def newest(page: bytearray) -> None:
        page[8:16] = (640).to_bytes(8, "little")

    assert numbers(changed_page(4, newer)) == [(-344, 4)]
    assert numbers(changed_page(4, newest)) == []
