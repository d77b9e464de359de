"""What the command of a candidate leaves in its directories, and of processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator.candidates import guards, left_running
from simulator.candidates.workshop import Workshop
from tests.candidates.scenes import running_with

PATIENCE_NS = 50 * 10**9
"""For what ends by itself, on however busy a machine."""


@contextmanager
def workshop(*words: str) -> Iterator[Workshop]:
    shop = Workshop(words, PATIENCE_NS, (0,))
    try:
        yield shop
    finally:
        shop.close()


def of_shell(script: str) -> list[str]:
    """A command with the directories as ``$1`` and ``$2``."""
    return ["sh", "-c", script, "sh", "{source}", "{replica}"]


# -- in the directories ------------------------------------------------------------------------

LINKED = "rm -rf $2; ln -s $1 $2"


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (LINKED, "put something else in the place of its directory {replica}"),
        ("rm -rf $2; touch $2", "put something else in the place of its directory {replica}"),
        ("rm -rf $2", "took away its directory {replica}"),
    ],
)
def test_the_copy_is_in_the_directory_and_nowhere_else(left: str, said: str) -> None:
    with workshop(*of_shell(left)) as shop:
        shop.source.place.joinpath("file").write_bytes(b"bytes")
        for _pass in range(2):
            with pytest.raises(guards.CandidateFailed, match=re.escape(said)):
                shop.run()
            assert shop.replica.entries() == {}


def test_else_the_source_itself_would_pass_for_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workshop, "_check_its_place", lambda _shop: None)
    with workshop(*of_shell(LINKED)) as shop:
        shop.source.place.joinpath("file").write_bytes(b"bytes")
        shop.run()
        assert set(shop.replica.entries()) == {"/file"}


@pytest.mark.parametrize("code", [0, 3])
def test_what_nobody_may_read_can_be_looked_at_and_taken_away(code: int) -> None:
    # By its rights, not by reading: root may read all.
    files = "mkdir $2/d; touch $2/d/f $2/g; ln -s /nowhere $2/l"
    left = f"{files}; chmod 0 $2/d/f $2/d $2/g $2; exit {code}"
    with workshop(*of_shell(left)) as shop:
        if code:
            with pytest.raises(guards.CandidateFailed, match="ended with exit code 3"):
                shop.run()
        else:
            shop.run()
        place = shop.replica.place
        assert all((place / name).stat().st_mode & 0o700 == 0o700 for name in (".", "d"))
        assert all((place / name).stat().st_mode & 0o400 for name in ("d/f", "g"))
    assert not place.exists()


# -- processes ---------------------------------------------------------------------------------

DAEMON = """
import os, pathlib, sys, time
place = pathlib.Path(sys.argv[1])
if os.fork():
    while not (place / "begun").exists():
        time.sleep(0.01)
    os._exit(0)
os.setsid()
(place / "begun").touch()
time.sleep(60)
"""
DAEMONS = [sys.executable, "-S", "-c", DAEMON, "{replica}", "{source}"]


def test_a_daemon_is_ended_with_its_pass() -> None:
    with workshop(*DAEMONS) as shop:
        shop.run()
        assert set(shop.replica.entries()) == {"/begun"}
        assert running_with(str(shop.replica.place)) == []


def test_else_it_works_on_in_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    end_all = left_running.end_all
    monkeypatch.setattr(left_running, "end_all", lambda _mark: 0)
    with workshop(*DAEMONS) as shop:
        place = shop.replica.place
        try:
            shop.run()
            assert len(running_with(str(place))) == 1
        finally:
            assert end_all(str(place.parent)) == 1


def test_a_shell_that_is_ended_with_its_child_takes_no_further_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them is found first: all are stopped before one is killed."""
    kill, sent = os.kill, []

    def noted(process: int, number: int) -> None:
        sent.append((process, number))
        kill(process, number)

    monkeypatch.setattr("simulator.candidates.left_running.os.kill", noted)
    words = ["sh", "-c", f"touch '{tmp_path}/begun'; sleep 60; touch '{tmp_path}/late'"]
    shell = subprocess.Popen(
        words, env=left_running.marked(os.environ, str(tmp_path)), start_new_session=True
    )
    try:
        while not tmp_path.joinpath("begun").exists():
            assert shell.poll() is None, "it ended before its first step"
            time.sleep(0.01)
        assert left_running.end_all(str(tmp_path)) >= 1
        assert shell.wait(50) == -signal.SIGKILL
        assert not tmp_path.joinpath("late").exists()
        first = [number for _process, number in sent].index(signal.SIGKILL)
        assert {number for _process, number in sent[:first]} == {signal.SIGSTOP}
        stopped = [process for process, _number in sent[:first]]
        assert sent[first : first + len(stopped)] == [(each, signal.SIGKILL) for each in stopped]
    finally:
        shell.kill()
        shell.wait()


def test_only_what_bears_the_mark_is_ended(tmp_path: Path) -> None:
    mine, other = (
        subprocess.Popen(
            ["cat"],
            env=left_running.marked(os.environ, str(tmp_path / name)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("mine", "mine too")
    )
    with mine, other:
        try:
            assert answers(mine) and answers(other), "only then they have their environments"
            assert left_running.end_all(str(tmp_path / "mine")) == 1
            assert mine.wait(50) == -signal.SIGKILL
            assert answers(other)
        finally:
            for process in (mine, other):
                process.kill()


def answers(cat: subprocess.Popen[bytes]) -> bool:
    """Whether it says what it is told."""
    assert cat.stdin is not None and cat.stdout is not None
    cat.stdin.write(b"line\n")
    cat.stdin.flush()
    return cat.stdout.readline() == b"line\n"
