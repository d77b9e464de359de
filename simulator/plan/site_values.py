"""Numbers and dates of another country: read as they were meant, or refused.

Theory
------
``1.234`` is one and a bit, or one thousand two hundred; ``03/04/2026`` is in March or in April.
No single value tells, but a file is written by one program, so all of its values follow one rule.
Evidence is gathered from the whole file first: ``0.5`` can only have a decimal point, ``25/04`` can
only begin with the day.  What points both ways, or nowhere, is refused with the option to give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from simulator.plan.site_options import DayOrder, DecimalMark
from simulator.plan.site_text import refuse

_BLANKS: Final = re.compile(r"[\s\u00a0\u202f']+")
_NUMBER: Final = re.compile(r"[+-]?(\d[\d.,]*|[.,]\d+)([eE][+-]?\d{1,4})?")
_GROUPS: Final = re.compile(r"\d{1,3}([.,])\d{3}(?:\1\d{3})*")
_INTEGER_DIGITS: Final = 18

_DATE: Final = re.compile(
    r"(?<![\d.])(\d{1,4})([-/.])(\d{1,2})\2(\d{4}|\d{1,2})[T,\s]\s*"
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
    r"(?:\s?([AaPp])\.?(?:[Mm]\.?)?(?![A-Za-z]))?(\s?Z(?![A-Za-z])|\s?[+-]\d{2}:?\d{2})?"
)


class NumberEvidence:
    """What the values of a file say about their decimal mark."""

    def __init__(self) -> None:
        self._certain: dict[str, tuple[int, str]] = {}
        self._open: tuple[int, str] | None = None

    def note(self, value: str, line: int) -> None:
        """Take one value into account; what is no number says nothing."""
        if "." not in value and "," not in value:
            return
        for mark, other in ((".", ","), (",", ".")):
            if mark in self._certain and other not in value and value.count(mark) == 1:
                return  # it says nothing new
        text = _BLANKS.sub("", value)
        found = _NUMBER.fullmatch(text)
        if found is None:
            return
        digits, exponent = found[1], found[2]
        dot, comma = digits.rfind("."), digits.rfind(",")
        if dot < 0 and comma < 0:
            return
        last = "." if dot > comma else ","
        if digits.count(last) > 1:
            mark = "," if last == "." else "."  # what stands more than once parts thousands
        elif min(dot, comma) >= 0:
            mark = last
        elif exponent is None and _GROUPS.fullmatch(digits) and not digits.startswith("0"):
            self._open = self._open or (line, value)
            return
        else:
            mark = last
        self._certain.setdefault(mark, (line, value.strip()[:40]))

    def mark(self, option: DecimalMark, path: str) -> Literal[".", ","]:
        """The decimal mark; raises BadInput when values contradict each other or say nothing."""
        if option != "auto":
            return option
        if len(self._certain) == 2:
            (line, dotted), (other, comma) = self._certain["."], self._certain[","]
            refuse(
                path,
                f"{dotted!r} has a decimal point, but {comma!r} in line {other} a decimal comma",
                "Export the file anew in one go, or say which it is: decimal_mark.",
                line,
            )
        if "." in self._certain:
            return "."
        if "," in self._certain:
            return ","
        if self._open is not None:
            line, value = self._open
            refuse(
                path,
                f"{value.strip()[:40]!r} may be a fraction or thousands, and no other value tells",
                "Say which mark parts the fraction (decimal_mark), or export with relog -f CSV.",
                line,
            )
        return "."


def number(text: str, mark: str) -> float | None:
    """A value, given the decimal mark of its file; None for what is no number."""
    try:
        return (
            float(text)
            if mark == "." and "," not in text and "_" not in text
            else _slow(text, mark)
        )
    except ValueError:
        return _slow(text, mark)


def _slow(text: str, mark: str) -> float | None:
    text = _BLANKS.sub("", text)
    if not _NUMBER.fullmatch(text):
        return None
    text = text.replace("," if mark == "." else ".", "").replace(mark, ".")
    try:
        return float(text)
    except ValueError:
        return None


def whole_number(text: str) -> int | None:
    """A count of bytes, thousands parted as anywhere in the world; None for anything else."""
    text = _BLANKS.sub("", text)
    if not text.isascii():
        return None
    if _GROUPS.fullmatch(text):
        text = text.replace(".", "").replace(",", "")
    return int(text) if text.isdigit() and len(text) <= _INTEGER_DIGITS else None


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """A date and time as written, the order of day and month still open.

    Attributes
    ----------
    first, second, third: the numbers of the date, from the left.
    mark: what parts them.
    clock: hours, minutes, seconds, microseconds.
    utc: whether a ``Z`` follows.
    span: where it stands in the line.
    """

    first: int
    second: int
    third: int
    mark: str
    clock: tuple[int, int, int, int]
    utc: bool
    span: tuple[int, int]

    @property
    def year_first(self) -> bool:
        return self.first > 31

    @property
    def open(self) -> bool:
        """Whether the order of day and month is not plain by itself."""
        return not self.year_first and self.mark != "."

    def key(self, day_first: bool) -> tuple[int, ...]:
        """To be compared with others, whether the date exists or not."""
        if self.year_first:
            return (self.first, self.second, self.third, *self.clock)
        if day_first or self.mark == ".":
            return (self.third, self.second, self.first, *self.clock)
        return (self.third, self.first, self.second, *self.clock)

    def moment(self, day_first: bool) -> datetime | None:
        """The time; None when there is no such date."""
        year, month, day, hour, minute, second, micro = self.key(day_first)
        if year < 100:
            year += 2000 if year < 80 else 1900
        try:
            return datetime(year, month, day, hour, minute, second, micro)
        except ValueError:
            return None


def find_date(text: str) -> WrittenDate | None:
    """The first date with a time in a text."""
    found = _DATE.search(text)
    if found is None:
        return None
    hour = int(found[5])
    if found[9]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found[9] in "pP" else 0)
    clock = (
        hour,
        int(found[6]),
        int(found[7] or 0),
        int((found[8] or "0").ljust(6, "0")[:6]),
    )
    zone = (found[10] or "").strip()
    return WrittenDate(
        int(found[1]), int(found[3]), int(found[4]), found[2], clock, zone == "Z", found.span()
    )


class DateEvidence:
    """What the dates of a file say about the order of day and month.

    Arguments
    ---------
    ordered: whether times of the file may be expected to grow from line to line.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._day_first: int | None = None
        self._month_first: int | None = None
        self._open: tuple[int, str] | None = None
        self._falls = [0, 0]
        self._last: list[tuple[int, ...] | None] = [None, None]

    def note(self, date: WrittenDate, line: int) -> None:
        """Take one date into account."""
        if not date.open:
            return
        if date.first > 12:
            self._day_first = self._day_first or line
        elif date.second > 12:
            self._month_first = self._month_first or line
        elif date.first != date.second and self._open is None:
            self._open = (
                line,
                f"{date.first:02}{date.mark}{date.second:02}{date.mark}{date.third}",
            )
        for day_first in (False, True):
            key, last = date.key(day_first)[:3], self._last[day_first]
            self._falls[day_first] += last is not None and key < last
            self._last[day_first] = key

    def day_first(self, option: DayOrder, path: str, default: bool | None = None) -> bool:
        """Whether the day stands before the month.

        Arguments
        ---------
        option: what the planner said.
        default: where the file says nothing by itself; None refuses such a file.

        Raises BadInput when dates contradict each other or say nothing.
        """
        if option != "auto":
            return option == "day first"
        if self._day_first is not None and self._month_first is not None:
            refuse(
                path,
                f"the date has no such month, but that in line {self._month_first} has the month "
                "first",
                "The file was put together from two: give one at a time.",
                self._day_first,
            )
        if self._day_first is not None or self._month_first is not None:
            return self._day_first is not None
        falls_month, falls_day = self._falls
        if self._open is None or (self._ordered and not falls_month and falls_day):
            return False
        if self._ordered and not falls_day and falls_month:
            return True
        if default is not None:
            return default
        line, date = self._open
        refuse(
            path,
            f"in {date} either number may be the month, and no other date of the file tells",
            'Say which comes first (day_order="day first" or "month first"), or write the times '
            "as 2026-11-25 10:00:00.",
            line,
        )
