"""The plan's answer in sentences: what to buy, what it does, what breaks first.

Written for whoever signs the order: decimal gigabytes, hours, times of day.  Every figure is one of
the plan's frames; nothing is computed here but what is the largest or the earliest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from replicator.units import format_bits_per_second, format_seconds
from simulator.plan.answers import round_up
from simulator.plan.organisation_curves import NS
from simulator.plan.plan_objectives import still_holds
from simulator.plan.plan_rows import RESYNCHRONIZATION_UNKNOWN
from simulator.plan.planner import Plan, worst_spool

GB: Final = 1e9
_DAY_HOURS: Final = range(8, 18)
LITTLE_DATA_SHARE: Final = 0.25
"""Of the plan: from less data than this it is said of how little the plan was made; a week is
enough for four [A]."""


def gigabytes(size_bytes: float) -> str:
    """``62.8 GB``, ``1.2 TB``, ``350 MB``: decimal, three digits, as disks are sold; what is not
    nothing has a byte at least."""
    for unit, worth in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= 0.9995 * worth:
            value = size_bytes / worth
            digits = 0 if value >= 99.95 else 1
            return f"{value:,.{digits}f}".removesuffix(".0") + f" {unit}"
    if size_bytes >= 999.5:
        return f"{size_bytes / 1e3:,.0f} kB"
    return f"{max(size_bytes, 1.0) if size_bytes > 0 else 0:,.0f} B"


def hours(seconds: float) -> str:
    """``7.1 h``, ``45 min``, ``12 s``, ``3.4 days``: one unit, for sentences."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    for unit, worth, until in (("min", 60.0, 5_400.0), ("h", 3_600.0, 129_600.0)):
        if seconds < until:
            value = seconds / worth
            return (
                f"{value:.0f} {unit}" if unit == "min" else f"{value:.1f} h".replace(".0 h", " h")
            )
    return f"{seconds / 86_400:.1f} days".replace(".0 days", " days")


def clock(hour: int) -> str:
    """9 -> ``09:00``."""
    return f"{hour:02}:00"


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
    """What gives way in an outage, the earliest first; what never does is not in it."""
    found = []
    if not plan.use.catches_up:
        found.append(Break("the line", 0.0))
    shortest = _shortest(plan.lasts)
    shipped = plan.protection.name == "log shipping"
    if shortest is not None and plan.spool_is_given:
        hour, seconds = shortest
        size = gigabytes(plan.spool_volume_bytes)
        name = "log volume" if shipped else "spool"
        found.append(Break(f"the {name} of {size} (from {clock(hour)})", seconds))
    volume = plan.log_volume
    if volume.shortest_days is not None and not (shipped and plan.spool_is_given):
        given = plan.organisation.protection.log_volume_bytes is not None
        rule = "" if given else ", as the rule of three days has it"
        found.append(
            Break(
                f"the log volume of {gigabytes(volume.free_bytes)}{rule} (if logs are not "
                "truncated meanwhile)",
                volume.shortest_days * 86_400,
            )
        )
    return sorted(found, key=lambda each: each.after_seconds)


def answer_of(plan: Plan) -> list[str]:
    """The answer, the most important sentence first."""
    sentences = [
        *_spool(plan),
        _measured(plan),
        *_returning(plan),
        _breaking(plan),
        *_bandwidth(plan),
    ]
    sentences += [_recovering(plan), *_copying(plan), *_holding(plan)]
    return [sentence for sentence in sentences if sentence]


