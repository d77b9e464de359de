"""Which objectives a plan meets, and what has to be bought for the others.

Theory
------
A plan promises that the line catches up at all, a recovery point for a share of the time, a
recovery time, and, where the volume is given on which changes wait (:mod:`.waiting_volume`), that
it survives the planned outage whenever it begins.  Where a full one stops the stores, the first
copy has to fit as well; a spool that is dropped when it is full costs a comparison, which is said.
Each is judged on the plan's own figures, the outages at dates among them.  What never happens has
no figure and is missed.

What is to be had follows from the same figures: the line rate of the least share of time that is
not below the objective's, the spool of the planned outage with its margin, what waits at the
replica during its longest suspension, and the log volume for logs that backups have not deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from simulator.plan.answers import or_none, size_to_buy
from simulator.plan.plan_copy_words import less_spool_words
from simulator.plan.plan_inputs import ARRIVAL
from simulator.plan.plan_spool_words import WAYS, spool_of_first_copy
from simulator.plan.plan_units import format_days, format_share, format_volume
from simulator.plan.planner import Plan, worst_spool
from simulator.plan.replica_waits import KEPT, keeps_nothing
from simulator.plan.schedule_words import windows_words
from simulator.plan.waiting_volume import (
    LOG_VOLUME_DAYS,
    given_volume,
    ruled_volume_bytes,
    stops_when_full,
    volume_name,
)
from simulator.units import format_duration

NS: Final = 1e9
Unit = Literal["seconds", "bytes", "bits_per_second", "days"]
LINE_ITEM: Final = "line rate for the RPO alone"


@dataclass(frozen=True)
class Outcome:
    """One objective.

    Attributes
    ----------
    objective: "catching up", "RPO", "RTO", "spool" (of log shipping "log volume") or "first copy".
    unit: of the two figures.
    wanted: the most that is allowed; None for catching up, where any end will do.
    found: None for never, or not known.
    met: whether ``found`` is not above ``wanted``.
    reason: why nothing was found; else empty.
    """

    objective: str
    unit: Unit
    wanted: float | None
    found: float | None
    met: bool
    reason: str = ""


@dataclass(frozen=True)
class Need:
    """Something to have.

    Attributes
    ----------
    item: "line rate for the RPO alone", "spool at the source", "spool for the first copy"
        (of log shipping "log volume for outages", "log volume for the first copy"), "spool at the
        replica" or "log volume", here for the logs that backups have not deleted.
    unit: of the figures.
    given: what the plan has; None where it says nothing.
    needed: the least that does; None where nothing does, or that is not known; 0 for nothing.
    advised: with the plan's margin on top; None likewise, and for a rule.
    enough: whether what is given does; None where nothing is given, or needed, or where it
        depends on what ``reason`` says.
    what_for: in a few words.
    reason: why there is no figure, or what it leaves open; else empty.
    volume: that it is for: "spool at the source", "log volume" or "spool at the replica"; empty of
        a line.
    task: of the volume, in a few words: "an outage of 8 h"; empty of a line.
    """

    item: str
    unit: Unit
    given: float | None
    needed: float | None
    advised: float | None
    enough: bool | None
    what_for: str
    reason: str = ""
    volume: str = ""
    task: str = ""


LINE_FIRST: Final = "no spool is enough: the line must be faster first"
"""Of a line that never catches up."""
_IN_SENTENCES: Final = {
    "catching up": "catching up",
    "RPO": "the RPO",
    "spool": "the spool",
    "log volume": "the log volume",
    "first copy": "the room for the first copy",
    ARRIVAL: "the first copy",
}
"""Objectives whose limits are looked for."""
_FOR_OUTAGES: Final = {"spool": "at the source", "log volume": "for outages"}


def outcomes_of(plan: Plan) -> list[Outcome]:
    """Each objective of the organisation, and what the plan gives."""
    objectives = plan.organisation.objectives
    found = [_catching_up(plan)]
    rpo_seconds = objectives.rpo_ns / NS
    # A backlog that only grows has a lag at the end of the plan, but that is no answer.
    lag = plan.course.lag_at(objectives.rpo_share) if plan.use.catches_up else None
    found.append(
        Outcome(
            "RPO",
            "seconds",
            rpo_seconds,
            lag,
            lag is not None and lag <= rpo_seconds,
            "" if lag is not None else plan.use.reason,
        )
    )
    found.append(_recovery(plan, objectives.rto_ns / NS))
    return [*found, *_arrival(plan), *_on_volume(plan)]


def _arrival(plan: Plan) -> list[Outcome]:
    """Whether the first copy is ever there, where its size is known."""
    if plan.first_copy.empty:
        return []
    row = plan.first_copy.set_index("way").loc[plan.organisation.first_copy.by]
    value = row["converges_after_seconds"] if plan.use.catches_up else None
    seconds = None if value is None else or_none(float(value))
    reason = "" if seconds is not None else plan.use.reason or str(row["reason"])
    return [Outcome(ARRIVAL, "seconds", None, seconds, seconds is not None, reason)]


def _on_volume(plan: Plan) -> list[Outcome]:
    """What has to fit on the volume on which changes wait, where it is given."""
    kind, spool = plan.protection, worst_spool(plan)
    volume = given_volume(plan.organisation, kind)
    if volume is None or spool is None:
        return []
    never = plan.no_size

    def judged(name: str, needed: float | None, reason: str) -> Outcome:
        met = needed is not None and needed <= volume
        return Outcome(name, "bytes", volume, needed, met, "" if needed is not None else reason)

    found = [judged(volume_name(kind), None if never else spool.needed_bytes, never)]
    if stops_when_full(plan.organisation, kind) and not plan.first_copy.empty:
        way = plan.organisation.first_copy.by
        needed = None if never else spool_of_first_copy(plan, way)
        late = never or str(plan.first_copy.set_index("way").loc[way, "reason"])
        found.append(judged("first copy", needed, late))
    return found


def _catching_up(plan: Plan) -> Outcome:
    """Of the planned outage's worst start, on the line as it is planned."""
    if not plan.use.catches_up:
        return Outcome("catching up", "seconds", None, None, False, plan.use.reason)
    if plan.no_size:
        return Outcome("catching up", "seconds", None, None, False, plan.no_size)
    table = plan.catch_up_by_rate
    rates = table["bits_per_second"].astype(float)
    nearest = (rates - plan.link.bits_per_second).abs().idxmin()
    value = table.loc[nearest, "catch_up_seconds"]
    seconds = None if value is None else or_none(float(value))
    reason = "" if seconds is not None else "the planned outage is not caught up within the plan"
    return Outcome("catching up", "seconds", None, seconds, seconds is not None, reason)


