"""Quantities with units: read strictly, spell exactly, format for people.

Sizes, durations, rates, frequencies and ratios appear in scenarios and configuration files
as text with a unit (``"2GiB"``, ``"1h30m"``, ``"10Mbit/s"``, ``"4/s"``, ``"0.01%"``) and
in Python as plain numbers whose names carry the unit.  Three functions stand for each kind:

* ``parse_*`` reads text; all arithmetic is exact, nothing is guessed.  What could mean two
  things is refused with both spellings: ``'10Mb' is ambiguous: write 10Mbit/s or 10MB/s``.
* ``spell_*`` writes text that ``parse_*`` reads back to the same number.
* ``format_*`` writes about three digits, for tables and messages.

Prefixes follow IEC 80000-13: ``kB, MB, GB`` count thousands, ``KiB, MiB, GiB`` count 1024;
``KB`` is read as ``kB``.  Case matters, since ``b`` and ``B`` differ by eight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from itertools import pairwise
from typing import Final

NS_PER_SECOND: Final = 1_000_000_000
LARGEST: Final = 2**63 - 1
"""No quantity may exceed what a signed 64-bit number holds."""


class UnitError(ValueError):
    """The text is no quantity of the wanted kind; the message ends with a right example."""


@dataclass(frozen=True)
class Family:
    """The units of one kind of quantity, each with its worth in the smallest one."""

    name: str
    units: Mapping[str, int | Fraction]
    examples: tuple[str, ...]
    slips: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Wrong units that are often written, and what may have been meant."""

    @property
    def number_pattern(self) -> str:
        """One number with one unit, as a regular expression without anchors."""
        names = "|".join(re.escape(unit) for unit in sorted(self.units, key=len, reverse=True))
        return rf"[0-9]+(\.[0-9]+)? ?({names})"


_DECIMAL: Final = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}


def _bytes_units() -> dict[str, int]:
    return {"B": 1} | {f"{p}B": worth for p, worth in (_DECIMAL | _BINARY).items()}


def _size_slips() -> dict[str, tuple[str, ...]]:
    slips: dict[str, tuple[str, ...]] = {"b": ("B",), "bytes": ("B",), "byte": ("B",)}
    for p in _DECIMAL:
        both = (f"{p}B", f"{p.upper()}iB")
        for lettering in (p, p.lower()):
            slips |= {lettering: both, f"{lettering}b": both, f"{lettering}B": both}
            slips |= {f"{lettering}ib": (both[1],), f"{lettering}i": (both[1],)}
    return {wrong: right for wrong, right in slips.items() if wrong not in _bytes_units()}


def _rate_units() -> dict[str, int]:
    bits = {"bit/s": 1} | {f"{p}bit/s": worth for p, worth in _DECIMAL.items()}
    return bits | {f"{unit}/s": 8 * worth for unit, worth in _bytes_units().items()}


def _rate_slips() -> dict[str, tuple[str, ...]]:
    slips: dict[str, tuple[str, ...]] = {"b/s": ("bit/s", "B/s"), "bps": ("bit/s",)}
    for p in _DECIMAL:
        bits, whole_bytes = f"{p}bit/s", f"{p}B/s"
        for wrong in (p, f"{p}b", f"{p}B", f"{p}b/s", f"{p}/s", p.lower(), f"{p.lower()}b/s"):
            slips[wrong] = (bits, whole_bytes)
        for wrong in ("bps", "bit", "bits", "bits/s", "bitps", "bit/sec"):
            slips[f"{p}{wrong}"] = (bits,)
            slips[f"{p.lower()}{wrong}"] = (bits,)
        slips[f"{p}Bps"] = (whole_bytes,)
    return {wrong: right for wrong, right in slips.items() if wrong not in _rate_units()}


def _duration_slips() -> dict[str, tuple[str, ...]]:
    words = {
        "ns": "nanosecond nanoseconds nsec",
        "us": "microsecond microseconds usec u",
        "ms": "millisecond milliseconds msec msecs",
        "s": "sec secs second seconds S",
        "m": "mins minute minutes",
        "h": "hr hrs hour hours H",
        "d": "day days D",
        "w": "week weeks W",
    }
    slips = {wrong: (unit,) for unit, wrongs in words.items() for wrong in wrongs.split()}
    return slips | {"M": ("m", "ms")}


_SECOND: Final = NS_PER_SECOND
SIZE: Final = Family("size", _bytes_units(), ("2GiB", "64KiB", "1MB"), _size_slips())
DURATION: Final = Family(
    "duration",
    {
        "w": 7 * 86_400 * _SECOND,
        "d": 86_400 * _SECOND,
        "h": 3_600 * _SECOND,
        "m": 60 * _SECOND,
        "min": 60 * _SECOND,
        "s": _SECOND,
        "ms": 1_000_000,
        "us": 1_000,
        "µs": 1_000,
        "ns": 1,
    },
    ("60ms", "1h30m", "2d"),
    _duration_slips(),
)
RATE: Final = Family("rate", _rate_units(), ("10Mbit/s", "20MB/s", "100KiB/s"), _rate_slips())
FREQUENCY: Final = Family(
    "frequency",
    {
        "/s": 1,
        "/min": Fraction(1, 60),
        "/h": Fraction(1, 3_600),
        "/day": Fraction(1, 86_400),
    },
    ("4/s", "120/min", "86400/day"),
    {
        "/sec": ("/s",),
        "/second": ("/s",),
        "Hz": ("/s",),
        "ps": ("/s",),
        "/m": ("/min",),
        "/minute": ("/min",),
        "/hour": ("/h",),
        "/d": ("/day",),
    },
)
RATIO: Final = Family("ratio", {"%": Fraction(1, 100)}, ("30%", "0.01%"))

