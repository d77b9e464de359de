"""The page and the pictures of a plan: whole, in one file, and whatever its names are."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jinja2 import Environment

from replicator.errors import BadInput
from simulator.report import plan_page
from simulator.report.page import unbroken
from simulator.report.plan_figures import PICTURES
from simulator.report.plan_page import MOST_ROWS, UNFOLDED_ROWS, plan_page_text, render_plan
from simulator.report.plan_tables import plan_tables
from tests.plan import plans

COMMAND = "simulator plan office.toml --set link.rtt=9ms"
ALL = {"usual": plans.plan, "never": plans.never, "nightly": plans.nightly, "sound": plans.sound}
HOSTILE = '<script>alert(1)</script>"\x1b[2J=cmd()'


class Texts(HTMLParser):
    """All texts, and the tags that could do something."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(" ".join(data.split()))


def read(text: str) -> Texts:
    parser = Texts()
    parser.feed(text)
    parser.close()
    return parser


@pytest.mark.parametrize("name", ALL)
def test_the_page_holds_every_figure_of_the_tables(name: str) -> None:
    plan = ALL[name]()
    page = read(plan_page_text(plan, plans.told("Buy it."), COMMAND))
    said = set(page.texts)
    assert "Buy it." in said and COMMAND in said
    tables = plan_tables(plan)
    assert len(tables) >= (9 if name == "never" else 11)
    for table in tables:
        assert table.title in said
        for row in list(table.spelled())[:MOST_ROWS]:
            for column, cell in zip(table.columns, row, strict=True):
                assert " ".join(unbroken(cell).split()) in said or not cell, (table.key, column.key)
    assert "nan" not in said and "inf" not in said and "None" not in said


def test_the_answer_stands_before_the_pictures_and_the_assumptions_last() -> None:
    text = plan_page_text(plans.plan(), plans.told("Buy it."), COMMAND)
    headings = [html.unescape(each) for each in re.findall(r"<h2>(.*?)</h2>", text)]
    assert headings == [
        "What breaks first",
        "Objectives",
        "What to have",
        *(picture.heading for picture in PICTURES),
        "The figures",
        "What was assumed",
    ]
    assert text.index("Buy it.") < text.index("What breaks first")


def test_marks_are_told_right_below_the_answer_that_has_them() -> None:
    text = plan_page_text(plans.plan(), plans.told("Saving of [M]."), COMMAND)
    told = text.index("Marks: [M] from memory")
    assert text.index("Saving of") < told < text.index('class="tiles"')


@pytest.mark.parametrize("name", ALL)
def test_no_script_and_nothing_from_elsewhere(name: str) -> None:
    text = plan_page_text(ALL[name](), [], COMMAND)
    page = read(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "img", "object"}
    for _, attributes in page.tags:
        assert not [each for each in attributes if each.startswith("on") or each == "src"]
        assert all(not (v or "").startswith("http") for k, v in attributes.items() if "href" in k)
    assert "default-src 'none'" in text
    shown = sum(tag == "svg" for tag, _ in page.tags)
    # Without a spool there is no empty picture of it; the line that is needed can be moved.
    assert shown == {"nightly": 3, "never": 3}.get(name, len(PICTURES))


def test_hostile_names_stay_texts() -> None:
    text = plan_page_text(plans.hostile(HOSTILE), plans.told(HOSTILE), HOSTILE)
    assert "<script" not in text and "\x1b" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_safeguard_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With escaping off a name becomes markup: what the test above would find."""

    def careless(**settings: object) -> Environment:
        return Environment(**{**settings, "autoescape": False})

    monkeypatch.setattr(plan_page, "Environment", careless)
    assert "<script>alert(1)" in plan_page_text(
        plans.hostile(HOSTILE), plans.told(HOSTILE), HOSTILE
    )


def test_tables_are_frames_too() -> None:
    plan = plans.plan()
    for table in plan_tables(plan):
        frame = table.frame()
        own = ["unit"] if table.has_own_units else []
        assert list(frame.columns) == [column.key for column in table.columns] + own
        assert len(frame) == len(table.rows)
    frames = {table.key: table.frame() for table in plan_tables(plan)}
    assert list(frames["rates"]["bits_per_second"]) == list(plan.rates["bits_per_second"])
    needs = frames["needs"].set_index("item")
    assert needs.loc["spool at the source", "needed"] == plan.spools[0].needed_bytes
    assert needs.loc["spool at the source", "unit"] == "bytes"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.key)
@pytest.mark.parametrize("name", ["usual", "never", "nightly"])
def test_pictures_are_whole_and_follow_the_page_s_colours(picture, name: str) -> None:
    plan = ALL[name]()
    if not picture.is_of(plan):
        assert not plan.spools or not plan.use.catches_up
        return
    svg = picture.inline_svg(plan)
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"] == picture.label
    assert "#0a0b" not in svg and "var(--ink)" in svg
    assert "nan" not in re.findall(r'[\s"]nan[\s"]', svg)


def texts(key: str, plan) -> str:
    picture = next(each for each in PICTURES if each.key == key)
    root = ElementTree.fromstring(picture.inline_svg(plan))
    return "\n".join("".join(node.itertext()) for node in root.iter() if node.tag.endswith("text"))


def test_pictures_say_their_figures() -> None:
    plan = plans.plan()
    week = texts("week", plan)
    assert "What is to be carried, and what the line takes" in week and "RPO 15 min" in week
    spool = texts("spool", plan)
    assert "10 % rule 26.2 GB" in spool and "spool 60 GB" in spool
    assert "8 h: 63.1 GB" in spool and "full after" in spool
    hours = texts("hours", plan)
    assert hours.count("\n") > 48 and "orange and bold: does not" in hours
    catch_up = texts("catch_up", plan)
    assert "never" in catch_up and "planned 20 Mbit/s: 13 h" in catch_up
    tornado = texts("tornado", plan)
    assert "change per day: " in tornado and "Catching up after it" in tornado
    moved = texts("tornado", plans.never())  # what there is no answer for has no panel
    assert "Line rate for the RPO" in moved and "Spool of the planned outage" not in moved
    assert "no spool is large enough" in texts("spool", plans.never())


def test_it_is_written_whole_or_refused(tmp_path: Path) -> None:
    path = render_plan(plans.plan(), tmp_path / "new", [], COMMAND)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput):
        render_plan(plans.plan(), tmp_path / "file", [], COMMAND)
    assert (tmp_path / "file").read_text() == "mine"


def test_long_tables_are_folded_and_whole() -> None:
    text = plan_page_text(plans.plan(), [], COMMAND)
    page = read(text)
    long = [t for t in plan_tables(plans.plan()) if len(t.rows) > UNFOLDED_ROWS]
    assert sum(tag == "details" for tag, _ in page.tags) == len(long) > 0
    assert text.count("</details>") == len(long)
    assert not any("days" in cell for t in long for row in t.spelled() for cell in row)