def _recovery(plan: Plan, wanted_seconds: float) -> Outcome:
    row = plan.recovery.loc[plan.recovery["protection"] == plan.protection.name].iloc[0]
    value = row["total_seconds"]
    total = None if value is None else or_none(float(value))
    met = total is not None and total <= wanted_seconds
    reason = "" if total is not None else str(row["reason"])
    return Outcome("RTO", "seconds", wanted_seconds, total, met, reason)


def holds(outcomes: list[Outcome]) -> bool:
    """Whether all objectives are met."""
    return all(each.met for each in outcomes)


def still_holds(plan: Plan) -> str:
    """What the limits of the inputs are about, with its verb: "This holds", "Catching up holds".

    Where an objective is missed as planned, :attr:`~.planner.Plan.validity` is about the others,
    and of the recovery time it knows nothing; empty where none is left.
    """
    outcomes = outcomes_of(plan)
    if holds(outcomes):
        return "This holds"
    names = [
        _IN_SENTENCES[each.objective]
        for each in outcomes
        if each.met and each.objective in _IN_SENTENCES
    ]
    if not names:
        return ""
    joined = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    verb = "holds" if len(names) == 1 else "hold"
    return f"{joined[0].upper()}{joined[1:]} {verb}"


def needs_of(plan: Plan) -> list[Need]:
    """What to have so that the objectives are met."""
    found, spool = [_line(plan)], worst_spool(plan)
    if spool is not None:
        given = given_volume(plan.organisation, plan.protection)
        sound = not plan.no_size
        needed = spool.needed_bytes if sound else None
        found.append(
            Need(
                f"{volume_name(plan.protection)} {_FOR_OUTAGES[volume_name(plan.protection)]}",
                "bytes",
                given,
                needed,
                spool.recommended_bytes if sound else None,
                _enough(given, needed) if sound else False,
                "the planned outage at its worst hour",
                spool.remark if sound else LINE_FIRST,
                _volume(plan),
                f"an outage of {format_duration(spool.length_seconds)}",
            )
        )
    found += _first_copy(plan)
    found.append(_replica_spool(plan))
    return [*found, _kept_logs(plan)]


