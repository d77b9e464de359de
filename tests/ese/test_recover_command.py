"""``replicator ese recover`` on files of this machine."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from replicator.cli_ese import ese
from replicator.cli_ese_copy import PIECE_BYTES, copy_piece
from replicator.cli_ese_places import Places, held
from replicator.ese.database_header import DatabaseHeader, State, read_database_header
from replicator.ese.log_encoding import log_time_at
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import FileReader
from replicator.ese.values import Signature
from replicator.host.volume import HostFile, HostVolume
from replicator.runtime import Kernel
from simulator.runtime import SimClock
from tests.ese.redoing import PAGE_BYTES
from tests.ese.small_ese_engine import rows_in
from tests.ese.small_ese_store import DIRECTORY
from tests.ese.test_recovery import prepared
from tests.store.memory_volume import MemoryVolume

MANUAL = (Path(__file__).resolve().parents[2] / "docs/store-recovery.md").read_text("utf-8")
Command = Callable[..., int]


def header_of(path: Path) -> DatabaseHeader:
    with FileReader(path) as reader:
        return read_database_header(reader)[0]


def rows(path: Path) -> dict[bytes, bytes]:
    data = path.read_bytes()

    def page(pgno: int) -> PageEditor:
        at = page_offset(pgno, PAGE_BYTES)
        return PageEditor.load(data[at : at + PAGE_BYTES], pgno)

    return rows_in(page)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_in_place(store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert replicator("ese", "recover", store) == 0
    out = capsys.readouterr().out
    assert "DirtyShutdown  CleanShutdown" in out
    assert "E00: generations 0x1 to 0x2" in out
    assert "2 transactions rolled back, 9 changes undone" in out
    assert "note: " in out  # there was no checkpoint
    assert "-542" in out
    assert header_of(store / "mail.edb").state is State.CLEAN_SHUTDOWN
    assert rows(store / "mail.edb") == prepared().committed
    assert replicator("ese", "verify", store / "mail.edb", store / "E00.chk") == 0
    assert replicator("ese", "logs", store, "--database", store / "mail.edb") == 0
    capsys.readouterr()
    assert replicator("ese", "recover", store) == 0
    assert "nothing was appended" in capsys.readouterr().out


def test_a_copy(store: Path, tmp_path: Path, replicator: Command) -> None:
    before = contents(store)
    copy, report = tmp_path / "copy", tmp_path / "report.json"
    assert replicator("ese", "recover", store, "--output", copy, "--json", report) == 0
    assert contents(store) == before
    assert rows(copy / "mail.edb") == prepared().committed
    document = json.loads(report.read_text())
    assert document["schema"] == "replicator-ese-recovery/1"
    assert document["exit_code"] == 0
    assert document["directory"] == str(copy)
    assert (document["undone_changes"], document["transactions_rolled_back"]) == (9, 2)
    assert (document["first_generation"], document["last_generation"]) == (1, 2)
    assert not document["clean_log"]
    assert not document["warnings"]
    (database,) = document["databases"]
    assert database["path"] == str(copy / "mail.edb")
    assert (database["state_before"], database["state"]) == ("DirtyShutdown", "CleanShutdown")
    assert database["written_pages"] == 6
    assert [note["number"] for note in document["notes"]] == [-542]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "report.json", "store"]


def test_a_copy_says_what_was_left_behind(
    store: Path, tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replicator("ese", "recover", store) == 0  # redo begins with the second log from now on
    for number in range(7):
        (store / f"notes{number}.txt").write_text("mine")
    copy = tmp_path / "copy"
    capsys.readouterr()
    assert replicator("ese", "recover", store, "--output", copy) == 0
    out = capsys.readouterr().out
    assert "copied: 1 database, 1 log, 1 checkpoint\n" in out
    assert "not copied: 1 log that redo does not need, E0000000001.log\n" in out
    assert "E00tmp.log, notes0.txt, notes1.txt and 5 more: no part of what is recovered" in out
    assert sorted(path.name for path in copy.iterdir()) == ["E00.chk", "E00.log", "mail.edb"]


def test_advice_for_a_log_that_was_cut_and_for_a_store_that_is_no_backup(
    store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replicator("ese", "restore", store) == 1
    told = capsys.readouterr().out
    assert "-615" in told and "what to do: Recover it as a crashed store, or give the copy" in told
    os.truncate(store / "E0000000001.log", 20_000)
    for verb in (("verify", store / "E0000000001.log"), ("recover", store)):
        assert replicator("ese", *verb) == 1
        told = capsys.readouterr().out
        assert "-541" in told and "Bring back the missing or intact log file" in told
        assert "files of one set" not in told


def test_what_is_refused_leaves_all_as_it_was(
    store: Path, tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "E0000000001.log").unlink()
    before = contents(store)
    for more in ((), ("--output", tmp_path / "copy")):
        assert replicator("ese", "recover", store, "--json", "-", *more) == 1
        found = capsys.readouterr()
        document = json.loads(found.out)
        assert -543 in [error["number"] for error in document["errors"]]
        assert document["exit_code"] == 1
        assert "JET_errRequiredLogFilesMissing" in found.err
        assert "what to do: " in found.err
        assert contents(store) == before
        assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_fails_in_the_middle_leaves_no_copy(
    store: Path, tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray((store / "mail.edb").read_bytes())
    page = PageEditor.load(bytes(data[page_offset(4, PAGE_BYTES) :][:PAGE_BYTES]), 4)
    page.dbtime = 14
    data[page_offset(4, PAGE_BYTES) : page_offset(5, PAGE_BYTES)] = page.sealed_bytes()
    (store / "mail.edb").write_bytes(data)
    assert replicator("ese", "recover", store, "-o", tmp_path / "copy") == 1
    out = capsys.readouterr().out
    assert "-567 JET_errDbTimeTooNew" in out
    assert "at log record MacroCommit (2,2,29E)" in out
    assert f"{store}/E00.log, page 4" in out
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_allowed_losses_and_stops_are_told(
    store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replicator("ese", "recover", store, "-u") == 3
    out = capsys.readouterr().out
    assert "stopped before undo" in out
    assert "-579 JET_errRecoveredWithoutUndo" in out
    assert header_of(store / "mail.edb").state is State.DIRTY_SHUTDOWN


def test_committed_logs_lost(
    store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "E00.log").unlink()
    assert replicator("ese", "recover", store) == 1
    assert "-582" in capsys.readouterr().out
    assert replicator("ese", "recover", store, "--allow-lost-logs") == 0
    out = capsys.readouterr().out
    assert "lost, as allowed: generations 0x2" in out
    assert "585 JET_wrnCommittedLogFilesLost" in out


def test_files_in_several_directories(
    store: Path, tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    data, system = tmp_path / "data", tmp_path / "system"
    data.mkdir()
    system.mkdir()
    (store / "mail.edb").rename(data / "mail.edb")
    assert replicator("ese", "recover", store) == 1
    assert "-1216" in capsys.readouterr().out
    assert replicator("ese", "recover", store, "-d", data, "-s", system) == 0
    assert header_of(data / "mail.edb").state is State.CLEAN_SHUTDOWN
    assert [path.name for path in system.iterdir()] == ["E00.chk"]
    assert replicator("ese", "recover", store, "-d", data / "mail.edb", "-s", system) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere",),
        ("empty",),
        ("store", "--base", "E07"),
        ("store", "-o", "store"),
        ("store", "-o", "nowhere/copy"),
        ("store", "-d", "nowhere.edb"),
        ("store", "-d", "store", "-d", "store/mail.edb"),
        ("store", "--json", "nowhere/report.json"),
    ],
)
def test_wrong_usage(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    arguments: tuple[str, ...],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    before = contents(store)
    assert replicator("ese", "recover", *arguments) == 64
    assert contents(store) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "store"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), ("nowhere: DIR: there is no such directory", "Correct the path.")),
        (("store/E00.log",), ("E00.log: DIR: this is no directory", "Correct the path.")),
        (("store", "-s", "nowhere"), ("nowhere: --system: there is", "Correct the path.")),
        (("empty",), ("no logs are there", "tells which generations it requires")),
        (("two",), ("name one log set; found: E00, E01", "Say with --base")),
        (("store", "-o", "nowhere/copy"), ("--output", "Name a new directory in one that")),
    ],
)
def test_wrong_usage_is_told_with_what_to_do(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    (tmp_path / "empty").mkdir()
    two = tmp_path / "two"
    two.mkdir()
    for name in ("E00.log", "E01.log"):
        (two / name).write_bytes((store / "E00.log").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert replicator("ese", "recover", *arguments) == 64
    error = capsys.readouterr().err
    for each in words:
        assert each in error


def test_a_log_with_a_name_behind_the_current_one(
    store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "E0000000005.log").write_bytes((store / "E0000000001.log").read_bytes())
    assert replicator("ese", "recover", store) == 1
    assert "E00.log: -513 JET_errLogGenerationMismatch: generation 0x2 cannot follow " in (
        capsys.readouterr().out
    )


def test_copies_of_one_database_are_refused(
    store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "mail - Kopie.edb").write_bytes((store / "mail.edb").read_bytes())
    before = contents(store)
    assert replicator("ese", "recover", store) == 1
    out = capsys.readouterr().out
    assert "-1222 JET_errDatabaseSignInUse" in out
    assert "they are copies of one database" in out
    assert "with --database" in out
    assert contents(store) == before
    named = store / "mail.edb"
    again = store / ".." / "store" / "mail.edb"
    assert replicator("ese", "recover", store, "-d", named, "-d", again) == 0
    assert rows(named) == prepared().committed
    assert (store / "mail - Kopie.edb").read_bytes() == before["mail - Kopie.edb"]


def test_a_database_behind_a_symbolic_link(
    store: Path, tmp_path: Path, replicator: Command
) -> None:
    (store / "mail.edb").rename(tmp_path / "elsewhere.edb")
    (store / "mail.edb").symlink_to(tmp_path / "elsewhere.edb")
    assert replicator("ese", "recover", store, "-d", store / "mail.edb") == 0
    assert rows(tmp_path / "elsewhere.edb") == prepared().committed


@pytest.mark.parametrize("arguments", [(), ("--output", "copy")])
def test_one_recovery_at_a_time(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(store)
    with held(Places(store, None, None, (), False, False), shared=False):
        assert replicator("ese", "recover", store, *arguments) == 64
    error = capsys.readouterr().err
    assert "another recovery of these files is under way" in error
    assert str(store) in error
    assert contents(store) == before
    assert replicator("ese", "recover", store, *arguments) == 0


def test_a_copy_goes_with_other_copies(store: Path, tmp_path: Path, replicator: Command) -> None:
    with held(Places(store, None, None, (), False, False), shared=True):
        assert replicator("ese", "recover", store, "--output", tmp_path / "copy") == 0
        assert replicator("ese", "recover", store) == 64


def test_databases_elsewhere_are_held_too(store: Path, tmp_path: Path, replicator: Command) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    (store / "mail.edb").rename(data / "mail.edb")
    with held(Places(other, None, None, (data / "mail.edb",), False, False), shared=False):
        assert replicator("ese", "recover", store, "-d", data) == 64
    assert replicator("ese", "recover", store, "-d", data) == 0


def test_new_files_have_the_permissions_of_the_logs(
    store: Path, tmp_path: Path, replicator: Command
) -> None:
    for path in store.iterdir():
        path.chmod(0o664)
    assert replicator("ese", "recover", store) == 0
    modes = {path.name: path.stat().st_mode & 0o7777 for path in store.iterdir()}
    assert "E00.chk" in modes
    assert set(modes.values()) == {0o664}
    assert replicator("ese", "recover", store, "-o", tmp_path / "copy") == 0
    assert not any(path.stat().st_mode & 0o1000 for path in (tmp_path / "copy").iterdir())


def test_a_directory_that_may_not_be_written_is_told_first(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    before = contents(store)
    monkeypatch.setattr("replicator.cli_ese_places.os.access", lambda _path, mode: mode != os.W_OK)
    assert replicator("ese", "recover", store) == 64
    error = capsys.readouterr().err
    assert f"{store}: it may not be written to" in error
    assert "recover a copy with --output" in error
    assert contents(store) == before
    assert replicator("ese", "recover", store, "-o", tmp_path / "copy") == 0


def test_a_full_disk_ends_a_copy_with_what_to_do(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("replicator.cli_ese_copy.copy_piece", full)
    assert replicator("ese", "recover", store, "-o", tmp_path / "copy") == 1
    assert "Free space on the volume" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def opened_for_writing(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that are opened so from now on."""
    found = []
    real = HostVolume.open

    def noted(volume: HostVolume, path: str, read_only: bool = False) -> HostFile:
        if not read_only:
            found.append(Path(path))
        return real(volume, path, read_only)

    monkeypatch.setattr(HostVolume, "open", noted)
    return found


