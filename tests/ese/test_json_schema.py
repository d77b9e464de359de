"""What ``replicator ese`` writes with ``--json`` is as the schemas in docs/ say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from replicator.errors import ExitCode
from replicator.ese.backup_trailer import BackupTrailer
from replicator.ese.checkpoint import Checkpoint
from replicator.ese.database_header import DatabaseHeader, FileType
from replicator.ese.flush_map import FlushMapHeader
from replicator.ese.layout import Structure
from replicator.ese.log_header import LogHeader
from replicator.ese.log_record import LogRecord
from replicator.ese.log_record_types import LENGTHS, title_of
from replicator.ese.values import LogPosition
from replicator.ese_header_lines import header_lines
from replicator.ese_header_report import HeaderReport, header_document
from replicator.ese_log_report import record_document
from replicator.ese_schema import DOCUMENTS, LINES, dump_json_schema, ese_json_schema
from tests.ese.logs import CLOSED, CURRENT, LATER, flipped, with_header
from tests.ese.logs_v7 import record, written
from tests.ese.samples import load
from tests.ese.test_backup_trailer import backup_copy

DOCS = Path(__file__).resolve().parents[2] / "docs"
Command = Callable[..., int]
LAYOUTS: dict[FileType, type[Structure]] = {
    FileType.DATABASE: DatabaseHeader,
    FileType.LOG: LogHeader,
    FileType.CHECKPOINT: Checkpoint,
    FileType.FLUSH_MAP: FlushMapHeader,
}
Documents = Callable[..., dict[str, Any]]


@pytest.fixture
def document(replicator: Command, capsys: pytest.CaptureFixture[str]) -> Documents:
    """Run a command, hold its document against the schema; gives the document."""

    def run(code: ExitCode, *arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert replicator("ese", *arguments, "--json", "-") == code
        out = capsys.readouterr().out
        DOCUMENTS.validate_json(out)
        made: dict[str, Any] = json.loads(out)
        assert made["exit_code"] == code
        return made

    return run


@pytest.mark.parametrize(
    ("name", "option", "made"),
    [
        ("store-files", "--ese", ese_json_schema),
        ("store-log-records", "--ese-dump", dump_json_schema),
    ],
)
def test_schemas_in_docs_are_the_generated_ones(
    name: str,
    option: str,
    made: Callable[[], dict[str, Any]],
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """To renew them: ``replicator schema --ese > docs/store-files.schema.json``, and so on."""
    assert replicator("schema", option) == ExitCode.PASS
    printed = capsys.readouterr().out
    assert json.loads(printed) == made()
    assert (DOCS / f"{name}.schema.json").read_text(encoding="utf-8") == printed


def test_one_schema_at_a_time(replicator: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert replicator("schema", "--ese", "--ese-dump") == ExitCode.USAGE
    assert "one schema at a time" in capsys.readouterr().err


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for each in node:
            yield from objects(each)
    elif isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for each in node.values():
            yield from objects(each)


@pytest.mark.parametrize("made", [ese_json_schema, dump_json_schema])
def test_every_object_is_closed_and_whole(made: Callable[[], dict[str, Any]]) -> None:
    found = list(objects(made()))
    assert len(found) > 20
    for each in found:
        assert each["additionalProperties"] is False
        assert set(each["required"]) == set(each["properties"])


def test_a_key_more_or_less_is_found(lay_out: Callable[..., Path], document: Documents) -> None:
    lay_out(a_edb="bits-16k-dirty/qmgr.db")
    good = document(ExitCode.PASS, "header", "a.edb")
    for change in (
        {"surplus": 1},
        {"fields": good["fields"] | {"surplus": 1}},
        {"page_size": "16384"},
        {"copies": None},
        {"schema": "replicator-ese-header/2"},
    ):
        with pytest.raises(ValidationError):
            DOCUMENTS.validate_json(json.dumps(good | change))
    for name in good:
        with pytest.raises(ValidationError):
            DOCUMENTS.validate_json(json.dumps({k: v for k, v in good.items() if k != name}))


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        ("bits-16k-dirty/qmgr.db", "database"),
        ("readers-8k/decompress_test.edb", "database"),
        ("sum-2012r2/Current.mdb", "database"),
        (f"{LATER}/SRUDB.dat", "database"),
        (f"{LATER}/SRUDB.jfm", "flush_map"),
        (CURRENT, "log"),
        (CLOSED, "log"),
        ("ntds-2012r2/edb.chk", "checkpoint"),
        (f"{LATER}/SRU.chk", "checkpoint"),
    ],
)
def test_header_and_verify_of_each_kind(
    sample: str, kind: str, lay_out: Callable[..., Path], document: Documents
) -> None:
    lay_out(a_file=sample)
    header = document(ExitCode.PASS, "header", "a.file")
    assert header["type"] == kind
    assert header["fields"]["checksum"] == header["expected_checksum"]
    (verdict,) = document(ExitCode.PASS, "verify", "a.file", "--contents")["files"]
    assert (verdict["type"], verdict["verdict"]) == (kind, "sound")


def test_headers_that_are_damaged(lay_out: Callable[..., Path], document: Documents) -> None:
    path = lay_out(a_edb="readers-4k/basic.edb", a_log=CURRENT) / "a.edb"
    path.write_bytes(flipped(path.read_bytes(), 800))
    assert "event 456" in document(ExitCode.BROKEN, "header", "a.edb")["copies"]
    (verdict,) = document(ExitCode.BROKEN, "verify", "a.edb")["files"]
    assert verdict["findings"][0]["path"] == "a.edb"
    path.write_bytes(flipped(path.read_bytes(), 8 * 4096 + 800))
    damage = document(ExitCode.BROKEN, "header", "a.edb")
    assert damage["schema"] == "replicator-ese-header-damage/1"
    assert [each["number"] for each in damage["errors"]] == [-1018]
    assert damage["errors"][0]["path"] == damage["path"] == "a.edb"
    (verdict,) = document(ExitCode.BROKEN, "verify", "a.edb")["files"]
    assert verdict["pages"] is None
    log = path.with_name("a.log")
    log.write_bytes(bytes(667) + b"\3" + bytes(4000))
    assert document(ExitCode.BROKEN, "header", "a.log")["errors"][0]["number"] == -501


@given(st.binary(min_size=748, max_size=1500), st.sampled_from(sorted(LAYOUTS)))
def test_whatever_a_header_holds_it_is_shown(start: bytes, kind: FileType) -> None:
    header = LAYOUTS[kind].decode(start.ljust(4096, b"\0"))
    more: dict[str, Any] = {}
    if isinstance(header, DatabaseHeader):
        more["trailer"] = BackupTrailer.decode(start)
    elif isinstance(header, LogHeader | Checkpoint):
        more = {"parameters": header.parameters, "attachments": header.attachments}
    else:
        more["map_pages"] = 3
    report = HeaderReport("a.edb", kind, header, None, more)
    DOCUMENTS.validate_json(json.dumps(header_document(report)))
    lines = header_lines(report)
    assert len(lines) > 5
    assert all(len(line.splitlines()) == 1 for line in lines)


def test_what_is_no_file_of_a_store_gives_no_document(
    tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replicator("ese", "header", tmp_path / "none", "--json", "-") == ExitCode.USAGE
    assert replicator("ese", "dump", tmp_path / "none", "--json", "-") == ExitCode.USAGE
    assert capsys.readouterr().out == ""


def test_the_copy_of_a_streaming_backup(tmp_path: Path, document: Documents) -> None:
    path = tmp_path / "copy.edb"
    path.write_bytes(backup_copy())
    trailer = document(ExitCode.PASS, "header", path)["trailer"]
    assert trailer["last_required_generation"] == 9
    document(ExitCode.PASS, "verify", path)


def test_pages_that_are_damaged(lay_out: Callable[..., Path], document: Documents) -> None:
    lay_out(a_edb="damaged-tail/SRUDB.dat", b_edb="readers-4k/basic.edb")
    found = document(ExitCode.BROKEN, "verify", "a.edb", "b.edb")
    assert [len(each["findings"]) for each in found["files"]] == [16, 0]


def test_logs_of_both_versions(tmp_path: Path, document: Documents) -> None:
    (tmp_path / "SRU00004.log").write_bytes(load(CLOSED))
    (tmp_path / "SRU.log").write_bytes(load(CURRENT))
    for name in ("SRU.chk", "SRUDB.dat"):
        (tmp_path / name).write_bytes(load(f"{LATER}/{name}"))
    whole = document(ExitCode.PASS, "logs", tmp_path, "--database", tmp_path / "SRUDB.dat")
    assert whole["logs"][0]["segments"]["data"] == 14
    document(ExitCode.PASS, "logs", tmp_path, "--headers-only")
    (tmp_path / "SRU.log").write_bytes(with_header(load(CURRENT), generation=7))
    (tmp_path / "SRU.chk").unlink()
    broken = document(ExitCode.BROKEN, "logs", tmp_path)
    assert (len(broken["errors"]), len(broken["notes"])) == (1, 1)
    (tmp_path / "SRU00004.log").write_bytes(bytes(8192))
    unreadable = document(ExitCode.BROKEN, "logs", tmp_path)["logs"][0]
    assert (unreadable["verdict"], unreadable["created"]) == ("-501", None)
    old = tmp_path / "old"
    old.mkdir()
    (old / "E00.log").write_bytes(written([[record(20)], [record(600)]]).content)
    (log,) = document(ExitCode.PASS, "logs", old)["logs"]
    assert log["segments"] is None
    assert log["sectors"]["data"] > 0


@pytest.mark.parametrize("version", [7, 8])
def test_the_lines_of_a_dump(
    version: int, tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "E00.log"
    whole = load(CURRENT) if version == 8 else bytes(written([[record(20)]] * 3).content)
    log.write_bytes(whole)
    assert replicator("ese", "dump", log, "--json", "-") == ExitCode.PASS
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == {7: 3, 8: 140}[version]
    for line in lines:
        LINES.validate_json(line)


def test_a_dump_that_damage_ends(
    tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    log, target = tmp_path / "SRU.log", tmp_path / "lines.json"
    log.write_bytes(flipped(load(CURRENT), 77))
    assert replicator("ese", "dump", log, "--json", target) == ExitCode.BROKEN
    assert "-501 JET_errLogFileCorrupt" in capsys.readouterr().out
    (line,) = target.read_text(encoding="utf-8").splitlines()
    LINES.validate_json(line)
    damage = json.loads(line)
    assert damage["schema"] == "replicator-ese-log-damage/1"
    assert (damage["error"]["number"], damage["error"]["path"]) == (-501, str(log))


@pytest.mark.parametrize("number", [n for n, rule in enumerate(LENGTHS) if rule is not None])
def test_a_line_of_each_record_type(number: int) -> None:
    start = bytes([number])
    rule = LENGTHS[number]
    assert rule is not None
    length = rule(start.ljust(600, b"\0"), 0)
    line = record_document(LogRecord(LogPosition(1, 2, 3), start.ljust(length, b"\0")))
    assert line["type"] == title_of(number)
    LINES.validate_json(json.dumps(line))
    line["fields"]["surplus"] = 1
    with pytest.raises(ValidationError):
        LINES.validate_json(json.dumps(line))


def test_recoveries(store: Path, tmp_path: Path, document: Documents) -> None:
    copy = ("--output", tmp_path / "copy")
    stopped = document(ExitCode.NOT_DRAINED, "recover", store, "--stop-before-undo", *copy)
    assert stopped["warnings"] == [-579]
    log = store / "E0000000001.log"
    away = log.rename(tmp_path / log.name)
    refused = document(ExitCode.BROKEN, "recover", store)
    assert set(refused) == {"schema", "exit_code", "directory", "errors"}
    away.rename(log)
    assert document(ExitCode.PASS, "recover", store)["undone_changes"] == 9
