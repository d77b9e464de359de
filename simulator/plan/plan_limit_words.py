"""What a plan says of its limits: while what it holds, what would make it hold, who else would."""

from __future__ import annotations

from typing import Final

from simulator.plan.plan_limits import LINE_RATE, VOLUMES
from simulator.plan.plan_objectives import holds, outcomes_of, still_holds
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_units import format_input, format_volume
from simulator.plan.planner import Plan
from simulator.plan.schedule_words import windows_words
from simulator.plan.waiting_volume import volume_name
from simulator.units import format_duration


def mending_sentences(plan: Plan) -> list[str]:
    """Of a plan that does not hold, what would make it hold, and which kinds would do."""
    return [_mending(plan), other_kinds(plan)]


def limit_sentences(plan: Plan) -> list[str]:
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
            if name == LINE_RATE:
                margin = _windows(plan, value)
            parts.append(_limit(name, value) + margin)
        if together is not None:
            parts.append(_together(plan, name, together, row["together_volume_bytes"]))
    if not parts or holds(outcomes_of(plan)):
        return ""
    return f"All of it would hold with one of these: {'; '.join(parts)}."


def _together(plan: Plan, name: str, value: float, size: float) -> str:
    advised = size * (1.0 + plan.organisation.protection.spool_margin)
    line = f"{_limit(name, value)}{_windows(plan, value)}"
    return (
        f"{line} together with a {volume_name(plan.protection)} >= "
        f"{format_volume(size)} ({format_volume(advised)} with the margin)"
    )


def _windows(plan: Plan, bits_per_second: float) -> str:
    """What a line has at the times of its schedule."""
    told = windows_words(plan.link, bits_per_second)
    return f", with {told}" if told else ""


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
    "messages_gb_per_day": ("messages", "<=", " a day"),
    "defragmentation_share": ("defragmentation", "<=", " a night"),
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
