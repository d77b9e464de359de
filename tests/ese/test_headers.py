"""Database headers, checkpoints and flush maps: real ones, damaged ones, and what counts then."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.attachments import Attachment, decode_attachments
from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.checksum import header_checksum, with_checksums
from replicator.ese.database_header import (
    ALLOWED_NEXT,
    DatabaseHeader,
    FileType,
    State,
    read_database_header,
)
from replicator.ese.errors import EseError
from replicator.ese.flush_map import (
    ENTRIES_A_PAGE,
    FlushMap,
    FlushMapHeader,
    FlushType,
    MapPageHeader,
    lost_flushes,
)
from replicator.ese.layout import places
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.samples import CHECKPOINTS, FLUSH_MAPS, databases, each, load, sample

BASIC = "readers-4k/basic.edb"
LATER = "srum-server2022-later"


def summed(header: DatabaseHeader) -> bytes:
    """A header's page with its checksum put right."""
    block = header.encode()
    return header_checksum(block).to_bytes(4, "little") + block[4:]


def numbered(number: int) -> pytest.RaisesExc[EseError]:
    """The error with this number."""
    return pytest.RaisesExc(EseError, check=lambda error: error.number == number)


@pytest.mark.parametrize("name", databases(large=True))
def test_the_header_of_every_sample(name: str) -> None:
    expected = sample(name)
    header, reading = read_database_header(BytesReader(load(name)))
    assert reading.good == (True, True)
    assert reading.equal
    assert reading.events == ()
    assert header.page_size == reading.block_size == expected.page_size
    assert (header.revision, header.minor_revision) == (expected.revision, expected.minor)
    assert header.is_clean == expected.clean
    assert header.state_title == ("CleanShutdown" if expected.clean else "DirtyShutdown")
    generations = (
        header.first_required_generation,
        header.last_required_generation,
        header.last_committed_generation,
    )
    assert generations == (expected.generation,) * 3
    assert header.generations_in_order
    assert header.file_type is FileType.DATABASE
    assert not header.is_temporary
    assert header.expected_checksum == header.checksum
    assert header.encode() == reading.used
    assert not any(reading.used[748:])
    if expected.clean:
        assert header.detach_position == header.consistent_position
    else:
        assert header.detach_position.is_zero


def test_fields_of_a_header_that_are_known_from_elsewhere() -> None:
    header, _ = read_database_header(BytesReader(load(f"{LATER}/SRUDB.dat")))
    assert str(header.consistent_position) == "(5,3,1D5)"
    assert str(header.attach_time) == "2023-10-18 12:12:00.010Z"
    assert header.repair_count == 0
    assert not header.log_signature.is_zero
    checkpoint, _ = read_checkpoint(BytesReader(load(f"{LATER}/SRU.chk")))
    assert checkpoint.log_signature == header.log_signature


def test_fields_of_upgrades_and_reverts_stand_where_the_engine_has_them() -> None:
    """E src/inc/daedef.hxx: three dwords at 304, 24 bytes at 716; no field covers another."""
    block = bytearray(8192)
    block[304:316] = b"".join(number.to_bytes(4, "little") for number in (5, 6, 7))
    block[716:720], block[736:740] = (3).to_bytes(4, "little"), (99).to_bytes(4, "little")
    block[720:728], block[728:736] = (
        bytes((1, 2, 3, 4, 5, 104, 0, 0)),
        bytes((9, 2, 3, 4, 5, 104, 0, 0)),
    )
    header = DatabaseHeader.decode(bytes(block))
    upgrade = header.upgrade_55_format, header.upgrade_free_pages, header.upgrade_space_map_pages
    assert upgrade == (5, 6, 7)
    assert (header.revert_count, header.revert_page_count) == (3, 99)
    assert (header.revert_from_time.raw[0], header.revert_to_time.raw[0]) == (1, 9)
    taken = sorted(
        (each.offset, each.offset + each.size) for each in places(DatabaseHeader).values()
    )
    assert all(one[1] <= two[0] for one, two in pairwise(taken))
    free = {at for at in range(748)} - {at for start, end in taken for at in range(start, end)}
    assert free == {*range(664, 667), 671}  # reserved


def test_a_header_of_the_oldest_format() -> None:
    data = load("old-format/header-xp-rev09.bin").ljust(8192, b"\0")
    header, reading = read_database_header(BytesReader(data + data))
    assert (header.format_version, header.revision) == (0x620, 9)
    assert header.page_size == reading.block_size == 8192
    assert header.file_type is FileType.DATABASE


@pytest.mark.parametrize("name", databases(large=True))
@given(where=st.integers(0, 747), bit=st.integers(0, 7))
def test_either_copy_alone_is_enough(name: str, where: int, bit: int) -> None:
    size = sample(name).page_size
    data = bytearray(load(name)[: 4 * size])
    good = bytes(data[:size])
    for copy, event in ((0, 456), (1, 472)):
        broken = bytearray(data)
        broken[copy * size + where] ^= 1 << bit
        header, reading = read_database_header(BytesReader(broken))
        assert reading.used == good
        assert reading.events == (event,)
        assert reading.good == (copy == 1, copy == 0)
        assert header.page_size == size
    broken[where] ^= 1 << bit
    with numbered(-1018):
        read_database_header(BytesReader(broken))


