"""A plan in the terminal: 80 columns, every figure, whatever its names are."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from simulator.plan.plan_answer import answer_of, answer_topics
from simulator.report import plan_terminal
from simulator.report.plan_marks import marks_line
from simulator.report.plan_story import headline
from simulator.report.plan_tables import plan_tables
from simulator.report.plan_terminal import (
    LEFT_OUT,
    MOST_ROWS,
    SAYS_NOTHING,
    SHOWN,
    WIDTH,
    print_plan,
    steps_on,
)
from tests.plan import plans

ALL = {"usual": plans.plan, "never": plans.never, "nightly": plans.nightly, "sound": plans.sound}


def printed(plan, width: int = 200) -> str:
    out = io.StringIO()
    print_plan(Console(file=out, width=width, highlight=False), plan, answer_topics(plan))
    return out.getvalue()


@pytest.mark.parametrize("name", ALL)
def test_no_line_is_wider_than_80_columns_and_no_figure_is_lost(name: str) -> None:
    plan = ALL[name]()
    text = printed(plan)
    lines = text.splitlines()
    title = f"head office: {headline(plan)}"
    assert lines[0] == title
    assert max(len(line) for line in lines[1:]) <= WIDTH
    joined = re.sub(r"\s+", "", text)
    for table in plan_tables(plan):
        if table.key not in SHOWN:
            continue
        assert re.sub(r"\s+", "", table.title) in joined
        rows = list(table.spelled())
        for number, column in enumerate(table.columns):
            cells = [row[number] for row in rows]
            if (table.key, column.key) in LEFT_OUT or set(cells) <= SAYS_NOTHING:
                continue
            for cell in cells[:MOST_ROWS]:
                if column.is_number:  # whole: no figure is parted from its unit
                    assert f"{cell} " in text or f"{cell}\n" in text, (table.key, cell)
                elif column.key != "reason":
                    whole = [word for word in cell.split() if len(word) <= 8]
                    assert all(word in text for word in whole), (table.key, cell)
                else:
                    assert re.sub(r"\s+", "", cell) in joined


def test_the_answer_is_told_whole_by_topic() -> None:
    plan = plans.plan()
    topics = answer_topics(plan)
    names = [topic.name for topic in topics]
    assert names == [
        *("Spool", "To hold", "Kind", "Outage", "Line"),
        *("Recovery", "First copy", "Limits", "Rests on"),
    ]
    answer = printed(plan).split("Marks:")[0]
    lines = answer.splitlines()[1:]
    margin = len("First copy") + 2
    assert [line[:margin].strip() for line in lines if not line.startswith(" ")] == names
    text = " ".join(line[margin:] for line in lines)
    assert text == " ".join(answer_of(plan)).replace("\N{NO-BREAK SPACE}", " ")
    assert [topic.name for topic in answer_topics(plans.sound())] == [
        each for each in names if each != "To hold"
    ]
    shipped = plans.plan("protection.kind=log shipping")
    assert answer_topics(shipped)[0].name == "Log volume"


@pytest.mark.parametrize("name", ALL)
def test_the_marks_that_are_shown_are_told_once(name: str) -> None:
    text = printed(ALL[name]())
    [line] = re.findall(r"^Marks: .*(?:\n[^W\n].*)*", text, re.MULTILINE)
    told, shown = (set(re.findall(r"\[[A-Z]\]", each)) for each in (line, text.replace(line, "")))
    assert told == shown
    assert "from memory" in marks_line(["30 % [M]"]) and marks_line(["30 %"]) == ""


def test_what_is_left_out_is_in_the_report() -> None:
    columns = {(t.key, c.key) for t in plan_tables(plans.plan()) for c in t.columns}
    assert columns >= LEFT_OUT and len(LEFT_OUT) == 6
    shown = {key for table, key in columns - LEFT_OUT if table == "kinds"}
    assert shown >= {"rpo_95_seconds", "spool_bytes", "first_copy_seconds", "rto_seconds"}


def test_a_name_cannot_steer_the_terminal() -> None:
    plan = plans.hostile("[bold]x\x1b[2J\r<script>")
    text = printed(plan)
    assert "\x1b" not in text and "\r" not in text
    assert "[bold]x\\x1b[2J\\r<script>" in text


def test_progress_is_said_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(plan_terminal.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    tell = steps_on(Console(file=out, width=80))
    tell("what is written")
    now[0] += 1.9
    tell("bandwidth")
    assert out.getvalue() == ""
    now[0] += 5.1
    tell("outages")
    assert out.getvalue() == "outages (after 7 s)\n"
    # And then not more often than every ten seconds.
    for _ in range(50):
        now[0] += 0.25
        tell("what it depends on")
    assert out.getvalue().count("what it depends on") == 1
