"""Writing version 7: what is laid out is read back, and no torn write costs a confirmed record."""

from __future__ import annotations

import re
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.attachments import attachment
from replicator.ese.checksum import header_checksum
from replicator.ese.errors import EseError
from replicator.ese.log_header import HEADER_BYTES, LogHeader, read_log_header
from replicator.ese.log_v7_encoding import EXCHANGE_2000, LogV7Format
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.logs import CURRENT
from tests.ese.logs_v7 import (
    CREATED,
    FIRST,
    GENERATION,
    ROOM,
    SECTOR,
    SMALL,
    Written,
    new_file,
    opened,
    places,
    put,
    record,
    sectors_that_change,
    slow_chain,
    slow_pattern,
    torn_states,
    written,
)
from tests.ese.samples import load

SIZES = st.one_of(st.sampled_from((1, 4)), st.integers(5, 700), st.integers(5, 5000))
FLUSHES = st.lists(
    st.lists(st.builds(record, SIZES, st.integers(0, 0xFFFF)), max_size=8), max_size=10
)
BIG = LogV7Format(file_bytes=128 * SECTOR)


@given(flushes=FLUSHES, closed=st.booleans())
def test_records_come_back_as_they_were_laid_out(flushes: list[list[bytes]], closed: bool) -> None:
    log = written(flushes, BIG)
    if not log.places:
        log.encoder.finish()
        put(log.content, log.encoder.flush())
    assert places(log.content, closed=closed) == log.places
    assert opened(log.content).notes() == ()
    starts = [position for position, _ in log.places]
    assert starts == sorted(set(starts))
    assert all(position.generation == GENERATION for position in starts)
    slow_chain(log.content)


