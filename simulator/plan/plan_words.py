"""The plan's answer in sentences: what to buy, what it does, what breaks first.

Written for whoever signs the order.  Every figure is one of the plan's frames, and spelled as the
tables spell it (:mod:`simulator.report.plan_units`); nothing is computed here but what is the
largest or the earliest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.plan.copy_begins import begin_sentences
from simulator.plan.organisation_curves import NS
from simulator.plan.plan_dependence import dependences_of
from simulator.plan.plan_inputs import LINE
from simulator.plan.plan_limits import VOLUMES
from simulator.plan.plan_objectives import holds, outcomes_of, still_holds
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_spool_words import WAYS, shortest_lasting, spool_sentences
from simulator.plan.planner import Plan
from simulator.plan.waiting_volume import volume_name
from simulator.report.plan_units import (
    FORMATS,
    OUTPUTS,
    format_hour,
    format_input,
    format_line,
    format_volume,
    input_name,
)
from simulator.report.units import format_duration

_DAY_HOURS: Final = range(8, 18)
LITTLE_DATA_SHARE: Final = 0.25
"""Of the plan: from less data than this it is said of how little the plan was made; a week is
enough for four [A]."""


@dataclass(frozen=True)
class Break:
    """Something that gives way.

    Attributes
    ----------
    what: in words.
    after_seconds: from the begin of an outage at the worst time; 0 for what does not hold at all.
    """

    what: str
    after_seconds: float


def breaks_of(plan: Plan) -> list[Break]:
    """What gives way in an outage, the earliest first; what never does is not in it, nor a volume
    that nobody has given."""
    found = []
    if not plan.use.catches_up:
        found.append(Break("the line", 0.0))
    shortest = shortest_lasting(plan.lasts)
    shipped = plan.protection.name == "log shipping"
    if shortest is not None and plan.spool_is_given:
        hour, seconds = shortest
        size = format_volume(plan.spool_volume_bytes)
        name = "log volume" if shipped else "spool"
        found.append(Break(f"the {name} of {size} (from {format_hour(hour)})", seconds))
    volume = plan.log_volume
    given = plan.organisation.protection.log_volume_bytes is not None
    if given and volume.shortest_days is not None and not (shipped and plan.spool_is_given):
        found.append(
            Break(
                f"the log volume of {format_volume(volume.free_bytes)} (if logs are not "
                "truncated meanwhile)",
                volume.shortest_days * 86_400,
            )
        )
    return sorted(found, key=lambda each: each.after_seconds)


def answer_of(plan: Plan) -> list[str]:
    """The answer, the most important sentence first."""
    sentences = [
        *spool_sentences(plan),
        other_kinds(plan),
        _written(plan),
        _depending(plan),
        _measured(plan),
        *_returning(plan),
        _breaking(plan),
        *_bandwidth(plan),
    ]
    sentences += [_recovering(plan), *_copying(plan), *begin_sentences(plan)]
    sentences += [*_holding(plan), _mending(plan)]
    return [sentence for sentence in sentences if sentence]


def _written(plan: Plan) -> str:
    """What was taken to be written."""
    change = plan.change
    total, logs = change.written_bytes_per_day, change.log_bytes_per_day
    told = (
        f"This is for {format_volume(total)} written a day on average, {format_volume(logs)} of "
        f"them logs and {format_volume(total - logs)} pages of the databases"
    )
    if plan.protection.name == "object level":
        messages = float(change.message_bytes.sum()) / change.days
        told += f"; what is copied are {format_volume(messages)} of messages"
    return f"{told}."


_FIGURES: Final = {
    "spool_bytes": "the {volume} that the planned outage needs",
    "rpo_seconds": "the RPO",
    LINE: "the line that the RPO needs",
}


def _depending(plan: Plan) -> str:
    """The assumptions that should be measured first."""
    told: list[str] = []
    keys: list[str] = []
    for found in dependences_of(plan):
        figure = _FIGURES[found.output].format(volume=volume_name(plan.protection))
        unit = OUTPUTS[found.output][1]
        never = "no line keeps it" if found.output == LINE else "the line never catches up"
        ends = []
        for value, there in ((found.low, found.at_low), (found.high, found.at_high)):
            at = never if there is None else f"it is {FORMATS[unit](there)}"
            ends.append(f"at {format_input(found.input, value)} {at}")
        between = ", ".join(ends)
        if found.key in keys:
            told.insert(-1, f"{figure[0].upper()}{figure[1:]} moves with it: {between}.")
            continue
        keys.append(found.key)
        told += [
            f"Of what is assumed, {figure} depends most on the {input_name(found.input)} "
            f"({format_input(found.input, found.assumed)} {found.mark}): {between}.",
            f"Measure it, and give it as {found.key}.",
        ]
    return " ".join(told)


def _measured(plan: Plan) -> str:
    """Of how little the plan was made, where that is much less than the plan."""
    known, span = plan.change.measured_seconds, plan.change.grid.span_seconds
    if known is None or (known >= LITTLE_DATA_SHARE * span and known >= 86_400):
        return ""
    advice = ": measure a week at least" if known < 7 * 86_400 else ""
    if known < 86_400:
        advice += ", for the hours that were not measured are not in it"
    made_of, lasts = format_duration(known), format_duration(span)
    return f"All of this is planned from {made_of} of data, for {lasts}{advice}."


def _returning(plan: Plan) -> list[str]:
    """Lag at the return of the link, and the time to catch up, by day and by night."""
    table = plan.returns
    if table.empty or not plan.use.catches_up:
        return []
    length = plan.organisation.outages.planned_ns / NS
    back = (table["hour"] + length / 3_600) % 24
    by_day = back.map(lambda hour: int(hour) in _DAY_HOURS)
    told = [
        f"When the line is back after {format_duration(length)}, the copy lags "
        f"{format_duration(float(table['lag_at_return_seconds'].max()))} at worst."
    ]
    parts = []
    for when, chosen in (("by day", table[by_day]), ("by night", table[~by_day])):
        if chosen.empty:
            continue
        times = chosen["catch_up_seconds"]
        if any(each is None or not np.isfinite(each) for each in times):
            parts.append(f"back {when} it does not catch up within the plan")
        else:
            parts.append(
                f"back {when} it catches up in {format_duration(float(times.astype(float).max()))}"
            )
    joined = "; ".join(parts)
    return [*told, f"{joined[0].upper()}{joined[1:]}."]


def _breaking(plan: Plan) -> str:
    found = breaks_of(plan)
    if not found:
        volume = plan.log_volume
        if volume.shortest_days is None:
            return ""
        return (
            "With the volumes advised, the first to break in an outage is the log volume, where "
            "logs are not truncated meanwhile: of three days of the mean, as the rule has it "
            f"({format_volume(volume.free_bytes)}) it is full after "
            f"{format_duration(volume.shortest_days * 86_400)}."
        )
    first = found[0]
    if first.after_seconds == 0:
        return f"The first to break is {first.what}: it does not hold even without an outage."
    told = f"In an outage the first to break is {first.what}, after "
    told += format_duration(first.after_seconds)
    rest = [f"{each.what} after {format_duration(each.after_seconds)}" for each in found[1:]]
    return f"{told}; then {', '.join(rest)}." if rest else f"{told}."


def _bandwidth(plan: Plan) -> list[str]:
    objectives = plan.organisation.objectives
    rpo, share = objectives.rpo_ns / NS, objectives.rpo_share
    lag = plan.course.lag_at(share) if plan.use.catches_up else None
    wanted = f"{format_duration(rpo)} for {100 * share:g} % of the time"
    if lag is not None and lag <= rpo:
        told = [
            f"The line keeps the copy within {format_duration(max(lag, 1.0))} (wanted: {wanted})."
        ]
    elif lag is not None:
        old = format_duration(lag)
        told = [f"The line misses the RPO: the copy is up to {old} old (wanted: {wanted})."]
    else:
        told = [f"No RPO can be kept on this line (wanted: {wanted})."]
    for row in plan.rates.itertuples():
        if abs(float(row.share_of_time) - share) > 1e-9:
            continue
        if row.bits_per_second is None:
            told.append(f"No line rate keeps it: {row.reason}.")
        else:
            rate = format_line(float(row.bits_per_second))
            dated = ", outages at dates included" if plan.organisation.outages.events else ""
            told.append(f"That RPO alone needs a line of at least {rate}{dated}.")
    if plan.link.windows:
        told.append(
            "Wherever a line rate is named, the rates of its schedule are in proportion to it."
        )
    return told


def _recovering(plan: Plan) -> str:
    row = plan.recovery.iloc[0]
    objective = plan.organisation.objectives.rto_ns / NS
    if row["total_seconds"] is None:
        return f"How long a recovery takes is not known: {row['reason']}."
    total = float(row["total_seconds"])
    verdict = "keeps" if total <= objective else "misses"
    return (
        f"After the loss of the source users work again in {format_duration(total)}, which "
        f"{verdict} the RTO of {format_duration(objective)}."
    )


def _copying(plan: Plan) -> list[str]:
    if plan.first_copy.empty:
        return []
    way = plan.organisation.first_copy.by
    row = plan.first_copy.set_index("way").loc[way]
    name = WAYS[way]
    took = row["converges_after_seconds"]
    if took is None or not np.isfinite(float(took)):
        return [f"The first copy {name} never converges: {row['reason']}."]
    lasts = format_duration(float(took))
    return [f"The first copy {name} takes {lasts}, changes of the meantime included."]


def _holding(plan: Plan) -> list[str]:
    """While what the plan holds, or what it meets of its objectives."""
    parts = []
    for row in plan.validity.itertuples():
        held, breaks = row.holds_until, row.breaks
        if held is None:
            held, breaks = row.others_until, row.others_break
        if held is None or not breaks:
            continue
        parts.append(_limit(str(row.input), float(held)))
    subject = still_holds(plan)
    return [f"{subject} while {', '.join(parts)}."] if parts and subject else []


def _mending(plan: Plan) -> str:
    """Of a plan that does not hold, at which value of an input it would."""
    parts = []
    for row in frame_rows(plan.validity):
        name, value, together = row["input"], row["would_hold_at"], row["together_at"]
        if value is not None:
            margin = ""
            if name in VOLUMES.values():
                advised = value * (1.0 + plan.organisation.protection.spool_margin)
                margin = f" ({format_volume(advised)} with the margin)"
            parts.append(_limit(name, value) + margin)
        if together is not None:
            parts.append(_together(plan, name, together, row["together_volume_bytes"]))
    if not parts or holds(outcomes_of(plan)):
        return ""
    return f"All of it would hold with one of these: {'; '.join(parts)}."


def _together(plan: Plan, name: str, value: float, size: float) -> str:
    advised = size * (1.0 + plan.organisation.protection.spool_margin)
    return (
        f"{_limit(name, value)} together with a {volume_name(plan.protection)} >= "
        f"{format_volume(size)} ({format_volume(advised)} with the margin)"
    )


def other_kinds(plan: Plan) -> str:
    """Of a plan that does not hold, the kinds that meet all objectives on its line."""
    outcomes = outcomes_of(plan)
    if holds(outcomes):
        return ""
    share = plan.organisation.objectives.rpo_share
    found = []
    for row in plan.kinds.itertuples():
        if row.missed or row.kind == plan.protection.name:
            continue
        lag = plan.courses[str(row.kind)].lag_at(share)
        spool, copy = (float(each or 0.0) for each in (row.spool_bytes, row.first_copy_spool_bytes))
        needs = ""
        if spool or copy:
            name = volume_name(plan.protections[str(row.kind)])
            reason = " for the first copy" if copy > spool else ""
            needs = f", {name} {format_volume(max(spool, copy))}{reason}"
        found.append((lag, str(row.kind), float(row.rto_seconds), needs))
    if not found:
        return "No other kind of protection meets all objectives on this line."
    told = [
        f"{kind} (RPO {format_duration(lag)} for {100 * share:g} % of the time, RTO "
        f"{format_duration(rto)}{needs})"
        for lag, kind, rto, needs in sorted(found)
    ]
    verb = "meets" if len(found) == 1 else "meet"
    return f"On this line {' and '.join(told)} {verb} all objectives."


_LIMITS: Final = {
    "change_gb_per_day": ("change", "<=", " a day"),
    "logs_gb_per_day": ("logs", "<=", " a day"),
    "link.loss": ("loss", "<=", ""),
    "link.rtt_seconds": ("round trip", "<=", ""),
    "link.bits_per_second": ("line", ">=", ""),
    "link.streams": ("TCP streams", ">=", ""),
    "outage_hours": ("outages", "<=", ""),
    VOLUMES["spool"]: ("spool", ">=", ""),
    VOLUMES["log volume"]: ("log volume", ">=", ""),
}


def _limit(name: str, value: float) -> str:
    """``change <= 203 GB a day``."""
    short, sign, per = _LIMITS[name]
    return f"{short} {sign} {format_input(name, value)}{per}"