def test_of_two_good_copies_the_first_counts() -> None:
    data = load(BASIC)[:8192]
    header = DatabaseHeader.decode(data[:4096])
    newer = summed(replace(header, dbtime=header.dbtime + 1))
    found, reading = read_database_header(BytesReader(newer + data[4096:]))
    assert found.dbtime == header.dbtime + 1
    assert reading.good == (True, True)
    assert reading.events == (472,)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"magic": 0x89ABCDEE}, -1206),
        ({"format_version": 0x621}, -1209),
        ({"page_size_field": 8192}, -1213),
        ({"page_size_field": 12345}, -1213),
    ],
)
def test_what_is_no_database_of_this_format(change: dict[str, int], number: int) -> None:
    header = DatabaseHeader.decode(load(BASIC)[:4096])
    block = summed(replace(header, **change))
    with numbered(number):
        read_database_header(BytesReader(block + block, "x.edb"))


def test_a_first_copy_with_a_wrong_page_size_is_a_damaged_one() -> None:
    data = load(BASIC)[:8192]
    header = DatabaseHeader.decode(data[:4096])
    wrong = summed(replace(header, page_size_field=4100))
    found, reading = read_database_header(BytesReader(wrong + data[4096:]))
    assert (found.page_size, reading.events, reading.good) == (4096, (456,), (False, True))


def test_a_page_size_of_zero_means_4096() -> None:
    header = DatabaseHeader.decode(load(BASIC)[:4096])
    block = summed(replace(header, page_size_field=0))
    found, _ = read_database_header(BytesReader(block + block))
    assert found.page_size == 4096


@pytest.mark.parametrize("data", [b"", b"MZ", bytes(65536), bytes(range(256)) * 300])
def test_other_files_are_refused(data: bytes) -> None:
    with numbered(-1018):
        read_database_header(BytesReader(data))


def test_the_table_of_states() -> None:
    assert set(ALLOWED_NEXT) == set(State)
    assert ALLOWED_NEXT[State.CLEAN_SHUTDOWN] == {State.DIRTY_SHUTDOWN, State.REVERT_IN_PROGRESS}
    assert State.DIRTY_AND_PATCHED_SHUTDOWN in ALLOWED_NEXT[State.INCREMENTAL_RESEED_IN_PROGRESS]
    reached = set().union(*ALLOWED_NEXT.values())
    # Nothing becomes what only a file of another release can be.
    assert set(State) - reached == {State.BEING_CONVERTED, State.FORCE_DETACH}
    header = replace(DatabaseHeader.decode(load(BASIC)[:4096]), state_number=99)
    assert (header.state, header.state_title) == (None, "unknown state 99")


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_steps_between_states(before: State, after: State) -> None:
    header = DatabaseHeader(state_number=before, last_committed_generation=7)
    if after not in ALLOWED_NEXT[before]:
        with pytest.raises(ValueError, match="no step leads from"):
            header.with_state(after)
        return
    changed = header.with_state(after)
    assert changed.state is after
    clean = after is State.CLEAN_SHUTDOWN
    assert changed.last_committed_generation == (0 if clean else 7)
    required = replace(header, last_required_generation=7)
    if clean:
        with pytest.raises(ValueError, match="generations are required"):
            required.with_state(after)
    else:
        assert required.with_state(after).last_required_generation == 7


@pytest.mark.parametrize(
    ("generations", "ordered"),
    [
        ((5, 5, 6, 7), True),
        ((5, 0, 6, 7), True),
        ((5, 4, 6, 7), False),
        ((5, 5, 4, 7), False),
        ((5, 5, 8, 7), False),
    ],
)
def test_the_generations_of_a_header(generations: tuple[int, int, int, int], ordered: bool) -> None:
    first, consistent, last, committed = generations
    header = DatabaseHeader(
        first_required_generation=first,
        first_consistent_generation=consistent,
        last_required_generation=last,
        last_committed_generation=committed,
    )
    assert header.generations_in_order is ordered


# -- checkpoints -----------------------------------------------------------------------


@pytest.mark.parametrize("name", each(list(CHECKPOINTS)))
def test_the_checkpoint_of_every_sample(name: str) -> None:
    checkpoint, reading = read_checkpoint(BytesReader(load(name)))
    assert checkpoint.position == LogPosition(*CHECKPOINTS[name])
    assert reading.good == (True, True)
    assert reading.equal
    assert checkpoint.attachments is None
    assert checkpoint.encode() == reading.used
    assert checkpoint.parameters.log_path.startswith(("C:\\", "D:\\"))
    assert checkpoint.parameters.log_size_sectors > 0


