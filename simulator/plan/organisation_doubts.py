"""What an organisation's file says in vain, or otherwise than its writer may think.

Entries of the schedule that the plan never meets, outages at dates that overlap, keys of mailboxes
beside files of the site, more drawn outages than a year holds, plans that take long.  A plan is
made all the same; whoever wrote it is told of it.  (Outages at dates that are not within the plan
are refused: :mod:`.organisation_checks`.)
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from replicator import units
from replicator.toml_errors import Remark
from replicator.toml_text import KeyPath, dotted
from simulator.plan.capacity import RateWindow, share_in_window
from simulator.plan.grid import HOUR_SECONDS, TimeGrid
from simulator.plan.horizon import long_plan_doubts
from simulator.plan.mail_change import usual_rewritten_share
from simulator.plan.plan_begin import begins_with_its_files
from simulator.scenario_keys import DAY_NS

if TYPE_CHECKING:
    from simulator.plan.organisation import Link, Organisation, RateEntry

_DAYS_LOOKED_AT: Final = 8.0
"""A week and what reaches into the next one: from there on the schedule comes again."""
MAILBOX_KEYS: Final = (
    "hours",
    "average_message_bytes",
    "mailbox_bytes",
    "coalesced",
    "rewritten",
    "rewritten_hours_ns",
)
"""Attributes of ``[change]`` that files of the site leave without effect."""
MOST_DOWN_SHARE: Final = 0.1
"""Of the year, in drawn outages; above it many begin before the one before is caught up [A]."""
P95_SIGMAS: Final = 1.6449
"""How many standard deviations 95 % of a normal distribution are below."""
_YEAR_HOURS: Final = 365.25 * 24
_LEAST_SHARE: Final = 1e-6
"""Of a step, below which an entry's part of it is rounding."""


def rate_windows(link: Link) -> tuple[RateWindow, ...]:
    """The schedule as a plan's line takes it."""
    return tuple(
        RateWindow(
            entry.from_time_of_day_ns / units.NS_PER_SECOND,
            entry.to_time_of_day_ns / units.NS_PER_SECOND,
            entry.bits_per_second,
            entry.days,
            entry.taken_bits_per_second,
        )
        for entry in link.schedule
    )


def doubts(organisation: Organisation) -> Iterator[Remark]:
    """A remark for all that has no effect, or hardly any."""
    yield from _schedule_doubts(organisation)
    yield from _overlaps(organisation)
    yield from _mailbox_keys(organisation)
    yield from _idle_hours(organisation)
    yield from _crowded_outages(organisation)
    yield from long_plan_doubts(organisation)


def _crowded_outages(organisation: Organisation) -> Iterator[Remark]:
    """Drawn outages that are down for much of the year: each is taken alone."""
    outages = organisation.outages
    sigma = math.log(outages.p95_ns / outages.median_ns) / P95_SIGMAS
    mean_ns = outages.median_ns * math.exp(sigma * sigma / 2.0)  # of a lognormal
    mean_hours = mean_ns / units.NS_PER_SECOND / HOUR_SECONDS
    share = outages.per_year * mean_hours / _YEAR_HOURS
    if share <= MOST_DOWN_SHARE:
        return
    yield Remark(
        (("outages", "per_year"), ("outages", "median"), ("outages", "p95")),
        f"{outages.per_year:,g} outages a year, {mean_hours:.3g} h long on average, fill "
        f"{100 * share:,.0f} % of it, but each is drawn alone, as if the one before were caught up",
        "Count what is one outage as one; a line that is down so often has a lower bandwidth.",
    )


def _idle_hours(organisation: Organisation) -> Iterator[Remark]:
    """Hours of a defragmentation that never has a pass."""
    change = organisation.change
    if change.rewritten_hours_ns is None or not organisation.mailboxes:
        return
    version = organisation.mailboxes[0].version
    share = usual_rewritten_share(version) if change.rewritten is None else change.rewritten
    if share <= 0:
        yield Remark(
            (("change", "defragmentation_hours"), ("change", "defragmentation")),
            f"no night's pass rewrites anything in Exchange {version} as it is planned: its hours "
            "have no effect",
            "Leave the hours out, or give change.defragmentation a share.",
        )