@pytest.mark.parametrize("guarded", [True, False])
def test_a_copy_can_be_made_of_what_may_only_be_read(
    guarded: bool,
    store: Path,
    tmp_path: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A snapshot, a share: it is what recovery in place advises where it may not write."""
    if not guarded:
        monkeypatch.setattr("replicator.cli_ese_recover.ChangedWithin", lambda volume: volume)
    written = opened_for_writing(monkeypatch)
    assert replicator("ese", "recover", store, "--output", tmp_path / "copy") == 0
    assert any(store in path.parents for path in written) is not guarded
    assert written


def test_ctrl_c_ends_the_copying_of_a_large_file(
    store: Path,
    tmp_path: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pieces = []

    def piece(source: int, target: int, at: int) -> int:
        pieces.append(at)
        if len(pieces) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return copy_piece(source, target, at)

    before = contents(store)
    monkeypatch.setattr("replicator.cli_ese_copy.PIECE_BYTES", 1 << 12)
    monkeypatch.setattr("replicator.cli_ese_copy.copy_piece", piece)
    assert replicator("ese", "recover", store, "-o", tmp_path / "copy") == 130
    assert len(pieces) < max(map(len, before.values())) >> 12  # one file has more
    assert "stopped, as asked" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert contents(store) == before


def test_the_pieces_of_a_copy_make_the_file(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    data = b"x" * PIECE_BYTES + bytes(2 * PIECE_BYTES) + b"y" * 5
    source.write_bytes(data)
    calls = []
    with source.open("rb") as one, target.open("wb") as two:
        at = 0
        while copied := copy_piece(one.fileno(), two.fileno(), at):
            calls.append(copied)
            at += copied
    assert calls == [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 5]
    assert target.read_bytes() == data


def test_a_copy_is_durable_before_it_has_its_name(
    store: Path, tmp_path: Path, replicator: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files, then the names in it, and then its own; what is redone is synced besides."""
    copied, copy = ("mail.edb", "E0000000001.log", "E00.log"), tmp_path / "copy"
    synced: dict[int, bool] = {}
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced[os.fstat(descriptor).st_ino] = copy.exists()
        fsync(descriptor)

    monkeypatch.setattr("replicator.cli_ese_copy.os.fsync", noted)
    assert replicator("ese", "recover", store, "-o", copy) == 0
    for path in (copy, *(copy / name for name in copied)):
        assert synced[path.stat().st_ino] is False, path
    assert synced[tmp_path.stat().st_ino] is True


def test_a_hole_at_the_end_is_copied_too(store: Path, tmp_path: Path, replicator: Command) -> None:
    """Before undo nothing is cut off; at the end, what no tree owns is."""
    size = (store / "mail.edb").stat().st_size
    os.truncate(store / "mail.edb", size + 3 * PIECE_BYTES)
    assert replicator("ese", "recover", store, "-u", "-o", tmp_path / "copy") == 3
    assert (tmp_path / "copy/mail.edb").stat().st_size == size + 3 * PIECE_BYTES


def test_a_name_for_the_copy_that_leads_nowhere_is_refused_before_the_work(
    store: Path, tmp_path: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.symlink_to(tmp_path / "gone")
    assert replicator("ese", "recover", store, "-o", copy) == 64
    assert "it exists already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "store"]


def test_a_copy_that_cannot_get_its_name_is_kept(
    store: Path,
    tmp_path: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Somebody else has made a directory of that name while recovery ran."""
    copy = tmp_path / "copy"

    def elsewhere(*_arguments: object) -> None:
        copy.mkdir()
        (copy / "mine").touch()

    monkeypatch.setattr("replicator.cli_ese_recover.open_like_the_logs", elsewhere)
    assert replicator("ese", "recover", store, "-o", copy) == 1
    error = capsys.readouterr().err
    assert "the copy is ready and cannot get this name" in error
    [kept] = tmp_path.glob(".copy.*.recovering")
    assert f"rename {kept} yourself" in error
    assert rows(kept / "mail.edb") == prepared().committed
    assert [path.name for path in copy.iterdir()] == ["mine"]


def test_a_database_without_its_header_is_not_called_missing_alone(
    store: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (store / "mail.edb").open("r+b") as file:
        file.write(bytes(2 * PAGE_BYTES))
    before = contents(store)
    for more in ((), ("--ignore-missing-databases",)):
        assert replicator("ese", "recover", store, *more) == 1
        out = capsys.readouterr().out
        assert "mail.edb: -1206 JET_errDatabaseCorrupted: the logs name a database so" in out
        assert contents(store) == before
    # Else the logs are ended without it.
    monkeypatch.setattr("replicator.ese.recovery_checks.check_empty", lambda *_arguments: ())
    assert replicator("ese", "recover", store, "--ignore-missing-databases") == 0
    assert contents(store) != before


@pytest.mark.parametrize(
    ("lost", "change"), [((), str.upper), ((), str.lower), (("E00.log",), str.upper)]
)
def test_names_in_letters_of_another_case(
    lost: tuple[str, ...], change: Callable[[str], str], store: Path, replicator: Command
) -> None:
    """As files from Windows are called; what recovery logs goes on in the same files."""
    for path in list(store.iterdir()):
        if path.name in lost:
            path.unlink()
        else:
            path.rename(path.with_name(change(path.name)))
    options = ("--allow-lost-logs",) * len(lost)
    assert replicator("ese", "recover", store, *options) == 0
    (database,) = (path for path in store.iterdir() if path.suffix.lower() == ".edb")
    assert header_of(database).state is State.CLEAN_SHUTDOWN
    assert rows(database) == prepared().committed
    after = contents(store)
    assert replicator("ese", "logs", store, "--database", database) == 0
    assert replicator("ese", "recover", store) == 0
    assert contents(store) == after
    assert len({name.lower() for name in after} & {"e00.log", "e0000000001.log"}) == 2
    assert len([name for name in after if name.lower() == "e00.log"]) == 1


def test_a_log_whose_name_stays_in_other_letters_is_not_found_by_who_writes(
    store: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def as_it_is(*_arguments: object) -> None:
        return None

    monkeypatch.setattr("replicator.ese.recovery_log._name_as_written", as_it_is)
    for path in list(store.iterdir()):
        path.rename(path.with_name(path.name.upper()))
    assert replicator("ese", "recover", store) == 1
    assert "E0000000001.log: no such file" in capsys.readouterr().out


def test_of_two_current_logs_none_is_guessed(
    store: Path,
    replicator: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (store / "e00.LOG").write_bytes((store / "E0000000001.log").read_bytes())
    before = contents(store)
    for verb in (("recover",), ("recover", "-a"), ("logs",)):
        assert replicator("ese", verb[0], store, *verb[1:]) == 1
        out = capsys.readouterr().out
        assert "-513 JET_errLogGenerationMismatch: it is called like the current log" in out
        assert "Put the one aside that is older." in out
        assert contents(store) == before
    # Else the first one in the order of the directory's names is taken.
    monkeypatch.setattr("replicator.ese.recovery_files.check_one_current", lambda _paths: ())
    assert replicator("ese", "recover", store) == 0
    assert contents(store) != before


def test_the_only_usable_generation_cannot_be_given_up(
    store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replicator("ese", "recover", store) == 0  # a clean database, and a checkpoint at 2
    (store / "E00.log").write_bytes((store / "E00.log").read_bytes()[:5000])
    before = contents(store)
    capsys.readouterr()
    assert replicator("ese", "recover", store, "--allow-lost-logs") == 1
    assert "E00.log" in capsys.readouterr().out
    assert contents(store) == before


def test_the_example_of_the_manual(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    replicator: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(store.parent)
    [(command, shown)] = re.findall(r"```\n\$ replicator (.+?)\n(.*?)```", MANUAL, re.DOTALL)
    assert replicator(*command.split()) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == shown.splitlines()


def test_the_manual_names_every_key_and_every_option(
    store: Path, replicator: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replicator("ese", "recover", store, "--json", "-") == 0
    document = json.loads(capsys.readouterr().out)
    keys = {*document, *document["notes"][0], *document["databases"][0]} - {"page", "schema"}
    assert {key for key in keys if f"`{key}`" not in MANUAL} == set()
    assert document["schema"] in MANUAL
    options = [each for name in get_command(ese).commands["recover"].params for each in name.opts]
    named = {each for each in options if each.startswith("--") and each != "--json"}
    assert {
        each for each in named if f"{each}`" not in MANUAL and f"{each} " not in MANUAL
    } == set()


def test_the_program_of_the_manual() -> None:
    [program] = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    medium, clock = prepared().medium.copy(), SimClock()
    kernel = Kernel(clock)
    work = names["recover_store"](
        MemoryVolume(medium, None), DIRECTORY, lambda: log_time_at(10**18), lambda: Signature(1)
    )
    task = kernel.run_task(work, "recovery")
    clock.run_until_idle()
    assert task.result().undone == 9
