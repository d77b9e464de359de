"""One run for all tests here; each test that changes a directory gets a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from replicator.cli import app
from replicator.command_line import finish
from tests.tools.materialize import run_directories


@pytest.fixture(scope="session")
def run_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("run")
    run_directories(root)
    return root


@pytest.fixture
def spool(run_root, tmp_path) -> Path:
    return Path(shutil.copytree(run_root / "spool", tmp_path / "spool"))


@pytest.fixture
def replica(run_root, tmp_path) -> Path:
    return Path(shutil.copytree(run_root / "replica", tmp_path / "replica"))


@pytest.fixture
def replicator():
    def run(*arguments: object) -> int:
        return finish(app, "replicator", [str(argument) for argument in arguments])

    return run
