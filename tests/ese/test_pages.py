"""Pages: header, tags, nodes; what is refused; every page of every sample."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.checksum import header_checksum, with_checksums
from replicator.ese.database_check import check_database
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FlushMap
from replicator.ese.page import NodeFlag, Page, PageFlag
from replicator.ese.reader import BytesReader
from replicator.ese.verification import Verdict
from tests.ese.samples import FLUSH_MAPS, databases, load, place, sample

BASIC = "readers-4k/basic.edb"


def page(name: str, pgno: int) -> bytes:
    size = sample(name).page_size
    return load(name)[(pgno + 1) * size : (pgno + 2) * size]


def refused(data: bytes | bytearray) -> str:
    with pytest.raises(EseError) as caught:
        for _ in Page(bytes(data), 7).nodes():
            pass
    assert caught.value.number == -1206
    assert caught.value.events == (542,)
    assert caught.value.page == 7
    return caught.value.detail


@pytest.mark.parametrize("name", databases(large=True))
def test_every_page_of_every_sample(name: str) -> None:
    expected = sample(name)
    map_name = FLUSH_MAPS.get(name)
    flush_map = FlushMap(BytesReader(load(map_name))) if map_name and place(map_name) else None
    seen: list[int] = []
    check = check_database(
        BytesReader(load(name), "it.edb"),
        flush_map,
        contents=True,
        progress=lambda done, total: seen.append(done),
    )
    figures = (check.verified, check.initialised, check.pages)
    assert figures == (expected.verified, expected.initialised, expected.pages)
    assert check.highest_dbtime <= check.header.dbtime
    assert (check.bad_tags, check.lost_flushes, check.rest_bytes) == (0, 0, 0)
    assert not check.has_trailer
    assert seen[-1] == len(load(name))
    bad = [error.page for error in check.findings]
    assert bad == (list(range(143, 159)) if name == "damaged-tail/SRUDB.dat" else [])
    assert check.sound == (not bad)
    for error in check.findings:
        assert (error.number, error.path) == (-1018, "it.edb")
        assert error.page is not None
        assert error.offset == (error.page + 1) * expected.page_size


def test_the_fields_of_a_page() -> None:
    root = Page(page(BASIC, 4), 4)
    assert root.is_root
    assert not root.is_leaf
    assert root.flags & PageFlag.PARENT_OF_LEAF
    assert (root.objid, root.prev_pgno, root.next_pgno, root.prefix) == (2, 0, 0, b"")
    assert len(root.tag_data(0)) == 16
    child = root.child(0)
    leaf = Page(page(BASIC, child), child)
    assert leaf.is_leaf
    assert leaf.next_pgno == root.child(1)
    assert root.node(root.line_count - 1).key == b""
    with_prefix = [node for node in leaf.nodes() if node.flags & NodeFlag.COMPRESSED_KEY]
    assert with_prefix
    keys = [node.key for node in leaf.nodes()]
    assert keys == sorted(keys)
    assert keys[-1] < root.node(0).key


def tags_at(data: bytearray, number: int) -> int:
    return len(data) - 4 * (number + 1)


@pytest.mark.parametrize(
    "name", [BASIC, "readers-8k/decompress_test.edb", "bits-16k-dirty/qmgr.db"]
)
def test_tags_that_no_engine_writes(name: str) -> None:
    data = bytearray(page(name, 4))

    def changed(at: int, value: int) -> bytearray:
        other = bytearray(data)
        other[at : at + 2] = value.to_bytes(2, "little")
        return other

    assert "there is room for" in refused(changed(34, 0x0FFF)) or len(data) > 8192
    assert "behind the tags" in refused(changed(32, 0xFFF0))
    assert "is empty" in refused(changed(tags_at(data, 1), 0))
    assert "overlaps" in refused(changed(tags_at(data, 1) + 2, 0))
    assert "behind the used part" in refused(changed(tags_at(data, 1) + 2, 0x1FFF))
    assert "bytes are free" in refused(changed(28, 1))


def test_a_key_that_does_not_fit_its_line() -> None:
    data = bytearray(page(BASIC, 4))
    at = 40 + Page(bytes(data), 4).tags[1].offset
    data[at : at + 2] = b"\xff\x0f"
    assert "longer than the line" in refused(data)


def test_a_key_that_takes_more_of_the_prefix_than_there_is() -> None:
    root = Page(page(BASIC, 4), 4)
    leaf = root.child(0)
    data = bytearray(page(BASIC, leaf))
    view = Page(bytes(data), leaf)
    [line, *_] = [node.line for node in view.nodes() if node.flags & NodeFlag.COMPRESSED_KEY]
    at = 40 + view.tags[line + 1].offset
    data[at : at + 2] = (len(view.prefix) + 1).to_bytes(2, "little")
    assert "of a shorter prefix" in refused(data)


@given(st.integers(0, 3), st.data())
def test_any_page_is_read_or_refused(which: int, data: st.DataObject) -> None:
    name, pgno = [
        (BASIC, 4),
        ("readers-8k/decompress_test.edb", 4),
        ("bits-16k-dirty/qmgr.db", 4),
        ("damaged-tail/SRUDB.dat", 150),
    ][which]
    changed = bytearray(page(name, pgno))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, 79) | st.integers(len(changed) - 80, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    try:
        found = Page(bytes(changed), pgno)
        keys = [node.key for node in found.nodes()]
    except EseError as error:
        assert error.number == -1206
        return
    assert len(keys) == found.line_count


def test_findings_of_a_check() -> None:
    size = 4096
    data = bytearray(load("srum-server2022-later/SRUDB.dat"))
    flush_map = FlushMap(BytesReader(load("srum-server2022-later/SRUDB.jfm")))
    data[2 * size + 200] ^= 1  # page 1: one bit
    data[3 * size + 200] ^= 3  # page 2: two bits of one dword
    data[5 * size : 6 * size] = data[6 * size : 7 * size]  # page 4 holds page 5
    data[8 * size : 9 * size] = bytes(size)  # page 7 was never written back
    older = data[11 * size : 12 * size]  # page 10 is whole, but not the one last written
    older[38] ^= 1
    data[11 * size : 12 * size] = with_checksums(older, 10)
    check = check_database(BytesReader(data + bytes(100)), flush_map)
    assert check.verdicts == {
        Verdict.GOOD: 69,
        Verdict.ZERO: 86,
        Verdict.MENDED: 1,
        Verdict.MISPLACED: 1,
        Verdict.DAMAGED: 1,
    }
    assert [(error.page, error.number) for error in check.findings] == [
        (1, -1018),
        (2, -1018),
        (4, -1018),
        (7, -1119),
        (10, -1119),
    ]
    assert check.findings[0].events == (399,)
    assert "belongs to page 5" in check.findings[2].detail
    assert (check.lost_flushes, check.rest_bytes, check.mended) == (2, 100, 1)


def test_a_flush_map_of_another_database_is_not_used() -> None:
    flush_map = FlushMap(BytesReader(load("srum-server2022-later/SRUDB.jfm")))
    check = check_database(BytesReader(load(BASIC)), flush_map)
    assert check.foreign_flush_map
    assert (check.sound, check.lost_flushes) == (True, 0)


def test_the_trailer_of_a_streaming_backup_is_no_page() -> None:
    data = load(BASIC)
    trailer = bytearray(4096)
    trailer[40:64] = bytes(range(24))
    trailer[:4] = header_checksum(trailer).to_bytes(4, "little")
    check = check_database(BytesReader(data + trailer))
    assert check.has_trailer
    assert (check.pages, check.sound) == (sample(BASIC).pages, True)
