"""Segments: what each is, where the data ends, and what is torn, mended or damaged."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.checksum import FORMAT_FLAG_BIT
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import HEADER_BYTES, SEGMENT_BYTES, read_log_header
from replicator.ese.log_segments import (
    SegmentHeader,
    SegmentKind,
    SegmentScan,
    read_segments,
    scan_segments,
)
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.logs import (
    CLOSED,
    CURRENT,
    flipped,
    sealed_segment,
    segment_of,
    with_segment,
)
from tests.ese.samples import load, place
from tests.ese.test_log_file import LOGS

LAST = 6
"""Last data segment of the current sample; its shadow lies behind it, then zeros."""


def scan(log: bytes) -> SegmentScan:
    reader = BytesReader(log, "E00.log")
    return scan_segments(reader, read_log_header(reader))


def kinds(log: bytes) -> list[SegmentKind]:
    reader = BytesReader(log)
    return [each.kind for each in read_segments(reader, read_log_header(reader))]


def positions(log: bytes, *, closed: bool = False) -> list[LogPosition]:
    return [each.position for each in LogFile(BytesReader(log), closed=closed).records()]


def contents(log: bytes) -> list[bytes]:
    return [each.data for each in LogFile(BytesReader(log), closed=True).records()]


def damage(log: bytes, *, closed: bool = False) -> EseError:
    found = scan(log).damage("E00.log", closed=closed)
    assert found is not None
    assert found.number == -501
    return found


def events(log: bytes) -> list[tuple[int, ...]]:
    return [note.events for note in scan(log).notes("E00.log")]


def torn(log: bytes, number: int) -> bytes:
    """One disk sector of a segment holds something else."""
    data = segment_of(log, number)
    other = bytes(at * at % 251 for at in range(512))
    return with_segment(log, number, data[:512] + other + data[1024:])


def test_the_segments_of_the_current_log() -> None:
    zeros = [SegmentKind.ZERO] * 8
    assert kinds(load(CURRENT)) == [*[SegmentKind.DATA] * LAST, SegmentKind.SHADOW, *zeros]
    found = scan(load(CURRENT))
    assert (found.last, found.from_shadow, found.damaged, found.behind_gap) == (6, None, None, None)
    first = SegmentHeader.decode(segment_of(load(CURRENT), 1))
    assert (first.position, first.flags) == (LogPosition(5, 1, 0), 0x2000)


def test_an_older_life_behind_the_data_is_no_damage() -> None:
    assert kinds(load(CLOSED)) == [*[SegmentKind.DATA] * 14, SegmentKind.STALE]
    assert scan(load(CLOSED)).damage(None, closed=True) is None


def test_a_torn_last_segment_is_taken_from_its_shadow() -> None:
    log = torn(load(CURRENT), LAST)
    found = scan(log)
    assert (found.from_shadow, found.last, found.damaged) == (LAST, LAST, None)
    assert found.accumulated_checksum == scan(load(CURRENT)).accumulated_checksum
    assert events(log) == [(466,)]
    assert positions(log, closed=True) == positions(load(CURRENT))


def test_a_first_write_of_which_only_the_shadow_came_through() -> None:
    log = with_segment(load(CURRENT), LAST, b"")
    assert scan(log).from_shadow == LAST
    assert positions(log) == positions(load(CURRENT))


def test_a_torn_tail_is_normal_in_the_current_log_and_damage_in_a_closed_one() -> None:
    log = torn(with_segment(load(CURRENT), LAST + 1, b""), LAST)
    found = scan(log)
    assert (found.last, found.damaged) == (LAST - 1, LAST)
    assert found.damage("E00.log", closed=False) is None
    assert events(log) == [(462,)]
    whole = positions(load(CURRENT))
    assert positions(log) == [each for each in whole if each.sector < LAST]
    assert damage(log, closed=True).events == (440,)
    assert damage(log, closed=True).offset == LAST * SEGMENT_BYTES


@pytest.mark.parametrize("content", ["torn", "zero", "stale"])
@pytest.mark.parametrize("closed", [False, True])
def test_whole_segments_behind_a_gap_are_corruption(content: str, closed: bool) -> None:
    log = load(CURRENT)
    hole = {
        "torn": segment_of(torn(log, 3), 3),
        "zero": b"",
        "stale": sealed_segment(b"", 4, 3),
    }[content]
    found = damage(with_segment(log, 3, hole), closed=closed)
    assert found.events == (465, 440)
    assert found.offset == 4 * SEGMENT_BYTES


def test_a_segment_written_to_another_place_is_damage() -> None:
    log = load(CURRENT)
    moved = with_segment(log, 3, segment_of(log, 5))
    assert kinds(moved)[2] is SegmentKind.DAMAGED
    assert damage(moved).events == (465, 440)


def test_a_segment_of_a_later_generation_is_no_older_life() -> None:
    log = with_segment(load(CURRENT), 10, sealed_segment(b"", 6, 10))
    assert kinds(log)[9] is SegmentKind.DAMAGED
    assert events(log) == [(462,)]


def test_damage_in_the_room_for_the_last_shadow_tells_nothing_about_the_data() -> None:
    log = torn(load(CLOSED), 15)
    assert kinds(log)[14] is SegmentKind.DAMAGED
    assert scan(log).damage(None, closed=True) is None
    assert positions(log, closed=True) == positions(load(CLOSED), closed=True)


def test_the_last_data_segment_of_a_full_log_is_damage() -> None:
    assert damage(torn(load(CLOSED), 14), closed=True).events == (440,)


@given(
    number=st.integers(1, 14),
    bit=st.integers(64, 8 * SEGMENT_BYTES - 1).filter(lambda bit: bit != FORMAT_FLAG_BIT),
)
def test_one_flipped_bit_is_mended(number: int, bit: int) -> None:
    log = flipped(load(CLOSED), 8 * SEGMENT_BYTES * number + bit)
    found = scan(log)
    assert found.mended == ((number, bit),)
    assert found.damage(None, closed=True) is None
    assert events(log) == [(399,)]
    assert found.accumulated_checksum == scan(load(CLOSED)).accumulated_checksum
    records = [each.data for each in LogFile(BytesReader(log), closed=True).records()]
    assert records == [
        each.data for each in LogFile(BytesReader(load(CLOSED)), closed=True).records()
    ]


@given(number=st.integers(1, 14), bit=st.integers(0, 63) | st.just(FORMAT_FLAG_BIT))
def test_a_bit_of_the_checksum_or_the_format_is_not_mended(number: int, bit: int) -> None:
    log = flipped(load(CLOSED), 8 * SEGMENT_BYTES * number + bit)
    assert damage(log, closed=True).number == -501


@given(
    number=st.integers(1, 14),
    bits=st.sets(st.integers(0, 8 * SEGMENT_BYTES - 1), min_size=2, max_size=2),
)
def test_two_flipped_bits_are_damage(number: int, bits: set[int]) -> None:
    log = flipped(load(CLOSED), *(8 * SEGMENT_BYTES * number + bit for bit in bits))
    assert damage(log, closed=True).number == -501


AT_HAND = [name for name in LOGS if place(name) is not None]


@cache
def as_it_was(name: str) -> tuple[list[SegmentKind], list[bytes]]:
    """The kinds of the segments of a real log, and its records."""
    return kinds(load(name)), contents(load(name))


@given(name=st.sampled_from(AT_HAND), bit=st.integers(0, 8 * 65536 - 1), closed=st.booleans())
def test_any_flipped_bit_is_told_or_lies_in_unused_space(name: str, bit: int, closed: bool) -> None:
    before, records = as_it_was(name)
    number = bit // 8 // SEGMENT_BYTES
    try:
        log = LogFile(BytesReader(flipped(load(name), bit)), closed=closed)
    except EseError as error:
        assert error.number == -501
        return
    assert number > 0
    if before[number - 1] is SegmentKind.DATA:
        assert log.notes()
    found = [each.data for each in log.records()]
    if found != records:
        # Only the end of the current log may be lost, and then it is told.
        assert not closed
        assert log.scan.damaged == number == log.scan.last + 1
        assert found == records[: len(found)]


@given(name=st.sampled_from(AT_HAND), keep=st.integers(0, 65535))
def test_any_cut_of_a_real_log_is_found(name: str, keep: int) -> None:
    with pytest.raises(EseError) as caught:
        LogFile(BytesReader(load(name)[:keep]), closed=False)
    assert caught.value.number == (-541 if keep >= HEADER_BYTES else -501)


def test_a_log_that_grew_is_found() -> None:
    with pytest.raises(EseError) as caught:
        LogFile(BytesReader(load(CURRENT) + b"\0"), closed=False)
    assert caught.value.number == -541
