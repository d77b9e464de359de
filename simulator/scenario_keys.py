"""Kinds of values that only scenarios have; the others are in :mod:`replicator.toml_keys`."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Final

from replicator import units
from replicator.toml_keys import DURATION_PATTERN, Quantity, quantity

DAY_NS: Final = 86_400 * units.NS_PER_SECOND


def read_time_of_day_ns(given: object) -> int:
    """``"08:00"``, ``"08:00:30"``, ``"24:00"`` or a TOML local time, in ns since midnight."""
    if isinstance(given, datetime.time) and given.tzinfo is None:
        given = given.strftime("%H:%M:%S")
    match = re.fullmatch(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?", str(given), re.ASCII)
    if match is not None and isinstance(given, str):
        hours, minutes, seconds = (int(group or 0) for group in match.groups())
        time_ns = (hours * 3_600 + minutes * 60 + seconds) * units.NS_PER_SECOND
        if minutes < 60 and seconds < 60 and time_ns <= DAY_NS:
            return time_ns
    raise units.UnitError(f"{str(given)[:40]!r} is no time of day: write for instance 08:00")


def spell_time_of_day(time_ns: int) -> str:
    """28800000000000 -> ``08:00``."""
    minutes, seconds = divmod(time_ns // units.NS_PER_SECOND, 60)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text


SamplingInterval = Annotated[
    int,
    quantity(
        units.DURATION,
        units.spell_duration,
        pattern=DURATION_PATTERN,
        examples=("1s", "500ms"),
        at_least=1_000_000,
    ),
]


def _read_signed_duration_ns(given: object) -> int:
    text = given.strip() if isinstance(given, str) else given
    if isinstance(text, str) and text[:1] in ("-", "+"):
        value_ns = units.parse_duration_ns(text[1:].lstrip())
        return -value_ns if text[0] == "-" else value_ns
    return units.parse_duration_ns(text)


def spell_signed_duration(time_ns: int) -> str:
    """-5000000000 -> ``-5s``."""
    return ("-" if time_ns < 0 else "") + units.spell_duration(abs(time_ns))


SignedDuration = Annotated[
    int,
    Quantity(
        kind="duration, with or without a sign",
        pattern=rf"[-+]? ?{DURATION_PATTERN}",
        examples=("1h", "-90s"),
        read=_read_signed_duration_ns,
        spell=spell_signed_duration,
        at_least=-(2**63),
    ),
]
PositiveFrequency = Annotated[
    float, quantity(units.FREQUENCY, units.spell_frequency, positive=True, at_least=1e-9)
]


def _read_bytes_per_second(given: object) -> int:
    return units.parse_rate_bits_per_second(given) // 8


ByteRate = Annotated[
    int,
    Quantity(
        kind="rate",
        pattern=units.RATE.number_pattern,
        examples=("100MB/s", "400MB/s"),
        read=_read_bytes_per_second,
        spell=lambda bytes_per_second: units.spell_size(bytes_per_second) + "/s",
        positive=True,
    ),
]
TimeOfDay = Annotated[
    int,
    Quantity(
        kind="time of day",
        pattern=r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?",
        examples=("08:00", "18:30"),
        read=read_time_of_day_ns,
        spell=spell_time_of_day,
    ),
]
