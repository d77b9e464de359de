"""The schedule of a line in words: what it has at each of its times, on a line of any rate.

A line rate is named as it is outside of the schedule.  What that is at the times of the schedule
depends on the sort of their entries: a rate of their own moves in proportion to the line's, and
what others take of it stays the same.  So whoever reads of a line that is needed is told what it
has then, and whoever reads of many lines is told the rule.

Up to :data:`MOST_NAMED` times of a sort are named; of more the least and the largest figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from simulator.plan.capacity import EVERY_DAY, PlannedLink, RateWindow
from simulator.plan.grid import DAY_SECONDS
from simulator.plan.organisation_keys import WEEKDAYS
from simulator.plan.plan_units import format_clock, format_line, format_share

MOST_NAMED: Final = 3
"""Times of one sort that are told one by one."""


def windows_words(link: PlannedLink, bits_per_second: float) -> str:
    """What a line of a rate has at the times of its schedule; empty for one without.

    ``8 Mbit/s Mon-Fri 07:00-19:00 (in proportion)``, ``46 Mbit/s Mon-Fri 07:00-19:00 (12 Mbit/s
    are taken)``.

    Raises ValueError for a rate that is not positive.
    """
    if not link.windows:
        return ""
    line = link.at_rate(bits_per_second)
    own, taken = _by_sort(line)

    def rate(window: RateWindow) -> float:
        return window.rate_on(line.bits_per_second)

    parts = [f"{told} (in proportion)" for told in _told(own, rate, format_line)]
    if len(taken) <= MOST_NAMED:
        parts += [
            f"{format_line(rate(each))} {window_name(each)} ({format_line(_taken(each))} are taken)"
            for each in taken
        ]
    else:
        parts += [f"{told} (the rest is taken)" for told in _told(taken, rate, format_line)]
    return " and ".join(parts)


def line_of(link: PlannedLink, bits_per_second: float) -> str:
    """A line of a rate, with what it has at the times of its schedule: ``145 Mbit/s, with 58 Mbit/s
    Mon-Fri 07:00-19:00 (in proportion)``."""
    told = windows_words(link, bits_per_second)
    return f"{format_line(bits_per_second)}, with {told}" if told else format_line(bits_per_second)


def schedule_sentence(link: PlannedLink) -> str:
    """What any line rate is at the times of the schedule; empty for a line without one."""
    own, taken = _by_sort(link)

    def share(window: RateWindow) -> float:
        return window.rate_on(link.bits_per_second) / link.bits_per_second

    parts = _told(own, share, format_share, " of it") + _told(taken, _taken, format_line, " less")
    return f"Wherever a line rate is named, the line has {' and '.join(parts)}." if parts else ""


def window_name(window: RateWindow) -> str:
    """When a window holds: ``Mon-Fri 07:00-19:00``, ``daily 22:00-06:00``, ``Sat, Sun all day``."""
    length = (window.until_seconds - window.from_seconds) % DAY_SECONDS
    hours = "all day"
    if length or window.from_seconds % DAY_SECONDS:
        hours = f"{format_clock(window.from_seconds)}-{_end(window)}"
    return f"{_days(window.days)} {hours}"


def _end(window: RateWindow) -> str:
    whole = window.until_seconds and not window.until_seconds % DAY_SECONDS
    return "24:00" if whole else format_clock(window.until_seconds)


def _days(days: Sequence[int]) -> str:
    if tuple(sorted(days)) == EVERY_DAY:
        return "daily"
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    names = (
        f"{WEEKDAYS[run[0]]}-{WEEKDAYS[run[-1]]}"
        if len(run) > 2
        else ", ".join(WEEKDAYS[day] for day in run)
        for run in runs
    )
    return ", ".join(names)


def _by_sort(link: PlannedLink) -> tuple[list[RateWindow], list[RateWindow]]:
    """Windows with a rate of their own, and those of which something is taken."""
    own = [each for each in link.windows if each.taken_bits_per_second is None]
    return own, [each for each in link.windows if each.taken_bits_per_second is not None]


def _taken(window: RateWindow) -> float:
    return window.taken_bits_per_second or 0.0


def _told(
    windows: Sequence[RateWindow],
    value: Callable[[RateWindow], float],
    spelled: Callable[[float], str],
    what: str = "",
) -> list[str]:
    """A figure of each window with its time, ``what`` behind it; of many, between what."""
    if len(windows) <= MOST_NAMED:
        return [f"{spelled(value(each))}{what} {window_name(each)}" for each in windows]
    least, most = (spelled(pick(map(value, windows))) for pick in (min, max))
    between = least if least == most else f"{least} to {most}"
    return [f"{between}{what} at {len(windows)} times of the week"]
