"""Log headers: real ones, a built one of version 7, and each way in which one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.errors import EseError
from replicator.ese.log_header import HEADER_BYTES, LogHeader, LogVersion, read_log_header
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition, LogTime
from tests.ese.logs import CLOSED, CURRENT, flipped, sealed_header, with_header
from tests.ese.samples import load


def read(log: bytes) -> LogHeader:
    return read_log_header(BytesReader(log, "E00.log"))


def refused(log: bytes) -> EseError:
    with pytest.raises(EseError) as caught:
        read(log)
    assert caught.value.path == "E00.log"
    return caught.value


def test_a_real_header() -> None:
    header = read(load(CLOSED))
    assert header.generation == 4
    assert header.version == LogVersion(8, 4000, 90, 200)
    assert str(header.version) == "8.4000.90.200"
    assert (header.sector_bytes, header.header_sectors, header.file_sectors) == (4096, 1, 16)
    assert header.file_bytes == 65536
    assert header.page_size == 4096
    assert str(header.created) == "2023-10-18 03:30:25.493Z"
    assert str(header.previous_created) == "2023-10-18 03:30:25.415Z"
    assert header.checkpoint == LogPosition(2, 2, 0)
    assert header.checksum == header.expected_checksum
    assert header.is_segmented
    assert header.has_accumulated_checksum
    assert header.file_type_number == 3
    assert header.encode() == load(CLOSED)[:HEADER_BYTES]


def test_a_real_header_names_the_databases_attached() -> None:
    (attached,) = read(load(CLOSED)).attachments
    assert attached.path == r"C:\Windows\system32\SRU\SRUDB.dat"
    assert attached.attach_position == LogPosition(2, 3, 0x268)
    assert read(load(CURRENT)).parameters.log_size_sectors == 16


def version_7(**changes: object) -> bytes:
    """The header of a 5 MB log of Exchange 2003, by the layout."""
    fields: dict[str, object] = {
        "generation": 26,
        "sector_bytes": 512,
        "header_sectors": 8,
        "file_sectors": 10240,
        "created": LogTime(bytes((1, 2, 3, 4, 5, 104, 0, 0))),
        "version_major": 7,
        "version_minor": 3704,
        "version_update_major": 5,
        **changes,
    }
    return with_header(bytes(HEADER_BYTES), **fields)


def test_a_header_of_version_7() -> None:
    header = read(version_7())
    assert header.version == (7, 3704, 5, 0)
    assert not header.is_segmented
    assert not header.has_accumulated_checksum
    assert header.page_size == 4096
    assert str(header.created) == "2004-05-04 03:02:01.000"
    header.check_geometry(5 * 1024 * 1024)
    with pytest.raises(EseError) as caught:
        header.check_geometry(1024 * 1024)
    assert caught.value.number == -541


def test_cut_short_empty_and_unused() -> None:
    for log in (b"", load(CURRENT)[:4095], bytes(HEADER_BYTES)):
        error = refused(log)
        assert (error.number, error.events) == (-501, (412,))


@given(bit=st.integers(0, 8 * HEADER_BYTES - 1))
def test_any_flipped_bit_is_found(bit: int) -> None:
    error = refused(flipped(load(CURRENT), bit))
    assert (error.number, error.events) == (-501, (412,))


def test_another_file_type() -> None:
    error = refused(with_header(load(CURRENT), file_type_number=1))
    assert (error.number, error.offset) == (-501, 667)


@pytest.mark.parametrize(("major", "minor"), [(6, 3704), (7, 4000), (8, 3704), (9, 4000), (0, 0)])
def test_an_unknown_version(major: int, minor: int) -> None:
    error = refused(with_header(load(CURRENT), version_major=major, version_minor=minor))
    assert (error.number, error.events) == (-514, (411,))


def test_an_older_engine_refuses_a_newer_version() -> None:
    header = read(load(CURRENT))
    header.check_version(header.version)
    with pytest.raises(EseError) as caught:
        header.check_version(LogVersion(8, 4000, 5, 16))
    assert caught.value.number == -514


@pytest.mark.parametrize(
    "changes",
    [
        {"sector_bytes": 512, "header_sectors": 8},
        {"header_sectors": 2},
        {"sector_bytes": 0},
        {"generation": 0},
        {"generation": -1},
    ],
)
def test_sizes_that_no_log_has(changes: dict[str, int]) -> None:
    header = read(with_header(load(CURRENT), **changes))
    with pytest.raises(EseError) as caught:
        header.check_geometry(65536)
    assert caught.value.number == -501


@given(at=st.integers(4, HEADER_BYTES - 1), words=st.binary(min_size=1, max_size=200))
def test_nonsense_that_verifies_is_shown_or_refused(at: int, words: bytes) -> None:
    log = load(CURRENT)
    block = (log[:at] + words + log[at + len(words) : HEADER_BYTES])[:HEADER_BYTES]
    try:
        header = read(sealed_header(block))
        header.check_geometry(len(log))
    except EseError as error:
        assert error.number in (-501, -514, -541)
    else:
        assert header.file_bytes == len(log)
        assert len(header.attachments) <= 2048 // 64
        assert header.encode() == sealed_header(block)
