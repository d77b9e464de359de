"""The HTML page: complete, one file, and proof against what texts may hold."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from replicator.errors import BadInput
from simulator.measures import Verdict
from simulator.report import render_report
from simulator.report.page import page_text
from simulator.report.words import headline
from tests.report import samples

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Collects elements and attributes; fails on tags that do not nest."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = set(), [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parse(text):
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


@pytest.mark.parametrize("name", samples.ALL)
def test_every_result_makes_a_well_formed_page_that_asks_for_nothing(name, tmp_path):
    path = render_report(samples.ALL[name](), tmp_path / "new" / "directory")
    assert path == tmp_path / "new" / "directory" / "report.html"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    page = parse(text)
    assert {"svg", "table", "style", "h1"} <= page.tags
    assert not page.tags & {"script", "link", "iframe", "object", "img", "image", "base"}
    for attribute, value in page.attributes:
        assert attribute not in ("src", "srcset", "onload", "onclick")
        if attribute in ("href", "xlink:href"):
            assert value.startswith("#")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "#0a0b" not in text  # no stand-in colour is left


def test_texts_are_shown_and_never_obeyed():
    text = page_text(samples.weird())
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "{{ 7*7 }}" in text
    assert "\x1b" not in text
    assert "\x00" not in text


def test_page_says_what_a_board_needs():
    result = samples.passing()
    words = " ".join(" ".join(parse(page_text(result)).texts).replace("\xa0", " ").split())
    assert "quickstart: pass" in words
    assert "3.2 s of work (14 messages, 598 KiB) was missing on the replica" in words
    assert result.trace_hash in words
    assert "simulator run quickstart --seed 1" in words
    assert "All 43 checks of 3 invariants held." in words
    assert "deciding to fail over" in words


def test_given_command_is_shown_instead():
    command = "simulator run 'my scenario.toml' --seed 1 --set link.rtt=1s"
    assert command in " ".join(parse(page_text(samples.passing(), command)).texts)


def test_breaches_are_listed_one_by_one_and_first():
    text = page_text(samples.safety_failure())
    for detail in ("image equals no operation k", "page 4411 of priv1.edb: bad checksum"):
        assert detail in text
    assert text.index(">prefix<") < text.index(">durable means durable<")


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_has_words(verdict):
    sentences = headline(replace(samples.passing(30), verdict=verdict))
    assert len(sentences) == 5
    assert all(sentence[0].isupper() and sentence.endswith((".", ")")) for sentence in sentences)


def test_equal_results_give_equal_bytes():
    assert page_text(samples.passing()) == page_text(samples.passing())


def test_long_run_stays_small_and_keeps_its_peak():
    text = page_text(samples.long_run())
    assert len(text) < 2_000_000
    assert "peak 30 GiB" in text
    assert "worst of 2,000 failures" in text
    assert "first 60 of 2,000 faults" in text


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    page_text(samples.passing(1))
    assert dict(matplotlib.rcParams) == before


def test_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="--report cannot be written: it is not a directory"):
        render_report(samples.passing(10), tmp_path / "file")