def _kept_logs(plan: Plan) -> Need:
    """The log volume by the rule for logs that stay until a backup deletes them: no objective, so
    it is not judged."""
    given, volume = plan.organisation.protection.log_volume_bytes, plan.log_volume
    lasts = volume.reason
    if volume.shortest_days is not None:
        lasts = (
            f"{format_volume(volume.free_bytes)} last {format_days(volume.shortest_days)} while "
            "logs are not deleted"
        )
    return Need(
        "log volume",
        "bytes",
        None if given is None else float(given),
        ruled_volume_bytes(plan.change, plan.protection),
        None,
        None,
        f"the {LOG_VOLUME_DAYS:g} busiest days of logs, which stay until a backup deletes them [V]",
        lasts,
        "log volume",
        f"the {LOG_VOLUME_DAYS:g} busiest days of logs",
    )


def _first_copy(plan: Plan) -> list[Need]:
    """The spool that the first copy needs on its way, where that is known."""
    way = plan.organisation.first_copy.by
    needed = None if plan.no_size else spool_of_first_copy(plan, way)
    if needed is None:
        return []
    given = given_volume(plan.organisation, plan.protection)
    enough = _enough(given, needed)
    reason = "" if enough else less_spool_words(plan)
    if enough is False and not stops_when_full(plan.organisation, plan.protection):
        enough = None  # at a cost, which the reason tells
    what_for = f"all changes, while it is made {WAYS[way]}"
    item = f"{volume_name(plan.protection)} for the first copy"
    advised = size_to_buy(needed, plan.organisation.protection.spool_margin)
    task = f"the first copy {WAYS[way]}"
    return [
        Need(item, "bytes", given, needed, advised, enough, what_for, reason, _volume(plan), task)
    ]


def _volume(plan: Plan) -> str:
    """The volume on which changes wait, by the name that it has beside others."""
    name = volume_name(plan.protection)
    return name if name == "log volume" else f"{name} at the source"


def _enough(given: float | None, needed: float | None) -> bool | None:
    return None if given is None or needed is None else given >= needed


def _line(plan: Plan) -> Need:
    share = plan.organisation.objectives.rpo_share
    rates = plan.rates.sort_values("share_of_time")
    fitting = rates.loc[rates["share_of_time"] >= share - 1e-9]
    row = (fitting if len(fitting) else rates.tail(1)).iloc[0]
    value = row["bits_per_second"]
    needed = None if value is None else or_none(float(value))
    given = float(plan.link.bits_per_second)
    room = (
        ""
        if needed is None
        else f", with {format_duration(plan.change.grid.step_seconds)} to spare"
    )
    return Need(
        LINE_ITEM,
        "bits_per_second",
        given,
        needed,
        None,
        False if needed is None else given >= needed,
        f"the RPO for {format_share(float(row['share_of_time']))} of the time{room}",
        str(row["reason"]) if needed is None else _of_line(plan, needed),
    )


def _of_line(plan: Plan, needed: float) -> str:
    """What a line has at the times of its schedule; of one slower than planned, what it is not."""
    windows = windows_words(plan.link, needed)
    told = [f"with {windows}"] if windows else []
    if needed < plan.link.bits_per_second:
        told.append("no advice to have less: volumes and times are those of the planned line")
    return "; ".join(told)


def _replica_spool(plan: Plan) -> Need:
    given_bytes = plan.organisation.protection.replica_spool_bytes
    given = None if given_bytes is None else float(given_bytes)
    item, kept = "spool at the replica", KEPT[plan.protection.name]

    def need(needed: float | None, reason: str, what_for: str = kept, task: str = "") -> Need:
        margin = plan.organisation.protection.spool_margin
        advised = size_to_buy(needed, margin) if needed else None
        enough = _enough(given, needed) if needed else None
        return Need(item, "bytes", given, needed, advised, enough, what_for, reason, item, task)

    if keeps_nothing(plan.protection):
        return need(0.0, f"it keeps {kept}", "")
    if plan.no_size:
        return need(None, LINE_FIRST)
    known = [value is not None for value in plan.replica["spool_bytes"]]
    if not all(known):
        unknown = plan.replica.loc[[not each for each in known], "reason"]
        return need(None, "; ".join(dict.fromkeys(str(each) for each in unknown)))
    worst = plan.replica.loc[plan.replica["spool_bytes"].astype(float).idxmax()]
    cause = str(worst["cause"])
    return need(
        float(worst["spool_bytes"]), str(worst["reason"]), f"{kept}: {cause}, at its worst", cause
    )
