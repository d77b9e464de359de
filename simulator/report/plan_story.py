"""What the figures of a plan say, in sentences: what to buy, what breaks first.

The sentences are made of :mod:`simulator.plan.plan_objectives` alone, so that page, terminal and
record cannot say different things.
"""

from __future__ import annotations

from simulator.plan.plan_inputs import ARRIVAL
from simulator.plan.plan_line_words import of_the_time, shown_lag
from simulator.plan.plan_objectives import Need, Outcome, outcomes_of, still_holds
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_spool_words import WAYS
from simulator.plan.plan_units import FORMATS, format_input, format_volume, input_name
from simulator.plan.planner import Plan, longest_lasting
from simulator.plan.waiting_volume import volume_name
from simulator.units import format_duration

_NAMES = {
    "catching up": "Catching up",
    "RPO": "Recovery point (RPO)",
    "RTO": "Recovery time (RTO)",
    "spool": "Spool for the planned outage",
    "log volume": "Log volume for the planned outage",
    "first copy": "Room for the first copy",
    ARRIVAL: "Arrival of the first copy",
}


def figure(unit: str, value: float | None, missing: str = "never") -> str:
    """A figure with its unit; ``missing`` where there is none."""
    return missing if value is None else FORMATS[unit](value)


def objective_name(outcome: Outcome) -> str:
    """In words."""
    return _NAMES.get(outcome.objective, outcome.objective)


def wanted_words(plan: Plan, outcome: Outcome) -> str:
    """What an objective allows."""
    if outcome.wanted is None:
        return "at all"
    text = figure(outcome.unit, outcome.wanted)
    share = of_the_time(plan)
    if outcome.objective == "RPO" and share:
        return f"{text} or less {share}"  # "at most" is said of the largest alone
    return f"at most {text}"


def shown_finding(outcome: Outcome) -> float | None:
    """What was found, as sentences have it: no copy is 0 s old."""
    if outcome.objective == "RPO" and outcome.found is not None:
        return shown_lag(outcome.found)
    return outcome.found


def headline(plan: Plan) -> str:
    """Whether the plan holds, in a few words."""
    missed = [each.objective for each in outcomes_of(plan) if not each.met]
    if not missed:
        return "the plan holds"
    return f"the plan does not hold ({', '.join(missed)})"


def need_sentence(need: Need) -> str:
    """What is given, what is needed, and whether it is enough."""
    name = need.item[0].upper() + need.item[1:]
    if need.needed is None:
        return f"{name}: nothing that is bought does it; {need.reason}."
    if need.needed == 0:
        return f"{name}: none is needed; {need.reason}."
    wanted = f"{figure(need.unit, need.needed)} needed for {need.what_for}"
    if need.advised is not None:
        wanted += f", {figure(need.unit, need.advised)} advised"
    given = "none is planned" if need.given is None else f"planned {figure(need.unit, need.given)}"
    rule = need.item == "log volume"
    open_ = need.reason if rule or need.given is not None else "to be bought"
    verdict = {True: "enough", False: "NOT enough", None: open_}[need.enough]
    return f"{name}: {wanted}; {given}: {verdict}."


def breaks_first(plan: Plan) -> list[str]:
    """What is broken as planned; else which input breaks an objective first, and the next ones."""
    missed = [each for each in outcomes_of(plan) if not each.met]
    told = _never(missed) + [_missed(plan, each) for each in missed if each.found is not None]
    subject = still_holds(plan).replace("This holds", "It holds")
    told += [_limit_sentence(row, subject) for row in _limits(plan) if subject]
    if not plan.spools or plan.no_size:
        return told
    lasts = longest_lasting(plan)
    if lasts is not None:
        volume, name = plan.spool_volume_bytes, volume_name(plan.protection)
        hour = min(
            (row for row in frame_rows(plan.lasts) if row["shortest_seconds"] is not None),
            key=lambda row: float(row["shortest_seconds"]),
        )["hour"]
        advised = "" if plan.spool_is_given else " that is advised"
        told.append(
            f"In an outage the {name} of {format_volume(volume)}{advised} is full after "
            f"{format_duration(lasts)} when the line goes down at the worst time, from "
            f"{FORMATS['hour'](hour)} on."
        )
    return told


def _never(missed: list[Outcome]) -> list[str]:
    """What is missed without a figure, together where it has one reason."""
    names: dict[str, list[str]] = {}
    for each in missed:
        if each.found is None:
            name = objective_name(each)
            names.setdefault(each.reason, []).append(name[0].lower() + name[1:])
    return [f"Missed as planned: {', '.join(each)}: {why}." for why, each in names.items()]


def _missed(plan: Plan, outcome: Outcome) -> str:
    """How an objective is missed as planned."""
    found = figure(outcome.unit, shown_finding(outcome))
    given, volume = figure(outcome.unit, outcome.wanted), volume_name(plan.protection)
    if outcome.objective == volume:
        return f"The {volume} of {given} is too small for the planned outage: {found} are needed."
    if outcome.objective == "first copy":
        way = WAYS[plan.organisation.first_copy.by]
        return f"The {volume} of {given} is too small for the first copy {way}: {found} wait there."
    wanted = wanted_words(plan, outcome)
    if outcome.objective == "RPO":
        found = f"{found} {of_the_time(plan)}".rstrip()
    return f"{objective_name(outcome)} is missed as planned: {found}, where {wanted} is wanted."


def _limits(plan: Plan) -> list[dict[str, object]]:
    """The limits of inputs that break something, the nearest first; where the plan does not hold
    those of what it meets."""
    rows = []
    for row in frame_rows(plan.validity):
        held, breaks = row["holds_until"], row["breaks"]
        if held is None:
            held, breaks = row["others_until"], row["others_break"]
        if held is not None and breaks:
            rows.append({**row, "holds_until": held, "breaks": breaks})
    return sorted(rows, key=_distance)


def _distance(row: dict[str, object]) -> float:
    """How many times the plan's value an input may have, or the plan's as many times as it."""
    planned, until = float(str(row["planned"])), float(str(row["holds_until"]))
    if planned <= 0 or until <= 0:
        return float("inf")
    return max(planned / until, until / planned)


def _limit_sentence(row: dict[str, object], subject: str) -> str:
    path = str(row["input"])
    planned, until = float(str(row["planned"])), float(str(row["holds_until"]))
    beyond = "above" if row["direction"] == "up" else "below"
    return (
        f"{subject} until {input_name(path)} is {beyond} {format_input(path, until)} (planned "
        f"{format_input(path, planned)}); then {row['breaks']}."
    )
