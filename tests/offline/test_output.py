"""Standard output that takes nothing: said in a line, and never taken for a verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.small_logs import small_spool, write_files

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")


def run(redirection: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "replicator.cli", "journal", *map(str, arguments)]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *call],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not FULL.exists(), reason="Linux has it")
@pytest.mark.parametrize(
    "options",
    [["verify"], ["verify", "--json", "-"], ["inspect", "--json", "-", "--records"]],
)
@pytest.mark.parametrize("damaged", [False, True])
def test_a_full_device_is_64_whatever_the_verdict(options, damaged, tmp_path):
    log = write_files(small_spool(), tmp_path / "log")
    if damaged:
        first = min(log.iterdir())
        first.write_bytes(first.read_bytes()[:300] + b"?" + first.read_bytes()[301:])
    done = run(f">{FULL}", *options, log)
    assert done.returncode == 64
    assert "error: standard output cannot be written: No space left on device\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_closed_output_is_refused_first(command, tmp_path):
    done = run(">&-", command, write_files(small_spool(), tmp_path / "log"), "--json", "-")
    assert done.returncode == 64
    assert done.stderr.startswith("error: standard output cannot be written: it is closed\n")


def test_a_reader_that_went_away_is_130(tmp_path):
    log = write_files(small_spool(), tmp_path / "log")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "replicator.cli", "journal", "inspect", log, "--json", "-"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 130
    assert done.stderr.endswith("interrupted: nobody reads the output any more\n")
    assert "Traceback" not in done.stderr
