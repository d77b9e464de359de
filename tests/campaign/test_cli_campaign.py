"""The commands of campaigns: exit codes, what they print and leave, what they refuse."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from replicator.errors import BadInput
from simulator.campaign.failures import SavedFailure
from simulator.campaign.job import unfinished_outcome
from simulator.campaign.results import Results
from simulator.plans.plan import FaultPlan
from simulator.report.campaign import print_failure
from tests.campaign.commands import run

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios/campaign.toml"
SMALL = Path(__file__).with_name("small.toml")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def command(directory: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator.cli", *map(str, arguments)],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_campaign_passes_and_leaves_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = command(tmp_path, "campaign", SCENARIO, "--plans", 8, "--workers", 1, "--json", "-")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "simulator-campaign/1"
    assert document["plans"] == document["verdicts"]["pass"] == 8
    assert "How the plans ended" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.campaign.db"]
    monkeypatch.chdir(tmp_path)
    again = run(capsys, "campaign", SCENARIO, "--plans", 8)
    assert again.code == 64
    assert "--resume" in again.errors


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a campaign on a mutant leaves."""
    directory = tmp_path_factory.mktemp("broken")
    arguments = ("--plans", 60, "--until-failure", "--mutant", "journal_before_apply")
    done = command(directory, "campaign", SCENARIO, *arguments, "--workers", 1)
    assert done.returncode == 1, done.stderr
    for words in ("shrunk to", "simulator replay", "pytest", "timeline"):
        assert words in done.stdout
    return directory / "campaign.failures"


def test_a_failure_is_left_as_scenario_test_and_timeline(broken: Path) -> None:
    kinds = sorted(path.suffix for path in broken.iterdir())
    assert kinds == [".html", ".py", ".toml"]
    [test] = broken.glob("test_*.py")
    # The rule was taken away in the campaign only: the replicator as it is passes.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=broken,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_failure_is_replayed_bit_for_bit_or_said_to_be_another(broken: Path) -> None:
    [scenario] = broken.glob("*.toml")
    done = command(broken, "replay", scenario)
    assert done.returncode == 1
    assert "bit for bit" in done.stdout
    other = broken / "other"
    other.write_text(scenario.read_text().replace("journal_before_apply", ""))
    done = command(broken, "replay", other)
    assert done.returncode == 2
    assert "not as recorded: the verdict was safety" in done.stdout
    done = command(broken, "replay", SCENARIO)
    assert done.returncode == 64
    assert "nothing is recorded" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "needs one of --plans and --for"),
        (("--plans", 8, "--for", "1m"), "needs one of --plans and --for"),
        (("--for", "1"), "has no unit"),
        (("--plans", 8, "--mutant", "nonsense"), "no mutant 'nonsense'"),
        (
            ("--plans", 8, "--mutant", "store_page_checksums"),
            "a rule away that this scenario does not",
        ),
        (("--plans", 8, "--results", "/nowhere/x.db"), "--results cannot be written"),
        (("--plans", 8, "--failures", "/dev/full"), "--failures cannot be written: it is not"),
        (("--plans", 8, "--failures", "/dev/full/x"), "--failures cannot be written"),
        (("--plans", 0), "Invalid value for '--plans'"),
        (("--plans", 8, "--set", "link.rtt=60"), "no unit"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    done = command(tmp_path, "campaign", SCENARIO, *arguments)
    assert done.returncode == 64
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_an_interrupted_campaign_keeps_what_was_done_and_goes_on(
    tmp_path: Path, number: int, code: int, said: str
) -> None:
    arguments = [str(SCENARIO), "--workers", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", "campaign", *arguments, "--for", "2h"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        path = tmp_path / "campaign.campaign.db"
        end = time.monotonic() + 60
        done = 0
        try:
            while done < 10 and time.monotonic() < end and run.poll() is None:
                time.sleep(0.1)
                if path.exists() and path.stat().st_size:
                    results = Results(path)
                    done = len(results.numbers())
                    results.close()
            run.send_signal(number)
            _out, errors = run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == code, errors
    assert "--resume" in errors
    assert said in errors.splitlines()
    assert "Warning" not in errors and "ignored" not in errors
    kept = Results(path)
    before = kept.numbers()
    kept.close()
    assert len(before) >= 10
    more = command(tmp_path, "campaign", *arguments, "--resume", "--plans", max(before) + 2)
    assert more.returncode == 0, more.stderr
    kept = Results(path)
    assert kept.numbers() == set(range(max(before) + 2))
    kept.close()


@pytest.mark.full
def test_the_kill_matrix_says_who_lives(tmp_path: Path) -> None:
    target = tmp_path / "matrix.json"
    done = command(tmp_path, "killmatrix", SCENARIO, "--plans", 1, "--workers", 1, "--json", target)
    assert done.returncode == 1, done.stderr  # one plan is not enough for all of them
    fates = {each["name"]: each for each in json.loads(target.read_text())["mutants"]}
    assert fates["sequence_check"]["killed"] is True
    assert fates["sequence_check"]["plans"] == 1
    alive = [name for name, fate in fates.items() if not fate["killed"]]
    assert alive and "ALIVE" in done.stdout


def test_failures_that_cannot_be_saved_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The volume was there when the campaign began, and is full at its end."""

    def full(path: Path, _text: str, option: str) -> None:
        raise BadInput(f"{option} cannot be written: No space left on device", path=str(path))

    monkeypatch.setattr("simulator.campaign.failures.write_atomically", full)
    results = tmp_path / "its results.db"
    arguments = ("campaign", SMALL, "--plans", 2, "--mutant", "redo_after_restart", "--workers", 1)
    options = ("--results", results, "--failures", tmp_path / "f")
    ended = run(capsys, *arguments, *options)
    assert ended.code == 1
    assert "plan 0, as it was found" in ended.out
    assert f"simulator replay '{results}' --number 0" in ended.out
    assert "--failures cannot be written: No space left" in ended.errors
    assert "--resume" in ended.errors
    monkeypatch.undo()
    again = run(capsys, *arguments, *options, "--resume")
    assert again.code == 1
    assert "as it was found" not in again.out and "shrunk to" in again.out
    [saved] = (tmp_path / "f").glob("safety*.toml")
    assert f"simulator replay {saved}" in again.out


def test_lines_to_paste_are_quoted() -> None:
    directory = Path('mein [red]\'s "scen" {x}.failures')
    outcome = unfinished_outcome(FaultPlan(format=1), 7, "a reason", 0.0)
    saved = SavedFailure(
        7,
        outcome,
        FaultPlan(format=1),
        2,
        3,
        directory / "a.toml",
        directory / "test_a.py",
        Path("a.html"),
    )
    console = Console(record=True, width=200, file=io.StringIO())
    print_failure(console, saved)
    lines = [line.strip() for line in console.export_text().splitlines()]
    assert ["simulator", "replay", str(saved.scenario_path)] in map(shlex.split, lines[2:4])
    assert ["pytest", str(saved.test_path)] in map(shlex.split, lines[2:4])
