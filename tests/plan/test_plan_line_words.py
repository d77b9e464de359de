"""What a plan says of its line: quantiles with their share of the time, and what streams use."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from simulator.plan.capacity import PlannedLink
from simulator.plan.link_use import stream_use
from simulator.plan.organisation import parse_organisation
from simulator.plan.plan_answer import answer_of
from simulator.plan.plan_line_words import line_sentences, stream_sentences
from simulator.plan.plan_record import record_of
from simulator.plan.planner import Plan
from simulator.plan.protection import ByteLevel, LogShipping
from simulator.report.plan_page import plan_page_text
from simulator.report.plan_story import breaks_first
from simulator.report.plan_tables import plan_tables
from simulator.units import format_duration
from tests.plan import plans

LOSSY = PlannedLink(20e6, 0.035, loss=0.001)
"""One stream carries 12.9 of the 18.8 Mbit/s that headers leave (1.22 x segment / RTT / sqrt p)."""


def organised(plan: Plan, *overrides: str) -> Plan:
    """A plan of another file, its figures as they were."""
    return replace(plan, organisation=parse_organisation(plans.EXAMPLE, [*plans.QUICK, *overrides]))


def said(plan: Plan) -> str:
    """All that is said of a plan: the answer, what breaks first, tables and tiles."""
    cells = [cell for table in plan_tables(plan) for row in table.spelled() for cell in row]
    notes = [table.note for table in plan_tables(plan)]
    page = re.findall(r'<div class="tile">.*?</div>', plan_page_text(plan, [], "simulator plan x"))
    return "\n".join([*answer_of(plan), *breaks_first(plan), *cells, *notes, *page])


# -- quantiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [plans.plan, plans.sound], ids=["missed", "kept"])
def test_an_rpo_has_its_share_of_the_time_and_the_largest_lag_beside_it(make) -> None:
    plan = make()
    lags = plan.course.lag_seconds
    usual, most = (format_duration(max(1.0, float(np.quantile(lags, q)))) for q in (0.95, 1.0))
    verdict = "keeps" if np.quantile(lags, 0.95) <= 900 else "misses"
    assert line_sentences(plan)[0] == (
        f"The line {verdict} the RPO: the copy is {usual} old or less for 95 % of the time "
        f"(wanted: 15 min), and {most} at most, without outages."
    )


def test_a_quantile_is_never_told_as_the_largest() -> None:
    """Wherever the figure of the 95 % stands, nothing says that it is the most."""
    plan = plans.plan()
    usual = format_duration(plan.course.lag_at(0.95))
    most = format_duration(plan.course.lag_at(1.0))
    assert usual != most
    text = said(plan).replace("\N{NO-BREAK SPACE}", " ")
    assert f"{most} at most" in text
    for wrong in (f"up to {usual}", f"within {usual}", f"at most {usual}", f"{usual} at most"):
        assert wrong not in text
    assert not re.search(r"at most [^.\n]* for 95 % of the time", text)
    missed = f"missed as planned: {usual} for 95 % of the time, where 15 min or less for 95 %"
    assert missed in text


def test_a_share_of_all_the_time_is_the_largest() -> None:
    told = line_sentences(organised(plans.plan(), "objectives.rpo_share=100%"))[0]
    most = format_duration(plans.plan().course.lag_at(1.0))
    assert f"the copy is {most} at most (wanted: 15 min), without outages" in told
    assert "% of the time" not in told


def test_outages_at_dates_are_said_to_be_counted() -> None:
    events = "outages.events=[{at=2007-01-03T09:00:00,length='4h'}]"
    plan = organised(plans.plan(), events)
    assert line_sentences(plan)[0].endswith("at most, with the outage at a date.")
    text = said(plan)
    assert "RPO for 95 % of the time, with the outage at a date" in text
    assert "RPO: not exceeded for so much of the time, with the outage at a date." in text
    assert "without outages" not in text
    two = events.replace("]", ",{at=2007-01-05T09:00:00,length='1h'}]")
    assert "with the 2 outages at dates" in line_sentences(organised(plans.plan(), two))[0]


def test_the_tile_of_the_rpo_says_what_it_is_of() -> None:
    plan = plans.plan()
    page = plan_page_text(plan, [], "simulator plan x")
    most = format_duration(plan.course.lag_at(1.0))
    assert "<span>RPO for 95 % of the time, without outages</span>" in page
    assert f"<span>{most} at most; 15 min or less for 95 % of the time wanted</span>" in page


def test_a_line_that_never_catches_up_has_no_rpo() -> None:
    told = line_sentences(plans.never())[0]
    assert told == "No RPO can be kept on this line (wanted: 15 min for 95 % of the time)."


# -- the line that is needed -------------------------------------------------------------------


def test_a_slower_line_than_planned_is_not_advised() -> None:
    less = "It is no advice to have less: volumes and times here are those of the planned"
    told = line_sentences(plans.sound())
    assert f"{less} 200 Mbit/s." in told
    assert "no advice to have less" in said(plans.sound())
    page = plan_page_text(plans.sound(), [], "simulator plan x")
    assert "line rate for the RPO alone, at least</span>" in page
    assert "line rate for the RPO alone to have" not in page
    assert less not in " ".join(line_sentences(plans.plan()))


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ByteLevel(), LogShipping()], ids=lambda kind: kind.name)
def test_what_one_stream_uses_of_a_lossy_line(kind) -> None:
    change = plans.plan().change
    use = stream_use(LOSSY, kind, change)
    assert use.room_bits_per_second == pytest.approx(18.8e6)
    assert use.streams_bits_per_second == pytest.approx(12.9e6, rel=0.01)
    assert use.usable_bits_per_second == pytest.approx(use.streams_bits_per_second)
    assert use.streams_to_fill == 2
    filled = stream_use(replace(LOSSY, streams=2), kind, change)
    assert filled.streams_bits_per_second == filled.room_bits_per_second
    assert stream_use(PlannedLink(20e6), kind, change).streams_to_fill == 1


@pytest.mark.parametrize(
    "kind", ["byte level", "log shipping", "changed blocks", "object level", "nightly backup"]
)
def test_every_kind_says_what_its_streams_use(kind: str) -> None:
    plan = plans.plan()
    chosen = replace(plan, link=LOSSY, protections={kind: plan.protections[kind]})
    [told, *_] = stream_sentences(chosen)
    assert told == (
        "1 TCP stream uses 12.9 Mbit/s of the 18.8 Mbit/s of data that the line has room for, "
        "bounded by loss of 0.1 % over 35 ms: 2 would use all of it (link.streams)."
    )
    [told, *_] = stream_sentences(replace(chosen, link=replace(LOSSY, streams=2)))
    assert told == "2 TCP streams use all of the 18.8 Mbit/s of data that the line has room for."
    narrow = replace(LOSSY, loss=0.0, tcp_window_bytes=17_520)
    assert "the window of 17.5 kB over 35 ms" in stream_sentences(replace(chosen, link=narrow))[0]


def test_logs_that_wait_for_answers_use_less_and_say_so() -> None:
    plan = plans.plan()
    slow = LogShipping(piece_bytes=65_536.0, round_trip_seconds=0.06)
    alone = replace(plan, change=replace(plan.change, log_sets=1), protections={slow.name: slow})
    use = stream_use(alone.link, slow, alone.change)
    # A log of 1 MiB takes its time on the line, and 18 round trips of 60 ms.
    sent = (1 << 20) * (1 - slow.saving)
    seconds = sent * 8 / use.streams_bits_per_second + 18 * 0.06
    assert use.usable_bits_per_second == pytest.approx(sent * 8 / seconds)
    assert "each log waits for the round trips of its pieces" in stream_sentences(alone)[1]
    side_by_side = replace(alone, change=replace(alone.change, log_sets=50))
    assert len(stream_sentences(side_by_side)) == 1


def test_the_record_has_what_the_streams_use() -> None:
    plan = plans.plan()
    use, link = stream_use(plan.link, plan.protection, plan.change), record_of(plan).link
    for name in ("room_bits_per_second", "streams_bits_per_second", "usable_bits_per_second"):
        assert getattr(link, name) == getattr(use, name)
    assert link.streams_to_fill == use.streams_to_fill
