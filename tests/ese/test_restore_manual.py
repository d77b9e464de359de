"""``docs/store-restore.md``: its examples are run, and it names every option and key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from replicator.cli_ese import ese
from tests.ese.streaming_backup import BACKUP
from tests.ese.test_reseed import ACTIVE, OLD
from tests.ese.test_reseed import prepared as diverged
from tests.ese.test_restore import prepared as backed_up
from tests.ese.test_restore_command import laid_out
from tests.store_ese.engine_harness import DIRECTORY

MANUAL = (Path(__file__).resolve().parents[2] / "docs/store-restore.md").read_text("utf-8")
EXAMPLES = re.findall(r"```\n\$ replicator (.+?)\n(.*?)```", MANUAL, re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    laid_out(backed_up().medium, BACKUP, tmp_path / "backup")
    (laid_out(backed_up().medium, DIRECTORY, tmp_path / "logs") / "priv1.edb").unlink()
    laid_out(diverged("version 8").medium, OLD, tmp_path / "old")
    laid_out(diverged("version 8").medium, ACTIVE, tmp_path / "active")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("command", "shown"), EXAMPLES)
def test_the_examples(
    place: Path,
    replicator: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    command: str,
    shown: str,
) -> None:
    assert replicator(*command.split()) == 0
    out = capsys.readouterr().out.replace(f"{place}/", "/store/")
    assert [line.rstrip() for line in out.splitlines()] == shown.splitlines()


def test_both_commands_are_shown() -> None:
    assert [command.split()[1] for command, _ in EXAMPLES] == ["restore", "reseed"]


@pytest.mark.parametrize("name", ["restore", "reseed"])
def test_every_option_is_named(name: str) -> None:
    options = [
        each for parameter in get_command(ese).commands[name].params for each in parameter.opts
    ]
    named = [each for each in options if each.startswith("--")]
    assert named
    assert [each for each in named if f"{each}`" not in MANUAL and f"{each} " not in MANUAL] == []


def test_every_key_of_a_reseed_is_named(
    place: Path, replicator: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert replicator("ese", "reseed", "old", "active", "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    keys = {*document, *document["databases"][0]} - {"schema"}
    assert {key for key in keys if f"`{key}`" not in MANUAL} == set()
    assert document["schema"] in MANUAL
