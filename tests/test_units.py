"""Quantities: what is read, what is refused and with which advice, exact round trips."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator import units

NUMBERS = st.integers(min_value=0, max_value=units.LARGEST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GiB", 2**31), ("64KiB", 65536), ("1MB", 10**6), ("512B", 512), ("1.5 kB", 1500)],
)
def test_sizes(text: str, expected: int) -> None:
    assert units.parse_size_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60ms", 60 * 10**6),
        ("4h", 4 * 3600 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("2d", 172_800 * 10**9),
        ("250us", 250_000),
        ("0.5s", 5 * 10**8),
        ("10 min", 600 * 10**9),
        ("1m 30s", 90 * 10**9),
        ("0s", 0),
    ],
)
def test_durations(text: str, expected: int) -> None:
    assert units.parse_duration_ns(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10Mbit/s", 10_000_000),
        ("1.5Gbit/s", 1_500_000_000),
        ("20MB/s", 160_000_000),
        ("100KiB/s", 819_200),
    ],
)
def test_rates(text: str, expected: int) -> None:
    assert units.parse_rate_bits_per_second(text) == expected


def test_frequencies_and_ratios() -> None:
    assert units.parse_frequency_per_second("4/s") == 4.0
    assert units.parse_frequency_per_second("120/min") == 2.0
    assert units.parse_frequency_per_second("86400/day") == 1.0
    assert units.parse_ratio("0.01%") == 0.0001
    assert units.parse_ratio("30%") == 0.3
    assert units.parse_ratio(0.3) == 0.3
    assert units.parse_ratio("0.3") == 0.3
    assert units.parse_ratio(1) == 1.0


@pytest.mark.parametrize(
    ("family", "given_value", "message"),
    [
        ("rate", "10Mb", "'10Mb' is ambiguous: write 10Mbit/s or 10MB/s"),
        ("rate", "10Mb/s", "'10Mb/s' is ambiguous: write 10Mbit/s or 10MB/s"),
        ("rate", "10Mbps", "'10Mbps' has the unknown unit 'Mbps': write 10Mbit/s"),
        ("rate", "10MBps", "'10MBps' has the unknown unit 'MBps': write 10MB/s"),
        ("rate", 10, "10 has no unit: write for instance 10Mbit/s or 20MB/s"),
        ("size", "10M", "'10M' is ambiguous: write 10MB or 10MiB"),
        ("size", "10mb", "'10mb' is ambiguous: write 10MB or 10MiB"),
        ("size", "10Mib", "'10Mib' has the unknown unit 'Mib': write 10MiB"),
        ("size", "0.3B", "'0.3B' is no whole number of bytes: write for instance 2GiB or 64KiB"),
        ("size", "-4KiB", "'-4KiB' is negative: write 4KiB"),
        (
            "size",
            "99999PiB",
            "'99999PiB' is too large, more than 8191PiB: write for instance 2GiB or 64KiB",
        ),
        ("size", True, "True is no size: write for instance 2GiB or 64KiB"),
        ("size", [], "this list is no size: write for instance 2GiB or 64KiB"),
        ("duration", "60", "'60' has no unit: write for instance 60ms or 1h30m"),
        ("duration", "60 seconds", "'60 seconds' has the unknown unit 'seconds': write 60s"),
        ("duration", "5M", "'5M' is ambiguous: write 5m or 5ms"),
        ("duration", "30m1h", "'30m1h' has its units out of order or twice: write 1h30m"),
        ("duration", "1h, 30m", "'1h, 30m' is no duration: write for instance 60ms or 1h30m"),
        ("frequency", "4Hz", "'4Hz' has the unknown unit 'Hz': write 4/s"),
        ("frequency", "4/m", "'4/m' has the unknown unit '/m': write 4/min"),
        ("ratio", "130%", "'130%' is more than the whole: write a ratio from 0% to 100%"),
        ("ratio", 95, "95 is not between 0 and 1: write 0.95 or 95%"),
        ("ratio", "30", "'30' is more than the whole: write 0.3 or 30%"),
        ("ratio", 101, "101 is not between 0 and 1: write 0.3 or 30%"),
        ("ratio", 1.5, "1.5 is not between 0 and 1: write 0.3 or 30%"),
        ("ratio", math.nan, "nan is not between 0 and 1: write 0.3 or 30%"),
    ],
)
def test_refusals_say_what_is_right(family: str, given_value: object, message: str) -> None:
    with pytest.raises(units.UnitError) as refusal:
        units.PARSERS[family](given_value)
    assert str(refusal.value) == message


@given(NUMBERS)
def test_sizes_spelled_are_read_back(size_bytes: int) -> None:
    assert units.parse_size_bytes(units.spell_size(size_bytes)) == size_bytes


@given(NUMBERS)
def test_durations_spelled_are_read_back(time_ns: int) -> None:
    assert units.parse_duration_ns(units.spell_duration(time_ns)) == time_ns


@given(NUMBERS)
def test_rates_spelled_are_read_back(bits_per_second: int) -> None:
    assert units.parse_rate_bits_per_second(units.spell_rate(bits_per_second)) == bits_per_second


@given(st.floats(min_value=0, max_value=1e15))
def test_frequencies_spelled_are_read_back(per_second: float) -> None:
    assert units.parse_frequency_per_second(units.spell_frequency(per_second)) == per_second


@given(st.floats(min_value=0, max_value=1))
def test_ratios_spelled_are_read_back(ratio: float) -> None:
    assert units.parse_ratio(units.spell_ratio(ratio)) == ratio


@given(st.integers(min_value=1, max_value=2**59))
def test_formats_are_close_to_the_number(number: int) -> None:
    assert units.parse_size_bytes(_ceil(units.format_bytes(number))) == pytest.approx(
        number, rel=0.006
    )
    assert units.parse_duration_ns(units.format_ns(number)) == pytest.approx(
        number, rel=0.025
    )  # 1 d 0 h 29 m
    assert units.parse_rate_bits_per_second(units.format_bits_per_second(number)) == pytest.approx(
        number, rel=0.006
    )


def _ceil(text: str) -> str:
    """``1.23 KiB`` is no whole number of bytes: spell it out, rounded."""
    number, unit = text.split()
    return f"{math.ceil(float(number) * units.SIZE.units[unit])}B"


@given(st.text() | st.integers() | st.floats() | st.binary() | st.none())
def test_anything_else_is_refused_with_a_unit_error(value: object) -> None:
    for parse in units.PARSERS.values():
        try:
            result = parse(value)
        except units.UnitError as refusal:
            assert "write" in str(refusal)
        else:
            assert 0 <= result <= units.LARGEST


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.00035, "350 us"),
        (0.06, "60 ms"),
        (12.34, "12.3 s"),
        (59.99, "1 m"),
        (90, "1 m 30 s"),
        (3599.8, "1 h"),
        (14_700, "4 h 5 m"),
        (183_600, "2 d 3 h"),
        (-90, "-1 m 30 s"),
    ],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert units.format_seconds(seconds) == text


def test_bytes_and_bits_for_people() -> None:
    assert units.format_bytes(0) == "0 B"
    assert units.format_bytes(1024**2 - 1) == "1 MiB"
    assert units.format_bytes(1_600_000) == "1.53 MiB"
    assert units.format_bits_per_second(10_000_000) == "10 Mbit/s"
    assert units.spell_size(0) == "0B"
