"""Whole logs: every real one is accounted for; pieces, padding, nonsense."""

from __future__ import annotations

import struct
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_segments import SegmentKind
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from tests.ese.logs import CLOSED, CURRENT, built_log, with_header
from tests.ese.samples import SHARED, each, load

ROOM = 4096 - 40


class Log(NamedTuple):
    """The figures of a real log, found by an independent prototype."""

    generation: int
    data: int
    shadows: int
    stale: int
    zero: int
    records: int
    last: str | None


FIRST, LATER = "srum-server2022-first", "srum-server2022-later"
DIRTY, CLEAN = "srum-win10-dirty", "srum-win10-clean"
LOGS = {
    f"{FIRST}/SRU00001.log": Log(1, 14, 1, 0, 0, 757, "Split2"),
    f"{FIRST}/SRU.log": Log(2, 2, 1, 0, 12, 37, "Term2"),
    f"{LATER}/SRU00003.log": Log(3, 14, 1, 0, 0, 743, "Insert"),
    f"{LATER}/SRU00004.log": Log(4, 14, 0, 1, 0, 574, "Insert"),
    f"{LATER}/SRU.log": Log(5, 6, 1, 0, 8, 140, "Term2"),
    f"{LATER}/SRUtmp.log": Log(2, 14, 0, 0, 1, 785, "Split2"),
    f"{DIRTY}/SRU0004E.log": Log(78, 14, 0, 0, 1, 379, "Begin"),
    f"{DIRTY}/SRU0004F.log": Log(79, 14, 0, 0, 1, 625, "Begin"),
    f"{DIRTY}/SRU00050.log": Log(80, 14, 0, 0, 1, 276, "Begin"),
    f"{DIRTY}/SRU00051.log": Log(81, 11, 0, 0, 4, 273, "NOP2"),
    f"{DIRTY}/SRU.log": Log(82, 0, 0, 0, 15, 0, None),
    f"{CLEAN}/SRU00019.log": Log(25, 14, 0, 1, 0, 755, "Insert"),
    f"{CLEAN}/SRU0001A.log": Log(26, 14, 0, 1, 0, 691, "Begin"),
    f"{CLEAN}/SRU0001B.log": Log(27, 14, 0, 1, 0, 582, "Begin"),
    f"{CLEAN}/SRU0001C.log": Log(28, 14, 1, 0, 0, 584, "Begin"),
    f"{CLEAN}/SRU0001D.log": Log(29, 14, 0, 0, 1, 593, "Begin"),
    f"{CLEAN}/SRU0001E.log": Log(30, 14, 0, 0, 1, 572, "Begin"),
    f"{CLEAN}/SRU0001F.log": Log(31, 14, 0, 0, 1, 584, "Split2"),
    f"{CLEAN}/SRU.log": Log(32, 14, 1, 0, 0, 281, "Term2"),
    f"{CLEAN}/SRUtmp.log": Log(24, 14, 0, 0, 1, 586, "Insert"),
}
UNUSED = (f"{DIRTY}/SRUtmp.log", f"{FIRST}/SRUres00001.jrs")


def opened(log: bytes, *, closed: bool = True) -> LogFile:
    return LogFile(BytesReader(log, "E00.log"), closed=closed)


@pytest.mark.parametrize("name", each(list(LOGS)))
def test_every_segment_and_record_of_a_real_log(name: str) -> None:
    expected = LOGS[name]
    log = opened(load(name))
    count = log.scan.count
    assert log.generation == expected.generation
    assert count(SegmentKind.DATA) == log.scan.last == expected.data
    assert count(SegmentKind.SHADOW) == expected.shadows
    assert count(SegmentKind.STALE) == expected.stale
    assert count(SegmentKind.ZERO) == expected.zero
    assert count(SegmentKind.DAMAGED) == 0
    assert log.notes() == ()
    records = list(log.records())
    assert len(records) == expected.records
    assert (records[-1].title if records else None) == expected.last
    positions = [record.position for record in records]
    assert positions == sorted(set(positions))
    assert all(record.content.encode() == record.data for record in records)


@pytest.mark.parametrize("name", each(list(UNUSED)))
def test_a_file_that_was_never_a_log(name: str) -> None:
    with pytest.raises(EseError) as caught:
        opened(load(name))
    assert (caught.value.number, caught.value.events) == (-501, (412,))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which CI has")
def test_the_table_holds_every_real_log() -> None:
    found = {f"{path.parent.name}/{path.name}" for path in SHARED.glob("*/*.log")}
    assert found == {*LOGS, UNUSED[0]}


def begin(total: int, part: bytes) -> bytes:
    return struct.pack("<BIH", 76, total, len(part)) + part


def piece(part: bytes) -> bytes:
    return struct.pack("<BH", 77, len(part)) + part


def nop2(size: int) -> bytes:
    return struct.pack("<BI", 71, size - 5) + bytes(size - 5)


TRACE = struct.pack("<BHH", 22, 1, 9) + b"some text"


