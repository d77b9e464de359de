"""Tables of a plan: spools, outages, the first copy and the recovery."""

from __future__ import annotations

from simulator.plan.plan_rows import RESYNCHRONIZATION_UNKNOWN
from simulator.plan.plan_spool_words import WAYS
from simulator.plan.plan_units import FORMATS
from simulator.plan.planner import Plan
from simulator.plan.waiting_volume import volume_name
from simulator.report.plan_table import (
    HOUR,
    REASON,
    Column,
    PlanTable,
    Row,
    bytes_column,
    moment,
    seconds_column,
    table_of,
)


def spools_table(plan: Plan) -> PlanTable:
    sound = not plan.no_size  # else no spool is enough, and the answer says so
    rows = [
        {
            "length_seconds": each.length_seconds,
            "needed_bytes": None if each.remark else each.needed_bytes,
            "recommended_bytes": None if each.remark else each.recommended_bytes,
            "worst_begins_at": moment(each.worst_begins_at),
            "rule_of_thumb_bytes": each.rule_of_thumb_bytes,
            "reason": each.remark,
        }
        for each in sorted(plan.spools, key=lambda each: each.length_seconds)
        if sound
    ]
    name = volume_name(plan.protection).capitalize()
    columns = [
        seconds_column("length_seconds", "Outage of"),
        bytes_column("needed_bytes", f"{name} needed", "none is enough"),
        bytes_column("recommended_bytes", "Advised", "-"),
        Column("worst_begins_at", "Worst begin"),
        bytes_column("rule_of_thumb_bytes", "10 % rule"),
        REASON,
    ]
    planned = FORMATS["seconds"](plan.organisation.outages.planned_ns / 1e9)
    note = f"The planned outage is that of {planned}; each begins at its worst time."
    return table_of("spools", f"{name} by length of the outage", columns, rows, note)


def given_spool_table(plan: Plan, rows: dict[str, list[Row]]) -> PlanTable:
    outages = {row["hour"]: row for row in rows["spool_outages"]}
    unknown = any(row["compared_bytes"] is None for row in rows["spool_outages"])
    nothing = {"full_after_seconds": None, "unprotected_seconds": None, "stands_still_seconds": 0.0}
    made = []
    late = False
    for row in [] if plan.no_size else rows["lasts"]:
        outage = outages.get(row["hour"], nothing)
        reasons = [each for each in (row["reason"],) if each]
        late = late or _is_late(row, outage)
        made.append(
            {
                **row,
                **{key: outage[key] for key in nothing},
                "reason": "; ".join(reasons),
            }
        )
    columns = [
        HOUR,
        seconds_column("shortest_seconds", "Line stays down: lasts at least", "to the end"),
        seconds_column("median_seconds", "Half the starts", "to the end"),
        seconds_column("full_after_seconds", "Planned outage: full after", "holds"),
        seconds_column(
            "unprotected_seconds",
            "Then unprotected for",
            "not known" if unknown else "the rest of the plan",
        ),
        seconds_column("stands_still_seconds", "Store stands still"),
        REASON,
    ]
    name, size = volume_name(plan.protection), FORMATS["bytes"](plan.spool_volume_bytes)
    advised = "" if plan.spool_is_given else " that is advised"
    title = f"How long the {name} of {size}{advised} lasts, by hour of the begin"
    notes = []
    if any(row["full_after_seconds"] is not None for row in made):
        notes.append(
            "Of the planned outage each hour has the begin after which the site is unprotected, or "
            "the store stands still, for longest."
        )
    if late:
        notes.append(
            "Full after just the planned outage: it is full only when the line is back, while it "
            "catches up."
        )
    if unknown:
        notes.append(f"{RESYNCHRONIZATION_UNKNOWN.capitalize()}.")
    return table_of("lasts", title, columns, made, " ".join(notes))


def _is_late(row: Row, outage: Row) -> bool:
    """Whether it is full only while it catches up: it would last longer than it was down."""
    full, lasts = outage["full_after_seconds"], row["shortest_seconds"]
    return full is not None and (lasts is None or lasts > full)


def returns_table(plan: Plan, rows: list[Row]) -> PlanTable:
    columns = [
        HOUR,
        seconds_column("lag_at_return_seconds", "Lag at the return"),
        seconds_column("lag_peak_seconds", "Largest lag"),
        # A start late in the plan may be caught up after its end: that is not "never".
        seconds_column("catch_up_seconds", "Caught up after", "not in the plan"),
        REASON,
    ]
    length = FORMATS["seconds"](plan.organisation.outages.planned_ns / 1e9)
    shown = rows if plan.use.catches_up else []
    return table_of("returns", f"After an outage of {length}, by hour of its begin", columns, shown)


def first_copy_table(plan: Plan, rows: list[Row]) -> PlanTable:
    sound, where = not plan.no_size, volume_name(plan.protection).capitalize()
    columns = [
        Column("way", "Way"),
        seconds_column("read_seconds", "Read"),
        seconds_column("way_seconds", "On the way"),
        seconds_column("load_seconds", "Loaded"),
        seconds_column("catch_up_seconds", "Catching up"),
        seconds_column("converges_after_seconds", "In all"),
        bytes_column("spool_peak_bytes", f"{where} meanwhile", "no size is enough"),
        REASON,
    ]
    # What waits when the plan ends is no size to buy where it only grows.
    made = [
        row
        if sound and row["converges_after_seconds"] is not None
        else {**row, "spool_peak_bytes": None}
        for row in rows
    ]
    return table_of("first_copy", "The first copy", columns, made)


def copy_begins_table(plan: Plan, rows: list[Row]) -> PlanTable:
    where = volume_name(plan.protection).capitalize()
    columns = [
        Column("begins_at", "Begin"),
        seconds_column("converges_after_seconds", "In all"),
        bytes_column("spool_peak_bytes", f"{where} meanwhile"),
        REASON,
    ]
    made = [{**row, "begins_at": moment(row["begins_at"])} for row in rows if not plan.no_size]
    title = f"The first copy {WAYS[plan.organisation.first_copy.by]}, by its begin"
    return table_of("copy_begins", title, columns, made)


def recovery_table(rows: list[Row]) -> PlanTable:
    columns = [
        Column("protection", "Kind"),
        seconds_column("detect_seconds", "Detect"),
        seconds_column("decide_seconds", "Decide"),
        seconds_column("restore_seconds", "Restore"),
        seconds_column("apply_seconds", "Apply"),
        seconds_column("replay_seconds", "Replay"),
        seconds_column("mount_seconds", "Mount"),
        seconds_column("redirect_seconds", "Redirect"),
        seconds_column("total_seconds", "RTO"),
        REASON,
    ]
    return table_of("recovery", "Recovery time (RTO) by part", columns, rows)
