"""The page ``docs/mail-load.md``: the load's figures, published and generated, side by side.

A test compares the page with :func:`mail_load_markdown`.  To renew it::

    .venv/bin/python -m simulator.exchange.mail_load_page > docs/mail-load.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, StrictUndefined

from simulator.exchange.diurnal import DAY_NS, DEFAULT_HOURS, HOUR_NS, WeekCurve
from simulator.exchange.hourly_logs import COLUMNS
from simulator.exchange.mail_batches import FATE_LAGS, READ_LAGS
from simulator.exchange.mail_figures import MailFigures, figures_of_week, week_plan
from simulator.exchange.mail_plan import Habits, MailPlan, nights_of
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.message_payload import PayloadMaker
from simulator.exchange.message_sizes import MessageSizes
from simulator.exchange.profiles import (
    KIB,
    MIB,
    PROFILES,
    Figure,
    ProfileFigures,
    Version,
    select_profile,
)

MESSAGES_COUNTED: Final = 200_000
_TEMPLATE: Final = Path(__file__).with_name("mail_load.md.j2")
_VERSIONS: Final[tuple[Version, ...]] = ("2003", "2007", "2010", "2013")


@cache
def _counted(of: tuple[str, str]) -> tuple[MailPlan, MailFigures]:
    plan = week_plan(PROFILES[of], MESSAGES_COUNTED)
    return plan, figures_of_week(plan)


def _asked_for(profile: ProfileFigures) -> tuple[float, ...]:
    figures = (profile.sent_per_day, profile.received_per_day, profile.average_message_bytes)
    return tuple(figure.value for figure in figures)


def generated_figures(profile: ProfileFigures) -> tuple[MailPlan, MailFigures]:
    """A counted week of a profile; profiles that ask for the same mail share one."""
    wanted = _asked_for(profile)
    return _counted(next(key for key, each in PROFILES.items() if _asked_for(each) == wanted))


def _cell(figure: Figure | None, unit: int = 1) -> str:
    return "" if figure is None else f"{figure.value / unit:g} [{figure.mark}]"


def _mail_rows() -> Iterator[tuple[str, ...]]:
    for profile in PROFILES.values():
        plan, found = generated_figures(profile)
        yield (
            profile.version,
            profile.name,
            f"{_cell(profile.sent_per_day)}, {found.sent:.1f}",
            f"{_cell(profile.received_per_day)}, {found.received:.1f}",
            f"{_cell(profile.average_message_bytes, KIB)}, {found.average_message_bytes / KIB:.1f}",
            f"{profile.mail_bytes_per_day / MIB:.2f}, {found.mail_bytes / MIB:.2f}",
            f"{plan.curve.peak_to_mean:.2f}, {found.peak_to_mean:.2f}",
        )


def _server_rows() -> Iterator[tuple[str, ...]]:
    for profile in PROFILES.values():
        amplification = profile.log_amplification
        yield (
            profile.version,
            profile.name,
            _cell(profile.iops),
            _cell(profile.iops_replicated),
            _cell(profile.logs_per_day),
            "" if amplification is None else f"{amplification:.2f} [D]",
            _cell(profile.reads_per_write),
            _cell(profile.cache_bytes, MIB),
            _cell(profile.mailbox_bytes, MIB),
        )


def _time_of_day(time_ns: int) -> str:
    minutes = time_ns // (HOUR_NS // 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _night_rows() -> Iterator[tuple[str, ...]]:
    for version in _VERSIONS:
        nights = nights_of(version)
        begin_ns, end_ns = nights.defragmentation_begin_ns, nights.defragmentation_end_ns
        passes = f"{_time_of_day(begin_ns)} to {_time_of_day(end_ns)}"
        scan = "all day" if nights.continuous else "in the window"
        yield (
            version,
            f"{_time_of_day(nights.begin_ns)} to {_time_of_day(nights.end_ns)}",
            f"{nights.retention_ns // DAY_NS} days",
            "all day, no passes" if nights.continuous else passes,
            scan if nights.scan else "none",
        )


def _hour_lines() -> Iterator[str]:
    """The default day, as a script writes it that has sampled 24 days."""
    for hour, percent in enumerate(DEFAULT_HOURS):
        logs = percent * 240
        fields = (hour, logs, 86_400, 24, logs / 24, percent, logs / 24, percent)
        yield ",".join(f'"{field:g}"' for field in fields)


def _lags(lags: tuple[tuple[int, float], ...]) -> str:
    return ", ".join(f"{hours} ({chance:.0%})" for hours, chance in lags)


def mail_load_markdown() -> str:
    """The text of ``docs/mail-load.md``."""
    sizes = MessageSizes(50 * KIB)
    drawn = sizes.draw(MESSAGES_COUNTED, np.random.default_rng(1)).size_bytes
    maker, curve, habits = PayloadMaker(), WeekCurve(), Habits()
    single = {
        version: generated_figures(select_profile(version, "heavy")) for version in ("2003", "2007")
    }
    peak = MailPlan(select_profile("2007", "heavy"), 1_000, DAY_NS)
    events = MailStream(peak).events(9 * HOUR_NS, 10 * HOUR_NS)
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        counted=f"{MESSAGES_COUNTED:,}",
        error=f"{drawn.std() / drawn.mean() / sqrt(len(drawn)):.1%}",
        mail=_mail_rows(),
        server=_server_rows(),
        median=f"{np.median(drawn) / KIB:.1f}",
        attached=f"{sizes.attached_share:.0%}",
        attachment_bytes=f"{sizes.attachment_byte_share:.0%}",
        body_ratio=f"{maker.body_ratio:g}",
        attachment_ratio=f"{maker.attachment_ratio:g}",
        saving_ratio=f"{PayloadMaker.saving(0.3, sizes).attachment_ratio:.2f}",
        internal=f"{habits.internal_share:.0%}",
        single={name: f"{found.single_instance_ratio:.2f}" for name, (_, found) in single.items()},
        databases=single["2007"][0].databases,
        peak_share=f"{max(curve.hours) / sum(curve.hours):.0%}",
        peak_to_mean=f"{curve.peak_to_mean:.1f}",
        weekend=f"{curve.days[5]:.0%}",
        header=",".join(COLUMNS),
        hours=_hour_lines(),
        read_lags=_lags(READ_LAGS),
        fate_lags=_lags(FATE_LAGS),
        cleared=f"{habits.cleared_share:.0%}",
        cleared_after=habits.cleared_after_hours,
        nights=_night_rows(),
        expiry=f"{nights_of('2007').expiry_share:.0%}",
        rewritten=f"{nights_of('2007').rewritten_share:.0%}",
        peak_events=f"{sum(1 for _ in events):,}",
    )


if __name__ == "__main__":
    sys.stdout.write(mail_load_markdown())
