"""Log positions, times, signatures, backup marks, and structures declared field by field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.errors import EseError
from replicator.ese.layout import Structure, log_time, places, u8, u16, u32
from replicator.ese.values import BackupInfo, LogPosition, LogTime, Signature

POSITIONS = st.builds(
    LogPosition,
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
)


def test_a_position_is_printed_in_hex_from_the_generation_down() -> None:
    position = LogPosition.decode(bytes.fromhex("7805 1a00 51000000"))
    assert (position.generation, position.sector, position.byte) == (0x51, 0x1A, 0x578)
    assert str(position) == "(51,1A,578)"


@given(POSITIONS, POSITIONS)
def test_positions_are_ordered_by_generation_sector_byte(a: LogPosition, b: LogPosition) -> None:
    assert (a < b) == ((a.generation, a.sector, a.byte) < (b.generation, b.sector, b.byte))
    assert LogPosition.decode(a.encode()) == a


@given(st.binary(min_size=8, max_size=8))
def test_any_eight_bytes_are_a_time_that_can_be_shown(raw: bytes) -> None:
    time = LogTime.decode(raw)
    assert time.encode() == raw
    assert str(time)
    if time.moment is not None:
        assert time.moment.microsecond == 1000 * time.milliseconds
        again = LogTime.of(time.moment, snapshot=time.is_snapshot)
        assert again.moment == time.moment


def test_a_time_tells_utc_and_milliseconds() -> None:
    moment = datetime(2023, 10, 18, 2, 48, 29, 216_000, UTC)
    assert str(LogTime.of(moment)) == "2023-10-18 02:48:29.216Z"
    assert LogTime.of(moment.astimezone(timezone(timedelta(hours=2)))) == LogTime.of(moment)
    assert str(LogTime.of(moment.replace(tzinfo=None))) == "2023-10-18 02:48:29.216"
    assert str(LogTime()) == "-"
    assert LogTime(bytes((0, 0, 0, 31, 2, 100, 0, 0))).moment is None


@given(st.binary(min_size=28, max_size=28))
def test_signatures_match_in_all_bytes_only(raw: bytes) -> None:
    signature = Signature.decode(raw)
    assert signature.encode() == raw
    for index in range(28):
        other = bytearray(raw)
        other[index] ^= 1
        assert Signature.decode(bytes(other)) != signature
    assert str(signature)


@given(st.binary(min_size=24, max_size=24))
def test_a_backup_mark_is_what_it_was(raw: bytes) -> None:
    assert BackupInfo.decode(raw).encode() == raw
    assert str(BackupInfo.decode(raw))


@dataclass(frozen=True, kw_only=True)
class Example(Structure, size_bytes=20):
    """Fields with gaps between them."""

    kind: int = u8(1)
    number: int = u16(3)
    when: LogTime = log_time(8)
    total: int = u32(16)


@given(st.binary(min_size=20, max_size=40), st.integers(0, 0xFFFF))
def test_a_structure_keeps_the_bytes_that_no_field_describes(raw: bytes, number: int) -> None:
    example = Example.decode(raw)
    assert example.encode() == raw
    changed = replace(example, number=number).encode()
    assert changed[3:5] == number.to_bytes(2, "little")
    assert changed[:3] + changed[5:] == raw[:3] + raw[5:]


def test_a_new_structure_is_zero_between_its_fields() -> None:
    assert Example(kind=7, total=1).encode() == bytes((0, 7)) + bytes(14) + bytes((1, 0, 0, 0))
    assert list(places(Example)) == ["kind", "number", "when", "total"]


def test_a_structure_cut_short_is_an_error() -> None:
    with pytest.raises(EseError) as caught:
        Example.decode(bytes(19))
    assert caught.value.number == -1022
