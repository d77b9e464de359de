"""Numbers in words: bytes, durations, rates and counts with a unit that fits their size.

Sizes use binary units (KiB, MiB), link rates decimal bits (Mbit/s), as the scenario files
do.  Three significant digits: a report is read, the JSON record is computed with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_BIT_UNITS = ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s")
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 31_557_600
_SCIENTIFIC_FROM = 10**15


@dataclass(frozen=True, slots=True)
class AxisUnit:
    """A unit for a whole axis: plotted value = value / ``divisor``."""

    divisor: float
    name: str


def _digits(value: float) -> str:
    """Three significant digits without trailing zeros: 1.5, 31.2, 640; large ones as 1.2e+30."""
    if abs(value) >= 99_999:
        return f"{value:.3g}"
    decimals = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _odd(value: float) -> str | None:
    """The word for a value that is no finite number."""
    if math.isnan(value):
        return "unknown"
    return "unbounded" if math.isinf(value) else None


def _scale(value: float, base: float, units: tuple[str, ...]) -> tuple[float, str]:
    index = 0
    while index + 1 < len(units) and abs(value) >= 0.9995 * base:
        value /= base
        index += 1
    return value, units[index]


def format_bytes(size_bytes: float) -> str:
    """``31.2 MiB``."""
    odd = _odd(size_bytes)
    if odd:
        return odd
    value, unit = _scale(float(size_bytes), 1024.0, _BYTE_UNITS)
    return f"{_digits(value)} {unit}"


def format_rate(bytes_per_second: float) -> str:
    """``10 Mbit/s`` of a rate in bytes."""
    odd = _odd(bytes_per_second)
    if odd:
        return odd
    value, unit = _scale(8.0 * bytes_per_second, 1000.0, _BIT_UNITS)
    return f"{_digits(value)} {unit}"


def format_count(count: float) -> str:
    """``66,898``; beyond 10^15 in powers of ten."""
    odd = _odd(count)
    if odd:
        return odd
    if abs(count) >= _SCIENTIFIC_FROM:
        return f"{count:.3g}"
    return f"{count:,d}" if isinstance(count, int) else _digits(count)


def count_of(count: int, singular: str, plural: str | None = None) -> str:
    """``1 message``, ``14 messages``."""
    return f"{format_count(count)} {singular if count == 1 else plural or singular + 's'}"


def _two_parts(total: int, large: int, large_name: str, small: int, small_name: str) -> str:
    whole, rest = divmod(total, large)
    head = f"{format_count(whole)} {large_name}"
    return f"{head} {rest // small} {small_name}" if rest // small else head


def format_duration(seconds: float) -> str:
    """``340 ms``, ``3.2 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``, ``12.5 years``."""
    odd = _odd(seconds)
    if odd:
        return odd
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 1e-9:
        return "< 1 ns"
    if seconds < 0.9995e-6:
        return f"{_digits(seconds * 1e9)} ns"
    if seconds < 0.9995e-3:
        return f"{_digits(seconds * 1e6)} µs"
    if seconds < 0.9995:
        return f"{_digits(seconds * 1e3)} ms"
    if seconds < 59.95:
        return f"{_digits(seconds)} s"
    if seconds >= YEAR:
        return f"{_digits(seconds / YEAR)} years"
    # Rounded before the units are chosen, so that 59 min 59.7 s is an hour, not "59 min 60 s".
    if seconds < HOUR - 0.5:
        return _two_parts(round(seconds), MINUTE, "min", 1, "s")
    if seconds < DAY - 30:
        return _two_parts(round(seconds / MINUTE) * MINUTE, HOUR, "h", MINUTE, "min")
    return _two_parts(round(seconds / HOUR) * HOUR, DAY, "d", HOUR, "h")


def format_percent(part: float, whole: float) -> str:
    """``1.5 %`` of a whole; ``-`` when there is no whole."""
    if not whole or _odd(part) or _odd(whole):
        return "-"
    percent = 100.0 * part / whole
    return "< 0.1 %" if 0 < percent < 0.1 else f"{_digits(percent)} %"


def bytes_axis(largest_bytes: float) -> AxisUnit:
    """The unit of an axis that ends at ``largest_bytes``."""
    value, unit = _scale(max(float(largest_bytes), 1.0), 1024.0, _BYTE_UNITS)
    return AxisUnit(max(float(largest_bytes), 1.0) / value, unit)


def rate_axis(largest_bytes_per_second: float) -> AxisUnit:
    """The unit of an axis of link rates; the divisor takes bytes per second to it."""
    largest = max(8.0 * largest_bytes_per_second, 1.0)
    value, unit = _scale(largest, 1000.0, _BIT_UNITS)
    return AxisUnit(largest / value / 8.0, unit)


def time_axis(largest_seconds: float) -> AxisUnit:
    """The unit of a time axis: large enough that the ticks stay short numbers."""
    if largest_seconds < 0.5:
        return AxisUnit(1e-3, "ms")
    if largest_seconds <= 3 * MINUTE:
        return AxisUnit(1.0, "s")
    if largest_seconds <= 3 * HOUR:
        return AxisUnit(float(MINUTE), "min")
    if largest_seconds <= 4 * DAY:
        return AxisUnit(float(HOUR), "h")
    if largest_seconds <= 4 * YEAR:
        return AxisUnit(float(DAY), "days")
    return AxisUnit(float(YEAR), "years")
