"""The command ``simulator plan``: exit codes, targets, what stands where."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest

import simulator.plan.planner
from replicator.command_line import finish
from replicator.errors import ExitCode
from simulator import cli
from simulator.plan.organisation_reference import organisation_reference_markdown
from tests.plan import plans

SETS = [word for each in plans.QUICK for word in ("--set", each)]


@pytest.fixture
def office(tmp_path: Path) -> Path:
    path = tmp_path / "office.toml"
    path.write_text(plans.EXAMPLE, encoding="utf-8")
    return path


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plans are not made anew; the list has the calls."""
    calls: list[str] = []

    def made(organisation, tell):
        calls.append(organisation.name)
        sound = organisation.link.bits_per_second >= 200_000_000
        return plans.sound() if sound else plans.plan()

    monkeypatch.setattr(simulator.plan.planner, "make_plan", made)
    return calls


def run(*words: object) -> int:
    return int(finish(cli.app, "simulator", ["plan", *map(str, words)]))


def test_it_writes_what_was_asked_for(office, planned, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    code = run(office, *SETS, "--json", out / "p.json", "--xlsx", out / "p.xlsx", "--report", out)
    assert code == ExitCode.BROKEN  # objectives are missed as planned
    assert json.loads((out / "p.json").read_text())["holds"] is False
    assert (out / "p.xlsx").read_bytes()[:2] == b"PK"
    page = (out / "plan.html").read_text()
    assert "--set horizon=2w" in page and "office.toml" in page
    printed = capsys.readouterr().out
    assert "the plan does not hold (RPO, spool)" in printed
    assert f"report: {out / 'plan.html'}" in printed


def test_a_plan_that_holds_ends_with_0(office, planned) -> None:
    assert run(office, *SETS, "--set", "link.bandwidth=200Mbit/s") == ExitCode.PASS


def test_with_the_record_on_standard_output_nothing_else_stands_there(
    office, planned, capsys
) -> None:
    assert run(office, *SETS, "--json", "-") == ExitCode.BROKEN
    captured = capsys.readouterr()
    assert json.loads(captured.out)["schema"] == "simulator-plan/1"
    assert "the plan does not hold" in captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "missing/p.json"],
        ["--xlsx", "missing/p.xlsx"],
        ["--xlsx", "-"],
        ["--report", "office.toml"],
        ["--json", "office.toml"],
        ["--xlsx", "office.toml"],
        ["--json", "both", "--xlsx", "both"],
        ["--report", "r", "--json", "r/plan.html"],
        ["--set", "link.bandwidth=fast"],
        ["--set", "nonsense=1"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_the_work(
    words, office, planned, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(office, *words) == ExitCode.USAGE
    assert planned == []
    assert capsys.readouterr().err.startswith("error: ")
    assert office.read_text(encoding="utf-8") == plans.EXAMPLE
    assert [each.name for each in tmp_path.iterdir()] == ["office.toml"]


def test_a_missing_file_is_told(tmp_path, capsys) -> None:
    assert run(tmp_path / "none.toml") == ExitCode.USAGE
    assert "none.toml" in capsys.readouterr().err


class _Closed(io.StringIO):
    """A reader that went away: what is written to it breaks."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_files_are_there_though_nobody_reads_the_tables(
    office, planned, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(sys, "stdout", _Closed())
    out = tmp_path / "out"
    with contextlib.suppress(BrokenPipeError, SystemExit):
        run(office, *SETS, "--json", out / "p.json", "--xlsx", out / "p.xlsx", "--report", out)
    monkeypatch.undo()
    assert {each.name for each in out.iterdir()} >= {"p.json", "p.xlsx", "plan.html"}
    assert json.loads((out / "p.json").read_text())["holds"] is False


def test_the_record_of_a_size_is_there_though_nobody_reads(planned, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", _Closed())
    words = ["size", "--users", "10", "--link", "1Mbit/s", "--json", str(tmp_path / "p.json")]
    with contextlib.suppress(BrokenPipeError, SystemExit):
        finish(cli.app, "simulator", words)
    monkeypatch.undo()
    assert json.loads((tmp_path / "p.json").read_text())["schema"] == "simulator-plan/1"


def test_the_whole_way_once(office, capsys) -> None:
    """Nothing replaced: the plan is really made."""
    assert run(office, *SETS) == ExitCode.BROKEN
    printed = capsys.readouterr().out
    assert (
        "\nOutage      While the line is down the spool of 60 GB lasts" in printed
        and "the first to break is the spool" in printed
    )


def test_the_schema_of_the_record_is_printed(capsys) -> None:
    assert int(finish(cli.app, "simulator", ["schema", "--capacity"])) == ExitCode.PASS
    assert json.loads(capsys.readouterr().out)["title"] == "Result of simulator plan"


def test_the_reference_page_is_up_to_date() -> None:
    page = (plans.ROOT / "docs" / "planning-keys.md").read_text(encoding="utf-8")
    assert page == organisation_reference_markdown(), (
        "renew it: .venv/bin/python -m simulator.plan.organisation_reference "
        "> docs/planning-keys.md"
    )
    assert "|  |" not in page  # each key is explained
