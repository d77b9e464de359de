"""What notebooks show of a plan: lines side by side, kinds, pictures and tables in cells."""

from __future__ import annotations

import html
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from replicator.errors import BadInput
from simulator.plan.link_choices import link_choices
from simulator.plan.organisation import parse_organisation
from simulator.plan.plan_answer import answer_topics
from simulator.plan.planner import Plan, make_plan
from simulator.report import ink, notebook
from simulator.report.notebook import answer, picture, plan_picture, plan_table, shown_table, words
from simulator.report.plan_kinds import draw_kinds
from simulator.report.plan_links import link_table
from simulator.report.plan_site import draw_change

SMALL = """
name = "small <b> & co"
horizon = "4d"
draws = 100
outages.lengths = ["1h"]
mailboxes = [{ count = 200, profile = "average" }]
link = { bandwidth = "4Mbit/s", rtt = "60ms" }
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(parse_organisation(SMALL))


def texts(figure) -> str:
    return "\n".join(each.get_text() for each in figure.findobj(lambda a: hasattr(a, "get_text")))


# -- lines -------------------------------------------------------------------------------------


def test_the_planned_line_gives_what_the_plan_says(plan: Plan) -> None:
    (row,) = link_choices(plan, {"as planned": plan.link}).to_dict("records")
    assert row["rpo_seconds"] == plan.course.lag_at(0.95)
    assert row["spool_bytes"] == plan.spools[0].needed_bytes
    assert row["catch_up_seconds"] == float(plan.returns["catch_up_seconds"].max())
    assert row["mean_utilisation"] == pytest.approx(plan.use.mean_utilisation)
    wanted = plan.organisation.objectives.rpo_ns / 1e9
    assert row["meets_rpo"] == (row["rpo_seconds"] <= wanted)


def test_a_faster_line_is_no_worse_and_a_small_window_makes_rate_useless(plan: Plan) -> None:
    small = replace(plan.link, tcp_window_bytes=8_192)
    faster = plan.link.at_rate(4 * plan.link.bits_per_second)
    lines = {
        "planned": plan.link,
        "fast": faster,
        "window": small,
        "fast window": replace(faster, tcp_window_bytes=8_192),
    }
    found = link_choices(plan, lines).set_index("name")
    assert found.loc["fast", "rpo_seconds"] <= found.loc["planned", "rpo_seconds"]
    assert found.loc["fast", "catch_up_seconds"] < found.loc["planned", "catch_up_seconds"]
    assert found.loc["window", "streams_bits_per_second"] == pytest.approx(8 * 8_192 / 0.06)
    columns = ["rpo_seconds", "catch_up_seconds", "meets_rpo"]
    assert (found.loc["window", columns] == found.loc["fast window", columns]).all()


def test_a_line_that_never_catches_up_has_a_reason_and_no_figure(plan: Plan) -> None:
    (row,) = link_choices(plan, {"slow": plan.link.at_rate(50e3)}).to_dict("records")
    assert row["rpo_seconds"] is row["catch_up_seconds"] is row["spool_bytes"] is None
    assert "never catch up" in row["reason"]
    assert not row["meets_rpo"]


def test_runs_have_no_spool_on_any_line(plan: Plan) -> None:
    kinds = {"changed blocks": plan.protections["changed blocks"]}
    by_runs = replace(plan, protections=kinds, spools=())
    (row,) = link_choices(by_runs, {"as planned": plan.link}).to_dict("records")
    assert row["spool_bytes"] is None
    assert row["rpo_seconds"] == plan.courses["changed blocks"].lag_at(0.95)
    assert row["catch_up_seconds"] > 0


def test_no_lines_are_refused(plan: Plan) -> None:
    with pytest.raises(BadInput, match="no lines"):
        link_choices(plan, {})


def test_lines_as_a_table(plan: Plan) -> None:
    good, slow = plan.link.at_rate(40e6), plan.link.at_rate(50e3)
    table = link_table(link_choices(plan, {"good": good, "slow": slow}))
    first, second = table.spelled()
    assert first[:2] == ["good", "40 Mbit/s"]
    assert first[-2:] == ["yes", ""]
    assert second[4:8] == ["never", "never", "-", "no"]
    alone = link_table(link_choices(plan, {"good": good}))
    assert "reason" not in {column.key for column in alone.columns}


# -- pictures ----------------------------------------------------------------------------------


def test_kinds_have_their_rows_and_figures(plan: Plan) -> None:
    with ink.drawing():
        said = texts(draw_kinds(plan))
    for name in plan.protections:
        assert name in said
    assert "dot: 95 %" in said
    assert "never" not in said


def test_a_kind_that_never_catches_up_says_so(plan: Plan) -> None:
    kinds = plan.kinds.copy().astype(object)
    kinds.loc[0, [name for name in kinds if name.startswith("rpo")]] = None
    kinds.loc[0, ["catches_up", "waiting_peak_bytes"]] = [False, None]
    recovery = plan.recovery.copy().astype(object)
    recovery.loc[recovery["protection"] == "nightly backup", "total_seconds"] = None
    with ink.drawing():
        said = texts(draw_kinds(replace(plan, kinds=kinds, recovery=recovery)))
    assert "never: it does not catch up" in said
    assert ", not all" in said
    assert "not known" in said


def test_a_site_shows_its_peak_and_its_mean(plan: Plan) -> None:
    with ink.drawing():
        figure = draw_change(plan.change)
    logs = plan.change.log_bytes.reshape(-1, 60).sum(axis=1)
    when = plan.change.grid.time_at(60 * int(np.argmax(logs)))
    assert f"from {when:%a %H:%M}" in texts(figure)
    # The drawn heights are the hours' bytes.
    heights = figure.axes[0].patches[0].get_data().values
    unit = float(logs.max() / heights.max())
    assert heights * unit == pytest.approx(logs)


def test_a_site_that_writes_nothing_has_an_empty_picture(plan: Plan) -> None:
    with ink.drawing():
        assert "from" in texts(draw_change(plan.change.scaled(0.0)))


def test_a_picture_is_light_as_svg_and_as_png(plan: Plan, tmp_path) -> None:
    shown = picture("kinds & <more>", draw_kinds, plan)
    svg = shown._repr_svg_()
    assert 'aria-label="kinds &amp; &lt;more&gt;"' in svg
    assert not any(role.stand_in in svg for role in ink.ROLES)
    for name in ("a.svg", "a.png"):
        shown.save(tmp_path / name)
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == svg
    found = colours((tmp_path / "a.png").read_bytes())
    assert {role.light for role in (ink.PANEL, ink.INK, ink.GRID, ink.BOUND)} <= found
    assert not found & {role.stand_in for role in ink.ROLES}


def test_without_exchange_a_png_has_the_stand_ins(plan: Plan, monkeypatch) -> None:
    monkeypatch.setattr(notebook, "_in_light_colours", lambda figure: None)
    found = colours(picture("kinds", draw_kinds, plan).png())
    assert ink.INK.stand_in in found


def colours(png: bytes) -> set[str]:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    counted = image.getcolors(image.width * image.height)
    return {"#{:02x}{:02x}{:02x}".format(*colour) for _count, colour in counted}


def test_a_picture_wants_an_ending_and_a_directory(plan: Plan, tmp_path) -> None:
    shown = picture("kinds", draw_kinds, plan)
    for name in ("a.pdf", "a"):
        with pytest.raises(BadInput, match=r"\.svg or \.png"):
            shown.save(tmp_path / name)
    for name in ("a.svg", "a.png"):
        with pytest.raises(BadInput):
            shown.save(tmp_path / "not there" / name)
    assert list(tmp_path.iterdir()) == []


# -- tables and words --------------------------------------------------------------------------


def test_a_table_of_the_report_in_a_cell(plan: Plan) -> None:
    shown = plan_table(plan, "kinds")
    assert shown._repr_html_().count("<tr>") == 1 + len(plan.kinds)
    assert "byte level" in repr(shown)
    assert shown.title in repr(shown)


def test_pictures_and_tables_have_names(plan: Plan) -> None:
    assert "spool" in repr(plan_picture(plan, "spool")).lower()
    for find in (plan_picture, plan_table):
        with pytest.raises(BadInput, match="'nothing'") as error:
            find(plan, "nothing")
        assert "Choose one of" in str(error.value.remedy)


def test_what_a_site_calls_things_is_text(plan: Plan) -> None:
    table = link_table(link_choices(plan, {"<script>": plan.link}))
    assert "&lt;script&gt;" in shown_table(table)._repr_html_()
    shown = words(["a <b>", "c & d"])
    assert shown._repr_html_() == "<ul><li>a &lt;b&gt;</li><li>c &amp; d</li></ul>"
    assert repr(shown) == "- a <b>\n- c & d"


def test_the_answer_is_shown_by_topic(plan: Plan) -> None:
    shown = answer(plan)
    page, text = shown._repr_html_(), repr(shown)
    for topic in answer_topics(plan):
        assert f"<p><b>{topic.name}</b></p><ul>" in page and f"{topic.name}\n- " in text
        for sentence in topic.sentences:
            assert html.escape(sentence) in page and f"- {sentence}" in text
