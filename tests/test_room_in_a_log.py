"""What a segmented log says of its room: who relies on it must never be refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.journal import SegmentedLog
from replicator.log_room import TAIL_RESERVE_BYTES
from replicator.readonly import run_to_end
from replicator.records import HEADER_BYTES, RecordType
from replicator.segments import LogFull, LogKind
from tests.tools.small_logs import DIRECTORY, SET, DictVolume

SEGMENT = 4096
SIZES = st.integers(HEADER_BYTES, 2 * SEGMENT) | st.integers(HEADER_BYTES, SEGMENT // 3)


def opened(segments: int, names: int, volume: DictVolume | None = None) -> SegmentedLog:
    return SegmentedLog(
        DictVolume() if volume is None else volume,
        DIRECTORY,
        LogKind.SPOOL,
        SET,
        SEGMENT,
        segments * SEGMENT,
        lambda: bytes(names),
    )


def append(log: SegmentedLog, size: int) -> None:
    log.append(RecordType.BATCH, 1, log.sequence + 1, 0, b"", bytes(size - HEADER_BYTES))


@given(
    st.integers(2, 12),
    st.integers(0, 600),
    st.lists(SIZES, max_size=12),
    st.lists(SIZES, min_size=1, max_size=12),
    st.data(),
)
def test_what_fits_is_taken_in_any_order(
    segments: int, names: int, before: list[int], sizes: list[int], data: st.DataObject
) -> None:
    log = opened(segments, names)
    for size in before:
        try:
            append(log, size)
        except LogFull:
            break
    if log.fits(sizes):
        for size in data.draw(st.permutations(sizes)):
            append(log, size)


@given(st.integers(2, 40), st.integers(0, 600), SIZES, st.integers(1, 64), SIZES)
def test_what_can_ever_be_held_fits_when_all_but_the_last_segment_is_free(
    segments: int, names: int, size: int, count: int, before: int
) -> None:
    log = opened(segments, names)
    if not log.room.can_ever_hold(size, count):
        return
    try:
        append(log, before)
    except LogFull:
        return
    log.free_through(log.sequence)
    # The segment that is kept may be larger than one of their kind: then its record came alone.
    if log.used_bytes <= log.room.reserve_bytes(size):
        assert log.fits([size] * count)
        for _number in range(count):
            append(log, size)


def test_of_small_ones_nearly_as_many_are_let_in_as_there_is_room_for() -> None:
    """A batch of pages is admitted at once: a rough guess would refuse what has room."""
    log, taken = opened(40, 0), 0
    let_in = max(count for count in range(1, 400) if log.room.can_ever_hold(500, count))
    try:
        while True:
            append(log, 500)
            taken += 1
    except LogFull:
        assert 0.75 * taken < let_in <= taken


def recovered(volume: DictVolume, segments: int) -> SegmentedLog:
    log = opened(segments, 0, volume)
    assert run_to_end(log.recover(lambda _record, _position: None)) is None
    return log


@given(st.lists(SIZES, min_size=1, max_size=8), st.data())
def test_a_log_that_is_opened_again_counts_what_its_segments_were_reserved(
    sizes: list[int], data: st.DataObject
) -> None:
    """Whatever records of the last segment a crash took: its space was not given back."""
    volume = DictVolume()
    log = opened(40, 0, volume)
    for size in sizes:
        append(log, size)
    last = log.segments[-1]
    content = volume.files[last.path]
    del content[data.draw(st.integers(last.data_start, len(content))) :]
    assert recovered(volume, 40).used_bytes == log.used_bytes


def test_a_long_record_that_never_came_leaves_no_room_beyond_the_limit() -> None:
    """It was reserved for, the process died, and shorter ones came instead."""
    limit_segments, volume = 4, DictVolume()
    log = opened(limit_segments, 0, volume)
    append(log, HEADER_BYTES)
    log.roll(1, log.sequence, 0, 2 * SEGMENT)
    after = recovered(volume, limit_segments)
    assert after.used_bytes > 3 * SEGMENT
    try:
        while True:
            append(after, SEGMENT // 3)
    except LogFull:
        pass
    allocated = sum(segment.reserved_bytes for segment in log.segments)
    opened_since = sum(segment.reserved_bytes for segment in after.segments[2:])
    assert allocated + opened_since <= limit_segments * SEGMENT


@pytest.mark.parametrize("name", ["a" * 100, "ж" * 100, "\U0001f4ee" * 100])
def test_a_long_name_of_the_protected_set_takes_its_room_too(name: str) -> None:
    log = SegmentedLog(DictVolume(), DIRECTORY, LogKind.SPOOL, name, SEGMENT, 40 * SEGMENT)
    append(log, 2 * SEGMENT)
    [segment] = log.segments
    assert segment.end + TAIL_RESERVE_BYTES <= segment.reserved_bytes
