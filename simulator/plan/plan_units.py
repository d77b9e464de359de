"""Figures and inputs of a plan in words.

Volumes are bought in decimal units, so a plan's bytes are GB (10^9 bytes), not GiB as in the
report of a run; lines are bought by Mbit/s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from simulator.units import AxisUnit, format_duration, format_rate

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
NEVER: Final = "never"


def _number(value: float) -> str:
    """Three significant digits, and all before the point."""
    if not math.isfinite(value):
        return "unknown"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")


def format_volume(size_bytes: float) -> str:
    """``62.8 GB``: decimal units, as disks are sold; what is not nothing has a byte at least."""
    value, index = float(size_bytes), 0
    if 0 < value < 1:
        value = 1.0
    while abs(value) >= 999.5 and index + 1 < len(_UNITS):
        value, index = value / 1000.0, index + 1
    return f"{_number(value)} {_UNITS[index]}"


def format_line(bits_per_second: float) -> str:
    """``23.9 Mbit/s``."""
    return format_rate(bits_per_second / 8.0)


def format_share(share: float) -> str:
    """``95 %``; ``0.01 %``; what is not all is not said to be all: ``99.99 %``."""
    percent = 100.0 * share
    if 99.95 <= percent < 100.0:
        return f"{max(99.95, math.floor(percent * 1e4) / 1e4):g} %"
    text = f"{percent:.3g}" if abs(percent) < 99.95 else f"{percent:,.0f}"
    if "e" in text:
        text = f"{percent:.12f}".rstrip("0").rstrip(".") or "0"
    return f"{text} %"


def format_days(days: float) -> str:
    """``9 d 14 h``: as all other times."""
    return format_duration(86_400.0 * days)


def format_hour(hour: float) -> str:
    """``05:00``."""
    return f"{int(hour):02d}:00"


def format_clock(seconds: float) -> str:
    """``21:36``: a time of day."""
    minutes = round(seconds / 60.0) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def format_plain(value: float) -> str:
    """A count, or a number without a unit."""
    return f"{value:,.0f}" if float(value).is_integer() else _number(value)


def volume_axis(largest_bytes: float) -> AxisUnit:
    """The decimal unit of an axis that ends at so many bytes."""
    largest = max(float(largest_bytes), 1.0)
    index = min(int(math.log10(largest) // 3), len(_UNITS) - 1)
    return AxisUnit(1000.0**index, _UNITS[index])


FORMATS: Final[Mapping[str, Callable[[float], str]]] = {
    "seconds": format_duration,
    "bytes": format_volume,
    "bits_per_second": format_line,
    "share": format_share,
    "days": format_days,
    "hour": format_hour,
    "count": format_plain,
    "number": format_plain,
    "clock": format_clock,
    "times": lambda value: f"{value:g} x",
}
"""By the unit of a figure."""

_INPUTS: Final[Mapping[str, tuple[str, str]]] = {
    "change_gb_per_day": ("change per day", "gb"),
    "logs_gb_per_day": ("logs per day", "gb"),
    "messages_gb_per_day": ("messages per day", "gb"),
    "stored_gb": ("size of the databases", "gb"),
    "night_share": ("change at night", "times"),
    "defragmentation_share": ("defragmentation of a night", "share"),
    "log_share_of_writes": ("share of logs in what is written", "share"),
    "pages_per_log_byte": ("bytes of pages for one of log", "number"),
    "outage_hours": ("length of the outage", "hours"),
    "link.bits_per_second": ("line rate", "bits_per_second"),
    "link.rtt_seconds": ("round-trip time", "seconds"),
    "link.loss": ("packet loss", "share"),
    "link.tcp_window_bytes": ("TCP window", "bytes"),
    "link.streams": ("TCP streams", "count"),
    "link.payload_share": ("payload of the line", "share"),
    "protection.saving": ("saving by compression", "share"),
    "protection.spool_bytes": ("spool", "bytes"),
    "protection.log_volume_bytes": ("log volume", "bytes"),
    "protection.overhead": ("headers of replication", "share"),
    "protection.rewritten_share": ("written again between runs", "share"),
    "protection.interval_seconds": ("interval between runs", "seconds"),
    "protection.at_seconds": ("begin of the backup", "clock"),
    "protection.idle_logs_per_day": ("idle logs per day", "count"),
}
OUTPUTS: Final[Mapping[str, tuple[str, str]]] = {
    "spool_bytes": ("Spool of the planned outage", "bytes"),
    "catch_up_seconds": ("Catching up after it", "seconds"),
    "line_bits_per_second": ("Line rate for the RPO", "bits_per_second"),
    "rpo_seconds": ("RPO for the objective's share of the time", "seconds"),
}
"""What the tornado varies: name and unit of each output."""


def output_name(output: str, volume: str) -> tuple[str, str]:
    """Name and unit of an output; ``volume``: "spool" or "log volume", on which changes wait."""
    name, unit = OUTPUTS.get(output, (output, "number"))
    if output == "spool_bytes":
        name = f"{volume.capitalize()} of the planned outage, without margin"
    return name, unit


def input_name(path: str) -> str:
    """An input by its path in the plan, in words; a path that has no words as it is."""
    return _INPUTS[path][0] if path in _INPUTS else path.replace("_", " ").replace(".", ", ")


def input_quantity(path: str, value: float) -> tuple[str, float]:
    """A value of an input: its unit in :data:`FORMATS`, and the value in it."""
    unit = _INPUTS.get(path, ("", ""))[1]
    if unit == "gb":
        return "bytes", 1e9 * value
    if unit == "hours":
        return "seconds", 3_600.0 * value
    return unit or "number", value


def format_input(path: str, value: float) -> str:
    """A value of an input with its unit."""
    unit, in_unit = input_quantity(path, value)
    return FORMATS[unit](in_unit)
