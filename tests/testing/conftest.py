"""A directory with suites of its own, and pytest run in it as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Suite = Callable[..., subprocess.CompletedProcess[str]]


def environment() -> dict[str, str]:
    """As it is here, with this project to be found from anywhere, and no options of ours."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return kept | {"PYTHONPATH": path, "COLUMNS": "200"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the scenario ``small.toml`` and no tests yet."""
    shutil.copy(ROOT / "scenarios/suites/small.toml", tmp_path / "small.toml")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return tmp_path


@pytest.fixture
def run_pytest(place: Path) -> Suite:
    """Runs pytest there: ``run_pytest("-k", "x")``; its text is in ``stdout``."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-p", "simulator.testing.plugin", *arguments]
        return subprocess.run(
            command,
            cwd=place,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def shell(place: Path) -> Suite:
    """Runs a line there as a user pastes it."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line,
            shell=True,
            cwd=place,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    return run