_PART: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,400})?) ?([^\s\d.,;]+)")
_BARE: Final = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,400})?")


def _shown(given: object) -> str:
    text = repr(given) if isinstance(given, str | float | bool) else ""
    if isinstance(given, int) and given.bit_length() < 200:
        text = str(given)
    return (text if len(text) <= 60 else text[:56] + "...'") or f"this {type(given).__name__}"


def _refuse(given: object, family: Family, problem: str, *right: str) -> UnitError:
    advice = " or ".join(right) if right else "for instance " + " or ".join(family.examples[:2])
    return UnitError(f"{_shown(given)} {problem}: write {advice}")


def _meant(unit: str, family: Family) -> list[str]:
    """The right units that a wrong one may stand for, best first."""
    for lettering in (unit, unit.lower()):
        if lettering in family.slips:
            return list(family.slips[lettering])
    same = [right for right in family.units if right.lower() == unit.lower()]
    return same or get_close_matches(unit, family.units, n=1, cutoff=0.6)


def _worth(given: str, number: str, unit: str, family: Family) -> Fraction:
    if unit in family.units:
        return Fraction(number) * family.units[unit]
    meant = _meant(unit, family)
    right = [f"{number}{each}" for each in meant[:2]]
    if len(right) == 2:
        raise _refuse(given, family, "is ambiguous", *right)
    raise _refuse(given, family, f"has the unknown unit {_shown(unit)}", *right)


def _single(given: object, family: Family) -> Fraction:
    """One number with one unit, in the family's smallest unit."""
    if not isinstance(given, str):
        if isinstance(given, int | float) and not isinstance(given, bool):
            raise _refuse(given, family, "has no unit")
        raise _refuse(given, family, f"is no {family.name}")
    text = given.strip()
    match = _PART.fullmatch(text)
    if match is None:
        if _BARE.fullmatch(text):
            raise _refuse(given, family, "has no unit")
        if text.startswith("-") and _PART.fullmatch(text[1:].lstrip()):
            raise _refuse(given, family, "is negative", text[1:].lstrip())
        raise _refuse(given, family, f"is no {family.name}")
    return _worth(given, match[1], match[2], family)


def _whole(given: object, value: Fraction, family: Family, smallest: str) -> int:
    if value.denominator != 1:
        raise _refuse(given, family, f"is no whole number of {smallest}")
    if value > LARGEST:
        raise _refuse(given, family, _too_large(family))
    return int(value)


def _too_large(family: Family) -> str:
    """Names the limit, in whole largest units."""
    unit, worth = max(family.units.items(), key=lambda item: item[1])
    return f"is too large, more than {int(LARGEST // worth)}{unit}"


def parse_size_bytes(given: object) -> int:
    """``"2GiB"`` -> 2147483648."""
    return _whole(given, _single(given, SIZE), SIZE, "bytes")


def parse_rate_bits_per_second(given: object) -> int:
    """``"10Mbit/s"`` -> 10000000; ``"1MB/s"`` -> 8000000."""
    return _whole(given, _single(given, RATE), RATE, "bits per second")


def parse_duration_ns(given: object) -> int:
    """``"1h30m"`` -> 5400000000000; parts go from large to small, each unit once."""
    if not isinstance(given, str) or len(_PART.findall(given)) < 2:
        return _whole(given, _single(given, DURATION), DURATION, "nanoseconds")
    parts = _PART.findall(given)
    if _PART.sub("", given).strip():
        raise _refuse(given, DURATION, "is no duration")
    worths = [_worth(given, number, unit, DURATION) for number, unit in parts]
    sizes = [DURATION.units[unit] for _, unit in parts]
    if any(first <= second for first, second in pairwise(sizes)):
        raise _refuse(given, DURATION, "has its units out of order or twice", "1h30m")
    return _whole(given, sum(worths, Fraction(0)), DURATION, "nanoseconds")


def parse_frequency_per_second(given: object) -> float:
    """``"120/min"`` -> 2.0."""
    value = _single(given, FREQUENCY)
    if value > LARGEST:
        raise _refuse(given, FREQUENCY, _too_large(FREQUENCY))
    return float(value)


