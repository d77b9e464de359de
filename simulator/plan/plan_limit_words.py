"""What a plan says of its limits: while what it holds, what would make it hold, who else would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulator.plan.answers import size_to_buy
from simulator.plan.grid import HOUR_SECONDS
from simulator.plan.plan_limits import LINE_RATE, OUTAGE, STREAMS, VOLUMES
from simulator.plan.plan_line_words import shown_lag
from simulator.plan.plan_objectives import holds, outcomes_of, still_holds
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_units import format_input, format_share, format_volume
from simulator.plan.planner import Plan, longest_lasting
from simulator.plan.schedule_words import windows_words
from simulator.plan.waiting_volume import advised_volume_bytes, volume_name
from simulator.units import format_duration

SAME_SHARE: Final = 0.02
"""Times that differ by less are one: limits are found to a part of this, and spelled in hours."""
_BOUGHT: Final = frozenset({LINE_RATE, STREAMS, *VOLUMES.values()})
"""What can be bought; what is written, lost or far away nobody changes by an order."""


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
    if not parts or not subject:
        return []
    if plan.spools and not plan.spool_is_given and not plan.no_size:
        name, size = volume_name(plan.protection), format_volume(plan.spool_volume_bytes)
        subject = f"With the {name} of {size}, as advised, {subject[0].lower()}{subject[1:]}"
    return [f"{subject} while {', '.join(parts)}.", *_filled_later(plan)]


def _filled_later(plan: Plan) -> list[str]:
    """Where the longest outage is shorter than the volume lasts, why that is so."""
    lasts, name = longest_lasting(plan), volume_name(plan.protection)
    for row in frame_rows(plan.validity):
        held, breaks = row["holds_until"], str(row["breaks"])
        if held is None:
            held, breaks = row["others_until"], str(row["others_break"])
        if row["input"] != OUTAGE or held is None or lasts is None:
            continue
        until = float(held) * HOUR_SECONDS
        if until >= (1.0 - SAME_SHARE) * lasts:
            return []
        if breaks.startswith(f"{name}:"):
            return [
                f"An outage longer than {format_duration(until)} fills the {name} after the line "
                "is back, while it catches up."
            ]
        if breaks.startswith("catching up:"):
            return [
                f"After an outage longer than {format_duration(until)} the line does not catch up "
                "within the plan."
            ]
    return []


def _mending(plan: Plan) -> str:
    """Of a plan that does not hold, what would heal it: what can be bought stands first."""
    parts = []
    rows = frame_rows(plan.validity)
    for row in sorted(rows, key=lambda each: each["input"] not in _BOUGHT):
        name, value = row["input"], row["would_hold_at"]
        if value is not None:
            margin = ""
            if name in VOLUMES.values():
                margin = _with_margin(plan, value)
            if name == LINE_RATE:
                margin = _windows(plan, value)
            parts.append(_limit(name, value) + margin)
        if row["together_at"] is not None:
            parts.append(together_words(plan, row))
    if not parts or holds(outcomes_of(plan)):
        return ""
    one = "with one of these" if len(parts) > 1 else "with this"
    return f"All of it would hold {one}: {'; '.join(parts)}."


def together_words(plan: Plan, row: Mapping[str, Any]) -> str:
    """Of a limit of the line, the rate with all that it needs beside it."""
    beside = []
    if row["together_streams"] is not None:
        beside.append(_limit(STREAMS, float(row["together_streams"])))
    size = row["together_volume_bytes"]
    if size is not None:
        told = f"a {volume_name(plan.protection)} >= {format_volume(size)}"
        beside.append(told + _with_margin(plan, size))
    windows = _windows(plan, row["together_at"])
    line = _limit(row["input"], row["together_at"]) + (f"{windows}," if windows else "")
    return f"{line} together with {' and '.join(beside)}"


def _with_margin(plan: Plan, size: float) -> str:
    advised = size_to_buy(size, plan.organisation.protection.spool_margin)
    return f" ({format_volume(advised)} with the margin)"


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
        needs, own = "", plan.protections[str(row.kind)]
        if spool or copy:
            size = advised_volume_bytes(plan.organisation, plan.change, own, spool, copy)
            needs = f", {volume_name(own)} {format_volume(size)}"
        found.append((lag, str(row.kind), float(row.rto_seconds), needs))
    if not found:
        return "No other kind of protection meets all objectives on this line."
    told = [
        f"{kind} (RPO {format_duration(shown_lag(lag))} for {format_share(share)} of the time, RTO "
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
