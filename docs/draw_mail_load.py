"""Draws ``docs/mail-load.svg``: a week of 1,000 heavy mailboxes of 2007.

.venv/bin/python docs/draw_mail_load.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from simulator.exchange.diurnal import DAY_NS, HOUR_NS
from simulator.exchange.mail_events import Deliver
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import MIB, select_profile
from simulator.report import ink
from simulator.report.axes import dress, title

ROOT = Path(__file__).resolve().parents[1]
MINUTES = 5
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def draw() -> Figure:
    plan = MailPlan(select_profile("2007", "heavy"), 1_000, 7 * DAY_NS)
    per_hour = np.zeros(7 * 24)
    slots = 24 * 60 // MINUTES
    monday_bytes = np.zeros(slots)
    for event in MailStream(plan).events():
        if isinstance(event, Deliver):
            per_hour[event.time_ns // HOUR_NS] += len(event.recipients)
            if event.time_ns < DAY_NS:
                slot = event.time_ns * slots // DAY_NS
                monday_bytes[slot] += event.size_bytes * len(event.recipients)
    received = plan.profile.received_per_day.value * plan.mailboxes
    expected = [
        plan.curve.expected(received, hour * HOUR_NS, (hour + 1) * HOUR_NS)
        for hour in range(7 * 24)
    ]
    figure = Figure(figsize=(11, 5.2))
    week, day = figure.subplots(
        2, 1, gridspec_kw={"left": 0.07, "right": 0.97, "top": 0.93, "bottom": 0.08, "hspace": 0.5}
    )
    title(week, "Messages received in an hour", "generated; line: expected of the curve")
    week.stairs(per_hour, np.arange(7 * 24 + 1) / 24, fill=True, color=ink.WIRE.stand_in)
    week.stairs(expected, np.arange(7 * 24 + 1) / 24, color=ink.BOUND.stand_in, linewidth=1.2)
    week.set_xlim(0, 7)
    title(day, "MB received on Monday, in five minutes", "1,000 heavy mailboxes of 2007")
    day.stairs(
        monday_bytes / MIB, np.arange(slots + 1) * 24 / slots, fill=True, color=ink.WIRE.stand_in
    )
    day.set_xlim(0, 24)
    for axes in (week, day):
        dress(axes)
        axes.set_ylim(0)
        axes.tick_params(axis="x", labelbottom=True, bottom=True)
    week.set_xticks(range(7), DAYS, ha="left")
    day.set_xticks(range(0, 25, 3), [f"{hour:02}:00" for hour in range(0, 25, 3)])
    return figure


if __name__ == "__main__":
    with ink.drawing():
        picture = ink.to_svg_file(draw(), "A week of deliveries, and the bytes of its Monday")
    (ROOT / "docs/mail-load.svg").write_text(picture, encoding="utf-8")
