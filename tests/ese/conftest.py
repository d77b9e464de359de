"""The command, and real files laid out in a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from replicator.cli import app
from replicator.command_line import finish
from tests.ese.samples import load
from tests.ese.small_ese_store import DIRECTORY
from tests.ese.test_recovery import prepared


@pytest.fixture
def replicator() -> Callable[..., int]:
    """Run the command; gives its exit code."""

    def run(*arguments: object) -> int:
        return finish(app, "replicator", [str(argument) for argument in arguments])

    return run


@pytest.fixture
def lay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put samples into an empty directory, each under a name, and go there."""
    monkeypatch.chdir(tmp_path)

    def put(**names: str) -> Path:
        for name, sample in names.items():
            (tmp_path / name.replace("_", ".")).write_bytes(load(sample))
        return tmp_path

    return put


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store whose engine died, in a directory."""
    directory = tmp_path / "store"
    directory.mkdir()
    for path, data in prepared().medium.digest(f"{DIRECTORY}/").items():
        (directory / Path(path).name).write_bytes(data)
    return directory
