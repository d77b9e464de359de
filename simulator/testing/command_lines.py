"""The lines that a user pastes to see a failure again."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_KEPT_WITH_VALUE = (
    "-p",
    "-c",
    "--config-file",
    "--rootdir",
    "--confcutdir",
    "-o",
    "--override-ini",
    "--import-mode",
    "-W",
)
"""Options of pytest without which it may not find the same tests."""


def python() -> str:
    """This interpreter, as short as it can be said from here."""
    executable = Path(sys.executable)
    here = Path.cwd()
    if executable.is_relative_to(here):
        return os.path.join(".", executable.relative_to(here))
    return str(executable)


def pytest_command(config: pytest.Config) -> list[str]:
    """How to call pytest again so that it finds the same tests."""
    arguments = [str(each) for each in config.invocation_params.args]
    kept: list[str] = []
    joined = tuple(f"{each}=" if each.startswith("--") else each for each in _KEPT_WITH_VALUE)
    for at, argument in enumerate(arguments):
        if argument in _KEPT_WITH_VALUE and at + 1 < len(arguments):
            kept += [argument, arguments[at + 1]]
        elif argument not in _KEPT_WITH_VALUE and argument.startswith(joined):
            kept.append(argument)
    return [python(), "-m", "pytest", *kept]


def seen_from_here(config: pytest.Config, nodeid: str) -> str:
    """A node id as the command line takes it: from the directory that pytest was called in."""
    path, colons, rest = nodeid.partition("::")
    here = config.invocation_params.dir
    return os.path.relpath(config.rootpath / path, here) + colons + rest


def shown(config: pytest.Config, path: Path) -> str:
    """A file, as short as it can be said from the directory that pytest was called in."""
    here = config.invocation_params.dir
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def line(parts: Sequence[str]) -> str:
    """The parts as a shell takes them."""
    return " ".join(shlex.quote(part) for part in parts)
