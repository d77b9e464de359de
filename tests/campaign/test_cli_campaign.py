"""The commands of campaigns: exit codes, what they print and leave, what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.campaign.results import Results
from tests.campaign.commands import run

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios/campaign.toml"
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


def test_an_interrupted_campaign_keeps_what_was_done_and_goes_on(tmp_path: Path) -> None:
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
            run.send_signal(signal.SIGINT)
            _out, errors = run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == 130, errors
    assert "--resume" in errors
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
