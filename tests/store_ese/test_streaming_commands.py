"""A store of 2003 with its streaming file, through the commands that read it and carry it along."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import replicator.cli
from replicator.command_line import finish
from replicator.ese.streaming_file import CLUSTER_BYTES, HEADER_BYTES, PAGE_BYTES
from replicator.ese_schema import DOCUMENTS
from simulator import cli
from tests.store_ese.test_generated_store import check_readers, ledger_of

NAMES = ("priv1.edb",)


def ese(*arguments: object) -> int:
    return finish(replicator.cli.app, "replicator", ["ese", *map(str, arguments)])


def documented(capfd: pytest.CaptureFixture[str]) -> dict:
    """What was printed as JSON; it is as the schema says."""
    printed = capfd.readouterr().out
    DOCUMENTS.validate_json(printed)
    return json.loads(printed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A killed store that was backed up at eight, and recovered."""
    root = tmp_path_factory.mktemp("streaming")
    told = root / "told.json"
    options = ["store", str(root / "store"), "--version", "2003", "--mailboxes", "1"]
    options += ["--profile", "light", "--no-views", "--crash-at", "13h", "--json", str(told)]
    options += ["--backup", str(root / "backup"), "--backup-at", "8h"]
    assert finish(cli.app, "simulator", options) == 0
    assert ese("recover", root / "store", "--output", root / "whole") == 0
    return root, json.loads(told.read_text())


@pytest.fixture
def whole(made: tuple[Path, dict], tmp_path: Path) -> Path:
    """The database that was recovered, and its streaming file, to be spoilt."""
    for name in ("priv1.edb", "priv1.stm"):
        shutil.copy(made[0] / "whole" / name, tmp_path)
    return tmp_path


def test_the_store_has_one_and_says_so(made) -> None:
    root, told = made
    (file,) = [each for each in told["files"] if each["kind"] == "streaming file"]
    size = (root / "store" / "priv1.stm").stat().st_size
    assert (file["name"], file["size_bytes"]) == ("priv1.stm", size)
    assert told["streaming_file_bytes"] == size > CLUSTER_BYTES + HEADER_BYTES


def test_recovery_and_restore_carry_it_along(made, tmp_path) -> None:
    root, _ = made
    check_readers(root / "whole", ledger_of(root / "store"), NAMES)
    assert ese("restore", root / "backup", "--output", tmp_path / "restored") == 0
    check_readers(tmp_path / "restored", ledger_of(root / "backup"), NAMES)


def test_later_logs_have_not_its_content(made, tmp_path, capfd) -> None:
    root, _ = made
    output = tmp_path / "restored"
    assert ese("restore", root / "backup", "--then", root / "store", "--output", output) == 1
    assert "-549" in capfd.readouterr().out
    assert not output.exists()


@pytest.mark.parametrize("what", ["recover", "restore"])
def test_without_it_a_store_is_refused(made, tmp_path, capfd, what) -> None:
    source = made[0] / ("store" if what == "recover" else "backup")
    shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "copy" / "priv1.stm").unlink()
    assert ese(what, tmp_path / "copy", "--output", tmp_path / "new") == 1
    assert "-540" in capfd.readouterr().out


def test_its_header_is_shown(whole, capfd) -> None:
    assert ese("header", whole / "priv1.stm") == 0
    assert "file type                 streaming file" in capfd.readouterr().out
    assert ese("header", whole / "priv1.stm", "--json", "-") == 0
    document = documented(capfd)
    assert document["type"] == "streaming_file"
    assert document["fields"]["attribute"] == 1
    assert document["trailer"] is None
    assert ese("header", whole / "priv1.edb", "--json", "-") == 0
    database = documented(capfd)
    assert database["streaming_file"] is True
    assert database["fields"]["streaming_signature"] == document["fields"]["database_signature"]


def verified(path: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = ese("verify", path, "--json", "-")
    document = documented(capfd)
    return code, document["files"][0]


def test_its_pages_are_verified_with_the_database(whole, capfd) -> None:
    code, found = verified(whole / "priv1.stm", capfd)
    assert (code, found["verdict"], found["type"]) == (0, "sound", "streaming_file")
    stream = bytearray((whole / "priv1.stm").read_bytes())
    stream[HEADER_BYTES + 100] ^= 1
    (whole / "priv1.stm").write_bytes(stream)
    code, found = verified(whole / "priv1.stm", capfd)
    assert (code, found["verdict"], found["finding_count"]) == (1, "damaged", 1)
    (finding,) = found["findings"]
    assert (finding["number"], finding["events"]) == (-1018, [478])
    assert (finding["page"], finding["offset"]) == (1, HEADER_BYTES)


def test_a_file_that_was_cut_is_damaged(whole, capfd) -> None:
    stream = (whole / "priv1.stm").read_bytes()
    (whole / "priv1.stm").write_bytes(stream[: HEADER_BYTES + PAGE_BYTES + 100])
    code, found = verified(whole / "priv1.stm", capfd)
    assert (code, found["verdict"]) == (1, "damaged")
    assert found["finding_count"] > 1


def test_one_damaged_copy_of_its_header_is_told(whole, capfd) -> None:
    stream = bytearray((whole / "priv1.stm").read_bytes())
    stream[PAGE_BYTES + 30] ^= 1
    (whole / "priv1.stm").write_bytes(stream)
    code, found = verified(whole / "priv1.stm", capfd)
    assert (code, [each["events"] for each in found["findings"]]) == (1, [[472]])


def test_another_database_is_told(whole, made, capfd) -> None:
    database = bytearray((whole / "priv1.edb").read_bytes())
    for at in (252, PAGE_BYTES + 252):
        database[at] ^= 1
        database[at - 252] ^= 1  # byte 252 is the first of its dword, so is the checksum's
    (whole / "priv1.edb").write_bytes(database)
    code, found = verified(whole / "priv1.stm", capfd)
    assert (code, [each["number"] for each in found["findings"]]) == (1, [-540])


def test_without_a_clean_database_there_is_nothing_to_verify(whole, made, capfd) -> None:
    shutil.copy(made[0] / "store" / "priv1.edb", whole)
    code, found = verified(whole / "priv1.stm", capfd)
    assert (code, found["verdict"]) == (2, "nothing to verify")
    assert "DirtyShutdown" in found["notes"][0]
    (whole / "priv1.edb").unlink()
    code, found = verified(whole / "priv1.stm", capfd)
    assert (code, found["verdict"]) == (2, "nothing to verify")
    assert "priv1.edb" in found["notes"][0]