def _spool(plan: Plan) -> list[str]:
    organisation, size = plan.organisation, worst_spool(plan)
    if not plan.use.catches_up:
        return [f"{plan.use.reason[0].upper()}{plan.use.reason[1:]}. No spool helps that."]
    if size is None:
        return [
            f"{plan.protection.name.capitalize()} keeps no spool: what changes is read again from "
            "the databases."
        ]
    length = hours(size.length_seconds)
    place = "the log volume" if plan.protection.name == "log shipping" else "its own volume"
    told = [
        f"Give it {gigabytes(round_up(size.recommended_bytes))} on {place}: an outage of {length} "
        f"needs {gigabytes(size.needed_bytes)} when it begins at {clock(size.worst_hour)}, and "
        f"{100 * organisation.protection.spool_margin:g} % are for what nobody foresees."
    ]
    if size.rule_of_thumb_bytes is not None:
        rule = gigabytes(size.rule_of_thumb_bytes)
        told.append(f"The rule of a tenth of the data would say {rule}.")
    shortest = _shortest(plan.lasts)
    volume = gigabytes(plan.spool_volume_bytes)
    # Of a volume that nobody has it must not read as if it were there.
    given = plan.spool_is_given
    if shortest is None:
        never = "are never full" if given else "would never be full"
        told.append(f"{_subject(volume, given)} {never} within the plan.")
    else:
        hour, seconds = shortest
        last = "last" if given else "would last"
        told.append(f"{_subject(volume, given)} {last} {hours(seconds)} from {clock(hour)}.")
        told += _when_full(plan, hour)
    return told


def _subject(volume: str, given: bool) -> str:
    return volume if given else f"A volume of {volume}"


def _when_full(plan: Plan, hour: int) -> list[str]:
    """What the planned outage does to that volume when it begins at an hour; where the volume
    holds then, at the worst other hour, which is named."""
    table = plan.spool_outages
    full = table[[each is not None and np.isfinite(each) for each in table["full_after_seconds"]]]
    if full.empty:
        return []
    same = full[full["hour"] == hour]
    known = full["unprotected_seconds"].astype(float).fillna(np.inf)
    worst = full.loc[(known + full["stands_still_seconds"].astype(float)).idxmax()]
    row, when = (worst, f", from {clock(int(worst['hour']))}") if same.empty else (same.iloc[0], "")
    length = f"in an outage of {hours(float(row['length_seconds']))}{when}"
    shipped = plan.protection.name == "log shipping"
    if plan.organisation.protection.spool_full == "hold":
        still = hours(float(row["stands_still_seconds"]))
        if shipped:
            return [f"Then the log volume is full, and the stores stop for up to {still} {length}."]
        return [f"Then writers are held: the store stands still for up to {still} {length}."]
    if shipped:
        stored = plan.change.stored_bytes
        size = f" ({gigabytes(stored)})" if stored else ""
        return [
            "Then the log volume is full and the stores stop, unless logs are deleted that the "
            f"copy lacks: then it must be seeded anew{size}."
        ]
    if row["compared_bytes"] is None:
        return [f"Then it is dropped and must be resynchronized; {RESYNCHRONIZATION_UNKNOWN}."]
    if row["unprotected_seconds"] is None:
        return [f"Then it must be resynchronized, which {length} does not end within the plan."]
    return [
        f"Then it is dropped: {gigabytes(row['compared_bytes'])} are compared, "
        f"{gigabytes(row['differing_bytes'])} sent again, and the site is unprotected for "
        f"{hours(float(row['unprotected_seconds']))} {length}."
    ]


def _measured(plan: Plan) -> str:
    """Of how little the plan was made, where that is much less than the plan."""
    known, span = plan.change.measured_seconds, plan.change.grid.span_seconds
    if known is None or known >= LITTLE_DATA_SHARE * span:
        return ""
    advice = ": measure a week at least" if known < 7 * 86_400 else ""
    return f"All of this is planned from {hours(known)} of data, for {hours(span)}{advice}."


def _shortest(lasts: pd.DataFrame) -> tuple[int, float] | None:
    """The hour at which a spool is full soonest, and after how long."""
    if lasts.empty:
        return None
    known = [
        (float(seconds), int(hour))
        for hour, seconds in zip(lasts["hour"], lasts["shortest_seconds"], strict=True)
        if seconds is not None and np.isfinite(seconds)
    ]
    if not known:
        return None
    seconds, hour = min(known)
    return hour, seconds