def parse_ratio(given: object) -> float:
    """``"30%"``, ``"0.3"`` and the plain number 0.3 -> 0.3; from 0 to 1."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        if not 0 <= given <= 1:
            raise _refuse(given, RATIO, "is not between 0 and 1", *_as_percent(given))
        return float(given)
    if isinstance(given, str) and _BARE.fullmatch(given.strip()):
        value = Fraction(given.strip())
    else:
        value = _single(given, RATIO)
    if value > 1:
        meant = _as_percent(float(value)) if _BARE.fullmatch(str(given).strip()) else ()
        right = meant or ("a ratio from 0% to 100%",)
        raise _refuse(given, RATIO, "is more than the whole", *right)
    return float(value)


def _as_percent(given: float) -> tuple[str, ...]:
    """Both spellings of a number from 2 on that was written without its ``%``; else an example."""
    if not 2 <= given <= 100:
        return ("0.3", "30%")
    return (f"{given / 100:.6g}", f"{given:.6g}%")


def _plain(value: Decimal) -> str:
    """All digits, no exponent, no trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def spell_size(size_bytes: int) -> str:
    """The shortest exact text: 1048576 -> ``1MiB``, 1000000 -> ``1MB``."""
    exact = [
        f"{size_bytes // worth}{unit}"
        for unit, worth in (_bytes_units() if size_bytes else {"B": 1}).items()
        if unit != "KB" and size_bytes % worth == 0
    ]
    return min(exact, key=lambda text: (sum(map(str.isdigit, text)), "i" not in text))


def spell_duration(time_ns: int) -> str:
    """5400000000000 -> ``1h30m``; 7500000 -> ``7.5ms``."""
    text, rest_ns = "", time_ns
    for unit in ("d", "h", "m"):
        count, rest_ns = divmod(rest_ns, int(DURATION.units[unit]))
        text += f"{count}{unit}" if count else ""
    if rest_ns or not text:
        fitting = (u for u in ("s", "ms", "us", "ns") if rest_ns >= DURATION.units[u])
        unit = next(fitting, "s")
        text += _plain(Decimal(rest_ns) / Decimal(int(DURATION.units[unit]))) + unit
    return text


def spell_rate(bits_per_second: int) -> str:
    """1544000 -> ``1.544Mbit/s``."""
    fitting = (p for p in ("T", "G", "M", "k") if bits_per_second >= _DECIMAL[p])
    prefix = next(fitting, "")
    return f"{_plain(Decimal(bits_per_second) / _DECIMAL.get(prefix, 1))}{prefix}bit/s"


def spell_frequency(per_second: float) -> str:
    """2.0 -> ``2/s``; a rate that is whole only by the minute, hour or day is spelled so."""
    exact = Fraction(per_second)
    for unit, worth in FREQUENCY.units.items():
        count = round(exact / worth)
        if count and float(count * worth) == per_second:
            return f"{count}{unit}"
    return f"{_plain(Decimal(repr(per_second)))}/s"


def spell_ratio(ratio: float) -> str:
    """0.0001 -> ``0.01%``."""
    return f"{_plain(Decimal(repr(ratio)).scaleb(2))}%"


def _three_digits(value: float) -> str:
    for digits, below in ((2, 9.995), (1, 99.95)):
        if abs(value) < below:
            text = f"{value:.{digits}f}"
            return text.rstrip("0").rstrip(".")
    return f"{value:.0f}"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    if value < 0:
        return "-" + _scaled(-value, base, units)
    for unit in units[:-1]:
        if value < base - 0.5:
            return f"{_three_digits(value)} {unit}"
        value /= base
    return f"{_three_digits(value)} {units[-1]}"


def format_bytes(size_bytes: float) -> str:
    """``1.5 MiB``."""
    return _scaled(size_bytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def format_bits_per_second(bits_per_second: float) -> str:
    """``10 Mbit/s``."""
    return _scaled(bits_per_second, 1000, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"))


def format_seconds(seconds: float) -> str:
    """``350 us``, ``12.3 s``, ``1 m 30 s``, ``4 h 5 m``, ``2 d 3 h``: at most two units."""
    if seconds < 0:
        return "-" + format_seconds(-seconds)
    if seconds < 59.95:
        for unit, worth in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
            if seconds >= worth * 0.9995:
                return f"{_three_digits(seconds / worth)} {unit}"
        return f"{_three_digits(seconds * 1e9)} ns" if seconds else "0 s"
    steps: tuple[tuple[int, str, int, str], ...] = (
        (60, "m", 1, "s"),
        (3_600, "h", 60, "m"),
        (86_400, "d", 3_600, "h"),
    )
    for (worth, unit, small, small_unit), ceiling in zip(steps, (3_600, 86_400, None), strict=True):
        rounded = round(seconds / small) * small
        if ceiling is None or rounded < ceiling:
            count, rest = divmod(rounded, worth)
            return f"{count} {unit}" + (f" {rest // small} {small_unit}" if rest else "")
    raise AssertionError("the last step has no ceiling")


def format_ns(time_ns: int) -> str:
    """As :func:`format_seconds`."""
    return format_seconds(time_ns / NS_PER_SECOND)


PARSERS: Final[Mapping[str, Callable[[object], int | float]]] = {
    "size": parse_size_bytes,
    "duration": parse_duration_ns,
    "rate": parse_rate_bits_per_second,
    "frequency": parse_frequency_per_second,
    "ratio": parse_ratio,
}
"""The parser of each family, by its name."""
