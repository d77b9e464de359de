"""Numbers in words."""

import math

import pytest

from simulator.units import (
    bytes_axis,
    count_of,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_rate,
    rate_axis,
    time_axis,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1 MiB"),
        (31.2 * 2**20, "31.2 MiB"),
        (2**30, "1 GiB"),
        (10**30, "8.27e+05 YiB"),
        (math.inf, "unbounded"),
        (math.nan, "unknown"),
    ],
)
def test_bytes(size, text):
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1e-12, "< 1 ns"),
        (2.5e-7, "250 ns"),
        (4e-5, "40 µs"),
        (0.34, "340 ms"),
        (0.99999, "1 s"),
        (3.2, "3.2 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (86_399, "1 d"),
        (90_000, "1 d 1 h"),
        (-3, "-3 s"),
        (4e10, "1,268 years"),
        (math.inf, "unbounded"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_rates_and_counts():
    assert format_rate(1.25e6) == "10 Mbit/s"
    assert format_rate(0) == "0 bit/s"
    assert format_count(66_898) == "66,898"
    assert format_count(10**24) == "1e+24"
    assert count_of(1, "message") == "1 message"
    assert count_of(0, "breach", "breaches") == "0 breaches"
    assert format_percent(1, 0) == "-"
    assert format_percent(1, 10**6) == "< 0.1 %"
    assert format_percent(1, 3) == "33.3 %"


def test_axes_choose_the_unit_that_keeps_numbers_short():
    assert bytes_axis(40 * 2**20).name == "MiB"
    assert bytes_axis(40 * 2**20).divisor == 2**20
    assert rate_axis(1.25e6).name == "Mbit/s"
    assert rate_axis(1.25e6).divisor == pytest.approx(1e6 / 8)
    assert [time_axis(t).name for t in (0.1, 60, 7200, 86_400, 10**6, 10**9)] == [
        "ms",
        "s",
        "min",
        "h",
        "days",
        "years",
    ]
