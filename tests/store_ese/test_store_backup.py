"""``simulator store --backup``: the set is restored, and holds what its ledger says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import replicator.cli
from replicator.cli_ese_places import Places
from replicator.cli_ese_restore import restore_files
from replicator.command_line import finish
from replicator.ese.recovery_result import RecoveryResult
from simulator import cli
from simulator.exchange.diurnal import HOUR_NS
from simulator.exchange.ese.mail_work import MailWork
from tests.store_ese.mail_readers import READERS
from tests.store_ese.test_generated_store import check_readers, contents, ledger_of, recovered

OPTIONS = ("--mailboxes", 2, "--databases", 2, "--profile", "light", "--no-views")


def command(*arguments: object) -> int:
    return finish(cli.app, "simulator", ["store", *map(str, arguments)])


def restored(backup: Path, output: Path, then: Path | None = None) -> RecoveryResult:
    places = Places(backup, None, None, (), False, True)
    result, errors = restore_files(places, then, undo=True, output=output)
    assert not errors
    assert result is not None
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A killed store of two databases that was backed up at ten."""
    root = tmp_path_factory.mktemp("backup")
    told = root / "told.json"
    options = ("--crash-at", "17h", "--backup", root / "backup", "--backup-at", "10h")
    assert command(root / "store", *OPTIONS, *options, "--json", told) == 0
    return root, json.loads(told.read_text())


NAMES = ("priv1.edb", "priv2.edb")


def test_the_set_holds_what_its_ledger_says(made, tmp_path) -> None:
    root, told = made
    result = restored(root / "backup", tmp_path / "restored")
    assert result.redone_pages > 0
    entries = ledger_of(root / "backup")
    assert len(entries) == told["backup"]["messages"] > 0
    assert all(each.committed for each in entries)
    check_readers(tmp_path / "restored", entries, NAMES)
    assert told["backup"]["begun_at_ns"] == 10 * HOUR_NS
    assert told["backup"]["finished_at_ns"] > 10 * HOUR_NS
    assert {each.name for each in (root / "backup").iterdir()} == set(told["backup"]["files"])


def test_with_the_later_logs_it_holds_all(made, tmp_path) -> None:
    root, told = made
    restored(root / "backup", tmp_path / "now", root / "store")
    entries = ledger_of(root / "store")
    assert sum(each.committed for each in entries) > told["backup"]["messages"]
    check_readers(tmp_path / "now", entries, NAMES[1:])


def test_the_store_itself_is_as_ever(made, tmp_path) -> None:
    root, _ = made
    output, _ = recovered(root / "store", tmp_path / "recovered")
    check_readers(output, ledger_of(root / "store"), NAMES[:1])


def test_the_same_options_make_the_same_set(made, tmp_path) -> None:
    root, _ = made
    options = ("--crash-at", "17h", "--backup", tmp_path / "another", "--backup-at", "10h")
    assert command(tmp_path / "store", *OPTIONS, *options) == 0
    assert contents(tmp_path / "another") == contents(root / "backup")
    assert contents(tmp_path / "store") == contents(root / "store")


def test_the_walk_through_of_the_page_works(tmp_path, monkeypatch, capfd) -> None:
    page = Path(__file__).parents[2] / "docs" / "store-restore.md"
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (each for each in blocks if "--backup" in each)
    monkeypatch.chdir(tmp_path)
    commands = [line.split("#")[0].split() for line in block.splitlines()]
    assert len(commands) == 4
    for program, *arguments in commands:
        smaller = [{"4": "1"}.get(each, each) for each in arguments]
        app = cli.app if program.endswith("simulator") else replicator.cli.app
        assert finish(app, program, smaller) == 0
    shown = capfd.readouterr().out
    assert shown.count("DirtyShutdown  CleanShutdown") == 2
    ledgers = {"restored": "backup", "now": "store"}
    for place, ledger in ledgers.items():
        shutil.copy(Path("out") / ledger / "messages.jsonl", Path("out") / place)
        check_readers(Path("out") / place, ledger_of(Path("out") / place), NAMES[:1])
    sizes = [len(ledger_of(Path("out") / each)) for each in ledgers]
    assert sizes[0] < sizes[1]
    assert READERS


def test_a_store_that_is_stopped_leaves_no_set(tmp_path, capfd, monkeypatch) -> None:
    settle = MailWork.settle

    async def stopping(self: MailWork) -> None:
        await settle(self)
        if (tmp_path / "backup" / "priv1.edb").exists():
            page = tmp_path / "store" / "priv1.edb"
            data = bytearray(page.read_bytes())
            data[-100:] = bytes(100)
            data[6 * 8192 + 100] ^= 0xFF  # page 5, of the catalog
            data[6 * 8192 + 101] ^= 0x0F
            page.write_bytes(data)

    monkeypatch.setattr(MailWork, "settle", stopping)
    monkeypatch.setattr("simulator.exchange.ese.store_backup.PAGES_BETWEEN_EVENTS", 1)
    options = ("--mailboxes", 1, "--backup", tmp_path / "backup")
    assert command(tmp_path / "store", *options) == 1
    shown = capfd.readouterr().err
    assert "-1018" in shown
    assert f"{tmp_path}/store/priv1.edb" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--backup-at", "3h"), "--backup"),
        (("--backup", "{root}/backup", "--backup-at", "soon"), "--backup-at"),
        (("--backup", "{root}/backup", "--backup-at", "25h"), "--backup-at"),
        (("--backup", "{root}/backup", "--crash-at", "3h", "--backup-at", "4h"), "--crash-at"),
        (("--backup", "{root}/backup", "--version", "2010"), "2007"),
        (("--backup", "{root}/store/backup"), "--backup"),
        (("--backup", "{root}/store"), "--backup"),
        (("--backup", "{root}/full"), "--backup"),
        (("--backup", "{root}/backup", "--json", "{root}/backup/out.json"), "--json"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_made(tmp_path, capfd, options, words) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    given = [each.replace("{root}", str(tmp_path)) for each in options]
    assert command(tmp_path / "store", *given) == 64
    assert words in capfd.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["full"]
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["mine"]
