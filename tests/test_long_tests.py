"""The list of tests that `make test` leaves to `make test-full` names tests that are there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import LONG_TESTS

ROOT = LONG_TESTS.parents[1]


def functions(path: str) -> set[str]:
    """Names of the tests in a file, those of state machines too."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return {
        *re.findall(r"^def (test_\w+)", text, flags=re.M),
        *re.findall(r"^(Test\w+)", text, flags=re.M),
    }


def test_each_is_there_and_stands_there_once() -> None:
    listed = LONG_TESTS.read_text(encoding="utf-8").splitlines()
    assert listed == sorted(set(listed))
    for line in listed:
        path, _, test = line.partition("::")
        name = test.partition("[")[0].partition("::")[0]
        assert name in functions(path), f"{LONG_TESTS.name} names {line}, which is not there"


@pytest.mark.full
def test_each_is_there_with_its_parameters() -> None:
    """Else a test that was renamed would be back in the ordinary run, unseen."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-m", "full"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    )
    listed = set(LONG_TESTS.read_text(encoding="utf-8").splitlines())
    assert listed - set(done.stdout.splitlines()) == set()
