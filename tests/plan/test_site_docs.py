"""The examples of the page about a site's files do what it says, one after the other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from simulator.plan.site_hours import MOST_DAYS_OF_ONE_DATABASE
from simulator.plan.site_options import SiteOptions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "site-data.md"


def test_the_examples_run_in_their_order(tmp_path, monkeypatch, capsys) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, content in re.findall(r"```\w+ ([\w.]+)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), known)
    printed = capsys.readouterr().out
    assert "0.84 GiB of logs a day" in printed
    assert "the whole of it, whatever the time of day, repeated to 28 days" in printed


def test_options_that_the_page_names_are_there() -> None:
    known = {field.name for field in fields(SiteOptions)}
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+|trace|disks|progress)`", text)) - {"load_site"}
    assert named
    assert named <= known


def test_the_days_of_one_database_are_those_of_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"more days than one database has ({MOST_DAYS_OF_ONE_DATABASE:g} [A])" in text
