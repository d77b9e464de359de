"""What a plan says of its line: the RPO that it gives, the line that the RPO needs, its streams.

An RPO is a share of the time: what the lag does not exceed for so much of it.  Wherever such a
figure is told, its share is, and beside it the largest lag; "at most" is said of that one alone.
Outages at dates are in both, other outages in neither, and that is said too.
"""

from __future__ import annotations

from typing import Final

from simulator.plan.link_use import stream_bound, stream_use
from simulator.plan.organisation_curves import NS
from simulator.plan.plan_units import format_line, format_share
from simulator.plan.planner import Plan
from simulator.plan.schedule_words import line_of, schedule_sentence
from simulator.units import count_of, format_duration

ALL_OF_IT: Final = 0.995
"""Of what a line has room for: from there on it is used."""
LEAST_LAG_SECONDS: Final = 1.0
"""Of what is told of a lag; figures are those of steps of a minute and more."""
_SAME_SHARE: Final = 1e-9


def line_sentences(plan: Plan) -> list[str]:
    """The RPO that the line gives, the line that the RPO needs, and what the streams use of it."""
    return [_given(plan), *_needed(plan), *stream_sentences(plan), schedule_sentence(plan.link)]


def of_the_time(plan: Plan) -> str:
    """The share of the time of the objective: ``for 95 % of the time``; empty for all of it."""
    share = plan.organisation.objectives.rpo_share
    return "" if share >= 1 - _SAME_SHARE else f"for {format_share(share)} of the time"


def outages_counted(plan: Plan) -> str:
    """Which outages the lags of a plan have in them: ``without outages``, ``with the 3 outages at
    dates``."""
    number = len(plan.organisation.outages.events)
    if not number:
        return "without outages"
    return "with the outage at a date" if number == 1 else f"with the {number:,} outages at dates"


def largest_lag_words(plan: Plan) -> str:
    """The largest lag of the plan: ``6 min 14 s at most``."""
    return f"{format_duration(shown_lag(plan.course.lag_at(1.0)))} at most"


def shown_lag(lag_seconds: float) -> float:
    """A lag as sentences have it: below a second nothing is known of one, so none is told as 0."""
    return max(lag_seconds, LEAST_LAG_SECONDS)


def _given(plan: Plan) -> str:
    """The RPO that the line gives."""
    objectives = plan.organisation.objectives
    wanted, share = format_duration(objectives.rpo_ns / NS), of_the_time(plan)
    if not plan.use.catches_up:
        asked = f"{wanted} {share}".rstrip()
        return f"No RPO can be kept on this line (wanted: {asked})."
    lag = plan.course.lag_at(objectives.rpo_share)
    verdict = "keeps" if lag <= objectives.rpo_ns / NS else "misses"
    age = f"{largest_lag_words(plan)} (wanted: {wanted})"
    if share:
        old = format_duration(shown_lag(lag))
        age = f"{old} old or less {share} (wanted: {wanted}), and {largest_lag_words(plan)}"
    return f"The line {verdict} the RPO: the copy is {age}, {outages_counted(plan)}."


def _needed(plan: Plan) -> list[str]:
    """The line that the RPO needs; that one with less is not advised."""
    share, planned = plan.organisation.objectives.rpo_share, plan.link.bits_per_second
    for row in plan.rates.itertuples():
        if abs(float(row.share_of_time) - share) > _SAME_SHARE:
            continue
        if row.bits_per_second is None:
            return [f"No line rate keeps it: {row.reason}."]
        rate = float(row.bits_per_second)
        dated = ", outages at dates included" if plan.organisation.outages.events else ""
        told = f"That RPO alone needs a line of at least {line_of(plan.link, rate)}{dated}."
        return [told, less_is_not_advised(plan)] if rate < planned else [told]
    return []


def less_is_not_advised(plan: Plan) -> str:
    """What a plan with a faster line than its RPO needs rests on."""
    return (
        "It is no advice to have less: volumes and times here are those of the planned "
        f"{format_line(plan.link.bits_per_second)}."
    )


def stream_sentences(plan: Plan) -> list[str]:
    """How much of the line the streams use, and how many would use all of it."""
    link, use = plan.link, stream_use(plan.link, plan.protection, plan.change)
    room = use.room_bits_per_second
    streams = count_of(link.streams, "TCP stream")
    verb = "uses" if link.streams == 1 else "use"
    told = []
    if use.streams_bits_per_second >= ALL_OF_IT * room:
        told.append(
            f"{streams} {verb} all of the {format_line(room)} of data that the line has room for."
        )
    else:
        told.append(
            f"{streams} {verb} {format_line(use.streams_bits_per_second)} of the "
            f"{format_line(room)} of data that the line has room for, bounded by "
            f"{stream_bound(link)}: {use.streams_to_fill:,} would use all of it (link.streams)."
        )
    if use.usable_bits_per_second < ALL_OF_IT * min(room, use.streams_bits_per_second):
        told.append(
            f"Of that, {plan.protection.name} uses {format_line(use.usable_bits_per_second)}: each "
            "log waits for the round trips of its pieces (protection.log_piece)."
        )
    return told
