"""Tables of a plan: drawn outages, while what it holds, and what it depends on."""

from __future__ import annotations

from typing import Final

from simulator.plan.plan_limit_words import together_words
from simulator.plan.plan_objectives import outcomes_of
from simulator.plan.plan_rows import frame_rows
from simulator.plan.plan_units import (
    FORMATS,
    format_volume,
    input_name,
    input_quantity,
    output_name,
)
from simulator.plan.planner import Plan
from simulator.plan.schedule_words import schedule_sentence
from simulator.plan.waiting_volume import volume_name
from simulator.report.plan_table import REASON, Column, PlanTable, Quantity, Row, table_of

NOTHING: Final = "nothing up to there"
"""Of an input that breaks nothing as far as was looked."""
_MEASURES: Final = {
    "spool_peak_bytes": ("spool", "bytes"),
    "rpo_seconds": ("RPO", "seconds"),
    "catch_up_seconds": ("catching up", "seconds"),
    "unprotected_seconds": ("outage and catching up", "seconds"),
    "outages": ("outages", "count"),
    "largest_spool_peak_bytes": ("largest spool", "bytes"),
    "largest_rpo_seconds": ("largest RPO", "seconds"),
}


def drawn_table(plan: Plan) -> PlanTable:
    drawn, rows = plan.drawn, []
    # A plan shorter than a year is simulated many times, each time all of it.
    span = FORMATS["seconds"](plan.change.grid.span_seconds)
    for per, frame in (("an outage", drawn.of_outages()), (span, drawn.of_years())):
        for row in frame_rows(frame):
            name, unit = _MEASURES[row["measure"]]
            rows.append(
                {
                    "per": per,
                    "measure": name,
                    "share": row["share"],
                    "estimate": Quantity(unit, row["estimate"]),
                    "low": Quantity(unit, row["low"], "open"),
                    "high": Quantity(unit, row["high"], "open"),
                    "reason": row["reason"],
                }
            )
    columns = [
        Column("per", "In"),
        Column("measure", "Measure"),
        Column("share", "Not above it", "share"),
        Column("estimate", "Value", "own"),
        Column("low", "95 % interval from", "own"),
        Column("high", "to", "own"),
        REASON,
    ]
    note = (
        f"{len(drawn.outages):,} outages in {drawn.years:,} times {span}, seed {drawn.seed}; "
        f"{FORMATS['share'](drawn.overlapping_share)} began before the one before was caught up."
    )
    # Where none is to be expected, none is drawn, and nothing is "never".
    shown = rows if plan.use.catches_up and len(drawn.outages) else []
    return table_of("drawn", "Drawn outages", columns, shown, note)


def _input(row: Row, key: str, missing: str = "never") -> Quantity:
    """A value of the input that a row names."""
    unit, value = input_quantity(row["input"], 0.0 if row[key] is None else row[key])
    return Quantity(unit, None if row[key] is None else value, missing)


def validity_table(plan: Plan, rows: list[Row]) -> PlanTable:
    title, note = "How long the answer holds", "Each input alone, the others as planned."
    note += _of_schedule(plan) + _as_advised(plan)
    missed = [each.objective for each in outcomes_of(plan) if not each.met]
    shared = [Column("input", "Input"), Column("planned", "Planned", "own")]
    made: list[Row] = [
        {"input": input_name(row["input"]), "planned": _input(row, "planned")} for row in rows
    ]
    if not missed:
        for table_row, row in zip(made, rows, strict=True):
            table_row |= {
                "direction": row["direction"],
                "holds_until": _input(row, "holds_until", "not as planned"),
                "breaks": row["breaks"] or NOTHING,
            }
        columns = [
            *shared,
            Column("direction", "Going"),
            Column("holds_until", "Holds until", "own"),
            Column("breaks", "What breaks"),
        ]
        return table_of("validity", title, columns, made, note)
    for table_row, row in zip(made, rows, strict=True):
        table_row |= {
            "answer": "does not hold as planned",
            "would_hold_at": _input(row, "would_hold_at", "nowhere alone"),
            "others_until": _input(row, "others_until", "-"),
            "breaks": row["others_break"] or ("-" if row["others_until"] is None else NOTHING),
        }
    columns = [
        *shared,
        Column("answer", "The answer"),
        Column("would_hold_at", "Would hold at", "own"),
        Column("others_until", "The rest holds until", "own"),
        Column("breaks", "What breaks then"),
    ]
    note += f" The plan does not hold as planned ({', '.join(missed)}); the rest is what it meets."
    note += _together(plan, rows)
    return table_of("validity", title, columns, made, note)


def _of_schedule(plan: Plan) -> str:
    return f" {schedule_sentence(plan.link)}".rstrip()


def _as_advised(plan: Plan) -> str:
    """With which volume it was computed, where none is given."""
    if not plan.spools or plan.spool_is_given or plan.no_size:
        return ""
    size = format_volume(plan.spool_volume_bytes)
    return f" The {volume_name(plan.protection)} is the one advised, {size}."


def _together(plan: Plan, rows: list[Row]) -> str:
    """What heals a plan that no input heals alone."""
    for row in rows:
        if row["together_at"] is not None:
            return f" It would with {together_words(plan, row)}."
    return ""


def sensitivity_table(plan: Plan, rows: list[Row]) -> PlanTable:
    made = []
    for row in rows:
        if row["swing"] == 0 or row["base"] is None:
            continue  # it does not matter, or nothing is there to be moved
        name, unit = output_name(row["output"], volume_name(plan.protection))
        made.append(
            {
                "output": name,
                "input": input_name(row["input"]),
                "from": _input(row, "low_input"),
                "to": _input(row, "high_input"),
                "at_low": Quantity(unit, row["at_low"]),
                "base": Quantity(unit, row["base"]),
                "at_high": Quantity(unit, row["at_high"]),
                "reason": row["reason"],
            }
        )
    columns = [
        Column("output", "Answer"),
        Column("input", "Input"),
        Column("from", "From", "own"),
        Column("to", "To", "own"),
        Column("at_low", "Answer at the first", "own"),
        Column("base", "As planned", "own"),
        Column("at_high", "At the second", "own"),
        REASON,
    ]
    note = "Inputs that move nothing are left out here; the JSON record has them."
    note += _of_schedule(plan)
    return table_of("sensitivity", "What the answer depends on", columns, made, note)
