"""The tables of a plan: which there are, and what stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulator.plan.plan_objectives import needs_of, outcomes_of
from simulator.plan.plan_rows import RESYNCHRONIZATION_UNKNOWN, frame_rows, with_reason
from simulator.plan.planner import Plan
from simulator.report.plan_story import objective_name, wanted_words
from simulator.report.plan_table import Column, PlanTable, Quantity, Row
from simulator.report.plan_units import FORMATS, OUTPUTS, input_name, input_quantity, is_amount


def _seconds(key: str, name: str, missing: str = "never") -> Column:
    return Column(key, name, "seconds", missing=missing)


def _bytes(key: str, name: str, missing: str = "-") -> Column:
    return Column(key, name, "bytes", missing=missing)


def _table(
    key: str, title: str, columns: Sequence[Column], rows: Sequence[Row], note: str = ""
) -> PlanTable:
    """Of the rows only what the columns name; a column of reasons goes where nothing has one."""
    shown = [c for c in columns if c.key != "reason" or any(row["reason"] for row in rows)]
    kept = tuple({c.key: row[c.key] for c in shown} for row in rows)
    return PlanTable(key, title, tuple(shown), kept, note)


_REASON: Final = Column("reason", "Remark")
_HOUR: Final = Column("hour", "Begin", "hour")


def plan_tables(plan: Plan) -> list[PlanTable]:
    """All tables of a plan, in the order of the report; those without a row are left out."""
    rows = with_reason(plan)
    made = [
        _objectives(plan),
        _needs(plan),
        _kinds(rows["kinds"]),
        _rates(plan, rows["rates"]),
        _table(
            "lags",
            "The RPO that the planned line gives",
            [Column("share_of_time", "Share of the time", "share"), _seconds("rpo_seconds", "RPO")],
            rows["lags"] if plan.use.catches_up else [],
        ),
        _violations(plan, rows["violations"]),
        _days(rows["days"]),
        _spools(plan),
        _given_spool(plan, rows),
        _returns(plan, rows["returns"]),
        _table(
            "replica",
            "What waits at the replica",
            [
                Column("cause", "Because of"),
                _seconds("seconds", "Nothing applied for"),
                _bytes("spool_bytes", "Spool"),
                Column("begins_at", "Worst begin"),
                _REASON,
            ],
            [{**row, "begins_at": _moment(row["begins_at"])} for row in rows["replica"]],
        ),
        _first_copy(rows["first_copy"]),
        _recovery(rows["recovery"]),
        _drawn(plan),
        _validity(rows["validity"]),
        _sensitivity(rows["tornado"]),
    ]
    return [table for table in made if table.rows]


def _moment(text: str | None) -> str | None:
    """An ISO time without its seconds."""
    return None if text is None else text.replace("T", " ")[:16]


def _objectives(plan: Plan) -> PlanTable:
    rows = [
        {
            "objective": objective_name(each),
            "wanted": wanted_words(plan, each),
            "found": Quantity(each.unit, each.found),
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
        _REASON,
    ]
    return _table("objectives", "Objectives", columns, rows)


def _needs(plan: Plan) -> PlanTable:
    words = {True: "enough", False: "not enough", None: "-"}
    rows = [
        {
            "item": each.item,
            "given": Quantity(each.unit, each.given, "none"),
            "needed": Quantity(each.unit, each.needed, "-"),
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
        _REASON,
    ]
    return _table(
        "needs",
        "What to have",
        columns,
        rows,
        "Advised has the plan's margin on top. For a log volume: how long it lasts.",
    )


def _kinds(rows: list[Row]) -> PlanTable:
    columns = [
        Column("kind", "Kind"),
        Column("catches_up", "Catches up", "flag"),
        Column("mean_utilisation", "Line used", "share"),
        *(_seconds(f"rpo_{n}_seconds", f"RPO {n} %") for n in (50, 95, 99, 100)),
        _bytes("waiting_peak_bytes", "Waits at most", "grows for ever"),
        _bytes("carried_bytes_per_day", "Carried a day"),
        _REASON,
    ]
    note = "RPO: not exceeded for so much of the time, outages at dates included."
    return _table("kinds", "Kinds of protection side by side", columns, rows, note)


def _rates(plan: Plan, rows: list[Row]) -> PlanTable:
    columns = [
        Column("share_of_time", "Share of the time", "share"),
        Column("bits_per_second", "Line rate needed", "bits_per_second", missing="none does it"),
        Column("times_planned", "Times the planned one", "number"),
        Column("streams", "TCP streams that would do", "count"),
        _REASON,
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
    note = "Outages left aside; other rates at certain hours stay in proportion."
    goal = FORMATS["seconds"](plan.organisation.objectives.rpo_ns / 1e9)
    return _table("rates", f"Line rate for an RPO of {goal}", columns, more, note)


def _violations(plan: Plan, rows: list[Row]) -> PlanTable:
    columns = [
        Column("begins_at", "From"),
        _seconds("length_seconds", "For"),
        _seconds("largest_lag_seconds", "Largest lag"),
    ]
    goal = FORMATS["seconds"](plan.organisation.objectives.rpo_ns / 1e9)
    return _table(
        "violations",
        f"When the RPO of {goal} is exceeded",
        columns,
        [{**row, "begins_at": _moment(row["begins_at"])} for row in rows],
    )


def _days(rows: list[Row]) -> PlanTable:
    columns = [
        Column("date", "Day"),
        _seconds("largest_lag_seconds", "Largest lag"),
        _seconds("violated_seconds", "RPO exceeded for"),
    ]
    return _table("days", "Day by day", columns, rows)


def _spools(plan: Plan) -> PlanTable:
    sound = plan.use.catches_up
    rows = [
        {
            "length_seconds": each.length_seconds,
            "needed_bytes": each.needed_bytes if sound else None,
            "recommended_bytes": each.recommended_bytes if sound else None,
            "worst_begins_at": _moment(each.worst_begins_at) if sound else None,
            "rule_of_thumb_bytes": each.rule_of_thumb_bytes,
            "reason": each.remark if sound else plan.use.reason,
        }
        for each in sorted(plan.spools, key=lambda each: each.length_seconds)
    ]
    columns = [
        _seconds("length_seconds", "Outage of"),
        _bytes("needed_bytes", "Spool needed", "grows for ever"),
        _bytes("recommended_bytes", "Advised"),
        Column("worst_begins_at", "Worst begin", missing="any"),
        _bytes("rule_of_thumb_bytes", "10 % rule"),
        _REASON,
    ]
    planned = FORMATS["seconds"](plan.organisation.outages.planned_ns / 1e9)
    note = f"The planned outage is that of {planned}; each begins at its worst time."
    return _table("spools", "Spool by length of the outage", columns, rows, note)


def _given_spool(plan: Plan, rows: dict[str, list[Row]]) -> PlanTable:
    outages = {row["hour"]: row for row in rows["spool_outages"]}
    unknown = any(row["compared_bytes"] is None for row in rows["spool_outages"])
    nothing = {"full_after_seconds": None, "unprotected_seconds": None, "stands_still_seconds": 0.0}
    made = []
    for row in rows["lasts"]:
        outage = outages.get(row["hour"], nothing)
        reasons = [each for each in (row["reason"],) if each]
        made.append(
            {
                **row,
                **{key: outage[key] for key in nothing},
                "reason": "; ".join(reasons),
            }
        )
    columns = [
        _HOUR,
        _seconds("shortest_seconds", "Lasts at least", "to the end"),
        _seconds("median_seconds", "Half the starts", "to the end"),
        _seconds("full_after_seconds", "Planned outage: full after", "holds"),
        _seconds(
            "unprotected_seconds",
            "Then unprotected for",
            "not known" if unknown else "never",
        ),
        _seconds("stands_still_seconds", "Store stands still"),
        _REASON,
    ]
    volume = plan.organisation.protection.spool_bytes
    size = "" if volume is None else f" of {FORMATS['bytes'](float(volume))}"
    title = f"How long the spool{size} lasts, by hour of the begin"
    return _table(
        "lasts",
        title,
        columns,
        made,
        f"{RESYNCHRONIZATION_UNKNOWN.capitalize()}." if unknown else "",
    )


def _returns(plan: Plan, rows: list[Row]) -> PlanTable:
    columns = [
        _HOUR,
        _seconds("lag_at_return_seconds", "Lag at the return"),
        _seconds("lag_peak_seconds", "Largest lag"),
        # A start late in the plan may be caught up after its end: that is not "never".
        _seconds(
            "catch_up_seconds",
            "Caught up after",
            "not in the plan" if plan.use.catches_up else "never",
        ),
        _REASON,
    ]
    length = FORMATS["seconds"](plan.organisation.outages.planned_ns / 1e9)
    return _table("returns", f"After an outage of {length}, by hour of its begin", columns, rows)


def _first_copy(rows: list[Row]) -> PlanTable:
    columns = [
        Column("way", "Way"),
        _seconds("read_seconds", "Read"),
        _seconds("way_seconds", "On the way"),
        _seconds("load_seconds", "Loaded"),
        _seconds("catch_up_seconds", "Catching up"),
        _seconds("converges_after_seconds", "In all"),
        _bytes("spool_peak_bytes", "Spool meanwhile"),
        _REASON,
    ]
    return _table("first_copy", "The first copy", columns, rows)


def _recovery(rows: list[Row]) -> PlanTable:
    columns = [
        Column("protection", "Kind"),
        _seconds("detect_seconds", "Detect"),
        _seconds("decide_seconds", "Decide"),
        _seconds("restore_seconds", "Restore"),
        _seconds("apply_seconds", "Apply"),
        _seconds("replay_seconds", "Replay"),
        _seconds("mount_seconds", "Mount"),
        _seconds("redirect_seconds", "Redirect"),
        _seconds("total_seconds", "RTO"),
        _REASON,
    ]
    return _table("recovery", "Recovery time (RTO) by part", columns, rows)


_MEASURES: Final = {
    "spool_peak_bytes": ("spool at its peak", "bytes"),
    "rpo_seconds": ("work that could be lost", "seconds"),
    "catch_up_seconds": ("catching up", "seconds"),
    "unprotected_seconds": ("not current", "seconds"),
    "outages": ("outages", "count"),
    "largest_spool_peak_bytes": ("largest spool", "bytes"),
    "largest_rpo_seconds": ("most work that could be lost", "seconds"),
}


def _drawn(plan: Plan) -> PlanTable:
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
        _REASON,
    ]
    span = FORMATS["seconds"](plan.change.grid.span_seconds)
    note = (
        f"{len(drawn.outages):,} outages in {drawn.years:,} spans of {span}, seed {drawn.seed}; "
        f"{FORMATS['share'](drawn.overlapping_share)} began before the one before was caught up."
    )
    return _table("drawn", "Drawn outages", columns, rows, note)


def _input(row: Row, key: str, missing: str = "never") -> Quantity:
    """A value of the input that a row names."""
    unit, value = input_quantity(row["input"], 0.0 if row[key] is None else row[key])
    return Quantity(unit, None if row[key] is None else value, missing)


def _validity(rows: list[Row]) -> PlanTable:
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
    return _table("validity", "How long the answer holds", columns, made, note)


def _sensitivity(rows: list[Row]) -> PlanTable:
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
        _REASON,
    ]
    note = "Inputs that move nothing are left out here; the JSON record has them."
    return _table("sensitivity", "What the answer depends on", columns, made, note)
