"""The commands over logs: what they print, write and end with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from replicator.cli_ese_logs import dump, logs
from replicator.command_line import finish
from replicator.errors import ExitCode
from replicator.ese.log_v7_checksum import fill_pattern
from replicator.ese_log_report import LOGS_SCHEMA
from tests.ese.logs import CLOSED, CURRENT, LATER, flipped, with_header
from tests.ese.samples import load
from tests.ese.test_log_need import database

app = typer.Typer()
app.command()(logs)
app.command()(dump)


def run(*arguments: object) -> int:
    return finish(app, "replicator", [str(argument) for argument in arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The real pair of generations 4 and 5, with checkpoint and database."""
    names = {"SRU00004.log": CLOSED, "SRU.log": CURRENT}
    for name in ("SRU.chk", "SRUDB.dat"):
        names[name] = f"{LATER}/{name}"
    for name, sample in names.items():
        (tmp_path / name).write_bytes(load(sample))
    return tmp_path


def test_a_whole_chain(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("logs", directory, "--database", directory / "SRUDB.dat") == ExitCode.PASS
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["verdict", "generation", "created", "version", "segments", "file"]
    assert lines[1].startswith(
        "ok       0x4         2023-10-18 03:30:25.493Z  8.4000.90.200  14 data"
    )
    assert lines[2].endswith(str(directory / "SRU.log"))
    assert len(lines) == 3


def test_the_json_of_a_broken_chain(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = with_header(load(CURRENT), generation=7)
    (directory / "SRU.log").write_bytes(changed)
    (directory / "SRU.chk").unlink()
    assert run("logs", directory, "--json", "-") == ExitCode.BROKEN
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["schema"] == LOGS_SCHEMA
    assert document["exit_code"] == ExitCode.BROKEN
    assert document["missing"] == [[5, 6]]
    assert [error["number"] for error in document["errors"]] == [-528]
    assert [note["number"] for note in document["notes"]] == [-542]
    assert [log["role"] for log in document["logs"]] == ["closed", "current"]
    assert document["logs"][0]["segments"]["data"] == 14
    assert "-528 JET_errMissingLogFile" in err
    assert "what to do: " in err


def test_a_database_that_is_missing_its_logs(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from replicator.ese.checksum import header_checksum

    block = database(2, 5).encode()
    block = header_checksum(block).to_bytes(4, "little") + block[4:]
    (directory / "SRUDB.dat").write_bytes(block * 2)
    arguments = ("--database", directory / "SRUDB.dat")
    assert run("logs", directory, *arguments) == ExitCode.BROKEN
    assert "-543 JET_errRequiredLogFilesMissing" in capsys.readouterr().out


def test_a_database_that_cannot_be_read(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = directory / "other.dat"
    other.write_bytes(bytes(8192))
    assert run("logs", directory, "--database", other) == ExitCode.BROKEN
    assert "-1018 JET_errReadVerifyFailure" in capsys.readouterr().out
    assert run("logs", directory, "--database", directory / "none") == ExitCode.USAGE


def test_headers_only(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = flipped(load(CLOSED), 8 * 5000, 8 * 5001)
    (directory / "SRU00004.log").write_bytes(damaged)
    assert run("logs", directory) == ExitCode.BROKEN
    assert "-501 JET_errLogFileCorrupt" in capsys.readouterr().out
    assert run("logs", directory, "--headers-only") == ExitCode.PASS
    assert "header ok" in capsys.readouterr().out


def test_no_logs(tmp_path: Path, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("logs", tmp_path / "none") == ExitCode.USAGE
    assert run("logs", directory, "--base", "E00") == ExitCode.USAGE
    assert run("dump", tmp_path / "none.log") == ExitCode.USAGE
    errors = capsys.readouterr().err
    assert errors.count("error: ") == errors.count("what to do: ") == 3


def test_the_records_of_a_log(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dump", directory / "SRU.log") == ExitCode.PASS
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 140
    assert lines[-1].split() == ["(5,6,28)", "Term2", "26"]
    assert any("NewPage" in line and "page 108 dbtime 1538  objid 18" in line for line in lines)


def test_the_records_as_json(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dump", directory / "SRU.log", "--json", "-") == ExitCode.PASS
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 140
    (page,) = (row for row in rows if row["type"] == "NewPage")
    assert page["position"] == "(5,2,5DA)"
    assert page["fields"]["pgno"] == 108


def test_the_records_of_a_damaged_log(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "SRU.log").write_bytes(flipped(load(CURRENT), 77))
    assert run("dump", directory / "SRU.log") == ExitCode.BROKEN
    assert "-501 JET_errLogFileCorrupt" in capsys.readouterr().out


def test_of_several_sets_one_has_to_be_named(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "E00.log").write_bytes(load(CURRENT))
    assert run("logs", directory) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "several log sets lie here: E00, SRU" in told and "--base" in told
    assert run("logs", directory, "--base", "SRU") == ExitCode.PASS


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("passwd", b"root:x:0:0:root:/root:/bin/sh\n" * 200, "this is no file of an ESE store"),
        ("empty", b"", "this is no file of an ESE store"),
        ("SRUres00001.jrs", bytes(65536), "the header is all zero"),
        ("E00tmp.log", fill_pattern(0, 393216), "the header is a fill pattern: a log prepared"),
        ("E00tmp.log", bytes(65536), "the header is all zero: a log prepared"),
        ("SRU.chk", load(f"{LATER}/SRU.chk"), "this is a checkpoint, no log"),
        ("SRUDB.dat", load(f"{LATER}/SRUDB.dat"), "this is a database, no log"),
    ],
)
def test_what_is_no_log_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, told: str
) -> None:
    path, report = tmp_path / name, tmp_path / "report.jsonl"
    path.write_bytes(content)
    assert run("dump", path) == ExitCode.USAGE
    assert run("dump", path, "--json", report) == ExitCode.USAGE
    assert not report.exists()
    out, error = capsys.readouterr()
    assert error.count(f"{path}: {told}") == 2
    assert "what to do: " in error
    assert out == ""


def test_the_log_in_preparation_is_named(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("logs", directory) == ExitCode.PASS
    assert "prepared to be" not in capsys.readouterr().out
    (directory / "SRUtmp.log").write_bytes(bytes(16384))
    assert run("logs", directory) == ExitCode.PASS
    told = capsys.readouterr().out
    assert "SRUtmp.log: prepared to be the next log (16,384 bytes, it holds nothing yet)" in told


def test_a_log_by_its_name_or_by_its_content_is_damaged_not_foreign(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "E00.log").write_bytes(b"?" * 65536)
    (tmp_path / "copied").write_bytes(flipped(load(CURRENT), 8 * 5000, 8 * 5001))
    for name in ("E00.log", "copied"):
        assert run("dump", tmp_path / name) == ExitCode.BROKEN
    assert capsys.readouterr().out.count("-501 JET_errLogFileCorrupt") == 2
