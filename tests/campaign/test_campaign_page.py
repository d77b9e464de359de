"""The page on campaigns: its plans are plans, its commands and options are there, its marks too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from simulator.campaign.marks import MARK_NAMES
from simulator.cli import app
from simulator.plans.enumeration import MOST_PLANS, Enumeration
from simulator.plans.plan import parse_plan
from simulator.scenario import load_scenario
from tests.campaign.commands import ROOT, TINY, run
from tests.campaign.test_plans import SCENARIO

PAGE = (ROOT / "docs/campaigns.md").read_text(encoding="utf-8")
PLANS = re.findall(r"```(?:toml|json)\n(.*?)```", PAGE, re.DOTALL)


def test_the_plans_of_the_page_are_plans() -> None:
    found = [parse_plan(text, SCENARIO, origin="docs/campaigns.md") for text in PLANS]
    assert len(found) == 3
    budget, written, as_json = found
    assert budget.budget is not None and not budget.faults
    assert written.faults == as_json.faults and written.seed == as_json.seed


def test_the_budget_of_the_page_is_the_default() -> None:
    [budget] = [text for text in PLANS if "[budget]" in text]
    assert (
        parse_plan(budget, SCENARIO).budget == parse_plan("format = 1\n[budget]\n", SCENARIO).budget
    )


def test_commands_and_options_of_the_page_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    lines = re.findall(r"^\.venv/bin/simulator ([a-z]+)(.*?)(?:#.*)?$", blocks, re.MULTILINE)
    assert len(lines) >= 10
    for name, rest in lines:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, name
    table = set(
        re.findall(r"--[a-z-]+", "\n".join(re.findall(r"^\| `--.*?\|", PAGE, re.MULTILINE)))
    )
    known = {option for parameter in commands["campaign"].params for option in parameter.opts}
    assert table <= known


def test_marks_and_figures_of_the_page_are_those_of_the_code() -> None:
    paragraph = PAGE.partition("there are *marks*")[2].partition("which the same")[0]
    marks = re.findall(r"`([a-z_]+)`", paragraph)
    assert len(marks) >= 8 and set(marks) <= set(MARK_NAMES)
    duration_ns = load_scenario(TINY).duration_ns
    for faults, instants, words in ((1, 8, "257"), (2, 8, "32,897"), (3, 5, "682,801")):
        assert f"{Enumeration(duration_ns, faults, instants).plans:,}" == words
        assert words in PAGE
    assert MOST_PLANS == 5_000_000


def test_the_example_of_a_comparison_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [b for b in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "compare" in b]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for line in block.strip().splitlines():
        words = line.replace(".venv/bin/simulator ", "").split()
        words = [str(TINY) if word == "scenarios/campaign.toml" else word for word in words]
        if words[0] == "campaign":
            words[words.index("1000")] = "10"
            words += ["--workers", "1"]
        assert run(capsys, *words).code in (0, 1 if words[0] == "campaign" else 0)
    assert (tmp_path / "out/compare/compare.html").exists()
