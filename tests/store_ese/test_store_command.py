"""``simulator store``: what it says before, how it ends early, what it leaves then."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import replicator.cli as replicator_cli
from replicator.command_line import finish
from replicator.ese.database import Database
from replicator.ese.log_names import UNFINISHED_NAME
from replicator.ese.reader import FileReader
from simulator import cli
from simulator.cli_store_estimate import StoreCosts, estimate_line, estimate_store
from simulator.exchange.ese.generated_store import StoreSpec
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.mail_io import DEFAULT_IO
from simulator.exchange.profiles import select_profile

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: object) -> int:
    return finish(cli.app, "simulator", ["store", *map(str, arguments)])


def ese(*arguments: object) -> int:
    return finish(replicator_cli.app, "replicator", ["ese", *map(str, arguments)])


def spec(mailboxes: int = 10) -> StoreSpec:
    return StoreSpec(profile=select_profile("2007", "average"), mailboxes=mailboxes, days=1)


# -- the end before the end --------------------------------------------------------------------


INTERRUPTED = """
import os, signal, sys
from simulator.cli import main
from simulator.exchange.ese.mailboxes import Mailboxes

one, made, number = Mailboxes.add_mailbox, 0, int(sys.argv.pop())

async def add_mailbox(self, *arguments):
    global made
    await one(self, *arguments)
    made += 1
    if made == 60:
        os.kill(os.getpid(), number)
    if made == 400:
        print("went on", file=sys.stderr)

Mailboxes.add_mailbox = add_mailbox
main()
"""
"""The command, with a signal while the 60th of its mailboxes is made."""


def killed(target: Path, number: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "store", target, "--mailboxes", "2000", str(number)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ctrl_c_is_obeyed_while_the_mailboxes_are_made(tmp_path: Path) -> None:
    ended = killed(tmp_path / "store", 2)
    assert ended.returncode == 130, ended.stderr
    assert "stopped before the store was whole" in ended.stderr
    assert "went on" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_was_killed_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "store"
    assert killed(target, 9).returncode == -9
    assert (target / UNFINISHED_NAME).is_file()
    assert command(target, "--mailboxes", 1) == 64
    assert "store that is still being made, or whose making was killed" in capsys.readouterr().err
    for each in (("logs", target), ("verify", target / "priv1.edb"), ("recover", target)):
        ese(*each)
        assert f"note: {target / UNFINISHED_NAME}: the store here" in capsys.readouterr().out
    (target / UNFINISHED_NAME).unlink()
    ese("logs", target)
    assert "UNFINISHED" not in capsys.readouterr().out


def test_a_whole_store_has_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[bool] = []
    one = Mailboxes.add_mailbox

    async def seen(self: Mailboxes, *arguments: object) -> None:
        there.append((tmp_path / "store" / UNFINISHED_NAME).is_file())
        await one(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Mailboxes, "add_mailbox", seen)
    assert command(tmp_path / "store", "--mailboxes", 1, "--no-views") == 0
    assert there == [True]
    assert not (tmp_path / "store" / UNFINISHED_NAME).exists()


def test_a_device_that_takes_nothing_is_refused_before_the_store_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path / "store", "--mailboxes", 1, "--json", "/dev/full") == 64
    assert "/dev/full: --json cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_written_does_not_hide_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from replicator.errors import BadInput

    def full(*_: object) -> None:
        raise BadInput("--json cannot be written: No space left on device")

    monkeypatch.setattr("simulator.report.output.write_atomically", full)
    target = tmp_path / "store"
    assert command(target, "--mailboxes", 1, "--no-views", "--json", tmp_path / "out.json") == 64
    assert f"The store in {target} is whole" in capsys.readouterr().err
    assert (target / "priv1.edb").is_file()


# -- two copies that have diverged ---------------------------------------------------------------


def rows(path: Path) -> dict[str, list[object]]:
    with FileReader(path) as reader:
        return {
            table.name: [dict(row.items()) for row in table.rows()]
            for table in Database(reader).tables()
        }


def test_the_manual_makes_a_pair_that_can_be_reseeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manual = (ROOT / "docs/store-restore.md").read_text("utf-8")
    [block] = re.findall(r"```sh\n(simulator store.+?)```", manual, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    apps = {"simulator": cli.app, "replicator": replicator_cli.app}
    for line in block.splitlines():
        program, *arguments = line.split()
        assert finish(apps[program], program, arguments) == 0, line
    assert "have diverged from generation 0x" in capsys.readouterr().out
    assert ese("recover", "active") == 0
    assert rows(tmp_path / "old/priv1.edb") == rows(tmp_path / "active/priv1.edb")


# -- what it will cost -------------------------------------------------------------------------


def test_the_cost_grows_with_what_is_asked_for() -> None:
    small, large = estimate_store(spec(10)), estimate_store(spec(1000))
    assert large.log_bytes == pytest.approx(100 * small.log_bytes)
    assert large.seconds == pytest.approx(100 * small.seconds)
    assert estimate_store(replace(spec(), circular=True)).log_bytes == 0
    assert estimate_store(replace(spec(), views=False)).log_bytes < small.log_bytes / 2
    assert estimate_store(replace(spec(), crash_at_ns=0)).log_bytes < small.log_bytes / 10
    with_io = estimate_store(replace(spec(), io=DEFAULT_IO))
    assert with_io.seconds > 1.5 * estimate_store(spec()).seconds
    assert with_io.database_bytes > estimate_store(spec()).database_bytes
    slow = StoreCosts(message_seconds=1.0)
    assert estimate_store(spec(), slow).seconds > 50 * small.seconds


def test_the_guess_is_near_what_comes_out(tmp_path: Path) -> None:
    """Twenty mailboxes of a day: 270 MiB of logs and 20 MiB of database were measured."""
    found = estimate_store(spec(20))
    assert 135 < found.log_bytes / 2**20 < 540
    assert 10 < found.database_bytes / 2**20 < 40


def test_only_a_large_store_is_announced(tmp_path: Path) -> None:
    assert estimate_line(spec(1), tmp_path / "not" / "there") is None
    line = estimate_line(spec(100_000), tmp_path / "not" / "there")
    assert line is not None
    assert "TiB of logs" in line and "free" in line and "Ctrl-C" in line


# -- before anything is loaded -----------------------------------------------------------------

EARLY = """
import signal, sys, os, builtins, runpy
signal.signal(signal.SIGINT, signal.default_int_handler)
real = builtins.__import__
def slow(name, *rest, **named):
    if name.startswith("typer"):
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest, **named)
builtins.__import__ = slow
"""
"""A Ctrl-C in the midst of the imports."""
STARTS = {
    "console script": "from {package}.cli_start import main; main()",
    "module": "runpy.run_module('{package}.cli', run_name='__main__', alter_sys=True)",
    "unguarded": "from {package}.cli import main; main()",
}


@pytest.mark.parametrize("package", ["simulator", "replicator"])
@pytest.mark.parametrize("start", STARTS)
def test_ctrl_c_while_it_loads_is_no_traceback(package: str, start: str) -> None:
    """With the commands as they are installed, and with ``python -m``."""
    ended = subprocess.run(
        [sys.executable, "-c", EARLY + STARTS[start].format(package=package), "--help"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if start == "unguarded":
        assert "KeyboardInterrupt" in ended.stderr
    else:
        assert (ended.returncode, ended.stdout) == (130, "")
        assert ended.stderr == "interrupted\n"


@pytest.mark.parametrize("package", ["simulator", "replicator"])
def test_the_module_is_the_command(package: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"{package}.cli", "--help"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"Usage: {package} " in ended.stdout
