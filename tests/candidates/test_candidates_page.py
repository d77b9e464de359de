"""The examples of docs/candidates.md are run, and its tables are about what is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from simulator.candidates.loading import load
from simulator.cli import describe
from simulator.measures import Verdict
from simulator.run import run_scenario
from simulator.scenario import load_scenario
from simulator.scenario_candidate import CommandCandidate, PortCandidate, ProgramCandidate
from tests.candidates.scenes import EXAMPLES, ROOT, scene

PAGE = (ROOT / "docs" / "candidates.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def table(kind: str) -> str:
    """The keys of the page's ``[candidate]`` of a kind."""
    [found] = [block for block in blocks("toml") if f'kind = "{kind}"' in block]
    return found.removeprefix("[candidate]\n")


def test_the_class_of_the_page_runs_and_is_judged(tmp_path: Path) -> None:
    [module] = blocks("python")
    (tmp_path / "nothing.py").write_text(module)
    scenario = scene(tmp_path, table("port"))
    assert isinstance(scenario.candidate, PortCandidate)
    result = run_scenario(scenario)
    assert result.verdict is Verdict.LIVENESS
    prefixes = [check for check in result.checks if check.invariant == "prefix"]
    assert prefixes and all(check.holds for check in prefixes)
    assert {check.detail for check in prefixes} == {
        "the image is that after operation 0 of epoch 1"
    }


def test_the_command_and_the_program_of_the_page_are_the_examples(tmp_path: Path) -> None:
    command = load_scenario(EXAMPLES / "rsync.toml").candidate
    assert isinstance(command, CommandCandidate)
    assert scene(tmp_path, table("command")).candidate == command
    (tmp_path / "naive_program.py").write_text((EXAMPLES / "naive_program.py").read_text())
    program = scene(tmp_path, table("program")).candidate
    assert isinstance(program, ProgramCandidate)
    assert program.source == f"{tmp_path}/naive_program.py:source"


def test_every_example_is_named_and_described() -> None:
    for path in EXAMPLES.glob("*.toml"):
        assert path.name in PAGE
        scenario = load_scenario(path)
        assert any("candidate: " in line for line in describe(scenario))
        assert not any("spool" in line for line in describe(scenario))


def test_the_methods_of_the_page_are_those_that_are_looked_for() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (?:required|optional) \|", PAGE, re.MULTILINE)
    named = set(re.findall(r"\w+", " ".join(rows)))
    from simulator.candidates import port_class

    text = inspect.getsource(port_class)
    assert named == {"source", "replica", "tap", "recover", "claim"}
    assert all(f"candidate.{name}(" in text for name in named)


def test_what_the_page_quotes_is_what_the_bench_says() -> None:
    """The quoted breach, but for its figures."""
    quoted = re.search(r"> (prefix is broken.*?)does not mount", PAGE, re.DOTALL)
    assert quoted is not None
    words = re.sub(r"\s*\n> ", " ", quoted[1])
    result = run_scenario(load_scenario(EXAMPLES / "naive_copier.toml"))
    said = result.reasons[0].replace(" (in the course of the run)", "")
    assert said.startswith(words.strip()), said
    assert load(str(EXAMPLES / "naive_copier.py") + ":NaiveCopier")
