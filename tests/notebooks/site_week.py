"""The site's week that a notebook plans from: made up, the same bytes each time.

Two storage groups of a server with 400 mailboxes: mail by day, an idle night, mailboxes
that were moved on Wednesday at noon, a restart of the server on Thursday at 02:00 during which no
sample was taken, and the blank first sample that every export has.  No site wrote it.

    python -m tests.notebooks.site_week > notebooks/data/site-week.csv
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

BEGIN = datetime(2026, 11, 2)
STEP = timedelta(minutes=15)
STEPS = 7 * 24 * 4
SERVER = "MBX1"
HEAD = "(PDH-CSV 4.0) (W. Europe Standard Time)(-60)"
COUNTER = r"\\{server}\MSExchange Database ==> Instances({group})\Log Bytes Write/sec"
GROUPS = {"First Storage Group": 52_000.0, "Second Storage Group": 34_000.0}
"""Bytes of logs a second at the busiest hour."""
BY_HOUR = (3, 3, 2, 2, 2, 4, 8, 25, 70, 100, 96, 82, 60, 74, 90, 86, 70, 42, 22, 14, 10, 8, 6, 4)
"""Percent of the busiest hour."""
WEEKEND = 0.12


def rate(at: datetime, most: float, draw: random.Random) -> float:
    """Bytes a second around a time of the week."""
    before, share = at.hour, at.minute / 60
    by_hour = BY_HOUR[before] * (1 - share) + BY_HOUR[(before + 1) % 24] * share
    day = WEEKEND if at.weekday() >= 5 else 1.0
    moved = 1.6 if at.weekday() == 2 and 12 <= at.hour < 14 else 1.0
    return most * by_hour / 100 * day * moved * (0.85 + 0.3 * draw.random())


def week_text() -> str:
    """The export as a file."""
    draw = random.Random("a site's week")
    counters = [COUNTER.format(server=SERVER, group=group) for group in GROUPS]
    lines = [",".join(f'"{cell}"' for cell in (HEAD, *counters))]
    for step in range(STEPS + 1):
        at = BEGIN + step * STEP
        # Drawn for the missing samples too, so that they change nothing beside them.
        values = [f"{rate(at - STEP, most, draw):.1f}" for most in GROUPS.values()]
        if at.weekday() == 3 and at.hour == 2 and at.minute in (0, 15, 30):
            continue
        cells = [" "] * len(values) if step == 0 else values
        lines.append(",".join(f'"{cell}"' for cell in (f"{at:%m/%d/%Y %H:%M:%S}.000", *cells)))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(week_text(), end="")