def _overlaps(organisation: Organisation) -> Iterator[Remark]:
    """Outages at dates that are one: the line is down only once."""
    events = organisation.outages.events
    order = sorted(range(len(events)), key=lambda index: events[index].at)
    last: int | None = None
    for index in order:
        event = events[index]
        begins = event.at
        if last is not None:
            before = events[last]
            ends = before.at + datetime.timedelta(microseconds=before.length_ns / 1_000)
            if begins < ends:
                yield Remark(
                    (
                        ("outages", "events", index, "at"),
                        ("outages", "events", last, "at"),
                    ),
                    f"this outage begins at {begins:%Y-%m-%d %H:%M}, before the one of "
                    f"{before.at:%Y-%m-%d %H:%M} ends ({ends:%Y-%m-%d %H:%M}): they count as one",
                    "Give one of them another date, or make one of both.",
                )
                own_end = begins + datetime.timedelta(microseconds=event.length_ns / 1_000)
                if own_end <= ends:
                    continue
        last = index


def _mailbox_keys(organisation: Organisation) -> Iterator[Remark]:
    """Keys that say something of mailboxes, where there are files of the site."""
    change = organisation.change
    if not change.files:
        return
    for attribute in MAILBOX_KEYS:
        if attribute in change.model_fields_set:
            name = type(change).model_fields[attribute].alias or attribute
            yield Remark(
                (("change", name), ("change", "files")),
                f"{name} is about mailboxes: for files of the site it has no effect",
                f"Leave {name} out; what the files count has it in it, or nothing tells it.",
            )


def _schedule_doubts(organisation: Organisation) -> Iterator[Remark]:
    """A remark for each entry of the schedule that has no effect."""
    schedule = organisation.link.schedule
    shares = effective_shares(organisation)
    for index, (meets, applies) in enumerate(shares):
        place: KeyPath = ("link", "schedule", index)
        if not meets:
            days = units.spell_duration(organisation.horizon_ns)
            yield Remark(
                ((*place, "days"), ("begins",), ("horizon",)),
                f"the plan never meets this entry: it has {days} from {organisation.begins} on",
                "Give it other days, or the plan another begin or a longer horizon.",
            )
        elif not applies:
            before = [each for each in range(index) if shares[each][1]]
            names = ", ".join(dotted(("link", "schedule", each)) for each in before)
            key, same = _given(schedule[index])
            yield Remark(
                (
                    (*place, key),
                    *(("link", "schedule", each, _given(schedule[each])[0]) for each in before),
                ),
                f"entries before this one ({names}) hold whenever it does: its "
                f"{units.format_bits_per_second(same)} never count",
                "The first entry that fits counts: put it before them, or take it out.",
            )
        elif (schedule[index].taken_bits_per_second or 0) >= organisation.link.bits_per_second:
            line = units.format_bits_per_second(organisation.link.bits_per_second)
            yield Remark(
                ((*place, "taken"), ("link", "bandwidth")),
                f"others take all of the line then: of its {line} nothing is left",
                "Give less as taken, or the line more bandwidth; a line that is down at a date is "
                "an outage (outages.events).",
            )


def _given(entry: RateEntry) -> tuple[str, float]:
    """Which of its two keys an entry has, and its value."""
    if entry.bits_per_second is not None:
        return "bandwidth", entry.bits_per_second
    return "taken", entry.taken_bits_per_second or 0


def effective_shares(organisation: Organisation) -> list[tuple[bool, bool]]:
    """For each entry of the schedule: whether it is met within the plan, and whether it counts
    then, or others before it do; of a plan that begins with its files the whole week is looked
    at."""
    known = not begins_with_its_files(organisation)
    grid = TimeGrid.of_days(
        min(organisation.horizon_ns / DAY_NS, _DAYS_LOOKED_AT) if known else _DAYS_LOOKED_AT,
        organisation.begins_at,
    )
    free = np.ones(grid.steps)
    found = []
    for window in rate_windows(organisation.link):
        share = share_in_window(grid, window)
        found.append((bool(share.max() > 0), bool((share * free).max() > _LEAST_SHARE)))
        free = free * (1.0 - share)
    return found
