"""``replicator promote --withdraw`` and ``status`` on real files, with no process beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from replicator.cli import app
from replicator.config import load_configuration
from replicator.errors import BadInput, ExitCode
from replicator.host.identity import boot_id
from replicator.host.status_reader import read_status
from replicator.takeover_wish import Wish, encode_wish


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "replica").mkdir()
    path = tmp_path / "one.toml"
    path.write_text(
        f'set = "one"\n[replica]\ndirectory = "{tmp_path}/replica"\nlisten = "127.0.0.1:1"\n'
    )
    return path


def put(config: Path, name: str, boot: int) -> Path:
    path = config.parent / "replica" / name
    path.symlink_to(encode_wish(Wish(boot, 42, 1, 1)))
    return path


def state(config: Path) -> str | None:
    wish = read_status(load_configuration(str(config))).wish
    return None if wish is None else wish.state.value


@pytest.mark.parametrize(
    ("name", "this_boot", "shown", "code"),
    [
        ("", True, None, ExitCode.BROKEN),
        ("promote.request", True, "pending", ExitCode.PASS),
        ("promote.request", False, "old", ExitCode.PASS),
        ("promote.begun", False, "old", ExitCode.PASS),
        ("promote.begun", True, "begun", ExitCode.USAGE),
    ],
)
def test_what_it_says_is_what_it_did(
    config: Path, name: str, this_boot: bool, shown: str | None, code: ExitCode
) -> None:
    if name:
        put(config, name, boot_id() if this_boot else boot_id() ^ 1)
    assert state(config) == shown
    seen = CliRunner().invoke(app, ["status", str(config)])
    assert ("a takeover" in seen.output) == bool(shown)
    done = CliRunner().invoke(app, ["promote", "--withdraw", str(config)])
    if code == ExitCode.USAGE:
        assert isinstance(done.exception, BadInput) and "has begun" in str(done.exception)
        assert state(config) == shown, "a refusal changes nothing"
        return
    assert done.exit_code == code
    assert done.output.startswith("withdrawn" if shown else "there was no wish")
    assert state(config) is None
    assert CliRunner().invoke(app, ["promote", "--withdraw", str(config)]).exit_code == 1


def test_a_file_of_an_earlier_release_is_old(config: Path) -> None:
    (config.parent / "replica" / "promote.request").touch()
    assert state(config) == "old"
    assert CliRunner().invoke(app, ["promote", "--withdraw", str(config)]).exit_code == 0
