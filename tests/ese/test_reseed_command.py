"""``replicator ese reseed`` on files of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from replicator.ese.database_header import State
from replicator.ese_schema import DOCUMENTS
from tests.ese.test_recover_command import contents, header_of, opened_for_writing
from tests.ese.test_reseed import ACTIVE, OLD, prepared
from tests.ese.test_restore_command import laid_out, rows_by_libesedb

Command = Callable[..., int]


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    medium = prepared("version 8").medium
    return (
        laid_out(medium, OLD, tmp_path / "old"),
        laid_out(medium, ACTIVE, tmp_path / "active"),
    )


def test_it_follows_the_active_copy_again(
    copies: tuple[Path, Path],
    tmp_path: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, active = copies
    before, report = contents(active), tmp_path / "report.json"
    written = opened_for_writing(monkeypatch)
    assert replicator("ese", "reseed", old, active, "--json", report) == 0
    out = capsys.readouterr().out
    truth = prepared("version 8")
    assert "DirtyShutdown  DirtyAndPatchedShutdown" in out
    assert f"E00: the copies have diverged from generation 0x{truth.common + 1:X} on" in out
    document = json.loads(report.read_text())
    DOCUMENTS.validate_python(document)
    assert document["first_diverged_generation"] == truth.common + 1
    assert document["databases"][0]["patched_pages"] > 0
    assert contents(active) == before
    assert not any(active in path.parents for path in written)  # it may be one that is only read
    assert header_of(old / "priv1.edb").state is State.DIRTY_AND_PATCHED_SHUTDOWN
    assert replicator("ese", "recover", old) == 0
    assert rows_by_libesedb(old / "priv1.edb") == truth.rows
    assert replicator("ese", "verify", old / "priv1.edb", "--contents") == 0


def test_what_has_to_be_seeded_anew(
    copies: tuple[Path, Path], replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    old, active = copies
    assert replicator("ese", "recover", old) == 0  # shut down in its own history
    before = contents(old)
    capsys.readouterr()
    assert replicator("ese", "reseed", old, active, "--json", "-") == 1
    found = capsys.readouterr()
    document = json.loads(found.out)
    DOCUMENTS.validate_python(document)
    assert [error["number"] for error in document["errors"]] == [-1227]
    assert "what to do: Seed the copy anew from the active copy." in found.err
    assert contents(old) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "active"), "nowhere: DIR: there is no such directory"),
        (("old", "nowhere"), "nowhere: ACTIVE: there is no such directory"),
        (("old", "old/E00.log"), "E00.log: ACTIVE: this is no directory"),
        (("old", "old"), "DIR and ACTIVE are the same directory"),
        (("old", "empty"), "empty: no logs are there"),
    ],
)
def test_wrong_usage(
    copies: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, str],
    words: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    before = contents(copies[0])
    assert replicator("ese", "reseed", *arguments) == 64
    assert words in capsys.readouterr().err
    assert contents(copies[0]) == before
