"""Round trips and damage of the small store's log blocks, pages and checkpoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.exchange.small_checkpoint import (
    COPY_BYTES,
    BadCheckpoint,
    Checkpoint,
    Mark,
    decode_checkpoint,
    encode_checkpoint,
)
from simulator.exchange.small_log import (
    FIRST_LSN,
    LOG_HEADER_BYTES,
    SECTOR_BYTES,
    BadLog,
    LoggedMessage,
    LoggedTransaction,
    closed_log_name,
    decode_log_header,
    encode_block,
    encode_log_header,
    encode_transaction,
    generation_of_name,
    scan_blocks,
)
from simulator.exchange.small_pages import (
    BODY_BYTES,
    EXTENT_PAGES,
    PAGE_BYTES,
    BadPage,
    Geometry,
    Totals,
    decode_page,
    decode_totals,
    encode_page,
    geometry_for,
    message_pages,
    totals_page,
)

SIGNATURE = 0x1234_5678_9ABC_DEF1
u32 = st.integers(0, 2**32 - 1)
u63 = st.integers(0, 2**63 - 1)
messages = st.builds(LoggedMessage, u63, u63, u32, st.binary(max_size=3000))
totals = st.builds(Totals, u63, u63, u63)
transactions = st.builds(
    LoggedTransaction,
    u63,
    u63,
    u63,
    st.lists(messages, max_size=3),
    st.dictionaries(u32, totals, max_size=3),
)
blocks = st.lists(st.lists(transactions, min_size=1, max_size=3), min_size=1, max_size=4)


def log_of(contents: list[list[LoggedTransaction]]) -> tuple[bytes, list[int]]:
    """A log file and the offsets at which its blocks end."""
    data = bytearray(encode_log_header(SIGNATURE, 7, FIRST_LSN))
    ends = []
    for content in contents:
        lsn = FIRST_LSN + len(data) - LOG_HEADER_BYTES
        data += encode_block(SIGNATURE, lsn, [encode_transaction(t) for t in content])
        ends.append(len(data))
    return bytes(data), ends


@given(blocks)
def test_a_log_reads_back_as_it_was_written(contents: list[list[LoggedTransaction]]) -> None:
    data, ends = log_of(contents)
    assert decode_log_header(SIGNATURE, data) == (7, FIRST_LSN)
    scan = scan_blocks(SIGNATURE, FIRST_LSN, data, closed=True)
    assert [block.transactions for block in scan.blocks] == contents
    assert (scan.end_offset, scan.torn_bytes) == (ends[-1], 0)


@given(blocks, st.data())
def test_a_torn_last_block_is_dropped_whatever_sectors_of_it_are_left(
    contents: list[list[LoggedTransaction]], data: st.DataObject
) -> None:
    whole, ends = log_of(contents)
    start = ends[-2] if len(ends) > 1 else LOG_HEADER_BYTES
    torn = bytearray(whole)
    sectors = range(start, len(whole), SECTOR_BYTES)
    lost = data.draw(st.sets(st.sampled_from(list(sectors)), min_size=1))
    for at in lost:
        torn[at : at + SECTOR_BYTES] = bytes(SECTOR_BYTES)
    if torn == whole:
        return  # a sector of zeros was lost: nothing is missing
    scan = scan_blocks(SIGNATURE, FIRST_LSN, bytes(torn), closed=False)
    assert [block.transactions for block in scan.blocks] == contents[:-1]
    assert scan.torn_bytes == len(whole) - start
    with pytest.raises(BadLog, match="closed"):
        scan_blocks(SIGNATURE, FIRST_LSN, bytes(torn), closed=True)


@given(blocks, st.data())
def test_a_log_cut_anywhere_keeps_its_whole_blocks(
    contents: list[list[LoggedTransaction]], data: st.DataObject
) -> None:
    whole, ends = log_of(contents)
    cut = data.draw(st.integers(LOG_HEADER_BYTES, len(whole)))
    scan = scan_blocks(SIGNATURE, FIRST_LSN, whole[:cut], closed=False)
    assert len(scan.blocks) == sum(end <= cut for end in ends)


@given(blocks.filter(lambda b: len(b) > 1), st.data())
def test_a_flipped_bit_before_a_whole_block_is_refused(
    contents: list[list[LoggedTransaction]], data: st.DataObject
) -> None:
    whole, ends = log_of(contents)
    at = data.draw(st.integers(LOG_HEADER_BYTES, LOG_HEADER_BYTES + 31))  # the block's header
    bad = bytearray(whole)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadLog):
        scan_blocks(SIGNATURE, FIRST_LSN, bytes(bad), closed=False)
    assert ends


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_torn_tail_or_refused_never_an_accident(data: bytes) -> None:
    log = encode_log_header(SIGNATURE, 1, FIRST_LSN) + data
    scan = scan_blocks(SIGNATURE, FIRST_LSN, log, closed=False)
    assert scan.blocks == []
    with pytest.raises(BadLog):
        decode_log_header(SIGNATURE, data)


def test_names_of_closed_logs() -> None:
    assert closed_log_name(0x1F) == "E0000001F.log"
    assert generation_of_name("E0000001F.log") == 0x1F
    assert generation_of_name("E00.log") is None


@given(st.binary(max_size=3 * BODY_BYTES), u63, u63, u32)
def test_a_message_reads_back_from_its_pages(
    payload: bytes, place: int, message_id: int, mailbox: int
) -> None:
    body = b""
    for fragment, content in enumerate(message_pages(99, place, message_id, mailbox, payload)):
        page = encode_page(SIGNATURE, 5 + fragment, content)
        assert len(page) == PAGE_BYTES
        found = decode_page(SIGNATURE, 5 + fragment, page)
        assert found == content
        assert found is not None
        body += found.body
    assert body == payload


@given(totals)
def test_totals_read_back(value: Totals) -> None:
    found = decode_page(SIGNATURE, 2, encode_page(SIGNATURE, 2, totals_page(1, 2, value)))
    assert found is not None and found.fragment is None
    assert decode_totals(found) == value


@given(st.binary(min_size=1, max_size=BODY_BYTES), st.integers(0, PAGE_BYTES * 8 - 1))
def test_any_flipped_bit_of_a_page_is_found(payload: bytes, bit: int) -> None:
    page = bytearray(encode_page(SIGNATURE, 4, message_pages(1, 1, 1, 1, payload)[0]))
    page[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadPage):
        decode_page(SIGNATURE, 4, bytes(page))


def test_a_page_of_another_store_or_place_is_refused() -> None:
    page = encode_page(SIGNATURE, 4, message_pages(1, 1, 1, 1, b"x")[0])
    with pytest.raises(BadPage, match="another store"):
        decode_page(SIGNATURE + 2, 4, page)
    with pytest.raises(BadPage, match="says that it is page 4"):
        decode_page(SIGNATURE, 5, page)
    assert decode_page(SIGNATURE, 5, bytes(PAGE_BYTES)) is None


@given(st.integers(1, 500), st.integers(1, 400))
def test_places_are_scattered_over_all_pages(mailboxes: int, extents: int) -> None:
    geometry = Geometry(mailboxes, extents * EXTENT_PAGES)
    pages = [geometry.page_of_place(place) for place in range(geometry.ring_pages)]
    assert sorted(pages) == list(range(mailboxes, mailboxes + geometry.ring_pages))
    assert geometry.page_of_place(geometry.ring_pages) == pages[0]


def test_a_geometry_fits_its_capacity() -> None:
    assert geometry_for(100, 256 << 20).file_bytes <= 256 << 20
    assert geometry_for(100, 0).ring_pages == EXTENT_PAGES


@given(u63, u63, st.booleans(), st.integers(0, COPY_BYTES * 8 - 1))
def test_a_checkpoint_reads_back_and_any_flipped_bit_is_found(
    number: int, lsn: int, clean: bool, bit: int
) -> None:
    checkpoint = Checkpoint(SIGNATURE, Geometry(3, 8), number, clean, lsn, 9, Mark(lsn, 1, 2, 3))
    data = bytearray(encode_checkpoint(checkpoint))
    assert decode_checkpoint(bytes(data)) == checkpoint
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadCheckpoint):
        decode_checkpoint(bytes(data))
    with pytest.raises(BadCheckpoint):
        decode_checkpoint(bytes(data[: bit // 8]))
