"""``replicator ese restore`` on files of this machine, and on a set made of real logs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replicator.ese.backup_trailer import BackupTrailer
from replicator.ese.database_header import DatabaseHeader, State
from replicator.ese.header_copies import sealed
from replicator.ese.log_header import LogHeader
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.values import BackupInfo, LogPosition, LogTime
from replicator.ese_schema import DOCUMENTS
from tests.ese.redoing import FIRST, GENERATIONS, LATER, difference, pages_of
from tests.ese.samples import load, place
from tests.ese.streaming_backup import BACKUP, KEPT_7, made_backup
from tests.ese.test_recover_command import contents, header_of, opened_for_writing
from tests.ese.test_restore import prepared
from tests.store.memory_volume import Medium
from tests.store_ese.engine_harness import DIRECTORY, PAGE_BYTES, rows_of

pyesedb = pytest.importorskip("pyesedb")
Command = Callable[..., int]


def laid_out(medium: Medium, source: str, directory: Path) -> Path:
    directory.mkdir()
    for path, data in medium.digest(f"{source}/").items():
        (directory / Path(path).name).write_bytes(data)
    return directory


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return laid_out(prepared().medium, BACKUP, tmp_path / "backup")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """What is left of the store."""
    directory = laid_out(prepared().medium, DIRECTORY, tmp_path / "logs")
    (directory / "priv1.edb").unlink()
    return directory


def rows_by_libesedb(path: Path) -> dict[int, bytes]:
    file = pyesedb.file()
    file.open(str(path))
    try:
        table = file.get_table_by_name("Mail")
        found = {}
        for index in range(table.number_of_records):
            record = table.get_record(index)
            value = record.get_value_data(1)
            if record.is_long_value(1):
                value = record.get_value_data_as_long_value(1).data
            found[int.from_bytes(record.get_value_data(0), "little", signed=True)] = value
        return found
    finally:
        file.close()


def test_in_place(backup: Path, replicator: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert replicator("ese", "recover", backup) == 1
    told = capsys.readouterr().out
    assert "-544 JET_errSoftRecoveryOnBackupDatabase" in told
    assert replicator("ese", "restore", backup) == 0
    out = capsys.readouterr().out
    made = prepared()
    assert "DirtyShutdown  CleanShutdown" in out
    assert f"E00: generations 0x{made.first:X} to 0x{made.last:X}" in out
    database = backup / "priv1.edb"
    assert rows_of(database.read_bytes()) == made.at_end
    assert rows_by_libesedb(database) == made.at_end
    assert replicator("ese", "verify", database, "--contents") == 0
    assert replicator("ese", "logs", backup, "--database", database) == 0
    assert replicator("ese", "header", database) == 0
    assert re.search(r"^current full backup +none$", capsys.readouterr().out, re.MULTILINE)


def test_a_copy_that_goes_on_with_the_logs_of_the_store(
    backup: Path, logs: Path, tmp_path: Path, replicator: Command
) -> None:
    before, kept = contents(backup), contents(logs)
    copy, report = tmp_path / "copy", tmp_path / "report.json"
    arguments = ("--then", logs, "--output", copy, "--json", report)
    assert replicator("ese", "restore", backup, *arguments) == 0
    assert (contents(backup), contents(logs)) == (before, kept)
    assert rows_by_libesedb(copy / "priv1.edb") == prepared().later
    document = json.loads(report.read_text())
    DOCUMENTS.validate_python(document)
    assert document["schema"] == "replicator-ese-recovery/1"
    assert document["directory"] == str(copy)
    assert document["first_generation"] == prepared().first
    assert document["last_generation"] > prepared().last
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "backup",
        "copy",
        "logs",
        "report.json",
    ]


@pytest.mark.parametrize("copied", [True, False])
def test_what_is_not_to_be_changed_is_only_read(
    copied: bool,
    backup: Path,
    logs: Path,
    tmp_path: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = opened_for_writing(monkeypatch)
    more = ("--output", tmp_path / "copy") if copied else ()
    assert replicator("ese", "restore", backup, "--then", logs, *more) == 0
    assert written
    assert not any(logs in path.parents for path in written)
    assert any(backup in path.parents for path in written) is not copied


def test_logs_of_exchange_2003(tmp_path: Path, replicator: Command) -> None:
    made = made_backup(KEPT_7)
    directory = laid_out(made.medium, BACKUP, tmp_path / "backup")
    assert replicator("ese", "restore", directory) == 0
    assert rows_by_libesedb(directory / "priv1.edb") == made.at_end


def test_what_is_refused_leaves_all_as_it_was(
    backup: Path,
    logs: Path,
    tmp_path: Path,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (logs / f"E00{prepared().last + 1:08X}.log").unlink()
    before, kept = contents(backup), contents(logs)
    for more in ((), ("--output", tmp_path / "copy")):
        assert replicator("ese", "restore", backup, "-f", logs, "--json", "-", *more) == 1
        found = capsys.readouterr()
        document = json.loads(found.out)
        DOCUMENTS.validate_python(document)
        assert -565 in [error["number"] for error in document["errors"]]
        assert "what to do: " in found.err
        assert (contents(backup), contents(logs)) == (before, kept)
    assert replicator("ese", "restore", backup, "-f", logs, "--allow-lost-logs") == 0
    assert rows_by_libesedb(backup / "priv1.edb") == prepared().at_end


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), ("nowhere: DIR: there is no such directory", "Correct the path.")),
        (("empty",), ("no logs are there", "tells which generations it requires")),
        (("backup", "--then", "nowhere"), ("nowhere: --then: there is no such directory",)),
        (("backup", "--then", "backup/priv1.edb"), ("--then: this is no directory",)),
        (("backup", "-o", "backup"), ("it exists already", "Name a new directory.")),
    ],
)
def test_wrong_usage(
    backup: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    before = contents(backup)
    assert replicator("ese", "restore", *arguments) == 64
    error = capsys.readouterr().err
    for each in words:
        assert each in error
    assert contents(backup) == before


@pytest.mark.skipif(
    any(place(name) is None for name in GENERATIONS), reason="needs ../shared, which CI has"
)
def test_a_set_of_real_logs_and_pages_of_two_ages(tmp_path: Path, replicator: Command) -> None:
    """An older and a newer copy of one real database, mixed as a backup under way mixes them.

    The header and every second page are of the first, the others of the second, which is what the
    logs of Windows Server lead to.
    """
    directory = tmp_path / "backup"
    directory.mkdir()
    for number, sample in enumerate(GENERATIONS, 1):
        (directory / f"SRU{number:05X}.log").write_bytes(load(sample))
    old, new = load(f"{FIRST}/SRUDB.dat"), load(f"{LATER}/SRUDB.dat")
    at_rest = DatabaseHeader.decode(old[:PAGE_BYTES])
    attached = LogHeader.decode(load(GENERATIONS[2])[:PAGE_BYTES]).attachments[0]
    mark = BackupInfo(LogPosition(2, 1, 0), LogTime(bytes((1, 2, 3, 4, 5, 123, 0, 0))), 2, 0)
    header = replace(
        at_rest,
        state_number=State.DIRTY_SHUTDOWN,
        attach_position=attached.attach_position,
        detach_position=LogPosition(),
        first_required_generation=2,
        first_consistent_generation=2,
        last_required_generation=2,
        last_committed_generation=2,
        current_full_backup=mark,
    )
    trailer = BackupTrailer(
        backup=replace(mark, last_generation=5),
        database_signature=header.database_signature,
        log_signature=header.log_signature,
        first_required_generation=2,
        last_required_generation=5,
        last_committed_generation=5,
    )
    pages = [
        (old, new)[pgno % 2][page_offset(pgno, PAGE_BYTES) : page_offset(pgno + 1, PAGE_BYTES)]
        for pgno in range(1, len(old) // PAGE_BYTES - 1)
    ]
    block = sealed(header.encode(), PAGE_BYTES)
    database = directory / "SRUDB.dat"
    database.write_bytes(block * 2 + b"".join(pages) + sealed(trailer.encode(), PAGE_BYTES))
    assert replicator("ese", "restore", directory) == 0
    assert header_of(database).state is State.CLEAN_SHUTDOWN
    restored = database.read_bytes()
    for pgno, wanted in pages_of(f"{LATER}/SRUDB.dat").items():
        at = page_offset(pgno, PAGE_BYTES)
        if any(wanted):
            page = PageEditor.load(restored[at : at + PAGE_BYTES], pgno)
            assert difference(page, wanted) == []
    tables = _tables(database)
    (tmp_path / "later.dat").write_bytes(new)
    assert tables == _tables(tmp_path / "later.dat")


def _tables(path: Path) -> dict[str, int]:
    file: Any = pyesedb.file()
    file.open(str(path))
    try:
        names = range(file.number_of_tables)
        return {file.get_table(n).name: file.get_table(n).number_of_records for n in names}
    finally:
        file.close()