@given(flushes=FLUSHES)
def test_every_write_is_whole_sectors_and_leaves_the_rest_alone(
    flushes: list[list[bytes]],
) -> None:
    log = written(flushes, BIG)
    for writes in log.writes:
        for offset, data in writes:
            assert data
            assert offset % SECTOR == len(data) % SECTOR == 0
            assert offset >= FIRST * SECTOR
            assert offset + len(data) <= BIG.file_bytes
    end = log.encoder.tip.sector + 2
    for number in range(end, BIG.file_bytes // SECTOR):
        assert log.content[number * SECTOR : (number + 1) * SECTOR] == slow_pattern()


def test_the_writes_of_each_kind_of_flush() -> None:
    log = written([[record(100)], [record(100)], [record(700)], [record(2000)], []])
    calls = [[(offset // SECTOR, len(data) // SECTOR) for offset, data in each]
             for each in log.writes]  # fmt: skip
    assert calls == [
        [(8, 1), (9, 1)],  # a new sector and its shadow
        [(8, 1), (9, 1)],  # the same sector again
        [(8, 1), (9, 1), (10, 1)],  # it is full: alone, then the next one with its shadow
        [(9, 1), (10, 3), (13, 1), (14, 1)],  # full, more full ones, the next one, its shadow
        [],
    ]
    first, second, third, fourth = (position for position, _ in log.places)
    assert first == LogPosition(GENERATION, 8, 22)
    assert second == LogPosition(GENERATION, 8, 122)
    assert third == LogPosition(GENERATION, 8, 222)
    # 922 = 1 * 512 + 410: there the checksum record in front of the fourth one stands
    assert fourth == LogPosition(GENERATION, 9, 410 + 22)
    assert slow_chain(log.content) == [8 * 512, 9 * 512 + 410, 9 * 512 + 432 + 2000]


def test_a_checksum_record_that_would_cross_a_sector_goes_to_the_next() -> None:
    log = written([[record(ROOM + SECTOR - 21)], [record(50)]])
    assert slow_chain(log.content) == [FIRST * SECTOR, (FIRST + 2) * SECTOR]
    assert log.places[1][0] == LogPosition(GENERATION, FIRST + 2, 22)
    assert places(log.content) == log.places


def test_a_log_that_is_full() -> None:
    data = 31 * SECTOR  # of 40 sectors 8 are the header's and the last is for a shadow
    log = written([[record(data - 22)]])
    assert log.encoder.tip == LogPosition(GENERATION, 39, 0)
    assert not log.encoder.fits(1)
    with pytest.raises(ValueError, match="does not fit"):
        log.encoder.append(record(1))
    assert places(log.content, closed=True) == log.places
    assert slow_chain(log.content) == [FIRST * SECTOR]
    assert bytes(log.content[-SECTOR:]) == slow_pattern()


@pytest.mark.parametrize("left", [0, 1, 21, 22, 23])
def test_the_last_bytes_of_a_log(left: int) -> None:
    log = written([[record(30 * SECTOR)], [record(100)]])
    room = 39 * SECTOR - log.encoder.tip.sector * SECTOR - log.encoder.tip.byte
    log.flush([record(room - left)])
    assert log.encoder.fits(left) or not left
    assert not log.encoder.fits(left + 1)
    if left:
        log.flush([record(1)] * left)
    assert places(log.content, closed=True) == log.places
    slow_chain(log.content)


@pytest.mark.parametrize("size", [0, 1, 400, 489, 490])
def test_a_file_of_one_data_sector(size: int) -> None:
    form = LogV7Format(file_bytes=10 * SECTOR)
    log = written([[record(size)]] if size else [], form)
    log.encoder.finish()
    put(log.content, log.encoder.flush())
    assert places(log.content, closed=True) == log.places
    assert log.encoder.fits(ROOM - size) is (size < ROOM)
    assert not log.encoder.fits(ROOM - size + 1)
    slow_chain(log.content)


def test_a_closed_log_without_records_has_its_checksum_record() -> None:
    log = written([])
    with pytest.raises(EseError):
        opened(log.content, closed=True)
    log.encoder.finish()
    put(log.content, log.encoder.flush())
    assert places(log.content, closed=True) == []
    log.encoder.finish()
    assert log.encoder.flush() == []


def test_what_is_no_record_is_refused() -> None:
    encoder = SMALL.encoder(SMALL.header(GENERATION, CREATED))
    for wrong in (b"", bytes(300_000), b"\x2a" + bytes(21)):
        with pytest.raises(ValueError, match="no record"):
            encoder.append(wrong)
    assert encoder.tip == LogPosition(GENERATION, FIRST, 22)
    assert (encoder.flush(), encoder.buffered_bytes, encoder.accumulated_checksum) == ([], 0, 0)


# -- headers ------------------------------------------------------------------------------


def test_a_new_header() -> None:
    form = LogV7Format(version=EXCHANGE_2000)
    header = form.header(7, CREATED).with_attachments(
        [attachment(r"E:\priv1.edb", stream_path=r"E:\priv1.stm", unicode=False, dbid=1)]
    )
    ((offset, block),) = form.encoder(header).header_writes()
    assert (offset, len(block)) == (0, HEADER_BYTES)
    assert int.from_bytes(block[:4], "little") == header_checksum(block)
    found = read_log_header(BytesReader(block))
    assert (found.generation, found.created, found.version) == (7, CREATED, (7, 3704, 4, 0))
    assert (found.sector_bytes, found.header_sectors, found.file_sectors) == (512, 8, 10240)
    assert (found.page_size, found.parameters.log_size_sectors) == (4096, 10240)
    (attached,) = found.attachments
    assert attached.names == (r"E:\priv1.edb", r"E:\priv1.stm")
    assert attached.path == r"E:\priv1.edb"
    found.check_geometry(5 << 20)


@pytest.mark.parametrize("wrong", [{"sector_bytes": 500}, {"sector_bytes": 8192},
                                   {"file_bytes": 5000}, {"file_bytes": 9 * 512},
                                   {"file_bytes": 65536 * 512}])  # fmt: skip
def test_a_format_that_no_log_has(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sectors"):
        LogV7Format(**wrong)


@pytest.mark.parametrize("sector_bytes", [1024, 4096])
def test_larger_sectors(sector_bytes: int) -> None:
    form = LogV7Format(file_bytes=64 * 4096, sector_bytes=sector_bytes)
    log = written([[record(size)] for size in (100, 5000, 20000, 900)], form)
    assert places(log.content, closed=True) == log.places
    assert log.places[0][0] == LogPosition(GENERATION, 4096 // sector_bytes, 22)


# -- torn writes --------------------------------------------------------------------------


def check_torn(log: Written, number: int, *, go_on: bool) -> int:
    """Tear one flush in every way; gives how many ways there were."""
    confirmed, count = log.counts[number], 0
    upto = log.counts[number + 1] if number + 1 < len(log.counts) else len(log.places)
    for state in torn_states(log.before[number], log.writes[number]):
        count += 1
        found = places(state)
        assert found == log.places[: len(found)]
        assert confirmed <= len(found) <= upto
        assert {note.events for note in opened(state).notes()} <= {(462,)}
        if go_on:
            check_resumed(state, found)
    return count


def check_resumed(state: bytes, found: list[tuple[LogPosition, bytes]]) -> None:
    """Recovery cuts off what is torn, may be torn itself, and goes on."""
    resumed = SMALL.resumed(BytesReader(state))
    for between in torn_states(state, resumed.repairs):
        assert places(between) == found
    content = bytearray(state)
    put(content, resumed.repairs)
    if found:
        assert opened(content, closed=True).notes() == ()
    encoder = resumed.encoder
    log = Written(encoder, content, list(found))
    if encoder.fits(5):
        log.flush([record(5, 99)])
    if encoder.fits(700):
        log.flush([record(700, 7)])
    assert places(log.content) == log.places
    if log.places:
        slow_chain(log.content)


CHOSEN = (5, 300, ROOM - 22, ROOM - 1, ROOM, ROOM + 1, ROOM + SECTOR - 10, 1100, 1600, 2200)


@pytest.mark.parametrize("sizes", list(product(CHOSEN, CHOSEN)))
def test_any_sectors_of_a_write_may_be_lost(sizes: tuple[int, int]) -> None:
    first, second = sizes
    log = written([[record(first, 1)], [record(second, 2), record(5, 3)]])
    ways = [check_torn(log, number, go_on=True) for number in range(2)]
    assert min(ways) >= 3


@pytest.mark.parametrize("sizes", list(product((5, ROOM, 800, 1600), repeat=4)))
def test_torn_after_several_flushes(sizes: tuple[int, ...]) -> None:
    log = written([record(size, at)] for at, size in enumerate(sizes))
    check_torn(log, len(sizes) - 1, go_on=False)


@settings(max_examples=40)
@given(
    flushes=st.lists(
        st.lists(st.builds(record, st.integers(5, 900), st.integers(0, 999)), max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_any_flush_may_be_torn(flushes: list[list[bytes]]) -> None:
    log = written(flushes)
    for number in range(len(log.writes)):
        check_torn(log, number, go_on=number == len(log.writes) - 1)


def test_a_full_log_may_be_torn() -> None:
    log = written([[record(30 * SECTOR)], [record(100, 1)]])
    room = 39 * SECTOR - log.encoder.tip.sector * SECTOR - log.encoder.tip.byte
    log.flush([record(room, 2)])
    assert not log.encoder.fits(1)
    check_torn(log, 2, go_on=True)


def first_writes_torn_inside(*, shadows: bool) -> int:
    """How often a confirmed record is lost when the first sector of a flush is torn inside."""
    form = LogV7Format(file_bytes=40 * SECTOR, shadows=shadows)
    lost = 0
    for first, second in product((5, 300, 1100), (5, 300, 1100)):
        log = written([[record(first, 1)], [record(second, 2)]], form)
        offset, data = log.writes[1][0]
        for keep in range(1, SECTOR, 37):
            state = bytearray(log.before[1])
            put(state, [(offset, data[:keep])])
            try:
                found = places(state)
            except EseError as error:
                assert error.number == -501
                found = []
            lost += found[:1] != log.places[:1]
    return lost


def test_a_sector_torn_inside_is_what_shadows_are_for() -> None:
    assert first_writes_torn_inside(shadows=True) == 0
    assert first_writes_torn_inside(shadows=False) > 0


def test_the_first_sector_of_a_long_range_has_to_be_a_write_of_its_own() -> None:
    """In one write with the others, it may be the only one that is lost: that is corruption."""
    log = written([[record(2000)]])
    assert [len(data) for _, data in log.writes[0]][:2] == [SECTOR, 2 * SECTOR]
    state = bytearray(log.before[0])
    put(state, log.writes[0][1:2])
    with pytest.raises(EseError) as caught:
        opened(state)
    assert caught.value.number == -501


def test_resuming_a_log_that_was_never_written_to() -> None:
    resumed = SMALL.resumed(BytesReader(new_file()))
    assert resumed.repairs == []
    assert resumed.encoder.tip == LogPosition(GENERATION, FIRST, 22)


def test_resuming_writes_all_data_again() -> None:
    log = written([[record(2000)], [record(100)]])
    resumed = SMALL.resumed(BytesReader(log.content))
    lost = new_file()
    put(lost, resumed.repairs)
    assert places(lost, closed=True) == log.places
    assert resumed.encoder.tip == log.encoder.tip


def test_a_repair_may_be_torn_inside_its_first_sector() -> None:
    """While the old shadow is there, its sector is written anew first, not the shadow's place."""
    log = written([[record(300, 1)], [record(300, 2)]])
    state = bytearray(log.before[1])
    put(state, log.writes[1][:1])
    repairs = SMALL.resumed(BytesReader(state)).repairs
    changing = next(parts for parts in sectors_that_change(bytes(state), repairs) if parts)
    offset, data = changing[0]
    for keep in range(1, SECTOR, 5):
        between = bytearray(state)
        put(between, [(offset, data[:keep])])
        assert places(between)[:1] == log.places[:1]


@pytest.mark.parametrize("left", [488, 489, 490, 491])
def test_resuming_where_the_last_checksum_record_ends_with_its_sector(left: int) -> None:
    """At 490: one right behind it would be at a distance of 0, which points to nothing."""
    log = written([[record(5, 1)], [record(SECTOR + left - 27, 2)]])
    assert log.encoder.tip == LogPosition(
        GENERATION, *((FIRST + 1, left + 22) if left < 490 else (FIRST + 2, 22 * (left > 490)))
    )
    check_resumed(bytes(log.content), log.places)
    log.flush([record(5, 3)])
    assert places(log.content) == log.places


def test_resuming_a_full_log_takes_no_record() -> None:
    log = written([[record(31 * SECTOR - 22)]])
    resumed = SMALL.resumed(BytesReader(log.content))
    assert resumed.encoder.tip == log.encoder.tip
    assert not resumed.encoder.fits(1)
    resumed.encoder.finish()
    assert resumed.encoder.flush() == []


def test_resuming_a_damaged_log_is_refused() -> None:
    log = written([[record(2000)], [record(100)]])
    log.content[FIRST * SECTOR + 100] ^= 1
    with pytest.raises(EseError) as caught:
        SMALL.resumed(BytesReader(log.content))
    assert caught.value.number == -501
    with pytest.raises(EseError) as caught:
        SMALL.accumulated_checksum(BytesReader(log.content))
    assert caught.value.number == -501


def test_a_record_that_was_cut_off_is_passed_over_later() -> None:
    log = written([[record(300, 1)], [record(1000, 2)]])
    state = bytearray(log.before[1])
    put(state, log.writes[1][:2])  # all but the sector with the new checksum record
    resumed = SMALL.resumed(BytesReader(state))
    put(state, resumed.repairs)
    resumed.encoder.append(record(50, 3))
    put(state, resumed.encoder.flush())
    assert [data for _, data in places(state, closed=True)] == [record(300, 1), record(50, 3)]
    starts = slow_chain(state)
    backward = [int.from_bytes(state[at + 1 : at + 5], "little") for at in starts]
    assert [at % SECTOR for at in starts] != backward  # nothing before it counts
    assert all(one < two for one, two in pairwise(starts))


def test_the_example_in_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/store-files.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if "log_v7_encoding" in block)
    names: dict[str, bytearray] = {}
    exec(example, names)
    assert capsys.readouterr().out == "(1,8,16)\n"
    ((position, data),) = places(names["file"], closed=True)
    assert (str(position), data) == ("(1,8,16)", record(4))


def test_only_version_7_is_resumed() -> None:
    with pytest.raises(EseError) as caught:
        SMALL.resumed(BytesReader(load(CURRENT)))
    assert caught.value.number == -514


def test_the_header_can_be_replaced_before_it_is_written() -> None:
    encoder = SMALL.encoder(SMALL.header(GENERATION, CREATED))
    encoder.header = SMALL.header(GENERATION, CREATED).with_attachments([])
    assert isinstance(encoder.header, LogHeader)
    assert len(encoder.header_writes()) == 1
