"""The tables of a plan: which there are, and what stands in them."""

from __future__ import annotations

from simulator.plan.kind_facts import KIND_FACTS
from simulator.plan.plan_line_words import outages_counted
from simulator.plan.plan_objectives import Need, needs_of, outcomes_of
from simulator.plan.plan_rows import with_reason
from simulator.plan.plan_spool_words import WAYS
from simulator.plan.plan_units import FORMATS
from simulator.plan.planner import Plan
from simulator.plan.replica_waits import KEPT
from simulator.plan.schedule_words import schedule_sentence
from simulator.plan.sizes_to_buy import sizes_to_buy
from simulator.report.plan_story import objective_name, shown_finding, wanted_words
from simulator.report.plan_table import (
    REASON,
    Column,
    PlanTable,
    Quantity,
    Row,
    bytes_column,
    moment,
    seconds_column,
    table_of,
)
from simulator.report.plan_tables_doubts import drawn_table, sensitivity_table, validity_table
from simulator.report.plan_tables_outages import (
    copy_begins_table,
    first_copy_table,
    given_spool_table,
    recovery_table,
    returns_table,
    spools_table,
)


def plan_tables(plan: Plan) -> list[PlanTable]:
    """All tables of a plan, in the order of the report; those without a row are left out."""
    rows = with_reason(plan)
    made = [
        _objectives(plan),
        _needs(plan),
        _kinds(plan, rows["kinds"]),
        _kind_facts(plan),
        _rates(plan, rows["rates"]),
        table_of(
            "lags",
            "The RPO that the planned line gives",
            [
                Column("share_of_time", "Share of the time", "share"),
                seconds_column("rpo_seconds", "RPO"),
            ],
            rows["lags"] if plan.use.catches_up else [],
        ),
        _violations(plan, rows["violations"]),
        _days(rows["days"]),
        spools_table(plan),
        given_spool_table(plan, rows),
        returns_table(plan, rows["returns"]),
        table_of(
            "replica",
            "What waits at the replica",
            [
                Column("cause", "Because of"),
                seconds_column("seconds", "Nothing applied for"),
                bytes_column("spool_bytes", "Spool"),
                Column("begins_at", "Worst begin"),
                REASON,
            ],
            [{**row, "begins_at": moment(row["begins_at"])} for row in rows["replica"]]
            if not plan.no_size
            else [],
            f"At {plan.protection.name} it keeps {KEPT[plan.protection.name]}.",
        ),
        first_copy_table(plan, rows["first_copy"]),
        copy_begins_table(plan, rows["copy_begins"]),
        recovery_table(rows["recovery"]),
        drawn_table(plan),
        validity_table(plan, rows["validity"]),
        sensitivity_table(plan, rows["tornado"]),
    ]
    return [table for table in made if table.rows]


def _objectives(plan: Plan) -> PlanTable:
    rows = [
        {
            "objective": objective_name(each),
            "wanted": wanted_words(plan, each),
            "found": Quantity(each.unit, shown_finding(each)),
            "met": "met" if each.met else "missed",
            "reason": each.reason,
        }
        for each in outcomes_of(plan)
    ]
    columns = [
        Column("objective", "Objective"),
        Column("wanted", "Wanted"),
        Column("found", "Found", "own"),
        Column("met", "Outcome"),
        REASON,
    ]
    return table_of("objectives", "Objectives", columns, rows)


def _needs(plan: Plan) -> PlanTable:
    words = {True: "enough", False: "not enough", None: "-"}
    rows = [
        {
            "item": each.item,
            "given": Quantity(each.unit, each.given, "none"),
            "needed": Quantity(each.unit, each.needed or None, _not_needed(each)),
            "advised": Quantity(each.unit, each.advised, "-"),
            "enough": words[each.enough],
            "what_for": each.what_for,
            "reason": each.reason,
        }
        for each in needs_of(plan)
    ]
    columns = [
        Column("item", "Item"),
        Column("given", "Planned", "own"),
        Column("needed", "Needed", "own"),
        Column("advised", "Advised", "own"),
        Column("enough", "Planned is"),
        Column("what_for", "For"),
        REASON,
    ]
    return table_of(
        "needs",
        "What to have",
        columns,
        rows,
        "Advised has the plan's margin on top. A volume is bought once, in the size of the largest "
        f"of its rows{_bought(plan)}.",
    )


