"""What a plan says of the recovery, and of what all of its figures rest on."""

from __future__ import annotations

from typing import Final

from simulator.plan.organisation_curves import NS
from simulator.plan.plan_dependence import dependences_of
from simulator.plan.plan_line_words import of_the_time
from simulator.plan.plan_sensitivity import LINE
from simulator.plan.plan_units import (
    FORMATS,
    OUTPUTS,
    format_input,
    format_volume,
    input_name,
)
from simulator.plan.planner import Plan
from simulator.plan.site_log_sets import stand_for_others
from simulator.plan.site_weeks import LEAST_WEEK_SECONDS
from simulator.plan.waiting_volume import volume_name
from simulator.units import format_duration

LITTLE_DATA_SHARE: Final = 0.25
"""Of the plan: from less data than this it is said of how little the plan was made; a week is
enough for four [A]."""


def basis_sentences(plan: Plan) -> list[str]:
    """What was taken to be written, which assumption to measure first, how little was measured."""
    stands_for = stand_for_others(plan.change)
    return [_written(plan), stands_for, _depending(plan), _measured(plan)]


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
    "rpo_seconds": "the RPO{share}",
    LINE: "the line that the RPO needs",
}


_MEASURED: Final = {
    "change.average_message": "the mean size of a message",
    "change.message_bytes_per_log_byte": "how many bytes of messages go with one of log",
}
"""What is to be measured for a key that is not the amount itself."""


def _depending(plan: Plan) -> str:
    """The assumptions that should be measured first."""
    told: list[str] = []
    keys: list[str] = []
    share = f" {of_the_time(plan)}".rstrip()
    for found in dependences_of(plan):
        figure = _FIGURES[found.output].format(volume=volume_name(plan.protection), share=share)
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
            f"Measure {_MEASURED.get(found.key, 'it')}, and give it as {found.key}.",
        ]
    return " ".join(told)


def _measured(plan: Plan) -> str:
    """Of how little the plan was made, where that is much less than the plan."""
    known, span = plan.change.measured_seconds, plan.change.grid.span_seconds
    if known is None or (known >= LITTLE_DATA_SHARE * span and known >= 86_400):
        return ""
    advice = ": measure a week at least" if known < LEAST_WEEK_SECONDS else ""
    if known < 86_400:
        advice += ", for the hours that were not measured are not in it"
    made_of, lasts = format_duration(known), format_duration(span)
    return f"All of this is planned from {made_of} of data, for {lasts}{advice}."


def recovery_sentence(plan: Plan) -> str:
    """How long a recovery takes."""
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