def test_a_checkpoint_with_one_copy_and_with_none() -> None:
    data = bytearray(load("ntds-2012r2/edb.chk"))
    data[13] ^= 4
    checkpoint, reading = read_checkpoint(BytesReader(data))
    assert checkpoint.position == LogPosition(3, 0x2F3, 0)
    assert reading.events == (456,)
    data[4096 + 700] ^= 1
    with numbered(-533):
        read_checkpoint(BytesReader(data))


def test_a_database_is_no_checkpoint() -> None:
    with numbered(-533):
        read_checkpoint(BytesReader(load(BASIC)))


def test_the_attachments_that_a_checkpoint_vouches_for() -> None:
    data = bytearray(load("ntds-2012r2/edb.chk")[:4096])
    data[647] |= 1  # the list is valid
    data[679] = 1  # the entry that is left there from before, with its database id again
    data[:4] = header_checksum(data).to_bytes(4, "little")
    checkpoint, _ = read_checkpoint(BytesReader(bytes(data) * 2))
    assert checkpoint.attachments is not None
    [attachment] = checkpoint.attachments
    assert attachment.path == "C:\\Windows\\NTDS\\ntds.dit"
    assert str(attachment.attach_position) == "(3,2EA,268)"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_list_of_attachments(data: bytes) -> None:
    found = decode_attachments(data)
    total = sum(Attachment.SIZE + entry.names_bytes for entry in found)
    assert total <= len(data)


# -- flush maps ------------------------------------------------------------------------


@pytest.mark.parametrize("name", each(list(FLUSH_MAPS)))
def test_every_flush_map_agrees_with_its_database(name: str) -> None:
    data = load(name)
    header, _ = read_database_header(BytesReader(data))
    size = header.page_size
    flush_map = FlushMap(BytesReader(load(FLUSH_MAPS[name])))
    assert flush_map.header.belongs_to(header)
    assert flush_map.header.is_clean == header.is_clean
    count = len(data) // size - 2
    pages = np.frombuffer(data, np.uint8, offset=2 * size).reshape(count, size)
    expected = flush_map.types(1, count)
    assert list(lost_flushes(pages, 1, expected)) == []
    written = pages.any(axis=1)
    assert (written == (expected != FlushType.UNKNOWN)).all()
    dbtimes = pages[:, 8:16].copy().view("<u8")
    assert flush_map.page(0)[0].max_dbtime == dbtimes.max()


def test_a_page_written_back_in_time_is_a_lost_flush() -> None:
    data = load(f"{LATER}/SRUDB.dat")
    pages = np.frombuffer(data, np.uint8, offset=8192).reshape(-1, 4096).copy()
    flush_map = FlushMap(BytesReader(load(f"{LATER}/SRUDB.jfm")))
    pages[9, 36:40] = np.frombuffer(
        (int.from_bytes(pages[9, 36:40].tobytes(), "little") ^ 0x18000).to_bytes(4, "little"),
        np.uint8,
    )
    pages[19] = 0
    losses = list(lost_flushes(pages, 1, flush_map.types(1, len(pages))))
    assert [loss.pgno for loss in losses] == [10, 20]
    assert losses[1].found is FlushType.UNKNOWN
    nothing_known = np.zeros(len(pages), np.uint8)
    assert list(lost_flushes(pages, 1, nothing_known)) == []
    assert losses[0].error.number == -1119


def test_a_map_of_several_pages() -> None:
    header = bytearray(load(f"{LATER}/SRUDB.jfm")[:8192])
    parts = [bytes(header)]
    for number in range(2):
        page = bytearray(MapPageHeader(number=number, flags=0x2000).encode()).ljust(8192, b"\0")
        page[64] = 0b00_01_10_11  # unknown, rock, paper, scissors
        page[-1] = 0b11_10_01_00
        parts.append(with_checksums(page, number))
    flush_map = FlushMap(BytesReader(b"".join(parts)))
    assert flush_map.types(0, 4).tolist() == [0, 1, 2, 3]
    around = flush_map.types(ENTRIES_A_PAGE - 4, 8)
    assert around.tolist() == [3, 2, 1, 0, 0, 1, 2, 3]
    assert flush_map.types(2 * ENTRIES_A_PAGE - 1, 3).tolist() == [0, 0, 0]


def test_damaged_and_foreign_flush_maps() -> None:
    data = bytearray(load(f"{LATER}/SRUDB.jfm"))
    data[8192 + 70] ^= 1  # mended by its ECC
    FlushMap(BytesReader(data)).page(0)
    data[8192 + 71] ^= 1
    with numbered(-1018):
        FlushMap(BytesReader(data)).page(0)
    data[90] ^= 1
    with numbered(-1018):
        FlushMap(BytesReader(data))
    with numbered(-1206):
        FlushMap(BytesReader(load("readers-8k/decompress_test.edb")))
    with numbered(-1022):
        FlushMap(BytesReader(b"short"))
    other, _ = read_database_header(BytesReader(load(BASIC)))
    map_header = FlushMapHeader.decode(load(f"{LATER}/SRUDB.jfm"))
    assert not map_header.belongs_to(other)
    assert not FlushMapHeader().belongs_to(DatabaseHeader())  # no signature is no match