def _bought(plan: Plan) -> str:
    """``: spool at the source 75.7 GB, ...``."""
    sizes = [each for each in sizes_to_buy(plan) if each.size_bytes is not None]
    told = [f"{each.volume} {FORMATS['bytes'](each.size_bytes or 0.0)}" for each in sizes]
    return f": {', '.join(told)}" if told else ""


def _not_needed(need: Need) -> str:
    """What stands in place of a figure."""
    if need.needed == 0:
        return "none"
    return "none is enough" if need.unit == "bytes" else "-"


def _kinds(plan: Plan, rows: list[Row]) -> PlanTable:
    columns = [
        Column("kind", "Kind"),
        Column("catches_up", "Catches up", "flag"),
        Column("mean_utilisation", "Line used", "share"),
        *(seconds_column(f"rpo_{n}_seconds", f"RPO {n} %") for n in (50, 95, 99, 100)),
        bytes_column("spool_bytes", "Spool"),
        seconds_column("first_copy_seconds", "First copy", "-"),
        seconds_column("rto_seconds", "RTO", "not known"),
        Column("missed", "Misses"),
        bytes_column("waiting_peak_bytes", "Waits at most in the plan", "grows for ever"),
        bytes_column("carried_bytes_per_day", "Carried a day"),
        REASON,
    ]
    length = FORMATS["seconds"](plan.organisation.outages.planned_ns / 1e9)
    note = (
        f"RPO: not exceeded for so much of the time, {outages_counted(plan)}. Spool: needed for "
        f"an outage of {length}, without margin; of log shipping on the log volume. First copy: "
        f"{WAYS[plan.organisation.first_copy.by]}, changes of the meantime included."
    )
    return table_of("kinds", "Kinds of protection side by side", columns, rows, note)


def _kind_facts(plan: Plan) -> PlanTable:
    rows = [{"kind": name, **vars(KIND_FACTS[name])} for name in plan.protections]
    columns = [
        Column("kind", "Kind"),
        Column("copies", "Copies"),
        Column("lags", "Lags by nature"),
        Column("cannot", "Cannot"),
        Column("products", "Products of this class"),
    ]
    return table_of("kind_facts", "What the kinds of protection are", columns, rows)


def _rates(plan: Plan, rows: list[Row]) -> PlanTable:
    columns = [
        Column("share_of_time", "Share of the time", "share"),
        Column("bits_per_second", "Line rate needed", "bits_per_second", missing="none does it"),
        Column("times_planned", "Times the planned one", "number"),
        Column("streams", "TCP streams that would do", "count"),
        REASON,
    ]
    planned = plan.link.bits_per_second
    more = [
        {
            **row,
            "times_planned": None
            if row["bits_per_second"] is None
            else row["bits_per_second"] / planned,
        }
        for row in rows
    ]
    if all(row["streams"] is None for row in more):
        columns = [each for each in columns if each.key != "streams"]
    counted = outages_counted(plan)
    note = f"{schedule_sentence(plan.link)} {counted[0].upper()}{counted[1:]}.".lstrip()
    goal = FORMATS["seconds"](plan.organisation.objectives.rpo_ns / 1e9)
    return table_of("rates", f"Line rate for an RPO of {goal}", columns, more, note)


def _violations(plan: Plan, rows: list[Row]) -> PlanTable:
    columns = [
        Column("begins_at", "From"),
        seconds_column("length_seconds", "For"),
        seconds_column("largest_lag_seconds", "Largest lag"),
    ]
    goal = FORMATS["seconds"](plan.organisation.objectives.rpo_ns / 1e9)
    return table_of(
        "violations",
        f"When the RPO of {goal} is exceeded",
        columns,
        [{**row, "begins_at": moment(row["begins_at"])} for row in rows],
    )


def _days(rows: list[Row]) -> PlanTable:
    columns = [
        Column("date", "Day"),
        seconds_column("largest_lag_seconds", "Largest lag"),
        seconds_column("violated_seconds", "RPO exceeded for"),
    ]
    return table_of("days", "Day by day", columns, rows)