def test_a_record_in_three_pieces_stands_where_the_first_one_does() -> None:
    log = built_log(
        nop2(ROOM - 11) + begin(14, TRACE[:4]), piece(TRACE[4:9]), piece(TRACE[9:]) + TRACE
    )
    padding, joined, last = opened(log).records()
    assert padding.title == "NOP2"
    assert (joined.position, joined.data) == (LogPosition(5, 1, 4096 - 11), TRACE)
    assert last.position == LogPosition(5, 3, 40 + 8)


def test_padding_with_zeros_is_passed_over() -> None:
    log = built_log(TRACE + bytes(100) + TRACE, b"", TRACE)
    positions = [record.position for record in opened(log).records()]
    assert positions == [
        LogPosition(5, 1, 40), LogPosition(5, 1, 154), LogPosition(5, 3, 40)
    ]  # fmt: skip


def test_a_record_without_its_last_pieces() -> None:
    log = built_log(TRACE + begin(14, TRACE[:4]))
    assert [record.data for record in opened(log, closed=False).records()] == [TRACE]
    with pytest.raises(EseError) as caught:
        list(opened(log).records())
    assert caught.value.number == -501
    assert "(5,1,36)" in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(piece(b"abc"), id="a piece without beginning"),
        pytest.param(begin(14, b"ab") + begin(14, b"cd"), id="two beginnings"),
        pytest.param(begin(14, TRACE[:4]) + TRACE, id="a record between"),
        pytest.param(begin(13, TRACE), id="more than was promised"),
        pytest.param(begin(14, TRACE[:4]) + piece(TRACE), id="pieces too long"),
        pytest.param(begin(5, b"\x1d" * 5), id="too short for its type"),
        pytest.param(begin(7, begin(0, b"")), id="pieces in pieces"),
        pytest.param(begin(0, b""), id="of no bytes"),
        pytest.param(begin(2**32 - 1, b"ab"), id="of four gigabytes"),
        pytest.param(b"\x28" * 30, id="an obsolete type"),
        pytest.param(b"\xff", id="an unknown type"),
        pytest.param(nop2(ROOM + 1)[:ROOM], id="beyond the segment"),
        pytest.param(nop2(ROOM - 2) + b"\x1d", id="cut in its fixed part"),
        pytest.param(struct.pack("<BI", 71, 2**32 - 1), id="skips four gigabytes"),
    ],
)
def test_records_that_make_no_sense(body: bytes) -> None:
    with pytest.raises(EseError) as caught:
        list(opened(built_log(body), closed=False).records())
    assert caught.value.number == -501
    assert caught.value.path == "E00.log"
    assert caught.value.offset is not None
    assert caught.value.offset >= 4096


PIECES = st.one_of(
    st.binary(max_size=60),
    st.builds(begin, st.integers(0, 40), st.binary(max_size=40)),
    st.builds(piece, st.binary(max_size=40)),
    st.builds(nop2, st.integers(5, 300)),
    st.builds(lambda number, rest: bytes((number,)) + rest, st.integers(0, 101), st.binary()),
    st.just(TRACE),
)
BODY = st.lists(PIECES, max_size=20).map(lambda parts: b"".join(parts)[:ROOM])


@given(bodies=st.lists(BODY, max_size=4), closed=st.booleans())
def test_nonsense_that_verifies_ends_in_records_or_an_error(
    bodies: list[bytes], closed: bool
) -> None:
    log = opened(built_log(*bodies), closed=closed)
    total = 0
    try:
        for record in log.records():
            total += len(record.data)
            assert 1 <= record.position.sector <= len(bodies)
            assert record.content.number == record.data[0]
    except EseError as error:
        assert error.number == -501
    assert total <= ROOM * len(bodies)


class Watched(BytesReader):
    """A reader that knows the largest piece it was asked for."""

    largest = 0

    def read_at(self, offset: int, size: int) -> memoryview:
        self.largest = max(self.largest, size)
        return super().read_at(offset, size)


def test_memory_does_not_grow_with_the_log() -> None:
    reader = Watched(built_log(*[TRACE] * 300))
    log = LogFile(reader, closed=True)
    assert sum(1 for _ in log.records()) == 300
    assert reader.largest == 64 * 4096


def test_a_header_that_promises_a_large_file_allocates_nothing() -> None:
    reader = Watched(with_header(load(CLOSED), file_sectors=65535))
    with pytest.raises(EseError) as caught:
        LogFile(reader, closed=True)
    assert caught.value.number == -541
    assert reader.largest == 4096


class Changing(BytesReader):
    """A file that is overwritten between two reads."""

    changed = False

    def read_at(self, offset: int, size: int) -> memoryview:
        data = super().read_at(offset, size)
        return memoryview(bytes(size)) if self.changed else data


def test_a_log_that_changes_while_it_is_read() -> None:
    reader = Changing(load(CURRENT))
    log = LogFile(reader, closed=False)
    reader.changed = True
    with pytest.raises(EseError) as caught:
        list(log.records())
    assert caught.value.number == -501
    assert "changed" in caught.value.detail
