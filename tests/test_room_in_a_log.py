"""What a segmented log says of its room: who relies on it must never be refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replicator.journal import SegmentedLog
from replicator.records import HEADER_BYTES, RecordType
from replicator.segments import LogFull, LogKind
from tests.tools.small_logs import DIRECTORY, SET, DictVolume

SEGMENT = 4096
SIZES = st.integers(HEADER_BYTES, 2 * SEGMENT) | st.integers(HEADER_BYTES, SEGMENT // 3)


def opened(segments: int, names: int) -> SegmentedLog:
    return SegmentedLog(
        DictVolume(),
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
    if not log.can_ever_hold(size, count):
        return
    try:
        append(log, before)
    except LogFull:
        return
    log.free_through(log.sequence)
    # The segment that is kept may be larger than one of their kind: then its record came alone.
    if log.used_bytes <= log._reserve_bytes(size):
        assert log.fits([size] * count)
        for _number in range(count):
            append(log, size)


def test_of_small_ones_nearly_as_many_are_let_in_as_there_is_room_for() -> None:
    """A batch of pages is admitted at once: a rough guess would refuse what has room."""
    log, taken = opened(40, 0), 0
    let_in = max(count for count in range(1, 400) if log.can_ever_hold(500, count))
    try:
        while True:
            append(log, 500)
            taken += 1
    except LogFull:
        assert 0.75 * taken < let_in <= taken
