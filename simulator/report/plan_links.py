"""Lines that could be bought as a table of the report."""

from __future__ import annotations

import pandas as pd

from simulator.plan.plan_rows import frame_rows
from simulator.report.plan_table import Column, PlanTable


def link_table(choices: pd.DataFrame) -> PlanTable:
    """Lines side by side.

    Arguments
    ---------
    choices: as :func:`~simulator.plan.link_choices.link_choices` gives them.
    """
    columns = [
        Column("name", "Line"),
        Column("bits_per_second", "Line rate", "bits_per_second"),
        Column("streams_bits_per_second", "TCP carries", "bits_per_second", missing="all of it"),
        Column("mean_utilisation", "Busy", "share"),
        Column("rpo_seconds", "RPO", "seconds", missing="never"),
        Column("catch_up_seconds", "Caught up after", "seconds", missing="never"),
        Column("spool_bytes", "Spool needed", "bytes", missing="-"),
        Column("meets_rpo", "Keeps the RPO", "flag"),
        Column("reason", "Remark"),
    ]
    rows = frame_rows(choices)
    if not any(row["reason"] for row in rows):
        columns.pop()
    return PlanTable(
        "links",
        "Lines side by side",
        tuple(columns),
        tuple({c.key: row[c.key] for c in columns} for row in rows),
        "The planned outage begins at its worst hour; outages at dates are left aside.",
    )