def _returning(plan: Plan) -> list[str]:
    """Lag at the return of the link, and the time to catch up, by day and by night."""
    table = plan.returns
    if table.empty or not plan.use.catches_up:
        return []
    length = plan.organisation.outages.planned_ns / NS
    back = (table["hour"] + length / 3_600) % 24
    by_day = back.map(lambda hour: int(hour) in _DAY_HOURS)
    told = [
        f"When the line is back after {hours(length)}, the copy lags "
        f"{hours(float(table['lag_at_return_seconds'].max()))} at worst."
    ]
    parts = []
    for when, chosen in (("by day", table[by_day]), ("by night", table[~by_day])):
        if chosen.empty:
            continue
        times = chosen["catch_up_seconds"]
        if any(each is None or not np.isfinite(each) for each in times):
            parts.append(f"back {when} it does not catch up within the plan")
        else:
            parts.append(f"back {when} it catches up in {hours(float(times.astype(float).max()))}")
    joined = "; ".join(parts)
    return [*told, f"{joined[0].upper()}{joined[1:]}."]


def _breaking(plan: Plan) -> str:
    found = breaks_of(plan)
    if not found:
        return ""
    first = found[0]
    if first.after_seconds == 0:
        return f"The first to break is {first.what}: it does not hold even without an outage."
    told = f"The first to break is {first.what}, after {hours(first.after_seconds)}"
    rest = [f"{each.what} after {hours(each.after_seconds)}" for each in found[1:]]
    return f"{told}; then {', '.join(rest)}." if rest else f"{told}."


def _bandwidth(plan: Plan) -> list[str]:
    objectives = plan.organisation.objectives
    rpo, share = objectives.rpo_ns / NS, objectives.rpo_share
    lag = plan.course.lag_at(share) if plan.use.catches_up else None
    wanted = f"{hours(rpo)} for {100 * share:g} % of the time"
    if lag is not None and lag <= rpo:
        told = [f"The line keeps the copy within {hours(max(lag, 1.0))} (wanted: {wanted})."]
    elif lag is not None:
        told = [f"The line misses the RPO: the copy is up to {hours(lag)} old (wanted: {wanted})."]
    else:
        told = [f"No RPO can be kept on this line (wanted: {wanted})."]
    for row in plan.rates.itertuples():
        if abs(float(row.share_of_time) - share) > 1e-9:
            continue
        if row.bits_per_second is None:
            told.append(f"No line rate keeps it: {row.reason}.")
        else:
            rate = format_bits_per_second(round_up(float(row.bits_per_second)))
            windows = ", and its windows as many times their rates" if plan.link.windows else ""
            told.append(f"That RPO needs a line of {rate}{windows}.")
    return told


def _recovering(plan: Plan) -> str:
    row = plan.recovery.iloc[0]
    objective = plan.organisation.objectives.rto_ns / NS
    if row["total_seconds"] is None:
        return f"How long a recovery takes is not known: {row['reason']}."
    total = float(row["total_seconds"])
    verdict = "keeps" if total <= objective else "misses"
    return (
        f"After the loss of the source users work again in {hours(total)}, which {verdict} the RTO "
        f"of {hours(objective)}."
    )


def _copying(plan: Plan) -> list[str]:
    if plan.first_copy.empty:
        return []
    way = plan.organisation.first_copy.by
    row = plan.first_copy.set_index("way").loc[way]
    name = "over the line" if way == "wire" else "by courier"
    took = row["converges_after_seconds"]
    if took is None or not np.isfinite(float(took)):
        return [f"The first copy {name} never converges: {row['reason']}."]
    return [f"The first copy {name} takes {hours(float(took))}, changes of the meantime included."]


def _holding(plan: Plan) -> list[str]:
    """While what the plan holds."""
    parts = []
    for row in plan.validity.itertuples():
        if row.holds_until is None or not row.breaks:
            continue
        parts.append(_limit(str(row.input), float(row.holds_until)))
    subject = still_holds(plan)
    return [f"{subject} while {', '.join(parts)}."] if parts and subject else []


def _limit(name: str, value: float) -> str:
    if name == "change_gb_per_day":
        return f"change <= {value:,.3g} GB a day"
    if name == "link.loss":
        return f"loss <= {100 * value:.2g} %"
    if name == "link.rtt_seconds":
        return f"round trip <= {format_seconds(value)}"
    if name == "link.bits_per_second":
        return f"line >= {format_bits_per_second(value)}"
    return f"outages <= {value:.3g} h"
