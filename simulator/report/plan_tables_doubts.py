"""Tables of a plan: drawn outages, while what it holds, and what it depends on."""

from __future__ import annotations

from typing import Final

from simulator.plan.plan_rows import frame_rows
from simulator.plan.planner import Plan
from simulator.report.plan_table import REASON, Column, PlanTable, Quantity, Row, table_of
from simulator.report.plan_units import FORMATS, OUTPUTS, input_name, input_quantity, is_amount

_MEASURES: Final = {
    "spool_peak_bytes": ("spool at its peak", "bytes"),
    "rpo_seconds": ("work that could be lost", "seconds"),
    "catch_up_seconds": ("catching up", "seconds"),
    "unprotected_seconds": ("not current", "seconds"),
    "outages": ("outages", "count"),
    "largest_spool_peak_bytes": ("largest spool", "bytes"),
    "largest_rpo_seconds": ("most work that could be lost", "seconds"),
}


def drawn_table(plan: Plan) -> PlanTable:
    drawn, rows = plan.drawn, []
    # A plan shorter than a year is simulated many times; each is one span of it.
    for per, frame in (("outage", drawn.of_outages()), ("span", drawn.of_years())):
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
        Column("per", "Of an"),
        Column("measure", "Measure"),
        Column("share", "Not above it", "share"),
        Column("estimate", "Value", "own"),
        Column("low", "95 % interval from", "own"),
        Column("high", "to", "own"),
        REASON,
    ]
    span = FORMATS["seconds"](plan.change.grid.span_seconds)
    note = (
        f"{len(drawn.outages):,} outages in {drawn.years:,} spans of {span}, seed {drawn.seed}; "
        f"{FORMATS['share'](drawn.overlapping_share)} began before the one before was caught up."
    )
    return table_of("drawn", "Drawn outages", columns, rows, note)


def _input(row: Row, key: str, missing: str = "never") -> Quantity:
    """A value of the input that a row names."""
    unit, value = input_quantity(row["input"], 0.0 if row[key] is None else row[key])
    return Quantity(unit, None if row[key] is None else value, missing)


def validity_table(rows: list[Row]) -> PlanTable:
    made = [
        {
            "input": input_name(row["input"]),
            "planned": _input(row, "planned"),
            "direction": row["direction"],
            "holds_until": _input(row, "holds_until", "not as planned"),
            "breaks": row["breaks"] or "nothing up to there",
        }
        for row in rows
    ]
    columns = [
        Column("input", "Input"),
        Column("planned", "Planned", "own"),
        Column("direction", "Going"),
        Column("holds_until", "Holds until", "own"),
        Column("breaks", "What breaks"),
    ]
    note = "Each input alone, the others as planned."
    return table_of("validity", "How long the answer holds", columns, made, note)


def sensitivity_table(rows: list[Row]) -> PlanTable:
    made = []
    for row in rows:
        if row["swing"] == 0 or not is_amount(row["input"]):
            continue  # it does not matter
        name, unit = OUTPUTS.get(row["output"], (row["output"], "number"))
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
    return table_of("sensitivity", "What the answer depends on", columns, made, note)
