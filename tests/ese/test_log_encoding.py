"""Writing logs of version 8: real logs come out as they were, and what is written can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.attachments import attachment, encode_attachments
from replicator.ese.errors import EseError
from replicator.ese.log_encoding import log_time_at
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import HEADER_BYTES, SEGMENT_BYTES, LogHeader, sealed_log_header
from replicator.ese.log_names import LogNames, LogRole, parse_log_name
from replicator.ese.log_record_types import Kind
from replicator.ese.log_segments import SEGMENT_HEADER_BYTES, SegmentHeader
from replicator.ese.log_v8_encoding import (
    DATA_BYTES,
    SMALLEST_PIECE_BYTES,
    LogV8Encoder,
    LogV8Format,
    is_filler,
)
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.log_writing import skippable
from tests.ese.logs import CLOSED, CURRENT, segment_of
from tests.ese.samples import load

REAL = (CLOSED, CURRENT)
NOW = log_time_at(1_500_000_000_123_000_000)
FORMAT = LogV8Format(now=lambda: NOW, file_bytes=16 * SEGMENT_BYTES)


def write(file: bytearray, writes: list[tuple[int, bytes]]) -> None:
    for offset, data in writes:
        assert offset + len(data) <= len(file)
        file[offset : offset + len(data)] = data


def new_file(encoder: LogV8Encoder) -> bytearray:
    file = bytearray(FORMAT.prepared(0, encoder.header.file_bytes))
    write(file, encoder.header_writes())
    return file


def encoder(**options: object) -> LogV8Encoder:
    return LogV8Encoder(FORMAT.header(7, NOW), lambda: NOW, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("sample", REAL)
def test_the_records_of_a_real_log_laid_out_anew_give_its_bytes(sample: str) -> None:
    log = load(sample)
    read = LogFile(BytesReader(log), closed=False)
    times = [
        SegmentHeader.decode(segment_of(log, number)).started
        for number in range(1, read.scan.last + 1)
    ]
    clock = iter(time for time in times if not time.is_zero)
    again = LogV8Encoder(read.header, lambda: next(clock))
    file = bytearray(len(log))
    write(file, again.header_writes())
    after_filler = False
    for record in read.records():
        if is_filler(record.data):
            after_filler = True
            continue
        if (
            record.number == Kind.INIT2
            and not after_filler
            and again.tip.byte != SEGMENT_HEADER_BYTES
        ):
            again.finish()  # an engine that starts begins with a segment of its own
        assert again.append(record.data, new_segment=after_filler) == record.position
        after_filler = False
    if after_filler:
        again._fill_up(with_filler=True)
    write(file, again.flush())
    if times and times[-1].is_zero:
        again.finish()  # it was closed early, with nothing left to write
        write(file, again.flush())
    assert file[:HEADER_BYTES] == log[:HEADER_BYTES]
    assert next(clock, None) is None
    for number in range(1, read.scan.last + 1):
        assert segment_of(file, number) == segment_of(log, number)
    assert again.accumulated_checksum == read.scan.accumulated_checksum


SIZES = st.one_of(st.integers(5, 60), st.integers(3900, 4200), st.integers(5, 20_000))


@given(
    steps=st.lists(st.tuples(SIZES, st.booleans(), st.booleans()), max_size=30),
    segments_a_write=st.sampled_from([None, 1, 2]),
)
def test_what_fits_is_read_back_and_nothing_else_is_taken(
    steps: list[tuple[int, bool, bool]], segments_a_write: int | None
) -> None:
    made = encoder(segments_a_write=segments_a_write)
    file = new_file(made)
    expected = []
    for number, (size, first, flush) in enumerate(steps):
        record = skippable(size, number + 1)
        before = made.tip
        if not first:
            assert made.fits(size) is _is_taken(made, record, expected)
        elif _is_taken(made, record, expected, new_segment=True):
            assert expected[-1][0].byte == SEGMENT_HEADER_BYTES
        if expected and expected[-1][1] is not record:
            assert made.tip == before
        if flush:
            write(file, made.flush())
            assert made.flush() == []
            assert made.buffered_bytes == 0
    made.finish()
    write(file, made.flush())
    log = LogFile(BytesReader(file), closed=True)
    found = [(each.position, each.data) for each in log.records() if not is_filler(each.data)]
    assert found == expected
    assert log.scan.accumulated_checksum == made.accumulated_checksum
    assert log.scan.last <= 14  # of segments 0 to 15 the last one is room for a shadow


def _is_taken(
    made: LogV8Encoder,
    record: bytes,
    expected: list[tuple[LogPosition, bytes]],
    *,
    new_segment: bool = False,
) -> bool:
    try:
        position = made.append(record, new_segment=new_segment)
    except ValueError:
        return False
    expected.append((position, record))
    return True


@given(sizes=st.lists(SIZES, max_size=12))
def test_records_fit_together_as_they_do_one_by_one(sizes: list[int]) -> None:
    one_by_one = encoder()
    fits = True
    for size in sizes:
        fits = fits and one_by_one.fits(size)
        if fits:
            one_by_one.append(skippable(size))
    assert encoder().fits(*sizes) is fits


def test_a_record_never_ends_with_the_last_data_segment() -> None:
    made = encoder()
    for _segment in range(13):
        made.append(skippable(DATA_BYTES))
    assert not made.fits(DATA_BYTES)
    assert made.append(skippable(DATA_BYTES - 1)) == LogPosition(7, 14, SEGMENT_HEADER_BYTES)
    with pytest.raises(ValueError, match="does not fit"):
        made.append(skippable(5))


def test_pieces_are_never_small() -> None:
    made = encoder()
    made.append(skippable(DATA_BYTES - SMALLEST_PIECE_BYTES + 1))
    assert made.append(skippable(SMALLEST_PIECE_BYTES)).sector == 2
    made = encoder()
    made.append(skippable(DATA_BYTES - SMALLEST_PIECE_BYTES))
    assert made.append(skippable(SMALLEST_PIECE_BYTES + 1)).sector == 1


def test_the_writes_of_a_flush_are_those_of_the_engine() -> None:
    made = encoder(segments_a_write=None)

    def places() -> list[tuple[int, int]]:
        return [
            (offset // SEGMENT_BYTES, len(data) // SEGMENT_BYTES) for offset, data in made.flush()
        ]

    made.append(skippable(100))
    assert places() == [(1, 2)]  # with its shadow, nothing to protect
    made.append(skippable(100))
    assert places() == [(1, 1), (2, 1)]  # itself, then its shadow
    made.append(skippable(3 * DATA_BYTES))
    assert places() == [(1, 1), (2, 2), (4, 2)]  # itself, what overwrites its shadow, the open one
    made.append(skippable(DATA_BYTES))
    assert places() == [(4, 1), (5, 1), (5, 2)]  # full alone: its shadow too
    made.finish()
    assert places() == [(5, 1), (6, 1)]
    several = encoder(segments_a_write=2)
    several.append(skippable(5 * DATA_BYTES))
    assert [offset // SEGMENT_BYTES for offset, _ in several.flush()] == [1, 3, 5, 6]


def test_the_header_of_a_new_log() -> None:
    entries = [attachment("C:\\a.edb", dbid=1, dbtime=7), attachment("/b", dbid=9, unicode=False)]
    header = replace(FORMAT.header(7, NOW), flags=3).with_attachments(entries)
    file = bytearray(FORMAT.file_bytes)
    write(file, LogV8Encoder(header, lambda: NOW).header_writes())
    found = LogFile(BytesReader(file), closed=True).header
    assert found.checksum == found.expected_checksum
    assert found.attachments == tuple(replace(each, raw=b"") for each in entries)
    assert [each.path for each in found.attachments] == ["C:\\a.edb", "/b"]
    assert (found.reserve_log_used, found.circular_logging) == (True, True)
    assert found.parameters.log_size_sectors == 16
    assert sealed_log_header(LogHeader.decode(bytes(file[:HEADER_BYTES]))) == file[:HEADER_BYTES]


def test_real_attachments_come_out_as_they_were() -> None:
    header = LogHeader.decode(load(CURRENT)[:HEADER_BYTES])
    assert encode_attachments(header.attachments) == header.raw[671 : 671 + 2048]


def test_attachments_that_no_list_holds() -> None:
    with pytest.raises(ValueError, match="end the list"):
        encode_attachments([attachment("C:\\a.edb", dbid=0)])
    with pytest.raises(ValueError, match="2,048"):
        encode_attachments([attachment("x" * 500, dbid=1), attachment("x" * 500, dbid=2)])


@pytest.mark.parametrize(("digits", "shared_reserves"), [(5, True), (5, False), (8, False)])
def test_the_names_of_a_set_are_those_that_are_recognised(
    digits: int, shared_reserves: bool
) -> None:
    names = LogNames("E07", digits, shared_reserves)
    assert names.reserves[0] == ("res1.log" if shared_reserves else "E07res00001.jrs")
    roles = {
        names.current: LogRole.CURRENT,
        names.temporary: LogRole.TEMPORARY,
        names.checkpoint: LogRole.CHECKPOINT,
        names.closed(0x1A): LogRole.CLOSED,
        names.closed(0x100000): LogRole.CLOSED,
        **dict.fromkeys(names.reserves, LogRole.RESERVE),
    }
    for name, role in roles.items():
        parsed = parse_log_name(name)
        assert parsed is not None, name
        assert parsed.role is role
        assert parsed.base in ("E07", None)
    assert len(names.closed(0x1A)) == 3 + digits + 4
    for wrong in (("E0", 8), ("E00", 6)):
        with pytest.raises(ValueError, match=r"digits|characters"):
            LogNames(*wrong)


@pytest.mark.parametrize(
    ("kind", "fine"), [(Kind.RECOVERY_UNDO2, True), (Kind.RECOVERY_UNDO, True), (Kind.INIT, False)]
)
def test_recovery_may_go_on_behind_a_record_without_its_last_pieces(kind: Kind, fine: bool) -> None:
    made = encoder()
    file = new_file(made)
    made.append(skippable(300))
    made.append(skippable(9000))
    write(file, made.flush()[:1])  # the second segment and the third are torn off
    resumed = FORMAT.resumed(BytesReader(bytes(file)))
    write(file, resumed.repairs)
    size = {Kind.RECOVERY_UNDO2: 9, Kind.RECOVERY_UNDO: 1, Kind.INIT: 568}[kind]
    last = bytes((kind,)) + bytes(size - 1)
    assert resumed.encoder.append(last) == LogPosition(7, 2, SEGMENT_HEADER_BYTES)
    write(file, resumed.encoder.flush())
    records = LogFile(BytesReader(file), closed=False).records()
    assert next(records).data == skippable(300)
    if fine:
        assert [each.data for each in records] == [last]
    else:
        with pytest.raises(EseError) as caught:
            list(records)
        assert caught.value.number == -501


def test_sizes_that_no_log_has_are_refused() -> None:
    for size in (5000, 2 * SEGMENT_BYTES, 1 << 29):
        with pytest.raises(ValueError, match="segments"):
            LogV8Format(now=lambda: NOW, file_bytes=size)
    with pytest.raises(ValueError, match="at least 1"):
        LogV8Format(now=lambda: NOW, segments_a_write=0)
