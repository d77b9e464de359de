"""What a plan says of its kind of protection: why this one, or what the ones are that would do.

Of a plan that holds it is told what the other kinds miss, objective by objective; of those that
miss nothing what they need more of, and where that is nothing, what they cannot do.  Of a plan that
does not hold the kinds that would are named among what mends it
(:func:`.plan_limit_words.other_kinds`); here they are explained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.plan.kind_facts import KIND_FACTS
from simulator.plan.organisation_curves import NS
from simulator.plan.plan_inputs import ARRIVAL
from simulator.plan.plan_line_words import of_the_time
from simulator.plan.plan_objectives import holds, outcomes_of
from simulator.plan.plan_rows import Row, frame_rows
from simulator.plan.plan_units import format_share, format_volume
from simulator.plan.planner import Plan
from simulator.plan.waiting_volume import given_volume, volume_name
from simulator.units import format_duration

ALIKE: Final = 1.05
"""What is at most so many times as much counts as no more."""
CATCHING_UP: Final = "catching up"


def kind_sentences(plan: Plan) -> list[str]:
    """Why this kind of protection, or what those are that would hold."""
    own, *others = frame_rows(plan.kinds)
    fit = [row for row in others if not row["missed"]]
    if not holds(outcomes_of(plan)):
        return [_explained(row) for row in fit]
    told = [_missing(plan, [row for row in others if row["missed"]], bool(fit))]
    return [*told, *(_beside(plan, own, row) for row in fit)]


def _explained(row: Row) -> str:
    """A kind that would do."""
    name = str(row["kind"])
    facts = KIND_FACTS[name]
    return f"{_capital(name)} copies {facts.copies}; it cannot {facts.cannot}."


def _missing(plan: Plan, others: list[Row], more: bool) -> str:
    """What the other kinds miss, objective by objective."""
    by_objective: dict[str, list[str]] = {}
    for row in others:
        for objective in _missed(row):
            told = f"{row['kind']}{_figure(plan, row, objective)}"
            by_objective.setdefault(objective, []).append(told)
    parts = [
        f"{_objective(plan, each)} {_and(kinds)}" for each, kinds in by_objective.items() if kinds
    ]
    alone = "Of the kinds only" if not more else "On this line"
    met = f"{alone} {plan.protection.name} meets all objectives"
    return f"{'; '.join([met, *parts])}."


def _missed(row: Row) -> list[str]:
    """The objectives that a kind misses; what never catches up misses all that follows from it."""
    names = str(row["missed"]).split(", ")
    return [CATCHING_UP] if CATCHING_UP in names else names


def _objective(plan: Plan, name: str) -> str:
    """What is missed, to be followed by the kinds."""
    objectives = plan.organisation.objectives
    if name == CATCHING_UP:
        return "the line never catches up with"
    if name == "RPO":
        wanted = f"{format_duration(objectives.rpo_ns / NS)} {of_the_time(plan)}".rstrip()
        return f"the RPO ({wanted}) is missed by"
    if name == "RTO":
        return f"the RTO ({format_duration(objectives.rto_ns / NS)}) is missed by"
    if name == ARRIVAL:
        return "the first copy never arrives with"
    if name == "first copy":
        return "there is no room for the first copy of"
    return f"the {name} is too small for"


def _figure(plan: Plan, row: Row, objective: str) -> str:
    """What a kind has in place of what is wanted."""
    kind = str(row["kind"])
    value: float | None = None
    spelled: Callable[[float], str] = format_duration
    if objective == "RPO":
        value = plan.courses[kind].lag_at(plan.organisation.objectives.rpo_share)
    elif objective == "RTO":
        value = row["rto_seconds"]
    elif objective == "first copy":
        value, spelled = row["first_copy_spool_bytes"], format_volume
    elif objective == volume_name(plan.protections[kind]):
        value, spelled = row["spool_bytes"], format_volume
    return "" if value is None else f" with {spelled(value)}"


def _beside(plan: Plan, own: Row, row: Row) -> str:
    """A kind that misses nothing either: what it needs more of, or what it cannot do."""
    name = str(row["kind"])
    told = f"{_capital(name)} meets them, too"
    more = _needs_more(plan, own, row)
    if more:
        return f"{told}, but needs {_and(more)}."
    mine, other = _line_used(own), _line_used(row)
    if mine > ALIKE * other:
        told += f", with {format_share(other)} of the line in place of {format_share(mine)}"
    return f"{told}; it cannot {KIND_FACTS[name].cannot}."


def _line_used(row: Row) -> float:
    return float(row["mean_utilisation"] or 0.0)


def _needs_more(plan: Plan, own: Row, row: Row) -> list[str]:
    found = []
    mine, other = _line_used(own), _line_used(row)
    if other > ALIKE * mine:
        found.append(f"{format_share(other)} of the line in place of {format_share(mine)}")
    mine, other = _waits(own), _waits(row)
    kind = plan.protections[str(row["kind"])]
    if other > ALIKE * mine and given_volume(plan.organisation, kind) is None:
        volume = f"a {volume_name(kind)} of {format_volume(other)}"
        found.append(f"{volume} in place of {format_volume(mine)}" if mine else volume)
    return found


def _waits(row: Row) -> float:
    """What waits at the source at most, in the planned outage or at the first copy."""
    return max(float(row["spool_bytes"] or 0.0), float(row["first_copy_spool_bytes"] or 0.0))


def _and(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
