"""Version 7 logs read: sums, where the data ends, torn or corrupt, chains, commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.cli import app
from replicator.command_line import finish
from replicator.errors import ExitCode
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import HEADER_BYTES, LogHeader, sealed_log_header
from replicator.ese.log_record_types import LENGTHS, Kind
from replicator.ese.log_records import decode_record
from replicator.ese.log_v7 import SectorScan
from replicator.ese.log_v7_checksum import ChecksumRecord, fill_pattern, sealed, xor_bytes
from replicator.ese.log_v7_encoding import LogV7Format
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime, Signature
from tests.ese.logs import log_set, numbers
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
    slow_chain,
    slow_pattern,
    slow_sum,
    slow_xor,
    written,
)


def refused(content: bytes | bytearray, *, closed: bool = False) -> EseError:
    with pytest.raises(EseError) as caught:
        opened(content, closed=closed)
    assert caught.value.path == "E00.log"
    return caught.value


def scan_of(content: bytes | bytearray) -> SectorScan:
    scan = opened(content).scan
    assert isinstance(scan, SectorScan)
    return scan


# -- sums ---------------------------------------------------------------------------------


@given(data=st.binary(max_size=200))
def test_the_xor_of_bytes(data: bytes) -> None:
    assert xor_bytes(data) == slow_xor(data)


@given(offset=st.integers(0, 2000), size=st.integers(0, 2000))
def test_the_fill_pattern(offset: int, size: int) -> None:
    whole = slow_pattern() * 8
    assert fill_pattern(offset, size) == whole[offset : offset + size]


def test_the_fill_pattern_by_hand() -> None:
    assert fill_pattern(0, 18).hex() == "da" * 16 + "eada"
    assert fill_pattern(48, 1)[0] == 0xDA + 0x30 - 0x100


def test_a_log_whose_sums_come_from_elsewhere() -> None:
    """One range of one sector, put together by hand, is read."""
    text = record(60)
    content = new_file()
    at = FIRST * SECTOR
    head = b"\x2a" + bytes(4) + (60).to_bytes(4, "little") + bytes(4)
    content[at : at + 82] = head + bytes(8) + b"\xd1" + text
    checksum = slow_sum(0xFEEDBEAF, bytes(content), at, 0, at + 82, GENERATION)
    content[at + 13 : at + 17] = checksum.to_bytes(4, "little")
    assert places(content) == [(LogPosition(GENERATION, FIRST, 22), text)]
    content[at + 13] ^= 1
    assert refused(content).number == -501


def test_a_checksum_record_is_read_by_content() -> None:
    content = written([[record(60)]]).content
    found = decode_record(bytes(content[FIRST * SECTOR : FIRST * SECTOR + 22]))
    assert isinstance(found, ChecksumRecord)
    assert (found.backward_bytes, found.forward_bytes, found.next_bytes) == (0, 60, 0)
    assert not found.has_short_checksum


# -- whole logs ---------------------------------------------------------------------------


def test_what_a_log_holds_is_counted() -> None:
    scan = scan_of(written([[record(2000)], [record(900)]]).content)
    assert scan.unit == "sectors"
    assert scan.tally == {"data": 6, "shadow": 1, "unused": 25, "other": 0}
    assert (scan.ranges, scan.broken, scan.foreign, scan.from_shadow) == (3, None, None, None)
    assert scan.accumulated_checksum is None


def test_a_new_file_is_an_empty_log_until_it_is_closed() -> None:
    assert places(new_file()) == []
    assert opened(new_file()).notes()[0].events == (462,)
    error = refused(new_file(), closed=True)
    assert (error.number, error.events) == (-501, (529, 465))
    assert "a closed log" in error.detail


def test_a_missing_shadow_is_no_fault() -> None:
    log = written([[record(300)]])
    put(log.content, [((FIRST + 1) * SECTOR, slow_pattern())])
    scan = scan_of(log.content)
    assert scan.tally == {"data": 1, "shadow": 0, "unused": 31, "other": 0}
    assert places(log.content, closed=True) == log.places


@pytest.mark.parametrize("closed", [False, True])
def test_a_damaged_last_sector_is_taken_from_its_shadow(closed: bool) -> None:
    log = written([[record(900)], [record(5)], [record(100)]])
    start = slow_chain(log.content)[-1] // SECTOR * SECTOR
    log.content[start : start + 200] = bytes(200)
    assert places(log.content, closed=closed) == log.places
    (note,) = opened(log.content, closed=closed).notes()
    assert (note.number, note.events, note.offset) == (-501, (466,), start)
    assert f"sector {start // SECTOR} is taken from its shadow" in note.detail


def test_a_shadow_that_knows_of_a_next_sector_is_not_the_end() -> None:
    """It was written before that sector was, and what it points to may be there."""
    content = written([[record(ROOM)]]).content
    at = FIRST * SECTOR
    shadow = bytearray(content[at : at + SECTOR])
    own = int.from_bytes(shadow[13:17], "little") ^ 0x5AD05EC7
    shadow[13:17] = own.to_bytes(4, "little")
    put(content, [(at, slow_pattern() + bytes(shadow) + slow_pattern())])
    assert refused(content).offset == at + SECTOR


def test_a_range_that_points_beyond_the_next_sector_is_none() -> None:
    content = written([[record(ROOM)]]).content
    at = FIRST * SECTOR
    found = replace(ChecksumRecord.decode(bytes(content[at : at + 22])), next_bytes=ROOM + SECTOR)
    sector = bytes(content[at : at + SECTOR])
    record_bytes = sealed(found, sector, 0, GENERATION, sector_bytes=SECTOR).encode()
    put(content, [(at, record_bytes)])
    error = refused(content)
    assert (error.offset, error.events) == (at, (529, 465))


FLUSHES = st.lists(
    st.lists(st.builds(record, st.integers(5, 900), st.integers(0, 999)), min_size=1, max_size=3),
    min_size=2,
    max_size=5,
)


@given(flushes=FLUSHES, where=st.integers(0), change=st.integers(1, 255), closed=st.booleans())
def test_a_changed_byte_of_an_earlier_flush_is_corruption(
    flushes: list[list[bytes]], where: int, change: int, closed: bool
) -> None:
    log = written(flushes)
    last = scan_of(log.content).last
    assert last is not None
    first = FIRST * SECTOR
    at = first + where % (last.end - first)
    log.content[at] ^= change
    if at // SECTOR < last.sector:
        error = refused(log.content, closed=closed)
        assert error.number == -501
        assert error.events[-1] == 465
        assert error.offset is not None
        assert error.offset >= at - at % SECTOR
    else:  # the open sector has its shadow: nothing is lost
        assert places(log.content, closed=closed) == log.places
        assert [note.events for note in opened(log.content, closed=closed).notes()] == [(466,)]


def test_every_byte_of_an_earlier_flush() -> None:
    log = written([[record(300)], [record(1100)], [record(50)]])
    assert slow_chain(log.content)[-1] // SECTOR == FIRST + 2
    for at in range(FIRST * SECTOR, (FIRST + 2) * SECTOR):
        content = bytearray(log.content)
        content[at] ^= 0x40
        assert refused(content).number == -501


@given(flushes=FLUSHES, where=st.integers(0), change=st.integers(1, 255))
def test_a_changed_fill_pattern_behind_the_end_is_corruption(
    flushes: list[list[bytes]], where: int, change: int
) -> None:
    log = written(flushes)
    start = (log.encoder.tip.sector + 2) * SECTOR  # behind the shadow
    at = start + where % (len(log.content) - start)
    log.content[at] ^= change
    error = refused(log.content)
    assert (error.number, error.events) == (-501, (465,))
    assert error.offset == at - at % SECTOR
    assert f"sector {at // SECTOR} does not hold the fill pattern" in error.detail


def torn_before(log: Written, number: int, calls: int) -> bytearray:
    """A flush of which only the first write calls came through."""
    state = bytearray(log.before[number])
    put(state, log.writes[number][:calls])
    return state


def test_a_torn_log_with_something_behind_is_corrupt() -> None:
    log = written([[record(300)], [record(1500)]])
    state = torn_before(log, 1, 1)
    (note,) = opened(state).notes()
    assert (note.events, note.offset) == ((462,), FIRST * SECTOR)
    assert "the range of the checksum record in sector 8, byte 0 fails" in note.detail
    state[30 * SECTOR] ^= 1
    error = refused(state)
    assert (error.number, error.events, error.offset) == (-501, (477, 465), 30 * SECTOR)


@pytest.mark.parametrize(("flush", "calls"), [(0, 0), (1, 1), (1, 2), (1, 3)])
def test_nothing_is_torn_in_a_closed_log(flush: int, calls: int) -> None:
    log = written([[record(300)], [record(1500)]])
    state = torn_before(log, flush, calls)
    if calls < 3:
        assert refused(state, closed=True).number == -501
    else:  # only the shadow is missing
        assert places(state, closed=True) == log.places


def test_the_complete_records_of_a_torn_flush_are_found() -> None:
    log = written([[record(300)], [record(50), record(20), record(1500)]])
    assert places(torn_before(log, 1, 1)) == log.places[:3]


def lost_in_second_write(sectors: list[int]) -> bytearray:
    """A range of four sectors over an old shadow, of which these sectors never arrived."""
    log = written([[record(300)], [record(1500)]])
    (first, rest) = log.writes[1][:2]
    assert (first[0], rest[0], len(rest[1])) == (8 * SECTOR, 9 * SECTOR, 2 * SECTOR)
    state = bytearray(log.before[1])
    put(state, [first])
    for at in range(0, len(rest[1]), SECTOR):
        if (rest[0] + at) // SECTOR not in sectors:
            put(state, [(rest[0] + at, rest[1][at : at + SECTOR])])
    return state


def test_where_the_engine_itself_would_refuse_is_told() -> None:
    assert not scan_of(lost_in_second_write([9, 10])).beyond_engine
    assert not scan_of(lost_in_second_write([10])).beyond_engine
    state = lost_in_second_write([9])
    assert scan_of(state).beyond_engine
    (note,) = opened(state).notes()
    assert "(the engine itself takes this for corruption)" in note.detail


def test_a_bad_range_without_a_sign_of_a_torn_write_is_corrupt() -> None:
    state = lost_in_second_write([9])
    state[9 * SECTOR + 5] ^= 1  # the old shadow is none any more
    error = refused(state)
    assert (error.events, error.offset) == ((477, 465), 9 * SECTOR)


def test_an_old_shadow_of_other_records_is_no_sign_of_a_torn_write() -> None:
    log = written([[record(300, 1)], [record(700)]])
    other = written([[record(300, 2)]])
    state = torn_before(log, 1, 1)
    assert places(state) == log.places[:1]
    put(state, [other.writes[0][1]])
    assert refused(state).number == -501


# -- records ------------------------------------------------------------------------------


def test_every_type_with_a_known_length_is_read() -> None:
    """Records of zeros but for the type: the rules find their lengths."""
    outside = {Kind.NOP, Kind.CHECKSUM, Kind.FRAGMENT_BEGIN, Kind.FRAGMENT}
    records = []
    for kind in Kind:
        rule = LENGTHS[kind]
        if rule is not None and kind not in outside:
            blank = bytes((kind,)) + bytes(600)
            records.append(blank[: rule(blank, 0)])
    assert len(records) > 70
    form = LogV7Format(file_bytes=128 * SECTOR)
    log = written([records[:30], records[30:]], form)
    assert places(log.content, closed=True) == log.places
    assert [data for _, data in log.places] == records


@pytest.mark.parametrize("kind", [Kind.SLV_PAGE_APPEND, Kind.SLV_SPACE, Kind.SLV_PAGE_MOVE])
def test_a_record_whose_length_is_not_known(kind: Kind) -> None:
    log = written([[record(50), bytes((kind,)) * 40]])
    records = opened(log.content).records()
    assert next(records).data == record(50)
    with pytest.raises(EseError) as caught:
        next(records)
    assert (caught.value.number, caught.value.events) == (-514, (411,))
    assert (caught.value.path, caught.value.offset) == ("E00.log", FIRST * SECTOR + 72)


@pytest.mark.parametrize("wrong", [b"\xff", bytes((76, 0, 0, 0, 0, 0, 0)), bytes((77, 0, 0))])
def test_what_no_log_of_version_7_holds(wrong: bytes) -> None:
    log = written([[wrong]])
    with pytest.raises(EseError) as caught:
        list(opened(log.content).records())
    assert (caught.value.number, caught.value.events) == (-501, (529, 465))


def test_a_record_without_its_end() -> None:
    log = written([[record(50), record(50)[:40]]])
    assert [data for _, data in places(log.content)] == [record(50)]
    with pytest.raises(EseError) as caught:
        places(log.content, closed=True)
    assert caught.value.number == -501
    assert "goes beyond its range, at (1A,8,48)" in caught.value.detail


def test_a_record_over_a_checksum_record() -> None:
    log = written([[record(600)[:-1]], [record(50)]])
    with pytest.raises(EseError) as caught:
        places(log.content)
    assert caught.value.number == -501


def test_a_log_that_changes_while_it_is_read() -> None:
    content = written([[record(2000)], [record(100)]]).content
    log = opened(content)
    content[FIRST * SECTOR] = 0
    with pytest.raises(EseError) as caught:
        list(log.records())
    assert (caught.value.number, "changed" in caught.value.detail) == (-501, True)


@given(
    flushes=FLUSHES,
    at=st.integers(FIRST * SECTOR, 40 * SECTOR - 1),
    words=st.binary(min_size=1, max_size=1200),
    closed=st.booleans(),
)
def test_any_change_is_told_or_lies_in_unused_space(
    flushes: list[list[bytes]], at: int, words: bytes, closed: bool
) -> None:
    log = written(flushes)
    content = bytes(log.content[:at] + words + log.content[at + len(words) :])[: 40 * SECTOR]
    try:
        found = places(content, closed=closed)
    except EseError as error:
        assert error.number in (-501, -514)
        return
    if found != log.places:
        assert not closed
        assert found == log.places[: len(found)]
        assert opened(content).notes()


@given(content=st.binary(min_size=40, max_size=40 * SECTOR), seal=st.booleans())
def test_nonsense_ends_in_records_or_an_error(content: bytes, seal: bool) -> None:
    log = new_file()
    at = FIRST * SECTOR
    put(log, [(at, content[: len(log) - at])])
    if seal:  # the first range verifies, whatever it holds
        end = min(len(content), SECTOR)
        put(log, [(at, b"\x2a" + bytes(4) + (end - 22).to_bytes(4, "little") + bytes(12))])
        log[at + 21] = 0xD1
        checksum = slow_sum(0xFEEDBEAF, bytes(log), at, 0, at + end, GENERATION)
        put(log, [(at + 13, checksum.to_bytes(4, "little"))])
        put(log, [(at + SECTOR, slow_pattern() * 31)])
    try:
        for _ in opened(log).records():
            pass
    except EseError as error:
        assert error.number in (-501, -514)


class Watched(BytesReader):
    """A reader that knows the largest piece it was asked for."""

    largest = 0

    def read_at(self, offset: int, size: int) -> memoryview:
        self.largest = max(self.largest, size)
        return super().read_at(offset, size)


def test_memory_does_not_grow_with_the_log() -> None:
    form = LogV7Format()
    log = written([[record(5000)] * 600, [record(100)] * 1000, [record(5)]], form)
    reader = Watched(log.content)
    assert sum(1 for _ in LogFile(reader, closed=False).records()) == 1601
    assert reader.largest == 64 * 1024


@pytest.mark.parametrize("changes", [{"sector_bytes": 256, "header_sectors": 16},
                                     {"header_sectors": 7}, {"generation": 0}])  # fmt: skip
def test_sizes_that_no_log_has(changes: dict[str, int]) -> None:
    header = replace(SMALL.header(GENERATION, CREATED), **changes)  # type: ignore[arg-type]
    content = sealed_log_header(header) + bytes(32 * SECTOR)
    assert refused(content).number == -501


def test_a_file_that_ends_with_its_header() -> None:
    header = replace(SMALL.header(GENERATION, CREATED), file_sectors=8)
    assert places(sealed_log_header(header)) == []
    assert refused(sealed_log_header(header), closed=True).number == -501


# -- chains and commands ------------------------------------------------------------------


def generation(number: int, form: LogV7Format = SMALL, **changes: object) -> Written:
    """One of a set: generation n was created n seconds after the first day began."""
    before = LogTime(bytes((number - 1, 0, 0, 1, 1, 104, 0, 0)))
    fields = {"previous_created": before, "log_signature": Signature(77), **changes}
    created = LogTime(bytes((number, 0, 0, 1, 1, 104, 0, 0)))
    header = replace(form.header(number, created), **fields)  # type: ignore[arg-type]
    content = bytearray(form.prepared(0, form.file_bytes))
    encoder = form.encoder(header)
    put(content, encoder.header_writes())
    log = Written(encoder, content)
    log.flush([record(300, number)])
    log.flush([record(900, number), record(4)])
    return log


def files() -> dict[str, bytes]:
    logs = {f"E00{number:05X}.log": bytes(generation(number).content) for number in (9, 10)}
    return {**logs, "E00.log": bytes(generation(11).content)}


def test_a_chain_of_version_7() -> None:
    found = log_set(files())
    assert numbers(found) == []
    assert found.generations == (9, 10, 11)
    assert [log.scan is not None for log in found.logs] == [True] * 3
    assert found.attached == ()


def test_a_broken_chain_of_version_7() -> None:
    damaged = bytearray(generation(9).content)
    damaged[FIRST * SECTOR + 100] ^= 1
    logs = {**files(), "E0000009.log": bytes(damaged)}
    assert numbers(log_set(logs)) == [-501]
    other = {"E000000A.log": bytes(generation(10, log_signature=Signature(78)).content)}
    assert numbers(log_set({**files(), **other})) == [-530, -530]
    torn = torn_before(generation(10), 1, 1)
    assert numbers(log_set({**files(), "E000000A.log": bytes(torn)})) == [-501]
    current = torn_before(generation(11), 1, 1)
    found = log_set({**files(), "E00.log": bytes(current)})
    assert numbers(found) == []
    assert [note.events for note in found.notes if note.number == -501] == [(462,)]


def run(*arguments: object) -> int:
    return finish(app, "replicator", [str(argument) for argument in arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_chain_on_the_command_line(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ese", "logs", directory) == ExitCode.PASS
    lines = capsys.readouterr().out.splitlines()
    assert "7.3704.5.0  3 data, 1 shadow, 28 unused" in lines[1]
    assert run("ese", "logs", directory, "--json", "-") == ExitCode.PASS
    log = json.loads(capsys.readouterr().out)["logs"][0]
    assert log["sectors"] == {"data": 3, "shadow": 1, "unused": 28, "other": 0}
    assert (log["segments"], log["accumulated_checksum"]) == (None, None)


def test_the_records_on_the_command_line(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ese", "dump", directory / "E00.log") == ExitCode.PASS
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["(B,8,16)", "Trace", "300"],
        ["(B,8,142)", "Trace", "900"],
        ["(B,A,C6)", "Begin", "4"],
    ]


def test_a_log_without_file_type_is_verified(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Old headers end before the field."""
    path = directory / "E000000A.log"
    content = path.read_bytes()
    header = replace(LogHeader.decode(content[:HEADER_BYTES]), file_type_number=0)
    path.write_bytes(sealed_log_header(header) + content[HEADER_BYTES:])
    assert run("ese", "header", path) == ExitCode.PASS
    assert "7" in capsys.readouterr().out
    assert run("ese", "verify", path) == ExitCode.PASS
    capsys.readouterr()
    torn = bytearray(path.read_bytes())
    torn[HEADER_BYTES + 600] ^= 1
    path.write_bytes(torn)
    assert run("ese", "verify", path) == ExitCode.BROKEN
    assert "-501 JET_errLogFileCorrupt" in capsys.readouterr().out


def test_the_first_record_stands_behind_the_first_checksum_record() -> None:
    assert written([[record(ROOM)]]).places[0][0] == LogPosition(GENERATION, FIRST, 0x16)
